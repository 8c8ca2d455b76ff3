/*
 * The api's life, and the way of every request: route, method, origin, token, then the handler of
 * the resource, on the loop or on a job thread.
 */
#include "api/answer_cache.h"
#include "api/api_private.h"
#include "api/stream_spend.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "gateway/gateway.h"
#include "meter/rollup.h"

enum {
    JOB_THREADS = 4,
    JOB_QUEUE_MAX = 1024,
    BODY_BYTES_MAX = 64 << 20,
    SMALL_BODY_BYTES = 64 << 10,
    SQL_ROWS_MAX = 100000,
    SQL_BYTES_MAX = 64 << 20,
    WS_CLIENTS_MAX = 10000,
    WS_INTERVAL_MS = 100,
    WS_HEARTBEAT_MS = 15000
};

struct api_job {
    struct api *api;
    const struct route *route;
    struct http_exchange *exchange;
    struct store_cancel cancel; /* tripped when the client has left */
};

static void
apply_defaults(struct api_options *options)
{
    if (options->body_bytes_max == 0) {
        options->body_bytes_max = BODY_BYTES_MAX;
    }
    if (options->sql_rows_max == 0) {
        options->sql_rows_max = SQL_ROWS_MAX;
    }
    if (options->sql_bytes_max == 0) {
        options->sql_bytes_max = SQL_BYTES_MAX;
    }
    if (options->jobs == 0) {
        options->jobs = JOB_THREADS;
    }
    if (options->ws_clients_max == 0) {
        options->ws_clients_max = WS_CLIENTS_MAX;
    }
    if (options->ws_interval_ms == 0) {
        options->ws_interval_ms = WS_INTERVAL_MS;
    }
    if (options->ws_heartbeat_ms == 0) {
        options->ws_heartbeat_ms = WS_HEARTBEAT_MS;
    }
    if (!options->metrics_namespace) {
        options->metrics_namespace = "eider";
    }
}

void
api_open(const struct api_options *options, struct api **ret_api)
{
    struct api *api = mem_zalloc(1, sizeof(*api));

    assert(options->engine && options->live);
    api->options = *options;
    pthread_mutex_init(&api->warning_lock, NULL);
    apply_defaults(&api->options);
    api->clock = options->clock ? options->clock : clock_system();
    api->started_mono_us = clock_mono_us(api->clock);
    api->started_wall_us = clock_wall_us(api->clock);
    api->engine = options->engine;
    api->live = options->live;
    tokens_open(api, options);
    api->refusals = refusals_new();
    cached_open(api);
    api->rate = rate_limit_new(options->rows_per_second);
    api->jobs = jobs_open(api->options.jobs, JOB_QUEUE_MAX);
    api->writers = jobs_open(api->options.jobs, JOB_QUEUE_MAX);
    api->stream = stream_open(api);
    api->stream_spend = stream_spend_open(api);
    api->rollup = rollup_new(&(struct rollup_options){0});
    *ret_api = api;
}

void
api_close(struct api *api)
{
    if (!api) {
        return;
    }
    atomic_store(&api->closing, true);
    stream_stop(api->stream);
    jobs_close(api->jobs);
    jobs_close(api->writers);
    stream_close(api->stream);
    stream_spend_close(api->stream_spend);
    rollup_free(api->rollup);
    refusals_free(api->refusals);
    answer_cache_free(api->answers);
    rate_limit_free(api->rate);
    tokens_close(api);
    pthread_mutex_destroy(&api->warning_lock);
    free(api);
}

void
api_attach_server(struct api *api, struct http_server *server)
{
    atomic_store(&api->server, server);
}

void
api_attach_ingest(struct api *api, struct ingest *ingest)
{
    atomic_store(&api->ingest, ingest);
}

void
api_attach_meter(struct api *api, struct meter *meter)
{
    atomic_store(&api->meter, meter);
    events_rollup_start(api);
}

void
api_attach_databases(struct api *api, struct databases *databases, size_t index)
{
    api->databases = databases;
    api->database_index = index;
}

void
api_add_collector(struct api *api, api_collector_fn *status, void *ctx)
{
    size_t index = atomic_load(&api->collector_count);

    assert(index < API_COLLECTORS_MAX);
    api->collectors[index].status = status;
    api->collectors[index].ctx = ctx;
    atomic_store(&api->collector_count, index + 1);
}

void
api_start_stream(struct api *api)
{
    stream_start(api->stream);
}

void
api_stop_stream(struct api *api)
{
    stream_stop(api->stream);
}

/* True when path (of a request) fits pattern, in which {name} stands for one non-empty segment. */
static bool
path_fits(const char *pattern, struct slice path)
{
    size_t at = 0;

    for (; *pattern; pattern++) {
        if (*pattern != '{') {
            if (at >= path.len || path.ptr[at] != *pattern) {
                return false;
            }
            at++;
            continue;
        }
        size_t start = at;
        while (at < path.len && path.ptr[at] != '/') {
            at++;
        }
        if (at == start) {
            return false;
        }
        pattern += strcspn(pattern, "}");
    }
    return at == path.len;
}

