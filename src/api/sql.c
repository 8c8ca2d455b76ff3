/* POST /api/v1/sql: one read-only statement in the store's sandbox; JSON, NDJSON or CSV. */
#include "api/api_private.h"

static enum err_code
read_param(const json_t *value, size_t index, struct store_param *ret_param, struct err *err)
{
    if (json_is_null(value)) {
        ret_param->type = PARAM_NULL;
    } else if (json_is_boolean(value)) {
        ret_param->type = PARAM_BOOL;
        ret_param->i64 = json_is_true(value);
    } else if (json_is_integer(value)) {
        ret_param->type = PARAM_I64;
        ret_param->i64 = json_integer_value(value);
    } else if (json_is_real(value)) {
        ret_param->type = PARAM_F64;
        ret_param->f64 = json_real_value(value);
    } else if (json_is_string(value)) {
        ret_param->type = PARAM_TEXT;
        ret_param->text = slice_make(json_string_value(value), json_string_length(value));
    } else {
        return err_set(err, ERR_INVALID,
                       "params[%zu]: expected null, a boolean, a number or a text", index);
    }
    return ERR_OK;
}

static enum err_code
read_statement(const struct api *api, const json_t *object, struct store_param *params,
               struct store_sql *ret_sql, struct err *err)
{
    const json_t *text = json_object_get(object, "sql");
    const json_t *list = json_object_get(object, "params");
    size_t index;
    json_t *item;

    if (!json_is_string(text)) {
        return err_set(err, ERR_INVALID, "sql: expected a text with one SELECT statement");
    }
    *ret_sql = (struct store_sql){
        .sql = slice_make(json_string_value(text), json_string_length(text)),
        .params = params,
        .rows_max = api->options.sql_rows_max,
        .bytes_max = api->options.sql_bytes_max,
    };
    if (!list || json_is_null(list)) {
        return ERR_OK;
    }
    if (!json_is_array(list) || json_array_size(list) > STORE_PARAMS_MAX) {
        return err_set(err, ERR_INVALID, "params: expected a list of at most %d values",
                       STORE_PARAMS_MAX);
    }
    json_array_foreach(list, index, item)
    {
        enum err_code code = read_param(item, index, &params[index], err);
        if (code != ERR_OK) {
            return code;
        }
    }
    ret_sql->param_count = json_array_size(list);
    return ERR_OK;
}

static void
write_json(struct http_exchange *exchange, const struct batch *rows, bool truncated,
           int64_t elapsed_us)
{
    struct json_writer w;

    reply_json(exchange, &w);
    json_object_begin(&w);
    json_key(&w, "columns");
    json_array_begin(&w);
    for (size_t column = 0; column < rows->column_count; column++) {
        json_object_begin(&w);
        json_key(&w, "name");
        json_cstr(&w, rows->columns[column].name);
        json_key(&w, "type");
        json_cstr(&w, catalog_sql_type(rows->columns[column].type));
        json_object_end(&w);
    }
    json_array_end(&w);
    json_key(&w, "rows");
    json_array_begin(&w);
    for (size_t row = 0; row < rows->rows; row++) {
        json_array_begin(&w);
        for (size_t column = 0; column < rows->column_count; column++) {
            batch_json_value(&w, rows, column, row);
        }
        json_array_end(&w);
    }
    json_array_end(&w);
    json_key(&w, "row_count");
    json_u64(&w, rows->rows);
    json_key(&w, "truncated");
    json_bool(&w, truncated);
    json_key(&w, "elapsed_ms");
    json_f64(&w, (double)elapsed_us / 1000);
    json_object_end(&w);
}

void
post_sql(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct store_param params[STORE_PARAMS_MAX] = {0};
    struct store_sql sql;
    struct batch rows;
    bool truncated = false;
    json_t *object;
    struct err err;

    (void)route;
    if (request_json(exchange, &object, &err) != ERR_OK) {
        reply_error(exchange, &err, 0);
        return;
    }
    int64_t start_us = clock_mono_us(api->clock);
    enum err_code code = read_statement(api, object, params, &sql, &err);
    if (code == ERR_OK) {
        sql.cancel = request_cancel(exchange);
        code = engine_sql(api->engine, &sql, &rows, &truncated, &err);
    }
    json_decref(object);
    if (code != ERR_OK) {
        reply_error(exchange, &err, code == ERR_UNAVAILABLE || code == ERR_BUSY ? 1 : 0);
        return;
    }
    if (truncated) {
        http_add_header(exchange, "X-Eider-Truncated", slice_of("true"));
    }
    if (request_accepts(exchange, "text/csv")) {
        http_set_content_type(exchange, "text/csv; charset=utf-8");
        batch_csv_header(http_out(exchange), &rows);
        batch_csv_rows(http_out(exchange), &rows);
    } else if (request_accepts(exchange, "application/x-ndjson")) {
        http_set_content_type(exchange, "application/x-ndjson");
        batch_ndjson(http_out(exchange), &rows);
    } else {
        write_json(exchange, &rows, truncated, clock_mono_us(api->clock) - start_us);
    }
    batch_fini(&rows);
    http_reply(exchange);
}
