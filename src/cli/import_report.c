/* What an import says: the mapping it will use, what came of it, and both as JSON. */
#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "cli/import_job.h"
#include "codec/json_write.h"

struct import_result *
import_result_add(struct import_job *job, const char *file, const char *table)
{
    struct buf name;

    job->results = mem_resize(job->results, job->result_count + 1, sizeof(*job->results));
    struct import_result *result = &job->results[job->result_count++];
    memset(result, 0, sizeof(*result));
    buf_init(&name, 0);
    buf_add_fmt(&name, "%s%s%s", strcmp(file, "-") == 0 ? "standard input" : file, table ? ":" : "",
                table ? table : "");
    buf_add_char(&name, '\0');
    result->name = buf_take(&name, &(size_t){0});
    return result;
}

void
import_results_fini(struct import_job *job)
{
    for (size_t i = 0; i < job->result_count; i++) {
        struct import_result *result = &job->results[i];
        for (size_t j = 0; j < result->source_count; j++) {
            free(result->sources[j]);
        }
        free(result->sources);
        free(result->name);
    }
    free(job->results);
    job->results = NULL;
    job->result_count = 0;
}

void
import_note_error(struct import_result *result, uint64_t row, struct slice field,
                  struct slice value, const char *expected)
{
    if (result->error_count == IMPORT_ERRORS_MAX) {
        return;
    }
    struct import_error *error = &result->errors[result->error_count++];
    error->row = row;
    slice_to_cstr(slice_sub(field, 0, sizeof(error->field) - 1), error->field,
                  sizeof(error->field));
    slice_to_cstr(slice_sub(value, 0, sizeof(error->value) - 1), error->value,
                  sizeof(error->value));
    snprintf(error->expected, sizeof(error->expected), "%s", expected);
    error->is_message = false;
}

void
import_note_message(struct import_result *result, uint64_t row, const char *message)
{
    size_t at = result->error_count;

    import_note_error(result, row, SLICE_LITERAL(""), SLICE_LITERAL(""), message);
    if (result->error_count > at) {
        result->errors[at].is_message = true;
    }
}

static const char *
table_name(const struct import_result *result)
{
    return result->table ? result->table->name : "metrics";
}

void
import_show_plan(const struct import_job *job, struct import_result *result)
{
    FILE *out = job->cli->err;
    const struct plan *plan = &result->plan;

    result->begun = true;
    if (job->options.json) {
        return;
    }
    fprintf(out, "%s -> %s%s\n", result->name, table_name(result),
            result->has_plan && plan->table_guessed ? " (guessed; --table says otherwise)" : "");
    if (!result->has_plan) {
        return;
    }
    for (size_t i = 0; i < plan->table->column_count; i++) {
        const char *column = plan->table->columns[i].name;
        if (plan->columns[i].is_constant) {
            fprintf(out, "  %-18s <- \"%.*s\" (--set)\n", column,
                    SLICE_FMT(plan->columns[i].constant));
        } else if (plan->columns[i].source != PLAN_NONE) {
            bool is_time = plan->table->columns[i].type == COL_TIMESTAMP;
            fprintf(out, "  %-18s <- %s%s%s%s\n", column, result->sources[plan->columns[i].source],
                    is_time ? " (" : "", is_time ? import_date_name(&plan->date) : "",
                    is_time ? ")" : "");
        }
    }
    bool first = true;
    for (size_t i = 0; i < result->source_count; i++) {
        if (!plan_uses(plan, i)) {
            fprintf(out, "%s%s", first ? "  ignored: " : ", ", result->sources[i]);
            first = false;
        }
    }
    fputs(first ? "" : "\n", out);
}

static void
show_error(const struct import_job *job, const struct import_result *result,
           const struct import_error *error)
{
    FILE *out = job->cli->err;

    fprintf(out, "eider: %s row %" PRIu64 ": ", result->name, error->row);
    if (error->is_message) {
        fprintf(out, "%s\n", error->expected);
    } else if (error->field[0]) {
        fprintf(out, "%s is \"%s\"; expected %s\n", error->field, error->value, error->expected);
    } else if (error->value[0]) {
        fprintf(out, "\"%s\"; expected %s\n", error->value, error->expected);
    } else {
        fprintf(out, "expected %s\n", error->expected);
    }
}

static double
rate(const struct import_result *result)
{
    return result->seconds > 0 ? (double)result->rows_read / result->seconds : 0;
}

