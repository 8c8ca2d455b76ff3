/* The log: a level, a destination and a ring of the newest lines under one mutex. */
#include "base/log.h"

#include <assert.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

enum { US_PER_S = 1000000 };

static const char *const level_names[LOG_LEVEL_COUNT] = {"DEBUG", "INFO", "WARNING", "ERROR"};

static struct {
    pthread_mutex_t lock;
    _Atomic int level;
    int fd;
    bool json;
    struct log_record *ring; /* LOG_RING_LINES of them, made at the first line */
    uint64_t written;
} the_log = {.lock = PTHREAD_MUTEX_INITIALIZER, .level = LOG_INFO, .fd = STDERR_FILENO};

void
log_init(const struct log_options *options)
{
    pthread_mutex_lock(&the_log.lock);
    the_log.fd = options->fd > 0 ? options->fd : STDERR_FILENO;
    the_log.json = options->json;
    the_log.level = (int)options->level;
    pthread_mutex_unlock(&the_log.lock);
}

void
log_set_level(enum log_level level)
{
    the_log.level = (int)level;
}

enum log_level
log_get_level(void)
{
    return (enum log_level)the_log.level;
}

static size_t
escape_json(const char *text, char *dst, size_t size)
{
    size_t len = 0;

    for (; *text && len + 7 < size; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            dst[len++] = '\\';
            dst[len++] = (char)c;
        } else if (c < 0x20) {
            len += (size_t)snprintf(dst + len, size - len, "\\u%04x", c);
        } else {
            dst[len++] = (char)c;
        }
    }
    dst[len] = '\0';
    return len;
}

static void
emit(const struct log_record *record)
{
    char stamp[32];
    char line[LOG_LINE_MAX * 2 + 128];
    time_t seconds = (time_t)(record->wall_us / US_PER_S);
    struct tm utc;
    int len;

    gmtime_r(&seconds, &utc);
    strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
    int millis = (int)(record->wall_us % US_PER_S / 1000);
    const char *level = level_names[record->level];
    if (the_log.json) {
        char text[LOG_LINE_MAX * 2];
        escape_json(record->text, text, sizeof(text));
        len = snprintf(line, sizeof(line),
                       "{\"time\":\"%s.%03dZ\",\"level\":\"%s\",\"part\":\"%s\",\"msg\":\"%s\"}\n",
                       stamp, millis, level, record->part, text);
    } else {
        len = snprintf(line, sizeof(line), "%s.%03dZ %-7s %-8s %s\n", stamp, millis, level,
                       record->part, record->text);
    }
    if (len > 0) {
        size_t count = (size_t)len < sizeof(line) ? (size_t)len : sizeof(line) - 1;
        /* A log that cannot be written has nowhere to say so. */
        ssize_t ignored = write(the_log.fd, line, count);
        (void)ignored;
    }
}

void
log_write(enum log_level level, const char *part, const char *fmt, ...)
{
    va_list ap;

    assert(level < LOG_LEVEL_COUNT);
    if ((int)level < the_log.level) {
        return;
    }
    pthread_mutex_lock(&the_log.lock);
    if (!the_log.ring) {
        the_log.ring = mem_zalloc(LOG_RING_LINES, sizeof(*the_log.ring));
    }
    struct log_record *record = &the_log.ring[the_log.written++ % LOG_RING_LINES];
    record->wall_us = clock_wall_us(clock_system());
    record->level = level;
    snprintf(record->part, sizeof(record->part), "%s", part);
    va_start(ap, fmt);
    vsnprintf(record->text, sizeof(record->text), fmt, ap);
    va_end(ap);
    emit(record);
    pthread_mutex_unlock(&the_log.lock);
}

size_t
log_recent(enum log_level level, struct log_record *ret_records, size_t max)
{
    size_t found = 0;

    pthread_mutex_lock(&the_log.lock);
    uint64_t kept = the_log.written < LOG_RING_LINES ? the_log.written : LOG_RING_LINES;
    /* Newest first, then turned round. */
    for (uint64_t i = 0; i < kept && found < max; i++) {
        const struct log_record *record = &the_log.ring[(the_log.written - 1 - i) % LOG_RING_LINES];
        if (record->level >= level) {
            ret_records[found++] = *record;
        }
    }
    pthread_mutex_unlock(&the_log.lock);
    for (size_t i = 0; i < found / 2; i++) {
        struct log_record swap = ret_records[i];
        ret_records[i] = ret_records[found - 1 - i];
        ret_records[found - 1 - i] = swap;
    }
    return found;
}

const char *
log_level_name(enum log_level level)
{
    assert(level < LOG_LEVEL_COUNT);
    return level_names[level];
}

bool
log_level_parse(struct slice name, enum log_level *ret_level)
{
    for (int i = 0; i < LOG_LEVEL_COUNT; i++) {
        if (slice_is_nocase(name, level_names[i])) {
            *ret_level = (enum log_level)i;
            return true;
        }
    }
    if (slice_is_nocase(name, "WARN")) {
        *ret_level = LOG_WARNING;
        return true;
    }
    return false;
}
