/* Budgets: definitions, reserving in all that cover a call or in none, booking. */
#include "meter/budget.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "meter/budget_private.h"

enum { ENTRIES_DEFAULT = 1 << 20, INSTANCES_DEFAULT = 100000, SOON_US = 1000000 };

const char *
budget_dimension_name(enum budget_dimension dimension)
{
    static const char *const names[DIM_COUNT] = {[DIM_API] = "api",
                                                 [DIM_ENDPOINT] = "endpoint",
                                                 [DIM_KEY] = "key",
                                                 [DIM_RUN_ID] = "run_id",
                                                 [DIM_PROJECT] = "project"};

    assert(dimension < DIM_COUNT);
    return names[dimension];
}

const char *
refusal_reason_name(enum refusal_reason reason)
{
    switch (reason) {
    case REFUSED_NOT:
        return "none";
    case REFUSED_WOULD_EXCEED:
        return "would_exceed";
    case REFUSED_OPEN:
        return "open";
    case REFUSED_PROBES:
        return "probes_out";
    case REFUSED_FORCED:
        return "forced_open";
    case REFUSED_NEVER:
        return "never_fits";
    case REFUSED_INSTANCES:
        return "instances";
    }
    return "none";
}

struct budgets *
budgets_new(const struct budgets_options *options)
{
    struct budgets *budgets = mem_zalloc(1, sizeof(*budgets));

    budgets->options = *options;
    if (budgets->options.window_entries_max == 0) {
        budgets->options.window_entries_max = ENTRIES_DEFAULT;
    }
    if (budgets->options.instances_max == 0) {
        budgets->options.instances_max = INSTANCES_DEFAULT;
    }
    budgets->latest_us = INT64_MIN;
    return budgets;
}

void
budgets_free(struct budgets *budgets)
{
    if (!budgets) {
        return;
    }
    while (budgets->live_count > 0) {
        instance_free(budgets, budgets->live[budgets->live_count - 1]);
    }
    for (size_t i = 0; i < budgets->spare_count; i++) {
        free(budgets->spare[i]);
    }
    for (size_t i = 0; i < budgets->count; i++) {
        budget_def_changed(&budgets->all[i]);
    }
    free(budgets->live);
    free(budgets->spare);
    free(budgets->buckets);
    free(budgets);
}

int64_t
budgets_time(struct budgets *budgets, int64_t wall_us)
{
    if (wall_us > budgets->latest_us) {
        budgets->latest_us = wall_us;
    }
    return budgets->latest_us;
}

struct budget *
budget_by_name(const struct budgets *budgets, const char *name)
{
    for (size_t i = 0; i < budgets->count; i++) {
        const struct budget *budget = &budgets->all[i];
        if (budget->in_use && !budget->filling && strcmp(budget->def.name, name) == 0) {
            return (struct budget *)(uintptr_t)budget; /* NOLINT: the caller owns all of them */
        }
    }
    return NULL;
}

const struct budget_def *
budgets_find(const struct budgets *budgets, const char *name)
{
    const struct budget *budget = budget_by_name(budgets, name);

    return budget ? &budget->def : NULL;
}

const struct budget_def *
budgets_at(const struct budgets *budgets, size_t index)
{
    for (size_t i = 0; i < budgets->count; i++) {
        if (budgets->all[i].in_use && !budgets->all[i].filling && index-- == 0) {
            return &budgets->all[i].def;
        }
    }
    return NULL;
}

static bool
same_counters(const struct budget_def *a, const struct budget_def *b)
{
    if (a->window != b->window || (a->window == WINDOW_SLIDING && a->window_us != b->window_us)) {
        return false;
    }
    for (size_t i = 0; i < DIM_COUNT; i++) {
        if (a->has_value[i] != b->has_value[i] ||
            (a->has_value[i] && strcmp(a->value[i], b->value[i]) != 0)) {
            return false;
        }
    }
    return true;
}

static struct budget *
free_slot(struct budgets *budgets)
{
    for (size_t i = 0; i < budgets->count; i++) {
        if (!budgets->all[i].in_use) {
            return &budgets->all[i];
        }
    }
    return budgets->count < BUDGETS_MAX ? &budgets->all[budgets->count++] : NULL;
}

