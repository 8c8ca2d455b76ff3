/* Periods, what an instance counts within its window, and the breaker that follows from it. */
#include <assert.h>
#include <limits.h>
#include <stdio.h>

#include "codec/time.h"
#include "meter/budget_private.h"

#define HOUR_US (3600 * TIME_US_PER_S)

static int64_t
floor_to(int64_t at_us, int64_t unit)
{
    int64_t rest = at_us % unit;

    return at_us - (rest < 0 ? rest + unit : rest);
}

static int64_t
month_start(int64_t at_us, int months_later)
{
    struct time_civil civil;

    time_to_civil(at_us, &civil);
    int64_t month = civil.year * 12 + civil.month - 1 + months_later;
    int64_t days = time_days_from_civil(month / 12, (int)(month % 12) + 1, 1);
    return days * TIME_US_PER_DAY;
}

int64_t
budget_period_start(const struct budget_def *def, int64_t at_us)
{
    switch (def->window) {
    case WINDOW_SLIDING:
        return at_us < INT64_MIN + def->window_us ? INT64_MIN : at_us - def->window_us;
    case WINDOW_HOUR:
        return floor_to(at_us, HOUR_US);
    case WINDOW_DAY:
        return floor_to(at_us, TIME_US_PER_DAY);
    case WINDOW_MONTH:
        return month_start(at_us, 0);
    }
    return at_us;
}

int64_t
budget_period_end(const struct budget_def *def, int64_t at_us)
{
    switch (def->window) {
    case WINDOW_SLIDING:
        return at_us;
    case WINDOW_HOUR:
        return floor_to(at_us, HOUR_US) + HOUR_US;
    case WINDOW_DAY:
        return floor_to(at_us, TIME_US_PER_DAY) + TIME_US_PER_DAY;
    case WINDOW_MONTH:
        return month_start(at_us, 1);
    }
    return at_us;
}

int64_t
budget_add_sat(int64_t a, int64_t b)
{
    int64_t sum;

    if (__builtin_add_overflow(a, b, &sum)) {
        return a < 0 ? INT64_MIN : INT64_MAX;
    }
    return sum;
}

void
instance_drain(struct budget_instance *instance, int64_t now_us)
{
    const struct budget *budget = instance->budget;
    int64_t from_us = budget_period_start(&budget->def, now_us);

    window_drain(&instance->window, from_us > budget->reset_us ? from_us : budget->reset_us);
}

static void
note(struct budgets *budgets, enum budget_event_kind kind, enum breaker_state from,
     const struct budget_instance *instance, int64_t limit)
{
    if (budgets->event_count == BUDGET_EVENTS_MAX) {
        budgets->event_first = (budgets->event_first + 1) % BUDGET_EVENTS_MAX;
        budgets->event_count--;
    }
    size_t at = (budgets->event_first + budgets->event_count++) % BUDGET_EVENTS_MAX;
    struct budget_event *event = &budgets->events[at];
    *event = (struct budget_event){
        .kind = kind, .from = from, .used = instance->window.sum, .limit = limit};
    snprintf(event->budget, sizeof(event->budget), "%s", instance->budget->def.name);
    snprintf(event->instance, sizeof(event->instance), "%s", instance->key);
}

/* The one place where a breaker changes. */
static void
enter(struct budgets *budgets, struct budget_instance *instance, enum breaker_state state)
{
    static const enum budget_event_kind kinds[] = {[BREAKER_CLOSED] = BUDGET_CLOSED,
                                                   [BREAKER_OPEN] = BUDGET_OPENED,
                                                   [BREAKER_HALF_OPEN] = BUDGET_HALF_OPENED};

    assert(instance->state != state);
    enum breaker_state from = instance->state;
    instance->state = state;
    note(budgets, kinds[state], from, instance, instance->budget->def.hard_limit);
}

static bool
is_spent(const struct budget_instance *instance)
{
    return instance->window.sum > 0 && instance->window.sum >= instance->budget->def.hard_limit;
}

