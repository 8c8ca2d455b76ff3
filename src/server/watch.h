/*
 * Something outside that is looked at all the time, such as a directory on another machine: a look
 * may hang for as long as that machine does, so a thread of its own looks, and nobody waits for it.
 *
 *   looking ──finding──► pause ──interval──► looking ... ──stop, behind the look──► gone
 *
 * Threads: start and stop by one; read by any.
 */
#ifndef EIDER_SERVER_WATCH_H
#define EIDER_SERVER_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct watch;

/* False, with what is wrong in `err`. It may block without limit, and outlive watch_stop: it uses
 * nothing but `ctx`. */
typedef bool watch_look_fn(void *ctx, struct err *err);

struct watch_options {
    watch_look_fn *look;
    void *ctx;                   /* the watch's own from now on */
    void (*free_ctx)(void *ctx); /* on any thread, behind the last look */
    int64_t interval_ms;         /* between the end of a look and the next */
};

/* The first look begins at once. */
struct watch *watch_start(const struct watch_options *options);

/* What the last look found; "": nothing is wrong, or the first look has not ended. */
void watch_read(struct watch *watch, char ret_text[ERR_MSG_MAX]);

/* Waits for nothing: a look that hangs ends by itself. NULL is fine. */
void watch_stop(struct watch *watch);

#endif
