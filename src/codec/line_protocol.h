/*
 * Reads Influx line protocol, a line at a time:
 *
 *   cpu,host=h1,region=eu value=1.25,cores=4i 1700000000000000000
 *   measurement[,tag=value...] field=value[,field=value...] [timestamp]
 *
 * Made for speed: measurement and tags are not looked into, only their end is found. `point.key` is
 * both exactly as sent, to be looked up by hash; line_key_check and line_tags_next take a key apart
 * the first time it is seen. Field values are decoded, escapes are left in and flagged.
 *
 * Accepted beyond the reference (InfluxDB v2, "Line protocol"): runs of blanks between the three
 * parts, blanks in front, CRLF. Skipped: empty lines and lines that start with '#'.
 * Texts are not checked for UTF-8 here (but by line_key_check, which also suits a field's key);
 * validation does that.
 *
 * Ownership: a reader owns the array of fields; init/fini. One thread at a time.
 */
#ifndef EIDER_CODEC_LINE_PROTOCOL_H
#define EIDER_CODEC_LINE_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"
#include "codec/scalar.h"

enum { LINE_FIELDS_MAX = 4096, LINE_KEY_MAX = 65535 };

enum line_type { LINE_FLOAT, LINE_INT, LINE_UINT, LINE_STRING, LINE_BOOL };

struct line_field {
    struct slice key;  /* as sent */
    struct slice text; /* the value as sent; of a string what is between its quotes */
    union {
        double f64;   /* LINE_FLOAT */
        int64_t i64;  /* LINE_INT */
        uint64_t u64; /* LINE_UINT */
        bool boolean; /* LINE_BOOL */
    };
    enum line_type type;
    bool key_escaped;  /* pass key to line_unescape with LINE_NAME */
    bool text_escaped; /* pass text to line_unescape with LINE_TEXT */
};

struct line_point {
    struct slice key;          /* measurement and tags, as sent */
    struct line_field *fields; /* the reader's, until the next line_next */
    size_t field_count;
    int64_t timestamp;
    bool has_timestamp;
    uint64_t line; /* 1-based, of the whole text */
};

struct line_reader {
    const char *at;
    const char *end;
    uint64_t line; /* of `at` */
    struct line_field *fields;
    size_t field_cap;
    /* Set by LINE_BAD. */
    const char *expected;
    uint64_t error_line;
    struct slice error_text; /* what was there instead, cut at 40 bytes */
};

enum line_result {
    LINE_POINT, /* *ret_point is filled */
    LINE_BAD,   /* this line is wrong; the reader stands at the next one and may go on */
    LINE_END
};

/* Prepares to read `text`, which must outlive the points. */
void line_init(struct line_reader *reader, struct slice text);
void line_fini(struct line_reader *reader);

/* Starts over with another text, keeping the memory. */
void line_reset(struct line_reader *reader, struct slice text);

enum line_result line_next(struct line_reader *reader, struct line_point *ret_point);

/* After LINE_BAD: ERR_SYNTAX, "line 3: expected a field value, found \"abc\"". */
enum err_code line_error(const struct line_reader *reader, struct err *err);

/* A numeric or boolean field as a double (true is 1); 0 for a string. */
double line_field_f64(const struct line_field *field);

/* A field as any decoder's value, for catalog_set; a string's escapes are taken out into the arena,
 * which must live as long as the value. */
void line_field_scalar(const struct line_field *field, struct arena *arena,
                       struct scalar *ret_value);

/* A walk over the tags of a key. */
struct line_tags {
    struct slice measurement; /* as sent */
    bool measurement_escaped; /* pass it to line_unescape with LINE_MEASUREMENT */
    const char *at;
    const char *end;
    const char *expected; /* not NULL: the key is malformed */
};

struct line_tag {
    struct slice key;
    struct slice value;
    bool escaped; /* pass both to line_unescape with LINE_NAME */
};

/* Starts with the measurement of a key. */
void line_tags_init(struct line_tags *tags, struct slice key);

/* The next tag; false at the end or when tags->expected is set. */
bool line_tags_next(struct line_tags *tags, struct line_tag *ret_tag);

/*
 * Checks a key as a whole: measurement and tags there, none empty, UTF-8, no control characters.
 * NULL when fine, else what was expected. Call it before a key becomes a series.
 */
const char *line_key_check(struct slice key);

enum line_escape {
    LINE_MEASUREMENT, /* \, and "\ " */
    LINE_NAME,        /* \, \= and "\ " */
    LINE_TEXT         /* \" and \\ */
};

/* Copies a text without its escapes into the arena; other backslashes stay. */
struct slice line_unescape(struct slice text, enum line_escape escape, struct arena *arena);

#endif
