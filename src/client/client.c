/* The client: open, the loop of attempts, waiting, close. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "client/client_internal.h"

enum { METHOD_MAX = 32, PROBLEM_MAX = 512, QUEUE = 10000, CLOSE_FLUSH_MS = 5000 };

static void
init_locks(struct eider_client *client)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&client->stopped, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&client->lock, NULL);
}

enum eider_client_status
client_open_with(const struct eider_client_options *options, const struct client_env *env,
                 struct eider_client **ret_client, char *ret_problem, size_t problem_size)
{
    struct metering_options metering = {.backend = env->metering,
                                        .fail_open = options->fail_open,
                                        .queue_max =
                                            options->queue_max ? options->queue_max : QUEUE,
                                        .clock = env->clock ? env->clock : clock_system()};
    struct client_settings settings;

    if (!settings_init(&settings, options, ret_problem, problem_size)) {
        return EIDER_CLIENT_INVALID;
    }
    struct eider_client *client = mem_zalloc(1, sizeof(*client));
    client->settings = settings;
    client->env = *env;
    client->env.clock = metering.clock;
    client->transport = env->transport;
    client->metering = metering_new(&metering);
    init_locks(client);
    rng_init(&client->rng, (uint64_t)clock_mono_us(clock_system()) ^ (uint64_t)(uintptr_t)client);
    *ret_client = client;
    return EIDER_CLIENT_OK;
}

void
eider_client_close(struct eider_client *client)
{
    if (!client) {
        return;
    }
    eider_client_flush(client, CLOSE_FLUSH_MS);
    metering_free(client->metering);
    client->transport->free(client->transport);
    settings_fini(&client->settings);
    pthread_cond_destroy(&client->stopped);
    pthread_mutex_destroy(&client->lock);
    free(client);
}

void
eider_client_stop(struct eider_client *client)
{
    if (!client) {
        return;
    }
    atomic_store(&client->stop, true);
    pthread_mutex_lock(&client->lock);
    pthread_cond_broadcast(&client->stopped);
    pthread_mutex_unlock(&client->lock);
}

size_t
eider_client_flush(struct eider_client *client, int timeout_ms)
{
    if (!client) {
        return 0;
    }
    int64_t now_us = clock_mono_us(client->env.clock);

    return metering_flush(client->metering, now_us + (int64_t)timeout_ms * 1000);
}

bool
client_sleep(struct eider_client *client, int64_t ms)
{
    struct timespec until;

    if (client->env.sleep_ms) {
        client->env.sleep_ms(client->env.ctx, ms);
        return !atomic_load(&client->stop);
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ms / 1000);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&client->lock);
    while (!atomic_load(&client->stop) &&
           pthread_cond_timedwait(&client->stopped, &client->lock, &until) != ETIMEDOUT) {
    }
    pthread_mutex_unlock(&client->lock);
    return !atomic_load(&client->stop);
}

double
client_random(struct eider_client *client)
{
    if (client->env.random) {
        return client->env.random(client->env.ctx);
    }
    pthread_mutex_lock(&client->lock);
    double value = rng_double(&client->rng);
    pthread_mutex_unlock(&client->lock);
    return value;
}

/* ---- the loop ---- */

/* The director of the base client. */
struct plain {
    struct director director; /* first */
    struct eider_client *client;
};

static int64_t
plain_after(struct director *director, const struct attempt *attempt,
            const struct response *response)
{
    struct plain *plain = (struct plain *)(void *)director;
    const struct retry_policy *policy = &plain->client->settings.retry;

    (void)response;
    return retry_delay_ms(policy, &attempt->result, (int)attempt->number,
                          client_random(plain->client));
}

static void
upper_method(const char *method, char ret_method[METHOD_MAX])
{
    size_t i = 0;

    for (; method[i] && i < METHOD_MAX - 1; i++) {
        ret_method[i] = (char)toupper((unsigned char)method[i]);
    }
    ret_method[i] = '\0';
}

static void
set_headers(const struct eider_client *client, const struct eider_request *request,
            struct eider_headers *headers)
{
    const struct eider_headers *ours = &client->settings.headers;

