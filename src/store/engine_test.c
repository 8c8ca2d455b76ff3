/* The engine over DuckDB: life, crashes, damaged files, snapshots. Failing stores: applier_test.c.
 */
#include "store/engine_testing.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/duckdb/store_duckdb.h"
#include "store/memory/store_memory.h"

#define CASE(function) cmocka_unit_test_setup_teardown(function, rig_setup, rig_teardown)

static struct engine_status
status_of(struct rig *rig)
{
    struct engine_status status;

    engine_status(rig->engine, &status);
    return status;
}

/* Samples of series 1 at the times from + 1 to to. Returns the last LSN. */
static uint64_t
write_samples(struct rig *rig, int from, int to)
{
    uint64_t lsn = 0;

    for (int i = from + 1; i <= to; i++) {
        lsn = rig_sample(rig, 1, i);
    }
    rig_applied(rig, lsn);
    return lsn;
}

/* One record of 2000 samples at the times from + 1 to from + 2000: about 40 KB of log. */
static uint64_t
write_block(struct rig *rig, int from)
{
    struct buf bytes;
    struct batch batch;

    buf_init(&bytes, 0);
    batch_init(&batch, catalog_table(TABLE_SAMPLES), 0);
    for (int i = 1; i <= 2000; i++) {
        size_t row = batch_add_row(&batch);
        batch_set_i32(&batch, 0, row, 1);
        batch_set_i64(&batch, 1, row, from + i);
        batch_set_f64(&batch, 2, row, 0.5);
    }
    batch_encode(&batch, &bytes);
    uint64_t lsn = rig_write_bytes(rig, buf_slice(&bytes));
    batch_fini(&batch);
    buf_fini(&bytes);
    rig_applied(rig, lsn);
    return lsn;
}

static void
write_blocks(struct rig *rig, int from, int count)
{
    for (int i = 0; i < count; i++) {
        write_block(rig, from + i * 2000);
    }
}

/* A checkpoint is answered behind whatever the applier had begun, a snapshot included. */
static void
settle(struct rig *rig)
{
    struct err err = {0};

    for (int i = 0; i < 2; i++) {
        if (engine_checkpoint(rig->engine, 60000, &err)) {
            fail_msg("%s", err.msg);
        }
    }
}

struct watch {
    struct engine_waiter waiter;
    _Atomic int fired;
    _Atomic int applied;
};

static void
note_waiter(struct engine_waiter *waiter, bool applied)
{
    struct watch *watch = waiter->ctx;

    atomic_store(&watch->applied, applied);
    atomic_fetch_add(&watch->fired, 1);
}

static void
watch_lsn(struct rig *rig, struct watch *watch, uint64_t lsn)
{
    *watch = (struct watch){.waiter = {.lsn = lsn, .fn = note_waiter}};
    watch->waiter.ctx = watch;
    engine_when_applied(rig->engine, &watch->waiter);
}

static void
test_engine_applies_what_is_written(void **state)
{
    struct rig *rig = *state;
    struct store_table_stats stats;
    struct err err = {0};

    rig_open(rig);
    uint64_t lsn = write_samples(rig, 0, 5);
    assert_int_equal(lsn, 5);
    rig_expect_samples(rig, 5);
    lsn = rig_write(rig, TABLE_SERIES, "1|cpu|-|-\n");
    rig_applied(rig, lsn);
    assert_int_equal(engine_table_stats(rig->engine, TABLE_METRICS, &stats, &err), ERR_OK);
    assert_int_equal(stats.rows, 5);
    struct engine_status status = status_of(rig);
    assert_int_equal(status.state, ENGINE_RUNNING);
    assert_true(status.healthy);
    assert_int_equal(status.applied_lsn, 6);
    assert_int_equal(status.durable_lsn, 6);
    assert_int_equal(status.unapplied_bytes, 0);
    assert_int_equal(status.apply_lag_us, 0);
    assert_int_equal(status.rebuilds, 0);
    assert_int_equal(status.store.applied_lsn, 6);
}

static void
test_engine_has_everything_once_when_opened_again(void **state)
{
    struct rig *rig = *state;

    for (int i = 0; i < 4; i++) {
        rig_open(rig);
        rig_expect_samples(rig, i * 3);
        write_samples(rig, i * 3, i * 3 + 3);
        rig_close(rig);
    }
    rig_open(rig);
    rig_expect_samples(rig, 12);
    assert_int_equal(status_of(rig).applied_lsn, 12);
}

