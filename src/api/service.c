/* The service itself: its description, health in its four forms. Red when the log or the store is,
 * with the reason. */
#include "api/api_private.h"
#include "web/web_assets.h"

enum { US_PER_S = 1000000, FRESH_US = 10 * US_PER_S };

static const char *
state_name(enum engine_state state)
{
    switch (state) {
    case ENGINE_STARTING:
        return "starting";
    case ENGINE_RUNNING:
        return "running";
    case ENGINE_REBUILDING:
        return "rebuilding";
    case ENGINE_STALLED:
        return "stalled";
    }
    return "unknown";
}

void
get_service(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct json_writer w;

    if (request_accepts(exchange, "text/html")) {
        get_asset(api, route, exchange);
        return;
    }
    reply_json(exchange, &w);
    json_object_begin(&w);
    json_key(&w, "service");
    json_cstr(&w, "Trading Observability API");
    json_key(&w, "version");
    json_cstr(&w, "1.0.0");
    json_key(&w, "docs");
    json_cstr(&w, "/docs");
    json_key(&w, "websocket");
    json_cstr(&w, "/ws/metrics");
    json_key(&w, "endpoints");
    json_object_begin(&w);
    json_key(&w, "metrics");
    json_cstr(&w, "/api/metrics");
    json_key(&w, "trades");
    json_cstr(&w, "/api/trades");
    json_key(&w, "system");
    json_cstr(&w, "/api/system");
    json_object_end(&w);
    json_key(&w, "product");
    json_cstr(&w, "Eider");
    json_key(&w, "eider_version");
    json_cstr(&w, EIDER_VERSION);
    json_key(&w, "openapi");
    json_cstr(&w, "/openapi.json");
    json_key(&w, "demo");
    json_bool(&w, api->options.demo);
    json_object_end(&w);
    http_reply(exchange);
}

/* True when writes are accepted and reads answered; `ret_reason` (of `size`) says what is not. */
static bool
is_healthy(struct api *api, struct engine_status *ret_status, char *ret_reason, size_t size)
{
    engine_status(api->engine, ret_status);
    ret_reason[0] = '\0';
    if (!ret_status->healthy) {
        snprintf(ret_reason, size, "%s", ret_status->problem.msg);
    } else if (!atomic_load(&api->ingest)) {
        snprintf(ret_reason, size, "starting: the log is being applied (%llu of %llu)",
                 (unsigned long long)ret_status->applied_lsn,
                 (unsigned long long)ret_status->durable_lsn);
        return false;
    } else if (api->options.with_meter && !atomic_load(&api->meter)) {
        snprintf(ret_reason, size, "starting: the meter is being rebuilt");
        return false;
    }
    return ret_status->healthy;
}

/* As is_healthy, and false of one that is over its limit of space: it answers reads and is ready
 * for them, but takes no writes. */
static bool
takes_writes(struct api *api, struct engine_status *ret_status, char *ret_reason, size_t size)
{
    if (!is_healthy(api, ret_status, ret_reason, size)) {
        return false;
    }
    if (ret_status->space_max == 0 || ret_status->space_used < ret_status->space_max) {
        return true;
    }
    snprintf(
        ret_reason, size,
        "limits.disk_bytes_max is %llu, and this database takes %llu bytes on disk: it refuses "
        "all writes; remove data, or raise the limit",
        (unsigned long long)ret_status->space_max, (unsigned long long)ret_status->space_used);
    return false;
}

bool
api_is_healthy(struct api *api, char *ret_reason, size_t size)
{
    struct engine_status status;

    return takes_writes(api, &status, ret_reason, size);
}

void
api_describe(struct api *api, struct json_writer *w)
{
    struct ingest *ingest = atomic_load(&api->ingest);
    struct ingest_stats rows = {0};
    struct engine_status status;

    engine_status(api->engine, &status);
    if (ingest) {
        ingest_stats(ingest, &rows);
    }
    json_key(w, "type");
    json_cstr(w, status.store.type ? status.store.type : "none");
    json_key(w, "store_bytes");
    json_u64(w, status.store.size_bytes);
    json_key(w, "wal_bytes");
    json_u64(w, status.wal.bytes);
    json_key(w, "memory_bytes");
    json_u64(w, status.store.memory_bytes);
    json_key(w, "memory_limit_bytes");
    json_u64(w, status.store.memory_limit_bytes);
    json_key(w, "unapplied_bytes");
    json_u64(w, status.unapplied_bytes);
    json_key(w, "rows");
    json_u64(w, rows.rows);
    json_key(w, "series");
    json_u64(w, rows.series);
}

void
api_warn(struct api *api, const char *text)
{
    pthread_mutex_lock(&api->warning_lock);
    snprintf(api->warning, sizeof(api->warning), "%s", text);
    pthread_mutex_unlock(&api->warning_lock);
}

static void
write_warning(struct api *api, struct json_writer *w)
{
    char text[ERR_MSG_MAX];

    pthread_mutex_lock(&api->warning_lock);
    memcpy(text, api->warning, sizeof(text));
    pthread_mutex_unlock(&api->warning_lock);
    if (text[0]) {
        json_key(w, "warning");
        json_cstr(w, text);
    }
}

