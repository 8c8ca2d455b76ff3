/* Lines that are rows by themselves are sent as they stand, batch by batch. */
#include <inttypes.h>
#include <string.h>

#include "catalog/validate.h"
#include "cli/import_job.h"
#include "codec/json_read.h"
#include "codec/line_protocol.h"

enum { ARENA_BYTES_MAX = 64 << 20, KEYS_MAX = 64 };

/* A run of whole lines. */
struct run {
    struct slice text;
    uint64_t first_line; /* 1-based */
    uint64_t lines;
    uint64_t rows; /* lines that are neither empty nor comments */
};

static bool
is_row(struct slice line, enum import_format format)
{
    line = slice_trim(line);
    return line.len > 0 && !(format == IMPORT_LINE && line.ptr[0] == '#');
}

/* Cuts the next run off the front of *rest. */
static bool
next_run(struct slice *rest, enum import_format format, uint64_t rows_max, struct run *run)
{
    const char *start = rest->ptr;

    run->first_line += run->lines;
    run->lines = 0;
    run->rows = 0;
    while (rest->len > 0 && run->rows < rows_max &&
           (size_t)(rest->ptr - start) < IMPORT_BATCH_BYTES) {
        struct slice line;
        slice_split(rest, '\n', &line);
        run->lines++;
        run->rows += is_row(line, format);
    }
    run->text = slice_make(start, (size_t)(rest->ptr - start));
    return run->lines > 0;
}

/* ---- dry run: the checks that the writing side would make ---- */

static bool
check_object(const struct import_result *result, enum time_precision precision,
             struct json_reader *json, struct batch *batch, struct catalog_fault *ret_fault)
{
    const struct catalog_table *table = result->table;
    struct scalar value;
    struct slice key;

    memset(ret_fault, 0, sizeof(*ret_fault));
    if (!json_read_value(json, &value) || value.type != SCALAR_OBJECT) {
        snprintf(ret_fault->expected, sizeof(ret_fault->expected), "one JSON object a line");
        return false;
    }
    size_t row = batch_add_row(batch);
    while (json_read_key(json, &key)) {
        if (!json_read_value(json, &value) ||
            (value.type >= SCALAR_OBJECT && !json_read_rest(json, &value))) {
            break;
        }
        int column = catalog_column_index(table, key);
        if (column == CATALOG_NONE) {
            ret_fault->value = key;
            snprintf(ret_fault->expected, sizeof(ret_fault->expected), "a column of %s",
                     table->name);
            return false;
        }
        if (!catalog_set(batch, (size_t)column, row, &value, precision, ret_fault)) {
            return false;
        }
    }
    if (!json_read_end(json)) {
        struct err err = {0};
        json_read_error(json, &err);
        snprintf(ret_fault->expected, sizeof(ret_fault->expected), "%.150s", err.msg);
        return false;
    }
    return catalog_fill_missing(batch, row, 0, ret_fault);
}

static void
check_json(const struct import_job *job, const struct run *run, struct import_result *result)
{
    struct arena arena ARENA_AUTO = {0};
    struct batch batch BATCH_AUTO;
    struct slice rest = run->text;
    uint64_t number = run->first_line;

    arena_init(&arena, ARENA_BYTES_MAX);
    batch_init(&batch, result->table, ARENA_BYTES_MAX);
    for (; rest.len > 0; number++) {
        struct catalog_fault fault;
        struct json_reader json;
        struct slice line;
        slice_split(&rest, '\n', &line);
        if (!is_row(line, IMPORT_NDJSON)) {
            continue;
        }
        json_read_init(&json, line, &arena);
        if (!check_object(result, (enum time_precision)job->options.precision, &json, &batch,
                          &fault)) {
            import_note_error(result, number, slice_of(fault.field), fault.value, fault.expected);
            result->rows_rejected++;
        } else {
            result->rows_written++;
        }
        batch_reset(&batch);
        arena_reset(&arena);
    }
}

static void
check_points(const struct run *run, struct import_result *result)
{
    struct line_reader reader;
    struct line_point point;
    enum line_result got;

    line_init(&reader, run->text);
    while ((got = line_next(&reader, &point)) != LINE_END) {
        if (got == LINE_POINT) {
            result->rows_written++;
            continue;
        }
        import_note_error(result, run->first_line + reader.error_line - 1, SLICE_LITERAL(""),
                          reader.error_text, reader.expected);
        result->rows_rejected++;
    }
    line_fini(&reader);
}

/* ---- which table ---- */

/* The keys of the first object tell the table as the header of CSV does. */
static enum err_code
guess_table(const struct import_job *job, struct slice text, struct import_result *result,
            struct err *err)
{
    struct arena arena ARENA_AUTO = {0};
    struct json_reader json;
    struct scalar value;
    struct slice line = {0};
    struct slice key;
    const char *keys[KEYS_MAX];
    size_t count = 0;
    struct plan plan;

    while (text.len > 0 && !is_row(line, IMPORT_NDJSON)) {
        slice_split(&text, '\n', &line);
    }
    arena_init(&arena, ARENA_BYTES_MAX);
    json_read_init(&json, line, &arena);
    if (!json_read_value(&json, &value) || value.type != SCALAR_OBJECT) {
        return err_set(err, ERR_SYNTAX, "%s: expected one JSON object a line%s", result->name,
                       value.type == SCALAR_ARRAY ? ", not an array" : "");
    }
    while (count < KEYS_MAX && json_read_key(&json, &key)) {
        keys[count++] = arena_dup(&arena, key).ptr;
        if (!json_read_value(&json, &value) ||
            (value.type >= SCALAR_OBJECT && !json_read_rest(&json, &value))) {
            break;
        }
    }
    enum err_code code = plan_make(&job->wishes, keys, count, &plan, err);
    if (code == ERR_OK) {
        result->table = plan.table;
    }
    return code;
}

enum err_code
import_lines(struct import_job *job, struct slice text, enum import_format format,
             struct import_result *result, struct err *err)
{
    struct run run = {.first_line = 1};
    struct progress progress;
    struct slice rest = text;
    enum err_code code = ERR_OK;

    if (job->wishes.map_count || job->wishes.set_count || job->wishes.has_date) {
        return err_set(err, ERR_USAGE,
                       "import: --map, --set and --date-format work with csv, parquet and duckdb; "
                       "%s rows carry their own names",
                       format == IMPORT_LINE ? "line protocol" : "NDJSON");
    }
    if (format == IMPORT_NDJSON) {
        result->table = job->wishes.table;
        code = result->table ? ERR_OK : guess_table(job, text, result, err);
        if (code != ERR_OK) {
            return code;
        }
    }
    import_show_plan(job, result);
    progress_start(&progress, job->cli, result->name);
    while (code == ERR_OK && next_run(&rest, format, (uint64_t)job->options.batch_rows, &run)) {
        struct import_write write = {
            .body = run.text,
            .format = format == IMPORT_LINE ? INGEST_LINE : INGEST_JSON,
            .count = run.rows,
            .first_row = run.first_line,
        };
        result->rows_read += run.rows;
        if (run.rows == 0) {
            continue;
        }
        if (!job->options.dry_run) {
            code = import_write(job, &write, result, err);
        } else if (format == IMPORT_LINE) {
            check_points(&run, result);
        } else {
            check_json(job, &run, result);
        }
        progress_update(&progress, 1 - (double)rest.len / (double)text.len, result->rows_read);
    }
    progress_end(&progress);
    result->seconds = progress_seconds(&progress);
    return code;
}
