/* Shared by redact*.c only. */
#ifndef EIDER_METER_REDACT_INTERNAL_H
#define EIDER_METER_REDACT_INTERNAL_H

#include "meter/redact.h"

/* The length of what looks like a secret at the start of `text` (a JWT, sk-..., AKIA...), or 0. The
 * byte before must be no letter or digit. */
size_t redact_looks_secret(struct slice text);
enum { REDACT_LOOKS_MIN = 13 }; /* shorter ones never do */

/* The length of the credentials behind "Bearer " or "Basic " at the start of `text`, with *ret_skip
 * the length of the word and its blanks; 0 when there are none. */
size_t redact_scheme(struct slice text, size_t *ret_skip);

/* Whether a segment of a path is a key by its place: the segments before it are `before`. */
bool redact_is_key_segment(struct slice before, struct slice segment);

/* Decodes %XX; appends. */
void redact_decode(struct slice text, struct buf *out);

static inline bool
redact_is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

#endif
