/*
 * Sealing a day: its rows into a Parquet file beside the applier, then one transaction that deletes
 * them from the hot table and lists the file.
 *
 * begin reads in one transaction, so it knows the LSN that its rows are of. The applier notes the
 * days that it touches with the LSN (duck_table_touch); commit gives up when the day was touched
 * behind that LSN, or when the hot table has not the rows any more that were copied (a trade with
 * another day's time replaced one of them).
 */
#include "store/duckdb/duck_rollup.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/id.h"
#include "base/mem.h"
#include "codec/time.h"
#include "store/duckdb/duck_views.h"
#include "store/failpoint.h"

enum { SQL_BYTES = 64 << 20, PATTERNS_MAX = 1000 };

/* ---- which days ---- */

static void
add_day_range(const struct catalog_table *table, int32_t day, struct buf *sql)
{
    const char *time = table->columns[table->time_column].name;

    buf_add_fmt(sql,
                "\"%s\" >= make_timestamp(%" PRId64 ") AND \"%s\" < make_timestamp(%" PRId64 ")",
                time, cold_day_begin_us(day), time, cold_day_end_us(day));
}

static void
add_days_sql(const struct catalog_table *table, int64_t before_us, uint64_t rows_min,
             struct buf *sql)
{
    const char *time = table->columns[table->time_column].name;
    char hot[DUCK_NAME_MAX];

    duck_hot_name(table, hot);
    buf_add_fmt(sql,
                "SELECT * FROM (SELECT (\"%s\"::DATE - DATE '1970-01-01')::BIGINT AS day, "
                "count(*) AS rows, %d::BIGINT AS id FROM main.\"%s\" "
                "WHERE \"%s\" < make_timestamp(%" PRId64
                ") AND \"%s\" >= TIMESTAMP '0001-01-01' GROUP BY ALL)",
                time, (int)table->id, hot, time, before_us, time);
    if (rows_min > 1) {
        /* Not HAVING: beside GROUP BY ALL it loses groups. */
        buf_add_fmt(sql,
                    " WHERE rows >= %" PRIu64
                    " OR day IN (SELECT day FROM main.eider_cold_files WHERE table_name = '%s')",
                    rows_min, table->name);
    }
}

static enum err_code
select_rows(struct duck_store *duck, struct duck_reader *reader, const struct buf *sql,
            struct batch *ret_rows, struct err *err)
{
    struct duck_bounds bounds = {.rows_max = BATCH_ROWS_MAX, .bytes_max = DUCK_TEXT_BYTES_MAX};
    struct duck_statement statement = {.sql = buf_slice(sql)};

    if (sql->overflow) {
        return err_set(err, ERR_TOO_LARGE, "the statement is longer than %d bytes", SQL_BYTES);
    }
    return duck_select(duck, reader, DUCK_SIDE_READ, &statement, &bounds, ret_rows, NULL, err);
}

static void
fill_days(struct duck_store *duck, const struct batch *rows, struct store_day *ret_days)
{
    pthread_rwlock_rdlock(&duck->cold.lock);
    for (size_t row = 0; row < rows->rows; row++) {
        struct store_day *day = &ret_days[row];
        *day = (struct store_day){.table = (enum table_id)batch_get_i64(rows, 2, row),
                                  .day = (int32_t)batch_get_i64(rows, 0, row),
                                  .hot_rows = (uint64_t)batch_get_i64(rows, 1, row)};
        size_t first;
        size_t end = duck_cold_range(&duck->cold, day->table, COLD_RAW, &first);
        for (size_t i = first; i < end; i++) {
            bool same = duck->cold.files[i].day == day->day;
            day->cold_rows += same ? duck->cold.files[i].rows : 0;
            day->cold_files += same;
        }
    }
    pthread_rwlock_unlock(&duck->cold.lock);
}

