/*
 * A batch: typed rows, column by column. The same structure carries rows of a catalogue table on
 * their way in (decoder, WAL, applier, store) and the rows of an answer on their way out (scan,
 * SQL).
 *
 * Memory: the batch owns its column arrays and an arena for texts it was asked to keep; other texts
 * are borrowed from whoever set them (the request's body, a WAL record) and must outlive it.
 * init/fini. One thread at a time.
 */
#ifndef EIDER_CATALOG_BATCH_H
#define EIDER_CATALOG_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "catalog/catalog.h"

enum { BATCH_ROWS_MAX = 1 << 24 };

struct column {
    const char *name;
    enum col_type type;
    /* One bit a row (row r: word r / 64, bit r % 64), 1 = not NULL. NULL pointer: no row is NULL.
     */
    uint64_t *valid;
    union {
        uint8_t *b;         /* COL_BOOL */
        int32_t *i32;       /* COL_INT32 */
        int64_t *i64;       /* COL_INT64, COL_TIMESTAMP, COL_DECIMAL (millionths) */
        double *f64;        /* COL_DOUBLE */
        struct slice *text; /* COL_TEXT, COL_JSON */
        void *data;
    };
    bool borrowed; /* data and valid point into memory of somebody else (batch_decode) */
};

struct batch {
    const struct catalog_table *table; /* NULL for an answer */
    size_t rows;
    size_t capacity; /* rows for which the column arrays have room */
    size_t column_count;
    struct column *columns;
    struct arena arena; /* texts kept by batch_keep_text, names of answer columns */
};

/* An empty batch of a catalogue table with all its columns. text_bytes_max caps the arena. */
void batch_init(struct batch *batch, const struct catalog_table *table, size_t text_bytes_max);

/* An empty answer without columns; add them with batch_add_column before the first row. */
void batch_init_answer(struct batch *batch, size_t text_bytes_max);
/* The answer is valid until the next column is added. */
struct column *batch_add_column(struct batch *batch, struct slice name, enum col_type type);

void batch_fini(struct batch *batch);

/* Forgets the rows and kept texts, keeps memory and columns. Not for a decoded batch. */
void batch_reset(struct batch *batch);

/* Makes room for `rows` rows in all. */
void batch_reserve(struct batch *batch, size_t rows);

/* Adds a row in which every column is NULL and returns its number. Asserts rows < BATCH_ROWS_MAX.
 */
size_t batch_add_row(struct batch *batch);

/*
 * Adds `count` rows in which every column is not NULL and returns the first one's number. For bulk
 * writers: batch_reserve, write the values straight into the columns' arrays, then extend.
 */
size_t batch_extend(struct batch *batch, size_t count);

/* Takes the last row away again (a row that turned out wrong). */
void batch_drop_row(struct batch *batch);

/* Setters: column index, row number; they make the value not NULL. The type must fit (asserted);
 * i64 is for COL_INT64, COL_TIMESTAMP and COL_DECIMAL (millionths). */
void batch_set_bool(struct batch *batch, size_t column, size_t row, bool value);
void batch_set_i32(struct batch *batch, size_t column, size_t row, int32_t value);
void batch_set_i64(struct batch *batch, size_t column, size_t row, int64_t value);
void batch_set_f64(struct batch *batch, size_t column, size_t row, double value);
void batch_set_text(struct batch *batch, size_t column, size_t row, struct slice value);
void batch_set_null(struct batch *batch, size_t column, size_t row);

/* Copies a text into the batch's arena; the empty slice with arena.overflow set over its cap. */
struct slice batch_keep_text(struct batch *batch, struct slice text);

/* What the rows take, their kept texts included; an estimate, for bounds. */
size_t batch_bytes(const struct batch *batch);

bool batch_is_null(const struct batch *batch, size_t column, size_t row);

/* Value as a double: bool, ints, double, timestamp (microseconds), decimal (as a number, the
 * nearest); 0 for NULL and texts. */
double batch_get_f64(const struct batch *batch, size_t column, size_t row);

/* Value as int64; doubles are cut; a decimal is its millionths; 0 for NULL and texts. */
int64_t batch_get_i64(const struct batch *batch, size_t column, size_t row);

/* Text of COL_TEXT and COL_JSON; the empty slice for NULL. */
struct slice batch_get_text(const struct batch *batch, size_t column, size_t row);

/* Index of an answer's or table's column by name, or CATALOG_NONE. */
int batch_column_index(const struct batch *batch, struct slice name);

/* Appends row `row` of `from` to `to`; same table or same columns. Texts are borrowed. */
void batch_copy_row(struct batch *to, const struct batch *from, size_t row);

/*
 * Appends the binary form that stands in WAL records (docs/formats/batch.md): little-endian, every
 * array 8-byte aligned relative to the start, so that it can be read in place.
 */
void batch_encode(const struct batch *batch, struct buf *ret_bytes);

/*
 * Reads one encoded batch at the start of `bytes` (8-byte aligned) and says how long it was.
 * Columns borrow from `bytes` where they can. Checks every length; a column the catalogue does not
 * know is skipped, one it has and the record lacks is NULL. Errors: ERR_CORRUPT with the offset.
 */
enum err_code batch_decode(struct slice bytes, struct batch *ret_batch, size_t *ret_used,
                           struct err *err);

#define BATCH_AUTO __attribute__((cleanup(batch_fini)))

#endif
