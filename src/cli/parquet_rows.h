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
void parquet_rows_fini(struct parquet_rows *rows);

#endif
