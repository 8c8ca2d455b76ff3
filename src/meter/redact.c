/* URLs and texts: finds where a secret begins and ends, copies the rest. */
#include "meter/redact.h"

#include <string.h>

#include "meter/redact_internal.h"

/* Lookahead is bounded, so that the work stays in proportion to the text. */
enum { NAME_MAX = 256, SCHEME_MAX = 32, BEFORE_MAX = 256, DEPTH_MAX = 4 };

struct scan {
    const struct redact_rules *rules;
    unsigned depth; /* of URLs within values of URLs */
};

static void scan_text(const struct scan *scan, struct slice text, struct buf *out);

/* Most texts are a word, an id, a number: without anything that could stand between a name and a
 * value, or make a URL, only the look of a token is left to ask for. */
bool
redact_is_plain(struct slice text)
{
    static const char marks[] = {'_', '-', '.'};

    for (size_t i = 0; i < text.len; i++) {
        if (!redact_is_alnum(text.ptr[i]) && !memchr(marks, text.ptr[i], sizeof(marks))) {
            return false;
        }
    }
    for (size_t i = 0; text.len - i >= REDACT_LOOKS_MIN && i < text.len; i++) {
        bool fresh = i == 0 || !redact_is_alnum(text.ptr[i - 1]);
        if (fresh && redact_looks_secret(slice_sub(text, i, text.len)) > 0) {
            return false;
        }
    }
    return true;
}

/* ---- URLs ---- */

static bool
text_holds_secret(const struct scan *scan, struct slice encoded)
{
    BUF_AUTO struct buf plain;
    BUF_AUTO struct buf clean;

    buf_init(&plain, 0);
    buf_init(&clean, 0);
    if (slice_is(encoded, REDACTED) || redact_is_plain(encoded)) {
        return false;
    }
    if (scan->depth == DEPTH_MAX) {
        return true; /* nobody nests addresses so deep to a good end */
    }
    struct scan inner = {scan->rules, scan->depth + 1};
    redact_decode(encoded, &plain);
    scan_text(&inner, buf_slice(&plain), &clean);
    return !slice_eq(buf_slice(&plain), buf_slice(&clean));
}

static void
redact_path(const struct scan *scan, struct slice path, struct buf *out)
{
    size_t start = 0;

    while (start < path.len) {
        size_t end = start;
        while (end < path.len && path.ptr[end] != '/') {
            end++;
        }
        struct slice segment = slice_sub(path, start, end - start);
        if (redact_is_key_segment(slice_sub(path, 0, start), segment) ||
            text_holds_secret(scan, segment)) {
            buf_add_cstr(out, REDACTED);
        } else {
            buf_add_slice(out, segment);
        }
        if (end < path.len) {
            buf_add_char(out, '/');
        }
        start = end + 1;
    }
}

static void
redact_query(const struct scan *scan, struct slice query, struct buf *out)
{
    bool more = true;

    while (more) {
        struct slice value;
        struct slice name;
        more = slice_split(&query, '&', &value);
        if (slice_split(&value, '=', &name)) {
            /* A name that holds a secret is one, whatever stands behind it. */
            if (text_holds_secret(scan, name)) {
                name = SLICE_LITERAL(REDACTED);
            }
            buf_add_slice(out, name);
            buf_add_char(out, '=');
        } else {
            value = name;
            name = SLICE_LITERAL("");
        }
        if (value.len > 0 &&
            (redact_is_secret(scan->rules, name) || text_holds_secret(scan, value))) {
            buf_add_cstr(out, REDACTED);
        } else {
            buf_add_slice(out, value);
        }
        if (more) {
            buf_add_char(out, '&');
        }
    }
}

/* The length of "scheme://" at the start of a text, or 0; "//" counts, too. */
static size_t
scheme_len(struct slice text)
{
    size_t at = 0;

    if (slice_starts(text, "//")) {
        return 2;
    }
    while (at < text.len && at < SCHEME_MAX &&
           (redact_is_alnum(text.ptr[at]) || (at > 0 && strchr("+-.", text.ptr[at])))) {
        at++;
    }
    return at > 0 && slice_starts(slice_sub(text, at, text.len), "://") ? at + 3 : 0;
}