/* A budget without "*" has its one counter from the start, so that it can be seen. */
static void
make_single(struct budgets *budgets, struct budget *budget)
{
    for (size_t i = 0; i < DIM_COUNT; i++) {
        if (budget_is_each(&budget->def, i)) {
            return;
        }
    }
    budget->single = instance_by_key(budgets, budget, slice_of(""), true, budgets->latest_us);
}

static struct budget *
filling_by_name(struct budgets *budgets, const char *name)
{
    for (size_t i = 0; i < budgets->count; i++) {
        struct budget *budget = &budgets->all[i];
        if (budget->in_use && budget->filling && strcmp(budget->def.name, name) == 0) {
            return budget;
        }
    }
    return NULL;
}

static void
drop(struct budgets *budgets, struct budget *budget)
{
    instances_of_budget_free(budgets, budget);
    budget_def_changed(budget);
    budget->single = NULL;
    budget->in_use = false;
}

enum err_code
budgets_set(struct budgets *budgets, const struct budget_def *def, bool *ret_filling,
            struct err *err)
{
    struct budget *budget = budget_by_name(budgets, def->name);
    struct budget *unfinished = filling_by_name(budgets, def->name);

    if (unfinished) {
        drop(budgets, unfinished);
    }
    if (budget && same_counters(&budget->def, def)) {
        budget->def = *def;
        budget_def_changed(budget);
        *ret_filling = false;
        return ERR_OK;
    }
    struct budget *fresh = free_slot(budgets);
    if (!fresh) {
        return err_set(err, ERR_TOO_LARGE,
                       "there are %d budgets, no more are kept: delete one first", BUDGETS_MAX);
    }
    *fresh = (struct budget){.def = *def, .in_use = true, .filling = true, .reset_us = INT64_MIN};
    make_single(budgets, fresh);
    *ret_filling = true;
    return ERR_OK;
}

void
budgets_filled(struct budgets *budgets, const char *name)
{
    struct budget *old = budget_by_name(budgets, name);
    struct budget *fresh = filling_by_name(budgets, name);

    if (!fresh) {
        return;
    }
    if (old) {
        drop(budgets, old);
    }
    fresh->filling = false;
}

bool
budgets_delete(struct budgets *budgets, const char *name)
{
    struct budget *budget = budget_by_name(budgets, name);

    if (!budget) {
        return false;
    }
    drop(budgets, budget);
    return true;
}

/* ---- holds ---- */

void
budget_hold_fini(struct budget_hold *hold)
{
    for (size_t i = 0; i < hold->count; i++) {
        struct budget_instance *instance = held_instance(hold_at(hold, i));
        if (instance) {
            assert(instance->holds > 0);
            instance->holds--;
        }
    }
    free(hold->more);
    *hold = (struct budget_hold){0};
}

static void
hold_push(struct budget_hold *hold, struct budget_instance *instance, bool probe)
{
    if (!hold->more && hold->count == BUDGET_HOLD_INLINE) {
        hold->more = mem_zalloc(BUDGET_COVER_MAX, sizeof(*hold->more));
        memcpy(hold->more, hold->inline_at, sizeof(hold->inline_at));
    }
    assert(hold->count < BUDGET_COVER_MAX);
    struct budget_held *held =
        hold->more ? &hold->more[hold->count] : &hold->inline_at[hold->count];
    *held = (struct budget_held){
        .instance = instance, .generation = instance->generation, .probe = probe};
    hold->count++;
    instance->holds++;
}

const char *
budget_hold_probe_of(const struct budget_hold *hold)
{
    for (size_t i = 0; i < hold->count; i++) {
        const struct budget_held *held = hold_at(hold, i);
        const struct budget_instance *instance = held_instance(held);
        if (held->probe && instance) {
            return instance->budget->def.name;
        }
    }
    return NULL;
}

/* ---- deciding ---- */

