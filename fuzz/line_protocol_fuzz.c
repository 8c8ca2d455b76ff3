/*
 * Line protocol as ingest reads it: lines, keys, tags, fields as scalars into a table.
 * Invariants: the reader ends, lines only count up, texts lie within the input, a float is what its
 * text says, a key that passed the check has tags that unescape to UTF-8.
 */
#include "fuzz.h"

#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "catalog/validate.h"
#include "codec/line_protocol.h"
#include "codec/number.h"
#include "codec/utf8.h"

enum { ARENA_BYTES = 1 << 24 };

static void
check_within(struct slice text, struct slice input)
{
    assert(text.ptr >= input.ptr && text.ptr + text.len <= input.ptr + input.len);
}

static void
check_key(struct slice key, struct arena *arena)
{
    bool checked = line_key_check(key) == NULL;
    struct line_tags tags;
    struct line_tag tag;

    line_tags_init(&tags, key);
    struct slice name = line_unescape(tags.measurement, LINE_MEASUREMENT, arena);
    assert(!checked || arena->overflow || (name.len > 0 && utf8_is_text(name)));
    while (line_tags_next(&tags, &tag)) {
        check_within(tag.key, key);
        check_within(tag.value, key);
        struct slice value = line_unescape(tag.value, LINE_NAME, arena);
        assert(!checked || arena->overflow || (value.len > 0 && utf8_is_text(value)));
    }
    assert(checked ? !tags.expected : true);
}

static void
check_field(const struct line_field *field, struct batch *batch, size_t row, struct arena *arena)
{
    struct catalog_fault fault;
    struct scalar value;
    double number;

    line_field_scalar(field, arena, &value);
    if (field->type == LINE_FLOAT) {
        bool parsed = number_parse_f64(field->text, &number);
        assert(parsed && memcmp(&number, &field->f64, sizeof(number)) == 0);
    } else if (field->type != LINE_STRING) {
        double as_double = line_field_f64(field);
        assert(as_double == as_double);
    }
    int column = catalog_column_index(batch->table, field->key);
    if (column != CATALOG_NONE) {
        catalog_set(batch, (size_t)column, row, &value, TIME_PRECISION_NS, &fault);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice input = slice_make(data, size);
    ARENA_AUTO struct arena arena;
    struct line_reader reader;
    struct line_point point;
    struct batch batch;
    enum line_result result;
    uint64_t last = 0;

    arena_init(&arena, ARENA_BYTES);
    batch_init(&batch, catalog_table(TABLE_MARKET_DATA), ARENA_BYTES);
    line_init(&reader, input);
    while ((result = line_next(&reader, &point)) != LINE_END) {
        uint64_t line = result == LINE_BAD ? reader.error_line : point.line;
        assert(line > last && reader.line >= line);
        last = line;
        if (result == LINE_BAD) {
            check_within(reader.error_text, input);
            enum err_code code = line_error(&reader, NULL);
            assert(code == ERR_SYNTAX);
            continue;
        }
        check_within(point.key, input);
        check_key(point.key, &arena);
        size_t row = batch_add_row(&batch);
        for (size_t i = 0; i < point.field_count; i++) {
            check_within(point.fields[i].key, input);
            check_within(point.fields[i].text, input);
            check_field(&point.fields[i], &batch, row, &arena);
        }
    }
    assert(reader.at == reader.end);
    line_fini(&reader);
    batch_fini(&batch);
    return 0;
}
