#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/laps.h"

struct world {
    struct clock_manual clock;
    struct laps laps;
    char text[LAPS_TEXT_MAX];
};

static int
set_up(void **state)
{
    static struct world world;

    clock_manual_init(&world.clock, 0);
    laps_start(&world.laps, &world.clock.clock);
    *state = &world;
    return 0;
}

static void
test_laps_tell_what_took_long_in_order(void **state)
{
    struct world *world = *state;

    clock_manual_advance(&world->clock, 210000);
    laps_mark(&world->laps, "database");
    clock_manual_advance(&world->clock, 400);
    laps_mark(&world->laps, "lock");
    clock_manual_advance(&world->clock, 30000);
    laps_mark(&world->laps, "log");
    clock_manual_advance(&world->clock, 1000);
    laps_text(&world->laps, 1000, world->text);
    assert_string_equal(world->text, "database 0.210, log 0.030");
    assert_true(laps_seconds(&world->laps) > 0.2413 && laps_seconds(&world->laps) < 0.2415);
    laps_text(&world->laps, 0, world->text);
    assert_string_equal(world->text, "database 0.210, lock 0.000, log 0.030");
}

static void
test_laps_of_one_name_are_added(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < 2; i++) {
        clock_manual_advance(&world->clock, 100000);
        laps_mark(&world->laps, "series");
        clock_manual_advance(&world->clock, 20000);
        laps_mark(&world->laps, "waiting");
    }
    laps_text(&world->laps, 0, world->text);
    assert_string_equal(world->text, "series 0.200, waiting 0.040");
    laps_mark(NULL, "nobody looks");
}

static void
test_laps_beyond_the_bound_go_to_the_last(void **state)
{
    static char names[LAPS_MAX + 2][8];
    struct world *world = *state;

    for (size_t i = 0; i < LAPS_MAX + 2; i++) {
        snprintf(names[i], sizeof(names[i]), "n%zu", i);
        clock_manual_advance(&world->clock, 1000);
        laps_mark(&world->laps, names[i]);
    }
    assert_int_equal(world->laps.count, LAPS_MAX);
    laps_text(&world->laps, 2000, world->text);
    assert_string_equal(world->text, "n23 0.003");
}

static void
test_laps_text_ends_where_it_does_not_fit(void **state)
{
    static char name[LAPS_TEXT_MAX];
    struct world *world = *state;

    memset(name, 'x', sizeof(name) - 1);
    laps_mark(&world->laps, "short");
    laps_mark(&world->laps, name);
    laps_text(&world->laps, 0, world->text);
    assert_string_equal(world->text, "short 0.000");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_laps_tell_what_took_long_in_order, set_up),
        cmocka_unit_test_setup(test_laps_of_one_name_are_added, set_up),
        cmocka_unit_test_setup(test_laps_beyond_the_bound_go_to_the_last, set_up),
        cmocka_unit_test_setup(test_laps_text_ends_where_it_does_not_fit, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
