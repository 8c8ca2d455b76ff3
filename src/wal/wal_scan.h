/*
 * Looks at a log directory as a whole, without changing it: which segments are the log, which are
 * left over, where the log ends, and whether anything in it is missing. What recovery and wal_check
 * know, they know from here. The rules are those of docs/formats/wal.md.
 *
 * Ownership: wal_scan_dir fills a struct that wal_scan_fini empties. One thread at a time, and
 * nobody may write to the directory meanwhile.
 */
#ifndef EIDER_WAL_WAL_SCAN_H
#define EIDER_WAL_WAL_SCAN_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "wal/wal.h"
#include "wal/wal_sys.h"

/* One segment of the log. */
struct wal_extent {
    uint64_t seq;
    uint64_t first_lsn;
    uint64_t last_lsn; /* first_lsn - 1: no records */
    uint64_t end;      /* behind the last record, in bytes */
    uint64_t size;     /* of the file */
    uint64_t salt;
};

struct wal_seqs {
    uint64_t *at;
    size_t count;
    size_t cap;
};

struct wal_scan {
    struct wal_extent *extents; /* the log, oldest first */
    size_t extent_count;
    struct wal_seqs unused;     /* made ahead and never begun: nothing in them */
    struct wal_seqs superseded; /* abandoned without a durable record */
    uint64_t seq_max;           /* of all files; 0: none */
    uint64_t records;
    uint64_t torn_bytes;  /* behind the end of the newest segment */
    uint64_t unproven_at; /* from here to its end nothing proves that it was synced; 0: not even the
                             header was */
};

/*
 * ERR_CORRUPT with file and offset for anything that must not be passed over, ERR_UNSUPPORTED for a
 * later format, ERR_IO. A directory that is not there holds an empty log. *ret_scan needs
 * wal_scan_fini in any case.
 */
enum err_code wal_scan_dir(const char *dir, const struct wal_sys *sys, wal_report_fn *report,
                           void *ctx, struct wal_scan *ret_scan, struct err *err);
void wal_scan_fini(struct wal_scan *scan);

/* The same, but of segments that end at or below `trusted_lsn` only the headers are read; the
 * newest is always read. */
enum err_code wal_scan_above(const char *dir, const struct wal_sys *sys, uint64_t trusted_lsn,
                             struct wal_scan *ret_scan, struct err *err);

void wal_seqs_add(struct wal_seqs *seqs, uint64_t seq);
void wal_seqs_remove(struct wal_seqs *seqs, size_t index);
void wal_seqs_fini(struct wal_seqs *seqs);

#endif
