/* Users' SQL against a real database: the sandbox, types, bounds, time limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* */
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/contract.h"
#include "store/duckdb/store_duckdb.h"

struct place {
    char dir[64];
    char path[96];
    struct store *store;
};

static int
setup(void **state)
{
    struct place *place = mem_zalloc(1, sizeof(*place));
    struct batch batch;
    struct store_group group = {.first_lsn = 1, .last_lsn = 1, .batch_count = 1, .batches = &batch};

    snprintf(place->dir, sizeof(place->dir), "/tmp/eider-sql-XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    snprintf(place->path, sizeof(place->path), "%s/test.duckdb", place->dir);
    struct store_open_options options = {
        .path = place->path, .threads = 2, .readers = 2, .memory_limit_bytes = 256 << 20};
    assert_int_equal(store_duckdb_open(&options, &place->store, NULL), ERR_OK);
    contract_fill(&batch, TABLE_MARKET_DATA, "1000|AAPL|1.5|-|-|7|1|0\n2000|MSFT|2|-|-|8|2|0\n");
    assert_int_equal(store_apply(place->store, &group, NULL), ERR_OK);
    batch_fini(&batch);
    *state = place;
    return 0;
}

static int
teardown(void **state)
{
    struct place *place = *state;
    char path[128];

    store_close(place->store);
    unlink(place->path);
    snprintf(path, sizeof(path), "%s.wal", place->path);
    unlink(path);
    snprintf(path, sizeof(path), "%s.tmp", place->path);
    rmdir(path);
    assert_int_equal(rmdir(place->dir), 0);
    free(place);
    return 0;
}

static enum err_code
run(struct place *place, const char *text, struct batch *ret_rows, struct err *err)
{
    struct store_sql sql = {.sql = slice_of(text)};

    return store_sql(place->store, &sql, ret_rows, NULL, err);
}

static void
expect(struct place *place, const char *text, const char *lines)
{
    struct buf dump BUF_AUTO = {0};
    struct err err = {0};
    struct batch rows;

    if (run(place, text, &rows, &err)) {
        fail_msg("%s: %s", text, err.msg);
    }
    buf_init(&dump, 0);
    contract_dump(&rows, &dump);
    batch_fini(&rows);
    buf_add_char(&dump, '\0');
    assert_string_equal(dump.ptr, lines);
}

static void
expect_refused(struct place *place, const char *text)
{
    struct err err = {0};
    struct batch rows;

    if (run(place, text, &rows, &err) == ERR_OK) {
        fail_msg("%s was not refused", text);
    }
    if (err.code != ERR_INVALID || err.msg[0] == '\0' || strchr(err.msg, '\n')) {
        fail_msg("%s: %s %s", text, err_name(err.code), err.msg);
    }
}

static void
test_sql_refused_proposes_names_that_are_there(void **state)
{
    struct place *place = *state;
    struct err err = {0};
    struct batch rows;

    assert_int_equal(run(place, "SELECT * FROM market_dat", &rows, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "Table with name market_dat does not exist! Did you mean"));
    assert_int_equal(run(place, "SELECT pric FROM market_data", &rows, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "Candidate bindings: "));
    assert_null(strchr(err.msg, '\n'));
}

static void
test_sql_cannot_leave_the_sandbox(void **state)
{
    struct place *place = *state;
    static const char *const statements[] = {
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_blob('test.duckdb')",
        "SELECT * FROM read_parquet('http://127.0.0.1/x.parquet')",
        "SELECT * FROM parquet_metadata('/etc/passwd')",
        "SELECT * FROM read_json('/etc/passwd')",
        "SELECT * FROM read_duckdb('/etc/passwd')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM '/etc/hosts.csv'",
        "SELECT * FROM \"/etc/hosts.csv\"",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM read_text\xc2\xa0('test.duckdb.wal')",
        "SELECT 1 /* /* */ FROM x */ FROM read_text('test.duckdb.wal')",
        "SELECT E'\\'' FROM read_text('test.duckdb.wal')",
        "SELECT '\\' FROM read_text('test.duckdb.wal')",
        "SELECT $a$'$a$ FROM read_text('test.duckdb.wal')",
        "SELECT * FROM query('SELECT 1')",
        "SELECT * FROM query_table(['market_data'])",
        "SELECT * FROM enable_logging()",
        "SELECT * FROM checkpoint()",
        "SELECT * FROM force_checkpoint()",
        "SELECT * FROM duckdb_secrets()",
        "SELECT * FROM json_execute_serialized_sql('{}')",
        "COPY market_data TO '/tmp/eider-out.csv'",
        "COPY (SELECT 1) TO '/tmp/eider-out.csv'",
        "EXPORT DATABASE '/tmp/eider-out'",
        "ATTACH '/tmp/eider-out.duckdb'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET threads = 4",
        "PRAGMA threads = 4",
        "PRAGMA database_list",
        "CALL pragma_version()",
        "CREATE SECRET (TYPE s3)",
        "CREATE TEMP TABLE x (a INT)",
        "CREATE TEMP MACRO f() AS 1",
        "INSERT INTO market_data (timestamp, symbol) VALUES (make_timestamp(1), 'x')",
        "DELETE FROM market_data",
        "UPDATE market_data SET bid = 1",
        "DROP TABLE market_data",
        "EXPLAIN ANALYZE DELETE FROM market_data",
        "EXPLAIN ANALYZE SET VARIABLE x = 1",
        "WITH x AS (SELECT 1) DELETE FROM market_data",
        "WITH x AS (SELECT 1) INSERT INTO market_data (symbol) VALUES ('x')",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP TABLE market_data",
        "BEGIN",
        "",
        ";",
    };

    for (size_t i = 0; i < sizeof(statements) / sizeof(*statements); i++) {
        expect_refused(place, statements[i]);
        expect(place, "SELECT count(*) FROM market_data", "2\n");
    }
    assert_int_not_equal(access("/tmp/eider-out.csv", F_OK), 0);
}

static void
test_sql_reads_tables_and_views(void **state)
{
    struct place *place = *state;

    expect(place, "SELECT symbol, last_price FROM market_data ORDER BY 1;  -- end",
           "AAPL|1.5\nMSFT|2\n");
    expect(place, "FROM trading_metrics", "");
    expect(place, "SELECT name FROM (SHOW TABLES) WHERE name = 'samples'", "samples\n");
    expect(place, "SELECT column_name FROM (DESCRIBE series) LIMIT 1", "series_id\n");
    expect(place, "SELECT table_name FROM duckdb_tables() WHERE table_name = 'series'", "series\n");
    expect(place, "SELECT * FROM range(3)", "0\n1\n2\n");
    expect(place, "SELECT unnest([1, 2])", "1\n2\n");
    /* DuckDB reads these as the guard does. */
    expect(place, "SELECT 1 /* /* */ + 1 */", "1\n");
    expect(place, "SELECT E'\\'', '\\', $a$it's$a$, \"a\"\"b\" FROM (SELECT 5 AS \"a\"\"b\")",
           "'|\\|it's|5\n");
    expect(place, "SELECT count(*) FROM information_schema.tables WHERE table_name = 'trades'",
           "1\n");
}

static void
test_sql_sends_every_scalar_type(void **state)
{
    struct place *place = *state;

    expect(place, "SELECT true, 1::TINYINT, -2::SMALLINT, 3::INTEGER, 4::BIGINT",
           "true|1|-2|3|4\n");
    expect(place, "SELECT 255::UTINYINT, 65535::USMALLINT, 4294967295::UINTEGER, 5::UBIGINT",
           "255|65535|4294967295|5\n");
    expect(place,
           "SELECT 1.5::FLOAT, 2.5::DOUBLE, 12.25::DECIMAL(9,2), -0.5::DECIMAL(3,1), "
           "1e20::DECIMAL(30,2)",
           "1.5|2.5|12.25|-0.5|1e+20\n");
    expect(place, "SELECT 9::HUGEINT, (-9)::HUGEINT, 7::UHUGEINT, NULL::HUGEINT", "9|-9|7|-\n");
    expect(place,
           "SELECT TIMESTAMP '1970-01-01 00:00:01', "
           "TIMESTAMP_S '1970-01-01 00:00:02', TIMESTAMP_MS '1970-01-01 00:00:03.5', "
           "TIMESTAMP_NS '1970-01-01 00:00:04.000000001', "
           "TIMESTAMPTZ '1970-01-01 00:00:05+00'",
           "1000000|2000000|3500000|4000000|5000000\n");
    expect(place, "SELECT TIMESTAMP_NS '1969-12-31 23:59:59.999999999'", "-1\n");
    expect(place,
           "SELECT DATE '2024-02-29', TIME '01:02:03.5', TIME '04:05:06', "
           "TIMETZ '01:02:03+02:30', DATE '0044-03-15 (BC)', 'infinity'::DATE",
           "2024-02-29|01:02:03.500000|04:05:06|01:02:03+02:30|0044-03-15 (BC)|infinity\n");
    expect(place,
           "SELECT INTERVAL '1 year 2 months 3 days 4 hours', INTERVAL '-1 seconds', "
           "INTERVAL '0 seconds', INTERVAL '1 month'",
           "1 year 2 months 3 days 04:00:00|-00:00:01|00:00:00|1 month\n");
    expect(place,
           "SELECT UUID 'f47ac10b-58cc-4372-a567-0e02b2c3d479', 'a'::ENUM('a', 'b'), "
           "'\\x00A\\xFF'::BLOB, '0110'::BIT",
           "f47ac10b-58cc-4372-a567-0e02b2c3d479|a|\\x00A\\xFF|0110\n");
    expect(place, "SELECT NULL, ''", "-|\n");
    expect(place, "SELECT 'infinity'::TIMESTAMP = (SELECT 'infinity'::TIMESTAMP)", "true\n");
}

/* DECIMAL(18,6) is what credits are kept in; what sum() makes of it fits, or is a text. */
static void
test_sql_sends_credits_exactly(void **state)
{
    struct place *place = *state;
    struct store_param params[] = {{.type = PARAM_DECIMAL, .i64 = -60500000}};
    struct store_sql sql = {
        .sql = SLICE_LITERAL("SELECT ? + 0::DECIMAL(18,6), sum(1.5::DECIMAL(18,6))"),
        .params = params,
        .param_count = 1};
    struct batch rows;

    assert_int_equal(run(place,
                         "SELECT 999999999999.999999::DECIMAL(18,6), sum(0.1::DECIMAL(18,6)), "
                         "NULL::DECIMAL(18,6), sum(NULL::DECIMAL(18,6)), 1.25::DECIMAL(9,6)",
                         &rows, NULL),
                     ERR_OK);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(rows.columns[i].type, COL_DECIMAL);
    }
    assert_int_equal(rows.columns[4].type, COL_DOUBLE);
    batch_fini(&rows);
    expect(place,
           "SELECT 999999999999.999999::DECIMAL(18,6), sum(-0.1::DECIMAL(18,6)), "
           "NULL::DECIMAL(18,6) FROM market_data",
           "999999999999.999999|-0.2|-\n");
    expect(place, "SELECT sum(999999999999.999999::DECIMAL(18,6)) FROM market_data",
           "1999999999999.999998\n");
    expect(place,
           "SELECT sum(-999999999999.5::DECIMAL(18,6)), 0.25::DECIMAL(18,6), "
           "'-0.000001'::DECIMAL(38,6), (-1)::DECIMAL(38,6) FROM market_data",
           "-1999999999999.000000|0.250000|-0.000001|-1.000000\n");
    assert_int_equal(store_sql(place->store, &sql, &rows, NULL, NULL), ERR_OK);
    assert_true(batch_get_i64(&rows, 1, 0) == 1500000);
    assert_true(batch_get_f64(&rows, 0, 0) == -60.5);
    batch_fini(&rows);
}

