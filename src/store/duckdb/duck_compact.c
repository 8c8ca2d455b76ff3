/*
 * A compact copy: DuckDB copies every table and view into a second file, which has no free space in
 * it. It may write in the cold directory's tmp only, so the copy is made there and moved.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/id.h"
#include "store/duckdb/duck_cold.h"
#include "store/failpoint.h"

enum { SQL_BYTES = 1 << 16 };

static const char alias[] = "eider_compact";

/* The name that DuckDB gave our file, and the bytes of it that are in use. */
static enum err_code
add_own_name(struct duck_store *duck, struct buf *sql, uint64_t *ret_bytes, struct err *err)
{
    struct duck_reader writer = {.connection = duck->writer};
    struct duck_statement statement = {
        .sql = slice_of("SELECT database_name, (block_size * used_blocks)::BIGINT "
                        "FROM pragma_database_size() WHERE database_name = current_database()")};
    struct duck_bounds bounds = {.rows_max = 1, .bytes_max = DUCK_TEXT_BYTES_MAX};
    struct batch rows BATCH_AUTO = {0};

    enum err_code code =
        duck_select(duck, &writer, DUCK_SIDE_APPLY, &statement, &bounds, &rows, NULL, err);
    if (!code && rows.rows == 0) {
        return err_set(err, ERR_INTERNAL, "DuckDB does not say how large %s is", duck->path);
    }
    if (!code) {
        struct slice name = batch_get_text(&rows, 0, 0);
        *ret_bytes = (uint64_t)batch_get_i64(&rows, 1, 0);
        buf_add_char(sql, '"');
        for (size_t i = 0; i < name.len; i++) {
            buf_add_cstr(sql, name.ptr[i] == '"' ? "\"" : "");
            buf_add_char(sql, name.ptr[i]);
        }
        buf_add_char(sql, '"');
    }
    return code;
}

/* Errors say nothing of the database itself, so they are a read's. */
static enum err_code
run(struct duck_store *duck, const char *sql, struct err *err)
{
    duckdb_result result;
    enum err_code code = ERR_OK;

    if (duckdb_query(duck->writer, sql, &result) != DuckDBSuccess) {
        code = duck_fail_result(duck, DUCK_SIDE_READ, &result, err);
    }
    duckdb_destroy_result(&result);
    return code;
}

static enum err_code
copy_into(struct duck_store *duck, const char *tmp, struct err *err)
{
    char detach[64];
    uint64_t bytes = 0;
    struct buf sql BUF_AUTO = {0};

    buf_init(&sql, SQL_BYTES);
    buf_add_cstr(&sql, "ATTACH ");
    duck_cold_add_literal(slice_of(tmp), &sql);
    buf_add_fmt(&sql, " AS %s; COPY FROM DATABASE ", alias);
    enum err_code code = add_own_name(duck, &sql, &bytes, err);
    code = code ? code : duck_check_space(duck, bytes, err);
    if (code) {
        return code;
    }
    buf_add_fmt(&sql, " TO %s", alias);
    buf_add_char(&sql, '\0');
    if (sql.overflow) {
        return err_set(err, ERR_INVALID, "the path of %s is too long", tmp);
    }
    code = run(duck, sql.ptr, err);
    /* Detaching writes the rest into the file. */
    snprintf(detach, sizeof(detach), "DETACH %s%s", code ? "DATABASE IF EXISTS " : "", alias);
    enum err_code detached = run(duck, detach, code ? NULL : err);
    return code ? code : detached;
}

static enum err_code
sync_file(const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int failed = fd < 0 || fsync(fd) != 0 ? errno : 0;

    if (fd >= 0) {
        close(fd);
    }
    return failed ? err_sys(err, failed, "syncing %s", path) : ERR_OK;
}

/*
 * DuckDB closes the copy, and writes what its log has into it, when the last transaction that knows
 * it has ended. With immediate_transaction_mode, one that begins beside the copying knows it from
 * then on; those that begin behind the DETACH do not.
 */
static enum err_code
wait_closed(struct duck_store *duck, const char *log, struct err *err)
{
    if (access(log, F_OK) == 0 && duck_wait_reads(&duck->store, duck->timeout_ms) &&
        access(log, F_OK) == 0) {
        return err_set(err, ERR_IO, "the copy is not complete: its log %s is left", log);
    }
    return access(log, F_OK) == 0
               ? err_set(err, ERR_BUSY,
                         "a statement that began while the database was copied kept the copy from "
                         "being closed for %d ms; ask again when it has ended",
                         duck->timeout_ms)
               : ERR_OK;
}

enum err_code
duck_compact(struct store *store, const char *path, struct err *err)
{
    struct duck_store *duck = (struct duck_store *)store;
    char uuid[ID_UUID_LEN + 1];
    char tmp[COLD_PATH_MAX];
    char log[COLD_PATH_MAX + 8];

    /* Then what is in use is the most that the copy takes. */
    enum err_code code = duck_checkpoint(store, err);
    code = code ? code : duck_cold_make_dirs(duck, err);
    if (code) {
        return code;
    }
    id_uuid7(clock_wall_us(duck->clock), uuid);
    snprintf(tmp, sizeof(tmp), "%s/tmp/%s.duckdb", duck->cold.dir, uuid);
    snprintf(log, sizeof(log), "%s.wal", tmp);
    code = copy_into(duck, tmp, err);
    code = code ? code : wait_closed(duck, log, err);
    code = code ? code : sync_file(tmp, err);
    code = code ? code : failpoint_fails("compact.written", err);
    if (!code && rename(tmp, path) != 0) {
        code = err_sys(err, errno, "renaming %s to %s", tmp, path);
    }
    if (code) {
        unlink(tmp);
        unlink(log);
        return code;
    }
    code = failpoint_fails("compact.renamed", err);
    return code ? code : duck_sync_parent(path, err);
}
