/* Statements that ask for rows as they are: told apart from all others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* */
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "store/sql_scan.h"
#include "store/sql_testing.h"

#define DAY_US INT64_C(86400000000)
#define FORM "SELECT value FROM trading_metrics WHERE metric_name = 'a'"

static void
show_time(int64_t time_us, struct buf *out)
{
    if (time_us == INT64_MIN || time_us == INT64_MAX) {
        buf_add_char(out, '-');
    } else {
        int64_t days = (time_us + DAY_US / 2) / DAY_US;
        buf_add_fmt(out, "%" PRId64 "d%+" PRId64, days, time_us - days * DAY_US);
    }
}

/* "value,timestamp=time; metric_name a|b; 1d+0..-; limit 5 offset 1 newest" */
static void
show(const struct sql_scan *found, struct buf *out)
{
    const struct catalog_table *table = catalog_table(found->scan.table);

    for (size_t i = 0; i < found->column_count; i++) {
        const char *name = table->columns[found->columns[i]].name;
        buf_add_fmt(out, "%s%s", i ? "," : "", name);
        if (!slice_is(found->names[i], name)) {
            buf_add_fmt(out, "=%.*s", SLICE_FMT(found->names[i]));
        }
    }
    for (size_t i = 0; i < found->scan.filter_count; i++) {
        const struct store_filter *filter = &found->scan.filters[i];
        buf_add_fmt(out, "; %s ", filter->column);
        for (size_t v = 0; v < filter->value_count; v++) {
            buf_add_fmt(out, "%s%.*s", v ? "|" : "", SLICE_FMT(filter->values[v]));
        }
    }
    buf_add_cstr(out, "; ");
    show_time(found->scan.from_us, out);
    buf_add_cstr(out, "..");
    show_time(found->scan.to_us, out);
    if (found->scan.limit || found->scan.offset) {
        buf_add_fmt(out, "; limit %" PRIu64 " offset %" PRIu64, found->scan.limit,
                    found->scan.offset);
    }
    if (found->scan.newest_first) {
        buf_add_cstr(out, " newest");
    }
}

static void
expect_with(const char *text, const struct store_param *params, size_t count, const char *wanted)
{
    struct store_sql sql = {
        .sql = slice_of(text), .params = params, .param_count = count, .now_us = 10 * DAY_US};
    struct sql_scan found;
    struct buf out BUF_AUTO = {0};

    buf_init(&out, 0);
    if (sql_scan_find(&sql, &found)) {
        show(&found, &out);
    }
    buf_add_char(&out, '\0');
    if (strcmp(out.ptr, wanted) != 0) {
        fail_msg("%s: \"%s\" where \"%s\" was expected", text, out.ptr, wanted);
    }
}

static void
expect(const char *text, const char *wanted)
{
    expect_with(text, NULL, 0, wanted);
}

static void
test_scan_is_told_from_its_parts(void **state)
{
    (void)state;
    expect(FORM, "value; metric_name a; -..-");
    expect("select * from Trading_Metrics where Metric_Name = 'a';",
           "timestamp,metric_name,value,symbol,labels; metric_name a; -..-");
    expect("SELECT \"value\", trading_metrics.timestamp AS Time, symbol AS \"of what\" "
           "FROM \"trading_metrics\" WHERE trading_metrics.metric_name = 'a'",
           "value,timestamp=Time,symbol=of what; metric_name a; -..-");
    expect("SELECT value /* this */ FROM trading_metrics -- that\n"
           "WHERE symbol IN ('A', 'B') AND metric_name IN ('a')",
           "value; symbol A|B; metric_name a; -..-");
    expect(FORM " AND symbol = ''", "value; metric_name a; symbol ; -..-");
}

static void
test_scan_has_the_times_of_all_conditions(void **state)
{
    (void)state;
    expect(FORM " AND timestamp >= '1970-01-02'", "value; metric_name a; 1d+0..-");
    expect(FORM " AND timestamp > TIMESTAMP '1970-01-02 00:00:00' AND timestamp < '1970-01-04'",
           "value; metric_name a; 1d+1..3d-1");
    expect(FORM " AND timestamp BETWEEN DATE '1970-01-02' AND '1970-01-04'::TIMESTAMP AND "
                "timestamp <= '1970-01-03'",
           "value; metric_name a; 1d+0..2d+0");
    expect(FORM " AND timestamp > now() - INTERVAL '1 second'",
           "value; metric_name a; 10d-999999..-");
    expect(FORM " AND timestamp BETWEEN current_timestamp - INTERVAL 48 HOURS AND now() LIMIT 5",
           "value; metric_name a; 8d+0..10d+0; limit 5 offset 0");
    expect(FORM " AND timestamp = '1970-01-02'", "value; metric_name a; 1d+0..1d+0");
}

