/* The Birdeye client: open, the calls, what is told about keys and usage. */
#include "eider/birdeye.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "client/birdeye_internal.h"

enum {
    TIMEOUT_MS = 10000,
    RETRIES = 5,
    RATE = 3000,
    RATE_MAX = 100000,
    RATE_WINDOW_MS = 60000,
    NUMBERED_KEYS = 6,
    ADDRESS_MIN = 32,
    ADDRESS_MAX = 64,
    KEYWORD_MAX = 256,
    LIMIT_PERCENT = 80
};

static const int64_t QUOTA = 20000000;

/* Without a hook of the program's; see birdeye_url_cost. */
static int64_t
our_credits(void *ctx, const struct eider_call *call)
{
    (void)ctx;
    bool answered = call->http_status >= 200 && call->http_status < 300;
    return answered ? birdeye_url_cost(slice_of(call->url)) : 0;
}

static bool __attribute__((format(printf, 3, 4)))
wrong(char *problem, size_t size, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    if (problem && size > 0) {
        vsnprintf(problem, size, fmt, args);
    }
    va_end(args);
    return false;
}

static bool
add_key(struct keys *keys, const char *secret, char *problem, size_t size)
{
    struct slice key = slice_trim(slice_of(secret));
    char *copy = mem_strdup(key);
    bool valid = key.len > 0 && headers_valid(slice_of("X-API-KEY"), key);

    if (!valid) {
        wrong(problem, size, "a key is empty or holds control characters");
    } else if (!keys_add(keys, copy)) {
        valid = wrong(problem, size, "more than %d keys", EIDER_BIRDEYE_KEYS_MAX);
    }
    explicit_bzero(copy, key.len);
    free(copy);
    return valid;
}

static bool
add_from_environment(struct keys *keys, char *problem, size_t size)
{
    for (int i = 0; i <= NUMBERED_KEYS; i++) {
        char name[32] = "BIRDEYE_API_KEY";
        if (i > 0) {
            snprintf(name, sizeof(name), "BIRDEYE_API_KEY_%d", i);
        }
        const char *value = getenv(name); /* NOLINT(concurrency-mt-unsafe): birdeye.h says so */
        if (value && slice_trim(slice_of(value)).len > 0 && !add_key(keys, value, problem, size)) {
            return false;
        }
    }
    return keys->count > 0 ||
           wrong(problem, size,
                 "there is no key; give keys, or set BIRDEYE_API_KEY or BIRDEYE_API_KEY_1 to _6");
}

static bool
add_keys(struct keys *keys, const struct eider_birdeye_options *options, char *problem, size_t size)
{
    if (!options->keys) {
        return add_from_environment(keys, problem, size);
    }
    for (size_t i = 0; i < options->key_count; i++) {
        if (!options->keys[i]) {
            return wrong(problem, size, "keys[%zu] is NULL", i);
        }
        if (!add_key(keys, options->keys[i], problem, size)) {
            return false;
        }
    }
    return keys->count > 0 || wrong(problem, size, "key_count is 0; expected at least one key");
}

void
birdeye_client_options(const struct eider_birdeye_options *options,
                       struct eider_client_options *ret_options)
{
    struct eider_client_options client =
        options->client ? *options->client : (struct eider_client_options){0};

    client.base_url = options->base_url ? options->base_url : "https://public-api.birdeye.so";
    client.api_name = client.api_name ? client.api_name : "Birdeye";
    client.timeout_ms = client.timeout_ms ? client.timeout_ms : TIMEOUT_MS;
    client.retries_max = client.retries_max ? client.retries_max : RETRIES;
    if (!client.credits && !client.use_price_book) {
        client.credits = our_credits;
    }
    client.key_label = NULL;
    *ret_options = client;
}

static bool
check(const struct eider_birdeye_options *options, char *problem, size_t size)
{
    if (options->rate_max > RATE_MAX) {
        return wrong(problem, size, "rate_max is %u; expected at most %d", options->rate_max,
                     RATE_MAX);
    }
    if (options->rate_window_ms < 0 || options->key_rest_ms < 0 || options->quota_credits < 0) {
        return wrong(problem, size,
                     "rate_window_ms, key_rest_ms or quota_credits is below 0; expected 0 or more");
    }
    if (options->chain && !headers_valid(slice_of("x-chain"), slice_of(options->chain))) {
        return wrong(problem, size, "chain holds control characters");
    }
    return true;
}

enum eider_client_status
birdeye_open_with(const struct eider_birdeye_options *options, const struct client_env *env,
                  struct eider_birdeye **ret_birdeye, char *ret_problem, size_t problem_size)
{
    struct eider_client_options client_options;
    struct keys keys;

