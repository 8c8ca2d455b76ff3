/* Tests of the timing wheel. */
#include "net/wheel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/id.h"

enum { TICK = NET_WHEEL_TICK_US, SPAN = NET_WHEEL_SLOTS * NET_WHEEL_TICK_US };

struct probe {
    struct net_timer timer;
    int fired;
    int64_t fired_at_us;
    struct net_wheel *wheel;
    struct net_timer *cancel; /* another timer to take out when this one fires */
    int64_t again_us;         /* when to set itself again; 0: not */
};

static int64_t now_us;

static void
on_fire(struct net_timer *timer)
{
    struct probe *probe = (struct probe *)timer;

    probe->fired++;
    probe->fired_at_us = now_us;
    if (probe->cancel) {
        net_wheel_cancel(probe->cancel);
    }
    if (probe->again_us) {
        net_wheel_set(probe->wheel, timer, probe->again_us);
        probe->again_us = 0;
    }
}

static void
advance(struct net_wheel *wheel, int64_t to_us)
{
    now_us = to_us;
    net_wheel_expire(wheel, to_us);
}

/* Goes to `to_us` the way a loop does: by the waits that the wheel asks for. */
static int
run_until(struct net_wheel *wheel, int64_t to_us)
{
    int wakes = 0;

    for (;;) {
        int64_t wait_us = net_wheel_wait_us(wheel, now_us);
        if (wait_us < 0 || now_us + wait_us > to_us) {
            advance(wheel, to_us);
            return wakes;
        }
        wakes++;
        advance(wheel, now_us + wait_us);
    }
}

static void
test_wheel_fires_at_the_first_tick_not_before_the_time(void **state)
{
    struct net_wheel wheel;
    struct probe probe = {.timer.fn = on_fire};

    (void)state;
    now_us = 0;
    net_wheel_init(&wheel, 0);
    net_wheel_set(&wheel, &probe.timer, TICK + 1);
    advance(&wheel, TICK + 1);
    assert_int_equal(probe.fired, 0);
    advance(&wheel, 2 * TICK - 1);
    assert_int_equal(probe.fired, 0);
    advance(&wheel, 2 * TICK);
    assert_int_equal(probe.fired, 1);
    advance(&wheel, 100 * TICK);
    assert_int_equal(probe.fired, 1);
}

static void
test_wheel_waits_as_long_as_the_next_timer_needs(void **state)
{
    struct net_wheel wheel;
    struct probe probe = {.timer.fn = on_fire};

    (void)state;
    now_us = 5 * SPAN;
    net_wheel_init(&wheel, now_us);
    assert_int_equal(net_wheel_wait_us(&wheel, now_us), -1);
    net_wheel_set(&wheel, &probe.timer, now_us + 7 * TICK);
    assert_int_equal(net_wheel_wait_us(&wheel, now_us), 7 * TICK);
    assert_int_equal(net_wheel_wait_us(&wheel, now_us + 9 * TICK), 0);
    net_wheel_cancel(&probe.timer);
    assert_int_equal(net_wheel_wait_us(&wheel, now_us), -1);
}

static void
test_wheel_moves_timers_later_and_earlier(void **state)
{
    struct net_wheel wheel;
    struct probe late = {.timer.fn = on_fire};
    struct probe early = {.timer.fn = on_fire};

    (void)state;
    now_us = 0;
    net_wheel_init(&wheel, 0);
    net_wheel_set(&wheel, &late.timer, 5 * TICK);
    net_wheel_set(&wheel, &late.timer, 50 * TICK);
    net_wheel_set(&wheel, &early.timer, 50 * TICK);
    net_wheel_set(&wheel, &early.timer, 5 * TICK);
    run_until(&wheel, 49 * TICK);
    assert_int_equal(late.fired, 0);
    assert_int_equal(early.fired, 1);
    assert_int_equal(early.fired_at_us, 5 * TICK);
    run_until(&wheel, 51 * TICK);
    assert_int_equal(late.fired, 1);
    assert_int_equal(late.fired_at_us, 50 * TICK);
}

