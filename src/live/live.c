/* Taking rows in. Long batches are taken in runs of rows, so that nobody waits long for the lock.
 */
#include "live/live.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "live/live_internal.h"

enum {
    SYMBOLS_MAX = 10000,
    STRATEGIES_MAX = 1000,
    SERIES_MAX = 1000000,
    SERIES_TEXT_BYTES = 256 << 20,
    TRADES_MAX = 1000,
    RUN_ROWS = 4096,
    SYSTEM_HOLD_US = 2000000 /* for how long live_set_system outranks rows */
};

static const double BPS = 10000;

void
live_open(const struct live_options *options, struct live **ret_live)
{
    struct live *live = mem_zalloc(1, sizeof(*live));

    pthread_mutex_init(&live->lock, NULL);
    live->clock = options->clock ? options->clock : clock_system();
    live->demo = options->demo;
    keyed_init(&live->symbols, options->symbols_max ? options->symbols_max : SYMBOLS_MAX,
               sizeof(struct live_symbol));
    keyed_init(&live->strategies,
               options->strategies_max ? options->strategies_max : STRATEGIES_MAX,
               sizeof(struct live_strategy));
    live_trades_init(live, options->trades_max ? options->trades_max : TRADES_MAX);
    live_series_init(&live->series, options->series_max ? options->series_max : SERIES_MAX,
                     options->series_text_bytes ? options->series_text_bytes : SERIES_TEXT_BYTES);
    live_day_roll(live);
    *ret_live = live;
}

void
live_close(struct live *live)
{
    if (!live) {
        return;
    }
    keyed_fini(&live->symbols);
    keyed_fini(&live->strategies);
    live_trades_fini(live);
    live_series_fini(&live->series);
    live_spend_fini(live);
    pthread_mutex_destroy(&live->lock);
    free(live);
}

bool
live_stamp_take(struct live_stamp *stamp, int64_t timestamp_us, uint64_t lsn)
{
    if (stamp->is_set && (timestamp_us < stamp->timestamp_us ||
                          (timestamp_us == stamp->timestamp_us && lsn < stamp->lsn))) {
        return false;
    }
    *stamp = (struct live_stamp){timestamp_us, lsn, true};
    return true;
}

/* A column by name; absent columns read as NULL. */
static double
get_f64(const struct batch *batch, int column, size_t row)
{
    if (column < 0 || batch_is_null(batch, (size_t)column, row)) {
        return NAN;
    }
    return batch_get_f64(batch, (size_t)column, row);
}

static int64_t
get_i64(const struct batch *batch, int column, size_t row)
{
    return column < 0 ? 0 : batch_get_i64(batch, (size_t)column, row);
}

static int
find(const struct batch *batch, const char *name)
{
    return batch_column_index(batch, slice_of(name));
}

/* The entry of a row's key, made if it is new; NULL when the key is too long. */
static void *
entry_of(struct live *live, struct keyed *keyed, struct slice key)
{
    bool evicted;

    if (key.len > KEYED_KEY_BYTES_MAX) {
        live->stats.refused++;
        return NULL;
    }
    int32_t slot = keyed_find(keyed, key);
    if (slot == KEYED_NONE) {
        slot = keyed_add(keyed, key, &evicted);
        live->stats.evicted += evicted;
    } else {
        keyed_touch(keyed, slot);
    }
    return keyed_value(keyed, slot);
}

/* Spread in basis points of the last price, as the originals compute it. */
static double
spread_of(double given, double bid, double ask, double last)
{
    if (isfinite(given) && given != 0) {
        return given;
    }
    if (isfinite(bid) && isfinite(ask) && isfinite(last) && last != 0) {
        return round((ask - bid) / last * BPS * BPS) / BPS;
    }
    return 0;
}