enum err_code
duck_seal_find(struct store *store, const struct store_seal_find *find, struct store_day *ret_days,
               size_t max, size_t *ret_count, struct err *err)
{
    struct duck_store *duck = (struct duck_store *)store;
    const struct catalog_table *table;
    struct duck_reader *reader = NULL;
    struct batch rows BATCH_AUTO = {0};
    struct buf sql BUF_AUTO = {0};
    const char *glue = "";

    int64_t before_us = cold_day_begin_us(cold_day_of(find->before_us));
    buf_init(&sql, SQL_BYTES);
    for (size_t i = 0; (table = catalog_at(i)); i++) {
        if (table->sealed && (find->table == 0 || find->table == table->id)) {
            buf_add_cstr(&sql, glue);
            add_days_sql(table, before_us, find->rows_min, &sql);
            glue = " UNION ALL ";
        }
    }
    buf_add_fmt(&sql, " ORDER BY 1, 3 LIMIT %zu", max);
    enum err_code code = duck_pool_take(&duck->pool, duck->timeout_ms, NULL, &reader, err);
    if (code) {
        return code;
    }
    code = select_rows(duck, reader, &sql, &rows, err);
    duck_pool_give(reader);
    if (!code) {
        fill_days(duck, &rows, ret_days);
        *ret_count = rows.rows;
    }
    return code;
}

/* ---- begin ---- */

/* The order of the rows in a file: series, time, what else tells rows apart, and the order of
 * writing among equals. */
static void
add_file_order(const struct catalog_table *table, struct buf *sql)
{
    struct column_list key = column_list_of_key(table, false);
    bool time_in_key = table->key_mask >> table->time_column & 1;

    buf_add_cstr(sql, " ORDER BY ");
    if (table->series_column != CATALOG_NONE) {
        buf_add_fmt(sql, "\"%s\", ", table->columns[table->series_column].name);
    }
    for (size_t i = 0; i < key.count && time_in_key; i++) {
        if (key.index[i] != table->series_column) {
            buf_add_fmt(sql, "\"%s\", ", table->columns[key.index[i]].name);
        }
    }
    buf_add_fmt(sql, "\"%s\"", table->columns[table->time_column].name);
    for (size_t i = 0; i < table->column_count; i++) {
        if (table->order_mask >> i & 1) {
            buf_add_fmt(sql, ", \"%s\"", table->columns[i].name);
        }
    }
    buf_add_cstr(sql, ", eider_part, eider_row");
}

void
duck_seal_add_hot(const struct store_sealing *sealing, struct buf *sql)
{
    const struct catalog_table *table = catalog_table(sealing->seal.table);
    struct column_list columns = column_list_of_table(table);
    char hot[DUCK_NAME_MAX];

    duck_hot_name(table, hot);
    buf_add_cstr(sql, "SELECT ");
    for (size_t i = 0; i < columns.count; i++) {
        buf_add_fmt(sql, "\"%s\", ", table->columns[i].name);
    }
    /* "~" comes behind every path. */
    buf_add_fmt(sql, "'~' AS eider_part, rowid AS eider_row FROM main.\"%s\" WHERE ", hot);
    add_day_range(table, sealing->seal.day, sql);
}

/* The day's rows: hot ones, and those of its files when they are merged. */
static void
add_day_rows(const struct duck_store *duck, const struct store_sealing *sealing, struct buf *sql)
{
    const struct catalog_table *table = catalog_table(sealing->seal.table);
    struct column_list columns = column_list_of_table(table);
    const struct cold_file **files = duck_cold_pointers(sealing->old_count);
    size_t count = 0;

    for (size_t i = 0; i < sealing->old_count; i++) {
        if (sealing->old[i].kind == COLD_RAW) {
            files[count++] = &sealing->old[i];
        }
    }
    if (count > 0) {
        buf_add_cstr(sql, "SELECT ");
        duck_cold_add_columns(table, &columns, sql);
        buf_add_cstr(sql, DUCK_COLD_PLACE " FROM ");
        duck_cold_add_files(duck, files, count, COLD_ALL_COLUMNS, sql);
        buf_add_cstr(sql, " UNION ALL ");
    }
    duck_seal_add_hot(sealing, sql);
    free(files);
}

/* "*" and "?" as LIKE has them. */
static void
add_pattern(const char *pattern, struct buf *sql)
{
    buf_add_cstr(sql, "metric_name LIKE '");
    for (; *pattern; pattern++) {
        switch (*pattern) {
        case '*':
            buf_add_char(sql, '%');
            break;
        case '?':
            buf_add_char(sql, '_');
            break;
        case '%':
        case '_':
        case '\\':
            buf_add_fmt(sql, "\\%c", *pattern);
            break;
        case '\'':
            buf_add_cstr(sql, "''");
            break;
        default:
            buf_add_char(sql, *pattern);
        }
    }
    buf_add_cstr(sql, "' ESCAPE '\\'");
}

