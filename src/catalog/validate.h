/*
 * From decoded values to the columns of a batch, with the catalogue's rules. What every way in
 * shares: JSON, CSV, line protocol, import, collectors.
 *
 * How ingest uses it, a row at a time:
 *
 *   row = batch_add_row(batch);
 *   for each member of the JSON object:
 *       column = catalog_column_expect(table, key, guess);   guess: where the last row had it
 *       if (column == CATALOG_NONE) -> row error, catalog_suggest_column()
 *       if (!catalog_set(batch, column, row, &value, precision, &fault)) -> row error
 *   if (!catalog_fill_missing(batch, row, now_us, &fault)) -> row error
 *   on a row error: batch_drop_row(batch), and report fault.field, fault.value, fault.expected
 *
 * An object or array must have been read to its end (json_read_rest) before catalog_set sees it.
 * Line protocol fields come through line_field_scalar, CSV fields through catalog_set_text.
 * Whoever fills a batch by batch_set_* (collectors, demo) lets catalog_check_batch look at it
 * before it goes into the log: replay never refuses.
 *
 * Texts are borrowed, not copied: they must live until the batch is encoded.
 *
 * Pure; a batch belongs to one thread.
 */
#ifndef EIDER_CATALOG_VALIDATE_H
#define EIDER_CATALOG_VALIDATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "catalog/batch.h"
#include "codec/scalar.h"
#include "codec/time.h"

enum { CATALOG_TEXT_MAX = 64 * 1024, CATALOG_JSON_MAX = 1024 * 1024, CATALOG_EXPECTED_MAX = 160 };

/* Why a value or a row was refused. */
struct catalog_fault {
    enum err_code code; /* ERR_INVALID; ERR_TOO_LARGE when the batch's arena is full */
    int column;
    const char *field;  /* name of the column */
    struct slice value; /* what was given, as it stood in the input; "" when nothing was */
    char expected[CATALOG_EXPECTED_MAX];
};

/* catalog_column_index that looks at `guess` first (any int; -1: no idea). */
int catalog_column_expect(const struct catalog_table *table, struct slice name, int guess);

/*
 * Sets a value of a row of a table's batch after checking it against the column:
 *   null            leaves NULL, to be filled in by catalog_fill_missing
 *   BOOLEAN         true, false
 *   INTEGER, BIGINT whole numbers in range, also written 1.0 or 1e3
 *   DOUBLE          numbers
 *   TIMESTAMP       ISO 8601 texts; numbers of the given precision, a fraction is cut to
 *                   microseconds; years 1 to 9999 only
 *   TEXT            texts: UTF-8 without NUL, at most CATALOG_TEXT_MAX, not empty when required
 *   JSON            objects, arrays, numbers, booleans; a text only if it holds JSON itself
 * and then choices, min and max. False with *ret_fault when it is refused; the column stays NULL.
 */
bool catalog_set(struct batch *batch, size_t column, size_t row, const struct scalar *value,
                 enum time_precision precision, struct catalog_fault *ret_fault);

/* The same for a text that stands for any type (CSV): numbers may also be nan, inf, -inf;
 * booleans true, false, t, f, 1, 0 in any case. An empty text is a text; NULL is the caller's. */
bool catalog_set_text(struct batch *batch, size_t column, size_t row, struct slice text,
                      enum time_precision precision, struct catalog_fault *ret_fault);

/*
 * Fills every NULL of a row by the column's rule (enum col_missing). False when a required column
 * is NULL, or when the arena has no room for a new UUID.
 */
bool catalog_fill_missing(struct batch *batch, size_t row, int64_t now_us,
                          struct catalog_fault *ret_fault);

/* Whether a batch made by hand may be written: no NULL where the column can have none. False with
 * the first row that is wrong. */
bool catalog_check_batch(const struct batch *batch, size_t *ret_row,
                         struct catalog_fault *ret_fault);

#endif
