/* What may reach DuckDB, and what must not, however it is written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* */
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/duckdb/sql_guard.h"

static char blob[] = "read_blob";
static char csv[] = "read_csv";
static char text[] = "read_text";
static char *refused[] = {blob, csv, text, NULL};

static void
expect(enum err_code code, const char *sql)
{
    struct err err = {0};

    if (sql_guard_check(slice_of(sql), refused, &err) != code) {
        fail_msg("%s: %s", sql, err.msg);
    }
    assert_int_equal(code != ERR_OK, err.msg[0] != '\0');
}

static void
test_guard_lets_reading_statements_pass(void **state)
{
    (void)state;
    expect(ERR_OK, "SELECT 1");
    expect(ERR_OK, "  \n\t-- why\n/* a /* nested */ comment */ select 1;");
    expect(ERR_OK, "(SELECT 1) UNION (SELECT 2)");
    expect(ERR_OK, "FROM market_data");
    expect(ERR_OK, "WITH x AS (SELECT 1) SELECT * FROM x");
    expect(ERR_OK, "VALUES (1)");
    expect(ERR_OK, "DESCRIBE trades");
    expect(ERR_OK, "SHOW TABLES");
    expect(ERR_OK, "SUMMARIZE trades");
    expect(ERR_OK, "TABLE trades");
    expect(ERR_OK, "EXPLAIN SELECT 1");
    expect(ERR_OK, "EXPLAIN ANALYZE SELECT 1");
    expect(ERR_OK, "EXPLAIN (FORMAT json) SELECT 1");
    expect(ERR_OK, "EXPLAIN (SELECT 1)");
    expect(ERR_OK, "EXPLAIN (ANALYZE, FORMAT json) SELECT 1");
}

static void
test_guard_stops_other_statements(void **state)
{
    static const char *const statements[] = {
        "INSERT INTO trades VALUES (1)",
        "DELETE FROM trades",
        "CREATE TABLE x (a INT)",
        "DROP TABLE trades",
        "COPY trades TO 'x'",
        "ATTACH 'x'",
        "PRAGMA database_list",
        "SET threads = 1",
        "RESET threads",
        "CALL force_checkpoint()",
        "CHECKPOINT",
        "INSTALL httpfs",
        "LOAD httpfs",
        "BEGIN",
        "EXECUTE x",
        "EXPORT DATABASE 'x'",
        "VACUUM",
        "USE x",
        "\"select\"",
        "'select'",
        "; SELECT 1",
        "EXPLAIN ANALYZE SET VARIABLE x = 1",
        "EXPLAIN ANALYZE CHECKPOINT",
        "explain/**/analyze --\n CREATE TEMP TABLE x (a INT)",
        "EXPLAIN (ANALYZE) DROP TABLE trades",
        "EXPLAIN EXPLAIN ANALYZE DROP TABLE trades",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(statements) / sizeof(*statements); i++) {
        if (strcmp(statements[i], "\"select\"") != 0) {
            expect(ERR_INVALID, statements[i]);
        }
    }
    expect(ERR_INVALID, "");
    expect(ERR_INVALID, "  -- nothing\n");
    expect(ERR_INVALID, "/* open");
}

static void
test_guard_finds_refused_functions(void **state)
{
    (void)state;
    expect(ERR_INVALID, "SELECT * FROM read_text('x')");
    expect(ERR_INVALID, "SELECT * FROM READ_Text ('x')");
    expect(ERR_INVALID, "SELECT * FROM \"read_text\"('x')");
    expect(ERR_INVALID, "SELECT * FROM \"READ_TEXT\" /* */ -- \n ('x')");
    expect(ERR_INVALID, "SELECT * FROM main.read_blob('x')");
    expect(ERR_INVALID, "SELECT 1 FROM (SELECT * FROM read_csv('x')) y");
    expect(ERR_INVALID, "SELECT 'it''s' FROM read_csv('x')");
    expect(ERR_INVALID, "SELECT e'\\' FROM ' FROM read_csv('x')");
    expect(ERR_INVALID, "SELECT E'\\'' FROM read_csv('x')");
    expect(ERR_INVALID, "SELECT $$'$$ FROM read_csv('x')");
    expect(ERR_INVALID, "SELECT $a$ $$ ' $a$ FROM read_csv('x')");
    expect(ERR_INVALID, "SELECT $1 FROM read_csv('x')");
    expect(ERR_INVALID, "SELECT 1 /* ' */ FROM read_csv('x')");
    expect(ERR_INVALID, "SELECT * FROM U&\"read\\005fblob\"('x')");
    expect(ERR_INVALID, "EXPLAIN ANALYZE SELECT * FROM read_csv('x')");
}

