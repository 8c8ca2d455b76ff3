/*
 * What was changed when: for every table, the last LSN that touched each five minutes of its time.
 * Whoever keeps an answer asks whether the rows it was made of can have changed since.
 *
 *   answer of rows in [from, to] at LSN n  --changes_since(table, from, to, n)-->  still true, or
 *                                                                                  perhaps not
 *
 * "Perhaps" is told too often, never too seldom: rows of one slot of time count as one, slots that
 * had to make room for others are remembered as one range, and a row of a table whose key has no
 * time (a trade) may have replaced a row of any time.
 *
 * Ownership: init/fini. Threads: any; one lock, below no other.
 */
#ifndef EIDER_STORE_CHANGES_H
#define EIDER_STORE_CHANGES_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "catalog/batch.h"

enum { CHANGES_SLOTS = 8192 }; /* of a table: four weeks of five minutes */

struct changes_slot {
    int64_t slot; /* time divided by the slot's width */
    uint64_t lsn; /* 0: empty */
};

struct changes_table {
    struct changes_slot *slots; /* CHANGES_SLOTS, made by the first change; NULL before, and where
                                   times do not tell */
    uint64_t newest_lsn;
    uint64_t range_lsn; /* of slots that made room and of removed rows, 0: none; their range: */
    int64_t range_min;
    int64_t range_max;
};

struct changes {
    pthread_mutex_t lock;
    struct changes_table tables[TABLE_ID_END];
    uint64_t reset_lsn; /* answers up to here are of another store; 0: none */
};

void changes_init(struct changes *changes);
void changes_fini(struct changes *changes);

/* Notes the rows of a batch that was applied with `lsn`. LSNs never fall but behind a reset, when
 * records are replayed: those are at or below what the reset was told, answers of which are taken
 * for changed whatever is noted. So an LSN that a removal took from the store before, and noted
 * behind the reset, does no harm though it is ahead of the replay. */
void changes_note(struct changes *changes, const struct batch *batch, uint64_t lsn);

/* Rows of `table` with times in [from_us, to_us] were removed, which no record says; `lsn` is the
 * next one that will be applied, so answers made until then are taken for changed. */
void changes_removed(struct changes *changes, enum table_id table, int64_t from_us, int64_t to_us,
                     uint64_t lsn);

/* Everything may be different now (the store was rebuilt, rows were dropped): answers made at or
 * before `lsn` are no longer true. */
void changes_reset(struct changes *changes, uint64_t lsn);

/* Whether a row of `table` with a time in [from_us, to_us] (any row of a table without times) may
 * have changed behind `lsn`. A view changes with what it is made of. */
bool changes_since(struct changes *changes, enum table_id table, int64_t from_us, int64_t to_us,
                   uint64_t lsn);

#endif
