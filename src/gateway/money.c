/* What a call costs, and what the meter is told of it. */
#include <stdio.h>

#include "codec/decimal.h"
#include "codec/json_write.h"
#include "gateway/gateway_private.h"
#include "meter/price.h"

static struct slice
field(const struct call *call, const char *name)
{
    struct slice value;

    return http_header(call->exchange, name, &value) ? value : (struct slice){"", 0};
}

static struct slice
endpoint(const struct call *call)
{
    return call->target.path.len > 0 ? slice_sub(call->target.path, 0, METER_TEXT_MAX)
                                     : SLICE_LITERAL("/");
}

static struct slice
method(const struct call *call)
{
    return slice_of(http_method_name(http_method(call->exchange)));
}

/* ---- the meter's answers: any thread ---- */

static void
keep(struct call *call, const struct meter_answer *answer, unsigned word)
{
    struct lane *lane = call->lane;
    struct op *op = &call->op;

    pthread_mutex_lock(&lane->lock);
    *op = (struct op){.code = answer->code, .credits = answer->credits};
    if (answer->err && answer->code != ERR_OK) {
        snprintf(op->text, sizeof(op->text), "%.250s", answer->err->msg);
    }
    if (answer->refusal) {
        op->refused = true;
        op->refusal = *answer->refusal;
    }
    if (answer->reservation_id) {
        snprintf(op->reservation_id, sizeof(op->reservation_id), "%s", answer->reservation_id);
    }
    call->ops--;
    lane_leave_locked(call, word);
    pthread_mutex_unlock(&lane->lock);
    lane_wake(lane);
}

static void
on_reserved(void *ctx, const struct meter_answer *answer)
{
    keep(ctx, answer, WORD_RESERVED);
}

static void
on_extended(void *ctx, const struct meter_answer *answer)
{
    keep(ctx, answer, WORD_EXTENDED);
}

static void
on_op(void *ctx, const struct meter_answer *answer)
{
    keep(ctx, answer, WORD_OP);
}

/* A lease that could not be renewed ends: the call goes on, and is booked if that is still in time.
 */
static void
on_renewed(void *ctx, const struct meter_answer *answer)
{
    struct call *call = ctx;
    struct lane *lane = call->lane;

    if (answer->code != ERR_OK) {
        gateway_tell(call->gateway, true, "the lease of a call to %s was not extended: %s",
                     call->upstream->options.name, answer->err ? answer->err->msg : "refused");
    }
    pthread_mutex_lock(&lane->lock);
    call->ops--;
    lane_leave_locked(call, 0);
    pthread_mutex_unlock(&lane->lock);
    lane_wake(lane);
}

static void
owe(struct call *call)
{
    pthread_mutex_lock(&call->lane->lock);
    call->ops++;
    pthread_mutex_unlock(&call->lane->lock);
}

/* ---- prices ---- */

static struct price_call
price_call(const struct call *call)
{
    uint64_t request = call->body_length > 0 ? (uint64_t)call->body_length : call->bytes_up;

    return (struct price_call){.api = slice_of(call->upstream->options.api_name),
                               .method = method(call),
                               .path = endpoint(call),
                               .query = call->target.query,
                               .request_bytes = request,
                               .at_us = clock_wall_us(call->gateway->clock)};
}

/* Whether a rule of the price book covers the call: then the meter finds the most it may cost, and
 * keeps the rule with the reservation. */
static enum err_code
is_priced(struct call *call, bool *ret_priced, struct err *err)
{
    const struct gateway_meter *meter = &call->gateway->options.meter;
    struct prices *prices = meter->prices ? meter->prices(meter->ctx) : NULL;
    struct price_call asked = price_call(call);
    struct price_quote found = {.found = false};
    enum err_code code = prices ? prices_quote(prices, &asked, &found, err) : ERR_OK;

    *ret_priced = found.found;
    prices_unref(prices);
    return code;
}

int64_t
money_cost(struct call *call, uint64_t response_bytes)
{
    const struct gateway_meter *meter = &call->gateway->options.meter;
    struct prices *prices = meter->prices ? meter->prices(meter->ctx) : NULL;
    struct price_call made = price_call(call);
    struct price_quote found = {.found = false};
    bool success = call->status >= 200 && call->status < 300;
    struct err err;

    made.has_status = call->status != 0;
    made.status = call->status;
    made.success = success;
    made.response_bytes = response_bytes;
    enum err_code code = prices ? prices_cost(prices, &made, &found, &err) : ERR_OK;
    int64_t cost = found.found ? found.credits
                   : success   ? call->upstream->options.default_credits
                               : 0;
    call->rule_found = found.found;
    if (code != ERR_OK) {
        /* Nobody can say what it costs: then it is what was reserved. */
        gateway_tell(call->gateway, true, "a call to %s has no price: %s",
                     call->upstream->options.name, err.msg);
        cost = call->reserved;
    }
    prices_unref(prices);
    return cost;
}

/* ---- operations ---- */

