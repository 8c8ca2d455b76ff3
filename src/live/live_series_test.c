/* Tests of the last points of series. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "live/live.h"

/* 2026-01-02T03:04:05 UTC. */
#define NOW_US INT64_C(1767323045000000)

struct fixture {
    struct live *live;
    struct buf json;
    struct batch batch;
    uint64_t lsn;
};

static void
open_with(struct fixture *f, struct live_options options)
{
    live_close(f->live);
    live_open(&options, &f->live);
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    buf_init(&f->json, 0);
    open_with(f, (struct live_options){0});
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    live_close(f->live);
    buf_fini(&f->json);
    free(f);
    return 0;
}

static size_t
column(const struct batch *batch, const char *name)
{
    int index = batch_column_index(batch, slice_of(name));

    assert_true(index >= 0);
    return (size_t)index;
}

static void
begin(struct fixture *f, enum table_id table)
{
    batch_init(&f->batch, catalog_table(table), 1 << 20);
}

static void
put(struct fixture *f, const char *name, double value)
{
    size_t at = column(&f->batch, name);
    size_t row = f->batch.rows - 1;

    if (f->batch.columns[at].type == COL_DOUBLE) {
        batch_set_f64(&f->batch, at, row, value);
    } else if (f->batch.columns[at].type == COL_INT32) {
        batch_set_i32(&f->batch, at, row, (int32_t)value);
    } else {
        batch_set_i64(&f->batch, at, row, (int64_t)value);
    }
}

static void
put_text(struct fixture *f, const char *name, const char *text)
{
    batch_set_text(&f->batch, column(&f->batch, name), f->batch.rows - 1,
                   batch_keep_text(&f->batch, slice_of(text)));
}

static void
add_at(struct fixture *f, int64_t timestamp_us)
{
    batch_add_row(&f->batch);
    batch_set_i64(&f->batch, column(&f->batch, "timestamp"), f->batch.rows - 1, timestamp_us);
}

static void
commit(struct fixture *f)
{
    live_update(f->live, &f->batch, 1, ++f->lsn);
    batch_fini(&f->batch);
}

static void
assert_has(const char *json, const char *wanted)
{
    if (!strstr(json, wanted)) {
        fail_msg("%s\nis not in\n%s", wanted, json);
    }
}

static void
series(struct fixture *f, int id, const char *name, const char *symbol, const char *labels)
{
    begin(f, TABLE_SERIES);
    batch_add_row(&f->batch);
    put(f, "series_id", id);
    put_text(f, "metric_name", name);
    if (symbol) {
        put_text(f, "symbol", symbol);
    }
    if (labels) {
        put_text(f, "labels", labels);
    }
    commit(f);
}

static void
sample(struct fixture *f, int id, int64_t timestamp_us, double value)
{
    begin(f, TABLE_SAMPLES);
    add_at(f, timestamp_us);
    put(f, "series_id", id);
    put(f, "value", value);
    commit(f);
}

static size_t
last_points(struct fixture *f, const char *metric, size_t limit)
{
    buf_reset(&f->json);
    size_t count = live_last_points(f->live, slice_of(metric), limit, &f->json);
    buf_add_char(&f->json, '\0');
    return count;
}