static void
test_engine_applies_after_a_crash_what_was_only_durable(void **state)
{
    struct rig *rig = *state;
    struct rig copy;
    uint64_t lsn = 0;

    rig_open(rig);
    write_samples(rig, 0, 4);
    atomic_store(&rig_plan.fail_code, ERR_IO);
    atomic_store(&rig_plan.fail_count, 1000000);
    atomic_store(&rig_plan.fail_from, 1);
    for (int i = 5; i <= 9; i++) {
        lsn = rig_sample(rig, 1, i);
    }
    struct err err = {0};
    assert_int_equal(engine_wait_applied(rig->engine, lsn, 1, &err), ERR_TIMEOUT);
    atomic_store(&rig_plan.fail_from, 0);
    /* The original may go on meanwhile; the copy must be whole at whatever point it was taken. */
    rig_crash(rig, &copy);
    rig_applied(&copy, lsn);
    rig_expect_samples(&copy, 9);
    rig_fini(&copy);
    rig_applied(rig, lsn);
    rig_expect_samples(rig, 9);
}

static void
test_engine_survives_copies_taken_between_groups(void **state)
{
    struct rig *rig = *state;

    rig_open(rig);
    for (int i = 0; i < 5; i++) {
        struct rig copy;
        write_samples(rig, i * 7, i * 7 + 7);
        if (i == 2) {
            settle(rig);
        }
        rig_crash(rig, &copy);
        rig_expect_samples(&copy, i * 7 + 7);
        write_samples(&copy, i * 7 + 7, i * 7 + 9);
        rig_close(&copy);
        rig_open(&copy);
        rig_expect_samples(&copy, i * 7 + 9);
        rig_fini(&copy);
    }
}

static void
test_engine_calls_waiters_when_their_record_is_applied(void **state)
{
    struct rig *rig = *state;
    struct watch early;
    struct watch late;
    struct watch never;

    rig_open(rig);
    watch_lsn(rig, &early, 2);
    watch_lsn(rig, &never, 100);
    write_samples(rig, 0, 3);
    watch_lsn(rig, &late, 3); /* at once, on this thread */
    assert_int_equal(atomic_load(&late.fired), 1);
    settle(rig);
    assert_int_equal(atomic_load(&early.fired), 1);
    assert_true(atomic_load(&early.applied));
    assert_int_equal(atomic_load(&never.fired), 0);
    rig_close(rig);
    assert_int_equal(atomic_load(&never.fired), 1);
    assert_false(atomic_load(&never.applied));
}

static void
test_engine_wait_times_out(void **state)
{
    struct rig *rig = *state;
    struct err err = {0};

    rig_open(rig);
    assert_int_equal(engine_wait_applied(rig->engine, 1, 1, &err), ERR_TIMEOUT);
    assert_int_equal(engine_wait_applied(rig->engine, 0, 1, &err), ERR_OK);
}

static void
test_engine_refuses_a_directory_that_is_in_use(void **state)
{
    struct rig *rig = *state;
    struct engine *second;
    struct err err = {0};
    char pid[32];

    rig_open(rig);
    assert_int_equal(engine_open(&rig->options, &second, &err), ERR_CONFLICT);
    snprintf(pid, sizeof(pid), "%ld", (long)getpid());
    assert_non_null(strstr(err.msg, pid));
    write_samples(rig, 0, 1);
    rig_close(rig);
    rig_open(rig);
    rig_expect_samples(rig, 1);
}

static void
test_engine_rebuilds_from_the_log_when_the_file_is_garbage(void **state)
{
    struct rig *rig = *state;

    rig_open(rig);
    write_samples(rig, 0, 6);
    rig_close(rig);
    rig_spoil(rig, "eider.duckdb");
    rig_open(rig);
    rig_applied(rig, 6);
    rig_expect_samples(rig, 6);
    assert_int_equal(rig_count_files(rig, "quarantine", "eider.duckdb"), 1);
    assert_int_equal(status_of(rig).rebuilds, 1);
    write_samples(rig, 6, 8);
    rig_expect_samples(rig, 8);
}

static void
test_engine_rebuilds_when_the_file_is_cut_or_its_log_is_garbage(void **state)
{
    struct rig *rig = *state;
    char path[RIG_PATH_MAX + 32];
    struct stat info;

    rig_open(rig);
    write_samples(rig, 0, 3);
    rig_close(rig);
    snprintf(path, sizeof(path), "%s/eider.duckdb", rig->dir);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(truncate(path, info.st_size / 2), 0);
    rig_open(rig);
    rig_applied(rig, 3);
    rig_expect_samples(rig, 3);
    write_samples(rig, 3, 5);
    rig_close(rig);
    rig_spoil(rig, "eider.duckdb.wal");
    rig_open(rig);
    rig_applied(rig, 5);
    rig_expect_samples(rig, 5);
}

