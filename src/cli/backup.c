/* eider backup: take, list, verify, prune. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backup/backup.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/parquet_rows.h"
#include "cli/target.h"
#include "cli/work.h"
#include "codec/time.h"
#include "server/backups.h"

struct job {
    struct cli *cli;
    const struct config *config;
    const char *dir;
    bool json;
    struct parquet_rows rows;
    struct buf out;
    struct json_writer writer;
};

static const struct clock *
clock_of(const struct cli *cli)
{
    return cli->clock ? cli->clock : clock_system();
}

static enum err_code
print(struct job *job, struct err *err)
{
    if (job->json) {
        json_newline(&job->writer);
    }
    return cli_write(job->cli, &job->out, err);
}

/* ---- taking ---- */

static void
say_taken(struct job *job, const json_t *result)
{
    const char *id = json_string_value(json_object_get(result, "id"));
    const char *taken = json_string_value(json_object_get(result, "taken"));

    buf_add_fmt(&job->out,
                "backup %s of LSN %" JSON_INTEGER_FORMAT " at %s: %" JSON_INTEGER_FORMAT
                " rows, %" JSON_INTEGER_FORMAT " files of which %" JSON_INTEGER_FORMAT
                " are new (%" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " bytes)\n",
                id ? id : "?", json_integer_value(json_object_get(result, "lsn")),
                taken ? taken : "?", json_integer_value(json_object_get(result, "rows")),
                json_integer_value(json_object_get(result, "files")),
                json_integer_value(json_object_get(result, "files_new")),
                json_integer_value(json_object_get(result, "bytes_new")),
                json_integer_value(json_object_get(result, "bytes")));
}

static enum err_code
show_taken(struct job *job, const json_t *result, struct err *err)
{
    if (job->json) {
        char *text = json_dumps(result, JSON_COMPACT);
        buf_add_cstr(&job->out, text ? text : "null");
        buf_add_char(&job->out, '\n');
        free(text);
        return cli_write(job->cli, &job->out, err);
    }
    say_taken(job, result);
    return cli_write(job->cli, &job->out, err);
}

static enum err_code
take_by_server(struct job *job, struct client *client, struct err *err)
{
    json_t *result = NULL;

    if (cli_has(job->cli, "to") &&
        (!job->config->backup.dir || strcmp(job->dir, job->config->backup.dir) != 0)) {
        return err_set(err, ERR_USAGE,
                       "%s has the data open, and a server backs up into its own backup.dir "
                       "alone: leave --to out, or stop the server",
                       client_url(client));
    }
    enum err_code code = work_run(job->cli, client, "backup", &result, err);
    code = code ? code : show_taken(job, result, err);
    json_decref(result);
    return code;
}

static enum err_code
take_here(struct job *job, struct engine *engine, struct err *err)
{
    const struct backup_options options = {
        .dir = job->dir,
        .data_dir = job->config->data_dir,
        .engine = engine,
        .wal_archive = job->config->backup.wal_archive,
        .keep = cli_has(job->cli, "to") ? 0 : (unsigned)job->config->backup.keep,
        .version = EIDER_VERSION,
        .clock = clock_of(job->cli)};
    struct backup_result result;
    struct buf text BUF_AUTO = {0};
    struct json_writer json;
    enum err_code code = ERR_OK;

    if (!cli_has(job->cli, "to") && !backups_can_write(job->config, err)) {
        return err->code;
    }
    code = backup_take(&options, &result, err);
    if (code != ERR_OK) {
        return code;
    }
    buf_init(&text, 0);
    json_init(&json, &text);
    json_object_begin(&json);
    backups_describe(&result, &json);
    json_object_end(&json);
    json_t *object = json_loadb(text.ptr, text.len, 0, NULL);
    code = show_taken(job, object, err);
    json_decref(object);
    return code;
}

