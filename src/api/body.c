/* Members of one JSON object into the members of a struct. */
#include "api/body.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

#include "base/buf.h"
#include "codec/decimal.h"
#include "codec/json_read.h"

enum { SHOWN_BYTES = 60, EXPECTED_BYTES = 160 };

struct body_reader {
    struct json_reader json;
    const struct body_field *fields;
    size_t count;
    char *target;
    uint32_t seen;  /* also nulls: a member may be given once */
    uint32_t given; /* without nulls */
    struct err *err;
};

/* A value as it may stand in a message: texts in quotes, cut, one line. */
static void
show(const struct scalar *value, char *ret_text, size_t size)
{
    struct slice text = slice_sub(value->text, 0, SHOWN_BYTES);
    const char *quote = value->type == SCALAR_STRING ? "\"" : "";
    const char *more = value->text.len > text.len ? "..." : "";

    if (value->type == SCALAR_BOOL) {
        text = slice_of(value->boolean ? "true" : "false");
    } else if (value->type == SCALAR_NULL) {
        text = slice_of("null");
    }
    snprintf(ret_text, size, "%s%.*s%s%s", quote, SLICE_FMT(text), more, quote);
    for (char *c = ret_text; *c; c++) {
        *c = (unsigned char)*c < 0x20 ? ' ' : *c;
    }
}

static void
expect_credits(const struct body_field *field, char *ret_text)
{
    char min[DECIMAL_TEXT_MAX];
    char max[DECIMAL_TEXT_MAX];

    decimal_format(field->min, min);
    decimal_format(field->max, max);
    snprintf(ret_text, EXPECTED_BYTES,
             "credits: a number from %s to %s with at most six decimals, or a text that holds one",
             min, max);
}

static void
expect(const struct body_field *field, char *ret_text)
{
    long long min = (long long)field->min;
    long long max = (long long)field->max;

    ret_text[0] = '\0';
    switch (field->kind) {
    case BODY_TEXT:
        snprintf(ret_text, EXPECTED_BYTES, "a text of %lld to %lld bytes without NUL", min, max);
        break;
    case BODY_CREDITS:
        expect_credits(field, ret_text);
        break;
    case BODY_INT:
        snprintf(ret_text, EXPECTED_BYTES, "an integer from %lld to %lld", min, max);
        break;
    case BODY_NUMBER:
        snprintf(ret_text, EXPECTED_BYTES, "a number from %lld to %lld", min, max);
        break;
    case BODY_BOOL:
        snprintf(ret_text, EXPECTED_BYTES, "true or false");
        break;
    case BODY_OBJECT:
        snprintf(ret_text, EXPECTED_BYTES, "a JSON object of at most %lld bytes", max);
        break;
    case BODY_PARAMS:
        snprintf(ret_text, EXPECTED_BYTES,
                 "an object of at most %d texts, numbers and booleans, none of them nested",
                 (int)BODY_PARAMS_MAX);
        break;
    case BODY_IGNORED:
        break;
    }
}

static bool
refuse(struct body_reader *reader, const struct body_field *field, const struct scalar *value)
{
    char shown[SHOWN_BYTES + 16];
    char expected[EXPECTED_BYTES];

    show(value, shown, sizeof(shown));
    expect(field, expected);
    err_set(reader->err, ERR_INVALID, "%s is %s; expected %s", field->name, shown, expected);
    return false;
}

static bool
set_text(void *place, const struct body_field *field, const struct scalar *value)
{
    if (value->type != SCALAR_STRING || value->text.len < (size_t)field->min ||
        value->text.len > (size_t)field->max ||
        memchr(value->text.ptr, '\0', value->text.len) != NULL) {
        return false;
    }
    memcpy(place, &value->text, sizeof(value->text));
    return true;
}

static bool
set_number(void *place, const struct body_field *field, const struct scalar *value)
{
    int64_t whole;
    double number;

    if (field->kind == BODY_CREDITS) {
        if ((value->type != SCALAR_NUMBER && value->type != SCALAR_STRING) ||
            !decimal_parse(value->text, &whole) || whole < field->min || whole > field->max) {
            return false;
        }
        memcpy(place, &whole, sizeof(whole));
        return true;
    }
    if (value->type != SCALAR_NUMBER) {
        return false;
    }
    if (field->kind == BODY_INT) {
        if (!number_to_i64(&value->number, &whole) || whole < field->min || whole > field->max) {
            return false;
        }
        memcpy(place, &whole, sizeof(whole));
        return true;
    }
    if (!number_to_f64(&value->number, &number) || !isfinite(number) ||
        number < (double)field->min || number > (double)field->max) {
        return false;
    }
    memcpy(place, &number, sizeof(number));
    return true;
}

