/*
 * eider seal and eider retention: by the server that has the data directory, or in this process
 * when none runs. Both ways make the same JSON, which is printed or told in lines.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "cli/rows.h"
#include "cli/target.h"
#include "codec/time.h"
#include "store/maintain_json.h"

enum { POLL_NS = 50000000, WAIT_MS = 200, PATH_BYTES = 256 };

struct job {
    struct cli *cli;
    struct target target;
    const char *name;  /* "seal" or "retention" */
    const char *steps; /* what it is counted in */
    struct maintain_seal seal;
    char query[PATH_BYTES]; /* of the server's path, with "?" */
};

/* ---- a server ---- */

static json_int_t
number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static enum err_code
ask_server(struct job *job, struct slice body, const char *path, long wanted, json_t **ret_answer,
           struct err *err)
{
    const struct client_request request = {
        .path = path, .content_type = body.len ? "application/json" : NULL, .body = body};
    struct client_reply reply;
    enum err_code code = client_send(job->target.client, &request, &reply, err);

    if (code != ERR_OK) {
        return code;
    }
    if (reply.status != wanted) {
        return client_refusal(job->target.client, &reply, err);
    }
    *ret_answer = json_loadb(reply.body.ptr, reply.body.len, 0, NULL);
    return *ret_answer ? ERR_OK
                       : err_set(err, ERR_INTERNAL, "%s answered with no JSON",
                                 client_url(job->target.client));
}

static enum err_code
plan_by_server(struct job *job, json_t **ret_plan, struct err *err)
{
    char path[PATH_BYTES * 2];

    snprintf(path, sizeof(path), "/api/v1/admin/%s%s%sdry_run=true", job->name, job->query,
             job->query[0] ? "&" : "?");
    return ask_server(job, SLICE_LITERAL("{}"), path, 200, ret_plan, err);
}

static enum err_code
run_by_server(struct job *job, struct err *err)
{
    const struct timespec pause = {.tv_nsec = POLL_NS};
    struct progress progress;
    json_t *answer = NULL;
    char path[PATH_BYTES * 2];
    bool done = false;

    snprintf(path, sizeof(path), "/api/v1/admin/%s%s", job->name, job->query);
    enum err_code code = ask_server(job, SLICE_LITERAL("{}"), path, 202, &answer, err);
    json_int_t ticket = code ? 0 : json_integer_value(json_object_get(answer, "ticket"));
    progress_start(&progress, job->cli, job->name);
    while (code == ERR_OK && !done) {
        json_decref(answer);
        answer = NULL;
        code = ask_server(job, (struct slice){0}, "/api/v1/admin/cold", 200, &answer, err);
        done = code == ERR_OK && json_integer_value(json_object_get(answer, "done")) >= ticket;
        progress_steps(&progress, (uint64_t)number_of(answer, "steps_done"),
                       (uint64_t)number_of(answer, "steps_all"), job->steps);
        if (code == ERR_OK && !done) {
            nanosleep(&pause, NULL);
        }
    }
    progress_end(&progress);
    const char *why = json_string_value(json_object_get(answer, "outcome"));
    if (code == ERR_OK && why) {
        code = err_set(err, ERR_INTERNAL, "%s", why);
    }
    json_decref(answer);
    return code;
}

/* ---- this process ---- */

static enum err_code
write_days(struct job *job, struct json_writer *json, struct err *err)
{
    struct store_day *days MEM_AUTO = NULL;
    size_t count = 0;
    bool more = false;
    enum err_code code =
        engine_seal_plan(job->target.engine, &job->seal, &days, &count, &more, err);

    if (code == ERR_OK) {
        maintain_json_days(json, days, count, more);
    }
    return code;
}

static enum err_code
write_plan(struct job *job, struct json_writer *json, struct err *err)
{
    struct maintain_plan plan MAINTAIN_PLAN_AUTO = {0};
    enum err_code code = engine_retention_plan(job->target.engine, &plan, err);

    if (code == ERR_OK) {
        maintain_json_plan(json, &plan);
    }
    return code;
}