static enum err_code
take(struct job *job, struct err *err)
{
    struct target target = {0};
    enum err_code code = target_find_server(job->cli, job->config, &target.client, err);

    if (code == ERR_OK && target.client) {
        code = take_by_server(job, target.client, err);
        client_close(target.client);
        return code;
    }
    if (code == ERR_OK && job->config->storage.type == CONFIG_STORAGE_POSTGRES) {
        code = err_set(err, ERR_UNSUPPORTED,
                       "backup: the rows are in PostgreSQL: back them up with pg_dump, and keep "
                       "%s/wal",
                       job->config->data_dir);
    } else if (code == ERR_OK && job->config->storage.type == CONFIG_STORAGE_MEMORY) {
        code = err_set(err, ERR_UNSUPPORTED,
                       "backup: the memory store has nothing that could be backed up but its log, "
                       "%s/wal",
                       job->config->data_dir);
    }
    if (code == ERR_OK && !job->dir) {
        code = err_set(err, ERR_USAGE,
                       "backup: where to? Give --to DIR, or set backup.dir in the configuration");
    }
    code = code ? code : target_open(job->cli, job->config, TARGET_READ, &target, err);
    code = code ? code : take_here(job, target.engine, err);
    target_close(&target);
    return code;
}

/* ---- listing ---- */

static void
list_json(struct job *job, const struct backup_entry *entry)
{
    struct json_writer *json = &job->writer;

    json_object_begin(json);
    json_key(json, "id");
    json_cstr(json, entry->id);
    json_key(json, "problem");
    json_cstr(json, entry->problem.code ? entry->problem.msg : NULL);
    if (!entry->problem.code) {
        json_key(json, "lsn");
        json_u64(json, entry->lsn);
        json_key(json, "taken");
        json_time_us(json, entry->taken_us);
        json_key(json, "database_id");
        json_cstr(json, entry->database_id);
        json_key(json, "rows");
        json_u64(json, entry->sums.rows_all);
        json_key(json, "files");
        json_u64(json, entry->files);
        json_key(json, "bytes");
        json_u64(json, entry->sums.bytes);
        json_key(json, "bytes_new");
        json_u64(json, entry->sums.bytes_new);
    }
    json_object_end(json);
}

static void
list_text(struct job *job, const struct backup_entry *entry)
{
    char time[TIME_TEXT_MAX];

    if (entry->problem.code) {
        buf_add_fmt(&job->out, "%-21s DAMAGED: %s\n", entry->id, entry->problem.msg);
        return;
    }
    time_format_iso8601(entry->taken_us, time);
    buf_add_fmt(&job->out,
                "%-21s %12" PRIu64 " %-26s %12" PRIu64 " %8zu %14" PRIu64 " %14" PRIu64 "\n",
                entry->id, entry->lsn, time, entry->sums.rows_all, entry->files, entry->sums.bytes,
                entry->sums.bytes_new);
}

static enum err_code
list(struct job *job, struct err *err)
{
    struct backup_entry *entries = NULL;
    size_t count = 0;
    enum err_code code = backup_list(job->dir, &entries, &count, err);

    if (code != ERR_OK) {
        return code;
    }
    if (job->json) {
        json_array_begin(&job->writer);
    } else {
        buf_add_fmt(&job->out, "%-21s %12s %-26s %12s %8s %14s %14s\n", "backup", "LSN", "taken",
                    "rows", "files", "bytes", "new bytes");
    }
    for (size_t i = 0; i < count; i++) {
        if (job->json) {
            list_json(job, &entries[i]);
        } else {
            list_text(job, &entries[i]);
        }
    }
    if (job->json) {
        json_array_end(&job->writer);
    }
    free(entries);
    return print(job, err);
}

/* ---- verifying ---- */

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

