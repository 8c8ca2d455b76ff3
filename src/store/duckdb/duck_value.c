/* One column of an answer: which of our types it becomes, and how its values get there. */
#include "store/duckdb/duck.h"

#include <assert.h>
#include <string.h>

#include "codec/decimal.h"

enum { US_PER_S = 1000000, US_PER_MS = 1000, NS_PER_US = 1000 };

static bool
is_json(duckdb_logical_type logical)
{
    char *alias = duckdb_logical_type_get_alias(logical);
    bool json = alias && strcmp(alias, "JSON") == 0;

    duckdb_free(alias);
    return json;
}

/* The type of our own columns, or what sum() makes of it. Other decimals are a user's own and
 * travel as doubles. */
static bool
is_credits(duckdb_logical_type logical)
{
    uint8_t width = duckdb_decimal_width(logical);

    return duckdb_decimal_scale(logical) == DUCK_DECIMAL_SCALE &&
           (width == DUCK_DECIMAL_WIDTH || width == DUCK_DECIMAL_SUM_WIDTH);
}

bool
duck_column_init(struct duck_column *column, duckdb_logical_type logical, bool wide_as_text)
{
    *column = (struct duck_column){.logical = logical, .type = duckdb_get_type_id(logical)};
    switch ((int)column->type) {
    case DUCKDB_TYPE_BOOLEAN:
        column->target = COL_BOOL;
        return true;
    case DUCKDB_TYPE_TINYINT:
    case DUCKDB_TYPE_SMALLINT:
    case DUCKDB_TYPE_INTEGER:
    case DUCKDB_TYPE_UTINYINT:
    case DUCKDB_TYPE_USMALLINT:
        column->target = COL_INT32;
        return true;
    case DUCKDB_TYPE_UINTEGER:
    case DUCKDB_TYPE_BIGINT:
        column->target = COL_INT64;
        return true;
    case DUCKDB_TYPE_UBIGINT:
    case DUCKDB_TYPE_HUGEINT:
    case DUCKDB_TYPE_UHUGEINT:
        column->target = wide_as_text ? COL_TEXT : COL_INT64;
        return true;
    case DUCKDB_TYPE_DECIMAL:
        column->target = !is_credits(logical) ? COL_DOUBLE : wide_as_text ? COL_TEXT : COL_DECIMAL;
        return true;
    case DUCKDB_TYPE_FLOAT:
    case DUCKDB_TYPE_DOUBLE:
        column->target = COL_DOUBLE;
        return true;
    case DUCKDB_TYPE_TIMESTAMP:
    case DUCKDB_TYPE_TIMESTAMP_S:
    case DUCKDB_TYPE_TIMESTAMP_MS:
    case DUCKDB_TYPE_TIMESTAMP_NS:
    case DUCKDB_TYPE_TIMESTAMP_TZ:
        column->target = COL_TIMESTAMP;
        return true;
    case DUCKDB_TYPE_LIST:
    case DUCKDB_TYPE_ARRAY:
    case DUCKDB_TYPE_STRUCT:
    case DUCKDB_TYPE_MAP:
        column->target = COL_JSON;
        return duck_text_supports(logical);
    case DUCKDB_TYPE_VARCHAR:
        column->target = is_json(logical) ? COL_JSON : COL_TEXT;
        return true;
    default:
        column->target = COL_TEXT;
        return duck_text_supports(logical);
    }
}

/* Integers of one width to an array of another. */
#define WIDEN(from_type, to)                                                                       \
    for (size_t i = 0; i < count; i++) {                                                           \
        (to)[first + i] = ((const from_type *)data)[i];                                            \
    }

static void
copy_integers(duckdb_type type, const void *data, struct column *to, size_t first, size_t count)
{
    switch ((int)type) {
    case DUCKDB_TYPE_TINYINT:
        WIDEN(int8_t, to->i32) /* NOLINT(bugprone-signed-char-misuse, cert-str34-c): a number */
        break;
    case DUCKDB_TYPE_SMALLINT:
        WIDEN(int16_t, to->i32)
        break;
    case DUCKDB_TYPE_INTEGER:
        memcpy(to->i32 + first, data, count * sizeof(int32_t));
        break;
    case DUCKDB_TYPE_UTINYINT:
        WIDEN(uint8_t, to->i32)
        break;
    case DUCKDB_TYPE_USMALLINT:
        WIDEN(uint16_t, to->i32)
        break;
    case DUCKDB_TYPE_UINTEGER:
        WIDEN(uint32_t, to->i64)
        break;
    default:
        memcpy(to->i64 + first, data, count * sizeof(int64_t));
    }
}

