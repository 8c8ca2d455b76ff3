/* Options, examples and description of eider migrate. */
#include "cli/commands_migrate.h"

const char *const migrate_subjects[] = {"schema", NULL};

const char migrate_description[] =
    "migrate schema ACTION works on the tables of the configured database (storage.type), with the "
    "server stopped. Nobody needs it from day to day: a start brings a database up by itself.\n\n"
    "status shows which migrations the database has, and exits with 1 when it cannot be opened by "
    "this program and why. history shows everything that was ever done to it, also by the "
    "original's runner (schema_migrations). up applies what is missing, to the newest version or "
    "to --to. down goes back one version or to --to, for an older program; it refuses when rows "
    "would be lost. Each migration and its entry in the ledger, eider_schema_migrations, are one "
    "transaction. --dry-run prints the statements and changes nothing.\n\n"
    "What the refusals mean stands in docs/schema.md.";

const struct cli_option migrate_options[] = {
    {.name = "to", .arg = "VERSION", .help = "schema up, down: the version to end at; 0: none."},
    {.name = "dry-run",
     .letter = 'n',
     .help = "schema up, down: print what would be done, change nothing; status 1 when a step back "
             "would be refused."},
    {.name = "drop-receipts",
     .help = "schema down: let the receipts of retention go, which older versions do not know."},
    {.name = "json", .help = "Print the result as JSON."},
    {0},
};

const struct cli_example migrate_examples[] = {
    {"eider migrate schema status", "which version the database has, and what this program knows"},
    {"eider migrate schema up --dry-run", "the statements that a start would run"},
    {"eider migrate schema down --to 1", "go back, for an older program"},
    {"eider migrate schema history --json", "everything that was done, for a program"},
    {0},
};
