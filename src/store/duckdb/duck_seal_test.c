/* Days of the DuckDB store that become files. */

#include "store/duckdb/seal_testing.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "codec/time.h"
#include "store/contract.h"
#include "store/failpoint.h"

#define CASE(function) cmocka_unit_test_setup_teardown(function, place_setup, place_teardown)

enum { ROUNDS = 24, CROWD_ROWS = 3, ROWS = 600000 };

static void
test_seal_moves_a_day_into_a_file(void **state)
{
    struct place *place = *state;
    struct cold_file files[4];
    struct store_table_stats stats;
    char dir[PLACE_PATH_BYTES];
    char path[COLD_PATH_MAX];
    char checksum[COLD_CHECKSUM_MAX];

    place_put(place, TABLE_SAMPLES, PLACE_TWO_DAYS);
    struct store_seal what = {.table = TABLE_SAMPLES, .day = 0};
    struct store_seal_result result = place_seal(place, &what);
    assert_int_equal(result.rows, 2);
    assert_int_equal(result.rows_dropped, 0);
    assert_int_equal(result.files_delisted, 0);
    place_expect(place, TABLE_SAMPLES, PLACE_TWO_DAYS);
    place_expect_sql(place, "SELECT count(*) FROM samples_hot", "1\n");
    place_expect_sql(place, "SELECT * FROM samples ORDER BY timestamp", PLACE_TWO_DAYS);
    assert_int_equal(place_raw_files(place, TABLE_SAMPLES, files), 1);
    assert_int_equal(files[0].day, 0);
    assert_int_equal(files[0].rows, 2);
    assert_int_equal(files[0].min_us, 10);
    assert_int_equal(files[0].max_us, 20);
    assert_int_equal(files[0].sealed_lsn, 1);
    place_cold_dir(place, dir);
    cold_path(dir, &files[0], path, sizeof(path));
    uint64_t bytes;
    assert_int_equal(cold_checksum(path, checksum, &bytes, NULL), ERR_OK);
    assert_string_equal(checksum, files[0].checksum);
    assert_int_equal(bytes, files[0].bytes);
    assert_int_equal(store_table_stats(place->store, TABLE_SAMPLES, &stats, NULL), ERR_OK);
    assert_int_equal(stats.rows, 3);
    assert_int_equal(stats.min_us, 10);
    assert_int_equal(stats.max_us, 86400000010);
    place_reopen(place);
    place_expect(place, TABLE_SAMPLES, PLACE_TWO_DAYS);
    assert_int_equal(place_files_on_disk(place), place_listed(place));
    assert_int_equal(place->lost, 0);
}

static void
test_seal_find_names_closed_days_with_hot_rows(void **state)
{
    struct place *place = *state;
    struct store_day days[8];
    size_t count;

    place_put(place, TABLE_SAMPLES, "1|-1|1\n1|10|1\n1|86400000010|3\n");
    place_put(place, TABLE_TRADES, "t1|10|A|buy|1|1|-|-|-\n");
    place_seal_day(place, TABLE_SAMPLES, 0, false);
    place_put(place, TABLE_SAMPLES, "1|11|1\n1|172800000010|3\n");
    struct store_seal_find find = {.before_us = 2 * TIME_US_PER_DAY + 5};
    assert_int_equal(store_seal_find(place->store, &find, days, 8, &count, NULL), ERR_OK);
    assert_int_equal(count, 4);
    assert_int_equal(days[0].day, -1);
    assert_int_equal(days[1].day, 0);
    assert_int_equal(days[1].table, TABLE_TRADES);
    assert_int_equal(days[2].table, TABLE_SAMPLES);
    assert_int_equal(days[2].hot_rows, 1);
    assert_int_equal(days[2].cold_rows, 1);
    assert_int_equal(days[2].cold_files, 1);
    assert_int_equal(days[3].day, 1);
    find.before_us = 2 * TIME_US_PER_DAY;
    assert_int_equal(store_seal_find(place->store, &find, days, 2, &count, NULL), ERR_OK);
    assert_int_equal(count, 2);
    assert_int_equal(days[1].day, 0);
    /* Days with few rows stay, unless late rows can join a file. */
    find.rows_min = 2;
    assert_int_equal(store_seal_find(place->store, &find, days, 8, &count, NULL), ERR_OK);
    assert_int_equal(count, 1);
    assert_int_equal(days[0].table, TABLE_SAMPLES);
    assert_int_equal(days[0].day, 0);
    assert_int_equal(days[0].cold_files, 1);
    place_put(place, TABLE_SAMPLES, "1|-2|1\n");
    assert_int_equal(store_seal_find(place->store, &find, days, 8, &count, NULL), ERR_OK);
    assert_int_equal(count, 2);
    assert_int_equal(days[0].day, -1);
    assert_int_equal(days[0].hot_rows, 2);
}

