/*
 * A caller's way to give up a read: one token for everything that is read for one request. Trip it
 * and a read that runs with it ends at once with ERR_TIMEOUT, one that waits for a connection or
 * begins later does not begin. Other reads of the same store go on.
 *
 *   untouched --arm--> armed --disarm--> untouched        trip: from any of them, for good
 *
 * For stores: before a read waits for a connection, arm the token with a function that makes the
 * waiting thread look again and has the connection interrupted; disarm it when the connection is
 * given back. The function is called with the lock below held, perhaps on an event loop: it must
 * not block and must not talk to a server. A store whose interrupt does block (PQcancel) notes the
 * wish and lets a thread of its own act on it, as the watchdog of duck_pool.c does; it may take
 * locks that no thread holds while it calls store_cancel_arm or store_cancel_disarm. A store that
 * answers from memory may pass the token over.
 *
 * A token that is all zeros is ready and needs no end; it must outlive the reads and whoever may
 * trip it. Threads: any; one read at a time has it armed.
 */
#ifndef EIDER_STORE_CANCEL_H
#define EIDER_STORE_CANCEL_H

#include <stdatomic.h>
#include <stdbool.h>

typedef void store_cancel_fn(void *ctx);

struct store_cancel {
    atomic_bool tripped;
    store_cancel_fn *fn; /* NULL: not armed */
    void *ctx;
};

/* For whoever gives up. Does not block. */
void store_cancel_trip(struct store_cancel *cancel);

/* NULL was never tripped. */
bool store_cancel_is_tripped(const struct store_cancel *cancel);

/* For stores; with NULL they do nothing. Arming says false when the token was tripped before: then
 * fn will not be called. When disarming returns, fn is not running and will not be called. */
bool store_cancel_arm(struct store_cancel *cancel, store_cancel_fn *fn, void *ctx);
void store_cancel_disarm(struct store_cancel *cancel);

#endif
