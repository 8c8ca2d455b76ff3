/* The newest row of every series. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/duckdb/duck_read.h"

enum { SERIES_NAMED_MAX = 1000 }; /* in a statement; else the range of their numbers */

/* What "every series" means for a table: its key without the time, or who it names as series. */
static struct column_list
series_columns(const struct catalog_table *table)
{
    bool time_in_key = table->key_mask >> table->time_column & 1;

    if (time_in_key) {
        return column_list_of_key(table, false);
    }
    struct column_list list = {0};
    if (table->series_column != CATALOG_NONE) {
        list.index[list.count++] = (uint8_t)table->series_column;
    }
    return list;
}

/* Which files matter to an answer. */
struct latest {
    struct duck_reading reading;
    const struct catalog_table *table;
    struct column_list series;
    struct duck_cold own;         /* a copy of the table's part of the list */
    const struct cold_file **raw; /* to be read */
    size_t raw_count;
    const struct cold_file **rolled; /* rollups by day, in the place of their raw files */
    size_t rolled_count;
    int64_t from_us; /* no newest row is older; INT64_MIN: nobody knows */
};

/* Finding the newest times reads files: the list's lock must not be held so long, for the applier
 * would wait for it, and behind the applier all readers. */
static void
copy_list(struct latest *latest)
{
    const struct duck_cold *cold = &latest->reading.duck->cold;
    size_t first = 0;
    size_t end = 0;

    if (latest->reading.listing) {
        end = duck_cold_range(cold, latest->table->id, COLD_RAW, &first);
        while (end < cold->count && cold->files[end].table == latest->table->id) {
            end++;
        }
    }
    latest->own.count = end - first;
    latest->own.files = mem_zalloc(end - first + 1, sizeof(*latest->own.files));
    if (end > first) {
        memcpy(latest->own.files, &cold->files[first], (end - first) * sizeof(*cold->files));
    }
    duck_reading_unlist(&latest->reading);
}

/* A raw file that has a rollup by day is told by that. */
static void
find_files(struct latest *latest)
{
    const struct duck_cold *cold = &latest->own;
    size_t first;

    copy_list(latest);
    size_t end = duck_cold_range(cold, latest->table->id, COLD_RAW, &first);
    latest->raw = duck_cold_pointers(end - first);
    latest->rolled = duck_cold_pointers(end - first);
    for (size_t i = first; i < end; i++) {
        const struct cold_file *rollup = duck_cold_find(cold, cold->files[i].name, COLD_1D);
        if (rollup) {
            latest->rolled[latest->rolled_count++] = rollup;
        } else {
            latest->raw[latest->raw_count++] = &cold->files[i];
        }
    }
    latest->reading.cold = end > first;
}

static enum err_code
ask(struct latest *latest, const struct duck_sql *sql, struct batch *ret_rows, struct err *err)
{
    struct duck_bounds bounds = {.rows_max = BATCH_ROWS_MAX, .bytes_max = 1ULL << 30};
    struct duck_statement statement = {.sql = buf_slice(&sql->text)};

    enum err_code code = duck_select(latest->reading.duck, latest->reading.reader, DUCK_SIDE_READ,
                                     &statement, &bounds, ret_rows, NULL, err);
    return code ? err_context(err, code, "finding the newest rows") : ERR_OK;
}

/* Of every series: "newest" is the time of its newest row, "seen" that of the newest one that is
 * hot or in a file without a rollup. */
