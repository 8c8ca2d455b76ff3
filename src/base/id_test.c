/* Tests of identifiers and the seeded generator. */
#include "base/id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void
check_uuid(const char *text, char version)
{
    assert_int_equal(strlen(text), ID_UUID_LEN);
    for (int i = 0; i < ID_UUID_LEN; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        bool hex = (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f');
        assert_true(dash ? text[i] == '-' : hex);
    }
    assert_int_equal(text[14], version);
    assert_non_null(strchr("89ab", text[19]));
}

static void
test_id_uuid7_begins_with_its_time_and_orders_by_it(void **state)
{
    char first[ID_UUID_LEN + 1];
    char second[ID_UUID_LEN + 1];

    (void)state;
    /* RFC 9562, appendix A.6: 2022-02-22T19:22:22Z is 017F22E2-79B0-7... */
    id_uuid7(INT64_C(1645557742000) * 1000, first);
    check_uuid(first, '7');
    assert_memory_equal(first, "017f22e2-79b0-7", 15);
    id_uuid7(INT64_C(1645557742001) * 1000, second);
    assert_true(strcmp(first, second) < 0);
}

static void
test_id_uuids_of_one_time_differ(void **state)
{
    char first[ID_UUID_LEN + 1];
    char second[ID_UUID_LEN + 1];

    (void)state;
    id_uuid7(1000000, first);
    id_uuid7(1000000, second);
    assert_string_not_equal(first, second);
    id_uuid4(first);
    id_uuid4(second);
    check_uuid(first, '4');
    assert_string_not_equal(first, second);
}

static int
by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void
test_id_uuid7_never_repeats_beyond_what_is_kept_ahead(void **state)
{
    static char ids[1000][ID_UUID_LEN + 1];

    (void)state;
    for (size_t i = 0; i < 1000; i++) {
        id_uuid7(1000000, ids[i]);
        check_uuid(ids[i], '7');
    }
    qsort(ids, 1000, sizeof(ids[0]), by_text);
    for (size_t i = 1; i < 1000; i++) {
        assert_string_not_equal(ids[i - 1], ids[i]);
    }
}

static void
test_id_uuid7_differs_behind_a_fork(void **state)
{
    char ours[ID_UUID_LEN + 1];
    char theirs[ID_UUID_LEN + 1] = "";
    int ends[2];
    int status;

    (void)state;
    id_uuid7(1000000, ours);
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        id_uuid7(1000000, theirs);
        _exit(write(ends[1], theirs, sizeof(theirs)) == sizeof(theirs) ? 0 : 1);
    }
    id_uuid7(1000000, ours);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(read(ends[0], theirs, sizeof(theirs)), sizeof(theirs));
    close(ends[0]);
    close(ends[1]);
    check_uuid(theirs, '7');
    assert_string_not_equal(ours, theirs);
}

static void
test_rng_repeats_with_its_seed(void **state)
{
    struct rng a;
    struct rng b;
    bool differs = false;

    (void)state;
    rng_init(&a, 42);
    rng_init(&b, 42);
    for (int i = 0; i < 100; i++) {
        assert_true(rng_next(&a) == rng_next(&b));
    }
    rng_init(&b, 43);
    for (int i = 0; i < 100; i++) {
        differs = differs || rng_next(&a) != rng_next(&b);
    }
    assert_true(differs);
}

static void
test_rng_stays_in_its_ranges(void **state)
{
    struct rng rng;
    double sum = 0;
    double squares = 0;
    int counts[10] = {0};

    (void)state;
    rng_init(&rng, 7);
    for (int i = 0; i < 10000; i++) {
        double d = rng_double(&rng);
        assert_true(d >= 0 && d < 1);
        uint64_t n = rng_below(&rng, 10);
        assert_true(n < 10);
        counts[n]++;
        double x = rng_normal(&rng);
        assert_true(x >= -6 && x <= 6);
        sum += x;
        squares += x * x;
    }
    for (int i = 0; i < 10; i++) {
        assert_in_range(counts[i], 850, 1150);
    }
    assert_true(sum / 10000 > -0.05 && sum / 10000 < 0.05);
    assert_true(squares / 10000 > 0.9 && squares / 10000 < 1.1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_id_uuid7_never_repeats_beyond_what_is_kept_ahead),
        cmocka_unit_test(test_id_uuid7_differs_behind_a_fork),
        cmocka_unit_test(test_id_uuid7_begins_with_its_time_and_orders_by_it),
        cmocka_unit_test(test_id_uuids_of_one_time_differ),
        cmocka_unit_test(test_rng_repeats_with_its_seed),
        cmocka_unit_test(test_rng_stays_in_its_ranges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
