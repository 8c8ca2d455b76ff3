/* Keys, breaker, limit, intervals and prices: the pure parts of the Birdeye client. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "client/birdeye_internal.h"

static const int64_t S = 1000000;

static struct keys *
three_keys(int rest_ms)
{
    static struct keys keys;

    keys_init(&keys, rest_ms);
    assert_true(keys_add(&keys, "alpha") && keys_add(&keys, "beta") && keys_add(&keys, "gamma"));
    return &keys;
}

static const char *
next_label(struct keys *keys, int64_t now_us)
{
    int64_t wait_us;
    struct key *key = keys_next(keys, now_us, &wait_us);

    return key ? key->label : "none";
}

static void
test_keys_take_turns(void **state)
{
    struct keys *keys = three_keys(0);

    (void)state;
    assert_string_equal(next_label(keys, 0), "key-1");
    assert_string_equal(next_label(keys, 0), "key-2");
    assert_string_equal(next_label(keys, 0), "key-3");
    assert_string_equal(next_label(keys, 0), "key-1");
    keys_fini(keys);
}

static void
test_keys_given_twice_are_one(void **state)
{
    struct keys *keys = three_keys(0);

    (void)state;
    assert_true(keys_add(keys, "beta"));
    assert_int_equal(keys->count, 3);
    keys_fini(keys);
}

static void
test_keys_go_out_by_status(void **state)
{
    struct keys *keys = three_keys(0);
    int64_t wait_us = 0;

    (void)state;
    keys_result(keys, &keys->items[0], 429, 0, 0);
    keys_result(keys, &keys->items[1], 500, 0, 0);
    keys_result(keys, &keys->items[2], 403, 0, 0);
    assert_int_equal(keys->items[0].state, EIDER_BIRDEYE_KEY_RATE_LIMITED);
    assert_int_equal(keys->items[0].failures_in_a_row, 2);
    assert_int_equal(keys->items[1].failures_in_a_row, 1);
    assert_int_equal(keys->items[2].state, EIDER_BIRDEYE_KEY_FORBIDDEN);
    assert_int_equal(keys_active(keys), 1);
    assert_string_equal(next_label(keys, 0), "key-2");
    assert_string_equal(next_label(keys, 0), "key-2");
    keys_result(keys, &keys->items[1], 401, 0, 0);
    assert_int_equal(keys->items[1].state, EIDER_BIRDEYE_KEY_UNAUTHORIZED);
    assert_null(keys_next(keys, 1000000 * S, &wait_us));
    assert_int_equal(wait_us, INT64_MAX);
    keys_fini(keys);
}

static void
test_keys_come_back_from_429_when_told_so(void **state)
{
    struct keys *keys = three_keys(30000);
    int64_t wait_us = 0;

    (void)state;
    keys_result(keys, &keys->items[0], 429, 5 * S, 0);
    keys_result(keys, &keys->items[1], 429, 8 * S, 0);
    keys_result(keys, &keys->items[2], 403, 5 * S, 0);
    assert_null(keys_next(keys, 10 * S, &wait_us));
    assert_int_equal(wait_us, 25 * S);
    assert_string_equal(next_label(keys, 35 * S), "key-1");
    assert_string_equal(next_label(keys, 35 * S), "key-1");
    assert_string_equal(next_label(keys, 38 * S), "key-2");
    keys_fini(keys);
}

static void
test_streak_pauses_at_ten_and_counts_anew(void **state)
{
    struct streak streak = {0};
    int64_t wait_us;

    (void)state;
    for (int i = 0; i < 9; i++) {
        streak_result(&streak, 500, 0);
    }
    assert_int_equal(streak_state(&streak, 0, &wait_us), EIDER_BIRDEYE_RUNNING);
    streak_result(&streak, 0, 0);
    assert_int_equal(streak_state(&streak, 0, &wait_us), EIDER_BIRDEYE_PAUSED);
    assert_int_equal(wait_us, 60 * S);
    assert_int_equal(streak_state(&streak, 60 * S - 1, &wait_us), EIDER_BIRDEYE_PAUSED);
    assert_int_equal(streak_state(&streak, 60 * S, &wait_us), EIDER_BIRDEYE_RUNNING);
    assert_int_equal(streak.failures, 0);
}

static void
test_streak_opens_at_twenty_for_five_minutes(void **state)
{
    struct streak streak = {0};
    int64_t wait_us;

    (void)state;
    for (int i = 0; i < 10; i++) {
        streak_result(&streak, i % 2 ? 429 : 403, i * S);
    }
    assert_int_equal(streak_state(&streak, 9 * S, &wait_us), EIDER_BIRDEYE_OPEN);
    assert_int_equal(wait_us, 300 * S);
    streak_result(&streak, 500, 100 * S);
    assert_int_equal(streak_state(&streak, 309 * S - 1, &wait_us), EIDER_BIRDEYE_OPEN);
    assert_int_equal(streak_state(&streak, 309 * S, &wait_us), EIDER_BIRDEYE_RUNNING);
}

static void
test_streak_ends_with_a_success(void **state)
{
    struct streak streak = {0};
    int64_t wait_us;

    (void)state;
    for (int i = 0; i < 25; i++) {
        streak_result(&streak, 500, 0);
    }
    streak_result(&streak, 204, 1);
    assert_int_equal(streak_state(&streak, 1, &wait_us), EIDER_BIRDEYE_RUNNING);
    assert_int_equal(streak.failures, 0);
    assert_int_equal(wait_us, 0);
}

static void
test_limiter_never_lets_more_through_in_any_window(void **state)
{
    struct limiter limiter;
    int64_t passed[1000];
    size_t count = 0;
    struct rng rng;
    int64_t now_us = 0;

    (void)state;
    rng_init(&rng, 42);
    limiter_init(&limiter, 7, 60 * S);
    for (int i = 0; i < 1000; i++) {
        now_us += (int64_t)rng_below(&rng, 12 * (uint64_t)S);
        int64_t wait_us = limiter_take(&limiter, now_us);
        if (wait_us > 0) {
            assert_int_not_equal(limiter_take(&limiter, now_us + wait_us - 1), 0);
            continue;
        }
        if (count >= 7) {
            assert_true(now_us - passed[count - 7] >= 60 * S);
        }
        passed[count++] = now_us;
    }
    assert_true(count > 500);
    limiter_fini(&limiter);
}

static void
test_limiter_says_how_long_to_wait(void **state)
{
    struct limiter limiter;

    (void)state;
    limiter_init(&limiter, 2, 60 * S);
    assert_int_equal(limiter_take(&limiter, 10 * S), 0);
    assert_int_equal(limiter_take(&limiter, 20 * S), 0);
    assert_int_equal(limiter_take(&limiter, 30 * S), 40 * S);
    assert_int_equal(limiter_take(&limiter, 70 * S), 0);
    assert_int_equal(limiter_take(&limiter, 70 * S), 10 * S);
    limiter_fini(&limiter);
}

static void
test_birdeye_costs_by_candles(void **state)
{
    (void)state;
    assert_int_equal(eider_birdeye_cost(-1), 60 * EIDER_CREDIT);
    assert_int_equal(eider_birdeye_cost(4999), 60 * EIDER_CREDIT);
    assert_int_equal(eider_birdeye_cost(5000), 120 * EIDER_CREDIT);
    assert_int_equal(birdeye_candles(SLICE_LITERAL("1m"), 0, 3600), 60);
    assert_int_equal(birdeye_candles(SLICE_LITERAL("1s"), 0, 1000000), 5000);
    assert_int_equal(birdeye_candles(SLICE_LITERAL("1h"), 0, 3600), -1);
    assert_int_equal(birdeye_candles(SLICE_LITERAL("1D"), 0, INT64_MAX), 5000);
}

static void
test_birdeye_url_cost_takes_the_dearer_when_in_doubt(void **state)
{
    (void)state;
    assert_int_equal(
        birdeye_url_cost(slice_of("https://x/defi/v3/ohlcv?type=1m&time_from=0&time_to=6000")),
        60 * EIDER_CREDIT);
    assert_int_equal(
        birdeye_url_cost(slice_of("/defi/v3/ohlcv?type=1m&time_from=0&time_to=300000")),
        120 * EIDER_CREDIT);
    assert_int_equal(birdeye_url_cost(slice_of("/defi/v3/ohlcv?type=1m&time_from=0")),
                     120 * EIDER_CREDIT);
    assert_int_equal(birdeye_url_cost(slice_of("/defi/v3/ohlcv?type=7m&time_from=0&time_to=60")),
                     120 * EIDER_CREDIT);
    assert_int_equal(birdeye_url_cost(slice_of("/defi/price?address=/ohlcv")), 60 * EIDER_CREDIT);
}

static void
test_birdeye_chain_knows_the_usual_names(void **state)
{
    (void)state;
    assert_string_equal(birdeye_chain(NULL, "0xabc"), "ethereum");
    assert_string_equal(birdeye_chain(NULL, "So111"), "solana");
    assert_string_equal(birdeye_chain(NULL, NULL), "solana");
    assert_string_equal(birdeye_chain("SOL", "0xabc"), "solana");
    assert_string_equal(birdeye_chain("Binance", NULL), "bsc");
    assert_string_equal(birdeye_chain("arbitrum", NULL), "arbitrum");
}

static void
test_birdeye_counts_items_of_both_spellings(void **state)
{
    (void)state;
    assert_int_equal(birdeye_count_items(slice_of("")), 0);
    assert_int_equal(birdeye_count_items(slice_of("{\"unix_time\":1},{\"unix_time\": 2}")), 2);
    assert_int_equal(birdeye_count_items(slice_of("{\"unixTime\":1}")), 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_take_turns),
        cmocka_unit_test(test_keys_given_twice_are_one),
        cmocka_unit_test(test_keys_go_out_by_status),
        cmocka_unit_test(test_keys_come_back_from_429_when_told_so),
        cmocka_unit_test(test_streak_pauses_at_ten_and_counts_anew),
        cmocka_unit_test(test_streak_opens_at_twenty_for_five_minutes),
        cmocka_unit_test(test_streak_ends_with_a_success),
        cmocka_unit_test(test_limiter_never_lets_more_through_in_any_window),
        cmocka_unit_test(test_limiter_says_how_long_to_wait),
        cmocka_unit_test(test_birdeye_costs_by_candles),
        cmocka_unit_test(test_birdeye_url_cost_takes_the_dearer_when_in_doubt),
        cmocka_unit_test(test_birdeye_chain_knows_the_usual_names),
        cmocka_unit_test(test_birdeye_counts_items_of_both_spellings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
