/* /api/metrics: the current snapshot, history, symbols, summary; last points and candles. */
#include "api/answer_cache.h"
#include "api/api_private.h"
#include "codec/time.h"
#include "query/query.h"

enum {
    US_PER_MS = 1000,
    ROWS_MAX = 100000,
    SYMBOLS_MAX = 256,
    CANDLES_DEFAULT = 1000,
    LAST_POINTS_MAX = 100000
};

static const int64_t hour_us = 3600LL * 1000 * US_PER_MS;
static const int64_t minute_us = 60LL * 1000 * US_PER_MS;

void
get_current(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    (void)route;
    http_set_content_type(exchange, "application/json");
    live_snapshot(api->live, LIVE_TOPICS_DEFAULT, false, http_out(exchange));
    http_reply(exchange);
}

void
get_summary(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    (void)route;
    http_set_content_type(exchange, "application/json");
    live_summary(api->live, http_out(exchange));
    http_reply(exchange);
}

void
get_symbols(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct buf *out = http_out(exchange);

    (void)route;
    http_set_content_type(exchange, "application/json");
    buf_add_cstr(out, "{\"symbols\":");
    size_t count = live_symbols(api->live, out);
    buf_add_cstr(out, ",\"count\":");
    buf_add_u64(out, count);
    buf_add_char(out, '}');
    http_reply(exchange);
}

void
get_last_points(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct buf *out = http_out(exchange);
    struct slice name = {"", 0};
    int64_t limit;
    struct err err;

    (void)route;
    http_query(exchange, "metric_name", &name);
    if (request_int(exchange, "limit", 1, LAST_POINTS_MAX, ROWS_MAX, &limit, &err) != ERR_OK) {
        reply_error(exchange, &err, 0);
        return;
    }
    http_set_content_type(exchange, "application/json");
    buf_add_cstr(out, "{\"points\":");
    size_t count = live_last_points(api->live, name, (size_t)limit, out);
    buf_add_cstr(out, ",\"count\":");
    buf_add_u64(out, count);
    buf_add_char(out, '}');
    http_reply(exchange);
}

/* What POST /api/metrics/history asks for. */
struct history {
    struct query_range range;
    bool ends_now; /* the range was given by its width, or without an end */
    int64_t bucket_us;
    const char *interval;
    bool market, strategy, execution, system, trades;
    struct slice symbols[SYMBOLS_MAX];
    size_t symbol_count;
};

static enum err_code
bad_field(struct err *err, const char *field, const char *expected)
{
    return err_set(err, ERR_INVALID, "%s: expected %s", field, expected);
}

static enum err_code
read_text(const json_t *object, const char *field, struct slice *ret_text, struct err *err)
{
    const json_t *value = json_object_get(object, field);

    *ret_text = (struct slice){"", 0};
    if (!value || json_is_null(value)) {
        return ERR_OK;
    }
    if (!json_is_string(value)) {
        return bad_field(err, field, "a text");
    }
    *ret_text = slice_make(json_string_value(value), json_string_length(value));
    return ERR_OK;
}

static enum err_code
read_time(const json_t *object, const char *field, int64_t fallback, int64_t *ret_us,
          struct err *err)
{
    struct slice text;
    enum err_code code = read_text(object, field, &text, err);

    if (code != ERR_OK) {
        return code;
    }
    if (text.len == 0) {
        *ret_us = fallback;
        return ERR_OK;
    }
    if (!time_parse_iso8601(text, ret_us)) {
        return err_set(err, ERR_INVALID, "%s is \"%.*s\"; expected an ISO 8601 time", field,
                       SLICE_FMT(slice_sub(text, 0, 60)));
    }
    return ERR_OK;
}

