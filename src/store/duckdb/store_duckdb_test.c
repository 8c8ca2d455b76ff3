/* The DuckDB store keeps the contract, and what it does with files that are not its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* */
#include <cmocka.h>

#include <duckdb.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/contract.h"
#include "store/duckdb/limit_testing.h"
#include "store/duckdb/store_duckdb.h"

struct place {
    char dir[64];
    char path[96];
};

static int
setup(void **state)
{
    struct place *place = mem_zalloc(1, sizeof(*place));

    snprintf(place->dir, sizeof(place->dir), "/tmp/eider-duck-XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    snprintf(place->path, sizeof(place->path), "%s/test.duckdb", place->dir);
    *state = place;
    return 0;
}

static int
teardown(void **state)
{
    struct place *place = *state;
    char path[128];

    unlink(place->path);
    snprintf(path, sizeof(path), "%s.wal", place->path);
    unlink(path);
    snprintf(path, sizeof(path), "%s/copy.duckdb", place->dir);
    unlink(path);
    snprintf(path, sizeof(path), "%s.tmp", place->path);
    rmdir(path);
    assert_int_equal(rmdir(place->dir), 0);
    free(place);
    return 0;
}

static enum err_code
open_at(const char *path, struct store **ret_store, struct err *err)
{
    struct store_open_options options = {.path = path, .threads = 1, .readers = 1};

    return store_duckdb_open(&options, ret_store, err);
}

/* Runs statements on a file that no store has open. */
static void
run_sql(const char *path, const char *sql)
{
    duckdb_database database;
    duckdb_connection connection;

    assert_int_equal(duckdb_open(path, &database), DuckDBSuccess);
    assert_int_equal(duckdb_connect(database, &connection), DuckDBSuccess);
    duckdb_result result;
    if (duckdb_query(connection, sql, &result) != DuckDBSuccess) {
        fail_msg("%s", duckdb_result_error(&result));
    }
    duckdb_destroy_result(&result);
    duckdb_disconnect(&connection);
    duckdb_close(&database);
}

static void
write_file(const char *path, const char *bytes, size_t len)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static void
test_open_says_corrupt_for_garbage(void **state)
{
    struct place *place = *state;
    char garbage[8192];
    struct store *store;
    struct err err = {0};

    memset(garbage, 'x', sizeof(garbage));
    write_file(place->path, garbage, sizeof(garbage));
    assert_int_equal(open_at(place->path, &store, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.msg, place->path));
    write_file(place->path, garbage, 10);
    assert_int_equal(open_at(place->path, &store, &err), ERR_CORRUPT);
}

static void
test_open_says_corrupt_for_a_cut_file(void **state)
{
    struct place *place = *state;
    struct store *store;
    struct err err = {0};
    struct stat info;

    assert_int_equal(open_at(place->path, &store, &err), ERR_OK);
    store_close(store);
    assert_int_equal(stat(place->path, &info), 0);
    assert_int_equal(truncate(place->path, info.st_size / 2), 0);
    assert_int_equal(open_at(place->path, &store, &err), ERR_CORRUPT);
}

static void
test_open_says_io_for_a_missing_directory(void **state)
{
    struct place *place = *state;
    char path[128];
    struct store *store;
    struct err err = {0};

    snprintf(path, sizeof(path), "%s/none/test.duckdb", place->dir);
    if (open_at(path, &store, &err) != ERR_IO) {
        fail_msg("%s", err.msg);
    }
}

static void
test_open_refuses_a_table_that_is_not_ours(void **state)
{
    struct place *place = *state;
    struct store *store;
    struct err err = {0};

    run_sql(place->path, "CREATE TABLE trades (id BIGINT, what VARCHAR)");
    assert_int_equal(open_at(place->path, &store, &err), ERR_CONFLICT);
    assert_non_null(strstr(err.msg, "trades"));
    run_sql(place->path, "SELECT error('made') FROM duckdb_tables() WHERE table_name = 'series'; "
                         "DROP TABLE trades; CREATE TABLE series (series_id INTEGER, metric_name "
                         "VARCHAR, symbol VARCHAR, labels JSON, more INTEGER)");
    assert_int_equal(open_at(place->path, &store, &err), ERR_CONFLICT);
    assert_non_null(strstr(err.msg, "series"));
}

static void
test_open_adds_columns_that_an_older_version_lacked(void **state)
{
    struct place *place = *state;
    struct batch batch;
    struct store_group group = {.first_lsn = 1, .last_lsn = 1, .batch_count = 1, .batches = &batch};
    struct store_table_stats stats;
    struct store *store;
    struct err err = {0};

    run_sql(place->path, "CREATE TABLE system_metrics (timestamp TIMESTAMP NOT NULL, cpu_percent "
                         "DOUBLE); INSERT INTO system_metrics VALUES (make_timestamp(5), 1)");
    assert_int_equal(open_at(place->path, &store, &err), ERR_OK);
    contract_fill(&batch, TABLE_SYSTEM_METRICS, "6|1|2|3|4|healthy|6\n5|2|-|-|-|-|-\n");
    assert_int_equal(store_apply(store, &group, &err), ERR_OK);
    batch_fini(&batch);
    assert_int_equal(store_table_stats(store, TABLE_SYSTEM_METRICS, &stats, &err), ERR_OK);
    assert_int_equal(stats.rows, 2);
    store_close(store);
}

static void
put(struct store *store, enum table_id table, const char *lines)
{
    struct batch batch;
    uint64_t lsn = store_applied_lsn(store) + 1;
    struct store_group group = {
        .first_lsn = lsn, .last_lsn = lsn, .batch_count = 1, .batches = &batch};
    struct err err = {0};

    contract_fill(&batch, table, lines);
    if (store_apply(store, &group, &err)) {
        fail_msg("apply: %s", err.msg);
    }
    batch_fini(&batch);
}

static void
expect_sql(struct store *store, const char *statement, const char *lines)
{
    struct store_sql sql = {.sql = slice_of(statement)};
    struct buf text BUF_AUTO;
    struct batch rows;
    struct err err = {0};

    buf_init(&text, 0);
    if (store_sql(store, &sql, &rows, NULL, &err)) {
        fail_msg("%s: %s", statement, err.msg);
    }
    contract_dump(&rows, &text);
    batch_fini(&rows);
    buf_add_char(&text, '\0');
    assert_string_equal(text.ptr, lines);
}

static void
test_open_adds_tables_and_renews_views_of_an_older_version(void **state)
{
    struct place *place = *state;
    struct store *store;
    struct err err = {0};

    run_sql(place->path, "CREATE TABLE system_metrics (timestamp TIMESTAMP NOT NULL, cpu_percent "
                         "DOUBLE); CREATE VIEW budgets AS SELECT 1 AS one");
    for (int i = 0; i < 2; i++) {
        if (open_at(place->path, &store, &err)) {
            fail_msg("open: %s", err.msg);
        }
        expect_sql(store, "SELECT count(*) FROM price_book", "0\n");
        expect_sql(store, "SELECT name, definition, mode, changed_at FROM budgets", "");
        store_close(store);
    }
}

static void
test_open_refuses_a_table_that_has_the_name_of_a_view(void **state)
{
    struct place *place = *state;
    struct store *store;
    struct err err = {0};

    run_sql(place->path, "CREATE TABLE Budgets (mine INTEGER)");
    assert_int_equal(open_at(place->path, &store, &err), ERR_CONFLICT);
    assert_non_null(strstr(err.msg, "budgets"));
    run_sql(place->path, "DROP TABLE Budgets");
    assert_int_equal(open_at(place->path, &store, &err), ERR_OK);
    store_close(store);
}

static void
test_views_show_reservations_as_they_stand(void **state)
{
    struct place *place = *state;
    struct store *store;
    struct err err = {0};

    assert_int_equal(open_at(place->path, &store, &err), ERR_OK);
    put(store, TABLE_RESERVATION_CHANGES,
        "1|10|r1|reserve|60|100|birdeye|/p|GET|k|run|pro|-|-|rule\n"
        "2|11|r2|reserve|1.5|90|helius|/q|POST|-|-|-|-|default|-\n"
        "3|12|r1|extend|80|200|-|-|-|-|-|-|-|-|-\n"
        "4|13|r3|reserve|2|90|helius|/q|POST|-|-|-|-|-|-\n"
        "5|14|r4|reserve|3|90|helius|/q|POST|-|-|-|-|-|-\n");
    put(store, TABLE_RESERVATION_CHANGES,
        "6|15|r1|commit|59.999999|-|-|-|-|-|-|-|e1|-|-\n"
        "7|16|r3|release|2|-|-|-|-|-|-|-|-|-|-\n8|17|r4|expire|3|-|-|-|-|-|-|-|-|-|-\n");
    expect_sql(store, "SELECT * FROM reservations ORDER BY reservation_id",
               "r1|committed|80|59.999999|10|200|birdeye|/p|GET|k|run|pro|e1\n"
               "r2|reserved|1.5|0|11|90|helius|/q|POST|-|-|-|-\n"
               "r3|released|2|0|13|90|helius|/q|POST|-|-|-|-\n"
               "r4|expired|3|0|14|90|helius|/q|POST|-|-|-|-\n");
    store_close(store);
}

static void
test_views_show_budgets_that_are_set_with_their_mode(void **state)
{
    struct place *place = *state;
    struct store *store;
    struct err err = {0};

    assert_int_equal(open_at(place->path, &store, &err), ERR_OK);
    put(store, TABLE_BUDGET_CHANGES,
        "1|10|a|set|-|{\"mode\":\"metrics_only\"}|-\n2|11|b|set|-|{\"name\":\"b\"}|-\n"
        "3|12|c|set|-|{}|-\n4|13|c|delete|-|-|-\n5|14|b|force_open|-|-|panic\n"
        "6|15|b|opened|run_id=r1|-|-\n7|16|d|set|-|{}|-\n8|17|d|delete|-|-|-\n"
        "9|18|d|set|-|{\"name\":\"d\"}|-\n10|19|a|set|-|{\"x\":1}|-\n"
        "11|20|e|enforce|-|-|-\n12|21|d|reset|-|-|-\n13|22|d|force_open|-|-|-\n"
        "14|23|d|set|-|{\"x\":2}|-\n");
    expect_sql(store, "SELECT * FROM budgets ORDER BY name",
               "a|{\"x\":1}|enforce|19\nb|{\"name\":\"b\"}|forced_open|14\n"
               "d|{\"x\":2}|enforce|23\n");
    store_close(store);
}

static void
test_views_show_quota_usage_by_day(void **state)
{
    struct place *place = *state;
    struct store *store;
    struct err err = {0};

    assert_int_equal(open_at(place->path, &store, &err), ERR_OK);
    put(store, TABLE_EVENTS,
        "a|86399999999|birdeye|/p|GET|200|true|1.5|60.5|-|-|{}|1|-|-|-|-|-|1|00\n"
        "b|86400000000|birdeye|/p|GET|-|false|1.5|0|-|-|-|1|-|-|-|-|-|2|00\n"
        "c|86400000001|birdeye|/p|GET|200|true|1.5|0.000001|-|-|-|1|-|-|-|-|-|3|00\n"
        "d|86400000002|birdeye|/p|GET|200|true|1.5|-0.000001|-|-|-|1|-|-|-|c|-|4|00\n"
        "e|5|helius|/p|GET|200|true|1.5|1|-|-|-|1|-|-|-|-|-|5|00\n");
    expect_sql(store,
               "SELECT service, timestamp, credits_used, calls FROM api_quota_usage ORDER BY ALL",
               "birdeye|0|60.5|1\nbirdeye|86400000000|0|2\nhelius|0|1|1\n");
    store_close(store);
}

enum { MANY = 600000, PART = 50000 }; /* five row groups of DuckDB's */

/* Numbers in order, times and texts that compress badly. */
static void
put_numbers(struct store *store)
{
    for (int64_t from = 0; from < MANY; from += PART) {
        struct batch batch;
        uint64_t lsn = store_applied_lsn(store) + 1;
        struct store_group group = {
            .first_lsn = lsn, .last_lsn = lsn, .batch_count = 1, .batches = &batch};
        batch_init(&batch, catalog_table(TABLE_BUDGET_CHANGES), 1 << 20);
        for (int64_t i = from; i < from + PART; i++) {
            size_t row = batch_add_row(&batch);
            batch_set_i64(&batch, 0, row, i);
            batch_set_i64(&batch, 1, row, i * 7919 % 1000003);
            batch_set_text(&batch, 2, row, i % 5 ? SLICE_LITERAL("a") : SLICE_LITERAL("b"));
            batch_set_text(&batch, 3, row, SLICE_LITERAL("reset"));
        }
        assert_int_equal(store_apply(store, &group, NULL), ERR_OK);
        batch_fini(&batch);
        if (from == MANY / 2) {
            assert_int_equal(store_checkpoint(store, NULL), ERR_OK);
        }
    }
}

struct order {
    int64_t next;
    int64_t step;
    struct store *interrupt; /* from within a call */
};

static enum err_code
check_order(void *ctx, const struct batch *rows, struct err *err)
{
    struct order *order = ctx;

    (void)err;
    for (size_t row = 0; row < rows->rows; row++, order->next += order->step) {
        assert_int_equal(batch_get_i64(rows, 0, row), order->next);
    }
    if (order->interrupt) {
        store_interrupt(order->interrupt);
    }
    return ERR_OK;
}

static void
test_visit_keeps_the_order_with_several_threads(void **state)
{
    struct place *place = *state;
    struct store_open_options options = {.path = place->path, .threads = 4, .readers = 1};
    struct slice b = SLICE_LITERAL("b");
    struct store *store;

    assert_int_equal(store_duckdb_open(&options, &store, NULL), ERR_OK);
    put_numbers(store);
    for (int i = 0; i < 5; i++) {
        struct store_scan scan = {
            .table = TABLE_BUDGET_CHANGES, .from_us = INT64_MIN, .to_us = INT64_MAX};
        struct order all = {.step = 1};
        struct order some = {.step = 5};
        assert_int_equal(store_visit(store, &scan, check_order, &all, NULL), ERR_OK);
        assert_int_equal(all.next, MANY);
        scan.filters[0] = (struct store_filter){"name", &b, 1};
        scan.filter_count = 1;
        scan.column_mask = 1;
        assert_int_equal(store_visit(store, &scan, check_order, &some, NULL), ERR_OK);
        assert_int_equal(some.next, MANY);
    }
    store_close(store);
}

static void
test_visit_ends_when_it_is_interrupted(void **state)
{
    struct place *place = *state;
    struct store_scan scan = {
        .table = TABLE_BUDGET_CHANGES, .from_us = INT64_MIN, .to_us = INT64_MAX};
    struct store *store;
    struct err err = {0};

    assert_int_equal(open_at(place->path, &store, &err), ERR_OK);
    put_numbers(store);
    struct order order = {.step = 1, .interrupt = store};
    assert_int_equal(store_visit(store, &scan, check_order, &order, &err), ERR_UNAVAILABLE);
    assert_in_range(order.next, 1, STORE_VISIT_ROWS);
    order = (struct order){.step = 1};
    assert_int_equal(store_visit(store, &scan, check_order, &order, &err), ERR_OK);
    assert_int_equal(order.next, MANY);
    store_close(store);
}

static void
test_apply_says_invalid_for_a_null_that_the_table_forbids(void **state)
{
    struct place *place = *state;
    struct batch batch;
    struct store_group group = {.first_lsn = 1, .last_lsn = 1, .batch_count = 1, .batches = &batch};
    struct store *store;
    struct err err = {0};

    assert_int_equal(open_at(place->path, &store, &err), ERR_OK);
    contract_fill(&batch, TABLE_SAMPLES, "1|1|1\n1|2|-\n");
    assert_int_equal(store_apply(store, &group, &err), ERR_INVALID);
    batch_fini(&batch);
    contract_fill(&batch, TABLE_SAMPLES, "1|1|1\n");
    assert_int_equal(store_apply(store, &group, &err), ERR_OK);
    batch_fini(&batch);
    store_close(store);
}

/* What this program does as a child: POSIX locks are by process. */
static int
try_lock(const char *path)
{
    int fd = open(path, O_RDWR);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    return fd >= 0 && fcntl(fd, F_SETLK, &lock) == 0 ? 0 : 1;
}

/* Whether another process is kept from locking the file. Not by fork: DuckDB's allocator unlocks
 * locks in the child that a sanitizer did not see locked. */
static bool
is_locked(char *path)
{
    static char name[] = "child";
    char *const argv[] = {name, path, NULL};
    int status = 0;
    pid_t child;

    assert_int_equal(posix_spawn(&child, "/proc/self/exe", NULL, NULL, argv, environ), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status) == 1;
}

static void
test_snapshot_keeps_the_lock_on_the_file(void **state)
{
    struct place *place = *state;
    char path[128];
    struct store *store;
    struct err err = {0};

    assert_int_equal(open_at(place->path, &store, &err), ERR_OK);
    assert_true(is_locked(place->path));
    snprintf(path, sizeof(path), "%s/copy.duckdb", place->dir);
    assert_int_equal(store_snapshot(store, path, &err), ERR_OK);
    assert_int_equal(store_snapshot(store, path, &err), ERR_OK);
    assert_true(is_locked(place->path));
    store_close(store);
    assert_false(is_locked(place->path));
}

static void
test_checkpoint_keeps_one_row_of_applied_numbers(void **state)
{
    struct place *place = *state;
    struct store *store;
    struct err err = {0};
    struct batch rows;

    assert_int_equal(open_at(place->path, &store, &err), ERR_OK);
    for (uint64_t lsn = 1; lsn <= 20; lsn++) {
        struct store_group group = {.first_lsn = lsn, .last_lsn = lsn};
        assert_int_equal(store_apply(store, &group, &err), ERR_OK);
    }
    assert_int_equal(store_checkpoint(store, &err), ERR_OK);
    struct store_sql sql = {.sql = SLICE_LITERAL("SELECT lsn FROM eider_applied")};
    assert_int_equal(store_sql(store, &sql, &rows, NULL, &err), ERR_OK);
    assert_int_equal(rows.rows, 1);
    assert_int_equal(batch_get_i64(&rows, 0, 0), 20);
    batch_fini(&rows);
    store_close(store);
    assert_int_equal(open_at(place->path, &store, &err), ERR_OK);
    assert_int_equal(store_applied_lsn(store), 20);
    store_close(store);
}

/* Applies `rows` market rows; the times begin at from. */
static enum err_code
apply_rows(struct store *store, uint64_t lsn, int from, int rows, struct err *err)
{
    struct batch batch;
    struct store_group group = {
        .first_lsn = lsn, .last_lsn = lsn, .batch_count = 1, .batches = &batch};
    char symbol[32];

    batch_init(&batch, catalog_table(TABLE_MARKET_DATA), 64 << 20);
    for (int i = 0; i < rows; i++) {
        size_t row = batch_add_row(&batch);
        snprintf(symbol, sizeof(symbol), "SYMBOL-%d-%d", i, from);
        batch_set_i64(&batch, 0, row, from + i);
        batch_set_text(&batch, 1, row, batch_keep_text(&batch, slice_of(symbol)));
        batch_set_f64(&batch, 2, row, i);
    }
    enum err_code code = store_apply(store, &group, err);
    batch_fini(&batch);
    return code;
}

static uint64_t
count_rows(struct store *store)
{
    struct store_table_stats stats;

    assert_int_equal(store_table_stats(store, TABLE_MARKET_DATA, &stats, NULL), ERR_OK);
    return stats.rows;
}

static void
test_apply_fails_whole_on_a_full_disk_and_works_when_there_is_space(void **state)
{
    struct place *place = *state;
    struct store *store;
    struct err err = {0};

    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(open_at(place->path, &store, &err), ERR_OK);
    assert_int_equal(apply_rows(store, 1, 0, 100, &err), ERR_OK);
    limit_files(1 << 20);
    /* Small groups go to DuckDB's log, large ones straight to its file. */
    for (int i = 0; i < 3; i++) {
        enum err_code code = apply_rows(store, 2, 1000, 30000, &err);
        if (code != ERR_NO_SPACE) {
            limit_files(RLIM_INFINITY);
            fail_msg("%s: %s", err_name(code), err.msg);
        }
        code = apply_rows(store, 2, 1000, 200000, &err);
        if (code != ERR_NO_SPACE) {
            limit_files(RLIM_INFINITY);
            fail_msg("%s: %s", err_name(code), err.msg);
        }
        assert_int_equal(count_rows(store), 100);
        assert_int_equal(store_applied_lsn(store), 1);
    }
    assert_int_equal(store_checkpoint(store, &err), ERR_NO_SPACE);
    assert_int_equal(apply_rows(store, 2, 100000, 10, &err), ERR_OK); /* it fits */
    limit_files(RLIM_INFINITY);
    assert_int_equal(apply_rows(store, 3, 1000, 30000, &err), ERR_OK);
    assert_int_equal(count_rows(store), 30110);
    assert_int_equal(store_checkpoint(store, &err), ERR_OK);
    store_close(store);
    assert_int_equal(open_at(place->path, &store, &err), ERR_OK);
    assert_int_equal(count_rows(store), 30110);
    assert_int_equal(store_applied_lsn(store), 3);
    store_close(store);
}

static void
test_apply_replaces_rows_that_a_failed_group_had_remembered(void **state)
{
    struct place *place = *state;
    struct store *store;
    struct err err = {0};

    /* The keys of a group that failed are remembered as newest; rows before them still go in. */
    assert_int_equal(open_at(place->path, &store, &err), ERR_OK);
    struct batch batches[3];
    contract_fill(&batches[0], TABLE_MARKET_DATA, "10|A|1|-|-|0|0|0\n30|A|3|-|-|0|0|0\n");
    contract_fill(&batches[1], TABLE_SERIES, "1|cpu|-|-\n");
    contract_fill(&batches[2], TABLE_SAMPLES, "1|1|-\n"); /* NOT NULL */
    struct store_group group = {
        .first_lsn = 1, .last_lsn = 1, .batch_count = 3, .batches = batches};
    assert_int_equal(store_apply(store, &group, &err), ERR_INVALID);
    group.batch_count = 2;
    batch_fini(&batches[0]);
    contract_fill(&batches[0], TABLE_MARKET_DATA, "10|A|1|-|-|0|0|0\n20|A|2|-|-|0|0|0\n");
    assert_int_equal(store_apply(store, &group, &err), ERR_OK);
    group.first_lsn = group.last_lsn = 2;
    assert_int_equal(store_apply(store, &group, &err), ERR_OK);
    assert_int_equal(count_rows(store), 2);
    struct store_sql sql = {.sql = SLICE_LITERAL("SELECT count(*) FROM series")};
    struct batch rows;
    assert_int_equal(store_sql(store, &sql, &rows, NULL, &err), ERR_OK);
    assert_int_equal(batch_get_i64(&rows, 0, 0), 1);
    batch_fini(&rows);
    for (int i = 0; i < 3; i++) {
        batch_fini(&batches[i]);
    }
    store_close(store);
}

static void
test_apply_stays_right_when_keys_may_not_be_remembered(void **state)
{
    struct place *place = *state;
    struct store_open_options options = {
        .path = place->path, .threads = 1, .readers = 1, .memory_limit_bytes = 64 << 20};
    struct store *store;
    struct err err = {0};

    /* A quarter of 64 MiB remembers fewer than 700 000 keys; every row counts as late then. */
    assert_int_equal(store_duckdb_open(&options, &store, &err), ERR_OK);
    for (uint64_t lsn = 1; lsn <= 5; lsn++) {
        if (apply_rows(store, lsn, (int)lsn * 1000000, 100000, &err)) {
            fail_msg("%s", err.msg);
        }
    }
    assert_int_equal(apply_rows(store, 6, 3000000, 100000, &err), ERR_OK);
    assert_int_equal(apply_rows(store, 7, 9000000, 10, &err), ERR_OK);
    assert_int_equal(apply_rows(store, 8, 9000000, 10, &err), ERR_OK);
    assert_int_equal(count_rows(store), 500010);
    struct store_stats stats;
    store_stats(store, &stats);
    assert_true(stats.late_rows >= 100010);
    store_close(store);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int
main(int argc, char **argv)
{
    if (argc == 2) {
        return try_lock(argv[1]);
    }
    const struct store_contract contract = {
        .name = "duckdb", .open = store_duckdb_open, .durable = true, .sql = true};
    const struct CMUnitTest tests[] = {
        CASE(test_open_says_corrupt_for_garbage),
        CASE(test_open_says_corrupt_for_a_cut_file),
        CASE(test_open_says_io_for_a_missing_directory),
        CASE(test_open_refuses_a_table_that_is_not_ours),
        CASE(test_open_adds_columns_that_an_older_version_lacked),
        CASE(test_open_adds_tables_and_renews_views_of_an_older_version),
        CASE(test_open_refuses_a_table_that_has_the_name_of_a_view),
        CASE(test_views_show_reservations_as_they_stand),
        CASE(test_views_show_budgets_that_are_set_with_their_mode),
        CASE(test_views_show_quota_usage_by_day),
        CASE(test_visit_keeps_the_order_with_several_threads),
        CASE(test_visit_ends_when_it_is_interrupted),
        CASE(test_apply_says_invalid_for_a_null_that_the_table_forbids),
        CASE(test_apply_fails_whole_on_a_full_disk_and_works_when_there_is_space),
        CASE(test_apply_replaces_rows_that_a_failed_group_had_remembered),
        CASE(test_apply_stays_right_when_keys_may_not_be_remembered),
        CASE(test_snapshot_keeps_the_lock_on_the_file),
        CASE(test_checkpoint_keeps_one_row_of_applied_numbers),
    };

    struct store_contract sealed = contract;
    sealed.seals = true;
    return store_contract_run(&contract) + store_contract_run(&sealed) +
           cmocka_run_group_tests_name("store duckdb", tests, NULL, NULL);
}
