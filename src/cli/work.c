/* Waiting for a server's work. */
#include "cli/work.h"

#include <stdio.h>
#include <time.h>

#include "base/mem.h"
#include "cli/progress.h"

enum { POLL_NS = 100000000 };

static enum err_code
ask(struct client *client, const struct client_request *request, long wanted, json_t **ret_status,
    struct err *err)
{
    struct client_reply reply;
    enum err_code code = client_send(client, request, &reply, err);

    if (code != ERR_OK) {
        return code;
    }
    if (reply.status != wanted) {
        return client_refusal(client, &reply, err);
    }
    *ret_status = json_loadb(reply.body.ptr, reply.body.len, 0, NULL);
    return *ret_status ? ERR_OK
                       : err_set(err, ERR_INTERNAL, "%s answered with no JSON", client_url(client));
}

static bool
is_running(const json_t *status)
{
    const char *state = json_string_value(json_object_get(status, "state"));

    return state && state[0] == 'r';
}

enum err_code
work_run(struct cli *cli, struct client *client, const char *name, json_t **ret_result,
         struct err *err)
{
    const struct timespec pause = {.tv_nsec = POLL_NS};
    struct progress progress;
    json_t *status = NULL;
    char path[64];

    snprintf(path, sizeof(path), "/api/v1/admin/%s", name);
    const struct client_request post = {
        .path = path, .content_type = "application/json", .body = SLICE_LITERAL("{}")};
    const struct client_request get = {.path = path};
    enum err_code code = ask(client, &post, 202, &status, err);
    progress_start(&progress, cli, name);
    while (code == ERR_OK && is_running(status)) {
        nanosleep(&pause, NULL);
        json_decref(status);
        status = NULL;
        code = ask(client, &get, 200, &status, err);
        progress_update(&progress, -1, 0);
    }
    progress_end(&progress);
    if (code == ERR_OK) {
        const char *why = json_string_value(json_object_get(status, "error"));
        if (why) {
            code = err_set(err, ERR_INTERNAL, "%s", why);
        } else {
            *ret_result = json_incref(json_object_get(status, "result"));
        }
    }
    json_decref(status);
    return code;
}
