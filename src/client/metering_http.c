/*
 * Metering at an Eider server: POST /api/v1/spend/reserve, commit, release, and /api/v1/events.
 * What an answer means:
 *
 *   no answer, 429, 5xx            cannot be asked now
 *   503 CIRCUIT_BREAKER_TRIPPED    a budget refuses
 *   404, 412 to a commit           the reservation is gone: an event after the fact
 *   401, 403 when booking          as if it could not be asked: a token may be put right, and what
 * was spent must not be lost other 4xx                      denied
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/mem.h"
#include "client/metering.h"
#include "client/retry.h"
#include "client/transport.h"
#include "codec/decimal.h"
#include "codec/json_read.h"
#include "codec/json_write.h"

enum {
    ANSWER_BYTES_MAX = 1 << 20,
    ARENA_BYTES_MAX = 1 << 20,
    BODY_BYTES_MAX = 1 << 20,
    HTTP_TOO_MANY = 429,
    HTTP_UNAVAILABLE = 503,
    HTTP_SERVER_ERROR = 500
};

struct http_backend {
    struct metering_backend backend; /* first */
    struct transport *transport;
    struct eider_headers headers;
    char *url;
    int timeout_ms;
};

/* What this file reads of an answer. */
struct answer {
    int status; /* 0: none */
    char problem[METERING_DETAIL_MAX];
    char code[METERING_CODE_MAX];
    char reservation_id[METERING_ID_MAX];
    char event_id[METERING_ID_MAX];
    int64_t credits;
    bool has_credits;
    int64_t retry_after_ms;
};

static void
keep_text(char *to, size_t size, const struct scalar *value)
{
    if (value->type == SCALAR_STRING) {
        snprintf(to, size, "%.*s", (int)(value->text.len < size ? value->text.len : size),
                 value->text.ptr);
    }
}

static void
read_member(struct answer *answer, struct slice key, const struct scalar *value)
{
    int64_t micro;

    if (slice_is(key, "detail")) {
        keep_text(answer->problem, sizeof(answer->problem), value);
    } else if (slice_is(key, "code")) {
        keep_text(answer->code, sizeof(answer->code), value);
    } else if (slice_is(key, "reservation_id")) {
        keep_text(answer->reservation_id, sizeof(answer->reservation_id), value);
    } else if (slice_is(key, "event_id")) {
        keep_text(answer->event_id, sizeof(answer->event_id), value);
    } else if (slice_is(key, "credits") && value->type == SCALAR_NUMBER) {
        answer->has_credits = decimal_parse(value->text, &micro);
        answer->credits = answer->has_credits ? micro : 0;
    } else if (slice_is(key, "retry_after_ms") && value->type == SCALAR_NUMBER) {
        int64_t ms;
        if (number_to_i64(&value->number, &ms) && ms > 0) {
            answer->retry_after_ms = ms;
        }
    }
}

static void
read_answer(struct slice body, struct answer *answer)
{
    struct arena arena ARENA_AUTO;
    struct json_reader json;
    struct scalar value;
    struct slice key;

    arena_init(&arena, ARENA_BYTES_MAX);
    json_read_init(&json, body, &arena);
    if (!json_read_value(&json, &value) || value.type != SCALAR_OBJECT) {
        return;
    }
    while (json_read_key(&json, &key) && json_read_value(&json, &value)) {
        if (value.type >= SCALAR_OBJECT) {
            if (!json_read_rest(&json, &value)) {
                return;
            }
            continue;
        }
        read_member(answer, key, &value);
    }
}

static void
post(struct http_backend *backend, const char *path, struct slice body, struct answer *ret_answer)
{
    char url[2048];
    struct transport_answer got;
    struct transport_request request = {.method = "POST",
                                        .url = url,
                                        .headers = &backend->headers,
                                        .body = body,
                                        .has_body = true,
                                        .timeout_ms = backend->timeout_ms,
                                        .connect_timeout_ms = backend->timeout_ms,
                                        .body_bytes_max = ANSWER_BYTES_MAX};

    *ret_answer = (struct answer){0};
    snprintf(url, sizeof(url), "%s%s", backend->url, path);
    transport_answer_init(&got, ANSWER_BYTES_MAX);
    backend->transport->send(backend->transport, &request, &got);
    if (got.result == TRANSPORT_ANSWERED) {
        const char *after = headers_find(got.headers.items, got.headers.count, "Retry-After");
        ret_answer->status = got.status;
        snprintf(ret_answer->problem, sizeof(ret_answer->problem), "%s answered with status %d",
                 backend->url, got.status);
        if (after && !retry_after_parse(slice_of(after), clock_wall_us(clock_system()),
                                        &ret_answer->retry_after_ms)) {
            ret_answer->retry_after_ms = 0;
        }
        read_answer(buf_slice(&got.body), ret_answer);
    } else {
        snprintf(ret_answer->problem, sizeof(ret_answer->problem), "%s cannot be asked: %s",
                 backend->url, got.problem[0] ? got.problem : "the answer is too large");
    }
    transport_answer_fini(&got);
}

