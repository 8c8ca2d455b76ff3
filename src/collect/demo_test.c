/* Tests of the demo collector: what it writes when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "collect/demo.h"

/* 2026-01-02T00:30:00.030 UTC: between two ticks, less than an hour behind midnight. */
#define NOW_US INT64_C(1767313800030000)
#define SECOND_US INT64_C(1000000)
#define TICK_US INT64_C(100000)

enum { SYMBOLS = 8, STRATEGIES = 3, BACKFILL_STEPS = 720 };

struct recorder {
    pthread_mutex_t lock;
    pthread_cond_t written;
    size_t writes;
    size_t rows[TABLE_ID_END];
    int64_t oldest_us, newest_us;
    uint64_t keys; /* of all rows: a sum, so that order does not matter */
    enum err_code answer;
};

struct fixture {
    struct clock_manual clock;
    struct recorder recorder;
    struct collect_demo *demo;
};

/* A checksum of a row's time and name (FNV-1a). */
static uint64_t
key_of(const struct batch *batch, size_t row, int64_t timestamp_us)
{
    struct slice name = {"", 0};
    uint64_t hash = (uint64_t)timestamp_us * 31 + batch->table->id;

    if (batch->table->id != TABLE_EXECUTION_METRICS) {
        name = batch_get_text(batch, batch->table->id == TABLE_TRADES ? 0 : 1, row);
    }
    for (size_t i = 0; i < name.len; i++) {
        hash = (hash ^ (unsigned char)name.ptr[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

static enum err_code
record(void *ctx, const struct batch *batches, size_t count, struct err *err)
{
    struct recorder *recorder = ctx;

    pthread_mutex_lock(&recorder->lock);
    recorder->writes++;
    enum err_code code = recorder->answer;
    for (size_t i = 0; i < count && !code; i++) {
        const struct batch *batch = &batches[i];
        recorder->rows[batch->table->id] += batch->rows;
        for (size_t row = 0; row < batch->rows; row++) {
            int64_t at = batch_get_i64(batch, (size_t)batch->table->time_column, row);
            recorder->keys += key_of(batch, row, at);
            recorder->oldest_us =
                recorder->oldest_us && recorder->oldest_us < at ? recorder->oldest_us : at;
            recorder->newest_us = recorder->newest_us > at ? recorder->newest_us : at;
        }
    }
    pthread_cond_broadcast(&recorder->written);
    pthread_mutex_unlock(&recorder->lock);
    return code ? err_set(err, code, "no room") : ERR_OK;
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    clock_manual_init(&f->clock, NOW_US);
    pthread_mutex_init(&f->recorder.lock, NULL);
    pthread_cond_init(&f->recorder.written, NULL);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    collect_demo_stop(f->demo);
    pthread_cond_destroy(&f->recorder.written);
    pthread_mutex_destroy(&f->recorder.lock);
    free(f);
    return 0;
}

static void
start(struct fixture *f, struct collect_demo_options options)
{
    options.sink = (struct collect_sink){record, &f->recorder};
    options.clock = options.manual ? &f->clock.clock : NULL;
    collect_demo_start(&options, &f->demo);
}

static void
test_demo_writes_quotes_each_tick_and_metrics_each_second(void **state)
{
    struct fixture *f = *state;
    size_t *rows = f->recorder.rows;

    start(f, (struct collect_demo_options){.manual = true});
    collect_demo_step(f->demo);
    assert_int_equal(f->recorder.writes, 0); /* nothing is due yet */
    clock_manual_advance(&f->clock, TICK_US);
    collect_demo_step(f->demo);
    assert_int_equal(f->recorder.writes, 1);
    assert_int_equal(rows[TABLE_MARKET_DATA], SYMBOLS);
    assert_int_equal(f->recorder.oldest_us, NOW_US - 30000 + TICK_US);
    for (int i = 0; i < 99; i++) {
        clock_manual_advance(&f->clock, TICK_US);
        collect_demo_step(f->demo);
    }
    assert_int_equal(f->recorder.writes, 100);
    assert_int_equal(rows[TABLE_MARKET_DATA], 100 * SYMBOLS);
    assert_int_equal(rows[TABLE_STRATEGY_METRICS], 10 * STRATEGIES);
    assert_int_equal(rows[TABLE_EXECUTION_METRICS], 10);
    assert_true(rows[TABLE_TRADES] > 0);
    assert_int_equal(rows[TABLE_SYSTEM_METRICS], 0);
}

static void
test_demo_fills_the_last_hour_first(void **state)
{
    struct fixture *f = *state;
    size_t *rows = f->recorder.rows;
    struct collect_status status;

    start(f, (struct collect_demo_options){.manual = true, .backfill_minutes = 60});
    collect_demo_step(f->demo);
    assert_int_equal(f->recorder.oldest_us, NOW_US - 30000 - 3600 * SECOND_US);
    assert_in_range(rows[TABLE_MARKET_DATA], BACKFILL_STEPS * SYMBOLS,
                    (BACKFILL_STEPS + 2) * SYMBOLS);
    assert_in_range(rows[TABLE_STRATEGY_METRICS], BACKFILL_STEPS * STRATEGIES,
                    (BACKFILL_STEPS + 2) * STRATEGIES);
    assert_true(rows[TABLE_TRADES] > 3000);
    assert_true(f->recorder.newest_us <= NOW_US);
    assert_in_range(f->recorder.writes, 2, 6);
    collect_demo_status(f->demo, &status);
    assert_string_equal(status.name, "demo");
    assert_int_equal(status.errors, 0);
    assert_int_equal(status.metrics_collected,
                     rows[TABLE_MARKET_DATA] + rows[TABLE_STRATEGY_METRICS] +
                         rows[TABLE_EXECUTION_METRICS] + rows[TABLE_TRADES]);
}

static void
test_demo_backfill_has_the_same_keys_again(void **state)
{
    struct fixture *f = *state;

    start(f, (struct collect_demo_options){.manual = true, .backfill_minutes = 60});
    collect_demo_step(f->demo);
    collect_demo_stop(f->demo);
    struct recorder first = f->recorder;
    f->recorder.keys = 0;
    start(f, (struct collect_demo_options){.manual = true, .backfill_minutes = 60});
    collect_demo_step(f->demo);
    assert_true(f->recorder.keys == first.keys);
    collect_demo_stop(f->demo);
    f->recorder.keys = 0;
    start(f, (struct collect_demo_options){.manual = true, .backfill_minutes = 60, .seed = 99});
    collect_demo_step(f->demo);
    assert_false(f->recorder.keys == first.keys); /* other trades */
}

static void
test_demo_counts_a_failed_write_and_goes_on(void **state)
{
    struct fixture *f = *state;
    struct collect_status status;

    start(f, (struct collect_demo_options){.manual = true});
    collect_demo_step(f->demo);
    f->recorder.answer = ERR_NO_SPACE;
    clock_manual_advance(&f->clock, TICK_US);
    collect_demo_step(f->demo);
    collect_demo_status(f->demo, &status);
    assert_int_equal(status.errors, 1);
    assert_string_equal(status.last_error, "no room");
    f->recorder.answer = ERR_OK;
    clock_manual_advance(&f->clock, TICK_US);
    collect_demo_step(f->demo);
    collect_demo_status(f->demo, &status);
    assert_int_equal(status.errors, 1);
    assert_int_equal(f->recorder.rows[TABLE_MARKET_DATA], SYMBOLS);
}

static void
test_demo_follows_a_clock_that_jumps(void **state)
{
    struct fixture *f = *state;
    size_t *rows = f->recorder.rows;

    start(f, (struct collect_demo_options){.manual = true});
    collect_demo_step(f->demo);
    clock_manual_advance(&f->clock, 5 * 3600 * SECOND_US); /* the machine slept */
    collect_demo_step(f->demo);
    assert_int_equal(rows[TABLE_MARKET_DATA], SYMBOLS);
    assert_in_range(rows[TABLE_TRADES], 3000, 4000); /* an hour of them */
    clock_manual_advance(&f->clock, -2 * 3600 * SECOND_US);
    collect_demo_step(f->demo);
    clock_manual_advance(&f->clock, TICK_US);
    collect_demo_step(f->demo);
    assert_int_equal(rows[TABLE_MARKET_DATA], 2 * SYMBOLS);
}

static void
test_demo_thread_writes_until_stopped(void **state)
{
    struct fixture *f = *state;
    struct recorder *recorder = &f->recorder;

    start(f, (struct collect_demo_options){.backfill_minutes = 5, .tick_ms = 100});
    pthread_mutex_lock(&recorder->lock);
    while (recorder->writes < 3) {
        pthread_cond_wait(&recorder->written, &recorder->lock);
    }
    pthread_mutex_unlock(&recorder->lock);
    collect_demo_stop(f->demo);
    f->demo = NULL;
    assert_true(recorder->rows[TABLE_MARKET_DATA] >= 60 * SYMBOLS);
}

static void
test_demo_can_be_stopped_at_once(void **state)
{
    struct fixture *f = *state;

    start(f, (struct collect_demo_options){.backfill_minutes = 100000});
    collect_demo_stop(f->demo);
    f->demo = NULL;
    collect_demo_stop(NULL);
    assert_true(f->recorder.rows[TABLE_EXECUTION_METRICS] <= 1440 * 12 + 2);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_demo_writes_quotes_each_tick_and_metrics_each_second),
        TEST(test_demo_fills_the_last_hour_first),
        TEST(test_demo_backfill_has_the_same_keys_again),
        TEST(test_demo_counts_a_failed_write_and_goes_on),
        TEST(test_demo_follows_a_clock_that_jumps),
        TEST(test_demo_thread_writes_until_stopped),
        TEST(test_demo_can_be_stopped_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
