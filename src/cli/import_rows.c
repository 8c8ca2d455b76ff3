/* Rows of named columns: checked against the catalogue here, sent on as NDJSON. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "catalog/batch_text.h"
#include "catalog/validate.h"
#include "cli/import_job.h"

enum { SAMPLES_MAX = 1000, TEXT_BYTES_MAX = 256 << 20 };

/* The batch under way and where its rows come from. */
struct gathering {
    struct import_job *job;
    struct import_source *source;
    struct import_result *result;
    struct batch batch;
    uint64_t *rows; /* row numbers, one for each row of the batch */
    size_t bytes;   /* estimate of the body */
};

static bool
is_missing(const struct import_cell *cell, enum col_type type)
{
    static const char *const words[] = {"nan", "null", "none", "na", "n/a", NULL};

    if (cell->null) {
        return true;
    }
    if (type == COL_TEXT || type == COL_JSON) {
        return false;
    }
    struct slice text = slice_trim(cell->text);
    for (size_t i = 0; words[i]; i++) {
        if (slice_is_nocase(text, words[i])) {
            return true;
        }
    }
    return text.len == 0;
}

static bool
refuse_value(const struct catalog_column *target, size_t column, struct slice text,
             const char *expected, struct catalog_fault *ret_fault)
{
    *ret_fault = (struct catalog_fault){
        .code = ERR_INVALID, .column = (int)column, .field = target->name, .value = text};
    snprintf(ret_fault->expected, sizeof(ret_fault->expected), "%s", expected);
    return false;
}

static bool
set_value(struct gathering *gathering, size_t column, size_t row, struct slice text,
          struct catalog_fault *ret_fault)
{
    const struct plan *plan = &gathering->result->plan;
    const struct catalog_column *target = &plan->table->columns[column];
    int64_t us;

    if (target->type != COL_TIMESTAMP) {
        text = target->type == COL_TEXT || target->type == COL_JSON ? text : slice_trim(text);
        if (!catalog_set_text(&gathering->batch, column, row, text, TIME_PRECISION_DEFAULT,
                              ret_fault)) {
            return false;
        }
        /* JSON has no infinity: it would arrive as a missing value. */
        if (target->type == COL_DOUBLE &&
            !isfinite(batch_get_f64(&gathering->batch, column, row))) {
            return refuse_value(target, column, text, "a finite number", ret_fault);
        }
        return true;
    }
    if (!import_date_read(&plan->date, text, &us)) {
        char expected[CATALOG_EXPECTED_MAX];
        snprintf(expected, sizeof(expected), "a time as %s", import_date_name(&plan->date));
        return refuse_value(target, column, text, expected, ret_fault);
    }
    batch_set_i64(&gathering->batch, column, row, us);
    return true;
}

/* Fills row `row` of the batch from the file's row; false with the fault. */
static bool
convert(struct gathering *gathering, const struct import_row *from, size_t row,
        struct catalog_fault *ret_fault)
{
    const struct plan *plan = &gathering->result->plan;
    const struct catalog_table *table = plan->table;

    for (size_t i = 0; i < table->column_count; i++) {
        if (plan->columns[i].is_constant) {
            if (!set_value(gathering, i, row, plan->columns[i].constant, ret_fault)) {
                return false;
            }
        } else if (plan->columns[i].source != PLAN_NONE) {
            const struct import_cell *cell = &from->cells[plan->columns[i].source];
            gathering->bytes += cell->text.len + strlen(table->columns[i].name) + 6;
            if (!is_missing(cell, table->columns[i].type) &&
                !set_value(gathering, i, row, cell->text, ret_fault)) {
                return false;
            }
        }
        /* An invented time or key would be another one at the next import. */
        if (plan_is_required(table, i) && batch_is_null(&gathering->batch, i, row)) {
            return refuse_value(&table->columns[i], i, SLICE_LITERAL(""),
                                catalog_type_expected(table->columns[i].type), ret_fault);
        }
    }
    return catalog_fill_missing(&gathering->batch, row, 0, ret_fault);
}

static enum err_code
flush(struct gathering *gathering, struct err *err)
{
    struct import_result *result = gathering->result;
    struct buf body BUF_AUTO = {0};
    enum err_code code = ERR_OK;

    if (gathering->batch.rows > 0) {
        buf_init(&body, 0);
        batch_ndjson(&body, &gathering->batch);
        struct import_write write = {
            .body = buf_slice(&body),
            .format = INGEST_JSON,
            .count = gathering->batch.rows,
            .rows = gathering->rows,
        };
        code = import_write(gathering->job, &write, result, err);
    }
    batch_reset(&gathering->batch);
    source_release(gathering->source);
    gathering->bytes = 0;
    return code;
}