static void
refresh_soft(struct budgets *budgets, struct budget_instance *instance)
{
    int64_t soft = instance->budget->def.soft_limit;
    bool over = soft > 0 && instance->window.sum >= soft;

    if (over && !instance->soft_told) {
        note(budgets, BUDGET_SOFT, instance->state, instance, soft);
    }
    instance->soft_told = over;
}

void
instance_refresh(struct budgets *budgets, struct budget_instance *instance, int64_t now_us)
{
    const struct budget_def *def = &instance->budget->def;

    instance_drain(instance, now_us);
    refresh_soft(budgets, instance);
    switch (instance->state) {
    case BREAKER_CLOSED:
    case BREAKER_HALF_OPEN:
        if (is_spent(instance)) {
            enter(budgets, instance, BREAKER_OPEN);
        }
        return;
    case BREAKER_OPEN:
        if (!is_spent(instance) && now_us >= instance->pause_until_us) {
            enter(budgets, instance,
                  def->half_open_probes == 0 ? BREAKER_CLOSED : BREAKER_HALF_OPEN);
        }
        return;
    }
}

/* The time under which an entry is kept: fixed windows need the period only. */
static int64_t
entry_key(const struct budget *budget, int64_t at_us)
{
    if (budget->def.window == WINDOW_SLIDING) {
        return at_us;
    }
    int64_t start = budget_period_start(&budget->def, at_us);
    return start > budget->reset_us ? start : budget->reset_us;
}

void
instance_add(struct budgets *budgets, struct budget_instance *instance, int64_t at_us,
             int64_t credits, int64_t now_us)
{
    if (at_us >= instance->budget->reset_us) {
        instance_drain(instance, now_us);
        window_add(&instance->window, entry_key(instance->budget, at_us), credits);
    }
    instance_refresh(budgets, instance, now_us);
}

static void
probe_failed(struct budgets *budgets, struct budget_instance *instance, int64_t now_us)
{
    instance->pause_until_us = budget_add_sat(now_us, instance->budget->def.half_open_pause_us);
    enter(budgets, instance, BREAKER_OPEN);
}

void
budgets_probe_done(struct budgets *budgets, const struct budget_hold *hold, bool success,
                   int64_t now_us)
{
    for (size_t i = 0; i < hold->count; i++) {
        const struct budget_held *held = hold_at(hold, i);
        struct budget_instance *instance = held_instance(held);
        if (!instance || !held->probe || instance->state != BREAKER_HALF_OPEN) {
            continue;
        }
        instance_refresh(budgets, instance, now_us);
        if (instance->state != BREAKER_HALF_OPEN) {
            continue;
        }
        if (success) {
            enter(budgets, instance, BREAKER_CLOSED);
        } else {
            probe_failed(budgets, instance, now_us);
        }
    }
}

bool
budgets_next_event(struct budgets *budgets, struct budget_event *ret_event)
{
    if (budgets->event_count == 0) {
        return false;
    }
    *ret_event = budgets->events[budgets->event_first];
    budgets->event_first = (budgets->event_first + 1) % BUDGET_EVENTS_MAX;
    budgets->event_count--;
    return true;
}

void
budgets_undo_event(struct budgets *budgets, const char *name, struct slice instance_key,
                   enum breaker_state from)
{
    struct budget *budget = budget_by_name(budgets, name);
    struct budget_instance *instance =
        budget ? instance_by_key(budgets, budget, instance_key, false, budgets->latest_us) : NULL;

    if (instance) {
        instance->state = from;
    }
}

void
budgets_undo_events(struct budgets *budgets)
{
    while (budgets->event_count > 0) {
        size_t at = (budgets->event_first + --budgets->event_count) % BUDGET_EVENTS_MAX;
        const struct budget_event *event = &budgets->events[at];
        if (event->kind != BUDGET_SOFT) {
            budgets_undo_event(budgets, event->budget, slice_of(event->instance), event->from);
        }
    }
}
