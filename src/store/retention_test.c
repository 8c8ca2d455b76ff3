#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants these first. */
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "catalog/catalog.h"
#include "codec/time.h"
#include "store/retention.h"

enum { FILES_MAX = 64, HOT_MAX = 16, METRICS_MAX = 16 };

/* What is there, in a shape that cases can write down. */
struct world {
    struct retention_rule rules[8];
    size_t rule_count;
    struct cold_file files[FILES_MAX];
    size_t file_count;
    struct store_day hot[HOT_MAX];
    size_t hot_count;
    struct retention_metric metrics[METRICS_MAX];
    size_t metric_count;
};

static int32_t
day_of(const char *text)
{
    int32_t day;

    assert_true(cold_day_parse(slice_of(text), &day));
    return day;
}

static int64_t
time_of(const char *text)
{
    int64_t us;

    assert_true(time_parse_iso8601(slice_of(text), &us));
    return us;
}

static void
add_rule(struct world *world, const char *text)
{
    struct err err = {0};

    if (retention_rule_parse(slice_of(text), &world->rules[world->rule_count++], &err)) {
        fail_msg("%s: %s", text, err.msg);
    }
}

static void
add_file(struct world *world, enum table_id table, enum cold_kind kind, const char *day)
{
    struct cold_file *file = &world->files[world->file_count++];

    *file = (struct cold_file){
        .table = table, .kind = kind, .day = day_of(day), .rows = 10, .bytes = 1000};
    snprintf(file->name, sizeof(file->name), "%02zu.parquet", world->file_count);
}

static void
add_day(struct world *world, enum table_id table, const char *day)
{
    for (int kind = 0; kind < COLD_KIND_COUNT; kind++) {
        add_file(world, table, (enum cold_kind)kind, day);
    }
}

static void
add_hot(struct world *world, enum table_id table, const char *day, uint64_t rows)
{
    world->hot[world->hot_count++] =
        (struct store_day){.table = table, .day = day_of(day), .hot_rows = rows};
}

static void
add_metric(struct world *world, const char *day, const char *name, uint64_t rows)
{
    world->metrics[world->metric_count++] = (struct retention_metric){day_of(day), name, rows};
}

/* One line a step: "samples 2024-02-29 drop day rows=10 files=5 rule=0 seal". */
static void
expect_plan(struct world *world, const char *now, const char *expected)
{
    struct retention_plan plan RETENTION_PLAN_AUTO = {0};
    struct buf text BUF_AUTO = {0};

    qsort(world->files, world->file_count, sizeof(world->files[0]), cold_file_compare);
    const struct retention_input input = {
        .rules = world->rules,
        .rule_count = world->rule_count,
        .files = world->files,
        .file_count = world->file_count,
        .hot = world->hot,
        .hot_count = world->hot_count,
        .metrics = world->metrics,
        .metric_count = world->metric_count,
        .now_us = time_of(now),
    };
    retention_plan_make(&input, &plan);
    buf_init(&text, 0);
    for (size_t i = 0; i < plan.count; i++) {
        const struct retention_step *step = &plan.steps[i];
        char day[COLD_DAY_TEXT];
        cold_day_format(step->day, day);
        buf_add_fmt(&text, "%s %s %s", catalog_table(step->table)->name, day,
                    retention_action_name(step->action));
        if (step->action == RETENTION_DROP_ROLLUP) {
            buf_add_fmt(&text, " %s", cold_kind_name(step->kind));
        }
        buf_add_fmt(&text, " rows=%llu files=%zu rule=", (unsigned long long)step->rows,
                    step->file_count);
        for (size_t rule = 0, told = 0; rule < world->rule_count; rule++) {
            if (step->rules >> rule & 1) {
                buf_add_fmt(&text, "%s%zu", told++ ? "+" : "", rule);
            }
        }
        buf_add_cstr(&text, step->seal_first ? " seal" : "");
        buf_add_cstr(&text, step->keep_rollups ? " keep" : "");
        for (size_t j = 0; j < step->metric_count; j++) {
            buf_add_fmt(&text, " %s=%llu", step->metrics[j].name,
                        (unsigned long long)step->metrics[j].rows);
        }
        buf_add_char(&text, '\n');
    }
    buf_add_char(&text, '\0');
    assert_string_equal(text.ptr, expected);
}

