/*
 * Cursors. A cursor keeps the file of its segment open, so that wal_release beside it takes only
 * the name away; the log tells it (released, end) when that happens.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>

#include "base/mem.h"
#include "wal/wal_private.h"

/* What a look at the list of segments brought. */
enum look {
    LOOK_READ,    /* there is something to read */
    LOOK_NOTHING, /* all durable records are read */
    LOOK_FAILED
};

static const struct wal_extent *
find_extent(const struct wal *wal, uint64_t seq)
{
    for (size_t i = 0; i < wal->extent_count; i++) {
        if (wal->extents[i].seq == seq) {
            return &wal->extents[i];
        }
    }
    return NULL;
}

/* The segment to go on with: the first behind the cursor's that can hold what it wants. */
static const struct wal_extent *
find_next(const struct wal_cursor *cursor)
{
    const struct wal *wal = cursor->wal;
    uint64_t seq = cursor->reader.fd >= 0 ? cursor->reader.seq : 0;

    for (size_t i = 0; i < wal->extent_count; i++) {
        const struct wal_extent *extent = &wal->extents[i];
        bool last = i + 1 == wal->extent_count;
        if (extent->seq > seq && (last || extent->last_lsn >= cursor->from_lsn)) {
            return extent;
        }
    }
    return NULL;
}

static void
leave(struct wal_cursor *cursor)
{
    if (cursor->reader.fd >= 0) {
        /* Read again only at a start; in memory it would crowd out the database. */
        cursor->wal->sys->forget(cursor->wal->sys->ctx, cursor->reader.fd);
        cursor->wal->sys->close(cursor->wal->sys->ctx, cursor->reader.fd);
        cursor->reader.fd = -1;
    }
}

/* Opens a segment under `lock`, so that it cannot be deleted in between. */
static enum err_code
enter(struct wal_cursor *cursor, const struct wal_extent *extent, struct err *err)
{
    struct wal *wal = cursor->wal;
    char path[WAL_PATH_MAX];

    wal_path_format(wal->dir, extent->seq, path);
    int fd = wal->sys->open(wal->sys->ctx, path, O_RDONLY, 0);
    if (fd < 0) {
        return err_sys(err, errno, "cannot open log segment %s", path);
    }
    leave(cursor);
    wal_reader_attach(&cursor->reader, fd, extent->seq, extent->salt, extent->end);
    cursor->next_lsn = extent->first_lsn;
    cursor->released = false;
    return ERR_OK;
}

/* Brings the cursor's end up to date, or the cursor to the next segment. Under `lock`. */
static enum look
look(struct wal_cursor *cursor, struct err *err)
{
    struct wal_reader *reader = &cursor->reader;

    if (reader->fd >= 0) {
        const struct wal_extent *extent = find_extent(cursor->wal, reader->seq);
        assert(extent || cursor->released);
        reader->end = extent ? extent->end : cursor->end;
        if (reader->at < reader->end) {
            return LOOK_READ;
        }
    }
    const struct wal_extent *next = find_next(cursor);
    if (!next) {
        return LOOK_NOTHING;
    }
    if (enter(cursor, next, err) != ERR_OK) {
        return LOOK_FAILED;
    }
    return reader->at < reader->end ? LOOK_READ : LOOK_NOTHING;
}

/* Waits until there is something to read. */
static enum err_code
await(struct wal_cursor *cursor, int timeout_ms, struct err *err)
{
    struct wal *wal = cursor->wal;
    struct timespec deadline = wal_deadline(timeout_ms > 0 ? (unsigned)timeout_ms : 0);
    enum err_code code = ERR_OK;
    bool late = timeout_ms == 0;

    pthread_mutex_lock(&wal->lock);
    for (;;) {
        enum look found = look(cursor, err);
        if (found != LOOK_NOTHING) {
            code = found == LOOK_FAILED ? ERR_IO : ERR_OK;
            break;
        }
        if (cursor->woken) {
            code = err_set(err, ERR_UNAVAILABLE, "the reading of the log was ended");
            break;
        }
        if (late) {
            code = err_set(err, ERR_TIMEOUT, "no record came within %d ms", timeout_ms);
            break;
        }
        if (timeout_ms < 0) {
            pthread_cond_wait(&wal->readable, &wal->lock);
        } else {
            late = pthread_cond_timedwait(&wal->readable, &wal->lock, &deadline) == ETIMEDOUT;
        }
    }
    pthread_mutex_unlock(&wal->lock);
    return code;
}

