/*
 * For the tests of this part: a server with routes of every kind, a clock that can be moved, and a
 * blocking client. Every function that waits fails the test after 20 s instead of hanging.
 *
 *   /hello      answers inline                  /echo   answers with the body it got
 *   /hold       is kept until held_take         /slow   is answered by another thread
 *   /static     a big static body               /close  answers and closes
 *   /headers    answers with request facts      /err    answers by http_reply_err
 *   /none       takes no body                   /tiny   takes bodies up to 10 bytes
 *   /denied     is refused by accept with 401   /empty  answers 204
 */
#ifndef EIDER_HTTP_TESTING_H
#define EIDER_HTTP_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "http/http.h"

enum {
    TEST_WAIT_S = 20,
    TEST_HELD_MAX = 256,
    TEST_STATIC_BYTES = 8 << 20,
    TEST_LINES_MAX = 64,
    TEST_LINE_MAX = 256,
};

/* ---- a clock that stands still until the test moves it; any thread may read it ---- */

struct test_clock {
    struct clock clock;
    _Atomic int64_t now_us;
};

static inline int64_t
test_clock_now_us(const struct clock *clock)
{
    return atomic_load(&((const struct test_clock *)(const void *)clock)->now_us);
}

/* ---- the server ---- */

struct fixture {
    struct http_options options;
    struct http_server *server;
    struct test_clock clock;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    struct http_exchange *held[TEST_HELD_MAX];
    size_t held_count;
    struct http_exchange *slow[TEST_HELD_MAX];
    size_t slow_count;
    bool stop_slow;
    pthread_t slow_thread;
    char lines[TEST_LINES_MAX][TEST_LINE_MAX]; /* of the access log */
    size_t line_count;
    char *static_body;
    struct ws_callbacks ws; /* set: /ws is a WebSocket */
    void *ws_ctx;
};

static inline struct timespec
fixture_deadline(void)
{
    struct timespec deadline;

    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += TEST_WAIT_S;
    return deadline;
}

static inline void
fixture_answer_facts(struct http_exchange *exchange)
{
    struct buf *out = http_out(exchange);
    struct slice name;
    struct slice value;

    buf_add_fmt(out, "%s %.*s %.*s %.*s tls=%d", http_method_name(http_method(exchange)),
                SLICE_FMT(http_path(exchange)), SLICE_FMT(http_target(exchange)),
                SLICE_FMT(http_request_id(exchange)), http_is_tls(exchange));
    for (size_t i = 0; http_query_at(exchange, i, &name, &value); i++) {
        buf_add_fmt(out, " %.*s=%.*s", SLICE_FMT(name), SLICE_FMT(value));
    }
    if (http_header(exchange, "x-test", &value)) {
        buf_add_fmt(out, " x-test:%.*s", SLICE_FMT(value));
    }
    http_add_header(exchange, "X-Peer", http_peer(exchange));
    http_reply(exchange);
}

static inline void
fixture_handler(void *ctx, struct http_exchange *exchange)
{
    struct fixture *test = ctx;
    struct slice path = http_path(exchange);

    if (slice_is(path, "/hold") || slice_is(path, "/slow")) {
        pthread_mutex_lock(&test->lock);
        if (slice_is(path, "/hold")) {
            assert(test->held_count < TEST_HELD_MAX);
            test->held[test->held_count++] = exchange;
        } else {
            assert(test->slow_count < TEST_HELD_MAX);
            test->slow[test->slow_count++] = exchange;
        }
        pthread_cond_broadcast(&test->changed);
        pthread_mutex_unlock(&test->lock);
        return;
    }
    if (slice_is(path, "/ws") && test->ws.on_text) {
        if (!http_upgrade(exchange, &test->ws, test->ws_ctx)) {
            http_reply(exchange);
        }
        return;
    }
    http_set_route(exchange, "/test");
    if (slice_is(path, "/headers")) {
        fixture_answer_facts(exchange);
        return;
    }
    if (slice_is(path, "/err")) {
        struct err err = {.code = ERR_BUSY, .msg = "say \"please\""};
        http_add_header(exchange, "X-Kept", SLICE_LITERAL("yes"));
        http_reply_err(exchange, &err);
        return;
    }
    if (slice_is(path, "/static")) {
        http_set_static_body(exchange, slice_make(test->static_body, TEST_STATIC_BYTES));
    } else if (slice_is(path, "/empty")) {
        http_set_status(exchange, 204);
    } else if (slice_is(path, "/echo") || slice_is(path, "/tiny")) {
        http_set_content_type(exchange, "application/octet-stream");
        buf_add_slice(http_out(exchange), http_body(exchange));
    } else {
        http_set_content_type(exchange, "text/plain");
        buf_add_cstr(http_out(exchange), "hello");
    }
    if (slice_is(path, "/close")) {
        http_set_close(exchange);
    }
    http_reply(exchange);
}