static void
add_newest(const struct latest *latest, struct duck_sql *sql)
{
    const char *time = duck_time_name(latest->table);

    buf_add_cstr(&sql->text, "SELECT ");
    duck_sql_names(sql, latest->table, &latest->series, "");
    buf_add_cstr(&sql->text, ", max(newest) AS newest, max(seen) AS seen FROM (SELECT ");
    duck_sql_names(sql, latest->table, &latest->series, "");
    buf_add_fmt(&sql->text, ", max(\"%s\") AS newest, max(\"%s\") AS seen FROM ", time, time);
    duck_cold_add_rows(latest->reading.duck, latest->table, latest->raw, latest->raw_count,
                       (struct duck_source){.form = DUCK_FORM_PLAIN}, &sql->text);
    buf_add_cstr(&sql->text, " GROUP BY ALL UNION ALL SELECT ");
    duck_sql_names(sql, latest->table, &latest->series, "");
    buf_add_cstr(&sql->text, ", max(last_row), NULL FROM ");
    duck_cold_add_files(latest->reading.duck, latest->rolled, latest->rolled_count, 0, &sql->text);
    buf_add_cstr(&sql->text, " GROUP BY ALL) GROUP BY ALL");
}

/*
 * The newest times of those series whose newest row only a rollup knows of. Of a table that is
 * written to these are the few series that have gone silent. Columns: the time, then what names the
 * series; sorted by that. Sets from_us.
 */
static enum err_code
ask_rolled(struct latest *latest, struct batch *ret_times, struct err *err)
{
    const char *series = latest->table->columns[latest->series.index[0]].name;
    struct duck_sql sql;

    assert(latest->series.count == 1); /* what rollups are by */
    duck_sql_init(&sql);
    buf_add_cstr(&sql.text, "WITH n AS MATERIALIZED (");
    add_newest(latest, &sql);
    buf_add_fmt(&sql.text,
                ") SELECT newest, \"%s\", false FROM n WHERE seen IS NULL OR seen < newest "
                "UNION ALL SELECT min(newest), NULL, true FROM n ORDER BY 3, 2",
                series);
    enum err_code code = ask(latest, &sql, ret_times, err);
    if (!code) {
        assert(ret_times->rows > 0);
        size_t last = ret_times->rows - 1;
        latest->from_us =
            batch_is_null(ret_times, 0, last) ? INT64_MIN : batch_get_i64(ret_times, 0, last);
        batch_drop_row(ret_times);
    }
    duck_sql_fini(&sql);
    return code;
}

static const struct cold_file *
raw_of(const struct latest *latest, size_t rolled)
{
    return duck_cold_find(&latest->own, latest->rolled[rolled]->name, COLD_RAW);
}

/* Marks those rolled up whose raw file a time falls into. */
static void
mark_files(const struct latest *latest, const struct batch *times, bool *needed)
{
    for (size_t i = 0; i < latest->rolled_count; i++) {
        const struct cold_file *raw = raw_of(latest, i);
        for (size_t row = 0; row < times->rows && !needed[i]; row++) {
            int64_t time_us = batch_get_i64(times, 0, row);
            needed[i] = time_us >= raw->min_us && time_us <= raw->max_us;
        }
    }
}

/* The newest times that raw files have of these series of samples; both as of ask_rolled. Which
 * files: those that are marked, or all (NULL). */
static enum err_code
ask_raw(struct latest *latest, const bool *needed, const struct batch *series,
        struct batch *ret_times, struct err *err)
{
    const struct cold_file **files = duck_cold_pointers(latest->rolled_count);
    struct duck_sql sql;
    size_t count = 0;

    for (size_t i = 0; i < latest->rolled_count; i++) {
        if (!needed || needed[i]) {
            files[count++] = raw_of(latest, i);
        }
    }
    duck_sql_init(&sql);
    buf_add_cstr(&sql.text, "SELECT max(timestamp) AS newest, series_id FROM ");
    duck_cold_add_files(latest->reading.duck, files, count, COLD_ALL_COLUMNS, &sql.text);
    /* Constants: row groups without these series are skipped. */
    buf_add_fmt(&sql.text, " WHERE series_id BETWEEN %" PRId64 " AND %" PRId64,
                batch_get_i64(series, 1, 0), batch_get_i64(series, 1, series->rows - 1));
    for (size_t i = 0; i < series->rows && series->rows <= SERIES_NAMED_MAX; i++) {
        buf_add_fmt(&sql.text, "%s%" PRId64, i ? ", " : " AND series_id IN (",
                    batch_get_i64(series, 1, i));
    }
    buf_add_fmt(&sql.text, "%s GROUP BY series_id ORDER BY series_id",
                series->rows <= SERIES_NAMED_MAX ? ")" : "");
    enum err_code code = ask(latest, &sql, ret_times, err);
    duck_sql_fini(&sql);
    free(files);
    return code;
}

