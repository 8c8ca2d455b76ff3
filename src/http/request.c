/*
 * From bytes to requests: heads and bodies are taken from what was read, and complete requests go
 * to the handler.
 */
#include <assert.h>

#include "http/conn.h"

/* The least a body must bring once its timeout has passed: 1 KiB/s. */
enum { BODY_US_PER_BYTE = 1000000 / 1024, US_PER_MS = 1000 };

/* Gives the complete request to the handler. */
static void
dispatch(struct conn *conn, struct http_exchange *exchange)
{
    struct http_worker *worker = conn->worker;
    const struct http_options *options = &worker->server->options;

    conn->exchange = NULL;
    conn->held = exchange;
    conn->sent = 0;
    conn->flow_wants_write = false;
    conn->flow_write_limit_us = 0;
    conn->body_deadline_us = 0;
    conn_set_state(conn, exchange->stream_body ? CONN_STREAM : CONN_HANDLING);
    worker->dispatching = exchange;
    worker->replied = false;
    worker->upgrade.wanted = false;
    options->handler(options->ctx, exchange);
    /* From here on the exchange may be with another thread, or even answered. */
    worker->dispatching = NULL;
    if (worker->upgrade.wanted) {
        conn->held = NULL;
        ws_start(conn, exchange);
    } else if (worker->replied) {
        conn->held = NULL;
        conn_answer(conn, exchange);
    } else {
        worker->out++;
    }
}

void
conn_send_continue(struct conn *conn)
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
            conn_answer(conn, exchange);
            return false;
        }
    }
    exchange->body_max = body_max;
    if (exchange->head.content_length > body_max || (exchange->head.chunked && body_max == 0)) {
        conn_fail_too_large(conn, exchange);
        return false;
    }
    return true;
}

/* A complete head; `more` says whether bytes behind it are already here. */
static void
take_request(struct conn *conn, struct slice head, bool more)
{
    struct http_exchange *exchange = conn_begin_exchange(conn);
    struct http_fault fault;

    exchange->bytes_in = head.len;
    if (!exchange_set_head(exchange, head, &fault)) {
        conn_fail_parse(conn, exchange, &fault);
        return;
    }
    if (!accept_request(conn, exchange)) {
        return;
    }
    if (exchange->stream_body) {
        conn_flow_start(conn, exchange);
        dispatch(conn, exchange);
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
    conn_set_timer(conn, conn->worker->server->options.body_timeout_ms);
    if (exchange->head.expect_continue && !more) {
        conn_send_continue(conn);
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
        conn_fail_parse(conn, NULL, &fault);
        return bytes.len;
    case HTTP_SCAN_MORE:
        if (bytes.len <= options->head_bytes_max) {
            if (!conn->head_begun) {
                conn->head_begun = true;
                conn_set_timer(conn, options->header_timeout_ms);
            }
            return 0;
        }
        break;
    }
    fault = (struct http_fault){431, "the head of the request is larger than the limit"};
    conn_fail_parse(conn, NULL, &fault);
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

void
conn_body_progress(struct conn *conn, bool complete)
{
    if (complete) {
        dispatch(conn, conn->exchange);
    } else if (body_is_too_slow(conn)) {
        conn_fail(conn, conn->exchange, 408, SLICE_LITERAL("the body comes too slowly"));
    } else {
        conn_set_timer(conn, conn->worker->server->options.body_timeout_ms);
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
            conn_fail_budget(conn, exchange);
            return bytes.len;
        }
        size_t n = rest.len < room ? rest.len : room;
        memcpy(to, rest.ptr, n);
        exchange->body_len += n;
        conn->body_left -= n;
        rest = slice_sub(rest, n, rest.len);
    }
    exchange->bytes_in += part.len;
    conn_body_progress(conn, conn->body_left == 0);
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
            conn_fail_parse(conn, exchange, &fault);
            return bytes.len;
        }
        if (data.len > exchange->body_max - exchange->body_len) {
            conn_fail_too_large(conn, exchange);
            return bytes.len;
        }
        if (!exchange_body_add(exchange, data)) {
            conn_fail_budget(conn, exchange);
            return bytes.len;
        }
    }
    conn_body_progress(conn, chunked->state == HTTP_CHUNKED_DONE);
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
        case CONN_STREAM:
            n = conn_flow_take(conn, rest);
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

/* What is left stays for later, as far as there is room for it. */
static void
keep_input(struct conn *conn, struct buf work)
{
    conn->in = work;
    if (conn_charge(conn, work.cap)) {
        return;
    }
    if (conn->state == CONN_HEAD) {
        conn_fail_budget(conn, NULL);
    } else {
        conn_close(conn);
    }
}

void
conn_take_input(struct conn *conn, char *bytes, size_t len)
{
    struct buf work = conn->in;

    if (work.len == 0) {
        size_t used = consume(conn, bytes, len);
        if (used < len && conn->state != CONN_CLOSED) {
            buf_add(&work, bytes + used, len - used);
            keep_input(conn, work);
        }
        return;
    }
    /* The buffer is taken out meanwhile, since lingering drops conn->in. */
    buf_add(&work, bytes, len);
    buf_init(&conn->in, 0);
    size_t used = consume(conn, work.ptr, work.len);
    if (used < work.len && conn->state != CONN_CLOSED) {
        buf_consume(&work, used);
        keep_input(conn, work);
        return;
    }
    buf_fini(&work);
    if (conn->state != CONN_WS && conn->state != CONN_CLOSED) {
        conn_charge(conn, 0);
    }
}
