#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "meter/log_testing.h"
#include "meter/rollup.h"
#include "meter/rollup_cells.h"

#define HOUR_US INT64_C(3600000000)

static const struct event_filter any = {.from_us = INT64_MIN, .to_us = INT64_MAX};

static uint64_t
next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

/* Entries of four days, in no order of time, of all sizes of latency; some are corrections. */
static void
append_random(struct engine *engine, size_t count, uint64_t *random)
{
    static const char *const apis[] = {"birdeye", "helius", "Zeta", "\xc3\xa9"};
    static const char *const endpoints[] = {"/a", "/b", "/defi/ohlcv?x=1", "unknown", "/c"};
    struct event *events = calloc(count, sizeof(*events));
    char(*ids)[32] = calloc(count, sizeof(*ids));

    for (size_t i = 0; i < count; i++) {
        uint64_t seq = engine->head.seq + i;
        double size = (double)(next_random(random) % 98000) / 10000; /* powers of ten */
        snprintf(ids[i], sizeof(ids[i]), "e%llu", (unsigned long long)seq);
        events[i] = (struct event){
            .id = slice_of(ids[i]),
            .timestamp_us = LOG_TESTING_US + (int64_t)(next_random(random) % 345600000) * 1000,
            .api_name = slice_of(apis[next_random(random) % 4]),
            .endpoint = slice_of(endpoints[next_random(random) % 5]),
            .has_status = true,
            .status_code = 200,
            .success = next_random(random) % 3 > 0,
            .latency_ms = next_random(random) % 50 ? pow(10, size - 3) : 0,
            .credits = (int64_t)(next_random(random) % 120000000),
            .run_id = slice_of("r1"),
        };
        if (next_random(random) % 20 == 0) {
            events[i].corrects = slice_of("e1");
            events[i].credits = -events[i].credits;
        }
    }
    log_testing_append(engine, events, count);
    free(ids);
    free(events);
}

static void
assert_near(double value, double wanted, double within, const char *name)
{
    if (fabs(value - wanted) > within * fabs(wanted) + 1e-12) {
        fail_msg("%s is %.17g, should be %.17g", name, value, wanted);
    }
}

/* The same question to both; true when the rollup answered. */
static bool
compare(struct rollup *rollup, struct engine *engine, const struct event_stats *stats)
{
    struct rollup_status before, after;
    struct batch exact, quick;
    struct err err = {.msg = ""};

    assert_int_equal(event_stats(engine, stats, &exact, &err), ERR_OK);
    rollup_status(rollup, &before);
    if (rollup_stats(rollup, engine, stats, &quick, &err)) {
        fail_msg("%s", err.msg);
    }
    rollup_status(rollup, &after);
    assert_int_equal(quick.rows, exact.rows);
    assert_int_equal(quick.column_count, exact.column_count);
    for (size_t i = 0; i < exact.column_count; i++) {
        const char *name = exact.columns[i].name;
        assert_string_equal(quick.columns[i].name, name);
        assert_int_equal(quick.columns[i].type, exact.columns[i].type);
        for (size_t row = 0; row < exact.rows; row++) {
            double wanted = batch_get_f64(&exact, i, row);
            bool is_percentile = name[0] == 'p' && name[1] >= '0' && name[1] <= '9';
            assert_int_equal(batch_is_null(&quick, i, row), batch_is_null(&exact, i, row));
            if (exact.columns[i].type == COL_TEXT) {
                assert_true(
                    slice_eq(batch_get_text(&quick, i, row), batch_get_text(&exact, i, row)));
            } else if (is_percentile) {
                assert_near(batch_get_f64(&quick, i, row), wanted, 0.01, name);
            } else if (exact.columns[i].type == COL_DOUBLE) {
                assert_near(batch_get_f64(&quick, i, row), wanted, 1e-9, name);
            } else {
                assert_int_equal(batch_get_i64(&quick, i, row), batch_get_i64(&exact, i, row));
            }
        }
    }
    batch_fini(&quick);
    batch_fini(&exact);
    return after.answered > before.answered;
}

static const enum event_group kinds[] = {GROUP_NONE, GROUP_API, GROUP_ENDPOINT, GROUP_HOUR,
                                         GROUP_DAY};

