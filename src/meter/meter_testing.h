/*
 * For the tests of the meter: a meter on a log in memory with a clock that the test moves, calls
 * that wait for nothing, and what the last of them was told.
 */
#ifndef EIDER_METER_METER_TESTING_H
#define EIDER_METER_METER_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "codec/decimal.h"
#include "codec/time.h"
#include "meter/fake_log.h"
#include "meter/meter.h"

#define NOW_US INT64_C(1767323045000000) /* 2026-01-02T03:04:05 */
#define MINUTE_US (60 * TIME_US_PER_S)
#define CREDITS(n) ((n)*DECIMAL_ONE)

/* An answer, copied. */
struct told {
    int calls;
    enum err_code code;
    char msg[ERR_MSG_MAX];
    bool refused;
    struct refusal refusal;
    bool replayed;
    uint64_t lsn;
    char id[METER_ID_MAX + 1];
    char event_id[METER_ID_MAX + 1];
    char price_rule[128];
    int64_t credits;
    int64_t expires_us;
    size_t stored, duplicates, budgets;
    int64_t used, reserved; /* of the first budget */
};

struct world {
    struct clock_manual clock;
    struct fake_log log;
    struct meter_options options;
    struct meter *meter;
    struct told told;
};

static inline void
on_done(void *ctx, const struct meter_answer *answer)
{
    struct told *told = ctx;

    told->calls++;
    told->code = answer->code;
    snprintf(told->msg, sizeof(told->msg), "%s", answer->err ? answer->err->msg : "");
    told->refused = answer->refusal != NULL;
    if (answer->refusal) {
        told->refusal = *answer->refusal;
    }
    told->replayed = answer->replayed;
    told->lsn = answer->lsn;
    snprintf(told->id, sizeof(told->id), "%s",
             answer->reservation_id ? answer->reservation_id : "");
    snprintf(told->event_id, sizeof(told->event_id), "%s",
             answer->event_id ? answer->event_id : "");
    snprintf(told->price_rule, sizeof(told->price_rule), "%s",
             answer->price_rule ? answer->price_rule : "");
    told->credits = answer->credits;
    told->expires_us = answer->expires_us;
    told->stored = answer->stored;
    told->duplicates = answer->duplicates;
    told->budgets = answer->budget_count;
    if (answer->budget_count > 0) {
        told->used = answer->budgets[0].used;
        told->reserved = answer->budgets[0].reserved;
    }
}

/* With a budget "default" and this limit; the options are the test's until it starts the meter. */
static inline struct world *
world_new(int64_t limit)
{
    struct world *world = mem_zalloc(1, sizeof(*world));

    clock_manual_init(&world->clock, NOW_US);
    fake_log_init(&world->log);
    world->options = (struct meter_options){
        .clock = &world->clock.clock, .has_default_budget = true, .manual = true};
    budget_def_init(&world->options.default_budget, "default");
    world->options.default_budget.hard_limit = limit;
    fake_log_io(&world->log, &world->options.io);
    return world;
}

static inline void
start(struct world *world)
{
    struct err err;

    assert_int_equal(ERR_OK, meter_open(&world->options, &world->meter, &err));
}

static inline struct world *
world_run(int64_t limit)
{
    struct world *world = world_new(limit);

    start(world);
    return world;
}

static inline void
restart(struct world *world)
{
    meter_close(world->meter);
    world->clock.mono_now_us = 5;
    start(world);
}

static inline void
world_free(struct world *world)
{
    meter_close(world->meter);
    assert_int_equal(0, world->log.double_submits);
    fake_log_fini(&world->log);
    free(world);
}

static inline struct meter_reserve
request_of(const char *id, int64_t credits)
{
    return (struct meter_reserve){
        .call = {.api_name = SLICE_LITERAL("birdeye"), .endpoint = SLICE_LITERAL("/defi/price")},
        .reservation_id = slice_of(id),
        .has_credits = true,
        .max_credits = credits};
}

static inline struct told *
send_reserve(struct world *world, const struct meter_reserve *request)
{
    world->told = (struct told){0};
    meter_reserve(world->meter, request, on_done, &world->told);
    return &world->told;
}

static inline struct told *
reserve(struct world *world, const char *id, int64_t credits)
{
    struct meter_reserve request = request_of(id, credits);

    return send_reserve(world, &request);
}

/* `credits` below 0: without a cost of its own. */
static inline struct told *
commit(struct world *world, const char *id, int64_t credits)
{
    struct meter_commit request = {.reservation_id = slice_of(id),
                                   .has_status = true,
                                   .status_code = 200,
                                   .latency_ms = 12,
                                   .has_credits = credits >= 0,
                                   .credits = credits};

    world->told = (struct told){0};
    meter_commit(world->meter, &request, on_done, &world->told);
    return &world->told;
}

static inline struct told *
append(struct world *world, const struct event *events, size_t count, bool enforce)
{
    struct meter_append request = {.events = events, .count = count, .enforce = enforce};

    world->told = (struct told){0};
    meter_append(world->meter, &request, on_done, &world->told);
    return &world->told;
}

/* The instances of one budget: sums, and the last one's state and name. */
struct seen {
    const char *budget;
    int64_t used, reserved;
    enum breaker_state state;
    int count;
    char instance[2048];
};

static inline void
see(void *ctx, const struct budget_view *view, const struct budget_forecast *forecast)
{
    struct seen *seen = ctx;

    (void)forecast;
    if (strcmp(view->def->name, seen->budget) == 0) {
        seen->used += view->used;
        seen->reserved += view->reserved;
        seen->state = view->state;
        seen->count++;
        snprintf(seen->instance, sizeof(seen->instance), "%s", view->instance);
    }
}

static inline struct seen
look_at(struct world *world, const char *budget)
{
    struct seen seen = {.budget = budget};

    meter_each_budget(world->meter, see, &seen);
    return seen;
}

#endif
