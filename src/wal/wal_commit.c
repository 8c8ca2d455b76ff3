/*
 * The committer: the one thread that gives out LSNs and writes. It takes all that is queued, writes
 * it group by group, syncs each, and answers; meanwhile the next entries gather in the queue.
 *
 *            start_segment ok
 *   BROKEN ------------------> HEALTHY     active.fd >= 0 exactly while healthy
 *      ^  \_ every retry_ms       |
 *      |                          | write, sync or roll failed: the segment is left for good at its
 *      +--------------------------+ last durable byte, all waiting entries fail
 *
 * A segment whose end a header has named, or may have, is never written again.
 */
#include <assert.h>
#include <errno.h>

#include "wal/wal_private.h"
#include "wal/wal_segment.h"

/* The share of a segment after which the next one is made. */
enum { AHEAD_SHARE = 16 };

static bool
is_past_ahead(const struct wal *wal)
{
    uint64_t room = wal->segment_bytes - WAL_HEADER_BYTES;

    return wal->active.at - WAL_HEADER_BYTES >= room / AHEAD_SHARE;
}

void
wal_finish_entries(struct wal_entry *list, enum err_code code, const struct err *err)
{
    while (list) {
        struct wal_entry *entry = list;
        list = entry->next; /* done may free or submit it again */
        entry->next = NULL;
        entry->lsn = code == ERR_OK ? entry->lsn : 0;
        entry->done(entry, code, err);
    }
}

/* The last segment with records, or NULL; only the very last can be without. */
static const struct wal_extent *
last_with_records(const struct wal *wal)
{
    for (size_t i = wal->extent_count; i > 0; i--) {
        if (!wal_extent_is_empty(&wal->extents[i - 1])) {
            return &wal->extents[i - 1];
        }
    }
    return NULL;
}

static struct wal_header
next_header(struct wal *wal, uint64_t seq)
{
    struct wal_header header = {
        .seq = seq,
        .first_lsn = wal->next_lsn,
        .prev_last_lsn = wal->next_lsn - 1,
        .segment_bytes = wal->segment_bytes,
        .salt = wal->sys->random(wal->sys->ctx),
        .wall_us = clock_wall_us(wal->clock),
    };

    pthread_mutex_lock(&wal->lock);
    const struct wal_extent *last = last_with_records(wal);
    if (last) {
        header.prev_seq = last->seq;
        header.prev_end = last->end;
        header.prev_last_lsn = last->last_lsn;
    }
    pthread_mutex_unlock(&wal->lock);
    return header;
}

/* The segment is begun: the one before is over, and the log healthy. */
static void
enter_segment(struct wal *wal, const struct wal_made *made, const struct wal_header *header)
{
    struct wal_extent extent = {
        .seq = header->seq,
        .first_lsn = header->first_lsn,
        .last_lsn = header->first_lsn - 1,
        .end = WAL_HEADER_BYTES,
        .size = wal->segment_bytes,
        .salt = header->salt,
    };

    wal->active = (struct wal_active){
        .fd = made->fd, .salt = header->salt, .at = WAL_HEADER_BYTES, .cold = !made->warm};
    wal->failed_from = 0;
    wal->failed_to = 0;
    pthread_mutex_lock(&wal->lock);
    if (wal->extent_count > 0) {
        size_t last = wal->extent_count - 1;
        if (wal_extent_is_empty(&wal->extents[last])) {
            wal_extent_doom(wal, last);
        } else if (wal->extents[last].size > wal->extents[last].end) {
            wal_seqs_add(&wal->to_cut, wal->extents[last].seq);
        }
    }
    wal_extent_add(wal, &extent);
    wal->healthy = true;
    wal->problem = (struct err){0};
    pthread_cond_signal(&wal->maker_work);
    pthread_mutex_unlock(&wal->lock);
}

