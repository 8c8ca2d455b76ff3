/* Days of the DuckDB store that become files, and what fails on the way. */

/* cmocka wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* */
#include <cmocka.h>

#include <dirent.h>
#include <ftw.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "codec/time.h"
#include "store/cold.h"
#include "store/contract.h"
#include "store/duckdb/store_duckdb.h"
#include "store/failpoint.h"

#define CASE(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

enum { ROUNDS = 24, CROWD_ROWS = 3, PATH_BYTES = 512, ROWS = 600000 };

struct place {
    char dir[PATH_BYTES];
    char path[PATH_BYTES];
    struct store *store;
    uint64_t lsn;
    size_t lost;
};

static void
note_lost(void *ctx, const struct cold_file *file)
{
    (void)file;
    ((struct place *)ctx)->lost++;
}

static void
open_place(struct place *place)
{
    struct store_open_options options = {.path = place->path,
                                         .threads = 1,
                                         .readers = 2,
                                         .cold_lost = note_lost,
                                         .cold_lost_ctx = place};
    struct err err = {0};

    if (store_duckdb_open(&options, &place->store, &err)) {
        fail_msg("open: %s", err.msg);
    }
}

static void
reopen(struct place *place)
{
    store_close(place->store);
    place->store = NULL;
    open_place(place);
}

