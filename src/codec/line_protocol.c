/*
 * The line protocol reader. The key is scanned eight bytes at a time, numbers are taken apart while
 * they are scanned; nothing is looked at twice.
 */
#include "codec/line_protocol.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "codec/number.h"
#include "codec/swar.h"
#include "codec/utf8.h"

enum { FIELDS_FIRST = 16, ERROR_TEXT_MAX = 40 };

void
line_init(struct line_reader *reader, struct slice text)
{
    *reader = (struct line_reader){0};
    line_reset(reader, text);
}

void
line_fini(struct line_reader *reader)
{
    free(reader->fields);
    reader->fields = NULL;
    reader->field_cap = 0;
}

void
line_reset(struct line_reader *reader, struct slice text)
{
    reader->at = text.ptr;
    reader->end = text.ptr + text.len;
    reader->line = 1;
    reader->expected = NULL;
}

/* Notes what is wrong at `at` and goes on behind the end of the line. */
static enum line_result
bad(struct line_reader *reader, const char *at, const char *expected)
{
    size_t left = (size_t)(reader->end - at);
    const char *newline = left > 0 ? memchr(at, '\n', left) : NULL;
    size_t len = newline ? (size_t)(newline - at) : left;

    reader->expected = expected;
    reader->error_line = reader->line;
    reader->at = newline ? newline + 1 : reader->end;
    reader->line++;
    if (len > 0 && at[len - 1] == '\r') {
        len--;
    }
    reader->error_text = slice_make(at, len < ERROR_TEXT_MAX ? len : ERROR_TEXT_MAX);
    return LINE_BAD;
}

/* Goes to the first byte of the next line that says something; false at the end. */
static bool
find_line(struct line_reader *reader)
{
    const char *at = reader->at;
    const char *end = reader->end;

    for (; at < end; at++) {
        if (*at == '\n') {
            reader->line++;
        } else if (*at == '#') {
            const char *newline = memchr(at, '\n', (size_t)(end - at));
            if (!newline) {
                at = end;
                break;
            }
            at = newline;
            reader->line++;
        } else if (*at != ' ' && *at != '\t' && *at != '\r') {
            break;
        }
    }
    reader->at = at;
    return at < end;
}

/* The end of measurement and tags: the first blank or newline that is not escaped. */
static const char *
key_end(const char *at, const char *end)
{
    for (;;) {
        while (end - at >= 8) {
            uint64_t word = swar_load(at);
            uint64_t stop = swar_equal(word, ' ') | swar_equal(word, '\\') | swar_equal(word, '\n');
            if (stop) {
                at += swar_first(stop);
                break;
            }
            at += 8;
        }
        while (at < end && *at != ' ' && *at != '\\' && *at != '\n') {
            at++;
        }
        if (at == end || *at != '\\') {
            return at;
        }
        /* A backslash takes the next byte with it, whatever that is, but never the line's end. */
        at++;
        if (at < end && *at != '\n') {
            at++;
        }
    }
}

static struct line_field *
add_field(struct line_reader *reader, size_t count)
{
    if (count == reader->field_cap) {
        reader->field_cap = reader->field_cap ? reader->field_cap * 2 : FIELDS_FIRST;
        reader->fields = mem_resize(reader->fields, reader->field_cap, sizeof(*reader->fields));
    }
    return &reader->fields[count];
}

/* The '=' behind a field's key, or the byte that must not be there. */
static const char *
field_key_end(const char *at, const char *end, bool *ret_escaped)
{
    bool escaped = false;

    while (at < end && *at != '=' && *at != ',' && *at != ' ' && *at != '\n') {
        if (*at == '\\' && end - at > 1 && at[1] != '\n') {
            escaped = true;
            at++;
        }
        at++;
    }
    *ret_escaped = escaped;
    return at;
}

/* A string value; *at is behind its opening quote and ends behind the closing one. */
static const char *
read_string(struct line_reader *reader, const char **at, struct line_field *field)
{
    const char *p = *at;
    const char *end = reader->end;
    uint64_t newlines = 0;

    field->type = LINE_STRING;
    field->text_escaped = false;
    for (; p < end && *p != '"'; p++) {
        newlines += *p == '\n';
        if (*p == '\\' && end - p > 1 && (p[1] == '"' || p[1] == '\\')) {
            field->text_escaped = true;
            p++;
        }
    }
    if (p == end) {
        return "a closing '\"'";
    }
    reader->line += newlines;
    field->text = slice_make(*at, (size_t)(p - *at));
    *at = p + 1;
    return NULL;
}

