/*
 * Rows into COPY ... FROM STDIN (FORMAT BINARY): PostgreSQL's documentation of COPY, "Binary
 * Format". Bytes go out in pieces, so that a group of any size takes little memory here.
 */
#include <stdio.h>
#include <string.h>

#include "store/postgres/pg.h"

enum { PIECE_BYTES = 256 << 10, BUFFER_BYTES_MAX = 128 << 20 };

static const char signature[] = "PGCOPY\n\377\r\n"; /* and the NUL behind it */

static void
put_be(struct buf *out, uint64_t value, unsigned bytes)
{
    char data[8];

    for (unsigned i = 0; i < bytes; i++) {
        data[i] = (char)(value >> (bytes - 1 - i) * 8);
    }
    buf_add(out, data, bytes);
}

static void
put_sized(struct buf *out, uint64_t value, unsigned bytes)
{
    put_be(out, bytes, 4);
    put_be(out, value, bytes);
}

/* Gives what is gathered to the server, waiting for it as long as it has. */
static enum err_code
send_piece(struct pg_copy *copy, struct err *err)
{
    int sent;

    if (copy->buf.overflow) {
        return err_set(err, ERR_INVALID, "one row is larger than %d bytes", BUFFER_BYTES_MAX);
    }
    if (copy->buf.len == 0) {
        return ERR_OK;
    }
    do {
        sent = PQputCopyData(copy->conn->pg, copy->buf.ptr, (int)copy->buf.len);
        if (!pg_flush(copy->store, copy->conn, copy->deadline_us)) {
            sent = -1;
        }
    } while (sent == 0);
    buf_reset(&copy->buf);
    return sent < 0 ? pg_fail_conn(copy->store, PG_SIDE_APPLY, copy->conn->pg, err) : ERR_OK;
}

enum err_code
pg_copy_begin(struct pg_copy *copy, struct pg_store *store, struct pg_conn *conn, const char *table,
              const struct catalog_table *of, int64_t deadline_us, struct err *err)
{
    bool late = false;
    struct pg_sql sql;

    *copy = (struct pg_copy){.store = store, .conn = conn, .deadline_us = deadline_us};
    buf_init(&copy->buf, BUFFER_BYTES_MAX);
    pg_sql_init(&sql);
    buf_add_cstr(&sql.text, "COPY ");
    pg_sql_name(&sql, table);
    buf_add_cstr(&sql.text, " (");
    pg_sql_columns(&sql, of);
    buf_add_cstr(&sql.text, ") FROM STDIN (FORMAT BINARY)");
    buf_add_char(&sql.text, '\0');
    bool sent = PQsendQuery(conn->pg, sql.text.ptr);
    pg_sql_fini(&sql);
    if (!sent) {
        return pg_fail_conn(store, PG_SIDE_APPLY, conn->pg, err);
    }
    PGresult *result = pg_next_result(store, conn, deadline_us, &late);
    enum err_code code = ERR_OK;
    if (!result) {
        code = pg_fail_conn(store, PG_SIDE_APPLY, conn->pg, err);
    } else if (PQresultStatus(result) != PGRES_COPY_IN) {
        code = pg_fail_result(store, PG_SIDE_APPLY, result, err);
    }
    PQclear(result);
    if (code != ERR_OK) {
        pg_drain(store, conn);
        return code;
    }
    buf_add(&copy->buf, signature, sizeof(signature));
    put_be(&copy->buf, 0, 4); /* flags */
    put_be(&copy->buf, 0, 4); /* no extension of the header */
    return ERR_OK;
}

static enum err_code
put_time(struct buf *out, int64_t unix_us, const char *name, struct err *err)
{
    if (unix_us < pg_time_min_us) {
        return err_set(err, ERR_INVALID,
                       "%s is %lld us: PostgreSQL has no times before 4714-11-24 BC", name,
                       (long long)unix_us);
    }
    put_sized(out, (uint64_t)(unix_us - pg_epoch_us), 8);
    return ERR_OK;
}

