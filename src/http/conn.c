/*
 * One connection: bytes into exchanges, exchanges into answers. The states are drawn in worker.h.
 *
 * One exchange at a time: while it is with the handler or its answer is being sent, what the client
 * sends stays in `in` (one read at most) and in the kernel; EPOLLIN goes off when it would be
 * reported again and again.
 */
#include <assert.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "base/mem.h"
#include "http/worker.h"

enum { READS_PER_TURN = 4, TLS_READS_PER_TURN = 16, US_PER_MS = 1000 };

/* The least a body must bring once its timeout has passed: 1 KiB/s. */
enum { BODY_US_PER_BYTE = 1000000 / 1024 };

static void on_event(struct net_watch *watch, uint32_t events);
static void on_timer(struct net_timer *timer);
static void fail(struct conn *conn, struct http_exchange *exchange, int status,
                 struct slice detail);

void
conn_set_state(struct conn *conn, enum conn_state state)
{
    enum conn_state old = conn->state;

    switch (state) {
    case CONN_HEAD:
        assert(old == CONN_ANSWERING);
        break;
    case CONN_BODY:
        assert(old == CONN_HEAD);
        break;
    case CONN_HANDLING:
        assert(old == CONN_HEAD || old == CONN_BODY);
        break;
    case CONN_ANSWERING:
        assert(old == CONN_HEAD || old == CONN_BODY || old == CONN_HANDLING);
        break;
    case CONN_LINGER:
        assert(old == CONN_ANSWERING || old == CONN_WS);
        break;
    case CONN_WS:
        assert(old == CONN_HANDLING);
        break;
    case CONN_CLOSED:
        assert(old != CONN_CLOSED);
        break;
    }
    conn->state = state;
}

static void
set_timer(struct conn *conn, int timeout_ms)
{
    net_loop_timer_set(conn->worker->loop, &conn->timer, (int64_t)timeout_ms * US_PER_MS);
}

void
conn_new(struct http_worker *worker, int fd, const char *peer, bool refused)
{
    struct conn *conn = mem_zalloc(1, sizeof(*conn));
    struct net_tls *tls = worker->server->tls;

    conn->worker = worker;
    conn->refused = refused;
    conn->stream = (struct net_stream){.fd = fd};
    conn->watch = (struct net_watch){.fn = on_event, .fd = fd};
    conn->timer.fn = on_timer;
    buf_init(&conn->in, 0);
    memcpy(conn->peer, peer, sizeof(conn->peer));
    worker_add(worker, conn);
    if (tls) {
        conn->stream.ssl = net_tls_accept(tls, fd);
    }
    if ((tls && !conn->stream.ssl) || worker->draining ||
        net_loop_watch(worker->loop, &conn->watch, EPOLLIN, NULL) != ERR_OK) {
        conn->watch.fn = NULL;
        conn_close(conn);
        return;
    }
    set_timer(conn, worker->server->options.header_timeout_ms);
    if (refused) {
        fail(conn, NULL, 503, SLICE_LITERAL("too many connections; try again later"));
    }
}

static void
free_conn(struct net_retired *retired)
{
    struct conn *conn = NET_OWNER(retired, struct conn, retired);

    if (conn->ws) {
        ws_free(conn);
    }
    buf_fini(&conn->in);
    free(conn);
}

/* The end of an exchange: counts it, writes the access line. */
static void
finish_exchange(struct http_worker *worker, struct http_exchange *exchange, int status,
                uint64_t bytes_out)
{
    struct http_server *server = worker->server;
    int64_t duration_us = clock_mono_us(server->clock) - exchange->started_us;

    counter_add(&worker->counters.requests_done, 1);
    if (exchange->route) {
        http_routes_record(server->routes, exchange->route, status, duration_us);
    }
    if (server->options.access) {
        struct http_access access = {
            .peer = http_peer(exchange),
            .method = exchange->has_head ? slice_of(http_method_name(exchange->head.method))
                                         : SLICE_LITERAL("-"),
            .target = exchange->has_head ? exchange->head.target : SLICE_LITERAL("-"),
            .user_agent = exchange->head.user_agent,
            .request_id = http_request_id(exchange),
            .status = status,
            .bytes_in = exchange->bytes_in,
            .bytes_out = bytes_out,
            .duration_us = duration_us,
        };
        server->options.access(server->options.ctx, &access);
    }
    worker_give_exchange(worker, exchange);
}

