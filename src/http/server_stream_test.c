/* Tests of bodies and answers in pieces. The test's thread is the holder of what comes to /tap;
 * /pipe is answered on the loop with what it sends. */
#include "http/testing_stream.h"

/* ---- tests: bodies ---- */

static void
test_stream_pipes_large_bodies_both_ways(void **state)
{
    struct fixture *test = stream_new();
    struct http_stats stats;
    uint64_t most = 0;

    (void)state;
    test->options.loops = 2;
    fixture_start(test);
    for (int chunked = 0; chunked < 2; chunked++) {
        int fd = client_connect(test);
        BUF_AUTO struct buf request = {0};
        BUF_AUTO struct buf body = {0};
        ANSWER_AUTO struct answer answer;
        buf_init(&request, 0);
        buf_init(&body, 0);
        add_request(&request, "/pipe", LARGE, chunked);
        buf_add_cstr(&request, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"); /* pipelined */
        struct sender sender = {.fd = fd, .bytes = buf_slice(&request)};
        assert_int_equal(pthread_create(&sender.thread, NULL, run_sender, &sender), 0);
        client_answer_to(fd, true, &answer);
        assert_int_equal(answer.status, 200);
        http_server_stats(test->server, &stats);
        most = stats.bodies_bytes > most ? stats.bodies_bytes : most;
        if (chunked) {
            assert_true(slice_is(answer_header(&answer, "Transfer-Encoding"), "chunked"));
            assert_true(client_chunks(fd, &body));
        } else {
            char *to = buf_reserve(&body, LARGE);
            assert_true(client_read(fd, to, LARGE));
            body.len = LARGE;
        }
        pthread_join(sender.thread, NULL);
        assert_pattern(buf_slice(&body), LARGE);
        assert_answer(fd, 200, "hello");
        assert_hello(fd);
        close(fd);
    }
    stats = fixture_wait_stats(test, none_active);
    assert_true(most <= 3 * HTTP_STREAM_HIGH_BYTES);
    assert_int_equal(stats.bodies_bytes, 0);
    assert_int_equal(stats.streams_total, 2);
    assert_int_equal(stats.streams_cut, 0);
    stream_free(test);
}

static void
test_stream_reads_nothing_before_it_is_asked_to(void **state)
{
    struct fixture *test = stream_run();
    BUF_AUTO struct buf line = {0};
    int fd = client_connect(test);

    (void)state;
    buf_init(&line, 0);
    client_send_text(fd, "POST /tap HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                         "Expect: 100-continue\r\n\r\n");
    struct http_exchange *exchange = take_tap();
    assert_hello(client_connect(test)); /* the loop has been round, and said nothing to fd */
    char c;
    assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), -1);
    http_body_resume(exchange);
    read_line(fd, &line);
    assert_true(slice_is(buf_slice(&line), "HTTP/1.1 100 Continue\r\n"));
    read_line(fd, &line);
    client_send_text(fd, "hello");
    wait_tap(has_ended);
    assert_true(slice_is(buf_slice(&tap.body), "hello"));
    buf_add_cstr(http_out(exchange), "thanks");
    http_reply(exchange);
    assert_answer(fd, 200, "thanks");
    assert_hello(fd);
    close(fd);
    fixture_wait_stats(test, none_active);
    stream_free(test);
}

