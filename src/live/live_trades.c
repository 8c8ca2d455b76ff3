/*
 * The newest trades, and the figures of today's (UTC). A trade with a known id replaces the one
 * that is kept; its latency goes into the histogram again only if it changed, for a histogram
 * cannot forget. Fills are counted once for as long as the trade is kept.
 */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "codec/time.h"
#include "live/live_internal.h"

enum { US_PER_MS = 1000, TRADE_TEXTS = 4 };

struct trade_columns {
    int id, time, symbol, side, quantity, price, latency, slippage, strategy, order, pnl;
};

static int64_t
day_of(int64_t wall_us)
{
    int64_t day = wall_us / TIME_US_PER_DAY;

    return wall_us % TIME_US_PER_DAY < 0 ? day - 1 : day;
}

void
live_day_roll(struct live *live)
{
    int64_t today = day_of(clock_wall_us(live->clock));

    if (live->day.day != today) {
        memset(&live->day, 0, sizeof(live->day));
        live->day.day = today;
    }
}

void
live_trades_init(struct live *live, size_t max)
{
    keyed_init(&live->trades, max, sizeof(struct live_trade));
}

void
live_trades_fini(struct live *live)
{
    for (size_t i = 0; i < live->trades.count; i++) {
        free(((struct live_trade *)keyed_value(&live->trades, (int32_t)i))->texts);
    }
    keyed_fini(&live->trades);
}

static bool
is_older(const struct live_stamp *a, const struct live_stamp *b)
{
    return a->timestamp_us < b->timestamp_us ||
           (a->timestamp_us == b->timestamp_us && a->lsn < b->lsn);
}

static void
day_sums(struct live_day *day, const struct live_trade *trade, int sign)
{
    uint64_t one = (uint64_t)(int64_t)sign;

    day->fills += one;
    if (isfinite(trade->latency_ms)) {
        day->latency_count += one;
        day->latency_sum_ms += sign * trade->latency_ms;
    }
    if (isfinite(trade->slippage_bps)) {
        day->slippage_count += one;
        day->slippage_sum_bps += sign * trade->slippage_bps;
    }
}

static void
day_add(struct live *live, struct live_trade *trade)
{
    trade->is_counted = day_of(trade->stamp.timestamp_us) == live->day.day;
    trade->counted_day = live->day.day;
    if (trade->is_counted) {
        day_sums(&live->day, trade, 1);
    }
}

static void
day_take_back(struct live *live, const struct live_trade *trade)
{
    if (trade->is_counted && trade->counted_day == live->day.day) {
        day_sums(&live->day, trade, -1);
    }
}

static void
day_record_latency(struct live *live, const struct live_trade *trade)
{
    if (trade->is_counted && isfinite(trade->latency_ms)) {
        double us = round(trade->latency_ms * US_PER_MS);
        hist_record(&live->day.latency_us, us < UINT32_MAX ? (int64_t)us : UINT32_MAX);
    }
}

/* Puts a trade where its time belongs. Mostly that is the front already. */
static void
sort_in(struct keyed *trades, int32_t slot)
{
    const struct live_trade *trade = keyed_value(trades, slot);
    int32_t newer = KEYED_NONE;

    keyed_touch(trades, slot);
    for (int32_t at = keyed_older(trades, slot); at != KEYED_NONE; at = keyed_older(trades, at)) {
        const struct live_trade *other = keyed_value(trades, at);
        if (!is_older(&trade->stamp, &other->stamp)) {
            break;
        }
        newer = at;
    }
    if (newer != KEYED_NONE) {
        keyed_place_behind(trades, slot, newer);
    }
}

static double
get_f64(const struct batch *batch, int column, size_t row)
{
    if (column < 0 || batch_is_null(batch, (size_t)column, row)) {
        return NAN;
    }
    return batch_get_f64(batch, (size_t)column, row);
}

static struct slice
get_text(const struct batch *batch, int column, size_t row)
{
    return column < 0 ? slice_of("") : batch_get_text(batch, (size_t)column, row);
}

/* Reads a row; false when one of its texts is too long to keep. The caller owns trade->texts. */
static bool
read_trade(const struct batch *batch, const struct trade_columns *at, size_t row, uint64_t lsn,
           struct live_trade *ret_trade)
{
    const struct slice texts[TRADE_TEXTS] = {
        get_text(batch, at->symbol, row), get_text(batch, at->side, row),
        get_text(batch, at->strategy, row), get_text(batch, at->order, row)};
    size_t total = 0;

    for (int i = 0; i < TRADE_TEXTS; i++) {
        if (texts[i].len > LIVE_TEXT_BYTES_MAX) {
            return false;
        }
        total += texts[i].len;
    }
    *ret_trade =
        (struct live_trade){.stamp = {batch_get_i64(batch, (size_t)at->time, row), lsn, true},
                            .texts = mem_alloc(total),
                            .symbol_len = (uint16_t)texts[0].len,
                            .side_len = (uint16_t)texts[1].len,
                            .strategy_len = (uint16_t)texts[2].len,
                            .order_len = (uint16_t)texts[3].len,
                            .quantity = get_f64(batch, at->quantity, row),
                            .price = get_f64(batch, at->price, row),
                            .latency_ms = get_f64(batch, at->latency, row),
                            .slippage_bps = get_f64(batch, at->slippage, row),
                            .pnl = get_f64(batch, at->pnl, row)};
    size_t used = 0;
    for (int i = 0; i < TRADE_TEXTS; i++) {
        if (texts[i].len > 0) {
            memcpy(ret_trade->texts + used, texts[i].ptr, texts[i].len);
        }
        used += texts[i].len;
    }
    return true;
}

