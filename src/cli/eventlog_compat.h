/*
 * The interface of the original event log's program: what its arguments mean and how its answers
 * are spelt (docs/compatibility.md). Nothing is opened here.
 *
 * Pure; any thread.
 */
#ifndef EIDER_CLI_EVENTLOG_COMPAT_H
#define EIDER_CLI_EVENTLOG_COMPAT_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "cli/ledger.h"
#include "meter/event.h"

/*
 * Reads --event: id, timestamp, api_name, endpoint, method, status_code, success, latency_ms,
 * credits_cost, run_id, error_message, metadata; anything else is passed over, as the original
 * did. Texts borrow from `json` and the arena. ERR_SYNTAX with "Invalid JSON: ..."; ERR_INVALID
 * naming the field.
 */
enum err_code compat_read_event(struct slice json, struct arena *arena, struct event *ret_event,
                                struct err *err);

/* The answers, each one JSON document and a newline; `error` NULL: it worked. */
void compat_write_done(struct buf *out, const char *error);
void compat_write_credits(struct buf *out, int64_t credits, const char *error);
void compat_write_stats(struct buf *out, const struct ledger_totals *totals, const char *error);

#endif