static void
test_retention_without_rules_keeps_everything(void **state)
{
    struct world world = {0};

    (void)state;
    add_day(&world, TABLE_SAMPLES, "2001-01-01");
    add_hot(&world, TABLE_TRADES, "2001-01-01", 5);
    expect_plan(&world, "2026-01-01", "");
}

static void
test_retention_drops_a_day_when_all_of_it_is_older(void **state)
{
    struct world world = {0};

    (void)state;
    add_rule(&world, "table=trades max_age=2d");
    add_day(&world, TABLE_TRADES, "2024-02-28");
    add_day(&world, TABLE_TRADES, "2024-02-29");
    add_day(&world, TABLE_TRADES, "2024-03-01");
    add_day(&world, TABLE_CANDLES, "2024-02-01");
    expect_plan(&world, "2024-03-01T23:59:59.999999", "");
    expect_plan(&world, "2024-03-02T00:00:00",
                "trades 2024-02-28 drop day rows=10 files=5 rule=0\n");
    expect_plan(&world, "2024-03-02T23:59:59.999999",
                "trades 2024-02-28 drop day rows=10 files=5 rule=0\n");
    expect_plan(&world, "2024-03-03T00:00:00",
                "trades 2024-02-28 drop day rows=10 files=5 rule=0\n"
                "trades 2024-02-29 drop day rows=10 files=5 rule=0\n");
}

static void
test_retention_never_drops_the_day_that_is_open(void **state)
{
    struct world world = {0};

    (void)state;
    add_rule(&world, "table=trades max_age=1s");
    add_rule(&world, "table=trades max_bytes=1B");
    add_day(&world, TABLE_TRADES, "2024-03-01");
    add_day(&world, TABLE_TRADES, "2024-03-05");
    add_hot(&world, TABLE_TRADES, "2024-03-01", 5);
    expect_plan(&world, "2024-03-01T23:59:59.999999", "");
    expect_plan(&world, "2024-03-02T00:00:00",
                "trades 2024-03-01 drop day rows=15 files=5 rule=1\n");
    expect_plan(&world, "2024-03-02T00:00:01",
                "trades 2024-03-01 drop day rows=15 files=5 rule=0\n");
}

static void
test_retention_of_rows_keeps_rollups_that_live_longer(void **state)
{
    struct world world = {0};

    (void)state;
    add_rule(&world, "table=metrics rollup=raw max_age=1d");
    add_rule(&world, "table=metrics rollup=1m max_age=10d");
    add_day(&world, TABLE_SAMPLES, "2024-03-01");
    add_hot(&world, TABLE_SAMPLES, "2024-03-02", 7);
    expect_plan(&world, "2024-03-04",
                "samples 2024-03-01 drop rows rows=10 files=1 rule=0\n"
                "samples 2024-03-02 drop rows rows=7 files=0 rule=0 seal\n");
    expect_plan(&world, "2024-03-12",
                "samples 2024-03-01 drop rows rows=10 files=1 rule=0\n"
                "samples 2024-03-01 drop rollup 1m rows=10 files=1 rule=1\n"
                "samples 2024-03-02 drop rows rows=7 files=0 rule=0 seal\n");
}

static void
test_retention_first_rule_that_fits_decides(void **state)
{
    struct world world = {0};

    (void)state;
    add_rule(&world, "table=metrics rollup=1d max_age=1000d");
    add_rule(&world, "table=metrics max_age=1d");
    add_rule(&world, "max_age=5d");
    add_day(&world, TABLE_SAMPLES, "2024-03-01");
    add_file(&world, TABLE_TRADES, COLD_RAW, "2024-03-01");
    expect_plan(&world, "2024-03-04",
                "samples 2024-03-01 drop rows rows=10 files=1 rule=1\n"
                "samples 2024-03-01 drop rollup 1m rows=10 files=1 rule=1\n"
                "samples 2024-03-01 drop rollup 5m rows=10 files=1 rule=1\n"
                "samples 2024-03-01 drop rollup 1h rows=10 files=1 rule=1\n");
    world.rules[0].max_age_us = TIME_US_PER_DAY;
    expect_plan(&world, "2024-03-08",
                "trades 2024-03-01 drop day rows=10 files=1 rule=2\n"
                "samples 2024-03-01 drop day rows=10 files=5 rule=0+1\n");
}

