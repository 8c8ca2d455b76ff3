/*
 * The hot cache within an engine: writes, readers and rebuilds at once. Series 1 gets the times 1,
 * 2, 3, ... in order, so whatever a reader is answered must be such a run without a gap, must not
 * be shorter than what was applied before it asked, and must not shrink.
 */
#include "store/engine_testing.h"

#include <pthread.h>
#include <stdio.h>

#include "store/duckdb/store_duckdb.h"
#include "store/postgres/pg_testing.h"
#include "store/postgres/store_postgres.h"

enum { READERS = 3, SAMPLES = 600, NARROW = 50 };

struct reader {
    struct rig *rig;
    pthread_t thread;
    atomic_bool *stop;
    uint64_t reads;
    const char *wrong;
};

static struct store_scan
of_series_one(int64_t from_us)
{
    static const struct slice id = {"1", 1};

    return (struct store_scan){.table = TABLE_SAMPLES,
                               .filters = {{"series_id", &id, 1}},
                               .filter_count = 1,
                               .from_us = from_us,
                               .to_us = INT64_MAX};
}

static const char *
check_run(const struct batch *rows, int64_t from_us, int64_t at_least)
{
    for (size_t i = 0; i < rows->rows; i++) {
        if (rows->columns[1].i64[i] != from_us + (int64_t)i) {
            return "a gap, or a point twice";
        }
    }
    return from_us + (int64_t)rows->rows - 1 < at_least ? "a point is missing at the end" : NULL;
}

/* The newest time that is applied: the definition is record 1, the sample of time t record t + 1.
 */
static int64_t
applied_time(struct rig *rig)
{
    struct engine_status status;

    engine_status(rig->engine, &status);
    return (int64_t)status.applied_lsn - 1;
}

static void
read_once(struct reader *reader)
{
    int64_t before = applied_time(reader->rig);
    int64_t from_us = reader->reads % 2 == 0 || before <= NARROW ? 1 : before - NARROW;
    struct store_scan scan = of_series_one(from_us);
    struct batch rows;
    struct err err;

    if (engine_scan(reader->rig->engine, &scan, &rows, &err) != ERR_OK) {
        reader->wrong = "a read failed";
        return;
    }
    reader->wrong = check_run(&rows, from_us, before);
    batch_fini(&rows);
    reader->reads++;
}

static void *
read_all_the_time(void *arg)
{
    struct reader *reader = arg;

    while (!atomic_load(reader->stop) && !reader->wrong) {
        read_once(reader);
    }
    return NULL;
}

/* Rows of before the first are said to be removed now and then: fills under way are thrown away. */
static void
write_all(struct rig *rig)
{
    for (int time = 1; time <= SAMPLES; time++) {
        rig_sample(rig, 1, time);
        if (time % 100 == 0) {
            engine_hot_invalidate(rig->engine, TABLE_SAMPLES, INT64_MIN, 0);
        }
    }
}

static void
test_hot_cache_shows_every_applied_point_once_while_it_is_fed(void **state)
{
    struct rig *rig = *state;
    struct reader readers[READERS] = {0};
    struct engine_status status;
    atomic_bool stop = false;

    rig->options.hot_cache_bytes = 1 << 20;
    rig_open(rig);
    rig_applied(rig, rig_write(rig, TABLE_SERIES, "1|cpu|-|-\n"));
    for (int i = 0; i < READERS; i++) {
        readers[i] = (struct reader){.rig = rig, .stop = &stop};
        assert_int_equal(pthread_create(&readers[i].thread, NULL, read_all_the_time, &readers[i]),
                         0);
    }
    write_all(rig);
    rig_applied(rig, SAMPLES + 1);
    atomic_store(&stop, true);
    for (int i = 0; i < READERS; i++) {
        pthread_join(readers[i].thread, NULL);
        if (readers[i].wrong) {
            fail_msg("%s", readers[i].wrong);
        }
        assert_true(readers[i].reads > 0);
    }
    engine_status(rig->engine, &status);
    assert_true(status.hot.cache.hits > 0);
}

