/*
 * What the files of the live part share. All of it is guarded by live->lock, which the functions
 * here expect to be held unless they say otherwise.
 */
#ifndef EIDER_LIVE_LIVE_INTERNAL_H
#define EIDER_LIVE_LIVE_INTERNAL_H

#include <pthread.h>

#include "base/hist.h"
#include "codec/json_write.h"
#include "live/keyed.h"
#include "live/live.h"

enum { LIVE_ALERTS_KEPT = 64, LIVE_TEXT_BYTES_MAX = 256 };

/* When a row was true, and in which record it came. Zeros: never. */
struct live_stamp {
    int64_t timestamp_us;
    uint64_t lsn;
    bool is_set;
};

/* Missing numbers are NaN, which JSON shows as null. */
struct live_symbol {
    struct live_stamp stamp;
    double last_price, bid, ask, spread_bps;
    int64_t volume, trades;
};

struct live_strategy {
    struct live_stamp stamp;
    double pnl, daily_pnl, win_rate;
    int64_t positions, signals;
};

struct live_execution {
    struct live_stamp stamp;
    int64_t submitted, filled, cancelled, rejected;
    double fill_rate, avg_latency_ms, avg_slippage_bps; /* 0 or NaN: not given */
};

struct live_trade {
    struct live_stamp stamp;
    char *texts; /* heap; symbol, side, strategy and order id, one behind the other */
    uint16_t symbol_len, side_len, strategy_len, order_len;
    double quantity, price, latency_ms, slippage_bps, pnl;
    bool is_counted; /* in the figures of counted_day */
    int64_t counted_day;
};

/* Figures of the trades of one UTC day. */
struct live_day {
    int64_t day; /* days since 1970-01-01 */
    uint64_t fills;
    uint64_t latency_count, slippage_count;
    double latency_sum_ms, slippage_sum_bps;
    struct hist latency_us;
};

struct live_point {
    int64_t timestamp_us; /* INT64_MIN: none */
    double value;
};

/* Text of a series, in the arena: name, symbol, labels, one behind the other. */
struct live_series_name {
    const char *texts; /* NULL: unknown */
    uint32_t name_len, symbol_len, labels_len;
};

struct live_series {
    size_t max;
    struct live_point *points;
    size_t point_capacity;
    struct live_series_name *names;
    size_t name_capacity;
    size_t end;   /* one past the highest number seen */
    size_t known; /* series with a point */
    struct arena texts;
};

/* An entry of the event log; credits in millionths. */
struct live_event {
    int64_t seq;
    int64_t timestamp_us;
    int64_t credits;
    int64_t status_code;
    double latency_ms;
    bool has_status, success, has_run;
    char *texts; /* heap; id, api, endpoint and run, one behind the other */
    uint16_t id_len, api_len, endpoint_len, run_len;
};

struct live_spend {
    struct live_event recent[LIVE_RECENT_EVENTS]; /* by place in the log, the last first */
    size_t count;
    uint64_t events;        /* booked since the start */
    int64_t credits_booked; /* since the start; corrections count */
    live_spend_fn *write;   /* may be NULL; set before the first snapshot */
    void *write_ctx;
};

struct live {
    pthread_mutex_t lock;
    const struct clock *clock;
    bool demo;
    struct keyed symbols;    /* of struct live_symbol */
    struct keyed strategies; /* of struct live_strategy */
    struct keyed trades;     /* of struct live_trade; newest first by stamp */
    struct live_execution execution;
    struct live_day day;
    struct live_series series;
    struct live_spend spend;
    struct live_system system;
    bool has_system;
    int64_t system_set_us;                      /* monotonic time of live_set_system; 0: never */
    int64_t fresh_us[LIVE_TOPIC_COUNT];         /* monotonic time of the newest data */
    bool is_fresh[LIVE_TOPIC_COUNT];            /* there was data at all */
    struct live_alert alerts[LIVE_ALERTS_KEPT]; /* oldest first */
    size_t alert_count;
    struct live_stats stats;
};

/* Whether a row with this time and LSN is at least as new as what is there; then it is taken. */
bool live_stamp_take(struct live_stamp *stamp, int64_t timestamp_us, uint64_t lsn);

/* Execution figures after the rules of live.h: given, else derived. */
struct live_execution_figures {
    int64_t orders, fills, cancelled, rejected;
    double fill_rate, rejection_rate, cancellation_rate;
    double avg_latency_ms, avg_slippage_bps;
    double latency_p50_ms, latency_p95_ms, latency_p99_ms;
};
void live_execution_figures(struct live *live, struct live_execution_figures *ret_figures);

/* Trades: live_trades.c. */
void live_trades_init(struct live *live, size_t max);
void live_trades_fini(struct live *live);
void live_trades_update(struct live *live, const struct batch *batch, size_t from, size_t to,
                        uint64_t lsn);
void live_trades_write(struct live *live, struct json_writer *json, size_t max);
/* Starts a new day's figures when the clock says so. */
void live_day_roll(struct live *live);

/* Series: live_series.c. */
void live_series_init(struct live_series *series, size_t max, size_t text_bytes);
void live_series_fini(struct live_series *series);
void live_series_update_names(struct live *live, const struct batch *batch, size_t from, size_t to);
void live_series_update_points(struct live *live, const struct batch *batch, size_t from, size_t to,
                               bool is_load);

/* Spending: live_spend.c. */
void live_spend_update(struct live *live, const struct batch *batch, size_t from, size_t to,
                       bool is_load);
void live_spend_fini(struct live *live);
/* The members that are known here, without those of live_set_spend. */
void live_spend_write(struct live *live, struct json_writer *json);

/* One part of the snapshot: live_json.c. */
void live_write_part(struct live *live, enum live_topic topic, struct json_writer *json);

#endif
