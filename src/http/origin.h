/* Whether a page of some origin may talk to us: one rule for WebSocket upgrades and for writes.
 * Pure; any thread. */
#ifndef EIDER_HTTP_ORIGIN_H
#define EIDER_HTTP_ORIGIN_H

#include <stdbool.h>

#include "base/slice.h"

/*
 * True when `origin` (the header's value) is that of `host` (the Host header's), the port that the
 * scheme implies left out or not, or stands in `origins` (NULL, or ending in NULL; "*" is any).
 */
bool http_origin_is_allowed(struct slice origin, struct slice host, const char *const *origins);

#endif
