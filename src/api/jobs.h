/*
 * A pool of threads for work that may block, with a bounded queue. Jobs start in order of arrival.
 *
 * Threads: jobs_submit from any thread; a job runs on a pool thread. jobs_close refuses new jobs,
 * runs those queued, waits, frees.
 */
#ifndef EIDER_API_JOBS_H
#define EIDER_API_JOBS_H

#include <stdbool.h>
#include <stddef.h>

struct jobs;

typedef void job_fn(void *ctx);

struct jobs *jobs_open(unsigned threads, size_t queue_max);
void jobs_close(struct jobs *jobs);

/* False, and nothing happens, when the queue is full or closing. */
bool jobs_submit(struct jobs *jobs, job_fn *fn, void *ctx);

struct jobs_stats {
    size_t queued;
    size_t queue_max;
    unsigned running;
    unsigned threads;
    unsigned long long refused;
};
void jobs_stats(struct jobs *jobs, struct jobs_stats *ret_stats);

#endif
