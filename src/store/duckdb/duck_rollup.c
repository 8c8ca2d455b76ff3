/* What rollups have, and how they are made. */
#include "store/duckdb/duck_rollup.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/duckdb/duck_views.h"

enum { SQL_BYTES = 64 << 20 };

bool
duck_rollup_has(enum col_type type)
{
    return type == COL_INT32 || type == COL_INT64 || type == COL_DOUBLE || type == COL_DECIMAL;
}

const char *
duck_rollup_sum_type(enum col_type type)
{
    switch (type) {
    case COL_DOUBLE:
        return "DOUBLE";
    case COL_DECIMAL:
        return "DECIMAL(38,6)";
    default:
        assert(type == COL_INT32 || type == COL_INT64);
        return "DECIMAL(38,0)";
    }
}

static const char *
series_name(const struct catalog_table *table)
{
    return table->series_column == CATALOG_NONE ? NULL : table->columns[table->series_column].name;
}

/* `time` is a column: the beginning of its bucket. */
static void
add_bucket(enum cold_kind kind, const char *time, struct buf *sql)
{
    if (kind == COLD_RAW) {
        buf_add_fmt(sql, "\"%s\" AS \"timestamp\"", time);
    } else {
        buf_add_fmt(sql, "time_bucket(to_microseconds(%" PRId64 "), \"%s\") AS \"timestamp\"",
                    cold_kind_width_us(kind), time);
    }
}

static void
add_head(const struct catalog_table *table, enum cold_kind kind, const char *time, struct buf *sql)
{
    buf_add_cstr(sql, "SELECT ");
    if (series_name(table)) {
        buf_add_fmt(sql, "\"%s\", ", series_name(table));
    }
    add_bucket(kind, time, sql);
}

/* By number: a table may have a column of the name of the answer's. */
static void
add_grouping(const struct catalog_table *table, struct buf *sql)
{
    buf_add_cstr(sql, series_name(table) ? " GROUP BY 1, 2" : " GROUP BY 1");
}

void
duck_rollup_add_raw(const struct catalog_table *table, enum cold_kind kind, struct slice from,
                    struct buf *sql)
{
    const char *t = table->columns[table->time_column].name;

    add_head(table, kind, t, sql);
    buf_add_fmt(sql, ", count(*) AS row_count, min(\"%s\") AS first_row, max(\"%s\") AS last_row",
                t, t);
    for (size_t i = 0; i < table->column_count; i++) {
        const char *c = table->columns[i].name;
        if (!duck_rollup_has(table->columns[i].type) || (int)i == table->series_column) {
            continue;
        }
        buf_add_fmt(sql,
                    ", arg_min(\"%s\", \"%s\") AS \"%s_first\", "
                    "min(\"%s\") FILTER (\"%s\" IS NOT NULL) AS \"%s_first_at\", "
                    "arg_max(\"%s\", \"%s\") AS \"%s_last\", "
                    "max(\"%s\") FILTER (\"%s\" IS NOT NULL) AS \"%s_last_at\", ",
                    c, t, c, t, c, c, c, t, c, t, c, c);
        buf_add_fmt(sql,
                    "min(\"%s\") AS \"%s_min\", max(\"%s\") AS \"%s_max\", "
                    "sum(\"%s\")::%s AS \"%s_sum\", count(\"%s\") AS \"%s_count\"",
                    c, c, c, c, c, duck_rollup_sum_type(table->columns[i].type), c, c, c);
    }
    buf_add_cstr(sql, " FROM ");
    buf_add_slice(sql, from);
    add_grouping(table, sql);
}

void
duck_rollup_add_merged(const struct catalog_table *table, enum cold_kind kind, struct slice from,
                       struct buf *sql)
{
    add_head(table, kind, "timestamp", sql);
    buf_add_cstr(sql, ", sum(row_count)::BIGINT AS row_count, min(first_row) AS first_row, "
                      "max(last_row) AS last_row");
    for (size_t i = 0; i < table->column_count; i++) {
        const char *c = table->columns[i].name;
        if (!duck_rollup_has(table->columns[i].type) || (int)i == table->series_column) {
            continue;
        }
        buf_add_fmt(sql,
                    ", arg_min(\"%s_first\", \"%s_first_at\") AS \"%s_first\", "
                    "min(\"%s_first_at\") AS \"%s_first_at\", "
                    "arg_max(\"%s_last\", \"%s_last_at\") AS \"%s_last\", "
                    "max(\"%s_last_at\") AS \"%s_last_at\", ",
                    c, c, c, c, c, c, c, c, c, c);
        buf_add_fmt(sql,
                    "min(\"%s_min\") AS \"%s_min\", max(\"%s_max\") AS \"%s_max\", "
                    "sum(\"%s_sum\")::%s AS \"%s_sum\", sum(\"%s_count\")::BIGINT AS \"%s_count\"",
                    c, c, c, c, c, duck_rollup_sum_type(table->columns[i].type), c, c, c);
    }
    buf_add_cstr(sql, " FROM ");
    buf_add_slice(sql, from);
    add_grouping(table, sql);
}

