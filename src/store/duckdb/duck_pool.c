/*
 * Read connections, and the watchdog that ends statements which take too long. An interrupt is
 * lost when it meets a connection between two statements, so the watchdog repeats it until the
 * reader is given back.
 */
#include "store/duckdb/duck_cold.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"

enum { REPEAT_US = 20000, US = 1000000 };

/* The pool's own time: condition variables wait by the kernel's clock, not by the tests'. */
static int64_t
now_us(void)
{
    return clock_mono_us(clock_system());
}

static struct timespec
timespec_of(int64_t mono_us)
{
    return (struct timespec){mono_us / US, mono_us % US * 1000};
}

/* Whatever it was ended by. Holds the lock. */
static bool
is_ended(const struct duck_reader *reader)
{
    return reader->timed_out || reader->cancelled || reader->exhausted ||
           store_cancel_is_tripped(reader->cancel);
}

/* Interrupts what is due; returns when to look again, or INT64_MAX. Holds the lock. */
static int64_t
interrupt_due(struct duck_pool *pool, int64_t at_us)
{
    int64_t next_us = INT64_MAX;

    for (unsigned i = 0; i < pool->count; i++) {
        struct duck_reader *reader = &pool->readers[i];
        if (!reader->busy) {
            continue;
        }
        int64_t due_us = reader->deadline_us;
        reader->timed_out |= due_us <= at_us;
        if (is_ended(reader)) {
            duckdb_interrupt(reader->connection);
            due_us = at_us + REPEAT_US;
        }
        next_us = due_us < next_us ? due_us : next_us;
    }
    return next_us;
}

