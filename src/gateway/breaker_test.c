/* Tests of the breaker of an upstream. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/breaker.h"

enum { SECOND = 1000000 };

static void
fail_times(struct breaker *breaker, int count, int64_t now_us)
{
    for (int i = 0; i < count; i++) {
        breaker_note(breaker, false, now_us);
    }
}

static void
test_breaker_pauses_after_ten_and_opens_after_twenty(void **state)
{
    struct breaker breaker;
    struct gateway_breaker options = {0};
    int64_t now = 0;

    (void)state;
    breaker_init(&breaker, &options);
    fail_times(&breaker, 9, now);
    assert_int_equal(breaker_wait_us(&breaker, now), 0);
    assert_true(breaker_note(&breaker, false, now));
    assert_int_equal(breaker_wait_us(&breaker, now), 60 * SECOND);
    now += 60 * SECOND;
    for (int i = 11; i < 20; i++) {
        assert_int_equal(breaker_wait_us(&breaker, now), 0);
        breaker_note(&breaker, false, now); /* each one pauses anew */
        assert_int_equal(breaker_wait_us(&breaker, now + SECOND), 59 * SECOND);
        now += 60 * SECOND;
    }
    assert_int_equal(breaker_wait_us(&breaker, now), 0);
    assert_true(breaker_note(&breaker, false, now));
    assert_int_equal(breaker.state, UPSTREAM_OPEN);
    assert_int_equal(breaker_wait_us(&breaker, now), 300 * (int64_t)SECOND);
    /* Those that were under way do not count any more. */
    assert_false(breaker_note(&breaker, false, now + SECOND));
    assert_int_equal(breaker_wait_us(&breaker, now + 300 * (int64_t)SECOND), 0);
    assert_int_equal(breaker.failures, 0);
}

static void
test_breaker_forgets_at_a_success(void **state)
{
    struct breaker breaker;
    struct gateway_breaker options = {.pause_after = 2, .pause_ms = 1000};

    (void)state;
    breaker_init(&breaker, &options);
    fail_times(&breaker, 1, 0);
    breaker_note(&breaker, true, 0);
    fail_times(&breaker, 1, 0);
    assert_int_equal(breaker_wait_us(&breaker, 0), 0);
    fail_times(&breaker, 1, 0);
    assert_int_equal(breaker_wait_us(&breaker, 0), SECOND);
    breaker_note(&breaker, true, 0); /* one that was under way */
    assert_int_equal(breaker_wait_us(&breaker, 0), 0);
}

static void
test_breaker_can_be_off(void **state)
{
    struct breaker breaker;
    struct gateway_breaker options = {.off = true, .pause_after = 1};

    (void)state;
    breaker_init(&breaker, &options);
    fail_times(&breaker, 100, 0);
    assert_int_equal(breaker_wait_us(&breaker, 0), 0);
}

static void
test_breaker_knows_failures_from_refusals(void **state)
{
    (void)state;
    assert_true(breaker_is_failure(0));
    assert_true(breaker_is_failure(429));
    assert_true(breaker_is_failure(500));
    assert_false(breaker_is_failure(404));
    assert_false(breaker_is_success(404));
    assert_true(breaker_is_success(204));
    assert_true(breaker_is_success(302));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_breaker_pauses_after_ten_and_opens_after_twenty),
        cmocka_unit_test(test_breaker_forgets_at_a_success),
        cmocka_unit_test(test_breaker_can_be_off),
        cmocka_unit_test(test_breaker_knows_failures_from_refusals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
