/*
 * Walks over the rest of a segment in steps of 8 bytes, where frames may begin. Only the frames'
 * own sums are asked, so that the walk is linear whatever stands there; the salt in them keeps a
 * payload from imitating one.
 */
#include "wal/wal_tail.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "wal/wal_format.h"

enum { WINDOW_BYTES = 256 << 10 };

enum err_code
wal_tail_read(const struct wal_tail_file *file, uint64_t at, uint8_t *dst, size_t len,
              struct err *err)
{
    size_t done = 0;

    while (done < len) {
        off_t from = (off_t)(at + done);
        ssize_t got = file->sys->pread(file->sys->ctx, file->fd, dst + done, len - done, from);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            char path[WAL_PATH_MAX];
            wal_path_format(file->dir, file->seq, path);
            return err_sys(err, errno, "cannot read log segment %s at offset %lld", path,
                           (long long)from);
        }
        if (got == 0) {
            break;
        }
        done += (size_t)got;
    }
    return ERR_OK;
}

/* How many of the first `len` bytes there are up to the last that is not zero. */
static size_t
used_of(const uint8_t *bytes, size_t len)
{
    if (len > 0 && bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0) {
        return 0; /* the common case, at the speed of memcmp */
    }
    while (len > 0 && bytes[len - 1] == 0) {
        len--;
    }
    return len;
}

static bool
proves(const uint8_t *src, uint64_t salt, uint64_t lsn)
{
    struct wal_frame frame;

    return wal_frame_decode(src, salt, &frame) && wal_frame_durable(&frame) >= lsn;
}

enum err_code
wal_tail_judge(const struct wal_tail_file *file, uint64_t at, uint64_t salt, uint64_t lsn,
               struct wal_tail *ret_tail, struct err *err)
{
    MEM_AUTO uint8_t *window = mem_zalloc(WINDOW_BYTES + WAL_FRAME_BYTES, 1);
    struct wal_tail tail = {0};

    for (uint64_t from = at; from < file->size && !tail.hole; from += WINDOW_BYTES) {
        uint64_t left = file->size - from;
        size_t len = WINDOW_BYTES + WAL_FRAME_BYTES;
        len = left < len ? (size_t)left : len;
        enum err_code code = wal_tail_read(file, from, window, len, err);
        if (code != ERR_OK) {
            return code;
        }
        size_t used = used_of(window, len);
        if (used > 0) {
            tail.used_bytes = from + used - at;
        }
        for (size_t i = 0; lsn > 0 && i < used && i < WINDOW_BYTES && !tail.hole; i += WAL_ALIGN) {
            tail.hole = i + WAL_FRAME_BYTES <= len && proves(window + i, salt, lsn);
        }
    }
    *ret_tail = tail;
    return ERR_OK;
}
