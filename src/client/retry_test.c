#include "client/retry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct retry_policy policy = {.retries_max = 3,
                                           .initial_ms = 1000,
                                           .factor = 2,
                                           .delay_max_ms = 5000,
                                           .jitter = 0.2,
                                           .retry_after_max_ms = 60000};

static struct retry_attempt
answered(int status)
{
    return (struct retry_attempt){
        .answered = true, .status = status, .sent = true, .repeatable = true};
}

static void
test_retry_delay_doubles_up_to_the_cap(void **state)
{
    struct retry_policy many = policy;
    struct retry_attempt attempt = answered(500);

    (void)state;
    many.retries_max = 100;
    assert_int_equal(retry_delay_ms(&many, &attempt, 1, 0), 1000);
    assert_int_equal(retry_delay_ms(&many, &attempt, 2, 0), 2000);
    assert_int_equal(retry_delay_ms(&many, &attempt, 3, 0), 4000);
    assert_int_equal(retry_delay_ms(&many, &attempt, 4, 0), 5000);
    assert_int_equal(retry_delay_ms(&many, &attempt, 100, 0), 5000);
    assert_int_equal(retry_delay_ms(&many, &attempt, 1, 0.5), 900);
}

static void
test_retry_ends_behind_the_last(void **state)
{
    struct retry_attempt attempt = answered(503);

    (void)state;
    assert_int_equal(retry_delay_ms(&policy, &attempt, 3, 0), 4000);
    assert_int_equal(retry_delay_ms(&policy, &attempt, 4, 0), -1);
}

static void
test_retry_is_for_some_statuses_only(void **state)
{
    static const int again[] = {429, 500, 502, 503, 504};
    static const int never[] = {200, 301, 400, 401, 403, 404, 408, 422, 501, 505};

    (void)state;
    for (size_t i = 0; i < sizeof(again) / sizeof(again[0]); i++) {
        struct retry_attempt attempt = answered(again[i]);
        assert_int_equal(retry_delay_ms(&policy, &attempt, 1, 0), 1000);
    }
    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
        struct retry_attempt attempt = answered(never[i]);
        assert_int_equal(retry_delay_ms(&policy, &attempt, 1, 0), -1);
    }
}

static void
test_retry_of_post_only_when_nothing_was_sent(void **state)
{
    struct retry_attempt attempt = {.sent = true};

    (void)state;
    assert_int_equal(retry_delay_ms(&policy, &attempt, 1, 0), -1);
    attempt.sent = false;
    assert_int_equal(retry_delay_ms(&policy, &attempt, 1, 0), 1000);
    attempt = answered(503);
    attempt.repeatable = false;
    assert_int_equal(retry_delay_ms(&policy, &attempt, 1, 0), -1);
}

static void
test_retry_after_lengthens_the_wait_or_ends_the_call(void **state)
{
    struct retry_attempt attempt = answered(429);

    (void)state;
    attempt.retry_after_ms = 7000;
    assert_int_equal(retry_delay_ms(&policy, &attempt, 1, 0), 7000);
    attempt.retry_after_ms = 500;
    assert_int_equal(retry_delay_ms(&policy, &attempt, 1, 0), 1000);
    attempt.retry_after_ms = 60001;
    assert_int_equal(retry_delay_ms(&policy, &attempt, 1, 0), -1);
}

static void
test_retry_final_is_final(void **state)
{
    struct retry_attempt attempt = answered(500);

    (void)state;
    attempt.final = true;
    assert_int_equal(retry_delay_ms(&policy, &attempt, 1, 0), -1);
}

static void
test_retry_method_knows_the_repeatable(void **state)
{
    (void)state;
    assert_true(retry_method(SLICE_LITERAL("GET")));
    assert_true(retry_method(SLICE_LITERAL("put")));
    assert_false(retry_method(SLICE_LITERAL("POST")));
    assert_false(retry_method(SLICE_LITERAL("PATCH")));
    assert_false(retry_method(SLICE_LITERAL("")));
}

static void
test_retry_after_parse_takes_seconds_and_dates(void **state)
{
    const int64_t now_us = INT64_C(784111777000000); /* Sun, 06 Nov 1994 08:49:37 GMT */
    int64_t ms = -1;

    (void)state;
    assert_true(retry_after_parse(SLICE_LITERAL(" 120 "), now_us, &ms));
    assert_int_equal(ms, 120000);
    assert_true(retry_after_parse(SLICE_LITERAL("0"), now_us, &ms));
    assert_int_equal(ms, 0);
    assert_true(retry_after_parse(SLICE_LITERAL("Sun, 06 Nov 1994 08:49:47 GMT"), now_us, &ms));
    assert_int_equal(ms, 10000);
    assert_true(retry_after_parse(SLICE_LITERAL("Sunday, 06-Nov-94 08:49:47 GMT"), now_us, &ms));
    assert_int_equal(ms, 10000);
    assert_true(retry_after_parse(SLICE_LITERAL("Sun, 06 Nov 1994 08:49:27 GMT"), now_us, &ms));
    assert_int_equal(ms, 0);
    assert_true(retry_after_parse(SLICE_LITERAL("999999999999"), now_us, &ms));
    assert_int_equal(ms, INT64_C(366) * 86400 * 1000);
}

static void
test_retry_after_parse_refuses_the_rest(void **state)
{
    static const char *const bad[] = {"", "soon", "-1", "12x", "1.5", "99999999999999999999"};
    int64_t ms = 77;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(retry_after_parse(slice_of(bad[i]), 0, &ms));
    }
    assert_false(retry_after_parse(slice_make("5\0 6", 4), 0, &ms));
    assert_int_equal(ms, 77);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retry_delay_doubles_up_to_the_cap),
        cmocka_unit_test(test_retry_ends_behind_the_last),
        cmocka_unit_test(test_retry_is_for_some_statuses_only),
        cmocka_unit_test(test_retry_of_post_only_when_nothing_was_sent),
        cmocka_unit_test(test_retry_after_lengthens_the_wait_or_ends_the_call),
        cmocka_unit_test(test_retry_final_is_final),
        cmocka_unit_test(test_retry_method_knows_the_repeatable),
        cmocka_unit_test(test_retry_after_parse_takes_seconds_and_dates),
        cmocka_unit_test(test_retry_after_parse_refuses_the_rest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
