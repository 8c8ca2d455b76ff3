/* A watch tells what its looks find, and nobody waits for one that hangs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* */
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "server/watch.h"

struct place {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int looks; /* begun */
    bool hangs;
    bool is_bad;
    bool freed;
};

static bool
look(void *ctx, struct err *err)
{
    struct place *place = ctx;

    pthread_mutex_lock(&place->lock);
    place->looks++;
    pthread_cond_broadcast(&place->changed);
    while (place->hangs) {
        pthread_cond_wait(&place->changed, &place->lock);
    }
    bool is_bad = place->is_bad;
    pthread_mutex_unlock(&place->lock);
    if (is_bad) {
        err_set(err, ERR_IO, "the disk is away");
    }
    return !is_bad;
}

static void
let_go(void *ctx)
{
    struct place *place = ctx;

    pthread_mutex_lock(&place->lock);
    place->freed = true;
    pthread_cond_broadcast(&place->changed);
    pthread_mutex_unlock(&place->lock);
}

static struct watch *
start(struct place *place)
{
    const struct watch_options options = {
        .look = look, .ctx = place, .free_ctx = let_go, .interval_ms = 1};

    pthread_mutex_init(&place->lock, NULL);
    pthread_cond_init(&place->changed, NULL);
    return watch_start(&options);
}

static void
set(struct place *place, bool hangs, bool is_bad)
{
    pthread_mutex_lock(&place->lock);
    place->hangs = hangs;
    place->is_bad = is_bad;
    pthread_cond_broadcast(&place->changed);
    pthread_mutex_unlock(&place->lock);
}

static void
wait_for_look(struct place *place)
{
    pthread_mutex_lock(&place->lock);
    while (place->looks == 0) {
        pthread_cond_wait(&place->changed, &place->lock);
    }
    pthread_mutex_unlock(&place->lock);
}

static void
wait_until_freed(struct place *place)
{
    pthread_mutex_lock(&place->lock);
    while (!place->freed) {
        pthread_cond_wait(&place->changed, &place->lock);
    }
    pthread_mutex_unlock(&place->lock);
}

static void
wait_for_text(struct watch *watch, const char *expected)
{
    char text[ERR_MSG_MAX] = "nothing read";

    while (strcmp(text, expected) != 0) {
        sched_yield();
        watch_read(watch, text);
    }
}

static void
test_watch_tells_what_is_wrong_until_it_is_not(void **state)
{
    static struct place place = {.is_bad = true};
    struct watch *watch = start(&place);

    (void)state;
    wait_for_text(watch, "the disk is away");
    set(&place, false, false);
    wait_for_text(watch, "");
    set(&place, false, true);
    wait_for_text(watch, "the disk is away");
    watch_stop(watch);
    wait_until_freed(&place);
}

static void
test_watch_that_hangs_holds_up_neither_a_reader_nor_a_stop(void **state)
{
    static struct place place = {.hangs = true, .is_bad = true};
    struct watch *watch = start(&place);
    char text[ERR_MSG_MAX];

    (void)state;
    wait_for_look(&place);
    watch_read(watch, text);
    assert_string_equal(text, "");
    watch_stop(watch);
    pthread_mutex_lock(&place.lock);
    assert_true(place.looks == 1 && !place.freed); /* the look still needs it */
    pthread_mutex_unlock(&place.lock);
    set(&place, false, false);
    wait_until_freed(&place);
    assert_int_equal(place.looks, 1);
}

static void
test_watch_of_nothing_stops(void **state)
{
    (void)state;
    watch_stop(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_watch_tells_what_is_wrong_until_it_is_not),
        cmocka_unit_test(test_watch_that_hangs_holds_up_neither_a_reader_nor_a_stop),
        cmocka_unit_test(test_watch_of_nothing_stops),
    };

    return cmocka_run_group_tests_name("watch", tests, NULL, NULL);
}