static void
test_seal_refuses_what_it_cannot_seal(void **state)
{
    struct place *place = *state;
    struct store_sealing *sealing = NULL;
    struct err err = {0};
    struct store_seal none = {.table = TABLE_SAMPLES, .day = 7};
    struct store_seal table = {.table = TABLE_SERIES, .day = 0};
    struct store_seal far = {.table = TABLE_SAMPLES, .day = INT32_MAX};

    assert_int_equal(store_seal_begin(place->store, &none, &sealing, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.msg, "1970-01-08"));
    assert_int_equal(store_seal_begin(place->store, &table, &sealing, &err), ERR_INVALID);
    assert_int_equal(store_seal_begin(place->store, &far, &sealing, &err), ERR_INVALID);
    assert_null(sealing);
    assert_int_equal(place_files_on_disk(place), 0);
}

struct beside {
    struct place *place;
    enum err_code code;
};

/* In a transaction that reads, as a backup's: a day is sealed, and a checkpoint cannot be made. */
static enum err_code
seal_beside(void *ctx, const struct store_export_moment *moment, struct err *err)
{
    struct beside *beside = ctx;

    (void)moment;
    (void)err;
    place_seal_day(beside->place, TABLE_SAMPLES, 0, false);
    beside->code = store_checkpoint(beside->place->store, NULL);
    return ERR_OK;
}

static enum err_code
pass_over(void *ctx, const struct store_export_file *file, struct err *err)
{
    (void)ctx;
    (void)file;
    (void)err;
    return ERR_OK;
}

static void
test_a_checkpoint_that_a_backup_holds_up_is_no_damage(void **state)
{
    struct place *place = *state;
    struct beside beside = {.place = place};
    struct store_export export = {
        .begin = seal_beside, .file = pass_over, .ctx = &beside, .timeout_ms = 60000};
    struct err err = {0};

    place_put(place, TABLE_SAMPLES, "1|10|1\n1|86400000000|7\n");
    if (store_export(place->store, &export, &err)) {
        fail_msg("export: %s", err.msg);
    }
    assert_int_equal(beside.code, ERR_BUSY);
    place_put(place, TABLE_SAMPLES, "1|20|2\n");
    place_expect(place, TABLE_SAMPLES, "1|10|1\n1|20|2\n1|86400000000|7\n");
    assert_int_equal(store_checkpoint(place->store, NULL), ERR_OK);
}

static void
test_late_rows_are_seen_at_once_and_merged_later(void **state)
{
    struct place *place = *state;
    struct cold_file files[4];

    place_put(place, TABLE_SAMPLES, PLACE_TWO_DAYS);
    place_seal_day(place, TABLE_SAMPLES, 0, false);
    place_put(place, TABLE_SAMPLES, "1|5|9\n");
    place_expect(place, TABLE_SAMPLES, "1|5|9\n1|10|1.5\n2|20|2.5\n1|86400000010|3.5\n");
    place_seal_day(place, TABLE_SAMPLES, 0, false);
    assert_int_equal(place_raw_files(place, TABLE_SAMPLES, files), 2);
    place_expect(place, TABLE_SAMPLES, "1|5|9\n1|10|1.5\n2|20|2.5\n1|86400000010|3.5\n");
    place_put(place, TABLE_SAMPLES, "2|6|8\n");
    struct store_seal what = {.table = TABLE_SAMPLES, .day = 0, .merge = true};
    struct store_seal_result result = place_seal(place, &what);
    assert_int_equal(result.rows, 4);
    assert_true(result.files_delisted >= 2);
    assert_int_equal(place_raw_files(place, TABLE_SAMPLES, files), 1);
    place_expect(place, TABLE_SAMPLES, "1|5|9\n2|6|8\n1|10|1.5\n2|20|2.5\n1|86400000010|3.5\n");
    place_expect_sql(place, "SELECT count(*) FROM samples_hot", "1\n");
}

