/*
 * Two implementations of CRC32C. Tables: slicing by eight (Kounavis and Berry, 2005). SSE4.2: the
 * instruction has a latency of three cycles and a throughput of one, so three neighbouring blocks
 * are summed at once and joined by "shifting" a sum over the length of a block of zeros, which is
 * linear and therefore a table of 4 x 256 words for each length of block.
 */
#include "wal/crc32c.h"

#include <endian.h>
#include <pthread.h>
#include <string.h>

enum { BLOCK_LONG = 4096, BLOCK_SHORT = 256 };

typedef uint32_t extend_fn(uint32_t crc, const uint8_t *ptr, size_t len);

static const uint32_t polynomial = 0x82F63B78U;

static pthread_once_t tables_once = PTHREAD_ONCE_INIT;
static uint32_t slices[8][256];
static extend_fn *extend;

static void
make_slices(void)
{
    for (uint32_t n = 0; n < 256; n++) {
        uint32_t crc = n;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc & 1U) ? (crc >> 1) ^ polynomial : crc >> 1;
        }
        slices[0][n] = crc;
    }
    for (uint32_t n = 0; n < 256; n++) {
        for (int k = 1; k < 8; k++) {
            uint32_t below = slices[k - 1][n];
            slices[k][n] = (below >> 8) ^ slices[0][below & 0xffU];
        }
    }
}

/* Works on the inverted sum, as the instruction does. */
static uint32_t
extend_portable(uint32_t crc, const uint8_t *ptr, size_t len)
{
    while (len >= 8) {
        uint64_t word;
        memcpy(&word, ptr, sizeof(word));
        word = le64toh(word) ^ crc;
        crc = slices[7][word & 0xff] ^ slices[6][(word >> 8) & 0xff] ^
              slices[5][(word >> 16) & 0xff] ^ slices[4][(word >> 24) & 0xff] ^
              slices[3][(word >> 32) & 0xff] ^ slices[2][(word >> 40) & 0xff] ^
              slices[1][(word >> 48) & 0xff] ^ slices[0][word >> 56];
        ptr += 8;
        len -= 8;
    }
    while (len-- > 0) {
        crc = (crc >> 8) ^ slices[0][(crc ^ *ptr++) & 0xffU];
    }
    return crc;
}

#if defined(__x86_64__)

static uint32_t shift_long[4][256];
static uint32_t shift_short[4][256];

/* Fills the table that takes a sum over `len` zero bytes. */
static void
make_shift(uint32_t table[4][256], size_t len)
{
    uint32_t columns[32];

    for (unsigned bit = 0; bit < 32; bit++) {
        uint32_t crc = UINT32_C(1) << bit;
        for (size_t i = 0; i < len; i++) {
            crc = (crc >> 8) ^ slices[0][crc & 0xffU];
        }
        columns[bit] = crc;
    }
    for (unsigned k = 0; k < 4; k++) {
        for (unsigned n = 0; n < 256; n++) {
            uint32_t sum = 0;
            for (unsigned bit = 0; bit < 8; bit++) {
                sum ^= (n >> bit) & 1U ? columns[8 * k + bit] : 0;
            }
            table[k][n] = sum;
        }
    }
}

static inline uint64_t
shifted(uint32_t table[4][256], uint64_t crc)
{
    return table[0][crc & 0xff] ^ table[1][(crc >> 8) & 0xff] ^ table[2][(crc >> 16) & 0xff] ^
           table[3][(crc >> 24) & 0xff];
}

static inline uint64_t
load(const uint8_t *ptr)
{
    uint64_t word;

    memcpy(&word, ptr, sizeof(word));
    return word;
}

/* Sums as many runs of three blocks as there are; moves *ptr and *len on. */
__attribute__((target("sse4.2"))) static uint64_t
three_at_once(uint64_t crc, const uint8_t **ptr, size_t *len, size_t block, uint32_t table[4][256])
{
    while (*len >= 3 * block) {
        const uint8_t *at = *ptr;
        uint64_t second = 0;
        uint64_t third = 0;
        for (size_t i = 0; i < block; i += 8) {
            crc = __builtin_ia32_crc32di(crc, load(at + i));
            second = __builtin_ia32_crc32di(second, load(at + block + i));
            third = __builtin_ia32_crc32di(third, load(at + 2 * block + i));
        }
        crc = shifted(table, shifted(table, crc) ^ second) ^ third;
        *ptr += 3 * block;
        *len -= 3 * block;
    }
    return crc;
}

__attribute__((target("sse4.2"))) static uint32_t
extend_sse42(uint32_t crc, const uint8_t *ptr, size_t len)
{
    uint64_t sum = crc;

    sum = three_at_once(sum, &ptr, &len, BLOCK_LONG, shift_long);
    sum = three_at_once(sum, &ptr, &len, BLOCK_SHORT, shift_short);
    while (len >= 8) {
        sum = __builtin_ia32_crc32di(sum, load(ptr));
        ptr += 8;
        len -= 8;
    }
    uint32_t narrow = (uint32_t)sum;
    while (len-- > 0) {
        narrow = __builtin_ia32_crc32qi(narrow, *ptr++);
    }
    return narrow;
}

#endif

static void
make_tables(void)
{
    make_slices();
    extend = extend_portable;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2")) {
        make_shift(shift_long, BLOCK_LONG);
        make_shift(shift_short, BLOCK_SHORT);
        extend = extend_sse42;
    }
#endif
}

uint32_t
crc32c(uint32_t crc, const void *ptr, size_t len)
{
    pthread_once(&tables_once, make_tables);
    return ~extend(~crc, ptr, len);
}

uint32_t
crc32c_portable(uint32_t crc, const void *ptr, size_t len)
{
    pthread_once(&tables_once, make_tables);
    return ~extend_portable(~crc, ptr, len);
}
