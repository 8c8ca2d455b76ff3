/* Setting, changing and looking at budgets. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "meter/meter_private.h"

enum { DEFINITION_MAX = 64 * 1024 };

/* A caller that waits for its op on its own thread. */
struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done;
    struct meter_answer answer;
    struct err err;
};

static void
on_waited(void *ctx, const struct meter_answer *answer)
{
    struct waiter *waiter = ctx;

    pthread_mutex_lock(&waiter->lock);
    waiter->answer = (struct meter_answer){.code = answer->code, .lsn = answer->lsn};
    if (answer->err) {
        waiter->err = *answer->err;
    }
    waiter->done = true;
    pthread_cond_signal(&waiter->cond);
    pthread_mutex_unlock(&waiter->lock);
}

static enum err_code
wait_for(struct waiter *waiter)
{
    pthread_mutex_lock(&waiter->lock);
    while (!waiter->done) {
        pthread_cond_wait(&waiter->cond, &waiter->lock);
    }
    pthread_mutex_unlock(&waiter->lock);
    return waiter->answer.code;
}

static struct op *
budget_op(struct meter *meter, const char *name, const char *change, struct slice reason,
          meter_done_fn *done, void *ctx)
{
    struct op *op = op_new(meter, OP_BUDGET, done, ctx);

    op->budget_name = op_keep(op, slice_of(name)).ptr;
    op->budget_change = op_keep(op, slice_of(change)).ptr;
    op->budget_reason = op_keep(op, reason);
    return op;
}

/* Books in the budget being filled what was decided but is not durable yet. A reservation that is
 * being closed holds nothing any more, but will again if that fails. */
static void
fill_from_list(struct meter *meter, const char *name, const struct op_list *list)
{
    for (const struct op *op = list->first; op; op = op->next) {
        for (size_t i = 0; i < op->event_count; i++) {
            struct call_scope scope = event_scope(&op->events[i]);
            budgets_fill(meter->budgets, name, &scope, op->event_window_us[i],
                         op->events[i].credits, op->window_us);
        }
        if (op->kind == OP_COMMIT || op->kind == OP_RELEASE || op->kind == OP_EXPIRE) {
            struct call_scope scope = reservation_scope(op->reservation);
            budgets_fill_hold(meter->budgets, name, &scope, 0, op->window_us,
                              &op->reservation->hold);
        }
    }
}

/* Under the lock: the new budget begins to count; returns up to which entry the log fills it. */
static enum err_code
begin(struct meter *meter, const struct budget_def *def, bool *ret_filling, uint64_t *ret_seq,
      struct err *err)
{
    int64_t window_us = budgets_time(meter->budgets, clock_wall_us(meter->clock));
    enum err_code code = budgets_set(meter->budgets, def, ret_filling, err);

    if (code != ERR_OK || !*ret_filling) {
        return code;
    }
    *ret_seq = meter->head.seq;
    fill_from_list(meter, def->name, &meter->flight);
    fill_from_list(meter, def->name, &meter->pending);
    for (size_t i = 0; i < meter->reservations.heap_count; i++) {
        struct reservation *reservation = meter->reservations.heap[i];
        struct call_scope scope = reservation_scope(reservation);
        budgets_fill_hold(meter->budgets, def->name, &scope, reservation->credits, window_us,
                          &reservation->hold);
    }
    return ERR_OK;
}

/* The definition is durable: makes it hold. */
static enum err_code
install(struct meter *meter, const struct budget_def *def, struct err *err)
{
    bool filling = false;
    uint64_t to_seq = 0;

    pthread_mutex_lock(&meter->lock);
    enum err_code code = begin(meter, def, &filling, &to_seq, err);
    pthread_mutex_unlock(&meter->lock);
    if (code != ERR_OK || !filling) {
        return code;
    }
    code = meter_fill_budget(meter, def->name, to_seq, err);
    pthread_mutex_lock(&meter->lock);
    budgets_filled(meter->budgets, def->name);
    meter_note_breakers(meter);
    pthread_mutex_unlock(&meter->lock);
    meter_flush(meter);
    return code == ERR_OK ? code
                          : err_context(err, code,
                                        "budget %s holds, but what was spent before could not be "
                                        "counted; set it again",
                                        def->name);
}

/* Refuses what install would refuse, before it is written down. */
static enum err_code
check_room(struct meter *meter, const struct budget_def *def, struct err *err)
{
    size_t count = 0;
    enum err_code code;

    pthread_mutex_lock(&meter->lock);
    code = meter_admit(meter, err);
    while (budgets_at(meter->budgets, count)) {
        count++;
    }
    /* One place is kept for a budget that takes the place of another. */
    if (code == ERR_OK && !budgets_find(meter->budgets, def->name) && count >= BUDGETS_MAX - 1) {
        code = err_set(err, ERR_TOO_LARGE, "there are %zu budgets, no more are kept: delete one",
                       count);
    }
    pthread_mutex_unlock(&meter->lock);
    return code;
}

