/* What happens before and behind each attempt of a Birdeye call: breaker, limit, key; then the
 * count, and the decision on another attempt. */
#include <stdio.h>

#include "client/birdeye_internal.h"

enum {
    NEXT_KEY_MS = 1000, /* as the original waits behind 429 and 403 */
    CANDLES_DEAR = 1000,
    CREDITS_DEAR = 120,
    CREDITS_CHEAP = 60,
    VALIDATION_TIMEOUT_MS = 5000,
    HTTP_FORBIDDEN = 403,
    HTTP_TOO_MANY = 429
};

/* A token that is always there (wrapped SOL); what the original asks to validate a key. */
static const char VALIDATION_PATH[] =
    "/defi/price?address=So11111111111111111111111111111111111111112";

static int64_t
now_us(const struct eider_birdeye *birdeye)
{
    return clock_mono_us(birdeye->client->env.clock);
}

static void
refuse(struct response *response, enum eider_refusal why, const char *code, const char *detail,
       int64_t wait_us)
{
    struct metering_refusal refusal = {.refusal = why};

    snprintf(refusal.code, sizeof(refusal.code), "%s", code);
    snprintf(refusal.detail, sizeof(refusal.detail), "%s", detail);
    /* Rounded up, so that who comes back then is not too early; INT64_MAX is "never". */
    refusal.retry_after_ms = wait_us == INT64_MAX ? 0 : (wait_us + 999) / 1000;
    response_refuse(response, &refusal);
}

static bool
wait_us(struct eider_birdeye *birdeye, int64_t us, struct response *response)
{
    if (client_sleep(birdeye->client, (us + 999) / 1000)) {
        return true;
    }
    response_message(response, EIDER_CLIENT_STOPPED, "the client was stopped");
    return false;
}

/* Waits while the account is paused, or refuses. */
static bool
pass_breaker(struct eider_birdeye *birdeye, bool first, struct response *response)
{
    for (;;) {
        int64_t left_us;
        pthread_mutex_lock(&birdeye->lock);
        enum eider_birdeye_breaker state =
            streak_state(&birdeye->streak, now_us(birdeye), &left_us);
        unsigned failures = birdeye->streak.failures;
        pthread_mutex_unlock(&birdeye->lock);
        if (state == EIDER_BIRDEYE_RUNNING || (state == EIDER_BIRDEYE_PAUSED && !first)) {
            return true;
        }
        if (state == EIDER_BIRDEYE_OPEN || birdeye->no_wait) {
            char detail[128];
            snprintf(detail, sizeof(detail), "%u failures in a row: the account %s", failures,
                     state == EIDER_BIRDEYE_OPEN ? "is not used for 5 minutes"
                                                 : "rests for a minute");
            refuse(response, EIDER_REFUSAL_PAUSED,
                   state == EIDER_BIRDEYE_OPEN ? "BIRDEYE_OPEN" : "BIRDEYE_PAUSED", detail,
                   left_us);
            return false;
        }
        if (!wait_us(birdeye, left_us, response)) {
            return false;
        }
    }
}

static bool
pass_limit(struct eider_birdeye *birdeye, struct response *response)
{
    for (;;) {
        pthread_mutex_lock(&birdeye->lock);
        int64_t left_us = limiter_take(&birdeye->limiter, now_us(birdeye));
        pthread_mutex_unlock(&birdeye->lock);
        if (left_us == 0) {
            return true;
        }
        if (birdeye->no_wait) {
            refuse(response, EIDER_REFUSAL_RATE, "BIRDEYE_RATE",
                   "the account's requests of this window are used up", left_us);
            return false;
        }
        if (!wait_us(birdeye, left_us, response)) {
            return false;
        }
    }
}

static bool
take_key(struct birdeye_call *call, struct response *response)
{
    struct eider_birdeye *birdeye = call->birdeye;
    int64_t left_us = 0;
    size_t count;

    pthread_mutex_lock(&birdeye->lock);
    call->key = keys_next(&birdeye->keys, now_us(birdeye), &left_us);
    count = birdeye->keys.count;
    pthread_mutex_unlock(&birdeye->lock);
    if (!call->key) {
        char detail[96];
        snprintf(detail, sizeof(detail), "none of the %zu keys is active", count);
        refuse(response, EIDER_REFUSAL_NO_KEY, "BIRDEYE_NO_KEY", detail, left_us);
        return false;
    }
    return true;
}

static void
set_headers(const struct birdeye_call *call, struct attempt *attempt)
{
    headers_set(&attempt->headers, slice_of("X-API-KEY"), slice_of(call->key->secret));
    headers_set(&attempt->headers, slice_of("x-chain"), slice_of(call->chain));
    headers_set(&attempt->headers, slice_of("accept"), slice_of("application/json"));
    attempt->key_label = call->key->label;
}

