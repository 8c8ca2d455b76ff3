/* The newest durable value of every series: what came since the directory was opened, and, from the
 * first question on, what the store had. */
#include "base/mem.h"
#include "embed/embed_internal.h"

enum { SAMPLE_ID, SAMPLE_TIME, SAMPLE_VALUE, CAPACITY_MIN = 1024 };

void
last_init(struct last_values *last)
{
    pthread_mutex_init(&last->lock, NULL);
}

void
last_fini(struct last_values *last)
{
    pthread_mutex_destroy(&last->lock);
    free(last->by_id);
}

/* The place of a series, made if it is new. Called with the lock. */
static struct last_value *
place_of(struct last_values *last, int32_t id)
{
    size_t index = (size_t)id;

    if (index >= last->capacity) {
        size_t capacity = last->capacity ? last->capacity : CAPACITY_MIN;
        while (capacity <= index) {
            capacity *= 2;
        }
        last->by_id = mem_resize(last->by_id, capacity, sizeof(*last->by_id));
        memset(last->by_id + last->capacity, 0, (capacity - last->capacity) * sizeof(*last->by_id));
        last->capacity = capacity;
    }
    return &last->by_id[index];
}

/* Rows of `samples` in the order they were written. */
static void
take(struct last_values *last, const struct batch *samples, size_t id_column, size_t time_column,
     size_t value_column, uint64_t lsn)
{
    const int32_t *ids = samples->columns[id_column].i32;
    const int64_t *times = samples->columns[time_column].i64;
    const double *values = samples->columns[value_column].f64;

    for (size_t row = 0; row < samples->rows; row++) {
        if (ids[row] <= 0) {
            continue;
        }
        struct last_value *value = place_of(last, ids[row]);
        /* What the store had is older than what came since, unless its time is later. */
        bool newer = !value->known || times[row] > value->timestamp_us ||
                     (times[row] == value->timestamp_us && lsn >= value->lsn);
        if (newer) {
            *value = (struct last_value){times[row], values[row], lsn, true};
        }
    }
}

void
last_update(struct last_values *last, const struct batch *samples, uint64_t lsn)
{
    pthread_mutex_lock(&last->lock);
    take(last, samples, SAMPLE_ID, SAMPLE_TIME, SAMPLE_VALUE, lsn);
    pthread_mutex_unlock(&last->lock);
}

/* What the store has; all of it was applied when the ingest was opened. */
static enum eider_status
load(struct eider_db *db, struct eider_error *error)
{
    struct batch rows;
    struct err err = {0};

    if (engine_latest(db->engine, TABLE_SAMPLES, &rows, &err) != ERR_OK) {
        return embed_fail(error, &err);
    }
    int id = batch_column_index(&rows, slice_of("series_id"));
    int time = batch_column_index(&rows, slice_of("timestamp"));
    int value = batch_column_index(&rows, slice_of("value"));
    if (id < 0 || time < 0 || value < 0 || rows.columns[id].type != COL_INT32) {
        batch_fini(&rows);
        return embed_refuse(error, EIDER_INTERNAL, "last values have other columns");
    }
    pthread_mutex_lock(&db->last.lock);
    if (rows.rows > 0) {
        take(&db->last, &rows, (size_t)id, (size_t)time, (size_t)value, 0);
    }
    db->last.loaded = true;
    pthread_mutex_unlock(&db->last.lock);
    batch_fini(&rows);
    return EIDER_OK;
}

enum eider_status
eider_last(struct eider_db *db, const struct eider_series *series, struct eider_point *ret_point,
           struct eider_error *error)
{
    struct series_text text SERIES_TEXT_AUTO = {.labels_text = NULL};
    struct last_value found = {.known = false};
    enum eider_status status = series_text_init(&text, series, error);

    if (status != EIDER_OK) {
        return status;
    }
    pthread_mutex_lock(&db->last.lock);
    bool loaded = db->last.loaded;
    pthread_mutex_unlock(&db->last.lock);
    if (!loaded) {
        status = embed_check_wait("the first eider_last", error);
        status = status == EIDER_OK ? load(db, error) : status;
        if (status != EIDER_OK) {
            return status;
        }
    }
    int32_t id = ingest_find_series(db->ingest, text.name, text.symbol, text.labels);
    pthread_mutex_lock(&db->last.lock);
    if (id > 0 && (size_t)id < db->last.capacity) {
        found = db->last.by_id[id];
    }
    pthread_mutex_unlock(&db->last.lock);
    if (!found.known) {
        return embed_refuse(error, EIDER_NOT_FOUND, "no value of series \"%.*s\"",
                            SLICE_FMT(slice_sub(text.name, 0, 100)));
    }
    *ret_point = (struct eider_point){
        .timestamp_us = found.timestamp_us, .value = found.value, .lsn = found.lsn};
    return EIDER_OK;
}