static void
test_sql_sends_wide_integers_as_text_only_when_they_are(void **state)
{
    struct place *place = *state;
    struct batch rows;

    assert_int_equal(run(place, "SELECT sum(volume) FROM market_data", &rows, NULL), ERR_OK);
    assert_int_equal(rows.columns[0].type, COL_INT64);
    batch_fini(&rows);
    expect(place, "SELECT (-9223372036854775808)::HUGEINT, 9223372036854775807::UBIGINT",
           "-9223372036854775808|9223372036854775807\n");
    expect(place,
           "SELECT 9223372036854775808::HUGEINT, 1::HUGEINT, "
           "18446744073709551615::UBIGINT",
           "9223372036854775808|1|18446744073709551615\n");
    expect(place,
           "SELECT (-170141183460469231731687303715884105728)::HUGEINT, "
           "340282366920938463463374607431768211455::UHUGEINT, "
           "(-18446744073709551616)::HUGEINT",
           "-170141183460469231731687303715884105728|340282366920938463463374607431768211455|"
           "-18446744073709551616\n");
}

static void
test_sql_sends_nested_types_as_json(void **state)
{
    struct place *place = *state;
    struct batch rows;

    assert_int_equal(run(place, "SELECT [1, NULL, 3], 'x'::JSON, 'y'", &rows, NULL), ERR_INVALID);
    assert_int_equal(run(place, "SELECT [1, NULL, 3], '{}'::JSON, 'y'", &rows, NULL), ERR_OK);
    assert_int_equal(rows.columns[0].type, COL_JSON);
    assert_int_equal(rows.columns[1].type, COL_JSON);
    assert_int_equal(rows.columns[2].type, COL_TEXT);
    batch_fini(&rows);
    expect(place, "SELECT [1, NULL, 3], ['a\"b', ''], [[1.5], []], []",
           "[1,null,3]|[\"a\\\"b\",\"\"]|[[1.5],[]]|[]\n");
    expect(place, "SELECT {'a': 1, 'b': {'c': true, 'd': DATE '2024-01-02'}}",
           "{\"a\":1,\"b\":{\"c\":true,\"d\":\"2024-01-02\"}}\n");
    expect(place, "SELECT MAP {'k': 1, 'l': NULL}, MAP {5: [TIMESTAMP '2024-01-02 03:04:05']}",
           "{\"k\":1,\"l\":null}|{\"5\":[\"2024-01-02T03:04:05\"]}\n");
    expect(place, "SELECT [1, 2]::INTEGER[2], union_value(num := 7), ['nan'::DOUBLE]",
           "[1,2]|7|[null]\n");
    expect(place,
           "SELECT [1::HUGEINT, 18446744073709551616], ['{\"a\":1}'::JSON], [1.25::DECIMAL(5,2)]",
           "[1,18446744073709551616]|[{\"a\":1}]|[1.25]\n");
    expect(place, "SELECT list(symbol ORDER BY symbol) FROM market_data", "[\"AAPL\",\"MSFT\"]\n");
}

