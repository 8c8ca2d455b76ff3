/* Manual pages in troff (man macros), from the table of subcommands. */
#include <string.h>

#include "cli/cli.h"

/* Text for troff: backslashes, hyphens that are to be copied, and lines that would be requests. */
static void
add_text(struct buf *out, const char *text)
{
    bool line_start = true;

    for (; *text; text++) {
        if (line_start && (*text == '.' || *text == '\'')) {
            buf_add_cstr(out, "\\&");
        }
        line_start = *text == '\n';
        if (*text == '\\') {
            buf_add_cstr(out, "\\e");
        } else if (*text == '-') {
            buf_add_cstr(out, "\\-");
        } else if (text[0] == '\n' && text[1] == '\n') {
            buf_add_cstr(out, "\n.PP\n");
            text++;
        } else {
            buf_add_char(out, *text);
        }
    }
}

static void
add_line(struct buf *out, const char *request, const char *text)
{
    buf_add_cstr(out, request);
    add_text(out, text);
    buf_add_char(out, '\n');
}

static void
add_term(struct buf *out, const char *letter, const char *name, const char *arg, const char *help)
{
    buf_add_cstr(out, ".TP\n");
    if (letter) {
        buf_add_fmt(out, "\\fB\\-%s\\fR, ", letter);
    }
    buf_add_cstr(out, "\\fB\\-\\-");
    add_text(out, name);
    buf_add_cstr(out, "\\fR");
    if (arg) {
        buf_add_cstr(out, " \\fI");
        add_text(out, arg);
        buf_add_cstr(out, "\\fR");
    }
    buf_add_char(out, '\n');
    add_text(out, help);
    buf_add_char(out, '\n');
}

static void
add_option(struct buf *out, const struct cli_option *option)
{
    const char letter[2] = {option->letter, '\0'};

    add_term(out, option->letter ? letter : NULL, option->name, option->arg, option->help);
}

static void
add_options(struct buf *out, const struct cli_option *list)
{
    for (; list->name; list++) {
        add_option(out, list);
    }
}

static void
add_settings(struct buf *out, const struct cli_command *command)
{
    const struct config_setting *setting;
    char expected[160];
    char help[512];

    for (size_t i = 0; (setting = config_setting_at(i)); i++) {
        if (!cli_takes_setting(command, setting)) {
            continue;
        }
        config_expected(setting, expected, sizeof(expected));
        bool shown = setting->preset && setting->type != CONFIG_BOOL;
        snprintf(help, sizeof(help), "%s Expected: %s.%s%s%s", setting->help, expected,
                 shown ? " Default: " : "", shown ? setting->preset : "", shown ? "." : "");
        const char *arg = setting->arg ? setting->arg : "VALUE";
        add_term(out, NULL, setting->flag, setting->type == CONFIG_BOOL ? NULL : arg, help);
    }
}

/* Every setting, with the names it has in the environment; only where all of them apply. */
static void
add_environment(struct buf *out)
{
    const struct config_setting *setting;
    char own[96];

    buf_add_cstr(out, ".SH ENVIRONMENT\nEach setting of the configuration file can be given by a "
                      "variable.\n");
    for (size_t i = 0; (setting = config_setting_at(i)); i++) {
        config_env_name(setting, own, sizeof(own));
        buf_add_fmt(out, ".TP\n\\fB%s\\fR", own);
        for (size_t j = 0; j < CONFIG_ENV_MAX && setting->env[j]; j++) {
            buf_add_fmt(out, ", \\fB%s\\fR", setting->env[j]);
        }
        buf_add_char(out, '\n');
        add_text(out, setting->name);
        buf_add_cstr(out, ": ");
        add_text(out, setting->help);
        buf_add_char(out, '\n');
    }
}

static void
add_examples(struct buf *out, const struct cli_example *example)
{
    if (example->line) {
        buf_add_cstr(out, ".SH EXAMPLES\n");
    }
    for (; example->line; example++) {
        add_line(out, ".TP\n.B ", example->line);
        add_line(out, "", example->what);
    }
}

static void
add_exit_status(struct buf *out)
{
    buf_add_cstr(out, ".SH EXIT STATUS\n.TP\n0\nfine\n.TP\n1\nit failed; one line on standard "
                      "error says why\n.TP\n2\nwrong usage or configuration\n");
}

static void
add_see_also(struct buf *out, const struct cli_command *command)
{
    const struct cli_command *other;

    buf_add_cstr(out, ".SH SEE ALSO\n");
    if (command) {
        buf_add_cstr(out, ".BR eider (1)\n");
        return;
    }
    for (size_t i = 0; (other = cli_command_at(i)); i++) {
        buf_add_fmt(out, ".BR eider\\-%s (1)%s\n", other->name, cli_command_at(i + 1) ? "," : "");
    }
}

static void
man_of_program(struct buf *out)
{
    const struct cli_command *command;

    buf_add_cstr(out, ".TH EIDER 1 \"\" \"eider " EIDER_VERSION "\" \"Eider Manual\"\n.SH NAME\n"
                      "eider \\- observability store of trading systems and paid APIs\n"
                      ".SH SYNOPSIS\n.B eider\n.I COMMAND\n[\\fIOPTION\\fR]...\n"
                      ".SH DESCRIPTION\nOne program that takes in market data, metrics and trades,"
                      "\nkeeps them durably, streams them live and answers history in SQL.\n"
                      ".SH COMMANDS\n");
    for (size_t i = 0; (command = cli_command_at(i)); i++) {
        buf_add_fmt(out, ".TP\n.BR eider\\-%s (1)\n", command->name);
        add_line(out, "", command->summary);
    }
    add_environment(out);
    buf_add_cstr(out, ".SH FILES\n.TP\n.I eider.yaml\nthe configuration, in the working directory"
                      "\n.TP\n.I data/\nwrite\\-ahead log, database, backups and lock\n");
    add_exit_status(out);
    add_see_also(out, NULL);
}

void
cli_man_page(const struct cli_command *command, struct buf *ret_troff)
{
    if (!command) {
        man_of_program(ret_troff);
        return;
    }
    buf_add_cstr(ret_troff, ".TH EIDER\\-");
    for (const char *c = command->name; *c; c++) {
        buf_add_char(ret_troff, (char)(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c));
    }
    buf_add_fmt(ret_troff, " 1 \"\" \"eider %s\" \"Eider Manual\"\n.SH NAME\neider\\-%s \\- ",
                EIDER_VERSION, command->name);
    add_line(ret_troff, "", command->summary);
    buf_add_fmt(ret_troff, ".SH SYNOPSIS\n.B eider %s\n", command->name);
    add_line(ret_troff, "", command->synopsis);
    add_line(ret_troff, ".SH DESCRIPTION\n", command->description);
    buf_add_cstr(ret_troff, ".SH OPTIONS\n");
    add_options(ret_troff, command->options);
    if (command->settings != CLI_SETTINGS_NONE) {
        add_settings(ret_troff, command);
    }
    for (const struct cli_option *option = cli_settings_options; option->name; option++) {
        if (cli_shows(command, option)) {
            add_option(ret_troff, option);
        }
    }
    add_options(ret_troff, cli_common_options);
    add_examples(ret_troff, command->examples);
    add_exit_status(ret_troff);
    add_see_also(ret_troff, command);
}
