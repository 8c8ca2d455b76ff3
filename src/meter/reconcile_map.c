/* The map of a provider's columns, and its times. */
#include "catalog/suggest.h"
#include "codec/number.h"
#include "codec/time.h"
#include "meter/reconcile_internal.h"

const char *const RECONCILE_KEYS[MAP_KEYS] = {
    [MAP_TIMESTAMP] = "timestamp", [MAP_CREDITS] = "credits", [MAP_ID] = "id",
    [MAP_ENDPOINT] = "endpoint",   [MAP_TZ] = "tz",           [MAP_TIME_FORMAT] = "time_format",
    [MAP_DELIMITER] = "delimiter",
};

/* ---- times ---- */

struct time_reader {
    struct slice text; /* what is left */
    int64_t year;
    int month, day, hour, minute, second, micros;
    int64_t zone_us;
    int half; /* of the day: 0 none, 1 AM, 2 PM */
};

static bool
read_digits(struct slice *text, size_t min, size_t max, int *ret)
{
    size_t count = 0;
    int value = 0;

    for (; count < max && count < text->len && text->ptr[count] >= '0' && text->ptr[count] <= '9';
         count++) {
        value = value * 10 + (text->ptr[count] - '0');
    }
    if (count < min) {
        return false;
    }
    *text = slice_sub(*text, count, text->len);
    *ret = value;
    return true;
}

/* 'Z', "UTC" or +hh[:]mm or +hh. */
static bool
read_zone(struct slice *text, int64_t *ret_us)
{
    int hours;
    int minutes = 0;

    if (slice_starts(*text, "Z") || slice_starts(*text, "UTC")) {
        *text = slice_sub(*text, text->ptr[0] == 'Z' ? 1 : 3, text->len);
        *ret_us = 0;
        return true;
    }
    if (text->len == 0 || (text->ptr[0] != '+' && text->ptr[0] != '-')) {
        return false;
    }
    int sign = text->ptr[0] == '-' ? -1 : 1;
    *text = slice_sub(*text, 1, text->len);
    if (!read_digits(text, 2, 2, &hours)) {
        return false;
    }
    bool colon = slice_starts(*text, ":");
    if (colon) {
        *text = slice_sub(*text, 1, text->len);
    }
    if (!read_digits(text, 2, 2, &minutes) && colon) {
        return false;
    }
    *ret_us = sign * ((int64_t)hours * 60 + minutes) * 60 * TIME_US_PER_S;
    return hours <= 14 && minutes <= 59;
}

static bool
read_month_name(struct slice *text, int *ret)
{
    static const char *const names[] = {"jan", "feb", "mar", "apr", "may", "jun",
                                        "jul", "aug", "sep", "oct", "nov", "dec"};

    for (int i = 0; i < 12; i++) {
        if (slice_is_nocase(slice_sub(*text, 0, 3), names[i])) {
            *text = slice_sub(*text, 3, text->len);
            *ret = i + 1;
            return true;
        }
    }
    return false;
}

/* Up to nine digits of a fraction, cut to microseconds. */
static bool
read_fraction(struct slice *text, int *ret_micros)
{
    size_t before = text->len;
    int value;

    if (!read_digits(text, 1, 6, &value)) {
        return false;
    }
    for (size_t digits = before - text->len; digits < 6; digits++) {
        value *= 10;
    }
    int rest;
    read_digits(text, 0, 3, &rest);
    *ret_micros = value;
    return true;
}

static bool
read_directive(struct time_reader *reader, char directive)
{
    struct slice *text = &reader->text;
    int year;

    switch (directive) {
    case 'Y':
        if (!read_digits(text, 4, 4, &year)) {
            return false;
        }
        reader->year = year;
        return true;
    case 'm':
        return read_digits(text, 1, 2, &reader->month);
    case 'b':
        return read_month_name(text, &reader->month);
    case 'd':
        return read_digits(text, 1, 2, &reader->day);
    case 'H':
    case 'I':
        return read_digits(text, 1, 2, &reader->hour);
    case 'M':
        return read_digits(text, 1, 2, &reader->minute);
    case 'S':
        return read_digits(text, 1, 2, &reader->second);
    case 'f':
        return read_fraction(text, &reader->micros);
    case 'z':
        return read_zone(text, &reader->zone_us);
    case 'p':
        reader->half = slice_is_nocase(slice_sub(*text, 0, 2), "am")   ? 1
                       : slice_is_nocase(slice_sub(*text, 0, 2), "pm") ? 2
                                                                       : 0;
        *text = slice_sub(*text, 2, text->len);
        return reader->half > 0;
    default:
        return false;
    }
}

