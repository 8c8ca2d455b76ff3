/* Migrations of a real PostgreSQL server: the tables are the catalogue's, steps are whole, and two
 * programs that start at once do each of them once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* */
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/postgres/pg_testing.h"
#include "store/postgres/postgres_schema.h"

enum { TEXT_MAX = 4096, CALLS_MAX = 400 };

static struct pg_testing server;

/* A session on a schema of this name, through whose exec and commit failures come. */
struct place {
    char name[32];
    char dsn[PG_TESTING_DSN];
    struct schema_session *session;
    struct schema_db db; /* the session's, with the operations below */
    int calls;
    int fail_at; /* the exec or commit that fails; 0: none */
    bool cut;    /* the server ends the connection there, instead of an error of ours */
};

static enum err_code
fail_here(struct place *place, struct err *err)
{
    const struct schema_db *real = &place->session->db;

    if (++place->calls != place->fail_at) {
        return ERR_OK;
    }
    if (place->cut) {
        return real->ops->exec(real->ctx, "SELECT pg_terminate_backend(pg_backend_pid())", err);
    }
    return err_set(err, ERR_IO, "made to fail");
}

static enum err_code
begin(void *ctx, struct err *err)
{
    const struct schema_db *real = &((struct place *)ctx)->session->db;

    return real->ops->begin(real->ctx, err);
}

static enum err_code
exec(void *ctx, const char *sql, struct err *err)
{
    const struct schema_db *real = &((struct place *)ctx)->session->db;

    enum err_code code = fail_here(ctx, err);
    return code ? code : real->ops->exec(real->ctx, sql, err);
}

static enum err_code
query(void *ctx, const char *sql, struct batch *ret_rows, struct err *err)
{
    const struct schema_db *real = &((struct place *)ctx)->session->db;

    return real->ops->query(real->ctx, sql, ret_rows, err);
}

static enum err_code
commit(void *ctx, struct err *err)
{
    const struct schema_db *real = &((struct place *)ctx)->session->db;

    enum err_code code = fail_here(ctx, err);
    return code ? code : real->ops->commit(real->ctx, err);
}

static void
rollback(void *ctx)
{
    const struct schema_db *real = &((struct place *)ctx)->session->db;

    real->ops->rollback(real->ctx);
}

static const struct schema_db_ops ops = {
    .begin = begin, .exec = exec, .query = query, .commit = commit, .rollback = rollback};

static void
open_place(struct place *place, const char *name)
{
    struct store_open_options options = {.postgres = {.dsn = place->dsn}};
    struct err err = {0};

    *place = (struct place){0};
    snprintf(place->name, sizeof(place->name), "%s", name);
    assert_true(pg_testing_dsn(&server, name, place->dsn));
    if (store_postgres_schema_open(&options, false, &place->session, &err)) {
        fail_msg("open: %s", err.msg);
    }
    place->db = place->session->db;
    place->db.ops = &ops;
    place->db.ctx = place;
}

static void
close_place(struct place *place)
{
    schema_session_close(place->session);
}

/* The first value of an answer, asked by the superuser with the place's schema in sight. */
static void
expect(const struct place *place, const char *sql, const char *expected)
{
    char text[TEXT_MAX];
    struct buf statement BUF_AUTO;

    buf_init(&statement, 0);
    buf_add_fmt(&statement, "SET search_path = \"%s\"; %s%c", place->name, sql, '\0');
    assert_true(pg_testing_ask(&server, statement.ptr, text, sizeof(text)));
    assert_string_equal(text, expected);
}

static enum err_code
move(struct place *place, bool down, int to, struct err *err)
{
    struct schema_move wanted = {.down = down, .has_to = to >= 0, .to = to >= 0 ? (uint32_t)to : 0};

    return schema_move(&place->db, &wanted, err);
}

static void
move_well(struct place *place, bool down, int to)
{
    struct err err = {0};

    if (move(place, down, to, &err)) {
        fail_msg("%s", err.msg);
    }
}

static uint32_t
version_of(const struct place *place)
{
    struct schema_status *status MEM_AUTO = mem_zalloc(1, sizeof(*status));
    struct err err = {0};

    if (schema_status(&place->db, status, &err) || status->problem.code) {
        fail_msg("%s%s", err.msg, status->problem.msg);
    }
    return status->version;
}

static uint32_t
newest(void)
{
    return (uint32_t)schema_list(SCHEMA_POSTGRES)->count;
}

/* ---- what is there ---- */

static bool
must_be_there(const struct catalog_table *table, size_t column)
{
    return table->columns[column].missing == MISSING_REFUSE || (int)column == table->time_column ||
           (table->key_mask >> column & 1);
}

