/* Tests of the ingest as a whole: opening, ready batches, the sink, statistics, many threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "ingest/fake_engine.h"

static struct fake_world *
open_world(enum fake_mode mode, const struct ingest_options *options)
{
    struct fake_world *world = mem_zalloc(1, sizeof(*world));

    fake_world_init(world, mode, options);
    return world;
}

static void
close_world(struct fake_world *world)
{
    fake_world_fini(world);
    free(world);
}

static void
put_series(struct batch *batch, int32_t id, const char *name, const char *labels)
{
    size_t row = batch_add_row(batch);

    batch_set_i32(batch, SERIES_ID, row, id);
    batch_set_text(batch, SERIES_NAME, row, slice_of(name));
    if (*labels) {
        batch_set_text(batch, SERIES_LABELS, row, slice_of(labels));
    }
}

static void
test_open_loads_series_and_gives_new_ids_behind_them(void **state)
{
    struct fake_engine engine;
    struct ingest *ingest;
    struct fake_answer answer;
    struct batch batch;

    (void)state;
    fake_engine_init(&engine, FAKE_INSTANT);
    batch_init(&engine.series, catalog_table(TABLE_SERIES), 1 << 20);
    put_series(&engine.series, 7, "m", "{\"h\":\"a\"}");
    put_series(&engine.series, 3, "m", "");
    struct ingest_options options = {.engine = fake_engine_as_engine(&engine)};
    assert_int_equal(ingest_open_with(&options, &fake_engine_ops, &ingest, NULL), ERR_OK);
    struct ingest_request request = {.body = slice_of("m,h=a value=1\nm value=2\nn value=3\n"),
                                     .format = INGEST_LINE};
    fake_answer_init(&answer);
    ingest_submit(ingest, &request, fake_answer_done, &answer);
    assert_int_equal(answer.answer.code, ERR_OK);
    assert_true(fake_engine_batch(&engine, 0, TABLE_SAMPLES, &batch));
    assert_int_equal(batch_get_i64(&batch, 0, 0), 7);
    assert_int_equal(batch_get_i64(&batch, 0, 1), 3);
    assert_int_equal(batch_get_i64(&batch, 0, 2), 8);
    batch_fini(&batch);
    /* Only the new one has to be defined. */
    assert_true(fake_engine_batch(&engine, 0, TABLE_SERIES, &batch));
    assert_int_equal(batch.rows, 1);
    batch_fini(&batch);
    ingest_close(ingest);
    fake_answer_fini(&answer);
    fake_engine_fini(&engine);
}

static void
test_open_loads_idempotency_keys_of_a_day(void **state)
{
    struct fake_world *world = open_world(FAKE_INSTANT, NULL);
    struct ingest_request request = {.body = slice_of("m value=1\nm value=2\n"),
                                     .format = INGEST_LINE,
                                     .idempotency_key = slice_of("key-1")};
    struct batch batch;

    (void)state;
    assert_int_equal(fake_world_submit(world, &request)->code, ERR_OK);
    /* What was written is what the next start finds in the store. */
    assert_true(fake_engine_batch(&world->engine, 0, TABLE_IDEMPOTENCY, &batch));
    batch_init(&world->engine.keys, catalog_table(TABLE_IDEMPOTENCY), 1 << 20);
    batch_copy_row(&world->engine.keys, &batch, 0);
    struct ingest_options options = world->ingest->options;
    ingest_close(world->ingest);
    assert_int_equal(ingest_open_with(&options, &fake_engine_ops, &world->ingest, NULL), ERR_OK);
    assert_int_equal(world->engine.key_scan.from_us, FAKE_NOW_US - IDEMPOTENCY_KEEP_US);
    assert_int_equal(world->engine.key_scan.limit, IDEMPOTENCY_KEYS_MAX);
    const struct ingest_answer *answer = fake_world_submit(world, &request);
    assert_int_equal(answer->code, ERR_OK);
    assert_true(answer->replayed);
    assert_int_equal(answer->accepted, 2);
    assert_int_equal(answer->lsn, 0);
    request.body = slice_of("m value=3\n");
    assert_int_equal(fake_world_submit(world, &request)->code, ERR_CONFLICT);
    assert_int_equal(world->engine.record_count, 1);
    batch_fini(&batch);
    close_world(world);
}

