/* Reading databases and Parquet files that others wrote. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <duckdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/duckdb/duckdb_reader.h"

static char dir[] = "/tmp/eider-reader-test-XXXXXX";

/* Runs statements against a database file (NULL: in memory). */
static void
write_with_duckdb(const char *path, const char *const *statements)
{
    duckdb_database database;
    duckdb_connection connection;

    assert_int_equal(duckdb_open(path, &database), DuckDBSuccess);
    assert_int_equal(duckdb_connect(database, &connection), DuckDBSuccess);
    for (; *statements; statements++) {
        duckdb_result result;
        duckdb_state done = duckdb_query(connection, *statements, &result);
        if (done != DuckDBSuccess) {
            print_error("%s\n", duckdb_result_error(&result));
        }
        duckdb_destroy_result(&result);
        assert_int_equal(done, DuckDBSuccess);
    }
    duckdb_disconnect(&connection);
    duckdb_close(&database);
}

static void
test_reader_streams_every_row_in_order(void **state)
{
    struct duckdb_reader *reader;
    const struct batch *rows;
    struct err err = {0};
    uint64_t total = 0;
    int64_t seen = 0;

    (void)state;
    write_with_duckdb("big.duckdb",
                      (const char *[]){"CREATE TABLE trades AS SELECT range AS n, 'text ' || range "
                                       "AS name FROM range(10000)",
                                       NULL});
    assert_int_equal(duckdb_reader_open("big.duckdb", DUCKDB_FILE_DATABASE, &reader, &err), ERR_OK);
    assert_string_equal(duckdb_reader_table(reader, 0), "trades");
    assert_null(duckdb_reader_table(reader, 1));
    for (int pass = 0; pass < 2; pass++) {
        assert_int_equal(duckdb_reader_select(reader, "trades", &total, &err), ERR_OK);
        assert_int_equal(total, 10000);
        for (seen = 0;;) {
            char text[32];
            assert_int_equal(duckdb_reader_next(reader, &rows, &err), ERR_OK);
            if (rows->rows == 0) {
                break;
            }
            for (size_t i = 0; i < rows->rows; i++, seen++) {
                snprintf(text, sizeof(text), "text %lld", (long long)seen);
                assert_int_equal(batch_get_i64(rows, 0, i), seen);
                assert_true(slice_is(batch_get_text(rows, 1, i), text));
            }
        }
        assert_int_equal(seen, 10000);
    }
    duckdb_reader_close(reader);
}

