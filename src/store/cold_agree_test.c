/* Hot and cold rows and rollups together answer as the rows alone do: a DuckDB store that is sealed
 * at random beside a memory store. And what rollups answer when their rows are gone. */

/* cmocka wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* */
#include <cmocka.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/id.h"
#include "base/mem.h"
#include "codec/time.h"
#include "store/contract.h"
#include "store/duckdb/store_duckdb.h"
#include "store/engine_testing.h"
#include "store/memory/store_memory.h"

#define CASE(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

enum { PATH_BYTES = 256, DAYS = 5, SYMBOLS = 4, IDS = 300, STEPS = 50, SEEDS = 3, WHY_BYTES = 256 };

struct place {
    char dir[PATH_BYTES];
    char path[PATH_BYTES];
    struct store *duck;
    struct store *memory;
    uint64_t lsn;
    struct rng rng;
    int64_t unique;
    char why[WHY_BYTES]; /* what was asked, for messages */
};

static void
open_duck(struct place *place)
{
    struct store_open_options options = {.path = place->path, .threads = 2, .readers = 2};
    struct err err = {0};

    if (store_duckdb_open(&options, &place->duck, &err)) {
        fail_msg("open: %s", err.msg);
    }
}

static int
setup(void **state)
{
    struct place *place = mem_zalloc(1, sizeof(*place));
    struct store_open_options options = {0};

    snprintf(place->dir, sizeof(place->dir), "%s", "/tmp/eider-rollup-XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    snprintf(place->path, sizeof(place->path), "%.200s/test.duckdb", place->dir);
    open_duck(place);
    assert_int_equal(store_memory_open(&options, &place->memory, NULL), ERR_OK);
    *state = place;
    return 0;
}

static int
teardown(void **state)
{
    struct place *place = *state;

    store_close(place->duck);
    store_close(place->memory);
    rig_remove_tree(place->dir);
    free(place);
    return 0;
}

static uint64_t
below(struct place *place, uint64_t bound)
{
    return rng_below(&place->rng, bound);
}

/* Never the same twice, so that first and last are one row. */
static int64_t
some_time(struct place *place)
{
    int64_t ms = (int64_t)below(place, DAYS * 86400000);

    if (below(place, 4) == 0) {
        ms -= ms % 3600000; /* beginnings of buckets */
    }
    return ms * 1000 + place->unique++;
}

/* Quarters, whose sums are exact in any order; now and then what sums do not like. */
static double
some_number(struct place *place)
{
    switch (below(place, 60)) {
    case 0:
        return NAN;
    case 1:
        return INFINITY;
    case 2:
        return -INFINITY;
    default:
        return ((double)below(place, 4000) - 2000) / 4;
    }
}

static void
add_number(struct place *place, struct buf *line)
{
    if (below(place, 8) == 0) {
        buf_add_cstr(line, "|-");
    } else {
        buf_add_fmt(line, "|%.17g", some_number(place));
    }
}

static void
add_line(struct place *place, enum table_id table, struct buf *lines, int64_t *times, size_t *used)
{
    int64_t time_us = some_time(place);

    /* A key of before, which is replaced. */
    if (*used > 0 && below(place, 4) == 0 && table != TABLE_SAMPLES) {
        time_us = times[below(place, *used)];
    } else if (*used < 4096) {
        times[(*used)++] = time_us;
    }
    switch ((int)table) {
    case TABLE_SAMPLES:
        buf_add_fmt(lines, "%d|%" PRId64 "|%.17g\n", (int)below(place, SYMBOLS) + 1,
                    some_time(place), some_number(place));
        break;
    case TABLE_MARKET_DATA:
        /* A symbol has its times alone, for the same reason. */
        buf_add_fmt(lines, "%" PRId64 "|S%d", time_us, (int)(time_us % SYMBOLS));
        add_number(place, lines);
        add_number(place, lines);
        add_number(place, lines);
        buf_add_fmt(lines, "|%d|%d", (int)below(place, 100000), (int)below(place, 1000));
        add_number(place, lines);
        buf_add_char(lines, '\n');
        break;
    default:
        assert_int_equal(table, TABLE_TRADES);
        buf_add_fmt(lines, "t%d|%" PRId64 "|S%d|buy|%d|%d|-|-|-\n", (int)below(place, IDS),
                    some_time(place), (int)below(place, SYMBOLS), (int)below(place, 100),
                    (int)below(place, 100));
    }
}

static void
apply_both(struct place *place, enum table_id table, const char *lines)
{
    place->lsn++;
    contract_apply(place->duck, place->lsn, table, lines);
    contract_apply(place->memory, place->lsn, table, lines);
}

static void
apply_some(struct place *place, int64_t *times, size_t *used)
{
    static const enum table_id tables[] = {TABLE_SAMPLES, TABLE_MARKET_DATA, TABLE_TRADES};
    enum table_id table = tables[below(place, 3)];
    size_t rows = below(place, 120) + 1;
    struct buf lines BUF_AUTO;

    buf_init(&lines, 0);
    for (size_t i = 0; i < rows; i++) {
        add_line(place, table, &lines, times, used);
    }
    buf_add_char(&lines, '\0');
    apply_both(place, table, lines.ptr);
}

static struct store_seal_result
seal(struct place *place, const struct store_seal *what)
{
    struct store_sealing *sealing = NULL;
    struct store_seal_result result = {0};
    struct err err = {0};

    enum err_code code = store_seal_begin(place->duck, what, &sealing, &err);
    if (code == ERR_NOT_FOUND) {
        return result;
    }
    if (code || store_seal_commit(place->duck, sealing, &result, &err)) {
        fail_msg("seal: %s", err.msg);
    }
    store_seal_free(place->duck, sealing);
    return result;
}

static void
seal_some(struct place *place)
{
    static const enum table_id tables[] = {TABLE_SAMPLES, TABLE_MARKET_DATA, TABLE_TRADES};
    struct store_seal what = {.table = tables[below(place, 3)],
                              .day = (int32_t)below(place, DAYS),
                              .merge = below(place, 3) == 0};

    seal(place, &what);
}

static void
some_range(struct place *place, struct store_scan *scan)
{
    scan->from_us = INT64_MIN;
    scan->to_us = INT64_MAX;
    if (below(place, 3)) {
        scan->from_us = (int64_t)below(place, DAYS * 24) * 3600 * TIME_US_PER_S;
        scan->from_us += below(place, 3) ? 0 : (int64_t)below(place, 3600) * TIME_US_PER_S;
    }
    if (below(place, 3)) {
        int64_t begin_us = scan->from_us == INT64_MIN ? 0 : scan->from_us;
        scan->to_us = begin_us + (int64_t)below(place, DAYS * 24) * 3600 * TIME_US_PER_S - 1;
    }
    scan->newest_first = below(place, 2);
}

static void
expect_same(struct place *place, struct batch *duck, struct batch *memory)
{
    struct buf a BUF_AUTO;
    struct buf b BUF_AUTO;

    buf_init(&a, 0);
    buf_init(&b, 0);
    contract_dump(duck, &a);
    contract_dump(memory, &b);
    batch_fini(duck);
    batch_fini(memory);
    buf_add_char(&a, '\0');
    buf_add_char(&b, '\0');
    if (strcmp(a.ptr, b.ptr) != 0) {
        size_t at = 0;
        while (a.ptr[at] == b.ptr[at]) {
            at++;
        }
        at = at > 200 ? at - 200 : 0;
        fail_msg("%s\n--- duckdb ...%.600s\n--- memory ...%.600s", place->why, a.ptr + at,
                 b.ptr + at);
    }
}

static void
compare_scan(struct place *place, enum table_id table, const char *filtered)
{
    struct slice symbol = slice_of(below(place, 2) ? "S1" : "S2");
    struct store_scan scan = {.table = table};
    struct batch a;
    struct batch b;
    struct err err = {0};

    some_range(place, &scan);
    if (filtered && below(place, 2)) {
        scan.filters[0] = (struct store_filter){filtered, &symbol, 1};
        scan.filter_count = 1;
    }
    scan.limit = below(place, 3) ? 0 : below(place, 50) + 1;
    snprintf(place->why, sizeof(place->why), "scan of %d, %" PRId64 " to %" PRId64, (int)table,
             scan.from_us, scan.to_us);
    if (store_scan(place->duck, &scan, &a, &err) || store_scan(place->memory, &scan, &b, &err)) {
        fail_msg("%s: %s", place->why, err.msg);
    }
    expect_same(place, &a, &b);
}

static void
some_aggregates(struct place *place, struct store_bucket *bucket, const char *const *columns,
                size_t count)
{
    static const char *const names[] = {"a", "b", "c", "d", "e"};

    bucket->aggregate_count = below(place, 5) + 1;
    for (size_t i = 0; i < bucket->aggregate_count; i++) {
        struct store_aggregate *aggregate = &bucket->aggregates[i];
        aggregate->fn = (enum store_aggregate_fn)below(place, AGG_COUNT + 1);
        aggregate->column = columns[below(place, count)];
        if (aggregate->fn == AGG_COUNT && below(place, 2)) {
            aggregate->column = NULL;
        }
        aggregate->as = names[i];
    }
}

static void
compare_bucket(struct place *place, enum table_id table, const char *group,
               const char *const *columns, size_t column_count)
{
    static const int64_t widths_s[] = {0,   1,    45,   60,    90,    120,    300,    420,
                                       600, 3600, 7200, 86400, 90000, 172800, 604800, 7 * 3600};
    struct slice values[] = {slice_of(table == TABLE_METRICS ? "m1" : "S1"),
                             slice_of(table == TABLE_METRICS ? "m2" : "S3")};
    struct store_bucket bucket = {.scan.table = table};
    struct batch a;
    struct batch b;
    struct err err = {0};

    some_range(place, &bucket.scan);
    bucket.bucket_us = widths_s[below(place, sizeof(widths_s) / sizeof(*widths_s))] * TIME_US_PER_S;
    /* One bucket a group has the time of its first row: their order is each store's own. */
    bucket.group_column = below(place, 2) && bucket.bucket_us > 0 ? group : NULL;
    if (below(place, 2)) {
        bucket.scan.filters[0] = (struct store_filter){group, values, below(place, 2) + 1};
        bucket.scan.filter_count = 1;
    }
    some_aggregates(place, &bucket, columns, column_count);
    snprintf(place->why, sizeof(place->why),
             "buckets of %d, %" PRId64 " us, %" PRId64 " to %" PRId64 ", first %d(%s)", (int)table,
             bucket.bucket_us, bucket.scan.from_us, bucket.scan.to_us, bucket.aggregates[0].fn,
             bucket.aggregates[0].column ? bucket.aggregates[0].column : "*");
    if (store_bucket(place->duck, &bucket, &a, &err) ||
        store_bucket(place->memory, &bucket, &b, &err)) {
        fail_msg("%s: %s", place->why, err.msg);
    }
    expect_same(place, &a, &b);
}

static void
compare_latest(struct place *place, enum table_id table)
{
    struct batch a;
    struct batch b;

    snprintf(place->why, sizeof(place->why), "latest of %d", (int)table);
    assert_int_equal(store_latest(place->duck, table, NULL, &a, NULL), ERR_OK);
    assert_int_equal(store_latest(place->memory, table, NULL, &b, NULL), ERR_OK);
    expect_same(place, &a, &b);
}

static void
compare_stats(struct place *place, enum table_id table)
{
    struct store_table_stats a;
    struct store_table_stats b;

    assert_int_equal(store_table_stats(place->duck, table, &a, NULL), ERR_OK);
    assert_int_equal(store_table_stats(place->memory, table, &b, NULL), ERR_OK);
    assert_int_equal(a.rows, b.rows);
    assert_int_equal(a.min_us, b.min_us);
    assert_int_equal(a.max_us, b.max_us);
}

static void
compare_all(struct place *place)
{
    static const enum table_id tables[] = {TABLE_SAMPLES, TABLE_MARKET_DATA, TABLE_TRADES};
    static const char *const market[] = {"last_price", "bid", "ask", "volume", "trades"};
    static const char *const value[] = {"value"};
    static const char *const trade[] = {"price", "quantity"};

    for (size_t i = 0; i < 3; i++) {
        compare_scan(place, tables[i], tables[i] == TABLE_SAMPLES ? NULL : "symbol");
        compare_stats(place, tables[i]);
        compare_latest(place, tables[i]);
    }
    compare_latest(place, TABLE_METRICS);
    for (int i = 0; i < 4; i++) {
        compare_bucket(place, TABLE_MARKET_DATA, "symbol", market, 5);
        compare_bucket(place, TABLE_METRICS, "metric_name", value, 1);
        compare_bucket(place, TABLE_TRADES, "symbol", trade, 2);
    }
}

static void
test_sealed_days_answer_as_the_rows_alone_do(void **state)
{
    struct place *place = *state;
    int64_t *times MEM_AUTO = mem_zalloc(4096, sizeof(*times));
    size_t used = 0;

    apply_both(place, TABLE_SERIES, "1|m1|-|-\n2|m2|A|-\n3|m1|B|{}\n4|m4|-|-\n");
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        rng_init(&place->rng, seed);
        for (int step = 0; step < STEPS; step++) {
            switch (below(place, 8)) {
            case 0:
            case 1:
            case 2:
                apply_some(place, times, &used);
                break;
            case 3:
            case 4:
            case 5:
                seal_some(place);
                break;
            case 6:
                compare_all(place);
                break;
            default:
                if (below(place, 4) == 0) {
                    store_close(place->duck);
                    open_duck(place);
                }
            }
        }
        compare_all(place);
    }
}

