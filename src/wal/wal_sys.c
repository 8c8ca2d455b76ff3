/* The real system calls behind the log. */
#include "wal/wal_sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int
real_open(void *ctx, const char *path, int flags, mode_t mode)
{
    (void)ctx;
    return open(path, flags | O_CLOEXEC, mode);
}

static int
real_close(void *ctx, int fd)
{
    (void)ctx;
    return close(fd);
}

static void
real_forget(void *ctx, int fd)
{
    (void)ctx;
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

static ssize_t
real_pread(void *ctx, int fd, void *dst, size_t len, off_t offset)
{
    (void)ctx;
    return pread(fd, dst, len, offset);
}

static ssize_t
real_pwritev(void *ctx, int fd, const struct iovec *parts, int count, off_t offset)
{
    (void)ctx;
    return pwritev(fd, parts, count, offset);
}

static int
real_preallocate(void *ctx, int fd, off_t len)
{
    int sys;

    (void)ctx;
    do {
        sys = posix_fallocate(fd, 0, len);
    } while (sys == EINTR);
    errno = sys;
    return sys == 0 ? 0 : -1;
}

static int
real_truncate(void *ctx, int fd, off_t len)
{
    (void)ctx;
    return ftruncate(fd, len);
}

static int
real_sync_data(void *ctx, int fd)
{
    (void)ctx;
    return fdatasync(fd);
}

static int
real_sync_dir(void *ctx, const char *path)
{
    int result;

    (void)ctx;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    result = fsync(fd);
    int sys = errno;
    close(fd);
    errno = sys;
    return result;
}

static int
real_unlink(void *ctx, const char *path)
{
    (void)ctx;
    return unlink(path);
}

static int
real_mkdir(void *ctx, const char *path, mode_t mode)
{
    (void)ctx;
    return mkdir(path, mode);
}

static int
real_list(void *ctx, const char *path, wal_sys_visit_fn *visit, void *arg)
{
    struct dirent **items;

    (void)ctx;
    int count = scandir(path, &items, NULL, NULL);
    if (count < 0) {
        return -1;
    }
    for (int i = 0; i < count; i++) {
        const char *name = items[i]->d_name;
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
            visit(arg, name);
        }
        free(items[i]);
    }
    free(items);
    return 0;
}

static off_t
real_file_bytes(void *ctx, int fd)
{
    struct stat info;

    (void)ctx;
    return fstat(fd, &info) == 0 ? info.st_size : -1;
}

static int64_t
real_free_bytes(void *ctx, const char *path)
{
    struct statvfs info;
    uint64_t bytes;

    (void)ctx;
    if (statvfs(path, &info) != 0) {
        return -1;
    }
    if (__builtin_mul_overflow((uint64_t)info.f_bavail, (uint64_t)info.f_frsize, &bytes) ||
        bytes > INT64_MAX) {
        return INT64_MAX;
    }
    return (int64_t)bytes;
}

static uint64_t
real_random(void *ctx)
{
    uint64_t value;
    ssize_t got;

    (void)ctx;
    do {
        got = getrandom(&value, sizeof(value), 0); /* 8 bytes come whole or not at all */
    } while (got != (ssize_t)sizeof(value));
    return value;
}

const struct wal_sys *
wal_sys_real(void)
{
    static const struct wal_sys real = {
        .open = real_open,
        .close = real_close,
        .forget = real_forget,
        .pread = real_pread,
        .pwritev = real_pwritev,
        .preallocate = real_preallocate,
        .truncate = real_truncate,
        .sync_data = real_sync_data,
        .sync_dir = real_sync_dir,
        .unlink = real_unlink,
        .mkdir = real_mkdir,
        .list = real_list,
        .file_bytes = real_file_bytes,
        .free_bytes = real_free_bytes,
        .random = real_random,
    };

    return &real;
}