static void
test_wheel_keeps_timers_beyond_its_span(void **state)
{
    struct net_wheel wheel;
    struct probe probe = {.timer.fn = on_fire};

    (void)state;
    now_us = 0;
    net_wheel_init(&wheel, 0);
    net_wheel_set(&wheel, &probe.timer, (int64_t)6 * SPAN + 3 * TICK);
    int wakes = run_until(&wheel, (int64_t)6 * SPAN + 2 * TICK);
    assert_int_equal(probe.fired, 0);
    assert_true(wakes <= 8);
    run_until(&wheel, (int64_t)6 * SPAN + 4 * TICK);
    assert_int_equal(probe.fired_at_us, (int64_t)6 * SPAN + 3 * TICK);
}

static void
test_wheel_fires_all_after_a_long_pause(void **state)
{
    struct net_wheel wheel;
    struct probe probes[40];

    (void)state;
    now_us = 0;
    net_wheel_init(&wheel, 0);
    for (int i = 0; i < 40; i++) {
        probes[i] = (struct probe){.timer.fn = on_fire};
        net_wheel_set(&wheel, &probes[i].timer, (int64_t)i * SPAN / 7);
    }
    advance(&wheel, (int64_t)3 * SPAN + 1);
    for (int i = 0; i < 40; i++) {
        int64_t tick_us = ((int64_t)i * SPAN / 7 + TICK - 1) / TICK * TICK;
        assert_int_equal(probes[i].fired, tick_us <= now_us);
    }
    advance(&wheel, (int64_t)9 * SPAN);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(probes[i].fired, 1);
    }
}

static void
test_wheel_callbacks_may_cancel_and_set_timers(void **state)
{
    struct net_wheel wheel;
    struct probe a = {.timer.fn = on_fire, .wheel = &wheel, .again_us = 30 * TICK};
    struct probe b = {.timer.fn = on_fire, .wheel = &wheel};
    struct probe c = {.timer.fn = on_fire, .wheel = &wheel};

    (void)state;
    now_us = 0;
    net_wheel_init(&wheel, 0);
    a.cancel = &b.timer;
    net_wheel_set(&wheel, &a.timer, 10 * TICK);
    net_wheel_set(&wheel, &b.timer, 10 * TICK);
    net_wheel_set(&wheel, &c.timer, 10 * TICK);
    advance(&wheel, 10 * TICK);
    assert_int_equal(a.fired, 1);
    assert_int_equal(b.fired, 0);
    assert_int_equal(c.fired, 1);
    advance(&wheel, 31 * TICK);
    assert_int_equal(a.fired, 2);
    assert_int_equal(a.fired_at_us, 31 * TICK);
}

/* Against the plain truth: a timer fires within a tick of its time, whatever was done to it. */
static void
test_wheel_agrees_with_a_simple_model(void **state)
{
    enum { TIMERS = 50, STEPS = 20000 };
    struct net_wheel wheel;
    struct probe probes[TIMERS];
    int64_t due_us[TIMERS]; /* -1: not set */
    struct rng rng;

    (void)state;
    now_us = 123456;
    net_wheel_init(&wheel, now_us);
    rng_init(&rng, 7);
    for (int i = 0; i < TIMERS; i++) {
        probes[i] = (struct probe){.timer.fn = on_fire};
        due_us[i] = -1;
    }
    for (int step = 0; step < STEPS; step++) {
        size_t i = (size_t)rng_below(&rng, TIMERS);
        if (rng_below(&rng, 4) == 0) {
            net_wheel_cancel(&probes[i].timer);
            due_us[i] = -1;
        } else {
            due_us[i] = now_us + (int64_t)rng_below(&rng, (uint64_t)2 * SPAN);
            net_wheel_set(&wheel, &probes[i].timer, due_us[i]);
        }
        advance(&wheel, now_us + (int64_t)rng_below(&rng, 3 * TICK));
        for (int k = 0; k < TIMERS; k++) {
            if (probes[k].fired > 0) {
                assert_true(due_us[k] >= 0 && due_us[k] <= now_us);
                due_us[k] = -1;
                probes[k].fired = 0;
            }
            assert_true(due_us[k] < 0 || due_us[k] > now_us - 2 * TICK);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wheel_fires_at_the_first_tick_not_before_the_time),
        cmocka_unit_test(test_wheel_waits_as_long_as_the_next_timer_needs),
        cmocka_unit_test(test_wheel_moves_timers_later_and_earlier),
        cmocka_unit_test(test_wheel_keeps_timers_beyond_its_span),
        cmocka_unit_test(test_wheel_fires_all_after_a_long_pause),
        cmocka_unit_test(test_wheel_callbacks_may_cancel_and_set_timers),
        cmocka_unit_test(test_wheel_agrees_with_a_simple_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
