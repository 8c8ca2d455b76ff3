/* The series registry: one hash table under one lock (its users cache what they find, see
 * series_cache.h), and a two-level array by id that is read without it. */
#include "ingest/series.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/mem.h"

enum { SERIES_TABLE_FIRST = 1024, SERIES_ID_MAX = INT32_MAX - 1 };

void
series_registry_init(struct series_registry *registry, uint64_t series_max)
{
    if (series_max > SERIES_ID_MAX) {
        series_max = SERIES_ID_MAX;
    }
    *registry = (struct series_registry){
        .table = mem_zalloc(SERIES_TABLE_FIRST, sizeof(struct series *)),
        .table_mask = SERIES_TABLE_FIRST - 1,
        .max = (uint32_t)series_max,
        .next_id = 1,
    };
    pthread_mutex_init(&registry->lock, NULL);
    arena_init(&registry->arena, SIZE_MAX);
    /* Every id of 31 bits has its place: after a limit was lowered, or ids were lost with failed
     * writes, ids go beyond series_max. */
    registry->chunk_count = ((size_t)SERIES_ID_MAX >> SERIES_CHUNK_BITS) + 1;
    registry->chunks = mem_zalloc(registry->chunk_count, sizeof(*registry->chunks));
}

void
series_registry_fini(struct series_registry *registry)
{
    for (size_t i = 0; i <= (size_t)registry->next_id >> SERIES_CHUNK_BITS; i++) {
        free(atomic_load_explicit(&registry->chunks[i], memory_order_relaxed));
    }
    free(registry->chunks);
    free(registry->table);
    arena_fini(&registry->arena);
    pthread_mutex_destroy(&registry->lock);
}

static uint64_t
key_hash(const struct series_key *key)
{
    uint64_t hash = XXH3_64bits(key->name.ptr, key->name.len);

    hash = XXH3_64bits_withSeed(key->symbol.ptr, key->symbol.len, hash);
    return XXH3_64bits_withSeed(key->labels.ptr, key->labels.len, hash);
}

static bool
key_eq(const struct series_key *a, const struct series_key *b)
{
    return slice_eq(a->name, b->name) && slice_eq(a->symbol, b->symbol) &&
           slice_eq(a->labels, b->labels);
}

/* The place of a key in the table: where it is, or the free one where it would be. */
static struct series **
find_place(struct series_registry *registry, const struct series_key *key, uint64_t hash)
{
    size_t at = hash & registry->table_mask;

    for (;; at = (at + 1) & registry->table_mask) {
        struct series *series = registry->table[at];
        if (!series || (series->hash == hash && key_eq(&series->key, key))) {
            return &registry->table[at];
        }
    }
}

static void
grow_table(struct series_registry *registry)
{
    size_t old_size = registry->table_mask + 1;
    size_t mask = old_size * 2 - 1;
    struct series **table = mem_zalloc(mask + 1, sizeof(struct series *));

    for (size_t i = 0; i < old_size; i++) {
        struct series *series = registry->table[i];
        if (series) {
            size_t at = series->hash & mask;
            while (table[at]) {
                at = (at + 1) & mask;
            }
            table[at] = series;
        }
    }
    free(registry->table);
    registry->table = table;
    registry->table_mask = mask;
}

static series_slot *
id_slot(struct series_registry *registry, int32_t id)
{
    size_t chunk = (size_t)id >> SERIES_CHUNK_BITS;
    series_slot *slots = atomic_load_explicit(&registry->chunks[chunk], memory_order_relaxed);

    if (!slots) {
        slots = mem_zalloc(SERIES_CHUNK, sizeof(*slots));
        atomic_store_explicit(&registry->chunks[chunk], slots, memory_order_release);
    }
    return &slots[(size_t)id & (SERIES_CHUNK - 1)];
}

