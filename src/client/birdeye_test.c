/* The Birdeye client against a fake network and a fake meter. */
#include "client/birdeye_internal.h"
#include "client/testing.h"

static const char TOKEN[] = "So11111111111111111111111111111111111111112";

struct setup {
    struct fake *fake;
    struct eider_birdeye_options options;
    struct eider_birdeye *birdeye;
    struct eider_response *response;
};

static int
begin(void **state)
{
    static const char *const keys[] = {"alpha", "beta", "gamma"};
    struct setup *t = mem_zalloc(1, sizeof(*t));

    t->fake = fake_new();
    t->options = (struct eider_birdeye_options){.keys = keys, .key_count = 3};
    *state = t;
    return 0;
}

static int
end(void **state)
{
    struct setup *t = *state;

    eider_response_free(t->response);
    eider_birdeye_close(t->birdeye);
    free(t->fake);
    free(t);
    return 0;
}

static void
open_birdeye(struct setup *t)
{
    struct client_env env = fake_env(t->fake);
    char problem[256] = "";

    if (birdeye_open_with(&t->options, &env, &t->birdeye, problem, sizeof(problem)) !=
        EIDER_CLIENT_OK) {
        fail_msg("%s", problem);
    }
}

static enum eider_client_status
price(struct setup *t)
{
    if (!t->birdeye) {
        open_birdeye(t);
    }
    eider_response_free(t->response);
    return eider_birdeye_price(t->birdeye, TOKEN, NULL, &t->response);
}

static void
answer_with(struct setup *t, int status, int count)
{
    for (int i = 0; i < count; i++) {
        fake_answer(t->fake, (struct fake_answer){.status = status});
    }
}

static void
test_birdeye_ohlcv_asks_as_the_original(void **state)
{
    struct setup *t = *state;
    struct eider_birdeye_ohlcv query = {.address = TOKEN,
                                        .type = "1m",
                                        .time_from = 1700000000,
                                        .time_to = 1700003600,
                                        .run_id = "run-7"};

    open_birdeye(t);
    assert_int_equal(eider_birdeye_ohlcv(t->birdeye, &query, &t->response), EIDER_CLIENT_OK);
    assert_string_equal(t->fake->urls[0],
                        "https://public-api.birdeye.so/defi/v3/ohlcv?address="
                        "So11111111111111111111111111111111111111112&type=1m&currency=usd"
                        "&time_from=1700000000&time_to=1700003600&ui_amount_mode=raw&mode=range"
                        "&padding=true");
    assert_string_equal(t->fake->heads[0],
                        "X-API-KEY: alpha\nx-chain: solana\naccept: application/json\n");
    assert_string_equal(t->fake->last_endpoint, "/defi/v3/ohlcv");
    assert_string_equal(t->fake->last_key, "key-1");
    assert_string_equal(t->fake->last_call.api_name, "Birdeye");
    assert_string_equal(t->fake->last_call.run_id, "run-7");
    assert_int_equal(t->fake->reserved, 60 * EIDER_CREDIT);
    assert_int_equal(t->fake->booked, 60 * EIDER_CREDIT);
    assert_null(strstr(t->fake->last_metadata, "alpha"));
}

static void
test_birdeye_reserves_the_dear_price_for_long_ranges(void **state)
{
    struct setup *t = *state;
    struct eider_birdeye_ohlcv query = {
        .address = TOKEN, .type = "1m", .time_from = 0, .time_to = 5000 * 60};

    open_birdeye(t);
    assert_int_equal(eider_birdeye_ohlcv(t->birdeye, &query, &t->response), EIDER_CLIENT_OK);
    assert_int_equal(t->fake->reserved, 120 * EIDER_CREDIT);
    assert_int_equal(t->fake->booked, 120 * EIDER_CREDIT);
}

