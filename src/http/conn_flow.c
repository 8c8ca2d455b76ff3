/*
 * Streams, the loop's side: pieces of a body to the holder of the exchange, pieces of an answer to
 * the client. What is sent goes in batches: exchange->wire (the head, the size of a chunk) and
 * flow.sending behind it; while one is on its way the holder fills flow.queue.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include "http/conn.h"

enum {
    US_PER_MS = 1000,
    BODY_US_PER_BYTE = 1000000 / 1024, /* the least a body must bring: 1 KiB/s, as for others */
    BATCHES_PER_TURN = 16,
    STATUS_CLIENT_GONE = 499,
};

/* ---- the body ---- */

void
conn_flow_start(struct conn *conn, const struct http_exchange *exchange)
{
    int64_t now_us = net_loop_now_us(conn->worker->loop);

    conn->body_left = exchange->head.content_length;
    conn->body_complete = !exchange->head.chunked && conn->body_left == 0;
    conn->body_end_told = false;
    conn->continue_owed = exchange->head.expect_continue;
    conn->body_started_us = now_us;
    conn->body_paused_us = now_us;
}

bool
conn_flow_reading(const struct conn *conn)
{
    return conn->state == CONN_STREAM && conn->held && conn->held->stream_body &&
           !conn->body_complete && conn->held->flow.body_wanted &&
           conn->held->flow.fault_status == 0;
}

/* Tells the holder that nothing more will come. */
static void
tell_gone(struct http_exchange *exchange, enum http_gone why)
{
    struct http_flow *flow = &exchange->flow;

    pthread_mutex_lock(&flow->lock);
    if (!flow->gone) {
        flow->gone = true;
        exchange_flow_drop(exchange);
        if (flow->callbacks.on_gone) {
            flow->callbacks.on_gone(flow->ctx, exchange, why);
        }
        flow->callbacks = (struct http_stream_callbacks){NULL, NULL, NULL, NULL};
    }
    pthread_mutex_unlock(&flow->lock);
}

/* The body is of no use. An answer that has begun cannot be taken back; any other waits until the
 * holder has given the exchange away. */
static void __attribute__((format(printf, 3, 4)))
fail_body(struct conn *conn, int status, const char *fmt, ...)
{
    struct http_exchange *exchange = conn->held;

    if (exchange->flow.rendered) {
        conn_close(conn);
        return;
    }
    if (status == 400) {
        counter_add(&conn->worker->counters.parse_errors, 1);
    }
    va_list args;
    va_start(args, fmt);
    vsnprintf(exchange->flow.fault_detail, sizeof(exchange->flow.fault_detail), fmt, args);
    va_end(args);
    exchange->flow.fault_status = status;
    tell_gone(exchange, HTTP_GONE_BODY);
}

static bool
too_slow(const struct conn *conn)
{
    int64_t allowed_us = (int64_t)conn->worker->server->options.body_timeout_ms * US_PER_MS +
                         (int64_t)conn->held->flow.body_seen * BODY_US_PER_BYTE;

    return net_loop_now_us(conn->worker->loop) - conn->body_started_us > allowed_us;
}

/* Gives the client another while to send something. */
static void
restart_body_time(struct conn *conn)
{
    int64_t now_us = net_loop_now_us(conn->worker->loop);
    int timeout_ms = conn->worker->server->options.body_timeout_ms;

    if (conn->body_deadline_us == 0) {
        /* The time of a pause is not the client's. */
        conn->body_started_us += now_us - conn->body_paused_us;
    }
    conn->body_deadline_us = now_us + (int64_t)timeout_ms * US_PER_MS;
}

static void
deliver(struct conn *conn, struct slice piece)
{
    struct http_exchange *exchange = conn->held;
    struct http_flow *flow = &exchange->flow;

    flow->body_seen += piece.len;
    restart_body_time(conn);
    if (piece.len == 0) {
        return;
    }
    pthread_mutex_lock(&flow->lock);
    if (flow->callbacks.on_body) {
        flow->callbacks.on_body(flow->ctx, exchange, piece);
    }
    pthread_mutex_unlock(&flow->lock);
}

