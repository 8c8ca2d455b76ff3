/*
 * The JSON reader. White space is rare and skipped byte by byte; strings are searched eight bytes
 * at a time for what ends the plain run: a quote, a backslash, a control character or UTF-8.
 */
#include "codec/json_read.h"

#include <assert.h>
#include <string.h>

#include "codec/swar.h"
#include "codec/utf8.h"

void
json_read_init(struct json_reader *json, struct slice text, struct arena *arena)
{
    *json = (struct json_reader){
        .start = text.ptr, .at = text.ptr, .end = text.ptr + text.len, .arena = arena};
}

static bool
fail(struct json_reader *json, const char *at, const char *expected)
{
    if (!json->expected) {
        json->expected = expected;
        json->error_offset = (size_t)(at - json->start);
    }
    return false;
}

static inline void
skip_space(struct json_reader *json)
{
    const char *at = json->at;

    while (at < json->end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) {
        at++;
    }
    json->at = at;
}

/* The end of a run without quote, backslash, control character; UTF-8 is checked on the way. NULL
 * when that is wrong, *at then tells where. */
static const char *
plain_end(const char **at, const char *end)
{
    const char *p = *at;

    for (;;) {
        while (end - p >= 8) {
            uint64_t word = swar_load(p);
            uint64_t stop = swar_equal(word, '"') | swar_equal(word, '\\') | swar_below(word, ' ') |
                            swar_high(word);
            if (stop) {
                p += swar_first(stop);
                break;
            }
            p += 8;
        }
        while (p < end && (unsigned char)*p >= ' ' && (unsigned char)*p < 0x80 && *p != '"' &&
               *p != '\\') {
            p++;
        }
        if (p == end || (unsigned char)*p < 0x80) {
            return p;
        }
        size_t len = utf8_char_len(p, end);
        if (len == 0) {
            *at = p;
            return NULL;
        }
        p += len;
    }
}

