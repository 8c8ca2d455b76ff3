/* Taking from the store what the cache does not have. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "store/hot_private.h"

enum {
    ID_TEXT = 12,
    READS_BETWEEN_LOADS = 256,
    FILL_POINTS = 65536, /* of one fill */
    FILL_SHARE = 4,      /* of the cache's bytes */
    TIME_SHARE = 4       /* of the asker's time */
};

uint64_t
hot_fill_max(const struct hot *hot)
{
    uint64_t max = hot->options.bytes_max / FILL_SHARE / (sizeof(int64_t) + sizeof(double));

    max = max < FILL_POINTS ? max : FILL_POINTS;
    return max > 0 ? max : 1;
}

void
hot_spoil_fills(struct hot *hot)
{
    for (struct hot_fill *fill = hot->fills; fill; fill = fill->next) {
        fill->dirty = true;
    }
}

static void
unlink_fill(struct hot *hot, struct hot_fill *fill)
{
    struct hot_fill **at = &hot->fills;

    while (*at != fill) {
        assert(*at);
        at = &(*at)->next;
    }
    *at = fill->next;
    for (size_t i = 0; i < fill->count; i++) {
        fill->series[i]->filling = NULL;
    }
}

/* The rows are those of the range, newest first; fewer than rows_max means all of them. */
static void
install(struct hot *hot, const struct hot_fill *fill, const struct batch *rows)
{
    bool is_cut = rows->rows >= fill->rows_max;
    int64_t from_us = fill->from_us;

    if (is_cut) {
        int64_t oldest_us = batch_get_i64(rows, 1, rows->rows - 1);
        from_us = oldest_us < INT64_MAX ? oldest_us + 1 : INT64_MAX;
    }
    for (size_t i = 0; i < fill->count; i++) {
        struct hot_series *series = fill->series[i];
        size_t read_points = series->read_points;
        hot_drop(hot, series);
        ring_init(&series->points, false, from_us);
        series->cached = true;
        series->read_points = read_points;
        if (fill->rows_max >= hot_fill_max(hot)) { /* a smaller one tells nothing of it */
            series->cut_among = is_cut ? fill->count : 0;
            series->cut_us = fill->from_us;
        }
        lru_add(&hot->lru, &series->item, (uint64_t)series->id);
    }
    for (size_t row = rows->rows; row-- > 0;) {
        struct hot_series *series = hot_series_of(hot, (int32_t)batch_get_i64(rows, 0, row));
        assert(series && series->filling == fill);
        ring_add(&series->points, (struct ring_point){.time_us = batch_get_i64(rows, 1, row),
                                                      .value = batch_get_f64(rows, 2, row)});
    }
    for (size_t i = 0; i < fill->count; i++) {
        hot_account(hot, fill->series[i]);
    }
    hot->fill_count++;
    hot_trim(hot, NULL);
}

/* Ends a fill whose rows are there. */
static void
settle(struct hot *hot, struct hot_fill *fill, struct batch *rows)
{
    if (fill->dirty) {
        hot->fills_dropped++;
    } else {
        install(hot, fill, rows);
    }
    unlink_fill(hot, fill);
    batch_fini(rows);
    free(fill);
}

void
hot_settle_fills(struct hot *hot)
{
    struct hot_fill *next;

    for (struct hot_fill *fill = hot->fills; fill; fill = next) {
        next = fill->next;
        if (fill->parked) {
            hot->parked--;
            settle(hot, fill, &fill->rows);
        }
    }
}

/* The asker's own reading needs its time, too: a fill reads up to now, which may be more than was
 * asked for. 0: the store's default. */
static int
time_for_fill(int timeout_ms)
{
    return timeout_ms > TIME_SHARE ? timeout_ms / TIME_SHARE : timeout_ms;
}

/* Asks for the newest points of the fill's series, without the lock. */
static enum err_code
scan_range(struct store *store, const char (*ids)[ID_TEXT], size_t count,
           const struct store_scan *asked, uint64_t rows_max, struct batch *ret_rows)
{
    struct slice values[HOT_SERIES_MAX];
    struct err err;

    for (size_t i = 0; i < count; i++) {
        values[i] = slice_of(ids[i]);
    }
    const struct store_scan scan = {.table = TABLE_SAMPLES,
                                    .filters = {{"series_id", values, count}},
                                    .filter_count = 1,
                                    .from_us = asked->from_us,
                                    .to_us = INT64_MAX,
                                    .newest_first = true,
                                    .limit = rows_max,
                                    .timeout_ms = time_for_fill(asked->timeout_ms),
                                    .cancel = asked->cancel};
    return store_scan(store, &scan, ret_rows, &err);
}

/* What the store gave up for want of time or room is not tried again and again; but for somebody
 * who left, or who has less time than is usual, which tells nothing. */
static void
mark_if_too_much(const struct hot *hot, const struct hot_fill *fill, enum err_code code,
                 const struct store_scan *asked)
{
    bool told =
        !store_cancel_is_tripped(asked->cancel) && asked->timeout_ms >= hot->options.timeout_ms;
    bool too_much = code == ERR_TOO_LARGE || (code == ERR_TIMEOUT && told);

    for (size_t i = 0; i < fill->count && too_much; i++) {
        fill->series[i]->cut_among = fill->count;
        fill->series[i]->cut_us = fill->from_us;
    }
}

