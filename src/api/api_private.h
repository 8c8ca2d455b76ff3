/*
 * What the files of this part share: the api's state, the route table's shape, helpers to read a
 * request and to answer it.
 */
#ifndef EIDER_API_API_PRIVATE_H
#define EIDER_API_API_PRIVATE_H

#include <jansson.h>
#include <stdatomic.h>

#include "api/api.h"
#include "api/jobs.h"
#include "catalog/batch_text.h"
#include "codec/json_write.h"

struct stream;

enum { API_TOKEN_HASH_BYTES = 32, API_INLINE_BODY_BYTES = 64 << 10 };

struct api {
    struct api_options options;
    const struct clock *clock;
    int64_t started_mono_us;
    int64_t started_wall_us;
    struct engine *engine;
    struct live *live;
    _Atomic(struct ingest *) ingest;
    _Atomic(struct http_server *) server;
    struct jobs *jobs;    /* queries */
    struct jobs *writers; /* large bodies: slow queries must not hold up writes */
    atomic_bool closing;  /* whoever could still ask is gone: what waits is not begun */
    struct stream *stream;
    bool need_token;
    unsigned char token_hash[API_TOKEN_HASH_BYTES];
    struct {
        api_collector_fn *status;
        void *ctx;
    } collectors[API_COLLECTORS_MAX];
    _Atomic size_t collector_count;
};

/* ---- routes (routes.c) ---- */

struct route;
typedef void route_fn(struct api *api, const struct route *route, struct http_exchange *exchange);

enum route_flag {
    ROUTE_OPEN = 1, /* needs no token */
    ROUTE_JOB = 2,  /* runs on a job thread: it may block */
    ROUTE_BODY = 4, /* takes a body up to the configured limit */
    ROUTE_QUICK = 8 /* with ROUTE_JOB: never waits for the store, so not behind those that do */
};

enum param_place { PARAM_IN_QUERY, PARAM_IN_PATH, PARAM_IN_HEADER };

/* A parameter as the reference shows it. */
struct route_param {
    const char *name;
    enum param_place place;
    const char *type; /* of JSON Schema: string, integer, boolean */
    const char *help;
};

enum { ROUTE_PARAMS_MAX = 9 };

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

/* The segment of the request's path that stands where the pattern has {name}; empty when none. */
struct slice route_segment(const struct route *route, const struct http_exchange *exchange);

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

/* True when the client's Accept header prefers `mime` over JSON (a plain "contains" test). */
bool request_accepts(const struct http_exchange *exchange, const char *mime);

/* ---- answering (reply.c) ---- */

/* Starts a JSON answer: content type, and a writer on the exchange's body. */
void reply_json(struct http_exchange *exchange, struct json_writer *ret_writer);

/* Sends {"detail", "code", "request_id"} with the status of the error's code, and gives the
 * exchange away. retry_after_s > 0 adds the header. */
void reply_error(struct http_exchange *exchange, const struct err *err, int retry_after_s);

/* The rows of an answer as JSON objects within an array that the caller opened; `type` (may be
 * NULL) is put first into each. */
void reply_rows(struct json_writer *writer, const struct batch *rows, const char *type);

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
route_fn get_current, post_history, get_symbols, get_summary, get_last_points, get_candles;
route_fn get_trades, get_trade, get_trade_summary, get_execution_quality;
route_fn get_system_health, get_system_performance, get_system_components, get_system_logs,
    get_system_stats, get_alerts, post_acknowledge;
route_fn post_sql, post_ingest, post_write, get_write_ping;
route_fn get_prometheus, get_openapi, get_docs, get_asset;
route_fn get_stream;

#endif