/* The members of an object whose opening bracket was read. */
static bool
read_params(struct body_reader *reader, const struct body_field *field)
{
    struct json_reader *json = &reader->json;
    struct body_params params = {
        .items = arena_alloc(json->arena, BODY_PARAMS_MAX * sizeof(*params.items))};
    struct scalar value;
    struct slice key;

    while (params.items && json_read_key(json, &key)) {
        if (!json_read_value(json, &value)) {
            return false;
        }
        if (value.type == SCALAR_NULL) {
            continue;
        }
        if (value.type >= SCALAR_OBJECT || params.count == BODY_PARAMS_MAX) {
            value.text = params.count == BODY_PARAMS_MAX ? slice_of("one of more") : key;
            value.type = SCALAR_STRING;
            return refuse(reader, field, &value);
        }
        if (value.type == SCALAR_BOOL) {
            value.text = slice_of(value.boolean ? "true" : "false");
        }
        params.items[params.count++] = (struct body_param){key, value.text};
    }
    if (!params.items) {
        err_set(reader->err, ERR_TOO_LARGE, "%s: the request holds too much", field->name);
        return false;
    }
    memcpy(reader->target + field->offset, &params, sizeof(params));
    return !json_read_failed(json);
}

static bool
set_field(struct body_reader *reader, const struct body_field *field, struct scalar *value)
{
    void *place = reader->target + field->offset;
    bool ok = false;

    if (value->type == SCALAR_OBJECT && field->kind == BODY_PARAMS) {
        return read_params(reader, field);
    }
    if (value->type >= SCALAR_OBJECT && !json_read_rest(&reader->json, value)) {
        return false;
    }
    switch (field->kind) {
    case BODY_TEXT:
        ok = set_text(place, field, value);
        break;
    case BODY_CREDITS:
    case BODY_INT:
    case BODY_NUMBER:
        ok = set_number(place, field, value);
        break;
    case BODY_BOOL:
        ok = value->type == SCALAR_BOOL;
        if (ok) {
            memcpy(place, &value->boolean, sizeof(value->boolean));
        }
        break;
    case BODY_OBJECT:
        ok = value->type == SCALAR_OBJECT && value->text.len <= (size_t)field->max;
        if (ok) {
            memcpy(place, &value->text, sizeof(value->text));
        }
        break;
    case BODY_IGNORED:
        ok = true;
        break;
    case BODY_PARAMS:
        break;
    }
    return ok || refuse(reader, field, value);
}

static bool
refuse_unknown(struct body_reader *reader, struct slice key)
{
    struct buf names BUF_AUTO = {0};

    buf_init(&names, ERR_MSG_MAX / 2 + 100);
    for (size_t i = 0; i < reader->count; i++) {
        buf_add_fmt(&names, "%s%s", i ? ", " : "", reader->fields[i].name);
    }
    err_set(reader->err, ERR_INVALID, "unknown field \"%.*s\"; expected some of %.*s",
            SLICE_FMT(slice_sub(key, 0, SHOWN_BYTES)), SLICE_FMT(buf_slice(&names)));
    return false;
}

static bool
read_member(struct body_reader *reader, struct slice key)
{
    const struct body_field *field = reader->fields;
    struct scalar value;
    size_t i = 0;

    while (i < reader->count &&
           !(slice_is(key, field[i].name) || (field[i].alias && slice_is(key, field[i].alias)))) {
        i++;
    }
    if (i == reader->count) {
        return refuse_unknown(reader, key);
    }
    field += i;
    if (reader->seen & (1U << i)) {
        err_set(reader->err, ERR_INVALID, "%s is given twice; expected it once", field->name);
        return false;
    }
    reader->seen |= 1U << i;
    if (!json_read_value(&reader->json, &value)) {
        return false;
    }
    if (value.type == SCALAR_NULL) {
        return true;
    }
    reader->given |= 1U << i;
    return set_field(reader, field, &value);
}

enum err_code
body_read(struct slice body, const struct body_field *fields, size_t count, void *ret_struct,
          uint32_t *ret_seen, struct arena *arena, struct err *err)
{
    struct err problem = {0};
    struct body_reader reader = {
        .fields = fields, .count = count, .target = ret_struct, .err = &problem};
    struct scalar value;
    struct slice key;

    assert(count <= BODY_FIELDS_MAX);
    if (slice_trim(body).len == 0) {
        return err_set(err, ERR_SYNTAX, "the body is empty; expected a JSON object");
    }
    json_read_init(&reader.json, body, arena);
    if (json_read_value(&reader.json, &value)) {
        if (value.type != SCALAR_OBJECT) {
            return err_set(err, ERR_INVALID, "the body is not a JSON object");
        }
        while (json_read_key(&reader.json, &key) && read_member(&reader, key)) {
        }
    }
    if (problem.code == ERR_OK) {
        json_read_end(&reader.json);
    }
    if (json_read_failed(&reader.json)) {
        return json_read_error(&reader.json, err);
    }
    if (problem.code != ERR_OK) {
        return err_set(err, problem.code, "%s", problem.msg);
    }
    *ret_seen = reader.given;
    return ERR_OK;
}
