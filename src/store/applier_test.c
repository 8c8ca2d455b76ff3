/* The applier over a store that fails: nothing is lost, nothing comes twice, and it says so. */
#include "store/engine_testing.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "store/duckdb/store_duckdb.h"

#define CASE(function) cmocka_unit_test_setup_teardown(function, rig_setup, rig_teardown)

static struct engine_status
status_of(struct rig *rig)
{
    struct engine_status status;

    engine_status(rig->engine, &status);
    return status;
}

static void
plan_failures(enum err_code code, int from, int count)
{
    atomic_store(&rig_plan.fail_code, (int)code);
    atomic_store(&rig_plan.fail_count, count);
    atomic_store(&rig_plan.applies, 0);
    atomic_store(&rig_plan.fail_from, from);
}

static void
wait_for_state(struct rig *rig, enum engine_state state)
{
    while (status_of(rig).state != state) {
        sched_yield();
    }
}

/* Writes the samples from + 1 to to without waiting for their being applied. */
static uint64_t
submit_samples(struct rig *rig, int from, int to)
{
    uint64_t lsn = 0;

    for (int i = from + 1; i <= to; i++) {
        lsn = rig_sample(rig, 1, i);
    }
    return lsn;
}

static void
test_applier_tries_again_when_the_disk_is_full(void **state)
{
    struct rig *rig = *state;

    rig_open(rig);
    rig_applied(rig, submit_samples(rig, 0, 2));
    plan_failures(ERR_NO_SPACE, 1, 1000000);
    uint64_t lsn = submit_samples(rig, 2, 6);
    wait_for_state(rig, ENGINE_STALLED);
    struct engine_status status = status_of(rig);
    assert_false(status.healthy);
    assert_int_equal(status.problem.code, ERR_NO_SPACE);
    assert_non_null(strstr(status.problem.msg, "planned"));
    assert_int_equal(status.applied_lsn, 2);
    assert_int_equal(status.durable_lsn, lsn);
    assert_true(status.unapplied_bytes > 0);
    rig_expect_samples(rig, 2); /* reads go on */
    plan_failures(ERR_NO_SPACE, 0, 0);
    rig_applied(rig, lsn);
    rig_expect_samples(rig, 6);
    assert_true(status_of(rig).healthy);
    assert_int_equal(status_of(rig).rebuilds, 0);
    assert_true(atomic_load(&rig->problems) > 0);
}

static void
test_applier_tries_again_after_every_passing_error(void **state)
{
    struct rig *rig = *state;
    static const enum err_code codes[] = {ERR_IO, ERR_TIMEOUT, ERR_NO_SPACE, ERR_BUSY};

    rig_open(rig);
    for (int i = 0; i < 4; i++) {
        plan_failures(codes[i], 1, 1);
        rig_applied(rig, submit_samples(rig, i * 2, i * 2 + 2));
        rig_expect_samples(rig, i * 2 + 2);
    }
    assert_int_equal(atomic_load(&rig_plan.opens), 1);
    assert_int_equal(status_of(rig).records_set_aside, 0);
}

static void
test_applier_closes_while_it_is_stalled_and_loses_nothing(void **state)
{
    struct rig *rig = *state;

    rig_open(rig);
    plan_failures(ERR_IO, 1, 1000000);
    submit_samples(rig, 0, 3);
    wait_for_state(rig, ENGINE_STALLED);
    rig_close(rig);
    plan_failures(ERR_IO, 0, 0);
    rig_open(rig);
    rig_applied(rig, 3);
    rig_expect_samples(rig, 3);
}

static void
test_applier_opens_the_same_file_again_when_the_handle_broke(void **state)
{
    struct rig *rig = *state;
    static const enum err_code codes[] = {ERR_CORRUPT, ERR_INTERNAL};

    rig_open(rig);
    for (int i = 0; i < 2; i++) {
        rig_applied(rig, submit_samples(rig, i * 4, i * 4 + 2));
        plan_failures(codes[i], 1, 1);
        rig_applied(rig, submit_samples(rig, i * 4 + 2, i * 4 + 4));
        rig_expect_samples(rig, i * 4 + 4);
        assert_int_equal(atomic_load(&rig_plan.opens), i + 2);
    }
    assert_int_equal(rig_count_files(rig, "quarantine", ""), 0);
    assert_int_equal(status_of(rig).state, ENGINE_RUNNING);
}

static void
test_applier_rebuilds_when_the_file_fails_again(void **state)
{
    struct rig *rig = *state;

    rig_open(rig);
    rig_applied(rig, submit_samples(rig, 0, 3));
    plan_failures(ERR_CORRUPT, 1, 2);
    rig_applied(rig, submit_samples(rig, 3, 5));
    rig_expect_samples(rig, 5);
    assert_int_equal(rig_count_files(rig, "quarantine", "eider.duckdb"), 1);
    assert_int_equal(rig_count_files(rig, "quarantine", "record"), 0);
    assert_int_equal(status_of(rig).rebuilds, 1);
    assert_true(status_of(rig).healthy);
}

