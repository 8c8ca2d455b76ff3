/* Tests of WebSockets over real sockets: handshake, messages, closing, broadcasts. */
#include "http/testing.h"

#include "http/ws.h"

#define UPGRADE_LINES                                                                              \
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"                   \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

/* ---- what the application does ---- */

struct app {
    struct fixture *fixture;
    _Atomic int opened;
    _Atomic int closed;
    _Atomic uint64_t last_id;
    int limit; /* further clients are closed with 1008 */
};

static void
app_open(void *ctx, struct ws_client *client)
{
    struct app *app = ctx;

    ws_set_user(client, app);
    if (atomic_fetch_add(&app->opened, 1) >= app->limit) {
        ws_close(client, 1008, "Max connections reached");
        return;
    }
    atomic_store(&app->last_id, ws_id(client));
    ws_join(client, 1);
}

/* "join N" joins the groups of the mask N, "flood" sends more than may wait, "bye" closes; all
 * else is sent back. */
static void
app_text(void *ctx, struct ws_client *client, struct slice text)
{
    assert_ptr_equal(ws_user(client), ctx);
    assert_true(slice_starts(ws_peer(client), "127.0.0.1:"));
    if (slice_starts(text, "join ")) {
        ws_join(client, (uint32_t)(text.ptr[5] - '0'));
    } else if (slice_is(text, "bye")) {
        ws_close(client, 4000, "as you wish");
        assert_false(ws_send_text(client, SLICE_LITERAL("too late")));
        return;
    } else if (slice_is(text, "flood")) {
        static char kilobyte[1024];
        int sent = 0;
        memset(kilobyte, 'k', sizeof(kilobyte));
        while (ws_send_text(client, slice_make(kilobyte, sizeof(kilobyte)))) {
            sent++;
        }
        assert_true(sent >= WS_QUEUED_MAX_BYTES / 2 / (int)sizeof(kilobyte));
        return;
    }
    ws_send_text(client, text);
}

static void
app_close(void *ctx, struct ws_client *client)
{
    struct app *app = ctx;

    assert_ptr_equal(ws_user(client), app);
    atomic_fetch_add(&app->closed, 1);
}

static struct app *
app_new(unsigned loops)
{
    struct app *app = mem_zalloc(1, sizeof(*app));
    struct fixture *test = fixture_new();

    app->fixture = test;
    app->limit = 1000000;
    test->ws = (struct ws_callbacks){app_open, app_text, app_close};
    test->ws_ctx = app;
    test->options.loops = loops;
    fixture_start(test);
    return app;
}

static void
app_free(struct app *app)
{
    struct fixture *test = app->fixture;

    if (test->server) {
        http_server_stop(test->server, 0);
        test->server = NULL;
    }
    assert_int_equal(app->opened, app->closed);
    fixture_free(test);
    free(app);
}

/* ---- the client ---- */

