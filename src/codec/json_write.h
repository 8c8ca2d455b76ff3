/*
 * Writes JSON into a buffer; commas come by themselves. The caller keeps the nesting right: inside
 * an object every value follows a json_key. Over the buffer's cap nothing more is added and
 * buf.overflow says so at the end.
 *
 *   struct json_writer json;
 *   json_init(&json, &buf);
 *   json_object_begin(&json);
 *   json_key(&json, "symbol");
 *   json_str(&json, symbol);
 *   json_object_end(&json);
 *
 * One thread at a time.
 */
#ifndef EIDER_CODEC_JSON_WRITE_H
#define EIDER_CODEC_JSON_WRITE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

struct json_writer {
    struct buf *out;
    bool comma; /* a value was written just before at this level */
};

/* Starts a document at the end of `out`, which must outlive the writer. */
void json_init(struct json_writer *json, struct buf *out);

void json_object_begin(struct json_writer *json);
void json_object_end(struct json_writer *json);
void json_array_begin(struct json_writer *json);
void json_array_end(struct json_writer *json);

/* The key of the next value; escaped as json_str does. */
void json_key(struct json_writer *json, const char *key);
void json_key_slice(struct json_writer *json, struct slice key);

/* A string. Bytes that are not UTF-8 become U+FFFD, one a byte. */
void json_str(struct json_writer *json, struct slice text);

/* A string, or null for NULL. */
void json_cstr(struct json_writer *json, const char *text);

void json_i64(struct json_writer *json, int64_t value);
void json_u64(struct json_writer *json, uint64_t value);

/* Shortest digits that read back the same ("101.25", "100.0"); NaN and infinities are null. */
void json_f64(struct json_writer *json, double value);
void json_bool(struct json_writer *json, bool value);
void json_write_null(struct json_writer *json); /* json_null is a name of jansson's */

/* A key, and credits or money (codec/decimal.h) as an exact number. */
void json_key_decimal(struct json_writer *json, const char *key, int64_t micro);

/* Bytes that are one JSON value already. */
void json_raw(struct json_writer *json, struct slice value);

/* A time as a string: ISO 8601, UTC without a zone, microseconds only when they are not 0. */
void json_time_us(struct json_writer *json, int64_t us);

/* Several documents in one buffer (NDJSON): ends this one with a newline. */
void json_newline(struct json_writer *json);

/* The string literal alone, quotes included, for callers without a writer. */
void json_quote(struct buf *out, struct slice text);

#endif
