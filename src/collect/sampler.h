/*
 * Readings of the machine: counters of the kernel turned into percentages and rates. Time is passed
 * in, files come through a vtable; nothing else is looked at.
 *
 * Percentages are of what this process may use: of the machine, or of its control group where that
 * allows less (collect/cgroup.h). Processor use is the mean over the last second.
 *
 * Formulas: busy = user + nice + system + irq + softirq + steal of total = busy + idle + iowait
 * (proc(5)); memory used = MemTotal - MemAvailable; disk = used / (used + available) as df(1) does.
 *
 * Memory: the caller's, init only. One thread at a time.
 */
#ifndef EIDER_COLLECT_SAMPLER_H
#define EIDER_COLLECT_SAMPLER_H

#include "collect/cgroup.h"

enum { SAMPLER_WINDOW = 32, SAMPLER_DEVICES_MAX = 32, SAMPLER_NAME_BYTES = 32 };

/* What could not be read this time. */
enum { SAMPLER_NO_CPU = 1, SAMPLER_NO_MEMORY = 2, SAMPLER_NO_DISK = 4, SAMPLER_NO_UPTIME = 8 };

struct sampler_reading {
    unsigned failed; /* SAMPLER_NO_*; such a value is the one of before */
    double cpu_percent;
    double cpu_cores; /* that 100 % stands for */
    double memory_percent;
    uint64_t memory_used_bytes, memory_total_bytes;
    double disk_percent;
    uint64_t disk_used_bytes, disk_total_bytes;
    double uptime_seconds;
};

enum sampler_device_kind { SAMPLER_NETWORK, SAMPLER_DISK };

/* A device's traffic. `in` is received or read, `out` sent or written; bytes a second. */
struct sampler_device {
    char name[SAMPLER_NAME_BYTES];
    enum sampler_device_kind kind;
    bool ignored;   /* virtual, or a part of another one */
    bool has_rates; /* seen twice */
    bool present;   /* in the newest reading */
    uint64_t in_bytes, out_bytes;
    int64_t mono_us;
    double in_per_second, out_per_second;
};

struct sampler_rates {
    double load1, load5, load15;
    double net_in_per_second, net_out_per_second;
    double disk_in_per_second, disk_out_per_second;
};

struct sampler_counters {
    int64_t mono_us;
    uint64_t busy;    /* ticks of the machine */
    uint64_t total;   /* ticks of the machine */
    uint64_t used_us; /* of the limiting group */
    bool has_group;
};

struct system_sampler {
    const struct system_files *files;
    const char *data_dir;
    struct cgroup cgroup;
    double machine_cores;
    int64_t find_at_us; /* when to look for limits again */
    struct sampler_counters window[SAMPLER_WINDOW];
    size_t window_next;
    size_t window_count;
    struct sampler_reading last;
    struct sampler_device devices[SAMPLER_DEVICES_MAX];
    size_t device_count;
};

/* `files` and `data_dir` must outlive the sampler. */
void sampler_init(struct system_sampler *sampler, const struct system_files *files,
                  const char *data_dir);

/* Takes a reading; cheap enough for ten a second. Processor use is 0 at the first. */
void sampler_read(struct system_sampler *sampler, int64_t mono_us,
                  struct sampler_reading *ret_reading);

/* Takes a reading of load and devices (sampler->devices) for about one a second. Sums are over the
 * devices that are not ignored. */
void sampler_read_rates(struct system_sampler *sampler, int64_t mono_us,
                        struct sampler_rates *ret_rates);

#endif
