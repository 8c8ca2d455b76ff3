/* Options, examples and descriptions of eider seal and eider retention. */
#include "cli/commands_cold.h"

const char seal_description[] =
    "Moves the rows of closed UTC days from the database to Parquet files in cold/, as the server "
    "does by itself when a day is storage.cold.after old. Queries see the same rows before and "
    "after. Days that are not over are never sealed; days with fewer rows than "
    "storage.cold.min_rows are not worth files and stay, unless --small asks for them.\n\n"
    "With a server running it is the server that does it; with the server stopped this process "
    "does it in the data directory.";

const struct cli_option seal_options[] = {
    {.name = "before",
     .arg = "TIME",
     .help = "Seal days that end at or before this ISO 8601 time."},
    {.name = "table", .arg = "TABLE", .help = "Only this table."},
    {.name = "small", .help = "Also days with fewer rows than storage.cold.min_rows."},
    {.name = "dry-run", .letter = 'n', .help = "Only tell what would be sealed."},
    {.name = "json", .help = "Print JSON."},
    {0},
};

const struct cli_example seal_examples[] = {
    {"eider seal --dry-run", "which days would be sealed"},
    {"eider seal --before 2026-11-01 --table trades", "seal the trades of October and before"},
    {0},
};

const char *const retention_choices[] = {"plan", "run", "receipts", NULL};

const char retention_description[] =
    "plan (the default) tells exactly what the rules of the setting `retention` would drop now: "
    "days, files, rows, bytes, metrics. run does it, as the server does once a day by itself. "
    "receipts lists what was dropped, when, and by which rule; they are rows of the table "
    "retention_receipts.\n\n"
    "With a server running it is the server that does it, by its own rules; with the server "
    "stopped this process does it in the data directory, by the rules of this command's "
    "configuration.";

const struct cli_option retention_options[] = {
    {.name = "dry-run", .letter = 'n', .help = "With run: only tell, as plan does."},
    {.name = "json", .help = "Print JSON."},
    {0},
};

const struct cli_example retention_examples[] = {
    {"eider retention", "what would be dropped"},
    {"eider retention run", "drop it"},
    {"eider retention receipts", "what was dropped"},
    {0},
};
