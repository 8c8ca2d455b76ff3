/* JSON in Python's spelling. */
#include "cli/python_json.h"

#include <math.h>

#include "codec/number.h"
#include "codec/utf8.h"

static void
add_escape(struct buf *out, unsigned unit)
{
    buf_add_fmt(out, "\\u%04x", unit);
}

static void
add_ascii(struct buf *out, unsigned char c)
{
    static const char plain[] = "\"\\\b\f\n\r\t";
    static const char letters[] = "\"\\bfnrt";

    for (size_t i = 0; plain[i]; i++) {
        if ((char)c == plain[i]) {
            buf_add_char(out, '\\');
            buf_add_char(out, letters[i]);
            return;
        }
    }
    if (c < 0x20 || c == 0x7f) {
        add_escape(out, c);
    } else {
        buf_add_char(out, (char)c);
    }
}

static void
add_code_point(struct buf *out, unsigned code)
{
    if (code < 0x80) {
        add_ascii(out, (unsigned char)code);
    } else if (code < 0x10000) {
        add_escape(out, code);
    } else {
        add_escape(out, 0xd800 + ((code - 0x10000) >> 10));
        add_escape(out, 0xdc00 + ((code - 0x10000) & 0x3ff));
    }
}

/* The code point at `at`, which stands in well-formed text; moves *at behind it. */
static unsigned
take_code_point(const unsigned char **at)
{
    const unsigned char *p = *at;
    unsigned lead = *p;
    unsigned more = lead < 0x80 ? 0 : (lead < 0xe0 ? 1 : (lead < 0xf0 ? 2 : 3));
    unsigned code = more == 0 ? lead : lead & (0x3fu >> more);

    for (unsigned i = 1; i <= more; i++) {
        code = code << 6 | (p[i] & 0x3fu);
    }
    *at = p + more + 1;
    return code;
}

static void
add_quoted(struct buf *out, struct slice text)
{
    buf_add_char(out, '"');
    while (text.len > 0) {
        const unsigned char *at = (const unsigned char *)text.ptr;
        size_t len = utf8_char_len(text.ptr, text.ptr + text.len);
        add_code_point(out, len ? take_code_point(&at) : 0xfffd);
        text = slice_sub(text, len ? len : 1, text.len);
    }
    buf_add_char(out, '"');
}

void
python_begin(struct python_json *json, struct buf *out)
{
    *json = (struct python_json){.out = out};
    buf_add_char(out, '{');
}

void
python_end(struct python_json *json)
{
    buf_add_char(json->out, '}');
}

static void
add_key(struct python_json *json, const char *key)
{
    if (json->begun) {
        buf_add_cstr(json->out, ", ");
    }
    json->begun = true;
    add_quoted(json->out, slice_of(key));
    buf_add_cstr(json->out, ": ");
}

void
python_bool(struct python_json *json, const char *key, bool value)
{
    add_key(json, key);
    buf_add_cstr(json->out, value ? "true" : "false");
}

void
python_int(struct python_json *json, const char *key, int64_t value)
{
    add_key(json, key);
    buf_add_i64(json->out, value);
}

void
python_float(struct python_json *json, const char *key, double value)
{
    char text[NUMBER_F64_MAX];

    add_key(json, key);
    if (isnan(value)) {
        buf_add_cstr(json->out, "NaN");
    } else if (isinf(value)) {
        buf_add_cstr(json->out, value > 0 ? "Infinity" : "-Infinity");
    } else {
        buf_add(json->out, text, number_format_f64(value, text));
    }
}

void
python_text(struct python_json *json, const char *key, struct slice value)
{
    add_key(json, key);
    add_quoted(json->out, value);
}
