/*
 * The hot cache: how many reads of a dashboard it answers, beside the same cache that throws out
 * what came first, and how long small questions take with it and without. Prints one JSON object.
 * Usage: cache DIRECTORY [points]; 10 000 000 points of 1000 series by default.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "store/duckdb/store_duckdb.h"
#include "store/hot.h"
#include "store/memory/store_memory.h"

enum {
    SERIES = 1000,
    HOUR_POINTS = 360,
    STEPS = 1500,      /* of 10 s: the trace covers four hours */
    READS_A_STEP = 20, /* two panels a second */
    PRELOADED = 720,   /* points of each series before it */
    BATCH_STEPS = 100, /* points of each series in one group */
    TRIES = 201,
    DAY_POINTS = 8640
};

static const int64_t step_us = 10000000;
static const int64_t begin_us = INT64_C(1767225600000000); /* 2026-01-01 */

static void
must(enum err_code code, const struct err *err)
{
    if (code) {
        fprintf(stderr, "cache: %s\n", err->msg);
        exit(1);
    }
}

struct place {
    struct store *store;
    struct hot *hot;
    struct batch batch;
    uint64_t lsn;
    uint64_t random;
    int64_t steps; /* points that every series has */
};

static double
next_random(struct place *place)
{
    place->random = place->random * 6364136223846793005U + 1442695040888963407U;
    return (double)(place->random >> 11) / 9007199254740992.0;
}

static void
commit(struct place *place, struct batch *batch)
{
    struct store_group group = {++place->lsn, place->lsn, 1, batch};
    struct err err;

    if (place->hot) {
        hot_begin(place->hot);
    }
    must(store_apply(place->store, &group, &err), &err);
    if (place->hot) {
        hot_feed(place->hot, &group);
    }
}

static void
define_series(struct place *place)
{
    struct batch batch;
    char text[32];

    batch_init(&batch, catalog_table(TABLE_SERIES), 1 << 20);
    for (int id = 1; id <= SERIES; id++) {
        size_t row = batch_add_row(&batch);
        batch_set_i32(&batch, 0, row, id);
        batch_set_text(&batch, 1, row, SLICE_LITERAL("price"));
        snprintf(text, sizeof(text), "SYM%d", id);
        batch_set_text(&batch, 2, row, batch_keep_text(&batch, slice_of(text)));
    }
    commit(place, &batch);
    batch_fini(&batch);
}

/* The next points of all series, as they arrive: all of a moment, then the next moment. */
static void
write_steps(struct place *place, int64_t steps)
{
    size_t row = 0;

    batch_reset(&place->batch);
    batch_reserve(&place->batch, (size_t)steps * SERIES);
    batch_extend(&place->batch, (size_t)steps * SERIES);
    for (int64_t i = 0; i < steps; i++, place->steps++) {
        for (int32_t id = 1; id <= SERIES; id++, row++) {
            place->batch.columns[0].i32[row] = id;
            place->batch.columns[1].i64[row] = begin_us + place->steps * step_us;
            place->batch.columns[2].f64[row] = 100 + floor(next_random(place) * 1000) / 4;
        }
    }
    commit(place, &place->batch);
}

static void
init_place(struct place *place, store_open_fn *open, const char *path)
{
    const struct store_open_options options = {.path = path,
                                               .memory_limit_bytes = (uint64_t)1 << 30};
    struct err err;

    *place = (struct place){.random = 7};
    must(open(&options, &place->store, &err), &err);
    batch_init(&place->batch, catalog_table(TABLE_SAMPLES), 1 << 20);
    define_series(place);
}

static void
fini_place(struct place *place)
{
    batch_fini(&place->batch);
    hot_free(place->hot);
    store_close(place->store);
}

/* ---- hit rates ---- */

