/*
 * Statements whose answers are not known before: users' SQL, and what the schema asks. Values come
 * as texts, whatever their type; those of the types that Eider has are read.
 *
 * Users' SQL is guarded by its text (pg_guard.c), by the protocol (one statement), by a READ ONLY
 * transaction that is rolled back, and by the role: a superuser's statements run with the rights of
 * pg_read_all_data only. Best is a role of one's own for Eider (docs/postgres.md).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/decimal.h"
#include "codec/number.h"
#include "codec/time.h"
#include "store/postgres/pg.h"

enum { TEXT_TIME_MAX = 64, SQL_TEXT = 256, US_PER_S = 1000000, SECONDS_PER_DAY = 86400 };

/* ---- times in the server's ISO form: "2024-01-03 10:00:00.5+00", "4714-11-24 00:00:00 BC" ---- */

/* Days from 1970-01-01 of a date of the Gregorian calendar; year 0 is 1 BC. (Howard Hinnant,
 * "chrono- Compatible Low-Level Date Algorithms", days_from_civil.) */
static int64_t
days_of(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * 146097 + day_of_era - 719468;
}

static bool
take_number(const char **at, int64_t *ret_value)
{
    char *end;
    long long value = strtoll(*at, &end, 10);

    if (end == *at || **at == '-' || **at == '+' || **at == ' ') {
        return false;
    }
    *ret_value = value;
    *at = end;
    return true;
}

static bool
take_char(const char **at, char c)
{
    if (**at != c) {
        return false;
    }
    ++*at;
    return true;
}

/* ".5" is half a second, in microseconds. */
static int64_t
take_fraction(const char **at)
{
    int64_t value = 0;
    int64_t unit = US_PER_S / 10;

    if (!take_char(at, '.')) {
        return 0;
    }
    for (; **at >= '0' && **at <= '9'; ++*at, unit /= 10) {
        value += (**at - '0') * unit;
    }
    return value;
}

static bool
read_time(const char *text, int64_t *ret_us)
{
    int64_t part[6];
    static const char after[] = "-- ::";

    if (strcmp(text, "infinity") == 0 || strcmp(text, "-infinity") == 0) {
        *ret_us = text[0] == '-' ? INT64_MIN : INT64_MAX;
        return true;
    }
    for (size_t i = 0; i < 6; i++) {
        if (!take_number(&text, &part[i]) || (i < 5 && !take_char(&text, after[i]))) {
            return false;
        }
    }
    int64_t us = take_fraction(&text);
    if (take_char(&text, '+')) { /* the session's zone is UTC: "+00" */
        text += strspn(text, "0:");
    }
    if (strcmp(text, " BC") == 0) {
        part[0] = 1 - part[0];
    } else if (text[0]) {
        return false;
    }
    int64_t seconds = days_of(part[0], part[1], part[2]) * SECONDS_PER_DAY + part[3] * 3600 +
                      part[4] * 60 + part[5];
    return !__builtin_mul_overflow(seconds, (int64_t)US_PER_S, &seconds) &&
           !__builtin_add_overflow(seconds, us, ret_us);
}

/* ---- texts into typed columns ---- */

static enum col_type
type_of(Oid type)
{
    switch (type) {
    case PG_BOOL:
        return COL_BOOL;
    case PG_INT2:
    case PG_INT4:
        return COL_INT32;
    case PG_INT8:
    case PG_OID:
        return COL_INT64;
    case PG_FLOAT4:
    case PG_FLOAT8:
        return COL_DOUBLE;
    case PG_TIMESTAMP:
    case PG_TIMESTAMPTZ:
        return COL_TIMESTAMP;
    case PG_NUMERIC:
        return COL_DECIMAL;
    case PG_JSON:
        return COL_JSON;
    default:
        return COL_TEXT;
    }
}

