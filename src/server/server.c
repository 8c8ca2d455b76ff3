/* Start, signals, stop. Whatever fails at start is taken apart again by server_fini. */
#include "server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/api.h"
#include "api/databases.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/access_log.h"
#include "server/config_databases.h"
#include "server/database.h"
#include "server/memory.h"

enum { GRACE_MS = 10000, URL_BYTES = 512, LOG_MODE = 0644 };

struct server {
    const struct config *config;
    struct databases *databases;
    size_t count;
    struct database *items[CONFIG_DATABASES_MAX + 1]; /* the first is the top level's */
    struct http_server *http;
    struct http_server *metrics_http; /* NULL: /metrics has no port of its own */
    struct access_log *access;
    struct memory_guard *guard;
    const char *cors_origins[CONFIG_LIST_MAX + 1];
    pthread_t main_thread;
    pthread_mutex_t lock; /* guards: */
    struct err failure;   /* why the only database does not come up; code ERR_OK: it did */
};

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

    databases_handle(server->databases, exchange);
}

static enum err_code
on_accept(void *ctx, struct http_exchange *exchange, uint64_t *ret_body_max, struct err *err)
{
    const struct server *server = ctx;

    return databases_accept(server->databases, exchange, ret_body_max, err);
}

static void
on_metrics_request(void *ctx, struct http_exchange *exchange)
{
    const struct server *server = ctx;

    databases_handle_metrics(server->databases, exchange);
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
            err_sys(err, errno, "log.file %s cannot be opened", config->log.file);
            return err->code = ERR_USAGE; /* the setting is wrong, and nothing has begun */
        }
    }
    log_init(&options);
    return ERR_OK;
}