size_t
conn_flow_take(struct conn *conn, struct slice bytes)
{
    struct http_exchange *exchange = conn->held;
    struct http_chunked *chunked = &exchange->chunked;
    struct slice piece;
    size_t used;

    if (!conn_flow_reading(conn)) {
        return 0;
    }
    if (exchange->head.chunked) {
        used = http_chunked_take(chunked, bytes, &piece);
        exchange->bytes_in += used;
        if (chunked->state == HTTP_CHUNKED_BAD) {
            fail_body(conn, 400, "the chunked coding of the body is broken");
            return bytes.len;
        }
        if (piece.len > exchange->body_max - exchange->flow.body_seen) {
            fail_body(conn, 413, "the body is over the limit of %llu bytes",
                      (unsigned long long)exchange->body_max);
            return bytes.len;
        }
        conn->body_complete = chunked->state == HTTP_CHUNKED_DONE;
    } else {
        used = conn->body_left < bytes.len ? (size_t)conn->body_left : bytes.len;
        piece = slice_sub(bytes, 0, used);
        exchange->bytes_in += used;
        conn->body_left -= used;
        conn->body_complete = conn->body_left == 0;
    }
    deliver(conn, piece);
    if (!conn->body_complete && too_slow(conn)) {
        fail_body(conn, 408, "the body comes too slowly");
        return bytes.len;
    }
    if (conn->body_complete) {
        conn_flow_update(conn);
    }
    return used;
}

static void
tell_body_end(struct conn *conn)
{
    struct http_exchange *exchange = conn->held;
    struct http_flow *flow = &exchange->flow;

    conn->body_end_told = true;
    pthread_mutex_lock(&flow->lock);
    if (flow->callbacks.on_body_end) {
        flow->callbacks.on_body_end(flow->ctx, exchange);
    }
    pthread_mutex_unlock(&flow->lock);
}

/* Sets the timer for whichever wait ends first. */
static void
arm(struct conn *conn)
{
    int64_t first_us = conn->body_deadline_us;

    if (conn->flow_write_limit_us && (first_us == 0 || conn->flow_write_limit_us < first_us)) {
        first_us = conn->flow_write_limit_us;
    }
    if (first_us) {
        net_loop_timer_set(conn->worker->loop, &conn->timer,
                           first_us - net_loop_now_us(conn->worker->loop));
    }
}

void
conn_flow_update(struct conn *conn)
{
    if (conn->state != CONN_STREAM || !conn->held) {
        return;
    }
    bool reading = conn_flow_reading(conn);

    if (conn->held->stream_body && conn->body_complete && !conn->body_end_told &&
        conn->held->flow.body_wanted) {
        tell_body_end(conn);
    }
    if (reading && conn->body_deadline_us == 0) {
        restart_body_time(conn);
        bool owed = conn->continue_owed && conn->in.len == 0 && !conn->held->flow.rendered;
        conn->continue_owed = false;
        if (owed) {
            conn_send_continue(conn);
            if (conn->state == CONN_CLOSED) {
                return;
            }
        }
    } else if (!reading && conn->body_deadline_us != 0) {
        conn->body_deadline_us = 0;
        conn->body_paused_us = net_loop_now_us(conn->worker->loop);
    }
    arm(conn);
}

/* ---- the answer ---- */

/* Makes the head; false when it cannot be sent. */
static bool
render_head(struct conn *conn, struct http_exchange *exchange)
{
    struct http_worker *worker = conn->worker;
    struct http_flow *flow = &exchange->flow;
    bool endless = flow->length < 0 && !flow->bodyless && exchange->head.minor == 0;
    bool keep_alive =
        !exchange->close && !worker->draining && exchange->head.keep_alive && !endless;

    flow->chunked = flow->length < 0 && !flow->bodyless && !endless;
    if (!exchange_render_stream(exchange, keep_alive, worker_date(worker))) {
        return false;
    }
    conn->close_behind = !keep_alive;
    flow->rendered = true;
    counter_add(&worker->counters.streams_total, 1);
    conn_count_answer(worker, exchange->status);
    return true;
}

/* Moves the queue behind the wire, framed. Under the lock. */
static void
take_queue(struct http_exchange *exchange)
{
    struct http_flow *flow = &exchange->flow;
    struct buf empty = flow->sending;

    flow->sending = flow->queue;
    buf_reset(&empty);
    flow->queue = empty;
    flow->charged = flow->sending.len;
    if (flow->chunked) {
        buf_add_fmt(&exchange->wire, "%zx\r\n", flow->sending.len);
        buf_add(&flow->sending, "\r\n", 2);
    }
}

