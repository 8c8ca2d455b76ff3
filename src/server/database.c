/* Bringing one database up, tending it, taking it apart. */
#include "server/database.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "collect/demo.h"
#include "collect/system.h"
#include "ingest/ingest.h"
#include "live/live.h"
#include "server/backups.h"
#include "server/disk.h"
#include "server/gateway.h"
#include "server/meter.h"
#include "server/open_engine.h"
#include "server/optimize.h"
#include "server/tokens.h"
#include "server/warm.h"

enum {
    EARLY_MS = 200, /* the store may be being rebuilt */
    RETRY_MS = 1000,
    RETRY_MAX_MS = 30000,
    TEND_MS = 1000,
    HEAD_INTERVAL_S = 3600,
    DEMO_BACKFILL_MINUTES = 60,
    PATH_BYTES = 1024,
    DIR_MODE = 0750,
    METRICS_PREFIX_MAX = 256,
    US_PER_S = 1000000,
    LAP_US_MIN = 1000,
    MS_PER_S = 1000,
    NS_PER_MS = 1000000
};

enum phase { PHASE_RUN, PHASE_QUIT, PHASE_STOP };

struct database {
    struct database_options options;
    size_t index;
    char path[PATH_BYTES]; /* of the store's file */
    char url[PATH_BYTES];
    struct http_server *http;
    pthread_t thread;
    bool started;

    pthread_mutex_t lock; /* guards phase, attached and the pointers that database_reload reads */
    pthread_cond_t changed;
    enum phase phase;
    bool attached; /* requests come, the stream runs */

    struct engine *engine; /* the parts are the thread's, each NULL until it is there */
    struct live *live;
    struct api *api;
    struct ingest *ingest;
    struct meter *meter;
    struct gateway *gateway;
    struct head_nats *head_nats;
    struct collect_system *system;
    struct collect_demo *demo;
    struct backups backups;     /* what `backup` works with */
    struct work *backup;        /* NULL: backup.dir is not set */
    struct watch *backup_watch; /* NULL: nor is backup.wal_archive */
    struct work *optimize;
    char metrics_prefix[METRICS_PREFIX_MAX];
    uint64_t told_seq; /* head of the event log that was told last */
    int64_t head_us;   /* when, monotonic */
    uint64_t rows;     /* at tended_us */
    int64_t tended_us;
    double rows_per_second;
    char problem[ERR_MSG_MAX]; /* that was logged last */
    char warning[ERR_MSG_MAX]; /* of backups, as it was told last */
    struct laps laps;          /* of the start */
};

/* ---- waiting ---- */

static enum phase
phase_of(struct database *db)
{
    pthread_mutex_lock(&db->lock);
    enum phase phase = db->phase;
    pthread_mutex_unlock(&db->lock);
    return phase;
}

/* False when it is time to quit. */
static bool
wait_ms(struct database *db, int ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / MS_PER_S;
    until.tv_nsec += (long)(ms % MS_PER_S) * NS_PER_MS;
    if (until.tv_nsec >= (long)MS_PER_S * NS_PER_MS) {
        until.tv_sec++;
        until.tv_nsec -= (long)MS_PER_S * NS_PER_MS;
    }
    pthread_mutex_lock(&db->lock);
    int result = 0;
    while (db->phase == PHASE_RUN && result != ETIMEDOUT) {
        result = pthread_cond_timedwait(&db->changed, &db->lock, &until);
    }
    bool runs = db->phase == PHASE_RUN;
    pthread_mutex_unlock(&db->lock);
    return runs;
}

static void
set_phase(struct database *db, enum phase phase)
{
    pthread_mutex_lock(&db->lock);
    db->phase = phase;
    pthread_cond_broadcast(&db->changed);
    pthread_mutex_unlock(&db->lock);
}

/* ---- opening ---- */

static bool
is_default(const struct database *db)
{
    return db->index == 0;
}

static void
on_engine_event(void *ctx, bool is_problem, const char *text)
{
    const struct database *db = ctx;
    enum log_level level = is_problem ? LOG_ERROR : LOG_INFO;

    if (is_default(db)) {
        log_write(level, "store", "%s", text);
    } else {
        log_write(level, "store", "database %s: %s", db->options.name, text);
    }
}

static void
on_durable(void *ctx, const struct batch *batches, size_t count, uint64_t lsn)
{
    live_update(ctx, batches, count, lsn);
}

