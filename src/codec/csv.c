/* CSV; see csv.h. */
#include "codec/csv.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { FIELDS_FIRST = 32 };

void
csv_init(struct csv_reader *csv, struct slice text, char delimiter, struct arena *arena)
{
    *csv = (struct csv_reader){.start = text.ptr,
                               .at = text.ptr,
                               .end = text.ptr + text.len,
                               .arena = arena,
                               .delimiter = delimiter ? delimiter : ',',
                               .line = 1};
    if (slice_starts(text, "\xef\xbb\xbf")) {
        csv->at += 3;
    }
}

void
csv_fini(struct csv_reader *csv)
{
    free(csv->fields);
    csv->fields = NULL;
    csv->field_cap = 0;
}

/* Goes on behind the next newline, so that one bad line costs no more than itself. */
static enum err_code
fail(struct csv_reader *csv, enum err_code code, const char *at, const char *what, struct err *err)
{
    uint64_t line = csv->line;
    const char *newline = at < csv->end ? memchr(at, '\n', (size_t)(csv->end - at)) : NULL;

    csv->at = newline ? newline + 1 : csv->end;
    csv->line++;
    return err_set(err, code, "line %llu: expected %s", (unsigned long long)line, what);
}

static struct csv_field *
add_field(struct csv_reader *csv, size_t count)
{
    if (count == csv->field_cap) {
        csv->field_cap = csv->field_cap ? csv->field_cap * 2 : FIELDS_FIRST;
        csv->fields = mem_resize(csv->fields, csv->field_cap, sizeof(*csv->fields));
    }
    return &csv->fields[count];
}

/* Takes the doubled quotes out. */
static bool
undouble(struct csv_reader *csv, struct slice *text)
{
    char *copy = arena_alloc(csv->arena, text->len);
    size_t len = 0;

    if (!copy) {
        return false;
    }
    for (size_t i = 0; i < text->len; i++) {
        copy[len++] = text->ptr[i];
        i += text->ptr[i] == '"';
    }
    *text = slice_make(copy, len);
    return true;
}

/* A field in quotes; *at is behind the first quote and ends behind the last. */
static enum err_code
read_quoted(struct csv_reader *csv, const char **at, struct csv_field *field, struct err *err)
{
    const char *start = *at;
    const char *p = start;
    bool doubled = false;
    uint64_t newlines = 0;

    for (; p < csv->end; p++) {
        if (*p == '"') {
            if (csv->end - p < 2 || p[1] != '"') {
                break;
            }
            doubled = true;
            p++;
        }
        newlines += *p == '\n';
        if (p - start > CSV_FIELD_BYTES_MAX) {
            return fail(csv, ERR_TOO_LARGE, start, "fields of at most 16 MiB", err);
        }
    }
    if (p == csv->end) {
        return fail(csv, ERR_SYNTAX, start, "a closing '\"'", err);
    }
    field->quoted = true;
    field->text = slice_make(start, (size_t)(p - start));
    if (doubled && !undouble(csv, &field->text)) {
        return fail(csv, ERR_TOO_LARGE, p, "less text in quotes", err);
    }
    csv->line += newlines;
    *at = p + 1;
    return ERR_OK;
}

static void
read_plain(struct csv_reader *csv, const char **at, struct csv_field *field)
{
    const char *start = *at;
    const char *p = start;

    while (p < csv->end && *p != csv->delimiter && *p != '\n') {
        p++;
    }
    *at = p;
    if ((p == csv->end || *p == '\n') && p > start && p[-1] == '\r') {
        p--;
    }
    field->quoted = false;
    field->text = slice_make(start, (size_t)(p - start));
}

/* True when the record ends at *at, which then is behind its newline. */
static bool
take_end(struct csv_reader *csv, const char **at)
{
    const char *p = *at;

    if (p < csv->end && *p == '\r' && (p + 1 == csv->end || p[1] == '\n')) {
        p++;
    }
    if (p < csv->end && *p != '\n') {
        return false;
    }
    if (p < csv->end) {
        p++;
        csv->line++;
    }
    *at = p;
    return true;
}

static void
skip_empty_lines(struct csv_reader *csv)
{
    while (csv->at < csv->end && (*csv->at == '\n' || *csv->at == '\r')) {
        csv->line += *csv->at == '\n';
        csv->at++;
    }
}

enum err_code
csv_next(struct csv_reader *csv, struct csv_record *ret_record, bool *ret_more, struct err *err)
{
    struct csv_record record = {0};

    skip_empty_lines(csv);
    if (csv->at == csv->end) {
        *ret_more = false;
        return ERR_OK;
    }
    record.line = csv->line;
    for (const char *at = csv->at;; at++) {
        if (record.field_count == CSV_FIELDS_MAX) {
            return fail(csv, ERR_TOO_LARGE, at, "at most 1024 fields", err);
        }
        struct csv_field *field = add_field(csv, record.field_count++);
        if (at < csv->end && *at == '"') {
            at++;
            enum err_code code = read_quoted(csv, &at, field, err);
            if (code != ERR_OK) {
                return code;
            }
        } else {
            read_plain(csv, &at, field);
        }
        if (take_end(csv, &at)) {
            csv->at = at;
            break;
        }
        if (*at != csv->delimiter) {
            return fail(csv, ERR_SYNTAX, at, "a delimiter behind the closing '\"'", err);
        }
    }
    record.fields = csv->fields;
    *ret_record = record;
    *ret_more = true;
    return ERR_OK;
}

char
csv_guess_delimiter(struct slice text)
{
    static const char candidates[] = ",;\t|";
    size_t counts[sizeof(candidates)] = {0};
    bool quoted = false;
    size_t best = 0;

    for (size_t i = 0; i < text.len && (quoted || text.ptr[i] != '\n'); i++) {
        const char *found = text.ptr[i] ? strchr(candidates, text.ptr[i]) : NULL;
        if (text.ptr[i] == '"') {
            quoted = !quoted;
        } else if (found && !quoted) {
            counts[found - candidates]++;
        }
    }
    for (size_t i = 1; candidates[i]; i++) {
        best = counts[i] > counts[best] ? i : best;
    }
    return candidates[best];
}

void
csv_write_field(struct buf *out, struct slice text, char delimiter, bool quote)
{
    for (size_t i = 0; i < text.len && !quote; i++) {
        char c = text.ptr[i];
        quote = c == delimiter || c == '"' || c == '\n' || c == '\r';
    }
    if (!quote) {
        buf_add_slice(out, text);
        return;
    }
    buf_add_char(out, '"');
    while (text.len > 0) {
        const char *found = memchr(text.ptr, '"', text.len);
        size_t len = found ? (size_t)(found - text.ptr) + 1 : text.len;
        buf_add(out, text.ptr, len);
        if (found) {
            buf_add_char(out, '"');
        }
        text = slice_sub(text, len, text.len);
    }
    buf_add_char(out, '"');
}

void
csv_write_end(struct buf *out)
{
    buf_add(out, "\r\n", 2);
}
