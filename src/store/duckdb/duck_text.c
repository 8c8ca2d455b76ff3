/*
 * Values of types that the catalogue does not have, as text: dates, intervals, UUIDs, enums, bits
 * and blobs as DuckDB writes them; lists, arrays, structs, maps and unions as JSON.
 */
#include "store/duckdb/duck.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "codec/json_write.h"
#include "codec/time.h"

enum { DEPTH_MAX = 16, MONTHS_PER_YEAR = 12 };

static const int64_t us_per_s = 1000000;

#define LOGICAL_AUTO __attribute__((cleanup(duckdb_destroy_logical_type)))

static bool supports_children(duckdb_logical_type logical, unsigned depth);

static bool
supports(duckdb_logical_type logical, unsigned depth)
{
    switch ((int)duckdb_get_type_id(logical)) {
    case DUCKDB_TYPE_LIST:
    case DUCKDB_TYPE_ARRAY:
    case DUCKDB_TYPE_STRUCT:
    case DUCKDB_TYPE_MAP:
    case DUCKDB_TYPE_UNION:
        return depth < DEPTH_MAX && supports_children(logical, depth + 1);
    case DUCKDB_TYPE_BOOLEAN:
    case DUCKDB_TYPE_TINYINT:
    case DUCKDB_TYPE_SMALLINT:
    case DUCKDB_TYPE_INTEGER:
    case DUCKDB_TYPE_BIGINT:
    case DUCKDB_TYPE_UTINYINT:
    case DUCKDB_TYPE_USMALLINT:
    case DUCKDB_TYPE_UINTEGER:
    case DUCKDB_TYPE_UBIGINT:
    case DUCKDB_TYPE_HUGEINT:
    case DUCKDB_TYPE_UHUGEINT:
    case DUCKDB_TYPE_FLOAT:
    case DUCKDB_TYPE_DOUBLE:
    case DUCKDB_TYPE_DECIMAL:
    case DUCKDB_TYPE_VARCHAR:
    case DUCKDB_TYPE_BLOB:
    case DUCKDB_TYPE_BIT:
    case DUCKDB_TYPE_DATE:
    case DUCKDB_TYPE_TIME:
    case DUCKDB_TYPE_TIME_TZ:
    case DUCKDB_TYPE_TIME_NS:
    case DUCKDB_TYPE_TIMESTAMP:
    case DUCKDB_TYPE_TIMESTAMP_S:
    case DUCKDB_TYPE_TIMESTAMP_MS:
    case DUCKDB_TYPE_TIMESTAMP_NS:
    case DUCKDB_TYPE_TIMESTAMP_TZ:
    case DUCKDB_TYPE_INTERVAL:
    case DUCKDB_TYPE_UUID:
    case DUCKDB_TYPE_ENUM:
    case DUCKDB_TYPE_SQLNULL:
        return true;
    default:
        return false;
    }
}

static bool
supports_members(duckdb_logical_type logical, bool is_union, unsigned depth)
{
    idx_t count = is_union ? duckdb_union_type_member_count(logical)
                           : duckdb_struct_type_child_count(logical);
    bool all = true;

    for (idx_t i = 0; i < count && all; i++) {
        duckdb_logical_type child LOGICAL_AUTO = is_union
                                                     ? duckdb_union_type_member_type(logical, i)
                                                     : duckdb_struct_type_child_type(logical, i);
        all = supports(child, depth);
    }
    return all;
}

static bool
supports_children(duckdb_logical_type logical, unsigned depth)
{
    duckdb_logical_type first LOGICAL_AUTO = NULL;
    duckdb_logical_type second LOGICAL_AUTO = NULL;

    switch ((int)duckdb_get_type_id(logical)) {
    case DUCKDB_TYPE_LIST:
        first = duckdb_list_type_child_type(logical);
        return supports(first, depth);
    case DUCKDB_TYPE_ARRAY:
        first = duckdb_array_type_child_type(logical);
        return supports(first, depth);
    case DUCKDB_TYPE_MAP:
        first = duckdb_map_type_key_type(logical);
        second = duckdb_map_type_value_type(logical);
        return supports(first, depth) && supports(second, depth);
    case DUCKDB_TYPE_UNION:
        return supports_members(logical, true, depth);
    default:
        return supports_members(logical, false, depth);
    }
}

bool
duck_text_supports(duckdb_logical_type logical)
{
    return supports(logical, 0);
}

