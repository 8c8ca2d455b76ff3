/*
 * One decoded value, as every decoder of rows hands it on (JSON, CSV, line protocol) and
 * catalog/validate.h takes it. A plain value; texts are borrowed.
 */
#ifndef EIDER_CODEC_SCALAR_H
#define EIDER_CODEC_SCALAR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "codec/number.h"

enum scalar_type {
    SCALAR_NULL,
    SCALAR_BOOL,   /* boolean */
    SCALAR_NUMBER, /* number; text is number.text */
    SCALAR_STRING, /* text, decoded */
    SCALAR_OBJECT, /* text: the JSON, once it was skipped (json_read_rest) */
    SCALAR_ARRAY   /* the same */
};

struct scalar {
    enum scalar_type type;
    bool boolean;
    struct slice text; /* as it stood in the input, but for strings: decoded, without quotes */
    struct number number;
};

#endif