    keys_init(&keys, options->key_rest_ms);
    birdeye_client_options(options, &client_options);
    struct eider_birdeye *birdeye = mem_zalloc(1, sizeof(*birdeye));
    if (!check(options, ret_problem, problem_size) ||
        !add_keys(&keys, options, ret_problem, problem_size) ||
        client_open_with(&client_options, env, &birdeye->client, ret_problem, problem_size) !=
            EIDER_CLIENT_OK) {
        keys_fini(&keys);
        free(birdeye);
        return EIDER_CLIENT_INVALID;
    }
    birdeye->keys = keys;
    birdeye->chain = options->chain ? mem_strdup(slice_of(options->chain)) : NULL;
    birdeye->no_wait = options->no_wait;
    birdeye->validate_keys = options->validate_keys;
    birdeye->prices_ours = client_options.credits == our_credits;
    birdeye->quota_credits = options->quota_credits ? options->quota_credits : QUOTA * EIDER_CREDIT;
    limiter_init(&birdeye->limiter, options->rate_max ? options->rate_max : RATE,
                 (options->rate_window_ms ? options->rate_window_ms : RATE_WINDOW_MS) *
                     INT64_C(1000));
    pthread_mutex_init(&birdeye->lock, NULL);
    *ret_birdeye = birdeye;
    return EIDER_CLIENT_OK;
}

void
eider_birdeye_close(struct eider_birdeye *birdeye)
{
    if (!birdeye) {
        return;
    }
    eider_client_close(birdeye->client);
    keys_fini(&birdeye->keys);
    limiter_fini(&birdeye->limiter);
    pthread_mutex_destroy(&birdeye->lock);
    free(birdeye->chain);
    free(birdeye);
}

void
eider_birdeye_stop(struct eider_birdeye *birdeye)
{
    if (birdeye) {
        eider_client_stop(birdeye->client);
    }
}

struct eider_client *
eider_birdeye_client(struct eider_birdeye *birdeye)
{
    return birdeye ? birdeye->client : NULL;
}

/* ---- calls ---- */

static enum eider_client_status __attribute__((format(printf, 2, 3)))
invalid(struct eider_response **ret_response, const char *fmt, ...)
{
    struct response *response = response_new();
    char text[256];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    response_message(response, EIDER_CLIENT_INVALID, "%s", text);
    *ret_response = &response->public;
    return response_finish(response);
}

/* Percent-encodes a value for a query (RFC 3986, unreserved characters stay). */
static void
put_value(struct buf *path, const char *value)
{
    for (const char *at = value; *at; at++) {
        unsigned char c = (unsigned char)*at;
        if (isalnum(c) || strchr("-._~", c)) {
            buf_add_char(path, (char)c);
        } else {
            buf_add_fmt(path, "%%%02X", c);
        }
    }
}

static void
put(struct buf *path, const char *name, const char *value)
{
    buf_add_char(path, memchr(path->ptr, '?', path->len) ? '&' : '?');
    buf_add_fmt(path, "%s=", name);
    put_value(path, value);
}

static void
put_number(struct buf *path, const char *name, int64_t value)
{
    buf_add_char(path, memchr(path->ptr, '?', path->len) ? '&' : '?');
    buf_add_fmt(path, "%s=%lld", name, (long long)value);
}

static bool
is_address(const char *address)
{
    size_t len = address ? strlen(address) : 0;

    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)address[i])) {
            return false;
        }
    }
    return len >= ADDRESS_MIN && len <= ADDRESS_MAX;
}

/* A call as the functions below describe it. */
struct plan {
    struct buf path;
    const char *address; /* NULL: none */
    const char *chain;
    const char *run_id;
    bool is_ohlcv;
    int64_t candles; /* < 0: not known */
};

static enum eider_client_status
run(struct eider_birdeye *birdeye, struct plan *plan, struct eider_response **ret_response)
{
    const char *chain = plan->chain ? plan->chain : birdeye->chain;
    struct birdeye_call call = {.director = {.before = birdeye_before, .after = birdeye_after},
                                .birdeye = birdeye,
                                .chain = birdeye_chain(chain, plan->address),
                                .is_ohlcv = plan->is_ohlcv};
    struct eider_request request = {.run_id = plan->run_id};
    enum eider_client_status status;
    char params[128];

    buf_add_char(&plan->path, '\0');
    if (plan->path.overflow || !headers_valid(slice_of("x-chain"), slice_of(call.chain))) {
        status = invalid(ret_response, "the path is too long, or chain holds control characters");
        buf_fini(&plan->path);
        return status;
    }
    request.path = plan->path.ptr;
    if (birdeye->prices_ours) {
        request.has_max_credits = true;
        request.max_credits = birdeye_url_cost(buf_slice(&plan->path));
    }
    if (plan->candles >= 0) {
        snprintf(params, sizeof(params), "{\"candles\":%lld}", (long long)plan->candles);
        request.params_json = params;
    }
    status = client_run(birdeye->client, &request, &call.director, ret_response);
    buf_fini(&plan->path);
    return status;
}

