/* Days that become hot again, because a row of theirs is replaced. */
#include "store/duckdb/duck_unseal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "codec/time.h"
#include "store/duckdb/duck_views.h"
#include "store/failpoint.h"

enum { SQL_BYTES = 64 << 20, TEXTS_MAX = 200 };

void
duck_probe_init(struct duck_probe *probe, struct duck_store *duck, struct duck_table *table)
{
    *probe = (struct duck_probe){.duck = duck, .table = table};
    key_set_init(&probe->keys, SIZE_MAX);
}

void
duck_probe_fini(struct duck_probe *probe)
{
    key_set_fini(&probe->keys);
    free(probe->days);
    free(probe->texts);
}

static void
add_day(struct duck_probe *probe, int64_t time_us)
{
    int32_t day = cold_day_of(time_us);

    for (size_t i = probe->day_count; i-- > 0;) {
        struct duck_probe_day *known = &probe->days[i];
        if (known->day == day) {
            known->min_us = time_us < known->min_us ? time_us : known->min_us;
            known->max_us = time_us > known->max_us ? time_us : known->max_us;
            return;
        }
    }
    if (!duck_cold_has_day(probe->duck, probe->table->table->id, day)) {
        return;
    }
    if (probe->day_count == probe->day_cap) {
        probe->day_cap = probe->day_cap ? probe->day_cap * 2 : 16;
        probe->days = mem_resize(probe->days, probe->day_cap, sizeof(*probe->days));
    }
    probe->days[probe->day_count++] = (struct duck_probe_day){day, time_us, time_us};
}

static void
add_text(struct duck_probe *probe, struct slice text)
{
    if (probe->text_count == 0 || slice_cmp(text, probe->least) < 0) {
        probe->least = text;
    }
    if (probe->text_count == 0 || slice_cmp(text, probe->greatest) > 0) {
        probe->greatest = text;
    }
    if (probe->text_count == probe->text_cap) {
        probe->text_cap = probe->text_cap ? probe->text_cap * 2 : 256;
        probe->texts = mem_resize(probe->texts, probe->text_cap, sizeof(*probe->texts));
    }
    probe->texts[probe->text_count++] = text;
}

void
duck_probe_add(struct duck_probe *probe, const struct batch *batch, size_t row)
{
    const struct duck_table *table = probe->table;

    if (table->policy == DUCK_NEWEST) {
        size_t before = probe->day_count;
        int64_t time_us = batch_get_i64(batch, (size_t)table->table->time_column, row);
        add_day(probe, time_us);
        if (probe->day_count == before &&
            !duck_cold_has_day(probe->duck, table->table->id, cold_day_of(time_us))) {
            return;
        }
    } else {
        assert(table->key.count == 1);
        add_text(probe, batch_get_text(batch, table->key.index[0], row));
    }
    key_set_add(&probe->keys, key_hash_row(batch, &table->key, row));
}

/* ---- looking ---- */

/* Called with each row that a probe gives: the key columns first, then its time. */
typedef void probe_fn(struct duck_probe *probe, const struct batch *rows, size_t row, void *ctx);

/* Runs a probe and calls fn with the rows whose keys are looked for. */
static enum err_code
run_probe(struct duck_probe *probe, const struct buf *sql, probe_fn *fn, void *ctx,
          duckdb_connection connection, struct err *err)
{
    struct duck_statement statement = {.sql = buf_slice(sql)};
    struct column_list key = {.count = probe->table->key.count};
    struct batch rows BATCH_AUTO = {0};
    struct duck_cursor cursor;
    size_t got = 1;

    for (size_t i = 0; i < key.count; i++) {
        key.index[i] = (uint8_t)i;
    }
    if (sql->overflow) {
        return err_set(err, ERR_TOO_LARGE, "too many cold files for one statement");
    }
    enum err_code code =
        duck_cursor_open(&cursor, probe->duck, connection, DUCK_SIDE_READ, &statement, err);
    while (!code && got > 0) {
        batch_fini(&rows);
        batch_init_answer(&rows, DUCK_TEXT_BYTES_MAX);
        duck_cursor_columns(&cursor, &rows);
        code = duck_cursor_next(&cursor, &rows, SIZE_MAX, &got, err);
        for (size_t row = 0; row < rows.rows && !code; row++) {
            if (key_set_has(&probe->keys, key_hash_row(&rows, &key, row))) {
                fn(probe, &rows, row, ctx);
            }
        }
    }
    duck_cursor_close(&cursor);
    return code;
}

