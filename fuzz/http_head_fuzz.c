/*
 * The HTTP head parser and the chunked decoder against http_parser, an independent implementation:
 * whatever we accept it must accept, with the same method, target, fields, framing and body. The
 * other way round we may be stricter. And what comes in pieces must give the same as the whole.
 *
 * Not errors of ours: where HTTP/1.0 says both "close" and "keep-alive" we close and http_parser
 * doesn't; http_parser 2.9.4 takes "Transfer-EncodingX" for Transfer-Encoding.
 */
#include "fuzz.h"

#include <assert.h>
#include <string.h>

/* Its names of the methods are ours too. */
#define http_method oracle_method
#define HTTP_DELETE ORACLE_DELETE
#define HTTP_GET ORACLE_GET
#define HTTP_HEAD ORACLE_HEAD
#define HTTP_OPTIONS ORACLE_OPTIONS
#define HTTP_PATCH ORACLE_PATCH
#define HTTP_POST ORACLE_POST
#define HTTP_PUT ORACLE_PUT
#include <http_parser.h>
#undef http_method
#undef HTTP_DELETE
#undef HTTP_GET
#undef HTTP_HEAD
#undef HTTP_OPTIONS
#undef HTTP_PATCH
#undef HTTP_POST
#undef HTTP_PUT

#include "base/buf.h"
#include "http/chunked.h"
#include "http/head.h"

enum { INPUT_MAX = 16 * 1024, ORACLE_FIELDS_MAX = HTTP_FIELDS_MAX + 4096 };

/* What http_parser made of it. */
struct oracle {
    struct buf target;
    struct buf names[ORACLE_FIELDS_MAX];
    struct buf values[ORACLE_FIELDS_MAX];
    struct buf body;
    size_t field_count;
    bool in_value;
    bool complete;
    bool keep_alive;
    bool chunked; /* by the head; its flags also follow the trailers */
};

static int
on_url(http_parser *parser, const char *at, size_t len)
{
    struct oracle *oracle = parser->data;

    buf_add(&oracle->target, at, len);
    return 0;
}

static int
on_header_field(http_parser *parser, const char *at, size_t len)
{
    struct oracle *oracle = parser->data;

    if (oracle->field_count == 0 || oracle->in_value) {
        assert(oracle->field_count < ORACLE_FIELDS_MAX);
        buf_init(&oracle->names[oracle->field_count], 0);
        buf_init(&oracle->values[oracle->field_count], 0);
        oracle->field_count++;
        oracle->in_value = false;
    }
    buf_add(&oracle->names[oracle->field_count - 1], at, len);
    return 0;
}

static int
on_header_value(http_parser *parser, const char *at, size_t len)
{
    struct oracle *oracle = parser->data;

    oracle->in_value = true;
    buf_add(&oracle->values[oracle->field_count - 1], at, len);
    return 0;
}

static int
on_headers_complete(http_parser *parser)
{
    struct oracle *oracle = parser->data;

    oracle->keep_alive = http_should_keep_alive(parser);
    oracle->chunked = (parser->flags & F_CHUNKED) != 0;
    return 0;
}

static int
on_body(http_parser *parser, const char *at, size_t len)
{
    struct oracle *oracle = parser->data;

    buf_add(&oracle->body, at, len);
    return 0;
}

static int
on_message_complete(http_parser *parser)
{
    struct oracle *oracle = parser->data;

    oracle->complete = true;
    http_parser_pause(parser, 1);
    return 0;
}

static void
check_head(const struct http_head *head, const http_parser *parser, const struct oracle *oracle)
{
    assert(strcmp(http_method_str((enum oracle_method)parser->method),
                  http_method_name(head->method)) == 0);
    assert(parser->http_major == 1 && parser->http_minor == head->minor);
    assert(slice_eq(buf_slice(&oracle->target), head->target));
    assert(!head->keep_alive || oracle->keep_alive);
    assert(oracle->chunked == head->chunked);
    assert(oracle->field_count >= head->field_count); /* trailers come behind */
    for (size_t i = 0; i < head->field_count; i++) {
        assert(slice_eq(buf_slice(&oracle->names[i]), head->fields[i].name));
        assert(slice_eq(slice_trim(buf_slice(&oracle->values[i])), head->fields[i].value));
    }
}

/* What we make of it: the head, the body as far as it is there, and whether that is all. */
struct ours {
    bool accepted;
    bool complete;
    struct http_head head;
    struct buf body;
};