static enum err_code
read_types(const json_t *types, struct history *history, struct err *err)
{
    size_t index;
    json_t *item;

    if (!types || json_is_null(types) || (json_is_array(types) && json_array_size(types) == 0)) {
        history->market = true;
        history->strategy = true;
        return ERR_OK;
    }
    if (!json_is_array(types)) {
        return bad_field(err, "metric_types", "a list of texts");
    }
    json_array_foreach(types, index, item)
    {
        const char *type = json_is_string(item) ? json_string_value(item) : "";
        if (strcmp(type, "market_data") == 0) {
            history->market = true;
        } else if (strcmp(type, "strategy") == 0) {
            history->strategy = true;
        } else if (strcmp(type, "execution") == 0) {
            history->execution = true;
        } else if (strcmp(type, "system") == 0) {
            history->system = true;
        } else if (strcmp(type, "trades") == 0) {
            history->trades = true;
        } else {
            return err_set(err, ERR_INVALID,
                           "metric_types holds \"%.60s\"; expected market_data, strategy, "
                           "execution, system or trades",
                           type);
        }
    }
    return ERR_OK;
}

static enum err_code
add_symbol(struct history *history, const json_t *value, const char *field, struct err *err)
{
    if (!json_is_string(value)) {
        return bad_field(err, field, "a text");
    }
    if (history->symbol_count == SYMBOLS_MAX) {
        return err_set(err, ERR_TOO_LARGE, "symbols: expected at most %d", SYMBOLS_MAX);
    }
    history->symbols[history->symbol_count++] =
        slice_make(json_string_value(value), json_string_length(value));
    return ERR_OK;
}

/* Both spellings: `symbols` of the model and `symbol` of the documentation. */
static enum err_code
read_symbols(const json_t *object, struct history *history, struct err *err)
{
    const json_t *one = json_object_get(object, "symbol");
    const json_t *many = json_object_get(object, "symbols");
    size_t index;
    json_t *item;

    if (one && !json_is_null(one)) {
        enum err_code code = add_symbol(history, one, "symbol", err);
        if (code != ERR_OK) {
            return code;
        }
    }
    if (!many || json_is_null(many)) {
        return ERR_OK;
    }
    if (!json_is_array(many)) {
        return bad_field(err, "symbols", "a list of texts");
    }
    json_array_foreach(many, index, item)
    {
        enum err_code code = add_symbol(history, item, "symbols", err);
        if (code != ERR_OK) {
            return code;
        }
    }
    return ERR_OK;
}

static const char *
interval_name(int64_t width_us)
{
    switch (width_us / (60LL * 1000 * US_PER_MS)) {
    case 1:
        return "1m";
    case 15:
        return "15m";
    case 60:
        return "1h";
    case 1440:
        return "1d";
    default:
        return "5m";
    }
}

static enum err_code
read_range(const struct api *api, const json_t *object, struct query_range *ret_range,
           bool *ret_ends_now, struct err *err)
{
    int64_t now = clock_wall_us(api->clock);
    int64_t width_us;
    struct slice text;
    enum err_code code = read_text(object, "time_range", &text, err);

    if (code == ERR_OK && text.len > 0) {
        code = query_parse_range(text, &width_us, err);
        if (code == ERR_OK) {
            *ret_range = (struct query_range){.from_us = now - width_us, .to_us = now};
            *ret_ends_now = true;
        }
        return code;
    }
    if (code == ERR_OK) {
        code = read_time(object, "end_time", now, &ret_range->to_us, err);
        *ret_ends_now = code == ERR_OK && ret_range->to_us == now;
    }
    if (code == ERR_OK) {
        code =
            read_time(object, "start_time", ret_range->to_us - hour_us, &ret_range->from_us, err);
    }
    if (code == ERR_OK && ret_range->from_us > ret_range->to_us) {
        return err_set(err, ERR_INVALID, "start_time is after end_time");
    }
    return code;
}

static enum err_code
read_history(const struct api *api, const json_t *object, struct history *ret_history,
             struct err *err)
{
    struct slice interval;
    enum err_code code = read_range(api, object, &ret_history->range, &ret_history->ends_now, err);

