/* One segment file. */
#include "wal/wal_segment.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/mem.h"

enum {
    COPY_BYTES = 256 << 10,     /* small, because the log's own syncs wait behind each write */
    ZEROS_SYNC_BYTES = 1 << 20, /* the same for what the page cache has gathered */
    FILE_MODE = 0600
};

static enum err_code
open_segment(const struct wal_sys *sys, const char *dir, uint64_t seq, int flags, int *ret_fd,
             struct err *err)
{
    char path[WAL_PATH_MAX];

    wal_path_format(dir, seq, path);
    *ret_fd = sys->open(sys->ctx, path, flags, FILE_MODE);
    return *ret_fd >= 0 ? ERR_OK : err_sys(err, errno, "cannot open log segment %s", path);
}

static enum err_code
sync_segment(const struct wal_sys *sys, int fd, struct err *err)
{
    if (sys->sync_data(sys->ctx, fd) != 0) {
        return err_sys(err, errno, "fdatasync of a log segment failed");
    }
    return ERR_OK;
}

/* Never written to; not const, so that it takes no room in the program file. */
static uint8_t zeros[COPY_BYTES] __attribute__((aligned(4096)));

static enum err_code
write_zeros(const struct wal_sys *sys, int fd, uint64_t from, uint64_t to, const _Atomic bool *stop,
            struct err *err)
{
    uint64_t unsynced = 0;

    while (from < to) {
        size_t len = to - from < COPY_BYTES ? (size_t)(to - from) : COPY_BYTES;
        struct iovec part = {zeros, len};
        enum err_code code = wal_segment_write(sys, fd, &part, 1, from, err);
        if (code != ERR_OK) {
            return code;
        }
        from += len;
        unsynced += len;
        if (unsynced >= ZEROS_SYNC_BYTES || from == to) {
            code = sync_segment(sys, fd, err);
            if (code != ERR_OK) {
                return code;
            }
            unsynced = 0;
        }
        if (stop && atomic_load(stop)) {
            return err_set(err, ERR_UNAVAILABLE, "the log is closing");
        }
    }
    return ERR_OK;
}

/*
 * Writes the whole file once. Past the page cache where the file system can do that: the zeros need
 * not be in memory, and it takes half the time.
 */
static enum err_code
warm_up(const struct wal_segment_plan *plan, int fd, struct err *err)
{
    const struct wal_sys *sys = plan->sys;
    struct err direct_err;
    int direct_fd;

    if (open_segment(sys, plan->dir, plan->seq, O_WRONLY | O_DIRECT, &direct_fd, NULL) != ERR_OK) {
        return write_zeros(sys, fd, 0, plan->bytes, plan->stop, err);
    }
    enum err_code code = write_zeros(sys, direct_fd, 0, plan->bytes, plan->stop, &direct_err);
    sys->close(sys->ctx, direct_fd);
    if (code != ERR_OK && direct_err.sys == EINVAL) {
        return write_zeros(sys, fd, 0, plan->bytes, plan->stop, err); /* blocks larger than ours */
    }
    if (code != ERR_OK && err) {
        *err = direct_err;
    }
    return code;
}

static enum err_code
check_space(const struct wal_segment_plan *plan, struct err *err)
{
    int64_t free_bytes = plan->sys->free_bytes(plan->sys->ctx, plan->dir);
    uint64_t wanted = plan->bytes + plan->reserve_free_bytes;

    if (free_bytes >= 0 && (uint64_t)free_bytes < wanted) {
        return err_set(err, ERR_NO_SPACE,
                       "%s has %lld bytes free; a log segment and the reserve need %llu: free some "
                       "space",
                       plan->dir, (long long)free_bytes, (unsigned long long)wanted);
    }
    return ERR_OK;
}

/*
 * Says that the segment is made and not begun, so that recovery need not read it to the end. Only
 * once the file has its length for good: a short one with something in it passes for cut.
 */
static enum err_code
write_blank_header(const struct wal_segment_plan *plan, int fd, struct err *err)
{
    struct wal_header header = {.seq = plan->seq, .segment_bytes = plan->bytes};
    uint8_t block[WAL_HEADER_BYTES];
    struct iovec part = {block, sizeof(block)};

    wal_header_encode(&header, block);
    return wal_segment_write(plan->sys, fd, &part, 1, 0, err);
}

static enum err_code
fill_segment(const struct wal_segment_plan *plan, int fd, struct err *err)
{
    const struct wal_sys *sys = plan->sys;

    if (sys->preallocate(sys->ctx, fd, (off_t)plan->bytes) != 0) {
        return err_sys(err, errno, "cannot preallocate a log segment of %llu bytes in %s",
                       (unsigned long long)plan->bytes, plan->dir);
    }
    enum err_code code = plan->warm ? warm_up(plan, fd, err) : sync_segment(sys, fd, err);
    if (code == ERR_OK) {
        code = write_blank_header(plan, fd, err);
    }
    if (code == ERR_OK) {
        code = sync_segment(sys, fd, err);
    }
    if (code == ERR_OK && sys->sync_dir(sys->ctx, plan->dir) != 0) {
        code = err_sys(err, errno, "cannot sync the directory %s", plan->dir);
    }
    return code;
}

