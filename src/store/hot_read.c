/*
 * Answers from the cache: find the series that a read means, see whether all of the range is there
 * (else fill, once), then merge their points in the order the store would give them in.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "codec/number.h"
#include "store/hot_private.h"
#include "store/keys.h"

enum {
    CHAIN_MAX = 4096, /* series of one name looked at */
    FILL_POINTS_MIN = 256,
    FILL_MARGIN = 4 /* a fill reads up to now: not for a range that is so many widths old */
};

/* ---- which series ---- */

static bool
choose(struct hot_chosen *chosen, struct hot_series *series)
{
    if (chosen->count == HOT_SERIES_MAX || series->odd) {
        return false;
    }
    chosen->series[chosen->count++] = series;
    return true;
}

/* A name that stands twice in a filter chose its series twice. */
static void
sort_chosen(struct hot_chosen *chosen, int (*compare)(const void *left, const void *right))
{
    size_t kept = 0;

    qsort(chosen->series, chosen->count, sizeof(struct hot_series *), compare);
    for (size_t i = 0; i < chosen->count; i++) {
        if (kept == 0 || chosen->series[kept - 1] != chosen->series[i]) {
            chosen->series[kept++] = chosen->series[i];
        }
    }
    chosen->count = kept;
}

static bool
is_one_of(struct slice text, const struct store_filter *filter)
{
    bool found = filter == NULL;

    for (size_t i = 0; filter && i < filter->value_count && !found; i++) {
        found = text.ptr && slice_eq(text, filter->values[i]);
    }
    return found;
}

/* One definition under two numbers: nothing tells which of their rows of one time comes first. */
static bool
has_twins(const struct hot_chosen *chosen)
{
    bool found = false;

    for (size_t i = 1; i < chosen->count && !found; i++) {
        const struct hot_series *a = chosen->series[i - 1];
        const struct hot_series *b = chosen->series[i];
        found = slice_eq(a->name, b->name) && slice_eq(a->symbol, b->symbol) &&
                slice_eq(a->labels, b->labels);
    }
    return found;
}

static bool
choose_by_name(const struct hot *hot, const struct store_filter *name,
               const struct store_filter *symbol, struct hot_chosen *chosen)
{
    size_t looked_at = 0;

    for (size_t i = 0; i < name->value_count; i++) {
        struct hot_series *series = hot_first_of_name(hot, name->values[i]);
        for (; series; series = series->next_of_name) {
            if (++looked_at > CHAIN_MAX) {
                return false;
            }
            if (slice_eq(series->name, name->values[i]) && is_one_of(series->symbol, symbol) &&
                !choose(chosen, series)) {
                return false;
            }
        }
    }
    sort_chosen(chosen, hot_compare_definitions);
    return !has_twins(chosen);
}

static int
compare_ids(const void *left, const void *right)
{
    const struct hot_series *a = *(struct hot_series *const *)left;
    const struct hot_series *b = *(struct hot_series *const *)right;

    return (a->id > b->id) - (a->id < b->id);
}

static bool
choose_by_id(const struct hot *hot, const struct store_filter *filter, struct hot_chosen *chosen)
{
    for (size_t i = 0; i < filter->value_count; i++) {
        int64_t id;
        struct hot_series *series = NULL;
        if (!number_parse_i64(filter->values[i], &id) || id < 1 || id > INT32_MAX) {
            return false;
        }
        series = hot_series_of(hot, (int32_t)id);
        if (!series || !choose(chosen, series)) {
            return false; /* samples without a definition are the store's */
        }
    }
    sort_chosen(chosen, compare_ids);
    return true;
}

