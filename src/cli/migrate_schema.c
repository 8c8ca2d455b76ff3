/*
 * eider migrate schema up, down, status, history: the tables of a database whose server is stopped.
 * The directory's lock is held meanwhile, so that a server that starts is told.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/migrate.h"
#include "cli/rows.h"
#include "cli/target.h"
#include "codec/json_write.h"
#include "schema/schema.h"
#include "server/open_schema.h"
#include "server/suggest.h"

enum { FILE_MODE = 0640, TEXT_BYTES_MAX = 1 << 20 };

struct job {
    struct cli *cli;
    struct schema_session *session;
    struct schema_move move;
    bool json;
    struct buf out;
    struct json_writer writer;
    size_t steps;
};

struct action {
    const char *name;
    bool moves; /* takes --to and --dry-run */
    bool down;
    enum err_code (*run)(struct job *job, int *ret_exit, struct err *err);
};

static const char *
dialect_name(enum schema_dialect dialect)
{
    return dialect == SCHEMA_DUCKDB ? "duckdb" : "postgres";
}

static void
add_time_or_null(struct json_writer *json, const char *key, int64_t us)
{
    json_key(json, key);
    if (us) {
        json_time_us(json, us);
    } else {
        json_write_null(json);
    }
}

/* ---- status ---- */

static void
begin_json(struct job *job)
{
    json_init(&job->writer, &job->out);
    json_object_begin(&job->writer);
    json_key(&job->writer, "database");
    json_cstr(&job->writer, job->session->db.where);
    json_key(&job->writer, "dialect");
    json_cstr(&job->writer, dialect_name(job->session->db.dialect));
}

static void
status_json(struct job *job, const struct schema_status *status)
{
    struct json_writer *json = &job->writer;

    begin_json(job);
    json_key(json, "version");
    json_u64(json, status->version);
    json_key(json, "newest");
    json_u64(json, status->newest);
    json_key(json, "ledger");
    json_bool(json, status->has_ledger);
    json_key(json, "problem");
    if (status->problem.code) {
        json_cstr(json, status->problem.msg);
    } else {
        json_write_null(json);
    }
    json_key(json, "migrations");
    json_array_begin(json);
    for (size_t i = 0; i < status->line_count; i++) {
        const struct schema_line *line = &status->lines[i];
        json_object_begin(json);
        json_key(json, "version");
        json_u64(json, line->version);
        json_key(json, "name");
        json_cstr(json, line->name);
        json_key(json, "state");
        json_cstr(json, schema_state_name(line->state));
        add_time_or_null(json, "at", line->at_us);
        json_key(json, "execution_ms");
        json_i64(json, line->execution_ms);
        json_key(json, "checksum");
        json_cstr(json, line->checksum);
        json_object_end(json);
    }
    json_array_end(json);
    json_object_end(json);
    json_newline(json);
}

static enum err_code
print_table(const struct cli *cli, const struct batch *rows, struct err *err)
{
    struct rows_writer writer = {.out = cli->out, .format = ROWS_TABLE};
    enum err_code code = rows_write(&writer, rows, err);

    return code == ERR_OK ? rows_end(&writer, err) : code;
}

static enum err_code
status_table(const struct job *job, const struct schema_status *status, struct err *err)
{
    struct batch rows BATCH_AUTO;

    batch_init_answer(&rows, TEXT_BYTES_MAX);
    batch_add_column(&rows, slice_of("version"), COL_INT64);
    batch_add_column(&rows, slice_of("name"), COL_TEXT);
    batch_add_column(&rows, slice_of("state"), COL_TEXT);
    batch_add_column(&rows, slice_of("at"), COL_TIMESTAMP);
    batch_add_column(&rows, slice_of("execution_ms"), COL_INT64);
    for (size_t i = 0; i < status->line_count; i++) {
        const struct schema_line *line = &status->lines[i];
        size_t row = batch_add_row(&rows);
        batch_set_i64(&rows, 0, row, line->version);
        batch_set_text(&rows, 1, row, slice_of(line->name));
        batch_set_text(&rows, 2, row, slice_of(schema_state_name(line->state)));
        if (line->at_us) {
            batch_set_i64(&rows, 3, row, line->at_us);
            batch_set_i64(&rows, 4, row, line->execution_ms);
        }
    }
    return print_table(job->cli, &rows, err);
}

/* What the original's runner left: how many rows, for a remark. */
static size_t
count_original(const struct batch *history)
{
    size_t count = 0;

    for (size_t row = 0; row < history->rows; row++) {
        count += slice_starts(batch_get_text(history, 6, row), "original");
    }
    return count;
}

