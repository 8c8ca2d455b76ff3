/* The pipeline: ops gather while one record is in flight; the record's end settles or undoes. */
#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "meter/meter_private.h"
#include "store/engine.h"

enum { RETRY_PAUSE_US = 200000 };

struct op *
op_new(struct meter *meter, enum op_kind kind, meter_done_fn *done, void *ctx)
{
    struct op *op = mem_alloc(sizeof(*op));

    memset(op, 0, offsetof(struct op, memory));
    op->kind = kind;
    op->done = done;
    op->ctx = ctx;
    op->at_us = clock_wall_us(meter->clock);
    arena_init_with(&op->arena, METER_OP_BYTES_MAX, op->memory, sizeof(op->memory));
    return op;
}

void
op_free(struct op *op)
{
    if (op) {
        for (size_t i = 0; i < op->view_count; i++) {
            budget_def_unref(op->views[i].def);
        }
        arena_fini(&op->arena);
        free(op);
    }
}

struct slice
op_keep(struct op *op, struct slice text)
{
    return text.len == 0 ? (struct slice){"", 0} : arena_dup(&op->arena, text);
}

/* What an op counts for: itself, its texts, and those of its reservation in its row. */
static size_t
op_bytes(const struct op *op)
{
    return sizeof(*op) + op->arena.used_bytes + op->row_bytes;
}

static void
list_push(struct op_list *list, struct op *op)
{
    op->next = NULL;
    op->prev = list->last;
    if (list->last) {
        list->last->next = op;
    } else {
        list->first = op;
    }
    list->last = op;
    list->bytes += op_bytes(op);
}

static struct op *
list_shift(struct op_list *list)
{
    struct op *op = list->first;

    list->first = op->next;
    if (list->first) {
        list->first->prev = NULL;
    } else {
        list->last = NULL;
    }
    list->bytes -= op_bytes(op);
    return op;
}

void
op_list_drop(struct op_list *list)
{
    while (list->first) {
        op_free(list_shift(list));
    }
}

void
op_enqueue(struct meter *meter, struct op *op)
{
    if (op->reservation) {
        op->reservation->ops++;
        op->reservation_id = op_keep(op, slice_of(op->reservation->id)).ptr;
        op->row_bytes = op->kind == OP_NOTHING ? 0 : op->reservation->text_bytes;
    }
    list_push(&meter->pending, op);
}

enum err_code
meter_admit(const struct meter *meter, struct err *err)
{
    if (meter->closing) {
        return err_set(err, ERR_UNAVAILABLE, "the server is stopping; nothing was done");
    }
    if (meter->pending.bytes + meter->flight.bytes > meter->options.pending_bytes_max) {
        return err_set(
            err, ERR_BUSY,
            "%zu bytes of decisions wait for the log (meter.pending_bytes_max); try again",
            meter->pending.bytes + meter->flight.bytes);
    }
    return ERR_OK;
}

void
meter_answer_err(meter_done_fn *done, void *ctx, const struct err *err)
{
    if (done) {
        done(ctx, &(struct meter_answer){.code = err->code, .err = err});
    }
}

void
meter_answer_refusal(meter_done_fn *done, void *ctx, const struct refusal *refusal)
{
    struct err err;

    err_set(&err, ERR_BUSY, "budget %s refuses the call: %s", refusal->budget,
            refusal_reason_name(refusal->reason));
    if (done) {
        done(ctx, &(struct meter_answer){.code = ERR_BUSY, .err = &err, .refusal = refusal});
    }
}

static void
answer(const struct op *op, uint64_t lsn, enum err_code code, const struct err *err)
{
    if (!op->done) {
        return;
    }
    if (code != ERR_OK) {
        meter_answer_err(op->done, op->ctx, err);
        return;
    }
    struct meter_answer answer = {.code = ERR_OK,
                                  .replayed = op->replayed,
                                  .lsn = op->kind == OP_NOTHING ? 0 : lsn,
                                  .reservation_id = op->reservation_id,
                                  .event_id = op->answer_event_id,
                                  .credits = op->credits,
                                  .expires_us = op->expires_us,
                                  .price_rule = op->price_rule,
                                  .budgets = op->views,
                                  .budget_count = op->view_count,
                                  .stored = op->kind == OP_APPEND ? op->event_count : 0,
                                  .duplicates = op->duplicates,
                                  .items = op->items,
                                  .item_count = op->item_count};
    op->done(op->ctx, &answer);
}

/* Answers and frees. Reservations that ops pointed to were let go before, under the lock. */
static void
finish(struct op_list *list, uint64_t lsn, enum err_code code, const struct err *err)
{
    while (list->first) {
        struct op *op = list_shift(list);
        answer(op, lsn, code, err);
        op_free(op);
    }
}