static void
expect_sql(struct place *place, const char *sql, const char *lines)
{
    struct store_sql statement = {.sql = slice_of(sql)};
    struct batch rows;
    struct err err = {0};

    if (store_sql(place->duck, &statement, &rows, NULL, &err)) {
        fail_msg("%s: %s", sql, err.msg);
    }
    contract_expect_rows(&rows, lines);
}

static void
expect_hours(struct place *place, int64_t bucket_us, int64_t from_us, int64_t to_us,
             const char *lines)
{
    struct store_bucket bucket = {
        .scan = {.table = TABLE_METRICS, .from_us = from_us, .to_us = to_us},
        .bucket_us = bucket_us,
        .group_column = "metric_name",
        .aggregates = {{AGG_SUM, "value", "sum"}, {AGG_COUNT, NULL, "count"}},
        .aggregate_count = 2};
    struct batch rows;
    struct err err = {0};

    if (store_bucket(place->duck, &bucket, &rows, &err)) {
        fail_msg("bucket: %s", err.msg);
    }
    contract_expect_rows(&rows, lines);
}

static const int64_t HOUR_US = 3600 * TIME_US_PER_S;

static void
put_metrics(struct place *place)
{
    apply_both(place, TABLE_SERIES, "1|cpu|-|-\n2|net|-|-\n");
    apply_both(place, TABLE_SAMPLES,
               "1|10|1\n1|20|2\n2|30|4\n1|3600000010|8\n2|3600000020|16\n1|3660000000|32\n");
}