enum err_code
wal_segment_make(const struct wal_segment_plan *plan, int *ret_fd, struct err *err)
{
    int fd;

    enum err_code code = check_space(plan, err);
    if (code == ERR_OK) {
        code = open_segment(plan->sys, plan->dir, plan->seq, O_RDWR | O_CREAT | O_EXCL, &fd, err);
    }
    if (code != ERR_OK) {
        return code;
    }
    code = fill_segment(plan, fd, err);
    if (code != ERR_OK) {
        char path[WAL_PATH_MAX];
        wal_path_format(plan->dir, plan->seq, path);
        plan->sys->close(plan->sys->ctx, fd);
        plan->sys->unlink(plan->sys->ctx, path); /* else recovery finds it blank and does it */
        return code;
    }
    *ret_fd = fd;
    return ERR_OK;
}

enum err_code
wal_segment_begin(const struct wal_sys *sys, const char *dir, int fd,
                  const struct wal_header *header, struct err *err)
{
    uint8_t block[WAL_HEADER_BYTES];
    struct iovec part = {block, sizeof(block)};

    wal_header_encode(header, block);
    enum err_code code = wal_segment_write(sys, fd, &part, 1, 0, err);
    if (code == ERR_OK) {
        code = sync_segment(sys, fd, err);
    }
    if (code != ERR_OK) {
        return err_context(err, code, "cannot begin log segment %s/%016llu.wal", dir,
                           (unsigned long long)header->seq);
    }
    return ERR_OK;
}

enum err_code
wal_segment_write(const struct wal_sys *sys, int fd, struct iovec *parts, int count,
                  uint64_t offset, struct err *err)
{
    while (count > 0) {
        ssize_t done = sys->pwritev(sys->ctx, fd, parts, count, (off_t)offset);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            int sys_error = done < 0 ? errno : ENOSPC; /* nothing taken and no reason: no room */
            return err_sys(err, sys_error, "cannot write to the log at offset %llu",
                           (unsigned long long)offset);
        }
        offset += (uint64_t)done;
        size_t left = (size_t)done;
        while (count > 0 && left >= parts->iov_len) {
            left -= parts->iov_len;
            parts++;
            count--;
        }
        if (count > 0) {
            parts->iov_base = (char *)parts->iov_base + left;
            parts->iov_len -= left;
        }
    }
    return ERR_OK;
}

enum err_code
wal_segment_blank(const struct wal_sys *sys, const char *dir, uint64_t seq, uint64_t from,
                  uint64_t to, struct err *err)
{
    int fd;

    enum err_code code = open_segment(sys, dir, seq, O_WRONLY, &fd, err);
    if (code == ERR_OK) {
        code = write_zeros(sys, fd, from, to, NULL, err);
        sys->close(sys->ctx, fd);
    }
    return code;
}

static enum err_code
copy_onto_itself(const struct wal_sys *sys, int fd, uint64_t from, uint64_t to, struct err *err)
{
    MEM_AUTO uint8_t *bytes = mem_alloc(COPY_BYTES);

    while (from < to) {
        size_t len = to - from < COPY_BYTES ? (size_t)(to - from) : COPY_BYTES;
        ssize_t got = sys->pread(sys->ctx, fd, bytes, len, (off_t)from);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return err_sys(err, got < 0 ? errno : EIO, "cannot read the log at offset %llu",
                           (unsigned long long)from);
        }
        struct iovec part = {bytes, (size_t)got};
        enum err_code code = wal_segment_write(sys, fd, &part, 1, from, err);
        if (code != ERR_OK) {
            return code;
        }
        from += (uint64_t)got;
    }
    return sync_segment(sys, fd, err);
}

enum err_code
wal_segment_rewrite(const struct wal_sys *sys, const char *dir, uint64_t seq, uint64_t from,
                    uint64_t to, struct err *err)
{
    int fd;

    enum err_code code = open_segment(sys, dir, seq, O_RDWR, &fd, err);
    if (code == ERR_OK) {
        code = copy_onto_itself(sys, fd, from, to, err);
        sys->close(sys->ctx, fd);
    }
    return code;
}

enum err_code
wal_segment_cut(const struct wal_sys *sys, const char *dir, uint64_t seq, uint64_t end,
                struct err *err)
{
    int fd;

    enum err_code code = open_segment(sys, dir, seq, O_WRONLY, &fd, err);
    if (code != ERR_OK) {
        return code;
    }
    if (sys->truncate(sys->ctx, fd, (off_t)end) != 0) {
        code = err_sys(err, errno, "cannot cut a log segment");
    }
    sys->close(sys->ctx, fd);
    return code;
}

enum err_code
wal_segment_delete(const struct wal_sys *sys, const char *dir, uint64_t seq, struct err *err)
{
    char path[WAL_PATH_MAX];

    wal_path_format(dir, seq, path);
    if (sys->unlink(sys->ctx, path) != 0 && errno != ENOENT) {
        return err_sys(err, errno, "cannot delete log segment %s", path);
    }
    if (sys->sync_dir(sys->ctx, dir) != 0) {
        return err_sys(err, errno, "cannot sync the directory %s", dir);
    }
    return ERR_OK;
}
