/* A detached thread, and what it shares with whoever reads: the last of the two frees it. */
#include "server/watch.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"

enum { MS_PER_S = 1000, NS_PER_MS = 1000000 };

struct watch {
    struct watch_options options;
    pthread_mutex_t lock; /* below no other; guards all below */
    pthread_cond_t changed;
    unsigned holders;
    bool stopping;
    char text[ERR_MSG_MAX];
};

/* Under the lock, which it gives back. */
static void
let_go(struct watch *watch)
{
    bool last = --watch->holders == 0;

    pthread_mutex_unlock(&watch->lock);
    if (last) {
        pthread_cond_destroy(&watch->changed);
        pthread_mutex_destroy(&watch->lock);
        watch->options.free_ctx(watch->options.ctx);
        free(watch);
    }
}

/* Under the lock. */
static void
pause_a_while(struct watch *watch)
{
    struct timespec until;
    int result = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(watch->options.interval_ms / MS_PER_S);
    until.tv_nsec += (long)(watch->options.interval_ms % MS_PER_S) * NS_PER_MS;
    if (until.tv_nsec >= (long)MS_PER_S * NS_PER_MS) {
        until.tv_sec++;
        until.tv_nsec -= (long)MS_PER_S * NS_PER_MS;
    }
    while (!watch->stopping && result != ETIMEDOUT) {
        result = pthread_cond_timedwait(&watch->changed, &watch->lock, &until);
    }
}

static void *
run(void *arg)
{
    struct watch *watch = arg;

    pthread_mutex_lock(&watch->lock);
    while (!watch->stopping) {
        struct err err = {0};
        pthread_mutex_unlock(&watch->lock);
        bool good = watch->options.look(watch->options.ctx, &err);
        pthread_mutex_lock(&watch->lock);
        snprintf(watch->text, sizeof(watch->text), "%s", good ? "" : err.msg);
        pause_a_while(watch);
    }
    let_go(watch);
    return NULL;
}

struct watch *
watch_start(const struct watch_options *options)
{
    struct watch *watch = mem_zalloc(1, sizeof(*watch));
    pthread_condattr_t cond;
    pthread_attr_t attr;
    pthread_t thread;

    watch->options = *options;
    watch->holders = 2;
    pthread_mutex_init(&watch->lock, NULL);
    pthread_condattr_init(&cond);
    pthread_condattr_setclock(&cond, CLOCK_MONOTONIC);
    pthread_cond_init(&watch->changed, &cond);
    pthread_condattr_destroy(&cond);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &attr, run, watch) != 0) {
        watch->holders = 1;
        snprintf(watch->text, sizeof(watch->text),
                 "no thread can be started that looks whether backups can be written");
    }
    pthread_attr_destroy(&attr);
    return watch;
}

void
watch_read(struct watch *watch, char ret_text[ERR_MSG_MAX])
{
    pthread_mutex_lock(&watch->lock);
    snprintf(ret_text, ERR_MSG_MAX, "%s", watch->text);
    pthread_mutex_unlock(&watch->lock);
}

void
watch_stop(struct watch *watch)
{
    if (!watch) {
        return;
    }
    pthread_mutex_lock(&watch->lock);
    watch->stopping = true;
    pthread_cond_broadcast(&watch->changed);
    let_go(watch);
}