static void
begin(struct plan *plan, const char *path, const char *address, const char *chain)
{
    *plan = (struct plan){.address = address, .chain = chain, .candles = -1};
    buf_init(&plan->path, URL_BYTES_MAX);
    buf_add_cstr(&plan->path, path);
    if (address) {
        put(&plan->path, "address", address);
    }
}

/* The four that take an address and nothing else. */
static enum eider_client_status
by_address(struct eider_birdeye *birdeye, const char *path, const char *address, const char *chain,
           struct eider_response **ret_response)
{
    struct plan plan;

    if (!ret_response) {
        return EIDER_CLIENT_INVALID;
    }
    if (!birdeye || !is_address(address)) {
        return invalid(ret_response, "address is \"%.80s\"; expected %d to %d letters and digits",
                       address ? address : "(null)", ADDRESS_MIN, ADDRESS_MAX);
    }
    begin(&plan, path, address, chain);
    return run(birdeye, &plan, ret_response);
}

static const char *
range_problem(const struct eider_birdeye *birdeye, const struct eider_birdeye_ohlcv *query)
{
    if (!birdeye || !query) {
        return "birdeye and query must not be NULL";
    }
    if (!is_address(query->address)) {
        return "address is not 32 to 64 letters and digits";
    }
    if (query->time_from < 0 || query->time_to < query->time_from) {
        return "time_from and time_to are no range of seconds since 1970";
    }
    if (!query->type || birdeye_candles(slice_of(query->type), 0, 0) < 0) {
        return "type is no interval; expected \"1m\", \"1H\", \"1D\" or another of birdeye.h";
    }
    return NULL;
}

enum eider_client_status
eider_birdeye_ohlcv(struct eider_birdeye *birdeye, const struct eider_birdeye_ohlcv *query,
                    struct eider_response **ret_response)
{
    const char *problem = range_problem(birdeye, query);
    struct plan plan;

    if (!ret_response) {
        return EIDER_CLIENT_INVALID;
    }
    if (problem) {
        return invalid(ret_response, "%s", problem);
    }
    begin(&plan, "/defi/v3/ohlcv", query->address, query->chain);
    put(&plan.path, "type", query->type);
    put(&plan.path, "currency", query->currency ? query->currency : "usd");
    put_number(&plan.path, "time_from", query->time_from);
    put_number(&plan.path, "time_to", query->time_to);
    put(&plan.path, "ui_amount_mode", query->ui_amount_mode ? query->ui_amount_mode : "raw");
    put(&plan.path, "mode", query->mode ? query->mode : "range");
    put(&plan.path, "padding", query->no_padding ? "false" : "true");
    plan.run_id = query->run_id;
    plan.is_ohlcv = true;
    plan.candles = birdeye_candles(slice_of(query->type), query->time_from, query->time_to);
    return run(birdeye, &plan, ret_response);
}

enum eider_client_status
eider_birdeye_history_price(struct eider_birdeye *birdeye, const struct eider_birdeye_ohlcv *query,
                            struct eider_response **ret_response)
{
    const char *problem = range_problem(birdeye, query);
    struct plan plan;

    if (!ret_response) {
        return EIDER_CLIENT_INVALID;
    }
    if (problem) {
        return invalid(ret_response, "%s", problem);
    }
    begin(&plan, "/defi/history_price", query->address, query->chain);
    put(&plan.path, "address_type", "token");
    put(&plan.path, "type", query->type);
    put_number(&plan.path, "time_from", query->time_from);
    put_number(&plan.path, "time_to", query->time_to);
    put(&plan.path, "ui_amount_mode", query->ui_amount_mode ? query->ui_amount_mode : "raw");
    plan.run_id = query->run_id;
    return run(birdeye, &plan, ret_response);
}

enum eider_client_status
eider_birdeye_historical_price(struct eider_birdeye *birdeye, const char *address,
                               int64_t unix_time, const char *chain,
                               struct eider_response **ret_response)
{
    struct plan plan;