static void
test_scan_has_order_and_limit(void **state)
{
    (void)state;
    expect(FORM " ORDER BY timestamp", "value; metric_name a; -..-");
    expect(FORM " ORDER BY timestamp ASC LIMIT 7", "value; metric_name a; -..-; limit 7 offset 0");
    expect(FORM " ORDER BY trading_metrics.timestamp DESC LIMIT 7 OFFSET 2;",
           "value; metric_name a; -..-; limit 7 offset 2 newest");
    expect("SELECT timestamp AS Time, value FROM trading_metrics WHERE metric_name = 'a' "
           "ORDER BY time DESC",
           "timestamp=Time,value; metric_name a; -..- newest");
    expect("SELECT timestamp AS \"all\" FROM trading_metrics WHERE metric_name = 'a' "
           "ORDER BY \"all\"",
           "timestamp=all; metric_name a; -..-");
}

static void
test_scan_takes_parameters(void **state)
{
    const struct store_param params[] = {{.type = PARAM_TEXT, .text = slice_of("it's")},
                                         {.type = PARAM_TEXT, .text = slice_of("1970-01-02")},
                                         {.type = PARAM_I64, .i64 = 5}};

    (void)state;
    expect_with("SELECT value FROM trading_metrics WHERE metric_name = ? AND timestamp >= ?",
                params, 2, "value; metric_name it's; 1d+0..-");
    expect_with("SELECT value FROM trading_metrics WHERE timestamp >= $2 AND metric_name = $1",
                params, 2, "value; metric_name it's; 1d+0..-");
    /* Parameters that are missing, left over, or of another type are for the store to refuse. */
    expect_with("SELECT value FROM trading_metrics WHERE metric_name = ?", params, 2, "");
    expect_with("SELECT value FROM trading_metrics WHERE metric_name = $1", params, 2, "");
    expect_with("SELECT value FROM trading_metrics WHERE metric_name = $2", params, 2, "");
    expect_with("SELECT value FROM trading_metrics WHERE metric_name = ?", params, 0, "");
    expect_with("SELECT value FROM trading_metrics WHERE metric_name = ? AND symbol = $2", params,
                2, "");
    expect_with("SELECT value FROM trading_metrics WHERE metric_name = ?", params + 2, 1, "");
    expect_with("SELECT value FROM trading_metrics WHERE metric_name = ? AND symbol = ?",
                params + 1, 2, "");
}

/* Other statements, and some that DuckDB refuses. */
static const char *const doubtful[] = {
    "",
    "SELECT",
    "SELECT 1",
    "SELECT value FROM trading_metrics",
    "SELECT value FROM trading_metrics WHERE",
    "SELECT value FROM trading_metrics WHERE timestamp >= '1970-01-02'",
    "SELECT value FROM trading_metrics WHERE symbol = 'a'",
    "SELECT value FROM trading_metrics m WHERE metric_name = 'a'",
    "SELECT value FROM main.trading_metrics WHERE metric_name = 'a'",
    "SELECT value FROM samples WHERE metric_name = 'a'",
    "SELECT value FROM trading_metrics, samples WHERE metric_name = 'a'",
    "EXPLAIN " FORM,
    "WITH x AS (SELECT 1) " FORM,
    "(" FORM ")",
    "SELECT DISTINCT value FROM trading_metrics WHERE metric_name = 'a'",
    "SELECT other FROM trading_metrics WHERE metric_name = 'a'",
    "SELECT VALUE FROM trading_metrics WHERE metric_name = 'a'",
    "SELECT value v FROM trading_metrics WHERE metric_name = 'a'",
    "SELECT value AS 'v' FROM trading_metrics WHERE metric_name = 'a'",
    "SELECT value AS \"\"\"v\" FROM trading_metrics WHERE metric_name = 'a'",
    "SELECT value AS symbol FROM trading_metrics WHERE metric_name = 'a'",
    "SELECT value AS Timestamp FROM trading_metrics WHERE metric_name = 'a'",
    "SELECT value, timestamp AS all FROM trading_metrics WHERE metric_name = 'a' ORDER BY all",
    "SELECT timestamp AS true FROM trading_metrics WHERE metric_name = 'a' ORDER BY true",
    "SELECT value, value FROM trading_metrics WHERE metric_name = 'a'",
    "SELECT value, value AS again FROM trading_metrics WHERE metric_name = 'a'",
    "SELECT value AS 1 FROM trading_metrics WHERE metric_name = 'a'",
    "SELECT value AS $1 FROM trading_metrics WHERE metric_name = 'a'",
    "SELECT value AS x, symbol AS X FROM trading_metrics WHERE metric_name = 'a'",
    "SELECT *, value FROM trading_metrics WHERE metric_name = 'a'",
    "SELECT * EXCLUDE (value) FROM trading_metrics WHERE metric_name = 'a'",
    "SELECT trading_metrics.* FROM trading_metrics WHERE metric_name = 'a'",
    "SELECT m.value FROM trading_metrics WHERE metric_name = 'a'",
    "SELECT value + 1 FROM trading_metrics WHERE metric_name = 'a'",
    "SELECT value::INT FROM trading_metrics WHERE metric_name = 'a'",
    "SELECT max(value) FROM trading_metrics WHERE metric_name = 'a'",
    "SELECT 'value' FROM trading_metrics WHERE metric_name = 'a'",
    "SELECT value FROM trading_metrics WHERE NOT metric_name = 'a'",
    "SELECT value FROM trading_metrics WHERE metric_name <> 'a'",
    "SELECT value FROM trading_metrics WHERE metric_name LIKE 'a'",
    "SELECT value FROM trading_metrics WHERE metric_name NOT IN ('a')",
    "SELECT value FROM trading_metrics WHERE metric_name IN ()",
    "SELECT value FROM trading_metrics WHERE metric_name IN ('a'",
    "SELECT value FROM trading_metrics WHERE metric_name IN (SELECT 'a')",
    "SELECT value FROM trading_metrics WHERE metric_name = symbol",
    "SELECT value FROM trading_metrics WHERE 'a' = metric_name",
    "SELECT value FROM trading_metrics WHERE (metric_name = 'a')",
    "SELECT value FROM trading_metrics WHERE x.metric_name = 'a'",
    "SELECT value FROM trading_metrics WHERE metric_name = E'a'",
    "SELECT value FROM trading_metrics WHERE metric_name = 'a''b'",
    "SELECT value FROM trading_metrics WHERE metric_name = $$a$$",
    "SELECT value FROM trading_metrics WHERE metric_name = 'a",
    "SELECT value FROM trading_metrics WHERE metric_name == 'a'",
    FORM " AND metric_name = 'b'",
    FORM " AND value = 1",
    FORM " AND labels = 'x'",
    FORM " OR symbol = 'b'",
    FORM " || 'b'",
    FORM " COLLATE NOCASE",
    FORM " AND timestamp >= now() - INTERVAL 1 MONTH",
    FORM " AND timestamp >= now() - 1",
    FORM " AND timestamp >= '1970-01-02' + INTERVAL 1 DAY",
    FORM " AND timestamp >= '1970-01-02 00:00:00+01'",
    FORM " AND timestamp <> '1970-01-02'",
    FORM " AND timestamp > = '1970-01-02'",
    FORM " AND timestamp >/**/= '1970-01-02'",
    FORM " AND timestamp >= '1970-01-02': :TIMESTAMP",
    FORM " /* no end",
    FORM "\vLIMIT 5",
    FORM " AND",
    FORM " GROUP BY value",
    FORM " ORDER BY value",
    FORM " ORDER BY 1",
    FORM " ORDER BY \"timestamp",
    FORM " ORDER BY timestamp, value",
    FORM " ORDER BY timestamp DESC NULLS LAST",
    FORM " ORDER timestamp",
    FORM " LIMIT 0",
    FORM " LIMIT -1",
    FORM " LIMIT 5%",
    FORM " LIMIT 1.5",
    FORM " LIMIT 1e3",
    FORM " LIMIT 'x'",
    FORM " LIMIT",
    FORM " LIMIT 5, 5",
    FORM " OFFSET 1 LIMIT 5",
    FORM " UNION ALL " FORM,
    FORM "; SELECT 2",
    FORM ";;",
    FORM " \xc2\xa0",
};

