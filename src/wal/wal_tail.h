/*
 * Judges what is behind the last whole record of the newest segment: nothing, a torn group, or the
 * proof that synced records were lost (docs/formats/wal.md, "Torn tail or hole").
 *
 * Threads: none of its own; reads one file.
 */
#ifndef EIDER_WAL_WAL_TAIL_H
#define EIDER_WAL_WAL_TAIL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "wal/wal_sys.h"

struct wal_tail_file {
    const struct wal_sys *sys;
    const char *dir;
    int fd;
    uint64_t seq;
    uint64_t size;
};

struct wal_tail {
    uint64_t used_bytes; /* up to the last byte that is not zero */
    bool hole;           /* a frame says that `lsn` was durable when it was written */
};

/* Looks at [at, size) of a file whose next record would be `lsn`. ERR_IO. */
enum err_code wal_tail_judge(const struct wal_tail_file *file, uint64_t at, uint64_t salt,
                             uint64_t lsn, struct wal_tail *ret_tail, struct err *err);

/* Reads [at, at + len) as far as the file goes; the rest of dst stays. ERR_IO. */
enum err_code wal_tail_read(const struct wal_tail_file *file, uint64_t at, uint8_t *dst, size_t len,
                            struct err *err);

#endif
