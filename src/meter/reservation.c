/* The table of reservations: a hash by id, a heap by deadline, a list of the closed. */
#include "meter/reservation.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/mem.h"

enum { FIRST_BUCKETS = 1024 };

const char *
reservation_state_name(enum reservation_state state)
{
    switch (state) {
    case RESERVATION_OPEN:
        return "open";
    case RESERVATION_COMMITTED:
        return "committed";
    case RESERVATION_RELEASED:
        return "released";
    case RESERVATION_EXPIRED:
        return "expired";
    }
    return "?";
}

void
reservations_init(struct reservations *table, size_t closed_max)
{
    *table = (struct reservations){.closed_max = closed_max, .bucket_count = FIRST_BUCKETS};
    table->buckets = mem_zalloc(FIRST_BUCKETS, sizeof(struct reservation *));
}

static void
free_one(struct reservation *reservation)
{
    budget_hold_fini(&reservation->hold);
    free(reservation->probe_of);
    free(reservation->texts);
    free(reservation);
}

void
reservations_fini(struct reservations *table)
{
    for (size_t i = 0; i < table->bucket_count; i++) {
        while (table->buckets[i]) {
            struct reservation *reservation = table->buckets[i];
            table->buckets[i] = reservation->next;
            free_one(reservation);
        }
    }
    free(table->buckets);
    free(table->heap);
    *table = (struct reservations){0};
}

static struct reservation **
bucket_of(const struct reservations *table, struct slice id)
{
    return &table->buckets[XXH3_64bits(id.ptr, id.len) & (table->bucket_count - 1)];
}

struct reservation *
reservations_find(const struct reservations *table, struct slice id)
{
    struct reservation *reservation = *bucket_of(table, id);

    while (reservation && !slice_is(id, reservation->id)) {
        reservation = reservation->next;
    }
    return reservation;
}

static void
grow(struct reservations *table)
{
    struct reservation **old = table->buckets;
    size_t old_count = table->bucket_count;

    table->bucket_count *= 2;
    table->buckets = mem_zalloc(table->bucket_count, sizeof(struct reservation *));
    for (size_t i = 0; i < old_count; i++) {
        while (old[i]) {
            struct reservation *reservation = old[i];
            old[i] = reservation->next;
            struct reservation **bucket = bucket_of(table, slice_of(reservation->id));
            reservation->next = *bucket;
            *bucket = reservation;
        }
    }
    free(old);
}

/* ---- heap ---- */

static void
heap_put(struct reservations *table, size_t at, struct reservation *reservation)
{
    table->heap[at] = reservation;
    reservation->heap_at = at;
}

static void
heap_up(struct reservations *table, size_t at)
{
    struct reservation *moved = table->heap[at];

    while (at > 0 && table->heap[(at - 1) / 2]->deadline_us > moved->deadline_us) {
        heap_put(table, at, table->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_put(table, at, moved);
}

static void
heap_down(struct reservations *table, size_t at)
{
    struct reservation *moved = table->heap[at];

    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= table->heap_count) {
            break;
        }
        if (child + 1 < table->heap_count &&
            table->heap[child + 1]->deadline_us < table->heap[child]->deadline_us) {
            child++;
        }
        if (table->heap[child]->deadline_us >= moved->deadline_us) {
            break;
        }
        heap_put(table, at, table->heap[child]);
        at = child;
    }
    heap_put(table, at, moved);
}

static void
heap_add(struct reservations *table, struct reservation *reservation)
{
    if (table->heap_count == table->heap_capacity) {
        table->heap_capacity = table->heap_capacity ? table->heap_capacity * 2 : FIRST_BUCKETS;
        table->heap = mem_resize(table->heap, table->heap_capacity, sizeof(struct reservation *));
    }
    heap_put(table, table->heap_count++, reservation);
    heap_up(table, reservation->heap_at);
    table->credits_open += reservation->credits;
}

static void
heap_remove(struct reservations *table, struct reservation *reservation)
{
    size_t at = reservation->heap_at;
    struct reservation *last = table->heap[--table->heap_count];

    assert(table->heap[at] == reservation || last == reservation);
    table->credits_open -= reservation->credits;
    if (last == reservation) {
        return;
    }
    heap_put(table, at, last);
    heap_up(table, at);
    heap_down(table, last->heap_at);
}

/* ---- the table ---- */

static struct slice
keep(char **at, struct slice text)
{
    struct slice kept = slice_make(*at, text.len);

    if (text.len > 0) {
        memcpy(*at, text.ptr, text.len);
        *at += text.len;
    }
    return kept;
}

struct reservation *
reservations_add(struct reservations *table, struct slice id, const struct meter_call *call,
                 struct slice query, int64_t credits, int64_t deadline_us)
{
    struct reservation *reservation = mem_zalloc(1, sizeof(*reservation));
    size_t bytes = call->api_name.len + call->endpoint.len + call->method.len + call->api_key.len +
                   call->run_id.len + call->project.len + query.len;
    char *at = mem_alloc(bytes);

