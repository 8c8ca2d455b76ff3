/* The snapshot and its parts as JSON (docs/compatibility.md: current metrics, WebSocket frames). */
#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "codec/time.h"
#include "live/live_internal.h"

/* Decimals of derived figures; what came in is shown as it came. */
enum { DECIMALS_MONEY = 6, DECIMALS_RATE = 6, DECIMALS_MS = 3, DECIMALS_PERCENT = 2 };

static const double BIGGEST_ROUNDED = 1e9;

static double
rounded(double value, int decimals)
{
    static const double scales[] = {1, 10, 100, 1e3, 1e4, 1e5, 1e6};

    if (!(fabs(value) < BIGGEST_ROUNDED)) {
        return value;
    }
    return round(value * scales[decimals]) / scales[decimals];
}

static void
put_f64(struct json_writer *json, const char *key, double value)
{
    json_key(json, key);
    json_f64(json, value);
}

static void
put_i64(struct json_writer *json, const char *key, int64_t value)
{
    json_key(json, key);
    json_i64(json, value);
}

static void
put_u64(struct json_writer *json, const char *key, uint64_t value)
{
    json_key(json, key);
    json_u64(json, value);
}

static void
put_time(struct json_writer *json, const char *key, int64_t us)
{
    json_key(json, key);
    json_time_us(json, us);
}

static void
put_now(struct live *live, struct json_writer *json)
{
    put_time(json, "timestamp", clock_wall_us(live->clock));
}

/* When the newest row was true; null before the first. */
static void
put_updated(struct json_writer *json, const struct live_stamp *newest)
{
    json_key(json, "updated_at");
    if (newest->is_set) {
        json_time_us(json, newest->timestamp_us);
    } else {
        json_write_null(json);
    }
}

static void
keep_newer(struct live_stamp *newest, const struct live_stamp *stamp)
{
    if (stamp->is_set && (!newest->is_set || stamp->timestamp_us > newest->timestamp_us)) {
        *newest = *stamp;
    }
}

static int64_t
add_saturated(int64_t a, int64_t b)
{
    int64_t sum;

    return __builtin_add_overflow(a, b, &sum) ? (a < 0 ? INT64_MIN : INT64_MAX) : sum;
}

struct market_totals {
    int64_t trades, volume;
    struct live_stamp newest;
};

static struct market_totals
sum_market(const struct live *live)
{
    struct market_totals totals = {0};

    for (size_t i = 0; i < live->symbols.count; i++) {
        const struct live_symbol *symbol = keyed_value(&live->symbols, (int32_t)i);
        totals.trades = add_saturated(totals.trades, symbol->trades);
        totals.volume = add_saturated(totals.volume, symbol->volume);
        keep_newer(&totals.newest, &symbol->stamp);
    }
    return totals;
}

static void
write_market(struct live *live, struct json_writer *json)
{
    struct market_totals totals = sum_market(live);

    json_object_begin(json);
    put_now(live, json);
    json_key(json, "symbols");
    json_object_begin(json);
    for (size_t i = 0; i < live->symbols.count; i++) {
        const struct live_symbol *symbol = keyed_value(&live->symbols, (int32_t)i);
        json_key_slice(json, keyed_key(&live->symbols, (int32_t)i));
        json_object_begin(json);
        put_f64(json, "last_price", symbol->last_price);
        put_f64(json, "bid", symbol->bid);
        put_f64(json, "ask", symbol->ask);
        put_i64(json, "volume", symbol->volume);
        put_i64(json, "trades", symbol->trades);
        put_f64(json, "spread_bps", symbol->spread_bps);
        json_object_end(json);
    }
    json_object_end(json);
    put_i64(json, "total_trades", totals.trades);
    put_i64(json, "total_volume", totals.volume);
    put_u64(json, "symbols_tracked", live->symbols.count);
    put_updated(json, &totals.newest);
    json_object_end(json);
}

struct strategy_totals {
    double pnl, daily_pnl;
    int64_t positions, signals;
    struct live_stamp newest;
};

static struct strategy_totals
sum_strategies(const struct live *live)
{
    struct strategy_totals totals = {0};

    for (size_t i = 0; i < live->strategies.count; i++) {
        const struct live_strategy *strategy = keyed_value(&live->strategies, (int32_t)i);
        totals.pnl += isfinite(strategy->pnl) ? strategy->pnl : 0;
        totals.daily_pnl += isfinite(strategy->daily_pnl) ? strategy->daily_pnl : 0;
        totals.positions = add_saturated(totals.positions, strategy->positions);
        totals.signals = add_saturated(totals.signals, strategy->signals);
        keep_newer(&totals.newest, &strategy->stamp);
    }
    totals.pnl = rounded(totals.pnl, DECIMALS_MONEY);
    totals.daily_pnl = rounded(totals.daily_pnl, DECIMALS_MONEY);
    return totals;
}

