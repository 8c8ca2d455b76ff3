/* A ring of formatted lines between event loops and one writer thread. */
#include "server/access_log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "meter/redact.h"

enum { LINE_BYTES = 512, TARGET_MAX = 4096, RING_LINES = 8192, US_PER_S = 1000000 };

struct line {
    size_t len;
    char text[LINE_BYTES];
};

struct access_log {
    pthread_mutex_t lock;
    pthread_cond_t ready;
    pthread_t thread;
    struct line *ring;
    size_t head;
    size_t count;
    uint64_t lost;
    bool stopping;
    int fd;
};

static void
write_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t done = write(fd, text, len);
        if (done <= 0) {
            return; /* A log that cannot be written has nowhere to say so. */
        }
        text += done;
        len -= (size_t)done;
    }
}

static void *
run_writer(void *arg)
{
    struct access_log *log = arg;
    struct line line;
    char lost_text[80];

    pthread_mutex_lock(&log->lock);
    for (;;) {
        while (log->count == 0 && !log->stopping) {
            pthread_cond_wait(&log->ready, &log->lock);
        }
        if (log->count == 0) {
            break;
        }
        line = log->ring[log->head];
        log->head = (log->head + 1) % RING_LINES;
        log->count--;
        uint64_t lost = log->lost;
        log->lost = 0;
        pthread_mutex_unlock(&log->lock);
        if (lost > 0) {
            int len = snprintf(lost_text, sizeof(lost_text), "access log: %llu lines lost\n",
                               (unsigned long long)lost);
            write_all(log->fd, lost_text, (size_t)len);
        }
        write_all(log->fd, line.text, line.len);
        pthread_mutex_lock(&log->lock);
    }
    pthread_mutex_unlock(&log->lock);
    return NULL;
}

struct access_log *
access_log_start(int fd)
{
    struct access_log *log = mem_zalloc(1, sizeof(*log));

    pthread_mutex_init(&log->lock, NULL);
    pthread_cond_init(&log->ready, NULL);
    log->ring = mem_zalloc(RING_LINES, sizeof(*log->ring));
    log->fd = fd;
    if (pthread_create(&log->thread, NULL, run_writer, log) != 0) {
        abort(); /* A machine that cannot start one thread runs no server. */
    }
    return log;
}

void
access_log_stop(struct access_log *log)
{
    if (!log) {
        return;
    }
    pthread_mutex_lock(&log->lock);
    log->stopping = true;
    pthread_cond_signal(&log->ready);
    pthread_mutex_unlock(&log->lock);
    pthread_join(log->thread, NULL);
    pthread_cond_destroy(&log->ready);
    pthread_mutex_destroy(&log->lock);
    free(log->ring);
    free(log);
}

/* A client's bytes as they may stand in a line: no quote ends early, no terminal is driven. */
static struct slice
printable(struct slice text, char *place, size_t size)
{
    size_t len = text.len < size ? text.len : size;

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        place[i] = c < 0x20 || c == 0x7f || c == '"' || c == '\\' || c >= 0x80 ? '?' : text.ptr[i];
    }
    return slice_make(place, len);
}

static size_t
format(const struct http_access *access, char *text, size_t size)
{
    char stamp[32];
    int64_t now_us = clock_wall_us(clock_system());
    time_t seconds = (time_t)(now_us / US_PER_S);
    struct tm utc;

    gmtime_r(&seconds, &utc);
    strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
    char target_place[200];
    char agent_place[60];
    struct buf target_clean BUF_AUTO = {0};
    buf_init(&target_clean, TARGET_MAX);
    redact_url(slice_sub(access->target, 0, TARGET_MAX / 2), &target_clean);
    struct slice target = printable(buf_slice(&target_clean), target_place, sizeof(target_place));
    struct slice agent = printable(access->user_agent, agent_place, sizeof(agent_place));
    int len = snprintf(
        text, size, "%s.%03dZ ACCESS  %.*s \"%.*s %.*s\" %d %llu %llu %.3fms \"%.*s\" %.*s\n",
        stamp, (int)(now_us % US_PER_S / 1000), SLICE_FMT(access->peer), SLICE_FMT(access->method),
        SLICE_FMT(target), access->status, (unsigned long long)access->bytes_in,
        (unsigned long long)access->bytes_out, (double)access->duration_us / 1000, SLICE_FMT(agent),
        SLICE_FMT(access->request_id));
    if (len < 0) {
        return 0;
    }
    return (size_t)len < size ? (size_t)len : size - 1;
}

void
access_log_add(struct access_log *log, const struct http_access *access)
{
    char text[LINE_BYTES];
    size_t len = format(access, text, sizeof(text));

    pthread_mutex_lock(&log->lock);
    if (log->count == RING_LINES) {
        log->lost++;
    } else {
        struct line *line = &log->ring[(log->head + log->count++) % RING_LINES];
        memcpy(line->text, text, len);
        line->len = len;
        pthread_cond_signal(&log->ready);
    }
    pthread_mutex_unlock(&log->lock);
}
