/* The JSON writer: bytes are reserved once a value and written in place. */
#include "codec/json_write.h"

#include "codec/decimal.h"

#include <math.h>
#include <string.h>

#include "codec/number.h"
#include "codec/swar.h"
#include "codec/time.h"
#include "codec/utf8.h"

enum { ESCAPE_MAX = 6 };

void
json_init(struct json_writer *json, struct buf *out)
{
    *json = (struct json_writer){.out = out};
}

/* Adds at most `size` bytes for a value, comma first; returns where, or NULL over the cap. */
static char *
begin_value(struct json_writer *json, size_t size)
{
    char *at = buf_reserve(json->out, size + 1);

    if (at && json->comma) {
        *at++ = ',';
        json->out->len++;
    }
    json->comma = true;
    return at;
}

static void
add_value(struct json_writer *json, const char *text, size_t len)
{
    char *at = begin_value(json, len);

    if (at && len > 0) {
        memcpy(at, text, len);
        json->out->len += len;
    }
}

void
json_object_begin(struct json_writer *json)
{
    add_value(json, "{", 1);
    json->comma = false;
}

void
json_object_end(struct json_writer *json)
{
    buf_add_char(json->out, '}');
    json->comma = true;
}

void
json_array_begin(struct json_writer *json)
{
    add_value(json, "[", 1);
    json->comma = false;
}

void
json_array_end(struct json_writer *json)
{
    buf_add_char(json->out, ']');
    json->comma = true;
}

/* Length of the front that needs no escape. */
static size_t
plain_len(const char *at, const char *end)
{
    const char *start = at;

    while (end - at >= 8) {
        uint64_t word = swar_load(at);
        uint64_t stop = swar_equal(word, '"') | swar_equal(word, '\\') | swar_below(word, ' ') |
                        swar_high(word);
        if (stop) {
            at += swar_first(stop);
            return (size_t)(at - start);
        }
        at += 8;
    }
    while (at < end && (unsigned char)*at >= ' ' && (unsigned char)*at < 0x80 && *at != '"' &&
           *at != '\\') {
        at++;
    }
    return (size_t)(at - start);
}

static size_t
escape(unsigned char c, char dst[ESCAPE_MAX])
{
    static const char hex[] = "0123456789abcdef";
    static const char names[] = "\bb\ff\nn\rr\tt\"\"\\\\";
    const char *name = names;

    while (*name && (unsigned char)*name != c) {
        name += 2;
    }
    dst[0] = '\\';
    if (c != '\0' && *name) {
        dst[1] = name[1];
        return 2;
    }
    dst[1] = 'u';
    dst[2] = '0';
    dst[3] = '0';
    dst[4] = hex[c >> 4];
    dst[5] = hex[c & 15];
    return ESCAPE_MAX;
}

/* Writes the one character at `at` that is not plain and returns how long it was. */
static size_t
add_special(struct buf *out, const char *at, const char *end)
{
    char text[ESCAPE_MAX];
    size_t len = 1;

    if ((unsigned char)*at < 0x80) {
        buf_add(out, text, escape((unsigned char)*at, text));
        return len;
    }
    len = utf8_char_len(at, end);
    if (len == 0) {
        buf_add(out, "\xef\xbf\xbd", 3);
        return 1;
    }
    buf_add(out, at, len);
    return len;
}

static void
add_escaped(struct buf *out, struct slice text)
{
    const char *at = text.ptr;
    const char *end = text.ptr + text.len;

    while (at < end && !out->overflow) {
        size_t plain = plain_len(at, end);
        buf_add(out, at, plain);
        at += plain;
        if (at < end) {
            at += add_special(out, at, end);
        }
    }
}

void
json_quote(struct buf *out, struct slice text)
{
    char *at = buf_reserve(out, text.len + 2);

    if (!at) {
        return;
    }
    *at = '"';
    /* The usual text has nothing to escape and goes out in one copy. */
    if (text.len == 0 || plain_len(text.ptr, text.ptr + text.len) == text.len) {
        if (text.len > 0) {
            memcpy(at + 1, text.ptr, text.len);
        }
        at[text.len + 1] = '"';
        out->len += text.len + 2;
        return;
    }
    out->len++;
    add_escaped(out, text);
    buf_add_char(out, '"');
}

void
json_key(struct json_writer *json, const char *key)
{
    json_key_slice(json, slice_of(key));
}

void
json_key_slice(struct json_writer *json, struct slice key)
{
    json_str(json, key);
    buf_add_char(json->out, ':');
    json->comma = false;
}

void
json_str(struct json_writer *json, struct slice text)
{
    if (begin_value(json, text.len + 2)) {
        json_quote(json->out, text);
    }
}

void
json_cstr(struct json_writer *json, const char *text)
{
    if (text) {
        json_str(json, slice_of(text));
    } else {
        json_write_null(json);
    }
}

void
json_i64(struct json_writer *json, int64_t value)
{
    if (begin_value(json, 0)) {
        buf_add_i64(json->out, value);
    }
}

void
json_u64(struct json_writer *json, uint64_t value)
{
    if (begin_value(json, 0)) {
        buf_add_u64(json->out, value);
    }
}

void
json_f64(struct json_writer *json, double value)
{
    if (!isfinite(value)) {
        json_write_null(json);
        return;
    }
    char *at = begin_value(json, NUMBER_F64_MAX);
    if (at) {
        json->out->len += number_format_f64(value, at);
    }
}

void
json_bool(struct json_writer *json, bool value)
{
    add_value(json, value ? "true" : "false", value ? 4 : 5);
}

void
json_write_null(struct json_writer *json)
{
    add_value(json, "null", 4);
}

void
json_raw(struct json_writer *json, struct slice value)
{
    add_value(json, value.ptr, value.len);
}

void
json_time_us(struct json_writer *json, int64_t us)
{
    char *at = begin_value(json, TIME_TEXT_MAX + 2);

    if (at) {
        size_t len = time_format_iso8601(us, at + 1);
        at[0] = '"';
        at[len + 1] = '"';
        json->out->len += len + 2;
    }
}

void
json_key_decimal(struct json_writer *json, const char *key, int64_t micro)
{
    char text[DECIMAL_TEXT_MAX];
    size_t len = decimal_format(micro, text);

    json_key(json, key);
    json_raw(json, slice_make(text, len));
}

void
json_newline(struct json_writer *json)
{
    buf_add_char(json->out, '\n');
    json->comma = false;
}
