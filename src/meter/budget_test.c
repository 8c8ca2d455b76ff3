/* Budgets: definitions as JSON; counters and breakers against a model that adds up lists. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/id.h"
#include "base/mem.h"
#include "codec/decimal.h"
#include "codec/time.h"
#include "meter/budget.h"

#define START_US INT64_C(1767225600000000) /* 2026-01-01 */
#define MINUTE_US (60 * TIME_US_PER_S)
#define HOUR_US (60 * MINUTE_US)

enum { BUDGETS = 5, NAMES = 3, KEYS = NAMES * (NAMES + 1), STEPS = 400, LIVES = 150, HOLDS = 16 };

/* ---- definitions ---- */

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

/* ---- a model: lists of entries, added up each time ---- */

struct entry {
    int64_t at_us, credits;
};

struct counter {
    bool seen;
    struct entry entries[STEPS];
    size_t count;
    int64_t reserved, pause_until_us;
    enum breaker_state state;
    unsigned probes;
};

struct model_hold {
    bool used;
    unsigned api, run;
    int64_t credits;
    bool probe[BUDGETS];
    struct budget_hold hold;
};

struct life {
    uint64_t seed;
    struct rng rng;
    int64_t now_us;
    struct budgets *budgets;
    struct budget_def defs[BUDGETS];
    int64_t reset_us[BUDGETS];
    size_t count;
    struct counter counters[BUDGETS][KEYS];
    struct model_hold holds[HOLDS];
};

static const char *const apis[NAMES] = {"alpha", "beta", "gamma"};
static const char *const runs[NAMES + 1] = {"r0", "r1", "r2", ""};

static uint64_t
below(struct life *life, uint64_t bound)
{
    return rng_below(&life->rng, bound);
}

static int64_t
from_of(const struct budget_def *def, int64_t now_us)
{
    static const int days[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};
    int64_t since_us = now_us - START_US; /* a new year's midnight */
    int month = 0;

    if (def->window == WINDOW_SLIDING) {
        return now_us - def->window_us;
    }
    if (def->window == WINDOW_MONTH) {
        while (days[month + 1] * TIME_US_PER_DAY <= since_us) {
            month++;
        }
        return START_US + days[month] * TIME_US_PER_DAY;
    }
    int64_t unit = def->window == WINDOW_HOUR ? HOUR_US : TIME_US_PER_DAY;
    return START_US + since_us / unit * unit;
}

static bool
is_each(const struct budget_def *def, enum budget_dimension dimension)
{
    return def->has_value[dimension] && def->value[dimension][0] == '*';
}

/* The counter of a budget for a call, or NULL. */
static struct counter *
counter_of(struct life *life, size_t b, unsigned api, unsigned run)
{
    const struct budget_def *def = &life->defs[b];

    if (def->has_value[DIM_API] && !is_each(def, DIM_API) &&
        strcasecmp(def->value[DIM_API], apis[api]) != 0) {
        return NULL;
    }
    if (def->has_value[DIM_RUN_ID] &&
        (is_each(def, DIM_RUN_ID) ? run == NAMES
                                  : strcmp(def->value[DIM_RUN_ID], runs[run]) != 0)) {
        return NULL;
    }
    size_t key =
        (is_each(def, DIM_API) ? api : 0) * (NAMES + 1) + (is_each(def, DIM_RUN_ID) ? run : 0);
    life->counters[b][key].seen = true;
    return &life->counters[b][key];
}

static int64_t
used_of(const struct life *life, size_t b, const struct counter *counter)
{
    int64_t from_us = from_of(&life->defs[b], life->now_us);
    int64_t used = 0;

    for (size_t i = 0; i < counter->count; i++) {
        int64_t at_us = counter->entries[i].at_us;
        used += at_us >= from_us && at_us >= life->reset_us[b] ? counter->entries[i].credits : 0;
    }
    return used;
}

