-- What the store needs: the order of appending (eider_ord), which database this is, and indexes.
-- A text of any length is stored, but no entry of an index may be longer than a third of a page, so
-- that indexes of texts hold hashes; the store's statements name the hash beside the text.

CREATE TABLE eider_database (id TEXT NOT NULL, made_at TIMESTAMPTZ NOT NULL DEFAULT now());
ALTER TABLE eider_applied ADD COLUMN ord BIGINT NOT NULL DEFAULT 0;

ALTER TABLE market_data ADD COLUMN eider_ord BIGINT;
ALTER TABLE strategy_metrics ADD COLUMN eider_ord BIGINT;
ALTER TABLE execution_metrics ADD COLUMN eider_ord BIGINT;
ALTER TABLE system_metrics ADD COLUMN eider_ord BIGINT;
ALTER TABLE trades ADD COLUMN eider_ord BIGINT;
ALTER TABLE candles ADD COLUMN eider_ord BIGINT;
ALTER TABLE performance_history ADD COLUMN eider_ord BIGINT;
ALTER TABLE series ADD COLUMN eider_ord BIGINT;
ALTER TABLE samples ADD COLUMN eider_ord BIGINT;
ALTER TABLE eider_idempotency ADD COLUMN eider_ord BIGINT;
ALTER TABLE api_event_log ADD COLUMN eider_ord BIGINT;
ALTER TABLE reservation_changes ADD COLUMN eider_ord BIGINT;
ALTER TABLE budget_changes ADD COLUMN eider_ord BIGINT;
ALTER TABLE price_book ADD COLUMN eider_ord BIGINT;

DROP INDEX IF EXISTS market_data_read;
DROP INDEX IF EXISTS strategy_metrics_read;
DROP INDEX IF EXISTS trades_read;
DROP INDEX IF EXISTS candles_read;

CREATE INDEX market_data_time ON market_data ("timestamp");
CREATE INDEX market_data_symbol ON market_data (hashtextextended(symbol, 0), "timestamp");
CREATE INDEX strategy_metrics_time ON strategy_metrics ("timestamp");
CREATE INDEX strategy_metrics_name ON strategy_metrics (hashtextextended(strategy_name, 0), "timestamp");
CREATE INDEX trades_time ON trades ("timestamp");
CREATE INDEX trades_symbol ON trades (hashtextextended(symbol, 0), "timestamp");
CREATE INDEX trades_id ON trades (hashtextextended(trade_id, 0));
CREATE INDEX candles_time ON candles ("timestamp");
CREATE INDEX candles_symbol ON candles (hashtextextended(symbol, 0), "timestamp");
CREATE UNIQUE INDEX series_once ON series (series_id);
CREATE INDEX series_name ON series (hashtextextended(metric_name, 0));
CREATE INDEX samples_time ON samples ("timestamp");
CREATE INDEX eider_idempotency_key ON eider_idempotency (hashtextextended(key, 0));
CREATE INDEX api_event_log_id ON api_event_log (hashtextextended(id, 0));
CREATE INDEX api_event_log_ord ON api_event_log (eider_ord);
CREATE INDEX reservation_changes_id ON reservation_changes (hashtextextended(reservation_id, 0));
CREATE INDEX reservation_changes_ord ON reservation_changes (eider_ord);
CREATE INDEX budget_changes_ord ON budget_changes (eider_ord);
