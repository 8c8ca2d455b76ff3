/* Tests of WebSockets over real sockets: handshake, messages, closing, stopping. */
#include "http/testing_ws.h"

/* ---- handshake ---- */

static void
test_ws_refuses_what_is_no_upgrade(void **state)
{
    struct app *app = app_new(1);
    ANSWER_AUTO struct answer plain;
    ANSWER_AUTO struct answer foreign;
    int fd = client_connect(app->fixture);

    (void)state;
    client_send_text(fd, "GET /ws HTTP/1.1\r\nHost: a\r\n\r\n");
    client_answer(fd, &plain);
    assert_int_equal(plain.status, 426);
    assert_true(slice_is(answer_header(&plain, "Upgrade"), "websocket"));
    assert_true(slice_is(answer_header(&plain, "Sec-WebSocket-Version"), "13"));
    client_send_text(fd,
                     "GET /ws HTTP/1.1\r\nHost: a\r\nOrigin: http://b\r\n" UPGRADE_LINES "\r\n");
    client_answer(fd, &foreign);
    assert_int_equal(foreign.status, 403);
    assert_non_null(memmem(foreign.body.ptr, foreign.body.len, "EIDER_FORBIDDEN", 15));
    client_send_text(fd, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_answer(fd, 200, "hello"); /* still an HTTP connection */
    close(fd);
    assert_int_equal(app->opened, 0);
    app_free(app);
}

static void
test_ws_allows_listed_origins(void **state)
{
    static const char *const origins[] = {"http://b", NULL};
    struct fixture *test = fixture_new();
    struct app app = {.fixture = test, .limit = 1};
    ANSWER_AUTO struct answer answer;

    (void)state;
    test->ws = (struct ws_callbacks){app_open, app_text, app_close};
    test->ws_ctx = &app;
    test->options.origins = origins;
    fixture_start(test);
    int fd = client_connect(test);
    client_send_text(fd,
                     "GET /ws HTTP/1.1\r\nHost: a\r\nOrigin: http://b\r\n" UPGRADE_LINES "\r\n");
    client_answer(fd, &answer);
    assert_int_equal(answer.status, 101);
    close(fd);
    fixture_free(test);
}

/* Bytes behind the head belong to frames already, and a request before it was answered first. */
static void
test_ws_takes_frames_that_come_with_the_handshake(void **state)
{
    struct app *app = app_new(1);
    int fd = client_connect(app->fixture);
    BUF_AUTO struct buf text;

    (void)state;
    buf_init(&text, 0);
    buf_add_cstr(&text, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"
                        "GET /ws HTTP/1.1\r\nHost: a\r\n" UPGRADE_LINES "\r\n");
    buf_add(&text, "\x81\x85\0\0\0\0hello\x89\x81\0\0\0\0p", 18);
    client_send(fd, buf_slice(&text));
    assert_answer(fd, 200, "slow:");
    ANSWER_AUTO struct answer answer;
    client_answer(fd, &answer);
    assert_int_equal(answer.status, 101);
    assert_frame(fd, 0x81, "hello");
    assert_frame(fd, 0x8a, "p");
    close(fd);
    fixture_wait_stats(app->fixture, no_clients);
    app_free(app);
}

/* ---- messages ---- */

static void
test_ws_sends_messages_back(void **state)
{
    struct app *app = app_new(1);
    int fd = connect_ws(app, 0);
    BUF_AUTO struct buf text;
    BUF_AUTO struct buf payload;
    struct http_stats stats;

    (void)state;
    send_text(fd, "one");
    send_frame(fd, 0x01, SLICE_LITERAL("tw"));
    send_frame(fd, 0x89, SLICE_LITERAL("ping"));
    send_frame(fd, 0x80, SLICE_LITERAL("o"));
    send_frame(fd, 0x8a, SLICE_LITERAL("a pong nobody asked for"));
    assert_frame(fd, 0x81, "one");
    assert_frame(fd, 0x8a, "ping");
    assert_frame(fd, 0x81, "two");
    buf_init(&text, 0);
    buf_init(&payload, 0);
    for (int i = 0; i < 60000; i++) {
        buf_add_char(&text, (char)('a' + i % 26));
    }
    send_frame(fd, 0x81, buf_slice(&text));
    assert_int_equal(read_frame(fd, &payload), 0x81);
    assert_true(slice_eq(buf_slice(&payload), buf_slice(&text)));
    http_server_stats(app->fixture->server, &stats);
    assert_int_equal(stats.ws_clients, 1);
    assert_int_equal(stats.ws_clients_total, 1);
    assert_int_equal(stats.connections, 1);
    assert_int_equal(stats.responses_by_class[1], 1);
    assert_int_equal(stats.requests_active, 0);
    close(fd);
    fixture_wait_stats(app->fixture, no_connections);
    app_free(app);
}

struct bad {
    const char *bytes;
    size_t len;
    unsigned code;
};

#define BAD(text, code)                                                                            \
    {                                                                                              \
        text, sizeof(text) - 1, code                                                               \
    }

static void
test_ws_closes_on_broken_frames(void **state)
{
    static const struct bad bads[] = {
        BAD("\x81\x05hello", 1002),        BAD("\x82\x81\0\0\0\0x", 1003),
        BAD("\x81\x81\0\0\0\0\xff", 1007), BAD("\x81\xff\0\0\0\0\0\1\0\1\0\0\0\0", 1009),
        BAD("\x88\x81\0\0\0\0x", 1002),
    };
    struct app *app = app_new(1);

    (void)state;
    for (size_t i = 0; i < sizeof(bads) / sizeof(bads[0]); i++) {
        int fd = connect_ws(app, 0);
        client_send(fd, slice_make(bads[i].bytes, bads[i].len));
        send_text(fd, "not heard any more");
        assert_closed(fd, bads[i].code);
    }
    fixture_wait_stats(app->fixture, no_connections);
    assert_int_equal(app->closed, sizeof(bads) / sizeof(bads[0]));
    app_free(app);
}

static void
test_ws_answers_a_close_with_its_code(void **state)
{
    struct app *app = app_new(1);
    int fd = connect_ws(app, 0);

    (void)state;
    send_frame(fd, 0x88, SLICE_LITERAL("\x0f\xa1gone"));
    assert_closed(fd, 4001);
    fd = connect_ws(app, 0);
    send_frame(fd, 0x88, SLICE_LITERAL(""));
    assert_frame(fd, 0x88, "");
    assert_end(fd);
    close(fd);
    app_free(app);
}

static void
test_ws_closes_from_its_side(void **state)
{
    struct app *app = app_new(1);
    int fd = connect_ws(app, 0);

    (void)state;
    send_text(fd, "bye");
    assert_frame(fd, 0x88,
                 "\x0f\xa0"
                 "as you wish");
    send_frame(fd, 0x88, SLICE_LITERAL("\x0f\xa0"));
    assert_end(fd);
    close(fd);
    app->limit = 1;
    fd = connect_ws(app, 0);
    assert_frame(fd, 0x88,
                 "\x03\xf0"
                 "Max connections reached");
    send_frame(fd, 0x88, SLICE_LITERAL("\x03\xf0"));
    assert_end(fd);
    close(fd);
    fixture_wait_stats(app->fixture, no_connections);
    app_free(app);
}

static void
test_ws_does_not_wait_for_ever_for_the_other_close(void **state)
{
    struct app *app = app_new(1);
    int fd = connect_ws(app, 0);

    (void)state;
    send_text(fd, "bye");
    assert_frame(fd, 0x88,
                 "\x0f\xa0"
                 "as you wish");
    fixture_advance(app->fixture, 6);
    assert_end(fd);
    close(fd);
    app_free(app);
}

static void
test_ws_drops_clients_that_let_messages_pile_up(void **state)
{
    struct app *app = app_new(1);
    int fd = connect_ws(app, 4096);

    (void)state;
    send_text(fd, "flood");
    struct http_stats stats = fixture_wait_stats(app->fixture, no_connections);
    assert_int_equal(stats.ws_dropped_slow, 1);
    close(fd);
    app_free(app);
}

static void
test_ws_messages_that_come_in_count_against_the_budget(void **state)
{
    struct fixture *test = fixture_new();
    struct app app = {.fixture = test, .limit = 10};
    struct http_stats stats;
    static char half[10000];

    (void)state;
    test->ws = (struct ws_callbacks){app_open, app_text, app_close};
    test->ws_ctx = &app;
    test->options.bodies_bytes_max = 20000;
    fixture_start(test);
    int first = connect_ws(&app, 0);
    int second = connect_ws(&app, 0);
    /* 16 000 bytes each, of which 10 000 come at once. */
    client_send(first, SLICE_LITERAL("\x81\xfe\x3e\x80\0\0\0\0"));
    client_send(first, slice_make(half, sizeof(half)));
    do {
        sched_yield();
        http_server_stats(test->server, &stats);
    } while (stats.bodies_bytes < sizeof(half));
    client_send(second, SLICE_LITERAL("\x81\xfe\x3e\x80\0\0\0\0"));
    client_send(second, slice_make(half, sizeof(half)));
    assert_frame(second, 0x88, "\x03\xf5too much input is waiting");
    close(second);
    client_send(first, slice_make(half, 6000));
    BUF_AUTO struct buf payload;
    buf_init(&payload, 0);
    assert_int_equal(read_frame(first, &payload), 0x81);
    assert_int_equal(payload.len, 16000);
    close(first);
    fixture_wait_stats(test, no_connections);
    http_server_stats(test->server, &stats);
    assert_int_equal(stats.bodies_bytes, 0);
    fixture_free(test);
}

/* ---- stopping ---- */

static void *
stop_server(void *arg)
{
    http_server_stop(arg, TEST_WAIT_S * 1000);
    return NULL;
}

static void
test_ws_stop_says_going_away(void **state)
{
    struct app *app = app_new(2);
    int polite = connect_ws(app, 0);
    int rude = connect_ws(app, 0);
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, stop_server, app->fixture->server), 0);
    assert_frame(polite, 0x88, "\x03\xe9the server is stopping");
    assert_frame(rude, 0x88, "\x03\xe9the server is stopping");
    send_frame(polite, 0x88, SLICE_LITERAL("\x03\xe9"));
    assert_end(polite);
    close(polite);
    client_abort(rude);
    pthread_join(thread, NULL);
    app->fixture->server = NULL;
    assert_int_equal(app->closed, 2);
    app_free(app);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ws_refuses_what_is_no_upgrade),
        cmocka_unit_test(test_ws_allows_listed_origins),
        cmocka_unit_test(test_ws_takes_frames_that_come_with_the_handshake),
        cmocka_unit_test(test_ws_sends_messages_back),
        cmocka_unit_test(test_ws_closes_on_broken_frames),
        cmocka_unit_test(test_ws_answers_a_close_with_its_code),
        cmocka_unit_test(test_ws_closes_from_its_side),
        cmocka_unit_test(test_ws_does_not_wait_for_ever_for_the_other_close),
        cmocka_unit_test(test_ws_drops_clients_that_let_messages_pile_up),
        cmocka_unit_test(test_ws_messages_that_come_in_count_against_the_budget),
        cmocka_unit_test(test_ws_stop_says_going_away),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
