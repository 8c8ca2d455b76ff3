/* Jobs and their pool: the memory of a request is kept for the next one, within bounds. */
#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "ingest/ingest_priv.h"

enum {
    SCRATCH_BYTES_MAX = 2 << 20,
    NAME_BYTES_MAX = 4 << 20,
    /* Row errors, on top of texts with escapes. */
    ERROR_BYTES_MAX = 1 << 20
};

static struct job *
job_new(struct ingest *ingest)
{
    struct job *job = mem_zalloc(1, sizeof(*job));
    uint64_t request_max = ingest->options.request_bytes_max;

    job->ingest = ingest;
    arena_init(&job->arena, 2 * request_max + ERROR_BYTES_MAX);
    arena_init(&job->scratch, SCRATCH_BYTES_MAX);
    arena_init(&job->local, SCRATCH_BYTES_MAX);
    buf_init(&job->inflated, request_max);
    buf_init(&job->record, WAL_RECORD_BYTES_MAX);
    buf_init(&job->name, NAME_BYTES_MAX);
    labels_init(&job->labels);
    line_init(&job->lines, slice_of(""));
    rows_init(&job->rows);
    return job;
}

void
job_free(struct job *job)
{
    rows_fini(&job->rows);
    line_fini(&job->lines);
    labels_fini(&job->labels);
    buf_fini(&job->name);
    buf_fini(&job->record);
    buf_fini(&job->inflated);
    arena_fini(&job->local);
    arena_fini(&job->scratch);
    arena_fini(&job->arena);
    free(job);
}

struct job *
job_begin(struct ingest *ingest)
{
    pthread_mutex_lock(&ingest->lock);
    if (ingest->closing) {
        pthread_mutex_unlock(&ingest->lock);
        return NULL;
    }
    ingest->active++;
    struct job *job = ingest->pool;
    if (job) {
        ingest->pool = job->next;
        ingest->pool_count--;
        ingest->pool_bytes -= job->pooled_bytes;
    }
    pthread_mutex_unlock(&ingest->lock);
    if (!job) {
        job = job_new(ingest);
    }
    row_errors_init(&job->errors, &job->arena, ingest->options.errors_max);
    job_set_state(job, JOB_FREE, JOB_DECODING);
    job->now_us = clock_wall_us(ingest->clock);
    return job;
}

void
job_set_state(struct job *job, enum job_state from, enum job_state to)
{
    assert(job->state == from);
    job->state = to;
}

/* What a job holds on to between two requests. */
static size_t
job_memory(const struct job *job)
{
    return sizeof(*job) + rows_memory(&job->rows) + job->record.cap + job->inflated.cap +
           job->name.cap + job->arena.used_bytes + job->lines.field_cap * sizeof(struct line_field);
}

void
job_end(struct job *job, uint64_t answered)
{
    struct ingest *ingest = job->ingest;

    assert(job->state != JOB_FREE && !job->key);
    job->state = JOB_FREE;
    budget_set(job, 0, NULL);
    job->pooled_bytes = job_memory(job);
    rows_reset(&job->rows);
    arena_reset(&job->arena);
    buf_reset(&job->inflated);
    buf_reset(&job->record);
    job->body = slice_of("");
    job->accepted = 0;
    job->rejected = 0;
    job->view_count = 0;
    job->sink_count = 0;

    pthread_mutex_lock(&ingest->lock);
    bool keep = !ingest->closing && ingest->pool_count < JOB_POOL_MAX &&
                ingest->pool_bytes + job->pooled_bytes <= JOB_POOL_BYTES_MAX;
    if (keep) {
        job->next = ingest->pool;
        ingest->pool = job;
        ingest->pool_count++;
        ingest->pool_bytes += job->pooled_bytes;
    }
    ingest_leave_locked(ingest, answered);
    pthread_mutex_unlock(&ingest->lock);
    /* The ingest may be gone by now. */
    if (!keep) {
        job_free(job);
    }
}
