/* A lane: a thread with libcurl's multi handle, and the calls it runs. */
#include <signal.h>

#include "base/mem.h"
#include "gateway/gateway_private.h"

enum { POLL_MAX_MS = 1000, CACHED_CONNECTIONS = 64 };

void
lane_leave_locked(struct call *call, unsigned words)
{
    struct lane *lane = call->lane;

    call->words |= words;
    if (!call->queued) {
        call->queued = true;
        call->next_word = lane->words;
        lane->words = call;
    }
}

void
lane_wake(struct lane *lane)
{
    curl_multi_wakeup(lane->multi);
}

void
lane_leave(struct call *call, unsigned words)
{
    /* The call may be over, and gone, once the lock is left. */
    struct lane *lane = call->lane;

    pthread_mutex_lock(&lane->lock);
    lane_leave_locked(call, words);
    pthread_mutex_unlock(&lane->lock);
    lane_wake(lane);
}

uint64_t
lane_random(struct lane *lane, uint64_t n)
{
    /* xorshift64*; jitter needs no better. */
    lane->random ^= lane->random >> 12;
    lane->random ^= lane->random << 25;
    lane->random ^= lane->random >> 27;
    return n ? (lane->random * UINT64_C(2685821657736338717) >> 16) % n : 0;
}

static struct call *
take_words(struct lane *lane, bool *ret_stop)
{
    pthread_mutex_lock(&lane->lock);
    struct call *list = lane->words;
    lane->words = NULL;
    *ret_stop = lane->stop;
    pthread_mutex_unlock(&lane->lock);
    return list;
}

static void
add_call(struct lane *lane, struct call *call)
{
    call->next = lane->calls;
    if (lane->calls) {
        lane->calls->prev = call;
    }
    lane->calls = call;
    lane->call_count++;
}

/* Frees a call that is over and that nobody will leave word in any more. */
static void
free_if_over(struct lane *lane, struct call *call)
{
    pthread_mutex_lock(&lane->lock);
    bool waits = call->state != CALL_OVER || call->ops > 0 || call->queued;
    pthread_mutex_unlock(&lane->lock);
    if (waits) {
        return;
    }
    if (call->prev) {
        call->prev->next = call->next;
    } else {
        lane->calls = call->next;
    }
    if (call->next) {
        call->next->prev = call->prev;
    }
    lane->call_count--;
    atomic_fetch_sub(&call->gateway->active, 1);
    buf_fini(&call->up);
    buf_fini(&call->head);
    buf_fini(&call->held);
    free(call);
}

static void
work_off(struct lane *lane, struct call *list)
{
    while (list) {
        struct call *call = list;
        list = call->next_word;
        pthread_mutex_lock(&lane->lock);
        call->queued = false;
        unsigned words = call->words;
        call->words = 0;
        pthread_mutex_unlock(&lane->lock);
        if (!call->prev && lane->calls != call) {
            add_call(lane, call);
        }
        call_work(call, words);
        free_if_over(lane, call);
    }
}

static void
take_results(struct lane *lane)
{
    int left;
    CURLMsg *message;

    while ((message = curl_multi_info_read(lane->multi, &left))) {
        if (message->msg == CURLMSG_DONE) {
            char *own = NULL;
            CURLcode result = message->data.result;
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &own);
            struct call *call = (struct call *)(void *)own;
            call_attempt_done(call, result);
            free_if_over(lane, call);
        }
    }
}

/* Ends waits; returns the milliseconds until the next one ends. */
static int
check_times(struct lane *lane)
{
    int64_t now_us = gateway_now_us(lane->gateway);
    int64_t first_us = now_us + (int64_t)POLL_MAX_MS * US_PER_MS;

    for (struct call *call = lane->calls, *next; call; call = next) {
        next = call->next;
        call_on_time(call, now_us);
        if (call->due_us && call->due_us < first_us) {
            first_us = call->due_us;
        }
        if (call->lease_due_us && call->lease_due_us < first_us) {
            first_us = call->lease_due_us;
        }
        free_if_over(lane, call);
    }
    return first_us <= now_us ? 0 : (int)((first_us - now_us + US_PER_MS - 1) / US_PER_MS);
}

static void *
run(void *arg)
{
    struct lane *lane = arg;
    bool stop = false;
    int running;

    for (;;) {
        work_off(lane, take_words(lane, &stop));
        if (stop && !lane->calls) {
            break;
        }
        curl_multi_perform(lane->multi, &running);
        take_results(lane);
        curl_multi_poll(lane->multi, NULL, 0, check_times(lane), NULL);
    }
    return NULL;
}

enum err_code
lane_start(struct lane *lane, struct gateway *gateway, unsigned index, struct err *err)
{
    sigset_t all;
    sigset_t old;
    uint64_t seed =
        gateway->options.seed ? gateway->options.seed : (uint64_t)clock_wall_us(gateway->clock);

    lane->gateway = gateway;
    lane->random = (seed + index) * UINT64_C(0x9E3779B97F4A7C15) | 1;
    pthread_mutex_init(&lane->lock, NULL);
    lane->multi = curl_multi_init();
    if (!lane->multi) {
        return err_set(err, ERR_INTERNAL, "libcurl cannot start");
    }
    curl_multi_setopt(lane->multi, CURLMOPT_MAXCONNECTS, (long)CACHED_CONNECTIONS);
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGABRT);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&lane->thread, NULL, run, lane);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0) {
        return err_sys(err, rc, "cannot start a thread of the gateway");
    }
    lane->thread_runs = true;
    return ERR_OK;
}

void
lane_stop(struct lane *lane)
{
    if (lane->thread_runs) {
        pthread_mutex_lock(&lane->lock);
        lane->stop = true;
        pthread_mutex_unlock(&lane->lock);
        lane_wake(lane);
        pthread_join(lane->thread, NULL);
    }
    if (lane->multi) {
        curl_multi_cleanup(lane->multi);
    }
    if (lane->gateway) {
        pthread_mutex_destroy(&lane->lock);
    }
}
