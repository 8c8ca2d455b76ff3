/*
 * Holds our event log against a provider's usage file, call by call: what both have, what only one
 * has, what costs something else, and the totals of each day.
 *
 *   reconcile_new(&options, &rec, &err);           reads the map of columns
 *   reconcile_push(rec, &entry, &err);             for every entry of ours
 *   reconcile_csv(rec, "usage.csv", text, &err);   once; bad rows are counted, not fatal
 *   reconcile_run(rec);
 *   reconcile_write_json(rec, &out);  reconcile_write_text(rec, &out);
 *
 * Calls match by id when the map names a column of ids and both sides have one; otherwise by
 * endpoint and time: of all pairs with the same endpoint within the tolerance the closest is taken,
 * then the next, each call once; among equally close ones the same credits, then the earlier. Times
 * are compared in whole seconds when the file has no finer ones. The result does not depend on the
 * order of anything; work grows as n log n.
 *
 * Ownership: everything pushed is copied. Pure; one thread at a time.
 */
#ifndef EIDER_METER_RECONCILE_H
#define EIDER_METER_RECONCILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

struct reconcile;

struct reconcile_options {
    /*
     * "timestamp=Date,endpoint=Path,credits=Cost,id=Request ID,tz=UTC,time_format=%d.%m.%Y
     * %H:%M:%S" Keys: timestamp and credits (needed), id, endpoint, delimiter (one character, or
     * tab), tz (UTC or +hh:mm, for times without one of their own), time_format (iso, s, ms, us, ns
     * or %Y %m %d %H %I %M %S %f %p %b %z; without: ISO 8601 or a Unix time). Values with commas
     * stand in "".
     */
    struct slice map;
    int64_t tolerance_us;  /* 0: 5 s */
    size_t rows_max;       /* of each side; 0: 1 000 000 */
    size_t text_bytes_max; /* of ids and endpoints kept; 0: 256 MiB */
    size_t listed_max;     /* differences and bad rows written out, each; 0: 1000 */
};

/* One entry of ours. */
struct reconcile_entry {
    struct slice event_id;   /* for the report */
    struct slice request_id; /* what the provider calls the id; may be empty */
    int64_t timestamp_us;
    struct slice api;
    struct slice endpoint; /* path or URL; compared without host, query and the slash at the end */
    struct slice method;
    bool has_status;
    int32_t status;
    int64_t credits; /* micro-credits */
};

struct reconcile_summary {
    uint64_t ours;
    uint64_t theirs;
    uint64_t bad_rows;
    uint64_t equal;     /* matched, same credits */
    uint64_t different; /* matched, other credits */
    uint64_t ours_only;
    uint64_t theirs_only;
    int64_t our_credits;
    int64_t their_credits;
};

/* Errors name the key of the map, the value and what was expected. */
enum err_code reconcile_new(const struct reconcile_options *options, struct reconcile **ret,
                            struct err *err);
void reconcile_free(struct reconcile *reconcile); /* NULL is fine */

/* ERR_TOO_LARGE over a limit, ERR_INVALID when the sum of credits passes what credits can hold. */
enum err_code reconcile_push(struct reconcile *reconcile, const struct reconcile_entry *entry,
                             struct err *err);

/* Takes the whole file. ERR_INVALID when the header does not fit the map (names the columns); a row
 * that cannot be read is kept as line, field, value and expectation. Errors as reconcile_push. */
enum err_code reconcile_csv(struct reconcile *reconcile, const char *name, struct slice text,
                            struct err *err);

/* Matches all that was given; once, before summary and writing. */
void reconcile_run(struct reconcile *reconcile);

void reconcile_summary(const struct reconcile *reconcile, struct reconcile_summary *ret);

/* Differences are theirs minus ours. */
void reconcile_write_json(const struct reconcile *reconcile, struct buf *out);
void reconcile_write_text(const struct reconcile *reconcile, struct buf *out);

#endif
