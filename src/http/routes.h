/*
 * Latency and status counts by route. A route is known by the address of its static name; equal
 * names at different addresses are one route.
 *
 * Threads: all functions from any thread; recording takes no lock.
 */
#ifndef EIDER_HTTP_ROUTES_H
#define EIDER_HTTP_ROUTES_H

#include <stddef.h>
#include <stdint.h>

#include "http/http.h"

enum { HTTP_ROUTES_MAX = 256 }; /* further ones are counted under "other" */

struct http_routes;

struct http_routes *http_routes_new(void);
void http_routes_free(struct http_routes *routes); /* NULL is fine */

void http_routes_record(struct http_routes *routes, const char *static_name, int status,
                        int64_t latency_us);

/* The index-th route in the order of their first request; false past the last. */
bool http_routes_at(const struct http_routes *routes, size_t index,
                    struct http_route_stats *ret_stats);

#endif
