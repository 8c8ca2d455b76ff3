/*
 * The head of an HTTP/1.x request, strictly by RFC 9112: what two readers could understand
 * differently is refused. Pure: bytes in, values out.
 *
 * Two steps, so that a head may arrive in any pieces: http_scan looks at each byte once until the
 * empty line is there (and refuses bare line feeds at once), http_head_parse then reads the whole.
 */
#ifndef EIDER_HTTP_HEAD_H
#define EIDER_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "http/http.h"

enum { HTTP_FIELDS_MAX = 100 };

struct http_field {
    struct slice name;
    struct slice value; /* without blanks around it */
};

/* All slices point into the bytes that were parsed. */
struct http_head {
    enum http_method method;
    int minor; /* of HTTP/1.x: 0 or 1 */
    struct slice target;
    struct slice path;  /* still percent-encoded; "*" only for OPTIONS */
    struct slice query; /* behind the '?', still encoded */
    struct slice host;  /* of the target if it is absolute, else of the Host header */
    struct slice request_id;
    struct slice user_agent;
    uint64_t content_length; /* 0 when there is none */
    bool chunked;
    bool keep_alive;
    bool expect_continue;
    size_t field_count;
    struct http_field fields[HTTP_FIELDS_MAX];
};

/* Why a request is refused: status and a sentence for the client. */
struct http_fault {
    int status;
    const char *detail;
};

/* How far the search for the end of a head has come; zeroed for a new head. */
struct http_scan {
    size_t at;   /* bytes looked at */
    size_t line; /* where the line in hand starts */
    size_t skip; /* 2 when one empty line came before the request line (RFC 9112, 2.2) */
};

enum http_scan_result {
    HTTP_SCAN_MORE,
    HTTP_SCAN_END, /* *ret_len bytes, the skipped ones included, are the whole head */
    HTTP_SCAN_BAD, /* fault is filled */
};

/* Looks on in `bytes`, which begins with what was given before and has more behind it. */
enum http_scan_result http_scan(struct http_scan *scan, struct slice bytes, size_t *ret_len,
                                struct http_fault *fault);

/* Reads a whole head, from the first byte of the request line to the empty line. False: refused,
 * fault says why and *head is undefined. */
bool http_head_parse(struct slice bytes, struct http_head *head, struct http_fault *fault);

/* Value of the first field of that name in any case; false when there is none. */
bool http_head_find(const struct http_head *head, const char *name, struct slice *ret_value);

/* Whether a comma-separated list in a field of that name (all its lines) has the token. */
bool http_head_has_token(const struct http_head *head, const char *name, const char *token);

/* Whether the byte may be part of a token, e.g. a method or a field name (RFC 9110, 5.6.2). */
bool http_is_token_char(char c);

/* Whether the byte may be part of a field value: visible, blank, or above 127. */
bool http_is_value_char(char c);

#endif
