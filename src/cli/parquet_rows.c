/* Row counts of Parquet files. */
#include "cli/parquet_rows.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* DuckDB takes [, * and ? of a path for a pattern, and [c] for the character c. */
static void
add_path(struct buf *sql, const char *path)
{
    for (const char *at = path; *at; at++) {
        if (*at == '\'') {
            buf_add_cstr(sql, "''");
        } else if (strchr("[*?", *at)) {
            buf_add_fmt(sql, "[%c]", *at);
        } else {
            buf_add_char(sql, *at);
        }
    }
}

/* Starts "SELECT <what> FROM <the file>". */
static enum err_code
ask(struct parquet_rows *rows, const char *what, const char *path, struct err *err)
{
    struct buf sql BUF_AUTO = {0};
    enum err_code code = ERR_OK;

    if (!rows->reader) {
        code = duckdb_reader_open(path, DUCKDB_FILE_PARQUET, &rows->reader, err);
    }
    if (code != ERR_OK) {
        rows->reader = NULL;
        return code;
    }
    buf_init(&sql, 1 << 16);
    buf_add_fmt(&sql, "SELECT %s FROM read_parquet('", what);
    add_path(&sql, path);
    buf_add_cstr(&sql, "', hive_partitioning = false)");
    buf_add_char(&sql, '\0');
    return duckdb_reader_sql(rows->reader, sql.ptr, err);
}

enum err_code
parquet_rows_count(struct parquet_rows *rows, const char *path, uint64_t *ret_rows, struct err *err)
{
    const struct batch *answer;
    enum err_code code = ask(rows, "count(*)", path, err);

    code = code ? code : duckdb_reader_next(rows->reader, &answer, err);
    if (code == ERR_OK && answer->rows != 1) {
        code = err_set(err, ERR_INVALID, "%s: its rows cannot be counted", path);
    }
    if (code == ERR_OK) {
        *ret_rows = (uint64_t)batch_get_i64(answer, 0, 0);
    }
    return code;
}

enum err_code
parquet_series(struct parquet_rows *rows, const char *path, int64_t **ret_ids, size_t *ret_count,
               struct err *err)
{
    const struct batch *answer;
    int64_t *ids = NULL;
    size_t count = 0;
    enum err_code code = ask(rows, "DISTINCT series_id", path, err);

    while (code == ERR_OK) {
        code = duckdb_reader_next(rows->reader, &answer, err);
        if (code != ERR_OK || answer->rows == 0) {
            break;
        }
        ids = mem_resize(ids, count + answer->rows, sizeof(*ids));
        for (size_t i = 0; i < answer->rows; i++) {
            ids[count++] = batch_get_i64(answer, 0, i);
        }
    }
    if (code != ERR_OK) {
        free(ids);
        return code;
    }
    *ret_ids = ids;
    *ret_count = count;
    return ERR_OK;
}

void
parquet_rows_fini(struct parquet_rows *rows)
{
    duckdb_reader_close(rows->reader);
    rows->reader = NULL;
}
