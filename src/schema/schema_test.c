/* Tests of the runner of migrations over a fake database. */
#include "schema/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "schema/fake_schema_db.h"

#define COUNT_OF(array) (sizeof(array) / sizeof(*(array)))

static const char *const up_1[] = {"MAKE one", "MAKE two"};
static const char *const down_1[] = {"DROP two", "DROP one"};
static const char *const up_2[] = {"DROP two", "MAKE two_hot", "MAKE cold"};
static const char *const down_2[] = {"DROP cold", "DROP two_hot", "MAKE two"};
static const char *const up_3[] = {"MAKE three"};
static const char *const down_3[] = {"DROP three"};

static const struct schema_migration migrations[] = {
    {1, "tables", "c1", up_1, COUNT_OF(up_1), down_1, COUNT_OF(down_1)},
    {2, "hot_and_cold", "c2", up_2, COUNT_OF(up_2), down_2, COUNT_OF(down_2)},
    {3, "more", "c3", up_3, COUNT_OF(up_3), down_3, COUNT_OF(down_3)},
};

static const struct schema_list list = {migrations, COUNT_OF(migrations)};

/* The tables of each version, in any order; the ledger aside. */
static const char *const tables_of[][4] = {{NULL},
                                           {"one", "two", NULL},
                                           {"one", "two_hot", "cold", NULL},
                                           {"one", "two_hot", "cold", "three"}};

struct fixture {
    struct fake_db fake;
    struct clock_manual clock;
    struct schema_db db;
    size_t steps;
    uint32_t last_version;
    bool last_up;
    int64_t last_ms;
};

static int
setup(void **state)
{
    struct fixture *fixture = mem_zalloc(1, sizeof(*fixture));

    clock_manual_init(&fixture->clock, 1000000);
    fixture->db = (struct schema_db){.ops = &fake_db_ops,
                                     .ctx = &fixture->fake,
                                     .dialect = SCHEMA_DUCKDB,
                                     .where = "test.db",
                                     .list = &list,
                                     .clock = &fixture->clock.clock};
    *state = fixture;
    return 0;
}

static int
teardown(void **state)
{
    free(*state);
    return 0;
}

static void
set_text(char *to, const char *text)
{
    memcpy(to, text, strlen(text) + 1);
}

static void
note_step(void *ctx, const struct schema_migration *migration, bool up, int64_t execution_ms)
{
    struct fixture *fixture = ctx;

    fixture->steps++;
    fixture->last_version = migration->version;
    fixture->last_up = up;
    fixture->last_ms = execution_ms;
}

static enum err_code
move(struct fixture *fixture, bool down, int to, bool dry_run, struct err *err)
{
    struct schema_move move = {.down = down,
                               .has_to = to >= 0,
                               .to = to >= 0 ? (uint32_t)to : 0,
                               .dry_run = dry_run,
                               .step = note_step,
                               .step_ctx = fixture};

    return schema_move(&fixture->db, &move, err);
}

static void
up(struct fixture *fixture, int to)
{
    struct err err = {0};

    if (move(fixture, false, to, false, &err)) {
        fail_msg("up: %s", err.msg);
    }
}

static uint32_t
version_of(struct fixture *fixture)
{
    struct schema_status *status MEM_AUTO = mem_zalloc(1, sizeof(*status));
    struct err err = {0};

    if (schema_status(&fixture->db, status, &err) || status->problem.code) {
        fail_msg("status: %s%s", err.msg, status->problem.msg);
    }
    return status->version;
}

/* The tables are those of the version that the ledger tells, and nothing is left open. */
static uint32_t
check_state(struct fixture *fixture)
{
    bool has_ledger = fake_has_table(&fixture->fake, SCHEMA_LEDGER);
    uint32_t version = version_of(fixture);
    size_t count = 0;

    assert_false(fixture->fake.in_transaction);
    for (; count < 4 && tables_of[version][count]; count++) {
        assert_true(fake_has_table(&fixture->fake, tables_of[version][count]));
    }
    assert_int_equal(fixture->fake.now.table_count, count + has_ledger);
    return version;
}

static void
test_schema_up_applies_everything_in_order_and_records_it(void **state)
{
    struct fixture *fixture = *state;
    const struct fake_row *rows = fixture->fake.now.rows;

    up(fixture, -1);
    assert_int_equal(check_state(fixture), 3);
    assert_int_equal(fixture->steps, 3);
    assert_int_equal(fixture->fake.begins, 4); /* the last finds nothing to do */
    assert_int_equal(fixture->fake.now.row_count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(rows[i].version, i + 1);
        assert_string_equal(rows[i].name, migrations[i].name);
        assert_string_equal(rows[i].checksum, migrations[i].checksum);
        assert_string_equal(rows[i].status, "applied");
    }
    up(fixture, -1);
    assert_int_equal(fixture->steps, 3);
    assert_int_equal(fixture->fake.now.row_count, 3);
}