static void
add_key_select(const struct duck_table *table, struct buf *sql)
{
    const struct catalog_column *columns = table->table->columns;

    buf_add_cstr(sql, "SELECT ");
    for (size_t i = 0; i < table->key.count; i++) {
        buf_add_fmt(sql, "\"%s\", ", columns[table->key.index[i]].name);
    }
    buf_add_fmt(sql, "\"%s\" FROM ", columns[table->table->time_column].name);
}

/* The raw files of [first_day, last_day]. */
static size_t
find_files(const struct duck_probe *probe, int32_t first_day, int32_t last_day,
           const struct cold_file **ret_files)
{
    const struct duck_cold *cold = &probe->duck->cold;
    size_t first;
    size_t count = 0;
    size_t end = duck_cold_range(cold, probe->table->table->id, COLD_RAW, &first);

    for (size_t i = first; i < end; i++) {
        if (cold->files[i].day >= first_day && cold->files[i].day <= last_day) {
            ret_files[count++] = &cold->files[i];
        }
    }
    return count;
}

/* Once a file, however many rows come for its day. */
static void
tell_damaged(struct duck_cold *cold, const struct cold_file *file)
{
    char relative[COLD_RELATIVE_MAX];

    cold_relative(file, relative);
    if (cold->damaged && !cold_names_has(&cold->told, relative)) {
        cold_names_add(&cold->told, relative);
        cold_names_sort(&cold->told);
        cold->damaged(cold->damaged_ctx, file);
    }
}

/* Whether the files are as they were listed; tells of one that is not. */
static bool
are_whole(const struct duck_probe *probe, const struct cold_file *const *files, size_t count)
{
    char checksum[COLD_CHECKSUM_MAX];
    char path[COLD_PATH_MAX];

    for (size_t i = 0; i < count; i++) {
        cold_path(probe->duck->cold.dir, files[i], path, sizeof(path));
        struct err err = {0};
        enum err_code code = cold_checksum(path, checksum, NULL, &err);
        bool unreadable = code == ERR_NOT_FOUND || err.sys == EIO;
        if (unreadable || (!code && strcmp(checksum, files[i]->checksum) != 0)) {
            tell_damaged(&probe->duck->cold, files[i]);
            return false;
        }
    }
    return true;
}

static void
note_found(struct duck_probe *probe, const struct batch *rows, size_t row, void *ctx)
{
    (void)probe;
    (void)rows;
    (void)row;
    *(bool *)ctx = true;
}

/* Whether the day's files have a key that is looked for. */
static enum err_code
probe_day(struct duck_probe *probe, const struct duck_probe_day *day, bool *ret_found,
          struct err *err)
{
    const struct catalog_table *table = probe->table->table;
    const struct cold_file **files MEM_AUTO = duck_cold_pointers(probe->duck->cold.count);
    const char *time = table->columns[table->time_column].name;
    struct buf sql BUF_AUTO = {0};

    size_t count = find_files(probe, day->day, day->day, files);
    buf_init(&sql, SQL_BYTES);
    add_key_select(probe->table, &sql);
    duck_cold_add_files(probe->duck, files, count, COLD_ALL_COLUMNS, &sql);
    buf_add_fmt(&sql,
                " WHERE \"%s\" >= make_timestamp(%" PRId64 ") AND \"%s\" <= make_timestamp(%" PRId64
                ")",
                time, day->min_us, time, day->max_us);
    *ret_found = false;
    enum err_code code = run_probe(probe, &sql, note_found, ret_found, probe->duck->prober, err);
    if ((code || *ret_found) && !are_whole(probe, files, count)) {
        *ret_found = false;
        return ERR_OK;
    }
    return code ? err_context(err, ERR_IO, "looking for late rows in cold files") : ERR_OK;
}

