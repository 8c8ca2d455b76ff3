/* Reading numbers; see number.h for the two algorithms. */
#include "codec/number.h"

#include <assert.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "codec/number_internal.h"
#include "codec/swar.h"

enum {
    DIGITS_EXACT = 19, /* any 19 digits fit 64 bits */
    EXPONENT_CAP = 99999,
    CLINGER_MAX = 22, /* 10^22 is the last power of ten that a double holds exactly */
    MANTISSA_BITS = 52,
    EXPONENT_BIAS = 1023
};

#define MANTISSA_EXACT (1ULL << 53)

static const uint64_t powers[] = {1ULL,
                                  10ULL,
                                  100ULL,
                                  1000ULL,
                                  10000ULL,
                                  100000ULL,
                                  1000000ULL,
                                  10000000ULL,
                                  100000000ULL,
                                  1000000000ULL,
                                  10000000000ULL,
                                  100000000000ULL,
                                  1000000000000ULL,
                                  10000000000000ULL,
                                  100000000000000ULL,
                                  1000000000000000ULL,
                                  10000000000000000ULL,
                                  100000000000000000ULL,
                                  1000000000000000000ULL,
                                  10000000000000000000ULL};

static const double exact_powers[CLINGER_MAX + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                     1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                     1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

uint64_t
number_pow10(unsigned power)
{
    assert(power <= DIGITS_EXACT);
    return powers[power];
}

/* Appends the run of digits at `at` to *digits (wrapping past 64 bits) and returns its end. */
static inline const char *
scan_digits(const char *at, const char *end, uint64_t *digits)
{
    while (end - at >= 8) {
        uint64_t word = swar_load(at);
        uint64_t other = swar_not_digit(word);
        if (other == 0) {
            *digits = *digits * 100000000 + swar_digits(word);
            at += 8;
            continue;
        }
        unsigned count = swar_first(other);
        if (count == 0) {
            return at;
        }
        *digits = *digits * powers[count] + swar_digits(word << (64 - 8 * count));
        return at + count;
    }
    while (at < end && *at >= '0' && *at <= '9') {
        *digits = *digits * 10 + (uint64_t)(*at - '0');
        at++;
    }
    return at;
}

/* Reads [+-] digits behind an 'e'; NULL when there is no digit. */
static const char *
scan_exponent(const char *at, const char *end, int32_t *ret_exponent)
{
    bool negative = false;
    int32_t value = 0;

    if (at < end && (*at == '+' || *at == '-')) {
        negative = *at == '-';
        at++;
    }
    const char *first = at;
    while (at < end && *at >= '0' && *at <= '9') {
        value = value < EXPONENT_CAP ? value * 10 + (*at - '0') : EXPONENT_CAP;
        at++;
    }
    *ret_exponent = negative ? -value : value;
    return at == first ? NULL : at;
}

/* Whether the digits of a long number do not fit: zeros in front do not count. */
static bool
is_truncated(const struct number *number)
{
    size_t zeros = 0;

    for (size_t i = number->negative; i < number->text.len; i++) {
        if (number->text.ptr[i] == '0') {
            zeros++;
        } else if (number->text.ptr[i] != '.') {
            break;
        }
    }
    return number->int_digits + number->frac_digits - zeros > DIGITS_EXACT;
}

const char *
number_scan(const char *at, const char *end, struct number *ret_number)
{
    const char *start = at;
    struct number number = {.text.ptr = at};

    if (at < end && *at == '-') {
        number.negative = true;
        at++;
    }
    const char *first = at;
    at = scan_digits(at, end, &number.digits);
    number.int_digits = (uint32_t)(at - first);
    if (at < end && *at == '.') {
        number.has_point = true;
        first = ++at;
        at = scan_digits(at, end, &number.digits);
        number.frac_digits = (uint32_t)(at - first);
    }
    if (number.int_digits + number.frac_digits == 0) {
        return NULL;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        const char *behind = scan_exponent(at + 1, end, &number.exponent);
        if (behind) {
            number.has_exponent = true;
            at = behind;
        }
    }
    number.text.len = (size_t)(at - start);
    if (number.text.len > NUMBER_TEXT_MAX) {
        number.truncated = true;
    } else {
        number.exponent -= (int32_t)number.frac_digits;
        if (number.int_digits + number.frac_digits > DIGITS_EXACT) {
            number.truncated = is_truncated(&number);
        }
    }
    *ret_number = number;
    return at;
}

bool
number_parse(struct slice text, struct number *ret_number)
{
    struct number number;
    const char *end = text.ptr + text.len;

    if (number_scan(text.ptr, end, &number) != end) {
        return false;
    }
    *ret_number = number;
    return true;
}

/*
 * Eisel and Lemire's product: digits * 10^exponent, digits not 0, exponent within the table, which
 * keeps the result normal. False in the rare case that 128 bits cannot decide.
 */
static bool
multiply_to_f64(uint64_t digits, int32_t exponent, double *ret_value)
{
    const struct number_power *power = &number_powers[exponent - NUMBER_POWER_MIN];
    int shift = __builtin_clzll(digits);
    struct number_product product = number_multiply(digits << shift, power->high);

    if ((product.high & 0x1ff) == 0x1ff) {
        struct number_product second = number_multiply(digits << shift, power->low);
        product.low += second.high;
        product.high += product.low < second.high;
        if (product.low == UINT64_MAX) {
            return false;
        }
    }
    int upper = (int)(product.high >> 63);
    int drop = upper + 64 - MANTISSA_BITS - 3;
    uint64_t mantissa = product.high >> drop;
    /* floor(exponent * log2(10)) + 63 */
    int32_t binary = ((152170 + 65536) * exponent >> 16) + 63 + upper - shift + EXPONENT_BIAS;
    if (product.low <= 1 && exponent >= -4 && exponent <= 23 && (mantissa & 3) == 1 &&
        mantissa << drop == product.high) {
        mantissa &= ~1ULL; /* exactly between two doubles: to even */
    }
    mantissa = (mantissa + (mantissa & 1)) >> 1;
    if (mantissa >= 2ULL << MANTISSA_BITS) {
        mantissa = 1ULL << MANTISSA_BITS;
        binary++;
    }
    assert(binary > 0 && binary < 2 * EXPONENT_BIAS + 1);
    uint64_t bits = (mantissa & ~(1ULL << MANTISSA_BITS)) | (uint64_t)binary << MANTISSA_BITS;
    memcpy(ret_value, &bits, sizeof(bits));
    return true;
}

static pthread_once_t locale_once = PTHREAD_ONCE_INIT;
static locale_t c_locale;

static void
make_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    assert(c_locale != (locale_t)0); /* glibc has it built in */
}

