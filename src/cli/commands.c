/* The one table of subcommands. */
#include <string.h>

#include "cli/cli.h"
#include "cli/commands_backup.h"
#include "cli/commands_cold.h"
#include "cli/commands_metering.h"
#include "cli/commands_migrate.h"

const char *const cli_shells[] = {"bash", "zsh", "fish", NULL};

static const char *const sql_formats[] = {"table", "csv", "json", "ndjson", NULL};
static const char *const import_formats[] = {"csv", "parquet", "ndjson", "line", "duckdb", NULL};
static const char *const export_formats[] = {"csv", "ndjson", "json", "parquet", NULL};
static const char *const on_error_choices[] = {"reject", "skip", NULL};
static const char *const precisions[] = {"ns", "us", "ms", "s", NULL};

const struct cli_option cli_common_options[] = {
    {.name = "help", .letter = 'h', .help = "Print this help and exit."},
    {0},
};

const struct cli_option cli_settings_options[] = {
    {.name = "config",
     .letter = 'c',
     .arg = "FILE",
     .help = "Configuration file; eider.yaml of the working directory when not given.",
     .complete = CLI_COMPLETE_FILE},
    {.name = "set",
     .arg = "NAME=VALUE",
     .help = "Any setting by its name in the file, e.g. --set sql.rows_max=1000."},
    {.name = "setting",
     .arg = "NAME=VALUE",
     .help = "Any setting by its name in the file, e.g. --setting data_dir=/srv/eider."},
    {.name = "database",
     .arg = "NAME",
     .help = "One of several databases of a server (`databases:` of the configuration)."},
    {0},
};

static const struct cli_option no_options[] = {{0}};

static const struct cli_option sql_options[] = {
    {.name = "format",
     .letter = 'f',
     .arg = "FORMAT",
     .help = "How to print rows: table, csv, json or ndjson.",
     .choices = sql_formats},
    {.name = "json", .help = "The same as --format json."},
    {.name = "url",
     .arg = "URL",
     .help = "Ask the server at this address, such as http://127.0.0.1:8000."},
    {0},
};

static const struct cli_option import_options[] = {
    {.name = "table",
     .letter = 't',
     .arg = "TABLE",
     .help = "Table to write; guessed from the columns when not given."},
    {.name = "format",
     .letter = 'f',
     .arg = "FORMAT",
     .help = "csv, parquet, ndjson, line or duckdb; told from the file's name when not given.",
     .choices = import_formats},
    {.name = "map",
     .letter = 'm',
     .arg = "COLUMN=SOURCE,...",
     .help = "Fill a column of the table from a column of the file; may be repeated."},
    {.name = "set",
     .letter = 's',
     .arg = "COLUMN=VALUE",
     .help = "Fill a column with one value for all rows; may be repeated."},
    {.name = "date-format",
     .arg = "FORMAT",
     .help = "How times are written: iso, s, ms, us, ns, or a pattern such as \"%d.%m.%Y %H:%M\"."},
    {.name = "delimiter",
     .arg = "CHARACTER",
     .help = "What separates the columns of CSV; told from the header when not given."},
    {.name = "source-table",
     .arg = "TABLE",
     .help = "The table of a .duckdb file to read; all tables that fit when not given."},
    {.name = "precision",
     .arg = "UNIT",
     .help = "Unit of integer times in NDJSON and line protocol: ns, us, ms or s.",
     .choices = precisions},
    {.name = "on-error",
     .arg = "ACTION",
     .help = "reject stops at the first batch with a wrong row; skip leaves wrong rows out.",
     .choices = on_error_choices},
    {.name = "batch", .arg = "ROWS", .help = "Rows written at once; 10000 when not given."},
    {.name = "dry-run", .letter = 'n', .help = "Read and check everything, write nothing."},
    {.name = "url", .arg = "URL", .help = "Write through the server at this address."},
    {.name = "json", .help = "Print the result as JSON."},
    {0},
};

static const struct cli_option export_options[] = {
    {.name = "format",
     .letter = 'f',
     .arg = "FORMAT",
     .help = "csv, ndjson, json or parquet; told from the name of --output, else csv.",
     .choices = export_formats},
    {.name = "output",
     .letter = 'o',
     .arg = "FILE",
     .help = "File to write; standard output when not given.",
     .complete = CLI_COMPLETE_FILE},
    {.name = "sql", .arg = "SELECT", .help = "Export the answer of a query instead of a table."},
    {.name = "from", .arg = "TIME", .help = "First timestamp, ISO 8601 (no zone means UTC)."},
    {.name = "to", .arg = "TIME", .help = "Last timestamp, inclusive."},
    {.name = "symbol", .arg = "SYMBOL", .help = "Only rows of this symbol."},
    {.name = "url", .arg = "URL", .help = "Read from the server at this address."},
    {0},
};

