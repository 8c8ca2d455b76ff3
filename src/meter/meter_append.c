/* Events after the fact: all or none, each id once for the life of the log. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "codec/decimal.h"
#include "meter/budget_private.h"
#include "meter/meter_private.h"

/* An append on its way to a decision. */
struct append {
    struct meter *meter;
    const struct meter_append *request;
    struct op *op;
    struct event *events; /* checked and copied, one a request's event */
    /* What the store said to ids that are neither new nor recent; NULL until it was asked. */
    struct looked_up {
        bool asked, found;
        struct ids_entry entry;
    } * looked_up;
    size_t to_look_up;
    struct err *err;
};

static enum err_code
fail(struct append *append, enum err_code code, size_t row)
{
    return append->request->count > 1 ? err_context(append->err, code, "event %zu", row) : code;
}

static enum err_code
price_event(struct meter *meter, struct op *op, struct event *event, struct err *err)
{
    struct price_call call = {.api = event->api_name,
                              .method = event->method,
                              .path = event->endpoint,
                              .has_status = event->has_status,
                              .status = event->status_code,
                              .success = event->success,
                              .at_us = event->timestamp_us};
    struct price_quote found = {0};
    struct prices *prices = meter_prices(meter);
    enum err_code code = prices ? prices_cost(prices, &call, &found, err) : ERR_OK;

    if (code == ERR_OK && found.found) {
        event->credits = found.credits;
        event->price_rule = op_keep(op, slice_of(found.rule_id));
    }
    prices_unref(prices);
    return code;
}

static enum err_code
take_all(struct append *append)
{
    const struct meter_append *request = append->request;
    enum err_code code = ERR_OK;

    if (request->count == 0 || request->count > METER_APPEND_MAX) {
        return err_set(append->err, ERR_TOO_LARGE, "%zu events in one request, expected 1 to %d",
                       request->count, METER_APPEND_MAX);
    }
    append->events = arena_zalloc(&append->op->arena, request->count, sizeof(struct event));
    append->looked_up =
        arena_zalloc(&append->op->arena, request->count, sizeof(*append->looked_up));
    for (size_t i = 0; i < request->count && code == ERR_OK; i++) {
        code = event_take(append->op, &request->events[i], append->op->at_us, &append->events[i],
                          append->err);
        if (code == ERR_OK && append->events[i].credits_are_ours) {
            code = price_event(append->meter, append->op, &append->events[i], append->err);
        }
        code = code == ERR_OK ? code : fail(append, code, i);
    }
    return code;
}

/* Whether an entry that stands there says the same as the event. */
static bool
says_the_same(const struct event *event, const struct ids_entry *entry)
{
    return event_content_hash(event) == entry->content_hash &&
           (event->timestamp_is_ours || event->timestamp_us == entry->timestamp_us) &&
           (event->credits_are_ours || event->credits == entry->credits);
}

/* What is known of an id, under the lock: IDS_MAYBE_OLD only when the store was not asked yet. */
static enum ids_found
find_id(struct append *append, size_t row, struct ids_entry *ret)
{
    assert(append->events && append->looked_up);
    const struct looked_up *known = &append->looked_up[row];
    enum ids_found found = ids_find(append->meter->ids, append->events[row].id, ret);

    if (found != IDS_MAYBE_OLD || !known->asked) {
        return found;
    }
    *ret = known->entry;
    return known->found ? IDS_RECENT : IDS_UNKNOWN;
}

/* Counts the ids that only the store can answer. */
static size_t
count_unanswered(struct append *append)
{
    struct ids_entry entry;
    size_t count = 0;

    for (size_t i = 0; i < append->request->count; i++) {
        count +=
            append->request->events[i].id.len > 0 && find_id(append, i, &entry) == IDS_MAYBE_OLD;
    }
    return count;
}

static enum err_code
look_up(struct append *append)
{
    struct meter *meter = append->meter;
    struct ids_entry entry;

    for (size_t i = 0; i < append->request->count; i++) {
        pthread_mutex_lock(&meter->lock);
        bool ask =
            append->request->events[i].id.len > 0 && find_id(append, i, &entry) == IDS_MAYBE_OLD;
        meter->stats.ids_looked_up += ask;
        pthread_mutex_unlock(&meter->lock);
        if (!ask) {
            continue;
        }
        enum err_code code =
            meter_lookup(meter, append->events[i].id, &append->looked_up[i].entry, append->err);
        if (code != ERR_OK && code != ERR_NOT_FOUND) {
            return code;
        }
        append->looked_up[i].asked = true;
        append->looked_up[i].found = code == ERR_OK;
    }
    return ERR_OK;
}

/* ---- the decision, under the lock ---- */

static enum err_code
check_correction(struct append *append, size_t row)
{
    const struct event *event = &append->events[row];

    if (event->corrects.len == 0 ||
        ids_find(append->meter->ids, event->corrects, NULL) != IDS_UNKNOWN) {
        return ERR_OK;
    }
    err_set(append->err, ERR_INVALID,
            "corrects is %.*s, expected the id of an entry that stands in the log",
            SLICE_FMT(event->corrects));
    return fail(append, ERR_INVALID, row);
}

