/*
 * Live state: the newest values of every symbol, strategy, execution, system and series, the ring
 * of recent trades, and the figures derived from them; serialised ten times a second into one
 * snapshot that REST, WebSocket and dashboard share. Shapes: docs/compatibility.md (current
 * metrics).
 *
 * A row counts when it is at least as new (timestamp, then LSN) as what is there. Bounded: symbols,
 * strategies and trades have caps; past a cap the least recently updated (of trades: the oldest)
 * goes. Series are kept by number up to a cap; those beyond it are not kept. Counters say so.
 *
 * Threads: any; one mutex within, held for short loops only. live_update must get the records in
 * order of their LSNs.
 */
#ifndef EIDER_LIVE_LIVE_H
#define EIDER_LIVE_LIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "catalog/batch.h"

struct json_writer;
struct live;

struct live_options {
    const struct clock *clock; /* NULL: the system's */
    size_t symbols_max;        /* 0: 10 000 */
    size_t strategies_max;     /* 0: 1 000 */
    size_t series_max;         /* 0: 1 000 000; also the end of the numbers that are kept */
    size_t series_text_bytes;  /* names, symbols and labels of series; 0: 256 MiB */
    size_t trades_max;         /* ring of recent trades; 0: 1 000 */
    bool demo;                 /* adds "demo": true to every snapshot */
};

/* The newest trades that a snapshot carries. */
/* Newest trades in an answer, and in a frame: the stream repeats them ten times a second. */
enum { LIVE_SNAPSHOT_TRADES = 50, LIVE_FRAME_TRADES = 10 };

void live_open(const struct live_options *options, struct live **ret_live);
void live_close(struct live *live); /* NULL is fine */

/* Takes durable rows in; texts are copied. Fits ingest_sink_fn with a cast-free wrapper. Tables of
 * no interest are skipped. `lsn` is above 0. */
void live_update(struct live *live, const struct batch *batches, size_t count, uint64_t lsn);

/*
 * Takes an answer of the store in, to begin where the last run ended: engine_latest of market_data,
 * strategy_metrics, execution_metrics, system_metrics and samples, engine_scan of series and of the
 * newest trades and events. Whatever came by live_update stays when it is as new; sums of what was
 * spent begin at zero.
 */
void live_load(struct live *live, enum table_id table, const struct batch *rows);

/* Parts of a snapshot, for subscriptions: bit i is topic i. */
enum live_topic {
    LIVE_MARKET,
    LIVE_STRATEGY,
    LIVE_EXECUTION,
    LIVE_SYSTEM,
    LIVE_TRADES,
    LIVE_SPEND,
    LIVE_TOPIC_COUNT
};
const char *live_topic_name(enum live_topic topic); /* "market_data", "strategy", ..., "spend" */

/* What whoever does not ask for anything gets: the parts of the original, and trades. */
enum { LIVE_TOPICS_DEFAULT = (1 << LIVE_SPEND) - 1 };

/* Newest entries of the event log in the part "spend". */
enum { LIVE_RECENT_EVENTS = 20 };

/* Writes the members "reserved" and "budgets" of the part "spend" into the object that is open.
 * Called by live_snapshot and live_part on their caller's thread, outside of the lock. */
typedef void live_spend_fn(void *ctx, struct json_writer *json);

/* Gives what knows of budgets; before the first snapshot. Without it they are none. */
void live_set_spend(struct live *live, live_spend_fn *write, void *ctx);

/*
 * Appends the JSON object of current metrics: timestamp, market_data, strategy, execution, system
 * (and trades, spend, demo as additions), restricted to topic_mask. `websocket` gives the frame's
 * form: timestamp is the monotonic clock in seconds, server_time the wall clock, and trades are the
 * newest LIVE_FRAME_TRADES instead of LIVE_SNAPSHOT_TRADES.
 */
void live_snapshot(struct live *live, uint32_t topic_mask, bool websocket, struct buf *ret_json);

/* One part's object alone. */
void live_part(struct live *live, enum live_topic topic, struct buf *ret_json);

/* GET /api/metrics/summary. */
void live_summary(struct live *live, struct buf *ret_json);

/* Sorted symbols, as a JSON array. */
size_t live_symbols(struct live *live, struct buf *ret_json);

/* GET /api/trades/execution/quality, with the share of rejected and cancelled orders. */
void live_execution_quality(struct live *live, struct buf *ret_json);

/* Alerts of the system collector. */
struct live_alert {
    char id[64];
    char type[32];
    char message[160];
    char severity[16];
    int64_t raised_us;
    int64_t acknowledged_us; /* 0: not */
    bool active;
    int64_t cleared_us; /* 0: not */
};
/* Sets or clears the alert of one type; true when it changed. */
bool live_alert_set(struct live *live, const char *type, bool active, const char *severity,
                    const char *message);
/* False when there is no such alert. */
bool live_alert_acknowledge(struct live *live, struct slice id);
/* Copies alerts, newest first: the active ones and those cleared lately (64 are kept in all). */
size_t live_alerts(struct live *live, struct live_alert *ret_alerts, size_t max);
size_t live_alerts_active(struct live *live);

/* System figures. Those behind `extra` are 0 when unknown, and then not part of a snapshot. */
struct live_system {
    int64_t timestamp_us;
    double cpu_percent, memory_percent, disk_usage_percent, uptime_seconds;
    char health[16]; /* "healthy", "degraded", "unhealthy", "unknown" */
    int active_alerts;
    /* extra */
    double cpu_cores; /* that 100 % stands for */
    uint64_t memory_used_bytes, memory_total_bytes;
    uint64_t disk_used_bytes, disk_total_bytes;
    double load1;
    double net_rx_bytes_per_second, net_tx_bytes_per_second;
    double disk_read_bytes_per_second, disk_write_bytes_per_second;
};

/* Newest system figures; false before the first. */
bool live_system(struct live *live, struct live_system *ret_system);

/* Takes figures that are not rows (the system collector's, ten times a second). While they come,
 * rows of system_metrics are not shown: they are these figures, a second late. */
void live_set_system(struct live *live, const struct live_system *system);

/* Whether a part has had data (not by live_load) within max_age_us. */
bool live_is_fresh(struct live *live, enum live_topic topic, int64_t max_age_us);

/* Last point of every series of a metric (empty name: all) as JSON array rows {metric_name, symbol,
 * labels, value, timestamp}; names come from the series batches that passed through live_update.
 * At most `limit` rows (0: no limit), in order of series number; returns how many. */
size_t live_last_points(struct live *live, struct slice metric_name, size_t limit,
                        struct buf *ret_json);

struct live_stats {
    uint64_t rows; /* taken in since open */
    size_t symbols, strategies, trades, series;
    uint64_t evicted;        /* symbols and strategies that made room for others */
    uint64_t refused;        /* rows whose key or texts are longer than 256 bytes */
    uint64_t series_refused; /* samples and series beyond series_max or series_text_bytes */
};
void live_stats(struct live *live, struct live_stats *ret_stats);

#endif
