/* Hash tables with linear probing; removal shifts the run back, so there are no tombstones. */
#include "store/keys.h"

#include <assert.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/mem.h"

enum { SLOTS_FIRST = 64, NULL_SEED = 0x4e554c4c };

struct key_map_slot {
    struct key_hash hash; /* lo 0: empty */
    int64_t value;
};

struct column_list
column_list_of_key(const struct catalog_table *table, bool with_time)
{
    struct column_list list = {0};

    for (size_t i = 0; i < table->column_count; i++) {
        bool is_key = table->key_mask >> i & 1;
        if (is_key && (with_time || (int)i != table->time_column)) {
            list.index[list.count++] = (uint8_t)i;
        }
    }
    return list;
}

struct column_list
column_list_of_table(const struct catalog_table *table)
{
    struct column_list list = {.count = table->column_count};

    assert(table->column_count <= CATALOG_COLUMNS_MAX);
    for (size_t i = 0; i < table->column_count; i++) {
        list.index[i] = (uint8_t)i;
    }
    return list;
}

bool
column_list_of_mask(const struct catalog_table *table, uint64_t mask, struct column_list *ret_list)
{
    struct column_list list = {0};

    if (mask == 0) {
        *ret_list = column_list_of_table(table);
        return true;
    }
    if (mask >> table->column_count != 0) {
        return false;
    }
    for (size_t i = 0; i < table->column_count; i++) {
        if (mask >> i & 1) {
            list.index[list.count++] = (uint8_t)i;
        }
    }
    *ret_list = list;
    return true;
}

/* The bytes of one value; `row` is not NULL. */
static struct slice
value_bytes(const struct column *column, size_t row)
{
    switch (column->type) {
    case COL_BOOL:
        return slice_make(column->b + row, sizeof(*column->b));
    case COL_INT32:
        return slice_make(column->i32 + row, sizeof(*column->i32));
    case COL_INT64:
    case COL_TIMESTAMP:
    case COL_DECIMAL:
        return slice_make(column->i64 + row, sizeof(*column->i64));
    case COL_DOUBLE:
        return slice_make(column->f64 + row, sizeof(*column->f64));
    case COL_TEXT:
    case COL_JSON:
        return column->text[row];
    case COL_TYPE_COUNT:
        break;
    }
    assert(false && "a column type");
    return (struct slice){"", 0};
}

struct key_hash
key_hash_row(const struct batch *batch, const struct column_list *columns, size_t row)
{
    XXH128_hash_t hash = {.low64 = 1, .high64 = 0};
    uint64_t seed = 0;

    for (size_t i = 0; i < columns->count; i++) {
        size_t index = columns->index[i];
        if (batch_is_null(batch, index, row)) {
            hash = XXH3_128bits_withSeed("", 0, seed ^ NULL_SEED);
        } else {
            struct slice bytes = value_bytes(&batch->columns[index], row);
            hash = XXH3_128bits_withSeed(bytes.ptr, bytes.len, seed);
        }
        seed = hash.low64 ^ (hash.high64 << 31 | hash.high64 >> 33);
    }
    return (struct key_hash){hash.low64 ? hash.low64 : 1, hash.high64};
}

/* Slots for one key more, or 0 when that is over the bound. */
static size_t
slots_wanted(size_t slot_count, size_t used, size_t slot_bytes, size_t max_bytes)
{
    size_t wanted = slot_count ? slot_count : SLOTS_FIRST;

    while ((used + 1) * 4 > wanted * 3) {
        wanted *= 2;
    }
    return wanted > slot_count && wanted > max_bytes / slot_bytes ? 0 : wanted;
}

void
key_map_init(struct key_map *map, size_t max_bytes)
{
    *map = (struct key_map){.max_bytes = max_bytes};
}

void
key_map_fini(struct key_map *map)
{
    free(map->slots);
    *map = (struct key_map){.max_bytes = map->max_bytes};
}

