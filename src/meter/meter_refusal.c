/* A refusal as JSON, and in seconds. */
#include <stdio.h>

#include "codec/decimal.h"
#include "codec/json_write.h"
#include "codec/time.h"
#include "meter/meter.h"

enum { DETAIL_MAX = BUDGET_INSTANCE_MAX + 640 };

static void
say(const struct refusal *refusal, char out[DETAIL_MAX])
{
    char limit[DECIMAL_TEXT_MAX];
    char used[DECIMAL_TEXT_MAX];
    char reserved[DECIMAL_TEXT_MAX];
    char asked[DECIMAL_TEXT_MAX];
    long long minutes = (long long)(refusal->window_us / (60 * TIME_US_PER_S));

    decimal_format(refusal->limit, limit);
    decimal_format(refusal->used, used);
    decimal_format(refusal->reserved, reserved);
    decimal_format(refusal->requested, asked);
    if (refusal->reason == REFUSED_FORCED) {
        snprintf(out, DETAIL_MAX, "Circuit breaker of budget %s is forced open", refusal->budget);
    } else if (refusal->reason == REFUSED_PROBES) {
        snprintf(out, DETAIL_MAX,
                 "Circuit breaker of budget %s is half open and its probes are under way",
                 refusal->budget);
    } else if (refusal->reason == REFUSED_INSTANCES) {
        snprintf(out, DETAIL_MAX, "Budget %s has no room for another counter", refusal->budget);
    } else {
        snprintf(out, DETAIL_MAX,
                 "Circuit breaker tripped: budget %s%s%s allows %s credits in %lld minutes; %s are "
                 "used, %s reserved, %s asked for",
                 refusal->budget, refusal->instance[0] ? " of " : "", refusal->instance, limit,
                 minutes, used, reserved, asked);
    }
}

void
meter_refusal_json(const struct refusal *refusal, struct json_writer *json)
{
    char detail[DETAIL_MAX];

    say(refusal, detail);
    json_key(json, "code");
    json_cstr(json, "CIRCUIT_BREAKER_TRIPPED");
    json_key(json, "detail");
    json_cstr(json, detail);
    json_key(json, "reason");
    json_cstr(json, refusal_reason_name(refusal->reason));
    json_key(json, "budget");
    json_cstr(json, refusal->budget);
    json_key(json, "instance");
    json_cstr(json, refusal->instance);
    json_key_decimal(json, "threshold", refusal->limit);
    json_key(json, "window");
    json_cstr(json, budget_window_name(refusal->window));
    json_key(json, "window_minutes");
    json_i64(json, refusal->window_us / (60 * TIME_US_PER_S));
    json_key_decimal(json, "used", refusal->used);
    json_key_decimal(json, "reserved", refusal->reserved);
    json_key_decimal(json, "requested", refusal->requested);
    json_key(json, "state");
    json_cstr(json, refusal->reason == REFUSED_FORCED ? "forced_open"
                                                      : breaker_state_name(refusal->state));
    json_key(json, "retry_after_ms");
    if (refusal->retry_after_us > 0) {
        json_i64(json, (refusal->retry_after_us + TIME_US_PER_MS - 1) / TIME_US_PER_MS);
    } else {
        json_write_null(json);
    }
}

int
meter_retry_after_s(const struct refusal *refusal)
{
    int64_t seconds = (refusal->retry_after_us + TIME_US_PER_S - 1) / TIME_US_PER_S;

    if (refusal->retry_after_us <= 0) {
        return 0;
    }
    return seconds > INT32_MAX ? INT32_MAX : (int)seconds;
}
