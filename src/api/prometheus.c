/*
 * GET /metrics: this server in Prometheus text format. Everything is read from the parts' status at
 * the moment of the scrape; there is no registry to keep in step.
 */
#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include "api/answer_cache.h"
#include "api/api_private.h"
#include "api/prom_page.h"
#include "base/limits.h"
#include "codec/prom_text.h"

enum { PROC_BYTES = 1024, US_PER_S = 1000000, STATUS_CLASSES = 6 };

static const double latency_bounds_s[] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
                                          0.01,   0.025,   0.05,   0.1,   0.25,   0.5,
                                          1,      2.5,     5,      10};

static void
write_routes(struct page *page, const struct http_server *server)
{
    static const char *const classes[] = {"", "1xx", "2xx", "3xx", "4xx", "5xx"};
    struct http_route_stats stats;
    const char *full = page_family(page, "http_requests_total", PROM_COUNTER,
                                   "Requests answered, by route and class of status.");
    for (size_t i = 0; http_server_route_stats(server, i, &stats); i++) {
        for (int class = 1; class < STATUS_CLASSES; class ++) {
            if (stats.by_class[class] == 0) {
                continue;
            }
            const struct prom_label labels[] = {{"route", slice_of(stats.route)},
                                                {"status", slice_of(classes[class])}};
            prom_sample_u64(page->out, full, labels, 2, stats.by_class[class]);
        }
    }
    full = page_family(page, "http_request_duration_seconds", PROM_HISTOGRAM,
                       "Time from the request's head to its answer.");
    for (size_t i = 0; http_server_route_stats(server, i, &stats); i++) {
        const struct prom_label label = {"route", slice_of(stats.route)};
        prom_hist(page->out, full, &label, 1, stats.latency_us, latency_bounds_s,
                  sizeof(latency_bounds_s) / sizeof(latency_bounds_s[0]));
    }
}

static void
write_http(struct page *page, const struct http_server *server)
{
    struct http_stats s;

    http_server_stats(server, &s);
    write_routes(page, server);
    page_gauge(page, "http_connections_active", "Connections open, WebSockets included.",
               (double)s.connections);
    page_counter(page, "http_connections_total", "Connections accepted.", s.connections_total);
    page_counter(page, "http_connections_refused_total", "Connections over the limit.",
                 s.connections_refused);
    page_gauge(page, "http_requests_active", "Requests being handled.", (double)s.requests_active);
    page_counter(page, "http_parse_errors_total", "Requests that were no HTTP.", s.parse_errors);
    page_counter(page, "http_streams_total", "Answers begun before they were complete.",
                 s.streams_total);
    page_counter(page, "http_streams_cut_total", "Those of them that the client did not get whole.",
                 s.streams_cut);
    page_counter(page, "http_clients_gone_total", "Clients that left before their answer.",
                 s.clients_gone);
    page_counter(page, "http_received_bytes_total", "Bytes received.", s.bytes_in);
    page_counter(page, "http_sent_bytes_total", "Bytes sent.", s.bytes_out);
    page_gauge(page, "http_body_memory_bytes", "Memory held by request bodies.",
               (double)s.bodies_bytes);
    page_gauge(page, "websocket_connections_active", "WebSocket clients.", (double)s.ws_clients);
    page_counter(page, "websocket_connections_total", "WebSocket clients since the start.",
                 s.ws_clients_total);
    page_counter(page, "websocket_messages_sent_total", "WebSocket frames sent.", s.ws_frames_sent);
    page_counter(page, "websocket_frames_skipped_total",
                 "Frames replaced by a newer one before a slow client took them.",
                 s.ws_frames_skipped);
    page_counter(page, "websocket_dropped_total", "Clients dropped because they were too slow.",
                 s.ws_dropped_slow);
}

static void
write_wal(struct page *page, const struct wal_status *s)
{
    page_gauge(page, "wal_healthy", "1 while writes are made durable, 0 while they are refused.",
               s->healthy);
    page_gauge(page, "wal_durable_lsn", "Sequence number of the last durable record.",
               (double)s->durable_lsn);
    page_counter(page, "wal_records_total", "Records made durable since the start.", s->records);
    page_counter(page, "wal_syncs_total", "Groups synced since the start.", s->syncs);
    page_counter(page, "wal_failures_total", "Failed writes and syncs.", s->failures);
    page_gauge(page, "wal_segments", "Segment files.", (double)s->segments);
    page_gauge(page, "wal_size_bytes", "Used bytes of all segments.", (double)s->bytes);
    page_gauge(page, "wal_queued_bytes", "Bytes waiting for a sync.", (double)s->queued_bytes);
    page_gauge(page, "wal_sync_p50_seconds", "Median time of writing and syncing a group.",
               s->sync_p50_us / US_PER_S);
    page_gauge(page, "wal_sync_p99_seconds", "99th percentile of it.", s->sync_p99_us / US_PER_S);
}

