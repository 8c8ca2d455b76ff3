/*
 * A histogram is a list of words: bucket in the upper 12 bits, count in the lower 20, in order of
 * buckets. A count that is full goes on in another word of the same bucket. An hour's cell has some
 * hundred words, where all buckets would be nine times as many.
 */
#include "meter/rollup_cells.h"

#include <math.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/mem.h"

#define HOUR_US INT64_C(3600000000)

enum { COUNT_BITS = 20, COUNT_MAX = (1 << COUNT_BITS) - 1, TABLE_FIRST = 64, WORDS_FIRST = 8 };

static const double latency_first_ms = 0.001;
static const double latency_step_log = 0.019802627296179712; /* ln 1.02: +-1 % about the middle */

unsigned
latency_bucket(double latency_ms)
{
    if (!(latency_ms >= latency_first_ms)) {
        return 0;
    }
    double steps = log(latency_ms / latency_first_ms) / latency_step_log;
    return steps >= LATENCY_BUCKETS - 2 ? LATENCY_BUCKETS - 1 : 1 + (unsigned)steps;
}

double
latency_of_bucket(unsigned bucket)
{
    if (bucket == 0) {
        return 0;
    }
    return latency_first_ms * exp(((double)bucket - 0.5) * latency_step_log);
}

int64_t
hour_of(int64_t time_us)
{
    int64_t rest = time_us % HOUR_US;

    return time_us - rest - (rest < 0 ? HOUR_US : 0);
}

/* ---- texts ---- */

void
texts_fini(struct texts *texts)
{
    for (size_t i = 0; i < texts->count; i++) {
        union {
            const char *in;
            void *out;
        } text = {.in = texts->all[i].ptr}; /* made by mem_strdup */
        free(text.out);
    }
    free(texts->all);
    free(texts->table);
    *texts = (struct texts){0};
}

static size_t
text_slot(const struct texts *texts, struct slice text)
{
    size_t mask = texts->table_size - 1;
    size_t slot = XXH3_64bits(text.len > 0 ? text.ptr : "", text.len) & mask;

    while (texts->table[slot] != 0 && !slice_eq(texts->all[texts->table[slot] - 1], text)) {
        slot = (slot + 1) & mask;
    }
    return slot;
}

static void
grow_texts(struct texts *texts)
{
    texts->table_size = texts->table_size ? 2 * texts->table_size : TABLE_FIRST;
    free(texts->table);
    texts->table = mem_zalloc(texts->table_size, sizeof(*texts->table));
    texts->capacity = texts->table_size / 2;
    texts->all = mem_resize(texts->all, texts->capacity, sizeof(*texts->all));
    for (size_t i = 0; i < texts->count; i++) {
        texts->table[text_slot(texts, texts->all[i])] = (uint32_t)(i + 1);
    }
}

uint32_t
texts_add(struct texts *texts, struct slice text)
{
    if (texts->count == texts->capacity) {
        grow_texts(texts);
    }
    size_t slot = text_slot(texts, text);
    if (texts->table[slot] == 0) {
        texts->all[texts->count] = (struct slice){mem_strdup(text), text.len};
        texts->bytes += text.len + 1 + sizeof(text) + 2 * sizeof(uint32_t);
        texts->table[slot] = (uint32_t)++texts->count;
    }
    return texts->table[slot] - 1;
}

int64_t
texts_find(const struct texts *texts, struct slice text)
{
    if (texts->count == 0) {
        return TEXT_NONE;
    }
    return (int64_t)texts->table[text_slot(texts, text)] - 1;
}

/* ---- cells ---- */

void
cells_fini(struct cells *cells)
{
    for (size_t i = 0; i < cells->count; i++) {
        free(cells->all[i].counts);
    }
    free(cells->all);
    free(cells->table);
    *cells = (struct cells){0};
}

size_t
cells_bytes(const struct cells *cells)
{
    return cells->bytes + cells->capacity * sizeof(*cells->all) +
           cells->table_size * sizeof(*cells->table);
}

