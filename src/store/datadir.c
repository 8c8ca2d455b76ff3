/* The data directory: lock, quarantine, snapshots, copies that survive a crash. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/engine_private.h"

/* Trades and metrics are nobody else's business. */
enum {
    DIR_MODE = 0750,
    FILE_MODE = 0640,
    COPY_BYTES = 1 << 20,
    US_PER_S = 1000000,
    SNAPSHOTS_SEEN = 64
};

const char *const datadir_suffixes[] = {"", ".wal", ".wal.checkpoint", ".wal.recovery", NULL};

static enum err_code
make_dir(const char *path, struct err *err)
{
    if (mkdir(path, DIR_MODE) != 0 && errno != EEXIST) {
        return err_sys(err, errno, "cannot make the directory %s", path);
    }
    return ERR_OK;
}

static enum err_code
sync_dir(const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        return err_sys(err, errno, "cannot open %s", path);
    }
    int result = fsync(fd);
    int sys = errno;
    close(fd);
    return result == 0 ? ERR_OK : err_sys(err, sys, "cannot sync %s", path);
}

static enum err_code
take_lock(const char *path, int fd, struct err *err)
{
    char pid[32] = "";

    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        int len = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
        if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)len, 0) != len) {
            return err_sys(err, errno, "cannot write %s", path);
        }
        return ERR_OK;
    }
    if (errno != EWOULDBLOCK) {
        return err_sys(err, errno, "cannot lock %s", path);
    }
    ssize_t len = pread(fd, pid, sizeof(pid) - 1, 0);
    pid[len > 0 ? len : 0] = '\0';
    pid[strcspn(pid, "\n")] = '\0';
    if (strtol(pid, NULL, 10) == (long)getpid()) {
        return err_set(err, ERR_CONFLICT,
                       "this process (pid %s) has this data directory open already (%s)", pid,
                       path);
    }
    return err_set(err, ERR_CONFLICT,
                   "another process (pid %s) has this data directory: stop it, or use another "
                   "--data-dir (%s)",
                   pid[0] ? pid : "unknown", path);
}

enum err_code
datadir_lock(const char *data_dir, int *ret_fd, struct err *err)
{
    static const char *const names[] = {"", "/wal", "/backup", "/quarantine"};
    char path[ENGINE_PATH_MAX];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s%s", data_dir, names[i]);
        enum err_code code = make_dir(path, err);
        if (code != ERR_OK) {
            return code;
        }
    }
    snprintf(path, sizeof(path), "%s/lock", data_dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
    if (fd < 0) {
        return err_sys(err, errno, "cannot open %s", path);
    }
    enum err_code code = take_lock(path, fd, err);
    if (code != ERR_OK) {
        close(fd);
        return code;
    }
    *ret_fd = fd;
    return ERR_OK;
}

static const char *
base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

enum err_code
datadir_quarantine(const char *data_dir, const char *path, int64_t wall_us, char *ret_where,
                   size_t size, struct err *err)
{
    char from[ENGINE_PATH_MAX];
    char to[ENGINE_PATH_MAX];
    char stamp[32];
    time_t seconds = (time_t)(wall_us / US_PER_S);
    struct tm utc;

    gmtime_r(&seconds, &utc);
    strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%S", &utc);
    snprintf(ret_where, size, "%s/quarantine/%s.%06d-%s", data_dir, stamp,
             (int)(wall_us % US_PER_S), base_name(path));
    for (size_t i = 0; datadir_suffixes[i]; i++) {
        snprintf(from, sizeof(from), "%.4000s%s", path, datadir_suffixes[i]);
        snprintf(to, sizeof(to), "%.4000s%s", ret_where, datadir_suffixes[i]);
        if (rename(from, to) != 0 && errno != ENOENT) {
            return err_sys(err, errno, "cannot move %s to %s", from, to);
        }
    }
    return sync_dir(data_dir, err);
}

