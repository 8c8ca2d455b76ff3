/* Tables that Eider keeps about itself. */
#include "catalog/catalog_internal.h"

#define COUNT_OF(array) (sizeof(array) / sizeof(*(array)))

/* The order is that of store/maintain_receipt.c. */
static const struct catalog_column receipt_columns[] = {
    {.name = "id", .type = COL_TEXT, .missing = MISSING_UUID, .help = "Identifier."},
    {.name = "timestamp",
     .type = COL_TIMESTAMP,
     .missing = MISSING_NOW,
     .unit = "us",
     .help = "When the rows were dropped, UTC."},
    {.name = "rule",
     .type = COL_TEXT,
     .missing = MISSING_REFUSE,
     .help = "The rules that asked for it, as they were written, with \"; \" between."},
    {.name = "action",
     .type = COL_TEXT,
     .missing = MISSING_REFUSE,
     .help = "drop day, drop rows, drop rollup or drop metrics."},
    {.name = "table_name",
     .type = COL_TEXT,
     .missing = MISSING_REFUSE,
     .help = "Table of the rows."},
    {.name = "kind",
     .type = COL_TEXT,
     .missing = MISSING_REFUSE,
     .help = "raw, or the width of the rollup."},
    {.name = "day",
     .type = COL_TEXT,
     .missing = MISSING_REFUSE,
     .help = "Their UTC day, YYYY-MM-DD."},
    {.name = "files", .type = COL_INT64, .missing = MISSING_ZERO, .help = "Files that went."},
    {.name = "rows", .type = COL_INT64, .missing = MISSING_ZERO, .help = "Rows that went."},
    {.name = "bytes",
     .type = COL_INT64,
     .missing = MISSING_ZERO,
     .help = "Bytes that went; of rows in the database an estimate."},
    {.name = "metrics",
     .type = COL_JSON,
     .missing = MISSING_NULL,
     .help = "Rows by metric, when only some metrics of the day went."},
};

const struct catalog_table catalog_own_tables[CATALOG_OWN_TABLES] = {
    {.id = TABLE_RETENTION_RECEIPTS,
     .kind = TABLE_APPEND,
     .name = "retention_receipts",
     .help = "What retention dropped, and by which rule.",
     .columns = receipt_columns,
     .column_count = COUNT_OF(receipt_columns),
     .order_mask = 1U << 0,
     .time_column = 1,
     .series_column = CATALOG_NONE},
};