static bool
finish_time(struct time_reader *reader, int64_t *ret_us)
{
    if (reader->half > 0) {
        if (reader->hour < 1 || reader->hour > 12) {
            return false;
        }
        reader->hour = reader->hour % 12 + (reader->half == 2 ? 12 : 0);
    }
    if (reader->year < 1 || reader->month < 1 || reader->month > 12 || reader->day < 1 ||
        reader->day > time_days_in_month(reader->year, reader->month) || reader->hour > 23 ||
        reader->minute > 59 || reader->second > 59) {
        return false;
    }
    int64_t seconds = (reader->hour * 60 + reader->minute) * 60 + reader->second;
    *ret_us = time_days_from_civil(reader->year, reader->month, reader->day) * TIME_US_PER_DAY +
              seconds * TIME_US_PER_S + reader->micros - reader->zone_us;
    return time_in_range(*ret_us);
}

static bool
read_pattern(struct slice format, struct slice text, int64_t zone_us, int64_t *ret_us)
{
    struct time_reader reader = {.text = text, .day = 1, .month = 1, .zone_us = zone_us};

    for (size_t i = 0; i < format.len; i++) {
        char c = format.ptr[i];
        if (c == '%' && i + 1 < format.len && format.ptr[i + 1] != '%') {
            if (!read_directive(&reader, format.ptr[++i])) {
                return false;
            }
            continue;
        }
        i += c == '%';
        if (reader.text.len == 0 || reader.text.ptr[0] != c) {
            return false;
        }
        reader.text = slice_sub(reader.text, 1, reader.text.len);
    }
    return reader.text.len == 0 && finish_time(&reader, ret_us);
}

/* A text of ISO 8601 that ends in no zone is in the map's. */
static bool
read_iso(struct slice text, int64_t zone_us, int64_t *ret_us)
{
    bool own = false;

    if (!time_parse_iso8601(text, ret_us)) {
        return false;
    }
    for (size_t i = 10; i < text.len; i++) {
        char c = text.ptr[i];
        own |= c == 'Z' || c == 'z' || c == '+' || c == '-';
    }
    *ret_us -= own ? 0 : zone_us;
    return time_in_range(*ret_us);
}

/* Unix times: of seconds, unless that would be far in the future. */
static bool
read_unix(struct slice text, enum time_precision precision, int64_t *ret_us)
{
    const int64_t seconds_max = INT64_C(100000000000);
    struct number number;
    int64_t value;

    if (!number_parse(text, &number)) {
        return false;
    }
    if (!number_to_i64(&number, &value)) {
        double seconds; /* 1700000000.25 */
        if (precision != TIME_PRECISION_S && precision != TIME_PRECISION_DEFAULT) {
            return false;
        }
        if (!number_to_f64(&number, &seconds) || seconds < 0 || seconds > 1e11) {
            return false;
        }
        *ret_us = (int64_t)(seconds * 1e6 + 0.5);
        return time_in_range(*ret_us);
    }
    if (precision == TIME_PRECISION_DEFAULT) {
        precision = value < seconds_max ? TIME_PRECISION_S : TIME_PRECISION_MS;
    }
    return time_from_integer(value, precision, ret_us) && time_in_range(*ret_us);
}

bool
reconcile_read_time(const struct reconcile_map *map, struct slice text, int64_t *ret_us)
{
    struct slice format = map->values[MAP_TIME_FORMAT];
    enum time_precision precision;

    text = slice_trim(text);
    if (format.len == 0) {
        return read_iso(text, map->zone_us, ret_us) ||
               read_unix(text, TIME_PRECISION_DEFAULT, ret_us);
    }
    if (slice_is(format, "iso")) {
        return read_iso(text, map->zone_us, ret_us);
    }
    if (time_parse_precision(format, &precision)) {
        return read_unix(text, precision, ret_us);
    }
    return read_pattern(format, text, map->zone_us, ret_us);
}

/* ---- the map ---- */

/* Takes "key=value" off, the value perhaps in quotes; false when that is not what stands there. */
static bool
take_pair(struct slice *rest, struct slice *ret_key, struct slice *ret_value)
{
    if (!slice_split(rest, '=', ret_key)) {
        return false;
    }
    *ret_key = slice_trim(*ret_key);
    if (slice_starts(*rest, "\"")) {
        struct slice behind;
        *rest = slice_sub(*rest, 1, rest->len);
        if (!slice_split(rest, '"', ret_value)) {
            return false;
        }
        slice_split(rest, ',', &behind);
        return slice_trim(behind).len == 0;
    }
    slice_split(rest, ',', ret_value);
    *ret_value = slice_trim(*ret_value);
    return true;
}

