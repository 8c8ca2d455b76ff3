/* Days of rows: which there are, and deleting them. That is all that retention has here. */
#include <inttypes.h>

#include "base/mem.h"
#include "codec/time.h"
#include "store/cold.h"
#include "store/failpoint.h"
#include "store/postgres/pg.h"

enum { DAYS_TIMEOUT_MS = 600000 };

/* Counts every row before `before_us`; times before the year 1 have no day that a receipt could
 * name. */
static void
add_days_of(struct pg_sql *sql, const struct catalog_table *table, int64_t before_us)
{
    const char *time = table->columns[table->time_column].name;

    buf_add_fmt(&sql->text,
                "SELECT (t.\"%s\"::date - DATE '1970-01-01')::bigint AS day, "
                "count(*)::bigint AS n, %d::bigint AS id FROM \"%s\" AS t "
                "WHERE t.\"%s\" < $%zu AND t.\"%s\" >= DATE '0001-01-01' GROUP BY 1",
                time, (int)table->id, table->name, time, pg_sql_time(sql, before_us), time);
}

static void
take_days(const struct batch *rows, struct store_day *ret_days)
{
    for (size_t i = 0; i < rows->rows; i++) {
        ret_days[i] = (struct store_day){.table = (enum table_id)batch_get_i64(rows, 2, i),
                                         .day = (int32_t)batch_get_i64(rows, 0, i),
                                         .hot_rows = (uint64_t)batch_get_i64(rows, 1, i)};
    }
}

enum err_code
pg_seal_find(struct store *store, const struct store_seal_find *find, struct store_day *ret_days,
             size_t max, size_t *ret_count, struct err *err)
{
    int64_t before_us = cold_day_begin_us(cold_day_of(find->before_us));
    struct store_scan bounds = {.timeout_ms = DAYS_TIMEOUT_MS};
    const struct catalog_table *table;
    struct batch answer BATCH_AUTO = {0};
    struct batch rows;
    struct pg_sql sql;
    const char *glue = "SELECT day, n, id FROM (";

    pg_sql_init(&sql);
    batch_init_answer(&rows, PG_ANSWER_BYTES_MAX);
    batch_add_column(&rows, SLICE_LITERAL("day"), COL_INT64);
    batch_add_column(&rows, SLICE_LITERAL("n"), COL_INT64);
    batch_add_column(&rows, SLICE_LITERAL("id"), COL_INT64);
    for (size_t i = 0; (table = catalog_at(i)); i++) {
        if (table->sealed) {
            buf_add_cstr(&sql.text, glue);
            add_days_of(&sql, table, before_us);
            glue = " UNION ALL ";
        }
    }
    buf_add_fmt(&sql.text, ") AS d WHERE n >= %" PRIu64 " ORDER BY 1, 3 LIMIT %zu", find->rows_min,
                max);
    enum err_code code = pg_select((struct pg_store *)store, &sql, &bounds, &rows, &answer, err);
    pg_sql_fini(&sql);
    if (!code) {
        take_days(&answer, ret_days);
        *ret_count = answer.rows;
    }
    return code;
}

/* ---- deleting ---- */

static void
add_metrics(struct pg_sql *sql, const char *const *metrics)
{
    size_t count = 0;

    while (metrics[count]) {
        count++;
    }
    struct slice *names MEM_AUTO = mem_zalloc(count + 1, sizeof(*names));
    for (size_t i = 0; i < count; i++) {
        names[i] = slice_of(metrics[i]);
    }
    buf_add_fmt(&sql->text,
                " AND t.series_id IN (SELECT series_id FROM series WHERE metric_name = ANY($%zu))",
                pg_sql_texts(sql, names, count));
}

/* One statement, and so a transaction of its own; again it deletes what is left. */
static enum err_code
run_delete(struct pg_store *store, const struct pg_sql *sql, struct err *err)
{
    int64_t deadline_us = pg_deadline(store, DAYS_TIMEOUT_MS);
    bool late = false;
    PGresult *result;
    enum err_code code =
        pg_sql_send(store, &store->writer, PG_SIDE_APPLY, sql, false, deadline_us, err);

    if (code) {
        return code;
    }
    while ((result = pg_next_result(store, &store->writer, deadline_us, &late))) {
        if (PQresultStatus(result) != PGRES_COMMAND_OK && !code) {
            code = pg_fail_result(store, PG_SIDE_APPLY, result, err);
        }
        PQclear(result);
    }
    if (!code && PQstatus(store->writer.pg) != CONNECTION_OK) {
        code = pg_fail_conn(store, PG_SIDE_APPLY, store->writer.pg, err);
    }
    return late ? err_set(err, ERR_TIMEOUT, "deleting the rows of a day took longer than %d ms",
                          DAYS_TIMEOUT_MS)
                : code;
}

enum err_code
pg_cold_drop(struct store *base, const struct cold_drop *drop, struct err *err)
{
    struct pg_store *store = (struct pg_store *)base;
    struct pg_sql sql;

    if (!drop->hot) {
        return ERR_OK; /* no files are listed here that could leave the list */
    }
    const struct catalog_table *table = catalog_table(drop->table);
    const char *time = table->columns[table->time_column].name;
    enum err_code code = pg_ensure_writer(store, err);
    if (code) {
        return code;
    }
    pg_sql_init(&sql);
    buf_add_fmt(&sql.text, "DELETE FROM \"%s\" AS t WHERE t.\"%s\" >= $%zu", table->name, time,
                pg_sql_time(&sql, cold_day_begin_us(drop->first_day)));
    buf_add_fmt(&sql.text, " AND t.\"%s\" < $%zu", time,
                pg_sql_time(&sql, cold_day_end_us(drop->last_day)));
    if (drop->metrics) {
        add_metrics(&sql, drop->metrics);
    }
    code = run_delete(store, &sql, err);
    pg_sql_fini(&sql);
    failpoint("drop.done"); /* it is done, whatever the point says */
    return code;
}
