/* The base client against a fake network and a fake meter. */
#include "client/testing.h"

struct setup {
    struct fake *fake;
    struct eider_client_options options;
    struct eider_client *client;
    struct eider_response *response;
};

static int
begin(void **state)
{
    struct setup *t = mem_zalloc(1, sizeof(*t));

    t->fake = fake_new();
    t->options = (struct eider_client_options){.base_url = "https://api.example.com/base/",
                                               .api_name = "Example",
                                               .max_credits = 60 * EIDER_CREDIT,
                                               .run_id = "run-1"};
    *state = t;
    return 0;
}

static int
end(void **state)
{
    struct setup *t = *state;

    eider_response_free(t->response);
    eider_client_close(t->client);
    free(t->fake);
    free(t);
    return 0;
}

static void
open_client(struct setup *t)
{
    struct client_env env = fake_env(t->fake);
    char problem[256] = "";

    if (client_open_with(&t->options, &env, &t->client, problem, sizeof(problem)) !=
        EIDER_CLIENT_OK) {
        fail_msg("%s", problem);
    }
}

static enum eider_client_status
get(struct setup *t, const char *path)
{
    if (!t->client) {
        open_client(t);
    }
    eider_response_free(t->response);
    return eider_client_get(t->client, path, &t->response);
}

static int64_t
sixty_for_success(void *ctx, const struct eider_call *call)
{
    (void)ctx;
    return call->success ? 60 * EIDER_CREDIT : 0;
}

static void
test_client_reserves_sends_and_books(void **state)
{
    struct setup *t = *state;

    t->options.credits = sixty_for_success;
    t->options.key_label = "main";
    fake_answer(t->fake,
                (struct fake_answer){
                    .status = 200, .body = "hello", .header = "X-Test: yes", .takes_us = 12500});
    assert_int_equal(get(t, "/v1/price?symbol=BTC&api_key=sesame"), EIDER_CLIENT_OK);
    assert_string_equal(t->response->body, "hello");
    assert_int_equal(t->response->body_len, 5);
    assert_string_equal(t->response->message, "");
    assert_string_equal(t->response->event_id, "e-1");
    assert_string_equal(eider_response_header(t->response, "x-test"), "yes");
    assert_int_equal(t->response->credits, 60 * EIDER_CREDIT);
    assert_true(t->response->latency_ms == 12.5);
    assert_int_equal(t->fake->reserved, 60 * EIDER_CREDIT);
    assert_string_equal(t->fake->last_key, "main");
    assert_string_equal(t->fake->last_call.run_id, "run-1");
    assert_int_equal(t->fake->last_call.ttl_ms, 60000);
    assert_string_equal(t->fake->urls[0],
                        "https://api.example.com/base/v1/price?symbol=BTC&api_key=sesame");
}

static void
test_client_records_as_the_original(void **state)
{
    struct setup *t = *state;

    assert_int_equal(get(t, "/v1/price?symbol=BTC&api_key=sesame"), EIDER_CLIENT_OK);
    assert_string_equal(t->fake->last_endpoint, "/v1/price");
    assert_string_equal(t->fake->last_metadata,
                        "{\"url\":\"/v1/price?symbol=BTC&api_key=[redacted]\",\"method\":\"GET\","
                        "\"baseURL\":\"https://api.example.com/base\"}");
    assert_true(t->fake->last_outcome.success);
    assert_int_equal(t->fake->last_outcome.status, 200);
    assert_true(t->fake->last_outcome.has_credits);
    assert_int_equal(t->fake->last_outcome.credits, 0);
    get(t, "");
    assert_string_equal(t->fake->last_endpoint, "unknown");
    assert_string_equal(t->fake->urls[1], "https://api.example.com/base");
}

