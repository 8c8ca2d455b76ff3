/*
 * Buckets. A cold file that lies within the range is answered by the coarsest of its rollups whose
 * width divides the bucket's, when filters and group are by series and the aggregates are of
 * numbers; rows answer for the rest. Both give partial aggregates, which come together.
 *
 *   SELECT b, g, finals FROM (partials of rows UNION ALL rollup rows) GROUP BY b, g
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "store/duckdb/duck_read.h"
#include "store/duckdb/duck_rollup.h"
#include "store/duckdb/duck_views.h"
#include "store/filter.h"

/* Which files answer. */
struct plan {
    const struct catalog_table *table; /* as asked for */
    const struct catalog_table *base;  /* whose files they are */
    const struct store_bucket *bucket;
    const struct cold_file **files[COLD_KIND_COUNT];
    size_t counts[COLD_KIND_COUNT];
};

static void
plan_fini(struct plan *plan)
{
    for (int kind = 0; kind < COLD_KIND_COUNT; kind++) {
        mem_cleanup(&plan->files[kind]);
    }
}

static enum err_code
add_aggregate(struct duck_sql *sql, const struct catalog_table *table,
              const struct store_aggregate *aggregate, struct err *err)
{
    static const char *const functions[] = {
        [AGG_FIRST] = "arg_min", [AGG_LAST] = "arg_max", [AGG_MIN] = "min",    [AGG_MAX] = "max",
        [AGG_SUM] = "sum",       [AGG_AVG] = "avg",      [AGG_COUNT] = "count"};
    bool sums = aggregate->fn == AGG_SUM || aggregate->fn == AGG_AVG;
    bool by_time = aggregate->fn == AGG_FIRST || aggregate->fn == AGG_LAST;
    size_t column = 0;

    if (!aggregate->column) {
        assert(aggregate->fn == AGG_COUNT);
        buf_add_cstr(&sql->text, ", count(*) AS ");
        duck_sql_name(sql, aggregate->as);
        return ERR_OK;
    }
    enum err_code code = catalog_find_column(table, aggregate->column, &column, err);
    if (!code) {
        code = store_check_aggregate(aggregate, table, column, err);
    }
    if (code) {
        return code;
    }
    buf_add_fmt(&sql->text, ", %s(", functions[aggregate->fn]);
    duck_sql_name(sql, aggregate->column);
    if (sums && table->columns[column].type == COL_BOOL) {
        buf_add_cstr(&sql->text, "::INTEGER");
    }
    if (by_time) {
        buf_add_fmt(&sql->text, ", \"%s\"", duck_time_name(table));
    }
    buf_add_cstr(&sql->text, ") AS ");
    duck_sql_name(sql, aggregate->as);
    return ERR_OK;
}

static enum err_code
add_bucket_select(struct duck_sql *sql, const struct catalog_table *table,
                  const struct store_bucket *bucket, struct err *err)
{
    enum err_code code = ERR_OK;
    size_t column = 0;

    if (bucket->bucket_us > 0) {
        buf_add_fmt(&sql->text, "SELECT time_bucket(to_microseconds(%" PRId64 "), \"%s\")",
                    bucket->bucket_us, duck_time_name(table));
    } else {
        buf_add_fmt(&sql->text, "SELECT min(\"%s\")", duck_time_name(table));
    }
    buf_add_cstr(&sql->text, " AS \"timestamp\"");
    if (bucket->group_column) {
        code = catalog_find_column(table, bucket->group_column, &column, err);
        buf_add_cstr(&sql->text, ", ");
        duck_sql_name(sql, bucket->group_column);
    }
    assert(bucket->aggregate_count <= STORE_AGGREGATES_MAX);
    for (size_t i = 0; i < bucket->aggregate_count && !code; i++) {
        code = add_aggregate(sql, table, &bucket->aggregates[i], err);
    }
    return code;
}

/* By number: an answer's name may be that of a column. */
static void
add_grouping(struct duck_sql *sql, const struct store_bucket *bucket)
{
    bool timed = bucket->bucket_us > 0;
    bool grouped = bucket->group_column != NULL;

    if (timed || grouped) {
        buf_add_fmt(&sql->text, " GROUP BY %s", timed ? grouped ? "1, 2" : "1" : "2");
    }
    buf_add_fmt(&sql->text, " HAVING count(*) > 0 ORDER BY 1%s%s",
                bucket->scan.newest_first ? " DESC" : "", grouped ? ", 2" : "");
}

