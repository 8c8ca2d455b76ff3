-- Only of a database to which nothing was ever written: to delete rows, delete the database.

DO $$
BEGIN
    IF EXISTS (SELECT FROM eider_applied) THEN
        RAISE EXCEPTION 'the database has been written to, and going below version 1 would delete '
            'its tables: drop the database instead';
    END IF;
END
$$;

DROP VIEW IF EXISTS trading_metrics;
DROP VIEW IF EXISTS api_quota_usage;
DROP VIEW IF EXISTS reservations;
DROP VIEW IF EXISTS budgets;

DROP TABLE price_book;
DROP TABLE budget_changes;
DROP TABLE reservation_changes;
DROP TABLE api_event_log;
DROP TABLE eider_idempotency;
DROP TABLE samples;
DROP TABLE series;
DROP TABLE performance_history;
DROP TABLE candles;
DROP TABLE trades;
DROP TABLE system_metrics;
DROP TABLE execution_metrics;
DROP TABLE strategy_metrics;
DROP TABLE market_data;
DROP TABLE eider_applied;