static void
test_sql_binds_parameters(void **state)
{
    struct place *place = *state;
    struct store_param params[] = {
        {.type = PARAM_TEXT, .text = SLICE_LITERAL("it's\xc3\xa9")},
        {.type = PARAM_I64, .i64 = -5},
        {.type = PARAM_F64, .f64 = 2.5},
        {.type = PARAM_BOOL, .i64 = 1},
        {.type = PARAM_NULL},
        {.type = PARAM_TIMESTAMP, .i64 = 1000},
    };
    struct store_sql sql = {
        .sql = SLICE_LITERAL("SELECT ?, ?, ?, ?, ?, ?"), .params = params, .param_count = 6};
    struct buf dump BUF_AUTO = {0};
    struct err err = {0};
    struct batch rows;

    buf_init(&dump, 0);
    assert_int_equal(store_sql(place->store, &sql, &rows, NULL, &err), ERR_OK);
    contract_dump(&rows, &dump);
    batch_fini(&rows);
    assert_true(slice_is(buf_slice(&dump), "it's\xc3\xa9|-5|2.5|true|-|1000\n"));
    sql.param_count = 5;
    assert_int_equal(store_sql(place->store, &sql, &rows, NULL, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "6 parameters"));
    /* A text stands for a time where one is compared with. */
    sql.sql = SLICE_LITERAL("SELECT symbol FROM market_data WHERE timestamp > ?");
    sql.param_count = 1;
    params[0].text = SLICE_LITERAL("1970-01-01T00:00:00.0015Z");
    assert_int_equal(store_sql(place->store, &sql, &rows, NULL, &err), ERR_OK);
    assert_int_equal(rows.rows, 1);
    batch_fini(&rows);
    sql.param_count = STORE_PARAMS_MAX + 1;
    assert_int_equal(store_sql(place->store, &sql, &rows, NULL, &err), ERR_INVALID);
}

