/* The cache's life, and what the applier tells it. */
#include "store/hot_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/mem.h"
#include "codec/time.h"

enum {
    NAMES_FIRST = 64,
    IDS_FIRST = 256,
    SHARE_OF_ONE = 8, /* one series has at most an eighth of the bytes */
    POINTS_KEPT_MIN = 16,
    AHEAD = 8 /* rows: series are all over memory */
};

static const size_t texts_bytes_max = (size_t)1 << 40; /* definition_bytes bounds them */

static void
start_empty(struct hot *hot)
{
    const struct lru_options options = {.bytes_max = hot->options.bytes_max,
                                        .fifo = hot->options.fifo};

    lru_init(&hot->lru, &options);
    arena_init(&hot->texts, texts_bytes_max);
}

struct hot *
hot_new(const struct hot_options *options)
{
    struct hot *hot = mem_zalloc(1, sizeof(*hot));

    assert(options->bytes_max > 0);
    hot->options = *options;
    pthread_mutex_init(&hot->lock, NULL);
    start_empty(hot);
    return hot;
}

/* Frees what is known of series; the figures stay. */
static void
forget_series(struct hot *hot)
{
    for (size_t i = 0; i < hot->id_cap; i++) {
        if (hot->by_id[i]) {
            ring_fini(&hot->by_id[i]->points);
            free(hot->by_id[i]);
        }
    }
    free(hot->by_id);
    free(hot->names);
    free(hot->sorted);
    arena_fini(&hot->texts);
    struct lru_stats stats = hot->lru.stats;
    lru_fini(&hot->lru);
    hot->by_id = NULL;
    hot->names = NULL;
    hot->sorted = NULL;
    hot->id_cap = 0;
    hot->name_slots = 0;
    hot->sorted_count = 0;
    hot->series_count = 0;
    hot->definition_bytes = 0;
    start_empty(hot);
    hot->lru.stats = (struct lru_stats){.hits = stats.hits,
                                        .misses = stats.misses,
                                        .evicted_series = stats.evicted_series,
                                        .evicted_points = stats.evicted_points};
}

/* Fills keep pointers to series: none may be left when series go. Those that a reader still scans
 * for are cut loose; it finds them dirty and without series. */
static void
cut_fills_loose(struct hot *hot)
{
    hot_spoil_fills(hot);
    for (struct hot_fill *fill = hot->fills; fill; fill = fill->next) {
        for (size_t i = 0; i < fill->count; i++) {
            fill->series[i]->filling = NULL;
        }
        fill->count = 0;
    }
    hot_settle_fills(hot);
}

static void
turn_off(struct hot *hot)
{
    cut_fills_loose(hot);
    forget_series(hot);
    hot->off = true;
    hot->defined = false;
    hot->loaded = false;
    hot->epoch++;
}

void
hot_reset(struct hot *hot)
{
    pthread_mutex_lock(&hot->lock);
    cut_fills_loose(hot);
    forget_series(hot);
    hot->epoch++;
    hot->off = false;
    hot->defined = false;
    hot->loaded = false;
    hot->stale = false;
    hot->in_flight = false;
    hot->undefined = false;
    hot->holdoff = 0;
    pthread_mutex_unlock(&hot->lock);
}

void
hot_free(struct hot *hot)
{
    if (!hot) {
        return;
    }
    cut_fills_loose(hot);
    forget_series(hot);
    lru_fini(&hot->lru);
    arena_fini(&hot->texts);
    pthread_mutex_destroy(&hot->lock);
    free(hot);
}

struct hot_series *
hot_series_of(const struct hot *hot, int32_t id)
{
    return id > 0 && (size_t)id <= hot->id_cap ? hot->by_id[id - 1] : NULL;
}

static size_t
slot_of(const struct hot *hot, struct slice name)
{
    return (size_t)XXH3_64bits(name.ptr, name.len) & (hot->name_slots - 1);
}

struct hot_series *
hot_first_of_name(const struct hot *hot, struct slice name)
{
    return hot->name_slots > 0 ? hot->names[slot_of(hot, name)] : NULL;
}

static void
link_name(struct hot *hot, struct hot_series *series)
{
    struct hot_series **slot = &hot->names[slot_of(hot, series->name)];

    series->next_of_name = *slot;
    *slot = series;
}

static void
make_room(struct hot *hot, int32_t id)
{
    size_t cap = hot->id_cap ? hot->id_cap : IDS_FIRST;

    while (cap < (size_t)id) {
        cap *= 2;
    }
    if (cap > hot->id_cap) {
        hot->by_id = mem_resize(hot->by_id, cap, sizeof(struct hot_series *));
        memset(hot->by_id + hot->id_cap, 0, (cap - hot->id_cap) * sizeof(struct hot_series *));
        hot->definition_bytes += (cap - hot->id_cap) * sizeof(struct hot_series *);
        hot->id_cap = cap;
    }
    if (hot->series_count < hot->name_slots) {
        return;
    }
    free(hot->names);
    hot->name_slots = hot->name_slots ? hot->name_slots * 2 : NAMES_FIRST;
    hot->names = mem_zalloc(hot->name_slots, sizeof(struct hot_series *));
    for (size_t i = 0; i < hot->id_cap; i++) {
        if (hot->by_id[i]) {
            link_name(hot, hot->by_id[i]);
        }
    }
}

