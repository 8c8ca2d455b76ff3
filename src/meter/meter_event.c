/* Taking events in: checked, redacted, copied. */
#include <math.h>
#include <string.h>

#include "base/id.h"
#include "codec/decimal.h"
#include "codec/time.h"
#include "codec/utf8.h"
#include "meter/meter_private.h"
#include "meter/redact.h"

enum { REDACTED_BYTES_MAX = 1 << 20 };

#define LATENCY_MS_MAX (1e12)

enum err_code
text_check(const char *field, struct slice text, size_t max, struct err *err)
{
    if (text.len > max) {
        return err_set(err, ERR_INVALID, "%s has %zu bytes, expected at most %zu", field, text.len,
                       max);
    }
    if (text.len > 0 && (!utf8_is_text(text) || memchr(text.ptr, '\0', text.len))) {
        return err_set(err, ERR_INVALID, "%s is not UTF-8 without NUL", field);
    }
    return ERR_OK;
}

static enum err_code
check_texts(const struct event *event, struct err *err)
{
    const struct {
        const char *field;
        struct slice text;
        size_t max;
    } texts[] = {{"id", event->id, METER_ID_MAX},
                 {"api_name", event->api_name, METER_TEXT_MAX},
                 {"endpoint", event->endpoint, METER_TEXT_MAX},
                 {"method", event->method, 32},
                 {"run_id", event->run_id, METER_TEXT_MAX},
                 {"error_message", event->error_message, METER_METADATA_MAX},
                 {"metadata", event->metadata_json, METER_METADATA_MAX},
                 {"key", event->api_key, METER_TEXT_MAX},
                 {"project", event->project, METER_TEXT_MAX},
                 {"reservation_id", event->reservation_id, METER_ID_MAX},
                 {"corrects", event->corrects, METER_ID_MAX}};
    enum err_code code = ERR_OK;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]) && code == ERR_OK; i++) {
        code = text_check(texts[i].field, texts[i].text, texts[i].max, err);
    }
    if (code == ERR_OK && event->api_name.len == 0) {
        code = err_set(err, ERR_INVALID, "api_name is missing, expected a text");
    }
    return code;
}

static enum err_code
check_values(const struct event *event, int64_t now_us, struct err *err)
{
    if (!isfinite(event->latency_ms) || event->latency_ms < 0 ||
        event->latency_ms > LATENCY_MS_MAX) {
        return err_set(err, ERR_INVALID,
                       "latency_ms is %g, expected milliseconds from 0 to 1000000000000",
                       event->latency_ms);
    }
    if (event->credits > DECIMAL_MAX || event->credits < -DECIMAL_MAX) {
        return err_set(err, ERR_INVALID,
                       "credits_cost is out of range, expected at most "
                       "999999999999.999999");
    }
    if (event->credits < 0 && event->corrects.len == 0) {
        return err_set(err, ERR_INVALID,
                       "credits_cost is below 0, expected 0 or more (only an "
                       "entry with `corrects` may take credits back)");
    }
    if (event->has_status && (event->status_code < 0 || event->status_code > 999)) {
        return err_set(err, ERR_INVALID, "status_code is %d, expected 0 to 999 or null",
                       event->status_code);
    }
    if (!event->timestamp_is_ours &&
        (!time_in_range(event->timestamp_us) ||
         event->timestamp_us > now_us + METER_FUTURE_MS_MAX * TIME_US_PER_MS)) {
        char text[TIME_TEXT_MAX] = "beyond the calendar";
        if (time_in_range(event->timestamp_us)) {
            time_format_iso8601(event->timestamp_us, text);
        }
        return err_set(err, ERR_INVALID, "timestamp is %s, expected at most 5 minutes from now",
                       text);
    }
    return ERR_OK;
}

typedef void redact_fn(struct slice text, struct buf *out);

static struct slice
keep_redacted(struct op *op, struct slice text, redact_fn *redact)
{
    BUF_AUTO struct buf out = {0};

    if (text.len == 0 || (redact == redact_text && redact_is_plain(text))) {
        return op_keep(op, text);
    }
    buf_init(&out, REDACTED_BYTES_MAX);
    redact(text, &out);
    return op_keep(op, out.overflow ? SLICE_LITERAL("[redacted]") : buf_slice(&out));
}

