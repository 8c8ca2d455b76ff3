/* Reading and guessing times of files. */
#include "cli/import_date.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "codec/number.h"
#include "codec/time.h"

/* What a pattern has gathered so far. */
struct parts {
    int year, month, day, hour, minute, second;
    int64_t micros;
    int64_t offset_us;
    int half; /* 0: no %p; 1: AM; 2: PM */
    bool twelve;
};

struct cursor {
    const char *at;
    const char *end;
};

static bool
take_digits(struct cursor *cursor, int min, int max, int *ret_value)
{
    int count = 0;
    int value = 0;

    while (count < max && cursor->at < cursor->end && isdigit((unsigned char)*cursor->at)) {
        value = value * 10 + (*cursor->at++ - '0');
        count++;
    }
    *ret_value = value;
    return count >= min;
}

static bool
take_month_name(struct cursor *cursor, int *ret_month)
{
    static const char *const names[] = {"january",   "february", "march",    "april",
                                        "may",       "june",     "july",     "august",
                                        "september", "october",  "november", "december"};
    struct slice word = {cursor->at, 0};

    while (cursor->at + word.len < cursor->end && isalpha((unsigned char)cursor->at[word.len])) {
        word.len++;
    }
    for (int i = 0; i < 12; i++) {
        if (slice_is_nocase(word, names[i]) ||
            (word.len == 3 && strncasecmp(word.ptr, names[i], 3) == 0)) {
            cursor->at += word.len;
            *ret_month = i + 1;
            return true;
        }
    }
    return false;
}

static bool
take_half(struct cursor *cursor, int *ret_half)
{
    struct slice word = {cursor->at, 2};

    if (cursor->end - cursor->at < 2) {
        return false;
    }
    *ret_half = slice_is_nocase(word, "am") ? 1 : (slice_is_nocase(word, "pm") ? 2 : 0);
    cursor->at += 2;
    return *ret_half != 0;
}

static bool
take_fraction(struct cursor *cursor, int64_t *ret_micros)
{
    int64_t scale = 100000;
    int count = 0;

    *ret_micros = 0;
    for (; cursor->at < cursor->end && isdigit((unsigned char)*cursor->at); cursor->at++) {
        *ret_micros += (*cursor->at - '0') * scale;
        scale /= 10;
        count++;
    }
    return count >= 1 && count <= 9;
}

static bool
take_zone(struct cursor *cursor, int64_t *ret_offset_us)
{
    int hours;
    int minutes = 0;

    if (cursor->at < cursor->end && (*cursor->at == 'Z' || *cursor->at == 'z')) {
        cursor->at++;
        *ret_offset_us = 0;
        return true;
    }
    if (cursor->at == cursor->end || (*cursor->at != '+' && *cursor->at != '-')) {
        return false;
    }
    int sign = *cursor->at++ == '-' ? -1 : 1;
    if (!take_digits(cursor, 2, 2, &hours) || hours > 23) {
        return false;
    }
    if (cursor->at < cursor->end && *cursor->at == ':') {
        cursor->at++;
    }
    if (cursor->at < cursor->end && isdigit((unsigned char)*cursor->at) &&
        (!take_digits(cursor, 2, 2, &minutes) || minutes > 59)) {
        return false;
    }
    *ret_offset_us = (int64_t)sign * (hours * 60 + minutes) * 60 * TIME_US_PER_S;
    return true;
}

static bool
take_directive(char directive, struct cursor *cursor, struct parts *parts)
{
    switch (directive) {
    case 'Y':
        return take_digits(cursor, 4, 4, &parts->year);
    case 'y':
        if (!take_digits(cursor, 2, 2, &parts->year)) {
            return false;
        }
        parts->year += parts->year < 69 ? 2000 : 1900; /* POSIX strptime */
        return true;
    case 'm':
        return take_digits(cursor, 1, 2, &parts->month);
    case 'd':
        return take_digits(cursor, 1, 2, &parts->day);
    case 'b':
        return take_month_name(cursor, &parts->month);
    case 'H':
        return take_digits(cursor, 1, 2, &parts->hour);
    case 'I':
        parts->twelve = true;
        return take_digits(cursor, 1, 2, &parts->hour) && parts->hour >= 1 && parts->hour <= 12;
    case 'M':
        return take_digits(cursor, 2, 2, &parts->minute);
    case 'S':
        return take_digits(cursor, 2, 2, &parts->second);
    case 'f':
        return take_fraction(cursor, &parts->micros);
    case 'p':
        return take_half(cursor, &parts->half);
    case 'z':
        return take_zone(cursor, &parts->offset_us);
    default:
        return cursor->at < cursor->end && *cursor->at++ == directive;
    }
}

