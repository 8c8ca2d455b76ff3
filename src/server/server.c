/* Start, signals, stop. Whatever fails at start is taken apart again by server_fini. */
#include "server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/api.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "collect/demo.h"
#include "collect/system.h"
#include "ingest/ingest.h"
#include "live/live.h"
#include "server/access_log.h"
#include "server/backups.h"
#include "server/gateway.h"
#include "server/meter.h"
#include "server/open_engine.h"
#include "server/tokens.h"
#include "server/warm.h"

enum {
    GRACE_MS = 10000,
    RETRY_NS = 200000000,
    DEMO_BACKFILL_MINUTES = 60,
    PATH_BYTES = 1024,
    METRICS_PREFIX_MAX = 256,
    LOG_MODE = 0644,
    HEAD_INTERVAL_S = 3600
};

struct server {
    const struct config *config;
    struct engine *engine;
    struct live *live;
    struct api *api;
    struct http_server *http;
    struct http_server *metrics_http; /* NULL: /metrics has no port of its own */
    struct ingest *ingest;
    struct meter *meter; /* NULL: switched off, or not there yet */
    struct gateway *gateway;
    struct head_nats *head_nats; /* NULL: the head is not published */
    uint64_t told_seq;           /* head of the event log that was told last */
    struct collect_system *system;
    struct collect_demo *demo;
    struct backups backups; /* what `backup` works with */
    struct work *backup;    /* NULL: backup.dir is not set */
    struct access_log *access;
    char database_path[PATH_BYTES];
    char metrics_prefix[METRICS_PREFIX_MAX];
    const char *cors_origins[CONFIG_LIST_MAX + 1];
};

static void
on_engine_event(void *ctx, bool is_problem, const char *text)
{
    (void)ctx;
    log_write(is_problem ? LOG_ERROR : LOG_INFO, "store", "%s", text);
}

static void
on_durable(void *ctx, const struct batch *batches, size_t count, uint64_t lsn)
{
    live_update(ctx, batches, count, lsn);
}

static void
on_access(void *ctx, const struct http_access *access)
{
    const struct server *server = ctx;

    access_log_add(server->access, access);
}

static void
on_request(void *ctx, struct http_exchange *exchange)
{
    const struct server *server = ctx;

    api_handle(server->api, exchange);
}

static enum err_code
on_accept(void *ctx, struct http_exchange *exchange, uint64_t *ret_body_max, struct err *err)
{
    const struct server *server = ctx;

    return api_accept(server->api, exchange, ret_body_max, err);
}

static void
on_metrics_request(void *ctx, struct http_exchange *exchange)
{
    const struct server *server = ctx;

    api_handle_metrics(server->api, exchange);
}

static enum err_code
on_metrics_accept(void *ctx, struct http_exchange *exchange, uint64_t *ret_body_max,
                  struct err *err)
{
    (void)ctx;
    (void)exchange;
    (void)err;
    *ret_body_max = 0;
    return ERR_OK;
}

static enum err_code
open_log(const struct config *config, struct err *err)
{
    struct log_options options = {.level = (enum log_level)config->log.level,
                                  .json = config->log.json};

    if (config->server.dev && options.level > LOG_DEBUG) {
        options.level = LOG_DEBUG;
    }
    if (config->log.file) {
        options.fd = open(config->log.file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, LOG_MODE);
        if (options.fd < 0) {
            return err_sys(err, errno, "log.file %s cannot be opened", config->log.file);
        }
    }
    log_init(&options);
    return ERR_OK;
}

static enum err_code
open_engine(struct server *server, struct err *err)
{
    const struct config *config = server->config;
    struct engine_options options;
    enum err_code code = server_engine_options(config, &options, err);

    if (code != ERR_OK) {
        return code;
    }
    options.event = on_engine_event;
    snprintf(server->database_path, sizeof(server->database_path), "%s/%s", config->data_dir,
             config->storage.duckdb.path ? config->storage.duckdb.path : "eider.duckdb");
    backups_hook(config, &options);
    return engine_open(&options, &server->engine, err);
}

static const char *
metrics_host(const struct config *config)
{
    return config->metrics.host ? config->metrics.host : config->server.host;
}

/* "namespace", or "namespace_subsystem". */
static const char *
metrics_prefix(struct server *server)
{
    const struct config *config = server->config;
    bool divided = config->metrics.subsystem && config->metrics.subsystem[0];

    snprintf(server->metrics_prefix, sizeof(server->metrics_prefix), "%s%s%s",
             config->metrics.namespace, divided ? "_" : "",
             divided ? config->metrics.subsystem : "");
    return server->metrics_prefix;
}