static void
test_open_fails_when_the_store_cannot_tell(void **state)
{
    struct fake_engine engine;
    struct ingest *ingest = NULL;
    struct err err;

    (void)state;
    fake_engine_init(&engine, FAKE_INSTANT);
    engine.wait_code = ERR_TIMEOUT;
    struct ingest_options options = {.engine = fake_engine_as_engine(&engine)};
    assert_int_equal(ingest_open_with(&options, &fake_engine_ops, &ingest, &err), ERR_TIMEOUT);
    assert_null(ingest);
    assert_string_equal(err.msg, "waiting for the store to apply the log: the store of the test is "
                                 "stalled");
    engine.wait_code = ERR_OK;
    batch_init(&engine.series, catalog_table(TABLE_SERIES), 1 << 20);
    put_series(&engine.series, 1, "a", "");
    put_series(&engine.series, 1, "b", "");
    assert_int_equal(ingest_open_with(&options, &fake_engine_ops, &ingest, &err), ERR_CORRUPT);
    assert_null(ingest);
    fake_engine_fini(&engine);
}

/* A sink that counts and notes whether the order is wrong; it runs on any thread. */
struct sink {
    bool out_of_order;
    uint64_t lsn;
    uint64_t rows[TABLE_ID_END];
};

static void
count_batches(void *ctx, const struct batch *batches, size_t count, uint64_t lsn)
{
    struct sink *sink = ctx;

    sink->out_of_order |= lsn <= sink->lsn;
    sink->lsn = lsn;
    for (size_t i = 0; i < count; i++) {
        sink->rows[batches[i].table->id] += batches[i].rows;
    }
}

static void
test_sink_gets_every_durable_batch_and_no_other(void **state)
{
    struct sink sink = {0};
    struct ingest_options options = {.sink = count_batches, .sink_ctx = &sink};
    struct fake_world *world = open_world(FAKE_INSTANT, &options);
    struct ingest_request request = {.body = slice_of("m value=1\nmarket_data,symbol=A bid=1\n"),
                                     .format = INGEST_LINE,
                                     .idempotency_key = slice_of("k")};

    (void)state;
    fake_world_submit(world, &request);
    fake_world_submit(world, &request);
    world->engine.fail_with = ERR_IO;
    fake_world_line(world, "m value=2\n");
    world->engine.fail_with = ERR_OK;
    fake_world_line(world, "m value=3\nm value=4\n");
    assert_int_equal(sink.lsn, 2);
    assert_false(sink.out_of_order);
    assert_int_equal(sink.rows[TABLE_SERIES], 1);
    assert_int_equal(sink.rows[TABLE_SAMPLES], 3);
    assert_int_equal(sink.rows[TABLE_MARKET_DATA], 1);
    assert_int_equal(sink.rows[TABLE_IDEMPOTENCY], 0);
    close_world(world);
}

static void
test_stats_count_what_was_taken_and_refused(void **state)
{
    struct fake_world *world = open_world(FAKE_INSTANT, NULL);
    struct ingest_request request = {
        .body = slice_of("m value=1\nm value=x\n"), .format = INGEST_LINE, .skip_bad_rows = true};
    struct ingest_stats stats;

    (void)state;
    fake_world_submit(world, &request);
    request.skip_bad_rows = false;
    fake_world_submit(world, &request);
    fake_world_json(world, TABLE_MARKET_DATA, "[{\"symbol\":\"A\"},{\"symbol\":\"B\"}]");
    ingest_stats(world->ingest, &stats);
    assert_int_equal(stats.requests, 3);
    assert_int_equal(stats.requests_refused, 1);
    assert_int_equal(stats.rows, 3);
    assert_int_equal(stats.rows_rejected, 2);
    assert_int_equal(stats.bytes, 20 + 31);
    assert_int_equal(stats.series, 1);
    assert_int_equal(stats.rows_by_table[TABLE_SAMPLES], 1);
    assert_int_equal(stats.rows_by_table[TABLE_SERIES], 1);
    assert_int_equal(stats.rows_by_table[TABLE_MARKET_DATA], 2);
    close_world(world);
}

