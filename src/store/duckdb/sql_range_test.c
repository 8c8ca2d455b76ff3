/* Which times a statement can ask for: found where it is sure, and not where it is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* */
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "store/duckdb/sql_range.h"
#include "store/sql_testing.h"

#define DAY_US INT64_C(86400000000)

/* "samples s 1d..3d" for a table bounded to days 1 to 3 since 1970, "-" for no bound. */
static void
show(const struct sql_ranges *ranges, struct buf *out)
{
    for (size_t i = 0; i < ranges->count; i++) {
        const struct sql_range_ref *ref = &ranges->refs[i];
        buf_add_fmt(out, "%s%s%s%s ", i ? ", " : "", ref->table ? ref->table->name : "?",
                    ref->aliased ? " " : "", ref->aliased ? ref->alias : "");
        if (ref->from_us == INT64_MIN) {
            buf_add_cstr(out, "-");
        } else {
            buf_add_fmt(out, "%lldd", (long long)(ref->from_us / DAY_US));
        }
        buf_add_cstr(out, "..");
        if (ref->to_us == INT64_MAX) {
            buf_add_cstr(out, "-");
        } else {
            buf_add_fmt(out, "%lldd", (long long)(ref->to_us / DAY_US));
        }
    }
    buf_add_char(out, '\0');
}

static void
expect(const char *text, const char *wanted)
{
    struct store_param params[] = {{.type = PARAM_TEXT, .text = slice_of("1970-01-05")},
                                   {.type = PARAM_TEXT, .text = slice_of("1970-01-06 00:00:00")},
                                   {.type = PARAM_I64, .i64 = 5}};
    struct store_sql sql = {
        .sql = slice_of(text), .params = params, .param_count = 3, .now_us = 10 * DAY_US};
    struct sql_ranges ranges;
    struct buf out BUF_AUTO = {0};

    buf_init(&out, 0);
    if (sql_ranges_find(&sql, &ranges)) {
        show(&ranges, &out);
    } else {
        buf_add_char(&out, '\0');
    }
    if (strcmp(out.ptr, wanted) != 0) {
        fail_msg("%s: \"%s\" where \"%s\" was expected", text, out.ptr, wanted);
    }
}

static void
test_range_is_told_by_comparisons_with_the_time(void **state)
{
    (void)state;
    expect("SELECT * FROM samples WHERE timestamp >= TIMESTAMP '1970-01-02'", "samples 1d..-");
    expect("SELECT * FROM samples WHERE timestamp > '1970-01-02 00:00:00'", "samples 1d..-");
    expect("select * from \"samples\" where \"timestamp\" >= date '1970-01-02';", "samples 1d..-");
    expect("SELECT * FROM samples WHERE timestamp < '1970-01-04'::TIMESTAMP", "samples -..3d");
    expect("SELECT * FROM samples WHERE timestamp <= '1970-01-04T00:00' AND value > 1",
           "samples -..3d");
    expect("SELECT * FROM samples WHERE timestamp = '1970-01-04'", "samples 3d..3d");
    expect("SELECT * FROM samples WHERE value > 1 AND timestamp >= '1970-01-02' AND "
           "timestamp < '1970-01-04' AND timestamp >= '1970-01-03'",
           "samples 2d..3d");
    expect("SELECT * FROM samples WHERE timestamp BETWEEN '1970-01-02' AND '1970-01-03' AND "
           "value > 1 ORDER BY 1 LIMIT 3",
           "samples 1d..2d");
    expect("SELECT * FROM samples WHERE series_id = ? AND timestamp >= ?", "samples 5d..-");
    expect("SELECT * FROM samples WHERE timestamp >= $1 AND timestamp < $2", "samples 4d..5d");
    expect("EXPLAIN ANALYZE SELECT 1 FROM samples WHERE timestamp >= '1970-01-02'",
           "samples 1d..-");
    expect("SELECT count(*) FILTER (WHERE value > 1), extract(hour FROM timestamp), "
           "(SELECT max(price) FROM trades) FROM samples /* why */ WHERE NOT value = 2 AND "
           "timestamp >= '1970-01-02' -- so\n GROUP BY 2 HAVING count(*) > 1 OR true",
           "samples 1d..-");
    expect("SELECT * FROM samples WHERE value IN (SELECT value FROM samples WHERE timestamp < "
           "'1970-01-02' OR true) AND timestamp >= '1970-01-04'",
           "samples 3d..-");
}

