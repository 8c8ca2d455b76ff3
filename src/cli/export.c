/*
 * eider export: rows in order of time, page by page. The next page starts at the last timestamp of
 * the one before and skips as many rows as had that timestamp, which needs no key and no snapshot,
 * and stays within one page of memory.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "cli/rows.h"
#include "cli/target.h"
#include "codec/time.h"
#include "store/duckdb/duckdb_reader.h"

enum { PAGE_ROWS = 20000 };

struct export_job {
    struct cli *cli;
    struct config config;
    const struct catalog_table *table; /* NULL: --sql */
    const char *sql;
    const char *output; /* NULL: standard output */
    bool parquet;
    enum rows_format format;
    const char *symbol;
    bool has_from;
    bool has_to;
    int64_t from_us;
    int64_t to_us;
};

/* Where the next page starts. */
struct page {
    bool has_from;
    int64_t from_us;
    uint64_t offset; /* rows with the timestamp from_us that were given already */
    uint64_t limit;
};

static void
add_text_literal(struct buf *sql, const char *text)
{
    buf_add_char(sql, '\'');
    for (; *text; text++) {
        buf_add_cstr(sql, *text == '\'' ? "'" : "");
        buf_add_char(sql, *text);
    }
    buf_add_char(sql, '\'');
}

static void
add_bound(struct buf *sql, bool *first, const char *column, const char *op, int64_t us)
{
    char text[TIME_TEXT_MAX];

    time_format_iso8601(us, text);
    buf_add_fmt(sql, "%s \"%s\" %s TIMESTAMP '%s'", *first ? " WHERE" : " AND", column, op, text);
    *first = false;
}

/* SELECT of the job's table from `page` on; limit 0: all. */
static void
make_select(const struct export_job *job, const struct page *page, struct buf *ret_sql)
{
    const struct catalog_table *table = job->table;
    const char *time = table->columns[table->time_column].name;
    bool first = true;

    buf_add_cstr(ret_sql, "SELECT ");
    for (size_t i = 0; i < table->column_count; i++) {
        buf_add_fmt(ret_sql, "%s\"%s\"", i ? ", " : "", table->columns[i].name);
    }
    buf_add_fmt(ret_sql, " FROM %s", table->name);
    if (page->has_from) {
        add_bound(ret_sql, &first, time, ">=", page->from_us);
    }
    if (job->has_to) {
        add_bound(ret_sql, &first, time, "<=", job->to_us);
    }
    if (job->symbol) {
        buf_add_fmt(ret_sql, "%s symbol = ", first ? " WHERE" : " AND");
        add_text_literal(ret_sql, job->symbol);
    }
    /* Rows of one timestamp need an order of their own, or an offset among them means nothing. */
    buf_add_fmt(ret_sql, " ORDER BY \"%s\"", time);
    for (size_t i = 0; i < table->column_count; i++) {
        bool in_key = table->key_mask == 0 || (table->key_mask >> i & 1);
        if (in_key && (int)i != table->time_column) {
            buf_add_fmt(ret_sql, ", \"%s\"", table->columns[i].name);
        }
    }
    if (page->limit) {
        buf_add_fmt(ret_sql, " LIMIT %" PRIu64 " OFFSET %" PRIu64, page->limit, page->offset);
    }
}

/* Moves the page behind `rows`, which it gave. */
static void
turn_page(const struct export_job *job, const struct batch *rows, struct page *page)
{
    size_t time = (size_t)job->table->time_column;
    int64_t last_us = batch_get_i64(rows, time, rows->rows - 1);
    uint64_t same = 0;

    while (same < rows->rows && batch_get_i64(rows, time, rows->rows - 1 - same) == last_us) {
        same++;
    }
    bool went_on = page->has_from && page->from_us == last_us && same == rows->rows;
    page->offset = went_on ? page->offset + same : same;
    page->has_from = true;
    page->from_us = last_us;
}

static enum err_code
read_page(const struct export_job *job, struct target *target, struct page *page,
          struct batch *ret_rows, bool *ret_last, struct err *err)
{
    for (;;) {
        struct buf sql BUF_AUTO = {0};
        bool truncated = false;
        buf_init(&sql, 0);
        make_select(job, page, &sql);
        buf_add_char(&sql, '\0');
        enum err_code code = target_sql(target, sql.ptr, ret_rows, &truncated, err);
        if (code == ERR_TOO_LARGE && page->limit > 1) {
            page->limit /= 2;
            continue;
        }
        if (code == ERR_OK) {
            *ret_last = !truncated && ret_rows->rows < page->limit;
        }
        return code;
    }
}