static void
test_client_books_errors_with_their_texts(void **state)
{
    struct setup *t = *state;

    t->options.retries_max = -1;
    t->options.credits = sixty_for_success;
    fake_answer(t->fake, (struct fake_answer){.status = 429, .header = "Retry-After: 7"});
    fake_answer(t->fake, (struct fake_answer){.result = TRANSPORT_TIMEOUT});
    fake_answer(t->fake, (struct fake_answer){.result = TRANSPORT_NETWORK, .status = 200});
    fake_answer(t->fake, (struct fake_answer){.status = 404});
    assert_int_equal(get(t, "/a"), EIDER_CLIENT_HTTP);
    assert_string_equal(t->fake->last_error, "Rate limit exceeded for Example");
    assert_int_equal(t->response->retry_after_ms, 7000);
    assert_int_equal(t->fake->last_outcome.status, 429);
    assert_int_equal(get(t, "/a"), EIDER_CLIENT_TIMEOUT);
    assert_string_equal(t->fake->last_error, "Request to Example timed out");
    assert_false(t->fake->last_outcome.has_status);
    assert_int_equal(get(t, "/a"), EIDER_CLIENT_NETWORK);
    assert_string_equal(t->fake->last_error, "Network error: no route to nowhere");
    assert_false(t->fake->last_outcome.has_status);
    assert_false(t->fake->last_outcome.success);
    assert_int_equal(get(t, "/a"), EIDER_CLIENT_HTTP);
    assert_string_equal(t->response->message, "Example answered with status 404");
    assert_int_equal(t->fake->commits, 4);
    assert_int_equal(t->fake->booked, 0);
}

static void
test_client_reserves_every_attempt(void **state)
{
    struct setup *t = *state;

    t->options.credits = sixty_for_success;
    fake_answer(t->fake, (struct fake_answer){.status = 503});
    fake_answer(t->fake, (struct fake_answer){.result = TRANSPORT_TIMEOUT});
    assert_int_equal(get(t, "/a"), EIDER_CLIENT_OK);
    assert_int_equal(t->response->attempts, 3);
    assert_int_equal(t->fake->reserves, 3);
    assert_int_equal(t->fake->commits, 3);
    assert_int_equal(t->fake->booked, 60 * EIDER_CREDIT);
    assert_int_equal(t->fake->sleeps, 2);
    assert_int_equal(t->fake->slept_ms[0], 1000);
    assert_int_equal(t->fake->slept_ms[1], 2000);
}

static void
test_client_gives_up_behind_the_last_retry(void **state)
{
    struct setup *t = *state;

    for (int i = 0; i < 10; i++) {
        fake_answer(t->fake, (struct fake_answer){.status = 500, .body = "broken"});
    }
    assert_int_equal(get(t, "/a"), EIDER_CLIENT_HTTP);
    assert_int_equal(t->fake->sent, 4);
    assert_int_equal(t->response->attempts, 4);
    assert_string_equal(t->response->body, "broken");
}

static void
test_client_repeats_post_only_when_told(void **state)
{
    struct setup *t = *state;
    struct eider_request request = {.method = "post", .path = "/a", .body = "x", .body_len = 1};

    open_client(t);
    fake_answer(t->fake, (struct fake_answer){.status = 500});
    assert_int_equal(eider_client_send(t->client, &request, &t->response), EIDER_CLIENT_HTTP);
    assert_string_equal(t->fake->methods[0], "POST");
    assert_int_equal(t->fake->sent, 1);
    eider_response_free(t->response);
    request.retry_unsafe = true;
    fake_answer(t->fake, (struct fake_answer){.status = 500});
    assert_int_equal(eider_client_send(t->client, &request, &t->response), EIDER_CLIENT_OK);
    assert_int_equal(t->fake->sent, 3);
}

static void
test_client_refused_never_sends(void **state)
{
    struct setup *t = *state;
    struct eider_client_stats stats;

    t->fake->reserve_verdict = METERING_REFUSED;
    assert_int_equal(get(t, "/a"), EIDER_CLIENT_REFUSED);
    assert_int_equal(t->fake->sent, 0);
    assert_int_equal(t->response->refusal, EIDER_REFUSAL_BUDGET);
    assert_string_equal(t->response->code, "CIRCUIT_BREAKER_TRIPPED");
    assert_string_equal(t->response->message, "the window is full");
    assert_int_equal(t->response->retry_after_ms, 4200);
    assert_int_equal(t->response->attempts, 0);
    eider_client_stats(t->client, &stats);
    assert_int_equal(stats.refused, 1);
    assert_int_equal(stats.attempts, 0);
}

static void
test_client_fails_closed_when_the_meter_is_down(void **state)
{
    struct setup *t = *state;

    t->fake->reserve_verdict = METERING_DOWN;
    assert_int_equal(get(t, "/a"), EIDER_CLIENT_REFUSED);
    assert_int_equal(t->response->refusal, EIDER_REFUSAL_METER_DOWN);
    assert_int_equal(t->fake->sent, 0);
}