static void
test_sql_cuts_rows_and_refuses_bytes_over_the_bound(void **state)
{
    struct place *place = *state;
    struct store_sql sql = {.sql = SLICE_LITERAL("SELECT * FROM range(10000)"), .rows_max = 5000};
    bool truncated = false;
    struct err err = {0};
    struct batch rows;

    assert_int_equal(store_sql(place->store, &sql, &rows, &truncated, &err), ERR_OK);
    assert_int_equal(rows.rows, 5000);
    assert_true(truncated);
    assert_int_equal(batch_get_i64(&rows, 0, 4999), 4999);
    batch_fini(&rows);
    sql.rows_max = 10000;
    assert_int_equal(store_sql(place->store, &sql, &rows, &truncated, &err), ERR_OK);
    assert_int_equal(rows.rows, 10000);
    assert_false(truncated);
    batch_fini(&rows);
    sql.bytes_max = 1000;
    assert_int_equal(store_sql(place->store, &sql, &rows, &truncated, &err), ERR_TOO_LARGE);
    sql.sql = SLICE_LITERAL("SELECT repeat('x', 1000000)");
    sql.bytes_max = 100000;
    assert_int_equal(store_sql(place->store, &sql, &rows, &truncated, &err), ERR_TOO_LARGE);
    assert_non_null(strstr(err.msg, "100000"));
    /* A result without end is not computed to its end. */
    sql.sql = SLICE_LITERAL("SELECT range FROM range(1000000000000)");
    sql.rows_max = 10;
    sql.bytes_max = 0;
    assert_int_equal(store_sql(place->store, &sql, &rows, &truncated, &err), ERR_OK);
    assert_int_equal(rows.rows, 10);
    batch_fini(&rows);
}