static inline enum err_code
fixture_accept(void *ctx, struct http_exchange *exchange, uint64_t *ret_body_max, struct err *err)
{
    struct slice path = http_path(exchange);

    (void)ctx;
    *ret_body_max = slice_is(path, "/none") ? 0 : slice_is(path, "/tiny") ? 10 : 16 << 20;
    if (slice_is(path, "/denied")) {
        http_add_header(exchange, "WWW-Authenticate", SLICE_LITERAL("Bearer"));
        return err_set(err, ERR_UNAUTHORIZED, "a token is needed");
    }
    return ERR_OK;
}

static inline void
fixture_access(void *ctx, const struct http_access *access)
{
    struct fixture *test = ctx;

    pthread_mutex_lock(&test->lock);
    if (test->line_count < TEST_LINES_MAX) {
        snprintf(test->lines[test->line_count++], TEST_LINE_MAX, "%.*s %.*s %d %.*s in=%llu",
                 SLICE_FMT(access->method), SLICE_FMT(access->target), access->status,
                 SLICE_FMT(access->user_agent), (unsigned long long)access->bytes_in);
    }
    pthread_cond_broadcast(&test->changed);
    pthread_mutex_unlock(&test->lock);
}

/* The thread that answers /slow. */
static inline void *
fixture_slow(void *arg)
{
    struct fixture *test = arg;

    pthread_mutex_lock(&test->lock);
    while (!test->stop_slow || test->slow_count > 0) {
        if (test->slow_count == 0) {
            pthread_cond_wait(&test->changed, &test->lock);
            continue;
        }
        struct http_exchange *exchange = test->slow[--test->slow_count];
        pthread_mutex_unlock(&test->lock);
        buf_add_fmt(http_out(exchange), "slow:%.*s", SLICE_FMT(http_body(exchange)));
        http_reply(exchange);
        pthread_mutex_lock(&test->lock);
    }
    pthread_mutex_unlock(&test->lock);
    return NULL;
}

/* Prepares; change test->options, then fixture_start. */
static inline struct fixture *
fixture_new(void)
{
    struct fixture *test = mem_zalloc(1, sizeof(*test));

    pthread_mutex_init(&test->lock, NULL);
    pthread_cond_init(&test->changed, NULL);
    test->clock.clock = (struct clock){test_clock_now_us, test_clock_now_us};
    test->clock.now_us = 1700000000000000;
    test->options = (struct http_options){.handler = fixture_handler,
                                          .accept = fixture_accept,
                                          .ctx = test,
                                          .clock = &test->clock.clock};
    test->static_body = mem_alloc(TEST_STATIC_BYTES);
    for (size_t i = 0; i < TEST_STATIC_BYTES; i++) {
        test->static_body[i] = (char)('a' + i % 23);
    }
    return test;
}

static inline void
fixture_start(struct fixture *test)
{
    struct err err;

    if (http_server_start(&test->options, &test->server, &err) != ERR_OK) {
        fail_msg("%s", err.msg);
    }
    assert_int_equal(pthread_create(&test->slow_thread, NULL, fixture_slow, test), 0);
}