static int64_t
retry_after(const struct budget_instance *instance, int64_t need, int64_t now_us)
{
    const struct budget_def *def = &instance->budget->def;
    int64_t at_us;

    if (def->window == WINDOW_SLIDING) {
        at_us = window_when_freed(&instance->window, need > 0 ? need : 1);
        /* More than is booked has to go: then open reservations must end, who knows when. */
        if (at_us == INT64_MAX) {
            return SOON_US;
        }
        at_us = budget_add_sat(at_us, def->window_us + 1);
    } else {
        at_us = need > instance->window.sum ? now_us + SOON_US : budget_period_end(def, now_us);
    }
    if (at_us < instance->pause_until_us) {
        at_us = instance->pause_until_us;
    }
    return at_us > now_us ? at_us - now_us : SOON_US;
}

static void
fill_refusal(const struct budget_instance *instance, enum refusal_reason reason, int64_t credits,
             int64_t now_us, struct refusal *ret)
{
    const struct budget_def *def = &instance->budget->def;

    *ret = (struct refusal){.reason = reason,
                            .window = def->window,
                            .window_us = def->window == WINDOW_SLIDING
                                             ? def->window_us
                                             : budget_period_end(def, now_us) -
                                                   budget_period_start(def, now_us),
                            .limit = def->hard_limit,
                            .used = instance->window.sum,
                            .reserved = instance->reserved,
                            .requested = credits,
                            .state = instance->state};
    snprintf(ret->budget, sizeof(ret->budget), "%s", def->name);
    snprintf(ret->instance, sizeof(ret->instance), "%s", instance->key);
    if (reason == REFUSED_WOULD_EXCEED || reason == REFUSED_OPEN) {
        int64_t total = budget_add_sat(instance->window.sum, instance->reserved);
        int64_t need = budget_add_sat(budget_add_sat(total, credits), -def->hard_limit);
        ret->retry_after_us = retry_after(instance, need, now_us);
    } else if (reason == REFUSED_PROBES) {
        ret->retry_after_us = SOON_US;
    }
}

/* What an instance says to a call, its breaker being up to date. */
static enum refusal_reason
judge(const struct budget_instance *instance, int64_t credits)
{
    const struct budget_def *def = &instance->budget->def;
    int64_t total =
        budget_add_sat(budget_add_sat(instance->window.sum, instance->reserved), credits);

    if (def->mode == BUDGET_FORCED_OPEN) {
        return REFUSED_FORCED;
    }
    if (credits > def->hard_limit) {
        return REFUSED_NEVER;
    }
    if (instance->state == BREAKER_OPEN) {
        return REFUSED_OPEN;
    }
    if (instance->state == BREAKER_HALF_OPEN && instance->probes_out >= def->half_open_probes) {
        return REFUSED_PROBES;
    }
    return total > def->hard_limit ? REFUSED_WOULD_EXCEED : REFUSED_NOT;
}

static void
no_room(const struct budget *budget, int64_t credits, struct refusal *ret)
{
    *ret = (struct refusal){.reason = REFUSED_INSTANCES,
                            .window = budget->def.window,
                            .window_us = budget->def.window_us,
                            .limit = budget->def.hard_limit,
                            .requested = credits,
                            .retry_after_us = SOON_US};
    snprintf(ret->budget, sizeof(ret->budget), "%s", budget->def.name);
}

struct cover {
    struct budget_instance *at[BUDGET_COVER_MAX];
    size_t count;
};

/* Finds who covers the call and what they say; false with the refusal that lasts longest. */
static bool
ask_all(struct budgets *budgets, const struct call_scope *scope, int64_t credits, int64_t now_us,
        bool count_refusals, struct cover *cover, struct refusal *ret_refusal)
{
    bool refused = false;
    struct refusal refusal;

    cover->count = 0;
    for (size_t i = 0; i < budgets->count; i++) {
        struct budget *budget = &budgets->all[i];
        if (!budget->in_use || !budget_matches(&budget->def, scope)) {
            continue;
        }
        struct budget_instance *instance = instance_of(budgets, budget, scope, true, now_us);
        if (!instance && budget->filling) {
            continue;
        }
        if (!instance) {
            no_room(budget, credits, &refusal);
        } else {
            cover->at[cover->count++] = instance;
            instance_refresh(budgets, instance, now_us);
            enum refusal_reason reason = judge(instance, credits);
            if (reason == REFUSED_NOT) {
                continue;
            }
            if (budget->filling || budget->def.mode == BUDGET_METRICS_ONLY) {
                instance->would_refuse += count_refusals;
                continue;
            }
            instance->refused += count_refusals;
            fill_refusal(instance, reason, credits, now_us, &refusal);
        }
        /* 0 is for ever; otherwise the longer wait is the one to tell. */
        if (!refused || refusal.retry_after_us == 0 ||
            (ret_refusal->retry_after_us != 0 &&
             refusal.retry_after_us > ret_refusal->retry_after_us)) {
            *ret_refusal = refusal;
        }
        refused = true;
    }
    return !refused;
}