static void
test_birdeye_calls_have_their_paths(void **state)
{
    static const char *const starts[] = {"https://e.x/defi/historical_price_unix?address=So1",
                                         "https://e.x/defi/history_price?address=So1",
                                         "https://e.x/defi/v3/search?keyword=a%20b%26c&limit=5",
                                         "https://e.x/defi/v3/token/meta-data/single?address=So1",
                                         "https://e.x/defi/token_creation_info?address=So1",
                                         "https://e.x/defi/price?address=So1",
                                         "https://e.x/defi/other?x=1"};
    struct setup *t = *state;
    struct eider_birdeye_ohlcv query = {.address = TOKEN, .type = "1H", .time_to = 3600};
    struct eider_response *r[7];

    t->options.base_url = "https://e.x";
    open_birdeye(t);
    eider_birdeye_historical_price(t->birdeye, TOKEN, 1700000000, "eth", &r[0]);
    eider_birdeye_history_price(t->birdeye, &query, &r[1]);
    eider_birdeye_search(t->birdeye, "a b&c", 5, NULL, &r[2]);
    eider_birdeye_token_metadata(t->birdeye, TOKEN, NULL, &r[3]);
    eider_birdeye_token_creation(t->birdeye, TOKEN, NULL, &r[4]);
    eider_birdeye_price(t->birdeye, TOKEN, NULL, &r[5]);
    eider_birdeye_get(t->birdeye, "/defi/other?x=1", NULL, &r[6]);
    for (int i = 0; i < 7; i++) {
        assert_int_equal(r[i]->status, EIDER_CLIENT_OK);
        eider_response_free(r[i]);
        if (!slice_starts(slice_of(t->fake->urls[i]), starts[i])) {
            fail_msg("%s", t->fake->urls[i]);
        }
    }
    assert_non_null(strstr(t->fake->urls[1], "&address_type=token&type=1H&time_from=0"
                                             "&time_to=3600&ui_amount_mode=raw"));
    assert_non_null(strstr(t->fake->heads[0], "x-chain: ethereum\n"));
    assert_int_equal(t->fake->booked, 7 * 60 * EIDER_CREDIT);
}

static void
test_birdeye_turns_to_the_next_key_at_429_and_403(void **state)
{
    struct setup *t = *state;
    struct eider_birdeye_key keys[3];

    answer_with(t, 429, 1);
    answer_with(t, 403, 1);
    assert_int_equal(price(t), EIDER_CLIENT_OK);
    assert_string_equal(t->fake->keys[0], "alpha");
    assert_string_equal(t->fake->keys[1], "beta");
    assert_string_equal(t->fake->keys[2], "gamma");
    assert_int_equal(t->fake->slept_ms[0], 1000);
    assert_int_equal(t->fake->slept_ms[1], 1000);
    assert_int_equal(t->fake->reserves, 3);
    assert_int_equal(t->fake->booked, 60 * EIDER_CREDIT);
    assert_int_equal(eider_birdeye_keys(t->birdeye, keys, 3), 3);
    assert_int_equal(keys[0].state, EIDER_BIRDEYE_KEY_RATE_LIMITED);
    assert_int_equal(keys[1].state, EIDER_BIRDEYE_KEY_FORBIDDEN);
    assert_int_equal(keys[2].state, EIDER_BIRDEYE_KEY_ACTIVE);
    assert_int_equal(keys[2].credits, 60 * EIDER_CREDIT);
    assert_int_equal(price(t), EIDER_CLIENT_OK);
    assert_string_equal(t->fake->keys[3], "gamma");
}

static void
test_birdeye_ends_at_permanent_errors(void **state)
{
    struct setup *t = *state;
    struct eider_birdeye_key keys[3];

    answer_with(t, 401, 1);
    answer_with(t, 400, 1);
    answer_with(t, 404, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(price(t), EIDER_CLIENT_HTTP);
    }
    assert_int_equal(t->fake->sent, 3);
    assert_int_equal(t->fake->sleeps, 0);
    eider_birdeye_keys(t->birdeye, keys, 3);
    assert_int_equal(keys[0].state, EIDER_BIRDEYE_KEY_UNAUTHORIZED);
    assert_int_equal(keys[1].state, EIDER_BIRDEYE_KEY_ACTIVE);
    assert_int_equal(keys[2].state, EIDER_BIRDEYE_KEY_ACTIVE);
}