/* Scales times to microseconds; DuckDB's infinities (the two ends) stay what they are, and what
 * overflows becomes one of them. */
static void
copy_times(duckdb_type type, const int64_t *data, int64_t *to, size_t count)
{
    int64_t factor = type == DUCKDB_TYPE_TIMESTAMP_S    ? US_PER_S
                     : type == DUCKDB_TYPE_TIMESTAMP_MS ? US_PER_MS
                                                        : 1;

    if (factor == 1 && type != DUCKDB_TYPE_TIMESTAMP_NS) {
        memcpy(to, data, count * sizeof(*to));
        return;
    }
    for (size_t i = 0; i < count; i++) {
        int64_t value = data[i];
        bool infinite = value == INT64_MAX || value == -INT64_MAX;
        if (!infinite && type == DUCKDB_TYPE_TIMESTAMP_NS) {
            value = value / NS_PER_US - (value % NS_PER_US < 0);
        } else if (!infinite && __builtin_mul_overflow(value, factor, &value)) {
            value = data[i] > 0 ? INT64_MAX : -INT64_MAX;
        }
        to[i] = value;
    }
}

/* Whole numbers wider than int64; false when a valid one does not fit. */
static bool
copy_wide(const struct duck_column *column, duckdb_vector vector, int64_t *to, size_t count)
{
    const void *data = duckdb_vector_get_data(vector);
    uint64_t *validity = duckdb_vector_get_validity(vector);

    for (size_t i = 0; i < count; i++) {
        uint64_t lower;
        int64_t upper = 0;
        if (validity && !duckdb_validity_row_is_valid(validity, i)) {
            continue;
        }
        if (column->type == DUCKDB_TYPE_UBIGINT) {
            lower = ((const uint64_t *)data)[i];
        } else { /* all 128-bit types have the same layout */
            lower = ((const duckdb_hugeint *)data)[i].lower;
            upper = ((const duckdb_hugeint *)data)[i].upper;
        }
        bool negative = column->type != DUCKDB_TYPE_UHUGEINT && upper == -1 && lower >> 63;
        if (!negative && (upper != 0 || lower >> 63)) {
            return false;
        }
        to[i] = (int64_t)lower;
    }
    return true;
}

duckdb_hugeint
duck_column_decimal(duckdb_logical_type logical, const void *data, size_t row)
{
    duckdb_type storage = duckdb_decimal_internal_type(logical);

    if (storage == DUCKDB_TYPE_HUGEINT) {
        return ((const duckdb_hugeint *)data)[row];
    }
    int64_t value = storage == DUCKDB_TYPE_SMALLINT  ? ((const int16_t *)data)[row]
                    : storage == DUCKDB_TYPE_INTEGER ? ((const int32_t *)data)[row]
                                                     : ((const int64_t *)data)[row];
    return (duckdb_hugeint){.lower = (uint64_t)value, .upper = value < 0 ? -1 : 0};
}

void
duck_column_decimals(const struct duck_column *column, const void *data, size_t first, double *to,
                     size_t count)
{
    duckdb_decimal decimal = {.width = duckdb_decimal_width(column->logical),
                              .scale = duckdb_decimal_scale(column->logical)};

    for (size_t i = 0; i < count; i++) {
        decimal.value = duck_column_decimal(column->logical, data, first + i);
        to[i] = duckdb_decimal_to_double(decimal);
    }
}

/* Sums of credits; false when a valid one is more than a COL_DECIMAL may be. */
static bool
copy_sums(const struct duck_column *column, duckdb_vector vector, int64_t *to, size_t count)
{
    if (!copy_wide(column, vector, to, count)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (to[i] > DECIMAL_MAX || to[i] < -DECIMAL_MAX) {
            return false;
        }
    }
    return true;
}

/* As DuckDB's functions say it, which would be two calls a text. */
struct slice
duck_string(const duckdb_string_t *text)
{
    uint32_t length = text->value.inlined.length;
    bool inlined = length <= sizeof(text->value.inlined.inlined);

    return slice_make(inlined ? text->value.inlined.inlined : text->value.pointer.ptr, length);
}