static void
test_views_show_rollups(void **state)
{
    struct place *place = *state;
    struct store_seal what = {.table = TABLE_SAMPLES, .day = 0};

    put_metrics(place);
    expect_sql(place, "SELECT count(*) FROM samples_1m", "0\n");
    seal(place, &what);
    expect_sql(place,
               "SELECT series_id, timestamp, row_count, first_row, value_first, value_last, "
               "value_min, value_max, value_sum, value_count FROM samples_1h ORDER BY ALL",
               "1|0|2|10|1|2|1|2|3|2\n1|3600000000|2|3600000010|8|32|8|32|40|2\n"
               "2|0|1|30|4|4|4|4|4|1\n2|3600000000|1|3600000020|16|16|16|16|16|1\n");
    expect_sql(place, "SELECT count(*) FROM samples_1m", "5\n");
    expect_sql(place, "SELECT count(*) FROM samples_5m", "4\n");
    expect_sql(place, "SELECT timestamp, value_sum FROM samples_1d ORDER BY 2", "0|20\n0|43\n");
    /* An extra file of the day comes together with the first. */
    apply_both(place, TABLE_SAMPLES, "1|5|100\n");
    seal(place, &what);
    expect_sql(place,
               "SELECT value_first, value_sum, row_count FROM samples_1d WHERE series_id = 1",
               "100|143|5\n");
    expect_sql(place, "SELECT count(*) FROM market_data_1d, candles_1m", "0\n");
}

