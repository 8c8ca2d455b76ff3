DO $$
BEGIN
    IF EXISTS (SELECT FROM retention_receipts) THEN
        RAISE EXCEPTION 'retention_receipts has rows, which version 3 does not know: keep a copy '
            '(eider retention receipts --json > FILE) and drop them with --drop-receipts';
    END IF;
END
$$;

DROP TABLE retention_receipts;