static enum err_code
verify(struct job *job, struct err *err)
{
    const struct backup_verify options = {
        .dir = job->dir,
        .id = job->cli->arg_count > 0 ? job->cli->args[0] : NULL,
        .rows = count_rows,
        .damage = note_damage,
        .ctx = job,
    };
    struct backup_verified verified = {0};
    enum err_code code = backup_verify(&options, &verified, err);

    parquet_rows_fini(&job->rows);
    if (code != ERR_OK) {
        return code;
    }
    if (job->json) {
        json_object_begin(&job->writer);
        json_key(&job->writer, "id");
        json_cstr(&job->writer, verified.id);
        json_key(&job->writer, "ok");
        json_bool(&job->writer, true);
        json_key(&job->writer, "files");
        json_u64(&job->writer, verified.files);
        json_key(&job->writer, "bytes");
        json_u64(&job->writer, verified.bytes);
        json_key(&job->writer, "rows");
        json_u64(&job->writer, verified.rows);
        json_object_end(&job->writer);
    } else {
        buf_add_fmt(&job->out,
                    "backup %s is whole: %zu files, %" PRIu64 " bytes, %" PRIu64 " rows\n",
                    verified.id, verified.files, verified.bytes, verified.rows);
    }
    return print(job, err);
}

/* ---- pruning ---- */

static enum err_code
prune(struct job *job, struct err *err)
{
    struct backup_pruned pruned = {0};
    int64_t keep = 1;
    enum err_code code = cli_number(job->cli, "prune", 1, 100000, 1, &keep, err);

    code = code ? code
                : backup_prune(job->dir, job->config->backup.wal_archive, (unsigned)keep, &pruned,
                               err);
    if (code != ERR_OK) {
        return code;
    }
    if (job->json) {
        json_object_begin(&job->writer);
        json_key(&job->writer, "backups_removed");
        json_u64(&job->writer, pruned.backups);
        json_key(&job->writer, "files_removed");
        json_u64(&job->writer, pruned.files);
        json_key(&job->writer, "bytes_removed");
        json_u64(&job->writer, pruned.bytes);
        json_key(&job->writer, "segments_removed");
        json_u64(&job->writer, pruned.segments);
        json_object_end(&job->writer);
    } else {
        buf_add_fmt(&job->out,
                    "%zu backups, %zu files (%" PRIu64 " bytes) and %zu segments of the log "
                    "are removed\n",
                    pruned.backups, pruned.files, pruned.bytes, pruned.segments);
    }
    return print(job, err);
}

static enum err_code
run(struct job *job, struct err *err)
{
    int actions =
        cli_has(job->cli, "list") + cli_has(job->cli, "verify") + cli_has(job->cli, "prune");

    if (actions > 1) {
        return err_set(err, ERR_USAGE, "backup: one of --list, --verify and --prune at a time");
    }
    if (job->cli->arg_count > 0 && !cli_has(job->cli, "verify")) {
        return err_set(err, ERR_USAGE, "backup: \"%.100s\" goes with --verify alone",
                       job->cli->args[0]);
    }
    if (actions == 0) {
        return take(job, err);
    }
    if (!job->dir) {
        return err_set(err, ERR_USAGE,
                       "backup: which directory? Give --to DIR, or set backup.dir in the "
                       "configuration");
    }
    if (cli_has(job->cli, "list")) {
        return list(job, err);
    }
    return cli_has(job->cli, "verify") ? verify(job, err) : prune(job, err);
}

int
cli_backup(struct cli *cli)
{
    struct config config CONFIG_AUTO = {0};
    struct job job = {.cli = cli, .config = &config, .json = cli_has(cli, "json")};
    struct err err = {0};
    enum err_code code = cli_load_config(cli, false, &config, &err);

    if (code == ERR_OK) {
        job.dir = cli_value(cli, "to") ? cli_value(cli, "to") : config.backup.dir;
        buf_init(&job.out, 0);
        json_init(&job.writer, &job.out);
        code = run(&job, &err);
        buf_fini(&job.out);
    }
    return code == ERR_OK ? CLI_OK : cli_fail(cli, &err);
}
