/* ISO 8601 and the calendar; see time.h. */
#include "codec/time.h"

#include <assert.h>
#include <string.h>

enum { DAYS_PER_ERA = 146097, YEARS_PER_ERA = 400, EPOCH_SHIFT_DAYS = 719468, MICRO_DIGITS = 6 };

bool
time_parse_precision(struct slice text, enum time_precision *ret_precision)
{
    static const struct {
        const char *name;
        enum time_precision precision;
    } names[] = {{"ns", TIME_PRECISION_NS}, {"n", TIME_PRECISION_NS},  {"us", TIME_PRECISION_US},
                 {"u", TIME_PRECISION_US},  {"ms", TIME_PRECISION_MS}, {"s", TIME_PRECISION_S}};

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (slice_is(text, names[i].name)) {
            *ret_precision = names[i].precision;
            return true;
        }
    }
    return false;
}

bool
time_from_integer(int64_t value, enum time_precision precision, int64_t *ret_us)
{
    switch (precision) {
    case TIME_PRECISION_DEFAULT:
    case TIME_PRECISION_US:
        *ret_us = value;
        return true;
    case TIME_PRECISION_NS:
        *ret_us = value / 1000 - (value % 1000 < 0);
        return true;
    case TIME_PRECISION_MS:
        return !__builtin_mul_overflow(value, TIME_US_PER_MS, ret_us);
    case TIME_PRECISION_S:
        return !__builtin_mul_overflow(value, TIME_US_PER_S, ret_us);
    }
    return false;
}

/* Years run from March, so that the leap day is the last of its year; eras are 400 years. */
int64_t
time_days_from_civil(int64_t year, int month, int day)
{
    assert(month >= 1 && month <= 12 && day >= 1 && day <= 31);
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - (YEARS_PER_ERA - 1)) / YEARS_PER_ERA;
    int64_t year_of_era = year - era * YEARS_PER_ERA;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * DAYS_PER_ERA + day_of_era - EPOCH_SHIFT_DAYS;
}

static void
civil_from_days(int64_t days, struct time_civil *ret_civil)
{
    days += EPOCH_SHIFT_DAYS;
    int64_t era = (days >= 0 ? days : days - (DAYS_PER_ERA - 1)) / DAYS_PER_ERA;
    int64_t day_of_era = days - era * DAYS_PER_ERA;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153;

    ret_civil->day = (int)(day_of_year - (153 * month + 2) / 5 + 1);
    ret_civil->month = (int)(month < 10 ? month + 3 : month - 9);
    ret_civil->year = year_of_era + era * YEARS_PER_ERA + (ret_civil->month <= 2);
}

void
time_to_civil(int64_t us, struct time_civil *ret_civil)
{
    int64_t days = us / TIME_US_PER_DAY - (us % TIME_US_PER_DAY < 0);
    int64_t rest = us % TIME_US_PER_DAY;

    if (rest < 0) {
        rest += TIME_US_PER_DAY;
    }
    civil_from_days(days, ret_civil);
    ret_civil->micros = (int)(rest % TIME_US_PER_S);
    int seconds = (int)(rest / TIME_US_PER_S);
    ret_civil->hour = seconds / 3600;
    ret_civil->minute = seconds / 60 % 60;
    ret_civil->second = seconds % 60;
}

int
time_days_in_month(int64_t year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    assert(month >= 1 && month <= 12);
    return days[month - 1] + (month == 2 && leap);
}

/* What is left of a text being read; `ok` turns false once and stays so. */
struct cursor {
    const char *at;
    const char *end;
    bool ok;
};

static int
take_digits(struct cursor *cursor, int count)
{
    int value = 0;

    if (!cursor->ok || cursor->end - cursor->at < count) {
        cursor->ok = false;
        return 0;
    }
    for (int i = 0; i < count; i++) {
        unsigned digit = (unsigned)(unsigned char)cursor->at[i] - '0';
        cursor->ok = cursor->ok && digit <= 9;
        value = value * 10 + (int)(digit & 15);
    }
    cursor->at += count;
    return value;
}

static bool
next_is(const struct cursor *cursor, char c)
{
    return cursor->ok && cursor->at < cursor->end && *cursor->at == c;
}

static bool
take(struct cursor *cursor, char c)
{
    if (!next_is(cursor, c)) {
        return false;
    }
    cursor->at++;
    return true;
}

static int
take_in_range(struct cursor *cursor, int count, int min, int max)
{
    int value = take_digits(cursor, count);

    if (value < min || value > max) {
        cursor->ok = false;
    }
    return value;
}