static void
test_client_fails_open_and_books_later(void **state)
{
    struct setup *t = *state;
    struct eider_client_stats stats;

    t->options.fail_open = true;
    t->options.credits = sixty_for_success;
    t->fake->reserve_verdict = METERING_DOWN;
    t->fake->event_verdict = METERING_DOWN;
    assert_int_equal(get(t, "/a"), EIDER_CLIENT_OK);
    assert_int_equal(get(t, "/b"), EIDER_CLIENT_OK);
    assert_int_equal(t->fake->sent, 2);
    eider_client_stats(t->client, &stats);
    assert_int_equal(stats.unmetered, 2);
    assert_int_equal(stats.queued, 2);
    assert_int_equal(t->fake->reserves, 1); /* the second does not ask within a second */
    assert_int_equal(t->fake->booked, 0);

    t->fake->reserve_verdict = METERING_DONE;
    t->fake->event_verdict = METERING_DONE;
    clock_manual_advance(&t->fake->clock, 1000000);
    assert_int_equal(get(t, "/c"), EIDER_CLIENT_OK);
    eider_client_stats(t->client, &stats);
    assert_int_equal(stats.queued, 0);
    assert_int_equal(stats.booked_late, 2);
    assert_int_equal(stats.lost, 0);
    assert_int_equal(t->fake->booked, 180 * EIDER_CREDIT);
    assert_string_equal(t->fake->last_endpoint, "/c");
}

static void
test_client_refuses_when_the_queue_is_full(void **state)
{
    struct setup *t = *state;

    t->options.fail_open = true;
    t->options.queue_max = 2;
    t->fake->reserve_verdict = METERING_DOWN;
    t->fake->event_verdict = METERING_DOWN;
    assert_int_equal(get(t, "/a"), EIDER_CLIENT_OK);
    assert_int_equal(get(t, "/a"), EIDER_CLIENT_OK);
    assert_int_equal(get(t, "/a"), EIDER_CLIENT_REFUSED);
    assert_int_equal(t->response->refusal, EIDER_REFUSAL_METER_DOWN);
    assert_int_equal(t->fake->sent, 2);
    assert_int_equal(eider_client_flush(t->client, 1000), 2);
    t->fake->event_verdict = METERING_DONE;
    assert_int_equal(eider_client_flush(t->client, 1000), 0);
}

static void
test_client_queues_a_commit_that_fails(void **state)
{
    struct setup *t = *state;
    char id[METERING_ID_MAX];

    t->options.credits = sixty_for_success;
    t->fake->commit_verdict = METERING_DOWN;
    assert_int_equal(get(t, "/a"), EIDER_CLIENT_OK);
    assert_int_equal(t->response->credits, 60 * EIDER_CREDIT);
    memcpy(id, t->fake->last_event_id, sizeof(id));
    assert_int_equal(eider_client_flush(t->client, 1000), 1);
    t->fake->commit_verdict = METERING_GONE;
    assert_int_equal(eider_client_flush(t->client, 1000), 0);
    assert_int_equal(t->fake->events, 1);
    assert_int_equal(t->fake->booked, 60 * EIDER_CREDIT);
    assert_string_equal(t->fake->last_event_id, id);
}

static void
test_client_counts_what_cannot_be_booked(void **state)
{
    struct setup *t = *state;
    struct eider_client_stats stats;

    t->fake->commit_verdict = METERING_DENIED;
    assert_int_equal(get(t, "/a"), EIDER_CLIENT_OK);
    eider_client_stats(t->client, &stats);
    assert_int_equal(stats.lost, 1);
    assert_int_equal(stats.queued, 0);
}

static bool
add_signature(void *ctx, const struct eider_call *call, struct eider_headers *headers)
{
    (void)ctx;
    assert_int_equal(call->reserved, 60 * EIDER_CREDIT);
    assert_false(eider_headers_set(headers, "X-Evil", "a\r\nb: c"));
    assert_false(eider_headers_set(headers, "X Evil", "a"));
    assert_true(eider_headers_set(headers, "x-default", NULL));
    return eider_headers_set(headers, "X-Signature", "s");
}

static void
test_client_request_hook_changes_headers(void **state)
{
    struct setup *t = *state;
    const struct eider_header headers[] = {{"X-Default", "d"}, {"X-Other", "o"}};

    t->options.headers = headers;
    t->options.header_count = 2;
    t->options.on_request = add_signature;
    assert_int_equal(get(t, "/a"), EIDER_CLIENT_OK);
    assert_string_equal(t->fake->heads[0], "X-Other: o\nX-Signature: s\n");
}

static bool
say_no(void *ctx, const struct eider_call *call, struct eider_headers *headers)
{
    (void)ctx;
    (void)call;
    (void)headers;
    return false;
}

