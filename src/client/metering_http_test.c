/* What is asked of an Eider server, and what its answers mean. */
#include "client/testing.h"

struct recorder {
    struct transport transport; /* first */
    char url[256];
    char body[2048];
    char authorization[128];
    int status;
    const char *answer;
    const char *retry_after;
    enum transport_result result;
};

static void
record(struct transport *self, const struct transport_request *request,
       struct transport_answer *ret_answer)
{
    struct recorder *recorder = (struct recorder *)(void *)self;
    const char *token =
        headers_find(request->headers->items, request->headers->count, "authorization");

    snprintf(recorder->url, sizeof(recorder->url), "%s %s", request->method, request->url);
    snprintf(recorder->body, sizeof(recorder->body), "%.*s", SLICE_FMT(request->body));
    snprintf(recorder->authorization, sizeof(recorder->authorization), "%s", token ? token : "");
    ret_answer->result = recorder->result;
    ret_answer->status = recorder->status;
    if (recorder->retry_after) {
        headers_set(&ret_answer->headers, slice_of("Retry-After"), slice_of(recorder->retry_after));
    }
    buf_add_cstr(&ret_answer->body, recorder->answer ? recorder->answer : "");
    snprintf(ret_answer->problem, sizeof(ret_answer->problem), "nobody there");
}

static void
free_nothing(struct transport *self)
{
    (void)self;
}

static const struct metering_call call = {.api_name = "Birdeye",
                                          .endpoint = "/defi/price",
                                          .method = "GET",
                                          .key = "key-1",
                                          .run_id = "r\"1",
                                          .has_max = true,
                                          .max_credits = 60500000,
                                          .ttl_ms = 60000};

static int
begin(void **state)
{
    static struct recorder recorder;

    recorder = (struct recorder){.transport = {.send = record, .free = free_nothing}};
    *state = &recorder;
    return 0;
}

static struct metering_backend *
open_backend(struct recorder *recorder)
{
    const struct metering_http_options options = {.url = "http://eider:8000/",
                                                  .token = "sesame",
                                                  .timeout_ms = 1000,
                                                  .transport = &recorder->transport};
    struct metering_backend *backend = NULL;
    struct err err;

    assert_int_equal(metering_http_new(&options, &backend, &err), ERR_OK);
    return backend;
}

static void
test_metering_http_reserves(void **state)
{
    struct recorder *recorder = *state;
    struct metering_backend *backend = open_backend(recorder);
    struct metering_refusal refusal = {0};
    struct metering_grant grant = {0};
    struct metering_call more = call;

    recorder->status = 200;
    recorder->answer = "{\"budgets\":[{\"name\":\"x\",\"credits\":1}],\"reservation_id\":\"r-9\","
                       "\"credits\":60.5,\"lsn\":3}";
    more.params_json = SLICE_LITERAL("{\"candles\":5}");
    more.query = SLICE_LITERAL("a=b");
    assert_int_equal(backend->reserve(backend, &more, &grant, &refusal), METERING_DONE);
    assert_string_equal(recorder->url, "POST http://eider:8000/api/v1/spend/reserve");
    assert_string_equal(recorder->authorization, "Bearer sesame");
    assert_string_equal(recorder->body,
                        "{\"api_name\":\"Birdeye\",\"endpoint\":\"/defi/price\",\"method\":\"GET\","
                        "\"key\":\"key-1\",\"run_id\":\"r\\\"1\",\"params\":{\"candles\":5},"
                        "\"query\":\"a=b\",\"max_credits\":60.5,\"ttl_ms\":60000}");
    assert_string_equal(grant.reservation_id, "r-9");
    assert_int_equal(grant.credits, 60500000);
    backend->free(backend);
}

static void
test_metering_http_understands_refusals(void **state)
{
    static const struct {
        enum transport_result result;
        int status;
        const char *answer;
        const char *retry_after;
        enum metering_verdict verdict;
        int64_t retry_after_ms;
    } cases[] = {
        {0, 503, "{\"code\":\"CIRCUIT_BREAKER_TRIPPED\",\"detail\":\"full\"}", "17",
         METERING_REFUSED, 17000},
        {0, 503, "{\"code\":\"CIRCUIT_BREAKER_TRIPPED\",\"retry_after_ms\":1234}", "2",
         METERING_REFUSED, 1234},
        {0, 503, "{\"code\":\"EIDER_UNAVAILABLE\"}", "1", METERING_DOWN, 1000},
        {0, 429, "{\"code\":\"EIDER_BUSY\"}", NULL, METERING_DOWN, 0},
        {0, 500, "not JSON", NULL, METERING_DOWN, 0},
        {0, 401, "{\"detail\":\"a token is needed\"}", NULL, METERING_DENIED, 0},
        {0, 422, "{\"detail\":\"no price\"}", NULL, METERING_DENIED, 0},
        {0, 200, "{}", NULL, METERING_DENIED, 0},
        {TRANSPORT_NETWORK, 0, NULL, NULL, METERING_DOWN, 0},
        {TRANSPORT_TIMEOUT, 0, NULL, NULL, METERING_DOWN, 0},
    };
    struct recorder *recorder = *state;
    struct metering_backend *backend = open_backend(recorder);

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct metering_refusal refusal = {0};
        struct metering_grant grant = {0};
        recorder->result = cases[i].result;
        recorder->status = cases[i].status;
        recorder->answer = cases[i].answer;
        recorder->retry_after = cases[i].retry_after;
        assert_int_equal(backend->reserve(backend, &call, &grant, &refusal), cases[i].verdict);
        assert_int_equal(refusal.retry_after_ms, cases[i].retry_after_ms);
        assert_string_not_equal(refusal.detail, "");
        assert_string_equal(grant.reservation_id, "");
    }
    backend->free(backend);
}

