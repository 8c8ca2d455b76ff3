SELECT CASE WHEN count(*) > 0 THEN error('retention_receipts has ' || count(*) || ' rows, which '
    || 'version 2 does not know: copy them elsewhere and delete them first') END
    FROM retention_receipts;

DROP TABLE retention_receipts;