/* Finds the route of path and method; *ret_known says whether the path exists at all. */
static const struct route *
find_route(enum http_method method, struct slice path, bool *ret_known)
{
    enum http_method wanted = method == HTTP_HEAD ? HTTP_GET : method;

    *ret_known = false;
    for (const struct route *route = api_routes; route->path; route++) {
        if (path_fits(route->path, path)) {
            *ret_known = true;
            if (route->method == wanted) {
                return route;
            }
        }
    }
    return NULL;
}

struct slice
route_segment_at(const struct route *route, const struct http_exchange *exchange, size_t index)
{
    struct slice pattern = slice_of(route->path);
    struct slice path = http_path(exchange);
    struct slice part;
    struct slice segment;

    /* The two have the same number of segments, or the route would not have been found. */
    for (bool more = true; more;) {
        more = slice_split(&pattern, '/', &part);
        slice_split(&path, '/', &segment);
        if (slice_starts(part, "{") && index-- == 0) {
            return segment;
        }
    }
    return slice_sub(path, 0, 0);
}

struct slice
route_segment(const struct route *route, const struct http_exchange *exchange)
{
    return route_segment_at(route, exchange, 0);
}

static enum err_code
check_access(const struct api *api, const struct route *route, struct http_exchange *exchange,
             struct err *err)
{
    bool is_metrics = route->run == get_prometheus;

    if (is_metrics && api->options.metrics_off) {
        return err_set(err, ERR_NOT_FOUND, "metrics.enabled is false");
    }
    bool open = (route->flags & ROUTE_OPEN) || (is_metrics && !api->options.metrics_need_token);

    if (!api->need_token && !(route->flags & ROUTE_OPEN)) {
        return guard_request(api, exchange, err);
    }
    return open || !api->need_token ? ERR_OK : tokens_check(api, route, exchange, err);
}

/* Adds the CORS headers for an allowed origin; false when there is none. */
static bool
add_cors(const struct api *api, struct http_exchange *exchange)
{
    struct slice origin;

    if (!api->options.cors_origins || !http_header(exchange, "Origin", &origin)) {
        return false;
    }
    for (const char *const *allowed = api->options.cors_origins; *allowed; allowed++) {
        if (slice_is(origin, *allowed) || strcmp(*allowed, "*") == 0) {
            http_add_header(exchange, "Access-Control-Allow-Origin", origin);
            http_add_header(exchange, "Access-Control-Allow-Credentials", slice_of("true"));
            http_add_header(exchange, "Vary", slice_of("Origin"));
            return true;
        }
    }
    return false;
}

static void
answer_preflight(struct http_exchange *exchange, bool allowed)
{
    struct slice headers;

    if (allowed) {
        http_add_header(exchange, "Access-Control-Allow-Methods",
                        slice_of("DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"));
        http_add_header(exchange, "Access-Control-Max-Age", slice_of("600"));
        if (http_header(exchange, "Access-Control-Request-Headers", &headers)) {
            http_add_header(exchange, "Access-Control-Allow-Headers", headers);
        }
    }
    http_set_status(exchange, allowed ? 200 : 400);
    http_reply(exchange);
}

/* Allow is required with 405 (RFC 9110, 15.5.6). */
static void
add_allow(struct http_exchange *exchange)
{
    const char *list = "OPTIONS";

    for (const struct route *route = api_routes; route->path; route++) {
        if (path_fits(route->path, http_path(exchange))) {
            const char *more = arena_fmt(http_arena(exchange), "%s, %s%s", list,
                                         route->method == HTTP_GET ? "HEAD, " : "",
                                         http_method_name(route->method));
            list = more ? more : list;
        }
    }
    http_add_header(exchange, "Allow", slice_of(list));
}

/* The paths that the Hedera monitor has. */
static bool
is_monitors(struct slice path)
{
    return slice_is(path, "/api/v1/metrics") || slice_is(path, "/api/v1/metrics/account") ||
           slice_is(path, "/api/v1/storage/stats");
}

static void
answer_unrouted(struct http_exchange *exchange, bool known)
{
    struct err err;
    struct slice path = http_path(exchange);

    if (known) {
        add_allow(exchange);
        if (is_monitors(path)) {
            err_set(&err, ERR_METHOD, "only GET allowed");
            reply_error_named(exchange, &err);
            return;
        }
        err_set(&err, ERR_METHOD, "Method Not Allowed");
    } else if (slice_is(path, "/api/trades")) {
        /* The framework of the original redirects so, and clients follow. */
        http_set_status(exchange, 307);
        struct slice target = http_target(exchange);
        const char *mark = memchr(target.ptr, '?', target.len);
        struct slice query =
            slice_sub(target, mark ? (size_t)(mark - target.ptr) : target.len, target.len);
        const char *where = arena_fmt(http_arena(exchange), "%.*s/api/trades/%.*s",
                                      SLICE_FMT(http_prefix(exchange)), SLICE_FMT(query));
        http_add_header(exchange, "Location", slice_of(where));
        http_reply(exchange);
        return;
    } else {
        err_set(&err, ERR_NOT_FOUND, "Not Found");
    }
    reply_error(exchange, &err, 0);
}

