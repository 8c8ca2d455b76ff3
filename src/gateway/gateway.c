/* The gateway's life, and the way of a request up to its call. */
#include "gateway/gateway.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "gateway/gateway_private.h"

enum { THREADS_MAX = 16, CALLS_MAX = 1024, LEASE_MS = 120000 };
static const uint64_t body_bytes_max = UINT64_C(1) << 30;

int64_t
gateway_now_us(const struct gateway *gateway)
{
    return clock_mono_us(gateway->clock);
}

void
gateway_tell(struct gateway *gateway, bool is_problem, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (gateway->options.event) {
        gateway->options.event(gateway->options.event_ctx, is_problem, text);
    }
}

static void
free_gateway(struct gateway *gateway)
{
    for (unsigned i = 0; i < gateway->lane_count; i++) {
        lane_stop(&gateway->lanes[i]);
    }
    for (size_t i = 0; i < gateway->upstream_count; i++) {
        upstream_fini(&gateway->upstreams[i]);
    }
    pthread_mutex_destroy(&gateway->lock);
    free(gateway->lanes);
    free(gateway->upstreams);
    free(gateway);
}

static void
set_defaults(struct gateway_options *options)
{
    options->threads = options->threads ? options->threads : 1;
    options->threads = options->threads > THREADS_MAX ? THREADS_MAX : options->threads;
    options->calls_max = options->calls_max ? options->calls_max : CALLS_MAX;
    options->body_bytes_max = options->body_bytes_max ? options->body_bytes_max : body_bytes_max;
    options->lease_ms = options->lease_ms ? options->lease_ms : LEASE_MS;
    options->upstreams = NULL; /* the caller's memory */
}

static enum err_code
add_upstreams(struct gateway *gateway, const struct gateway_options *options, struct err *err)
{
    if (options->upstream_count > GATEWAY_UPSTREAMS_MAX) {
        return err_set(err, ERR_USAGE, "%zu upstreams; expected at most %d",
                       options->upstream_count, GATEWAY_UPSTREAMS_MAX);
    }
    gateway->upstreams = mem_zalloc(options->upstream_count + 1, sizeof(*gateway->upstreams));
    for (size_t i = 0; i < options->upstream_count; i++) {
        enum err_code code = upstream_init(&gateway->upstreams[i], &options->upstreams[i], err);
        if (code != ERR_OK) {
            return code;
        }
        gateway->upstream_count++;
        for (size_t j = 0; j < i; j++) {
            if (strcmp(gateway->upstreams[j].options.name, options->upstreams[i].name) == 0) {
                return err_set(err, ERR_USAGE, "upstream %s is given twice",
                               options->upstreams[i].name);
            }
        }
    }
    return ERR_OK;
}

enum err_code
gateway_open(const struct gateway_options *options, struct gateway **ret_gateway, struct err *err)
{
    struct gateway *gateway = mem_zalloc(1, sizeof(*gateway));

    assert(options->meter.reserve && options->meter.commit && options->meter.release);
    pthread_mutex_init(&gateway->lock, NULL);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    gateway->options = *options;
    set_defaults(&gateway->options);
    gateway->clock = options->clock ? options->clock : clock_system();
    enum err_code code = add_upstreams(gateway, options, err);
    if (code == ERR_OK) {
        gateway->lanes = mem_zalloc(gateway->options.threads, sizeof(*gateway->lanes));
    }
    for (unsigned i = 0; code == ERR_OK && i < gateway->options.threads; i++) {
        gateway->lane_count = i + 1;
        code = lane_start(&gateway->lanes[i], gateway, i, err);
    }
    if (code != ERR_OK) {
        free_gateway(gateway);
        return code;
    }
    *ret_gateway = gateway;
    return ERR_OK;
}

void
gateway_close(struct gateway *gateway)
{
    if (gateway) {
        free_gateway(gateway);
        curl_global_cleanup();
    }
}

bool
gateway_is_path(struct slice path)
{
    return slice_is(path, "/gateway") || slice_starts(path, "/gateway/");
}

void
gateway_accept(const struct gateway *gateway, struct http_exchange *exchange,
               uint64_t *ret_body_max)
{
    http_stream_body(exchange);
    *ret_body_max = gateway->options.body_bytes_max;
}

