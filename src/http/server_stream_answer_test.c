/* Tests of streams: clients that leave, answers in pieces, stops, races. */
#include "http/testing_stream.h"

/* ---- tests: clients that leave ---- */

static void
test_stream_tells_when_the_client_leaves(void **state)
{
    static const char head[] = "POST /tap HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n";
    struct fixture *test = stream_run();

    (void)state;
    /* 0: before anything is read; 1: within the body; 2: behind it; 3: within the answer.
     * Each by an orderly close and by a reset. */
    for (int i = 0; i < 8; i++) {
        int stage = i / 2;
        int fd = client_connect(test);
        tap.exchange = NULL;
        tap.gones = tap.pieces = tap.ends = 0;
        client_send_text(fd, head);
        struct http_exchange *exchange = take_tap();
        if (stage > 0) {
            http_body_resume(exchange);
            client_send_text(fd, stage == 1 ? "abc" : "abcdefghi");
            wait_tap(stage == 1 ? has_piece : has_ended);
        }
        if (stage == 3) {
            ANSWER_AUTO struct answer answer;
            http_reply_begin(exchange, 10);
            assert_int_equal(http_reply_write(exchange, SLICE_LITERAL("a")), HTTP_WRITE_TAKEN);
            client_answer_to(fd, true, &answer);
            assert_int_equal(answer.status, 200);
        }
        if (i % 2) {
            client_abort(fd);
        } else {
            close(fd);
        }
        wait_tap(has_gone);
        assert_int_equal(tap.why, HTTP_GONE_CLIENT);
        if (stage == 3) {
            assert_int_equal(http_reply_write(exchange, SLICE_LITERAL("b")), HTTP_WRITE_GONE);
            http_reply_end(exchange);
        } else if (stage == 2) {
            http_reply(exchange);
        } else {
            http_reply_abort(exchange);
        }
        fixture_wait_stats(test, none_active);
        assert_int_equal(tap.gones, 1);
    }
    struct http_stats stats = fixture_wait_stats(test, none_active);
    assert_int_equal(stats.clients_gone, 8);
    assert_int_equal(stats.streams_cut, 2);
    assert_int_equal(stats.bodies_bytes, 0);
    stream_free(test);
}

