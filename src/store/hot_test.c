/*
 * The hot cache says what the store says: random writes, late rows, ranges, rebuilds and removals,
 * each answer held against DuckDB's; and the cases that randomness seldom meets.
 */
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
#include <unistd.h>

#include "base/mem.h"
#include "store/contract.h"
#include "store/duckdb/store_duckdb.h"
#include "store/hot.h"
#include "store/memory/store_memory.h"
#include "store/postgres/pg_testing.h"
#include "store/postgres/store_postgres.h"

enum {
    PATH_MAX_BYTES = 256,
    LINES_MAX = 1 << 16,
    ROUNDS = 1500,
    SERIES_OF_TEST = 12,
    MODEL_POINTS = 1 << 16
};

static struct pg_testing server;

/* A path is a schema there. */
static enum err_code
open_postgres(const struct store_open_options *options, struct store **ret_store, struct err *err)
{
    struct store_open_options with = *options;
    char dsn[PG_TESTING_DSN];
    char schema[48];
    size_t len = strlen(options->path);

    /* The end of the path tells them apart: a name of PostgreSQL has 63 bytes. */
    snprintf(schema, sizeof(schema), "%s", options->path + (len > 40 ? len - 40 : 0));
    for (char *c = schema; *c; c++) {
        *c = *c == '/' || *c == '-' || *c == '.' ? '_' : *c;
    }
    assert_true(pg_testing_dsn(&server, schema, dsn));
    with.postgres = (struct store_postgres_options){.dsn = dsn, .max_connections = 3};
    return store_postgres_open(&with, ret_store, err);
}

/* A store, a cache in front of it, and all points that the store should have. */
struct bed {
    char dir[PATH_MAX_BYTES];
    char path[PATH_MAX_BYTES];
    store_open_fn *open;
    struct store *store;
    struct hot *hot;
    uint64_t lsn;
    unsigned opened;
};

static void
open_store(struct bed *bed)
{
    snprintf(bed->path, sizeof(bed->path), "%.200s/%u.duckdb", bed->dir, bed->opened++);
    const struct store_open_options options = {.path = bed->path, .threads = 1, .readers = 2};
    struct err err = {0};

    if (bed->open(&options, &bed->store, &err)) {
        fail_msg("open: %s", err.msg);
    }
}

static struct bed *
make_bed(store_open_fn *open, uint64_t bytes_max)
{
    struct bed *bed = mem_zalloc(1, sizeof(*bed));

    snprintf(bed->dir, sizeof(bed->dir), "%s", "/tmp/eider-hot-XXXXXX");
    assert_non_null(mkdtemp(bed->dir));
    bed->open = open;
    open_store(bed);
    bed->hot = hot_new(&(struct hot_options){.bytes_max = bytes_max});
    return bed;
}

static void
end_bed(struct bed *bed)
{
    hot_free(bed->hot);
    store_close(bed->store);
    for (unsigned i = 0; i < bed->opened; i++) {
        char path[PATH_MAX_BYTES + 16];
        snprintf(path, sizeof(path), "%.200s/%u.duckdb", bed->dir, i);
        unlink(path);
        snprintf(path, sizeof(path), "%.200s/%u.duckdb.wal", bed->dir, i);
        unlink(path);
    }
    char cold[PATH_MAX_BYTES + 16];
    snprintf(cold, sizeof(cold), "%.200s/cold/tmp", bed->dir);
    rmdir(cold);
    snprintf(cold, sizeof(cold), "%.200s/cold", bed->dir);
    rmdir(cold);
    rmdir(bed->dir);
    free(bed);
}

static void
commit(struct bed *bed, const char *series, const char *samples, bool feed)
{
    struct batch batches[2];
    struct store_group group = {.batches = batches};
    struct err err = {0};

    group.first_lsn = group.last_lsn = ++bed->lsn;
    if (series) {
        contract_fill(&batches[group.batch_count++], TABLE_SERIES, series);
    }
    contract_fill(&batches[group.batch_count++], TABLE_SAMPLES, samples);
    hot_begin(bed->hot);
    if (store_apply(bed->store, &group, &err)) {
        fail_msg("apply: %s", err.msg);
    }
    if (feed) {
        hot_feed(bed->hot, &group);
    }
    for (size_t i = 0; i < group.batch_count; i++) {
        batch_fini(&batches[i]);
    }
}

