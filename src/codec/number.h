/*
 * Numbers as text: exact and correctly rounded in both directions, without the C locale.
 *
 * Reading: digits are gathered into 64 bits; up to 19 of them become a double by an exact
 * division or multiplication (Clinger 1990) or by one 64x128-bit product (Lemire, Number Parsing at
 * a Gigabyte per Second, 2021). What is left, more digits or |exponent| > 55, goes to strtod_l.
 * Writing: shortest digits that read back as the same double (Giulietti, The Schubfach way to
 * render doubles, 2020); outside about 1e-38..1e70 by trying %.15g, %.16g and %.17g.
 *
 * Pure; any thread.
 */
#ifndef EIDER_CODEC_NUMBER_H
#define EIDER_CODEC_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum {
    NUMBER_TEXT_MAX = 1000, /* longer texts are no numbers */
    NUMBER_F64_MAX = 32     /* room for any double, NUL included */
};

/* A decimal number taken apart: (-1)^negative * digits * 10^exponent. */
struct number {
    struct slice text;
    uint64_t digits;
    int32_t exponent;
    uint32_t int_digits;  /* written before the point */
    uint32_t frac_digits; /* written behind the point */
    bool negative;
    bool has_point;
    bool has_exponent;
    bool truncated; /* more than 19 significant digits: only `text` is exact */
};

/*
 * Takes the longest number at `at` apart: [-] digits [. digits] [e [+-] digits], at least one digit
 * in all, so that ".5" and "5." pass. Returns where it ends, or NULL when there is none.
 */
const char *number_scan(const char *at, const char *end, struct number *ret_number);

/* The same for a whole text; false when bytes are left over. */
bool number_parse(struct slice text, struct number *ret_number);

/* The nearest double, ties to even; false when it is beyond the largest or too long. */
bool number_to_f64(const struct number *number, double *ret_value);

/* The value when it is a whole number in range ("1.0" and "1e3" are; of more than 19 digits only
 * those without an exponent); false otherwise. */
bool number_to_i64(const struct number *number, int64_t *ret_value);
bool number_to_u64(const struct number *number, uint64_t *ret_value);

/* Whole texts: [-] digits only, and anything number_scan takes. False when it is none or out of
 * range. */
bool number_parse_i64(struct slice text, int64_t *ret_value);
bool number_parse_f64(struct slice text, double *ret_value);

/*
 * Writes the shortest text that reads back as the same double, NUL behind, and returns its length.
 * As Python's repr: "101.25", "100.0", "1e-07", "1e+16", "-0.0"; "nan", "inf", "-inf".
 */
size_t number_format_f64(double value, char ret_text[NUMBER_F64_MAX]);

/* 10^power for 0..19. */
uint64_t number_pow10(unsigned power);

#endif
