/* What the files of the budgets share. */
#ifndef EIDER_METER_BUDGET_PRIVATE_H
#define EIDER_METER_BUDGET_PRIVATE_H

#include <stdatomic.h>

#include "meter/budget.h"

enum { BUDGET_EVENTS_MAX = 128 };

/* A definition as answers show it, until it changes: they share it, none of them waits. */
struct budget_def_copy {
    struct budget_def def; /* first: what answers point to */
    atomic_uint refs;
};

struct budget {
    struct budget_def def;
    struct budget_def_copy *copy;   /* made when it is first shown; NULL behind a change */
    struct budget_instance *single; /* the one counter of a budget without "*", if there is room */
    bool in_use;
    bool filling;     /* counts, but does not decide yet; lookups by name pass it by */
    int64_t reset_us; /* entries before it do not count; INT64_MIN: never reset */
};

/*
 * One counter. Instances are never freed before the budgets are: a hold may point at one that was
 * given to another value since, which its generation tells.
 */
struct budget_instance {
    struct budget *budget; /* NULL: free */
    char *key;             /* values of the "*" dimensions, "" without; owned */
    uint64_t hash;         /* of budget and key */
    uint64_t generation;
    size_t index;                 /* in budgets.live, or budgets.spare */
    struct budget_instance *next; /* in its bucket */
    struct window window;
    int64_t reserved;
    enum breaker_state state;
    unsigned probes_out;
    unsigned holds; /* that point here: while there are any, it is not given to another value */
    int64_t pause_until_us; /* open at least until then, after a failed probe */
    int64_t would_refuse, refused;
    bool soft_told;
};

struct budgets {
    struct budgets_options options;
    struct budget all[BUDGETS_MAX];
    size_t count; /* slots that were ever used */
    struct budget_instance **live;
    size_t live_count, live_capacity;
    struct budget_instance **spare; /* free ones */
    size_t spare_count, spare_capacity;
    struct budget_instance **buckets; /* a power of two */
    size_t bucket_count;
    uint64_t generation;
    int64_t latest_us;
    size_t evict_at; /* where the search for an empty one goes on */
    struct budget_event events[BUDGET_EVENTS_MAX];
    size_t event_first, event_count;
};

/* ---- budget_window.c: periods ---- */

/* Start of the period that `at_us` is in; sliding: the oldest time that still counts then. */
int64_t budget_period_start(const struct budget_def *def, int64_t at_us);
/* End of it; sliding: now. */
int64_t budget_period_end(const struct budget_def *def, int64_t at_us);

/* Forgets what is no longer in the window. */
void instance_drain(struct budget_instance *instance, int64_t now_us);

/* Moves the breaker to where it belongs now; notes what happened. */
void instance_refresh(struct budgets *budgets, struct budget_instance *instance, int64_t now_us);

void instance_add(struct budgets *budgets, struct budget_instance *instance, int64_t at_us,
                  int64_t credits, int64_t now_us);

int64_t budget_add_sat(int64_t a, int64_t b);

/* Behind every change of a definition: answers to come get a new copy. */
void budget_def_changed(struct budget *budget);

/* ---- budget_instance.c: finding and making instances ---- */

bool budget_matches(const struct budget_def *def, const struct call_scope *scope);

/* The instance of a budget for this call (which matches); made when absent and `make`; NULL when
 * absent, or when there is no room. */
struct budget_instance *instance_of(struct budgets *budgets, struct budget *budget,
                                    const struct call_scope *scope, bool make, int64_t now_us);
struct budget_instance *instance_by_key(struct budgets *budgets, struct budget *budget,
                                        struct slice key, bool make, int64_t now_us);
void instance_free(struct budgets *budgets, struct budget_instance *instance);
void instances_of_budget_free(struct budgets *budgets, const struct budget *budget);

struct budget *budget_by_name(const struct budgets *budgets, const char *name);

static inline bool
budget_is_each(const struct budget_def *def, size_t dimension)
{
    return def->has_value[dimension] && def->value[dimension][0] == '*' &&
           def->value[dimension][1] == '\0';
}

static inline const struct budget_held *
hold_at(const struct budget_hold *hold, size_t index)
{
    return hold->more ? &hold->more[index] : &hold->inline_at[index];
}

/* The instance, or NULL when it is another's by now. */
static inline struct budget_instance *
held_instance(const struct budget_held *held)
{
    return held->instance->generation == held->generation ? held->instance : NULL;
}

void instance_view(const struct budget_instance *instance, int64_t now_us,
                   struct budget_view *ret_view);

#endif