static void
put(struct bed *bed, const char *series, const char *samples)
{
    commit(bed, series, samples, true);
}

/* Both answers, texts and bits. */
static void
assert_same(const struct batch *cached, const struct batch *stored, const char *what)
{
    struct buf one BUF_AUTO;
    struct buf two BUF_AUTO;

    buf_init(&one, 0);
    buf_init(&two, 0);
    contract_dump(cached, &one);
    contract_dump(stored, &two);
    buf_add_char(&one, '\0');
    buf_add_char(&two, '\0');
    if (strcmp(one.ptr, two.ptr) != 0) {
        fail_msg("%s: the cache says\n%sthe store says\n%s", what, one.ptr, two.ptr);
    }
    assert_int_equal(cached->column_count, stored->column_count);
    for (size_t i = 0; i < cached->column_count; i++) {
        assert_string_equal(cached->columns[i].name, stored->columns[i].name);
        assert_int_equal(cached->columns[i].type, stored->columns[i].type);
        for (size_t row = 0; row < cached->rows && cached->columns[i].type == COL_DOUBLE; row++) {
            assert_memory_equal(&cached->columns[i].f64[row], &stored->columns[i].f64[row],
                                isnan(cached->columns[i].f64[row]) ? 0 : sizeof(double));
        }
    }
}

static bool
check_scan(struct bed *bed, const struct store_scan *scan)
{
    struct batch cached BATCH_AUTO = {0};
    struct batch stored BATCH_AUTO = {0};

    if (!hot_scan(bed->hot, bed->store, scan, &cached)) {
        return false;
    }
    assert_int_equal(store_scan(bed->store, scan, &stored, NULL), ERR_OK);
    assert_same(&cached, &stored, "scan");
    return true;
}

static bool
check_bucket(struct bed *bed, const struct store_bucket *bucket)
{
    struct batch cached BATCH_AUTO = {0};
    struct batch stored BATCH_AUTO = {0};

    if (!hot_bucket(bed->hot, bed->store, bucket, &cached)) {
        return false;
    }
    assert_int_equal(store_bucket(bed->store, bucket, &stored, NULL), ERR_OK);
    assert_same(&cached, &stored, "bucket");
    return true;
}

static bool
check_latest(struct bed *bed, enum table_id table)
{
    struct batch cached BATCH_AUTO = {0};
    struct batch stored BATCH_AUTO = {0};

    if (!hot_latest(bed->hot, bed->store, table, &cached)) {
        return false;
    }
    assert_int_equal(store_latest(bed->store, table, &stored, NULL), ERR_OK);
    assert_same(&cached, &stored, "latest");
    return true;
}

static struct store_scan
of_series(const struct slice *id, int64_t from_us, int64_t to_us)
{
    return (struct store_scan){.table = TABLE_SAMPLES,
                               .filters = {{"series_id", id, 1}},
                               .filter_count = 1,
                               .from_us = from_us,
                               .to_us = to_us};
}

static struct hot_stats
figures(const struct bed *bed)
{
    struct hot_stats stats;

    hot_stats_of(bed->hot, &stats);
    return stats;
}

static const struct slice one = {"1", 1};
static const struct slice two = {"2", 1};

static void
test_hot_answers_a_new_series_without_the_store(void **state)
{
    struct bed *bed = make_bed(store_memory_open, 1 << 20);
    struct store_scan scan = of_series(&one, INT64_MIN, INT64_MAX);

    (void)state;
    put(bed, "7|other|-|-\n", "7|1|1\n");
    assert_true(check_latest(bed, TABLE_SAMPLES)); /* from now on all definitions are known */
    put(bed, "1|cpu|-|-\n", "1|10|1\n1|20|2\n");
    put(bed, NULL, "1|15|3\n1|30|4\n");
    assert_true(check_scan(bed, &scan));
    scan.newest_first = true;
    scan.limit = 2;
    scan.offset = 1;
    assert_true(check_scan(bed, &scan));
    assert_int_equal(figures(bed).fills, 0);
    assert_int_equal(figures(bed).cache.hits, 3);
    end_bed(bed);
}