static void
write_strategy(struct live *live, struct json_writer *json)
{
    struct strategy_totals totals = sum_strategies(live);

    json_object_begin(json);
    put_now(live, json);
    json_key(json, "strategies");
    json_object_begin(json);
    for (size_t i = 0; i < live->strategies.count; i++) {
        const struct live_strategy *strategy = keyed_value(&live->strategies, (int32_t)i);
        json_key_slice(json, keyed_key(&live->strategies, (int32_t)i));
        json_object_begin(json);
        put_f64(json, "pnl", strategy->pnl);
        put_f64(json, "daily_pnl", strategy->daily_pnl);
        put_i64(json, "positions", strategy->positions);
        put_i64(json, "signals", strategy->signals);
        put_f64(json, "win_rate", strategy->win_rate);
        json_object_end(json);
    }
    json_object_end(json);
    put_f64(json, "total_pnl", totals.pnl);
    put_f64(json, "daily_pnl", totals.daily_pnl);
    put_i64(json, "open_positions", totals.positions);
    put_i64(json, "signals_generated", totals.signals);
    put_u64(json, "active_strategies", live->strategies.count);
    put_updated(json, &totals.newest);
    json_object_end(json);
}

static double
share(int64_t part, int64_t whole)
{
    return whole > 0 ? rounded((double)part / (double)whole, DECIMALS_RATE) : 0;
}

static double
given_or(double given, double derived)
{
    return isfinite(given) && given != 0 ? given : derived;
}

static double
quantile_ms(const struct hist *hist, double q)
{
    return rounded(hist_quantile(hist, q) / 1000, DECIMALS_MS);
}

void
live_execution_figures(struct live *live, struct live_execution_figures *ret_figures)
{
    const struct live_execution *row = &live->execution;
    const struct live_day *day = &live->day;
    struct live_execution_figures f = {0};
    double latency = day->latency_count
                         ? rounded(day->latency_sum_ms / (double)day->latency_count, DECIMALS_MS)
                         : 0;
    double slippage =
        day->slippage_count
            ? rounded(day->slippage_sum_bps / (double)day->slippage_count, DECIMALS_MS)
            : 0;

    if (row->stamp.is_set) {
        f.orders = row->submitted;
        f.fills = row->filled;
        f.cancelled = row->cancelled;
        f.rejected = row->rejected;
        f.fill_rate = given_or(row->fill_rate, share(row->filled, row->submitted));
        f.avg_latency_ms = given_or(row->avg_latency_ms, latency);
        f.avg_slippage_bps = given_or(row->avg_slippage_bps, slippage);
    } else {
        /* Only trades are known: every one of them was an order that was filled. */
        f.orders = (int64_t)day->fills;
        f.fills = (int64_t)day->fills;
        f.fill_rate = share(f.fills, f.orders);
        f.avg_latency_ms = latency;
        f.avg_slippage_bps = slippage;
    }
    f.rejection_rate = share(f.rejected, f.orders);
    f.cancellation_rate = share(f.cancelled, f.orders);
    f.latency_p50_ms = quantile_ms(&day->latency_us, 0.50);
    f.latency_p95_ms = quantile_ms(&day->latency_us, 0.95);
    f.latency_p99_ms = quantile_ms(&day->latency_us, 0.99);
    *ret_figures = f;
}

static void
put_quality(struct json_writer *json, const struct live_execution_figures *f)
{
    put_f64(json, "fill_rate", f->fill_rate);
    put_f64(json, "avg_latency_ms", f->avg_latency_ms);
    put_f64(json, "avg_slippage_bps", f->avg_slippage_bps);
    put_f64(json, "rejection_rate", f->rejection_rate);
    put_f64(json, "cancellation_rate", f->cancellation_rate);
    put_f64(json, "latency_p50_ms", f->latency_p50_ms);
    put_f64(json, "latency_p95_ms", f->latency_p95_ms);
    put_f64(json, "latency_p99_ms", f->latency_p99_ms);
}

