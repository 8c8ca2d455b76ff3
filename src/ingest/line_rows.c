/*
 * Line protocol: a measurement that names a trading table makes rows of it, tags and fields being
 * its columns; of any other measurement every field is a sample of the metric
 * <measurement>_<field>, or <measurement> when the field is called "value". The tag `symbol` is the
 * symbol, the others are labels; true is 1, texts are no samples.
 */
#include <assert.h>

#include "catalog/validate.h"
#include "codec/utf8.h"
#include "ingest/learn.h"

struct line_rows {
    struct job *job;
    enum time_precision precision;
    struct learner learner;
};

static void
bad_row(struct line_rows *rows, uint64_t row, const char *field, struct slice value,
        const char *expected)
{
    row_errors_add(&rows->job->errors, row, slice_of(field), value, slice_of(expected));
}

/* The tag's column; false, with a row error, when the table has none. */
static bool
learn_tag(struct line_rows *rows, const struct catalog_table *table, struct slice key,
          const struct line_tag *tag, uint64_t row, struct head_tag *ret_tag)
{
    struct slice name = tag->key;

    if (tag->escaped) {
        name = line_unescape(name, LINE_NAME, &rows->job->scratch);
    }
    int column = catalog_column_index(table, name);
    if (column == CATALOG_NONE) {
        row_unknown_column(rows->job, row, table, name, tag->value);
        return false;
    }
    *ret_tag = (struct head_tag){
        .column = (uint16_t)column,
        .offset = (uint16_t)(tag->value.ptr - key.ptr),
        .len = (uint16_t)tag->value.len,
        .escaped = tag->escaped,
    };
    return true;
}

/* Where the tags of a trading table's row stand; the last of two for a column counts. */
static struct head *
learn_table_head(struct line_rows *rows, const struct catalog_table *table, struct slice key,
                 uint64_t hash, struct line_tags *tags, uint64_t row)
{
    struct head_tag found[CATALOG_COLUMNS_MAX];
    size_t count = 0;
    struct line_tag tag;

    while (line_tags_next(tags, &tag)) {
        struct head_tag learnt;
        size_t at = 0;
        if (!learn_tag(rows, table, key, &tag, row, &learnt)) {
            return NULL;
        }
        while (at < count && found[at].column != learnt.column) {
            at++;
        }
        found[at] = learnt;
        count += at == count;
    }
    return learner_add_head(&rows->learner, key, hash, table, found, count);
}

/* A head that was not seen before; NULL with a row error. */
static struct head *
learn_head(struct line_rows *rows, struct slice key, uint64_t hash, uint64_t row)
{
    const char *expected = line_key_check(key);
    struct line_tags tags;

    if (expected) {
        bad_row(rows, row, "", key, expected);
        return NULL;
    }
    arena_reset(&rows->job->scratch);
    line_tags_init(&tags, key);
    struct slice measurement = tags.measurement;
    if (tags.measurement_escaped) {
        measurement = line_unescape(measurement, LINE_MEASUREMENT, &rows->job->scratch);
    }
    const struct catalog_table *table = catalog_find(measurement);
    if (table && table->ingestible && table->kind != TABLE_VIEW) {
        return learn_table_head(rows, table, key, hash, &tags, row);
    }
    return learner_add_head(&rows->learner, key, hash, NULL, NULL, 0);
}

/* Fills job->labels and gives the symbol from the tags of a head. */
static struct slice
read_tags(struct job *job, struct line_tags *tags)
{
    struct slice symbol = slice_of("");
    struct line_tag tag;

    labels_reset(&job->labels);
    while (!job->labels.expected && line_tags_next(tags, &tag)) {
        if (tag.escaped) {
            tag.key = line_unescape(tag.key, LINE_NAME, &job->scratch);
            tag.value = line_unescape(tag.value, LINE_NAME, &job->scratch);
        }
        if (slice_is(tag.key, "symbol")) {
            symbol = tag.value;
        } else {
            labels_add(&job->labels, tag.key, tag.value);
        }
    }
    return symbol;
}

