/*
 * Reads the frames of one segment in order and checks their sums; recovery, wal_check and cursors
 * stand on it. Buffers a chunk of the file; a payload is handed out in place, aligned to 8 bytes.
 *
 * Ownership: init/fini; the reader owns its buffer, the caller the descriptor. One thread at a
 * time.
 */
#ifndef EIDER_WAL_WAL_READER_H
#define EIDER_WAL_WAL_READER_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "wal/wal_format.h"
#include "wal/wal_sys.h"

struct wal_reader {
    const struct wal_sys *sys;
    const char *dir;
    int fd; /* -1: none */
    uint64_t seq;
    uint64_t salt;
    uint64_t at;  /* of the next frame */
    uint64_t end; /* nothing at or behind it is read; the caller may move it on */
    uint8_t *buf;
    size_t buf_cap;
    uint64_t buf_at; /* where in the file the buffer begins */
    size_t buf_len;
};

enum wal_step {
    WAL_STEP_RECORD,
    WAL_STEP_MARK,
    WAL_STEP_END,   /* at == end */
    WAL_STEP_BAD,   /* what is at `at` is no whole frame with right sums */
    WAL_STEP_FAILED /* a read failed; err says which */
};

/* `dir` must live as long as the reader. */
void wal_reader_init(struct wal_reader *reader, const struct wal_sys *sys, const char *dir);
void wal_reader_fini(struct wal_reader *reader);

/* Begins at the first frame of a segment; keeps the buffer's memory. */
void wal_reader_attach(struct wal_reader *reader, int fd, uint64_t seq, uint64_t salt,
                       uint64_t end);

/*
 * Reads what is at `at` and moves on behind it. The payload is good until the next call. After
 * WAL_STEP_BAD and WAL_STEP_FAILED the reader stays where it was.
 */
enum wal_step wal_reader_next(struct wal_reader *reader, struct wal_frame *ret_frame,
                              struct slice *ret_payload, struct err *err);

#endif