static void
expect_poison_is_set_aside(struct rig *rig, enum err_code code)
{
    char path[RIG_PATH_MAX + 64];
    char bytes[4096] __attribute__((aligned(8)));
    struct batch batch;
    struct err err = {0};
    size_t used;

    rig_open(rig);
    rig_applied(rig, submit_samples(rig, 0, 2));
    atomic_store(&rig_plan.fail_code, (int)code);
    atomic_store(&rig_plan.poison, 77);
    uint64_t bad = rig_sample(rig, 77, 1);
    rig_applied(rig, submit_samples(rig, 2, 5));
    rig_expect_samples(rig, 5);
    struct engine_status status = status_of(rig);
    assert_int_equal(status.records_set_aside, 1);
    assert_int_equal(status.state, ENGINE_RUNNING);
    snprintf(path, sizeof(path), "%s/quarantine/record-%d.bin", rig->dir, (int)bad);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t len = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    assert_int_equal(batch_decode(slice_make(bytes, len), &batch, &used, &err), ERR_OK);
    assert_int_equal(batch_get_i64(&batch, 0, 0), 77);
    batch_fini(&batch);
    /* It does not come back. */
    rig_close(rig);
    rig_open(rig);
    rig_applied(rig, submit_samples(rig, 5, 6));
    rig_expect_samples(rig, 6);
}

static void
test_applier_sets_aside_a_record_that_breaks_the_store(void **state)
{
    expect_poison_is_set_aside(*state, ERR_CORRUPT);
}

static void
test_applier_sets_aside_a_record_that_the_store_refuses(void **state)
{
    expect_poison_is_set_aside(*state, ERR_INVALID);
    struct rig *rig = *state;
    assert_int_equal(rig_count_files(rig, "quarantine", "eider.duckdb"), 0);
}

static void
test_applier_sets_aside_only_the_bad_ones_of_many_records(void **state)
{
    struct rig *rig = *state;

    rig_open(rig);
    plan_failures(ERR_IO, 1, 1000000);
    atomic_store(&rig_plan.poison, 0);
    /* All in one group: the applier is held until they are written. */
    for (int i = 1; i <= 30; i++) {
        rig_sample(rig, 1, i);
        if (i % 10 == 0) {
            rig_sample(rig, 77, i);
        }
    }
    atomic_store(&rig_plan.poison, 77);
    plan_failures(ERR_CORRUPT, 0, 0);
    atomic_store(&rig_plan.fail_code, ERR_CORRUPT);
    rig_applied(rig, 33);
    rig_expect_samples(rig, 30);
    assert_int_equal(rig_count_files(rig, "quarantine", "record"), 3);
    assert_int_equal(status_of(rig).records_set_aside, 3);
}

static void
test_applier_rebuilds_from_a_snapshot_without_a_gap(void **state)
{
    struct rig *rig = *state;

    rig->options.snapshot_wal_bytes = 1;
    rig_open(rig);
    rig_applied(rig, submit_samples(rig, 0, 10));
    struct err err = {0};
    assert_int_equal(engine_checkpoint(rig->engine, 60000, &err), ERR_OK);
    assert_int_equal(engine_checkpoint(rig->engine, 60000, &err), ERR_OK);
    rig_applied(rig, submit_samples(rig, 10, 20));
    atomic_store(&rig_plan.fail_code, ERR_CORRUPT);
    atomic_store(&rig_plan.poison, 77);
    rig_sample(rig, 77, 1);
    rig_applied(rig, submit_samples(rig, 20, 25));
    rig_expect_samples(rig, 25);
    assert_int_equal(status_of(rig).records_set_aside, 1);
}

static void
test_applier_closes_while_the_store_cannot_be_opened(void **state)
{
    struct rig *rig = *state;
    struct store_scan scan = {.table = TABLE_SAMPLES, .from_us = INT64_MIN, .to_us = INT64_MAX};
    struct err err = {0};
    struct batch rows;

    rig_open(rig);
    rig_applied(rig, submit_samples(rig, 0, 3));
    atomic_store(&rig_plan.fail_opens, 1000000);
    atomic_store(&rig_plan.fail_scans, 1);
    assert_int_equal(engine_scan(rig->engine, &scan, &rows, &err), ERR_UNAVAILABLE);
    wait_for_state(rig, ENGINE_REBUILDING);
    submit_samples(rig, 3, 6);
    rig_close(rig);
    atomic_store(&rig_plan.fail_opens, 0);
    rig_open(rig);
    rig_applied(rig, 6);
    rig_expect_samples(rig, 6);
}

