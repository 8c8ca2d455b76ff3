/*
 * The history of one series: its values, and buckets of them. A store that speaks SQL is asked by
 * the number of the series; of the memory store all samples are looked through, which is bounded by
 * its size.
 *
 * Buckets are multiples of the width from 2000-01-03, as everywhere (store.h).
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "codec/time.h"
#include "embed/embed_internal.h"

enum { SQL_BYTES = 1024, NAMES_BYTES_MAX = 4096, BUCKET_US_MIN = 1000 };

static const int64_t BUCKET_US_MAX = INT64_C(366) * 86400 * TIME_US_PER_S;
static const int64_t BUCKET_ORIGIN_US = INT64_C(946857600) * TIME_US_PER_S; /* 2000-01-03 */
static const uint64_t ANSWER_BYTES_MAX = UINT64_C(1) << 30;

/* A question that was checked. */
struct asked {
    int32_t series_id;
    int64_t from_us;
    int64_t to_us;
    int64_t bucket_us; /* 0: values */
    bool newest_first;
    uint64_t limit;
};

static int64_t
clamp(int64_t us)
{
    return us < TIME_MIN_US ? TIME_MIN_US : us > TIME_MAX_US ? TIME_MAX_US : us;
}

static enum eider_status
check(struct eider_db *db, const struct eider_range *range, struct asked *ret_asked,
      struct eider_error *error)
{
    struct series_text text SERIES_TEXT_AUTO = {.labels_text = NULL};

    if (!range) {
        return embed_refuse(error, EIDER_INVALID, "range is NULL");
    }
    enum eider_status status = series_text_init(&text, &range->series, error);

    if (status != EIDER_OK) {
        return status;
    }
    bool unbounded = range->from_us == 0 && range->to_us == 0;
    *ret_asked = (struct asked){
        .series_id = ingest_find_series(db->ingest, text.name, text.symbol, text.labels),
        .from_us = unbounded ? TIME_MIN_US : clamp(range->from_us),
        .to_us = unbounded ? TIME_MAX_US : clamp(range->to_us),
        .newest_first = range->newest_first,
        .limit = range->limit > 0 && range->limit < BATCH_ROWS_MAX ? range->limit : BATCH_ROWS_MAX,
    };
    if (ret_asked->series_id == 0) {
        return embed_refuse(error, EIDER_NOT_FOUND, "no series \"%.*s\"",
                            SLICE_FMT(slice_sub(text.name, 0, 100)));
    }
    return EIDER_OK;
}

static enum eider_status
ask_sql(struct eider_db *db, const struct asked *asked, struct eider_batch **ret_batch,
        struct eider_error *error)
{
    char sql[SQL_BYTES];
    struct batch rows;
    bool truncated = false;
    const struct eider_param params[] = {
        {.type = EIDER_PARAM_INT64, .int64 = asked->series_id},
        {.type = EIDER_PARAM_TIMESTAMP, .int64 = asked->from_us},
        {.type = EIDER_PARAM_TIMESTAMP, .int64 = asked->to_us},
    };
    const struct eider_query query = {.sql = sql,
                                      .params = params,
                                      .param_count = 3,
                                      .rows_max = BATCH_ROWS_MAX,
                                      .bytes_max = ANSWER_BYTES_MAX};
    static const char from[] = "FROM samples WHERE series_id = $1 AND \"timestamp\" >= $2 AND "
                               "\"timestamp\" <= $3";
    const char *order = asked->newest_first ? "DESC" : "ASC";

