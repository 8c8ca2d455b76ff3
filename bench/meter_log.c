/*
 * The event log, large: how fast its chain is verified, from memory and from a DuckDB file, and how
 * long questions to it take, warm. Prints one JSON object. Usage: meter_log DIRECTORY [entries]
 * [days]; 10 000 000 entries of 30 days by default. The directory is left as it is.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "meter/chain.h"
#include "meter/event_query.h"
#include "meter/rollup.h"
#include "store/duckdb/store_duckdb.h"

enum { BATCH = 10000, MEMORY_BATCHES = 30, TRIES = 7, APIS = 6, ENDPOINTS = 8, RUNS = 40 };

static const int64_t begin_us = INT64_C(1767225600000000); /* 2026-01-01 */

struct maker {
    struct chain_head head;
    uint64_t random;
    int64_t now_us;
    int64_t step_us;
    char apis[APIS][16];
    char endpoints[ENDPOINTS][32];
    char runs[RUNS][16];
};

static void
must(enum err_code code, const struct err *err)
{
    if (code) {
        fprintf(stderr, "meter_log: %s\n", err->msg);
        exit(1);
    }
}

static double
seconds_since(int64_t start_us)
{
    return (double)(clock_mono_us(clock_system()) - start_us) / 1e6;
}

static void
init_maker(struct maker *maker, uint64_t entries, uint64_t days)
{
    *maker = (struct maker){.random = 42, .now_us = begin_us};
    maker->step_us = (int64_t)(days * 86400 * 1000000 / entries);
    for (int i = 0; i < APIS; i++) {
        snprintf(maker->apis[i], sizeof(maker->apis[i]), "api-%d", i);
    }
    for (int i = 0; i < ENDPOINTS; i++) {
        snprintf(maker->endpoints[i], sizeof(maker->endpoints[i]), "/v1/endpoint/%d", i);
    }
    for (int i = 0; i < RUNS; i++) {
        snprintf(maker->runs[i], sizeof(maker->runs[i]), "run-%d", i);
    }
}

static double
uniform(struct maker *maker)
{
    maker->random = maker->random * 6364136223846793005u + 1442695040888963407u;
    return ((double)(maker->random >> 11) + 0.5) * 0x1p-53;
}

static void
add_entry(struct maker *maker, struct batch *rows)
{
    char id[40];
    uint8_t leaf[EVENT_HASH_BYTES];
    bool success = uniform(maker) < 0.97;
    size_t api = (size_t)(uniform(maker) * uniform(maker) * APIS);
    double normal = sqrt(-2 * log(uniform(maker))) * cos(6.283185307 * uniform(maker));

    snprintf(id, sizeof(id), "%012" PRIx64 "-7aaa-%08x", maker->head.seq,
             (unsigned)(maker->random >> 32));
    struct event event = {
        .id = batch_keep_text(rows, slice_of(id)),
        .timestamp_us = maker->now_us,
        .api_name = slice_of(maker->apis[api]),
        .endpoint = slice_of(maker->endpoints[(size_t)(uniform(maker) * ENDPOINTS)]),
        .method = SLICE_LITERAL("GET"),
        .has_status = true,
        .status_code = success ? 200 : 429,
        .success = success,
        .latency_ms = round(exp(5 + 0.7 * normal) * 1000) / 1000,
        .credits = success ? 60000000 : 0,
        .run_id = slice_of(maker->runs[(size_t)(uniform(maker) * RUNS)]),
        .created_us = maker->now_us + 5000,
        .api_key = SLICE_LITERAL("key-1"),
        .price_rule = SLICE_LITERAL("birdeye/other@1f2e3d4c"),
    };
    if (!success) {
        event.error_message = SLICE_LITERAL("429 Too Many Requests");
    }
    chain_leaf(&event, leaf);
    chain_link(&maker->head, leaf);
    event.seq = maker->head.seq;
    memcpy(event.hash, maker->head.hash, sizeof(event.hash));
    event_to_row(&event, rows);
    maker->now_us += maker->step_us;
}

static void
fill_batch(struct maker *maker, struct batch *rows)
{
    batch_init(rows, catalog_table(TABLE_EVENTS), 16 << 20);
    batch_reserve(rows, BATCH);
    for (int i = 0; i < BATCH; i++) {
        add_entry(maker, rows);
    }
}

