/* What budgets do at their edges: definitions that change, limits of their number, events that are
 * taken back. The rest: budget_def_test.c, budget_model_test.c, budget_view_test.c. */
#include "meter/budget.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "codec/decimal.h"
#include "codec/time.h"

#define START_US INT64_C(1767225600000000) /* 2026-01-01 */
#define MINUTE_US (60 * TIME_US_PER_S)

static struct call_scope
scope_of(const char *run)
{
    return (struct call_scope){
        .values = {[DIM_API] = SLICE_LITERAL("alpha"), [DIM_RUN_ID] = slice_of(run)}};
}

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
    struct call_scope scope = scope_of("r0");
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
    struct call_scope scope = scope_of("r0");
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
    struct call_scope first = scope_of("r0");
    struct call_scope second = scope_of("r1");
    struct call_scope third = scope_of("r2");
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
    struct call_scope scope = scope_of("r0");
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
    struct call_scope scope = scope_of("r0");
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
        cmocka_unit_test(test_a_definition_with_other_counters_decides_when_filled),
        cmocka_unit_test(test_there_is_an_end_to_definitions),
        cmocka_unit_test(test_counters_make_room_when_they_count_nothing),
        cmocka_unit_test(test_events_tell_and_are_taken_back),
        cmocka_unit_test(test_forecasts_of_huge_corrections_stay_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
