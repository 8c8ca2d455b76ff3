/*
 * One kind of work that takes long and that an operator asks for, or the clock: a backup, making
 * the files small. It has a thread of its own, runs once at a time, and is asked how it stands.
 *
 *   idle ──ask, or the interval is over──► running ──► idle (with an outcome)
 *
 * Threads: start and stop by one; ask and status by any.
 */
#ifndef EIDER_SERVER_WORK_H
#define EIDER_SERVER_WORK_H

#include "base/clock.h"
#include "base/err.h"
#include "codec/json_write.h"

struct work;

/* Does it; on success writes what came of it as members of an object that is open. */
typedef enum err_code work_fn(void *ctx, struct json_writer *result, struct err *err);

struct work_options {
    const char *name; /* for the log and the answers */
    work_fn *run;
    void *ctx;
    int64_t interval_ms; /* 0: only when asked */
    int64_t first_ms;    /* until the first by the clock */
    const struct clock *clock;
};

struct work *work_start(const struct work_options *options);

/* Waits for what runs. NULL is fine. */
void work_stop(struct work *work);

/* ERR_CONFLICT while it runs, or waits to. */
enum err_code work_ask(void *work, struct err *err);

/* {"name", "state": "idle" or "running", "runs", "failures", "started", "ended", "error",
 * "result"} as members of an object that is open. */
void work_status(void *work, struct json_writer *json);

#endif
