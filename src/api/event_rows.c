/* JSON into entries of the event log. */
#include "api/event_rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "catalog/validate.h"
#include "codec/json_read.h"
#include "meter/meter.h"

enum { ARENA_EXTRA = 1 << 20, VALUE_MAX = 100, FIELD_MAX = 64 };

static const struct {
    const char *name;
    enum event_column column;
} aliases[] = {{"metadata", EVENT_METADATA_JSON}, {"key", EVENT_API_KEY}};

/* What only the server can know. */
static const struct {
    enum event_column column;
    const char *expected;
} owned[] = {
    {EVENT_SEQ, "nothing: the server numbers the entries"},
    {EVENT_HASH, "nothing: the server computes the hash"},
    {EVENT_CREATED_AT, "nothing: the server notes when the entry was written; timestamp says when "
                       "the call was made"},
    {EVENT_PRICE_RULE, "nothing: the server notes the rule when it computed the credits itself"},
};

struct event_reader {
    struct event_rows *rows;
    struct json_reader json;
    int order[CATALOG_COLUMNS_MAX]; /* column of the i-th member of the row before */
    size_t max;
    int64_t now_us;
    uint64_t number; /* of the row */
    bool too_many;
};

void
event_rows_init(struct event_rows *rows)
{
    *rows = (struct event_rows){0};
    batch_init(&rows->batch, catalog_table(TABLE_EVENTS), ARENA_EXTRA);
    arena_init(&rows->arena, ARENA_EXTRA);
}

void
event_rows_fini(struct event_rows *rows)
{
    free(rows->events);
    batch_fini(&rows->batch);
    arena_fini(&rows->arena);
}

static bool
refuse(struct event_reader *reader, const char *field, struct slice value, const char *expected)
{
    struct event_rows *rows = reader->rows;

    if (rows->error_count < EVENT_ROWS_ERRORS_MAX) {
        struct event_row_error *error = &rows->errors[rows->error_count++];
        error->row = reader->number;
        error->field = arena_fmt(&rows->arena, "%.64s", field);
        error->value = arena_dup(&rows->arena, slice_sub(value, 0, VALUE_MAX));
        error->expected = arena_fmt(&rows->arena, "%s", expected);
    }
    return false;
}

static bool
refuse_unknown(struct event_reader *reader, struct slice key, struct slice value)
{
    const struct catalog_table *table = reader->rows->batch.table;
    const char *near = catalog_suggest_column(table, key);
    char name[FIELD_MAX + 1];
    struct buf expected BUF_AUTO = {0};

    slice_to_cstr(slice_sub(key, 0, FIELD_MAX), name, sizeof(name));
    buf_init(&expected, 0);
    buf_add_fmt(&expected, "a column of %s", table->name);
    if (near) {
        buf_add_fmt(&expected, ", did you mean \"%s\"?", near);
    }
    for (size_t i = 0; !near && i < EVENT_SEQ; i++) {
        buf_add_fmt(&expected, "%s %s", i > 0 ? "," : ":", table->columns[i].name);
    }
    buf_add_char(&expected, '\0');
    return refuse(reader, name, value, expected.ptr);
}

static int
find_column(const struct event_reader *reader, struct slice key, size_t member)
{
    int guess = member < CATALOG_COLUMNS_MAX ? reader->order[member] : CATALOG_NONE;
    int column = catalog_column_expect(reader->rows->batch.table, key, guess);

    for (size_t i = 0; column == CATALOG_NONE && i < sizeof(aliases) / sizeof(aliases[0]); i++) {
        if (slice_is(key, aliases[i].name)) {
            return (int)aliases[i].column;
        }
    }
    return column;
}

static bool
set_member(struct event_reader *reader, size_t row, size_t member, struct slice key,
           const struct scalar *value, uint32_t *seen)
{
    struct batch *batch = &reader->rows->batch;
    int column = find_column(reader, key, member);
    struct catalog_fault fault;

    if (column == CATALOG_NONE) {
        return refuse_unknown(reader, key, value->text);
    }
    const char *name = batch->table->columns[column].name;
    if (member < CATALOG_COLUMNS_MAX) {
        reader->order[member] = column;
    }
    if (value->type == SCALAR_NULL) {
        return true;
    }
    for (size_t i = 0; i < sizeof(owned) / sizeof(owned[0]); i++) {
        if ((int)owned[i].column == column) {
            return refuse(reader, name, value->text, owned[i].expected);
        }
    }
    if (*seen & (1U << column)) {
        return refuse(reader, name, value->text, "the member once");
    }
    *seen |= 1U << column;
    if (!catalog_set(batch, (size_t)column, row, value, TIME_PRECISION_DEFAULT, &fault)) {
        return refuse(reader, fault.field, fault.value, fault.expected);
    }
    return true;
}