static const struct cold_file *
file_of(const struct cold_file *files, size_t count, enum cold_kind kind)
{
    for (size_t i = 0; i < count; i++) {
        if (files[i].kind == kind) {
            return &files[i];
        }
    }
    return NULL;
}

static void
test_rollups_answer_when_the_rows_are_gone(void **state)
{
    struct place *place = *state;
    struct store_seal what = {.table = TABLE_SAMPLES, .day = 0};
    struct cold_file *files;
    size_t count;

    put_metrics(place);
    seal(place, &what);
    assert_int_equal(store_cold_list(place->duck, &files, &count, NULL), ERR_OK);
    assert_int_equal(count, COLD_KIND_COUNT);
    const char *const names[] = {files[0].name, NULL};
    struct cold_drop drop = {.names = names, .kind = COLD_RAW};
    assert_int_equal(store_cold_drop(place->duck, &drop, NULL), ERR_OK);
    expect_sql(place, "SELECT count(*) FROM samples", "0\n");
    expect_hours(place, HOUR_US, INT64_MIN, INT64_MAX,
                 "0|cpu|3|2\n0|net|4|1\n3600000000|cpu|40|2\n3600000000|net|16|1\n");
    expect_hours(place, 0, INT64_MIN, INT64_MAX, "10|cpu|43|4\n30|net|20|2\n");
    /* Whole buckets of what the range cuts. */
    expect_hours(place, HOUR_US, 5, 3660000000 - 1,
                 "0|cpu|3|2\n0|net|4|1\n3600000000|cpu|8|1\n3600000000|net|16|1\n");
    expect_hours(place, 90 * TIME_US_PER_S, INT64_MIN, INT64_MAX, "");
    drop.kind = COLD_1M;
    assert_int_equal(store_cold_drop(place->duck, &drop, NULL), ERR_OK);
    expect_hours(place, 60 * TIME_US_PER_S, INT64_MIN, INT64_MAX, "");
    /* Late rows, and their merging with what is left. */
    apply_both(place, TABLE_SAMPLES, "1|7|1000\n");
    what.merge = true;
    seal(place, &what);
    expect_hours(place, HOUR_US, INT64_MIN, INT64_MAX,
                 "0|cpu|1003|3\n0|net|4|1\n3600000000|cpu|40|2\n3600000000|net|16|1\n");
    expect_sql(place, "SELECT series_id, value FROM samples", "1|1000\n");
    free(files);
}

