/*
 * The body of POST /api/v1/events: one object, an array, or NDJSON, with the columns of
 * api_event_log; "metadata" stands for metadata_json and "key" for api_key. Values are checked by
 * the catalogue's rules, and by what only an entry must hold to. Columns that the server fills
 * (seq, hash, created_at, price_rule) are refused.
 *
 * Memory: init/fini; the events borrow from the body and from the rows. One thread at a time.
 */
#ifndef EIDER_API_EVENT_ROWS_H
#define EIDER_API_EVENT_ROWS_H

#include "base/arena.h"
#include "base/err.h"
#include "catalog/batch.h"
#include "meter/event.h"

enum { EVENT_ROWS_ERRORS_MAX = 100 };

struct event_row_error {
    uint64_t row; /* from 0; NDJSON: the line */
    const char *field;
    struct slice value;
    const char *expected;
};

struct event_rows {
    struct batch batch;
    struct arena arena;   /* texts with escapes, errors */
    struct event *events; /* when nothing was wrong */
    size_t count;
    uint64_t rejected; /* rows that were not valid; then nothing may be stored */
    struct event_row_error errors[EVENT_ROWS_ERRORS_MAX];
    size_t error_count;
};

void event_rows_init(struct event_rows *rows);
void event_rows_fini(struct event_rows *rows);

/*
 * Decodes a body; it must outlive the rows. `now_us` is the timestamp of rows that have none.
 * ERR_OK only when all rows are valid; ERR_INVALID with errors; ERR_SYNTAX for what is no JSON;
 * ERR_TOO_LARGE for more than `max` rows.
 */
enum err_code event_rows_read(struct event_rows *rows, struct slice body, size_t max,
                              int64_t now_us, struct err *err);

#endif
