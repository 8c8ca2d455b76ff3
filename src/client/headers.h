/*
 * An ordered list of HTTP headers, names unique but for case. Owns copies of its texts; zeros are
 * an empty list. One thread at a time.
 */
#ifndef EIDER_CLIENT_HEADERS_H
#define EIDER_CLIENT_HEADERS_H

#include "base/slice.h"
#include "eider/client.h"

enum { HEADERS_MAX = 256, HEADER_BYTES_MAX = 16384 };

struct eider_headers {
    struct eider_header *items;
    size_t count;
};

void headers_fini(struct eider_headers *headers);

/* A name as RFC 9110 wants it, and a value without control characters but tab. */
bool headers_valid(struct slice name, struct slice value);

/* Sets one; false when it is not valid or there are HEADERS_MAX. */
bool headers_set(struct eider_headers *headers, struct slice name, struct slice value);
void headers_remove(struct eider_headers *headers, struct slice name);

/* NULL when there is none. */
const char *headers_find(const struct eider_header *items, size_t count, const char *name);

#endif
