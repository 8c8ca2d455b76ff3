/* Growable byte buffers: capacity doubles until the cap is reached. */
#include "base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

enum { BUF_FIRST_BYTES = 256, BUF_DEFAULT_MAX_BYTES = 1 << 30, DIGITS_MAX = 20 };

void
buf_init(struct buf *buf, size_t max_bytes)
{
    *buf = (struct buf){.max_bytes = max_bytes ? max_bytes : BUF_DEFAULT_MAX_BYTES};
}

void
buf_fini(struct buf *buf)
{
    free(buf->ptr);
    buf->ptr = NULL;
    buf->len = 0;
    buf->cap = 0;
}

void
buf_reset(struct buf *buf)
{
    buf->len = 0;
    buf->overflow = false;
}

char *
buf_reserve(struct buf *buf, size_t extra)
{
    if (buf->overflow) {
        return NULL; /* what comes after a gap must not be added */
    }
    if (extra <= buf->cap - buf->len && buf->ptr) {
        return buf->ptr + buf->len;
    }
    if (extra > buf->max_bytes - buf->len) {
        buf->overflow = true;
        return NULL;
    }
    size_t cap = buf->cap ? buf->cap : BUF_FIRST_BYTES;
    while (cap < buf->len + extra) {
        cap *= 2;
    }
    if (cap > buf->max_bytes) {
        cap = buf->max_bytes;
    }
    buf->ptr = mem_resize(buf->ptr, cap, 1);
    buf->cap = cap;
    return buf->ptr + buf->len;
}

void
buf_add(struct buf *buf, const void *ptr, size_t len)
{
    if (len == 0) {
        return;
    }
    char *to = buf_reserve(buf, len);
    if (to) {
        memcpy(to, ptr, len);
        buf->len += len;
    }
}

void
buf_add_slice(struct buf *buf, struct slice text)
{
    buf_add(buf, text.ptr, text.len);
}

void
buf_add_cstr(struct buf *buf, const char *text)
{
    buf_add(buf, text, strlen(text));
}

void
buf_add_char(struct buf *buf, char c)
{
    buf_add(buf, &c, 1);
}

void
buf_add_fmt(struct buf *buf, const char *fmt, ...)
{
    va_list ap;
    va_list again;

    va_start(ap, fmt);
    va_copy(again, ap);
    int len = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *to = len < 0 ? NULL : buf_reserve(buf, (size_t)len + 1);
    if (to) {
        vsnprintf(to, (size_t)len + 1, fmt, again);
        buf->len += (size_t)len;
    }
    va_end(again);
}

void
buf_add_u64(struct buf *buf, uint64_t value)
{
    char digits[DIGITS_MAX];
    size_t at = DIGITS_MAX;

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    buf_add(buf, digits + at, DIGITS_MAX - at);
}

void
buf_add_i64(struct buf *buf, int64_t value)
{
    if (value < 0) {
        buf_add_char(buf, '-');
        buf_add_u64(buf, 0 - (uint64_t)value);
        return;
    }
    buf_add_u64(buf, (uint64_t)value);
}

void
buf_consume(struct buf *buf, size_t count)
{
    assert(count <= buf->len);
    buf->len -= count;
    if (buf->len > 0 && count > 0) {
        memmove(buf->ptr, buf->ptr + count, buf->len);
    }
}

char *
buf_take(struct buf *buf, size_t *ret_len)
{
    char *ptr = buf->ptr;

    *ret_len = buf->len;
    buf->ptr = NULL;
    buf->len = 0;
    buf->cap = 0;
    return ptr;
}