static void
test_drop_takes_files_and_hot_days(void **state)
{
    struct place *place = *state;
    struct cold_file files[4];

    place_put(place, TABLE_SAMPLES, PLACE_TWO_DAYS);
    place_put(place, TABLE_SAMPLES, "1|172800000000|4\n");
    place_seal_day(place, TABLE_SAMPLES, 0, false);
    assert_int_equal(place_raw_files(place, TABLE_SAMPLES, files), 1);
    const char *const names[] = {files[0].name, NULL};
    struct cold_drop drop = {.names = names,
                             .kind = COLD_KIND_COUNT,
                             .hot = true,
                             .table = TABLE_SAMPLES,
                             .first_day = 0,
                             .last_day = 1};
    failpoint_arm("drop.delisted:error");
    assert_int_equal(store_cold_drop(place->store, &drop, NULL), ERR_IO);
    place_expect(place, TABLE_SAMPLES, "1|10|1.5\n2|20|2.5\n1|86400000010|3.5\n1|172800000000|4\n");
    failpoint_arm(NULL);
    assert_int_equal(store_cold_drop(place->store, &drop, NULL), ERR_OK);
    place_expect(place, TABLE_SAMPLES, "1|172800000000|4\n");
    place_expect_sql(place, "SELECT * FROM samples", "1|172800000000|4\n");
    assert_int_equal(place_listed(place), 0);
    drop.table = TABLE_METRICS;
    assert_int_equal(store_cold_drop(place->store, &drop, NULL), ERR_INVALID);
}

static void
test_metrics_that_match_a_pattern_are_left_out(void **state)
{
    struct place *place = *state;
    const char *const patterns[] = {"cp?.l*", "100%_\\'x", NULL};
    struct store_seal what = {
        .table = TABLE_SAMPLES, .day = 0, .merge = true, .drop_metrics = patterns};

    place_put(place, TABLE_SERIES,
              "1|cpu.load|-|-\n2|cpuXload|-|-\n3|100%_\\'x|-|-\n4|100aab'x|-|-\n");
    place_put(place, TABLE_SAMPLES, "1|1|1\n2|2|2\n3|3|3\n4|4|4\n");
    struct store_seal_result result = place_seal(place, &what);
    assert_int_equal(result.rows, 2);
    assert_int_equal(result.rows_dropped, 2);
    place_expect(place, TABLE_SAMPLES, "2|2|2\n4|4|4\n");
    const char *const all[] = {"*", NULL};
    what.drop_metrics = all;
    result = place_seal(place, &what);
    assert_int_equal(result.rows, 0);
    assert_int_equal(result.rows_dropped, 2);
    place_expect(place, TABLE_SAMPLES, "");
    assert_int_equal(place_listed(place), 0);
}

