/* The record of a job: encoded batches on their way into the log. */
#include "catalog/validate.h"
#include "ingest/ingest_priv.h"

enum err_code
rows_too_many(struct err *err)
{
    return err_set(err, ERR_TOO_LARGE,
                   "too many rows for one log record of at most %d MiB; send them in parts",
                   WAL_RECORD_BYTES_MAX >> 20);
}

enum err_code
record_encode(struct job *job, const struct batch *batches, size_t count, struct err *err)
{
    for (size_t i = 0; i < count && !job->record.overflow; i++) {
        batch_encode(&batches[i], &job->record);
    }
    return job->record.overflow ? rows_too_many(err) : ERR_OK;
}

void
record_submit(struct job *job, wal_done_fn *done)
{
    job_set_state(job, JOB_DECODING, JOB_WRITING);
    job->entry = (struct wal_entry){
        .type = RECORD_BATCHES,
        .part_count = 1,
        .parts = {buf_slice(&job->record)},
        .done = done,
        .ctx = job,
    };
    job->ingest->ops->submit(job->ingest->options.engine, &job->entry);
}

void
record_durable(struct job *job, const struct batch *batches, size_t count, uint64_t lsn)
{
    struct ingest *ingest = job->ingest;

    job_set_state(job, JOB_WRITING, JOB_DURABLE);
    rows_mark_durable(&job->rows);
    for (size_t i = 0; i < count; i++) {
        atomic_fetch_add_explicit(&ingest->rows_by_table[batches[i].table->id], batches[i].rows,
                                  memory_order_relaxed);
    }
    if (ingest->options.sink) {
        ingest->options.sink(ingest->options.sink_ctx, batches, count, lsn);
    }
}
