/* Limits and use of the process's control groups. Version 2 has one tree under /sys/fs/cgroup,
 * version 1 one a controller. */
#include "collect/cgroup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/limits.h"
#include "base/slice.h"

#define CPU_V1 "/sys/fs/cgroup/cpu"

enum { VALUE_BYTES = 64, TEXT_BYTES = 8192, LEVELS_MAX = 32, NS_PER_US = 1000 };

static size_t
real_read(void *ctx, const char *path, char *dst, size_t size)
{
    (void)ctx;
    return limits_read_file(path, dst, size);
}

static bool
real_disk(void *ctx, const char *path, struct system_disk *ret_disk)
{
    struct statvfs room;

    (void)ctx;
    if (statvfs(path, &room) != 0) {
        return false;
    }
    uint64_t unit = room.f_frsize ? room.f_frsize : room.f_bsize;
    uint64_t free_blocks = room.f_bfree < room.f_blocks ? room.f_bfree : room.f_blocks;
    *ret_disk = (struct system_disk){.total_bytes = room.f_blocks * unit,
                                     .used_bytes = (room.f_blocks - free_blocks) * unit,
                                     .available_bytes = room.f_bavail * unit};
    return true;
}

const struct system_files *
system_files_real(void)
{
    static const struct system_files real = {real_read, real_disk, NULL};

    return &real;
}

