/* The opening handshake of a WebSocket (RFC 6455, 4.2). Pure. */
#ifndef EIDER_HTTP_WS_HANDSHAKE_H
#define EIDER_HTTP_WS_HANDSHAKE_H

#include <stdbool.h>

#include "http/head.h"

enum { WS_ACCEPT_LEN = 28 };

/*
 * Checks an upgrade request: GET, HTTP/1.1, no body, the tokens, version 13, a key of 16 bytes, and
 * the Origin: absent, of the same host as the request, or in `origins` (NULL, or ending in NULL;
 * "*" allows all). Fills the value of Sec-WebSocket-Accept. False: fault has status 400, 403 or
 * 426.
 */
bool ws_handshake_check(const struct http_head *head, const char *const *origins,
                        char ret_accept[WS_ACCEPT_LEN + 1], struct http_fault *fault);

#endif
