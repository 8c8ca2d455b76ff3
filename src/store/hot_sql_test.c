/* Users' statements that the cache answers, compared with what the store says to them. */
#include "store/hot_testing.h"

#include "base/clock.h"
#include "base/id.h"
#include "store/duckdb/store_duckdb.h"

enum { STATEMENTS = 300, MANY = 200, DAMAGED = 8000 };

static struct store_sql
statement(const char *text)
{
    return (struct store_sql){.sql = slice_of(text), .rows_max = 1000, .bytes_max = 1 << 20};
}

/* What the cache and the store say to a statement. */
struct answers {
    struct batch cached;
    struct batch stored;
    bool cached_cut;
    bool stored_cut;
};

static void
end_answers(struct answers *answers)
{
    batch_fini(&answers->cached);
    batch_fini(&answers->stored);
}

/* False when the cache leaves it to the store. What it answers, the store must take. */
static bool
ask_both(struct bed *bed, const struct store_sql *sql, struct answers *ret_answers)
{
    struct answers answers = {0};
    struct err err = {0};

    if (!hot_sql(bed->hot, bed->store, sql, &answers.cached, &answers.cached_cut)) {
        return false;
    }
    if (store_sql(bed->store, sql, &answers.stored, &answers.stored_cut, &err)) {
        fail_msg("%.*s: the store says %s", SLICE_FMT(sql->sql), err.msg);
    }
    assert_int_equal(answers.cached_cut, answers.stored_cut);
    *ret_answers = answers;
    return true;
}

/* False when the cache leaves it to the store. Statements without ORDER BY are of rows that were
 * written in the order of time, which the store keeps, too. */
static bool
check(struct bed *bed, const struct store_sql *sql)
{
    struct answers answers;
    bool answered = ask_both(bed, sql, &answers);

    if (answered) {
        assert_same(&answers.cached, &answers.stored, sql->sql.ptr);
        end_answers(&answers);
    }
    return answered;
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
    assert_true(check_text(bed, "SELECT value FROM trading_metrics WHERE metric_name IN ('price', "
                                "'volume') ORDER BY timestamp"));
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
    static const char text[] =
        "SELECT value FROM trading_metrics WHERE metric_name = 'volume' ORDER BY timestamp";
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
    static const char text[] =
        "SELECT value FROM trading_metrics WHERE metric_name = 'price' ORDER BY timestamp";
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
    struct store_sql newest = statement("SELECT value FROM trading_metrics WHERE metric_name = "
                                        "'price' ORDER BY timestamp DESC");
    newest.rows_max = 2000; /* more than a fill has, too */
    for (int i = 0; i < 5; i++) {
        assert_false(check(bed, &newest));
    }
    assert_int_equal(figures(bed).fills, 1);
    hot_invalidate(bed->hot, 0, INT64_MAX);
    assert_true(check_text(bed, "SELECT value FROM trading_metrics WHERE metric_name = 'price' "
                                "ORDER BY timestamp DESC LIMIT 3"));
    assert_false(check_text(bed, text));
    assert_int_equal(figures(bed).fills, 2); /* the small one made nobody forget */
    end_bed(bed);
}

/* A fill for few rows tells nothing of one for all of them. */
static void
test_statement_of_few_rows_keeps_none_from_being_filled(void **state)
{
    struct buf lines BUF_AUTO = {0};
    struct bed *bed = make_bed(store_duckdb_open, 1 << 16);

    (void)state;
    buf_init(&lines, 0);
    for (int i = 0; i < 500; i++) {
        buf_add_fmt(&lines, "1|%d|%d\n", i, i);
    }
    buf_add_char(&lines, '\0');
    put(bed, "1|price|A|-\n", lines.ptr);
    hot_reset(bed->hot);
    assert_true(check_text(bed, "SELECT value FROM trading_metrics WHERE metric_name = 'price' "
                                "ORDER BY timestamp DESC LIMIT 3"));
    assert_true(check_text(bed, "SELECT value FROM trading_metrics WHERE metric_name = 'price' "
                                "ORDER BY timestamp"));
    end_bed(bed);
}