/* The slot of a key, or the empty one where it belongs. */
static struct key_map_slot *
map_slot(const struct key_map *map, struct key_hash hash)
{
    size_t mask = map->slot_count - 1;
    size_t at = hash.lo & mask;

    while (map->slots[at].hash.lo != 0 &&
           (map->slots[at].hash.lo != hash.lo || map->slots[at].hash.hi != hash.hi)) {
        at = (at + 1) & mask;
    }
    return &map->slots[at];
}

int64_t *
key_map_find(const struct key_map *map, struct key_hash hash)
{
    if (map->used == 0) {
        return NULL;
    }
    struct key_map_slot *slot = map_slot(map, hash);
    return slot->hash.lo != 0 ? &slot->value : NULL;
}

static void
map_grow(struct key_map *map, size_t slot_count)
{
    struct key_map old = *map;

    map->slots = mem_zalloc(slot_count, sizeof(*map->slots));
    map->slot_count = slot_count;
    for (size_t i = 0; i < old.slot_count; i++) {
        if (old.slots[i].hash.lo != 0) {
            *map_slot(map, old.slots[i].hash) = old.slots[i];
        }
    }
    free(old.slots);
}

int64_t *
key_map_put(struct key_map *map, struct key_hash hash, int64_t value, bool *ret_new)
{
    int64_t *found = key_map_find(map, hash);

    *ret_new = !found;
    if (found) {
        return found;
    }
    size_t wanted = slots_wanted(map->slot_count, map->used, sizeof(*map->slots), map->max_bytes);
    if (wanted == 0) {
        return NULL;
    }
    if (wanted > map->slot_count) {
        map_grow(map, wanted);
    }
    struct key_map_slot *slot = map_slot(map, hash);
    *slot = (struct key_map_slot){.hash = hash, .value = value};
    map->used++;
    return &slot->value;
}

void
key_map_remove(struct key_map *map, struct key_hash hash)
{
    if (!key_map_find(map, hash)) {
        return;
    }
    size_t mask = map->slot_count - 1;
    size_t hole = (size_t)(map_slot(map, hash) - map->slots);
    size_t at = hole;
    for (;;) {
        at = (at + 1) & mask;
        if (map->slots[at].hash.lo == 0) {
            break;
        }
        /* A key may fill the hole when its own place is not between the hole and where it is. */
        size_t home = map->slots[at].hash.lo & mask;
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            map->slots[hole] = map->slots[at];
            hole = at;
        }
    }
    map->slots[hole] = (struct key_map_slot){0};
    map->used--;
}

void
key_set_init(struct key_set *set, size_t max_bytes)
{
    *set = (struct key_set){.max_bytes = max_bytes};
}

void
key_set_fini(struct key_set *set)
{
    free(set->slots);
    *set = (struct key_set){.max_bytes = set->max_bytes};
}

static uint64_t *
set_slot(const struct key_set *set, uint64_t lo)
{
    size_t mask = set->slot_count - 1;
    size_t at = lo & mask;

    while (set->slots[at] != 0 && set->slots[at] != lo) {
        at = (at + 1) & mask;
    }
    return &set->slots[at];
}

bool
key_set_has(const struct key_set *set, struct key_hash hash)
{
    return set->used > 0 && *set_slot(set, hash.lo) != 0;
}

bool
key_set_add(struct key_set *set, struct key_hash hash)
{
    if (key_set_has(set, hash)) {
        return true;
    }
    size_t wanted = slots_wanted(set->slot_count, set->used, sizeof(*set->slots), set->max_bytes);
    if (wanted == 0) {
        return false;
    }
    if (wanted > set->slot_count) {
        struct key_set old = *set;
        set->slots = mem_zalloc(wanted, sizeof(*set->slots));
        set->slot_count = wanted;
        for (size_t i = 0; i < old.slot_count; i++) {
            if (old.slots[i] != 0) {
                *set_slot(set, old.slots[i]) = old.slots[i];
            }
        }
        free(old.slots);
    }
    *set_slot(set, hash.lo) = hash.lo;
    set->used++;
    return true;
}
