/*
 * The rows of one record while they are gathered: a batch for every table that got any, the samples
 * of metrics, and the definitions of series that are not durable yet.
 *
 * Ownership: init/fini; reset keeps the memory for the next record. One thread at a time. Texts are
 * borrowed as the batches' are.
 */
#ifndef EIDER_INGEST_ROWS_H
#define EIDER_INGEST_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "catalog/batch.h"
#include "ingest/series.h"

/* No record can hold more; it is a bound for memory long before the record is encoded. */
enum { ROWS_MAX = 4 << 20 };

struct rows {
    struct batch batches[TABLE_ID_END]; /* by table id; table NULL: not in use */
    /* Samples are written straight into their batch's columns; they are added to its rows by
     * rows_seal. */
    int32_t *sample_ids;
    int64_t *sample_times;
    double *sample_values;
    size_t sample_count;
    size_t sample_room;
    /* Series whose definitions go along, and a hash set of them. */
    struct series **announced;
    size_t announced_count;
    size_t announced_capacity;
    uint32_t *set; /* index into `announced` + 1; 0: free */
    size_t set_mask;
};

void rows_init(struct rows *rows);
void rows_fini(struct rows *rows);
void rows_reset(struct rows *rows);

/* The batch of a table. */
struct batch *rows_batch(struct rows *rows, const struct catalog_table *table);

/* Makes room for `count` more samples; false over ROWS_MAX. */
bool rows_grow_samples(struct rows *rows, size_t count);

static inline bool
rows_sample_room(struct rows *rows, size_t count)
{
    return rows->sample_room - rows->sample_count >= count || rows_grow_samples(rows, count);
}

/* Adds a sample; there must be room. */
static inline void
rows_add_sample(struct rows *rows, int32_t series_id, int64_t time_us, double value)
{
    size_t at = rows->sample_count++;

    rows->sample_ids[at] = series_id;
    rows->sample_times[at] = time_us;
    rows->sample_values[at] = value;
}

/* Sends the definition of a series along, once. */
void rows_announce(struct rows *rows, struct series *series);

/* The record is durable: so are the definitions in it. */
void rows_mark_durable(const struct rows *rows);

/*
 * Ends the gathering: writes the batches with rows to `ret_view`, which has room for TABLE_ID_END,
 * series first, then samples, then tables, the idempotency key last; returns how many. The copies
 * borrow everything from `rows`.
 */
size_t rows_seal(struct rows *rows, struct batch *ret_view);

/* Bytes held, for budgets and for deciding whether to keep the memory. */
size_t rows_memory(const struct rows *rows);

#endif