static bool
is_down(const struct answer *answer)
{
    return answer->status == 0 || answer->status == HTTP_TOO_MANY ||
           answer->status >= HTTP_SERVER_ERROR;
}

static void
put_text(struct json_writer *json, const char *key, const char *text)
{
    if (text && text[0]) {
        json_key(json, key);
        json_str(json, slice_of(text));
    }
}

static void
put_raw(struct json_writer *json, const char *key, struct slice value)
{
    if (value.len > 0) {
        json_key(json, key);
        json_raw(json, value);
    }
}

/* status_code, success, latency_ms, error_message, metadata. */
static void
put_outcome(struct json_writer *json, const struct metering_outcome *outcome)
{
    if (outcome->has_status) {
        json_key(json, "status_code");
        json_i64(json, outcome->status);
    }
    json_key(json, "success");
    json_bool(json, outcome->success);
    json_key(json, "latency_ms");
    json_f64(json, outcome->latency_ms);
    put_text(json, "error_message", outcome->error_message);
    put_raw(json, "metadata", slice_of(outcome->metadata_json));
}

/* What the price book may want to know. */
static void
put_price_facts(struct json_writer *json, const struct metering_call *call)
{
    put_raw(json, "params", call->params_json);
    if (call->query.len > 0) {
        json_key(json, "query");
        json_str(json, call->query);
    }
}

static enum metering_verdict
reserve(struct metering_backend *self, const struct metering_call *call,
        struct metering_grant *ret_grant, struct metering_refusal *ret_refusal)
{
    struct http_backend *backend = (struct http_backend *)(void *)self;
    struct buf body BUF_AUTO = {0};
    struct json_writer json;
    struct answer answer;

    buf_init(&body, BODY_BYTES_MAX);
    json_init(&json, &body);
    json_object_begin(&json);
    put_text(&json, "api_name", call->api_name);
    put_text(&json, "endpoint", call->endpoint);
    put_text(&json, "method", call->method);
    put_text(&json, "key", call->key);
    put_text(&json, "run_id", call->run_id);
    put_text(&json, "project", call->project);
    put_price_facts(&json, call);
    if (call->has_max) {
        json_key_decimal(&json, "max_credits", call->max_credits);
    }
    json_key(&json, "ttl_ms");
    json_i64(&json, call->ttl_ms);
    json_object_end(&json);
    post(backend, "/api/v1/spend/reserve", buf_slice(&body), &answer);
    if (answer.status == 200 && answer.reservation_id[0]) {
        snprintf(ret_grant->reservation_id, sizeof(ret_grant->reservation_id), "%s",
                 answer.reservation_id);
        ret_grant->credits = answer.credits;
        return METERING_DONE;
    }
    snprintf(ret_refusal->detail, sizeof(ret_refusal->detail), "%s", answer.problem);
    snprintf(ret_refusal->code, sizeof(ret_refusal->code), "%s", answer.code);
    ret_refusal->retry_after_ms = answer.retry_after_ms;
    if (answer.status == HTTP_UNAVAILABLE && strcmp(answer.code, "CIRCUIT_BREAKER_TRIPPED") == 0) {
        return METERING_REFUSED;
    }
    return is_down(&answer) ? METERING_DOWN : METERING_DENIED;
}

/* What an answer to something that books means. */
static enum metering_verdict
booked(const struct answer *answer, const struct metering_outcome *outcome,
       struct metering_receipt *ret_receipt)
{
    if (answer->status == 200 || answer->status == 201) {
        snprintf(ret_receipt->event_id, sizeof(ret_receipt->event_id), "%s", answer->event_id);
        ret_receipt->credits = answer->has_credits ? answer->credits : outcome->credits;
        return METERING_DONE;
    }
    if (is_down(answer) || answer->status == 401 || answer->status == 403) {
        return METERING_DOWN;
    }
    return METERING_DENIED;
}

