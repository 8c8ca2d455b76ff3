/*
 * The exact sum of what was booked within a window of time, to the entry: a list of (time, amount)
 * sorted by time, in chunks, so that late entries are cheap too. Entries of the same time are one,
 * and one that comes to nothing is none.
 *
 * Memory: at most entries_max entries of 16 bytes, in chunks that are at least a quarter full;
 * beyond, neighbours that are near each other become one at the later time, a chunk at a time and
 * round and round. An entry moves by some ten times the mean distance of entries, and never so
 * that the sum is too small: it drains later, not sooner. `joined` counts the entries that went so.
 * (Amounts that would pass an int64_t together are left apart, even over entries_max.)
 *
 * Not thread-safe. init/fini.
 */
#ifndef EIDER_METER_WINDOW_H
#define EIDER_METER_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct window_chunk;

struct window {
    struct window_chunk **chunks; /* in order of time */
    size_t chunk_count;
    size_t chunk_capacity;
    size_t entries;
    size_t entries_max;
    int64_t sum;       /* of all entries; saturates */
    int64_t cutoff_us; /* everything before it was drained */
    uint64_t joined;
    size_t join_next;             /* chunk whose neighbours are joined next */
    __extension__ __int128 exact; /* the sum before it saturates */
};

enum { WINDOW_ENTRIES_MIN = 16 };

/* entries_max is at least WINDOW_ENTRIES_MIN. */
void window_init(struct window *window, size_t entries_max);
void window_fini(struct window *window);

/* Adds an amount (below 0 for a correction) at a time. Before the cutoff: nothing happens, false.
 */
bool window_add(struct window *window, int64_t at_us, int64_t amount);

/* Forgets all entries before `cutoff_us` (exclusive); the cutoff never goes back. */
void window_drain(struct window *window, int64_t cutoff_us);

/* Time of the oldest entry; false when there is none. */
bool window_oldest(const struct window *window, int64_t *ret_at_us);

/* The time at which the sum will have fallen by `amount` (the time of the entry that makes it so,
 * as an entry time: add the window's length); INT64_MAX when the whole sum is less. amount > 0. */
int64_t window_when_freed(const struct window *window, int64_t amount);

/* Sum of entries at or after `from_us`. */
int64_t window_sum_since(const struct window *window, int64_t from_us);

/* Walks all entries in order of time. */
typedef void window_walk_fn(void *ctx, int64_t at_us, int64_t amount);
void window_walk(const struct window *window, window_walk_fn *fn, void *ctx);

#endif