static double
verify_memory(unsigned threads)
{
    static struct batch rows[MEMORY_BATCHES];
    struct chain_verify_options options = {.threads = threads};
    struct chain_verifier *verifier = chain_verifier_new(&options);
    struct chain_verdict verdict;
    struct maker maker;
    struct err err;

    init_maker(&maker, 10000000, 30);
    for (int i = 0; i < MEMORY_BATCHES; i++) {
        fill_batch(&maker, &rows[i]);
    }
    int64_t start_us = clock_mono_us(clock_system());
    for (int i = 0; i < MEMORY_BATCHES; i++) {
        must(chain_verifier_push(verifier, &rows[i], &err), &err);
    }
    double seconds = seconds_since(start_us);
    chain_verifier_end(verifier, &verdict);
    chain_verifier_free(verifier);
    for (int i = 0; i < MEMORY_BATCHES; i++) {
        batch_fini(&rows[i]);
    }
    return (double)verdict.checked / seconds;
}

/* Straight into the store: the log in front of it is not what is measured here. */
static void
fill_store(const char *dir, uint64_t entries, uint64_t days)
{
    char path[1024];
    struct store *store;
    struct maker maker;
    struct err err;
    uint64_t lsn;

    snprintf(path, sizeof(path), "%s/eider.duckdb", dir);
    struct store_open_options options = {.path = path};
    must(store_duckdb_open(&options, &store, &err), &err);
    lsn = store_applied_lsn(store);
    init_maker(&maker, entries, days);
    while (lsn == 0 && maker.head.seq < entries) {
        struct batch rows[10];
        for (size_t i = 0; i < 10; i++) {
            fill_batch(&maker, &rows[i]);
        }
        uint64_t at = maker.head.seq / BATCH;
        struct store_group group = {at - 9, at, 10, rows};
        must(store_apply(store, &group, &err), &err);
        for (size_t i = 0; i < 10; i++) {
            batch_fini(&rows[i]);
        }
    }
    must(store_checkpoint(store, &err), &err);
    store_close(store);
}

static enum err_code
push(void *ctx, const struct batch *rows, struct err *err)
{
    return chain_verifier_push(ctx, rows, err);
}

static double
verify_store(struct engine *engine)
{
    struct chain_verify_options options = {.threads = 0};
    struct chain_verifier *verifier = chain_verifier_new(&options);
    struct store_scan scan = {
        .table = TABLE_EVENTS, .from_us = INT64_MIN, .to_us = INT64_MAX, .timeout_ms = 600000};
    struct chain_verdict verdict;
    struct err err;
    int64_t start_us = clock_mono_us(clock_system());

    must(engine_visit(engine, &scan, push, verifier, &err), &err);
    double seconds = seconds_since(start_us);
    chain_verifier_end(verifier, &verdict);
    chain_verifier_free(verifier);
    if (!verdict.ok) {
        fprintf(stderr, "meter_log: %s\n", verdict.problem);
        exit(1);
    }
    return (double)verdict.checked / seconds;
}

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The median of some tries, in milliseconds. */
static double
time_stats(struct rollup *rollup, struct engine *engine, const struct event_stats *stats)
{
    double tries[TRIES];
    struct batch rows;
    struct err err;

    for (int i = 0; i < TRIES; i++) {
        int64_t start_us = clock_mono_us(clock_system());
        must(rollup_stats(rollup, engine, stats, &rows, &err), &err);
        tries[i] = seconds_since(start_us) * 1e3;
        batch_fini(&rows);
    }
    qsort(tries, TRIES, sizeof(tries[0]), by_value);
    return tries[TRIES / 2];
}

static double
time_page(struct engine *engine, const struct event_page *page)
{
    double tries[TRIES];
    uint64_t cursor;
    struct batch rows;
    struct err err;

    for (int i = 0; i < TRIES; i++) {
        int64_t start_us = clock_mono_us(clock_system());
        must(event_page(engine, page, &rows, &cursor, &err), &err);
        tries[i] = seconds_since(start_us) * 1e3;
        batch_fini(&rows);
    }
    qsort(tries, TRIES, sizeof(tries[0]), by_value);
    return tries[TRIES / 2];
}

