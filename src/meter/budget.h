/*
 * Budgets: limits on credits by scope and window, their counters, and the breaker of each. A pure
 * state machine: time is passed in, nothing is written; meter.h makes its decisions durable.
 *
 * A budget covers the calls that its scope matches. A dimension of the scope is a text (that value
 * only), "*" (every value has a counter of its own) or absent (any value, together). An instance is
 * one counter: the budget's name and the values of its "*" dimensions.
 *
 *   used      credits booked within the window, exact to the entry
 *   reserved  credits of open reservations
 *   hard      used + reserved + cost > hard_limit is refused
 *
 * The breaker of an instance:
 *
 *              used >= hard
 *    CLOSED ------------------> OPEN <---------------------------+
 *      ^  \                      | used < hard, pause over       | a probe failed, or used >= hard
 *      |   \ (half_open_probes   v                               |
 *      |    \ == 0: straight) HALF_OPEN: at most N probes -------+
 *      |     <---------------/   | a probe succeeded
 *      +-------------------------+
 *    FORCED_OPEN: an operator refuses everything until enforce/reset. METRICS_ONLY: counts what it
 *    would have refused, refuses nothing. Both are modes of the budget, not of one instance.
 *
 * A probe is a reservation: its lease ends it, so a probe that never returns frees its place.
 *
 * Time: windows follow the wall clock but never go back (budgets_time): a clock that steps back
 * gives nothing back, one that steps forward ages the window, as time would.
 *
 * Not thread-safe: the meter's lock guards it.
 */
#ifndef EIDER_METER_BUDGET_H
#define EIDER_METER_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "meter/window.h"

struct budgets;
struct budget;
struct budget_instance;
struct budget_hold;

enum {
    BUDGETS_MAX = 64,               /* definitions */
    BUDGET_NAME_MAX = 64,           /* [A-Za-z0-9._-] */
    BUDGET_VALUE_MAX = 256,         /* bytes of one value of a dimension */
    BUDGET_COVER_MAX = BUDGETS_MAX, /* budgets that may cover one call */
    BUDGET_HOLD_INLINE = 4,
    BUDGET_INSTANCE_MAX = 5 * (BUDGET_VALUE_MAX + 16), /* of an instance's text, with the NUL */
    BUDGET_WINDOW_MINUTES_MAX = 31 * 24 * 60
};

enum budget_dimension { DIM_API, DIM_ENDPOINT, DIM_KEY, DIM_RUN_ID, DIM_PROJECT, DIM_COUNT };
const char *budget_dimension_name(enum budget_dimension dimension); /* "api", "endpoint", ... */

/* What a call is, for scopes. Empty: the call has no such value. */
struct call_scope {
    struct slice values[DIM_COUNT];
};

enum budget_window { WINDOW_SLIDING, WINDOW_HOUR, WINDOW_DAY, WINDOW_MONTH };
enum budget_mode { BUDGET_ENFORCE, BUDGET_METRICS_ONLY, BUDGET_FORCED_OPEN };
enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };

/* As JSON has them: "sliding", "metrics_only", "half_open" ... */
const char *budget_window_name(enum budget_window window);
const char *budget_mode_name(enum budget_mode mode);
const char *breaker_state_name(enum breaker_state state);

/* A definition as JSON writes it: {"name", "scope": {"api": "birdeye", "run_id": "*"}, "window":
 * "sliding" | "hour" | "day" | "month", "window_minutes": 60, "hard_limit": 1000000, "soft_limit":
 * 800000, "mode": "enforce" | "metrics_only" | "forced_open", "half_open_probes": 1,
 * "half_open_pause_ms": 10000, "description"}. Credits are numbers with up to six decimals. */
struct budget_def {
    char name[BUDGET_NAME_MAX + 1];
    bool has_value[DIM_COUNT];
    char value[DIM_COUNT][BUDGET_VALUE_MAX + 1]; /* "*": each */
    enum budget_window window;
    int64_t window_us;  /* WINDOW_SLIDING: length */
    int64_t hard_limit; /* micro-credits; 0: refuses everything that costs */
    int64_t soft_limit; /* 0: none */
    enum budget_mode mode;
    unsigned half_open_probes;  /* 0: closes by itself, as the original did */
    int64_t half_open_pause_us; /* after a failed probe */
    char description[256];
};

/* Defaults: sliding, 60 minutes, 1 000 000 credits, enforce, 1 probe, 10 s. */
void budget_def_init(struct budget_def *def, const char *name);

/* Reads and checks a definition. ERR_SYNTAX; ERR_INVALID naming field, value and expectation
 * (unknown fields suggest the nearest). A name in the JSON must equal `name` unless that is NULL.
 */
enum err_code budget_def_parse(struct slice json, const char *name, struct budget_def *ret_def,
                               struct err *err);
