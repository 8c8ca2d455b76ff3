/* The hot cache in the cases that randomness seldom meets; see hot_model_test.c. */
#include "store/hot_testing.h"

#include <inttypes.h>

#include "store/memory/store_memory.h"

enum { LINES_MAX = 1 << 16 };

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
define_forty(struct bed *bed)
{
    char line[64];

    for (int id = 1; id <= 40; id++) {
        snprintf(line, sizeof(line), "%d|cpu|S%d|-\n", id, id);
        put(bed, line, "1|0|0\n");
    }
}

static void
put_forty(struct bed *bed, int64_t time_us)
{
    char lines[LINES_MAX];
    size_t used = 0;

    for (int id = 1; id <= 40; id++) {
        used +=
            (size_t)snprintf(lines + used, sizeof(lines) - used, "%d|%" PRId64 "|1\n", id, time_us);
    }
    put(bed, NULL, lines);
}

static void
test_hot_stays_within_its_bytes_and_keeps_what_is_read(void **state)
{
    struct bed *bed = make_bed(store_memory_open, 96 << 10);
    struct store_scan scan = of_series(&one, 0, INT64_MAX);
    int64_t time_us = 1;

    (void)state;
    put(bed, "90|x|-|-\n", "90|1|1\n");
    assert_true(check_latest(bed, TABLE_SAMPLES));
    define_forty(bed);
    for (int round = 0; round < 600; round++, time_us++) {
        put_forty(bed, time_us);
        scan.from_us = time_us > 20 ? time_us - 20 : 1;
        assert_true(check_scan(bed, &scan));
        assert_true(figures(bed).cache.bytes <= 96 << 10);
    }
    assert_true(figures(bed).cache.points > 1000);
    end_bed(bed);
}

/* The first to ask finds what was written last, however much was written before. */
static void
test_hot_keeps_the_newest_points_of_all_that_nobody_read(void **state)
{
    struct bed *bed = make_bed(store_memory_open, 96 << 10);
    int64_t time_us = 1;

    (void)state;
    put(bed, "90|x|-|-\n", "90|1|1\n");
    assert_true(check_latest(bed, TABLE_SAMPLES));
    define_forty(bed);
    for (int round = 0; round < 600; round++) {
        put_forty(bed, time_us++);
        assert_true(figures(bed).cache.bytes <= 96 << 10);
    }
    for (int id = 1; id <= 40; id++) {
        char text[8];
        struct slice value = {text, (size_t)snprintf(text, sizeof(text), "%d", id)};
        struct store_scan scan = of_series(&value, time_us - 32, INT64_MAX);
        assert_true(check_scan(bed, &scan));
    }
    assert_int_equal(figures(bed).fills, 0);
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
busy_latest(struct store *store, enum table_id table, const struct store_patience *patience,
            struct batch *ret_rows, struct err *err)
{
    struct bed *bed = ((struct busy *)store)->bed;
    enum err_code code = store_latest(bed->store, table, patience, ret_rows, err);

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

static enum err_code
plain_scan(struct store *store, const struct store_scan *scan, struct batch *ret_rows,
           struct err *err)
{
    assert_int_equal(scan->timeout_ms, 1000);
    return store_scan(((struct busy *)store)->bed->store, scan, ret_rows, err);
}

static enum err_code
late_latest(struct store *store, enum table_id table, const struct store_patience *patience,
            struct batch *ret_rows, struct err *err)
{
    (void)store;
    (void)table;
    assert_int_equal(patience->timeout_ms, 1000); /* a quarter */
    (void)ret_rows;
    return err_set(err, ERR_TIMEOUT, "too slow");
}

/* Retention drops rows of another day meanwhile. */
static enum err_code
dropping_latest(struct store *store, enum table_id table, const struct store_patience *patience,
                struct batch *ret_rows, struct err *err)
{
    struct bed *bed = ((struct busy *)store)->bed;
    enum err_code code = store_latest(bed->store, table, patience, ret_rows, err);

    hot_invalidate(bed->hot, -2, -1);
    return code;
}

/* A series that begins when definitions are known and the newest points are not. */
static void
begin_when_half_loaded(const struct store_ops *ops)
{
    struct bed *bed = make_bed(store_memory_open, 1 << 20);
    struct busy busy = {{ops}, bed};
    struct slice name = SLICE_LITERAL("cpu");
    struct store_scan scan = {.table = TABLE_METRICS,
                              .filters = {{"metric_name", &name, 1}},
                              .filter_count = 1,
                              .from_us = 0,
                              .to_us = INT64_MAX,
                              .timeout_ms = 4000};
    unsigned answered = 0;
    struct batch rows;

    put(bed, "1|cpu|A|-\n", "1|10|1\n");
    assert_false(hot_scan(bed->hot, &busy.store, &scan, &rows));
    put(bed, "2|cpu|B|-\n", "2|20|2\n");
    for (int i = 0; i < 600; i++) { /* it does not try to load at every read */
        answered += check_scan(bed, &scan);
    }
    assert_true(answered > 0);
    end_bed(bed);
}

static void
test_hot_misses_no_series_that_begins_behind_a_load_that_failed(void **state)
{
    static const struct store_ops late = {
        .type = "late", .scan = plain_scan, .latest = late_latest};
    static const struct store_ops dropping = {
        .type = "dropping", .scan = plain_scan, .latest = dropping_latest};

    (void)state;
    begin_when_half_loaded(&late);
    begin_when_half_loaded(&dropping);
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
        cmocka_unit_test(test_hot_keeps_the_newest_points_of_all_that_nobody_read),
        cmocka_unit_test(test_hot_misses_nothing_that_is_written_while_it_loads),
        cmocka_unit_test(test_hot_misses_no_series_that_begins_behind_a_load_that_failed),
    };

    return cmocka_run_group_tests_name("hot", tests, NULL, NULL);
}
