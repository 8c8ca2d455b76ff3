/* Arguments and answers of the original event log's program. */
#include "cli/eventlog_compat.h"

#include <inttypes.h>
#include <math.h>

#include "cli/python_json.h"
#include "codec/decimal.h"
#include "codec/json_read.h"
#include "codec/time.h"

enum { SHOWN_MAX = 60 };

/* Where Python says that reading stopped. */
static enum err_code
refuse_json(struct slice text, const struct json_reader *json, struct err *err)
{
    size_t line = 1;
    size_t column = 1;

    for (size_t i = 0; i < json->error_offset && i < text.len; i++) {
        bool newline = text.ptr[i] == '\n';
        line += newline;
        column = newline ? 1 : column + 1;
    }
    return err_set(err, ERR_SYNTAX, "Invalid JSON: Expecting %s: line %zu column %zu (char %zu)",
                   json->expected, line, column, json->error_offset);
}

static enum err_code
refuse_field(const char *name, const struct scalar *value, const char *expected, struct err *err)
{
    return err_set(err, ERR_INVALID, "%s is %.*s; expected %s", name,
                   SLICE_FMT(slice_sub(value->text, 0, SHOWN_MAX)), expected);
}

static enum err_code
take_text(const char *name, const struct scalar *value, struct slice *ret_text, struct err *err)
{
    if (value->type == SCALAR_NULL) {
        return ERR_OK;
    }
    /* A number as an id or a run_id went into the original's text column as it stood. */
    if (value->type != SCALAR_STRING && value->type != SCALAR_NUMBER) {
        return refuse_field(name, value, "a text", err);
    }
    *ret_text = value->text;
    return ERR_OK;
}

static enum err_code
take_number(const char *name, const struct scalar *value, double *ret_number, struct err *err)
{
    if (value->type == SCALAR_NULL) {
        return ERR_OK;
    }
    if (value->type != SCALAR_NUMBER || !number_to_f64(&value->number, ret_number)) {
        return refuse_field(name, value, "a number", err);
    }
    return ERR_OK;
}

static enum err_code
take_timestamp(const struct scalar *value, struct event *event, struct err *err)
{
    if (value->type == SCALAR_NULL) {
        return ERR_OK;
    }
    if (value->type != SCALAR_STRING || !time_parse_iso8601(value->text, &event->timestamp_us)) {
        return refuse_field("timestamp", value, "a time such as 2026-01-31T12:00:00.000Z", err);
    }
    event->timestamp_is_ours = false;
    return ERR_OK;
}

static enum err_code
take_status(const struct scalar *value, struct event *event, struct err *err)
{
    int64_t status;

    if (value->type == SCALAR_NULL) {
        return ERR_OK;
    }
    if (value->type != SCALAR_NUMBER || !number_to_i64(&value->number, &status) ||
        status != (int32_t)status) {
        return refuse_field("status_code", value, "a whole number or null", err);
    }
    event->has_status = true;
    event->status_code = (int32_t)status;
    return ERR_OK;
}

static enum err_code
take_success(const struct scalar *value, struct event *event, struct err *err)
{
    double number = 0;

    if (value->type == SCALAR_BOOL) {
        event->success = value->boolean;
        return ERR_OK;
    }
    if (value->type == SCALAR_NUMBER && number_to_f64(&value->number, &number)) {
        event->success = number != 0;
        return ERR_OK;
    }
    return value->type == SCALAR_NULL ? ERR_OK
                                      : refuse_field("success", value, "true or false", err);
}

/* The original kept a double: what has more than six decimals goes to the nearest millionth. */
static enum err_code
take_credits(const struct scalar *value, struct event *event, struct err *err)
{
    double number;

    if (value->type == SCALAR_NULL ||
        (value->type == SCALAR_NUMBER && decimal_parse(value->text, &event->credits))) {
        return ERR_OK;
    }
    if (value->type != SCALAR_NUMBER || !number_to_f64(&value->number, &number) ||
        !decimal_from_double(number, &event->credits)) {
        return refuse_field("credits_cost", value, "a number of credits", err);
    }
    return ERR_OK;
}

/* Kept as it was written. Without a member it is no metadata at all. */
static enum err_code
take_metadata(const struct scalar *value, struct event *event, struct err *err)
{
    if (value->type == SCALAR_NULL) {
        return ERR_OK;
    }
    if (value->type != SCALAR_OBJECT) {
        return refuse_field("metadata", value, "an object", err);
    }
    struct slice inside = slice_trim(slice_sub(value->text, 1, value->text.len - 2));
    if (inside.len > 0) {
        event->metadata_json = value->text;
    }
    return ERR_OK;
}