static void
test_retention_names_every_rule_that_a_day_goes_by(void **state)
{
    struct world world = {0};

    (void)state;
    add_rule(&world, "table=metrics rollup=raw max_age=1d");
    add_rule(&world, "table=metrics rollup=1m max_age=2d");
    add_rule(&world, "table=trades max_age=1d");
    add_rule(&world, "table=metrics max_age=3d");
    add_day(&world, TABLE_SAMPLES, "2024-03-01");
    add_file(&world, TABLE_SAMPLES, COLD_RAW, "2024-03-02");
    add_hot(&world, TABLE_SAMPLES, "2024-03-03", 7);
    add_file(&world, TABLE_TRADES, COLD_RAW, "2024-03-01");
    /* A rule that finds nothing to drop asked for nothing. */
    expect_plan(&world, "2024-03-08",
                "trades 2024-03-01 drop day rows=10 files=1 rule=2\n"
                "samples 2024-03-01 drop day rows=10 files=5 rule=0+1+3\n"
                "samples 2024-03-02 drop day rows=10 files=1 rule=0\n"
                "samples 2024-03-03 drop day rows=7 files=0 rule=0\n");
}

static void
test_retention_names_the_rules_of_all_metrics_that_go(void **state)
{
    struct world world = {0};
    struct buf text BUF_AUTO = {0};
    struct retention_step step = {.rules = 1 << 0 | 1 << 2};

    (void)state;
    add_rule(&world, "table=metrics metric=debug_* max_age=1d");
    add_rule(&world, "table=metrics metric=never_* max_age=1d");
    add_rule(&world, "table=metrics metric=load_* max_age=2d");
    add_file(&world, TABLE_SAMPLES, COLD_RAW, "2024-03-01");
    add_metric(&world, "2024-03-01", "debug_a", 4);
    add_metric(&world, "2024-03-01", "load_a", 6);
    expect_plan(&world, "2024-03-03",
                "samples 2024-03-01 drop metrics rows=4 files=0 rule=0 debug_a=4\n");
    expect_plan(&world, "2024-03-08", "samples 2024-03-01 drop day rows=10 files=1 rule=0+2\n");
    buf_init(&text, 0);
    retention_step_rules(&step, world.rules, &text);
    buf_add_char(&text, '\0');
    assert_string_equal(text.ptr, "table=metrics metric=debug_* max_age=1d; "
                                  "table=metrics metric=load_* max_age=2d");
}

static void
test_retention_drops_metrics_by_pattern(void **state)
{
    struct world world = {0};

    (void)state;
    add_rule(&world, "table=metrics metric=pnl_* max_age=1y");
    add_rule(&world, "table=metrics metric=debug_? rollup=raw max_age=1d");
    add_rule(&world, "table=metrics max_age=5d");
    add_day(&world, TABLE_SAMPLES, "2024-03-01");
    add_metric(&world, "2024-03-01", "debug_a", 2);
    add_metric(&world, "2024-03-01", "debug_long", 3);
    add_metric(&world, "2024-03-01", "pnl_x", 5);
    expect_plan(&world, "2024-03-04",
                "samples 2024-03-01 drop metrics rows=2 files=0 rule=1 keep debug_a=2\n");
    expect_plan(&world, "2024-03-08",
                "samples 2024-03-01 drop metrics rows=2 files=0 rule=1 keep debug_a=2\n"
                "samples 2024-03-01 drop metrics rows=3 files=0 rule=2 debug_long=3\n");
    expect_plan(&world, "2025-03-02", "samples 2024-03-01 drop day rows=10 files=5 rule=0+1+2\n");
}

static void
test_retention_drops_a_day_whose_metrics_all_go(void **state)
{
    struct world world = {0};

    (void)state;
    add_rule(&world, "table=metrics metric=debug_* rollup=raw max_age=1d");
    add_day(&world, TABLE_SAMPLES, "2024-03-01");
    add_metric(&world, "2024-03-01", "debug_a", 4);
    add_metric(&world, "2024-03-01", "debug_b", 6);
    expect_plan(&world, "2024-03-04", "samples 2024-03-01 drop rows rows=10 files=1 rule=0\n");
}

