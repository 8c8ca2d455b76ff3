/* The list with its table, and the rings. */
#include "store/lru.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { SLOTS_FIRST = 64, POINTS_FIRST = 16 };

static size_t
slot_of(const struct lru *lru, uint64_t key)
{
    /* Fibonacci hashing: dense numbers and hashes both spread. */
    return (size_t)((key * 0x9E3779B97F4A7C15ULL) >> 20) & (lru->slot_count - 1);
}

void
lru_init(struct lru *lru, const struct lru_options *options)
{
    *lru = (struct lru){.options = *options};
}

void
lru_fini(struct lru *lru)
{
    free(lru->slots);
    *lru = (struct lru){.options = lru->options};
}

struct lru_item *
lru_find(const struct lru *lru, uint64_t key)
{
    if (lru->slot_count == 0) {
        return NULL;
    }
    struct lru_item *item = lru->slots[slot_of(lru, key)];
    while (item && item->key != key) {
        item = item->chain;
    }
    return item;
}

static void
grow_slots(struct lru *lru)
{
    size_t old_count = lru->slot_count;
    struct lru_item **old = lru->slots;

    lru->slot_count = old_count ? old_count * 2 : SLOTS_FIRST;
    lru->slots = mem_zalloc(lru->slot_count, sizeof(struct lru_item *));
    for (size_t i = 0; i < old_count; i++) {
        while (old[i]) {
            struct lru_item *item = old[i];
            struct lru_item **slot = &lru->slots[slot_of(lru, item->key)];
            old[i] = item->chain;
            item->chain = *slot;
            *slot = item;
        }
    }
    free(old);
}

static void
link_front(struct lru *lru, struct lru_item *item)
{
    item->newer = NULL;
    item->older = lru->front;
    if (lru->front) {
        lru->front->newer = item;
    } else {
        lru->back = item;
    }
    lru->front = item;
}

static void
unlink_item(struct lru *lru, struct lru_item *item)
{
    *(item->newer ? &item->newer->older : &lru->front) = item->older;
    *(item->older ? &item->older->newer : &lru->back) = item->newer;
}

void
lru_add(struct lru *lru, struct lru_item *item, uint64_t key)
{
    assert(!lru_find(lru, key));
    if (lru->stats.series >= lru->slot_count) {
        grow_slots(lru);
    }
    struct lru_item **slot = &lru->slots[slot_of(lru, key)];
    *item = (struct lru_item){.key = key, .chain = *slot};
    *slot = item;
    link_front(lru, item);
    lru->stats.series++;
}

void
lru_touch(struct lru *lru, struct lru_item *item)
{
    if (lru->front == item || lru->options.fifo) {
        return;
    }
    unlink_item(lru, item);
    link_front(lru, item);
}

void
lru_account(struct lru *lru, struct lru_item *item, uint64_t points, uint64_t bytes)
{
    assert(lru->stats.points >= item->points && lru->stats.bytes >= item->bytes);
    lru->stats.points += points - item->points;
    lru->stats.bytes += bytes - item->bytes;
    item->points = points;
    item->bytes = bytes;
}

void
lru_remove(struct lru *lru, struct lru_item *item)
{
    struct lru_item **at = &lru->slots[slot_of(lru, item->key)];

    while (*at != item) {
        assert(*at);
        at = &(*at)->chain;
    }
    *at = item->chain;
    unlink_item(lru, item);
    lru_account(lru, item, 0, 0);
    lru->stats.series--;
}

static bool
is_over(uint64_t value, uint64_t max)
{
    return max > 0 && value > max;
}

bool
lru_is_over(const struct lru *lru)
{
    return is_over(lru->stats.points, lru->options.points_max) ||
           is_over(lru->stats.bytes, lru->options.bytes_max);
}

struct lru_item *
lru_victim(const struct lru *lru, struct lru_item *writer)
{
    if (writer && (is_over(writer->points, lru->options.points_max / 2) ||
                   is_over(writer->bytes, lru->options.bytes_max / 2))) {
        return writer;
    }
    return lru->back;
}

void
lru_count_eviction(struct lru *lru, uint64_t series, uint64_t points)
{
    lru->stats.evicted_series += series;
    lru->stats.evicted_points += points;
}

