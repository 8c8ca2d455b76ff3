/* The strict head parser. Grammar: RFC 9112 (messages), RFC 9110 (fields), RFC 3986 (targets). */
#include "http/head.h"

#include <assert.h>

/* Sets of ASCII characters, a bit each; the second word starts at 64. */
#define BIT(c) (1ULL << ((c)&63))
#define RUN(first, last) (((2ULL << ((last) - (first))) - 1) << ((first)&63))
#define LETTERS (RUN('A', 'Z') | RUN('a', 'z'))

static const uint64_t token_set[2] = {
    BIT('!') | BIT('#') | BIT('$') | BIT('%') | BIT('&') | BIT('\'') | BIT('*') | BIT('+') |
        BIT('-') | BIT('.') | RUN('0', '9'),
    LETTERS | BIT('^') | BIT('_') | BIT('`') | BIT('|') | BIT('~'),
};
/* Visible characters without '#': a fragment never travels. */
static const uint64_t target_set[2] = {RUN('!', '?') & ~BIT('#'), RUN('@', '~')};
/* reg-name and IPv4 of RFC 3986, 3.2.2. */
static const uint64_t host_set[2] = {
    BIT('!') | BIT('$') | BIT('%') | BIT('&') | BIT('\'') | RUN('(', '.') | RUN('0', '9') |
        BIT(';') | BIT('='),
    LETTERS | BIT('_') | BIT('~'),
};
static const uint64_t ip6_set[2] = {RUN('0', ':') | BIT('.'), RUN('A', 'F') | RUN('a', 'f')};

static bool
in_set(const uint64_t set[2], char c)
{
    unsigned char u = (unsigned char)c;

    return u < 128 && ((set[u >> 6] >> (u & 63)) & 1);
}

bool
http_is_token_char(char c)
{
    return in_set(token_set, c);
}

bool
http_is_value_char(char c)
{
    unsigned char u = (unsigned char)c;

    return u >= ' ' ? u != 0x7f : u == '\t';
}

static bool
refuse(struct http_fault *fault, int status, const char *detail)
{
    *fault = (struct http_fault){status, detail};
    return false;
}

enum http_scan_result
http_scan(struct http_scan *scan, struct slice bytes, size_t *ret_len, struct http_fault *fault)
{
    assert(scan->at <= bytes.len);
    if (scan->skip == 0 && bytes.len > 0 && !http_is_token_char(bytes.ptr[0]) &&
        bytes.ptr[0] != '\r') {
        refuse(fault, 400, "the request does not start with a method");
        return HTTP_SCAN_BAD;
    }
    while (scan->at < bytes.len) {
        const char *lf = memchr(bytes.ptr + scan->at, '\n', bytes.len - scan->at);
        if (!lf) {
            scan->at = bytes.len;
            break;
        }
        size_t end = (size_t)(lf - bytes.ptr);
        if (end == scan->line || bytes.ptr[end - 1] != '\r') {
            refuse(fault, 400, "a line of the head ends in a bare line feed");
            return HTTP_SCAN_BAD;
        }
        size_t line_len = end - 1 - scan->line;
        bool first = scan->line == scan->skip;
        scan->at = end + 1;
        scan->line = end + 1;
        if (line_len > 0) {
            continue;
        }
        if (!first) {
            *ret_len = end + 1;
            return HTTP_SCAN_END;
        }
        if (scan->skip > 0) {
            refuse(fault, 400, "empty lines come before the request line");
            return HTTP_SCAN_BAD;
        }
        scan->skip = end + 1;
    }
    return HTTP_SCAN_MORE;
}

static bool
parse_method(struct slice name, struct http_head *head, struct http_fault *fault)
{
    if (name.len == 0) {
        return refuse(fault, 400, "the request does not start with a method");
    }
    for (size_t i = 0; i < name.len; i++) {
        if (!in_set(token_set, name.ptr[i])) {
            return refuse(fault, 400, "the method has a character that is not allowed in it");
        }
    }
    for (int method = 0; method < HTTP_METHOD_COUNT; method++) {
        if (slice_is(name, http_method_name((enum http_method)method))) {
            head->method = (enum http_method)method;
            return true;
        }
    }
    return refuse(fault, 501, "the method is not implemented");
}

