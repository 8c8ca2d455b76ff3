/*
 * The log of the program: one structured line an event, on standard error as text or JSON, and the
 * newest lines kept in a ring for /api/system/logs/recent. Only `api`, `server`, `cli` and the
 * roots of background tasks log; parts return errors instead.
 *
 * Threads: all functions may be called from any thread after log_init.
 */
#ifndef EIDER_BASE_LOG_H
#define EIDER_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR, LOG_LEVEL_COUNT };

enum { LOG_LINE_MAX = 1024, LOG_RING_LINES = 1000, LOG_PART_MAX = 16 };

struct log_options {
    enum log_level level;
    bool json;
    int fd; /* where lines go; 0 means standard error */
};

/* Sets level, form and destination; may be called again (SIGHUP). */
void log_init(const struct log_options *options);
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/*
 * Writes one line: time, level, part ("wal", "http"), message. Cut at LOG_LINE_MAX. Blocks only as
 * long as write(2) to the destination.
 */
void log_write(enum log_level level, const char *part, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

struct log_record {
    int64_t wall_us;
    enum log_level level;
    char part[LOG_PART_MAX];
    char text[LOG_LINE_MAX];
};

/* Copies the newest records of at least `level`, oldest first, at most `max`; returns how many. */
size_t log_recent(enum log_level level, struct log_record *ret_records, size_t max);

/* "DEBUG", "INFO", "WARNING", "ERROR". */
const char *log_level_name(enum log_level level);

/* Reads a level name in any case ("WARN" too); false when it is none. */
bool log_level_parse(struct slice name, enum log_level *ret_level);

#endif