/* What access logs show for a client that left before it was answered. */
enum { STATUS_CLIENT_GONE = 499 };

void
conn_close(struct conn *conn)
{
    struct http_worker *worker = conn->worker;

    if (conn->state == CONN_CLOSED) {
        return;
    }
    bool answering = conn->state == CONN_ANSWERING;
    if (conn->state == CONN_WS || conn->ws) {
        ws_unlink(conn);
    }
    conn_set_state(conn, CONN_CLOSED);
    if (conn->exchange) {
        struct http_exchange *exchange = conn->exchange;
        conn->exchange = NULL;
        finish_exchange(worker, exchange, answering ? exchange->status : STATUS_CLIENT_GONE,
                        answering ? conn->sent : 0);
    }
    net_loop_timer_cancel(worker->loop, &conn->timer);
    net_loop_unwatch(worker->loop, &conn->watch);
    net_stream_close(&conn->stream);
    worker_remove(worker, conn);
    conn->retired.fn = free_conn;
    net_loop_retire(worker->loop, &conn->retired);
}

void
conn_linger(struct conn *conn)
{
    conn_set_state(conn, CONN_LINGER);
    conn->paused = false;
    conn->sent = 0;
    buf_fini(&conn->in);
    net_stream_shutdown(&conn->stream);
    net_loop_timer_set(conn->worker->loop, &conn->timer, HTTP_LINGER_US);
    conn_update_events(conn);
}

void
conn_update_events(struct conn *conn)
{
    bool write = conn->state == CONN_ANSWERING || (conn->state == CONN_WS && ws_wants_write(conn));
    uint32_t events = 0;

    if (!conn->paused || conn->stream.wants_read) {
        events |= EPOLLIN;
    }
    if ((write && !conn->stream.wants_read) || conn->stream.wants_write) {
        events |= EPOLLOUT;
    }
    net_loop_set_events(conn->worker->loop, &conn->watch, events);
}

/* ---- answering ---- */

/* The answer is out: the next request, or the end. */
static void
answer_done(struct conn *conn)
{
    struct http_exchange *exchange = conn->exchange;

    conn->exchange = NULL;
    finish_exchange(conn->worker, exchange, exchange->status, conn->sent);
    if (!conn->close_behind) {
        conn_set_state(conn, CONN_HEAD);
        conn->scan = (struct http_scan){.at = 0};
        conn->head_begun = false;
        set_timer(conn, conn->worker->server->options.idle_timeout_ms);
        return;
    }
    if (conn->unread || conn->paused || conn->in.len > 0) {
        conn_linger(conn);
        return;
    }
    net_stream_shutdown(&conn->stream);
    conn_close(conn);
}

/* Sends what the socket takes. */
static void
flush_answer(struct conn *conn)
{
    struct http_exchange *exchange = conn->exchange;
    size_t wire_len = exchange->wire.len;
    size_t total = wire_len + exchange->tail.len;

    while (conn->sent < total) {
        struct iovec iov[2];
        int count = 0;
        size_t len;
        if (conn->sent < wire_len) {
            iov[count++] = net_iov(exchange->wire.ptr + conn->sent, wire_len - conn->sent);
        }
        if (exchange->tail.len > 0) {
            size_t at = conn->sent > wire_len ? conn->sent - wire_len : 0;
            iov[count++] = net_iov(exchange->tail.ptr + at, exchange->tail.len - at);
        }
        enum net_io io = net_stream_write(&conn->stream, iov, count, &len);
        if (io == NET_IO_AGAIN) {
            set_timer(conn, conn->worker->server->options.idle_timeout_ms);
            conn_update_events(conn);
            return;
        }
        if (io != NET_IO_OK) {
            conn_close(conn);
            return;
        }
        conn->sent += len;
        counter_add(&conn->worker->counters.bytes_out, len);
    }
    answer_done(conn);
}

static void
count_class(struct http_worker *worker, int status)
{
    int class = status / 100;

    if (class >= 0 && class < 6) {
        counter_add(&worker->counters.responses_by_class[class], 1);
    }
}