static void
test_hot_fills_what_is_asked_for_and_is_there_then(void **state)
{
    struct bed *bed = make_bed(store_memory_open, 1 << 20);
    struct store_scan scan = of_series(&one, 20, INT64_MAX);

    (void)state;
    put(bed, "1|cpu|-|-\n", "1|10|1\n1|20|2\n1|30|3\n");
    assert_true(check_scan(bed, &scan));
    assert_int_equal(figures(bed).fills, 1);
    assert_int_equal(figures(bed).cache.misses, 1);
    put(bed, NULL, "1|40|4\n1|25|5\n1|5|6\n");
    assert_true(check_scan(bed, &scan));
    assert_int_equal(figures(bed).fills, 1);
    scan.from_us = 0;
    assert_true(check_scan(bed, &scan));
    assert_int_equal(figures(bed).fills, 2);
    end_bed(bed);
}

static void
test_hot_parks_a_fill_between_commit_and_feed(void **state)
{
    struct bed *bed = make_bed(store_memory_open, 1 << 20);
    struct store_scan first = of_series(&one, 0, INT64_MAX);
    struct store_scan second = of_series(&two, 0, INT64_MAX);
    struct batch batch;
    struct store_group group = {3, 3, 1, &batch};

    (void)state;
    put(bed, "1|cpu|-|-\n2|mem|-|-\n", "1|10|1\n2|10|1\n");
    assert_true(check_latest(bed, TABLE_SAMPLES));
    bed->lsn++;
    hot_begin(bed->hot);
    contract_fill(&batch, TABLE_SAMPLES, "1|20|2\n");
    assert_int_equal(store_apply(bed->store, &group, NULL), ERR_OK);
    /* Series 1 has a point in the store that the feed will bring, series 2 has not; nobody knows
     * which until then. */
    assert_false(check_scan(bed, &first));
    assert_false(check_scan(bed, &second));
    assert_int_equal(figures(bed).fills, 0);
    hot_feed(bed->hot, &group);
    batch_fini(&batch);
    assert_int_equal(figures(bed).fills, 1);
    assert_int_equal(figures(bed).fills_dropped, 1);
    assert_true(check_scan(bed, &second));
    assert_int_equal(figures(bed).fills, 1);
    assert_true(check_scan(bed, &first));
    assert_int_equal(figures(bed).fills, 2);
    end_bed(bed);
}

static void
test_hot_leaves_equal_times_and_odd_values_to_the_store(void **state)
{
    struct bed *bed = make_bed(store_memory_open, 1 << 20);
    struct store_scan scan = of_series(&one, 0, INT64_MAX);
    struct store_bucket bucket = {.scan = of_series(&two, 0, INT64_MAX),
                                  .bucket_us = 100,
                                  .aggregates = {{AGG_MAX, "value", "high"}},
                                  .aggregate_count = 1};

    (void)state;
    put(bed, "1|cpu|-|-\n2|mem|-|-\n", "1|10|1\n1|20|2\n1|20|3\n2|10|1\n2|20|nan\n");
    assert_false(check_scan(bed, &scan));
    scan.to_us = 19;
    assert_true(check_scan(bed, &scan));
    assert_false(check_bucket(bed, &bucket));
    bucket.scan.to_us = 19;
    assert_true(check_bucket(bed, &bucket));
    put(bed, NULL, "2|15|-0\n");
    assert_false(check_bucket(bed, &bucket));
    scan = of_series(&two, 0, INT64_MAX);
    assert_true(check_scan(bed, &scan)); /* as rows they are like any others */
    end_bed(bed);
}

