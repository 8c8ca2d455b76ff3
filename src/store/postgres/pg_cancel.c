/*
 * Cancelling a statement. libpq's PQcancel connects anew and waits for the server's end of that
 * connection without any limit, also when the host is frozen and the kernel alone takes
 * connections. So a thread of its own does it, which is waited for until a deadline; one that is
 * late is left to itself, and the connection is given up. Such threads are counted: with
 * THREADS_MAX of them hanging no further one is begun.
 *
 * It is waited for at all because a request that comes late would end the next statement.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/postgres/pg.h"

enum { CANCEL_TEXT = 256, THREADS_MAX = 64, TICK_MS = 50 };

/* The thread and whoever waits for it have one each; the last one frees it. */
struct cancel_job {
    PGcancel *cancel;
    int fd; /* an eventfd, readable when the request is over */
    atomic_bool done;
    atomic_int holders;
};

static atomic_int threads;

static void
let_go(struct cancel_job *job)
{
    if (atomic_fetch_sub(&job->holders, 1) == 1) {
        PQfreeCancel(job->cancel);
        close(job->fd);
        free(job);
    }
}

static void *
run(void *arg)
{
    struct cancel_job *job = arg;
    char why[CANCEL_TEXT];

    PQcancel(job->cancel, why, sizeof(why)); /* a refusal: the statement's own answer tells */
    atomic_store(&job->done, true);
    eventfd_write(job->fd, 1);
    let_go(job);
    atomic_fetch_sub(&threads, 1);
    return NULL;
}

/* Signals are for the threads that there were before. */
static bool
start(struct cancel_job *job)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all;
    sigset_t old;

    if (atomic_fetch_add(&threads, 1) >= THREADS_MAX || pthread_attr_init(&attr) != 0) {
        atomic_fetch_sub(&threads, 1);
        return false;
    }
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    bool started = pthread_create(&thread, &attr, run, job) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    if (!started) {
        atomic_fetch_sub(&threads, 1);
    }
    return started;
}

static bool
wait_until_done(const struct pg_store *store, const struct pg_conn *conn, struct cancel_job *job,
                int64_t deadline_us)
{
    while (!atomic_load(&job->done)) {
        struct pollfd fd = {.fd = job->fd, .events = POLLIN};
        if (clock_mono_us(store->clock) >= deadline_us || pg_is_left(store, conn)) {
            return false;
        }
        if (poll(&fd, 1, TICK_MS) < 0 && errno != EINTR) {
            return false;
        }
    }
    return true;
}

static bool
try_cancel(const struct pg_store *store, struct pg_conn *conn)
{
    int fd = conn->cancel ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;

    if (fd < 0) {
        return false;
    }
    struct cancel_job *job = mem_alloc(sizeof(*job));
    *job = (struct cancel_job){.cancel = conn->cancel, .fd = fd};
    conn->cancel = NULL;
    atomic_init(&job->holders, 2);
    if (!start(job)) {
        atomic_store(&job->holders, 1);
        let_go(job);
        return false;
    }
    bool done = wait_until_done(store, conn, job, pg_deadline(store, PG_CANCEL_WAIT_MS));
    if (done) {
        conn->cancel = job->cancel; /* it is not looked at by the thread any more */
        job->cancel = NULL;
    }
    let_go(job);
    return done;
}

bool
pg_cancel(const struct pg_store *store, struct pg_conn *conn)
{
    if (try_cancel(store, conn)) {
        return true;
    }
    PQfreeCancel(conn->cancel);
    conn->cancel = NULL;
    if (PQsocket(conn->pg) >= 0) {
        shutdown(PQsocket(conn->pg), SHUT_RDWR); /* nobody waits at it any more */
    }
    return false;
}