static inline struct fixture *
fixture_run(void)
{
    struct fixture *test = fixture_new();

    fixture_start(test);
    return test;
}

static inline void
fixture_free(struct fixture *test)
{
    if (test->server) {
        http_server_stop(test->server, 0);
    }
    pthread_mutex_lock(&test->lock);
    test->stop_slow = true;
    pthread_cond_broadcast(&test->changed);
    pthread_mutex_unlock(&test->lock);
    pthread_join(test->slow_thread, NULL);
    pthread_mutex_destroy(&test->lock);
    pthread_cond_destroy(&test->changed);
    free(test->static_body);
    free(test);
}

/* Waits for a request to /hold and takes it. */
static inline struct http_exchange *
fixture_take_held(struct fixture *test)
{
    struct timespec deadline = fixture_deadline();
    struct http_exchange *exchange = NULL;

    pthread_mutex_lock(&test->lock);
    while (test->held_count == 0) {
        if (pthread_cond_timedwait(&test->changed, &test->lock, &deadline) == ETIMEDOUT) {
            break;
        }
    }
    if (test->held_count > 0) {
        exchange = test->held[--test->held_count];
    }
    pthread_mutex_unlock(&test->lock);
    assert_non_null(exchange);
    return exchange;
}

/* Waits until the n-th line of the access log is there. */
static inline const char *
fixture_access_line(struct fixture *test, size_t n)
{
    struct timespec deadline = fixture_deadline();

    pthread_mutex_lock(&test->lock);
    while (test->line_count <= n) {
        if (pthread_cond_timedwait(&test->changed, &test->lock, &deadline) == ETIMEDOUT) {
            break;
        }
    }
    bool there = test->line_count > n;
    pthread_mutex_unlock(&test->lock);
    assert_true(there);
    return test->lines[n];
}

/* A stop with all the grace there is, under way on a thread of its own. */
static inline void *
fixture_stop_main(void *arg)
{
    http_server_stop(arg, TEST_WAIT_S * 1000);
    return NULL;
}

static inline pthread_t
fixture_stop_begin(struct fixture *test)
{
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, fixture_stop_main, test->server), 0);
    return thread;
}

static inline void
fixture_stop_wait(struct fixture *test, pthread_t thread)
{
    pthread_join(thread, NULL);
    test->server = NULL;
}

/* Waits until `holds` says yes to the server's figures. */
static inline struct http_stats
fixture_wait_stats(struct fixture *test, bool (*holds)(const struct http_stats *stats))
{
    int64_t end_us = clock_mono_us(clock_system()) + (int64_t)TEST_WAIT_S * 1000000;
    struct http_stats stats;

    for (;;) {
        http_server_stats(test->server, &stats);
        if (holds(&stats)) {
            return stats;
        }
        assert_true(clock_mono_us(clock_system()) < end_us);
        sched_yield();
    }
}

static inline bool
no_connections(const struct http_stats *stats)
{
    return stats->connections == 0;
}

static inline bool
none_active(const struct http_stats *stats)
{
    return stats->requests_active == 0;
}

/* Waits until the server has read so many bytes in all. */
static inline void
fixture_wait_bytes_in(struct fixture *test, uint64_t bytes)
{
    int64_t end_us = clock_mono_us(clock_system()) + (int64_t)TEST_WAIT_S * 1000000;
    struct http_stats stats;

    do {
        assert_true(clock_mono_us(clock_system()) < end_us);
        sched_yield();
        http_server_stats(test->server, &stats);
    } while (stats.bytes_in < bytes);
}

static inline void
fixture_nothing(void *ctx, struct ws_client *client)
{
    (void)ctx;
    (void)client;
}

/* Moves the clock on and has every loop look at it. */
static inline void
fixture_advance(struct fixture *test, int64_t seconds)
{
    atomic_fetch_add(&test->clock.now_us, seconds * 1000000);
    http_each_client(test->server, fixture_nothing, NULL);
}

