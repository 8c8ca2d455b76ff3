/* The parts of the table of subcommands that belong to metering; commands.c puts them in. */
#ifndef EIDER_CLI_COMMANDS_METERING_H
#define EIDER_CLI_COMMANDS_METERING_H

#include "cli/cli.h"

extern const struct cli_option eventlog_options[];
extern const struct cli_example eventlog_examples[];
extern const char *const eventlog_actions[];
extern const char eventlog_description[];
extern const struct cli_option spend_options[];
extern const struct cli_example spend_examples[];
extern const char *const spend_actions[];
extern const char spend_description[];

#endif
