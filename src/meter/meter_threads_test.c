/* The meter under many threads: callers, callbacks that call again, a log that fails and refuses,
 * operators, and a close while records are on their way. Run it under the thread sanitizer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/id.h"
#include "codec/decimal.h"
#include "meter/fake_log.h"
#include "meter/meter.h"

enum { CALLERS = 4, CALLS = 150, SETS = 8, ROUNDS = 40, RECENT = 16, TEXT = 32, AT_ONCE = 24 };

/* A log with a thread of its own in front of the fake one, which is for one thread. */
struct slow_log {
    struct fake_log fake;
    struct meter_io fake_io;
    pthread_mutex_t store; /* rows; taken before the meter's lock */
    pthread_mutex_t lock;  /* what follows */
    pthread_cond_t changed;
    struct wal_entry *entry;
    bool stop;
    struct rng rng;
    pthread_t thread;
};

struct world {
    struct slow_log log;
    struct meter *meter;
    atomic_int asked, answered, done_well, double_submits;
};

static void *
log_thread(void *arg)
{
    struct slow_log *log = arg;

    pthread_mutex_lock(&log->lock);
    while (!log->stop || log->entry) {
        if (!log->entry) {
            pthread_cond_wait(&log->changed, &log->lock);
            continue;
        }
        struct wal_entry *entry = log->entry;
        log->entry = NULL;
        bool fails = rng_below(&log->rng, 8) == 0;
        pthread_mutex_unlock(&log->lock);
        pthread_mutex_lock(&log->store);
        log->fake.mode = fails ? FAKE_LOG_FAILING : FAKE_LOG_INSTANT;
        log->fake_io.submit(log->fake_io.ctx, entry);
        pthread_mutex_unlock(&log->store);
        pthread_mutex_lock(&log->lock);
    }
    pthread_mutex_unlock(&log->lock);
    return NULL;
}

static void
slow_submit(void *ctx, struct wal_entry *entry)
{
    struct world *world = ctx;
    struct slow_log *log = &world->log;

    pthread_mutex_lock(&log->lock);
    bool refused = rng_below(&log->rng, 50) == 0;
    if (!refused) {
        atomic_fetch_add(&world->double_submits, log->entry != NULL);
        log->entry = entry;
        pthread_cond_signal(&log->changed);
    }
    pthread_mutex_unlock(&log->lock);
    if (refused) {
        struct err err;
        err_set(&err, ERR_BUSY, "the log is full");
        entry->lsn = 0;
        entry->done(entry, ERR_BUSY, &err);
    }
}

static enum err_code
slow_visit(void *ctx, const struct store_scan *scan, store_visit_fn *fn, void *fn_ctx,
           struct err *err)
{
    struct slow_log *log = &((struct world *)ctx)->log;

    pthread_mutex_lock(&log->store);
    enum err_code code = log->fake_io.visit(log->fake_io.ctx, scan, fn, fn_ctx, err);
    pthread_mutex_unlock(&log->store);
    return code;
}

static enum err_code
slow_bucket(void *ctx, const struct store_bucket *bucket, struct batch *ret_rows, struct err *err)
{
    struct slow_log *log = &((struct world *)ctx)->log;

    pthread_mutex_lock(&log->store);
    enum err_code code = log->fake_io.bucket(log->fake_io.ctx, bucket, ret_rows, err);
    pthread_mutex_unlock(&log->store);
    return code;
}

static enum err_code
slow_settle(void *ctx, struct err *err)
{
    (void)ctx;
    (void)err;
    return ERR_OK;
}

static void
count_answer(void *ctx, const struct meter_answer *answer)
{
    struct world *world = ctx;

    sched_yield(); /* so that a close that does not wait for answers is found out */
    atomic_fetch_add(&world->done_well, answer->code == ERR_OK);
    atomic_fetch_add(&world->answered, 1);
}

/* Every other reservation is committed by the callback that hears of it. */
static void
commit_at_once(void *ctx, const struct meter_answer *answer)
{
    struct world *world = ctx;

    if (answer->code == ERR_OK) {
        struct meter_commit commit = {.reservation_id = slice_of(answer->reservation_id),
                                      .has_status = true,
                                      .status_code = 200,
                                      .metadata_json = SLICE_LITERAL("{\"a\":1}")};
        atomic_fetch_add(&world->asked, 1);
        meter_commit(world->meter, &commit, count_answer, world);
    }
    count_answer(ctx, answer);
}

