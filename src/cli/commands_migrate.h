/* The part of the table of subcommands that belongs to eider migrate; commands.c puts it in. */
#ifndef EIDER_CLI_COMMANDS_MIGRATE_H
#define EIDER_CLI_COMMANDS_MIGRATE_H

#include "cli/cli.h"

extern const struct cli_option migrate_options[];
extern const struct cli_example migrate_examples[];
extern const char *const migrate_subjects[];
extern const char migrate_description[];

#endif
