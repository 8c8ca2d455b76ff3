/*
 * Late rows whose keys may be in cold files: which days have them, and how such a day becomes hot
 * again in the transaction that replaces them.
 *
 * The applier's alone. Files are read by a connection of its own, so that one that cannot be read
 * does not end the transaction.
 */
#ifndef EIDER_STORE_DUCKDB_DUCK_UNSEAL_H
#define EIDER_STORE_DUCKDB_DUCK_UNSEAL_H

#include "store/duckdb/duck_cold.h"

/* Late rows of one day (DUCK_NEWEST). */
struct duck_probe_day {
    int32_t day;
    int64_t min_us;
    int64_t max_us;
};

/* What is looked for. */
struct duck_probe {
    struct duck_store *duck;
    struct duck_table *table;
    struct key_set keys;
    struct duck_probe_day *days; /* with cold files */
    size_t day_count;
    size_t day_cap;
    struct slice *texts; /* of keys that are one text (trades), the batches' own */
    size_t text_count;
    size_t text_cap;
    struct slice least;
    struct slice greatest;
};

void duck_probe_init(struct duck_probe *probe, struct duck_store *duck, struct duck_table *table);
void duck_probe_fini(struct duck_probe *probe);

/* Adds the key of a late row. */
void duck_probe_add(struct duck_probe *probe, const struct batch *batch, size_t row);

/*
 * In a transaction of the writer: makes the days hot that have one of the keys. The list that will
 * be is duck->cold.pending, for duck_cold_commit. A file that is damaged has no keys: its rows and
 * the new ones stand beside each other. ERR_IO when a file that is whole cannot be read.
 */
enum err_code duck_probe_unseal(struct duck_probe *probe, uint64_t lsn, struct err *err);

#endif
