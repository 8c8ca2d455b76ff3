/* Prices from noise, orders from a Poisson process, profit from trades. */
#include "collect/demo_gen.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/id.h"
#include "codec/time.h"
#include "collect/rows.h"

enum {
    OCTAVES = 11,
    ID_BYTES = 48,
    EVENTS_MAX = 8,
    STRATEGY_SYMBOLS = 4,
    LOTS_MAX = 5,
    LOTS_HELD_MAX = 20,
    VOLUME_WAVE_S = 60,
    CHANNEL_VOLUME = 1000, /* of noise; prices have those below */
    CHANNEL_SPREAD = 2000,
    CHANNEL_EVENTS = 3000,
    LOOK_S = 60 /* how far momentum looks back, and luck looks ahead */
};

static const double EVENTS_A_TICK = 0.125;
static const double SHARE_ORDERED = 0.8; /* of signals */
static const double SHARE_FILLED = 0.94;
static const double SHARE_CANCELLED = 0.04;
static const double SHARE_RIGHT = 0.56; /* of guesses about the next minute */
static const double BPS = 1e4;

struct demo_symbol {
    const char *name;
    double price;
    double scale;      /* steps of price in one unit of money */
    double volatility; /* of a day */
    double spread_bps;
    double volume_per_s;
    double trade_size;
    int64_t lot;
};

static const struct demo_symbol symbols[DEMO_SYMBOLS] = {
    {"DEMO:AAPL", 228.5, 100, 0.016, 1.2, 640, 110, 20},
    {"DEMO:MSFT", 417.0, 100, 0.014, 1.1, 260, 85, 10},
    {"DEMO:GOOGL", 171.3, 100, 0.018, 1.5, 310, 95, 25},
    {"DEMO:AMZN", 199.8, 100, 0.019, 1.4, 450, 100, 20},
    {"DEMO:TSLA", 336.2, 100, 0.034, 2.0, 980, 60, 10},
    {"DEMO:BTC-USD", 96400.0, 100, 0.030, 0.8, 3.2, 0.4, 1},
    {"DEMO:ETH-USD", 3310.0, 100, 0.036, 1.0, 41, 2.5, 4},
    {"DEMO:EUR-USD", 1.0482, 100000, 0.005, 0.5, 21000, 9000, 10000},
};

struct demo_strategy {
    const char *name;
    int symbols[STRATEGY_SYMBOLS];
    double trend; /* 1 follows the last minute, -1 bets against it, 0 minds it not */
};

static const struct demo_strategy strategies[DEMO_STRATEGIES] = {
    {"demo-momentum", {0, 1, 4, 5}, 1},
    {"demo-mean-reversion", {2, 3, 6, 7}, -1},
    {"demo-pairs", {0, 1, 5, 6}, 0},
};

/* The finaliser of splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t
mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static uint64_t
mix3(uint64_t a, uint64_t b, uint64_t c)
{
    return mix(mix(mix(a) ^ b) ^ c);
}

/* Uniform in [0, 1). */
static double
unit(uint64_t bits)
{
    return (double)(bits >> 11) * 0x1p-53;
}

/* Smooth noise in [-1, 1] with one knot a period. */
static double
noise(uint64_t seed, uint64_t channel, double at)
{
    double knot = floor(at);
    double x = at - knot;
    uint64_t n = (uint64_t)(int64_t)knot;
    double a = 2 * unit(mix3(seed, channel, n)) - 1;
    double b = 2 * unit(mix3(seed, channel, n + 1)) - 1;

    return a + (b - a) * x * x * (3 - 2 * x);
}

static double
round_to(double value, double scale)
{
    return round(value * scale) / scale;
}

static double
last_price(uint64_t seed, int symbol, int64_t at_us)
{
    static const double period_s[OCTAVES] = {345600, 86400, 21600, 5400, 1350, 337,
                                             85,     21,    5.3,   1.3,  0.45};
    const struct demo_symbol *s = &symbols[symbol];
    double at_s = (double)at_us / (double)TIME_US_PER_S;
    double log_move = 0;

    for (int k = 0; k < OCTAVES; k++) {
        double amplitude = s->volatility * sqrt(period_s[k] / 86400);
        uint64_t channel = (uint64_t)symbol * OCTAVES + (uint64_t)k;
        log_move += amplitude * noise(seed, channel, at_s / period_s[k]);
    }
    return round_to(s->price * exp(log_move), s->scale);
}