static void
test_client_request_hook_gives_the_reservation_back(void **state)
{
    struct setup *t = *state;

    t->options.on_request = say_no;
    assert_int_equal(get(t, "/a"), EIDER_CLIENT_STOPPED);
    assert_int_equal(t->fake->sent, 0);
    assert_int_equal(t->fake->releases, 1);
    assert_int_equal(t->fake->commits, 0);
}

static void
keep_call(void *ctx, const struct eider_call *call)
{
    char *text = ctx;

    snprintf(text, 128, "%u %d %s %s %.1f %lld", call->attempt, call->http_status, call->body,
             call->error_message ? call->error_message : "-", call->latency_ms,
             (long long)call->credits);
}

static void
test_client_response_hook_sees_the_attempt(void **state)
{
    struct setup *t = *state;
    char seen[128] = "";

    t->options.on_response = keep_call;
    t->options.ctx = seen;
    t->options.retries_max = -1;
    fake_answer(t->fake, (struct fake_answer){.status = 500, .body = "oops", .takes_us = 1500});
    get(t, "/a");
    assert_string_equal(seen, "1 500 oops Example answered with status 500 1.5 0");
}

static size_t
hide_digits(void *ctx, char *text, size_t len)
{
    (void)ctx;
    for (size_t i = 0; i < len; i++) {
        text[i] = text[i] >= '0' && text[i] <= '9' ? '#' : text[i];
    }
    return len;
}

static void
test_client_redact_hook_changes_what_is_recorded(void **state)
{
    struct setup *t = *state;

    t->options.redact = hide_digits;
    t->options.retries_max = -1;
    fake_answer(t->fake, (struct fake_answer){.status = 404});
    get(t, "/account/1234");
    assert_non_null(strstr(t->fake->last_metadata, "\"/account/####\""));
    assert_string_equal(t->fake->last_error, "Example answered with status ###");
    assert_non_null(strstr(t->fake->urls[0], "/account/1234"));
}

static bool
collect(void *ctx, const void *bytes, size_t len)
{
    struct buf *buf = ctx;

    buf_add(buf, bytes, len);
    return buf->len < 9;
}

static void
test_client_sink_gets_the_body_and_ends_the_call(void **state)
{
    struct setup *t = *state;
    struct buf got BUF_AUTO = {0};
    struct eider_request request = {.path = "/a", .sink = collect, .sink_ctx = &got};

    buf_init(&got, 0);
    open_client(t);
    fake_answer(t->fake, (struct fake_answer){.status = 503, .body = "not for the sink"});
    fake_answer(t->fake, (struct fake_answer){.status = 200, .body = "bytes"});
    assert_int_equal(eider_client_send(t->client, &request, &t->response), EIDER_CLIENT_OK);
    assert_true(slice_is(buf_slice(&got), "bytes"));
    assert_string_equal(t->response->body, "");
    eider_response_free(t->response);
    fake_answer(t->fake, (struct fake_answer){.status = 200, .body = "more bytes"});
    assert_int_equal(eider_client_send(t->client, &request, &t->response), EIDER_CLIENT_STOPPED);
    assert_int_equal(t->fake->sent, 3);
}

static void
test_client_waits_for_retry_after(void **state)
{
    struct setup *t = *state;

    fake_answer(t->fake, (struct fake_answer){.status = 429, .header = "Retry-After: 9"});
    fake_answer(t->fake, (struct fake_answer){.status = 429, .header = "Retry-After: 3600"});
    assert_int_equal(get(t, "/a"), EIDER_CLIENT_HTTP);
    assert_int_equal(t->fake->slept_ms[0], 9000);
    assert_int_equal(t->fake->sleeps, 1);
    assert_int_equal(t->response->retry_after_ms, 3600000);
}

static void
test_client_stop_ends_later_calls(void **state)
{
    struct setup *t = *state;

    open_client(t);
    eider_client_stop(t->client);
    assert_int_equal(get(t, "/a"), EIDER_CLIENT_STOPPED);
    assert_int_equal(t->fake->sent, 0);
    assert_int_equal(t->fake->reserves, 0);
}

static void
test_client_leaves_costs_to_the_price_book(void **state)
{
    struct setup *t = *state;

    t->options.max_credits = 0;
    t->options.use_price_book = true;
    get(t, "/a?x=1&token=t");
    assert_false(t->fake->last_call.has_max);
    assert_false(t->fake->last_outcome.has_credits);
}