enum err_code
wal_start_segment(struct wal *wal, struct err *err)
{
    struct wal_made made;

    assert(wal->active.fd < 0);
    enum err_code code = wal_maker_take(wal, &made, err);
    if (code != ERR_OK) {
        return code;
    }
    struct wal_header header = next_header(wal, made.seq);
    code = wal_segment_begin(wal->sys, wal->dir, made.fd, &header, err);
    if (code != ERR_OK) {
        wal->sys->close(wal->sys->ctx, made.fd);
        pthread_mutex_lock(&wal->lock);
        wal_seqs_add(&wal->doomed, made.seq);
        wal->doomed_news = true;
        pthread_cond_signal(&wal->maker_work);
        pthread_mutex_unlock(&wal->lock);
        return code;
    }
    enter_segment(wal, &made, &header);
    return ERR_OK;
}

static void
leave_segment(struct wal *wal)
{
    if (wal->active.fd >= 0) {
        wal->sys->close(wal->sys->ctx, wal->active.fd);
        wal->active.fd = -1;
    }
}

/* One attempt to go on in a fresh segment. Until that works, what was written of a failed group is
 * overwritten with zeros, so that a restart doesn't find it. */
static void
recover(struct wal *wal)
{
    struct err err;

    if (wal_start_segment(wal, &err) == ERR_OK) {
        return;
    }
    pthread_mutex_lock(&wal->lock);
    wal->failures++;
    wal->problem = err;
    uint64_t seq = wal->extent_count > 0 ? wal->extents[wal->extent_count - 1].seq : 0;
    pthread_mutex_unlock(&wal->lock);
    if (wal->failed_to > wal->failed_from && seq > 0 &&
        wal_segment_blank(wal->sys, wal->dir, seq, wal->failed_from, wal->failed_to, &err) ==
            ERR_OK) {
        wal->failed_to = wal->failed_from;
    }
}

/* A write, a sync or a roll failed: `list` and all that is queued fail with it. They are answered
 * only after the attempt to make sure that they cannot come back. */
static void
fail(struct wal *wal, struct wal_entry *list, const struct err *err)
{
    leave_segment(wal);
    pthread_mutex_lock(&wal->lock);
    struct wal_entry *queued = wal->queue;
    wal->queue = NULL;
    wal->queue_tail = &wal->queue;
    wal->queued_bytes = 0;
    wal->healthy = false;
    wal->problem = *err;
    wal->failures++;
    pthread_mutex_unlock(&wal->lock);
    recover(wal);
    wal_finish_entries(list, err->code, err);
    struct err behind = *err;
    behind.code = err->code == ERR_NO_SPACE ? ERR_NO_SPACE : ERR_UNAVAILABLE;
    wal_finish_entries(queued, behind.code, &behind);
}

/* Whether a record of `bytes` has to go to the next segment. Room for a mark is always kept. */
static bool
must_roll(struct wal *wal, uint64_t bytes)
{
    if (bytes > wal->segment_bytes - WAL_FRAME_BYTES - wal->active.at) {
        return true;
    }
    if (!wal->active.cold || !is_past_ahead(wal)) {
        return false;
    }
    pthread_mutex_lock(&wal->lock);
    bool ready = wal->made.state == WAL_MAKE_READY;
    pthread_mutex_unlock(&wal->lock);
    return ready;
}

/* Cuts the list behind the last entry that goes into one group; returns the rest. */
static struct wal_entry *
cut_group(const struct wal *wal, struct wal_entry *list, uint64_t *ret_bytes, uint64_t *ret_count)
{
    uint64_t room = wal->segment_bytes - WAL_FRAME_BYTES - wal->active.at;
    uint64_t most = room < WAL_GROUP_BYTES_MAX ? room : WAL_GROUP_BYTES_MAX;
    struct wal_entry *last = list;
    uint64_t bytes = list->bytes;
    uint64_t count = 1;

    while (last->next && bytes + last->next->bytes <= most) {
        last = last->next;
        bytes += last->bytes;
        count++;
    }
    struct wal_entry *rest = last->next;
    last->next = NULL;
    *ret_bytes = bytes;
    *ret_count = count;
    return rest;
}