static void
test_metering_http_commits(void **state)
{
    struct recorder *recorder = *state;
    struct metering_backend *backend = open_backend(recorder);
    struct metering_receipt receipt = {0};
    struct metering_outcome outcome = {.has_status = true,
                                       .status = 429,
                                       .latency_ms = 12.5,
                                       .has_credits = true,
                                       .credits = 1,
                                       .error_message = "Rate limit exceeded for X",
                                       .metadata_json = "{\"url\":\"/a\"}",
                                       .event_id = "e-1",
                                       .request_bytes = 3,
                                       .response_bytes = 4};

    recorder->status = 200;
    recorder->answer = "{\"event_id\":\"e-1\",\"credits\":0.000001}";
    assert_int_equal(backend->commit(backend, "r-9", &call, &outcome, &receipt), METERING_DONE);
    assert_string_equal(recorder->url, "POST http://eider:8000/api/v1/spend/commit");
    assert_string_equal(recorder->body,
                        "{\"reservation_id\":\"r-9\",\"event_id\":\"e-1\",\"credits\":0.000001,"
                        "\"overrun\":true,\"request_bytes\":3,\"response_bytes\":4,"
                        "\"status_code\":429,\"success\":false,\"latency_ms\":12.5,"
                        "\"error_message\":\"Rate limit exceeded for X\","
                        "\"metadata\":{\"url\":\"/a\"}}");
    assert_string_equal(receipt.event_id, "e-1");
    assert_int_equal(receipt.credits, 1);
    backend->free(backend);
}

static void
test_metering_http_keeps_what_may_be_booked_later(void **state)
{
    static const struct {
        int status;
        enum metering_verdict commit, event;
    } cases[] = {{404, METERING_GONE, METERING_DENIED},   {412, METERING_GONE, METERING_DENIED},
                 {401, METERING_DOWN, METERING_DOWN},     {403, METERING_DOWN, METERING_DOWN},
                 {409, METERING_DENIED, METERING_DENIED}, {422, METERING_DENIED, METERING_DENIED},
                 {503, METERING_DOWN, METERING_DOWN},     {201, METERING_DONE, METERING_DONE}};
    struct recorder *recorder = *state;
    struct metering_backend *backend = open_backend(recorder);
    struct metering_outcome outcome = {.event_id = "e-1", .started_us = 1700000000500000};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct metering_receipt receipt = {0};
        recorder->status = cases[i].status;
        recorder->answer = "{}";
        assert_int_equal(backend->commit(backend, "r-9", &call, &outcome, &receipt),
                         cases[i].commit);
        assert_int_equal(backend->event(backend, &call, &outcome, &receipt), cases[i].event);
    }
    assert_string_equal(recorder->url, "POST http://eider:8000/api/v1/events");
    assert_string_equal(recorder->body,
                        "{\"id\":\"e-1\",\"timestamp\":\"2023-11-14T22:13:20.500000\","
                        "\"api_name\":\"Birdeye\",\"endpoint\":\"/defi/price\",\"method\":\"GET\","
                        "\"api_key\":\"key-1\",\"run_id\":\"r\\\"1\",\"success\":false,"
                        "\"latency_ms\":0.0}");
    backend->free(backend);
}

static void
test_metering_http_refuses_wrong_addresses_and_tokens(void **state)
{
    struct recorder *recorder = *state;
    struct metering_http_options options = {.url = "eider:8000", .transport = &recorder->transport};
    struct metering_backend *backend = NULL;
    struct err err;

    assert_int_equal(metering_http_new(&options, &backend, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "\"eider:8000\""));
    options.url = "http://x";
    options.token = "a\r\nb";
    assert_int_equal(metering_http_new(&options, &backend, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "eider_token"));
    assert_null(strstr(err.msg, "a\r\n"));
}

#define TEST(name) cmocka_unit_test_setup(name, begin)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_metering_http_reserves),
        TEST(test_metering_http_understands_refusals),
        TEST(test_metering_http_commits),
        TEST(test_metering_http_keeps_what_may_be_booked_later),
        TEST(test_metering_http_refuses_wrong_addresses_and_tokens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