/* "name type [NOT NULL], ..." as the catalogue has it, in PostgreSQL's words. */
static void
add_columns(const struct catalog_table *table, struct buf *text)
{
    static const char *const types[COL_TYPE_COUNT] = {[COL_BOOL] = "boolean",
                                                      [COL_INT32] = "integer",
                                                      [COL_INT64] = "bigint",
                                                      [COL_DOUBLE] = "double precision",
                                                      [COL_TIMESTAMP] =
                                                          "timestamp without time zone",
                                                      [COL_TEXT] = "text",
                                                      [COL_JSON] = "json",
                                                      [COL_DECIMAL] = "numeric(18,6)"};

    for (size_t i = 0; i < table->column_count; i++) {
        buf_add_fmt(text, "%s%s %s%s", i ? ", " : "", table->columns[i].name,
                    types[table->columns[i].type], must_be_there(table, i) ? " NOT NULL" : "");
    }
    buf_add_char(text, '\0');
}

static void
test_up_makes_exactly_the_tables_of_the_catalogue(void **state)
{
    const struct catalog_table *table;
    struct place place;
    struct err err = {0};
    char count_text[8];
    int count = 0;

    (void)state;
    open_place(&place, "catalogue");
    assert_int_equal(schema_open(&place.db, &err), ERR_OK);
    for (size_t i = 0; (table = catalog_at(i)); i++) {
        struct buf sql BUF_AUTO;
        struct buf columns BUF_AUTO;
        buf_init(&sql, 0);
        buf_init(&columns, 0);
        if (table->kind == TABLE_VIEW) {
            continue;
        }
        count += strncmp(table->name, "eider_", 6) != 0;
        buf_add_fmt(&sql,
                    "SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod) || CASE "
                    "WHEN attnotnull THEN ' NOT NULL' ELSE '' END, ', ' ORDER BY attnum) FROM "
                    "pg_attribute WHERE attrelid = '%s'::regclass AND attnum > 0 AND attname <> "
                    "'eider_ord'%c",
                    table->name, '\0');
        add_columns(table, &columns);
        expect(&place, sql.ptr, columns.ptr);
    }
    snprintf(count_text, sizeof(count_text), "%d", count);
    expect(&place,
           "SELECT count(*) FROM pg_tables WHERE schemaname = 'catalogue' AND tablename NOT LIKE "
           "'eider\\_%'",
           count_text);
    close_place(&place);
}

static void
test_down_to_nothing_leaves_the_ledger_alone(void **state)
{
    struct place place;

    (void)state;
    open_place(&place, "down");
    move_well(&place, false, -1);
    move_well(&place, true, 0);
    expect(&place,
           "SELECT string_agg(relname, ' ') FROM pg_class WHERE relnamespace = "
           "'down'::regnamespace AND relkind IN ('r', 'v', 'S', 'i')",
           "eider_schema_migrations");
    expect(&place, "SELECT count(*) FROM pg_proc WHERE pronamespace = 'down'::regnamespace", "0");
    move_well(&place, false, -1);
    assert_int_equal(version_of(&place), newest());
    close_place(&place);
}

static void
test_down_below_the_first_version_refuses_when_there_are_rows(void **state)
{
    struct place place;
    struct err err = {0};

    (void)state;
    open_place(&place, "kept");
    move_well(&place, false, 1);
    expect(&place, "INSERT INTO eider_applied VALUES (7); SELECT 1", "1");
    assert_int_equal(move(&place, true, 0, &err), ERR_CONFLICT);
    assert_non_null(strstr(err.msg, "going below version 1 would delete its tables"));
    assert_int_equal(version_of(&place), 1);
    expect(&place, "SELECT lsn FROM eider_applied", "7");
    close_place(&place);
}

static void
test_open_refuses_tables_and_ledgers_that_differ(void **state)
{
    struct place place;
    struct err err = {0};

    (void)state;
    open_place(&place, "differs");
    assert_int_equal(schema_open(&place.db, &err), ERR_OK);
    expect(&place, "ALTER TABLE trades ADD COLUMN mood TEXT; SELECT 1", "1");
    assert_int_equal(schema_open(&place.db, &err), ERR_CONFLICT);
    assert_non_null(strstr(err.msg, "table trades has more columns than this version knows, the "
                                    "first is mood"));
    expect(&place, "ALTER TABLE trades DROP COLUMN mood; SELECT 1", "1");
    assert_int_equal(schema_open(&place.db, &err), ERR_OK);
    expect(&place, "UPDATE eider_schema_migrations SET checksum = 'x' WHERE version = 1; SELECT 1",
           "1");
    assert_int_equal(schema_open(&place.db, &err), ERR_CONFLICT);
    assert_non_null(strstr(err.msg, "migration 1 tables was changed after it was applied"));
    close_place(&place);
}

static void
test_open_refuses_a_name_that_is_taken(void **state)
{
    struct place place;
    struct err err = {0};

    (void)state;
    open_place(&place, "taken");
    expect(&place, "CREATE TABLE trades (mine TEXT); SELECT 1", "1");
    assert_int_equal(schema_open(&place.db, &err), ERR_CONFLICT);
    assert_non_null(strstr(err.msg, "trades"));
    assert_int_equal(version_of(&place), 0);
    expect(&place, "SELECT string_agg(tablename, ' ') FROM pg_tables WHERE schemaname = 'taken'",
           "trades");
    close_place(&place);
}