static bool
match(const char *pattern, struct slice text, struct parts *ret_parts)
{
    struct cursor cursor = {text.ptr, text.ptr + text.len};

    for (; *pattern; pattern++) {
        bool ok;
        if (*pattern == '%') {
            ok = take_directive(*++pattern, &cursor, ret_parts);
        } else if (*pattern == ' ') {
            ok = cursor.at < cursor.end && *cursor.at == ' ';
            while (cursor.at < cursor.end && *cursor.at == ' ') {
                cursor.at++;
            }
        } else {
            ok = cursor.at < cursor.end && *cursor.at++ == *pattern;
        }
        if (!ok) {
            return false;
        }
    }
    return cursor.at == cursor.end;
}

static bool
read_pattern(const char *pattern, struct slice text, int64_t *ret_us)
{
    struct parts parts = {.month = 1, .day = 1};

    if (!match(pattern, text, &parts)) {
        return false;
    }
    if (parts.twelve || parts.half) {
        if (!parts.twelve || !parts.half) {
            return false;
        }
        parts.hour = parts.hour % 12 + (parts.half == 2 ? 12 : 0);
    }
    if (parts.year < 1 || parts.year > 9999 || parts.month < 1 || parts.month > 12 ||
        parts.day < 1 || parts.day > time_days_in_month(parts.year, parts.month) ||
        parts.hour > 23 || parts.minute > 59 || parts.second > 59) {
        return false;
    }
    int64_t days = time_days_from_civil(parts.year, parts.month, parts.day);
    int64_t seconds = (parts.hour * 60 + parts.minute) * 60 + parts.second;
    *ret_us = days * TIME_US_PER_DAY + seconds * TIME_US_PER_S + parts.micros - parts.offset_us;
    return true;
}

/* A count since 1970, perhaps with a fraction. */
static bool
read_count(enum import_date_kind kind, struct slice text, int64_t *ret_us)
{
    static const enum time_precision units[] = {
        [DATE_S] = TIME_PRECISION_S,
        [DATE_MS] = TIME_PRECISION_MS,
        [DATE_US] = TIME_PRECISION_US,
        [DATE_NS] = TIME_PRECISION_NS,
    };
    static const double factors[] = {
        [DATE_S] = 1e6, [DATE_MS] = 1e3, [DATE_US] = 1, [DATE_NS] = 1e-3};
    int64_t count;
    double value;

    if (number_parse_i64(text, &count)) {
        return time_from_integer(count, units[kind], ret_us);
    }
    if (!number_parse_f64(text, &value)) {
        return false;
    }
    value *= factors[kind];
    if (!(value > -9e18 && value < 9e18)) {
        return false;
    }
    *ret_us = (int64_t)value;
    return true;
}

bool
import_date_read(const struct import_date *date, struct slice text, int64_t *ret_us)
{
    int64_t us = 0;
    bool ok = false;

    text = slice_trim(text);
    switch (date->kind) {
    case DATE_ISO:
        ok = time_parse_iso8601(text, &us);
        break;
    case DATE_S:
    case DATE_MS:
    case DATE_US:
    case DATE_NS:
        ok = read_count(date->kind, text, &us);
        break;
    case DATE_PATTERN:
        ok = read_pattern(date->pattern, text, &us);
        break;
    }
    if (!ok || us < time_days_from_civil(1, 1, 1) * TIME_US_PER_DAY ||
        us >= time_days_from_civil(10000, 1, 1) * TIME_US_PER_DAY) {
        return false;
    }
    *ret_us = us;
    return true;
}

static const char *const kind_words[] = {"iso", "s", "ms", "us", "ns"};

const char *
import_date_name(const struct import_date *date)
{
    static const char *const names[] = {
        [DATE_ISO] = "ISO 8601",
        [DATE_S] = "seconds since 1970",
        [DATE_MS] = "milliseconds since 1970",
        [DATE_US] = "microseconds since 1970",
        [DATE_NS] = "nanoseconds since 1970",
    };

    return date->kind == DATE_PATTERN ? date->pattern : names[date->kind];
}

enum err_code
import_date_parse_format(const char *text, struct import_date *ret_date, struct err *err)
{
    static const char directives[] = "YymdbHIMSfpz%";

    for (size_t i = 0; i < sizeof(kind_words) / sizeof(kind_words[0]); i++) {
        if (strcasecmp(text, kind_words[i]) == 0) {
            *ret_date = (struct import_date){.kind = (enum import_date_kind)i};
            return ERR_OK;
        }
    }
    for (const char *c = text; *c; c++) {
        if (*c == '%' && (*++c == '\0' || !strchr(directives, *c))) {
            return err_set(err, ERR_USAGE,
                           "--date-format \"%.60s\": %%%c is not known; expected %%Y %%y %%m %%d "
                           "%%b %%H %%I %%M %%S %%f %%p %%z",
                           text, *c ? *c : ' ');
        }
    }
    if (!strchr(text, '%') || strlen(text) >= DATE_PATTERN_MAX) {
        return err_set(err, ERR_USAGE,
                       "--date-format is \"%.60s\"; expected iso, s, ms, us, ns or a pattern such "
                       "as \"%%d.%%m.%%Y %%H:%%M\"",
                       text);
    }
    *ret_date = (struct import_date){.kind = DATE_PATTERN};
    snprintf(ret_date->pattern, sizeof(ret_date->pattern), "%s", text);
    return ERR_OK;
}

