/*
 * Recent ids stand in a ring in the order they came, found through an open-addressed table of ring
 * places. What the ring pushes out goes into a Bloom filter of layers, each four times the one
 * before, so that nothing is ever hashed anew.
 */
#include "meter/ids.h"

#include <assert.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/mem.h"

enum {
    RING_FIRST = 64,
    LAYERS_MAX = 10, /* 3.7 * 10^11 ids */
    LAYER_FIRST_IDS = 1 << 20,
    LAYER_BITS_PER_ID = 22,
    LAYER_PROBES = 15,
    SLOT_EMPTY = 0 /* in the table: ring place + 1 */
};

struct recent_id {
    XXH128_hash_t hash;
    struct ids_entry entry;
    bool dead; /* removed from amidst the ring */
};

struct layer {
    uint64_t *words;
    uint64_t bit_count;
    uint64_t ids;
    uint64_t ids_max;
};

struct ids {
    size_t recent_max;
    struct recent_id *ring;
    size_t ring_capacity; /* a power of two, at most the one that recent_max needs */
    size_t ring_first;    /* place of the oldest */
    size_t ring_used;     /* dead ones included */
    size_t recent;
    uint32_t *table; /* twice the ring's capacity */
    struct layer layers[LAYERS_MAX];
    size_t layer_count;
    uint64_t old;
    bool complete;
};

static XXH128_hash_t
hash_of(struct slice id)
{
    return XXH3_128bits(id.len > 0 ? id.ptr : "", id.len);
}

static bool
hash_eq(XXH128_hash_t a, XXH128_hash_t b)
{
    return a.low64 == b.low64 && a.high64 == b.high64;
}

struct ids *
ids_new(size_t recent_max)
{
    struct ids *ids = mem_zalloc(1, sizeof(*ids));

    assert(recent_max > 0);
    ids->recent_max = recent_max < IDS_RECENT_MAX ? recent_max : IDS_RECENT_MAX;
    ids->complete = true;
    return ids;
}

void
ids_free(struct ids *ids)
{
    if (!ids) {
        return;
    }
    for (size_t i = 0; i < ids->layer_count; i++) {
        free(ids->layers[i].words);
    }
    free(ids->ring);
    free(ids->table);
    free(ids);
}

/* ---- the table ---- */

static size_t
table_mask(const struct ids *ids)
{
    return 2 * ids->ring_capacity - 1;
}

/* The slot of a hash, or the empty one where it would stand. */
static size_t
find_slot(const struct ids *ids, XXH128_hash_t hash)
{
    size_t mask = table_mask(ids);
    size_t slot = hash.low64 & mask;

    while (ids->table[slot] != SLOT_EMPTY && !hash_eq(ids->ring[ids->table[slot] - 1].hash, hash)) {
        slot = (slot + 1) & mask;
    }
    return slot;
}

/* Empties a slot and moves back what stands behind it, so that no search ends too soon. */
static void
clear_slot(struct ids *ids, size_t slot)
{
    size_t mask = table_mask(ids);
    size_t next = slot;

    for (;;) {
        ids->table[slot] = SLOT_EMPTY;
        do {
            next = (next + 1) & mask;
            if (ids->table[next] == SLOT_EMPTY) {
                return;
            }
            /* Stays if its home lies behind the hole. */
        } while (((next - (ids->ring[ids->table[next] - 1].hash.low64 & mask)) & mask) <
                 ((next - slot) & mask));
        ids->table[slot] = ids->table[next];
        slot = next;
    }
}

static void
grow_ring(struct ids *ids)
{
    size_t capacity = ids->ring_capacity ? 2 * ids->ring_capacity : RING_FIRST;
    struct recent_id *ring = mem_zalloc(capacity, sizeof(*ring));

    for (size_t i = 0; i < ids->ring_used; i++) {
        ring[i] = ids->ring[(ids->ring_first + i) & (ids->ring_capacity - 1)];
    }
    free(ids->ring);
    free(ids->table);
    ids->ring = ring;
    ids->ring_capacity = capacity;
    ids->ring_first = 0;
    ids->table = mem_zalloc(2 * capacity, sizeof(*ids->table));
    for (size_t i = 0; i < ids->ring_used; i++) {
        if (!ring[i].dead) {
            ids->table[find_slot(ids, ring[i].hash)] = (uint32_t)(i + 1);
        }
    }
}

/* ---- the filter ---- */

/* The bit of probe `i`, spread over the layer by the upper half of a product. */
static uint64_t
probe(const struct layer *layer, XXH128_hash_t hash, unsigned i)
{
    uint64_t mixed = hash.low64 + i * (hash.high64 | 1);

    /* The sums of neighbouring probes are too much alike for the multiplication alone. */
    mixed ^= mixed >> 32;
    mixed *= UINT64_C(0x9e3779b97f4a7c15);
    __extension__ unsigned __int128 wide = (unsigned __int128)mixed * layer->bit_count;
    return (uint64_t)(wide >> 64);
}