void
duck_text_add_uhugeint(struct buf *out, duckdb_uhugeint value)
{
    __extension__ typedef unsigned __int128 u128;
    u128 rest = (u128)value.upper << 64 | value.lower;
    char digits[40];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + (int)(rest % 10));
        rest /= 10;
    } while (rest > 0);
    buf_add(out, digits + at, sizeof(digits) - at);
}

void
duck_text_add_hugeint(struct buf *out, duckdb_hugeint value)
{
    duckdb_uhugeint size = {.lower = value.lower, .upper = (uint64_t)value.upper};

    if (value.upper < 0) {
        buf_add_char(out, '-');
        size.lower = ~size.lower + 1;
        size.upper = ~size.upper + (size.lower == 0);
    }
    duck_text_add_uhugeint(out, size);
}

void
duck_text_add_decimal(struct buf *out, const void *data, duckdb_logical_type logical, idx_t row)
{
    duckdb_hugeint value = duck_column_decimal(logical, data, row);
    size_t scale = duckdb_decimal_scale(logical); /* at most 38 */
    static const char zeros[] = "00000000000000000000000000000000000000";
    struct buf digits BUF_AUTO;

    buf_init(&digits, 0);
    duck_text_add_hugeint(&digits, value);
    struct slice text = buf_slice(&digits);
    if (value.upper < 0) {
        buf_add_char(out, '-');
        text = slice_sub(text, 1, text.len);
    }
    size_t whole = text.len > scale ? text.len - scale : 0;
    buf_add_slice(out, whole > 0 ? slice_sub(text, 0, whole) : SLICE_LITERAL("0"));
    if (scale > 0) {
        buf_add_char(out, '.');
        buf_add_fmt(out, "%.*s", (int)(scale - (text.len - whole)), zeros);
        buf_add_slice(out, slice_sub(text, whole, text.len));
    }
}

static void
add_date(struct buf *out, duckdb_date date)
{
    if (!duckdb_is_finite_date(date)) {
        buf_add_cstr(out, date.days > 0 ? "infinity" : "-infinity");
        return;
    }
    duckdb_date_struct parts = duckdb_from_date(date);
    if (parts.year > 0) {
        buf_add_fmt(out, "%04" PRId32 "-%02d-%02d", parts.year, parts.month, parts.day);
    } else {
        buf_add_fmt(out, "%04" PRId32 "-%02d-%02d (BC)", 1 - parts.year, parts.month, parts.day);
    }
}

/* "04:05:06", with a fraction only when there is one. `units` of a second. */
static void
add_clock(struct buf *out, int64_t value, int64_t units, int digits)
{
    int64_t seconds = value / units;

    buf_add_fmt(out, "%02" PRId64 ":%02d:%02d", seconds / 3600, (int)(seconds / 60 % 60),
                (int)(seconds % 60));
    if (value % units != 0) {
        buf_add_fmt(out, ".%0*" PRId64, digits, value % units);
    }
}

static void
add_time_tz(struct buf *out, duckdb_time_tz value)
{
    duckdb_time_tz_struct parts = duckdb_from_time_tz(value);
    int64_t us = ((parts.time.hour * 60 + parts.time.min) * 60 + parts.time.sec) * us_per_s +
                 parts.time.micros;
    int32_t offset = parts.offset < 0 ? -parts.offset : parts.offset;

    add_clock(out, us, us_per_s, 6);
    buf_add_fmt(out, "%c%02d:%02d", parts.offset < 0 ? '-' : '+', offset / 3600, offset / 60 % 60);
}

static void
add_timestamp(struct buf *out, duckdb_type type, int64_t value)
{
    char text[TIME_TEXT_MAX];

    if (value == INT64_MAX || value == -INT64_MAX) {
        buf_add_cstr(out, value > 0 ? "infinity" : "-infinity");
        return;
    }
    if (type == DUCKDB_TYPE_TIMESTAMP_NS) {
        value = value / 1000 - (value % 1000 < 0);
    } else if (type == DUCKDB_TYPE_TIMESTAMP_MS) {
        value = __builtin_mul_overflow(value, 1000, &value) ? 0 : value;
    } else if (type == DUCKDB_TYPE_TIMESTAMP_S) {
        value = __builtin_mul_overflow(value, us_per_s, &value) ? 0 : value;
    }
    buf_add(out, text, time_format_iso8601(value, text));
}

