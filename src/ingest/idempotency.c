/* Idempotency keys: a chained hash table, and the answered entries in a queue by age. */
#include "ingest/idempotency.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/mem.h"

enum { BUCKETS_FIRST = 256 };

void
idempotency_init(struct idempotency *keys, size_t keys_max)
{
    *keys = (struct idempotency){
        .buckets = mem_zalloc(BUCKETS_FIRST, sizeof(struct idempotency_entry *)),
        .bucket_mask = BUCKETS_FIRST - 1,
        .max = keys_max,
    };
    pthread_mutex_init(&keys->lock, NULL);
}

void
idempotency_fini(struct idempotency *keys)
{
    for (size_t i = 0; i <= keys->bucket_mask; i++) {
        struct idempotency_entry *entry = keys->buckets[i];
        while (entry) {
            struct idempotency_entry *next = entry->chain;
            assert(!entry->in_flight);
            free(entry);
            entry = next;
        }
    }
    free(keys->buckets);
    pthread_mutex_destroy(&keys->lock);
}

struct idempotency_hash
idempotency_hash_payload(struct slice payload, uint64_t meaning)
{
    XXH128_hash_t hash = XXH3_128bits_withSeed(payload.ptr, payload.len, meaning);

    return (struct idempotency_hash){hash.high64, hash.low64};
}

void
idempotency_hash_text(const struct idempotency_hash *hash, char ret_text[IDEMPOTENCY_HEX])
{
    static const char digits[] = "0123456789abcdef";

    for (unsigned i = 0; i < 16; i++) {
        ret_text[i] = digits[hash->high >> (60 - 4 * i) & 15];
        ret_text[16 + i] = digits[hash->low >> (60 - 4 * i) & 15];
    }
}

static bool
parse_hash(struct slice text, struct idempotency_hash *ret_hash)
{
    uint64_t words[2] = {0};

    if (text.len != IDEMPOTENCY_HEX) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool is_digit = c >= '0' && c <= '9';
        if (!is_digit && (c < 'a' || c > 'f')) {
            return false;
        }
        words[i / 16] = words[i / 16] << 4 | (uint64_t)(is_digit ? c - '0' : c - 'a' + 10);
    }
    *ret_hash = (struct idempotency_hash){words[0], words[1]};
    return true;
}

/* The link that points to the key's entry, or to the NULL where it would go. */
static struct idempotency_entry **
find_link(struct idempotency *keys, struct slice key, uint64_t hash)
{
    struct idempotency_entry **link = &keys->buckets[hash & keys->bucket_mask];

    while (*link && ((*link)->key_hash != hash ||
                     !slice_eq(slice_make((*link)->key, (*link)->key_len), key))) {
        link = &(*link)->chain;
    }
    return link;
}

static void
remove_entry(struct idempotency *keys, struct idempotency_entry *entry)
{
    struct idempotency_entry **link = &keys->buckets[entry->key_hash & keys->bucket_mask];

    while (*link != entry) {
        link = &(*link)->chain;
    }
    *link = entry->chain;
    keys->count--;
    free(entry);
}

static void
drop_oldest(struct idempotency *keys)
{
    struct idempotency_entry *entry = keys->oldest;

    keys->oldest = entry->newer;
    if (!keys->oldest) {
        keys->newest = NULL;
    }
    remove_entry(keys, entry);
}

static void
grow_buckets(struct idempotency *keys)
{
    size_t mask = keys->bucket_mask * 2 + 1;
    struct idempotency_entry **buckets = mem_zalloc(mask + 1, sizeof(struct idempotency_entry *));

    for (size_t i = 0; i <= keys->bucket_mask; i++) {
        struct idempotency_entry *entry = keys->buckets[i];
        while (entry) {
            struct idempotency_entry *next = entry->chain;
            entry->chain = buckets[entry->key_hash & mask];
            buckets[entry->key_hash & mask] = entry;
            entry = next;
        }
    }
    free(keys->buckets);
    keys->buckets = buckets;
    keys->bucket_mask = mask;
}

/* Makes room: what is past its time goes (two at a time, so that no one call takes long), and the
 * oldest over the bound. */
static void
make_room(struct idempotency *keys, int64_t now_us)
{
    for (int i = 0; i < 2; i++) {
        if (keys->oldest && now_us - keys->oldest->at_us > IDEMPOTENCY_KEEP_US) {
            drop_oldest(keys);
        }
    }
    if (keys->oldest && keys->count >= keys->max) {
        drop_oldest(keys);
    }
    if (keys->count > keys->bucket_mask) {
        grow_buckets(keys);
    }
}

