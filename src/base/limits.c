/* Limits of the process from /sys/fs/cgroup, /proc/self/cgroup and the machine. */
#include "base/limits.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

enum { PATH_BYTES = 512, VALUE_BYTES = 256 };

size_t
limits_read_file(const char *path, char *dst, size_t size)
{
    size_t used = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    dst[0] = '\0';
    if (fd < 0) {
        return 0;
    }
    while (used + 1 < size) {
        ssize_t got = read(fd, dst + used, size - 1 - used);
        if (got <= 0) {
            break;
        }
        used += (size_t)got;
    }
    close(fd);
    dst[used] = '\0';
    return used;
}

/* The v2 group of this process, e.g. "/user.slice/x.scope"; "" at the root or without v2. */
static void
own_group(char *dst, size_t size)
{
    char text[PATH_BYTES];

    dst[0] = '\0';
    limits_read_file("/proc/self/cgroup", text, sizeof(text));
    char *line = strstr(text, "0::");
    if (line && (line == text || line[-1] == '\n')) {
        size_t len = strcspn(line + 3, "\n");
        if (len > 1 && len < size) {
            memcpy(dst, line + 3, len);
            dst[len] = '\0';
        }
    }
}

/* Reads one number from a v2 file of this process's group or of the root of its namespace. */
static bool
read_group_value(const char *file, char *value, size_t size)
{
    char group[PATH_BYTES / 2];
    char path[PATH_BYTES];

    own_group(group, sizeof(group));
    snprintf(path, sizeof(path), "/sys/fs/cgroup%s/%s", group, file);
    if (limits_read_file(path, value, size) > 0) {
        return true;
    }
    snprintf(path, sizeof(path), "/sys/fs/cgroup/%s", file);
    return limits_read_file(path, value, size) > 0;
}

uint64_t
limits_memory_bytes(void)
{
    char value[VALUE_BYTES];
    struct sysinfo info;

    sysinfo(&info);
    uint64_t machine = (uint64_t)info.totalram * info.mem_unit;
    if (!read_group_value("memory.max", value, sizeof(value))) {
        limits_read_file("/sys/fs/cgroup/memory/memory.limit_in_bytes", value, sizeof(value));
    }
    uint64_t group = value[0] >= '0' && value[0] <= '9' ? strtoull(value, NULL, 10) : 0;
    return group > 0 && group < machine ? group : machine;
}

unsigned
limits_cpus(void)
{
    char value[VALUE_BYTES];
    long machine = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned count = machine > 0 ? (unsigned)machine : 1;

    if (read_group_value("cpu.max", value, sizeof(value)) && value[0] != 'm') {
        char *rest;
        unsigned long long quota = strtoull(value, &rest, 10);
        unsigned long long period = strtoull(rest, NULL, 10);
        if (quota > 0 && period > 0) {
            unsigned allowed = (unsigned)((quota + period - 1) / period);
            count = allowed < count ? allowed : count;
        }
    }
    return count;
}

uint64_t
limits_raise_files(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) != 0) {
        return 0;
    }
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    getrlimit(RLIMIT_NOFILE, &files);
    return files.rlim_cur;
}