static enum err_code
damaged(const struct wal_cursor *cursor, uint64_t at, struct err *err)
{
    char path[WAL_PATH_MAX];

    wal_path_format(cursor->wal->dir, cursor->reader.seq, path);
    return err_set(err, ERR_CORRUPT,
                   "log segment %.300s, offset %llu: the record with LSN %llu is damaged; put the "
                   "file back from a copy, or start from what the store has",
                   path, (unsigned long long)at, (unsigned long long)cursor->next_lsn);
}

enum err_code
wal_cursor_next(struct wal_cursor *cursor, int timeout_ms, struct wal_record *ret_record,
                struct err *err)
{
    struct wal_reader *reader = &cursor->reader;
    struct wal_frame frame;
    struct slice payload;

    for (;;) {
        uint64_t at = reader->at;
        enum wal_step step = WAL_STEP_END;
        if (reader->fd >= 0) {
            step = wal_reader_next(reader, &frame, &payload, err);
        }
        switch (step) {
        case WAL_STEP_END: {
            enum err_code code = await(cursor, timeout_ms, err);
            if (code != ERR_OK) {
                return code;
            }
            break;
        }
        case WAL_STEP_MARK:
            break;
        case WAL_STEP_RECORD:
            if (frame.lsn != cursor->next_lsn) {
                reader->at = at;
                return damaged(cursor, at, err);
            }
            cursor->next_lsn++;
            if (frame.lsn >= cursor->from_lsn) {
                *ret_record = (struct wal_record){
                    .lsn = frame.lsn,
                    .type = frame.type,
                    .payload = payload,
                    .wall_us = frame.wall_us,
                };
                return ERR_OK;
            }
            break;
        case WAL_STEP_BAD:
            return damaged(cursor, at, err);
        case WAL_STEP_FAILED:
            return ERR_IO;
        }
    }
}

static void
link_cursor(struct wal_cursor *cursor)
{
    struct wal *wal = cursor->wal;

    cursor->next = wal->cursors;
    if (cursor->next) {
        cursor->next->prev = cursor;
    }
    wal->cursors = cursor;
}

enum err_code
wal_cursor_open(struct wal *wal, uint64_t from_lsn, struct wal_cursor **ret_cursor, struct err *err)
{
    struct wal_cursor *cursor = mem_zalloc(1, sizeof(*cursor));
    enum err_code code = ERR_OK;

    cursor->wal = wal;
    cursor->from_lsn = from_lsn ? from_lsn : 1;
    wal_reader_init(&cursor->reader, wal->sys, wal->dir);
    pthread_mutex_lock(&wal->lock);
    link_cursor(cursor);
    uint64_t first_lsn = wal_first_lsn_locked(wal);
    if (cursor->from_lsn < first_lsn) {
        code =
            err_set(err, ERR_NOT_FOUND, "the log begins at LSN %llu; LSN %llu was released before",
                    (unsigned long long)first_lsn, (unsigned long long)cursor->from_lsn);
    } else if (look(cursor, err) == LOOK_FAILED) {
        code = ERR_IO;
    }
    pthread_mutex_unlock(&wal->lock);
    if (code != ERR_OK) {
        wal_cursor_close(cursor);
        return code;
    }
    *ret_cursor = cursor;
    return ERR_OK;
}

void
wal_cursor_close(struct wal_cursor *cursor)
{
    if (!cursor) {
        return;
    }
    struct wal *wal = cursor->wal;
    pthread_mutex_lock(&wal->lock);
    if (cursor->prev) {
        cursor->prev->next = cursor->next;
    } else {
        wal->cursors = cursor->next;
    }
    if (cursor->next) {
        cursor->next->prev = cursor->prev;
    }
    pthread_mutex_unlock(&wal->lock);
    leave(cursor);
    wal_reader_fini(&cursor->reader);
    free(cursor);
}

void
wal_cursor_wake(struct wal_cursor *cursor)
{
    pthread_mutex_lock(&cursor->wal->lock);
    cursor->woken = true;
    pthread_cond_broadcast(&cursor->wal->readable);
    pthread_mutex_unlock(&cursor->wal->lock);
}
