/*
 * The hot cache says what the store says: random writes, late rows, ranges, rebuilds and removals,
 * each answer held against that of DuckDB, of the memory store and of PostgreSQL.
 */
#include "store/hot_testing.h"

#include <inttypes.h>

#include "store/duckdb/store_duckdb.h"
#include "store/memory/store_memory.h"
#include "store/postgres/pg_testing.h"
#include "store/postgres/store_postgres.h"

enum { LINES_MAX = 1 << 16, ROUNDS = 1500, SERIES_OF_TEST = 12, MODEL_POINTS = 1 << 16 };

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
        cmocka_unit_test(test_hot_agrees_with_duckdb_over_random_writes_and_reads),
        cmocka_unit_test(test_hot_agrees_with_the_memory_store_while_it_evicts),
        cmocka_unit_test_setup_teardown(test_hot_agrees_with_postgres_over_random_writes_and_reads,
                                        start_postgres, end_postgres),
    };

    return cmocka_run_group_tests_name("hot model", tests, NULL, NULL);
}