/* Series by popularity: the k-th most popular is read in proportion to 1 / k. */
static int32_t
popular(struct place *place, const double *shares)
{
    double at = next_random(place) * shares[SERIES - 1];
    int32_t low = 0;
    int32_t high = SERIES - 1;

    while (low < high) {
        int32_t middle = (low + high) / 2;
        if (shares[middle] < at) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low * 389 % SERIES + 1; /* popularity has nothing to do with the number */
}

static size_t
read_series(struct place *place, int32_t id, int64_t points, bool cached)
{
    char text[16];
    struct slice value = {text, (size_t)snprintf(text, sizeof(text), "%d", id)};
    const struct store_scan scan = {.table = TABLE_SAMPLES,
                                    .filters = {{"series_id", &value, 1}},
                                    .filter_count = 1,
                                    .from_us = begin_us + (place->steps - points) * step_us,
                                    .to_us = INT64_MAX};
    struct batch rows;
    struct err err;

    if (!cached || !hot_scan(place->hot, place->store, &scan, &rows)) {
        must(store_scan(place->store, &scan, &rows, &err), &err);
    }
    size_t count = rows.rows;
    batch_fini(&rows);
    return count;
}

static double
hit_rate(uint64_t bytes_max, double skew, bool fifo, bool writes_promote)
{
    const struct hot_options options = {
        .bytes_max = bytes_max, .fifo = fifo, .writes_promote = writes_promote};
    struct hot_stats before;
    struct hot_stats after;
    struct place place;
    double shares[SERIES];
    double sum = 0;

    for (int k = 0; k < SERIES; k++) {
        shares[k] = sum += pow(k + 1, -skew);
    }
    init_place(&place, store_memory_open, NULL);
    write_steps(&place, PRELOADED);
    place.hot = hot_new(&options);
    for (int step = 0; step < STEPS; step++) {
        write_steps(&place, 1);
        for (int i = 0; i < READS_A_STEP; i++) {
            read_series(&place, popular(&place, shares), HOUR_POINTS, true);
        }
        if (step == STEPS / 3) {
            hot_stats_of(place.hot, &before); /* warm */
        }
    }
    hot_stats_of(place.hot, &after);
    fini_place(&place);
    double hits = (double)(after.cache.hits - before.cache.hits);
    return hits / (hits + (double)(after.cache.misses - before.cache.misses));
}

static void
bench_hit_rates(void)
{
    static const double skews[] = {1.0, 1.2};
    static const int half_mib[] = {2, 4, 6, 7, 8, 12};
    const char *comma = "";

    printf("\"hit_rates\": [");
    for (size_t s = 0; s < sizeof(skews) / sizeof(skews[0]); s++) {
        for (size_t i = 0; i < sizeof(half_mib) / sizeof(half_mib[0]); i++) {
            uint64_t bytes = (uint64_t)half_mib[i] << 19;
            printf("%s{\"skew\": %.1f, \"mib\": %.1f, \"lru\": %.4f, \"fifo\": %.4f, "
                   "\"lru_writes_too\": %.4f}",
                   comma, skews[s], half_mib[i] / 2.0, hit_rate(bytes, skews[s], false, false),
                   hit_rate(bytes, skews[s], true, false), hit_rate(bytes, skews[s], false, true));
            comma = ", ";
        }
    }
    printf("], ");
}

/* ---- times ---- */

enum question { LAST_HOUR, DAY_IN_BUCKETS, LAST_POINTS };

static void
ask_buckets(struct place *place, int32_t id, bool cached)
{
    char text[16];
    struct slice value = {text, (size_t)snprintf(text, sizeof(text), "%d", id)};
    const struct store_bucket bucket = {
        .scan = {.table = TABLE_SAMPLES,
                 .filters = {{"series_id", &value, 1}},
                 .filter_count = 1,
                 .from_us = begin_us + (place->steps - DAY_POINTS) * step_us,
                 .to_us = INT64_MAX},
        .bucket_us = 300000000,
        .aggregates = {{AGG_AVG, "value", "avg"},
                       {AGG_MIN, "value", "min"},
                       {AGG_MAX, "value", "max"}},
        .aggregate_count = 3};
    struct batch rows;
    struct err err;

    if (!cached || !hot_bucket(place->hot, place->store, &bucket, &rows)) {
        must(store_bucket(place->store, &bucket, &rows, &err), &err);
    }
    batch_fini(&rows);
}

static void
ask_last_points(struct place *place, bool cached)
{
    struct batch rows;
    struct err err;

    if (!cached || !hot_latest(place->hot, place->store, TABLE_METRICS, &rows)) {
        must(store_latest(place->store, TABLE_METRICS, NULL, &rows, &err), &err);
    }
    batch_fini(&rows);
}

static int
compare_doubles(const void *a, const void *b)
{
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

/* The median, in ms. `fresh`: another series each time, so that a cache has not got it yet. */
static double
median_ms(struct place *place, enum question question, bool cached, bool fresh, int tries)
{
    double *times = mem_zalloc((size_t)tries, sizeof(*times));
    static int32_t next = 17;

    for (int i = 0; i < tries; i++) {
        int32_t id = fresh ? next++ % SERIES + 1 : 5;
        int64_t start_us = clock_mono_us(clock_system());
        /* Several at once where one is shorter than the clock tells. */
        int repeats = cached && !fresh ? 20 : 1;
        for (int j = 0; j < repeats; j++) {
            if (question == LAST_HOUR) {
                read_series(place, id, HOUR_POINTS, cached);
            } else if (question == DAY_IN_BUCKETS) {
                ask_buckets(place, id, cached);
            } else {
                ask_last_points(place, cached);
            }
        }
        times[i] = (double)(clock_mono_us(clock_system()) - start_us) / 1000 / repeats;
    }
    qsort(times, (size_t)tries, sizeof(*times), compare_doubles);
    double median = times[tries / 2];
    free(times);
    return median;
}

static double
feed_rate(struct place *place, bool with_hot)
{
    struct hot *hot = place->hot;
    int64_t start_us = clock_mono_us(clock_system());

    place->hot = with_hot ? hot : NULL;
    for (int i = 0; i < 10; i++) {
        write_steps(place, BATCH_STEPS);
    }
    place->hot = hot;
    return 10.0 * BATCH_STEPS * SERIES / ((double)(clock_mono_us(clock_system()) - start_us) / 1e6);
}

static void
bench_times(const char *path, int64_t points)
{
    struct place place;
    struct hot_stats stats;

    init_place(&place, store_duckdb_open, path);
    while (place.steps * SERIES < points) {
        write_steps(&place, BATCH_STEPS);
    }
    double feed_without = feed_rate(&place, false);
    place.hot = hot_new(&(struct hot_options){.bytes_max = (uint64_t)256 << 20});
    double load_ms = median_ms(&place, LAST_POINTS, true, true, 1);
    printf("\"points\": %" PRId64 ", \"load_ms\": %.3f, ", place.steps * SERIES, load_ms);
    printf("\"last_hour_store_ms\": %.4f, ", median_ms(&place, LAST_HOUR, false, true, TRIES));
    printf("\"last_hour_fill_ms\": %.4f, ", median_ms(&place, LAST_HOUR, true, true, TRIES));
    printf("\"last_hour_cache_ms\": %.4f, ", median_ms(&place, LAST_HOUR, true, false, TRIES));
    printf("\"buckets_store_ms\": %.4f, ", median_ms(&place, DAY_IN_BUCKETS, false, true, 51));
    printf("\"buckets_fill_ms\": %.4f, ", median_ms(&place, DAY_IN_BUCKETS, true, true, 51));
    printf("\"buckets_cache_ms\": %.4f, ", median_ms(&place, DAY_IN_BUCKETS, true, false, 51));
    printf("\"last_points_store_ms\": %.4f, ", median_ms(&place, LAST_POINTS, false, true, 11));
    printf("\"last_points_cache_ms\": %.4f, ", median_ms(&place, LAST_POINTS, true, false, 51));
    double feed_with = feed_rate(&place, true);
    hot_stats_of(place.hot, &stats);
    printf("\"apply_per_s\": %.0f, \"apply_fed_per_s\": %.0f, \"cache_mib\": %.1f", feed_without,
           feed_with, (double)stats.cache.bytes / (1 << 20));
    fini_place(&place);
}

int
main(int argc, char **argv)
{
    char path[4096];

    if (argc < 2) {
        fprintf(stderr, "usage: cache DIRECTORY [points]\n");
        return 2;
    }
    snprintf(path, sizeof(path), "%s/cache.duckdb", argv[1]);
    printf("{");
    bench_hit_rates();
    bench_times(path, argc > 2 ? strtoll(argv[2], NULL, 10) : 10000000);
    printf("}\n");
    return 0;
}
