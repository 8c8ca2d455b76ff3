/* Options into a budget's definition. */
#include "cli/spend_def.h"

#include <string.h>

#include "codec/decimal.h"
#include "codec/number.h"
#include "meter/budget.h"

enum { SCOPES_MAX = 16 };

bool
spend_duration_ms(const char *text, int64_t unit_ms, int64_t *ret_ms)
{
    static const struct {
        const char *suffix;
        int64_t ms;
    } units[] = {{"ms", 1},      {"s", 1000},     {"min", 60000},  {"m", 60000},
                 {"h", 3600000}, {"d", 86400000}, {"w", 604800000}};
    size_t digits = strspn(text, "0123456789");
    const char *suffix = text + digits + strspn(text + digits, " ");
    int64_t value;

    for (size_t i = 0; *suffix && i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(units[i].suffix, suffix) == 0) {
            unit_ms = units[i].ms;
            suffix = "";
        }
    }
    return !*suffix && number_parse_i64(slice_make(text, digits), &value) && value > 0 &&
           !__builtin_mul_overflow(value, unit_ms, ret_ms);
}

/* Credits travel as texts: a double does not hold all of them. */
static enum err_code
set_credits(const struct cli *cli, const char *option, const char *member, json_t *definition,
            struct err *err)
{
    const char *text = cli_value(cli, option);
    int64_t micro;

    if (!text) {
        return ERR_OK;
    }
    if (!decimal_parse(slice_of(text), &micro) || micro < 0) {
        return err_set(err, ERR_USAGE,
                       "spend: --%s is \"%.60s\"; expected credits, 0 or more with at most 6 "
                       "decimals",
                       option, text);
    }
    json_object_set_new(definition, member, json_string(text));
    return ERR_OK;
}

static enum err_code
set_window(const struct cli *cli, json_t *definition, struct err *err)
{
    static const char *const fixed[] = {"hour", "day", "month"};
    const char *text = cli_value(cli, "window");
    int64_t ms;

    if (!text) {
        return ERR_OK;
    }
    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
        if (strcmp(text, fixed[i]) == 0) {
            json_object_set_new(definition, "window", json_string(text));
            json_object_del(definition, "window_minutes");
            return ERR_OK;
        }
    }
    if (!spend_duration_ms(text, 60000, &ms) || ms % 60000 != 0 ||
        ms / 60000 > BUDGET_WINDOW_MINUTES_MAX) {
        return err_set(
            err, ERR_USAGE,
            "spend: --window is \"%.60s\"; expected hour, day or month (of the calendar, "
            "UTC), or the length of a sliding window such as 60m, 24h or 7d",
            text);
    }
    json_object_set_new(definition, "window", json_string("sliding"));
    json_object_set_new(definition, "window_minutes", json_integer(ms / 60000));
    return ERR_OK;
}

static bool
is_dimension(struct slice name)
{
    for (int i = 0; i < DIM_COUNT; i++) {
        if (slice_is(name, budget_dimension_name((enum budget_dimension)i))) {
            return true;
        }
    }
    return false;
}

/* The scope is given whole: --scope none is all calls together. */
static enum err_code
set_scope(const struct cli *cli, json_t *definition, struct err *err)
{
    const char *texts[SCOPES_MAX];
    size_t count = cli_all_values(cli, "scope", texts, SCOPES_MAX);

    if (count == 0) {
        return ERR_OK;
    }
    json_t *scope = json_object();
    json_object_set_new(definition, "scope", scope);
    for (size_t i = 0; i < count; i++) {
        struct slice value = slice_of(texts[i]);
        struct slice name;
        char key[16];
        if (strcmp(texts[i], "none") == 0 && count == 1) {
            return ERR_OK;
        }
        bool is_pair = slice_split(&value, '=', &name);
        if (!is_pair || value.len == 0 || !is_dimension(name) ||
            !slice_to_cstr(name, key, sizeof(key))) {
            return err_set(
                err, ERR_USAGE,
                "spend: --scope is \"%.60s\"; expected api=, endpoint=, key=, run_id= or "
                "project= with a value, or * for a counter of each value",
                texts[i]);
        }
        json_object_set_new(scope, key, json_stringn(value.ptr, value.len));
    }
    return ERR_OK;
}

static enum err_code
set_rest(const struct cli *cli, json_t *definition, struct err *err)
{
    const char *mode = cli_value(cli, "mode");
    const char *pause = cli_value(cli, "pause");
    const char *description = cli_value(cli, "description");
    int64_t probes;
    int64_t ms;
    enum err_code code = cli_number(cli, "probes", 0, 1000000, -1, &probes, err);

    if (code != ERR_OK) {
        return code;
    }
    if (mode) {
        /* The command line writes what the actions are called. */
        const char *name = strcmp(mode, "enforce") == 0
                               ? "enforce"
                               : (strcmp(mode, "force-open") == 0 ? "forced_open" : "metrics_only");
        json_object_set_new(definition, "mode", json_string(name));
    }
    if (probes >= 0) {
        json_object_set_new(definition, "half_open_probes", json_integer(probes));
    }
    if (pause) {
        if (!spend_duration_ms(pause, 1000, &ms)) {
            return err_set(err, ERR_USAGE,
                           "spend: --pause is \"%.60s\"; expected a time such as 10s or 5m", pause);
        }
        json_object_set_new(definition, "half_open_pause_ms", json_integer(ms));
    }
    if (description) {
        json_object_set_new(definition, "description", json_string(description));
    }
    return ERR_OK;
}

enum err_code
spend_definition(const struct cli *cli, const json_t *before, json_t **ret_definition,
                 struct err *err)
{
    static const char *const members[] = {
        "scope", "window",           "window_minutes",     "hard_limit", "soft_limit",
        "mode",  "half_open_probes", "half_open_pause_ms", "description"};
    json_t *definition = json_object();

    for (size_t i = 0; before && i < sizeof(members) / sizeof(members[0]); i++) {
        json_t *value = json_object_get(before, members[i]);
        if (value) {
            json_object_set(definition, members[i], value);
        }
    }
    enum err_code code = set_credits(cli, "limit", "hard_limit", definition, err);
    if (code == ERR_OK) {
        code = set_credits(cli, "soft-limit", "soft_limit", definition, err);
    }
    if (code == ERR_OK) {
        code = set_window(cli, definition, err);
    }
    if (code == ERR_OK) {
        code = set_scope(cli, definition, err);
    }
    if (code == ERR_OK) {
        code = set_rest(cli, definition, err);
    }
    if (code == ERR_OK && !json_object_get(definition, "hard_limit")) {
        code =
            err_set(err, ERR_USAGE,
                    "spend: a new budget needs --limit CREDITS; --window and --scope say of what");
    }
    if (code != ERR_OK) {
        json_decref(definition);
        return code;
    }
    *ret_definition = definition;
    return ERR_OK;
}
