/* CSV and DuckDB files as rows of texts. */
#include "cli/import_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "codec/csv.h"
#include "codec/decimal.h"
#include "codec/number.h"
#include "codec/time.h"
#include "store/duckdb/duckdb_reader.h"

enum { ARENA_BYTES_MAX = 1 << 30, READ_BYTES = 1 << 16 };

struct import_source {
    size_t column_count;
    char **columns;
    struct import_cell *cells; /* of one row */
    struct arena arena;        /* texts since source_release */
    /* CSV */
    struct slice text;
    char delimiter;
    struct csv_reader csv;
    /* DuckDB */
    struct duckdb_reader *reader;
    char *table;
    const struct batch *batch; /* rows being handed out */
    size_t row;
    uint64_t rows_total;
    uint64_t rows_read;
};

static enum err_code
read_stdin(struct import_bytes *ret_bytes, struct err *err)
{
    struct buf text;

    buf_init(&text, 0);
    for (;;) {
        char *room = buf_reserve(&text, READ_BYTES);
        if (!room) {
            buf_fini(&text);
            return err_set(err, ERR_TOO_LARGE,
                           "standard input is larger than 1 GiB; import a file instead");
        }
        ssize_t got = read(STDIN_FILENO, room, READ_BYTES);
        if (got < 0) {
            int sys = errno;
            buf_fini(&text);
            return err_sys(err, sys, "cannot read standard input");
        }
        if (got == 0) {
            break;
        }
        text.len += (size_t)got;
    }
    size_t len = 0;
    char *bytes = buf_take(&text, &len);
    *ret_bytes = (struct import_bytes){.text = slice_make(bytes ? bytes : "", len), .owned = bytes};
    return ERR_OK;
}

enum err_code
import_bytes_open(const char *path, struct import_bytes *ret_bytes, struct err *err)
{
    struct stat info;

    if (strcmp(path, "-") == 0) {
        return read_stdin(ret_bytes, err);
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return err_sys(err, errno, "cannot read %s", path);
    }
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(fd);
        return err_set(err, ERR_INVALID, "%s is not a regular file", path);
    }
    *ret_bytes = (struct import_bytes){.text = SLICE_LITERAL("")};
    if (info.st_size > 0) {
        void *mapped = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (mapped == MAP_FAILED) {
            int sys = errno;
            close(fd);
            return err_sys(err, sys, "cannot map %s", path);
        }
        madvise(mapped, (size_t)info.st_size, MADV_SEQUENTIAL);
        ret_bytes->mapped = mapped;
        ret_bytes->text = slice_make(mapped, (size_t)info.st_size);
    }
    close(fd);
    return ERR_OK;
}

void
import_bytes_close(struct import_bytes *bytes)
{
    if (bytes->mapped) {
        munmap(bytes->mapped, bytes->text.len);
    }
    free(bytes->owned);
    *bytes = (struct import_bytes){0};
}

static struct import_source *
make_source(size_t column_count)
{
    struct import_source *source = mem_zalloc(1, sizeof(*source));

    source->column_count = column_count;
    source->columns = mem_zalloc(column_count + 1, sizeof(*source->columns));
    source->cells = mem_zalloc(column_count + 1, sizeof(*source->cells));
    arena_init(&source->arena, ARENA_BYTES_MAX);
    return source;
}

void
source_close(struct import_source *source)
{
    if (!source) {
        return;
    }
    if (source->reader) {
        duckdb_reader_close(source->reader);
    } else {
        csv_fini(&source->csv);
    }
    for (size_t i = 0; i < source->column_count; i++) {
        free(source->columns[i]);
    }
    free(source->columns);
    free(source->cells);
    free(source->table);
    arena_fini(&source->arena);
    free(source);
}

/* ---- CSV ---- */

enum err_code
source_open_csv(struct slice text, char delimiter, struct import_source **ret_source,
                struct err *err)
{
    struct arena arena ARENA_AUTO = {0};
    struct csv_reader csv;
    struct csv_record header;
    bool more = false;

    delimiter = delimiter ? delimiter : csv_guess_delimiter(text);
    arena_init(&arena, ARENA_BYTES_MAX);
    csv_init(&csv, text, delimiter, &arena);
    enum err_code code = csv_next(&csv, &header, &more, err);
    if (code == ERR_OK && !more) {
        code = err_set(err, ERR_SYNTAX, "the file is empty; expected a line with column names");
    }
    if (code != ERR_OK) {
        csv_fini(&csv);
        return code;
    }
    struct import_source *source = make_source(header.field_count);
    for (size_t i = 0; i < header.field_count; i++) {
        source->columns[i] = mem_strdup(slice_trim(header.fields[i].text));
    }
    csv_fini(&csv);
    source->text = text;
    source->delimiter = delimiter;
    csv_init(&source->csv, text, delimiter, &source->arena);
    code = csv_next(&source->csv, &header, &more, err);
    if (code != ERR_OK) {
        source_close(source);
        return code;
    }
    *ret_source = source;
    return ERR_OK;
}

