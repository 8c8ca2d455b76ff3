/* One lock for all tokens: it is held for a few instructions, twice a read. So a token needs no
 * initialiser and no end. */
#include "store/cancel.h"

#include <assert.h>
#include <pthread.h>
#include <stddef.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void
store_cancel_trip(struct store_cancel *cancel)
{
    pthread_mutex_lock(&lock);
    if (!atomic_exchange(&cancel->tripped, true) && cancel->fn) {
        cancel->fn(cancel->ctx);
    }
    pthread_mutex_unlock(&lock);
}

bool
store_cancel_is_tripped(const struct store_cancel *cancel)
{
    return cancel && atomic_load(&cancel->tripped);
}

bool
store_cancel_arm(struct store_cancel *cancel, store_cancel_fn *fn, void *ctx)
{
    if (!cancel) {
        return true;
    }
    pthread_mutex_lock(&lock);
    bool armed = !atomic_load(&cancel->tripped);
    if (armed) {
        assert(!cancel->fn);
        cancel->fn = fn;
        cancel->ctx = ctx;
    }
    pthread_mutex_unlock(&lock);
    return armed;
}

void
store_cancel_disarm(struct store_cancel *cancel)
{
    if (cancel) {
        pthread_mutex_lock(&lock);
        cancel->fn = NULL;
        pthread_mutex_unlock(&lock);
    }
}
