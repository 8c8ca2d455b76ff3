-- Rows of open days stay in x_hot, closed days go to files (docs/adr/0018-cold-data.md); each start
-- makes a view x of both. A rename moves no row.

ALTER TABLE market_data RENAME TO market_data_hot;
ALTER TABLE strategy_metrics RENAME TO strategy_metrics_hot;
ALTER TABLE execution_metrics RENAME TO execution_metrics_hot;
ALTER TABLE system_metrics RENAME TO system_metrics_hot;
ALTER TABLE trades RENAME TO trades_hot;
ALTER TABLE candles RENAME TO candles_hot;
ALTER TABLE performance_history RENAME TO performance_history_hot;
ALTER TABLE samples RENAME TO samples_hot;
ALTER TABLE api_event_log RENAME TO api_event_log_hot;

CREATE TABLE eider_cold_files (
    name VARCHAR NOT NULL,
    table_name VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    day INTEGER NOT NULL, -- since 1970-01-01 UTC
    rows BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    min_us BIGINT NOT NULL,
    max_us BIGINT NOT NULL,
    checksum VARCHAR NOT NULL,
    sealed_lsn UBIGINT NOT NULL,
    sealed_at TIMESTAMP NOT NULL
);
