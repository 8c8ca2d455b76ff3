/*
 * Matching. By id: both sides sorted by id, walked together. By time: the calls of an endpoint in
 * the order of their times; the closest pair of all is always a pair of neighbours, so a heap of
 * neighbours and a linked list find it, and taking it out makes at most one new pair.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "codec/time.h"
#include "meter/reconcile_internal.h"

struct pair {
    int64_t distance_us;
    bool differ; /* in credits */
    uint32_t left;
    uint32_t right;
};

/* The calls that time may match, as places in an order. */
struct field {
    struct reconcile *reconcile;
    uint32_t *rows; /* place -> row */
    uint32_t *before;
    uint32_t *after;
    size_t count;
    struct pair *heap;
    size_t heap_count;
};

static int
sign(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* ---- by id ---- */

static int
compare_ids(const void *left, const void *right, void *user)
{
    const struct reconcile *reconcile = user;
    const struct reconcile_row *a = &reconcile->rows[*(const uint32_t *)left];
    const struct reconcile_row *b = &reconcile->rows[*(const uint32_t *)right];
    int by = slice_cmp(a->id, b->id);

    by = by ? by : sign(b->ours, a->ours);
    by = by ? by : sign(a->time_us, b->time_us);
    by = by ? by : sign(a->credits, b->credits);
    return by ? by : sign((int64_t)a->number, (int64_t)b->number);
}

static void
marry(struct reconcile *reconcile, uint32_t a, uint32_t b)
{
    assert(reconcile->rows[a].ours != reconcile->rows[b].ours);
    reconcile->rows[a].mate = b;
    reconcile->rows[b].mate = a;
}

/* Ids given several times are matched in the order of time. */
static void
match_ids(struct reconcile *reconcile)
{
    MEM_AUTO uint32_t *order = mem_alloc(reconcile->count * sizeof(order[0]));
    size_t count = 0;

    for (uint32_t i = 0; i < reconcile->count; i++) {
        if (reconcile->rows[i].id.len > 0) {
            order[count++] = i;
        }
    }
    qsort_r(order, count, sizeof(order[0]), compare_ids, reconcile);
    for (size_t start = 0; start < count;) {
        size_t end = start;
        size_t ours = 0;
        while (end < count &&
               slice_eq(reconcile->rows[order[start]].id, reconcile->rows[order[end]].id)) {
            ours += reconcile->rows[order[end++]].ours;
        }
        for (size_t i = 0; i < ours && start + ours + i < end; i++) {
            marry(reconcile, order[start + i], order[start + ours + i]);
        }
        start = end;
    }
}

/* ---- by time ---- */

static int64_t
coarse_time(const struct reconcile *reconcile, const struct reconcile_row *row)
{
    int64_t rest = row->time_us % TIME_US_PER_S;

    if (reconcile->fine_times) {
        return row->time_us;
    }
    return row->time_us - rest - (rest < 0 ? TIME_US_PER_S : 0);
}

static int
compare_places(const void *left, const void *right, void *user)
{
    const struct reconcile *reconcile = user;
    const struct reconcile_row *a = &reconcile->rows[*(const uint32_t *)left];
    const struct reconcile_row *b = &reconcile->rows[*(const uint32_t *)right];
    int by = slice_cmp(a->endpoint, b->endpoint);

    by = by ? by : sign(coarse_time(reconcile, a), coarse_time(reconcile, b));
    by = by ? by : sign(a->credits, b->credits);
    by = by ? by : sign(b->ours, a->ours);
    by = by ? by : sign(a->time_us, b->time_us);
    by = by ? by : slice_cmp(a->id, b->id);
    by = by ? by : slice_cmp(a->event_id, b->event_id);
    return by ? by : sign((int64_t)a->number, (int64_t)b->number);
}

static bool
pair_less(const struct pair *a, const struct pair *b)
{
    if (a->distance_us != b->distance_us) {
        return a->distance_us < b->distance_us;
    }
    return a->differ != b->differ ? b->differ : a->left < b->left;
}

static void
heap_push(struct field *field, struct pair pair)
{
    size_t at = field->heap_count++;

    while (at > 0 && pair_less(&pair, &field->heap[(at - 1) / 2])) {
        field->heap[at] = field->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    field->heap[at] = pair;
}

static struct pair
heap_pop(struct field *field)
{
    struct pair top = field->heap[0];
    struct pair last = field->heap[--field->heap_count];
    size_t at = 0;

    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= field->heap_count) {
            break;
        }
        if (child + 1 < field->heap_count &&
            pair_less(&field->heap[child + 1], &field->heap[child])) {
            child++;
        }
        if (!pair_less(&field->heap[child], &last)) {
            break;
        }
        field->heap[at] = field->heap[child];
        at = child;
    }
    field->heap[at] = last;
    return top;
}