static void
test_replaced_rows_make_a_day_hot_again(void **state)
{
    struct place *place = *state;

    place_put(place, TABLE_MARKET_DATA, "10|A|1|-|-|0|0|0\n11|B|1|-|-|0|0|0\n");
    place_put(place, TABLE_TRADES, "t1|10|A|buy|1|1|-|-|-\nt2|86400000011|A|buy|1|1|-|-|-\n");
    place_seal_day(place, TABLE_MARKET_DATA, 0, false);
    place_seal_day(place, TABLE_TRADES, 0, false);
    place_seal_day(place, TABLE_TRADES, 1, false);
    place_reopen(place); /* what is in cold files is not in the memory of keys */
    static const char *const points[] = {"unseal.restored:error", "unseal.delisted:error"};
    for (size_t i = 0; i < 2; i++) {
        struct batch batch;
        struct store_group group = {.first_lsn = place->lsn + 1,
                                    .last_lsn = place->lsn + 1,
                                    .batch_count = 1,
                                    .batches = &batch};
        contract_fill(&batch, TABLE_MARKET_DATA, "10|A|2|-|-|0|0|0\n");
        failpoint_arm(points[i]);
        assert_int_equal(store_apply(place->store, &group, NULL), ERR_IO);
        failpoint_arm(NULL);
        batch_fini(&batch);
        place_expect(place, TABLE_MARKET_DATA, "10|A|1|-|-|0|0|0\n11|B|1|-|-|0|0|0\n");
    }
    place_put(place, TABLE_MARKET_DATA, "10|A|2|-|-|0|0|0\n9|A|3|-|-|0|0|0\n");
    place_expect(place, TABLE_MARKET_DATA, "9|A|3|-|-|0|0|0\n10|A|2|-|-|0|0|0\n11|B|1|-|-|0|0|0\n");
    place_put(place, TABLE_TRADES, "t2|172800000000|A|sell|2|2|-|-|-\n");
    place_expect(place, TABLE_TRADES, "t1|10|A|buy|1|1|-|-|-\nt2|172800000000|A|sell|2|2|-|-|-\n");
    struct cold_file files[4];
    assert_int_equal(place_raw_files(place, TABLE_TRADES, files), 1);
    assert_int_equal(files[0].day, 0);
    assert_int_equal(place_raw_files(place, TABLE_MARKET_DATA, files), 0);
    place_expect_sql(place, "SELECT count(*) FROM market_data", "3\n");
}

static void
test_a_commit_that_only_seems_to_fail_is_not_made_twice(void **state)
{
    struct place *place = *state;
    struct batch batch;
    struct store_group group = {.first_lsn = 3, .last_lsn = 3, .batch_count = 1, .batches = &batch};
    struct err err;

    place_put(place, TABLE_SAMPLES, "1|10|1\n");
    place_put(place, TABLE_MARKET_DATA, "10|A|1|-|-|0|0|0\n");
    place_seal_day(place, TABLE_MARKET_DATA, 0, false);
    /* The day becomes hot again with it. */
    contract_fill(&batch, TABLE_MARKET_DATA, "10|A|2|-|-|0|0|0\n");
    failpoint_arm("commit.answered:error");
    assert_int_equal(store_apply(place->store, &group, &err), ERR_INTERNAL);
    assert_non_null(strstr(err.msg, "whether a transaction is committed is not known"));
    failpoint_arm(NULL);
    /* Not even to be tried: the store must be opened anew, and tells then. */
    assert_int_equal(store_apply(place->store, &group, &err), ERR_CORRUPT);
    place_reopen(place);
    assert_int_equal(store_applied_lsn(place->store), 3);
    assert_int_equal(store_apply(place->store, &group, &err), ERR_OK);
    batch_fini(&batch);
    place_expect(place, TABLE_MARKET_DATA, "10|A|2|-|-|0|0|0\n");
    place_expect(place, TABLE_SAMPLES, "1|10|1\n");
}

