/*
 * Rows on their way out: an aligned table, CSV, NDJSON or one JSON array, page after page.
 *
 * Ownership: the writer borrows its file. One thread.
 */
#ifndef EIDER_CLI_ROWS_H
#define EIDER_CLI_ROWS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "catalog/batch.h"

enum rows_format { ROWS_TABLE, ROWS_CSV, ROWS_JSON, ROWS_NDJSON };

/* "table", "csv", "json", "ndjson". */
bool rows_parse_format(const char *name, enum rows_format *ret_format);

struct rows_writer {
    FILE *out;
    enum rows_format format;
    bool begun;
    uint64_t rows;
};

/*
 * Writes rows; the first call also what stands before them. ROWS_TABLE takes one call only, since
 * widths are known from all rows. ERR_IO when the file cannot be written.
 */
enum err_code rows_write(struct rows_writer *writer, const struct batch *rows, struct err *err);

/* Writes what stands behind the rows. */
enum err_code rows_end(struct rows_writer *writer, struct err *err);

#endif