static void
put_metric(struct batch *batch, const char *name, double value, const char *labels)
{
    size_t row = batch_add_row(batch);

    batch_set_i64(batch, METRIC_TIMESTAMP, row, FAKE_NOW_US);
    batch_set_text(batch, METRIC_NAME, row, slice_of(name));
    batch_set_f64(batch, METRIC_VALUE, row, value);
    if (*labels) {
        batch_set_text(batch, METRIC_LABELS, row, slice_of(labels));
    }
}

static void
test_write_makes_one_record_of_ready_batches(void **state)
{
    struct sink sink = {0};
    struct ingest_options options = {.sink = count_batches, .sink_ctx = &sink};
    struct fake_world *world = open_world(FAKE_INSTANT, &options);
    struct batch batches[2];
    struct batch found;
    uint64_t lsn = 0;

    (void)state;
    batch_init(&batches[0], catalog_table(TABLE_SYSTEM_METRICS), 0);
    batch_init(&batches[1], catalog_table(TABLE_METRICS), 0);
    size_t row = batch_add_row(&batches[0]);
    for (size_t i = 0; i < batches[0].column_count; i++) {
        if (batches[0].columns[i].type == COL_DOUBLE) {
            batch_set_f64(&batches[0], i, row, 1.5);
        }
    }
    batch_set_i64(&batches[0], 0, row, FAKE_NOW_US);
    batch_set_text(&batches[0], 5, row, slice_of("healthy"));
    batch_set_i32(&batches[0], 6, row, 0);
    put_metric(&batches[1], "up", 1, "{\"job\":\"x\"}");
    put_metric(&batches[1], "up", 0, "{\"job\":\"y\"}");
    assert_int_equal(ingest_write(world->ingest, batches, 2, &lsn, NULL), ERR_OK);
    assert_int_equal(lsn, 1);
    assert_true(fake_engine_batch(&world->engine, 0, TABLE_SERIES, &found));
    assert_int_equal(found.rows, 2);
    batch_fini(&found);
    assert_true(fake_engine_batch(&world->engine, 0, TABLE_SAMPLES, &found));
    assert_int_equal(found.rows, 2);
    batch_fini(&found);
    assert_true(fake_engine_batch(&world->engine, 0, TABLE_SYSTEM_METRICS, &found));
    assert_int_equal(found.rows, 1);
    batch_fini(&found);
    assert_int_equal(sink.rows[TABLE_SYSTEM_METRICS], 1);
    assert_int_equal(sink.rows[TABLE_SAMPLES], 2);
    batch_fini(&batches[0]);
    batch_fini(&batches[1]);
    close_world(world);
}

static void
test_write_refuses_what_replay_could_not_take(void **state)
{
    struct fake_world *world = open_world(FAKE_INSTANT, NULL);
    struct batch batch;
    uint64_t lsn = 77;
    struct err err;

    (void)state;
    batch_init(&batch, catalog_table(TABLE_METRICS), 0);
    put_metric(&batch, "up", 1, "");
    put_metric(&batch, "up", 1, "[]");
    assert_int_equal(ingest_write(world->ingest, &batch, 1, &lsn, &err), ERR_INVALID);
    assert_string_equal(err.msg, "trading_metrics, row 1, labels: expected a JSON object of label "
                                 "names and values, got \"[]\"");
    batch_reset(&batch);
    batch_add_row(&batch);
    assert_int_equal(ingest_write(world->ingest, &batch, 1, &lsn, &err), ERR_INVALID);
    assert_string_equal(err.msg, "trading_metrics, row 0, timestamp: expected an ISO 8601 time or "
                                 "an integer (required)");
    batch_fini(&batch);
    batch_init(&batch, catalog_table(TABLE_SAMPLES), 0);
    assert_int_equal(ingest_write(world->ingest, &batch, 1, &lsn, &err), ERR_INVALID);
    assert_string_equal(err.msg, "table samples is not written by batches; write metrics");
    batch_fini(&batch);
    assert_int_equal(lsn, 77);
    assert_int_equal(world->engine.record_count, 0);
    close_world(world);
}

