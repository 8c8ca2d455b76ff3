/* Ready batches and values of a series, written as one record. */
#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "catalog/validate.h"
#include "ingest/learn.h"

/* Answers, and ends the job. The ingest may be gone afterwards. */
static void
conclude(struct job *job, enum err_code code, const struct err *err, uint64_t lsn)
{
    const struct ingest_answer answer = {.code = code,
                                         .err = code == ERR_OK ? NULL : err,
                                         .accepted = code == ERR_OK ? job->accepted : 0,
                                         .lsn = lsn};

    if (code == ERR_OK) {
        atomic_fetch_add_explicit(&job->ingest->accepted, job->accepted, memory_order_relaxed);
    }
    budget_set(job, 0, NULL);
    job->done(job->ctx, &answer);
    free(job->written);
    job->written = NULL;
    job_end(job, 1);
}

static void
on_written(struct wal_entry *entry, enum err_code code, const struct err *err)
{
    struct job *job = entry->ctx;
    struct err problem;

    if (code == ERR_OK) {
        record_durable(job, job->written ? job->written : job->view, job->view_count, entry->lsn);
        conclude(job, ERR_OK, NULL, entry->lsn);
        return;
    }
    err_set(&problem, code, "nothing was written: %s",
            err && err->msg[0] ? err->msg : "the log refused the record");
    conclude(job, code, &problem, 0);
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

/* Fills job->written: what the metrics became, then the other batches as they are. */
static enum err_code
gather(struct job *job, const struct batch *batches, size_t count, struct err *err)
{
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
    job->written = mem_zalloc(count + JOB_VIEW_MAX, sizeof(*job->written));
    job->view_count = rows_seal(&job->rows, job->written);
    for (size_t i = 0; i < count; i++) {
        if (batches[i].table->id != TABLE_METRICS && batches[i].rows > 0) {
            job->written[job->view_count++] = batches[i];
        }
    }
    if (job->view_count > ENGINE_RECORD_BATCHES_MAX) {
        return err_set(err, ERR_TOO_LARGE, "%zu batches for one record; at most %d are allowed",
                       job->view_count, ENGINE_RECORD_BATCHES_MAX);
    }
    return record_encode(job, job->written, job->view_count, err);
}

static enum err_code
gather_points(struct job *job, const struct ingest_points *points, struct err *err)
{
    const struct series_key key = {
        .name = points->name, .symbol = points->symbol, .labels = points->labels};
    struct series *series;
    enum err_code code = series_get(&job->ingest->registry, &key, &series, err);

    if (code != ERR_OK) {
        return code;
    }
    if (!rows_sample_room(&job->rows, points->count)) {
        return rows_too_many(err);
    }
    if (!series_is_durable(series)) {
        rows_announce(&job->rows, series);
    }
    for (size_t i = 0; i < points->count; i++) {
        rows_add_sample(&job->rows, series->id, points->times_us[i], points->values[i]);
    }
    job->accepted = points->count;
    job->view_count = rows_seal(&job->rows, job->view);
    return record_encode(job, job->view, job->view_count, err);
}

/* A job for whoever writes without a request; NULL when `done` was told why there is none. */
static struct job *
begin(struct ingest *ingest, ingest_done_fn *done, void *ctx)
{
    struct job *job = job_begin(ingest);
    struct err err;

    if (!job) {
        err_set(&err, ERR_UNAVAILABLE, "the ingest is closing; nothing was written");
        const struct ingest_answer answer = {.code = err.code, .err = &err};
        done(ctx, &answer);
        return NULL;
    }
    job->skip_bad_rows = false;
    job->done = done;
    job->ctx = ctx;
    return job;
}

/* What was gathered with `code` goes into the log, or back. */
static void
go(struct job *job, enum err_code code, struct err *err)
{
    code = code == ERR_OK ? budget_set(job, 2 * job->record.len, err) : code;
    if (code != ERR_OK || job->view_count == 0) {
        conclude(job, code, err, 0);
        return;
    }
    record_submit(job, on_written);
}

void
ingest_write_start(struct ingest *ingest, const struct batch *batches, size_t count,
                   ingest_done_fn *done, void *ctx)
{
    struct job *job = begin(ingest, done, ctx);
    struct err err;

    if (job) {
        enum err_code code = budget_check_applier(ingest, &err);
        go(job, code == ERR_OK ? gather(job, batches, count, &err) : code, &err);
    }
}

void
ingest_write_points(struct ingest *ingest, const struct ingest_points *points, ingest_done_fn *done,
                    void *ctx)
{
    struct job *job = begin(ingest, done, ctx);
    struct err err;

    if (job) {
        enum err_code code = budget_check_applier(ingest, &err);
        if (code == ERR_OK && points->count > 0) {
            code = gather_points(job, points, &err);
        }
        go(job, code, &err);
    }
}

/* The caller of ingest_write, waiting for the log. */
struct writer {
    pthread_mutex_t lock;
    pthread_cond_t finished;
    bool is_finished;
    enum err_code code;
    uint64_t lsn;
    struct err err;
};

static void
on_answer(void *ctx, const struct ingest_answer *answer)
{
    struct writer *writer = ctx;

    pthread_mutex_lock(&writer->lock);
    writer->code = answer->code;
    writer->lsn = answer->lsn;
    if (answer->err) {
        writer->err = *answer->err;
    }
    writer->is_finished = true;
    pthread_cond_signal(&writer->finished);
    pthread_mutex_unlock(&writer->lock);
}

enum err_code
ingest_write(struct ingest *ingest, const struct batch *batches, size_t count, uint64_t *ret_lsn,
             struct err *err)
{
    struct writer writer = {.is_finished = false};

    pthread_mutex_init(&writer.lock, NULL);
    pthread_cond_init(&writer.finished, NULL);
    ingest_write_start(ingest, batches, count, on_answer, &writer);
    pthread_mutex_lock(&writer.lock);
    while (!writer.is_finished) {
        pthread_cond_wait(&writer.finished, &writer.lock);
    }
    pthread_mutex_unlock(&writer.lock);
    pthread_cond_destroy(&writer.finished);
    pthread_mutex_destroy(&writer.lock);
    if (writer.code != ERR_OK && err) {
        *err = writer.err;
    }
    if (writer.code == ERR_OK && ret_lsn) {
        *ret_lsn = writer.lsn;
    }
    return writer.code;
}