void
duck_seal_add_kept(const struct store_seal *seal, const char *glue, struct buf *sql)
{
    const char *const *pattern = seal->drop_metrics;

    if (!pattern || !*pattern) {
        return;
    }
    buf_add_fmt(sql, "%sseries_id NOT IN (SELECT series_id FROM main.series WHERE ", glue);
    for (size_t i = 0; pattern[i]; i++) {
        buf_add_cstr(sql, i ? " OR " : "");
        add_pattern(pattern[i], sql);
    }
    buf_add_char(sql, ')');
}

static enum err_code
check_seal(const struct store_seal *seal, struct err *err)
{
    const struct catalog_table *table = catalog_table(seal->table);
    char day[COLD_DAY_TEXT];

    if (!table || !table->sealed) {
        return err_set(err, ERR_INVALID, "table number %d (%s) is not sealed", (int)seal->table,
                       table ? table->name : "unknown");
    }
    if (!cold_day_in_range(seal->day)) {
        return err_set(err, ERR_INVALID, "day %" PRId32 " is beyond the years that are sealed",
                       seal->day);
    }
    if (seal->drop_metrics && seal->drop_metrics[0] &&
        (seal->table != TABLE_SAMPLES || !seal->merge)) {
        cold_day_format(seal->day, day);
        return err_set(err, ERR_INVALID,
                       "metrics are dropped when samples are merged only, not of %s %s",
                       table->name, day);
    }
    return ERR_OK;
}

/* Runs with the list's lock: the files to merge, and what the transaction sees, are of one moment.
 */
static enum err_code
begin_reading(struct duck_store *duck, struct store_sealing *sealing, struct err *err)
{
    const struct store_seal *seal = &sealing->seal;

    pthread_rwlock_rdlock(&duck->cold.lock);
    sealing->old = mem_zalloc(duck->cold.count + 1, sizeof(*sealing->old));
    for (size_t i = 0; i < duck->cold.count && seal->merge; i++) {
        const struct cold_file *file = &duck->cold.files[i];
        if (file->table == seal->table && file->day == seal->day) {
            sealing->old[sealing->old_count++] = *file;
        }
    }
    enum err_code code = duck_read_begin(duck, sealing->reader, err);
    pthread_rwlock_unlock(&duck->cold.lock);
    sealing->reading = !code;
    return code;
}

/* Counts the rows before they are copied; the LSN is that of the transaction. */
static enum err_code
count_rows(struct duck_store *duck, struct store_sealing *sealing, struct err *err)
{
    const struct catalog_table *table = catalog_table(sealing->seal.table);
    struct batch rows BATCH_AUTO = {0};
    char hot[DUCK_NAME_MAX];
    struct buf sql BUF_AUTO = {0};

    duck_hot_name(table, hot);
    buf_init(&sql, SQL_BYTES);
    buf_add_fmt(&sql,
                "SELECT (SELECT coalesce(max(lsn), 0) FROM main.eider_applied)::BIGINT, "
                "(SELECT count(*) FROM main.\"%s\" WHERE ",
                hot);
    add_day_range(table, sealing->seal.day, &sql);
    buf_add_cstr(&sql, ")");
    enum err_code code = select_rows(duck, sealing->reader, &sql, &rows, err);
    if (code) {
        return code;
    }
    sealing->lsn = (uint64_t)batch_get_i64(&rows, 0, 0);
    sealing->hot_rows = (uint64_t)batch_get_i64(&rows, 1, 0);
    sealing->all_rows = sealing->hot_rows;
    for (size_t i = 0; i < sealing->old_count; i++) {
        sealing->all_rows += sealing->old[i].kind == COLD_RAW ? sealing->old[i].rows : 0;
    }
    if (sealing->hot_rows == 0 && sealing->old_count == 0) {
        char day[COLD_DAY_TEXT];
        cold_day_format(sealing->seal.day, day);
        return err_set(err, ERR_NOT_FOUND, "%s has no rows of %s to seal", table->name, day);
    }
    return ERR_OK;
}