static void
test_users_reach_cold_rows_through_views_alone(void **state)
{
    static const char *const statements[] = {"SELECT * FROM '%s'",
                                             "FROM \"%s\"",
                                             "SELECT * FROM read_parquet('%s')",
                                             "SELECT * FROM parquet_metadata('%s')",
                                             "SELECT * FROM parquet_file_metadata('%s')",
                                             "SELECT * FROM glob('%s')",
                                             "SELECT * FROM read_blob('%s')",
                                             "DESCRIBE '%s'",
                                             "COPY samples TO '%s'",
                                             "COPY samples FROM '%s'",
                                             "ATTACH '%s'",
                                             "FROM $$%s$$",
                                             "SELECT (SELECT count(*) FROM '%s')",
                                             "WITH x AS (FROM '%s') FROM x",
                                             "SUMMARIZE '%s'",
                                             "FROM query('FROM ''%s''')",
                                             "FROM query_table('%s')"};
    struct place *place = *state;
    struct cold_file files[4];
    char dir[PLACE_PATH_BYTES];
    char path[COLD_PATH_MAX];
    char link_path[PLACE_PATH_BYTES];
    char sql[COLD_PATH_MAX + 64];
    char text[64];

    /* A directory without special characters, so that nothing but the guard is in the way. */
    place_put(place, TABLE_SAMPLES, PLACE_TWO_DAYS);
    place_seal_day(place, TABLE_SAMPLES, 0, false);
    assert_int_equal(place_raw_files(place, TABLE_SAMPLES, files), 1);
    place_cold_dir(place, dir);
    snprintf(link_path, sizeof(link_path), "%.400s/plain.duckdb", place->dir);
    store_close(place->store);
    snprintf(place->path, sizeof(place->path), "%s", link_path);
    place_open(place);
    place->lsn = 0;
    place_put(place, TABLE_SAMPLES, PLACE_TWO_DAYS);
    place_seal_day(place, TABLE_SAMPLES, 0, false);
    assert_int_equal(place_raw_files(place, TABLE_SAMPLES, files), 1);
    snprintf(link_path, sizeof(link_path), "%.400s/cold", place->dir);
    cold_path(link_path, &files[0], path, sizeof(path));
    assert_int_equal(access(path, R_OK), 0);
    for (size_t i = 0; i < sizeof(statements) / sizeof(*statements); i++) {
        const char *at = strstr(statements[i], "%s");
        snprintf(sql, sizeof(sql), "%.*s%s%s", (int)(at - statements[i]), statements[i], path,
                 at + 2);
        enum err_code code = place_ask(place, sql, text, sizeof(text), NULL);
        if (code != ERR_INVALID) {
            fail_msg("%s: code %d", sql, (int)code);
        }
    }
    place_expect_sql(place, "SELECT count(*) FROM samples", "3\n");
}

static void
test_compact_gives_space_back(void **state)
{
    struct place *place = *state;
    char copy[PLACE_PATH_BYTES + 16];
    struct stat before;
    struct stat after;
    struct buf lines BUF_AUTO;
    struct err err = {0};

    buf_init(&lines, 0);
    for (int i = 0; i < ROWS; i++) {
        buf_add_fmt(&lines, "%d|%d|%d.%d\n", i % 7, i, i * 31 % 100003, i % 97);
    }
    buf_add_char(&lines, '\0');
    place_put(place, TABLE_SAMPLES, lines.ptr);
    place_put(place, TABLE_SAMPLES, "1|86400000010|3.5\n");
    place_put(place, TABLE_SERIES, "1|cpu|-|{\"a\":\"b\"}\n");
    assert_int_equal(store_checkpoint(place->store, NULL), ERR_OK);
    place_seal_day(place, TABLE_SAMPLES, 0, false);
    assert_int_equal(store_checkpoint(place->store, NULL), ERR_OK);
    assert_int_equal(stat(place->path, &before), 0);
    snprintf(copy, sizeof(copy), "%s.compact", place->path);
    failpoint_arm("compact.written:error");
    assert_int_equal(store_compact(place->store, copy, NULL), ERR_IO);
    failpoint_arm(NULL);
    assert_int_not_equal(access(copy, F_OK), 0);
    if (store_compact(place->store, copy, &err)) {
        fail_msg("compact: %s", err.msg);
    }
    assert_int_equal(stat(copy, &after), 0);
    assert_true(after.st_size < before.st_size / 2);
    place_put(place, TABLE_SAMPLES, "1|86400000011|1\n"); /* the store goes on */
    store_close(place->store);
    assert_int_equal(rename(copy, place->path), 0);
    place_open(place);
    assert_int_equal(store_applied_lsn(place->store), 3);
    place_expect_sql(place, "SELECT count(*), max(timestamp)::TIMESTAMP FROM samples",
                     "600001|86400000010\n");
    place_expect(place, TABLE_SERIES, "1|cpu|-|{\"a\":\"b\"}\n");
    assert_int_equal(place_files_on_disk(place), place_listed(place));
}

static void
seal_day_if_any(struct place *place, int32_t day, bool merge)
{
    struct store_seal what = {.table = TABLE_SAMPLES, .day = day, .merge = merge};
    struct store_sealing *sealing = NULL;
    struct store_seal_result result;

    if (store_seal_begin(place->store, &what, &sealing, NULL) == ERR_OK) {
        assert_int_equal(store_seal_commit(place->store, sealing, &result, NULL), ERR_OK);
    }
    store_seal_free(place->store, sealing);
}

