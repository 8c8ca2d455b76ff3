/* What an op did to the state: taking it back when its record failed, ending it when it is durable.
 */
#include <assert.h>
#include <string.h>

#include "meter/budget_private.h"
#include "meter/meter_private.h"

/* Books an op's events in the budgets, or (sign -1) takes them out again. */
static void
count_events(struct meter *meter, const struct op *op, int sign)
{
    for (size_t i = 0; i < op->event_count; i++) {
        struct call_scope scope = event_scope(&op->events[i]);
        budgets_count(meter->budgets, &scope, op->event_window_us[i], sign * op->events[i].credits,
                      op->window_us);
    }
}

static void
forget_ids(struct meter *meter, const struct op *op)
{
    for (size_t i = op->event_count; i > 0; i--) {
        ids_remove(meter->ids, op->events[i - 1].id);
    }
}

static void
reopen(struct meter *meter, struct op *op)
{
    struct reservation *reservation = op->reservation;

    reservations_reopen(&meter->reservations, reservation);
    /* A probe's place is given up only when its end is durable, but by release and expiry. */
    budgets_hold_again(meter->budgets, &reservation->hold, reservation->credits,
                       op->kind != OP_COMMIT);
}

void
op_undo(struct meter *meter, struct op *op)
{
    struct reservation *reservation = op->reservation;

    switch (op->kind) {
    case OP_RESERVE:
        budgets_release(meter->budgets, &reservation->hold, reservation->credits, true);
        break;
    case OP_COMMIT:
        count_events(meter, op, -1);
        forget_ids(meter, op);
        reopen(meter, op);
        break;
    case OP_RELEASE:
    case OP_EXPIRE:
        reopen(meter, op);
        break;
    case OP_EXTEND:
        budgets_release(meter->budgets, &reservation->hold, reservation->credits - op->old_credits,
                        false);
        reservations_resize(&meter->reservations, reservation, op->old_credits);
        reservations_move(&meter->reservations, reservation, op->old_deadline_us);
        reservation->expires_us = op->old_expires_us;
        reservation->ttl_us = op->old_ttl_us;
        break;
    case OP_APPEND:
        count_events(meter, op, -1);
        forget_ids(meter, op);
        break;
    case OP_PRICES:
        meter_prices_forget(meter, op);
        break;
    case OP_BUDGET:
        if (op->breaker_text) {
            budgets_undo_event(meter->budgets, op->budget_name, slice_of(op->budget_instance),
                               op->breaker_from);
        }
        break;
    case OP_NOTHING:
        break;
    }
}

static void
settle_events(struct meter *meter, struct op *op)
{
    for (size_t i = 0; i < op->event_count; i++) {
        series_count_event(meter, &op->events[i]);
        meter->stats.corrections += op->events[i].corrects.len > 0;
        meter->stats.credits_booked =
            budget_add_sat(meter->stats.credits_booked, op->events[i].credits);
    }
    meter->stats.events += op->event_count;
}

static void
settle_commit(struct meter *meter, struct op *op)
{
    struct reservation *reservation = op->reservation;

    meter->stats.commits++;
    meter->stats.overruns += op->credits > reservation->credits;
    budgets_probe_done(meter->budgets, &reservation->hold, op->probe_success, op->window_us);
    /* What was reserved went back with the decision; the probe's place goes now. */
    budgets_release(meter->budgets, &reservation->hold, 0, true);
    budget_hold_fini(&reservation->hold);
    reservations_ended(&meter->reservations, reservation);
    settle_events(meter, op);
    meter_note_breakers(meter);
}

static void
settle_budget(struct meter *meter, const struct op *op)
{
    if (op->breaker_text) {
        if (meter->options.event) {
            meter->options.event(meter->options.event_ctx, op->breaker_is_problem,
                                 op->breaker_text);
        }
    } else if (strcmp(op->budget_change, "delete") == 0) {
        budgets_delete(meter->budgets, op->budget_name);
    } else if (strcmp(op->budget_change, "reset") == 0) {
        budgets_reset(meter->budgets, op->budget_name, op->window_us);
    } else if (strcmp(op->budget_change, "force_open") == 0) {
        budgets_set_mode(meter->budgets, op->budget_name, BUDGET_FORCED_OPEN);
    } else if (strcmp(op->budget_change, "metrics_only") == 0) {
        budgets_set_mode(meter->budgets, op->budget_name, BUDGET_METRICS_ONLY);
    } else if (strcmp(op->budget_change, "enforce") == 0) {
        budgets_set_mode(meter->budgets, op->budget_name, BUDGET_ENFORCE);
    }
}

void
op_settle(struct meter *meter, struct op *op)
{
    switch (op->kind) {
    case OP_RESERVE:
        op->reservation->durable = true;
        meter->stats.reserves++;
        break;
    case OP_COMMIT:
        settle_commit(meter, op);
        break;
    case OP_RELEASE:
        meter->stats.releases++;
        reservations_ended(&meter->reservations, op->reservation);
        budget_hold_fini(&op->reservation->hold);
        break;
    case OP_EXPIRE:
        meter->stats.expired++;
        reservations_ended(&meter->reservations, op->reservation);
        budget_hold_fini(&op->reservation->hold);
        break;
    case OP_EXTEND:
        meter->stats.extends++;
        break;
    case OP_APPEND:
        settle_events(meter, op);
        meter->stats.duplicates += op->duplicates;
        break;
    case OP_BUDGET:
        settle_budget(meter, op);
        break;
    case OP_PRICES:
        break;
    case OP_NOTHING:
        meter->stats.duplicates += op->duplicates;
        break;
    }
}
