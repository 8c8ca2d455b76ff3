/*
 * What the files of this part share: the api's state, the route table's shape, helpers to read a
 * request and to answer it.
 */
#ifndef EIDER_API_API_PRIVATE_H
#define EIDER_API_API_PRIVATE_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#include "api/api.h"
#include "api/jobs.h"
#include "api/refusals.h"
#include "catalog/batch_text.h"
#include "codec/json_write.h"

struct answer_basis;
struct answer_cache;
struct page;
struct rate_limit;
struct stream;
struct stream_spend;

enum { API_INLINE_BODY_BYTES = 64 << 10 };

struct api {
    struct api_options options;
    const struct clock *clock;
    int64_t started_mono_us;
    int64_t started_wall_us;
    struct engine *engine;
    struct live *live;
    _Atomic(struct ingest *) ingest;
    _Atomic(struct http_server *) server;
    _Atomic(struct meter *) meter;
    _Atomic(struct gateway *) gateway;
    struct refusals *refusals;    /* calls that budgets refused */
    struct answer_cache *answers; /* to history requests */
    struct jobs *jobs;            /* queries */
    struct jobs *writers;         /* large bodies: slow queries must not hold up writes */
    pthread_mutex_t warning_lock;
    char warning[ERR_MSG_MAX]; /* of something beside: nobody is refused for it; "": none */
    atomic_bool closing;       /* whoever could still ask is gone: what waits is not begun */
    struct stream *stream;
    struct rollup *rollup;             /* figures of the event log, once it was read */
    atomic_bool rollup_reads;          /* a job reads it */
    struct stream_spend *stream_spend; /* what the stream shows of the meter */
    struct databases *databases;       /* NULL: the only one */
    size_t database_index;             /* 0: the default one */
    struct rate_limit *rate;
    bool need_token;
    struct api_token *tokens;
    size_t token_count;
    struct {
        api_collector_fn *status;
        void *ctx;
    } collectors[API_COLLECTORS_MAX];
    _Atomic size_t collector_count;
    struct api_work works[API_WORKS_MAX];
    _Atomic size_t work_count;
};

/* ---- routes (routes.c) ---- */

struct route;
typedef void route_fn(struct api *api, const struct route *route, struct http_exchange *exchange);

enum route_flag {
    ROUTE_OPEN = 1,  /* needs no token */
    ROUTE_JOB = 2,   /* runs on a job thread: it may block */
    ROUTE_BODY = 4,  /* takes a body up to the configured limit */
    ROUTE_QUICK = 8, /* with ROUTE_JOB: never waits for the store, so not behind those that do */
    /* What a token must be allowed to do; one of several is enough. Every route but an open one
     * says it. */
    ROUTE_INGEST = API_SCOPE_INGEST << 4,
    ROUTE_READ = API_SCOPE_READ << 4,
    ROUTE_SPEND = API_SCOPE_SPEND << 4,
    ROUTE_ADMIN = API_SCOPE_ADMIN << 4,
    ROUTE_SCOPES = API_SCOPE_ALL << 4,
    ROUTE_CACHED = 256 /* its handler ends with cached_reply */
};

enum param_place { PARAM_IN_QUERY, PARAM_IN_PATH, PARAM_IN_HEADER };

/* A parameter as the reference shows it. */
struct route_param {
    const char *name;
    enum param_place place;
    const char *type; /* of JSON Schema: string, integer, boolean */
    const char *help;
};

enum { ROUTE_PARAMS_MAX = 16 };

struct route {
    enum http_method method;
    const char *path; /* with {name} for one segment */
    unsigned flags;
    route_fn *run;
    const char *group; /* heading in the reference */
    const char *summary;
    const char *body_schema;                     /* name of a schema in openapi.c, or NULL */
    const char *answer_schema;                   /* the same for the 200 answer */
    struct route_param params[ROUTE_PARAMS_MAX]; /* ends with a NULL name */
};

/* The table of all routes; ends with a NULL path. */
extern const struct route api_routes[];

/* The segment of the request's path that stands where the pattern has its first {name} (or the
 * one at `index`); empty when none. */
