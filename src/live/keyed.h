/*
 * A bounded table of values by text key, with an order from newest to oldest; what makes room for a
 * new key past the bound is the oldest. Slots keep their number for as long as their key lives, so
 * that an index is a handle and walking 0 .. count - 1 is a stable order.
 *
 * Memory: init/fini; keys are copied, values are plain memory without a destructor. Not locked.
 */
#ifndef EIDER_LIVE_KEYED_H
#define EIDER_LIVE_KEYED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum { KEYED_NONE = -1, KEYED_KEY_BYTES_MAX = 256 };

struct keyed_slot {
    char *key;
    uint32_t key_len;
    uint32_t hash;
    int32_t chain; /* next slot of the same head */
    int32_t newer, older;
};

struct keyed {
    size_t max;
    size_t count;
    size_t capacity;
    size_t value_size;
    struct keyed_slot *slots;
    char *values;
    int32_t *heads;
    size_t head_count; /* a power of two */
    int32_t newest, oldest;
};

/* max: 1 .. INT32_MAX / 2. */
void keyed_init(struct keyed *keyed, size_t max, size_t value_size);
void keyed_fini(struct keyed *keyed);

/* The slot of a key, or KEYED_NONE. */
int32_t keyed_find(const struct keyed *keyed, struct slice key);

/* Adds a key that is not there (at most KEYED_KEY_BYTES_MAX long) as the newest, with a value of
 * zeros. When the table is full the oldest goes; *ret_evicted says so. */
int32_t keyed_add(struct keyed *keyed, struct slice key, bool *ret_evicted);

struct slice keyed_key(const struct keyed *keyed, int32_t slot);
void *keyed_value(const struct keyed *keyed, int32_t slot);

/* Makes a slot the newest. */
void keyed_touch(struct keyed *keyed, int32_t slot);

/* Puts a slot just behind (older than) another one. */
void keyed_place_behind(struct keyed *keyed, int32_t slot, int32_t other);

/* Order: from keyed->newest on, until KEYED_NONE. */
static inline int32_t
keyed_older(const struct keyed *keyed, int32_t slot)
{
    return keyed->slots[slot].older;
}

#endif
