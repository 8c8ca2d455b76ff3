/* Options and requests: checked, defaults filled in, copied. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "client/client_internal.h"
#include "codec/json_read.h"
#include "codec/utf8.h"

enum {
    HEADERS_OPTION_MAX = 64,
    TIMEOUT_MS = 30000,
    CONNECT_TIMEOUT_MS = 10000,
    RETRIES = 3,
    RETRIES_MAX = 100,
    RETRY_INITIAL_MS = 1000,
    RETRY_DELAY_MAX_MS = 30000,
    RETRY_AFTER_MAX_MS = 120000,
    LEASE_EXTRA_MS = 30000,
    BUDGET_MINUTES_MAX = 31 * 24 * 60,
    METHOD_MAX = 32,
    PARAMS_BYTES_MAX = 65536
};

static const double RETRY_FACTOR = 2;
static const double RETRY_JITTER = 0.2;
static const size_t BODY_BYTES_MAX = (size_t)64 << 20;
static const size_t BODY_BYTES_LIMIT = (size_t)1 << 30;

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
check_text(const char *name, const char *text, char *problem, size_t size)
{
    if (text && (strlen(text) > TEXT_BYTES_MAX || !utf8_is_text(slice_of(text)))) {
        return wrong(problem, size, "%s is no UTF-8 of at most %d bytes", name, TEXT_BYTES_MAX);
    }
    return true;
}

static bool
check_headers(const struct eider_header *headers, size_t count, char *problem, size_t size)
{
    if (count > HEADERS_OPTION_MAX || (count > 0 && !headers)) {
        return wrong(problem, size, "header_count is %zu; expected at most %d, and headers", count,
                     HEADERS_OPTION_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        if (!headers[i].name || !headers[i].value ||
            !headers_valid(slice_of(headers[i].name), slice_of(headers[i].value))) {
            return wrong(problem, size,
                         "headers[%zu] is \"%.60s\"; expected a header name, and a value without "
                         "control characters",
                         i, headers[i].name ? headers[i].name : "(null)");
        }
    }
    return true;
}

/* Printable ASCII without blanks: what may stand in an URL as it is. */
static bool
is_url_text(const char *text)
{
    size_t len = 0;

    for (; text[len]; len++) {
        unsigned char c = (unsigned char)text[len];
        if (c <= ' ' || c >= 0x7f || len >= URL_BYTES_MAX) {
            return false;
        }
    }
    return true;
}

/* Finds the host's bytes in "scheme://[user@]host[:port][/path]". */
static struct slice
host_of(const char *url)
{
    struct slice rest = slice_of(strstr(url, "://") + 3);
    size_t len = strcspn(rest.ptr, "/?#");
    struct slice host = slice_sub(rest, 0, len);
    struct slice user;

    if (memchr(host.ptr, '@', host.len)) {
        slice_split(&host, '@', &user);
    }
    if (host.len > 0 && host.ptr[0] != '[') {
        struct slice all = host;
        slice_split(&all, ':', &host);
    }
    return host;
}

static bool
check_base_url(const char *url, char *problem, size_t size)
{
    if (!url || !is_url_text(url) || strpbrk(url, "?#") ||
        (!slice_starts(slice_of(url), "http://") && !slice_starts(slice_of(url), "https://")) ||
        host_of(url).len == 0) {
        return wrong(
            problem, size,
            "base_url is \"%.100s\"; expected http(s)://host[:port][/path] without a query",
            url ? url : "(null)");
    }
    return true;
}

static bool
check_numbers(const struct eider_client_options *options, char *problem, size_t size)
{
    const struct {
        const char *name;
        int value;
    } positive[] = {{"timeout_ms", options->timeout_ms},
                    {"connect_timeout_ms", options->connect_timeout_ms},
                    {"retry_initial_ms", options->retry_initial_ms},
                    {"retry_delay_max_ms", options->retry_delay_max_ms},
                    {"retry_after_max_ms", options->retry_after_max_ms},
                    {"eider_timeout_ms", options->eider_timeout_ms},
                    {"lease_ms", options->lease_ms},
                    {"budget_minutes", options->budget_minutes}};

    for (size_t i = 0; i < sizeof(positive) / sizeof(positive[0]); i++) {
        if (positive[i].value < 0) {
            return wrong(problem, size,
                         "%s is %d; expected a positive number, or 0 for the default",
                         positive[i].name, positive[i].value);
        }
    }
    if (options->retries_max > RETRIES_MAX) {
        return wrong(problem, size, "retries_max is %d; expected at most %d", options->retries_max,
                     RETRIES_MAX);
    }
    if (options->retry_factor != 0 &&
        !(options->retry_factor >= 1 && options->retry_factor <= 100)) {
        return wrong(problem, size, "retry_factor is %g; expected 1 to 100", options->retry_factor);
    }
    if (!(options->retry_jitter <= 1)) {
        return wrong(problem, size, "retry_jitter is %g; expected at most 1",
                     options->retry_jitter);
    }
    if (options->body_bytes_max > BODY_BYTES_LIMIT) {
        return wrong(problem, size, "body_bytes_max is %zu; expected at most %zu",
                     options->body_bytes_max, BODY_BYTES_LIMIT);
    }
    if (options->max_credits < 0) {
        return wrong(problem, size, "max_credits is %lld; expected 0 or more",
                     (long long)options->max_credits);
    }
    if (options->budget_minutes > BUDGET_MINUTES_MAX) {
        return wrong(problem, size, "budget_minutes is %d; expected at most %d",
                     options->budget_minutes, BUDGET_MINUTES_MAX);
    }
    if (options->eider_url && options->data_dir) {
        return wrong(problem, size, "eider_url and data_dir are both given; expected one of them");
    }
    return true;
}

