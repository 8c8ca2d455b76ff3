/*
 * Live state: the newest values of every symbol, strategy, execution, system and series, the ring
 * of recent trades, and the figures derived from them; serialised ten times a second into one
 * snapshot that REST, WebSocket and dashboard share. Shapes: docs/compatibility.md (current
 * metrics).
 *
 * A row counts when it is at least as new (timestamp, then LSN) as what is there. Bounded: symbols,
 * strategies, series and trades have caps; past a cap the least recently updated goes.
 *
 * Threads: any; one mutex within, held for short loops only.
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

struct live;

struct live_options {
    const struct clock *clock; /* NULL: the system's */
    size_t symbols_max;        /* 0: 10 000 */
    size_t strategies_max;     /* 0: 1 000 */
    size_t series_max;         /* 0: 1 000 000 */
    size_t trades_max;         /* ring of recent trades; 0: 1 000 */
    bool demo;                 /* adds "demo": true to every snapshot */
};

void live_open(const struct live_options *options, struct live **ret_live);
void live_close(struct live *live); /* NULL is fine */

/* Takes durable rows in. Fits ingest_sink_fn with a cast-free wrapper. */
void live_update(struct live *live, const struct batch *batches, size_t count, uint64_t lsn);

/* Parts of a snapshot, for subscriptions: bit i is topic i. */
enum live_topic {
    LIVE_MARKET,
    LIVE_STRATEGY,
    LIVE_EXECUTION,
    LIVE_SYSTEM,
    LIVE_TRADES,
    LIVE_TOPIC_COUNT
};
const char *live_topic_name(enum live_topic topic); /* "market_data", "strategy", ..., "trades" */

/*
 * Appends the JSON object of current metrics: timestamp, market_data, strategy, execution, system
 * (and trades, demo as additions), restricted to topic_mask. `websocket` gives the frame's form:
 * timestamp is the monotonic clock in seconds and server_time the wall clock.
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
};
/* Sets or clears the alert of one type; true when it changed. */
bool live_alert_set(struct live *live, const char *type, bool active, const char *severity,
                    const char *message);
bool live_alert_acknowledge(struct live *live, struct slice id);
size_t live_alerts(struct live *live, struct live_alert *ret_alerts, size_t max);

/* Newest system figures; false before the first. */
struct live_system {
    int64_t timestamp_us;
    double cpu_percent, memory_percent, disk_usage_percent, uptime_seconds;
    char health[16];
    int active_alerts;
};
bool live_system(struct live *live, struct live_system *ret_system);

/* Whether a part has had data within max_age_us. */
bool live_is_fresh(struct live *live, enum live_topic topic, int64_t max_age_us);

/* Last point of every series of a metric (empty name: all) as JSON array rows {metric_name, symbol,
 * labels, value, timestamp}; names come from the series batches that passed through live_update. */
size_t live_last_points(struct live *live, struct slice metric_name, size_t limit,
                        struct buf *ret_json);

#endif
