/* Percent-encoding and query strings (RFC 3986; application/x-www-form-urlencoded). Pure. */
#ifndef EIDER_HTTP_URI_H
#define EIDER_HTTP_URI_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/slice.h"

struct http_param {
    struct slice name;
    struct slice value;
};

/* Decodes a path; a path without '%' is returned as it is, others are copied to the arena. False on
 * '%' without two hex digits, on %00, and when the arena is full. */
bool http_path_decode(struct arena *arena, struct slice path, struct slice *ret_decoded);

/*
 * Splits a query at '&' and '=' and decodes both sides: '+' is a blank, a '%' that is not followed
 * by two hex digits stays as it is. Empty parts are left out. False when the arena is full.
 */
bool http_query_decode(struct arena *arena, struct slice query, struct http_param **ret_params,
                       size_t *ret_count);

#endif
