/* Questions: SQL, rows of tables, and the history of a series. */
#include "codec/time.h"
#include "codec/utf8.h"
#include "embed/embed_internal.h"

enum { SHOWN_BYTES = 100 };

const struct catalog_table *
embed_table(const char *name, struct eider_error *error)
{
    struct slice text = slice_of(name);
    const struct catalog_table *table = text.len > 0 ? catalog_find(text) : NULL;

    if (!table) {
        const char *nearest = catalog_suggest_table(text);
        embed_refuse(error, EIDER_NOT_FOUND, "no table \"%.*s\"%s%s%s",
                     SLICE_FMT(slice_sub(text, 0, SHOWN_BYTES)), nearest ? "; did you mean \"" : "",
                     nearest ? nearest : "", nearest ? "\"?" : "");
    }
    return table;
}

static enum eider_status
convert_param(const struct eider_param *given, size_t number, struct store_param *ret_param,
              struct eider_error *error)
{
    switch (given->type) {
    case EIDER_PARAM_NULL:
        *ret_param = (struct store_param){.type = PARAM_NULL};
        return EIDER_OK;
    case EIDER_PARAM_BOOL:
        *ret_param = (struct store_param){.type = PARAM_BOOL, .i64 = given->int64 != 0};
        return EIDER_OK;
    case EIDER_PARAM_INT64:
        *ret_param = (struct store_param){.type = PARAM_I64, .i64 = given->int64};
        return EIDER_OK;
    case EIDER_PARAM_DOUBLE:
        *ret_param = (struct store_param){.type = PARAM_F64, .f64 = given->real};
        return EIDER_OK;
    case EIDER_PARAM_TEXT:
        *ret_param = (struct store_param){
            .type = PARAM_TEXT,
            .text = slice_make(given->text ? given->text : "", given->text ? given->text_len : 0)};
        if (!utf8_is_text(ret_param->text)) {
            return embed_refuse(error, EIDER_INVALID,
                                "parameter $%zu: expected UTF-8 text without NUL", number);
        }
        return EIDER_OK;
    case EIDER_PARAM_TIMESTAMP:
        if (!time_in_range(given->int64)) {
            return embed_refuse(error, EIDER_INVALID,
                                "parameter $%zu: expected microseconds in the years 1 to 9999, "
                                "got %lld",
                                number, (long long)given->int64);
        }
        *ret_param = (struct store_param){.type = PARAM_TIMESTAMP, .i64 = given->int64};
        return EIDER_OK;
    }
    return embed_refuse(error, EIDER_INVALID, "parameter $%zu: type %d is none", number,
                        (int)given->type);
}

enum eider_status
embed_query(struct eider_db *db, const struct eider_query *query, struct batch *ret_rows,
            bool *ret_truncated, struct eider_error *error)
{
    struct store_param params[EMBED_PARAMS_MAX];
    struct err err = {0};

    if (!query || !query->sql || (!query->params && query->param_count > 0)) {
        return embed_refuse(error, EIDER_INVALID, "%s is NULL",
                            !query        ? "query"
                            : !query->sql ? "sql"
                                          : "params");
    }
    if (query->param_count > EMBED_PARAMS_MAX || query->timeout_ms < 0) {
        return embed_refuse(error, EIDER_INVALID, "%s is %lld; expected %s",
                            query->timeout_ms < 0 ? "timeout_ms" : "param_count",
                            query->timeout_ms < 0 ? (long long)query->timeout_ms
                                                  : (long long)query->param_count,
                            query->timeout_ms < 0 ? "milliseconds from 0" : "at most 64");
    }
    enum eider_status status = EMBED_CHECK_RESERVED("query", query, error);
    if (status != EIDER_OK) {
        return status;
    }
    if (!db->has_sql) {
        return embed_refuse(error, EIDER_UNSUPPORTED,
                            "storage_type %s has no SQL; use eider_read_table, eider_read_range "
                            "and the others",
                            db->storage_type);
    }
    for (size_t i = 0; i < query->param_count; i++) {
        status = convert_param(&query->params[i], i + 1, &params[i], error);
        if (status != EIDER_OK) {
            return status;
        }
    }
    const struct store_sql sql = {.sql = slice_of(query->sql),
                                  .params = params,
                                  .param_count = query->param_count,
                                  .timeout_ms = query->timeout_ms,
                                  .rows_max = query->rows_max,
                                  .bytes_max = query->bytes_max};
    *ret_truncated = false;
    if (engine_sql(db->engine, &sql, ret_rows, ret_truncated, &err) != ERR_OK) {
        return embed_fail(error, &err);
    }
    return EIDER_OK;
}

enum eider_status
eider_query(struct eider_db *db, const struct eider_query *query, struct eider_batch **ret_batch,
            struct eider_error *error)
{
    struct batch rows;
    bool truncated = false;
    enum eider_status status = embed_check_wait("eider_query", error);