struct slice route_segment(const struct route *route, const struct http_exchange *exchange);
struct slice route_segment_at(const struct route *route, const struct http_exchange *exchange,
                              size_t index);

/* ---- who may do what (tokens.c) ---- */

void tokens_open(struct api *api, const struct api_options *options);
void tokens_close(struct api *api);

/* Whether the request carries a token with a scope that the route takes: ERR_UNAUTHORIZED (and the
 * header that RFC 9110 asks for), or ERR_FORBIDDEN naming the scope that is missing. */
enum err_code tokens_check(const struct api *api, const struct route *route,
                           struct http_exchange *exchange, struct err *err);

/* Whether whoever asks may know of the other databases. */
bool tokens_see_all(const struct api *api, const struct http_exchange *exchange);

/* ---- several databases (databases.c) ---- */

/* The member "databases" of /health, for who may see it; nothing when there is only one. */
void write_databases_health(struct api *api, const struct http_exchange *exchange,
                            struct json_writer *writer);

/* All other databases' metrics into a page of the default one. */
void merge_databases_metrics(struct api *api, struct buf *page);

/* The metrics of one: without those of the process. */
void write_database_metrics(struct api *api, struct buf *out);

/* The figures of one for the list of databases. */
void api_describe(struct api *api, struct json_writer *writer);

/* ERR_OK, or why the api is not healthy in `ret_reason`. */
bool api_is_healthy(struct api *api, char *ret_reason, size_t size);

route_fn get_databases;

/* ---- rows a second (rate_limit.c) ---- */

struct rate_limit *rate_limit_new(uint64_t rows_per_second); /* NULL for 0 */
void rate_limit_free(struct rate_limit *limit);

/* Whether rows may come now; else after how many seconds. What came is told afterwards. */
bool rate_limit_allows(struct rate_limit *limit, int64_t now_us, int *ret_retry_after_s);
void rate_limit_count(struct rate_limit *limit, int64_t now_us, uint64_t rows);
uint64_t rate_limit_rows(const struct rate_limit *limit); /* 0: none */

/* ---- the gateway (gateway.c) ---- */

/* For api_accept and api_handle, for paths that are gateway_is_path. */
enum err_code forward_accept(struct api *api, struct http_exchange *exchange,
                             uint64_t *ret_body_max, struct err *err);
void forward_call(struct api *api, struct http_exchange *exchange);
route_fn any_gateway;
void write_gateway_metrics(struct gateway *gateway, struct page *page);

/* ---- an operator's work (work.c) ---- */

route_fn get_work, post_work;

/* ---- cold data (cold.c) ---- */

route_fn post_seal, post_retention, get_cold;

/* Its families of /metrics (prometheus_cold.c). */
void write_cold_metrics(struct api *api, const struct maintain_status *status, struct page *page);

/* ---- who may talk to us without a token (guard.c) ---- */

/* ERR_FORBIDDEN for a page of another origin that writes, and for a Host that is not this machine
 * when the server is for this machine alone. */
enum err_code guard_request(const struct api *api, const struct http_exchange *exchange,
                            struct err *err);

/* ---- reading requests (request.c) ---- */

/* Query parameter as an integer within [min, max], `fallback` when absent; ERR_INVALID names it. */
enum err_code request_int(const struct http_exchange *exchange, const char *name, int64_t min,
                          int64_t max, int64_t fallback, int64_t *ret_value, struct err *err);

/* Query parameter as an ISO 8601 time; `fallback` when absent. */
enum err_code request_time(const struct http_exchange *exchange, const char *name, int64_t fallback,
                           int64_t *ret_us, struct err *err);

/* One of the words in `words` (NULL-terminated); index in *ret_index, `fallback` when absent. */
enum err_code request_word(const struct http_exchange *exchange, const char *name,
                           const char *const *words, int fallback, int *ret_index, struct err *err);

/* The body as a JSON object; the caller decrefs. ERR_SYNTAX with line and column. */
enum err_code request_json(const struct http_exchange *exchange, json_t **ret_object,
                           struct err *err);