static void
open_api(struct server *server)
{
    const struct config *config = server->config;
    struct live_options live = {.demo = config->demo};

    struct api_token tokens[CONFIG_LIST_MAX];
    struct err err;

    for (size_t i = 0; i < config->server.tokens.count; i++) {
        /* The configuration has looked at them already. */
        token_parse(slice_of(config->server.tokens.items[i]), &tokens[i], &err);
    }
    for (size_t i = 0; i < config->server.cors_origins.count; i++) {
        server->cors_origins[i] = config->server.cors_origins.items[i];
    }
    live_open(&live, &server->live);
    struct api_options options = {
        .engine = server->engine,
        .live = server->live,
        .token = config->server.token,
        .tokens = tokens,
        .token_count = config->server.tokens.count,
        .cors_origins = server->cors_origins,
        .metrics_namespace = metrics_prefix(server),
        .metrics_off = !config->metrics.enabled,
        .metrics_need_token = config->metrics.token_required,
        .metrics_without_process = !config->metrics.process,
        .metrics_loopback = config_is_loopback(metrics_host(config)),
        .with_meter = config->meter.enabled,
        .loopback = config_is_loopback(config->server.host),
        .database_path = server->database_path,
        .demo = config->demo,
        .body_bytes_max = (uint64_t)config->server.body_bytes_max,
        .answer_cache_bytes = (uint64_t)config->query.cache_bytes,
        .sql_rows_max = (uint64_t)config->sql.rows_max,
        .sql_bytes_max = (uint64_t)config->sql.bytes_max,
        .ws_clients_max = (unsigned)config->websocket.max_connections,
        .ws_interval_ms = (int)config->websocket.interval_ms,
        .ws_heartbeat_ms = (int)config->websocket.heartbeat_interval_ms,
    };
    api_open(&options, &server->api);
}

static enum err_code
start_http(struct server *server, struct err *err)
{
    const struct config *config = server->config;
    struct http_options options = {
        .host = config->server.host,
        .port = (uint16_t)config->server.port,
        .loops = (unsigned)config->server.workers,
        .cert_file = config->server.tls.certfile,
        .key_file = config->server.tls.keyfile,
        .connections_max = (unsigned)config->server.connections_max,
        .idle_timeout_ms = (int)config->server.idle_timeout_ms,
        .handler = on_request,
        .accept = on_accept,
        .origins = server->cors_origins,
        .ctx = server,
    };

    if (config->server.access_log || config->server.dev) {
        server->access = access_log_start(STDERR_FILENO);
        options.access = on_access;
    }
    enum err_code code = http_server_start(&options, &server->http, err);
    if (code == ERR_OK) {
        api_attach_server(server->api, server->http);
        api_start_stream(server->api);
    }
    return code;
}

static enum err_code
start_metrics_http(struct server *server, struct err *err)
{
    const struct config *config = server->config;
    struct http_options options = {
        .host = metrics_host(config),
        .port = (uint16_t)config->metrics.port,
        .loops = 1,
        .cert_file = config->server.tls.certfile,
        .key_file = config->server.tls.keyfile,
        .connections_max = 256,
        .handler = on_metrics_request,
        .accept = on_metrics_accept,
        .access = server->access ? on_access : NULL,
        .ctx = server,
    };

    if (config->metrics.port == 0) {
        return ERR_OK;
    }
    enum err_code code = http_server_start(&options, &server->metrics_http, err);
    return code == ERR_OK ? code : err_context(err, code, "metrics.port");
}

/* Tells other programs on this machine where to reach us: second line of the lock file. */
static void
publish_url(const struct server *server, const char *url)
{
    char path[PATH_BYTES];

    snprintf(path, sizeof(path), "%s/lock", server->config->data_dir);
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0) {
        return; /* The command line then needs --url. */
    }
    ssize_t written = write(fd, url, strlen(url));
    written = written < 0 ? written : write(fd, "\n", 1);
    (void)written;
    close(fd);
}

static void
system_status(void *ctx, struct collect_status *ret_status)
{
    collect_system_status(ctx, ret_status);
}

static void
demo_status(void *ctx, struct collect_status *ret_status)
{
    collect_demo_status(ctx, ret_status);
}

static void
start_backups(struct server *server)
{
    server->backups = (struct backups){server->config, server->engine};
    server->backup = backups_start(&server->backups);
    if (server->backup) {
        const struct api_work work = {"backup", work_ask, work_status, server->backup};
        api_add_work(server->api, &work);
    }
}