static void
scan_url(const struct scan *scan, struct slice url, struct buf *out)
{
    static const char ends[] = {'/', '?', '#'}; /* of the host */
    size_t scheme = scheme_len(url);
    size_t path = scheme;

    buf_add_slice(out, slice_sub(url, 0, scheme));
    if (scheme > 0) {
        size_t host = scheme;
        for (; path < url.len && !memchr(ends, url.ptr[path], sizeof(ends)); path++) {
            if (url.ptr[path] == '@') {
                host = path;
            }
        }
        if (host > scheme) {
            buf_add_cstr(out, REDACTED);
        }
        buf_add_slice(out, slice_sub(url, host, path - host));
    }
    size_t query = path;
    while (query < url.len && url.ptr[query] != '?' && url.ptr[query] != '#') {
        query++;
    }
    redact_path(scan, slice_sub(url, path, query - path), out);
    while (query < url.len) {
        size_t end = query + 1;
        while (end < url.len && url.ptr[end] != '#') {
            end++;
        }
        buf_add_char(out, url.ptr[query]);
        redact_query(scan, slice_sub(url, query + 1, end - query - 1), out);
        query = end;
    }
}

/* ---- texts ---- */

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool
is_space(char c)
{
    return is_blank(c) || c == '\r' || c == '\n' || c == '\v' || c == '\f';
}

static bool
is_name_char(char c)
{
    return redact_is_alnum(c) || c == '_' || c == '-' || c == '.' || c == '%';
}

/* Where a URL in a text ends. */
static size_t
url_end(struct slice text, size_t from)
{
    while (from < text.len && !is_space(text.ptr[from]) && text.ptr[from] != '"' &&
           text.ptr[from] != '\'' && text.ptr[from] != '<' && text.ptr[from] != '>' &&
           text.ptr[from] != '\\' && text.ptr[from] != '`') {
        from++;
    }
    return from;
}

/* What stands between a name and its value. */
struct assignment {
    size_t value;       /* where it starts */
    char quote;         /* that opened it, or 0 */
    size_t backslashes; /* before that quote */
};

/* Skips backslashes and a quote; returns whether there was one. */
static bool
skip_quote(struct slice text, size_t *at, struct assignment *ret)
{
    size_t next = *at;

    while (next < text.len && text.ptr[next] == '\\') {
        next++;
    }
    if (next == text.len || (text.ptr[next] != '"' && text.ptr[next] != '\'')) {
        return false;
    }
    ret->backslashes = next - *at;
    ret->quote = text.ptr[next];
    *at = next + 1;
    return true;
}

/* Reads name's `" : "`, `=` and the like at `at`. */
static bool
read_assignment(struct slice text, size_t at, struct assignment *ret)
{
    skip_quote(text, &at, ret);
    *ret = (struct assignment){0};
    while (at < text.len && is_blank(text.ptr[at])) {
        at++;
    }
    if (at == text.len || (text.ptr[at] != '=' && text.ptr[at] != ':')) {
        return false;
    }
    at++;
    if (at < text.len && text.ptr[at] == '>') {
        at++;
    }
    while (at < text.len && is_blank(text.ptr[at])) {
        at++;
    }
    skip_quote(text, &at, ret);
    ret->value = at;
    return at < text.len;
}

/* Where a value in quotes ends: at the same quote, with no more backslashes than it opened with. */
static size_t
quoted_end(struct slice text, const struct assignment *assignment)
{
    size_t run = 0;

    for (size_t i = assignment->value; i < text.len; i++) {
        if (text.ptr[i] == '\\') {
            run++;
        } else if (text.ptr[i] == assignment->quote && run <= assignment->backslashes) {
            return i - run;
        } else {
            run = 0;
        }
    }
    return text.len;
}

/* Where a bare value ends. Headers take the rest of the line, as they hold blanks. */
static size_t
bare_end(struct slice text, size_t at, bool line)
{
    static const char ends[] = "\"'<>&;)}]";
    size_t skip = 0;

    /* "key: Bearer abc" without quotes: the word behind the scheme is the secret. */
    size_t credentials = redact_scheme(slice_sub(text, at, text.len), &skip);
    if (credentials > 0) {
        at += skip + credentials;
    } else if (slice_starts(slice_sub(text, at, text.len), REDACTED)) {
        at += sizeof(REDACTED) - 1;
    }
    for (; at < text.len; at++) {
        char c = text.ptr[at];
        if (line ? c == '\r' || c == '\n' || c == '"' : is_space(c) || (c && strchr(ends, c))) {
            break;
        }
        if (!line && c == ',' && (at + 1 == text.len || is_space(text.ptr[at + 1]))) {
            break;
        }
    }
    return at;
}

static bool
is_header_name(struct slice name)
{
    return slice_is_nocase(name, "authorization") || slice_is_nocase(name, "proxy-authorization") ||
           slice_is_nocase(name, "cookie") || slice_is_nocase(name, "set-cookie");
}

/* Copies a name and what is between it and its value, replaces the value. Returns how far, or 0
 * when this is no secret. */
static size_t
redact_assignment(const struct scan *scan, struct slice text, size_t start, size_t end,
                  struct buf *out)
{
    struct slice name = slice_sub(text, start, end - start);
    struct assignment assignment = {0};