/* Offers two neighbours, if they may be one call. */
static void
offer(struct field *field, uint32_t left, uint32_t right)
{
    const struct reconcile *reconcile = field->reconcile;

    if (left == RECONCILE_NONE || right == RECONCILE_NONE) {
        return;
    }
    const struct reconcile_row *a = &reconcile->rows[field->rows[left]];
    const struct reconcile_row *b = &reconcile->rows[field->rows[right]];
    if (a->ours == b->ours || !slice_eq(a->endpoint, b->endpoint)) {
        return;
    }
    int64_t distance = coarse_time(reconcile, b) - coarse_time(reconcile, a);
    if (distance <= reconcile->tolerance_us) {
        heap_push(field, (struct pair){distance, a->credits != b->credits, left, right});
    }
}

static void
take_out(struct field *field, uint32_t place)
{
    uint32_t before = field->before[place];
    uint32_t after = field->after[place];

    if (before != RECONCILE_NONE) {
        field->after[before] = after;
    }
    if (after != RECONCILE_NONE) {
        field->before[after] = before;
    }
    field->before[place] = field->after[place] = place; /* gone */
}

static void
match_neighbours(struct field *field)
{
    for (uint32_t i = 0; i < field->count; i++) {
        field->before[i] = i > 0 ? i - 1 : RECONCILE_NONE;
        field->after[i] = i + 1 < field->count ? i + 1 : RECONCILE_NONE;
    }
    for (uint32_t i = 0; i + 1 < field->count; i++) {
        offer(field, i, i + 1);
    }
    while (field->heap_count > 0) {
        struct pair pair = heap_pop(field);
        if (field->after[pair.left] != pair.right) {
            continue; /* one of them was taken */
        }
        marry(field->reconcile, field->rows[pair.left], field->rows[pair.right]);
        uint32_t before = field->before[pair.left];
        uint32_t after = field->after[pair.right];
        take_out(field, pair.left);
        take_out(field, pair.right);
        offer(field, before, after);
    }
}

/* `ids`: whether rows of ours, and of theirs, that have an id take part. Two ids that differ are
 * two calls, so at most one side brings such rows. */
static void
match_times(struct reconcile *reconcile, bool our_ids, bool their_ids)
{
    struct field field = {.reconcile = reconcile};
    size_t room = reconcile->count + 1;

    field.rows = mem_alloc(room * sizeof(field.rows[0]));
    field.before = mem_alloc(room * sizeof(field.before[0]));
    field.after = mem_alloc(room * sizeof(field.after[0]));
    /* At most one pair a neighbourhood, and a new one for every two that left. */
    field.heap = mem_alloc(2 * room * sizeof(field.heap[0]));
    for (uint32_t i = 0; i < reconcile->count; i++) {
        const struct reconcile_row *row = &reconcile->rows[i];
        bool takes_part = row->id.len == 0 || (row->ours ? our_ids : their_ids);
        if (row->mate == RECONCILE_NONE && takes_part) {
            field.rows[field.count++] = i;
        }
    }
    qsort_r(field.rows, field.count, sizeof(field.rows[0]), compare_places, reconcile);
    match_neighbours(&field);
    free(field.rows);
    free(field.before);
    free(field.after);
    free(field.heap);
}

void
reconcile_match(struct reconcile *reconcile)
{
    if (reconcile->map.values[MAP_ID].len > 0) {
        match_ids(reconcile);
        match_times(reconcile, true, false);
        match_times(reconcile, false, true);
    } else {
        match_times(reconcile, true, true);
    }
}