    if (asked->bucket_us > 0) {
        snprintf(sql, sizeof(sql),
                 "SELECT time_bucket(to_microseconds(%" PRId64 "), \"timestamp\") AS \"timestamp\","
                 " arg_min(value, \"timestamp\") AS \"first\", arg_max(value, \"timestamp\") AS "
                 "\"last\", min(value) AS \"min\", max(value) AS \"max\", avg(value) AS \"avg\", "
                 "sum(value) AS \"sum\", count(*) AS \"count\" %s GROUP BY 1 ORDER BY 1 %s LIMIT "
                 "%" PRIu64,
                 asked->bucket_us, from, order, asked->limit);
    } else {
        snprintf(sql, sizeof(sql),
                 "SELECT \"timestamp\", value %s ORDER BY \"timestamp\" %s LIMIT %" PRIu64, from,
                 order, asked->limit);
    }
    enum eider_status status = embed_query(db, &query, &rows, &truncated, error);
    if (status == EIDER_OK) {
        *ret_batch = embed_batch_new(&rows, truncated);
    }
    return status;
}

struct sample {
    int64_t time_us;
    double value;
    size_t order; /* among equal times */
};

struct samples {
    const struct asked *asked;
    struct sample *items;
    size_t count;
    size_t capacity;
};

static enum err_code
gather(void *ctx, const struct batch *rows, struct err *err)
{
    struct samples *samples = ctx;
    int id = batch_column_index(rows, slice_of("series_id"));
    int time = batch_column_index(rows, slice_of("timestamp"));
    int value = batch_column_index(rows, slice_of("value"));

    if (id < 0 || time < 0 || value < 0) {
        return err_set(err, ERR_INTERNAL, "samples have other columns");
    }
    for (size_t i = 0; i < rows->rows; i++) {
        if (batch_get_i64(rows, (size_t)id, i) != samples->asked->series_id) {
            continue;
        }
        if (samples->count == samples->capacity) {
            samples->capacity = samples->capacity ? 2 * samples->capacity : 256;
            samples->items = mem_resize(samples->items, samples->capacity, sizeof(*samples->items));
        }
        samples->items[samples->count] =
            (struct sample){batch_get_i64(rows, (size_t)time, i),
                            batch_get_f64(rows, (size_t)value, i), samples->count};
        samples->count++;
    }
    return ERR_OK;
}

static int
oldest_first(const void *a, const void *b)
{
    const struct sample *x = a;
    const struct sample *y = b;

    if (x->time_us != y->time_us) {
        return x->time_us < y->time_us ? -1 : 1;
    }
    return x->order < y->order ? -1 : x->order > y->order;
}

static void
add_values(const struct samples *samples, struct batch *rows)
{
    const struct asked *asked = samples->asked;

    batch_add_column(rows, slice_of("timestamp"), COL_TIMESTAMP);
    batch_add_column(rows, slice_of("value"), COL_DOUBLE);
    for (size_t i = 0; i < samples->count && rows->rows < asked->limit; i++) {
        const struct sample *s = &samples->items[asked->newest_first ? samples->count - 1 - i : i];
        size_t row = batch_add_row(rows);
        batch_set_i64(rows, 0, row, s->time_us);
        batch_set_f64(rows, 1, row, s->value);
    }
}

static int64_t
bucket_of(int64_t time_us, int64_t width_us)
{
    int64_t since = time_us - BUCKET_ORIGIN_US;
    int64_t rest = since % width_us;

    return time_us - (rest < 0 ? rest + width_us : rest);
}

/* As SQL orders doubles: NaN is the largest. */
static bool
is_less(double a, double b)
{
    return isnan(b) ? !isnan(a) : a < b;
}

static void
add_bucket(struct batch *rows, const struct sample *first, size_t count, int64_t width_us)
{
    size_t row = batch_add_row(rows);
    double min = first->value, max = first->value, sum = 0;
    size_t last = count - 1;

    for (size_t i = 0; i < count; i++) {
        min = is_less(first[i].value, min) ? first[i].value : min;
        max = is_less(max, first[i].value) ? first[i].value : max;
        sum += first[i].value;
    }
    /* Of several values with the last time the first counts, as in SQL. */
    while (last > 0 && first[last - 1].time_us == first[last].time_us) {
        last--;
    }
    const double values[] = {first->value, first[last].value, min, max, sum / (double)count, sum};
    batch_set_i64(rows, 0, row, bucket_of(first->time_us, width_us));
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        batch_set_f64(rows, 1 + i, row, values[i]);
    }
    batch_set_i64(rows, 7, row, (int64_t)count);
}

