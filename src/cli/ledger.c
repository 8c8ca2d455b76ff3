/* Opening the event log and writing to it. */
#include "cli/ledger.h"

#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "codec/decimal.h"
#include "codec/json_write.h"
#include "meter/meter.h"

enum {
    TRIES_MAX = 5,
    LOCK_WAIT_MS = 10000,
    LOCK_PAUSE_MS = 5,
    SETTLE_MS = 600000,
    BODY_BYTES_MAX = 64 << 20
};

/*
 * The command line looks an id up in the store instead of keeping recent ones in memory: it lives
 * for one call. Budgets, breakers and reservations are the server's; here nothing is refused.
 */
static enum err_code
open_meter(struct ledger *ledger, struct err *err)
{
    struct meter_options options = {.clock = ledger->cli->clock, .ids_recent_max = 1024};

    meter_engine_io(ledger->target.engine, &options.io);
    return meter_open(&options, &ledger->meter, err);
}

/* Calls come at the same time, each as a process of its own: they take turns. */
static enum err_code
open_in_turn(struct cli *cli, const struct config *config, enum target_use use,
             struct target *ret_target, struct err *err)
{
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000000L};
    enum err_code code = target_open(cli, config, use, ret_target, err);

    for (int waited = 0; code == ERR_CONFLICT && waited < LOCK_WAIT_MS; waited += LOCK_PAUSE_MS) {
        nanosleep(&pause, NULL);
        code = target_open(cli, config, use, ret_target, err);
    }
    return code;
}

enum err_code
ledger_open(struct cli *cli, const struct config *config, enum ledger_use use,
            struct ledger *ret_ledger, struct err *err)
{
    struct ledger ledger = {.cli = cli};
    enum err_code code = open_in_turn(
        cli, config, use == LEDGER_WRITE ? TARGET_ENGINE : TARGET_READ, &ledger.target, err);

    if (code == ERR_OK && use == LEDGER_WRITE && ledger.target.engine) {
        code = open_meter(&ledger, err);
        if (code != ERR_OK) {
            target_close(&ledger.target);
        }
    }
    if (code == ERR_OK) {
        *ret_ledger = ledger;
    }
    return code;
}

void
ledger_close(struct ledger *ledger)
{
    meter_close(ledger->meter);
    ledger->meter = NULL;
    target_close(&ledger->target);
}

/* Whether queries of the server see the record, or it does not say. */
static bool
is_applied(struct client *client, uint64_t lsn)
{
    const struct client_request request = {.path = "/health"};
    struct client_reply reply;
    struct err err;

    if (client_send(client, &request, &reply, &err) != ERR_OK) {
        return true;
    }
    json_t *health = json_loadb(reply.body.ptr, reply.body.len, 0, NULL);
    const json_t *applied = json_object_get(health, "applied_lsn");
    bool seen = !json_is_integer(applied) || (uint64_t)json_integer_value(applied) >= lsn;
    json_decref(health);
    return seen;
}

enum err_code
ledger_settle(struct ledger *ledger, struct err *err)
{
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000000L};
    struct engine_status status;

    if (!ledger->target.engine) {
        for (int waited = 0; ledger->lsn && !is_applied(ledger->target.client, ledger->lsn) &&
                             waited < LOCK_WAIT_MS;
             waited += LOCK_PAUSE_MS) {
            nanosleep(&pause, NULL);
        }
        return ERR_OK;
    }
    engine_status(ledger->target.engine, &status);
    return status.durable_lsn == 0
               ? ERR_OK
               : engine_wait_applied(ledger->target.engine, status.durable_lsn, SETTLE_MS, err);
}

void
ledger_add_escaped(struct buf *path, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '-' || c == '_' || c == '.' || c == '~' || c == ':';
        if (plain) {
            buf_add_char(path, (char)c);
        } else {
            buf_add_fmt(path, "%%%02X", c);
        }
    }
}

void
ledger_add_param(struct buf *path, const char *name, struct slice value)
{
    bool more = path->len > 0 && memchr(path->ptr, '?', path->len);

    buf_add_fmt(path, "%c%s=", more ? '&' : '?', name);
    ledger_add_escaped(path, value);
}

/*
 * A server that is just starting, or busy, says when to come back. A budget that refuses says so
 * too, but it is an answer.
 */
static enum err_code
ask_patiently(struct client *client, const struct client_request *request,
              struct client_reply *ret_reply, struct err *err)
{
    static const char refusal[] = "CIRCUIT_BREAKER_TRIPPED";
    enum err_code code = client_send(client, request, ret_reply, err);

    for (int i = 0; i < TRIES_MAX && code == ERR_OK; i++) {
        bool again =
            (ret_reply->status == 503 || ret_reply->status == 429) &&
            ret_reply->retry_after_s > 0 &&
            !memmem(ret_reply->body.ptr, ret_reply->body.len, refusal, sizeof(refusal) - 1);
        if (!again) {
            break;
        }
        struct timespec pause = {.tv_sec =
                                     ret_reply->retry_after_s > 2 ? 2 : ret_reply->retry_after_s};
        nanosleep(&pause, NULL);
        code = client_send(client, request, ret_reply, err);
    }
    return code;
}

enum err_code
ledger_ask(struct client *client, const struct client_request *request, json_t **ret_answer,
           struct err *err)
{
    struct client_reply reply;
    enum err_code code = ask_patiently(client, request, &reply, err);

