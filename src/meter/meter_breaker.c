/* Breakers that changed are written down (so that they survive a start) and told. */
#include <stdio.h>

#include "codec/decimal.h"
#include "meter/meter_private.h"

static const char *
word_of(enum budget_event_kind kind)
{
    switch (kind) {
    case BUDGET_OPENED:
        return "opened";
    case BUDGET_HALF_OPENED:
        return "half_open";
    case BUDGET_CLOSED:
        return "closed";
    case BUDGET_SOFT:
        return NULL;
    }
    return NULL;
}

static void
tell(const struct meter *meter, const struct budget_event *event)
{
    char text[512];
    char used[DECIMAL_TEXT_MAX];
    char limit[DECIMAL_TEXT_MAX];
    const char *word = word_of(event->kind);

    if (!meter->options.event) {
        return;
    }
    decimal_format(event->used, used);
    decimal_format(event->limit, limit);
    snprintf(text, sizeof(text), "budget %s%s%s: %s%s, %s of %s credits used", event->budget,
             event->instance[0] ? " " : "", event->instance,
             word ? "breaker " : "soft limit passed", word ? word : "", used, limit);
    meter->options.event(meter->options.event_ctx,
                         event->kind == BUDGET_OPENED || event->kind == BUDGET_SOFT, text);
}

void
meter_note_breakers(struct meter *meter)
{
    struct budget_event event;

    while (budgets_next_event(meter->budgets, &event)) {
        tell(meter, &event);
        const char *word = word_of(event.kind);
        if (!word) {
            continue;
        }
        struct op *op = op_new(meter, OP_BUDGET, NULL, NULL);
        op->budget_name = op_keep(op, slice_of(event.budget)).ptr;
        op->budget_change = word;
        op->budget_instance = op_keep(op, slice_of(event.instance)).ptr;
        op_enqueue(meter, op);
    }
}
