/* UUIDs from the kernel's random bytes, and a seeded generator. */
#include "base/id.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/random.h>

static void
kernel_random(uint8_t *dst, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t got = getrandom(dst + done, len - done, 0);
        if (got > 0) {
            done += (size_t)got;
        }
    }
}

/* Random bytes ahead for one thread: asking the kernel costs more than all the rest of an id. A
 * process that forks must not give its children the same ones. */
enum { POOL_IDS = 32, UUID_BYTES = 16 };

struct pool {
    uint8_t bytes[POOL_IDS * UUID_BYTES];
    size_t left; /* at the end of `bytes` */
    unsigned life;
};

static _Thread_local struct pool pool;
static atomic_uint life; /* 0: nobody watches for forks yet */
static pthread_once_t watched = PTHREAD_ONCE_INIT;

static void
begin_life(void)
{
    atomic_fetch_add(&life, 1);
}

static void
watch_forks(void)
{
    /* Without memory for the handler every id asks the kernel: life stays 0. */
    if (pthread_atfork(NULL, NULL, begin_life) == 0) {
        begin_life();
    }
}

static void
pooled_random(uint8_t ret_bytes[UUID_BYTES])
{
    pthread_once(&watched, watch_forks);
    unsigned now = atomic_load_explicit(&life, memory_order_relaxed);
    if (now == 0) {
        kernel_random(ret_bytes, UUID_BYTES);
        return;
    }
    if (pool.left == 0 || pool.life != now) {
        kernel_random(pool.bytes, sizeof(pool.bytes));
        pool.left = sizeof(pool.bytes);
        pool.life = now;
    }
    memcpy(ret_bytes, pool.bytes + sizeof(pool.bytes) - pool.left, UUID_BYTES);
    pool.left -= UUID_BYTES;
}

static void
format_uuid(const uint8_t bytes[16], char ret_text[ID_UUID_LEN + 1])
{
    static const char hex[] = "0123456789abcdef";
    size_t at = 0;

    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            ret_text[at++] = '-';
        }
        ret_text[at++] = hex[bytes[i] >> 4];
        ret_text[at++] = hex[bytes[i] & 15];
    }
    ret_text[at] = '\0';
    assert(at == ID_UUID_LEN);
}

void
id_uuid7(int64_t wall_us, char ret_text[ID_UUID_LEN + 1])
{
    uint8_t bytes[16];
    uint64_t millis = (uint64_t)(wall_us / 1000);

    pooled_random(bytes);
    for (int i = 0; i < 6; i++) {
        bytes[i] = (uint8_t)(millis >> (40 - 8 * i));
    }
    bytes[6] = (uint8_t)(0x70 | (bytes[6] & 0x0f));
    bytes[8] = (uint8_t)(0x80 | (bytes[8] & 0x3f));
    format_uuid(bytes, ret_text);
}

void
id_uuid4(char ret_text[ID_UUID_LEN + 1])
{
    uint8_t bytes[16];

    kernel_random(bytes, sizeof(bytes));
    bytes[6] = (uint8_t)(0x40 | (bytes[6] & 0x0f));
    bytes[8] = (uint8_t)(0x80 | (bytes[8] & 0x3f));
    format_uuid(bytes, ret_text);
}

void
rng_init(struct rng *rng, uint64_t seed)
{
    /* splitmix64 spreads the seed over the state. */
    for (int i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15ULL;
        uint64_t z = seed;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        rng->s[i] = z ^ (z >> 31);
    }
}

static uint64_t
rotate_left(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

uint64_t
rng_next(struct rng *rng)
{
    uint64_t *s = rng->s;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

double
rng_double(struct rng *rng)
{
    return (double)(rng_next(rng) >> 11) * 0x1.0p-53;
}

uint64_t
rng_below(struct rng *rng, uint64_t bound)
{
    assert(bound > 0);
    return rng_next(rng) % bound;
}

double
rng_normal(struct rng *rng)
{
    double sum = 0;

    for (int i = 0; i < 12; i++) {
        sum += rng_double(rng);
    }
    return sum - 6.0;
}
