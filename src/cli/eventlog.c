/* eider eventlog: which action, with which options, on which log. */
#include "cli/eventlog.h"

#include <stdio.h>
#include <string.h>

#include "cli/eventlog_compat.h"
#include "cli/eventlog_place.h"
#include "codec/time.h"
#include "server/suggest.h"

enum { EVENT_BYTES_MAX = 16 << 20 };

/* ---- the program of the original ---- */

static enum err_code
read_time(const char *option, const char *text, int64_t *ret_us, struct err *err)
{
    if (text && *text && !time_parse_iso8601(slice_of(text), ret_us)) {
        return err_set(err, ERR_INVALID,
                       "--%s is \"%.60s\"; expected a time such as 2026-01-31T12:00:00.000Z",
                       option, text);
    }
    return ERR_OK;
}

/* What an operation was asked for. */
struct operation {
    const char *name;
    struct arena arena;
    struct event event;
    int64_t window_start_us;
    struct ledger_filter filter;
};

/* Everything is read before anything is opened. */
static enum err_code
read_operation(const struct cli *cli, struct operation *operation, struct err *err)
{
    const char *text = cli_value(cli, "event");
    const char *window = cli_value(cli, "window-start");
    struct event_filter *filter = &operation->filter.event;

    filter->from_us = INT64_MIN;
    filter->to_us = INT64_MAX;
    if (strcmp(operation->name, "log") == 0) {
        if (!text || !*text) {
            return err_set(err, ERR_INVALID, "Event data required for log operation");
        }
        return compat_read_event(slice_of(text), &operation->arena, &operation->event, err);
    }
    if (strcmp(operation->name, "get_credits_in_window") == 0) {
        if (!window || !*window) {
            return err_set(err, ERR_INVALID, "Window start required");
        }
        return read_time("window-start", window, &operation->window_start_us, err);
    }
    filter->api_name = slice_of(cli_value(cli, "api-name"));
    enum err_code code =
        read_time("start-date", cli_value(cli, "start-date"), &filter->from_us, err);
    return code == ERR_OK ? read_time("end-date", cli_value(cli, "end-date"), &filter->to_us, err)
                          : code;
}

struct outcome {
    int64_t credits;
    struct ledger_totals totals;
};

static enum err_code
ask_ledger(struct ledger *ledger, const struct operation *operation, struct outcome *outcome,
           struct err *err)
{
    struct ledger_appended appended;
    struct ledger_head head;

    if (strcmp(operation->name, "log") == 0) {
        return ledger_append(ledger, &operation->event, 1, &appended, err);
    }
    if (strcmp(operation->name, "init") == 0) {
        return ledger_head(ledger, &head, err);
    }
    if (strcmp(operation->name, "get_stats") == 0) {
        return ledger_totals(ledger, &operation->filter, &outcome->totals, err);
    }
    return ledger_credits_since(ledger, operation->window_start_us, &outcome->credits, err);
}

static enum err_code
operate(struct cli *cli, const struct operation *operation, struct outcome *outcome,
        struct err *err)
{
    struct config config CONFIG_AUTO = {0};
    struct ledger ledger;
    struct place place;
    bool writes = strcmp(operation->name, "log") == 0 || strcmp(operation->name, "init") == 0;
    enum err_code code = cli_load_config(cli, false, &config, err);

    if (code == ERR_OK) {
        code = place_find(cli, cli_value(cli, "db-path"), &config, &place, err);
    }
    /* Nothing was ever logged: nothing was spent. The original's document promises zeros. */
    if (code != ERR_OK || (!writes && !place.exists && !place.must_import)) {
        return code;
    }
    code = ledger_open(cli, &config, writes || place.must_import ? LEDGER_WRITE : LEDGER_READ,
                       &ledger, err);
    if (code != ERR_OK) {
        return code;
    }
    if (place.must_import) {
        code = place_import(&ledger, &place, err);
    }
    if (code == ERR_OK) {
        code = ledger_settle(&ledger, err);
    }
    if (code == ERR_OK) {
        code = ask_ledger(&ledger, operation, outcome, err);
    }
    /* The original's next question knew of what was just logged. */
    if (code == ERR_OK && writes && ledger.target.client) {
        code = ledger_settle(&ledger, err);
    }
    ledger_close(&ledger);
    return code;
}

