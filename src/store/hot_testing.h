/* For the tests of the hot cache: a store, a cache in front of it, and answers of both compared. */
#ifndef EIDER_STORE_HOT_TESTING_H
#define EIDER_STORE_HOT_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* */
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/contract.h"
#include "store/hot.h"

enum { PATH_MAX_BYTES = 256 };

/* A store, a cache in front of it, and all points that the store should have. */
struct bed {
    char dir[PATH_MAX_BYTES];
    char path[PATH_MAX_BYTES];
    store_open_fn *open;
    struct store *store;
    struct hot *hot;
    uint64_t lsn;
    unsigned opened;
};

static inline void
open_store(struct bed *bed)
{
    snprintf(bed->path, sizeof(bed->path), "%.200s/%u.duckdb", bed->dir, bed->opened++);
    const struct store_open_options options = {.path = bed->path, .threads = 1, .readers = 2};
    struct err err = {0};

    if (bed->open(&options, &bed->store, &err)) {
        fail_msg("open: %s", err.msg);
    }
}

static inline struct bed *
make_bed(store_open_fn *open, uint64_t bytes_max)
{
    struct bed *bed = mem_zalloc(1, sizeof(*bed));

    snprintf(bed->dir, sizeof(bed->dir), "%s", "/tmp/eider-hot-XXXXXX");
    assert_non_null(mkdtemp(bed->dir));
    bed->open = open;
    open_store(bed);
    bed->hot = hot_new(&(struct hot_options){.bytes_max = bytes_max});
    return bed;
}

static inline void
end_bed(struct bed *bed)
{
    hot_free(bed->hot);
    store_close(bed->store);
    for (unsigned i = 0; i < bed->opened; i++) {
        char path[PATH_MAX_BYTES + 16];
        snprintf(path, sizeof(path), "%.200s/%u.duckdb", bed->dir, i);
        unlink(path);
        snprintf(path, sizeof(path), "%.200s/%u.duckdb.wal", bed->dir, i);
        unlink(path);
    }
    char cold[PATH_MAX_BYTES + 16];
    snprintf(cold, sizeof(cold), "%.200s/cold/tmp", bed->dir);
    rmdir(cold);
    snprintf(cold, sizeof(cold), "%.200s/cold", bed->dir);
    rmdir(cold);
    rmdir(bed->dir);
    free(bed);
}

static inline void
commit(struct bed *bed, const char *series, const char *samples, bool feed)
{
    struct batch batches[2];
    struct store_group group = {.batches = batches};
    struct err err = {0};

    group.first_lsn = group.last_lsn = ++bed->lsn;
    if (series) {
        contract_fill(&batches[group.batch_count++], TABLE_SERIES, series);
    }
    contract_fill(&batches[group.batch_count++], TABLE_SAMPLES, samples);
    hot_begin(bed->hot);
    if (store_apply(bed->store, &group, &err)) {
        fail_msg("apply: %s", err.msg);
    }
    if (feed) {
        hot_feed(bed->hot, &group);
    }
    for (size_t i = 0; i < group.batch_count; i++) {
        batch_fini(&batches[i]);
    }
}

static inline void
put(struct bed *bed, const char *series, const char *samples)
{
    commit(bed, series, samples, true);
}

/* Both answers, texts and bits. */
static inline void
assert_same(const struct batch *cached, const struct batch *stored, const char *what)
{
    struct buf one BUF_AUTO;
    struct buf two BUF_AUTO;

    buf_init(&one, 0);
    buf_init(&two, 0);
    contract_dump(cached, &one);
    contract_dump(stored, &two);
    buf_add_char(&one, '\0');
    buf_add_char(&two, '\0');
    if (strcmp(one.ptr, two.ptr) != 0) {
        fail_msg("%s: the cache says\n%sthe store says\n%s", what, one.ptr, two.ptr);
    }
    assert_int_equal(cached->column_count, stored->column_count);
    for (size_t i = 0; i < cached->column_count; i++) {
        assert_string_equal(cached->columns[i].name, stored->columns[i].name);
        assert_int_equal(cached->columns[i].type, stored->columns[i].type);
        for (size_t row = 0; row < cached->rows && cached->columns[i].type == COL_DOUBLE; row++) {
            assert_memory_equal(&cached->columns[i].f64[row], &stored->columns[i].f64[row],
                                isnan(cached->columns[i].f64[row]) ? 0 : sizeof(double));
        }
    }
}

static inline bool
check_scan(struct bed *bed, const struct store_scan *scan)
{
    struct batch cached BATCH_AUTO = {0};
    struct batch stored BATCH_AUTO = {0};

    if (!hot_scan(bed->hot, bed->store, scan, &cached)) {
        return false;
    }
    assert_int_equal(store_scan(bed->store, scan, &stored, NULL), ERR_OK);
    assert_same(&cached, &stored, "scan");
    return true;
}

static inline bool
check_bucket(struct bed *bed, const struct store_bucket *bucket)
{
    struct batch cached BATCH_AUTO = {0};
    struct batch stored BATCH_AUTO = {0};

    if (!hot_bucket(bed->hot, bed->store, bucket, &cached)) {
        return false;
    }
    assert_int_equal(store_bucket(bed->store, bucket, &stored, NULL), ERR_OK);
    assert_same(&cached, &stored, "bucket");
    return true;
}

static inline bool
check_latest(struct bed *bed, enum table_id table)
{
    struct batch cached BATCH_AUTO = {0};
    struct batch stored BATCH_AUTO = {0};

    if (!hot_latest(bed->hot, bed->store, table, &cached)) {
        return false;
    }
    assert_int_equal(store_latest(bed->store, table, NULL, &stored, NULL), ERR_OK);
    assert_same(&cached, &stored, "latest");
    return true;
}

static inline struct store_scan
of_series(const struct slice *id, int64_t from_us, int64_t to_us)
{
    return (struct store_scan){.table = TABLE_SAMPLES,
                               .filters = {{"series_id", id, 1}},
                               .filter_count = 1,
                               .from_us = from_us,
                               .to_us = to_us};
}

static inline struct hot_stats
figures(const struct bed *bed)
{
    struct hot_stats stats;

    hot_stats_of(bed->hot, &stats);
    return stats;
}

#endif
