/*
 * The last point of every series, in an array by series number: samples come by the million a
 * second, so taking one is a bounds check and a store. Names come once a series and stay.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "live/live_internal.h"

enum { FIRST_CAPACITY = 256, WALK_SERIES = 1024 };

void
live_series_init(struct live_series *series, size_t max, size_t text_bytes)
{
    assert(max <= INT32_MAX);
    *series = (struct live_series){.max = max};
    arena_init(&series->texts, text_bytes);
}

void
live_series_fini(struct live_series *series)
{
    free(series->points);
    free(series->names);
    arena_fini(&series->texts);
}

/* The next capacity with room for `end` entries. */
static size_t
capacity_for(const struct live_series *series, size_t end, size_t capacity)
{
    size_t next = capacity ? capacity : FIRST_CAPACITY;

    while (next < end) {
        next *= 2;
    }
    return next < series->max ? next : series->max;
}

static void
grow_points(struct live_series *series, size_t end)
{
    size_t capacity = capacity_for(series, end, series->point_capacity);

    series->points = mem_resize(series->points, capacity, sizeof(*series->points));
    for (size_t i = series->point_capacity; i < capacity; i++) {
        series->points[i] = (struct live_point){INT64_MIN, 0};
    }
    series->point_capacity = capacity;
}

static void
grow_names(struct live_series *series, size_t end)
{
    size_t capacity = capacity_for(series, end, series->name_capacity);

    series->names = mem_resize(series->names, capacity, sizeof(*series->names));
    memset(series->names + series->name_capacity, 0,
           (capacity - series->name_capacity) * sizeof(*series->names));
    series->name_capacity = capacity;
}

static struct slice
text_at(const struct batch *batch, int column, size_t row)
{
    return column < 0 ? slice_of("") : batch_get_text(batch, (size_t)column, row);
}

/* Copies name, symbol and labels of one series into the arena; false when they do not fit. */
static bool
keep_name(struct live_series *series, size_t id, struct slice name, struct slice symbol,
          struct slice labels)
{
    const struct slice parts[] = {name, symbol, labels};
    size_t total = name.len + symbol.len + labels.len;
    char *texts = total <= UINT32_MAX ? arena_alloc(&series->texts, total + 1) : NULL;

    if (!texts) {
        return false;
    }
    size_t used = 0;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (parts[i].len > 0) {
            memcpy(texts + used, parts[i].ptr, parts[i].len);
        }
        used += parts[i].len;
    }
    series->names[id] = (struct live_series_name){.texts = texts,
                                                  .name_len = (uint32_t)name.len,
                                                  .symbol_len = (uint32_t)symbol.len,
                                                  .labels_len = (uint32_t)labels.len};
    return true;
}

void
live_series_update_names(struct live *live, const struct batch *batch, size_t from, size_t to)
{
    struct live_series *series = &live->series;
    int id_column = batch_column_index(batch, slice_of("series_id"));
    int name = batch_column_index(batch, slice_of("metric_name"));
    int symbol = batch_column_index(batch, slice_of("symbol"));
    int labels = batch_column_index(batch, slice_of("labels"));

    for (size_t row = from; id_column >= 0 && row < to; row++) {
        int64_t id = batch_get_i64(batch, (size_t)id_column, row);
        if (id < 0 || (uint64_t)id >= series->max) {
            live->stats.series_refused++;
            continue;
        }
        if ((size_t)id >= series->name_capacity) {
            grow_names(series, (size_t)id + 1);
        }
        if (!series->names[id].texts &&
            !keep_name(series, (size_t)id, text_at(batch, name, row), text_at(batch, symbol, row),
                       text_at(batch, labels, row))) {
            live->stats.series_refused++;
        }
    }
}

static void
update_point(struct live *live, int64_t id, int64_t timestamp_us, double value, bool is_load)
{
    struct live_series *series = &live->series;

    if ((uint64_t)id >= series->point_capacity) {
        if (id < 0 || (uint64_t)id >= series->max) {
            live->stats.series_refused++;
            return;
        }
        grow_points(series, (size_t)id + 1);
    }
    struct live_point *point = &series->points[id];
    /* Records come in LSN order, so an equal time replaces; a load brings what is older. */
    if (timestamp_us < point->timestamp_us || (is_load && timestamp_us == point->timestamp_us)) {
        return;
    }
    series->known += point->timestamp_us == INT64_MIN && timestamp_us != INT64_MIN;
    *point = (struct live_point){timestamp_us, value};
    if ((size_t)id >= series->end) {
        series->end = (size_t)id + 1;
    }
}

void
live_series_update_points(struct live *live, const struct batch *batch, size_t from, size_t to,
                          bool is_load)
{
    int id = batch_column_index(batch, slice_of("series_id"));
    int time = batch_column_index(batch, slice_of("timestamp"));
    int value = batch_column_index(batch, slice_of("value"));

    if (id < 0 || time < 0 || value < 0) {
        return;
    }
    const struct column *ids = &batch->columns[id];
    const struct column *times = &batch->columns[time];
    const struct column *values = &batch->columns[value];
    if (ids->type == COL_INT32 && times->type == COL_TIMESTAMP && values->type == COL_DOUBLE) {
        for (size_t row = from; row < to; row++) {
            update_point(live, ids->i32[row], times->i64[row], values->f64[row], is_load);
        }
        return;
    }
    for (size_t row = from; row < to; row++) {
        update_point(live, batch_get_i64(batch, (size_t)id, row),
                     batch_get_i64(batch, (size_t)time, row),
                     batch_get_f64(batch, (size_t)value, row), is_load);
    }
}

/* Writes one series when it has a name that fits and a point; says whether it did. */
static bool
write_point(const struct live_series *series, size_t id, struct slice metric_name,
            struct json_writer *json)
{
    const struct live_point *point = &series->points[id];
    const struct live_series_name *name = id < series->name_capacity ? &series->names[id] : NULL;

    if (!name || !name->texts || point->timestamp_us == INT64_MIN) {
        return false;
    }
    struct slice metric = slice_make(name->texts, name->name_len);
    struct slice symbol = slice_make(name->texts + name->name_len, name->symbol_len);
    struct slice labels = slice_make(symbol.ptr + symbol.len, name->labels_len);
    if (metric_name.len > 0 && !slice_eq(metric, metric_name)) {
        return false;
    }
    json_object_begin(json);
    json_key(json, "metric_name");
    json_str(json, metric);
    json_key(json, "symbol");
    if (symbol.len > 0) {
        json_str(json, symbol);
    } else {
        json_write_null(json);
    }
    json_key(json, "labels");
    if (labels.len > 0) {
        json_raw(json, labels);
    } else {
        json_write_null(json);
    }
    json_key(json, "value");
    json_f64(json, point->value);
    json_key(json, "timestamp");
    json_time_us(json, point->timestamp_us);
    json_object_end(json);
    return true;
}

size_t
live_last_points(struct live *live, struct slice metric_name, size_t limit, struct buf *ret_json)
{
    struct json_writer json;
    size_t written = 0;
    size_t at = 0;
    bool more = true;

    json_init(&json, ret_json);
    json_array_begin(&json);
    while (more) {
        pthread_mutex_lock(&live->lock);
        size_t end = live->series.end;
        for (size_t i = 0; at < end && i < WALK_SERIES && !(limit && written == limit); i++) {
            written += write_point(&live->series, at++, metric_name, &json);
        }
        more = at < end && !(limit && written == limit) && !ret_json->overflow;
        pthread_mutex_unlock(&live->lock);
    }
    json_array_end(&json);
    return written;
}
