/* Counters and breakers of budgets against a model that keeps lists of entries and adds them up
 * each time. */
#include "meter/budget.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "base/mem.h"
#include "codec/time.h"

#define START_US INT64_C(1767225600000000) /* 2026-01-01 */
#define MINUTE_US (60 * TIME_US_PER_S)
#define HOUR_US (60 * MINUTE_US)

enum { BUDGETS = 5, NAMES = 3, KEYS = NAMES * (NAMES + 1), STEPS = 400, LIVES = 150, HOLDS = 16 };

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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counters_and_breakers_follow_the_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
