/* Answers: the error shapes, and rows as JSON. */
#include "api/api_private.h"

void
reply_json(struct http_exchange *exchange, struct json_writer *ret_writer)
{
    http_set_content_type(exchange, "application/json");
    json_init(ret_writer, http_out(exchange));
}

static void
add_retry_after(struct http_exchange *exchange, int retry_after_s)
{
    if (retry_after_s > 0) {
        const char *text = arena_fmt(http_arena(exchange), "%d", retry_after_s);
        http_add_header(exchange, "Retry-After", slice_of(text));
    }
}

static void
write_error(struct http_exchange *exchange, const struct err *err, bool named)
{
    struct json_writer writer;

    http_set_status(exchange, err_http_status(err->code));
    buf_reset(http_out(exchange));
    reply_json(exchange, &writer);
    json_object_begin(&writer);
    if (named) {
        json_key(&writer, "error");
        json_cstr(&writer, err->msg);
    }
    json_key(&writer, "detail");
    json_cstr(&writer, err->msg);
    json_key(&writer, "code");
    json_cstr(&writer, err_name(err->code));
    json_key(&writer, "request_id");
    json_str(&writer, http_request_id(exchange));
    json_object_end(&writer);
    http_reply(exchange);
}

void
reply_error(struct http_exchange *exchange, const struct err *err, int retry_after_s)
{
    add_retry_after(exchange, retry_after_s);
    write_error(exchange, err, false);
}

void
reply_error_named(struct http_exchange *exchange, const struct err *err)
{
    write_error(exchange, err, true);
}

void
reply_rows(struct json_writer *writer, const struct batch *rows, const char *type)
{
    for (size_t row = 0; row < rows->rows; row++) {
        batch_json_row(writer, rows, row, type);
    }
}
