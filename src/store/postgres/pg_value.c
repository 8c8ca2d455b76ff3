/* Values of answers in PostgreSQL's binary form (big-endian; src/backend/utils/adt of PostgreSQL,
 * the functions called *_send). */
#include <string.h>

#include "codec/decimal.h"
#include "store/postgres/pg.h"

__extension__ typedef __int128 i128;

enum { NUMERIC_BASE = 10000, NUMERIC_DIGITS = 4, NUMERIC_NEGATIVE = 0x4000, NUMERIC_HEAD = 8 };

static uint64_t
get_be(const char *data, size_t bytes)
{
    uint64_t value = 0;

    for (size_t i = 0; i < bytes; i++) {
        value = value << 8 | (uint8_t)data[i];
    }
    return value;
}

static int
get_i16(const char *data)
{
    return (int16_t)get_be(data, 2);
}

bool
pg_numeric_read(const char *data, size_t len, int scale, int64_t *ret_value)
{
    i128 value = 0;

    if (len < NUMERIC_HEAD) {
        return false;
    }
    int digits = get_i16(data);
    int weight = get_i16(data + 2);
    int sign = get_i16(data + 4);
    if (digits < 0 || len < NUMERIC_HEAD + (size_t)digits * 2 ||
        (sign != 0 && sign != NUMERIC_NEGATIVE) || weight > 8) {
        return false; /* NaN, infinities, and far too large */
    }
    /* Digit i counts 10^(4 * (weight - i)). */
    for (int i = 0; i < digits; i++) {
        int digit = get_i16(data + NUMERIC_HEAD + (size_t)i * 2);
        int power = (weight - i) * NUMERIC_DIGITS + scale;
        i128 part = digit;
        for (; power > 0 && part > 0 && part < (i128)INT64_MAX * NUMERIC_BASE; power--) {
            part *= 10;
        }
        for (; power < 0 && part != 0; power++) {
            if (part % 10 != 0) {
                return false;
            }
            part /= 10;
        }
        if (power > 0 && part > 0) {
            return false;
        }
        value += part;
        if (value > (i128)INT64_MAX + 1) {
            return false;
        }
    }
    value = sign == NUMERIC_NEGATIVE ? -value : value;
    if (value > INT64_MAX || value < INT64_MIN) {
        return false;
    }
    *ret_value = (int64_t)value;
    return true;
}

static void
put_i16(char *data, int value)
{
    data[0] = (char)((unsigned)value >> 8);
    data[1] = (char)value;
}

size_t
pg_numeric_write(int64_t micro, char *ret_bytes)
{
    enum { GROUPS = 6, FRACTION_GROUPS = 2 };
    i128 rest = (micro < 0 ? -(i128)micro : (i128)micro) * 100; /* eight decimals: two groups */
    int groups[GROUPS];
    int first = 0;
    int last = GROUPS - 1;

    for (int i = GROUPS - 1; i >= 0; i--) {
        groups[i] = (int)(rest % NUMERIC_BASE);
        rest /= NUMERIC_BASE;
    }
    while (first <= last && groups[first] == 0) {
        first++;
    }
    while (last >= first && groups[last] == 0) {
        last--;
    }
    int count = last - first + 1;
    put_i16(ret_bytes, count);
    put_i16(ret_bytes + 2, count > 0 ? GROUPS - FRACTION_GROUPS - 1 - first : 0);
    put_i16(ret_bytes + 4, micro < 0 ? NUMERIC_NEGATIVE : 0);
    put_i16(ret_bytes + 6, 6); /* decimals shown */
    for (int i = 0; i < count; i++) {
        put_i16(ret_bytes + NUMERIC_HEAD + (size_t)i * 2, groups[first + i]);
    }
    return NUMERIC_HEAD + (size_t)count * 2;
}

static double
get_double(const char *data)
{
    uint64_t bits = get_be(data, 8);
    double value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* A whole number of any width, or a NUMERIC times 10^scale. */
static bool
get_whole(Oid type, const char *data, size_t len, int scale, int64_t *ret_value)
{
    switch (type) {
    case PG_NUMERIC:
        return pg_numeric_read(data, len, scale, ret_value);
    case PG_INT8:
        *ret_value = (int64_t)get_be(data, 8);
        return len == 8;
    case PG_INT4:
        *ret_value = (int32_t)get_be(data, 4);
        return len == 4;
    case PG_INT2:
        *ret_value = (int16_t)get_be(data, 2);
        return len == 2;
    default:
        return false;
    }
}

/* Times before 1970 less than PostgreSQL's least are -infinity; none of ours is. */
static int64_t
get_time(const char *data)
{
    int64_t value = (int64_t)get_be(data, 8);

    if (value > INT64_MAX - pg_epoch_us) {
        return INT64_MAX;
    }
    return value == INT64_MIN ? INT64_MIN : value + pg_epoch_us;
}

static enum err_code
set_value(struct batch *rows, size_t column, size_t row, Oid type, const char *data, size_t len,
          struct err *err)
{
    enum col_type target = rows->columns[column].type;
    int64_t whole = 0;

    switch (target) {
    case COL_BOOL:
        batch_set_bool(rows, column, row, data[0] != 0);
        return ERR_OK;
    case COL_DOUBLE:
        batch_set_f64(rows, column, row, get_double(data));
        return ERR_OK;
    case COL_TIMESTAMP:
        batch_set_i64(rows, column, row, get_time(data));
        return ERR_OK;
    case COL_TEXT:
    case COL_JSON:
        batch_set_text(rows, column, row, batch_keep_text(rows, slice_make(data, len)));
        return ERR_OK;
    case COL_INT32:
    case COL_INT64:
    case COL_DECIMAL:
        break;
    case COL_TYPE_COUNT:
        return err_set(err, ERR_INTERNAL, "a column of no type");
    }
    bool fits = get_whole(type, data, len, target == COL_DECIMAL ? 6 : 0, &whole);
    if (target == COL_DECIMAL) {
        fits = fits && whole <= DECIMAL_MAX && whole >= -DECIMAL_MAX;
    }
    if (!fits) {
        return err_set(err, ERR_TOO_LARGE, "a value of \"%s\" does not fit %s",
                       rows->columns[column].name,
                       target == COL_DECIMAL ? "12 digits before the point" : "64 bits");
    }
    if (target == COL_INT32) {
        batch_set_i32(rows, column, row, (int32_t)whole);
    } else {
        batch_set_i64(rows, column, row, whole);
    }
    return ERR_OK;
}

enum err_code
pg_add_rows(const PGresult *result, struct batch *rows, struct err *err)
{
    int count = PQntuples(result);
    int columns = PQnfields(result);

    if ((size_t)columns != rows->column_count) {
        return err_set(err, ERR_INTERNAL, "the answer has %d columns, not %zu", columns,
                       rows->column_count);
    }
    for (int i = 0; i < count; i++) {
        if (rows->rows == BATCH_ROWS_MAX) {
            return err_set(err, ERR_TOO_LARGE, "the answer has more than %d rows", BATCH_ROWS_MAX);
        }
        size_t row = batch_add_row(rows);
        for (int c = 0; c < columns; c++) {
            if (PQgetisnull(result, i, c)) {
                continue;
            }
            enum err_code code =
                set_value(rows, (size_t)c, row, PQftype(result, c), PQgetvalue(result, i, c),
                          (size_t)PQgetlength(result, i, c), err);
            if (code != ERR_OK) {
                return code;
            }
        }
    }
    if (rows->arena.overflow) {
        return err_set(err, ERR_TOO_LARGE, "the texts of the answer are too large");
    }
    return ERR_OK;
}
