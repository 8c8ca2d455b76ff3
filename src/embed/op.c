/* Asynchronous appends: the list of those under way, their end, and eider_flush. */
#include <stdio.h>

#include "base/mem.h"
#include "embed/append_internal.h"

/* The appends that this thread is beginning, the innermost first. */
static _Thread_local struct append_frame *frames;

struct append_op *
append_op_begin(struct eider_db *db, eider_done_fn *done, void *ctx, struct eider_error *error)
{
    struct append_op *op = mem_zalloc(1, sizeof(*op));

    op->db = db;
    op->done = done;
    op->ctx = ctx;
    pthread_mutex_lock(&db->lock);
    bool full = db->pending >= db->pending_max;
    if (!full) {
        op->number = ++db->begun;
        op->prev = db->newest;
        if (db->newest) {
            db->newest->next = op;
        } else {
            db->oldest = op;
        }
        db->newest = op;
        db->pending++;
    }
    pthread_mutex_unlock(&db->lock);
    if (full) {
        free(op);
        embed_refuse(error, EIDER_BUSY,
                     "%zu asynchronous appends are under way; the limit async_max is %zu; flush, "
                     "or try again",
                     db->pending_max, db->pending_max);
        return NULL;
    }
    return op;
}

void
append_op_enter(struct append_frame *frame, const struct append_op *op)
{
    *frame = (struct append_frame){.op = op, .outer = frames};
    frames = frame;
}

bool
append_op_leave(const struct append_frame *frame)
{
    frames = frame->outer;
    return frame->answered;
}

/* Takes the op from the list and frees it. The handle may be gone afterwards. */
static void
drop(struct append_op *op, const struct eider_error *failure)
{
    struct eider_db *db = op->db;

    if (op->set) {
        embed_rows_fini(&op->set->rows);
        free(op->set);
    }
    free(op->key);
    pthread_mutex_lock(&db->lock);
    if (op->prev) {
        op->prev->next = op->next;
    } else {
        db->oldest = op->next;
    }
    if (op->next) {
        op->next->prev = op->prev;
    } else {
        db->newest = op->prev;
    }
    db->pending--;
    if (failure && db->failure.status == EIDER_OK) {
        db->failure = *failure;
    }
    pthread_cond_broadcast(&db->changed);
    pthread_mutex_unlock(&db->lock);
    free(op);
}

static void
tell_problems(const struct ingest_answer *answer, eider_row_problem_fn *fn, void *ctx)
{
    embed_enter_callback();
    for (size_t i = 0; fn && i < answer->error_count; i++) {
        const struct ingest_row_error *e = &answer->errors[i];
        const struct eider_row_problem problem = {
            .row = e->row,
            .field = e->field.ptr,
            .field_len = e->field.len,
            .value = e->value.ptr,
            .value_len = e->value.len,
            .expected = e->expected.ptr,
            .expected_len = e->expected.len,
        };
        fn(ctx, &problem);
    }
    embed_leave_callback();
}

static void
keep_outcome(struct outcome *outcome, const struct ingest_answer *answer)
{
    outcome->code = answer->code;
    outcome->receipt = (struct eider_receipt){
        .status = embed_status(answer->code),
        .lsn = answer->lsn,
        .accepted = answer->accepted,
        .rejected = answer->rejected,
        .replayed = answer->replayed,
        .message = "",
    };
    if (answer->err) {
        outcome->err = *answer->err;
    }
}

static void
tell_done(const struct append_op *op, struct outcome *outcome)
{
    if (op->done) {
        outcome->receipt.message = outcome->err.msg;
        embed_enter_callback();
        op->done(op->ctx, &outcome->receipt);
        embed_leave_callback();
    }
}

void
append_op_answer(void *ctx, const struct ingest_answer *answer)
{
    struct append_op *op = ctx;
    struct eider_error failure;

    tell_problems(answer, op->on_row_problem, op->problem_ctx);
    keep_outcome(&op->outcome, answer);
    for (struct append_frame *frame = frames; frame; frame = frame->outer) {
        if (frame->op == op) {
            frame->answered = true;
            return;
        }
    }
    tell_done(op, &op->outcome);
    bool untold = !op->done && answer->code != ERR_OK;
    if (untold) {
        embed_fail(&failure, &op->outcome.err);
    }
    drop(op, untold ? &failure : NULL);
}

enum eider_status
append_op_end(struct append_op *op, struct eider_error *error)
{
    enum eider_status status = EIDER_OK;

    if (op->outcome.code != ERR_OK) {
        status = embed_fail(error, &op->outcome.err);
    } else {
        tell_done(op, &op->outcome);
    }
    drop(op, NULL);
    return status;
}

void
append_wait_init(struct append_wait *wait)
{
    *wait = (struct append_wait){.is_answered = false};
    pthread_mutex_init(&wait->lock, NULL);
    pthread_cond_init(&wait->answered, NULL);
}

void
append_wait_answer(void *ctx, const struct ingest_answer *answer)
{
    struct append_wait *wait = ctx;

    tell_problems(answer, wait->on_row_problem, wait->problem_ctx);
    pthread_mutex_lock(&wait->lock);
    keep_outcome(&wait->outcome, answer);
    wait->is_answered = true;
    pthread_cond_signal(&wait->answered);
    pthread_mutex_unlock(&wait->lock);
}

enum eider_status
append_wait_end(struct append_wait *wait, struct eider_receipt *ret_receipt,
                struct eider_error *error)
{
    pthread_mutex_lock(&wait->lock);
    while (!wait->is_answered) {
        pthread_cond_wait(&wait->answered, &wait->lock);
    }
    pthread_mutex_unlock(&wait->lock);
    pthread_cond_destroy(&wait->answered);
    pthread_mutex_destroy(&wait->lock);
    if (wait->outcome.code != ERR_OK) {
        return embed_fail(error, &wait->outcome.err);
    }
    if (ret_receipt) {
        *ret_receipt = wait->outcome.receipt;
    }
    return EIDER_OK;
}

/* The newest append begun so far is done, and all before it. */
static bool
is_done(const struct eider_db *db, uint64_t number)
{
    return !db->oldest || db->oldest->number > number;
}

enum eider_status
eider_flush(struct eider_db *db, int timeout_ms, struct eider_error *error)
{
    enum eider_status status = embed_check_wait("eider_flush", error);
    struct timespec until;
    struct eider_error failure = {.status = EIDER_OK};
    int result = 0;

    if (status != EIDER_OK) {
        return status;
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&db->lock);
    uint64_t number = db->begun;
    while (!is_done(db, number) && result == 0) {
        result = timeout_ms < 0 ? pthread_cond_wait(&db->changed, &db->lock)
                                : pthread_cond_timedwait(&db->changed, &db->lock, &until);
    }
    bool done = is_done(db, number);
    size_t pending = db->pending;
    if (done) {
        failure = db->failure;
        db->failure.status = EIDER_OK;
    }
    pthread_mutex_unlock(&db->lock);
    if (!done) {
        return embed_refuse(error, EIDER_TIMEOUT,
                            "%zu asynchronous appends are not durable after %d ms", pending,
                            timeout_ms);
    }
    if (failure.status != EIDER_OK && error) {
        *error = failure;
    }
    return failure.status;
}
