/*
 * The system calls of the log as a vtable, so that tests can fail the n-th of them and look at what
 * recovery finds. Results as of the calls they are named after: -1 and errno on failure.
 *
 * Threads: any; an implementation keeps its own locks.
 */
#ifndef EIDER_WAL_WAL_SYS_H
#define EIDER_WAL_WAL_SYS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Gets every name in a directory but "." and ".."; `name` lives for the call. */
typedef void wal_sys_visit_fn(void *arg, const char *name);

struct wal_sys {
    void *ctx;
    int (*open)(void *ctx, const char *path, int flags, mode_t mode);
    int (*close)(void *ctx, int fd);
    ssize_t (*pread)(void *ctx, int fd, void *dst, size_t len, off_t offset);
    ssize_t (*pwritev)(void *ctx, int fd, const struct iovec *parts, int count, off_t offset);
    int (*preallocate)(void *ctx, int fd, off_t len); /* posix_fallocate from 0; zeros */
    int (*truncate)(void *ctx, int fd, off_t len);
    int (*sync_data)(void *ctx, int fd); /* fdatasync */
    void (*forget)(void *ctx, int fd);   /* a hint: its clean pages need not stay in memory */
    int (*sync_dir)(void *ctx, const char *path);
    int (*unlink)(void *ctx, const char *path);
    int (*mkdir)(void *ctx, const char *path, mode_t mode);
    int (*list)(void *ctx, const char *path, wal_sys_visit_fn *visit, void *arg);
    off_t (*file_bytes)(void *ctx, int fd);             /* st_size */
    int64_t (*free_bytes)(void *ctx, const char *path); /* statvfs; -1 on failure */
    uint64_t (*random)(void *ctx);                      /* 64 bits that nobody can guess */
};

/* The real system. */
const struct wal_sys *wal_sys_real(void);

#endif