static void
test_engine_rebuilds_when_only_the_database_log_is_left(void **state)
{
    struct rig *rig = *state;
    struct rig copy;
    char path[RIG_PATH_MAX + 32];

    rig_open(rig);
    write_samples(rig, 0, 3);
    rig_crash(rig, &copy);
    rig_close(&copy);
    rig_spoil(&copy, "eider.duckdb.wal");
    snprintf(path, sizeof(path), "%s/eider.duckdb", copy.dir);
    assert_int_equal(unlink(path), 0);
    rig_open(&copy);
    rig_applied(&copy, 3);
    rig_expect_samples(&copy, 3);
    rig_fini(&copy);
}

static void
small_snapshots(struct rig *rig)
{
    rig->options.snapshot_wal_bytes = 100 << 10;
}

static void
test_engine_drops_log_below_snapshots_and_keeps_two(void **state)
{
    struct rig *rig = *state;

    small_snapshots(rig);
    rig_open(rig);
    write_blocks(rig, 0, 40);
    settle(rig);
    struct engine_status status = status_of(rig);
    assert_true(status.snapshot_lsn > 0);
    assert_true(status.wal.first_lsn > 1);
    assert_true(status.wal.first_lsn <= status.snapshot_lsn + 1);
    int kept = rig_count_files(rig, "backup", ".duckdb");
    assert_true(kept >= 1 && kept <= 2);
    assert_int_equal(rig_count_files(rig, "backup", ".tmp"), 0);
    rig_expect_samples(rig, 80000);
}

/* As a program does that opens the directory for every record. */
static void
test_engine_bounds_the_segments_of_many_short_lives(void **state)
{
    struct rig *rig = *state;

    rig->options.snapshot_segments = 4;
    for (int i = 0; i < 24; i++) {
        rig_open(rig);
        assert_true(status_of(rig).wal.segments <= 2 * 4 + 2);
        write_samples(rig, i, i + 1);
        settle(rig);
        rig_close(rig);
    }
    rig_spoil(rig, "eider.duckdb");
    rig_open(rig);
    rig_applied(rig, 24);
    rig_expect_samples(rig, 24);
}

static void
test_engine_rebuilds_from_a_snapshot_and_the_log(void **state)
{
    struct rig *rig = *state;

    small_snapshots(rig);
    rig_open(rig);
    write_blocks(rig, 0, 40);
    settle(rig);
    write_samples(rig, 80000, 80003);
    assert_true(status_of(rig).wal.first_lsn > 1);
    rig_close(rig);
    rig_spoil(rig, "eider.duckdb");
    rig_open(rig);
    rig_applied(rig, 43);
    rig_expect_samples(rig, 80003);
    assert_int_equal(rig_count_files(rig, "quarantine", "eider.duckdb"), 1);
    write_samples(rig, 80003, 80004);
    rig_expect_samples(rig, 80004);
    rig_close(rig);

    /* The file gone altogether is the same. */
    char path[RIG_PATH_MAX + 32];
    snprintf(path, sizeof(path), "%s/eider.duckdb", rig->dir);
    assert_int_equal(unlink(path), 0);
    rig_open(rig);
    rig_applied(rig, 44);
    rig_expect_samples(rig, 80004);
}

