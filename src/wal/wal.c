/* Opening, closing, submitting, releasing; what callers' threads do. */
#include "wal/wal.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/mem.h"
#include "wal/crc32c.h"
#include "wal/wal_private.h"
#include "wal/wal_segment.h"

enum {
    QUEUE_BYTES_DEFAULT = 256 << 20,
    RESERVE_FREE_DEFAULT = 16 << 20,
    RETRY_MS_DEFAULT = 200,
    BLOCK_BYTES = 4096,
    DIR_MODE = 0700
};

void
wal_extent_add(struct wal *wal, const struct wal_extent *extent)
{
    if (wal->extent_count == wal->extent_cap) {
        wal->extent_cap = wal->extent_cap ? 2 * wal->extent_cap : 16;
        wal->extents = mem_resize(wal->extents, wal->extent_cap, sizeof(wal->extents[0]));
    }
    wal->extents[wal->extent_count++] = *extent;
    wal->used_bytes += extent->end;
}

void
wal_extent_doom(struct wal *wal, size_t index)
{
    assert(index < wal->extent_count);
    const struct wal_extent gone = wal->extents[index];
    wal->extent_count--;
    memmove(wal->extents + index, wal->extents + index + 1,
            (wal->extent_count - index) * sizeof(wal->extents[0]));
    wal->used_bytes -= gone.end;
    wal_seqs_add(&wal->doomed, gone.seq);
    wal->doomed_news = true;
    for (struct wal_cursor *cursor = wal->cursors; cursor; cursor = cursor->next) {
        if (cursor->reader.fd >= 0 && cursor->reader.seq == gone.seq) {
            cursor->released = true;
            cursor->end = gone.end;
        }
    }
}

struct timespec
wal_deadline(unsigned ms)
{
    struct timespec when;

    clock_gettime(CLOCK_MONOTONIC, &when);
    when.tv_sec += ms / 1000;
    when.tv_nsec += (long)(ms % 1000) * 1000000;
    if (when.tv_nsec >= 1000000000) {
        when.tv_nsec -= 1000000000;
        when.tv_sec++;
    }
    return when;
}

static enum err_code
set_options(struct wal *wal, const struct wal_options *options, struct err *err)
{
    size_t dir_len = strlen(options->dir);

    if (dir_len == 0 || dir_len >= WAL_PATH_MAX - WAL_NAME_LEN - 1) {
        return err_set(err, ERR_INVALID, "the path of the log directory has %zu bytes, not 1..%d",
                       dir_len, WAL_PATH_MAX - WAL_NAME_LEN - 2);
    }
    memcpy(wal->dir, options->dir, dir_len + 1);
    wal->sys = options->sys ? options->sys : wal_sys_real();
    wal->clock = options->clock ? options->clock : clock_system();
    wal->segment_bytes =
        options->segment_bytes ? options->segment_bytes : WAL_SEGMENT_BYTES_DEFAULT;
    if (wal->segment_bytes < WAL_SEGMENT_BYTES_MIN) {
        wal->segment_bytes = WAL_SEGMENT_BYTES_MIN;
    }
    wal->segment_bytes = (wal->segment_bytes + BLOCK_BYTES - 1) & ~(uint64_t)(BLOCK_BYTES - 1);
    wal->queue_bytes_max =
        options->queue_bytes_max ? options->queue_bytes_max : QUEUE_BYTES_DEFAULT;
    wal->unreleased_bytes_max = UINT64_MAX;
    if (options->unreleased_bytes_max > 0) {
        uint64_t least = 2 * wal->segment_bytes;
        uint64_t asked = options->unreleased_bytes_max;
        wal->unreleased_bytes_max = asked > least ? asked : least;
    }
    wal->reserve_free_bytes =
        options->reserve_free_bytes ? options->reserve_free_bytes : RESERVE_FREE_DEFAULT;
    wal->retry_ms = options->retry_ms ? options->retry_ms : RETRY_MS_DEFAULT;
    return ERR_OK;
}

