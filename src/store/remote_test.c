/* A store that others run, replaced by an empty one; here it is DuckDB, in another file. */
#include "store/engine_testing.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "store/duckdb/store_duckdb.h"
#include "store/engine_private.h"

enum { BLOCKS = 8, BLOCK_ROWS = 1000, LOOKS = 2000, PATH_BYTES = 512 };

static const char *directory;
static int servers; /* which of them is there */
static _Atomic int applies;

static enum err_code
open_numbered(const struct store_open_options *options, struct store **ret_store, struct err *err)
{
    struct store_open_options other = *options;
    char path[PATH_BYTES];

    snprintf(path, sizeof(path), "%.480s/server-%d", directory, servers);
    other.path = path;
    return store_duckdb_open(&other, ret_store, err);
}

static enum err_code
read_cpu(struct rig *rig, size_t *ret_rows, struct err *err)
{
    const struct slice name = SLICE_LITERAL("cpu");
    const struct slice symbol = SLICE_LITERAL("A");
    const struct store_scan scan = {.table = TABLE_METRICS,
                                    .filters = {{"metric_name", &name, 1}, {"symbol", &symbol, 1}},
                                    .filter_count = 2,
                                    .from_us = 1,
                                    .to_us = INT64_MAX};
    struct batch rows;
    enum err_code code = engine_scan(rig->engine, &scan, &rows, err);

    if (code == ERR_OK) {
        *ret_rows = rows.rows;
        batch_fini(&rows);
    }
    return code;
}

static void
read_meanwhile(void *ctx)
{
    struct err err;
    size_t rows;

    atomic_fetch_add(&applies, 1);
    read_cpu(ctx, &rows, &err); /* whether there is anything yet is not asked */
}

/* Somebody who keeps an answer of the first database. */
struct keeper {
    struct engine *engine;
    uint64_t lsn;
    bool taken_for_true; /* the answer, when the second one could be read first */
};

static bool
can_read(struct engine *engine)
{
    bool can = false;

    if (pthread_rwlock_tryrdlock(&engine->store_lock) == 0) {
        can = engine->store != NULL;
        pthread_rwlock_unlock(&engine->store_lock);
    }
    return can;
}

/* Holds the engine's lock most of the time, so that whoever makes the second database readable
 * comes no further than to where that lock is taken next. */
static void *
keep_answer(void *arg)
{
    struct keeper *keeper = arg;
    bool sees = false;

    while (!sees) {
        pthread_mutex_lock(&keeper->engine->lock);
        for (int i = 0; i < LOOKS && !sees; i++) {
            sees = atomic_load(&rig_plan.opens) >= 2 && can_read(keeper->engine);
        }
        keeper->taken_for_true =
            sees && !engine_changed(keeper->engine, TABLE_SAMPLES, 1, INT64_MAX, keeper->lsn);
        pthread_mutex_unlock(&keeper->engine->lock);
        sched_yield();
    }
    return NULL;
}

static void
write_block(struct rig *rig, int from)
{
    struct buf lines BUF_AUTO = {0};

    buf_init(&lines, 0);
    for (int i = 1; i <= BLOCK_ROWS; i++) {
        buf_add_fmt(&lines, "1|%d|0.5\n", from + i);
    }
    buf_add(&lines, "", 1);
    rig_applied(rig, rig_write(rig, TABLE_SAMPLES, buf_slice(&lines).ptr));
}

static void
test_remote_an_empty_store_has_all_series_before_anybody_reads_it(void **state)
{
    struct rig *rig = *state;
    struct engine_status status;
    struct err err = {0};
    struct batch none;
    size_t rows = 0;

    directory = rig->dir;
    rig_plan.open = open_numbered;
    rig->options.store_remote = true;
    rig->options.hot_cache_bytes = 1 << 20;
    rig_open(rig);
    rig_applied(rig, rig_write(rig, TABLE_SERIES, "1|cpu|A|-\n"));
    for (int i = 0; i < BLOCKS; i++) {
        write_block(rig, i * BLOCK_ROWS);
    }
    for (int i = 0; i < 2; i++) { /* behind the first the log is dropped */
        assert_int_equal(engine_checkpoint(rig->engine, 60000, &err), ERR_OK);
    }
    engine_status(rig->engine, &status);
    assert_true(status.wal.first_lsn > 2);

    servers++;
    rig_plan.on_apply_ctx = rig;
    rig_plan.on_apply = read_meanwhile;
    struct keeper keeper = {rig->engine, engine_applied_lsn(rig->engine), false};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, keep_answer, &keeper), 0);
    atomic_store(&rig_plan.fail_checkpoint, 1);
    atomic_store(&rig_plan.fail_scans, 1); /* a read finds out that something is wrong */
    const struct store_scan trades = {
        .table = TABLE_TRADES, .from_us = INT64_MIN, .to_us = INT64_MAX};
    assert_int_equal(engine_scan(rig->engine, &trades, &none, &err), ERR_UNAVAILABLE);
    while (atomic_load(&rig_plan.opens) < 2) {
        sched_yield();
    }
    rig_applied(rig, rig_sample(rig, 1, BLOCKS * BLOCK_ROWS + 1));
    rig_plan.on_apply = NULL;
    pthread_join(thread, NULL);
    assert_false(keeper.taken_for_true);
    assert_true(atomic_load(&applies) > 1); /* the definitions, and the sample */
    assert_int_equal(read_cpu(rig, &rows, &err), ERR_OK);
    assert_true(rows > 0);
    engine_status(rig->engine, &status);
    assert_int_equal(status.hot.series_known, 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_remote_an_empty_store_has_all_series_before_anybody_reads_it, rig_setup,
            rig_teardown),
    };

    return cmocka_run_group_tests_name("a store that others run", tests, NULL, NULL);
}
