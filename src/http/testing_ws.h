/* For the tests of WebSockets, on top of testing.h: an application that echoes, and a client that
 * reads and writes frames. */
#ifndef EIDER_HTTP_TESTING_WS_H
#define EIDER_HTTP_TESTING_WS_H

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

static inline void
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

static inline uint64_t
join_mask(struct slice digits)
{
    char text[32];

    assert_true(slice_to_cstr(digits, text, sizeof(text)));
    return strtoull(text, NULL, 16);
}

/* "join N" joins the groups of the mask N (hexadecimal), "channel N" enters a channel, "flood"
 * sends more than may wait, "bye" closes; all else is sent back. */
static inline void
app_text(void *ctx, struct ws_client *client, struct slice text)
{
    assert_ptr_equal(ws_user(client), ctx);
    assert_true(slice_starts(ws_peer(client), "127.0.0.1:"));
    if (slice_starts(text, "join ")) {
        ws_join(client, join_mask(slice_sub(text, 5, text.len)));
    } else if (slice_starts(text, "channel ")) {
        ws_join(client, 0);
        ws_set_channel(client, (unsigned)join_mask(slice_sub(text, 8, text.len)));
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

static inline void
app_close(void *ctx, struct ws_client *client)
{
    struct app *app = ctx;

    assert_ptr_equal(ws_user(client), app);
    atomic_fetch_add(&app->closed, 1);
}

static inline struct app *
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

static inline void
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

static inline int
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
static inline void
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

static inline void
send_text(int fd, const char *text)
{
    send_frame(fd, 0x81, slice_of(text));
}

/* Reads a frame; returns its first byte, or -1 at the end of the connection. */
static inline int
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

static inline void
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
static inline void
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

static inline bool
no_clients(const struct http_stats *stats)
{
    return stats->ws_clients == 0;
}

#endif
