/* Rows in, the oldest out. */
#include "store/memory/store_memory.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/memory/mem.h"

enum { BYTES_MAX_DEFAULT = 64 << 20, TIMEOUT_MS_DEFAULT = 30000, ROWS_FIRST = 64 };

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

static void
push_row(struct mem_table *table, struct mem_row *row)
{
    if (table->head + table->count == table->cap) {
        if (table->head >= table->cap / 2 && table->head > 0) {
            memmove(table->rows, table->rows + table->head,
                    table->count * sizeof(struct mem_row *));
            table->head = 0;
        } else {
            table->cap = table->cap ? table->cap * 2 : ROWS_FIRST;
            table->rows = mem_resize(table->rows, table->cap, sizeof(struct mem_row *));
        }
    }
    table->rows[table->head + table->count++] = row;
}

static void
put_row(struct mem_store *mem, struct mem_table *table, const struct batch *batch, size_t row)
{
    struct key_hash hash = {0};
    int64_t *place = NULL;
    bool is_new = true;

    if (table->key.count > 0) {
        hash = key_hash_row(batch, &table->key, row);
        place = key_map_put(&table->places, hash, (int64_t)(table->first + table->count), &is_new);
    }
    if (!is_new && table->table->id == TABLE_SERIES) {
        return; /* a definition stays as it is */
    }
    struct mem_row *made = make_row(table->table, batch, row);
    made->order = mem->next_order++;
    made->key = hash;
    mem->bytes += made->bytes;
    if (is_new) {
        push_row(table, made);
        return;
    }
    struct mem_row **old = &table->rows[table->head + ((uint64_t)*place - table->first)];
    mem->bytes -= (*old)->bytes;
    free(*old);
    *old = made;
    atomic_fetch_add(&mem->replaced, 1);
}

static void
drop_oldest(struct mem_store *mem, struct mem_table *table)
{
    struct mem_row *row = table->rows[table->head];

    if (table->key.count > 0) {
        key_map_remove(&table->places, row->key);
    }
    mem->bytes -= row->bytes;
    free(row);
    table->head++;
    table->first++;
    table->count--;
}

/* Over the cap the oldest rows of all tables go; definitions of series stay. */
static void
evict(struct mem_store *mem)
{
    while (mem->bytes > mem->bytes_max) {
        struct mem_table *oldest = NULL;
        for (int id = 1; id < TABLE_ID_END; id++) {
            struct mem_table *table = &mem->tables[id];
            if (table->count > 0 && id != TABLE_SERIES &&
                (!oldest || table->rows[table->head]->order < oldest->rows[oldest->head]->order)) {
                oldest = table;
            }
        }
        if (!oldest) {
            return;
        }
        drop_oldest(mem, oldest);
    }
}

static enum err_code
check_group(const struct store_group *group, uint64_t applied, struct err *err)
{
    if (group->first_lsn <= applied) {
        return err_set(err, ERR_INVALID,
                       "records %" PRIu64 " to %" PRIu64 " are applied in part, up to %" PRIu64,
                       group->first_lsn, group->last_lsn, applied);
    }
    for (size_t i = 0; i < group->batch_count; i++) {
        if (group->batches[i].table->kind == TABLE_VIEW) {
            return err_set(err, ERR_INVALID, "%s is a view and stores nothing",
                           group->batches[i].table->name);
        }
    }
    return ERR_OK;
}

static enum err_code
mem_apply(struct store *store, const struct store_group *group, struct err *err)
{
    struct mem_store *mem = (struct mem_store *)store;
    uint64_t applied = atomic_load(&mem->applied_lsn);
    int64_t start_us = clock_mono_us(mem->clock);

    if (group->last_lsn <= applied) {
        return ERR_OK;
    }
    enum err_code code = check_group(group, applied, err);
    if (code) {
        return code;
    }
    pthread_rwlock_wrlock(&mem->lock);
    for (size_t i = 0; i < group->batch_count; i++) {
        const struct batch *batch = &group->batches[i];
        for (size_t row = 0; row < batch->rows; row++) {
            put_row(mem, &mem->tables[batch->table->id], batch, row);
        }
        atomic_fetch_add(&mem->rows, batch->rows);
    }
    evict(mem);
    atomic_store(&mem->applied_lsn, group->last_lsn);
    pthread_rwlock_unlock(&mem->lock);
    atomic_fetch_add(&mem->groups, 1);
    hist_record(&mem->apply_us, clock_mono_us(mem->clock) - start_us);
    return ERR_OK;
}