static bool
check(const struct eider_client_options *options, char *problem, size_t size)
{
    return check_base_url(options->base_url, problem, size) &&
           check_text("api_name", options->api_name, problem, size) &&
           check_text("key_label", options->key_label, problem, size) &&
           check_text("run_id", options->run_id, problem, size) &&
           check_text("project", options->project, problem, size) &&
           check_headers(options->headers, options->header_count, problem, size) &&
           check_numbers(options, problem, size);
}

static int
or_default(int value, int fallback)
{
    return value ? value : fallback;
}

static char *
copy(const char *text)
{
    return text ? mem_strdup(slice_of(text)) : NULL;
}

static void
fill_retry(struct retry_policy *retry, const struct eider_client_options *options)
{
    int retries = or_default(options->retries_max, RETRIES);
    double jitter = options->retry_jitter != 0 ? options->retry_jitter : RETRY_JITTER;

    *retry = (struct retry_policy){
        .retries_max = retries > 0 ? retries : 0,
        .initial_ms = or_default(options->retry_initial_ms, RETRY_INITIAL_MS),
        .factor = options->retry_factor != 0 ? options->retry_factor : RETRY_FACTOR,
        .delay_max_ms = or_default(options->retry_delay_max_ms, RETRY_DELAY_MAX_MS),
        .jitter = jitter > 0 ? jitter : 0,
        .retry_after_max_ms = or_default(options->retry_after_max_ms, RETRY_AFTER_MAX_MS),
    };
}

bool
settings_init(struct client_settings *settings, const struct eider_client_options *options,
              char *ret_problem, size_t problem_size)
{
    if (!check(options, ret_problem, problem_size)) {
        return false;
    }
    struct slice base = slice_of(options->base_url);
    while (base.len > 0 && base.ptr[base.len - 1] == '/') {
        base.len--;
    }
    *settings = (struct client_settings){
        .base_url = mem_strdup(base),
        .api_name = mem_strdup(options->api_name ? slice_of(options->api_name)
                                                 : host_of(options->base_url)),
        .key_label = copy(options->key_label),
        .run_id = copy(options->run_id),
        .project = copy(options->project),
        .timeout_ms = or_default(options->timeout_ms, TIMEOUT_MS),
        .connect_timeout_ms = or_default(options->connect_timeout_ms, CONNECT_TIMEOUT_MS),
        .body_bytes_max = options->body_bytes_max ? options->body_bytes_max : BODY_BYTES_MAX,
        .on_request = options->on_request,
        .on_response = options->on_response,
        .credits = options->credits,
        .redact = options->redact,
        .ctx = options->ctx,
        .use_price_book = options->use_price_book,
        .max_credits = options->max_credits,
    };
    settings->lease_ms = options->lease_ms;
    if (!settings->lease_ms) {
        bool fits = settings->timeout_ms < INT32_MAX - LEASE_EXTRA_MS;
        settings->lease_ms = fits ? settings->timeout_ms + LEASE_EXTRA_MS : INT32_MAX;
    }
    fill_retry(&settings->retry, options);
    for (size_t i = 0; i < options->header_count; i++) {
        headers_set(&settings->headers, slice_of(options->headers[i].name),
                    slice_of(options->headers[i].value));
    }
    return true;
}

void
settings_fini(struct client_settings *settings)
{
    free(settings->base_url);
    free(settings->api_name);
    free(settings->key_label);
    free(settings->run_id);
    free(settings->project);
    headers_fini(&settings->headers);
}

static bool
is_method(const char *method)
{
    size_t len = strlen(method);

    for (size_t i = 0; i < len; i++) {
        if (!isalpha((unsigned char)method[i])) {
            return false;
        }
    }
    return len > 0 && len < METHOD_MAX;
}

static bool
is_object(struct slice text)
{
    return text.len <= PARAMS_BYTES_MAX && slice_starts(slice_trim(text), "{") && json_valid(text);
}

bool
request_check(const struct eider_request *request, char *ret_problem, size_t problem_size)
{
    const char *path = request->path;

    if (path && path[0] && (path[0] != '/' || !is_url_text(path) || strchr(path, '#'))) {
        return wrong(ret_problem, problem_size,
                     "path is \"%.100s\"; expected \"/...\", percent-encoded, at most %d bytes",
                     path, URL_BYTES_MAX);
    }
    if (request->method && !is_method(request->method)) {
        return wrong(ret_problem, problem_size, "method is \"%.40s\"; expected letters",
                     request->method);
    }
    if (request->content_type &&
        !headers_valid(slice_of("Content-Type"), slice_of(request->content_type))) {
        return wrong(ret_problem, problem_size, "content_type holds control characters");
    }
    if (!request->body && request->body_len > 0) {
        return wrong(ret_problem, problem_size, "body is NULL, body_len is %zu", request->body_len);
    }
    if (request->timeout_ms < 0) {
        return wrong(ret_problem, problem_size, "timeout_ms is %d; expected a positive number",
                     request->timeout_ms);
    }
    if (request->max_credits < 0) {
        return wrong(ret_problem, problem_size, "max_credits is %lld; expected 0 or more",
                     (long long)request->max_credits);
    }
    if (request->params_json && !is_object(slice_of(request->params_json))) {
        return wrong(ret_problem, problem_size, "params_json is \"%.60s\"; expected a JSON object",
                     request->params_json);
    }
    return check_text("key_label", request->key_label, ret_problem, problem_size) &&
           check_text("run_id", request->run_id, ret_problem, problem_size) &&
           check_text("project", request->project, ret_problem, problem_size) &&
           check_headers(request->headers, request->header_count, ret_problem, problem_size);
}