static bool
parse_version(struct slice text, struct http_head *head, struct http_fault *fault)
{
    bool shaped = text.len == 8 && slice_starts(text, "HTTP/") && text.ptr[6] == '.' &&
                  text.ptr[5] >= '0' && text.ptr[5] <= '9' && text.ptr[7] >= '0' &&
                  text.ptr[7] <= '9';

    if (!shaped) {
        return refuse(fault, 400, "the request line does not end in an HTTP version");
    }
    if (text.ptr[5] != '1' || text.ptr[7] > '1') {
        return refuse(fault, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    }
    head->minor = text.ptr[7] - '0';
    return true;
}

/* host [":" port]; an empty host is what a client without one must send. */
static bool
host_is_valid(struct slice host)
{
    size_t at = 0;

    if (host.len > 0 && host.ptr[0] == '[') {
        at = 1;
        while (at < host.len && in_set(ip6_set, host.ptr[at])) {
            at++;
        }
        if (at == 1 || at == host.len || host.ptr[at] != ']') {
            return false;
        }
        at++;
    } else {
        while (at < host.len && in_set(host_set, host.ptr[at])) {
            at++;
        }
        if (at == 0 && host.len > 0) {
            return false;
        }
    }
    if (at < host.len && host.ptr[at] == ':') {
        at++;
        while (at < host.len && host.ptr[at] >= '0' && host.ptr[at] <= '9') {
            at++;
        }
    }
    return at == host.len;
}

/* scheme "://" authority [path] ["?" query], as proxies send it (RFC 9112, 3.2.2). */
static bool
parse_absolute(struct slice target, struct http_head *head, struct http_fault *fault)
{
    struct slice rest;

    if (target.len > 7 && slice_is_nocase(slice_sub(target, 0, 7), "http://")) {
        rest = slice_sub(target, 7, target.len);
    } else if (target.len > 8 && slice_is_nocase(slice_sub(target, 0, 8), "https://")) {
        rest = slice_sub(target, 8, target.len);
    } else {
        return refuse(fault, 400, "the request target is neither a path nor an http URL");
    }
    size_t end = 0;
    while (end < rest.len && rest.ptr[end] != '/' && rest.ptr[end] != '?') {
        end++;
    }
    head->host = slice_sub(rest, 0, end);
    head->path = slice_sub(rest, end, rest.len);
    if (head->host.len == 0 || !host_is_valid(head->host)) {
        return refuse(fault, 400, "the host of the request target is not valid");
    }
    return true;
}

static bool
parse_target(struct slice target, struct http_head *head, struct http_fault *fault)
{
    head->target = target;
    head->path = target;
    if (target.len == 0) {
        return refuse(fault, 400, "the request line has no target");
    }
    for (size_t i = 0; i < target.len; i++) {
        if (!in_set(target_set, target.ptr[i])) {
            return refuse(fault, 400,
                          "the request target has a character that must be percent-encoded");
        }
    }
    if (slice_is(target, "*")) {
        return head->method == HTTP_OPTIONS ||
               refuse(fault, 400, "the target * is for OPTIONS only");
    }
    if (target.ptr[0] != '/' && !parse_absolute(target, head, fault)) {
        return false;
    }
    struct slice query = head->path;
    slice_split(&query, '?', &head->path);
    head->query = query;
    if (head->path.len == 0) {
        head->path = SLICE_LITERAL("/");
    }
    return true;
}

/* METHOD SP target SP version, with exactly these two blanks. */
static bool
parse_request_line(struct slice line, struct http_head *head, struct http_fault *fault)
{
    struct slice method;
    struct slice target;

    if (!slice_split(&line, ' ', &method) || !slice_split(&line, ' ', &target)) {
        return refuse(fault, 400, "the request line is not METHOD target HTTP/1.1");
    }
    /* The version first: a client of HTTP/2 sends a method of its own and should read 505. */
    return parse_version(line, head, fault) && parse_method(method, head, fault) &&
           parse_target(target, head, fault);
}

/* Digits only, below 2^63. */
static bool
parse_length(struct slice text, uint64_t *ret_length)
{
    uint64_t value = 0;

    if (text.len == 0 || text.len > 18) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(text.ptr[i] - '0');
    }
    *ret_length = value;
    return true;
}