static void
test_rollups_keep_metrics_that_rows_lost(void **state)
{
    struct place *place = *state;
    const char *const patterns[] = {"cpu", NULL};
    struct store_seal what = {.table = TABLE_SAMPLES,
                              .day = 0,
                              .merge = true,
                              .drop_metrics = patterns,
                              .keep_rollups_of_dropped = true};
    struct cold_file *files;
    size_t count;

    put_metrics(place);
    struct store_seal_result result = seal(place, &what);
    assert_int_equal(result.rows, 2);
    assert_int_equal(result.rows_dropped, 4);
    expect_sql(place, "SELECT DISTINCT series_id FROM samples", "2\n");
    expect_hours(place, 24 * HOUR_US, INT64_MIN, INT64_MAX, "0|cpu|43|4\n0|net|20|2\n");
    /* A merge that drops nothing keeps them, with late rows of theirs. */
    apply_both(place, TABLE_SAMPLES, "1|11|1000\n2|12|2000\n");
    struct store_seal plain = {.table = TABLE_SAMPLES, .day = 0, .merge = true};
    seal(place, &plain);
    expect_hours(place, 24 * HOUR_US, INT64_MIN, INT64_MAX, "0|cpu|1043|5\n0|net|2020|3\n");
    seal(place, &what);
    expect_hours(place, 24 * HOUR_US, INT64_MIN, INT64_MAX, "0|cpu|1043|5\n0|net|2020|3\n");
    expect_sql(place, "SELECT count(*) FROM samples", "3\n");
    /* And one that does not want them has them no more. */
    what.keep_rollups_of_dropped = false;
    seal(place, &what);
    expect_hours(place, 24 * HOUR_US, INT64_MIN, INT64_MAX, "0|net|2020|3\n");
    assert_int_equal(store_cold_list(place->duck, &files, &count, NULL), ERR_OK);
    assert_int_equal(count, COLD_KIND_COUNT);
    assert_int_equal(file_of(files, count, COLD_1D)->rows, 1);
    free(files);
}

