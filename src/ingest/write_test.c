/* Values of one series: written without waiting, found again, refused when the ingest stops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* */
#include <cmocka.h>

#include "base/mem.h"
#include "ingest/fake_engine.h"

static const int64_t times[] = {FAKE_NOW_US, FAKE_NOW_US - 1};
static const double values[] = {1.5, -2};

static struct ingest_points
points_of(const char *name, size_t count)
{
    return (struct ingest_points){.name = slice_of(name),
                                  .symbol = slice_of("BTC"),
                                  .labels = slice_of("{\"venue\":\"x\"}"),
                                  .times_us = times,
                                  .values = values,
                                  .count = count};
}

static void
test_points_are_answered_when_they_are_durable(void **state)
{
    struct fake_world *world = mem_zalloc(1, sizeof(*world));
    const struct ingest_points points = points_of("m", 2);
    struct batch series, samples;

    (void)state;
    fake_world_init(world, FAKE_HELD, NULL);
    ingest_write_points(world->ingest, &points, fake_answer_done, &world->answer);
    assert_int_equal(world->answer.calls, 0);
    fake_engine_complete(&world->engine, 0, ERR_OK);
    assert_int_equal(world->answer.calls, 1);
    assert_int_equal(world->answer.answer.code, ERR_OK);
    assert_int_equal(world->answer.answer.accepted, 2);
    assert_int_equal(world->answer.answer.lsn, 1);
    assert_true(fake_engine_batch(&world->engine, 0, TABLE_SERIES, &series));
    assert_int_equal(series.rows, 1);
    assert_true(fake_engine_batch(&world->engine, 0, TABLE_SAMPLES, &samples));
    assert_int_equal(samples.rows, 2);
    int32_t id = ingest_find_series(world->ingest, points.name, points.symbol, points.labels);
    assert_true(id > 0);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(batch_get_i64(&samples, 0, i), id);
        assert_int_equal(batch_get_i64(&samples, 1, i), times[i]);
        assert_true(batch_get_f64(&samples, 2, i) == values[i]);
    }
    assert_int_equal(ingest_find_series(world->ingest, points.name, points.symbol, slice_of("")),
                     0);
    batch_fini(&series);
    batch_fini(&samples);
    fake_world_fini(world);
    free(world);
}

static void
test_points_that_write_nothing_are_answered_at_once(void **state)
{
    struct fake_world *world = mem_zalloc(1, sizeof(*world));
    const struct ingest_points none = points_of("m", 0);
    const struct ingest_points points = points_of("m", 2);

    (void)state;
    fake_world_init(world, FAKE_INSTANT, NULL);
    ingest_write_points(world->ingest, &none, fake_answer_done, &world->answer);
    assert_int_equal(world->answer.calls, 1);
    assert_int_equal(world->answer.answer.code, ERR_OK);
    assert_int_equal(world->answer.answer.lsn, 0);
    assert_int_equal(ingest_find_series(world->ingest, none.name, none.symbol, none.labels), 0);
    world->engine.fail_with = ERR_NO_SPACE;
    ingest_write_points(world->ingest, &points, fake_answer_done, &world->answer);
    assert_int_equal(world->answer.calls, 2);
    assert_int_equal(world->answer.answer.code, ERR_NO_SPACE);
    assert_int_equal(world->answer.answer.accepted, 0);
    fake_world_fini(world);
    free(world);
}

static void
test_stop_refuses_writes_and_leaves_the_rest_usable(void **state)
{
    struct fake_world *world = mem_zalloc(1, sizeof(*world));
    const struct ingest_points points = points_of("m", 2);
    struct ingest_stats stats;

    (void)state;
    fake_world_init(world, FAKE_INSTANT, NULL);
    ingest_write_points(world->ingest, &points, fake_answer_done, &world->answer);
    ingest_stop(world->ingest);
    ingest_write_points(world->ingest, &points, fake_answer_done, &world->answer);
    assert_int_equal(world->answer.calls, 2);
    assert_int_equal(world->answer.answer.code, ERR_UNAVAILABLE);
    ingest_write_start(world->ingest, NULL, 0, fake_answer_done, &world->answer);
    assert_int_equal(world->answer.calls, 3);
    assert_int_equal(world->answer.answer.code, ERR_UNAVAILABLE);
    assert_true(ingest_find_series(world->ingest, points.name, points.symbol, points.labels) > 0);
    ingest_stats(world->ingest, &stats);
    assert_int_equal(stats.rows, 2);
    assert_int_equal(world->engine.record_count, 1);
    fake_world_fini(world);
    free(world);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_points_are_answered_when_they_are_durable),
        cmocka_unit_test(test_points_that_write_nothing_are_answered_at_once),
        cmocka_unit_test(test_stop_refuses_writes_and_leaves_the_rest_usable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
