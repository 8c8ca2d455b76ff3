/* Tests of a collector's account and of its ticks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "collect/tally.h"

#define NOW_US INT64_C(1767323045000000)

static void
test_tally_books_writes_and_errors(void **state)
{
    struct clock_manual clock;
    struct tally tally;
    struct collect_status status;
    struct err err;

    (void)state;
    clock_manual_init(&clock, NOW_US);
    tally_init(&tally, "x", &clock.clock);
    clock_manual_advance(&clock, 1500000);
    tally_write(&tally, ERR_OK, NULL, 7);
    tally_write(&tally, err_set(&err, ERR_IO, "no disk"), &err, 9);
    tally_error(&tally, "second");
    tally_status(&tally, &status);
    assert_string_equal(status.name, "x");
    assert_true(status.running);
    assert_int_equal(status.started_us, NOW_US);
    assert_true(status.uptime_seconds == 1.5);
    assert_int_equal(status.metrics_collected, 7);
    assert_int_equal(status.last_success_us, NOW_US + 1500000);
    assert_int_equal(status.errors, 2);
    assert_string_equal(status.last_error, "second");
    tally_stop(&tally);
    assert_true(tally_is_stopping(&tally));
    tally_status(&tally, &status);
    assert_false(status.running);
    tally_fini(&tally);
}

static void
test_tally_ticks_are_even_and_a_late_one_starts_anew(void **state)
{
    struct tally tally;
    int64_t now_us = clock_mono_us(clock_system());
    int64_t next_us = now_us - 500;

    (void)state;
    tally_init(&tally, "x", clock_system());
    assert_true(tally_wait_tick(&tally, &next_us, 1000000));
    assert_int_equal(next_us, now_us - 500 + 1000000);
    next_us = now_us - 1000000000; /* a thousand ticks late: not made up for */
    assert_true(tally_wait_tick(&tally, &next_us, 1000000));
    assert_true(next_us > now_us);
    tally_fini(&tally);
}

struct waiter {
    struct tally tally;
    pthread_t thread;
    bool answer;
};

static void *
wait_for_a_day(void *ctx)
{
    struct waiter *waiter = ctx;
    int64_t next_us = clock_mono_us(clock_system()) + INT64_C(86400000000);

    waiter->answer = tally_wait_tick(&waiter->tally, &next_us, 1);
    return NULL;
}

static void
test_tally_stop_ends_the_waiting(void **state)
{
    struct waiter waiter = {.answer = true};

    (void)state;
    tally_init(&waiter.tally, "x", clock_system());
    assert_int_equal(pthread_create(&waiter.thread, NULL, wait_for_a_day, &waiter), 0);
    tally_stop(&waiter.tally);
    pthread_join(waiter.thread, NULL);
    assert_false(waiter.answer);
    tally_fini(&waiter.tally);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tally_books_writes_and_errors),
        cmocka_unit_test(test_tally_ticks_are_even_and_a_late_one_starts_anew),
        cmocka_unit_test(test_tally_stop_ends_the_waiting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