static size_t
cell_slot(const struct cells *cells, int64_t hour_us, uint32_t api, uint32_t endpoint)
{
    uint64_t hash = (uint64_t)hour_us * UINT64_C(0x9e3779b97f4a7c15);
    size_t mask = cells->table_size - 1;

    hash = (hash ^ api) * UINT64_C(0xd6e8feb86659fd93);
    hash = (hash ^ hash >> 32 ^ endpoint) * UINT64_C(0xd6e8feb86659fd93);
    size_t slot = (hash >> 32) & mask;
    for (;; slot = (slot + 1) & mask) {
        if (cells->table[slot] == 0) {
            return slot;
        }
        const struct cell *cell = &cells->all[cells->table[slot] - 1];
        if (cell->hour_us == hour_us && cell->api == api && cell->endpoint == endpoint) {
            return slot;
        }
    }
}

static void
grow_cells(struct cells *cells)
{
    cells->table_size = cells->table_size ? 2 * cells->table_size : TABLE_FIRST;
    free(cells->table);
    cells->table = mem_zalloc(cells->table_size, sizeof(*cells->table));
    cells->capacity = cells->table_size / 2;
    cells->all = mem_resize(cells->all, cells->capacity, sizeof(*cells->all));
    for (size_t i = 0; i < cells->count; i++) {
        const struct cell *cell = &cells->all[i];
        cells->table[cell_slot(cells, cell->hour_us, cell->api, cell->endpoint)] =
            (uint32_t)(i + 1);
    }
}

static struct cell *
find_cell(struct cells *cells, int64_t hour_us, uint32_t api, uint32_t endpoint)
{
    if (cells->count == cells->capacity) {
        grow_cells(cells);
    }
    size_t slot = cell_slot(cells, hour_us, api, endpoint);
    if (cells->table[slot] == 0) {
        cells->all[cells->count] =
            (struct cell){.hour_us = hour_us, .api = api, .endpoint = endpoint};
        cells->table[slot] = (uint32_t)++cells->count;
    }
    return &cells->all[cells->table[slot] - 1];
}

static void
count_latency(struct cells *cells, struct cell *cell, double latency_ms)
{
    uint32_t bucket = latency_bucket(latency_ms);
    uint32_t low = 0;
    uint32_t high = cell->used;

    /* The first word of this bucket that has room, or where a new one belongs. */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        uint32_t word = cell->counts[middle];
        bool before = word >> COUNT_BITS < bucket ||
                      (word >> COUNT_BITS == bucket && (word & COUNT_MAX) == COUNT_MAX);
        if (before) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low < cell->used && cell->counts[low] >> COUNT_BITS == bucket) {
        cell->counts[low]++;
        return;
    }
    if (cell->used == cell->capacity) {
        uint32_t capacity = cell->capacity ? cell->capacity + cell->capacity / 2 : WORDS_FIRST;
        cell->counts = mem_resize(cell->counts, capacity, sizeof(*cell->counts));
        cells->bytes += (capacity - cell->capacity) * sizeof(*cell->counts);
        cell->capacity = capacity;
    }
    memmove(cell->counts + low + 1, cell->counts + low, (cell->used - low) * sizeof(*cell->counts));
    cell->counts[low] = bucket << COUNT_BITS | 1;
    cell->used++;
}

void
cells_add(struct cells *cells, const struct cell_entry *entry)
{
    struct cell *cell = find_cell(cells, hour_of(entry->timestamp_us), entry->api, entry->endpoint);

    cell->entries++;
    cells->overflow |= __builtin_add_overflow(cell->credits, entry->credits, &cell->credits);
    if (!entry->is_call) {
        return;
    }
    cell->calls++;
    cell->successes += entry->success;
    cell->latency_sum_ms += entry->latency_ms;
    count_latency(cells, cell, entry->latency_ms);
}

void
cell_add_counts(const struct cell *cell, uint64_t counts[LATENCY_BUCKETS])
{
    for (uint32_t i = 0; i < cell->used; i++) {
        counts[cell->counts[i] >> COUNT_BITS] += cell->counts[i] & COUNT_MAX;
    }
}
