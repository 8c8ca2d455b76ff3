/*
 * An event loop: one thread that waits on epoll, runs what others post to it, and fires timers.
 *
 *   posts -> turn hook -> frees what was retired -> epoll_wait -> events -> timers -> posts ...
 *
 * Ownership: watches, timers, posts and retired objects are members of the caller's objects. An
 * object that had a watch is freed by net_loop_retire, at the end of the turn, since the batch of
 * events in hand may still name it.
 *
 * Threads: net_loop_post may be called by any thread; everything else by the loop's own thread, or
 * by anyone while the loop does not run yet or no more.
 */
#ifndef EIDER_NET_LOOP_H
#define EIDER_NET_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "net/wheel.h"

/* The object that `ptr`, its member, belongs to. */
#define NET_OWNER(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

struct net_loop;

/* A descriptor in epoll, level-triggered. `events` are EPOLLIN and EPOLLOUT bits; EPOLLERR and
 * EPOLLHUP are always delivered, so whoever gets them must close. */
struct net_watch {
    void (*fn)(struct net_watch *watch, uint32_t events); /* NULL after net_loop_unwatch */
    int fd;
    uint32_t events;
};

/* Something to run on the loop's thread; fn may free it or post it again. */
struct net_post {
    struct net_post *next;
    void (*fn)(struct net_post *post);
};

/* Something to free at the end of the turn. */
struct net_retired {
    struct net_retired *next;
    void (*fn)(struct net_retired *retired);
};

/* Makes a loop; `clock` outlives it. Errors name the system call. */
enum err_code net_loop_new(const struct clock *clock, struct net_loop **ret_loop, struct err *err);
void net_loop_free(struct net_loop *loop); /* NULL is fine; the loop must be closed or never run */

/* Runs turns until net_loop_quit. */
void net_loop_run(struct net_loop *loop);

/* Makes net_loop_run return at the end of this turn. */
void net_loop_quit(struct net_loop *loop);

/*
 * Runs the posts that are still queued, then refuses all further ones. Call it behind net_loop_run,
 * on the same thread. The descriptors are closed, the memory stays valid until net_loop_free.
 */
void net_loop_close(struct net_loop *loop);

/* Called once a turn; true asks for the next turn without waiting. */
void net_loop_set_turn(struct net_loop *loop, bool (*fn)(void *ctx), void *ctx);

/* Starts watching watch->fd; err names epoll_ctl. */
enum err_code net_loop_watch(struct net_loop *loop, struct net_watch *watch, uint32_t events,
                             struct err *err);
/* Changes what is waited for; does nothing when it is the same. */
void net_loop_set_events(struct net_loop *loop, struct net_watch *watch, uint32_t events);
/* Stops watching; the caller closes the descriptor. */
void net_loop_unwatch(struct net_loop *loop, struct net_watch *watch);

/* Calls retired->fn at the end of this turn, in the order of the calls. */
void net_loop_retire(struct net_loop *loop, struct net_retired *retired);

/*
 * Queues `post`; any thread. The loop is woken at most once for all posts that it has not seen, and
 * not at all while it is awake. False, and post->fn is never called, after net_loop_close.
 */
bool net_loop_post(struct net_loop *loop, struct net_post *post);

/* Monotonic time, read once a turn. */
int64_t net_loop_now_us(const struct net_loop *loop);

/* Sets or moves a timer to now + delay_us; see net/wheel.h. */
void net_loop_timer_set(struct net_loop *loop, struct net_timer *timer, int64_t delay_us);
void net_loop_timer_cancel(struct net_loop *loop, struct net_timer *timer);

/* Whether the calling thread is the one that runs this loop. */
bool net_loop_is_current(const struct net_loop *loop);

#endif