struct crowd {
    struct place *place;
    atomic_bool stop;
    atomic_int rows; /* applied so far, of which all were visible once */
    atomic_int reads;
};

/* Counts the rows again and again: what was there once stays there, in whichever place. */
static void *
read_on(void *ctx)
{
    struct crowd *crowd = ctx;
    struct store_scan scan = {.table = TABLE_SAMPLES, .from_us = INT64_MIN, .to_us = INT64_MAX};
    struct store_table_stats stats;
    struct batch rows;

    while (!atomic_load(&crowd->stop)) {
        int before = atomic_load(&crowd->rows);
        assert_int_equal(store_scan(crowd->place->store, &scan, &rows, NULL), ERR_OK);
        assert_true((int)rows.rows >= before && rows.rows % CROWD_ROWS == 0);
        before = (int)rows.rows;
        batch_fini(&rows);
        assert_int_equal(store_table_stats(crowd->place->store, TABLE_SAMPLES, &stats, NULL),
                         ERR_OK);
        assert_true((int)stats.rows >= before && stats.rows % CROWD_ROWS == 0);
        atomic_fetch_add(&crowd->reads, 1);
    }
    return NULL;
}

/* Maintenance's half of a sealing. */
struct half {
    struct place *place;
    struct store_seal what;
    struct store_sealing *sealing;
    enum err_code code;
};

static void *
begin_half(void *ctx)
{
    struct half *half = ctx;

    half->code = store_seal_begin(half->place->store, &half->what, &half->sealing, NULL);
    return NULL;
}

static void
test_readers_see_every_row_once_while_days_are_sealed(void **state)
{
    struct place *place = *state;
    struct crowd crowd = {.place = place};
    pthread_t reader;
    char lines[512];

    assert_int_equal(pthread_create(&reader, NULL, read_on, &crowd), 0);
    for (int round = 0; round < ROUNDS; round++) {
        struct half half = {
            .place = place,
            .what = {.table = TABLE_SAMPLES, .day = round % 3, .merge = round % 4 == 0}};
        struct store_seal_result result;
        pthread_t maintenance;
        assert_int_equal(pthread_create(&maintenance, NULL, begin_half, &half), 0);
        snprintf(lines, sizeof(lines), "1|%d|1\n2|86400%06d|2\n3|172800%06d|3\n", round,
                 round % 7 * 1000 + round, round);
        place_put(place, TABLE_SAMPLES, lines);
        atomic_fetch_add(&crowd.rows, CROWD_ROWS);
        assert_int_equal(pthread_join(maintenance, NULL), 0);
        if (half.code == ERR_OK) {
            enum err_code code = store_seal_commit(place->store, half.sealing, &result, NULL);
            assert_true(code == ERR_OK || code == ERR_BUSY);
        } else {
            assert_int_equal(half.code, ERR_NOT_FOUND);
        }
        store_seal_free(place->store, half.sealing);
        seal_day_if_any(place, round % 3, round % 4 == 1);
    }
    while (atomic_load(&crowd.reads) == 0) {
        sched_yield();
    }
    atomic_store(&crowd.stop, true);
    assert_int_equal(pthread_join(reader, NULL), 0);
    assert_true(place_files_on_disk(place) >=
                place_listed(place)); /* those of merged files wait for readers */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_seal_moves_a_day_into_a_file),
        CASE(test_seal_find_names_closed_days_with_hot_rows),
        CASE(test_seal_refuses_what_it_cannot_seal),
        CASE(test_a_checkpoint_that_a_backup_holds_up_is_no_damage),
        CASE(test_late_rows_are_seen_at_once_and_merged_later),
        CASE(test_drop_takes_files_and_hot_days),
        CASE(test_metrics_that_match_a_pattern_are_left_out),
        CASE(test_replaced_rows_make_a_day_hot_again),
        CASE(test_a_commit_that_only_seems_to_fail_is_not_made_twice),
        CASE(test_users_reach_cold_rows_through_views_alone),
        CASE(test_compact_gives_space_back),
        CASE(test_readers_see_every_row_once_while_days_are_sealed),
    };

    return cmocka_run_group_tests_name("store duckdb seal", tests, NULL, NULL);
}
