/*
 * Time as text and as integers: int64_t microseconds since 1970-01-01T00:00:00 UTC, proleptic
 * Gregorian calendar, no leap seconds, no time zones of the C library. Pure; any thread.
 * Calendar arithmetic: Howard Hinnant, chrono-Compatible Low-Level Date Algorithms.
 */
#ifndef EIDER_CODEC_TIME_H
#define EIDER_CODEC_TIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

#define TIME_US_PER_MS INT64_C(1000)
#define TIME_US_PER_S INT64_C(1000000)
#define TIME_US_PER_DAY (86400 * TIME_US_PER_S)

/* The times that rows may carry: years 1 to 9999. */
#define TIME_MIN_US INT64_C(-62135596800000000)
#define TIME_MAX_US INT64_C(253402300799999999)

enum { TIME_TEXT_MAX = 40 };

/* The unit of an integer timestamp, as in ?precision=ns|us|ms|s. DEFAULT is microseconds for rows;
 * line protocol replaces it by nanoseconds. Same order as enum ingest_precision. */
enum time_precision {
    TIME_PRECISION_DEFAULT,
    TIME_PRECISION_NS,
    TIME_PRECISION_US,
    TIME_PRECISION_MS,
    TIME_PRECISION_S
};

/* Reads "ns", "n", "us", "u", "ms" or "s"; false for anything else. */
bool time_parse_precision(struct slice text, enum time_precision *ret_precision);

/* Converts an integer of the given precision; false when it does not fit. Nanoseconds are cut
 * towards the past. */
bool time_from_integer(int64_t value, enum time_precision precision, int64_t *ret_us);

/* Whether rows may carry this time; a wrong precision usually shows here. */
static inline bool
time_in_range(int64_t us)
{
    return us >= TIME_MIN_US && us <= TIME_MAX_US;
}

/*
 * Reads ISO 8601: YYYY-MM-DD, or that with [T or blank] hh:mm[:ss[.fraction]] and Z, +hh:mm, +hhmm,
 * +hh or nothing (UTC). Fraction: 1 to 9 digits, cut to microseconds. Every field is checked for
 * its range; leap seconds and 24:00 are refused. False when it is anything else.
 */
bool time_parse_iso8601(struct slice text, int64_t *ret_us);

/*
 * Writes "2026-01-02T03:04:05", or with ".123456" when that is not zero; no zone, NUL behind.
 * Returns the length. Years below 0 and above 9999 carry their sign and all their digits.
 */
size_t time_format_iso8601(int64_t us, char ret_text[TIME_TEXT_MAX]);

struct time_civil {
    int64_t year;
    int month;  /* 1..12 */
    int day;    /* 1..31 */
    int hour;   /* 0..23 */
    int minute; /* 0..59 */
    int second; /* 0..59 */
    int micros; /* 0..999999 */
};

void time_to_civil(int64_t us, struct time_civil *ret_civil);

/* Days since 1970-01-01; the fields must be in range. */
int64_t time_days_from_civil(int64_t year, int month, int day);

/* 28..31; the month must be in range. */
int time_days_in_month(int64_t year, int month);

#endif