/* The directory that a path is in. */
static void
parent_of(const char *path, char ret_parent[WAL_PATH_MAX])
{
    size_t len = strlen(path);

    memcpy(ret_parent, path, len + 1);
    while (len > 1 && ret_parent[len - 1] == '/') {
        ret_parent[--len] = '\0';
    }
    char *slash = strrchr(ret_parent, '/');
    if (!slash) {
        memcpy(ret_parent, ".", sizeof("."));
    } else {
        slash[slash == ret_parent ? 1 : 0] = '\0';
    }
}

/*
 * Makes the directory and its name durable. One that is there already may be left from a process
 * that was stopped in between; but not everybody may open what is above it.
 */
static enum err_code
make_dir(struct wal *wal, struct err *err)
{
    char parent[WAL_PATH_MAX];

    bool made = wal->sys->mkdir(wal->sys->ctx, wal->dir, DIR_MODE) == 0;
    if (!made && errno != EEXIST) {
        return err_sys(err, errno, "cannot make the log directory %s", wal->dir);
    }
    parent_of(wal->dir, parent);
    if (wal->sys->sync_dir(wal->sys->ctx, parent) != 0 && made) {
        return err_sys(err, errno, "cannot sync the directory %s", parent);
    }
    return ERR_OK;
}

/* Deletes what is left over; it may be the space that is lacking. What cannot be deleted now is
 * tried again later. */
static void
delete_left_over(struct wal *wal, const struct wal_scan *scan)
{
    for (size_t i = 0; i < scan->unused.count; i++) {
        wal_seqs_add(&wal->doomed, scan->unused.at[i]);
    }
    for (size_t i = 0; i < scan->superseded.count; i++) {
        wal_seqs_add(&wal->doomed, scan->superseded.at[i]);
    }
    wal_maker_delete(wal, NULL);
}

/*
 * Takes over what the scan found. What nothing proves to be on disk (killed before the sync, or a
 * sync that failed) is written and synced once more before it counts: the last group, or the header
 * of a segment without records, for the sake of which others are deleted and cut.
 */
static enum err_code
take_over(struct wal *wal, const struct wal_scan *scan, uint64_t first_lsn_min, struct err *err)
{
    uint64_t next_lsn = 1;

    if (scan->extent_count > 0) {
        const struct wal_extent *last = &scan->extents[scan->extent_count - 1];
        next_lsn = last->last_lsn + 1;
        if (scan->unproven_at < last->end) {
            enum err_code code = wal_segment_rewrite(wal->sys, wal->dir, last->seq,
                                                     scan->unproven_at, last->end, err);
            if (code != ERR_OK) {
                return err_context(err, code, "cannot make the end of the log durable");
            }
        }
    }
    delete_left_over(wal, scan);
    for (size_t i = 0; i < scan->extent_count; i++) {
        const struct wal_extent *extent = &scan->extents[i];
        wal_extent_add(wal, extent);
        if (i + 1 < scan->extent_count && extent->size > extent->end) {
            wal_seqs_add(&wal->to_cut, extent->seq);
        }
    }
    wal->next_lsn = next_lsn > first_lsn_min ? next_lsn : first_lsn_min;
    wal->next_seq = scan->seq_max + 1;
    wal->recovered_records = scan->records;
    wal->torn_bytes = scan->torn_bytes;
    atomic_store(&wal->durable_lsn, wal->next_lsn - 1);
    return ERR_OK;
}

static enum err_code
load(struct wal *wal, const struct wal_options *options, uint64_t first_lsn_min, struct err *err)
{
    struct wal_scan scan;

    enum err_code code = make_dir(wal, err);
    if (code != ERR_OK) {
        return code;
    }
    code = wal_scan_above(wal->dir, wal->sys, options->trusted_lsn, &scan, err);
    if (code == ERR_OK) {
        code = take_over(wal, &scan, first_lsn_min, err);
    }
    wal_scan_fini(&scan);
    return code;
}