static void
test_live_last_points_of_named_series(void **state)
{
    struct fixture *f = *state;

    series(f, 0, "load", NULL, "{\"host\":\"a\"}");
    series(f, 5000, "load", NULL, "{\"host\":\"b\"}");
    series(f, 3, "price", "AAPL", NULL);
    sample(f, 0, NOW_US, 1);
    sample(f, 0, NOW_US - 1, 2); /* late */
    sample(f, 3, NOW_US, 3);
    sample(f, 3, NOW_US, 4); /* same time, later record */
    sample(f, 5000, NOW_US, INFINITY);
    sample(f, 7, NOW_US, 5); /* without a name */
    assert_int_equal(last_points(f, "load", 0), 2);
    assert_string_equal(f->json.ptr, "[{\"metric_name\":\"load\",\"symbol\":null,"
                                     "\"labels\":{\"host\":\"a\"},\"value\":1.0,"
                                     "\"timestamp\":\"2026-01-02T03:04:05\"},"
                                     "{\"metric_name\":\"load\",\"symbol\":null,"
                                     "\"labels\":{\"host\":\"b\"},\"value\":null,"
                                     "\"timestamp\":\"2026-01-02T03:04:05\"}]");
    assert_int_equal(last_points(f, "", 0), 3);
    assert_has(f->json.ptr, "{\"metric_name\":\"price\",\"symbol\":\"AAPL\",\"labels\":null,"
                            "\"value\":4.0,");
    assert_int_equal(last_points(f, "", 2), 2);
    assert_int_equal(last_points(f, "none", 0), 0);
    assert_string_equal(f->json.ptr, "[]");
}

static void
test_live_series_are_bounded(void **state)
{
    struct fixture *f = *state;
    struct live_stats stats;

    open_with(f, (struct live_options){.series_max = 10, .series_text_bytes = 100});
    series(f, 9, "m", NULL, NULL);
    series(f, 10, "m", NULL, NULL);
    series(f, 8,
           "a name of more than a hundred bytes, a name of more than a hundred bytes, "
           "a name of more than a hundred bytes",
           NULL, NULL);
    sample(f, 9, NOW_US, 1);
    sample(f, 10, NOW_US, 1);
    sample(f, -1, NOW_US, 1);
    live_stats(f->live, &stats);
    assert_int_equal(stats.series_refused, 4);
    assert_int_equal(stats.series, 1);
    assert_int_equal(last_points(f, "", 0), 1);
}

static void
test_live_load_takes_answers_by_column_name(void **state)
{
    struct fixture *f = *state;

    batch_init_answer(&f->batch, 1 << 16);
    batch_add_column(&f->batch, slice_of("value"), COL_DOUBLE);
    batch_add_column(&f->batch, slice_of("timestamp"), COL_TIMESTAMP);
    batch_add_column(&f->batch, slice_of("series_id"), COL_INT64);
    add_at(f, NOW_US);
    put(f, "series_id", 4);
    put(f, "value", 2.5);
    live_load(f->live, TABLE_SAMPLES, &f->batch);
    batch_fini(&f->batch);
    series(f, 4, "m", NULL, NULL);
    last_points(f, "m", 0);
    assert_has(f->json.ptr, "\"value\":2.5");
}

static void
test_live_load_keeps_points_that_came_live(void **state)
{
    struct fixture *f = *state;

    series(f, 0, "m", NULL, NULL);
    sample(f, 0, NOW_US, 5);
    begin(f, TABLE_SAMPLES);
    add_at(f, NOW_US);
    put(f, "series_id", 0);
    put(f, "value", 1);
    live_load(f->live, TABLE_SAMPLES, &f->batch);
    batch_fini(&f->batch);
    last_points(f, "m", 0);
    assert_has(f->json.ptr, "\"value\":5.0");
}

static void *
race_main(void *ctx)
{
    struct buf json;

    buf_init(&json, 0);
    for (int i = 0; i < 200; i++) {
        buf_reset(&json);
        live_last_points(ctx, slice_of(""), 0, &json);
    }
    buf_fini(&json);
    return NULL;
}

static void
test_live_last_points_and_the_writer_do_not_race(void **state)
{
    struct fixture *f = *state;
    pthread_t thread;
    char name[16];

    assert_int_equal(pthread_create(&thread, NULL, race_main, f->live), 0);
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        series(f, i, name, NULL, NULL);
        sample(f, i * 7, NOW_US + i, i);
    }
    pthread_join(thread, NULL);
    assert_int_equal(last_points(f, "n7", 0), 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_live_last_points_of_named_series, setup, teardown),
        cmocka_unit_test_setup_teardown(test_live_series_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_live_load_takes_answers_by_column_name, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_live_load_keeps_points_that_came_live, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_live_last_points_and_the_writer_do_not_race, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