/* Texts as they are, in one piece of memory, each with a NUL behind. Over the cap they are left
 * empty. */
static void
copy_strings(duckdb_vector vector, struct batch *rows, struct slice *to, size_t count)
{
    const duckdb_string_t *data = duckdb_vector_get_data(vector);
    uint64_t *validity = duckdb_vector_get_validity(vector);
    size_t bytes = 0;

    for (size_t i = 0; i < count; i++) {
        if (!validity || duckdb_validity_row_is_valid(validity, i)) {
            to[i] = duck_string(&data[i]);
            bytes += to[i].len + 1;
        }
    }
    char *next = bytes > 0 ? arena_alloc(&rows->arena, bytes) : NULL;
    for (size_t i = 0; i < count; i++) {
        if (!to[i].ptr) {
            continue; /* NULL */
        }
        if (!next) {
            to[i] = slice_of("");
            continue;
        }
        memcpy(next, to[i].ptr, to[i].len);
        to[i].ptr = next;
        next += to[i].len;
        *next++ = '\0';
    }
}

/* Values of other types, as texts. */
static void
copy_texts(const struct duck_column *column, duckdb_vector vector, struct batch *rows,
           struct slice *to, size_t count)
{
    const void *data = duckdb_vector_get_data(vector);
    uint64_t *validity = duckdb_vector_get_validity(vector);
    struct buf text BUF_AUTO;

    buf_init(&text, DUCK_TEXT_BYTES_MAX);
    for (size_t i = 0; i < count; i++) {
        if (validity && !duckdb_validity_row_is_valid(validity, i)) {
            continue;
        }
        buf_reset(&text);
        if (column->type == DUCKDB_TYPE_DECIMAL) {
            duck_text_add_decimal(&text, data, column->logical, i); /* not by a double */
        } else {
            duck_text_add(&text, vector, column->logical, i);
        }
        rows->arena.overflow |= text.overflow;
        to[i] = batch_keep_text(rows, buf_slice(&text));
    }
}

static void
set_nulls(duckdb_vector vector, struct batch *rows, size_t index, size_t first, size_t count)
{
    uint64_t *validity = duckdb_vector_get_validity(vector);

    for (size_t i = 0; validity && i < count; i++) {
        if (!duckdb_validity_row_is_valid(validity, i)) {
            batch_set_null(rows, index, first + i);
        }
    }
}

bool
duck_column_copy(const struct duck_column *column, duckdb_vector vector, struct batch *rows,
                 size_t index, size_t first, size_t count)
{
    const void *data = duckdb_vector_get_data(vector);
    struct column *to = &rows->columns[index];
    bool fits = true;

    switch (column->target) {
    case COL_BOOL:
        memcpy(to->b + first, data, count);
        break;
    case COL_INT32:
        copy_integers(column->type, data, to, first, count);
        break;
    case COL_INT64:
        if (column->type == DUCKDB_TYPE_BIGINT || column->type == DUCKDB_TYPE_UINTEGER) {
            copy_integers(column->type, data, to, first, count);
        } else {
            fits = copy_wide(column, vector, to->i64 + first, count);
        }
        break;
    case COL_TIMESTAMP:
        copy_times(column->type, data, to->i64 + first, count);
        break;
    case COL_DECIMAL:
        if (duckdb_decimal_internal_type(column->logical) == DUCKDB_TYPE_HUGEINT) {
            fits = copy_sums(column, vector, to->i64 + first, count);
        } else {
            memcpy(to->i64 + first, data, count * sizeof(int64_t));
        }
        break;
    case COL_DOUBLE:
        if (column->type == DUCKDB_TYPE_DECIMAL) {
            duck_column_decimals(column, data, 0, to->f64 + first, count);
        } else if (column->type == DUCKDB_TYPE_FLOAT) {
            WIDEN(float, to->f64)
        } else {
            memcpy(to->f64 + first, data, count * sizeof(double));
        }
        break;
    case COL_TEXT:
    case COL_JSON:
        if (column->type == DUCKDB_TYPE_VARCHAR) {
            copy_strings(vector, rows, to->text + first, count);
        } else {
            copy_texts(column, vector, rows, to->text + first, count);
        }
        break;
    case COL_TYPE_COUNT:
        assert(false && "a column type");
    }
    set_nulls(vector, rows, index, first, count);
    return fits;
}
