-- The tables as they were before there was a ledger: a database of that time is taken over as it is,
-- a column that it lacks is added behind (src/schema/schema_check.c). No keys and no indexes:
-- uniqueness is kept before the append (docs/adr/0010-uniqueness-in-memory.md).

CREATE TABLE IF NOT EXISTS eider_applied (lsn BIGINT NOT NULL);

CREATE TABLE IF NOT EXISTS market_data (
    "timestamp" TIMESTAMP NOT NULL,
    "symbol" VARCHAR NOT NULL,
    "last_price" DOUBLE,
    "bid" DOUBLE,
    "ask" DOUBLE,
    "volume" BIGINT,
    "trades" INTEGER,
    "spread_bps" DOUBLE
);

CREATE TABLE IF NOT EXISTS strategy_metrics (
    "timestamp" TIMESTAMP NOT NULL,
    "strategy_name" VARCHAR NOT NULL,
    "pnl" DOUBLE,
    "daily_pnl" DOUBLE,
    "positions" INTEGER,
    "signals" INTEGER,
    "win_rate" DOUBLE
);

CREATE TABLE IF NOT EXISTS execution_metrics (
    "timestamp" TIMESTAMP NOT NULL,
    "orders_submitted" INTEGER,
    "orders_filled" INTEGER,
    "orders_cancelled" INTEGER,
    "orders_rejected" INTEGER,
    "fill_rate" DOUBLE,
    "avg_latency_ms" DOUBLE,
    "avg_slippage_bps" DOUBLE
);

CREATE TABLE IF NOT EXISTS system_metrics (
    "timestamp" TIMESTAMP NOT NULL,
    "cpu_percent" DOUBLE,
    "memory_percent" DOUBLE,
    "disk_usage_percent" DOUBLE,
    "uptime_seconds" DOUBLE,
    "health_status" VARCHAR,
    "active_alerts" INTEGER
);

CREATE TABLE IF NOT EXISTS trades (
    "trade_id" VARCHAR NOT NULL,
    "timestamp" TIMESTAMP NOT NULL,
    "symbol" VARCHAR NOT NULL,
    "side" VARCHAR NOT NULL,
    "quantity" DOUBLE NOT NULL,
    "price" DOUBLE NOT NULL,
    "latency_ms" DOUBLE,
    "slippage_bps" DOUBLE,
    "strategy" VARCHAR
);

CREATE TABLE IF NOT EXISTS candles (
    "timestamp" TIMESTAMP NOT NULL,
    "symbol" VARCHAR NOT NULL,
    "open" DOUBLE NOT NULL,
    "high" DOUBLE NOT NULL,
    "low" DOUBLE NOT NULL,
    "close" DOUBLE NOT NULL,
    "volume" BIGINT NOT NULL
);

CREATE TABLE IF NOT EXISTS performance_history (
    "timestamp" TIMESTAMP NOT NULL,
    "portfolio_value" DOUBLE NOT NULL,
    "pnl" DOUBLE NOT NULL,
    "sharpe_ratio" DOUBLE,
    "max_drawdown" DOUBLE,
    "win_rate" DOUBLE,
    "total_trades" INTEGER
);

CREATE TABLE IF NOT EXISTS series (
    "series_id" INTEGER NOT NULL,
    "metric_name" VARCHAR NOT NULL,
    "symbol" VARCHAR,
    "labels" JSON
);

CREATE TABLE IF NOT EXISTS samples (
    "series_id" INTEGER NOT NULL,
    "timestamp" TIMESTAMP NOT NULL,
    "value" DOUBLE NOT NULL
);

CREATE TABLE IF NOT EXISTS eider_idempotency (
    "key" VARCHAR NOT NULL,
    "payload_hash" VARCHAR NOT NULL,
    "accepted" BIGINT,
    "rejected" BIGINT,
    "lsn" BIGINT,
    "at" TIMESTAMP NOT NULL
);

CREATE TABLE IF NOT EXISTS api_event_log (
    "id" VARCHAR,
    "timestamp" TIMESTAMP NOT NULL,
    "api_name" VARCHAR NOT NULL,
    "endpoint" VARCHAR NOT NULL,
    "method" VARCHAR,
    "status_code" INTEGER,
    "success" BOOLEAN,
    "latency_ms" DOUBLE,
    "credits_cost" DECIMAL(18,6),
    "run_id" VARCHAR,
    "error_message" VARCHAR,
    "metadata_json" JSON,
    "created_at" TIMESTAMP,
    "api_key" VARCHAR,
    "project" VARCHAR,
    "reservation_id" VARCHAR,
    "corrects" VARCHAR,
    "price_rule" VARCHAR,
    "seq" BIGINT NOT NULL,
    "hash" VARCHAR NOT NULL
);

CREATE TABLE IF NOT EXISTS reservation_changes (
    "seq" BIGINT NOT NULL,
    "timestamp" TIMESTAMP NOT NULL,
    "reservation_id" VARCHAR NOT NULL,
    "change" VARCHAR NOT NULL,
    "credits" DECIMAL(18,6),
    "expires_at" TIMESTAMP,
    "api_name" VARCHAR,
    "endpoint" VARCHAR,
    "method" VARCHAR,
    "api_key" VARCHAR,
    "run_id" VARCHAR,
    "project" VARCHAR,
    "event_id" VARCHAR,
    "probe_of" VARCHAR,
    "price_rule" VARCHAR,
    "open_from" BIGINT
);

CREATE TABLE IF NOT EXISTS budget_changes (
    "seq" BIGINT NOT NULL,
    "timestamp" TIMESTAMP NOT NULL,
    "name" VARCHAR NOT NULL,
    "change" VARCHAR NOT NULL,
    "instance" VARCHAR,
    "definition" JSON,
    "reason" VARCHAR
);

CREATE TABLE IF NOT EXISTS price_book (
    "timestamp" TIMESTAMP NOT NULL,
    "book" VARCHAR NOT NULL,
    "version" VARCHAR NOT NULL,
    "effective_from" TIMESTAMP,
    "source" VARCHAR NOT NULL
);