/* Decodes the body behind the head; false when its coding is broken. */
static bool
take_body(struct ours *ours, struct slice bytes)
{
    struct http_chunked chunked = {.state = HTTP_CHUNKED_SIZE};

    if (!ours->head.chunked) {
        uint64_t length = ours->head.content_length;
        buf_add_slice(&ours->body, slice_sub(bytes, 0, length < bytes.len ? length : bytes.len));
        ours->complete = ours->body.len == length;
        return true;
    }
    while (bytes.len > 0 && chunked.state != HTTP_CHUNKED_DONE) {
        struct slice data;
        size_t used = http_chunked_take(&chunked, bytes, &data);
        if (chunked.state == HTTP_CHUNKED_BAD) {
            return false;
        }
        assert(used > 0 && used <= bytes.len);
        buf_add_slice(&ours->body, data);
        bytes = slice_sub(bytes, used, bytes.len);
    }
    ours->complete = chunked.state == HTTP_CHUNKED_DONE;
    return true;
}

static void
parse(struct ours *ours, struct slice input, size_t cut)
{
    struct http_scan scan = {.at = 0};
    struct http_scan in_pieces = {.at = 0};
    struct http_fault fault;
    size_t len = 0;
    size_t len_in_pieces = 0;

    buf_init(&ours->body, 0);
    ours->accepted = false;
    ours->complete = false;
    enum http_scan_result result = http_scan(&scan, input, &len, &fault);
    enum http_scan_result pieces =
        http_scan(&in_pieces, slice_sub(input, 0, cut), &len_in_pieces, &fault);
    if (pieces == HTTP_SCAN_MORE) {
        pieces = http_scan(&in_pieces, input, &len_in_pieces, &fault);
    }
    assert(pieces == result && len == len_in_pieces);
    if (result != HTTP_SCAN_END) {
        return;
    }
    assert(len <= input.len && scan.skip < len);
    if (!http_head_parse(slice_sub(input, scan.skip, len - scan.skip), &ours->head, &fault)) {
        assert(fault.status >= 400 && fault.status <= 505 && fault.detail);
        return;
    }
    ours->accepted = take_body(ours, slice_sub(input, len, input.len));
}

static bool
is_misread_by_oracle(const struct http_head *head)
{
    static const char prefix[] = "Transfer-Encoding";

    for (size_t i = 0; i < head->field_count; i++) {
        struct slice name = head->fields[i].name;
        if (name.len >= sizeof(prefix) &&
            slice_is_nocase(slice_sub(name, 0, sizeof(prefix) - 1), prefix)) {
            return true;
        }
    }
    return false;
}

static void
free_oracle(struct oracle *oracle)
{
    for (size_t i = 0; i < oracle->field_count; i++) {
        buf_fini(&oracle->names[i]);
        buf_fini(&oracle->values[i]);
    }
    buf_fini(&oracle->target);
    buf_fini(&oracle->body);
}

static void
ask_oracle(const struct ours *ours, struct slice input)
{
    static struct oracle oracle;
    static http_parser_settings settings;
    http_parser parser;

    http_parser_settings_init(&settings);
    settings.on_url = on_url;
    settings.on_header_field = on_header_field;
    settings.on_header_value = on_header_value;
    settings.on_headers_complete = on_headers_complete;
    settings.on_body = on_body;
    settings.on_message_complete = on_message_complete;
    oracle.field_count = 0;
    oracle.in_value = false;
    oracle.complete = false;
    oracle.keep_alive = false;
    oracle.chunked = false;
    buf_init(&oracle.target, 0);
    buf_init(&oracle.body, 0);
    http_parser_init(&parser, HTTP_REQUEST);
    parser.data = &oracle;
    http_parser_execute(&parser, &settings, input.ptr, input.len);
    enum http_errno failure = HTTP_PARSER_ERRNO(&parser);
    assert(failure == HPE_OK || failure == HPE_PAUSED);
    assert(oracle.complete == ours->complete);
    assert(slice_eq(buf_slice(&oracle.body), buf_slice(&ours->body)));
    check_head(&ours->head, &parser, &oracle);
    free_oracle(&oracle);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct ours ours;
    struct slice input = slice_make(data, size);

    if (size > INPUT_MAX) {
        return 0;
    }
    parse(&ours, input, size > 0 ? data[size / 2] % (size + 1) : 0);
    if (ours.accepted && !is_misread_by_oracle(&ours.head)) {
        ask_oracle(&ours, input);
    }
    buf_fini(&ours.body);
    return 0;
}