static const struct cli_option check_options[] = {
    {.name = "repair", .help = "Mend what can be mended; sets aside, deletes nothing."},
    {.name = "explain", .help = "Say of each finding what it means for the data."},
    {.name = "from",
     .arg = "DIR",
     .help = "Backups to take missing cold files from; backup.dir when not given.",
     .complete = CLI_COMPLETE_FILE},
    {.name = "forget-missing",
     .help = "With --repair: tell no more of lost cold files that no backup has; --from and "
             "backup.dir must be readable. Without either it says that there is no backup."},
    {.name = "url", .arg = "URL", .help = "Ask the server at this address."},
    {.name = "json", .help = "Print the result as JSON."},
    {0},
};

static const struct cli_option config_options[] = {
    {.name = "json", .help = "Print the settings as JSON."},
    {.name = "markdown", .help = "Print the reference of all settings as Markdown."},
    {0},
};

static const struct cli_option version_options[] = {
    {.name = "json", .help = "Print the versions as JSON."},
    {0},
};

static const struct cli_option help_options[] = {
    {.name = "markdown", .help = "Print the reference of all commands as Markdown."},
    {0},
};

static const struct cli_example serve_examples[] = {
    {"eider serve", "listen on http://127.0.0.1:8000, keep the data in ./data"},
    {"eider serve --demo --port 9000", "show generated market data on another port"},
    {"EIDER_TOKEN=... eider serve --host 0.0.0.0", "serve other machines; clients send the token"},
    {0},
};

static const struct cli_example sql_examples[] = {
    {"eider sql \"SELECT symbol, max(high) FROM candles GROUP BY symbol\"", "one query"},
    {"eider sql --format csv < query.sql > answer.csv", "a query from a file"},
    {"eider sql", "a prompt; \\q ends it"},
    {0},
};

static const struct cli_example import_examples[] = {
    {"eider import sp500-2000.csv --set symbol=SPX", "daily candles of one symbol"},
    {"eider import stocks.csv --table market_data --map last_price=price", "name the columns"},
    {"eider import old/observability.duckdb", "a database of the original observability API"},
    {"eider import --dry-run --json trades.parquet", "see what would be written"},
    {0},
};

static const struct cli_example export_examples[] = {
    {"eider export candles --symbol SPX --from 2008-01-01 --to 2008-12-31 > spx.csv", "a year"},
    {"eider export trades -o trades.ndjson", "a whole table as NDJSON"},
    {"eider export --sql \"SELECT * FROM trades WHERE side = 'BUY'\" -o buys.parquet",
     "the answer of a query"},
    {0},
};

static const struct cli_example check_examples[] = {
    {"eider check", "verify ./data, or ask the server that has it open"},
    {"eider check --data-dir /var/lib/eider --json", "for a program"},
    {0},
};

static const struct cli_example config_examples[] = {
    {"eider config", "every setting, its value and where it came from"},
    {"eider config --config production.yaml --json", "another file, for a program"},
    {0},
};

static const struct cli_example completion_examples[] = {
    {"eider completion bash > /etc/bash_completion.d/eider", "for every user of bash"},
    {"eider completion fish > ~/.config/fish/completions/eider.fish", "for one user of fish"},
    {0},
};

static const struct cli_example man_examples[] = {
    {"eider man import | man -l -", "read a page without installing it"},
    {"eider man > /usr/local/share/man/man1/eider.1", "install one"},
    {0},
};

static const struct cli_example no_examples[] = {{0}};