static void
start_collectors(struct server *server)
{
    const struct config *config = server->config;

    if (config->collect.system) {
        struct collect_system_options options = {.sink = collect_sink_ingest(server->ingest),
                                                 .live = server->live,
                                                 .data_dir = config->data_dir};
        collect_system_start(&options, &server->system);
        api_add_collector(server->api, system_status, server->system);
    }
    if (config->demo) {
        struct collect_demo_options options = {.sink = collect_sink_ingest(server->ingest),
                                               .seed = (uint64_t)config->demo_seed,
                                               .backfill_minutes = DEMO_BACKFILL_MINUTES};
        collect_demo_start(&options, &server->demo);
        api_add_collector(server->api, demo_status, server->demo);
    }
}

/* The store may be being rebuilt: waits for the next try. False when a signal says to stop. */
static bool
wait_for_store(const sigset_t *signals, struct err *err)
{
    const struct timespec pause = {.tv_nsec = RETRY_NS};
    int number = sigtimedwait(signals, NULL, &pause);

    if (number == SIGTERM || number == SIGINT) {
        err_set(err, ERR_UNAVAILABLE, "stopped while the store was being rebuilt");
        return false;
    }
    return true;
}

static bool
is_too_early(enum err_code code)
{
    return code == ERR_UNAVAILABLE || code == ERR_TIMEOUT;
}

static enum err_code
open_ingest(struct server *server, const struct ingest_options *options, const sigset_t *signals,
            struct err *err)
{
    enum err_code code = ingest_open(options, &server->ingest, err);

    while (is_too_early(code) && wait_for_store(signals, err)) {
        code = ingest_open(options, &server->ingest, err);
    }
    return code;
}

static enum err_code
start_meter(struct server *server, const sigset_t *signals, struct err *err)
{
    const struct config *config = server->config;

    if (!config->meter.enabled) {
        return ERR_OK;
    }
    enum err_code code =
        server_meter_open(config, server->engine, server->live, &server->meter, err);
    while (is_too_early(code) && wait_for_store(signals, err)) {
        code = server_meter_open(config, server->engine, server->live, &server->meter, err);
    }
    if (code == ERR_OK) {
        code = server_gateway_open(config, server->meter, server->api, &server->gateway, err);
    }
    if (code == ERR_OK) {
        code = head_nats_open(config, &server->head_nats, err);
    }
    if (code == ERR_OK) {
        server_meter_tell_head(config, server->meter, server->head_nats, &server->told_seq);
        /* With the meter the server says that it is ready, and then it must forward, too. */
        api_attach_gateway(server->api, server->gateway);
        api_attach_meter(server->api, server->meter);
    }
    return code;
}

static enum err_code
start_ingest(struct server *server, const sigset_t *signals, struct err *err)
{
    const struct config *config = server->config;
    struct ingest_options options = {
        .engine = server->engine,
        .sink = on_durable,
        .sink_ctx = server->live,
        .request_bytes_max = (uint64_t)config->ingest.request_bytes_max,
        .inflight_bytes_max = (uint64_t)config->ingest.inflight_bytes_max,
        .unapplied_bytes_max = (uint64_t)config->wal.unapplied_bytes_max,
        .series_max = (uint64_t)config->ingest.series_max,
    };
    enum err_code code = open_ingest(server, &options, signals, err);

    if (code != ERR_OK) {
        return code;
    }
    struct err warm_err;
    if (warm_live(server->engine, server->live, &warm_err) != ERR_OK) {
        log_write(LOG_WARNING, "server", "live state starts empty: %s", warm_err.msg);
    }
    api_attach_ingest(server->api, server->ingest);
    return ERR_OK;
}

static void
say_ready(const struct server *server)
{
    const struct config *config = server->config;
    char url[PATH_BYTES];
    bool ipv6 = strchr(config->server.host, ':') != NULL;

    snprintf(url, sizeof(url), "%s://%s%s%s:%u", config->server.tls.certfile ? "https" : "http",
             ipv6 ? "[" : "", config->server.host, ipv6 ? "]" : "", http_server_port(server->http));
    publish_url(server, url);
    log_write(LOG_INFO, "server", "Eider %s is ready on %s (data in %s%s)", EIDER_VERSION, url,
              config->data_dir, config->demo ? "; demo data" : "");
}

