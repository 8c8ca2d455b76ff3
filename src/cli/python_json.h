/*
 * JSON exactly as Python's json.dumps writes it by default: ", " and ": " between things, texts in
 * ASCII with \u escapes (UTF-16 pairs above U+FFFF), floats as repr with at least one decimal,
 * insertion order. Programs that were written for the original read what is printed here.
 *
 * Pure; any thread.
 */
#ifndef EIDER_CLI_PYTHON_JSON_H
#define EIDER_CLI_PYTHON_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

struct python_json {
    struct buf *out;
    bool begun; /* a member was written */
};

/* One object: begin, members in order, end. */
void python_begin(struct python_json *json, struct buf *out);
void python_end(struct python_json *json);

void python_bool(struct python_json *json, const char *key, bool value);
void python_int(struct python_json *json, const char *key, int64_t value);
/* "60.0", "1e-07"; "NaN", "Infinity", "-Infinity". */
void python_float(struct python_json *json, const char *key, double value);
/* Bytes that are not UTF-8 become U+FFFD, one a byte. */
void python_text(struct python_json *json, const char *key, struct slice value);

#endif
