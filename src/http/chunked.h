/*
 * The chunked transfer coding (RFC 9112, 7.1), strictly. Pure: bytes in, runs of data out. Trailer
 * fields are checked and dropped.
 *
 *   SIZE -> (EXTENSION) -> SIZE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE ...
 *                          SIZE_LF of the last chunk -> TRAILER ... -> DONE
 */
#ifndef EIDER_HTTP_CHUNKED_H
#define EIDER_HTTP_CHUNKED_H

#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum http_chunked_state {
    HTTP_CHUNKED_SIZE, /* zeroed memory starts here */
    HTTP_CHUNKED_EXTENSION,
    HTTP_CHUNKED_SIZE_LF,
    HTTP_CHUNKED_DATA,
    HTTP_CHUNKED_DATA_CR,
    HTTP_CHUNKED_DATA_LF,
    HTTP_CHUNKED_TRAILER_START,
    HTTP_CHUNKED_TRAILER_NAME,
    HTTP_CHUNKED_TRAILER_VALUE,
    HTTP_CHUNKED_TRAILER_LF,
    HTTP_CHUNKED_END_LF,
    HTTP_CHUNKED_DONE,
    HTTP_CHUNKED_BAD,
};

struct http_chunked {
    enum http_chunked_state state;
    uint64_t left;   /* of the chunk in hand; while SIZE is read its value so far */
    unsigned digits; /* of the size */
    size_t extra;    /* bytes of extensions (of this chunk) or trailers so far */
};

/*
 * Takes bytes from the front of `bytes` until there is a run of data, the end, or nothing left, and
 * returns how many. *ret_data is the run (within `bytes`), or empty. Look at chunked->state for
 * HTTP_CHUNKED_DONE and HTTP_CHUNKED_BAD; both take nothing more.
 */
size_t http_chunked_take(struct http_chunked *chunked, struct slice bytes, struct slice *ret_data);

#endif