static void
answer(struct conn *conn, struct http_exchange *exchange)
{
    struct http_worker *worker = conn->worker;
    bool keep_alive =
        !exchange->close && !worker->draining && exchange->has_head && exchange->head.keep_alive;

    conn_set_state(conn, CONN_ANSWERING);
    conn->exchange = exchange;
    conn->sent = 0;
    conn->close_behind = !keep_alive;
    if (worker->server->options.access) {
        (void)http_request_id(exchange); /* so that answer and log show the same */
    }
    exchange_render(exchange, keep_alive, worker_date(worker));
    exchange_body_drop(exchange);
    count_class(worker, exchange->status);
    flush_answer(conn);
}

static struct http_exchange *
begin_exchange(struct conn *conn)
{
    struct http_worker *worker = conn->worker;
    struct http_exchange *exchange = worker_take_exchange(worker);

    exchange->conn_id = conn->id;
    exchange->tls = conn->stream.ssl != NULL;
    memcpy(exchange->peer, conn->peer, sizeof(exchange->peer));
    exchange->started_us = net_loop_now_us(worker->loop);
    counter_add(&worker->counters.requests_total, 1);
    return exchange;
}

/* Answers a request that cannot go on, and closes behind the answer. */
static void
fail(struct conn *conn, struct http_exchange *exchange, int status, struct slice detail)
{
    if (!exchange) {
        exchange = begin_exchange(conn);
    }
    conn->exchange = NULL;
    conn->unread = true;
    exchange->close = true;
    exchange_set_error(exchange, status, exchange_code_of(status), detail);
    answer(conn, exchange);
}

static void
fail_parse(struct conn *conn, struct http_exchange *exchange, const struct http_fault *fault)
{
    counter_add(&conn->worker->counters.parse_errors, 1);
    fail(conn, exchange, fault->status, slice_of(fault->detail));
}

static void
fail_too_large(struct conn *conn, struct http_exchange *exchange)
{
    const char *detail = arena_fmt(&exchange->arena, "the body is over the limit of %llu bytes",
                                   (unsigned long long)exchange->body_max);

    fail(conn, exchange, 413, slice_of(detail));
}

static void
fail_budget(struct conn *conn, struct http_exchange *exchange)
{
    fail(conn, exchange, 503,
         SLICE_LITERAL("too many request bodies are being received; try again later"));
}

/* Gives the complete request to the handler. */
static void
dispatch(struct conn *conn, struct http_exchange *exchange)
{
    struct http_worker *worker = conn->worker;
    const struct http_options *options = &worker->server->options;

    conn->exchange = NULL;
    conn_set_state(conn, CONN_HANDLING);
    worker->dispatching = exchange;
    worker->replied = false;
    worker->upgrade.wanted = false;
    options->handler(options->ctx, exchange);
    /* From here on the exchange may be with another thread, or even answered. */
    worker->dispatching = NULL;
    if (worker->upgrade.wanted) {
        ws_start(conn, exchange);
    } else if (worker->replied) {
        answer(conn, exchange);
    } else {
        worker->out++;
    }
}

void
conn_on_reply(struct net_post *post)
{
    struct http_exchange *exchange = NET_OWNER(post, struct http_exchange, post);
    struct http_worker *worker = exchange->worker;
    struct conn *conn = worker_find(worker, exchange->conn_id);

    assert(worker->out > 0);
    worker->out--;
    if (!conn) {
        finish_exchange(worker, exchange, exchange->status, 0);
        return;
    }
    assert(conn->state == CONN_HANDLING);
    answer(conn, exchange);
    conn_resume(conn);
}

/* ---- reading ---- */

/* Sends 100 Continue. Nothing else is under way on the connection, so a socket that does not take
 * these few bytes belongs to a client that does not read. */
static void
send_continue(struct conn *conn)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct iovec iov = net_iov(text, sizeof(text) - 1);
    size_t len = 0;

    if (net_stream_write(&conn->stream, &iov, 1, &len) != NET_IO_OK || len != iov.iov_len) {
        conn_close(conn);
        return;
    }
    counter_add(&conn->worker->counters.bytes_out, len);
}

