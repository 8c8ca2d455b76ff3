/*
 * The control group of this process: how much processor and memory it may use, when that is less
 * than the machine has, and how much of it is used. Version 2 (cgroup-v2.rst of the kernel), then
 * version 1. Every group on the way from the process's own to the root of what is visible counts;
 * the tightest one is the limit, and its use is what is measured.
 *
 * Files are read through a vtable, so that tests feed recorded text. One thread at a time.
 */
#ifndef EIDER_COLLECT_CGROUP_H
#define EIDER_COLLECT_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CGROUP_PATH_BYTES = 384 };

struct system_disk {
    uint64_t total_bytes;
    uint64_t used_bytes;
    uint64_t available_bytes; /* to this process: without what is kept for root */
};

/* How the collector looks at the machine. */
struct system_files {
    /* Reads the start of a file of the kernel into `dst` with a NUL behind; returns the length, 0
     * on failure. */
    size_t (*read)(void *ctx, const char *path, char *dst, size_t size);
    /* Room of the file system that holds `path`; false on failure. */
    bool (*disk)(void *ctx, const char *path, struct system_disk *ret_disk);
    void *ctx;
};

/* The machine itself. */
const struct system_files *system_files_real(void);

/* Reads the number behind `key` at the start of a line, e.g. "MemTotal:" or "usage_usec". */
bool system_field(const char *text, const char *key, uint64_t *ret_value);

struct cgroup {
    double cpu_cores;      /* limit; 0: none */
    uint64_t memory_bytes; /* limit; 0: none */
    bool cpu_is_v2;
    bool memory_is_v2;
    char cpu_dir[CGROUP_PATH_BYTES]; /* the group whose limit it is */
    char memory_dir[CGROUP_PATH_BYTES];
};

/* Finds the limits in force. */
void cgroup_find(const struct system_files *files, struct cgroup *ret_cgroup);

/* Processor time used by the limiting group, in microseconds; false without a limit or on failure.
 */
bool cgroup_cpu_used_us(const struct cgroup *cgroup, const struct system_files *files,
                        uint64_t *ret_used_us);

/* Memory used by the limiting group without its inactive file cache, which the kernel gives back
 * before it kills anyone; false without a limit or on failure. */
bool cgroup_memory_used(const struct cgroup *cgroup, const struct system_files *files,
                        uint64_t *ret_used_bytes);

#endif