static enum metering_verdict
commit(struct metering_backend *self, const char *reservation_id, const struct metering_call *call,
       const struct metering_outcome *outcome, struct metering_receipt *ret_receipt)
{
    struct http_backend *backend = (struct http_backend *)(void *)self;
    struct buf body BUF_AUTO = {0};
    struct json_writer json;
    struct answer answer;

    buf_init(&body, BODY_BYTES_MAX);
    json_init(&json, &body);
    json_object_begin(&json);
    put_text(&json, "reservation_id", reservation_id);
    put_text(&json, "event_id", outcome->event_id);
    if (outcome->has_credits) {
        json_key_decimal(&json, "credits", outcome->credits);
    } else {
        put_price_facts(&json, call);
    }
    json_key(&json, "overrun"); /* what was spent was spent */
    json_bool(&json, true);
    json_key(&json, "request_bytes");
    json_u64(&json, outcome->request_bytes);
    json_key(&json, "response_bytes");
    json_u64(&json, outcome->response_bytes);
    put_outcome(&json, outcome);
    json_object_end(&json);
    post(backend, "/api/v1/spend/commit", buf_slice(&body), &answer);
    if (answer.status == 404 || answer.status == 412) {
        return METERING_GONE;
    }
    return booked(&answer, outcome, ret_receipt);
}

static enum metering_verdict
release(struct metering_backend *self, const char *reservation_id)
{
    struct http_backend *backend = (struct http_backend *)(void *)self;
    struct buf body BUF_AUTO = {0};
    struct json_writer json;
    struct answer answer;

    buf_init(&body, BODY_BYTES_MAX);
    json_init(&json, &body);
    json_object_begin(&json);
    put_text(&json, "reservation_id", reservation_id);
    json_object_end(&json);
    post(backend, "/api/v1/spend/release", buf_slice(&body), &answer);
    if (answer.status == 200 || answer.status == 204) {
        return METERING_DONE;
    }
    return is_down(&answer) ? METERING_DOWN : METERING_DENIED;
}

static enum metering_verdict
event(struct metering_backend *self, const struct metering_call *call,
      const struct metering_outcome *outcome, struct metering_receipt *ret_receipt)
{
    struct http_backend *backend = (struct http_backend *)(void *)self;
    struct buf body BUF_AUTO = {0};
    struct json_writer json;
    struct answer answer;

    buf_init(&body, BODY_BYTES_MAX);
    json_init(&json, &body);
    json_object_begin(&json);
    put_text(&json, "id", outcome->event_id);
    json_key(&json, "timestamp");
    json_time_us(&json, outcome->started_us);
    put_text(&json, "api_name", call->api_name);
    put_text(&json, "endpoint", call->endpoint);
    put_text(&json, "method", call->method);
    put_text(&json, "api_key", call->key);
    put_text(&json, "run_id", call->run_id);
    put_text(&json, "project", call->project);
    if (outcome->has_credits) {
        json_key_decimal(&json, "credits_cost", outcome->credits);
    }
    put_outcome(&json, outcome);
    json_object_end(&json);
    post(backend, "/api/v1/events", buf_slice(&body), &answer);
    snprintf(answer.event_id, sizeof(answer.event_id), "%s", outcome->event_id);
    return booked(&answer, outcome, ret_receipt);
}

static void
free_http(struct metering_backend *self)
{
    struct http_backend *backend = (struct http_backend *)(void *)self;

    backend->transport->free(backend->transport);
    headers_fini(&backend->headers);
    free(backend->url);
    free(backend);
}

enum err_code
metering_http_new(const struct metering_http_options *options,
                  struct metering_backend **ret_backend, struct err *err)
{
    struct slice url = slice_of(options->url);
    struct buf bearer BUF_AUTO = {0};

    if ((!slice_starts(url, "http://") && !slice_starts(url, "https://")) || url.len > 1024) {
        return err_set(err, ERR_INVALID,
                       "eider_url is \"%.100s\"; expected an address such as "
                       "http://127.0.0.1:8000",
                       options->url);
    }
    buf_init(&bearer, HEADER_BYTES_MAX);
    buf_add_fmt(&bearer, "Bearer %s", options->token ? options->token : "");
    if (bearer.overflow || !headers_valid(slice_of("Authorization"), buf_slice(&bearer))) {
        return err_set(err, ERR_INVALID, "eider_token holds control characters or is too long");
    }
    while (url.len > 0 && url.ptr[url.len - 1] == '/') {
        url.len--;
    }
    struct http_backend *backend = mem_zalloc(1, sizeof(*backend));
    backend->backend = (struct metering_backend){.reserve = reserve,
                                                 .commit = commit,
                                                 .release = release,
                                                 .event = event,
                                                 .free = free_http};
    backend->transport = options->transport;
    backend->url = mem_strdup(url);
    backend->timeout_ms = options->timeout_ms;
    headers_set(&backend->headers, slice_of("Content-Type"), slice_of("application/json"));
    headers_set(&backend->headers, slice_of("Accept"), slice_of("application/json"));
    if (options->token) {
        headers_set(&backend->headers, slice_of("Authorization"), buf_slice(&bearer));
    }
    *ret_backend = &backend->backend;
    return ERR_OK;
}
