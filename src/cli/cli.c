/* Parsing the command line against the table of subcommands, and running what it says. */
#include "cli/cli.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/target.h"
#include "server/suggest.h"

/* One option of a command line, whatever list it comes from. */
struct found {
    const struct cli_option *option;
    const struct config_setting *setting;
};

static bool
search(const struct cli_option *list, struct slice name, char letter, struct found *ret_found)
{
    for (; list->name; list++) {
        if (letter ? list->letter == letter : slice_is(name, list->name)) {
            ret_found->option = list;
            return true;
        }
    }
    return false;
}

static bool
find_option(const struct cli_command *command, struct slice name, char letter,
            struct found *ret_found)
{
    if (search(command->options, name, letter, ret_found) ||
        search(cli_common_options, name, letter, ret_found) ||
        (command->settings != CLI_SETTINGS_NONE &&
         search(cli_settings_options, name, letter, ret_found) &&
         (cli_shows(command, ret_found->option) || !slice_is(name, "database")))) {
        return true;
    }
    const struct config_setting *setting = letter ? NULL : config_find_flag(name);
    if (setting && cli_takes_setting(command, setting)) {
        ret_found->setting = setting;
        return true;
    }
    return false;
}

static void
offer_all(struct suggest *suggest, const struct cli_option *list)
{
    for (; list->name; list++) {
        suggest_offer(suggest, list->name);
    }
}

static enum err_code
refuse_option(const struct cli_command *command, struct slice name, const char *dashes,
              struct err *err)
{
    const struct config_setting *setting;
    struct suggest suggest;

    suggest_init(&suggest, name);
    offer_all(&suggest, command->options);
    offer_all(&suggest, cli_common_options);
    for (const struct cli_option *option = cli_settings_options; option->name; option++) {
        if (cli_shows(command, option)) {
            suggest_offer(&suggest, option->name);
        }
    }
    for (size_t i = 0; (setting = config_setting_at(i)); i++) {
        if (cli_takes_setting(command, setting)) {
            suggest_offer(&suggest, setting->flag);
        }
    }
    if (suggest.best) {
        return err_set(err, ERR_USAGE, "%s: unknown option %s%.*s; did you mean --%s?",
                       command->name, dashes, SLICE_FMT(slice_sub(name, 0, 100)), suggest.best);
    }
    return err_set(err, ERR_USAGE, "%s: unknown option %s%.*s; see `eider %s --help`",
                   command->name, dashes, SLICE_FMT(slice_sub(name, 0, 100)), command->name);
}

static void
add_choices(const char *const *choices, char *dst, size_t size)
{
    size_t used = 0;

    for (size_t i = 0; choices[i] && used < size; i++) {
        used += (size_t)snprintf(dst + used, size - used, "%s%s",
                                 i == 0 ? "" : (choices[i + 1] ? ", " : " or "), choices[i]);
    }
}

static enum err_code
take_option(struct cli *cli, const struct found *found, const char *value, struct err *err)
{
    const struct cli_option *option = found->option;

    if (cli->value_count == CLI_VALUES_MAX || cli->flag_count == CLI_VALUES_MAX) {
        return err_set(err, ERR_USAGE, "more than %d options", CLI_VALUES_MAX);
    }
    if (found->setting) {
        cli->flags[cli->flag_count++] =
            (struct config_flag){.name = found->setting->flag, .value = value};
        return ERR_OK;
    }
    if (option->choices) {
        assert(value); /* choices come with a value: the table is tested */
        size_t i = 0;
        while (option->choices[i] && strcmp(option->choices[i], value) != 0) {
            i++;
        }
        if (!option->choices[i]) {
            char choices[128];
            add_choices(option->choices, choices, sizeof(choices));
            return err_set(err, ERR_USAGE, "%s: --%s is \"%.100s\"; expected %s",
                           cli->command->name, option->name, value, choices);
        }
    }
    cli->values[cli->value_count].option = option;
    cli->values[cli->value_count++].value = value;
    return ERR_OK;
}

