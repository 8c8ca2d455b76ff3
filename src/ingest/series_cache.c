/* The cache of heads: see the header. Readers follow pointers that were stored with release and
 * are loaded with acquire; everything behind a pointer was complete before it was stored. */
#include "ingest/series_cache.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/mem.h"

enum { SLOTS_FIRST = 1024 };

void
series_cache_init(struct series_cache *cache, size_t bytes_max)
{
    *cache = (struct series_cache){.bytes_max = bytes_max};
    pthread_mutex_init(&cache->lock, NULL);
    for (size_t i = 0; i < 2; i++) {
        arena_init(&cache->generations[i].arena, bytes_max);
    }
}

/* Nobody may be in the generation. */
static void
empty(struct head_generation *generation)
{
    struct head_slots *slots = atomic_load(&generation->slots);

    atomic_store(&generation->slots, NULL);
    while (slots) {
        struct head_slots *older = slots->older;
        free(slots);
        slots = older;
    }
    size_t bytes_max = generation->arena.max_bytes;
    arena_fini(&generation->arena);
    arena_init(&generation->arena, bytes_max);
}

void
series_cache_fini(struct series_cache *cache)
{
    for (size_t i = 0; i < 2; i++) {
        assert(atomic_load(&cache->generations[i].readers) == 0);
        empty(&cache->generations[i]);
    }
    pthread_mutex_destroy(&cache->lock);
}

/*
 * A reader counts itself in and looks whether the generation is still current; sequentially
 * consistent, as is the other side in switch_generation: either the switch sees the reader and does
 * not empty the generation, or the reader sees the switch and goes to the other one.
 */
struct head_generation *
series_cache_enter(struct series_cache *cache)
{
    for (;;) {
        unsigned current = atomic_load(&cache->current);
        struct head_generation *generation = &cache->generations[current];
        atomic_fetch_add(&generation->readers, 1);
        if (atomic_load(&cache->current) == current) {
            return generation;
        }
        atomic_fetch_sub(&generation->readers, 1);
    }
}

void
series_cache_leave(struct head_generation *generation)
{
    atomic_fetch_sub(&generation->readers, 1);
}

/* The current generation is full. With the lock. */
static void
switch_generation(struct series_cache *cache)
{
    unsigned other = 1 - atomic_load(&cache->current);
    struct head_generation *generation = &cache->generations[other];

    /* It is not current, so whoever counts itself in from now on looks again and leaves; a reader
     * that is in keeps it from being emptied. */
    if (atomic_load(&generation->readers) == 0) {
        empty(generation);
        atomic_store(&cache->current, other);
    }
}

uint64_t
series_cache_hash(struct slice key)
{
    return XXH3_64bits(key.ptr, key.len);
}

struct head *
series_cache_find(struct head_generation *generation, struct slice key, uint64_t hash)
{
    struct head_slots *slots = atomic_load_explicit(&generation->slots, memory_order_acquire);

    if (!slots) {
        return NULL;
    }
    for (size_t at = hash & slots->mask;; at = (at + 1) & slots->mask) {
        struct head *head = atomic_load_explicit(&slots->slots[at].head, memory_order_acquire);
        if (!head) {
            return NULL;
        }
        if (atomic_load_explicit(&slots->slots[at].hash, memory_order_relaxed) == hash &&
            slice_eq(head->key, key)) {
            return head;
        }
    }
}

/* The hash goes first: a reader that sees the head sees its hash. */
static void
put_head(struct head_slots *slots, struct head *head)
{
    size_t at = head->hash & slots->mask;

    while (atomic_load_explicit(&slots->slots[at].head, memory_order_relaxed)) {
        at = (at + 1) & slots->mask;
    }
    atomic_store_explicit(&slots->slots[at].hash, head->hash, memory_order_relaxed);
    atomic_store_explicit(&slots->slots[at].head, head, memory_order_release);
    slots->used++;
}