/* Sorts an event in: stored (and its id taken), a duplicate, or a conflict. */
static enum err_code
sort_in(struct append *append, size_t row)
{
    struct op *op = append->op;
    struct event *event = &append->events[row];
    assert(op->items && op->events && op->event_window_us);
    struct meter_item *item = &op->items[row];
    struct ids_entry known = {0};
    enum ids_found found =
        append->request->events[row].id.len > 0 ? find_id(append, row, &known) : IDS_UNKNOWN;

    slice_to_cstr(event->id, item->id, sizeof(item->id));
    if (found != IDS_UNKNOWN) {
        if (!says_the_same(event, &known)) {
            err_set(append->err, ERR_CONFLICT,
                    "id %s stands in the log with other content; an entry is corrected by a new "
                    "one with `corrects`",
                    item->id);
            item->state = ITEM_CONFLICT;
            op->item_count = row + 1;
            return fail(append, ERR_CONFLICT, row);
        }
        item->state = ITEM_DUPLICATE;
        op->duplicates++;
        return ERR_OK;
    }
    enum err_code code = check_correction(append, row);
    if (code != ERR_OK) {
        return code;
    }
    struct ids_entry entry = {.content_hash = event_content_hash(event),
                              .timestamp_us = event->timestamp_us,
                              .credits = event->credits};
    item->state = ITEM_STORED;
    ids_add(append->meter->ids, event->id, &entry);
    op->event_window_us[op->event_count] =
        meter_window_time(event->timestamp_us, op->at_us, op->window_us);
    op->events[op->event_count++] = *event;
    return ERR_OK;
}

static void
count_upto(struct append *append, size_t count, int sign)
{
    struct op *op = append->op;

    for (size_t i = 0; i < count; i++) {
        struct call_scope scope = event_scope(&op->events[i]);
        budgets_count(append->meter->budgets, &scope, op->event_window_us[i],
                      sign * op->events[i].credits, op->window_us);
    }
}

/* Books the events; with `enforce` each must fit, or all are taken out again. */
static bool
book(struct append *append, struct refusal *ret_refusal)
{
    struct op *op = append->op;

    for (size_t i = 0; i < op->event_count; i++) {
        struct call_scope scope = event_scope(&op->events[i]);
        int64_t credits = op->events[i].credits;
        if (append->request->enforce &&
            !budgets_check(append->meter->budgets, &scope, credits > 0 ? credits : 0, op->window_us,
                           ret_refusal)) {
            count_upto(append, i, -1);
            return false;
        }
        budgets_count(append->meter->budgets, &scope, op->event_window_us[i], credits,
                      op->window_us);
    }
    return true;
}

static void
take_ids_back(struct append *append)
{
    struct op *op = append->op;

    for (size_t i = op->event_count; i > 0; i--) {
        ids_remove(append->meter->ids, op->events[i - 1].id);
    }
    op->event_count = 0;
}

static enum err_code
decide(struct append *append, struct refusal *ret_refusal, bool *ret_refused)
{
    struct op *op = append->op;
    size_t count = append->request->count;
    enum err_code code = meter_admit(append->meter, append->err);

    op->window_us = budgets_time(append->meter->budgets, op->at_us);
    op->events = arena_zalloc(&op->arena, count, sizeof(struct event));
    op->event_window_us = arena_zalloc(&op->arena, count, sizeof(int64_t));
    op->items = arena_zalloc(&op->arena, count, sizeof(struct meter_item));
    if (!op->items || !op->event_window_us || !op->events) {
        return err_set(append->err, ERR_TOO_LARGE,
                       "the events of one request have more than %d MiB", METER_OP_BYTES_MAX >> 20);
    }
    for (size_t i = 0; i < count && code == ERR_OK; i++) {
        code = sort_in(append, i);
    }
    meter_note_breakers(append->meter); /* what a refusal takes back begins behind these */
    if (code == ERR_OK && !book(append, ret_refusal)) {
        budgets_undo_events(append->meter->budgets);
        *ret_refused = true;
        append->meter->stats.refused++;
    }
    if (code != ERR_OK || *ret_refused) {
        take_ids_back(append);
        append->meter->stats.conflicts += code == ERR_CONFLICT;
        return code;
    }
    op->item_count = count;
    for (size_t i = 0; i < op->event_count; i++) {
        op->credits = budget_add_sat(op->credits, op->events[i].credits);
    }
    return ERR_OK;
}

static void
run(struct append *append)
{
    struct meter *meter = append->meter;
    struct op *op = append->op;
    struct refusal refusal;
    bool refused = false;
    enum err_code code = take_all(append);

    pthread_mutex_lock(&meter->lock);
    while (code == ERR_OK && count_unanswered(append) > 0) {
        pthread_mutex_unlock(&meter->lock);
        code = append->request->may_block
                   ? look_up(append)
                   : err_set(append->err, ERR_UNSUPPORTED, "ids have to be looked up in the store");
        pthread_mutex_lock(&meter->lock);
    }
    if (code == ERR_OK) {
        lease_expire(meter);
        code = decide(append, &refusal, &refused);
    }
    if (code == ERR_OK && !refused) {
        op->kind = op->event_count > 0 ? OP_APPEND : OP_NOTHING;
        op_enqueue(meter, op);
    }
    meter_note_breakers(meter);
    pthread_mutex_unlock(&meter->lock);
    meter_flush(meter);
    if (code == ERR_CONFLICT && op->done) {
        op->done(op->ctx, &(struct meter_answer){.code = code,
                                                 .err = append->err,
                                                 .items = op->items,
                                                 .item_count = op->item_count});
        op_free(op);
    } else if (code != ERR_OK) {
        meter_answer_err(op->done, op->ctx, append->err);
        op_free(op);
    } else if (refused) {
        meter_answer_refusal(op->done, op->ctx, &refusal);
        op_free(op);
    }
}

void
meter_append(struct meter *meter, const struct meter_append *request, meter_done_fn *done,
             void *ctx)
{
    struct err err;
    struct append append = {
        .meter = meter, .request = request, .op = op_new(meter, OP_APPEND, done, ctx), .err = &err};

    run(&append);
}
