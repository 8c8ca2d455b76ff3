/*
 * The binary form of a batch, docs/formats/batch.md. Written in one piece once its length is known;
 * read in place, with every length checked before it is used.
 */
#include <assert.h>
#include <string.h>

#include "catalog/batch.h"
#include "catalog/batch_internal.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "read in place: little-endian only");

enum { BATCH_VERSION = 1, BATCH_ALIGN = 8, WORD_BITS = 64 };
enum { HAS_NULLS = 1 }; /* flags of a column */

#define BATCH_MAGIC 0x54414245U /* "EBAT" */

struct batch_header {
    uint32_t magic;
    uint16_t version;
    uint16_t table;
    uint32_t rows;
    uint32_t columns;
    uint64_t size; /* of all, this header included */
};

struct column_header {
    uint8_t number; /* in the catalogue */
    uint8_t type;
    uint8_t flags;
    uint8_t zero;
    uint32_t size; /* of the column's bytes */
};

_Static_assert(sizeof(struct batch_header) == 24 && sizeof(struct column_header) == 8, "format");

static uint64_t
align_up(uint64_t size)
{
    return (size + BATCH_ALIGN - 1) & ~(uint64_t)(BATCH_ALIGN - 1);
}

static size_t
bitmap_words(size_t rows)
{
    return (rows + WORD_BITS - 1) / WORD_BITS;
}

static bool
is_text(enum col_type type)
{
    return type == COL_TEXT || type == COL_JSON;
}

/* Rows of a column that are not NULL. */
static size_t
count_valid(const struct column *column, size_t rows)
{
    size_t count = 0;

    if (!column->valid) {
        return rows;
    }
    for (size_t i = 0; i < bitmap_words(rows); i++) {
        count += (size_t)__builtin_popcountll(column->valid[i]);
    }
    return count;
}

/* What will be written of a column. */
struct plan {
    bool skip; /* every row is NULL */
    bool nulls;
    uint64_t size;
};

static struct plan
plan_column(const struct column *column, size_t rows)
{
    size_t valid = count_valid(column, rows);
    struct plan plan = {.skip = valid == 0, .nulls = valid < rows};

    if (plan.skip) {
        return plan;
    }
    plan.size = plan.nulls ? bitmap_words(rows) * sizeof(uint64_t) : 0;
    if (is_text(column->type)) {
        uint64_t bytes = 0;
        for (size_t i = 0; i < rows; i++) {
            bytes += column->text[i].len;
        }
        plan.size += align_up(rows * sizeof(uint32_t)) + align_up(bytes);
    } else {
        plan.size += align_up(rows * batch_type_size(column->type));
    }
    return plan;
}

static char *
put(char *at, const void *bytes, size_t len)
{
    if (len > 0) {
        memcpy(at, bytes, len);
    }
    return at + len;
}

static char *
pad(char *at, uint64_t len)
{
    size_t zeros = (size_t)(align_up(len) - len);

    memset(at, 0, zeros);
    return at + zeros;
}

static char *
put_column(char *at, const struct column *column, size_t rows, bool nulls)
{
    if (nulls) {
        at = put(at, column->valid, bitmap_words(rows) * sizeof(uint64_t));
    }
    if (!is_text(column->type)) {
        size_t len = rows * batch_type_size(column->type);
        return pad(put(at, column->data, len), len);
    }
    uint32_t end = 0;
    for (size_t i = 0; i < rows; i++) {
        end += (uint32_t)column->text[i].len;
        at = put(at, &end, sizeof(end));
    }
    at = pad(at, rows * sizeof(end));
    for (size_t i = 0; i < rows; i++) {
        at = put(at, column->text[i].ptr, column->text[i].len);
    }
    return pad(at, end);
}