/* The series of a field that was not seen with this head before; NULL with a row error. */
static struct head_field *
learn_series(struct line_rows *rows, struct head *head, const struct line_point *point,
             const struct line_field *field, uint64_t row)
{
    struct job *job = rows->job;
    struct slice name = field->key;
    struct line_tags tags;
    const char *expected = line_key_check(name);

    if (expected) {
        bad_row(rows, row, "", name, expected);
        return NULL;
    }
    arena_reset(&job->scratch);
    buf_reset(&job->name);
    if (field->key_escaped) {
        name = line_unescape(name, LINE_NAME, &job->scratch);
    }
    line_tags_init(&tags, point->key);
    buf_add_slice(&job->name, tags.measurement_escaped
                                  ? line_unescape(tags.measurement, LINE_MEASUREMENT, &job->scratch)
                                  : tags.measurement);
    if (!slice_is(name, "value")) {
        buf_add_char(&job->name, '_');
        buf_add_slice(&job->name, name);
    }
    struct slice symbol = read_tags(job, &tags);
    if (job->scratch.overflow) {
        bad_row(rows, row, "", point->key, "fewer tags with escapes");
        return NULL;
    }
    struct series *series = learner_series(&rows->learner, buf_slice(&job->name), symbol, row);
    if (!series) {
        return NULL;
    }
    return learner_add_field(&rows->learner, head, field->key, series, series->id);
}

/* The point's time in microseconds; false with a row error. */
static inline bool
point_time(struct line_rows *rows, const struct line_point *point, uint64_t row, int64_t *ret_us)
{
    if (!point->has_timestamp) {
        *ret_us = rows->job->now_us;
        return true;
    }
    if (!time_from_integer(point->timestamp, rows->precision, ret_us) || !time_in_range(*ret_us)) {
        char digits[24];
        BUF_AUTO struct buf text;
        buf_init(&text, sizeof(digits));
        buf_add_i64(&text, point->timestamp);
        row_errors_add(&rows->job->errors, row, slice_of("timestamp"), buf_slice(&text),
                       slice_of("a time in the years 1 to 9999 (is the precision right?)"));
        return false;
    }
    return true;
}

static void
refuse_text(struct line_rows *rows, const struct line_field *field, uint64_t row)
{
    row_errors_add(&rows->job->errors, row, field->key, field->text,
                   slice_of("a number or a boolean; texts cannot be stored as samples"));
}

/* The samples of a point; true when at least one was taken and none was wrong, or wrong ones may be
 * left out. */
static bool
take_samples(struct line_rows *rows, struct head *head, const struct line_point *point,
             uint64_t row)
{
    struct job *job = rows->job;
    struct head_field *field = NULL;
    size_t taken = 0;
    int64_t us;

    if (!point_time(rows, point, row, &us)) {
        return false;
    }
    if (!rows_sample_room(&job->rows, point->field_count)) {
        rows->learner.code = rows_too_many(rows->learner.err);
        return false;
    }
    for (size_t i = 0; i < point->field_count; i++) {
        const struct line_field *value = &point->fields[i];
        if (value->type == LINE_STRING) {
            refuse_text(rows, value, row);
            continue;
        }
        field = series_cache_field(head, field, value->key);
        if (!field) {
            field = learn_series(rows, head, point, value, row);
        }
        if (!field) {
            if (rows->learner.code != ERR_OK) {
                return false;
            }
            continue;
        }
        int32_t id = learner_series_id(&rows->learner, field);
        rows_add_sample(&job->rows, id, us, line_field_f64(value));
        taken++;
    }
    return job->skip_bad_rows ? taken > 0 : taken == point->field_count;
}

static bool
set_tags(struct line_rows *rows, const struct head *head, const struct line_point *point,
         struct batch *batch, size_t at, struct catalog_fault *fault)
{
    for (uint32_t i = 0; i < head->tag_count; i++) {
        const struct head_tag *tag = &head->tags[i];
        struct slice value = slice_make(point->key.ptr + tag->offset, tag->len);
        if (tag->escaped) {
            value = line_unescape(value, LINE_NAME, &rows->job->arena);
        }
        if (!catalog_set_text(batch, tag->column, at, value, rows->precision, fault)) {
            return false;
        }
    }
    return true;
}

