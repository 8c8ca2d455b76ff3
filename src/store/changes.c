/* The last LSN of each slot of time, direct-mapped by the slot's number. */
#include "store/changes.h"

#include <stdlib.h>

#include "base/mem.h"

static const int64_t slot_us = 300000000;

void
changes_init(struct changes *changes)
{
    *changes = (struct changes){.reset_lsn = 0};
    pthread_mutex_init(&changes->lock, NULL);
}

void
changes_fini(struct changes *changes)
{
    for (int id = 1; id < TABLE_ID_END; id++) {
        free(changes->tables[id].slots);
    }
    pthread_mutex_destroy(&changes->lock);
}

static int64_t
slot_of(int64_t time_us)
{
    return time_us / slot_us - (time_us % slot_us < 0);
}

/* Remembers slots as one range. */
static void
note_range(struct changes_table *table, int64_t first, int64_t last, uint64_t lsn)
{
    bool none = table->range_lsn == 0;

    table->range_min = none || first < table->range_min ? first : table->range_min;
    table->range_max = none || last > table->range_max ? last : table->range_max;
    table->range_lsn = lsn > table->range_lsn ? lsn : table->range_lsn;
}

static void
note_slot(struct changes_table *table, int64_t slot, uint64_t lsn)
{
    struct changes_slot *place = &table->slots[(uint64_t)slot % CHANGES_SLOTS];

    if (place->lsn != 0 && place->slot != slot) {
        note_range(table, place->slot, place->slot, place->lsn);
    }
    *place = (struct changes_slot){slot, lsn};
}

/* Whether a row that comes changes rows of its own time alone. One whose key has no time may
 * replace a row of any other. */
static bool
is_told_by_time(const struct catalog_table *table)
{
    return table->time_column != CATALOG_NONE &&
           (table->key_mask == 0 || (table->key_mask >> table->time_column & 1));
}

void
changes_note(struct changes *changes, const struct batch *batch, uint64_t lsn)
{
    struct changes_table *table = &changes->tables[batch->table->id];
    int time_column = batch->table->time_column;

    if (batch->rows == 0) {
        return;
    }
    pthread_mutex_lock(&changes->lock);
    table->newest_lsn = lsn > table->newest_lsn ? lsn : table->newest_lsn;
    if (is_told_by_time(batch->table)) {
        if (!table->slots) {
            table->slots = mem_zalloc(CHANGES_SLOTS, sizeof(*table->slots));
        }
        int64_t last = 0;
        for (size_t row = 0; row < batch->rows; row++) {
            int64_t slot = slot_of(batch_get_i64(batch, (size_t)time_column, row));
            if (row == 0 || slot != last) {
                note_slot(table, slot, lsn);
                last = slot;
            }
        }
    }
    pthread_mutex_unlock(&changes->lock);
}

void
changes_removed(struct changes *changes, enum table_id table, int64_t from_us, int64_t to_us,
                uint64_t lsn)
{
    struct changes_table *of = &changes->tables[table];

    pthread_mutex_lock(&changes->lock);
    of->newest_lsn = lsn > of->newest_lsn ? lsn : of->newest_lsn;
    note_range(of, slot_of(from_us), slot_of(to_us), lsn);
    pthread_mutex_unlock(&changes->lock);
}

void
changes_reset(struct changes *changes, uint64_t lsn)
{
    pthread_mutex_lock(&changes->lock);
    for (int id = 1; id < TABLE_ID_END; id++) {
        /* A store that was restored begins at an older LSN. */
        changes->tables[id].newest_lsn = 0;
    }
    changes->reset_lsn = lsn > changes->reset_lsn ? lsn : changes->reset_lsn;
    pthread_mutex_unlock(&changes->lock);
}

static bool
slots_changed(const struct changes_table *table, int64_t first, int64_t last, uint64_t lsn)
{
    if (table->range_lsn > lsn && table->range_min <= last && table->range_max >= first) {
        return true;
    }
    for (size_t i = 0; i < CHANGES_SLOTS; i++) {
        const struct changes_slot *slot = &table->slots[i];
        if (slot->lsn > lsn && slot->slot >= first && slot->slot <= last) {
            return true;
        }
    }
    return false;
}

static bool
table_changed(const struct changes_table *table, int64_t from_us, int64_t to_us, uint64_t lsn)
{
    if (table->newest_lsn <= lsn) {
        return false;
    }
    return !table->slots || slots_changed(table, slot_of(from_us), slot_of(to_us), lsn);
}

bool
changes_since(struct changes *changes, enum table_id table, int64_t from_us, int64_t to_us,
              uint64_t lsn)
{
    bool changed;

    pthread_mutex_lock(&changes->lock);
    changed = changes->reset_lsn > 0 && lsn <= changes->reset_lsn;
    if (table == TABLE_METRICS) {
        changed = changed || table_changed(&changes->tables[TABLE_SAMPLES], from_us, to_us, lsn) ||
                  table_changed(&changes->tables[TABLE_SERIES], INT64_MIN, INT64_MAX, lsn);
    } else {
        changed = changed || table_changed(&changes->tables[table], from_us, to_us, lsn);
    }
    pthread_mutex_unlock(&changes->lock);
    return changed;
}
