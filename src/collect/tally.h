/*
 * The account of one collector: what it wrote, what went wrong. Also the waiting for the next tick,
 * since both share a lock.
 *
 * Threads: any.
 */
#ifndef EIDER_COLLECT_TALLY_H
#define EIDER_COLLECT_TALLY_H

#include <pthread.h>

#include "base/clock.h"
#include "collect/collect.h"

struct tally {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* on the monotonic clock */
    bool stopping;
    const struct clock *clock;
    int64_t started_mono_us;
    struct collect_status status;
};

void tally_init(struct tally *tally, const char *name, const struct clock *clock);
void tally_fini(struct tally *tally);

/* Books the outcome of one write of `rows` rows. */
void tally_write(struct tally *tally, enum err_code code, const struct err *err, uint64_t rows);

/* Books an error that is not a write's. */
void tally_error(struct tally *tally, const char *text);

/* Fills in the account of this moment. */
void tally_status(struct tally *tally, struct collect_status *ret_status);

/* Tells whoever waits to end. */
void tally_stop(struct tally *tally);
bool tally_is_stopping(struct tally *tally);

/*
 * Waits until *next_us of the real monotonic clock and moves it on by tick_us (to a tick from now
 * when it has fallen far behind). False when it is time to stop.
 */
bool tally_wait_tick(struct tally *tally, int64_t *next_us, int64_t tick_us);

#endif