static void
add_count(struct buf *out, int32_t count, const char *unit)
{
    if (count != 0) {
        buf_add_fmt(out, "%" PRId32 " %s%s ", count, unit, count == 1 || count == -1 ? "" : "s");
    }
}

/* "1 year 2 months 3 days 04:05:06" */
static void
add_interval(struct buf *out, const duckdb_interval *interval)
{
    bool whole = interval->months != 0 || interval->days != 0;

    add_count(out, interval->months / MONTHS_PER_YEAR, "year");
    add_count(out, interval->months % MONTHS_PER_YEAR, "month");
    add_count(out, interval->days, "day");
    if (interval->micros == 0 && whole) {
        out->len--; /* the blank behind the last count */
        return;
    }
    if (interval->micros < 0) {
        buf_add_char(out, '-');
    }
    /* INT64_MIN microseconds lose one, rather than overflow. */
    int64_t micros = interval->micros == INT64_MIN ? INT64_MAX : interval->micros;
    add_clock(out, micros < 0 ? -micros : micros, us_per_s, 6);
}

static void
add_uuid(struct buf *out, duckdb_hugeint value)
{
    uint64_t upper = (uint64_t)value.upper ^ 1ULL << 63;

    buf_add_fmt(out, "%08" PRIx64 "-%04" PRIx64 "-%04" PRIx64 "-%04" PRIx64 "-%012" PRIx64,
                upper >> 32, upper >> 16 & 0xffff, upper & 0xffff, value.lower >> 48,
                value.lower & 0xffffffffffff);
}

static void
add_blob(struct buf *out, struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        unsigned char c = (unsigned char)bytes.ptr[i];
        if (c >= 0x20 && c < 0x7f && c != '\\' && c != '\'' && c != '"') {
            buf_add_char(out, (char)c);
        } else {
            buf_add_fmt(out, "\\x%02X", c);
        }
    }
}

/* The first byte counts the unused bits at the front of the second. */
static void
add_bits(struct buf *out, struct slice bytes)
{
    size_t skip = bytes.len > 0 ? (unsigned char)bytes.ptr[0] : 0;

    for (size_t i = skip; bytes.len > 0 && i < (bytes.len - 1) * 8; i++) {
        buf_add_char(out, (unsigned char)bytes.ptr[1 + i / 8] >> (7 - i % 8) & 1 ? '1' : '0');
    }
}

static void
add_enum(struct buf *out, const void *data, duckdb_logical_type logical, idx_t row)
{
    duckdb_type storage = duckdb_enum_internal_type(logical);
    idx_t index = storage == DUCKDB_TYPE_UTINYINT    ? ((const uint8_t *)data)[row]
                  : storage == DUCKDB_TYPE_USMALLINT ? ((const uint16_t *)data)[row]
                                                     : ((const uint32_t *)data)[row];
    char *text = duckdb_enum_dictionary_value(logical, index);

    buf_add_cstr(out, text);
    duckdb_free(text);
}

static double
decimal_value(const void *data, duckdb_logical_type logical, idx_t row)
{
    struct duck_column column;
    double value;

    duck_column_init(&column, logical, false);
    duck_column_decimals(&column, data, row, &value, 1);
    return value;
}

/* Numbers as JSON has them; false for any other type. */
static bool
add_number(struct json_writer *json, const void *data, duckdb_logical_type logical, idx_t row)
{
    switch ((int)duckdb_get_type_id(logical)) {
    case DUCKDB_TYPE_TINYINT:
        json_i64(json, ((const int8_t *)data)[row]);
        return true;
    case DUCKDB_TYPE_SMALLINT:
        json_i64(json, ((const int16_t *)data)[row]);
        return true;
    case DUCKDB_TYPE_INTEGER:
        json_i64(json, ((const int32_t *)data)[row]);
        return true;
    case DUCKDB_TYPE_BIGINT:
        json_i64(json, ((const int64_t *)data)[row]);
        return true;
    case DUCKDB_TYPE_UTINYINT:
        json_u64(json, ((const uint8_t *)data)[row]);
        return true;
    case DUCKDB_TYPE_USMALLINT:
        json_u64(json, ((const uint16_t *)data)[row]);
        return true;
    case DUCKDB_TYPE_UINTEGER:
        json_u64(json, ((const uint32_t *)data)[row]);
        return true;
    case DUCKDB_TYPE_UBIGINT:
        json_u64(json, ((const uint64_t *)data)[row]);
        return true;
    case DUCKDB_TYPE_FLOAT:
        json_f64(json, (double)((const float *)data)[row]);
        return true;
    case DUCKDB_TYPE_DOUBLE:
        json_f64(json, ((const double *)data)[row]);
        return true;
    case DUCKDB_TYPE_DECIMAL:
        json_f64(json, decimal_value(data, logical, row));
        return true;
    default:
        return false;
    }
}