/* Content-Encoding: gzip (deflate is taken for it), or none; ERR_MEDIA_TYPE for anything else. */
enum err_code request_encoding(const struct http_exchange *exchange, bool *ret_gzip,
                               struct err *err);

/* Gives up what is read for this request once its client has left: for routes on a job thread; NULL
 * on others. It lives as long as the exchange. */
struct store_cancel *request_cancel(const struct http_exchange *exchange);

/* True when the client's Accept header prefers `mime` over JSON (a plain "contains" test). */
bool request_accepts(const struct http_exchange *exchange, const char *mime);

/* ---- answering (reply.c) ---- */

/* Starts a JSON answer: content type, and a writer on the exchange's body. */
void reply_json(struct http_exchange *exchange, struct json_writer *ret_writer);

/* Sends {"detail", "code", "request_id"} with the status of the error's code, and gives the
 * exchange away. retry_after_s > 0 adds the header. */
void reply_error(struct http_exchange *exchange, const struct err *err, int retry_after_s);

/* The same with the message as "error", too, as the clients of the Hedera monitor read it. */
void reply_error_named(struct http_exchange *exchange, const struct err *err);

/* The rows of an answer as JSON objects within an array that the caller opened; `type` (may be
 * NULL) is put first into each. */
void reply_rows(struct json_writer *writer, const struct batch *rows, const char *type);

/* ---- kept answers and entity tags (cached.c) ---- */

void cached_open(struct api *api);

/* Answers from what is kept, if that still holds: true, and the exchange is given away. */
bool cached_serve(struct api *api, struct http_exchange *exchange);

/* A handler of a ROUTE_CACHED: begins before it asks the store, names what its answer is made of,
 * says so when the range ends now (then the answer is used for a second at most), writes the
 * answer and ends with cached_reply, which gives the exchange away. */
void cached_begin(struct api *api, struct answer_basis *ret_basis);
void cached_part(struct answer_basis *basis, enum table_id table, int64_t from_us, int64_t to_us);
void cached_until_now(struct api *api, struct answer_basis *basis);
void cached_reply(struct api *api, struct http_exchange *exchange,
                  const struct answer_basis *basis);

/* ---- shapes of the meter for the reference (schemas_meter.c) ---- */

void write_meter_schemas(struct json_writer *writer);

/* ---- the event log's figures (events_read.c) ---- */

/* Reads the log into the rollup on a job thread, unless that is done or under way. */
void events_rollup_start(struct api *api);

/* ---- figures of what evicts (metrics_points.c) ---- */

void write_cache_stats(struct json_writer *w, const struct lru_stats *stats);

/* ---- metrics of the meter (prometheus_meter.c) ---- */

struct meter;
void write_meter_metrics(struct api *api, struct meter *meter, struct page *page);

/* ---- the stream (stream.c) ---- */

struct stream *stream_open(struct api *api);
void stream_start(struct stream *stream);
void stream_stop(struct stream *stream);
void stream_close(struct stream *stream);

/* Writes the object of websocket statistics of the originals. */
void stream_write_stats(struct stream *stream, struct json_writer *writer);
uint64_t stream_clients(struct stream *stream);
uint64_t stream_messages(struct stream *stream);

/* ---- the resources ---- */

route_fn get_service, get_health, get_ready, get_alive, get_database_health;
route_fn get_current, post_history, get_history, get_symbols, get_summary, get_last_points,
    get_candles;
route_fn get_metric_points, get_account_points, get_storage_stats;
route_fn get_trades, get_trade, get_trade_summary, get_execution_quality;
route_fn get_system_health, get_system_performance, get_system_components, get_system_logs,
    get_system_stats, get_alerts, post_acknowledge;
route_fn post_sql, post_ingest, post_write, get_write_ping;
route_fn get_prometheus, get_openapi, get_docs, get_asset;
route_fn get_stream;
route_fn post_reserve, post_commit, post_release, post_extend, post_check;
route_fn get_budgets, get_budget, put_budget, delete_budget, post_budget_action, get_breaker,
    get_forecast, get_reservations, post_simulate, get_prices, post_quote;
route_fn post_events, get_events, get_event, get_event_stats, get_event_credits, get_event_head;

#endif