/* ---- which files ---- */

/* Whether a column tells series apart and nothing more: rollups have it. */
static bool
is_of_series(const struct plan *plan, const char *name)
{
    int index = catalog_column_index(plan->table, slice_of(name));

    if (index == CATALOG_NONE) {
        return false;
    }
    if (plan->table->kind == TABLE_VIEW) {
        return catalog_column_index(catalog_table(TABLE_SERIES), slice_of(name)) != CATALOG_NONE;
    }
    return index == plan->table->series_column;
}

static bool
is_answerable(const struct plan *plan)
{
    const struct store_bucket *bucket = plan->bucket;

    if (!plan->base->rolled_up || bucket->scan.at_least_column ||
        (bucket->group_column && !is_of_series(plan, bucket->group_column))) {
        return false;
    }
    for (size_t i = 0; i < bucket->scan.filter_count; i++) {
        if (!is_of_series(plan, bucket->scan.filters[i].column)) {
            return false;
        }
    }
    for (size_t i = 0; i < bucket->aggregate_count; i++) {
        const char *name = bucket->aggregates[i].column;
        int index = name ? catalog_column_index(plan->base, slice_of(name)) : CATALOG_NONE;
        if (name && (index == CATALOG_NONE || index == plan->base->series_column ||
                     !duck_rollup_has(plan->base->columns[index].type))) {
            return false;
        }
    }
    return true;
}

/* The coarsest rollup of this name that fits the bucket; NULL: none. */
static const struct cold_file *
find_rollup(const struct duck_cold *cold, const struct plan *plan, const char *name)
{
    for (int kind = COLD_KIND_COUNT - 1; kind > COLD_RAW; kind--) {
        if (plan->bucket->bucket_us % cold_kind_width_us((enum cold_kind)kind) == 0) {
            const struct cold_file *file = duck_cold_find(cold, name, (enum cold_kind)kind);
            if (file) {
                return file;
            }
        }
    }
    return NULL;
}

static void
take(struct plan *plan, const struct cold_file *file)
{
    plan->files[file->kind][plan->counts[file->kind]++] = file;
}

/* A rollup whose raw file is gone answers with the buckets of it that lie within the range: the
 * finest that fits, where the range cuts it. */
static void
take_orphans(const struct duck_cold *cold, struct plan *plan)
{
    const struct store_scan *scan = &plan->bucket->scan;

    for (size_t i = 0; i < cold->count; i++) {
        const struct cold_file *file = &cold->files[i];
        bool fits = file->table == plan->base->id && file->kind != COLD_RAW &&
                    plan->bucket->bucket_us % cold_kind_width_us(file->kind) == 0 &&
                    file->max_us >= scan->from_us && file->min_us <= scan->to_us;
        if (!fits || duck_cold_find(cold, file->name, COLD_RAW)) {
            continue;
        }
        bool whole = file->min_us >= scan->from_us && file->max_us <= scan->to_us;
        bool better = false; /* there is a better one of this name */
        for (int kind = COLD_1M; kind < COLD_KIND_COUNT && !better; kind++) {
            bool divides = plan->bucket->bucket_us % cold_kind_width_us((enum cold_kind)kind) == 0;
            better = divides && (whole ? kind > (int)file->kind : kind < (int)file->kind) &&
                     duck_cold_find(cold, file->name, (enum cold_kind)kind);
        }
        if (!better) {
            take(plan, file);
        }
    }
}

/* Holds the list's lock. */
static void
make_plan(const struct duck_store *duck, struct plan *plan)
{
    const struct store_scan *scan = &plan->bucket->scan;
    const struct duck_cold *cold = &duck->cold;
    bool answerable = is_answerable(plan);
    size_t first;

    if (!plan->base->sealed) {
        return; /* the lock is not held */
    }
    size_t end = duck_cold_range(cold, plan->base->id, COLD_RAW, &first);
    for (int kind = 0; kind < COLD_KIND_COUNT; kind++) {
        plan->files[kind] = duck_cold_pointers(cold->count);
    }
    for (size_t i = first; i < end; i++) {
        const struct cold_file *file = &cold->files[i];
        if (file->max_us < scan->from_us || file->min_us > scan->to_us) {
            continue;
        }
        bool whole = file->min_us >= scan->from_us && file->max_us <= scan->to_us;
        const struct cold_file *rollup =
            answerable && whole ? find_rollup(cold, plan, file->name) : NULL;
        take(plan, rollup ? rollup : file);
    }
    if (answerable) {
        take_orphans(cold, plan);
    }
}