    if (status == EIDER_OK) {
        status = embed_query(db, query, &rows, &truncated, error);
    }
    if (status == EIDER_OK) {
        *ret_batch = embed_batch_new(&rows, truncated);
    }
    return status;
}

enum eider_status
embed_scan(struct eider_db *db, const struct store_scan *scan, struct eider_batch **ret_batch,
           struct eider_error *error)
{
    struct batch rows;
    struct err err = {0};

    if (engine_scan(db->engine, scan, &rows, &err) != ERR_OK) {
        return embed_fail(error, &err);
    }
    *ret_batch = embed_batch_new(&rows, false);
    return EIDER_OK;
}

enum eider_status
eider_read_table(struct eider_db *db, const struct eider_read *read, struct eider_batch **ret_batch,
                 struct eider_error *error)
{
    enum eider_status status = embed_check_wait("eider_read_table", error);

    if (status != EIDER_OK) {
        return status;
    }
    if (!read) {
        return embed_refuse(error, EIDER_INVALID, "read is NULL");
    }
    status = EMBED_CHECK_RESERVED("read", read, error);
    if (status != EIDER_OK) {
        return status;
    }
    if (read->timeout_ms < 0) {
        return embed_refuse(error, EIDER_INVALID, "timeout_ms is %d; expected milliseconds from 0",
                            read->timeout_ms);
    }
    const struct catalog_table *table = embed_table(read->table, error);
    if (!table) {
        return EIDER_NOT_FOUND;
    }
    bool unbounded = read->from_us == 0 && read->to_us == 0;
    struct store_scan scan = {
        .table = table->id,
        .from_us = unbounded ? INT64_MIN : read->from_us,
        .to_us = unbounded ? INT64_MAX : read->to_us,
        .newest_first = read->newest_first,
        .limit = read->limit,
        .offset = read->offset,
        .timeout_ms = read->timeout_ms,
    };
    const struct slice value = slice_of(read->value);
    if (read->column) {
        int at = catalog_column_index(table, slice_of(read->column));
        if (at == CATALOG_NONE || table->columns[at].type != COL_TEXT) {
            return embed_refuse(error, EIDER_INVALID,
                                "column \"%.100s\": expected a text column of %s", read->column,
                                table->name);
        }
        if (!read->value || !utf8_is_text(value)) {
            return embed_refuse(error, EIDER_INVALID, "value is %s; expected what column %s has",
                                read->value ? "no UTF-8 text" : "NULL", table->columns[at].name);
        }
        scan.filters[0] = (struct store_filter){read->column, &value, 1};
        scan.filter_count = 1;
    }
    return embed_scan(db, &scan, ret_batch, error);
}

static void
set_name(struct batch *batch, size_t column, size_t row, struct slice text, bool copy)
{
    if (text.len > 0) {
        batch_set_text(batch, column, row, copy ? batch_keep_text(batch, text) : text);
    }
}

void
embed_name_samples(struct eider_db *db, const struct batch *samples, bool copy,
                   struct batch *ret_metrics)
{
    int id = batch_column_index(samples, slice_of("series_id"));
    int time = batch_column_index(samples, slice_of("timestamp"));
    int value = batch_column_index(samples, slice_of("value"));
    struct slice name, symbol, labels;

    batch_init(ret_metrics, catalog_table(TABLE_METRICS), SIZE_MAX);
    for (size_t i = 0; i < samples->rows && id >= 0 && time >= 0 && value >= 0; i++) {
        int32_t series = (int32_t)batch_get_i64(samples, (size_t)id, i);
        if (!ingest_series(db->ingest, series, &name, &symbol, &labels)) {
            continue;
        }
        size_t row = batch_add_row(ret_metrics);
        batch_set_i64(ret_metrics, 0, row, batch_get_i64(samples, (size_t)time, i));
        set_name(ret_metrics, 1, row, name, copy);
        batch_set_f64(ret_metrics, 2, row, batch_get_f64(samples, (size_t)value, i));
        set_name(ret_metrics, 3, row, symbol, copy);
        set_name(ret_metrics, 4, row, labels, copy);
    }
}

enum eider_status
eider_read_latest(struct eider_db *db, const char *table_name, struct eider_batch **ret_batch,
                  struct eider_error *error)
{
    struct batch rows, named;
    struct err err = {0};
    enum eider_status status = embed_check_wait("eider_read_latest", error);

    if (status != EIDER_OK) {
        return status;
    }
    const struct catalog_table *table = embed_table(table_name, error);
    if (!table) {
        return EIDER_NOT_FOUND;
    }
    bool is_metrics = table->id == TABLE_METRICS;
    enum table_id id = is_metrics ? TABLE_SAMPLES : table->id;
    if (engine_latest(db->engine, id, &rows, &err) != ERR_OK) {
        return embed_fail(error, &err);
    }
    if (is_metrics) {
        embed_name_samples(db, &rows, true, &named);
        batch_fini(&rows);
        rows = named;
    }
    *ret_batch = embed_batch_new(&rows, false);
    return EIDER_OK;
}