static void
write_store(struct page *page, const struct engine_status *s)
{
    page_gauge(page, "store_healthy", "1 while the store is applying and answering.", s->healthy);
    page_gauge(page, "store_applied_lsn", "Sequence number of the last applied record.",
               (double)s->applied_lsn);
    page_gauge(page, "store_apply_lag_seconds", "Age of the oldest durable record not yet applied.",
               (double)s->apply_lag_us / US_PER_S);
    page_gauge(page, "store_unapplied_bytes", "Log bytes not yet applied.",
               (double)s->unapplied_bytes);
    page_counter(page, "store_rebuilds_total", "Times the store was rebuilt.", s->rebuilds);
    page_counter(page, "store_groups_total", "Transactions applied.", s->store.groups);
    page_counter(page, "store_rows_total", "Rows applied.", s->store.rows);
    page_counter(page, "store_late_rows_total", "Rows that replaced or came before existing ones.",
                 s->store.late_rows);
    page_counter(page, "store_checkpoints_total", "Checkpoints.", s->store.checkpoints);
    page_gauge(page, "store_size_bytes", "Size of the store.", (double)s->store.size_bytes);
    page_gauge(page, "store_memory_bytes", "Memory of the store's engine.",
               (double)s->store.memory_bytes);
    page_gauge(page, "store_memory_limit_bytes", "Its limit.", (double)s->store.memory_limit_bytes);
    if (s->store.guard.limit_bytes > 0) {
        page_gauge(page, "memory_used_bytes", "Memory of the process that is of no file.",
                   (double)s->store.guard.used_bytes);
        page_gauge(page, "memory_max_bytes", "How much of it ends a statement (server.memory_max).",
                   (double)s->store.guard.limit_bytes);
    }
    page_counter(page, "store_queries_total", "Queries answered.", s->store.queries);
    page_counter(page, "store_query_errors_total", "Queries that failed.", s->store.query_errors);
    page_counter(page, "store_queries_out_of_memory_total",
                 "Those of them that were ended at a bound of memory.",
                 s->store.queries_out_of_memory);
    page_gauge(page, "store_query_p50_seconds", "Median time of a query.",
               s->store.query_p50_us / US_PER_S);
    page_gauge(page, "store_query_p99_seconds", "99th percentile of it.",
               s->store.query_p99_us / US_PER_S);
    page_gauge(page, "store_readers_busy", "Read connections in use.", s->store.readers_busy);
    page_gauge(page, "store_readers", "Read connections.", s->store.readers);
}

/* Both of what is made of store/lru.h: the cache in front of a store, and the store in memory. */
static void
write_evicting(struct page *page, const char *part, const struct lru_stats *s)
{
    const struct {
        const char *name;
        const char *help;
        uint64_t value;
    } counters[] = {
        {"hits_total", "Reads answered from what is there.", s->hits},
        {"misses_total", "Reads it could answer and did not have.", s->misses},
        {"evicted_series_total", "Series that went for want of room.", s->evicted_series},
        {"evicted_points_total", "Points that went for want of room.", s->evicted_points},
    };
    uint64_t reads = s->hits + s->misses;
    const struct {
        const char *name;
        const char *help;
        double value;
    } gauges[] = {
        {"hit_ratio", "Share of reads answered.", reads ? (double)s->hits / (double)reads : 0},
        {"series", "Series in memory.", (double)s->series},
        {"points", "Points in memory.", (double)s->points},
        {"points_max", "Bound of points; 0: none.", (double)s->points_max},
        {"bytes", "Memory used.", (double)s->bytes},
        {"bytes_max", "Bound of it.", (double)s->bytes_max},
        {"utilization_ratio", "Share of the tighter bound in use.", s->utilization},
    };
    char name[PROM_NAME_BYTES];

    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
        snprintf(name, sizeof(name), "%s_%s", part, counters[i].name);
        page_counter(page, name, counters[i].help, counters[i].value);
    }
    for (size_t i = 0; i < sizeof(gauges) / sizeof(gauges[0]); i++) {
        snprintf(name, sizeof(name), "%s_%s", part, gauges[i].name);
        page_gauge(page, name, gauges[i].help, gauges[i].value);
    }
}