/* The newest snapshot is spoiled, too, and so is what DuckDB leaves beside the file. */
static void
test_engine_rebuilds_from_the_older_snapshot_without_a_gap(void **state)
{
    struct rig *rig = *state;
    char path[RIG_PATH_MAX + 64];

    small_snapshots(rig);
    rig_open(rig);
    write_blocks(rig, 0, 40);
    settle(rig);
    assert_true(status_of(rig).wal.first_lsn > 1);
    assert_int_equal(rig_count_files(rig, "backup", ".duckdb"), 2);
    uint64_t newest = status_of(rig).snapshot_lsn;
    rig_close(rig);
    snprintf(path, sizeof(path), "backup/eider-%020llu.duckdb", (unsigned long long)newest);
    rig_spoil(rig, path);
    rig_spoil(rig, "eider.duckdb");
    rig_spoil(rig, "eider.duckdb.wal.checkpoint");
    snprintf(path, sizeof(path), "%s/eider.duckdb.tmp", rig->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    rig_open(rig);
    rig_applied(rig, 40);
    rig_expect_samples(rig, 80000);
    assert_int_equal(rig_count_files(rig, "quarantine", "eider.duckdb.wal.checkpoint"), 1);
}

static void
test_engine_leaves_files_of_others_in_backup(void **state)
{
    struct rig *rig = *state;

    small_snapshots(rig);
    rig_open(rig);
    rig_spoil(rig, "backup/eider-before-upgrade.duckdb");
    rig_spoil(rig, "backup/eider-00000000000000000007.duckdb.tmp");
    write_blocks(rig, 0, 20);
    settle(rig);
    assert_true(status_of(rig).snapshot_lsn > 0);
    assert_int_equal(rig_count_files(rig, "backup", "before-upgrade"), 1);
    assert_int_equal(rig_count_files(rig, "backup", ".tmp"), 0);
}

static void
test_engine_tries_a_snapshot_again_later(void **state)
{
    struct rig *rig = *state;

    small_snapshots(rig);
    atomic_store(&rig_plan.fail_snapshot, 1);
    rig_open(rig);
    write_blocks(rig, 0, 8);
    settle(rig);
    assert_int_equal(status_of(rig).snapshot_lsn, 0);
    assert_int_equal(status_of(rig).wal.first_lsn, 1);
    assert_true(status_of(rig).healthy);
    rig_expect_samples(rig, 16000);
}

static void
test_engine_goes_on_when_the_log_is_lost(void **state)
{
    struct rig *rig = *state;
    char path[RIG_PATH_MAX + 32];

    rig_open(rig);
    write_samples(rig, 0, 5);
    rig_close(rig);
    snprintf(path, sizeof(path), "%s/wal", rig->dir);
    rig_remove_tree(path);
    for (int i = 5; i < 8; i++) {
        rig_open(rig);
        rig_expect_samples(rig, i);
        assert_true(write_samples(rig, i, i + 1) > 5);
        rig_expect_samples(rig, i + 1);
        rig_close(rig);
    }
}

static void
test_engine_goes_on_when_the_end_of_the_log_is_lost(void **state)
{
    struct rig *rig = *state;
    struct rig copy;
    char path[RIG_PATH_MAX + 32];
    char from[RIG_PATH_MAX + 32];

    /* A log that ends at 3 beside a store that has 6: restored from an older backup. */
    rig_open(rig);
    write_samples(rig, 0, 3);
    rig_crash(rig, &copy);
    rig_close(&copy);
    write_samples(rig, 3, 6);
    rig_close(rig);
    snprintf(path, sizeof(path), "%s/wal", rig->dir);
    snprintf(from, sizeof(from), "%s/wal", copy.dir);
    rig_remove_tree(path);
    assert_int_equal(rename(from, path), 0);
    rig_fini(&copy);
    for (int i = 6; i < 9; i++) {
        rig_open(rig);
        rig_expect_samples(rig, i);
        write_samples(rig, i, i + 1);
        rig_expect_samples(rig, i + 1);
        rig_close(rig);
    }
}

static void
test_engine_replays_the_whole_log_for_a_volatile_store(void **state)
{
    struct rig *rig = *state;

    rig->options.store_open = store_memory_open;
    rig->options.store_volatile = true;
    for (int i = 0; i < 3; i++) {
        rig_open(rig);
        rig_applied(rig, (uint64_t)i * 4);
        rig_expect_samples(rig, i * 4);
        write_samples(rig, i * 4, i * 4 + 4);
        rig_close(rig);
    }
    assert_int_equal(rig_count_files(rig, ".", "eider.duckdb"), 0);
}

static void
test_engine_sets_aside_a_record_that_does_not_decode(void **state)
{
    struct rig *rig = *state;

    rig_open(rig);
    write_samples(rig, 0, 2);
    rig_write_bytes(rig, SLICE_LITERAL("this is no batch at all"));
    write_samples(rig, 2, 4);
    rig_expect_samples(rig, 4);
    assert_int_equal(rig_count_files(rig, "quarantine", "record-3.bin"), 1);
    assert_true(atomic_load(&rig->problems) > 0);
    rig_close(rig);
    rig_open(rig);
    rig_expect_samples(rig, 4);
}

static void
test_engine_answers_every_kind_of_read(void **state)
{
    struct rig *rig = *state;
    struct store_bucket bucket = {
        .scan = {.table = TABLE_SAMPLES, .from_us = INT64_MIN, .to_us = INT64_MAX},
        .aggregates = {{AGG_COUNT, NULL, "n"}},
        .aggregate_count = 1,
    };
    struct store_sql sql = {.sql = SLICE_LITERAL("SELECT count(*) FROM samples")};
    struct err err = {0};
    struct batch rows;

    rig_open(rig);
    write_samples(rig, 0, 3);
    assert_int_equal(engine_bucket(rig->engine, &bucket, &rows, &err), ERR_OK);
    assert_int_equal(batch_get_i64(&rows, 1, 0), 3);
    batch_fini(&rows);
    assert_int_equal(engine_sql(rig->engine, &sql, &rows, NULL, &err), ERR_OK);
    assert_int_equal(batch_get_i64(&rows, 0, 0), 3);
    batch_fini(&rows);
    assert_int_equal(engine_latest(rig->engine, TABLE_SAMPLES, &rows, &err), ERR_OK);
    assert_int_equal(batch_get_i64(&rows, 1, 0), 3);
    batch_fini(&rows);
    sql.sql = SLICE_LITERAL("SELECT nothing");
    assert_int_equal(engine_sql(rig->engine, &sql, &rows, NULL, &err), ERR_INVALID);
}

static enum err_code
refuse_rows(void *ctx, const struct batch *rows, struct err *err)
{
    *(size_t *)ctx += rows->rows;
    return err_set(err, ERR_CORRUPT, "the visitor did not like %zu rows", rows->rows);
}

static enum err_code
count_rows(void *ctx, const struct batch *rows, struct err *err)
{
    (void)err;
    *(size_t *)ctx += rows->rows;
    return ERR_OK;
}

/* ERR_CORRUPT of a read means a store that must be rebuilt; a visitor's does not. */
static void
test_engine_does_not_take_a_visitors_error_for_the_stores(void **state)
{
    struct rig *rig = *state;
    struct store_scan scan = {.table = TABLE_SAMPLES, .from_us = INT64_MIN, .to_us = INT64_MAX};
    struct engine_status status;
    struct err err = {0};
    size_t rows = 0;

    rig_open(rig);
    write_samples(rig, 0, 3);
    assert_int_equal(engine_visit(rig->engine, &scan, count_rows, &rows, &err), ERR_OK);
    assert_int_equal(rows, 3);
    assert_int_equal(engine_visit(rig->engine, &scan, refuse_rows, &rows, &err), ERR_CORRUPT);
    assert_string_equal(err.msg, "the visitor did not like 3 rows");
    assert_int_equal(rows, 6);
    write_samples(rig, 3, 4); /* the applier has been round, and would have rebuilt */
    engine_status(rig->engine, &status);
    assert_int_equal(status.rebuilds, 0);
    assert_int_equal(status.state, ENGINE_RUNNING);
    engine_stop_reads(rig->engine);
    assert_int_equal(engine_visit(rig->engine, &scan, count_rows, &rows, &err), ERR_UNAVAILABLE);
    assert_int_equal(rows, 6);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_engine_applies_what_is_written),
        CASE(test_engine_has_everything_once_when_opened_again),
        CASE(test_engine_applies_after_a_crash_what_was_only_durable),
        CASE(test_engine_survives_copies_taken_between_groups),
        CASE(test_engine_calls_waiters_when_their_record_is_applied),
        CASE(test_engine_wait_times_out),
        CASE(test_engine_refuses_a_directory_that_is_in_use),
        CASE(test_engine_rebuilds_from_the_log_when_the_file_is_garbage),
        CASE(test_engine_rebuilds_when_the_file_is_cut_or_its_log_is_garbage),
        CASE(test_engine_rebuilds_when_only_the_database_log_is_left),
        CASE(test_engine_drops_log_below_snapshots_and_keeps_two),
        CASE(test_engine_bounds_the_segments_of_many_short_lives),
        CASE(test_engine_rebuilds_from_a_snapshot_and_the_log),
        CASE(test_engine_rebuilds_from_the_older_snapshot_without_a_gap),
        CASE(test_engine_leaves_files_of_others_in_backup),
        CASE(test_engine_tries_a_snapshot_again_later),
        CASE(test_engine_goes_on_when_the_log_is_lost),
        CASE(test_engine_goes_on_when_the_end_of_the_log_is_lost),
        CASE(test_engine_replays_the_whole_log_for_a_volatile_store),
        CASE(test_engine_sets_aside_a_record_that_does_not_decode),
        CASE(test_engine_answers_every_kind_of_read),
        CASE(test_engine_does_not_take_a_visitors_error_for_the_stores),
    };

    rig_plan.open = store_duckdb_open;
    return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
