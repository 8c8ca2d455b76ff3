/* Reading parameters and bodies of requests, with errors that name field, value and expectation. */
#include "api/api_private.h"
#include "codec/number.h"
#include "codec/time.h"

enum { SHOWN_BYTES = 60 };

enum err_code
request_int(const struct http_exchange *exchange, const char *name, int64_t min, int64_t max,
            int64_t fallback, int64_t *ret_value, struct err *err)
{
    struct slice text;
    int64_t value;

    if (!http_query(exchange, name, &text)) {
        *ret_value = fallback;
        return ERR_OK;
    }
    if (!number_parse_i64(text, &value) || value < min || value > max) {
        struct slice shown = slice_sub(text, 0, SHOWN_BYTES);
        return err_set(err, ERR_INVALID, "%s is \"%.*s\"; expected an integer from %lld to %lld",
                       name, SLICE_FMT(shown), (long long)min, (long long)max);
    }
    *ret_value = value;
    return ERR_OK;
}

enum err_code
request_time(const struct http_exchange *exchange, const char *name, int64_t fallback,
             int64_t *ret_us, struct err *err)
{
    struct slice text;

    if (!http_query(exchange, name, &text)) {
        *ret_us = fallback;
        return ERR_OK;
    }
    if (!time_parse_iso8601(text, ret_us)) {
        struct slice shown = slice_sub(text, 0, SHOWN_BYTES);
        return err_set(err, ERR_INVALID,
                       "%s is \"%.*s\"; expected an ISO 8601 time such as 2026-01-02T03:04:05Z",
                       name, SLICE_FMT(shown));
    }
    return ERR_OK;
}

enum err_code
request_word(const struct http_exchange *exchange, const char *name, const char *const *words,
             int fallback, int *ret_index, struct err *err)
{
    char expected[ERR_MSG_MAX / 2] = "";
    size_t used = 0;
    struct slice text;

    if (!http_query(exchange, name, &text)) {
        *ret_index = fallback;
        return ERR_OK;
    }
    for (int i = 0; words[i]; i++) {
        if (slice_is_nocase(text, words[i])) {
            *ret_index = i;
            return ERR_OK;
        }
        if (used < sizeof(expected)) {
            used += (size_t)snprintf(expected + used, sizeof(expected) - used, "%s%s",
                                     i > 0 ? ", " : "", words[i]);
        }
    }
    struct slice shown = slice_sub(text, 0, SHOWN_BYTES);
    return err_set(err, ERR_INVALID, "%s is \"%.*s\"; expected one of %s", name, SLICE_FMT(shown),
                   expected);
}

enum err_code
request_json(const struct http_exchange *exchange, json_t **ret_object, struct err *err)
{
    json_error_t problem;
    struct slice body = http_body(exchange);

    if (slice_trim(body).len == 0) {
        return err_set(err, ERR_SYNTAX, "the body is empty; expected a JSON object");
    }
    json_t *object = json_loadb(body.ptr, body.len, JSON_REJECT_DUPLICATES, &problem);
    if (!object) {
        return err_set(err, ERR_SYNTAX, "the body is not JSON: line %d, column %d: %s",
                       problem.line, problem.column, problem.text);
    }
    if (!json_is_object(object)) {
        json_decref(object);
        return err_set(err, ERR_INVALID, "the body is not a JSON object");
    }
    *ret_object = object;
    return ERR_OK;
}

enum err_code
request_encoding(const struct http_exchange *exchange, bool *ret_gzip, struct err *err)
{
    struct slice encoding;

    *ret_gzip = false;
    if (!http_header(exchange, "Content-Encoding", &encoding) ||
        slice_is_nocase(encoding, "identity")) {
        return ERR_OK;
    }
    if (slice_is_nocase(encoding, "gzip") || slice_is_nocase(encoding, "deflate")) {
        *ret_gzip = true;
        return ERR_OK;
    }
    return err_set(err, ERR_MEDIA_TYPE, "Content-Encoding is \"%.*s\"; expected gzip or none",
                   SLICE_FMT(slice_sub(encoding, 0, 40)));
}

bool
request_accepts(const struct http_exchange *exchange, const char *mime)
{
    struct slice accept;

    return http_header(exchange, "Accept", &accept) &&
           memmem(accept.ptr, accept.len, mime, strlen(mime)) != NULL;
}
