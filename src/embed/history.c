/* The history of one series: its values, and buckets of them. Every kind of store answers both by
 * the number of the series. */
#include <inttypes.h>
#include <stdio.h>

#include "codec/time.h"
#include "embed/embed_internal.h"

enum { SHOWN_BYTES = 100, ID_DIGITS_MAX = 12, BUCKET_US_MIN = 1000 };

static const int64_t BUCKET_US_MAX = INT64_C(366) * 86400 * TIME_US_PER_S;

/* A question that was checked. */
struct asked {
    char id[ID_DIGITS_MAX]; /* of the series, in decimal digits */
    struct slice value;     /* the same */
    struct store_scan scan;
};

static enum eider_status
check(struct eider_db *db, const struct eider_range *range, struct asked *asked,
      struct eider_error *error)
{
    struct series_text text SERIES_TEXT_AUTO = {.labels_text = NULL};

    if (!range) {
        return embed_refuse(error, EIDER_INVALID, "range is NULL");
    }
    enum eider_status status = EMBED_CHECK_RESERVED("range", range, error);
    if (status == EIDER_OK) {
        status = series_text_init(&text, &range->series, error);
    }
    if (status != EIDER_OK) {
        return status;
    }
    int32_t id = ingest_find_series(db->ingest, text.name, text.symbol, text.labels);
    if (id == 0) {
        return embed_refuse(error, EIDER_NOT_FOUND, "no series \"%.*s\"",
                            SLICE_FMT(slice_sub(text.name, 0, SHOWN_BYTES)));
    }
    snprintf(asked->id, sizeof(asked->id), "%" PRId32, id);
    asked->value = slice_of(asked->id);
    bool unbounded = range->from_us == 0 && range->to_us == 0;
    asked->scan = (struct store_scan){
        .table = TABLE_SAMPLES,
        .filters = {{"series_id", &asked->value, 1}},
        .filter_count = 1,
        .from_us = unbounded ? INT64_MIN : range->from_us,
        .to_us = unbounded ? INT64_MAX : range->to_us,
        .newest_first = range->newest_first,
        .limit = range->limit,
    };
    return EIDER_OK;
}

static uint64_t
column_bit(const char *name)
{
    return UINT64_C(1) << catalog_column_index(catalog_table(TABLE_SAMPLES), slice_of(name));
}

enum eider_status
eider_read_range(struct eider_db *db, const struct eider_range *range,
                 struct eider_batch **ret_batch, struct eider_error *error)
{
    struct asked asked;
    enum eider_status status = embed_check_wait("eider_read_range", error);

    if (status == EIDER_OK) {
        status = check(db, range, &asked, error);
    }
    if (status != EIDER_OK) {
        return status;
    }
    asked.scan.column_mask = column_bit("timestamp") | column_bit("value");
    return embed_scan(db, &asked.scan, ret_batch, error);
}

static enum eider_status
check_width(const struct eider_range *range, struct eider_error *error)
{
    if (range && (range->bucket_us < BUCKET_US_MIN || range->bucket_us > BUCKET_US_MAX)) {
        return embed_refuse(error, EIDER_INVALID, "bucket_us is %lld; expected %d to %lld",
                            (long long)range->bucket_us, BUCKET_US_MIN, (long long)BUCKET_US_MAX);
    }
    return EIDER_OK;
}

enum eider_status
eider_read_buckets(struct eider_db *db, const struct eider_range *range,
                   struct eider_batch **ret_batch, struct eider_error *error)
{
    static const struct store_aggregate aggregates[] = {
        {AGG_FIRST, "value", "first"}, {AGG_LAST, "value", "last"}, {AGG_MIN, "value", "min"},
        {AGG_MAX, "value", "max"},     {AGG_AVG, "value", "avg"},   {AGG_SUM, "value", "sum"},
        {AGG_COUNT, NULL, "count"},
    };
    struct asked asked;
    struct batch rows;
    struct err err = {0};
    enum eider_status status = embed_check_wait("eider_read_buckets", error);

    if (status == EIDER_OK) {
        status = check_width(range, error);
    }
    if (status == EIDER_OK) {
        status = check(db, range, &asked, error);
    }
    if (status != EIDER_OK) {
        return status;
    }
    struct store_bucket bucket = {.scan = asked.scan,
                                  .bucket_us = range->bucket_us,
                                  .aggregate_count = sizeof(aggregates) / sizeof(aggregates[0])};
    memcpy(bucket.aggregates, aggregates, sizeof(aggregates));
    if (engine_bucket(db->engine, &bucket, &rows, &err) != ERR_OK) {
        return embed_fail(error, &err);
    }
    *ret_batch = embed_batch_new(&rows, false);
    return EIDER_OK;
}