static enum err_code
check_format(struct slice format, struct err *err)
{
    static const char directives[] = {'Y', 'm', 'b', 'd', 'H', 'I', 'M', 'S', 'f', 'p', 'z', '%'};
    enum time_precision precision;
    bool dated = false;

    if (format.len == 0 || slice_is(format, "iso") || time_parse_precision(format, &precision)) {
        return ERR_OK;
    }
    for (size_t i = 0; i + 1 < format.len; i++) {
        if (format.ptr[i] != '%') {
            continue;
        }
        char directive = format.ptr[++i];
        dated |= directive == 'Y';
        if (!memchr(directives, directive, sizeof(directives))) {
            return err_set(err, ERR_INVALID,
                           "map: time_format: \"%%%c\"; expected %%Y %%m %%b %%d %%H %%I %%M %%S "
                           "%%f %%p %%z",
                           directive);
        }
    }
    if (!dated) {
        return err_set(err, ERR_INVALID,
                       "map: time_format: \"%.*s\"; expected iso, s, ms, us, ns or a pattern such "
                       "as %%Y-%%m-%%d %%H:%%M:%%S",
                       SLICE_FMT(slice_sub(format, 0, 64)));
    }
    return ERR_OK;
}

static enum err_code
check_map(struct reconcile_map *map, struct err *err)
{
    static const enum reconcile_key needed[] = {MAP_TIMESTAMP, MAP_CREDITS};
    static const char delimiters[] = {',', ';', '|', '\t', ' '};
    struct slice zone = map->values[MAP_TZ];
    struct slice delimiter = map->values[MAP_DELIMITER];

    for (size_t i = 0; i < 2; i++) {
        if (map->values[needed[i]].len == 0) {
            return err_set(err, ERR_INVALID,
                           "map: %s is not given; expected the column of it, such as "
                           "timestamp=Date,credits=Cost",
                           RECONCILE_KEYS[needed[i]]);
        }
    }
    if (zone.len > 0 && (!read_zone(&zone, &map->zone_us) || zone.len > 0)) {
        return err_set(err, ERR_INVALID,
                       "map: tz: \"%.*s\"; expected UTC or an offset such as +02:00",
                       SLICE_FMT(slice_sub(map->values[MAP_TZ], 0, 64)));
    }
    if (delimiter.len > 0) {
        map->delimiter = slice_is(delimiter, "tab") ? '\t' : delimiter.ptr[0];
        if (map->delimiter != '\t' &&
            (delimiter.len != 1 || !memchr(delimiters, map->delimiter, sizeof(delimiters)))) {
            return err_set(err, ERR_INVALID, "map: delimiter: \"%.*s\"; expected , ; | or tab",
                           SLICE_FMT(slice_sub(delimiter, 0, 64)));
        }
    }
    return check_format(map->values[MAP_TIME_FORMAT], err);
}

enum err_code
reconcile_read_map(struct slice text, struct arena *arena, struct reconcile_map *ret_map,
                   struct err *err)
{
    struct reconcile_map map = {0};
    struct slice rest = slice_trim(text);

    while (rest.len > 0) {
        struct slice shown = slice_sub(rest, 0, 64);
        struct slice key;
        struct slice value;
        size_t i = 0;
        if (!take_pair(&rest, &key, &value)) {
            return err_set(err, ERR_INVALID,
                           "map: \"%.*s\"; expected key=column, separated by commas",
                           SLICE_FMT(shown));
        }
        while (i < MAP_KEYS && !slice_is(key, RECONCILE_KEYS[i])) {
            i++;
        }
        if (i == MAP_KEYS) {
            const char *near = catalog_suggest_name(key, RECONCILE_KEYS, MAP_KEYS);
            return err_set(err, ERR_INVALID,
                           "map: unknown key \"%.*s\"%s%s%s; expected timestamp, credits, id, "
                           "endpoint, tz, time_format or delimiter",
                           SLICE_FMT(slice_sub(key, 0, 64)), near ? "; did you mean " : "",
                           near ? near : "", near ? "?" : "");
        }
        if (map.values[i].len > 0 || value.len == 0) {
            return err_set(err, ERR_INVALID, "map: %s %s; expected it once, with a value",
                           RECONCILE_KEYS[i], value.len ? "is given twice" : "has no value");
        }
        map.values[i] = arena_dup(arena, value);
    }
    enum err_code code = check_map(&map, err);
    if (code == ERR_OK) {
        *ret_map = map;
    }
    return code;
}
