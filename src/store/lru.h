/*
 * The component that the memory store and the hot cache are made of: series in the order of their
 * last use, bounded in points and in bytes; and the points of one series.
 *
 *   lru    key -> item, and all items in a list: the last used in front, the victims at the back
 *   ring   (time, value) of one series in order of time, equal times as they came
 *
 * An item is a head that stands within its owner's struct; the owner says how many points and bytes
 * it holds (lru_account). Everything is O(1), amortised where arrays grow, but for late points,
 * which move what is newer than they are.
 *
 * Ownership: items are their owner's; the list borrows them until lru_remove. init/fini.
 * Threads: none of its own; whoever uses it brings the lock.
 */
#ifndef EIDER_STORE_LRU_H
#define EIDER_STORE_LRU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lru_item {
    uint64_t key;
    uint64_t points;
    uint64_t bytes;
    struct lru_item *newer; /* NULL: the front */
    struct lru_item *older; /* NULL: the back */
    struct lru_item *chain; /* of the hash table */
};

struct lru_stats {
    uint64_t hits;
    uint64_t misses;
    uint64_t evicted_series;
    uint64_t evicted_points;
    uint64_t series;
    uint64_t points;
    uint64_t bytes;
    uint64_t points_max; /* 0: no bound */
    uint64_t bytes_max;
    double utilization; /* of the tighter bound, 0 to 1 */
};

struct lru_options {
    uint64_t points_max; /* 0: no bound */
    uint64_t bytes_max;  /* 0: no bound */
    bool fifo;           /* uses do not move an item: for comparison in benchmarks and tests */
};

struct lru {
    struct lru_options options;
    struct lru_item *front;
    struct lru_item *back;
    struct lru_item **slots;
    size_t slot_count; /* 0 or a power of two */
    struct lru_stats stats;
};

void lru_init(struct lru *lru, const struct lru_options *options);

/* Forgets the items; they stay their owner's. */
void lru_fini(struct lru *lru);

/* The item with this key, or NULL; not a use. */
struct lru_item *lru_find(const struct lru *lru, uint64_t key);

/* Puts an item with a key that is not there in front, with nothing in it yet. */
void lru_add(struct lru *lru, struct lru_item *item, uint64_t key);

/* A use: moves the item to the front. */
void lru_touch(struct lru *lru, struct lru_item *item);

/* Says what the item holds now. */
void lru_account(struct lru *lru, struct lru_item *item, uint64_t points, uint64_t bytes);

/* Takes an item out, with what it holds. */
void lru_remove(struct lru *lru, struct lru_item *item);

bool lru_is_over(const struct lru *lru);

/*
 * The item to take points from while the bounds are passed: the least recently used, but the one
 * that was just written (`writer`, NULL: none) when it alone holds more than half of a bound: a
 * series must not push all others out by its own history. NULL when nothing is there.
 */
struct lru_item *lru_victim(const struct lru *lru, struct lru_item *writer);

/* Counts what was taken from a victim. */
void lru_count_eviction(struct lru *lru, uint64_t series, uint64_t points);
void lru_count_read(struct lru *lru, bool hit);

/* The figures of this moment. */
void lru_stats_of(const struct lru *lru, struct lru_stats *ret_stats);

/* ---- points ---- */

/* Side by side: a point that is added or read costs one line of the processor's cache. */
struct ring_pair {
    int64_t time_us;
    double value;
};

struct ring {
    struct ring_pair *pairs; /* a ring of `cap` places */
    uint64_t *orders;        /* the same, of arrival; NULL unless asked for */
    size_t cap;              /* 0 or a power of two */
    size_t head;
    size_t count;
    int64_t complete_us; /* every point of the series from this time on is here; INT64_MIN: all are.
                            Points before it are not kept */
};

struct ring_point {
    int64_t time_us;
    double value;
    uint64_t order;
};

/* No points; complete from `complete_us` on. */
void ring_init(struct ring *points, bool with_orders, int64_t complete_us);
void ring_fini(struct ring *points);

/* Bytes of the arrays. */
size_t ring_bytes(const struct ring *points);

static inline size_t
ring_place(const struct ring *points, size_t index)
{
    return (points->head + index) & (points->cap - 1);
}

static inline int64_t
ring_time(const struct ring *points, size_t index)
{
    return points->pairs[ring_place(points, index)].time_us;
}

static inline double
ring_value(const struct ring *points, size_t index)
{
    return points->pairs[ring_place(points, index)].value;
}

static inline uint64_t
ring_order(const struct ring *points, size_t index)
{
    return points->orders ? points->orders[ring_place(points, index)] : 0;
}

/* Adds a point behind those of its time and before; one before complete_us is passed over. */
void ring_add(struct ring *points, struct ring_point point);

/* Takes the oldest away; from then on complete only behind the last that went. */
void ring_drop_oldest(struct ring *points, size_t count);

/* Takes those at and before a time away, and is complete only behind it. */
void ring_drop_until(struct ring *points, int64_t time_us);

/* Makes the arrays as small as what they hold allows. */
void ring_shrink(struct ring *points);

/* The number of points before a time, which is the index of the first at or behind it. */
size_t ring_before(const struct ring *points, int64_t time_us);

/* Whether all points from a time on are here. */
static inline bool
ring_cover(const struct ring *points, int64_t from_us)
{
    return from_us >= points->complete_us;
}

#endif