bool
budgets_reserve(struct budgets *budgets, const struct call_scope *scope, int64_t credits,
                int64_t now_us, struct budget_hold *ret_hold, struct refusal *ret_refusal)
{
    struct cover cover;

    assert(credits >= 0 && ret_hold->count == 0);
    if (!ask_all(budgets, scope, credits, now_us, true, &cover, ret_refusal)) {
        return false;
    }
    for (size_t i = 0; i < cover.count; i++) {
        struct budget_instance *instance = cover.at[i];
        bool probe = instance->state == BREAKER_HALF_OPEN && !instance->budget->filling &&
                     instance->budget->def.mode == BUDGET_ENFORCE;
        instance->reserved = budget_add_sat(instance->reserved, credits);
        instance->probes_out += probe;
        hold_push(ret_hold, instance, probe);
    }
    return true;
}

bool
budgets_check(struct budgets *budgets, const struct call_scope *scope, int64_t credits,
              int64_t now_us, struct refusal *ret_refusal)
{
    struct cover cover;

    return ask_all(budgets, scope, credits, now_us, false, &cover, ret_refusal);
}

bool
budgets_extend(struct budgets *budgets, struct budget_hold *hold, int64_t credits, int64_t now_us,
               struct refusal *ret_refusal)
{
    assert(credits >= 0);
    for (size_t i = 0; i < hold->count; i++) {
        struct budget_instance *instance = held_instance(hold_at(hold, i));
        if (!instance || instance->budget->filling ||
            instance->budget->def.mode == BUDGET_METRICS_ONLY) {
            continue;
        }
        instance_refresh(budgets, instance, now_us);
        int64_t total = budget_add_sat(instance->window.sum, instance->reserved);
        if (budget_add_sat(total, credits) > instance->budget->def.hard_limit) {
            instance->refused++;
            fill_refusal(instance, REFUSED_WOULD_EXCEED, credits, now_us, ret_refusal);
            return false;
        }
    }
    budgets_hold_again(budgets, hold, credits, false);
    return true;
}

void
budgets_release(struct budgets *budgets, const struct budget_hold *hold, int64_t credits,
                bool probe_over)
{
    (void)budgets;
    for (size_t i = 0; i < hold->count; i++) {
        const struct budget_held *held = hold_at(hold, i);
        struct budget_instance *instance = held_instance(held);
        if (!instance) {
            continue;
        }
        assert(instance->reserved >= credits);
        instance->reserved -= credits;
        if (probe_over && held->probe) {
            assert(instance->probes_out > 0);
            instance->probes_out--;
        }
    }
}

void
budgets_hold_again(struct budgets *budgets, struct budget_hold *hold, int64_t credits,
                   bool probe_again)
{
    (void)budgets;
    for (size_t i = 0; i < hold->count; i++) {
        const struct budget_held *held = hold_at(hold, i);
        struct budget_instance *instance = held_instance(held);
        if (instance) {
            instance->reserved = budget_add_sat(instance->reserved, credits);
            instance->probes_out += probe_again && held->probe;
        }
    }
}

void
budgets_rehold(struct budgets *budgets, const struct call_scope *scope, int64_t credits,
               struct slice probe_of, int64_t now_us, struct budget_hold *ret_hold)
{
    assert(ret_hold->count == 0);
    for (size_t i = 0; i < budgets->count; i++) {
        struct budget *budget = &budgets->all[i];
        if (!budget->in_use || !budget_matches(&budget->def, scope)) {
            continue;
        }
        struct budget_instance *instance = instance_of(budgets, budget, scope, true, now_us);
        if (instance) {
            bool probe = slice_is(probe_of, budget->def.name);
            instance->reserved = budget_add_sat(instance->reserved, credits);
            instance->probes_out += probe;
            hold_push(ret_hold, instance, probe);
        }
    }
}

