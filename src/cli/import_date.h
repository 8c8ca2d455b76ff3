/*
 * Times as files write them: ISO 8601, counts since 1970, or a pattern of the strptime kind, read
 * without the C library's locale. No zone means UTC.
 *
 *   %Y 2000  %y 00 (1969-2068)  %m 1..12  %d 1..31  %b Jan or January  %H 0..23  %I 1..12 with %p
 *   %M 0..59  %S 0..59  %f fraction of a second  %p AM or PM  %z Z, +01:00, +0100  %% a percent
 * sign A blank in the pattern stands for one or more blanks; other characters for themselves.
 *
 * Pure; any thread.
 */
#ifndef EIDER_CLI_IMPORT_DATE_H
#define EIDER_CLI_IMPORT_DATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

enum import_date_kind { DATE_ISO, DATE_S, DATE_MS, DATE_US, DATE_NS, DATE_PATTERN };

enum { DATE_PATTERN_MAX = 64 };

struct import_date {
    enum import_date_kind kind;
    char pattern[DATE_PATTERN_MAX]; /* DATE_PATTERN only */
};

/* Reads "iso", "s", "ms", "us", "ns" or a pattern. ERR_USAGE names a directive it does not know. */
enum err_code import_date_parse_format(const char *text, struct import_date *ret_date,
                                       struct err *err);

/* Reads one time; false when the text does not have the form or is outside years 1 to 9999. */
bool import_date_read(const struct import_date *date, struct slice text, int64_t *ret_us);

/* How the format is called in messages: "ISO 8601", "milliseconds since 1970", or its pattern. */
const char *import_date_name(const struct import_date *date);

/*
 * Finds the format that reads most of the samples, and more than half. ERR_NOT_FOUND when none
 * does; ERR_CONFLICT when several read as many and disagree on some sample, as on 01/02/2000: the
 * message names both.
 */
enum err_code import_date_guess(const struct slice *samples, size_t count,
                                struct import_date *ret_date, struct err *err);

#endif
