/* Tests of the clocks. */
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void
test_clock_system_runs_forwards_and_is_of_this_century(void **state)
{
    const struct clock *clock = clock_system();
    int64_t before = clock_mono_us(clock);

    (void)state;
    for (int i = 0; i < 1000; i++) {
        int64_t now = clock_mono_us(clock);
        assert_true(now >= before);
        before = now;
    }
    assert_true(clock_wall_us(clock) > INT64_C(1700000000) * 1000000);
    assert_true(clock_wall_us(clock) < INT64_C(4102444800) * 1000000);
}

static void
test_clock_manual_moves_only_when_told(void **state)
{
    struct clock_manual manual;

    (void)state;
    clock_manual_init(&manual, 1000);
    assert_int_equal(clock_wall_us(&manual.clock), 1000);
    assert_int_equal(clock_mono_us(&manual.clock), 0);
    clock_manual_advance(&manual, 250);
    assert_int_equal(clock_wall_us(&manual.clock), 1250);
    assert_int_equal(clock_mono_us(&manual.clock), 250);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock_system_runs_forwards_and_is_of_this_century),
        cmocka_unit_test(test_clock_manual_moves_only_when_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
