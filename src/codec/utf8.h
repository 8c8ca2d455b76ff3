/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. Pure. */
#ifndef EIDER_CODEC_UTF8_H
#define EIDER_CODEC_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* Length (1..4) of the character at `at`, or 0 when the bytes up to `end` do not hold a valid one.
 */
size_t utf8_char_len(const char *at, const char *end);

/* How many bytes at the front are valid; text.len when all are. */
size_t utf8_valid_len(struct slice text);

/* Whether a text may be stored: valid UTF-8 without a NUL. */
bool utf8_is_text(struct slice text);

/* Writes a code point (no surrogate, <= 0x10FFFF) and returns its length, 1..4. */
size_t utf8_encode(uint32_t code, char ret_bytes[4]);

#endif
