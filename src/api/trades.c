/* /api/trades: lists, one trade, summaries, and the quality of execution. */
#include "api/answer_cache.h"
#include "api/api_private.h"
#include "query/query.h"

enum { LIMIT_DEFAULT = 100, LIMIT_MAX = 1000, OFFSET_MAX = 1 << 30 };

static const int64_t hour_us = 3600LL * 1000 * 1000;

static void
write_member(struct json_writer *w, const struct batch *rows, const char *name, size_t row)
{
    int column = batch_column_index(rows, slice_of(name));

    json_key(w, name);
    if (column == CATALOG_NONE) {
        json_write_null(w);
    } else {
        batch_json_value(w, rows, (size_t)column, row);
    }
}

/* The trade object of the originals: optional members that we do not have are null. */
static void
write_trade(struct json_writer *w, const struct batch *rows, size_t row)
{
    static const char *const names[] = {"trade_id", "symbol",    "side",       "quantity",
                                        "price",    "timestamp", "latency_ms", "slippage_bps",
                                        "pnl",      "strategy",  "order_id"};

    json_object_begin(w);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        write_member(w, rows, names[i], row);
    }
    json_object_end(w);
}

void
get_trades(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct query_trades query = {
        .symbol = {"", 0}, .side = {"", 0}, .range = {.cancel = request_cancel(exchange)}};
    struct batch rows;
    struct json_writer w;
    uint64_t total;
    int64_t limit = 0;
    int64_t offset = 0;
    struct answer_basis basis;
    struct err err;

    (void)route;
    http_query(exchange, "symbol", &query.symbol);
    http_query(exchange, "side", &query.side);
    enum err_code code = request_int(exchange, "limit", 1, LIMIT_MAX, LIMIT_DEFAULT, &limit, &err);
    if (code == ERR_OK) {
        code = request_int(exchange, "offset", 0, OFFSET_MAX, 0, &offset, &err);
    }
    if (code == ERR_OK) {
        code = request_time(exchange, "start_time", INT64_MIN, &query.range.from_us, &err);
    }
    if (code == ERR_OK) {
        code = request_time(exchange, "end_time", INT64_MAX, &query.range.to_us, &err);
    }
    if (code == ERR_OK) {
        cached_begin(api, &basis);
        cached_part(&basis, TABLE_TRADES, query.range.from_us, query.range.to_us);
        query.limit = (uint64_t)limit;
        query.offset = (uint64_t)offset;
        code = query_trades(api->engine, &query, &rows, &total, &err);
    }
    if (code != ERR_OK) {
        reply_error(exchange, &err, 0);
        return;
    }
    reply_json(exchange, &w);
    json_object_begin(&w);
    json_key(&w, "trades");
    json_array_begin(&w);
    for (size_t row = 0; row < rows.rows; row++) {
        write_trade(&w, &rows, row);
    }
    json_array_end(&w);
    json_key(&w, "total");
    json_u64(&w, total);
    json_key(&w, "limit");
    json_i64(&w, limit);
    json_key(&w, "offset");
    json_i64(&w, offset);
    json_object_end(&w);
    batch_fini(&rows);
    cached_reply(api, exchange, &basis);
}

void
get_trade(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct batch rows;
    struct json_writer w;
    struct err err;

    if (query_trade(api->engine, route_segment(route, exchange), &rows, &err) != ERR_OK) {
        reply_error(exchange, &err, 0);
        return;
    }
    reply_json(exchange, &w);
    write_trade(&w, &rows, 0);
    batch_fini(&rows);
    http_reply(exchange);
}

void
get_trade_summary(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    int64_t now = clock_wall_us(api->clock);
    struct query_trade_summary summary;
    struct slice symbol = {"", 0};
    struct slice text = SLICE_LITERAL("24h");
    int64_t width_us;
    struct answer_basis basis;
    struct json_writer w;
    struct err err;

    (void)route;
    http_query(exchange, "symbol", &symbol);
    http_query(exchange, "time_range", &text);
    enum err_code code = query_parse_range(text, &width_us, &err);
    if (code == ERR_OK) {
        struct query_range range = {
            .from_us = now - width_us, .to_us = INT64_MAX, .cancel = request_cancel(exchange)};
        cached_begin(api, &basis);
        cached_part(&basis, TABLE_TRADES, range.from_us, range.to_us);
        cached_until_now(api, &basis);
        code = query_trade_summary(api->engine, symbol, &range, &summary, &err);
    }
    if (code != ERR_OK) {
        reply_error(exchange, &err, 0);
        return;
    }
    reply_json(exchange, &w);
    json_object_begin(&w);
    json_key(&w, "count");
    json_u64(&w, summary.count);
    json_key(&w, "total_volume");
    json_f64(&w, summary.total_volume);
    json_key(&w, "avg_price");
    json_f64(&w, summary.avg_price);
    json_key(&w, "avg_size");
    json_f64(&w, summary.avg_size);
    if (summary.count > 0) {
        json_key(&w, "buy_count");
        json_u64(&w, summary.buy_count);
        json_key(&w, "sell_count");
        json_u64(&w, summary.sell_count);
    }
    json_object_end(&w);
    cached_reply(api, exchange, &basis);
}

void
get_execution_quality(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    (void)route;
    http_set_content_type(exchange, "application/json");
    live_execution_quality(api->live, http_out(exchange));
    http_reply(exchange);
}

/* GET /api/system/performance: percentiles of the trades of the last day, and what this server
 * does. It stands here because its latency is that of trades. */
void
get_system_performance(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    int64_t now = clock_wall_us(api->clock);
    struct query_range range = {
        .from_us = now - 24 * hour_us, .to_us = INT64_MAX, .cancel = request_cancel(exchange)};
    struct query_latency latency = {0};
    struct live_system sys = {0};
    struct jobs_stats jobs;
    struct json_writer w;
    struct err err;
    struct ingest *ingest = atomic_load(&api->ingest);
    struct ingest_stats rows = {0};

    (void)route;
    if (query_latency(api->engine, &range, &latency, &err) != ERR_OK) {
        reply_error(exchange, &err, 0);
        return;
    }
    live_system(api->live, &sys);
    jobs_stats(api->jobs, &jobs);
    if (ingest) {
        ingest_stats(ingest, &rows);
    }
    double uptime_s = (double)(clock_mono_us(api->clock) - api->started_mono_us) / 1e6;
    reply_json(exchange, &w);
    json_object_begin(&w);
    json_key(&w, "latency_p50");
    json_f64(&w, latency.p50);
    json_key(&w, "latency_p95");
    json_f64(&w, latency.p95);
    json_key(&w, "latency_p99");
    json_f64(&w, latency.p99);
    json_key(&w, "latency_samples");
    json_u64(&w, latency.count);
    json_key(&w, "throughput_per_sec");
    json_f64(&w, uptime_s > 0 ? (double)rows.rows / uptime_s : 0);
    json_key(&w, "cpu_usage");
    json_f64(&w, sys.cpu_percent);
    json_key(&w, "memory_usage");
    json_f64(&w, sys.memory_percent);
    json_key(&w, "queue_depth");
    json_u64(&w, jobs.queued);
    json_object_end(&w);
    http_reply(exchange);
}
