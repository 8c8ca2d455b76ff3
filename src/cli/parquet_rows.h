/* Counts the rows of Parquet files through one scratch database; for verifying backups. */
#ifndef EIDER_CLI_PARQUET_ROWS_H
#define EIDER_CLI_PARQUET_ROWS_H

#include "store/duckdb/duckdb_reader.h"

struct parquet_rows {
    struct duckdb_reader *reader; /* NULL before the first file */
};

/* Reads what the file's own footer says, having opened it. ERR_SYNTAX, ERR_INVALID. */
enum err_code parquet_rows_count(struct parquet_rows *rows, const char *path, uint64_t *ret_rows,
                                 struct err *err);

/* The numbers of the series that a file of samples, or a rollup of them, has; the caller frees. */
enum err_code parquet_series(struct parquet_rows *rows, const char *path, int64_t **ret_ids,
                             size_t *ret_count, struct err *err);
void parquet_rows_fini(struct parquet_rows *rows);

#endif