static const struct cli_command commands[] = {
    {.name = "serve",
     .summary = "run the server: API, live stream, dashboard",
     .synopsis = "[OPTION]...",
     .description =
         "Opens the data directory (and makes it), starts the collectors and answers HTTP and "
         "WebSocket clients until SIGTERM or SIGINT, then lets running requests finish and closes "
         "the database. SIGHUP reads log level, log file and certificates anew.\n\n"
         "Without a token the server listens on loopback addresses only, unless --insecure says "
         "otherwise.",
     .options = no_options,
     .examples = serve_examples,
     .settings = CLI_SETTINGS_ALL,
     .run = cli_serve},
    {.name = "sql",
     .summary = "ask in SQL",
     .synopsis = "[OPTION]... [SELECT]",
     .description =
         "Runs one read-only statement and prints its rows. The statement is the argument, or "
         "standard input; on a terminal without an argument there is a prompt.\n\n"
         "A server that has the data directory open is asked through its API; when none runs, the "
         "data directory is opened for the time of the command (storage.type duckdb; with another "
         "a server alone has the rows).",
     .options = sql_options,
     .examples = sql_examples,
     .settings = CLI_SETTINGS_STORE,
     .args_max = 1,
     .run = cli_sql},
    {.name = "import",
     .summary = "bring in CSV, Parquet, NDJSON, line protocol and old databases",
     .synopsis = "[OPTION]... FILE...",
     .description =
         "Reads files and writes their rows into a table, through the running server or, when none "
         "runs, into the data directory. Which column goes where and how dates are written is "
         "guessed and shown; --map, --set and --date-format say it instead. FILE may be - "
         "for standard input, with --format.\n\n"
         "Importing a file again doubles nothing: rows replace those with the same key, and "
         "batches of metrics carry an idempotency key made from their contents and place.\n\n"
         "Wrong rows are reported with their row number. With --on-error reject (the default) the "
         "import stops there; what was written before stays, and importing the mended file again "
         "is safe. Databases of the original observability API (.duckdb) are opened read-only; "
         "each of their tables goes to the table of the same name.",
     .options = import_options,
     .examples = import_examples,
     .settings = CLI_SETTINGS_STORE,
     .args_max = CLI_ARGS_MAX,
     .complete = CLI_COMPLETE_FILE,
     .run = cli_import},
    {.name = "export",
     .summary = "write a table or a query's answer to a file",
     .synopsis = "[OPTION]... TABLE | --sql SELECT",
     .description =
         "Writes rows in order of time as CSV, NDJSON, JSON or Parquet. Tables are read in pages, "
         "so that memory stays bounded however large they are. Rows written while the export runs "
         "may or may not be in it; give --to for a fixed end.\n\n"
         "Parquet needs the data directory and no running server.",
     .options = export_options,
     .examples = export_examples,
     .settings = CLI_SETTINGS_STORE,
     .args_max = 1,
     .run = cli_export},
    {.name = "eventlog",
     .summary = "the log of paid API calls: show, prove, import, reprice, reconcile",
     .synopsis = "ACTION [OPTION]... [FILE] | --operation NAME --db-path FILE [OPTION]...",
     .description = eventlog_description,
     .options = eventlog_options,
     .examples = eventlog_examples,
     .settings = CLI_SETTINGS_STORE,
     .args_max = 2,
     .arg_choices = eventlog_actions,
     .run = cli_eventlog},
    {.name = "spend",
     .summary = "budgets, breakers, reservations and prices of a running server",
     .synopsis = "ACTION [OPTION]... [NAME | FILE...]",
     .description = spend_description,
     .options = spend_options,
     .examples = spend_examples,
     .settings = CLI_SETTINGS_STORE,
     .args_max = CLI_ARGS_MAX,
     .arg_choices = spend_actions,
     .run = cli_spend},
    {.name = "migrate",
     .summary = "bring the tables of a database up or down by hand, show their versions",
     .synopsis = "schema up|down|status|history [OPTION]...",
     .description = migrate_description,
     .options = migrate_options,
     .examples = migrate_examples,
     .settings = CLI_SETTINGS_STORE,
     .args_max = 3,
     .arg_choices = migrate_subjects,
     .run = cli_migrate},
    {.name = "seal",
     .summary = "move the rows of closed days to files",
     .synopsis = "[OPTION]...",
     .description = seal_description,
     .options = seal_options,
     .examples = seal_examples,
     .settings = CLI_SETTINGS_STORE,
     .run = cli_seal},
    {.name = "retention",
     .summary = "what the rules drop, dropping it now, what was dropped",
     .synopsis = "[OPTION]... [plan|run|receipts]",
     .description = retention_description,
     .options = retention_options,
     .examples = retention_examples,
     .settings = CLI_SETTINGS_STORE,
     .args_max = 1,
     .arg_choices = retention_choices,
     .run = cli_retention},
    {.name = "backup",
     .summary = "take a backup, list, check or remove backups",
     .synopsis = "[OPTION]... [ID]",
     .description = backup_description,
     .options = backup_options,
     .examples = backup_examples,
     .settings = CLI_SETTINGS_STORE,
     .args_max = 1,
     .run = cli_backup},
    {.name = "restore",
     .summary = "make a new data directory of a backup and the log behind it",
     .synopsis = "--from DIR[/ID] --data-dir NEW [OPTION]...",
     .description = restore_description,
     .options = restore_options,
     .examples = restore_examples,
     .settings = CLI_SETTINGS_STORE,
     .run = cli_restore},
    {.name = "optimize",
     .summary = "give space back: seal, merge, compact",
     .synopsis = "[OPTION]...",
     .description = optimize_description,
     .options = optimize_options,
     .examples = optimize_examples,
     .settings = CLI_SETTINGS_STORE,
     .run = cli_optimize},
    {.name = "check",
     .summary = "verify the data directory, or the health of a running server",
     .synopsis = "[OPTION]...",
     .description =
         "With the server stopped: reads every record of the write-ahead log and its checksum, "
         "opens the database read-only, counts the rows of every table, compares what is durable "
         "with what is applied, reads every cold file and opens the snapshots. Changes nothing "
         "without --repair, which sets aside what is damaged, takes missing cold files from a "
         "backup, rebuilds the database from snapshot and log, and looks again.\n\n"
         "With a server running (or --url): prints its /health and /database/health.\n\n"
         "Exit status 1 when there is a problem.",
     .options = check_options,
     .examples = check_examples,
     .settings = CLI_SETTINGS_STORE,
     .run = cli_check},
    {.name = "config",
     .summary = "show every setting, its value and where it came from",
     .synopsis = "[OPTION]...",
     .description = "Loads the configuration as `eider serve` would with the same options and "
                    "prints it; secrets are masked. A mistake in it is told, with exit status 2.",
     .options = config_options,
     .examples = config_examples,
     .settings = CLI_SETTINGS_ALL,
     .run = cli_config},
    {.name = "version",
     .summary = "print versions of the program and its libraries",
     .synopsis = "[--json]",
     .description = "Prints the version of Eider, of DuckDB and other libraries, and how the "
                    "program was built.",
     .options = version_options,
     .examples = no_examples,
     .run = cli_version},
    {.name = "help",
     .summary = "explain a command",
     .synopsis = "[COMMAND]",
     .description = "Prints what `eider COMMAND --help` prints.",
     .options = help_options,
     .examples = no_examples,
     .args_max = 1,
     .complete = CLI_COMPLETE_COMMAND,
     .run = cli_help},
    {.name = "completion",
     .summary = "print a completion script for a shell",
     .synopsis = "bash|zsh|fish",
     .description = "Prints a script that lets the shell complete commands, options and values.",
     .options = no_options,
     .examples = completion_examples,
     .args_max = 1,
     .arg_choices = cli_shells,
     .run = cli_completion_command},
    {.name = "man",
     .summary = "print a manual page",
     .synopsis = "[COMMAND]",
     .description = "Prints the manual page of the program or of a command, for man(1).",
     .options = no_options,
     .examples = man_examples,
     .args_max = 1,
     .complete = CLI_COMPLETE_COMMAND,
     .run = cli_man},
};

