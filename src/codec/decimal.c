/* Exact decimals; see decimal.h. All of it is whole numbers, so nothing is rounded by accident. */
#include "codec/decimal.h"

#include <math.h>
#include <string.h>

#include "codec/number.h"

enum {
    DECIMALS = 6,
    EXPONENT_MAX = 1 << 20, /* larger ones are cut to this: every digit is out of range anyway */
    POWER_MAX = 17,         /* of the first digit of DECIMAL_MAX */
    MANTISSA_BITS = 53,
    SHIFT_MAX = 80 /* more halvings of a mantissa times a million leave nothing */
};

__extension__ typedef unsigned __int128 u128;

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* What stands behind the "e": an optional sign and at least a digit, to the end of the text. */
static bool
read_exponent(const char *at, const char *end, int64_t *ret_exponent)
{
    bool negative = at < end && *at == '-';
    int64_t exponent = 0;

    at += at < end && (*at == '-' || *at == '+');
    if (at == end) {
        return false;
    }
    for (; at < end; at++) {
        if (!is_digit(*at)) {
            return false;
        }
        exponent = exponent < EXPONENT_MAX ? exponent * 10 + (*at - '0') : EXPONENT_MAX;
    }
    *ret_exponent = negative ? -exponent : exponent;
    return true;
}

/* Where the digits and the point end, and how many digits stand before the point. */
static const char *
skip_digits(const char *at, const char *end, size_t *ret_whole, size_t *ret_count)
{
    size_t count = 0;
    bool point = false;

    *ret_whole = 0;
    for (; at < end && (is_digit(*at) || (*at == '.' && !point)); at++) {
        if (*at == '.') {
            point = true;
        } else {
            count++;
            *ret_whole += !point;
        }
    }
    *ret_count = count;
    return at;
}

bool
decimal_parse(struct slice text, int64_t *ret_micro)
{
    const char *at = text.ptr;
    const char *end = text.ptr + text.len;
    bool negative = text.len > 0 && *at == '-';
    int64_t exponent = 0;
    uint64_t sum = 0;
    size_t whole;
    size_t count;

    at += negative;
    const char *rest = skip_digits(at, end, &whole, &count);
    if (count == 0) {
        return false;
    }
    if (rest < end &&
        ((*rest != 'e' && *rest != 'E') || !read_exponent(rest + 1, end, &exponent))) {
        return false;
    }
    /* The power of ten that the first digit stands for, in millionths. */
    int64_t power = (int64_t)whole - 1 + exponent + DECIMALS;
    for (; at < rest; at++) {
        if (*at == '.') {
            continue;
        }
        if (*at != '0') {
            if (power < 0 || power > POWER_MAX) {
                return false;
            }
            /* Below 10 * 10^17 in all, for every power comes once. */
            sum += (uint64_t)(*at - '0') * number_pow10((unsigned)power);
        }
        power--;
    }
    *ret_micro = negative ? -(int64_t)sum : (int64_t)sum;
    return true;
}

bool
decimal_from_double(double value, int64_t *ret_micro)
{
    int exponent;

    if (!isfinite(value) || fabs(value) > (double)DECIMAL_MAX / (double)DECIMAL_ONE) {
        return false;
    }
    /* |value| = mantissa * 2^-shift exactly, and shift > 0 for all values in range. */
    double fraction = frexp(fabs(value), &exponent);
    u128 scaled = (u128)ldexp(fraction, MANTISSA_BITS) * (u128)DECIMAL_ONE;
    int shift = MANTISSA_BITS - exponent;
    if (shift > SHIFT_MAX) {
        *ret_micro = 0;
        return true;
    }
    uint64_t micro = (uint64_t)((scaled + ((u128)1 << (shift - 1))) >> shift);
    if (micro > (uint64_t)DECIMAL_MAX) {
        return false;
    }
    *ret_micro = value < 0 ? -(int64_t)micro : (int64_t)micro;
    return true;
}

double
decimal_to_double(int64_t micro)
{
    const int64_t exact = INT64_C(1) << MANTISSA_BITS;
    char text[DECIMAL_TEXT_MAX];
    double value = 0;

    if (micro >= -exact && micro <= exact) {
        return (double)micro / (double)DECIMAL_ONE;
    }
    /* The number itself would be rounded, and the quotient a second time. */
    number_parse_f64(slice_make(text, decimal_format(micro, text)), &value);
    return value;
}

size_t
decimal_format(int64_t micro, char ret_text[DECIMAL_TEXT_MAX])
{
    uint64_t rest = micro < 0 ? 0 - (uint64_t)micro : (uint64_t)micro;
    char digits[DECIMAL_TEXT_MAX];
    size_t at = sizeof(digits);
    bool shown = false;

    for (size_t i = 0; i < DECIMALS; i++, rest /= 10) {
        shown |= rest % 10 != 0; /* zeros at the end say nothing */
        if (shown) {
            digits[--at] = (char)('0' + (int)(rest % 10));
        }
    }
    if (shown) {
        digits[--at] = '.';
    }
    do {
        digits[--at] = (char)('0' + (int)(rest % 10));
        rest /= 10;
    } while (rest > 0);
    if (micro < 0) {
        digits[--at] = '-';
    }
    size_t len = sizeof(digits) - at;
    memcpy(ret_text, digits + at, len);
    ret_text[len] = '\0';
    return len;
}