/* With an hour to spare, so that days are cut where they begin. */
static void
test_range_is_told_from_now(void **state)
{
    (void)state;
    expect("SELECT * FROM samples WHERE timestamp >= now() - INTERVAL 3 DAYS", "samples 6d..-");
    expect("SELECT * FROM samples WHERE timestamp > now() - INTERVAL '3 days'", "samples 6d..-");
    expect("SELECT * FROM samples WHERE timestamp >= current_timestamp - interval '72' hour",
           "samples 6d..-");
    expect("SELECT * FROM samples WHERE timestamp >= now()::TIMESTAMP - INTERVAL '1 week' AND "
           "timestamp < now() - INTERVAL 7199 MINUTES AND value > 1",
           "samples 2d..5d");
    expect("SELECT * FROM samples WHERE timestamp BETWEEN now() - INTERVAL '1 day' AND now()",
           "samples 8d..10d");
    expect("SELECT * FROM samples WHERE timestamp <= now()", "samples -..10d");
    expect("SELECT * FROM samples WHERE timestamp >= now() - INTERVAL 1 MONTH", "");
    expect("SELECT * FROM samples WHERE timestamp >= now() - INTERVAL '1 day 2 hours'", "");
    expect("SELECT * FROM samples WHERE timestamp >= now() - INTERVAL '-1 day'", "");
    expect("SELECT * FROM samples WHERE timestamp >= now() - INTERVAL (1) DAY", "");
    expect("SELECT * FROM samples WHERE timestamp >= now() - INTERVAL 99999999999999 WEEKS", "");
    expect("SELECT * FROM samples WHERE timestamp >= now() + INTERVAL 1 DAY", "");
    expect("SELECT * FROM samples WHERE timestamp >= now() - INTERVAL 1 DAY - INTERVAL 1 DAY", "");
    expect("SELECT * FROM samples WHERE timestamp >= now()::DATE", "");
    expect("SELECT * FROM samples WHERE timestamp >= now", "");
}

static void
test_range_is_of_the_table_that_is_named(void **state)
{
    (void)state;
    expect("SELECT * FROM trading_metrics p JOIN trading_metrics AS v ON v.symbol = p.symbol AND "
           "v.timestamp = p.timestamp WHERE p.timestamp >= '1970-01-02' AND V.Timestamp < "
           "'1970-01-03'",
           "trading_metrics p 1d..-, trading_metrics v -..2d");
    expect("SELECT * FROM samples s LEFT JOIN series USING (series_id) WHERE s.timestamp >= "
           "'1970-01-02'",
           "samples s 1d..-, ? -..-");
    expect("SELECT * FROM samples, market_data AS \"M\" WHERE samples.timestamp >= '1970-01-02' "
           "AND m.timestamp >= '1970-01-03'",
           "samples 1d..-, market_data m 2d..-");
    expect("SELECT * FROM (SELECT 1 AS x) y CROSS JOIN samples s WHERE s.timestamp >= "
           "'1970-01-02'",
           "? y -..-, samples s 1d..-");
    /* Whose time it is, or another column than the time. */
    expect("SELECT * FROM samples s JOIN series r USING (series_id) WHERE timestamp >= "
           "'1970-01-02'",
           "");
    expect("SELECT * FROM samples s WHERE r.timestamp >= '1970-01-02'", "");
    expect("SELECT * FROM samples WHERE other >= '1970-01-02'", "");
    expect("SELECT * FROM series WHERE timestamp >= '1970-01-02'", "");
    expect("SELECT * FROM retention_receipts WHERE timestamp >= '1970-01-02'", "");
}

