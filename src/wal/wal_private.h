/*
 * The inside of a log, shared by wal.c (callers), wal_commit.c (committer), wal_maker.c (segments
 * made ahead, cut, deleted) and wal_cursor.c.
 *
 * Locks: `delete_lock` before `lock`. `lock` is never held over a system call, with one exception:
 * a cursor opens its segment under it, so that wal_release cannot delete the file in between.
 */
#ifndef EIDER_WAL_WAL_PRIVATE_H
#define EIDER_WAL_WAL_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include <time.h>

#include "base/hist.h"
#include "wal/wal.h"
#include "wal/wal_format.h"
#include "wal/wal_reader.h"
#include "wal/wal_scan.h"

enum {
    WAL_STAGING_BYTES = 256 << 10,
    WAL_IOV_MAX = 512,
    WAL_COPY_MAX = 4096,          /* shorter parts are copied, longer ones written in place */
    WAL_GROUP_BYTES_MAX = 8 << 20 /* one group; a single larger record is a group by itself */
};

/* The next segment, on its way. Only the committer asks and takes; only the maker makes. */
enum wal_make_state {
    WAL_MAKE_IDLE,   /* -> WANTED */
    WAL_MAKE_WANTED, /* -> READY, FAILED */
    WAL_MAKE_READY,  /* -> IDLE when taken */
    WAL_MAKE_FAILED  /* -> WANTED when it is needed */
};

struct wal_made {
    enum wal_make_state state;
    bool warm;
    uint64_t seq;
    int fd;
    struct err err;
};

/* The segment that is written to; the committer's own. */
struct wal_active {
    int fd; /* -1: none */
    uint64_t salt;
    uint64_t at; /* of the next frame */
    bool cold;   /* not filled with zeros: left early, as soon as a warm one is ready */
};

struct wal {
    /* Set once by wal_open. */
    char dir[WAL_PATH_MAX];
    const struct wal_sys *sys;
    const struct clock *clock;
    uint64_t segment_bytes;
    uint64_t queue_bytes_max;
    uint64_t unreleased_bytes_max; /* UINT64_MAX: no bound */
    uint64_t reserve_free_bytes;
    unsigned retry_ms;
    pthread_t committer;
    pthread_t maker;

    pthread_mutex_t delete_lock; /* one deletion at a time, oldest first */
    pthread_mutex_t lock;
    pthread_cond_t work;       /* for the committer: entries, closing */
    pthread_cond_t readable;   /* for cursors: durable records, wake */
    pthread_cond_t maker_work; /* for the maker */
    pthread_cond_t maker_done; /* for the committer: a segment is made, or could not be */

    /* Under `lock`. */
    struct wal_entry *queue;
    struct wal_entry **queue_tail;
    uint64_t queued_bytes; /* frames queued and in flight */
    bool committer_waits;
    bool closing;
    bool healthy;
    struct err problem;
    struct wal_extent *extents; /* oldest first; the last is the active one, if any is */
    size_t extent_count;
    size_t extent_cap;
    uint64_t used_bytes; /* sum of extents' ends */
    struct wal_cursor *cursors;
    struct wal_made made;
    uint64_t next_seq;
    _Atomic bool maker_stop; /* written under `lock`, read without it while zeros are written */
    struct wal_seqs to_cut;  /* ended segments with space behind their end */
    struct wal_seqs doomed;  /* no part of the log any more, to be deleted */
    bool doomed_news;        /* something was added since the maker last tried */
    uint64_t records;
    uint64_t syncs;
    uint64_t failures;

    _Atomic uint64_t durable_lsn; /* written by the committer, under `lock` */
    struct hist sync_us;
    uint64_t recovered_records; /* set once */
    uint64_t torn_bytes;        /* set once */

    /* The committer's own. */
    struct wal_active active;
    uint64_t next_lsn;
    uint64_t failed_from; /* bytes of a failed group in the last segment; from == to: none */
    uint64_t failed_to;
    uint8_t *staging;
    struct iovec *iov;
};

struct wal_cursor {
    struct wal *wal;
    struct wal_reader reader; /* reader.fd < 0: in no segment yet */
    uint64_t from_lsn;        /* records below are skipped */
    uint64_t next_lsn;        /* what the next frame must be; 0: the segment's first */
    /* Under wal->lock. */
    bool released; /* its segment is gone from the list; `end` is where it ends */
    uint64_t end;
    bool woken;
    struct wal_cursor *next;
    struct wal_cursor *prev;
};

/* Whether a segment holds records. */
static inline bool
wal_extent_is_empty(const struct wal_extent *extent)
{
    return extent->last_lsn + 1 == extent->first_lsn;
}

/* wal_first_lsn for who holds `lock`. */
uint64_t wal_first_lsn_locked(const struct wal *wal);

/* The time in so many milliseconds, for waiting on the log's conditions. */
struct timespec wal_deadline(unsigned ms);

/* Puts the segment at `index` on the list of those to delete; cursors in it keep their file. Under
 * `lock`. */
void wal_extent_doom(struct wal *wal, size_t index);

/* Under `lock`. */
void wal_extent_add(struct wal *wal, const struct wal_extent *extent);

/* wal_commit.c: the committer. */
void *wal_committer_main(void *arg);

/* Takes or makes a segment and begins it behind the last record; then the log is healthy. Called by
 * wal_open before there is a committer, then by the committer only. */
enum err_code wal_start_segment(struct wal *wal, struct err *err);

/* Answers every entry of a list; returns how many there were. */
void wal_finish_entries(struct wal_entry *list, enum err_code code, const struct err *err);

/* wal_group.c: encodes the entries of a list from `lsn` on, writes them at `at` in the active
 * segment and syncs. *ret_to: how far bytes may have been written, also when it fails. */
enum err_code wal_group_write(struct wal *wal, struct wal_entry *list, uint64_t *ret_to,
                              struct err *err);

/* Writes and syncs a mark behind the last record. */
enum err_code wal_group_mark(struct wal *wal, struct err *err);

/* wal_maker.c: the maker's thread and what others ask of it. */
void *wal_maker_main(void *arg);

/* Asks for the next segment ahead of need. Under `lock`. */
void wal_maker_want(struct wal *wal, bool warm);

/* Waits for the next segment and takes it; ERR_NO_SPACE, ERR_IO. Not under `lock`. */
enum err_code wal_maker_take(struct wal *wal, struct wal_made *ret_made, struct err *err);

/* Deletes what is doomed, oldest first; stops at the first that cannot be. */
enum err_code wal_maker_delete(struct wal *wal, struct err *err);

#endif
