/*
 * A connection that has become a WebSocket. What the rest of the part sees of ws.c and
 * ws_broadcast.c; everything runs on the worker's thread.
 *
 *   open --(ws_close, or a close frame came)--> closing --(all sent, both closes seen)--> ended
 *   open, closing --(dropped, connection lost)--> ended
 *
 * closing: no message is taken any more, the close frame is the last one queued.
 * ended: out of all lists; the connection lingers or is closed; on_close comes at the turn's end.
 */
#ifndef EIDER_HTTP_WS_H
#define EIDER_HTTP_WS_H

#include "http/conn.h"
#include "http/ws_frame.h"

enum {
    WS_QUEUED_MAX_BYTES = 256 * 1024,
    WS_PENDING_MAX_US = 10000000, /* how long a broadcast frame may wait behind an older one */
    WS_CLOSE_WAIT_MS = 5000,
    WS_SEND_BUFFER_BYTES = 128 * 1024, /* the kernel doubles it */
    WS_UNACKED_MAX_MS = 20000,
    WS_SENDS_PER_TURN = 256,
    WS_VISITS_PER_TURN = 4096,
};

/* A queued frame. The first of a queue may be partly sent and is never replaced. */
struct ws_out {
    struct ws_out *next;
    struct ws_frame *frame;
    int64_t since_us; /* of a broadcast: when a frame of its group began to wait */
    int group;        /* WS_ORDERED, WS_RAW, or the group of a broadcast */
};

enum { WS_ORDERED = -1, WS_RAW = -2 };

struct ws_client {
    struct conn *conn;
    struct ws_client *prev; /* the worker's ring */
    struct ws_client *next;
    struct net_retired retired;
    struct ws_callbacks callbacks;
    void *ctx;
    void *user;
    uint64_t groups;
    unsigned channel; /* that the groups are of */
    bool listed;
    bool opened; /* on_open was called, so on_close must be */
    bool close_queued;
    bool close_received;
    struct ws_out *first;
    struct ws_out *last;
    size_t sent;   /* of the first frame */
    size_t queued; /* bytes of ordered frames, their overhead included */
    struct ws_decoder decoder;
};

/* Offers the newest frame of a group; true when it was put on the wire now. May close the
 * connection. */
bool ws_offer(struct ws_client *client, unsigned group, struct ws_frame *frame);

/* Replaces the groups of a client and keeps the worker's count of their members. */
void ws_set_groups(struct ws_client *client, uint64_t groups);

/* client leaves the ring; rounds that stand on it move on. */
void ws_rounds_forget(struct http_worker *worker, struct ws_client *client);

#endif
