/* Rows in, the least recently used out. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/memory/mem.h"

enum {
    SLOTS_FIRST = 64,
    ROW_COST = 96,    /* of a row besides itself: its slot, its key, the allocator */
    SERIES_COST = 64, /* the same of a series */
    TABLE_SHIFT = 56
};

static bool
is_text(enum col_type type)
{
    return type == COL_TEXT || type == COL_JSON;
}

static struct mem_row *
make_row(const struct catalog_table *table, const struct batch *batch, size_t row)
{
    size_t cells = sizeof(struct mem_row) + table->column_count * sizeof(union mem_cell);
    size_t bytes = cells;

    for (size_t i = 0; i < table->column_count; i++) {
        bytes += batch_get_text(batch, i, row).len;
    }
    assert(bytes <= UINT32_MAX);
    struct mem_row *made = mem_alloc(bytes);
    *made = (struct mem_row){.bytes = bytes};
    size_t at = cells;
    for (size_t i = 0; i < table->column_count; i++) {
        enum col_type type = table->columns[i].type;
        made->valid |= (uint32_t)!batch_is_null(batch, i, row) << i;
        if (is_text(type)) {
            struct slice text = batch_get_text(batch, i, row);
            made->cells[i].text.offset = (uint32_t)at;
            made->cells[i].text.len = (uint32_t)text.len;
            if (text.len > 0) {
                memcpy((char *)made + at, text.ptr, text.len);
            }
            at += text.len;
        } else if (type == COL_DOUBLE) {
            made->cells[i].f64 = batch_get_f64(batch, i, row);
        } else {
            made->cells[i].i64 = batch_get_i64(batch, i, row);
        }
    }
    return made;
}

size_t
mem_slot_of(const struct mem_table *table, uint64_t place)
{
    size_t low = 0;
    size_t high = table->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->slots[table->head + middle].place < place) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return table->head + low;
}

/* Closes the gaps, when there are as many as rows; else makes the array longer. */
static void
make_room(struct mem_table *table)
{
    if (table->cap > 0 && table->rows <= table->cap / 2) {
        size_t to = 0;
        for (size_t i = table->head; i < table->head + table->count; i++) {
            if (table->slots[i].row) {
                table->slots[to++] = table->slots[i];
            }
        }
        table->head = 0;
        table->count = to;
        return;
    }
    table->cap = table->cap ? table->cap * 2 : SLOTS_FIRST;
    table->slots = mem_resize(table->slots, table->cap, sizeof(*table->slots));
}

static void
push_row(struct mem_table *table, struct mem_row *row)
{
    if (table->head + table->count == table->cap) {
        make_room(table);
    }
    table->slots[table->head + table->count++] = (struct mem_slot){row->place, row};
    table->rows++;
}

/* The series of a row, made if need be. The key of a text is its hash: should two have the same,
 * they are used and go together, which harms neither. */
static struct mem_series *
series_of(struct mem_store *mem, const struct catalog_table *table, const struct batch *batch,
          size_t row)
{
    uint64_t key = 0;

    if (table->id == TABLE_SAMPLES) {
        key = (uint32_t)batch->columns[0].i32[row];
    } else if (table->series_column != CATALOG_NONE) {
        const struct column_list column = {1, {(uint8_t)table->series_column}};
        key = key_hash_row(batch, &column, row).lo & (((uint64_t)1 << TABLE_SHIFT) - 1);
    }
    key |= (uint64_t)table->id << TABLE_SHIFT;
    struct lru_item *item = lru_find(&mem->lru, key);
    if (!item) {
        struct mem_series *made = mem_zalloc(1, sizeof(*made));
        made->table = table;
        if (table->id == TABLE_SAMPLES) {
            ring_init(&made->points, true, INT64_MIN);
        }
        lru_add(&mem->lru, &made->item, key);
        item = &made->item;
    }
    return (struct mem_series *)item;
}

static void
link_row(struct mem_store *mem, struct mem_series *series, struct mem_row *row)
{
    row->series = series;
    row->older = series->newest;
    row->newer = NULL;
    *(series->newest ? &series->newest->newer : &series->oldest) = row;
    series->newest = row;
    lru_account(&mem->lru, &series->item, series->item.points + 1,
                series->item.bytes + row->bytes + ROW_COST);
}

static void
unlink_row(struct mem_store *mem, struct mem_row *row)
{
    struct mem_series *series = row->series;

    *(row->older ? &row->older->newer : &series->oldest) = row->newer;
    *(row->newer ? &row->newer->older : &series->newest) = row->older;
    lru_account(&mem->lru, &series->item, series->item.points - 1,
                series->item.bytes - row->bytes - ROW_COST);
}

static void
drop_series(struct mem_store *mem, struct mem_series *series)
{
    lru_remove(&mem->lru, &series->item);
    ring_fini(&series->points);
    free(series);
}

static void
drop_row(struct mem_store *mem, struct mem_row *row)
{
    struct mem_table *table = &mem->tables[row->series->table->id];
    size_t slot = mem_slot_of(table, row->place);

    assert(table->slots[slot].row == row);
    table->slots[slot].row = NULL;
    table->rows--;
    while (table->count > 0 && !table->slots[table->head].row) {
        table->head++;
        table->count--;
    }
    if (table->key.count > 0) {
        key_map_remove(&table->places, row->key);
    }
    unlink_row(mem, row);
    free(row);
}

