/* The thread that publishes the head of the event log. */
#include "server/head_nats.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/json_write.h"
#include "codec/time.h"
#include "nats/publisher.h"
#include "nats/url.h"

enum {
    PUBLISH_TIMEOUT_MS = 5000,
    WHERE_BYTES = NATS_SHOWN_BYTES + NATS_SUBJECT_BYTES + 16,
    PAYLOAD_BYTES_MAX = 512,
    NS_PER_US = 1000,
    MS_PER_S = 1000
};

struct head_nats {
    struct head_nats_options options;
    char where[WHERE_BYTES];
    pthread_t thread;
    struct nats_publisher *publisher; /* NULL: somebody else's `publish` */
    const char *subject;
    enum err_code failed; /* of the thread: why the last attempt failed, or ERR_OK */

    pthread_mutex_t lock; /* guards what follows; nothing is called while it is held */
    pthread_cond_t changed;
    bool stopping;
    bool has_head; /* one waits to be published */
    bool is_new;   /* it was not tried yet */
    struct chain_head head;
    int64_t at_us;
    int64_t retry_at_us; /* monotonic */
};

static void
format_head(const struct chain_head *head, int64_t at_us, struct buf *ret_payload)
{
    char hex[CHAIN_HEX_BYTES];
    char at[TIME_TEXT_MAX + 1];
    struct json_writer json;
    size_t len = time_format_iso8601(at_us, at);

    at[len] = 'Z';
    at[len + 1] = '\0';
    chain_hex(head->hash, hex);
    json_init(&json, ret_payload);
    json_object_begin(&json);
    json_key(&json, "seq");
    json_u64(&json, head->seq);
    json_key(&json, "hash");
    json_cstr(&json, hex);
    json_key(&json, "at");
    json_cstr(&json, at);
    json_object_end(&json);
}

static void
log_outcome(struct head_nats *head_nats, uint64_t seq, enum err_code code, const struct err *err)
{
    if (code == ERR_OK) {
        log_write(head_nats->failed ? LOG_INFO : LOG_DEBUG, "meter",
                  "event log head: seq %llu published to %s", (unsigned long long)seq,
                  head_nats->where);
    } else if (code != head_nats->failed) {
        log_write(LOG_WARNING, "meter",
                  "the event log head is not published: %s; tried again every %g s, and at the "
                  "stop",
                  err->msg, (double)head_nats->options.retry_ms / MS_PER_S);
    } else {
        log_write(LOG_DEBUG, "meter", "the event log head is still not published: %s", err->msg);
    }
    head_nats->failed = code;
}

/* Called with the lock held, which it gives up meanwhile. */
static void
try_publish(struct head_nats *head_nats)
{
    struct chain_head head = head_nats->head;
    int64_t at_us = head_nats->at_us;
    struct buf payload BUF_AUTO = {0};
    struct err err = {0};

    head_nats->is_new = false;
    pthread_mutex_unlock(&head_nats->lock);
    buf_init(&payload, PAYLOAD_BYTES_MAX);
    format_head(&head, at_us, &payload);
    enum err_code code =
        head_nats->options.publish(head_nats->options.ctx, buf_slice(&payload), &err);
    log_outcome(head_nats, head.seq, code, &err);
    pthread_mutex_lock(&head_nats->lock);
    if (code == ERR_OK && !head_nats->is_new) {
        head_nats->has_head = false;
    }
    head_nats->retry_at_us =
        clock_mono_us(clock_system()) + head_nats->options.retry_ms * TIME_US_PER_MS;
}

static void
wait_for_change(struct head_nats *head_nats)
{
    if (!head_nats->has_head) {
        pthread_cond_wait(&head_nats->changed, &head_nats->lock);
        return;
    }
    const struct timespec until = {
        .tv_sec = (time_t)(head_nats->retry_at_us / TIME_US_PER_S),
        .tv_nsec = (long)(head_nats->retry_at_us % TIME_US_PER_S) * NS_PER_US,
    };
    pthread_cond_timedwait(&head_nats->changed, &head_nats->lock, &until);
}

