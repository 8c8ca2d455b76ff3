/* UTF-8: the table of RFC 3629 section 4 as comparisons. */
#include "codec/utf8.h"

#include <assert.h>

#include "codec/swar.h"

static bool
follows(const unsigned char *at, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return false;
        }
    }
    return true;
}

size_t
utf8_char_len(const char *at, const char *end)
{
    const unsigned char *bytes = (const unsigned char *)at;
    size_t left = (size_t)(end - at);

    if (left == 0) {
        return 0;
    }
    if (bytes[0] < 0x80) {
        return 1;
    }
    if (bytes[0] < 0xc2 || bytes[0] > 0xf4) {
        return 0;
    }
    size_t len = bytes[0] < 0xe0 ? 2 : bytes[0] < 0xf0 ? 3 : 4;
    if (left < len || !follows(bytes, 1, len)) {
        return 0;
    }
    /* The second byte rules out overlong forms, surrogates and what is above U+10FFFF. */
    switch (bytes[0]) {
    case 0xe0:
        return bytes[1] >= 0xa0 ? len : 0;
    case 0xed:
        return bytes[1] < 0xa0 ? len : 0;
    case 0xf0:
        return bytes[1] >= 0x90 ? len : 0;
    case 0xf4:
        return bytes[1] < 0x90 ? len : 0;
    default:
        return len;
    }
}

size_t
utf8_valid_len(struct slice text)
{
    const char *at = text.ptr;
    const char *end = text.ptr + text.len;

    while (at < end) {
        if (end - at >= 8 && !swar_high(swar_load(at))) {
            at += 8;
            continue;
        }
        size_t len = utf8_char_len(at, end);
        if (len == 0) {
            break;
        }
        at += len;
    }
    return (size_t)(at - text.ptr);
}

bool
utf8_is_text(struct slice text)
{
    if (text.len == 0) {
        return true;
    }
    return utf8_valid_len(text) == text.len && !memchr(text.ptr, '\0', text.len);
}

size_t
utf8_encode(uint32_t code, char ret_bytes[4])
{
    assert(code <= 0x10ffff && (code < 0xd800 || code > 0xdfff));
    if (code < 0x80) {
        ret_bytes[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        ret_bytes[0] = (char)(0xc0 | (code >> 6));
        ret_bytes[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        ret_bytes[0] = (char)(0xe0 | (code >> 12));
        ret_bytes[1] = (char)(0x80 | ((code >> 6) & 0x3f));
        ret_bytes[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    ret_bytes[0] = (char)(0xf0 | (code >> 18));
    ret_bytes[1] = (char)(0x80 | ((code >> 12) & 0x3f));
    ret_bytes[2] = (char)(0x80 | ((code >> 6) & 0x3f));
    ret_bytes[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}
