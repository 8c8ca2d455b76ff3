ALTER TABLE eider_database DROP COLUMN extended;