const struct mem_row *
mem_find_series(const struct mem_store *mem, int32_t series_id)
{
    const struct mem_table *table = &mem->tables[TABLE_SERIES];
    struct column column = {.type = COL_INT32, .i32 = &series_id};
    struct batch one = {.rows = 1, .column_count = 1, .columns = &column};
    struct column_list first = {.count = 1};
    const int64_t *place = key_map_find(&table->places, key_hash_row(&one, &first, 0));

    return place ? table->rows[table->head + ((uint64_t)*place - table->first)] : NULL;
}

static enum err_code
mem_checkpoint(struct store *store, struct err *err)
{
    (void)store;
    (void)err;
    return ERR_OK; /* nothing is on disk */
}

static uint64_t
mem_applied_lsn(struct store *store)
{
    return atomic_load(&((struct mem_store *)store)->applied_lsn);
}

static void
mem_stats(struct store *store, struct store_stats *ret_stats)
{
    struct mem_store *mem = (struct mem_store *)store;

    pthread_rwlock_rdlock(&mem->lock);
    size_t bytes = mem->bytes;
    pthread_rwlock_unlock(&mem->lock);
    *ret_stats = (struct store_stats){
        .type = store->ops->type,
        .applied_lsn = atomic_load(&mem->applied_lsn),
        .groups = atomic_load(&mem->groups),
        .rows = atomic_load(&mem->rows),
        .late_rows = atomic_load(&mem->replaced),
        .size_bytes = bytes,
        .memory_bytes = bytes,
        .memory_limit_bytes = mem->bytes_max,
        .apply_p50_us = hist_quantile(&mem->apply_us, 0.5),
        .apply_p99_us = hist_quantile(&mem->apply_us, 0.99),
        .query_p50_us = hist_quantile(&mem->query_us, 0.5),
        .query_p99_us = hist_quantile(&mem->query_us, 0.99),
        .queries = atomic_load(&mem->queries),
        .query_errors = atomic_load(&mem->query_errors),
    };
}

static void
mem_interrupt(struct store *store)
{
    (void)store; /* reads are short: they go over what fits the cap */
}

static void
mem_close(struct store *store)
{
    struct mem_store *mem = (struct mem_store *)store;

    for (int id = 1; id < TABLE_ID_END; id++) {
        struct mem_table *table = &mem->tables[id];
        for (size_t i = 0; i < table->count; i++) {
            free(table->rows[table->head + i]);
        }
        free(table->rows);
        key_map_fini(&table->places);
    }
    pthread_rwlock_destroy(&mem->lock);
    free(mem);
}

static const struct store_ops mem_ops = {
    .type = "memory",
    .apply = mem_apply,
    .scan = mem_scan,
    .bucket = mem_bucket,
    .visit = mem_visit,
    .latest = mem_latest,
    .checkpoint = mem_checkpoint,
    .applied_lsn = mem_applied_lsn,
    .stats = mem_stats,
    .table_stats = mem_table_stats,
    .interrupt = mem_interrupt,
    .close = mem_close,
};

enum err_code
store_memory_open(const struct store_open_options *options, struct store **ret_store,
                  struct err *err)
{
    struct mem_store *mem = mem_zalloc(1, sizeof(*mem));
    const struct catalog_table *table;

    (void)err;
    mem->store.ops = &mem_ops;
    mem->clock = options->clock ? options->clock : clock_system();
    mem->timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : TIMEOUT_MS_DEFAULT;
    mem->bytes_max =
        options->memory_limit_bytes ? (size_t)options->memory_limit_bytes : BYTES_MAX_DEFAULT;
    pthread_rwlock_init(&mem->lock, NULL);
    for (size_t i = 0; (table = catalog_at(i)); i++) {
        struct mem_table *made = &mem->tables[table->id];
        made->table = table;
        if (table->kind == TABLE_REPLACE) {
            made->key = column_list_of_key(table, true);
        } else if (table->id == TABLE_SERIES) {
            made->key = (struct column_list){1, {(uint8_t)table->series_column}};
        }
        key_map_init(&made->places, SIZE_MAX);
    }
    *ret_store = &mem->store;
    return ERR_OK;
}
