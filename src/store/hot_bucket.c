/* Buckets of time from the cache: one pass over the points in the order of time. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/buckets.h"
#include "store/hot_private.h"

enum { CELLS_FIRST = 64 };

/* What one bucket of one group comes to. */
struct cell {
    int64_t bucket_us;
    size_t group;
    uint64_t count;
    int64_t first_us;
    int64_t last_us;
    double first;
    double last;
    double min;
    double max;
    double sum;
};

struct cells {
    struct cell *all;
    size_t count;
    size_t cap;
};

struct groups {
    size_t of[HOT_SERIES_MAX]; /* of each chosen series */
    const struct hot_series *named[HOT_SERIES_MAX];
    size_t count;
};

enum group_by { BY_NOTHING, BY_NAME, BY_SYMBOL, BY_ID, BY_OTHER };

static enum group_by
group_by_of(const struct store_bucket *bucket)
{
    if (!bucket->group_column) {
        return BY_NOTHING;
    }
    if (bucket->scan.table == TABLE_SAMPLES) {
        return strcmp(bucket->group_column, "series_id") == 0 ? BY_ID : BY_OTHER;
    }
    return strcmp(bucket->group_column, "metric_name") == 0 ? BY_NAME
           : strcmp(bucket->group_column, "symbol") == 0    ? BY_SYMBOL
                                                            : BY_OTHER;
}

static int
compare_groups(enum group_by by, const struct hot_series *a, const struct hot_series *b)
{
    if (by == BY_ID) {
        return (a->id > b->id) - (a->id < b->id);
    }
    struct slice x = by == BY_NAME ? a->name : a->symbol;
    struct slice y = by == BY_NAME ? b->name : b->symbol;
    if (!x.ptr || !y.ptr) {
        return (int)(y.ptr != NULL) - (int)(x.ptr != NULL);
    }
    return slice_cmp(x, y);
}

