/* eider spend: budgets, breakers and reservations of a running server. */
#include "cli/spend.h"

#include <string.h>

#include "cli/json_table.h"
#include "cli/ledger.h"
#include "cli/spend_def.h"
#include "codec/time.h"
#include "server/suggest.h"

enum err_code
spend_ask(struct spend *spend, const char *method, const char *path, json_t *body,
          json_t **ret_answer, struct err *err)
{
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    struct client_request request = {.path = path,
                                     .method = method,
                                     .content_type = body ? "application/json" : NULL,
                                     .body = slice_of(text)};

    json_decref(body);
    enum err_code code = ledger_ask(spend->client, &request, ret_answer, err);
    free(text);
    return code;
}

enum err_code
spend_print_json(const struct spend *spend, const json_t *answer, struct err *err)
{
    struct buf out BUF_AUTO = {0};
    char *text = json_dumps(answer, JSON_COMPACT | JSON_ENCODE_ANY);

    buf_init(&out, 0);
    buf_add_cstr(&out, text);
    buf_add_char(&out, '\n');
    free(text);
    return cli_write(spend->cli, &out, err);
}

/* "/api/v1/spend/budgets/NAME[/ACTION]". */
static void
budget_path(const char *name, const char *action, struct buf *ret_path)
{
    buf_add_cstr(ret_path, "/api/v1/spend/budgets/");
    ledger_add_escaped(ret_path, slice_of(name));
    buf_add_fmt(ret_path, "%s%s%c", action ? "/" : "", action ? action : "", '\0');
}

/* ---- looking ---- */

static enum err_code
print_instances(struct spend *spend, const json_t *budgets, struct err *err)
{
    static const struct json_column columns[] = {
        {"budget", "^name", COL_TEXT},
        {"counter", "instance", COL_TEXT},
        {"state", "state", COL_TEXT},
        {"used", "used", COL_DECIMAL},
        {"reserved", "reserved", COL_DECIMAL},
        {"limit", "^hard_limit", COL_DECIMAL},
        {"resets", "resets_at", COL_TIMESTAMP},
        {"refused", "refused", COL_INT64},
        {"forecast", "forecast.text", COL_TEXT},
        {0},
    };
    struct batch rows;
    json_t *budget;
    json_t *instance;
    size_t i;
    size_t k;

    json_table_init(&rows, columns);
    json_array_foreach(budgets, i, budget)
    {
        json_t *instances = json_object_get(budget, "instances");
        json_array_foreach(instances, k, instance)
        {
            json_table_add(&rows, columns, budget, instance);
        }
        if (json_array_size(instances) == 0) {
            json_table_add(&rows, columns, budget, NULL);
        }
    }
    return json_table_print(spend->cli, &rows,
                            "no budgets; `eider spend set NAME --limit CREDITS` makes one", err);
}

static enum err_code
show_status(struct spend *spend, struct err *err)
{
    json_t *breaker;
    json_t *budgets = NULL;
    enum err_code code = spend_ask(spend, NULL, "/api/v1/spend/breaker", NULL, &breaker, err);

    if (code != ERR_OK) {
        return code;
    }
    code = spend_ask(spend, NULL, "/api/v1/spend/budgets", NULL, &budgets, err);
    if (code == ERR_OK && spend->json) {
        json_t *both = json_pack("{s:O, s:O}", "breaker", breaker, "budgets",
                                 json_object_get(budgets, "budgets"));
        code = both ? spend_print_json(spend, both, err)
                    : err_set(err, ERR_INTERNAL, "%s answered without budgets",
                              client_url(spend->client));
        json_decref(both);
    } else if (code == ERR_OK) {
        const char *state = json_string_value(json_object_get(breaker, "state"));
        fprintf(spend->cli->out, "breaker: %s\n", state ? state : "unknown");
        code = print_instances(spend, json_object_get(budgets, "budgets"), err);
    }
    json_decref(breaker);
    json_decref(budgets);
    return code;
}

