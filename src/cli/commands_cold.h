/* The part of the table of subcommands that belongs to sealing and retention; commands.c puts it
 * in. */
#ifndef EIDER_CLI_COMMANDS_COLD_H
#define EIDER_CLI_COMMANDS_COLD_H

#include "cli/cli.h"

extern const struct cli_option seal_options[];
extern const struct cli_example seal_examples[];
extern const char seal_description[];
extern const struct cli_option retention_options[];
extern const struct cli_example retention_examples[];
extern const char retention_description[];
extern const char *const retention_choices[];

#endif
