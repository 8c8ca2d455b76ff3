/*
 * For the tests of streams: a server whose handler pipes bodies back or takes notes of what it is
 * told, and clients for it.
 */
#ifndef EIDER_HTTP_TESTING_STREAM_H
#define EIDER_HTTP_TESTING_STREAM_H

#include "http/testing.h"

enum { LIMIT = 64 << 20, SMALL_LIMIT = 1000, LARGE = 8 << 20 };

/* What has happened to an exchange so far, and the exchange. */
struct tap {
    struct fixture *test;
    struct http_exchange *exchange;
    struct buf body;
    int pause_after; /* pause when so many pieces came; 0: never */
    int pieces;
    int ends, drains, gones;
    enum http_gone why;
};

/* One at a time is enough: all tests but the last use one. */
static struct tap tap;

static inline void
told(struct tap *of)
{
    pthread_cond_broadcast(&of->test->changed);
    pthread_mutex_unlock(&of->test->lock);
}

static inline void
tap_body(void *ctx, struct http_exchange *exchange, struct slice piece)
{
    struct tap *of = ctx;

    assert_true(piece.len > 0);
    pthread_mutex_lock(&of->test->lock);
    buf_add_slice(&of->body, piece);
    bool pause = ++of->pieces == of->pause_after;
    told(of);
    if (pause) {
        http_body_pause(exchange);
    }
}

static inline void
tap_body_end(void *ctx, struct http_exchange *exchange)
{
    struct tap *of = ctx;

    (void)exchange;
    pthread_mutex_lock(&of->test->lock);
    of->ends++;
    told(of);
}

static inline void
tap_drain(void *ctx, struct http_exchange *exchange)
{
    struct tap *of = ctx;

    (void)exchange;
    pthread_mutex_lock(&of->test->lock);
    of->drains++;
    told(of);
}

static inline void
tap_gone(void *ctx, struct http_exchange *exchange, enum http_gone why)
{
    struct tap *of = ctx;

    (void)exchange;
    pthread_mutex_lock(&of->test->lock);
    of->gones++;
    of->why = why;
    told(of);
}

static const struct http_stream_callbacks tap_callbacks = {tap_body, tap_body_end, tap_drain,
                                                           tap_gone};

/* ---- /pipe ---- */

struct pipe {
    struct buf waiting; /* what the answer did not take */
    bool ended;
};

static inline void
pipe_close(struct pipe *pipe)
{
    buf_fini(&pipe->waiting);
    free(pipe);
}

static inline void
pipe_body(void *ctx, struct http_exchange *exchange, struct slice piece)
{
    struct pipe *pipe = ctx;

    if (http_reply_write(exchange, piece) == HTTP_WRITE_WAIT) {
        assert_int_equal(pipe->waiting.len, 0);
        buf_add_slice(&pipe->waiting, piece);
        http_body_pause(exchange);
    }
}

static inline void
pipe_end(void *ctx, struct http_exchange *exchange)
{
    struct pipe *pipe = ctx;

    pipe->ended = true;
    if (pipe->waiting.len == 0) {
        http_reply_end(exchange);
        pipe_close(pipe);
    }
}

static inline void
pipe_drain(void *ctx, struct http_exchange *exchange)
{
    struct pipe *pipe = ctx;

    assert_int_equal(http_reply_write(exchange, buf_slice(&pipe->waiting)), HTTP_WRITE_TAKEN);
    buf_reset(&pipe->waiting);
    if (pipe->ended) {
        http_reply_end(exchange);
        pipe_close(pipe);
    } else {
        http_body_resume(exchange);
    }
}

static inline void
pipe_gone(void *ctx, struct http_exchange *exchange, enum http_gone why)
{
    (void)why;
    http_reply_abort(exchange);
    pipe_close(ctx);
}

static inline void
pipe_begin(struct http_exchange *exchange)
{
    static const struct http_stream_callbacks callbacks = {pipe_body, pipe_end, pipe_drain,
                                                           pipe_gone};
    struct pipe *pipe = mem_zalloc(1, sizeof(*pipe));
    uint64_t length;

    buf_init(&pipe->waiting, 0);
    assert_true(http_stream(exchange, &callbacks, pipe));
    http_reply_begin(exchange, http_body_length(exchange, &length) ? (int64_t)length : -1);
    http_body_resume(exchange);
}

/* ---- the server of these tests ---- */

static inline void
handler(void *ctx, struct http_exchange *exchange)
{
    struct fixture *test = ctx;
    struct slice path = http_path(exchange);

    if (slice_is(path, "/pipe")) {
        pipe_begin(exchange);
    } else if (slice_is(path, "/tap") || slice_is(path, "/small")) {
        assert_true(http_stream(exchange, &tap_callbacks, &tap));
        pthread_mutex_lock(&test->lock);
        tap.exchange = exchange;
        told(&tap);
    } else {
        fixture_handler(ctx, exchange);
    }
}