/* Asks for a list and prints it as a table. */
static enum err_code
show_list(struct spend *spend, const char *path, const char *member,
          const struct json_column *columns, const char *empty, struct err *err)
{
    struct batch rows;
    json_t *answer;
    json_t *item;
    size_t i;
    enum err_code code = spend_ask(spend, NULL, path, NULL, &answer, err);

    if (code != ERR_OK) {
        return code;
    }
    if (spend->json) {
        code = spend_print_json(spend, answer, err);
    } else {
        json_table_init(&rows, columns);
        json_array_foreach(json_object_get(answer, member), i, item)
        {
            json_table_add(&rows, columns, answer, item);
        }
        code = json_table_print(spend->cli, &rows, empty, err);
    }
    json_decref(answer);
    return code;
}

static enum err_code
show_budgets(struct spend *spend, struct err *err)
{
    static const struct json_column columns[] = {
        {"budget", "name", COL_TEXT},
        {"scope", "scope", COL_TEXT},
        {"window", "window", COL_TEXT},
        {"minutes", "window_minutes", COL_INT64},
        {"limit", "hard_limit", COL_DECIMAL},
        {"soft limit", "soft_limit", COL_DECIMAL},
        {"mode", "mode", COL_TEXT},
        {"probes", "half_open_probes", COL_INT64},
        {"description", "description", COL_TEXT},
        {0},
    };

    return show_list(spend, "/api/v1/spend/budgets", "budgets", columns,
                     "no budgets; `eider spend set NAME --limit CREDITS` makes one", err);
}

static enum err_code
show_forecast(struct spend *spend, struct err *err)
{
    static const struct json_column columns[] = {
        {"budget", "name", COL_TEXT},
        {"counter", "instance", COL_TEXT},
        {"credits a minute", "rate_per_minute", COL_DECIMAL},
        {"exhausted", "exhausted_at", COL_TIMESTAMP},
        {"projected", "projected", COL_DECIMAL},
        {"forecast", "text", COL_TEXT},
        {0},
    };

    return show_list(spend, "/api/v1/spend/forecast", "forecasts", columns,
                     "nothing was counted yet", err);
}

static enum err_code
show_reservations(struct spend *spend, struct err *err)
{
    static const struct json_column columns[] = {
        {"reservation", "reservation_id", COL_TEXT}, {"api", "api_name", COL_TEXT},
        {"endpoint", "endpoint", COL_TEXT},          {"run", "run_id", COL_TEXT},
        {"credits", "credits", COL_DECIMAL},         {"made", "created_at", COL_TIMESTAMP},
        {"ends", "expires_at", COL_TIMESTAMP},       {0},
    };
    struct buf path BUF_AUTO = {0};
    int64_t count;
    enum err_code code = cli_number(spend->cli, "count", 1, 10000, 100, &count, err);

    if (code != ERR_OK) {
        return code;
    }
    buf_init(&path, 0);
    buf_add_fmt(&path, "/api/v1/spend/reservations?limit=%lld%c", (long long)count, '\0');
    return show_list(spend, path.ptr, "reservations", columns, "no reservation is open", err);
}

/* ---- changing ---- */

static enum err_code
print_budget(struct spend *spend, const json_t *budget, struct err *err)
{
    if (spend->json) {
        return spend_print_json(spend, budget, err);
    }
    json_t *list = json_pack("[O]", budget);
    enum err_code code = print_instances(spend, list, err);
    json_decref(list);
    if (code == ERR_OK && json_is_true(json_object_get(budget, "already_over"))) {
        cli_note(spend->cli, "more than the limit was spent within the window already");
    }
    return code;
}

/* A budget that is there keeps what is not given. */
static enum err_code
set_budget(struct spend *spend, struct err *err)
{
    struct buf path BUF_AUTO = {0};
    json_t *before = NULL;
    json_t *definition;
    json_t *answer;

    buf_init(&path, 0);
    budget_path(spend->cli->args[1], NULL, &path);
    enum err_code code = spend_ask(spend, NULL, path.ptr, NULL, &before, err);
    if (code != ERR_OK && code != ERR_NOT_FOUND) {
        return code;
    }
    code = spend_definition(spend->cli, before, &definition, err);
    json_decref(before);
    if (code == ERR_OK) {
        code = spend_ask(spend, "PUT", path.ptr, definition, &answer, err);
    }
    if (code == ERR_OK) {
        code = print_budget(spend, answer, err);
        json_decref(answer);
    }
    return code;
}

