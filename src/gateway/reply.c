/* What the client gets: the upstream's answer, or an error of ours. */
#include <stdio.h>

#include "codec/decimal.h"
#include "codec/json_write.h"
#include "gateway/gateway_private.h"

static void
add_retry_after(struct http_exchange *exchange, int seconds)
{
    char text[16];

    if (seconds > 0) {
        snprintf(text, sizeof(text), "%d", seconds);
        http_add_header(exchange, "Retry-After", slice_of(text));
    }
}

void
reply_error_json(struct http_exchange *exchange, int status, const char *code, const char *detail,
                 int retry_after_s)
{
    struct json_writer json;

    add_retry_after(exchange, retry_after_s);
    http_set_status(exchange, status);
    http_set_content_type(exchange, "application/json");
    buf_reset(http_out(exchange));
    json_init(&json, http_out(exchange));
    json_object_begin(&json);
    json_key(&json, "detail");
    json_cstr(&json, detail);
    json_key(&json, "code");
    json_cstr(&json, code);
    json_key(&json, "request_id");
    json_str(&json, http_request_id(exchange));
    json_object_end(&json);
    http_reply(exchange);
}

void
reply_refusal(struct call *call)
{
    const struct gateway_meter *meter = &call->gateway->options.meter;
    struct http_exchange *exchange = call->exchange;
    const struct refusal *refusal = &call->op.refusal;
    struct json_writer json;

    add_retry_after(exchange, meter->retry_after_s(refusal));
    http_set_status(exchange, 503);
    http_set_content_type(exchange, "application/json");
    json_init(&json, http_out(exchange));
    json_object_begin(&json);
    meter->refusal_json(refusal, &json);
    json_key(&json, "request_id");
    json_str(&json, http_request_id(exchange));
    json_object_end(&json);
    http_reply(exchange);
}

/* What the call costs as far as it is known, and the reservation it was made under. */
static void
add_own_fields(struct call *call, int64_t credits)
{
    char text[DECIMAL_TEXT_MAX];

    decimal_format(credits, text);
    http_add_header(call->exchange, "X-Eider-Credits", slice_of(text));
    http_add_header(call->exchange, "X-Eider-Reservation", slice_of(call->reservation_id));
}

/* Fields that the answer's own Connection names belong to that connection. */
static bool
is_listed(const struct call *call, struct slice name)
{
    struct slice rest = buf_slice(&call->head);
    struct slice line;
    struct slice field;

    while (slice_split(&rest, '\n', &line)) {
        slice_split(&line, ':', &field);
        if (slice_is_nocase(field, "Connection") && forward_is_listed(line, name)) {
            return true;
        }
    }
    return false;
}

static void
add_fields(struct call *call)
{
    struct arena *arena = http_arena(call->exchange);
    struct slice rest = buf_slice(&call->head);
    struct slice line;
    struct slice name;

    while (slice_split(&rest, '\n', &line)) {
        slice_split(&line, ':', &name);
        struct slice value = slice_trim(line);
        if (!forward_takes_answer(name, value) || is_listed(call, name)) {
            continue;
        }
        struct slice copy = arena_dup(arena, name);
        if (copy.len > 0) {
            http_add_header(call->exchange, copy.ptr, value);
        }
    }
}

void
reply_begin(struct call *call)
{
    bool bodyless = http_method(call->exchange) == HTTP_HEAD || call->status == 304;
    uint64_t size = call->length > 0 && !bodyless ? (uint64_t)call->length : 0;

    call->state = CALL_PASSING;
    http_set_status(call->exchange, call->status);
    add_fields(call);
    add_own_fields(call, call->spent + money_cost(call, size));
    http_reply_begin(call->exchange, call->length);
}

void
reply_end(struct call *call)
{
    switch (call->ending) {
    case ENDING_STREAM:
        http_reply_end(call->exchange);
        break;
    case ENDING_ERROR:
        add_own_fields(call, call->spent + call->attempt_cost);
        reply_error_json(call->exchange, call->fail_status, call->fail_code, call->fail_text,
                         call->fail_retry_s);
        break;
    case ENDING_CUT:
        http_reply_abort(call->exchange);
        break;
    }
    call->exchange = NULL;
}
