/* Tests of the event loop: posts from other threads, watches, timers, what is freed when. */
#include "net/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"

static struct net_loop *
new_loop(void)
{
    struct net_loop *loop = NULL;
    struct err err;

    assert_int_equal(net_loop_new(clock_system(), &loop, &err), ERR_OK);
    return loop;
}

static void *
run_loop(void *arg)
{
    net_loop_run(arg);
    net_loop_close(arg);
    return NULL;
}

struct quit_post {
    struct net_post post;
    struct net_loop *loop;
};

static void
on_quit(struct net_post *post)
{
    net_loop_quit(((struct quit_post *)post)->loop);
}

enum { POSTERS = 4, POSTS_EACH = 20000 };

struct numbered_post {
    struct net_post post;
    struct poster *poster;
    int number;
};

struct poster {
    pthread_t thread;
    struct net_loop *loop;
    int next; /* number expected next; loop's thread */
    bool in_order;
    bool on_loop;
};

static void
on_numbered(struct net_post *post)
{
    struct numbered_post *numbered = (struct numbered_post *)post;
    struct poster *poster = numbered->poster;

    poster->in_order = poster->in_order && numbered->number == poster->next;
    poster->on_loop = poster->on_loop && net_loop_is_current(poster->loop);
    poster->next++;
    free(numbered);
}

static void *
post_many(void *arg)
{
    struct poster *poster = arg;

    for (int i = 0; i < POSTS_EACH; i++) {
        struct numbered_post *numbered = mem_alloc(sizeof(*numbered));
        *numbered = (struct numbered_post){{.fn = on_numbered}, poster, i};
        assert_true(net_loop_post(poster->loop, &numbered->post));
    }
    return NULL;
}

static void
test_loop_runs_every_post_once_in_the_order_of_its_thread(void **state)
{
    struct net_loop *loop = new_loop();
    struct quit_post quit = {{.fn = on_quit}, loop};
    struct poster posters[POSTERS];
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, run_loop, loop), 0);
    for (int i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){.loop = loop, .in_order = true, .on_loop = true};
        assert_int_equal(pthread_create(&posters[i].thread, NULL, post_many, &posters[i]), 0);
    }
    for (int i = 0; i < POSTERS; i++) {
        pthread_join(posters[i].thread, NULL);
    }
    assert_true(net_loop_post(loop, &quit.post));
    pthread_join(thread, NULL);
    for (int i = 0; i < POSTERS; i++) {
        assert_int_equal(posters[i].next, POSTS_EACH);
        assert_true(posters[i].in_order);
        assert_true(posters[i].on_loop);
    }
    assert_false(net_loop_is_current(loop));
    net_loop_free(loop);
}

/* Two loops that only ever wake each other: a lost wake-up would stop them for good. */
struct ping_pong {
    struct net_post post;
    struct net_loop *loops[2];
    struct quit_post quit;
    int left;
};

static void
on_ping(struct net_post *post)
{
    struct ping_pong *game = (struct ping_pong *)post;

    if (--game->left > 0) {
        net_loop_post(game->loops[game->left & 1], &game->post);
        return;
    }
    /* It was sent here with left at 1, so this is loop 1. */
    net_loop_quit(game->loops[1]);
    net_loop_post(game->loops[0], &game->quit.post);
}

static void
test_loop_loses_no_wake_up(void **state)
{
    struct ping_pong game = {.post.fn = on_ping, .loops = {new_loop(), new_loop()}, .left = 20001};
    pthread_t threads[2];

    (void)state;
    game.quit = (struct quit_post){{.fn = on_quit}, game.loops[0]};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, run_loop, game.loops[i]), 0);
    }
    net_loop_post(game.loops[1], &game.post);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        net_loop_free(game.loops[i]);
    }
    assert_int_equal(game.left, 0);
}

static void
count_post(struct net_post *post)
{
    (void)post;
}

static void
test_loop_refuses_posts_when_closed(void **state)
{
    struct net_loop *loop = new_loop();
    struct quit_post quit = {{.fn = on_quit}, loop};
    struct net_post late = {.fn = count_post};
    pthread_t thread;

    (void)state;
    net_loop_post(loop, &quit.post);
    assert_int_equal(pthread_create(&thread, NULL, run_loop, loop), 0);
    pthread_join(thread, NULL);
    assert_false(net_loop_post(loop, &late));
    net_loop_free(loop);
}

