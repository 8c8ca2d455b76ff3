/*
 * What all collectors have in common: where their rows go, and how they tell of themselves.
 *
 * Threads: a sink's function is called from the collector's thread and may block until the rows are
 * durable.
 */
#ifndef EIDER_COLLECT_COLLECT_H
#define EIDER_COLLECT_COLLECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "catalog/batch.h"

struct ingest;

/* Writes batches as one record and returns when they are durable; as ingest_write. */
typedef enum err_code collect_write_fn(void *ctx, const struct batch *batches, size_t count,
                                       struct err *err);

struct collect_sink {
    collect_write_fn *write;
    void *ctx;
};

/* The sink that is ingest_write. */
struct collect_sink collect_sink_ingest(struct ingest *ingest);

/* One collector, for /api/system/components and /api/system/stats. */
struct collect_status {
    const char *name; /* "system", "demo" */
    bool running;
    int64_t started_us; /* wall time */
    double uptime_seconds;
    uint64_t metrics_collected;   /* rows that are durable */
    uint64_t errors;              /* readings and writes that failed, rows that were given up */
    int64_t last_success_us;      /* wall time of the newest durable write; 0: none yet */
    char last_error[ERR_MSG_MAX]; /* "" when there was none */
};

#endif
