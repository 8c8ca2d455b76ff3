/*
 * The HTTP interface: a table of routes, each parsed in the file of its resource, answered by one
 * call of the part that knows. This header is the whole of it for the server: open, hand it
 * exchanges, close.
 *
 * Threads: api_handle and api_accept run on event loops and never block; what may block (SQL, large
 * bodies) goes to a pool of job threads. api_attach_ingest may be called from any thread.
 */
#ifndef EIDER_API_API_H
#define EIDER_API_API_H

#include "base/clock.h"
#include "collect/collect.h"
#include "http/http.h"
#include "ingest/ingest.h"
#include "live/live.h"
#include "store/engine.h"

struct api;

enum { API_COLLECTORS_MAX = 8 };

struct api_options {
    struct engine *engine;           /* required; outlives the api */
    struct live *live;               /* required; outlives the api */
    const struct clock *clock;       /* NULL: the system's */
    const char *token;               /* NULL or empty: no authentication */
    const char *const *cors_origins; /* NULL-terminated; NULL: none */
    const char *metrics_namespace;   /* NULL: "eider" */
    bool metrics_need_token;
    bool loopback;             /* the server listens on loopback only: Host must say so, too */
    const char *database_path; /* shown by /database/health; may be NULL */
    bool demo;                 /* shown in health and service answers */
    uint64_t body_bytes_max;   /* 0: 64 MiB */
    uint64_t sql_rows_max;     /* 0: 100 000 */
    uint64_t sql_bytes_max;    /* 0: 64 MiB */
    unsigned jobs;             /* threads for queries, and as many for large writes; 0: 4 */
    unsigned ws_clients_max;   /* 0: 10 000 */
    int ws_interval_ms;        /* 0: 100 */
    int ws_heartbeat_ms;       /* 0: 15 000 */
};

void api_open(const struct api_options *options, struct api **ret_api);

/* Stops the stream and the jobs (those that have not begun are answered 503), then frees. The HTTP
 * server must be stopped before. */
void api_close(struct api *api);

/* Gives the parts that exist only after the start. Until the ingest is there, writes answer 503. */
void api_attach_server(struct api *api, struct http_server *server);
void api_attach_ingest(struct api *api, struct ingest *ingest);

/* A collector to show under /api/system; `status` is asked at every request. */
typedef void api_collector_fn(void *ctx, struct collect_status *ret_status);
void api_add_collector(struct api *api, api_collector_fn *status, void *ctx);

/* http_handler_fn and http_accept_fn with the api as ctx. */
void api_handle(void *api, struct http_exchange *exchange);
enum err_code api_accept(void *api, struct http_exchange *exchange, uint64_t *ret_body_max,
                         struct err *err);

/* Starts the tick of the live stream (needs the server); stopped by api_close or api_stop_stream.
 */
void api_start_stream(struct api *api);
void api_stop_stream(struct api *api);

#endif
