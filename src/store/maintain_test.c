/* The maintenance thread over DuckDB: rounds, tickets, failures, the end in the middle of work. */
#include "store/engine_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/time.h"
#include "store/duckdb/store_duckdb.h"
#include "store/failpoint.h"
#include "store/memory/store_memory.h"

enum { WAIT_MS = 60000, ROWS = 50 };

static const char *const no_rules[] = {NULL};
static const char *const old_rules[] = {"table=samples max_age=1d"};

static int
setup(void **state)
{
    int result = rig_setup(state);
    struct rig *rig = *state;

    rig->options.store_open = store_duckdb_open;
    rig->options.maintain = (struct maintain_options){
        .enabled = true, .watch_off = true, .rules = no_rules, .rule_count = 0};
    return result;
}

static int
teardown(void **state)
{
    int result = rig_teardown(state);

    failpoint_arm(NULL); /* when no thread passes points any more */
    return result;
}

/* Samples of series 1 on the first days of 1970, which are long over. */
static void
write_days(struct rig *rig, int first, int days)
{
    struct buf bytes BUF_AUTO;
    struct batch batch;

    buf_init(&bytes, 0);
    batch_init(&batch, catalog_table(TABLE_SAMPLES), 0);
    for (int i = 0; i < days * ROWS; i++) {
        size_t row = batch_add_row(&batch);
        batch_set_i32(&batch, 0, row, 1);
        batch_set_i64(&batch, 1, row,
                      cold_day_begin_us(first + i / ROWS) + (i % ROWS) * TIME_US_PER_S);
        batch_set_f64(&batch, 2, row, i);
    }
    batch_encode(&batch, &bytes);
    uint64_t lsn = rig_write_bytes(rig, buf_slice(&bytes));
    batch_fini(&batch);
    rig_applied(rig, lsn);
}

static uint64_t
count_samples(struct rig *rig)
{
    struct store_table_stats stats;
    struct err err = {0};

    assert_int_equal(engine_table_stats(rig->engine, TABLE_SAMPLES, &stats, &err), ERR_OK);
    return stats.rows;
}

static size_t
count_files(struct rig *rig, enum cold_kind kind)
{
    struct cold_file *files;
    struct err err = {0};
    size_t count;
    size_t found = 0;

    assert_int_equal(engine_cold_list(rig->engine, &files, &count, &err), ERR_OK);
    for (size_t i = 0; i < count; i++) {
        found += files[i].kind == kind;
    }
    free(files);
    return found;
}

static enum err_code
seal_and_wait(struct rig *rig, struct err *err)
{
    const struct maintain_seal seal = {.table = 0};
    uint64_t ticket;
    enum err_code code = engine_ask_seal(rig->engine, &seal, &ticket, err);

    return code ? code : engine_maintain_wait(rig->engine, ticket, WAIT_MS, err);
}

static struct maintain_status
status_of(struct rig *rig)
{
    struct maintain_status status;

    engine_maintain_status(rig->engine, &status);
    return status;
}

static void
test_maintain_seals_what_it_is_asked_for(void **state)
{
    struct rig *rig = *state;
    struct err err = {0};

    rig_open(rig);
    write_days(rig, 0, 3);
    assert_int_equal(seal_and_wait(rig, &err), ERR_OK);
    assert_int_equal(count_files(rig, COLD_RAW), 3);
    assert_int_equal(count_samples(rig), 3 * ROWS);
    assert_int_equal(status_of(rig).days_sealed, 3);
    assert_int_equal(status_of(rig).rows_sealed, 3 * ROWS);
    rig_close(rig);
    rig_open(rig);
    assert_int_equal(count_samples(rig), 3 * ROWS);
}

static void
test_maintain_tells_what_failed_and_goes_on(void **state)
{
    struct rig *rig = *state;
    struct err err = {0};

    failpoint_arm("seal.ready:error");
    rig_open(rig);
    write_days(rig, 0, 2);
    assert_int_equal(seal_and_wait(rig, &err), ERR_IO);
    assert_non_null(strstr(err.msg, "sealing samples of 1970-01-01"));
    assert_int_equal(count_files(rig, COLD_RAW), 1); /* the other day is not to blame */
    assert_int_equal(count_samples(rig), 2 * ROWS);
    assert_int_equal(seal_and_wait(rig, &err), ERR_OK);
    assert_int_equal(count_files(rig, COLD_RAW), 2);
    assert_int_equal(count_samples(rig), 2 * ROWS);
    struct engine_status status;
    engine_status(rig->engine, &status);
    assert_int_equal(status.rebuilds, 0);
}