static void
test_retention_leaves_a_metric_whose_name_takes_others_along(void **state)
{
    struct world world = {0};

    (void)state;
    add_rule(&world, "table=metrics metric=load? max_age=1d");
    add_metric(&world, "2024-03-01", "load1", 6);
    add_metric(&world, "2024-03-01", "load?", 4);
    add_metric(&world, "2024-03-01", "loader", 6);
    add_file(&world, TABLE_SAMPLES, COLD_RAW, "2024-03-01");
    expect_plan(&world, "2024-03-04",
                "samples 2024-03-01 drop metrics rows=6 files=0 rule=0 load1=6\n");
}

static void
test_retention_by_size_takes_the_oldest_days(void **state)
{
    struct world world = {0};

    (void)state;
    add_rule(&world, "table=trades max_bytes=2000");
    add_rule(&world, "table=candles rollup=raw max_bytes=999");
    add_file(&world, TABLE_TRADES, COLD_RAW, "2024-02-26");
    add_file(&world, TABLE_TRADES, COLD_RAW, "2024-02-27");
    add_file(&world, TABLE_TRADES, COLD_RAW, "2024-02-28");
    add_file(&world, TABLE_TRADES, COLD_RAW, "2024-02-29");
    add_day(&world, TABLE_CANDLES, "2024-02-01");
    expect_plan(&world, "2024-03-04",
                "trades 2024-02-26 drop day rows=10 files=1 rule=0\n"
                "trades 2024-02-27 drop day rows=10 files=1 rule=0\n"
                "candles 2024-02-01 drop rows rows=10 files=1 rule=1\n");
    world.rules[0].max_bytes = 4000;
    world.rules[1].max_bytes = 1000;
    expect_plan(&world, "2024-03-04", "");
}

static void
test_retention_by_size_counts_hot_rows_and_what_age_took(void **state)
{
    struct world world = {0};

    (void)state;
    add_rule(&world, "table=trades max_age=3d max_bytes=1000");
    add_file(&world, TABLE_TRADES, COLD_RAW, "2024-02-26");
    add_file(&world, TABLE_TRADES, COLD_RAW, "2024-03-02");
    expect_plan(&world, "2024-03-04", "trades 2024-02-26 drop day rows=10 files=1 rule=0\n");
    add_hot(&world, TABLE_TRADES, "2024-03-03", 100);
    expect_plan(&world, "2024-03-04",
                "trades 2024-02-26 drop day rows=10 files=1 rule=0\n"
                "trades 2024-03-02 drop day rows=10 files=1 rule=0\n"
                "trades 2024-03-03 drop day rows=100 files=0 rule=0\n");
}

static void
test_retention_spares_the_event_log_unless_it_is_named(void **state)
{
    struct world world = {0};

    (void)state;
    add_rule(&world, "max_age=1d");
    add_file(&world, TABLE_EVENTS, COLD_RAW, "2024-02-01");
    expect_plan(&world, "2024-03-04", "");
    world.rule_count = 0;
    add_rule(&world, "table=api_event_log max_age=1d even_event_log=true");
    expect_plan(&world, "2024-03-04", "api_event_log 2024-02-01 drop day rows=10 files=1 rule=0\n");
}

static void
test_retention_after_its_own_work_finds_nothing(void **state)
{
    struct world world = {0};

    (void)state;
    add_rule(&world, "table=metrics rollup=raw max_age=1d");
    for (int kind = COLD_1M; kind < COLD_KIND_COUNT; kind++) {
        add_file(&world, TABLE_SAMPLES, (enum cold_kind)kind, "2024-03-01");
    }
    expect_plan(&world, "2024-03-09", "");
}

static void
test_retention_rule_reads_all_its_parts(void **state)
{
    struct retention_rule rule;
    struct err err = {0};

    (void)state;
    assert_int_equal(retention_rule_parse(SLICE_LITERAL("  table=metrics  metric=a*b? rollup=raw "
                                                        "max_age=90m "),
                                          &rule, &err),
                     ERR_OK);
    assert_int_equal(rule.table, TABLE_SAMPLES);
    assert_string_equal(rule.metric, "a*b?");
    assert_int_equal(rule.kind, COLD_RAW);
    assert_int_equal(rule.max_age_us, 90 * 60 * TIME_US_PER_S);
    assert_string_equal(rule.text, "table=metrics  metric=a*b? rollup=raw max_age=90m");
    assert_int_equal(
        retention_rule_parse(SLICE_LITERAL("table=trades max_bytes=2GiB"), &rule, &err), ERR_OK);
    assert_int_equal(rule.max_bytes, INT64_C(2) << 30);
    assert_int_equal(rule.kind, COLD_KIND_COUNT);
}

