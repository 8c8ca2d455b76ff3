/*
 * Rows of JSON as ingest reads them, into two tables: reader, validation, defaults, binary form.
 * Invariants: an error lies within the input; what was encoded decodes to the same bytes again; a
 * string that was read is written and read back the same.
 */
#include "fuzz.h"

#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "catalog/batch.h"
#include "catalog/validate.h"
#include "codec/json_read.h"
#include "codec/json_write.h"

enum { ARENA_BYTES = 1 << 24, NOW_US = 1700000000 };

static void
check_string(struct slice text)
{
    ARENA_AUTO struct arena arena;
    BUF_AUTO struct buf quoted;
    struct json_reader json;
    struct scalar back;

    arena_init(&arena, ARENA_BYTES);
    buf_init(&quoted, 0);
    json_quote(&quoted, text);
    json_read_init(&json, buf_slice(&quoted), &arena);
    bool read = json_read_value(&json, &back) && json_read_end(&json);
    assert(read && back.type == SCALAR_STRING && slice_eq(back.text, text));
}

/* One object, its opening bracket consumed; false when the JSON is malformed. */
static bool
read_row(struct json_reader *json, struct batch *batch)
{
    size_t row = batch_add_row(batch);
    struct catalog_fault fault;
    struct scalar value;
    struct slice key;
    bool good = true;
    int guess = 0;

    while (json_read_key(json, &key)) {
        if (!json_read_value(json, &value) ||
            (value.type >= SCALAR_OBJECT && !json_read_rest(json, &value))) {
            break;
        }
        if (value.type == SCALAR_STRING) {
            check_string(value.text);
        }
        int column = catalog_column_expect(batch->table, key, guess);
        guess = column + 1;
        if (column == CATALOG_NONE) {
            catalog_suggest_column(batch->table, key);
        } else {
            good =
                catalog_set(batch, (size_t)column, row, &value, TIME_PRECISION_MS, &fault) && good;
        }
    }
    if (json_read_failed(json) || !good || !catalog_fill_missing(batch, row, NOW_US, &fault)) {
        batch_drop_row(batch);
    }
    return !json_read_failed(json);
}

static void
read_rows(struct json_reader *json, struct batch *batch, size_t size)
{
    struct scalar value;

    while (json_read_more(json)) {
        if (json_read_value(json, &value)) {
            if (value.type == SCALAR_OBJECT) {
                read_row(json, batch);
            } else if (value.type == SCALAR_ARRAY) {
                while (json_read_element(json) && json_read_value(json, &value)) {
                    if (value.type == SCALAR_OBJECT) {
                        read_row(json, batch);
                    } else if (value.type == SCALAR_ARRAY) {
                        json_read_rest(json, &value);
                    }
                }
            }
        }
        if (json_read_failed(json)) {
            assert(json->error_offset <= size);
            assert(json_read_error(json, NULL) != ERR_OK);
            json_read_skip_line(json);
        }
    }
}

static void
check_encoding(const struct batch *batch)
{
    BUF_AUTO struct buf bytes;
    BUF_AUTO struct buf again;
    struct catalog_fault fault;
    struct batch back;
    size_t used = 0;
    size_t row;

    assert(catalog_check_batch(batch, &row, &fault));
    buf_init(&bytes, 0);
    buf_init(&again, 0);
    batch_encode(batch, &bytes);
    enum err_code code = batch_decode(buf_slice(&bytes), &back, &used, NULL);
    assert(code == ERR_OK && used == bytes.len);
    batch_encode(&back, &again);
    assert(slice_eq(buf_slice(&bytes), buf_slice(&again)));
    batch_fini(&back);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum table_id tables[] = {TABLE_TRADES, TABLE_METRICS};

    for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++) {
        ARENA_AUTO struct arena arena;
        struct json_reader json;
        struct batch batch;
        arena_init(&arena, ARENA_BYTES);
        batch_init(&batch, catalog_table(tables[i]), ARENA_BYTES);
        json_read_init(&json, slice_make(data, size), &arena);
        read_rows(&json, &batch, size);
        check_encoding(&batch);
        batch_fini(&batch);
    }
    return 0;
}
