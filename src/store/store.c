/* Calls through the vtable of a store, and what is the same for all of them. */
#include "store/store.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "catalog/catalog.h"
#include "codec/time.h"
#include "store/cold.h"

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

bool
store_speaks_duckdb(const struct store *store)
{
    return store->ops->speaks_duckdb;
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
store_latest(struct store *store, enum table_id table, const struct store_patience *patience,
             struct batch *ret_rows, struct err *err)
{
    return store->ops->latest(store, table, patience, ret_rows, err);
}

enum err_code
store_checkpoint(struct store *store, struct err *err)
{
    return store->ops->checkpoint(store, err);
}

bool
store_wait_reads(struct store *store, int timeout_ms)
{
    return !store->ops->wait_reads || store->ops->wait_reads(store, timeout_ms);
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

/* Cold data: only some stores have it. */

static enum err_code
no_cold(const struct store *store, struct err *err)
{
    bool forgets = strcmp(store->ops->type, "memory") == 0;
    return err_set(err, ERR_UNSUPPORTED, "the %s store has no cold data%s", store->ops->type,
                   forgets ? " and no rules of retention: it drops the oldest points itself, by "
                             "storage.memory.max_points and storage.memory.max_bytes"
                           : "");
}

bool
store_has_cold(const struct store *store)
{
    return store->ops->seal_begin != NULL;
}

enum err_code
store_seal_find(struct store *store, const struct store_seal_find *find, struct store_day *ret_days,
                size_t max, size_t *ret_count, struct err *err)
{
    if (!store->ops->seal_find) {
        return no_cold(store, err);
    }
    if (!time_in_range(find->before_us)) {
        return err_set(err, ERR_INVALID, "%" PRId64 " us is no time to seal days before",
                       find->before_us);
    }
    return store->ops->seal_find(store, find, ret_days, max, ret_count, err);
}

enum err_code
store_seal_begin(struct store *store, const struct store_seal *seal,
                 struct store_sealing **ret_sealing, struct err *err)
{
    if (!store_has_cold(store)) {
        return no_cold(store, err);
    }
    assert(!seal->drop_metrics || (seal->table == TABLE_SAMPLES && seal->merge));
    return store->ops->seal_begin(store, seal, ret_sealing, err);
}

enum err_code
store_seal_commit(struct store *store, struct store_sealing *sealing,
                  struct store_seal_result *ret_result, struct err *err)
{
    assert(store_has_cold(store) && sealing);
    return store->ops->seal_commit(store, sealing, ret_result, err);
}

void
store_seal_free(struct store *store, struct store_sealing *sealing)
{
    if (sealing) {
        store->ops->seal_free(store, sealing);
    }
}

enum err_code
store_cold_list(struct store *store, struct cold_file **ret_files, size_t *ret_count,
                struct err *err)
{
    if (!store_has_cold(store)) {
        *ret_files = NULL;
        *ret_count = 0;
        return ERR_OK;
    }
    return store->ops->cold_list(store, ret_files, ret_count, err);
}

static enum err_code
check_drop(const struct cold_drop *drop, struct err *err)
{
    const struct catalog_table *table = drop->hot ? catalog_table(drop->table) : NULL;

    assert(!drop->metrics || (drop->hot && drop->table == TABLE_SAMPLES));
    if (drop->hot && (!table || table->time_column == CATALOG_NONE || table->kind == TABLE_VIEW)) {
        return err_set(err, ERR_INVALID, "table number %d has no days of rows to delete",
                       (int)drop->table);
    }
    if (drop->hot && (drop->first_day > drop->last_day || !cold_day_in_range(drop->first_day) ||
                      !cold_day_in_range(drop->last_day))) {
        return err_set(err, ERR_INVALID, "days %" PRId32 " to %" PRId32 " are no range of days",
                       drop->first_day, drop->last_day);
    }
    return ERR_OK;
}

enum err_code
store_cold_drop(struct store *store, const struct cold_drop *drop, struct err *err)
{
    if (!store->ops->cold_drop) {
        return no_cold(store, err);
    }
    enum err_code code = check_drop(drop, err);
    return code ? code : store->ops->cold_drop(store, drop, err);
}

enum err_code
store_compact(struct store *store, const char *path, struct err *err)
{
    return store->ops->compact
               ? store->ops->compact(store, path, err)
               : err_set(err, ERR_UNSUPPORTED,
                         "the %s store has no file of its own and no cold files: there is nothing "
                         "to optimize",
                         store->ops->type);
}

bool
store_has_export(const struct store *store)
{
    return store->ops->export != NULL;
}

static enum err_code
no_export(const struct store *store, struct err *err)
{
    if (strcmp(store->ops->type, "postgres") == 0) {
        return err_set(err, ERR_UNSUPPORTED,
                       "the rows are in PostgreSQL: back them up with pg_dump, and keep the log");
    }
    return err_set(err, ERR_UNSUPPORTED, "the %s store has nothing that could be backed up",
                   store->ops->type);
}

enum err_code
store_export(struct store *store, const struct store_export *export, struct err *err)
{
    return store->ops->export ? store->ops->export(store, export, err) : no_export(store, err);
}

enum err_code
store_import_rows(struct store *store, enum table_id table, const char *path, uint64_t *ret_rows,
                  struct err *err)
{
    return store->ops->import_rows ? store->ops->import_rows(store, table, path, ret_rows, err)
                                   : no_export(store, err);
}

enum err_code
store_import_end(struct store *store, const struct store_export_moment *moment, struct err *err)
{
    return store->ops->import_end ? store->ops->import_end(store, moment, err)
                                  : no_export(store, err);
}