static enum err_code
write_synced(const char *path, struct slice bytes, struct err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE);

    if (fd < 0) {
        return err_sys(err, errno, "cannot make %s", path);
    }
    size_t done = 0;
    while (done < bytes.len) {
        ssize_t count = write(fd, bytes.ptr + done, bytes.len - done);
        if (count < 0) {
            enum err_code code = err_sys(err, errno, "cannot write %s", path);
            close(fd);
            return code;
        }
        done += (size_t)count;
    }
    int result = fsync(fd);
    int sys = errno;
    close(fd);
    return result == 0 ? ERR_OK : err_sys(err, sys, "cannot sync %s", path);
}

enum err_code
datadir_set_aside(const char *data_dir, const char *name, struct slice bytes, struct err *err)
{
    char path[ENGINE_PATH_MAX];

    snprintf(path, sizeof(path), "%s/quarantine/%s", data_dir, name);
    enum err_code code = write_synced(path, bytes, err);
    if (code != ERR_OK) {
        return code;
    }
    snprintf(path, sizeof(path), "%s/quarantine", data_dir);
    return sync_dir(path, err);
}

void
datadir_snapshot_path(const char *data_dir, uint64_t lsn, char *ret_path, size_t size)
{
    /* Twenty digits, so that names sort like numbers. */
    snprintf(ret_path, size, "%s/backup/eider-%020" PRIu64 ".duckdb", data_dir, lsn);
}

void
datadir_sidecar_path(const char *data_dir, uint64_t lsn, char *ret_path, size_t size)
{
    snprintf(ret_path, size, "%s/backup/eider-%020" PRIu64 ".cold", data_dir, lsn);
}

/* The LSN of a file name "eider-<digits><suffix>"; false for any other. */
static bool
lsn_of(const char *name, const char *suffix, uint64_t *ret_lsn)
{
    char *end;

    if (strncmp(name, "eider-", 6) != 0) {
        return false;
    }
    *ret_lsn = strtoull(name + 6, &end, 10);
    return end > name + 6 && strcmp(end, suffix) == 0;
}

static bool
snapshot_lsn(const char *name, uint64_t *ret_lsn)
{
    return lsn_of(name, ".duckdb", ret_lsn);
}

static int
newest_first(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return x < y ? 1 : x > y ? -1 : 0;
}

/* Calls fn for every name in backup/. */
static void
each_backup(const char *data_dir, void (*fn)(void *ctx, const char *name), void *ctx)
{
    char path[ENGINE_PATH_MAX];
    const struct dirent *entry;

    snprintf(path, sizeof(path), "%s/backup", data_dir);
    DIR *dir = opendir(path);
    if (!dir) {
        return;
    }
    /* The stream is this function's own, so readdir is safe. */
    while ((entry = readdir(dir)) != NULL) { /* NOLINT(concurrency-mt-unsafe) */
        fn(ctx, entry->d_name);
    }
    closedir(dir);
}

struct found {
    uint64_t lsns[SNAPSHOTS_SEEN];
    size_t count;
};

static void
note_snapshot(void *ctx, const char *name)
{
    struct found *found = ctx;
    uint64_t lsn;

    if (found->count < SNAPSHOTS_SEEN && snapshot_lsn(name, &lsn)) {
        found->lsns[found->count++] = lsn;
    }
}

size_t
datadir_snapshots(const char *data_dir, uint64_t *ret_lsns, size_t max)
{
    struct found found = {.count = 0};

    each_backup(data_dir, note_snapshot, &found);
    qsort(found.lsns, found.count, sizeof(found.lsns[0]), newest_first);
    size_t count = found.count < max ? found.count : max;
    memcpy(ret_lsns, found.lsns, count * sizeof(found.lsns[0]));
    return count;
}

struct dropping {
    const char *data_dir;
    uint64_t oldest_kept;
};

/* "eider-<digits>.duckdb.tmp" or ".cold.tmp", which a crash left. */
static bool
is_unfinished(const char *name)
{
    uint64_t lsn;

    return lsn_of(name, ".duckdb.tmp", &lsn) || lsn_of(name, ".cold.tmp", &lsn);
}

/* A sidecar whose snapshot never came, or is gone. */
static bool
is_widowed(const char *data_dir, const char *name)
{
    char path[ENGINE_PATH_MAX];
    uint64_t lsn;

    if (!lsn_of(name, ".cold", &lsn)) {
        return false;
    }
    datadir_snapshot_path(data_dir, lsn, path, sizeof(path));
    return access(path, F_OK) != 0;
}

