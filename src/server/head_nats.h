/*
 * Publishes the head of the event log to NATS JetStream, so that it is kept where this machine's
 * owner cannot change it: {"seq": 2, "hash": "<64 hex digits>", "at": "2026-01-02T03:04:05Z"}.
 *
 *   told ──► waiting ──publish──► published
 *               ▲          │
 *               └──failed──┘  again after retry_ms, with the next head, and once at the stop
 *
 * Only the newest head waits; it says all that an older one would. While it fails, a warning comes
 * once and again when the reason becomes another one.
 *
 * Threads: one of its own, which alone publishes and so alone waits for the network. The functions
 * here are the main thread's and do not block, but for head_nats_stop.
 */
#ifndef EIDER_SERVER_HEAD_NATS_H
#define EIDER_SERVER_HEAD_NATS_H

#include "meter/chain.h"
#include "server/config.h"

struct head_nats;

struct head_nats_options {
    /* Publishes one payload; may block. Called on the thread of head_nats alone. */
    enum err_code (*publish)(void *ctx, struct slice payload, struct err *err);
    void *ctx;
    const char *where; /* for the log, e.g. "nats://127.0.0.1:4222 on subject heads" */
    int64_t retry_ms;
};

enum err_code head_nats_start(const struct head_nats_options *options,
                              struct head_nats **ret_head_nats, struct err *err);

/* Starts it with a publisher as meter.head_nats says; *ret_head_nats stays NULL without a url.
 * Connects later, on its thread. */
enum err_code head_nats_open(const struct config *config, struct head_nats **ret_head_nats,
                             struct err *err);

/* Leaves a head to be published, instead of one that still waits. NULL is fine. */
void head_nats_tell(struct head_nats *head_nats, const struct chain_head *head, int64_t at_us);

/* Tries a head that waits once more, waits for that, and frees. NULL is fine. */
void head_nats_stop(struct head_nats *head_nats);

#endif