static enum err_code
next_csv(struct import_source *source, struct import_row *ret_row, bool *ret_more, struct err *err)
{
    struct csv_record record;

    ret_row->number = source->csv.line;
    enum err_code code = csv_next(&source->csv, &record, ret_more, err);
    if (code != ERR_OK || !*ret_more) {
        return code;
    }
    ret_row->number = record.line;
    ret_row->cells = source->cells;
    if (record.field_count != source->column_count) {
        return err_set(err, ERR_SYNTAX, "%zu fields; expected %zu, as in the first line",
                       record.field_count, source->column_count);
    }
    for (size_t i = 0; i < record.field_count; i++) {
        source->cells[i].text = record.fields[i].text;
        source->cells[i].null = record.fields[i].text.len == 0 && !record.fields[i].quoted;
    }
    return ERR_OK;
}

/* ---- DuckDB ---- */

enum err_code
source_open_duckdb(const char *path, enum import_format format, const char *table,
                   struct import_source **ret_source, struct err *err)
{
    struct duckdb_reader *reader;
    uint64_t rows = 0;
    enum err_code code = duckdb_reader_open(
        path, format == IMPORT_PARQUET ? DUCKDB_FILE_PARQUET : DUCKDB_FILE_DATABASE, &reader, err);

    if (code != ERR_OK) {
        return code;
    }
    code = duckdb_reader_select(reader, table, &rows, err);
    if (code != ERR_OK) {
        duckdb_reader_close(reader);
        return code;
    }
    const struct batch *shape = duckdb_reader_columns(reader);
    struct import_source *source = make_source(shape->column_count);
    for (size_t i = 0; i < shape->column_count; i++) {
        source->columns[i] = mem_strdup(slice_of(shape->columns[i].name));
    }
    source->reader = reader;
    source->table = mem_strdup(slice_of(table));
    source->rows_total = rows;
    *ret_source = source;
    return ERR_OK;
}

/* A typed value as text; NaN is how data frames write "missing". */
static void
set_cell(struct import_source *source, size_t column)
{
    const struct batch *batch = source->batch;
    struct import_cell *cell = &source->cells[column];
    size_t row = source->row;
    char text[TIME_TEXT_MAX];
    struct slice value;
    double number;

    cell->null = batch_is_null(batch, column, row);
    if (cell->null) {
        return;
    }
    switch (batch->columns[column].type) {
    case COL_BOOL:
        value = batch->columns[column].b[row] ? SLICE_LITERAL("true") : SLICE_LITERAL("false");
        break;
    case COL_INT32:
    case COL_INT64:
        value = slice_make(text, (size_t)snprintf(text, sizeof(text), "%lld",
                                                  (long long)batch_get_i64(batch, column, row)));
        break;
    case COL_DOUBLE:
        number = batch_get_f64(batch, column, row);
        cell->null = number != number;
        value = slice_make(text, number_format_f64(number, text));
        break;
    case COL_TIMESTAMP:
        value = slice_make(text, time_format_iso8601(batch_get_i64(batch, column, row), text));
        break;
    case COL_DECIMAL:
        value = slice_make(text, decimal_format(batch_get_i64(batch, column, row), text));
        break;
    case COL_TEXT:
    case COL_JSON:
    case COL_TYPE_COUNT:
        value = batch_get_text(batch, column, row);
        break;
    }
    cell->text = arena_dup(&source->arena, value);
}

static enum err_code
next_duckdb(struct import_source *source, struct import_row *ret_row, bool *ret_more,
            struct err *err)
{
    if (!source->batch || source->row == source->batch->rows) {
        enum err_code code = duckdb_reader_next(source->reader, &source->batch, err);
        source->row = 0;
        if (code != ERR_OK) {
            return code == ERR_SYNTAX ? ERR_CORRUPT : code;
        }
    }
    *ret_more = source->batch->rows > 0;
    if (!*ret_more) {
        return ERR_OK;
    }
    for (size_t i = 0; i < source->column_count; i++) {
        set_cell(source, i);
    }
    if (source->arena.overflow) {
        return err_set(err, ERR_TOO_LARGE, "the texts of one batch are larger than %d bytes",
                       ARENA_BYTES_MAX);
    }
    source->row++;
    ret_row->number = ++source->rows_read;
    ret_row->cells = source->cells;
    return ERR_OK;
}

/* ---- both ---- */

size_t
source_column_count(const struct import_source *source)
{
    return source->column_count;
}

const char *const *
source_columns(const struct import_source *source)
{
    return (const char *const *)source->columns;
}

enum err_code
source_next(struct import_source *source, struct import_row *ret_row, bool *ret_more,
            struct err *err)
{
    return source->reader ? next_duckdb(source, ret_row, ret_more, err)
                          : next_csv(source, ret_row, ret_more, err);
}

void
source_release(struct import_source *source)
{
    arena_reset(&source->arena);
}

enum err_code
source_rewind(struct import_source *source, struct err *err)
{
    struct csv_record header;
    bool more;

    arena_reset(&source->arena);
    if (source->reader) {
        source->batch = NULL;
        source->row = 0;
        source->rows_read = 0;
        return duckdb_reader_select(source->reader, source->table, &source->rows_total, err);
    }
    csv_fini(&source->csv);
    csv_init(&source->csv, source->text, source->delimiter, &source->arena);
    return csv_next(&source->csv, &header, &more, err);
}

double
source_progress(const struct import_source *source)
{
    if (source->reader) {
        return source->rows_total ? (double)source->rows_read / (double)source->rows_total : 1;
    }
    return source->text.len ? (double)csv_offset(&source->csv) / (double)source->text.len : 1;
}