static void
test_birdeye_without_a_key_left_refuses(void **state)
{
    struct setup *t = *state;

    answer_with(t, 429, 3);
    assert_int_equal(price(t), EIDER_CLIENT_HTTP);
    assert_int_equal(t->response->http_status, 429);
    assert_int_equal(price(t), EIDER_CLIENT_REFUSED);
    assert_int_equal(t->response->refusal, EIDER_REFUSAL_NO_KEY);
    assert_int_equal(t->fake->sent, 3);
    assert_int_equal(t->fake->reserves, 3);
}

static void
test_birdeye_backs_off_and_turns_at_500(void **state)
{
    struct setup *t = *state;

    answer_with(t, 500, 5);
    assert_int_equal(price(t), EIDER_CLIENT_OK);
    assert_int_equal(t->response->attempts, 6);
    assert_int_equal(t->fake->slept_ms[0], 1000);
    assert_int_equal(t->fake->slept_ms[4], 16000);
    assert_string_equal(t->fake->keys[1], "beta");
    assert_string_equal(t->fake->keys[3], "alpha");
}

static void
test_birdeye_ends_a_call_that_passed_ten_failures(void **state)
{
    struct setup *t = *state;
    struct eider_birdeye_usage usage;

    answer_with(t, 500, 10);
    assert_int_equal(price(t), EIDER_CLIENT_HTTP); /* 6 failures */
    eider_birdeye_usage(t->birdeye, &usage);
    assert_int_equal(usage.breaker, EIDER_BIRDEYE_RUNNING);
    size_t sleeps = t->fake->sleeps;
    assert_int_equal(price(t), EIDER_CLIENT_OK); /* 4 more, then a success */
    assert_int_equal(t->fake->sleeps - sleeps, 4);
    eider_birdeye_usage(t->birdeye, &usage);
    assert_int_equal(usage.failures_in_a_row, 0);
}

static void
test_birdeye_waits_for_the_end_of_a_pause(void **state)
{
    struct setup *t = *state;
    struct eider_birdeye_usage usage;

    answer_with(t, 404, 10);
    for (int i = 0; i < 10; i++) {
        price(t);
    }
    eider_birdeye_usage(t->birdeye, &usage);
    assert_int_equal(usage.breaker, EIDER_BIRDEYE_PAUSED);
    assert_int_equal(usage.resumes_in_ms, 60000);
    assert_int_equal(t->fake->sleeps, 0);
    assert_int_equal(price(t), EIDER_CLIENT_OK);
    assert_int_equal(t->fake->slept_ms[0], 60000);
}

static void
test_birdeye_no_wait_refuses_in_a_pause(void **state)
{
    struct setup *t = *state;

    t->options.no_wait = true;
    answer_with(t, 404, 10);
    for (int i = 0; i < 10; i++) {
        price(t);
    }
    assert_int_equal(price(t), EIDER_CLIENT_REFUSED);
    assert_int_equal(t->response->refusal, EIDER_REFUSAL_PAUSED);
    assert_string_equal(t->response->code, "BIRDEYE_PAUSED");
    assert_int_equal(t->response->retry_after_ms, 60000);
    assert_int_equal(t->fake->sent, 10);
    assert_int_equal(t->fake->sleeps, 0);
}

