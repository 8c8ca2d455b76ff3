/* Help texts and docs/cli.md, from the table of subcommands. */
#include <string.h>

#include "cli/cli.h"

enum { HELP_COLUMN = 28, HELP_WIDTH = 80 };

/* Appends words behind `column`, broken at HELP_WIDTH and continued at `indent`. */
static void
add_wrapped(struct buf *out, const char *text, size_t column, size_t indent)
{
    bool first = true;

    while (*text) {
        size_t word = strcspn(text, " \n");
        if (word > 0) {
            if (!first && column + 1 + word > HELP_WIDTH) {
                buf_add_char(out, '\n');
                buf_add_fmt(out, "%*s", (int)indent, "");
                column = indent;
                first = true;
            }
            if (!first) {
                buf_add_char(out, ' ');
                column++;
            }
            buf_add(out, text, word);
            column += word;
            first = false;
            text += word;
        }
        if (text[0] == '\n' && text[1] == '\n') {
            buf_add_cstr(out, "\n\n");
            buf_add_fmt(out, "%*s", (int)indent, "");
            column = indent;
            first = true;
        }
        text += *text ? 1 : 0;
    }
    buf_add_char(out, '\n');
}

static void
add_entry(struct buf *out, const char *left, const char *help)
{
    size_t used = strlen(left);

    buf_add_cstr(out, left);
    if (used + 2 > HELP_COLUMN) {
        buf_add_char(out, '\n');
        used = 0;
    }
    buf_add_fmt(out, "%*s", (int)(HELP_COLUMN - used), "");
    add_wrapped(out, help, HELP_COLUMN, HELP_COLUMN);
}

static void
add_option(struct buf *out, const struct cli_option *option)
{
    char left[96];
    char letter[8] = "    ";

    if (option->letter) {
        snprintf(letter, sizeof(letter), "-%c, ", option->letter);
    }
    snprintf(left, sizeof(left), "  %s--%s%s%s", letter, option->name, option->arg ? " " : "",
             option->arg ? option->arg : "");
    add_entry(out, left, option->help);
}

static void
add_options(struct buf *out, const struct cli_option *list)
{
    for (; list->name; list++) {
        add_option(out, list);
    }
}

static const char *
setting_arg(const struct config_setting *setting)
{
    static const char *const args[] = {
        [CONFIG_TEXT] = "TEXT",     [CONFIG_BOOL] = NULL,       [CONFIG_INT] = "N",
        [CONFIG_BYTES] = "SIZE",    [CONFIG_DURATION] = "TIME", [CONFIG_CHOICE] = "NAME",
        [CONFIG_LIST] = "ITEM,...",
    };

    return setting->arg ? setting->arg : args[setting->type];
}

static void
add_settings(struct buf *out, const struct cli_command *command)
{
    const struct config_setting *setting;
    char left[96];
    char help[320];

    for (size_t i = 0; (setting = config_setting_at(i)); i++) {
        if (!cli_takes_setting(command, setting)) {
            continue;
        }
        const char *arg = setting_arg(setting);
        snprintf(left, sizeof(left), "      --%s%s%s", setting->flag, arg ? " " : "",
                 arg ? arg : "");
        bool shown = setting->preset && setting->type != CONFIG_BOOL;
        snprintf(help, sizeof(help), "%s%s%s%s", setting->help, shown ? " Default: " : "",
                 shown ? setting->preset : "", shown ? "." : "");
        add_entry(out, left, help);
    }
}

static void
add_examples(struct buf *out, const struct cli_example *example)
{
    if (example->line) {
        buf_add_cstr(out, "\nExamples:\n");
    }
    for (; example->line; example++) {
        buf_add_fmt(out, "  %s\n      %s\n", example->line, example->what);
    }
}

static void
help_of_program(struct buf *out)
{
    const struct cli_command *command;
    char left[64];

    buf_add_cstr(out, "Usage: eider COMMAND [OPTION]...\n\n"
                      "The observability store of trading systems and paid APIs: durable writes,\n"
                      "live streams, history in SQL.\n\nCommands:\n");
    for (size_t i = 0; (command = cli_command_at(i)); i++) {
        snprintf(left, sizeof(left), "  %s", command->name);
        buf_add_fmt(out, "%-14s%s\n", left, command->summary);
    }
    buf_add_cstr(out, "\n`eider COMMAND --help` explains a command, `eider man` prints the manual."
                      "\nStart with: eider serve --demo\n");
}

void
cli_help_text(const struct cli_command *command, struct buf *ret_text)
{
    if (!command) {
        help_of_program(ret_text);
        return;
    }
    buf_add_fmt(ret_text, "Usage: eider %s %s\n\n", command->name, command->synopsis);
    add_wrapped(ret_text, command->description, 0, 0);
    buf_add_cstr(ret_text, "\nOptions:\n");
    add_options(ret_text, command->options);
    if (command->settings != CLI_SETTINGS_NONE) {
        add_settings(ret_text, command);
    }
    for (const struct cli_option *option = cli_settings_options; option->name; option++) {
        if (cli_shows(command, option)) {
            add_option(ret_text, option);
        }
    }
    add_options(ret_text, cli_common_options);
    add_examples(ret_text, command->examples);
}

void
cli_markdown(struct buf *ret_markdown)
{
    const struct cli_command *command;

    for (size_t i = 0; (command = cli_command_at(i)); i++) {
        buf_add_fmt(ret_markdown, "%s## eider %s\n\n```text\n", i ? "\n" : "", command->name);
        cli_help_text(command, ret_markdown);
        buf_add_cstr(ret_markdown, "```\n");
    }
}