static int64_t
take_fraction_us(struct cursor *cursor)
{
    int64_t micros = 0;
    int digits = 0;

    while (cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9') {
        if (digits < MICRO_DIGITS) {
            micros = micros * 10 + (*cursor->at - '0');
        }
        digits++;
        cursor->at++;
    }
    if (digits < 1 || digits > 9) {
        cursor->ok = false;
    }
    for (; digits < MICRO_DIGITS; digits++) {
        micros *= 10;
    }
    return micros;
}

/* Seconds to take off to get UTC. */
static int64_t
take_zone_s(struct cursor *cursor)
{
    if (cursor->at == cursor->end || take(cursor, 'Z') || take(cursor, 'z')) {
        return 0;
    }
    bool west = next_is(cursor, '-');
    if (!take(cursor, '+') && !take(cursor, '-')) {
        cursor->ok = false;
        return 0;
    }
    int64_t offset = INT64_C(3600) * take_in_range(cursor, 2, 0, 23);
    if (cursor->at < cursor->end) {
        take(cursor, ':');
        offset += INT64_C(60) * take_in_range(cursor, 2, 0, 59);
    }
    return west ? -offset : offset;
}

static int64_t
take_clock_us(struct cursor *cursor)
{
    int64_t seconds = INT64_C(3600) * take_in_range(cursor, 2, 0, 23);
    int64_t micros = 0;

    if (!take(cursor, ':')) {
        cursor->ok = false;
        return 0;
    }
    seconds += INT64_C(60) * take_in_range(cursor, 2, 0, 59);
    if (take(cursor, ':')) {
        seconds += take_in_range(cursor, 2, 0, 59);
        if (take(cursor, '.')) {
            micros = take_fraction_us(cursor);
        }
    }
    seconds -= take_zone_s(cursor);
    return seconds * TIME_US_PER_S + micros;
}

bool
time_parse_iso8601(struct slice text, int64_t *ret_us)
{
    struct cursor cursor = {.at = text.ptr, .end = text.ptr + text.len, .ok = true};
    int64_t clock_us = 0;

    int year = take_digits(&cursor, 4);
    cursor.ok = take(&cursor, '-');
    int month = take_in_range(&cursor, 2, 1, 12);
    if (!take(&cursor, '-')) {
        return false;
    }
    int day = take_in_range(&cursor, 2, 1, time_days_in_month(year, month));
    if (!cursor.ok) {
        return false;
    }
    if (cursor.at < cursor.end) {
        if (!take(&cursor, 'T') && !take(&cursor, ' ') && !take(&cursor, 't')) {
            return false;
        }
        clock_us = take_clock_us(&cursor);
    }
    if (!cursor.ok || cursor.at != cursor.end) {
        return false;
    }
    *ret_us = time_days_from_civil(year, month, day) * TIME_US_PER_DAY + clock_us;
    return true;
}

/* Writes `count` digits of value, zeros in front. */
static char *
put_digits(char *at, int64_t value, int count)
{
    for (int i = count - 1; i >= 0; i--) {
        at[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return at + count;
}

static char *
put_two(char *at, int value)
{
    at[0] = (char)('0' + value / 10);
    at[1] = (char)('0' + value % 10);
    return at + 2;
}

static char *
put_year(char *at, int64_t year)
{
    int count = 4;

    if (year >= 0 && year <= 9999) {
        return put_two(put_two(at, (int)year / 100), (int)year % 100);
    }
    if (year < 0 || year > 9999) {
        *at++ = year < 0 ? '-' : '+';
        year = year < 0 ? -year : year;
    }
    for (int64_t limit = 10000; year >= limit; limit *= 10) {
        count++;
    }
    return put_digits(at, year, count);
}

size_t
time_format_iso8601(int64_t us, char ret_text[TIME_TEXT_MAX])
{
    struct time_civil civil;

    time_to_civil(us, &civil);
    char *at = put_year(ret_text, civil.year);
    *at++ = '-';
    at = put_two(at, civil.month);
    *at++ = '-';
    at = put_two(at, civil.day);
    *at++ = 'T';
    at = put_two(at, civil.hour);
    *at++ = ':';
    at = put_two(at, civil.minute);
    *at++ = ':';
    at = put_two(at, civil.second);
    if (civil.micros != 0) {
        *at++ = '.';
        at = put_digits(at, civil.micros, MICRO_DIGITS);
    }
    *at = '\0';
    assert(at - ret_text < TIME_TEXT_MAX);
    return (size_t)(at - ret_text);
}