    if (!ret_response) {
        return EIDER_CLIENT_INVALID;
    }
    if (!birdeye || !is_address(address) || unix_time < 0) {
        return invalid(ret_response,
                       "address \"%.80s\" or unix_time %lld; expected %d to %d letters and digits, "
                       "and seconds since 1970",
                       address ? address : "(null)", (long long)unix_time, ADDRESS_MIN,
                       ADDRESS_MAX);
    }
    begin(&plan, "/defi/historical_price_unix", address, chain);
    put_number(&plan.path, "unixtime", unix_time);
    put(&plan.path, "ui_amount_mode", "raw");
    return run(birdeye, &plan, ret_response);
}

enum eider_client_status
eider_birdeye_search(struct eider_birdeye *birdeye, const char *keyword, unsigned limit,
                     const char *chain, struct eider_response **ret_response)
{
    struct plan plan;

    if (!ret_response) {
        return EIDER_CLIENT_INVALID;
    }
    if (!birdeye || !keyword || !keyword[0] || strlen(keyword) > KEYWORD_MAX) {
        return invalid(ret_response, "keyword must be 1 to %d bytes", KEYWORD_MAX);
    }
    begin(&plan, "/defi/v3/search", NULL, chain);
    put(&plan.path, "keyword", keyword);
    if (limit > 0) {
        put_number(&plan.path, "limit", limit);
    }
    return run(birdeye, &plan, ret_response);
}

enum eider_client_status
eider_birdeye_token_metadata(struct eider_birdeye *birdeye, const char *address, const char *chain,
                             struct eider_response **ret_response)
{
    return by_address(birdeye, "/defi/v3/token/meta-data/single", address, chain, ret_response);
}

enum eider_client_status
eider_birdeye_token_creation(struct eider_birdeye *birdeye, const char *address, const char *chain,
                             struct eider_response **ret_response)
{
    return by_address(birdeye, "/defi/token_creation_info", address, chain, ret_response);
}

enum eider_client_status
eider_birdeye_price(struct eider_birdeye *birdeye, const char *address, const char *chain,
                    struct eider_response **ret_response)
{
    return by_address(birdeye, "/defi/price", address, chain, ret_response);
}

enum eider_client_status
eider_birdeye_get(struct eider_birdeye *birdeye, const char *path, const char *chain,
                  struct eider_response **ret_response)
{
    struct plan plan;

    if (!ret_response) {
        return EIDER_CLIENT_INVALID;
    }
    if (!birdeye || !path) {
        return invalid(ret_response, "birdeye and path must not be NULL");
    }
    begin(&plan, path, NULL, chain);
    return run(birdeye, &plan, ret_response);
}

/* ---- what is told ---- */

size_t
eider_birdeye_keys(struct eider_birdeye *birdeye, struct eider_birdeye_key *ret_keys, size_t max)
{
    if (!birdeye) {
        return 0;
    }
    pthread_mutex_lock(&birdeye->lock);
    size_t count = birdeye->keys.count;
    for (size_t i = 0; i < count && i < max; i++) {
        const struct key *key = &birdeye->keys.items[i];
        ret_keys[i] = (struct eider_birdeye_key){.state = key->state,
                                                 .requests = key->requests,
                                                 .failures = key->failures,
                                                 .failures_in_a_row = key->failures_in_a_row,
                                                 .credits = key->credits,
                                                 .last_used_us = key->last_used_us};
        snprintf(ret_keys[i].label, sizeof(ret_keys[i].label), "%s", key->label);
    }
    pthread_mutex_unlock(&birdeye->lock);
    return count;
}

void
eider_birdeye_usage(struct eider_birdeye *birdeye, struct eider_birdeye_usage *ret_usage)
{
    int64_t left_us;

    if (!birdeye || !ret_usage) {
        return;
    }
    pthread_mutex_lock(&birdeye->lock);
    *ret_usage = (struct eider_birdeye_usage){.credits = birdeye->credits,
                                              .quota_credits = birdeye->quota_credits,
                                              .quota_units = birdeye->quota_units};
    ret_usage->breaker =
        streak_state(&birdeye->streak, clock_mono_us(birdeye->client->env.clock), &left_us);
    ret_usage->failures_in_a_row = birdeye->streak.failures;
    pthread_mutex_unlock(&birdeye->lock);
    ret_usage->resumes_in_ms = (left_us + 999) / 1000;
    ret_usage->used_percent = 100.0 * (double)ret_usage->credits / (double)ret_usage->quota_credits;
    ret_usage->approaching_limit = ret_usage->used_percent >= LIMIT_PERCENT;
}