static void
test_hot_forgets_what_was_removed(void **state)
{
    struct bed *bed = make_bed(store_memory_open, 1 << 20);
    struct store_scan scan = of_series(&one, 25, INT64_MAX);
    struct batch rows;

    (void)state;
    put(bed, "1|cpu|-|-\n2|mem|-|-\n", "1|10|1\n1|20|2\n1|30|3\n1|40|4\n2|15|1\n");
    scan.from_us = 0;
    assert_true(check_scan(bed, &scan));
    assert_true(check_latest(bed, TABLE_SAMPLES));
    /* The store that is asked now has what is left. */
    store_close(bed->store);
    open_store(bed);
    bed->lsn = 0;
    commit(bed, "1|cpu|-|-\n2|mem|-|-\n", "1|30|3\n1|40|4\n", false);
    hot_feed(bed->hot, &(struct store_group){.first_lsn = 1, .last_lsn = 1});
    assert_true(hot_scan(bed->hot, bed->store, &scan, &rows));
    assert_int_equal(rows.rows, 4); /* it was not told yet */
    batch_fini(&rows);
    hot_invalidate(bed->hot, 5, 20);
    assert_true(check_scan(bed, &scan));
    assert_true(check_latest(bed, TABLE_SAMPLES));
    assert_true(check_latest(bed, TABLE_METRICS));
    scan.from_us = 21;
    assert_true(check_scan(bed, &scan));
    end_bed(bed);
}

static void
test_hot_turns_itself_off_when_definitions_are_too_many(void **state)
{
    struct bed *bed = make_bed(store_memory_open, 64 << 10);
    struct store_scan scan = of_series(&one, 0, INT64_MAX);
    char line[64];

    (void)state;
    put(bed, "1|cpu|-|-\n", "1|10|1\n");
    assert_true(check_scan(bed, &scan));
    for (int id = 2; id < 400; id++) {
        snprintf(line, sizeof(line), "%d|cpu|S%d|-\n", id, id);
        put(bed, line, "1|20|1\n");
    }
    assert_false(figures(bed).on);
    assert_int_equal(figures(bed).cache.points, 0);
    assert_false(check_scan(bed, &scan));
    assert_false(check_latest(bed, TABLE_SAMPLES));
    hot_reset(bed->hot);
    assert_true(figures(bed).on);
    end_bed(bed);
}

static void
test_hot_stays_within_its_bytes_and_keeps_what_is_read(void **state)
{
    struct bed *bed = make_bed(store_memory_open, 96 << 10);
    struct store_scan scan = of_series(&one, 0, INT64_MAX);
    char lines[LINES_MAX];
    int64_t time_us = 1;

    (void)state;
    put(bed, "90|x|-|-\n", "90|1|1\n");
    assert_true(check_latest(bed, TABLE_SAMPLES));
    for (int id = 1; id <= 40; id++) {
        snprintf(lines, sizeof(lines), "%d|cpu|S%d|-\n", id, id);
        put(bed, lines, "1|0|0\n");
    }
    for (int round = 0; round < 600; round++, time_us++) {
        size_t used = 0;
        for (int id = 1; id <= 40; id++) {
            used += (size_t)snprintf(lines + used, sizeof(lines) - used, "%d|%" PRId64 "|1\n", id,
                                     time_us);
        }
        put(bed, NULL, lines);
        scan.from_us = time_us > 20 ? time_us - 20 : 1;
        assert_true(check_scan(bed, &scan));
        assert_true(figures(bed).cache.bytes <= 96 << 10);
    }
    assert_true(figures(bed).cache.points > 1000);
    end_bed(bed);
}

/* A store that is written to while its definitions are read: the point is committed and fed when
 * the answer, which has no series yet, is on its way. */
struct busy {
    struct store store; /* first */
    struct bed *bed;
};

static enum err_code
busy_scan(struct store *store, const struct store_scan *scan, struct batch *ret_rows,
          struct err *err)
{
    struct bed *bed = ((struct busy *)store)->bed;
    enum err_code code = store_scan(bed->store, scan, ret_rows, err);

    put(bed, NULL, "1|10|1\n");
    put(bed, NULL, "1|20|2\n");
    return code;
}

static enum err_code
busy_latest(struct store *store, enum table_id table, struct batch *ret_rows, struct err *err)
{
    struct bed *bed = ((struct busy *)store)->bed;
    enum err_code code = store_latest(bed->store, table, ret_rows, err);

    put(bed, NULL, "1|30|3\n");
    return code;
}