/* The store stops at the first rows it meets: it must not be asked for all of them, to fill. */
static void
test_statement_of_any_rows_fills_nothing(void **state)
{
    static const char text[] =
        "SELECT value FROM trading_metrics WHERE metric_name = 'price' LIMIT 3";
    struct bed *bed = filled();

    (void)state;
    hot_reset(bed->hot);
    uint64_t fills = figures(bed).fills;
    assert_false(check_text(bed, text));
    assert_int_equal(figures(bed).fills, fills);
    assert_true(check_text(bed, "SELECT value FROM trading_metrics WHERE metric_name = 'price' "
                                "ORDER BY timestamp"));
    assert_true(check_text(bed, text));
    end_bed(bed);
}

static enum err_code outcome;
static int scans;

static enum err_code
fail_scan(struct store *store, const struct store_scan *scan, struct batch *ret_rows,
          struct err *err)
{
    (void)store;
    (void)ret_rows;
    scans++;
    assert_int_equal(scan->timeout_ms, 1000);
    return err_set(err, outcome, "not in this time");
}

/* A store that gives up is asked once; it has a quarter of the time of whoever asked. */
static void
test_statement_that_the_store_gives_up_is_not_filled_again(void **state)
{
    static const enum err_code codes[] = {ERR_TIMEOUT, ERR_TOO_LARGE, ERR_UNAVAILABLE};
    struct store_sql sql =
        statement("SELECT value FROM trading_metrics WHERE metric_name = 'price' "
                  "AND timestamp >= '1970-01-01' ORDER BY timestamp");
    struct batch rows;

    (void)state;
    sql.timeout_ms = 4000;
    for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++) {
        struct bed *bed = filled();
        const struct store_ops *before = bed->store->ops;
        struct store_ops failing = *before;
        failing.scan = fail_scan;
        assert_true(check_latest(bed, TABLE_SAMPLES)); /* definitions are known */
        hot_reset(bed->hot);
        assert_true(check_latest(bed, TABLE_SAMPLES));
        bed->store->ops = &failing;
        outcome = codes[i];
        scans = 0;
        assert_false(hot_sql(bed->hot, bed->store, &sql, &rows, NULL));
        assert_false(hot_sql(bed->hot, bed->store, &sql, &rows, NULL));
        assert_int_equal(scans, codes[i] == ERR_UNAVAILABLE ? 2 : 1);
        bed->store->ops = before;
        end_bed(bed);
    }
}

/* Who has less time than others tells nothing of how long a fill takes. */
static void
test_statement_in_a_hurry_keeps_nobody_else_from_filling(void **state)
{
    struct store_sql sql =
        statement("SELECT value FROM trading_metrics WHERE metric_name = 'price' "
                  "AND timestamp >= '1970-01-01' ORDER BY timestamp");
    struct bed *bed = filled();
    const struct store_ops *before = bed->store->ops;
    struct store_ops failing = *before;
    struct batch rows;

    (void)state;
    hot_free(bed->hot);
    bed->hot = hot_new(&(struct hot_options){.bytes_max = 1 << 20, .timeout_ms = 4001});
    assert_true(check_latest(bed, TABLE_SAMPLES));
    failing.scan = fail_scan;
    bed->store->ops = &failing;
    sql.timeout_ms = 4000;
    outcome = ERR_TIMEOUT;
    scans = 0;
    assert_false(hot_sql(bed->hot, bed->store, &sql, &rows, NULL));
    assert_false(hot_sql(bed->hot, bed->store, &sql, &rows, NULL));
    assert_int_equal(scans, 2);
    bed->store->ops = before;
    end_bed(bed);
}