static bool
list_has(struct slice list, const char *token)
{
    struct slice item;
    bool more = true;

    while (more) {
        more = slice_split(&list, ',', &item);
        if (slice_is_nocase(slice_trim(item), token)) {
            return true;
        }
    }
    return false;
}

/* What the fields of framing said; each may come once. */
struct framing {
    bool length_seen;
    bool coding_seen;
    bool host_seen;
    bool close;
    bool persist;
};

static bool
take_length(struct slice value, struct http_head *head, struct framing *framing,
            struct http_fault *fault)
{
    if (framing->length_seen) {
        return refuse(fault, 400, "Content-Length is there more than once");
    }
    framing->length_seen = true;
    return parse_length(value, &head->content_length) ||
           refuse(fault, 400, "Content-Length is not a decimal number");
}

static bool
take_coding(struct slice value, struct http_head *head, struct framing *framing,
            struct http_fault *fault)
{
    if (framing->coding_seen) {
        return refuse(fault, 400, "Transfer-Encoding is there more than once");
    }
    framing->coding_seen = true;
    head->chunked = true;
    return slice_is_nocase(value, "chunked") ||
           refuse(fault, 501, "the only Transfer-Encoding understood here is chunked");
}

static bool
take_host(struct slice value, struct http_head *head, struct framing *framing,
          struct http_fault *fault)
{
    if (framing->host_seen) {
        return refuse(fault, 400, "Host is there more than once");
    }
    framing->host_seen = true;
    if (!host_is_valid(value)) {
        return refuse(fault, 400, "Host is not a valid host and port");
    }
    if (head->host.len == 0) {
        head->host = value;
    }
    return true;
}

/* RFC 9110 allows tabs around a value, but parsers are known that read "5<tab>" otherwise. */
static bool
take_framing(struct slice line, const struct http_field *field, struct http_head *head,
             struct framing *framing, struct http_fault *fault)
{
    if (memchr(line.ptr, '\t', line.len)) {
        return refuse(fault, 400, "Content-Length or Transfer-Encoding has a tab");
    }
    return field->name.len == 14 ? take_length(field->value, head, framing, fault)
                                 : take_coding(field->value, head, framing, fault);
}

/* Notes the fields that the server itself needs. */
static bool
note_field(struct slice line, struct http_head *head, struct framing *framing,
           struct http_fault *fault)
{
    const struct http_field *field = &head->fields[head->field_count - 1];

    switch (field->name.len) {
    case 4:
        if (slice_is_nocase(field->name, "Host")) {
            return take_host(field->value, head, framing, fault);
        }
        break;
    case 6:
        if (slice_is_nocase(field->name, "Expect")) {
            head->expect_continue = slice_is_nocase(field->value, "100-continue");
            return head->expect_continue ||
                   refuse(fault, 417, "the only expectation understood here is 100-continue");
        }
        break;
    case 10:
        if (slice_is_nocase(field->name, "Connection")) {
            framing->close = framing->close || list_has(field->value, "close");
            framing->persist = framing->persist || list_has(field->value, "keep-alive");
        } else if (slice_is_nocase(field->name, "User-Agent")) {
            head->user_agent = field->value;
        }
        break;
    case 12:
        if (slice_is_nocase(field->name, "X-Request-Id")) {
            head->request_id = field->value;
        }
        break;
    case 14:
        if (slice_is_nocase(field->name, "Content-Length")) {
            return take_framing(line, field, head, framing, fault);
        }
        break;
    case 17:
        if (slice_is_nocase(field->name, "Transfer-Encoding")) {
            return take_framing(line, field, head, framing, fault);
        }
        break;
    default:
        break;
    }
    return true;
}