/* ---- making hot ---- */

static enum err_code
insert_rows(struct duck_probe *probe, const struct cold_file *const *files, size_t count,
            struct err *err)
{
    const struct catalog_table *table = probe->table->table;
    struct duck_store *duck = probe->duck;
    char hot[DUCK_NAME_MAX];
    duckdb_result result;
    struct buf sql BUF_AUTO = {0};
    uint64_t expected = 0;
    enum err_code code = ERR_OK;

    duck_hot_name(table, hot);
    buf_init(&sql, SQL_BYTES);
    buf_add_fmt(&sql, "INSERT INTO main.\"%s\" SELECT ", hot);
    duck_cold_add_columns(table, &probe->table->columns, &sql);
    buf_add_cstr(&sql, " FROM ");
    duck_cold_add_files(duck, files, count, COLD_ALL_COLUMNS, &sql);
    buf_add_char(&sql, '\0');
    for (size_t i = 0; i < count; i++) {
        expected += files[i]->rows;
    }
    if (duckdb_query(duck->writer, sql.ptr, &result) != DuckDBSuccess) {
        /* As a read: the files may be at fault, not the database. */
        code = duck_fail_result(duck, DUCK_SIDE_READ, &result, err);
        code = code == ERR_NO_SPACE ? code : err_context(err, ERR_IO, "unsealing %s", table->name);
    } else if (duckdb_rows_changed(&result) != expected) {
        code = err_set(err, ERR_IO, "the files of a day of %s have other rows than are listed",
                       table->name);
    }
    duckdb_destroy_result(&result);
    return code ? code : failpoint_fails("unseal.restored", err);
}

/* All kinds of files of a day leave the list. */
static enum err_code
delist_day(struct duck_probe *probe, int32_t day, struct err *err)
{
    struct duck_store *duck = probe->duck;
    const enum table_id id = probe->table->table->id;
    struct duck_cold now =
        duck->cold.pending
            ? (struct duck_cold){.files = duck->cold.pending, .count = duck->cold.pending_count}
            : (struct duck_cold){.files = duck->cold.files, .count = duck->cold.count};
    struct cold_file *gone MEM_AUTO = mem_zalloc(now.count + 1, sizeof(*gone));
    size_t count = 0;
    size_t left;

    for (size_t i = 0; i < now.count; i++) {
        if (now.files[i].table == id && now.files[i].day == day) {
            gone[count++] = now.files[i];
        }
    }
    struct cold_file *files = duck_cold_changed(&now, gone, count, NULL, 0, &left);
    free(duck->cold.pending);
    duck->cold.pending = files;
    duck->cold.pending_count = left;
    enum err_code code = duck_cold_delete(duck, gone, count, err);
    code = code ? code : duck_views_update(duck, id, files, left, err);
    return code ? code : failpoint_fails("unseal.delisted", err);
}

static enum err_code
unseal_day(struct duck_probe *probe, int32_t day, uint64_t lsn, struct err *err)
{
    const struct cold_file **files MEM_AUTO = duck_cold_pointers(probe->duck->cold.count);
    size_t count = find_files(probe, day, day, files);

    duck_table_touch_day(probe->table, day, lsn);
    enum err_code code = insert_rows(probe, files, count, err);
    return code ? code : delist_day(probe, day, err);
}

/* ---- keys without time ---- */

static bool
has_nul(struct slice text)
{
    return text.len > 0 && memchr(text.ptr, '\0', text.len);
}