bool
system_field(const char *text, const char *key, uint64_t *ret_value)
{
    size_t len = strlen(key);

    for (const char *line = text; line && *line;) {
        if (strncmp(line, key, len) == 0) {
            const char *rest = line + len;
            rest += strspn(rest, " \t");
            if (rest > line + len || key[len - 1] == ':') {
                if (*rest < '0' || *rest > '9') {
                    return false;
                }
                *ret_value = strtoull(rest, NULL, 10);
                return true;
            }
        }
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    return false;
}

/* Reads dir/file; false when there is no such file or it is empty. */
static bool
read_in(const struct system_files *files, const char *dir, const char *file, char *dst, size_t size)
{
    char path[CGROUP_PATH_BYTES + VALUE_BYTES];

    if (snprintf(path, sizeof(path), "%s/%s", dir, file) >= (int)sizeof(path)) {
        return false;
    }
    return files->read(files->ctx, path, dst, size) > 0;
}

/* The path of this process's group in the tree of a controller ("" is version 2's). */
static bool
own_path(const char *text, const char *controller, struct slice *ret_path)
{
    struct slice rest = slice_of(text);

    while (rest.len > 0) {
        struct slice line, number, names, name;
        slice_split(&rest, '\n', &line);
        slice_split(&line, ':', &number);
        slice_split(&line, ':', &names);
        bool found = controller[0] == '\0' && names.len == 0;
        while (names.len > 0 && !found) {
            slice_split(&names, ',', &name);
            found = slice_is(name, controller);
        }
        if (found) {
            *ret_path = slice_is(line, "/") ? slice_of("") : line;
            return true;
        }
    }
    return false;
}

typedef bool limit_fn(const struct system_files *files, const char *dir, double *ret_limit);

static bool
cpu_limit_v2(const struct system_files *files, const char *dir, double *ret_limit)
{
    char text[VALUE_BYTES];
    char *rest;

    if (!read_in(files, dir, "cpu.max", text, sizeof(text)) || text[0] < '0' || text[0] > '9') {
        return false;
    }
    double quota = strtod(text, &rest);
    double period = strtod(rest, NULL);
    *ret_limit = period > 0 ? quota / period : 0;
    return *ret_limit > 0;
}

static bool
cpu_limit_v1(const struct system_files *files, const char *dir, double *ret_limit)
{
    char quota[VALUE_BYTES];
    char period[VALUE_BYTES];

    if (!read_in(files, dir, "cpu.cfs_quota_us", quota, sizeof(quota)) ||
        !read_in(files, dir, "cpu.cfs_period_us", period, sizeof(period)) || quota[0] == '-') {
        return false;
    }
    double width = strtod(period, NULL);
    *ret_limit = width > 0 ? strtod(quota, NULL) / width : 0;
    return *ret_limit > 0;
}

static bool
memory_limit(const struct system_files *files, const char *dir, const char *file, double *ret_limit)
{
    char text[VALUE_BYTES];

    if (!read_in(files, dir, file, text, sizeof(text)) || text[0] < '0' || text[0] > '9') {
        return false;
    }
    *ret_limit = strtod(text, NULL);
    return *ret_limit > 0;
}

static bool
memory_limit_v2(const struct system_files *files, const char *dir, double *ret_limit)
{
    return memory_limit(files, dir, "memory.max", ret_limit);
}

static bool
memory_limit_v1(const struct system_files *files, const char *dir, double *ret_limit)
{
    return memory_limit(files, dir, "memory.limit_in_bytes", ret_limit);
}

/* Walks from base/path up to base and keeps the group with the least limit. */
static double
tightest(const struct system_files *files, const char *base, struct slice path, limit_fn *limit_of,
         char *ret_dir)
{
    char dir[CGROUP_PATH_BYTES];
    double least = 0;
    size_t base_len = strlen(base);

    if (snprintf(dir, sizeof(dir), "%s%.*s", base, SLICE_FMT(path)) >= (int)sizeof(dir)) {
        dir[base_len] = '\0';
    }
    for (int level = 0; level < LEVELS_MAX; level++) {
        double limit;
        if (limit_of(files, dir, &limit) && (least <= 0 || limit < least)) {
            least = limit;
            memcpy(ret_dir, dir, strlen(dir) + 1);
        }
        char *slash = strrchr(dir, '/');
        if (!slash || (size_t)(slash - dir) < base_len) {
            break;
        }
        *slash = '\0';
    }
    return least;
}

/* memory limits of version 1 are "unlimited" as a huge number of pages. */
static uint64_t
memory_or_none(double limit)
{
    return limit > 0 && limit < 0x1p60 ? (uint64_t)limit : 0;
}

void
cgroup_find(const struct system_files *files, struct cgroup *ret_cgroup)
{
    char text[TEXT_BYTES];
    struct slice path;

    *ret_cgroup = (struct cgroup){0};
    files->read(files->ctx, "/proc/self/cgroup", text, sizeof(text));
    if (own_path(text, "", &path)) {
        ret_cgroup->cpu_cores =
            tightest(files, "/sys/fs/cgroup", path, cpu_limit_v2, ret_cgroup->cpu_dir);
        ret_cgroup->cpu_is_v2 = true;
        ret_cgroup->memory_bytes = memory_or_none(
            tightest(files, "/sys/fs/cgroup", path, memory_limit_v2, ret_cgroup->memory_dir));
        ret_cgroup->memory_is_v2 = true;
    }
    if (ret_cgroup->cpu_cores <= 0 && own_path(text, "cpu", &path)) {
        ret_cgroup->cpu_cores = tightest(files, CPU_V1, path, cpu_limit_v1, ret_cgroup->cpu_dir);
        ret_cgroup->cpu_is_v2 = false;
    }
    if (ret_cgroup->memory_bytes == 0 && own_path(text, "memory", &path)) {
        ret_cgroup->memory_bytes = memory_or_none(tightest(
            files, "/sys/fs/cgroup/memory", path, memory_limit_v1, ret_cgroup->memory_dir));
        ret_cgroup->memory_is_v2 = false;
    }
}

bool
cgroup_cpu_used_us(const struct cgroup *cgroup, const struct system_files *files,
                   uint64_t *ret_used_us)
{
    char text[TEXT_BYTES];

    if (cgroup->cpu_cores <= 0) {
        return false;
    }
    if (cgroup->cpu_is_v2) {
        return read_in(files, cgroup->cpu_dir, "cpu.stat", text, sizeof(text)) &&
               system_field(text, "usage_usec", ret_used_us);
    }
    /* Version 1 may mount the account beside the controller, under the same group path. */
    char account[CGROUP_PATH_BYTES];
    snprintf(account, sizeof(account), "/sys/fs/cgroup/cpuacct%s",
             cgroup->cpu_dir + sizeof(CPU_V1) - 1);
    if (!read_in(files, cgroup->cpu_dir, "cpuacct.usage", text, sizeof(text)) &&
        !read_in(files, account, "cpuacct.usage", text, sizeof(text))) {
        return false;
    }
    *ret_used_us = strtoull(text, NULL, 10) / NS_PER_US;
    return true;
}

bool
cgroup_memory_used(const struct cgroup *cgroup, const struct system_files *files,
                   uint64_t *ret_used_bytes)
{
    char text[TEXT_BYTES];
    const char *file = cgroup->memory_is_v2 ? "memory.current" : "memory.usage_in_bytes";
    uint64_t cache = 0;

    if (cgroup->memory_bytes == 0 ||
        !read_in(files, cgroup->memory_dir, file, text, sizeof(text))) {
        return false;
    }
    uint64_t used = strtoull(text, NULL, 10);
    if (read_in(files, cgroup->memory_dir, "memory.stat", text, sizeof(text))) {
        system_field(text, cgroup->memory_is_v2 ? "inactive_file" : "total_inactive_file", &cache);
    }
    *ret_used_bytes = cache < used ? used - cache : 0;
    return true;
}