static struct idempotency_entry *
add_entry(struct idempotency *keys, struct slice key, uint64_t hash,
          const struct idempotency_hash *payload, int64_t at_us)
{
    struct idempotency_entry *entry = mem_alloc(sizeof(*entry) + key.len);
    struct idempotency_entry **link = &keys->buckets[hash & keys->bucket_mask];

    assert(key.len <= IDEMPOTENCY_KEY_BYTES_MAX);
    *entry = (struct idempotency_entry){
        .chain = *link,
        .payload = *payload,
        .key_hash = hash,
        .at_us = at_us,
        .in_flight = true,
        .key_len = (uint8_t)key.len,
    };
    memcpy(entry->key, key.ptr, key.len);
    *link = entry;
    keys->count++;
    return entry;
}

/* From in flight to answered. */
static void
set_answered(struct idempotency *keys, struct idempotency_entry *entry,
             const struct idempotency_answer *answer)
{
    assert(entry->in_flight);
    entry->in_flight = false;
    entry->answer = *answer;
    if (keys->newest) {
        keys->newest->newer = entry;
    } else {
        keys->oldest = entry;
    }
    keys->newest = entry;
}

enum idempotency_claim
idempotency_claim(struct idempotency *keys, struct slice key,
                  const struct idempotency_hash *payload, int64_t now_us,
                  struct idempotency_waiter *waiter, struct idempotency_entry **ret_entry,
                  struct idempotency_answer *ret_answer)
{
    uint64_t hash = XXH3_64bits(key.ptr, key.len);
    enum idempotency_claim claim;

    pthread_mutex_lock(&keys->lock);
    struct idempotency_entry *entry = *find_link(keys, key, hash);
    if (entry && !entry->in_flight && now_us - entry->at_us > IDEMPOTENCY_KEEP_US) {
        /* Past its time, though others are older; those go first, so that the queue stays one. */
        while (keys->oldest != entry) {
            drop_oldest(keys);
        }
        drop_oldest(keys);
        entry = NULL;
    }
    if (!entry) {
        make_room(keys, now_us);
        *ret_entry = add_entry(keys, key, hash, payload, now_us);
        claim = IDEMPOTENCY_CLAIMED;
    } else if (entry->payload.high != payload->high || entry->payload.low != payload->low) {
        claim = IDEMPOTENCY_CONFLICT;
    } else if (entry->in_flight) {
        waiter->next = entry->waiters;
        entry->waiters = waiter;
        claim = IDEMPOTENCY_WAITING;
    } else {
        *ret_answer = entry->answer;
        claim = IDEMPOTENCY_ANSWERED;
    }
    pthread_mutex_unlock(&keys->lock);
    return claim;
}

struct idempotency_waiter *
idempotency_finish(struct idempotency *keys, struct idempotency_entry *entry,
                   const struct idempotency_answer *answer)
{
    pthread_mutex_lock(&keys->lock);
    struct idempotency_waiter *waiters = entry->waiters;
    entry->waiters = NULL;
    set_answered(keys, entry, answer);
    pthread_mutex_unlock(&keys->lock);
    return waiters;
}

struct idempotency_waiter *
idempotency_abandon(struct idempotency *keys, struct idempotency_entry *entry)
{
    pthread_mutex_lock(&keys->lock);
    struct idempotency_waiter *waiters = entry->waiters;
    assert(entry->in_flight);
    remove_entry(keys, entry);
    pthread_mutex_unlock(&keys->lock);
    return waiters;
}

void
idempotency_load(struct idempotency *keys, struct slice key, struct slice payload_hex,
                 uint64_t accepted, uint64_t rejected, int64_t at_us)
{
    uint64_t hash = XXH3_64bits(key.ptr, key.len);
    struct idempotency_hash payload;

    if (key.len == 0 || key.len > IDEMPOTENCY_KEY_BYTES_MAX || !parse_hash(payload_hex, &payload)) {
        return;
    }
    pthread_mutex_lock(&keys->lock);
    if (!*find_link(keys, key, hash)) {
        make_room(keys, at_us);
        struct idempotency_entry *entry = add_entry(keys, key, hash, &payload, at_us);
        set_answered(keys, entry, &(struct idempotency_answer){accepted, rejected, 0});
    }
    pthread_mutex_unlock(&keys->lock);
}