/* The column of a field; CATALOG_NONE with a row error. */
static int
field_column(struct line_rows *rows, struct head *head, struct head_field **hint,
             const struct line_field *value, uint64_t row)
{
    struct head_field *field = series_cache_field(head, *hint, value->key);

    if (!field) {
        struct slice name = value->key;
        if (value->key_escaped) {
            arena_reset(&rows->job->scratch);
            name = line_unescape(name, LINE_NAME, &rows->job->scratch);
        }
        int column = catalog_column_index(head->table, name);
        if (column == CATALOG_NONE) {
            row_unknown_column(rows->job, row, head->table, name, value->text);
            return CATALOG_NONE;
        }
        field = learner_add_field(&rows->learner, head, value->key, NULL, column);
    }
    *hint = field;
    return field->id;
}

/* The columns of a row that was added; false with a row error. */
static bool
fill_row(struct line_rows *rows, struct head *head, const struct line_point *point,
         struct batch *batch, size_t at, uint64_t row)
{
    struct catalog_fault fault = {0};
    struct head_field *hint = NULL;
    struct scalar scalar;
    int64_t us;

    bool good = set_tags(rows, head, point, batch, at, &fault);
    for (size_t i = 0; good && i < point->field_count; i++) {
        const struct line_field *value = &point->fields[i];
        int column = field_column(rows, head, &hint, value, row);
        if (column == CATALOG_NONE) {
            return false;
        }
        line_field_scalar(value, &rows->job->arena, &scalar);
        good = catalog_set(batch, (size_t)column, at, &scalar, rows->precision, &fault);
    }
    if (good && point->has_timestamp && head->table->time_column != CATALOG_NONE) {
        if (!point_time(rows, point, row, &us)) {
            return false;
        }
        batch_set_i64(batch, (size_t)head->table->time_column, at, us);
    }
    good = good && catalog_fill_missing(batch, at, rows->job->now_us, &fault);
    if (!good && fault.code == ERR_TOO_LARGE) {
        rows->learner.code = rows_too_many(rows->learner.err);
    } else if (!good) {
        bad_row(rows, row, fault.field, fault.value, fault.expected);
    }
    return good;
}

static bool
take_row(struct line_rows *rows, struct head *head, const struct line_point *point, uint64_t row)
{
    struct batch *batch = rows_batch(&rows->job->rows, head->table);

    if (batch->rows >= ROWS_MAX) {
        rows->learner.code = rows_too_many(rows->learner.err);
        return false;
    }
    size_t at = batch_add_row(batch);
    bool good = fill_row(rows, head, point, batch, at, row);
    if (!good) {
        batch_drop_row(batch);
    }
    return good;
}

static inline bool
take_point(struct line_rows *rows, const struct line_point *point)
{
    uint64_t hash = series_cache_hash(point->key);
    struct head *head = series_cache_find(rows->learner.generation, point->key, hash);
    uint64_t row = point->line - 1;

    if (!head) {
        head = learn_head(rows, point->key, hash, row);
        if (!head) {
            return false;
        }
    }
    return head->table ? take_row(rows, head, point, row) : take_samples(rows, head, point, row);
}

enum err_code
line_rows_read(struct job *job, struct err *err)
{
    struct line_rows rows = {
        .job = job,
        .precision = job->precision == PRECISION_AUTO_US ? TIME_PRECISION_NS
                                                         : (enum time_precision)job->precision,
    };
    struct line_point point;
    enum line_result result;

    learner_init(&rows.learner, job, err);
    line_reset(&job->lines, job->body);
    while (rows.learner.code == ERR_OK && (result = line_next(&job->lines, &point)) != LINE_END) {
        bool good = false;
        if (result == LINE_POINT) {
            good = take_point(&rows, &point);
        } else {
            row_errors_add(&job->errors, job->lines.error_line - 1, slice_of(""),
                           job->lines.error_text, slice_of(job->lines.expected));
        }
        job->accepted += good;
        job->rejected += !good;
    }
    if (rows.learner.code == ERR_OK && job->arena.overflow) {
        rows.learner.code = rows_too_many(err);
    }
    learner_fini(&rows.learner);
    return rows.learner.code;
}
