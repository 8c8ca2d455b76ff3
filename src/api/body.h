/*
 * Bodies of requests that are one JSON object with known members: a table says what each member is
 * and where in a struct it goes. Texts without escapes are borrowed from the body.
 *
 *   static const struct body_field fields[] = {
 *       {"api_name", NULL, BODY_TEXT, offsetof(struct call, api_name), 1, 1024},
 *       {"max_credits", NULL, BODY_CREDITS, offsetof(struct call, credits), 0, DECIMAL_MAX}};
 *   code = body_read(body, fields, 2, &call, &seen, arena, err);
 *
 * Pure; any thread.
 */
#ifndef EIDER_API_BODY_H
#define EIDER_API_BODY_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"

enum body_kind {
    BODY_TEXT,    /* struct slice; min and max are bytes */
    BODY_CREDITS, /* int64_t micro-credits, from a number or a text; min and max are micro-credits
                   */
    BODY_INT,     /* int64_t within min and max */
    BODY_NUMBER,  /* double, finite, within min and max */
    BODY_BOOL,    /* bool */
    BODY_OBJECT,  /* struct slice: the JSON text of an object; max is bytes */
    BODY_PARAMS,  /* struct body_params: an object of texts, numbers and booleans */
    BODY_IGNORED  /* anything; read by somebody else */
};

struct body_field {
    const char *name;
    const char *alias; /* another name, or NULL */
    enum body_kind kind;
    size_t offset;
    int64_t min, max;
};

enum { BODY_FIELDS_MAX = 32, BODY_PARAMS_MAX = 32 };

struct body_param {
    struct slice name;
    struct slice value;
};

struct body_params {
    struct body_param *items; /* in the arena */
    size_t count;
};

/*
 * Fills what the body has; bit i of *ret_seen says that member i was there and not null. ERR_SYNTAX
 * for what is no JSON; ERR_INVALID naming field, value and what was expected; ERR_TOO_LARGE when
 * the arena is full.
 */
enum err_code body_read(struct slice body, const struct body_field *fields, size_t count,
                        void *ret_struct, uint32_t *ret_seen, struct arena *arena, struct err *err);

#endif