static enum err_code
export_table(const struct export_job *job, struct target *target, struct rows_writer *writer,
             struct err *err)
{
    struct page page = {.has_from = job->has_from, .from_us = job->from_us, .limit = PAGE_ROWS};
    struct progress progress;
    enum err_code code = ERR_OK;
    bool last = false;

    progress_start(&progress, job->cli, job->table->name);
    if (!job->output && job->cli->out_is_terminal) {
        progress.out = NULL; /* the rows themselves show that it goes on */
    }
    while (code == ERR_OK && !last) {
        struct batch rows;
        code = read_page(job, target, &page, &rows, &last, err);
        if (code != ERR_OK) {
            break;
        }
        if (rows.rows > 0) {
            turn_page(job, &rows, &page);
        }
        last = last || rows.rows == 0;
        code = rows_write(writer, &rows, err);
        batch_fini(&rows);
        progress_update(&progress, -1, writer->rows);
    }
    progress_end(&progress);
    return code;
}

static enum err_code
export_query(const struct export_job *job, struct target *target, struct rows_writer *writer,
             struct err *err)
{
    struct batch rows;
    bool truncated = false;
    enum err_code code = target_sql(target, job->sql, &rows, &truncated, err);

    if (code != ERR_OK) {
        return code;
    }
    if (truncated) {
        code = err_set(err, ERR_TOO_LARGE,
                       "the answer has more than %zu rows; raise sql.rows_max, add a LIMIT, or "
                       "export a table",
                       rows.rows);
    } else {
        code = rows_write(writer, &rows, err);
    }
    batch_fini(&rows);
    return code;
}

static enum err_code
export_text(const struct export_job *job, struct target *target, struct err *err)
{
    struct rows_writer writer = {.out = job->cli->out, .format = job->format};
    struct buf temporary BUF_AUTO = {0};
    enum err_code code;

    buf_init(&temporary, 0);
    if (job->output) {
        buf_add_fmt(&temporary, "%s.part", job->output);
        buf_add_char(&temporary, '\0');
        writer.out = fopen(temporary.ptr, "w");
        if (!writer.out) {
            return err_sys(err, errno, "cannot write %s", temporary.ptr);
        }
    }
    code = job->table ? export_table(job, target, &writer, err)
                      : export_query(job, target, &writer, err);
    if (code == ERR_OK) {
        code = rows_end(&writer, err);
    }
    if (job->output) {
        if (fclose(writer.out) != 0 && code == ERR_OK) {
            code = err_sys(err, errno, "cannot write %s", temporary.ptr);
        }
        if (code == ERR_OK && rename(temporary.ptr, job->output) != 0) {
            code = err_sys(err, errno, "cannot rename %s to %s", temporary.ptr, job->output);
        }
        if (code != ERR_OK) {
            unlink(temporary.ptr);
        } else {
            cli_note(job->cli, "%" PRIu64 " rows written to %s", writer.rows, job->output);
        }
    }
    return code;
}

/* DuckDB writes Parquet itself, from the file; so what is only in the log is applied first. */
static enum err_code
export_parquet(const struct export_job *job, struct target *target, struct err *err)
{
    struct page all = {.has_from = job->has_from, .from_us = job->from_us};
    char *path MEM_AUTO = target_database_path(&job->config);
    struct buf sql BUF_AUTO = {0};
    uint64_t rows = 0;

    if (target->client) {
        return err_set(err, ERR_UNSUPPORTED,
                       "%s has the data open, and Parquet is written from the file; stop the "
                       "server, or export csv or ndjson",
                       client_url(target->client));
    }
    target_close(target);
    buf_init(&sql, 0);
    if (job->table) {
        make_select(job, &all, &sql);
    } else {
        buf_add_cstr(&sql, job->sql);
    }
    buf_add_char(&sql, '\0');
    int lock;
    enum err_code code = target_share_lock(job->config.data_dir, &lock, err);
    if (code != ERR_OK) {
        return code;
    }
    code = duckdb_reader_to_parquet(path, sql.ptr, job->output, &rows, err);
    if (lock >= 0) {
        close(lock);
    }
    if (code == ERR_OK) {
        cli_note(job->cli, "%" PRIu64 " rows written to %s", rows, job->output);
    }
    return code;
}

