/* What fails while days are sealed, and files that are damaged or missing later. */

#include "store/duckdb/seal_testing.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "codec/time.h"
#include "store/duckdb/limit_testing.h"
#include "store/duckdb/store_duckdb.h"
#include "store/engine.h"
#include "store/failpoint.h"

#define CASE(function) cmocka_unit_test_setup_teardown(function, place_setup, place_teardown)

/* Begins to seal, lets rows come, and expects that nothing but these rows has changed. */
static void
expect_busy(struct place *place, enum table_id table, const char *meanwhile, const char *after)
{
    struct store_seal what = {.table = table, .day = 0};
    struct store_sealing *sealing = place_begin(place, &what);
    struct store_seal_result result;

    place_put(place, table, meanwhile);
    assert_int_equal(store_seal_commit(place->store, sealing, &result, NULL), ERR_BUSY);
    store_seal_free(place->store, sealing);
    place_expect(place, table, after);
    assert_int_equal(place_listed(place), 0);
    assert_int_equal(place_files_on_disk(place), 0);
}

static void
test_seal_gives_up_when_rows_of_the_day_came_meanwhile(void **state)
{
    struct place *place = *state;

    place_put(place, TABLE_SAMPLES, "1|10|1\n");
    expect_busy(place, TABLE_SAMPLES, "1|5|2\n", "1|5|2\n1|10|1\n");
    place_put(place, TABLE_MARKET_DATA, "10|A|1|-|-|0|0|0\n");
    expect_busy(place, TABLE_MARKET_DATA, "10|A|2|-|-|0|0|0\n", "10|A|2|-|-|0|0|0\n");
    /* A row that leaves the day for another one. */
    place_put(place, TABLE_TRADES, "t1|10|A|buy|1|1|-|-|-\nt2|11|A|buy|1|1|-|-|-\n");
    expect_busy(place, TABLE_TRADES, "t1|86400000000|A|buy|1|1|-|-|-\n",
                "t2|11|A|buy|1|1|-|-|-\nt1|86400000000|A|buy|1|1|-|-|-\n");
    /* Rows of another day do no harm. */
    struct store_seal what = {.table = TABLE_SAMPLES, .day = 0};
    struct store_sealing *sealing = place_begin(place, &what);
    struct store_seal_result result;
    place_put(place, TABLE_SAMPLES, "1|86400000000|7\n");
    assert_int_equal(store_seal_commit(place->store, sealing, &result, NULL), ERR_OK);
    store_seal_free(place->store, sealing);
    place_expect(place, TABLE_SAMPLES, "1|5|2\n1|10|1\n1|86400000000|7\n");
}

static void
test_merge_gives_up_when_a_file_was_dropped_meanwhile(void **state)
{
    struct place *place = *state;
    struct cold_file files[4];
    struct store_seal_result result;

    place_put(place, TABLE_SAMPLES, PLACE_TWO_DAYS);
    place_seal_day(place, TABLE_SAMPLES, 0, false);
    struct store_seal what = {.table = TABLE_SAMPLES, .day = 0, .merge = true};
    struct store_sealing *sealing = place_begin(place, &what);
    assert_int_equal(place_raw_files(place, TABLE_SAMPLES, files), 1);
    const char *const names[] = {files[0].name, NULL};
    struct cold_drop drop = {.names = names, .kind = COLD_KIND_COUNT};
    assert_int_equal(store_cold_drop(place->store, &drop, NULL), ERR_OK);
    assert_int_equal(store_seal_commit(place->store, sealing, &result, NULL), ERR_BUSY);
    store_seal_free(place->store, sealing);
    place_expect(place, TABLE_SAMPLES, "1|86400000010|3.5\n");
}

static void
test_seal_fails_whole_at_every_step(void **state)
{
    static const char *const points[] = {"seal.copied:error",    "put.synced:error",
                                         "put.renamed:error",    "seal.ready:error",
                                         "commit.deleted:error", "commit.listed:error"};
    struct place *place = *state;
    struct store_seal what = {.table = TABLE_SAMPLES, .day = 0};
    struct store_seal_result result;

    place_put(place, TABLE_SAMPLES, PLACE_TWO_DAYS);
    for (size_t i = 0; i < sizeof(points) / sizeof(*points); i++) {
        struct store_sealing *sealing = NULL;
        assert_true(failpoint_arm(points[i]));
        enum err_code code = store_seal_begin(place->store, &what, &sealing, NULL);
        assert_int_equal(code, i < 4 ? ERR_IO : ERR_OK);
        if (!code) {
            assert_int_equal(store_seal_commit(place->store, sealing, &result, NULL), ERR_IO);
            store_seal_free(place->store, sealing);
        }
        failpoint_arm(NULL);
        assert_int_equal(place_listed(place), 0);
        assert_int_equal(place_files_on_disk(place), 0);
        place_expect(place, TABLE_SAMPLES, PLACE_TWO_DAYS);
    }
    place_seal_day(place, TABLE_SAMPLES, 0, false);
    place_expect(place, TABLE_SAMPLES, PLACE_TWO_DAYS);
}

