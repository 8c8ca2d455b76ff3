/*
 * Definitions of series, kept beside the log of a remote store: the log is dropped some day, the
 * series that a running server knows are not written again, and samples without their series are
 * worth nothing. data_dir/series.bin holds encoded batches (catalog/batch.h), one behind the other;
 * the same definition twice means the same as once, and a torn end is cut by reading.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/engine_private.h"

enum { FILE_MODE = 0640, ALIGNMENT = 8 };

static const size_t file_bytes_max = 4ULL << 30;

static void
series_path(const struct engine *engine, char ret_path[ENGINE_PATH_MAX])
{
    snprintf(ret_path, ENGINE_PATH_MAX, "%.4000s/series.bin", engine->data_dir);
}

static enum err_code
append(const struct engine *engine, struct slice bytes, struct err *err)
{
    char path[ENGINE_PATH_MAX];
    struct stat info;

    series_path(engine, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, FILE_MODE);
    if (fd < 0 || fstat(fd, &info) != 0) {
        enum err_code code = err_sys(err, errno, "cannot open %s", path);
        if (fd >= 0) {
            close(fd);
        }
        return code;
    }
    /* A torn write before may have left an end that is not aligned. */
    off_t at = info.st_size - info.st_size % ALIGNMENT;
    bool good = pwrite(fd, bytes.ptr, bytes.len, at) == (ssize_t)bytes.len && fdatasync(fd) == 0;
    int sys = errno;
    if (!good && ftruncate(fd, at) != 0) {
        sys = errno;
    }
    close(fd);
    return good ? ERR_OK : err_sys(err, sys, "cannot write %s", path);
}

void
remote_note_series(struct engine *engine, const struct batch *batches, size_t count)
{
    struct buf bytes BUF_AUTO;
    struct err err;

    buf_init(&bytes, 0);
    for (size_t i = 0; i < count; i++) {
        if (batches[i].table->id == TABLE_SERIES && batches[i].rows > 0) {
            batch_encode(&batches[i], &bytes);
        }
    }
    if (bytes.len > 0 && append(engine, buf_slice(&bytes), &err) != ERR_OK) {
        engine_event(engine, true, "definitions of series are not kept beside the log: %s",
                     err.msg);
    }
}

/* The whole file; empty when there is none. */
static enum err_code
read_file(const struct engine *engine, char **ret_bytes, size_t *ret_len, struct err *err)
{
    char path[ENGINE_PATH_MAX];
    struct stat info;
    size_t len = 0;

    *ret_bytes = NULL;
    *ret_len = 0;
    series_path(engine, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? ERR_OK : err_sys(err, errno, "cannot open %s", path);
    }
    if (fstat(fd, &info) == 0 && info.st_size > 0 && (size_t)info.st_size <= file_bytes_max) {
        *ret_bytes = mem_alloc((size_t)info.st_size);
        while (len < (size_t)info.st_size) {
            ssize_t got = read(fd, *ret_bytes + len, (size_t)info.st_size - len);
            if (got <= 0) {
                break;
            }
            len += (size_t)got;
        }
    }
    close(fd);
    *ret_len = len;
    return ERR_OK;
}

/* Decodes up to ENGINE_BATCHES_MAX batches from `at` on; returns where it came to. */
static size_t
decode(struct slice bytes, size_t at, struct batch *batches, size_t *ret_count)
{
    struct err ignored;
    size_t used;

    *ret_count = 0;
    while (at < bytes.len && *ret_count < ENGINE_BATCHES_MAX) {
        struct slice rest = slice_sub(bytes, at, bytes.len);
        if (batch_decode(rest, &batches[*ret_count], &used, &ignored) == ERR_OK) {
            ++*ret_count;
            at += used;
        } else {
            at += ALIGNMENT; /* behind a torn write others may follow */
        }
    }
    return at;
}

enum err_code
remote_fill_gap(struct engine *engine, struct store *store, struct err *err)
{
    uint64_t from = store_applied_lsn(store) + 1;
    uint64_t first = wal_first_lsn(engine->wal);
    size_t len;

    if (from >= first) {
        return ERR_OK;
    }
    engine_event(engine, true,
                 "records %" PRIu64 " to %" PRIu64 " are neither in the log nor in the database",
                 from, first - 1);
    MEM_AUTO char *bytes = NULL;
    MEM_AUTO struct batch *batches = mem_zalloc(ENGINE_BATCHES_MAX, sizeof(*batches));
    enum err_code code = read_file(engine, &bytes, &len, err);
    size_t at = 0;
    size_t count = 1;
    struct store_group group = {.first_lsn = from, .batches = batches};
    for (group.last_lsn = from; code == ERR_OK && count > 0; group.first_lsn++) {
        at = bytes ? decode(slice_make(bytes, len), at, batches, &count) : len;
        count = bytes ? count : 0;
        bool last = count == 0 || at >= len || group.first_lsn + 1 >= first;
        group.last_lsn = last ? first - 1 : group.first_lsn;
        group.batch_count = count;
        code = store_apply(store, &group, err);
        for (size_t i = 0; i < count; i++) {
            batch_fini(&batches[i]);
        }
        count = last ? 0 : count;
    }
    return code;
}