static void
test_hot_misses_nothing_that_is_written_while_it_loads(void **state)
{
    static const struct store_ops ops = {.type = "busy", .scan = busy_scan, .latest = busy_latest};
    struct bed *bed = make_bed(store_memory_open, 1 << 20);
    struct busy busy = {{&ops}, bed};
    struct store_scan scan = of_series(&one, 15, INT64_MAX);
    struct batch rows;

    (void)state;
    put(bed, "2|mem|-|-\n1|cpu|-|-\n", "2|5|1\n");
    if (hot_latest(bed->hot, &busy.store, TABLE_SAMPLES, &rows)) {
        batch_fini(&rows);
    }
    assert_true(check_latest(bed, TABLE_SAMPLES));
    put(bed, NULL, "1|40|4\n");
    assert_true(check_latest(bed, TABLE_SAMPLES));
    assert_true(check_scan(bed, &scan));
    scan.from_us = 25;
    assert_true(check_scan(bed, &scan));
    end_bed(bed);
}

/* ---- random ---- */

struct model_point {
    int series;
    int64_t time_us;
    double value;
};

struct model {
    struct model_point points[MODEL_POINTS];
    size_t count;
    int64_t now_us;
    int defined;
    uint32_t random;
    uint64_t asked;
    uint64_t answered;
};

static uint32_t
roll(struct model *model, uint32_t sides)
{
    model->random = model->random * 1664525U + 1013904223U;
    return (model->random >> 8) % sides;
}

static const char *const definitions[SERIES_OF_TEST] = {"1|cpu|-|-\n",
                                                        "2|cpu|-|{\"host\":\"a\"}\n",
                                                        "3|cpu|A|{\"host\":\"a\"}\n",
                                                        "4|price|A|-\n",
                                                        "5|price|B|-\n",
                                                        "6|price|-|-\n",
                                                        "7|volume|A|-\n",
                                                        "8|volume|B|{\"x\":\"1\"}\n",
                                                        "9|volume|B|-\n",
                                                        "10|spread|A|-\n",
                                                        "11|spread|C|-\n",
                                                        "12|depth|Z|{\"y\":\"2\"}\n"};

static size_t
add_line(struct model *model, char *lines, size_t used, size_t size)
{
    static const double values[] = {0.25, -3.5, 1e6, 0, 42.75, -0.25};
    struct model_point *point = &model->points[model->count++];
    uint32_t kind = roll(model, 40);

    model->now_us += 1 + roll(model, 20);
    point->series = 1 + (int)roll(model, (uint32_t)model->defined);
    point->time_us = kind < 4   ? model->now_us - (int64_t)roll(model, 2000)
                     : kind < 5 ? model->now_us - (int64_t)roll(model, 60)
                                : model->now_us;
    point->value = values[roll(model, 6)] + (double)roll(model, 1000) / 4;
    if (kind == 39 && point->series == 12) {
        point->value = NAN;
    }
    return used + (size_t)snprintf(lines + used, size - used, "%d|%" PRId64 "|%.17g\n",
                                   point->series, point->time_us, point->value);
}

static void
write_some(struct bed *bed, struct model *model, bool read_in_flight)
{
    static char lines[LINES_MAX];
    struct batch batches[2];
    struct store_group group = {.batches = batches};
    char text[32];
    size_t used = 0;
    size_t rows = 1 + roll(model, 30);

    if (model->defined == 0 || (model->defined < SERIES_OF_TEST && roll(model, 20) == 0)) {
        contract_fill(&batches[group.batch_count++], TABLE_SERIES, definitions[model->defined++]);
    }
    for (size_t i = 0; i < rows; i++) {
        used = add_line(model, lines, used, sizeof(lines));
    }
    contract_fill(&batches[group.batch_count++], TABLE_SAMPLES, lines);
    group.first_lsn = group.last_lsn = ++bed->lsn;
    hot_begin(bed->hot);
    assert_int_equal(store_apply(bed->store, &group, NULL), ERR_OK);
    if (read_in_flight) {
        struct slice id = {text, (size_t)snprintf(text, sizeof(text), "%d",
                                                  1 + (int)roll(model, (uint32_t)model->defined))};
        struct store_scan scan = of_series(&id, model->now_us - 500, INT64_MAX);
        struct batch ignored BATCH_AUTO = {0};
        hot_scan(bed->hot, bed->store, &scan, &ignored);
    }
    hot_feed(bed->hot, &group);
    for (size_t i = 0; i < group.batch_count; i++) {
        batch_fini(&batches[i]);
    }
}

