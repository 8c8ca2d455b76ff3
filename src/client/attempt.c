/* One attempt: reserve, hook, send, cost, book, hook. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "client/client_internal.h"
#include "codec/json_write.h"
#include "meter/redact.h"

enum {
    HTTP_TOO_MANY = 429,
    PATH_BYTES_MAX = 65536, /* of a path with its masks */
    METADATA_BYTES_MAX = 2 * PATH_BYTES_MAX,
    WHOLE_URL_BYTES_MAX = 2 * URL_BYTES_MAX,
    ERROR_BYTES_MAX = 1024
};

/* All that belongs to one attempt while it runs. */
struct run {
    struct eider_client *client;
    const struct eider_request *request;
    struct attempt *attempt;
    struct response *response;
    struct buf url;
    struct buf masked_path;
    struct buf metadata;
    struct buf endpoint;
    struct slice query;
    struct eider_call call; /* for hooks */
    struct metering_call metering;
    struct transport_answer answer;
    char error[ERROR_BYTES_MAX];
};

static void
terminate(struct buf *buf)
{
    buf_add_char(buf, '\0');
}

/* Lets the program's hook change a text; what it returns is trusted only as far as it is shorter.
 */
static void
redact_more(const struct client_settings *settings, char *text, size_t *len)
{
    if (settings->redact) {
        size_t changed = settings->redact(settings->ctx, text, *len);
        *len = changed < *len ? changed : *len;
    }
}

static void
begin_urls(struct run *run)
{
    const struct client_settings *settings = &run->client->settings;
    struct slice path = slice_of(run->request->path);
    struct slice rest = path;
    struct slice endpoint;

    slice_split(&rest, '?', &endpoint);
    buf_add_cstr(&run->url, settings->base_url);
    buf_add_slice(&run->url, path);
    terminate(&run->url);
    redact_url(endpoint.len > 0 ? endpoint : SLICE_LITERAL("unknown"), &run->endpoint);
    terminate(&run->endpoint);
    redact_url(path, &run->masked_path);
    if (run->masked_path.len > 0) {
        redact_more(settings, run->masked_path.ptr, &run->masked_path.len);
    }
    run->query = buf_slice(&run->masked_path);
    slice_split(&run->query, '?', &endpoint);
}

static void
begin_metering(struct run *run)
{
    const struct client_settings *settings = &run->client->settings;
    const struct eider_request *request = run->request;

    run->metering = (struct metering_call){
        .api_name = settings->api_name,
        .endpoint = run->endpoint.ptr,
        .method = run->attempt->method,
        .key = run->attempt->key_label,
        .run_id = request->run_id ? request->run_id : settings->run_id,
        .project = request->project ? request->project : settings->project,
        .params_json = slice_of(request->params_json),
        .query = run->query,
        .max_credits = request->has_max_credits ? request->max_credits : settings->max_credits,
        .ttl_ms = settings->lease_ms,
    };
    run->metering.has_max =
        request->has_max_credits || settings->max_credits > 0 || !settings->use_price_book;
}

static void
begin(struct run *run)
{
    buf_init(&run->url, WHOLE_URL_BYTES_MAX);
    buf_init(&run->masked_path, PATH_BYTES_MAX);
    buf_init(&run->metadata, METADATA_BYTES_MAX);
    buf_init(&run->endpoint, PATH_BYTES_MAX);
    transport_answer_init(&run->answer, run->client->settings.body_bytes_max);
    begin_urls(run);
    begin_metering(run);
    run->call = (struct eider_call){.api_name = run->metering.api_name,
                                    .endpoint = run->metering.endpoint,
                                    .method = run->metering.method,
                                    .url = run->url.ptr,
                                    .attempt = run->attempt->number};
}

static void
end(struct run *run)
{
    transport_answer_fini(&run->answer);
    buf_fini(&run->url);
    buf_fini(&run->masked_path);
    buf_fini(&run->metadata);
    buf_fini(&run->endpoint);
}