static void
add_buckets(const struct samples *samples, struct batch *rows)
{
    static const char *const names[] = {"first", "last", "min", "max", "avg", "sum"};
    const struct asked *asked = samples->asked;
    size_t left = samples->count;
    size_t at = 0;

    batch_add_column(rows, slice_of("timestamp"), COL_TIMESTAMP);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        batch_add_column(rows, slice_of(names[i]), COL_DOUBLE);
    }
    batch_add_column(rows, slice_of("count"), COL_INT64);
    while (left > 0 && rows->rows < asked->limit) {
        size_t edge = asked->newest_first ? left - 1 : at;
        int64_t bucket = bucket_of(samples->items[edge].time_us, asked->bucket_us);
        size_t count = 1;
        for (; count < left; count++) {
            size_t next = asked->newest_first ? left - 1 - count : at + count;
            if (bucket_of(samples->items[next].time_us, asked->bucket_us) != bucket) {
                break;
            }
        }
        size_t first = asked->newest_first ? left - count : at;
        add_bucket(rows, &samples->items[first], count, asked->bucket_us);
        left -= count;
        at += count;
    }
}

static enum eider_status
ask_visit(struct eider_db *db, const struct asked *asked, struct eider_batch **ret_batch,
          struct eider_error *error)
{
    const struct store_scan scan = {
        .table = TABLE_SAMPLES, .from_us = asked->from_us, .to_us = asked->to_us};
    struct samples samples = {.asked = asked};
    struct batch rows;
    struct err err = {0};
    enum err_code code = engine_visit(db->engine, &scan, gather, &samples, &err);

    if (code == ERR_OK) {
        if (samples.count > 0) {
            qsort(samples.items, samples.count, sizeof(*samples.items), oldest_first);
        }
        batch_init_answer(&rows, NAMES_BYTES_MAX);
        if (asked->bucket_us > 0) {
            add_buckets(&samples, &rows);
        } else {
            add_values(&samples, &rows);
        }
        *ret_batch = embed_batch_new(&rows, false);
    }
    free(samples.items);
    return code == ERR_OK ? EIDER_OK : embed_fail(error, &err);
}

static enum eider_status
ask(struct eider_db *db, const struct asked *asked, struct eider_batch **ret_batch,
    struct eider_error *error)
{
    return db->has_sql ? ask_sql(db, asked, ret_batch, error)
                       : ask_visit(db, asked, ret_batch, error);
}

enum eider_status
eider_read_range(struct eider_db *db, const struct eider_range *range,
                 struct eider_batch **ret_batch, struct eider_error *error)
{
    struct asked asked = {.series_id = 0};
    enum eider_status status = embed_check_wait("eider_read_range", error);

    if (status == EIDER_OK) {
        status = check(db, range, &asked, error);
    }
    return status == EIDER_OK ? ask(db, &asked, ret_batch, error) : status;
}

enum eider_status
eider_read_buckets(struct eider_db *db, const struct eider_range *range,
                   struct eider_batch **ret_batch, struct eider_error *error)
{
    struct asked asked = {.series_id = 0};
    enum eider_status status = embed_check_wait("eider_read_buckets", error);

    if (status == EIDER_OK && !range) {
        status = embed_refuse(error, EIDER_INVALID, "range is NULL");
    }
    if (status == EIDER_OK &&
        (range->bucket_us < BUCKET_US_MIN || range->bucket_us > BUCKET_US_MAX)) {
        status = embed_refuse(error, EIDER_INVALID, "bucket_us is %lld; expected %d to %lld",
                              (long long)range->bucket_us, BUCKET_US_MIN, (long long)BUCKET_US_MAX);
    }
    if (status == EIDER_OK) {
        status = check(db, range, &asked, error);
    }
    if (status != EIDER_OK) {
        return status;
    }
    asked.bucket_us = range->bucket_us;
    return ask(db, &asked, ret_batch, error);
}