static void
random_range(struct model *model, struct store_scan *scan)
{
    uint32_t kind = roll(model, 6);

    scan->to_us = INT64_MAX;
    scan->from_us = kind == 0 ? INT64_MIN : model->now_us - (int64_t)roll(model, 3000);
    if (kind > 3) {
        scan->to_us = scan->from_us + (int64_t)roll(model, 2000);
    }
    scan->newest_first = roll(model, 2) == 0;
    scan->limit = roll(model, 3) == 0 ? 1 + roll(model, 20) : 0;
    scan->offset = roll(model, 5) == 0 ? roll(model, 10) : 0;
}

static void
read_some(struct bed *bed, struct model *model)
{
    static const char *const names[] = {"cpu", "price", "volume", "spread", "depth", "none"};
    static const char *const symbols[] = {"A", "B", "Q"};
    static const char *const columns[] = {NULL, "symbol", "metric_name"};
    struct slice name = slice_of(names[roll(model, 6)]);
    struct slice symbol[2] = {slice_of(symbols[roll(model, 3)]), slice_of(symbols[roll(model, 3)])};
    char ids[2][16];
    struct slice id[2];
    bool by_name = roll(model, 2) == 0;
    struct store_scan scan = {.table = by_name ? TABLE_METRICS : TABLE_SAMPLES};

    for (int i = 0; i < 2; i++) {
        snprintf(ids[i], sizeof(ids[i]), "%d", 1 + (int)roll(model, (uint32_t)model->defined));
        id[i] = slice_of(ids[i]);
    }
    scan.filters[0] = by_name ? (struct store_filter){"metric_name", &name, 1}
                              : (struct store_filter){"series_id", id, 1 + roll(model, 2)};
    scan.filters[1] = (struct store_filter){"symbol", symbol, 1 + roll(model, 2)};
    scan.filter_count = by_name ? 1 + roll(model, 2) : 1;
    random_range(model, &scan);
    model->asked++;
    if (roll(model, 3) > 0) {
        scan.column_mask = roll(model, 4) == 0 ? 5 : 0;
        model->answered += check_scan(bed, &scan);
        return;
    }
    struct store_bucket bucket = {.scan = scan,
                                  .bucket_us =
                                      roll(model, 4) == 0 ? 0 : 1 + (int64_t)roll(model, 700),
                                  .group_column = by_name               ? columns[roll(model, 3)]
                                                  : roll(model, 2) == 0 ? "series_id"
                                                                        : NULL,
                                  .aggregates = {{AGG_FIRST, "value", "a"},
                                                 {AGG_LAST, "value", "b"},
                                                 {AGG_MIN, "value", "c"},
                                                 {AGG_MAX, "value", "d"},
                                                 {AGG_SUM, "value", "e"},
                                                 {AGG_AVG, "value", "f"},
                                                 {AGG_COUNT, NULL, "g"},
                                                 {AGG_COUNT, "value", "h"}},
                                  .aggregate_count = 8};
    if (bucket.bucket_us == 0 && bed->open == store_memory_open) {
        bucket.group_column = NULL; /* it orders such rows by their groups, SQL by their times */
    }
    model->answered += check_bucket(bed, &bucket);
}