/* Four hexadecimal digits; -1 when they are not. */
static int32_t
hex4(const char *at, const char *end)
{
    int32_t value = 0;

    if (end - at < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        int digit;
        if (c >= '0' && c <= '9') {
            digit = c - '0';
        } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
            digit = (c | 0x20) - 'a' + 10;
        } else {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

/* Decodes \uXXXX at `at` (behind the 'u'), with its second half if it is a surrogate. */
static bool
decode_unicode(struct json_reader *json, const char **at, char **dst)
{
    int32_t code = hex4(*at, json->end);

    if (code < 0) {
        return fail(json, *at, "four hexadecimal digits behind \\u");
    }
    *at += 4;
    if (code >= 0xd800 && code <= 0xdfff) {
        int32_t low = -1;
        if (code < 0xdc00 && json->end - *at >= 6 && (*at)[0] == '\\' && (*at)[1] == 'u') {
            low = hex4(*at + 2, json->end);
        }
        if (low < 0xdc00 || low > 0xdfff) {
            return fail(json, *at - 6, "a pair of surrogates (\\ud83d\\ude00)");
        }
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        *at += 6;
    }
    *dst += utf8_encode((uint32_t)code, *dst);
    return true;
}

static bool
decode_escape(struct json_reader *json, const char **at, char **dst)
{
    static const char names[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
    char c = *at < json->end ? **at : '\0';

    (*at)++;
    if (c == 'u') {
        return decode_unicode(json, at, dst);
    }
    for (const char *name = names; *name; name += 2) {
        if (*name == c) {
            *(*dst)++ = name[1];
            return true;
        }
    }
    return fail(json, *at - 1, "an escape: one of \" \\ / b f n r t u");
}

/* Where the string that goes on at `at` ends at the latest: its closing quote. */
static const char *
find_quote(const char *at, const char *end)
{
    while (at < end && *at != '"') {
        at += *at == '\\' && end - at > 1 ? 2 : 1;
    }
    return at;
}

/* A string with escapes: plain runs are copied, escapes decoded. They only ever shrink. */
static bool
decode_string(struct json_reader *json, const char *start, const char *at, struct slice *ret_text)
{
    const char *close = find_quote(at, json->end);
    char *copy = arena_alloc(json->arena, (size_t)(close - start) + 1);

    if (!copy) {
        json->too_large = true;
        return fail(json, start, "less text with escapes");
    }
    char *dst = copy;
    size_t run = (size_t)(at - start);
    memcpy(dst, start, run);
    dst += run;
    while (at < json->end && *at == '\\') {
        at++;
        if (!decode_escape(json, &at, &dst)) {
            return false;
        }
        const char *stop = at;
        const char *next = plain_end(&stop, json->end);
        if (!next) {
            return fail(json, stop, "UTF-8");
        }
        run = (size_t)(next - at);
        memcpy(dst, at, run);
        dst += run;
        at = next;
    }
    if (at == json->end || *at != '"') {
        return fail(json, at, at == json->end ? "a closing '\"'" : "no control character");
    }
    *dst = '\0';
    json->at = at + 1;
    *ret_text = slice_make(copy, (size_t)(dst - copy));
    return true;
}

/* A string; json->at is behind its opening quote. */
static bool
read_string(struct json_reader *json, struct slice *ret_text)
{
    const char *start = json->at;
    const char *stop = start;
    const char *at = plain_end(&stop, json->end);

    if (!at) {
        return fail(json, stop, "UTF-8");
    }
    if (at < json->end && *at == '"') {
        *ret_text = slice_make(start, (size_t)(at - start));
        json->at = at + 1;
        return true;
    }
    if (at < json->end && *at == '\\') {
        return decode_string(json, start, at, ret_text);
    }
    return fail(json, at, at == json->end ? "a closing '\"'" : "no control character");
}

static bool
read_number(struct json_reader *json, struct scalar *ret_value)
{
    struct number *number = &ret_value->number;
    const char *start = json->at;
    const char *behind = number_scan(start, json->end, number);

    if (!behind) {
        return fail(json, start + (*start == '-'), "a digit");
    }
    const char *first = start + number->negative;
    if (number->int_digits == 0) {
        return fail(json, first, "a digit before the '.'");
    }
    if (*first == '0' && number->int_digits > 1) {
        return fail(json, first, "a number without zeros in front");
    }
    if (number->has_point && number->frac_digits == 0) {
        return fail(json, first + number->int_digits + 1, "a digit behind the '.'");
    }
    if (behind < json->end && (*behind == 'e' || *behind == 'E')) {
        return fail(json, behind + 1, "a digit of the exponent");
    }
    json->at = behind;
    ret_value->type = SCALAR_NUMBER;
    ret_value->text = number->text;
    return true;
}

static bool
read_literal(struct json_reader *json, struct scalar *ret_value, const char *name)
{
    size_t len = strlen(name);

    if ((size_t)(json->end - json->at) < len || memcmp(json->at, name, len) != 0) {
        return fail(json, json->at, "a value: {, [, a string, a number, true, false or null");
    }
    ret_value->type = *name == 'n' ? SCALAR_NULL : SCALAR_BOOL;
    ret_value->boolean = *name == 't';
    ret_value->text = slice_make(json->at, len);
    json->at += len;
    return true;
}

static bool
open_bracket(struct json_reader *json, struct scalar *ret_value, enum scalar_type type)
{
    if (json->depth == JSON_DEPTH_MAX) {
        return fail(json, json->at, "at most 64 levels of nesting");
    }
    ret_value->type = type;
    ret_value->text = slice_make(json->at, 1);
    json->at++;
    json->depth++;
    json->first = true;
    return true;
}

bool
json_read_value(struct json_reader *json, struct scalar *ret_value)
{
    if (json->expected) {
        return false;
    }
    skip_space(json);
    if (json->at == json->end) {
        return fail(json, json->at, "a value");
    }
    switch (*json->at) {
    case '{':
        return open_bracket(json, ret_value, SCALAR_OBJECT);
    case '[':
        return open_bracket(json, ret_value, SCALAR_ARRAY);
    case '"':
        json->at++;
        ret_value->type = SCALAR_STRING;
        return read_string(json, &ret_value->text);
    case 't':
        return read_literal(json, ret_value, "true");
    case 'f':
        return read_literal(json, ret_value, "false");
    case 'n':
        return read_literal(json, ret_value, "null");
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        return read_number(json, ret_value);
    default:
        return fail(json, json->at, "a value: {, [, a string, a number, true, false or null");
    }
}

/*
 * Before a member of the innermost bracket: takes the comma, or the closing bracket, which ends it
 * and gives false. `wanted` is what to say when it is neither.
 */
static bool
next_member(struct json_reader *json, char close, const char *wanted)
{
    bool first = json->first;

    if (json->expected) {
        return false;
    }
    assert(json->depth > 0);
    skip_space(json);
    json->first = false;
    if (json->at < json->end && *json->at == close) {
        json->at++;
        json->depth--;
        return false;
    }
    if (first) {
        return true;
    }
    if (json->at == json->end || *json->at != ',') {
        return fail(json, json->at, wanted);
    }
    json->at++;
    return true;
}

bool
json_read_key(struct json_reader *json, struct slice *ret_key)
{
    if (!next_member(json, '}', "',' or '}'")) {
        return false;
    }
    skip_space(json);
    if (json->at == json->end || *json->at != '"') {
        return fail(json, json->at, "a key in quotes");
    }
    json->at++;
    if (!read_string(json, ret_key)) {
        return false;
    }
    skip_space(json);
    if (json->at == json->end || *json->at != ':') {
        return fail(json, json->at, "':' behind the key");
    }
    json->at++;
    return true;
}

bool
json_read_element(struct json_reader *json)
{
    return next_member(json, ']', "',' or ']'");
}

bool
json_read_rest(struct json_reader *json, struct scalar *value)
{
    struct scalar inner;
    struct slice key;
    const char *start = value->text.ptr;
    unsigned outer = json->depth - 1;
    uint64_t objects = value->type == SCALAR_OBJECT; /* bit 0: the innermost is an object */

    if (json->expected) {
        return false;
    }
    assert(value->type >= SCALAR_OBJECT && json->depth > 0);
    while (json->depth > outer) {
        unsigned depth = json->depth;
        bool more = objects & 1 ? json_read_key(json, &key) : json_read_element(json);
        if (!more) {
            if (json->depth == depth) {
                return false;
            }
            objects >>= 1;
            continue;
        }
        if (!json_read_value(json, &inner)) {
            return false;
        }
        if (inner.type >= SCALAR_OBJECT) {
            objects = objects << 1 | (inner.type == SCALAR_OBJECT);
        }
    }
    value->text = slice_make(start, (size_t)(json->at - start));
    return true;
}

bool
json_read_more(struct json_reader *json)
{
    if (json->expected) {
        return false;
    }
    assert(json->depth == 0);
    skip_space(json);
    return json->at < json->end;
}

bool
json_read_end(struct json_reader *json)
{
    if (json_read_more(json)) {
        return fail(json, json->at, "nothing behind the value");
    }
    return !json->expected;
}

void
json_read_skip_line(struct json_reader *json)
{
    const char *from = json->start + json->error_offset;
    const char *stop = NULL;

    if (json->expected) {
        from = from > json->at ? from : json->at;
        stop = from < json->end ? memchr(from, '\n', (size_t)(json->end - from)) : NULL;
        json->at = stop ? stop + 1 : json->end;
    }
    json->expected = NULL;
    json->too_large = false;
    json->error_offset = 0;
    json->depth = 0;
    json->first = false;
}

enum err_code
json_read_error(const struct json_reader *json, struct err *err)
{
    if (!json->expected) {
        return ERR_OK;
    }
    return err_set(err, json->too_large ? ERR_TOO_LARGE : ERR_SYNTAX, "JSON, byte %zu: expected %s",
                   json->error_offset, json->expected);
}

bool
json_valid(struct slice text)
{
    ARENA_AUTO struct arena arena;
    struct json_reader json;
    struct scalar value;

    arena_init(&arena, text.len * 4 + 4096);
    json_read_init(&json, text, &arena);
    return json_read_value(&json, &value) &&
           (value.type < SCALAR_OBJECT || json_read_rest(&json, &value)) && json_read_end(&json);
}
