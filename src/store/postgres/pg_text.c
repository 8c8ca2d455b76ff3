/* A statement while it is written: its text, its parameters in their binary form. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "codec/decimal.h"
#include "store/postgres/pg.h"

enum { SQL_BYTES_MAX = 4 << 20, PARAMS_MAX = 4096 };

static const size_t values_bytes_max = 256U << 20;

void
pg_sql_init(struct pg_sql *sql)
{
    *sql = (struct pg_sql){0};
    buf_init(&sql->text, SQL_BYTES_MAX);
    buf_init(&sql->values, values_bytes_max);
}

void
pg_sql_fini(struct pg_sql *sql)
{
    buf_fini(&sql->text);
    buf_fini(&sql->values);
    free(sql->params);
}

void
pg_sql_name(struct pg_sql *sql, const char *name)
{
    buf_add_char(&sql->text, '"');
    for (; *name; name++) {
        if (*name == '"') {
            buf_add_char(&sql->text, '"');
        }
        buf_add_char(&sql->text, *name);
    }
    buf_add_char(&sql->text, '"');
}

void
pg_sql_columns(struct pg_sql *sql, const struct catalog_table *table)
{
    for (size_t i = 0; i < table->column_count; i++) {
        pg_sql_name(sql, table->columns[i].name);
        buf_add_cstr(&sql->text, ", ");
    }
    buf_add_cstr(&sql->text, "eider_ord");
}

static void
add_be(struct buf *out, uint64_t value, unsigned bytes)
{
    while (bytes > 0) {
        buf_add_char(out, (char)(value >> --bytes * 8));
    }
}

static struct pg_param *
begin_param(struct pg_sql *sql, Oid type)
{
    if (sql->count == sql->cap) {
        sql->cap = sql->cap ? sql->cap * 2 : 8;
        sql->params = mem_resize(sql->params, sql->cap, sizeof(*sql->params));
    }
    struct pg_param *param = &sql->params[sql->count++];
    *param = (struct pg_param){.type = type, .offset = sql->values.len, .format = 1};
    return param;
}

static size_t
end_param(struct pg_sql *sql, struct pg_param *param)
{
    param->len = (int)(sql->values.len - param->offset);
    return sql->count;
}

size_t
pg_sql_texts(struct pg_sql *sql, const struct slice *values, size_t count)
{
    struct pg_param *param = begin_param(sql, PG_TEXT_ARRAY);

    add_be(&sql->values, 1, 4); /* dimensions */
    add_be(&sql->values, 0, 4); /* no NULLs */
    add_be(&sql->values, PG_TEXT, 4);
    add_be(&sql->values, count, 4);
    add_be(&sql->values, 1, 4); /* first index */
    for (size_t i = 0; i < count; i++) {
        add_be(&sql->values, values[i].len, 4);
        buf_add_slice(&sql->values, values[i]);
    }
    return end_param(sql, param);
}

size_t
pg_sql_time(struct pg_sql *sql, int64_t unix_us)
{
    struct pg_param *param = begin_param(sql, PG_TIMESTAMP);
    int64_t clamped = unix_us < pg_time_min_us ? pg_time_min_us : unix_us;

    add_be(&sql->values, (uint64_t)(clamped - pg_epoch_us), 8);
    return end_param(sql, param);
}

size_t
pg_sql_param(struct pg_sql *sql, const struct store_param *value)
{
    char numeric[PG_NUMERIC_BYTES_MAX];
    struct pg_param *param;
    uint64_t bits;

    switch (value->type) {
    case PARAM_NULL:
        param = begin_param(sql, 0);
        param->len = -1;
        return sql->count;
    case PARAM_BOOL:
        param = begin_param(sql, PG_BOOL);
        buf_add_char(&sql->values, value->i64 ? 1 : 0);
        return end_param(sql, param);
    case PARAM_I64:
        param = begin_param(sql, PG_INT8);
        add_be(&sql->values, (uint64_t)value->i64, 8);
        return end_param(sql, param);
    case PARAM_F64:
        param = begin_param(sql, PG_FLOAT8);
        memcpy(&bits, &value->f64, sizeof(bits));
        add_be(&sql->values, bits, 8);
        return end_param(sql, param);
    case PARAM_TIMESTAMP:
        return pg_sql_time(sql, value->i64);
    case PARAM_DECIMAL:
        param = begin_param(sql, PG_NUMERIC);
        buf_add(&sql->values, numeric, pg_numeric_write(value->i64, numeric));
        return end_param(sql, param);
    case PARAM_TEXT:
        break;
    }
    /* Of no type, in the text's form: the server takes it for what stands beside it, as a literal
     * would be. */
    param = begin_param(sql, 0);
    param->format = 0;
    buf_add_slice(&sql->values, value->text);
    size_t count = end_param(sql, param);
    buf_add_char(&sql->values, '\0');
    return count;
}

enum err_code
pg_sql_send(struct pg_store *store, struct pg_conn *conn, enum pg_side side,
            const struct pg_sql *sql, bool binary, int64_t deadline_us, struct err *err)
{
    Oid types[PARAMS_MAX];
    const char *values[PARAMS_MAX];
    int lengths[PARAMS_MAX];
    int formats[PARAMS_MAX];

    if (sql->text.overflow || sql->values.overflow || sql->count > PARAMS_MAX) {
        return err_set(err, ERR_TOO_LARGE, "the statement and its values are longer than %d bytes",
                       SQL_BYTES_MAX);
    }
    for (size_t i = 0; i < sql->count; i++) {
        types[i] = sql->params[i].type;
        values[i] = sql->params[i].len < 0 ? NULL : sql->values.ptr + sql->params[i].offset;
        lengths[i] = sql->params[i].len;
        formats[i] = sql->params[i].format;
    }
    char *text MEM_AUTO = mem_strdup(buf_slice(&sql->text));
    if (!PQsendQueryParams(conn->pg, text, (int)sql->count, types, values, lengths, formats,
                           binary)) {
        return pg_fail_conn(store, side, conn->pg, err);
    }
    if (!pg_flush(store, conn, deadline_us)) {
        return PQstatus(conn->pg) == CONNECTION_OK
                   ? err_set(err, ERR_TIMEOUT, "PostgreSQL (%s) does not take the statement",
                             store->params.where)
                   : pg_fail_conn(store, side, conn->pg, err);
    }
    return ERR_OK;
}