static void
test_schema_moves_to_the_version_that_was_asked_for(void **state)
{
    struct fixture *fixture = *state;
    struct err err = {0};

    up(fixture, 2);
    assert_int_equal(check_state(fixture), 2);
    assert_int_equal(move(fixture, true, 0, false, &err), ERR_OK);
    assert_int_equal(check_state(fixture), 0);
    assert_int_equal(fixture->last_version, 1);
    assert_false(fixture->last_up);
    up(fixture, 3);
    assert_int_equal(move(fixture, true, -1, false, &err), ERR_OK);
    assert_int_equal(check_state(fixture), 2);
    up(fixture, 2);
    assert_int_equal(check_state(fixture), 2);
}

static void
test_schema_down_of_nothing_is_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct err err = {0};

    assert_int_equal(move(fixture, true, -1, false, &err), ERR_OK);
    assert_int_equal(fixture->steps, 0);
    assert_int_equal(fixture->fake.now.table_count, 0);
}

static void
refuse_target(struct fixture *fixture, bool down, int to, const char *expected)
{
    struct err err = {0};

    assert_int_equal(move(fixture, down, to, false, &err), ERR_INVALID);
    assert_string_equal(err.msg, expected);
    assert_int_equal(move(fixture, down, to, true, &err), ERR_INVALID);
    assert_string_equal(err.msg, expected);
}

static void
test_schema_refuses_versions_that_are_not_there_or_lie_the_other_way(void **state)
{
    struct fixture *fixture = *state;

    up(fixture, 2);
    refuse_target(fixture, false, 4,
                  "test.db: there is no version 4: the list has versions 0 to 3");
    refuse_target(fixture, true, 4, "test.db: there is no version 4: the list has versions 0 to 3");
    refuse_target(fixture, false, 1,
                  "test.db: the database is at version 2, which is above 1: \"eider migrate schema "
                  "down --to 1\" goes there");
    refuse_target(fixture, true, 3,
                  "test.db: the database is at version 2, which is below 3: \"eider migrate schema "
                  "up --to 3\" goes there");
    assert_int_equal(check_state(fixture), 2);
}

/* From `from` to `to`, with each call made to fail once, at every place. */
static void
fail_everywhere(struct fixture *fixture, int from, int to)
{
    enum err_code code = ERR_IO;
    int failures = 0;

    for (int at = 1; code; at++) {
        struct err err = {0};
        fixture->fake = (struct fake_db){0};
        up(fixture, from);
        fixture->fake.calls = 0;
        fixture->fake.fail_at = at;
        code = move(fixture, to < from, to, false, &err);
        failures += code != ERR_OK;
        assert_true(code == ERR_OK || code == ERR_IO);
        assert_true(code == ERR_OK || strstr(err.msg, "made to fail"));
        fixture->fake.fail_at = 0;
        uint32_t reached = check_state(fixture);
        assert_in_range(reached, from < to ? from : to, from < to ? to : from);
        assert_int_equal(move(fixture, to < from, to, false, &err), ERR_OK);
        assert_int_equal(check_state(fixture), to);
    }
    assert_true(failures > 15);
}

static void
test_schema_up_that_fails_at_any_call_leaves_a_whole_version(void **state)
{
    fail_everywhere(*state, 0, 3);
}

static void
test_schema_down_that_fails_at_any_call_leaves_a_whole_version(void **state)
{
    fail_everywhere(*state, 3, 0);
}

static void
test_schema_failure_names_migration_and_statement(void **state)
{
    struct fixture *fixture = *state;
    struct err err = {0};

    up(fixture, 1);
    fake_add_table(&fixture->fake, "two_hot");
    assert_int_equal(move(fixture, false, -1, false, &err), ERR_CONFLICT);
    assert_string_equal(err.msg, "test.db: migration 2 hot_and_cold, up: statement 2 of 3 (MAKE "
                                 "two_hot): table two_hot is there");
    assert_int_equal(version_of(fixture), 1);
    assert_true(fake_has_table(&fixture->fake, "two"));
}

