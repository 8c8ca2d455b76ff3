/* Tests of the HTTP server over real sockets. */
#include "http/testing.h"

static void
test_server_answers_a_get(void **state)
{
    struct fixture *test = fixture_run();
    ANSWER_AUTO struct answer answer;
    int fd = client_connect(test);

    (void)state;
    client_send_text(fd, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    client_answer(fd, &answer);
    assert_int_equal(answer.status, 200);
    assert_true(slice_is(buf_slice(&answer.body), "hello"));
    assert_true(slice_is(answer_header(&answer, "Content-Length"), "5"));
    assert_true(slice_is(answer_header(&answer, "Content-Type"), "text/plain"));
    assert_true(slice_is(answer_header(&answer, "Server"), "eider"));
    assert_true(slice_ends(answer_header(&answer, "Date"), " GMT"));
    assert_null(answer_header(&answer, "Connection").ptr);
    client_send_text(fd, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_answer(fd, 200, "hello");
    close(fd);
    fixture_free(test);
}

static void
test_server_leaves_the_body_out_of_head_answers(void **state)
{
    struct fixture *test = fixture_run();
    ANSWER_AUTO struct answer answer;
    ANSWER_AUTO struct answer big;
    int fd = client_connect(test);

    (void)state;
    client_send_text(fd, "HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    client_answer_to(fd, true, &answer);
    assert_int_equal(answer.status, 200);
    assert_true(slice_is(answer_header(&answer, "Content-Length"), "5"));
    client_send_text(fd, "HEAD /static HTTP/1.1\r\nHost: a\r\n\r\n");
    client_answer_to(fd, true, &big);
    assert_true(slice_is(answer_header(&big, "Content-Length"), "8388608"));
    client_send_text(fd, "GET /empty HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_answer(fd, 204, "");
    client_send_text(fd, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_answer(fd, 200, "hello");
    close(fd);
    fixture_free(test);
}

static void
test_server_keeps_connections_as_the_version_says(void **state)
{
    struct fixture *test = fixture_run();
    ANSWER_AUTO struct answer old;
    ANSWER_AUTO struct answer kept;
    ANSWER_AUTO struct answer closed;
    int fd = client_connect(test);

    (void)state;
    client_send_text(fd, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    client_answer(fd, &kept);
    assert_true(slice_is(answer_header(&kept, "Connection"), "keep-alive"));
    client_send_text(fd, "GET /hello HTTP/1.0\r\n\r\n");
    client_answer(fd, &old);
    assert_true(slice_is(answer_header(&old, "Connection"), "close"));
    assert_end(fd);
    close(fd);
    fd = client_connect(test);
    client_send_text(fd, "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    client_answer(fd, &closed);
    assert_true(slice_is(answer_header(&closed, "Connection"), "close"));
    assert_end(fd);
    close(fd);
    fd = client_connect(test);
    client_send_text(fd, "GET /close HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_answer(fd, 200, "hello");
    assert_end(fd);
    close(fd);
    fixture_free(test);
}

static void
test_server_gives_the_handler_what_was_asked(void **state)
{
    struct fixture *test = fixture_run();
    ANSWER_AUTO struct answer answer;
    struct sockaddr_in self;
    socklen_t len = sizeof(self);
    char peer[64];
    int fd = client_connect(test);

    (void)state;
    client_send_text(fd, "GET /%68eaders?a=1&b=x+y HTTP/1.1\r\nHost: a\r\nX-TEST:  v \r\n"
                         "X-Request-Id: my-id_1.2\r\n\r\n");
    client_answer(fd, &answer);
    assert_true(slice_is(buf_slice(&answer.body),
                         "GET /headers /%68eaders?a=1&b=x+y my-id_1.2 tls=0 a=1 b=x y x-test:v"));
    assert_true(slice_is(answer_header(&answer, "X-Request-Id"), "my-id_1.2"));
    assert_int_equal(getsockname(fd, (struct sockaddr *)&self, &len), 0);
    snprintf(peer, sizeof(peer), "127.0.0.1:%u", (unsigned)ntohs(self.sin_port));
    assert_true(slice_is(answer_header(&answer, "X-Peer"), peer));
    close(fd);
    fixture_free(test);
}

static void
test_server_makes_a_request_id_when_the_client_has_none_fit_for_use(void **state)
{
    static const char *const requests[] = {
        "GET /headers HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /headers HTTP/1.1\r\nHost: a\r\nX-Request-Id: a b\r\n\r\n",
        "GET /headers HTTP/1.1\r\nHost: a\r\nX-Request-Id:\r\n\r\n",
        ("GET /headers HTTP/1.1\r\nHost: a\r\nX-Request-Id: "
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n"),
    };
    struct fixture *test = fixture_run();
    int fd = client_connect(test);

    (void)state;
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        ANSWER_AUTO struct answer answer;
        client_send_text(fd, requests[i]);
        client_answer(fd, &answer);
        struct slice id = answer_header(&answer, "X-Request-Id");
        assert_int_equal(id.len, 36);
        assert_int_equal(id.ptr[14], '7');
    }
    close(fd);
    fixture_free(test);
}

static void
test_server_answers_pipelined_requests_in_order(void **state)
{
    struct fixture *test = fixture_run();
    int fd = client_connect(test);

    (void)state;
    for (int round = 0; round < 3; round++) {
        client_send_text(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
                             "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"
                             "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
                             "POST /slow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                             "1\r\nx\r\n0\r\n\r\n"
                             "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        struct http_exchange *held = fixture_take_held(test);
        assert_answer(fd, 200, "abc");
        buf_add_cstr(http_out(held), "held");
        http_reply(held);
        assert_answer(fd, 200, "held");
        assert_answer(fd, 200, "hello");
        assert_answer(fd, 200, "slow:x");
        assert_answer(fd, 200, "hello");
    }
    close(fd);
    fixture_free(test);
}

static void
test_server_takes_requests_cut_anywhere(void **state)
{
    static const char text[] = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
                               "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
                               "\r\n2;x\r\nde\r\n1\r\nf\r\n0\r\nT: u\r\n\r\n"
                               "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
    struct fixture *test = fixture_run();
    int fd = client_connect(test);

    (void)state;
    for (size_t step = 1; step < 100; step += 7) {
        for (size_t at = 0; at < sizeof(text) - 1; at += step) {
            client_send(fd, slice_sub(slice_make(text, sizeof(text) - 1), at, step));
        }
        assert_answer(fd, 200, "abc");
        assert_answer(fd, 200, "def");
        assert_answer(fd, 200, "hello");
    }
    close(fd);
    fixture_free(test);
}

static void
test_server_says_continue_only_to_accepted_bodies(void **state)
{
    struct fixture *test = fixture_run();
    char text[25];
    int fd = client_connect(test);

    (void)state;
    client_send_text(fd, "POST /tiny HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                         "Expect: 100-continue\r\n\r\n");
    assert_true(client_read(fd, text, sizeof(text)));
    assert_memory_equal(text, "HTTP/1.1 100 Continue\r\n\r\n", sizeof(text));
    client_send_text(fd, "12345");
    assert_answer(fd, 200, "12345");
    client_send_text(fd, "POST /tiny HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                         "Expect: 100-continue\r\n\r\n12345");
    assert_answer(fd, 200, "12345"); /* the body was there already */
    client_send_text(fd, "POST /tiny HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n"
                         "Expect: 100-continue\r\n\r\n");
    ANSWER_AUTO struct answer refused;
    client_answer(fd, &refused);
    assert_int_equal(refused.status, 413);
    assert_end(fd);
    close(fd);
    fixture_free(test);
}

static void
assert_error(const struct answer *answer, const char *code)
{
    struct slice body = buf_slice(&answer->body);
    char expected[64];

    snprintf(expected, sizeof(expected), "\",\"code\":\"%s\",\"request_id\":\"", code);
    assert_true(slice_starts(body, "{\"detail\":\""));
    assert_non_null(memmem(body.ptr, body.len, expected, strlen(expected)));
    assert_true(slice_is(answer_header(answer, "Content-Type"), "application/json"));
}

/* The client sends all of a large body before it reads: the answer must not die of a reset. */
static void
test_server_refuses_large_bodies_readably(void **state)
{
    static const char *const heads[] = {
        "POST /tiny HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n",
        "POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n",
        "POST /tiny HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nf4240\r\n",
        "POST /none HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nf4240\r\n",
    };
    struct fixture *test = fixture_run();
    char *body = mem_zalloc(1, 1000000);

    (void)state;
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        ANSWER_AUTO struct answer answer;
        int fd = client_connect(test);
        client_send_text(fd, heads[i]);
        client_send(fd, slice_make(body, 1000000));
        client_answer(fd, &answer);
        assert_int_equal(answer.status, 413);
        assert_true(slice_is(answer_header(&answer, "Connection"), "close"));
        assert_error(&answer, "EIDER_TOO_LARGE");
        assert_end(fd);
        close(fd);
    }
    free(body);
    fixture_free(test);
}

static void
test_server_answers_what_accept_refuses(void **state)
{
    struct fixture *test = fixture_run();
    ANSWER_AUTO struct answer get;
    ANSWER_AUTO struct answer post;
    int fd = client_connect(test);

    (void)state;
    client_send_text(fd, "GET /denied HTTP/1.1\r\nHost: a\r\n\r\n");
    client_answer(fd, &get);
    assert_int_equal(get.status, 401);
    assert_error(&get, "EIDER_UNAUTHORIZED");
    assert_true(slice_is(answer_header(&get, "WWW-Authenticate"), "Bearer"));
    assert_null(answer_header(&get, "Connection").ptr);
    client_send_text(fd, "POST /denied HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n"
                         "GET /hello HTTP/1.1");
    client_answer(fd, &post);
    assert_int_equal(post.status, 401);
    assert_true(slice_is(answer_header(&post, "Connection"), "close"));
    assert_end(fd);
    close(fd);
    fixture_free(test);
}

static void
test_server_writes_errors_in_one_shape(void **state)
{
    struct fixture *test = fixture_run();
    ANSWER_AUTO struct answer answer;
    int fd = client_connect(test);

    (void)state;
    client_send_text(fd, "GET /err HTTP/1.1\r\nHost: a\r\nX-Request-Id: r1\r\n\r\n");
    client_answer(fd, &answer);
    assert_int_equal(answer.status, 429);
    assert_true(slice_is(buf_slice(&answer.body),
                         "{\"detail\":\"say \\\"please\\\"\",\"code\":\"EIDER_BUSY\","
                         "\"request_id\":\"r1\"}"));
    assert_true(slice_is(answer_header(&answer, "Retry-After"), "1"));
    assert_true(slice_is(answer_header(&answer, "X-Kept"), "yes"));
    close(fd);
    fixture_free(test);
}

struct malformed {
    const char *text;
    int status;
};

#define POST_LINES(lines) "POST /echo HTTP/1.1\r\nHost: a\r\n" lines

/* Each is followed by a good request, which must not be answered: nobody knows where it starts. */
static void
test_server_refuses_malformed_requests_and_closes(void **state)
{
    static const struct malformed cases[] = {
        {POST_LINES("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400},
        {POST_LINES("Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc"), 400},
        {POST_LINES("Content-Length: +2\r\n\r\nab"), 400},
        {POST_LINES("Content-Length: 2,2\r\n\r\nab"), 400},
        {POST_LINES("Content-Length : 2\r\n\r\nab"), 400},
        {"GET /hello HTTP/1.1\nHost: a\n\n", 400},
        {POST_LINES("X: a\rb\r\n\r\n"), 400},
        {POST_LINES("X: a\r\n b\r\n\r\n"), 400},
        {POST_LINES("Transfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n"), 501},
        {POST_LINES("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
         400},
        {POST_LINES("Transfer-Encoding: chunked\r\n\r\n0x2\r\nab\r\n0\r\n\r\n"), 400},
        {"GET /hello HTTP/1.1\r\n\r\n", 400},
        {"GET /hello HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
        {"GET /hello HTTP/9.9\r\nHost: a\r\n\r\n", 505},
        {"BREW /hello HTTP/1.1\r\nHost: a\r\n\r\n", 501},
        {"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    };
    struct fixture *test = fixture_run();
    struct http_stats stats;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ANSWER_AUTO struct answer answer;
        int fd = client_connect(test);
        client_send_text(fd, cases[i].text);
        client_send_text(fd, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        client_answer(fd, &answer);
        assert_int_equal(answer.status, cases[i].status);
        assert_true(slice_is(answer_header(&answer, "Connection"), "close"));
        assert_true(slice_starts(buf_slice(&answer.body), "{\"detail\":\""));
        assert_end(fd);
        close(fd);
    }
    http_server_stats(test->server, &stats);
    assert_int_equal(stats.parse_errors, sizeof(cases) / sizeof(cases[0]));
    fixture_free(test);
}

static void
test_server_refuses_nul_in_a_head(void **state)
{
    static const char text[] = "GET /hello HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n";
    struct fixture *test = fixture_run();
    ANSWER_AUTO struct answer answer;
    int fd = client_connect(test);

    (void)state;
    client_send(fd, slice_make(text, sizeof(text) - 1));
    client_answer(fd, &answer);
    assert_int_equal(answer.status, 400);
    assert_end(fd);
    close(fd);
    fixture_free(test);
}

static void
test_server_bounds_the_head(void **state)
{
    struct fixture *test = fixture_new();
    BUF_AUTO struct buf text;

    (void)state;
    test->options.head_bytes_max = 1000;
    fixture_start(test);
    buf_init(&text, 0);
    for (int complete = 0; complete < 2; complete++) {
        ANSWER_AUTO struct answer answer;
        int fd = client_connect(test);
        buf_reset(&text);
        buf_add_cstr(&text, "GET /hello HTTP/1.1\r\nHost: a\r\nX: ");
        for (int i = 0; i < 2000; i++) {
            buf_add_char(&text, 'x');
        }
        buf_add_cstr(&text, complete ? "\r\n\r\n" : "");
        client_send(fd, buf_slice(&text));
        client_answer(fd, &answer);
        assert_int_equal(answer.status, 431);
        assert_error(&answer, "EIDER_TOO_LARGE");
        assert_end(fd);
        close(fd);
    }
    fixture_free(test);
}

static void
test_server_joins_large_bodies(void **state)
{
    struct fixture *test = fixture_run();
    int fd = client_connect(test);

    (void)state;
    for (size_t len = 60000; len <= 6000000; len *= 10) {
        BUF_AUTO struct buf text;
        ANSWER_AUTO struct answer answer;
        buf_init(&text, 0);
        buf_add_fmt(&text, POST_LINES("Content-Length: %zu\r\n\r\n"), len);
        buf_add(&text, test->static_body, len);
        client_send(fd, buf_slice(&text));
        client_answer(fd, &answer);
        assert_int_equal(answer.body.len, len);
        assert_memory_equal(answer.body.ptr, test->static_body, len);
    }
    close(fd);
    fixture_free(test);
}

static bool
no_bodies(const struct http_stats *stats)
{
    return stats->bodies_bytes == 0;
}

static bool
holds_first_body(const struct http_stats *stats)
{
    return stats->bodies_bytes == 64000;
}

static void
test_server_bounds_all_bodies_together(void **state)
{
    struct fixture *test = fixture_new();
    int first;
    int second;

    (void)state;
    test->options.bodies_bytes_max = 100000;
    fixture_start(test);
    first = client_connect(test);
    second = client_connect(test);
    client_send_text(first, POST_LINES("Content-Length: 64000\r\nExpect: 100-continue\r\n\r\n"));
    char text[25];
    assert_true(client_read(first, text, sizeof(text)));
    client_send_text(first, "x");
    /* One byte of the first body holds the room for all 64 000. */
    fixture_wait_stats(test, holds_first_body);
    ANSWER_AUTO struct answer answer;
    client_send_text(second, POST_LINES("Content-Length: 64000\r\n\r\nx"));
    client_answer(second, &answer);
    assert_int_equal(answer.status, 503);
    assert_error(&answer, "EIDER_UNAVAILABLE");
    assert_true(slice_is(answer_header(&answer, "Retry-After"), "1"));
    client_send(first, slice_make(test->static_body, 63999));
    ANSWER_AUTO struct answer whole;
    client_answer(first, &whole);
    assert_int_equal(whole.body.len, 64000);
    fixture_wait_stats(test, no_bodies);
    close(first);
    close(second);
    fixture_free(test);
}

static void
test_server_sends_large_answers_to_slow_readers(void **state)
{
    struct fixture *test = fixture_run();
    ANSWER_AUTO struct answer answer;
    int fd = client_connect_with(http_server_port(test->server), 4096);

    (void)state;
    client_send_text(fd, "GET /static HTTP/1.1\r\nHost: a\r\n\r\n"
                         "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    client_answer(fd, &answer);
    assert_int_equal(answer.body.len, TEST_STATIC_BYTES);
    assert_memory_equal(answer.body.ptr, test->static_body, TEST_STATIC_BYTES);
    assert_answer(fd, 200, "hello");
    close(fd);
    fixture_free(test);
}

static void
test_server_counts_and_logs(void **state)
{
    struct fixture *test = fixture_new();
    struct http_route_stats route;
    struct http_stats stats;

    (void)state;
    test->options.access = fixture_access;
    fixture_start(test);
    int fd = client_connect(test);
    client_send_text(fd, "POST /echo?x HTTP/1.1\r\nHost: a\r\nUser-Agent: t/1\r\n"
                         "Content-Length: 2\r\n\r\nab");
    assert_answer(fd, 200, "ab");
    client_send_text(fd, "NONSENSE\r\n\r\n");
    ANSWER_AUTO struct answer answer;
    client_answer(fd, &answer);
    assert_end(fd);
    assert_string_equal(fixture_access_line(test, 0), "POST /echo?x 200 t/1 in=72");
    assert_string_equal(fixture_access_line(test, 1), "- - 400  in=12");
    http_server_stats(test->server, &stats);
    assert_int_equal(stats.requests_total, 2);
    assert_int_equal(stats.requests_active, 0);
    assert_int_equal(stats.responses_by_class[2], 1);
    assert_int_equal(stats.responses_by_class[4], 1);
    assert_int_equal(stats.parse_errors, 1);
    assert_int_equal(stats.connections_total, 1);
    assert_int_equal(stats.bytes_in, 84);
    assert_true(http_server_route_stats(test->server, 0, &route));
    assert_string_equal(route.route, "/test");
    assert_int_equal(route.by_class[2], 1);
    assert_int_equal(hist_count(route.latency_us), 1);
    assert_false(http_server_route_stats(test->server, 1, &route));
    close(fd);
    fixture_free(test);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server_answers_a_get),
        cmocka_unit_test(test_server_leaves_the_body_out_of_head_answers),
        cmocka_unit_test(test_server_keeps_connections_as_the_version_says),
        cmocka_unit_test(test_server_gives_the_handler_what_was_asked),
        cmocka_unit_test(test_server_makes_a_request_id_when_the_client_has_none_fit_for_use),
        cmocka_unit_test(test_server_answers_pipelined_requests_in_order),
        cmocka_unit_test(test_server_takes_requests_cut_anywhere),
        cmocka_unit_test(test_server_says_continue_only_to_accepted_bodies),
        cmocka_unit_test(test_server_refuses_large_bodies_readably),
        cmocka_unit_test(test_server_answers_what_accept_refuses),
        cmocka_unit_test(test_server_writes_errors_in_one_shape),
        cmocka_unit_test(test_server_refuses_malformed_requests_and_closes),
        cmocka_unit_test(test_server_refuses_nul_in_a_head),
        cmocka_unit_test(test_server_bounds_the_head),
        cmocka_unit_test(test_server_joins_large_bodies),
        cmocka_unit_test(test_server_bounds_all_bodies_together),
        cmocka_unit_test(test_server_sends_large_answers_to_slow_readers),
        cmocka_unit_test(test_server_counts_and_logs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