static const struct cold_file *
raw_of(const struct store_sealing *sealing, const struct cold_file *rollup)
{
    for (size_t i = 0; i < sealing->old_count; i++) {
        if (sealing->old[i].kind == COLD_RAW && strcmp(sealing->old[i].name, rollup->name) == 0) {
            return &sealing->old[i];
        }
    }
    return NULL;
}

static const struct cold_file *
rollup_of(const struct store_sealing *sealing, const struct cold_file *raw, enum cold_kind kind)
{
    for (size_t i = 0; i < sealing->old_count; i++) {
        if (sealing->old[i].kind == kind && strcmp(sealing->old[i].name, raw->name) == 0) {
            return &sealing->old[i];
        }
    }
    return NULL;
}

/* SELECT of the series of which a rollup has other rows than its raw file: metrics that retention
 * left out of the one and kept in the other. */
static void
add_differing(const struct duck_store *duck, const struct cold_file *raw,
              const struct cold_file *rollup, struct buf *sql)
{
    buf_add_cstr(sql, "(SELECT x.series_id FROM (SELECT series_id, sum(row_count) AS n FROM ");
    duck_cold_add_files(duck, &rollup, 1, COLD_ALL_COLUMNS, sql);
    buf_add_cstr(sql, " GROUP BY 1) AS x LEFT JOIN (SELECT series_id, count(*) AS n FROM ");
    duck_cold_add_files(duck, &raw, 1, COLD_ALL_COLUMNS, sql);
    buf_add_cstr(sql, " GROUP BY 1) AS y USING (series_id) WHERE x.n IS DISTINCT FROM y.n)");
}

/*
 * Rows of rollups that take the place of raw rows: all of those whose raw files retention dropped,
 * and of samples the series that differ.
 */
static void
add_ghosts(const struct duck_store *duck, const struct store_sealing *sealing, enum cold_kind kind,
           struct buf *sql)
{
    for (size_t i = 0; i < sealing->old_count; i++) {
        const struct cold_file *rollup = &sealing->old[i];
        const struct cold_file *raw = raw_of(sealing, rollup);
        const char *glue = " WHERE ";
        if (rollup->kind != kind || (raw && sealing->seal.table != TABLE_SAMPLES)) {
            continue;
        }
        buf_add_cstr(sql, " UNION ALL BY NAME (SELECT * FROM ");
        duck_cold_add_files(duck, &rollup, 1, COLD_ALL_COLUMNS, sql);
        if (raw) {
            buf_add_fmt(sql, "%sseries_id IN ", glue);
            add_differing(duck, raw, rollup, sql);
            glue = " AND ";
        }
        if (!sealing->seal.keep_rollups_of_dropped) {
            duck_seal_add_kept(&sealing->seal, glue, sql);
        }
        buf_add_char(sql, ')');
    }
}

/* The samples of the day but for those that add_ghosts answers for. */
static void
add_merged_samples(const struct duck_store *duck, const struct store_sealing *sealing,
                   enum cold_kind kind, struct buf *sql)
{
    buf_add_cstr(sql, "(SELECT * FROM (SELECT series_id, timestamp, value FROM (");
    duck_seal_add_hot(sealing, sql);
    buf_add_char(sql, ')');
    for (size_t i = 0; i < sealing->old_count; i++) {
        const struct cold_file *raw = &sealing->old[i];
        const struct cold_file *rollup = rollup_of(sealing, raw, kind);
        if (raw->kind != COLD_RAW) {
            continue;
        }
        buf_add_cstr(sql, " UNION ALL SELECT series_id, timestamp, value FROM ");
        duck_cold_add_files(duck, &raw, 1, COLD_ALL_COLUMNS, sql);
        if (rollup) {
            buf_add_cstr(sql, " WHERE series_id NOT IN ");
            add_differing(duck, raw, rollup, sql);
        }
    }
    buf_add_char(sql, ')');
    if (!sealing->seal.keep_rollups_of_dropped) {
        duck_seal_add_kept(&sealing->seal, " WHERE ", sql);
    }
    buf_add_char(sql, ')');
}