struct cold_file *
duck_seal_file(struct store_sealing *sealing, enum cold_kind kind)
{
    assert(sealing->file_count < COLD_KIND_COUNT);
    struct cold_file *file = &sealing->files[sealing->file_count++];

    *file = (struct cold_file){.table = sealing->seal.table,
                               .kind = kind,
                               .day = sealing->seal.day,
                               .sealed_lsn = sealing->lsn,
                               .sealed_us = sealing->sealed_us};
    memcpy(file->name, sealing->name, sizeof(file->name));
    return file;
}

enum err_code
duck_seal_copy(struct duck_store *duck, struct store_sealing *sealing, const struct cold_file *file,
               const struct buf *select, uint64_t *ret_rows, struct err *err)
{
    char path[COLD_PATH_MAX];
    struct batch rows BATCH_AUTO = {0};
    struct buf sql BUF_AUTO = {0};

    cold_tmp_path(duck->cold.dir, file, path, sizeof(path));
    buf_init(&sql, SQL_BYTES);
    buf_add_cstr(&sql, "COPY (");
    buf_add_slice(&sql, buf_slice(select));
    buf_add_cstr(&sql, ") TO ");
    duck_cold_add_literal(slice_of(path), &sql);
    buf_add_fmt(&sql,
                " (FORMAT parquet, COMPRESSION zstd, PARQUET_VERSION v2, ROW_GROUP_SIZE %d, "
                "DICTIONARY_SIZE_LIMIT %d)",
                DUCK_ROW_GROUP, DUCK_DICTIONARY_MAX);
    sql.overflow |= select->overflow;
    enum err_code code = select_rows(duck, sealing->reader, &sql, &rows, err);
    if (!code) {
        *ret_rows = (uint64_t)batch_get_i64(&rows, 0, 0);
        code = failpoint_fails("seal.copied", err);
    }
    return code ? err_context(err, code, "writing %s", path) : ERR_OK;
}

/* What the file says of itself, and what its bytes are. */
enum err_code
duck_seal_verify(struct duck_store *duck, struct store_sealing *sealing, struct cold_file *file,
                 const char *time_from, const char *time_to, uint64_t rows_expected,
                 struct err *err)
{
    char path[COLD_PATH_MAX];
    struct batch rows BATCH_AUTO = {0};
    struct buf sql BUF_AUTO = {0};

    cold_tmp_path(duck->cold.dir, file, path, sizeof(path));
    buf_init(&sql, SQL_BYTES);
    buf_add_cstr(&sql, "SELECT (SELECT sum(num_rows) FROM parquet_file_metadata(");
    duck_cold_add_path(path, &sql);
    buf_add_fmt(&sql, "))::BIGINT, min(\"%s\"), max(\"%s\") FROM read_parquet(", time_from,
                time_to);
    duck_cold_add_path(path, &sql);
    buf_add_cstr(&sql, ", hive_partitioning=false)");
    enum err_code code = select_rows(duck, sealing->reader, &sql, &rows, err);
    if (code) {
        return err_context(err, code, "reading %s back", path);
    }
    file->rows = (uint64_t)batch_get_i64(&rows, 0, 0);
    file->min_us = batch_get_i64(&rows, 1, 0);
    file->max_us = batch_get_i64(&rows, 2, 0);
    if (file->rows != rows_expected) {
        return err_set(err, ERR_IO, "%s has %" PRIu64 " rows where %" PRIu64 " were written", path,
                       file->rows, rows_expected);
    }
    return cold_checksum(path, file->checksum, &file->bytes, err);
}

