/* eider import: files, their formats, and the batches they become. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "base/mem.h"
#include "cli/import_job.h"
#include "store/duckdb/duckdb_reader.h"

static enum err_code
parse_format(const char *name, enum import_format *ret_format, struct err *err)
{
    static const struct {
        const char *name; /* of --format, and of files that end so */
        enum import_format format;
    } formats[] = {
        {"csv", IMPORT_CSV},         {"tsv", IMPORT_CSV},       {"txt", IMPORT_CSV},
        {"parquet", IMPORT_PARQUET}, {"ndjson", IMPORT_NDJSON}, {"jsonl", IMPORT_NDJSON},
        {"line", IMPORT_LINE},       {"lp", IMPORT_LINE},       {"influx", IMPORT_LINE},
        {"duckdb", IMPORT_DUCKDB},   {"db", IMPORT_DUCKDB},
    };

    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        if (strcasecmp(formats[i].name, name) == 0) {
            *ret_format = formats[i].format;
            return ERR_OK;
        }
    }
    return err_set(err, ERR_USAGE, "no format is known by the name");
}

static enum err_code
format_of(const struct import_job *job, const char *path, enum import_format *ret_format,
          struct err *err)
{
    const char *slash = strrchr(path, '/');
    const char *dot = strrchr(slash ? slash : path, '.');
    struct stat info;

    if (job->options.has_format) {
        *ret_format = job->options.format;
        return ERR_OK;
    }
    if (!dot || parse_format(dot + 1, ret_format, err) != ERR_OK) {
        /* A name that was mistyped is told as that, not as a question of its format. */
        if (strcmp(path, "-") != 0 && stat(path, &info) != 0) {
            return err_sys(err, errno, "cannot read %s", path);
        }
        return err_set(err, ERR_USAGE,
                       "import: the name %s does not tell its format; expected --format csv, "
                       "parquet, ndjson, line or duckdb",
                       path);
    }
    return ERR_OK;
}

static bool
is_append_only(const struct import_result *result)
{
    return !result->table || result->table->kind != TABLE_REPLACE;
}

size_t
import_batch_rows(const struct import_job *job, const struct import_result *result)
{
    return is_append_only(result) ? (size_t)IMPORT_BATCH_ROWS : (size_t)job->options.batch_rows;
}

/*
 * Batches of tables without a key carry an idempotency key made of their bytes and their place
 * among the batches, so that importing a file again adds nothing.
 */
static const char *
make_key(struct import_job *job, const struct import_write *write,
         const struct import_result *result, char ret_key[IMPORT_KEY_MAX])
{
    if (!is_append_only(result)) {
        return NULL;
    }
    XXH128_hash_t hash = XXH3_128bits(write->body.ptr, write->body.len);
    snprintf(ret_key, IMPORT_KEY_MAX, "import-%016" PRIx64 "%016" PRIx64 "-%" PRIu64, hash.high64,
             hash.low64, ++job->batches);
    return ret_key;
}

enum err_code
import_write(struct import_job *job, const struct import_write *write, struct import_result *result,
             struct err *err)
{
    struct sink_answer answer;
    char key[IMPORT_KEY_MAX];
    struct sink_request request = {
        .table = result->table,
        .format = write->format,
        .precision = job->options.precision,
        .body = write->body,
        .skip_bad_rows = job->options.skip_bad_rows,
        .idempotency_key = make_key(job, write, result, key),
    };

    if (job->options.dry_run) {
        result->rows_written += write->count;
        return ERR_OK;
    }
    enum err_code code = sink_write(job->target, &request, &answer, err);
    if (code == ERR_CONFLICT && request.idempotency_key) {
        /* The key is taken by the same rows sent with the other --on-error: what was answered
         * then holds. Nothing can be written under a key that is taken. */
        request.skip_bad_rows = !request.skip_bad_rows;
        code = sink_write(job->target, &request, &answer, err);
    }
    if (code != ERR_OK) {
        return err_context(err, code, "%s", result->name);
    }
    for (size_t i = 0; i < answer.error_count; i++) {
        const struct sink_error *error = &answer.errors[i];
        bool known = write->rows && error->row < write->count;
        uint64_t row = known ? write->rows[error->row] : write->first_row + error->row;
        import_note_error(result, row, slice_of(error->field), slice_of(error->value),
                          error->expected);
    }
    result->rows_rejected += answer.rejected;
    if (answer.refused) {
        return err_set(err, ERR_INVALID,
                       "%s: a batch of %" PRIu64 " rows has wrong ones and was not written; mend "
                       "them and import the file again (nothing is doubled), or leave them out "
                       "with --on-error skip",
                       result->name, write->count);
    }
    uint64_t written = write->count > answer.rejected ? write->count - answer.rejected : 0;
    result->rows_written += written;
    result->rows_replayed += answer.replayed ? written : 0;
    return ERR_OK;
}

