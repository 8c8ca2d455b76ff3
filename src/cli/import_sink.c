/* Writing batches of rows through the server's API or the engine. */
#include "cli/import_sink.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

enum {
    TRIES_MAX = 120,
    FINISH_TIMEOUT_MS = 10 * 60 * 1000,
    SERVER_WAIT_MS = 30000,
    ASK_AGAIN_MS = 20
};

static void
copy_text(struct slice text, char *dst, size_t size)
{
    slice_to_cstr(slice_sub(text, 0, size - 1), dst, size);
}

static void
add_error(struct sink_answer *answer, uint64_t row, struct slice field, struct slice value,
          struct slice expected)
{
    if (answer->error_count == SINK_ERRORS_MAX) {
        return;
    }
    struct sink_error *error = &answer->errors[answer->error_count++];
    error->row = row;
    copy_text(field, error->field, sizeof(error->field));
    copy_text(value, error->value, sizeof(error->value));
    copy_text(expected, error->expected, sizeof(error->expected));
}

/* ---- through the server ---- */

static struct slice
member(const json_t *object, const char *name)
{
    const json_t *text = json_object_get(object, name);

    return slice_make(json_string_value(text), json_string_length(text));
}

static void
read_errors(const json_t *body, struct sink_answer *answer)
{
    const json_t *list = json_object_get(body, "errors");
    size_t index;
    json_t *item;

    answer->rejected = (uint64_t)json_integer_value(json_object_get(body, "rejected"));
    json_array_foreach(list, index, item)
    {
        uint64_t row = (uint64_t)json_integer_value(json_object_get(item, "row"));
        add_error(answer, row, member(item, "field"), member(item, "value"),
                  member(item, "expected"));
    }
}

static void
make_path(const struct sink_request *request, struct buf *ret_path)
{
    static const char *const precisions[] = {
        [PRECISION_AUTO_US] = "auto", [PRECISION_NS] = "ns", [PRECISION_US] = "us",
        [PRECISION_MS] = "ms",        [PRECISION_S] = "s",
    };

    if (request->format == INGEST_LINE) {
        buf_add_cstr(ret_path, "/write?");
    } else {
        buf_add_fmt(ret_path, "/api/v1/ingest/%s?", request->table->name);
    }
    buf_add_fmt(ret_path, "on_error=%s", request->skip_bad_rows ? "skip" : "reject");
    if (request->precision != PRECISION_AUTO_US) {
        buf_add_fmt(ret_path, "&precision=%s", precisions[request->precision]);
    }
    buf_add_char(ret_path, '\0');
}

static enum err_code
write_to_server(struct client *client, const struct sink_request *request,
                struct sink_answer *answer, struct err *err)
{
    struct buf path BUF_AUTO = {0};
    struct client_reply reply;

    buf_init(&path, 0);
    make_path(request, &path);
    struct client_request message = {
        .path = path.ptr,
        .content_type = request->format == INGEST_LINE ? "text/plain" : "application/x-ndjson",
        .body = request->body,
        .idempotency_key = request->idempotency_key,
    };
    enum err_code code = client_send(client, &message, &reply, err);
    if (code != ERR_OK) {
        return code;
    }
    json_t *body = json_loadb(reply.body.ptr, reply.body.len, 0, NULL);
    read_errors(body, answer);
    json_decref(body);
    answer->replayed = reply.replayed;
    answer->retry_after_s = reply.retry_after_s;
    if (reply.status >= 200 && reply.status < 300) {
        return ERR_OK;
    }
    answer->refused = answer->error_count > 0;
    return answer->refused ? ERR_OK : client_refusal(client, &reply, err);
}

/* ---- through the engine ---- */

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool is_done;
    enum err_code code;
    struct err err;
    struct sink_answer *answer;
};

static void
take_answer(void *ctx, const struct ingest_answer *answer)
{
    struct waiter *waiter = ctx;

    pthread_mutex_lock(&waiter->lock);
    waiter->code = answer->code;
    if (answer->err) {
        waiter->err = *answer->err;
    }
    waiter->answer->rejected = answer->rejected;
    waiter->answer->replayed = answer->replayed;
    waiter->answer->retry_after_s = answer->retry_after_s;
    for (size_t i = 0; i < answer->error_count; i++) {
        const struct ingest_row_error *error = &answer->errors[i];
        add_error(waiter->answer, error->row, error->field, error->value, error->expected);
    }
    waiter->is_done = true;
    pthread_cond_signal(&waiter->done);
    pthread_mutex_unlock(&waiter->lock);
}