/* False for what only the store answers. With the lock held. */
static bool
choose_series(const struct hot *hot, const struct store_scan *scan, struct hot_chosen *chosen)
{
    const struct store_filter *name = NULL;
    const struct store_filter *symbol = NULL;
    const struct store_filter *id = NULL;

    chosen->count = 0;
    if (scan->at_least_column) {
        return false;
    }
    for (size_t i = 0; i < scan->filter_count; i++) {
        const struct store_filter *filter = &scan->filters[i];
        const struct store_filter **place = strcmp(filter->column, "metric_name") == 0 ? &name
                                            : strcmp(filter->column, "symbol") == 0    ? &symbol
                                            : strcmp(filter->column, "series_id") == 0 ? &id
                                                                                       : NULL;
        if (!place || *place || filter->value_count == 0) {
            return false;
        }
        *place = filter;
    }
    if (scan->table == TABLE_METRICS && name && !id) {
        return choose_by_name(hot, name, symbol, chosen);
    }
    return scan->table == TABLE_SAMPLES && id && !name && !symbol && choose_by_id(hot, id, chosen);
}

/* ---- going over their points ---- */

static int64_t
time_at(const struct hot_merge *merge, const struct hot_cursor *cursor)
{
    return ring_time(&cursor->series->points, merge->newest_first ? cursor->to - 1 : cursor->from);
}

/* Whether the point of one cursor comes before that of another; of one time the series' order
 * tells. */
static bool
comes_first(const struct hot_merge *merge, uint16_t left, uint16_t right)
{
    int64_t a = merge->cursors[left].next_us;
    int64_t b = merge->cursors[right].next_us;

    return a == b ? left < right : merge->newest_first ? a > b : a < b;
}

/* Lets the cursor at a place of the heap sink to where it belongs. */
static void
sink(struct hot_merge *merge, size_t place)
{
    uint16_t sinking = merge->heap[place];

    for (;;) {
        size_t child = 2 * place + 1;
        if (child >= merge->heap_count) {
            break;
        }
        if (child + 1 < merge->heap_count &&
            comes_first(merge, merge->heap[child + 1], merge->heap[child])) {
            child++;
        }
        if (!comes_first(merge, merge->heap[child], sinking)) {
            break;
        }
        merge->heap[place] = merge->heap[child];
        place = child;
    }
    merge->heap[place] = sinking;
}

/* Prepares the points of [from_us, to_us]; returns how many there are. */
static size_t
begin_merge(struct hot_merge *merge, const struct hot_chosen *chosen, int64_t from_us,
            int64_t to_us, bool newest_first)
{
    size_t points = 0;

    merge->count = chosen->count;
    merge->heap_count = 0;
    merge->newest_first = newest_first;
    merge->tied = false;
    for (size_t i = 0; i < chosen->count; i++) {
        const struct ring *of = &chosen->series[i]->points;
        struct hot_cursor *cursor = &merge->cursors[i];
        cursor->series = chosen->series[i];
        cursor->from = ring_before(of, from_us);
        cursor->to = to_us == INT64_MAX ? of->count : ring_before(of, to_us + 1);
        cursor->to = cursor->to > cursor->from ? cursor->to : cursor->from;
        points += cursor->to - cursor->from;
        if (cursor->to > cursor->from) {
            cursor->next_us = time_at(merge, cursor);
            merge->heap[merge->heap_count++] = (uint16_t)i;
        }
    }
    for (size_t place = merge->heap_count / 2; place-- > 0;) {
        sink(merge, place);
    }
    return points;
}

bool
hot_next_point(struct hot_merge *merge, struct ring_point *ret_point, size_t *ret_which)
{
    if (merge->heap_count == 0) {
        return false;
    }
    size_t which = merge->heap[0];
    struct hot_cursor *cursor = &merge->cursors[which];
    size_t at = merge->newest_first ? --cursor->to : cursor->from++;
    *ret_which = which;
    *ret_point = (struct ring_point){.time_us = cursor->next_us,
                                     .value = ring_value(&cursor->series->points, at)};
    if (cursor->from == cursor->to) {
        merge->heap[0] = merge->heap[--merge->heap_count];
    } else {
        int64_t next_us = time_at(merge, cursor);
        merge->tied = merge->tied || next_us == cursor->next_us;
        cursor->next_us = next_us;
    }
    if (merge->heap_count > 0) {
        sink(merge, 0);
    }
    return true;
}

