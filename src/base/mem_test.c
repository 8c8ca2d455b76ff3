/* Tests of heap memory: what is given, and that running out ends the program. */
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs `ask` in a child whose standard error is thrown away; true when it did not return. */
static bool
ends_program(void (*ask)(void))
{
    int status = 0;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, STDERR_FILENO);
        ask();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) || WEXITSTATUS(status) != 0;
}

static void *volatile kept;

static void
ask_for_a_product_that_overflows(void)
{
    kept = mem_zalloc(SIZE_MAX / 2, 4);
}

static void
ask_for_an_array_that_overflows(void)
{
    kept = mem_resize(NULL, SIZE_MAX / 2, 4);
}

static void
ask_for_little(void)
{
    kept = mem_alloc(10);
    free(kept);
}

static void
test_mem_ends_the_program_when_there_is_none(void **state)
{
    (void)state;
    assert_true(ends_program(ask_for_a_product_that_overflows));
    assert_true(ends_program(ask_for_an_array_that_overflows));
    assert_false(ends_program(ask_for_little));
}

static void
test_mem_gives_memory_for_nothing_too(void **state)
{
    MEM_AUTO void *a = mem_alloc(0);
    MEM_AUTO char *b = mem_zalloc(0, 8);

    (void)state;
    assert_non_null(a);
    assert_non_null(b);
    assert_ptr_not_equal(a, b);
}

static void
test_mem_resize_keeps_the_contents(void **state)
{
    int *numbers = NULL;

    (void)state;
    for (size_t count = 1; count < 1000; count++) {
        numbers = mem_resize(numbers, count, sizeof(*numbers));
        numbers[count - 1] = (int)count;
    }
    for (int i = 0; i < 999; i++) {
        assert_int_equal(numbers[i], i + 1);
    }
    free(numbers);
}

static void
test_mem_strdup_ends_in_nul(void **state)
{
    MEM_AUTO char *copy = mem_strdup(slice_make("abcdef", 3));
    MEM_AUTO char *empty = mem_strdup((struct slice){NULL, 0});

    (void)state;
    assert_string_equal(copy, "abc");
    assert_string_equal(empty, "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mem_ends_the_program_when_there_is_none),
        cmocka_unit_test(test_mem_gives_memory_for_nothing_too),
        cmocka_unit_test(test_mem_resize_keeps_the_contents),
        cmocka_unit_test(test_mem_strdup_ends_in_nul),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