/* Whole numbers when all are, amounts when all fit, doubles otherwise. */
static enum col_type
type_of_numerics(const struct batch *texts, size_t column)
{
    bool whole = true;
    bool amounts = true;
    int64_t micro;

    for (size_t row = 0; row < texts->rows; row++) {
        struct slice text = batch_get_text(texts, column, row);
        if (batch_is_null(texts, column, row)) {
            continue;
        }
        whole = whole && text.len <= 18 && !memchr(text.ptr, '.', text.len) &&
                !memchr(text.ptr, 'N', text.len) && !memchr(text.ptr, 'I', text.len);
        amounts = amounts && decimal_parse(text, &micro);
    }
    return amounts && (!whole || texts->rows == 0) ? COL_DECIMAL : whole ? COL_INT64 : COL_DOUBLE;
}

static bool
set_text(struct batch *rows, size_t column, size_t row, struct slice text)
{
    char cell[TEXT_TIME_MAX];
    int64_t value;

    if (rows->columns[column].type == COL_TEXT || rows->columns[column].type == COL_JSON) {
        batch_set_text(rows, column, row, batch_keep_text(rows, text));
        return true;
    }
    if (!slice_to_cstr(text, cell, sizeof(cell))) {
        /* A NUMERIC of very many digits: as near as a double comes. */
        slice_to_cstr(slice_sub(text, 0, sizeof(cell) - 1), cell, sizeof(cell));
    }
    switch (rows->columns[column].type) {
    case COL_BOOL:
        batch_set_bool(rows, column, row, cell[0] == 't');
        return true;
    case COL_INT32:
        batch_set_i32(rows, column, row, (int32_t)strtol(cell, NULL, 10));
        return true;
    case COL_INT64:
        batch_set_i64(rows, column, row, strtoll(cell, NULL, 10));
        return true;
    case COL_DOUBLE:
        batch_set_f64(rows, column, row, strtod(cell, NULL));
        return true;
    case COL_TIMESTAMP:
        if (read_time(cell, &value)) {
            batch_set_i64(rows, column, row, value);
            return true;
        }
        return false;
    case COL_DECIMAL:
        if (decimal_parse(text, &value)) {
            batch_set_i64(rows, column, row, value);
        }
        return true;
    case COL_TEXT:
    case COL_JSON:
    case COL_TYPE_COUNT:
        break;
    }
    return true;
}

static enum err_code
convert(const struct batch *texts, const Oid *types, size_t bytes_max, struct batch *ret_rows,
        struct err *err)
{
    struct batch rows;

    batch_init_answer(&rows, bytes_max);
    for (size_t c = 0; c < texts->column_count; c++) {
        enum col_type type =
            types[c] == PG_NUMERIC ? type_of_numerics(texts, c) : type_of(types[c]);
        batch_add_column(&rows, slice_of(texts->columns[c].name), type);
    }
    batch_reserve(&rows, texts->rows);
    for (size_t row = 0; row < texts->rows; row++) {
        batch_add_row(&rows);
        for (size_t c = 0; c < texts->column_count; c++) {
            if (!batch_is_null(texts, c, row) &&
                !set_text(&rows, c, row, batch_get_text(texts, c, row))) {
                batch_fini(&rows);
                return err_set(err, ERR_TOO_LARGE, "a time of \"%s\" does not fit 64 bits",
                               texts->columns[c].name);
            }
        }
    }
    if (rows.arena.overflow) {
        batch_fini(&rows);
        return err_set(err, ERR_TOO_LARGE, "the answer is larger than %zu bytes", bytes_max);
    }
    *ret_rows = rows;
    return ERR_OK;
}

/* ---- gathering ---- */

enum { COLUMNS_MAX = 1664 }; /* of an answer of PostgreSQL */

struct gathering {
    struct batch texts;
    Oid types[COLUMNS_MAX];
    bool has_columns;
    bool done; /* what still comes is thrown away */
    uint64_t bytes;
    struct pg_bounds *bounds;
};