static enum err_code
plan_here(struct job *job, json_t **ret_plan, struct err *err)
{
    struct buf text BUF_AUTO = {0};
    struct json_writer json;

    buf_init(&text, 0);
    json_init(&json, &text);
    json_object_begin(&json);
    json_key(&json, "dry_run");
    json_bool(&json, true);
    enum err_code code =
        job->name[0] == 's' ? write_days(job, &json, err) : write_plan(job, &json, err);
    json_object_end(&json);
    if (code == ERR_OK) {
        *ret_plan = json_loadb(text.ptr, text.len, 0, NULL);
        code = *ret_plan ? ERR_OK : err_set(err, ERR_INTERNAL, "the plan is no JSON");
    }
    return code;
}

static enum err_code
run_here(struct job *job, struct err *err)
{
    struct progress progress;
    uint64_t ticket;
    enum err_code code = job->name[0] == 's'
                             ? engine_ask_seal(job->target.engine, &job->seal, &ticket, err)
                             : engine_ask_retention(job->target.engine, &ticket, err);

    if (code != ERR_OK) {
        return code;
    }
    progress_start(&progress, job->cli, job->name);
    do {
        struct maintain_status status;
        code = engine_maintain_wait(job->target.engine, ticket, WAIT_MS, err);
        engine_maintain_status(job->target.engine, &status);
        progress_steps(&progress, status.steps_done, status.steps_all, job->steps);
    } while (code == ERR_TIMEOUT);
    progress_end(&progress);
    return code;
}

/* ---- telling ---- */

static const char *
text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static void
tell_days(struct cli *cli, const json_t *plan, bool dry_run)
{
    const json_t *days = json_object_get(plan, "days");
    size_t index;
    json_t *day;

    json_array_foreach(days, index, day)
    {
        fprintf(cli->out, "%s %s of %s: %" JSON_INTEGER_FORMAT " rows\n",
                dry_run ? "would seal" : "sealed", text_of(day, "table"), text_of(day, "day"),
                number_of(day, "hot_rows"));
    }
    if (json_array_size(days) == 0) {
        fputs("nothing to seal: days are sealed storage.cold.after behind their end when they have "
              "storage.cold.min_rows rows (see --before and --small)\n",
              cli->out);
        return;
    }
    fprintf(cli->out, "%zu days, %" JSON_INTEGER_FORMAT " rows\n", json_array_size(days),
            number_of(plan, "rows"));
    if (json_is_true(json_object_get(plan, "more"))) {
        fprintf(cli->out,
                "there are more: a run seals the oldest %zu days of those that are due; the next "
                "\"eider seal\" goes on\n",
                json_array_size(days));
    }
}

static void
tell_steps(struct cli *cli, const json_t *plan, bool dry_run)
{
    const json_t *steps = json_object_get(plan, "steps");
    size_t index;
    json_t *step;

    if (json_array_size(json_object_get(plan, "rules")) == 0) {
        fprintf(cli->out, "there are no rules of retention: everything is kept\n");
        return;
    }
    json_array_foreach(steps, index, step)
    {
        json_t *metrics = json_object_get(step, "metrics");
        const char *name;
        json_t *rows;
        fprintf(cli->out,
                "%s%s of %s, %s (%s): %" JSON_INTEGER_FORMAT
                " rows, %zu files, %s%" JSON_INTEGER_FORMAT " bytes, by %s\n",
                dry_run ? "would " : "", text_of(step, "action"), text_of(step, "table"),
                text_of(step, "day"), text_of(step, "kind"), number_of(step, "rows"),
                json_array_size(json_object_get(step, "files")),
                json_is_true(json_object_get(step, "bytes_estimated")) ? "about " : "",
                number_of(step, "bytes"), text_of(step, "rule"));
        json_object_foreach(metrics, name, rows)
        {
            fprintf(cli->out, "    %s: %" JSON_INTEGER_FORMAT " rows\n", name,
                    json_integer_value(rows));
        }
    }
    fprintf(cli->out, "%zu steps, %" JSON_INTEGER_FORMAT " rows, %" JSON_INTEGER_FORMAT " bytes\n",
            json_array_size(steps), number_of(plan, "rows"), number_of(plan, "bytes"));
}

static void
tell(const struct job *job, json_t *plan, bool dry_run)
{
    struct cli *cli = job->cli;

    if (cli_has(cli, "json")) {
        json_object_set_new(plan, "dry_run", json_boolean(dry_run));
        char *text = json_dumps(plan, JSON_COMPACT);
        fprintf(cli->out, "%s\n", text ? text : "null");
        free(text);
    } else if (job->name[0] == 's') {
        tell_days(cli, plan, dry_run);
    } else {
        tell_steps(cli, plan, dry_run);
    }
}