/* Takes out what an earlier definition left behind, so that a hold never outgrows the budgets. */
static void
drop_stale(struct budget_hold *hold)
{
    struct budget_hold fresh = {0};

    for (size_t i = 0; i < hold->count; i++) {
        const struct budget_held *held = hold_at(hold, i);
        if (held_instance(held)) {
            hold_push(&fresh, held->instance, held->probe);
        }
    }
    budget_hold_fini(hold);
    *hold = fresh;
}

void
budgets_fill_hold(struct budgets *budgets, const char *name, const struct call_scope *scope,
                  int64_t credits, int64_t now_us, struct budget_hold *hold)
{
    struct budget *budget = filling_by_name(budgets, name);

    if (!budget || !budget_matches(&budget->def, scope)) {
        return;
    }
    struct budget_instance *instance = instance_of(budgets, budget, scope, true, now_us);
    if (!instance) {
        return;
    }
    drop_stale(hold);
    instance->reserved = budget_add_sat(instance->reserved, credits);
    hold_push(hold, instance, false);
}

/* ---- booking ---- */

void
budgets_count(struct budgets *budgets, const struct call_scope *scope, int64_t at_us,
              int64_t credits, int64_t now_us)
{
    for (size_t i = 0; i < budgets->count && credits != 0; i++) {
        struct budget *budget = &budgets->all[i];
        if (!budget->in_use || !budget_matches(&budget->def, scope)) {
            continue;
        }
        struct budget_instance *instance = instance_of(budgets, budget, scope, true, now_us);
        if (instance) {
            instance_add(budgets, instance, at_us, credits, now_us);
        }
    }
}

void
budgets_fill(struct budgets *budgets, const char *name, const struct call_scope *scope,
             int64_t at_us, int64_t credits, int64_t now_us)
{
    struct budget *budget = filling_by_name(budgets, name);

    if (!budget || !budget_matches(&budget->def, scope)) {
        return;
    }
    struct budget_instance *instance = instance_of(budgets, budget, scope, true, now_us);
    if (instance) {
        instance_add(budgets, instance, at_us, credits, now_us);
    }
}

/* ---- operators ---- */

bool
budgets_set_mode(struct budgets *budgets, const char *name, enum budget_mode mode)
{
    struct budget *budget = budget_by_name(budgets, name);

    if (!budget) {
        return false;
    }
    budget->def.mode = mode;
    budget_def_changed(budget);
    return true;
}

static void
each_of(struct budgets *budgets, const struct budget *budget,
        void (*fn)(struct budget_instance *instance))
{
    for (size_t i = 0; i < budgets->live_count; i++) {
        if (budgets->live[i]->budget == budget) {
            fn(budgets->live[i]);
        }
    }
}

static void
close_breaker(struct budget_instance *instance)
{
    instance->state = BREAKER_CLOSED;
    instance->pause_until_us = INT64_MIN;
    instance->soft_told = false;
}

bool
budgets_reset(struct budgets *budgets, const char *name, int64_t now_us)
{
    struct budget *budget = budget_by_name(budgets, name);

    if (!budget) {
        return false;
    }
    budget->reset_us = now_us;
    each_of(budgets, budget, close_breaker);
    for (size_t i = 0; i < budgets->live_count; i++) {
        if (budgets->live[i]->budget == budget) {
            instance_drain(budgets->live[i], now_us);
        }
    }
    return true;
}

void
budgets_restore_reset(struct budgets *budgets, const char *name, int64_t reset_us)
{
    struct budget *budget = budget_by_name(budgets, name);

    if (budget) {
        budget->reset_us = reset_us;
        each_of(budgets, budget, close_breaker);
    }
}

void
budgets_restore_state(struct budgets *budgets, const char *name, struct slice instance_key,
                      enum breaker_state state, int64_t now_us)
{
    struct budget *budget = budget_by_name(budgets, name);
    struct budget_instance *instance =
        budget ? instance_by_key(budgets, budget, instance_key, true, now_us) : NULL;

    if (instance) {
        instance->state = state;
    }
}
