/*
 * What was learnt about the heads of rows: the bytes in front of the fields as they were sent
 * (measurement and tags of line protocol; metric name, symbol and labels of a JSON row), and for
 * each field name behind them the series, or the column of a trading table. So a row that was seen
 * before costs one hash and two comparisons: no lock, no allocation, nothing is parsed.
 *
 *   generation 0: slots -> heads -> fields        two generations, one of them current: when it is
 *   generation 1: (being left by its readers)     full, the other is emptied and made current
 *
 * Entries are added under a lock and never change or move, but for fields appended to the list of a
 * head. A reader enters the current generation for as long as it looks at entries; a generation is
 * emptied only when no reader is in it. While that cannot be, nothing new is kept, which is slower
 * but not wrong.
 *
 * Threads: any; between enter and leave a reader's entries stay. Enter and leave do not block.
 */
#ifndef EIDER_INGEST_SERIES_CACHE_H
#define EIDER_INGEST_SERIES_CACHE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/slice.h"
#include "catalog/catalog.h"
#include "ingest/series.h"

/* Of one head; they are looked through one by one, so there is a bound. */
enum { SERIES_CACHE_FIELDS_MAX = 256 };

/* A field behind a head. */
struct head_field {
    _Atomic(struct head_field *) next;
    struct slice name;     /* as sent */
    struct series *series; /* of a metric; else NULL */
    int32_t id;            /* of the series, or the index of the table's column */
    atomic_bool durable;   /* a copy of the series' flag, that is nearer */
};

/* A tag of a trading table's row: where its value stands within the head. */
struct head_tag {
    uint16_t column;
    uint16_t offset;
    uint16_t len;
    bool escaped;
};

struct head {
    uint64_t hash;
    struct slice key;
    const struct catalog_table *table; /* NULL: fields are samples of series */
    _Atomic(struct head_field *) fields;
    uint32_t field_count; /* under the lock */
    bool local;           /* not in the cache */
    uint32_t tag_count;
    struct head_tag tags[];
};

struct head_slot {
    _Atomic uint64_t hash;
    _Atomic(struct head *) head;
};

struct head_slots {
    size_t mask;
    size_t used;
    struct head_slots *older; /* smaller arrays that readers may still look at */
    struct head_slot slots[];
};

struct head_generation {
    _Atomic(struct head_slots *) slots; /* NULL: empty */
    _Atomic uint32_t readers;
    struct arena arena;
};

struct series_cache {
    pthread_mutex_t lock; /* of all changes */
    size_t bytes_max;     /* of the entries of one generation, and of its slots */
    _Atomic unsigned current;
    struct head_generation generations[2];
};

/* bytes_max 0 keeps nothing. */
void series_cache_init(struct series_cache *cache, size_t bytes_max);
void series_cache_fini(struct series_cache *cache);

/* Enters the current generation; heads found or added through it stay until it is left. */
struct head_generation *series_cache_enter(struct series_cache *cache);
void series_cache_leave(struct head_generation *generation);

uint64_t series_cache_hash(struct slice key);

/* The head with exactly these bytes, or NULL. */
struct head *series_cache_find(struct head_generation *generation, struct slice key, uint64_t hash);

/* Adds a head (or gives the one another thread has added) with room for tags; NULL when the
 * generation is full or was left behind: then a new one is made current if that is possible, for
 * those who enter later. */
struct head *series_cache_add(struct series_cache *cache, struct head_generation *generation,
                              struct slice key, uint64_t hash, const struct catalog_table *table,
                              const struct head_tag *tags, size_t tag_count);

/* Adds a field at the end of a head's list; NULL as above, or when the head has its maximum. */
struct head_field *series_cache_add_field(struct series_cache *cache,
                                          struct head_generation *generation, struct head *head,
                                          struct slice name, struct series *series, int32_t id);

/* The field with this name: the one behind `before` (NULL: the first), or wherever it is; NULL. */
struct head_field *series_cache_find_field(struct head *head, struct slice name);

static inline struct head_field *
series_cache_field(struct head *head, struct head_field *before, struct slice name)
{
    struct head_field *field =
        atomic_load_explicit(before ? &before->next : &head->fields, memory_order_acquire);

    return field && slice_eq(field->name, name) ? field : series_cache_find_field(head, name);
}

#endif