static enum err_code
write_raw(struct duck_store *duck, struct store_sealing *sealing, struct err *err)
{
    const struct catalog_table *table = catalog_table(sealing->seal.table);
    struct column_list columns = column_list_of_table(table);
    const char *time = table->columns[table->time_column].name;
    struct cold_file *file = duck_seal_file(sealing, COLD_RAW);
    struct buf sql BUF_AUTO = {0};
    uint64_t rows = 0;

    buf_init(&sql, SQL_BYTES);
    buf_add_cstr(&sql, "SELECT ");
    for (size_t i = 0; i < columns.count; i++) {
        buf_add_fmt(&sql, "%s\"%s\"", i ? ", " : "", table->columns[i].name);
    }
    buf_add_cstr(&sql, " FROM (");
    add_day_rows(duck, sealing, &sql);
    buf_add_char(&sql, ')');
    duck_seal_add_kept(&sealing->seal, " WHERE ", &sql);
    add_file_order(table, &sql);
    enum err_code code = duck_seal_copy(duck, sealing, file, &sql, &rows, err);
    if (!code && rows > sealing->all_rows) {
        code = err_set(err, ERR_IO, "%" PRIu64 " rows were written where there are %" PRIu64, rows,
                       sealing->all_rows);
    }
    bool drops = sealing->seal.drop_metrics && sealing->seal.drop_metrics[0];
    if (!code && rows < sealing->all_rows && !drops) {
        code = err_set(err, ERR_IO, "%" PRIu64 " rows were written where there are %" PRIu64, rows,
                       sealing->all_rows);
    }
    if (!code) {
        code = duck_seal_verify(duck, sealing, file, time, time, rows, err);
    }
    if (!code) {
        sealing->rows = rows;
        sealing->rows_dropped = sealing->all_rows - rows;
    }
    return code;
}

/* A file without rows is no file: the day's samples are all dropped. */
static void
forget_empty(struct duck_store *duck, struct store_sealing *sealing)
{
    char path[COLD_PATH_MAX];
    size_t count = 0;

    for (size_t i = 0; i < sealing->file_count; i++) {
        if (sealing->files[i].rows == 0) {
            cold_tmp_path(duck->cold.dir, &sealing->files[i], path, sizeof(path));
            unlink(path);
        } else {
            sealing->files[count++] = sealing->files[i];
        }
    }
    sealing->file_count = count;
}

static enum err_code
write_files(struct duck_store *duck, struct store_sealing *sealing, struct err *err)
{
    char path[COLD_PATH_MAX];

    enum err_code code = begin_reading(duck, sealing, err);
    code = code ? code : count_rows(duck, sealing, err);
    code = code ? code : write_raw(duck, sealing, err);
    if (!code && catalog_table(sealing->seal.table)->rolled_up) {
        code = duck_rollup_write(duck, sealing, err);
    }
    if (sealing->reading) {
        duck_read_end(sealing->reader);
        sealing->reading = false;
    }
    if (code) {
        return code;
    }
    forget_empty(duck, sealing);
    for (size_t i = 0; i < sealing->file_count && !code; i++) {
        cold_tmp_path(duck->cold.dir, &sealing->files[i], path, sizeof(path));
        code = cold_put(duck->cold.dir, path, &sealing->files[i], err);
    }
    return code ? code : failpoint_fails("seal.ready", err);
}

enum err_code
duck_seal_begin(struct store *store, const struct store_seal *seal,
                struct store_sealing **ret_sealing, struct err *err)
{
    struct duck_store *duck = (struct duck_store *)store;
    int timeout_ms = seal->timeout_ms > 0 ? seal->timeout_ms : INT_MAX;
    char uuid[ID_UUID_LEN + 1];

    enum err_code code = check_seal(seal, err);
    if (!code && atomic_load(&duck->broken)) {
        code = err_set(err, ERR_UNAVAILABLE, "the database was invalidated and is reopened");
    }
    code = code ? code : duck_cold_make_dirs(duck, err);
    if (code) {
        return code;
    }
    struct store_sealing *sealing = mem_zalloc(1, sizeof(*sealing));
    sealing->seal = *seal;
    sealing->sealed_us = clock_wall_us(duck->clock);
    id_uuid7(sealing->sealed_us, uuid);
    snprintf(sealing->name, sizeof(sealing->name), "%s.parquet", uuid);
    code = duck_pool_take(&duck->sealers, timeout_ms, NULL, &sealing->reader, err);
    if (!code) {
        code = write_files(duck, sealing, err);
        duck_pool_give(sealing->reader);
        sealing->reader = NULL;
    }
    sealing->seal.drop_metrics = NULL; /* the caller's, and done */
    if (code) {
        duck_seal_free(store, sealing);
        return code;
    }
    *ret_sealing = sealing;
    return ERR_OK;
}

/* ---- commit ---- */