/* The watchdog may come too late for one sealing, and is then in time for another. */
static void
test_seal_ends_at_its_timeout_and_says_so(void **state)
{
    enum { ROWS = 20000, TRIES = 100 };
    struct place *place = *state;
    struct store_seal what = {.table = TABLE_SAMPLES, .day = 0, .timeout_ms = 1};
    struct buf lines BUF_AUTO = {0};
    struct err err = {0};
    enum err_code code = ERR_OK;

    buf_init(&lines, 0);
    for (int i = 0; i < ROWS; i++) {
        buf_add_fmt(&lines, "1|%d|%d.5\n", i * 1000, i);
    }
    buf_add_char(&lines, '\0');
    place_put(place, TABLE_SAMPLES, lines.ptr);
    for (int i = 0; i < TRIES && !code; i++) {
        struct store_sealing *sealing = NULL;
        code = store_seal_begin(place->store, &what, &sealing, &err);
        if (!code) {
            store_seal_free(place->store, sealing);
        }
    }
    assert_int_equal(code, ERR_TIMEOUT);
    assert_non_null(strstr(err.msg, "took longer than its timeout"));
    assert_int_equal(place_files_on_disk(place), 0);
    place_seal_day(place, TABLE_SAMPLES, 0, false);
    place_expect_sql(place, "SELECT count(*) FROM samples", "20000\n");
}

static void
test_seal_on_a_full_disk_leaves_everything_as_it_was(void **state)
{
    struct place *place = *state;
    struct store_seal what = {.table = TABLE_SAMPLES, .day = 0};
    struct store_sealing *sealing = NULL;
    struct err err = {0};

    place_put(place, TABLE_SAMPLES, PLACE_TWO_DAYS);
    signal(SIGXFSZ, SIG_IGN);
    limit_files(100);
    enum err_code code = store_seal_begin(place->store, &what, &sealing, &err);
    limit_files(RLIM_INFINITY);
    if (code != ERR_NO_SPACE) {
        fail_msg("seal on a full disk: %d %s", (int)code, err.msg);
    }
    assert_int_equal(place_files_on_disk(place), 0);
    place_expect(place, TABLE_SAMPLES, PLACE_TWO_DAYS);
    place_put(place, TABLE_SAMPLES, "1|11|1\n");
    place_seal_day(place, TABLE_SAMPLES, 0, false);
    place_expect(place, TABLE_SAMPLES, "1|10|1.5\n1|11|1\n2|20|2.5\n1|86400000010|3.5\n");
}