locale_t
number_locale(void)
{
    pthread_once(&locale_once, make_locale);
    return c_locale;
}

static bool
slow_to_f64(const struct number *number, double *ret_value)
{
    char text[NUMBER_TEXT_MAX + 1];

    if (!slice_to_cstr(number->text, text, sizeof(text))) {
        return false;
    }
    double value = strtod_l(text, NULL, number_locale());
    if (isinf(value)) {
        return false;
    }
    *ret_value = value;
    return true;
}

bool
number_to_f64(const struct number *number, double *ret_value)
{
    double value;

    if (number->truncated) {
        return slow_to_f64(number, ret_value);
    }
    if (number->digits == 0) {
        value = 0;
    } else if (number->digits <= MANTISSA_EXACT && number->exponent >= -CLINGER_MAX &&
               number->exponent <= CLINGER_MAX) {
        value = (double)number->digits;
        value = number->exponent < 0 ? value / exact_powers[-number->exponent]
                                     : value * exact_powers[number->exponent];
    } else if (number->exponent < NUMBER_POWER_MIN || number->exponent > NUMBER_POWER_MAX ||
               !multiply_to_f64(number->digits, number->exponent, &value)) {
        return slow_to_f64(number, ret_value);
    }
    *ret_value = number->negative ? -value : value;
    return true;
}

/* Twenty digits may still fit 64 bits, and zeros behind the point are no fraction. */
static bool
long_to_whole(const struct number *number, uint64_t *ret_value)
{
    const char *at = number->text.ptr + number->negative;
    const char *end = number->text.ptr + number->text.len;
    uint64_t whole = 0;

    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        if (__builtin_mul_overflow(whole, 10, &whole) ||
            __builtin_add_overflow(whole, (uint64_t)(*at - '0'), &whole)) {
            return false;
        }
    }
    for (; at < end; at++) {
        if (*at != '.' && *at != '0') {
            return false;
        }
    }
    *ret_value = whole;
    return true;
}

/* The magnitude as a whole number. */
static bool
to_whole(const struct number *number, uint64_t *ret_value)
{
    if (number->truncated) {
        return long_to_whole(number, ret_value);
    }
    if (number->exponent == 0 || number->digits == 0) {
        *ret_value = number->digits;
        return true;
    }
    if (number->exponent > 0) {
        return number->exponent <= DIGITS_EXACT &&
               !__builtin_mul_overflow(number->digits, powers[number->exponent], ret_value);
    }
    if (number->exponent < -DIGITS_EXACT || number->digits % powers[-number->exponent] != 0) {
        return false;
    }
    *ret_value = number->digits / powers[-number->exponent];
    return true;
}

bool
number_to_i64(const struct number *number, int64_t *ret_value)
{
    uint64_t whole;

    if (!to_whole(number, &whole) || whole > (uint64_t)INT64_MAX + number->negative) {
        return false;
    }
    *ret_value = number->negative ? (int64_t)(0 - whole) : (int64_t)whole;
    return true;
}

bool
number_to_u64(const struct number *number, uint64_t *ret_value)
{
    uint64_t whole;

    if (!to_whole(number, &whole) || (number->negative && whole > 0)) {
        return false;
    }
    *ret_value = whole;
    return true;
}

bool
number_parse_i64(struct slice text, int64_t *ret_value)
{
    const char *end = text.ptr + text.len;
    bool negative = text.len > 0 && *text.ptr == '-';
    const char *first = text.ptr + negative;
    uint64_t digits = 0;

    if (first == end || scan_digits(first, end, &digits) != end) {
        return false;
    }
    while (end - first > DIGITS_EXACT && *first == '0') {
        first++;
    }
    if (end - first > DIGITS_EXACT || digits > (uint64_t)INT64_MAX + negative) {
        return false;
    }
    *ret_value = negative ? (int64_t)(0 - digits) : (int64_t)digits;
    return true;
}

bool
number_parse_f64(struct slice text, double *ret_value)
{
    struct number number;

    return number_parse(text, &number) && number_to_f64(&number, ret_value);
}