    if (code != ERR_OK) {
        return code;
    }
    if (reply.status < 200 || reply.status >= 300) {
        return client_refusal(client, &reply, err);
    }
    json_t *answer = json_loadb(reply.body.ptr, reply.body.len, 0, NULL);
    if (!json_is_object(answer)) {
        json_decref(answer);
        return err_set(err, ERR_INTERNAL,
                       "%s answered %.100s with something that is no JSON object",
                       client_url(client), request->path);
    }
    *ret_answer = answer;
    return ERR_OK;
}

/* ---- through the server ---- */

static void
add_text(struct json_writer *json, const char *key, struct slice text)
{
    if (text.len > 0) {
        json_key(json, key);
        json_str(json, text);
    }
}

/* One entry as POST /api/v1/events takes it: without what is left to the meter, and without
 * created_at, since a server notes itself when an entry came. */
static void
write_event(struct json_writer *json, const struct event *event)
{
    char credits[DECIMAL_TEXT_MAX];

    json_object_begin(json);
    add_text(json, "id", event->id);
    if (!event->timestamp_is_ours) {
        json_key(json, "timestamp");
        json_time_us(json, event->timestamp_us);
    }
    add_text(json, "api_name", event->api_name);
    add_text(json, "endpoint", event->endpoint);
    add_text(json, "method", event->method);
    if (event->has_status) {
        json_key(json, "status_code");
        json_i64(json, event->status_code);
    }
    json_key(json, "success");
    json_bool(json, event->success);
    json_key(json, "latency_ms");
    json_f64(json, event->latency_ms);
    if (!event->credits_are_ours) {
        json_key(json, "credits_cost");
        json_raw(json, slice_make(credits, decimal_format(event->credits, credits)));
    }
    add_text(json, "run_id", event->run_id);
    add_text(json, "error_message", event->error_message);
    if (event->metadata_json.len > 0) {
        json_key(json, "metadata");
        json_raw(json, event->metadata_json);
    }
    add_text(json, "key", event->api_key);
    add_text(json, "project", event->project);
    add_text(json, "corrects", event->corrects);
    json_object_end(json);
    json_newline(json);
}

static enum err_code
append_by_server(struct ledger *ledger, const struct event *events, size_t count,
                 struct ledger_appended *ret_appended, struct err *err)
{
    struct buf body BUF_AUTO = {0};
    struct json_writer json;
    json_t *answer = NULL;

    buf_init(&body, BODY_BYTES_MAX);
    json_init(&json, &body);
    for (size_t i = 0; i < count; i++) {
        write_event(&json, &events[i]);
    }
    if (body.overflow) {
        return err_set(err, ERR_TOO_LARGE, "%zu events are larger than %d bytes", count,
                       BODY_BYTES_MAX);
    }
    struct client_request request = {
        .path = "/api/v1/events", .content_type = "application/x-ndjson", .body = buf_slice(&body)};
    enum err_code code = ledger_ask(ledger->target.client, &request, &answer, err);
    if (code != ERR_OK) {
        return code;
    }
    *ret_appended = (struct ledger_appended){
        .stored = (size_t)json_integer_value(json_object_get(answer, "accepted")),
        .duplicates = (size_t)json_integer_value(json_object_get(answer, "duplicates")),
    };
    const char *id = json_string_value(json_array_get(json_object_get(answer, "ids"), 0));
    snprintf(ret_appended->first_id, sizeof(ret_appended->first_id), "%s", id ? id : "");
    uint64_t lsn = (uint64_t)json_integer_value(json_object_get(answer, "lsn"));
    ledger->lsn = lsn > ledger->lsn ? lsn : ledger->lsn;
    json_decref(answer);
    return ERR_OK;
}

/* ---- through the meter ---- */

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool is_done;
    enum err_code code;
    struct err err;
    struct ledger_appended appended;
};

static void
take_answer(void *ctx, const struct meter_answer *answer)
{
    struct waiter *waiter = ctx;

    pthread_mutex_lock(&waiter->lock);
    waiter->code = answer->code;
    if (answer->err) {
        waiter->err = *answer->err;
    }
    waiter->appended.stored = answer->stored;
    waiter->appended.duplicates = answer->duplicates;
    if (answer->item_count > 0) {
        snprintf(waiter->appended.first_id, sizeof(waiter->appended.first_id), "%s",
                 answer->items[0].id);
    }
    waiter->is_done = true;
    pthread_cond_signal(&waiter->done);
    pthread_mutex_unlock(&waiter->lock);
}

static enum err_code
append_by_meter(struct ledger *ledger, const struct event *events, size_t count,
                struct ledger_appended *ret_appended, struct err *err)
{
    struct waiter waiter = {0};
    struct meter_append append = {.events = events, .count = count, .may_block = true};

    pthread_mutex_init(&waiter.lock, NULL);
    pthread_cond_init(&waiter.done, NULL);
    meter_append(ledger->meter, &append, take_answer, &waiter);
    pthread_mutex_lock(&waiter.lock);
    while (!waiter.is_done) {
        pthread_cond_wait(&waiter.done, &waiter.lock);
    }
    pthread_mutex_unlock(&waiter.lock);
    pthread_cond_destroy(&waiter.done);
    pthread_mutex_destroy(&waiter.lock);
    if (waiter.code != ERR_OK) {
        return err_set(err, waiter.code, "%s", waiter.err.msg);
    }
    *ret_appended = waiter.appended;
    return ERR_OK;
}

enum err_code
ledger_append(struct ledger *ledger, const struct event *events, size_t count,
              struct ledger_appended *ret_appended, struct err *err)
{
    return ledger->target.client ? append_by_server(ledger, events, count, ret_appended, err)
                                 : append_by_meter(ledger, events, count, ret_appended, err);
}