/* Everything that is a text or becomes one; numbers and nested types do not come here. */
static void
add_scalar(struct buf *out, const void *data, duckdb_logical_type logical, idx_t row)
{
    duckdb_type type = duckdb_get_type_id(logical);

    switch ((int)type) {
    case DUCKDB_TYPE_VARCHAR:
        buf_add_slice(out, duck_string((const duckdb_string_t *)data + row));
        break;
    case DUCKDB_TYPE_BLOB:
        add_blob(out, duck_string((const duckdb_string_t *)data + row));
        break;
    case DUCKDB_TYPE_BIT:
        add_bits(out, duck_string((const duckdb_string_t *)data + row));
        break;
    case DUCKDB_TYPE_HUGEINT:
        duck_text_add_hugeint(out, ((const duckdb_hugeint *)data)[row]);
        break;
    case DUCKDB_TYPE_UHUGEINT:
        duck_text_add_uhugeint(out, ((const duckdb_uhugeint *)data)[row]);
        break;
    case DUCKDB_TYPE_UBIGINT:
        buf_add_u64(out, ((const uint64_t *)data)[row]);
        break;
    case DUCKDB_TYPE_DATE:
        add_date(out, ((const duckdb_date *)data)[row]);
        break;
    case DUCKDB_TYPE_TIME:
        add_clock(out, ((const duckdb_time *)data)[row].micros, us_per_s, 6);
        break;
    case DUCKDB_TYPE_TIME_NS:
        add_clock(out, ((const int64_t *)data)[row], 1000 * us_per_s, 9);
        break;
    case DUCKDB_TYPE_TIME_TZ:
        add_time_tz(out, ((const duckdb_time_tz *)data)[row]);
        break;
    case DUCKDB_TYPE_INTERVAL:
        add_interval(out, (const duckdb_interval *)data + row);
        break;
    case DUCKDB_TYPE_UUID:
        add_uuid(out, ((const duckdb_hugeint *)data)[row]);
        break;
    case DUCKDB_TYPE_ENUM:
        add_enum(out, data, logical, row);
        break;
    default:
        add_timestamp(out, type, ((const int64_t *)data)[row]);
    }
}

static void add_json(struct json_writer *json, duckdb_vector vector, duckdb_logical_type logical,
                     idx_t row);

static void
add_list(struct json_writer *json, duckdb_vector vector, duckdb_logical_type logical, idx_t row)
{
    bool is_array = duckdb_get_type_id(logical) == DUCKDB_TYPE_ARRAY;
    duckdb_logical_type child LOGICAL_AUTO =
        is_array ? duckdb_array_type_child_type(logical) : duckdb_list_type_child_type(logical);
    duckdb_vector values;
    duckdb_list_entry entry;

    if (is_array) {
        idx_t size = duckdb_array_type_array_size(logical);
        entry = (duckdb_list_entry){.offset = row * size, .length = size};
        values = duckdb_array_vector_get_child(vector);
    } else {
        entry = ((const duckdb_list_entry *)duckdb_vector_get_data(vector))[row];
        values = duckdb_list_vector_get_child(vector);
    }
    json_array_begin(json);
    for (idx_t i = 0; i < entry.length && !json->out->overflow; i++) {
        add_json(json, values, child, entry.offset + i);
    }
    json_array_end(json);
}

static void
add_struct(struct json_writer *json, duckdb_vector vector, duckdb_logical_type logical, idx_t row)
{
    json_object_begin(json);
    for (idx_t i = 0; i < duckdb_struct_type_child_count(logical); i++) {
        duckdb_logical_type child LOGICAL_AUTO = duckdb_struct_type_child_type(logical, i);
        char *name = duckdb_struct_type_child_name(logical, i);
        json_key(json, name);
        duckdb_free(name);
        add_json(json, duckdb_struct_vector_get_child(vector, i), child, row);
    }
    json_object_end(json);
}

