/*
 * The write-ahead log: a directory of checksummed segments, written by one committer thread that
 * gathers whatever waits into one pwritev and one fdatasync (group commit). It does not know what a
 * record means. Format: docs/formats/wal.md.
 *
 * LSNs count records: 1, 2, 3, ... without gaps. A record is durable once its `done` is called with
 * ERR_OK. When a write or a sync fails, every record of the group fails, nothing after it is
 * acknowledged, the segment is abandoned at its last durable LSN (its next segment says so, so that
 * the failed records can never come back), and the committer tries again with a fresh segment as
 * soon as there is space; a failed fdatasync is never retried on the same descriptor.
 *
 *            submit                 group written + synced
 *   (caller) ------> queued -> in flight ---------------> durable (done OK)
 *                       \          \--- write/sync failed -> failed (done ERR_*)
 *                        \--- log failed or closed --------> failed
 *
 * Threads: wal_submit, wal_append, wal_status, wal_release: any. One cursor: one thread; any number
 * of cursors. `done` runs on the committer thread (or on the caller's, when refused at once): it
 * must be quick, must not block and may call wal_submit.
 */
#ifndef EIDER_WAL_WAL_H
#define EIDER_WAL_WAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/slice.h"
#include "wal/wal_sys.h"

struct wal;
struct wal_cursor;

enum {
    WAL_SEGMENT_BYTES_DEFAULT = 64 << 20,
    WAL_RECORD_BYTES_MAX = 48 << 20, /* payload of one record */
    WAL_PARTS_MAX = 8
};

struct wal_options {
    const char *dir;               /* made if absent; required */
    size_t segment_bytes;          /* 0: WAL_SEGMENT_BYTES_DEFAULT; at least 8192, rounded up to
                                      4096; tests use small ones */
    size_t queue_bytes_max;        /* payload bytes queued and in flight; 0: 256 MiB */
    uint64_t unreleased_bytes_max; /* log bytes not yet released; 0: no bound, else at least two
                                      segments. Over it: ERR_BUSY */
    uint64_t reserve_free_bytes;   /* refuse before the disk has less than this; 0: 16 MiB */
    const struct wal_sys *sys;     /* NULL: the real one */
    const struct clock *clock;     /* NULL: the system's */
    uint64_t trusted_lsn;          /* what the store has for good: segments that end at or below are
                                      opened by their headers, not read; 0: all are read */
    unsigned retry_ms;             /* between two attempts after a failure; 0: 200 */
};

/* What one `wal_entry` becomes: OK with its LSN, or why not (lsn 0). err lives for the call only.
 */
struct wal_entry;
typedef void wal_done_fn(struct wal_entry *entry, enum err_code code, const struct err *err);

/*
 * A record on its way, in the caller's memory, from wal_submit until `done`. The payload is the
 * concatenation of `parts`, which must stay as they are until `done`.
 */
struct wal_entry {
    uint16_t type;       /* the caller's; kept with the record */
    unsigned part_count; /* 1..WAL_PARTS_MAX */
    struct slice parts[WAL_PARTS_MAX];
    wal_done_fn *done;
    void *ctx;
    uint64_t lsn;           /* set before done(ERR_OK) */
    struct wal_entry *next; /* the log's */
    uint64_t bytes;         /* the log's */
    uint32_t crc;           /* the log's */
};

/*
 * Opens (and makes) the log, recovers it: reads every segment (see trusted_lsn), stops at a torn
 * tail of the newest, refuses a hole in the middle with ERR_CORRUPT naming file and offset. Starts
 * the committer. `first_lsn_min`: LSNs start at least there in an empty log (what the store has
 * applied, plus one). A log that ends below first_lsn_min - 1 jumps over what is missing: the store
 * has it. A full disk does not keep the log from opening: it is then unhealthy until there is
 * space.
 */