void
get_health(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct json_writer w;
    struct engine_status status;
    char reason[ERR_MSG_MAX];
    bool healthy = takes_writes(api, &status, reason, sizeof(reason));

    (void)route;
    http_set_status(exchange, healthy ? 200 : 503);
    reply_json(exchange, &w);
    json_object_begin(&w);
    json_key(&w, "status");
    json_cstr(&w, healthy ? "healthy" : "unhealthy");
    json_key(&w, "service");
    json_cstr(&w, "observability-api");
    if (!healthy) {
        json_key(&w, "detail");
        json_cstr(&w, reason);
    }
    write_warning(api, &w);
    json_key(&w, "store");
    json_cstr(&w, state_name(status.state));
    json_key(&w, "wal");
    json_cstr(&w, status.wal.healthy ? "healthy" : "failed");
    json_key(&w, "durable_lsn");
    json_u64(&w, status.durable_lsn);
    json_key(&w, "applied_lsn");
    json_u64(&w, status.applied_lsn);
    json_key(&w, "rebuilds");
    json_u64(&w, status.rebuilds);
    write_databases_health(api, exchange, &w);
    json_key(&w, "demo");
    json_bool(&w, api->options.demo);
    json_object_end(&w);
    http_reply(exchange);
}

void
get_ready(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    static const struct {
        const char *name;
        enum live_topic topic;
    } parts[] = {{"market_data", LIVE_MARKET},
                 {"strategy", LIVE_STRATEGY},
                 {"execution", LIVE_EXECUTION},
                 {"system", LIVE_SYSTEM}};
    struct json_writer w;
    struct engine_status status;
    char reason[ERR_MSG_MAX];
    bool ready = is_healthy(api, &status, reason, sizeof(reason));

    (void)route;
    http_set_status(exchange, ready ? 200 : 503);
    reply_json(exchange, &w);
    json_object_begin(&w);
    json_key(&w, "ready");
    json_bool(&w, ready);
    json_key(&w, "collectors");
    json_object_begin(&w);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        /* The parts take what is sent to them as soon as the service is ready. */
        json_key(&w, parts[i].name);
        json_bool(&w, ready);
    }
    json_object_end(&w);
    json_key(&w, "receiving");
    json_object_begin(&w);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        json_key(&w, parts[i].name);
        json_bool(&w, live_is_fresh(api->live, parts[i].topic, FRESH_US));
    }
    json_object_end(&w);
    if (!ready) {
        json_key(&w, "detail");
        json_cstr(&w, reason);
    }
    json_object_end(&w);
    http_reply(exchange);
}

void
get_alive(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct json_writer w;

    (void)route;
    reply_json(exchange, &w);
    json_object_begin(&w);
    json_key(&w, "alive");
    json_bool(&w, true);
    json_key(&w, "websocket_connections");
    json_u64(&w, stream_clients(api->stream));
    json_key(&w, "uptime_seconds");
    json_f64(&w, (double)(clock_mono_us(api->clock) - api->started_mono_us) / US_PER_S);
    json_object_end(&w);
    http_reply(exchange);
}

static bool
write_tables(struct api *api, struct json_writer *w)
{
    const struct catalog_table *table;
    bool all_there = true;

    json_object_begin(w);
    for (size_t i = 0; (table = catalog_at(i)) != NULL; i++) {
        struct store_table_stats stats;
        struct err err;

        if (table->kind == TABLE_VIEW) {
            continue;
        }
        bool exists = engine_table_stats(api->engine, table->id, &stats, &err) == ERR_OK;
        all_there = all_there && exists;
        json_key(w, table->name);
        json_object_begin(w);
        json_key(w, "exists");
        json_bool(w, exists);
        json_key(w, "row_count");
        json_u64(w, exists ? stats.rows : 0);
        if (exists && stats.rows > 0 && table->time_column != CATALOG_NONE) {
            json_key(w, "min_timestamp");
            json_time_us(w, stats.min_us);
            json_key(w, "max_timestamp");
            json_time_us(w, stats.max_us);
        }
        json_object_end(w);
    }
    json_object_end(w);
    return all_there;
}

void
get_database_health(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct json_writer w;
    struct engine_status status;
    char reason[ERR_MSG_MAX];
    bool healthy = is_healthy(api, &status, reason, sizeof(reason));

    (void)route;
    reply_json(exchange, &w);
    json_object_begin(&w);
    json_key(&w, "database_healthy");
    json_bool(&w, healthy);
    json_key(&w, "database_path");
    json_cstr(&w, api->options.database_path ? api->options.database_path : "");
    json_key(&w, "tables");
    bool all_there = write_tables(api, &w);
    json_key(&w, "integrity");
    json_object_begin(&w);
    json_key(&w, "timestamp");
    json_time_us(&w, clock_wall_us(api->clock));
    json_key(&w, "status");
    json_cstr(&w, healthy && all_there ? "healthy" : "error");
    json_key(&w, "foreign_key_violations");
    json_array_begin(&w);
    json_array_end(&w);
    json_object_end(&w);
    if (!healthy) {
        json_key(&w, "error");
        json_cstr(&w, reason);
    }
    json_key(&w, "migration_mode");
    json_bool(&w, false);
    json_key(&w, "jetstream_sync_enabled");
    json_bool(&w, false);
    json_key(&w, "state");
    json_cstr(&w, state_name(status.state));
    json_key(&w, "size_bytes");
    json_u64(&w, status.store.size_bytes);
    json_key(&w, "memory_bytes");
    json_u64(&w, status.store.memory_bytes);
    json_key(&w, "apply_lag_ms");
    json_f64(&w, (double)status.apply_lag_us / 1000);
    json_key(&w, "rebuilds");
    json_u64(&w, status.rebuilds);
    json_object_end(&w);
    http_reply(exchange);
}