struct caller {
    struct world *world;
    unsigned number;
    struct rng rng;
    unsigned calls;
};

static void
reserve_one(struct caller *caller)
{
    char id[TEXT];
    char run[TEXT];
    bool commits = rng_below(&caller->rng, 2);

    snprintf(id, sizeof(id), "t%u-%u", caller->number, ++caller->calls);
    snprintf(run, sizeof(run), "run-%u", (unsigned)rng_below(&caller->rng, 5));
    struct meter_reserve request = {
        .call = {.api_name = SLICE_LITERAL("api"), .run_id = slice_of(run)},
        .reservation_id = slice_of(id),
        .has_credits = true,
        .max_credits = (int64_t)rng_below(&caller->rng, 20) * DECIMAL_ONE,
        .ttl_ms = 1 + (int64_t)rng_below(&caller->rng, 50)};
    meter_reserve(caller->world->meter, &request, commits ? commit_at_once : count_answer,
                  caller->world);
}

static void
append_two(struct caller *caller)
{
    char ids[2][TEXT];
    struct event events[2];

    for (int i = 0; i < 2; i++) {
        snprintf(ids[i], sizeof(ids[i]), "e%u-%u", caller->number,
                 (unsigned)rng_below(&caller->rng, 200));
        events[i] = (struct event){.id = slice_of(ids[i]),
                                   .api_name = SLICE_LITERAL("api"),
                                   .run_id = SLICE_LITERAL("run-1"),
                                   .credits = DECIMAL_ONE,
                                   .timestamp_is_ours = true};
    }
    struct meter_append request = {
        .events = events, .count = 2, .enforce = rng_below(&caller->rng, 2), .may_block = true};
    meter_append(caller->world->meter, &request, count_answer, caller->world);
}

static void
ignore_view(void *ctx, const struct budget_view *view, const struct budget_forecast *forecast)
{
    int64_t *reserved = ctx;

    (void)forecast;
    *reserved += view->reserved;
}

static void
look(struct caller *caller)
{
    struct meter_stats stats;
    struct meter_open_reservation list[RECENT];
    struct chain_head head;
    int64_t reserved = 0;

    meter_stats(caller->world->meter, &stats);
    meter_head(caller->world->meter, &head);
    meter_each_budget(caller->world->meter, ignore_view, &reserved);
    meter_reservations(caller->world->meter, list, RECENT);
    count_answer(caller->world, &(struct meter_answer){.code = ERR_OK});
}

static void *
call_thread(void *arg)
{
    struct caller *caller = arg;
    struct world *world = caller->world;

    for (int i = 0; i < CALLS; i++) {
        char id[TEXT];
        unsigned back = (unsigned)rng_below(&caller->rng, RECENT);
        snprintf(id, sizeof(id), "t%u-%u", caller->number,
                 caller->calls > back ? caller->calls - back : 1);
        struct meter_commit commit = {.reservation_id = slice_of(id), .has_success = true};
        /* Or a few records would take it all. But for the last ones: those meet the close. */
        while (i < CALLS - AT_ONCE &&
               atomic_load(&world->asked) - atomic_load(&world->answered) > AT_ONCE) {
            sched_yield();
        }
        atomic_fetch_add(&world->asked, 1);
        switch (rng_below(&caller->rng, 8)) {
        case 0:
            meter_release(world->meter, slice_of(id), count_answer, world);
            break;
        case 1:
            meter_extend(world->meter, slice_of(id), 30, DECIMAL_ONE, count_answer, world);
            break;
        case 2:
            append_two(caller);
            break;
        case 3:
            look(caller);
            break;
        case 4:
            commit.success = rng_below(&caller->rng, 2);
            meter_commit(world->meter, &commit, count_answer, world);
            break;
        default:
            reserve_one(caller);
            break;
        }
    }
    return NULL;
}