/* Many series whose points stand in any order to each other, in both directions. */
static void
test_statement_of_many_series_is_merged_by_time(void **state)
{
    struct bed *bed = make_bed(store_duckdb_open, 1 << 20);
    struct buf series BUF_AUTO = {0};
    struct buf samples BUF_AUTO = {0};
    struct rng rng;
    char text[256];

    (void)state;
    buf_init(&series, 0);
    buf_init(&samples, 0);
    rng_init(&rng, 5);
    for (int id = 1; id <= MANY; id++) {
        buf_add_fmt(&series, "%d|price|S%03d|-\n", id, id);
        int64_t time_us = (int64_t)rng_below(&rng, 50);
        for (int i = (int)rng_below(&rng, 20); i > 0; i--) {
            /* A time of its own: SQL orders no two rows of one. */
            buf_add_fmt(&samples, "%d|%lld|%d\n", id, (long long)(time_us * MANY + id), i);
            time_us += 1 + (int64_t)rng_below(&rng, 9);
        }
    }
    buf_add_char(&series, '\0');
    buf_add_char(&samples, '\0');
    put(bed, series.ptr, samples.ptr);
    for (int i = 0; i < STATEMENTS; i++) {
        int from = (int)rng_below(&rng, 20000);
        int limit = 1 + (int)rng_below(&rng, 99);
        snprintf(text, sizeof(text),
                 "SELECT timestamp, symbol, value FROM trading_metrics WHERE metric_name = 'price' "
                 "AND timestamp >= '1970-01-01 00:00:00.%06d' ORDER BY timestamp %s LIMIT %d",
                 from, i % 2 ? "DESC" : "ASC", limit);
        assert_true(check_text(bed, text));
    }
    end_bed(bed);
}

static const char *const sound[] = {
    "SELECT timestamp AS t , symbol , value FROM trading_metrics WHERE metric_name = 'price' AND "
    "symbol IN ( 'A' , 'B' ) ORDER BY timestamp LIMIT 3 OFFSET 1 ;",
    "SELECT * FROM trading_metrics WHERE metric_name IN ( 'price' , 'volume' ) AND timestamp "
    "BETWEEN '1970-01-01 00:00:00.000011' AND now() - INTERVAL '1 day' ORDER BY timestamp DESC",
    "SELECT trading_metrics . value , \"symbol\" AS \"a b\" FROM trading_metrics WHERE timestamp "
    ">= "
    "TIMESTAMP '1970-01-01' AND timestamp < current_timestamp - INTERVAL 1 HOUR AND metric_name = "
    "'price'"};

/* clang-format off */
static const char *const words[] = {
    "SELECT", "*", "value", "timestamp", "symbol", "metric_name", "labels", "AS", "x", ",", "t",
    "FROM", "trading_metrics", "WHERE", "=", "IN", "(", ")", "'price'", "'A'", "''", "AND",
    "OR", "NOT", ">=", ">", "<", "<=", "<>", "BETWEEN", "'1970-01-01 00:00:00.00002'", "now()",
    "now", "current_timestamp", "-", "+", "INTERVAL", "'1 day'", "'2' HOURS", "1", "DAY",
    "MONTH", "ORDER", "BY", "DESC", "ASC", "LIMIT", "3", "0", "1e1", "OFFSET", ";", "::",
    "TIMESTAMP", "DATE", "NULL", ".", "\"value\"", "VALUE", "--c\n", "/*c*/", "DISTINCT", "ALL",
    "COLLATE", "'it''s'", "e'A'", "$$A$$", "||", "samples", "count(*)", "USING", "SAMPLE", "IS",
    "LIKE",
};
/* clang-format on */

static const char *
any_word(struct rng *rng)
{
    return words[rng_below(rng, sizeof(words) / sizeof(*words))];
}

/* Writes a statement that is right with some of its words left out, doubled or replaced. */
static void
write_damaged(struct rng *rng, struct buf *out)
{
    const char *from = sound[rng_below(rng, sizeof(sound) / sizeof(*sound))];

    buf_reset(out);
    while (*from) {
        size_t len = strcspn(from, " ");
        uint64_t what = rng_below(rng, 40);
        if (what == 0) {
            buf_add_cstr(out, any_word(rng));
        } else if (what == 1) {
            buf_add_fmt(out, "%.*s %s", (int)len, from, any_word(rng));
        } else if (what > 2) {
            buf_add_slice(out, slice_make(from, len));
        }
        buf_add_char(out, ' ');
        from += len + (from[len] == ' ');
    }
}