/* Makes a series at its place in the table and by its id. Called with the lock. */
static struct series *
add_series(struct series_registry *registry, struct series **place, const struct series_key *key,
           uint64_t hash, int32_t id)
{
    struct series *series = arena_alloc(&registry->arena, sizeof(*series));

    assert(series && !*place && id > 0);
    *series = (struct series){.hash = hash, .id = id};
    series->key.name = arena_dup(&registry->arena, key->name);
    series->key.symbol = arena_dup(&registry->arena, key->symbol);
    series->key.labels = arena_dup(&registry->arena, key->labels);
    *place = series;
    atomic_store_explicit(id_slot(registry, id), series, memory_order_release);
    uint32_t count = atomic_load_explicit(&registry->count, memory_order_relaxed) + 1;
    atomic_store_explicit(&registry->count, count, memory_order_relaxed);
    if (id >= registry->next_id) {
        registry->next_id = id + 1;
    }
    if ((size_t)count * 2 > registry->table_mask) {
        grow_table(registry);
    }
    return series;
}

enum err_code
series_get(struct series_registry *registry, const struct series_key *key,
           struct series **ret_series, struct err *err)
{
    uint64_t hash = key_hash(key);
    enum err_code code = ERR_OK;

    pthread_mutex_lock(&registry->lock);
    struct series **place = find_place(registry, key, hash);
    if (*place) {
        *ret_series = *place;
    } else if (series_count(registry) >= registry->max || registry->next_id > SERIES_ID_MAX) {
        code = err_set(err, ERR_BUSY,
                       "no new series for metric \"%.*s\": the limit series_max (%u) is reached; "
                       "send fewer distinct labels or raise it",
                       SLICE_FMT(slice_sub(key->name, 0, 100)), registry->max);
    } else {
        *ret_series = add_series(registry, place, key, hash, registry->next_id);
    }
    pthread_mutex_unlock(&registry->lock);
    return code;
}

struct series *
series_find(struct series_registry *registry, const struct series_key *key)
{
    uint64_t hash = key_hash(key);

    pthread_mutex_lock(&registry->lock);
    struct series *series = *find_place(registry, key, hash);
    pthread_mutex_unlock(&registry->lock);
    return series;
}

enum err_code
series_load(struct series_registry *registry, const struct series_key *key, int32_t id,
            struct err *err)
{
    uint64_t hash = key_hash(key);
    enum err_code code = ERR_OK;

    if (id <= 0 || id > SERIES_ID_MAX) {
        return err_set(err, ERR_CORRUPT, "series: id %d is out of range", id);
    }
    pthread_mutex_lock(&registry->lock);
    struct series **place = find_place(registry, key, hash);
    struct series *holder = atomic_load_explicit(id_slot(registry, id), memory_order_relaxed);
    if (holder && !key_eq(&holder->key, key)) {
        code = err_set(err, ERR_CORRUPT, "series: id %d belongs to \"%.*s\" and to \"%.*s\"", id,
                       SLICE_FMT(slice_sub(holder->key.name, 0, 100)),
                       SLICE_FMT(slice_sub(key->name, 0, 100)));
    } else if (!holder) {
        /* A series with a second id keeps the first for new samples. */
        struct series *unlisted = NULL;
        series_mark_durable(add_series(registry, *place ? &unlisted : place, key, hash, id));
    }
    pthread_mutex_unlock(&registry->lock);
    return code;
}

struct series *
series_at(struct series_registry *registry, int32_t id)
{
    if (id <= 0) {
        return NULL;
    }
    size_t chunk = (size_t)id >> SERIES_CHUNK_BITS;
    if (chunk >= registry->chunk_count) {
        return NULL;
    }
    series_slot *slots = atomic_load_explicit(&registry->chunks[chunk], memory_order_acquire);
    return slots
               ? atomic_load_explicit(&slots[(size_t)id & (SERIES_CHUNK - 1)], memory_order_acquire)
               : NULL;
}

int32_t
series_end(struct series_registry *registry)
{
    pthread_mutex_lock(&registry->lock);
    int32_t end = registry->next_id;
    pthread_mutex_unlock(&registry->lock);
    return end;
}