static enum err_code
delete_budget(struct spend *spend, struct err *err)
{
    struct buf path BUF_AUTO = {0};
    json_t *answer;

    buf_init(&path, 0);
    budget_path(spend->cli->args[1], NULL, &path);
    enum err_code code = spend_ask(spend, "DELETE", path.ptr, NULL, &answer, err);
    if (code == ERR_OK) {
        if (spend->json) {
            code = spend_print_json(spend, answer, err);
        } else {
            fprintf(spend->cli->out, "budget %s deleted\n", spend->cli->args[1]);
        }
        json_decref(answer);
    }
    return code;
}

/* reset, force-open, metrics-only, enforce. */
static enum err_code
change_budget(struct spend *spend, struct err *err)
{
    const char *reason = cli_value(spend->cli, "reason");
    struct buf path BUF_AUTO = {0};
    json_t *answer;
    json_t *body = json_object();

    if (reason) {
        json_object_set_new(body, "reason", json_string(reason));
    }
    buf_init(&path, 0);
    budget_path(spend->cli->args[1], spend->cli->args[0], &path);
    enum err_code code = spend_ask(spend, NULL, path.ptr, body, &answer, err);
    if (code == ERR_OK) {
        code = print_budget(spend, answer, err);
        json_decref(answer);
    }
    return code;
}

/* ---- what a limit would have done ---- */

static void
add_range(const struct cli *cli, json_t *body)
{
    static const char *const names[] = {"from", "to"};

    for (size_t i = 0; i < 2; i++) {
        if (cli_value(cli, names[i])) {
            json_object_set_new(body, names[i], json_string(cli_value(cli, names[i])));
        }
    }
}

static enum err_code
print_simulation(struct spend *spend, const json_t *answer, struct err *err)
{
    static const struct json_column columns[] = {
        {"calls", "calls", COL_INT64},
        {"refused", "refused", COL_INT64},
        {"credits", "credits", COL_DECIMAL},
        {"refused credits", "credits_refused", COL_DECIMAL},
        {"first refusal", "first_refused_at", COL_TIMESTAMP},
        {"fullest", "peak_at", COL_TIMESTAMP},
        {"credits then", "peak_credits", COL_DECIMAL},
        {0},
    };
    static const struct json_column hours[] = {
        {"hour", "hour", COL_TIMESTAMP},
        {"refused", "refused", COL_INT64},
        {"refused credits", "credits_refused", COL_DECIMAL},
        {0},
    };
    const json_t *list = json_object_get(answer, "hours");
    struct batch rows;
    json_t *hour;
    size_t i;

    json_table_init(&rows, columns);
    json_table_add(&rows, columns, NULL, answer);
    enum err_code code = json_table_print(spend->cli, &rows, "", err);
    if (code != ERR_OK || json_array_size(list) == 0) {
        return code;
    }
    fputc('\n', spend->cli->out);
    json_table_init(&rows, hours);
    json_array_foreach(list, i, hour)
    {
        json_table_add(&rows, hours, NULL, hour);
    }
    return json_table_print(spend->cli, &rows, "", err);
}

/* NAME: the budget that is there, with what the options change; without: a new one. */
static enum err_code
simulate(struct spend *spend, struct err *err)
{
    struct buf path BUF_AUTO = {0};
    json_t *before = NULL;
    json_t *body;
    json_t *answer;
    enum err_code code = ERR_OK;

    if (spend->cli->arg_count > 1) {
        buf_init(&path, 0);
        budget_path(spend->cli->args[1], NULL, &path);
        code = spend_ask(spend, NULL, path.ptr, NULL, &before, err);
    }
    if (code == ERR_OK) {
        code = spend_definition(spend->cli, before, &body, err);
        json_decref(before);
    }
    if (code != ERR_OK) {
        return code;
    }
    /* A definition has a name, even one that is only thought of. */
    json_object_set_new(body, "name",
                        json_string(spend->cli->arg_count > 1 ? spend->cli->args[1] : "simulated"));
    add_range(spend->cli, body);
    code = spend_ask(spend, NULL, "/api/v1/spend/simulate", body, &answer, err);
    if (code == ERR_OK) {
        code = spend->json ? spend_print_json(spend, answer, err)
                           : print_simulation(spend, answer, err);
        json_decref(answer);
    }
    return code;
}