void budget_def_write(const struct budget_def *def, struct buf *ret_json);

struct budgets_options {
    size_t window_entries_max; /* of one instance; 0: 1 048 576 */
    size_t instances_max;      /* of all budgets; 0: 100 000. Over it, empty ones go first; then
                                  a call that needs a new one is refused */
};

struct budgets *budgets_new(const struct budgets_options *options);
void budgets_free(struct budgets *budgets);

/*
 * Defines or replaces. When scope and window stay, counters stay and it holds at once. Otherwise it
 * counts beside what there was of that name, deciding nothing (*ret_filling), until the caller has
 * filled it by budgets_fill and budgets_fill_hold and ends that by budgets_filled. A second set
 * ends the filling of the first. ERR_TOO_LARGE over BUDGETS_MAX.
 */
enum err_code budgets_set(struct budgets *budgets, const struct budget_def *def, bool *ret_filling,
                          struct err *err);

/* Books a past entry, holds an open reservation, in the budget that is being filled alone. */
void budgets_fill(struct budgets *budgets, const char *name, const struct call_scope *scope,
                  int64_t at_us, int64_t credits, int64_t now_us);
void budgets_fill_hold(struct budgets *budgets, const char *name, const struct call_scope *scope,
                       int64_t credits, int64_t now_us, struct budget_hold *hold);

/* From now on it decides; the one that had its name is gone. */
void budgets_filled(struct budgets *budgets, const char *name);
/* False when there is none. Reservations that hold credits in it simply lose them. */
bool budgets_delete(struct budgets *budgets, const char *name);
const struct budget_def *budgets_find(const struct budgets *budgets, const char *name);
const struct budget_def *budgets_at(const struct budgets *budgets, size_t index); /* or NULL */

enum refusal_reason {
    REFUSED_NOT,
    REFUSED_WOULD_EXCEED, /* used + reserved + cost > hard limit */
    REFUSED_OPEN,         /* used >= hard limit, or the pause after a failed probe */
    REFUSED_PROBES,       /* half-open, and all its probes are out */
    REFUSED_FORCED,       /* forced open */
    REFUSED_NEVER,        /* cost > hard limit: it will never fit */
    REFUSED_INSTANCES     /* no room for another counter */
};
const char *refusal_reason_name(enum refusal_reason reason);

/* One covering budget as it stands; texts live until the next change of the budgets. */
struct budget_view {
    const struct budget_def *def;
    const char *instance; /* "run_id=r1", "" without "*" */
    int64_t used;
    int64_t reserved;
    enum breaker_state state;
    unsigned probes_out;
    int64_t would_refuse;   /* calls METRICS_ONLY would have refused */
    int64_t refused;        /* calls refused */
    int64_t window_from_us; /* entries at or after count */
    int64_t resets_at_us;   /* fixed: end of the period; sliding: when all of it has drained */
    uint64_t joined;        /* window_joined: above 0 the window is no longer exact to the entry */
};

struct refusal {
    enum refusal_reason reason;
    char budget[BUDGET_NAME_MAX + 1];
    char instance[BUDGET_INSTANCE_MAX];
    enum budget_window window;
    int64_t window_us;
    int64_t limit, used, reserved, requested;
    enum breaker_state state;
    int64_t retry_after_us; /* earliest time it may fit, from now; 0: waiting does not help */
};

/* What a reservation holds in one instance. */
struct budget_held {
    struct budget_instance *instance;
    uint64_t
        generation; /* an instance that was deleted since, or used for another value, is skipped */
    bool probe;
};

/* What a reservation holds; zeroed before its first use, budget_hold_fini behind its last. */
struct budget_hold {
    size_t count;
    struct budget_held *more; /* when there are more than fit inline: all of them */
    struct budget_held inline_at[BUDGET_HOLD_INLINE];
};
void budget_hold_fini(struct budget_hold *hold);

/*
 * The time that windows go by: `wall_us`, or the latest ever asked for when the clock has stepped
 * back. Every now_us and at_us below is in this time: an entry of age a is at budgets_time() - a.
 */
int64_t budgets_time(struct budgets *budgets, int64_t wall_us);

/*
 * Reserves `credits` in every budget that covers the call, or in none: false with *ret_refusal (of
 * the first that refuses, the one with the longest wait last). Soft limits passed are told by
 * budgets_next_event.
 */
bool budgets_reserve(struct budgets *budgets, const struct call_scope *scope, int64_t credits,
                     int64_t now_us, struct budget_hold *ret_hold, struct refusal *ret_refusal);

/* More for a hold that exists; probes and open breakers do not refuse it. */
bool budgets_extend(struct budgets *budgets, struct budget_hold *hold, int64_t credits,
                    int64_t now_us, struct refusal *ret_refusal);