static void
test_maintain_merges_days_of_too_many_files(void **state)
{
    struct rig *rig = *state;
    struct err err = {0};

    rig->options.maintain.merge_files = 2;
    rig->options.maintain.merge_percent = 1000;
    rig_open(rig);
    for (int i = 1; i <= 3; i++) {
        write_days(rig, 0, 1); /* TABLE_SAMPLES keeps all of them */
        assert_int_equal(seal_and_wait(rig, &err), ERR_OK);
        assert_int_equal(count_samples(rig), i * ROWS);
        assert_int_equal(count_files(rig, COLD_RAW), i < 3 ? i : 1);
    }
    assert_int_equal(status_of(rig).days_merged, 1);
}

static enum err_code
count_on_disk(void *ctx, const struct cold_file *file, struct err *err)
{
    (void)err;
    *(size_t *)ctx += file->kind == COLD_RAW;
    return ERR_OK;
}

/* A reader may have begun before the merge, however soon behind the start that is. */
static void
test_maintain_leaves_files_to_readers_in_its_first_round_too(void **state)
{
    struct rig *rig = *state;
    char path[RIG_PATH_MAX + 8];
    struct err err = {0};
    size_t count = 0;

    rig->options.maintain.merge_percent = 1000;
    rig_open(rig);
    for (int i = 0; i < 2; i++) {
        write_days(rig, 0, 1);
        assert_int_equal(seal_and_wait(rig, &err), ERR_OK);
    }
    assert_int_equal(count_files(rig, COLD_RAW), 2);
    rig_close(rig);
    rig->options.maintain.watch_off = false;
    rig->options.maintain.seal = true;
    rig->options.maintain.merge_files = 1;
    rig_open(rig);
    assert_int_equal(seal_and_wait(rig, &err), ERR_OK); /* the first round, or one behind it */
    rig_close(rig);
    snprintf(path, sizeof(path), "%s/cold", rig->dir);
    assert_int_equal(cold_walk(path, count_on_disk, &count, &err), ERR_OK);
    assert_int_equal(count, 3); /* both, and what they were merged into */
    rig->options.maintain.watch_off = true;
    rig_open(rig); /* nobody has them open any more */
    assert_int_equal(count_files(rig, COLD_RAW), 1);
    assert_int_equal(seal_and_wait(rig, &err), ERR_OK);
    rig_close(rig);
    count = 0;
    assert_int_equal(cold_walk(path, count_on_disk, &count, &err), ERR_OK);
    assert_int_equal(count, 1);
}

static void
test_maintain_keeps_rules_and_leaves_receipts(void **state)
{
    struct rig *rig = *state;
    struct store_table_stats stats;
    struct err err = {0};
    uint64_t ticket;

    rig->options.maintain.rules = old_rules;
    rig->options.maintain.rule_count = 1;
    rig_open(rig);
    write_days(rig, 0, 2);
    assert_int_equal(seal_and_wait(rig, &err), ERR_OK);
    write_days(rig, 2, 1); /* one that is hot */
    struct maintain_plan plan MAINTAIN_PLAN_AUTO = {0};
    assert_int_equal(engine_retention_plan(rig->engine, &plan, &err), ERR_OK);
    assert_int_equal(plan.plan.count, 3);
    assert_int_equal(count_samples(rig), 3 * ROWS);
    assert_int_equal(engine_ask_retention(rig->engine, &ticket, &err), ERR_OK);
    if (engine_maintain_wait(rig->engine, ticket, WAIT_MS, &err)) {
        fail_msg("%s", err.msg);
    }
    assert_int_equal(count_samples(rig), 0);
    assert_int_equal(count_files(rig, COLD_RAW) + count_files(rig, COLD_1D), 0);
    struct engine_status status;
    engine_status(rig->engine, &status);
    rig_applied(rig, status.durable_lsn);
    assert_int_equal(engine_table_stats(rig->engine, TABLE_RETENTION_RECEIPTS, &stats, &err),
                     ERR_OK);
    assert_int_equal(stats.rows, 3);
    assert_int_equal(status_of(rig).retention_rows, 3 * ROWS);
    assert_true(status_of(rig).retention_next_us > status_of(rig).retention_us);
}

