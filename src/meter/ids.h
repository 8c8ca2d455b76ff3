/*
 * Event ids for the life of the log: has this id been written before? The newest `recent_max` are
 * kept exactly, with what is needed to tell a repetition from a contradiction. Older ones stand in
 * a filter that may be wrong one way only: an id it does not know was never added.
 *
 *   ids_find(ids, id, &entry)
 *     IDS_UNKNOWN     never added
 *     IDS_RECENT      added; *ret is what was added
 *     IDS_MAYBE_OLD   look it up in the store; for an id that is new this happens about once in
 *                     ten thousand times
 *
 * Memory: 56 bytes a recent id, by doubling as they come; 22 bits an old one once a layer of the
 * filter is full (layers of 1 M, 4 M, 16 M ... ids), and a false positive in 39 000 a full layer.
 *
 * recent_max must be more than what can be on its way to the store: an id that was pushed out is
 * answered by a look-up there.
 *
 * Ids are known by 128 bits of hash (XXH3): with 2^32 of them the chance of a mistake is 2^-65.
 *
 * Not thread-safe: the meter's lock guards it.
 */
#ifndef EIDER_METER_IDS_H
#define EIDER_METER_IDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct ids;

enum { IDS_RECENT_MAX = 1 << 27 };

struct ids_entry {
    uint64_t content_hash; /* event_content_hash */
    int64_t timestamp_us;
    int64_t credits; /* micro-credits */
};

enum ids_found { IDS_UNKNOWN, IDS_RECENT, IDS_MAYBE_OLD };

/* recent_max 1..IDS_RECENT_MAX (cut to it). Complete to begin with: nothing was ever written. */
struct ids *ids_new(size_t recent_max);
void ids_free(struct ids *ids); /* NULL is fine */

/* *ret_entry (may be NULL) is set for IDS_RECENT only. O(1). */
enum ids_found ids_find(const struct ids *ids, struct slice id, struct ids_entry *ret_entry);

/* Adds the newest id; the oldest recent one goes to the filter when there is no room. One that is
 * recent already keeps its place and gets the new entry. */
void ids_add(struct ids *ids, struct slice id, const struct ids_entry *entry);

/*
 * Undoes ids_add, newest first. What that had pushed out stays pushed out: it is IDS_MAYBE_OLD. An
 * id that is not recent is left alone: false.
 */
bool ids_remove(struct ids *ids, struct slice id);

/* Adds to the filter alone: loading ids that are older than the recent ones. */
void ids_add_old(struct ids *ids, struct slice id);

/* While loading is not complete, every id that is not recent is IDS_MAYBE_OLD. */
void ids_set_complete(struct ids *ids, bool complete);

struct ids_stats {
    uint64_t recent;
    uint64_t old; /* added to the filter */
    size_t memory_bytes;
    bool complete;
};
void ids_stats(const struct ids *ids, struct ids_stats *ret_stats);

#endif