/* Plans, does it unless it is a dry run, tells. */
static int
run_job(struct job *job, bool dry_run, struct err *err)
{
    struct config config CONFIG_AUTO = {0};
    json_t *plan = NULL;
    enum err_code code = cli_load_config(job->cli, false, &config, err);

    code = code ? code : target_open(job->cli, &config, TARGET_MAINTAIN, &job->target, err);
    if (code != ERR_OK) {
        return cli_fail(job->cli, err);
    }
    bool remote = job->target.client != NULL;
    code = remote ? plan_by_server(job, &plan, err) : plan_here(job, &plan, err);
    if (code == ERR_OK && !dry_run) {
        code = remote ? run_by_server(job, err) : run_here(job, err);
    }
    if (code == ERR_OK) {
        tell(job, plan, dry_run);
    }
    json_decref(plan);
    target_close(&job->target);
    return code == ERR_OK ? CLI_OK : cli_fail(job->cli, err);
}

static enum err_code
read_seal(struct job *job, struct err *err)
{
    const char *before = cli_value(job->cli, "before");
    const char *name = cli_value(job->cli, "table");

    if (before && !time_parse_iso8601(slice_of(before), &job->seal.before_us)) {
        return err_set(err, ERR_USAGE, "--before is \"%.40s\"; expected an ISO 8601 time", before);
    }
    if (name) {
        const struct catalog_table *table = catalog_find(slice_of(name));
        table = table && table->id == TABLE_METRICS ? catalog_table(TABLE_SAMPLES) : table;
        if (!table || !table->sealed) {
            char names[CATALOG_NAMES_MAX];
            catalog_name_sealed(names);
            return err_set(err, ERR_USAGE,
                           "--table is \"%.60s\"; expected a table that is sealed: %s", name,
                           names);
        }
        job->seal.table = table->id;
        name = table->name;
    }
    char when[TIME_TEXT_MAX] = "";
    if (before) {
        time_format_iso8601(job->seal.before_us, when);
    }
    job->seal.small = cli_has(job->cli, "small");
    snprintf(job->query, sizeof(job->query), "?small=%s%s%s%s%s",
             job->seal.small ? "true" : "false", before ? "&before=" : "", when,
             name ? "&table=" : "", name ? name : "");
    return ERR_OK;
}

int
cli_seal(struct cli *cli)
{
    struct job job = {.cli = cli, .name = "seal", .steps = "days"};
    struct err err = {0};

    if (read_seal(&job, &err) != ERR_OK) {
        return cli_fail(cli, &err);
    }
    return run_job(&job, cli_has(cli, "dry-run"), &err);
}

static int
show_receipts(struct cli *cli, struct err *err)
{
    struct config config CONFIG_AUTO = {0};
    struct rows_writer writer = {.out = cli->out,
                                 .format = cli_has(cli, "json") ? ROWS_JSON : ROWS_TABLE};
    struct target target = {0};
    bool truncated = false;
    struct batch rows;
    enum err_code code = cli_load_config(cli, false, &config, err);

    code = code ? code : target_open(cli, &config, TARGET_READ, &target, err);
    if (code != ERR_OK) {
        return cli_fail(cli, err);
    }
    code = target_sql(&target,
                      "SELECT timestamp, action, table_name, kind, day, files, rows, bytes, rule, "
                      "metrics, id FROM retention_receipts ORDER BY timestamp, id",
                      &rows, &truncated, err);
    if (code == ERR_OK) {
        code = rows_write(&writer, &rows, err);
        code = code ? code : rows_end(&writer, err);
        batch_fini(&rows);
    }
    target_close(&target);
    return code == ERR_OK ? CLI_OK : cli_fail(cli, err);
}

int
cli_retention(struct cli *cli)
{
    struct job job = {.cli = cli, .name = "retention", .steps = "steps"};
    const char *what = cli->arg_count > 0 ? cli->args[0] : "plan";
    struct err err = {0};

    if (strcmp(what, "receipts") == 0) {
        return show_receipts(cli, &err);
    }
    if (strcmp(what, "run") != 0 && strcmp(what, "plan") != 0) {
        err_set(&err, ERR_USAGE, "retention %.40s: expected plan, run or receipts", what);
        return cli_fail(cli, &err);
    }
    return run_job(&job, strcmp(what, "plan") == 0 || cli_has(cli, "dry-run"), &err);
}
