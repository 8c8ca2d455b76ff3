/* Decompression of request bodies (RFC 1952 gzip, RFC 1950 zlib) with a cap. Pure. */
#ifndef EIDER_CODEC_GZIP_H
#define EIDER_CODEC_GZIP_H

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

/*
 * Appends what `in` holds to `out`: one zlib stream, or one gzip member or several one behind the
 * other. Errors, with `out` as it was: ERR_SYNTAX for bytes that are no such stream, are cut off or
 * fail their checksum; ERR_TOO_LARGE for more than max_bytes of output (or than `out` may hold).
 */
enum err_code gzip_inflate(struct slice in, size_t max_bytes, struct buf *out, struct err *err);

#endif
