-- What retention dropped: one row a step, written through the log (docs/retention.md).

CREATE TABLE IF NOT EXISTS retention_receipts (
    "id" VARCHAR,
    "timestamp" TIMESTAMP NOT NULL,
    "rule" VARCHAR NOT NULL,
    "action" VARCHAR NOT NULL,
    "table_name" VARCHAR NOT NULL,
    "kind" VARCHAR NOT NULL,
    "day" VARCHAR NOT NULL,
    "files" BIGINT,
    "rows" BIGINT,
    "bytes" BIGINT,
    "metrics" JSON
);