enum err_code wal_open(const struct wal_options *options, uint64_t first_lsn_min,
                       struct wal **ret_wal, struct err *err);

/* Refuses new entries, waits until all queued ones are done, stops the committer, marks the end as
 * durable, closes. Cursors must be closed before. NULL is fine. */
void wal_close(struct wal *wal);

/*
 * Hands a record to the committer; returns at once. `done` is called exactly once for every entry,
 * also when the answer is a refusal (ERR_BUSY over the queue bound, ERR_TOO_LARGE, ERR_UNAVAILABLE,
 * ERR_NO_SPACE).
 */
void wal_submit(struct wal *wal, struct wal_entry *entry);

/* wal_submit and wait; for start-up, collectors and tests. */
enum err_code wal_append(struct wal *wal, uint16_t type, struct slice payload, uint64_t *ret_lsn,
                         struct err *err);

struct wal_record {
    uint64_t lsn;
    uint16_t type;
    struct slice payload; /* 8-byte aligned; valid until the cursor's next call */
    int64_t wall_us;      /* when it was written */
};

/* Opens a cursor on the first record with LSN >= from_lsn. ERR_NOT_FOUND when that was released. */
enum err_code wal_cursor_open(struct wal *wal, uint64_t from_lsn, struct wal_cursor **ret_cursor,
                              struct err *err);
void wal_cursor_close(struct wal_cursor *cursor);

/*
 * Reads the next durable record, in LSN order, waiting up to timeout_ms (0: not at all; below 0:
 * for ever) for one.
 * ERR_TIMEOUT when none came; ERR_UNAVAILABLE after wal_cursor_wake with nothing left to read;
 * ERR_CORRUPT, ERR_IO.
 */
enum err_code wal_cursor_next(struct wal_cursor *cursor, int timeout_ms,
                              struct wal_record *ret_record, struct err *err);

/* Makes a waiting wal_cursor_next return; any thread; for shutting down. Sticky. */
void wal_cursor_wake(struct wal_cursor *cursor);

/*
 * Says that all records up to `lsn` are safe elsewhere: whole segments below are deleted, but never
 * the newest. A cursor reads the segment it is in to its end all the same. ERR_IO: what could not
 * be deleted is tried again by the next call.
 */
enum err_code wal_release(struct wal *wal, uint64_t lsn, struct err *err);

/* The highest LSN that may be released when at least `keep_bytes` of log are to stay behind it; 0
 * when none may. */
uint64_t wal_lsn_before(struct wal *wal, uint64_t keep_bytes);

/* The last durable LSN; in an empty log one below the first that it will give (0 in a new one). */
uint64_t wal_durable_lsn(struct wal *wal);

/* The first LSN that can still be read; durable LSN + 1 in an empty log. */
uint64_t wal_first_lsn(struct wal *wal);

struct wal_status {
    bool healthy; /* false: nothing is acknowledged at the moment; `problem` says why */
    struct err problem;
    uint64_t first_lsn;
    uint64_t durable_lsn;
    uint64_t segments;
    uint64_t bytes; /* used bytes of all segments */
    uint64_t queued_bytes;
    uint64_t records;           /* since open */
    uint64_t syncs;             /* groups since open */
    uint64_t failures;          /* failed writes and syncs since open */
    uint64_t recovered_records; /* found at open */
    uint64_t torn_bytes;        /* cut off the tail at open */
    double sync_p50_us;         /* write + fdatasync of a group */
    double sync_p99_us;
    double sync_sum_us;
};

void wal_status(struct wal *wal, struct wal_status *ret_status);

/*
 * Checks every segment of a log that nobody has open; `report` (may be NULL) gets one line a
 * segment or problem. ERR_CORRUPT at the first problem that recovery would refuse.
 */
typedef void wal_report_fn(void *ctx, const char *line);
enum err_code wal_check(const char *dir, const struct wal_sys *sys, wal_report_fn *report,
                        void *ctx, struct err *err);

#endif
