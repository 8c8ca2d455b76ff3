/*
 * Spending in one process: callers that reserve and commit, one pair after the other, on a real
 * engine (DuckDB, WAL with fdatasync), and appends of entries in batches. Prints one JSON object:
 * pairs a second and the time from the call to its durable answer for several numbers of callers,
 * beside the time of a plain fdatasync on the same disk right before and behind.
 *
 *   meter_spend DIRECTORY [seconds of each step]
 *
 * The callers belong to one thread, as those of an event loop do: an answer puts its caller on a
 * list, the thread takes the list and lets each make its next call. At the end the budget must say
 * what the callers were told: credits used, none reserved, nobody refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hist.h"
#include "base/mem.h"
#include "meter/meter.h"
#include "meter/price.h"
#include "store/duckdb/store_duckdb.h"
#include "store/engine.h"

enum {
    CALLERS_MAX = 1024,
    SYNCS = 300,
    SYNC_BYTES = 512,
    SYNC_FILE_BYTES = 1 << 20,
    CREDITS = 60000000,
    RUNS = 40,
    BATCH = 1000,
    APPENDS_OUT = 4
};

struct spend_bench;

struct caller {
    struct spend_bench *bench;
    struct caller *next; /* on the list of those that were answered */
    bool reserved;       /* commits next */
    int64_t asked_us;
    char run_id[16];
    char reservation_id[METER_ID_MAX + 1];
};

struct spend_bench {
    struct meter *meter;
    pthread_mutex_t lock;
    pthread_cond_t answered;
    struct caller *ready;
    struct hist reserve_us, commit_us;
    bool priced; /* the price book says what a call costs */
    int64_t committed, credits, failures;
    struct caller callers[CALLERS_MAX];
};

static void
must(enum err_code code, const struct err *err)
{
    if (code) {
        fprintf(stderr, "meter_spend: %s\n", err->msg);
        exit(1);
    }
}

static int64_t
now_us(void)
{
    return clock_mono_us(clock_system());
}