/* Whether a new trade is older than all that are kept, with no room for more. */
static bool
is_beyond(const struct live *live, const struct live_trade *trade)
{
    const struct keyed *trades = &live->trades;

    if (trades->count < trades->max) {
        return false;
    }
    const struct live_trade *oldest = keyed_value(trades, trades->oldest);
    return is_older(&trade->stamp, &oldest->stamp);
}

static void
add_trade(struct live *live, struct slice id, struct live_trade *trade)
{
    struct keyed *trades = &live->trades;
    bool evicted;

    day_add(live, trade);
    day_record_latency(live, trade);
    if (is_beyond(live, trade)) {
        free(trade->texts);
        return;
    }
    if (trades->count == trades->max) {
        free(((struct live_trade *)keyed_value(trades, trades->oldest))->texts);
    }
    int32_t slot = keyed_add(trades, id, &evicted);
    *(struct live_trade *)keyed_value(trades, slot) = *trade;
    sort_in(trades, slot);
}

static void
replace_trade(struct live *live, int32_t slot, struct live_trade *trade)
{
    struct live_trade *old = keyed_value(&live->trades, slot);

    day_take_back(live, old);
    day_add(live, trade);
    if (!(old->latency_ms == trade->latency_ms)) {
        day_record_latency(live, trade);
    }
    free(old->texts);
    *old = *trade;
    sort_in(&live->trades, slot);
}

void
live_trades_update(struct live *live, const struct batch *batch, size_t from, size_t to,
                   uint64_t lsn)
{
    const struct trade_columns at = {.id = batch_column_index(batch, slice_of("trade_id")),
                                     .time = batch_column_index(batch, slice_of("timestamp")),
                                     .symbol = batch_column_index(batch, slice_of("symbol")),
                                     .side = batch_column_index(batch, slice_of("side")),
                                     .quantity = batch_column_index(batch, slice_of("quantity")),
                                     .price = batch_column_index(batch, slice_of("price")),
                                     .latency = batch_column_index(batch, slice_of("latency_ms")),
                                     .slippage =
                                         batch_column_index(batch, slice_of("slippage_bps")),
                                     .strategy = batch_column_index(batch, slice_of("strategy")),
                                     .order = batch_column_index(batch, slice_of("order_id")),
                                     .pnl = batch_column_index(batch, slice_of("pnl"))};

    live_day_roll(live);
    for (size_t row = from; at.id >= 0 && at.time >= 0 && row < to; row++) {
        struct slice id = batch_get_text(batch, (size_t)at.id, row);
        struct live_trade trade;
        if (id.len > KEYED_KEY_BYTES_MAX || !read_trade(batch, &at, row, lsn, &trade)) {
            live->stats.refused++;
            continue;
        }
        int32_t slot = keyed_find(&live->trades, id);
        if (slot == KEYED_NONE) {
            add_trade(live, id, &trade);
        } else if (lsn >= ((struct live_trade *)keyed_value(&live->trades, slot))->stamp.lsn) {
            replace_trade(live, slot, &trade);
        } else {
            free(trade.texts);
        }
    }
}

static void
write_text(struct json_writer *json, const char *key, const char *ptr, size_t len)
{
    json_key(json, key);
    if (len > 0) {
        json_str(json, slice_make(ptr, len));
    } else {
        json_write_null(json);
    }
}

static void
write_f64(struct json_writer *json, const char *key, double value)
{
    json_key(json, key);
    json_f64(json, value);
}

static void
write_trade(struct json_writer *json, struct slice id, const struct live_trade *trade)
{
    const char *text = trade->texts;

    json_object_begin(json);
    json_key(json, "trade_id");
    json_str(json, id);
    write_text(json, "symbol", text, trade->symbol_len);
    text += trade->symbol_len;
    write_text(json, "side", text, trade->side_len);
    text += trade->side_len;
    json_key(json, "quantity");
    if (trade->quantity == trunc(trade->quantity) && fabs(trade->quantity) < 0x1p53) {
        json_i64(json, (int64_t)trade->quantity); /* an integer in the originals' shape */
    } else {
        json_f64(json, trade->quantity);
    }
    write_f64(json, "price", trade->price);
    json_key(json, "timestamp");
    json_time_us(json, trade->stamp.timestamp_us);
    write_f64(json, "latency_ms", trade->latency_ms);
    write_f64(json, "slippage_bps", trade->slippage_bps);
    write_f64(json, "pnl", trade->pnl);
    write_text(json, "strategy", text, trade->strategy_len);
    text += trade->strategy_len;
    write_text(json, "order_id", text, trade->order_len);
    json_object_end(json);
}

void
live_trades_write(struct live *live, struct json_writer *json, size_t max)
{
    const struct keyed *trades = &live->trades;

    json_array_begin(json);
    for (int32_t at = trades->newest; at != KEYED_NONE && max > 0; max--) {
        write_trade(json, keyed_key(trades, at), keyed_value(trades, at));
        at = keyed_older(trades, at);
    }
    json_array_end(json);
}