/* Asks whether the request is wanted; false when it has been answered here. */
static bool
accept_request(struct conn *conn, struct http_exchange *exchange)
{
    const struct http_options *options = &conn->worker->server->options;
    bool has_body = exchange->head.chunked || exchange->head.content_length > 0;
    uint64_t body_max = HTTP_BODY_DEFAULT_MAX;
    struct err err = {.code = ERR_OK};

    if (options->accept) {
        enum err_code code = options->accept(options->ctx, exchange, &body_max, &err);
        if (code != ERR_OK) {
            const char *detail = err.code == code && err.msg[0] ? err.msg : "refused";
            exchange_set_error(exchange, err_http_status(code), err_name(code), slice_of(detail));
            /* A body that nobody reads would be taken for the next request. */
            exchange->close = exchange->close || has_body || exchange->head.expect_continue;
            conn->unread = has_body;
            answer(conn, exchange);
            return false;
        }
    }
    exchange->body_max = body_max;
    if (exchange->head.content_length > body_max || (exchange->head.chunked && body_max == 0)) {
        fail_too_large(conn, exchange);
        return false;
    }
    return true;
}

/* A complete head; `more` says whether bytes behind it are already here. */
static void
take_request(struct conn *conn, struct slice head, bool more)
{
    struct http_exchange *exchange = begin_exchange(conn);
    struct http_fault fault;

    exchange->bytes_in = head.len;
    if (!exchange_set_head(exchange, head, &fault)) {
        fail_parse(conn, exchange, &fault);
        return;
    }
    if (!accept_request(conn, exchange)) {
        return;
    }
    if (!exchange->head.chunked && exchange->head.content_length == 0) {
        dispatch(conn, exchange);
        return;
    }
    conn_set_state(conn, CONN_BODY);
    conn->exchange = exchange;
    conn->body_left = exchange->head.content_length;
    conn->body_started_us = net_loop_now_us(conn->worker->loop);
    set_timer(conn, conn->worker->server->options.body_timeout_ms);
    if (exchange->head.expect_continue && !more) {
        send_continue(conn);
    }
}

/* Looks for the end of a head; returns how many bytes it took. */
static size_t
take_head(struct conn *conn, struct slice bytes)
{
    const struct http_options *options = &conn->worker->server->options;
    struct http_fault fault;
    size_t len = 0;

    switch (http_scan(&conn->scan, bytes, &len, &fault)) {
    case HTTP_SCAN_END:
        if (len <= options->head_bytes_max) {
            size_t skip = conn->scan.skip;
            take_request(conn, slice_sub(bytes, skip, len - skip), len < bytes.len);
            return len;
        }
        break;
    case HTTP_SCAN_BAD:
        fail_parse(conn, NULL, &fault);
        return bytes.len;
    case HTTP_SCAN_MORE:
        if (bytes.len <= options->head_bytes_max) {
            if (!conn->head_begun) {
                conn->head_begun = true;
                set_timer(conn, options->header_timeout_ms);
            }
            return 0;
        }
        break;
    }
    fault = (struct http_fault){431, "the head of the request is larger than the limit"};
    fail_parse(conn, NULL, &fault);
    return bytes.len;
}

/* Whether the body comes too slowly; the silence before it is the timer's matter. */
static bool
body_is_too_slow(const struct conn *conn)
{
    int64_t allowed_us = (int64_t)conn->worker->server->options.body_timeout_ms * US_PER_MS +
                         (int64_t)conn->exchange->body_len * BODY_US_PER_BYTE;

    return net_loop_now_us(conn->worker->loop) - conn->body_started_us > allowed_us;
}

/* Bytes of the body have come: the next ones, the handler, or an answer to a body that drips. */
static void
body_progress(struct conn *conn, bool complete)
{
    if (complete) {
        dispatch(conn, conn->exchange);
    } else if (body_is_too_slow(conn)) {
        fail(conn, conn->exchange, 408, SLICE_LITERAL("the body comes too slowly"));
    } else {
        set_timer(conn, conn->worker->server->options.body_timeout_ms);
    }
}

static size_t
take_sized(struct conn *conn, struct slice bytes)
{
    struct http_exchange *exchange = conn->exchange;
    struct slice part =
        slice_sub(bytes, 0, conn->body_left < bytes.len ? (size_t)conn->body_left : bytes.len);
    struct slice rest = part;

    while (rest.len > 0) {
        size_t room;
        char *to = exchange_body_room(exchange, conn->body_left, &room);
        if (!to) {
            fail_budget(conn, exchange);
            return bytes.len;
        }
        size_t n = rest.len < room ? rest.len : room;
        memcpy(to, rest.ptr, n);
        exchange->body_len += n;
        conn->body_left -= n;
        rest = slice_sub(rest, n, rest.len);
    }
    exchange->bytes_in += part.len;
    body_progress(conn, conn->body_left == 0);
    return part.len;
}

