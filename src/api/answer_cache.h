/*
 * Answers to history requests, kept until a row that they were made of may have changed.
 *
 *   request -> find: kept and still true -> the bytes again, or 304
 *                    else                -> asked of the store, then put
 *
 * An answer says which ranges of which tables it was made of and at which LSN (store/changes.h).
 * One whose range ends "now" also says for how long it may be used. The oldest used go when the
 * cache is full; one that would take more than an eighth of it is not kept.
 *
 * Ownership: new/free. A found answer is the caller's until answer_unref. Threads: any; one lock,
 * held for no longer than a look at some slots of time.
 */
#ifndef EIDER_API_ANSWER_CACHE_H
#define EIDER_API_ANSWER_CACHE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "catalog/catalog.h"

enum {
    ANSWER_PARTS_MAX = 8,
    ANSWER_KEY_BYTES_MAX = 8192,
    ANSWER_ETAG_BYTES = 36 /* 128 bits in hex, quotes, NUL */
};

/* Rows that an answer was made of. */
struct answer_part {
    enum table_id table;
    int64_t from_us;
    int64_t to_us;
};

/* What an answer depends on. */
struct answer_basis {
    uint64_t lsn;            /* applied before the store was asked */
    int64_t expires_mono_us; /* INT64_MAX: when its rows change */
    size_t part_count;
    struct answer_part parts[ANSWER_PARTS_MAX];
};

struct answer {
    struct answer_basis basis;
    char etag[ANSWER_ETAG_BYTES];
    struct slice body; /* and the rest: the cache's */
    struct slice key;
    uint64_t hash;
    atomic_uint refs;
    struct answer *next_of_hash;
    struct answer *newer;
    struct answer *older;
};

struct answer_cache;

/* Whether what the answer was made of may have changed; called with the cache's lock held. */
typedef bool answer_changed_fn(void *ctx, const struct answer_basis *basis);

/* bytes_max 0: keeps nothing. */
struct answer_cache *answer_cache_new(size_t bytes_max, answer_changed_fn *changed, void *ctx);
void answer_cache_free(struct answer_cache *cache);

/* The answer to a request, if it is kept and holds at `mono_us`; else NULL. */
struct answer *answer_cache_find(struct answer_cache *cache, struct slice key, int64_t mono_us);
void answer_unref(struct answer *answer); /* NULL is fine */

/* Keeps a copy of body and key, in the place of what was kept for the key. */
void answer_cache_put(struct answer_cache *cache, struct slice key, struct slice body,
                      const char *etag, const struct answer_basis *basis);

/* The entity tag of a body: XXH3-128 in hex, in quotes. */
void answer_etag(struct slice body, char ret_etag[ANSWER_ETAG_BYTES]);

struct answer_cache_stats {
    uint64_t hits;
    uint64_t misses;
    uint64_t not_modified; /* of the hits */
    uint64_t outdated;     /* of the misses: kept, but no longer true */
    uint64_t evictions;
    uint64_t entries;
    uint64_t bytes;
    uint64_t bytes_max;
};
void answer_cache_stats(struct answer_cache *cache, struct answer_cache_stats *ret_stats);
void answer_cache_count_304(struct answer_cache *cache);

#endif