/* Overwrites a listed file, or removes it when bytes is NULL. */
static void
spoil(struct place *place, enum table_id table, const char *bytes)
{
    struct cold_file files[4];
    char dir[PLACE_PATH_BYTES];
    char path[COLD_PATH_MAX];

    assert_int_equal(place_raw_files(place, table, files), 1);
    place_cold_dir(place, dir);
    cold_path(dir, &files[0], path, sizeof(path));
    if (!bytes) {
        assert_int_equal(unlink(path), 0);
        return;
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(bytes, file);
    fclose(file);
}

static void
test_a_damaged_file_fails_reads_alone(void **state)
{
    static const char *const contents[] = {"", "PAR1", "PAR1 this is no parquet file at all PAR1"};
    struct place *place = *state;
    struct store_scan scan = {.table = TABLE_MARKET_DATA, .from_us = INT64_MIN, .to_us = INT64_MAX};
    struct batch rows;

    place_put(place, TABLE_MARKET_DATA, "10|A|1|-|-|0|0|0\n86400000010|A|2|-|-|0|0|0\n");
    place_seal_day(place, TABLE_MARKET_DATA, 0, false);
    for (size_t i = 0; i < sizeof(contents) / sizeof(*contents); i++) {
        struct err err = {0};
        spoil(place, TABLE_MARKET_DATA, contents[i]);
        assert_int_equal(store_scan(place->store, &scan, &rows, &err), ERR_IO);
        if (!strstr(err.msg, ".parquet")) {
            fail_msg("names no file: %s", err.msg);
        }
        scan.from_us = 86400000000;
        assert_int_equal(store_scan(place->store, &scan, &rows, &err), ERR_OK);
        assert_int_equal(rows.rows, 1);
        batch_fini(&rows);
        scan.from_us = INT64_MIN;
    }
    /* Writing goes on, too; what the file has is not known. */
    place_put(place, TABLE_MARKET_DATA, "10|A|3|-|-|0|0|0\n");
    place_expect_sql(place, "SELECT last_price FROM market_data_hot ORDER BY timestamp", "3\n2\n");
    /* It is no file of that list any more. */
    place_reopen(place);
    assert_true(place->lost >= 1);
    place_expect(place, TABLE_MARKET_DATA, "10|A|3|-|-|0|0|0\n86400000010|A|2|-|-|0|0|0\n");
}

/* A damaged file that has its size: nobody notices before it is read. */
static void
test_a_file_with_its_size_but_damaged_does_not_keep_from_opening(void **state)
{
    struct place *place = *state;
    struct store_scan scan = {.table = TABLE_SAMPLES, .from_us = INT64_MIN, .to_us = INT64_MAX};
    struct cold_file files[4];
    char dir[PLACE_PATH_BYTES];
    char path[COLD_PATH_MAX];
    struct err err = {0};
    struct batch rows;

    place_put(place, TABLE_SAMPLES, PLACE_TWO_DAYS);
    place_put(place, TABLE_SAMPLES, "1|172800000000|4\n");
    place_seal_day(place, TABLE_SAMPLES, 0, false);
    place_seal_day(place, TABLE_SAMPLES, 1, false);
    assert_int_equal(place_raw_files(place, TABLE_SAMPLES, files), 2);
    place_cold_dir(place, dir);
    cold_path(dir, &files[0], path, sizeof(path));
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    for (uint64_t i = 0; i < files[0].bytes; i++) {
        fputc('x', file);
    }
    fclose(file);
    place_reopen(place);
    assert_int_equal(place->lost, 0);
    scan.from_us = TIME_US_PER_DAY;
    assert_int_equal(store_scan(place->store, &scan, &rows, &err), ERR_OK);
    assert_int_equal(rows.rows, 2);
    batch_fini(&rows);
    scan.from_us = 0;
    assert_int_equal(store_scan(place->store, &scan, &rows, &err), ERR_IO);
    place_seal_day(place, TABLE_SAMPLES, 2, false);
    place_put(place, TABLE_SAMPLES, "1|172800000001|4\n");
}

static void
test_missing_files_leave_the_list_at_open(void **state)
{
    struct place *place = *state;
    struct cold_file files[4];
    struct cold_names names COLD_NAMES_AUTO;
    char dir[PLACE_PATH_BYTES];

    place_put(place, TABLE_SAMPLES, PLACE_TWO_DAYS);
    place_seal_day(place, TABLE_SAMPLES, 0, false);
    spoil(place, TABLE_SAMPLES, NULL);
    place_reopen(place);
    assert_int_equal(place->lost, 1);
    place_expect(place, TABLE_SAMPLES, "1|86400000010|3.5\n");
    place_cold_dir(place, dir);
    cold_names_init(&names);
    assert_int_equal(cold_ledger_read(dir, COLD_MISSING, &names, NULL), ERR_OK);
    assert_int_equal(names.count, 1);
    /* One that retention took is nothing to tell of. */
    place_seal_day(place, TABLE_SAMPLES, 1, false);
    assert_int_equal(place_raw_files(place, TABLE_SAMPLES, files), 1);
    assert_int_equal(cold_ledger_add(dir, COLD_DROPPED, files, 1, NULL), ERR_OK);
    spoil(place, TABLE_SAMPLES, NULL);
    place_reopen(place);
    assert_int_equal(place->lost, 1);
    place_expect(place, TABLE_SAMPLES, "");
}

static void
test_a_cold_directory_that_is_away_keeps_the_store_from_opening(void **state)
{
    struct place *place = *state;
    struct store_open_options options = {.path = place->path};
    struct err err = {0};
    char dir[PLACE_PATH_BYTES];
    char away[PLACE_PATH_BYTES + 8];

    place_put(place, TABLE_SAMPLES, PLACE_TWO_DAYS);
    place_seal_day(place, TABLE_SAMPLES, 0, false);
    store_close(place->store);
    place->store = NULL;
    place_cold_dir(place, dir);
    snprintf(away, sizeof(away), "%s.away", dir);
    assert_int_equal(rename(dir, away), 0);
    assert_int_equal(store_duckdb_open(&options, &place->store, &err), ERR_IO);
    assert_non_null(strstr(err.msg, "mount it"));
    assert_int_equal(rename(away, dir), 0);
    place_open(place);
    assert_int_equal(place->lost, 0);
    place_expect(place, TABLE_SAMPLES, PLACE_TWO_DAYS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_seal_gives_up_when_rows_of_the_day_came_meanwhile),
        CASE(test_merge_gives_up_when_a_file_was_dropped_meanwhile),
        CASE(test_seal_fails_whole_at_every_step),
        CASE(test_seal_ends_at_its_timeout_and_says_so),
        CASE(test_seal_on_a_full_disk_leaves_everything_as_it_was),
        CASE(test_a_damaged_file_fails_reads_alone),
        CASE(test_a_file_with_its_size_but_damaged_does_not_keep_from_opening),
        CASE(test_missing_files_leave_the_list_at_open),
        CASE(test_a_cold_directory_that_is_away_keeps_the_store_from_opening),
    };

    return cmocka_run_group_tests_name("store duckdb seal faults", tests, NULL, NULL);
}