/* Growing for certain: the wave's steepest fall is 3/4 of the steady flow. */
static double
volume_since_midnight(uint64_t seed, int symbol, int64_t at_us)
{
    int64_t midnight_us = at_us - at_us % TIME_US_PER_DAY;
    uint64_t channel = CHANNEL_VOLUME + (uint64_t)symbol;
    double seconds = (double)(at_us - midnight_us) / (double)TIME_US_PER_S;
    double from = (double)midnight_us / (double)TIME_US_PER_S / VOLUME_WAVE_S;
    double wave = noise(seed, channel, from + seconds / VOLUME_WAVE_S) - noise(seed, channel, from);

    return symbols[symbol].volume_per_s * (seconds + wave * VOLUME_WAVE_S / 4);
}

void
demo_gen_quote(const struct demo_gen *gen, int symbol, int64_t at_us, struct demo_quote *ret_quote)
{
    const struct demo_symbol *s = &symbols[symbol];
    double at_s = (double)at_us / (double)TIME_US_PER_S;
    double last = last_price(gen->seed, symbol, at_us);
    double wide = 1 + 0.4 * noise(gen->seed, CHANNEL_SPREAD + (uint64_t)symbol, at_s / 2.5);
    double half = round_to(last * s->spread_bps * wide / BPS / 2, s->scale);
    double volume = volume_since_midnight(gen->seed, symbol, at_us);

    half = half < 1 / s->scale ? 1 / s->scale : half;
    ret_quote->last = last;
    ret_quote->bid = round_to(last - half, s->scale);
    ret_quote->ask = round_to(last + half, s->scale);
    ret_quote->spread_bps = round((ret_quote->ask - ret_quote->bid) / last * BPS * BPS) / BPS;
    ret_quote->volume = (int64_t)volume;
    ret_quote->trades = (int64_t)(volume / s->trade_size);
}

static double
desk_pnl(const struct demo_gen *gen, const struct demo_desk *desk, int64_t at_us)
{
    double pnl = desk->realised;

    for (int i = 0; i < DEMO_SYMBOLS; i++) {
        const struct demo_position *position = &desk->positions[i];
        if (position->quantity != 0) {
            pnl += (double)position->quantity *
                   (last_price(gen->seed, i, at_us) - position->average_price);
        }
    }
    return pnl;
}

/* Books a fill by the method of average cost. `quantity` is below 0 for a sale. */
static void
fill(struct demo_desk *desk, int symbol, int64_t quantity, double price)
{
    struct demo_position *position = &desk->positions[symbol];
    int64_t held = position->quantity;
    int64_t after = held + quantity;

    if (held == 0 || (held > 0) == (quantity > 0)) {
        position->average_price =
            ((double)held * position->average_price + (double)quantity * price) / (double)after;
    } else {
        int64_t closed = llabs(quantity) < llabs(held) ? -quantity : held;
        double gain = (double)closed * (price - position->average_price);
        desk->realised += gain;
        desk->closed++;
        desk->won += gain > 0;
        if ((after > 0) != (held > 0)) {
            position->average_price = price;
        }
    }
    position->quantity = after;
}

struct order {
    int strategy, symbol;
    int64_t at_us;
    int64_t quantity; /* below 0: sell */
};

/* Which way the strategy wants to go now; it is right a little more often than not. */
static int
direction(const struct demo_gen *gen, const struct order *order, struct rng *rng)
{
    const int64_t look_us = LOOK_S * TIME_US_PER_S;
    double now = last_price(gen->seed, order->symbol, order->at_us);
    double trend = strategies[order->strategy].trend;

    if (rng_double(rng) < SHARE_RIGHT - 0.5 + 0.25) {
        return last_price(gen->seed, order->symbol, order->at_us + look_us) > now ? 1 : -1;
    }
    if (trend == 0) {
        return rng_double(rng) < 0.5 ? 1 : -1;
    }
    double before = last_price(gen->seed, order->symbol, order->at_us - look_us);
    return (now - before) * trend > 0 ? 1 : -1;
}

