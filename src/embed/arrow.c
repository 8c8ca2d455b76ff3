/*
 * Batches as Arrow data. Everything is copied, so that what a consumer holds depends on nothing of
 * ours: a schema, an array and a stream each own their memory and end by their release.
 * Source: https://arrow.apache.org/docs/format/CDataInterface.html, CStreamInterface.html and
 * Columnar.html (layouts, alignment and padding of 64 bytes).
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "embed/embed_internal.h"

enum {
    ALIGN = 64,
    BUFFERS_MAX = 3,
    DECIMAL_BYTES = 16,
    STREAM_ROWS = 65536,
    WORD_BITS = 64,
    BYTE_BITS = 8
};

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "bitmaps and decimals are little-endian");

/* ---- schemas ---- */

static const char *
format_of(enum col_type type)
{
    switch (type) {
    case COL_BOOL:
        return "b";
    case COL_INT32:
        return "i";
    case COL_INT64:
        return "l";
    case COL_DOUBLE:
        return "g";
    case COL_TIMESTAMP:
        return "tsu:";
    case COL_DECIMAL:
        return "d:18,6";
    case COL_TEXT:
    case COL_JSON:
    case COL_TYPE_COUNT:
        break;
    }
    return "u";
}

/* One pair, ARROW:extension:name = arrow.json, in the form of the specification: count, then length
 * and bytes of name and value, lengths being 32-bit numbers of the machine. */
struct json_metadata {
    int32_t pairs;
    int32_t name_len;
    char name[20];
    int32_t value_len;
    char value[10];
};

static const struct json_metadata json_metadata = {
    .pairs = 1,
    .name_len = 20,
    .name = {'A', 'R', 'R', 'O', 'W', ':', 'e', 'x', 't', 'e',
             'n', 's', 'i', 'o', 'n', ':', 'n', 'a', 'm', 'e'},
    .value_len = 10,
    .value = {'a', 'r', 'r', 'o', 'w', '.', 'j', 's', 'o', 'n'},
};

_Static_assert(offsetof(struct json_metadata, value_len) == 28, "no padding in the metadata");

/* Formats and metadata are constants; the name and the list of children are ours. */
static void
release_schema(struct ArrowSchema *schema)
{
    for (int64_t i = 0; i < schema->n_children; i++) {
        if (schema->children[i]->release) {
            schema->children[i]->release(schema->children[i]);
        }
        free(schema->children[i]);
    }
    free(schema->children);
    free(schema->private_data); /* the name */
    schema->release = NULL;
}

static void
describe_column(const struct column *column, struct ArrowSchema *schema)
{
    char *name = mem_strdup(slice_of(column->name));

    *schema = (struct ArrowSchema){
        .format = format_of(column->type),
        .name = name,
        .metadata = column->type == COL_JSON ? (const char *)&json_metadata : NULL,
        .flags = ARROW_FLAG_NULLABLE,
        .release = release_schema,
        .private_data = name,
    };
}

static void
describe(const struct batch *rows, struct ArrowSchema *schema)
{
    *schema = (struct ArrowSchema){
        .format = "+s",
        .name = "",
        .n_children = (int64_t)rows->column_count,
        .children = mem_zalloc(rows->column_count, sizeof(struct ArrowSchema *)),
        .release = release_schema,
    };
    for (size_t i = 0; i < rows->column_count; i++) {
        schema->children[i] = mem_zalloc(1, sizeof(struct ArrowSchema));
        describe_column(&rows->columns[i], schema->children[i]);
    }
}

void
eider_batch_schema(const struct eider_batch *batch, struct ArrowSchema *ret_schema)
{
    describe(&batch->rows, ret_schema);
}

/* ---- arrays ---- */

/* Memory of an array: its buffers, and the list that points at them. */
struct holding {
    const void *list[BUFFERS_MAX];
    void *owned[BUFFERS_MAX];
};

static void
release_array(struct ArrowArray *array)
{
    struct holding *holding = array->private_data;

    for (int64_t i = 0; i < array->n_children; i++) {
        if (array->children[i]->release) {
            array->children[i]->release(array->children[i]);
        }
        free(array->children[i]);
    }
    free(array->children);
    for (size_t i = 0; i < BUFFERS_MAX; i++) {
        free(holding->owned[i]);
    }
    free(holding);
    array->release = NULL;
}

