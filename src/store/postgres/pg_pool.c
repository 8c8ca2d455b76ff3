/* Connections of readers: made when they are needed, kept, given up when the server drops them. */
#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "store/postgres/pg.h"

enum { BACKOFF_FIRST_MS = 50, BACKOFF_MAX_MS = 2000, BACKOFF_DOUBLINGS = 6, US_PER_MS = 1000 };

void
pg_pool_init(struct pg_pool *pool, unsigned count)
{
    pthread_condattr_t attr;

    pthread_mutex_init(&pool->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->freed, &attr);
    pthread_condattr_destroy(&attr);
    pool->count = count;
    pool->readers = mem_zalloc(count, sizeof(*pool->readers));
}

void
pg_pool_fini(struct pg_pool *pool)
{
    for (unsigned i = 0; i < pool->count; i++) {
        pg_disconnect(&pool->readers[i]);
    }
    free(pool->readers);
    pthread_cond_destroy(&pool->freed);
    pthread_mutex_destroy(&pool->lock);
}

/* A free one, rather one that is connected; NULL when all are busy. Under the lock. */
static struct pg_conn *
find_free(struct pg_pool *pool)
{
    struct pg_conn *found = NULL;

    for (unsigned i = 0; i < pool->count; i++) {
        struct pg_conn *conn = &pool->readers[i];
        if (!conn->busy && (!found || (!found->pg && conn->pg))) {
            found = conn;
        }
    }
    return found;
}

static enum err_code
wait_for_free(struct pg_pool *pool, int64_t deadline_us, struct pg_conn **ret_conn, struct err *err)
{
    struct timespec until = {.tv_sec = deadline_us / 1000000,
                             .tv_nsec = deadline_us % 1000000 * 1000};
    int result = 0;

    while (!(*ret_conn = find_free(pool))) {
        if (result == ETIMEDOUT) {
            return err_set(err, ERR_TIMEOUT,
                           "all %u connections to PostgreSQL are busy; raise "
                           "storage.postgres.max_connections, or timeout",
                           pool->count);
        }
        result = pthread_cond_timedwait(&pool->freed, &pool->lock, &until);
    }
    return ERR_OK;
}

/* Under the lock: while the server is away, one look a moment is enough. */
static enum err_code
check_gate(const struct pg_store *store, struct err *err)
{
    const struct pg_pool *pool = &store->pool;

    if (pool->failures > 0 && clock_mono_us(store->clock) < pool->next_us) {
        *err = pool->failure;
        return pool->failure.code;
    }
    return ERR_OK;
}

static void
note_failure(struct pg_store *store, const struct err *err)
{
    struct pg_pool *pool = &store->pool;
    unsigned doublings = pool->failures < BACKOFF_DOUBLINGS ? pool->failures : BACKOFF_DOUBLINGS;
    int64_t wait_ms = (int64_t)BACKOFF_FIRST_MS << doublings;

    wait_ms = wait_ms < BACKOFF_MAX_MS ? wait_ms : BACKOFF_MAX_MS;
    pool->failures++;
    pool->failure = *err;
    /* Half of it by chance, so that many that lost one server do not come back at once. */
    pool->next_us = clock_mono_us(store->clock) + wait_ms * US_PER_MS / 2 +
                    (int64_t)rng_below(&store->rng, (uint64_t)wait_ms * US_PER_MS / 2);
}

static bool
is_usable(const struct pg_conn *conn)
{
    return conn->pg && conn->cancel && PQstatus(conn->pg) == CONNECTION_OK;
}

enum err_code
pg_pool_take(struct pg_store *store, const struct store_cancel *cancel, int64_t deadline_us,
             struct pg_conn **ret_conn, struct err *err)
{
    struct pg_pool *pool = &store->pool;
    struct pg_conn made = {0};
    struct pg_conn *conn = NULL;

    if (store_cancel_is_tripped(cancel)) {
        return err_set(err, ERR_TIMEOUT, "the read was given up");
    }
    pthread_mutex_lock(&pool->lock);
    enum err_code code = wait_for_free(pool, deadline_us, &conn, err);
    bool connect = code == ERR_OK && !is_usable(conn);
    if (connect) {
        code = check_gate(store, err);
    }
    if (code == ERR_OK) {
        conn->busy = true;
        atomic_store(&conn->interrupted, false);
        conn->cancels = cancel;
        pool->busy++;
    }
    pthread_mutex_unlock(&pool->lock);
    if (code != ERR_OK || !connect) {
        *ret_conn = conn;
        return code;
    }
    code = pg_connect(store, PG_SIDE_READ, &made, err);
    pthread_mutex_lock(&pool->lock);
    pg_disconnect(conn);
    conn->pg = made.pg;
    conn->cancel = made.cancel;
    if (code == ERR_OK) {
        pool->failures = 0;
        *ret_conn = conn;
    } else {
        note_failure(store, err);
        conn->busy = false;
        pool->busy--;
        pthread_cond_signal(&pool->freed);
    }
    pthread_mutex_unlock(&pool->lock);
    return code;
}

void
pg_pool_give(struct pg_store *store, struct pg_conn *conn)
{
    struct pg_pool *pool = &store->pool;

    pthread_mutex_lock(&pool->lock);
    /* What is in the middle of something is not worth finding out about. */
    if (!is_usable(conn) || PQtransactionStatus(conn->pg) != PQTRANS_IDLE) {
        pg_disconnect(conn);
    }
    conn->busy = false;
    conn->cancels = NULL;
    pool->busy--;
    pthread_cond_signal(&pool->freed);
    pthread_mutex_unlock(&pool->lock);
}

void
pg_pool_interrupt(struct pg_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    for (unsigned i = 0; i < pool->count; i++) {
        if (pool->readers[i].busy) {
            atomic_store(&pool->readers[i].interrupted, true);
        }
    }
    pthread_mutex_unlock(&pool->lock);
}
