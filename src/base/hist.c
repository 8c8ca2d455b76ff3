/* Log-linear histograms. Bucket of v: v itself below 32, then 32 equal steps a power of two. */
#include "base/hist.h"

enum { SUB_COUNT = 1 << HIST_SUB_BITS };

/* For values of at most 2^32 - 1. */
static unsigned
bucket_of(uint64_t value)
{
    if (value < SUB_COUNT) {
        return (unsigned)value;
    }
    unsigned top = 63U - (unsigned)__builtin_clzll(value);
    unsigned shift = top - HIST_SUB_BITS;
    return ((shift + 1) << HIST_SUB_BITS) + (unsigned)((value >> shift) - SUB_COUNT);
}

/* The smallest value of a bucket, and one past its largest. */
static uint64_t
bucket_low(unsigned bucket)
{
    if (bucket < SUB_COUNT) {
        return bucket;
    }
    unsigned shift = (bucket >> HIST_SUB_BITS) - 1;
    return (uint64_t)(SUB_COUNT + (bucket & (SUB_COUNT - 1))) << shift;
}

void
hist_record(struct hist *hist, int64_t value)
{
    uint64_t v = value < 0 ? 0 : value > UINT32_MAX ? UINT32_MAX : (uint64_t)value;

    atomic_fetch_add_explicit(&hist->counts[bucket_of(v)], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&hist->sum, v, memory_order_relaxed);
    atomic_fetch_add_explicit(&hist->total, 1, memory_order_relaxed);
}

uint64_t
hist_count(const struct hist *hist)
{
    return atomic_load_explicit(&hist->total, memory_order_relaxed);
}

uint64_t
hist_sum(const struct hist *hist)
{
    return atomic_load_explicit(&hist->sum, memory_order_relaxed);
}

double
hist_quantile(const struct hist *hist, double q)
{
    uint64_t total = hist_count(hist);

    if (total == 0) {
        return 0;
    }
    double rank = q * (double)total;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HIST_BUCKETS; i++) {
        uint64_t count = atomic_load_explicit(&hist->counts[i], memory_order_relaxed);
        if (count > 0 && (double)(seen + count) >= rank) {
            double low = (double)bucket_low(i);
            double high = i + 1 < HIST_BUCKETS ? (double)bucket_low(i + 1) : low;
            double within = (rank - (double)seen) / (double)count;
            return i < SUB_COUNT ? low : low + (high - low) * (within < 0 ? 0 : within);
        }
        seen += count;
    }
    return (double)bucket_low(HIST_BUCKETS - 1);
}

uint64_t
hist_count_below(const struct hist *hist, uint64_t bound)
{
    uint64_t seen = 0;

    for (unsigned i = 0; i < HIST_BUCKETS && bucket_low(i) <= bound; i++) {
        seen += atomic_load_explicit(&hist->counts[i], memory_order_relaxed);
    }
    return seen;
}
