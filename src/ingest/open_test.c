/* Tests of the ingest on the real engine: log on disk, memory store, restarts, many threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "ingest/ingest.h"
#include "store/memory/store_memory.h"

enum { WAIT_MS = 60000 };

struct place {
    char dir[64];
    struct engine *engine;
    struct ingest *ingest;
};

static void
start(struct place *place)
{
    struct engine_options options = {.data_dir = place->dir,
                                     .store_open = store_memory_open,
                                     .store_volatile = true,
                                     .wal = {.segment_bytes = 1 << 20}};
    struct err err;

    if (engine_open(&options, &place->engine, &err) != ERR_OK) {
        fail_msg("%s", err.msg);
    }
    struct ingest_options ingest = {.engine = place->engine};
    if (ingest_open(&ingest, &place->ingest, &err) != ERR_OK) {
        fail_msg("%s", err.msg);
    }
}

static void
stop(struct place *place)
{
    ingest_close(place->ingest);
    engine_close(place->engine);
}

static int
set_up(void **state)
{
    struct place *place = mem_zalloc(1, sizeof(*place));

    snprintf(place->dir, sizeof(place->dir), "/tmp/eider-ingest-XXXXXX");
    if (!mkdtemp(place->dir)) {
        return -1;
    }
    *state = place;
    start(place);
    return 0;
}

static int
remove_entry(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

static int
tear_down(void **state)
{
    struct place *place = *state;

    stop(place);
    int result = nftw(place->dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    free(place);
    return result;
}

/* A request somebody waits for. */
struct call {
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool is_done;
    struct ingest_answer answer; /* without the texts */
};

static void
on_done(void *ctx, const struct ingest_answer *answer)
{
    struct call *call = ctx;

    pthread_mutex_lock(&call->lock);
    call->answer = *answer;
    call->is_done = true;
    pthread_cond_signal(&call->done);
    pthread_mutex_unlock(&call->lock);
}

static struct ingest_answer
submit(struct ingest *ingest, const struct ingest_request *request)
{
    struct call call = {.lock = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};

    ingest_submit(ingest, request, on_done, &call);
    pthread_mutex_lock(&call.lock);
    while (!call.is_done) {
        pthread_cond_wait(&call.done, &call.lock);
    }
    pthread_mutex_unlock(&call.lock);
    pthread_cond_destroy(&call.done);
    pthread_mutex_destroy(&call.lock);
    return call.answer;
}

static uint64_t
count_rows(struct place *place, enum table_id table)
{
    struct store_scan scan = {.table = table, .from_us = INT64_MIN, .to_us = INT64_MAX};
    struct batch rows;
    struct err err;

    if (engine_scan(place->engine, &scan, &rows, &err) != ERR_OK) {
        fail_msg("%s", err.msg);
    }
    uint64_t count = rows.rows;
    batch_fini(&rows);
    return count;
}

static void
test_applied_rows_are_in_the_store_when_the_answer_comes(void **state)
{
    struct place *place = *state;
    struct ingest_request request = {.body = slice_of("cpu,host=a usage=1,idle=2 1000\n"
                                                      "cpu,host=b usage=3 2000\n"
                                                      "market_data,symbol=A bid=1 1000\n"),
                                     .format = INGEST_LINE,
                                     .wait_applied = true};
    struct ingest_answer answer = submit(place->ingest, &request);

    assert_int_equal(answer.code, ERR_OK);
    assert_int_equal(answer.accepted, 3);
    assert_true(answer.lsn > 0);
    assert_int_equal(count_rows(place, TABLE_SERIES), 3);
    assert_int_equal(count_rows(place, TABLE_SAMPLES), 3);
    assert_int_equal(count_rows(place, TABLE_MARKET_DATA), 1);
}

static void
test_restart_keeps_series_ids_and_idempotency_keys(void **state)
{
    struct place *place = *state;
    struct ingest_request request = {.body = slice_of("cpu,host=a usage=1 1000\n"),
                                     .format = INGEST_LINE,
                                     .wait_applied = true,
                                     .idempotency_key = slice_of("key-1")};
    struct slice name;
    struct slice symbol;
    struct slice labels;

    assert_int_equal(submit(place->ingest, &request).code, ERR_OK);
    stop(place);
    start(place);
    assert_true(ingest_series(place->ingest, 1, &name, &symbol, &labels));
    assert_true(slice_is(name, "cpu_usage"));
    assert_int_equal(symbol.len, 0);
    assert_true(slice_is(labels, "{\"host\":\"a\"}"));
    struct ingest_answer answer = submit(place->ingest, &request);
    assert_int_equal(answer.code, ERR_OK);
    assert_true(answer.replayed);
    assert_int_equal(answer.accepted, 1);
    request.body = slice_of("cpu,host=a usage=2 2000\n");
    assert_int_equal(submit(place->ingest, &request).code, ERR_CONFLICT);
    request.idempotency_key = slice_of("key-2");
    assert_int_equal(submit(place->ingest, &request).code, ERR_OK);
    assert_int_equal(count_rows(place, TABLE_SERIES), 1);
    assert_int_equal(count_rows(place, TABLE_SAMPLES), 2);
}

enum { THREADS = 4, ROUNDS = 50 };

struct producer {
    struct place *place;
    int number;
    uint64_t accepted;
};

/* Odd ones write ready batches, even ones bodies; the series are the same. */
static void *
produce(void *arg)
{
    struct producer *producer = arg;
    struct batch batch;
    char labels[ROUNDS][32];
    char line[64];

    batch_init(&batch, catalog_table(TABLE_METRICS), 0);
    for (int i = 0; i < ROUNDS; i++) {
        if (producer->number % 2) {
            size_t row = batch_add_row(&batch);
            snprintf(labels[i], sizeof(labels[i]), "{\"n\":\"%d\"}", i);
            batch_set_i64(&batch, 0, row, i);
            batch_set_text(&batch, 1, row, slice_of("m"));
            batch_set_f64(&batch, 2, row, 1);
            batch_set_text(&batch, 4, row, slice_of(labels[i]));
            uint64_t lsn = 0;
            if (ingest_write(producer->place->ingest, &batch, 1, &lsn, NULL) == ERR_OK) {
                producer->accepted += batch.rows;
            }
            batch_reset(&batch);
        } else {
            snprintf(line, sizeof(line), "m,n=%d value=1 %d\n", i, i);
            struct ingest_request request = {.body = slice_of(line), .format = INGEST_LINE};
            producer->accepted += submit(producer->place->ingest, &request).accepted;
        }
    }
    batch_fini(&batch);
    return NULL;
}

static void
test_threads_write_bodies_and_batches_side_by_side(void **state)
{
    struct place *place = *state;
    struct producer producers[THREADS];
    pthread_t threads[THREADS];
    struct engine_status status;
    uint64_t accepted = 0;

    for (int i = 0; i < THREADS; i++) {
        producers[i] = (struct producer){.place = place, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, produce, &producers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        accepted += producers[i].accepted;
    }
    assert_int_equal(accepted, THREADS * ROUNDS);
    engine_status(place->engine, &status);
    assert_int_equal(engine_wait_applied(place->engine, status.durable_lsn, WAIT_MS, NULL), ERR_OK);
    assert_int_equal(count_rows(place, TABLE_SAMPLES), accepted);
    assert_int_equal(count_rows(place, TABLE_SERIES), ROUNDS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_applied_rows_are_in_the_store_when_the_answer_comes,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_restart_keeps_series_ids_and_idempotency_keys, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_threads_write_bodies_and_batches_side_by_side, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