/* Zeros, aligned and padded; of no bytes one block all the same, so that no buffer is NULL. */
static void *
new_buffer(size_t size)
{
    size_t padded = (size / ALIGN + 1) * ALIGN;
    void *buffer = NULL;

    if (size > SIZE_MAX / 2 || posix_memalign(&buffer, ALIGN, padded) != 0) {
        return mem_alloc(SIZE_MAX / 2); /* ends the process as every other allocation does */
    }
    memset(buffer, 0, padded);
    return buffer;
}

static void *
add_buffer(struct ArrowArray *array, size_t size)
{
    struct holding *holding = array->private_data;
    size_t at = (size_t)array->n_buffers++;

    holding->owned[at] = new_buffer(size);
    holding->list[at] = holding->owned[at];
    return holding->owned[at];
}

static void
begin_array(struct ArrowArray *array, size_t count)
{
    struct holding *holding = mem_zalloc(1, sizeof(*holding));

    *array = (struct ArrowArray){
        .length = (int64_t)count,
        .buffers = holding->list,
        .release = release_array,
        .private_data = holding,
    };
}

static bool
is_valid(const struct column *column, size_t row)
{
    return !column->valid || (column->valid[row / WORD_BITS] >> (row % WORD_BITS) & 1);
}

static void
set_bit(uint8_t *bits, size_t at)
{
    bits[at / BYTE_BITS] = (uint8_t)(bits[at / BYTE_BITS] | 1U << (at % BYTE_BITS));
}

/* The bitmap, or none without a NULL. */
static void
add_validity(const struct column *column, size_t first, struct ArrowArray *array)
{
    size_t count = (size_t)array->length;
    size_t nulls = 0;

    for (size_t i = 0; i < count; i++) {
        nulls += !is_valid(column, first + i);
    }
    array->null_count = (int64_t)nulls;
    if (nulls == 0) {
        array->n_buffers = 1; /* its place stays NULL */
        return;
    }
    uint8_t *bits = add_buffer(array, (count + BYTE_BITS - 1) / BYTE_BITS);
    for (size_t i = 0; i < count; i++) {
        if (is_valid(column, first + i)) {
            set_bit(bits, i);
        }
    }
}

static void
add_bools(const struct column *column, size_t first, struct ArrowArray *array)
{
    size_t count = (size_t)array->length;
    uint8_t *bits = add_buffer(array, (count + BYTE_BITS - 1) / BYTE_BITS);

    for (size_t i = 0; i < count; i++) {
        if (is_valid(column, first + i) && column->b[first + i]) {
            set_bit(bits, i);
        }
    }
}

static void
add_fixed(const struct column *column, size_t first, size_t width, struct ArrowArray *array)
{
    size_t size = (size_t)array->length * width;
    void *values = add_buffer(array, size);

    if (size > 0) {
        memcpy(values, (const char *)column->data + first * width, size);
    }
}

/* 128 bits, two's complement, of which 64 are the sign's. */
static void
add_decimals(const struct column *column, size_t first, struct ArrowArray *array)
{
    size_t count = (size_t)array->length;
    int64_t *halves = add_buffer(array, count * DECIMAL_BYTES);

    for (size_t i = 0; i < count; i++) {
        int64_t value = column->i64[first + i];
        halves[2 * i] = value;
        halves[2 * i + 1] = value < 0 ? -1 : 0;
    }
}

static enum eider_status
add_texts(const struct column *column, size_t first, struct ArrowArray *array,
          struct eider_error *error)
{
    size_t count = (size_t)array->length;
    size_t total = 0;

    for (size_t i = 0; i < count; i++) {
        total += is_valid(column, first + i) ? column->text[first + i].len : 0;
    }
    if (total > INT32_MAX) {
        return embed_refuse(error, EIDER_TOO_LARGE,
                            "column %s has %zu bytes of text in %zu rows; an array holds at most "
                            "2 GiB: take fewer rows",
                            column->name, total, count);
    }
    int32_t *offsets = add_buffer(array, (count + 1) * sizeof(*offsets));
    char *bytes = add_buffer(array, total);
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        struct slice text = column->text[first + i];
        if (is_valid(column, first + i) && text.len > 0) {
            memcpy(bytes + at, text.ptr, text.len);
            at += text.len;
        }
        offsets[i + 1] = (int32_t)at;
    }
    return EIDER_OK;
}