/* Gives `credits` back; `probe_over`: the reservation ends, its probes' places are free. */
void budgets_release(struct budgets *budgets, const struct budget_hold *hold, int64_t credits,
                     bool probe_over);

/* Takes them again without asking (undoing a release, or rebuilding after a start). */
void budgets_hold_again(struct budgets *budgets, struct budget_hold *hold, int64_t credits,
                        bool probe_again);

/* A hold for a reservation that was made before a start, in what covers the call now. `probe_of`
 * (empty: none) is the budget whose probe it is. */
void budgets_rehold(struct budgets *budgets, const struct call_scope *scope, int64_t credits,
                    struct slice probe_of, int64_t now_us, struct budget_hold *ret_hold);

/* Name of a budget whose half-open probe this hold is, or NULL. */
const char *budget_hold_probe_of(const struct budget_hold *hold);

/* Books `credits` at `at_us` in every budget that covers the call; below 0 undoes or corrects. */
void budgets_count(struct budgets *budgets, const struct call_scope *scope, int64_t at_us,
                   int64_t credits, int64_t now_us);

/* How a probe ended: closes the breaker, or opens it again for the pause. */
void budgets_probe_done(struct budgets *budgets, const struct budget_hold *hold, bool success,
                        int64_t now_us);

/* Would this call pass now? Changes nothing but drained windows. */
bool budgets_check(struct budgets *budgets, const struct call_scope *scope, int64_t credits,
                   int64_t now_us, struct refusal *ret_refusal);

/* Operator's: mode of a budget; reset empties its counters (what is reserved stays) and closes its
 * breakers. False when there is no such budget. */
bool budgets_set_mode(struct budgets *budgets, const char *name, enum budget_mode mode);
bool budgets_reset(struct budgets *budgets, const char *name, int64_t now_us);

/* Puts a breaker where it was before a start. */
void budgets_restore_state(struct budgets *budgets, const char *name, struct slice instance,
                           enum breaker_state state, int64_t now_us);

/* Puts the time of the last reset where it was before a start: earlier entries do not count, and
 * breakers are closed. */
void budgets_restore_reset(struct budgets *budgets, const char *name, int64_t reset_us);

/* The instances that cover a call, at most BUDGET_COVER_MAX; returns how many. */
size_t budgets_covering(struct budgets *budgets, const struct call_scope *scope, int64_t now_us,
                        struct budget_view *ret_views, size_t max);

/*
 * Views of the counters that a reservation holds credits in. Their definitions are copies that many
 * views share, and stay until budget_def_unref. `resets_at_us` is 0 for sliding windows: it takes a
 * walk over the window.
 */
size_t budgets_held_views(const struct budget_hold *hold, int64_t now_us,
                          struct budget_view *ret_views, size_t max);
void budget_def_unref(const struct budget_def *def); /* any thread; NULL is fine */

/* Views of all instances: index 0, 1, ... until false. One that is being filled has a NULL def. */
bool budgets_view_at(struct budgets *budgets, size_t index, int64_t now_us,
                     struct budget_view *ret_view);

/* The longest window of all definitions, for rebuilding: how far back entries matter. */
int64_t budgets_horizon_us(const struct budgets *budgets, int64_t now_us);

/* What happened since it was asked last, oldest first; at most 128 are kept. */
enum budget_event_kind { BUDGET_OPENED, BUDGET_HALF_OPENED, BUDGET_CLOSED, BUDGET_SOFT };
struct budget_event {
    enum budget_event_kind kind;
    enum breaker_state from; /* where the breaker was; not BUDGET_SOFT */
    char budget[BUDGET_NAME_MAX + 1];
    char instance[BUDGET_INSTANCE_MAX];
    int64_t used, limit;
};
bool budgets_next_event(struct budgets *budgets, struct budget_event *ret_event);

/* Takes back what the breakers did since then, the newest first: a decision was not made after all.
 */
void budgets_undo_events(struct budgets *budgets);

/* Puts the breaker of an instance that is there back to where it was before an event. */
void budgets_undo_event(struct budgets *budgets, const char *name, struct slice instance,
                        enum breaker_state from);

/* ---- looking ahead ---- */

struct budget_forecast {
    double rate_per_s; /* credits (not micro) a second over the last `sample_us` */
    int64_t sample_us;
    int64_t
        exhausted_at_us; /* when used + reserved reaches the limit at this rate; 0: never within
                            the window (sliding: it settles below; fixed: the period ends first) */
    int64_t projected;   /* micro-credits: fixed: at the end of the period; sliding: where it
                            settles */
};

/* For the instance at `index` of budgets_view_at. */
bool budgets_forecast(struct budgets *budgets, size_t index, int64_t now_us,
                      struct budget_forecast *ret_forecast);

#endif