static void
send_it(struct run *run)
{
    struct eider_client *client = run->client;
    const struct eider_request *request = run->request;
    struct transport_request send = {
        .method = run->attempt->method,
        .url = run->url.ptr,
        .headers = &run->attempt->headers,
        .body = slice_make(request->body, request->body_len),
        .has_body = request->body != NULL,
        .timeout_ms = request->timeout_ms ? request->timeout_ms : client->settings.timeout_ms,
        .connect_timeout_ms = client->settings.connect_timeout_ms,
        .body_bytes_max = client->settings.body_bytes_max,
        .sink = request->sink,
        .sink_ctx = request->sink_ctx,
        .stop = &client->stop,
    };

    run->attempt->started_us = clock_mono_us(client->env.clock);
    client->transport->send(client->transport, &send, &run->answer);
    run->attempt->ended_us = clock_mono_us(client->env.clock);
}

/* The status line counts unless the answer broke off: then, as in the original, there was none. */
static int
known_status(const struct transport_answer *answer)
{
    bool broken = answer->result == TRANSPORT_TIMEOUT || answer->result == TRANSPORT_NETWORK;

    return broken ? 0 : answer->status;
}

/* The texts of the original's base client; what is not of its making follows their manner. */
static enum eider_client_status
judge(struct run *run)
{
    const struct transport_answer *answer = &run->answer;
    const char *name = run->client->settings.api_name;
    int size = (int)sizeof(run->error);

    switch (answer->result) {
    case TRANSPORT_ANSWERED:
        if (answer->status >= 200 && answer->status < 300) {
            return EIDER_CLIENT_OK;
        }
        if (answer->status == HTTP_TOO_MANY) {
            snprintf(run->error, (size_t)size, "Rate limit exceeded for %s", name);
        } else {
            snprintf(run->error, (size_t)size, "%s answered with status %d", name, answer->status);
        }
        return EIDER_CLIENT_HTTP;
    case TRANSPORT_TIMEOUT:
        snprintf(run->error, (size_t)size, "Request to %s timed out", name);
        return EIDER_CLIENT_TIMEOUT;
    case TRANSPORT_NETWORK:
        snprintf(run->error, (size_t)size, "Network error: %s", answer->problem);
        return EIDER_CLIENT_NETWORK;
    case TRANSPORT_TOO_LARGE:
        snprintf(run->error, (size_t)size, "The answer of %s is larger than %zu bytes", name,
                 run->client->settings.body_bytes_max);
        return EIDER_CLIENT_TOO_LARGE;
    case TRANSPORT_STOPPED:
        snprintf(run->error, (size_t)size, "The request to %s was stopped", name);
        return EIDER_CLIENT_STOPPED;
    }
    return EIDER_CLIENT_FAILED;
}

static void
write_metadata(struct run *run)
{
    struct json_writer json;
    struct buf base BUF_AUTO = {0};

    buf_init(&base, PATH_BYTES_MAX);
    redact_url(slice_of(run->client->settings.base_url), &base);
    json_init(&json, &run->metadata);
    json_object_begin(&json);
    json_key(&json, "url");
    json_str(&json, buf_slice(&run->masked_path));
    json_key(&json, "method");
    json_cstr(&json, run->attempt->method);
    json_key(&json, "baseURL");
    json_str(&json, buf_slice(&base));
    json_object_end(&json);
    terminate(&run->metadata);
}

static void
book(struct run *run, const struct metering_grant *grant, enum eider_client_status status)
{
    struct eider_client *client = run->client;
    const struct client_settings *settings = &client->settings;
    struct response *response = run->response;
    struct metering_receipt receipt;
    struct metering_outcome outcome = {
        .has_status = run->call.http_status > 0,
        .status = run->call.http_status,
        .success = status == EIDER_CLIENT_OK,
        .latency_ms = run->call.latency_ms,
        .has_credits = settings->credits != NULL || !settings->use_price_book,
        .started_us =
            clock_wall_us(client->env.clock) - (run->attempt->ended_us - run->attempt->started_us),
        .error_message = run->error[0] ? run->error : NULL,
        .request_bytes = run->request->body_len,
        .response_bytes = run->answer.body.len,
    };

    if (settings->credits) {
        int64_t credits = settings->credits(settings->ctx, &run->call);
        outcome.credits = credits > 0 ? credits : 0;
    }
    write_metadata(run);
    outcome.metadata_json = run->metadata.overflow ? NULL : run->metadata.ptr;
    metering_commit(client->metering, grant, &run->metering, &outcome, &receipt);
    run->call.credits = receipt.credits;
    response->public.credits += receipt.credits;
    snprintf(response->event_id, sizeof(response->event_id), "%s", receipt.event_id);
    pthread_mutex_lock(&client->lock);
    client->stats.attempts++;
    client->stats.successes += status == EIDER_CLIENT_OK;
    client->stats.credits += receipt.credits;
    pthread_mutex_unlock(&client->lock);
}