/* Whether a text that is there fits. */
static bool
check_text(struct event_reader *reader, size_t row, enum event_column column, size_t max)
{
    const struct batch *batch = &reader->rows->batch;
    struct slice text = batch_get_text(batch, column, row);
    char expected[64];

    if (batch_is_null(batch, column, row) || (text.len > 0 && text.len <= max)) {
        return true;
    }
    snprintf(expected, sizeof(expected), "a text of 1 to %zu bytes", max);
    return refuse(reader, batch->table->columns[column].name, text, expected);
}

/* What the catalogue's rules do not say. */
static bool
check_row(struct event_reader *reader, size_t row)
{
    static const enum event_column ids[] = {EVENT_ID, EVENT_RESERVATION_ID, EVENT_CORRECTS};
    static const enum event_column texts[] = {EVENT_API_NAME, EVENT_ENDPOINT, EVENT_METHOD,
                                              EVENT_RUN_ID,   EVENT_API_KEY,  EVENT_PROJECT};
    const struct batch *batch = &reader->rows->batch;
    bool good = true;

    for (size_t i = 0; good && i < sizeof(ids) / sizeof(ids[0]); i++) {
        good = check_text(reader, row, ids[i], METER_ID_MAX);
    }
    for (size_t i = 0; good && i < sizeof(texts) / sizeof(texts[0]); i++) {
        good = check_text(reader, row, texts[i], METER_TEXT_MAX);
    }
    for (size_t column = 0; good && column < EVENT_SEQ; column++) {
        if (batch->table->columns[column].missing == MISSING_REFUSE &&
            batch_is_null(batch, column, row)) {
            good = refuse(reader, batch->table->columns[column].name, slice_of(""),
                          catalog_type_expected(batch->table->columns[column].type));
        }
    }
    if (good && batch_get_i64(batch, EVENT_CREDITS_COST, row) < 0 &&
        batch_is_null(batch, EVENT_CORRECTS, row)) {
        good = refuse(reader, "credits_cost", slice_of("below 0"),
                      "0 or more; only a correction (corrects) may give credits back");
    }
    if (good && !isfinite(batch_get_f64(batch, EVENT_LATENCY_MS, row))) {
        good = refuse(reader, "latency_ms", slice_of("not finite"), "a finite number");
    }
    if (good && !batch_is_null(batch, EVENT_TIMESTAMP, row) &&
        batch_get_i64(batch, EVENT_TIMESTAMP, row) >
            reader->now_us + METER_FUTURE_MS_MAX * TIME_US_PER_MS) {
        char text[TIME_TEXT_MAX];
        time_format_iso8601(batch_get_i64(batch, EVENT_TIMESTAMP, row), text);
        good = refuse(reader, "timestamp", slice_of(text),
                      "a time that is at most five minutes in the future");
    }
    return good;
}

/* Reads one value that should be a row. False when the JSON is broken or there are too many. */
static bool
read_row(struct event_reader *reader)
{
    struct event_rows *rows = reader->rows;
    struct json_reader *json = &reader->json;
    struct scalar value;
    struct slice key;
    uint32_t seen = 0;
    bool good = true;

    if (!json_read_value(json, &value)) {
        return false;
    }
    if (value.type != SCALAR_OBJECT) {
        if (value.type == SCALAR_ARRAY && !json_read_rest(json, &value)) {
            return false;
        }
        refuse(reader, "", value.text, "an entry: an object of columns and values");
        rows->rejected++;
        return true;
    }
    if (reader->number >= reader->max) {
        reader->too_many = true;
        return false;
    }
    size_t row = batch_add_row(&rows->batch);
    for (size_t member = 0; json_read_key(json, &key); member++) {
        if (!json_read_value(json, &value) ||
            (value.type >= SCALAR_OBJECT && !json_read_rest(json, &value))) {
            return false;
        }
        good = good && set_member(reader, row, member, key, &value, &seen);
    }
    good = good && !json_read_failed(json) && check_row(reader, row);
    if (!good) {
        batch_drop_row(&rows->batch);
        rows->rejected++;
    }
    return !json_read_failed(json);
}

