/*
 * Reads files that are not Eider's own: databases of DuckDB (the originals', and ours read-only for
 * `eider check`) and Parquet. A scratch in-memory database attaches the file read-only and streams
 * rows as batches; the file is never written.
 *
 * Ownership: open/close. One thread at a time.
 */
#ifndef EIDER_STORE_DUCKDB_DUCKDB_READER_H
#define EIDER_STORE_DUCKDB_DUCKDB_READER_H

#include <stdbool.h>

#include "base/err.h"
#include "base/slice.h"
#include "catalog/batch.h"

struct duckdb_reader;

enum duckdb_file { DUCKDB_FILE_DATABASE, DUCKDB_FILE_PARQUET };

/* Opens a file. ERR_NOT_FOUND, ERR_CONFLICT when another process has the database open, ERR_SYNTAX
 * when it is not such a file. */
enum err_code duckdb_reader_open(const char *path, enum duckdb_file kind,
                                 struct duckdb_reader **ret_reader, struct err *err);
void duckdb_reader_close(struct duckdb_reader *reader); /* NULL is fine */

/* The name of the index-th table of the main schema in order of names, NULL past the last; of a
 * Parquet file there is one, "parquet". Lives as long as the reader. */
const char *duckdb_reader_table(const struct duckdb_reader *reader, size_t index);

/*
 * Starts to stream a table, ending what was streamed before. Every column comes as one of the
 * catalogue's types: integers as COL_INT64, decimals and larger integers as COL_DOUBLE, dates and
 * all kinds of timestamps as COL_TIMESTAMP (UTC), nested types and everything else as COL_TEXT.
 * *ret_rows is the number of rows there are.
 */
enum err_code duckdb_reader_select(struct duckdb_reader *reader, const char *table,
                                   uint64_t *ret_rows, struct err *err);

/* The same for one statement of SQL over the attached tables; for eider check. */
enum err_code duckdb_reader_sql(struct duckdb_reader *reader, const char *sql, struct err *err);

/* The columns of what is streamed: an answer batch without rows, the reader's. */
const struct batch *duckdb_reader_columns(const struct duckdb_reader *reader);

/* Replaces the contents of the reader's batch by the next rows, at most a few thousand; no rows at
 * the end. Valid until the next call. */
enum err_code duckdb_reader_next(struct duckdb_reader *reader, const struct batch **ret_rows,
                                 struct err *err);

/* Opens a database just to see whether it holds Eider's table of applied records. */
enum err_code duckdb_reader_is_ours(const char *path, bool *ret_ours, struct err *err);

/* Writes the answer of `select` over the database at `path` to a Parquet file (zstd), through a
 * temporary name; *ret_rows is how many. */
enum err_code duckdb_reader_to_parquet(const char *path, const char *select, const char *output,
                                       uint64_t *ret_rows, struct err *err);

/* "v1.5.6". */
const char *store_duckdb_library_version(void);

#endif