/* The next batch, when the one before is out; false when there is none. */
static bool
next_batch(struct conn *conn, struct http_exchange *exchange, bool ending)
{
    struct http_flow *flow = &exchange->flow;

    pthread_mutex_lock(&flow->lock);
    if (flow->rendered) {
        atomic_fetch_sub(&conn->worker->server->bodies_bytes, flow->charged);
        flow->charged = 0;
        flow->sent += conn->sent;
        conn->sent = 0;
        buf_reset(&exchange->wire);
        buf_reset(&flow->sending);
    } else if (!render_head(conn, exchange)) {
        pthread_mutex_unlock(&flow->lock);
        return false;
    }
    if (flow->waiting && flow->queue.len <= HTTP_STREAM_HIGH_BYTES / 2) {
        flow->waiting = false;
        if (flow->callbacks.on_drain) {
            flow->callbacks.on_drain(flow->ctx, exchange);
        }
    }
    if (flow->queue.len > 0) {
        take_queue(exchange);
    }
    if (ending && flow->chunked && !flow->terminated) {
        flow->terminated = true;
        buf_add_cstr(flow->sending.len > 0 ? &flow->sending : &exchange->wire, "0\r\n\r\n");
    }
    pthread_mutex_unlock(&flow->lock);
    return exchange->wire.len + flow->sending.len > 0;
}

/* Sends the rest of a batch. False when the socket takes no more, or the connection is closed. */
static bool
send_batch(struct conn *conn, struct http_exchange *exchange)
{
    struct http_flow *flow = &exchange->flow;
    size_t wire_len = exchange->wire.len;
    size_t total = wire_len + flow->sending.len;

    while (conn->sent < total) {
        struct iovec iov[2];
        int count = 0;
        size_t len;
        if (conn->sent < wire_len) {
            iov[count++] = net_iov(exchange->wire.ptr + conn->sent, wire_len - conn->sent);
        }
        if (flow->sending.len > 0) {
            size_t at = conn->sent > wire_len ? conn->sent - wire_len : 0;
            iov[count++] = net_iov(flow->sending.ptr + at, flow->sending.len - at);
        }
        enum net_io io = net_stream_write(&conn->stream, iov, count, &len);
        if (io == NET_IO_AGAIN) {
            return false;
        }
        if (io != NET_IO_OK) {
            conn_close(conn);
            return false;
        }
        conn->flow_write_limit_us = 0;
        conn->sent += len;
        counter_add(&conn->worker->counters.bytes_out, len);
    }
    return true;
}

/* Something waits to be sent: for the client, or for the next turn. */
static void
wait_to_write(struct conn *conn)
{
    int64_t idle_us = (int64_t)conn->worker->server->options.idle_timeout_ms * US_PER_MS;

    conn->flow_wants_write = true;
    if (conn->flow_write_limit_us == 0) {
        conn->flow_write_limit_us = net_loop_now_us(conn->worker->loop) + idle_us;
    }
    if (conn->state == CONN_ANSWERING) {
        conn->body_deadline_us = 0;
    }
    arm(conn);
    conn_update_events(conn);
}

void
conn_flow_flush(struct conn *conn)
{
    bool ending = conn->state == CONN_ANSWERING;
    struct http_exchange *exchange = ending ? conn->exchange : conn->held;

    assert(ending || conn->state == CONN_STREAM);
    if (!exchange->flow.begun || exchange->flow.fault_status != 0) {
        return;
    }
    conn->flow_wants_write = false;
    for (int i = 0; i < BATCHES_PER_TURN; i++) {
        if (!send_batch(conn, exchange)) {
            if (conn->state != CONN_CLOSED) {
                wait_to_write(conn);
            }
            return;
        }
        if (!next_batch(conn, exchange, ending)) {
            conn->flow_write_limit_us = 0;
            if (!exchange->flow.rendered && !ending) {
                fail_body(conn, 500, "the headers of the answer are over 64 KiB");
            } else if (ending) {
                conn_answer_done(conn);
            }
            return;
        }
    }
    wait_to_write(conn);
}

/* ---- the end ---- */

/* Whether the client has been sent all that was announced, so that it may well leave. */
static bool
is_delivered(const struct conn *conn)
{
    struct http_exchange *exchange = conn->held;
    struct http_flow *flow = &exchange->flow;

    pthread_mutex_lock(&flow->lock);
    bool all = flow->rendered && flow->queue.len == 0 && !conn->flow_wants_write &&
               (flow->bodyless || (flow->length >= 0 && flow->taken == (uint64_t)flow->length));
    pthread_mutex_unlock(&flow->lock);
    return all;
}

void
conn_flow_on_hangup(struct conn *conn)
{
    if (conn->held && !is_delivered(conn)) {
        conn_close(conn);
        return;
    }
    conn->watch_gone = false;
    conn_update_events(conn);
}

