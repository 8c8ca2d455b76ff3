DROP TABLE retention_receipts;