static void
test_guard_does_not_mistake_names_and_texts_for_calls(void **state)
{
    (void)state;
    expect(ERR_OK, "SELECT read_text FROM x");
    expect(ERR_OK, "SELECT 'read_text(1)'");
    expect(ERR_OK, "SELECT $$read_text(1)$$");
    expect(ERR_OK, "SELECT $x$read_text(1)$x$, 1");
    expect(ERR_OK, "SELECT 1 -- read_text(1)");
    expect(ERR_OK, "SELECT 1 /* read_text(1) */");
    expect(ERR_OK, "SELECT my_read_text(1), read_text2(1)");
    expect(ERR_OK, "SELECT read_text, (1)");
    expect(ERR_OK, "SELECT u & (1)");
}

static void
test_guard_refuses_what_another_lexer_may_read_differently(void **state)
{
    (void)state;
    expect(ERR_INVALID, "SELECT E'a'\n'b\\' || ' , (SELECT 1 FROM read_csv('x')) --'");
    expect(ERR_INVALID, "EXPLAIN (FORMAT E'a'\n'\\' ) ') SELECT * FROM read_csv('x')");
    expect(ERR_INVALID, "SELECT * FROM read_csv\xc2\xa0('x')");
    expect(ERR_INVALID, "SELECT * FROM read_csv\xef\xbb\xbf('x')");
    expect(ERR_INVALID, "\xef\xbb\xbfSELECT 1");
    expect(ERR_INVALID, "SELECT $\xc3\xa9$ x $\xc3\xa9$");
    expect(ERR_INVALID, "SELECT * FROM\xe2\x80\x83read_csv('x')");
    expect(ERR_INVALID, "SELECT $\xc2\xa0$, * FROM read_csv('x') --$\xc2\xa0$");
    expect(ERR_OK, "SELECT 'gr\xc3\xbc\xc3\x9f', \"stra\xc3\x9f"
                   "e\" FROM x -- \xc3\xbc");
    expect(ERR_OK, "SELECT 'a' || 'b', E'c\\'' || 'd'");
}

static void
test_guard_refuses_files_in_the_place_of_tables(void **state)
{
    (void)state;
    expect(ERR_INVALID, "SELECT * FROM '/data/cold/samples/x.parquet'");
    expect(ERR_INVALID, "SELECT * FROM \"cold/x.PARQUET\"");
    expect(ERR_INVALID, "FROM $$/data/cold/x.parquet$$");
    expect(ERR_INVALID, "FROM $a$/data/cold/manifest.json$a$");
    expect(ERR_INVALID, "FROM \"/data/cold/x\".\"parquet\"");
    expect(ERR_INVALID, "FROM \"/data/cold/x\" . parquet");
    expect(ERR_INVALID, "FROM E'\\x2fdata\\x2fcold\\x2fx.parquet'");
    expect(ERR_INVALID, "FROM e'\\57data\\57x\\056parquet'");
    expect(ERR_INVALID, "SELECT 1 FROM x, '/cold/x.parquet' AS y");
    expect(ERR_INVALID, "DESCRIBE '/cold/x.parquet'");
    expect(ERR_INVALID, "SELECT * FROM x JOIN '/cold/x.parquet?v=1' USING (a)");
    expect(ERR_OK, "SELECT 'BTC/USD', \"p/e\", 1.5 FROM x WHERE kind = 'application/json'");
    expect(ERR_OK, "SELECT 'x.parquet', E'a\\nb', 'and/or' || 'b.c' FROM main.trades");
}

static void
test_guard_refuses_nul_and_survives_any_cut(void **state)
{
    static const char whole[] = "EXPLAIN (ANALYZE) SELECT $a$x$a$, \"q\"\"q\", E'\\'' /* /* */ */ "
                                "FROM u&\"x\" -- end";
    struct err err = {0};

    (void)state;
    assert_int_equal(sql_guard_check((struct slice){"SELECT 1\0", 9}, refused, &err), ERR_INVALID);
    for (size_t len = 0; len < sizeof(whole); len++) {
        /* From the heap, so that a sanitizer sees a byte too many. */
        char *copy = mem_alloc(len);
        memcpy(copy, whole, len);
        sql_guard_check((struct slice){copy, len}, refused, &err);
        free(copy);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guard_lets_reading_statements_pass),
        cmocka_unit_test(test_guard_stops_other_statements),
        cmocka_unit_test(test_guard_finds_refused_functions),
        cmocka_unit_test(test_guard_does_not_mistake_names_and_texts_for_calls),
        cmocka_unit_test(test_guard_refuses_what_another_lexer_may_read_differently),
        cmocka_unit_test(test_guard_refuses_files_in_the_place_of_tables),
        cmocka_unit_test(test_guard_refuses_nul_and_survives_any_cut),
    };

    return cmocka_run_group_tests_name("sql guard", tests, NULL, NULL);
}
