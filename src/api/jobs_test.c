/* The job pool: order, bound, and that closing runs what was taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "api/jobs.h"

enum { QUEUE = 4 };

struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open;
    unsigned entered;
    unsigned order[16];
    unsigned done;
};

struct numbered {
    struct gate *gate;
    unsigned number;
};

static void
wait_at_gate(void *ctx)
{
    struct gate *gate = ctx;

    pthread_mutex_lock(&gate->lock);
    gate->entered++;
    pthread_cond_broadcast(&gate->changed);
    while (!gate->open) {
        pthread_cond_wait(&gate->changed, &gate->lock);
    }
    pthread_mutex_unlock(&gate->lock);
}

static void
note_number(void *ctx)
{
    struct numbered *numbered = ctx;
    struct gate *gate = numbered->gate;

    pthread_mutex_lock(&gate->lock);
    gate->order[gate->done++] = numbered->number;
    pthread_mutex_unlock(&gate->lock);
}

static void
open_gate(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->open = true;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
}

static void
wait_entered(struct gate *gate, unsigned count)
{
    pthread_mutex_lock(&gate->lock);
    while (gate->entered < count) {
        pthread_cond_wait(&gate->changed, &gate->lock);
    }
    pthread_mutex_unlock(&gate->lock);
}

static void
test_jobs_over_the_queue_are_refused_and_counted(void **state)
{
    struct gate gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct jobs *jobs = jobs_open(1, QUEUE);
    struct jobs_stats stats;

    (void)state;
    assert_true(jobs_submit(jobs, wait_at_gate, &gate));
    wait_entered(&gate, 1);
    for (int i = 0; i < QUEUE; i++) {
        assert_true(jobs_submit(jobs, wait_at_gate, &gate));
    }
    assert_false(jobs_submit(jobs, wait_at_gate, &gate));
    jobs_stats(jobs, &stats);
    assert_int_equal(stats.queued, QUEUE);
    assert_int_equal(stats.running, 1);
    assert_int_equal(stats.refused, 1);
    open_gate(&gate);
    jobs_close(jobs);
    assert_int_equal(gate.entered, QUEUE + 1);
}

static void
test_jobs_run_in_order_and_close_runs_what_is_queued(void **state)
{
    struct gate gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct numbered numbered[QUEUE];
    struct jobs *jobs = jobs_open(1, QUEUE);

    (void)state;
    assert_true(jobs_submit(jobs, wait_at_gate, &gate));
    wait_entered(&gate, 1);
    for (unsigned i = 0; i < QUEUE; i++) {
        numbered[i] = (struct numbered){&gate, i};
        assert_true(jobs_submit(jobs, note_number, &numbered[i]));
    }
    open_gate(&gate);
    jobs_close(jobs);
    assert_int_equal(gate.done, QUEUE);
    for (unsigned i = 0; i < QUEUE; i++) {
        assert_int_equal(gate.order[i], i);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jobs_over_the_queue_are_refused_and_counted),
        cmocka_unit_test(test_jobs_run_in_order_and_close_runs_what_is_queued),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