int
eventlog_operation(struct cli *cli)
{
    struct operation operation = {.name = cli_value(cli, "operation")};
    struct outcome outcome = {0};
    struct buf out BUF_AUTO = {0};
    struct err err = {0};

    if (cli->arg_count > 0) {
        err_set(&err, ERR_USAGE, "eventlog: --operation and the action %.40s exclude each other",
                cli->args[0]);
        return cli_fail(cli, &err);
    }
    if (!cli_value(cli, "db-path") || !*cli_value(cli, "db-path")) {
        err_set(&err, ERR_USAGE,
                "eventlog: --operation %s needs --db-path FILE, such as data/event_log.duckdb",
                operation.name);
        return cli_fail(cli, &err);
    }
    arena_init(&operation.arena, EVENT_BYTES_MAX);
    enum err_code code = read_operation(cli, &operation, &err);
    if (code == ERR_OK) {
        code = operate(cli, &operation, &outcome, &err);
    }
    buf_init(&out, 0);
    const char *error = code == ERR_OK ? NULL : err.msg;
    if (strcmp(operation.name, "get_stats") == 0) {
        compat_write_stats(&out, &outcome.totals, error);
    } else if (strcmp(operation.name, "get_credits_in_window") == 0) {
        compat_write_credits(&out, outcome.credits, error);
    } else {
        compat_write_done(&out, error);
    }
    arena_fini(&operation.arena);
    /* The original's callers read the failure from the answer; the status is 0. */
    return cli_write(cli, &out, &err) == ERR_OK ? CLI_OK : cli_fail(cli, &err);
}

/* ---- options ---- */

enum err_code
eventlog_time(const struct cli *cli, const char *option, int64_t preset, int64_t *ret_us,
              struct err *err)
{
    const char *text = cli_value(cli, option);

    *ret_us = preset;
    if (text && !time_parse_iso8601(slice_of(text), ret_us)) {
        return err_set(err, ERR_USAGE,
                       "%s: --%s is \"%.60s\"; expected a time such as 2026-01-31 or "
                       "2026-01-31T12:00:00Z",
                       cli->command->name, option, text);
    }
    return ERR_OK;
}

enum err_code
eventlog_filter(const struct cli *cli, struct ledger_filter *ret_filter, struct err *err)
{
    struct ledger_filter filter = {.status = cli_value(cli, "status")};
    struct event_filter *event = &filter.event;

    event->api_name = slice_of(cli_value(cli, "api-name"));
    event->endpoint = slice_of(cli_value(cli, "endpoint"));
    event->method = slice_of(cli_value(cli, "method"));
    event->run_id = slice_of(cli_value(cli, "run"));
    event->api_key = slice_of(cli_value(cli, "key"));
    event->project = slice_of(cli_value(cli, "project"));
    event->id = slice_of(cli_value(cli, "id"));
    if (cli_has(cli, "success") && cli_has(cli, "failed")) {
        return err_set(err, ERR_USAGE, "eventlog: --success and --failed exclude each other");
    }
    event->has_success = cli_has(cli, "success") ? 1 : (cli_has(cli, "failed") ? -1 : 0);
    enum err_code code = eventlog_time(cli, "from", INT64_MIN, &event->from_us, err);
    if (code == ERR_OK) {
        code = eventlog_time(cli, "to", INT64_MAX, &event->to_us, err);
    }
    if (code == ERR_OK && event->from_us > event->to_us) {
        code = err_set(err, ERR_USAGE, "eventlog: --from is %s, behind --to %s",
                       cli_value(cli, "from"), cli_value(cli, "to"));
    }
    if (code == ERR_OK) {
        *ret_filter = filter;
    }
    return code;
}

/* ---- the actions ---- */

#define FILTERS "api-name endpoint method status run key project id success failed from to "

static const struct action {
    const char *name;
    enum ledger_use use;
    const char *arg; /* what it wants behind its name; NULL: nothing */
    const char *options;
    enum err_code (*run)(struct eventlog *log, struct err *err);
} actions[] = {
    {"list", LEDGER_READ, NULL, FILTERS "limit format json", eventlog_list},
    {"tail", LEDGER_READ, NULL, FILTERS "limit format json", eventlog_list},
    {"stats", LEDGER_READ, NULL, FILTERS "by format json", eventlog_stats},
    {"export", LEDGER_READ, NULL, "from to format output", NULL},
    {"head", LEDGER_READ, NULL, "json", eventlog_head},
    {"verify", LEDGER_READ, NULL, "from to head proof check-proof output json", eventlog_verify},
    {"import", LEDGER_WRITE, "FILE", "json", eventlog_import},
    {"reprice", LEDGER_READ, NULL, FILTERS "as-of prices book dry-run yes format json",
     eventlog_reprice},
    {"reconcile", LEDGER_READ, "FILE", "api-name endpoint key from to map tolerance strict json",
     eventlog_reconcile},
};