static enum err_code
put_text(struct buf *out, struct slice text, const char *name, struct err *err)
{
    if (text.len > 0 && memchr(text.ptr, '\0', text.len)) {
        return err_set(err, ERR_INVALID, "%s holds U+0000, which PostgreSQL cannot store", name);
    }
    put_be(out, text.len, 4);
    buf_add_slice(out, text);
    return ERR_OK;
}

static enum err_code
put_cell(struct buf *out, const struct batch *batch, size_t column, size_t row, struct err *err)
{
    const struct column *of = &batch->columns[column];
    char numeric[PG_NUMERIC_BYTES_MAX];
    uint64_t bits;
    double value;

    if (batch_is_null(batch, column, row)) {
        put_be(out, UINT32_MAX, 4);
        return ERR_OK;
    }
    switch (of->type) {
    case COL_BOOL:
        put_sized(out, of->b[row] ? 1 : 0, 1);
        return ERR_OK;
    case COL_INT32:
        put_sized(out, (uint32_t)of->i32[row], 4);
        return ERR_OK;
    case COL_INT64:
        put_sized(out, (uint64_t)of->i64[row], 8);
        return ERR_OK;
    case COL_DOUBLE:
        value = of->f64[row];
        memcpy(&bits, &value, sizeof(bits));
        put_sized(out, bits, 8);
        return ERR_OK;
    case COL_TIMESTAMP:
        return put_time(out, of->i64[row], of->name, err);
    case COL_DECIMAL:
        bits = pg_numeric_write(of->i64[row], numeric);
        put_be(out, bits, 4);
        buf_add(out, numeric, bits);
        return ERR_OK;
    case COL_TEXT:
    case COL_JSON:
        return put_text(out, of->text[row], of->name, err);
    case COL_TYPE_COUNT:
        break;
    }
    return err_set(err, ERR_INVALID, "%s has no type", of->name);
}

enum err_code
pg_copy_row(struct pg_copy *copy, const struct batch *batch, size_t row, uint64_t ord,
            struct err *err)
{
    put_be(&copy->buf, batch->column_count + 1, 2);
    for (size_t i = 0; i < batch->column_count; i++) {
        enum err_code code = put_cell(&copy->buf, batch, i, row, err);
        if (code != ERR_OK) {
            return code;
        }
    }
    put_sized(&copy->buf, ord, 8);
    return copy->buf.len >= PIECE_BYTES ? send_piece(copy, err) : ERR_OK;
}

enum err_code
pg_copy_end(struct pg_copy *copy, struct err *err)
{
    bool late = false;

    put_be(&copy->buf, UINT16_MAX, 2);
    enum err_code code = send_piece(copy, err);
    if (code != ERR_OK) {
        return code;
    }
    int ended;
    do {
        ended = PQputCopyEnd(copy->conn->pg, NULL);
        if (!pg_flush(copy->store, copy->conn, copy->deadline_us)) {
            ended = -1;
        }
    } while (ended == 0);
    if (ended < 0) {
        return pg_fail_conn(copy->store, PG_SIDE_APPLY, copy->conn->pg, err);
    }
    PGresult *result;
    while ((result = pg_next_result(copy->store, copy->conn, copy->deadline_us, &late))) {
        if (PQresultStatus(result) != PGRES_COMMAND_OK && code == ERR_OK) {
            code = pg_fail_result(copy->store, PG_SIDE_APPLY, result, err);
        }
        PQclear(result);
    }
    if (code == ERR_OK && PQstatus(copy->conn->pg) != CONNECTION_OK) {
        code = pg_fail_conn(copy->store, PG_SIDE_APPLY, copy->conn->pg, err);
    }
    return late ? err_set(err, ERR_TIMEOUT, "COPY took too long") : code;
}

void
pg_copy_fini(struct pg_copy *copy)
{
    buf_fini(&copy->buf);
}
