/*
 * A latency histogram: log-linear buckets (32 a power of two, about 3 % wide) over 1 us to about
 * 70 minutes, in the manner of HdrHistogram. Constant memory, lock-free to record.
 *
 * Threads: hist_record from any thread; readers get a consistent-enough picture without a lock.
 */
#ifndef EIDER_BASE_HIST_H
#define EIDER_BASE_HIST_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { HIST_SUB_BITS = 5, HIST_BUCKETS = (32 - HIST_SUB_BITS + 1) << HIST_SUB_BITS };

struct hist {
    _Atomic uint64_t counts[HIST_BUCKETS];
    _Atomic uint64_t total;
    _Atomic uint64_t sum;
};

/* Adds one value; negative counts as 0, values of 2^32 and more as 2^32 - 1. Unit: the caller's. */
void hist_record(struct hist *hist, int64_t value);

/* The value below which the share q (0..1) of all recorded lies; 0 when nothing was recorded. */
double hist_quantile(const struct hist *hist, double q);

uint64_t hist_count(const struct hist *hist);
uint64_t hist_sum(const struct hist *hist);

/* How many recorded values are <= bound (to bucket precision); for Prometheus buckets. */
uint64_t hist_count_below(const struct hist *hist, uint64_t bound);

#endif