void
hot_fill_range(struct hot *hot, struct store *store, struct hot_series *const *series, size_t count,
               const struct store_scan *asked, uint64_t rows_max)
{
    char ids[HOT_SERIES_MAX][ID_TEXT];
    struct batch rows;

    for (size_t i = 0; i < count; i++) {
        if (series[i]->filling) {
            return; /* somebody else is at it */
        }
    }
    struct hot_fill *fill = mem_zalloc(1, sizeof(*fill));
    fill->count = count;
    fill->from_us = asked->from_us;
    fill->rows_max = rows_max;
    for (size_t i = 0; i < count; i++) {
        fill->series[i] = series[i];
        fill->series[i]->filling = fill;
        snprintf(ids[i], sizeof(ids[i]), "%" PRId32, series[i]->id);
    }
    fill->next = hot->fills;
    hot->fills = fill;
    pthread_mutex_unlock(&hot->lock);
    enum err_code code =
        scan_range(store, (const char(*)[ID_TEXT])ids, count, asked, rows_max, &rows);
    pthread_mutex_lock(&hot->lock);
    if (code != ERR_OK) {
        mark_if_too_much(hot, fill, code, asked);
        unlink_fill(hot, fill);
        free(fill);
    } else if (hot->in_flight && !fill->dirty && hot->parked < HOT_PARKED_MAX) {
        fill->parked = true;
        fill->rows = rows;
        hot->parked++;
    } else {
        fill->dirty = fill->dirty || hot->in_flight;
        settle(hot, fill, &rows);
    }
}

/* One that was defined meanwhile is there already. */
static void
take_definitions(struct hot *hot, const struct batch *series)
{
    for (size_t row = 0; row < series->rows && !hot->off; row++) {
        hot_define(hot, series, row);
    }
    hot->defined = !hot->off;
}

/* What was fed since the reading began is at least as new. A series that is not known was committed
 * and not yet fed, or never defined; which, the next reading tells, but not at once. */
static void
take_newest(struct hot *hot, const struct batch *newest)
{
    bool all_known = true;

    for (size_t row = 0; row < newest->rows; row++) {
        bool known = hot_note_newest(hot, (int32_t)batch_get_i64(newest, 0, row),
                                     batch_get_i64(newest, 1, row), batch_get_f64(newest, 2, row));
        all_known = all_known && known;
    }
    for (size_t i = 0; i < hot->id_cap; i++) {
        if (hot->by_id[i]) {
            hot->by_id[i]->newest_known = true;
        }
    }
    hot->loaded = true;
    hot->stale = !all_known;
    hot->holdoff = all_known ? 0 : READS_BETWEEN_LOADS;
}

/* Whether to read now; with the lock held. */
static bool
begin_load(struct hot *hot)
{
    if (hot->loading || hot->off) {
        return false;
    }
    if (hot->holdoff > 0) {
        hot->holdoff--;
        return false;
    }
    hot->loading = true;
    return true;
}

/* Definitions before anything else: a point that is fed finds its series only when it is defined,
 * and one that found none would be missing. */
static enum err_code
load_definitions(struct hot *hot, struct store *store, const struct store_patience *patience,
                 struct err *err)
{
    const struct store_scan all = {.table = TABLE_SERIES,
                                   .from_us = INT64_MIN,
                                   .to_us = INT64_MAX,
                                   .timeout_ms = patience->timeout_ms,
                                   .cancel = patience->cancel};
    struct batch series BATCH_AUTO = {0};
    uint64_t epoch = hot->epoch;

    if (hot->defined) {
        return ERR_OK;
    }
    pthread_mutex_unlock(&hot->lock);
    enum err_code code = store_scan(store, &all, &series, err);
    pthread_mutex_lock(&hot->lock);
    if (code == ERR_OK && epoch == hot->epoch && !hot->off) {
        take_definitions(hot, &series);
    }
    return code;
}

static enum err_code
load_newest(struct hot *hot, struct store *store, const struct store_patience *patience,
            struct err *err)
{
    struct batch newest BATCH_AUTO = {0};
    uint64_t epoch = hot->epoch;

    if (!hot->defined) {
        return ERR_OK;
    }
    pthread_mutex_unlock(&hot->lock);
    enum err_code code = store_latest(store, TABLE_SAMPLES, patience, &newest, err);
    pthread_mutex_lock(&hot->lock);
    if (code == ERR_OK && epoch == hot->epoch && hot->defined) {
        take_newest(hot, &newest);
    }
    return code;
}

bool
hot_load(struct hot *hot, struct store *store, bool with_newest, int timeout_ms,
         struct store_cancel *cancel)
{
    const struct store_patience patience = {time_for_fill(timeout_ms), cancel};
    struct err err;

    pthread_mutex_lock(&hot->lock);
    bool ready = hot->loaded && !(with_newest && hot->stale);
    if (!ready && begin_load(hot)) {
        enum err_code code = load_definitions(hot, store, &patience, &err);
        code = code ? code : load_newest(hot, store, &patience, &err);
        hot->loading = false;
        if (code != ERR_OK) {
            hot->holdoff = READS_BETWEEN_LOADS;
        }
        ready = hot->loaded && !(with_newest && hot->stale);
    }
    pthread_mutex_unlock(&hot->lock);
    return ready;
}
