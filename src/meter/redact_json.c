/* JSON: copies the input and puts the mark in place of what is secret. */
#include <string.h>

#include "base/arena.h"
#include "codec/json_read.h"
#include "codec/json_write.h"
#include "meter/redact_internal.h"

enum { ARENA_BYTES_MAX = 64 << 20 };

struct walk {
    const struct redact_rules *rules;
    struct slice text;
    struct json_reader json;
    struct buf *out;
    size_t copied; /* how much of `text` is in `out` */
};

static void
replace(struct walk *walk, size_t start, size_t end, struct slice by)
{
    buf_add_slice(walk->out, slice_sub(walk->text, walk->copied, start - walk->copied));
    json_quote(walk->out, by);
    walk->copied = end;
}

/* Replaces the string that begins at the first quote behind `from` if its text holds a secret. */
static void
redact_string(struct walk *walk, size_t from, struct slice decoded)
{
    const char *start = memchr(walk->text.ptr + from, '"', walk->text.len - from);
    BUF_AUTO struct buf clean;

    buf_init(&clean, 0);
    redact_text_with(walk->rules, decoded, &clean);
    if (start && !slice_eq(buf_slice(&clean), decoded)) {
        /* A key is followed by its colon, which the reader has taken, too. */
        const char *end = start + 1;
        while (*end != '"') {
            end += *end == '\\' ? 2 : 1;
        }
        replace(walk, (size_t)(start - walk->text.ptr), (size_t)(end + 1 - walk->text.ptr),
                buf_slice(&clean));
    }
}

/* A member of a secret name: strings, numbers, objects and arrays go; what says nothing stays. */
static bool
redact_member(struct walk *walk, size_t from, struct scalar *value)
{
    static const char between[] = {' ', '\t', '\r', '\n', ':', ','};
    size_t start = from;

    if (value->type >= SCALAR_OBJECT && !json_read_rest(&walk->json, value)) {
        return false;
    }
    if (value->type == SCALAR_NULL || value->type == SCALAR_BOOL ||
        (value->type == SCALAR_STRING && value->text.len == 0) ||
        (value->type == SCALAR_STRING && slice_is(value->text, REDACTED))) {
        return true;
    }
    while (memchr(between, walk->text.ptr[start], sizeof(between))) {
        start++;
    }
    replace(walk, start, json_read_offset(&walk->json), SLICE_LITERAL(REDACTED));
    return true;
}

/* One value, `from` being anywhere between what stands before it and it. The reader bounds the
 * depth. */
static bool
redact_value(struct walk *walk, size_t from, bool secret)
{
    struct scalar value;
    struct slice key;

    if (!json_read_value(&walk->json, &value)) {
        return false;
    }
    if (secret) {
        return redact_member(walk, from, &value);
    }
    if (value.type == SCALAR_STRING) {
        redact_string(walk, from, value.text);
        return true;
    }
    if (value.type == SCALAR_OBJECT) {
        for (size_t at = json_read_offset(&walk->json); json_read_key(&walk->json, &key);
             at = json_read_offset(&walk->json)) {
            redact_string(walk, at, key);
            if (!redact_value(walk, json_read_offset(&walk->json),
                              redact_is_secret(walk->rules, key))) {
                return false;
            }
        }
    } else if (value.type == SCALAR_ARRAY) {
        for (size_t at = json_read_offset(&walk->json); json_read_element(&walk->json);
             at = json_read_offset(&walk->json)) {
            if (!redact_value(walk, at, false)) {
                return false;
            }
        }
    }
    return !json_read_failed(&walk->json);
}

void
redact_json_with(const struct redact_rules *rules, struct slice json, struct buf *out)
{
    ARENA_AUTO struct arena arena;
    struct walk walk = {.rules = rules, .text = json, .out = out};
    size_t before = out->len;

    arena_init(&arena, ARENA_BYTES_MAX);
    json_read_init(&walk.json, json, &arena);
    if (redact_value(&walk, 0, false) && json_read_end(&walk.json)) {
        buf_add_slice(out, slice_sub(json, walk.copied, json.len));
        return;
    }
    BUF_AUTO struct buf clean;
    buf_init(&clean, 0);
    redact_text_with(rules, json, &clean);
    if (!out->overflow) {
        out->len = before;
    }
    json_quote(out, buf_slice(&clean));
}