static void
init_sync(struct wal *wal)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&wal->delete_lock, NULL);
    pthread_mutex_init(&wal->lock, NULL);
    pthread_cond_init(&wal->work, &attr);
    pthread_cond_init(&wal->readable, &attr);
    pthread_cond_init(&wal->maker_work, &attr);
    pthread_cond_init(&wal->maker_done, &attr);
    pthread_condattr_destroy(&attr);
}

static void
free_wal(struct wal *wal)
{
    pthread_cond_destroy(&wal->maker_done);
    pthread_cond_destroy(&wal->maker_work);
    pthread_cond_destroy(&wal->readable);
    pthread_cond_destroy(&wal->work);
    pthread_mutex_destroy(&wal->lock);
    pthread_mutex_destroy(&wal->delete_lock);
    wal_seqs_fini(&wal->to_cut);
    wal_seqs_fini(&wal->doomed);
    free(wal->extents);
    free(wal->staging);
    free(wal->iov);
    free(wal);
}

/* Starts a thread that takes no signals: they are the program's, and a write over RLIMIT_FSIZE
 * shall fail instead of ending the process. */
static enum err_code
start_thread(pthread_t *ret_thread, const char *name, void *(*run)(void *), struct wal *wal,
             struct err *err)
{
    sigset_t all;
    sigset_t old;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int sys = pthread_create(ret_thread, NULL, run, wal);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (sys != 0) {
        return err_sys(err, sys, "cannot start a thread of the log");
    }
    pthread_setname_np(*ret_thread, name);
    return ERR_OK;
}

/* Stops the maker and deletes what it made ahead. */
static void
stop_maker(struct wal *wal)
{
    pthread_mutex_lock(&wal->lock);
    atomic_store(&wal->maker_stop, true);
    pthread_cond_signal(&wal->maker_work);
    pthread_mutex_unlock(&wal->lock);
    pthread_join(wal->maker, NULL);
    if (wal->made.state == WAL_MAKE_READY) {
        wal->sys->close(wal->sys->ctx, wal->made.fd);
        wal_segment_delete(wal->sys, wal->dir, wal->made.seq, NULL); /* else the next open does */
    }
}

static enum err_code
start(struct wal *wal, struct err *err)
{
    struct err problem;

    enum err_code code = start_thread(&wal->maker, "wal-maker", wal_maker_main, wal, err);
    if (code != ERR_OK) {
        return code;
    }
    code = wal_start_segment(wal, &problem);
    if (code == ERR_NO_SPACE) {
        wal->problem = problem; /* the committer tries again */
        wal->failures = 1;
        code = ERR_OK;
    } else if (code != ERR_OK && err) {
        *err = problem;
    }
    if (code == ERR_OK) {
        code = start_thread(&wal->committer, "wal-committer", wal_committer_main, wal, err);
    }
    if (code != ERR_OK) {
        stop_maker(wal);
        if (wal->active.fd >= 0) {
            wal->sys->close(wal->sys->ctx, wal->active.fd);
        }
    }
    return code;
}

enum err_code
wal_open(const struct wal_options *options, uint64_t first_lsn_min, struct wal **ret_wal,
         struct err *err)
{
    struct wal *wal = mem_zalloc(1, sizeof(*wal));

    init_sync(wal);
    wal->queue_tail = &wal->queue;
    wal->active.fd = -1;
    wal->made.fd = -1;
    wal->staging = mem_alloc(WAL_STAGING_BYTES);
    wal->iov = mem_zalloc(WAL_IOV_MAX, sizeof(wal->iov[0]));
    enum err_code code = set_options(wal, options, err);
    if (code == ERR_OK) {
        code = load(wal, options, first_lsn_min, err);
    }
    if (code == ERR_OK) {
        code = start(wal, err);
    }
    if (code != ERR_OK) {
        free_wal(wal);
        return code;
    }
    *ret_wal = wal;
    return ERR_OK;
}