static void
add_map(struct json_writer *json, duckdb_vector vector, duckdb_logical_type logical, idx_t row)
{
    duckdb_logical_type key_type LOGICAL_AUTO = duckdb_map_type_key_type(logical);
    duckdb_logical_type value_type LOGICAL_AUTO = duckdb_map_type_value_type(logical);
    duckdb_list_entry entry = ((const duckdb_list_entry *)duckdb_vector_get_data(vector))[row];
    duckdb_vector entries = duckdb_list_vector_get_child(vector);
    duckdb_vector keys = duckdb_struct_vector_get_child(entries, 0);
    duckdb_vector values = duckdb_struct_vector_get_child(entries, 1);
    struct buf key BUF_AUTO;

    buf_init(&key, DUCK_TEXT_BYTES_MAX);
    json_object_begin(json);
    for (idx_t i = 0; i < entry.length && !json->out->overflow; i++) {
        buf_reset(&key);
        duck_text_add(&key, keys, key_type, entry.offset + i);
        json_key_slice(json, buf_slice(&key));
        add_json(json, values, value_type, entry.offset + i);
    }
    json_object_end(json);
}

/* A union is a struct whose first member says which of the others holds the value. */
static void
add_union(struct json_writer *json, duckdb_vector vector, duckdb_logical_type logical, idx_t row)
{
    const uint8_t *tags = duckdb_vector_get_data(duckdb_struct_vector_get_child(vector, 0));
    duckdb_logical_type member LOGICAL_AUTO = duckdb_union_type_member_type(logical, tags[row]);

    add_json(json, duckdb_struct_vector_get_child(vector, tags[row] + 1U), member, row);
}

static void
add_json_text(struct json_writer *json, const void *data, duckdb_logical_type logical, idx_t row)
{
    duckdb_type type = duckdb_get_type_id(logical);
    struct duck_column column;
    struct buf text BUF_AUTO;

    buf_init(&text, DUCK_TEXT_BYTES_MAX);
    add_scalar(&text, data, logical, row);
    duck_column_init(&column, logical, true);
    json->out->overflow |= text.overflow;
    bool bare =
        column.target == COL_JSON || type == DUCKDB_TYPE_HUGEINT || type == DUCKDB_TYPE_UHUGEINT;
    if (bare) {
        json_raw(json, buf_slice(&text));
    } else {
        json_str(json, buf_slice(&text));
    }
}

static void
add_json(struct json_writer *json, duckdb_vector vector, duckdb_logical_type logical, idx_t row)
{
    duckdb_type type = duckdb_get_type_id(logical);
    uint64_t *validity = duckdb_vector_get_validity(vector);
    const void *data = duckdb_vector_get_data(vector);

    if (type == DUCKDB_TYPE_SQLNULL || (validity && !duckdb_validity_row_is_valid(validity, row))) {
        json_write_null(json);
        return;
    }
    switch ((int)type) {
    case DUCKDB_TYPE_LIST:
    case DUCKDB_TYPE_ARRAY:
        add_list(json, vector, logical, row);
        break;
    case DUCKDB_TYPE_STRUCT:
        add_struct(json, vector, logical, row);
        break;
    case DUCKDB_TYPE_MAP:
        add_map(json, vector, logical, row);
        break;
    case DUCKDB_TYPE_UNION:
        add_union(json, vector, logical, row);
        break;
    case DUCKDB_TYPE_BOOLEAN:
        json_bool(json, ((const bool *)data)[row]);
        break;
    default:
        if (!add_number(json, data, logical, row)) {
            add_json_text(json, data, logical, row);
        }
    }
}

void
duck_text_add(struct buf *out, duckdb_vector vector, duckdb_logical_type logical, idx_t row)
{
    const void *data = duckdb_vector_get_data(vector);
    struct json_writer json;

    json_init(&json, out);
    switch ((int)duckdb_get_type_id(logical)) {
    case DUCKDB_TYPE_LIST:
    case DUCKDB_TYPE_ARRAY:
    case DUCKDB_TYPE_STRUCT:
    case DUCKDB_TYPE_MAP:
    case DUCKDB_TYPE_UNION:
    case DUCKDB_TYPE_BOOLEAN:
        add_json(&json, vector, logical, row);
        break;
    default:
        if (!add_number(&json, data, logical, row)) {
            add_scalar(out, data, logical, row);
        }
    }
}
