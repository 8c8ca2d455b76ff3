/*
 * Who may talk to a server without a token. It listens on loopback, but browsers on the same
 * machine carry other people's pages: one may post to us (its Origin gives it away), or reach us
 * under a name of its own that resolves to 127.0.0.1 (its Host does; "DNS rebinding"). Programs
 * send neither.
 */
#include "api/api_private.h"
#include "http/origin.h"

/* A host without its port; brackets of an IPv6 address stay. */
static struct slice
without_port(struct slice host)
{
    if (host.len > 0 && host.ptr[0] == '[') {
        const char *end = memchr(host.ptr, ']', host.len);
        return end ? slice_sub(host, 0, (size_t)(end - host.ptr) + 1) : host;
    }
    struct slice name;
    slice_split(&host, ':', &name);
    return name;
}

static bool
is_loopback_name(struct slice host)
{
    struct slice name = without_port(host);

    if (slice_is_nocase(name, "localhost") || slice_is(name, "[::1]")) {
        return true;
    }
    if (!slice_starts(name, "127.")) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] != '.' && (name.ptr[i] < '0' || name.ptr[i] > '9')) {
            return false; /* 127.0.0.1.example.com */
        }
    }
    return true;
}

enum err_code
guard_request(const struct api *api, const struct http_exchange *exchange, struct err *err)
{
    enum http_method method = http_method(exchange);
    struct slice host = {"", 0};
    struct slice origin;

    if (api->need_token) {
        return ERR_OK; /* the token is the guard */
    }
    http_header(exchange, "Host", &host);
    if (api->options.loopback && host.len > 0 && !is_loopback_name(host)) {
        return err_set(err, ERR_FORBIDDEN,
                       "Host is \"%.*s\"; this server is for its own machine: expected localhost "
                       "or 127.0.0.1, or a server with a token",
                       SLICE_FMT(slice_sub(host, 0, 60)));
    }
    if (method == HTTP_GET || method == HTTP_HEAD || method == HTTP_OPTIONS ||
        !http_header(exchange, "Origin", &origin) ||
        http_origin_is_allowed(origin, host, api->options.cors_origins)) {
        return ERR_OK;
    }
    return err_set(err, ERR_FORBIDDEN,
                   "the page of Origin \"%.*s\" may not write here: add it to server.cors_origins",
                   SLICE_FMT(slice_sub(origin, 0, 60)));
}