/* ---- is it all there ---- */

static uint64_t
rows_wanted(const struct store_scan *scan)
{
    if (scan->limit == 0 || scan->limit > HOT_ANSWER_POINTS_MAX ||
        scan->offset > HOT_ANSWER_POINTS_MAX) {
        return UINT64_MAX;
    }
    return scan->limit + scan->offset;
}

/* From when on all chosen series are complete, or INT64_MAX when one is not there at all. */
static int64_t
complete_from(const struct hot_chosen *chosen)
{
    int64_t from_us = INT64_MIN;

    for (size_t i = 0; i < chosen->count; i++) {
        const struct hot_series *series = chosen->series[i];
        int64_t mine_us = series->cached ? series->points.complete_us
                          : series->newest_known && !series->has_newest
                              ? INT64_MIN /* it has no points */
                          : series->newest_known ? series->newest_us + 1
                                                 : INT64_MAX;
        from_us = mine_us > from_us ? mine_us : from_us;
    }
    return from_us;
}

void
hot_note_reads(const struct hot_chosen *chosen, const struct hot_merge *merge,
               const struct store_scan *scan)
{
    uint64_t wanted = scan->newest_first ? rows_wanted(scan) : UINT64_MAX;

    for (size_t i = 0; i < chosen->count; i++) {
        struct hot_series *series = chosen->series[i];
        uint64_t depth = series->points.count - merge->cursors[i].from;
        depth = depth < wanted ? depth : wanted;
        series->read_points = depth > series->read_points ? (size_t)depth : series->read_points;
    }
}

/*
 * Whether the cache has what the scan asks for; then the merge stands at its beginning. The newest
 * N rows are there, too, when so many lie behind the time from which all is complete.
 */
static enum hot_verdict
cover(const struct hot_chosen *chosen, const struct store_scan *scan, struct hot_merge *merge)
{
    int64_t complete_us = complete_from(chosen);
    bool whole = scan->from_us >= complete_us;
    int64_t from_us = whole ? scan->from_us : complete_us;

    if (!whole && (!scan->newest_first || complete_us > scan->to_us)) {
        return HOT_ABSENT;
    }
    size_t points = begin_merge(merge, chosen, from_us, scan->to_us, scan->newest_first);
    if (!whole && points < rows_wanted(scan)) {
        return HOT_ABSENT;
    }
    uint64_t looked_at = points < rows_wanted(scan) ? points : rows_wanted(scan);
    return looked_at <= HOT_ANSWER_POINTS_MAX ? HOT_ANSWERED : HOT_NOT_OURS;
}

/* Whether a fill is worth its while: it reads from from_us until now. */
static bool
is_fillable(const struct hot *hot, const struct hot_chosen *chosen, const struct store_scan *scan)
{
    int64_t newest_us = INT64_MIN;
    bool cut = false;

    for (size_t i = 0; i < chosen->count; i++) {
        const struct hot_series *series = chosen->series[i];
        if (series->has_newest && series->newest_us > newest_us) {
            newest_us = series->newest_us;
        }
        cut = cut || (series->cut_among > 0 && chosen->count >= series->cut_among &&
                      scan->from_us <= series->cut_us);
    }
    if (cut && !(scan->newest_first && rows_wanted(scan) <= hot_fill_max(hot))) {
        return false;
    }
    if (scan->from_us == INT64_MIN) {
        return true;
    }
    uint64_t width = (uint64_t)scan->to_us - (uint64_t)scan->from_us;
    return scan->to_us >= newest_us ||
           ((uint64_t)newest_us - (uint64_t)scan->to_us) / FILL_MARGIN <= width;
}

static uint64_t
fill_rows(const struct hot *hot, const struct store_scan *scan)
{
    uint64_t max = hot_fill_max(hot);
    uint64_t wanted = rows_wanted(scan);

    if (scan->newest_first && wanted < UINT64_MAX) {
        wanted = wanted * 4 > FILL_POINTS_MIN ? wanted * 4 : FILL_POINTS_MIN;
        max = wanted < max ? wanted : max;
    }
    return max;
}