/* Adds to an answer as of ask_rolled those rows of `times` that are not in `found`. */
static void
add_missing(const struct batch *times, const struct batch *found, struct batch *missing)
{
    size_t at = 0;

    for (size_t i = 0; i < times->rows; i++) {
        int64_t series = batch_get_i64(times, 1, i);
        while (at < found->rows && batch_get_i64(found, 1, at) < series) {
            at++;
        }
        if (at == found->rows || batch_get_i64(found, 1, at) != series ||
            batch_get_i64(found, 0, at) != batch_get_i64(times, 0, i)) {
            size_t row = batch_add_row(missing);
            batch_set_i64(missing, 0, row, batch_get_i64(times, 0, i));
            batch_set_i64(missing, 1, row, series);
        }
    }
}

/*
 * Rollups of samples may have metrics that the rows no longer have (retention by metric). Series
 * whose newest row is not where their rollup says are looked for in all files.
 */
static enum err_code
mark_files_of_dropped(struct latest *latest, const struct batch *rolled, bool *needed,
                      struct err *err)
{
    struct batch found BATCH_AUTO = {0};
    struct batch missing BATCH_AUTO = {0};
    struct batch times BATCH_AUTO = {0};

    enum err_code code = ask_raw(latest, needed, rolled, &found, err);
    if (code) {
        return code;
    }
    batch_init_answer(&missing, DUCK_TEXT_BYTES_MAX);
    batch_add_column(&missing, slice_of("newest"), COL_TIMESTAMP);
    batch_add_column(&missing, slice_of("series_id"), COL_INT64);
    add_missing(rolled, &found, &missing);
    if (missing.rows == 0) {
        return ERR_OK;
    }
    latest->from_us = INT64_MIN;
    code = ask_raw(latest, NULL, &missing, &times, err);
    if (!code) {
        mark_files(latest, &times, needed);
    }
    return code;
}

/* Adds the raw files of those rolled up that a newest row is in. Without it, every row of every day
 * would be read for what mostly is hot. */
static enum err_code
narrow(struct latest *latest, struct err *err)
{
    struct batch rolled BATCH_AUTO = {0};
    bool *needed MEM_AUTO = mem_zalloc(latest->rolled_count, sizeof(*needed));

    if (latest->rolled_count == 0) {
        return ERR_OK;
    }
    enum err_code code = ask_rolled(latest, &rolled, err);
    if (code || rolled.rows == 0) {
        return code;
    }
    mark_files(latest, &rolled, needed);
    if (latest->table->id == TABLE_SAMPLES) {
        code = mark_files_of_dropped(latest, &rolled, needed, err);
    }
    for (size_t i = 0; i < latest->rolled_count && !code; i++) {
        if (needed[i]) {
            latest->raw[latest->raw_count++] = raw_of(latest, i);
        }
    }
    return code;
}

/* The rows that matter; placed: with the place of each, which tells what was written last. */
static void
add_rows(struct latest *latest, bool placed)
{
    struct buf *sql = &latest->reading.sql.text;

    if (latest->table->sealed) {
        duck_cold_add_rows(
            latest->reading.duck, latest->table, latest->raw, latest->raw_count,
            (struct duck_source){.form = placed ? DUCK_FORM_PLACED : DUCK_FORM_PLAIN}, sql);
    } else {
        buf_add_fmt(sql, "(SELECT *%s FROM main.\"%s\")",
                    placed ? ", 0 AS eider_part, rowid AS eider_row" : "", latest->table->name);
    }
}