    assert(id.len > 0 && id.len <= METER_ID_MAX);
    memcpy(reservation->id, id.ptr, id.len);
    reservation->texts = at;
    reservation->text_bytes = bytes;
    reservation->api_name = keep(&at, call->api_name);
    reservation->endpoint = keep(&at, call->endpoint);
    reservation->method = keep(&at, call->method);
    reservation->api_key = keep(&at, call->api_key);
    reservation->run_id = keep(&at, call->run_id);
    reservation->project = keep(&at, call->project);
    reservation->query = keep(&at, query);
    reservation->credits = credits;
    reservation->deadline_us = deadline_us;
    if (table->count >= table->bucket_count) {
        grow(table);
    }
    struct reservation **bucket = bucket_of(table, id);
    reservation->next = *bucket;
    *bucket = reservation;
    table->count++;
    heap_add(table, reservation);
    reservation->logged = true;
    reservation->logged_older = table->logged_newest;
    if (table->logged_newest) {
        table->logged_newest->logged_newer = reservation;
    } else {
        table->logged_oldest = reservation;
    }
    table->logged_newest = reservation;
    return reservation;
}

static void
closed_unlink(struct reservations *table, struct reservation *reservation)
{
    if (reservation->older) {
        reservation->older->newer = reservation->newer;
    } else {
        table->closed_oldest = reservation->newer;
    }
    if (reservation->newer) {
        reservation->newer->older = reservation->older;
    } else {
        table->closed_newest = reservation->older;
    }
    reservation->newer = NULL;
    reservation->older = NULL;
    table->closed_count--;
}

void
reservations_ended(struct reservations *table, struct reservation *reservation)
{
    if (!reservation->logged) {
        return;
    }
    if (reservation->logged_older) {
        reservation->logged_older->logged_newer = reservation->logged_newer;
    } else {
        table->logged_oldest = reservation->logged_newer;
    }
    if (reservation->logged_newer) {
        reservation->logged_newer->logged_older = reservation->logged_older;
    } else {
        table->logged_newest = reservation->logged_older;
    }
    reservation->logged = false;
    reservation->logged_newer = NULL;
    reservation->logged_older = NULL;
}

void
reservations_remove(struct reservations *table, struct reservation *reservation)
{
    struct reservation **at = bucket_of(table, slice_of(reservation->id));

    while (*at != reservation) {
        at = &(*at)->next;
    }
    *at = reservation->next;
    table->count--;
    reservations_ended(table, reservation);
    if (reservation->state == RESERVATION_OPEN) {
        heap_remove(table, reservation);
    } else {
        closed_unlink(table, reservation);
    }
    free_one(reservation);
}

void
reservations_close(struct reservations *table, struct reservation *reservation,
                   enum reservation_state state)
{
    assert(reservation->state == RESERVATION_OPEN && state != RESERVATION_OPEN);
    heap_remove(table, reservation);
    reservation->state = state;
    reservation->older = table->closed_newest;
    if (table->closed_newest) {
        table->closed_newest->newer = reservation;
    } else {
        table->closed_oldest = reservation;
    }
    table->closed_newest = reservation;
    table->closed_count++;
}

void
reservations_reopen(struct reservations *table, struct reservation *reservation)
{
    assert(reservation->state != RESERVATION_OPEN);
    closed_unlink(table, reservation);
    reservation->state = RESERVATION_OPEN;
    heap_add(table, reservation);
}

void
reservations_move(struct reservations *table, struct reservation *reservation, int64_t deadline_us)
{
    assert(reservation->state == RESERVATION_OPEN);
    reservation->deadline_us = deadline_us;
    heap_up(table, reservation->heap_at);
    heap_down(table, reservation->heap_at);
}

void
reservations_resize(struct reservations *table, struct reservation *reservation, int64_t credits)
{
    assert(reservation->state == RESERVATION_OPEN);
    table->credits_open += credits - reservation->credits;
    reservation->credits = credits;
}

struct reservation *
reservations_first(const struct reservations *table)
{
    return table->heap_count > 0 ? table->heap[0] : NULL;
}

void
reservations_trim(struct reservations *table)
{
    struct reservation *reservation = table->closed_oldest;

    while (reservation && table->closed_count > table->closed_max) {
        struct reservation *newer = reservation->newer;
        if (reservation->ops > 0) {
            return; /* Those behind it are younger still. */
        }
        reservations_remove(table, reservation);
        reservation = newer;
    }
}

struct call_scope
reservation_scope(const struct reservation *reservation)
{
    return (struct call_scope){.values = {[DIM_API] = reservation->api_name,
                                          [DIM_ENDPOINT] = reservation->endpoint,
                                          [DIM_KEY] = reservation->api_key,
                                          [DIM_RUN_ID] = reservation->run_id,
                                          [DIM_PROJECT] = reservation->project}};
}