static void
answer_unknown(const struct gateway *gateway, struct http_exchange *exchange, struct slice name)
{
    struct buf text BUF_AUTO = {0};

    buf_init(&text, 0);
    if (name.len > 0) {
        buf_add_fmt(&text, "there is no upstream \"%.*s\"", SLICE_FMT(slice_sub(name, 0, 64)));
    } else {
        buf_add_cstr(&text, "expected /gateway/UPSTREAM/PATH");
    }
    for (size_t i = 0; i < gateway->upstream_count; i++) {
        buf_add_fmt(&text, "%s%s", i ? ", " : "; configured: ", gateway->upstreams[i].options.name);
    }
    if (gateway->upstream_count == 0) {
        buf_add_cstr(&text, "; none is configured (gateway.upstreams)");
    }
    buf_add_char(&text, '\0');
    reply_error_json(exchange, 404, err_name(ERR_NOT_FOUND), text.ptr, 0);
}

static struct upstream *
find_upstream(struct gateway *gateway, struct slice name)
{
    for (size_t i = 0; i < gateway->upstream_count; i++) {
        if (slice_is(name, gateway->upstreams[i].options.name)) {
            return &gateway->upstreams[i];
        }
    }
    return NULL;
}

/* Answers here while the upstream's breaker does not let calls pass. */
static bool
is_broken(struct gateway *gateway, struct upstream *upstream, struct http_exchange *exchange)
{
    pthread_mutex_lock(&gateway->lock);
    int64_t wait_us = breaker_wait_us(&upstream->breaker, gateway_now_us(gateway));
    unsigned failures = upstream->breaker.failures;
    pthread_mutex_unlock(&gateway->lock);
    if (wait_us == 0) {
        return false;
    }
    int wait_s = (int)((wait_us + 999999) / 1000000);
    const char *detail =
        arena_fmt(http_arena(exchange),
                  "the upstream %s has failed %u times in a row; it is tried again in %d s",
                  upstream->options.name, failures, wait_s);
    atomic_fetch_add(&gateway->breaker_refused, 1);
    reply_error_json(exchange, 503, "UPSTREAM_BREAKER_OPEN", detail, wait_s);
    return true;
}

void
gateway_handle(struct gateway *gateway, struct http_exchange *exchange,
               const struct gateway_credentials *ours)
{
    struct forward_target target;
    struct err err;
    enum err_code code = forward_parse(http_local_target(exchange), &target, &err);

    if (code != ERR_OK) {
        reply_error_json(exchange, err_http_status(code), err_name(code), err.msg, 0);
        return;
    }
    struct upstream *upstream = find_upstream(gateway, target.name);
    if (!upstream) {
        answer_unknown(gateway, exchange, target.name);
        return;
    }
    if (atomic_load(&gateway->active) >= gateway->options.calls_max) {
        const char *detail =
            arena_fmt(http_arena(exchange), "%u calls are being forwarded already; try again",
                      gateway->options.calls_max);
        reply_error_json(exchange, 503, err_name(ERR_BUSY), detail, 1);
        return;
    }
    if (is_broken(gateway, upstream, exchange)) {
        return;
    }
    if (ours->access_token) {
        target.query = forward_strip_query(http_arena(exchange), target.query, "access_token");
    }
    call_new(gateway, upstream, exchange, &target, ours);
}

void
gateway_stats(const struct gateway *gateway, struct gateway_stats *ret_stats)
{
    *ret_stats = (struct gateway_stats){.calls = gateway->calls,
                                        .active = gateway->active,
                                        .refused = gateway->refused,
                                        .attempts = gateway->attempts,
                                        .retries = gateway->retries,
                                        .upstream_errors = gateway->upstream_errors,
                                        .breaker_refused = gateway->breaker_refused,
                                        .clients_gone = gateway->clients_gone,
                                        .commit_failures = gateway->commit_failures,
                                        .bytes_up = gateway->bytes_up,
                                        .bytes_down = gateway->bytes_down};
}

bool
gateway_upstream_status(struct gateway *gateway, size_t index,
                        struct gateway_upstream_status *ret_status)
{
    if (index >= gateway->upstream_count) {
        return false;
    }
    struct upstream *upstream = &gateway->upstreams[index];
    pthread_mutex_lock(&gateway->lock);
    int64_t wait_us = breaker_wait_us(&upstream->breaker, gateway_now_us(gateway));
    *ret_status = (struct gateway_upstream_status){.name = upstream->options.name,
                                                   .api_name = upstream->options.api_name,
                                                   .state = upstream->breaker.state,
                                                   .failures = upstream->breaker.failures,
                                                   .opens_in_ms = wait_us / US_PER_MS};
    pthread_mutex_unlock(&gateway->lock);
    return true;
}