static void
refresh(const struct life *life, size_t b, struct counter *counter)
{
    const struct budget_def *def = &life->defs[b];
    int64_t used = used_of(life, b, counter);
    bool spent = used > 0 && used >= def->hard_limit;

    if (counter->state != BREAKER_OPEN && spent) {
        counter->state = BREAKER_OPEN;
    } else if (counter->state == BREAKER_OPEN && !spent &&
               life->now_us >= counter->pause_until_us) {
        counter->state = def->half_open_probes > 0 ? BREAKER_HALF_OPEN : BREAKER_CLOSED;
    }
}

static enum refusal_reason
judge(const struct life *life, size_t b, const struct counter *counter, int64_t credits)
{
    const struct budget_def *def = &life->defs[b];

    if (def->mode == BUDGET_FORCED_OPEN) {
        return REFUSED_FORCED;
    }
    if (credits > def->hard_limit) {
        return REFUSED_NEVER;
    }
    if (counter->state == BREAKER_OPEN) {
        return REFUSED_OPEN;
    }
    if (counter->state == BREAKER_HALF_OPEN && counter->probes >= def->half_open_probes) {
        return REFUSED_PROBES;
    }
    return used_of(life, b, counter) + counter->reserved + credits > def->hard_limit
               ? REFUSED_WOULD_EXCEED
               : REFUSED_NOT;
}

static struct call_scope
scope_of(unsigned api, unsigned run)
{
    return (struct call_scope){
        .values = {[DIM_API] = slice_of(apis[api]), [DIM_RUN_ID] = slice_of(runs[run])}};
}

static void
refresh_all(struct life *life)
{
    for (size_t b = 0; b < life->count; b++) {
        for (size_t k = 0; k < KEYS; k++) {
            refresh(life, b, &life->counters[b][k]);
        }
    }
}

/* What each says to a call; whether one that decides refuses. */
static bool
ask(struct life *life, unsigned api, unsigned run, int64_t credits,
    enum refusal_reason reasons[BUDGETS])
{
    bool refused = false;

    for (size_t b = 0; b < life->count; b++) {
        struct counter *counter = counter_of(life, b, api, run);
        reasons[b] = counter && life->defs[b].mode != BUDGET_METRICS_ONLY
                         ? judge(life, b, counter, credits)
                         : REFUSED_NOT;
        refused = refused || reasons[b] != REFUSED_NOT;
    }
    return refused;
}

static void
check_refusal(const struct life *life, const struct refusal *refusal,
              const enum refusal_reason reasons[BUDGETS])
{
    size_t b = (size_t)(refusal->budget[1] - '0');

    assert_in_range(b, 0, life->count - 1);
    assert_int_equal(reasons[b], refusal->reason);
    assert_int_equal(life->defs[b].hard_limit, refusal->limit);
    bool helps = refusal->reason != REFUSED_NEVER && refusal->reason != REFUSED_FORCED;
    assert_int_equal(helps, refusal->retry_after_us > 0);
}

static void
step_reserve(struct life *life)
{
    struct model_hold *hold = &life->holds[below(life, HOLDS)];
    enum refusal_reason reasons[BUDGETS];
    struct refusal refusal = {.reason = REFUSED_NOT};

    if (hold->used) {
        return;
    }
    *hold = (struct model_hold){.api = (unsigned)below(life, NAMES),
                                .run = (unsigned)below(life, NAMES + 1),
                                .credits = (int64_t)below(life, 40)};
    struct call_scope scope = scope_of(hold->api, hold->run);
    bool refused = ask(life, hold->api, hold->run, hold->credits, reasons);
    assert_int_equal(!refused,
                     budgets_check(life->budgets, &scope, hold->credits, life->now_us, &refusal));
    bool passed =
        budgets_reserve(life->budgets, &scope, hold->credits, life->now_us, &hold->hold, &refusal);
    assert_int_equal(!refused, passed);
    if (refused) {
        check_refusal(life, &refusal, reasons);
        return;
    }
    hold->used = true;
    for (size_t b = 0; b < life->count; b++) {
        struct counter *counter = counter_of(life, b, hold->api, hold->run);
        if (counter) {
            counter->reserved += hold->credits;
            hold->probe[b] =
                counter->state == BREAKER_HALF_OPEN && life->defs[b].mode == BUDGET_ENFORCE;
            counter->probes += hold->probe[b];
        }
    }
}

