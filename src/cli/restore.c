/* eider restore: a new data directory of a backup and the log behind it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backup/backup.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/parquet_rows.h"
#include "codec/json_write.h"
#include "codec/time.h"
#include "server/open_engine.h"

enum { LOGS_MAX = 16 };

struct job {
    struct cli *cli;
    struct config config;
    struct restore_options options;
    struct parquet_rows rows;
    char from[FILES_PATH_MAX];
    const char *logs[LOGS_MAX + 2];
    struct restore_result result;
};

static enum err_code
count_rows(void *ctx, const char *path, uint64_t *ret_rows, struct err *err)
{
    struct job *job = ctx;

    return parquet_rows_count(&job->rows, path, ret_rows, err);
}

static void
note_damage(void *ctx, const struct manifest_file *file, enum backup_damage damage,
            const char *text)
{
    struct job *job = ctx;

    (void)file;
    (void)damage;
    cli_note(job->cli, "%s", text);
}

static void
note_step(void *ctx, bool is_problem, const char *text)
{
    struct job *job = ctx;

    if (is_problem || job->cli->err_is_terminal) {
        cli_note(job->cli, "%s", text);
    }
}

/* DIR or DIR/ID. */
static enum err_code
read_from(struct job *job, struct err *err)
{
    const char *from = cli_value(job->cli, "from");

    from = from ? from : job->config.backup.dir;
    if (!from) {
        return err_set(err, ERR_USAGE,
                       "restore: from where? Give --from DIR, or set backup.dir in the "
                       "configuration");
    }
    if (strlen(from) >= sizeof(job->from)) {
        return err_set(err, ERR_USAGE, "restore: the path of --from is too long");
    }
    memcpy(job->from, from, strlen(from) + 1);
    for (size_t len = strlen(job->from); len > 1 && job->from[len - 1] == '/'; len--) {
        job->from[len - 1] = '\0';
    }
    char *slash = strrchr(job->from, '/');
    if (slash && backup_is_id(slash + 1)) {
        *slash = '\0';
        job->options.id = slash + 1;
    }
    job->options.dir = job->from;
    return ERR_OK;
}

static enum err_code
read_target(struct job *job, struct err *err)
{
    const char *time = cli_value(job->cli, "to-time");
    int64_t lsn = 0;
    enum err_code code = cli_number(job->cli, "to-lsn", 1, INT64_MAX, 0, &lsn, err);

    if (code != ERR_OK) {
        return code;
    }
    job->options.has_lsn = cli_has(job->cli, "to-lsn");
    job->options.to_lsn = (uint64_t)lsn;
    job->options.has_time = time != NULL;
    if (time && !time_parse_iso8601(slice_of(time), &job->options.to_us)) {
        return err_set(err, ERR_USAGE,
                       "restore: --to-time is \"%.60s\"; expected a time such as "
                       "2026-01-31T12:00:00Z",
                       time);
    }
    if (time && job->options.has_lsn) {
        return err_set(err, ERR_USAGE, "restore: one of --to-lsn and --to-time");
    }
    return ERR_OK;
}

/* The configured archive first, if it is there; what is named on the command line is believed more.
 */
static void
read_logs(struct job *job)
{
    const char *archive = job->config.backup.wal_archive;
    size_t count = 0;

    if (archive && access(archive, F_OK) == 0) {
        job->logs[count++] = archive;
    }
    count += cli_all_values(job->cli, "wal", job->logs + count, LOGS_MAX);
    job->logs[count] = NULL;
    job->options.logs = job->logs;
}

static void
add_rows_json(const struct job *job, struct json_writer *json)
{
    json_key(json, "rows");
    json_object_begin(json);
    for (int id = 1; id < TABLE_ID_END; id++) {
        if (job->result.rows[id] > 0) {
            json_key(json, catalog_table((enum table_id)id)->name);
            json_u64(json, job->result.rows[id]);
        }
    }
    json_object_end(json);
}

