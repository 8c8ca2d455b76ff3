/*
 * Ingest: bytes of a request become validated batches, one WAL record, and an answer once that is
 * durable. It owns the series registry (metric name, symbol and labels to series_id) and the
 * idempotency keys.
 *
 *   body -> [gunzip] -> decode + validate against the catalogue -> batches -> WAL -> done
 *                                                                      \-> sink (live state)
 *
 * Limits: bytes of one request, bytes of all requests in flight, log bytes not yet applied, number
 * of series. Over one of them the request is refused whole (413, 429, 503), nothing is written.
 *
 * Threads: any thread may submit; decoding runs on the caller's thread, `done` on the caller's
 * thread when the request is refused, otherwise on the WAL's committer thread (the applier's with
 * wait_applied). `done` must not block.
 */
#ifndef EIDER_INGEST_INGEST_H
#define EIDER_INGEST_INGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/slice.h"
#include "catalog/batch.h"
#include "store/engine.h"

struct ingest;

/* Gets every durable batch (also the metrics view's series and samples), e.g. for live state.
 * Called on the committer thread, in LSN order; must be quick. */
typedef void ingest_sink_fn(void *ctx, const struct batch *batches, size_t count, uint64_t lsn);

struct ingest_options {
    struct engine *engine;     /* required; must outlive */
    const struct clock *clock; /* NULL: the system's */
    ingest_sink_fn *sink;
    void *sink_ctx;
    uint64_t request_bytes_max;   /* after decompression; 0: 64 MiB */
    uint64_t inflight_bytes_max;  /* decoded requests not yet durable; 0: 256 MiB */
    uint64_t unapplied_bytes_max; /* log not yet in the store; 0: 4 GiB */
    uint64_t series_max;          /* 0: 10 000 000 */
    size_t errors_max;            /* row errors told in an answer; 0: 100 */
    struct laps *laps;            /* of ingest_open alone; NULL: nobody looks */
};

/* Loads series and idempotency keys from the engine, when its backlog is applied: waits up to 5 s
 * for that. ERR_TIMEOUT and ERR_UNAVAILABLE (no store yet) mean: call again. */
enum err_code ingest_open(const struct ingest_options *options, struct ingest **ret_ingest,
                          struct err *err);
/* Refuses what comes (ERR_UNAVAILABLE), waits for what is in flight. The engine may be closed
 * afterwards; the other functions may be called until ingest_close. */
void ingest_stop(struct ingest *ingest);
void ingest_close(struct ingest *ingest); /* ingest_stop, and frees */

enum ingest_format {
    INGEST_JSON /* object, array or NDJSON, told apart by content */,
    INGEST_LINE
};
enum ingest_precision { PRECISION_AUTO_US, PRECISION_NS, PRECISION_US, PRECISION_MS, PRECISION_S };

struct ingest_request {
    struct slice body; /* borrowed until done */
    bool gzip;
    enum ingest_format format;
    const struct catalog_table *table; /* INGEST_JSON only */
    enum ingest_precision precision;   /* of integer times; line protocol's default is ns */
    bool skip_bad_rows;                /* ?on_error=skip; else one bad row refuses all */
    bool wait_applied;                 /* ?ack=applied */
    struct slice idempotency_key;      /* empty: none; at most 255 bytes */
};

struct ingest_row_error {
    uint64_t row;       /* 0-based row of the body; line - 1 for line protocol and NDJSON */
    struct slice field; /* empty when the row as a whole is wrong */
    struct slice value; /* cut at 100 bytes */
    struct slice expected;
};

struct ingest_answer {
    enum err_code code;    /* ERR_OK, or why the request was refused */
    const struct err *err; /* when not OK */
    uint64_t accepted;
    uint64_t rejected;
    uint64_t lsn;      /* 0 when nothing was written */
    bool replayed;     /* this idempotency key was answered before; nothing was written again */
    int retry_after_s; /* with ERR_BUSY, ERR_UNAVAILABLE, ERR_NO_SPACE */
    const struct ingest_row_error *errors; /* at most errors_max */
    size_t error_count;
};

/* `answer` and all it points to live for the call only. */
typedef void ingest_done_fn(void *ctx, const struct ingest_answer *answer);

void ingest_submit(struct ingest *ingest, const struct ingest_request *request,
                   ingest_done_fn *done, void *ctx);

/*
 * Writes ready batches (collectors, demo, import) as one record and waits until they are durable.
 * TABLE_METRICS batches become series and samples. Batches are borrowed for the call.
 */
enum err_code ingest_write(struct ingest *ingest, const struct batch *batches, size_t count,
                           uint64_t *ret_lsn, struct err *err);

/*
 * ingest_write that does not wait: `done` gets code, err, accepted and lsn, on the caller's thread
 * before this returns when nothing is written, else on the committer thread. Batches are borrowed
 * until then.
 */
void ingest_write_start(struct ingest *ingest, const struct batch *batches, size_t count,
                        ingest_done_fn *done, void *ctx);

/* Values of one series, without a batch of its name over and over. */
struct ingest_points {
    struct slice name;
    struct slice symbol; /* empty: none */
    struct slice labels; /* canonical (ingest/labels.h); empty: none */
    const int64_t *times_us;
    const double *values;
    size_t count;
};

/* ingest_write_start of the values of one series. `points` is borrowed for the call only. */
void ingest_write_points(struct ingest *ingest, const struct ingest_points *points,
                         ingest_done_fn *done, void *ctx);

/* Finds a series by its name, symbol and canonical labels; 0 when there is none. */
int32_t ingest_find_series(struct ingest *ingest, struct slice name, struct slice symbol,
                           struct slice labels);

/* Finds the name, symbol and labels of a series; false when there is none. Texts live as long as
 * the ingest. */
bool ingest_series(struct ingest *ingest, int32_t series_id, struct slice *ret_name,
                   struct slice *ret_symbol, struct slice *ret_labels);

/* A number above that of every series: all of them are found by asking ingest_series for 1, 2, ...
 * up to it. */
int32_t ingest_series_end(struct ingest *ingest);

struct ingest_stats {
    uint64_t requests, requests_refused, rows, rows_rejected, bytes;
    uint64_t inflight_bytes;
    uint64_t series;
    uint64_t idempotent_replays;
    uint64_t rows_by_table[TABLE_ID_END];
};
void ingest_stats(struct ingest *ingest, struct ingest_stats *ret_stats);

#endif
