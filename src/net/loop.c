/*
 * Posts are a stack. Its head is one of two marks when it is empty: NULL while the loop is awake
 * and will look at it before it waits, &asleep while it waits. The poster that replaces &asleep
 * writes the eventfd; all others leave it alone. So the exchange that pushes a post also tells
 * whether to wake, and nothing of the loop is touched behind it, except by a waker, for whom
 * net_loop_close waits: the loop may be freed as soon as it has run the last post.
 *
 * The eventfd is edge-triggered and never read: each write is an event of its own.
 */
#include "net/loop.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"

enum { EVENTS_MAX = 256, WAIT_MAX_MS = 60000 };

struct net_loop {
    _Atomic(struct net_post *) posts; /* newest first, ending in NULL; or a mark */
    _Atomic unsigned wakers;          /* threads that are about to write wake_fd */
    int wake_fd;
    int epoll_fd;
    bool quit;
    int64_t now_us;
    const struct clock *clock;
    bool (*turn_fn)(void *ctx);
    void *turn_ctx;
    struct net_retired *retired; /* oldest first */
    struct net_retired **retired_end;
    struct net_watch wake;
    struct net_wheel wheel;
    struct epoll_event events[EVENTS_MAX];
};

static struct net_post asleep; /* marks; never run, never followed */
static struct net_post closed;
static _Thread_local const struct net_loop *current_loop;

static void
on_wake(struct net_watch *watch, uint32_t events)
{
    /* Posts are run in every turn; being awake is all that was asked for. */
    (void)watch;
    (void)events;
}

enum err_code
net_loop_new(const struct clock *clock, struct net_loop **ret_loop, struct err *err)
{
    struct net_loop *loop = mem_zalloc(1, sizeof(*loop));
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    enum err_code code;

    loop->clock = clock;
    loop->retired_end = &loop->retired;
    loop->now_us = clock_mono_us(clock);
    net_wheel_init(&loop->wheel, loop->now_us);
    loop->wake_fd = -1;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0) {
        code = err_sys(err, errno, "epoll_create1");
        goto fail;
    }
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->wake_fd < 0) {
        code = err_sys(err, errno, "eventfd");
        goto fail;
    }
    loop->wake = (struct net_watch){.fn = on_wake, .fd = loop->wake_fd};
    event.data.ptr = &loop->wake;
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &event) < 0) {
        code = err_sys(err, errno, "epoll_ctl");
        goto fail;
    }
    *ret_loop = loop;
    return ERR_OK;
fail:
    net_loop_free(loop);
    return code;
}

static void
close_descriptors(struct net_loop *loop)
{
    if (loop->wake_fd >= 0) {
        close(loop->wake_fd);
        loop->wake_fd = -1;
    }
    if (loop->epoll_fd >= 0) {
        close(loop->epoll_fd);
        loop->epoll_fd = -1;
    }
}

void
net_loop_free(struct net_loop *loop)
{
    if (loop) {
        close_descriptors(loop);
        free(loop);
    }
}

void
net_loop_set_turn(struct net_loop *loop, bool (*fn)(void *ctx), void *ctx)
{
    loop->turn_fn = fn;
    loop->turn_ctx = ctx;
}

enum err_code
net_loop_watch(struct net_loop *loop, struct net_watch *watch, uint32_t events, struct err *err)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};

    assert(watch->fn && watch->fd >= 0);
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, watch->fd, &event) < 0) {
        return err_sys(err, errno, "epoll_ctl");
    }
    watch->events = events;
    return ERR_OK;
}

void
net_loop_set_events(struct net_loop *loop, struct net_watch *watch, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};

    assert(watch->fn);
    if (watch->events == events) {
        return;
    }
    watch->events = events;
    int rc = epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event);
    assert(rc == 0);
    (void)rc;
}

void
net_loop_unwatch(struct net_loop *loop, struct net_watch *watch)
{
    if (watch->fn) {
        watch->fn = NULL;
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    }
}

void
net_loop_retire(struct net_loop *loop, struct net_retired *retired)
{
    retired->next = NULL;
    *loop->retired_end = retired;
    loop->retired_end = &retired->next;
}

