/* Ready batches, written as one record by a caller that waits. */
#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "catalog/validate.h"
#include "ingest/learn.h"

/* The caller, waiting for the log. */
struct writer {
    struct job *job;
    const struct batch *view;
    size_t view_count;
    pthread_mutex_t lock;
    pthread_cond_t finished;
    bool is_finished;
    enum err_code code;
    struct err err;
};

static void
on_written(struct wal_entry *entry, enum err_code code, const struct err *err)
{
    struct writer *writer = ((struct job *)entry->ctx)->ctx;

    if (code == ERR_OK) {
        record_durable(writer->job, writer->view, writer->view_count, entry->lsn);
    }
    pthread_mutex_lock(&writer->lock);
    writer->code = code;
    if (code != ERR_OK) {
        err_set(&writer->err, code, "nothing was written: %s",
                err && err->msg[0] ? err->msg : "the log refused the record");
    }
    writer->is_finished = true;
    pthread_cond_signal(&writer->finished);
    pthread_mutex_unlock(&writer->lock);
}

/* One batch must be fit for the log: replay never refuses. */
static enum err_code
check_batch(const struct batch *batch, struct err *err)
{
    struct catalog_fault fault;
    size_t row;

    if (!batch->table->ingestible) {
        return err_set(err, ERR_INVALID, "table %s is not written by batches; write metrics",
                       batch->table->name);
    }
    if (!catalog_check_batch(batch, &row, &fault)) {
        return err_set(err, ERR_INVALID, "%s, row %zu, %s: expected %s", batch->table->name, row,
                       fault.field, fault.expected);
    }
    return ERR_OK;
}

static enum err_code
add_metrics(struct job *job, const struct batch *batch, struct err *err)
{
    struct learner learner;
    enum err_code code = ERR_OK;

    learner_init(&learner, job, err);
    for (size_t row = 0; row < batch->rows && code == ERR_OK; row++) {
        if (learner_add_metric(&learner, batch, row, row)) {
            continue;
        }
        code = learner.code;
        if (code == ERR_OK && job->errors.count > 0) {
            const struct ingest_row_error *first = job->errors.items;
            code = err_set(err, ERR_INVALID, "%s, row %zu, %.*s: expected %.*s, got \"%.*s\"",
                           batch->table->name, row, SLICE_FMT(first->field),
                           SLICE_FMT(first->expected), SLICE_FMT(first->value));
        }
    }
    learner_fini(&learner);
    return code;
}

/* Fills writer->view: what the metrics became, then the other batches as they are. */
static enum err_code
gather(struct writer *writer, const struct batch *batches, size_t count, struct batch *view,
       struct err *err)
{
    struct job *job = writer->job;
    enum err_code code = ERR_OK;

    for (size_t i = 0; i < count && code == ERR_OK; i++) {
        code = check_batch(&batches[i], err);
        if (code == ERR_OK && batches[i].table->id == TABLE_METRICS) {
            code = add_metrics(job, &batches[i], err);
        }
        job->accepted += batches[i].rows;
    }
    if (code != ERR_OK) {
        return code;
    }
    writer->view_count = rows_seal(&job->rows, view);
    for (size_t i = 0; i < count; i++) {
        if (batches[i].table->id != TABLE_METRICS && batches[i].rows > 0) {
            view[writer->view_count++] = batches[i];
        }
    }
    if (writer->view_count > ENGINE_RECORD_BATCHES_MAX) {
        return err_set(err, ERR_TOO_LARGE, "%zu batches for one record; at most %d are allowed",
                       writer->view_count, ENGINE_RECORD_BATCHES_MAX);
    }
    writer->view = view;
    return record_encode(job, view, writer->view_count, err);
}

static void
await(struct writer *writer)
{
    pthread_mutex_lock(&writer->lock);
    while (!writer->is_finished) {
        pthread_cond_wait(&writer->finished, &writer->lock);
    }
    pthread_mutex_unlock(&writer->lock);
}

static enum err_code
write_job(struct job *job, const struct batch *batches, size_t count, uint64_t *ret_lsn,
          struct err *err)
{
    struct writer writer = {.job = job};
    MEM_AUTO struct batch *view = mem_zalloc(count + JOB_VIEW_MAX, sizeof(*view));
    enum err_code code = budget_check_applier(job->ingest, err);

    code = code == ERR_OK ? gather(&writer, batches, count, view, err) : code;
    code = code == ERR_OK ? budget_set(job, 2 * job->record.len, err) : code;
    if (code != ERR_OK || writer.view_count == 0) {
        return code;
    }
    pthread_mutex_init(&writer.lock, NULL);
    pthread_cond_init(&writer.finished, NULL);
    job->ctx = &writer;
    record_submit(job, on_written);
    await(&writer);
    pthread_cond_destroy(&writer.finished);
    pthread_mutex_destroy(&writer.lock);
    if (writer.code != ERR_OK) {
        if (err) {
            *err = writer.err;
        }
        return writer.code;
    }
    *ret_lsn = job->entry.lsn;
    atomic_fetch_add_explicit(&job->ingest->accepted, job->accepted, memory_order_relaxed);
    return ERR_OK;
}

enum err_code
ingest_write(struct ingest *ingest, const struct batch *batches, size_t count, uint64_t *ret_lsn,
             struct err *err)
{
    uint64_t lsn = 0;

    struct job *job = job_begin(ingest);

    if (!job) {
        return err_set(err, ERR_UNAVAILABLE, "the ingest is closing; nothing was written");
    }
    job->skip_bad_rows = false;
    enum err_code code = write_job(job, batches, count, &lsn, err);
    job_end(job, 1);
    if (code == ERR_OK && ret_lsn) {
        *ret_lsn = lsn;
    }
    return code;
}
