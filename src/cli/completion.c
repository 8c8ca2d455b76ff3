/* Completion scripts for bash, zsh and fish, from the table of subcommands. */
#include <string.h>

#include "cli/cli.h"

typedef void visit_fn(void *ctx, const char *name, char letter, const char *help,
                      const char *const *choices, bool takes_value, enum cli_complete complete);

static void
visit_option(const struct cli_option *option, visit_fn *visit, void *ctx)
{
    visit(ctx, option->name, option->letter, option->help, option->choices, option->arg != NULL,
          option->complete);
}

static void
visit_list(const struct cli_option *list, visit_fn *visit, void *ctx)
{
    for (; list->name; list++) {
        visit_option(list, visit, ctx);
    }
}

/* Every option of a command, settings included. */
static void
visit_options(const struct cli_command *command, visit_fn *visit, void *ctx)
{
    const struct config_setting *setting;

    visit_list(command->options, visit, ctx);
    for (const struct cli_option *option = cli_settings_options; option->name; option++) {
        if (cli_shows(command, option)) {
            visit_option(option, visit, ctx);
        }
    }
    visit_list(cli_common_options, visit, ctx);
    for (size_t i = 0; (setting = config_setting_at(i)); i++) {
        if (cli_takes_setting(command, setting)) {
            bool is_path = setting->arg && (strcmp(setting->arg, "FILE") == 0 ||
                                            strcmp(setting->arg, "DIRECTORY") == 0);
            visit(ctx, setting->flag, '\0', setting->help, setting->choices,
                  setting->type != CONFIG_BOOL, is_path ? CLI_COMPLETE_FILE : CLI_COMPLETE_NONE);
        }
    }
}

static void
add_words(struct buf *out, const char *const *words)
{
    for (size_t i = 0; words[i]; i++) {
        buf_add_fmt(out, "%s%s", i ? " " : "", words[i]);
    }
}

static void
add_command_names(struct buf *out)
{
    const struct cli_command *command;

    for (size_t i = 0; (command = cli_command_at(i)); i++) {
        buf_add_fmt(out, "%s%s", i ? " " : "", command->name);
    }
}

/* ---- bash ---- */

static void
bash_name(void *ctx, const char *name, char letter, const char *help, const char *const *choices,
          bool takes_value, enum cli_complete complete)
{
    (void)letter, (void)help, (void)choices, (void)takes_value, (void)complete;
    buf_add_fmt(ctx, " --%s", name);
}

static void
bash_value(void *ctx, const char *name, char letter, const char *help, const char *const *choices,
           bool takes_value, enum cli_complete complete)
{
    (void)help;
    if (!takes_value) {
        return;
    }
    buf_add_fmt(ctx, "            --%s", name);
    if (letter) {
        buf_add_fmt(ctx, "|-%c", letter);
    }
    if (choices) {
        buf_add_cstr(ctx, ") COMPREPLY=($(compgen -W '");
        add_words(ctx, choices);
        buf_add_cstr(ctx, "' -- \"$word\")); return ;;\n");
    } else if (complete == CLI_COMPLETE_FILE) {
        buf_add_cstr(ctx, ") COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n");
    } else {
        buf_add_cstr(ctx, ") return ;;\n");
    }
}

static void
bash_command(struct buf *out, const struct cli_command *command)
{
    buf_add_fmt(out, "    %s)\n        case $before in\n", command->name);
    visit_options(command, bash_value, out);
    buf_add_cstr(out, "        esac\n        options='");
    visit_options(command, bash_name, out);
    buf_add_cstr(out, "'\n");
    if (command->complete == CLI_COMPLETE_FILE) {
        buf_add_cstr(out, "        files=1\n");
    } else if (command->complete == CLI_COMPLETE_COMMAND) {
        buf_add_cstr(out, "        words=$commands\n");
    } else if (command->arg_choices) {
        buf_add_cstr(out, "        words='");
        add_words(out, command->arg_choices);
        buf_add_cstr(out, "'\n");
    }
    buf_add_cstr(out, "        ;;\n");
}

static void
bash_script(struct buf *out)
{
    const struct cli_command *command;

    buf_add_cstr(out,
                 "# bash completion of eider; made by `eider completion bash`\n"
                 "_eider() {\n"
                 "    local word=${COMP_WORDS[COMP_CWORD]} files='' words='' options='' before=''\n"
                 "    local commands='");
    add_command_names(out);
    buf_add_cstr(out, "'\n    COMPREPLY=()\n"
                      "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
                      "        COMPREPLY=($(compgen -W \"$commands --help --version\" -- "
                      "\"$word\"))\n        return\n    fi\n"
                      "    before=${COMP_WORDS[COMP_CWORD-1]}\n"
                      "    case ${COMP_WORDS[1]} in\n");
    for (size_t i = 0; (command = cli_command_at(i)); i++) {
        bash_command(out, command);
    }
    buf_add_cstr(out, "    esac\n"
                      "    case $word in -*) words=$options files='' ;; esac\n"
                      "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
                      "    if [ -n \"$files\" ]; then\n"
                      "        COMPREPLY=($(compgen -f -- \"$word\"))\n"
                      "    fi\n}\ncomplete -o filenames -F _eider eider\n");
}

/* ---- zsh ---- */

/* Text within single quotes of a _arguments specification. */
static void
zsh_text(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\'') {
            buf_add_cstr(out, "'\\''");
        } else {
            if (*text == '[' || *text == ']' || *text == ':' || *text == '\\') {
                buf_add_char(out, '\\');
            }
            buf_add_char(out, *text);
        }
    }
}

