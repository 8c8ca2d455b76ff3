/* Visits: rows of a scan in pieces, by a cursor, so that no answer is too large for memory. */
#include <stdatomic.h>
#include <stdio.h>

#include "store/postgres/pg.h"

/* The next rows of the cursor; *ret_count 0 at the end. */
static enum err_code
fetch(struct pg_store *store, struct pg_conn *conn, int64_t deadline_us, struct batch *rows,
      struct err *err)
{
    char text[64];
    struct pg_sql sql;

    pg_sql_init(&sql);
    snprintf(text, sizeof(text), "FETCH %d FROM eider_visit", STORE_VISIT_ROWS);
    buf_add_cstr(&sql.text, text);
    enum err_code code = pg_sql_send(store, conn, PG_SIDE_READ, &sql, true, deadline_us, err);
    pg_sql_fini(&sql);
    return code ? code : pg_gather(store, conn, deadline_us, rows, err);
}

static enum err_code
visit_rows(struct pg_store *store, struct pg_conn *conn, int64_t deadline_us, struct batch *rows,
           store_visit_fn *fn, void *ctx, bool *ret_refused, struct err *err)
{
    for (;;) {
        batch_reset(rows);
        if (clock_mono_us(store->clock) >= deadline_us || atomic_load(&conn->interrupted)) {
            return pg_why(conn, ERR_TIMEOUT, err);
        }
        enum err_code code = fetch(store, conn, deadline_us, rows, err);
        if (code || rows->rows == 0) {
            return code;
        }
        bool last = rows->rows < STORE_VISIT_ROWS;
        code = fn(ctx, rows, err);
        if (code) {
            *ret_refused = true;
            return code;
        }
        if (last) {
            return ERR_OK;
        }
    }
}

static enum err_code
open_cursor(struct pg_store *store, struct pg_conn *conn, const struct pg_sql *sql,
            int64_t deadline_us, struct err *err)
{
    enum err_code code =
        pg_exec(store, conn, PG_SIDE_READ, "BEGIN READ ONLY", deadline_us, NULL, err);
    bool late = false;
    PGresult *result;

    code = code ? code : pg_sql_send(store, conn, PG_SIDE_READ, sql, true, deadline_us, err);
    if (code) {
        return pg_why(conn, code, err);
    }
    while ((result = pg_next_result(store, conn, deadline_us, &late))) {
        if (PQresultStatus(result) != PGRES_COMMAND_OK && !code) {
            code = pg_fail_result(store, PG_SIDE_READ, result, err);
        }
        PQclear(result);
    }
    if (!code && PQstatus(conn->pg) != CONNECTION_OK) {
        code = pg_fail_conn(store, PG_SIDE_READ, conn->pg, err);
    }
    return pg_why(conn, late ? err_set(err, ERR_TIMEOUT, "late") : code, err);
}

static enum err_code
run_visit(struct pg_store *store, const struct pg_sql *sql, const struct store_scan *scan,
          struct batch *rows, store_visit_fn *fn, void *ctx, struct err *err)
{
    int64_t start_us = clock_mono_us(store->clock);
    int64_t deadline_us =
        pg_deadline(store, scan->timeout_ms > 0 ? scan->timeout_ms : store->timeout_ms);
    struct pg_conn *conn = NULL;
    bool refused = false;
    struct err ignored;

    enum err_code code = pg_pool_take(store, scan->cancel, deadline_us, &conn, err);
    if (code) {
        pg_note_query(store, start_us, code);
        return code;
    }
    code = open_cursor(store, conn, sql, deadline_us, err);
    if (!code) {
        code = visit_rows(store, conn, deadline_us, rows, fn, ctx, &refused, err);
    }
    atomic_store(&conn->interrupted, false);
    conn->cancels = NULL;
    pg_exec(store, conn, PG_SIDE_READ, "ROLLBACK", pg_deadline(store, store->timeout_ms), NULL,
            &ignored);
    pg_pool_give(store, conn);
    pg_note_query(store, start_us, refused ? ERR_OK : code);
    return code;
}

enum err_code
pg_visit(struct store *store, const struct store_scan *scan, store_visit_fn *fn, void *ctx,
         struct err *err)
{
    const struct catalog_table *table = pg_find_table(scan->table, err);
    struct batch rows BATCH_AUTO = {0};
    struct pg_sql sql;

    if (!table) {
        return ERR_NOT_FOUND;
    }
    pg_sql_init(&sql);
    batch_init_answer(&rows, PG_ANSWER_BYTES_MAX);
    buf_add_cstr(&sql.text, "DECLARE eider_visit NO SCROLL CURSOR FOR ");
    enum err_code code = pg_add_select(&sql, table, scan, &rows, err);
    if (!code) {
        buf_add_cstr(&sql.text, " ORDER BY t.eider_ord");
        code = run_visit((struct pg_store *)store, &sql, scan, &rows, fn, ctx, err);
    }
    pg_sql_fini(&sql);
    return code;
}
