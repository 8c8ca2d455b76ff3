/* Back-pressure: bytes of requests in flight, and how far the store is behind the log. */
#include "ingest/ingest_priv.h"

enum { SAMPLE_INTERVAL_US = 10000 };

enum err_code
budget_set(struct job *job, uint64_t bytes, struct err *err)
{
    struct ingest *ingest = job->ingest;
    uint64_t max = ingest->options.inflight_bytes_max;

    if (bytes <= job->charged_bytes) {
        atomic_fetch_sub(&ingest->inflight_bytes, job->charged_bytes - bytes);
        job->charged_bytes = bytes;
        return ERR_OK;
    }
    uint64_t more = bytes - job->charged_bytes;
    uint64_t before = atomic_fetch_add(&ingest->inflight_bytes, more);
    if (before + more > max && before > job->charged_bytes) {
        atomic_fetch_sub(&ingest->inflight_bytes, more);
        return err_set(err, ERR_BUSY,
                       "%llu bytes of other requests are being written; the limit "
                       "inflight_bytes_max is %llu; try again",
                       (unsigned long long)(before - job->charged_bytes), (unsigned long long)max);
    }
    job->charged_bytes = bytes;
    return ERR_OK;
}

enum err_code
budget_check_applier(struct ingest *ingest, struct err *err)
{
    int64_t now_us = clock_mono_us(ingest->clock);
    int64_t next_us = atomic_load_explicit(&ingest->next_sample_us, memory_order_relaxed);

    /* One thread asks the engine, the others go on with what was known. */
    if (now_us >= next_us && atomic_compare_exchange_strong(&ingest->next_sample_us, &next_us,
                                                            now_us + SAMPLE_INTERVAL_US)) {
        struct engine_status status;
        ingest->ops->status(ingest->options.engine, &status);
        atomic_store_explicit(&ingest->unapplied_bytes, status.unapplied_bytes,
                              memory_order_relaxed);
    }
    uint64_t behind = atomic_load_explicit(&ingest->unapplied_bytes, memory_order_relaxed);
    if (behind > ingest->options.unapplied_bytes_max) {
        return err_set(err, ERR_BUSY,
                       "the store is %llu bytes behind the log; the limit unapplied_bytes_max is "
                       "%llu; try again when it has caught up",
                       (unsigned long long)behind,
                       (unsigned long long)ingest->options.unapplied_bytes_max);
    }
    return ERR_OK;
}
