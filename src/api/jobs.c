/* A fixed ring of jobs, one mutex, a few threads. */
#include "api/jobs.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/mem.h"

struct job {
    job_fn *fn;
    void *ctx;
};

struct jobs {
    pthread_mutex_t lock;
    pthread_cond_t ready;
    struct job *ring;
    size_t ring_size;
    size_t head;
    size_t count;
    bool closing;
    unsigned running;
    unsigned long long refused;
    unsigned thread_count;
    pthread_t *threads;
};

static void *
run_jobs(void *arg)
{
    struct jobs *jobs = arg;

    pthread_mutex_lock(&jobs->lock);
    for (;;) {
        while (jobs->count == 0 && !jobs->closing) {
            pthread_cond_wait(&jobs->ready, &jobs->lock);
        }
        if (jobs->count == 0) {
            break;
        }
        struct job job = jobs->ring[jobs->head];
        jobs->head = (jobs->head + 1) % jobs->ring_size;
        jobs->count--;
        jobs->running++;
        pthread_mutex_unlock(&jobs->lock);
        job.fn(job.ctx);
        pthread_mutex_lock(&jobs->lock);
        jobs->running--;
    }
    pthread_mutex_unlock(&jobs->lock);
    return NULL;
}

struct jobs *
jobs_open(unsigned threads, size_t queue_max)
{
    struct jobs *jobs = mem_zalloc(1, sizeof(*jobs));

    assert(threads > 0 && queue_max > 0);
    pthread_mutex_init(&jobs->lock, NULL);
    pthread_cond_init(&jobs->ready, NULL);
    jobs->ring = mem_zalloc(queue_max, sizeof(*jobs->ring));
    jobs->ring_size = queue_max;
    jobs->threads = mem_zalloc(threads, sizeof(*jobs->threads));
    for (unsigned i = 0; i < threads; i++) {
        if (pthread_create(&jobs->threads[i], NULL, run_jobs, jobs) != 0) {
            break;
        }
        jobs->thread_count++;
    }
    if (jobs->thread_count == 0) {
        abort(); /* A machine that cannot start one thread runs no server. */
    }
    return jobs;
}

void
jobs_close(struct jobs *jobs)
{
    if (!jobs) {
        return;
    }
    pthread_mutex_lock(&jobs->lock);
    jobs->closing = true;
    pthread_cond_broadcast(&jobs->ready);
    pthread_mutex_unlock(&jobs->lock);
    for (unsigned i = 0; i < jobs->thread_count; i++) {
        pthread_join(jobs->threads[i], NULL);
    }
    assert(jobs->count == 0);
    pthread_cond_destroy(&jobs->ready);
    pthread_mutex_destroy(&jobs->lock);
    free(jobs->threads);
    free(jobs->ring);
    free(jobs);
}

bool
jobs_submit(struct jobs *jobs, job_fn *fn, void *ctx)
{
    bool taken = false;

    pthread_mutex_lock(&jobs->lock);
    if (!jobs->closing && jobs->count < jobs->ring_size) {
        jobs->ring[(jobs->head + jobs->count) % jobs->ring_size] = (struct job){fn, ctx};
        jobs->count++;
        taken = true;
        pthread_cond_signal(&jobs->ready);
    } else {
        jobs->refused++;
    }
    pthread_mutex_unlock(&jobs->lock);
    return taken;
}

void
jobs_stats(struct jobs *jobs, struct jobs_stats *ret_stats)
{
    pthread_mutex_lock(&jobs->lock);
    *ret_stats = (struct jobs_stats){.queued = jobs->count,
                                     .queue_max = jobs->ring_size,
                                     .running = jobs->running,
                                     .threads = jobs->thread_count,
                                     .refused = jobs->refused};
    pthread_mutex_unlock(&jobs->lock);
}