static int
compare_lines(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

/* The lines of a text, sorted. */
static void
sort_lines(struct buf *text)
{
    char *lines[64];
    size_t count = 0;
    struct buf sorted BUF_AUTO = {0};

    buf_add_char(text, '\0');
    for (char *at = strtok(text->ptr, "\n"); at; at = strtok(NULL, "\n")) { /* NOLINT: one thread */
        assert_in_range(count, 0, 63);
        lines[count++] = at;
    }
    qsort(lines, count, sizeof(*lines), compare_lines);
    buf_init(&sorted, 0);
    for (size_t i = 0; i < count; i++) {
        buf_add_fmt(&sorted, "%s\n", lines[i]);
    }
    buf_reset(text);
    buf_add_slice(text, buf_slice(&sorted));
}

/* The same columns and rows, in any order. */
static void
assert_same_rows(const struct batch *cached, const struct batch *stored, const char *what)
{
    struct buf one BUF_AUTO = {0};
    struct buf two BUF_AUTO = {0};

    buf_init(&one, 0);
    buf_init(&two, 0);
    contract_dump(cached, &one);
    contract_dump(stored, &two);
    sort_lines(&one);
    sort_lines(&two);
    if (!slice_eq(buf_slice(&one), buf_slice(&two))) {
        fail_msg("%s: the cache says\n%.*sthe store says\n%.*s", what, SLICE_FMT(buf_slice(&one)),
                 SLICE_FMT(buf_slice(&two)));
    }
}

/* As check(), for statements that need not say in which order, and so with LIMIT not which rows. */
static bool
check_loosely(struct bed *bed, const struct store_sql *sql)
{
    const char *text = sql->sql.ptr;
    struct answers answers;

    if (!ask_both(bed, sql, &answers)) {
        return false;
    }
    const struct batch *cached = &answers.cached;
    const struct batch *stored = &answers.stored;
    assert_int_equal(cached->rows, stored->rows);
    assert_int_equal(cached->column_count, stored->column_count);
    for (size_t i = 0; i < cached->column_count; i++) {
        assert_string_equal(cached->columns[i].name, stored->columns[i].name);
        assert_int_equal(cached->columns[i].type, stored->columns[i].type);
    }
    if (strstr(text, "ORDER BY timestamp")) {
        assert_same(cached, stored, text);
    } else if (!strstr(text, "LIMIT") && !strstr(text, "OFFSET")) {
        assert_same_rows(cached, stored, text);
    }
    end_answers(&answers);
    return true;
}

/* Whatever the cache answers, the store takes, and answers so. */
static void
test_statements_like_those_are_answered_alike(void **state)
{
    struct bed *bed = filled();
    struct buf text BUF_AUTO = {0};
    struct rng rng;
    int answered = 0;

    (void)state;
    buf_init(&text, 0);
    rng_init(&rng, 17);
    for (int i = 0; i < DAMAGED; i++) {
        write_damaged(&rng, &text);
        buf_add_char(&text, '\0');
        struct store_sql sql = {.sql = slice_of(text.ptr),
                                .rows_max = 1000,
                                .bytes_max = 1 << 20,
                                .now_us = clock_wall_us(clock_system())};
        answered += check_loosely(bed, &sql);
    }
    assert_in_range(answered, DAMAGED / 20, DAMAGED);
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
        cmocka_unit_test(test_statement_of_few_rows_keeps_none_from_being_filled),
        cmocka_unit_test(test_statement_of_any_rows_fills_nothing),
        cmocka_unit_test(test_statement_that_the_store_gives_up_is_not_filled_again),
        cmocka_unit_test(test_statement_in_a_hurry_keeps_nobody_else_from_filling),
        cmocka_unit_test(test_statement_of_many_series_is_merged_by_time),
        cmocka_unit_test(test_statements_like_those_are_answered_alike),
    };

    return cmocka_run_group_tests_name("hot sql", tests, NULL, NULL);
}