static void
test_schema_dry_run_tells_the_steps_and_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct err err = {0};

    assert_int_equal(move(fixture, false, -1, true, &err), ERR_OK);
    assert_int_equal(fixture->steps, 3);
    assert_int_equal(fixture->last_version, 3);
    assert_int_equal(fixture->last_ms, -1);
    assert_int_equal(fixture->fake.begins, 0);
    assert_int_equal(fixture->fake.now.table_count, 0);
    up(fixture, -1);
    fixture->steps = 0;
    fixture->fake.begins = 0;
    assert_int_equal(move(fixture, true, 1, true, &err), ERR_OK);
    assert_int_equal(fixture->steps, 2);
    assert_int_equal(fixture->last_version, 2);
    assert_false(fixture->last_up);
    assert_int_equal(fixture->fake.begins, 0);
    assert_int_equal(check_state(fixture), 3);
}

/* Both ways, and as a rehearsal, the move is refused with this text and changes nothing. */
static void
refuse_ledger(struct fixture *fixture, const char *expected)
{
    struct fake_state *before MEM_AUTO = mem_zalloc(1, sizeof(*before));
    struct err err = {0};

    *before = fixture->fake.now;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(move(fixture, i % 2, -1, i / 2, &err), ERR_CONFLICT);
        assert_string_equal(err.msg, expected);
        assert_memory_equal(before, &fixture->fake.now, sizeof(*before));
        assert_false(fixture->fake.in_transaction);
    }
    assert_int_equal(schema_open(&fixture->db, &err), ERR_CONFLICT);
    assert_string_equal(err.msg, expected);
}

static enum schema_state
state_of(struct fixture *fixture, size_t version)
{
    struct schema_status *status MEM_AUTO = mem_zalloc(1, sizeof(*status));
    struct err err = {0};

    assert_int_equal(schema_status(&fixture->db, status, &err), ERR_OK);
    assert_true(version <= status->line_count);
    assert_int_equal(status->lines[version - 1].version, version);
    return status->lines[version - 1].state;
}

static void
test_schema_refuses_a_migration_that_was_changed_after_it_was_applied(void **state)
{
    struct fixture *fixture = *state;

    up(fixture, 2);
    set_text(fixture->fake.now.rows[1].checksum, "other");
    refuse_ledger(fixture, "test.db: migration 2 hot_and_cold was changed after it was applied: "
                           "recorded hot_and_cold other, this program has c2; start the program "
                           "that applied it, or restore a backup");
    assert_int_equal(state_of(fixture, 1), SCHEMA_APPLIED);
    assert_int_equal(state_of(fixture, 2), SCHEMA_CHANGED);
    assert_int_equal(state_of(fixture, 3), SCHEMA_PENDING);
}

static void
test_schema_refuses_a_database_that_is_newer(void **state)
{
    struct fixture *fixture = *state;

    up(fixture, -1);
    fake_add_row(&fixture->fake, 4, "later", "c4", "applied");
    refuse_ledger(
        fixture, "test.db: the database is at version 4 (later), this program knows versions up to "
                 "3: a newer program wrote it; start that one, or let it go back with \"eider "
                 "migrate schema down --to 3\"");
    assert_int_equal(state_of(fixture, 4), SCHEMA_NEWER);
}

static void
test_schema_takes_a_database_from_which_a_newer_version_was_rolled_back(void **state)
{
    struct fixture *fixture = *state;

    up(fixture, -1);
    fake_add_row(&fixture->fake, 4, "later", "c4", "applied");
    fixture->fake.now.rows[3].applied_us = 9000000;
    fake_add_row(&fixture->fake, 4, "later", "c4", "rolled_back");
    fixture->fake.now.rows[4].applied_us = 9000001;
    assert_int_equal(version_of(fixture), 3);
    assert_int_equal(state_of(fixture, 4), SCHEMA_ROLLED_BACK);
    up(fixture, -1);
}

static void
test_schema_refuses_a_ledger_with_gaps(void **state)
{
    struct fixture *fixture = *state;

    up(fixture, -1);
    fixture->fake.now.rows[1] = fixture->fake.now.rows[2];
    fixture->fake.now.row_count = 2;
    refuse_ledger(fixture, "test.db: the ledger eider_schema_migrations lacks migration 2 "
                           "hot_and_cold though version 3 is applied: it was changed by hand; "
                           "restore a backup");
    assert_int_equal(state_of(fixture, 2), SCHEMA_MISSING);
    assert_int_equal(state_of(fixture, 3), SCHEMA_APPLIED);
}

