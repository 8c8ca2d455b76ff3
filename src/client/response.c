/* Responses: made here, read by callers. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "client/client_internal.h"

enum { MESSAGE_BYTES_MAX = 1024 };

struct response *
response_new(void)
{
    struct response *response = mem_zalloc(1, sizeof(*response));

    buf_init(&response->body, 0);
    buf_init(&response->message, MESSAGE_BYTES_MAX);
    return response;
}

void
response_message(struct response *response, enum eider_client_status status, const char *fmt, ...)
{
    char text[MESSAGE_BYTES_MAX - 1];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    buf_reset(&response->message);
    buf_add_cstr(&response->message, text);
    response->public.status = status;
}

void
response_refuse(struct response *response, const struct metering_refusal *refusal)
{
    response_message(response, EIDER_CLIENT_REFUSED, "%s", refusal->detail);
    response->public.refusal = refusal->refusal;
    response->public.retry_after_ms = refusal->retry_after_ms;
    snprintf(response->code, sizeof(response->code), "%s", refusal->code);
}

enum eider_client_status
response_finish(struct response *response)
{
    struct eider_response *public = &response->public;

    public->body_len = response->body.len;
    buf_add_char(&response->body, '\0');
    buf_add_char(&response->message, '\0');
    public->body = response->body.ptr;
    public->message = response->message.ptr;
    public->headers = response->headers.items;
    public->header_count = response->headers.count;
    public->code = response->code;
    public->event_id = response->event_id;
    return public->status;
}

const char *
eider_response_header(const struct eider_response *response, const char *name)
{
    if (!response || !name) {
        return NULL;
    }
    return headers_find(response->headers, response->header_count, name);
}

void
eider_response_free(struct eider_response *public)
{
    /* The public part is the first member of what response_new made. */
    struct response *response = (struct response *)(void *)public;

    if (!response) {
        return;
    }
    headers_fini(&response->headers);
    buf_fini(&response->body);
    buf_fini(&response->message);
    free(response);
}

const char *
eider_client_status_name(enum eider_client_status status)
{
    switch (status) {
    case EIDER_CLIENT_OK:
        return "ok";
    case EIDER_CLIENT_HTTP:
        return "http";
    case EIDER_CLIENT_REFUSED:
        return "refused";
    case EIDER_CLIENT_TIMEOUT:
        return "timeout";
    case EIDER_CLIENT_NETWORK:
        return "network";
    case EIDER_CLIENT_TOO_LARGE:
        return "too large";
    case EIDER_CLIENT_STOPPED:
        return "stopped";
    case EIDER_CLIENT_INVALID:
        return "invalid";
    case EIDER_CLIENT_FAILED:
        return "failed";
    }
    return "unknown";
}

const char *
eider_version(void)
{
    return EIDER_VERSION;
}