static void
describe(struct run *run, enum eider_client_status status)
{
    size_t len = strlen(run->error);

    redact_more(&run->client->settings, run->error, &len);
    run->error[len] = '\0';
    run->call.http_status = known_status(&run->answer);
    run->call.success = status == EIDER_CLIENT_OK;
    run->call.latency_ms = (double)(run->attempt->ended_us - run->attempt->started_us) / 1000.0;
    run->call.headers = run->answer.headers.items;
    run->call.header_count = run->answer.headers.count;
    run->call.error_message = len > 0 ? run->error : NULL;
    /* The cap was the transport's; what is cut would only mislead. */
    run->answer.body.max_bytes = SIZE_MAX;
    if (run->answer.body.overflow) {
        buf_reset(&run->answer.body);
    }
    buf_add_char(&run->answer.body, '\0');
    run->answer.body.len--;
    if (!run->answer.sink_used) {
        run->call.body = run->answer.body.ptr;
        run->call.body_len = run->answer.body.len;
    }
}

/* Hands the answer over to the response, and to whoever decides on the next attempt. */
static void
hand_over(struct run *run, enum eider_client_status status)
{
    struct response *response = run->response;
    struct retry_attempt *result = &run->attempt->result;
    const char *after = headers_find(run->call.headers, run->call.header_count, "Retry-After");

    *result = (struct retry_attempt){
        .answered = run->answer.result == TRANSPORT_ANSWERED,
        .status = run->call.http_status,
        .sent = run->answer.sent,
        .final = status == EIDER_CLIENT_TOO_LARGE || status == EIDER_CLIENT_STOPPED ||
                 run->answer.sink_used || run->answer.hopeless,
        .repeatable = retry_method(slice_of(run->attempt->method)) || run->request->retry_unsafe,
    };
    if (after && result->answered && !run->call.success) {
        retry_after_parse(slice_of(after), clock_wall_us(run->client->env.clock),
                          &result->retry_after_ms);
    }
    response->public.refusal = EIDER_REFUSAL_NONE;
    response->public.http_status = run->call.http_status;
    response->public.latency_ms = run->call.latency_ms;
    response->public.attempts = run->attempt->number;
    response->public.retry_after_ms = result->retry_after_ms;
    response_message(response, status, "%s", run->error);
    headers_fini(&response->headers);
    response->headers = run->answer.headers;
    run->answer.headers = (struct eider_headers){0};
    buf_fini(&response->body);
    response->body = run->answer.body;
    buf_init(&run->answer.body, 0);
}

static void
go(struct run *run, const struct metering_grant *grant)
{
    struct eider_client *client = run->client;
    const struct client_settings *settings = &client->settings;

    run->call.reserved = grant->credits;
    if (settings->on_request &&
        !settings->on_request(settings->ctx, &run->call, &run->attempt->headers)) {
        metering_release(client->metering, grant);
        response_message(run->response, EIDER_CLIENT_STOPPED,
                         "the request hook stopped the call; nothing was sent");
        return;
    }
    send_it(run);
    run->attempt->sent = true;
    enum eider_client_status status = judge(run);
    describe(run, status);
    book(run, grant, status);
    if (settings->on_response) {
        settings->on_response(settings->ctx, &run->call);
    }
    hand_over(run, status);
}

void
attempt_make(struct eider_client *client, struct attempt *attempt, struct response *response)
{
    struct run run = {
        .client = client, .request = attempt->request, .attempt = attempt, .response = response};
    struct metering_refusal refusal;
    struct metering_grant grant;

    attempt->sent = false;
    begin(&run);
    if (metering_reserve(client->metering, &run.metering, &grant, &refusal) == METERING_DONE) {
        go(&run, &grant);
    } else {
        response_refuse(response, &refusal);
        pthread_mutex_lock(&client->lock);
        client->stats.refused++;
        pthread_mutex_unlock(&client->lock);
    }
    end(&run);
}
