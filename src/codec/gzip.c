/* zlib's inflate over whole bodies. */
#include "codec/gzip.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#define ZLIB_CONST /* next_in points to const */
#include <zlib.h>

enum {
    WINDOW_ANY = 15 + 32, /* window of 32 KiB, gzip or zlib by their first bytes */
    STEP_BYTES = 64 * 1024,
    INPUT_STEP = 1 << 30
};

static bool
is_gzip(const z_stream *stream, size_t left)
{
    return left >= 2 && stream->next_in[0] == 0x1f && stream->next_in[1] == 0x8b;
}

/* Gives zlib the next piece of input; it counts in unsigned int. */
static void
feed(z_stream *stream, size_t *left)
{
    if (stream->avail_in == 0) {
        size_t piece = *left < INPUT_STEP ? *left : INPUT_STEP;
        stream->avail_in = (uInt)piece;
        *left -= piece;
    }
}

static enum err_code
inflate_error(const z_stream *stream, int status, struct err *err)
{
    if (status == Z_BUF_ERROR) {
        return err_set(err, ERR_SYNTAX, "compressed body: cut off after %lu bytes of input",
                       stream->total_in);
    }
    return err_set(err, ERR_SYNTAX, "compressed body: not gzip or zlib (%s)",
                   stream->msg ? stream->msg : "damaged");
}

/* Room for one step of output within both caps; NULL when there is none left. */
static char *
make_room(struct buf *out, size_t limit, size_t *ret_room)
{
    size_t room = limit - out->len < STEP_BYTES ? limit - out->len : STEP_BYTES;

    *ret_room = room;
    return room > 0 ? buf_reserve(out, room) : NULL;
}

static enum err_code
inflate_all(z_stream *stream, size_t left, size_t limit, struct buf *out, struct err *err)
{
    unsigned char beyond; /* proves that there is more than the limit */

    for (;;) {
        size_t room;
        char *to = make_room(out, limit, &room);
        feed(stream, &left);
        stream->next_out = to ? (unsigned char *)to : &beyond;
        stream->avail_out = to ? (uInt)room : 1;
        int status = inflate(stream, Z_NO_FLUSH);
        size_t got = (to ? room : 1) - stream->avail_out;
        if (!to && got > 0) {
            return err_set(err, ERR_TOO_LARGE, "decompressed body: over the limit of %zu bytes",
                           limit);
        }
        out->len += got;
        size_t rest = left + stream->avail_in;
        if (status == Z_STREAM_END) {
            if (rest == 0) {
                return ERR_OK;
            }
            if (!is_gzip(stream, rest)) {
                return err_set(err, ERR_SYNTAX, "compressed body: %zu bytes behind its end", rest);
            }
            status = inflateReset(stream);
        }
        if (status != Z_OK && !(status == Z_BUF_ERROR && rest > 0)) {
            return inflate_error(stream, status, err);
        }
        if (status == Z_OK && rest == 0 && got == 0 && stream->avail_out > 0) {
            return inflate_error(stream, Z_BUF_ERROR, err);
        }
    }
}

enum err_code
gzip_inflate(struct slice in, size_t max_bytes, struct buf *out, struct err *err)
{
    z_stream stream = {0};
    size_t before = out->len;
    size_t limit = max_bytes < out->max_bytes - before ? before + max_bytes : out->max_bytes;

    if (in.len == 0) {
        return err_set(err, ERR_SYNTAX, "compressed body: empty");
    }
    if (inflateInit2(&stream, WINDOW_ANY) != Z_OK) {
        return err_set(err, ERR_INTERNAL, "zlib cannot start");
    }
    stream.next_in = (const unsigned char *)in.ptr;
    enum err_code code = inflate_all(&stream, in.len, limit, out, err);
    inflateEnd(&stream);
    if (code != ERR_OK) {
        out->len = before;
    }
    return code;
}