static bool
has_rollups(const struct plan *plan)
{
    size_t count = 0;

    for (int kind = COLD_1M; kind < COLD_KIND_COUNT; kind++) {
        count += plan->counts[kind];
    }
    return count > 0;
}

/* ---- partial aggregates ---- */

static enum col_type
type_of(const struct plan *plan, const char *name)
{
    return plan->table->columns[catalog_column_index(plan->table, slice_of(name))].type;
}

/* Columns a0, t0 (time of first or last), c0 (count of an average), a1, ... of rows. */
static void
add_row_partials(const struct plan *plan, struct buf *sql)
{
    const char *t = duck_time_name(plan->table);

    for (size_t i = 0; i < plan->bucket->aggregate_count; i++) {
        const struct store_aggregate *aggregate = &plan->bucket->aggregates[i];
        const char *c = aggregate->column;
        switch (aggregate->fn) {
        case AGG_FIRST:
            buf_add_fmt(sql,
                        ", arg_min(\"%s\", \"%s\") AS a%zu, "
                        "min(\"%s\") FILTER (\"%s\" IS NOT NULL) AS t%zu",
                        c, t, i, t, c, i);
            break;
        case AGG_LAST:
            buf_add_fmt(sql,
                        ", arg_max(\"%s\", \"%s\") AS a%zu, "
                        "max(\"%s\") FILTER (\"%s\" IS NOT NULL) AS t%zu",
                        c, t, i, t, c, i);
            break;
        case AGG_MIN:
            buf_add_fmt(sql, ", min(\"%s\") AS a%zu", c, i);
            break;
        case AGG_MAX:
            buf_add_fmt(sql, ", max(\"%s\") AS a%zu", c, i);
            break;
        case AGG_SUM:
        case AGG_AVG:
            buf_add_fmt(sql, ", sum(\"%s\")::%s AS a%zu, count(\"%s\") AS c%zu", c,
                        duck_rollup_sum_type(type_of(plan, c)), i, c, i);
            break;
        case AGG_COUNT:
            if (c) {
                buf_add_fmt(sql, ", count(\"%s\") AS a%zu", c, i);
            } else {
                buf_add_fmt(sql, ", count(*) AS a%zu", i);
            }
            break;
        }
    }
}

/* The same columns of rollup rows. */
static void
add_rollup_partials(const struct plan *plan, struct buf *sql)
{
    for (size_t i = 0; i < plan->bucket->aggregate_count; i++) {
        const struct store_aggregate *aggregate = &plan->bucket->aggregates[i];
        const char *c = aggregate->column;
        switch (aggregate->fn) {
        case AGG_FIRST:
            buf_add_fmt(sql, ", \"%s_first\" AS a%zu, \"%s_first_at\" AS t%zu", c, i, c, i);
            break;
        case AGG_LAST:
            buf_add_fmt(sql, ", \"%s_last\" AS a%zu, \"%s_last_at\" AS t%zu", c, i, c, i);
            break;
        case AGG_MIN:
            buf_add_fmt(sql, ", \"%s_min\" AS a%zu", c, i);
            break;
        case AGG_MAX:
            buf_add_fmt(sql, ", \"%s_max\" AS a%zu", c, i);
            break;
        case AGG_SUM:
        case AGG_AVG:
            buf_add_fmt(sql, ", \"%s_sum\" AS a%zu, \"%s_count\" AS c%zu", c, i, c, i);
            break;
        case AGG_COUNT:
            if (c) {
                buf_add_fmt(sql, ", \"%s_count\" AS a%zu", c, i);
            } else {
                buf_add_fmt(sql, ", row_count AS a%zu", i);
            }
            break;
        }
    }
}