static enum err_code
run_status(struct job *job, int *ret_exit, struct err *err)
{
    struct schema_status *status MEM_AUTO = mem_zalloc(1, sizeof(*status));
    struct batch history BATCH_AUTO = {0};
    const struct schema_db *db = &job->session->db;

    enum err_code code = schema_status(db, status, err);
    if (code) {
        return code;
    }
    /* The tables are compared only where they should be those of this program. */
    if (!status->problem.code && status->version == status->newest) {
        schema_check(db, &status->problem);
    }
    *ret_exit = status->problem.code ? CLI_FAILED : CLI_OK;
    if (job->json) {
        status_json(job, status);
        return ERR_OK;
    }
    code = schema_history(db, &history, err);
    if (code) {
        return code;
    }
    fprintf(job->cli->out,
            "database  %s (%s)\nversion   %" PRIu32 ", this program's newest is %" PRIu32 "%s\n",
            db->where, dialect_name(db->dialect), status->version, status->newest,
            status->has_ledger   ? ""
            : status->has_tables ? "; made before there was a ledger, a start takes it over"
                                 : "");
    code = status_table(job, status, err);
    if (!code && count_original(&history)) {
        fprintf(job->cli->out, "entries of the original's runner, left alone (see history): %zu\n",
                count_original(&history));
    }
    if (!code && status->problem.code) {
        cli_note(job->cli, "%s", status->problem.msg);
    }
    return code;
}

/* ---- history ---- */

static enum err_code
run_history(struct job *job, int *ret_exit, struct err *err)
{
    struct rows_writer writer = {.out = job->cli->out,
                                 .format = job->json ? ROWS_JSON : ROWS_TABLE};
    struct batch rows BATCH_AUTO = {0};

    *ret_exit = CLI_OK;
    enum err_code code = schema_history(&job->session->db, &rows, err);
    code = code ? code : rows_write(&writer, &rows, err);
    return code ? code : rows_end(&writer, err);
}

/* ---- up and down ---- */

static void
step_json(struct job *job, const struct schema_migration *step, bool up, int64_t execution_ms)
{
    const char *const *statements = up ? step->up : step->down;
    size_t count = up ? step->up_count : step->down_count;
    struct json_writer *json = &job->writer;

    json_object_begin(json);
    json_key(json, "version");
    json_u64(json, step->version);
    json_key(json, "name");
    json_cstr(json, step->name);
    json_key(json, "direction");
    json_cstr(json, up ? "up" : "down");
    if (job->move.dry_run) {
        json_key(json, "statements");
        json_array_begin(json);
        for (size_t i = 0; i < count; i++) {
            json_cstr(json, statements[i]);
        }
        json_array_end(json);
    } else {
        json_key(json, "execution_ms");
        json_i64(json, execution_ms);
    }
    json_object_end(json);
}

static void
note_step(void *ctx, const struct schema_migration *step, bool up, int64_t execution_ms)
{
    const char *const *statements = up ? step->up : step->down;
    size_t count = up ? step->up_count : step->down_count;
    struct job *job = ctx;

    job->steps++;
    if (job->json) {
        step_json(job, step, up, execution_ms);
        return;
    }
    if (!job->move.dry_run) {
        buf_add_fmt(&job->out, "%s %" PRIu32 " %s, %" PRId64 " ms\n", up ? "up" : "down",
                    step->version, step->name, execution_ms);
        return;
    }
    buf_add_fmt(&job->out, "-- %s %" PRIu32 " %s\n", up ? "up" : "down", step->version, step->name);
    for (size_t i = 0; i < count; i++) {
        buf_add_fmt(&job->out, "%s;\n", statements[i]);
    }
}

static enum err_code
run_move(struct job *job, int *ret_exit, struct err *err)
{
    struct schema_status *status MEM_AUTO = mem_zalloc(1, sizeof(*status));
    struct err failure = {0};

    job->move.step = note_step;
    job->move.step_ctx = job;
    if (job->json) {
        begin_json(job);
        json_key(&job->writer, "dry_run");
        json_bool(&job->writer, job->move.dry_run);
        json_key(&job->writer, "steps");
        json_array_begin(&job->writer);
    }
    /* What was done before a failure is told, too. */
    enum err_code moved = schema_move(&job->session->db, &job->move, &failure);
    enum err_code code = schema_status(&job->session->db, status, err);
    if (moved) {
        if (err) {
            *err = failure;
        }
        code = moved;
    }
    *ret_exit = CLI_OK;
    if (job->json) {
        json_array_end(&job->writer);
        json_key(&job->writer, "version");
        json_u64(&job->writer, status->version);
        json_object_end(&job->writer);
        json_newline(&job->writer);
    } else if (!code) {
        buf_add_fmt(&job->out, "%s%s is at version %" PRIu32 "\n",
                    job->move.dry_run ? "-- nothing was changed: "
                    : job->steps      ? ""
                                      : "nothing to do: ",
                    job->session->db.where, status->version);
    }
    return code;
}

static const struct action actions[] = {
    {"up", true, false, run_move},
    {"down", true, true, run_move},
    {"status", false, false, run_status},
    {"history", false, false, run_history},
};

enum { ACTIONS = sizeof(actions) / sizeof(actions[0]) };

/* ---- the command line ---- */