static enum err_code
set_budget(struct meter *meter, const struct budget_def *def, struct waiter *waiter,
           struct err *err)
{
    BUF_AUTO struct buf json = {0};
    enum err_code code = check_room(meter, def, err);

    if (code != ERR_OK) {
        return code;
    }
    buf_init(&json, DEFINITION_MAX);
    budget_def_write(def, &json);
    struct op *op = budget_op(meter, def->name, "set", (struct slice){"", 0}, on_waited, waiter);
    op->budget_definition = op_keep(op, buf_slice(&json));
    pthread_mutex_lock(&meter->lock);
    op_enqueue(meter, op);
    pthread_mutex_unlock(&meter->lock);
    meter_flush(meter);
    code = wait_for(waiter);
    if (code != ERR_OK) {
        *err = waiter->err;
        return code;
    }
    return install(meter, def, err);
}

void
meter_set_budget(struct meter *meter, const struct budget_def *def, meter_done_fn *done, void *ctx)
{
    struct waiter waiter = {.done = false};
    struct err err;

    pthread_mutex_init(&waiter.lock, NULL);
    pthread_cond_init(&waiter.cond, NULL);
    pthread_mutex_lock(&meter->set_lock);
    enum err_code code = set_budget(meter, def, &waiter, &err);
    pthread_mutex_unlock(&meter->set_lock);
    pthread_cond_destroy(&waiter.cond);
    pthread_mutex_destroy(&waiter.lock);
    if (code != ERR_OK) {
        meter_answer_err(done, ctx, &err);
    } else if (done) {
        done(ctx, &(struct meter_answer){.code = ERR_OK, .lsn = waiter.answer.lsn});
    }
}

void
meter_change_budget(struct meter *meter, const char *name, const char *change, struct slice reason,
                    meter_done_fn *done, void *ctx)
{
    struct err err;
    enum err_code code = text_check("reason", reason, METER_TEXT_MAX, &err);
    struct op *op = budget_op(meter, name, change, reason, done, ctx);

    pthread_mutex_lock(&meter->lock);
    if (code == ERR_OK) {
        code = meter_admit(meter, &err);
    }
    if (code == ERR_OK && !budgets_find(meter->budgets, name)) {
        code = err_set(&err, ERR_NOT_FOUND, "there is no budget %.64s", name);
    }
    if (code == ERR_OK) {
        op->window_us = budgets_time(meter->budgets, op->at_us);
        op_enqueue(meter, op);
    }
    pthread_mutex_unlock(&meter->lock);
    meter_flush(meter);
    if (code != ERR_OK) {
        meter_answer_err(done, ctx, &err);
        op_free(op);
    }
}

void
meter_each_budget(struct meter *meter, meter_view_fn *fn, void *ctx)
{
    struct budget_view view;
    struct budget_forecast forecast;

    pthread_mutex_lock(&meter->lock);
    int64_t now_us = budgets_time(meter->budgets, clock_wall_us(meter->clock));
    for (size_t i = 0; budgets_view_at(meter->budgets, i, now_us, &view); i++) {
        if (view.def && budgets_forecast(meter->budgets, i, now_us, &forecast)) {
            fn(ctx, &view, &forecast);
        }
    }
    meter_note_breakers(meter);
    pthread_mutex_unlock(&meter->lock);
    meter_flush(meter);
}

void
meter_each_definition(struct meter *meter, meter_definition_fn *fn, void *ctx)
{
    const struct budget_def *def;

    pthread_mutex_lock(&meter->lock);
    for (size_t i = 0; (def = budgets_at(meter->budgets, i)) != NULL; i++) {
        fn(ctx, def);
    }
    pthread_mutex_unlock(&meter->lock);
}

bool
meter_check(struct meter *meter, const struct meter_call *call, int64_t credits,
            struct refusal *ret_refusal)
{
    struct op *op = op_new(meter, OP_NOTHING, NULL, NULL); /* for the texts */
    struct meter_call clean = call_redact(op, call);
    struct call_scope scope = call_scope_of(&clean);

    pthread_mutex_lock(&meter->lock);
    int64_t now_us = budgets_time(meter->budgets, clock_wall_us(meter->clock));
    bool allowed = budgets_check(meter->budgets, &scope, credits, now_us, ret_refusal);
    meter_note_breakers(meter);
    pthread_mutex_unlock(&meter->lock);
    meter_flush(meter);
    op_free(op);
    return allowed;
}