static bool
layer_has(const struct layer *layer, XXH128_hash_t hash)
{
    for (unsigned i = 0; i < LAYER_PROBES; i++) {
        uint64_t bit = probe(layer, hash, i);
        if (!(layer->words[bit / 64] >> (bit % 64) & 1)) {
            return false;
        }
    }
    return true;
}

static struct layer *
layer_with_room(struct ids *ids)
{
    size_t count = ids->layer_count;

    if (count > 0 &&
        (ids->layers[count - 1].ids < ids->layers[count - 1].ids_max || count == LAYERS_MAX)) {
        return &ids->layers[count - 1];
    }
    struct layer *layer = &ids->layers[ids->layer_count++];
    layer->ids_max = (uint64_t)LAYER_FIRST_IDS << (2 * count);
    layer->bit_count = layer->ids_max * LAYER_BITS_PER_ID;
    layer->words = mem_zalloc(layer->bit_count / 64, sizeof(*layer->words));
    return layer;
}

static void
add_old(struct ids *ids, XXH128_hash_t hash)
{
    struct layer *layer = layer_with_room(ids);

    for (unsigned i = 0; i < LAYER_PROBES; i++) {
        uint64_t bit = probe(layer, hash, i);
        layer->words[bit / 64] |= UINT64_C(1) << (bit % 64);
    }
    layer->ids++;
    ids->old++;
}

/* ---- the interface ---- */

enum ids_found
ids_find(const struct ids *ids, struct slice id, struct ids_entry *ret_entry)
{
    XXH128_hash_t hash = hash_of(id);

    if (ids->recent > 0) {
        uint32_t place = ids->table[find_slot(ids, hash)];
        if (place != SLOT_EMPTY) {
            if (ret_entry) {
                *ret_entry = ids->ring[place - 1].entry;
            }
            return IDS_RECENT;
        }
    }
    if (!ids->complete) {
        return IDS_MAYBE_OLD;
    }
    for (size_t i = ids->layer_count; i > 0; i--) {
        if (layer_has(&ids->layers[i - 1], hash)) {
            return IDS_MAYBE_OLD;
        }
    }
    return IDS_UNKNOWN;
}

static void
push_out_oldest(struct ids *ids)
{
    struct recent_id *oldest = &ids->ring[ids->ring_first];

    if (!oldest->dead) {
        clear_slot(ids, find_slot(ids, oldest->hash));
        add_old(ids, oldest->hash);
        ids->recent--;
    }
    ids->ring_first = (ids->ring_first + 1) & (ids->ring_capacity - 1);
    ids->ring_used--;
}

void
ids_add(struct ids *ids, struct slice id, const struct ids_entry *entry)
{
    XXH128_hash_t hash = hash_of(id);

    if (ids->recent > 0) {
        uint32_t known = ids->table[find_slot(ids, hash)];
        if (known != SLOT_EMPTY) {
            ids->ring[known - 1].entry = *entry;
            return;
        }
    }
    if (ids->ring_used == ids->recent_max) {
        push_out_oldest(ids);
    }
    if (ids->ring_used == ids->ring_capacity) {
        grow_ring(ids);
    }
    size_t place = (ids->ring_first + ids->ring_used) & (ids->ring_capacity - 1);
    ids->ring[place] = (struct recent_id){.hash = hash, .entry = *entry};
    ids->table[find_slot(ids, hash)] = (uint32_t)(place + 1);
    ids->ring_used++;
    ids->recent++;
}

bool
ids_remove(struct ids *ids, struct slice id)
{
    if (ids->recent == 0) {
        return false;
    }
    size_t slot = find_slot(ids, hash_of(id));
    if (ids->table[slot] == SLOT_EMPTY) {
        return false;
    }
    ids->ring[ids->table[slot] - 1].dead = true;
    clear_slot(ids, slot);
    ids->recent--;
    /* Newest first, as undoing goes, the place is free again at once. */
    while (ids->ring_used > 0) {
        size_t last = (ids->ring_first + ids->ring_used - 1) & (ids->ring_capacity - 1);
        if (!ids->ring[last].dead) {
            break;
        }
        ids->ring_used--;
    }
    return true;
}

void
ids_add_old(struct ids *ids, struct slice id)
{
    add_old(ids, hash_of(id));
}

void
ids_set_complete(struct ids *ids, bool complete)
{
    ids->complete = complete;
}

void
ids_stats(const struct ids *ids, struct ids_stats *ret_stats)
{
    size_t bytes = sizeof(*ids) + ids->ring_capacity * sizeof(*ids->ring);

    bytes += ids->ring_capacity ? 2 * ids->ring_capacity * sizeof(*ids->table) : 0;
    for (size_t i = 0; i < ids->layer_count; i++) {
        bytes += ids->layers[i].bit_count / 8;
    }
    *ret_stats = (struct ids_stats){
        .recent = ids->recent, .old = ids->old, .memory_bytes = bytes, .complete = ids->complete};
}