static void
write_hot(struct page *page, const struct hot_stats *s)
{
    write_evicting(page, "hot_cache", &s->cache);
    page_gauge(page, "hot_cache_on", "1 while it is in use; 0: its bytes do not hold the series.",
               s->on);
    page_counter(page, "hot_cache_passed_total", "Reads of a kind that only the store answers.",
                 s->passed);
    page_counter(page, "hot_cache_fills_total", "Ranges taken from the store.", s->fills);
    page_counter(page, "hot_cache_fills_dropped_total",
                 "Ranges thrown away because they were written to meanwhile.", s->fills_dropped);
}

static void
write_ingest(struct page *page, const struct ingest_stats *s)
{
    const char *full =
        page_family(page, "ingest_rows_total", PROM_COUNTER, "Rows made durable, by table.");
    for (int id = 1; id < TABLE_ID_END; id++) {
        const struct catalog_table *table = catalog_table((enum table_id)id);
        if (table && s->rows_by_table[id] > 0) {
            const struct prom_label label = {"table", slice_of(table->name)};
            prom_sample_u64(page->out, full, &label, 1, s->rows_by_table[id]);
        }
    }
    page_counter(page, "ingest_requests_total", "Write requests.", s->requests);
    page_counter(page, "ingest_requests_refused_total", "Write requests refused.",
                 s->requests_refused);
    page_counter(page, "ingest_rows_rejected_total", "Rows that were not valid.", s->rows_rejected);
    page_counter(page, "ingest_received_bytes_total", "Bytes of write bodies.", s->bytes);
    page_counter(page, "ingest_idempotent_replays_total", "Requests answered from their key.",
                 s->idempotent_replays);
    page_gauge(page, "ingest_inflight_bytes", "Bytes decoded and not yet durable.",
               (double)s->inflight_bytes);
    page_gauge(page, "ingest_series", "Metric series known.", (double)s->series);
}

static void
write_collectors(struct page *page, struct api *api)
{
    size_t count = atomic_load(&api->collector_count);
    const char *full = page_family(page, "collector_metrics_collected_total", PROM_COUNTER,
                                   "Rows collected, by collector.");
    for (size_t i = 0; i < count; i++) {
        struct collect_status status = {0};
        api->collectors[i].status(api->collectors[i].ctx, &status);
        const struct prom_label label = {"collector", slice_of(status.name)};
        prom_sample_u64(page->out, full, &label, 1, status.metrics_collected);
    }
    full = page_family(page, "collector_errors_total", PROM_COUNTER,
                       "Readings and writes that failed, by collector.");
    for (size_t i = 0; i < count; i++) {
        struct collect_status status = {0};
        api->collectors[i].status(api->collectors[i].ctx, &status);
        const struct prom_label label = {"collector", slice_of(status.name)};
        prom_sample_u64(page->out, full, &label, 1, status.errors);
    }
}

static unsigned
open_files(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");

    if (!dir) {
        return 0;
    }
    /* The stream is this function's own, so readdir is safe. */
    while (readdir(dir)) { /* NOLINT(concurrency-mt-unsafe) */
        count++;
    }
    closedir(dir);
    return count > 3 ? count - 3 : 0; /* without ".", ".." and the directory itself */
}

static double
seconds(const struct timeval *time)
{
    return (double)time->tv_sec + (double)time->tv_usec / US_PER_S;
}

static void
cpu_time(struct page *page, const char *name, const char *help, double value)
{
    prom_sample(page->out, page_family(page, name, PROM_COUNTER, help), NULL, 0, value);
}

static void
write_process(struct page *page, const struct api *api)
{
    struct rusage usage;
    struct rlimit files;
    char text[PROC_BYTES];
    unsigned long long pages_total = 0;
    unsigned long long pages_resident = 0;
    unsigned long long pages_data = 0;
    long page_bytes = sysconf(_SC_PAGESIZE);

    getrusage(RUSAGE_SELF, &usage);
    getrlimit(RLIMIT_NOFILE, &files);
    if (limits_read_file("/proc/self/statm", text, sizeof(text)) > 0) {
        char *rest;
        pages_total = strtoull(text, &rest, 10);
        pages_resident = strtoull(rest, &rest, 10);
        for (int skip = 0; skip < 3; skip++) {
            strtoull(rest, &rest, 10); /* shared, text, lib */
        }
        pages_data = strtoull(rest, NULL, 10);
    }
    double user_s = seconds(&usage.ru_utime);
    double system_s = seconds(&usage.ru_stime);
    cpu_time(page, "process_cpu_user_seconds_total", "User time of the process.", user_s);
    cpu_time(page, "process_cpu_system_seconds_total", "System time of the process.", system_s);
    cpu_time(page, "process_cpu_seconds_total", "User and system time of the process.",
             user_s + system_s);
    page_gauge(page, "process_resident_memory_bytes", "Resident memory.",
               (double)pages_resident * (double)page_bytes);
    page_gauge(page, "process_virtual_memory_bytes", "Virtual memory.",
               (double)pages_total * (double)page_bytes);
    page_gauge(page, "process_heap_bytes", "Data and stack.",
               (double)pages_data * (double)page_bytes);
    page_gauge(page, "process_open_fds", "Open file descriptors.", open_files());
    page_gauge(page, "process_max_fds", "Their limit.", (double)files.rlim_cur);
    page_gauge(page, "process_start_time_seconds", "Start, as Unix time.",
               (double)api->started_wall_us / US_PER_S);
}

