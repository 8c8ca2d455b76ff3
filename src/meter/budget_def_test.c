/* Definitions of budgets as JSON. */
#include "meter/budget.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/id.h"
#include "codec/decimal.h"
#include "codec/time.h"

#define MINUTE_US (60 * TIME_US_PER_S)

static enum err_code
parse(const char *json, struct budget_def *def, struct err *err)
{
    return budget_def_parse(slice_of(json), "b", def, err);
}

static void
test_definition_is_read_with_defaults(void **state)
{
    struct budget_def def;
    struct err err;

    (void)state;
    assert_int_equal(ERR_OK, parse("{\"hard_limit\": 2.5}", &def, &err));
    assert_string_equal("b", def.name);
    assert_int_equal(WINDOW_SLIDING, def.window);
    assert_int_equal(60 * MINUTE_US, def.window_us);
    assert_int_equal(2500000, def.hard_limit);
    assert_int_equal(0, def.soft_limit);
    assert_int_equal(BUDGET_ENFORCE, def.mode);
    assert_int_equal(1, def.half_open_probes);
    assert_int_equal(10 * TIME_US_PER_S, def.half_open_pause_us);
    for (int i = 0; i < DIM_COUNT; i++) {
        assert_false(def.has_value[i]);
    }
    assert_int_equal(ERR_OK, parse("{\"scope\": \"global\", \"hard_limit\": \"0.000001\", "
                                   "\"name\": \"b\", \"soft_limit\": null, \"description\": null}",
                                   &def, &err));
    assert_int_equal(1, def.hard_limit);
}

static void
test_bad_definitions_are_told_what_is_wrong(void **state)
{
    static const struct {
        const char *json, *says;
        enum err_code code;
    } cases[] = {
        {"", "", ERR_SYNTAX},
        {"{", "", ERR_SYNTAX},
        {"{\"hard_limit\": 1} x", "", ERR_SYNTAX},
        {"{\"hard_limit\": 1,}", "", ERR_SYNTAX},
        {"{\"scope\": {\"api\"", "", ERR_SYNTAX},
        {"{\"scope\": {\"api\": [1,", "", ERR_SYNTAX},
        {"[]", "object", ERR_INVALID},
        {"1", "object", ERR_INVALID},
        {"{}", "hard_limit is missing", ERR_INVALID},
        {"{\"hard_limit\": -1}", "hard_limit is -1", ERR_INVALID},
        {"{\"hard_limit\": 0.0000001}", "hard_limit is 0.0000001", ERR_INVALID},
        {"{\"hard_limit\": 1000000000000}", "hard_limit is 1000000000000", ERR_INVALID},
        {"{\"hard_limit\": 1e99}", "hard_limit is 1e99", ERR_INVALID},
        {"{\"hard_limit\": true}", "hard_limit is true", ERR_INVALID},
        {"{\"hard_limit\": null}", "hard_limit is null", ERR_INVALID},
        {"{\"hard_limit\": {\"a\": 1}}", "hard_limit is {", ERR_INVALID},
        {"{\"hard_limit\": \"x\"}", "hard_limit is x", ERR_INVALID},
        {"{\"hard_limit\": 1, \"soft_limit\": 2}", "soft_limit is above", ERR_INVALID},
        {"{\"hard_limit\": 1, \"soft_limit\": -2}", "soft_limit is -2", ERR_INVALID},
        {"{\"hard_limit\": 1, \"window\": \"week\"}", "window is week", ERR_INVALID},
        {"{\"hard_limit\": 1, \"window\": 5}", "window is 5", ERR_INVALID},
        {"{\"hard_limit\": 1, \"window_minutes\": 0}", "window_minutes is 0", ERR_INVALID},
        {"{\"hard_limit\": 1, \"window_minutes\": 1.5}", "window_minutes is 1.5", ERR_INVALID},
        {"{\"hard_limit\": 1, \"window_minutes\": 44641}", "from 1 to 44640", ERR_INVALID},
        {"{\"hard_limit\": 1, \"window_minutes\": \"5\"}", "window_minutes is 5", ERR_INVALID},
        {"{\"hard_limit\": 1, \"mode\": \"on\"}", "mode is on", ERR_INVALID},
        {"{\"hard_limit\": 1, \"half_open_probes\": -1}", "half_open_probes is -1", ERR_INVALID},
        {"{\"hard_limit\": 1, \"half_open_probes\": 1001}", "0 to 1000", ERR_INVALID},
        {"{\"hard_limit\": 1, \"half_open_pause_ms\": 3600001}", "0 to 3600000", ERR_INVALID},
        {"{\"hard_limit\": 1, \"name\": \"c\"}", "name is c", ERR_INVALID},
        {"{\"hard_limit\": 1, \"name\": \"\"}", "name is ", ERR_INVALID},
        {"{\"hard_limit\": 1, \"name\": \"a b\"}", "name is a b", ERR_INVALID},
        {"{\"hard_limit\": 1, \"name\": 7}", "name is 7", ERR_INVALID},
        {"{\"hard_limit\": 1, \"scope\": []}", "scope is ", ERR_INVALID},
        {"{\"hard_limit\": 1, \"scope\": \"all\"}", "scope is all", ERR_INVALID},
        {"{\"hard_limit\": 1, \"scope\": {\"user\": \"x\"}}", "scope.user is unknown", ERR_INVALID},
        {"{\"hard_limit\": 1, \"scope\": {\"api\": \"\"}}", "scope.api is ", ERR_INVALID},
        {"{\"hard_limit\": 1, \"scope\": {\"api\": 5}}", "scope.api is 5", ERR_INVALID},
        {"{\"hard_limit\": 1, \"scope\": {\"api\": {\"x\": 1}}}", "scope.api is {", ERR_INVALID},
        {"{\"hard_limit\": 1, \"scope\": {\"api\": \"a\\u0000b\"}}", "scope.api is", ERR_INVALID},
        {"{\"hard_limit\": 1, \"description\": \"a\\u0000b\"}", "description is", ERR_INVALID},
        {"{\"hard_limit\": 1, \"description\": 5}", "description is 5", ERR_INVALID},
        {"{\"hard_limits\": 1}", "hard_limits is unknown", ERR_INVALID},
    };
    struct budget_def def;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = {0};
        budget_def_init(&def, "untouched");
        if (parse(cases[i].json, &def, &err) != cases[i].code || !strstr(err.msg, cases[i].says)) {
            fail_msg("%s: %d %s", cases[i].json, (int)err.code, err.msg);
        }
        assert_string_equal("untouched", def.name);
    }
    struct err err = {0};
    assert_int_equal(ERR_INVALID,
                     budget_def_parse(slice_of("{\"hard_limit\": 1}"), NULL, &def, &err));
    assert_non_null(strstr(err.msg, "name is missing"));
}