/* What the columns come to. */
static void
add_finals(const struct plan *plan, struct duck_sql *sql)
{
    for (size_t i = 0; i < plan->bucket->aggregate_count; i++) {
        const struct store_aggregate *aggregate = &plan->bucket->aggregates[i];
        enum col_type type = aggregate->column ? type_of(plan, aggregate->column) : COL_INT64;
        bool whole = type == COL_INT32 || type == COL_INT64;
        switch (aggregate->fn) {
        case AGG_FIRST:
            buf_add_fmt(&sql->text, ", arg_min(a%zu, t%zu)", i, i);
            break;
        case AGG_LAST:
            buf_add_fmt(&sql->text, ", arg_max(a%zu, t%zu)", i, i);
            break;
        case AGG_MIN:
            buf_add_fmt(&sql->text, ", min(a%zu)", i);
            break;
        case AGG_MAX:
            buf_add_fmt(&sql->text, ", max(a%zu)", i);
            break;
        case AGG_SUM:
            buf_add_fmt(&sql->text, ", sum(a%zu)%s", i, whole ? "::HUGEINT" : "");
            break;
        case AGG_AVG:
            buf_add_fmt(&sql->text, ", sum(a%zu)::DOUBLE / sum(c%zu)::DOUBLE", i, i);
            break;
        case AGG_COUNT:
            buf_add_fmt(&sql->text, ", sum(a%zu)::BIGINT", i);
            break;
        }
        buf_add_cstr(&sql->text, " AS ");
        duck_sql_name(sql, aggregate->as);
    }
}

/* " FROM" the rows that no rollup answers for. */
static void
add_rows(struct duck_reading *reading, const struct plan *plan)
{
    struct buf *sql = &reading->sql.text;

    buf_add_cstr(sql, " FROM ");
    if (plan->table->kind == TABLE_VIEW) {
        buf_add_cstr(sql, "(" CATALOG_METRICS_SELECT);
    }
    if (plan->table->sealed || plan->table->kind == TABLE_VIEW) {
        struct duck_source how = {0};
        if (plan->counts[COLD_RAW] > 0) {
            how.once = duck_sql_once(&reading->sql);
        }
        duck_cold_add_rows(reading->duck, plan->base, plan->files[COLD_RAW], plan->counts[COLD_RAW],
                           how, sql);
    } else {
        buf_add_fmt(sql, "main.\"%s\"", plan->table->name);
    }
    if (plan->table->kind == TABLE_VIEW) {
        buf_add_cstr(sql, " AS s JOIN main.series AS r USING (series_id))");
    }
}

/* The columns that aggregates are asked of. */
static uint64_t
aggregated(const struct plan *plan)
{
    uint64_t mask = 0;

    for (size_t i = 0; i < plan->bucket->aggregate_count; i++) {
        const char *name = plan->bucket->aggregates[i].column;
        mask |= name ? UINT64_C(1) << catalog_column_index(plan->base, slice_of(name)) : 0;
    }
    return mask;
}

/* " FROM" a kind of rollups, WHERE the filters; the ends of the range matter to orphans only. */
static enum err_code
add_rollups(struct duck_reading *reading, const struct plan *plan, enum cold_kind kind,
            struct err *err)
{
    const struct store_scan *scan = &plan->bucket->scan;
    struct duck_sql *sql = &reading->sql;
    const char *glue = " WHERE ";

    buf_add_cstr(&sql->text, " FROM ");
    if (plan->table->kind == TABLE_VIEW) {
        buf_add_cstr(&sql->text, "(SELECT s.*, r.metric_name, r.symbol, r.labels FROM ");
    }
    duck_cold_add_files_once(reading->duck, plan->files[kind], plan->counts[kind], aggregated(plan),
                             duck_sql_once(sql), &sql->text);
    if (plan->table->kind == TABLE_VIEW) {
        buf_add_cstr(&sql->text, " AS s JOIN main.series AS r USING (series_id))");
    }
    for (size_t i = 0; i < scan->filter_count; i++) {
        buf_add_cstr(&sql->text, glue);
        glue = " AND ";
        enum err_code code = duck_sql_filter(sql, plan->table, &scan->filters[i], err);
        if (code) {
            return code;
        }
    }
    if (scan->from_us != INT64_MIN) {
        buf_add_fmt(&sql->text, "%sfirst_row >= ", glue);
        duck_sql_time(sql, scan->from_us);
        glue = " AND ";
    }
    if (scan->to_us != INT64_MAX) {
        buf_add_fmt(&sql->text, "%slast_row <= ", glue);
        duck_sql_time(sql, scan->to_us);
    }
    return ERR_OK;
}

/* "time_bucket(...) AS b", and the group. */
static void
add_partial_head(const struct plan *plan, const char *time, const char *whole, struct duck_sql *sql)
{
    if (plan->bucket->bucket_us > 0) {
        buf_add_fmt(&sql->text, "SELECT time_bucket(to_microseconds(%" PRId64 "), \"%s\") AS b",
                    plan->bucket->bucket_us, time);
    } else {
        buf_add_fmt(&sql->text, "SELECT %s AS b", whole);
    }
    if (plan->bucket->group_column) {
        buf_add_cstr(&sql->text, ", ");
        duck_sql_name(sql, plan->bucket->group_column);
        buf_add_cstr(&sql->text, " AS g");
    }
}

