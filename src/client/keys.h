/*
 * Keys of one account in rotation: pure, time passed in.
 *
 *   ACTIVE --429--> RATE_LIMITED --rest_ms, when not 0--> ACTIVE
 *          --403--> FORBIDDEN
 *          --401, validation failed--> UNAUTHORIZED
 *
 * Not thread-safe. init/fini.
 */
#ifndef EIDER_CLIENT_KEYS_H
#define EIDER_CLIENT_KEYS_H

#include "eider/birdeye.h"

struct key {
    char *secret;
    char label[16]; /* "key-1" */
    enum eider_birdeye_key_state state;
    int64_t back_at_us;      /* monotonic; of RATE_LIMITED, INT64_MAX for never */
    int64_t validated_at_us; /* monotonic; -1: never */
    uint64_t requests;
    uint64_t failures;
    unsigned failures_in_a_row;
    int64_t credits;
    int64_t last_used_us; /* wall time */
};

struct keys {
    struct key items[EIDER_BIRDEYE_KEYS_MAX];
    size_t count;
    size_t turn;
    int64_t rest_us; /* 0: keys that are out stay out */
};

void keys_init(struct keys *keys, int rest_ms);
void keys_fini(struct keys *keys);

/* Adds one; false when there are EIDER_BIRDEYE_KEYS_MAX. The same key twice is one. */
bool keys_add(struct keys *keys, const char *secret);

/* The next active key in turn, or NULL; then *ret_wait_us is when the next is back, INT64_MAX for
 * never. */
struct key *keys_next(struct keys *keys, int64_t now_us, int64_t *ret_wait_us);

/* Counts how a request with the key ended; `status` 0: no answer. */
void keys_result(struct keys *keys, struct key *key, int status, int64_t now_us, int64_t wall_us);

/* Takes a key out whose validation failed. */
void keys_reject(struct key *key);

size_t keys_active(const struct keys *keys);

#endif