/* Row groups of rows that are too old are skipped by it. */
static void
add_from(const struct latest *latest, const char *prefix, struct duck_sql *sql)
{
    if (latest->from_us > INT64_MIN) {
        buf_add_fmt(&sql->text, " WHERE %s\"%s\" >= ", prefix, duck_time_name(latest->table));
        duck_sql_time(sql, latest->from_us);
    }
}

/* The newest time of each series first, then its rows; the last one written among equals. */
static void
add_latest(struct latest *latest)
{
    const struct catalog_table *table = latest->table;
    const struct column_list *series = &latest->series;
    struct column_list columns = column_list_of_table(table);
    const char *time = duck_time_name(table);
    struct duck_sql *sql = &latest->reading.sql;

    buf_add_cstr(&sql->text, "SELECT ");
    duck_sql_names(sql, table, &columns, "t.");
    buf_add_cstr(&sql->text, " FROM ");
    add_rows(latest, true);
    if (series->count == 0) {
        buf_add_fmt(&sql->text,
                    " AS t ORDER BY t.\"%s\" DESC, t.eider_part DESC, t.eider_row DESC LIMIT 1",
                    time);
        return;
    }
    buf_add_cstr(&sql->text, " AS t SEMI JOIN (SELECT ");
    duck_sql_names(sql, table, series, "");
    buf_add_fmt(&sql->text, ", max(\"%s\") AS newest FROM ", time);
    add_rows(latest, false);
    add_from(latest, "", sql);
    buf_add_cstr(&sql->text, " GROUP BY ALL) AS k ON ");
    for (size_t i = 0; i < series->count; i++) {
        const char *name = table->columns[series->index[i]].name;
        buf_add_fmt(&sql->text, "t.\"%s\" IS NOT DISTINCT FROM k.\"%s\" AND ", name, name);
    }
    buf_add_fmt(&sql->text, "t.\"%s\" = k.newest", time);
    add_from(latest, "t.", sql);
    buf_add_cstr(&sql->text, " QUALIFY row_number() OVER (PARTITION BY ");
    duck_sql_names(sql, table, series, "t.");
    buf_add_cstr(&sql->text, " ORDER BY t.eider_part DESC, t.eider_row DESC) = 1 ORDER BY ");
    duck_sql_names(sql, table, series, "t.");
}

/* The newest sample of every series, with its name. */
static void
add_latest_metrics(struct latest *latest)
{
    struct buf *sql = &latest->reading.sql.text;

    buf_add_cstr(sql, "SELECT x.\"timestamp\", r.metric_name, x.value, r.symbol, r.labels FROM (");
    add_latest(latest);
    buf_add_cstr(sql, ") AS x JOIN main.series AS r USING (series_id) "
                      "ORDER BY r.metric_name, r.symbol, r.labels");
}

enum err_code
duck_latest(struct store *store, enum table_id id, const struct store_patience *patience,
            struct batch *ret_rows, struct err *err)
{
    const struct catalog_table *table = duck_find_table(id, err);

    if (!table) {
        return ERR_NOT_FOUND;
    }
    bool named = table->kind == TABLE_VIEW;
    struct latest latest = {.table = named ? catalog_table(TABLE_SAMPLES) : table,
                            .from_us = INT64_MIN};
    if (table->time_column == CATALOG_NONE) {
        return err_set(err, ERR_INVALID, "%s has no times", table->name);
    }
    enum err_code code = duck_reading_open(&latest.reading, (struct duck_store *)store,
                                           latest.table, patience ? patience->timeout_ms : 0,
                                           patience ? patience->cancel : NULL, err);
    if (!code) {
        latest.series = series_columns(latest.table);
        find_files(&latest);
        code = narrow(&latest, err);
    }
    if (!code) {
        (named ? add_latest_metrics : add_latest)(&latest);
    }
    code = code ? code : duck_reading_run(&latest.reading, ret_rows, err);
    duck_reading_close(&latest.reading);
    free(latest.raw);
    free(latest.rolled);
    free(latest.own.files);
    return code;
}