void
batch_encode(const struct batch *batch, struct buf *ret_bytes)
{
    struct plan plans[CATALOG_COLUMNS_MAX];
    struct batch_header header = {.magic = BATCH_MAGIC,
                                  .version = BATCH_VERSION,
                                  .rows = (uint32_t)batch->rows,
                                  .size = sizeof(header)};

    assert(batch->table && batch->rows <= BATCH_ROWS_MAX);
    assert(batch->column_count <= CATALOG_COLUMNS_MAX);
    header.table = (uint16_t)batch->table->id;
    for (size_t i = 0; i < batch->column_count; i++) {
        plans[i] = plan_column(&batch->columns[i], batch->rows);
        if (!plans[i].skip) {
            header.columns++;
            header.size += sizeof(struct column_header) + plans[i].size;
        }
        if (plans[i].size > UINT32_MAX) {
            ret_bytes->overflow = true;
            return;
        }
    }
    char *at = buf_reserve(ret_bytes, header.size);
    if (!at) {
        return;
    }
    at = put(at, &header, sizeof(header));
    for (size_t i = 0; i < batch->column_count; i++) {
        struct column_header column = {.number = (uint8_t)i,
                                       .type = (uint8_t)batch->columns[i].type,
                                       .flags = plans[i].nulls ? HAS_NULLS : 0,
                                       .size = (uint32_t)plans[i].size};
        if (!plans[i].skip) {
            at = put(at, &column, sizeof(column));
        }
    }
    for (size_t i = 0; i < batch->column_count; i++) {
        if (!plans[i].skip) {
            at = put_column(at, &batch->columns[i], batch->rows, plans[i].nulls);
        }
    }
    ret_bytes->len += header.size;
}

static enum err_code
corrupt(struct err *err, uint64_t offset, const char *what)
{
    return err_set(err, ERR_CORRUPT, "batch, byte %llu: %s", (unsigned long long)offset, what);
}

static enum err_code
read_header(struct slice bytes, struct batch_header *ret_header, struct err *err)
{
    struct batch_header header = {0};

    if (bytes.len < sizeof(header)) {
        return corrupt(err, bytes.len, "cut off in the header");
    }
    memcpy(&header, bytes.ptr, sizeof(header));
    if (header.magic != BATCH_MAGIC) {
        return corrupt(err, 0, "no batch begins here");
    }
    if (header.version != BATCH_VERSION) {
        return corrupt(err, offsetof(struct batch_header, version),
                       "written by another version of this program");
    }
    if (!catalog_table((enum table_id)header.table)) {
        return corrupt(err, offsetof(struct batch_header, table),
                       "a table that this version does not know");
    }
    if (header.rows > BATCH_ROWS_MAX) {
        return corrupt(err, offsetof(struct batch_header, rows), "too many rows");
    }
    if (header.size > bytes.len || header.size % BATCH_ALIGN != 0 || header.size < sizeof(header)) {
        return corrupt(err, offsetof(struct batch_header, size), "longer than what is there");
    }
    if (header.columns > (header.size - sizeof(header)) / sizeof(struct column_header)) {
        return corrupt(err, offsetof(struct batch_header, columns), "too many columns");
    }
    *ret_header = header;
    return ERR_OK;
}

/* In-place arrays: bytes come from the log as const and are never written through. */
static void *
in_place(const char *ptr)
{
    union {
        const char *from;
        void *to;
    } view = {.from = ptr};

    return view.to;
}

/* Bits behind the last row must be 0, so that words can be counted whole. */
static bool
tail_is_clear(const uint64_t *valid, size_t rows)
{
    return rows % WORD_BITS == 0 || valid[rows / WORD_BITS] >> (rows % WORD_BITS) == 0;
}

/* Slices for texts from their ends; false when the ends make no sense. */
static bool
decode_texts(struct slice body, size_t rows, struct slice *texts)
{
    size_t ends_size = (size_t)align_up(rows * sizeof(uint32_t));
    uint32_t before = 0;

    if (body.len < ends_size) {
        return false;
    }
    const char *bytes = body.ptr + ends_size;
    uint64_t limit = body.len - ends_size;
    for (size_t i = 0; i < rows; i++) {
        uint32_t end;
        memcpy(&end, body.ptr + i * sizeof(end), sizeof(end));
        if (end < before || end > limit) {
            return false;
        }
        texts[i] = slice_make(bytes + before, end - before);
        before = end;
    }
    return align_up(before) == limit;
}