void
import_show_result(const struct import_job *job, const struct import_result *result)
{
    const char *verb = job->options.dry_run ? "would be written" : "written";

    if (job->options.json || !result->begun) {
        return;
    }
    fflush(job->cli->out);
    for (size_t i = 0; i < result->error_count; i++) {
        show_error(job, result, &result->errors[i]);
    }
    if (result->rows_rejected > result->error_count) {
        fprintf(job->cli->err, "eider: %s: %" PRIu64 "%s rows were rejected\n", result->name,
                result->rows_rejected - result->error_count, result->error_count ? " more" : "");
    }
    fprintf(job->cli->out, "%s -> %s: %" PRIu64 " rows read, %" PRIu64 " %s", result->name,
            table_name(result), result->rows_read, result->rows_written, verb);
    if (result->rows_replayed) {
        fprintf(job->cli->out, " (%" PRIu64 " were there already)", result->rows_replayed);
    }
    fprintf(job->cli->out, ", %" PRIu64 " rejected in %.2f s (%.0f rows/s)\n",
            result->rows_rejected, result->seconds, rate(result));
    fflush(job->cli->out);
}

static void
add_plan(struct json_writer *json, const struct import_result *result)
{
    const struct plan *plan = &result->plan;

    json_key(json, "table_guessed");
    json_bool(json, plan->table_guessed);
    json_key(json, "date_format");
    json_cstr(json, import_date_name(&plan->date));
    json_key(json, "columns");
    json_object_begin(json);
    for (size_t i = 0; i < plan->table->column_count; i++) {
        if (plan->columns[i].is_constant || plan->columns[i].source != PLAN_NONE) {
            json_key(json, plan->table->columns[i].name);
            json_object_begin(json);
            json_key(json, plan->columns[i].is_constant ? "value" : "source");
            if (plan->columns[i].is_constant) {
                json_str(json, plan->columns[i].constant);
            } else {
                json_cstr(json, result->sources[plan->columns[i].source]);
            }
            json_object_end(json);
        }
    }
    json_object_end(json);
    json_key(json, "ignored");
    json_array_begin(json);
    for (size_t i = 0; i < result->source_count; i++) {
        if (!plan_uses(plan, i)) {
            json_cstr(json, result->sources[i]);
        }
    }
    json_array_end(json);
}

static void
add_errors(struct json_writer *json, const struct import_result *result)
{
    json_key(json, "errors");
    json_array_begin(json);
    for (size_t i = 0; i < result->error_count; i++) {
        const struct import_error *error = &result->errors[i];
        json_object_begin(json);
        json_key(json, "row");
        json_u64(json, error->row);
        json_key(json, "field");
        json_cstr(json, error->field);
        json_key(json, "value");
        json_cstr(json, error->value);
        json_key(json, "expected");
        json_cstr(json, error->expected);
        json_object_end(json);
    }
    json_array_end(json);
}

static void
add_result(struct json_writer *json, const struct import_result *result)
{
    json_object_begin(json);
    json_key(json, "file");
    json_cstr(json, result->name);
    json_key(json, "table");
    json_cstr(json, table_name(result));
    if (result->has_plan) {
        add_plan(json, result);
    }
    json_key(json, "rows_read");
    json_u64(json, result->rows_read);
    json_key(json, "rows_written");
    json_u64(json, result->rows_written);
    json_key(json, "rows_replayed");
    json_u64(json, result->rows_replayed);
    json_key(json, "rows_rejected");
    json_u64(json, result->rows_rejected);
    json_key(json, "seconds");
    json_f64(json, result->seconds);
    json_key(json, "rows_per_second");
    json_f64(json, rate(result));
    add_errors(json, result);
    json_object_end(json);
}

enum err_code
import_show_json(const struct import_job *job, struct err *err)
{
    struct json_writer json;
    struct buf text BUF_AUTO = {0};

    if (!job->options.json) {
        return ERR_OK;
    }
    buf_init(&text, 0);
    json_init(&json, &text);
    json_object_begin(&json);
    json_key(&json, "dry_run");
    json_bool(&json, job->options.dry_run);
    json_key(&json, "files");
    json_array_begin(&json);
    for (size_t i = 0; i < job->result_count; i++) {
        if (job->results[i].begun) {
            add_result(&json, &job->results[i]);
        }
    }
    json_array_end(&json);
    json_object_end(&json);
    buf_add_char(&text, '\n');
    return cli_write(job->cli, &text, err);
}
