#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/laps.h"

static void
test_laps_tell_what_took_long_in_order(void **state)
{
    struct clock_manual clock;
    struct laps laps;
    char text[LAPS_TEXT_MAX];

    (void)state;
    clock_manual_init(&clock, 0);
    laps_start(&laps, &clock.clock);
    clock_manual_advance(&clock, 210000);
    laps_mark(&laps, "database");
    clock_manual_advance(&clock, 400);
    laps_mark(&laps, "lock");
    clock_manual_advance(&clock, 30000);
    laps_mark(&laps, "log");
    clock_manual_advance(&clock, 1000);
    laps_text(&laps, 1000, text);
    assert_string_equal(text, "database 0.210, log 0.030");
    assert_true(laps_seconds(&laps) > 0.2413 && laps_seconds(&laps) < 0.2415);
    laps_text(&laps, 0, text);
    assert_string_equal(text, "database 0.210, lock 0.000, log 0.030");
}

static void
test_laps_of_one_name_are_added(void **state)
{
    struct clock_manual clock;
    struct laps laps;
    char text[LAPS_TEXT_MAX];

    (void)state;
    clock_manual_init(&clock, 0);
    laps_start(&laps, &clock.clock);
    for (int i = 0; i < 2; i++) {
        clock_manual_advance(&clock, 100000);
        laps_mark(&laps, "series");
        clock_manual_advance(&clock, 20000);
        laps_mark(&laps, "waiting");
    }
    laps_text(&laps, 0, text);
    assert_string_equal(text, "series 0.200, waiting 0.040");
    laps_mark(NULL, "nobody looks");
}

static void
test_laps_beyond_the_bound_go_to_the_last(void **state)
{
    static char names[LAPS_MAX + 2][8];
    struct clock_manual clock;
    struct laps laps;
    char text[LAPS_TEXT_MAX];

    (void)state;
    clock_manual_init(&clock, 0);
    laps_start(&laps, &clock.clock);
    for (size_t i = 0; i < LAPS_MAX + 2; i++) {
        snprintf(names[i], sizeof(names[i]), "n%zu", i);
        clock_manual_advance(&clock, 1000);
        laps_mark(&laps, names[i]);
    }
    assert_int_equal(laps.count, LAPS_MAX);
    laps_text(&laps, 2000, text);
    assert_string_equal(text, "n23 0.003");
}

static void
test_laps_text_ends_where_it_does_not_fit(void **state)
{
    static char name[LAPS_TEXT_MAX];
    struct clock_manual clock;
    struct laps laps;
    char text[LAPS_TEXT_MAX];

    (void)state;
    memset(name, 'x', sizeof(name) - 1);
    clock_manual_init(&clock, 0);
    laps_start(&laps, &clock.clock);
    laps_mark(&laps, "short");
    laps_mark(&laps, name);
    laps_text(&laps, 0, text);
    assert_string_equal(text, "short 0.000");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_laps_tell_what_took_long_in_order),
        cmocka_unit_test(test_laps_of_one_name_are_added),
        cmocka_unit_test(test_laps_beyond_the_bound_go_to_the_last),
        cmocka_unit_test(test_laps_text_ends_where_it_does_not_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
