/* What the files of metering share. */
#include "api/metering.h"

#include "codec/decimal.h"
#include "meter/redact.h"

struct meter *
metering_meter(struct api *api, struct http_exchange *exchange)
{
    struct meter *meter = atomic_load(&api->meter);
    struct err err;

    if (!meter) {
        if (api->options.with_meter) {
            err_set(&err, ERR_UNAVAILABLE, "the service is starting: the meter is being rebuilt");
        } else {
            err_set(&err, ERR_UNAVAILABLE, "metering is switched off: set meter.enabled");
        }
        reply_error(exchange, &err, api->options.with_meter ? 1 : 0);
    }
    return meter;
}

bool
metering_may_try_again(enum err_code code)
{
    return code == ERR_BUSY || code == ERR_UNAVAILABLE || code == ERR_NO_SPACE ||
           code == ERR_TIMEOUT;
}

void
metering_error(struct http_exchange *exchange, const struct err *err)
{
    reply_error(exchange, err, metering_may_try_again(err->code) ? 1 : 0);
}

struct meter_call
spend_call(const struct spend_request *request)
{
    return (struct meter_call){.api_name = request->api_name,
                               .endpoint = request->endpoint,
                               .method = request->method,
                               .api_key = request->key,
                               .run_id = request->run_id,
                               .project = request->project};
}

const struct price_field *
spend_price_fields(const struct spend_request *request, struct arena *arena, size_t *ret_count)
{
    size_t count = request->params.count;
    struct price_field *fields = count ? arena_zalloc(arena, count, sizeof(*fields)) : NULL;

    *ret_count = fields ? count : 0;
    for (size_t i = 0; fields && i < count; i++) {
        fields[i].name = request->params.items[i].name;
        fields[i].value = request->params.items[i].value;
    }
    return fields;
}

static enum err_code
refuse_unpriced(const struct prices *prices, const struct spend_request *request, struct err *err)
{
    struct err near = {0};

    if (prices && prices_check_api(prices, request->api_name, &near) != ERR_OK) {
        return err_set(err, ERR_INVALID,
                       "no price rule: %.200s; send max_credits, or add a price book", near.msg);
    }
    return err_set(
        err, ERR_INVALID,
        "no price rule for %.*s %.*s of api \"%.*s\"; send max_credits, or add a rule "
        "to the price book",
        SLICE_FMT(request->method.len ? slice_sub(request->method, 0, 16) : SLICE_LITERAL("GET")),
        SLICE_FMT(slice_sub(request->endpoint, 0, 100)),
        SLICE_FMT(slice_sub(request->api_name, 0, 60)));
}

enum err_code
spend_max_credits(struct api *api, struct meter *meter, const struct spend_request *request,
                  struct arena *arena, int64_t *ret_credits, char *ret_rule, struct err *err)
{
    struct price_quote quote = {0};

    if (ret_rule) {
        ret_rule[0] = '\0';
    }
    if (request->has_credits) {
        *ret_credits = request->max_credits;
        return ERR_OK;
    }
    struct price_call call = {.api = request->api_name,
                              .method = request->method,
                              .path = request->endpoint,
                              .query = request->query,
                              .at_us = clock_wall_us(api->clock)};
    call.fields = spend_price_fields(request, arena, &call.field_count);
    struct prices *prices = meter_prices(meter);
    enum err_code code = ERR_OK;
    if (prices) {
        code = prices_quote(prices, &call, &quote, err);
    }
    if (code == ERR_OK && !quote.found) {
        code = refuse_unpriced(prices, request, err);
    }
    if (code == ERR_OK) {
        *ret_credits = quote.credits;
        if (ret_rule) {
            memcpy(ret_rule, quote.rule_id, sizeof(quote.rule_id));
        }
    }
    prices_unref(prices);
    return code;
}

void
write_credits(struct json_writer *writer, int64_t micro)
{
    char text[DECIMAL_TEXT_MAX];

    json_raw(writer, slice_make(text, decimal_format(micro, text)));
}

void
write_time_key(struct json_writer *writer, const char *key, int64_t us)
{
    json_key(writer, key);
    if (us == 0 || us == INT64_MAX) {
        json_write_null(writer);
    } else {
        json_time_us(writer, us);
    }
}

const char *
breaker_name(const struct budget_view *view)
{
    return view->def->mode == BUDGET_FORCED_OPEN ? budget_mode_name(BUDGET_FORCED_OPEN)
                                                 : breaker_state_name(view->state);
}

static void
write_text(struct json_writer *writer, const char *key, struct slice text)
{
    if (text.len > 0) {
        json_key(writer, key);
        json_str(writer, text);
    }
}

/* A text that may hold a secret (a URL with a key in it). */
static void
write_redacted(struct json_writer *writer, const char *key, struct slice text,
               void (*redact)(struct slice text, struct buf *out))
{
    struct buf clean BUF_AUTO = {0};

    if (text.len > 0) {
        buf_init(&clean, 0);
        redact(text, &clean);
        write_text(writer, key, buf_slice(&clean));
    }
}

static void
write_entry(struct json_writer *writer, const struct spend_request *request, int64_t credits)
{
    json_object_begin(writer);
    write_text(writer, "api_name", request->api_name);
    write_redacted(writer, "endpoint", request->endpoint, redact_url);
    write_text(writer, "method", request->method);
    write_redacted(writer, "key", request->key, redact_text);
    write_text(writer, "run_id", request->run_id);
    write_text(writer, "project", request->project);
    write_text(writer, "reservation_id", request->reservation_id);
    json_key_decimal(writer, "credits", credits);
    json_object_end(writer);
}

void
write_refusal(struct json_writer *writer, const struct refusal *refusal,
              const struct spend_request *request)
{
    meter_refusal_json(refusal, writer);
    json_key(writer, "entry");
    write_entry(writer, request, refusal->requested);
}

void
metering_refuse(struct refusals *refusals, struct http_exchange *exchange,
                const struct refusal *refusal, const struct spend_request *request,
                struct slice entry)
{
    struct json_writer w;
    int retry_after_s = meter_retry_after_s(refusal);

    refusals_add(refusals, refusal);
    if (retry_after_s > 0) {
        const char *text = arena_fmt(http_arena(exchange), "%d", retry_after_s);
        http_add_header(exchange, "Retry-After", slice_of(text));
    }
    http_set_status(exchange, 503);
    reply_json(exchange, &w);
    json_object_begin(&w);
    if (request) {
        write_refusal(&w, refusal, request);
    } else {
        meter_refusal_json(refusal, &w);
        json_key(&w, "entry");
        json_raw(&w, entry);
    }
    json_key(&w, "request_id");
    json_str(&w, http_request_id(exchange));
    json_object_end(&w);
    http_reply(exchange);
}
