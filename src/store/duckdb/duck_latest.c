/* The newest row of every series. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/duckdb/duck_read.h"

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
};

/* Finding the newest times reads files: the list's lock must not be held so long, for the applier
 * would wait for it, and behind the applier all readers. */
static void
copy_list(struct latest *latest, const struct catalog_table *base)
{
    const struct duck_cold *cold = &latest->reading.duck->cold;
    size_t first = 0;
    size_t end = 0;

    if (latest->reading.listing) {
        end = duck_cold_range(cold, base->id, COLD_RAW, &first);
        while (end < cold->count && cold->files[end].table == base->id) {
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
find_files(struct latest *latest, const struct catalog_table *base)
{
    const struct duck_cold *cold = &latest->own;
    size_t first;

    copy_list(latest, base);
    size_t end = duck_cold_range(cold, base->id, COLD_RAW, &first);
    latest->raw = duck_cold_pointers(end - first);
    latest->rolled = duck_cold_pointers(end - first);
    for (size_t i = first; i < end; i++) {
        /* Rollups of samples may have metrics that were dropped from the rows (retention). */
        const struct cold_file *rollup = latest->table->id == TABLE_SAMPLES
                                             ? NULL
                                             : duck_cold_find(cold, cold->files[i].name, COLD_1D);
        if (rollup) {
            latest->rolled[latest->rolled_count++] = rollup;
        } else {
            latest->raw[latest->raw_count++] = &cold->files[i];
        }
    }
    latest->reading.cold = end > first;
}

/* The newest time of every series, from hot rows, raw files and rollups. */
static enum err_code
ask_times(struct latest *latest, struct batch *ret_times, struct err *err)
{
    struct duck_bounds bounds = {.rows_max = BATCH_ROWS_MAX, .bytes_max = 1ULL << 30};
    const char *time = duck_time_name(latest->table);
    struct duck_sql sql;

    duck_sql_init(&sql);
    buf_add_cstr(&sql.text, "SELECT DISTINCT newest FROM (SELECT ");
    duck_sql_names(&sql, latest->table, &latest->series, "");
    buf_add_fmt(&sql.text, ", max(newest) AS newest FROM (SELECT ");
    duck_sql_names(&sql, latest->table, &latest->series, "");
    buf_add_fmt(&sql.text, ", max(\"%s\") AS newest FROM ", time);
    duck_cold_add_rows(latest->reading.duck, latest->table, latest->raw, latest->raw_count,
                       DUCK_SOURCE_PLAIN, &sql.text);
    buf_add_cstr(&sql.text, " GROUP BY ALL UNION ALL SELECT ");
    duck_sql_names(&sql, latest->table, &latest->series, "");
    buf_add_cstr(&sql.text, ", max(last_row) AS newest FROM ");
    duck_cold_add_files(latest->reading.duck, latest->rolled, latest->rolled_count, 0, &sql.text);
    buf_add_cstr(&sql.text, " GROUP BY ALL) GROUP BY ALL)");
    struct duck_statement statement = {.sql = buf_slice(&sql.text)};
    enum err_code code = duck_select(latest->reading.duck, latest->reading.reader, DUCK_SIDE_READ,
                                     &statement, &bounds, ret_times, NULL, err);
    duck_sql_fini(&sql);
    return code ? err_context(err, code, "reading rollups") : ERR_OK;
}

/* Adds the raw files of those rolled up that a newest time falls into. Without it, every row of
 * every day would be read for what mostly is hot. */
static enum err_code
narrow(struct latest *latest, struct err *err)
{
    const struct duck_cold *cold = &latest->own;
    struct batch times BATCH_AUTO = {0};
    size_t count = latest->rolled_count;

    if (count == 0) {
        return ERR_OK;
    }
    enum err_code code = ask_times(latest, &times, err);
    for (size_t i = 0; i < count && !code; i++) {
        const struct cold_file *raw = duck_cold_find(cold, latest->rolled[i]->name, COLD_RAW);
        bool needed = false;
        for (size_t row = 0; row < times.rows && !needed; row++) {
            int64_t time_us = batch_get_i64(&times, 0, row);
            needed = time_us >= raw->min_us && time_us <= raw->max_us;
        }
        if (needed) {
            latest->raw[latest->raw_count++] = raw;
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
        duck_cold_add_rows(latest->reading.duck, latest->table, latest->raw, latest->raw_count,
                           placed ? DUCK_SOURCE_PLACED : DUCK_SOURCE_PLAIN, sql);
    } else {
        buf_add_fmt(sql, "(SELECT *%s FROM main.\"%s\")",
                    placed ? ", 0 AS eider_part, rowid AS eider_row" : "", latest->table->name);
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
    buf_add_cstr(&sql->text, " GROUP BY ALL) AS k ON ");
    for (size_t i = 0; i < series->count; i++) {
        const char *name = table->columns[series->index[i]].name;
        buf_add_fmt(&sql->text, "t.\"%s\" IS NOT DISTINCT FROM k.\"%s\" AND ", name, name);
    }
    buf_add_fmt(&sql->text, "t.\"%s\" = k.newest QUALIFY row_number() OVER (PARTITION BY ", time);
    duck_sql_names(sql, table, series, "t.");
    buf_add_cstr(&sql->text, " ORDER BY t.eider_part DESC, t.eider_row DESC) = 1 ORDER BY ");
    duck_sql_names(sql, table, series, "t.");
}

/* The newest sample of every series, with its name: rollups by day have it. */
static void
add_latest_metrics(struct latest *latest)
{
    struct duck_store *duck = latest->reading.duck;
    struct buf *sql = &latest->reading.sql.text;

    buf_add_cstr(
        sql, "SELECT x.newest AS \"timestamp\", r.metric_name, x.value, r.symbol, r.labels "
             "FROM (SELECT series_id, max(timestamp) AS newest, "
             "arg_max(value, timestamp) AS value FROM (SELECT series_id, timestamp, value FROM ");
    duck_cold_add_rows(duck, catalog_table(TABLE_SAMPLES), latest->raw, latest->raw_count,
                       DUCK_SOURCE_PLAIN, sql);
    if (latest->rolled_count > 0) {
        buf_add_cstr(sql, " UNION ALL SELECT series_id, value_last_at, value_last FROM ");
        duck_cold_add_files(duck, latest->rolled, latest->rolled_count, COLD_ALL_COLUMNS, sql);
    }
    buf_add_cstr(sql, ") GROUP BY series_id) AS x JOIN main.series AS r USING (series_id) "
                      "ORDER BY r.metric_name, r.symbol, r.labels");
}

enum err_code
duck_latest(struct store *store, enum table_id id, struct batch *ret_rows, struct err *err)
{
    const struct catalog_table *table = duck_find_table(id, err);
    struct latest latest = {.table = table};

    if (!table) {
        return ERR_NOT_FOUND;
    }
    if (table->time_column == CATALOG_NONE) {
        return err_set(err, ERR_INVALID, "%s has no times", table->name);
    }
    enum err_code code =
        duck_reading_open(&latest.reading, (struct duck_store *)store, table, 0, NULL, err);
    if (!code && table->kind == TABLE_VIEW) {
        find_files(&latest, catalog_table(TABLE_SAMPLES));
        add_latest_metrics(&latest);
    } else if (!code) {
        latest.series = series_columns(table);
        find_files(&latest, table);
        code = narrow(&latest, err);
        if (!code) {
            add_latest(&latest);
        }
    }
    code = code ? code : duck_reading_run(&latest.reading, ret_rows, err);
    duck_reading_close(&latest.reading);
    free(latest.raw);
    free(latest.rolled);
    free(latest.own.files);
    return code;
}
