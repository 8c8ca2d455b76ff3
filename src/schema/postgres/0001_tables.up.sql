-- The catalogue's tables in PostgreSQL's types. JSON, not JSONB: the text is kept as it was given.

CREATE TABLE IF NOT EXISTS eider_applied (lsn BIGINT NOT NULL);

CREATE TABLE IF NOT EXISTS market_data (
    "timestamp" TIMESTAMP NOT NULL,
    "symbol" TEXT NOT NULL,
    "last_price" DOUBLE PRECISION,
    "bid" DOUBLE PRECISION,
    "ask" DOUBLE PRECISION,
    "volume" BIGINT,
    "trades" INTEGER,
    "spread_bps" DOUBLE PRECISION
);

CREATE TABLE IF NOT EXISTS strategy_metrics (
    "timestamp" TIMESTAMP NOT NULL,
    "strategy_name" TEXT NOT NULL,
    "pnl" DOUBLE PRECISION,
    "daily_pnl" DOUBLE PRECISION,
    "positions" INTEGER,
    "signals" INTEGER,
    "win_rate" DOUBLE PRECISION
);

CREATE TABLE IF NOT EXISTS execution_metrics (
    "timestamp" TIMESTAMP NOT NULL,
    "orders_submitted" INTEGER,
    "orders_filled" INTEGER,
    "orders_cancelled" INTEGER,
    "orders_rejected" INTEGER,
    "fill_rate" DOUBLE PRECISION,
    "avg_latency_ms" DOUBLE PRECISION,
    "avg_slippage_bps" DOUBLE PRECISION
);

CREATE TABLE IF NOT EXISTS system_metrics (
    "timestamp" TIMESTAMP NOT NULL,
    "cpu_percent" DOUBLE PRECISION,
    "memory_percent" DOUBLE PRECISION,
    "disk_usage_percent" DOUBLE PRECISION,
    "uptime_seconds" DOUBLE PRECISION,
    "health_status" TEXT,
    "active_alerts" INTEGER
);

CREATE TABLE IF NOT EXISTS trades (
    "trade_id" TEXT NOT NULL,
    "timestamp" TIMESTAMP NOT NULL,
    "symbol" TEXT NOT NULL,
    "side" TEXT NOT NULL,
    "quantity" DOUBLE PRECISION NOT NULL,
    "price" DOUBLE PRECISION NOT NULL,
    "latency_ms" DOUBLE PRECISION,
    "slippage_bps" DOUBLE PRECISION,
    "strategy" TEXT
);

CREATE TABLE IF NOT EXISTS candles (
    "timestamp" TIMESTAMP NOT NULL,
    "symbol" TEXT NOT NULL,
    "open" DOUBLE PRECISION NOT NULL,
    "high" DOUBLE PRECISION NOT NULL,
    "low" DOUBLE PRECISION NOT NULL,
    "close" DOUBLE PRECISION NOT NULL,
    "volume" BIGINT NOT NULL
);

CREATE TABLE IF NOT EXISTS performance_history (
    "timestamp" TIMESTAMP NOT NULL,
    "portfolio_value" DOUBLE PRECISION NOT NULL,
    "pnl" DOUBLE PRECISION NOT NULL,
    "sharpe_ratio" DOUBLE PRECISION,
    "max_drawdown" DOUBLE PRECISION,
    "win_rate" DOUBLE PRECISION,
    "total_trades" INTEGER
);

CREATE TABLE IF NOT EXISTS series (
    "series_id" INTEGER NOT NULL,
    "metric_name" TEXT NOT NULL,
    "symbol" TEXT,
    "labels" JSON
);

CREATE TABLE IF NOT EXISTS samples (
    "series_id" INTEGER NOT NULL,
    "timestamp" TIMESTAMP NOT NULL,
    "value" DOUBLE PRECISION NOT NULL
);

CREATE TABLE IF NOT EXISTS eider_idempotency (
    "key" TEXT NOT NULL,
    "payload_hash" TEXT NOT NULL,
    "accepted" BIGINT,
    "rejected" BIGINT,
    "lsn" BIGINT,
    "at" TIMESTAMP NOT NULL
);

CREATE TABLE IF NOT EXISTS api_event_log (
    "id" TEXT,
    "timestamp" TIMESTAMP NOT NULL,
    "api_name" TEXT NOT NULL,
    "endpoint" TEXT NOT NULL,
    "method" TEXT,
    "status_code" INTEGER,
    "success" BOOLEAN,
    "latency_ms" DOUBLE PRECISION,
    "credits_cost" NUMERIC(18,6),
    "run_id" TEXT,
    "error_message" TEXT,
    "metadata_json" JSON,
    "created_at" TIMESTAMP,
    "api_key" TEXT,
    "project" TEXT,
    "reservation_id" TEXT,
    "corrects" TEXT,
    "price_rule" TEXT,
    "seq" BIGINT NOT NULL,
    "hash" TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS reservation_changes (
    "seq" BIGINT NOT NULL,
    "timestamp" TIMESTAMP NOT NULL,
    "reservation_id" TEXT NOT NULL,
    "change" TEXT NOT NULL,
    "credits" NUMERIC(18,6),
    "expires_at" TIMESTAMP,
    "api_name" TEXT,
    "endpoint" TEXT,
    "method" TEXT,
    "api_key" TEXT,
    "run_id" TEXT,
    "project" TEXT,
    "event_id" TEXT,
    "probe_of" TEXT,
    "price_rule" TEXT,
    "open_from" BIGINT
);

CREATE TABLE IF NOT EXISTS budget_changes (
    "seq" BIGINT NOT NULL,
    "timestamp" TIMESTAMP NOT NULL,
    "name" TEXT NOT NULL,
    "change" TEXT NOT NULL,
    "instance" TEXT,
    "definition" JSON,
    "reason" TEXT
);

CREATE TABLE IF NOT EXISTS price_book (
    "timestamp" TIMESTAMP NOT NULL,
    "book" TEXT NOT NULL,
    "version" TEXT NOT NULL,
    "effective_from" TIMESTAMP,
    "source" TEXT NOT NULL
);

CREATE INDEX IF NOT EXISTS market_data_read ON market_data (symbol, "timestamp");
CREATE INDEX IF NOT EXISTS strategy_metrics_read ON strategy_metrics (strategy_name, "timestamp");
CREATE INDEX IF NOT EXISTS execution_metrics_read ON execution_metrics ("timestamp");
CREATE INDEX IF NOT EXISTS system_metrics_read ON system_metrics ("timestamp");
CREATE INDEX IF NOT EXISTS trades_read ON trades (symbol, "timestamp");
CREATE INDEX IF NOT EXISTS candles_read ON candles (symbol, "timestamp");
CREATE INDEX IF NOT EXISTS performance_history_read ON performance_history ("timestamp");
CREATE INDEX IF NOT EXISTS samples_read ON samples (series_id, "timestamp");
CREATE INDEX IF NOT EXISTS api_event_log_read ON api_event_log ("timestamp", seq);
CREATE INDEX IF NOT EXISTS reservation_changes_read ON reservation_changes (seq);
CREATE INDEX IF NOT EXISTS budget_changes_read ON budget_changes (seq);
