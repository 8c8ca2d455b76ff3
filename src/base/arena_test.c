/* Tests of arenas. */
#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void
test_arena_gives_aligned_memory_that_does_not_overlap(void **state)
{
    ARENA_AUTO struct arena arena;
    char *before = NULL;

    (void)state;
    arena_init(&arena, 1 << 20);
    for (size_t size = 1; size < 2000; size += 7) {
        char *ptr = arena_alloc(&arena, size);
        assert_non_null(ptr);
        assert_int_equal((uintptr_t)ptr % _Alignof(max_align_t), 0);
        memset(ptr, 0xab, size);
        if (before) {
            assert_int_equal((unsigned char)before[0], 0xab);
        }
        before = ptr;
    }
    assert_false(arena.overflow);
}

static void
test_arena_begins_in_the_memory_it_was_given(void **state)
{
    struct arena arena;
    _Alignas(16) char memory[512];

    (void)state;
    arena_init_with(&arena, 1 << 20, memory, sizeof(memory));
    char *inside = arena_alloc(&arena, 100);
    assert_true(inside > memory && inside + 100 <= memory + sizeof(memory));
    memset(inside, 1, 100);
    char *rest = NULL;
    while ((rest = arena_alloc(&arena, 48)) >= memory && rest < memory + sizeof(memory)) {
        assert_true(rest + 48 <= memory + sizeof(memory));
        memset(rest, 2, 48);
    }
    assert_non_null(rest);
    memset(rest, 3, 48);
    assert_int_equal(inside[0], 1);
    arena_reset(&arena);
    assert_int_equal(arena.used_bytes, 0);
    assert_non_null(arena_alloc(&arena, 5000));
    arena_fini(&arena);
    assert_null(arena.head);
}

static void
test_arena_refuses_more_than_its_cap_and_remembers(void **state)
{
    ARENA_AUTO struct arena arena;

    (void)state;
    arena_init(&arena, 100);
    assert_non_null(arena_alloc(&arena, 64));
    assert_null(arena_alloc(&arena, 64));
    assert_true(arena.overflow);
    assert_null(arena_alloc(&arena, 1));
    arena_reset(&arena);
    assert_false(arena.overflow);
    assert_non_null(arena_alloc(&arena, 64));
}

static void
test_arena_without_cap_refuses_sizes_that_wrap_round(void **state)
{
    ARENA_AUTO struct arena arena;

    (void)state;
    arena_init(&arena, SIZE_MAX);
    assert_null(arena_alloc(&arena, SIZE_MAX - 3));
    assert_true(arena.overflow);
    arena_reset(&arena);
    assert_null(arena_zalloc(&arena, SIZE_MAX / 2, 3));
    assert_true(arena.overflow);
}

static void
test_arena_reset_keeps_one_block_and_its_largest(void **state)
{
    ARENA_AUTO struct arena arena;

    (void)state;
    arena_init(&arena, 1 << 20);
    for (int i = 0; i < 100; i++) {
        assert_non_null(arena_alloc(&arena, 1000));
    }
    assert_int_equal(arena.used_bytes, 100 * 1008);
    arena_reset(&arena);
    assert_int_equal(arena.used_bytes, 0);
    struct arena_block *block = arena.head;
    assert_non_null(block);
    assert_non_null(arena_alloc(&arena, 1000));
    assert_ptr_equal(arena.head, block);
}

static void
test_arena_copies_texts_with_a_nul_behind(void **state)
{
    ARENA_AUTO struct arena arena;

    (void)state;
    arena_init(&arena, 1000);
    struct slice copy = arena_dup(&arena, SLICE_LITERAL("abc"));
    assert_true(slice_is(copy, "abc"));
    assert_int_equal(copy.ptr[3], '\0');
    assert_int_equal(arena_dup(&arena, (struct slice){NULL, 0}).len, 0);
    assert_string_equal(arena_fmt(&arena, "%d-%s", 7, "x"), "7-x");
    arena_alloc(&arena, 2000);
    assert_string_equal(arena_fmt(&arena, "%d", 7), "");
    assert_int_equal(arena_dup(&arena, SLICE_LITERAL("abc")).len, 0);
}

static void
test_arena_zalloc_clears_memory_used_before(void **state)
{
    ARENA_AUTO struct arena arena;

    (void)state;
    arena_init(&arena, 1000);
    memset(arena_alloc(&arena, 500), 0xff, 500);
    arena_reset(&arena);
    const char *zeros = arena_zalloc(&arena, 100, 5);
    for (int i = 0; i < 500; i++) {
        assert_int_equal(zeros[i], 0);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena_begins_in_the_memory_it_was_given),
        cmocka_unit_test(test_arena_gives_aligned_memory_that_does_not_overlap),
        cmocka_unit_test(test_arena_refuses_more_than_its_cap_and_remembers),
        cmocka_unit_test(test_arena_without_cap_refuses_sizes_that_wrap_round),
        cmocka_unit_test(test_arena_reset_keeps_one_block_and_its_largest),
        cmocka_unit_test(test_arena_copies_texts_with_a_nul_behind),
        cmocka_unit_test(test_arena_zalloc_clears_memory_used_before),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
