/* What number.c and number_format.c share: a table of 128-bit powers of ten, wide products, the C
 * locale. Private to them. */
#ifndef EIDER_CODEC_NUMBER_INTERNAL_H
#define EIDER_CODEC_NUMBER_INTERNAL_H

#include <locale.h>
#include <stdint.h>

enum { NUMBER_POWER_MIN = -55, NUMBER_POWER_MAX = 55 };

struct number_power {
    uint64_t high;
    uint64_t low;
};

/* 10^q is at index q - NUMBER_POWER_MIN. */
extern const struct number_power number_powers[NUMBER_POWER_MAX - NUMBER_POWER_MIN + 1];

/* A 64 x 64 bit product in two halves. */
struct number_product {
    uint64_t high;
    uint64_t low;
};

__extension__ typedef unsigned __int128 number_u128;

static inline struct number_product
number_multiply(uint64_t a, uint64_t b)
{
    number_u128 product = (number_u128)a * b;

    return (struct number_product){(uint64_t)(product >> 64), (uint64_t)product};
}

/* The "C" locale, made once. */
locale_t number_locale(void);

#endif
