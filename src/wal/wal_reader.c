/* Frames of one segment, in order. */
#include "wal/wal_reader.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "wal/crc32c.h"

enum { CHUNK_BYTES = 256 << 10 };

void
wal_reader_init(struct wal_reader *reader, const struct wal_sys *sys, const char *dir)
{
    *reader = (struct wal_reader){.sys = sys, .dir = dir, .fd = -1};
}

void
wal_reader_fini(struct wal_reader *reader)
{
    free(reader->buf);
    reader->buf = NULL;
}

void
wal_reader_attach(struct wal_reader *reader, int fd, uint64_t seq, uint64_t salt, uint64_t end)
{
    reader->fd = fd;
    reader->seq = seq;
    reader->salt = salt;
    reader->at = WAL_HEADER_BYTES;
    reader->end = end;
    reader->buf_at = WAL_HEADER_BYTES;
    reader->buf_len = 0;
}

/* Makes the buffer hold a chunk, or `need` when that is more; big ones are not kept for long. */
static void
size_buffer(struct wal_reader *reader, size_t need)
{
    size_t cap = need > CHUNK_BYTES ? need : CHUNK_BYTES;

    assert(reader->buf_len < need);
    if (cap > reader->buf_cap || (cap == CHUNK_BYTES && reader->buf_cap > CHUNK_BYTES)) {
        reader->buf = mem_resize(reader->buf, cap, 1);
        reader->buf_cap = cap;
    }
}

/* Drops what is before `at`, so that the buffer begins there. */
static void
shift_buffer(struct wal_reader *reader)
{
    uint64_t gone = reader->at - reader->buf_at;

    if (gone >= reader->buf_len) {
        reader->buf_len = 0;
    } else if (gone > 0) {
        reader->buf_len -= (size_t)gone;
        memmove(reader->buf, reader->buf + gone, reader->buf_len);
    }
    reader->buf_at = reader->at;
}

/* Gets [at, at + need) into the buffer. OK with less in it when the file is too short. */
static enum err_code
fill(struct wal_reader *reader, size_t need, struct err *err)
{
    if (reader->buf_at + reader->buf_len >= reader->at + need) {
        return ERR_OK;
    }
    shift_buffer(reader);
    size_buffer(reader, need);
    uint64_t left = reader->end - reader->at;
    size_t want = left < reader->buf_cap ? (size_t)left : reader->buf_cap;
    while (reader->buf_len < want) {
        off_t from = (off_t)(reader->buf_at + reader->buf_len);
        ssize_t got =
            reader->sys->pread(reader->sys->ctx, reader->fd, reader->buf + reader->buf_len,
                               want - reader->buf_len, from);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            char path[WAL_PATH_MAX];
            wal_path_format(reader->dir, reader->seq, path);
            return err_sys(err, errno, "cannot read log segment %s at offset %lld", path,
                           (long long)from);
        }
        if (got == 0) {
            break;
        }
        reader->buf_len += (size_t)got;
    }
    return ERR_OK;
}

static const uint8_t *
held(const struct wal_reader *reader, size_t need)
{
    size_t skip = (size_t)(reader->at - reader->buf_at);

    return skip + need <= reader->buf_len ? reader->buf + skip : NULL;
}

enum wal_step
wal_reader_next(struct wal_reader *reader, struct wal_frame *ret_frame, struct slice *ret_payload,
                struct err *err)
{
    struct wal_frame frame;

    assert(reader->fd >= 0 && reader->at <= reader->end);
    if (reader->at == reader->end) {
        return WAL_STEP_END;
    }
    if (reader->end - reader->at < WAL_FRAME_BYTES) {
        return WAL_STEP_BAD;
    }
    if (fill(reader, WAL_FRAME_BYTES, err) != ERR_OK) {
        return WAL_STEP_FAILED;
    }
    const uint8_t *src = held(reader, WAL_FRAME_BYTES);
    if (!src || !wal_frame_decode(src, reader->salt, &frame)) {
        return WAL_STEP_BAD;
    }
    size_t span = (size_t)wal_frame_span(frame.payload_bytes);
    if (span > reader->end - reader->at) {
        return WAL_STEP_BAD;
    }
    if (fill(reader, span, err) != ERR_OK) {
        return WAL_STEP_FAILED;
    }
    src = held(reader, span);
    if (!src || crc32c(0, src + WAL_FRAME_BYTES, frame.payload_bytes) != frame.payload_crc) {
        return WAL_STEP_BAD;
    }
    reader->at += span;
    *ret_frame = frame;
    *ret_payload = slice_make(src + WAL_FRAME_BYTES, frame.payload_bytes);
    return frame.kind == WAL_FRAME_MARK ? WAL_STEP_MARK : WAL_STEP_RECORD;
}
