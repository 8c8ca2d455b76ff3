/*
 * The catalogue: one declarative list of every table, made once and read by DDL, validation, JSON,
 * OpenAPI, import and migration. Nothing else in the program lists columns.
 *
 * Source of the tables: the observability API's schema (docs/compatibility.md). Timestamps are
 * signed 64-bit microseconds since 1970-01-01 UTC; SQL type TIMESTAMP (no zone).
 *
 * Threads: constant data; any thread.
 */
#ifndef EIDER_CATALOG_CATALOG_H
#define EIDER_CATALOG_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

/* Stable: the numbers stand in WAL records. Add at the end only. */
enum col_type {
    COL_BOOL,      /* uint8_t 0 or 1; BOOLEAN */
    COL_INT32,     /* int32_t; INTEGER */
    COL_INT64,     /* int64_t; BIGINT */
    COL_DOUBLE,    /* double; DOUBLE; NaN and infinities are values */
    COL_TIMESTAMP, /* int64_t microseconds; TIMESTAMP */
    COL_TEXT,      /* struct slice, UTF-8; VARCHAR */
    COL_JSON,      /* struct slice, JSON text as it was given; JSON */
    COL_DECIMAL,   /* int64_t millionths (codec/decimal.h); DECIMAL(18,6) */
    COL_TYPE_COUNT
};

/* What a missing (or null) value of an incoming row becomes. */
enum col_missing {
    MISSING_NULL,   /* stays NULL */
    MISSING_REFUSE, /* the row is refused: the column is required */
    MISSING_ZERO,   /* 0, 0.0 or false */
    MISSING_NOW,    /* the time of arrival */
    MISSING_TEXT,   /* catalog_column.default_text */
    MISSING_UUID    /* a new version 7 UUID */
};

struct catalog_column {
    const char *name;
    enum col_type type;
    enum col_missing missing;
    const char *default_text;   /* for MISSING_TEXT */
    const char *unit;           /* "us", "ms", "percent", "bps", "s", or NULL */
    const char *help;           /* one sentence, for OpenAPI and docs */
    const char *const *choices; /* NULL, or the allowed texts ending in NULL */
    double min;                 /* with max: the allowed range when min < max */
    double max;                 /* INFINITY: no upper bound */
};

/* Stable: the numbers stand in WAL records. Add at the end only. */
enum table_id {
    TABLE_MARKET_DATA = 1,
    TABLE_STRATEGY_METRICS = 2,
    TABLE_EXECUTION_METRICS = 3,
    TABLE_SYSTEM_METRICS = 4,
    TABLE_TRADES = 5,
    TABLE_CANDLES = 6,
    TABLE_PERFORMANCE_HISTORY = 7,
    TABLE_SERIES = 8,       /* series_id, metric_name, symbol, labels */
    TABLE_SAMPLES = 9,      /* series_id, timestamp, value */
    TABLE_METRICS = 10,     /* as ingested: timestamp, metric_name, value, symbol, labels; a view */
    TABLE_IDEMPOTENCY = 11, /* eider_idempotency: key, payload_hash, accepted, rejected, at */
    TABLE_EVENTS = 12,      /* api_event_log: paid API calls, a hash chain */
    TABLE_RESERVATION_CHANGES = 13,
    TABLE_BUDGET_CHANGES = 14,
    TABLE_PRICE_BOOK = 15,
    TABLE_RETENTION_RECEIPTS = 16,
    TABLE_ID_END
};

enum table_kind {
    TABLE_REPLACE, /* a row with the key of an existing row replaces it */
    TABLE_APPEND,  /* rows are only added */
    TABLE_VIEW     /* accepted by ingest, stored through other tables */
};

enum { CATALOG_COLUMNS_MAX = 24, CATALOG_NONE = -1 };

/* A view that goes with a table, for users' SQL; the memory store has none. Made anew whenever a
 * store is opened, after all tables, so that its text may change. */
struct catalog_view {
    const char *name;
    const char *help;
    const char *select;
};

struct catalog_table {
    enum table_id id;
    enum table_kind kind;
    const char *name; /* SQL name */
    const char *help;
    const struct catalog_column *columns;
    size_t column_count;
    uint32_t key_mask;   /* bit i: column i is part of the key; 0 without a key */
    uint32_t order_mask; /* TABLE_APPEND: columns that order the rows of one time in a scan */
    int time_column;     /* index of the timestamp, or CATALOG_NONE */
    int series_column;   /* index of the column that names the series (symbol, ...), or CATALOG_NONE
                          */
    bool ingestible;     /* clients may write it by POST /api/v1/ingest/{table} */
    bool sealed;    /* closed days go to cold files (docs/adr/0018-cold-data.md) where the store has
                     * them */
    bool rolled_up; /* of cold files there are aggregates by minute to day; sealed ones only */
    const struct catalog_view *views;
    size_t view_count;
};

/* The table with this number, or NULL. */
const struct catalog_table *catalog_table(enum table_id id);

/*
 * Finds a table by its SQL name, or by the names users of the five systems write ("metrics" and
 * "trading_metrics" are TABLE_METRICS, "trading_candles" is TABLE_CANDLES); NULL when unknown.
 */
const struct catalog_table *catalog_find(struct slice name);

/* All tables in order of their numbers: call with index 0, 1, ... until NULL. */
const struct catalog_table *catalog_at(size_t index);

/* Index of a column by name, or CATALOG_NONE. */
int catalog_column_index(const struct catalog_table *table, struct slice name);

/* The same for names that a request brings: ERR_INVALID when the table has no such column. */
enum err_code catalog_find_column(const struct catalog_table *table, const char *name,
                                  size_t *ret_column, struct err *err);

/* "BOOLEAN", "TIMESTAMP", ... of DuckDB. */
const char *catalog_sql_type(enum col_type type);

/* What a client should have sent, e.g. "a number", "an ISO 8601 time or an integer". */
const char *catalog_type_expected(enum col_type type);

/* Appends CREATE TABLE IF NOT EXISTS for a stored table, or CREATE VIEW for trading_metrics.
 * Without PRIMARY KEY, UNIQUE or indexes: uniqueness is kept before the append. */
void catalog_ddl(const struct catalog_table *table, struct buf *ret_sql);

/* How the columns of TABLE_METRICS come about; samples AS s, joined with series AS r by series_id,
 * stand behind it. */
#define CATALOG_METRICS_SELECT                                                                     \
    "SELECT s.timestamp, r.metric_name, s.value, r.symbol, r.labels FROM "

/* Appends the name of the table that holds the rows which are not in cold files: "x_hot" for a
 * sealed table x, which is a view then; for others their own name. */
void catalog_hot_name(const struct catalog_table *table, struct buf *ret_name);

/* Appends CREATE OR REPLACE VIEW for each of the table's views, each with a semicolon behind. */
void catalog_views_ddl(const struct catalog_table *table, struct buf *ret_sql);

/* Whether column `column` orders the rows of one time in a scan: keys, the series, order_mask. */
bool catalog_orders(const struct catalog_table *table, size_t column);

/* The name nearest to `name` among tables (or columns of `table`), for "did you mean"; or NULL. */
const char *catalog_suggest_table(struct slice name);

/* The names of the tables that clients may write, or whose days are sealed, with ", " between them;
 * for messages. The samples are called metrics, as wherever a table is asked for. */
enum { CATALOG_NAMES_MAX = 256 };
void catalog_name_ingestible(char ret_names[CATALOG_NAMES_MAX]);
void catalog_name_sealed(char ret_names[CATALOG_NAMES_MAX]);
const char *catalog_suggest_column(const struct catalog_table *table, struct slice name);

#endif