/* The rows are those of the raw file; of merged samples, and with keep_rollups_of_dropped, those of
 * the same transaction, for the raw file has not all that the rollups have. */
static void
add_rows(const struct duck_store *duck, const struct store_sealing *sealing, enum cold_kind kind,
         struct buf *sql)
{
    char path[COLD_PATH_MAX];

    if (sealing->seal.table == TABLE_SAMPLES &&
        (sealing->old_count > 0 || sealing->rows_dropped > 0)) {
        add_merged_samples(duck, sealing, kind, sql);
    } else {
        cold_tmp_path(duck->cold.dir, &sealing->files[0], path, sizeof(path));
        buf_add_cstr(sql, "read_parquet(");
        duck_cold_add_path(path, sql);
        buf_add_cstr(sql, ", hive_partitioning=false)");
    }
}

static enum err_code
write_one(struct duck_store *duck, struct store_sealing *sealing, enum cold_kind kind,
          struct err *err)
{
    const struct catalog_table *table = catalog_table(sealing->seal.table);
    struct cold_file *file = duck_seal_file(sealing, kind);
    struct buf rows BUF_AUTO = {0};
    struct buf parts BUF_AUTO = {0};
    struct buf sql BUF_AUTO = {0};
    uint64_t count;

    buf_init(&rows, SQL_BYTES);
    buf_init(&parts, SQL_BYTES);
    buf_init(&sql, SQL_BYTES);
    add_rows(duck, sealing, kind, &rows);
    buf_add_cstr(&parts, "((");
    duck_rollup_add_raw(table, kind, buf_slice(&rows), &parts);
    buf_add_char(&parts, ')');
    add_ghosts(duck, sealing, kind, &parts);
    buf_add_char(&parts, ')');
    duck_rollup_add_merged(table, COLD_RAW, buf_slice(&parts), &sql);
    buf_add_cstr(&sql, series_name(table) ? " ORDER BY 1, 2" : " ORDER BY 1");
    sql.overflow |= parts.overflow || rows.overflow;
    enum err_code code = duck_seal_copy(duck, sealing, file, &sql, &count, err);
    return code ? code : duck_seal_verify(duck, sealing, file, "first_row", "last_row", count, err);
}

enum err_code
duck_rollup_write(struct duck_store *duck, struct store_sealing *sealing, struct err *err)
{
    enum err_code code = ERR_OK;

    assert(sealing->file_count == 1 && sealing->files[0].kind == COLD_RAW);
    for (int kind = COLD_1M; kind < COLD_KIND_COUNT && !code; kind++) {
        code = write_one(duck, sealing, (enum cold_kind)kind, err);
    }
    return code;
}

void
duck_rollup_add_views(const struct duck_store *duck, const struct catalog_table *table,
                      struct buf *sql)
{
    for (int kind = COLD_1M; kind < COLD_KIND_COUNT; kind++) {
        size_t first;
        size_t end = duck_cold_range(&duck->cold, table->id, (enum cold_kind)kind, &first);
        const struct cold_file **files MEM_AUTO = duck_cold_pointers(end - first);
        char hot[DUCK_NAME_MAX];
        struct buf from BUF_AUTO = {0};

        for (size_t i = first; i < end; i++) {
            files[i - first] = &duck->cold.files[i];
        }
        buf_init(&from, SQL_BYTES);
        buf_add_fmt(sql, "CREATE OR REPLACE VIEW %s%s AS ", table->name,
                    cold_kind_suffix((enum cold_kind)kind));
        if (end > first) {
            duck_cold_add_files(duck, files, end - first, COLD_ALL_COLUMNS, &from);
            duck_rollup_add_merged(table, COLD_RAW, buf_slice(&from), sql);
        } else {
            duck_hot_name(table, hot);
            buf_add_fmt(&from, "main.\"%s\" WHERE false", hot);
            duck_rollup_add_raw(table, (enum cold_kind)kind, buf_slice(&from), sql);
        }
        sql->overflow |= from.overflow;
        buf_add_char(sql, ';');
    }
}
