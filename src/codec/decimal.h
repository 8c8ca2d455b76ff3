/*
 * Credits and money: whole numbers of millionths in an int64_t, DECIMAL(18,6) in SQL; never a
 * float. The largest amount is 999 999 999 999.999999.
 *
 * Pure; any thread.
 */
#ifndef EIDER_CODEC_DECIMAL_H
#define EIDER_CODEC_DECIMAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

#define DECIMAL_ONE INT64_C(1000000)
#define DECIMAL_MAX INT64_C(999999999999999999)

enum { DECIMAL_TEXT_MAX = 24 }; /* with sign, point and NUL */

/*
 * Reads a decimal number as JSON writes them ("60", "-0.5", "1e3", "120.000001"), exactly. False
 * when it is no number, has a non-zero digit behind the sixth decimal, or is beyond DECIMAL_MAX.
 */
bool decimal_parse(struct slice text, int64_t *ret_micro);

/* The nearest amount (half away from zero); false for NaN, infinities and beyond DECIMAL_MAX. */
bool decimal_from_double(double value, int64_t *ret_micro);

double decimal_to_double(int64_t micro);

/* Writes the shortest exact text ("60", "0.5", "-1.000001") with NUL; returns its length. */
size_t decimal_format(int64_t micro, char ret_text[DECIMAL_TEXT_MAX]);

#endif