void
lru_count_read(struct lru *lru, bool hit)
{
    lru->stats.hits += hit;
    lru->stats.misses += !hit;
}

static double
share_of(uint64_t value, uint64_t max)
{
    return max > 0 ? (double)value / (double)max : 0;
}

void
lru_stats_of(const struct lru *lru, struct lru_stats *ret_stats)
{
    double points = share_of(lru->stats.points, lru->options.points_max);
    double bytes = share_of(lru->stats.bytes, lru->options.bytes_max);

    *ret_stats = lru->stats;
    ret_stats->points_max = lru->options.points_max;
    ret_stats->bytes_max = lru->options.bytes_max;
    ret_stats->utilization = points > bytes ? points : bytes;
}

/* ---- points ---- */

void
ring_init(struct ring *points, bool with_orders, int64_t complete_us)
{
    *points = (struct ring){.complete_us = complete_us};
    if (with_orders) {
        points->orders = mem_alloc(POINTS_FIRST * sizeof(uint64_t));
        points->pairs = mem_alloc(POINTS_FIRST * sizeof(struct ring_pair));
        points->cap = POINTS_FIRST;
    }
}

void
ring_fini(struct ring *points)
{
    free(points->pairs);
    free(points->orders);
    *points = (struct ring){0};
}

size_t
ring_bytes(const struct ring *points)
{
    return points->cap * (sizeof(struct ring_pair) + (points->orders ? sizeof(uint64_t) : 0));
}

/* Copies a ring of places of some size, unrolled, into an array for `cap` of them. */
static void *
unroll(void *ring, const struct ring *points, size_t size, size_t cap)
{
    char *made = mem_alloc(cap * size);
    size_t first = points->cap - points->head;

    if (points->count > 0) {
        first = first < points->count ? first : points->count;
        memcpy(made, (char *)ring + points->head * size, first * size);
        memcpy(made + first * size, ring, (points->count - first) * size);
    }
    free(ring);
    return made;
}

static void
set_cap(struct ring *points, size_t cap)
{
    assert(cap >= points->count && (cap & (cap - 1)) == 0);
    points->pairs = unroll(points->pairs, points, sizeof(*points->pairs), cap);
    if (points->orders) {
        points->orders = unroll(points->orders, points, sizeof(*points->orders), cap);
    }
    points->cap = cap;
    points->head = 0;
}

static void
put(struct ring *points, size_t index, struct ring_point point)
{
    size_t place = ring_place(points, index);

    points->pairs[place] = (struct ring_pair){point.time_us, point.value};
    if (points->orders) {
        points->orders[place] = point.order;
    }
}

void
ring_add(struct ring *points, struct ring_point point)
{
    if (!ring_cover(points, point.time_us)) {
        return;
    }
    if (points->count == points->cap) {
        set_cap(points, points->cap ? points->cap * 2 : POINTS_FIRST);
    }
    size_t at = points->count++;
    while (at > 0 && ring_time(points, at - 1) > point.time_us) {
        put(points, at,
            (struct ring_point){ring_time(points, at - 1), ring_value(points, at - 1),
                                ring_order(points, at - 1)});
        at--;
    }
    put(points, at, point);
}

void
ring_drop_oldest(struct ring *points, size_t count)
{
    assert(count <= points->count);
    if (count == 0) {
        return;
    }
    int64_t last_us = ring_time(points, count - 1);
    points->head = ring_place(points, count);
    points->count -= count;
    if (last_us >= points->complete_us) {
        points->complete_us = last_us < INT64_MAX ? last_us + 1 : INT64_MAX;
    }
}

void
ring_drop_until(struct ring *points, int64_t time_us)
{
    size_t count = time_us < INT64_MAX ? ring_before(points, time_us + 1) : points->count;

    ring_drop_oldest(points, count);
    if (time_us >= points->complete_us) {
        points->complete_us = time_us < INT64_MAX ? time_us + 1 : INT64_MAX;
    }
}

void
ring_shrink(struct ring *points)
{
    size_t cap = POINTS_FIRST;

    while (cap < points->count) {
        cap *= 2;
    }
    if (cap < points->cap) {
        set_cap(points, cap);
    }
}

size_t
ring_before(const struct ring *points, int64_t time_us)
{
    size_t low = 0;
    size_t high = points->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ring_time(points, middle) < time_us) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}