static enum err_code
refuse_row(struct gathering *gathering, uint64_t number, struct err *err)
{
    gathering->result->rows_rejected++;
    if (gathering->job->options.skip_bad_rows || gathering->job->options.dry_run) {
        return ERR_OK;
    }
    return err_set(err, ERR_INVALID,
                   "%s: row %" PRIu64 " is wrong; mend it and import the file again (nothing is "
                   "doubled), or leave such rows out with --on-error skip",
                   gathering->result->name, number);
}

static enum err_code
take_row(struct gathering *gathering, const struct import_row *from, struct err *err)
{
    struct catalog_fault fault;
    size_t row = batch_add_row(&gathering->batch);

    if (!convert(gathering, from, row, &fault)) {
        batch_drop_row(&gathering->batch);
        import_note_error(gathering->result, from->number, slice_of(fault.field), fault.value,
                          fault.expected);
        return refuse_row(gathering, from->number, err);
    }
    gathering->rows[row] = from->number;
    return ERR_OK;
}

static enum err_code
read_rows(struct gathering *gathering, struct progress *progress, struct err *err)
{
    size_t batch_rows = import_batch_rows(gathering->job, gathering->result);
    struct import_row row;
    bool more = true;

    for (;;) {
        struct err row_err = {0};
        enum err_code code = source_next(gathering->source, &row, &more, &row_err);
        if (code == ERR_SYNTAX) {
            gathering->result->rows_read++;
            import_note_message(gathering->result, row.number, row_err.msg);
            code = refuse_row(gathering, row.number, err);
        } else if (code != ERR_OK) {
            *err = row_err;
        } else if (!more) {
            return flush(gathering, err);
        } else {
            gathering->result->rows_read++;
            code = take_row(gathering, &row, err);
        }
        if (code == ERR_OK &&
            (gathering->batch.rows == batch_rows || gathering->bytes > IMPORT_BATCH_BYTES)) {
            code = flush(gathering, err);
        }
        if (code != ERR_OK) {
            return code;
        }
        progress_update(progress, source_progress(gathering->source), gathering->result->rows_read);
    }
}

/* Looks at the first values of the time column. */
static enum err_code
guess_date(struct import_source *source, struct import_result *result, struct err *err)
{
    struct plan *plan = &result->plan;
    int column = plan->table->time_column;
    struct slice samples[SAMPLES_MAX];
    size_t count = 0;
    struct import_row row;
    struct err row_err = {0};
    bool more = true;

    plan->date = (struct import_date){.kind = DATE_ISO};
    if (column == CATALOG_NONE || plan->columns[column].source == PLAN_NONE) {
        return ERR_OK;
    }
    while (count < SAMPLES_MAX && more) {
        enum err_code code = source_next(source, &row, &more, &row_err);
        if (code == ERR_OK && more) {
            const struct import_cell *cell = &row.cells[plan->columns[column].source];
            if (!is_missing(cell, COL_TIMESTAMP)) {
                samples[count++] = slice_trim(cell->text);
            }
        } else if (code != ERR_OK && code != ERR_SYNTAX) {
            *err = row_err;
            return code;
        }
    }
    /* A column without any value has no format; its rows will be refused one by one. */
    enum err_code code = count ? import_date_guess(samples, count, &plan->date, err) : ERR_OK;
    if (code != ERR_OK) {
        err_context(err, code, "%s: column %s", result->name,
                    result->sources[plan->columns[column].source]);
        char message[ERR_MSG_MAX];
        snprintf(message, sizeof(message), "%.400s", err->msg);
        return err_set(err, ERR_USAGE, "%s; say which with --date-format", message);
    }
    return source_rewind(source, err);
}

enum err_code
import_columns(struct import_job *job, struct import_source *source,
               const struct plan_wishes *wishes, struct import_result *result, struct err *err)
{
    size_t count = source_column_count(source);
    struct progress progress;
    enum err_code code = plan_make(wishes, source_columns(source), count, &result->plan, err);

    if (code != ERR_OK) {
        return code;
    }
    result->table = result->plan.table;
    result->has_plan = true;
    result->source_count = count;
    result->sources = mem_zalloc(count + 1, sizeof(*result->sources));
    for (size_t i = 0; i < count; i++) {
        result->sources[i] = mem_strdup(slice_of(source_columns(source)[i]));
    }
    if (!wishes->has_date) {
        code = guess_date(source, result, err);
    }
    if (code != ERR_OK) {
        return code;
    }
    import_show_plan(job, result);
    struct gathering gathering = {.job = job, .source = source, .result = result};
    batch_init(&gathering.batch, result->table, TEXT_BYTES_MAX);
    gathering.rows = mem_zalloc(import_batch_rows(job, result), sizeof(*gathering.rows));
    progress_start(&progress, job->cli, result->name);
    code = read_rows(&gathering, &progress, err);
    progress_end(&progress);
    result->seconds = progress_seconds(&progress);
    free(gathering.rows);
    batch_fini(&gathering.batch);
    return code;
}