/* Lets the reservation go; one whose reserve was undone has never been. */
static void
let_go(struct meter *meter, struct op *op, bool undone)
{
    struct reservation *reservation = op->reservation;

    if (!reservation) {
        return;
    }
    assert(reservation->ops > 0);
    reservation->ops--;
    if (undone && op->kind == OP_RESERVE) {
        assert(reservation->ops == 0);
        reservations_remove(&meter->reservations, reservation);
        op->reservation = NULL;
    }
}

static void
settle_flight(struct meter *meter)
{
    meter->head = meter->next_head;
    meter->change_seq = meter->next_change_seq;
    meter->stats.records++;
    for (struct op *op = meter->flight.first; op; op = op->next) {
        op_settle(meter, op);
        let_go(meter, op, false);
    }
    reservations_trim(&meter->reservations);
}

/* Everything that was decided since the last durable record goes back, the newest first: it was
 * decided in the light of what did not happen. */
static void
undo_all(struct meter *meter)
{
    meter_note_breakers(meter); /* so that nothing is left but what ops tell */
    meter->stats.failures++;
    meter->retry_at_us = clock_mono_us(meter->clock) + RETRY_PAUSE_US;
    while (meter->pending.first) {
        list_push(&meter->flight, list_shift(&meter->pending));
    }
    for (struct op *op = meter->flight.last; op; op = op->prev) {
        op_undo(meter, op);
        let_go(meter, op, true);
    }
}

static void
complete(struct meter *meter, uint64_t lsn, enum err_code code, const struct err *err)
{
    if (code == ERR_OK && lsn != 0 && meter->options.sink) {
        meter->options.sink(meter->options.sink_ctx, meter->batches, METER_BATCHES, lsn);
    }
    pthread_mutex_lock(&meter->lock);
    bool tells = false;
    struct err problem;
    if (code == ERR_OK) {
        settle_flight(meter);
    } else {
        /* One line a series of failures: each record that is tried meanwhile fails the same. */
        tells = meter->options.event && clock_mono_us(meter->clock) >= meter->retry_at_us;
        /* Nothing was kept, so the caller should try again: a failed disk is a part that is down.
         */
        code = code == ERR_IO ? ERR_UNAVAILABLE : code;
        err_set(&problem, code, "nothing was written: %s",
                err && err->msg[0] ? err->msg : "the log refused the record");
        err = &problem;
        undo_all(meter);
    }
    struct op_list done = meter->flight;
    meter->flight = (struct op_list){0};
    meter->in_flight = false;
    meter->completing++;
    pthread_mutex_unlock(&meter->lock);
    if (tells) {
        meter->options.event(meter->options.event_ctx, true, err->msg);
    }
    meter_flush(meter);
    finish(&done, lsn, code, err);
    pthread_mutex_lock(&meter->lock);
    meter->completing--;
    pthread_cond_broadcast(&meter->changed);
    pthread_mutex_unlock(&meter->lock);
}

static void
on_done(struct wal_entry *entry, enum err_code code, const struct err *err)
{
    complete(entry->ctx, entry->lsn, code, err);
}

/* Moves what fits one record from pending to the flight; at least one op. */
static void
load_flight(struct meter *meter)
{
    const struct reservation *oldest = meter->reservations.logged_oldest;

    /* As it will be when the record is durable: what it closes is still in the list, and what is
     * not written yet (0) comes with it or later. */
    meter->open_from = oldest && oldest->row_seq > 0 ? oldest->row_seq : meter->change_seq + 1;
    do {
        list_push(&meter->flight, list_shift(&meter->pending));
    } while (meter->pending.first &&
             meter->flight.bytes + op_bytes(meter->pending.first) <= METER_FLIGHT_BYTES_MAX);
}

void
meter_flush(struct meter *meter)
{
    pthread_mutex_lock(&meter->lock);
    if (meter->in_flight || !meter->pending.first) {
        pthread_mutex_unlock(&meter->lock);
        return;
    }
    load_flight(meter);
    meter->in_flight = true;
    pthread_mutex_unlock(&meter->lock);

    rows_encode(meter);
    if (meter->record.len == 0) {
        complete(meter, 0, ERR_OK, NULL);
        return;
    }
    meter->entry = (struct wal_entry){.type = RECORD_BATCHES,
                                      .part_count = 1,
                                      .parts = {buf_slice(&meter->record)},
                                      .done = on_done,
                                      .ctx = meter};
    meter->options.io.submit(meter->options.io.ctx, &meter->entry);
}