void
wal_close(struct wal *wal)
{
    if (!wal) {
        return;
    }
    assert(!wal->cursors);
    pthread_mutex_lock(&wal->lock);
    wal->closing = true;
    pthread_cond_signal(&wal->work);
    pthread_mutex_unlock(&wal->lock);
    pthread_join(wal->committer, NULL);
    stop_maker(wal);
    free_wal(wal);
}

/* Sets what the log keeps in an entry; refuses what never fits. */
static enum err_code
measure(const struct wal *wal, struct wal_entry *entry, struct err *err)
{
    uint64_t payload = 0;
    uint64_t most = wal->segment_bytes - WAL_HEADER_BYTES - WAL_FRAME_BYTES;
    uint32_t crc = 0;

    assert(entry->part_count >= 1 && entry->part_count <= WAL_PARTS_MAX);
    for (unsigned i = 0; i < entry->part_count; i++) {
        if (entry->parts[i].len > WAL_RECORD_BYTES_MAX - payload) {
            return err_set(err, ERR_TOO_LARGE, "a log record holds at most %d bytes",
                           WAL_RECORD_BYTES_MAX);
        }
        payload += entry->parts[i].len;
    }
    entry->bytes = wal_frame_span(payload);
    if (entry->bytes > most || entry->bytes > wal->queue_bytes_max) {
        return err_set(err, ERR_TOO_LARGE,
                       "a record of %llu bytes does not fit a log segment (%llu) or the queue "
                       "(%llu)",
                       (unsigned long long)payload, (unsigned long long)most,
                       (unsigned long long)wal->queue_bytes_max);
    }
    for (unsigned i = 0; i < entry->part_count; i++) {
        crc = crc32c(crc, entry->parts[i].ptr, entry->parts[i].len);
    }
    entry->crc = crc;
    return ERR_OK;
}

/* Whether the log takes the entry now. Under `lock`. */
static enum err_code
admit(const struct wal *wal, const struct wal_entry *entry, struct err *err)
{
    uint64_t queued = wal->queued_bytes + entry->bytes;

    if (wal->closing) {
        return err_set(err, ERR_UNAVAILABLE, "the log is closing");
    }
    if (!wal->healthy) {
        bool full = wal->problem.code == ERR_NO_SPACE;
        err_set(err, full ? ERR_NO_SPACE : ERR_UNAVAILABLE, "the log cannot be written: %.400s",
                wal->problem.msg);
        return err->code;
    }
    if (queued > wal->queue_bytes_max) {
        return err_set(err, ERR_BUSY, "the log's queue is full (%llu bytes); retry later",
                       (unsigned long long)wal->queue_bytes_max);
    }
    if (wal->used_bytes + queued > wal->unreleased_bytes_max) {
        return err_set(err, ERR_BUSY,
                       "the log holds %llu bytes that the store has not taken over, the most "
                       "allowed is %llu; retry later",
                       (unsigned long long)wal->used_bytes,
                       (unsigned long long)wal->unreleased_bytes_max);
    }
    return ERR_OK;
}

void
wal_submit(struct wal *wal, struct wal_entry *entry)
{
    struct err err;

    entry->lsn = 0;
    entry->next = NULL;
    enum err_code code = measure(wal, entry, &err);
    if (code == ERR_OK) {
        pthread_mutex_lock(&wal->lock);
        code = admit(wal, entry, &err);
        if (code == ERR_OK) {
            *wal->queue_tail = entry;
            wal->queue_tail = &entry->next;
            wal->queued_bytes += entry->bytes;
            if (wal->committer_waits) {
                wal->committer_waits = false;
                pthread_cond_signal(&wal->work);
            }
        }
        pthread_mutex_unlock(&wal->lock);
    }
    if (code != ERR_OK) {
        wal_finish_entries(entry, code, &err);
    }
}