static void
test_write_of_nothing_is_fine_and_failures_are_told(void **state)
{
    struct fake_world *world = open_world(FAKE_INSTANT, NULL);
    struct batch batch;
    uint64_t lsn = 77;
    struct err err;

    (void)state;
    batch_init(&batch, catalog_table(TABLE_METRICS), 0);
    assert_int_equal(ingest_write(world->ingest, &batch, 1, &lsn, &err), ERR_OK);
    assert_int_equal(lsn, 0);
    assert_int_equal(ingest_write(world->ingest, NULL, 0, NULL, &err), ERR_OK);
    put_metric(&batch, "up", 1, "");
    world->engine.fail_with = ERR_NO_SPACE;
    lsn = 77;
    assert_int_equal(ingest_write(world->ingest, &batch, 1, &lsn, &err), ERR_NO_SPACE);
    assert_int_equal(lsn, 77);
    assert_string_equal(err.msg, "nothing was written: the disk of the test failed");
    batch_fini(&batch);
    close_world(world);
}

static void
test_series_that_is_unknown_is_not_found(void **state)
{
    struct fake_world *world = open_world(FAKE_INSTANT, NULL);
    struct slice text = slice_of("untouched");

    (void)state;
    assert_false(ingest_series(world->ingest, 1, &text, &text, &text));
    assert_false(ingest_series(world->ingest, 0, &text, &text, &text));
    assert_false(ingest_series(world->ingest, -5, &text, &text, &text));
    assert_true(slice_is(text, "untouched"));
    close_world(world);
}

static void
test_submit_after_close_began_is_refused(void **state)
{
    struct fake_world *world = open_world(FAKE_INSTANT, NULL);
    struct batch batch;
    struct err err;

    (void)state;
    world->ingest->closing = true;
    assert_int_equal(fake_world_line(world, "m value=1\n")->code, ERR_UNAVAILABLE);
    assert_true(world->answer.answer.retry_after_s > 0);
    batch_init(&batch, catalog_table(TABLE_METRICS), 0);
    assert_int_equal(ingest_write(world->ingest, &batch, 1, NULL, &err), ERR_UNAVAILABLE);
    batch_fini(&batch);
    assert_int_equal(world->engine.record_count, 0);
    close_world(world);
}

enum { THREADS = 4, REQUESTS = 150, LINES = 20 };

struct producer {
    struct fake_world *world;
    int number;
    struct fake_answer answers[REQUESTS];
    struct buf bodies[REQUESTS];
};

/* All threads write the same series, new ones all the time. */
static void *
produce(void *arg)
{
    struct producer *producer = arg;

    for (int i = 0; i < REQUESTS; i++) {
        struct buf *body = &producer->bodies[i];
        buf_init(body, 0);
        for (int line = 0; line < LINES; line++) {
            buf_add_fmt(body, "m,n=%d value=%d\n", i + line, producer->number);
        }
        fake_answer_init(&producer->answers[i]);
        struct ingest_request request = {.body = buf_slice(body), .format = INGEST_LINE};
        ingest_submit(producer->world->ingest, &request, fake_answer_done, &producer->answers[i]);
    }
    return NULL;
}

