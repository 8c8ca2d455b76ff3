/* From what a handler said to the bytes of an answer. */
#include <assert.h>
#include <stdio.h>

#include "codec/json_write.h"
#include "http/worker.h"

enum { COPIED_BODY_BYTES = 2048, S_PER_DAY = 86400 };

struct reason {
    int status;
    const char *text;
};

static const struct reason reasons[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

/* The reason phrase; nobody reads it, but the status line must have one. */
static const char *
reason_of(int status)
{
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (reasons[i].status == status) {
            return reasons[i].text;
        }
    }
    return "Other";
}

const char *
exchange_code_of(int status)
{
    switch (status) {
    case 403:
        return err_name(ERR_FORBIDDEN);
    case 408:
        return err_name(ERR_TIMEOUT);
    case 413:
    case 431:
        return err_name(ERR_TOO_LARGE);
    case 417:
    case 426:
    case 501:
    case 505:
        return err_name(ERR_UNSUPPORTED);
    case 500:
        return err_name(ERR_INTERNAL);
    case 503:
        return err_name(ERR_UNAVAILABLE);
    default:
        return err_name(ERR_SYNTAX);
    }
}

void
exchange_set_error(struct http_exchange *exchange, int status, const char *code,
                   struct slice detail)
{
    struct buf *out = &exchange->out;
    struct json_writer json;

    exchange->status = status;
    exchange->is_static = false;
    buf_reset(out);
    json_init(&json, out);
    json_object_begin(&json);
    json_key(&json, "detail");
    json_str(&json, detail);
    json_key(&json, "code");
    json_cstr(&json, code);
    json_key(&json, "request_id");
    json_str(&json, http_request_id(exchange));
    json_object_end(&json);
    exchange->content_type = SLICE_LITERAL("application/json");
    if ((status == 429 || status == 503) && !exchange->has_retry_after) {
        http_add_header(exchange, "Retry-After", SLICE_LITERAL("1"));
    }
}

void
http_reply_err(struct http_exchange *exchange, const struct err *err)
{
    exchange_set_error(exchange, err_http_status(err->code), err_name(err->code),
                       slice_of(err->msg));
    http_reply(exchange);
}

/* The civil date of a day since 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date
 * Algorithms"). */
static void
civil_of(int64_t days, int64_t *ret_year, unsigned *ret_month, unsigned *ret_day)
{
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    unsigned doe = (unsigned)(z - era * 146097);
    unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    unsigned mp = (5 * doy + 2) / 153;

    *ret_day = doy - (153 * mp + 2) / 5 + 1;
    *ret_month = mp < 10 ? mp + 3 : mp - 9;
    *ret_year = (int64_t)yoe + era * 400 + (*ret_month <= 2);
}

void
http_format_date(int64_t unix_s, char ret_text[HTTP_DATE_LEN + 1])
{
    static const char days[] = "ThuFriSatSunMonTueWed";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    int64_t day_number = unix_s / S_PER_DAY - (unix_s % S_PER_DAY < 0);
    unsigned second = (unsigned)(unix_s - day_number * S_PER_DAY);
    int64_t year;
    unsigned month;
    unsigned day;
    char text[64];

    civil_of(day_number, &year, &month, &day);
    size_t weekday = (size_t)((day_number % 7 + 7) % 7);
    snprintf(text, sizeof(text), "%.3s, %02u %.3s %04d %02u:%02u:%02u GMT", days + weekday * 3, day,
             months + (size_t)(month - 1) * 3, (int)(year % 10000), second / 3600, second / 60 % 60,
             second % 60);
    memcpy(ret_text, text, HTTP_DATE_LEN);
    ret_text[HTTP_DATE_LEN] = '\0';
}

static void
add_status_line(struct buf *wire, int status)
{
    static const char ok[] = "HTTP/1.1 200 OK\r\n";

    if (status == 200) {
        buf_add(wire, ok, sizeof(ok) - 1);
        return;
    }
    buf_add_cstr(wire, "HTTP/1.1 ");
    buf_add_u64(wire, (uint64_t)status);
    buf_add_char(wire, ' ');
    buf_add_cstr(wire, reason_of(status));
    buf_add(wire, "\r\n", 2);
}

static void
add_line(struct buf *wire, const char *name, size_t name_len, struct slice value)
{
    buf_add(wire, name, name_len);
    buf_add_slice(wire, value);
    buf_add(wire, "\r\n", 2);
}

#define ADD_LINE(wire, name, value) add_line(wire, name, sizeof(name) - 1, value)

/* The lines that every answer has, from the status line to the handler's own. */
static void
add_first_lines(struct http_exchange *exchange, const char *date)
{
    struct buf *wire = &exchange->wire;

    add_status_line(wire, exchange->status);
    ADD_LINE(wire, "Server: ", SLICE_LITERAL("eider"));
    ADD_LINE(wire, "Date: ", slice_make(date, HTTP_DATE_LEN));
    if (exchange->content_type.len > 0) {
        ADD_LINE(wire, "Content-Type: ", exchange->content_type);
    }
    buf_add_slice(wire, buf_slice(&exchange->lines));
}

/* And those behind them. */
static void
add_last_lines(struct http_exchange *exchange, bool keep_alive)
{
    struct buf *wire = &exchange->wire;

    if (exchange->head.request_id.len > 0 || exchange->request_id[0] != '\0') {
        ADD_LINE(wire, "X-Request-Id: ", http_request_id(exchange));
    }
    if (!keep_alive) {
        ADD_LINE(wire, "Connection: ", SLICE_LITERAL("close"));
    } else if (exchange->head.minor == 0) {
        ADD_LINE(wire, "Connection: ", SLICE_LITERAL("keep-alive"));
    }
    buf_add(wire, "\r\n", 2);
}

static void
add_length(struct buf *wire, uint64_t length)
{
    static const char length_name[] = "Content-Length: ";

    buf_add(wire, length_name, sizeof(length_name) - 1);
    buf_add_u64(wire, length);
    buf_add(wire, "\r\n", 2);
}

bool
exchange_render_stream(struct http_exchange *exchange, bool keep_alive, const char *date)
{
    struct http_flow *flow = &exchange->flow;
    bool bodyless = exchange->status == 204 || exchange->status == 304;

    if (exchange->lines.overflow) {
        return false;
    }
    add_first_lines(exchange, date);
    if (flow->chunked) {
        ADD_LINE(&exchange->wire, "Transfer-Encoding: ", SLICE_LITERAL("chunked"));
    } else if (flow->length >= 0 && !bodyless) {
        add_length(&exchange->wire, (uint64_t)flow->length);
    }
    add_last_lines(exchange, keep_alive);
    return true;
}

void
exchange_render(struct http_exchange *exchange, bool keep_alive, const char *date)
{
    struct buf *wire = &exchange->wire;

    if (exchange->out.overflow || exchange->lines.overflow) {
        buf_reset(&exchange->lines);
        exchange_set_error(exchange, 500, err_name(ERR_TOO_LARGE),
                           SLICE_LITERAL("the answer is larger than 256 MiB; ask for less"));
    }
    int status = exchange->status;
    struct slice body = exchange->is_static ? exchange->static_body : buf_slice(&exchange->out);
    bool bodyless = status == 204 || status == 304;

    add_first_lines(exchange, date);
    if (!bodyless) {
        add_length(wire, body.len);
    }
    add_last_lines(exchange, keep_alive);
    if (bodyless || exchange->head.method == HTTP_HEAD) {
        return;
    }
    if (body.len <= COPIED_BODY_BYTES) {
        buf_add_slice(wire, body);
    } else {
        exchange->tail = body;
    }
}
