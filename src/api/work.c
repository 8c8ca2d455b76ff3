/* /api/v1/admin/{work}: what an operator starts and looks after. */
#include <assert.h>

#include "api/api_private.h"

enum { HTTP_ACCEPTED = 202 };

void
api_add_work(struct api *api, const struct api_work *work)
{
    size_t count = atomic_load(&api->work_count);

    assert(count < API_WORKS_MAX);
    api->works[count] = *work;
    atomic_store(&api->work_count, count + 1);
}

/* NULL, and the exchange is answered, when there is none of this name. */
static const struct api_work *
find_work(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct slice name = route_segment(route, exchange);
    struct err err;

    for (size_t i = 0; i < atomic_load(&api->work_count); i++) {
        if (slice_is(name, api->works[i].name)) {
            return &api->works[i];
        }
    }
    if (slice_is(name, "backup")) {
        err_set(&err, ERR_NOT_FOUND,
                "this server makes no backups: set backup.dir in its configuration and start it "
                "again");
    } else {
        err_set(&err, ERR_NOT_FOUND, "there is no work \"%.*s\"; there is backup, and optimize",
                (int)(name.len < 40 ? name.len : 40), name.ptr);
    }
    reply_error(exchange, &err, 0);
    return NULL;
}

static void
reply_status(const struct api_work *work, struct http_exchange *exchange)
{
    struct json_writer json;

    reply_json(exchange, &json);
    json_object_begin(&json);
    work->status(work->ctx, &json);
    json_object_end(&json);
    http_reply(exchange);
}

void
get_work(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    const struct api_work *work = find_work(api, route, exchange);

    if (work) {
        reply_status(work, exchange);
    }
}

void
post_work(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    const struct api_work *work = find_work(api, route, exchange);
    struct err err;

    if (!work) {
        return;
    }
    if (work->ask(work->ctx, &err) != ERR_OK) {
        reply_error(exchange, &err, 0);
        return;
    }
    http_set_status(exchange, HTTP_ACCEPTED);
    reply_status(work, exchange);
}