/* Whatever is asked, and whatever came in meanwhile: as SQL says. */
static void
test_rollup_answers_as_sql(void **state)
{
    struct engine *engine = log_testing_open(store_duckdb_open);
    struct rollup *rollup = rollup_new(&(struct rollup_options){0});
    uint64_t random = 3;
    struct err err;

    (void)state;
    assert_int_equal(rollup_refresh(rollup, engine, &err), ERR_OK);
    assert_true(compare(rollup, engine, &(struct event_stats){.filter = any}));
    assert_true(compare(rollup, engine, &(struct event_stats){any, {GROUP_API, GROUP_DAY}, false}));
    for (int round = 0; round < 60; round++) {
        struct event_stats stats = {.filter = any};
        if (round % 10 == 0) {
            append_random(engine, round ? 700 : 12000, &random);
        }
        stats.groups[0] = kinds[next_random(&random) % 5];
        stats.groups[1] = kinds[next_random(&random) % 5];
        stats.no_percentiles = next_random(&random) % 4 == 0;
        if (next_random(&random) % 3 == 0) {
            stats.filter.api_name = slice_of(next_random(&random) % 4 ? "Zeta" : "nobody");
        }
        if (next_random(&random) % 3 == 0) {
            stats.filter.endpoint = slice_of("/b");
        }
        int64_t from_us = LOG_TESTING_US + (int64_t)(next_random(&random) % 300000000) * 1000;
        if (next_random(&random) % 3 > 0) {
            stats.filter.from_us = from_us;
        }
        if (next_random(&random) % 3 > 0) {
            int64_t span_us = next_random(&random) % 3 ? 50 * HOUR_US : HOUR_US / 3;
            stats.filter.to_us = from_us + (int64_t)(next_random(&random) % 1000) * span_us / 1000;
        }
        assert_true(compare(rollup, engine, &stats));
    }
    rollup_free(rollup);
    log_testing_close(engine);
}

/* To the microsecond: the ends of a range belong to it, also where they are the ends of hours. */
static void
test_rollup_cuts_hours_where_the_range_does(void **state)
{
    struct engine *engine = log_testing_open(store_duckdb_open);
    struct rollup *rollup = rollup_new(&(struct rollup_options){0});
    struct err err;

    (void)state;
    for (int64_t i = -2; i <= 8; i++) {
        for (int64_t j = -1; j <= 1; j++) {
            struct event event = {.id = slice_of("e"),
                                  .timestamp_us = LOG_TESTING_US + i * HOUR_US / 2 + j,
                                  .api_name = slice_of("a"),
                                  .endpoint = slice_of("/"),
                                  .latency_ms = 1};
            log_testing_append(engine, &event, 1);
        }
    }
    log_testing_append(engine,
                       &(struct event){.id = slice_of("old"),
                                       .timestamp_us = -HOUR_US - 1,
                                       .api_name = slice_of("a"),
                                       .endpoint = slice_of("/")},
                       1);
    assert_int_equal(rollup_refresh(rollup, engine, &err), ERR_OK);
    assert_true(compare(rollup, engine, &(struct event_stats){any, {GROUP_HOUR, GROUP_DAY}, true}));
    for (int64_t i = -1; i <= 4; i++) {
        for (int64_t span = 0; span <= 4; span++) {
            for (int64_t j = -1; j <= 1; j++) {
                struct event_stats stats = {.filter = any, .groups = {GROUP_HOUR}};
                stats.filter.from_us = LOG_TESTING_US + i * HOUR_US / 2 + j;
                stats.filter.to_us = stats.filter.from_us + span * HOUR_US / 2 + (j + i) % 2;
                if (stats.filter.from_us <= stats.filter.to_us) {
                    assert_true(compare(rollup, engine, &stats));
                }
            }
        }
    }
    rollup_free(rollup);
    log_testing_close(engine);
}

static void
test_rollup_leaves_to_sql_what_it_does_not_know(void **state)
{
    struct engine *engine = log_testing_open(store_duckdb_open);
    struct rollup *rollup = rollup_new(&(struct rollup_options){0});
    const struct event_stats others[] = {
        {.filter = any, .groups = {GROUP_RUN_ID}},
        {.filter = any, .groups = {GROUP_API, GROUP_KEY}},
        {.filter = any, .groups = {GROUP_PROJECT}},
#define FILTERED(...)                                                                              \
    {                                                                                              \
        .filter = {.from_us = INT64_MIN, .to_us = INT64_MAX, __VA_ARGS__ }                         \
    }
        FILTERED(.id = slice_of("e5")),
        FILTERED(.method = slice_of("GET")),
        FILTERED(.run_id = slice_of("r1")),
        FILTERED(.api_key = slice_of("x")),
        FILTERED(.project = slice_of("x")),
        FILTERED(.corrects = slice_of("e1")),
        FILTERED(.reservation_id = slice_of("x")),
        FILTERED(.has_success = 1),
        FILTERED(.status_min = 200),
        FILTERED(.status_max = 200),
#undef FILTERED
    };
    struct event_stats plain = {.filter = any, .groups = {GROUP_API}};
    uint64_t random = 9;
    struct batch rows;
    struct err err;

    (void)state;
    append_random(engine, 500, &random);
    assert_false(compare(rollup, engine, &plain)); /* not built yet */
    assert_int_equal(rollup_refresh(rollup, engine, &err), ERR_OK);
    assert_true(compare(rollup, engine, &plain));
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_false(compare(rollup, engine, &others[i]));
    }
    plain.filter.from_us = 2;
    plain.filter.to_us = 1;
    assert_int_equal(rollup_stats(rollup, engine, &plain, &rows, &err), ERR_INVALID);
    plain.filter = any;
    assert_int_equal(rollup_stats(NULL, engine, &plain, &rows, &err), ERR_OK);
    batch_fini(&rows);
    rollup_free(rollup);
    log_testing_close(engine);
}