static void
write_execution(struct live *live, struct json_writer *json)
{
    struct live_execution_figures f;

    live_day_roll(live);
    live_execution_figures(live, &f);
    json_object_begin(json);
    put_now(live, json);
    put_i64(json, "orders_today", f.orders);
    put_i64(json, "fills_today", f.fills);
    put_i64(json, "cancelled", f.cancelled);
    put_i64(json, "rejected", f.rejected);
    put_quality(json, &f);
    put_updated(json, &live->execution.stamp);
    json_object_end(json);
}

static void
put_known_u64(struct json_writer *json, const char *key, uint64_t value)
{
    if (value > 0) {
        put_u64(json, key, value);
    }
}

static void
write_system(struct live *live, struct json_writer *json)
{
    const struct live_system *system = &live->system;

    json_object_begin(json);
    put_time(json, "timestamp",
             live->has_system ? system->timestamp_us : clock_wall_us(live->clock));
    put_f64(json, "cpu_percent", rounded(system->cpu_percent, DECIMALS_PERCENT));
    put_f64(json, "memory_percent", rounded(system->memory_percent, DECIMALS_PERCENT));
    put_f64(json, "disk_usage_percent", rounded(system->disk_usage_percent, DECIMALS_PERCENT));
    put_f64(json, "uptime", rounded(system->uptime_seconds, DECIMALS_PERCENT));
    json_key(json, "health");
    json_cstr(json, live->has_system ? system->health : "unknown");
    put_i64(json, "active_alerts", system->active_alerts);
    if (system->cpu_cores > 0) {
        put_f64(json, "cpu_cores", rounded(system->cpu_cores, DECIMALS_PERCENT));
        put_f64(json, "load1", system->load1);
        put_f64(json, "net_rx_bytes_per_second", rounded(system->net_rx_bytes_per_second, 0));
        put_f64(json, "net_tx_bytes_per_second", rounded(system->net_tx_bytes_per_second, 0));
        put_f64(json, "disk_read_bytes_per_second", rounded(system->disk_read_bytes_per_second, 0));
        put_f64(json, "disk_write_bytes_per_second",
                rounded(system->disk_write_bytes_per_second, 0));
    }
    put_known_u64(json, "memory_used_bytes", system->memory_used_bytes);
    put_known_u64(json, "memory_total_bytes", system->memory_total_bytes);
    put_known_u64(json, "disk_used_bytes", system->disk_used_bytes);
    put_known_u64(json, "disk_total_bytes", system->disk_total_bytes);
    json_object_end(json);
}

void
live_write_part(struct live *live, enum live_topic topic, struct json_writer *json)
{
    assert(topic < LIVE_TOPIC_COUNT);
    switch (topic) {
    case LIVE_MARKET:
        write_market(live, json);
        return;
    case LIVE_STRATEGY:
        write_strategy(live, json);
        return;
    case LIVE_EXECUTION:
        write_execution(live, json);
        return;
    case LIVE_SYSTEM:
        write_system(live, json);
        return;
    case LIVE_TRADES:
        live_trades_write(live, json, LIVE_SNAPSHOT_TRADES);
        return;
    case LIVE_SPEND: /* write_spend: its source must not be called with the lock held */
    case LIVE_TOPIC_COUNT:
        return;
    }
}

static void
write_spend(struct live *live, struct json_writer *json)
{
    json_object_begin(json);
    if (live->spend.write) {
        live->spend.write(live->spend.write_ctx, json);
    } else {
        put_i64(json, "reserved", 0);
        json_key(json, "budgets");
        json_array_begin(json);
        json_array_end(json);
    }
    pthread_mutex_lock(&live->lock);
    live_spend_write(live, json);
    pthread_mutex_unlock(&live->lock);
    json_object_end(json);
}

const char *
live_topic_name(enum live_topic topic)
{
    static const char *const names[] = {"market_data", "strategy", "execution",
                                        "system",      "trades",   "spend"};

    assert(topic < LIVE_TOPIC_COUNT);
    return names[topic];
}