static void
count_result(const struct birdeye_call *call, const struct attempt *attempt,
             const struct response *response)
{
    struct eider_birdeye *birdeye = call->birdeye;
    int status = attempt->result.status;
    int64_t items = call->is_ohlcv ? birdeye_count_items(buf_slice(&response->body)) : 0;

    pthread_mutex_lock(&birdeye->lock);
    keys_result(&birdeye->keys, call->key, status, now_us(birdeye),
                clock_wall_us(birdeye->client->env.clock));
    streak_result(&birdeye->streak, status, now_us(birdeye));
    if (status >= 200 && status < 300) {
        int64_t credits = (items >= CANDLES_DEAR ? CREDITS_DEAR : CREDITS_CHEAP) * EIDER_CREDIT;
        call->key->credits += credits;
        birdeye->credits += credits;
        birdeye->quota_units +=
            !call->is_ohlcv ? 1
                            : (items >= EIDER_BIRDEYE_CANDLES_MAX ? CREDITS_DEAR : CREDITS_CHEAP);
    }
    pthread_mutex_unlock(&birdeye->lock);
}

/* True when the key may be used: it was validated before, or is now. *ret_refused: the meter or
 * the limit did not let it ask. */
static bool
validate(struct birdeye_call *call, struct response *response, bool *ret_refused)
{
    struct eider_birdeye *birdeye = call->birdeye;
    const struct eider_request request = {.path = VALIDATION_PATH,
                                          .timeout_ms = VALIDATION_TIMEOUT_MS,
                                          .has_max_credits = birdeye->prices_ours,
                                          .max_credits = eider_birdeye_cost(-1)};
    struct attempt attempt = {.request = &request, .method = "GET", .number = 1};
    struct birdeye_call of_price = *call;
    bool valid;

    pthread_mutex_lock(&birdeye->lock);
    valid = !birdeye->validate_keys || call->key->validated_at_us >= 0;
    pthread_mutex_unlock(&birdeye->lock);
    *ret_refused = false;
    if (valid) {
        return true;
    }
    of_price.is_ohlcv = false;
    of_price.chain = "solana";
    if (!pass_limit(birdeye, response)) {
        *ret_refused = true;
        return false;
    }
    set_headers(&of_price, &attempt);
    attempt_make(birdeye->client, &attempt, response);
    headers_fini(&attempt.headers);
    *ret_refused = !attempt.sent;
    if (!attempt.sent) {
        return false;
    }
    count_result(&of_price, &attempt, response);
    valid = attempt.result.status >= 200 && attempt.result.status < 300;
    pthread_mutex_lock(&birdeye->lock);
    call->key->validated_at_us = now_us(birdeye);
    if (!valid) {
        keys_reject(call->key);
    }
    pthread_mutex_unlock(&birdeye->lock);
    return valid;
}

bool
birdeye_before(struct director *director, struct attempt *attempt, struct response *response)
{
    struct birdeye_call *call = (struct birdeye_call *)(void *)director;
    bool refused;

    if (!pass_breaker(call->birdeye, attempt->number == 1, response)) {
        return false;
    }
    do {
        if (!take_key(call, response)) {
            return false;
        }
        if (validate(call, response, &refused)) {
            set_headers(call, attempt);
            return pass_limit(call->birdeye, response);
        }
    } while (!refused);
    return false;
}

int64_t
birdeye_after(struct director *director, const struct attempt *attempt,
              const struct response *response)
{
    struct birdeye_call *call = (struct birdeye_call *)(void *)director;
    struct eider_birdeye *birdeye = call->birdeye;
    const struct retry_policy *policy = &birdeye->client->settings.retry;
    int status = attempt->result.status;
    int64_t left_us;

    count_result(call, attempt, response);
    pthread_mutex_lock(&birdeye->lock);
    bool key_left = keys_active(&birdeye->keys) > 0;
    bool open = streak_state(&birdeye->streak, now_us(birdeye), &left_us) == EIDER_BIRDEYE_OPEN;
    pthread_mutex_unlock(&birdeye->lock);
    if (!key_left || open || attempt->result.final) {
        return -1; /* the answer says more than a refusal would */
    }
    if (status == HTTP_TOO_MANY || status == HTTP_FORBIDDEN) {
        return (int)attempt->number > policy->retries_max ? -1 : NEXT_KEY_MS;
    }
    return retry_delay_ms(policy, &attempt->result, (int)attempt->number,
                          client_random(birdeye->client));
}
