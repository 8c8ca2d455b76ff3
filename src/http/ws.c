/* WebSocket connections: upgrade, input, the queue of frames to send, closing. */
#include "http/ws.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "http/ws_handshake.h"

bool
http_upgrade(struct http_exchange *exchange, const struct ws_callbacks *callbacks, void *ctx)
{
    struct http_worker *worker = exchange->worker;
    struct http_upgrade_note *note = &worker->upgrade;
    const char *const *origins = (const char *const *)worker->server->origins;
    struct http_fault fault;

    assert(net_loop_is_current(worker->loop) && worker->dispatching == exchange);
    if (!ws_handshake_check(&exchange->head, origins, note->accept, &fault)) {
        exchange_set_error(exchange, fault.status, exchange_code_of(fault.status),
                           slice_of(fault.detail));
        if (fault.status == 426) {
            http_add_header(exchange, "Upgrade", SLICE_LITERAL("websocket"));
            http_add_header(exchange, "Sec-WebSocket-Version", SLICE_LITERAL("13"));
        }
        return false;
    }
    note->callbacks = *callbacks;
    note->ctx = ctx;
    note->wanted = true;
    return true;
}

/* ---- the queue ---- */

/* What a queued frame of one client takes; small ones are mostly overhead. */
static size_t
cost_of(const struct ws_frame *frame)
{
    return frame->len + sizeof(*frame) + sizeof(struct ws_out);
}

static void
free_out(struct ws_client *client, struct ws_out *out)
{
    if (out->group == WS_ORDERED) {
        client->queued -= cost_of(out->frame);
    }
    ws_frame_unref(out->frame);
    free(out);
}

static void
free_queue(struct ws_client *client)
{
    while (client->first) {
        struct ws_out *next = client->first->next;
        free_out(client, client->first);
        client->first = next;
    }
    client->last = NULL;
}

static void
append(struct ws_client *client, struct ws_frame *frame, int group)
{
    struct ws_out *out = mem_alloc(sizeof(*out));

    *out = (struct ws_out){.frame = ws_frame_ref(frame),
                           .since_us = net_loop_now_us(client->conn->worker->loop),
                           .group = group};
    if (client->last) {
        client->last->next = out;
    } else {
        client->first = out;
    }
    client->last = out;
    if (group == WS_ORDERED) {
        client->queued += cost_of(frame);
    }
}

static void
count_sent(struct http_worker *worker, int group)
{
    if (group != WS_RAW) {
        counter_add(&worker->counters.ws_frames_sent, 1);
    }
}

/* Writes from *sent on; true when all of it is out. On failure the connection is closed. */
static bool
write_frame(struct conn *conn, const struct ws_frame *frame, size_t *sent)
{
    while (*sent < frame->len) {
        struct iovec iov = net_iov(frame->bytes + *sent, frame->len - *sent);
        size_t len;
        enum net_io io = net_stream_write(&conn->stream, &iov, 1, &len);
        if (io == NET_IO_AGAIN) {
            return false;
        }
        if (io != NET_IO_OK) {
            conn_close(conn);
            return false;
        }
        counter_add(&conn->worker->counters.bytes_out, len);
        *sent += len;
    }
    return true;
}

/* Sends a frame at once when nothing waits before it, else queues it. True: it is on the wire. */
static bool
send_or_queue(struct ws_client *client, struct ws_frame *frame, int group)
{
    struct conn *conn = client->conn;
    size_t sent = 0;

    if (client->first) {
        append(client, frame, group);
        return false;
    }
    if (write_frame(conn, frame, &sent)) {
        count_sent(conn->worker, group);
        return true;
    }
    if (conn->state == CONN_WS) {
        append(client, frame, group);
        client->sent = sent;
        conn_update_events(conn);
    }
    return false;
}

static void
drop_slow(struct ws_client *client)
{
    counter_add(&client->conn->worker->counters.ws_dropped_slow, 1);
    conn_close(client->conn);
}

bool
ws_offer(struct ws_client *client, unsigned group, struct ws_frame *frame)
{
    struct http_worker *worker = client->conn->worker;

    for (struct ws_out *out = client->first; out; out = out->next) {
        if (out == client->first || out->group != (int)group) {
            continue;
        }
        if (net_loop_now_us(worker->loop) - out->since_us > WS_PENDING_MAX_US) {
            drop_slow(client);
            return false;
        }
        ws_frame_unref(out->frame);
        out->frame = ws_frame_ref(frame);
        counter_add(&worker->counters.ws_frames_skipped, 1);
        return false;
    }
    return send_or_queue(client, frame, (int)group);
}