static void
zsh_option(void *ctx, const char *name, char letter, const char *help, const char *const *choices,
           bool takes_value, enum cli_complete complete)
{
    const char letter_text[2] = {letter, '\0'};
    const char *const spellings[] = {letter ? letter_text : NULL, name};

    for (size_t i = 0; i < 2; i++) {
        if (!spellings[i]) {
            continue;
        }
        buf_add_fmt(ctx, "            '*%s%s[", i == 0 ? "-" : "--", spellings[i]);
        zsh_text(ctx, help);
        buf_add_char(ctx, ']');
        if (takes_value) {
            buf_add_fmt(ctx, ":%s:", name);
            if (choices) {
                buf_add_char(ctx, '(');
                add_words(ctx, choices);
                buf_add_char(ctx, ')');
            } else if (complete == CLI_COMPLETE_FILE) {
                buf_add_cstr(ctx, "_files");
            }
        }
        buf_add_cstr(ctx, "' \\\n");
    }
}

static void
zsh_script(struct buf *out)
{
    const struct cli_command *command;

    buf_add_cstr(out, "#compdef eider\n# zsh completion of eider; made by `eider completion zsh`\n"
                      "_eider() {\n    local -a commands\n    commands=(\n");
    for (size_t i = 0; (command = cli_command_at(i)); i++) {
        buf_add_fmt(out, "        '%s:", command->name);
        zsh_text(out, command->summary);
        buf_add_cstr(out, "'\n");
    }
    buf_add_cstr(out, "    )\n    if (( CURRENT == 2 )); then\n"
                      "        _describe command commands\n        return\n    fi\n"
                      "    local name=$words[2]\n    shift words\n    (( CURRENT-- ))\n"
                      "    case $name in\n");
    for (size_t i = 0; (command = cli_command_at(i)); i++) {
        buf_add_fmt(out, "    %s)\n        _arguments \\\n", command->name);
        visit_options(command, zsh_option, out);
        if (command->complete == CLI_COMPLETE_FILE) {
            buf_add_cstr(out, "            '*:file:_files'\n");
        } else if (command->complete == CLI_COMPLETE_COMMAND) {
            buf_add_cstr(out, "            '1:command:(");
            add_command_names(out);
            buf_add_cstr(out, ")'\n");
        } else if (command->arg_choices) {
            buf_add_cstr(out, "            '1:value:(");
            add_words(out, command->arg_choices);
            buf_add_cstr(out, ")'\n");
        } else {
            buf_add_cstr(out, "            '*: :'\n");
        }
        buf_add_cstr(out, "        ;;\n");
    }
    buf_add_cstr(out, "    esac\n}\n_eider \"$@\"\n");
}

/* ---- fish ---- */

struct fish {
    struct buf *out;
    const char *command;
};

static void
fish_text(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\') {
            buf_add_char(out, '\\');
        }
        buf_add_char(out, *text);
    }
}

static void
fish_option(void *ctx, const char *name, char letter, const char *help, const char *const *choices,
            bool takes_value, enum cli_complete complete)
{
    struct fish *fish = ctx;

    buf_add_fmt(fish->out, "complete -c eider -n '__fish_seen_subcommand_from %s' -l %s",
                fish->command, name);
    if (letter) {
        buf_add_fmt(fish->out, " -s %c", letter);
    }
    if (takes_value) {
        buf_add_cstr(fish->out, complete == CLI_COMPLETE_FILE && !choices ? " -r -F" : " -x");
    }
    if (choices) {
        buf_add_cstr(fish->out, " -a '");
        add_words(fish->out, choices);
        buf_add_char(fish->out, '\'');
    }
    buf_add_cstr(fish->out, " -d '");
    fish_text(fish->out, help);
    buf_add_cstr(fish->out, "'\n");
}

static void
fish_arguments(struct buf *out, const struct cli_command *command)
{
    if (command->complete == CLI_COMPLETE_NONE && !command->arg_choices) {
        return;
    }
    buf_add_fmt(out, "complete -c eider -n '__fish_seen_subcommand_from %s' ", command->name);
    if (command->complete == CLI_COMPLETE_FILE) {
        buf_add_cstr(out, "-F\n");
        return;
    }
    buf_add_cstr(out, "-a '");
    if (command->arg_choices) {
        add_words(out, command->arg_choices);
    } else {
        add_command_names(out);
    }
    buf_add_cstr(out, "'\n");
}

static void
fish_script(struct buf *out)
{
    const struct cli_command *command;

    buf_add_cstr(out, "# fish completion of eider; made by `eider completion fish`\n"
                      "complete -c eider -f\n");
    for (size_t i = 0; (command = cli_command_at(i)); i++) {
        struct fish fish = {out, command->name};
        buf_add_fmt(out, "complete -c eider -n __fish_use_subcommand -a %s -d '", command->name);
        fish_text(out, command->summary);
        buf_add_cstr(out, "'\n");
        visit_options(command, fish_option, &fish);
        fish_arguments(out, command);
    }
}

enum err_code
cli_completion(const char *shell, struct buf *ret_script, struct err *err)
{
    static const struct {
        const char *shell;
        void (*write)(struct buf *out);
    } scripts[] = {{"bash", bash_script}, {"zsh", zsh_script}, {"fish", fish_script}};

    for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
        if (strcmp(shell, scripts[i].shell) == 0) {
            scripts[i].write(ret_script);
            return ERR_OK;
        }
    }
    return err_set(err, ERR_USAGE,
                   "completion: unknown shell \"%.100s\"; expected bash, zsh or fish", shell);
}
