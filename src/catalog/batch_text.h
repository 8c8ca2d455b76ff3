/*
 * Rows as text: one value as JSON, rows as JSON objects, lines of CSV. For answers, exports and the
 * command line.
 *
 * Threads: pure; any.
 */
#ifndef EIDER_CATALOG_BATCH_TEXT_H
#define EIDER_CATALOG_BATCH_TEXT_H

#include "catalog/batch.h"
#include "codec/json_write.h"

/* One value: NULL and values that JSON lacks (NaN, infinities) as null, timestamps as ISO 8601. */
void batch_json_value(struct json_writer *writer, const struct batch *rows, size_t column,
                      size_t row);

/* Row `row` as an object; `type` (may be NULL) goes first as "type". */
void batch_json_row(struct json_writer *writer, const struct batch *rows, size_t row,
                    const char *type);

/* Every row as an object and a newline. */
void batch_ndjson(struct buf *out, const struct batch *rows);

/* The line of column names; then every row. RFC 4180 with CRLF; NULL is the empty field. */
void batch_csv_header(struct buf *out, const struct batch *rows);
void batch_csv_rows(struct buf *out, const struct batch *rows);

#endif