/* The directory above those that have no place of their own; the engine makes the last one. */
static void
make_parent(const struct database *db)
{
    const char *dir = db->options.config->data_dir;
    const char *slash = strrchr(dir, '/');
    char parent[PATH_BYTES];

    if (!is_default(db) && slash && slash != dir && (size_t)(slash - dir) < sizeof(parent)) {
        snprintf(parent, sizeof(parent), "%.*s", (int)(slash - dir), dir);
        (void)mkdir(parent, DIR_MODE); /* the engine tells what is wrong with it */
    }
}

/* A signal that came while the main thread itself opens the database waits to be taken. */
static bool
process_ends(void *ctx)
{
    struct database *db = ctx;
    sigset_t pending;

    pthread_mutex_lock(&db->lock);
    bool runs = db->phase == PHASE_RUN;
    pthread_mutex_unlock(&db->lock);
    return !runs || (sigpending(&pending) == 0 &&
                     (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1));
}

static enum err_code
open_engine(struct database *db, struct err *err)
{
    struct engine_options options;
    enum err_code code = server_engine_options(db->options.config, &options, err);

    if (code != ERR_OK) {
        return code;
    }
    make_parent(db);
    options.event = on_engine_event;
    options.event_ctx = db;
    options.laps = &db->laps;
    options.store.guard = db->options.guard;
    options.store.owner_ends = process_ends;
    options.store.owner_ctx = db;
    backups_hook(db->options.config, &options);
    return engine_open(&options, &db->engine, err);
}

/* Those of the process are good for all of its databases. */
static size_t
read_tokens(const struct database *db, struct api_token *ret_tokens)
{
    const struct config_list *lists[] = {&db->options.process->server.tokens,
                                         db->options.has_tokens ? &db->options.config->server.tokens
                                                                : NULL};
    size_t count = 0;
    struct err err;

    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        for (size_t j = 0; lists[i] && j < lists[i]->count; j++) {
            /* The configuration has looked at them already. */
            token_parse(slice_of(lists[i]->items[j]), &ret_tokens[count], &err);
            ret_tokens[count++].confined = i == 1;
        }
    }
    return count;
}

/* "namespace", or "namespace_subsystem". */
static const char *
metrics_prefix(struct database *db)
{
    const struct config *config = db->options.config;
    bool divided = config->metrics.subsystem && config->metrics.subsystem[0];

    snprintf(db->metrics_prefix, sizeof(db->metrics_prefix), "%s%s%s", config->metrics.namespace,
             divided ? "_" : "", divided ? config->metrics.subsystem : "");
    return db->metrics_prefix;
}

static void
open_api(struct database *db)
{
    const struct config *config = db->options.config;
    const char *metrics_host = config->metrics.host ? config->metrics.host : config->server.host;
    struct live_options live = {.demo = config->demo};
    struct api_token tokens[2 * CONFIG_LIST_MAX];

    live_open(&live, &db->live);
    struct api_options options = {
        .engine = db->engine,
        .live = db->live,
        .token = db->options.process->server.token,
        .tokens = tokens,
        .token_count = read_tokens(db, tokens),
        .cors_origins = db->options.cors_origins,
        .metrics_namespace = metrics_prefix(db),
        .metrics_off = !config->metrics.enabled,
        .metrics_need_token = config->metrics.token_required,
        .metrics_without_process = !config->metrics.process,
        .metrics_loopback = config_is_loopback(metrics_host),
        .with_meter = config->meter.enabled,
        .loopback = config_is_loopback(config->server.host),
        .database_path = db->path,
        .demo = config->demo,
        .body_bytes_max = (uint64_t)config->server.body_bytes_max,
        .answer_cache_bytes = (uint64_t)config->query.cache_bytes,
        .sql_rows_max = (uint64_t)config->sql.rows_max,
        .sql_bytes_max = (uint64_t)config->sql.bytes_max,
        .ws_clients_max = (unsigned)config->websocket.max_connections,
        .ws_interval_ms = (int)config->websocket.interval_ms,
        .ws_heartbeat_ms = (int)config->websocket.heartbeat_interval_ms,
        .ws_channel = (unsigned)db->index,
        .rows_per_second = (uint64_t)config->limits.rows_per_second,
    };
    api_open(&options, &db->api);
}

enum err_code
database_open(struct database *db, struct err *err)
{
    enum err_code code = open_engine(db, err);

    if (code == ERR_OK) {
        open_api(db);
    }
    return code;
}

/* From here on it gets requests, unless it is time to quit. */
static bool
attach(struct database *db)
{
    pthread_mutex_lock(&db->lock);
    bool runs = db->phase == PHASE_RUN;
    if (runs && !db->attached) {
        api_attach_server(db->api, db->http);
        api_start_stream(db->api);
        databases_attach(db->options.databases, db->index, db->api);
        databases_tell(db->options.databases, db->index, "");
        db->attached = true;
    }
    pthread_mutex_unlock(&db->lock);
    return runs;
}

