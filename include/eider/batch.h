/* What the embedded store (eider.h) answers: rows in columns. Errors and outputs as there. */
#ifndef EIDER_BATCH_H
#define EIDER_BATCH_H

#include "eider/api.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- batches ---- */

/* Rows on their way out: columns of an answer or of a durable record. Never changes. */
struct eider_batch;

/* Types of columns. */
enum eider_type {
    EIDER_TYPE_BOOL,
    EIDER_TYPE_INT32,
    EIDER_TYPE_INT64,
    EIDER_TYPE_DOUBLE,
    EIDER_TYPE_TIMESTAMP, /* int64_t microseconds since 1970-01-01 UTC */
    EIDER_TYPE_TEXT,      /* UTF-8 */
    EIDER_TYPE_JSON,      /* UTF-8 */
    EIDER_TYPE_DECIMAL    /* int64_t millionths: DECIMAL(18,6) */
};

/*
 * Counts the rows of a batch.
 * Threads: any.
 * Ownership: none.
 * Errors: none.
 */
EIDER_API size_t eider_batch_rows(const struct eider_batch *batch);

/*
 * Counts the columns of a batch.
 * Threads: any.
 * Ownership: none.
 * Errors: none.
 */
EIDER_API size_t eider_batch_columns(const struct eider_batch *batch);

/*
 * Names a column.
 * Units: `column` from 0.
 * Threads: any.
 * Ownership: the batch's.
 * Errors: NULL when there is no such column.
 */
EIDER_API const char *eider_batch_name(const struct eider_batch *batch, size_t column);

/*
 * Tells the type of a column.
 * Units: `column` from 0.
 * Threads: any.
 * Ownership: none.
 * Errors: EIDER_TYPE_TEXT when there is no such column.
 */
EIDER_API enum eider_type eider_batch_type(const struct eider_batch *batch, size_t column);

/*
 * Finds a column by its name.
 * Threads: any.
 * Ownership: none.
 * Errors: -1 when there is none.
 */
EIDER_API int eider_batch_find(const struct eider_batch *batch, const char *name);

/*
 * Tells whether a query had more rows than rows_max.
 * Threads: any.
 * Ownership: none.
 * Errors: none.
 */
EIDER_API bool eider_batch_is_truncated(const struct eider_batch *batch);

/*
 * Tells whether a cell is NULL.
 * Units: column and row from 0.
 * Threads: any.
 * Ownership: none.
 * Errors: true when there is no such cell.
 */
EIDER_API bool eider_batch_is_null(const struct eider_batch *batch, size_t column, size_t row);

/*
 * Gives a cell as a whole number: BOOL 0 or 1, TIMESTAMP microseconds, DECIMAL millionths, DOUBLE
 * cut towards 0.
 * Units: column and row from 0.
 * Threads: any.
 * Ownership: none.
 * Errors: 0 for NULL, texts, a double that is none in range, and no such cell.
 */
EIDER_API int64_t eider_batch_i64(const struct eider_batch *batch, size_t column, size_t row);

/*
 * Gives a cell as a double; of a DECIMAL the nearest.
 * Units: column and row from 0.
 * Threads: any.
 * Ownership: none.
 * Errors: 0 for NULL, texts and no such cell.
 */
EIDER_API double eider_batch_f64(const struct eider_batch *batch, size_t column, size_t row);

/*
 * Gives a cell of type TEXT or JSON.
 * Units: column and row from 0; *ret_len (may be NULL) in bytes.
 * Threads: any.
 * Ownership: the batch's. No NUL need be behind it.
 * Errors: "" with length 0 for NULL, other types and no such cell.
 */
EIDER_API const char *eider_batch_text(const struct eider_batch *batch, size_t column, size_t row,
                                       size_t *ret_len);

/*
 * Ends a batch.
 * Threads: any, once.
 * Ownership: it is gone, and its texts; Arrow data made of it stays. NULL is fine.
 * Errors: none.
 */
EIDER_API void eider_batch_free(struct eider_batch *batch);

#ifdef __cplusplus
}
#endif

#endif