/* ---- the actions ---- */

#define DEFINITION "limit soft-limit window scope mode probes pause description "

static const struct action {
    const char *name;
    const char *options;
    const char *arg; /* what it wants behind its name; NULL: nothing */
    bool arg_is_optional;
    bool is_offline;
    enum err_code (*run)(struct spend *spend, struct err *err);
} actions[] = {
    {"status", "", NULL, false, false, show_status},
    {"budgets", "", NULL, false, false, show_budgets},
    {"set", DEFINITION, "budget", false, false, set_budget},
    {"delete", "", "budget", false, false, delete_budget},
    {"reset", "reason", "budget", false, false, change_budget},
    {"force-open", "reason", "budget", false, false, change_budget},
    {"metrics-only", "reason", "budget", false, false, change_budget},
    {"enforce", "reason", "budget", false, false, change_budget},
    {"forecast", "", NULL, false, false, show_forecast},
    {"simulate", DEFINITION "from to", "budget", true, false, simulate},
    {"reservations", "count", NULL, false, false, show_reservations},
    {"quote", "api endpoint method param query", NULL, false, false, spend_quote},
    {"prices", "", NULL, false, false, spend_prices},
    {"check-prices", "", "file", false, true, spend_check_prices},
};

enum { ACTIONS = sizeof(actions) / sizeof(actions[0]) };

static enum err_code
find_action(const struct cli *cli, const struct action **ret_action, struct err *err)
{
    struct suggest suggest;

    if (cli->arg_count == 0) {
        return err_set(err, ERR_USAGE,
                       "spend: which action? status, budgets, set, delete, reset, force-open, "
                       "metrics-only, enforce, forecast, simulate, reservations, quote, prices or "
                       "check-prices");
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
        return err_set(err, ERR_USAGE, "spend: unknown action %.60s; did you mean %s?",
                       cli->args[0], suggest.best);
    }
    return err_set(err, ERR_USAGE, "spend: unknown action %.60s; see `eider spend --help`",
                   cli->args[0]);
}

static enum err_code
check_line(const struct cli *cli, const struct action *action, struct err *err)
{
    for (size_t i = 0; i < cli->value_count; i++) {
        const char *name = cli->values[i].option->name;
        if (!cli_word_in("url config json help", name) && !cli_word_in(action->options, name)) {
            return err_set(err, ERR_USAGE, "spend %s takes no --%s; see `eider spend --help`",
                           action->name, name);
        }
    }
    if (action->arg && !action->arg_is_optional && cli->arg_count < 2) {
        return err_set(err, ERR_USAGE, "spend %s: which %s? see `eider spend --help`", action->name,
                       action->arg);
    }
    size_t max = action->is_offline ? CLI_ARGS_MAX : (action->arg ? 2 : 1);
    if (cli->arg_count > max) {
        return err_set(err, ERR_USAGE, "spend %s: unexpected argument \"%.60s\"", action->name,
                       cli->args[max]);
    }
    return ERR_OK;
}

static enum err_code
find_server(const struct cli *cli, const struct config *config, struct client **ret_client,
            struct err *err)
{
    enum err_code code = target_find_server(cli, config, ret_client, err);

    if (code == ERR_OK && !*ret_client) {
        code = err_set(err, ERR_UNAVAILABLE,
                       "no server has %s open, and budgets are a server's; start `eider serve`, or "
                       "give --data-dir or --url",
                       config->data_dir);
    }
    return code;
}

int
cli_spend(struct cli *cli)
{
    struct spend spend = {.cli = cli, .json = cli_has(cli, "json"), .status = CLI_OK};
    struct config config CONFIG_AUTO = {0};
    const struct action *action = NULL;
    struct err err = {0};
    enum err_code code = find_action(cli, &action, &err);

    if (code == ERR_OK && action) {
        code = check_line(cli, action, &err);
    }
    if (code == ERR_OK && action && !action->is_offline) {
        code = cli_load_config(cli, false, &config, &err);
        if (code == ERR_OK) {
            code = find_server(cli, &config, &spend.client, &err);
        }
    }
    if (code == ERR_OK && action) {
        code = action->run(&spend, &err);
    }
    client_close(spend.client);
    return code == ERR_OK ? spend.status : cli_fail(cli, &err);
}