static void
test_stream_ends_at_once_without_a_body(void **state)
{
    struct fixture *test = stream_run();
    int fd = client_connect(test);

    (void)state;
    client_send_text(fd, "GET /tap HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http_exchange *exchange = take_tap();
    assert_int_equal(tap.ends, 0);
    http_body_resume(exchange);
    wait_tap(has_ended);
    http_reply(exchange);
    assert_answer(fd, 200, "");
    assert_hello(fd);
    close(fd);
    fixture_wait_stats(test, none_active);
    stream_free(test);
}

static void
test_stream_refuses_without_reading_and_closes(void **state)
{
    struct fixture *test = stream_run();
    ANSWER_AUTO struct answer answer;
    int fd = client_connect(test);

    (void)state;
    client_send_text(fd, "POST /tap HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\nabc");
    struct http_exchange *exchange = take_tap();
    http_set_status(exchange, 503);
    http_reply(exchange);
    client_answer(fd, &answer);
    assert_int_equal(answer.status, 503);
    assert_true(slice_is(answer_header(&answer, "Connection"), "close"));
    assert_int_equal(tap.pieces + tap.gones, 0);
    assert_end(fd);
    close(fd);
    fixture_wait_stats(test, none_active);
    stream_free(test);
}

/* The same when the answer comes in pieces: whatever of the body is left is not the next request.
 */
static void
test_stream_closes_behind_an_answer_to_half_a_body(void **state)
{
    struct fixture *test = stream_run();
    int fd = client_connect(test);
    ANSWER_AUTO struct answer answer;
    char part[2];

    (void)state;
    client_send_text(fd, "POST /tap HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\nab");
    struct http_exchange *exchange = take_tap();
    http_body_resume(exchange);
    wait_tap(has_piece);
    http_reply_begin(exchange, 2);
    http_reply_write(exchange, SLICE_LITERAL("no"));
    client_answer_to(fd, true, &answer);
    assert_int_equal(answer.status, 200);
    http_reply_end(exchange);
    assert_true(client_read(fd, part, 2));
    assert_end(fd);
    client_send_text(fd, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    close(fd);
    struct http_stats stats = fixture_wait_stats(test, none_active);
    assert_int_equal(stats.requests_total, 1);
    stream_free(test);
}

static void
test_stream_pauses_between_pieces(void **state)
{
    struct fixture *test = stream_run();
    int fd = client_connect(test);

    (void)state;
    tap.pause_after = 1;
    client_send_text(fd, "POST /tap HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                         "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n");
    struct http_exchange *exchange = take_tap();
    http_body_resume(exchange);
    wait_tap(has_piece);
    fixture_advance(test, 600); /* a client that is not being read is not late */
    assert_hello(client_connect(test));
    assert_int_equal(tap.gones, 0);
    assert_true(slice_is(buf_slice(&tap.body), "abc"));
    http_body_resume(exchange);
    wait_tap(has_ended);
    assert_true(slice_is(buf_slice(&tap.body), "abcdef"));
    http_reply(exchange);
    assert_answer(fd, 200, "");
    close(fd);
    fixture_wait_stats(test, none_active);
    stream_free(test);
}

static bool
has_two_pieces(void)
{
    return tap.pieces >= 2;
}

/* The same from another thread, which the loop must be told of. */
static void
test_stream_pause_stops_the_clients_time(void **state)
{
    struct fixture *test = stream_run();
    int fd = client_connect(test);

    (void)state;
    client_send_text(fd, "POST /tap HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
    struct http_exchange *exchange = take_tap();
    http_body_resume(exchange);
    wait_tap(has_piece);
    http_body_pause(exchange);
    int other = client_connect(test);
    assert_hello(other); /* so the loop has been round */
    fixture_advance(test, 600);
    assert_hello(other = client_connect(test));
    http_body_resume(exchange);
    client_send_text(fd, "def");
    wait_tap(has_two_pieces);
    client_send_text(fd, "ghi");
    wait_tap(has_ended);
    assert_int_equal(tap.gones, 0);
    assert_true(slice_is(buf_slice(&tap.body), "abcdefghi"));
    http_reply(exchange);
    assert_answer(fd, 200, "");
    close(fd);
    fixture_wait_stats(test, none_active);
    stream_free(test);
}

/* Broken, too large, late: the holder is told once and the client gets the reason. */
static void
test_stream_tells_bodies_that_fail(void **state)
{
    static const struct {
        const char *path;
        const char *body;
        int advance_s;
        int status;
    } cases[] = {
        {"/tap", "3\r\nabc\r\nzz\r\n", 0, 400},
        {"/small", "", 0, 413},
        {"/tap", "3\r\nab", 31, 408},
    };
    struct fixture *test = stream_run();

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int fd = client_connect(test);
        ANSWER_AUTO struct answer answer;
        BUF_AUTO struct buf text = {0};
        tap.exchange = NULL;
        tap.gones = 0;
        tap.pieces = 0;
        buf_init(&text, 0);
        buf_add_fmt(&text, "POST %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%s",
                    cases[i].path, cases[i].body);
        for (int chunk = 0; cases[i].status == 413 && chunk < 3; chunk++) {
            buf_add_fmt(&text, "190\r\n%0400d\r\n", 0); /* all of them are over the limit */
        }
        client_send(fd, buf_slice(&text));
        struct http_exchange *exchange = take_tap();
        http_body_resume(exchange);
        if (cases[i].advance_s) {
            wait_tap(has_piece);
            fixture_advance(test, cases[i].advance_s);
        }
        wait_tap(has_gone);
        assert_int_equal(tap.why, HTTP_GONE_BODY);
        http_add_header(exchange, "X-Of-Another-Answer", SLICE_LITERAL("1"));
        http_reply_begin(exchange, -1);
        assert_int_equal(http_reply_write(exchange, SLICE_LITERAL("a")), HTTP_WRITE_GONE);
        http_reply_end(exchange);
        client_answer(fd, &answer);
        assert_int_equal(answer.status, cases[i].status);
        assert_null(answer_header(&answer, "X-Of-Another-Answer").ptr);
        assert_end(fd);
        assert_int_equal(tap.gones, 1);
        close(fd);
    }
    fixture_wait_stats(test, none_active);
    stream_free(test);
}

static void
test_stream_refuses_lengths_over_the_limit_at_once(void **state)
{
    struct fixture *test = stream_run();
    int fd = client_connect(test);
    ANSWER_AUTO struct answer answer;

    (void)state;
    client_send_text(fd, "POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n");
    client_answer(fd, &answer);
    assert_int_equal(answer.status, 413);
    assert_null(tap.exchange);
    close(fd);
    fixture_wait_stats(test, none_active);
    stream_free(test);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream_pipes_large_bodies_both_ways),
        cmocka_unit_test(test_stream_reads_nothing_before_it_is_asked_to),
        cmocka_unit_test(test_stream_ends_at_once_without_a_body),
        cmocka_unit_test(test_stream_refuses_without_reading_and_closes),
        cmocka_unit_test(test_stream_closes_behind_an_answer_to_half_a_body),
        cmocka_unit_test(test_stream_pauses_between_pieces),
        cmocka_unit_test(test_stream_pause_stops_the_clients_time),
        cmocka_unit_test(test_stream_tells_bodies_that_fail),
        cmocka_unit_test(test_stream_refuses_lengths_over_the_limit_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