static inline enum err_code
accept_stream(void *ctx, struct http_exchange *exchange, uint64_t *ret_body_max, struct err *err)
{
    struct slice path = http_path(exchange);

    if (slice_is(path, "/pipe") || slice_is(path, "/tap") || slice_is(path, "/small")) {
        http_stream_body(exchange);
        *ret_body_max = slice_is(path, "/small") ? SMALL_LIMIT : LIMIT;
        return ERR_OK;
    }
    return fixture_accept(ctx, exchange, ret_body_max, err);
}

static inline struct fixture *
stream_new(void)
{
    struct fixture *test = fixture_new();

    test->options.handler = handler;
    test->options.accept = accept_stream;
    test->options.access = fixture_access;
    buf_fini(&tap.body);
    tap = (struct tap){.test = test};
    buf_init(&tap.body, 0);
    return test;
}

static inline struct fixture *
stream_run(void)
{
    struct fixture *test = stream_new();

    fixture_start(test);
    return test;
}

static inline void
stream_free(struct fixture *test)
{
    if (test->server) {
        struct http_stats stats;
        http_server_stats(test->server, &stats);
        assert_int_equal(stats.requests_active, 0);
    }
    fixture_free(test);
    buf_fini(&tap.body);
}

/* Waits until what `holds` asks for is so. */
static inline void
wait_tap(bool (*holds)(void))
{
    struct timespec deadline = fixture_deadline();
    int rc = 0;

    pthread_mutex_lock(&tap.test->lock);
    while (!holds() && rc == 0) {
        rc = pthread_cond_timedwait(&tap.test->changed, &tap.test->lock, &deadline);
    }
    bool fine = holds();
    pthread_mutex_unlock(&tap.test->lock);
    assert_true(fine);
}

static inline bool
is_there(void)
{
    return tap.exchange != NULL;
}

static inline bool
has_ended(void)
{
    return tap.ends == 1;
}

static inline bool
has_piece(void)
{
    return tap.pieces > 0;
}

static inline bool
has_drained(void)
{
    return tap.drains > 0;
}

static inline bool
has_gone(void)
{
    return tap.gones > 0;
}

static inline struct http_exchange *
take_tap(void)
{
    wait_tap(is_there);
    return tap.exchange;
}

/* ---- the client ---- */

static inline void
read_line(int fd, struct buf *line)
{
    char c;

    buf_reset(line);
    do {
        assert_true(client_read(fd, &c, 1));
        buf_add_char(line, c);
    } while (c != '\n');
}

/* Reads a chunked body to its end; false when the connection ends before. */
static inline bool
client_chunks(int fd, struct buf *body)
{
    for (;;) {
        char line[32];
        size_t len = 0;
        do {
            if (len == sizeof(line) - 1 || !client_read(fd, line + len, 1)) {
                return false;
            }
        } while (line[len++] != '\n');
        line[len] = '\0';
        size_t size = strtoul(line, NULL, 16);
        char *to = buf_reserve(body, size + 2);
        if (!client_read(fd, to, size + 2)) {
            return false;
        }
        assert_memory_equal(to + size, "\r\n", 2);
        body->len += size;
        if (size == 0) {
            return true;
        }
    }
}

struct sender {
    pthread_t thread;
    int fd;
    struct slice bytes;
};

static inline void *
run_sender(void *arg)
{
    struct sender *sender = arg;

    client_send(sender->fd, sender->bytes);
    return NULL;
}

/* A request with a body of `len` pattern bytes, chunked in pieces of odd sizes or with a length. */
static inline void
add_request(struct buf *out, const char *path, size_t len, bool chunked)
{
    buf_add_fmt(out, "POST %s HTTP/1.1\r\nHost: a\r\n", path);
    if (chunked) {
        buf_add_cstr(out, "Transfer-Encoding: chunked\r\n\r\n");
    } else {
        buf_add_fmt(out, "Content-Length: %zu\r\n\r\n", len);
    }
    for (size_t at = 0, piece = 1; at < len; at += piece, piece = piece * 7 % 70001) {
        piece = piece > len - at ? len - at : piece;
        if (chunked) {
            buf_add_fmt(out, "%zx\r\n", piece);
        }
        char *to = buf_reserve(out, piece);
        for (size_t i = 0; i < piece; i++) {
            to[i] = (char)((at + i) * 2654435761U >> 13);
        }
        out->len += piece;
        if (chunked) {
            buf_add_cstr(out, "\r\n");
        }
    }
    if (chunked) {
        buf_add_cstr(out, "0\r\n\r\n");
    }
}

static inline void
assert_pattern(struct slice body, size_t len)
{
    assert_int_equal(body.len, len);
    for (size_t i = 0; i < len; i++) {
        if (body.ptr[i] != (char)(i * 2654435761U >> 13)) {
            fail_msg("byte %zu is wrong", i);
        }
    }
}

static inline void
assert_hello(int fd)
{
    client_send_text(fd, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_answer(fd, 200, "hello");
}

#endif
