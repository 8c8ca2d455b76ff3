/* A hash table of answers, and the list of them by last use. */
#include "api/answer_cache.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/mem.h"

enum { BUCKETS = 1024, SHARE = 8 };

struct answer_cache {
    pthread_mutex_t lock;
    answer_changed_fn *changed;
    void *ctx;
    struct answer *buckets[BUCKETS];
    struct answer *newest;
    struct answer *oldest;
    struct answer_cache_stats stats;
};

struct answer_cache *
answer_cache_new(size_t bytes_max, answer_changed_fn *changed, void *ctx)
{
    struct answer_cache *cache = mem_zalloc(1, sizeof(*cache));

    pthread_mutex_init(&cache->lock, NULL);
    cache->changed = changed;
    cache->ctx = ctx;
    cache->stats.bytes_max = bytes_max;
    return cache;
}

static size_t
size_of(const struct answer *answer)
{
    return sizeof(*answer) + answer->body.len + answer->key.len;
}

void
answer_unref(struct answer *answer)
{
    if (answer && atomic_fetch_sub(&answer->refs, 1) == 1) {
        free(answer);
    }
}

static void
link_newest(struct answer_cache *cache, struct answer *answer)
{
    answer->newer = NULL;
    answer->older = cache->newest;
    if (cache->newest) {
        cache->newest->newer = answer;
    } else {
        cache->oldest = answer;
    }
    cache->newest = answer;
}

static void
unlink_answer(struct answer_cache *cache, struct answer *answer)
{
    *(answer->newer ? &answer->newer->older : &cache->newest) = answer->older;
    *(answer->older ? &answer->older->newer : &cache->oldest) = answer->newer;
}

static struct answer **
place_of(struct answer_cache *cache, struct slice key, uint64_t hash)
{
    struct answer **at = &cache->buckets[hash % BUCKETS];

    while (*at && ((*at)->hash != hash || !slice_eq((*at)->key, key))) {
        at = &(*at)->next_of_hash;
    }
    return at;
}

/* Takes it out; those who have it keep it. */
static void
drop(struct answer_cache *cache, struct answer *answer)
{
    *place_of(cache, answer->key, answer->hash) = answer->next_of_hash;
    unlink_answer(cache, answer);
    assert(cache->newest != answer && cache->oldest != answer);
    cache->stats.entries--;
    cache->stats.bytes -= size_of(answer);
    answer_unref(answer);
}

void
answer_cache_free(struct answer_cache *cache)
{
    if (!cache) {
        return;
    }
    while (cache->oldest) {
        drop(cache, cache->oldest);
    }
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

struct answer *
answer_cache_find(struct answer_cache *cache, struct slice key, int64_t mono_us)
{
    uint64_t hash = XXH3_64bits(key.ptr, key.len);

    pthread_mutex_lock(&cache->lock);
    struct answer *answer = *place_of(cache, key, hash);
    if (answer &&
        (answer->basis.expires_mono_us <= mono_us || cache->changed(cache->ctx, &answer->basis))) {
        drop(cache, answer);
        cache->stats.outdated++;
        answer = NULL;
    }
    if (answer) {
        atomic_fetch_add(&answer->refs, 1);
        unlink_answer(cache, answer);
        link_newest(cache, answer);
        cache->stats.hits++;
    } else {
        cache->stats.misses++;
    }
    pthread_mutex_unlock(&cache->lock);
    return answer;
}

static struct slice
copy_to(char **at, struct slice bytes)
{
    struct slice copy = {*at, bytes.len};

    if (bytes.len > 0) {
        memcpy(*at, bytes.ptr, bytes.len);
    }
    *at += bytes.len;
    return copy;
}

void
answer_cache_put(struct answer_cache *cache, struct slice key, struct slice body, const char *etag,
                 const struct answer_basis *basis)
{
    size_t bytes = sizeof(struct answer) + key.len + body.len;

    if (bytes > cache->stats.bytes_max / SHARE || key.len > ANSWER_KEY_BYTES_MAX) {
        return;
    }
    struct answer *answer = mem_zalloc(1, bytes);
    char *texts = (char *)(answer + 1);
    answer->basis = *basis;
    snprintf(answer->etag, sizeof(answer->etag), "%s", etag);
    answer->key = copy_to(&texts, key);
    answer->body = copy_to(&texts, body);
    answer->hash = XXH3_64bits(key.ptr, key.len);
    atomic_init(&answer->refs, 1);

    pthread_mutex_lock(&cache->lock);
    struct answer *before = *place_of(cache, key, answer->hash);
    if (before) {
        drop(cache, before);
    }
    while (cache->stats.bytes + bytes > cache->stats.bytes_max) {
        drop(cache, cache->oldest);
        cache->stats.evictions++;
    }
    struct answer **place = place_of(cache, key, answer->hash);
    answer->next_of_hash = *place;
    *place = answer;
    link_newest(cache, answer);
    cache->stats.entries++;
    cache->stats.bytes += bytes;
    pthread_mutex_unlock(&cache->lock);
}

void
answer_etag(struct slice body, char ret_etag[ANSWER_ETAG_BYTES])
{
    XXH128_hash_t hash = XXH3_128bits(body.ptr, body.len);

    snprintf(ret_etag, ANSWER_ETAG_BYTES, "\"%016llx%016llx\"", (unsigned long long)hash.high64,
             (unsigned long long)hash.low64);
}

void
answer_cache_stats(struct answer_cache *cache, struct answer_cache_stats *ret_stats)
{
    pthread_mutex_lock(&cache->lock);
    *ret_stats = cache->stats;
    pthread_mutex_unlock(&cache->lock);
}

void
answer_cache_count_304(struct answer_cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    cache->stats.not_modified++;
    pthread_mutex_unlock(&cache->lock);
}