static void
update_market(struct live *live, const struct batch *batch, size_t from, size_t to, uint64_t lsn)
{
    int time = find(batch, "timestamp"), key = find(batch, "symbol");
    int last = find(batch, "last_price"), bid = find(batch, "bid"), ask = find(batch, "ask");
    int volume = find(batch, "volume"), trades = find(batch, "trades");
    int spread = find(batch, "spread_bps");

    if (time < 0 || key < 0) {
        return;
    }
    for (size_t row = from; row < to; row++) {
        struct live_symbol *symbol =
            entry_of(live, &live->symbols, batch_get_text(batch, (size_t)key, row));
        if (!symbol || !live_stamp_take(&symbol->stamp, get_i64(batch, time, row), lsn)) {
            continue;
        }
        symbol->last_price = get_f64(batch, last, row);
        symbol->bid = get_f64(batch, bid, row);
        symbol->ask = get_f64(batch, ask, row);
        symbol->volume = get_i64(batch, volume, row);
        symbol->trades = get_i64(batch, trades, row);
        symbol->spread_bps =
            spread_of(get_f64(batch, spread, row), symbol->bid, symbol->ask, symbol->last_price);
    }
}

static void
update_strategy(struct live *live, const struct batch *batch, size_t from, size_t to, uint64_t lsn)
{
    int time = find(batch, "timestamp"), key = find(batch, "strategy_name");
    int pnl = find(batch, "pnl"), daily = find(batch, "daily_pnl");
    int positions = find(batch, "positions"), signals = find(batch, "signals");
    int win_rate = find(batch, "win_rate");

    if (time < 0 || key < 0) {
        return;
    }
    for (size_t row = from; row < to; row++) {
        struct live_strategy *strategy =
            entry_of(live, &live->strategies, batch_get_text(batch, (size_t)key, row));
        if (!strategy || !live_stamp_take(&strategy->stamp, get_i64(batch, time, row), lsn)) {
            continue;
        }
        strategy->pnl = get_f64(batch, pnl, row);
        strategy->daily_pnl = get_f64(batch, daily, row);
        strategy->positions = get_i64(batch, positions, row);
        strategy->signals = get_i64(batch, signals, row);
        strategy->win_rate = get_f64(batch, win_rate, row);
    }
}

static void
update_execution(struct live *live, const struct batch *batch, size_t from, size_t to, uint64_t lsn)
{
    struct live_execution *execution = &live->execution;
    int time = find(batch, "timestamp");

    for (size_t row = from; time >= 0 && row < to; row++) {
        if (!live_stamp_take(&execution->stamp, get_i64(batch, time, row), lsn)) {
            continue;
        }
        execution->submitted = get_i64(batch, find(batch, "orders_submitted"), row);
        execution->filled = get_i64(batch, find(batch, "orders_filled"), row);
        execution->cancelled = get_i64(batch, find(batch, "orders_cancelled"), row);
        execution->rejected = get_i64(batch, find(batch, "orders_rejected"), row);
        execution->fill_rate = get_f64(batch, find(batch, "fill_rate"), row);
        execution->avg_latency_ms = get_f64(batch, find(batch, "avg_latency_ms"), row);
        execution->avg_slippage_bps = get_f64(batch, find(batch, "avg_slippage_bps"), row);
    }
}

static void
update_system(struct live *live, const struct batch *batch, size_t from, size_t to)
{
    int time = find(batch, "timestamp"), health = find(batch, "health_status");
    bool is_held = live->system_set_us > 0 &&
                   clock_mono_us(live->clock) - live->system_set_us < SYSTEM_HOLD_US;

    for (size_t row = from; time >= 0 && !is_held && row < to; row++) {
        int64_t timestamp_us = get_i64(batch, time, row);
        if (live->has_system && timestamp_us < live->system.timestamp_us) {
            continue;
        }
        struct live_system *system = &live->system;
        *system = (struct live_system){
            .timestamp_us = timestamp_us,
            .cpu_percent = get_f64(batch, find(batch, "cpu_percent"), row),
            .memory_percent = get_f64(batch, find(batch, "memory_percent"), row),
            .disk_usage_percent = get_f64(batch, find(batch, "disk_usage_percent"), row),
            .uptime_seconds = get_f64(batch, find(batch, "uptime_seconds"), row),
            .active_alerts = (int)get_i64(batch, find(batch, "active_alerts"), row)};
        struct slice text = health < 0 ? slice_of("") : batch_get_text(batch, (size_t)health, row);
        if (!slice_to_cstr(text, system->health, sizeof(system->health)) || text.len == 0) {
            slice_to_cstr(slice_of("unknown"), system->health, sizeof(system->health));
        }
        live->has_system = true;
    }
}