static enum eider_status
add_values(const struct column *column, size_t first, struct ArrowArray *array,
           struct eider_error *error)
{
    switch (column->type) {
    case COL_BOOL:
        add_bools(column, first, array);
        return EIDER_OK;
    case COL_INT32:
        add_fixed(column, first, sizeof(int32_t), array);
        return EIDER_OK;
    case COL_INT64:
    case COL_TIMESTAMP:
        add_fixed(column, first, sizeof(int64_t), array);
        return EIDER_OK;
    case COL_DOUBLE:
        add_fixed(column, first, sizeof(double), array);
        return EIDER_OK;
    case COL_DECIMAL:
        add_decimals(column, first, array);
        return EIDER_OK;
    case COL_TEXT:
    case COL_JSON:
    case COL_TYPE_COUNT:
        break;
    }
    return add_texts(column, first, array, error);
}

/* Rows [first, first + count) as a struct array. */
static enum eider_status
export_rows(const struct batch *rows, size_t first, size_t count, struct ArrowArray *ret_array,
            struct eider_error *error)
{
    struct ArrowArray array;
    enum eider_status status = EIDER_OK;

    assert(first + count <= rows->rows);
    begin_array(&array, count);
    array.n_buffers = 1; /* validity of the rows themselves: none is NULL */
    array.children = mem_zalloc(rows->column_count, sizeof(struct ArrowArray *));
    for (size_t i = 0; i < rows->column_count && status == EIDER_OK; i++) {
        array.children[i] = mem_zalloc(1, sizeof(struct ArrowArray));
        array.n_children++;
        begin_array(array.children[i], count);
        add_validity(&rows->columns[i], first, array.children[i]);
        status = add_values(&rows->columns[i], first, array.children[i], error);
    }
    if (status != EIDER_OK) {
        release_array(&array);
        return status;
    }
    *ret_array = array;
    return EIDER_OK;
}

enum eider_status
eider_batch_array(const struct eider_batch *batch, size_t first, size_t count,
                  struct ArrowArray *ret_array, struct eider_error *error)
{
    size_t rows = batch->rows.rows;

    first = first < rows ? first : rows;
    count = count < rows - first ? count : rows - first;
    return export_rows(&batch->rows, first, count, ret_array, error);
}

/* ---- streams ---- */

struct stream {
    struct batch rows;
    size_t next;
    size_t step;
    struct eider_error error;
};

static int
stream_schema(struct ArrowArrayStream *self, struct ArrowSchema *out)
{
    const struct stream *stream = self->private_data;

    describe(&stream->rows, out);
    return 0;
}

static int
stream_next(struct ArrowArrayStream *self, struct ArrowArray *out)
{
    struct stream *stream = self->private_data;
    size_t left = stream->rows.rows - stream->next;
    size_t count = left < stream->step ? left : stream->step;

    if (count == 0) {
        *out = (struct ArrowArray){.release = NULL}; /* the end */
        return 0;
    }
    if (export_rows(&stream->rows, stream->next, count, out, &stream->error) != EIDER_OK) {
        return EOVERFLOW;
    }
    stream->next += count;
    return 0;
}

static const char *
stream_error(struct ArrowArrayStream *self)
{
    const struct stream *stream = self->private_data;

    return stream->error.status == EIDER_OK ? NULL : stream->error.message;
}

static void
stream_release(struct ArrowArrayStream *self)
{
    struct stream *stream = self->private_data;

    batch_fini(&stream->rows);
    free(stream);
    self->release = NULL;
}

enum eider_status
eider_query_stream(struct eider_db *db, const struct eider_query *query, size_t rows,
                   struct ArrowArrayStream *ret_stream, struct eider_error *error)
{
    struct batch answer;
    bool truncated = false;
    enum eider_status status = embed_check_wait("eider_query_stream", error);

    if (status == EIDER_OK) {
        status = embed_query(db, query, &answer, &truncated, error);
    }
    if (status != EIDER_OK) {
        return status;
    }
    if (truncated) {
        status =
            embed_refuse(error, EIDER_TOO_LARGE,
                         "the answer has more rows than rows_max, %zu, and a stream cannot say "
                         "that it was cut: set rows_max, or end the statement with LIMIT",
                         answer.rows);
        batch_fini(&answer);
        return status;
    }
    struct stream *stream = mem_zalloc(1, sizeof(*stream));
    stream->rows = answer;
    stream->step = rows ? rows : STREAM_ROWS;
    *ret_stream = (struct ArrowArrayStream){
        .get_schema = stream_schema,
        .get_next = stream_next,
        .get_last_error = stream_error,
        .release = stream_release,
        .private_data = stream,
    };
    return EIDER_OK;
}
