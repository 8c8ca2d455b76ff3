/* Looking at budgets: views of their instances, how far back they reach, and what comes. */
#include <assert.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/mem.h"
#include "codec/decimal.h"
#include "codec/time.h"
#include "meter/budget_private.h"

#define SAMPLE_US (600 * TIME_US_PER_S)

static void
quick_view(const struct budget_instance *instance, int64_t now_us, struct budget_view *ret_view)
{
    const struct budget_def *def = &instance->budget->def;
    int64_t from_us = budget_period_start(def, now_us);

    *ret_view = (struct budget_view){.def = def,
                                     .instance = instance->key,
                                     .used = instance->window.sum,
                                     .reserved = instance->reserved,
                                     .state = instance->state,
                                     .probes_out = instance->probes_out,
                                     .would_refuse = instance->would_refuse,
                                     .refused = instance->refused,
                                     .window_from_us = from_us > instance->budget->reset_us
                                                           ? from_us
                                                           : instance->budget->reset_us,
                                     .joined = instance->window.joined};
    if (def->window != WINDOW_SLIDING) {
        ret_view->resets_at_us = budget_period_end(def, now_us);
    }
}

void
instance_view(const struct budget_instance *instance, int64_t now_us, struct budget_view *ret_view)
{
    const struct budget_def *def = &instance->budget->def;

    quick_view(instance, now_us, ret_view);
    if (def->window != WINDOW_SLIDING) {
        return;
    }
    int64_t last_us =
        instance->window.sum > 0 ? window_when_freed(&instance->window, instance->window.sum) : 0;
    ret_view->resets_at_us = instance->window.sum <= 0 || last_us == INT64_MAX
                                 ? now_us
                                 : budget_add_sat(last_us, def->window_us);
}

size_t
budgets_covering(struct budgets *budgets, const struct call_scope *scope, int64_t now_us,
                 struct budget_view *ret_views, size_t max)
{
    size_t count = 0;

    for (size_t i = 0; i < budgets->count && count < max; i++) {
        struct budget *budget = &budgets->all[i];
        if (!budget->in_use || budget->filling || !budget_matches(&budget->def, scope)) {
            continue;
        }
        struct budget_instance *instance = instance_of(budgets, budget, scope, false, now_us);
        if (instance) {
            instance_view(instance, now_us, &ret_views[count++]);
        }
    }
    return count;
}

/* ---- what answers show ---- */

void
budget_def_unref(const struct budget_def *def)
{
    struct budget_def_copy *copy =
        (struct budget_def_copy *)(uintptr_t)def; /* NOLINT: it was made by budget_def_ref */

    if (copy && atomic_fetch_sub(&copy->refs, 1) == 1) {
        free(copy);
    }
}

void
budget_def_changed(struct budget *budget)
{
    if (budget->copy) {
        budget_def_unref(&budget->copy->def);
        budget->copy = NULL;
    }
}

/* A reference for an answer; the budget keeps one for itself. */
static const struct budget_def *
show_def(struct budget *budget)
{
    if (!budget->copy) {
        budget->copy = mem_alloc(sizeof(*budget->copy));
        budget->copy->def = budget->def;
        atomic_init(&budget->copy->refs, 1);
    }
    atomic_fetch_add(&budget->copy->refs, 1);
    return &budget->copy->def;
}

size_t
budgets_held_views(const struct budget_hold *hold, int64_t now_us, struct budget_view *ret_views,
                   size_t max)
{
    size_t count = 0;

    for (size_t i = 0; i < hold->count && count < max; i++) {
        const struct budget_instance *instance = held_instance(hold_at(hold, i));
        if (instance && !instance->budget->filling) {
            quick_view(instance, now_us, &ret_views[count]);
            ret_views[count++].def = show_def(instance->budget);
        }
    }
    return count;
}

bool
budgets_view_at(struct budgets *budgets, size_t index, int64_t now_us, struct budget_view *ret_view)
{
    if (index >= budgets->live_count) {
        return false;
    }
    instance_refresh(budgets, budgets->live[index], now_us);
    instance_view(budgets->live[index], now_us, ret_view);
    if (budgets->live[index]->budget->filling) {
        ret_view->def = NULL;
    }
    return true;
}

int64_t
budgets_horizon_us(const struct budgets *budgets, int64_t now_us)
{
    int64_t horizon = now_us;

    for (size_t i = 0; i < budgets->count; i++) {
        if (!budgets->all[i].in_use) {
            continue;
        }
        int64_t from_us = budget_period_start(&budgets->all[i].def, now_us);
        horizon = from_us < horizon ? from_us : horizon;
    }
    return horizon;
}