static void
test_schema_refuses_a_ledger_that_nobody_of_us_wrote(void **state)
{
    struct fixture *fixture = *state;

    up(fixture, 1);
    fixture->fake.now.rows[0].version = 1000;
    refuse_ledger(fixture, "test.db: the ledger eider_schema_migrations has version 1000, expected "
                           "is 1 to 256: it was changed by hand; restore a backup");
    fixture->fake.now.rows[0].version = 1;
    set_text(fixture->fake.now.rows[0].status, "failed");
    refuse_ledger(fixture, "test.db: the ledger eider_schema_migrations has status failed for "
                           "version 1, expected is applied or rolled_back: it was changed by hand; "
                           "restore a backup");
    fixture->fake = (struct fake_db){0};
    fake_add_table(&fixture->fake, SCHEMA_LEDGER "(version INTEGER, note VARCHAR)");
    refuse_ledger(fixture, "test.db: the table eider_schema_migrations is not the ledger of this "
                           "program: rename it");
}

/* Another program does the first step between our look and our transaction. */
static void
do_first_step(struct fake_db *fake)
{
    if (fake->begins == 1) {
        fake_add_table(fake, "one");
        fake_add_table(fake, "two");
        fake_add_row(fake, 1, "tables", "c1", "applied");
    }
}

static void
test_schema_does_not_repeat_what_another_program_did_meanwhile(void **state)
{
    struct fixture *fixture = *state;

    fixture->db.dialect = SCHEMA_POSTGRES;
    fixture->fake.on_begin = do_first_step;
    up(fixture, -1);
    assert_int_equal(check_state(fixture), 3);
    assert_int_equal(fixture->fake.now.row_count, 3);
    assert_int_equal(fixture->steps, 2);
    assert_int_equal(fixture->fake.locks, fixture->fake.begins);
}

static void
test_schema_keeps_the_order_of_its_rows_when_the_clock_goes_back(void **state)
{
    struct fixture *fixture = *state;
    struct err err = {0};

    up(fixture, -1);
    clock_manual_init(&fixture->clock, 5);
    assert_int_equal(move(fixture, true, 1, false, &err), ERR_OK);
    assert_int_equal(check_state(fixture), 1);
    up(fixture, 2);
    assert_int_equal(check_state(fixture), 2);
    for (size_t i = 1; i < fixture->fake.now.row_count; i++) {
        assert_true(fixture->fake.now.rows[i].applied_us >
                    fixture->fake.now.rows[i - 1].applied_us);
    }
}

static void
test_schema_history_tells_everything_oldest_first(void **state)
{
    struct fixture *fixture = *state;
    struct batch rows BATCH_AUTO = {0};
    struct batch none BATCH_AUTO = {0};
    struct err err = {0};

    assert_int_equal(schema_history(&fixture->db, &none, &err), ERR_OK);
    assert_int_equal(none.rows, 0);
    up(fixture, 2);
    assert_int_equal(move(fixture, true, 1, false, &err), ERR_OK);
    assert_int_equal(schema_history(&fixture->db, &rows, &err), ERR_OK);
    assert_int_equal(rows.rows, 3);
    assert_int_equal(batch_get_i64(&rows, 0, 2), 2);
    assert_true(slice_is(batch_get_text(&rows, 1, 2), "hot_and_cold"));
    assert_true(slice_is(batch_get_text(&rows, 5, 1), "applied"));
    assert_true(slice_is(batch_get_text(&rows, 5, 2), "rolled_back"));
    assert_true(slice_is(batch_get_text(&rows, 6, 0), "eider"));
}

/* The first migration finds tables that were there before there was a ledger. */
static void
test_schema_adds_the_columns_that_an_adopted_table_lacks(void **state)
{
    struct fixture *fixture = *state;

    fake_add_table(&fixture->fake, "system_metrics(timestamp TIMESTAMP, cpu_percent DOUBLE)");
    up(fixture, 1);
    const struct fake_table *table = fake_table(&fixture->fake, "system_metrics");
    const struct catalog_table *catalog = catalog_table(TABLE_SYSTEM_METRICS);
    assert_int_equal(table->column_count, catalog->column_count);
    for (size_t i = 0; i < table->column_count; i++) {
        assert_string_equal(table->columns[i][0], catalog->columns[i].name);
        assert_string_equal(table->columns[i][1], catalog_sql_type(catalog->columns[i].type));
    }
}

static void
refuse_tables(struct fixture *fixture, const char *table, const char *expected)
{
    struct err err = {0};

    fixture->fake = (struct fake_db){0};
    fake_add_table(&fixture->fake, table);
    assert_int_equal(move(fixture, false, 1, false, &err), ERR_CONFLICT);
    assert_string_equal(err.msg, expected);
    assert_int_equal(fixture->fake.now.table_count, 1);
}