enum hot_verdict
hot_prepare(struct hot *hot, struct store *store, const struct store_scan *scan,
            struct hot_chosen *chosen, struct hot_merge *merge)
{
    if (!hot->loaded || !choose_series(hot, scan, chosen)) {
        return HOT_NOT_OURS;
    }
    enum hot_verdict verdict = cover(chosen, scan, merge);
    lru_count_read(&hot->lru, verdict == HOT_ANSWERED);
    if (verdict == HOT_ABSENT && store && is_fillable(hot, chosen, scan)) {
        hot_fill_range(hot, store, chosen->series, chosen->count, scan, fill_rows(hot, scan));
        /* The lock was given up: all of it may be another. */
        verdict = hot->loaded && choose_series(hot, scan, chosen) ? cover(chosen, scan, merge)
                                                                  : HOT_NOT_OURS;
    }
    for (size_t i = 0; i < chosen->count && verdict == HOT_ANSWERED; i++) {
        if (chosen->series[i]->cached) {
            lru_touch(&hot->lru, &chosen->series[i]->item);
        }
    }
    return verdict;
}

/* ---- scans ---- */

/* The texts of a series stand once in an answer. */
struct texts {
    const struct hot_series *of;
    struct slice name;
    struct slice symbol;
    struct slice labels;
};

static struct slice
copy(struct batch *rows, struct slice text)
{
    return text.ptr ? batch_keep_text(rows, text) : text;
}

static void
emit(const struct catalog_table *table, const struct column_list *columns,
     const struct hot_series *series, struct ring_point point, struct texts *texts,
     struct batch *rows)
{
    size_t row = batch_add_row(rows);

    for (size_t i = 0; i < columns->count; i++) {
        const struct catalog_column *column = &table->columns[columns->index[i]];
        if (column->type == COL_TIMESTAMP) {
            batch_set_i64(rows, i, row, point.time_us);
        } else if (column->type == COL_DOUBLE) {
            batch_set_f64(rows, i, row, point.value);
        } else if (column->type == COL_INT32) {
            batch_set_i32(rows, i, row, series->id);
        } else {
            if (texts->of != series) {
                *texts = (struct texts){series, copy(rows, series->name),
                                        copy(rows, series->symbol), copy(rows, series->labels)};
            }
            struct slice text = strcmp(column->name, "metric_name") == 0 ? texts->name
                                : strcmp(column->name, "symbol") == 0    ? texts->symbol
                                                                         : texts->labels;
            if (text.ptr) {
                batch_set_text(rows, i, row, text);
            }
        }
    }
}

static void
add_columns(const struct catalog_table *table, const struct column_list *columns,
            struct batch *rows)
{
    for (size_t i = 0; i < columns->count; i++) {
        const struct catalog_column *column = &table->columns[columns->index[i]];
        batch_add_column(rows, slice_of(column->name), column->type);
    }
}

/* Writes the rows; false when two points of a series have one time. */
static bool
emit_rows(const struct store_scan *scan, const struct column_list *columns,
          const struct hot_chosen *chosen, struct hot_merge *merge, struct batch *rows)
{
    const struct catalog_table *table = catalog_table(scan->table);
    struct texts *texts = mem_zalloc(chosen->count + 1, sizeof(*texts));
    struct ring_point point;
    size_t which;

    for (uint64_t at = 0; hot_next_point(merge, &point, &which) && !merge->tied; at++) {
        if (scan->limit > 0 && rows->rows == scan->limit) {
            break;
        }
        if (at >= scan->offset) {
            emit(table, columns, chosen->series[which], point, &texts[which], rows);
        }
    }
    free(texts);
    return !merge->tied && !rows->arena.overflow;
}

bool
hot_is_ours(enum table_id table)
{
    return table == TABLE_METRICS || table == TABLE_SAMPLES;
}

