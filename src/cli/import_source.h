/*
 * A file as named columns and rows of texts: CSV, a table of a DuckDB database, Parquet. Typed
 * values are given as text that reads back the same (times as ISO 8601), so that one path of
 * checking serves all.
 *
 * Ownership: open/close. One thread.
 */
#ifndef EIDER_CLI_IMPORT_SOURCE_H
#define EIDER_CLI_IMPORT_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct import_source;

enum import_format { IMPORT_CSV, IMPORT_PARQUET, IMPORT_NDJSON, IMPORT_LINE, IMPORT_DUCKDB };

/* Bytes of a file, mapped; of standard input, read. */
struct import_bytes {
    struct slice text;
    void *mapped; /* to be unmapped */
    char *owned;  /* to be freed */
};

/* "-" is standard input, at most 1 GiB of it. */
enum err_code import_bytes_open(const char *path, struct import_bytes *ret_bytes, struct err *err);
void import_bytes_close(struct import_bytes *bytes);

/* A value; `text` lives until source_release. */
struct import_cell {
    struct slice text;
    bool null;
};

struct import_row {
    uint64_t number; /* line of the file, or 1, 2, ... of the table */
    const struct import_cell *cells;
};

/* Opens CSV text; delimiter 0 guesses. The bytes must outlive. ERR_SYNTAX without a header. */
enum err_code source_open_csv(struct slice text, char delimiter, struct import_source **ret_source,
                              struct err *err);

/* Opens a Parquet file or one table of a database. */
enum err_code source_open_duckdb(const char *path, enum import_format format, const char *table,
                                 struct import_source **ret_source, struct err *err);
void source_close(struct import_source *source); /* NULL is fine */

size_t source_column_count(const struct import_source *source);
const char *const *source_columns(const struct import_source *source);

/*
 * The next row; *ret_more is false at the end. ERR_SYNTAX for a row that cannot be read (its
 * number is in ret_row): the next call goes on behind it. Other errors end the file.
 */
enum err_code source_next(struct import_source *source, struct import_row *ret_row, bool *ret_more,
                          struct err *err);

/* Forgets the texts given so far. */
void source_release(struct import_source *source);

/* Back to the first row. */
enum err_code source_rewind(struct import_source *source, struct err *err);

/* Between 0 and 1. */
double source_progress(const struct import_source *source);

#endif