static void
count(struct life *life, unsigned api, unsigned run, int64_t at_us, int64_t credits)
{
    struct call_scope scope = scope_of(api, run);

    budgets_count(life->budgets, &scope, at_us, credits, life->now_us);
    for (size_t b = 0; b < life->count; b++) {
        struct counter *counter = counter_of(life, b, api, run);
        if (counter) {
            counter->entries[counter->count++] = (struct entry){at_us, credits};
            refresh(life, b, counter);
        }
    }
}

/* A reservation ends: committed (and booked), or given back. */
static void
step_end(struct life *life)
{
    struct model_hold *hold = &life->holds[below(life, HOLDS)];
    bool commits = below(life, 3) > 0;
    bool success = below(life, 3) > 0;

    if (!hold->used) {
        return;
    }
    budgets_release(life->budgets, &hold->hold, hold->credits, !commits);
    for (size_t b = 0; b < life->count; b++) {
        struct counter *counter = counter_of(life, b, hold->api, hold->run);
        if (counter) {
            counter->reserved -= hold->credits;
            counter->probes -= hold->probe[b] && !commits;
        }
    }
    if (commits) {
        count(life, hold->api, hold->run, life->now_us, hold->credits);
        budgets_probe_done(life->budgets, &hold->hold, success, life->now_us);
        budgets_release(life->budgets, &hold->hold, 0, true);
        for (size_t b = 0; b < life->count; b++) {
            struct counter *counter = counter_of(life, b, hold->api, hold->run);
            if (!counter || !hold->probe[b]) {
                continue;
            }
            counter->probes--;
            if (counter->state == BREAKER_HALF_OPEN) {
                counter->state = success ? BREAKER_CLOSED : BREAKER_OPEN;
                counter->pause_until_us = success ? counter->pause_until_us
                                                  : life->now_us + life->defs[b].half_open_pause_us;
            }
        }
    }
    budget_hold_fini(&hold->hold);
    hold->used = false;
}

static void
step_extend(struct life *life)
{
    struct model_hold *hold = &life->holds[below(life, HOLDS)];
    int64_t more = (int64_t)below(life, 15);
    struct refusal refusal;
    bool fits = true;

    if (!hold->used) {
        return;
    }
    for (size_t b = 0; b < life->count; b++) {
        struct counter *counter = counter_of(life, b, hold->api, hold->run);
        fits = fits &&
               (!counter || life->defs[b].mode == BUDGET_METRICS_ONLY ||
                used_of(life, b, counter) + counter->reserved + more <= life->defs[b].hard_limit);
    }
    assert_int_equal(fits,
                     budgets_extend(life->budgets, &hold->hold, more, life->now_us, &refusal));
    for (size_t b = 0; fits && b < life->count; b++) {
        struct counter *counter = counter_of(life, b, hold->api, hold->run);
        if (counter) {
            counter->reserved += more;
        }
    }
    hold->credits += fits ? more : 0;
}

static void
step_operator(struct life *life)
{
    size_t b = below(life, life->count);

    if (below(life, 3) > 0) {
        life->defs[b].mode = (enum budget_mode)below(life, 3);
        assert_true(budgets_set_mode(life->budgets, life->defs[b].name, life->defs[b].mode));
        return;
    }
    /* What was booked in the very microsecond of a reset may be on either side of it. */
    life->now_us = budgets_time(life->budgets, life->now_us + 1);
    assert_true(budgets_reset(life->budgets, life->defs[b].name, life->now_us));
    life->reset_us[b] = life->now_us;
    for (size_t k = 0; k < KEYS; k++) {
        life->counters[b][k].state = BREAKER_CLOSED;
        life->counters[b][k].pause_until_us = INT64_MIN;
    }
}

static void
step_time(struct life *life)
{
    static const int64_t spans_us[] = {1,       TIME_US_PER_S, 20 * TIME_US_PER_S, MINUTE_US,
                                       HOUR_US, 7 * HOUR_US,   30 * HOUR_US,       MINUTE_US - 1};

    life->now_us = budgets_time(life->budgets, life->now_us + spans_us[below(life, 8)]);
    assert_int_equal(life->now_us, budgets_time(life->budgets, life->now_us - HOUR_US));
}

