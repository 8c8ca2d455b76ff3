/*
 * The command line: one table of subcommands with their options, examples and functions. Parsing,
 * help, completion scripts, man pages and docs/cli.md are all made from that table.
 *
 * Exit statuses: 0 fine, 1 the thing failed, 2 wrong usage or configuration. A failure is one line
 * on standard error, "eider: ...".
 *
 * Threads: the main thread only; a command may start its own.
 */
#ifndef EIDER_CLI_CLI_H
#define EIDER_CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "server/config.h"

struct cli;

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

enum { CLI_VALUES_MAX = 128, CLI_ARGS_MAX = 1024 };

enum cli_complete { CLI_COMPLETE_NONE, CLI_COMPLETE_FILE, CLI_COMPLETE_COMMAND };

struct cli_option {
    const char *name;           /* without dashes; NULL ends a list */
    char letter;                /* 'o' for -o; 0: none */
    const char *arg;            /* what help calls its value; NULL: a switch */
    const char *help;           /* one sentence */
    const char *const *choices; /* the allowed values, ending in NULL; NULL: any */
    enum cli_complete complete;
};

struct cli_example {
    const char *line; /* NULL ends a list */
    const char *what;
};

enum cli_settings {
    CLI_SETTINGS_NONE,
    CLI_SETTINGS_STORE, /* --config, --set, --data-dir, --token */
    CLI_SETTINGS_ALL    /* every flag of the configuration */
};

struct cli_command {
    const char *name;
    const char *summary;     /* one line, no full stop */
    const char *synopsis;    /* what follows "eider NAME" */
    const char *description; /* paragraphs with an empty line between them */
    const struct cli_option *options;
    const struct cli_example *examples;
    enum cli_settings settings;
    size_t args_max; /* arguments that are no options */
    enum cli_complete complete;
    const char *const *arg_choices; /* for completion; NULL: any */
    int (*run)(struct cli *cli);    /* returns the exit status */
};

/* A parsed command line and its surroundings, which tests replace. */
struct cli {
    FILE *in;
    FILE *out;
    FILE *err;
    bool in_is_terminal;
    bool out_is_terminal;
    bool err_is_terminal;
    char *const *env;          /* NULL: the process's */
    const struct clock *clock; /* NULL: the system's */
    const struct cli_command *command;
    size_t value_count;
    struct {
        const struct cli_option *option;
        const char *value; /* NULL for a switch */
    } values[CLI_VALUES_MAX];
    size_t flag_count;
    struct config_flag flags[CLI_VALUES_MAX]; /* settings given as flags */
    size_t arg_count;
    const char *args[CLI_ARGS_MAX];
};

/* The table: index 0, 1, ... until NULL; and by name. */
const struct cli_command *cli_command_at(size_t index);
const struct cli_command *cli_command_find(const char *name);

/* Options that every command has (--help), and those that come with settings. */
extern const struct cli_option cli_common_options[];
extern const struct cli_option cli_settings_options[];

/* Whether help lists one of cli_settings_options for a command: --set is a setting everywhere but
 * where the command has a --set of its own; there it is --setting. Both are understood. */
bool cli_shows(const struct cli_command *command, const struct cli_option *option);

/* Whether a command takes a setting's flag. */
bool cli_takes_setting(const struct cli_command *command, const struct config_setting *setting);

/* Parses argv into `cli` (whose surroundings are set). ERR_USAGE with a message. */
enum err_code cli_parse(struct cli *cli, int argc, char *const *argv, struct err *err);

/* The whole program: parse, run, exit status. The surroundings of `cli` are set. */
int cli_run(struct cli *cli, int argc, char *const *argv);

/* The last value of an option, or NULL; whether a switch was given; all values of an option. */
const char *cli_value(const struct cli *cli, const char *name);
bool cli_has(const struct cli *cli, const char *name);
size_t cli_all_values(const struct cli *cli, const char *name, const char **ret_values, size_t max);

/* A whole number given with an option, `preset` when it was not. ERR_USAGE outside min..max. */
enum err_code cli_number(const struct cli *cli, const char *name, int64_t min, int64_t max,
                         int64_t preset, int64_t *ret_value, struct err *err);

/* Loads the configuration with the flags of this command line. For a command that is no server (and
 * does not show what one would have) a ${NAME} that is not set is an error only if it is used: see
 * config_need. */
enum err_code cli_load_config(const struct cli *cli, bool for_a_server, struct config *ret_config,
                              struct err *err);

/* Prints "eider: message" on standard error and returns the exit status of err->code. */
int cli_fail(const struct cli *cli, const struct err *err);

/* Prints "eider: ..." as a remark that is no failure. */
void cli_note(const struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Writes a buffer to cli->out. ERR_IO when that fails (a closed pipe). */
enum err_code cli_write(const struct cli *cli, const struct buf *text, struct err *err);

/* Texts made from the table; `command` NULL: the program as a whole. */
void cli_help_text(const struct cli_command *command, struct buf *ret_text);
void cli_man_page(const struct cli_command *command, struct buf *ret_troff);
void cli_markdown(struct buf *ret_markdown);
enum err_code cli_completion(const char *shell, struct buf *ret_script, struct err *err);

/* What completions and help list as the shells. */
extern const char *const cli_shells[];

/* The commands' functions, one file each. */
int cli_serve(struct cli *cli);
int cli_sql(struct cli *cli);
int cli_import(struct cli *cli);
int cli_export(struct cli *cli);
int cli_backup(struct cli *cli);
int cli_seal(struct cli *cli);
int cli_retention(struct cli *cli);
int cli_restore(struct cli *cli);
int cli_optimize(struct cli *cli);
int cli_check(struct cli *cli);
int cli_migrate(struct cli *cli);
int cli_config(struct cli *cli);
int cli_version(struct cli *cli);
int cli_help(struct cli *cli);
int cli_completion_command(struct cli *cli);
int cli_man(struct cli *cli);
int cli_eventlog(struct cli *cli);
int cli_spend(struct cli *cli);

/* Whether `word` is one of the words of `list`, which blanks separate. */
bool cli_word_in(const char *list, const char *word);

#endif