    if (code == ERR_OK) {
        code = read_text(object, "interval", &interval, err);
    }
    if (code == ERR_OK) {
        code = query_parse_interval(interval.len > 0 ? interval : slice_of("5m"),
                                    &ret_history->bucket_us, err);
    }
    if (code == ERR_OK) {
        ret_history->interval = interval_name(ret_history->bucket_us);
        code = read_types(json_object_get(object, "metric_types"), ret_history, err);
    }
    if (code == ERR_OK) {
        code = read_symbols(object, ret_history, err);
    }
    return code;
}

static enum err_code
write_raw(struct api *api, const struct history *history, enum table_id table, const char *type,
          struct json_writer *w, size_t *count, struct err *err)
{
    struct batch rows;
    enum err_code code = query_rows(api->engine, table, &history->range, ROWS_MAX, &rows, err);

    if (code == ERR_OK) {
        reply_rows(w, &rows, type);
        *count += rows.rows;
        batch_fini(&rows);
    }
    return code;
}

static enum err_code
write_history(struct api *api, const struct history *history, struct json_writer *w,
              size_t *ret_count, struct err *err)
{
    const struct {
        bool wanted;
        enum table_id table;
        const char *type;
    } raw[] = {{history->strategy, TABLE_STRATEGY_METRICS, "strategy"},
               {history->execution, TABLE_EXECUTION_METRICS, "execution"},
               {history->system, TABLE_SYSTEM_METRICS, "system"},
               {history->trades, TABLE_TRADES, "trades"}};
    size_t count = 0;
    enum err_code code = ERR_OK;

    if (history->market) {
        struct batch rows;
        code = query_market_history(api->engine, &history->range, history->bucket_us,
                                    history->symbols, history->symbol_count, ROWS_MAX, &rows, err);
        if (code == ERR_OK) {
            reply_rows(w, &rows, "market_data");
            count += rows.rows;
            batch_fini(&rows);
        }
    }
    for (size_t i = 0; i < sizeof(raw) / sizeof(raw[0]) && code == ERR_OK; i++) {
        if (raw[i].wanted) {
            code = write_raw(api, history, raw[i].table, raw[i].type, w, &count, err);
        }
    }
    *ret_count = count;
    return code;
}

/* The growth of a total in the first bucket needs the row before it (query_market_history). */
static int64_t
before_range(const struct history *history)
{
    int64_t back_us = history->bucket_us > 5 * minute_us ? history->bucket_us : 5 * minute_us;
    int64_t from_us = history->range.from_us;

    return from_us < INT64_MIN + back_us ? INT64_MIN : from_us - back_us;
}

static void
note_basis(struct api *api, const struct history *history, struct answer_basis *basis)
{
    const struct query_range *range = &history->range;

    if (history->market) {
        cached_part(basis, TABLE_MARKET_DATA, before_range(history), range->to_us);
    }
    if (history->strategy) {
        cached_part(basis, TABLE_STRATEGY_METRICS, range->from_us, range->to_us);
    }
    if (history->execution) {
        cached_part(basis, TABLE_EXECUTION_METRICS, range->from_us, range->to_us);
    }
    if (history->system) {
        cached_part(basis, TABLE_SYSTEM_METRICS, range->from_us, range->to_us);
    }
    if (history->trades) {
        cached_part(basis, TABLE_TRADES, range->from_us, range->to_us);
    }
    if (history->ends_now) {
        cached_until_now(api, basis);
    }
}