static struct slice
keep(struct hot *hot, const struct batch *rows, size_t column, size_t row)
{
    if (batch_is_null(rows, column, row)) {
        return (struct slice){0};
    }
    struct slice text = batch_get_text(rows, column, row);
    hot->definition_bytes += text.len + 1;
    return arena_dup(&hot->texts, text);
}

/* A definition stays as it came first. */
void
hot_define(struct hot *hot, const struct batch *rows, size_t row)
{
    int64_t id = batch_get_i64(rows, 0, row);
    uint64_t share = hot->options.bytes_max / 2;

    if (hot->off || id < 1 || id > INT32_MAX || hot_series_of(hot, (int32_t)id)) {
        return;
    }
    /* Numbers are dense; a wild one would cost an array of its size. */
    if ((uint64_t)id * sizeof(struct hot_series *) > share) {
        turn_off(hot);
        return;
    }
    make_room(hot, (int32_t)id);
    struct hot_series *series = mem_zalloc(1, sizeof(*series));
    series->id = (int32_t)id;
    series->name = keep(hot, rows, 1, row);
    series->symbol = keep(hot, rows, 2, row);
    series->labels = keep(hot, rows, 3, row);
    series->newest_known = hot->loaded; /* then it is a new one and has no points yet */
    hot->by_id[id - 1] = series;
    link_name(hot, series);
    hot->series_count++;
    hot->definition_bytes += sizeof(*series) + 4 * sizeof(struct hot_series *);
    if (hot->definition_bytes > share) {
        turn_off(hot);
        return;
    }
    hot->lru.options.bytes_max = hot->options.bytes_max - hot->definition_bytes;
}

void
hot_drop(struct hot *hot, struct hot_series *series)
{
    if (series->cached) {
        lru_remove(&hot->lru, &series->item);
        ring_fini(&series->points);
        series->cached = false;
    }
}

void
hot_account(struct hot *hot, struct hot_series *series)
{
    lru_account(&hot->lru, &series->item, series->points.count,
                ring_bytes(&series->points) + sizeof(struct ring));
}

void
hot_trim(struct hot *hot, struct hot_series *writer)
{
    while (lru_is_over(&hot->lru)) {
        struct lru_item *victim = lru_victim(&hot->lru, writer ? &writer->item : NULL);
        if (!victim) {
            return;
        }
        lru_count_eviction(&hot->lru, 1, victim->points);
        hot_drop(hot, (struct hot_series *)victim);
        writer = NULL;
    }
}

static bool
is_tight(const struct hot *hot)
{
    uint64_t max = hot->lru.options.bytes_max;

    return hot->lru.stats.bytes > max - max / 4;
}

/* How many points a series has for whoever asks for the first time: together half of the bytes. */
static size_t
fair_share(const struct hot *hot)
{
    return hot->lru.options.bytes_max / 2 / hot->lru.stats.series / sizeof(struct ring_pair);
}

/*
 * Before a ring grows. While room is scarce it keeps what reads went back to and a little more, or
 * the newest half of what it has, up to its fair share: a series that is read all the time would
 * else grow with every write, and push out others for points that nobody asks for. What reads want
 * is forgotten slowly.
 */
static void
consider_growth(struct hot *hot, struct hot_series *series)
{
    struct ring *points = &series->points;
    size_t asked = series->read_points + series->read_points / 8 + POINTS_KEPT_MIN;
    uint64_t grown = (uint64_t)ring_bytes(points) * 2;

    if (points->count < points->cap || points->cap == 0) {
        return;
    }
    size_t share = fair_share(hot) < points->count / 2 ? fair_share(hot) : points->count / 2;
    size_t wanted = asked > share ? asked : share;
    if (is_tight(hot) && wanted < points->count) {
        ring_drop_oldest(points, points->count - wanted);
        series->read_points -= series->read_points / 8;
        if (points->count <= points->cap / 4) {
            ring_shrink(points);
        }
    } else if (grown > hot->lru.options.bytes_max / SHARE_OF_ONE) {
        ring_drop_oldest(points, points->count / 2);
    }
}

static void
append_point(struct hot *hot, struct hot_series *series, int64_t time_us, double value)
{
    bool is_newest = series->newest_known && (!series->has_newest || time_us > series->newest_us);

    if (!series->cached && is_newest && !is_tight(hot)) {
        ring_init(&series->points, false, series->has_newest ? series->newest_us + 1 : INT64_MIN);
        series->cached = true;
        series->read_points = 0;
        lru_add(&hot->lru, &series->item, (uint64_t)series->id);
    }
    if (!series->cached) {
        return;
    }
    consider_growth(hot, series);
    ring_add(&series->points, (struct ring_point){.time_us = time_us, .value = value});
    hot_account(hot, series);
    if (hot->options.writes_promote) {
        lru_touch(&hot->lru, &series->item);
    }
}