static void
test_birdeye_open_refuses_until_five_minutes_are_over(void **state)
{
    static const char *const keys[] = {"1", "2", "3", "4", "5", "6", "7", "8", "9", "10"};
    struct setup *t = *state;
    struct eider_client_options client = {.retries_max = 20};

    t->options.keys = keys;
    t->options.key_count = 10;
    t->options.client = &client;
    t->options.key_rest_ms = 1000;
    answer_with(t, 429, 10); /* twenty, within one call */
    assert_int_equal(price(t), EIDER_CLIENT_HTTP);
    assert_int_equal(t->fake->sent, 10);
    assert_int_equal(price(t), EIDER_CLIENT_REFUSED);
    assert_string_equal(t->response->code, "BIRDEYE_OPEN");
    assert_int_equal(t->response->retry_after_ms, 300000);
    clock_manual_advance(&t->fake->clock, INT64_C(299999999));
    assert_int_equal(price(t), EIDER_CLIENT_REFUSED);
    clock_manual_advance(&t->fake->clock, 1);
    assert_int_equal(price(t), EIDER_CLIENT_OK);
}

static void
test_birdeye_keeps_to_the_rate(void **state)
{
    struct setup *t = *state;

    t->options.rate_max = 2;
    t->options.rate_window_ms = 5000;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(price(t), EIDER_CLIENT_OK);
    }
    assert_int_equal(t->fake->sleeps, 2);
    assert_int_equal(t->fake->slept_ms[0], 5000);
    assert_int_equal(t->fake->slept_ms[1], 5000);
}

static void
test_birdeye_validates_keys_when_told(void **state)
{
    struct setup *t = *state;
    struct eider_birdeye_key keys[3];

    t->options.validate_keys = true;
    answer_with(t, 401, 1);
    assert_int_equal(price(t), EIDER_CLIENT_OK);
    assert_string_equal(t->fake->keys[0], "alpha"); /* validation, in vain */
    assert_string_equal(t->fake->keys[1], "beta");  /* validation */
    assert_string_equal(t->fake->keys[2], "beta");  /* the call */
    assert_int_equal(t->fake->sent, 3);
    assert_int_equal(t->fake->reserves, 3);
    eider_birdeye_keys(t->birdeye, keys, 3);
    assert_int_equal(keys[0].state, EIDER_BIRDEYE_KEY_UNAUTHORIZED);
}

static void
test_birdeye_refused_by_the_meter_sends_nothing(void **state)
{
    struct setup *t = *state;
    struct eider_birdeye_usage usage;

    t->fake->reserve_verdict = METERING_REFUSED;
    assert_int_equal(price(t), EIDER_CLIENT_REFUSED);
    assert_int_equal(t->response->refusal, EIDER_REFUSAL_BUDGET);
    assert_int_equal(t->fake->sent, 0);
    eider_birdeye_usage(t->birdeye, &usage);
    assert_int_equal(usage.failures_in_a_row, 0);
    assert_int_equal(usage.credits, 0);
}

static void
test_birdeye_estimates_by_what_came(void **state)
{
    struct setup *t = *state;
    struct eider_birdeye_ohlcv query = {
        .address = TOKEN, .type = "1s", .time_from = 0, .time_to = 5000};
    struct eider_birdeye_usage usage;
    struct buf body BUF_AUTO = {0};

    buf_init(&body, 0);
    for (int i = 0; i < 1000; i++) {
        buf_add_cstr(&body, "{\"unix_time\":1}");
    }
    buf_add_char(&body, '\0');
    t->options.quota_credits = 200 * EIDER_CREDIT;
    open_birdeye(t);
    fake_answer(t->fake, (struct fake_answer){.status = 200, .body = body.ptr});
    assert_int_equal(eider_birdeye_ohlcv(t->birdeye, &query, &t->response), EIDER_CLIENT_OK);
    eider_birdeye_usage(t->birdeye, &usage);
    assert_int_equal(usage.credits, 120 * EIDER_CREDIT);
    assert_int_equal(usage.quota_units, 60);
    assert_false(usage.approaching_limit);
    price(t);
    eider_birdeye_usage(t->birdeye, &usage);
    assert_int_equal(usage.credits, 180 * EIDER_CREDIT);
    assert_int_equal(usage.quota_units, 61);
    assert_true(usage.approaching_limit);
    assert_true(usage.used_percent == 90.0);
}

