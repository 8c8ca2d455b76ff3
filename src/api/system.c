/* /api/system: health of the host, components, statistics, alerts and the log. */
#include "api/api_private.h"
#include "base/log.h"
#include "base/mem.h"

enum { US_PER_S = 1000000, LOG_LIMIT_DEFAULT = 100, ALERTS_MAX = 64, STALE_US = 10 * US_PER_S };

static const char *
level_of(double percent, double warning, double critical)
{
    if (percent > critical) {
        return "unhealthy";
    }
    return percent > warning ? "degraded" : "healthy";
}

static void
write_component(struct json_writer *w, const char *name, double percent, const char *status,
                int64_t at_us)
{
    char message[80];

    snprintf(message, sizeof(message), "%s usage %.1f %%", name, percent);
    json_key(w, name);
    json_object_begin(w);
    json_key(w, "status");
    json_cstr(w, status);
    json_key(w, "usage_percent");
    json_f64(w, percent);
    json_key(w, "message");
    json_cstr(w, message);
    json_key(w, "last_updated");
    json_time_us(w, at_us);
    json_object_end(w);
}

static void
write_alerts(struct api *api, struct json_writer *w, bool only_active)
{
    struct live_alert alerts[ALERTS_MAX];
    size_t count = live_alerts(api->live, alerts, ALERTS_MAX);

    json_array_begin(w);
    for (size_t i = 0; i < count; i++) {
        if (only_active && !alerts[i].active) {
            continue;
        }
        json_object_begin(w);
        json_key(w, "alert_id");
        json_cstr(w, alerts[i].id);
        json_key(w, "type");
        json_cstr(w, alerts[i].type);
        json_key(w, "message");
        json_cstr(w, alerts[i].message);
        json_key(w, "severity");
        json_cstr(w, alerts[i].severity);
        json_key(w, "timestamp");
        json_time_us(w, alerts[i].raised_us);
        json_key(w, "active");
        json_bool(w, alerts[i].active);
        if (alerts[i].acknowledged_us > 0) {
            json_key(w, "acknowledged_at");
            json_time_us(w, alerts[i].acknowledged_us);
        }
        json_object_end(w);
    }
    json_array_end(w);
}

static const char *
freshness(struct api *api, enum live_topic topic)
{
    return live_is_fresh(api->live, topic, STALE_US) ? "connected" : "idle";
}

void
get_system_health(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct live_system sys = {0};
    struct engine_status status;
    struct json_writer w;
    bool known = live_system(api->live, &sys);

    (void)route;
    engine_status(api->engine, &status);
    reply_json(exchange, &w);
    json_object_begin(&w);
    json_key(&w, "status");
    json_cstr(&w, !status.healthy ? "unhealthy" : known ? sys.health : "unknown");
    json_key(&w, "components");
    json_object_begin(&w);
    write_component(&w, "cpu", sys.cpu_percent, level_of(sys.cpu_percent, 80, 90),
                    sys.timestamp_us);
    write_component(&w, "memory", sys.memory_percent, level_of(sys.memory_percent, 80, 90),
                    sys.timestamp_us);
    write_component(&w, "disk", sys.disk_usage_percent, level_of(sys.disk_usage_percent, 80, 90),
                    sys.timestamp_us);
    json_object_end(&w);
    json_key(&w, "resources");
    json_object_begin(&w);
    json_key(&w, "cpu");
    json_f64(&w, sys.cpu_percent);
    json_key(&w, "memory");
    json_f64(&w, sys.memory_percent);
    json_key(&w, "disk");
    json_f64(&w, sys.disk_usage_percent);
    json_object_end(&w);
    json_key(&w, "connections");
    json_object_begin(&w);
    json_key(&w, "market_data");
    json_cstr(&w, freshness(api, LIVE_MARKET));
    json_key(&w, "execution");
    json_cstr(&w, freshness(api, LIVE_EXECUTION));
    json_key(&w, "database");
    json_cstr(&w, status.healthy ? "connected" : "failed");
    json_object_end(&w);
    json_key(&w, "alerts");
    write_alerts(api, &w, true);
    json_object_end(&w);
    http_reply(exchange);
}

void
get_alerts(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct json_writer w;

    (void)route;
    reply_json(exchange, &w);
    json_object_begin(&w);
    json_key(&w, "alerts");
    write_alerts(api, &w, false);
    json_object_end(&w);
    http_reply(exchange);
}

void
post_acknowledge(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct slice id = route_segment(route, exchange);
    struct json_writer w;
    bool known = live_alert_acknowledge(api->live, id);

    reply_json(exchange, &w);
    json_object_begin(&w);
    json_key(&w, "status");
    json_cstr(&w, "acknowledged");
    json_key(&w, "alert_id");
    json_str(&w, id);
    json_key(&w, "known");
    json_bool(&w, known);
    json_object_end(&w);
    http_reply(exchange);
}

