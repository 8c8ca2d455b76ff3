/*
 * What the log does to one segment file: make it ahead of need, begin it with a header, write and
 * sync at an offset, blank a range, cut it. Every function names the file in its errors.
 *
 * Threads: any; a file belongs to whoever calls.
 */
#ifndef EIDER_WAL_WAL_SEGMENT_H
#define EIDER_WAL_WAL_SEGMENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "wal/wal_format.h"
#include "wal/wal_sys.h"

struct wal_segment_plan {
    const struct wal_sys *sys;
    const char *dir;
    uint64_t seq;
    uint64_t bytes;
    uint64_t reserve_free_bytes; /* what the disk must keep */
    bool warm; /* write zeros: no block is allocated or converted later, so that syncs are quick */
    const _Atomic bool *stop; /* ends the writing of zeros early; may be NULL */
};

/*
 * Makes a file of zeros with all its space, synced, with its name in the directory; leaves nothing
 * behind when it fails. ERR_NO_SPACE, ERR_IO, ERR_UNAVAILABLE when stopped. Blocks: 0.3 ms, or some
 * 50 ms for 64 MiB when warm.
 */
enum err_code wal_segment_make(const struct wal_segment_plan *plan, int *ret_fd, struct err *err);

/* Writes and syncs the header block. */
enum err_code wal_segment_begin(const struct wal_sys *sys, const char *dir, int fd,
                                const struct wal_header *header, struct err *err);

/* Writes all of `parts` (which it uses up) at `offset`. ERR_NO_SPACE, ERR_IO. */
enum err_code wal_segment_write(const struct wal_sys *sys, int fd, struct iovec *parts, int count,
                                uint64_t offset, struct err *err);

/* Overwrites [from, to) with zeros and syncs, on a descriptor of its own. */
enum err_code wal_segment_blank(const struct wal_sys *sys, const char *dir, uint64_t seq,
                                uint64_t from, uint64_t to, struct err *err);

/*
 * Writes [from, to) of a file again as it is and syncs: after a failed sync of another process the
 * page cache may hold bytes that are not on disk and that no later sync would write.
 */
enum err_code wal_segment_rewrite(const struct wal_sys *sys, const char *dir, uint64_t seq,
                                  uint64_t from, uint64_t to, struct err *err);

/* Gives back the space behind `end`. */
enum err_code wal_segment_cut(const struct wal_sys *sys, const char *dir, uint64_t seq,
                              uint64_t end, struct err *err);

/* Deletes a segment for good: name gone and directory synced. One that is not there is fine. */
enum err_code wal_segment_delete(const struct wal_sys *sys, const char *dir, uint64_t seq,
                                 struct err *err);

#endif