void
live_snapshot(struct live *live, uint32_t topic_mask, bool websocket, struct buf *ret_json)
{
    struct json_writer json;
    int64_t wall_us = clock_wall_us(live->clock);

    json_init(&json, ret_json);
    json_object_begin(&json);
    if (websocket) {
        put_f64(&json, "timestamp", (double)clock_mono_us(live->clock) / (double)TIME_US_PER_S);
    } else {
        put_time(&json, "timestamp", wall_us);
    }
    pthread_mutex_lock(&live->lock);
    for (int topic = 0; topic < LIVE_SPEND; topic++) {
        if (topic_mask & (UINT32_C(1) << topic)) {
            json_key(&json, live_topic_name((enum live_topic)topic));
            if (websocket && topic == LIVE_TRADES) {
                live_trades_write(live, &json, LIVE_FRAME_TRADES);
            } else {
                live_write_part(live, (enum live_topic)topic, &json);
            }
        }
    }
    pthread_mutex_unlock(&live->lock);
    if (topic_mask & (UINT32_C(1) << LIVE_SPEND)) {
        json_key(&json, live_topic_name(LIVE_SPEND));
        write_spend(live, &json);
    }
    if (live->demo) {
        json_key(&json, "demo");
        json_bool(&json, true);
    }
    if (websocket) {
        put_f64(&json, "server_time", (double)wall_us / (double)TIME_US_PER_S);
    }
    json_object_end(&json);
}

void
live_part(struct live *live, enum live_topic topic, struct buf *ret_json)
{
    struct json_writer json;

    json_init(&json, ret_json);
    if (topic == LIVE_SPEND) {
        write_spend(live, &json);
        return;
    }
    pthread_mutex_lock(&live->lock);
    live_write_part(live, topic, &json);
    pthread_mutex_unlock(&live->lock);
}

static void
put_summary(struct live *live, struct json_writer *json)
{
    struct market_totals market = sum_market(live);
    struct strategy_totals strategy = sum_strategies(live);
    struct live_execution_figures execution;

    live_day_roll(live);
    live_execution_figures(live, &execution);
    json_key(json, "market");
    json_object_begin(json);
    put_u64(json, "symbols_tracked", live->symbols.count);
    put_i64(json, "total_trades", market.trades);
    put_i64(json, "total_volume", market.volume);
    json_object_end(json);
    json_key(json, "strategy");
    json_object_begin(json);
    put_u64(json, "active_strategies", live->strategies.count);
    put_f64(json, "total_pnl", strategy.pnl);
    put_f64(json, "daily_pnl", strategy.daily_pnl);
    put_i64(json, "open_positions", strategy.positions);
    json_object_end(json);
    json_key(json, "execution");
    json_object_begin(json);
    put_i64(json, "orders_today", execution.orders);
    put_i64(json, "fills_today", execution.fills);
    put_f64(json, "fill_rate", execution.fill_rate);
    put_f64(json, "avg_latency_ms", execution.avg_latency_ms);
    json_object_end(json);
    json_key(json, "system");
    json_object_begin(json);
    put_f64(json, "cpu_usage", rounded(live->system.cpu_percent, DECIMALS_PERCENT));
    put_f64(json, "memory_usage", rounded(live->system.memory_percent, DECIMALS_PERCENT));
    put_f64(json, "uptime_seconds", rounded(live->system.uptime_seconds, DECIMALS_PERCENT));
    json_key(json, "health_status");
    json_cstr(json, live->has_system ? live->system.health : "unknown");
    json_object_end(json);
}

void
live_summary(struct live *live, struct buf *ret_json)
{
    struct json_writer json;

    json_init(&json, ret_json);
    json_object_begin(&json);
    put_now(live, &json);
    pthread_mutex_lock(&live->lock);
    put_summary(live, &json);
    pthread_mutex_unlock(&live->lock);
    json_object_end(&json);
}

static int
by_text(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

size_t
live_symbols(struct live *live, struct buf *ret_json)
{
    struct json_writer json;

    json_init(&json, ret_json);
    json_array_begin(&json);
    pthread_mutex_lock(&live->lock);
    size_t count = live->symbols.count;
    struct slice *names = mem_zalloc(count, sizeof(*names));
    for (size_t i = 0; i < count; i++) {
        names[i] = keyed_key(&live->symbols, (int32_t)i);
    }
    qsort(names, count, sizeof(*names), by_text);
    for (size_t i = 0; i < count; i++) {
        json_str(&json, names[i]);
    }
    pthread_mutex_unlock(&live->lock);
    free(names);
    json_array_end(&json);
    return count;
}

void
live_execution_quality(struct live *live, struct buf *ret_json)
{
    struct live_execution_figures figures;
    struct json_writer json;

    pthread_mutex_lock(&live->lock);
    live_day_roll(live);
    live_execution_figures(live, &figures);
    pthread_mutex_unlock(&live->lock);
    json_init(&json, ret_json);
    json_object_begin(&json);
    put_quality(&json, &figures);
    json_object_end(&json);
}