static void
test_retention_rule_names_what_is_wrong(void **state)
{
    static const struct {
        const char *text;
        const char *says;
    } bad[] = {
        {"", "max_age, max_bytes"},
        {"table=trades", "max_age, max_bytes"},
        {"table=tradez max_age=1d", "did you mean trades"},
        {"table=reservation_changes max_age=1d", "sealed"},
        {"table=series max_age=1d", "sealed"},
        {"table=trades max_age=1", "max_age is \"1\""},
        {"table=trades max_age=0d", "max_age is \"0d\""},
        {"table=trades max_age=-1d", "max_age is \"-1d\""},
        {"table=trades max_age=99999999999y", "max_age"},
        {"table=trades max_bytes=many", "max_bytes is \"many\""},
        {"max_bytes=1GB", "needs a table"},
        {"table=trades metric=a max_age=1d", "metric needs table=metrics"},
        {"table=metrics metric=a rollup=1h max_age=1d", "rollup=raw"},
        {"table=metrics metric=a max_bytes=1GB", "max_age alone"},
        {"table=metrics metric= max_age=1d", "metric is \"\""},
        {"table=metrics rollup=2h max_age=1d", "raw, 1m, 5m, 1h or 1d"},
        {"table=api_event_log max_age=1d", "even_event_log=true"},
        {"table=trades max_age=1d even_event_log=yes", "true or false"},
        {"table=trades max_agr=1d", "\"max_agr\" is no part"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct retention_rule rule;
        struct err err = {0};
        assert_int_equal(retention_rule_parse(slice_of(bad[i].text), &rule, &err), ERR_INVALID);
        if (!strstr(err.msg, bad[i].says)) {
            fail_msg("%s: %s", bad[i].text, err.msg);
        }
    }
}

static void
test_retention_patterns(void **state)
{
    static const struct {
        const char *pattern;
        const char *name;
        bool matches;
    } cases[] = {
        {"*", "", true},
        {"*", "a", true},
        {"", "", true},
        {"", "a", false},
        {"a*", "a", true},
        {"a*", "ba", false},
        {"*a", "ba", true},
        {"*a*b", "xaxxbxb", true},
        {"*a*b", "xaxxbx", false},
        {"a?c", "abc", true},
        {"a?c", "ac", false},
        {"a?c",
         "a\xC3\xA4"
         "c",
         true},
        {"?", "\xE2\x82\xAC", true},
        {"??", "\xE2\x82\xAC", false},
        {"%_", "%_", true},
        {"a_c", "abc", false},
        {"**", "abc", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (retention_matches(cases[i].pattern, cases[i].name) != cases[i].matches) {
            fail_msg("%s on %s", cases[i].pattern, cases[i].name);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retention_without_rules_keeps_everything),
        cmocka_unit_test(test_retention_drops_a_day_when_all_of_it_is_older),
        cmocka_unit_test(test_retention_never_drops_the_day_that_is_open),
        cmocka_unit_test(test_retention_of_rows_keeps_rollups_that_live_longer),
        cmocka_unit_test(test_retention_first_rule_that_fits_decides),
        cmocka_unit_test(test_retention_names_every_rule_that_a_day_goes_by),
        cmocka_unit_test(test_retention_names_the_rules_of_all_metrics_that_go),
        cmocka_unit_test(test_retention_drops_metrics_by_pattern),
        cmocka_unit_test(test_retention_drops_a_day_whose_metrics_all_go),
        cmocka_unit_test(test_retention_leaves_a_metric_whose_name_takes_others_along),
        cmocka_unit_test(test_retention_by_size_takes_the_oldest_days),
        cmocka_unit_test(test_retention_by_size_counts_hot_rows_and_what_age_took),
        cmocka_unit_test(test_retention_spares_the_event_log_unless_it_is_named),
        cmocka_unit_test(test_retention_after_its_own_work_finds_nothing),
        cmocka_unit_test(test_retention_rule_reads_all_its_parts),
        cmocka_unit_test(test_retention_rule_names_what_is_wrong),
        cmocka_unit_test(test_retention_patterns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