static void
test_applier_heals_what_a_read_found_broken(void **state)
{
    struct rig *rig = *state;
    struct store_scan scan = {.table = TABLE_SAMPLES, .from_us = INT64_MIN, .to_us = INT64_MAX};
    struct err err = {0};
    struct batch rows;

    rig_open(rig);
    rig_applied(rig, submit_samples(rig, 0, 3));
    atomic_store(&rig_plan.fail_scans, 1);
    assert_int_equal(engine_scan(rig->engine, &scan, &rows, &err), ERR_UNAVAILABLE);
    while (atomic_load(&rig_plan.opens) < 2) {
        sched_yield();
    }
    rig_applied(rig, submit_samples(rig, 3, 4));
    rig_expect_samples(rig, 4);
    assert_int_equal(rig_count_files(rig, "quarantine", ""), 0);
}

struct reader {
    struct rig *rig;
    atomic_bool stop;
    _Atomic int answered;
    _Atomic int refused;
    _Atomic int wrong;
};

static void *
read_on(void *ctx)
{
    struct reader *reader = ctx;
    struct store_sql sql = {.sql = SLICE_LITERAL("SELECT count(*) FROM samples")};
    int64_t most = 0;

    while (!atomic_load(&reader->stop)) {
        struct engine_status status;
        struct err err = {0};
        struct batch rows;
        enum err_code code = engine_sql(reader->rig->engine, &sql, &rows, NULL, &err);
        if (code == ERR_OK) {
            int64_t count = batch_get_i64(&rows, 0, 0);
            if (count < 0 || count > 40) {
                print_error("%d rows\n", (int)count);
                atomic_fetch_add(&reader->wrong, 1);
            }
            most = count > most ? count : most;
            atomic_fetch_add(&reader->answered, 1);
            batch_fini(&rows);
        } else {
            if (code != ERR_UNAVAILABLE) {
                print_error("%s: %s\n", err_name(code), err.msg);
            }
            atomic_fetch_add(code == ERR_UNAVAILABLE ? &reader->refused : &reader->wrong, 1);
        }
        engine_status(reader->rig->engine, &status);
    }
    return NULL;
}

static void
test_applier_swaps_the_store_under_running_reads(void **state)
{
    struct rig *rig = *state;
    struct reader reader = {.rig = rig};
    pthread_t threads[2];

    rig_open(rig);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &reader), 0);
    }
    for (int i = 0; i < 4; i++) {
        plan_failures(ERR_CORRUPT, 1, i % 2 + 1);
        rig_applied(rig, submit_samples(rig, i * 10, i * 10 + 10));
    }
    while (atomic_load(&reader.answered) == 0) {
        sched_yield();
    }
    atomic_store(&reader.stop, true);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(atomic_load(&reader.wrong), 0);
    rig_expect_samples(rig, 40);
    assert_int_equal(status_of(rig).rebuilds, 2);
}

static void *
write_on(void *ctx)
{
    struct rig *rig = ctx;

    for (int i = 0; i < 50; i++) {
        rig_sample(rig, 1, 1);
    }
    return NULL;
}

static void
test_applier_takes_writes_of_many_threads_once_each(void **state)
{
    struct rig *rig = *state;
    struct store_table_stats stats;
    pthread_t threads[4];
    struct err err = {0};

    rig_open(rig);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, write_on, rig), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    rig_applied(rig, 200);
    assert_int_equal(engine_table_stats(rig->engine, TABLE_SAMPLES, &stats, &err), ERR_OK);
    assert_int_equal(stats.rows, 200);
    struct engine_status status = status_of(rig);
    assert_true(status.store.groups <= 200);
}

/* A request of engine_between_groups that counts. */
struct between {
    struct rig *rig;
    int calls;
    enum err_code code; /* what it answers */
    pthread_t ran_on;
};

static enum err_code
count_call(void *ctx, struct store *store, struct err *err)
{
    struct between *between = ctx;

    between->calls++;
    between->ran_on = pthread_self();
    assert_non_null(store);
    return between->code ? err_set(err, between->code, "planned") : ERR_OK;
}

static void
test_applier_runs_what_is_asked_between_groups(void **state)
{
    struct rig *rig = *state;
    struct between between = {.rig = rig};
    struct err err = {0};

    rig_open(rig);
    rig_applied(rig, submit_samples(rig, 0, 2));
    assert_int_equal(engine_between_groups(rig->engine, count_call, &between, 60000, &err), ERR_OK);
    assert_int_equal(between.calls, 1);
    assert_false(pthread_equal(between.ran_on, pthread_self()));
    assert_int_equal(engine_with_store(rig->engine, count_call, &between, &err), ERR_OK);
    assert_int_equal(between.calls, 2);
    assert_true(pthread_equal(between.ran_on, pthread_self()));
}

