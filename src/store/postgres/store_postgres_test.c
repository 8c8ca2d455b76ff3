/* The PostgreSQL store keeps the contract, against a server of this test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* */
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "store/contract.h"
#include "store/postgres/pg.h"
#include "store/postgres/pg_testing.h"

static struct pg_testing server;

/* The suite's path becomes the name of a schema. */
static enum err_code
open_in_schema(const struct store_open_options *options, struct store **ret_store, struct err *err)
{
    char dsn[PG_TESTING_DSN];
    char schema[64];
    size_t at = 0;

    for (const char *c = options->path; *c && at < sizeof(schema) - 1; c++) {
        schema[at++] = *c == '/' || *c == '-' || *c == '.' ? '_' : *c;
    }
    schema[at] = '\0';
    assert_true(pg_testing_dsn(&server, schema, dsn));
    struct store_open_options with = *options;
    with.postgres = (struct store_postgres_options){.dsn = dsn, .max_connections = 3};
    return store_postgres_open(&with, ret_store, err);
}

/* ---- beyond the suite ---- */

static enum err_code
open_named(const char *schema, struct store **ret_store, struct err *err)
{
    struct store_open_options options = {.path = schema};

    return open_in_schema(&options, ret_store, err);
}

static void
run_sql(const char *sql)
{
    assert_true(pg_testing_ask(&server, sql, NULL, 0));
}

static void
expect_answer(const char *sql, const char *expected)
{
    char answer[256];

    assert_true(pg_testing_ask(&server, sql, answer, sizeof(answer)));
    assert_string_equal(answer, expected);
}

/* A row of pg_extension, and functions that write down how they are called. */
static void
pretend(const char *schema, const char *name, const char *version)
{
    char sql[2048];

    snprintf(sql, sizeof(sql),
             "SET client_min_messages = warning; SET allow_system_table_mods = on; "
             "CREATE SCHEMA \"%s\"; SET search_path = \"%s\"; CREATE TABLE calls (what TEXT); "
             "CREATE FUNCTION create_hypertable(t REGCLASS, c NAME, chunk_time_interval INTERVAL, "
             "create_default_indexes BOOL, if_not_exists BOOL) RETURNS INT LANGUAGE sql AS "
             "'INSERT INTO \"%s\".calls VALUES (''hyper '' || t || '' '' || c) RETURNING 1'; "
             "CREATE FUNCTION create_distributed_table(t REGCLASS, c TEXT) RETURNS INT LANGUAGE "
             "sql AS 'INSERT INTO \"%s\".calls VALUES (''distributed '' || t || '' '' || c) "
             "RETURNING 1'; CREATE FUNCTION create_reference_table(t REGCLASS) RETURNS INT "
             "LANGUAGE sql AS 'INSERT INTO \"%s\".calls VALUES (''reference '' || t) RETURNING 1'; "
             "INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, "
             "extversion) VALUES (99999, '%s', 10, 2200, false, '%s')",
             schema, schema, schema, schema, schema, name, version);
    run_sql(sql);
}

static void
stop_pretending(void)
{
    run_sql("SET allow_system_table_mods = on; DELETE FROM pg_extension WHERE oid = 99999");
}

static void
test_timescale_gets_its_tables_once(void **state)
{
    struct store *store;
    struct err err = {0};

    (void)state;
    pretend("timescale", "timescaledb", "2.10.3");
    for (int i = 0; i < 2; i++) {
        if (open_named("timescale", &store, &err)) {
            fail_msg("%s", err.msg);
        }
        store_close(store);
    }
    stop_pretending();
    expect_answer("SELECT string_agg(what, ', ' ORDER BY what) FROM timescale.calls",
                  "hyper candles timestamp, hyper market_data timestamp, "
                  "hyper samples timestamp, hyper trades timestamp");
}

static void
test_citus_gets_its_tables(void **state)
{
    struct store *store;
    struct err err = {0};

    (void)state;
    pretend("citus", "citus", "12.1-1");
    if (open_named("citus", &store, &err)) {
        fail_msg("%s", err.msg);
    }
    store_close(store);
    stop_pretending();
    expect_answer("SELECT string_agg(what, ', ' ORDER BY what) FROM citus.calls",
                  "distributed candles symbol, distributed market_data symbol, "
                  "distributed samples series_id, distributed trades symbol, "
                  "reference series");
}

static void
test_extension_that_refuses_leaves_plain_tables(void **state)
{
    struct store *store;
    struct err err = {0};

    (void)state;
    /* From 2.11 on tables are compressed, which no PostgreSQL without the extension takes. */
    pretend("refusing", "timescaledb", "2.11.0");
    if (open_named("refusing", &store, &err)) {
        fail_msg("%s", err.msg);
    }
    stop_pretending();
    expect_answer("SELECT count(*) FROM refusing.calls", "0");
    expect_answer("SELECT extended FROM refusing.eider_database", "f");
    store_close(store);
}

static void
test_second_writer_is_kept_out(void **state)
{
    struct store *first;
    struct store *second;
    struct err err = {0};
    char dsn[PG_TESTING_DSN];

    (void)state;
    assert_int_equal(open_named("alone", &first, &err), ERR_OK);
    assert_true(pg_testing_dsn(&server, "alone", dsn));
    struct store_open_options options = {.postgres = {.dsn = dsn}};
    assert_int_equal(store_postgres_open(&options, &second, &err), ERR_IO);
    assert_non_null(strstr(err.msg, "another Eider"));
    store_close(first);
    assert_int_equal(store_postgres_open(&options, &second, &err), ERR_OK);
    store_close(second);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timescale_gets_its_tables_once),
        cmocka_unit_test(test_citus_gets_its_tables),
        cmocka_unit_test(test_extension_that_refuses_leaves_plain_tables),
        cmocka_unit_test(test_second_writer_is_kept_out),
    };

    const struct store_contract contract = {.name = "postgres",
                                            .open = open_in_schema,
                                            .durable = true,
                                            .remote = true,
                                            .sql = true,
                                            .time_min_us = pg_time_min_us};
    int failed = 1;

    if (pg_testing_start(&server)) {
        failed = store_contract_run(&contract) +
                 cmocka_run_group_tests_name("store postgres", tests, NULL, NULL);
    }
    pg_testing_end(&server);
    return failed;
}