static void
mark_fresh(struct live *live, enum live_topic topic, bool is_new)
{
    if (is_new) {
        live->fresh_us[topic] = clock_mono_us(live->clock);
        live->is_fresh[topic] = true;
    }
}

static void
update_run(struct live *live, enum table_id table, const struct batch *batch, size_t from,
           size_t to, uint64_t lsn)
{
    bool is_new = lsn > 0; /* what was stored before the start says nothing about now */

    switch ((int)table) {
    case TABLE_MARKET_DATA:
        update_market(live, batch, from, to, lsn);
        mark_fresh(live, LIVE_MARKET, is_new);
        break;
    case TABLE_STRATEGY_METRICS:
        update_strategy(live, batch, from, to, lsn);
        mark_fresh(live, LIVE_STRATEGY, is_new);
        break;
    case TABLE_EXECUTION_METRICS:
        update_execution(live, batch, from, to, lsn);
        mark_fresh(live, LIVE_EXECUTION, is_new);
        break;
    case TABLE_SYSTEM_METRICS:
        update_system(live, batch, from, to);
        mark_fresh(live, LIVE_SYSTEM, is_new);
        break;
    case TABLE_TRADES:
        live_trades_update(live, batch, from, to, lsn);
        mark_fresh(live, LIVE_TRADES, is_new);
        break;
    case TABLE_SERIES:
        live_series_update_names(live, batch, from, to);
        break;
    case TABLE_SAMPLES:
        live_series_update_points(live, batch, from, to, lsn == 0);
        break;
    case TABLE_EVENTS:
        live_spend_update(live, batch, from, to, lsn == 0);
        mark_fresh(live, LIVE_SPEND, is_new);
        break;
    default:
        return; /* tables without a live side */
    }
    live->stats.rows += to - from;
}

static void
update_table(struct live *live, enum table_id table, const struct batch *batch, uint64_t lsn)
{
    for (size_t from = 0; from < batch->rows;) {
        size_t to = batch->rows - from > RUN_ROWS ? from + RUN_ROWS : batch->rows;
        pthread_mutex_lock(&live->lock);
        update_run(live, table, batch, from, to, lsn);
        pthread_mutex_unlock(&live->lock);
        from = to;
    }
}

void
live_update(struct live *live, const struct batch *batches, size_t count, uint64_t lsn)
{
    for (size_t i = 0; i < count; i++) {
        if (batches[i].table) {
            update_table(live, batches[i].table->id, &batches[i], lsn);
        }
    }
}

void
live_set_spend(struct live *live, live_spend_fn *write, void *ctx)
{
    live->spend.write = write;
    live->spend.write_ctx = ctx;
}

void
live_load(struct live *live, enum table_id table, const struct batch *rows)
{
    update_table(live, table, rows, 0);
}

bool
live_system(struct live *live, struct live_system *ret_system)
{
    pthread_mutex_lock(&live->lock);
    bool has = live->has_system;
    if (has) {
        *ret_system = live->system;
    }
    pthread_mutex_unlock(&live->lock);
    return has;
}

void
live_set_system(struct live *live, const struct live_system *system)
{
    pthread_mutex_lock(&live->lock);
    live->system = *system;
    live->has_system = true;
    live->system_set_us = clock_mono_us(live->clock);
    mark_fresh(live, LIVE_SYSTEM, true);
    pthread_mutex_unlock(&live->lock);
}

bool
live_is_fresh(struct live *live, enum live_topic topic, int64_t max_age_us)
{
    assert(topic < LIVE_TOPIC_COUNT);
    pthread_mutex_lock(&live->lock);
    bool fresh =
        live->is_fresh[topic] && clock_mono_us(live->clock) - live->fresh_us[topic] <= max_age_us;
    pthread_mutex_unlock(&live->lock);
    return fresh;
}

void
live_stats(struct live *live, struct live_stats *ret_stats)
{
    pthread_mutex_lock(&live->lock);
    *ret_stats = live->stats;
    ret_stats->symbols = live->symbols.count;
    ret_stats->strategies = live->strategies.count;
    ret_stats->trades = live->trades.count;
    ret_stats->series = live->series.known;
    pthread_mutex_unlock(&live->lock);
}