static enum err_code
take_member(struct slice key, const struct scalar *value, struct event *event, struct err *err)
{
    const struct {
        const char *name;
        struct slice *text;
    } texts[] = {
        {"id", &event->id},
        {"api_name", &event->api_name},
        {"endpoint", &event->endpoint},
        {"method", &event->method},
        {"run_id", &event->run_id},
        {"error_message", &event->error_message},
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (slice_is(key, texts[i].name)) {
            return take_text(texts[i].name, value, texts[i].text, err);
        }
    }
    if (slice_is(key, "timestamp")) {
        return take_timestamp(value, event, err);
    }
    if (slice_is(key, "status_code")) {
        return take_status(value, event, err);
    }
    if (slice_is(key, "success")) {
        return take_success(value, event, err);
    }
    if (slice_is(key, "latency_ms")) {
        return take_number("latency_ms", value, &event->latency_ms, err);
    }
    if (slice_is(key, "credits_cost")) {
        return take_credits(value, event, err);
    }
    if (slice_is(key, "metadata")) {
        return take_metadata(value, event, err);
    }
    return ERR_OK;
}

static enum err_code
require(const struct event *event, struct err *err)
{
    if (event->api_name.len == 0) {
        return err_set(err, ERR_INVALID, "api_name is missing; expected the name of the API");
    }
    if (event->endpoint.len == 0) {
        return err_set(err, ERR_INVALID, "endpoint is missing; expected the path that was called");
    }
    if (!(event->latency_ms >= 0) || isinf(event->latency_ms)) {
        return err_set(err, ERR_INVALID, "latency_ms is %g; expected milliseconds, 0 or more",
                       event->latency_ms);
    }
    return ERR_OK;
}

enum err_code
compat_read_event(struct slice text, struct arena *arena, struct event *ret_event, struct err *err)
{
    struct event event = {.timestamp_is_ours = true};
    struct json_reader json;
    struct scalar value;
    struct slice key;
    enum err_code code = ERR_OK;

    json_read_init(&json, text, arena);
    if (json_read_value(&json, &value) && value.type != SCALAR_OBJECT) {
        return err_set(err, ERR_INVALID, "the event is %.*s; expected a JSON object",
                       SLICE_FMT(slice_sub(slice_trim(text), 0, SHOWN_MAX)));
    }
    while (code == ERR_OK && !json_read_failed(&json) && json_read_key(&json, &key)) {
        if (!json_read_value(&json, &value) ||
            (value.type >= SCALAR_OBJECT && !json_read_rest(&json, &value))) {
            break;
        }
        code = take_member(key, &value, &event, err);
    }
    /* Wrong JSON further on is told before a wrong value. */
    if (json_read_failed(&json) || (code == ERR_OK && !json_read_end(&json))) {
        return refuse_json(text, &json, err);
    }
    if (code == ERR_OK) {
        code = require(&event, err);
    }
    if (code == ERR_OK) {
        *ret_event = event;
    }
    return code;
}

static void
finish(struct python_json *json, struct buf *out, const char *error)
{
    if (error) {
        python_text(json, "error", slice_of(error));
    }
    python_end(json);
    buf_add_char(out, '\n');
}

void
compat_write_done(struct buf *out, const char *error)
{
    struct python_json json;

    python_begin(&json, out);
    python_bool(&json, "success", error == NULL);
    finish(&json, out, error);
}

void
compat_write_credits(struct buf *out, int64_t credits, const char *error)
{
    struct python_json json;

    python_begin(&json, out);
    python_float(&json, "total_credits", error ? 0.0 : decimal_to_double(credits));
    finish(&json, out, error);
}

void
compat_write_stats(struct buf *out, const struct ledger_totals *totals, const char *error)
{
    static const struct ledger_totals zeros = {0};
    struct python_json json;

    totals = error ? &zeros : totals;
    python_begin(&json, out);
    python_int(&json, "total_events", (int64_t)totals->events);
    python_float(&json, "total_credits", decimal_to_double(totals->credits));
    python_float(&json, "success_rate", totals->success_rate);
    python_float(&json, "avg_latency", totals->avg_latency);
    python_int(&json, "error_count", (int64_t)totals->errors);
    finish(&json, out, error);
}