/* The store without the points of a range of time, of one series or all, as retention leaves it. */
static void
remove_some(struct bed *bed, struct model *model)
{
    static char lines[1 << 22];
    int64_t from_us = roll(model, 2) == 0 ? 0 : model->now_us - (int64_t)roll(model, 6000);
    int64_t to_us = from_us == 0 ? model->now_us - (int64_t)roll(model, 3000)
                                 : from_us + (int64_t)roll(model, 1000);
    int series = roll(model, 2) == 0 ? 0 : 1 + (int)roll(model, SERIES_OF_TEST);
    char series_lines[1024] = "";
    size_t used = 0;
    size_t kept = 0;

    for (size_t i = 0; i < model->count; i++) {
        struct model_point point = model->points[i];
        bool gone = point.time_us >= from_us && point.time_us <= to_us &&
                    (series == 0 || point.series == series);
        if (!gone) {
            model->points[kept++] = point;
            used += (size_t)snprintf(lines + used, sizeof(lines) - used, "%d|%" PRId64 "|%.17g\n",
                                     point.series, point.time_us, point.value);
        }
    }
    model->count = kept;
    for (int i = 0; i < model->defined; i++) {
        strcat(series_lines, definitions[i]);
    }
    store_close(bed->store);
    open_store(bed);
    bed->lsn = 0;
    lines[used] = '\0';
    commit(bed, series_lines, lines, false);
    hot_feed(bed->hot, &(struct store_group){.first_lsn = 1, .last_lsn = 1});
    hot_invalidate(bed->hot, from_us, to_us);
}

static void
run_random(store_open_fn *open, uint64_t bytes_max, uint32_t seed, int rounds)
{
    struct bed *bed = make_bed(open, bytes_max);
    struct model *model = mem_zalloc(1, sizeof(*model));

    model->random = seed;
    for (int round = 0; round < rounds; round++) {
        write_some(bed, model, roll(model, 4) == 0);
        for (uint32_t reads = roll(model, 4); reads > 0; reads--) {
            read_some(bed, model);
        }
        if (roll(model, 40) == 0) {
            check_latest(bed, roll(model, 2) == 0 ? TABLE_SAMPLES : TABLE_METRICS);
        }
        if (roll(model, 300) == 0) {
            hot_reset(bed->hot);
        }
        if (roll(model, 150) == 0) {
            remove_some(bed, model);
        }
    }
    /* A cache that never answers would pass, too. */
    assert_true(model->answered > model->asked / 2);
    assert_true(figures(bed).fills > 10);
    free(model);
    end_bed(bed);
}

static void
test_hot_agrees_with_duckdb_over_random_writes_and_reads(void **state)
{
    (void)state;
    run_random(store_duckdb_open, 1 << 20, 11, ROUNDS);
}

static void
test_hot_agrees_with_the_memory_store_while_it_evicts(void **state)
{
    (void)state;
    run_random(store_memory_open, 16 << 10, 12, ROUNDS);
    run_random(store_memory_open, 1 << 20, 13, ROUNDS);
}

static void
test_hot_agrees_with_postgres_over_random_writes_and_reads(void **state)
{
    (void)state;
    run_random(open_postgres, 1 << 20, 14, ROUNDS / 2);
}

static int
start_postgres(void **state)
{
    (void)state;
    return pg_testing_start(&server) ? 0 : -1;
}

static int
end_postgres(void **state)
{
    (void)state;
    pg_testing_end(&server);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hot_answers_a_new_series_without_the_store),
        cmocka_unit_test(test_hot_fills_what_is_asked_for_and_is_there_then),
        cmocka_unit_test(test_hot_parks_a_fill_between_commit_and_feed),
        cmocka_unit_test(test_hot_leaves_equal_times_and_odd_values_to_the_store),
        cmocka_unit_test(test_hot_forgets_what_was_removed),
        cmocka_unit_test(test_hot_turns_itself_off_when_definitions_are_too_many),
        cmocka_unit_test(test_hot_stays_within_its_bytes_and_keeps_what_is_read),
        cmocka_unit_test(test_hot_misses_nothing_that_is_written_while_it_loads),
        cmocka_unit_test(test_hot_agrees_with_duckdb_over_random_writes_and_reads),
        cmocka_unit_test(test_hot_agrees_with_the_memory_store_while_it_evicts),
        cmocka_unit_test_setup_teardown(test_hot_agrees_with_postgres_over_random_writes_and_reads,
                                        start_postgres, end_postgres),
    };

    return cmocka_run_group_tests_name("hot", tests, NULL, NULL);
}
