/* The cells of a rollup and the texts that they are of. Not thread-safe. */
#ifndef EIDER_METER_ROLLUP_CELLS_H
#define EIDER_METER_ROLLUP_CELLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* Bucket 0: below 1 us. Bucket b: 0.001 ms * 1.02^(b-1) and up, the last one to infinity. */
enum { LATENCY_BUCKETS = 1152 };
unsigned latency_bucket(double latency_ms);
double latency_of_bucket(unsigned bucket);

/* ---- texts: each is kept once and has a number ---- */

struct texts {
    struct slice *all;
    size_t count;
    size_t capacity;
    uint32_t *table; /* number + 1; 0: empty */
    size_t table_size;
    size_t bytes;
};

enum { TEXT_NONE = -1 };

void texts_fini(struct texts *texts);
uint32_t texts_add(struct texts *texts, struct slice text);
int64_t texts_find(const struct texts *texts, struct slice text); /* or TEXT_NONE */

/* ---- cells ---- */

struct cell {
    int64_t hour_us;
    uint32_t api;
    uint32_t endpoint;
    uint64_t entries;
    uint64_t calls; /* entries that are no corrections; what follows is of them */
    uint64_t successes;
    double latency_sum_ms;
    int64_t credits;  /* of all entries */
    uint32_t *counts; /* of latencies, in order of buckets: see rollup_cells.c */
    uint32_t used;
    uint32_t capacity;
};

struct cells {
    struct cell *all;
    size_t count;
    size_t capacity;
    uint32_t *table;
    size_t table_size;
    size_t bytes;  /* of the histograms */
    bool overflow; /* credits beyond an int64_t */
};

/* One entry as a cell sees it. */
struct cell_entry {
    int64_t timestamp_us;
    uint32_t api;
    uint32_t endpoint;
    bool is_call;
    bool success;
    double latency_ms;
    int64_t credits;
};

void cells_fini(struct cells *cells);
void cells_add(struct cells *cells, const struct cell_entry *entry);
size_t cells_bytes(const struct cells *cells);

/* Adds a cell's histogram to one with all buckets. */
void cell_add_counts(const struct cell *cell, uint64_t counts[LATENCY_BUCKETS]);

/* The hour that a time is in, rounded down. */
int64_t hour_of(int64_t time_us);

#endif
