/* What the store decides without a server: statements, NUMERIC, SQLSTATEs, secrets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* */
#include <cmocka.h>

#include <string.h>

#include "base/id.h"
#include "codec/decimal.h"
#include "store/postgres/pg.h"

static void
expect(const char *sql, enum err_code code)
{
    struct err err = {0};

    if (pg_guard_check(slice_of(sql), &err) != code) {
        fail_msg("%s: %s", sql, err.msg);
    }
}

static void
test_guard_lets_reading_pass(void **state)
{
    (void)state;
    expect("SELECT 1", ERR_OK);
    expect("  -- comment\n /* a /* nested */ one */ select * from trades", ERR_OK);
    expect("WITH x AS (SELECT 1) SELECT * FROM x", ERR_OK);
    expect("VALUES (1)", ERR_OK);
    expect("EXPLAIN SELECT 1", ERR_OK);
    expect("SHOW server_version", ERR_OK);
    /* Names in texts are texts. */
    expect("SELECT 'pg_read_file'", ERR_OK);
    expect("SELECT $$pg_read_file$$, $a$ into $a$, E'it\\'s pg_shadow'", ERR_OK);
    expect("SELECT my_lo_export FROM t", ERR_OK);
}

static void
test_guard_refuses_what_a_transaction_does_not_stop(void **state)
{
    (void)state;
    expect("", ERR_INVALID);
    expect("-- only a comment", ERR_INVALID);
    expect("DELETE FROM trades", ERR_INVALID);
    expect("COPY trades TO PROGRAM 'sh'", ERR_INVALID);
    expect("COMMIT", ERR_INVALID);
    expect("SET ROLE x", ERR_INVALID);
    expect("DO $$ BEGIN END $$", ERR_INVALID);
    expect("SELECT pg_read_file('/etc/passwd')", ERR_INVALID);
    expect("SELECT PG_READ_FILE('/etc/passwd')", ERR_INVALID);
    expect("SELECT pg_catalog.\"pg_read_file\"('/etc/passwd')", ERR_INVALID);
    expect("SELECT U&\"pg\\005fread_file\"('/etc/passwd')", ERR_INVALID);
    expect("SELECT 1/**/;SELECT/**/lo_import('x')", ERR_INVALID);
    expect("SELECT set_config('role', 'none', true)", ERR_INVALID);
    expect("SELECT query_to_xml('select 1', true, true, '')", ERR_INVALID);
    expect("SELECT 1 INTO x", ERR_INVALID);
    expect("SELECT pg_terminate_backend(1)", ERR_INVALID);
    expect("SELECT 'a' -- '\n, pg_shadow", ERR_INVALID);
    expect("SELECT '\\', pg_sleep(1), '", ERR_INVALID); /* no escapes without E */
}

static void
test_guard_refuses_nul(void **state)
{
    static const char sql[] = "SELECT 1\0; DROP TABLE trades";
    struct err err = {0};

    (void)state;
    assert_int_equal(pg_guard_check(slice_make(sql, sizeof(sql) - 1), &err), ERR_INVALID);
}

static void
check_numeric(int64_t micro)
{
    char bytes[PG_NUMERIC_BYTES_MAX];
    int64_t back = 0;
    size_t len = pg_numeric_write(micro, bytes);

    assert_true(len <= sizeof(bytes));
    assert_true(pg_numeric_read(bytes, len, 6, &back));
    assert_true(back == micro);
    for (size_t cut = 0; cut < len; cut++) {
        assert_false(pg_numeric_read(bytes, cut, 6, &back));
    }
}

static void
test_numeric_goes_there_and_back(void **state)
{
    static const int64_t some[] = {0,
                                   1,
                                   -1,
                                   100,
                                   9999,
                                   10000,
                                   1000000,
                                   -1500000,
                                   99990000,
                                   DECIMAL_MAX,
                                   -DECIMAL_MAX,
                                   10000000000,
                                   123456789012,
                                   INT64_MAX,
                                   INT64_MIN + 1};
    struct rng rng;

    (void)state;
    rng_init(&rng, 7);
    for (size_t i = 0; i < sizeof(some) / sizeof(*some); i++) {
        check_numeric(some[i]);
    }
    for (int i = 0; i < 10000; i++) {
        check_numeric((int64_t)(rng_next(&rng) >> rng_below(&rng, 63)) - (1 << 20));
    }
}

