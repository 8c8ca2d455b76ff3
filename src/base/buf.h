/*
 * A growable byte buffer with a cap. Past the cap nothing more is added and `overflow` sticks, so
 * a writer appends freely and checks once at the end.
 *
 * Ownership: init/fini; the bytes belong to the buffer until buf_take. One thread at a time.
 */
#ifndef EIDER_BASE_BUF_H
#define EIDER_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct buf {
    char *ptr;
    size_t len;
    size_t cap;
    size_t max_bytes;
    bool overflow;
};

/* Prepares an empty buffer that may grow to max_bytes (0: one gibibyte). Allocates nothing. */
void buf_init(struct buf *buf, size_t max_bytes);

/* Frees the bytes; the buffer may be used again after buf_init. */
void buf_fini(struct buf *buf);

/* Forgets the contents and the overflow, keeps the memory. */
void buf_reset(struct buf *buf);

/* Makes room for `extra` bytes behind len and returns where they start, or NULL over the cap. */
char *buf_reserve(struct buf *buf, size_t extra);

void buf_add(struct buf *buf, const void *ptr, size_t len);
void buf_add_slice(struct buf *buf, struct slice text);
void buf_add_cstr(struct buf *buf, const char *text);
void buf_add_char(struct buf *buf, char c);
void buf_add_fmt(struct buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Decimal digits of a value; faster than buf_add_fmt. */
void buf_add_i64(struct buf *buf, int64_t value);
void buf_add_u64(struct buf *buf, uint64_t value);

/* Removes the first `count` bytes (count <= len). */
void buf_consume(struct buf *buf, size_t count);

/* Gives the bytes away (NULL when nothing was ever added); the buffer is empty afterwards. */
char *buf_take(struct buf *buf, size_t *ret_len);

static inline struct slice
buf_slice(const struct buf *buf)
{
    return (struct slice){buf->ptr ? buf->ptr : "", buf->len};
}

#define BUF_AUTO __attribute__((cleanup(buf_fini)))

#endif