struct store_cancel *
request_cancel(const struct http_exchange *exchange)
{
    struct api_job *job = http_user(exchange);

    return job ? &job->cancel : NULL;
}

static void
on_gone(void *ctx, struct http_exchange *exchange, enum http_gone why)
{
    struct api_job *job = ctx;

    (void)exchange;
    (void)why;
    store_cancel_trip(&job->cancel);
}

/* What only reads is not worth doing for nobody; a change that was asked for is made. */
static bool
is_for_nobody(const struct api_job *job)
{
    return !(job->route->flags & ROUTE_ADMIN) && store_cancel_is_tripped(&job->cancel);
}

static void
run_job(void *arg)
{
    struct api_job *job = arg;
    struct err err;

    if (is_for_nobody(job)) {
        err_set(&err, ERR_TIMEOUT, "given up: whoever asked has left");
        reply_error(job->exchange, &err, 0); /* tells the metrics */
        return;
    }
    if (atomic_load(&job->api->closing)) {
        err_set(&err, ERR_UNAVAILABLE, "the server is stopping");
        reply_error(job->exchange, &err, 1);
        return;
    }
    job->route->run(job->api, job->route, job->exchange);
}

static void
dispatch(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct err err;

    if (!(route->flags & ROUTE_JOB)) {
        route->run(api, route, exchange);
        return;
    }
    if ((route->flags & ROUTE_CACHED) && cached_serve(api, exchange)) {
        return;
    }
    struct api_job *job = arena_alloc(http_arena(exchange), sizeof(*job));
    if (job) {
        *job = (struct api_job){.api = api, .route = route, .exchange = exchange};
        http_set_user(exchange, job);
        if (!http_on_gone(exchange, on_gone, job)) {
            store_cancel_trip(&job->cancel);
        }
        struct jobs *jobs = route->flags & ROUTE_QUICK ? api->writers : api->jobs;
        if (jobs_submit(jobs, run_job, job)) {
            return;
        }
    }
    err_set(&err, ERR_BUSY, "too many queries are waiting (at most %d); try again", JOB_QUEUE_MAX);
    reply_error(exchange, &err, 1);
}

void
api_handle(void *ctx, struct http_exchange *exchange)
{
    struct api *api = ctx;
    bool known;
    struct err err;

    if (gateway_is_path(http_path(exchange))) {
        forward_call(api, exchange);
        return;
    }
    bool allowed = add_cors(api, exchange);

    if (http_method(exchange) == HTTP_OPTIONS) {
        answer_preflight(exchange, allowed);
        return;
    }
    const struct route *route = find_route(http_method(exchange), http_path(exchange), &known);
    if (!route) {
        http_set_route(exchange, known ? "method_not_allowed" : "not_found");
        answer_unrouted(exchange, known);
        return;
    }
    http_set_route(exchange, route->path);
    if (check_access(api, route, exchange, &err) != ERR_OK) {
        reply_error(exchange, &err, 0);
        return;
    }
    dispatch(api, route, exchange);
}

enum err_code
api_accept(void *ctx, struct http_exchange *exchange, uint64_t *ret_body_max, struct err *err)
{
    struct api *api = ctx;
    bool known;

    if (gateway_is_path(http_path(exchange))) {
        return forward_accept(api, exchange, ret_body_max, err);
    }
    const struct route *route = find_route(http_method(exchange), http_path(exchange), &known);
    if (!route) {
        *ret_body_max = SMALL_BODY_BYTES; /* read and forget, then 404 or 405 */
        return ERR_OK;
    }
    enum err_code code = check_access(api, route, exchange, err);
    if (code != ERR_OK) {
        return code;
    }
    *ret_body_max = route->flags & ROUTE_BODY ? api->options.body_bytes_max : SMALL_BODY_BYTES;
    return ERR_OK;
}

void
api_handle_metrics(void *ctx, struct http_exchange *exchange)
{
    struct api *api = ctx;
    enum http_method method = http_method(exchange);
    bool known = slice_is(http_path(exchange), "/metrics");
    struct err err;

    http_set_route(exchange, known ? "/metrics" : "not_found");
    if (!known || (method != HTTP_GET && method != HTTP_HEAD)) {
        if (known) {
            http_add_header(exchange, "Allow", slice_of("GET, HEAD"));
        }
        err_set(&err, known ? ERR_METHOD : ERR_NOT_FOUND,
                known ? "Method Not Allowed" : "Not Found: this port serves /metrics alone");
        reply_error(exchange, &err, 0);
        return;
    }
    const struct route *route = find_route(HTTP_GET, http_path(exchange), &known);
    enum err_code code = ERR_OK;
    if (api->need_token && api->options.metrics_need_token) {
        code = tokens_check(api, route, exchange, &err);
    } else if (!api->need_token && api->options.metrics_loopback) {
        code = guard_request(api, exchange, &err);
    }
    if (code != ERR_OK) {
        reply_error(exchange, &err, 0);
        return;
    }
    dispatch(api, route, exchange);
}