/* ---- bringing up ---- */

static bool
is_too_early(enum err_code code)
{
    return code == ERR_UNAVAILABLE || code == ERR_TIMEOUT;
}

static enum err_code
start_ingest(struct database *db, struct err *err)
{
    const struct config *config = db->options.config;
    struct ingest_options options = {
        .engine = db->engine,
        .sink = on_durable,
        .sink_ctx = db->live,
        .request_bytes_max = (uint64_t)config->ingest.request_bytes_max,
        .inflight_bytes_max = (uint64_t)config->ingest.inflight_bytes_max,
        .unapplied_bytes_max = (uint64_t)config->wal.unapplied_bytes_max,
        .series_max = (uint64_t)config->ingest.series_max,
        .laps = &db->laps,
    };
    laps_mark(&db->laps, "listening");
    enum err_code code = ingest_open(&options, &db->ingest, err);

    while (is_too_early(code) && wait_ms(db, EARLY_MS)) {
        code = ingest_open(&options, &db->ingest, err);
    }
    if (code != ERR_OK) {
        return code;
    }
    struct err warm_err;
    if (warm_live(db->engine, db->live, &db->laps, &warm_err) != ERR_OK) {
        log_write(LOG_WARNING, "server", "database %s: live state starts empty: %s",
                  db->options.name, warm_err.msg);
    }
    api_attach_ingest(db->api, db->ingest);
    return ERR_OK;
}

static enum err_code
open_meter(struct database *db, struct err *err)
{
    const struct config *config = db->options.config;
    struct meter *meter;
    enum err_code code = server_meter_open(config, db->engine, db->live, &meter, err);

    while (is_too_early(code) && wait_ms(db, EARLY_MS)) {
        code = server_meter_open(config, db->engine, db->live, &meter, err);
    }
    if (code == ERR_OK) {
        pthread_mutex_lock(&db->lock);
        db->meter = meter;
        pthread_mutex_unlock(&db->lock);
    }
    return code;
}

static void
tell_head(struct database *db)
{
    server_meter_tell_head(db->options.config, db->meter, db->head_nats, &db->told_seq);
    db->head_us = clock_mono_us(clock_system());
}

static enum err_code
start_meter(struct database *db, struct err *err)
{
    const struct config *config = db->options.config;
    enum err_code code = db->meter ? ERR_OK : open_meter(db, err);

    if (code == ERR_OK && !db->gateway) {
        code = server_gateway_open(config, db->meter, db->api, &db->gateway, err);
    }
    if (code == ERR_OK && !db->head_nats) {
        code = head_nats_open(config, &db->head_nats, err);
    }
    if (code == ERR_OK) {
        tell_head(db);
        /* With the meter the server says that it is ready, and then it must forward, too. */
        api_attach_gateway(db->api, db->gateway);
        api_attach_meter(db->api, db->meter);
    }
    return code;
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

static enum err_code
run_optimize(void *ctx, struct json_writer *json, struct err *err)
{
    const struct database *db = ctx;

    return optimize_run(db->engine, json, err);
}

static void
start_works(struct database *db)
{
    const struct work_options options = {
        .name = "optimize", .run = run_optimize, .ctx = db, .clock = clock_system()};

    db->optimize = work_start(&options);
    const struct api_work optimize = {"optimize", work_ask, work_status, db->optimize};
    api_add_work(db->api, &optimize);
    db->backups = (struct backups){db->options.config, db->engine};
    db->backup_watch = backups_watch(db->options.config);
    db->backup = backups_start(&db->backups);
    if (db->backup) {
        const struct api_work work = {"backup", work_ask, work_status, db->backup};
        api_add_work(db->api, &work);
    }
}

static void
start_collectors(struct database *db)
{
    const struct config *config = db->options.config;

    if (config->collect.system) {
        struct collect_system_options options = {.sink = collect_sink_ingest(db->ingest),
                                                 .live = db->live,
                                                 .data_dir = config->data_dir};
        collect_system_start(&options, &db->system);
        api_add_collector(db->api, system_status, db->system);
    }
    if (config->demo) {
        struct collect_demo_options options = {.sink = collect_sink_ingest(db->ingest),
                                               .seed = (uint64_t)config->demo_seed,
                                               .backfill_minutes = DEMO_BACKFILL_MINUTES};
        collect_demo_start(&options, &db->demo);
        api_add_collector(db->api, demo_status, db->demo);
    }
}

/* Tells other programs on this machine where to reach us: second line of the lock file. */
static void
publish_url(const struct database *db)
{
    char path[PATH_BYTES];
    char line[PATH_BYTES + 1];

    snprintf(path, sizeof(path), "%s/lock", db->options.config->data_dir);
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0) {
        return; /* The command line then needs --url. */
    }
    int len = snprintf(line, sizeof(line), "%s\n", db->url);
    ssize_t written = write(fd, line, (size_t)len);
    (void)written;
    close(fd);
}

