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
struct databases;
struct gateway;
struct json_writer;
struct meter;
struct refusal;

enum {
    API_COLLECTORS_MAX = 8,
    API_WORKS_MAX = 8,
    API_TOKEN_HASH_BYTES = 32,
    API_TOKEN_NAME_MAX = 63
};

/* What a token may do; a route says which of them it needs. */
enum api_scope {
    API_SCOPE_INGEST = 1, /* write rows and events */
    API_SCOPE_READ = 2,   /* queries, live data, lists */
    API_SCOPE_SPEND = 4,  /* reserve, commit, release, append events */
    API_SCOPE_ADMIN = 8,  /* change budgets, acknowledge alerts */
    API_SCOPE_ALL = 15
};

/* "ingest", "read", "spend", "admin"; NULL for anything but one scope. */
const char *api_scope_name(unsigned scope);

/* A bearer token: known by its SHA-256 only. */
struct api_token {
    char name[API_TOKEN_NAME_MAX + 1]; /* for messages */
    unsigned char hash[API_TOKEN_HASH_BYTES];
    unsigned scopes; /* of enum api_scope, joined by | */
    bool confined;   /* good for this database alone: the others are not shown to it */
};

/* Hashes a token as it is sent. */
void api_token_hash(struct slice token, unsigned char ret_hash[API_TOKEN_HASH_BYTES]);

struct api_options {
    struct engine *engine;           /* required; outlives the api */
    struct live *live;               /* required; outlives the api */
    const struct clock *clock;       /* NULL: the system's */
    const char *token;               /* one with all scopes; NULL or empty: none */
    const struct api_token *tokens;  /* further ones; copied */
    size_t token_count;              /* none at all: no authentication */
    const char *const *cors_origins; /* NULL-terminated; NULL: none */
    bool metrics_off;                /* /metrics is 404 */
    const char *metrics_namespace;   /* NULL: "eider" */
    bool metrics_need_token;
    bool metrics_without_process; /* leaves out the metrics of the process */
    bool metrics_loopback;        /* the listener for metrics alone is on loopback only */
    bool with_meter;              /* a meter will be attached: not ready before it is */
    bool loopback;                /* the server listens on loopback only: Host must say so, too */
    const char *database_path;    /* shown by /database/health; may be NULL */
    bool demo;                    /* shown in health and service answers */
    uint64_t body_bytes_max;      /* 0: 64 MiB */
    uint64_t answer_cache_bytes;  /* of answers to history requests; 0: none */
    uint64_t sql_rows_max;        /* 0: 100 000 */
    uint64_t sql_bytes_max;       /* 0: 64 MiB */
    unsigned jobs;                /* threads for queries, and as many for large writes; 0: 4 */
    unsigned ws_clients_max;      /* 0: 10 000 */
    int ws_interval_ms;           /* 0: 100 */
    int ws_heartbeat_ms;          /* 0: 15 000 */
    unsigned ws_channel;          /* of the server's WebSockets; one of its own for each api */
    uint64_t rows_per_second;     /* of rows written over HTTP; 0: no limit */
};

void api_open(const struct api_options *options, struct api **ret_api);

/* Stops the stream and the jobs (those that have not begun are answered 503), then frees. The HTTP
 * server must be stopped before. */
void api_close(struct api *api);

/* Gives the parts that exist only after the start. Until the ingest is there, writes answer 503;
 * until the meter is there, spending and the event log do. Both must outlive the api. */
void api_attach_server(struct api *api, struct http_server *server);
void api_attach_ingest(struct api *api, struct ingest *ingest);
void api_attach_meter(struct api *api, struct meter *meter);
/* NULL takes it away again; calls that are under way are the gateway's. */
void api_attach_gateway(struct api *api, struct gateway *gateway);

/* Counts a call that a budget refused outside of the api, for /metrics. Any thread. */
void api_count_refusal(struct api *api, const struct refusal *refusal);

/* The databases beside this one (databases.h), at `index` of which this is. Before the first
 * request. */
void api_attach_databases(struct api *api, struct databases *databases, size_t index);

/* A collector to show under /api/system; `status` is asked at every request. */
typedef void api_collector_fn(void *ctx, struct collect_status *ret_status);
void api_add_collector(struct api *api, api_collector_fn *status, void *ctx);

/*
 * Work that an operator asks for and that takes long: POST /api/v1/admin/{name} starts it (202;
 * 409 while it runs), GET tells how it stands. `status` writes members of an object that is open.
 * ctx must outlive the api.
 */
struct api_work {
    const char *name;
    enum err_code (*ask)(void *ctx, struct err *err);
    void (*status)(void *ctx, struct json_writer *json);
    void *ctx;
};
void api_add_work(struct api *api, const struct api_work *work);

/* Something beside that is wrong, for `warning` of /health, which stays healthy; "": nothing. */
void api_warn(struct api *api, const char *text);

/* http_handler_fn for a listener of its own that serves /metrics and nothing else. */
void api_handle_metrics(void *api, struct http_exchange *exchange);

/* http_handler_fn and http_accept_fn with the api as ctx. */
void api_handle(void *api, struct http_exchange *exchange);
enum err_code api_accept(void *api, struct http_exchange *exchange, uint64_t *ret_body_max,
                         struct err *err);

/* Starts the tick of the live stream (needs the server); stopped by api_close or api_stop_stream.
 */
void api_start_stream(struct api *api);
void api_stop_stream(struct api *api);

#endif