void
hot_count_passed(struct hot *hot)
{
    pthread_mutex_lock(&hot->lock);
    hot->passed++;
    pthread_mutex_unlock(&hot->lock);
}

bool
hot_scan(struct hot *hot, struct store *store, const struct store_scan *scan,
         struct batch *ret_rows)
{
    return hot_scan_filled(hot, store, scan, true, ret_rows);
}

bool
hot_scan_filled(struct hot *hot, struct store *store, const struct store_scan *scan, bool may_fill,
                struct batch *ret_rows)
{
    struct column_list columns;
    struct hot_chosen chosen;
    struct hot_merge merge;
    struct batch rows;

    if (!hot_is_ours(scan->table)) {
        return false;
    }
    if (!column_list_of_mask(catalog_table(scan->table), scan->column_mask, &columns) ||
        !hot_load(hot, store, false, scan->timeout_ms, scan->cancel)) {
        hot_count_passed(hot);
        return false;
    }
    pthread_mutex_lock(&hot->lock);
    enum hot_verdict verdict = hot_prepare(hot, may_fill ? store : NULL, scan, &chosen, &merge);
    if (verdict == HOT_ANSWERED) {
        hot_note_reads(&chosen, &merge, scan);
        batch_init_answer(&rows, hot_answer_bytes_max);
        add_columns(catalog_table(scan->table), &columns, &rows);
        if (!emit_rows(scan, &columns, &chosen, &merge, &rows)) {
            batch_fini(&rows);
            verdict = HOT_NOT_OURS;
        }
    }
    hot->passed += verdict == HOT_NOT_OURS;
    pthread_mutex_unlock(&hot->lock);
    if (verdict == HOT_ANSWERED) {
        *ret_rows = rows;
    }
    return verdict == HOT_ANSWERED;
}

/* ---- the newest points ---- */

static void
sort_definitions(struct hot *hot)
{
    if (hot->sorted_count == hot->series_count) {
        return;
    }
    hot->sorted = mem_resize(hot->sorted, hot->series_count, sizeof(struct hot_series *));
    hot->sorted_count = 0;
    for (size_t i = 0; i < hot->id_cap; i++) {
        if (hot->by_id[i]) {
            hot->sorted[hot->sorted_count++] = hot->by_id[i];
        }
    }
    qsort(hot->sorted, hot->sorted_count, sizeof(struct hot_series *), hot_compare_definitions);
}

static void
emit_newest(struct hot *hot, const struct catalog_table *table, struct batch *rows)
{
    struct column_list columns = column_list_of_table(table);
    bool by_name = table->id == TABLE_METRICS;
    size_t count = by_name ? hot->sorted_count : hot->id_cap;

    for (size_t i = 0; i < count; i++) {
        const struct hot_series *series = by_name ? hot->sorted[i] : hot->by_id[i];
        struct texts texts = {0};
        if (series && series->has_newest) {
            emit(table, &columns, series,
                 (struct ring_point){.time_us = series->newest_us, .value = series->newest_value},
                 &texts, rows);
        }
    }
}

bool
hot_latest(struct hot *hot, struct store *store, enum table_id id, struct batch *ret_rows)
{
    const struct catalog_table *table = catalog_table(id);
    struct column_list columns;
    struct batch rows;

    if (!hot_is_ours(id)) {
        return false;
    }
    bool loaded = hot_load(hot, store, true, 0, NULL);
    columns = column_list_of_table(table);
    batch_init_answer(&rows, hot_answer_bytes_max);
    add_columns(table, &columns, &rows);
    pthread_mutex_lock(&hot->lock);
    bool known = loaded && hot->loaded && !hot->stale && !hot->undefined;
    if (known) {
        sort_definitions(hot);
        emit_newest(hot, table, &rows);
        known = !rows.arena.overflow;
    }
    lru_count_read(&hot->lru, known);
    pthread_mutex_unlock(&hot->lock);
    if (!known) {
        batch_fini(&rows);
        return false;
    }
    *ret_rows = rows;
    return true;
}
