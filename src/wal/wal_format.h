/*
 * The bytes of a log segment (docs/formats/wal.md): the header block of a segment, the frame in
 * front of a record, the names of files. Pure; all numbers are little-endian.
 */
#ifndef EIDER_WAL_WAL_FORMAT_H
#define EIDER_WAL_WAL_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WAL_FORMAT_VERSION = 1,
    WAL_HEADER_BYTES = 4096, /* the header block; the first frame is behind it */
    WAL_FRAME_BYTES = 40,
    WAL_ALIGN = 8, /* frames and payloads start at multiples of it */
    WAL_SEGMENT_BYTES_MIN = 8192,
    WAL_NAME_LEN = 20, /* "0000000000000001.wal" */
    WAL_PATH_MAX = 4096
};

/* Far below the 16 digits of a name, so that numbers never run out of them. */
#define WAL_SEQ_MAX UINT64_C(9000000000000000)

/* What the header block of a segment says. */
struct wal_header {
    uint64_t seq;           /* the number in its name */
    uint64_t first_lsn;     /* of the first record that it can hold; 0: made, not begun */
    uint64_t prev_seq;      /* the segment with the records before; 0: the log starts here */
    uint64_t prev_end;      /* where that one ends, in bytes; what is behind never happened */
    uint64_t prev_last_lsn; /* its last record; first_lsn - 1 unless LSNs were jumped over */
    uint64_t segment_bytes;
    uint64_t salt; /* random; goes into the sum of every frame */
    int64_t wall_us;
};

enum wal_header_state {
    WAL_HEADER_VALID,
    WAL_HEADER_NEWER,  /* intact, of a later version of the format */
    WAL_HEADER_INVALID /* zeros, torn or damaged */
};

/* Fills a whole header block. */
void wal_header_encode(const struct wal_header *header, uint8_t dst[WAL_HEADER_BYTES]);

/* Reads a header block; *ret_header is set only for WAL_HEADER_VALID. */
enum wal_header_state wal_header_decode(const uint8_t src[WAL_HEADER_BYTES],
                                        struct wal_header *ret_header);

enum wal_frame_kind {
    WAL_FRAME_RECORD = 1,
    WAL_FRAME_MARK = 2 /* no record: says that `lsn` is durable, written at a clean end */
};

/* What stands before a payload. */
struct wal_frame {
    enum wal_frame_kind kind;
    uint32_t payload_bytes;
    uint64_t lsn;
    int64_t wall_us;
    uint32_t ahead; /* lsn minus the LSN that was durable when this was written; 0 in a mark */
    uint16_t type;  /* the caller's */
    uint32_t payload_crc;
};

void wal_frame_encode(const struct wal_frame *frame, uint64_t salt, uint8_t dst[WAL_FRAME_BYTES]);

/* False when `src` is not the frame of a segment with this salt; says nothing of the payload. */
bool wal_frame_decode(const uint8_t src[WAL_FRAME_BYTES], uint64_t salt,
                      struct wal_frame *ret_frame);

/* The LSN that was durable when the frame was written. */
uint64_t wal_frame_durable(const struct wal_frame *frame);

/* The bytes of a frame with its payload and the padding behind. */
static inline uint64_t
wal_frame_span(uint64_t payload_bytes)
{
    return WAL_FRAME_BYTES + ((payload_bytes + WAL_ALIGN - 1) & ~(uint64_t)(WAL_ALIGN - 1));
}

/* The name of a segment, with NUL. */
void wal_name_format(uint64_t seq, char ret_name[WAL_NAME_LEN + 1]);

/* False when `name` is not that of a segment, or its number is 0 or over WAL_SEQ_MAX. */
bool wal_name_parse(const char *name, uint64_t *ret_seq);

/* dir/name; `dir` is shorter than WAL_PATH_MAX - WAL_NAME_LEN - 1. */
void wal_path_format(const char *dir, uint64_t seq, char ret_path[WAL_PATH_MAX]);

#endif