static size_t
take_chunked(struct conn *conn, struct slice bytes)
{
    struct http_exchange *exchange = conn->exchange;
    struct http_chunked *chunked = &exchange->chunked;
    size_t used = 0;

    while (used < bytes.len && chunked->state != HTTP_CHUNKED_DONE) {
        struct slice data;
        size_t n = http_chunked_take(chunked, slice_sub(bytes, used, bytes.len), &data);
        used += n;
        exchange->bytes_in += n;
        if (chunked->state == HTTP_CHUNKED_BAD) {
            struct http_fault fault = {400, "the chunked coding of the body is broken"};
            fail_parse(conn, exchange, &fault);
            return bytes.len;
        }
        if (data.len > exchange->body_max - exchange->body_len) {
            fail_too_large(conn, exchange);
            return bytes.len;
        }
        if (!exchange_body_add(exchange, data)) {
            fail_budget(conn, exchange);
            return bytes.len;
        }
    }
    body_progress(conn, chunked->state == HTTP_CHUNKED_DONE);
    return used;
}

/* Works off bytes until they are used up or the connection has to wait; returns how many. */
static size_t
consume(struct conn *conn, char *bytes, size_t len)
{
    size_t used = 0;

    while (used < len) {
        struct slice rest = slice_make(bytes + used, len - used);
        size_t n = 0;
        switch (conn->state) {
        case CONN_HEAD:
            n = take_head(conn, rest);
            break;
        case CONN_BODY:
            n = conn->exchange->head.chunked ? take_chunked(conn, rest) : take_sized(conn, rest);
            break;
        case CONN_WS:
            ws_input(conn, bytes + used, rest.len);
            return len;
        case CONN_LINGER:
            conn->sent += rest.len;
            return len;
        case CONN_CLOSED:
            return len;
        case CONN_HANDLING:
        case CONN_ANSWERING:
            return used;
        }
        if (n == 0) {
            return used;
        }
        used += n;
    }
    return used;
}

/* New bytes go behind those that came early; what is left stays for later. */
static void
take_input(struct conn *conn, char *bytes, size_t len)
{
    struct buf *in = &conn->in;

    if (in->len == 0) {
        size_t used = consume(conn, bytes, len);
        if (used < len && conn->state != CONN_CLOSED) {
            buf_add(in, bytes + used, len - used);
        }
        return;
    }
    buf_add(in, bytes, len);
    /* The buffer is taken out, since lingering and upgrading drop conn->in. */
    struct buf work = *in;
    buf_init(in, 0);
    size_t used = consume(conn, work.ptr, work.len);
    if (used < work.len && conn->state != CONN_CLOSED && conn->state != CONN_LINGER) {
        buf_consume(&work, used);
        *in = work;
        return;
    }
    buf_fini(&work);
}

/* The answer may have left room for what waits: bytes in `in`, in OpenSSL, in the kernel. */
void
conn_resume(struct conn *conn)
{
    if (conn->state == CONN_HEAD && conn->in.len > 0) {
        take_input(conn, NULL, 0);
    }
    if (conn->state == CONN_HANDLING || conn->state == CONN_ANSWERING ||
        conn->state == CONN_CLOSED) {
        return;
    }
    conn->paused = false;
    conn_update_events(conn);
    if (net_stream_pending(&conn->stream)) {
        worker_read_again(conn->worker, conn);
    }
}

/* The client sends no more. Answers to what it has sent were given before this is read. */
static void
read_end(struct conn *conn)
{
    if (conn->stream.ssl) {
        net_stream_shutdown(&conn->stream);
    }
    conn_close(conn);
}

static void
read_error(struct conn *conn)
{
    if (conn->stream.ssl && conn->state == CONN_HEAD && conn->scan.at == 0) {
        counter_add(&conn->worker->counters.parse_errors, 1); /* mostly a failed handshake */
    }
    conn_close(conn);
}

static bool
is_reading(const struct conn *conn)
{
    return conn->state == CONN_HEAD || conn->state == CONN_BODY || conn->state == CONN_WS ||
           (conn->state == CONN_LINGER && conn->sent <= HTTP_LINGER_BYTES);
}

/* Where the next bytes go: a body of known length takes them without a copy. NULL: it has been
 * answered for lack of memory. */
