/* Options into definitions of budgets, and database paths into data directories. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/mem.h"
#include "cli/eventlog_place.h"
#include "cli/spend_def.h"

enum { WORDS_MAX = 24 };

/* What `eider spend set x WORDS` makes of a definition, or the message why not. */
static void
expect(const char *const *words, const char *before, const char *expected)
{
    struct cli *cli = mem_zalloc(1, sizeof(*cli));
    char *argv[WORDS_MAX + 4];
    int argc = 0;
    json_t *old = before ? json_loads(before, 0, NULL) : NULL;
    json_t *made = NULL;
    struct err err = {0};
    static const char *const start[] = {"eider", "spend", "set", "x"};

    for (; argc < 4; argc++) {
        argv[argc] = mem_strdup(slice_of(start[argc]));
    }
    for (; words[argc - 4]; argc++) {
        argv[argc] = mem_strdup(slice_of(words[argc - 4]));
    }
    enum err_code code = cli_parse(cli, argc, argv, &err);
    if (code == ERR_OK) {
        code = spend_definition(cli, old, &made, &err);
    }
    if (code == ERR_OK) {
        char *text = json_dumps(made, JSON_COMPACT | JSON_SORT_KEYS);
        assert_string_equal(text, expected);
        free(text);
    } else {
        assert_string_equal(err.msg, expected);
        assert_int_equal(code, ERR_USAGE);
    }
    json_decref(made);
    json_decref(old);
    for (int i = 0; i < argc; i++) {
        free(argv[i]);
    }
    free(cli);
}

#define WORDS(...)                                                                                 \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

static void
test_definition_takes_every_option(void **state)
{
    (void)state;
    expect(WORDS("--limit", "1000.000001", "--soft-limit", "800", "--window", "24h", "--scope",
                 "api=birdeye", "--scope", "run_id=*", "--mode", "metrics-only", "--probes", "0",
                 "--pause", "1m", "--description", "a b"),
           NULL,
           "{\"description\":\"a b\",\"half_open_pause_ms\":60000,\"half_open_probes\":0,"
           "\"hard_limit\":\"1000.000001\",\"mode\":\"metrics_only\",\"scope\":{\"api\":"
           "\"birdeye\",\"run_id\":\"*\"},\"soft_limit\":\"800\",\"window\":\"sliding\","
           "\"window_minutes\":1440}");
    expect(WORDS("--limit=5", "--mode=force-open"), NULL,
           "{\"hard_limit\":\"5\",\"mode\":\"forced_open\"}");
}

static void
test_definition_keeps_what_is_not_given(void **state)
{
    static const char before[] =
        "{\"name\":\"x\",\"scope\":{\"api\":\"a\"},\"window\":\"sliding\",\"window_minutes\":60,"
        "\"hard_limit\":7,\"instances\":[{}],\"mode\":\"enforce\"}";

    (void)state;
    expect(WORDS("--window", "day"), before,
           "{\"hard_limit\":7,\"mode\":\"enforce\",\"scope\":{\"api\":\"a\"},\"window\":\"day\"}");
    expect(WORDS("--scope", "none", "--limit", "8"), before,
           "{\"hard_limit\":\"8\",\"mode\":\"enforce\",\"scope\":{},\"window\":\"sliding\","
           "\"window_minutes\":60}");
}

static void
test_definition_says_what_is_wrong(void **state)
{
    (void)state;
    expect(WORDS("--window", "60m"), NULL,
           "spend: a new budget needs --limit CREDITS; --window and --scope say of what");
    expect(WORDS("--limit", "-1"), NULL,
           "spend: --limit is \"-1\"; expected credits, 0 or more with at most 6 decimals");
    expect(WORDS("--limit", "0.0000001"), NULL,
           "spend: --limit is \"0.0000001\"; expected credits, 0 or more with at most 6 decimals");
    expect(WORDS("--limit", "1", "--window", "90s"), NULL,
           "spend: --window is \"90s\"; expected hour, day or month (of the calendar, UTC), or the "
           "length of a sliding window such as 60m, 24h or 7d");
    expect(WORDS("--limit", "1", "--scope", "apis=x"), NULL,
           "spend: --scope is \"apis=x\"; expected api=, endpoint=, key=, run_id= or project= with "
           "a value, or * for a counter of each value");
    expect(WORDS("--limit", "1", "--scope", "api"), NULL,
           "spend: --scope is \"api\"; expected api=, endpoint=, key=, run_id= or project= with a "
           "value, or * for a counter of each value");
    expect(WORDS("--limit", "1", "--pause", "soon"), NULL,
           "spend: --pause is \"soon\"; expected a time such as 10s or 5m");
    expect(WORDS("--limit", "1", "--mode", "off"), NULL,
           "spend: --mode is \"off\"; expected enforce, metrics-only or force-open");
}

static void
test_duration_reads_units(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        {"250ms", 250},    {"10s", 10000},  {"5m", 300000},
        {"5 min", 300000}, {"2h", 7200000}, {"7d", 604800000},
        {"1w", 604800000}, {"3", 3000},     {"0s", -1},
        {"", -1},          {"s", -1},       {"1x", -1},
        {"-1s", -1},       {"1.5h", -1},    {"99999999999999999w", -1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t ms = -1;
        if (!spend_duration_ms(cases[i].text, 1000, &ms)) {
            ms = -1;
        }
        if (ms != cases[i].ms) {
            fail_msg("%s: %lld", cases[i].text, (long long)ms);
        }
    }
}

static void
test_place_is_the_path_with_another_suffix(void **state)
{
    static const char *const cases[][2] = {
        {"data/event_log.duckdb", "data/event_log.eider"},
        {"a.duckdb/b.db", "a.duckdb/b.eider"},
        {"log", "log.eider"},
        {".duckdb", ".duckdb.eider"},
        {"x/.db", "x/.db.eider"},
        {"x.DUCKDB", "x.DUCKDB.eider"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *made = place_derive(cases[i][0]);
        assert_string_equal(made, cases[i][1]);
        free(made);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definition_takes_every_option),
        cmocka_unit_test(test_definition_keeps_what_is_not_given),
        cmocka_unit_test(test_definition_says_what_is_wrong),
        cmocka_unit_test(test_duration_reads_units),
        cmocka_unit_test(test_place_is_the_path_with_another_suffix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