    for (size_t i = 0; i < ours->count; i++) {
        headers_set(headers, slice_of(ours->items[i].name), slice_of(ours->items[i].value));
    }
    if (request->content_type) {
        headers_set(headers, slice_of("Content-Type"), slice_of(request->content_type));
    } else if (request->body) {
        /* Else libcurl would say that it is a form. */
        headers_set(headers, slice_of("Content-Type"), slice_of("application/octet-stream"));
    }
    for (size_t i = 0; i < request->header_count; i++) {
        headers_set(headers, slice_of(request->headers[i].name),
                    slice_of(request->headers[i].value));
    }
}

static void
count(struct eider_client *client, uint64_t *counter)
{
    pthread_mutex_lock(&client->lock);
    ++*counter;
    pthread_mutex_unlock(&client->lock);
}

static void
say_stopped(struct response *response)
{
    response_message(response, EIDER_CLIENT_STOPPED, "the client was stopped");
}

/* One attempt; the wait before the next, or -1. */
static int64_t
once(struct eider_client *client, struct director *director, struct attempt *attempt,
     struct response *response)
{
    int64_t delay = -1;

    if (atomic_load(&client->stop)) {
        say_stopped(response);
        return -1;
    }
    attempt->key_label =
        attempt->request->key_label ? attempt->request->key_label : client->settings.key_label;
    set_headers(client, attempt->request, &attempt->headers);
    if (!director->before || director->before(director, attempt, response)) {
        attempt_make(client, attempt, response);
        if (attempt->sent) {
            delay = director->after(director, attempt, response);
        }
    }
    headers_fini(&attempt->headers);
    return attempt->request->no_retry ? -1 : delay;
}

enum eider_client_status
client_run(struct eider_client *client, const struct eider_request *request,
           struct director *director, struct eider_response **ret_response)
{
    struct plain plain = {.director = {.after = plain_after}, .client = client};
    struct response *response = response_new();
    char method[METHOD_MAX] = "GET";
    char problem[PROBLEM_MAX];
    int64_t delay = -1;

    *ret_response = &response->public;
    count(client, &client->stats.calls);
    if (!request_check(request, problem, sizeof(problem))) {
        response_message(response, EIDER_CLIENT_INVALID, "%s", problem);
        return response_finish(response);
    }
    if (request->method) {
        upper_method(request->method, method);
    }
    for (unsigned number = 1;; number++) {
        struct attempt attempt = {.request = request, .method = method, .number = number};
        delay = once(client, director ? director : &plain.director, &attempt, response);
        if (delay < 0) {
            break;
        }
        if (!client_sleep(client, delay)) {
            say_stopped(response);
            break;
        }
        count(client, &client->stats.retries);
    }
    return response_finish(response);
}

enum eider_client_status
eider_client_send(struct eider_client *client, const struct eider_request *request,
                  struct eider_response **ret_response)
{
    if (!ret_response) {
        return EIDER_CLIENT_INVALID;
    }
    if (!client || !request) {
        struct response *response = response_new();
        response_message(response, EIDER_CLIENT_INVALID, "client and request must not be NULL");
        *ret_response = &response->public;
        return response_finish(response);
    }
    return client_run(client, request, NULL, ret_response);
}

enum eider_client_status
eider_client_get(struct eider_client *client, const char *path,
                 struct eider_response **ret_response)
{
    const struct eider_request request = {.path = path};

    return eider_client_send(client, &request, ret_response);
}

void
eider_client_stats(struct eider_client *client, struct eider_client_stats *ret_stats)
{
    struct metering_stats metering;

    if (!client || !ret_stats) {
        return;
    }
    metering_stats(client->metering, &metering);
    pthread_mutex_lock(&client->lock);
    *ret_stats = client->stats;
    pthread_mutex_unlock(&client->lock);
    ret_stats->unmetered = metering.unmetered;
    ret_stats->booked_late = metering.booked_late;
    ret_stats->lost = metering.lost;
    ret_stats->queued = metering.queued;
}