static void
write_collector(struct json_writer *w, const struct collect_status *status, bool with_rate)
{
    double attempts = (double)(status->metrics_collected + status->errors);

    json_key(w, status->name);
    json_object_begin(w);
    json_key(w, "name");
    json_cstr(w, status->name);
    json_key(w, "status");
    json_cstr(w, status->running ? "running" : "stopped");
    json_key(w, with_rate ? "uptime" : "uptime_seconds");
    json_f64(w, status->uptime_seconds);
    json_key(w, "metrics_collected");
    json_u64(w, status->metrics_collected);
    json_key(w, "errors");
    json_u64(w, status->errors);
    if (with_rate) {
        json_key(w, "error_rate");
        json_f64(w, attempts > 0 ? (double)status->errors / attempts : 0);
    }
    if (status->last_error[0] != '\0') {
        json_key(w, "last_error");
        json_cstr(w, status->last_error);
    }
    json_object_end(w);
}

static void
write_collectors(struct api *api, struct json_writer *w, bool with_rate)
{
    size_t count = atomic_load(&api->collector_count);

    for (size_t i = 0; i < count; i++) {
        struct collect_status status = {0};
        api->collectors[i].status(api->collectors[i].ctx, &status);
        write_collector(w, &status, with_rate);
    }
}

void
get_system_components(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct engine_status status;
    struct json_writer w;

    (void)route;
    engine_status(api->engine, &status);
    reply_json(exchange, &w);
    json_object_begin(&w);
    json_key(&w, "status");
    json_cstr(&w, status.healthy ? "healthy" : "degraded");
    json_key(&w, "components");
    json_object_begin(&w);
    write_collectors(api, &w, false);
    json_key(&w, "websocket");
    json_object_begin(&w);
    json_key(&w, "status");
    json_cstr(&w, "running");
    json_key(&w, "connections");
    json_u64(&w, stream_clients(api->stream));
    json_key(&w, "stats");
    stream_write_stats(api->stream, &w);
    json_object_end(&w);
    json_key(&w, "store");
    json_object_begin(&w);
    json_key(&w, "status");
    json_cstr(&w, status.healthy ? "running" : "failed");
    json_key(&w, "type");
    json_cstr(&w, status.store.type ? status.store.type : "none");
    json_key(&w, "applied_lsn");
    json_u64(&w, status.applied_lsn);
    json_key(&w, "durable_lsn");
    json_u64(&w, status.durable_lsn);
    json_key(&w, "apply_lag_ms");
    json_f64(&w, (double)status.apply_lag_us / 1000);
    if (!status.healthy) {
        json_key(&w, "detail");
        json_cstr(&w, status.problem.msg);
    }
    json_object_end(&w);
    json_object_end(&w);
    json_key(&w, "timestamp");
    json_time_us(&w, clock_wall_us(api->clock));
    json_object_end(&w);
    http_reply(exchange);
}

void
get_system_stats(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct engine_status status;
    struct json_writer w;

    (void)route;
    reply_json(exchange, &w);
    json_object_begin(&w);
    json_key(&w, "api");
    json_object_begin(&w);
    json_key(&w, "running");
    json_bool(&w, true);
    json_key(&w, "websocket_connections");
    json_u64(&w, stream_clients(api->stream));
    json_key(&w, "total_messages_sent");
    json_u64(&w, stream_messages(api->stream));
    json_object_end(&w);
    json_key(&w, "collectors");
    json_object_begin(&w);
    write_collectors(api, &w, true);
    json_object_end(&w);
    engine_status(api->engine, &status);
    json_key(&w, "cache");
    write_cache_stats(&w, status.hot.cache.bytes_max > 0 ? &status.hot.cache : &status.store.lru);
    json_object_end(&w);
    http_reply(exchange);
}

static void
write_log(struct json_writer *w, const struct log_record *records, size_t count)
{
    json_array_begin(w);
    for (size_t i = 0; i < count; i++) {
        json_object_begin(w);
        json_key(w, "timestamp");
        json_time_us(w, records[i].wall_us);
        json_key(w, "level");
        json_cstr(w, log_level_name(records[i].level));
        json_key(w, "component");
        json_cstr(w, records[i].part);
        json_key(w, "message");
        json_cstr(w, records[i].text);
        json_object_end(w);
    }
    json_array_end(w);
}

void
get_system_logs(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    static const char *const words[] = {"DEBUG", "INFO", "WARNING", "ERROR", NULL};
    struct json_writer w;
    int level;
    int64_t limit;
    struct err err;

    (void)api;
    (void)route;
    if (request_word(exchange, "level", words, LOG_INFO, &level, &err) != ERR_OK ||
        request_int(exchange, "limit", 1, LOG_RING_LINES, LOG_LIMIT_DEFAULT, &limit, &err) !=
            ERR_OK) {
        reply_error(exchange, &err, 0);
        return;
    }
    MEM_AUTO struct log_record *records = mem_zalloc((size_t)limit, sizeof(*records));
    size_t count = log_recent((enum log_level)level, records, (size_t)limit);
    reply_json(exchange, &w);
    json_object_begin(&w);
    json_key(&w, "logs");
    write_log(&w, records, count);
    json_key(&w, "count");
    json_u64(&w, count);
    json_key(&w, "level");
    json_cstr(&w, words[level]);
    json_object_end(&w);
    http_reply(exchange);
}
