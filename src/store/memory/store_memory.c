/* The memory store's vtable. */
#include "store/memory/store_memory.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/memory/mem.h"

enum { BYTES_MAX_DEFAULT = 256 << 20, TIMEOUT_MS_DEFAULT = 30000 };

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
    mem_promote(mem);
    for (size_t i = 0; i < group->batch_count; i++) {
        const struct batch *batch = &group->batches[i];
        for (size_t row = 0; row < batch->rows; row++) {
            mem_put_row(mem, &mem->tables[batch->table->id], batch, row);
        }
        atomic_fetch_add(&mem->rows, batch->rows);
    }
    atomic_store(&mem->applied_lsn, group->last_lsn);
    pthread_rwlock_unlock(&mem->lock);
    atomic_fetch_add(&mem->groups, 1);
    hist_record(&mem->apply_us, clock_mono_us(mem->clock) - start_us);
    return ERR_OK;
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

    struct lru_stats lru;

    pthread_rwlock_rdlock(&mem->lock);
    lru_stats_of(&mem->lru, &lru);
    lru.bytes += mem->definition_bytes;
    pthread_rwlock_unlock(&mem->lock);
    pthread_mutex_lock(&mem->touched_lock);
    lru.hits = mem->hits;
    lru.misses = mem->misses;
    pthread_mutex_unlock(&mem->touched_lock);
    lru.bytes_max = mem->bytes_max;
    *ret_stats = (struct store_stats){
        .type = store->ops->type,
        .applied_lsn = atomic_load(&mem->applied_lsn),
        .groups = atomic_load(&mem->groups),
        .rows = atomic_load(&mem->rows),
        .late_rows = atomic_load(&mem->replaced),
        .size_bytes = lru.bytes,
        .memory_bytes = lru.bytes,
        .memory_limit_bytes = mem->bytes_max,
        .apply_p50_us = hist_quantile(&mem->apply_us, 0.5),
        .apply_p99_us = hist_quantile(&mem->apply_us, 0.99),
        .query_p50_us = hist_quantile(&mem->query_us, 0.5),
        .query_p99_us = hist_quantile(&mem->query_us, 0.99),
        .queries = atomic_load(&mem->queries),
        .query_errors = atomic_load(&mem->query_errors),
        .lru = lru,
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

    mem_free_rows(mem);
    pthread_mutex_destroy(&mem->touched_lock);
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
    .snapshot = mem_snapshot,
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

    mem->store.ops = &mem_ops;
    mem->clock = options->clock ? options->clock : clock_system();
    mem->timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : TIMEOUT_MS_DEFAULT;
    mem->bytes_max =
        options->memory_limit_bytes ? (size_t)options->memory_limit_bytes : BYTES_MAX_DEFAULT;
    pthread_rwlock_init(&mem->lock, NULL);
    pthread_mutex_init(&mem->touched_lock, NULL);
    lru_init(&mem->lru,
             &(struct lru_options){.points_max = options->points_max, .bytes_max = mem->bytes_max});
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
    enum err_code code = options->path ? mem_load(mem, options->path, err) : ERR_OK;
    if (code) {
        mem_close(&mem->store);
        return code;
    }
    *ret_store = &mem->store;
    return ERR_OK;
}