/* A visit that ends amidst the log counts nothing twice. */
static void
test_rollup_goes_on_after_a_failure(void **state)
{
    struct engine *engine = log_testing_open(store_duckdb_open);
    struct rollup *rollup = rollup_new(&(struct rollup_options){0});
    struct event_stats plain = {.filter = any, .groups = {GROUP_API}};
    struct rollup_status status;
    uint64_t random = 9;
    struct err err;

    (void)state;
    append_random(engine, 30000, &random);
    engine->fail_visits = 2;
    assert_int_equal(rollup_refresh(rollup, engine, &err), ERR_TIMEOUT);
    assert_int_equal(rollup_refresh(rollup, engine, &err), ERR_TIMEOUT);
    rollup_status(rollup, &status);
    assert_false(status.ready);
    assert_true(status.seq > 0 && status.seq < 30000);
    assert_int_equal(rollup_refresh(rollup, engine, &err), ERR_OK);
    assert_true(compare(rollup, engine, &plain));
    append_random(engine, 10, &random);
    engine->fail_visits = 1;
    assert_false(compare(rollup, engine, &plain));
    assert_true(compare(rollup, engine, &plain));
    rollup_free(rollup);
    log_testing_close(engine);
}

static void
assert_gives_up(struct engine *engine, struct rollup_options options)
{
    struct rollup *rollup = rollup_new(&options);
    struct event_stats plain = {.filter = any, .groups = {GROUP_API}};
    struct rollup_status status;
    struct err err;

    assert_int_equal(rollup_refresh(rollup, engine, &err), ERR_OK);
    rollup_status(rollup, &status);
    assert_true(status.over);
    assert_int_equal(status.cells, 0);
    assert_false(compare(rollup, engine, &plain));
    assert_int_equal(rollup_refresh(rollup, engine, &err), ERR_OK);
    rollup_free(rollup);
}

static void
test_rollup_over_its_bounds_leaves_all_to_sql(void **state)
{
    struct engine *engine = log_testing_open(store_duckdb_open);
    struct rollup *rollup = rollup_new(&(struct rollup_options){0});
    struct rollup_status status;
    uint64_t random = 9;
    struct err err;

    (void)state;
    append_random(engine, 5000, &random);
    assert_int_equal(rollup_refresh(rollup, engine, &err), ERR_OK);
    rollup_status(rollup, &status);
    assert_true(status.ready && status.cells > 1000 && status.memory_bytes > 100000);
    assert_int_equal(status.seq, 5000);
    rollup_free(rollup);
    assert_gives_up(engine, (struct rollup_options){.cells_max = status.cells - 1});
    assert_gives_up(engine, (struct rollup_options){.memory_max = 50000});
    log_testing_close(engine);
}

static void
test_rollup_leaves_huge_sums_to_sql(void **state)
{
    struct engine *engine = log_testing_open(store_duckdb_open);
    struct rollup *rollup = rollup_new(&(struct rollup_options){0});
    struct event_stats all = {.filter = any};
    struct err err;

    (void)state;
    for (int64_t i = 0; i < 12; i++) {
        struct event event = {.id = slice_of("e"),
                              .timestamp_us = LOG_TESTING_US + i * HOUR_US,
                              .credits = INT64_C(999999999999999999)};
        log_testing_append(engine, &event, 1);
    }
    assert_int_equal(rollup_refresh(rollup, engine, &err), ERR_OK);
    struct event_stats hours = {.filter = any, .groups = {GROUP_HOUR}};
    assert_true(compare(rollup, engine, &hours));
    struct batch rows;
    assert_int_equal(rollup_stats(rollup, engine, &all, &rows, &err), ERR_OK);
    assert_true(slice_is(batch_get_text(&rows, 1, 0), "11999999999999.999988"));
    batch_fini(&rows);
    rollup_free(rollup);
    log_testing_close(engine);
}

