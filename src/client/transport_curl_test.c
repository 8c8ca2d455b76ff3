/* libcurl against a real server: the one of src/http, with the routes of its tests. */
#include "client/transport.h"

#include "http/testing.h"

struct setup {
    struct fixture *server;
    struct transport *transport;
    struct eider_headers headers;
    struct transport_answer answer;
    struct buf url;
    atomic_bool stop;
};

static int
begin(void **state)
{
    const struct transport_curl_options options = {
        .user_agent = "test/1", .idle_max = 4, .compressed = true};
    struct setup *t = mem_zalloc(1, sizeof(*t));
    struct err err;

    t->server = fixture_new();
    t->server->options.access = fixture_access;
    fixture_start(t->server);
    if (transport_curl_new(&options, &t->transport, &err) != ERR_OK) {
        fail_msg("%s", err.msg);
    }
    buf_init(&t->url, 0);
    transport_answer_init(&t->answer, 1);
    *state = t;
    return 0;
}

static int
end(void **state)
{
    struct setup *t = *state;

    transport_answer_fini(&t->answer);
    headers_fini(&t->headers);
    buf_fini(&t->url);
    t->transport->free(t->transport);
    fixture_free(t->server);
    free(t);
    return 0;
}

static void
send_to(struct setup *t, const char *path, struct transport_request request)
{
    buf_reset(&t->url);
    buf_add_fmt(&t->url, "http://127.0.0.1:%u%s", (unsigned)http_server_port(t->server->server),
                path);
    buf_add_char(&t->url, '\0');
    request.method = request.method ? request.method : "GET";
    request.url = t->url.ptr;
    request.headers = &t->headers;
    request.timeout_ms = request.timeout_ms ? request.timeout_ms : TEST_WAIT_S * 1000;
    request.connect_timeout_ms = TEST_WAIT_S * 1000;
    request.body_bytes_max = request.body_bytes_max ? request.body_bytes_max : 1 << 20;
    request.stop = &t->stop;
    transport_answer_fini(&t->answer);
    transport_answer_init(&t->answer, request.body_bytes_max);
    t->transport->send(t->transport, &request, &t->answer);
}

static void
test_curl_gets_head_and_body(void **state)
{
    struct setup *t = *state;

    send_to(t, "/hello", (struct transport_request){0});
    assert_int_equal(t->answer.result, TRANSPORT_ANSWERED);
    assert_int_equal(t->answer.status, 200);
    assert_true(t->answer.sent);
    assert_true(slice_is(buf_slice(&t->answer.body), "hello"));
    assert_string_equal(
        headers_find(t->answer.headers.items, t->answer.headers.count, "content-type"),
        "text/plain");
    assert_non_null(strstr(fixture_access_line(t->server, 0), "GET /hello 200 test/1"));
}

static void
test_curl_posts_bodies_with_zeros(void **state)
{
    struct setup *t = *state;

    send_to(t, "/echo",
            (struct transport_request){
                .method = "POST", .has_body = true, .body = slice_make("a\0b", 3)});
    assert_int_equal(t->answer.status, 200);
    assert_true(slice_eq(buf_slice(&t->answer.body), slice_make("a\0b", 3)));
    send_to(
        t, "/echo",
        (struct transport_request){.method = "PUT", .has_body = true, .body = SLICE_LITERAL("")});
    assert_int_equal(t->answer.status, 200);
    assert_int_equal(t->answer.body.len, 0);
    assert_non_null(strstr(fixture_access_line(t->server, 1), "PUT /echo 200"));
}

static void
test_curl_sends_headers(void **state)
{
    struct setup *t = *state;

    assert_true(headers_set(&t->headers, slice_of("X-Test"), slice_of("a: b")));
    send_to(t, "/headers?x=1", (struct transport_request){0});
    buf_add_char(&t->answer.body, '\0');
    assert_non_null(strstr(t->answer.body.ptr, " x=1 x-test:a: b"));
}

static bool
one_connection(const struct http_stats *stats)
{
    return stats->requests_total >= 20;
}

static void
test_curl_keeps_its_connection(void **state)
{
    struct setup *t = *state;

    for (int i = 0; i < 20; i++) {
        send_to(t, "/hello", (struct transport_request){0});
        assert_int_equal(t->answer.status, 200);
    }
    struct http_stats stats = fixture_wait_stats(t->server, one_connection);
    assert_int_equal(stats.connections_total, 1);
}

