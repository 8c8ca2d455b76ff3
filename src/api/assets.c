/* The dashboard and the reference page, from the files embedded in the program. */
#include "api/api_private.h"
#include "web/web_assets.h"

static void
send_asset(struct http_exchange *exchange, const struct web_asset *asset)
{
    struct slice etag = slice_of(asset->etag);
    struct slice value;
    bool hashed = strncmp(asset->path, "/assets/", 8) == 0;

    http_add_header(exchange, "ETag", etag);
    http_add_header(exchange, "Vary", slice_of("Accept-Encoding, Accept"));
    http_add_header(exchange, "Cache-Control",
                    slice_of(hashed ? "public, max-age=31536000, immutable" : "no-cache"));
    http_add_header(exchange, "X-Content-Type-Options", slice_of("nosniff"));
    http_add_header(exchange, "Content-Security-Policy", slice_of(WEB_CONTENT_SECURITY_POLICY));
    if (http_header(exchange, "If-None-Match", &value) &&
        memmem(value.ptr, value.len, etag.ptr, etag.len)) {
        http_set_status(exchange, 304);
        http_reply(exchange);
        return;
    }
    http_set_content_type(exchange, asset->mime);
    if (asset->gzip.len > 0 && http_header(exchange, "Accept-Encoding", &value) &&
        memmem(value.ptr, value.len, "gzip", 4)) {
        http_add_header(exchange, "Content-Encoding", slice_of("gzip"));
        http_set_static_body(exchange, asset->gzip);
    } else {
        http_set_static_body(exchange, asset->body);
    }
    http_reply(exchange);
}

static void
send_path(struct http_exchange *exchange, struct slice path)
{
    const struct web_asset *asset = web_asset_find(path);
    struct err err;

    if (!asset) {
        err_set(&err, ERR_NOT_FOUND, "Not Found");
        reply_error(exchange, &err, 0);
        return;
    }
    send_asset(exchange, asset);
}

void
get_asset(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct slice path = http_path(exchange);

    (void)api;
    (void)route;
    send_path(exchange, slice_is(path, "/") ? slice_of("/index.html") : path);
}

void
get_docs(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    (void)api;
    (void)route;
    send_path(exchange, slice_of("/docs.html"));
}
