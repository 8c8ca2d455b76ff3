/* Tests of the alerts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "live/live.h"

/* 2026-01-02T03:04:05 UTC. */
#define NOW_US INT64_C(1767323045000000)
#define SECOND_US INT64_C(1000000)

struct fixture {
    struct clock_manual clock;
    struct live *live;
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    clock_manual_init(&f->clock, NOW_US);
    live_open(&(struct live_options){.clock = &f->clock.clock}, &f->live);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    live_close(f->live);
    free(f);
    return 0;
}

static void
test_live_alerts_are_raised_once_and_cleared(void **state)
{
    struct fixture *f = *state;
    struct live_alert alerts[4];

    assert_false(live_alert_set(f->live, "cpu_high", false, NULL, NULL));
    assert_true(live_alert_set(f->live, "cpu_high", true, "warning", "81 %"));
    assert_false(live_alert_set(f->live, "cpu_high", true, "warning", "85 %"));
    assert_true(live_alert_set(f->live, "disk_high", true, "critical", "95 %"));
    assert_int_equal(live_alerts_active(f->live), 2);
    assert_int_equal(live_alerts(f->live, alerts, 4), 2);
    assert_string_equal(alerts[0].type, "disk_high");
    assert_string_equal(alerts[1].id, "cpu_high_1767323045");
    assert_string_equal(alerts[1].message, "85 %");
    assert_int_equal(alerts[1].raised_us, NOW_US);

    clock_manual_advance(&f->clock, SECOND_US);
    assert_false(live_alert_acknowledge(f->live, slice_of("nothing")));
    assert_true(live_alert_acknowledge(f->live, slice_of("cpu_high_1767323045")));
    assert_true(live_alert_set(f->live, "cpu_high", false, NULL, NULL));
    assert_int_equal(live_alerts_active(f->live), 1);
    assert_int_equal(live_alerts(f->live, alerts, 4), 2);
    assert_false(alerts[1].active);
    assert_int_equal(alerts[1].acknowledged_us, NOW_US + SECOND_US);
    assert_int_equal(alerts[1].cleared_us, NOW_US + SECOND_US);
    assert_int_equal(live_alerts(f->live, alerts, 1), 1);
    assert_string_equal(alerts[0].type, "disk_high");
}

static void
test_live_alerts_forget_the_oldest_cleared_one(void **state)
{
    struct fixture *f = *state;
    struct live_alert alerts[100];

    live_alert_set(f->live, "stays", true, "warning", "");
    for (int i = 0; i < 100; i++) {
        live_alert_set(f->live, "flaps", true, "warning", "");
        live_alert_set(f->live, "flaps", false, NULL, NULL);
    }
    assert_int_equal(live_alerts(f->live, alerts, 100), 64);
    assert_string_equal(alerts[63].type, "stays");
    assert_true(alerts[63].active);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_live_alerts_are_raised_once_and_cleared, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_live_alerts_forget_the_oldest_cleared_one, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
