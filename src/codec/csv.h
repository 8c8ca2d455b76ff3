/*
 * Reads and writes CSV (RFC 4180), a record at a time. Also accepted: LF for CRLF, a UTF-8 byte
 * order mark, other delimiters, no newline at the end. Empty lines are skipped. Fields are checked
 * for neither type nor UTF-8; validation does that.
 *
 * Pure. A reader owns its array of fields; init/fini. One thread at a time.
 */
#ifndef EIDER_CODEC_CSV_H
#define EIDER_CODEC_CSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

enum { CSV_FIELDS_MAX = 1024, CSV_FIELD_BYTES_MAX = 16 << 20 };

struct csv_field {
    struct slice text; /* without quotes; a slice of the input, of the arena when it held "" */
    bool quoted;       /* tells "" (an empty text) from nothing (NULL) */
};

struct csv_reader {
    const char *start;
    const char *at;
    const char *end;
    struct arena *arena;
    char delimiter;
    uint64_t line; /* 1-based, of `at` */
    struct csv_field *fields;
    size_t field_cap;
};

struct csv_record {
    const struct csv_field *fields; /* the reader's, until the next csv_next */
    size_t field_count;
    uint64_t line; /* where it starts */
};

/* Prepares to read `text`; delimiter 0 means ','. Text and arena must outlive the fields read. */
void csv_init(struct csv_reader *csv, struct slice text, char delimiter, struct arena *arena);
void csv_fini(struct csv_reader *csv);

/*
 * Reads the next record. *ret_more is false at the end of the text. Errors: ERR_SYNTAX with line
 * and expectation, ERR_TOO_LARGE over CSV_FIELDS_MAX, CSV_FIELD_BYTES_MAX or the arena; the reader
 * then stands at the next line.
 */
enum err_code csv_next(struct csv_reader *csv, struct csv_record *ret_record, bool *ret_more,
                       struct err *err);

/* Bytes read so far, for progress. */
static inline size_t
csv_offset(const struct csv_reader *csv)
{
    return (size_t)(csv->at - csv->start);
}

/* The likely delimiter of a text: the one of , ; tab | that the first line has most of, outside of
 * quotes; ',' when it has none. */
char csv_guess_delimiter(struct slice text);

/* Appends one field, in quotes if it needs them or `quote` asks for them. The caller puts
 * delimiters between fields. */
void csv_write_field(struct buf *out, struct slice text, char delimiter, bool quote);

/* Ends a record: CRLF. */
void csv_write_end(struct buf *out);

#endif
