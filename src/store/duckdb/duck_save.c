/*
 * Checkpoints and snapshots. DuckDB never checkpoints by itself here but when it is closed.
 *
 * A snapshot is a copy of the file right behind a checkpoint: nothing else writes to the file, for
 * the applier does both. It is read through a descriptor that was opened after DuckDB's and is
 * closed after DuckDB's: POSIX drops all of a process's locks on a file when any descriptor of it
 * is closed.
 */
#include "store/duckdb/duck.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
    SPARE_BYTES = 16 << 20,
    COPY_BYTES = 1 << 30,
    BUFFER_BYTES = 1 << 16,
    SAMPLE_US = 1000000,
    US_PER_MS = 1000
};

static uint64_t
file_bytes(const char *path, const char *suffix)
{
    char name[PATH_MAX];
    struct stat info;

    snprintf(name, sizeof(name), "%s%s", path, suffix);
    return stat(name, &info) == 0 ? (uint64_t)info.st_size : 0;
}

uint64_t
duck_size_bytes(const struct duck_store *duck)
{
    return file_bytes(duck->path, "") + file_bytes(duck->path, ".wal");
}

enum err_code
duck_check_space(const struct duck_store *duck, uint64_t bytes, struct err *err)
{
    uint64_t needed = bytes + SPARE_BYTES;
    struct statvfs disk;
    struct rlimit limit;

    if (statvfs(duck->path, &disk) == 0 && (uint64_t)disk.f_bavail * disk.f_frsize < needed) {
        return err_set(err, ERR_NO_SPACE,
                       "a checkpoint or copy of %s may need %" PRIu64
                       " bytes, the disk has %" PRIu64,
                       duck->path, needed, (uint64_t)disk.f_bavail * disk.f_frsize);
    }
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        file_bytes(duck->path, "") + needed > limit.rlim_cur) {
        return err_set(err, ERR_NO_SPACE, "a checkpoint or copy of %s may pass the file size limit",
                       duck->path);
    }
    return ERR_OK;
}

void
duck_sample_memory(struct duck_store *duck)
{
    int64_t now_us = clock_mono_us(duck->clock);
    duckdb_result result;

    if (duck->sampled_us != 0 && now_us - duck->sampled_us < SAMPLE_US) {
        return;
    }
    duck->sampled_us = now_us;
    if (duckdb_query(duck->writer, "SELECT sum(memory_usage_bytes)::BIGINT FROM duckdb_memory()",
                     &result) == DuckDBSuccess) {
        duckdb_data_chunk chunk = duckdb_fetch_chunk(result);
        if (chunk && duckdb_data_chunk_get_size(chunk) > 0) {
            const int64_t *bytes = duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 0));
            atomic_store(&duck->memory_bytes, (uint64_t)bytes[0]);
        }
        duckdb_destroy_data_chunk(&chunk);
    }
    duckdb_destroy_result(&result);
}

enum err_code
duck_checkpoint(struct store *store, struct err *err)
{
    struct duck_store *duck = (struct duck_store *)store;
    char sql[96];

    if (atomic_load(&duck->broken)) {
        return err_set(err, ERR_CORRUPT, "%s was invalidated by an earlier error", duck->path);
    }
    enum err_code code = duck_check_space(duck, file_bytes(duck->path, ".wal"), err);
    if (code) {
        return code;
    }
    snprintf(sql, sizeof(sql), "DELETE FROM main.eider_applied WHERE lsn < %" PRIu64,
             atomic_load(&duck->applied_lsn));
    code = duck_run(duck, sql, err);
    code = code ? code : duck_run(duck, "CHECKPOINT", err);
    if (code) {
        return err_context(err, code, "checkpoint of %s", duck->path);
    }
    atomic_fetch_add(&duck->checkpoints, 1);
    return ERR_OK;
}

