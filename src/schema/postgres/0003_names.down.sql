DROP VIEW metric_labels;
DROP VIEW metrics;
DROP VIEW budgets;
DROP VIEW reservations;
DROP VIEW api_quota_usage;
DROP VIEW trading_metrics;
DROP FUNCTION epoch_us(TIMESTAMP);
DROP FUNCTION isfinite(DOUBLE PRECISION);
