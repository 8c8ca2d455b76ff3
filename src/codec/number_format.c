/*
 * Writing doubles: Schubfach for the digits, Python's rules for their form.
 *
 * Schubfach in short: v = c * 2^q lies in a rounding interval whose ends are multiples of 2^(q-2).
 * All three are multiplied by 10^-k, where k is chosen so that the interval holds at least one and
 * at most ten whole numbers; products are kept with a sticky last bit ("round to odd"), so that
 * comparing them is exact. The result is the candidate in the interval with fewest digits, and of
 * those the nearest.
 */
#include <assert.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "codec/number.h"
#include "codec/number_internal.h"

enum {
    MANTISSA_BITS = 52,
    EXPONENT_MASK = 0x7ff,
    EXPONENT_BIAS = 1075, /* of the mantissa as a whole number */
    POINT_MIN = -3,       /* Python's repr: plain form from 1e-4 ... */
    POINT_MAX = 16,       /* ... to below 1e16 */
    DIGITS_MAX = 20
};

/* digits * 10^exponent */
struct decimal {
    uint64_t digits;
    int exponent;
};

static inline uint64_t
round_to_odd(const struct number_power *power, uint64_t factor)
{
    struct number_product low = number_multiply(power->low, factor);
    struct number_product high = number_multiply(power->high, factor);
    uint64_t middle = high.low + low.high;

    high.high += middle < high.low;
    return high.high | (middle > 1);
}

/* Among s and s + 1 (and their tens) the one that reads back as v. */
static struct decimal
choose(uint64_t lower, uint64_t upper, uint64_t value, int k)
{
    uint64_t s = value / 4;

    if (s >= 10) {
        uint64_t tens = s / 10;
        bool below = lower <= 40 * tens;
        bool above = 40 * tens + 40 <= upper;
        if (below != above) {
            return (struct decimal){tens + above, k + 1};
        }
    }
    bool below = lower <= 4 * s;
    bool above = 4 * s + 4 <= upper;
    if (below != above) {
        return (struct decimal){s + above, k};
    }
    uint64_t middle = 4 * s + 2;
    bool up = value > middle || (value == middle && (s & 1));
    return (struct decimal){s + up, k};
}

/* False when the table has no power for this magnitude. */
static bool
shortest(uint64_t bits, struct decimal *ret_decimal)
{
    uint64_t fraction = bits & ((1ULL << MANTISSA_BITS) - 1);
    int exponent = (int)(bits >> MANTISSA_BITS & EXPONENT_MASK);

    if (exponent == 0) {
        return false;
    }
    uint64_t c = fraction | 1ULL << MANTISSA_BITS;
    int q = exponent - EXPONENT_BIAS;
    bool odd = c & 1;
    /* At a power of two the double below is half as far away as the one above. */
    bool uneven = fraction == 0 && exponent > 1;
    /* floor(log10(2^q)), of 3/4 * 2^q when uneven */
    int k = (q * 1262611 - (uneven ? 524031 : 0)) >> 22;
    if (-k < NUMBER_POWER_MIN || -k > NUMBER_POWER_MAX) {
        return false;
    }
    /* q + floor(log2(10^-k)) + 1 */
    int shift = q + ((-k * 1741647) >> 19) + 1;
    assert(shift >= 1 && shift <= 4);
    const struct number_power *power = &number_powers[-k - NUMBER_POWER_MIN];
    uint64_t lower = round_to_odd(power, (4 * c - 2 + uneven) << shift);
    uint64_t value = round_to_odd(power, (4 * c) << shift);
    uint64_t upper = round_to_odd(power, (4 * c + 2) << shift);
    *ret_decimal = choose(lower + odd, upper - odd, value, k);
    return true;
}

/* A number of at most four decimals and 15 digits in all, as most are. No two decimals of so few
 * digits are one double: the one that reads back is the shortest. */
static bool
has_few_decimals(double value, struct decimal *ret_decimal)
{
    enum { DECIMALS = 4 };
    const double scale = 1e4;
    double scaled = value * scale;

    if (scaled >= 1e15) {
        return false;
    }
    uint64_t digits = (uint64_t)(scaled + 0.5);
    *ret_decimal = (struct decimal){digits, -DECIMALS};
    return digits > 0 && (double)digits / scale == value;
}