/* Fills the column from its bytes; returns what is wrong, or NULL. */
static const char *
decode_column(struct batch *batch, const struct column_header *header, struct slice body)
{
    struct column *column = &batch->columns[header->number];
    size_t rows = batch->rows;

    if (header->type != column->type) {
        return "a column of another type than the catalogue's";
    }
    if (header->flags & HAS_NULLS) {
        size_t size = bitmap_words(rows) * sizeof(uint64_t);
        if (body.len < size) {
            return "a bitmap that is too short";
        }
        column->valid = in_place(body.ptr);
        if (!tail_is_clear(column->valid, rows)) {
            return "a bitmap with bits behind the last row";
        }
        body = slice_sub(body, size, body.len);
    }
    if (is_text(column->type)) {
        column->text = arena_alloc(&batch->arena, rows * sizeof(*column->text));
        return decode_texts(body, rows, column->text) ? NULL : "texts of the wrong length";
    }
    if (body.len != align_up(rows * batch_type_size(column->type))) {
        return "a column of the wrong length";
    }
    column->data = in_place(body.ptr);
    for (size_t i = 0; column->type == COL_BOOL && i < rows; i++) {
        if (column->b[i] > 1) {
            return "a boolean that is neither 0 nor 1";
        }
    }
    return NULL;
}

/* A column that the record lacks: NULL in every row. */
static void
decode_absent(struct batch *batch, struct column *column)
{
    column->data =
        arena_zalloc(&batch->arena, batch->rows ? batch->rows : 1, batch_type_size(column->type));
    column->valid =
        arena_zalloc(&batch->arena, bitmap_words(batch->rows) + 1, sizeof(*column->valid));
}

static enum err_code
decode_columns(struct slice bytes, const struct batch_header *header, struct batch *batch,
               struct err *err)
{
    uint64_t entry_at = sizeof(*header);
    uint64_t body_at = entry_at + header->columns * sizeof(struct column_header);
    int last = -1;
    bool known = false;

    for (uint32_t i = 0; i < header->columns; i++, entry_at += sizeof(struct column_header)) {
        struct column_header entry;
        memcpy(&entry, bytes.ptr + entry_at, sizeof(entry));
        if (entry.number <= last || entry.flags > HAS_NULLS || entry.zero != 0) {
            return corrupt(err, entry_at, "a column entry that makes no sense");
        }
        last = entry.number;
        if (entry.size > header->size - body_at || entry.size % BATCH_ALIGN != 0) {
            return corrupt(err, entry_at, "a column longer than the batch");
        }
        if (entry.number < batch->column_count) {
            const char *wrong =
                decode_column(batch, &entry, slice_sub(bytes, (size_t)body_at, entry.size));
            if (wrong) {
                return corrupt(err, body_at, wrong);
            }
            known = true;
        }
        body_at += entry.size;
    }
    if (body_at != header->size) {
        return corrupt(err, body_at, "bytes that belong to no column");
    }
    /* Rows without any value do not exist; this also bounds what decoding may allocate. */
    if (batch->rows > 0 && !known) {
        return corrupt(err, offsetof(struct batch_header, rows), "rows without columns");
    }
    for (size_t i = 0; i < batch->column_count; i++) {
        if (!batch->columns[i].data) {
            decode_absent(batch, &batch->columns[i]);
        }
    }
    return ERR_OK;
}

enum err_code
batch_decode(struct slice bytes, struct batch *ret_batch, size_t *ret_used, struct err *err)
{
    struct batch_header header = {0};
    struct batch batch;

    assert((uintptr_t)bytes.ptr % BATCH_ALIGN == 0);
    enum err_code code = read_header(bytes, &header, err);
    if (code != ERR_OK) {
        return code;
    }
    /* A value takes at least a byte in the record, so this is bounded by the record's length. */
    batch_init(&batch, catalog_table((enum table_id)header.table), SIZE_MAX);
    batch.rows = header.rows;
    for (size_t i = 0; i < batch.column_count; i++) {
        batch.columns[i].borrowed = true;
    }
    code = decode_columns(bytes, &header, &batch, err);
    if (code != ERR_OK) {
        batch_fini(&batch);
        return code;
    }
    *ret_batch = batch;
    *ret_used = header.size;
    return ERR_OK;
}