static void
account_points(struct mem_store *mem, struct mem_series *series)
{
    lru_account(&mem->lru, &series->item, series->points.count,
                ring_bytes(&series->points) + sizeof(*series) + SERIES_COST);
}

/* The store is the truth about what it has: nothing is missing before what went. */
static void
drop_point(struct mem_store *mem, struct mem_series *series)
{
    ring_drop_oldest(&series->points, 1);
    series->points.complete_us = INT64_MIN;
    if (series->points.count < series->points.cap / 4) {
        ring_shrink(&series->points);
    }
    account_points(mem, series);
}

/* Over the bounds the oldest rows of the least recently used series go, one by one; a series that
 * is empty goes, too. */
static void
evict(struct mem_store *mem, struct mem_series *writer)
{
    while (lru_is_over(&mem->lru)) {
        struct lru_item *item = lru_victim(&mem->lru, writer ? &writer->item : NULL);
        struct mem_series *series = (struct mem_series *)item;
        if (!item) {
            return;
        }
        bool had = item->points > 0;
        if (had && series->table->id == TABLE_SAMPLES) {
            drop_point(mem, series);
        } else if (had) {
            drop_row(mem, series->oldest);
        }
        bool is_empty = item->points == 0;
        lru_count_eviction(&mem->lru, is_empty, had);
        if (is_empty) {
            writer = series == writer ? NULL : writer;
            drop_series(mem, series);
        }
    }
}

static void
put_sample(struct mem_store *mem, const struct catalog_table *table, const struct batch *batch,
           size_t row)
{
    struct mem_series *series = series_of(mem, table, batch, row);

    ring_add(&series->points, (struct ring_point){.time_us = batch->columns[1].i64[row],
                                                  .value = batch->columns[2].f64[row],
                                                  .order = mem->next_order++});
    account_points(mem, series);
    lru_touch(&mem->lru, &series->item);
    evict(mem, series);
}

/* What the rest is understood by: who writes samples relies on a series being defined, whoever
 * spends on budgets and prices. It is little, and never dropped. */
static bool
is_definition(enum table_id table)
{
    return table == TABLE_SERIES || table == TABLE_BUDGET_CHANGES || table == TABLE_PRICE_BOOK;
}

static void
put_definition(struct mem_store *mem, struct mem_table *table, struct mem_row *row)
{
    size_t share = mem->bytes_max / 2;

    push_row(table, row);
    mem->definition_bytes += row->bytes + ROW_COST;
    mem->lru.options.bytes_max =
        mem->definition_bytes < share ? mem->bytes_max - mem->definition_bytes : share;
    evict(mem, NULL);
}

void
mem_put_row(struct mem_store *mem, struct mem_table *table, const struct batch *batch, size_t row)
{
    struct key_hash hash = {0};
    int64_t *place = NULL;
    bool is_new = true;

    if (table->table->id == TABLE_SAMPLES) {
        put_sample(mem, table->table, batch, row);
        return;
    }
    if (table->key.count > 0) {
        hash = key_hash_row(batch, &table->key, row);
        place = key_map_put(&table->places, hash, (int64_t)mem->next_place, &is_new);
    }
    if (!is_new && table->table->id == TABLE_SERIES) {
        return; /* a series stays as it came first */
    }
    struct mem_row *made = make_row(table->table, batch, row);
    made->order = mem->next_order++;
    made->place = is_new ? mem->next_place++ : (uint64_t)*place;
    made->key = hash;
    if (is_definition(table->table->id)) {
        assert(is_new);
        put_definition(mem, table, made);
        return;
    }
    struct mem_series *series = series_of(mem, table->table, batch, row);
    if (is_new) {
        push_row(table, made);
    } else {
        struct mem_row **old = &table->slots[mem_slot_of(table, made->place)].row;
        unlink_row(mem, *old);
        free(*old);
        *old = made;
        atomic_fetch_add(&mem->replaced, 1);
    }
    link_row(mem, series, made);
    lru_touch(&mem->lru, &series->item);
    evict(mem, series);
}

void
mem_promote(struct mem_store *mem)
{
    pthread_mutex_lock(&mem->touched_lock);
    for (size_t i = 0; i < mem->touched_count; i++) {
        struct lru_item *item = lru_find(&mem->lru, mem->touched[i]);
        if (item) {
            lru_touch(&mem->lru, item);
        }
    }
    mem->touched_count = 0;
    pthread_mutex_unlock(&mem->touched_lock);
}

void
mem_free_rows(struct mem_store *mem)
{
    for (int id = 1; id < TABLE_ID_END; id++) {
        struct mem_table *table = &mem->tables[id];
        for (size_t i = 0; i < table->count; i++) {
            free(table->slots[table->head + i].row);
        }
        free(table->slots);
        key_map_fini(&table->places);
    }
    while (mem->lru.front) {
        drop_series(mem, (struct mem_series *)mem->lru.front);
    }
    lru_fini(&mem->lru);
}

const struct mem_row *
mem_find_series(const struct mem_store *mem, int32_t series_id)
{
    const struct mem_table *table = &mem->tables[TABLE_SERIES];
    struct column column = {.type = COL_INT32, .i32 = &series_id};
    struct batch one = {.rows = 1, .column_count = 1, .columns = &column};
    struct column_list first = {.count = 1};
    const int64_t *place = key_map_find(&table->places, key_hash_row(&one, &first, 0));

    return place ? table->slots[mem_slot_of(table, (uint64_t)*place)].row : NULL;
}