    if (!read_assignment(text, end, &assignment) || !redact_is_secret(scan->rules, name)) {
        return 0;
    }
    size_t value_end = assignment.quote ? quoted_end(text, &assignment)
                                        : bare_end(text, assignment.value, is_header_name(name));
    if (value_end <= assignment.value) {
        return 0;
    }
    buf_add_slice(out, slice_sub(text, start, assignment.value - start));
    buf_add_cstr(out, REDACTED);
    return value_end;
}

/* The segment of a path that begins at `at`, behind a slash. */
static size_t
key_segment_len(struct slice text, size_t word_start, size_t at)
{
    size_t end = at;

    while (end < text.len && (is_name_char(text.ptr[end]) || text.ptr[end] == ':')) {
        end++;
    }
    if (slice_starts(slice_sub(text, end, text.len), REDACTED)) {
        return 0; /* what stood behind was looked at as a whole before */
    }
    while (end > at && (text.ptr[end - 1] == ':' || text.ptr[end - 1] == '.')) {
        end--; /* of the sentence */
    }
    if (at - word_start > BEFORE_MAX) {
        word_start = at - BEFORE_MAX;
    }
    struct slice before = slice_sub(text, word_start, at - word_start);
    return redact_is_key_segment(before, slice_sub(text, at, end - at)) ? end - at : 0;
}

/* Deals with what starts at `at`, a place with no letter or digit before it. Returns how far it
 * got, or 0 when nothing special is here. `space` is where the last run without blanks began. */
static size_t
redact_here(const struct scan *scan, struct slice text, size_t at, size_t space, struct buf *out)
{
    struct slice rest = slice_sub(text, at, text.len);
    size_t skip = 0;
    size_t end = at;

    if (scheme_len(rest) > 2) {
        end = url_end(text, at);
        scan_url(scan, slice_sub(text, at, end - at), out);
        return end;
    }
    size_t len = redact_looks_secret(rest);
    if (len == 0) {
        len = redact_scheme(rest, &skip);
    }
    if (len == 0 && at > 0 && text.ptr[at - 1] == '/') {
        len = key_segment_len(text, space, at);
    }
    if (len > 0) {
        buf_add_slice(out, slice_sub(rest, 0, skip));
        buf_add_cstr(out, REDACTED);
        return at + skip + len;
    }
    while (end < text.len && end - at < NAME_MAX && is_name_char(text.ptr[end])) {
        end++;
    }
    return end > at ? redact_assignment(scan, text, at, end, out) : 0;
}

static void
scan_text(const struct scan *scan, struct slice text, struct buf *out)
{
    size_t space = 0;

    for (size_t at = 0; at < text.len;) {
        char c = text.ptr[at];
        bool fresh = at == 0 || !redact_is_alnum(text.ptr[at - 1]);
        size_t next = 0;
        if (slice_starts(slice_sub(text, at, text.len), REDACTED)) {
            buf_add_cstr(out, REDACTED);
            at += sizeof(REDACTED) - 1;
            continue;
        }
        if (fresh && (redact_is_alnum(c) || c == '_' || c == '%')) {
            next = redact_here(scan, text, at, space, out);
        }
        if (next > 0) {
            at = next;
            continue;
        }
        if (is_space(c) || c == '"' || c == '\'') {
            space = at + 1;
        }
        buf_add_char(out, c);
        at++;
    }
}

/* ---- the interface ---- */

void
redact_url_with(const struct redact_rules *rules, struct slice url, struct buf *out)
{
    struct scan scan = {rules, 0};

    scan_url(&scan, url, out);
}

void
redact_text_with(const struct redact_rules *rules, struct slice text, struct buf *out)
{
    struct scan scan = {rules, 0};

    if (redact_is_plain(text)) {
        buf_add_slice(out, text);
    } else {
        scan_text(&scan, text, out);
    }
}

void
redact_header_with(const struct redact_rules *rules, struct slice name, struct slice value,
                   struct buf *out)
{
    if (value.len > 0 && redact_is_secret(rules, name)) {
        buf_add_cstr(out, REDACTED);
    } else {
        redact_text_with(rules, value, out);
    }
}

void
redact_url(struct slice url, struct buf *out)
{
    redact_url_with(NULL, url, out);
}

void
redact_text(struct slice text, struct buf *out)
{
    redact_text_with(NULL, text, out);
}

void
redact_json(struct slice json, struct buf *out)
{
    redact_json_with(NULL, json, out);
}

void
redact_header(struct slice name, struct slice value, struct buf *out)
{
    redact_header_with(NULL, name, value, out);
}