/* --set NAME=VALUE becomes a flag of the configuration. The name is cut out in place. */
static enum err_code
take_setting(struct cli *cli, char *pair, const char *option, struct err *err)
{
    assert(pair);
    char *equals = strchr(pair, '=');
    if (!equals) {
        return err_set(err, ERR_USAGE, "%s: --%s is \"%.100s\"; expected NAME=VALUE",
                       cli->command->name, option, pair);
    }
    if (cli->flag_count == CLI_VALUES_MAX) {
        return err_set(err, ERR_USAGE, "more than %d options", CLI_VALUES_MAX);
    }
    *equals = '\0';
    cli->flags[cli->flag_count++] =
        (struct config_flag){.name = pair, .value = equals + 1, .dotted = true};
    return ERR_OK;
}

/* Whether an option wants a value: 1 yes, 0 no (a switch). */
static bool
wants_value(const struct found *found)
{
    return found->setting ? found->setting->type != CONFIG_BOOL : found->option->arg != NULL;
}

/* "--name", "--name=value", "--name value", "-x value", "-xvalue". Moves *index over a value. */
static enum err_code
parse_option(struct cli *cli, int argc, char *const *argv, int *index, struct err *err)
{
    char *text = argv[*index];
    bool is_long = text[1] == '-';
    struct slice name = slice_of(text + (is_long ? 2 : 1));
    struct found found = {0};
    char *value = NULL;

    if (is_long) {
        char *equals = strchr(text, '=');
        if (equals) {
            name.len = (size_t)(equals - name.ptr);
            value = equals + 1;
        }
    } else {
        value = text[2] ? text + 2 : NULL;
        name.len = 1;
    }
    if (!find_option(cli->command, name, is_long ? '\0' : text[1], &found)) {
        return refuse_option(cli->command, name, is_long ? "--" : "-", err);
    }
    bool may_take = wants_value(&found) || (found.setting && value);
    if (value && !may_take) {
        return err_set(err, ERR_USAGE, "%s: %s--%s takes no value", cli->command->name, "",
                       found.option->name);
    }
    if (!value && wants_value(&found)) {
        if (*index + 1 >= argc) {
            return err_set(err, ERR_USAGE, "%s: --%s needs a value", cli->command->name,
                           found.setting ? found.setting->flag : found.option->name);
        }
        value = argv[++*index];
    }
    if (found.option == &cli_settings_options[1] || found.option == &cli_settings_options[2]) {
        return take_setting(cli, value, found.option->name, err);
    }
    return take_option(cli, &found, value, err);
}

static enum err_code
take_argument(struct cli *cli, const char *text, struct err *err)
{
    size_t max = cli->command->args_max;

    if (cli->arg_count == max) {
        return err_set(err, ERR_USAGE, "%s: unexpected argument \"%.100s\"; %s", cli->command->name,
                       text, max == 0 ? "it takes none" : (max == 1 ? "it takes one" : "too many"));
    }
    cli->args[cli->arg_count++] = text;
    return ERR_OK;
}

static enum err_code
refuse_command(const char *name, struct err *err)
{
    const struct cli_command *command;
    struct suggest suggest;

    suggest_init(&suggest, slice_of(name));
    for (size_t i = 0; (command = cli_command_at(i)); i++) {
        suggest_offer(&suggest, command->name);
    }
    if (suggest.best) {
        return err_set(err, ERR_USAGE, "unknown command \"%.100s\"; did you mean %s?", name,
                       suggest.best);
    }
    return err_set(err, ERR_USAGE, "unknown command \"%.100s\"; see `eider --help`", name);
}

enum err_code
cli_parse(struct cli *cli, int argc, char *const *argv, struct err *err)
{
    if (argc < 2) {
        return err_set(err, ERR_USAGE, "no command; see `eider --help`");
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        name = "help";
    } else if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        name = "version";
    }
    cli->command = cli_command_find(name);
    if (!cli->command) {
        return refuse_command(name, err);
    }
    bool options = true;
    for (int i = 2; i < argc; i++) {
        enum err_code code;
        if (options && strcmp(argv[i], "--") == 0) {
            options = false;
            continue;
        }
        if (options && argv[i][0] == '-' && argv[i][1] != '\0') {
            code = parse_option(cli, argc, argv, &i, err);
        } else {
            code = take_argument(cli, argv[i], err);
        }
        if (code != ERR_OK) {
            return code;
        }
    }
    return ERR_OK;
}

