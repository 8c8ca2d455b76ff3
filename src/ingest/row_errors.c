/* Row errors in an array that doubles within the arena. */
#include "ingest/row_errors.h"

#include <string.h>

#include "codec/utf8.h"

enum { ROW_ERRORS_FIRST = 8 };

void
row_errors_init(struct row_errors *errors, struct arena *arena, size_t max)
{
    *errors = (struct row_errors){.arena = arena, .max = max};
}

/* The start of a text, at most `max` bytes and no half of a character. */
static struct slice
cut(struct slice text, size_t max)
{
    if (text.len <= max) {
        return text;
    }
    struct slice start = slice_sub(text, 0, max);
    size_t valid = utf8_valid_len(start);

    /* Only a character at the very end may be cut off; other bad bytes stay. */
    return max - valid < 4 ? slice_sub(start, 0, valid) : start;
}

static struct ingest_row_error *
add_item(struct row_errors *errors)
{
    if (errors->count == errors->capacity) {
        size_t capacity = errors->capacity ? errors->capacity * 2 : ROW_ERRORS_FIRST;
        struct ingest_row_error *items = arena_zalloc(errors->arena, capacity, sizeof(*items));
        if (!items) {
            return NULL;
        }
        if (errors->count > 0) {
            memcpy(items, errors->items, errors->count * sizeof(*items));
        }
        errors->items = items;
        errors->capacity = capacity;
    }
    return &errors->items[errors->count];
}

void
row_errors_add(struct row_errors *errors, uint64_t row, struct slice field, struct slice value,
               struct slice expected)
{
    errors->noted++;
    if (errors->count >= errors->max) {
        return;
    }
    struct ingest_row_error *item = add_item(errors);
    if (item) {
        item->row = row;
        item->field = arena_dup(errors->arena, cut(field, ROW_ERROR_VALUE_MAX));
        item->value = arena_dup(errors->arena, cut(value, ROW_ERROR_VALUE_MAX));
        item->expected = arena_dup(errors->arena, cut(expected, ROW_ERROR_EXPECTED_MAX));
        errors->count++;
    }
}
