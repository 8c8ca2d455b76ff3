/* Which bucket of time a moment falls into: as DuckDB's time_bucket, for what is not SQL. */
#ifndef EIDER_STORE_BUCKETS_H
#define EIDER_STORE_BUCKETS_H

#include <stdint.h>

__extension__ typedef __int128 store_i128;

/* The beginning of the bucket, a multiple of the width from 2000-01-03T00:00:00 UTC, a Monday. */
static inline int64_t
store_bucket_of(int64_t time_us, int64_t width_us)
{
    const int64_t origin_us = 946857600000000;
    store_i128 since = (store_i128)time_us - origin_us;
    store_i128 floor = since / width_us - (since % width_us < 0);

    return (int64_t)(floor * width_us + origin_us);
}

#endif
