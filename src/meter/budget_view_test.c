/* Tests of what answers show of budgets. */
#include "meter/budget.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const int64_t now_us = INT64_C(1772000000000000);

static void
set(struct budgets *budgets, const char *json)
{
    struct budget_def def;
    struct err err;
    bool filling;

    assert_int_equal(budget_def_parse(slice_of(json), NULL, &def, &err), ERR_OK);
    assert_int_equal(budgets_set(budgets, &def, &filling, &err), ERR_OK);
    if (filling) {
        budgets_filled(budgets, def.name);
    }
}

static struct budgets *
make(void)
{
    struct budgets_options options = {0};
    struct budgets *budgets = budgets_new(&options);

    budgets_time(budgets, now_us);
    set(budgets, "{\"name\":\"day\",\"window\":\"day\",\"hard_limit\":100}");
    set(budgets, "{\"name\":\"each\",\"scope\":{\"api\":\"*\",\"run_id\":\"*\"},"
                 "\"window\":\"sliding\",\"window_minutes\":60,\"hard_limit\":50}");
    set(budgets, "{\"name\":\"other\",\"scope\":{\"api\":\"helius\"},\"hard_limit\":1}");
    return budgets;
}

static size_t
reserve(struct budgets *budgets, int64_t credits, struct budget_hold *hold,
        struct budget_view views[4])
{
    struct refusal refusal;
    struct call_scope scope = {
        .values = {[DIM_API] = SLICE_LITERAL("birdeye"), [DIM_RUN_ID] = SLICE_LITERAL("r1")}};

    assert_true(budgets_reserve(budgets, &scope, credits, now_us, hold, &refusal));
    return budgets_held_views(hold, now_us, views, 4);
}

static void
test_budget_view_shows_every_counter_that_a_hold_is_in(void **state)
{
    struct budgets *budgets = make();
    struct budget_hold hold = {0};
    struct budget_view views[4];

    (void)state;
    assert_int_equal(reserve(budgets, 7, &hold, views), 2);
    assert_string_equal(views[0].def->name, "day");
    assert_string_equal(views[0].instance, "");
    assert_int_equal(views[0].reserved, 7);
    assert_true(views[0].resets_at_us > now_us);
    assert_string_equal(views[1].def->name, "each");
    assert_string_equal(views[1].instance, "api=birdeye,run_id=r1");
    assert_int_equal(views[1].reserved, 7);
    assert_int_equal(views[1].resets_at_us, 0);
    assert_int_equal(budgets_held_views(&hold, now_us, &views[2], 1), 1);
    for (size_t i = 0; i < 3; i++) {
        budget_def_unref(views[i].def);
    }
    budget_hold_fini(&hold);
    budgets_free(budgets);
}

static void
test_budget_view_keeps_its_definition_through_changes(void **state)
{
    struct budgets *budgets = make();
    struct budget_hold holds[4] = {0};
    struct budget_view views[4][4];

    (void)state;
    assert_int_equal(reserve(budgets, 1, &holds[0], views[0]), 2);
    assert_true(budgets_set_mode(budgets, "day", BUDGET_METRICS_ONLY));
    assert_int_equal(reserve(budgets, 1, &holds[1], views[1]), 2);
    set(budgets, "{\"name\":\"day\",\"window\":\"day\",\"hard_limit\":200}");
    assert_int_equal(reserve(budgets, 1, &holds[2], views[2]), 2);
    assert_true(budgets_delete(budgets, "day"));
    assert_int_equal(reserve(budgets, 1, &holds[3], views[3]), 1);
    for (size_t i = 0; i < 4; i++) {
        budget_hold_fini(&holds[i]);
    }
    budgets_free(budgets);

    assert_int_equal(views[0][0].def->mode, BUDGET_ENFORCE);
    assert_int_equal(views[1][0].def->mode, BUDGET_METRICS_ONLY);
    assert_int_equal(views[1][0].def->hard_limit, 100000000);
    assert_int_equal(views[2][0].def->hard_limit, 200000000);
    assert_ptr_equal(views[0][1].def, views[2][1].def);
    assert_ptr_equal(views[3][0].def, views[0][1].def);
    for (size_t i = 0; i < 3; i++) {
        budget_def_unref(views[i][0].def);
        budget_def_unref(views[i][1].def);
    }
    budget_def_unref(views[3][0].def);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_budget_view_shows_every_counter_that_a_hold_is_in),
        cmocka_unit_test(test_budget_view_keeps_its_definition_through_changes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