static void
make_json(const struct job *job, struct buf *out)
{
    struct json_writer json;

    json_init(&json, out);
    json_object_begin(&json);
    json_key(&json, "backup");
    json_cstr(&json, job->result.id);
    json_key(&json, "backup_lsn");
    json_u64(&json, job->result.backup_lsn);
    json_key(&json, "backup_taken");
    json_time_us(&json, job->result.backup_us);
    json_key(&json, "lsn");
    json_u64(&json, job->result.lsn);
    json_key(&json, "last_record");
    json_time_us(&json, job->result.last_us);
    json_key(&json, "log_goes_on");
    if (job->options.has_time) {
        json_bool(&json, !job->result.is_open);
    } else {
        json_write_null(&json);
    }
    json_key(&json, "data_dir");
    json_cstr(&json, job->config.data_dir);
    json_key(&json, "dry_run");
    json_bool(&json, job->options.dry_run);
    json_key(&json, "cold_files");
    json_u64(&json, job->result.cold_files);
    add_rows_json(job, &json);
    json_key(&json, "elapsed_ms");
    json_i64(&json, job->result.elapsed_us / 1000);
    json_object_end(&json);
    buf_add_char(out, '\n');
}

/* Whether there was more before the time that is wanted, only a record behind it shows. */
static void
add_end(const struct job *job, struct buf *out)
{
    char wanted[TIME_TEXT_MAX];
    char last_time[TIME_TEXT_MAX];

    time_format_iso8601(job->options.to_us, wanted);
    time_format_iso8601(job->result.last_us, last_time);
    buf_add_fmt(out, "\nup to %s there is LSN %" PRIu64 ", of %s: nothing behind it was found",
                wanted, job->result.lsn, last_time);
    if (!cli_has(job->cli, "wal")) {
        buf_add_cstr(out, ". The newest records are in the log of the data directory alone; "
                          "--wal DATA_DIR adds them");
    }
}

static void
make_text(const struct job *job, struct buf *out)
{
    char backup_time[TIME_TEXT_MAX];
    char last_time[TIME_TEXT_MAX];

    time_format_iso8601(job->result.backup_us, backup_time);
    time_format_iso8601(job->result.last_us, last_time);
    buf_add_fmt(out, "%s %s: backup %s (LSN %" PRIu64 ", %s)",
                job->options.dry_run ? "would restore" : "restored", job->config.data_dir,
                job->result.id, job->result.backup_lsn, backup_time);
    if (job->result.lsn > job->result.backup_lsn) {
        buf_add_fmt(out, " and the log up to LSN %" PRIu64 ", written %s", job->result.lsn,
                    last_time);
    } else {
        buf_add_cstr(out, ", without a log behind it");
    }
    if (job->result.is_open) {
        add_end(job, out);
    }
    buf_add_fmt(out, "\n%-22s %12s%s\n", "table", "rows",
                job->options.dry_run ? "  (of the backup alone)" : "");
    for (int id = 1; id < TABLE_ID_END; id++) {
        if (job->result.rows[id] > 0) {
            buf_add_fmt(out, "%-22s %12" PRIu64 "\n", catalog_table((enum table_id)id)->name,
                        job->result.rows[id]);
        }
    }
}

static enum err_code
read_options(struct job *job, struct err *err)
{
    struct engine_options engine;
    enum err_code code = read_from(job, err);

    code = code ? code : read_target(job, err);
    code = code ? code : server_engine_options(&job->config, &engine, err);
    if (code != ERR_OK) {
        return code;
    }
    read_logs(job);
    job->options.data_dir = job->config.data_dir;
    job->options.store_file = engine.store_file;
    job->options.store_open = engine.store_open;
    job->options.store = engine.store;
    job->options.dry_run = cli_has(job->cli, "dry-run");
    job->options.rows = count_rows;
    job->options.damage = note_damage;
    job->options.event = note_step;
    job->options.ctx = job;
    job->options.clock = job->cli->clock ? job->cli->clock : clock_system();
    return ERR_OK;
}

int
cli_restore(struct cli *cli)
{
    struct job *job MEM_AUTO = mem_zalloc(1, sizeof(*job));
    struct buf out BUF_AUTO = {0};
    struct err err = {0};

    job->cli = cli;
    enum err_code code = cli_load_config(cli, false, &job->config, &err);
    code = code ? code : read_options(job, &err);
    code = code ? code : backup_restore(&job->options, &job->result, &err);
    parquet_rows_fini(&job->rows);
    if (code == ERR_OK) {
        buf_init(&out, 0);
        if (cli_has(cli, "json")) {
            make_json(job, &out);
        } else {
            make_text(job, &out);
        }
        code = cli_write(cli, &out, &err);
    }
    config_fini(&job->config);
    return code == ERR_OK ? CLI_OK : cli_fail(cli, &err);
}
