/* Users' statements that the cache answers, compared with what the store says to them. */
#include "store/hot_testing.h"

#include "store/duckdb/store_duckdb.h"

enum { STATEMENTS = 300, MANY = 200 };

static struct store_sql
statement(const char *text)
{
    return (struct store_sql){.sql = slice_of(text), .rows_max = 1000, .bytes_max = 1 << 20};
}

/* False when the cache leaves it to the store. Statements without ORDER BY are of rows that were
 * written in the order of time, which the store keeps, too. */
static bool
check(struct bed *bed, const struct store_sql *sql)
{
    struct batch cached BATCH_AUTO = {0};
    struct batch stored BATCH_AUTO = {0};
    bool cached_cut = false;
    bool stored_cut = false;
    struct err err = {0};

    if (!hot_sql(bed->hot, bed->store, sql, &cached, &cached_cut)) {
        return false;
    }
    if (store_sql(bed->store, sql, &stored, &stored_cut, &err)) {
        fail_msg("%.*s: the store says %s", SLICE_FMT(sql->sql), err.msg);
    }
    assert_same(&cached, &stored, sql->sql.ptr);
    assert_int_equal(cached_cut, stored_cut);
    return true;
}

static bool
check_text(struct bed *bed, const char *text)
{
    struct store_sql sql = statement(text);

    return check(bed, &sql);
}

/* One group a row: the store keeps groups, not rows of one group, in the order they came in. */
static struct bed *
filled(void)
{
    static const char *const rows[] = {"1|10|1.5\n", "2|11|2\n", "1|20|3\n",   "3|25|4\n",
                                       "4|26|5\n",   "5|27|6\n", "1|30|0.1\n", "2|31|-0\n"};
    struct bed *bed = make_bed(store_duckdb_open, 1 << 20);

    put(bed, "1|price|A|-\n2|price|B|{\"x\":1}\n3|volume|A|-\n4|price|-|-\n5|price||-\n", rows[0]);
    for (size_t i = 1; i < sizeof(rows) / sizeof(*rows); i++) {
        put(bed, NULL, rows[i]);
    }
    return bed;
}

static void
test_statement_is_answered_as_the_store_would(void **state)
{
    struct bed *bed = filled();

    (void)state;
    assert_true(check_text(bed, "SELECT * FROM trading_metrics WHERE metric_name = 'price'"));
    assert_true(check_text(bed, "SELECT value, timestamp AS \"when\", symbol FROM trading_metrics "
                                "WHERE metric_name = 'price' AND symbol = 'A'"));
    assert_true(check_text(bed, "SELECT labels, metric_name FROM trading_metrics WHERE metric_name "
                                "IN ('price', 'volume', 'price') ORDER BY timestamp DESC"));
    assert_true(check_text(bed, "SELECT value FROM trading_metrics WHERE metric_name = 'price' AND "
                                "symbol = ''"));
    assert_true(check_text(bed, "SELECT value FROM trading_metrics WHERE metric_name = 'none'"));
    assert_true(check_text(bed, "SELECT value FROM trading_metrics WHERE metric_name = 'price' AND "
                                "timestamp > '1970-01-01 00:00:00.00001' AND timestamp < "
                                "'1970-01-01 00:00:00.00003' ORDER BY timestamp"));
    assert_true(check_text(bed, "SELECT value FROM trading_metrics WHERE metric_name = 'price' AND "
                                "timestamp > '1970-01-03' AND timestamp < '1970-01-02'"));
    assert_true(check_text(bed, "SELECT timestamp, value FROM trading_metrics WHERE metric_name = "
                                "'price' ORDER BY timestamp DESC LIMIT 2 OFFSET 1"));
    assert_false(
        check_text(bed, "SELECT max(value) FROM trading_metrics WHERE metric_name = 'price'"));
    end_bed(bed);
}

static void
test_statement_takes_parameters(void **state)
{
    const struct store_param params[] = {
        {.type = PARAM_TEXT, .text = slice_of("price")},
        {.type = PARAM_TEXT, .text = slice_of("1970-01-01 00:00:00.00002")}};
    struct bed *bed = filled();
    struct store_sql sql = statement("SELECT symbol, value FROM trading_metrics WHERE metric_name "
                                     "= ? AND timestamp >= ? ORDER BY timestamp");

    (void)state;
    sql.params = params;
    sql.param_count = 2;
    assert_true(check(bed, &sql));
    end_bed(bed);
}