static void
test_hot_cache_forgets_all_when_the_store_is_opened_anew(void **state)
{
    struct store_scan scan = of_series_one(1);
    struct rig *rig = *state;
    struct engine_status status;
    struct batch rows;
    struct err err;

    rig->options.hot_cache_bytes = 1 << 20;
    rig_open(rig);
    rig_applied(rig, rig_write(rig, TABLE_SERIES, "1|cpu|-|-\n"));
    rig_applied(rig, rig_sample(rig, 1, 1));
    assert_int_equal(engine_scan(rig->engine, &scan, &rows, &err), ERR_OK);
    batch_fini(&rows);
    assert_int_equal(engine_scan(rig->engine, &scan, &rows, &err), ERR_OK);
    batch_fini(&rows);
    engine_status(rig->engine, &status);
    assert_int_equal(status.hot.cache.points, 1);
    atomic_store(&rig_plan.fail_code, ERR_INTERNAL);
    atomic_store(&rig_plan.fail_from, 1);
    atomic_store(&rig_plan.applies, 0);
    atomic_store(&rig_plan.fail_count, 1);
    rig_applied(rig, rig_sample(rig, 1, 2));
    engine_status(rig->engine, &status);
    assert_int_equal(status.hot.series_known, 0);
    assert_int_equal(engine_scan(rig->engine, &scan, &rows, &err), ERR_OK);
    assert_null(check_run(&rows, 1, 2));
    batch_fini(&rows);
}

static void
test_hot_cache_does_not_show_what_was_set_aside(void **state)
{
    struct store_scan scan = of_series_one(1);
    struct rig *rig = *state;
    struct engine_status status;
    struct batch rows;
    struct err err;

    rig->options.hot_cache_bytes = 1 << 20;
    rig_open(rig);
    rig_applied(rig, rig_write(rig, TABLE_SERIES, "1|cpu|-|-\n"));
    rig_applied(rig, rig_sample(rig, 1, 1));
    assert_int_equal(engine_scan(rig->engine, &scan, &rows, &err), ERR_OK);
    batch_fini(&rows);
    atomic_store(&rig_plan.fail_code, ERR_INVALID);
    atomic_store(&rig_plan.poison, 1);
    rig_applied(rig, rig_sample(rig, 1, 2));
    atomic_store(&rig_plan.poison, 0);
    rig_applied(rig, rig_sample(rig, 1, 3));
    engine_status(rig->engine, &status);
    assert_int_equal(status.records_set_aside, 1);
    assert_int_equal(engine_scan(rig->engine, &scan, &rows, &err), ERR_OK);
    assert_int_equal(rows.rows, 2);
    assert_int_equal(rows.columns[1].i64[1], 3);
    batch_fini(&rows);
}

static struct pg_testing server;

/* The same engine in front of a PostgreSQL; every test has a schema of its own. */
static int
setup_postgres(void **state)
{
    static char dsn[PG_TESTING_DSN];
    static unsigned tests;
    char schema[32];
    struct rig *rig;

    snprintf(schema, sizeof(schema), "test%u", tests++);
    if (!pg_testing_dsn(&server, schema, dsn)) {
        return -1;
    }
    rig_plan.open = store_postgres_open;
    rig_setup(state);
    rig = *state;
    rig->options.store_remote = true;
    rig->options.store.postgres =
        (struct store_postgres_options){.dsn = dsn, .max_connections = READERS + 1};
    return 0;
}

static int
setup_duckdb(void **state)
{
    rig_plan.open = store_duckdb_open;
    return rig_setup(state);
}

int
main(void)
{
    const struct CMUnitTest duckdb[] = {
        cmocka_unit_test(test_hot_cache_shows_every_applied_point_once_while_it_is_fed),
        cmocka_unit_test(test_hot_cache_forgets_all_when_the_store_is_opened_anew),
        cmocka_unit_test(test_hot_cache_does_not_show_what_was_set_aside),
    };
    struct CMUnitTest tests[2 * sizeof(duckdb) / sizeof(duckdb[0])];
    size_t count = sizeof(duckdb) / sizeof(duckdb[0]);
    int failed = 1;

    for (size_t i = 0; i < 2 * count; i++) {
        tests[i] = duckdb[i % count];
        tests[i].setup_func = i < count ? setup_duckdb : setup_postgres;
        tests[i].teardown_func = rig_teardown;
    }
    if (pg_testing_start(&server)) {
        failed = cmocka_run_group_tests_name("hot cache in an engine", tests, NULL, NULL);
    }
    pg_testing_end(&server);
    return failed;
}