bool
hot_note_newest(struct hot *hot, int32_t id, int64_t time_us, double value)
{
    struct hot_series *series = hot_series_of(hot, id);

    if (!series) {
        return false;
    }
    if (!time_in_range(time_us)) {
        hot->undefined = true;
        series->odd = true;
    } else if (!series->has_newest || time_us > series->newest_us) {
        series->has_newest = true;
        series->newest_us = time_us;
        series->newest_value = value;
    }
    return true;
}

static void
feed_sample(struct hot *hot, int32_t id, int64_t time_us, double value)
{
    struct hot_series *series = hot_series_of(hot, id);

    if (!series) {
        /* Until all are known it may well have one. */
        hot->undefined = hot->undefined || hot->defined;
        return;
    }
    if (series->filling) {
        series->filling->dirty = true;
    }
    if (series->odd || !time_in_range(time_us)) {
        hot_drop(hot, series);
        series->odd = true;
        hot->undefined = true;
        return;
    }
    append_point(hot, series, time_us, value);
    if (!series->has_newest || time_us >= series->newest_us) {
        series->has_newest = true;
        series->newest_us = time_us;
        series->newest_value = value;
    }
    hot_trim(hot, NULL);
}

void
hot_begin(struct hot *hot)
{
    pthread_mutex_lock(&hot->lock);
    hot->in_flight = true;
    pthread_mutex_unlock(&hot->lock);
}

void
hot_feed(struct hot *hot, const struct store_group *group)
{
    pthread_mutex_lock(&hot->lock);
    /* Definitions that are known stay all of them, though the newest points may not be. */
    bool listening = !hot->off && (hot->defined || hot->loading);
    /* Definitions first: within a group a series has no points before it is defined. */
    for (size_t i = 0; i < group->batch_count && listening; i++) {
        const struct batch *batch = &group->batches[i];
        for (size_t row = 0; batch->table->id == TABLE_SERIES && row < batch->rows; row++) {
            hot_define(hot, batch, row);
        }
    }
    for (size_t i = 0; i < group->batch_count && listening && !hot->off; i++) {
        const struct batch *batch = &group->batches[i];
        for (size_t row = 0; batch->table->id == TABLE_SAMPLES && row < batch->rows; row++) {
            if (row + AHEAD < batch->rows) {
                __builtin_prefetch(hot_series_of(hot, batch->columns[0].i32[row + AHEAD]));
            }
            feed_sample(hot, batch->columns[0].i32[row], batch->columns[1].i64[row],
                        batch->columns[2].f64[row]);
        }
    }
    hot->in_flight = false;
    hot_settle_fills(hot);
    pthread_mutex_unlock(&hot->lock);
}

void
hot_invalidate(struct hot *hot, int64_t from_us, int64_t to_us)
{
    pthread_mutex_lock(&hot->lock);
    hot->epoch++;
    hot_spoil_fills(hot);
    for (size_t i = 0; i < hot->id_cap && from_us <= to_us; i++) {
        struct hot_series *series = hot->by_id[i];
        if (!series) {
            continue;
        }
        if (series->cached) {
            /* What else is before to_us may be there or not: not told, so not known. */
            ring_drop_until(&series->points, to_us);
            hot_account(hot, series);
        }
        if (!series->newest_known ||
            (series->has_newest && series->newest_us >= from_us && series->newest_us <= to_us)) {
            series->newest_known = false;
            series->has_newest = false;
            hot->stale = true;
        }
    }
    pthread_mutex_unlock(&hot->lock);
}

static int
compare_texts(struct slice a, struct slice b)
{
    if (!a.ptr || !b.ptr) {
        return (int)(b.ptr != NULL) - (int)(a.ptr != NULL);
    }
    return slice_cmp(a, b);
}

/* By name, symbol, labels, as a scan of trading_metrics orders rows of one time; NULL last. */
int
hot_compare_definitions(const void *left, const void *right)
{
    const struct hot_series *a = *(struct hot_series *const *)left;
    const struct hot_series *b = *(struct hot_series *const *)right;
    int order = compare_texts(a->name, b->name);

    order = order ? order : compare_texts(a->symbol, b->symbol);
    order = order ? order : compare_texts(a->labels, b->labels);
    return order ? order : (a->id > b->id) - (a->id < b->id);
}

void
hot_stats_of(struct hot *hot, struct hot_stats *ret_stats)
{
    struct hot_stats stats = {0};

    pthread_mutex_lock(&hot->lock);
    lru_stats_of(&hot->lru, &stats.cache);
    stats.cache.bytes += hot->definition_bytes;
    stats.cache.bytes_max = hot->options.bytes_max;
    stats.cache.utilization = (double)stats.cache.bytes / (double)hot->options.bytes_max;
    stats.series_known = hot->series_count;
    stats.passed = hot->passed;
    stats.fills = hot->fill_count;
    stats.fills_dropped = hot->fills_dropped;
    stats.on = !hot->off;
    pthread_mutex_unlock(&hot->lock);
    *ret_stats = stats;
}