static void
test_range_is_not_told_where_it_is_in_doubt(void **state)
{
    static const char *const statements[] = {
        "",
        ";",
        "SELECT",
        "SELECT 1",
        "SELECT * FROM",
        "SELECT * FROM samples",
        "SELECT * FROM samples WHERE",
        "SELECT * FROM samples WHERE timestamp >=",
        "SELECT * FROM samples WHERE timestamp >= '1970-01-02' OR value > 1",
        "SELECT * FROM samples WHERE value > 1 OR value < 0 AND timestamp >= '1970-01-02'",
        "SELECT * FROM samples WHERE NOT timestamp >= '1970-01-02'",
        "SELECT * FROM samples WHERE (timestamp >= '1970-01-02' AND true) IS NULL",
        "SELECT * FROM samples WHERE timestamp >= '1970-01-02' IS NULL",
        "SELECT * FROM samples WHERE timestamp >= '1970-01-02' + INTERVAL 1 DAY",
        "SELECT * FROM samples WHERE timestamp >= TIMESTAMP '1970-01-02' - INTERVAL 1 DAY",
        "SELECT * FROM samples WHERE timestamp >= TIMESTAMP '1970-01-02' AT TIME ZONE 'Asia/Tokyo'",
        "SELECT * FROM samples WHERE timestamp >= '1970-01-02' || ''",
        "SELECT * FROM samples WHERE timestamp >= '1970-01-02 12:00:00+02'",
        "SELECT * FROM samples WHERE timestamp >= '1970-01-02 12:00'::DATE",
        "SELECT * FROM samples WHERE timestamp >= DATE '1970-01-02 12:00'",
        "SELECT * FROM samples WHERE timestamp >= E'1970-01-02'",
        "SELECT * FROM samples WHERE timestamp <= '1970-01-02 23:59:59.9999999'",
        "SELECT * FROM samples WHERE timestamp >= 'yesterday'",
        "SELECT * FROM samples WHERE timestamp >= $3",
        "SELECT * FROM samples WHERE timestamp >= $4",
        "SELECT * FROM samples WHERE timestamp <> '1970-01-02'",
        "SELECT * FROM samples WHERE timestamp + INTERVAL 1 DAY >= '1970-01-02'",
        "SELECT * FROM samples WHERE -timestamp >= '1970-01-02'",
        "SELECT * FROM samples WHERE x BETWEEN 1 AND timestamp >= '1970-01-02'",
        "SELECT * FROM samples WHERE timestamp NOT BETWEEN '1970-01-02' AND '1970-01-03'",
        "SELECT * FROM samples WHERE CASE WHEN true AND timestamp >= '1970-01-02' THEN true END",
        "SELECT * FROM samples WHERE labels -> 'a' = 'b' AND timestamp >= '1970-01-02'",
        "SELECT * FROM samples WHERE timestamp >= '1970-01-02' UNION SELECT * FROM samples",
        "SELECT * FROM samples WHERE timestamp >= '1970-01-02' UNION ALL FROM samples",
        "(SELECT * FROM samples WHERE timestamp >= '1970-01-02')",
        "SELECT * FROM samples WHERE timestamp >= '1970-01-02' USING SAMPLE 3",
        "SELECT * FROM samples WHERE timestamp >= '1970-01-02' ORDER BY 1 USING SAMPLE 3",
        "SELECT * FROM samples TABLESAMPLE 10% WHERE timestamp >= '1970-01-02'",
        "WITH samples AS (SELECT 1) SELECT * FROM samples WHERE timestamp >= '1970-01-02'",
        "FROM samples WHERE timestamp >= '1970-01-02'",
        "SELECT * FROM main.samples WHERE timestamp >= '1970-01-02'",
        "SELECT * FROM samples(1) WHERE timestamp >= '1970-01-02'",
        "SELECT * FROM 'samples' WHERE timestamp >= '1970-01-02'",
        "SELECT * FROM samples AS s(timestamp, a, b) WHERE timestamp >= '1970-01-02'",
        "SELECT * FROM samples s ASOF JOIN samples r USING (x) WHERE r.timestamp >= '1970-01-02'",
        "SELECT * FROM samples s FULL JOIN samples r ON true WHERE r.timestamp >= '1970-01-02'",
        "SELECT * FROM samples s RIGHT JOIN samples r ON true WHERE r.timestamp >= '1970-01-02'",
        "SELECT * FROM samples s POSITIONAL JOIN samples r WHERE r.timestamp >= '1970-01-02'",
        "SELECT * FROM samples s, samples s WHERE s.timestamp >= '1970-01-02'",
        "SELECT * FROM samples WHERE timestamp >= '1970-01-02'; SELECT 2",
        "SELECT * FROM samples WHERE (timestamp >= '1970-01-02'",
        "SELECT * FROM samples WHERE timestamp >= '1970-01-02",
        "SELECT a IS DISTINCT FROM samples FROM samples WHERE timestamp >= '1970-01-02'",
        "DELETE FROM samples WHERE timestamp >= '1970-01-02'",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(statements) / sizeof(*statements); i++) {
        expect(statements[i], "");
    }
}

static void
read_ranges(const struct store_sql *sql)
{
    struct sql_ranges ranges;

    sql_ranges_find(sql, &ranges);
    assert_true(ranges.count <= SQL_RANGE_REFS_MAX);
}

static void
test_range_takes_any_text(void **state)
{
    (void)state;
    sql_damage("SELECT x.\"a\" FROM samples AS s LEFT JOIN (SELECT 'b') t ON a = b WHERE "
               "s.timestamp BETWEEN ? AND $1 AND c[1] = 'd'::E ORDER BY 1;",
               read_ranges);
    expect("SELECT 1 FROM a, b, c, d, e, f, g, h, samples WHERE samples.timestamp >= '1970-01-02'",
           "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_range_is_told_by_comparisons_with_the_time),
        cmocka_unit_test(test_range_is_told_from_now),
        cmocka_unit_test(test_range_is_of_the_table_that_is_named),
        cmocka_unit_test(test_range_is_not_told_where_it_is_in_doubt),
        cmocka_unit_test(test_range_takes_any_text),
    };

    return cmocka_run_group_tests_name("sql range", tests, NULL, NULL);
}
