/* Opening and closing; the vtable. */
#include "store/postgres/store_postgres.h"

#include <stdlib.h>

#include "base/mem.h"
#include "store/postgres/pg.h"
#include "store/postgres/postgres_schema.h"

static uint64_t
pg_applied_lsn(struct store *base)
{
    return atomic_load(&((struct pg_store *)base)->applied_lsn);
}

static void
pg_stats(struct store *base, struct store_stats *ret_stats)
{
    struct pg_store *store = (struct pg_store *)base;

    *ret_stats = (struct store_stats){
        .type = base->ops->type,
        .applied_lsn = atomic_load(&store->applied_lsn),
        .groups = atomic_load(&store->groups),
        .rows = atomic_load(&store->rows),
        .late_rows = atomic_load(&store->late_rows),
        .size_bytes = atomic_load(&store->size_bytes),
        .checkpoints = atomic_load(&store->checkpoints),
        .apply_p50_us = hist_quantile(&store->apply_us, 0.5),
        .apply_p99_us = hist_quantile(&store->apply_us, 0.99),
        .query_p50_us = hist_quantile(&store->query_us, 0.5),
        .query_p99_us = hist_quantile(&store->query_us, 0.99),
        .queries = atomic_load(&store->queries),
        .query_errors = atomic_load(&store->query_errors),
        .readers = store->pool.count,
    };
    pthread_mutex_lock(&store->pool.lock);
    ret_stats->readers_busy = store->pool.busy;
    pthread_mutex_unlock(&store->pool.lock);
}

static void
pg_interrupt(struct store *base)
{
    pg_pool_interrupt(&((struct pg_store *)base)->pool);
}

static const char *
pg_identity(struct store *base)
{
    return ((struct pg_store *)base)->identity;
}

static void
pg_close(struct store *base)
{
    struct pg_store *store = (struct pg_store *)base;

    pg_pool_fini(&store->pool);
    pg_disconnect(&store->writer);
    pg_params_fini(&store->params);
    free(store);
}

static const struct store_ops pg_ops = {
    .type = "postgres",
    .apply = pg_apply,
    .scan = pg_scan,
    .bucket = pg_bucket,
    .visit = pg_visit,
    .sql = pg_sql_run,
    .latest = pg_latest,
    .checkpoint = pg_checkpoint,
    .applied_lsn = pg_applied_lsn,
    .identity = pg_identity,
    .take_over = pg_take_over,
    .seal_find = pg_seal_find,
    .cold_drop = pg_cold_drop,
    .stats = pg_stats,
    .table_stats = pg_table_stats,
    .interrupt = pg_interrupt,
    .close = pg_close,
};

static void
init_tables(struct pg_store *store)
{
    const struct catalog_table *table;

    for (size_t i = 0; (table = catalog_at(i)); i++) {
        store->tables[table->id] = (struct pg_table){
            .table = table, .key = column_list_of_key(table, true), .newest_us = INT64_MIN};
    }
}

/* Everything but the connection. */
static enum err_code
init_store(struct pg_store *store, const struct store_open_options *options, struct err *err)
{
    const struct store_postgres_options *postgres = &options->postgres;
    unsigned connections =
        postgres->max_connections > 0 ? postgres->max_connections : STORE_POSTGRES_CONNECTIONS;

    store->store.ops = &pg_ops;
    store->clock = options->clock ? options->clock : clock_system();
    store->owner_ends = options->owner_ends;
    store->owner_ctx = options->owner_ctx;
    store->timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : PG_TIMEOUT_MS;
    store->connect_timeout_ms =
        postgres->connect_timeout_ms > 0 ? postgres->connect_timeout_ms : PG_CONNECT_TIMEOUT_MS;
    rng_init(&store->rng, (uint64_t)clock_wall_us(store->clock));
    init_tables(store);
    pg_pool_init(&store->pool, connections > 2 ? connections - 1 : 1);
    return pg_params_init(&store->params, postgres, err);
}

enum err_code
store_postgres_open(const struct store_open_options *options, struct store **ret_store,
                    struct err *err)
{
    struct pg_store *store = mem_zalloc(1, sizeof(*store));

    enum err_code code = init_store(store, options, err);
    code = code ? code : pg_connect(store, PG_SIDE_APPLY, &store->writer, err);
    code = code ? code : pg_setup_writer(store, true, err);
    if (code) {
        pg_close(&store->store);
        return code;
    }
    *ret_store = &store->store;
    return ERR_OK;
}

/* ---- the schema alone ---- */

struct pg_session {
    struct schema_session session; /* first */
    struct pg_store *store;
};

static void
session_close(struct schema_session *session)
{
    struct pg_session *own = (struct pg_session *)session;

    pg_close(&own->store->store);
    free(own);
}

enum err_code
store_postgres_schema_open(const struct store_open_options *options, bool change,
                           struct schema_session **ret_session, struct err *err)
{
    struct pg_session *own = mem_zalloc(1, sizeof(*own));

    own->store = mem_zalloc(1, sizeof(*own->store));
    own->session.close = session_close;
    enum err_code code = init_store(own->store, options, err);
    code = code ? code : pg_connect(own->store, PG_SIDE_APPLY, &own->store->writer, err);
    if (!code && change) {
        code = pg_setup_lock(own->store, err);
    }
    if (code) {
        session_close(&own->session);
        return code;
    }
    pg_schema_db(own->store, &own->session.db);
    *ret_session = &own->session;
    return ERR_OK;
}