static enum err_code
write_to_engine(struct ingest *ingest, const struct sink_request *request,
                struct sink_answer *answer, struct err *err)
{
    struct waiter waiter = {.answer = answer};
    struct ingest_request submit = {
        .body = request->body,
        .format = request->format,
        .table = request->table,
        .precision = request->precision,
        .skip_bad_rows = request->skip_bad_rows,
        .idempotency_key = slice_of(request->idempotency_key),
    };

    pthread_mutex_init(&waiter.lock, NULL);
    pthread_cond_init(&waiter.done, NULL);
    ingest_submit(ingest, &submit, take_answer, &waiter);
    pthread_mutex_lock(&waiter.lock);
    while (!waiter.is_done) {
        pthread_cond_wait(&waiter.done, &waiter.lock);
    }
    pthread_mutex_unlock(&waiter.lock);
    pthread_cond_destroy(&waiter.done);
    pthread_mutex_destroy(&waiter.lock);
    if (waiter.code == ERR_OK) {
        return ERR_OK;
    }
    answer->refused = answer->error_count > 0;
    if (answer->refused) {
        return ERR_OK;
    }
    return err_set(err, waiter.code, "%s", waiter.err.msg);
}

enum err_code
sink_write(struct target *target, const struct sink_request *request,
           struct sink_answer *ret_answer, struct err *err)
{
    enum err_code code = ERR_OK;

    for (int i = 0; i < TRIES_MAX; i++) {
        memset(ret_answer, 0, sizeof(*ret_answer));
        code = target->client ? write_to_server(target->client, request, ret_answer, err)
                              : write_to_engine(target->ingest, request, ret_answer, err);
        /* Only what says when to come back is worth another try. */
        if ((code != ERR_BUSY && code != ERR_UNAVAILABLE) || ret_answer->retry_after_s == 0) {
            break;
        }
        struct timespec pause = {.tv_sec =
                                     ret_answer->retry_after_s > 5 ? 5 : ret_answer->retry_after_s};
        nanosleep(&pause, NULL);
    }
    return code;
}

/* The server's LSNs; false when it does not say. */
static bool
ask_lsns(struct client *client, uint64_t *ret_durable, uint64_t *ret_applied)
{
    const struct client_request request = {.path = "/health"};
    struct client_reply reply;
    struct err err;

    if (client_send(client, &request, &reply, &err) != ERR_OK) {
        return false;
    }
    json_t *health = json_loadb(reply.body.ptr, reply.body.len, 0, NULL);
    const json_t *durable = json_object_get(health, "durable_lsn");
    const json_t *applied = json_object_get(health, "applied_lsn");
    bool known = json_is_integer(durable) && json_is_integer(applied);
    *ret_durable = known ? (uint64_t)json_integer_value(durable) : 0;
    *ret_applied = known ? (uint64_t)json_integer_value(applied) : 0;
    json_decref(health);
    return known;
}

/* Waits until queries of the server see what was written. That it is durable is known already, so a
 * server that takes too long, or does not say, is no failure. */
static void
await_server(struct client *client)
{
    const struct timespec pause = {.tv_nsec = ASK_AGAIN_MS * 1000000L};
    uint64_t wanted;
    uint64_t durable;
    uint64_t applied;
    bool known = ask_lsns(client, &wanted, &applied);

    for (int waited_ms = 0; known && applied < wanted && waited_ms < SERVER_WAIT_MS;
         waited_ms += ASK_AGAIN_MS) {
        nanosleep(&pause, NULL);
        known = ask_lsns(client, &durable, &applied);
    }
}

enum err_code
sink_finish(struct target *target, struct err *err)
{
    struct engine_status status;

    if (!target->engine) {
        await_server(target->client);
        return ERR_OK;
    }
    engine_status(target->engine, &status);
    if (status.durable_lsn == 0) {
        return ERR_OK;
    }
    return engine_wait_applied(target->engine, status.durable_lsn, FINISH_TIMEOUT_MS, err);
}