static enum err_code
find_action(const struct cli *cli, const struct action **ret_action, struct err *err)
{
    struct suggest suggest;

    if (cli->arg_count < 2) {
        return err_set(err, ERR_USAGE, "migrate schema: which action? up, down, status or history");
    }
    suggest_init(&suggest, slice_of(cli->args[1]));
    for (size_t i = 0; i < ACTIONS; i++) {
        if (strcmp(actions[i].name, cli->args[1]) == 0) {
            *ret_action = &actions[i];
            return ERR_OK;
        }
        suggest_offer(&suggest, actions[i].name);
    }
    if (suggest.best) {
        return err_set(err, ERR_USAGE, "migrate schema: unknown action %.60s; did you mean %s?",
                       cli->args[1], suggest.best);
    }
    return err_set(err, ERR_USAGE,
                   "migrate schema: unknown action %.60s; expected is up, down, status or history",
                   cli->args[1]);
}

static enum err_code
read_line(const struct cli *cli, const struct action *action, struct schema_move *ret_move,
          struct err *err)
{
    int64_t to = -1;

    assert(action);
    if (cli->arg_count > 2) {
        return err_set(err, ERR_USAGE, "migrate schema %s: unexpected argument \"%.60s\"%s",
                       action->name, cli->args[2],
                       action->moves ? "; a version is given with --to" : "");
    }
    if (!action->moves && (cli_has(cli, "to") || cli_has(cli, "dry-run"))) {
        return err_set(err, ERR_USAGE, "migrate schema %s takes no --%s; up and down do",
                       action->name, cli_has(cli, "to") ? "to" : "dry-run");
    }
    if (!action->down && cli_has(cli, "drop-receipts")) {
        return err_set(err, ERR_USAGE, "migrate schema %s takes no --drop-receipts; down does",
                       action->name);
    }
    enum err_code code = cli_number(cli, "to", 0, SCHEMA_VERSIONS_MAX, -1, &to, err);
    if (code) {
        return code;
    }
    *ret_move = (struct schema_move){
        .down = action->down,
        .has_to = to >= 0,
        .to = to >= 0 ? (uint32_t)to : 0,
        .dry_run = cli_has(cli, "dry-run"),
        .drop_receipts = cli_has(cli, "drop-receipts"),
    };
    return ERR_OK;
}

/* Takes the directory's lock for as long as the descriptor is open: alone to change, shared to
 * look. *ret_fd is -1 when there is nothing to lock. */
static enum err_code
take_lock(const struct config *config, bool change, int *ret_fd, struct err *err)
{
    struct buf path BUF_AUTO = {0};
    struct target_lock held;
    char pid[32];

    *ret_fd = -1;
    target_read_lock(config->data_dir, &held);
    if (held.held) {
        return err_set(
            err, ERR_CONFLICT,
            "a server (pid %ld%s%s) has %s open: stop it first; it brought the schema up "
            "when it started",
            held.pid, held.url[0] ? ", " : "", held.url, config->data_dir);
    }
    if (!change) {
        return target_share_lock(config->data_dir, ret_fd, err);
    }
    buf_init(&path, 0);
    buf_add_fmt(&path, "%s/lock%c", config->data_dir, '\0');
    int fd = open(path.ptr, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
    if (fd < 0 && errno == ENOENT) {
        return ERR_OK; /* no directory: there is no file in it, or the tables are elsewhere */
    }
    if (fd < 0) {
        return err_sys(err, errno, "cannot open %s", path.ptr);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        return err_set(err, ERR_CONFLICT, "another process has just opened %s; try again",
                       config->data_dir);
    }
    int len = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)len, 0) != len) {
        enum err_code code = err_sys(err, errno, "cannot write %s", path.ptr);
        close(fd);
        return code;
    }
    *ret_fd = fd;
    return ERR_OK;
}

static enum err_code
run(struct job *job, const struct action *action, const struct config *config, int *ret_exit,
    struct err *err)
{
    bool change = action->moves && !job->move.dry_run;
    struct err unwritten = {0};
    int lock = -1;

    enum err_code code = take_lock(config, change, &lock, err);
    code = code ? code : server_schema_open(config, change, &job->session, err);
    if (!code) {
        code = action->run(job, ret_exit, err);
        schema_session_close(job->session);
    }
    if (lock >= 0) {
        close(lock);
    }
    if (cli_write(job->cli, &job->out, &unwritten) && !code) {
        code = unwritten.code;
        *err = unwritten;
    }
    return code;
}

int
migrate_schema(struct cli *cli)
{
    struct job job = {.cli = cli, .json = cli_has(cli, "json")};
    const struct action *action = NULL;
    struct config config;
    struct err err = {0};
    int status = CLI_FAILED;

    enum err_code code = find_action(cli, &action, &err);
    code = code ? code : read_line(cli, action, &job.move, &err);
    code = code ? code : cli_load_config(cli, false, &config, &err);
    if (code) {
        return cli_fail(cli, &err);
    }
    buf_init(&job.out, 0);
    code = run(&job, action, &config, &status, &err);
    buf_fini(&job.out);
    config_fini(&config);
    return code ? cli_fail(cli, &err) : status;
}
