/*
 * JSON rows: one object, an array of objects, or NDJSON, told apart by their first bytes. Keys are
 * looked for where the row before had them; the order of columns rarely changes within a body.
 */
#include <assert.h>

#include "catalog/validate.h"
#include "codec/json_read.h"
#include "ingest/learn.h"

_Static_assert((int)PRECISION_AUTO_US == (int)TIME_PRECISION_DEFAULT &&
                   (int)PRECISION_NS == (int)TIME_PRECISION_NS &&
                   (int)PRECISION_US == (int)TIME_PRECISION_US &&
                   (int)PRECISION_MS == (int)TIME_PRECISION_MS &&
                   (int)PRECISION_S == (int)TIME_PRECISION_S,
               "the same order");

struct json_rows {
    struct job *job;
    const struct catalog_table *table;
    struct batch *batch;
    enum time_precision precision;
    int order[CATALOG_COLUMNS_MAX]; /* column of the i-th key of the row before */
    bool is_metrics;
    struct learner learner;
};

enum row_result {
    ROW_DONE,   /* taken, or counted as bad */
    ROW_BROKEN, /* the JSON itself is wrong */
    ROW_STOP    /* rows->learner.code says why the request as a whole is refused */
};

void
row_unknown_column(struct job *job, uint64_t row, const struct catalog_table *table,
                   struct slice name, struct slice value)
{
    const char *nearest = catalog_suggest_column(table, name);
    char expected[ROW_ERROR_EXPECTED_MAX];
    BUF_AUTO struct buf text;

    buf_init(&text, sizeof(expected));
    buf_add_fmt(&text, "a column of %s", table->name);
    if (nearest) {
        buf_add_fmt(&text, ", did you mean \"%s\"?", nearest);
    } else {
        for (size_t i = 0; i < table->column_count; i++) {
            buf_add_fmt(&text, "%s %s", i ? "," : ":", table->columns[i].name);
        }
    }
    row_errors_add(&job->errors, row, name, value, buf_slice(&text));
}

static void
add_fault(struct job *job, uint64_t row, const struct catalog_fault *fault)
{
    row_errors_add(&job->errors, row, slice_of(fault->field), fault->value,
                   slice_of(fault->expected));
}

/* One member of a row; false when it makes the row bad. */
static bool
set_member(struct json_rows *rows, size_t at, uint64_t number, size_t member, struct slice key,
           const struct scalar *value)
{
    int guess = member < CATALOG_COLUMNS_MAX ? rows->order[member] : CATALOG_NONE;
    int column = catalog_column_expect(rows->table, key, guess);
    struct catalog_fault fault;

    if (column == CATALOG_NONE) {
        row_unknown_column(rows->job, number, rows->table, key, value->text);
        return false;
    }
    if (member < CATALOG_COLUMNS_MAX) {
        rows->order[member] = column;
    }
    if (!catalog_set(rows->batch, (size_t)column, at, value, rows->precision, &fault)) {
        add_fault(rows->job, number, &fault);
        return false;
    }
    return true;
}

/* The members of a row, whose opening bracket was read; *ret_good says whether it may be taken. */
static bool
read_members(struct json_rows *rows, struct json_reader *json, size_t at, uint64_t number,
             bool *ret_good)
{
    struct scalar value;
    struct slice key;
    bool good = true;

    for (size_t member = 0; json_read_key(json, &key); member++) {
        if (!json_read_value(json, &value)) {
            break;
        }
        if (value.type >= SCALAR_OBJECT && !json_read_rest(json, &value)) {
            break;
        }
        good = good && set_member(rows, at, number, member, key, &value);
    }
    *ret_good = good;
    return !json_read_failed(json);
}

/* A complete row: into the batch, or on to samples. */
static bool
finish_row(struct json_rows *rows, size_t at, uint64_t number)
{
    struct catalog_fault fault;

    if (!catalog_fill_missing(rows->batch, at, rows->job->now_us, &fault)) {
        if (fault.code == ERR_TOO_LARGE) {
            rows->learner.code = rows_too_many(rows->learner.err);
        } else {
            add_fault(rows->job, number, &fault);
        }
        batch_drop_row(rows->batch);
        return false;
    }
    if (!rows->is_metrics) {
        return true;
    }
    bool taken = learner_add_metric(&rows->learner, rows->batch, at, number);
    batch_drop_row(rows->batch);
    return taken;
}

static enum row_result
read_row(struct json_rows *rows, struct json_reader *json, uint64_t number)
{
    struct job *job = rows->job;
    struct scalar value;
    bool good;

    if (!json_read_value(json, &value)) {
        return ROW_BROKEN;
    }
    if (value.type != SCALAR_OBJECT) {
        if (value.type == SCALAR_ARRAY && !json_read_rest(json, &value)) {
            return ROW_BROKEN;
        }
        row_errors_add(&job->errors, number, slice_of(""), value.text,
                       slice_of("a row: an object of column names and values"));
        job->rejected++;
        return ROW_DONE;
    }
    if (rows->batch->rows >= ROWS_MAX) {
        rows->learner.code = rows_too_many(rows->learner.err);
        return ROW_STOP;
    }
    size_t at = batch_add_row(rows->batch);
    if (!read_members(rows, json, at, number, &good)) {
        batch_drop_row(rows->batch);
        return ROW_BROKEN;
    }
    if (good) {
        good = finish_row(rows, at, number);
    } else {
        batch_drop_row(rows->batch);
    }
    if (rows->learner.code != ERR_OK) {
        return ROW_STOP;
    }
    job->accepted += good;
    job->rejected += !good;
    return ROW_DONE;
}