void
conn_flow_gone(struct conn *conn)
{
    struct http_exchange *exchange = conn->held;
    struct http_worker *worker = conn->worker;

    conn->held = NULL;
    counter_add(&worker->counters.clients_gone, 1);
    if (exchange->flow.rendered) {
        exchange->flow.sent += conn->sent;
        counter_add(&worker->counters.streams_cut, 1);
        conn->sent = 0;
    }
    tell_gone(exchange, worker->killed ? HTTP_GONE_STOP : HTTP_GONE_CLIENT);
}

void
conn_flow_on_timer(struct conn *conn)
{
    int64_t now_us = net_loop_now_us(conn->worker->loop);

    if (conn->flow_write_limit_us && now_us >= conn->flow_write_limit_us) {
        conn_close(conn);
        return;
    }
    if (conn->body_deadline_us && now_us >= conn->body_deadline_us && conn_flow_reading(conn)) {
        fail_body(conn, 408, "the body did not come in time");
        if (conn->state == CONN_CLOSED) {
            return;
        }
    }
    conn_flow_update(conn);
}

/* Ends the connection so that the client cannot take what it got for all. */
static void
cut(struct conn *conn, struct http_exchange *exchange)
{
    struct linger reset = {.l_onoff = 1};
    struct http_flow *flow = &exchange->flow;

    if (flow->rendered) {
        conn_set_state(conn, CONN_ANSWERING);
        if (flow->length < 0 && !flow->chunked) {
            /* The end of the connection would be the end of the answer; a reset is not. */
            setsockopt(conn->stream.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        }
    }
    conn->exchange = exchange;
    conn_close(conn);
}

static void
end_stream(struct conn *conn, struct http_exchange *exchange)
{
    struct http_flow *flow = &exchange->flow;
    bool shortened = flow->length >= 0 && flow->taken != (uint64_t)flow->length;

    if (flow->overrun || (shortened && !flow->bodyless)) {
        cut(conn, exchange);
        return;
    }
    if (!flow->rendered && exchange->lines.overflow) {
        conn_fail(conn, exchange, 500, SLICE_LITERAL("the headers of the answer are over 64 KiB"));
        return;
    }
    bool unread = exchange->stream_body && !conn->body_complete;
    conn->watch_gone = false;
    if (unread) {
        /* Whichever of the two still counts. */
        exchange->close = true;
        conn->close_behind = true;
    }
    conn_set_state(conn, CONN_ANSWERING);
    conn->exchange = exchange;
    conn_flow_flush(conn);
}

/* The holder has given the exchange away, and the client is there. */
static void
give_back(struct conn *conn, struct http_exchange *exchange)
{
    struct http_flow *flow = &exchange->flow;

    conn->held = NULL;
    if (flow->fault_status != 0 && !flow->rendered) {
        buf_reset(&exchange->lines);
        conn_fail(conn, exchange, flow->fault_status, slice_of(flow->fault_detail));
        return;
    }
    switch (flow->end) {
    case HTTP_FLOW_REPLY:
        conn_answer(conn, exchange);
        break;
    case HTTP_FLOW_END:
        end_stream(conn, exchange);
        break;
    case HTTP_FLOW_ABORT:
        cut(conn, exchange);
        break;
    case HTTP_FLOW_OPEN:
        assert(false);
        break;
    }
}

void
conn_flow_on_post(struct http_exchange *exchange)
{
    struct http_worker *worker = exchange->worker;
    struct http_flow *flow = &exchange->flow;
    struct conn *conn = worker_find(worker, exchange->conn_id);

    pthread_mutex_lock(&flow->lock);
    flow->posted = false;
    enum http_flow_end end = flow->end;
    bool begun = flow->begun;
    bool watch = flow->callbacks.on_gone != NULL;
    pthread_mutex_unlock(&flow->lock);
    if (end != HTTP_FLOW_OPEN) {
        assert(worker->out > 0);
        worker->out--;
    }
    if (!conn) {
        if (end != HTTP_FLOW_OPEN) {
            bool answered = end == HTTP_FLOW_REPLY || flow->rendered;
            conn_finish_exchange(worker, exchange, answered ? exchange->status : STATUS_CLIENT_GONE,
                                 flow->sent);
        }
        return;
    }
    assert(conn->held == exchange);
    if (end != HTTP_FLOW_OPEN) {
        give_back(conn, exchange);
    } else {
        conn->watch_gone = watch;
        if (begun && conn->state == CONN_HANDLING) {
            conn_set_state(conn, CONN_STREAM);
        }
        if (begun) {
            conn_flow_flush(conn);
        }
    }
    conn_resume(conn);
}