/* What is known of each drop that was made when the next one is asked for. */
static struct {
    const struct store_ops *ops;
    struct rig *rig;
    uint64_t lsn;
    size_t drops;
    size_t told; /* times that the drop before was told of */
} watched;

static enum err_code
watch_drop(struct store *store, const struct cold_drop *drop, struct err *err)
{
    if (drop->names) { /* of files; old idempotency keys go by the same way */
        watched.told += watched.drops > 0 &&
                        engine_changed(watched.rig->engine, TABLE_SAMPLES, cold_day_begin_us(0),
                                       cold_day_end_us(0) - 1, watched.lsn);
        watched.drops++;
    }
    return watched.ops->cold_drop(store, drop, err);
}

static enum err_code
open_watched(const struct store_open_options *options, struct store **ret_store, struct err *err)
{
    static struct store_ops ops;
    enum err_code code = store_duckdb_open(options, ret_store, err);

    if (code == ERR_OK) {
        watched.ops = (*ret_store)->ops;
        ops = *watched.ops;
        ops.cold_drop = watch_drop;
        (*ret_store)->ops = &ops;
    }
    return code;
}

/* A drop that waits for its turn leaves nobody with answers of what the one before it took. */
static void
test_maintain_tells_of_each_drop_before_the_next(void **state)
{
    struct rig *rig = *state;
    struct err err = {0};
    uint64_t ticket;

    rig_open(rig);
    write_days(rig, 0, 1);
    assert_int_equal(seal_and_wait(rig, &err), ERR_OK);
    memset(&watched, 0, sizeof(watched));
    watched.rig = rig;
    watched.lsn = engine_applied_lsn(rig->engine);
    rig_close(rig);
    rig->options.store_open = open_watched;
    rig->options.maintain.rules = old_rules;
    rig->options.maintain.rule_count = 1;
    rig_open(rig); /* its first round may keep the rule already */
    assert_int_equal(engine_ask_retention(rig->engine, &ticket, &err), ERR_OK);
    assert_int_equal(engine_maintain_wait(rig->engine, ticket, WAIT_MS, &err), ERR_OK);
    assert_true(watched.drops > 1);
    assert_int_equal(watched.told, watched.drops - 1);
}

/* What a crash kept retention from taking off the list, the next start does, and tells. */
static void
test_maintain_tells_of_drops_that_a_start_finishes(void **state)
{
    struct rig *rig = *state;
    struct cold_file *files = NULL;
    struct err err = {0};
    char path[RIG_PATH_MAX + 8];
    size_t count = 0;

    rig_open(rig);
    write_days(rig, 0, 2);
    assert_int_equal(seal_and_wait(rig, &err), ERR_OK);
    uint64_t lsn = engine_applied_lsn(rig->engine);
    assert_int_equal(engine_cold_list(rig->engine, &files, &count, &err), ERR_OK);
    rig_close(rig);
    snprintf(path, sizeof(path), "%s/cold", rig->dir);
    for (size_t i = 0; i < count; i++) {
        if (files[i].day == 0) {
            assert_int_equal(cold_ledger_add(path, COLD_DROPPED, &files[i], 1, &err), ERR_OK);
        }
    }
    free(files);
    rig_open(rig);
    assert_int_equal(seal_and_wait(rig, &err), ERR_OK);
    assert_int_equal(count_samples(rig), ROWS);
    assert_true(engine_changed(rig->engine, TABLE_SAMPLES, cold_day_begin_us(0),
                               cold_day_end_us(0) - 1, lsn));
    assert_false(engine_changed(rig->engine, TABLE_TRADES, INT64_MIN, INT64_MAX, lsn));
}

static void
test_maintain_refuses_rules_that_make_no_sense(void **state)
{
    static const char *const bad[] = {"table=samples max_age=1d", "table=samples"};
    struct rig *rig = *state;
    struct err err = {0};

    rig->options.maintain.rules = bad;
    rig->options.maintain.rule_count = 2;
    assert_int_equal(engine_open(&rig->options, &rig->engine, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "rule 2 of retention"));
    rig->engine = NULL;
}

