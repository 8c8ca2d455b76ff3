/*
 * A file system in memory behind `struct wal_sys`, for tests and fuzzing: one directory,
 * WAL_MEMFS_DIR. It can fail the n-th call of a kind, has a size that can be used up, and keeps a
 * journal of everything that was done, from which it makes the disk that a crash after any call
 * would leave: with everything (the process was killed) or, after a loss of power, with what was
 * synced and any choice of 512-byte sectors and directory changes that were not. As on Linux, what
 * a failed sync left is never made good by a later one.
 *
 * Threads: any; one lock. The functions that look at the journal or at bytes: while nobody writes.
 */
#ifndef EIDER_WAL_WAL_MEMFS_H
#define EIDER_WAL_WAL_MEMFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wal/wal_sys.h"

#define WAL_MEMFS_DIR "/memory/wal"

enum { WAL_MEMFS_SECTOR_BYTES = 512 };

enum wal_memfs_call {
    WAL_MEMFS_OPEN,
    WAL_MEMFS_PREAD,
    WAL_MEMFS_PWRITEV,
    WAL_MEMFS_PREALLOCATE,
    WAL_MEMFS_TRUNCATE,
    WAL_MEMFS_SYNC_DATA,
    WAL_MEMFS_SYNC_DIR,
    WAL_MEMFS_UNLINK,
    WAL_MEMFS_MKDIR,
    WAL_MEMFS_LIST,
    WAL_MEMFS_FREE_BYTES,
    WAL_MEMFS_CALL_COUNT
};

struct wal_memfs_fault {
    enum wal_memfs_call call;
    uint64_t nth;    /* the first to fail, counted from 1; 0: none fails */
    uint64_t times;  /* how many in a row; 0: all from there on */
    uint64_t step;   /* of these only every so many-th; 0: all */
    int sys;         /* errno; 0 for WAL_MEMFS_PWRITEV: writes only half, which is no failure */
    bool half_first; /* of WAL_MEMFS_PWRITEV: the first writes half, those after it fail */
};

struct wal_memfs;

struct wal_memfs *wal_memfs_new(uint64_t seed);
void wal_memfs_free(struct wal_memfs *fs);
const struct wal_sys *wal_memfs_sys(struct wal_memfs *fs);

/* Replaces the fault and begins to count calls anew. */
void wal_memfs_fail(struct wal_memfs *fs, const struct wal_memfs_fault *fault);
uint64_t wal_memfs_calls(struct wal_memfs *fs, enum wal_memfs_call call);

/* Bytes that all files together may have; SIZE_MAX at first. */
void wal_memfs_resize(struct wal_memfs *fs, uint64_t bytes);

/* Descriptors that are open. */
size_t wal_memfs_open_count(struct wal_memfs *fs);

/* The journal: off at first, to be turned on before there are files. */
void wal_memfs_journal(struct wal_memfs *fs);
size_t wal_memfs_journal_len(struct wal_memfs *fs);

enum wal_memfs_crash { WAL_MEMFS_KILLED, WAL_MEMFS_POWER_LOST };

/*
 * The disk after the first `len` entries of the journal; the caller frees it. After
 * WAL_MEMFS_KILLED the machine goes on: the new disk has the journal so far, and what was not
 * synced still isn't.
 */
struct wal_memfs *wal_memfs_crashed(struct wal_memfs *fs, size_t len, enum wal_memfs_crash how,
                                    uint64_t seed);

/* The disk as it is. */
struct wal_memfs *wal_memfs_copy(struct wal_memfs *fs, uint64_t seed);

/* Files: the names in order (NULL behind the last), the bytes of one to look at or damage, a new
 * one, another length. */
const char *wal_memfs_name(struct wal_memfs *fs, size_t index);
uint8_t *wal_memfs_bytes(struct wal_memfs *fs, const char *name, size_t *ret_len);
void wal_memfs_put(struct wal_memfs *fs, const char *name, const void *bytes, size_t len);
void wal_memfs_cut(struct wal_memfs *fs, const char *name, size_t len);

#endif
