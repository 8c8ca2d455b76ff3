-- What retention dropped: one row a step, written through the log (docs/retention.md).

CREATE TABLE IF NOT EXISTS retention_receipts (
    "id" VARCHAR NOT NULL,
    "timestamp" TIMESTAMP NOT NULL,
    "rule" VARCHAR NOT NULL,
    "action" VARCHAR NOT NULL,
    "table_name" VARCHAR NOT NULL,
    "kind" VARCHAR NOT NULL,
    "day" VARCHAR NOT NULL,
    "files" BIGINT NOT NULL,
    "rows" BIGINT NOT NULL,
    "bytes" BIGINT NOT NULL,
    "metrics" JSON
);
