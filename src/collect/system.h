/*
 * The system collector: this machine's processors, memory, disk and network, ten times a second
 * into the live state, once a second as rows of system_metrics and of the metrics table (host_*).
 *
 *   sampler thread, 10 Hz: /proc, cgroup, statvfs -> live_set_system
 *                   1 Hz:  alerts -> live_alert_set; rows -> queue (60) -> writer thread -> sink
 *
 * The writer has a thread of its own so that a slow disk never stops the live figures. A row that
 * cannot be written is counted as an error; past the queue's bound the oldest row is given up and
 * counted.
 *
 * Alerts (docs/compatibility.md): cpu_high and memory_high above 80 % (warning), disk_high above
 * 90 % (critical). Health: processor or memory above 90 % is unhealthy, above 80 % degraded.
 *
 * Threads: start and stop by one thread; status by any.
 */
#ifndef EIDER_COLLECT_SYSTEM_H
#define EIDER_COLLECT_SYSTEM_H

#include "base/clock.h"
#include "collect/collect.h"
#include "live/live.h"

struct system_files; /* collect/cgroup.h */
struct collect_system;

struct collect_system_options {
    struct collect_sink sink;         /* required */
    struct live *live;                /* required; must outlive */
    const char *data_dir;             /* whose file system is "the disk"; NULL: "/" */
    const struct clock *clock;        /* NULL: the system's */
    const struct system_files *files; /* NULL: the system's */
    int tick_ms;                      /* between two readings; 0: 100 */
    int ticks_a_row;                  /* readings between two rows; 0: 10 */
    bool manual;                      /* no threads: the caller calls collect_system_step (tests) */
};

/* Starts the threads. Never fails: what cannot be read is an error in the status. */
void collect_system_start(const struct collect_system_options *options,
                          struct collect_system **ret_system);

/* Stops the threads (waits for a write under way and tries the queued rows once) and frees. NULL is
 * fine. */
void collect_system_stop(struct collect_system *system);

/* One reading, and the rows when they are due; for `manual` only. */
void collect_system_step(struct collect_system *system);

void collect_system_status(struct collect_system *system, struct collect_status *ret_status);

#endif