/* Slots with room for one more head; NULL over the cap. With the lock. */
static struct head_slots *
slots_with_room(struct series_cache *cache, struct head_generation *generation)
{
    struct head_slots *slots = atomic_load_explicit(&generation->slots, memory_order_relaxed);

    if (slots && slots->used * 2 <= slots->mask) {
        return slots;
    }
    size_t size = slots ? (slots->mask + 1) * 2 : SLOTS_FIRST;
    /* With the smaller arrays, that stay, slots take twice their size. */
    if (size * sizeof(struct head_slot) * 2 > cache->bytes_max) {
        return NULL;
    }
    struct head_slots *larger = mem_zalloc(1, sizeof(*larger) + size * sizeof(struct head_slot));
    larger->mask = size - 1;
    larger->older = slots;
    for (size_t i = 0; slots && i <= slots->mask; i++) {
        struct head *head = atomic_load_explicit(&slots->slots[i].head, memory_order_relaxed);
        if (head) {
            put_head(larger, head);
        }
    }
    atomic_store_explicit(&generation->slots, larger, memory_order_release);
    return larger;
}

static bool
is_current(struct series_cache *cache, const struct head_generation *generation)
{
    return generation == &cache->generations[atomic_load(&cache->current)];
}

struct head *
series_cache_add(struct series_cache *cache, struct head_generation *generation, struct slice key,
                 uint64_t hash, const struct catalog_table *table, const struct head_tag *tags,
                 size_t tag_count)
{
    pthread_mutex_lock(&cache->lock);
    struct head *head = series_cache_find(generation, key, hash);
    if (!head && is_current(cache, generation)) {
        struct head_slots *slots = slots_with_room(cache, generation);
        size_t bytes = sizeof(*head) + tag_count * sizeof(*tags) + key.len;
        head = slots ? arena_alloc(&generation->arena, bytes) : NULL;
        if (head) {
            *head = (struct head){.hash = hash, .table = table, .tag_count = (uint32_t)tag_count};
            char *bytes_behind = (char *)(head->tags + tag_count);
            if (tag_count > 0) {
                memcpy(head->tags, tags, tag_count * sizeof(*tags));
            }
            memcpy(bytes_behind, key.ptr, key.len);
            head->key = slice_make(bytes_behind, key.len);
            put_head(slots, head);
        } else {
            switch_generation(cache);
        }
    }
    pthread_mutex_unlock(&cache->lock);
    return head;
}

struct head_field *
series_cache_find_field(struct head *head, struct slice name)
{
    struct head_field *field = atomic_load_explicit(&head->fields, memory_order_acquire);

    while (field && !slice_eq(field->name, name)) {
        field = atomic_load_explicit(&field->next, memory_order_acquire);
    }
    return field;
}

struct head_field *
series_cache_add_field(struct series_cache *cache, struct head_generation *generation,
                       struct head *head, struct slice name, struct series *series, int32_t id)
{
    pthread_mutex_lock(&cache->lock);
    _Atomic(struct head_field *) *place = &head->fields;
    struct head_field *field = atomic_load_explicit(place, memory_order_relaxed);
    while (field && !slice_eq(field->name, name)) {
        place = &field->next;
        field = atomic_load_explicit(place, memory_order_relaxed);
    }
    if (!field && is_current(cache, generation) && head->field_count < SERIES_CACHE_FIELDS_MAX) {
        field = arena_alloc(&generation->arena, sizeof(*field) + name.len);
        if (field) {
            *field = (struct head_field){.series = series, .id = id};
            char *copy = (char *)(field + 1);
            if (name.len > 0) {
                memcpy(copy, name.ptr, name.len);
            }
            field->name = slice_make(copy, name.len);
            head->field_count++;
            atomic_store_explicit(place, field, memory_order_release);
        } else {
            switch_generation(cache);
        }
    }
    pthread_mutex_unlock(&cache->lock);
    return field;
}