/* An array, or a single object: what is wrong with the JSON is wrong with the request. */
static enum err_code
read_document(struct json_rows *rows, struct slice body, bool is_array, struct err *err)
{
    enum row_result result = ROW_DONE;
    struct json_reader json;
    struct scalar value;
    uint64_t number = 0;

    json_read_init(&json, body, &rows->job->arena);
    if (!is_array) {
        result = read_row(rows, &json, 0);
    } else if (json_read_value(&json, &value)) {
        for (; result == ROW_DONE && json_read_element(&json); number++) {
            result = read_row(rows, &json, number);
        }
    }
    if (result == ROW_STOP) {
        return rows->learner.code;
    }
    bool within = json_read_failed(&json);
    json_read_end(&json);
    enum err_code code = json_read_error(&json, err);
    if (within && number > 0) {
        return err_context(err, code, "row %llu", (unsigned long long)number - 1);
    }
    return code;
}

static struct slice
take_line(struct slice *rest)
{
    struct slice line;

    slice_split(rest, '\n', &line);
    if (line.len > 0 && line.ptr[line.len - 1] == '\r') {
        line.len--;
    }
    return line;
}

/* A line is a document of its own: what is wrong with its JSON is wrong with that row. */
static enum row_result
read_line(struct json_rows *rows, struct slice line, uint64_t number)
{
    struct job *job = rows->job;
    struct json_reader json;
    uint64_t accepted = job->accepted;

    json_read_init(&json, line, &job->arena);
    enum row_result result = read_row(rows, &json, number);
    if (result == ROW_STOP) {
        return result;
    }
    if (json.too_large) {
        rows->learner.code = json_read_error(&json, rows->learner.err);
        return ROW_STOP;
    }
    bool whole = result == ROW_DONE && json_read_end(&json);
    if (whole || (result == ROW_DONE && job->accepted == accepted)) {
        return ROW_DONE;
    }
    if (result == ROW_DONE) {
        /* The row is fine, what follows on its line is not. */
        job->accepted--;
        if (rows->is_metrics) {
            job->rows.sample_count--;
        } else {
            batch_drop_row(rows->batch);
        }
    }
    struct slice found = slice_sub(line, json.error_offset, ROW_ERROR_VALUE_MAX);
    char expected[ROW_ERROR_EXPECTED_MAX];
    BUF_AUTO struct buf text;
    buf_init(&text, sizeof(expected));
    buf_add_fmt(&text, "%s at byte %zu of the line", json.expected, json.error_offset);
    row_errors_add(&job->errors, number, slice_of(""), found, buf_slice(&text));
    job->rejected++;
    return ROW_DONE;
}

static enum err_code
read_lines(struct json_rows *rows, struct slice body)
{
    for (uint64_t number = 0; body.len > 0; number++) {
        struct slice line = take_line(&body);
        if (slice_trim(line).len > 0 && read_line(rows, line, number) == ROW_STOP) {
            return rows->learner.code;
        }
    }
    return ERR_OK;
}

enum json_form { FORM_OBJECT, FORM_ARRAY, FORM_LINES };

/*
 * A body that starts with '{' is NDJSON when its first line is a whole value and more follows, or
 * when a later line starts with '{' too (the first one is broken, then); an object may also be
 * written over many lines.
 */
static enum json_form
tell_form(struct slice body)
{
    struct slice rest = slice_trim(body);

    if (rest.ptr[0] == '[') {
        return FORM_ARRAY;
    }
    struct slice first = take_line(&rest);
    rest = slice_trim(rest);
    if (rest.len == 0) {
        return FORM_OBJECT;
    }
    if (json_valid(first)) {
        return FORM_LINES;
    }
    while (rest.len > 0) {
        if (take_line(&rest).ptr[0] == '{') {
            return FORM_LINES;
        }
    }
    return FORM_OBJECT;
}

enum err_code
json_rows_read(struct job *job, const struct catalog_table *table, struct err *err)
{
    struct json_rows rows = {
        .job = job,
        .table = table,
        .batch = rows_batch(&job->rows, table),
        .precision = (enum time_precision)job->precision,
        .is_metrics = table->id == TABLE_METRICS,
    };
    struct slice body = slice_trim(job->body);
    enum err_code code = ERR_OK;

    for (size_t i = 0; i < CATALOG_COLUMNS_MAX; i++) {
        rows.order[i] = (int)i;
    }
    if (body.len == 0) {
        return err_set(err, ERR_SYNTAX,
                       "the body is empty; expected a JSON object, an array of objects, or one "
                       "object a line");
    }
    if (body.ptr[0] != '{' && body.ptr[0] != '[') {
        return err_set(err, ERR_SYNTAX,
                       "JSON, byte %zu: expected '{' or '[': an object, an array of objects, or "
                       "one object a line",
                       (size_t)(body.ptr - job->body.ptr));
    }
    learner_init(&rows.learner, job, err);
    enum json_form form = tell_form(job->body);
    if (form == FORM_LINES) {
        code = read_lines(&rows, job->body);
    } else {
        code = read_document(&rows, job->body, form == FORM_ARRAY, err);
    }
    learner_fini(&rows.learner);
    return code;
}