static void
test_history_shows_the_originals_runner(void **state)
{
    struct place place;
    struct batch rows BATCH_AUTO = {0};
    struct err err = {0};

    (void)state;
    open_place(&place, "original");
    expect(&place,
           "CREATE TABLE schema_migrations (version INTEGER PRIMARY KEY, name VARCHAR(255) NOT "
           "NULL, database_type VARCHAR(20) NOT NULL, applied_at TIMESTAMPTZ, checksum VARCHAR(64),"
           " execution_time_ms INTEGER, status VARCHAR(20)); INSERT INTO schema_migrations VALUES "
           "(3, 'candles', 'postgres', NULL, NULL, 12, 'applied'); SELECT 1",
           "1");
    move_well(&place, false, 1);
    if (schema_history(&place.db, &rows, &err)) {
        fail_msg("%s", err.msg);
    }
    assert_int_equal(rows.rows, 2);
    assert_int_equal(batch_get_i64(&rows, 0, 0), 3);
    assert_true(slice_is(batch_get_text(&rows, 1, 0), "candles"));
    assert_int_equal(batch_get_i64(&rows, 4, 0), 12);
    assert_true(slice_is(batch_get_text(&rows, 6, 0), "original postgres"));
    assert_true(slice_is(batch_get_text(&rows, 6, 1), "eider"));
    close_place(&place);
}

/* ---- failures ---- */

/* Up and down with a failure at every step-th statement; the version is whole, and the next one
 * goes on. The runner's own test has one at every call. */
static void
fail_along(const char *prefix, bool cut, int step)
{
    bool failed = true;
    int failures = 0;

    for (int at = 1; failed; at += step) {
        struct place place;
        char name[32];
        struct err err = {0};

        assert_in_range(at, 1, CALLS_MAX);
        snprintf(name, sizeof(name), "%s%d", prefix, at);
        open_place(&place, name);
        place.fail_at = at;
        place.cut = cut;
        failed = move(&place, false, -1, &err) != ERR_OK;
        failed = move(&place, true, 0, &err) != ERR_OK || failed;
        failures += failed;
        close_place(&place);
        open_place(&place, name);
        assert_in_range(version_of(&place), 0, newest());
        assert_int_equal(schema_open(&place.db, &err), ERR_OK);
        expect(&place, "SELECT count(*) FROM trades", "0");
        close_place(&place);
    }
    assert_true(failures > 30 / step);
}

static void
test_a_failure_on_the_way_leaves_a_whole_version(void **state)
{
    (void)state;
    fail_along("fail", false, 4);
}

static void
test_a_connection_that_is_cut_leaves_a_whole_version(void **state)
{
    (void)state;
    fail_along("cut", true, 17);
}

static void *
go_up(void *ctx)
{
    struct place *place = ctx;
    struct err err = {0};

    return move(place, false, -1, &err) ? mem_strdup(slice_of(err.msg)) : NULL;
}

static void
test_programs_that_start_at_once_do_each_step_once(void **state)
{
    enum { PROGRAMS = 4 };
    struct place places[PROGRAMS];
    pthread_t threads[PROGRAMS];

    (void)state;
    for (int i = 0; i < PROGRAMS; i++) {
        open_place(&places[i], "at_once");
    }
    for (int i = 0; i < PROGRAMS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, go_up, &places[i]), 0);
    }
    void *failures[PROGRAMS] = {NULL};
    for (int i = 0; i < PROGRAMS; i++) {
        pthread_join(threads[i], &failures[i]); /* all of them, before a failure ends the test */
    }
    for (int i = 0; i < PROGRAMS; i++) {
        if (failures[i]) {
            fail_msg("%s", (char *)failures[i]);
        }
    }
    expect(&places[0],
           "SELECT count(*) = count(DISTINCT version) AND count(*) = max(version) FROM "
           "eider_schema_migrations",
           "t");
    assert_int_equal(version_of(&places[0]), newest());
    for (int i = 0; i < PROGRAMS; i++) {
        close_place(&places[i]);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_up_makes_exactly_the_tables_of_the_catalogue),
        cmocka_unit_test(test_down_to_nothing_leaves_the_ledger_alone),
        cmocka_unit_test(test_down_below_the_first_version_refuses_when_there_are_rows),
        cmocka_unit_test(test_open_refuses_tables_and_ledgers_that_differ),
        cmocka_unit_test(test_open_refuses_a_name_that_is_taken),
        cmocka_unit_test(test_history_shows_the_originals_runner),
        cmocka_unit_test(test_a_failure_on_the_way_leaves_a_whole_version),
        cmocka_unit_test(test_a_connection_that_is_cut_leaves_a_whole_version),
        cmocka_unit_test(test_programs_that_start_at_once_do_each_step_once),
    };
    int failed = 1;

    if (pg_testing_start(&server)) {
        failed = cmocka_run_group_tests(tests, NULL, NULL);
    }
    pg_testing_end(&server);
    return failed;
}
