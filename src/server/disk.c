/* A walk over a data directory: a few levels, some hundred files. */
#include "server/disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH_MAX = 16, BLOCK_BYTES = 512 };

/* Takes the descriptor. */
static uint64_t
walk(int fd, const char *skip, int depth)
{
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *entry;
    uint64_t bytes = 0;

    if (!dir) {
        if (fd >= 0) {
            close(fd);
        }
        return 0;
    }
    /* The stream is this function's own, so readdir is safe. */
    while ((entry = readdir(dir))) { /* NOLINT(concurrency-mt-unsafe) */
        const char *name = entry->d_name;
        struct stat st;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
            (skip && strcmp(name, skip) == 0) ||
            fstatat(dirfd(dir), name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
            continue;
        }
        bytes += (uint64_t)st.st_blocks * BLOCK_BYTES;
        if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX) {
            int below = openat(dirfd(dir), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            bytes += walk(below, NULL, depth + 1);
        }
    }
    closedir(dir);
    return bytes;
}

uint64_t
disk_usage(const char *dir, const char *skip)
{
    return walk(open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), skip, 0);
}
