/* The frame decoder and the making of frames. */
#include "http/ws_frame.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "codec/utf8.h"

enum {
    FIN_BIT = 0x80,
    RSV_BITS = 0x70,
    OPCODE_BITS = 0x0f,
    MASK_BIT = 0x80,
    LENGTH_BITS = 0x7f,
    LENGTH_16 = 126,
    LENGTH_64 = 127,
    MASK_BYTES = 4,
};

void
ws_decoder_init(struct ws_decoder *decoder)
{
    *decoder = (struct ws_decoder){.head_len = 0};
    buf_init(&decoder->buf, WS_MESSAGE_MAX_BYTES + WS_CONTROL_MAX_BYTES);
}

void
ws_decoder_fini(struct ws_decoder *decoder)
{
    buf_fini(&decoder->buf);
}

static enum ws_event
bad(struct ws_decoder *decoder, enum ws_code code)
{
    decoder->bad = true;
    decoder->code = (uint16_t)code;
    return WS_EVENT_BAD;
}

/* Bytes of the head, as far as its first two say. */
static size_t
head_size(const struct ws_decoder *decoder)
{
    size_t size = 2 + MASK_BYTES;

    if (decoder->head_len < 2) {
        return 2;
    }
    switch (decoder->head[1] & LENGTH_BITS) {
    case LENGTH_16:
        return size + 2;
    case LENGTH_64:
        return size + 8;
    default:
        return size;
    }
}

static bool
is_control(const struct ws_decoder *decoder)
{
    return decoder->opcode >= WS_OP_CLOSE;
}

/* What the first two bytes may be: RFC 6455, 5.2 and 5.5. */
static enum ws_event
check_start(struct ws_decoder *decoder)
{
    uint8_t first = decoder->head[0];
    uint8_t second = decoder->head[1];

    decoder->fin = (first & FIN_BIT) != 0;
    decoder->opcode = first & OPCODE_BITS;
    if ((first & RSV_BITS) || !(second & MASK_BIT)) {
        return bad(decoder, WS_CODE_PROTOCOL);
    }
    switch (decoder->opcode) {
    case WS_OP_CONTINUATION:
        return decoder->in_message ? WS_EVENT_MORE : bad(decoder, WS_CODE_PROTOCOL);
    case WS_OP_TEXT:
        return decoder->in_message ? bad(decoder, WS_CODE_PROTOCOL) : WS_EVENT_MORE;
    case WS_OP_BINARY:
        return bad(decoder, decoder->in_message ? WS_CODE_PROTOCOL : WS_CODE_UNSUPPORTED);
    case WS_OP_CLOSE:
    case WS_OP_PING:
    case WS_OP_PONG:
        if (!decoder->fin || (second & LENGTH_BITS) > WS_CONTROL_MAX_BYTES) {
            return bad(decoder, WS_CODE_PROTOCOL);
        }
        return WS_EVENT_MORE;
    default:
        return bad(decoder, WS_CODE_PROTOCOL);
    }
}

static uint64_t
big_endian(const uint8_t *bytes, size_t count)
{
    uint64_t value = 0;

    for (size_t i = 0; i < count; i++) {
        value = value << 8 | bytes[i];
    }
    return value;
}

/* The head is complete: the length, in its shortest form, and its limit. */
static enum ws_event
finish_head(struct ws_decoder *decoder)
{
    uint64_t length = decoder->head[1] & LENGTH_BITS;
    uint64_t least = 0;

    if (length == LENGTH_16) {
        length = big_endian(decoder->head + 2, 2);
        least = LENGTH_16;
    } else if (length == LENGTH_64) {
        length = big_endian(decoder->head + 2, 8);
        least = UINT16_MAX + 1;
    }
    if (length < least || length > INT64_MAX) {
        return bad(decoder, WS_CODE_PROTOCOL);
    }
    if (!is_control(decoder) && length > WS_MESSAGE_MAX_BYTES - decoder->message_len) {
        return bad(decoder, WS_CODE_TOO_BIG);
    }
    decoder->left = length;
    decoder->mask_at = 0;
    decoder->in_payload = true;
    return WS_EVENT_MORE;
}