const struct cli_command *
cli_command_at(size_t index)
{
    return index < sizeof(commands) / sizeof(commands[0]) ? &commands[index] : NULL;
}

const struct cli_command *
cli_command_find(const char *name)
{
    const struct cli_command *command;

    for (size_t i = 0; (command = cli_command_at(i)); i++) {
        if (strcmp(command->name, name) == 0) {
            return command;
        }
    }
    return NULL;
}

static bool
has_own(const struct cli_command *command, const char *name)
{
    for (const struct cli_option *option = command->options; option->name; option++) {
        if (strcmp(option->name, name) == 0) {
            return true;
        }
    }
    return false;
}

bool
cli_shows(const struct cli_command *command, const struct cli_option *option)
{
    if (command->settings == CLI_SETTINGS_NONE) {
        return false;
    }
    if (strcmp(option->name, "database") == 0 && command->settings != CLI_SETTINGS_STORE) {
        return false;
    }
    return strcmp(option->name, "setting") == 0 ? has_own(command, "set")
                                                : !has_own(command, option->name);
}

bool
cli_takes_setting(const struct cli_command *command, const struct config_setting *setting)
{
    static const char *const store_flags[] = {"data-dir", "token"};

    if (command->settings == CLI_SETTINGS_ALL) {
        return setting->flag != NULL;
    }
    if (command->settings == CLI_SETTINGS_STORE && setting->flag) {
        return strcmp(setting->flag, store_flags[0]) == 0 ||
               strcmp(setting->flag, store_flags[1]) == 0;
    }
    return false;
}
