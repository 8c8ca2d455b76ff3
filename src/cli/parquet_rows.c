/* Row counts of Parquet files. */
#include "cli/parquet_rows.h"

enum err_code
parquet_rows_count(struct parquet_rows *rows, const char *path, uint64_t *ret_rows, struct err *err)
{
    struct buf sql BUF_AUTO = {0};
    const struct batch *answer;
    enum err_code code = ERR_OK;

    if (!rows->reader) {
        code = duckdb_reader_open(path, DUCKDB_FILE_PARQUET, &rows->reader, err);
    }
    if (code != ERR_OK) {
        rows->reader = NULL;
        return code;
    }
    buf_init(&sql, 1 << 16);
    buf_add_cstr(&sql, "SELECT count(*) FROM read_parquet('");
    for (const char *at = path; *at; at++) {
        buf_add_cstr(&sql, *at == '\'' ? "'" : "");
        buf_add_char(&sql, *at);
    }
    buf_add_cstr(&sql, "', hive_partitioning = false)");
    buf_add_char(&sql, '\0');
    code = duckdb_reader_sql(rows->reader, sql.ptr, err);
    code = code ? code : duckdb_reader_next(rows->reader, &answer, err);
    if (code == ERR_OK && answer->rows != 1) {
        code = err_set(err, ERR_INVALID, "%s: its rows cannot be counted", path);
    }
    if (code == ERR_OK) {
        *ret_rows = (uint64_t)batch_get_i64(answer, 0, 0);
    }
    return code;
}

void
parquet_rows_fini(struct parquet_rows *rows)
{
    duckdb_reader_close(rows->reader);
    rows->reader = NULL;
}