static size_t
key_of_view(const struct budget_view *view)
{
    const char *api = strstr(view->instance, "api=");
    const char *run = strstr(view->instance, "run_id=r");
    size_t key = run ? (size_t)(run[strlen("run_id=r")] - '0') : 0;

    return key + (api ? (api[4] == 'a' ? 0 : api[4] == 'b' ? 1U : 2U) * (NAMES + 1) : 0);
}

static void
check(struct life *life)
{
    struct budget_view view;

    refresh_all(life);
    for (size_t i = 0; budgets_view_at(life->budgets, i, life->now_us, &view); i++) {
        size_t b = (size_t)(view.def->name[1] - '0');
        const struct counter *counter = &life->counters[b][key_of_view(&view)];
        if (view.used != used_of(life, b, counter) || view.reserved != counter->reserved ||
            view.state != counter->state || view.probes_out != counter->probes) {
            fail_msg("seed %d, %s %s: used %d %d, reserved %d %d, state %d %d, probes %u %u",
                     (int)life->seed, view.def->name, view.instance, (int)view.used,
                     (int)used_of(life, b, counter), (int)view.reserved, (int)counter->reserved,
                     (int)view.state, (int)counter->state, view.probes_out, counter->probes);
        }
    }
}

static void
step(struct life *life)
{
    uint64_t die = below(life, 100);

    if (die < 35) {
        step_reserve(life);
    } else if (die < 60) {
        step_end(life);
    } else if (die < 65) {
        step_extend(life);
    } else if (die < 80) {
        int64_t back_us = below(life, 2) ? 0 : (int64_t)below(life, (uint64_t)(3 * HOUR_US));
        count(life, (unsigned)below(life, NAMES), (unsigned)below(life, NAMES + 1),
              life->now_us - back_us, (int64_t)below(life, 30) - 4);
    } else if (die < 83) {
        step_operator(life);
    } else {
        step_time(life);
    }
    check(life);
}

static void
make_budget(struct life *life, size_t b)
{
    struct budget_def *def = &life->defs[b];
    char name[8];
    struct err err;
    bool filling;

    snprintf(name, sizeof(name), "b%u", (unsigned)b);
    budget_def_init(def, name);
    def->window = (enum budget_window)below(life, 4);
    def->window_us = (int64_t)(1 + below(life, 180)) * MINUTE_US;
    def->hard_limit = (int64_t)below(life, 120);
    def->half_open_probes = (unsigned)below(life, 3);
    def->half_open_pause_us = (int64_t)below(life, 90) * TIME_US_PER_S;
    def->has_value[DIM_API] = below(life, 2);
    snprintf(def->value[DIM_API], sizeof(def->value[DIM_API]), "%s",
             below(life, 2) ? "*" : "Alpha");
    def->has_value[DIM_RUN_ID] = below(life, 2);
    snprintf(def->value[DIM_RUN_ID], sizeof(def->value[0]), "%s", below(life, 2) ? "*" : "r1");
    life->reset_us[b] = INT64_MIN;
    assert_int_equal(ERR_OK, budgets_set(life->budgets, def, &filling, &err));
    assert_true(filling);
    budgets_filled(life->budgets, def->name);
}

static void
play(uint64_t seed)
{
    struct life *life = mem_zalloc(1, sizeof(*life));
    struct budgets_options options = {.window_entries_max = 4096};

    life->seed = seed;
    rng_init(&life->rng, seed);
    life->budgets = budgets_new(&options);
    life->now_us =
        budgets_time(life->budgets, START_US + (int64_t)below(life, 86400 * 40) * TIME_US_PER_S);
    life->count = 1 + below(life, BUDGETS);
    for (size_t b = 0; b < life->count; b++) {
        make_budget(life, b);
    }
    for (int i = 0; i < STEPS; i++) {
        step(life);
    }
    for (size_t i = 0; i < HOLDS; i++) {
        budget_hold_fini(&life->holds[i].hold);
    }
    budgets_free(life->budgets);
    free(life);
}

