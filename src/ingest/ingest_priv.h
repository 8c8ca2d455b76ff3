/*
 * What the files of this part share: the engine behind a vtable (tests put another one there), the
 * ingest itself, and the job, which is one request from the first byte to the answer.
 *
 *   decoding --refused, or nothing to write-------------------------------> answered
 *      |  \--its key is answered already: replayed------------------------/
 *      |  \--its key is in flight: queued behind that job, see idempotency.h
 *      v
 *   writing --the log failed: its key is given up------------------------/
 *      v                                                                /
 *   durable --ack=applied: waiting for the applier (struct applied_wait)
 *
 * Locks: ingest.lock (pool, counts, applied waits) is never held together with another one.
 */
#ifndef EIDER_INGEST_INGEST_PRIV_H
#define EIDER_INGEST_INGEST_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "codec/line_protocol.h"
#include "ingest/idempotency.h"
#include "ingest/ingest.h"
#include "ingest/labels.h"
#include "ingest/row_errors.h"
#include "ingest/rows.h"
#include "ingest/series.h"
#include "ingest/series_cache.h"
#include "store/engine.h"

/* What ingest needs of the engine; slots as the functions of store/engine.h. */
struct ingest_engine_ops {
    void (*submit)(struct engine *engine, struct wal_entry *entry);
    void (*when_applied)(struct engine *engine, struct engine_waiter *waiter);
    enum err_code (*wait_applied)(struct engine *engine, uint64_t lsn, int timeout_ms,
                                  struct err *err);
    void (*status)(struct engine *engine, struct engine_status *ret_status);
    enum err_code (*scan)(struct engine *engine, const struct store_scan *scan,
                          struct batch *ret_rows, struct err *err);
};

/* Columns of the tables that ingest writes itself; ingest_open_with checks them. */
enum { METRIC_TIMESTAMP, METRIC_NAME, METRIC_VALUE, METRIC_SYMBOL, METRIC_LABELS };
enum { SERIES_ID, SERIES_NAME, SERIES_SYMBOL, SERIES_LABELS };
enum {
    IDEMPOTENCY_KEY,
    IDEMPOTENCY_PAYLOAD_HASH,
    IDEMPOTENCY_ACCEPTED,
    IDEMPOTENCY_REJECTED,
    IDEMPOTENCY_LSN,
    IDEMPOTENCY_AT
};

/* Seconds told to a client that should come again. */
enum { RETRY_BUSY_S = 1, RETRY_BEHIND_S = 5, RETRY_UNAVAILABLE_S = 5, RETRY_NO_SPACE_S = 10 };

enum { JOB_POOL_MAX = 64, JOB_POOL_BYTES_MAX = 16 << 20, JOB_VIEW_MAX = TABLE_ID_END };

enum job_state {
    JOB_FREE,     /* -> JOB_DECODING */
    JOB_DECODING, /* -> JOB_WRITING, JOB_FREE */
    JOB_WRITING,  /* -> JOB_DURABLE, JOB_FREE */
    JOB_DURABLE   /* -> JOB_FREE */
};

struct job {
    struct ingest *ingest;
    struct job *next; /* in the pool */
    enum job_state state;
    size_t pooled_bytes;

    ingest_done_fn *done;
    void *ctx;
    bool wait_applied;
    bool skip_bad_rows;
    enum ingest_precision precision;
    struct slice body; /* after decompression */
    int64_t now_us;
    struct idempotency_entry *key; /* claimed by this job, or NULL */
    uint64_t charged_bytes;        /* of ingest.inflight_bytes */

    struct arena arena;   /* texts with escapes, row errors: until the answer */
    struct arena scratch; /* while one series is learnt */
    struct arena local;   /* the head in use, when the cache has no room for it */
    struct buf inflated;
    struct labels labels;
    struct buf name; /* of a metric while it is put together */
    struct line_reader lines;
    struct row_errors errors;
    uint64_t accepted;
    uint64_t rejected;
    struct rows rows;
    struct batch view[JOB_VIEW_MAX];
    size_t view_count;
    size_t sink_count;     /* of the view, without the idempotency key */
    struct batch *written; /* view of ingest_write_start, which may be wider */
    struct buf record;
    struct wal_entry entry;
};

