/*
 * The series registry: (metric name, symbol, labels) to a dense series_id, from 1 on. Ids are given
 * out before the record is written, so a series is in one of two states:
 *
 *   announced --a record that carries its definition is durable--> durable
 *
 * Whoever writes a sample of an announced series puts the definition into the same record. So no
 * crash and no failed write can leave a sample without its series; the same definition twice means
 * the same as once.
 *
 * Ownership: a series and its texts live as long as the registry.
 * Threads: all functions but init and fini from any thread. series_at and the flag take no lock.
 */
#ifndef EIDER_INGEST_SERIES_H
#define EIDER_INGEST_SERIES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"

enum {
    SERIES_CHUNK_BITS = 14,
    SERIES_CHUNK = 1 << SERIES_CHUNK_BITS,
    SERIES_NAME_BYTES_MAX = 1024 /* of a metric name, and of a symbol */
};

/* What makes a series one; empty symbol and labels mean it has none. Labels are canonical JSON
 * (labels.h). */
struct series_key {
    struct slice name;
    struct slice symbol;
    struct slice labels;
};

struct series {
    struct series_key key;
    uint64_t hash;
    int32_t id;
    atomic_bool durable;
};

typedef _Atomic(struct series *) series_slot;

struct series_registry {
    pthread_mutex_t lock; /* of what follows, but `chunks` and `count`, which readers follow */
    struct arena arena;
    struct series **table; /* open addressing, linear probing, at most half full */
    size_t table_mask;
    uint32_t max;
    size_t chunk_count;
    _Atomic(series_slot *) *chunks; /* by id: chunk id / SERIES_CHUNK */
    _Atomic uint32_t count;
    int32_t next_id; /* above every id seen; ids of a gap are not given out again */
};

void series_registry_init(struct series_registry *registry, uint64_t series_max);
void series_registry_fini(struct series_registry *registry);

/* Finds a series or makes it (announced). ERR_BUSY, naming the limit, when there are series_max. */
enum err_code series_get(struct series_registry *registry, const struct series_key *key,
                         struct series **ret_series, struct err *err);

/* The series with this key, or NULL; makes none. */
struct series *series_find(struct series_registry *registry, const struct series_key *key);

/* Adds a series that the store has, with its id. The same again changes nothing. ERR_CORRUPT when
 * the id belongs to another series or is out of range. */
enum err_code series_load(struct series_registry *registry, const struct series_key *key,
                          int32_t id, struct err *err);

/* The series with this id, or NULL. */
struct series *series_at(struct series_registry *registry, int32_t id);

static inline bool
series_is_durable(struct series *series)
{
    return atomic_load_explicit(&series->durable, memory_order_acquire);
}

/* A record with its definition is durable. */
static inline void
series_mark_durable(struct series *series)
{
    atomic_store_explicit(&series->durable, true, memory_order_release);
}

/* Above every id seen. */
int32_t series_end(struct series_registry *registry);

static inline uint64_t
series_count(struct series_registry *registry)
{
    return atomic_load_explicit(&registry->count, memory_order_relaxed);
}

#endif