static void
test_counters_and_breakers_follow_the_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= LIVES; seed++) {
        play(seed);
    }
}

/* ---- what the model leaves out ---- */

static struct budgets *
with_budget(const char *name, const char *run_id, int64_t limit, size_t instances_max)
{
    struct budgets_options options = {.window_entries_max = 4096, .instances_max = instances_max};
    struct budgets *budgets = budgets_new(&options);
    struct budget_def def;
    struct err err;
    bool filling;

    budgets_time(budgets, START_US);
    budget_def_init(&def, name);
    def.hard_limit = limit;
    def.has_value[DIM_RUN_ID] = run_id != NULL;
    snprintf(def.value[DIM_RUN_ID], sizeof(def.value[0]), "%s", run_id ? run_id : "");
    assert_int_equal(ERR_OK, budgets_set(budgets, &def, &filling, &err));
    budgets_filled(budgets, name);
    return budgets;
}

static void
test_a_definition_with_other_counters_decides_when_filled(void **state)
{
    struct budgets *budgets = with_budget("b", NULL, 10, 0);
    struct call_scope scope = scope_of(0, 0);
    struct budget_def def = *budgets_find(budgets, "b");
    struct budget_hold hold = {0};
    struct refusal refusal;
    struct err err;
    bool filling = true;

    (void)state;
    assert_true(budgets_reserve(budgets, &scope, 4, START_US, &hold, &refusal));
    def.hard_limit = 20;
    assert_int_equal(ERR_OK, budgets_set(budgets, &def, &filling, &err));
    assert_false(filling); /* the same counters */
    def.hard_limit = 5;
    def.window_us = 5 * MINUTE_US;
    assert_int_equal(ERR_OK, budgets_set(budgets, &def, &filling, &err));
    assert_true(filling);
    assert_true(budgets_check(budgets, &scope, 16, START_US, &refusal)); /* the old one decides */
    budgets_fill_hold(budgets, "b", &scope, 4, START_US, &hold);
    budgets_fill(budgets, "b", &scope, START_US, 1, START_US);
    budgets_filled(budgets, "b");
    assert_false(budgets_check(budgets, &scope, 1, START_US, &refusal));
    assert_int_equal(4, refusal.reserved);
    assert_int_equal(1, refusal.used);
    budgets_release(budgets, &hold, 4, true);
    budget_hold_fini(&hold);
    assert_true(budgets_check(budgets, &scope, 4, START_US, &refusal));
    assert_true(budgets_delete(budgets, "b"));
    assert_false(budgets_delete(budgets, "b"));
    assert_true(budgets_check(budgets, &scope, 1000, START_US, &refusal));
    budgets_free(budgets);
}

static void
test_there_is_an_end_to_definitions(void **state)
{
    struct budgets *budgets = with_budget("b", NULL, 10, 0);
    struct call_scope scope = scope_of(0, 0);
    struct budget_hold hold = {0};
    struct budget_def def;
    struct refusal refusal;
    struct err err;
    bool filling;
    char name[16];

    (void)state;
    for (int i = 1; i < BUDGETS_MAX; i++) {
        snprintf(name, sizeof(name), "b%d", i);
        budget_def_init(&def, name);
        assert_int_equal(ERR_OK, budgets_set(budgets, &def, &filling, &err));
        budgets_filled(budgets, name);
    }
    budget_def_init(&def, "more");
    assert_int_equal(ERR_TOO_LARGE, budgets_set(budgets, &def, &filling, &err));
    assert_true(budgets_reserve(budgets, &scope, 10, START_US, &hold, &refusal));
    assert_int_equal(BUDGETS_MAX, hold.count);
    assert_true(budgets_delete(budgets, "b7"));
    assert_int_equal(ERR_OK, budgets_set(budgets, &def, &filling, &err));
    budgets_fill_hold(budgets, "more", &scope, 10, START_US, &hold);
    budgets_filled(budgets, "more");
    assert_int_equal(BUDGETS_MAX, hold.count);
    budgets_release(budgets, &hold, 10, true);
    budget_hold_fini(&hold);
    budgets_free(budgets);
}