static void *
watch(void *ctx)
{
    struct duck_pool *pool = ctx;

    pthread_mutex_lock(&pool->lock);
    while (!pool->stopping || pool->busy > 0) {
        int64_t next_us = interrupt_due(pool, now_us());
        pool->next_us = next_us;
        if (next_us == INT64_MAX) {
            pthread_cond_wait(&pool->watch, &pool->lock);
        } else {
            struct timespec until = timespec_of(next_us);
            pthread_cond_timedwait(&pool->watch, &pool->lock, &until);
        }
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Not blocking; holds the guard's lock. */
static void
on_exhausted(void *ctx)
{
    struct duck_reader *reader = ctx;

    pthread_mutex_lock(&reader->pool->lock);
    reader->exhausted = true;
    pthread_cond_broadcast(&reader->pool->watch);
    pthread_mutex_unlock(&reader->pool->lock);
}

static enum err_code
connect_reader(struct duck_reader *reader, duckdb_database database, struct err *err)
{
    if (duckdb_connect(database, &reader->connection) != DuckDBSuccess) {
        return err_set(err, ERR_INTERNAL, "DuckDB gave no connection to read by");
    }
    if (duckdb_prepare(reader->connection, "BEGIN TRANSACTION READ ONLY", &reader->begin) !=
            DuckDBSuccess ||
        duckdb_prepare(reader->connection, "ROLLBACK", &reader->roll_back) != DuckDBSuccess) {
        return err_set(err, ERR_INTERNAL, "DuckDB prepared no transactions to read in");
    }
    return ERR_OK;
}

static void
disconnect_reader(struct duck_reader *reader)
{
    duckdb_destroy_prepare(&reader->begin);
    duckdb_destroy_prepare(&reader->roll_back);
    duckdb_disconnect(&reader->connection);
}

enum err_code
duck_pool_start(struct duck_pool *pool, duckdb_database database, unsigned count,
                struct memory_guard *guard, struct err *err)
{
    pthread_condattr_t attr;

    assert(count > 0 && count <= DUCK_READERS_MAX);
    *pool = (struct duck_pool){
        .readers = mem_zalloc(count, sizeof(*pool->readers)), .next_us = INT64_MAX, .guard = guard};
    pthread_mutex_init(&pool->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->freed, &attr);
    pthread_cond_init(&pool->watch, &attr);
    pthread_cond_init(&pool->given, &attr);
    pthread_condattr_destroy(&attr);
    while (pool->count < count) {
        struct duck_reader *reader = &pool->readers[pool->count++];
        reader->pool = pool;
        reader->memory = (struct memory_statement){.interrupt = on_exhausted, .ctx = reader};
        enum err_code code = connect_reader(reader, database, err);
        if (code) {
            return code;
        }
    }
    int failed = pthread_create(&pool->watchdog, NULL, watch, pool);
    if (failed) {
        return err_sys(err, failed, "starting the thread that watches statements");
    }
    pool->watching = true;
    return ERR_OK;
}

void
duck_pool_stop(struct duck_pool *pool)
{
    if (!pool->readers) {
        return;
    }
    duck_pool_interrupt(pool);
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->freed);
    pthread_cond_broadcast(&pool->watch);
    while (pool->busy > 0) {
        pthread_cond_wait(&pool->freed, &pool->lock);
    }
    pthread_cond_broadcast(&pool->watch);
    pthread_mutex_unlock(&pool->lock);
    if (pool->watching) {
        pthread_join(pool->watchdog, NULL);
    }
    for (unsigned i = 0; i < pool->count; i++) {
        disconnect_reader(&pool->readers[i]);
    }
    free(pool->readers);
    pool->readers = NULL;
    pthread_cond_destroy(&pool->freed);
    pthread_cond_destroy(&pool->watch);
    pthread_cond_destroy(&pool->given);
    pthread_mutex_destroy(&pool->lock);
}

static struct duck_reader *
free_reader(struct duck_pool *pool)
{
    for (unsigned i = 0; i < pool->count; i++) {
        if (!pool->readers[i].busy) {
            return &pool->readers[i];
        }
    }
    return NULL;
}

static enum err_code
given_up(struct err *err)
{
    return err_set(err, ERR_TIMEOUT, "given up: whoever asked has left");
}

/* A token was tripped: those who wait and the watchdog look at theirs. Not blocking. */
static void
look_again(void *ctx)
{
    struct duck_pool *pool = ctx;

    pthread_mutex_lock(&pool->lock);
    pthread_cond_broadcast(&pool->freed);
    pthread_cond_broadcast(&pool->watch);
    pthread_mutex_unlock(&pool->lock);
}

enum err_code
duck_pool_take(struct duck_pool *pool, int timeout_ms, struct store_cancel *cancel,
               struct duck_reader **ret_reader, struct err *err)
{
    int64_t deadline_us = now_us() + (int64_t)timeout_ms * 1000;
    struct timespec until = timespec_of(deadline_us);
    struct duck_reader *reader = NULL;
    int waited = 0;

    if (!store_cancel_arm(cancel, look_again, pool)) {
        return given_up(err);
    }
    pthread_mutex_lock(&pool->lock);
    while (!pool->stopping && !store_cancel_is_tripped(cancel) && !(reader = free_reader(pool)) &&
           waited != ETIMEDOUT) {
        waited = pthread_cond_timedwait(&pool->freed, &pool->lock, &until);
    }
    if (reader && !pool->stopping) {
        reader->busy = true;
        reader->taken = ++pool->taken;
        reader->cancel = cancel;
        reader->timed_out = false;
        reader->cancelled = false;
        reader->exhausted = false;
        reader->deadline_us = deadline_us;
        pool->busy++;
        if (deadline_us < pool->next_us) {
            pthread_cond_signal(&pool->watch);
        }
    } else {
        reader = NULL;
    }
    bool stopping = pool->stopping;
    pthread_mutex_unlock(&pool->lock);
    if (reader) {
        memory_guard_enter(pool->guard, &reader->memory);
        if (reader->stuck) {
            duck_read_end(reader);
        }
        *ret_reader = reader;
        return ERR_OK;
    }
    store_cancel_disarm(cancel);
    if (store_cancel_is_tripped(cancel)) {
        /* The signal of a reader that was given back may have come to this thread. */
        look_again(pool);
        return given_up(err);
    }
    if (stopping) {
        return err_set(err, ERR_UNAVAILABLE, "the store is closing");
    }
    return err_set(err, ERR_TIMEOUT, "all %u read connections were busy for %d ms", pool->count,
                   timeout_ms);
}

void
duck_pool_give(struct duck_reader *reader)
{
    struct duck_pool *pool = reader->pool;

    memory_guard_leave(pool->guard, &reader->memory);
    pthread_mutex_lock(&pool->lock);
    assert(reader->busy && pool->busy > 0);
    struct store_cancel *cancel = reader->cancel;
    reader->busy = false;
    reader->cancel = NULL;
    pool->busy--;
    if (pool->stopping) {
        pthread_cond_broadcast(&pool->freed);
    } else {
        pthread_cond_signal(&pool->freed);
    }
    pthread_cond_broadcast(&pool->given);
    pthread_mutex_unlock(&pool->lock);
    store_cancel_disarm(cancel);
}

/* Holds the lock. */
static bool
is_older_busy(const struct duck_pool *pool, uint64_t taken)
{
    for (unsigned i = 0; i < pool->count; i++) {
        if (pool->readers[i].busy && pool->readers[i].taken <= taken) {
            return true;
        }
    }
    return false;
}

bool
duck_pool_wait(struct duck_pool *pool, int timeout_ms)
{
    struct timespec until = timespec_of(now_us() + (int64_t)timeout_ms * 1000);
    int waited = 0;

    pthread_mutex_lock(&pool->lock);
    uint64_t taken = pool->taken;
    while (is_older_busy(pool, taken) && waited != ETIMEDOUT) {
        waited = pthread_cond_timedwait(&pool->given, &pool->lock, &until);
    }
    bool done = !is_older_busy(pool, taken);
    pthread_mutex_unlock(&pool->lock);
    return done;
}

void
duck_pool_interrupt(struct duck_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    for (unsigned i = 0; i < pool->count; i++) {
        pool->readers[i].cancelled |= pool->readers[i].busy;
    }
    pthread_cond_broadcast(&pool->watch);
    pthread_mutex_unlock(&pool->lock);
}

bool
duck_pool_is_over(struct duck_reader *reader)
{
    pthread_mutex_lock(&reader->pool->lock);
    reader->timed_out |= reader->deadline_us <= now_us();
    bool over = is_ended(reader);
    pthread_mutex_unlock(&reader->pool->lock);
    return over;
}

enum err_code
duck_pool_why(const struct duck_reader *reader, struct err *err)
{
    pthread_mutex_lock(&reader->pool->lock);
    bool cancelled = reader->cancelled;
    bool timed_out = reader->timed_out;
    bool exhausted = reader->exhausted;
    bool left = store_cancel_is_tripped(reader->cancel);
    pthread_mutex_unlock(&reader->pool->lock);
    if (cancelled) {
        return err_set(err, ERR_UNAVAILABLE, "interrupted: the store is being closed or rebuilt");
    }
    if (left) {
        return given_up(err);
    }
    if (exhausted) {
        return memory_guard_why(reader->pool->guard, &reader->memory, err);
    }
    if (timed_out) {
        return err_set(err, ERR_TIMEOUT,
                       "the statement took longer than its timeout; narrow it, or raise timeout");
    }
    return err_set(err, ERR_UNAVAILABLE, "interrupted");
}