static const char *
metrics_host(const struct config *config)
{
    return config->metrics.host ? config->metrics.host : config->server.host;
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
    return http_server_start(&options, &server->http, err);
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

/* Called from the database's thread; the main thread waits for signals. */
static void
on_settled(void *ctx, const struct err *err)
{
    struct server *server = ctx;

    if (err) {
        pthread_mutex_lock(&server->lock);
        server->failure = *err;
        pthread_mutex_unlock(&server->lock);
        pthread_kill(server->main_thread, SIGUSR1);
    }
}

static void
make_databases(struct server *server)
{
    const struct config *config = server->config;
    const struct config_databases *others = config->databases;
    struct database_options options = {.name = CONFIG_DATABASE_DEFAULT,
                                       .config = config,
                                       .process = config,
                                       .alone = !others || others->count == 0,
                                       .databases = server->databases,
                                       .cors_origins = server->cors_origins,
                                       .guard = server->guard,
                                       .settled = on_settled,
                                       .settled_ctx = server};

    for (size_t i = 0; i < config->server.cors_origins.count; i++) {
        server->cors_origins[i] = config->server.cors_origins.items[i];
    }
    server->items[server->count++] = database_new(&options);
    for (size_t i = 0; others && i < others->count; i++) {
        const struct config_database *other = &others->items[i];
        options.name = other->name;
        options.config = &other->view;
        options.has_tokens = config_database_says(other, "server.tokens");
        server->items[server->count++] = database_new(&options);
    }
}

/*
 * The top level's database is opened before anybody is listened to, as ever: what another process
 * has, or is set wrongly, ends the start. Anything else ends it only when there are no other
 * databases, which can do without it.
 */
static enum err_code
open_default(struct server *server, struct err *err)
{
    enum err_code code = database_open(server->items[0], err);
    bool alone = server->count == 1;

    if (code == ERR_OK || alone || code == ERR_CONFLICT || code == ERR_USAGE) {
        return code;
    }
    log_write(LOG_ERROR, "server", "database " CONFIG_DATABASE_DEFAULT " cannot be opened: %s",
              err->msg);
    return ERR_OK;
}

static void
start_databases(struct server *server)
{
    const struct config *config = server->config;
    char url[URL_BYTES];
    bool ipv6 = strchr(config->server.host, ':') != NULL;

    snprintf(url, sizeof(url), "%s://%s%s%s:%u", config->server.tls.certfile ? "https" : "http",
             ipv6 ? "[" : "", config->server.host, ipv6 ? "]" : "", http_server_port(server->http));
    for (size_t i = 0; i < server->count; i++) {
        database_start(server->items[i], server->http, url);
    }
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
    if (sources && config_load(sources, &fresh, &err) != ERR_OK) {
        log_write(LOG_ERROR, "server", "the old configuration stays: %s", err.msg);
        return;
    }
    if (sources) {
        log_set_level((enum log_level)fresh.log.level);
        log_write(LOG_INFO, "server", "configuration read anew, log level %s",
                  log_level_name((enum log_level)fresh.log.level));
    }
    for (size_t i = 0; i < server->count; i++) {
        database_reload(server->items[i], sources ? &fresh : server->config);
    }
    if (sources) {
        config_fini(&fresh);
    }
}

/* All databases are taken apart at the same time. */
static void
server_fini(struct server *server)
{
    if (server->metrics_http) {
        http_server_stop(server->metrics_http, 1000);
    }
    for (size_t i = 0; i < server->count; i++) {
        database_quit(server->items[i]);
    }
    if (server->http) {
        http_server_stop(server->http, GRACE_MS);
    }
    for (size_t i = 0; i < server->count; i++) {
        database_stop(server->items[i]);
    }
    for (size_t i = 0; i < server->count; i++) {
        database_free(server->items[i]);
    }
    databases_free(server->databases);
    memory_guard_free(server->guard);
    access_log_stop(server->access);
}

static void
block_signals(sigset_t *ret_signals)
{
    sigemptyset(ret_signals);
    sigaddset(ret_signals, SIGTERM);
    sigaddset(ret_signals, SIGINT);
    sigaddset(ret_signals, SIGHUP);
    sigaddset(ret_signals, SIGUSR1);
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
start(struct server *server, struct err *err)
{
    enum err_code code = open_log(server->config, err);

    limits_raise_files();
    if (code == ERR_OK) {
        code = server_memory_guard(server->config, &server->guard, err);
    }
    if (code == ERR_OK) {
        make_databases(server);
        code = open_default(server, err);
    }
    if (code == ERR_OK) {
        code = start_http(server, err);
    }
    if (code == ERR_OK) {
        code = start_metrics_http(server, err);
    }
    if (code == ERR_OK) {
        start_databases(server);
    }
    return code;
}

static enum err_code
failure_of(struct server *server, struct err *err)
{
    pthread_mutex_lock(&server->lock);
    enum err_code code = server->failure.code;
    if (code != ERR_OK) {
        *err = server->failure;
    }
    pthread_mutex_unlock(&server->lock);
    return code;
}

/* Runs until a signal ends it, or the only database fails to come up. */
static enum err_code
run(struct server *server, const struct config_options *sources, const sigset_t *signals,
    struct err *err)
{
    for (;;) {
        int number = sigwaitinfo(signals, NULL);
        if (number == SIGHUP) {
            reload(server, sources);
        } else if (number == SIGTERM || number == SIGINT) {
            return ERR_OK;
        } else if (failure_of(server, err) != ERR_OK) {
            return err->code;
        }
    }
}

enum err_code
server_run(const struct config *config, const struct config_options *sources, struct err *err)
{
    struct server server = {.config = config, .main_thread = pthread_self()};
    sigset_t signals;

    block_signals(&signals);
    pthread_mutex_init(&server.lock, NULL);
    databases_new(&server.databases);
    /* A few arenas are enough for the threads there are, and keep the idle process small. */
    mallopt(M_ARENA_MAX, 4); /* NOLINT(concurrency-mt-unsafe): there is one thread */
    enum err_code code = start(&server, err);
    if (code == ERR_OK) {
        code = run(&server, sources, &signals, err);
    }
    allow_second_signal(&signals);
    if (code == ERR_OK) {
        log_write(LOG_INFO, "server", "stopping");
    }
    server_fini(&server);
    pthread_mutex_destroy(&server.lock);
    if (code == ERR_OK) {
        log_write(LOG_INFO, "server", "stopped");
    }
    return code;
}