/* Somebody whose rows are durable and who waits until they are applied. Two may end that: the
 * engine's call, and ingest_close that does not wait any longer; the second one frees it. */
struct applied_wait {
    struct engine_waiter waiter;
    atomic_flag claimed; /* whoever is first answers */
    atomic_int refs;
    struct ingest *ingest;
    struct job *job; /* NULL: one that waited behind another's idempotency key */
    ingest_done_fn *done;
    void *ctx;
    struct ingest_answer answer; /* its errors belong to the job */
    struct applied_wait *next;
    struct applied_wait *prev;
};

struct ingest {
    struct ingest_options options; /* defaults filled in */
    const struct ingest_engine_ops *ops;
    const struct clock *clock;
    struct series_registry registry;
    struct series_cache cache;
    struct idempotency keys;

    pthread_mutex_t lock;
    pthread_cond_t quiet; /* while closing: something below changed */
    bool closing;
    uint64_t active;        /* requests not yet answered */
    uint64_t applied_waits; /* of those, waiting for the applier */
    struct applied_wait *waits;
    struct job *pool;
    size_t pool_count;
    size_t pool_bytes;

    _Atomic uint64_t inflight_bytes;
    _Atomic uint64_t unapplied_bytes; /* as sampled */
    _Atomic int64_t next_sample_us;   /* monotonic */

    _Atomic uint64_t requests;
    _Atomic uint64_t refused;
    _Atomic uint64_t accepted;
    _Atomic uint64_t rejected;
    _Atomic uint64_t bytes;
    _Atomic uint64_t replays;
    _Atomic uint64_t rows_by_table[TABLE_ID_END];
};

/* ingest_open with another engine. */
enum err_code ingest_open_with(const struct ingest_options *options,
                               const struct ingest_engine_ops *ops, struct ingest **ret_ingest,
                               struct err *err);

/* Counts in once more what was counted in already (by job_begin). */
void ingest_hold(struct ingest *ingest);

/* Counts `count` answered requests out; the ingest may be gone afterwards. */
void ingest_leave(struct ingest *ingest, uint64_t count);
void ingest_leave_locked(struct ingest *ingest, uint64_t count);

/* job.c: counts one more request in and gives it a job; NULL when the ingest is closing. */
struct job *job_begin(struct ingest *ingest);

/* Gives a job's memory back and counts `answered` requests out. */
void job_end(struct job *job, uint64_t answered);
void job_free(struct job *job);
void job_set_state(struct job *job, enum job_state from, enum job_state to);

/*
 * budget.c: makes `bytes` the job's share of the bytes in flight. ERR_BUSY, with nothing changed,
 * when it grows over the limit and others have a share; one request alone always goes through.
 */
enum err_code budget_set(struct job *job, uint64_t bytes, struct err *err);

/* ERR_BUSY when the store is too far behind the log. Samples the engine at most every 10 ms. */
enum err_code budget_check_applier(struct ingest *ingest, struct err *err);

/* Decoders: rows go into job->rows, bad rows into job->errors, both are counted. An error is one of
 * the request as a whole. */
enum err_code json_rows_read(struct job *job, const struct catalog_table *table, struct err *err);
enum err_code line_rows_read(struct job *job, struct err *err);

/* The error of a row with a column that its table does not have. */
void row_unknown_column(struct job *job, uint64_t row, const struct catalog_table *table,
                        struct slice name, struct slice value);

/* ERR_TOO_LARGE, naming the limit of rows. */
enum err_code rows_too_many(struct err *err);

/* record.c: encodes batches into the job's record, hands that to the log. The job belongs to `done`
 * from then on. */
enum err_code record_encode(struct job *job, const struct batch *batches, size_t count,
                            struct err *err);
void record_submit(struct job *job, wal_done_fn *done);

/* The record of a job is durable: flags of series, statistics, sink. */
void record_durable(struct job *job, const struct batch *batches, size_t count, uint64_t lsn);

/* applied.c: answers when `lsn` is applied. `job` (may be NULL) is ended then. */
void applied_wait_start(struct ingest *ingest, struct job *job, const struct ingest_answer *answer,
                        ingest_done_fn *done, void *ctx);

/* Answers everybody who still waits that the rows are durable, but not applied. */
void applied_waits_give_up(struct ingest *ingest);

#endif