static enum err_code
add_texts(struct gathering *to, const PGresult *result, struct err *err)
{
    int columns = PQnfields(result);

    if (!to->has_columns) {
        to->has_columns = true;
        for (int c = 0; c < columns; c++) {
            batch_add_column(&to->texts, slice_of(PQfname(result, c)), COL_TEXT);
            to->types[c] = PQftype(result, c);
        }
    }
    for (int i = 0; i < PQntuples(result) && !to->done; i++) {
        if (to->texts.rows >= to->bounds->rows_max || to->texts.rows == BATCH_ROWS_MAX) {
            to->bounds->truncated = true;
            to->done = true;
            break;
        }
        size_t row = batch_add_row(&to->texts);
        for (int c = 0; c < columns; c++) {
            size_t len = (size_t)PQgetlength(result, i, c);
            to->bytes += len + sizeof(struct slice);
            if (!PQgetisnull(result, i, c)) {
                batch_set_text(
                    &to->texts, (size_t)c, row,
                    batch_keep_text(&to->texts, slice_make(PQgetvalue(result, i, c), len)));
            }
        }
        if (to->bytes > to->bounds->bytes_max || to->texts.arena.overflow) {
            to->done = true;
            return err_set(err, ERR_TOO_LARGE,
                           "the answer is larger than %llu bytes; ask for fewer rows or columns",
                           (unsigned long long)to->bounds->bytes_max);
        }
    }
    return ERR_OK;
}

static enum err_code
gather(struct pg_store *store, struct pg_conn *conn, enum pg_side side, int64_t deadline_us,
       struct gathering *to, struct err *err)
{
    enum err_code code = ERR_OK;
    bool cancelled = false;
    bool late = false;
    PGresult *result;

    while ((result = pg_next_result(store, conn, deadline_us, &late))) {
        ExecStatusType status = PQresultStatus(result);
        if (status == PGRES_SINGLE_TUPLE || status == PGRES_TUPLES_OK) {
            enum err_code added = to->done ? ERR_OK : add_texts(to, result, err);
            code = code ? code : added;
        } else if (status == PGRES_COPY_OUT || status == PGRES_COPY_IN ||
                   status == PGRES_COPY_BOTH) {
            PQclear(result);
            pg_disconnect(conn);
            return err_set(err, ERR_INVALID, "COPY is not allowed");
        } else if (status != PGRES_COMMAND_OK && !code && !to->done) {
            code = pg_fail_result(store, side, result, err);
        }
        PQclear(result);
        if (to->done && !cancelled) {
            pg_cancel(store, conn);
            cancelled = true;
        }
    }
    if (!code && PQstatus(conn->pg) != CONNECTION_OK) {
        code = pg_fail_conn(store, side, conn->pg, err);
    }
    return late ? err_set(err, ERR_TIMEOUT, "late") : code;
}

enum err_code
pg_ask(struct pg_store *store, struct pg_conn *conn, enum pg_side side, const struct pg_sql *sql,
       struct pg_bounds *bounds, int64_t deadline_us, struct batch *ret_rows, struct err *err)
{
    struct gathering to = {.bounds = bounds};

    enum err_code code = pg_sql_send(store, conn, side, sql, false, deadline_us, err);
    if (code) {
        return pg_why(conn, code, err);
    }
    batch_init_answer(&to.texts, (size_t)bounds->bytes_max);
    PQsetSingleRowMode(conn->pg);
    code = pg_why(conn, gather(store, conn, side, deadline_us, &to, err), err);
    if (!code) {
        code = convert(&to.texts, to.types, (size_t)bounds->bytes_max, ret_rows, err);
    }
    batch_fini(&to.texts);
    return code;
}

/* ---- users' SQL ---- */

/* "?" outside of texts, names and comments becomes "$1", "$2", ...: the form that all stores
 * take. A statement without parameters keeps its operators of that name. */