void
money_reserve(struct call *call)
{
    const struct gateway_meter *meter = &call->gateway->options.meter;
    struct slice wanted = field(call, "X-Eider-Max-Credits");
    struct meter_reserve reserve = {
        .call = {.api_name = slice_of(call->upstream->options.api_name),
                 .endpoint = endpoint(call),
                 .method = method(call),
                 .api_key = field(call, "X-Eider-Key"),
                 .run_id = field(call, "X-Eider-Run-Id"),
                 .project = field(call, "X-Eider-Project")},
        .has_credits = true,
        .query = call->target.query,
        .ttl_ms = call->gateway->options.lease_ms,
    };
    struct err err = {.code = ERR_OK};
    enum err_code code = ERR_OK;

    if (wanted.len == 0) {
        code = is_priced(call, &call->priced_by_meter, &err);
        reserve.has_credits = !call->priced_by_meter;
        reserve.max_credits = call->upstream->options.default_credits;
    } else if (!decimal_parse(wanted, &reserve.max_credits) || reserve.max_credits < 0) {
        code = err_set(&err, ERR_INVALID,
                       "X-Eider-Max-Credits is \"%.*s\"; expected a number of credits from 0 with "
                       "at most 6 decimals",
                       SLICE_FMT(slice_sub(wanted, 0, 40)));
    }
    owe(call);
    if (code != ERR_OK) {
        on_reserved(call, &(struct meter_answer){.code = code, .err = &err});
        return;
    }
    meter->reserve(meter->ctx, &reserve, on_reserved, call);
}

void
money_extend(struct call *call, int64_t add_credits)
{
    const struct gateway_meter *meter = &call->gateway->options.meter;

    owe(call);
    meter->extend(meter->ctx, slice_of(call->reservation_id), call->gateway->options.lease_ms,
                  add_credits, on_extended, call);
}

void
money_renew_lease(struct call *call)
{
    const struct gateway_meter *meter = &call->gateway->options.meter;

    owe(call);
    meter->extend(meter->ctx, slice_of(call->reservation_id), call->gateway->options.lease_ms, 0,
                  on_renewed, call);
}

/* What the log keeps of the call besides its columns. The meter takes secrets out of it. */
static void
write_metadata(const struct call *call, struct buf *out)
{
    struct buf url BUF_AUTO = {0};
    struct json_writer json;

    buf_init(&url, 0);
    buf_add_cstr(&url, call->upstream->options.base_url);
    buf_add_slice(&url, call->target.path);
    if (call->target.query.len > 0) {
        buf_add_char(&url, '?');
        buf_add_slice(&url, call->target.query);
    }
    json_init(&json, out);
    json_object_begin(&json);
    json_key(&json, "url");
    json_str(&json, buf_slice(&url));
    json_key(&json, "method");
    json_str(&json, method(call));
    json_key(&json, "baseURL");
    json_cstr(&json, call->upstream->options.base_url);
    json_key(&json, "gateway");
    json_cstr(&json, call->upstream->options.name);
    json_key(&json, "attempts");
    json_u64(&json, call->attempts);
    json_key(&json, "request_bytes");
    json_u64(&json, call->bytes_up);
    json_key(&json, "response_bytes");
    json_u64(&json, call->bytes_down);
    json_key(&json, "request_id");
    json_str(&json, http_request_id(call->exchange));
    json_object_end(&json);
}

void
money_commit(struct call *call)
{
    const struct gateway_meter *meter = &call->gateway->options.meter;
    struct buf metadata BUF_AUTO = {0};
    bool answered = call->status >= 200 && call->status < 300;
    bool success = answered && call->ending == ENDING_STREAM;
    int64_t cost = call->spent + call->attempt_cost;

    if (call->aborted && !call->upstream->options.abort_is_free && cost < call->reserved) {
        cost = call->reserved;
    }
    buf_init(&metadata, 0);
    write_metadata(call, &metadata);
    struct meter_commit commit = {
        .reservation_id = slice_of(call->reservation_id),
        .has_status = call->status != 0,
        .status_code = call->status,
        .has_success = true,
        .success = success,
        .latency_ms = (double)(gateway_now_us(call->gateway) - call->started_us) / US_PER_MS,
        /* Where one rule priced one attempt the meter prices again, and keeps the rule's name. An
         * answer that broke off was billed all the same. */
        .has_credits = call->aborted || call->attempts != 1 || !call->rule_found ||
                       !call->priced_by_meter || answered != success,
        .credits = cost,
        .overrun = true,
        .error_message = slice_of(call->fail_text),
        .metadata_json = buf_slice(&metadata),
        .query = call->target.query,
        .request_bytes = call->bytes_up,
        .response_bytes = call->bytes_down,
    };
    owe(call);
    meter->commit(meter->ctx, &commit, on_op, call);
}

void
money_release(struct call *call)
{
    const struct gateway_meter *meter = &call->gateway->options.meter;

    owe(call);
    meter->release(meter->ctx, slice_of(call->reservation_id), on_op, call);
}