static const char *
read_number(const char **at, const char *end, struct line_field *field)
{
    static const char expected[] = "a field value: 1.5, 1i, 1u, \"text\", true or false";
    struct number number;
    const char *behind = number_scan(*at, end, &number);

    if (!behind) {
        return expected;
    }
    if (behind < end && (*behind == 'i' || *behind == 'u')) {
        bool is_unsigned = *behind == 'u';
        if (number.has_point || number.has_exponent) {
            return is_unsigned ? "digits only before 'u'" : "digits only before 'i'";
        }
        field->type = is_unsigned ? LINE_UINT : LINE_INT;
        if (is_unsigned ? !number_to_u64(&number, &field->u64)
                        : !number_to_i64(&number, &field->i64)) {
            return is_unsigned ? "an integer from 0 to 18446744073709551615"
                               : "an integer that fits 64 bits";
        }
        behind++;
    } else {
        field->type = LINE_FLOAT;
        if (!number_to_f64(&number, &field->f64)) {
            return "a number that fits a double";
        }
    }
    field->text = slice_make(*at, (size_t)(behind - *at));
    *at = behind;
    return NULL;
}

static const char *
read_bool(const char **at, const char *end, struct line_field *field)
{
    static const char *const names[] = {"true",  "True",  "TRUE",  "t", "T",
                                        "false", "False", "FALSE", "f", "F"};
    const char *p = *at;

    while (p < end && *p != ',' && *p != ' ' && *p != '\n' && *p != '\r') {
        p++;
    }
    field->type = LINE_BOOL;
    field->text = slice_make(*at, (size_t)(p - *at));
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (slice_is(field->text, names[i])) {
            field->boolean = i < 5;
            *at = p;
            return NULL;
        }
    }
    return "a field value: 1.5, 1i, 1u, \"text\", true or false";
}

/* key=value; NULL when fine, else what was expected at *at. */
static const char *
read_field(struct line_reader *reader, const char **at, struct line_field *field)
{
    const char *start = *at;
    const char *end = reader->end;
    const char *equals = field_key_end(start, end, &field->key_escaped);

    if (equals == start) {
        return "a field: key=value";
    }
    if (equals == end || *equals != '=') {
        *at = equals;
        return "'=' behind the field's key";
    }
    field->key = slice_make(start, (size_t)(equals - start));
    *at = equals + 1;
    if (*at < end && **at == '"') {
        ++*at;
        const char *expected = read_string(reader, at, field);
        *at -= expected != NULL;
        return expected;
    }
    field->text_escaped = false;
    if (*at < end && ((**at >= '0' && **at <= '9') || **at == '-' || **at == '.')) {
        return read_number(at, end, field);
    }
    return read_bool(at, end, field);
}

static const char *
skip_blanks(const char *at, const char *end)
{
    while (at < end && *at == ' ') {
        at++;
    }
    return at;
}

/* Behind the last part: nothing but a carriage return before the newline or the end. */
static bool
at_line_end(const char *at, const char *end)
{
    return at == end || *at == '\n' || (*at == '\r' && (at + 1 == end || at[1] == '\n'));
}

static enum line_result
finish_line(struct line_reader *reader, const char *at, struct line_point *point)
{
    const char *end = reader->end;

    point->has_timestamp = false;
    point->timestamp = 0;
    at = skip_blanks(at, end);
    if (!at_line_end(at, end)) {
        const char *start = at;
        at += *at == '-';
        while (end - at >= 8 && swar_not_digit(swar_load(at)) == 0) {
            at += 8;
        }
        while (at < end && *at >= '0' && *at <= '9') {
            at++;
        }
        bool ends = at_line_end(at, end) || *at == ' ';
        if (!ends ||
            !number_parse_i64(slice_make(start, (size_t)(at - start)), &point->timestamp)) {
            return bad(reader, start, "a timestamp: an integer that fits 64 bits");
        }
        point->has_timestamp = true;
        at = skip_blanks(at, end);
        if (!at_line_end(at, end)) {
            return bad(reader, at, "the end of the line behind the timestamp");
        }
    }
    at += at < end && *at == '\r';
    if (at < end) {
        at++;
        reader->line++;
    }
    reader->at = at;
    return LINE_POINT;
}

enum line_result
line_next(struct line_reader *reader, struct line_point *ret_point)
{
    struct line_point point = {0};

    if (!find_line(reader)) {
        return LINE_END;
    }
    const char *end = reader->end;
    const char *start = reader->at;
    const char *at = key_end(start, end);

    point.line = reader->line;
    point.key = slice_make(start, (size_t)(at - start));
    if (*start == ',' || point.key.len > LINE_KEY_MAX) {
        return bad(reader, start, *start == ',' ? "a measurement" : "at most 65535 bytes of tags");
    }
    at = skip_blanks(at, end);
    if (at_line_end(at, end)) {
        return bad(reader, at, "a field: key=value");
    }
    for (;;) {
        if (point.field_count == LINE_FIELDS_MAX) {
            return bad(reader, at, "at most 4096 fields");
        }
        const char *expected = read_field(reader, &at, add_field(reader, point.field_count));
        if (expected) {
            return bad(reader, at, expected);
        }
        point.field_count++;
        if (at == end || *at != ',') {
            break;
        }
        at++;
    }
    if (at < end && *at != ' ' && !at_line_end(at, end)) {
        return bad(reader, at, "',', a blank or the end of the line behind a field");
    }
    enum line_result result = finish_line(reader, at, &point);
    if (result == LINE_POINT) {
        point.fields = reader->fields;
        *ret_point = point;
    }
    return result;
}