static void
time_rollup(struct engine *engine, const struct event_filter *any, const struct event_filter *week)
{
    struct rollup *rollup = rollup_new(&(struct rollup_options){0});
    struct event_filter cut = *week;
    struct rollup_status status;
    struct err err;
    int64_t start_us = clock_mono_us(clock_system());

    must(rollup_refresh(rollup, engine, &err), &err);
    double seconds = seconds_since(start_us);
    rollup_status(rollup, &status);
    printf("\"rollup_build_s\": %.2f, \"rollup_cells\": %zu, \"rollup_mb\": %.1f, ", seconds,
           status.cells, (double)status.memory_bytes / 1e6);
    printf("\"rollup_api_day_ms\": %.1f, ",
           time_stats(rollup, engine, &(struct event_stats){*any, {GROUP_API, GROUP_DAY}, false}));
    printf("\"rollup_all_ms\": %.1f, ",
           time_stats(rollup, engine, &(struct event_stats){.filter = *any}));
    cut.from_us += 1234567890;
    cut.to_us += 1234567890;
    printf("\"rollup_cut_week_ms\": %.1f}\n",
           time_stats(rollup, engine, &(struct event_stats){cut, {GROUP_API, GROUP_HOUR}, false}));
    rollup_free(rollup);
}

int
main(int argc, char **argv)
{
    uint64_t entries = argc > 2 ? strtoull(argv[2], NULL, 10) : 10000000;
    uint64_t days = argc > 3 ? strtoull(argv[3], NULL, 10) : 30;
    struct engine *engine;
    struct err err;

    if (argc < 2 || entries < 100000) {
        fprintf(stderr, "usage: meter_log DIRECTORY [entries, at least 100000] [days]\n");
        return 2;
    }
    double one = verify_memory(1);
    double two = verify_memory(2);
    fill_store(argv[1], entries, days);
    struct engine_options options = {.data_dir = argv[1], .store_open = store_duckdb_open};
    must(engine_open(&options, &engine, &err), &err);
    double stored = verify_store(engine);
    struct event_filter any = {.from_us = INT64_MIN, .to_us = INT64_MAX};
    struct event_filter week = any;
    week.from_us = begin_us + INT64_C(7) * 86400 * 1000000;
    week.to_us = begin_us + INT64_C(14) * 86400 * 1000000;
    struct event_filter run = any;
    run.run_id = slice_of("run-7");
    printf("{\"entries\": %" PRIu64 ", \"verify_per_s\": %.0f, \"verify_2_threads_per_s\": %.0f, "
           "\"verify_store_per_s\": %.0f, ",
           entries, one, two, stored);
    printf("\"stats_api_day_ms\": %.1f, ",
           time_stats(NULL, engine, &(struct event_stats){any, {GROUP_API, GROUP_DAY}, false}));
    printf("\"stats_api_day_plain_ms\": %.1f, ",
           time_stats(NULL, engine, &(struct event_stats){any, {GROUP_API, GROUP_DAY}, true}));
    printf("\"stats_all_ms\": %.1f, ",
           time_stats(NULL, engine, &(struct event_stats){any, {GROUP_NONE, GROUP_NONE}, false}));
    printf("\"stats_week_ms\": %.1f, ",
           time_stats(NULL, engine, &(struct event_stats){week, {GROUP_API, GROUP_DAY}, false}));
    printf("\"stats_run_ms\": %.1f, ",
           time_stats(NULL, engine, &(struct event_stats){run, {GROUP_API, GROUP_DAY}, false}));
    printf("\"page_newest_ms\": %.1f, ",
           time_page(engine, &(struct event_page){.filter = any, .limit = 100}));
    printf("\"page_run_ms\": %.1f, ",
           time_page(engine, &(struct event_page){.filter = run, .limit = 100}));
    printf("\"page_middle_ms\": %.1f, ",
           time_page(engine,
                     &(struct event_page){.filter = any, .limit = 100, .cursor = entries / 2}));
    time_rollup(engine, &any, &week);
    engine_close(engine);
    return 0;
}