/* Answers what `object` asks for, and ends it. */
static void
answer_history(struct api *api, struct http_exchange *exchange, json_t *object)
{
    struct answer_basis basis;
    struct history history = {0};
    struct json_writer w;
    size_t count = 0;
    struct err err;

    enum err_code code = read_history(api, object, &history, &err);
    cached_begin(api, &basis);
    note_basis(api, &history, &basis);
    history.range.cancel = request_cancel(exchange);
    if (code == ERR_OK) {
        reply_json(exchange, &w);
        json_object_begin(&w);
        json_key(&w, "start_time");
        json_time_us(&w, history.range.from_us);
        json_key(&w, "end_time");
        json_time_us(&w, history.range.to_us);
        json_key(&w, "interval");
        json_cstr(&w, history.interval);
        json_key(&w, "data");
        json_array_begin(&w);
        code = write_history(api, &history, &w, &count, &err);
        json_array_end(&w);
        json_key(&w, "count");
        json_u64(&w, count);
        json_object_end(&w);
    }
    json_decref(object); /* the symbols of `history` point into it */
    if (code != ERR_OK) {
        reply_error(exchange, &err, 0);
        return;
    }
    cached_reply(api, exchange, &basis);
}

void
post_history(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    json_t *object;
    struct err err;

    (void)route;
    if (request_json(exchange, &object, &err) != ERR_OK) {
        reply_error(exchange, &err, 0);
        return;
    }
    answer_history(api, exchange, object);
}

/* The items of a comma-separated parameter as a JSON list. */
static json_t *
list_of(struct slice text)
{
    json_t *list = json_array();
    struct slice item;

    for (bool more = true; more;) {
        more = slice_split(&text, ',', &item);
        item = slice_trim(item);
        json_array_append_new(list, json_stringn(item.ptr, item.len));
    }
    return list;
}

/* The same question as the POST's, as parameters: what a cache can keep. */
void
get_history(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    static const char *const texts[] = {"start_time", "end_time", "time_range", "interval",
                                        "symbol"};
    static const char *const lists[] = {"symbols", "metric_types"};
    json_t *object = json_object();
    struct slice text;

    (void)route;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (http_query(exchange, texts[i], &text)) {
            json_object_set_new(object, texts[i], json_stringn(text.ptr, text.len));
        }
    }
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        if (http_query(exchange, lists[i], &text)) {
            json_object_set_new(object, lists[i], list_of(text));
        }
    }
    answer_history(api, exchange, object);
}

void
get_candles(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct slice text;
    struct query_range range = {
        .from_us = INT64_MIN, .to_us = INT64_MAX, .cancel = request_cancel(exchange)};
    struct batch rows;
    struct json_writer w;
    int64_t bucket_us = 24 * hour_us;
    int64_t limit = 0;
    struct answer_basis basis;
    struct err err;
    enum err_code code = ERR_OK;

    if (http_query(exchange, "interval", &text)) {
        code = query_parse_interval(text, &bucket_us, &err);
    }
    if (code == ERR_OK) {
        code = request_time(exchange, "start_time", INT64_MIN, &range.from_us, &err);
    }
    if (code == ERR_OK) {
        code = request_time(exchange, "end_time", INT64_MAX, &range.to_us, &err);
    }
    if (code == ERR_OK) {
        code = request_int(exchange, "limit", 1, ROWS_MAX, CANDLES_DEFAULT, &limit, &err);
    }
    if (code == ERR_OK) {
        cached_begin(api, &basis);
        cached_part(&basis, TABLE_CANDLES, range.from_us, range.to_us);
        code = query_candles(api->engine, route_segment(route, exchange), bucket_us, &range,
                             (uint64_t)limit, &rows, &err);
    }
    if (code != ERR_OK) {
        reply_error(exchange, &err, 0);
        return;
    }
    reply_json(exchange, &w);
    json_object_begin(&w);
    json_key(&w, "symbol");
    json_str(&w, route_segment(route, exchange));
    json_key(&w, "candles");
    json_array_begin(&w);
    reply_rows(&w, &rows, NULL);
    json_array_end(&w);
    json_key(&w, "count");
    json_u64(&w, rows.rows);
    json_object_end(&w);
    batch_fini(&rows);
    cached_reply(api, exchange, &basis);
}