/* ---- the client ---- */

static inline int
client_connect_with(uint16_t port, int receive_buffer)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval timeout = {.tv_sec = TEST_WAIT_S};
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (receive_buffer > 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static inline int
client_connect(const struct fixture *test)
{
    return client_connect_with(http_server_port(test->server), 0);
}

static inline void
client_send(int fd, struct slice bytes)
{
    while (bytes.len > 0) {
        ssize_t done = send(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
        assert_true(done > 0);
        bytes = slice_sub(bytes, (size_t)done, bytes.len);
    }
}

static inline void
client_send_text(int fd, const char *text)
{
    client_send(fd, slice_of(text));
}

/* Closes with a reset, as a client does that crashes. */
static inline void
client_abort(int fd)
{
    struct linger linger = {.l_onoff = 1};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(fd);
}

struct answer {
    int status;
    struct buf head;
    struct buf body;
};

static inline void
answer_fini(struct answer *answer)
{
    buf_fini(&answer->head);
    buf_fini(&answer->body);
}

#define ANSWER_AUTO __attribute__((cleanup(answer_fini)))

static inline struct slice
answer_header(const struct answer *answer, const char *name)
{
    struct slice rest = buf_slice(&answer->head);
    struct slice line;
    struct slice field;

    while (slice_split(&rest, '\n', &line)) {
        struct slice value = line;
        if (slice_split(&value, ':', &field) && slice_is_nocase(field, name)) {
            return slice_trim(value);
        }
    }
    return (struct slice){NULL, 0};
}

/* Reads exactly `len` bytes; false at the end or an error before that. */
static inline bool
client_read(int fd, void *to, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t got = recv(fd, (char *)to + done, len - done, 0);
        if (got <= 0) {
            return false;
        }
        done += (size_t)got;
    }
    return true;
}

/* Reads one answer by its Content-Length; status 0 when the connection ends before its head does.
 */
static inline void
client_answer_to(int fd, bool no_body, struct answer *ret_answer)
{
    size_t body_len = 0;

    ret_answer->status = 0;
    buf_init(&ret_answer->head, 0);
    buf_init(&ret_answer->body, 0);
    while (!slice_ends(buf_slice(&ret_answer->head), "\r\n\r\n")) {
        char c;
        if (!client_read(fd, &c, 1)) {
            assert_int_equal(ret_answer->head.len, 0);
            return;
        }
        buf_add_char(&ret_answer->head, c);
    }
    assert_true(slice_starts(buf_slice(&ret_answer->head), "HTTP/1.1 "));
    for (size_t i = 9; i < 12; i++) {
        ret_answer->status = ret_answer->status * 10 + (ret_answer->head.ptr[i] - '0');
    }
    struct slice length = answer_header(ret_answer, "Content-Length");
    for (size_t i = 0; i < length.len; i++) {
        body_len = body_len * 10 + (size_t)(length.ptr[i] - '0');
    }
    if (body_len > 0 && !no_body) {
        char *to = buf_reserve(&ret_answer->body, body_len);
        assert_true(client_read(fd, to, body_len));
        ret_answer->body.len = body_len;
    }
}

static inline void
client_answer(int fd, struct answer *ret_answer)
{
    client_answer_to(fd, false, ret_answer);
}

static inline void
assert_answer(int fd, int status, const char *body)
{
    ANSWER_AUTO struct answer answer;

    client_answer(fd, &answer);
    assert_int_equal(answer.status, status);
    if (!slice_is(buf_slice(&answer.body), body)) {
        fail_msg("\"%.*s\" is not \"%s\"", SLICE_FMT(buf_slice(&answer.body)), body);
    }
}

/* The connection has ended properly, without a reset. */
static inline void
assert_end(int fd)
{
    char c;

    assert_int_equal(recv(fd, &c, 1, 0), 0);
}

#endif