static void
test_numeric_says_what_does_not_fit(void **state)
{
    static const char nan[] = {0, 0, 0, 0, (char)0xc0, 0, 0, 0};
    static const char huge[] = {0, 1, 0, 6, 0, 0, 0, 0, 0, 1};                   /* 10^24 */
    static const char fine[] = {0, 1, (char)0xff, (char)0xfe, 0, 0, 0, 8, 0, 1}; /* 10^-8 */
    int64_t value;

    (void)state;
    assert_false(pg_numeric_read(nan, sizeof(nan), 6, &value));
    assert_false(pg_numeric_read(huge, sizeof(huge), 6, &value));
    assert_false(pg_numeric_read(fine, sizeof(fine), 6, &value));
}

static void
test_states_say_whose_fault_it_was(void **state)
{
    (void)state;
    assert_int_equal(pg_code_of_state(PG_SIDE_APPLY, "57P01"), ERR_IO);
    assert_int_equal(pg_code_of_state(PG_SIDE_APPLY, "40P01"), ERR_IO);
    assert_int_equal(pg_code_of_state(PG_SIDE_APPLY, "XX001"), ERR_IO); /* never ERR_CORRUPT */
    assert_int_equal(pg_code_of_state(PG_SIDE_APPLY, "42P01"), ERR_IO);
    assert_int_equal(pg_code_of_state(PG_SIDE_APPLY, "53100"), ERR_NO_SPACE);
    assert_int_equal(pg_code_of_state(PG_SIDE_APPLY, "57014"), ERR_TIMEOUT);
    assert_int_equal(pg_code_of_state(PG_SIDE_APPLY, "22P05"), ERR_INVALID);
    assert_int_equal(pg_code_of_state(PG_SIDE_APPLY, "23502"), ERR_INVALID);
    assert_int_equal(pg_code_of_state(PG_SIDE_READ, "57P03"), ERR_UNAVAILABLE);
    assert_int_equal(pg_code_of_state(PG_SIDE_READ, "22003"), ERR_TOO_LARGE);
    assert_int_equal(pg_code_of_state(PG_SIDE_USER, "42601"), ERR_INVALID);
    assert_int_equal(pg_code_of_state(PG_SIDE_USER, "57P01"), ERR_UNAVAILABLE);
    assert_int_equal(pg_code_of_state(PG_SIDE_SCHEMA, "42P07"), ERR_CONFLICT);
    assert_int_equal(pg_code_of_state(PG_SIDE_SCHEMA, "08006"), ERR_IO);
}

static void
test_secrets_are_masked(void **state)
{
    const struct store_postgres_options options = {.dsn = "postgresql://u:s3cret%21@db/x",
                                                   .password = "other"};
    const struct store_postgres_options broken = {.dsn = "host=db s3cret!"};
    struct pg_params params;
    char text[] = "no: s3cret!, other, s3cret!";
    struct err err = {0};

    (void)state;
    assert_int_equal(pg_params_init(&params, &options, &err), ERR_OK);
    pg_mask(&params, text);
    assert_string_equal(text, "no: *, *, *");
    pg_params_fini(&params);
    assert_int_equal(pg_params_init(&params, &broken, &err), ERR_USAGE);
    assert_null(strstr(err.msg, "s3cret"));
    pg_params_fini(&params);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guard_lets_reading_pass),
        cmocka_unit_test(test_guard_refuses_what_a_transaction_does_not_stop),
        cmocka_unit_test(test_guard_refuses_nul),
        cmocka_unit_test(test_numeric_goes_there_and_back),
        cmocka_unit_test(test_numeric_says_what_does_not_fit),
        cmocka_unit_test(test_states_say_whose_fault_it_was),
        cmocka_unit_test(test_secrets_are_masked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
