/*
 * Eight bytes at a time in one 64-bit word (SWAR), for the scanners of this part. Little-endian:
 * the first byte in memory is the lowest of the word. A mask has the top bit set in each byte that
 * matched; only its lowest set bit is exact, which is all that "where is the first" needs.
 * Background: Warren, Hacker's Delight, chapter 6.
 */
#ifndef EIDER_CODEC_SWAR_H
#define EIDER_CODEC_SWAR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the scanners are little-endian");

#define SWAR_ONES 0x0101010101010101ULL
#define SWAR_TOPS 0x8080808080808080ULL

static inline uint64_t
swar_load(const char *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof(word));
    return word;
}

/* Bytes equal to c. */
static inline uint64_t
swar_equal(uint64_t word, char c)
{
    uint64_t differ = word ^ (SWAR_ONES * (unsigned char)c);

    return (differ - SWAR_ONES) & ~differ & SWAR_TOPS;
}

/* Bytes below `bound` (1..128). */
static inline uint64_t
swar_below(uint64_t word, unsigned char bound)
{
    return (word - SWAR_ONES * bound) & ~word & SWAR_TOPS;
}

/* Bytes of 128 and more. */
static inline uint64_t
swar_high(uint64_t word)
{
    return word & SWAR_TOPS;
}

/* Bytes that are no ASCII digit; exact in every byte. */
static inline uint64_t
swar_not_digit(uint64_t word)
{
    uint64_t differ = word ^ (SWAR_ONES * '0');

    return (((differ & ~SWAR_TOPS) + SWAR_ONES * (0x7f - 9)) | differ) & SWAR_TOPS;
}

/* Index of the first byte of a mask that is not 0. */
static inline unsigned
swar_first(uint64_t mask)
{
    return (unsigned)__builtin_ctzll(mask) >> 3;
}

/* The value of eight ASCII digits, or of a word whose lower bytes are 0. */
static inline uint64_t
swar_digits(uint64_t word)
{
    word &= SWAR_ONES * 0x0f;
    word = (word * 10 + (word >> 8)) & 0x00ff00ff00ff00ffULL;
    word = (word * 100 + (word >> 16)) & 0x0000ffff0000ffffULL;
    return (word * 10000 + (word >> 32)) & 0xffffffffULL;
}

#endif