static void
test_reader_turns_types_into_the_catalogues(void **state)
{
    struct duckdb_reader *reader;
    const struct batch *rows;
    struct err err = {0};
    uint64_t total;

    (void)state;
    write_with_duckdb(
        "types.duckdb",
        (const char *[]){
            "CREATE TABLE t AS SELECT 7::TINYINT AS a, 1.25::DECIMAL(9,2) AS b, "
            "DATE '2000-01-02' AS c, TIMESTAMP_NS '2000-01-02 00:00:00.000001' AS d, true AS e, "
            "[1, 2] AS f, NULL::DOUBLE AS g, 'a long text that is not inlined' AS h, "
            "18446744073709551615::UBIGINT AS i, "
            "CAST('{\"a\":1}' AS JSON) AS \"odd \"\" name\", "
            "0.5::DECIMAL(18,7) AS k, 0.25::DECIMAL(19,6) AS l, 999999999999.999999 AS m",
            NULL});
    assert_int_equal(duckdb_reader_open("types.duckdb", DUCKDB_FILE_DATABASE, &reader, &err),
                     ERR_OK);
    assert_int_equal(duckdb_reader_select(reader, "t", &total, &err), ERR_OK);
    assert_int_equal(duckdb_reader_next(reader, &rows, &err), ERR_OK);
    assert_int_equal(rows->rows, 1);
    assert_int_equal(rows->columns[0].type, COL_INT64);
    assert_int_equal(batch_get_i64(rows, 0, 0), 7);
    assert_int_equal(rows->columns[1].type, COL_DECIMAL);
    assert_true(batch_get_i64(rows, 1, 0) == 1250000);
    assert_int_equal(rows->columns[2].type, COL_TIMESTAMP);
    assert_int_equal(batch_get_i64(rows, 2, 0), INT64_C(946771200000000));
    assert_int_equal(batch_get_i64(rows, 3, 0), INT64_C(946771200000001));
    assert_int_equal(rows->columns[4].type, COL_BOOL);
    assert_true(slice_is(batch_get_text(rows, 5, 0), "[1, 2]"));
    assert_true(batch_is_null(rows, 6, 0));
    assert_true(slice_is(batch_get_text(rows, 7, 0), "a long text that is not inlined"));
    assert_int_equal(rows->columns[8].type, COL_DOUBLE);
    assert_string_equal(rows->columns[9].name, "odd \" name");
    assert_true(slice_is(batch_get_text(rows, 9, 0), "{\"a\":1}"));
    assert_int_equal(rows->columns[10].type, COL_DOUBLE); /* more decimals than are kept exactly */
    assert_true(batch_get_f64(rows, 10, 0) == 0.5);
    assert_int_equal(rows->columns[11].type, COL_DOUBLE); /* more digits */
    assert_int_equal(rows->columns[12].type, COL_DECIMAL);
    assert_true(batch_get_i64(rows, 12, 0) == INT64_C(999999999999999999));
    duckdb_reader_close(reader);
}

static void
test_reader_reads_parquet_with_zoned_times_as_utc(void **state)
{
    struct duckdb_reader *reader;
    const struct batch *rows;
    struct err err = {0};
    uint64_t total;

    (void)state;
    write_with_duckdb(NULL, (const char *[]){"COPY (SELECT TIMESTAMPTZ '2000-01-02 00:00:00+00' "
                                             "AS at, 'x' AS s) TO 'it''s.parquet'",
                                             NULL});
    assert_int_equal(duckdb_reader_open("it's.parquet", DUCKDB_FILE_PARQUET, &reader, &err),
                     ERR_OK);
    assert_int_equal(duckdb_reader_select(reader, duckdb_reader_table(reader, 0), &total, &err),
                     ERR_OK);
    assert_int_equal(total, 1);
    assert_int_equal(duckdb_reader_next(reader, &rows, &err), ERR_OK);
    assert_int_equal(batch_get_i64(rows, 0, 0), INT64_C(946771200000000));
    duckdb_reader_close(reader);
}

static void
test_reader_keeps_a_strangers_view_from_other_files(void **state)
{
    struct duckdb_reader *reader;
    struct err err = {0};
    uint64_t total;
    FILE *file = fopen("secret.csv", "w");

    (void)state;
    assert_non_null(file);
    fputs("a\nsecret\n", file);
    fclose(file);
    write_with_duckdb("views.duckdb",
                      (const char *[]){"CREATE TABLE fine AS SELECT 1 AS a",
                                       "CREATE VIEW good AS SELECT a FROM fine",
                                       "CREATE VIEW bad AS SELECT * FROM read_csv('secret.csv')",
                                       NULL});
    assert_int_equal(duckdb_reader_open("views.duckdb", DUCKDB_FILE_DATABASE, &reader, &err),
                     ERR_OK);
    assert_string_equal(duckdb_reader_table(reader, 0), "bad");
    assert_int_equal(duckdb_reader_select(reader, "good", &total, &err), ERR_OK);
    assert_int_equal(total, 1);
    assert_int_not_equal(duckdb_reader_select(reader, "bad", &total, &err), ERR_OK);
    duckdb_reader_close(reader);
}