static void *
run(void *ctx)
{
    struct head_nats *head_nats = ctx;
    bool is_last = false;

    pthread_mutex_lock(&head_nats->lock);
    while (!is_last) {
        is_last = head_nats->stopping;
        if (head_nats->has_head && (is_last || head_nats->is_new ||
                                    clock_mono_us(clock_system()) >= head_nats->retry_at_us)) {
            try_publish(head_nats);
        } else if (!is_last) {
            wait_for_change(head_nats);
        }
    }
    pthread_mutex_unlock(&head_nats->lock);
    return NULL;
}

static void
free_head_nats(struct head_nats *head_nats)
{
    nats_publisher_close(head_nats->publisher);
    pthread_cond_destroy(&head_nats->changed);
    pthread_mutex_destroy(&head_nats->lock);
    free(head_nats);
}

/* Starts the thread of one whose options are all there, or frees it. */
static enum err_code
start(struct head_nats *head_nats, struct head_nats **ret_head_nats, struct err *err)
{
    pthread_condattr_t attr;

    pthread_mutex_init(&head_nats->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&head_nats->changed, &attr);
    pthread_condattr_destroy(&attr);
    int rc = pthread_create(&head_nats->thread, NULL, run, head_nats);
    if (rc != 0) {
        free_head_nats(head_nats);
        return err_sys(err, rc, "the thread that publishes the event log head cannot be started");
    }
    pthread_setname_np(head_nats->thread, "head-nats");
    *ret_head_nats = head_nats;
    return ERR_OK;
}

enum err_code
head_nats_start(const struct head_nats_options *options, struct head_nats **ret_head_nats,
                struct err *err)
{
    struct head_nats *head_nats = mem_zalloc(1, sizeof(*head_nats));

    head_nats->options = *options;
    snprintf(head_nats->where, sizeof(head_nats->where), "%s", options->where);
    return start(head_nats, ret_head_nats, err);
}

static enum err_code
publish_to_stream(void *ctx, struct slice payload, struct err *err)
{
    struct head_nats *head_nats = ctx;

    return nats_publish(head_nats->publisher, head_nats->subject, payload, PUBLISH_TIMEOUT_MS, err);
}

enum err_code
head_nats_open(const struct config *config, struct head_nats **ret_head_nats, struct err *err)
{
    struct nats_publisher *publisher;

    if (!config->meter.head_nats.url) {
        return ERR_OK;
    }
    enum err_code code = nats_publisher_open(config->meter.head_nats.url, "eider", &publisher, err);
    if (code != ERR_OK) {
        return err_context(err, code, "meter.head_nats.url");
    }
    struct head_nats *head_nats = mem_zalloc(1, sizeof(*head_nats));
    head_nats->publisher = publisher;
    head_nats->subject = config->meter.head_nats.subject;
    head_nats->options.publish = publish_to_stream;
    head_nats->options.ctx = head_nats;
    head_nats->options.retry_ms = config->meter.head_nats.retry_ms;
    snprintf(head_nats->where, sizeof(head_nats->where), "%s on subject %s",
             nats_publisher_url(publisher), head_nats->subject);
    log_write(LOG_INFO, "meter", "the event log head goes to %s", head_nats->where);
    return start(head_nats, ret_head_nats, err);
}

void
head_nats_tell(struct head_nats *head_nats, const struct chain_head *head, int64_t at_us)
{
    if (!head_nats) {
        return;
    }
    pthread_mutex_lock(&head_nats->lock);
    head_nats->head = *head;
    head_nats->at_us = at_us;
    head_nats->has_head = true;
    head_nats->is_new = true;
    pthread_cond_signal(&head_nats->changed);
    pthread_mutex_unlock(&head_nats->lock);
}

void
head_nats_stop(struct head_nats *head_nats)
{
    if (!head_nats) {
        return;
    }
    pthread_mutex_lock(&head_nats->lock);
    head_nats->stopping = true;
    pthread_cond_signal(&head_nats->changed);
    pthread_mutex_unlock(&head_nats->lock);
    pthread_join(head_nats->thread, NULL);
    free_head_nats(head_nats);
}