static enum err_code
read_format(struct export_job *job, struct err *err)
{
    const char *format = cli_value(job->cli, "format");
    const char *dot = job->output ? strrchr(job->output, '.') : NULL;

    if (!format && dot) {
        format = strcmp(dot, ".jsonl") == 0 ? "ndjson" : dot + 1;
    }
    job->format = ROWS_CSV;
    job->parquet = format && strcmp(format, "parquet") == 0;
    if (job->parquet && !job->output) {
        return err_set(err, ERR_USAGE, "export: Parquet needs a file; give --output");
    }
    if (format && !job->parquet &&
        (!rows_parse_format(format, &job->format) || job->format == ROWS_TABLE)) {
        return err_set(err, ERR_USAGE,
                       "export: the name %s does not tell its format; expected --format csv, "
                       "ndjson, json or parquet",
                       job->output);
    }
    return ERR_OK;
}

static enum err_code
read_time(const struct cli *cli, const char *option, bool *ret_has, int64_t *ret_us,
          struct err *err)
{
    const char *text = cli_value(cli, option);

    *ret_has = text != NULL;
    if (text && !time_parse_iso8601(slice_of(text), ret_us)) {
        return err_set(err, ERR_USAGE,
                       "export: --%s is \"%.60s\"; expected a time such as 2026-01-31 or "
                       "2026-01-31T12:00:00Z",
                       option, text);
    }
    /* The last day is meant as a whole. */
    if (text && strcmp(option, "to") == 0 && strlen(text) == 10) {
        *ret_us += TIME_US_PER_DAY - 1;
    }
    return ERR_OK;
}

static enum err_code
read_subject(struct export_job *job, struct err *err)
{
    const struct cli *cli = job->cli;

    job->sql = cli_value(cli, "sql");
    job->symbol = cli_value(cli, "symbol");
    if ((job->sql != NULL) == (cli->arg_count > 0)) {
        return err_set(err, ERR_USAGE, "export: expected a table, or --sql SELECT%s",
                       job->sql ? ", not both" : "");
    }
    if (job->sql && (job->symbol || job->has_from || job->has_to)) {
        return err_set(err, ERR_USAGE,
                       "export: --from, --to and --symbol go with a table; put them into the SQL");
    }
    if (job->sql) {
        return ERR_OK;
    }
    job->table = catalog_find(slice_of(cli->args[0]));
    if (!job->table) {
        const char *near = catalog_suggest_table(slice_of(cli->args[0]));
        return err_set(err, ERR_USAGE, "export: there is no table %.100s; %s%s%s", cli->args[0],
                       near ? "did you mean " : "`eider sql 'SHOW TABLES'` lists them",
                       near ? near : "", near ? "?" : "");
    }
    if (job->table->time_column == CATALOG_NONE) {
        return err_set(err, ERR_USAGE, "export: %s has no time to go by; use --sql",
                       job->table->name);
    }
    if (job->symbol && catalog_column_index(job->table, SLICE_LITERAL("symbol")) == CATALOG_NONE) {
        return err_set(err, ERR_USAGE, "export: %s has no column symbol", job->table->name);
    }
    return ERR_OK;
}

int
cli_export(struct cli *cli)
{
    struct export_job job = {.cli = cli, .output = cli_value(cli, "output")};
    struct target target = {0};
    struct err err = {0};
    enum err_code code = read_time(cli, "from", &job.has_from, &job.from_us, &err);

    if (code == ERR_OK) {
        code = read_time(cli, "to", &job.has_to, &job.to_us, &err);
    }
    if (code == ERR_OK && job.has_from && job.has_to && job.from_us > job.to_us) {
        code = err_set(&err, ERR_USAGE, "export: --from is %.60s, behind --to %.60s",
                       cli_value(cli, "from"), cli_value(cli, "to"));
    }
    if (code == ERR_OK) {
        code = read_subject(&job, &err);
    }
    if (code == ERR_OK) {
        code = read_format(&job, &err);
    }
    if (code == ERR_OK) {
        code = cli_load_config(cli, false, &job.config, &err);
    }
    if (code == ERR_OK) {
        code = target_open(cli, &job.config, TARGET_READ, &target, &err);
    }
    if (code == ERR_OK) {
        code = job.parquet ? export_parquet(&job, &target, &err) : export_text(&job, &target, &err);
    }
    target_close(&target);
    config_fini(&job.config);
    return code == ERR_OK ? CLI_OK : cli_fail(cli, &err);
}