bool
ws_wants_write(const struct conn *conn)
{
    return conn->ws->first != NULL;
}

static void
finish(struct net_retired *retired)
{
    struct ws_client *client = NET_OWNER(retired, struct ws_client, retired);

    ws_free(client->conn);
}

/* The closing handshake is over, or there will be none: the client goes, the connection lingers. */
static void
end(struct ws_client *client)
{
    struct conn *conn = client->conn;

    ws_unlink(conn);
    conn_linger(conn);
    client->retired.fn = finish;
    net_loop_retire(conn->worker->loop, &client->retired);
}

static void
end_if_closed(struct ws_client *client)
{
    if (client->conn->state == CONN_WS && !client->first && client->close_queued &&
        client->close_received) {
        end(client);
    }
}

void
ws_flush(struct conn *conn)
{
    struct ws_client *client = conn->ws;

    while (client->first) {
        struct ws_out *out = client->first;
        if (!write_frame(conn, out->frame, &client->sent)) {
            break;
        }
        client->sent = 0;
        client->first = out->next;
        if (!client->first) {
            client->last = NULL;
        }
        count_sent(conn->worker, out->group);
        free_out(client, out);
    }
    if (conn->state == CONN_WS) {
        conn_update_events(conn);
        end_if_closed(client);
    }
}

/* ---- what the application calls ---- */

static bool
send_ordered(struct ws_client *client, struct ws_frame *frame)
{
    bool open = client->conn->state == CONN_WS && !client->close_queued;

    if (open && client->queued + cost_of(frame) > WS_QUEUED_MAX_BYTES && client->first) {
        drop_slow(client);
        open = false;
    }
    if (open) {
        send_or_queue(client, frame, WS_ORDERED);
        open = client->conn->state == CONN_WS;
    }
    ws_frame_unref(frame);
    return open;
}

bool
ws_send_text(struct ws_client *client, struct slice text)
{
    return send_ordered(client, ws_frame_new(WS_OP_TEXT, text));
}

/* Frames of broadcasts that have not begun need not be sent before the close. */
static void
drop_pending(struct ws_client *client)
{
    struct ws_out *before = client->first;

    while (before && before->next) {
        struct ws_out *out = before->next;
        if (out->group < 0) {
            before = out;
            continue;
        }
        before->next = out->next;
        free_out(client, out);
    }
    client->last = before;
}

void
ws_close(struct ws_client *client, uint16_t code, const char *reason)
{
    struct conn *conn = client->conn;

    if (conn->state != CONN_WS || client->close_queued) {
        return;
    }
    drop_pending(client);
    client->close_queued = true;
    ws_set_groups(client, 0);
    struct ws_frame *frame = ws_frame_close(code, slice_of(reason));
    send_or_queue(client, frame, WS_ORDERED);
    ws_frame_unref(frame);
    if (conn->state == CONN_WS) {
        net_loop_timer_set(conn->worker->loop, &conn->timer, (int64_t)WS_CLOSE_WAIT_MS * 1000);
        end_if_closed(client);
    }
}

void
ws_join(struct ws_client *client, uint64_t group_mask)
{
    if (client->listed && !client->close_queued) {
        ws_set_groups(client, group_mask);
    }
}

void
ws_set_user(struct ws_client *client, void *user)
{
    client->user = user;
}

void *
ws_user(const struct ws_client *client)
{
    return client->user;
}

uint64_t
ws_id(const struct ws_client *client)
{
    return client->conn->id;
}

struct slice
ws_peer(const struct ws_client *client)
{
    return slice_of(client->conn->peer);
}

/* ---- input ---- */

static void
on_close_frame(struct ws_client *client)
{
    client->close_received = true;
    /* The answer to a close is a close with the same code (RFC 6455, 5.5.1). */
    ws_close(client, client->decoder.code, NULL);
    end_if_closed(client);
}

static void
on_bad_frame(struct ws_client *client)
{
    counter_add(&client->conn->worker->counters.parse_errors, 1);
    /* Nothing that comes behind a broken frame can be understood, not even a close. */
    client->close_received = true;
    ws_close(client, client->decoder.code, NULL);
    end_if_closed(client);
}

