/* Cold files that are not what this version wrote: of an older one, or damaged. */

/* cmocka wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* */
#include <cmocka.h>

#include <duckdb.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "codec/time.h"
#include "store/cold.h"
#include "store/contract.h"
#include "store/duckdb/store_duckdb.h"
#include "store/failpoint.h"

#define CASE(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

enum { PATH_BYTES = 512 };

struct place {
    char dir[PATH_BYTES];
    char path[PATH_BYTES];
    struct store *store;
    uint64_t lsn;
    size_t lost;
    size_t damaged;
};

static void
note_lost(void *ctx, const struct cold_file *file)
{
    (void)file;
    ((struct place *)ctx)->lost++;
}

static void
note_damaged(void *ctx, const struct cold_file *file)
{
    (void)file;
    ((struct place *)ctx)->damaged++;
}

static void
open_place(struct place *place)
{
    struct store_open_options options = {.path = place->path,
                                         .threads = 1,
                                         .readers = 2,
                                         .cold_lost = note_lost,
                                         .cold_lost_ctx = place,
                                         .cold_damaged = note_damaged,
                                         .cold_damaged_ctx = place};
    struct err err = {0};

    if (store_duckdb_open(&options, &place->store, &err)) {
        fail_msg("open: %s", err.msg);
    }
}

static int
setup(void **state)
{
    struct place *place = mem_zalloc(1, sizeof(*place));
    char parent[] = "/tmp/eider-files-XXXXXX";

    assert_non_null(mkdtemp(parent));
    snprintf(place->dir, sizeof(place->dir), "%s", parent);
    snprintf(place->path, sizeof(place->path), "%s/test.duckdb", parent);
    open_place(place);
    *state = place;
    return 0;
}

