/* Kept answers and entity tags, between the routes and the handlers of history. */
#include <assert.h>

#include "api/answer_cache.h"
#include "api/api_private.h"

enum { US_PER_S = 1000000 };

static bool
has_changed(void *ctx, const struct answer_basis *basis)
{
    for (size_t i = 0; i < basis->part_count; i++) {
        const struct answer_part *part = &basis->parts[i];
        if (engine_changed(ctx, part->table, part->from_us, part->to_us, basis->lsn)) {
            return true;
        }
    }
    return false;
}

void
cached_open(struct api *api)
{
    api->answers =
        answer_cache_new((size_t)api->options.answer_cache_bytes, has_changed, api->engine);
}

/* What tells requests apart: method, target and body; empty when that is too much to keep. */
static struct slice
key_of(struct http_exchange *exchange)
{
    struct slice target = http_target(exchange);
    struct slice body = http_body(exchange);

    if (target.len + body.len > ANSWER_KEY_BYTES_MAX / 2) {
        return (struct slice){"", 0};
    }
    /* The answer to HEAD is that to GET, without its body. */
    enum http_method method = http_method(exchange);
    const char *text = arena_fmt(http_arena(exchange), "%s %.*s\n%.*s",
                                 http_method_name(method == HTTP_HEAD ? HTTP_GET : method),
                                 SLICE_FMT(target), SLICE_FMT(body));
    return text ? slice_of(text) : (struct slice){"", 0};
}

/* RFC 9110, 13.1.2: a list of tags, or "*"; weak ones are compared as if they were strong. */
static bool
client_has(const struct http_exchange *exchange, const char *etag)
{
    enum http_method method = http_method(exchange);
    struct slice list;
    struct slice tag;

    if ((method != HTTP_GET && method != HTTP_HEAD) ||
        !http_header(exchange, "If-None-Match", &list)) {
        return false;
    }
    if (slice_is(list, "*")) {
        return true;
    }
    for (bool more = true; more;) {
        more = slice_split(&list, ',', &tag);
        tag = slice_trim(tag);
        if (slice_starts(tag, "W/")) {
            tag = slice_sub(tag, 2, tag.len);
        }
        if (slice_is(tag, etag)) {
            return true;
        }
    }
    return false;
}

/* The body stands in the exchange, unless the client has it. */
static void
send(struct api *api, struct http_exchange *exchange, const char *etag, bool was_kept)
{
    http_add_header(exchange, "ETag", slice_of(etag));
    http_add_header(exchange, "Cache-Control", slice_of("private, no-cache"));
    if (client_has(exchange, etag)) {
        buf_reset(http_out(exchange));
        http_set_status(exchange, 304);
        if (was_kept) {
            answer_cache_count_304(api->answers);
        }
    }
    http_reply(exchange);
}

bool
cached_serve(struct api *api, struct http_exchange *exchange)
{
    struct slice key = key_of(exchange);

    if (key.len == 0) {
        return false;
    }
    struct answer *answer = answer_cache_find(api->answers, key, clock_mono_us(api->clock));
    if (!answer) {
        return false;
    }
    http_set_content_type(exchange, "application/json");
    buf_add_slice(http_out(exchange), answer->body);
    send(api, exchange, answer->etag, true);
    answer_unref(answer);
    return true;
}

void
cached_begin(struct api *api, struct answer_basis *ret_basis)
{
    *ret_basis =
        (struct answer_basis){.lsn = engine_applied_lsn(api->engine), .expires_mono_us = INT64_MAX};
}

void
cached_part(struct answer_basis *basis, enum table_id table, int64_t from_us, int64_t to_us)
{
    assert(basis->part_count < ANSWER_PARTS_MAX);
    basis->parts[basis->part_count++] = (struct answer_part){table, from_us, to_us};
}

void
cached_until_now(struct api *api, struct answer_basis *basis)
{
    basis->expires_mono_us = clock_mono_us(api->clock) + US_PER_S;
}

void
cached_reply(struct api *api, struct http_exchange *exchange, const struct answer_basis *basis)
{
    struct slice body = buf_slice(http_out(exchange));
    struct slice key = key_of(exchange);
    char etag[ANSWER_ETAG_BYTES];

    answer_etag(body, etag);
    if (key.len > 0 && !http_out(exchange)->overflow) {
        answer_cache_put(api->answers, key, body, etag, basis);
    }
    send(api, exchange, etag, false);
}