static void
test_long_texts_are_refused_by_the_byte(void **state)
{
    char json[1024];
    char text[300];
    struct budget_def def;
    struct err err;

    (void)state;
    memset(text, 'v', sizeof(text));
    for (int extra = 0; extra <= 1; extra++) {
        enum err_code expected = extra ? ERR_INVALID : ERR_OK;
        snprintf(json, sizeof(json), "{\"hard_limit\": 1, \"scope\": {\"key\": \"%.*s\"}}",
                 BUDGET_VALUE_MAX + extra, text);
        assert_int_equal(expected, parse(json, &def, &err));
        snprintf(json, sizeof(json), "{\"hard_limit\": 1, \"description\": \"%.*s\"}", 255 + extra,
                 text);
        assert_int_equal(expected, parse(json, &def, &err));
        snprintf(json, sizeof(json), "{\"hard_limit\": 1, \"name\": \"%.*s\"}",
                 BUDGET_NAME_MAX + extra, text);
        assert_int_equal(expected, budget_def_parse(slice_of(json), NULL, &def, &err));
    }
}

static void
test_definitions_survive_being_written(void **state)
{
    struct rng rng;

    (void)state;
    rng_init(&rng, 7);
    for (int i = 0; i < 2000; i++) {
        struct buf json BUF_AUTO = {0};
        struct budget_def def;
        struct budget_def read;
        struct err err = {0};
        budget_def_init(&def, "b-1._X");
        def.window = (enum budget_window)rng_below(&rng, 4);
        if (def.window == WINDOW_SLIDING) {
            def.window_us = (int64_t)(1 + rng_below(&rng, BUDGET_WINDOW_MINUTES_MAX)) * MINUTE_US;
        }
        def.hard_limit = (int64_t)rng_below(&rng, (uint64_t)DECIMAL_MAX + 1);
        def.soft_limit = (int64_t)rng_below(&rng, (uint64_t)def.hard_limit + 1);
        def.mode = (enum budget_mode)rng_below(&rng, 3);
        def.half_open_probes = (unsigned)rng_below(&rng, 1001);
        def.half_open_pause_us = (int64_t)rng_below(&rng, 3600001) * TIME_US_PER_MS;
        for (int d = 0; d < DIM_COUNT; d++) {
            def.has_value[d] = rng_below(&rng, 2);
            snprintf(def.value[d], sizeof(def.value[d]), "%s",
                     !def.has_value[d]    ? ""
                     : rng_below(&rng, 2) ? "*"
                                          : "a \"b\"\n\xc3\xa9\\");
        }
        snprintf(def.description, sizeof(def.description), "%s",
                 rng_below(&rng, 2) ? "" : "what \"for\"\t");
        buf_init(&json, 65536);
        budget_def_write(&def, &json);
        assert_int_equal(ERR_OK, budget_def_parse(buf_slice(&json), NULL, &read, &err));
        struct buf again BUF_AUTO = {0};
        buf_init(&again, 65536);
        budget_def_write(&read, &again);
        assert_true(slice_eq(buf_slice(&json), buf_slice(&again)));
        assert_int_equal(def.hard_limit, read.hard_limit);
        assert_int_equal(def.soft_limit, read.soft_limit);
        assert_int_equal(def.window, read.window);
        assert_int_equal(def.window_us, read.window_us);
        assert_int_equal(def.mode, read.mode);
        assert_int_equal(def.half_open_probes, read.half_open_probes);
        assert_int_equal(def.half_open_pause_us, read.half_open_pause_us);
        assert_memory_equal(def.has_value, read.has_value, sizeof(def.has_value));
        for (int d = 0; d < DIM_COUNT; d++) {
            assert_string_equal(def.value[d], read.value[d]);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definition_is_read_with_defaults),
        cmocka_unit_test(test_bad_definitions_are_told_what_is_wrong),
        cmocka_unit_test(test_long_texts_are_refused_by_the_byte),
        cmocka_unit_test(test_definitions_survive_being_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