static void
test_stream_tells_holders_of_ordinary_requests(void **state)
{
    struct fixture *test = stream_run();

    (void)state;
    for (int half = 0; half < 2; half++) {
        int fd = client_connect(test);
        tap.gones = 0;
        client_send_text(fd, "POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
                             "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        struct http_exchange *held = fixture_take_held(test);
        assert_true(http_on_gone(held, tap_gone, &tap));
        if (half) {
            shutdown(fd, SHUT_WR);
        } else {
            close(fd);
        }
        wait_tap(has_gone);
        assert_true(slice_is(http_body(held), "hi"));
        http_reply(held);
        fixture_wait_stats(test, none_active);
        if (half) {
            close(fd);
        }
    }
    stream_free(test);
}

static void
test_stream_does_not_tell_who_has_answered(void **state)
{
    struct fixture *test = stream_run();
    int fd = client_connect(test);

    (void)state;
    client_send_text(fd, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http_exchange *held = fixture_take_held(test);
    assert_true(http_on_gone(held, tap_gone, &tap));
    http_reply(held);
    assert_answer(fd, 200, "");
    assert_hello(fd);
    client_abort(fd);
    fixture_wait_stats(test, none_active);
    assert_int_equal(tap.gones, 0);
    stream_free(test);
}

static void
test_stream_says_when_the_client_has_left_before(void **state)
{
    struct fixture *test = stream_run();
    int fd = client_connect(test);

    (void)state;
    client_send_text(fd, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http_exchange *held = fixture_take_held(test);
    client_abort(fd);
    fixture_wait_stats(test, no_connections);
    assert_false(http_on_gone(held, tap_gone, &tap));
    http_reply(held);
    fixture_wait_stats(test, none_active);
    stream_free(test);
}

/* The exchange is used again, and knows nothing of the client that was lost. */
static void
test_stream_forgets_lost_clients(void **state)
{
    struct fixture *test = stream_run();

    (void)state;
    for (int asked = 0; asked < 2; asked++) {
        int fd = client_connect(test);
        client_send_text(fd, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
        struct http_exchange *held = fixture_take_held(test);
        if (asked) {
            assert_true(http_on_gone(held, tap_gone, &tap));
        }
        client_abort(fd);
        fixture_wait_stats(test, no_connections);
        http_reply(held);
        fixture_wait_stats(test, none_active);
        fd = client_connect(test);
        client_send_text(fd, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
        held = fixture_take_held(test);
        assert_true(http_on_gone(held, tap_gone, &tap));
        http_reply(held);
        assert_answer(fd, 200, "");
        close(fd);
        fixture_wait_stats(test, no_connections);
    }
    assert_int_equal(tap.gones, 1);
    stream_free(test);
}

/* ---- tests: answers ---- */

static void
test_stream_answers_in_pieces(void **state)
{
    struct fixture *test = stream_run();
    int fd = client_connect(test);

    (void)state;
    for (int length = -1; length < 7; length += 7) {
        ANSWER_AUTO struct answer answer;
        BUF_AUTO struct buf body = {0};
        buf_init(&body, 0);
        client_send_text(fd, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
        struct http_exchange *held = fixture_take_held(test);
        http_set_status(held, 404);
        http_add_header(held, "X-A", SLICE_LITERAL("b"));
        http_reply_begin(held, length);
        assert_int_equal(http_reply_write(held, SLICE_LITERAL("abc")), HTTP_WRITE_TAKEN);
        assert_int_equal(http_reply_write(held, SLICE_LITERAL("")), HTTP_WRITE_TAKEN);
        client_answer_to(fd, true, &answer);
        assert_int_equal(answer.status, 404);
        assert_true(slice_is(answer_header(&answer, "X-A"), "b"));
        char part[8];
        assert_true(client_read(fd, part, 3)); /* it does not wait for the end */
        if (length < 0) {
            assert_memory_equal(part, "3\r\n", 3);
            assert_true(client_read(fd, part, 5));
        }
        assert_memory_equal(part, "abc", 3);
        assert_int_equal(http_reply_write(held, SLICE_LITERAL("def")), HTTP_WRITE_TAKEN);
        http_reply_end(held);
        if (length < 0) {
            assert_true(client_chunks(fd, &body));
            assert_true(slice_is(buf_slice(&body), "def"));
        } else {
            assert_true(client_read(fd, part, 3));
            assert_memory_equal(part, "def", 3);
        }
        assert_hello(fd);
    }
    close(fd);
    fixture_wait_stats(test, none_active);
    stream_free(test);
}

static void
test_stream_answers_without_a_body(void **state)
{
    static const struct {
        const char *method;
        int status;
        int64_t length;
        const char *length_text;
    } cases[] = {
        {"HEAD", 200, 6, "6"},
        {"HEAD", 200, -1, NULL},
        {"GET", 204, -1, NULL},
        {"GET", 304, 6, NULL},
    };
    struct fixture *test = stream_run();
    int fd = client_connect(test);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ANSWER_AUTO struct answer answer;
        char text[64];
        snprintf(text, sizeof(text), "%s /hold HTTP/1.1\r\nHost: a\r\n\r\n", cases[i].method);
        client_send_text(fd, text);
        struct http_exchange *held = fixture_take_held(test);
        http_set_status(held, cases[i].status);
        http_reply_begin(held, cases[i].length);
        assert_int_equal(http_reply_write(held, SLICE_LITERAL("abcdef")), HTTP_WRITE_TAKEN);
        http_reply_end(held);
        client_answer_to(fd, true, &answer);
        assert_int_equal(answer.status, cases[i].status);
        assert_null(answer_header(&answer, "Transfer-Encoding").ptr);
        if (cases[i].length_text) {
            assert_true(slice_is(answer_header(&answer, "Content-Length"), cases[i].length_text));
        } else {
            assert_null(answer_header(&answer, "Content-Length").ptr);
        }
        assert_hello(fd);
    }
    close(fd);
    fixture_wait_stats(test, none_active);
    stream_free(test);
}

/* What an incomplete answer looks like to the client. */
enum cut_how { CUT_ABORT, CUT_SHORT, CUT_LONG };

static void
test_stream_cuts_answers_visibly(void **state)
{
    static const struct {
        const char *version;
        int64_t length;
        enum cut_how how;
    } cases[] = {
        {"1.1", -1, CUT_ABORT}, {"1.1", 9, CUT_ABORT},  {"1.1", 9, CUT_SHORT},
        {"1.1", 2, CUT_LONG},   {"1.0", -1, CUT_ABORT},
    };
    struct fixture *test = stream_run();

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ANSWER_AUTO struct answer answer;
        BUF_AUTO struct buf body = {0};
        int fd = client_connect(test);
        char text[64];
        buf_init(&body, 0);
        snprintf(text, sizeof(text), "GET /hold HTTP/%s\r\nHost: a\r\n\r\n", cases[i].version);
        client_send_text(fd, text);
        struct http_exchange *held = fixture_take_held(test);
        http_reply_begin(held, cases[i].length);
        assert_int_equal(http_reply_write(held, SLICE_LITERAL("a")), HTTP_WRITE_TAKEN);
        client_answer_to(fd, true, &answer);
        char c;
        assert_true(client_read(fd, &c, 1));
        if (cases[i].how == CUT_LONG) {
            assert_int_equal(http_reply_write(held, SLICE_LITERAL("bc")), HTTP_WRITE_GONE);
        }
        if (cases[i].how == CUT_ABORT) {
            http_reply_abort(held);
        } else {
            http_reply_end(held);
        }
        if (cases[i].length < 0 && cases[i].version[2] == '1') {
            assert_true(client_read(fd, text, 4)); /* the rest of the first chunk */
            assert_false(client_chunks(fd, &body));
        } else if (cases[i].length < 0) {
            assert_int_equal(recv(fd, &c, 1, 0), -1);
            assert_int_equal(errno, ECONNRESET);
        } else {
            assert_false(client_read(fd, &c, 1));
        }
        close(fd);
    }
    struct http_stats stats = fixture_wait_stats(test, none_active);
    assert_int_equal(stats.streams_cut, 5);
    stream_free(test);
}

static void
test_stream_abort_before_the_answer_closes_without_a_word(void **state)
{
    struct fixture *test = stream_run();
    int fd = client_connect(test);

    (void)state;
    client_send_text(fd, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    http_reply_abort(fixture_take_held(test));
    assert_end(fd);
    close(fd);
    fixture_wait_stats(test, none_active);
    assert_string_equal(fixture_access_line(test, 0), "GET /hold 499  in=31");
    stream_free(test);
}

static void
test_stream_ends_old_answers_by_closing(void **state)
{
    struct fixture *test = stream_run();
    int fd = client_connect(test);
    ANSWER_AUTO struct answer answer;
    char part[8];

    (void)state;
    client_send_text(fd, "GET /hold HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
    struct http_exchange *held = fixture_take_held(test);
    http_reply_begin(held, -1);
    http_reply_write(held, SLICE_LITERAL("abc"));
    http_reply_end(held);
    client_answer_to(fd, true, &answer);
    assert_null(answer_header(&answer, "Transfer-Encoding").ptr);
    assert_true(slice_is(answer_header(&answer, "Connection"), "close"));
    assert_true(client_read(fd, part, 3));
    assert_memory_equal(part, "abc", 3);
    assert_end(fd);
    close(fd);
    fixture_wait_stats(test, none_active);
    stream_free(test);
}

/* Writes pattern bytes until it has to wait; returns how many it could. */
static size_t
fill(struct http_exchange *exchange, size_t from, size_t to)
{
    char piece[10000];

    while (from < to) {
        size_t len = to - from < sizeof(piece) ? to - from : sizeof(piece);
        for (size_t i = 0; i < len; i++) {
            piece[i] = (char)((from + i) * 2654435761U >> 13);
        }
        enum http_write result = http_reply_write(exchange, slice_make(piece, len));
        if (result == HTTP_WRITE_WAIT) {
            break;
        }
        assert_int_equal(result, HTTP_WRITE_TAKEN);
        from += len;
    }
    return from;
}

static void
test_stream_holds_back_writers_for_slow_clients(void **state)
{
    struct fixture *test = stream_run();
    int fd = client_connect_with(http_server_port(test->server), 4096);
    ANSWER_AUTO struct answer answer;
    BUF_AUTO struct buf body = {0};

    (void)state;
    buf_init(&body, 0);
    client_send_text(fd, "GET /tap HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http_exchange *exchange = take_tap();
    http_reply_begin(exchange, LARGE);
    size_t written = fill(exchange, 0, LARGE);
    assert_true(written < LARGE);
    struct http_stats stats;
    http_server_stats(test->server, &stats);
    assert_true(stats.bodies_bytes <= 3 * HTTP_STREAM_HIGH_BYTES);
    client_answer_to(fd, true, &answer);
    char *to = buf_reserve(&body, LARGE);
    while (written < LARGE) {
        /* Reads as much as may come, then waits to be told. */
        pthread_mutex_lock(&test->lock);
        bool drained = tap.drains > 0;
        tap.drains = 0;
        pthread_mutex_unlock(&test->lock);
        if (drained) {
            written = fill(exchange, written, LARGE);
        } else if (body.len < written) {
            size_t want = written - body.len < 50000 ? written - body.len : 50000;
            ssize_t got = recv(fd, to + body.len, want, 0);
            assert_true(got > 0);
            body.len += (size_t)got;
        } else {
            wait_tap(has_drained);
        }
    }
    http_reply_end(exchange);
    assert_true(client_read(fd, to + body.len, LARGE - body.len));
    body.len = LARGE;
    assert_pattern(buf_slice(&body), LARGE);
    assert_hello(fd);
    close(fd);
    stats = fixture_wait_stats(test, none_active);
    assert_int_equal(stats.bodies_bytes, 0);
    stream_free(test);
}

static void
test_stream_drops_clients_that_do_not_read(void **state)
{
    struct fixture *test = stream_run();
    int fd = client_connect_with(http_server_port(test->server), 4096);
    struct http_stats stats;

    (void)state;
    client_send_text(fd, "GET /tap HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http_exchange *exchange = take_tap();
    http_reply_begin(exchange, -1);
    do {
        /* More than once, since the kernel may still have taken something in between. */
        char bytes[4096] = {0};
        http_reply_write(exchange, slice_make(bytes, sizeof(bytes)));
        http_server_stats(test->server, &stats);
        if (stats.bodies_bytes > HTTP_STREAM_HIGH_BYTES) {
            fixture_advance(test, 61);
        }
        sched_yield();
    } while (stats.connections > 0);
    wait_tap(has_gone);
    assert_int_equal(tap.why, HTTP_GONE_CLIENT);
    http_reply_abort(exchange);
    stats = fixture_wait_stats(test, none_active);
    assert_int_equal(stats.bodies_bytes, 0);
    close(fd);
    stream_free(test);
}

static void
test_stream_waits_when_the_budget_is_used_up_but_goes_on(void **state)
{
    struct fixture *test = stream_new();
    ANSWER_AUTO struct answer answer;
    BUF_AUTO struct buf body = {0};

    (void)state;
    test->options.bodies_bytes_max = 5000;
    fixture_start(test);
    int fd = client_connect(test);
    buf_init(&body, 0);
    client_send_text(fd, "GET /tap HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http_exchange *exchange = take_tap();
    http_reply_begin(exchange, 1 << 20);
    size_t written = 0;
    client_answer_to(fd, true, &answer);
    char *to = buf_reserve(&body, 1 << 20);
    size_t got = 0;
    while (written < 1 << 20) {
        written = fill(exchange, written, 1 << 20);
        assert_true(client_read(fd, to + got, written - got));
        got = written;
    }
    http_reply_end(exchange);
    assert_pattern(slice_make(to, got), 1 << 20);
    close(fd);
    fixture_wait_stats(test, none_active);
    stream_free(test);
}

static void
test_stream_refuses_too_many_headers(void **state)
{
    struct fixture *test = stream_run();
    int fd = client_connect(test);
    ANSWER_AUTO struct answer answer;
    static char value[70000];

    (void)state;
    memset(value, 'x', sizeof(value));
    client_send_text(fd, "GET /tap HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http_exchange *exchange = take_tap();
    http_add_header(exchange, "X-Big", slice_make(value, sizeof(value)));
    http_reply_begin(exchange, -1);
    wait_tap(has_gone);
    http_reply_end(exchange);
    client_answer(fd, &answer);
    assert_int_equal(answer.status, 500);
    close(fd);
    fixture_wait_stats(test, none_active);
    stream_free(test);
}

/* ---- tests: stopping ---- */

static void
test_stream_ends_within_the_grace_of_a_stop(void **state)
{
    struct fixture *test = stream_run();
    int fd = client_connect(test);
    int idle = client_connect(test);
    ANSWER_AUTO struct answer answer;
    char part[8];

    (void)state;
    assert_hello(idle);
    client_send_text(fd, "POST /tap HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
    struct http_exchange *exchange = take_tap();
    pthread_t stop = fixture_stop_begin(test);
    assert_end(idle);
    http_body_resume(exchange);
    client_send_text(fd, "abc");
    wait_tap(has_ended);
    http_reply_begin(exchange, 3);
    assert_int_equal(http_reply_write(exchange, SLICE_LITERAL("def")), HTTP_WRITE_TAKEN);
    http_reply_end(exchange);
    client_answer_to(fd, true, &answer);
    assert_true(slice_is(answer_header(&answer, "Connection"), "close"));
    assert_true(client_read(fd, part, 3));
    assert_end(fd);
    close(fd);
    close(idle);
    fixture_stop_wait(test, stop);
    assert_int_equal(tap.gones, 0);
    stream_free(test);
}

static void
test_stream_outlives_its_server(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct fixture *test = stream_run();
        int fd = client_connect(test);
        client_send_text(fd, "POST /tap HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na");
        struct http_exchange *exchange = take_tap();
        http_body_resume(exchange);
        http_reply_begin(exchange, -1);
        http_reply_write(exchange, SLICE_LITERAL("abc"));
        wait_tap(has_piece);
        http_server_stop(test->server, how == 2 ? 20 : 0);
        test->server = NULL;
        assert_int_equal(tap.gones, 1);
        assert_int_equal(tap.why, HTTP_GONE_STOP);
        assert_int_equal(http_reply_write(exchange, SLICE_LITERAL("x")), HTTP_WRITE_GONE);
        http_body_resume(exchange);
        if (how == 0) {
            http_reply_end(exchange);
        } else {
            http_reply_abort(exchange);
        }
        close(fd);
        stream_free(test);
    }
}

/* ---- tests: races ---- */

enum { CLIENTS = 6, ROUNDS = 60 };

static void *
run_client(void *arg)
{
    struct fixture *test = arg;
    BUF_AUTO struct buf request = {0};

    buf_init(&request, 0);
    for (int i = 0; i < ROUNDS; i++) {
        int fd = client_connect(test);
        buf_reset(&request);
        add_request(&request, "/pipe", (size_t)i * 3001, i % 2);
        if (i % 3 == 2) {
            /* Leaves in the middle. */
            client_send(fd, slice_sub(buf_slice(&request), 0, request.len / 2));
            if (i % 2) {
                client_abort(fd);
            } else {
                close(fd);
            }
            continue;
        }
        struct sender sender = {.fd = fd, .bytes = buf_slice(&request)};
        assert_int_equal(pthread_create(&sender.thread, NULL, run_sender, &sender), 0);
        ANSWER_AUTO struct answer answer;
        BUF_AUTO struct buf body = {0};
        buf_init(&body, 0);
        client_answer_to(fd, i % 2, &answer);
        assert_int_equal(answer.status, 200);
        if (i % 2) {
            assert_true(client_chunks(fd, &body));
        }
        assert_pattern(buf_slice(i % 2 ? &body : &answer.body), (size_t)i * 3001);
        pthread_join(sender.thread, NULL);
        close(fd);
    }
    return NULL;
}

static void
test_stream_survives_many_clients_that_come_and_go(void **state)
{
    struct fixture *test = stream_new();
    pthread_t threads[CLIENTS];

    (void)state;
    test->options.loops = 2;
    fixture_start(test);
    for (int i = 0; i < CLIENTS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, run_client, test), 0);
    }
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(threads[i], NULL);
    }
    struct http_stats stats = fixture_wait_stats(test, none_active);
    assert_int_equal(stats.bodies_bytes, 0);
    stream_free(test);
}

/* The client leaves at the very moment at which another thread answers; whoever is first, the
 * holder is not called any more once it has given the exchange away. */
static void
test_stream_holders_are_left_alone_once_they_have_answered(void **state)
{
    struct fixture *test = stream_run();

    (void)state;
    for (int i = 0; i < 200; i++) {
        int fd = client_connect(test);
        struct tap *mine = mem_zalloc(1, sizeof(*mine));
        mine->test = test;
        client_send_text(fd, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
        struct http_exchange *held = fixture_take_held(test);
        bool there = http_on_gone(held, tap_gone, mine);
        assert_true(there);
        client_abort(fd);
        if (i % 2) {
            http_reply(held);
        } else {
            http_reply_begin(held, -1);
            http_reply_write(held, SLICE_LITERAL("abc"));
            http_reply_end(held);
        }
        free(mine);
    }
    fixture_wait_stats(test, none_active);
    stream_free(test);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream_tells_when_the_client_leaves),
        cmocka_unit_test(test_stream_tells_holders_of_ordinary_requests),
        cmocka_unit_test(test_stream_does_not_tell_who_has_answered),
        cmocka_unit_test(test_stream_says_when_the_client_has_left_before),
        cmocka_unit_test(test_stream_forgets_lost_clients),
        cmocka_unit_test(test_stream_answers_in_pieces),
        cmocka_unit_test(test_stream_answers_without_a_body),
        cmocka_unit_test(test_stream_cuts_answers_visibly),
        cmocka_unit_test(test_stream_abort_before_the_answer_closes_without_a_word),
        cmocka_unit_test(test_stream_ends_old_answers_by_closing),
        cmocka_unit_test(test_stream_holds_back_writers_for_slow_clients),
        cmocka_unit_test(test_stream_drops_clients_that_do_not_read),
        cmocka_unit_test(test_stream_waits_when_the_budget_is_used_up_but_goes_on),
        cmocka_unit_test(test_stream_refuses_too_many_headers),
        cmocka_unit_test(test_stream_ends_within_the_grace_of_a_stop),
        cmocka_unit_test(test_stream_outlives_its_server),
        cmocka_unit_test(test_stream_survives_many_clients_that_come_and_go),
        cmocka_unit_test(test_stream_holders_are_left_alone_once_they_have_answered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