static char *
read_place(struct conn *conn, size_t *ret_size)
{
    struct http_exchange *exchange = conn->exchange;

    if (conn->state != CONN_BODY || exchange->head.chunked || conn->in.len > 0) {
        *ret_size = HTTP_READ_BYTES;
        return conn->worker->read_buffer;
    }
    char *to = exchange_body_room(exchange, conn->body_left, ret_size);
    if (!to) {
        fail_budget(conn, exchange);
        return NULL;
    }
    if (*ret_size > conn->body_left) {
        *ret_size = (size_t)conn->body_left;
    }
    return to;
}

/* One read and what follows from it; false when there is nothing more to read now. */
static bool
read_once(struct conn *conn)
{
    size_t size;
    size_t got = 0;
    char *to = read_place(conn, &size);

    if (!to) {
        return false;
    }
    switch (net_stream_read(&conn->stream, to, size, &got)) {
    case NET_IO_AGAIN:
        conn_update_events(conn);
        return false;
    case NET_IO_END:
        read_end(conn);
        return false;
    case NET_IO_ERROR:
        read_error(conn);
        return false;
    case NET_IO_OK:
        break;
    }
    counter_add(&conn->worker->counters.bytes_in, got);
    if (to == conn->worker->read_buffer) {
        take_input(conn, to, got);
    } else {
        conn->exchange->body_len += got;
        conn->exchange->bytes_in += got;
        conn->body_left -= got;
        body_progress(conn, conn->body_left == 0);
    }
    return conn->stream.ssl || got == size;
}

void
conn_read(struct conn *conn)
{
    int reads = conn->stream.ssl ? TLS_READS_PER_TURN : READS_PER_TURN;

    while (is_reading(conn)) {
        if (!read_once(conn)) {
            return;
        }
        if (--reads == 0) {
            /* A plain socket is reported again by itself. */
            if (is_reading(conn) && net_stream_pending(&conn->stream)) {
                worker_read_again(conn->worker, conn);
            }
            return;
        }
    }
    if (conn->state == CONN_LINGER) {
        conn_close(conn);
    }
}

/* ---- events ---- */

static void
on_writable(struct conn *conn)
{
    if (conn->state == CONN_ANSWERING) {
        flush_answer(conn);
        conn_resume(conn);
    } else if (conn->state == CONN_WS) {
        ws_flush(conn);
    }
}

static void
on_event(struct net_watch *watch, uint32_t events)
{
    struct conn *conn = NET_OWNER(watch, struct conn, watch);

    if (events & (EPOLLERR | EPOLLHUP)) {
        /* Both directions are over: nothing can be delivered any more. */
        conn_close(conn);
        return;
    }
    bool read = (events & EPOLLIN) || (conn->stream.wants_write && (events & EPOLLOUT));
    bool write = (events & EPOLLOUT) || (conn->stream.wants_read && (events & EPOLLIN));
    if (write) {
        on_writable(conn);
    }
    if (!read || conn->state == CONN_CLOSED) {
        return;
    }
    if (is_reading(conn)) {
        conn_read(conn);
    } else if (conn->state == CONN_LINGER) {
        conn_close(conn);
    } else {
        conn->paused = true;
        conn_update_events(conn);
    }
}

static void
on_timer(struct net_timer *timer)
{
    struct conn *conn = NET_OWNER(timer, struct conn, timer);

    switch (conn->state) {
    case CONN_HEAD:
        if (conn->in.len > 0) {
            fail(conn, NULL, 408, SLICE_LITERAL("the head of the request did not come in time"));
        } else {
            net_stream_shutdown(&conn->stream);
            conn_close(conn);
        }
        break;
    case CONN_BODY:
        fail(conn, conn->exchange, 408, SLICE_LITERAL("the body did not come in time"));
        break;
    case CONN_HANDLING:
        break; /* The handler has all the time it wants. */
    case CONN_ANSWERING:
    case CONN_LINGER:
        conn_close(conn);
        break;
    case CONN_WS:
        ws_on_timer(conn);
        break;
    case CONN_CLOSED:
        assert(false);
        break;
    }
}

void
conn_drain(struct conn *conn)
{
    if (conn->state == CONN_HEAD && conn->in.len == 0) {
        net_stream_shutdown(&conn->stream);
        conn_close(conn);
    }
}
