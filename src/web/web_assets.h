/*
 * The dashboard and the API reference: the files of web/dist, embedded at build time by
 * scripts/embed. Everything is constant and lives as long as the program.
 *
 * A server sends `body`, or `gzip` with Content-Encoding: gzip to those who accept it (and Vary:
 * Accept-Encoding with both). Files under /assets/ have a hash in their names and never change; the
 * others must be asked for again each time (Cache-Control: no-cache) and are then answered with
 * 304.
 *
 * Threads: any.
 */
#ifndef EIDER_WEB_WEB_ASSETS_H
#define EIDER_WEB_WEB_ASSETS_H

#include <stddef.h>

#include "base/slice.h"

/* The strictest Content-Security-Policy that both pages work under; the browser tests use it. */
#define WEB_CONTENT_SECURITY_POLICY                                                                \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "                    \
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

struct web_asset {
    const char *path;  /* "/index.html", "/docs.html", "/assets/index-1a2b3c4d.js" */
    const char *mime;  /* with charset where it is text */
    const char *etag;  /* quoted, from the SHA-256 of body */
    struct slice body; /* the file */
    struct slice gzip; /* the same as one gzip member; empty when that would not be smaller */
};

/* All files, in order of their paths. */
const struct web_asset *web_assets(size_t *ret_count);

/* The file of this path, or NULL. "/" is no file: the page is "/index.html". */
const struct web_asset *web_asset_find(struct slice path);

#endif
