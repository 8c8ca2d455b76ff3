/* Buckets of time: date_bin and plain aggregates. */
#include <assert.h>
#include <inttypes.h>

#include "store/filter.h"
#include "store/postgres/pg.h"

static const size_t answer_bytes_max = 1ULL << 30;

enum col_type
pg_aggregate_type(enum store_aggregate_fn fn, enum col_type type)
{
    switch (fn) {
    case AGG_COUNT:
        return COL_INT64;
    case AGG_AVG:
        return COL_DOUBLE;
    case AGG_SUM:
        return type == COL_DOUBLE || type == COL_DECIMAL ? type : COL_INT64;
    case AGG_FIRST:
    case AGG_LAST:
    case AGG_MIN:
    case AGG_MAX:
        break;
    }
    return type;
}

/* t."name" as something that can be compared and added. */
static void
add_value(struct pg_sql *sql, const char *name, enum col_type type, bool as_number)
{
    buf_add_cstr(&sql->text, "t.");
    pg_sql_name(sql, name);
    if (type == COL_TEXT) {
        buf_add_cstr(&sql->text, " COLLATE \"C\"");
    } else if (type == COL_JSON) {
        buf_add_cstr(&sql->text, "::text COLLATE \"C\"");
    } else if (type == COL_BOOL && as_number) {
        buf_add_cstr(&sql->text, "::int");
    }
}

/* The first or last by time that is not NULL; the one that came first among equal times. */
static void
add_by_time(struct pg_sql *sql, const struct catalog_table *table,
            const struct store_aggregate *aggregate, enum col_type type)
{
    buf_add_cstr(&sql->text, ", (array_agg(");
    add_value(sql, aggregate->column, type, false);
    buf_add_fmt(&sql->text, " ORDER BY t.\"%s\"%s, t.eider_ord) FILTER (WHERE t.",
                table->columns[table->time_column].name, aggregate->fn == AGG_LAST ? " DESC" : "");
    pg_sql_name(sql, aggregate->column);
    buf_add_cstr(&sql->text, " IS NOT NULL))[1]");
}

static void
add_call(struct pg_sql *sql, const char *before, const struct store_aggregate *aggregate,
         enum col_type type, const char *after)
{
    buf_add_cstr(&sql->text, before);
    add_value(sql, aggregate->column, type, aggregate->fn == AGG_SUM || aggregate->fn == AGG_AVG);
    buf_add_cstr(&sql->text, after);
}

static enum err_code
add_aggregate(struct pg_sql *sql, const struct catalog_table *table,
              const struct store_aggregate *aggregate, struct batch *rows, struct err *err)
{
    size_t column = 0;

    if (!aggregate->column) {
        assert(aggregate->fn == AGG_COUNT);
        buf_add_cstr(&sql->text, ", count(*)");
        batch_add_column(rows, slice_of(aggregate->as), COL_INT64);
        return ERR_OK;
    }
    enum err_code code = catalog_find_column(table, aggregate->column, &column, err);
    if (!code) {
        code = store_check_aggregate(aggregate, table, column, err);
    }
    if (code) {
        return code;
    }
    enum col_type type = table->columns[column].type;
    batch_add_column(rows, slice_of(aggregate->as), pg_aggregate_type(aggregate->fn, type));
    switch (aggregate->fn) {
    case AGG_FIRST:
    case AGG_LAST:
        add_by_time(sql, table, aggregate, type);
        break;
    case AGG_MIN:
        add_call(sql, type == COL_BOOL ? ", bool_and(" : ", min(", aggregate, type, ")");
        break;
    case AGG_MAX:
        add_call(sql, type == COL_BOOL ? ", bool_or(" : ", max(", aggregate, type, ")");
        break;
    case AGG_SUM:
        add_call(sql, ", sum(", aggregate, type, ")");
        break;
    case AGG_COUNT:
        add_call(sql, ", count(", aggregate, type, ")");
        break;
    case AGG_AVG:
        /* Not avg(): that adds squares, too, and fails where only they do not fit. */
        add_call(sql, ", sum(", aggregate, type, ")::float8");
        add_call(sql, " / nullif(count(", aggregate, type, "), 0)");
        break;
    }
    return ERR_OK;
}

static enum err_code
add_bucket_select(struct pg_sql *sql, const struct catalog_table *table,
                  const struct store_bucket *bucket, struct batch *rows, struct err *err)
{
    const char *time = table->columns[table->time_column].name;
    enum err_code code = ERR_OK;
    size_t column = 0;

    if (bucket->bucket_us > 0) {
        buf_add_fmt(&sql->text,
                    "SELECT date_bin(%" PRId64 " * interval '1 microsecond', t.\"%s\", "
                    "TIMESTAMP '2000-01-03')",
                    bucket->bucket_us, time);
    } else {
        buf_add_fmt(&sql->text, "SELECT min(t.\"%s\")", time);
    }
    batch_add_column(rows, SLICE_LITERAL("timestamp"), COL_TIMESTAMP);
    if (bucket->group_column) {
        code = catalog_find_column(table, bucket->group_column, &column, err);
        buf_add_cstr(&sql->text, ", ");
        if (!code) {
            enum col_type type = table->columns[column].type;
            add_value(sql, bucket->group_column, type, false);
            batch_add_column(rows, slice_of(bucket->group_column), type);
        }
    }
    assert(bucket->aggregate_count <= STORE_AGGREGATES_MAX);
    for (size_t i = 0; i < bucket->aggregate_count && !code; i++) {
        code = add_aggregate(sql, table, &bucket->aggregates[i], rows, err);
    }
    return code;
}

/* By number, as no column of the answer has a name. */
static void
add_grouping(struct pg_sql *sql, const struct store_bucket *bucket)
{
    bool timed = bucket->bucket_us > 0;
    bool grouped = bucket->group_column != NULL;

    if (timed || grouped) {
        buf_add_fmt(&sql->text, " GROUP BY %s", timed ? grouped ? "1, 2" : "1" : "2");
    }
    buf_add_fmt(&sql->text, " HAVING count(*) > 0 ORDER BY 1%s%s",
                bucket->scan.newest_first ? " DESC" : "", grouped ? ", 2" : "");
}

enum err_code
pg_bucket(struct store *store, const struct store_bucket *bucket, struct batch *ret_rows,
          struct err *err)
{
    const struct catalog_table *table = pg_find_table(bucket->scan.table, err);
    struct batch rows;
    struct pg_sql sql;

    if (!table) {
        return ERR_NOT_FOUND;
    }
    if (table->time_column == CATALOG_NONE || bucket->bucket_us < 0) {
        return err_set(err, ERR_INVALID, "%s cannot be put into buckets of %" PRId64 " us",
                       table->name, bucket->bucket_us);
    }
    pg_sql_init(&sql);
    batch_init_answer(&rows, answer_bytes_max);
    enum err_code code = add_bucket_select(&sql, table, bucket, &rows, err);
    if (!code) {
        buf_add_cstr(&sql.text, " FROM ");
        pg_add_source(&sql, table);
        code = pg_add_where(&sql, table, &bucket->scan, err);
    }
    if (!code) {
        add_grouping(&sql, bucket);
        pg_add_limit(&sql, &bucket->scan);
        code = pg_select((struct pg_store *)store, &sql, &bucket->scan, &rows, ret_rows, err);
    } else {
        batch_fini(&rows);
    }
    pg_sql_fini(&sql);
    return code;
}