static int
setup(void **state)
{
    struct place *place = mem_zalloc(1, sizeof(*place));
    char parent[] = "/tmp/eider-seal-XXXXXX";

    assert_non_null(mkdtemp(parent));
    /* Every character that SQL or a pattern could take amiss. */
    snprintf(place->dir, sizeof(place->dir), "%s", parent);
    snprintf(place->path, sizeof(place->path), "%s/it's [a] *", parent);
    assert_int_equal(mkdir(place->path, 0700), 0);
    snprintf(place->path, sizeof(place->path), "%s/it's [a] */test.duckdb", parent);
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

    failpoint_arm(NULL);
    store_close(place->store);
    assert_int_equal(nftw(place->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
    free(place);
    return 0;
}

static void
cold_dir(const struct place *place, char *ret_path)
{
    snprintf(ret_path, PATH_BYTES, "%.400s/it's [a] */cold", place->dir);
}

static void
put(struct place *place, enum table_id table, const char *lines)
{
    struct batch batch;
    struct err err = {0};
    struct store_group group = {.first_lsn = place->lsn + 1,
                                .last_lsn = place->lsn + 1,
                                .batch_count = 1,
                                .batches = &batch};

    contract_fill(&batch, table, lines);
    if (store_apply(place->store, &group, &err)) {
        fail_msg("apply: %s", err.msg);
    }
    place->lsn++;
    batch_fini(&batch);
}

static void
expect(struct place *place, enum table_id table, const char *lines)
{
    struct store_scan scan = {.table = table, .from_us = INT64_MIN, .to_us = INT64_MAX};
    struct err err = {0};
    struct batch rows;
    struct buf text BUF_AUTO = {0};

    if (store_scan(place->store, &scan, &rows, &err)) {
        fail_msg("scan: %s", err.msg);
    }
    buf_init(&text, 0);
    contract_dump(&rows, &text);
    batch_fini(&rows);
    buf_add_char(&text, '\0');
    assert_string_equal(text.ptr, lines);
}

static enum err_code
ask(struct place *place, const char *sql, char *ret_text, size_t size, struct err *err)
{
    struct store_sql statement = {.sql = slice_of(sql)};
    struct buf text BUF_AUTO = {0};
    struct batch rows;

    buf_init(&text, 0);
    enum err_code code = store_sql(place->store, &statement, &rows, NULL, err);
    if (code) {
        return code;
    }
    contract_dump(&rows, &text);
    batch_fini(&rows);
    snprintf(ret_text, size, "%.*s", SLICE_FMT(buf_slice(&text)));
    return ERR_OK;
}

static void
expect_sql(struct place *place, const char *sql, const char *lines)
{
    char text[1024];
    struct err err = {0};

    if (ask(place, sql, text, sizeof(text), &err)) {
        fail_msg("%s: %s", sql, err.msg);
    }
    assert_string_equal(text, lines);
}

static struct store_sealing *
begin(struct place *place, const struct store_seal *seal)
{
    struct store_sealing *sealing = NULL;
    struct err err = {0};

    if (store_seal_begin(place->store, seal, &sealing, &err)) {
        fail_msg("seal_begin: %s", err.msg);
    }
    return sealing;
}

static struct store_seal_result
seal(struct place *place, const struct store_seal *what)
{
    struct store_sealing *sealing = begin(place, what);
    struct store_seal_result result;
    struct err err = {0};

    if (store_seal_commit(place->store, sealing, &result, &err)) {
        fail_msg("seal_commit: %s", err.msg);
    }
    store_seal_free(place->store, sealing);
    return result;
}

static void
seal_day(struct place *place, enum table_id table, int32_t day, bool merge)
{
    struct store_seal what = {.table = table, .day = day, .merge = merge};

    seal(place, &what);
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

/* The listed raw files of a table. */
static size_t
raw_files(struct place *place, enum table_id table, struct cold_file *ret_files)
{
    struct cold_file *files;
    size_t count;
    size_t found = 0;

    assert_int_equal(store_cold_list(place->store, &files, &count, NULL), ERR_OK);
    for (size_t i = 0; i < count; i++) {
        if (files[i].table == table && files[i].kind == COLD_RAW) {
            ret_files[found++] = files[i];
        }
    }
    free(files);
    return found;
}

static enum err_code
count_file(void *ctx, const struct cold_file *file, struct err *err)
{
    (void)file;
    (void)err;
    ++*(size_t *)ctx;
    return ERR_OK;
}

/* Files in the cold directory, in their places and in tmp. */
static size_t
files_on_disk(const struct place *place)
{
    char dir[PATH_BYTES];
    char tmp[PATH_BYTES + 8];
    size_t count = 0;
    struct dirent *entry;

    cold_dir(place, dir);
    assert_int_equal(cold_walk(dir, count_file, &count, NULL), ERR_OK);
    snprintf(tmp, sizeof(tmp), "%s/tmp", dir);
    DIR *stream = opendir(tmp);
    assert_non_null(stream);
    while ((entry = readdir(stream))) { /* NOLINT(concurrency-mt-unsafe): its own stream */
        count += entry->d_name[0] != '.';
    }
    closedir(stream);
    return count;
}

static size_t
listed(struct place *place)
{
    struct cold_file *files;
    size_t count;

    assert_int_equal(store_cold_list(place->store, &files, &count, NULL), ERR_OK);
    free(files);
    return count;
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
        put(place, TABLE_SAMPLES, lines);
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
    assert_true(files_on_disk(place) >= listed(place)); /* those of merged files wait for readers */
}

static const char two_days[] = "1|10|1.5\n2|20|2.5\n1|86400000010|3.5\n";
static const char two_days_by_time[] = "1|10|1.5\n2|20|2.5\n1|86400000010|3.5\n";

static void
test_seal_moves_a_day_into_a_file(void **state)
{
    struct place *place = *state;
    struct cold_file files[4];
    struct store_table_stats stats;
    char dir[PATH_BYTES];
    char path[COLD_PATH_MAX];
    char checksum[COLD_CHECKSUM_MAX];

    put(place, TABLE_SAMPLES, two_days);
    struct store_seal what = {.table = TABLE_SAMPLES, .day = 0};
    struct store_seal_result result = seal(place, &what);
    assert_int_equal(result.rows, 2);
    assert_int_equal(result.rows_dropped, 0);
    assert_int_equal(result.files_delisted, 0);
    expect(place, TABLE_SAMPLES, two_days_by_time);
    expect_sql(place, "SELECT count(*) FROM samples_hot", "1\n");
    expect_sql(place, "SELECT * FROM samples ORDER BY timestamp", two_days_by_time);
    assert_int_equal(raw_files(place, TABLE_SAMPLES, files), 1);
    assert_int_equal(files[0].day, 0);
    assert_int_equal(files[0].rows, 2);
    assert_int_equal(files[0].min_us, 10);
    assert_int_equal(files[0].max_us, 20);
    assert_int_equal(files[0].sealed_lsn, 1);
    cold_dir(place, dir);
    cold_path(dir, &files[0], path, sizeof(path));
    uint64_t bytes;
    assert_int_equal(cold_checksum(path, checksum, &bytes, NULL), ERR_OK);
    assert_string_equal(checksum, files[0].checksum);
    assert_int_equal(bytes, files[0].bytes);
    assert_int_equal(store_table_stats(place->store, TABLE_SAMPLES, &stats, NULL), ERR_OK);
    assert_int_equal(stats.rows, 3);
    assert_int_equal(stats.min_us, 10);
    assert_int_equal(stats.max_us, 86400000010);
    reopen(place);
    expect(place, TABLE_SAMPLES, two_days_by_time);
    assert_int_equal(files_on_disk(place), listed(place));
    assert_int_equal(place->lost, 0);
}

static void
test_seal_find_names_closed_days_with_hot_rows(void **state)
{
    struct place *place = *state;
    struct store_day days[8];
    size_t count;

    put(place, TABLE_SAMPLES, "1|-1|1\n1|10|1\n1|86400000010|3\n");
    put(place, TABLE_TRADES, "t1|10|A|buy|1|1|-|-|-\n");
    seal_day(place, TABLE_SAMPLES, 0, false);
    put(place, TABLE_SAMPLES, "1|11|1\n1|172800000010|3\n");
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
    put(place, TABLE_SAMPLES, "1|-2|1\n");
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
    assert_int_equal(files_on_disk(place), 0);
}

/* Begins to seal, lets rows come, and expects that nothing but these rows has changed. */
static void
expect_busy(struct place *place, enum table_id table, const char *meanwhile, const char *after)
{
    struct store_seal what = {.table = table, .day = 0};
    struct store_sealing *sealing = begin(place, &what);
    struct store_seal_result result;

    put(place, table, meanwhile);
    assert_int_equal(store_seal_commit(place->store, sealing, &result, NULL), ERR_BUSY);
    store_seal_free(place->store, sealing);
    expect(place, table, after);
    assert_int_equal(listed(place), 0);
    assert_int_equal(files_on_disk(place), 0);
}

static void
test_seal_gives_up_when_rows_of_the_day_came_meanwhile(void **state)
{
    struct place *place = *state;

    put(place, TABLE_SAMPLES, "1|10|1\n");
    expect_busy(place, TABLE_SAMPLES, "1|5|2\n", "1|5|2\n1|10|1\n");
    put(place, TABLE_MARKET_DATA, "10|A|1|-|-|0|0|0\n");
    expect_busy(place, TABLE_MARKET_DATA, "10|A|2|-|-|0|0|0\n", "10|A|2|-|-|0|0|0\n");
    /* A row that leaves the day for another one. */
    put(place, TABLE_TRADES, "t1|10|A|buy|1|1|-|-|-\nt2|11|A|buy|1|1|-|-|-\n");
    expect_busy(place, TABLE_TRADES, "t1|86400000000|A|buy|1|1|-|-|-\n",
                "t2|11|A|buy|1|1|-|-|-\nt1|86400000000|A|buy|1|1|-|-|-\n");
    /* Rows of another day do no harm. */
    struct store_seal what = {.table = TABLE_SAMPLES, .day = 0};
    struct store_sealing *sealing = begin(place, &what);
    struct store_seal_result result;
    put(place, TABLE_SAMPLES, "1|86400000000|7\n");
    assert_int_equal(store_seal_commit(place->store, sealing, &result, NULL), ERR_OK);
    store_seal_free(place->store, sealing);
    expect(place, TABLE_SAMPLES, "1|5|2\n1|10|1\n1|86400000000|7\n");
}

static void
test_late_rows_are_seen_at_once_and_merged_later(void **state)
{
    struct place *place = *state;
    struct cold_file files[4];

    put(place, TABLE_SAMPLES, two_days);
    seal_day(place, TABLE_SAMPLES, 0, false);
    put(place, TABLE_SAMPLES, "1|5|9\n");
    expect(place, TABLE_SAMPLES, "1|5|9\n1|10|1.5\n2|20|2.5\n1|86400000010|3.5\n");
    seal_day(place, TABLE_SAMPLES, 0, false);
    assert_int_equal(raw_files(place, TABLE_SAMPLES, files), 2);
    expect(place, TABLE_SAMPLES, "1|5|9\n1|10|1.5\n2|20|2.5\n1|86400000010|3.5\n");
    put(place, TABLE_SAMPLES, "2|6|8\n");
    struct store_seal what = {.table = TABLE_SAMPLES, .day = 0, .merge = true};
    struct store_seal_result result = seal(place, &what);
    assert_int_equal(result.rows, 4);
    assert_true(result.files_delisted >= 2);
    assert_int_equal(raw_files(place, TABLE_SAMPLES, files), 1);
    expect(place, TABLE_SAMPLES, "1|5|9\n2|6|8\n1|10|1.5\n2|20|2.5\n1|86400000010|3.5\n");
    expect_sql(place, "SELECT count(*) FROM samples_hot", "1\n");
}

static void
test_merge_gives_up_when_a_file_was_dropped_meanwhile(void **state)
{
    struct place *place = *state;
    struct cold_file files[4];
    struct store_seal_result result;

    put(place, TABLE_SAMPLES, two_days);
    seal_day(place, TABLE_SAMPLES, 0, false);
    struct store_seal what = {.table = TABLE_SAMPLES, .day = 0, .merge = true};
    struct store_sealing *sealing = begin(place, &what);
    assert_int_equal(raw_files(place, TABLE_SAMPLES, files), 1);
    const char *const names[] = {files[0].name, NULL};
    struct cold_drop drop = {.names = names, .kind = COLD_KIND_COUNT};
    assert_int_equal(store_cold_drop(place->store, &drop, NULL), ERR_OK);
    assert_int_equal(store_seal_commit(place->store, sealing, &result, NULL), ERR_BUSY);
    store_seal_free(place->store, sealing);
    expect(place, TABLE_SAMPLES, "1|86400000010|3.5\n");
}

static void
test_drop_takes_files_and_hot_days(void **state)
{
    struct place *place = *state;
    struct cold_file files[4];

    put(place, TABLE_SAMPLES, two_days);
    put(place, TABLE_SAMPLES, "1|172800000000|4\n");
    seal_day(place, TABLE_SAMPLES, 0, false);
    assert_int_equal(raw_files(place, TABLE_SAMPLES, files), 1);
    const char *const names[] = {files[0].name, NULL};
    struct cold_drop drop = {.names = names,
                             .kind = COLD_KIND_COUNT,
                             .hot = true,
                             .table = TABLE_SAMPLES,
                             .first_day = 0,
                             .last_day = 1};
    failpoint_arm("drop.delisted:error");
    assert_int_equal(store_cold_drop(place->store, &drop, NULL), ERR_IO);
    expect(place, TABLE_SAMPLES, "1|10|1.5\n2|20|2.5\n1|86400000010|3.5\n1|172800000000|4\n");
    failpoint_arm(NULL);
    assert_int_equal(store_cold_drop(place->store, &drop, NULL), ERR_OK);
    expect(place, TABLE_SAMPLES, "1|172800000000|4\n");
    expect_sql(place, "SELECT * FROM samples", "1|172800000000|4\n");
    assert_int_equal(listed(place), 0);
    drop.table = TABLE_METRICS;
    assert_int_equal(store_cold_drop(place->store, &drop, NULL), ERR_INVALID);
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

    put(place, TABLE_SAMPLES, two_days);
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
        assert_int_equal(listed(place), 0);
        assert_int_equal(files_on_disk(place), 0);
        expect(place, TABLE_SAMPLES, two_days_by_time);
    }
    seal_day(place, TABLE_SAMPLES, 0, false);
    expect(place, TABLE_SAMPLES, two_days_by_time);
}

static void
limit_files(rlim_t bytes)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void
test_seal_on_a_full_disk_leaves_everything_as_it_was(void **state)
{
    struct place *place = *state;
    struct store_seal what = {.table = TABLE_SAMPLES, .day = 0};
    struct store_sealing *sealing = NULL;
    struct err err = {0};

    put(place, TABLE_SAMPLES, two_days);
    signal(SIGXFSZ, SIG_IGN);
    limit_files(100);
    enum err_code code = store_seal_begin(place->store, &what, &sealing, &err);
    limit_files(RLIM_INFINITY);
    if (code != ERR_NO_SPACE) {
        fail_msg("seal on a full disk: %d %s", (int)code, err.msg);
    }
    assert_int_equal(files_on_disk(place), 0);
    expect(place, TABLE_SAMPLES, two_days_by_time);
    put(place, TABLE_SAMPLES, "1|11|1\n");
    seal_day(place, TABLE_SAMPLES, 0, false);
    expect(place, TABLE_SAMPLES, "1|10|1.5\n1|11|1\n2|20|2.5\n1|86400000010|3.5\n");
}

static void
test_metrics_that_match_a_pattern_are_left_out(void **state)
{
    struct place *place = *state;
    const char *const patterns[] = {"cp?.l*", "100%_\\'x", NULL};
    struct store_seal what = {
        .table = TABLE_SAMPLES, .day = 0, .merge = true, .drop_metrics = patterns};

    put(place, TABLE_SERIES, "1|cpu.load|-|-\n2|cpuXload|-|-\n3|100%_\\'x|-|-\n4|100aab'x|-|-\n");
    put(place, TABLE_SAMPLES, "1|1|1\n2|2|2\n3|3|3\n4|4|4\n");
    struct store_seal_result result = seal(place, &what);
    assert_int_equal(result.rows, 2);
    assert_int_equal(result.rows_dropped, 2);
    expect(place, TABLE_SAMPLES, "2|2|2\n4|4|4\n");
    const char *const all[] = {"*", NULL};
    what.drop_metrics = all;
    result = seal(place, &what);
    assert_int_equal(result.rows, 0);
    assert_int_equal(result.rows_dropped, 2);
    expect(place, TABLE_SAMPLES, "");
    assert_int_equal(listed(place), 0);
}

static void
test_replaced_rows_make_a_day_hot_again(void **state)
{
    struct place *place = *state;

    put(place, TABLE_MARKET_DATA, "10|A|1|-|-|0|0|0\n11|B|1|-|-|0|0|0\n");
    put(place, TABLE_TRADES, "t1|10|A|buy|1|1|-|-|-\nt2|86400000011|A|buy|1|1|-|-|-\n");
    seal_day(place, TABLE_MARKET_DATA, 0, false);
    seal_day(place, TABLE_TRADES, 0, false);
    seal_day(place, TABLE_TRADES, 1, false);
    reopen(place); /* what is in cold files is not in the memory of keys */
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
        expect(place, TABLE_MARKET_DATA, "10|A|1|-|-|0|0|0\n11|B|1|-|-|0|0|0\n");
    }
    put(place, TABLE_MARKET_DATA, "10|A|2|-|-|0|0|0\n9|A|3|-|-|0|0|0\n");
    expect(place, TABLE_MARKET_DATA, "9|A|3|-|-|0|0|0\n10|A|2|-|-|0|0|0\n11|B|1|-|-|0|0|0\n");
    put(place, TABLE_TRADES, "t2|172800000000|A|sell|2|2|-|-|-\n");
    expect(place, TABLE_TRADES, "t1|10|A|buy|1|1|-|-|-\nt2|172800000000|A|sell|2|2|-|-|-\n");
    struct cold_file files[4];
    assert_int_equal(raw_files(place, TABLE_TRADES, files), 1);
    assert_int_equal(files[0].day, 0);
    assert_int_equal(raw_files(place, TABLE_MARKET_DATA, files), 0);
    expect_sql(place, "SELECT count(*) FROM market_data", "3\n");
}

/* A damaged file that has its size: nobody notices before it is read. */
static void
test_a_file_with_its_size_but_damaged_does_not_keep_from_opening(void **state)
{
    struct place *place = *state;
    struct store_scan scan = {.table = TABLE_SAMPLES, .from_us = INT64_MIN, .to_us = INT64_MAX};
    struct cold_file files[4];
    char dir[PATH_BYTES];
    char path[COLD_PATH_MAX];
    struct err err = {0};
    struct batch rows;

    put(place, TABLE_SAMPLES, two_days);
    put(place, TABLE_SAMPLES, "1|172800000000|4\n");
    seal_day(place, TABLE_SAMPLES, 0, false);
    seal_day(place, TABLE_SAMPLES, 1, false);
    assert_int_equal(raw_files(place, TABLE_SAMPLES, files), 2);
    cold_dir(place, dir);
    cold_path(dir, &files[0], path, sizeof(path));
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    for (uint64_t i = 0; i < files[0].bytes; i++) {
        fputc('x', file);
    }
    fclose(file);
    reopen(place);
    assert_int_equal(place->lost, 0);
    scan.from_us = TIME_US_PER_DAY;
    assert_int_equal(store_scan(place->store, &scan, &rows, &err), ERR_OK);
    assert_int_equal(rows.rows, 2);
    batch_fini(&rows);
    scan.from_us = 0;
    assert_int_equal(store_scan(place->store, &scan, &rows, &err), ERR_IO);
    seal_day(place, TABLE_SAMPLES, 2, false);
    put(place, TABLE_SAMPLES, "1|172800000001|4\n");
}

/* Overwrites a listed file, or removes it when bytes is NULL. */
static void
spoil(struct place *place, enum table_id table, const char *bytes)
{
    struct cold_file files[4];
    char dir[PATH_BYTES];
    char path[COLD_PATH_MAX];

    assert_int_equal(raw_files(place, table, files), 1);
    cold_dir(place, dir);
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

    put(place, TABLE_MARKET_DATA, "10|A|1|-|-|0|0|0\n86400000010|A|2|-|-|0|0|0\n");
    seal_day(place, TABLE_MARKET_DATA, 0, false);
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
    put(place, TABLE_MARKET_DATA, "10|A|3|-|-|0|0|0\n");
    expect_sql(place, "SELECT last_price FROM market_data_hot ORDER BY timestamp", "3\n2\n");
    /* It is no file of that list any more. */
    reopen(place);
    assert_true(place->lost >= 1);
    expect(place, TABLE_MARKET_DATA, "10|A|3|-|-|0|0|0\n86400000010|A|2|-|-|0|0|0\n");
}

static void
test_missing_files_leave_the_list_at_open(void **state)
{
    struct place *place = *state;
    struct cold_file files[4];
    struct cold_names names COLD_NAMES_AUTO;
    char dir[PATH_BYTES];

    put(place, TABLE_SAMPLES, two_days);
    seal_day(place, TABLE_SAMPLES, 0, false);
    spoil(place, TABLE_SAMPLES, NULL);
    reopen(place);
    assert_int_equal(place->lost, 1);
    expect(place, TABLE_SAMPLES, "1|86400000010|3.5\n");
    cold_dir(place, dir);
    cold_names_init(&names);
    assert_int_equal(cold_ledger_read(dir, COLD_MISSING, &names, NULL), ERR_OK);
    assert_int_equal(names.count, 1);
    /* One that retention took is nothing to tell of. */
    seal_day(place, TABLE_SAMPLES, 1, false);
    assert_int_equal(raw_files(place, TABLE_SAMPLES, files), 1);
    assert_int_equal(cold_ledger_add(dir, COLD_DROPPED, files, 1, NULL), ERR_OK);
    spoil(place, TABLE_SAMPLES, NULL);
    reopen(place);
    assert_int_equal(place->lost, 1);
    expect(place, TABLE_SAMPLES, "");
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
    char dir[PATH_BYTES];
    char path[COLD_PATH_MAX];
    char link_path[PATH_BYTES];
    char sql[COLD_PATH_MAX + 64];
    char text[64];

    /* A directory without special characters, so that nothing but the guard is in the way. */
    put(place, TABLE_SAMPLES, two_days);
    seal_day(place, TABLE_SAMPLES, 0, false);
    assert_int_equal(raw_files(place, TABLE_SAMPLES, files), 1);
    cold_dir(place, dir);
    snprintf(link_path, sizeof(link_path), "%.400s/plain.duckdb", place->dir);
    store_close(place->store);
    snprintf(place->path, sizeof(place->path), "%s", link_path);
    open_place(place);
    place->lsn = 0;
    put(place, TABLE_SAMPLES, two_days);
    seal_day(place, TABLE_SAMPLES, 0, false);
    assert_int_equal(raw_files(place, TABLE_SAMPLES, files), 1);
    snprintf(link_path, sizeof(link_path), "%.400s/cold", place->dir);
    cold_path(link_path, &files[0], path, sizeof(path));
    assert_int_equal(access(path, R_OK), 0);
    for (size_t i = 0; i < sizeof(statements) / sizeof(*statements); i++) {
        const char *at = strstr(statements[i], "%s");
        snprintf(sql, sizeof(sql), "%.*s%s%s", (int)(at - statements[i]), statements[i], path,
                 at + 2);
        enum err_code code = ask(place, sql, text, sizeof(text), NULL);
        if (code != ERR_INVALID) {
            fail_msg("%s: code %d", sql, (int)code);
        }
    }
    expect_sql(place, "SELECT count(*) FROM samples", "3\n");
}

static void
test_compact_gives_space_back(void **state)
{
    struct place *place = *state;
    char copy[PATH_BYTES + 16];
    struct stat before;
    struct stat after;
    struct buf lines BUF_AUTO;
    struct err err = {0};

    buf_init(&lines, 0);
    for (int i = 0; i < ROWS; i++) {
        buf_add_fmt(&lines, "%d|%d|%d.%d\n", i % 7, i, i * 31 % 100003, i % 97);
    }
    buf_add_char(&lines, '\0');
    put(place, TABLE_SAMPLES, lines.ptr);
    put(place, TABLE_SAMPLES, "1|86400000010|3.5\n");
    put(place, TABLE_SERIES, "1|cpu|-|{\"a\":\"b\"}\n");
    assert_int_equal(store_checkpoint(place->store, NULL), ERR_OK);
    seal_day(place, TABLE_SAMPLES, 0, false);
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
    put(place, TABLE_SAMPLES, "1|86400000011|1\n"); /* the store goes on */
    store_close(place->store);
    assert_int_equal(rename(copy, place->path), 0);
    open_place(place);
    assert_int_equal(store_applied_lsn(place->store), 3);
    expect_sql(place, "SELECT count(*), max(timestamp)::TIMESTAMP FROM samples",
               "600001|86400000010\n");
    expect(place, TABLE_SERIES, "1|cpu|-|{\"a\":\"b\"}\n");
    assert_int_equal(files_on_disk(place), listed(place));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_seal_moves_a_day_into_a_file),
        CASE(test_seal_find_names_closed_days_with_hot_rows),
        CASE(test_seal_refuses_what_it_cannot_seal),
        CASE(test_seal_gives_up_when_rows_of_the_day_came_meanwhile),
        CASE(test_late_rows_are_seen_at_once_and_merged_later),
        CASE(test_merge_gives_up_when_a_file_was_dropped_meanwhile),
        CASE(test_drop_takes_files_and_hot_days),
        CASE(test_seal_fails_whole_at_every_step),
        CASE(test_seal_on_a_full_disk_leaves_everything_as_it_was),
        CASE(test_metrics_that_match_a_pattern_are_left_out),
        CASE(test_replaced_rows_make_a_day_hot_again),
        CASE(test_a_damaged_file_fails_reads_alone),
        CASE(test_a_file_with_its_size_but_damaged_does_not_keep_from_opening),
        CASE(test_missing_files_leave_the_list_at_open),
        CASE(test_users_reach_cold_rows_through_views_alone),
        CASE(test_compact_gives_space_back),
        CASE(test_readers_see_every_row_once_while_days_are_sealed),
    };

    return cmocka_run_group_tests_name("store duckdb seal", tests, NULL, NULL);
}