static void
test_statement_is_cut_where_the_store_cuts(void **state)
{
    struct bed *bed = filled();
    struct store_sql sql =
        statement("SELECT value FROM trading_metrics WHERE metric_name = 'price'");

    (void)state;
    for (sql.rows_max = 1; sql.rows_max <= 8; sql.rows_max++) {
        assert_true(check(bed, &sql));
    }
    sql = statement("SELECT value FROM trading_metrics WHERE metric_name = 'price' LIMIT 3");
    for (sql.rows_max = 1; sql.rows_max <= 4; sql.rows_max++) {
        assert_true(check(bed, &sql));
    }
    sql.bytes_max = 8;
    assert_false(check(bed, &sql)); /* too large: the store says so */
    sql.bytes_max = 0;
    assert_false(check(bed, &sql)); /* its own bounds are the store's to know */
    end_bed(bed);
}

/* A statement saw a committed group; the next one may not be answered without it. */
static void
test_statement_never_shows_less_than_the_one_before(void **state)
{
    static const char text[] = "SELECT value FROM trading_metrics WHERE metric_name = 'volume'";
    struct bed *bed = filled();

    (void)state;
    assert_true(check_text(bed, text));
    commit(bed, NULL, "3|40|7\n", false);
    assert_false(check_text(bed, text));
    hot_reset(bed->hot);
    assert_true(check_text(bed, text));
    end_bed(bed);
}

/* What does not fit a fill is asked for again and again: it is read from the store but once. */
static void
test_statement_of_too_much_is_filled_once(void **state)
{
    static const char text[] = "SELECT value FROM trading_metrics WHERE metric_name = 'price'";
    struct buf lines BUF_AUTO = {0};
    struct bed *bed = make_bed(store_duckdb_open, 1 << 16); /* fills of 1024 points */

    (void)state;
    buf_init(&lines, 0);
    for (int i = 0; i < 3000; i++) {
        buf_add_fmt(&lines, "1|%d|%d\n", i, i);
    }
    buf_add_char(&lines, '\0');
    put(bed, "1|price|A|-\n", lines.ptr);
    for (int i = 0; i < 5; i++) {
        assert_false(check_text(bed, text));
    }
    assert_int_equal(figures(bed).fills, 1);
    assert_true(check_text(bed, "SELECT value FROM trading_metrics WHERE metric_name = 'price' "
                                "AND timestamp >= '1970-01-01 00:00:00.002500'"));
    assert_int_equal(figures(bed).fills, 1);
    end_bed(bed);
}

/* Many series whose points stand in any order to each other, in both directions. */
static void
test_statement_of_many_series_is_merged_by_time(void **state)
{
    struct bed *bed = make_bed(store_duckdb_open, 1 << 20);
    struct buf series BUF_AUTO = {0};
    struct buf samples BUF_AUTO = {0};
    char text[256];

    (void)state;
    buf_init(&series, 0);
    buf_init(&samples, 0);
    srand(5); /* NOLINT: the same each time */
    for (int id = 1; id <= MANY; id++) {
        buf_add_fmt(&series, "%d|price|S%03d|-\n", id, id);
        int64_t time_us = rand() % 50;          /* NOLINT */
        for (int i = rand() % 20; i > 0; i--) { /* NOLINT */
            /* A time of its own: SQL orders no two rows of one. */
            buf_add_fmt(&samples, "%d|%lld|%d\n", id, (long long)(time_us * MANY + id), i);
            time_us += 1 + rand() % 9; /* NOLINT */
        }
    }
    buf_add_char(&series, '\0');
    buf_add_char(&samples, '\0');
    put(bed, series.ptr, samples.ptr);
    for (int i = 0; i < STATEMENTS; i++) {
        int from = rand() % 20000;   /* NOLINT */
        int limit = 1 + rand() % 99; /* NOLINT */
        snprintf(text, sizeof(text),
                 "SELECT timestamp, symbol, value FROM trading_metrics WHERE metric_name = 'price' "
                 "AND timestamp >= '1970-01-01 00:00:00.%06d' ORDER BY timestamp %s LIMIT %d",
                 from, i % 2 ? "DESC" : "ASC", limit);
        assert_true(check_text(bed, text));
    }
    end_bed(bed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statement_is_answered_as_the_store_would),
        cmocka_unit_test(test_statement_takes_parameters),
        cmocka_unit_test(test_statement_is_cut_where_the_store_cuts),
        cmocka_unit_test(test_statement_never_shows_less_than_the_one_before),
        cmocka_unit_test(test_statement_of_too_much_is_filled_once),
        cmocka_unit_test(test_statement_of_many_series_is_merged_by_time),
    };

    return cmocka_run_group_tests_name("hot sql", tests, NULL, NULL);
}