static int
remove_entry(const char *path, const struct stat *info, int kind, struct FTW *ftw)
{
    (void)info;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static int
teardown(void **state)
{
    struct place *place = *state;

    store_close(place->store);
    assert_int_equal(nftw(place->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
    free(place);
    return 0;
}

static void
put(struct place *place, enum table_id table, const char *lines)
{
    contract_apply(place->store, ++place->lsn, table, lines);
}

static void
expect(struct place *place, enum table_id table, const char *lines)
{
    struct store_scan scan = {.table = table, .from_us = INT64_MIN, .to_us = INT64_MAX};
    struct err err = {0};
    struct batch rows;

    if (store_scan(place->store, &scan, &rows, &err)) {
        fail_msg("scan: %s", err.msg);
    }
    contract_expect_rows(&rows, lines);
}

static void
expect_sql(struct place *place, const char *sql, const char *lines)
{
    struct store_sql statement = {.sql = slice_of(sql)};
    struct err err = {0};
    struct batch rows;

    if (store_sql(place->store, &statement, &rows, NULL, &err)) {
        fail_msg("%s: %s", sql, err.msg);
    }
    contract_expect_rows(&rows, lines);
}

static void
seal_day(struct place *place, enum table_id table, int32_t day, bool merge)
{
    struct store_seal what = {.table = table, .day = day, .merge = merge};
    struct store_sealing *sealing = NULL;
    struct store_seal_result result;
    struct err err = {0};

    if (store_seal_begin(place->store, &what, &sealing, &err) ||
        store_seal_commit(place->store, sealing, &result, &err)) {
        fail_msg("seal: %s", err.msg);
    }
    store_seal_free(place->store, sealing);
}

static void
file_path(const struct place *place, const struct cold_file *file, char *ret_path)
{
    char dir[PATH_BYTES];

    snprintf(dir, sizeof(dir), "%.400s/cold", place->dir);
    cold_path(dir, file, ret_path, COLD_PATH_MAX);
}

static void
run(duckdb_connection connection, const char *sql)
{
    duckdb_result result;

    if (duckdb_query(connection, sql, &result) != DuckDBSuccess) {
        fail_msg("%s: %s", sql, duckdb_result_error(&result));
    }
    duckdb_destroy_result(&result);
}

/* Writes a file again without the columns that an older version did not know, and lists it so. */
static void
make_older(struct place *place, duckdb_connection connection, const struct cold_file *file)
{
    char path[COLD_PATH_MAX];
    char checksum[COLD_CHECKSUM_MAX];
    char sql[3 * COLD_PATH_MAX];
    uint64_t bytes;

    file_path(place, file, path);
    snprintf(sql, sizeof(sql),
             "CREATE TEMP TABLE older AS SELECT COLUMNS(c -> NOT c LIKE 'volume%%') FROM "
             "read_parquet('%s', hive_partitioning=false)",
             path);
    run(connection, sql);
    snprintf(sql, sizeof(sql), "COPY older TO '%s' (FORMAT parquet)", path);
    run(connection, sql);
    run(connection, "DROP TABLE older");
    assert_int_equal(cold_checksum(path, checksum, &bytes, NULL), ERR_OK);
    snprintf(sql, sizeof(sql),
             "UPDATE main.eider_cold_files SET bytes = %llu, checksum = '%s' WHERE name = '%s' AND "
             "kind = '%s'",
             (unsigned long long)bytes, checksum, file->name, cold_kind_name(file->kind));
    run(connection, sql);
}

/* All files of one day become those of a version that had no volume. */
static void
age(struct place *place, int32_t day)
{
    struct cold_file *files;
    size_t count;
    duckdb_database database;
    duckdb_connection connection;

    assert_int_equal(store_cold_list(place->store, &files, &count, NULL), ERR_OK);
    store_close(place->store);
    assert_int_equal(duckdb_open(place->path, &database), DuckDBSuccess);
    assert_int_equal(duckdb_connect(database, &connection), DuckDBSuccess);
    for (size_t i = 0; i < count; i++) {
        if (files[i].day == day) {
            make_older(place, connection, &files[i]);
        }
    }
    duckdb_disconnect(&connection);
    duckdb_close(&database);
    free(files);
    open_place(place);
    assert_int_equal(place->lost, 0);
}

static void
expect_volumes(struct place *place, const char *lines)
{
    struct store_bucket bucket = {
        .scan = {.table = TABLE_MARKET_DATA, .from_us = INT64_MIN, .to_us = INT64_MAX},
        .bucket_us = TIME_US_PER_DAY,
        .aggregates = {{.fn = AGG_LAST, .column = "last_price", .as = "price"},
                       {.fn = AGG_SUM, .column = "volume", .as = "sum"},
                       {.fn = AGG_COUNT, .column = "volume", .as = "count"},
                       {.fn = AGG_COUNT, .as = "rows"}},
        .aggregate_count = 4};
    struct err err = {0};
    struct batch rows;

    if (store_bucket(place->store, &bucket, &rows, &err)) {
        fail_msg("bucket: %s", err.msg);
    }
    contract_expect_rows(&rows, lines);
}

/* The files of day `old` lack a column, those of the other day have it. */
static void
check_older(struct place *place, int32_t old)
{
    bool first = old == 0;

    put(place, TABLE_MARKET_DATA,
        "10|A|1|-|-|7|-|-\n11|A|2|-|-|7|-|-\n86400000010|A|3|-|-|7|-|-\n"
        "172800000010|A|4|-|-|7|-|-\n");
    seal_day(place, TABLE_MARKET_DATA, 0, false);
    seal_day(place, TABLE_MARKET_DATA, 1, false);
    age(place, old);
    expect(place, TABLE_MARKET_DATA,
           first ? "10|A|1|-|-|-|-|-\n11|A|2|-|-|-|-|-\n86400000010|A|3|-|-|7|-|-\n"
                   "172800000010|A|4|-|-|7|-|-\n"
                 : "10|A|1|-|-|7|-|-\n11|A|2|-|-|7|-|-\n86400000010|A|3|-|-|-|-|-\n"
                   "172800000010|A|4|-|-|7|-|-\n");
    expect_sql(place, "SELECT count(*), sum(volume) FROM market_data", first ? "4|14\n" : "4|21\n");
    expect_sql(place, "SELECT sum(row_count), sum(volume_count) FROM market_data_1h",
               first ? "3|1\n" : "3|2\n");
    expect_volumes(place, first ? "0|2|-|0|2\n86400000000|3|7|1|1\n172800000000|4|7|1|1\n"
                                : "0|2|14|2|2\n86400000000|3|-|0|1\n172800000000|4|7|1|1\n");
    struct batch rows;
    assert_int_equal(store_latest(place->store, TABLE_MARKET_DATA, NULL, &rows, NULL), ERR_OK);
    contract_expect_rows(&rows, "172800000010|A|4|-|-|7|-|-\n");
    /* Late rows, merging and replacing read them, too. */
    put(place, TABLE_MARKET_DATA, "12|B|5|-|-|-|-|-\n86400000012|B|5|-|-|-|-|-\n");
    seal_day(place, TABLE_MARKET_DATA, old, true);
    put(place, TABLE_MARKET_DATA,
        "10|A|1|-|-|7|-|-\n11|A|2|-|-|7|-|-\n86400000010|A|3|-|-|7|-|-\n");
    expect_volumes(place, "0|5|14|2|3\n86400000000|5|7|1|2\n172800000000|4|7|1|1\n");
}

static void
test_files_that_lack_a_column_have_null_there_when_they_come_first(void **state)
{
    check_older(*state, 0);
}

static void
test_files_that_lack_a_column_have_null_there_when_they_come_last(void **state)
{
    check_older(*state, 1);
}

static void
test_files_stay_when_nobody_knows_whether_they_are_listed(void **state)
{
    struct store_seal what = {.table = TABLE_SAMPLES, .day = 0};
    struct store_sealing *sealing = NULL;
    struct store_seal_result result;
    struct place *place = *state;

    put(place, TABLE_SAMPLES, "1|10|1\n2|10|2\n");
    assert_int_equal(store_seal_begin(place->store, &what, &sealing, NULL), ERR_OK);
    failpoint_arm("commit.answered:error");
    assert_int_equal(store_seal_commit(place->store, sealing, &result, NULL), ERR_INTERNAL);
    failpoint_arm(NULL);
    store_seal_free(place->store, sealing);
    store_close(place->store);
    open_place(place); /* the rows are in the file, and nowhere else */
    assert_int_equal(place->lost, 0);
    expect(place, TABLE_SAMPLES, "1|10|1\n2|10|2\n");
}

struct reader {
    struct place *place;
    atomic_bool stop;
};

static void *
read_on(void *ctx)
{
    struct reader *reader = ctx;
    struct store_bucket bucket = {
        .scan = {.table = TABLE_IDEMPOTENCY, .from_us = INT64_MIN, .to_us = INT64_MAX},
        .bucket_us = TIME_US_PER_DAY,
        .aggregates = {{.fn = AGG_COUNT, .as = "rows"}},
        .aggregate_count = 1};
    struct batch rows;

    while (!atomic_load(&reader->stop)) {
        assert_int_equal(store_latest(reader->place->store, TABLE_IDEMPOTENCY, NULL, &rows, NULL),
                         ERR_OK);
        batch_fini(&rows);
        assert_int_equal(store_bucket(reader->place->store, &bucket, &rows, NULL), ERR_OK);
        batch_fini(&rows);
        assert_int_equal(store_latest(reader->place->store, TABLE_MARKET_DATA, NULL, &rows, NULL),
                         ERR_OK);
        assert_int_equal(rows.rows, 1);
        batch_fini(&rows);
    }
    return NULL;
}

/* The list changes under them; one for the thread sanitizer. */
static void
test_reads_of_other_tables_go_on_while_the_list_changes(void **state)
{
    struct reader reader = {.place = *state};
    char row[64];
    pthread_t thread;

    put(reader.place, TABLE_MARKET_DATA, "10|A|1|-|-|-|-|-\n");
    assert_int_equal(pthread_create(&thread, NULL, read_on, &reader), 0);
    for (int day = 0; day < 20; day++) {
        snprintf(row, sizeof(row), "%lld|A|1|-|-|-|-|-\n", day * (long long)TIME_US_PER_DAY + 10);
        put(reader.place, TABLE_MARKET_DATA, row);
        seal_day(reader.place, TABLE_MARKET_DATA, day, false);
    }
    atomic_store(&reader.stop, true);
    pthread_join(thread, NULL);
}

/* Overwrites the raw file of a day by as many other bytes. */
static void
spoil(struct place *place, enum table_id table)
{
    struct cold_file *files;
    char path[COLD_PATH_MAX];
    size_t count;

    assert_int_equal(store_cold_list(place->store, &files, &count, NULL), ERR_OK);
    for (size_t i = 0; i < count; i++) {
        if (files[i].table == table && files[i].kind == COLD_RAW) {
            file_path(place, &files[i], path);
            FILE *file = fopen(path, "r+");
            assert_non_null(file);
            for (uint64_t byte = 0; byte < files[i].bytes; byte++) {
                fputc('x', file);
            }
            fclose(file);
        }
    }
    free(files);
}

static void
test_late_rows_for_a_damaged_file_are_stored_and_told_of_once(void **state)
{
    struct place *place = *state;

    put(place, TABLE_MARKET_DATA, "10|A|1|-|-|-|-|-\n");
    put(place, TABLE_TRADES, "t1|10|A|buy|1|1|-|-|-\n");
    seal_day(place, TABLE_MARKET_DATA, 0, false);
    seal_day(place, TABLE_TRADES, 0, false);
    put(place, TABLE_MARKET_DATA, "11|A|1|-|-|-|-|-\n"); /* of the day, and no row of the file */
    assert_int_equal(place->damaged, 0);
    spoil(place, TABLE_MARKET_DATA);
    spoil(place, TABLE_TRADES);
    put(place, TABLE_MARKET_DATA, "10|A|2|-|-|-|-|-\n");
    assert_int_equal(place->damaged, 1);
    put(place, TABLE_MARKET_DATA, "10|A|3|-|-|-|-|-\n");
    assert_int_equal(place->damaged, 1);
    expect_sql(place, "SELECT last_price FROM market_data_hot ORDER BY timestamp", "3\n1\n");
    put(place, TABLE_TRADES, "t1|10|A|buy|1|2|-|-|-\n");
    assert_int_equal(place->damaged, 2);
    expect_sql(place, "SELECT price FROM trades_hot", "2\n");
    assert_int_equal(place->lost, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_files_that_lack_a_column_have_null_there_when_they_come_first),
        CASE(test_files_that_lack_a_column_have_null_there_when_they_come_last),
        CASE(test_files_stay_when_nobody_knows_whether_they_are_listed),
        CASE(test_reads_of_other_tables_go_on_while_the_list_changes),
        CASE(test_late_rows_for_a_damaged_file_are_stored_and_told_of_once),
    };

    return cmocka_run_group_tests_name("store duckdb files", tests, NULL, NULL);
}