/* RFC 6455, 7.4: codes that may travel. */
static bool
close_code_is_valid(uint64_t code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

static enum ws_event
finish_close(struct ws_decoder *decoder, struct slice payload, struct slice *ret_reason)
{
    decoder->code = WS_CODE_NONE;
    if (payload.len == 0) {
        return WS_EVENT_CLOSE;
    }
    if (payload.len == 1) {
        return bad(decoder, WS_CODE_PROTOCOL);
    }
    uint64_t code = big_endian((const uint8_t *)payload.ptr, 2);
    struct slice reason = slice_sub(payload, 2, payload.len);
    if (!close_code_is_valid(code)) {
        return bad(decoder, WS_CODE_PROTOCOL);
    }
    if (utf8_valid_len(reason) != reason.len) {
        return bad(decoder, WS_CODE_NOT_UTF8);
    }
    decoder->code = (uint16_t)code;
    *ret_reason = reason;
    return WS_EVENT_CLOSE;
}

/* A frame is complete: its event, or on to the next fragment. */
static enum ws_event
finish_frame(struct ws_decoder *decoder, struct slice *ret_payload)
{
    struct slice all = buf_slice(&decoder->buf);
    struct slice control = slice_sub(all, decoder->message_len, all.len);

    decoder->head_len = 0;
    decoder->in_payload = false;
    switch (decoder->opcode) {
    case WS_OP_PING:
        *ret_payload = control;
        return WS_EVENT_PING;
    case WS_OP_PONG:
        *ret_payload = control;
        return WS_EVENT_PONG;
    case WS_OP_CLOSE:
        return finish_close(decoder, control, ret_payload);
    default:
        break;
    }
    decoder->message_len = all.len;
    decoder->in_message = !decoder->fin;
    if (!decoder->fin) {
        return WS_EVENT_MORE;
    }
    decoder->message_len = 0;
    if (utf8_valid_len(all) != all.len) {
        return bad(decoder, WS_CODE_NOT_UTF8);
    }
    *ret_payload = all;
    return WS_EVENT_TEXT;
}

/* Takes head bytes until it is complete or `bytes` is used up. */
static enum ws_event
take_head(struct ws_decoder *decoder, struct slice bytes, size_t *used)
{
    while (*used < bytes.len && !decoder->in_payload) {
        decoder->head[decoder->head_len++] = (uint8_t)bytes.ptr[(*used)++];
        enum ws_event event = WS_EVENT_MORE;
        if (decoder->head_len == 2) {
            event = check_start(decoder);
        } else if (decoder->head_len == head_size(decoder)) {
            event = finish_head(decoder);
        }
        if (event != WS_EVENT_MORE) {
            return event;
        }
    }
    return WS_EVENT_MORE;
}

static void
take_payload(struct ws_decoder *decoder, struct slice bytes)
{
    const uint8_t *mask = decoder->head + head_size(decoder) - MASK_BYTES;
    char *to = buf_reserve(&decoder->buf, bytes.len);

    assert(to); /* finish_head has checked the length against the buffer's cap. */
    for (size_t i = 0; i < bytes.len; i++) {
        to[i] = (char)((uint8_t)bytes.ptr[i] ^ mask[(decoder->mask_at + i) & 3]);
    }
    decoder->mask_at = (uint32_t)(decoder->mask_at + bytes.len) & 3;
    decoder->buf.len += bytes.len;
    decoder->left -= bytes.len;
}

enum ws_event
ws_decoder_take(struct ws_decoder *decoder, struct slice bytes, size_t *ret_used,
                struct slice *ret_payload)
{
    size_t used = 0;
    enum ws_event event = decoder->bad ? WS_EVENT_BAD : WS_EVENT_MORE;

    *ret_payload = (struct slice){"", 0};
    while (event == WS_EVENT_MORE) {
        if (!decoder->in_payload) {
            event = take_head(decoder, bytes, &used);
            if (event != WS_EVENT_MORE || !decoder->in_payload) {
                break;
            }
        }
        size_t part = bytes.len - used;
        if (decoder->left < part) {
            part = (size_t)decoder->left;
        }
        if (part > 0) {
            take_payload(decoder, slice_sub(bytes, used, part));
            used += part;
        }
        if (decoder->left > 0) {
            break;
        }
        event = finish_frame(decoder, ret_payload);
    }
    *ret_used = used;
    return event;
}

void
ws_decoder_done(struct ws_decoder *decoder)
{
    size_t max_bytes = decoder->buf.max_bytes;

    decoder->buf.len = decoder->message_len;
    if (decoder->message_len == 0) {
        buf_fini(&decoder->buf);
        buf_init(&decoder->buf, max_bytes);
    }
}

/* ---- frames ---- */

static struct ws_frame *
new_frame(size_t len)
{
    struct ws_frame *frame = mem_alloc(sizeof(*frame) + len);

    atomic_init(&frame->refs, 1);
    frame->len = len;
    return frame;
}

/* Writes the head of a frame; returns its length, at most 10. */
static size_t
put_head(uint8_t *head, enum ws_opcode opcode, uint64_t payload_len)
{
    size_t extra = payload_len < LENGTH_16 ? 0 : payload_len <= UINT16_MAX ? 2 : 8;

    head[0] = (uint8_t)(FIN_BIT | (int)opcode);
    head[1] = (uint8_t)(extra == 0 ? payload_len : extra == 2 ? LENGTH_16 : LENGTH_64);
    for (size_t i = 0; i < extra; i++) {
        head[2 + i] = (uint8_t)(payload_len >> (8 * (extra - 1 - i)));
    }
    return 2 + extra;
}

struct ws_frame *
ws_frame_new(enum ws_opcode opcode, struct slice payload)
{
    uint8_t head[WS_HEAD_MAX_BYTES];
    size_t head_len = put_head(head, opcode, payload.len);
    struct ws_frame *frame = new_frame(head_len + payload.len);

    memcpy(frame->bytes, head, head_len);
    if (payload.len > 0) {
        memcpy(frame->bytes + head_len, payload.ptr, payload.len);
    }
    return frame;
}

struct ws_frame *
ws_frame_close(uint16_t code, struct slice reason)
{
    char payload[WS_CONTROL_MAX_BYTES];

    reason = slice_sub(reason, 0, WS_CONTROL_MAX_BYTES - 2);
    if (code == WS_CODE_NONE) {
        return ws_frame_new(WS_OP_CLOSE, (struct slice){"", 0});
    }
    payload[0] = (char)(code >> 8);
    payload[1] = (char)(code & 0xff);
    if (reason.len > 0) {
        memcpy(payload + 2, reason.ptr, reason.len);
    }
    return ws_frame_new(WS_OP_CLOSE, slice_make(payload, 2 + reason.len));
}

struct ws_frame *
ws_frame_raw(struct slice bytes)
{
    struct ws_frame *frame = new_frame(bytes.len);

    if (bytes.len > 0) {
        memcpy(frame->bytes, bytes.ptr, bytes.len);
    }
    return frame;
}

struct ws_frame *
ws_frame_text(struct slice text)
{
    return ws_frame_new(WS_OP_TEXT, text);
}

struct ws_frame *
ws_frame_ref(struct ws_frame *frame)
{
    atomic_fetch_add_explicit(&frame->refs, 1, memory_order_relaxed);
    return frame;
}

void
ws_frame_unref(struct ws_frame *frame)
{
    if (frame && atomic_fetch_sub_explicit(&frame->refs, 1, memory_order_acq_rel) == 1) {
        free(frame);
    }
}
