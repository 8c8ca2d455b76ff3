/*
 * A timing wheel: many timeouts that nearly always are moved before they are due. Setting a timer
 * later than it already is costs one store; it is relinked when the wheel meets it too early.
 * Resolution is one tick; a timer never fires before its time.
 *
 * Ownership: timers are memory of the caller, who cancels them before freeing it. One thread.
 */
#ifndef EIDER_NET_WHEEL_H
#define EIDER_NET_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NET_WHEEL_SLOTS = 1024, NET_WHEEL_TICK_US = 10000 };

struct net_timer_link {
    struct net_timer_link *prev;
    struct net_timer_link *next;
};

/* Zeroed but for fn: not set. */
struct net_timer {
    struct net_timer_link link; /* first; next is NULL when not set */
    int64_t due_us;
    uint64_t tick; /* when the wheel looks at it next */
    void (*fn)(struct net_timer *timer);
};

struct net_wheel {
    struct net_timer_link slots[NET_WHEEL_SLOTS];
    uint64_t filled[NET_WHEEL_SLOTS / 64]; /* one bit a slot; may say yes for an empty one */
    uint64_t tick;                         /* the last one that was worked off */
};

/* Prepares an empty wheel; now_us is of any clock that does not go back. */
void net_wheel_init(struct net_wheel *wheel, int64_t now_us);

/* Sets or moves a timer; a time in the past fires at the next tick. */
void net_wheel_set(struct net_wheel *wheel, struct net_timer *timer, int64_t due_us);

/* Takes a timer out; nothing happens when it is not set. */
void net_wheel_cancel(struct net_timer *timer);

/* Calls fn of every timer that is due; each is unset before its call and may be set again in it. */
void net_wheel_expire(struct net_wheel *wheel, int64_t now_us);

/* Microseconds until net_wheel_expire should be called again; -1 when no timer is set. */
int64_t net_wheel_wait_us(struct net_wheel *wheel, int64_t now_us);

#endif
