/*
 * Encodes a group of entries as frames and writes it with as few calls as possible: short parts are
 * copied to a staging buffer, long ones are written where they are.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "wal/wal_private.h"
#include "wal/wal_segment.h"

enum { PAGE_BYTES = 4096 };

struct writer {
    struct wal *wal;
    uint64_t at;  /* where what is gathered will be written */
    uint64_t len; /* gathered */
    size_t staged;
    int parts;
    enum err_code code; /* sticky */
    struct err *err;
};

static void
flush(struct writer *w)
{
    struct wal *wal = w->wal;

    if (w->code == ERR_OK && w->parts > 0) {
        w->code = wal_segment_write(wal->sys, wal->active.fd, wal->iov, w->parts, w->at, w->err);
    }
    w->at += w->len;
    w->len = 0;
    w->staged = 0;
    w->parts = 0;
}

static void
add_part(struct writer *w, const void *ptr, size_t len)
{
    union {
        const void *in;
        void *out; /* an iovec has no const; pwritev only reads */
    } base = {.in = ptr};

    if (w->parts == WAL_IOV_MAX) {
        flush(w);
    }
    w->wal->iov[w->parts++] = (struct iovec){base.out, len};
    w->len += len;
}

static void
add_copy(struct writer *w, const void *ptr, size_t len)
{
    assert(len <= WAL_COPY_MAX);
    if (len == 0) {
        return;
    }
    if (w->staged + len > WAL_STAGING_BYTES || w->parts == WAL_IOV_MAX) {
        flush(w);
    }
    uint8_t *dst = w->wal->staging + w->staged;
    memcpy(dst, ptr, len);
    w->staged += len;
    struct iovec *last = w->parts > 0 ? &w->wal->iov[w->parts - 1] : NULL;
    if (last && (uint8_t *)last->iov_base + last->iov_len == dst) {
        last->iov_len += len;
        w->len += len;
    } else {
        add_part(w, dst, len);
    }
}

static void
add_frame(struct writer *w, const struct wal_frame *frame)
{
    uint8_t bytes[WAL_FRAME_BYTES];

    wal_frame_encode(frame, w->wal->active.salt, bytes);
    add_copy(w, bytes, sizeof(bytes));
}

static void
add_entry(struct writer *w, struct wal_entry *entry, uint64_t durable_lsn, int64_t wall_us)
{
    static const uint8_t padding[WAL_ALIGN];
    uint64_t payload_bytes = 0;

    for (unsigned i = 0; i < entry->part_count; i++) {
        payload_bytes += entry->parts[i].len;
    }
    add_frame(w, &(struct wal_frame){
                     .kind = WAL_FRAME_RECORD,
                     .payload_bytes = (uint32_t)payload_bytes,
                     .lsn = entry->lsn,
                     .wall_us = wall_us,
                     .ahead = (uint32_t)(entry->lsn - durable_lsn),
                     .type = entry->type,
                     .payload_crc = entry->crc,
                 });
    for (unsigned i = 0; i < entry->part_count; i++) {
        if (entry->parts[i].len <= WAL_COPY_MAX) {
            add_copy(w, entry->parts[i].ptr, entry->parts[i].len);
        } else {
            add_part(w, entry->parts[i].ptr, entry->parts[i].len);
        }
    }
    add_copy(w, padding, entry->bytes - WAL_FRAME_BYTES - payload_bytes);
}

/*
 * Writes zeros up to the end of the last page: a page that is not in memory and not written whole
 * would have to be read from the disk first. They stand where zeros stood anyway.
 */
static void
fill_page(struct writer *w)
{
    static const uint8_t zeros[PAGE_BYTES];
    uint64_t over = (w->at + w->len) % PAGE_BYTES;

    if (over > 0) {
        add_part(w, zeros, PAGE_BYTES - over);
    }
}

static enum err_code
sync_group(struct writer *w)
{
    struct wal *wal = w->wal;

    fill_page(w);
    flush(w);
    if (w->code == ERR_OK && wal->sys->sync_data(wal->sys->ctx, wal->active.fd) != 0) {
        w->code = err_sys(w->err, errno, "fdatasync of the log failed");
    }
    return w->code;
}

enum err_code
wal_group_write(struct wal *wal, struct wal_entry *list, uint64_t *ret_to, struct err *err)
{
    struct writer w = {.wal = wal, .at = wal->active.at, .err = err};
    uint64_t durable_lsn = wal->next_lsn - 1;
    uint64_t lsn = wal->next_lsn;
    int64_t started_us = clock_mono_us(wal->clock);
    int64_t wall_us = clock_wall_us(wal->clock);

    for (struct wal_entry *entry = list; entry; entry = entry->next) {
        entry->lsn = lsn++;
        add_entry(&w, entry, durable_lsn, wall_us);
    }
    enum err_code code = sync_group(&w);
    *ret_to = w.at;
    hist_record(&wal->sync_us, clock_mono_us(wal->clock) - started_us);
    return code;
}

enum err_code
wal_group_mark(struct wal *wal, struct err *err)
{
    struct writer w = {.wal = wal, .at = wal->active.at, .err = err};

    add_frame(&w, &(struct wal_frame){
                      .kind = WAL_FRAME_MARK,
                      .lsn = wal->next_lsn - 1,
                      .wall_us = clock_wall_us(wal->clock),
                  });
    return sync_group(&w);
}
