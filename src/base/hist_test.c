/* Tests of histograms: precision of buckets and quantiles, limits, threads. */
#include "base/hist.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>

#include "base/mem.h"

static struct hist *
new_hist(void)
{
    return mem_zalloc(1, sizeof(struct hist));
}

static void
test_hist_is_zero_when_empty(void **state)
{
    MEM_AUTO struct hist *hist = new_hist();

    (void)state;
    assert_true(hist_quantile(hist, 0.5) == 0);
    assert_int_equal(hist_count(hist), 0);
    assert_int_equal(hist_count_below(hist, UINT64_MAX), 0);
}

static void
test_hist_quantiles_are_within_a_bucket_of_the_truth(void **state)
{
    MEM_AUTO struct hist *hist = new_hist();

    (void)state;
    for (int64_t v = 1; v <= 100000; v++) {
        hist_record(hist, v);
    }
    for (int percent = 1; percent <= 99; percent++) {
        double truth = percent * 1000.0;
        double got = hist_quantile(hist, percent / 100.0);
        assert_true(got >= truth * 0.96 && got <= truth * 1.04);
    }
    assert_int_equal(hist_count(hist), 100000);
    assert_int_equal(hist_sum(hist), UINT64_C(100000) * 100001 / 2);
}

static void
test_hist_small_values_are_exact(void **state)
{
    MEM_AUTO struct hist *hist = new_hist();

    (void)state;
    for (int i = 0; i < 10; i++) {
        hist_record(hist, 3);
        hist_record(hist, 17);
    }
    assert_true(hist_quantile(hist, 0.25) == 3);
    assert_true(hist_quantile(hist, 0.75) == 17);
    assert_int_equal(hist_count_below(hist, 2), 0);
    assert_int_equal(hist_count_below(hist, 3), 10);
    assert_int_equal(hist_count_below(hist, 16), 10);
    assert_int_equal(hist_count_below(hist, 17), 20);
}

static void
test_hist_clips_what_is_out_of_range(void **state)
{
    MEM_AUTO struct hist *hist = new_hist();

    (void)state;
    hist_record(hist, -5);
    hist_record(hist, INT64_MAX);
    hist_record(hist, INT64_C(1) << 32);
    hist_record(hist, UINT32_MAX);
    assert_int_equal(hist_count(hist), 4);
    assert_int_equal(hist_count_below(hist, 0), 1);
    assert_int_equal(hist_count_below(hist, UINT32_MAX), 4);
    assert_int_equal(hist_sum(hist), 3 * (uint64_t)UINT32_MAX);
    assert_true(hist_quantile(hist, 1.0) <= 4294967296.0);
    assert_true(hist_quantile(hist, 1.0) >= 4294967296.0 * 0.96);
}

static void
test_hist_count_below_only_grows_with_the_bound(void **state)
{
    MEM_AUTO struct hist *hist = new_hist();
    uint64_t before = 0;

    (void)state;
    for (int64_t v = 1; v < INT64_C(1) << 32; v = v * 3 + 1) {
        hist_record(hist, v);
    }
    for (uint64_t bound = 1; bound < UINT64_C(1) << 33; bound += bound / 7 + 1) {
        uint64_t count = hist_count_below(hist, bound);
        assert_true(count >= before);
        before = count;
    }
    assert_int_equal(before, hist_count(hist));
}

enum { THREADS = 4, RECORDS = 20000 };

static void *
record_many(void *ctx)
{
    for (int i = 0; i < RECORDS; i++) {
        hist_record(ctx, i);
    }
    return NULL;
}

static void
test_hist_loses_nothing_when_threads_record_at_once(void **state)
{
    MEM_AUTO struct hist *hist = new_hist();
    pthread_t threads[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, record_many, hist), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(hist_count(hist), THREADS * RECORDS);
    assert_int_equal(hist_count_below(hist, RECORDS), THREADS * RECORDS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hist_is_zero_when_empty),
        cmocka_unit_test(test_hist_quantiles_are_within_a_bucket_of_the_truth),
        cmocka_unit_test(test_hist_small_values_are_exact),
        cmocka_unit_test(test_hist_clips_what_is_out_of_range),
        cmocka_unit_test(test_hist_count_below_only_grows_with_the_bound),
        cmocka_unit_test(test_hist_loses_nothing_when_threads_record_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
