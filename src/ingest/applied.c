/* Answers that wait for the applier (ack=applied). */
#include <stdlib.h>

#include "base/mem.h"
#include "ingest/ingest_priv.h"

static void
drop(struct applied_wait *wait, int refs)
{
    if (atomic_fetch_sub(&wait->refs, refs) == refs) {
        free(wait);
    }
}

static void
unlink_wait(struct ingest *ingest, struct applied_wait *wait)
{
    if (wait->next) {
        wait->next->prev = wait->prev;
    }
    if (wait->prev) {
        wait->prev->next = wait->next;
    } else {
        ingest->waits = wait->next;
    }
    ingest->applied_waits--;
}

static void
give_answer(struct applied_wait *wait, bool applied)
{
    struct ingest *ingest = wait->ingest;
    struct err err;

    if (!applied) {
        wait->answer.code =
            err_set(&err, ERR_UNAVAILABLE,
                    wait->waiter.late ? "the rows are durable (LSN %llu), but the store takes "
                                        "nothing at present; it will have them when it does again"
                                      : "the rows are durable (LSN %llu), but the server stops "
                                        "before the store has them; it will after the next start",
                    (unsigned long long)wait->answer.lsn);
        wait->answer.err = &err;
        wait->answer.retry_after_s = RETRY_UNAVAILABLE_S;
    }
    wait->done(wait->ctx, &wait->answer);
    if (wait->job) {
        job_end(wait->job, 1);
    } else {
        ingest_leave(ingest, 1);
    }
}

static void
on_applied(struct engine_waiter *waiter, bool applied)
{
    struct applied_wait *wait = waiter->ctx;

    if (!atomic_flag_test_and_set(&wait->claimed)) {
        struct ingest *ingest = wait->ingest;
        pthread_mutex_lock(&ingest->lock);
        unlink_wait(ingest, wait);
        pthread_mutex_unlock(&ingest->lock);
        give_answer(wait, applied);
        drop(wait, 2);
    } else {
        drop(wait, 1);
    }
}

void
applied_wait_start(struct ingest *ingest, struct job *job, const struct ingest_answer *answer,
                   ingest_done_fn *done, void *ctx)
{
    struct applied_wait *wait = mem_zalloc(1, sizeof(*wait));

    wait->waiter = (struct engine_waiter){
        .lsn = answer->lsn, .fn = on_applied, .ctx = wait, .timeout_ms = ENGINE_APPLY_MS};
    atomic_flag_clear(&wait->claimed);
    atomic_init(&wait->refs, 2);
    wait->ingest = ingest;
    wait->job = job;
    wait->done = done;
    wait->ctx = ctx;
    wait->answer = *answer;

    pthread_mutex_lock(&ingest->lock);
    /* The engine is called behind the lock's back; until then the ingest must not go. */
    ingest->active++;
    wait->next = ingest->waits;
    if (wait->next) {
        wait->next->prev = wait;
    }
    ingest->waits = wait;
    ingest->applied_waits++;
    pthread_mutex_unlock(&ingest->lock);
    ingest->ops->when_applied(ingest->options.engine, &wait->waiter);
    ingest_leave(ingest, 1);
}

void
applied_waits_give_up(struct ingest *ingest)
{
    struct applied_wait *mine = NULL;

    pthread_mutex_lock(&ingest->lock);
    struct applied_wait *wait = ingest->waits;
    while (wait) {
        struct applied_wait *next = wait->next;
        if (!atomic_flag_test_and_set(&wait->claimed)) {
            unlink_wait(ingest, wait);
            wait->next = mine;
            mine = wait;
        }
        wait = next;
    }
    pthread_mutex_unlock(&ingest->lock);
    while (mine) {
        wait = mine;
        mine = wait->next;
        give_answer(wait, false);
        drop(wait, 1);
    }
}