static void
number_params(struct slice sql, bool has_params, struct buf *out)
{
    size_t number = 0;
    size_t i = 0;

    while (i < sql.len) {
        size_t end = pg_guard_skip(sql, i);
        if (end == i && has_params && sql.ptr[i] == '?') {
            buf_add_fmt(out, "$%zu", ++number);
            i++;
            continue;
        }
        end = end > i ? end : i + 1;
        buf_add(out, sql.ptr + i, end - i);
        i = end;
    }
}

static bool
is_numbered(struct slice sql)
{
    for (size_t i = 0; i + 1 < sql.len; i++) {
        if (sql.ptr[i] == '$' && sql.ptr[i + 1] >= '1' && sql.ptr[i + 1] <= '9') {
            return true;
        }
    }
    return false;
}

static enum err_code
begin(struct pg_store *store, struct pg_conn *conn, int timeout_ms, int64_t deadline_us,
      struct err *err)
{
    char sql[SQL_TEXT];

    snprintf(sql, sizeof(sql), "BEGIN READ ONLY; SET LOCAL statement_timeout = %d%s",
             timeout_ms + 1000, store->is_superuser ? "; SET LOCAL ROLE pg_read_all_data" : "");
    return pg_exec(store, conn, PG_SIDE_READ, sql, deadline_us, NULL, err);
}

static enum err_code
write_statement(const struct store_sql *sql, struct pg_sql *ret_sql, struct err *err)
{
    if (sql->param_count > STORE_PARAMS_MAX) {
        return err_set(err, ERR_INVALID, "%zu parameters, at most %d are allowed", sql->param_count,
                       STORE_PARAMS_MAX);
    }
    enum err_code code = pg_guard_check(sql->sql, err);
    if (code) {
        return code;
    }
    number_params(sql->sql, sql->param_count > 0 && !is_numbered(sql->sql), &ret_sql->text);
    for (size_t i = 0; i < sql->param_count; i++) {
        const struct store_param *param = &sql->params[i];
        if (param->type == PARAM_TEXT && param->text.len > 0 &&
            memchr(param->text.ptr, '\0', param->text.len)) {
            return err_set(err, ERR_INVALID, "parameter %zu holds U+0000", i + 1);
        }
        pg_sql_param(ret_sql, param);
    }
    return ERR_OK;
}

enum err_code
pg_sql_run(struct store *base, const struct store_sql *sql, struct batch *ret_rows,
           bool *ret_truncated, struct err *err)
{
    struct pg_store *store = (struct pg_store *)base;
    int timeout_ms = sql->timeout_ms > 0 ? sql->timeout_ms : store->timeout_ms;
    int64_t start_us = clock_mono_us(store->clock);
    int64_t deadline_us = pg_deadline(store, timeout_ms);
    struct pg_bounds bounds = {.rows_max = sql->rows_max ? sql->rows_max : PG_SQL_ROWS_MAX,
                               .bytes_max = sql->bytes_max ? sql->bytes_max : PG_SQL_BYTES_MAX};
    struct pg_conn *conn = NULL;
    struct pg_sql statement;
    struct err ignored;

    pg_sql_init(&statement);
    enum err_code code = write_statement(sql, &statement, err);
    code = code ? code : pg_pool_take(store, sql->cancel, deadline_us, &conn, err);
    if (!code) {
        code = pg_why(conn, begin(store, conn, timeout_ms, deadline_us, err), err);
        if (!code) {
            code =
                pg_ask(store, conn, PG_SIDE_USER, &statement, &bounds, deadline_us, ret_rows, err);
        }
        atomic_store(&conn->interrupted, false);
        conn->cancels = NULL;
        if (conn->pg) {
            pg_exec(store, conn, PG_SIDE_READ, "ROLLBACK; SELECT pg_advisory_unlock_all()",
                    pg_deadline(store, timeout_ms), NULL, &ignored);
        }
        pg_pool_give(store, conn);
        pg_note_query(store, start_us, code);
    }
    pg_sql_fini(&statement);
    if (!code && ret_truncated) {
        *ret_truncated = bounds.truncated;
    }
    return code;
}