static void
write_jobs(struct page *page, struct api *api)
{
    struct jobs_stats queries;
    struct jobs_stats writes;

    jobs_stats(api->jobs, &queries);
    jobs_stats(api->writers, &writes);
    page_gauge(page, "jobs_queued", "Requests waiting for a job thread.",
               (double)(queries.queued + writes.queued));
    page_gauge(page, "jobs_running", "Requests on a job thread.",
               (double)queries.running + (double)writes.running);
    page_counter(page, "jobs_refused_total", "Requests refused because the queue was full.",
                 queries.refused + writes.refused);
}

static void
write_answers(struct page *page, struct api *api)
{
    struct answer_cache_stats stats;

    answer_cache_stats(api->answers, &stats);
    page_counter(page, "answer_cache_hits_total", "History requests answered from kept answers.",
                 stats.hits);
    page_counter(page, "answer_cache_misses_total",
                 "History requests that the store was asked for.", stats.misses);
    page_counter(page, "answer_cache_outdated_total",
                 "Of the misses, those whose kept answer was no longer true.", stats.outdated);
    page_counter(page, "answer_cache_not_modified_total",
                 "Of the hits, those whose client had the answer (304).", stats.not_modified);
    page_counter(page, "answer_cache_evictions_total",
                 "Kept answers that made room for newer ones.", stats.evictions);
    page_gauge(page, "answer_cache_entries", "Answers kept.", (double)stats.entries);
    page_gauge(page, "answer_cache_bytes", "Memory of kept answers.", (double)stats.bytes);
    page_gauge(page, "answer_cache_max_bytes", "Their bound.", (double)stats.bytes_max);
}

/* What is of one database; the families of the process come around it. */
static void
write_parts(struct page *page, struct api *api)
{
    struct ingest *ingest = atomic_load(&api->ingest);
    struct engine_status status;

    engine_status(api->engine, &status);
    write_wal(page, &status.wal);
    write_store(page, &status);
    if (status.hot.cache.bytes_max > 0) {
        write_hot(page, &status.hot);
    }
    if (status.store.lru.bytes_max > 0) {
        write_evicting(page, "memory_store", &status.store.lru);
    }
    if (ingest) {
        struct ingest_stats rows;
        ingest_stats(ingest, &rows);
        write_ingest(page, &rows);
    }
    write_cold_metrics(api, &status.maintain, page);
    struct meter *meter = atomic_load(&api->meter);
    if (meter) {
        write_meter_metrics(api, meter, page);
    }
    struct gateway *gateway = atomic_load(&api->gateway);
    if (gateway) {
        write_gateway_metrics(gateway, page);
    }
    write_jobs(page, api);
    write_answers(page, api);
    write_collectors(page, api);
}

void
write_database_metrics(struct api *api, struct buf *out)
{
    struct page page = {.out = out, .namespace = api->options.metrics_namespace};

    write_parts(&page, api);
}

void
get_prometheus(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct page page = {.out = http_out(exchange), .namespace = api->options.metrics_namespace};
    struct http_server *server = atomic_load(&api->server);
    const char *full =
        page_family(&page, "build_info", PROM_GAUGE, "Always 1; the version is in the label.");
    const struct prom_label version = {"version", SLICE_LITERAL(EIDER_VERSION)};

    (void)route;
    prom_sample(page.out, full, &version, 1, 1);
    if (server) {
        write_http(&page, server);
    }
    write_parts(&page, api);
    merge_databases_metrics(api, page.out);
    if (!api->options.metrics_without_process) {
        write_process(&page, api);
    }
    http_set_content_type(exchange, PROM_CONTENT_TYPE);
    http_reply(exchange);
}