static void
test_counters_make_room_when_they_count_nothing(void **state)
{
    struct budgets *budgets = with_budget("b", "*", 10, 2);
    struct call_scope first = scope_of(0, 0);
    struct call_scope second = scope_of(0, 1);
    struct call_scope third = scope_of(0, 2);
    struct budget_hold hold = {0};
    struct refusal refusal;

    (void)state;
    assert_true(budgets_reserve(budgets, &first, 0, START_US, &hold, &refusal));
    budgets_count(budgets, &second, START_US, 1, START_US);
    assert_false(budgets_check(budgets, &third, 1, START_US, &refusal));
    assert_int_equal(REFUSED_INSTANCES, refusal.reason);
    assert_true(budgets_check(budgets, &third, 1, START_US + 61 * MINUTE_US, &refusal));
    assert_false(budgets_extend(budgets, &hold, 11, START_US + 61 * MINUTE_US, &refusal));
    budgets_release(budgets, &hold, 0, true);
    budget_hold_fini(&hold);
    budgets_free(budgets);
}

static void
test_events_tell_and_are_taken_back(void **state)
{
    struct budgets *budgets = with_budget("b", NULL, 10, 0);
    struct call_scope scope = scope_of(0, 0);
    struct budget_event event;
    struct budget_view view;

    (void)state;
    budgets_count(budgets, &scope, START_US, 10, START_US);
    budgets_count(budgets, &scope, START_US, -10, START_US);
    assert_true(budgets_view_at(budgets, 0, START_US, &view));
    assert_int_equal(BREAKER_HALF_OPEN, view.state);
    budgets_undo_events(budgets);
    assert_true(budgets_view_at(budgets, 0, START_US, &view));
    assert_int_equal(BREAKER_CLOSED, view.state);
    assert_false(budgets_next_event(budgets, &event));
    budgets_count(budgets, &scope, START_US, 10, START_US);
    assert_true(budgets_next_event(budgets, &event));
    assert_int_equal(BUDGET_OPENED, event.kind);
    assert_int_equal(BREAKER_CLOSED, event.from);
    assert_int_equal(10, event.used);
    assert_false(budgets_next_event(budgets, &event));
    budgets_free(budgets);
}

static void
test_forecasts_of_huge_corrections_stay_numbers(void **state)
{
    struct budgets *budgets = with_budget("b", NULL, DECIMAL_MAX, 0);
    struct call_scope scope = scope_of(0, 0);
    struct budget_def def = *budgets_find(budgets, "b");
    struct budget_forecast forecast;
    struct err err;
    bool filling;

    (void)state;
    def.window_us = (int64_t)BUDGET_WINDOW_MINUTES_MAX * MINUTE_US;
    assert_int_equal(ERR_OK, budgets_set(budgets, &def, &filling, &err));
    budgets_filled(budgets, "b");
    budgets_count(budgets, &scope, START_US, -DECIMAL_MAX, START_US);
    assert_true(budgets_forecast(budgets, 0, START_US, &forecast));
    assert_int_equal(-DECIMAL_MAX, forecast.projected);
    assert_int_equal(0, forecast.exhausted_at_us);
    budgets_free(budgets);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definition_is_read_with_defaults),
        cmocka_unit_test(test_bad_definitions_are_told_what_is_wrong),
        cmocka_unit_test(test_long_texts_are_refused_by_the_byte),
        cmocka_unit_test(test_definitions_survive_being_written),
        cmocka_unit_test(test_counters_and_breakers_follow_the_model),
        cmocka_unit_test(test_a_definition_with_other_counters_decides_when_filled),
        cmocka_unit_test(test_there_is_an_end_to_definitions),
        cmocka_unit_test(test_counters_make_room_when_they_count_nothing),
        cmocka_unit_test(test_events_tell_and_are_taken_back),
        cmocka_unit_test(test_forecasts_of_huge_corrections_stay_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