static void *
operator_thread(void *arg)
{
    static const char *const changes[] = {"reset", "enforce", "metrics_only", "delete"};
    struct caller *caller = arg;
    struct world *world = caller->world;

    for (int i = 0; i < SETS; i++) {
        struct budget_def def;
        budget_def_init(&def, rng_below(&caller->rng, 2) ? "one" : "two");
        def.hard_limit = (int64_t)(50 + rng_below(&caller->rng, 5000)) * DECIMAL_ONE;
        def.window_us = (int64_t)(1 + rng_below(&caller->rng, 3)) * 60000000;
        def.has_value[DIM_RUN_ID] = rng_below(&caller->rng, 2);
        snprintf(def.value[DIM_RUN_ID], sizeof(def.value[DIM_RUN_ID]), "*");
        atomic_fetch_add(&world->asked, 2);
        meter_set_budget(world->meter, &def, count_answer, world);
        meter_change_budget(world->meter, def.name, changes[rng_below(&caller->rng, 4)],
                            slice_of(""), count_answer, world);
    }
    return NULL;
}

static void
world_init(struct world *world)
{
    fake_log_init(&world->log.fake);
    fake_log_io(&world->log.fake, &world->log.fake_io);
    rng_init(&world->log.rng, 11);
    pthread_mutex_init(&world->log.store, NULL);
    pthread_mutex_init(&world->log.lock, NULL);
    pthread_cond_init(&world->log.changed, NULL);
    assert_int_equal(0, pthread_create(&world->log.thread, NULL, log_thread, &world->log));
}

static void
world_fini(struct world *world)
{
    pthread_mutex_lock(&world->log.lock);
    world->log.stop = true;
    pthread_cond_signal(&world->log.changed);
    pthread_mutex_unlock(&world->log.lock);
    pthread_join(world->log.thread, NULL);
    pthread_cond_destroy(&world->log.changed);
    pthread_mutex_destroy(&world->log.lock);
    pthread_mutex_destroy(&world->log.store);
    fake_log_fini(&world->log.fake);
}

/* The chain stands as the rows say, and a start adds up the same. */
static void
check_log(struct world *world)
{
    struct meter_options options = {.manual = true};
    const struct batch *rows = &world->log.fake.rows[TABLE_EVENTS];
    struct chain_head head;
    struct err err;

    fake_log_io(&world->log.fake, &options.io);
    world->log.fake.mode = FAKE_LOG_INSTANT;
    assert_int_equal(ERR_OK, meter_open(&options, &world->meter, &err));
    meter_head(world->meter, &head);
    assert_int_equal(rows->rows, head.seq);
    size_t seq = (size_t)batch_column_index(rows, SLICE_LITERAL("seq"));
    for (size_t i = 0; i < rows->rows; i++) {
        assert_int_equal(i + 1, batch_get_i64(rows, seq, i));
    }
    meter_close(world->meter);
}

/* One meter from open to close. */
static void
play(struct world *world, unsigned round)
{
    struct caller callers[CALLERS + 1];
    pthread_t threads[CALLERS + 1];
    struct err err;
    struct meter_options options = {.io = {.submit = slow_submit,
                                           .visit = slow_visit,
                                           .bucket = slow_bucket,
                                           .settle = slow_settle,
                                           .ctx = world},
                                    .ids_recent_max = 4096,
                                    .closed_max = 20,
                                    .has_default_budget = true};

    budget_def_init(&options.default_budget, "default");
    options.default_budget.hard_limit = 3000 * DECIMAL_ONE;
    options.default_budget.half_open_pause_us = 1000;
    assert_int_equal(ERR_OK, meter_open(&options, &world->meter, &err));
    for (unsigned i = 0; i <= CALLERS; i++) {
        callers[i] = (struct caller){.world = world, .number = round * 10 + i};
        rng_init(&callers[i].rng, round * 10 + i + 1);
        assert_int_equal(0,
                         pthread_create(&threads[i], NULL,
                                        i < CALLERS ? call_thread : operator_thread, &callers[i]));
    }
    for (unsigned i = 0; i <= CALLERS; i++) {
        pthread_join(threads[i], NULL);
    }
    meter_close(world->meter);
    assert_int_equal(atomic_load(&world->asked), atomic_load(&world->answered));
}

static void
test_everybody_is_answered_once_whatever_the_log_does(void **state)
{
    static struct world world;

    (void)state;
    world_init(&world);
    for (unsigned round = 0; round < ROUNDS; round++) {
        play(&world, round);
    }
    assert_int_equal(0, atomic_load(&world.double_submits));
    assert_true(atomic_load(&world.done_well) > ROUNDS * CALLS / 10);
    check_log(&world);
    world_fini(&world);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everybody_is_answered_once_whatever_the_log_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