static enum err_code
add_combined(struct duck_reading *reading, const struct plan *plan, struct err *err)
{
    const struct store_bucket *bucket = plan->bucket;
    struct duck_sql *sql = &reading->sql;
    bool timed = bucket->bucket_us > 0;
    bool grouped = bucket->group_column != NULL;
    char whole[128];

    buf_add_fmt(&sql->text, "SELECT %s AS \"timestamp\"", timed ? "b" : "min(b)");
    if (grouped) {
        buf_add_cstr(&sql->text, ", g AS ");
        duck_sql_name(sql, bucket->group_column);
    }
    add_finals(plan, sql);
    buf_add_cstr(&sql->text, " FROM (");
    snprintf(whole, sizeof(whole), "min(\"%s\")", duck_time_name(plan->table));
    add_partial_head(plan, duck_time_name(plan->table), whole, sql);
    buf_add_cstr(&sql->text, ", count(*) AS n");
    add_row_partials(plan, &sql->text);
    add_rows(reading, plan);
    enum err_code code = duck_sql_where(sql, plan->table, &bucket->scan, err);
    if (timed || grouped) {
        buf_add_fmt(&sql->text, " GROUP BY %s", timed ? grouped ? "1, 2" : "1" : "2");
    }
    for (int kind = COLD_1M; kind < COLD_KIND_COUNT && !code; kind++) {
        if (plan->counts[kind] > 0) {
            buf_add_cstr(&sql->text, " UNION ALL ");
            add_partial_head(plan, "timestamp", "first_row", sql);
            buf_add_cstr(&sql->text, ", row_count AS n");
            add_rollup_partials(plan, &sql->text);
            code = add_rollups(reading, plan, (enum cold_kind)kind, err);
        }
    }
    buf_add_char(&sql->text, ')');
    if (timed || grouped) {
        buf_add_fmt(&sql->text, " GROUP BY %s", timed ? grouped ? "1, 2" : "1" : "2");
    }
    buf_add_fmt(&sql->text, " HAVING sum(n) > 0 ORDER BY 1%s%s",
                bucket->scan.newest_first ? " DESC" : "", grouped ? ", 2" : "");
    return code;
}

static enum err_code
add_statement(struct duck_reading *reading, struct plan *plan, struct err *err)
{
    const struct store_bucket *bucket = plan->bucket;
    struct duck_sql *sql = &reading->sql;
    size_t mark = sql->text.len;

    /* For what it checks, too. */
    enum err_code code = add_bucket_select(sql, plan->table, bucket, err);
    if (code) {
        return code;
    }
    make_plan(reading->duck, plan);
    reading->cold = plan->counts[COLD_RAW] > 0 || has_rollups(plan);
    sql->literal = reading->cold;
    if (has_rollups(plan)) {
        assert(mark == 0);
        buf_reset(&sql->text);
        return add_combined(reading, plan, err);
    }
    add_rows(reading, plan);
    code = duck_sql_where(sql, plan->table, &bucket->scan, err);
    add_grouping(sql, bucket);
    return code;
}

enum err_code
duck_bucket(struct store *store, const struct store_bucket *bucket, struct batch *ret_rows,
            struct err *err)
{
    const struct catalog_table *table = duck_find_table(bucket->scan.table, err);
    struct duck_reading reading;

    if (!table) {
        return ERR_NOT_FOUND;
    }
    if (!duck_time_name(table) || bucket->bucket_us < 0) {
        return err_set(err, ERR_INVALID, "%s cannot be put into buckets of %" PRId64 " us",
                       table->name, bucket->bucket_us);
    }
    struct plan plan = {
        .table = table,
        .base = table->kind == TABLE_VIEW ? catalog_table(TABLE_SAMPLES) : table,
        .bucket = bucket,
    };
    enum err_code code = duck_reading_open(&reading, (struct duck_store *)store, table,
                                           bucket->scan.timeout_ms, bucket->scan.cancel, err);
    code = code ? code : add_statement(&reading, &plan, err);
    if (!code) {
        duck_sql_limit(&reading.sql, &bucket->scan);
        code = duck_reading_run(&reading, ret_rows, err);
    }
    duck_reading_close(&reading);
    plan_fini(&plan);
    return code;
}