/* ---- guessing ---- */

/* Digits alone say their unit by their number: times between 2001 and 2286 have these lengths. */
static bool
has_length_of(enum import_date_kind kind, struct slice text)
{
    static const size_t lengths[] = {[DATE_S] = 10, [DATE_MS] = 13, [DATE_US] = 16, [DATE_NS] = 19};
    size_t digits = 0;

    while (digits < text.len && isdigit((unsigned char)text.ptr[digits])) {
        digits++;
    }
    return digits == lengths[kind] && (digits == text.len || text.ptr[digits] == '.');
}

static bool
reads(const struct import_date *date, struct slice text, int64_t *ret_us)
{
    bool is_count = date->kind != DATE_ISO && date->kind != DATE_PATTERN;

    return (!is_count || has_length_of(date->kind, slice_trim(text))) &&
           import_date_read(date, text, ret_us);
}

static size_t
count_read(const struct import_date *date, const struct slice *samples, size_t count)
{
    size_t read = 0;
    int64_t us;

    for (size_t i = 0; i < count; i++) {
        read += reads(date, samples[i], &us);
    }
    return read;
}

/* The first sample that both read, each as another time; `count` when there is none. */
static size_t
find_disagreement(const struct import_date *a, const struct import_date *b,
                  const struct slice *samples, size_t count)
{
    size_t i = 0;
    int64_t x;
    int64_t y;

    while (i < count && !(reads(a, samples[i], &x) && reads(b, samples[i], &y) && x != y)) {
        i++;
    }
    return i;
}

/* All formats that are tried, the plainest first; false past the last. */
static bool
candidate_at(size_t index, struct import_date *ret_date)
{
    static const char *const dates[] = {
        "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d",   "%b %d %Y", "%b %d, %Y", "%d %b %Y",
        "%d-%b-%Y", "%d-%b-%y", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y",  "%m-%d-%Y",
        "%d-%m-%Y", "%b %Y",    "%m/%d/%y", "%d/%m/%y", "%d.%m.%y",  "%Y",
    };
    static const char *const times[] = {
        "",           " %H:%M",    " %H:%M:%S",    " %H:%M:%S.%f", "T%H:%M:%S",
        "T%H:%M:%SZ", " %I:%M %p", " %I:%M:%S %p", " %H:%M:%S%z",  " %H:%M:%S %z",
    };
    enum { DATES = sizeof(dates) / sizeof(dates[0]), TIMES = sizeof(times) / sizeof(times[0]) };

    *ret_date = (struct import_date){.kind = DATE_PATTERN};
    if (index < DATE_PATTERN) {
        ret_date->kind = (enum import_date_kind)index;
        return true;
    }
    index -= DATE_PATTERN;
    snprintf(ret_date->pattern, sizeof(ret_date->pattern), "%s%s", dates[index % DATES],
             times[index / DATES % TIMES]);
    return index < (size_t)DATES * TIMES;
}

enum err_code
import_date_guess(const struct slice *samples, size_t count, struct import_date *ret_date,
                  struct err *err)
{
    struct import_date best = {0};
    struct import_date rival = {0};
    struct import_date candidate;
    size_t best_read = 0;
    size_t sample = count;

    for (size_t i = 0; candidate_at(i, &candidate); i++) {
        size_t read = count_read(&candidate, samples, count);
        if (read > best_read) {
            best = candidate;
            best_read = read;
            sample = count;
        } else if (read == best_read && read > 0 && sample == count) {
            sample = find_disagreement(&best, &candidate, samples, count);
            rival = candidate;
        }
    }
    /* Some wrong rows must not hide the format of the others. */
    if (best_read * 2 <= count) {
        struct slice first = count ? slice_sub(samples[0], 0, 40) : SLICE_LITERAL("");
        return err_set(err, ERR_NOT_FOUND, "\"%.*s\" has no form that is known", SLICE_FMT(first));
    }
    if (sample < count) {
        return err_set(err, ERR_CONFLICT, "\"%.*s\" may be %s or %s",
                       SLICE_FMT(slice_sub(samples[sample], 0, 40)), import_date_name(&best),
                       import_date_name(&rival));
    }
    *ret_date = best;
    return ERR_OK;
}
