/* Migrations of a real DuckDB file: nothing is lost, nothing is made twice, and what must be
 * refused is refused as a conflict (which leaves the file where it is). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* */
#include <cmocka.h>

#include <duckdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/duckdb/duckdb_schema.h"
#include "store/duckdb/store_duckdb.h"
#include "store/engine_testing.h"
#include "store/failpoint.h"

enum { ROWS = 100 };

/* That the first program did not have. */
static const enum table_id first_new = TABLE_RETENTION_RECEIPTS;

struct place {
    char dir[64];
    char path[96];
    char other[96];
};

static int
setup(void **state)
{
    struct place *place = mem_zalloc(1, sizeof(*place));

    snprintf(place->dir, sizeof(place->dir), "/tmp/eider-schema-XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    snprintf(place->path, sizeof(place->path), "%s/test.duckdb", place->dir);
    snprintf(place->other, sizeof(place->other), "%s/other.duckdb", place->dir);
    *state = place;
    return 0;
}

static int
teardown(void **state)
{
    struct place *place = *state;

    failpoint_arm(NULL);
    rig_remove_tree(place->dir);
    free(place);
    return 0;
}

/* Runs statements on a file that nobody has open. */
static void
run_sql(const char *path, const char *sql)
{
    duckdb_database database;
    duckdb_connection connection;
    duckdb_result result;

    assert_int_equal(duckdb_open(path, &database), DuckDBSuccess);
    assert_int_equal(duckdb_connect(database, &connection), DuckDBSuccess);
    if (duckdb_query(connection, sql, &result) != DuckDBSuccess) {
        fail_msg("%s: %s", duckdb_result_error(&result), sql);
    }
    duckdb_destroy_result(&result);
    duckdb_disconnect(&connection);
    duckdb_close(&database);
}

static void
run_buf(const char *path, struct buf *sql)
{
    buf_add_char(sql, '\0');
    assert_false(sql->overflow);
    run_sql(path, sql->ptr);
}

/* Fails the test unless `value` is `expected` in the database. */
static void
expect(const char *path, const char *value, const char *expected)
{
    struct buf sql BUF_AUTO;

    buf_init(&sql, 0);
    buf_add_fmt(&sql,
                "SELECT CASE WHEN (%s)::VARCHAR IS DISTINCT FROM '%s' THEN error((%s)::VARCHAR) "
                "END",
                value, expected, value);
    run_buf(path, &sql);
}

static enum err_code
open_store(const char *path, struct err *err)
{
    struct store_open_options options = {.path = path, .threads = 1, .readers = 1};
    struct store *store = NULL;

    enum err_code code = store_duckdb_open(&options, &store, err);
    store_close(store);
    return code;
}

static void
open_well(const char *path)
{
    struct err err = {0};

    if (open_store(path, &err)) {
        fail_msg("open: %s", err.msg);
    }
}

static enum err_code
move(const char *path, bool down, int to, struct err *err)
{
    struct store_open_options options = {.path = path};
    struct schema_move move = {.down = down, .has_to = true, .to = (uint32_t)to};
    struct schema_session *session = NULL;

    enum err_code code = store_duckdb_schema_open(&options, true, &session, err);
    code = code ? code : schema_move(&session->db, &move, err);
    schema_session_close(session);
    return code;
}

static uint32_t
version_of(const char *path)
{
    struct schema_status *status MEM_AUTO = mem_zalloc(1, sizeof(*status));
    struct store_open_options options = {.path = path};
    struct schema_session *session = NULL;
    struct err err = {0};

    if (store_duckdb_schema_open(&options, false, &session, &err) ||
        schema_status(&session->db, status, &err) || status->problem.code) {
        fail_msg("%s%s", err.msg, status->problem.msg);
    }
    schema_session_close(session);
    return status->version;
}

static uint32_t
newest(void)
{
    return (uint32_t)schema_list(SCHEMA_DUCKDB)->count;
}

/* ---- a database from before there was a ledger ---- */

/* A value made of the row's number i. */
static const char *
value_of(enum col_type type)
{
    static const char *const values[COL_TYPE_COUNT] = {
        [COL_BOOL] = "i % 2 = 0",
        [COL_INT32] = "i::INTEGER",
        [COL_INT64] = "i * 3",
        [COL_DOUBLE] = "i * 1.5",
        [COL_TIMESTAMP] = "make_timestamp(1700000000000000 + i * 1000003)",
        [COL_TEXT] = "'t' || i",
        [COL_JSON] = "'{\"a\": ' || i || '}'",
        [COL_DECIMAL] = "i + 0.000001"};

    return values[type];
}

static void
add_fingerprint(struct buf *sql, const char *table)
{
    buf_add_fmt(sql, "(SELECT md5(string_agg(t::VARCHAR, '|' ORDER BY t::VARCHAR)) FROM %s AS t)",
                table);
}

/* Tables as the first program made them, with rows in all of them, and a table that keeps what the
 * rows were. */
static void
make_old(const char *path)
{
    const struct schema_migration *first = schema_list(SCHEMA_DUCKDB)->migrations;
    const struct catalog_table *table;
    struct buf sql BUF_AUTO;

    buf_init(&sql, 1 << 20);
    for (size_t i = 0; i < first->up_count; i++) {
        buf_add_fmt(&sql, "%s;", first->up[i]);
    }
    buf_add_cstr(&sql, "CREATE VIEW trading_metrics AS SELECT s.timestamp, r.metric_name, s.value, "
                       "r.symbol, r.labels FROM samples AS s JOIN series AS r USING (series_id);"
                       "CREATE TABLE rows_were (name VARCHAR, rows VARCHAR);");
    for (size_t i = 0; (table = catalog_at(i)) && table->id < first_new; i++) {
        buf_add_fmt(&sql, "INSERT INTO %s SELECT ",
                    table->kind == TABLE_VIEW ? "eider_applied" : table->name);
        for (size_t c = 0; c < table->column_count && table->kind != TABLE_VIEW; c++) {
            buf_add_fmt(&sql, "%s%s", c ? ", " : "", value_of(table->columns[c].type));
        }
        buf_add_fmt(&sql, "%s FROM range(1, %d) AS r(i);", table->kind == TABLE_VIEW ? "i" : "",
                    ROWS + 1);
        buf_add_fmt(&sql, "INSERT INTO rows_were SELECT '%s', ", table->name);
        add_fingerprint(&sql, table->name);
        buf_add_cstr(&sql, ";");
    }
    run_buf(path, &sql);
}

/* All rows are what they were, by the plain names. */
static void
expect_rows(const char *path)
{
    const struct catalog_table *table;
    struct buf sql BUF_AUTO;

    buf_init(&sql, 0);
    for (size_t i = 0; (table = catalog_at(i)) && table->id < first_new; i++) {
        buf_add_cstr(&sql, "SELECT CASE WHEN ");
        add_fingerprint(&sql, table->name);
        buf_add_fmt(&sql,
                    " IS DISTINCT FROM (SELECT rows FROM rows_were WHERE name = '%s') THEN "
                    "error('rows of %s') END;",
                    table->name, table->name);
    }
    buf_add_fmt(&sql,
                "SELECT CASE WHEN max(lsn) <> %d THEN error('applied') END FROM eider_applied;"
                "SELECT CASE WHEN count(*) <> %d THEN error('fingerprints') END FROM rows_were;",
                ROWS, (int)first_new - 1);
    run_buf(path, &sql);
}

static void
test_open_brings_up_a_database_from_before_the_ledger(void **state)
{
    struct place *place = *state;

    make_old(place->path);
    open_well(place->path);
    expect_rows(place->path);
    expect(place->path, "(SELECT count(*) FROM samples_hot)", "100");
    expect(place->path,
           "(SELECT string_agg(version || name || status, ' ' ORDER BY applied_at) FROM "
           "eider_schema_migrations WHERE version < 3)",
           "1tablesapplied 2hot_and_coldapplied");
    open_well(place->path);
    expect_rows(place->path);
    expect(place->path, "(SELECT count(*) = max(version) FROM eider_schema_migrations)", "true");
    assert_int_equal(version_of(place->path), newest());
}

/* The frozen statements and the catalogue say the same, column by column: what the catalogue alone
 * would make, beside what the migrations made. */
static void
test_open_makes_exactly_the_tables_of_the_catalogue(void **state)
{
    struct place *place = *state;
    const struct catalog_table *table;
    struct buf sql BUF_AUTO;

    open_well(place->path);
    buf_init(&sql, 0);
    for (size_t i = 0; (table = catalog_at(i)); i++) {
        if (table->kind != TABLE_VIEW) {
            catalog_ddl(table, &sql);
            buf_add_char(&sql, ';');
            if (table->sealed) {
                buf_add_fmt(&sql, "ALTER TABLE %s RENAME TO ", table->name);
                catalog_hot_name(table, &sql);
                buf_add_char(&sql, ';');
            }
        }
    }
    buf_add_fmt(&sql, "ATTACH '%s' AS made (READ_ONLY);", place->path);
    buf_add_cstr(&sql,
                 "CREATE TEMP VIEW all_columns AS SELECT c.database_name AS db, c.table_name, "
                 "c.column_index, c.column_name, c.data_type, c.is_nullable "
                 "FROM duckdb_columns() AS c SEMI JOIN duckdb_tables() AS t "
                 "USING (database_name, table_oid);"
                 "CREATE TEMP TABLE wanted AS SELECT * EXCLUDE (db) FROM all_columns "
                 "WHERE db = 'other';"
                 "CREATE TEMP TABLE made_ones AS SELECT * EXCLUDE (db) FROM all_columns "
                 "WHERE db = 'made' AND table_name NOT IN ('eider_applied', 'eider_cold_files', "
                 "'eider_schema_migrations');"
                 "SELECT CASE WHEN count(*) < 100 THEN error('too few columns') END FROM wanted;"
                 "SELECT error('not made: ' || table_name || '.' || column_name || ' ' || "
                 "data_type) FROM (FROM wanted EXCEPT FROM made_ones);"
                 "SELECT error('not wanted: ' || table_name || '.' || column_name || ' ' || "
                 "data_type) FROM (FROM made_ones EXCEPT FROM wanted);");
    run_buf(place->other, &sql);
}

/* ---- down ---- */

static void
test_down_and_up_again_keep_every_row(void **state)
{
    struct place *place = *state;
    struct err err = {0};

    make_old(place->path);
    open_well(place->path);
    if (move(place->path, true, 1, &err)) {
        fail_msg("down: %s", err.msg);
    }
    expect_rows(place->path);
    expect(place->path,
           "(SELECT count(*) FROM duckdb_tables() WHERE table_name LIKE '%\\_hot' ESCAPE '\\')",
           "0");
    expect(place->path,
           "(SELECT string_agg(version || status, ' ' ORDER BY applied_at) FROM "
           "eider_schema_migrations WHERE version < 3)",
           "1applied 2applied 2rolled_back");
    open_well(place->path);
    expect_rows(place->path);
    assert_int_equal(version_of(place->path), newest());
}

static void
test_down_refuses_while_rows_are_in_cold_files(void **state)
{
    struct place *place = *state;
    struct err err = {0};

    make_old(place->path);
    open_well(place->path);
    run_sql(place->path,
            "INSERT INTO eider_cold_files SELECT 'a.parquet', 'samples', 'raw', 19000, "
            "5, 100, 0, 1, 'x', 7, make_timestamp(0) FROM range(3)");
    assert_int_equal(move(place->path, true, 1, &err), ERR_CONFLICT);
    assert_non_null(strstr(err.msg, "migration 2 hot_and_cold, down"));
    assert_non_null(strstr(err.msg, "rows are in 3 cold files, which version 1 cannot read"));
    assert_int_equal(version_of(place->path), newest()); /* before the first step */
    run_sql(place->path, "DELETE FROM eider_cold_files");
    open_well(place->path);
    expect_rows(place->path);
}

static void
test_down_below_the_first_version_refuses_when_there_are_rows(void **state)
{
    struct place *place = *state;
    struct err err = {0};

    make_old(place->path);
    open_well(place->path);
    assert_int_equal(move(place->path, true, 0, &err), ERR_CONFLICT);
    assert_non_null(strstr(err.msg, "going below version 1 would delete its tables"));
    assert_int_equal(version_of(place->path), newest());
    expect_rows(place->path);
}

static void
test_down_to_nothing_and_up_of_a_database_without_rows(void **state)
{
    struct place *place = *state;
    struct err err = {0};

    open_well(place->path);
    if (move(place->path, true, 0, &err)) {
        fail_msg("down: %s", err.msg);
    }
    expect(place->path, "(SELECT string_agg(table_name, ' ') FROM duckdb_tables())",
           "eider_schema_migrations");
    expect(place->path, "(SELECT count(*) FROM duckdb_views() WHERE NOT internal)", "0");
    open_well(place->path);
    assert_int_equal(version_of(place->path), newest());
}

/* ---- refusals ---- */

/* The store refuses as a conflict, so that nobody takes the file for damaged. */
static void
refuse(const char *path, const char *text)
{
    struct err err = {0};

    assert_int_equal(open_store(path, &err), ERR_CONFLICT);
    if (!strstr(err.msg, text) || strncmp(err.msg, path, strlen(path)) != 0) {
        fail_msg("%s", err.msg);
    }
}

static void
test_open_refuses_a_name_that_is_taken_and_loses_nothing(void **state)
{
    struct place *place = *state;

    make_old(place->path);
    run_sql(place->path, "CREATE TABLE samples_hot (mine INTEGER); INSERT INTO samples_hot VALUES "
                         "(7)");
    refuse(place->path, "migration 2 hot_and_cold, up: statement 8 of 10 (ALTER TABLE samples "
                        "RENAME TO samples_hot): ");
    assert_int_equal(version_of(place->path), 1);
    expect_rows(place->path);
    expect(place->path, "(SELECT mine FROM samples_hot)", "7");
    run_sql(place->path, "ALTER TABLE samples_hot RENAME TO mine");
    open_well(place->path);
    expect_rows(place->path);
}

static void
test_open_refuses_changed_and_newer_ledgers(void **state)
{
    struct place *place = *state;

    open_well(place->path);
    run_sql(place->path, "UPDATE eider_schema_migrations SET checksum = 'other' WHERE version = 2");
    refuse(place->path, "migration 2 hot_and_cold was changed after it was applied: recorded "
                        "hot_and_cold other, this program has ");
    run_sql(place->path, "DELETE FROM eider_schema_migrations WHERE version >= 2; INSERT INTO "
                         "eider_schema_migrations VALUES (9, 'later', 'x', now()::TIMESTAMP, 1, "
                         "'applied')");
    refuse(place->path, "the database is at version 9 (later), this program knows versions up to ");
    run_sql(place->path, "UPDATE eider_schema_migrations SET version = 2 WHERE version = 1");
    run_sql(place->path, "DELETE FROM eider_schema_migrations WHERE version = 9");
    refuse(place->path, "lacks migration 1 tables though version 2 is applied");
}

static void
test_open_refuses_a_table_that_lost_or_won_a_column(void **state)
{
    struct place *place = *state;

    open_well(place->path);
    run_sql(place->path, "ALTER TABLE trades_hot DROP COLUMN strategy");
    refuse(place->path, "table trades_hot lacks column strategy");
    run_sql(place->path, "ALTER TABLE trades_hot ADD COLUMN strategy VARCHAR; ALTER TABLE "
                         "trades_hot ADD COLUMN mood VARCHAR");
    refuse(place->path, "table trades_hot has more columns than this version knows, the first is "
                        "mood");
    run_sql(place->path, "DROP VIEW trades; DROP TABLE trades_hot");
    refuse(place->path, "table trades_hot is missing");
}

static void
test_open_leaves_the_originals_ledger_alone_and_history_shows_it(void **state)
{
    struct place *place = *state;
    struct store_open_options options = {.path = place->path};
    struct schema_session *session = NULL;
    struct batch rows BATCH_AUTO = {0};
    struct err err = {0};

    run_sql(place->path,
            "CREATE TABLE schema_migrations (version INTEGER PRIMARY KEY, name VARCHAR NOT NULL, "
            "description TEXT, database_type VARCHAR NOT NULL, applied_at TIMESTAMP DEFAULT "
            "CURRENT_TIMESTAMP, applied_by VARCHAR DEFAULT 'system', checksum VARCHAR, "
            "execution_time_ms INTEGER, status VARCHAR DEFAULT 'applied', rollback_sql TEXT);"
            "INSERT INTO schema_migrations (version, name, database_type, applied_at) VALUES "
            "(1, 'initial', 'duckdb', make_timestamp(5)), (2, 'more', 'clickhouse', NULL);"
            "CREATE VIEW current_schema_version AS SELECT database_type, max(version) AS "
            "current_version, count(*) AS total_migrations FROM schema_migrations WHERE status = "
            "'applied' GROUP BY 1");
    open_well(place->path);
    expect(place->path, "(SELECT count(*) FROM schema_migrations)", "2");
    expect(place->path, "(SELECT sum(current_version) FROM current_schema_version)", "3");
    if (store_duckdb_schema_open(&options, false, &session, &err) ||
        schema_history(&session->db, &rows, &err)) {
        fail_msg("%s", err.msg);
    }
    schema_session_close(session);
    assert_int_equal(rows.rows, 2 + newest());
    size_t seen = 0;
    for (size_t row = 0; row < 2; row++) {
        seen += slice_is(batch_get_text(&rows, 6, row), "original duckdb") &&
                slice_is(batch_get_text(&rows, 1, row), "initial") &&
                batch_get_i64(&rows, 3, row) == 5;
        seen += slice_is(batch_get_text(&rows, 6, row), "original clickhouse") &&
                batch_is_null(&rows, 3, row);
    }
    assert_int_equal(seen, 2);
    assert_true(slice_is(batch_get_text(&rows, 6, 2), "eider"));
}

/* ---- looking ---- */

static void
test_session_says_what_is_wrong_with_a_file(void **state)
{
    struct place *place = *state;
    struct store_open_options options = {.path = place->path};
    struct schema_session *session = NULL;
    struct err err = {0};

    assert_int_equal(store_duckdb_schema_open(&options, true, &session, &err), ERR_NOT_FOUND);
    FILE *file = fopen(place->path, "w");
    assert_non_null(file);
    assert_true(fputs("this is no database", file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(store_duckdb_schema_open(&options, false, &session, &err), ERR_CORRUPT);
    assert_null(session);
}

static void
test_session_for_looking_cannot_change_the_file(void **state)
{
    struct place *place = *state;
    struct store_open_options options = {.path = place->path};
    struct schema_move move_up = {0};
    struct schema_session *session = NULL;
    struct err err = {0};

    make_old(place->path);
    assert_int_equal(store_duckdb_schema_open(&options, false, &session, &err), ERR_OK);
    assert_int_not_equal(schema_move(&session->db, &move_up, &err), ERR_OK);
    move_up.dry_run = true;
    assert_int_equal(schema_move(&session->db, &move_up, &err), ERR_OK);
    schema_session_close(session);
    assert_int_equal(version_of(place->path), 0);
    expect_rows(place->path);
}

/* ---- failures ---- */

static void
copy_file(const char *from, const char *to)
{
    char buffer[1 << 16];
    FILE *in = fopen(from, "r");
    FILE *out = fopen(to, "w");
    size_t count;

    assert_non_null(in);
    assert_non_null(out);
    while ((count = fread(buffer, 1, sizeof(buffer), in)) > 0) {
        assert_int_equal(fwrite(buffer, 1, count, out), count);
    }
    assert_int_equal(fclose(in), 0);
    assert_int_equal(fclose(out), 0);
}

/* Each statement of a start fails once; what was done before is whole, and the next start goes on.
 * Kills at the same places: tests/fault/test_schema_kill.py. */
static void
test_open_goes_on_after_a_failure_at_any_statement(void **state)
{
    struct place *place = *state;
    enum err_code code = ERR_IO;
    size_t failures = 0;

    make_old(place->other);
    for (int at = 1; code; at++) {
        char point[48];
        struct err err = {0};
        copy_file(place->other, place->path);
        snprintf(point, sizeof(point), "schema.statement:error:%d", at);
        assert_true(failpoint_arm(point));
        code = open_store(place->path, &err);
        failpoint_arm(NULL);
        failures += code != ERR_OK;
        assert_true(code == ERR_OK || code == ERR_IO);
        if (code) {
            uint32_t version = version_of(place->path);
            assert_in_range(version, 0, newest() - 1);
            if (version < 2) { /* else an open makes the views first */
                expect_rows(place->path);
            }
        }
        open_well(place->path);
        expect_rows(place->path);
        assert_int_equal(version_of(place->path), newest());
        expect(place->path, "(SELECT count(*) = max(version) FROM eider_schema_migrations)",
               "true");
    }
    assert_true(failures > 20);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_open_brings_up_a_database_from_before_the_ledger),
        TEST(test_open_makes_exactly_the_tables_of_the_catalogue),
        TEST(test_down_and_up_again_keep_every_row),
        TEST(test_down_refuses_while_rows_are_in_cold_files),
        TEST(test_down_below_the_first_version_refuses_when_there_are_rows),
        TEST(test_down_to_nothing_and_up_of_a_database_without_rows),
        TEST(test_open_refuses_a_name_that_is_taken_and_loses_nothing),
        TEST(test_open_refuses_changed_and_newer_ledgers),
        TEST(test_open_refuses_a_table_that_lost_or_won_a_column),
        TEST(test_open_leaves_the_originals_ledger_alone_and_history_shows_it),
        TEST(test_session_says_what_is_wrong_with_a_file),
        TEST(test_session_for_looking_cannot_change_the_file),
        TEST(test_open_goes_on_after_a_failure_at_any_statement),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
