/*
 * The WebSocket frame decoder against wslay, an independent implementation: the events that we
 * report are those that it reports, up to a close or to what we refuse. And what comes in pieces
 * must give the same as the whole.
 */
#include "fuzz.h"

#include <assert.h>
#include <string.h>
#include <wslay/wslay.h>

#include "base/buf.h"
#include "http/ws_frame.h"

enum { INPUT_MAX = 256 * 1024 };

/* One event as text: opcode, length, payload. */
static void
note(struct buf *log, unsigned opcode, struct slice payload)
{
    buf_add_fmt(log, "%u %zu ", opcode, payload.len);
    buf_add_slice(log, payload);
    buf_add_char(log, '\n');
}

/* Decodes pieces of at most `step` bytes; writes the events to `log`, returns why it ended. */
static enum ws_event
decode(struct slice input, size_t step, struct buf *log)
{
    struct ws_decoder decoder;
    enum ws_event event = WS_EVENT_MORE;
    size_t at = 0;

    ws_decoder_init(&decoder);
    while (at < input.len && event != WS_EVENT_CLOSE && event != WS_EVENT_BAD) {
        struct slice piece = slice_sub(input, at, step);
        struct slice payload;
        size_t used;
        event = ws_decoder_take(&decoder, piece, &used, &payload);
        assert(used <= piece.len && (event != WS_EVENT_MORE || used == piece.len));
        at += used;
        switch (event) {
        case WS_EVENT_MORE:
            continue;
        case WS_EVENT_TEXT:
            assert(payload.len <= WS_MESSAGE_MAX_BYTES);
            note(log, WS_OP_TEXT, payload);
            break;
        case WS_EVENT_PING:
            note(log, WS_OP_PING, payload);
            break;
        case WS_EVENT_PONG:
            note(log, WS_OP_PONG, payload);
            break;
        case WS_EVENT_CLOSE:
            buf_add_fmt(log, "%u %u ", WS_OP_CLOSE, decoder.code);
            buf_add_slice(log, payload);
            break;
        case WS_EVENT_BAD:
            assert(decoder.code >= 1002 && decoder.code <= 1009);
            break;
        }
        ws_decoder_done(&decoder);
    }
    ws_decoder_fini(&decoder);
    return event;
}

struct oracle {
    struct slice input;
    struct buf log;
};

static ssize_t
oracle_recv(wslay_event_context_ptr ctx, uint8_t *to, size_t len, int flags, void *user)
{
    struct oracle *oracle = user;

    (void)flags;
    if (oracle->input.len == 0) {
        wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    if (len > oracle->input.len) {
        len = oracle->input.len;
    }
    memcpy(to, oracle->input.ptr, len);
    oracle->input = slice_sub(oracle->input, len, oracle->input.len);
    return (ssize_t)len;
}

static ssize_t
oracle_send(wslay_event_context_ptr ctx, const uint8_t *bytes, size_t len, int flags, void *user)
{
    (void)ctx;
    (void)bytes;
    (void)flags;
    (void)user;
    return (ssize_t)len;
}

static void
oracle_message(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *arg,
               void *user)
{
    struct oracle *oracle = user;
    struct slice payload = slice_make(arg->msg ? (const char *)arg->msg : "", arg->msg_length);

    (void)ctx;
    if (arg->opcode == WS_OP_CLOSE) {
        buf_add_fmt(&oracle->log, "%u %u ", WS_OP_CLOSE,
                    arg->msg_length < 2 ? WS_CODE_NONE : arg->status_code);
        buf_add_slice(&oracle->log, slice_sub(payload, 2, payload.len));
        return;
    }
    note(&oracle->log, arg->opcode, payload);
}

static void
ask_oracle(struct slice input, enum ws_event end, struct slice log)
{
    struct oracle oracle = {.input = input};
    struct wslay_event_callbacks callbacks = {.recv_callback = oracle_recv,
                                              .send_callback = oracle_send,
                                              .on_msg_recv_callback = oracle_message};
    wslay_event_context_ptr ctx;
    int rc = wslay_event_context_server_init(&ctx, &callbacks, &oracle);

    assert(rc == 0);
    (void)rc;
    buf_init(&oracle.log, 0);
    wslay_event_recv(ctx);
    wslay_event_send(ctx);
    struct slice theirs = buf_slice(&oracle.log);
    if (wslay_event_get_status_code_sent(ctx) == WS_CODE_NOT_UTF8 && log.len > theirs.len) {
        /* It looks at each fragment, we at the whole message, so it hears no more pings. */
        log = slice_sub(log, 0, theirs.len);
    } else if (end == WS_EVENT_BAD) {
        /* It may have gone on where we did not. */
        theirs = slice_sub(theirs, 0, log.len);
    }
    assert(slice_eq(theirs, log));
    wslay_event_context_free(ctx);
    buf_fini(&oracle.log);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > INPUT_MAX) {
        return 0;
    }
    BUF_AUTO struct buf whole;
    BUF_AUTO struct buf pieces;
    struct slice input = slice_make(data + 1, size - 1);
    buf_init(&whole, 0);
    buf_init(&pieces, 0);
    enum ws_event end = decode(input, INPUT_MAX, &whole);
    enum ws_event end_of_pieces = decode(input, data[0] + 1U, &pieces);
    assert((end == WS_EVENT_BAD) == (end_of_pieces == WS_EVENT_BAD));
    assert(slice_eq(buf_slice(&whole), buf_slice(&pieces)));
    ask_oracle(input, end, buf_slice(&whole));
    return 0;
}