static struct slice
text_of(const struct batch *batch, enum event_column column, size_t row)
{
    return batch_get_text(batch, column, row);
}

static void
make_event(const struct batch *batch, size_t row, int64_t now_us, struct event *ret)
{
    ret->id = text_of(batch, EVENT_ID, row);
    ret->timestamp_is_ours = batch_is_null(batch, EVENT_TIMESTAMP, row);
    ret->timestamp_us =
        ret->timestamp_is_ours ? now_us : batch_get_i64(batch, EVENT_TIMESTAMP, row);
    ret->api_name = text_of(batch, EVENT_API_NAME, row);
    ret->endpoint = text_of(batch, EVENT_ENDPOINT, row);
    ret->method = text_of(batch, EVENT_METHOD, row);
    ret->has_status = !batch_is_null(batch, EVENT_STATUS_CODE, row);
    ret->status_code = (int32_t)batch_get_i64(batch, EVENT_STATUS_CODE, row);
    ret->success = batch_is_null(batch, EVENT_SUCCESS, row)
                       ? ret->status_code >= 200 && ret->status_code < 300
                       : batch_get_i64(batch, EVENT_SUCCESS, row) != 0;
    ret->latency_ms = batch_get_f64(batch, EVENT_LATENCY_MS, row);
    ret->credits_are_ours = batch_is_null(batch, EVENT_CREDITS_COST, row);
    ret->credits = batch_get_i64(batch, EVENT_CREDITS_COST, row);
    ret->run_id = text_of(batch, EVENT_RUN_ID, row);
    ret->error_message = text_of(batch, EVENT_ERROR_MESSAGE, row);
    ret->metadata_json = text_of(batch, EVENT_METADATA_JSON, row);
    if (slice_is(ret->metadata_json, "{}")) {
        ret->metadata_json = slice_of(""); /* empty metadata is none, as in the original */
    }
    ret->api_key = text_of(batch, EVENT_API_KEY, row);
    ret->project = text_of(batch, EVENT_PROJECT, row);
    ret->reservation_id = text_of(batch, EVENT_RESERVATION_ID, row);
    ret->corrects = text_of(batch, EVENT_CORRECTS, row);
}

/* An array of rows, or rows one behind the other. */
static void
read_rows(struct event_reader *reader, bool is_array)
{
    struct json_reader *json = &reader->json;
    struct scalar bracket;

    if (is_array && !json_read_value(json, &bracket)) {
        return;
    }
    while ((is_array ? json_read_element(json) : json_read_more(json)) && read_row(reader)) {
        reader->number++;
    }
}

enum err_code
event_rows_read(struct event_rows *rows, struct slice body, size_t max, int64_t now_us,
                struct err *err)
{
    struct event_reader reader = {.rows = rows, .max = max, .now_us = now_us};
    struct slice text = slice_trim(body);

    if (text.len == 0 || (text.ptr[0] != '{' && text.ptr[0] != '[')) {
        return err_set(err, ERR_SYNTAX,
                       "%s; expected a JSON object, an array of objects, or one object a line",
                       text.len == 0 ? "the body is empty" : "the body is no JSON object or array");
    }
    for (size_t i = 0; i < CATALOG_COLUMNS_MAX; i++) {
        reader.order[i] = (int)i;
    }
    rows->arena.max_bytes = body.len + ARENA_EXTRA;
    json_read_init(&reader.json, body, &rows->arena);
    read_rows(&reader, text.ptr[0] == '[');
    if (json_read_failed(&reader.json)) {
        return err_context(err, json_read_error(&reader.json, err), "entry %llu",
                           (unsigned long long)reader.number);
    }
    if (reader.too_many) {
        return err_set(err, ERR_TOO_LARGE,
                       "the body holds more than %zu entries; send them in parts", max);
    }
    if (!json_read_end(&reader.json)) {
        return json_read_error(&reader.json, err);
    }
    if (rows->rejected > 0) {
        return err_set(err, ERR_INVALID, "%llu of %llu entries are not valid; nothing was stored",
                       (unsigned long long)rows->rejected,
                       (unsigned long long)rows->batch.rows + rows->rejected);
    }
    rows->count = rows->batch.rows;
    rows->events = mem_zalloc(rows->count + 1, sizeof(*rows->events));
    for (size_t i = 0; i < rows->count; i++) {
        make_event(&rows->batch, i, now_us, &rows->events[i]);
    }
    return ERR_OK;
}