/* The first group that does not come before a series' own. */
static size_t
find_group(enum group_by by, const struct groups *groups, const struct hot_series *series)
{
    size_t low = 0;
    size_t high = groups->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_groups(by, groups->named[middle], series) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Groups in the order of their values, NULL last. */
static void
make_groups(enum group_by by, const struct hot_chosen *chosen, struct groups *groups)
{
    groups->count = 0;
    for (size_t i = 0; i < chosen->count; i++) {
        const struct hot_series *series = chosen->series[i];
        size_t at = by == BY_NOTHING ? 0 : find_group(by, groups, series);
        bool known = at < groups->count &&
                     (by == BY_NOTHING || compare_groups(by, series, groups->named[at]) == 0);
        if (!known) {
            memmove(&groups->named[at + 1], &groups->named[at],
                    (groups->count - at) * sizeof(const struct hot_series *));
            groups->named[at] = series;
            groups->count++;
        }
    }
    for (size_t i = 0; i < chosen->count; i++) {
        groups->of[i] = by == BY_NOTHING ? 0 : find_group(by, groups, chosen->series[i]);
    }
}

/* False for aggregates that only the store has. */
static bool
is_plain(const struct store_bucket *bucket)
{
    bool plain =
        bucket->bucket_us >= 0 && group_by_of(bucket) != BY_OTHER && bucket->scan.column_mask == 0;

    for (size_t i = 0; i < bucket->aggregate_count && plain; i++) {
        const struct store_aggregate *aggregate = &bucket->aggregates[i];
        plain = aggregate->column ? strcmp(aggregate->column, "value") == 0
                                  : aggregate->fn == AGG_COUNT;
    }
    return plain;
}

static void
add_cell(struct cells *cells, int64_t bucket_us, size_t group)
{
    if (cells->count == cells->cap) {
        cells->cap = cells->cap ? cells->cap * 2 : CELLS_FIRST;
        cells->all = mem_resize(cells->all, cells->cap, sizeof(*cells->all));
    }
    cells->all[cells->count++] = (struct cell){.bucket_us = bucket_us, .group = group};
}

/* False when the order of equal times would tell. */
static bool
add_to_cell(struct cell *cell, struct ring_point point)
{
    if (cell->count > 0 && point.time_us == cell->last_us) {
        return false;
    }
    if (cell->count == 0) {
        cell->first_us = point.time_us;
        cell->first = cell->min = cell->max = point.value;
    }
    cell->min = point.value < cell->min ? point.value : cell->min;
    cell->max = point.value > cell->max ? point.value : cell->max;
    cell->last = point.value;
    cell->last_us = point.time_us;
    cell->sum += point.value;
    cell->count++;
    return true;
}

/* Goes over the points in the order of time; false for what only the store answers. */
static bool
sum_up(const struct store_bucket *bucket, const struct groups *groups, struct hot_merge *merge,
       struct cells *cells)
{
    size_t cell_of[HOT_SERIES_MAX] = {0}; /* of a group, behind its place: in the newest bucket */
    size_t bucket_begin = 0;
    int64_t bucket_us = 0;
    struct ring_point point;
    size_t which;
    bool fine = true;

    while (fine && hot_next_point(merge, &point, &which)) {
        size_t group = groups->of[which];
        int64_t mine_us =
            bucket->bucket_us > 0 ? store_bucket_of(point.time_us, bucket->bucket_us) : 0;
        if (cells->count == 0 || mine_us != bucket_us) {
            bucket_begin = cells->count;
            bucket_us = mine_us;
        }
        if (cell_of[group] <= bucket_begin) {
            add_cell(cells, bucket_us, group);
            cell_of[group] = cells->count;
        }
        struct cell *cell = &cells->all[cell_of[group] - 1];
        fine = !merge->tied && isfinite(point.value) &&
               !(point.value == 0 && signbit(point.value)) && add_to_cell(cell, point) &&
               isfinite(cell->sum);
    }
    return fine;
}

/* By bucket, newest first if asked for, then by group. */
static int
compare_cells(const void *left, const void *right, void *ctx)
{
    const struct cell *a = left;
    const struct cell *b = right;
    int sign = *(const bool *)ctx ? -1 : 1;

    if (a->bucket_us != b->bucket_us) {
        return a->bucket_us < b->bucket_us ? -sign : sign;
    }
    return (a->group > b->group) - (a->group < b->group);
}

static void
set_aggregate(struct batch *rows, size_t column, size_t row, enum store_aggregate_fn fn,
              const struct cell *cell)
{
    switch (fn) {
    case AGG_FIRST:
        batch_set_f64(rows, column, row, cell->first);
        break;
    case AGG_LAST:
        batch_set_f64(rows, column, row, cell->last);
        break;
    case AGG_MIN:
        batch_set_f64(rows, column, row, cell->min);
        break;
    case AGG_MAX:
        batch_set_f64(rows, column, row, cell->max);
        break;
    case AGG_SUM:
        batch_set_f64(rows, column, row, cell->sum);
        break;
    case AGG_AVG:
        batch_set_f64(rows, column, row, cell->sum / (double)cell->count);
        break;
    case AGG_COUNT:
        batch_set_i64(rows, column, row, (int64_t)cell->count);
    }
}

static void
set_group(struct batch *rows, size_t row, enum group_by by, const struct hot_series *named)
{
    if (by == BY_ID) {
        batch_set_i32(rows, 1, row, named->id);
        return;
    }
    struct slice text = by == BY_NAME ? named->name : named->symbol;
    if (text.ptr) {
        batch_set_text(rows, 1, row, batch_keep_text(rows, text));
    }
}

static void
emit_cells(const struct store_bucket *bucket, const struct groups *groups, struct cells *cells,
           struct batch *rows)
{
    enum group_by by = group_by_of(bucket);
    bool newest_first = bucket->scan.newest_first;

    batch_add_column(rows, SLICE_LITERAL("timestamp"), COL_TIMESTAMP);
    if (by != BY_NOTHING) {
        batch_add_column(rows, slice_of(bucket->group_column), by == BY_ID ? COL_INT32 : COL_TEXT);
    }
    for (size_t i = 0; i < bucket->aggregate_count; i++) {
        const struct store_aggregate *aggregate = &bucket->aggregates[i];
        batch_add_column(rows, slice_of(aggregate->as),
                         aggregate->fn == AGG_COUNT ? COL_INT64 : COL_DOUBLE);
    }
    for (size_t i = 0; i < cells->count && bucket->bucket_us == 0; i++) {
        cells->all[i].bucket_us = cells->all[i].first_us; /* as SQL orders them: by the answer */
    }
    if (cells->count > 1) {
        qsort_r(cells->all, cells->count, sizeof(*cells->all), compare_cells, &newest_first);
    }
    for (size_t i = 0; i < cells->count; i++) {
        if (i < bucket->scan.offset ||
            (bucket->scan.limit > 0 && rows->rows == bucket->scan.limit)) {
            continue;
        }
        size_t row = batch_add_row(rows);
        batch_set_i64(rows, 0, row, cells->all[i].bucket_us);
        if (by != BY_NOTHING) {
            set_group(rows, row, by, groups->named[cells->all[i].group]);
        }
        for (size_t j = 0; j < bucket->aggregate_count; j++) {
            set_aggregate(rows, j + (by == BY_NOTHING ? 1 : 2), row, bucket->aggregates[j].fn,
                          &cells->all[i]);
        }
    }
}

bool
hot_bucket(struct hot *hot, struct store *store, const struct store_bucket *bucket,
           struct batch *ret_rows)
{
    struct store_scan scan = bucket->scan;
    struct cells cells = {0};
    struct groups groups = {.count = 0};
    struct hot_chosen chosen;
    struct hot_merge merge;
    struct batch rows;

    if (!hot_is_ours(scan.table)) {
        return false;
    }
    if (!is_plain(bucket) || !hot_load(hot, store, false, scan.timeout_ms, scan.cancel)) {
        hot_count_passed(hot);
        return false;
    }
    scan.limit = 0; /* those are of buckets */
    scan.offset = 0;
    scan.newest_first = false;
    pthread_mutex_lock(&hot->lock);
    enum hot_verdict verdict = hot_prepare(hot, store, &scan, &chosen, &merge);
    if (verdict == HOT_ANSWERED) {
        hot_note_reads(&chosen, &merge, &scan);
        make_groups(group_by_of(bucket), &chosen, &groups);
        verdict = sum_up(bucket, &groups, &merge, &cells) ? HOT_ANSWERED : HOT_NOT_OURS;
    }
    if (verdict == HOT_ANSWERED) {
        batch_init_answer(&rows, hot_answer_bytes_max);
        emit_cells(bucket, &groups, &cells, &rows);
    }
    hot->passed += verdict == HOT_NOT_OURS;
    pthread_mutex_unlock(&hot->lock);
    free(cells.all);
    if (verdict == HOT_ANSWERED) {
        *ret_rows = rows;
    }
    return verdict == HOT_ANSWERED;
}
