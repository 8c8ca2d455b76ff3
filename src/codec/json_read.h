/*
 * Reads JSON (RFC 8259, strict, UTF-8 checked) by pulling values out of bytes that are all there.
 * Nothing is built: strings without escapes and numbers are slices of the input, strings with
 * escapes are decoded into the caller's arena.
 *
 *   json_read_init(&json, body, &arena);
 *   if (json_read_value(&json, &value) && value.type == SCALAR_OBJECT) {
 *       while (json_read_key(&json, &key)) {
 *           if (!json_read_value(&json, &value)) break;
 *           if (value.type >= SCALAR_OBJECT && !json_read_rest(&json, &value)) break;
 *           ...
 *       }
 *   }
 *   if (json_read_failed(&json)) ... json_read_error(&json, err)
 *
 * Failure sticks: once something was wrong every function returns false, so it may be checked once
 * a row. `expected` and `error_offset` then say what should have stood where.
 *
 * Pure; a reader belongs to one thread.
 */
#ifndef EIDER_CODEC_JSON_READ_H
#define EIDER_CODEC_JSON_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"
#include "codec/scalar.h"

enum { JSON_DEPTH_MAX = 64 };

struct json_reader {
    const char *start;
    const char *at;
    const char *end;
    struct arena *arena;
    unsigned depth;       /* of open objects and arrays */
    bool first;           /* the innermost one has given nothing yet */
    bool too_large;       /* the failure is the arena's cap */
    const char *expected; /* NULL until something failed */
    size_t error_offset;
};

/* Prepares to read `text`; it and `arena` must outlive the reader and the values read. */
void json_read_init(struct json_reader *json, struct slice text, struct arena *arena);

/*
 * Reads the next value. Scalars are consumed; of an object or array only the opening bracket is,
 * and the caller goes on with json_read_key / json_read_element, or skips it by json_read_rest.
 */
bool json_read_value(struct json_reader *json, struct scalar *ret_value);

/* In an object: the next key, its value comes next. False at the end (the bracket is consumed) and
 * after a failure: ask json_read_failed behind the loop. */
bool json_read_key(struct json_reader *json, struct slice *ret_key);

/* In an array: true when another element comes next. False as json_read_key. */
bool json_read_element(struct json_reader *json);

/* Right behind json_read_value of an object or array: checks and skips all of it, and sets
 * value->text to its bytes, brackets included. */
bool json_read_rest(struct json_reader *json, struct scalar *value);

/* Between documents (NDJSON) or behind the last: true when anything but white space is left. */
bool json_read_more(struct json_reader *json);

/* Ends the document: fails unless only white space is left. */
bool json_read_end(struct json_reader *json);

/* After a failure within a line of NDJSON: forgets it and goes on behind the next newline. */
void json_read_skip_line(struct json_reader *json);

/* Bytes read so far. */
static inline size_t
json_read_offset(const struct json_reader *json)
{
    return (size_t)(json->at - json->start);
}

static inline bool
json_read_failed(const struct json_reader *json)
{
    return json->expected != NULL;
}

/* ERR_OK, ERR_TOO_LARGE (arena) or ERR_SYNTAX: "JSON, byte 17: expected ':' after the key". */
enum err_code json_read_error(const struct json_reader *json, struct err *err);

/* Checks a whole text that must be one JSON value. */
bool json_valid(struct slice text);

#endif