static void
free_retired(struct net_loop *loop)
{
    while (loop->retired) {
        struct net_retired *list = loop->retired;
        loop->retired = NULL;
        loop->retired_end = &loop->retired;
        while (list) {
            struct net_retired *next = list->next;
            list->fn(list);
            list = next;
        }
    }
}

bool
net_loop_post(struct net_loop *loop, struct net_post *post)
{
    struct net_post *head = atomic_load(&loop->posts);

    assert(post->fn);
    for (;;) {
        bool wake = head == &asleep;
        if (head == &closed) {
            return false;
        }
        if (wake) {
            atomic_fetch_add(&loop->wakers, 1);
        }
        post->next = wake ? NULL : head;
        bool pushed = atomic_compare_exchange_weak(&loop->posts, &head, post);
        if (pushed && wake) {
            uint64_t one = 1;
            ssize_t written = write(loop->wake_fd, &one, sizeof(one));
            (void)written; /* Fails only on a full counter, and then an event is there already. */
        }
        if (wake) {
            atomic_fetch_sub(&loop->wakers, 1);
        }
        if (pushed) {
            return true;
        }
    }
}

/* Runs a stack of posts in the order in which they were pushed. */
static void
run_posts(struct net_post *newest)
{
    struct net_post *oldest = NULL;

    while (newest) {
        struct net_post *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        struct net_post *next = oldest->next;
        oldest->fn(oldest);
        oldest = next;
    }
}

/* Microseconds of the wheel as epoll_wait's milliseconds, rounded up so that it is not early. */
static int
wait_ms(struct net_loop *loop)
{
    int64_t wait_us = net_wheel_wait_us(&loop->wheel, loop->now_us);

    if (wait_us < 0) {
        return -1;
    }
    int64_t wait = (wait_us + 999) / 1000;
    return wait > WAIT_MAX_MS ? WAIT_MAX_MS : (int)wait;
}

static void
wait_for_events(struct net_loop *loop, bool more)
{
    int timeout = more ? 0 : wait_ms(loop);
    struct net_post *mark = NULL;

    if (timeout != 0 && !atomic_compare_exchange_strong(&loop->posts, &mark, &asleep)) {
        timeout = 0;
    }
    int count = epoll_wait(loop->epoll_fd, loop->events, EVENTS_MAX, timeout);
    if (timeout != 0) {
        mark = &asleep;
        atomic_compare_exchange_strong(&loop->posts, &mark, NULL);
    }
    loop->now_us = clock_mono_us(loop->clock);
    for (int i = 0; i < count; i++) {
        struct net_watch *watch = loop->events[i].data.ptr;
        if (watch->fn) {
            watch->fn(watch, loop->events[i].events);
        }
    }
    net_wheel_expire(&loop->wheel, loop->now_us);
}

void
net_loop_run(struct net_loop *loop)
{
    current_loop = loop;
    while (!loop->quit) {
        if (atomic_load_explicit(&loop->posts, memory_order_relaxed)) {
            run_posts(atomic_exchange(&loop->posts, NULL));
        }
        bool more = loop->turn_fn && loop->turn_fn(loop->turn_ctx);
        free_retired(loop);
        if (!loop->quit) {
            wait_for_events(loop, more);
        }
    }
}

void
net_loop_quit(struct net_loop *loop)
{
    loop->quit = true;
}

void
net_loop_close(struct net_loop *loop)
{
    run_posts(atomic_exchange(&loop->posts, &closed));
    free_retired(loop);
    current_loop = NULL;
    while (atomic_load(&loop->wakers) > 0) {
        sched_yield();
    }
    close_descriptors(loop);
}

int64_t
net_loop_now_us(const struct net_loop *loop)
{
    return loop->now_us;
}

void
net_loop_timer_set(struct net_loop *loop, struct net_timer *timer, int64_t delay_us)
{
    net_wheel_set(&loop->wheel, timer, loop->now_us + delay_us);
}

void
net_loop_timer_cancel(struct net_loop *loop, struct net_timer *timer)
{
    (void)loop;
    net_wheel_cancel(timer);
}

bool
net_loop_is_current(const struct net_loop *loop)
{
    return current_loop == loop;
}