static void
assert_option(struct eider_client_options options, const char *problem_has)
{
    struct fake *fake = fake_new();
    struct client_env env = fake_env(fake);
    struct eider_client *client = NULL;
    char problem[256] = "";

    assert_int_equal(client_open_with(&options, &env, &client, problem, sizeof(problem)),
                     EIDER_CLIENT_INVALID);
    assert_null(client);
    if (!strstr(problem, problem_has)) {
        fail_msg("\"%s\" does not say \"%s\"", problem, problem_has);
    }
    free(fake);
}

static void
test_client_refuses_wrong_options(void **state)
{
    const struct eider_header evil = {"X", "a\nb"};
    const char *url = "http://h";

    (void)state;
    assert_option((struct eider_client_options){0}, "base_url is \"(null)\"");
    assert_option((struct eider_client_options){.base_url = "ftp://x"}, "base_url");
    assert_option((struct eider_client_options){.base_url = "http://"}, "base_url");
    assert_option((struct eider_client_options){.base_url = "http://h?x"}, "base_url");
    assert_option((struct eider_client_options){.base_url = "http://h\n"}, "base_url");
    assert_option((struct eider_client_options){.base_url = url, .timeout_ms = -1}, "timeout_ms");
    assert_option((struct eider_client_options){.base_url = url, .retry_factor = 0.5},
                  "retry_factor");
    assert_option((struct eider_client_options){.base_url = url, .max_credits = -1},
                  "max_credits is -1");
    assert_option(
        (struct eider_client_options){.base_url = url, .headers = &evil, .header_count = 1},
        "headers[0]");
    assert_option(
        (struct eider_client_options){.base_url = url, .eider_url = "http://x", .data_dir = "d"},
        "eider_url and data_dir");
    assert_option((struct eider_client_options){.base_url = url, .run_id = "\xff"}, "run_id");
}

static void
assert_request(struct setup *t, struct eider_request request, const char *message_has)
{
    struct eider_response *response = NULL;

    assert_int_equal(eider_client_send(t->client, &request, &response), EIDER_CLIENT_INVALID);
    if (!strstr(response->message, message_has)) {
        fail_msg("\"%s\" does not say \"%s\"", response->message, message_has);
    }
    eider_response_free(response);
}

static void
test_client_refuses_wrong_requests(void **state)
{
    struct setup *t = *state;
    struct eider_response *response = NULL;

    open_client(t);
    assert_request(t, (struct eider_request){.path = "a"}, "path is \"a\"");
    assert_request(t, (struct eider_request){.path = "/a b"}, "path");
    assert_request(t, (struct eider_request){.path = "/a\r\nX: y"}, "path");
    assert_request(t, (struct eider_request){.method = "GE T"}, "method");
    assert_request(t, (struct eider_request){.method = ""}, "method");
    assert_request(t, (struct eider_request){.body_len = 3}, "body");
    assert_request(t, (struct eider_request){.params_json = "[1]"}, "params_json");
    assert_request(t, (struct eider_request){.params_json = "{\"a\":}"}, "params_json");
    assert_request(t, (struct eider_request){.max_credits = -5}, "max_credits");
    assert_int_equal(t->fake->reserves, 0);
    assert_int_equal(eider_client_send(NULL, NULL, &response), EIDER_CLIENT_INVALID);
    eider_response_free(response);
    assert_int_equal(eider_client_send(t->client, NULL, NULL), EIDER_CLIENT_INVALID);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_client_reserves_sends_and_books),
        TEST(test_client_records_as_the_original),
        TEST(test_client_books_errors_with_their_texts),
        TEST(test_client_reserves_every_attempt),
        TEST(test_client_gives_up_behind_the_last_retry),
        TEST(test_client_repeats_post_only_when_told),
        TEST(test_client_refused_never_sends),
        TEST(test_client_fails_closed_when_the_meter_is_down),
        TEST(test_client_fails_open_and_books_later),
        TEST(test_client_refuses_when_the_queue_is_full),
        TEST(test_client_queues_a_commit_that_fails),
        TEST(test_client_counts_what_cannot_be_booked),
        TEST(test_client_request_hook_changes_headers),
        TEST(test_client_request_hook_gives_the_reservation_back),
        TEST(test_client_response_hook_sees_the_attempt),
        TEST(test_client_redact_hook_changes_what_is_recorded),
        TEST(test_client_sink_gets_the_body_and_ends_the_call),
        TEST(test_client_waits_for_retry_after),
        TEST(test_client_stop_ends_later_calls),
        TEST(test_client_leaves_costs_to_the_price_book),
        TEST(test_client_refuses_wrong_options),
        TEST(test_client_refuses_wrong_requests),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