static enum err_code
import_source_of(struct import_job *job, struct import_source *source,
                 const struct plan_wishes *wishes, struct import_result *result, struct err *err)
{
    enum err_code code = import_columns(job, source, wishes, result, err);

    source_close(source);
    import_show_result(job, result);
    return code;
}

static enum err_code
import_text(struct import_job *job, const char *path, enum import_format format, struct err *err)
{
    struct import_bytes bytes;
    struct import_source *source;
    enum err_code code = import_bytes_open(path, &bytes, err);

    if (code != ERR_OK) {
        return code;
    }
    struct import_result *result = import_result_add(job, path, NULL);
    job->batches = 0;
    if (format == IMPORT_CSV) {
        code = source_open_csv(bytes.text, job->options.delimiter, &source, err);
        if (code == ERR_OK) {
            code = import_source_of(job, source, &job->wishes, result, err);
        } else {
            err_context(err, code, "%s", result->name);
        }
    } else {
        code = import_lines(job, bytes.text, format, result, err);
        import_show_result(job, result);
    }
    import_bytes_close(&bytes);
    return code;
}

static enum err_code
import_table(struct import_job *job, const char *path, enum import_format format, const char *table,
             const struct plan_wishes *wishes, struct err *err)
{
    struct import_source *source;
    bool is_parquet = format == IMPORT_PARQUET;
    enum err_code code = source_open_duckdb(path, format, table, &source, err);

    if (code != ERR_OK) {
        return code;
    }
    job->batches = 0;
    struct import_result *result = import_result_add(job, path, is_parquet ? NULL : table);
    return import_source_of(job, source, wishes, result, err);
}

/* Whether a table of the database is to be read, and into which of ours. */
static bool
wants_table(const struct import_job *job, const char *name, struct plan_wishes *ret_wishes)
{
    const struct catalog_table *same = catalog_find(slice_of(name));

    *ret_wishes = job->wishes;
    if (job->options.source_table) {
        return strcmp(name, job->options.source_table) == 0;
    }
    if (!same || !same->ingestible || (job->wishes.table && job->wishes.table != same)) {
        return false;
    }
    ret_wishes->table = same;
    return true;
}

/* Every table with the name of one of ours; the names are copied, since each is read by a
 * connection of its own. */
static enum err_code
import_database(struct import_job *job, const char *path, struct err *err)
{
    struct duckdb_reader *reader;
    enum err_code code = duckdb_reader_open(path, DUCKDB_FILE_DATABASE, &reader, err);
    const char *name;
    struct buf ignored BUF_AUTO = {0};
    size_t count = 0;

    if (code != ERR_OK) {
        return code;
    }
    buf_init(&ignored, 0);
    for (size_t i = 0; code == ERR_OK && (name = duckdb_reader_table(reader, i)); i++) {
        struct plan_wishes wishes;
        if (!wants_table(job, name, &wishes)) {
            buf_add_fmt(&ignored, "%s%s", ignored.len ? ", " : "", name);
            continue;
        }
        code = import_table(job, path, IMPORT_DUCKDB, name, &wishes, err);
        count++;
    }
    duckdb_reader_close(reader);
    if (code == ERR_OK && count == 0) {
        return err_set(err, ERR_USAGE,
                       "import: %s has no table that fits%s%.*s; say which with --source-table and "
                       "--table",
                       path, ignored.len ? "; it has " : "",
                       SLICE_FMT(slice_sub(buf_slice(&ignored), 0, 200)));
    }
    if (code == ERR_OK && ignored.len && !job->options.json) {
        cli_note(job->cli, "%s: left alone: %.*s", path, SLICE_FMT(buf_slice(&ignored)));
    }
    return code;
}

