DO $$
BEGIN
    IF EXISTS (SELECT FROM retention_receipts) THEN
        RAISE EXCEPTION 'retention_receipts has rows, which version 3 does not know: copy them '
            'elsewhere and delete them first';
    END IF;
END
$$;

DROP TABLE retention_receipts;
