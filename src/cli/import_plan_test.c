/* Which column goes where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "cli/import_plan.h"

static const char *const sp500[] = {"date", "open", "high", "low", "close", "adjclose", "volume"};
static const char *const stocks[] = {"symbol", "date", "price"};

static int
source_of(const struct plan *plan, const char *column)
{
    int index = catalog_column_index(plan->table, slice_of(column));

    assert_int_not_equal(index, CATALOG_NONE);
    return plan->columns[index].source;
}

static struct plan_pair
pair(const char *column, const char *value)
{
    return (struct plan_pair){slice_of(column), slice_of(value)};
}

static void
test_plan_guesses_candles_and_asks_for_the_symbol(void **state)
{
    struct plan_wishes wishes = {0};
    struct plan plan;
    struct err err = {0};

    (void)state;
    assert_int_equal(plan_make(&wishes, sp500, 7, &plan, &err), ERR_USAGE);
    assert_string_equal(err.msg, "import: candles needs symbol, and no column of the file fits; "
                                 "expected --set symbol=VALUE or --map symbol=COLUMN");
    wishes.sets[wishes.set_count++] = pair("symbol", "SPX");
    assert_int_equal(plan_make(&wishes, sp500, 7, &plan, &err), ERR_OK);
    assert_string_equal(plan.table->name, "candles");
    assert_true(plan.table_guessed);
    assert_int_equal(source_of(&plan, "timestamp"), 0);
    assert_int_equal(source_of(&plan, "close"), 4);
    assert_int_equal(source_of(&plan, "volume"), 6);
    assert_false(plan_uses(&plan, 5));
}

static void
test_plan_guesses_market_data_from_prices(void **state)
{
    struct plan_wishes wishes = {0};
    struct plan plan;
    struct err err = {0};

    (void)state;
    assert_int_equal(plan_make(&wishes, stocks, 3, &plan, &err), ERR_OK);
    assert_string_equal(plan.table->name, "market_data");
    assert_int_equal(source_of(&plan, "last_price"), 2);
    assert_int_equal(source_of(&plan, "symbol"), 0);
    assert_int_equal(source_of(&plan, "bid"), PLAN_NONE);
}

static void
test_plan_guesses_by_squeezed_names(void **state)
{
    const char *const names[] = {"Trade ID", "Time", "Ticker", "Side", "Qty", "Fill Price"};
    struct plan_wishes wishes = {0};
    struct plan plan;
    struct err err = {0};

    (void)state;
    assert_int_equal(plan_make(&wishes, names, 6, &plan, &err), ERR_OK);
    assert_string_equal(plan.table->name, "trades");
    assert_int_equal(source_of(&plan, "trade_id"), 0);
    assert_int_equal(source_of(&plan, "quantity"), 4);
    assert_int_equal(source_of(&plan, "price"), 5);
}

static void
test_plan_lets_wishes_win_over_guesses(void **state)
{
    struct plan_wishes wishes = {.table = catalog_find(SLICE_LITERAL("candles"))};
    struct plan plan;
    struct err err = {0};

    (void)state;
    wishes.sets[wishes.set_count++] = pair("symbol", "SPX");
    wishes.maps[wishes.map_count++] = pair("close", "adjclose");
    assert_int_equal(plan_make(&wishes, sp500, 7, &plan, &err), ERR_OK);
    assert_false(plan.table_guessed);
    assert_int_equal(source_of(&plan, "close"), 5);
    assert_false(plan_uses(&plan, 4));
    wishes.maps[wishes.map_count++] = pair("volume", "");
    assert_int_equal(plan_make(&wishes, sp500, 7, &plan, &err), ERR_USAGE);
    assert_non_null(strstr(err.msg, "candles needs volume"));
}

static void
test_plan_refuses_names_it_does_not_know(void **state)
{
    struct plan_wishes wishes = {.table = catalog_find(SLICE_LITERAL("candles"))};
    struct plan plan;
    struct err err = {0};

    (void)state;
    wishes.maps[0] = pair("clsoe", "close");
    wishes.map_count = 1;
    assert_int_equal(plan_make(&wishes, sp500, 7, &plan, &err), ERR_USAGE);
    assert_string_equal(err.msg,
                        "import: --map: table candles has no column clsoe; did you mean close?");
    wishes.maps[0] = pair("close", "adj_close");
    assert_int_equal(plan_make(&wishes, sp500, 7, &plan, &err), ERR_USAGE);
    assert_string_equal(err.msg, "import: --map: the file has no column \"adj_close\"; did you "
                                 "mean adjclose?");
    wishes.map_count = 0;
    wishes.sets[wishes.set_count++] = pair("name", "x");
    assert_int_equal(plan_make(&wishes, sp500, 7, &plan, &err), ERR_USAGE);
    assert_non_null(strstr(err.msg, "--set: table candles has no column name"));
}

static void
test_plan_does_not_guess_from_too_little(void **state)
{
    const char *const names[] = {"date", "mood"};
    struct plan_wishes wishes = {0};
    struct plan plan;
    struct err err = {0};

    (void)state;
    assert_int_equal(plan_make(&wishes, names, 2, &plan, &err), ERR_USAGE);
    assert_non_null(strstr(err.msg, "no table fits the columns of the file (date, mood)"));
    wishes.sets[wishes.set_count++] = pair("symbl", "x"); /* fits no table, whatever the file is */
    assert_int_equal(plan_make(&wishes, names, 2, &plan, &err), ERR_USAGE);
    assert_string_equal(err.msg,
                        "import: --set: no table has a column symbl; did you mean symbol?");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan_guesses_candles_and_asks_for_the_symbol),
        cmocka_unit_test(test_plan_guesses_market_data_from_prices),
        cmocka_unit_test(test_plan_guesses_by_squeezed_names),
        cmocka_unit_test(test_plan_lets_wishes_win_over_guesses),
        cmocka_unit_test(test_plan_refuses_names_it_does_not_know),
        cmocka_unit_test(test_plan_does_not_guess_from_too_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