int
cli_run(struct cli *cli, int argc, char *const *argv)
{
    struct err err = {0};

    /* A reader that went away (eider sql ... | head) is an error of write, not a signal. */
    signal(SIGPIPE, SIG_IGN);
    if (cli_parse(cli, argc, argv, &err) != ERR_OK) {
        /* "--help" anywhere wins over whatever else is wrong with the line. */
        if (!cli->command || !cli_has(cli, "help")) {
            return cli_fail(cli, &err);
        }
    }
    if (cli_has(cli, "help")) {
        struct buf text BUF_AUTO = {0};
        buf_init(&text, 0);
        cli_help_text(cli->command, &text);
        return cli_write(cli, &text, &err) == ERR_OK ? CLI_OK : cli_fail(cli, &err);
    }
    int status = cli->command->run(cli);
    if (fflush(cli->out) != 0 && status == CLI_OK) {
        err_sys(&err, errno, "cannot write standard output");
        return cli_fail(cli, &err);
    }
    return status;
}

const char *
cli_value(const struct cli *cli, const char *name)
{
    const char *value = NULL;

    for (size_t i = 0; i < cli->value_count; i++) {
        if (strcmp(cli->values[i].option->name, name) == 0) {
            value = cli->values[i].value;
        }
    }
    return value;
}

bool
cli_has(const struct cli *cli, const char *name)
{
    for (size_t i = 0; i < cli->value_count; i++) {
        if (strcmp(cli->values[i].option->name, name) == 0) {
            return true;
        }
    }
    return false;
}

size_t
cli_all_values(const struct cli *cli, const char *name, const char **ret_values, size_t max)
{
    size_t count = 0;

    for (size_t i = 0; i < cli->value_count && count < max; i++) {
        if (strcmp(cli->values[i].option->name, name) == 0) {
            ret_values[count++] = cli->values[i].value;
        }
    }
    return count;
}

bool
cli_word_in(const char *list, const char *word)
{
    struct slice rest = slice_of(list);
    struct slice head;

    while (rest.len > 0) {
        slice_split(&rest, ' ', &head);
        if (slice_is(head, word)) {
            return true;
        }
    }
    return false;
}

enum err_code
cli_number(const struct cli *cli, const char *name, int64_t min, int64_t max, int64_t preset,
           int64_t *ret_value, struct err *err)
{
    const char *text = cli_value(cli, name);
    char *end;

    if (!text) {
        *ret_value = preset;
        return ERR_OK;
    }
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < min || value > max) {
        return err_set(err, ERR_USAGE,
                       "%s: --%s is \"%.100s\"; expected a whole number from %" PRId64
                       " to %" PRId64,
                       cli->command->name, name, text, min, max);
    }
    *ret_value = value;
    return ERR_OK;
}

enum err_code
cli_load_config(const struct cli *cli, bool for_a_server, struct config *ret_config,
                struct err *err)
{
    struct config_options options = {
        .file = cli_value(cli, "config"),
        .flags = cli->flags,
        .flag_count = cli->flag_count,
        .env = cli->env,
        .for_a_server = for_a_server,
        .missing_later = !for_a_server,
    };

    enum err_code code = config_load(&options, ret_config, err);
    if (code == ERR_OK) {
        code = target_choose_database(cli, ret_config, err);
        code = code ? code : config_need_usual(ret_config, err);
        if (code != ERR_OK) {
            config_fini(ret_config);
        }
    }
    return code;
}

int
cli_fail(const struct cli *cli, const struct err *err)
{
    fflush(cli->out);
    fprintf(cli->err, "eider: %s\n", err->msg);
    return err_exit_status(err->code);
}

void
cli_note(const struct cli *cli, const char *fmt, ...)
{
    va_list ap;

    fputs("eider: ", cli->err);
    va_start(ap, fmt);
    vfprintf(cli->err, fmt, ap);
    va_end(ap);
    fputc('\n', cli->err);
}

enum err_code
cli_write(const struct cli *cli, const struct buf *text, struct err *err)
{
    if ((text->len > 0 && fwrite(text->ptr, 1, text->len, cli->out) != text->len) ||
        fflush(cli->out) != 0) {
        return err_sys(err, errno, "cannot write standard output");
    }
    return ERR_OK;
}