/* The group is durable: readers may see it. */
static void
publish(struct wal *wal, uint64_t bytes, uint64_t count)
{
    wal->next_lsn += count;
    wal->active.at += bytes;
    pthread_mutex_lock(&wal->lock);
    struct wal_extent *extent = &wal->extents[wal->extent_count - 1];
    extent->last_lsn = wal->next_lsn - 1;
    extent->end = wal->active.at;
    wal->used_bytes += bytes;
    wal->queued_bytes -= bytes;
    wal->records += count;
    wal->syncs++;
    atomic_store(&wal->durable_lsn, wal->next_lsn - 1);
    if (wal->made.state == WAL_MAKE_IDLE && is_past_ahead(wal)) {
        wal_maker_want(wal, true);
    }
    pthread_cond_broadcast(&wal->readable);
    pthread_mutex_unlock(&wal->lock);
}

static enum err_code
write_group(struct wal *wal, struct wal_entry *list, struct wal_entry **ret_rest, struct err *err)
{
    uint64_t bytes;
    uint64_t count;
    uint64_t to;

    if (must_roll(wal, list->bytes)) {
        leave_segment(wal);
        enum err_code code = wal_start_segment(wal, err);
        if (code != ERR_OK) {
            return code;
        }
    }
    struct wal_entry *rest = cut_group(wal, list, &bytes, &count);
    enum err_code code = wal_group_write(wal, list, &to, err);
    if (code != ERR_OK) {
        struct wal_entry *last = list;
        while (last->next) {
            last = last->next;
        }
        last->next = rest;
        wal->failed_from = wal->active.at;
        wal->failed_to = to;
        return code;
    }
    publish(wal, bytes, count);
    *ret_rest = rest;
    return ERR_OK;
}

static void
commit(struct wal *wal, struct wal_entry *list)
{
    struct err err;

    while (list) {
        struct wal_entry *rest;
        enum err_code code = write_group(wal, list, &rest, &err);
        if (code != ERR_OK) {
            fail(wal, list, &err);
            return;
        }
        wal_finish_entries(list, ERR_OK, NULL);
        list = rest;
    }
}

enum work { WORK_COMMIT, WORK_RETRY, WORK_STOP };

/* Waits for entries, for the time of a retry while broken, or for the end. */
static enum work
wait_for_work(struct wal *wal, struct wal_entry **ret_list)
{
    struct timespec deadline = wal_deadline(wal->retry_ms);
    enum work work = WORK_COMMIT;

    pthread_mutex_lock(&wal->lock);
    while (!wal->queue && !wal->closing && work == WORK_COMMIT) {
        wal->committer_waits = true;
        if (wal->healthy) {
            pthread_cond_wait(&wal->work, &wal->lock);
        } else if (pthread_cond_timedwait(&wal->work, &wal->lock, &deadline) == ETIMEDOUT) {
            work = WORK_RETRY;
        }
    }
    wal->committer_waits = false;
    if (wal->queue) {
        *ret_list = wal->queue;
        wal->queue = NULL;
        wal->queue_tail = &wal->queue;
        work = WORK_COMMIT;
    } else if (wal->closing) {
        work = WORK_STOP;
    }
    pthread_mutex_unlock(&wal->lock);
    return work;
}

/* A clean end: a mark proves that everything before it was durable, and the space behind is given
 * back. Neither is needed, so nobody hears of a failure. */
static void
end_cleanly(struct wal *wal)
{
    bool has_records = false;

    pthread_mutex_lock(&wal->lock);
    if (wal->active.fd >= 0) {
        has_records = !wal_extent_is_empty(&wal->extents[wal->extent_count - 1]);
    }
    pthread_mutex_unlock(&wal->lock);
    if (has_records && wal_group_mark(wal, NULL) == ERR_OK) {
        wal->sys->truncate(wal->sys->ctx, wal->active.fd,
                           (off_t)(wal->active.at + WAL_FRAME_BYTES));
    }
    leave_segment(wal);
}

void *
wal_committer_main(void *arg)
{
    struct wal *wal = arg;
    struct wal_entry *list = NULL;

    for (;;) {
        switch (wait_for_work(wal, &list)) {
        case WORK_COMMIT:
            commit(wal, list);
            break;
        case WORK_RETRY:
            recover(wal);
            break;
        case WORK_STOP:
            end_cleanly(wal);
            return NULL;
        }
    }
}