static enum err_code
check_untouched(const struct duck_store *duck, const struct store_sealing *sealing, struct err *err)
{
    const struct duck_table *table = &duck->tables[sealing->seal.table];
    bool touched = duck_table_touched(table, sealing->seal.day) > sealing->lsn;

    for (size_t i = 0; i < sealing->old_count && !touched; i++) {
        touched = !duck_cold_find(&duck->cold, sealing->old[i].name, sealing->old[i].kind);
    }
    if (touched) {
        char day[COLD_DAY_TEXT];
        cold_day_format(sealing->seal.day, day);
        return err_set(err, ERR_BUSY, "%s was changed on %s while that day was sealed",
                       table->table->name, day);
    }
    return ERR_OK;
}

static enum err_code
delete_hot(struct duck_store *duck, const struct store_sealing *sealing, struct err *err)
{
    const struct catalog_table *table = catalog_table(sealing->seal.table);
    char hot[DUCK_NAME_MAX];
    uint64_t rows = 0;
    struct buf sql BUF_AUTO = {0};

    duck_hot_name(table, hot);
    buf_init(&sql, SQL_BYTES);
    buf_add_fmt(&sql, "DELETE FROM main.\"%s\" WHERE ", hot);
    add_day_range(table, sealing->seal.day, &sql);
    buf_add_char(&sql, '\0');
    enum err_code code = duck_run_count(duck, sql.ptr, &rows, err);
    if (!code && rows != sealing->hot_rows) {
        return err_set(err, ERR_BUSY,
                       "%s has %" PRIu64 " rows of the day where %" PRIu64 " were sealed",
                       table->name, rows, sealing->hot_rows);
    }
    return code ? code : failpoint_fails("commit.deleted", err);
}

static enum err_code
commit_sealing(struct duck_store *duck, struct store_sealing *sealing, struct cold_file *files,
               size_t count, struct err *err)
{
    enum err_code code = delete_hot(duck, sealing, err);

    code = code ? code : duck_cold_delete(duck, sealing->old, sealing->old_count, err);
    code = code ? code : duck_cold_insert(duck, sealing->files, sealing->file_count, err);
    code = code ? code : duck_views_update(duck, sealing->seal.table, files, count, err);
    code = code ? code : failpoint_fails("commit.listed", err);
    if (code) {
        return code;
    }
    /* A COMMIT that fails may have been written all the same (its sync failed, say); the database
     * that is opened then lists the files. */
    sealing->committed = true;
    return duck_cold_commit(duck, files, count, err);
}

enum err_code
duck_seal_commit(struct store *store, struct store_sealing *sealing,
                 struct store_seal_result *ret_result, struct err *err)
{
    struct duck_store *duck = (struct duck_store *)store;
    size_t count;

    assert(!sealing->committed);
    if (atomic_load(&duck->broken)) {
        return err_set(err, ERR_CORRUPT, "%s was invalidated by an earlier error", duck->path);
    }
    enum err_code code = check_untouched(duck, sealing, err);
    code = code ? code : duck_run(duck, "BEGIN TRANSACTION", err);
    if (code) {
        return code;
    }
    struct cold_file *files = duck_cold_changed(&duck->cold, sealing->old, sealing->old_count,
                                                sealing->files, sealing->file_count, &count);
    code = commit_sealing(duck, sealing, files, count, err);
    if (code) {
        duck_roll_back(duck->writer, NULL); /* the transaction may be gone already */
        free(files);
        return code;
    }
    *ret_result = (struct store_seal_result){.rows = sealing->rows,
                                             .rows_dropped = sealing->rows_dropped,
                                             .files = sealing->file_count,
                                             .files_delisted = sealing->old_count};
    for (size_t i = 0; i < sealing->file_count; i++) {
        ret_result->bytes += sealing->files[i].bytes;
    }
    failpoint("commit.done"); /* it is done, whatever the point says */
    return ERR_OK;
}

void
duck_seal_free(struct store *store, struct store_sealing *sealing)
{
    struct duck_store *duck = (struct duck_store *)store;
    char path[COLD_PATH_MAX];

    if (!sealing) {
        return;
    }
    for (size_t i = 0; i < sealing->file_count && !sealing->committed; i++) {
        cold_tmp_path(duck->cold.dir, &sealing->files[i], path, sizeof(path));
        unlink(path);
        cold_unlink(duck->cold.dir, &sealing->files[i], NULL);
    }
    free(sealing->old);
    free(sealing);
}