static void
test_reader_says_what_is_wrong_with_a_file(void **state)
{
    struct duckdb_reader *reader;
    struct err err = {0};
    uint64_t total;
    FILE *file = fopen("junk", "w");

    (void)state;
    assert_non_null(file);
    for (int i = 0; i < 5000; i++) {
        fputs("no database ", file);
    }
    fclose(file);
    assert_int_equal(duckdb_reader_open("none", DUCKDB_FILE_DATABASE, &reader, &err),
                     ERR_NOT_FOUND);
    assert_string_equal(err.msg, "cannot read none: No such file or directory");
    assert_int_equal(duckdb_reader_open("junk", DUCKDB_FILE_DATABASE, &reader, &err), ERR_SYNTAX);
    assert_string_equal(err.msg, "junk is not a DuckDB database file");
    assert_int_equal(duckdb_reader_open("junk", DUCKDB_FILE_PARQUET, &reader, &err), ERR_OK);
    assert_int_equal(duckdb_reader_select(reader, "parquet", &total, &err), ERR_SYNTAX);
    assert_string_equal(err.msg, "junk is not a Parquet file");
    duckdb_reader_close(reader);
}

static void
test_reader_tells_our_databases_from_others(void **state)
{
    struct err err = {0};
    bool ours = true;

    (void)state;
    write_with_duckdb("other.duckdb", (const char *[]){"CREATE TABLE trades (a INTEGER)", NULL});
    write_with_duckdb("ours.duckdb",
                      (const char *[]){"CREATE TABLE eider_applied (lsn BIGINT)", NULL});
    assert_int_equal(duckdb_reader_is_ours("other.duckdb", &ours, &err), ERR_OK);
    assert_false(ours);
    assert_int_equal(duckdb_reader_is_ours("ours.duckdb", &ours, &err), ERR_OK);
    assert_true(ours);
}

static void
test_reader_copies_a_query_to_parquet(void **state)
{
    struct duckdb_reader *reader;
    struct err err = {0};
    uint64_t rows = 0;

    (void)state;
    write_with_duckdb("copy.duckdb",
                      (const char *[]){"CREATE TABLE t AS SELECT range AS n FROM range(5)", NULL});
    assert_int_equal(duckdb_reader_to_parquet("copy.duckdb", "SELECT n FROM t WHERE n > 1",
                                              "copy.parquet", &rows, &err),
                     ERR_OK);
    assert_int_equal(rows, 3);
    assert_int_equal(access("copy.parquet.part", F_OK), -1);
    assert_int_equal(duckdb_reader_open("copy.parquet", DUCKDB_FILE_PARQUET, &reader, &err),
                     ERR_OK);
    assert_int_equal(duckdb_reader_select(reader, "parquet", &rows, &err), ERR_OK);
    assert_int_equal(rows, 3);
    duckdb_reader_close(reader);
    assert_int_not_equal(
        duckdb_reader_to_parquet("copy.duckdb", "SELECT nothing", "no.parquet", &rows, &err),
        ERR_OK);
    assert_int_equal(access("no.parquet", F_OK), -1);
}

static int
enter_directory(void **state)
{
    (void)state;
    return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int
leave_directory(void **state)
{
    static const char *const files[] = {
        "big.duckdb", "types.duckdb", "it's.parquet", "secret.csv",  "views.duckdb",
        "junk",       "other.duckdb", "ours.duckdb",  "copy.duckdb", "copy.parquet",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        unlink(files[i]);
    }
    return chdir("/") == 0 ? rmdir(dir) : -1;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reader_streams_every_row_in_order),
        cmocka_unit_test(test_reader_turns_types_into_the_catalogues),
        cmocka_unit_test(test_reader_reads_parquet_with_zoned_times_as_utc),
        cmocka_unit_test(test_reader_keeps_a_strangers_view_from_other_files),
        cmocka_unit_test(test_reader_says_what_is_wrong_with_a_file),
        cmocka_unit_test(test_reader_tells_our_databases_from_others),
        cmocka_unit_test(test_reader_copies_a_query_to_parquet),
    };
    return cmocka_run_group_tests(tests, enter_directory, leave_directory);
}