static void
test_curl_bounds_the_body(void **state)
{
    struct setup *t = *state;

    send_to(t, "/static", (struct transport_request){.body_bytes_max = TEST_STATIC_BYTES - 1});
    assert_int_equal(t->answer.result, TRANSPORT_TOO_LARGE);
    assert_int_equal(t->answer.status, 200);
    send_to(t, "/static", (struct transport_request){.body_bytes_max = TEST_STATIC_BYTES});
    assert_int_equal(t->answer.result, TRANSPORT_ANSWERED);
    assert_int_equal(t->answer.body.len, TEST_STATIC_BYTES);
}

static bool
take_some(void *ctx, const void *bytes, size_t len)
{
    size_t *left = ctx;

    (void)bytes;
    *left -= len < *left ? len : *left;
    return *left > 0;
}

static void
test_curl_gives_the_body_to_a_sink_until_it_says_no(void **state)
{
    struct setup *t = *state;
    size_t left = TEST_STATIC_BYTES + 1;

    send_to(t, "/static",
            (struct transport_request){.body_bytes_max = 10, .sink = take_some, .sink_ctx = &left});
    assert_int_equal(t->answer.result, TRANSPORT_ANSWERED);
    assert_true(t->answer.sink_used);
    assert_int_equal(left, 1);
    left = 1000;
    send_to(t, "/static", (struct transport_request){.sink = take_some, .sink_ctx = &left});
    assert_int_equal(t->answer.result, TRANSPORT_STOPPED);
    left = 1000;
    send_to(t, "/err", (struct transport_request){.sink = take_some, .sink_ctx = &left});
    assert_int_equal(t->answer.status, 429);
    assert_false(t->answer.sink_used);
    assert_int_equal(left, 1000);
}

static void
test_curl_times_out(void **state)
{
    struct setup *t = *state;

    send_to(t, "/hold", (struct transport_request){.timeout_ms = 50});
    assert_int_equal(t->answer.result, TRANSPORT_TIMEOUT);
    assert_true(t->answer.sent);
    http_reply(fixture_take_held(t->server));
}

static void
test_curl_tells_when_nothing_was_sent(void **state)
{
    struct setup *t = *state;
    struct transport_request request = {.method = "GET",
                                        .url = "http://127.0.0.1:1/",
                                        .headers = &t->headers,
                                        .timeout_ms = TEST_WAIT_S * 1000,
                                        .connect_timeout_ms = TEST_WAIT_S * 1000};

    t->transport->send(t->transport, &request, &t->answer);
    assert_int_equal(t->answer.result, TRANSPORT_NETWORK);
    assert_false(t->answer.sent);
    assert_int_equal(t->answer.status, 0);
    assert_non_null(strstr(t->answer.problem, "127.0.0.1"));
}

static void
test_curl_follows_no_other_protocol(void **state)
{
    struct setup *t = *state;
    struct transport_request request = {
        .method = "GET", .url = "file:///etc/hostname", .headers = &t->headers, .timeout_ms = 1000};

    t->transport->send(t->transport, &request, &t->answer);
    assert_int_equal(t->answer.result, TRANSPORT_NETWORK);
    assert_int_equal(t->answer.body.len, 0);
}

static void *
stop_when_held(void *arg)
{
    struct setup *t = arg;
    struct http_exchange *exchange = fixture_take_held(t->server);

    atomic_store(&t->stop, true);
    return exchange;
}

static void
test_curl_stops_when_told(void **state)
{
    struct setup *t = *state;
    void *exchange;
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, stop_when_held, t), 0);
    send_to(t, "/hold", (struct transport_request){0});
    assert_int_equal(t->answer.result, TRANSPORT_STOPPED);
    pthread_join(thread, &exchange);
    http_reply(exchange);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_curl_gets_head_and_body),
        TEST(test_curl_posts_bodies_with_zeros),
        TEST(test_curl_sends_headers),
        TEST(test_curl_keeps_its_connection),
        TEST(test_curl_bounds_the_body),
        TEST(test_curl_gives_the_body_to_a_sink_until_it_says_no),
        TEST(test_curl_times_out),
        TEST(test_curl_tells_when_nothing_was_sent),
        TEST(test_curl_follows_no_other_protocol),
        TEST(test_curl_stops_when_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
