/* What this process may use: memory and processors, from the cgroup when there is one (v2, then
 * v1), else from the machine; and open files. Linux only. */
#ifndef EIDER_BASE_LIMITS_H
#define EIDER_BASE_LIMITS_H

#include <stddef.h>
#include <stdint.h>

/* Memory limit in bytes; never 0. */
uint64_t limits_memory_bytes(void);

/* Processors, rounded up; at least 1. */
unsigned limits_cpus(void);

/* Raises the soft limit of open files to the hard one and returns it. */
uint64_t limits_raise_files(void);

/* Reads a small file of the kernel into `dst` with a NUL behind; returns the length, 0 on failure.
 * `path` is absolute. For /proc and /sys only. */
size_t limits_read_file(const char *path, char *dst, size_t size);

#endif