static enum err_code
import_file(struct import_job *job, const char *path, struct err *err)
{
    enum import_format format = IMPORT_CSV;
    enum err_code code = format_of(job, path, &format, err);

    if (code != ERR_OK) {
        return code;
    }
    if (format == IMPORT_DUCKDB) {
        return import_database(job, path, err);
    }
    if (format == IMPORT_PARQUET) {
        return import_table(job, path, format, "parquet", &job->wishes, err);
    }
    return import_text(job, path, format, err);
}

static enum err_code
read_delimiter(const struct cli *cli, char *ret_delimiter, struct err *err)
{
    const char *text = cli_value(cli, "delimiter");

    *ret_delimiter = '\0';
    if (!text) {
        return ERR_OK;
    }
    if (strcmp(text, "\\t") == 0 || strcmp(text, "tab") == 0) {
        *ret_delimiter = '\t';
    } else if (strlen(text) == 1 && *text != '"' && *text != '\n' && *text != '\r') {
        *ret_delimiter = *text;
    } else {
        return err_set(err, ERR_USAGE,
                       "import: --delimiter is \"%.40s\"; expected one character, or tab", text);
    }
    return ERR_OK;
}

static enum err_code
read_options(const struct cli *cli, struct import_options *ret_options, struct err *err)
{
    static const char *const units[] = {"ns", "us", "ms", "s"};
    const char *format = cli_value(cli, "format");
    const char *on_error = cli_value(cli, "on-error");
    const char *precision = cli_value(cli, "precision");
    struct import_options *options = ret_options;

    *options = (struct import_options){
        .has_format = format != NULL,
        .skip_bad_rows = on_error && strcmp(on_error, "skip") == 0,
        .dry_run = cli_has(cli, "dry-run"),
        .json = cli_has(cli, "json"),
        .source_table = cli_value(cli, "source-table"),
    };
    for (size_t i = 0; precision && i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(precision, units[i]) == 0) {
            options->precision = (enum ingest_precision)((size_t)PRECISION_NS + i);
        }
    }
    if (cli->arg_count == 0) {
        return err_set(err, ERR_USAGE, "import: which file? see `eider import --help`");
    }
    enum err_code code = read_delimiter(cli, &options->delimiter, err);
    if (code == ERR_OK) {
        code = cli_number(cli, "batch", 1, 1000000, IMPORT_BATCH_ROWS, &options->batch_rows, err);
    }
    if (code == ERR_OK && format) {
        code = parse_format(format, &options->format, err);
    }
    return code;
}

static enum err_code
import_all(struct import_job *job, struct err *err)
{
    enum err_code code = ERR_OK;

    for (size_t i = 0; code == ERR_OK && i < job->cli->arg_count; i++) {
        code = import_file(job, job->cli->args[i], err);
    }
    if (code == ERR_OK && job->target) {
        code = sink_finish(job->target, err);
    }
    return code;
}

int
cli_import(struct cli *cli)
{
    struct import_job job = {.cli = cli};
    struct config config CONFIG_AUTO = {0};
    struct target target = {0};
    struct err err = {0};
    struct err report_err = {0};
    enum err_code code = read_options(cli, &job.options, &err);

    if (code == ERR_OK) {
        code = plan_read_wishes(cli, &job.wishes, &err);
    }
    if (code == ERR_OK) {
        code = cli_load_config(cli, false, &config, &err);
    }
    if (code == ERR_OK && !job.options.dry_run) {
        code = target_open(cli, &config, TARGET_WRITE, &target, &err);
        job.target = &target;
    }
    if (code == ERR_OK) {
        job.config = &config;
        code = import_all(&job, &err);
    }
    target_close(&target);
    int status = code == ERR_OK ? CLI_OK : cli_fail(cli, &err);
    for (size_t i = 0; i < job.result_count && status == CLI_OK; i++) {
        bool failed = job.results[i].rows_rejected > 0 && !job.options.skip_bad_rows;
        status = failed ? CLI_FAILED : CLI_OK;
    }
    if (job.result_count && import_show_json(&job, &report_err) != ERR_OK) {
        status = cli_fail(cli, &report_err);
    }
    import_results_fini(&job);
    return status;
}
