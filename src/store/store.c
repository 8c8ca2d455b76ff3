/* Calls through the vtable of a store, and what is the same for all of them. */
#include "store/store.h"

#include <assert.h>

enum err_code
store_apply(struct store *store, const struct store_group *group, struct err *err)
{
    assert(group->first_lsn > 0 && group->first_lsn <= group->last_lsn);
    return store->ops->apply(store, group, err);
}

enum err_code
store_scan(struct store *store, const struct store_scan *scan, struct batch *ret_rows,
           struct err *err)
{
    return store->ops->scan(store, scan, ret_rows, err);
}

enum err_code
store_bucket(struct store *store, const struct store_bucket *bucket, struct batch *ret_rows,
             struct err *err)
{
    return store->ops->bucket(store, bucket, ret_rows, err);
}

enum err_code
store_visit(struct store *store, const struct store_scan *scan, store_visit_fn *fn, void *ctx,
            struct err *err)
{
    assert(!scan->newest_first && scan->limit == 0 && scan->offset == 0);
    return store->ops->visit(store, scan, fn, ctx, err);
}

enum err_code
store_sql(struct store *store, const struct store_sql *sql, struct batch *ret_rows,
          bool *ret_truncated, struct err *err)
{
    if (!store->ops->sql) {
        return err_set(err, ERR_UNSUPPORTED, "the %s store does not speak SQL", store->ops->type);
    }
    return store->ops->sql(store, sql, ret_rows, ret_truncated, err);
}

enum err_code
store_latest(struct store *store, enum table_id table, struct batch *ret_rows, struct err *err)
{
    return store->ops->latest(store, table, ret_rows, err);
}

enum err_code
store_checkpoint(struct store *store, struct err *err)
{
    return store->ops->checkpoint(store, err);
}

enum err_code
store_snapshot(struct store *store, const char *path, struct err *err)
{
    if (!store->ops->snapshot) {
        return err_set(err, ERR_UNSUPPORTED, "the %s store has no snapshots", store->ops->type);
    }
    return store->ops->snapshot(store, path, err);
}

uint64_t
store_applied_lsn(struct store *store)
{
    return store->ops->applied_lsn(store);
}

void
store_stats(struct store *store, struct store_stats *ret_stats)
{
    *ret_stats = (struct store_stats){.type = store->ops->type};
    store->ops->stats(store, ret_stats);
}

enum err_code
store_table_stats(struct store *store, enum table_id table, struct store_table_stats *ret_stats,
                  struct err *err)
{
    return store->ops->table_stats(store, table, ret_stats, err);
}

void
store_interrupt(struct store *store)
{
    store->ops->interrupt(store);
}

void
store_close(struct store *store)
{
    if (store) {
        store->ops->close(store);
    }
}