static void
add_trade(struct batch *trades, const struct order *order, int64_t tick, int event, double price,
          double latency_ms, double slippage_bps)
{
    char id[ID_BYTES];
    size_t row = batch_add_row(trades);

    snprintf(id, sizeof(id), "demo-%" PRId64 "-%d", tick, event);
    rows_put_text(trades, row, "trade_id", batch_keep_text(trades, slice_of(id)));
    rows_put_time(trades, row, "timestamp", order->at_us);
    rows_put_text(trades, row, "symbol", slice_of(symbols[order->symbol].name));
    rows_put_text(trades, row, "side", slice_of(order->quantity > 0 ? "buy" : "sell"));
    rows_put_number(trades, row, "quantity", (double)llabs(order->quantity));
    rows_put_number(trades, row, "price", price);
    rows_put_number(trades, row, "latency_ms", latency_ms);
    rows_put_number(trades, row, "slippage_bps", slippage_bps);
    rows_put_text(trades, row, "strategy", slice_of(strategies[order->strategy].name));
}

/* What becomes of an order. */
static void
send_order(struct demo_gen *gen, const struct order *order, int event, struct rng *rng,
           struct batch *ret_trades)
{
    struct demo_quote quote;
    double fate = rng_double(rng);
    double latency_ms = round(exp(log(9) + 0.55 * rng_normal(rng)) * 1000) / 1000;
    double slippage_bps = round((0.3 + 0.5 * rng_normal(rng)) * 1000) / 1000;

    gen->orders.submitted++;
    if (fate >= SHARE_FILLED) {
        bool is_cancelled = fate < SHARE_FILLED + SHARE_CANCELLED;
        gen->orders.cancelled += is_cancelled;
        gen->orders.rejected += !is_cancelled;
        return;
    }
    gen->orders.filled++;
    gen->orders.latency_sum_ms += latency_ms;
    gen->orders.slippage_sum_bps += slippage_bps;
    demo_gen_quote(gen, order->symbol, order->at_us, &quote);
    bool is_buy = order->quantity > 0;
    double worse = (is_buy ? 1 : -1) * slippage_bps / BPS;
    double price =
        round_to((is_buy ? quote.ask : quote.bid) * (1 + worse), symbols[order->symbol].scale);
    fill(&gen->desks[order->strategy], order->symbol, order->quantity, price);
    if (ret_trades) {
        add_trade(ret_trades, order, gen->tick, event, price, latency_ms, slippage_bps);
    }
}

/* One signal: perhaps an order. */
static void
run_event(struct demo_gen *gen, int event, int events, struct rng *rng, struct batch *ret_trades)
{
    struct order order;

    order.strategy = (int)rng_below(rng, DEMO_STRATEGIES);
    order.symbol = strategies[order.strategy].symbols[rng_below(rng, STRATEGY_SYMBOLS)];
    order.at_us =
        gen->tick * DEMO_TICK_US + (int64_t)((event + rng_double(rng)) / events * DEMO_TICK_US);
    struct demo_desk *desk = &gen->desks[order.strategy];
    desk->signals++;
    if (rng_double(rng) >= SHARE_ORDERED) {
        return;
    }
    const struct demo_symbol *symbol = &symbols[order.symbol];
    int64_t size = symbol->lot * (int64_t)(1 + rng_below(rng, LOTS_MAX));
    int64_t held = desk->positions[order.symbol].quantity;
    order.quantity = direction(gen, &order, rng) * size;
    if (llabs(held + order.quantity) > symbol->lot * LOTS_HELD_MAX) {
        order.quantity = -order.quantity; /* at its limit a desk takes risk off */
    }
    send_order(gen, &order, event, rng, ret_trades);
}

/* How many events a uniform number stands for: Poisson by inversion. */
static int
poisson(double u)
{
    double chance = exp(-EVENTS_A_TICK);
    double below = chance;
    int count = 0;

    while (u >= below && count < EVENTS_MAX) {
        count++;
        chance *= EVENTS_A_TICK / count;
        below += chance;
    }
    return count;
}

static void
begin_day(struct demo_gen *gen, int64_t day)
{
    gen->day = day;
    gen->orders = (struct demo_orders){0};
    for (int i = 0; i < DEMO_STRATEGIES; i++) {
        gen->desks[i].pnl_at_midnight = desk_pnl(gen, &gen->desks[i], day * TIME_US_PER_DAY);
        gen->desks[i].signals = 0;
    }
}