static const char endless[] = "SELECT count(*) FROM range(100000000000) a, range(1000) b "
                              "WHERE hash(a.range * b.range) = 42";

static void
test_sql_ends_at_its_timeout_and_the_reader_works_on(void **state)
{
    struct place *place = *state;
    struct store_sql sql = {.sql = slice_of(endless), .timeout_ms = 50};
    struct err err = {0};
    struct batch rows;

    for (int i = 0; i < 3; i++) {
        assert_int_equal(store_sql(place->store, &sql, &rows, NULL, &err), ERR_TIMEOUT);
        expect(place, "SELECT 1", "1\n");
    }
    struct store_stats stats;
    store_stats(place->store, &stats);
    assert_int_equal(stats.readers_busy, 0);
    assert_int_equal(stats.readers, 2);
    assert_true(stats.query_errors >= 3);
    uint64_t before = stats.query_errors;
    sql.sql = slice_of("SELEC 1"); /* a statement that DuckDB cannot read is one, too */
    assert_int_equal(store_sql(place->store, &sql, &rows, NULL, &err), ERR_INVALID);
    store_stats(place->store, &stats);
    assert_int_equal(stats.query_errors, before + 1);
}

static void *
run_endless(void *ctx)
{
    struct place *place = ctx;
    struct store_sql sql = {.sql = slice_of(endless), .timeout_ms = 100000};
    struct err err = {0};
    struct batch rows;

    return store_sql(place->store, &sql, &rows, NULL, &err) == ERR_UNAVAILABLE ? NULL : ctx;
}

static void
test_sql_waits_for_a_reader_and_is_interrupted_by_the_store(void **state)
{
    struct place *place = *state;
    struct store_sql sql = {.sql = SLICE_LITERAL("SELECT 1"), .timeout_ms = 20};
    pthread_t threads[2];
    struct store_stats stats;
    struct err err = {0};
    struct batch rows;
    void *failed;

    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, run_endless, place), 0);
    }
    do {
        store_stats(place->store, &stats);
    } while (stats.readers_busy < 2);
    assert_int_equal(store_sql(place->store, &sql, &rows, NULL, &err), ERR_TIMEOUT);
    assert_non_null(strstr(err.msg, "busy"));
    store_interrupt(place->store);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    expect(place, "SELECT 1", "1\n");
}

struct left {
    struct place *place;
    struct store_cancel cancel;
    enum err_code code;
    char why[ERR_MSG_MAX];
};