enum { ACTIONS = sizeof(actions) / sizeof(actions[0]) };

static enum err_code
find_action(const struct cli *cli, const struct action **ret_action, struct err *err)
{
    struct suggest suggest;

    if (cli->arg_count == 0) {
        return err_set(err, ERR_USAGE,
                       "eventlog: which action? list, tail, stats, export, head, verify, import, "
                       "reprice or reconcile; or --operation, as the original");
    }
    suggest_init(&suggest, slice_of(cli->args[0]));
    for (size_t i = 0; i < ACTIONS; i++) {
        if (strcmp(actions[i].name, cli->args[0]) == 0) {
            *ret_action = &actions[i];
            return ERR_OK;
        }
        suggest_offer(&suggest, actions[i].name);
    }
    if (suggest.best) {
        return err_set(err, ERR_USAGE, "eventlog: unknown action %.60s; did you mean %s?",
                       cli->args[0], suggest.best);
    }
    return err_set(err, ERR_USAGE, "eventlog: unknown action %.60s; see `eider eventlog --help`",
                   cli->args[0]);
}

/* An option without effect is a mistake, not a wish. */
static enum err_code
check_options(const struct cli *cli, const struct action *action, struct err *err)
{
    static const char everywhere[] = "url config help ";

    for (size_t i = 0; i < cli->value_count; i++) {
        const char *name = cli->values[i].option->name;
        if (!cli_word_in(everywhere, name) && !cli_word_in(action->options, name)) {
            return err_set(err, ERR_USAGE, "eventlog %s takes no --%s; see `eider eventlog --help`",
                           action->name, name);
        }
    }
    if (action->arg && cli->arg_count < 2) {
        return err_set(err, ERR_USAGE, "eventlog %s: which file? see `eider eventlog --help`",
                       action->name);
    }
    if (!action->arg && cli->arg_count > 1) {
        return err_set(err, ERR_USAGE, "eventlog %s: unexpected argument \"%.60s\"", action->name,
                       cli->args[1]);
    }
    return ERR_OK;
}

static int
run_action(struct cli *cli, const struct action *action)
{
    struct eventlog log = {.cli = cli, .status = CLI_OK};
    struct config config CONFIG_AUTO = {0};
    struct err err = {0};
    enum ledger_use use = action->use;
    enum err_code code = cli_load_config(cli, false, &config, &err);

    if (action->run == eventlog_reprice && !cli_has(cli, "dry-run")) {
        use = LEDGER_WRITE;
    }
    log.config = &config;
    if (code == ERR_OK && use == LEDGER_WRITE && action->run == eventlog_reprice &&
        !target_url(cli) && !target_has_data(&config)) {
        use = LEDGER_READ; /* nothing to correct: say so instead of making a directory */
    }
    if (code == ERR_OK) {
        code = ledger_open(cli, &config, use, &log.ledger, &err);
    }
    if (code == ERR_OK) {
        code = action->run(&log, &err);
        ledger_close(&log.ledger);
    }
    return code == ERR_OK ? log.status : cli_fail(cli, &err);
}

int
cli_eventlog(struct cli *cli)
{
    const struct action *action = NULL;
    struct err err = {0};

    if (cli_value(cli, "operation")) {
        return eventlog_operation(cli);
    }
    if (find_action(cli, &action, &err) != ERR_OK || !action ||
        check_options(cli, action, &err) != ERR_OK) {
        return cli_fail(cli, &err);
    }
    if (cli_has(cli, "check-proof")) {
        return eventlog_check_proof(cli, cli_value(cli, "check-proof"), &err) == ERR_OK
                   ? CLI_OK
                   : cli_fail(cli, &err);
    }
    if (strcmp(action->name, "export") == 0) {
        /* eider export knows formats, pages and files; the log is a table to it. */
        cli->args[0] = "api_event_log";
        return cli_export(cli);
    }
    return run_action(cli, action);
}