struct pair {
    struct net_watch watch;
    struct net_retired retired;
    struct net_loop *loop;
    struct pair *other;
    int events;
    bool freed;
    bool *both_freed;
};

static void
on_retired(struct net_retired *retired)
{
    struct pair *pair = NET_OWNER(retired, struct pair, retired);

    pair->freed = true;
}

/* Both sockets are readable in one batch; whichever comes first closes the other. */
static void
on_pair(struct net_watch *watch, uint32_t events)
{
    struct pair *pair = NET_OWNER(watch, struct pair, watch);

    assert_true(events & EPOLLIN);
    assert_false(pair->freed);
    assert_false(pair->other->freed);
    pair->events++;
    net_loop_unwatch(pair->loop, &pair->other->watch);
    net_loop_retire(pair->loop, &pair->other->retired);
    net_loop_unwatch(pair->loop, &pair->watch);
    net_loop_quit(pair->loop);
}

static void
test_loop_delivers_no_event_of_a_batch_to_what_was_closed_in_it(void **state)
{
    struct net_loop *loop = new_loop();
    struct pair pairs[2];
    int fds[2][2];
    struct err err;

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds[i]), 0);
        pairs[i] = (struct pair){.watch = {.fn = on_pair, .fd = fds[i][0]},
                                 .retired.fn = on_retired,
                                 .loop = loop,
                                 .other = &pairs[1 - i]};
        assert_int_equal(write(fds[i][1], "x", 1), 1);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(net_loop_watch(loop, &pairs[i].watch, EPOLLIN, &err), ERR_OK);
    }
    net_loop_run(loop);
    net_loop_close(loop);
    assert_int_equal(pairs[0].events + pairs[1].events, 1);
    assert_int_equal(pairs[0].freed + pairs[1].freed, 1);
    net_loop_free(loop);
    for (int i = 0; i < 2; i++) {
        close(fds[i][0]);
        close(fds[i][1]);
    }
}

struct alarm {
    struct net_timer timer;
    struct net_loop *loop;
    int64_t set_us;
    int64_t delay_us;
};

static void
on_alarm(struct net_timer *timer)
{
    struct alarm *alarm = (struct alarm *)timer;

    alarm->delay_us = net_loop_now_us(alarm->loop) - alarm->set_us;
    net_loop_quit(alarm->loop);
}

static void
test_loop_fires_timers_not_early(void **state)
{
    struct net_loop *loop = new_loop();
    struct alarm alarm = {.timer.fn = on_alarm, .loop = loop, .set_us = net_loop_now_us(loop)};
    struct alarm never = {.timer.fn = on_alarm, .loop = loop};

    (void)state;
    net_loop_timer_set(loop, &alarm.timer, 30000);
    net_loop_timer_set(loop, &never.timer, 10000);
    net_loop_timer_cancel(loop, &never.timer);
    net_loop_run(loop);
    net_loop_close(loop);
    assert_true(alarm.delay_us >= 30000);
    net_loop_free(loop);
}

struct turns {
    struct net_loop *loop;
    int left;
};

static bool
on_turn(void *ctx)
{
    struct turns *turns = ctx;

    if (--turns->left == 0) {
        net_loop_quit(turns->loop);
    }
    return turns->left > 0;
}

static void
test_loop_does_not_wait_while_its_turn_wants_more(void **state)
{
    struct net_loop *loop = new_loop();
    struct turns turns = {loop, 1000};

    (void)state;
    net_loop_set_turn(loop, on_turn, &turns);
    net_loop_run(loop);
    net_loop_close(loop);
    assert_int_equal(turns.left, 0);
    net_loop_free(loop);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loop_runs_every_post_once_in_the_order_of_its_thread),
        cmocka_unit_test(test_loop_loses_no_wake_up),
        cmocka_unit_test(test_loop_refuses_posts_when_closed),
        cmocka_unit_test(test_loop_delivers_no_event_of_a_batch_to_what_was_closed_in_it),
        cmocka_unit_test(test_loop_fires_timers_not_early),
        cmocka_unit_test(test_loop_does_not_wait_while_its_turn_wants_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