static void
run_tick(struct demo_gen *gen, struct batch *ret_trades)
{
    int64_t day = gen->tick * DEMO_TICK_US / TIME_US_PER_DAY;
    uint64_t bits = mix3(gen->seed, CHANNEL_EVENTS, (uint64_t)gen->tick);
    int events = poisson(unit(bits));
    struct rng rng;

    if (day != gen->day) {
        begin_day(gen, day);
    }
    if (events > 0) {
        rng_init(&rng, bits);
        for (int i = 0; i < events; i++) {
            run_event(gen, i, events, &rng, ret_trades);
        }
    }
}

void
demo_gen_advance(struct demo_gen *gen, int64_t to_us, struct batch *ret_trades)
{
    int64_t end = to_us / DEMO_TICK_US - 1;

    while (gen->tick < end) {
        gen->tick++;
        run_tick(gen, ret_trades);
    }
}

void
demo_gen_init(struct demo_gen *gen, uint64_t seed, int64_t now_us)
{
    int64_t midnight_us = now_us - now_us % TIME_US_PER_DAY;

    *gen = (struct demo_gen){
        .seed = seed, .tick = midnight_us / DEMO_TICK_US - 1, .day = midnight_us / TIME_US_PER_DAY};
    demo_gen_advance(gen, now_us, NULL);
}

void
demo_gen_market(const struct demo_gen *gen, int64_t at_us, struct batch *ret_rows)
{
    for (int i = 0; i < DEMO_SYMBOLS; i++) {
        struct demo_quote quote;
        demo_gen_quote(gen, i, at_us, &quote);
        size_t row = batch_add_row(ret_rows);
        rows_put_time(ret_rows, row, "timestamp", at_us);
        rows_put_text(ret_rows, row, "symbol", slice_of(symbols[i].name));
        rows_put_number(ret_rows, row, "last_price", quote.last);
        rows_put_number(ret_rows, row, "bid", quote.bid);
        rows_put_number(ret_rows, row, "ask", quote.ask);
        rows_put_number(ret_rows, row, "volume", (double)quote.volume);
        rows_put_number(ret_rows, row, "trades", (double)quote.trades);
        rows_put_number(ret_rows, row, "spread_bps", quote.spread_bps);
    }
}

static double
cents(double value)
{
    return round(value * 100) / 100;
}

void
demo_gen_strategies(const struct demo_gen *gen, int64_t at_us, struct batch *ret_rows)
{
    for (int i = 0; i < DEMO_STRATEGIES; i++) {
        const struct demo_desk *desk = &gen->desks[i];
        double pnl = desk_pnl(gen, desk, at_us);
        double won = desk->closed ? (double)desk->won / (double)desk->closed : 0;
        int open = 0;
        for (int k = 0; k < DEMO_SYMBOLS; k++) {
            open += desk->positions[k].quantity != 0;
        }
        size_t row = batch_add_row(ret_rows);
        rows_put_time(ret_rows, row, "timestamp", at_us);
        rows_put_text(ret_rows, row, "strategy_name", slice_of(strategies[i].name));
        rows_put_number(ret_rows, row, "pnl", cents(pnl));
        rows_put_number(ret_rows, row, "daily_pnl", cents(pnl - desk->pnl_at_midnight));
        rows_put_number(ret_rows, row, "positions", open);
        rows_put_number(ret_rows, row, "signals", (double)desk->signals);
        rows_put_number(ret_rows, row, "win_rate", round(won * BPS) / BPS);
    }
}

void
demo_gen_execution(const struct demo_gen *gen, int64_t at_us, struct batch *ret_rows)
{
    const struct demo_orders *orders = &gen->orders;
    double filled = (double)orders->filled;
    size_t row = batch_add_row(ret_rows);

    rows_put_time(ret_rows, row, "timestamp", at_us);
    rows_put_number(ret_rows, row, "orders_submitted", (double)orders->submitted);
    rows_put_number(ret_rows, row, "orders_filled", filled);
    rows_put_number(ret_rows, row, "orders_cancelled", (double)orders->cancelled);
    rows_put_number(ret_rows, row, "orders_rejected", (double)orders->rejected);
    double share = orders->submitted > 0 ? filled / (double)orders->submitted : 0;
    double fills = orders->filled > 0 ? filled : 1;
    rows_put_number(ret_rows, row, "fill_rate", round(share * BPS) / BPS);
    rows_put_number(ret_rows, row, "avg_latency_ms",
                    round(orders->latency_sum_ms / fills * 1000) / 1000);
    rows_put_number(ret_rows, row, "avg_slippage_bps",
                    round(orders->slippage_sum_bps / fills * 1000) / 1000);
}