/* ---- forecast ---- */

struct walk {
    double used; /* what is left of the window and the reservations as time goes on */
    double rate; /* micro-credits a microsecond */
    double limit;
    int64_t now_us;
    int64_t window_us;
    int64_t hit_us; /* 0: not yet */
};

/* Up to the time at which an entry leaves the window the sum only grows: is the limit reached? */
static void
walk_entry(void *ctx, int64_t at_us, int64_t amount)
{
    struct walk *walk = ctx;
    double leaves = (double)budget_add_sat(at_us, walk->window_us) - (double)walk->now_us;

    if (walk->hit_us != 0) {
        return;
    }
    if (walk->rate > 0 && walk->used + walk->rate * leaves >= walk->limit) {
        double wait = (walk->limit - walk->used) / walk->rate;
        walk->hit_us = walk->now_us + (int64_t)(wait > 0 ? wait : 0);
        return;
    }
    walk->used -= (double)amount;
}

static int64_t
clamp_credits(double micro)
{
    if (micro <= -(double)DECIMAL_MAX) {
        return -DECIMAL_MAX;
    }
    return micro >= (double)DECIMAL_MAX ? DECIMAL_MAX : (int64_t)micro;
}

static void
forecast_sliding(const struct budget_instance *instance, int64_t now_us, double rate,
                 struct budget_forecast *ret)
{
    const struct budget_def *def = &instance->budget->def;
    struct walk walk = {.used = (double)instance->window.sum + (double)instance->reserved,
                        .rate = rate,
                        .limit = (double)def->hard_limit,
                        .now_us = now_us,
                        .window_us = def->window_us};

    if (walk.used >= walk.limit) {
        walk.hit_us = now_us;
    }
    window_walk(&instance->window, walk_entry, &walk);
    /* What is spent from now on stays for a whole window. */
    if (walk.hit_us == 0 && rate > 0 && walk.used + rate * (double)def->window_us >= walk.limit) {
        walk.hit_us = now_us + (int64_t)((walk.limit - walk.used) / rate);
    }
    ret->exhausted_at_us = walk.hit_us;
    ret->projected = clamp_credits(rate * (double)def->window_us + (double)instance->reserved);
}

static void
forecast_fixed(const struct budget_instance *instance, int64_t now_us, double rate,
               struct budget_forecast *ret)
{
    const struct budget_def *def = &instance->budget->def;
    double left = (double)(budget_period_end(def, now_us) - now_us);
    double used = (double)instance->window.sum + (double)instance->reserved;
    double limit = (double)def->hard_limit;

    ret->projected = clamp_credits(used + rate * left);
    if (used >= limit) {
        ret->exhausted_at_us = now_us;
    } else if (rate > 0 && used + rate * left >= limit) {
        ret->exhausted_at_us = now_us + (int64_t)((limit - used) / rate);
    }
}

bool
budgets_forecast(struct budgets *budgets, size_t index, int64_t now_us,
                 struct budget_forecast *ret_forecast)
{
    if (index >= budgets->live_count) {
        return false;
    }
    struct budget_instance *instance = budgets->live[index];
    const struct budget_def *def = &instance->budget->def;
    int64_t sample_us = SAMPLE_US;
    int64_t spent;

    instance_drain(instance, now_us);
    if (def->window == WINDOW_SLIDING) {
        sample_us = def->window_us < SAMPLE_US ? def->window_us : SAMPLE_US;
        spent = window_sum_since(&instance->window, now_us - sample_us);
    } else {
        /* A fixed window keeps no times: its rate is that of the period so far. */
        int64_t from_us = budget_period_start(def, now_us);
        from_us = from_us > instance->budget->reset_us ? from_us : instance->budget->reset_us;
        sample_us = now_us > from_us ? now_us - from_us : 1;
        spent = instance->window.sum;
    }
    double rate = (double)spent / (double)(sample_us > 0 ? sample_us : 1);
    *ret_forecast = (struct budget_forecast){.rate_per_s = rate, .sample_us = sample_us};
    if (def->window == WINDOW_SLIDING) {
        forecast_sliding(instance, now_us, rate, ret_forecast);
    } else {
        forecast_fixed(instance, now_us, rate, ret_forecast);
    }
    return true;
}