static void
test_maintain_is_off_for_a_store_without_cold_data(void **state)
{
    struct rig *rig = *state;
    struct err err = {0};

    rig->options.store_open = store_memory_open;
    rig->options.store_volatile = true;
    rig_open(rig);
    assert_int_equal(seal_and_wait(rig, &err), ERR_UNSUPPORTED);
    assert_int_equal(status_of(rig).state, MAINTAIN_OFF);
}

static void
write_key(struct rig *rig, const char *key, int64_t at_us)
{
    struct buf bytes BUF_AUTO;
    struct batch batch;

    buf_init(&bytes, 0);
    batch_init(&batch, catalog_table(TABLE_IDEMPOTENCY), 0);
    size_t row = batch_add_row(&batch);
    batch_set_text(&batch, 0, row, slice_of(key));
    batch_set_text(&batch, 1, row, slice_of("00"));
    batch_set_i64(&batch, 2, row, 1);
    batch_set_i64(&batch, 3, row, 0);
    batch_set_i64(&batch, 4, row, 0);
    batch_set_i64(&batch, 5, row, at_us);
    batch_encode(&batch, &bytes);
    uint64_t lsn = rig_write_bytes(rig, buf_slice(&bytes));
    batch_fini(&batch);
    rig_applied(rig, lsn);
}

/* A key is answered for a day; behind two its row is only in the way. */
static void
test_maintain_forgets_old_idempotency_keys(void **state)
{
    struct rig *rig = *state;
    struct store_scan scan = {
        .table = TABLE_IDEMPOTENCY, .from_us = INT64_MIN, .to_us = INT64_MAX, .limit = 10};
    struct batch rows;
    struct err err = {0};

    rig_open(rig);
    int64_t now_us = clock_wall_us(clock_system());
    write_key(rig, "of 1970", 0);
    write_key(rig, "four days ago", now_us - 4 * TIME_US_PER_DAY);
    write_key(rig, "yesterday", now_us - TIME_US_PER_DAY);
    write_key(rig, "now", now_us);
    rig_close(rig); /* so that the round that looks begins behind the rows */
    rig_open(rig);
    assert_int_equal(seal_and_wait(rig, &err), ERR_OK);
    rig_close(rig);
    rig_open(rig);
    assert_int_equal(engine_scan(rig->engine, &scan, &rows, &err), ERR_OK);
    assert_int_equal(rows.rows, 2);
    assert_true(slice_is(batch_get_text(&rows, 0, 0), "yesterday"));
    assert_true(slice_is(batch_get_text(&rows, 0, 1), "now"));
    batch_fini(&rows);
}

static void
test_maintain_stops_in_the_middle_of_sealing(void **state)
{
    struct rig *rig = *state;
    const struct maintain_seal seal = {.table = 0};
    struct err err = {0};
    uint64_t ticket;
    enum { DAYS = 16 }; /* several syncs each: seconds, on a slow disk */

    rig_open(rig);
    write_days(rig, 0, DAYS);
    assert_int_equal(engine_ask_seal(rig->engine, &seal, &ticket, &err), ERR_OK);
    rig_close(rig); /* with most days still to do */
    rig_open(rig);
    assert_int_equal(count_samples(rig), DAYS * ROWS);
    assert_int_equal(rig_count_files(rig, "cold/tmp", "parquet"), 0);
    assert_int_equal(seal_and_wait(rig, &err), ERR_OK);
    assert_int_equal(count_files(rig, COLD_RAW), DAYS);
    assert_int_equal(count_samples(rig), DAYS * ROWS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_maintain_seals_what_it_is_asked_for, setup, teardown),
        cmocka_unit_test_setup_teardown(test_maintain_tells_what_failed_and_goes_on, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_maintain_tells_of_each_drop_before_the_next, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_maintain_tells_of_drops_that_a_start_finishes, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_maintain_merges_days_of_too_many_files, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            test_maintain_leaves_files_to_readers_in_its_first_round_too, setup, teardown),
        cmocka_unit_test_setup_teardown(test_maintain_keeps_rules_and_leaves_receipts, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_maintain_refuses_rules_that_make_no_sense, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_maintain_is_off_for_a_store_without_cold_data, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_maintain_forgets_old_idempotency_keys, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_maintain_stops_in_the_middle_of_sealing, setup,
                                        teardown),
    };

    rig_plan.open = store_duckdb_open;
    return cmocka_run_group_tests_name("maintain", tests, NULL, NULL);
}