static void
test_rollup_of_a_store_without_sql(void **state)
{
    struct engine *engine = log_testing_open(store_memory_open);
    struct rollup *rollup = rollup_new(&(struct rollup_options){0});
    struct event_stats stats = {.filter = any, .groups = {GROUP_API}};
    uint64_t random = 9;
    struct batch rows;
    struct err err;

    (void)state;
    append_random(engine, 500, &random);
    assert_int_equal(rollup_refresh(rollup, engine, &err), ERR_OK);
    assert_int_equal(rollup_stats(rollup, engine, &stats, &rows, &err), ERR_OK);
    assert_int_equal(rows.rows, 4);
    batch_fini(&rows);
    rollup_free(rollup);
    rollup_free(NULL);
    log_testing_close(engine);
}

static struct {
    struct rollup *rollup;
    struct engine *engine;
    atomic_bool stop;
} shared;

static void *
ask(void *ctx)
{
    struct event_stats stats = {.filter = any, .groups = {GROUP_API, GROUP_HOUR}};
    int64_t last = 0;
    intptr_t bad = 0;

    (void)ctx;
    while (!atomic_load(&shared.stop)) {
        struct batch rows;
        struct err err;
        int64_t count = 0;
        if (rollup_stats(shared.rollup, shared.engine, &stats, &rows, &err)) {
            return (void *)(intptr_t)-1;
        }
        int column = batch_column_index(&rows, slice_of("count"));
        for (size_t row = 0; row < rows.rows; row++) {
            count += batch_get_i64(&rows, (size_t)column, row);
        }
        batch_fini(&rows);
        bad += count < last; /* nothing is ever forgotten */
        last = count;
    }
    return (void *)bad;
}

static void
test_rollup_answers_many_at_once(void **state)
{
    struct event_stats all = {.filter = any};
    pthread_t threads[3];
    uint64_t random = 9;
    struct batch rows;
    struct err err;

    (void)state;
    shared.engine = log_testing_open(store_memory_open);
    shared.rollup = rollup_new(&(struct rollup_options){0});
    assert_int_equal(rollup_refresh(shared.rollup, shared.engine, &err), ERR_OK);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, ask, NULL), 0);
    }
    for (int i = 0; i < 60; i++) {
        append_random(shared.engine, 50, &random);
    }
    atomic_store(&shared.stop, true);
    for (size_t i = 0; i < 3; i++) {
        void *bad = NULL;
        pthread_join(threads[i], &bad);
        assert_null(bad);
    }
    assert_int_equal(rollup_stats(shared.rollup, shared.engine, &all, &rows, &err), ERR_OK);
    assert_int_equal(batch_get_i64(&rows, 0, 0), 3000);
    batch_fini(&rows);
    rollup_free(shared.rollup);
    log_testing_close(shared.engine);
}

static void
test_latency_buckets_are_within_one_percent(void **state)
{
    unsigned last = 0;

    (void)state;
    assert_int_equal(latency_bucket(0), 0);
    assert_int_equal(latency_bucket(NAN), 0);
    assert_int_equal(latency_bucket(INFINITY), LATENCY_BUCKETS - 1);
    for (double latency = 0.001; latency < 7200000; latency *= 1.0007) {
        unsigned bucket = latency_bucket(latency);
        assert_true(bucket >= last && bucket < LATENCY_BUCKETS - 1);
        assert_true(fabs(latency_of_bucket(bucket) / latency - 1) < 0.01);
        last = bucket;
    }
}

/* More of one latency than one word counts. */
static void
test_cell_counts_beyond_a_word(void **state)
{
    enum { MANY = 2200000 };
    struct cells cells = {0};
    uint64_t counts[LATENCY_BUCKETS] = {0};
    struct cell_entry entry = {.is_call = true, .latency_ms = 5};

    (void)state;
    for (int i = 0; i < MANY; i++) {
        entry.latency_ms = i % 100 == 99 ? 4 : 5;
        cells_add(&cells, &entry);
    }
    assert_int_equal(cells.count, 1);
    cell_add_counts(&cells.all[0], counts);
    assert_int_equal(counts[latency_bucket(5)], MANY / 100 * 99);
    assert_int_equal(counts[latency_bucket(4)], MANY / 100);
    cells_fini(&cells);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rollup_answers_as_sql),
        cmocka_unit_test(test_rollup_cuts_hours_where_the_range_does),
        cmocka_unit_test(test_rollup_leaves_to_sql_what_it_does_not_know),
        cmocka_unit_test(test_rollup_goes_on_after_a_failure),
        cmocka_unit_test(test_rollup_over_its_bounds_leaves_all_to_sql),
        cmocka_unit_test(test_rollup_leaves_huge_sums_to_sql),
        cmocka_unit_test(test_rollup_of_a_store_without_sql),
        cmocka_unit_test(test_rollup_answers_many_at_once),
        cmocka_unit_test(test_latency_buckets_are_within_one_percent),
        cmocka_unit_test(test_cell_counts_beyond_a_word),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