static void
drop_one(void *ctx, const char *name)
{
    const struct dropping *dropping = ctx;
    char path[ENGINE_PATH_MAX];
    uint64_t lsn;
    bool is_snapshot = snapshot_lsn(name, &lsn);
    bool unfinished = is_unfinished(name);

    if (unfinished || (is_snapshot && lsn < dropping->oldest_kept) ||
        is_widowed(dropping->data_dir, name)) {
        snprintf(path, sizeof(path), "%s/backup/%s", dropping->data_dir, name);
        unlink(path); /* One that stays is tried again after the next snapshot. */
    }
}

void
datadir_drop_snapshots(const char *data_dir)
{
    uint64_t lsns[ENGINE_SNAPSHOTS_KEPT];
    size_t count = datadir_snapshots(data_dir, lsns, ENGINE_SNAPSHOTS_KEPT);
    struct dropping dropping = {data_dir, count > 0 ? lsns[count - 1] : 0};

    each_backup(data_dir, drop_one, &dropping);
    each_backup(data_dir, drop_one, &dropping); /* sidecars of the snapshots that went just now */
}

/* One piece, from and to where the descriptors stand; as read and write. */
static ssize_t
copy_some(int in, int out)
{
    MEM_AUTO char *buffer = mem_alloc(COPY_BYTES);
    ssize_t got = read(in, buffer, COPY_BYTES);
    ssize_t done = 0;

    while (done < got) {
        ssize_t written = write(out, buffer + done, (size_t)(got - done));
        if (written < 0 && errno != EINTR) {
            return -1;
        }
        done += written > 0 ? written : 0;
    }
    return got;
}

static enum err_code
copy_bytes(int in, int out, const char *from, const char *to, struct err *err)
{
    struct stat info;

    if (fstat(in, &info) != 0) {
        return err_sys(err, errno, "cannot read %s", from);
    }
    off_t left = info.st_size;
    bool by_hand = false; /* not every file system copies by itself */
    while (left > 0) {
        ssize_t done =
            by_hand ? copy_some(in, out) : copy_file_range(in, NULL, out, NULL, (size_t)left, 0);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done < 0 && !by_hand && errno != ENOSPC && errno != EFBIG && errno != EDQUOT) {
            by_hand = true;
            continue;
        }
        if (done <= 0) {
            return err_sys(err, done < 0 ? errno : EIO, "cannot copy %s to %s", from, to);
        }
        left -= done;
    }
    return fsync(out) == 0 ? ERR_OK : err_sys(err, errno, "cannot sync %s", to);
}

uint64_t
datadir_file_bytes(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 ? (uint64_t)info.st_size : 0;
}

enum err_code
datadir_sync_parent(const char *path, struct err *err)
{
    char dir[ENGINE_PATH_MAX];

    snprintf(dir, sizeof(dir), "%.*s", (int)(base_name(path) - path), path);
    return sync_dir(dir[0] ? dir : ".", err);
}

enum err_code
datadir_copy(const char *from, const char *to, struct err *err)
{
    char temporary[ENGINE_PATH_MAX];
    char dir[ENGINE_PATH_MAX];

    /* Not ".tmp": DuckDB has a directory of that name. */
    snprintf(temporary, sizeof(temporary), "%.4000s.copy", to);
    snprintf(dir, sizeof(dir), "%.*s", (int)(base_name(to) - to), to);
    int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0) {
        return err_sys(err, errno, "cannot open %s", from);
    }
    int out = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE);
    if (out < 0) {
        enum err_code code = err_sys(err, errno, "cannot make %s", temporary);
        close(in);
        return code;
    }
    enum err_code code = copy_bytes(in, out, from, temporary, err);
    close(in);
    close(out);
    if (code == ERR_OK && rename(temporary, to) != 0) {
        code = err_sys(err, errno, "cannot rename %s to %s", temporary, to);
    }
    if (code != ERR_OK) {
        unlink(temporary);
        return code;
    }
    return sync_dir(dir[0] ? dir : ".", err);
}