/* Every sample's series is defined in its own record or in one before. */
static void
check_definitions(struct fake_engine *engine, size_t *ret_samples)
{
    enum { IDS = REQUESTS + LINES + 1 };
    bool defined[IDS] = {false};
    struct batch batch;

    *ret_samples = 0;
    for (size_t i = 0; i < engine->record_count; i++) {
        if (fake_engine_batch(engine, i, TABLE_SERIES, &batch)) {
            for (size_t row = 0; row < batch.rows; row++) {
                int64_t id = batch_get_i64(&batch, 0, row);
                assert_true(id > 0 && id < IDS);
                defined[id] = true;
            }
            batch_fini(&batch);
        }
        assert_true(fake_engine_batch(engine, i, TABLE_SAMPLES, &batch));
        for (size_t row = 0; row < batch.rows; row++) {
            assert_true(defined[batch_get_i64(&batch, 0, row)]);
        }
        *ret_samples += batch.rows;
        batch_fini(&batch);
    }
}

static void
run_producers(struct fake_world *world, uint64_t *ret_accepted)
{
    struct producer *producers = mem_zalloc(THREADS, sizeof(*producers));
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++) {
        producers[i].world = world;
        producers[i].number = i;
        assert_int_equal(pthread_create(&threads[i], NULL, produce, &producers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    ingest_close(world->ingest);
    *ret_accepted = 0;
    for (int i = 0; i < THREADS; i++) {
        for (int j = 0; j < REQUESTS; j++) {
            struct fake_answer *answer = &producers[i].answers[j];
            assert_int_equal(answer->calls, 1);
            assert_true(answer->answer.code == ERR_OK || answer->answer.code == ERR_UNAVAILABLE);
            *ret_accepted += answer->answer.accepted;
            fake_answer_fini(answer);
            buf_fini(&producers[i].bodies[j]);
        }
    }
    free(producers);
}

static void
test_threads_never_leave_a_sample_without_its_series(void **state)
{
    struct sink sink = {0};
    struct ingest_options options = {.sink = count_batches, .sink_ctx = &sink};
    struct fake_world *world = open_world(FAKE_THREAD, &options);
    uint64_t accepted;
    size_t samples;

    (void)state;
    run_producers(world, &accepted);
    assert_true(world->engine.failures > 0);
    check_definitions(&world->engine, &samples);
    assert_int_equal(samples, accepted);
    assert_int_equal(sink.rows[TABLE_SAMPLES], accepted);
    assert_false(sink.out_of_order);
    fake_answer_fini(&world->answer);
    fake_engine_fini(&world->engine);
    free(world);
}

/* Records end in any order and some fail, while their series are in use by others. */
static void
test_records_ended_in_any_order_define_their_series(void **state)
{
    struct fake_world *world = open_world(FAKE_HELD, NULL);
    struct fake_answer answers[64];
    struct rng rng;
    size_t samples;

    (void)state;
    rng_init(&rng, 7);
    for (size_t i = 0; i < 64; i++) {
        char body[100];
        snprintf(body, sizeof(body), "m,n=%zu value=1\nm,n=%zu value=2\n", i / 8, i / 4);
        struct ingest_request request = {.body = slice_of(body), .format = INGEST_LINE};
        fake_answer_init(&answers[i]);
        ingest_submit(world->ingest, &request, fake_answer_done, &answers[i]);
        if (rng_below(&rng, 3) == 0) {
            size_t index = rng_below(&rng, world->engine.held_count);
            fake_engine_complete(&world->engine, index, rng_below(&rng, 2) ? ERR_OK : ERR_IO);
        }
    }
    while (world->engine.held_count > 0) {
        size_t index = rng_below(&rng, world->engine.held_count);
        fake_engine_complete(&world->engine, index, rng_below(&rng, 2) ? ERR_OK : ERR_IO);
    }
    assert_true(world->engine.failures > 10);
    check_definitions(&world->engine, &samples);
    assert_int_equal(samples, 2 * world->engine.record_count);
    for (size_t i = 0; i < 64; i++) {
        assert_int_equal(answers[i].calls, 1);
        fake_answer_fini(&answers[i]);
    }
    close_world(world);
}

/* The same keys by all threads at once: each is written at most once, all get the same answer. */
static void *
produce_keys(void *arg)
{
    struct producer *producer = arg;

    for (int i = 0; i < REQUESTS; i++) {
        char key[16];
        struct buf *body = &producer->bodies[i];
        snprintf(key, sizeof(key), "key-%d", i);
        buf_init(body, 0);
        buf_add_fmt(body, "m,n=1 value=%d\n", i);
        fake_answer_init(&producer->answers[i]);
        struct ingest_request request = {
            .body = buf_slice(body), .format = INGEST_LINE, .idempotency_key = slice_of(key)};
        ingest_submit(producer->world->ingest, &request, fake_answer_done, &producer->answers[i]);
    }
    return NULL;
}

static void
check_keys(struct fake_engine *engine, struct producer *producers)
{
    uint64_t lsn_of[REQUESTS] = {0};
    struct batch batch;

    for (size_t i = 0; i < engine->record_count; i++) {
        assert_true(fake_engine_batch(engine, i, TABLE_IDEMPOTENCY, &batch));
        struct slice key = batch_get_text(&batch, IDEMPOTENCY_KEY, 0);
        char text[16];
        assert_true(slice_to_cstr(key, text, sizeof(text)));
        long number = strtol(text + 4, NULL, 10);
        assert_int_equal(lsn_of[number], 0);
        lsn_of[number] = engine->records[i].lsn;
        batch_fini(&batch);
    }
    for (int i = 0; i < REQUESTS; i++) {
        for (int j = 0; j < THREADS; j++) {
            const struct fake_answer *answer = &producers[j].answers[i];
            assert_int_equal(answer->calls, 1);
            if (answer->answer.code == ERR_OK) {
                assert_int_equal(answer->answer.accepted, 1);
                assert_int_equal(answer->answer.lsn, lsn_of[i]);
            } else {
                assert_int_equal(answer->answer.code, ERR_UNAVAILABLE);
            }
        }
    }
}

static void
test_threads_with_the_same_keys_write_each_once(void **state)
{
    struct fake_world *world = open_world(FAKE_THREAD, NULL);
    struct producer *producers = mem_zalloc(THREADS, sizeof(*producers));
    pthread_t threads[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++) {
        producers[i].world = world;
        assert_int_equal(pthread_create(&threads[i], NULL, produce_keys, &producers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    ingest_close(world->ingest);
    assert_true(world->engine.failures > 0);
    check_keys(&world->engine, producers);
    for (int i = 0; i < THREADS; i++) {
        for (int j = 0; j < REQUESTS; j++) {
            fake_answer_fini(&producers[i].answers[j]);
            buf_fini(&producers[i].bodies[j]);
        }
    }
    free(producers);
    fake_answer_fini(&world->answer);
    fake_engine_fini(&world->engine);
    free(world);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_loads_series_and_gives_new_ids_behind_them),
        cmocka_unit_test(test_open_loads_idempotency_keys_of_a_day),
        cmocka_unit_test(test_open_fails_when_the_store_cannot_tell),
        cmocka_unit_test(test_sink_gets_every_durable_batch_and_no_other),
        cmocka_unit_test(test_stats_count_what_was_taken_and_refused),
        cmocka_unit_test(test_write_makes_one_record_of_ready_batches),
        cmocka_unit_test(test_write_refuses_what_replay_could_not_take),
        cmocka_unit_test(test_write_of_nothing_is_fine_and_failures_are_told),
        cmocka_unit_test(test_series_that_is_unknown_is_not_found),
        cmocka_unit_test(test_submit_after_close_began_is_refused),
        cmocka_unit_test(test_threads_never_leave_a_sample_without_its_series),
        cmocka_unit_test(test_records_ended_in_any_order_define_their_series),
        cmocka_unit_test(test_threads_with_the_same_keys_write_each_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