static double
cpu_seconds(void)
{
    struct rusage use;

    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

/* Adds the times of plain synced writes to a file beside the log. */
static void
time_syncs(const char *dir, struct hist *hist)
{
    char path[1024];
    char data[SYNC_BYTES] = {0};

    snprintf(path, sizeof(path), "%s/sync.bin", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || posix_fallocate(fd, 0, SYNC_FILE_BYTES) != 0) {
        fprintf(stderr, "meter_spend: %s: %s\n", path, strerror(errno));
        exit(1);
    }
    for (int i = 0; i < SYNCS; i++) {
        int64_t start_us = now_us();
        if (pwrite(fd, data, sizeof(data), (off_t)i * SYNC_BYTES) != SYNC_BYTES ||
            fdatasync(fd) != 0) {
            fprintf(stderr, "meter_spend: %s: %s\n", path, strerror(errno));
            exit(1);
        }
        hist_record(hist, now_us() - start_us);
    }
    close(fd);
    unlink(path);
}

/* ---- pairs ---- */

/* Any thread. */
static void
on_answer(void *ctx, const struct meter_answer *answer)
{
    struct caller *caller = ctx;
    struct spend_bench *bench = caller->bench;
    int64_t took_us = now_us() - caller->asked_us;

    hist_record(caller->reserved ? &bench->commit_us : &bench->reserve_us, took_us);
    pthread_mutex_lock(&bench->lock);
    if (answer->code != ERR_OK) {
        if (bench->failures++ == 0) {
            fprintf(stderr, "meter_spend: first failure: %s\n", answer->err->msg);
        }
        caller->reserved = false;
    } else if (caller->reserved) {
        bench->committed++;
        bench->credits += answer->credits;
        caller->reserved = false;
    } else {
        snprintf(caller->reservation_id, sizeof(caller->reservation_id), "%s",
                 answer->reservation_id);
        caller->reserved = true;
    }
    caller->next = bench->ready;
    bench->ready = caller;
    if (!caller->next) {
        pthread_cond_signal(&bench->answered);
    }
    pthread_mutex_unlock(&bench->lock);
}

static void
call(struct spend_bench *bench, struct caller *caller)
{
    caller->asked_us = now_us();
    if (!caller->reserved) {
        struct meter_reserve reserve = {.call = {.api_name = SLICE_LITERAL("birdeye"),
                                                 .endpoint = SLICE_LITERAL("/defi/price"),
                                                 .method = SLICE_LITERAL("GET"),
                                                 .api_key = SLICE_LITERAL("key-1"),
                                                 .run_id = slice_of(caller->run_id)},
                                        .has_credits = !bench->priced,
                                        .max_credits = CREDITS};
        meter_reserve(bench->meter, &reserve, on_answer, caller);
    } else {
        struct meter_commit commit = {.reservation_id = slice_of(caller->reservation_id),
                                      .has_status = true,
                                      .status_code = 200,
                                      .latency_ms = 85.25};
        meter_commit(bench->meter, &commit, on_answer, caller);
    }
}

static struct caller *
wait_answered(struct spend_bench *bench)
{
    pthread_mutex_lock(&bench->lock);
    while (!bench->ready) {
        pthread_cond_wait(&bench->answered, &bench->lock);
    }
    struct caller *list = bench->ready;
    bench->ready = NULL;
    pthread_mutex_unlock(&bench->lock);
    return list;
}

/* Lets `count` callers go round for that long; each ends behind a commit. */
static void
run_callers(struct spend_bench *bench, int count, int seconds)
{
    int64_t end_us = now_us() + (int64_t)seconds * 1000000;
    int busy = count;

    for (int i = 0; i < count; i++) {
        struct caller *caller = &bench->callers[i];
        *caller = (struct caller){.bench = bench};
        snprintf(caller->run_id, sizeof(caller->run_id), "run-%d", i % RUNS);
    }
    for (int i = 0; i < count; i++) {
        call(bench, &bench->callers[i]);
    }
    while (busy > 0) {
        struct caller *list = wait_answered(bench);
        bool is_over = now_us() >= end_us;
        while (list) {
            struct caller *caller = list;
            list = list->next;
            if (is_over && !caller->reserved) {
                busy--;
            } else {
                call(bench, caller);
            }
        }
    }
}

static void
bench_pairs(struct spend_bench *bench, const char *dir, int callers, int seconds)
{
    static struct hist syncs;

    memset(&syncs, 0, sizeof(syncs));
    memset(&bench->reserve_us, 0, sizeof(bench->reserve_us));
    memset(&bench->commit_us, 0, sizeof(bench->commit_us));
    time_syncs(dir, &syncs);
    int64_t before = bench->committed;
    double cpu = cpu_seconds();
    int64_t start_us = now_us();
    run_callers(bench, callers, seconds);
    double took = (double)(now_us() - start_us) / 1e6;
    cpu = cpu_seconds() - cpu;
    time_syncs(dir, &syncs);
    double pairs = (double)(bench->committed - before);
    printf("{\"callers\": %d, \"priced\": %s, \"pairs_per_s\": %.0f, \"pairs_per_cpu_s\": %.0f, "
           "\"reserve_p50_us\": %.0f, \"reserve_p99_us\": %.0f, \"commit_p50_us\": %.0f, "
           "\"commit_p99_us\": %.0f, \"fdatasync_p50_us\": %.0f, \"fdatasync_p99_us\": %.0f}",
           callers, bench->priced ? "true" : "false", pairs / took, pairs / cpu,
           hist_quantile(&bench->reserve_us, 0.5), hist_quantile(&bench->reserve_us, 0.99),
           hist_quantile(&bench->commit_us, 0.5), hist_quantile(&bench->commit_us, 0.99),
           hist_quantile(&syncs, 0.5), hist_quantile(&syncs, 0.99));
    fflush(stdout);
}

/* ---- appends ---- */

struct appender {
    pthread_mutex_t lock;
    pthread_cond_t answered;
    int out;
    int64_t stored, failures;
};

static void
on_appended(void *ctx, const struct meter_answer *answer)
{
    struct appender *appender = ctx;

    pthread_mutex_lock(&appender->lock);
    appender->out--;
    appender->stored += (int64_t)answer->stored;
    appender->failures += answer->code != ERR_OK;
    pthread_cond_signal(&appender->answered);
    pthread_mutex_unlock(&appender->lock);
}

static void
fill_events(struct event *events, char (*ids)[40], uint64_t first)
{
    for (size_t i = 0; i < BATCH; i++) {
        snprintf(ids[i], sizeof(ids[i]), "%016" PRIx64 "-event", first + i);
        events[i] = (struct event){
            .id = slice_of(ids[i]),
            .timestamp_is_ours = true,
            .api_name = SLICE_LITERAL("birdeye"),
            .endpoint = SLICE_LITERAL("/defi/price?address=So11111111111111111111111111111111"),
            .method = SLICE_LITERAL("GET"),
            .has_status = true,
            .status_code = 200,
            .success = true,
            .latency_ms = 85.25,
            .credits = CREDITS,
            .run_id = SLICE_LITERAL("run-appends"),
            .metadata_json = SLICE_LITERAL("{\"tokens\": 20, \"cached\": false}"),
            .api_key = SLICE_LITERAL("key-1")};
    }
}

static void
bench_appends(struct spend_bench *bench, int seconds)
{
    static struct event events[BATCH];
    static char ids[BATCH][40];
    struct appender appender = {.lock = PTHREAD_MUTEX_INITIALIZER,
                                .answered = PTHREAD_COND_INITIALIZER};
    uint64_t next = 0;
    double cpu = cpu_seconds();
    int64_t start_us = now_us();

    while (now_us() < start_us + (int64_t)seconds * 1000000) {
        fill_events(events, ids, next);
        next += BATCH;
        pthread_mutex_lock(&appender.lock);
        while (appender.out == APPENDS_OUT) {
            pthread_cond_wait(&appender.answered, &appender.lock);
        }
        appender.out++;
        pthread_mutex_unlock(&appender.lock);
        struct meter_append append = {.events = events, .count = BATCH, .may_block = true};
        meter_append(bench->meter, &append, on_appended, &appender);
    }
    pthread_mutex_lock(&appender.lock);
    while (appender.out > 0) {
        pthread_cond_wait(&appender.answered, &appender.lock);
    }
    pthread_mutex_unlock(&appender.lock);
    bench->credits += appender.stored * CREDITS;
    bench->failures += appender.failures;
    printf("\"append_per_s\": %.0f, \"append_per_cpu_s\": %.0f",
           (double)appender.stored / ((double)(now_us() - start_us) / 1e6),
           (double)appender.stored / (cpu_seconds() - cpu));
}

/* ---- budgets ---- */

static void
on_budget_set(void *ctx, const struct meter_answer *answer)
{
    if (answer->code != ERR_OK) {
        must(answer->code, answer->err);
    }
    atomic_store((atomic_bool *)ctx, true);
}

static void
set_budget(struct meter *meter, const char *json)
{
    struct budget_def def;
    struct err err;
    atomic_bool set = false;

    must(budget_def_parse(slice_of(json), NULL, &def, &err), &err);
    meter_set_budget(meter, &def, on_budget_set, &set);
    while (!atomic_load(&set)) {
        usleep(100);
    }
}

static void
check_budget(void *ctx, const struct budget_view *view, const struct budget_forecast *forecast)
{
    struct spend_bench *bench = ctx;

    (void)forecast;
    if (strcmp(view->def->name, "everything") == 0 &&
        (view->used != bench->credits || view->reserved != 0 || view->refused != 0)) {
        fprintf(stderr, "meter_spend: used %" PRId64 " (told %" PRId64 "), reserved %" PRId64 "\n",
                view->used, bench->credits, view->reserved);
        bench->failures++;
    }
}

/* One limit on everything, one on the API, one on each run. */
static void
open_meter(struct spend_bench *bench, struct engine *engine)
{
    struct meter_options options = {0};
    struct prices *prices;
    struct err err;

    meter_engine_io(engine, &options.io);
    must(meter_open(&options, &bench->meter, &err), &err);
    prices_builtin(&prices);
    meter_set_prices(bench->meter, prices);
    prices_unref(prices);
    set_budget(bench->meter, "{\"name\": \"everything\", \"window\": \"month\", \"hard_limit\": "
                             "100000000000}");
    set_budget(bench->meter, "{\"name\": \"birdeye\", \"scope\": {\"api\": \"birdeye\"}, "
                             "\"window\": \"day\", \"hard_limit\": 100000000000}");
    set_budget(bench->meter, "{\"name\": \"runs\", \"scope\": {\"run_id\": \"*\"}, \"window\": "
                             "\"sliding\", \"window_minutes\": 60, \"hard_limit\": 100000000000}");
}

int
main(int argc, char **argv)
{
    static struct spend_bench bench = {.lock = PTHREAD_MUTEX_INITIALIZER,
                                       .answered = PTHREAD_COND_INITIALIZER};
    static const int callers[] = {1, 64, 256, 1024};
    struct engine *engine;
    struct err err;

    if (argc < 2) {
        fprintf(stderr, "usage: meter_spend DIRECTORY [seconds of each step]\n");
        return 2;
    }
    int seconds = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 4;
    struct engine_options options = {.data_dir = argv[1], .store_open = store_duckdb_open};
    must(engine_open(&options, &engine, &err), &err);
    open_meter(&bench, engine);
    printf("{\"pairs\": [");
    for (size_t i = 0; i < sizeof(callers) / sizeof(callers[0]); i++) {
        bench_pairs(&bench, argv[1], callers[i], seconds);
        printf(",\n ");
    }
    bench.priced = true;
    bench_pairs(&bench, argv[1], CALLERS_MAX, seconds);
    printf("],\n ");
    bench_appends(&bench, seconds);
    meter_each_budget(bench.meter, check_budget, &bench);
    printf(", \"pairs_in_all\": %" PRId64 ", \"failures\": %" PRId64 "}\n", bench.committed,
           bench.failures);
    meter_close(bench.meter);
    engine_close(engine);
    return bench.failures > 0;
}