/* The condition that the key's text is, or may be, one of those. */
static void
add_text_filter(const struct duck_probe *probe, struct buf *sql)
{
    const char *name = probe->table->table->columns[probe->table->key.index[0]].name;

    if (has_nul(probe->least) || has_nul(probe->greatest)) {
        return;
    }
    buf_add_fmt(sql, " WHERE \"%s\" >= ", name);
    duck_cold_add_literal(probe->least, sql);
    buf_add_fmt(sql, " AND \"%s\" <= ", name);
    duck_cold_add_literal(probe->greatest, sql);
    for (size_t i = 0; i < probe->text_count && probe->text_count <= TEXTS_MAX; i++) {
        if (has_nul(probe->texts[i])) {
            return;
        }
    }
    for (size_t i = 0; i < probe->text_count && probe->text_count <= TEXTS_MAX; i++) {
        buf_add_fmt(sql, i ? ", " : " AND \"%s\" IN (", name);
        duck_cold_add_literal(probe->texts[i], sql);
    }
    buf_add_cstr(sql, probe->text_count <= TEXTS_MAX ? ")" : "");
}

/* Found in the hot table: it is in no file. */
static void
count_hot(struct duck_probe *probe, const struct batch *rows, size_t row, void *ctx)
{
    (void)probe;
    (void)rows;
    (void)row;
    ++*(size_t *)ctx;
}

static void
note_day(struct duck_probe *probe, const struct batch *rows, size_t row, void *ctx)
{
    (void)ctx;
    add_day(probe, batch_get_i64(rows, probe->table->key.count, row));
}

/* Fills in the days of the files that have one of the ids. */
static enum err_code
probe_ids(struct duck_probe *probe, struct err *err)
{
    const struct cold_file **files MEM_AUTO = duck_cold_pointers(probe->duck->cold.count);
    char hot[DUCK_NAME_MAX];
    size_t in_hot = 0;
    struct buf sql BUF_AUTO = {0};

    duck_hot_name(probe->table->table, hot);
    buf_init(&sql, SQL_BYTES);
    add_key_select(probe->table, &sql);
    buf_add_fmt(&sql, "main.\"%s\"", hot);
    add_text_filter(probe, &sql);
    enum err_code code = run_probe(probe, &sql, count_hot, &in_hot, probe->duck->prober, err);
    if (code || in_hot >= probe->keys.used) {
        return code;
    }
    size_t count = find_files(probe, INT32_MIN, INT32_MAX, files);
    buf_reset(&sql);
    add_key_select(probe->table, &sql);
    duck_cold_add_files(probe->duck, files, count, COLD_ALL_COLUMNS, &sql);
    add_text_filter(probe, &sql);
    code = run_probe(probe, &sql, note_day, NULL, probe->duck->prober, err);
    /* With a file that cannot be read, day by day: the others have their say. */
    for (size_t i = 0; i < count && code; i++) {
        buf_reset(&sql);
        add_key_select(probe->table, &sql);
        duck_cold_add_files(probe->duck, &files[i], 1, COLD_ALL_COLUMNS, &sql);
        add_text_filter(probe, &sql);
        enum err_code one = run_probe(probe, &sql, note_day, NULL, probe->duck->prober, err);
        if (one && are_whole(probe, &files[i], 1)) {
            return err_context(err, ERR_IO, "looking for ids in cold files");
        }
    }
    return ERR_OK;
}

enum err_code
duck_probe_unseal(struct duck_probe *probe, uint64_t lsn, struct err *err)
{
    enum err_code code = ERR_OK;

    if (probe->keys.used == 0) {
        return ERR_OK;
    }
    if (probe->table->policy == DUCK_KNOWN) {
        code = probe_ids(probe, err);
    }
    for (size_t i = 0; i < probe->day_count && !code; i++) {
        bool found = false;
        if (probe->table->policy == DUCK_KNOWN) {
            const struct cold_file **files MEM_AUTO = duck_cold_pointers(probe->duck->cold.count);
            size_t count = find_files(probe, probe->days[i].day, probe->days[i].day, files);
            found = are_whole(probe, files, count);
        } else {
            code = probe_day(probe, &probe->days[i], &found, err);
        }
        if (!code && found) {
            code = unseal_day(probe, probe->days[i].day, lsn, err);
        }
    }
    return code;
}
