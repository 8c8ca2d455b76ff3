/* The part of the table of subcommands that belongs to backup, restore and optimize; commands.c
 * puts it in. */
#ifndef EIDER_CLI_COMMANDS_BACKUP_H
#define EIDER_CLI_COMMANDS_BACKUP_H

#include "cli/cli.h"

extern const struct cli_option backup_options[];
extern const struct cli_example backup_examples[];
extern const char backup_description[];
extern const struct cli_option restore_options[];
extern const struct cli_example restore_examples[];
extern const char restore_description[];
extern const struct cli_option optimize_options[];
extern const struct cli_example optimize_examples[];
extern const char optimize_description[];

#endif