static void
say_ready(const struct database *db)
{
    const struct config *config = db->options.config;
    char laps[LAPS_TEXT_MAX];

    publish_url(db);
    laps_text(&db->laps, LAP_US_MIN, laps);
    log_write(LOG_INFO, "server", "database %s started in %.3f s: %s", db->options.name,
              laps_seconds(&db->laps), laps);
    if (is_default(db)) {
        log_write(LOG_INFO, "server", "Eider %s is ready on %s (data in %s%s)", EIDER_VERSION,
                  db->url, config->data_dir, config->demo ? "; demo data" : "");
    } else {
        log_write(LOG_INFO, "server", "database %s is ready on %s (data in %s)", db->options.name,
                  db->url, config->data_dir);
    }
}

/* Does what is still to be done; after a failure it may be called again. */
static enum err_code
bring_up(struct database *db, struct err *err)
{
    enum err_code code = db->api ? ERR_OK : database_open(db, err);

    if (code == ERR_OK && !attach(db)) {
        return err_set(err, ERR_UNAVAILABLE, "the server is stopping");
    }
    /* Before ingest, which makes it ready: who was told that it is may ask for a backup. */
    if (code == ERR_OK && !db->optimize) {
        start_works(db);
    }
    if (code == ERR_OK && !db->ingest) {
        code = start_ingest(db, err);
    }
    if (code == ERR_OK && db->options.config->meter.enabled) {
        code = start_meter(db, err);
        laps_mark(&db->laps, "meter");
    }
    if (code == ERR_OK) {
        start_collectors(db);
        say_ready(db);
    }
    return code;
}

static void
note_failure(struct database *db, const struct err *err)
{
    databases_tell(db->options.databases, db->index, err->msg);
    if (!db->options.alone && strcmp(db->problem, err->msg) != 0) {
        log_write(LOG_ERROR, "server", "database %s does not serve, and is tried again: %s",
                  db->options.name, err->msg);
        snprintf(db->problem, sizeof(db->problem), "%s", err->msg);
    }
}

/* False when it did not come to that. */
static bool
come_up(struct database *db)
{
    int pause_ms = RETRY_MS;
    struct err err = {.code = ERR_OK};

    while (phase_of(db) == PHASE_RUN) {
        enum err_code code = bring_up(db, &err);
        if (code == ERR_OK) {
            databases_tell(db->options.databases, db->index, "");
            return true;
        }
        if (phase_of(db) != PHASE_RUN) {
            break;
        }
        note_failure(db, &err);
        if (db->options.alone) {
            db->options.settled(db->options.settled_ctx, &err);
            break;
        }
        wait_ms(db, pause_ms);
        laps_mark(&db->laps, "waiting to try again");
        pause_ms = pause_ms * 2 < RETRY_MAX_MS ? pause_ms * 2 : RETRY_MAX_MS;
    }
    return false;
}

/* ---- tending ---- */

static uint64_t
watch_space(struct database *db)
{
    const struct config *config = db->options.config;
    uint64_t max = (uint64_t)config->limits.disk_bytes_max;

    if (max == 0) {
        return 0;
    }
    /* Databases that have no directory of their own elsewhere are below the default one's. */
    uint64_t used = disk_usage(config->data_dir, is_default(db) ? "databases" : NULL);
    engine_set_space(db->engine, used, max);
    return used;
}

/* What the watch of the places for backups found last; that may hang, and is not waited for. */
static void
tell_backups(struct database *db)
{
    char text[ERR_MSG_MAX];

    if (!db->backup_watch) {
        return;
    }
    watch_read(db->backup_watch, text);
    if (strcmp(db->warning, text) == 0) {
        return;
    }
    snprintf(db->warning, sizeof(db->warning), "%s", text);
    api_warn(db->api, text);
    if (text[0]) {
        log_write(LOG_WARNING, "server", "database %s: %s", db->options.name, text);
    } else {
        log_write(LOG_INFO, "server", "database %s: backups can be written again",
                  db->options.name);
    }
}