static void
expect_latest(struct place *place, const char *lines)
{
    struct batch rows;
    struct err err = {0};

    if (store_latest(place->duck, TABLE_SAMPLES, NULL, &rows, &err)) {
        fail_msg("latest: %s", err.msg);
    }
    contract_expect_rows(&rows, lines);
}

static void
test_the_newest_rows_are_rows_though_rollups_have_newer_ones(void **state)
{
    struct place *place = *state;
    const char *const cpu[] = {"cpu", NULL};
    struct store_seal what = {.table = TABLE_SAMPLES, .merge = true};

    /* cpu (1) ends on day 2, net (2) on day 1, disk (3) is hot: 86400000000 is a day. */
    apply_both(place, TABLE_SERIES, "1|cpu|-|-\n2|net|-|-\n3|disk|-|-\n");
    apply_both(place, TABLE_SAMPLES,
               "1|10|1\n1|20|2\n2|30|3\n3|40|4\n1|86400000010|5\n2|86400000020|6\n"
               "3|86400000030|7\n1|172800000010|8\n3|172800000020|9\n3|259200000010|10\n");
    for (what.day = 0; what.day < 3; what.day++) {
        seal(place, &what);
    }
    expect_latest(place, "1|172800000010|8\n2|86400000020|6\n3|259200000010|10\n");
    /* Retention takes cpu from the rows of two days, and leaves it in their rollups. */
    what.drop_metrics = cpu;
    what.keep_rollups_of_dropped = true;
    for (what.day = 1; what.day < 3; what.day++) {
        seal(place, &what);
    }
    expect_latest(place, "1|20|2\n2|86400000020|6\n3|259200000010|10\n");
    what.day = 0;
    seal(place, &what);
    expect_latest(place, "2|86400000020|6\n3|259200000010|10\n");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_sealed_days_answer_as_the_rows_alone_do),
        CASE(test_views_show_rollups),
        CASE(test_rollups_answer_when_the_rows_are_gone),
        CASE(test_rollups_keep_metrics_that_rows_lost),
        CASE(test_the_newest_rows_are_rows_though_rollups_have_newer_ones),
    };

    return cmocka_run_group_tests_name("store cold agree", tests, NULL, NULL);
}
