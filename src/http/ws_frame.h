/*
 * WebSocket frames (RFC 6455): a decoder for what clients send, and frames ready to be sent to
 * many. The decoder is pure; memory for a message is taken when its first bytes come and given back
 * with ws_decoder_done, so that an idle client holds none.
 *
 *   head -> payload -> (event) -> head ...      bad input -> WS_EVENT_BAD, for good
 */
#ifndef EIDER_HTTP_WS_FRAME_H
#define EIDER_HTTP_WS_FRAME_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "http/http.h"

enum { WS_MESSAGE_MAX_BYTES = 64 * 1024, WS_CONTROL_MAX_BYTES = 125, WS_HEAD_MAX_BYTES = 14 };

enum ws_opcode {
    WS_OP_CONTINUATION = 0,
    WS_OP_TEXT = 1,
    WS_OP_BINARY = 2,
    WS_OP_CLOSE = 8,
    WS_OP_PING = 9,
    WS_OP_PONG = 10,
};

/* Close codes of RFC 6455, 7.4.1, as far as they are sent from here. */
enum ws_code {
    WS_CODE_NORMAL = 1000,
    WS_CODE_GOING_AWAY = 1001,
    WS_CODE_PROTOCOL = 1002,
    WS_CODE_UNSUPPORTED = 1003,
    WS_CODE_NONE = 1005, /* never sent: a close frame without a code */
    WS_CODE_NOT_UTF8 = 1007,
    WS_CODE_TOO_BIG = 1009,
    WS_CODE_TRY_LATER = 1013,
};

enum ws_event {
    WS_EVENT_MORE,  /* all bytes are taken, nothing is complete */
    WS_EVENT_TEXT,  /* payload: a whole message, fragments joined, valid UTF-8 */
    WS_EVENT_PING,  /* payload: to be sent back */
    WS_EVENT_PONG,  /* payload: whatever it was */
    WS_EVENT_CLOSE, /* decoder->code, or WS_CODE_NONE; payload: the reason */
    WS_EVENT_BAD,   /* decoder->code says how to close */
};

/* Zeroed by ws_decoder_init. */
struct ws_decoder {
    uint8_t head[WS_HEAD_MAX_BYTES];
    uint8_t head_len;
    uint8_t opcode; /* of the frame in hand */
    bool fin;
    bool in_payload;
    bool in_message; /* a fragmented text message has begun */
    bool bad;
    uint16_t code;
    uint32_t mask_at;   /* payload bytes unmasked so far, modulo 4 */
    uint64_t left;      /* of the payload */
    size_t message_len; /* bytes of the message in buf; a control frame's bytes stand behind them */
    struct buf buf;
};

void ws_decoder_init(struct ws_decoder *decoder);
void ws_decoder_fini(struct ws_decoder *decoder);

/* Takes bytes up to the next event; *ret_used says how many. The payload is valid until
 * ws_decoder_done, which must be called behind every event but WS_EVENT_MORE. */
enum ws_event ws_decoder_take(struct ws_decoder *decoder, struct slice bytes, size_t *ret_used,
                              struct slice *ret_payload);
void ws_decoder_done(struct ws_decoder *decoder);

/* Bytes ready to be sent; see http.h. */
struct ws_frame {
    _Atomic uint32_t refs;
    size_t len;
    char bytes[];
};

/* One unfragmented, unmasked frame. The caller has the only reference. */
struct ws_frame *ws_frame_new(enum ws_opcode opcode, struct slice payload);

/* A close frame; the reason is cut at 123 bytes. */
struct ws_frame *ws_frame_close(uint16_t code, struct slice reason);

/* Bytes that are no frame, e.g. the answer to the handshake. */
struct ws_frame *ws_frame_raw(struct slice bytes);

#endif
