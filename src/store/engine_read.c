/* Reads: of the hot cache, else of the store. */
#include "store/engine_private.h"

enum {
    US_PER_MS = 1000,
    STORE_SHARE = 4 /* the store has at least a quarter of the time, whatever the cache took */
};

static enum err_code
no_store(struct engine *engine, struct err *err)
{
    pthread_mutex_lock(&engine->lock);
    struct err problem = engine->problem;
    pthread_mutex_unlock(&engine->lock);
    if (engine->options.store_remote && problem.code != ERR_OK) {
        return err_set(err, ERR_UNAVAILABLE, "%s", problem.msg);
    }
    return err_set(err, ERR_UNAVAILABLE, "the store is being rebuilt; try again");
}

/* Borrows the store for a read; give it back with end_read. ERR_UNAVAILABLE while there is none. */
static enum err_code
begin_read(struct engine *engine, struct err *err)
{
    pthread_rwlock_rdlock(&engine->store_lock);
    if (engine->store && !atomic_load(&engine->reads_stopped)) {
        return ERR_OK;
    }
    pthread_rwlock_unlock(&engine->store_lock);
    if (atomic_load(&engine->reads_stopped)) {
        return err_set(err, ERR_UNAVAILABLE, "the store is closing");
    }
    return no_store(engine, err);
}

/* A read that finds the store unusable leaves the finding to the applier, which makes it usable. */
static enum err_code
end_read(struct engine *engine, enum err_code code, struct err *err)
{
    bool closing = atomic_load(&engine->reads_stopped);
    bool interrupting = atomic_load(&engine->interrupting);

    pthread_rwlock_unlock(&engine->store_lock);
    if (code != ERR_CORRUPT && code != ERR_UNAVAILABLE) {
        return code;
    }
    if (closing) {
        return err_set(err, ERR_UNAVAILABLE, "the store is closing");
    }
    if (interrupting) {
        return err_set(err, ERR_UNAVAILABLE, "the store is being rebuilt; try again");
    }
    pthread_mutex_lock(&engine->lock);
    if (engine->read_err.code != ERR_CORRUPT) {
        engine->read_err = *err;
    }
    pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->lock);
    if (engine->options.store_remote) {
        return code; /* it is away, and says why */
    }
    return err_set(err, ERR_UNAVAILABLE, "the store is unusable and being rebuilt; try again");
}

/* A read on its way, and the time it has. */
struct asking {
    int timeout_ms;
    int64_t begun_us;
};

static struct asking
ask(const struct engine *engine, int timeout_ms)
{
    return (struct asking){.timeout_ms =
                               timeout_ms > 0 ? timeout_ms : engine->options.store.timeout_ms,
                           .begun_us = clock_mono_us(engine->clock)};
}

/* The cache may have asked the store, too, in vain. */
static int
left_for_store(const struct engine *engine, const struct asking *asking)
{
    int64_t taken_ms = (clock_mono_us(engine->clock) - asking->begun_us) / US_PER_MS;
    int64_t least_ms = asking->timeout_ms / STORE_SHARE + 1;
    int64_t left_ms = asking->timeout_ms - taken_ms;

    return (int)(left_ms > least_ms ? left_ms : least_ms);
}

enum err_code
engine_scan(struct engine *engine, const struct store_scan *scan, struct batch *ret_rows,
            struct err *err)
{
    enum err_code code = begin_read(engine, err);

    if (code == ERR_OK) {
        struct asking asking = ask(engine, scan->timeout_ms);
        struct store_scan timely = *scan;
        timely.timeout_ms = asking.timeout_ms;
        if (!engine->hot || !hot_scan(engine->hot, engine->store, &timely, ret_rows)) {
            timely.timeout_ms = left_for_store(engine, &asking);
            code = store_scan(engine->store, &timely, ret_rows, err);
        }
        code = end_read(engine, code, err);
    }
    return code;
}

enum err_code
engine_bucket(struct engine *engine, const struct store_bucket *bucket, struct batch *ret_rows,
              struct err *err)
{
    enum err_code code = begin_read(engine, err);

    if (code == ERR_OK) {
        struct asking asking = ask(engine, bucket->scan.timeout_ms);
        struct store_bucket timely = *bucket;
        timely.scan.timeout_ms = asking.timeout_ms;
        if (!engine->hot || !hot_bucket(engine->hot, engine->store, &timely, ret_rows)) {
            timely.scan.timeout_ms = left_for_store(engine, &asking);
            code = store_bucket(engine->store, &timely, ret_rows, err);
        }
        code = end_read(engine, code, err);
    }
    return code;
}

struct visit {
    store_visit_fn *fn;
    void *ctx;
    bool refused;
};

static enum err_code
visit_rows(void *ctx, const struct batch *rows, struct err *err)
{
    struct visit *visit = ctx;
    enum err_code code = visit->fn(visit->ctx, rows, err);

    visit->refused = code != ERR_OK;
    return code;
}

enum err_code
engine_visit(struct engine *engine, const struct store_scan *scan, store_visit_fn *fn, void *ctx,
             struct err *err)
{
    struct visit visit = {.fn = fn, .ctx = ctx};
    enum err_code code = begin_read(engine, err);

    if (code != ERR_OK) {
        return code;
    }
    code = store_visit(engine->store, scan, visit_rows, &visit, err);
    if (visit.refused) {
        end_read(engine, ERR_OK, err); /* what fn found wrong is not the store's fault */
        return code;
    }
    return end_read(engine, code, err);
}

enum err_code
engine_sql(struct engine *engine, const struct store_sql *sql, struct batch *ret_rows,
           bool *ret_truncated, struct err *err)
{
    struct store_sql timely = *sql;
    enum err_code code = begin_read(engine, err);

    timely.now_us = clock_wall_us(engine->clock);
    if (code == ERR_OK) {
        struct asking asking = ask(engine, sql->timeout_ms);
        timely.timeout_ms = asking.timeout_ms;
        if (!engine->hot || !store_speaks_duckdb(engine->store) ||
            !hot_sql(engine->hot, engine->store, &timely, ret_rows, ret_truncated)) {
            timely.timeout_ms = left_for_store(engine, &asking);
            code = store_sql(engine->store, &timely, ret_rows, ret_truncated, err);
        }
        code = end_read(engine, code, err);
    }
    return code;
}

enum err_code
engine_with_store(struct engine *engine, engine_store_fn *fn, void *ctx, struct err *err)
{
    enum err_code code = begin_read(engine, err);

    if (code == ERR_OK) {
        code = fn(ctx, engine->store, err);
        code = end_read(engine, code, err);
    }
    return code;
}

enum err_code
engine_latest(struct engine *engine, enum table_id table, struct batch *ret_rows, struct err *err)
{
    enum err_code code = begin_read(engine, err);

    if (code == ERR_OK) {
        if (!engine->hot || !hot_latest(engine->hot, engine->store, table, ret_rows)) {
            code = store_latest(engine->store, table, NULL, ret_rows, err);
        }
        code = end_read(engine, code, err);
    }
    return code;
}

enum err_code
engine_table_stats(struct engine *engine, enum table_id table, struct store_table_stats *ret_stats,
                   struct err *err)
{
    enum err_code code = begin_read(engine, err);

    if (code == ERR_OK) {
        code = store_table_stats(engine->store, table, ret_stats, err);
        code = end_read(engine, code, err);
    }
    return code;
}