static void
test_schema_refuses_tables_that_are_somebody_elses(void **state)
{
    struct fixture *fixture = *state;

    refuse_tables(
        fixture, "trades(id BIGINT, what VARCHAR)",
        "test.db: migration 1 tables, up: table trades has column id BIGINT where trade_id "
        "VARCHAR is expected; it is not a database of this program: move it away and use "
        "\"eider import\"");
    refuse_tables(
        fixture,
        "series(series_id INTEGER, metric_name VARCHAR, symbol VARCHAR, labels JSON, "
        "more INTEGER)",
        "test.db: migration 1 tables, up: table series has more columns than this version "
        "knows, the first is more: it was written by a newer one, or the column is "
        "somebody else's");
}

static void
test_schema_check_names_the_first_difference(void **state)
{
    struct fixture *fixture = *state;
    struct err err = {0};

    assert_int_equal(schema_check(&fixture->db, &err), ERR_CONFLICT);
    assert_string_equal(err.msg, "test.db: table market_data_hot is missing; restore a backup");
    fixture->db.dialect = SCHEMA_POSTGRES;
    assert_int_equal(schema_check(&fixture->db, &err), ERR_CONFLICT);
    assert_string_equal(err.msg, "test.db: table market_data is missing; restore a backup");
    fake_add_table(&fixture->fake, "market_data(timestamp timestamp without time zone)");
    assert_int_equal(schema_check(&fixture->db, &err), ERR_CONFLICT);
    assert_string_equal(err.msg,
                        "test.db: table market_data lacks column symbol; it is not a database of "
                        "this program: move it away and use \"eider import\"");
}

static void
test_schema_lists_are_numbered_from_one_with_both_directions(void **state)
{
    (void)state;
    for (int dialect = SCHEMA_DUCKDB; dialect <= SCHEMA_POSTGRES; dialect++) {
        const struct schema_list *own = schema_list((enum schema_dialect)dialect);
        assert_true(own->count >= 1 && own->count < SCHEMA_VERSIONS_MAX);
        for (size_t i = 0; i < own->count; i++) {
            const struct schema_migration *migration = &own->migrations[i];
            assert_int_equal(migration->version, i + 1);
            assert_int_equal(strlen(migration->checksum), 64);
            assert_true(strlen(migration->name) < SCHEMA_NAME_MAX);
            assert_true(migration->up_count > 0 && migration->down_count > 0);
            for (size_t s = 0; s < migration->up_count; s++) {
                assert_null(strstr(migration->up[s], "--"));
            }
        }
    }
    assert_string_equal(schema_list(SCHEMA_DUCKDB)->migrations[1].name, "hot_and_cold");
    assert_string_equal(schema_list(SCHEMA_DUCKDB)->migrations[1].up[0],
                        "ALTER TABLE market_data RENAME TO market_data_hot");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_schema_up_applies_everything_in_order_and_records_it),
        TEST(test_schema_moves_to_the_version_that_was_asked_for),
        TEST(test_schema_down_of_nothing_is_nothing),
        TEST(test_schema_refuses_versions_that_are_not_there_or_lie_the_other_way),
        TEST(test_schema_up_that_fails_at_any_call_leaves_a_whole_version),
        TEST(test_schema_down_that_fails_at_any_call_leaves_a_whole_version),
        TEST(test_schema_failure_names_migration_and_statement),
        TEST(test_schema_dry_run_tells_the_steps_and_changes_nothing),
        TEST(test_schema_refuses_a_migration_that_was_changed_after_it_was_applied),
        TEST(test_schema_refuses_a_database_that_is_newer),
        TEST(test_schema_takes_a_database_from_which_a_newer_version_was_rolled_back),
        TEST(test_schema_refuses_a_ledger_with_gaps),
        TEST(test_schema_refuses_a_ledger_that_nobody_of_us_wrote),
        TEST(test_schema_does_not_repeat_what_another_program_did_meanwhile),
        TEST(test_schema_keeps_the_order_of_its_rows_when_the_clock_goes_back),
        TEST(test_schema_history_tells_everything_oldest_first),
        TEST(test_schema_adds_the_columns_that_an_adopted_table_lacks),
        TEST(test_schema_refuses_tables_that_are_somebody_elses),
        TEST(test_schema_check_names_the_first_difference),
        TEST(test_schema_lists_are_numbered_from_one_with_both_directions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
