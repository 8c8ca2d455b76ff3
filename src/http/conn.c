/*
 * The life of a connection, its reading and its timeouts. EPOLLIN stays on while an exchange is out
 * and goes off only when the client does send meanwhile: well-behaved clients cost no system call.
 */
#include <assert.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "base/mem.h"
#include "http/conn.h"

enum { READS_PER_TURN = 4, TLS_READS_PER_TURN = 16, US_PER_MS = 1000 };

static void on_event(struct net_watch *watch, uint32_t events);
static void on_timer(struct net_timer *timer);

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
    case CONN_STREAM:
        assert(old == CONN_HEAD || old == CONN_HANDLING);
        break;
    case CONN_ANSWERING:
        assert(old == CONN_HEAD || old == CONN_BODY || old == CONN_HANDLING || old == CONN_STREAM);
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

void
conn_set_timer(struct conn *conn, int timeout_ms)
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
    conn_set_timer(conn, worker->server->options.header_timeout_ms);
    if (refused) {
        conn_fail(conn, NULL, 503, SLICE_LITERAL("too many connections; try again later"));
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
    uint64_t sent = answering ? conn_answer_bytes(conn) : 0;
    ws_unlink(conn);
    conn_set_state(conn, CONN_CLOSED);
    if (conn->exchange) {
        struct http_exchange *exchange = conn->exchange;
        conn->exchange = NULL;
        if (exchange->flow.rendered) {
            counter_add(&worker->counters.streams_cut, 1);
        }
        conn_finish_exchange(worker, exchange, answering ? exchange->status : STATUS_CLIENT_GONE,
                             sent);
    }
    if (conn->held) {
        conn_flow_gone(conn);
    }
    net_loop_timer_cancel(worker->loop, &conn->timer);
    net_loop_unwatch(worker->loop, &conn->watch);
    net_stream_close(&conn->stream);
    conn_charge(conn, 0);
    worker_remove(worker, conn);
    conn->retired.fn = free_conn;
    net_loop_retire(worker->loop, &conn->retired);
}

bool
conn_charge(struct conn *conn, size_t bytes)
{
    struct http_server *server = conn->worker->server;
    size_t before = conn->charged;

    conn->charged = bytes;
    if (bytes <= before) {
        atomic_fetch_sub(&server->bodies_bytes, before - bytes);
        return true;
    }
    uint64_t others = atomic_fetch_add(&server->bodies_bytes, bytes - before);
    return others + (bytes - before) <= server->options.bodies_bytes_max;
}

void
conn_linger(struct conn *conn)
{
    conn_set_state(conn, CONN_LINGER);
    conn->paused = false;
    conn->sent = 0;
    buf_fini(&conn->in);
    conn_charge(conn, 0);
    net_stream_shutdown(&conn->stream);
    net_loop_timer_set(conn->worker->loop, &conn->timer, HTTP_LINGER_US);
    conn_update_events(conn);
}

void
conn_update_events(struct conn *conn)
{
    bool write = conn->state == CONN_ANSWERING ||
                 (conn->state == CONN_STREAM && conn->flow_wants_write) ||
                 (conn->state == CONN_WS && ws_wants_write(conn));
    uint32_t events = 0;

    if (!conn->paused || conn->stream.wants_read) {
        events |= EPOLLIN;
    }
    if ((write && !conn->stream.wants_read) || conn->stream.wants_write) {
        events |= EPOLLOUT;
    }
    if (conn->watch_gone) {
        events |= EPOLLRDHUP;
    }
    net_loop_set_events(conn->worker->loop, &conn->watch, events);
}

/* ---- reading ---- */

/* The answer may have left room for what waits: bytes in `in`, in OpenSSL, in the kernel. */
void
conn_resume(struct conn *conn)
{
    if (conn->in.len > 0 && (conn->state == CONN_HEAD || conn_flow_reading(conn))) {
        conn_take_input(conn, NULL, 0);
    }
    conn_flow_update(conn);
    if (conn->state == CONN_CLOSED) {
        return;
    }
    bool waits = conn->state == CONN_HANDLING || conn->state == CONN_ANSWERING ||
                 (conn->state == CONN_STREAM && !conn_flow_reading(conn));
    if (!waits) {
        conn->paused = false;
        if (net_stream_pending(&conn->stream)) {
            worker_read_again(conn->worker, conn);
        }
    }
    conn_update_events(conn);
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
           (conn->state == CONN_LINGER && conn->sent <= HTTP_LINGER_BYTES) ||
           conn_flow_reading(conn);
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
        conn_fail_budget(conn, exchange);
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
        conn_take_input(conn, to, got);
    } else {
        conn->exchange->body_len += got;
        conn->exchange->bytes_in += got;
        conn->body_left -= got;
        conn_body_progress(conn, conn->body_left == 0);
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
        conn_flush_answer(conn);
        conn_resume(conn);
    } else if (conn->state == CONN_STREAM) {
        conn_flow_flush(conn);
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
    if (events & EPOLLRDHUP) {
        conn_flow_on_hangup(conn);
        if (conn->state == CONN_CLOSED) {
            return;
        }
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
            conn_fail(conn, NULL, 408,
                      SLICE_LITERAL("the head of the request did not come in time"));
        } else {
            net_stream_shutdown(&conn->stream);
            conn_close(conn);
        }
        break;
    case CONN_BODY:
        conn_fail(conn, conn->exchange, 408, SLICE_LITERAL("the body did not come in time"));
        break;
    case CONN_HANDLING:
        break; /* The handler has all the time it wants. */
    case CONN_STREAM:
        conn_flow_on_timer(conn);
        break;
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
    } else if (conn->state == CONN_WS) {
        ws_close(conn->ws, 1001, "the server is stopping");
    }
}