void
ws_input(struct conn *conn, char *bytes, size_t len)
{
    struct ws_client *client = conn->ws;
    struct slice rest = slice_make(bytes, len);

    while (conn->state == CONN_WS && !client->close_received) {
        struct slice payload;
        size_t used;
        enum ws_event event = ws_decoder_take(&client->decoder, rest, &used, &payload);
        rest = slice_sub(rest, used, rest.len);
        switch (event) {
        case WS_EVENT_MORE:
            if (client->decoder.buf.cap != conn->charged &&
                !conn_charge(conn, client->decoder.buf.cap)) {
                ws_close(client, WS_CODE_TRY_LATER, "too much input is waiting");
            }
            return;
        case WS_EVENT_TEXT:
            if (client->callbacks.on_text && !client->close_queued) {
                client->callbacks.on_text(client->ctx, client, payload);
            }
            break;
        case WS_EVENT_PING:
            send_ordered(client, ws_frame_new(WS_OP_PONG, payload));
            break;
        case WS_EVENT_PONG:
            break;
        case WS_EVENT_CLOSE:
            on_close_frame(client);
            break;
        case WS_EVENT_BAD:
            on_bad_frame(client);
            break;
        }
        ws_decoder_done(&client->decoder);
    }
}

void
ws_on_timer(struct conn *conn)
{
    if (conn->ws->close_queued) {
        conn_close(conn);
    }
}

/* ---- begin and end ---- */

static struct ws_frame *
handshake_answer(const struct http_worker *worker, const struct http_exchange *exchange,
                 const char *date)
{
    struct buf text;

    buf_init(&text, 0);
    buf_add_cstr(&text, "HTTP/1.1 101 Switching Protocols\r\nServer: eider\r\nDate: ");
    buf_add_cstr(&text, date);
    buf_add_cstr(&text, "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Accept: ");
    buf_add_cstr(&text, worker->upgrade.accept);
    buf_add_cstr(&text, "\r\n");
    buf_add_slice(&text, buf_slice(&exchange->lines));
    buf_add_cstr(&text, "\r\n");
    struct ws_frame *frame = ws_frame_raw(buf_slice(&text));
    buf_fini(&text);
    return frame;
}

static void
link_client(struct http_worker *worker, struct ws_client *client)
{
    struct ws_client *at = worker->clients;

    if (at) {
        client->next = at;
        client->prev = at->prev;
        at->prev->next = client;
        at->prev = client;
    } else {
        client->next = client;
        client->prev = client;
        worker->clients = client;
    }
    client->listed = true;
    counter_add(&worker->counters.ws_clients, 1);
    counter_add(&worker->counters.ws_clients_total, 1);
}

void
ws_start(struct conn *conn, struct http_exchange *exchange)
{
    struct http_worker *worker = conn->worker;
    struct ws_client *client = mem_zalloc(1, sizeof(*client));

    client->conn = conn;
    client->callbacks = worker->upgrade.callbacks;
    client->ctx = worker->upgrade.ctx;
    ws_decoder_init(&client->decoder);
    conn->ws = client;
    conn_set_state(conn, CONN_WS);
    net_loop_timer_cancel(worker->loop, &conn->timer);
    net_stream_bound(&conn->stream, WS_SEND_BUFFER_BYTES, WS_UNACKED_MAX_MS);
    link_client(worker, client);
    struct ws_frame *frame = handshake_answer(worker, exchange, worker_date(worker));
    conn_finish_exchange(worker, exchange, 101, frame->len);
    counter_add(&worker->counters.responses_by_class[1], 1);
    send_or_queue(client, frame, WS_RAW);
    ws_frame_unref(frame);
    if (conn->state != CONN_WS) {
        return;
    }
    client->opened = true;
    if (client->callbacks.on_open) {
        client->callbacks.on_open(client->ctx, client);
    }
    if (worker->draining) {
        ws_close(client, WS_CODE_GOING_AWAY, "the server is stopping");
    }
}

void
ws_unlink(struct conn *conn)
{
    struct http_worker *worker = conn->worker;
    struct ws_client *client = conn->ws;

    if (!client || !client->listed) {
        return;
    }
    ws_set_groups(client, 0);
    ws_rounds_forget(worker, client);
    client->listed = false;
    client->prev->next = client->next;
    client->next->prev = client->prev;
    if (worker->clients == client) {
        worker->clients = client->next == client ? NULL : client->next;
    }
    counter_add(&worker->counters.ws_clients, UINT64_MAX);
}

void
ws_free(struct conn *conn)
{
    struct ws_client *client = conn->ws;

    assert(!client->listed);
    if (client->opened && client->callbacks.on_close) {
        client->callbacks.on_close(client->ctx, client);
    }
    conn->ws = NULL;
    free_queue(client);
    ws_decoder_fini(&client->decoder);
    free(client);
}