static void
reload(struct server *server, const struct config_options *sources)
{
    struct config fresh;
    struct err err;

    if (server->config->server.tls.certfile) {
        if (http_server_reload_tls(server->http, &err) == ERR_OK) {
            log_write(LOG_INFO, "server", "certificate read anew");
        } else {
            log_write(LOG_ERROR, "server", "the old certificate stays: %s", err.msg);
        }
        if (server->metrics_http) {
            http_server_reload_tls(server->metrics_http, &err);
        }
    }
    if (!sources) {
        if (server->meter) {
            server_meter_reload(server->config, server->meter);
        }
        return;
    }
    if (config_load(sources, &fresh, &err) != ERR_OK) {
        log_write(LOG_ERROR, "server", "the old configuration stays: %s", err.msg);
        return;
    }
    log_set_level((enum log_level)fresh.log.level);
    log_write(LOG_INFO, "server", "configuration read anew, log level %s",
              log_level_name((enum log_level)fresh.log.level));
    if (server->meter) {
        server_meter_reload(&fresh, server->meter);
    }
    config_fini(&fresh);
}

/* The collectors go behind the api: its requests ask for their status. The meter goes before the
 * ingest and the engine, which its records need. */
static void
server_fini(struct server *server)
{
    if (server->metrics_http) {
        http_server_stop(server->metrics_http, 1000);
    }
    if (server->http) {
        api_stop_stream(server->api);
        http_server_stop(server->http, GRACE_MS);
    }
    gateway_close(server->gateway); /* books what was under way */
    if (server->engine) {
        engine_stop_reads(server->engine);
    }
    api_close(server->api);
    work_stop(server->backup);
    collect_demo_stop(server->demo);
    collect_system_stop(server->system);
    if (server->meter) {
        server_meter_tell_head(server->config, server->meter, server->head_nats, &server->told_seq);
        meter_close(server->meter);
    }
    ingest_close(server->ingest);
    engine_close(server->engine);
    head_nats_stop(server->head_nats); /* published meanwhile, if NATS is there */
    live_close(server->live);
    access_log_stop(server->access);
}

static void
block_signals(sigset_t *ret_signals)
{
    sigemptyset(ret_signals);
    sigaddset(ret_signals, SIGTERM);
    sigaddset(ret_signals, SIGINT);
    sigaddset(ret_signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, ret_signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is an error of write(2), not the end */
}

/* From now on a second signal ends the program at once: nothing acknowledged needs the drain. */
static void
allow_second_signal(const sigset_t *signals)
{
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    pthread_sigmask(SIG_UNBLOCK, signals, NULL);
}

static enum err_code
start(struct server *server, const sigset_t *signals, struct err *err)
{
    enum err_code code = open_log(server->config, err);

    limits_raise_files();
    if (code == ERR_OK) {
        code = open_engine(server, err);
    }
    if (code == ERR_OK) {
        open_api(server);
        code = start_http(server, err);
    }
    if (code == ERR_OK) {
        code = start_metrics_http(server, err);
    }
    if (code == ERR_OK) {
        code = start_ingest(server, signals, err);
    }
    if (code == ERR_OK) {
        code = start_meter(server, signals, err);
    }
    if (code == ERR_OK) {
        start_collectors(server);
        start_backups(server);
        say_ready(server);
    }
    return code;
}

/* Runs until a signal ends it; what happens by the clock happens here. */
static void
run(struct server *server, const struct config_options *sources, const sigset_t *signals)
{
    const struct timespec hour = {.tv_sec = HEAD_INTERVAL_S};

    for (;;) {
        int number = sigtimedwait(signals, NULL, &hour);
        if (number == SIGHUP) {
            reload(server, sources);
        } else if (number == SIGTERM || number == SIGINT) {
            return;
        } else if (server->meter) {
            server_meter_tell_head(server->config, server->meter, server->head_nats,
                                   &server->told_seq);
        }
    }
}

enum err_code
server_run(const struct config *config, const struct config_options *sources, struct err *err)
{
    struct server server = {.config = config};
    sigset_t signals;

    block_signals(&signals);
    /* A few arenas are enough for the threads there are, and keep the idle process small. */
    mallopt(M_ARENA_MAX, 4); /* NOLINT(concurrency-mt-unsafe): there is one thread */
    enum err_code code = start(&server, &signals, err);
    if (code == ERR_OK) {
        run(&server, sources, &signals);
    }
    allow_second_signal(&signals);
    if (code == ERR_OK) {
        log_write(LOG_INFO, "server", "stopping");
    }
    server_fini(&server);
    if (code == ERR_OK) {
        log_write(LOG_INFO, "server", "stopped");
    }
    return code;
}
