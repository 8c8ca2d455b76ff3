/* Chained hashing over slots in one array, and a list through them. */
#include "live/keyed.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

enum { FIRST_CAPACITY = 16 };

void
keyed_init(struct keyed *keyed, size_t max, size_t value_size)
{
    assert(max > 0 && max <= INT32_MAX / 2);
    *keyed = (struct keyed){
        .max = max, .value_size = value_size, .newest = KEYED_NONE, .oldest = KEYED_NONE};
}

void
keyed_fini(struct keyed *keyed)
{
    for (size_t i = 0; i < keyed->count; i++) {
        free(keyed->slots[i].key);
    }
    free(keyed->slots);
    free(keyed->values);
    free(keyed->heads);
    *keyed = (struct keyed){.newest = KEYED_NONE, .oldest = KEYED_NONE};
}

/* FNV-1a (Fowler, Noll, Vo), folded to spread into the low bits. */
static uint32_t
hash_of(struct slice key)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < key.len; i++) {
        hash = (hash ^ (unsigned char)key.ptr[i]) * UINT64_C(0x100000001b3);
    }
    return (uint32_t)(hash ^ (hash >> 32));
}

static int32_t *
head_of(const struct keyed *keyed, uint32_t hash)
{
    return &keyed->heads[hash & (keyed->head_count - 1)];
}

int32_t
keyed_find(const struct keyed *keyed, struct slice key)
{
    if (keyed->count == 0) {
        return KEYED_NONE;
    }
    uint32_t hash = hash_of(key);
    for (int32_t at = *head_of(keyed, hash); at != KEYED_NONE; at = keyed->slots[at].chain) {
        const struct keyed_slot *slot = &keyed->slots[at];
        if (slot->hash == hash && slice_eq(slice_make(slot->key, slot->key_len), key)) {
            return at;
        }
    }
    return KEYED_NONE;
}

static void
grow(struct keyed *keyed)
{
    size_t capacity = keyed->capacity ? keyed->capacity * 2 : FIRST_CAPACITY;

    keyed->slots = mem_resize(keyed->slots, capacity, sizeof(*keyed->slots));
    keyed->values = mem_resize(keyed->values, capacity, keyed->value_size);
    keyed->heads = mem_resize(keyed->heads, capacity * 2, sizeof(*keyed->heads));
    keyed->capacity = capacity;
    keyed->head_count = capacity * 2;
    for (size_t i = 0; i < keyed->head_count; i++) {
        keyed->heads[i] = KEYED_NONE;
    }
    for (size_t i = 0; i < keyed->count; i++) {
        int32_t *head = head_of(keyed, keyed->slots[i].hash);
        keyed->slots[i].chain = *head;
        *head = (int32_t)i;
    }
}

static void
list_remove(struct keyed *keyed, int32_t at)
{
    struct keyed_slot *slot = &keyed->slots[at];

    *(slot->newer == KEYED_NONE ? &keyed->newest : &keyed->slots[slot->newer].older) = slot->older;
    *(slot->older == KEYED_NONE ? &keyed->oldest : &keyed->slots[slot->older].newer) = slot->newer;
}

static void
list_push_newest(struct keyed *keyed, int32_t at)
{
    keyed->slots[at].newer = KEYED_NONE;
    keyed->slots[at].older = keyed->newest;
    *(keyed->newest == KEYED_NONE ? &keyed->oldest : &keyed->slots[keyed->newest].newer) = at;
    keyed->newest = at;
}

/* Takes the oldest out of chain and list and returns its slot. */
static int32_t
evict(struct keyed *keyed)
{
    int32_t at = keyed->oldest;
    struct keyed_slot *slot = &keyed->slots[at];
    int32_t *link = head_of(keyed, slot->hash);

    while (*link != at) {
        link = &keyed->slots[*link].chain;
    }
    *link = slot->chain;
    list_remove(keyed, at);
    free(slot->key);
    return at;
}

int32_t
keyed_add(struct keyed *keyed, struct slice key, bool *ret_evicted)
{
    int32_t at;

    assert(key.len <= KEYED_KEY_BYTES_MAX);
    assert(keyed_find(keyed, key) == KEYED_NONE);
    *ret_evicted = keyed->count == keyed->max;
    if (*ret_evicted) {
        at = evict(keyed);
    } else {
        if (keyed->count == keyed->capacity) {
            grow(keyed);
        }
        at = (int32_t)keyed->count++;
    }
    struct keyed_slot *slot = &keyed->slots[at];
    *slot = (struct keyed_slot){
        .key = mem_strdup(key), .key_len = (uint32_t)key.len, .hash = hash_of(key)};
    int32_t *head = head_of(keyed, slot->hash);
    slot->chain = *head;
    *head = at;
    list_push_newest(keyed, at);
    memset(keyed_value(keyed, at), 0, keyed->value_size);
    return at;
}

struct slice
keyed_key(const struct keyed *keyed, int32_t slot)
{
    return slice_make(keyed->slots[slot].key, keyed->slots[slot].key_len);
}

void *
keyed_value(const struct keyed *keyed, int32_t slot)
{
    assert(slot >= 0 && (size_t)slot < keyed->count);
    return keyed->values + (size_t)slot * keyed->value_size;
}

void
keyed_touch(struct keyed *keyed, int32_t slot)
{
    if (keyed->newest != slot) {
        list_remove(keyed, slot);
        list_push_newest(keyed, slot);
    }
}

void
keyed_place_behind(struct keyed *keyed, int32_t slot, int32_t other)
{
    assert(slot != other);
    list_remove(keyed, slot);
    int32_t older = keyed->slots[other].older;
    keyed->slots[slot].newer = other;
    keyed->slots[slot].older = older;
    keyed->slots[other].older = slot;
    *(older == KEYED_NONE ? &keyed->oldest : &keyed->slots[older].newer) = slot;
}
