-- What retention dropped: one row a step, written through the log (docs/retention.md).

CREATE TABLE IF NOT EXISTS retention_receipts (
    "id" TEXT,
    "timestamp" TIMESTAMP NOT NULL,
    "rule" TEXT NOT NULL,
    "action" TEXT NOT NULL,
    "table_name" TEXT NOT NULL,
    "kind" TEXT NOT NULL,
    "day" TEXT NOT NULL,
    "files" BIGINT,
    "rows" BIGINT,
    "bytes" BIGINT,
    "metrics" JSON,
    eider_ord BIGINT
);

CREATE INDEX IF NOT EXISTS retention_receipts_time ON retention_receipts ("timestamp");
