-- Rows in cold files would be lost to a program that knows only tables.

SELECT CASE WHEN count(*) > 0 THEN error('rows are in ' || count(*) || ' cold files, which version 1 '
    || 'cannot read: restore a backup that was made before') END FROM eider_cold_files;

-- What a start makes of the cold files.
DROP VIEW IF EXISTS market_data_1m;
DROP VIEW IF EXISTS market_data_5m;
DROP VIEW IF EXISTS market_data_1h;
DROP VIEW IF EXISTS market_data_1d;
DROP VIEW IF EXISTS candles_1m;
DROP VIEW IF EXISTS candles_5m;
DROP VIEW IF EXISTS candles_1h;
DROP VIEW IF EXISTS candles_1d;
DROP VIEW IF EXISTS samples_1m;
DROP VIEW IF EXISTS samples_5m;
DROP VIEW IF EXISTS samples_1h;
DROP VIEW IF EXISTS samples_1d;

DROP VIEW IF EXISTS market_data;
ALTER TABLE market_data_hot RENAME TO market_data;
DROP VIEW IF EXISTS strategy_metrics;
ALTER TABLE strategy_metrics_hot RENAME TO strategy_metrics;
DROP VIEW IF EXISTS execution_metrics;
ALTER TABLE execution_metrics_hot RENAME TO execution_metrics;
DROP VIEW IF EXISTS system_metrics;
ALTER TABLE system_metrics_hot RENAME TO system_metrics;
DROP VIEW IF EXISTS trades;
ALTER TABLE trades_hot RENAME TO trades;
DROP VIEW IF EXISTS candles;
ALTER TABLE candles_hot RENAME TO candles;
DROP VIEW IF EXISTS performance_history;
ALTER TABLE performance_history_hot RENAME TO performance_history;
DROP VIEW IF EXISTS samples;
ALTER TABLE samples_hot RENAME TO samples;
DROP VIEW IF EXISTS api_event_log;
ALTER TABLE api_event_log_hot RENAME TO api_event_log;

DROP TABLE eider_cold_files;