/* One wal_append on its way. */
struct append {
    struct wal_entry entry;
    pthread_mutex_t lock;
    pthread_cond_t answered;
    bool done;
    enum err_code code;
    struct err *err; /* the caller's; may be NULL */
};

static void
append_done(struct wal_entry *entry, enum err_code code, const struct err *err)
{
    struct append *append = entry->ctx;

    pthread_mutex_lock(&append->lock);
    append->done = true;
    append->code = code;
    if (code != ERR_OK && append->err) {
        *append->err = *err;
    }
    pthread_cond_signal(&append->answered);
    pthread_mutex_unlock(&append->lock);
}

enum err_code
wal_append(struct wal *wal, uint16_t type, struct slice payload, uint64_t *ret_lsn, struct err *err)
{
    struct append append = {
        .entry = {.type = type, .part_count = 1, .parts = {payload}, .done = append_done},
        .err = err,
    };

    append.entry.ctx = &append;
    pthread_mutex_init(&append.lock, NULL);
    pthread_cond_init(&append.answered, NULL);
    wal_submit(wal, &append.entry);
    pthread_mutex_lock(&append.lock);
    while (!append.done) {
        pthread_cond_wait(&append.answered, &append.lock);
    }
    pthread_mutex_unlock(&append.lock);
    pthread_cond_destroy(&append.answered);
    pthread_mutex_destroy(&append.lock);
    if (append.code == ERR_OK && ret_lsn) {
        *ret_lsn = append.entry.lsn;
    }
    return append.code;
}

enum err_code
wal_release(struct wal *wal, uint64_t lsn, struct err *err)
{
    pthread_mutex_lock(&wal->lock);
    while (wal->extent_count > 1 && wal->extents[0].last_lsn <= lsn) {
        wal_extent_doom(wal, 0);
    }
    pthread_mutex_unlock(&wal->lock);
    return wal_maker_delete(wal, err);
}

uint64_t
wal_lsn_before(struct wal *wal, uint64_t keep_bytes)
{
    uint64_t lsn = 0;

    pthread_mutex_lock(&wal->lock);
    uint64_t left = wal->used_bytes;
    for (size_t i = 0; i < wal->extent_count && left >= wal->extents[i].end + keep_bytes; i++) {
        left -= wal->extents[i].end;
        lsn = wal->extents[i].last_lsn;
    }
    pthread_mutex_unlock(&wal->lock);
    return lsn;
}

uint64_t
wal_durable_lsn(struct wal *wal)
{
    return atomic_load(&wal->durable_lsn);
}

uint64_t
wal_first_lsn_locked(const struct wal *wal)
{
    return wal->extent_count > 0 ? wal->extents[0].first_lsn : atomic_load(&wal->durable_lsn) + 1;
}

uint64_t
wal_first_lsn(struct wal *wal)
{
    pthread_mutex_lock(&wal->lock);
    uint64_t lsn = wal_first_lsn_locked(wal);
    pthread_mutex_unlock(&wal->lock);
    return lsn;
}

void
wal_status(struct wal *wal, struct wal_status *ret_status)
{
    pthread_mutex_lock(&wal->lock);
    *ret_status = (struct wal_status){
        .healthy = wal->healthy,
        .problem = wal->problem,
        .first_lsn = wal_first_lsn_locked(wal),
        .durable_lsn = atomic_load(&wal->durable_lsn),
        .segments = wal->extent_count,
        .bytes = wal->used_bytes,
        .queued_bytes = wal->queued_bytes,
        .records = wal->records,
        .syncs = wal->syncs,
        .failures = wal->failures,
        .recovered_records = wal->recovered_records,
        .torn_bytes = wal->torn_bytes,
    };
    pthread_mutex_unlock(&wal->lock);
    ret_status->sync_p50_us = hist_quantile(&wal->sync_us, 0.5);
    ret_status->sync_p99_us = hist_quantile(&wal->sync_us, 0.99);
    ret_status->sync_sum_us = (double)hist_sum(&wal->sync_us);
}