static void
test_birdeye_takes_keys_from_the_environment(void **state)
{
    struct setup *t = *state;
    struct client_env env = fake_env(t->fake);
    char problem[256] = "";

    t->options.keys = NULL;
    for (int i = 0; i <= 6; i++) {
        char name[32];
        snprintf(name, sizeof(name), i ? "BIRDEYE_API_KEY_%d" : "BIRDEYE_API_KEY", i);
        unsetenv(name);
    }
    assert_int_equal(birdeye_open_with(&t->options, &env, &t->birdeye, problem, sizeof(problem)),
                     EIDER_CLIENT_INVALID);
    assert_non_null(strstr(problem, "BIRDEYE_API_KEY"));
    setenv("BIRDEYE_API_KEY", " one ", 1);
    setenv("BIRDEYE_API_KEY_2", "two", 1);
    setenv("BIRDEYE_API_KEY_3", "  ", 1);
    price(t);
    price(t);
    price(t);
    assert_string_equal(t->fake->keys[0], "one");
    assert_string_equal(t->fake->keys[1], "two");
    assert_string_equal(t->fake->keys[2], "one");
    unsetenv("BIRDEYE_API_KEY");
    unsetenv("BIRDEYE_API_KEY_2");
    unsetenv("BIRDEYE_API_KEY_3");
}

static void
test_birdeye_refuses_wrong_arguments(void **state)
{
    struct setup *t = *state;
    struct eider_birdeye_ohlcv query = {.address = TOKEN, .type = "1m", .time_to = 60};
    struct eider_response *response;

    open_birdeye(t);
    assert_int_equal(eider_birdeye_price(t->birdeye, "short", NULL, &response),
                     EIDER_CLIENT_INVALID);
    assert_non_null(strstr(response->message, "\"short\""));
    eider_response_free(response);
    assert_int_equal(eider_birdeye_price(t->birdeye, TOKEN, "a\nb", &response),
                     EIDER_CLIENT_INVALID);
    eider_response_free(response);
    query.type = "7m";
    assert_int_equal(eider_birdeye_ohlcv(t->birdeye, &query, &response), EIDER_CLIENT_INVALID);
    assert_non_null(strstr(response->message, "type"));
    eider_response_free(response);
    query.type = "1m";
    query.time_from = 61;
    assert_int_equal(eider_birdeye_ohlcv(t->birdeye, &query, &response), EIDER_CLIENT_INVALID);
    assert_non_null(strstr(response->message, "time_from"));
    eider_response_free(response);
    assert_int_equal(eider_birdeye_get(t->birdeye, "no slash", NULL, &response),
                     EIDER_CLIENT_INVALID);
    eider_response_free(response);
    assert_int_equal(t->fake->sent, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_birdeye_ohlcv_asks_as_the_original),
        TEST(test_birdeye_reserves_the_dear_price_for_long_ranges),
        TEST(test_birdeye_calls_have_their_paths),
        TEST(test_birdeye_turns_to_the_next_key_at_429_and_403),
        TEST(test_birdeye_ends_at_permanent_errors),
        TEST(test_birdeye_without_a_key_left_refuses),
        TEST(test_birdeye_backs_off_and_turns_at_500),
        TEST(test_birdeye_ends_a_call_that_passed_ten_failures),
        TEST(test_birdeye_waits_for_the_end_of_a_pause),
        TEST(test_birdeye_no_wait_refuses_in_a_pause),
        TEST(test_birdeye_open_refuses_until_five_minutes_are_over),
        TEST(test_birdeye_keeps_to_the_rate),
        TEST(test_birdeye_validates_keys_when_told),
        TEST(test_birdeye_refused_by_the_meter_sends_nothing),
        TEST(test_birdeye_estimates_by_what_came),
        TEST(test_birdeye_takes_keys_from_the_environment),
        TEST(test_birdeye_refuses_wrong_arguments),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