static void
tend(struct database *db)
{
    tell_backups(db);
    int64_t now_us = clock_mono_us(clock_system());
    struct ingest_stats stats;
    double seconds = (double)(now_us - db->tended_us) / US_PER_S;

    ingest_stats(db->ingest, &stats);
    if (db->tended_us > 0 && seconds > 0) {
        double rate = (double)(stats.rows - db->rows) / seconds;
        db->rows_per_second += (rate - db->rows_per_second) / 4; /* of some seconds */
    }
    db->rows = stats.rows;
    db->tended_us = now_us;
    databases_figures(db->options.databases, db->index, db->rows_per_second, watch_space(db));
    if (db->meter && now_us - db->head_us >= (int64_t)HEAD_INTERVAL_S * US_PER_S) {
        tell_head(db);
    }
}

/* ---- the end ---- */

/* The collectors go behind the api: its requests ask for their status. The meter goes before the
 * ingest and the engine, which its records need. */
static void
take_apart(struct database *db)
{
    gateway_close(db->gateway); /* books what was under way */
    if (db->engine) {
        engine_stop_reads(db->engine);
    }
    databases_detach(db->options.databases, db->index);
    api_close(db->api);
    watch_stop(db->backup_watch);
    work_stop(db->backup);
    work_stop(db->optimize);
    collect_demo_stop(db->demo);
    collect_system_stop(db->system);
    if (db->meter) {
        tell_head(db);
        meter_close(db->meter);
    }
    ingest_close(db->ingest);
    engine_close(db->engine);
    head_nats_stop(db->head_nats); /* published meanwhile, if NATS is there */
    live_close(db->live);
}

static void *
run(void *ctx)
{
    struct database *db = ctx;

    if (come_up(db)) {
        if (db->options.settled) {
            db->options.settled(db->options.settled_ctx, NULL);
        }
        do {
            tend(db);
        } while (wait_ms(db, TEND_MS));
    }
    pthread_mutex_lock(&db->lock);
    while (db->phase != PHASE_STOP) {
        pthread_cond_wait(&db->changed, &db->lock);
    }
    pthread_mutex_unlock(&db->lock);
    take_apart(db);
    return NULL;
}

struct database *
database_new(const struct database_options *options)
{
    const struct config *config = options->config;
    const struct database_limits limits = {
        .disk_bytes_max = (uint64_t)config->limits.disk_bytes_max,
        .memory_bytes = (uint64_t)config->storage.duckdb.memory_limit_bytes,
        .series_max = (uint64_t)config->ingest.series_max,
        .unapplied_bytes_max = (uint64_t)config->wal.unapplied_bytes_max,
        .inflight_bytes_max = (uint64_t)config->ingest.inflight_bytes_max,
        .readers = (uint64_t)config->storage.duckdb.readers,
        .rows_per_second = (uint64_t)config->limits.rows_per_second,
    };
    struct database *db = mem_zalloc(1, sizeof(*db));
    pthread_condattr_t attributes;

    db->options = *options;
    laps_start(&db->laps, clock_system());
    db->index = databases_add(options->databases, options->name, &limits);
    snprintf(db->path, sizeof(db->path), "%s/%s", config->data_dir,
             config->storage.duckdb.path ? config->storage.duckdb.path : "eider.duckdb");
    pthread_mutex_init(&db->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&db->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    return db;
}

void
database_start(struct database *db, struct http_server *http, const char *url)
{
    db->http = http;
    if (is_default(db)) {
        snprintf(db->url, sizeof(db->url), "%s", url);
    } else {
        snprintf(db->url, sizeof(db->url), "%s/db/%s", url, db->options.name);
    }
    if (pthread_create(&db->thread, NULL, run, db) != 0) {
        abort(); /* A machine that cannot start one thread runs no server. */
    }
    db->started = true;
}

void
database_quit(struct database *db)
{
    set_phase(db, PHASE_QUIT);
    pthread_mutex_lock(&db->lock);
    bool attached = db->attached;
    pthread_mutex_unlock(&db->lock);
    if (attached) {
        api_stop_stream(db->api);
    }
}

void
database_stop(struct database *db)
{
    set_phase(db, PHASE_STOP);
}

void
database_free(struct database *db)
{
    if (!db) {
        return;
    }
    if (db->started) {
        pthread_join(db->thread, NULL);
    } else {
        take_apart(db);
    }
    pthread_cond_destroy(&db->changed);
    pthread_mutex_destroy(&db->lock);
    free(db);
}

void
database_reload(struct database *db, const struct config *config)
{
    pthread_mutex_lock(&db->lock);
    struct meter *meter = db->meter;
    pthread_mutex_unlock(&db->lock);
    if (meter) {
        server_meter_reload(config, meter);
    }
}
