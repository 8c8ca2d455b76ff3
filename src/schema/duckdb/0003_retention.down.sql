SELECT CASE WHEN count(*) > 0 THEN error('retention_receipts has ' || count(*) || ' rows, which '
    || 'version 2 does not know: keep a copy (eider retention receipts --json > FILE) and drop them with '
    || '--drop-receipts') END
    FROM retention_receipts;

DROP TABLE retention_receipts;