struct meter_call
call_redact(struct op *op, const struct meter_call *call)
{
    struct meter_call clean = *call;

    clean.endpoint = keep_redacted(op, call->endpoint, redact_url);
    clean.api_key = keep_redacted(op, call->api_key, redact_text);
    return clean;
}

static struct slice
make_id(struct op *op)
{
    char text[ID_UUID_LEN + 1];

    id_uuid7(op->at_us, text);
    return op_keep(op, slice_make(text, ID_UUID_LEN));
}

static bool
is_empty_json(struct slice text)
{
    struct slice trimmed = slice_trim(text);

    return slice_is(trimmed, "{}") || slice_is(trimmed, "null");
}

struct event_texts
texts_redact(struct op *op, struct slice error_message, struct slice metadata)
{
    struct err err;

    if (text_check("error_message", error_message, METER_METADATA_MAX, &err) != ERR_OK ||
        text_check("metadata", metadata, METER_METADATA_MAX, &err) != ERR_OK) {
        return (struct event_texts){0};
    }
    return (struct event_texts){.redacted = true,
                                .error_message = keep_redacted(op, error_message, redact_text),
                                .metadata_json = is_empty_json(metadata)
                                                     ? SLICE_LITERAL("")
                                                     : keep_redacted(op, metadata, redact_json)};
}

enum err_code
event_take(struct op *op, const struct event *from, int64_t now_us, struct event *ret_event,
           struct err *err)
{
    return event_take_with(op, from, now_us, &(struct event_texts){0}, ret_event, err);
}

enum err_code
event_take_with(struct op *op, const struct event *from, int64_t now_us,
                const struct event_texts *texts, struct event *ret_event, struct err *err)
{
    struct event_texts clean = *texts;
    enum err_code code = check_texts(from, err);

    if (code == ERR_OK) {
        code = check_values(from, now_us, err);
    }
    if (code != ERR_OK) {
        return code;
    }
    if (!clean.redacted) {
        clean = texts_redact(op, from->error_message, from->metadata_json);
    }
    struct event event = *from;
    event.id = from->id.len > 0 ? op_keep(op, from->id) : make_id(op);
    event.timestamp_us = from->timestamp_is_ours ? now_us : from->timestamp_us;
    event.created_us = now_us;
    event.api_name = op_keep(op, from->api_name);
    event.endpoint = from->endpoint.len > 0 ? keep_redacted(op, from->endpoint, redact_url)
                                            : SLICE_LITERAL("unknown");
    event.method = from->method.len > 0 ? op_keep(op, from->method) : SLICE_LITERAL("GET");
    event.run_id = op_keep(op, from->run_id);
    event.error_message = clean.error_message;
    event.metadata_json = clean.metadata_json;
    event.api_key = keep_redacted(op, from->api_key, redact_text);
    event.project = op_keep(op, from->project);
    event.reservation_id = op_keep(op, from->reservation_id);
    event.corrects = op_keep(op, from->corrects);
    event.price_rule = op_keep(op, from->price_rule);
    if (op->arena.overflow) {
        return err_set(err, ERR_TOO_LARGE, "the events of one request have more than %d MiB",
                       METER_OP_BYTES_MAX >> 20);
    }
    *ret_event = event;
    return ERR_OK;
}

struct call_scope
event_scope(const struct event *event)
{
    return (struct call_scope){.values = {[DIM_API] = event->api_name,
                                          [DIM_ENDPOINT] = event->endpoint,
                                          [DIM_KEY] = event->api_key,
                                          [DIM_RUN_ID] = event->run_id,
                                          [DIM_PROJECT] = event->project}};
}

struct call_scope
call_scope_of(const struct meter_call *call)
{
    return (struct call_scope){
        .values = {[DIM_API] = call->api_name,
                   [DIM_ENDPOINT] = call->endpoint.len ? call->endpoint : SLICE_LITERAL("unknown"),
                   [DIM_KEY] = call->api_key,
                   [DIM_RUN_ID] = call->run_id,
                   [DIM_PROJECT] = call->project}};
}