enum err_code
line_error(const struct line_reader *reader, struct err *err)
{
    if (reader->error_text.len == 0) {
        return err_set(err, ERR_SYNTAX, "line %llu: expected %s, found the end of the line",
                       (unsigned long long)reader->error_line, reader->expected);
    }
    return err_set(err, ERR_SYNTAX, "line %llu: expected %s, found \"%.*s\"",
                   (unsigned long long)reader->error_line, reader->expected,
                   SLICE_FMT(reader->error_text));
}

double
line_field_f64(const struct line_field *field)
{
    switch (field->type) {
    case LINE_FLOAT:
        return field->f64;
    case LINE_INT:
        return (double)field->i64;
    case LINE_UINT:
        return (double)field->u64;
    case LINE_BOOL:
        return field->boolean;
    case LINE_STRING:
        break;
    }
    return 0;
}

void
line_field_scalar(const struct line_field *field, struct arena *arena, struct scalar *ret_value)
{
    *ret_value = (struct scalar){.type = SCALAR_NUMBER, .text = field->text};
    switch (field->type) {
    case LINE_INT:
    case LINE_UINT:
        ret_value->text.len--; /* the letter behind the digits */
        number_parse(ret_value->text, &ret_value->number);
        return;
    case LINE_FLOAT:
        number_parse(ret_value->text, &ret_value->number);
        return;
    case LINE_BOOL:
        ret_value->type = SCALAR_BOOL;
        ret_value->boolean = field->boolean;
        return;
    case LINE_STRING:
        ret_value->type = SCALAR_STRING;
        if (field->text_escaped) {
            ret_value->text = line_unescape(field->text, LINE_TEXT, arena);
        }
        return;
    }
}

static bool
one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c);
}

/* The first of the bytes of `stops` that is not escaped. */
static const char *
find_unescaped(const char *at, const char *end, const char *stops, bool *escaped)
{
    while (at < end && !one_of(*at, stops)) {
        if (*at == '\\' && end - at > 1) {
            *escaped = true;
            at++;
        }
        at++;
    }
    return at;
}

void
line_tags_init(struct line_tags *tags, struct slice key)
{
    *tags = (struct line_tags){.end = key.ptr + key.len};
    tags->at = find_unescaped(key.ptr, tags->end, ",", &tags->measurement_escaped);
    tags->measurement = slice_make(key.ptr, (size_t)(tags->at - key.ptr));
    if (tags->measurement.len == 0) {
        tags->expected = "a measurement";
    }
}

bool
line_tags_next(struct line_tags *tags, struct line_tag *ret_tag)
{
    struct line_tag tag = {0};

    if (tags->expected || tags->at == tags->end) {
        return false;
    }
    const char *start = tags->at + 1;
    const char *equals = find_unescaped(start, tags->end, "=,", &tag.escaped);
    if (equals == start || equals == tags->end || *equals != '=') {
        tags->expected = "a tag: key=value";
        return false;
    }
    const char *stop = find_unescaped(equals + 1, tags->end, ",=", &tag.escaped);
    if (stop == equals + 1) {
        tags->expected = "a value behind '=' of a tag";
        return false;
    }
    if (stop < tags->end && *stop == '=') {
        tags->expected = "'\\=' for an equals sign in a tag's value";
        return false;
    }
    tag.key = slice_make(start, (size_t)(equals - start));
    tag.value = slice_make(equals + 1, (size_t)(stop - equals - 1));
    tags->at = stop;
    *ret_tag = tag;
    return true;
}

const char *
line_key_check(struct slice key)
{
    struct line_tags tags;
    struct line_tag tag;

    if (utf8_valid_len(key) != key.len) {
        return "UTF-8";
    }
    for (size_t i = 0; i < key.len; i++) {
        if ((unsigned char)key.ptr[i] < ' ' || key.ptr[i] == 0x7f) {
            return "no control characters in measurement and tags";
        }
    }
    line_tags_init(&tags, key);
    bool more = true;
    while (more) {
        more = line_tags_next(&tags, &tag);
    }
    return tags.expected;
}

struct slice
line_unescape(struct slice text, enum line_escape escape, struct arena *arena)
{
    static const char *const sets[] = {
        [LINE_MEASUREMENT] = ", ", [LINE_NAME] = ",= ", [LINE_TEXT] = "\"\\"};
    char *copy = arena_alloc(arena, text.len + 1);
    size_t len = 0;

    if (!copy) {
        return (struct slice){"", 0};
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\\' && i + 1 < text.len && one_of(text.ptr[i + 1], sets[escape])) {
            i++;
        }
        copy[len++] = text.ptr[i];
    }
    copy[len] = '\0';
    return slice_make(copy, len);
}
