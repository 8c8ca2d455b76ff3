/* A thread that waits to be asked, or for its time. */
#include "server/work.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"

enum { MS_PER_S = 1000, NS_PER_MS = 1000000, RESULT_BYTES_MAX = 1 << 20 };

struct work {
    struct work_options options;
    pthread_t thread;
    pthread_mutex_t lock; /* below no other; guards all below */
    pthread_cond_t changed;
    bool wanted;
    bool running;
    bool stopping;
    bool started;
    uint64_t runs;
    uint64_t failures;
    int64_t begun_us; /* wall; 0: never */
    int64_t ended_us;
    struct err outcome;
    struct buf result; /* of the last that succeeded: a JSON object */
};

static struct timespec
after_ms(int64_t ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ms / MS_PER_S);
    until.tv_nsec += (long)(ms % MS_PER_S) * NS_PER_MS;
    if (until.tv_nsec >= (long)MS_PER_S * NS_PER_MS) {
        until.tv_sec++;
        until.tv_nsec -= (long)MS_PER_S * NS_PER_MS;
    }
    return until;
}

/* Waits until it is to run; false when it is to stop. Under the lock. */
static bool
wait_for_turn(struct work *work, const struct timespec *due)
{
    int result = 0;

    while (!work->stopping && !work->wanted && result != ETIMEDOUT) {
        result = work->options.interval_ms > 0
                     ? pthread_cond_timedwait(&work->changed, &work->lock, due)
                     : pthread_cond_wait(&work->changed, &work->lock);
    }
    return !work->stopping;
}

static void
run_once(struct work *work)
{
    struct buf result BUF_AUTO = {0};
    struct json_writer json;
    struct err err = {0};

    work->wanted = false;
    work->running = true;
    work->begun_us = clock_wall_us(work->options.clock);
    pthread_mutex_unlock(&work->lock);
    buf_init(&result, RESULT_BYTES_MAX);
    json_init(&json, &result);
    json_object_begin(&json);
    enum err_code code = work->options.run(work->options.ctx, &json, &err);
    json_object_end(&json);
    if (code == ERR_OK) {
        log_write(LOG_INFO, work->options.name, "%.*s", SLICE_FMT(buf_slice(&result)));
    } else {
        log_write(LOG_ERROR, work->options.name, "failed: %s", err.msg);
    }
    pthread_mutex_lock(&work->lock);
    work->running = false;
    work->runs++;
    work->failures += code != ERR_OK;
    work->ended_us = clock_wall_us(work->options.clock);
    work->outcome = code == ERR_OK ? (struct err){0} : err;
    if (code == ERR_OK) {
        buf_reset(&work->result);
        buf_add_slice(&work->result, buf_slice(&result));
    }
}

static void *
work_main(void *arg)
{
    struct work *work = arg;
    struct timespec due = after_ms(work->options.first_ms);

    pthread_mutex_lock(&work->lock);
    while (wait_for_turn(work, &due)) {
        run_once(work);
        due = after_ms(work->options.interval_ms);
    }
    pthread_mutex_unlock(&work->lock);
    return NULL;
}

struct work *
work_start(const struct work_options *options)
{
    struct work *work = mem_zalloc(1, sizeof(*work));
    pthread_condattr_t attr;

    work->options = *options;
    pthread_mutex_init(&work->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&work->changed, &attr);
    pthread_condattr_destroy(&attr);
    buf_init(&work->result, RESULT_BYTES_MAX);
    work->started = pthread_create(&work->thread, NULL, work_main, work) == 0;
    return work;
}

void
work_stop(struct work *work)
{
    if (!work) {
        return;
    }
    pthread_mutex_lock(&work->lock);
    work->stopping = true;
    pthread_cond_broadcast(&work->changed);
    pthread_mutex_unlock(&work->lock);
    if (work->started) {
        pthread_join(work->thread, NULL);
    }
    pthread_cond_destroy(&work->changed);
    pthread_mutex_destroy(&work->lock);
    buf_fini(&work->result);
    free(work);
}

enum err_code
work_ask(void *ctx, struct err *err)
{
    struct work *work = ctx;
    enum err_code code = ERR_OK;

    pthread_mutex_lock(&work->lock);
    if (!work->started || work->stopping) {
        code = err_set(err, ERR_UNAVAILABLE, "the server is stopping");
    } else if (work->running || work->wanted) {
        code = err_set(err, ERR_CONFLICT, "%s is under way; ask again when it has ended",
                       work->options.name);
    } else {
        work->wanted = true;
        pthread_cond_broadcast(&work->changed);
    }
    pthread_mutex_unlock(&work->lock);
    return code;
}

static void
add_time(struct json_writer *json, const char *key, int64_t us)
{
    json_key(json, key);
    if (us > 0) {
        json_time_us(json, us);
    } else {
        json_write_null(json);
    }
}

void
work_status(void *ctx, struct json_writer *json)
{
    struct work *work = ctx;

    pthread_mutex_lock(&work->lock);
    json_key(json, "name");
    json_cstr(json, work->options.name);
    json_key(json, "state");
    json_cstr(json, work->running || work->wanted ? "running" : "idle");
    json_key(json, "runs");
    json_u64(json, work->runs);
    json_key(json, "failures");
    json_u64(json, work->failures);
    add_time(json, "started", work->begun_us);
    add_time(json, "ended", work->ended_us);
    json_key(json, "error");
    json_cstr(json, work->outcome.code != ERR_OK ? work->outcome.msg : NULL);
    json_key(json, "result");
    if (work->result.len > 0) {
        json_raw(json, buf_slice(&work->result));
    } else {
        json_write_null(json);
    }
    pthread_mutex_unlock(&work->lock);
}