/* name ":" value, without blanks in or behind the name. */
static bool
parse_field(struct slice line, struct http_head *head, struct http_fault *fault)
{
    size_t name_len = 0;

    while (name_len < line.len && in_set(token_set, line.ptr[name_len])) {
        name_len++;
    }
    if (name_len == 0 && (line.ptr[0] == ' ' || line.ptr[0] == '\t')) {
        return refuse(fault, 400, "a header is folded over two lines");
    }
    if (name_len == 0 || name_len == line.len || line.ptr[name_len] != ':') {
        return refuse(fault, 400, "a header is not of the form Name: value");
    }
    for (size_t i = name_len + 1; i < line.len; i++) {
        if (!http_is_value_char(line.ptr[i])) {
            return refuse(fault, 400, "a header has a control character in its value");
        }
    }
    if (head->field_count == HTTP_FIELDS_MAX) {
        return refuse(fault, 431, "the request has more than 100 headers");
    }
    head->fields[head->field_count++] = (struct http_field){
        slice_sub(line, 0, name_len), slice_trim(slice_sub(line, name_len + 1, line.len))};
    return true;
}

static bool
check_framing(struct http_head *head, const struct framing *framing, struct http_fault *fault)
{
    if (framing->length_seen && framing->coding_seen) {
        return refuse(fault, 400, "Content-Length and Transfer-Encoding exclude each other");
    }
    if (head->minor == 0 && framing->coding_seen) {
        return refuse(fault, 400, "HTTP/1.0 knows no Transfer-Encoding");
    }
    if (head->minor == 1 && !framing->host_seen) {
        return refuse(fault, 400, "Host is missing");
    }
    if (head->minor == 0) {
        head->expect_continue = false;
    }
    head->keep_alive = !framing->close && (head->minor == 1 || framing->persist);
    return true;
}

bool
http_head_parse(struct slice bytes, struct http_head *head, struct http_fault *fault)
{
    struct framing framing = {.host_seen = false};
    bool first = true;

    /* The fields need no clearing: field_count says how many there are. */
    memset(head, 0, offsetof(struct http_head, fields));
    for (;;) {
        const char *lf = bytes.len ? memchr(bytes.ptr, '\n', bytes.len) : NULL;
        size_t len = lf ? (size_t)(lf - bytes.ptr) : 0;
        if (!lf || len == 0 || bytes.ptr[len - 1] != '\r') {
            return refuse(fault, 400, "a line of the head ends in a bare line feed");
        }
        struct slice line = slice_sub(bytes, 0, len - 1);
        bytes = slice_sub(bytes, len + 1, bytes.len);
        if (first) {
            if (!parse_request_line(line, head, fault)) {
                return false;
            }
            first = false;
        } else if (line.len == 0) {
            return check_framing(head, &framing, fault);
        } else if (!parse_field(line, head, fault) || !note_field(line, head, &framing, fault)) {
            return false;
        }
    }
}

bool
http_head_find(const struct http_head *head, const char *name, struct slice *ret_value)
{
    for (size_t i = 0; i < head->field_count; i++) {
        if (slice_is_nocase(head->fields[i].name, name)) {
            *ret_value = head->fields[i].value;
            return true;
        }
    }
    return false;
}

bool
http_head_has_token(const struct http_head *head, const char *name, const char *token)
{
    for (size_t i = 0; i < head->field_count; i++) {
        if (slice_is_nocase(head->fields[i].name, name) && list_has(head->fields[i].value, token)) {
            return true;
        }
    }
    return false;
}

const char *
http_method_name(enum http_method method)
{
    static const char *const names[HTTP_METHOD_COUNT] = {
        [HTTP_GET] = "GET",         [HTTP_HEAD] = "HEAD",   [HTTP_POST] = "POST",
        [HTTP_PUT] = "PUT",         [HTTP_PATCH] = "PATCH", [HTTP_DELETE] = "DELETE",
        [HTTP_OPTIONS] = "OPTIONS",
    };

    assert(method < HTTP_METHOD_COUNT);
    return names[method];
}