static int
connect_ws(struct app *app, int receive_buffer)
{
    ANSWER_AUTO struct answer answer;
    int fd = client_connect_with(http_server_port(app->fixture->server), receive_buffer);

    client_send_text(fd, "GET /ws HTTP/1.1\r\nHost: a\r\n" UPGRADE_LINES "\r\n");
    client_answer(fd, &answer);
    assert_int_equal(answer.status, 101);
    assert_true(
        slice_is(answer_header(&answer, "Sec-WebSocket-Accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_true(slice_is(answer_header(&answer, "Upgrade"), "websocket"));
    assert_true(slice_is(answer_header(&answer, "Connection"), "Upgrade"));
    return fd;
}

/* Sends a frame with a mask of zeros; first is FIN and opcode. */
static void
send_frame(int fd, unsigned first, struct slice payload)
{
    char head[8] = {(char)first};
    size_t len = 2;

    if (payload.len < 126) {
        head[1] = (char)(0x80 | payload.len);
    } else {
        head[1] = (char)(0x80 | 126);
        head[2] = (char)(payload.len >> 8);
        head[3] = (char)payload.len;
        len = 4;
    }
    client_send(fd, slice_make(head, len));
    client_send(fd, SLICE_LITERAL("\0\0\0\0"));
    client_send(fd, payload);
}

static void
send_text(int fd, const char *text)
{
    send_frame(fd, 0x81, slice_of(text));
}

/* Reads a frame; returns its first byte, or -1 at the end of the connection. */
static int
read_frame(int fd, struct buf *payload)
{
    unsigned char head[10];
    size_t len;

    buf_reset(payload);
    if (!client_read(fd, head, 2)) {
        return -1;
    }
    len = head[1];
    if (len == 126) {
        assert_true(client_read(fd, head, 2));
        len = (size_t)head[0] << 8 | head[1];
        head[0] = 0x81;
    } else if (len == 127) {
        assert_true(client_read(fd, head, 8));
        len = 0;
        for (int i = 0; i < 8; i++) {
            len = len << 8 | head[i];
        }
        head[0] = 0x81;
    }
    if (len > 0) {
        assert_true(client_read(fd, buf_reserve(payload, len), len));
        payload->len = len;
    }
    return head[0];
}

static void
assert_frame(int fd, int first, const char *text)
{
    BUF_AUTO struct buf payload;

    buf_init(&payload, 0);
    assert_int_equal(read_frame(fd, &payload), first);
    if (!slice_is(buf_slice(&payload), text)) {
        fail_msg("\"%.*s\" is not \"%s\"", SLICE_FMT(buf_slice(&payload)), text);
    }
}

/* The next frame is a close with this code, behind it the connection ends. */
static void
assert_closed(int fd, unsigned code)
{
    BUF_AUTO struct buf payload;

    buf_init(&payload, 0);
    assert_int_equal(read_frame(fd, &payload), 0x88);
    assert_true(payload.len >= 2);
    assert_int_equal((unsigned)(unsigned char)payload.ptr[0] << 8 | (unsigned char)payload.ptr[1],
                     code);
    assert_end(fd);
    close(fd);
}

static bool
no_clients(const struct http_stats *stats)
{
    return stats->ws_clients == 0;
}

static bool
no_connections(const struct http_stats *stats)
{
    return stats->connections == 0;
}

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

/* ---- broadcasts ---- */

static void
broadcast(struct app *app, unsigned group, const char *text)
{
    struct ws_frame *frame = ws_frame_text(slice_of(text));

    http_broadcast(app->fixture->server, group, frame);
    ws_frame_unref(frame);
}

static void
test_ws_broadcasts_to_the_members_of_a_group(void **state)
{
    enum { CLIENTS = 700 }; /* more than one slice */
    static int fds[CLIENTS];

    (void)state;
    for (unsigned loops = 1; loops <= 2; loops++) {
        struct app *app = app_new(loops);
        for (int i = 0; i < CLIENTS; i++) {
            fds[i] = connect_ws(app, 0);
            send_text(fds[i], i % 2 == 0 ? "join 1" : i % 3 == 0 ? "join 3" : "join 2");
            assert_frame(fds[i], 0x81, i % 2 == 0 ? "join 1" : i % 3 == 0 ? "join 3" : "join 2");
        }
        broadcast(app, 0, "zero");
        broadcast(app, 1, "one");
        for (int i = 0; i < CLIENTS; i++) {
            send_text(fds[i], "end");
        }
        for (int i = 0; i < CLIENTS; i++) {
            BUF_AUTO struct buf payload;
            int zero = 0;
            int one = 0;
            int frames = i % 2 != 0 && i % 3 == 0 ? 3 : 2;
            buf_init(&payload, 0);
            for (int n = 0; n < frames; n++) {
                assert_int_equal(read_frame(fds[i], &payload), 0x81);
                zero += slice_is(buf_slice(&payload), "zero");
                one += slice_is(buf_slice(&payload), "one");
            }
            assert_int_equal(zero, i % 2 == 0 || i % 3 == 0);
            assert_int_equal(one, i % 2 != 0);
            close(fds[i]);
        }
        fixture_wait_stats(app->fixture, no_clients);
        app_free(app);
    }
}

enum { FRAME_BYTES = 50000, READERS = 20, STALLED = 3, FRAMES = 300 };

/* A frame that begins with its number. */
static struct ws_frame *
numbered_frame(int number)
{
    char *text = mem_alloc(FRAME_BYTES);
    int len = snprintf(text, FRAME_BYTES, "%d;", number);

    memset(text + len, 'x', (size_t)(FRAME_BYTES - len));
    struct ws_frame *frame = ws_frame_text(slice_make(text, FRAME_BYTES));
    free(text);
    return frame;
}

struct reader {
    pthread_t thread;
    int fd;
    int frames;
    bool in_order;
    _Atomic int last;
};

/* Reads until the last frame has come; numbers may be left out, never repeated or reversed. */
static void *
read_numbered(void *arg)
{
    struct reader *reader = arg;
    BUF_AUTO struct buf payload;
    int last = -1;

    buf_init(&payload, 0);
    atomic_store(&reader->last, -1);
    reader->in_order = true;
    while (last < FRAMES - 1 && read_frame(reader->fd, &payload) == 0x81) {
        int number = 0;
        for (size_t i = 0; i < payload.len && payload.ptr[i] != ';'; i++) {
            number = number * 10 + (payload.ptr[i] - '0');
        }
        bool whole = payload.len == FRAME_BYTES && payload.ptr[FRAME_BYTES - 1] == 'x';
        reader->in_order = reader->in_order && number > last && whole;
        last = number;
        reader->frames++;
        atomic_store(&reader->last, last);
    }
    reader->in_order = reader->in_order && last == FRAMES - 1;
    return NULL;
}

static bool
only_readers(const struct http_stats *stats)
{
    return stats->ws_clients == READERS;
}

static void
test_ws_stalled_clients_do_not_hold_up_the_others(void **state)
{
    struct app *app = app_new(1);
    struct reader readers[READERS];
    int stalled[STALLED];
    struct http_stats stats;

    (void)state;
    for (int i = 0; i < STALLED; i++) {
        stalled[i] = connect_ws(app, 4096);
    }
    for (int i = 0; i < READERS; i++) {
        readers[i] = (struct reader){.fd = connect_ws(app, 0)};
        assert_int_equal(pthread_create(&readers[i].thread, NULL, read_numbered, &readers[i]), 0);
    }
    for (int i = 0; i < FRAMES; i++) {
        struct ws_frame *frame = numbered_frame(i);
        http_broadcast(app->fixture->server, 0, frame);
        ws_frame_unref(frame);
        /* Those who stall come before all readers in the round. */
        while (atomic_load(&readers[0].last) < i) {
            sched_yield();
        }
    }
    for (int i = 0; i < READERS; i++) {
        pthread_join(readers[i].thread, NULL);
        assert_true(readers[i].in_order);
    }
    http_server_stats(app->fixture->server, &stats);
    assert_int_equal(stats.ws_clients, READERS + STALLED);
    assert_true(stats.ws_frames_skipped > 0);
    assert_int_equal(stats.ws_dropped_slow, 0);
    /* Those who have kept a frame waiting for 10 s are dropped at the next one. */
    fixture_advance(app->fixture, 11);
    broadcast(app, 0, "next");
    stats = fixture_wait_stats(app->fixture, only_readers);
    assert_int_equal(stats.ws_dropped_slow, STALLED);
    for (int i = 0; i < STALLED; i++) {
        close(stalled[i]);
    }
    for (int i = 0; i < READERS; i++) {
        assert_frame(readers[i].fd, 0x81, "next");
        close(readers[i].fd);
    }
    app_free(app);
}

static void
send_found(void *ctx, struct ws_client *client)
{
    (void)ctx;
    assert_non_null(client);
    ws_send_text(client, SLICE_LITERAL("found"));
}

/* What was in flight arrives whole, then the newest; nothing in between. */
static void
test_ws_a_slow_client_gets_the_newest_frame(void **state)
{
    struct app *app = app_new(1);
    int other = connect_ws(app, 0);
    struct http_stats stats;

    (void)state;
    send_text(other, "join 0");
    assert_frame(other, 0x81, "join 0");
    uint64_t other_id = app->last_id;
    struct reader reader = {.fd = connect_ws(app, 4096)};
    for (int i = 0; i < FRAMES; i++) {
        struct ws_frame *frame = numbered_frame(i);
        http_broadcast(app->fixture->server, 0, frame);
        ws_frame_unref(frame);
        /* Posts are run in order, so the round is at least under way when this comes back. */
        http_post_client(app->fixture->server, other_id, send_found, NULL);
        assert_frame(other, 0x81, "found");
    }
    read_numbered(&reader);
    assert_true(reader.in_order);
    http_server_stats(app->fixture->server, &stats);
    assert_true(stats.ws_frames_skipped > FRAMES / 2);
    assert_int_equal((uint64_t)reader.frames + stats.ws_frames_skipped, FRAMES);
    close(reader.fd);
    close(other);
    app_free(app);
}

/* Clients that come and go while rounds are under way: nobody is visited after its end. */
static void
test_ws_rounds_survive_clients_that_leave(void **state)
{
    enum { CLIENTS = 400 };
    static int fds[CLIENTS];
    struct app *app = app_new(2);

    (void)state;
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = connect_ws(app, 0);
    }
    for (int i = 0; i < CLIENTS; i++) {
        broadcast(app, 0, "tick");
        fixture_advance(app->fixture, 0);
        if (i % 3 == 0) {
            client_abort(fds[i]);
        } else {
            close(fds[i]);
        }
        if (i % 10 == 0) {
            close(connect_ws(app, 0));
        }
    }
    fixture_wait_stats(app->fixture, no_clients);
    broadcast(app, 0, "to nobody");
    app_free(app);
}

/* ---- single clients from other threads ---- */

static void
send_hello(void *ctx, struct ws_client *client)
{
    (void)ctx;
    ws_send_text(client, SLICE_LITERAL("to each"));
}

static void
close_client(void *ctx, struct ws_client *client)
{
    (void)ctx;
    ws_close(client, 1000, "all");
}

static void
count_found(void *ctx, struct ws_client *client)
{
    atomic_fetch_add((_Atomic int *)ctx, client ? 1 : 100);
    if (client) {
        ws_send_text(client, SLICE_LITERAL("found"));
    }
}

static void
test_ws_reaches_each_client_and_one(void **state)
{
    enum { CLIENTS = 600 };
    static int fds[CLIENTS];
    struct app *app = app_new(2);
    _Atomic int found = 0;

    (void)state;
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = connect_ws(app, 0);
        send_text(fds[i], "here");
        assert_frame(fds[i], 0x81, "here");
    }
    http_post_client(app->fixture->server, app->last_id, count_found, &found);
    assert_frame(fds[CLIENTS - 1], 0x81, "found");
    http_each_client(app->fixture->server, send_hello, NULL);
    for (int i = 0; i < CLIENTS; i++) {
        assert_frame(fds[i], 0x81, "to each");
    }
    http_each_client(app->fixture->server, close_client, NULL);
    for (int i = 0; i < CLIENTS; i++) {
        assert_frame(fds[i], 0x88,
                     "\x03\xe8"
                     "all");
        close(fds[i]);
    }
    fixture_wait_stats(app->fixture, no_connections);
    http_post_client(app->fixture->server, app->last_id, count_found, &found);
    http_post_client(app->fixture->server, UINT64_MAX, count_found, &found);
    app_free(app);
    assert_int_equal(found, 201);
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
        cmocka_unit_test(test_ws_broadcasts_to_the_members_of_a_group),
        cmocka_unit_test(test_ws_stalled_clients_do_not_hold_up_the_others),
        cmocka_unit_test(test_ws_a_slow_client_gets_the_newest_frame),
        cmocka_unit_test(test_ws_rounds_survive_clients_that_leave),
        cmocka_unit_test(test_ws_reaches_each_client_and_one),
        cmocka_unit_test(test_ws_stop_says_going_away),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