static void
strip_zeros(struct decimal *decimal)
{
    static const struct {
        uint64_t divisor;
        int zeros;
    } steps[] = {{100000000, 8}, {10000, 4}, {100, 2}, {10, 1}};

    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        while (decimal->digits % steps[i].divisor == 0) {
            decimal->digits /= steps[i].divisor;
            decimal->exponent += steps[i].zeros;
        }
    }
}

static size_t
write_digits(uint64_t digits, char dst[DIGITS_MAX])
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";
    char backwards[DIGITS_MAX];
    size_t at = DIGITS_MAX;

    while (digits >= 100) {
        at -= 2;
        memcpy(backwards + at, pairs + 2 * (digits % 100), 2);
        digits /= 100;
    }
    if (digits >= 10) {
        at -= 2;
        memcpy(backwards + at, pairs + 2 * digits, 2);
    } else {
        backwards[--at] = (char)('0' + digits);
    }
    memcpy(dst, backwards + at, DIGITS_MAX - at);
    return DIGITS_MAX - at;
}

/* Plain form; `point` is where the decimal point stands, counted from the first digit. */
static size_t
write_fixed(char *dst, const char *digits, size_t count, int point)
{
    if (point <= 0) {
        size_t zeros = (size_t)-point;
        dst[0] = '0';
        dst[1] = '.';
        memset(dst + 2, '0', zeros);
        memcpy(dst + 2 + zeros, digits, count);
        return 2 + zeros + count;
    }
    size_t whole = (size_t)point;
    if (whole >= count) {
        memcpy(dst, digits, count);
        memset(dst + count, '0', whole - count);
        dst[whole] = '.';
        dst[whole + 1] = '0';
        return whole + 2;
    }
    memcpy(dst, digits, whole);
    dst[whole] = '.';
    memcpy(dst + whole + 1, digits + whole, count - whole);
    return count + 1;
}

static size_t
write_scientific(char *dst, const char *digits, size_t count, int exponent)
{
    size_t len = 0;

    dst[len++] = digits[0];
    if (count > 1) {
        dst[len++] = '.';
        memcpy(dst + len, digits + 1, count - 1);
        len += count - 1;
    }
    dst[len++] = 'e';
    dst[len++] = exponent < 0 ? '-' : '+';
    unsigned magnitude = (unsigned)(exponent < 0 ? -exponent : exponent);
    if (magnitude < 10) {
        dst[len++] = '0';
    }
    return len + write_digits(magnitude, dst + len);
}

/* The very large, the very small and the subnormal: ask the C library until it reads back. */
static struct decimal
ask_library(double value)
{
    char text[NUMBER_F64_MAX];
    struct number number = {0};
    locale_t before = uselocale(number_locale());

    for (int precision = 0; precision < DBL_DECIMAL_DIG; precision++) {
        double back = 0;
        snprintf(text, sizeof(text), "%.*e", precision, value);
        if (number_parse(slice_of(text), &number) && number_to_f64(&number, &back) &&
            back == value) {
            break;
        }
    }
    uselocale(before);
    return (struct decimal){number.digits, number.exponent};
}

size_t
number_format_f64(double value, char ret_text[NUMBER_F64_MAX])
{
    char digits[DIGITS_MAX];
    struct decimal decimal;
    uint64_t bits;
    size_t len = 0;

    if (isnan(value)) {
        memcpy(ret_text, "nan", 4);
        return 3;
    }
    memcpy(&bits, &value, sizeof(bits));
    if (bits >> 63) {
        ret_text[len++] = '-';
        value = -value;
    }
    if (isinf(value)) {
        memcpy(ret_text + len, "inf", 4);
        return len + 3;
    }
    if (value < 1e15 && value == (double)(uint64_t)value) {
        len += write_digits((uint64_t)value, ret_text + len);
        memcpy(ret_text + len, ".0", 3);
        return len + 2;
    }
    if (!has_few_decimals(value, &decimal) && !shortest(bits & ~(1ULL << 63), &decimal)) {
        decimal = ask_library(value);
    }
    strip_zeros(&decimal);
    size_t count = write_digits(decimal.digits, digits);
    int point = (int)count + decimal.exponent;
    if (point >= POINT_MIN && point <= POINT_MAX) {
        len += write_fixed(ret_text + len, digits, count, point);
    } else {
        len += write_scientific(ret_text + len, digits, count, point - 1);
    }
    assert(len < NUMBER_F64_MAX);
    ret_text[len] = '\0';
    return len;
}
