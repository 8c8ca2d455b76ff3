/* Identifiers and randomness. UUID text is 36 characters, lower case, NUL behind (RFC 9562). */
#ifndef EIDER_BASE_ID_H
#define EIDER_BASE_ID_H

#include <stdint.h>

enum { ID_UUID_LEN = 36 };

/* Fills `ret_text` with a version 7 UUID of the given wall time; random bits from the kernel. */
void id_uuid7(int64_t wall_us, char ret_text[ID_UUID_LEN + 1]);

/* Fills `ret_text` with a version 4 (random) UUID. */
void id_uuid4(char ret_text[ID_UUID_LEN + 1]);

/* A small seeded generator (xoshiro256**, Blackman and Vigna 2018) for jitter, tests and demo data;
 * not for secrets. */
struct rng {
    uint64_t s[4];
};

void rng_init(struct rng *rng, uint64_t seed);
uint64_t rng_next(struct rng *rng);

/* Uniform in [0, 1). */
double rng_double(struct rng *rng);

/* Uniform in [0, bound), bound > 0. */
uint64_t rng_below(struct rng *rng, uint64_t bound);

/* Normal with mean 0 and deviation 1 (sum of twelve uniforms; within +-6). */
double rng_normal(struct rng *rng);

#endif
