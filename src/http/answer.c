/* Answers on their way out: rendering, sending, what comes behind; and refusals. */
#include <assert.h>

#include "http/conn.h"

void
conn_finish_exchange(struct http_worker *worker, struct http_exchange *exchange, int status,
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

uint64_t
conn_answer_bytes(const struct conn *conn)
{
    return conn->exchange ? conn->exchange->flow.sent + conn->sent : 0;
}

void
conn_answer_done(struct conn *conn)
{
    struct http_exchange *exchange = conn->exchange;
    uint64_t sent = conn_answer_bytes(conn);

    conn->exchange = NULL;
    conn_finish_exchange(conn->worker, exchange, exchange->status, sent);
    if (!conn->close_behind) {
        conn_set_state(conn, CONN_HEAD);
        conn->scan = (struct http_scan){.at = 0};
        conn->head_begun = false;
        conn_set_timer(conn, conn->worker->server->options.idle_timeout_ms);
        return;
    }
    /* Closing at once would answer a byte that is still on its way with a reset, and that would
     * destroy the answer (RFC 9112, 9.6). */
    conn_linger(conn);
}

/* Sends what the socket takes. */
void
conn_flush_answer(struct conn *conn)
{
    struct http_exchange *exchange = conn->exchange;
    if (exchange->flow.rendered) {
        conn_flow_flush(conn);
        return;
    }
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
            conn_set_timer(conn, conn->worker->server->options.idle_timeout_ms);
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
    conn_answer_done(conn);
}

void
conn_count_answer(struct http_worker *worker, int status)
{
    int class = status / 100;

    if (class >= 0 && class < 6) {
        counter_add(&worker->counters.responses_by_class[class], 1);
    }
}

void
conn_answer(struct conn *conn, struct http_exchange *exchange)
{
    struct http_worker *worker = conn->worker;
    /* What is left of a body that nobody wanted would be taken for the next request. */
    bool unread = conn->state == CONN_STREAM && exchange->stream_body && !conn->body_complete;
    bool keep_alive = !exchange->close && !unread && !worker->draining && exchange->has_head &&
                      exchange->head.keep_alive;

    conn->watch_gone = false;
    conn_set_state(conn, CONN_ANSWERING);
    conn->exchange = exchange;
    conn->sent = 0;
    conn->close_behind = !keep_alive;
    if (worker->server->options.access) {
        (void)http_request_id(exchange); /* so that answer and log show the same */
    }
    exchange_render(exchange, keep_alive, worker_date(worker));
    exchange_body_drop(exchange);
    conn_count_answer(worker, exchange->status);
    conn_flush_answer(conn);
}

struct http_exchange *
conn_begin_exchange(struct conn *conn)
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
void
conn_fail(struct conn *conn, struct http_exchange *exchange, int status, struct slice detail)
{
    if (!exchange) {
        exchange = conn_begin_exchange(conn);
    }
    conn->exchange = NULL;
    exchange->close = true;
    exchange_set_error(exchange, status, exchange_code_of(status), detail);
    conn_answer(conn, exchange);
}

void
conn_fail_parse(struct conn *conn, struct http_exchange *exchange, const struct http_fault *fault)
{
    counter_add(&conn->worker->counters.parse_errors, 1);
    conn_fail(conn, exchange, fault->status, slice_of(fault->detail));
}

void
conn_fail_too_large(struct conn *conn, struct http_exchange *exchange)
{
    const char *detail = arena_fmt(&exchange->arena, "the body is over the limit of %llu bytes",
                                   (unsigned long long)exchange->body_max);

    conn_fail(conn, exchange, 413, slice_of(detail));
}

void
conn_fail_budget(struct conn *conn, struct http_exchange *exchange)
{
    conn_fail(conn, exchange, 503,
              SLICE_LITERAL("too many request bodies are being received; try again later"));
}

void
conn_on_reply(struct net_post *post)
{
    struct http_exchange *exchange = NET_OWNER(post, struct http_exchange, post);
    struct http_worker *worker = exchange->worker;
    struct conn *conn = worker_find(worker, exchange->conn_id);

    if (exchange->flow.used) {
        conn_flow_on_post(exchange);
        return;
    }
    assert(worker->out > 0);
    worker->out--;
    if (!conn) {
        conn_finish_exchange(worker, exchange, exchange->status, 0);
        return;
    }
    assert(conn->held == exchange);
    conn->held = NULL;
    conn_answer(conn, exchange);
    conn_resume(conn);
}