static void
test_scan_is_not_told_where_it_is_in_doubt(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(doubtful) / sizeof(*doubtful); i++) {
        expect(doubtful[i], "");
    }
}

static void
read_scan(const struct store_sql *sql)
{
    struct sql_scan found;

    sql_scan_find(sql, &found);
    assert_true(found.value_count <= SQL_SCAN_VALUES_MAX);
}

static void
test_scan_takes_any_text(void **state)
{
    (void)state;
    sql_damage(
        "SELECT \"value\" AS v, symbol FROM trading_metrics WHERE metric_name IN ('a', $1) AND "
        "timestamp BETWEEN ? AND '1970-01-02' ORDER BY timestamp DESC LIMIT 5 OFFSET 6;",
        read_scan);
}

/* As many values as there is room for, and one more. */
static void
test_scan_bounds_its_values(void **state)
{
    struct buf text BUF_AUTO = {0};

    (void)state;
    for (size_t count = SQL_SCAN_VALUES_MAX; count <= SQL_SCAN_VALUES_MAX + 1; count++) {
        buf_init(&text, 0);
        buf_add_cstr(&text, "SELECT value FROM trading_metrics WHERE metric_name IN ('a'");
        for (size_t i = 1; i < count; i++) {
            buf_add_fmt(&text, ", '%zu'", i);
        }
        buf_add_cstr(&text, ")");
        struct store_sql sql = {.sql = buf_slice(&text)};
        struct sql_scan found;
        assert_int_equal(sql_scan_find(&sql, &found), count == SQL_SCAN_VALUES_MAX);
        buf_fini(&text);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scan_is_told_from_its_parts),
        cmocka_unit_test(test_scan_has_the_times_of_all_conditions),
        cmocka_unit_test(test_scan_has_order_and_limit),
        cmocka_unit_test(test_scan_takes_parameters),
        cmocka_unit_test(test_scan_is_not_told_where_it_is_in_doubt),
        cmocka_unit_test(test_scan_takes_any_text),
        cmocka_unit_test(test_scan_bounds_its_values),
    };

    return cmocka_run_group_tests_name("sql scan", tests, NULL, NULL);
}