bool
duck_wait_reads(struct store *store, int timeout_ms)
{
    struct duck_store *duck = (struct duck_store *)store;
    int64_t begun_us = clock_mono_us(clock_system());

    if (!duck_pool_wait(&duck->pool, timeout_ms)) {
        return false;
    }
    int64_t spent_ms = (clock_mono_us(clock_system()) - begun_us) / US_PER_MS;
    return duck_pool_wait(&duck->sealers, spent_ms < timeout_ms ? timeout_ms - (int)spent_ms : 0);
}

static enum err_code
write_all(int to, const char *bytes, size_t len, struct err *err)
{
    while (len > 0) {
        ssize_t written = write(to, bytes, len);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            return err_sys(err, errno, "writing the snapshot");
        }
        bytes += written;
        len -= (size_t)written;
    }
    return ERR_OK;
}

/* For file systems that cannot copy by themselves. */
static enum err_code
copy_by_hand(int from, off_t at, off_t size, int to, struct err *err)
{
    char buffer[BUFFER_BYTES];

    while (at < size) {
        ssize_t got = pread(from, buffer, sizeof(buffer), at);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return err_sys(err, got < 0 ? errno : EIO, "reading the database for a snapshot");
        }
        enum err_code code = write_all(to, buffer, (size_t)got, err);
        if (code) {
            return code;
        }
        at += got;
    }
    return ERR_OK;
}

static enum err_code
copy_file(int from, int to, struct err *err)
{
    struct stat info;
    off_t at = 0;

    if (fstat(from, &info) != 0) {
        return err_sys(err, errno, "looking at the database for a snapshot");
    }
    while (at < info.st_size) {
        ssize_t copied = copy_file_range(from, &at, to, NULL, COPY_BYTES, 0);
        if (copied < 0 && (errno == EXDEV || errno == ENOSYS || errno == EINVAL ||
                           errno == EOPNOTSUPP || errno == EBADF)) {
            return copy_by_hand(from, at, info.st_size, to, err);
        }
        if (copied < 0 && errno == EINTR) {
            continue;
        }
        if (copied <= 0) {
            return err_sys(err, copied < 0 ? errno : EIO, "copying the database");
        }
    }
    return ERR_OK;
}

enum err_code
duck_sync_parent(const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/');
    char dir[PATH_MAX];

    if (!slash) {
        snprintf(dir, sizeof(dir), ".");
    } else {
        snprintf(dir, sizeof(dir), "%.*s", slash == path ? 1 : (int)(slash - path), path);
    }
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int failed = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0) {
        close(fd);
    }
    return failed ? err_sys(err, failed, "syncing the directory of %s", path) : ERR_OK;
}

static enum err_code
write_snapshot(const struct duck_store *duck, const char *temporary, const char *path,
               struct err *err)
{
    int to = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);

    if (to < 0) {
        return err_sys(err, errno, "making %s", temporary);
    }
    enum err_code code = copy_file(duck->snapshot_fd, to, err);
    if (!code && fsync(to) != 0) {
        code = err_sys(err, errno, "syncing %s", temporary);
    }
    if (close(to) != 0 && !code) {
        code = err_sys(err, errno, "closing %s", temporary);
    }
    if (!code && rename(temporary, path) != 0) {
        code = err_sys(err, errno, "renaming %s", temporary);
    }
    if (code) {
        unlink(temporary);
        return code;
    }
    return duck_sync_parent(path, err);
}

enum err_code
duck_snapshot(struct store *store, const char *path, struct err *err)
{
    struct duck_store *duck = (struct duck_store *)store;
    char temporary[PATH_MAX];

    if (snprintf(temporary, sizeof(temporary), "%s.tmp", path) >= (int)sizeof(temporary)) {
        return err_set(err, ERR_INVALID, "the path of the snapshot is too long");
    }
    enum err_code code = duck_checkpoint(store, err);
    if (code) {
        return code;
    }
    if (file_bytes(duck->path, ".wal") > 0) {
        return err_set(err, ERR_BUSY, "a statement kept the checkpoint from being complete");
    }
    return write_snapshot(duck, temporary, path, err);
}