static void
test_applier_opens_the_store_anew_when_a_request_finds_it_broken(void **state)
{
    struct rig *rig = *state;
    struct between between = {.rig = rig, .code = ERR_CORRUPT};
    struct err err = {0};

    rig_open(rig);
    rig_applied(rig, submit_samples(rig, 0, 2));
    int opens = atomic_load(&rig_plan.opens);
    assert_int_equal(engine_between_groups(rig->engine, count_call, &between, 60000, &err),
                     ERR_CORRUPT);
    assert_string_equal(err.msg, "planned");
    rig_applied(rig, submit_samples(rig, 2, 4));
    assert_int_equal(atomic_load(&rig_plan.opens), opens + 1);
    rig_expect_samples(rig, 4);
}

static void
test_applier_that_is_stalled_lets_requests_run_out(void **state)
{
    struct rig *rig = *state;
    struct between between = {.rig = rig};
    struct err err = {0};

    rig_open(rig);
    plan_failures(ERR_NO_SPACE, 1, 1000000);
    uint64_t lsn = submit_samples(rig, 0, 2);
    wait_for_state(rig, ENGINE_STALLED);
    assert_int_equal(engine_between_groups(rig->engine, count_call, &between, 20, &err),
                     ERR_TIMEOUT);
    atomic_store(&rig_plan.fail_count, 0);
    rig_applied(rig, lsn);
    assert_int_equal(engine_between_groups(rig->engine, count_call, &between, 60000, &err), ERR_OK);
    assert_int_equal(between.calls, 1);
}

struct late {
    struct engine_waiter waiter;
    _Atomic int calls;
    bool applied;
};

static void
note_call(struct engine_waiter *waiter, bool applied)
{
    struct late *late = waiter->ctx;

    late->applied = applied;
    atomic_fetch_add(&late->calls, 1);
}

/* A client must not hang for as long as the disk is full. */
static void
test_applier_that_is_stalled_dismisses_waiters_whose_time_is_over(void **state)
{
    struct rig *rig = *state;
    struct late hasty = {.calls = 0};
    struct late patient = {.calls = 0};
    struct engine_compacted compacted;
    struct err err = {0};

    rig_open(rig);
    plan_failures(ERR_NO_SPACE, 1, 1000000);
    uint64_t lsn = submit_samples(rig, 0, 2);
    hasty.waiter =
        (struct engine_waiter){.lsn = lsn, .fn = note_call, .ctx = &hasty, .timeout_ms = 1};
    patient.waiter = (struct engine_waiter){.lsn = lsn, .fn = note_call, .ctx = &patient};
    engine_when_applied(rig->engine, &patient.waiter);
    engine_when_applied(rig->engine, &hasty.waiter);
    while (atomic_load(&hasty.calls) == 0) {
        sched_yield();
    }
    assert_false(hasty.applied);
    assert_true(hasty.waiter.late);
    assert_int_equal(atomic_load(&patient.calls), 0);
    wait_for_state(rig, ENGINE_STALLED);
    assert_int_equal(engine_compact(rig->engine, 3600000, &compacted, &err), ERR_NO_SPACE);
    assert_non_null(strstr(err.msg, "takes no records at present: planned"));
    atomic_store(&rig_plan.fail_count, 0);
    rig_applied(rig, lsn);
    while (atomic_load(&patient.calls) == 0) {
        sched_yield();
    }
    assert_true(patient.applied);
    assert_false(patient.waiter.late);
    assert_int_equal(atomic_load(&hasty.calls), 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_applier_tries_again_when_the_disk_is_full),
        CASE(test_applier_tries_again_after_every_passing_error),
        CASE(test_applier_closes_while_it_is_stalled_and_loses_nothing),
        CASE(test_applier_opens_the_same_file_again_when_the_handle_broke),
        CASE(test_applier_rebuilds_when_the_file_fails_again),
        CASE(test_applier_sets_aside_a_record_that_breaks_the_store),
        CASE(test_applier_sets_aside_a_record_that_the_store_refuses),
        CASE(test_applier_sets_aside_only_the_bad_ones_of_many_records),
        CASE(test_applier_rebuilds_from_a_snapshot_without_a_gap),
        CASE(test_applier_closes_while_the_store_cannot_be_opened),
        CASE(test_applier_heals_what_a_read_found_broken),
        CASE(test_applier_swaps_the_store_under_running_reads),
        CASE(test_applier_takes_writes_of_many_threads_once_each),
        CASE(test_applier_runs_what_is_asked_between_groups),
        CASE(test_applier_opens_the_store_anew_when_a_request_finds_it_broken),
        CASE(test_applier_that_is_stalled_lets_requests_run_out),
        CASE(test_applier_that_is_stalled_dismisses_waiters_whose_time_is_over),
    };

    rig_plan.open = store_duckdb_open;
    return cmocka_run_group_tests_name("applier", tests, NULL, NULL);
}
