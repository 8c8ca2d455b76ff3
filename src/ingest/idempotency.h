/*
 * Idempotency keys: which requests were answered already. A key is
 *
 *   unknown --claim--> in flight --finish--> answered
 *      ^                   |                    |
 *      +---- abandon ------+                    |
 *      +---- after 24 h, or over the bound -----+
 *
 * The same request again gets the same answer: at once when the key is answered, together with the
 * first one while that is in flight. Another request with the same key is refused. Keys travel in
 * the WAL record of their request (table eider_idempotency), so a key is answered exactly when its
 * rows are durable, also after a crash.
 *
 * Threads: any. No function calls back.
 */
#ifndef EIDER_INGEST_IDEMPOTENCY_H
#define EIDER_INGEST_IDEMPOTENCY_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "ingest/ingest.h"

enum { IDEMPOTENCY_KEY_BYTES_MAX = 255, IDEMPOTENCY_KEYS_MAX = 1000000 };

#define IDEMPOTENCY_KEEP_US (INT64_C(24) * 3600 * 1000000)

/* XXH3-128 of the payload and of all that decides what it means. */
struct idempotency_hash {
    uint64_t high;
    uint64_t low;
};

enum { IDEMPOTENCY_HEX = 32 };

struct idempotency_answer {
    uint64_t accepted;
    uint64_t rejected;
    uint64_t lsn; /* 0: not known any more */
};

/* Somebody who waits for the request in flight. */
struct idempotency_waiter {
    ingest_done_fn *done;
    void *ctx;
    bool wait_applied;
    struct idempotency_waiter *next;
};

struct idempotency_entry {
    struct idempotency_entry *chain; /* same bucket */
    struct idempotency_entry *newer; /* in order of answering */
    struct idempotency_hash payload;
    uint64_t key_hash;
    struct idempotency_answer answer;
    struct idempotency_waiter *waiters;
    int64_t at_us;
    bool in_flight;
    uint8_t key_len;
    char key[];
};

struct idempotency {
    pthread_mutex_t lock;
    struct idempotency_entry **buckets;
    size_t bucket_mask;
    size_t count;
    size_t max;
    struct idempotency_entry *oldest; /* of the answered */
    struct idempotency_entry *newest;
};

void idempotency_init(struct idempotency *keys, size_t keys_max);
void idempotency_fini(struct idempotency *keys);

struct idempotency_hash idempotency_hash_payload(struct slice payload, uint64_t meaning);
void idempotency_hash_text(const struct idempotency_hash *hash, char ret_text[IDEMPOTENCY_HEX]);

enum idempotency_claim {
    IDEMPOTENCY_CLAIMED,  /* the first: *ret_entry must be finished or abandoned */
    IDEMPOTENCY_ANSWERED, /* *ret_answer is filled */
    IDEMPOTENCY_WAITING,  /* in flight: `waiter` was queued and will be handed out with it */
    IDEMPOTENCY_CONFLICT  /* the key belongs to another payload */
};

/* `waiter` is allocated by mem_alloc; it belongs to the entry after WAITING, else to the caller. */
enum idempotency_claim idempotency_claim(struct idempotency *keys, struct slice key,
                                         const struct idempotency_hash *payload, int64_t now_us,
                                         struct idempotency_waiter *waiter,
                                         struct idempotency_entry **ret_entry,
                                         struct idempotency_answer *ret_answer);

/* The entry's record is durable: it is answered from now on. Gives the waiters, which the caller
 * answers and frees. */
struct idempotency_waiter *idempotency_finish(struct idempotency *keys,
                                              struct idempotency_entry *entry,
                                              const struct idempotency_answer *answer);

/* Nothing was written: forgets the entry; gives the waiters as above. */
struct idempotency_waiter *idempotency_abandon(struct idempotency *keys,
                                               struct idempotency_entry *entry);

/* Adds an answered key from the store; oldest first. A key that is there already, or a text that is
 * no hash, is passed over. */
void idempotency_load(struct idempotency *keys, struct slice key, struct slice payload_hex,
                      uint64_t accepted, uint64_t rejected, int64_t at_us);

#endif