static void *
run_until_left(void *ctx)
{
    struct left *left = ctx;
    struct store_sql sql = {
        .sql = slice_of(endless), .timeout_ms = 100000, .cancel = &left->cancel};
    struct err err = {0};
    struct batch rows;

    left->code = store_sql(left->place->store, &sql, &rows, NULL, &err);
    memcpy(left->why, err.msg, sizeof(left->why));
    return NULL;
}

static void
await_busy(struct place *place, unsigned readers)
{
    struct store_stats stats;

    do {
        store_stats(place->store, &stats);
    } while (stats.readers_busy != readers);
}

static void
test_sql_that_was_given_up_ends_and_the_others_go_on(void **state)
{
    struct place *place = *state;
    struct left left[4] = {{.place = place}, {.place = place}, {.place = place}, {.place = place}};
    pthread_t threads[4];

    store_cancel_trip(&left[3].cancel); /* before it began */
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, run_until_left, &left[i]), 0);
    }
    await_busy(place, 2);
    for (int i = 2; i < 4; i++) { /* both readers are busy */
        assert_int_equal(pthread_create(&threads[i], NULL, run_until_left, &left[i]), 0);
    }
    pthread_join(threads[3], NULL);
    store_cancel_trip(&left[2].cancel); /* while it waits, or before */
    pthread_join(threads[2], NULL);
    store_cancel_trip(&left[0].cancel); /* while it runs */
    pthread_join(threads[0], NULL);
    await_busy(place, 1);
    expect(place, "SELECT 1", "1\n");
    store_cancel_trip(&left[1].cancel);
    pthread_join(threads[1], NULL);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(left[i].code, ERR_TIMEOUT);
        assert_non_null(strstr(left[i].why, "has left"));
        store_cancel_trip(&left[i].cancel); /* once more is nothing */
    }
    await_busy(place, 0);
    expect(place, "SELECT 1", "1\n");
}

static void
test_sql_errors_carry_the_first_line_of_the_reason(void **state)
{
    struct place *place = *state;
    struct err err = {0};
    struct batch rows;

    assert_int_equal(run(place, "SELECT nothing FROM market_data", &rows, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "nothing"));
    assert_null(strchr(err.msg, '\n'));
    assert_int_equal(run(place, "SELEC 1", &rows, &err), ERR_INVALID);
    assert_int_equal(run(place, "SELECT (", &rows, &err), ERR_INVALID);
    assert_int_equal(run(place, "SELECT error('FATAL Error: boo')", &rows, &err), ERR_INVALID);
    assert_int_equal(run(place, "SELECT 'x'::INTEGER", &rows, &err), ERR_INVALID);
    assert_int_equal(run(place, "SELECT 1.5::VARIANT", &rows, &err), ERR_INVALID);
    expect(place, "SELECT 1", "1\n");
}

static void
test_sql_that_needs_too_much_memory_fails_alone(void **state)
{
    struct place *place = *state;
    struct err err = {0};
    struct batch rows;

    enum err_code code =
        run(place, "SELECT len(list(repeat('x', 1000) || range)) FROM range(2000000)", &rows, &err);
    assert_int_equal(code, ERR_TOO_LARGE);
    expect(place, "SELECT count(*) FROM market_data", "2\n");
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_sql_refused_proposes_names_that_are_there),
        CASE(test_sql_cannot_leave_the_sandbox),
        CASE(test_sql_reads_tables_and_views),
        CASE(test_sql_sends_every_scalar_type),
        CASE(test_sql_sends_credits_exactly),
        CASE(test_sql_sends_wide_integers_as_text_only_when_they_are),
        CASE(test_sql_sends_nested_types_as_json),
        CASE(test_sql_binds_parameters),
        CASE(test_sql_cuts_rows_and_refuses_bytes_over_the_bound),
        CASE(test_sql_ends_at_its_timeout_and_the_reader_works_on),
        CASE(test_sql_waits_for_a_reader_and_is_interrupted_by_the_store),
        CASE(test_sql_that_was_given_up_ends_and_the_others_go_on),
        CASE(test_sql_errors_carry_the_first_line_of_the_reason),
        CASE(test_sql_that_needs_too_much_memory_fails_alone),
    };

    return cmocka_run_group_tests_name("duckdb sql", tests, NULL, NULL);
}
