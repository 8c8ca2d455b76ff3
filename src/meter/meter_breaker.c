/* Breakers that changed are written down (so that they survive a start), and told once they are. */
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
say(const struct budget_event *event, char *out, size_t size)
{
    char used[DECIMAL_TEXT_MAX];
    char limit[DECIMAL_TEXT_MAX];
    const char *word = word_of(event->kind);

    decimal_format(event->used, used);
    decimal_format(event->limit, limit);
    snprintf(out, size, "budget %s%s%s: %s%s, %s of %s credits used", event->budget,
             event->instance[0] ? " " : "", event->instance,
             word ? "breaker " : "soft limit passed", word ? word : "", used, limit);
}

void
meter_note_breakers(struct meter *meter)
{
    struct budget_event event;
    char text[BUDGET_INSTANCE_MAX + 256];

    while (budgets_next_event(meter->budgets, &event)) {
        const char *word = word_of(event.kind);
        say(&event, text, sizeof(text));
        if (!word) {
            if (meter->options.event) {
                meter->options.event(meter->options.event_ctx, true, text);
            }
            continue;
        }
        struct op *op = op_new(meter, OP_BUDGET, NULL, NULL);
        op->budget_name = op_keep(op, slice_of(event.budget)).ptr;
        op->budget_change = word;
        op->budget_instance = op_keep(op, slice_of(event.instance)).ptr;
        op->breaker_text = op_keep(op, slice_of(text)).ptr;
        op->breaker_is_problem = event.kind == BUDGET_OPENED;
        op->breaker_from = event.from;
        op_enqueue(meter, op);
    }
}
