/*
 * What `eider spend set` and `simulate` are told with options, as the JSON of a budget's
 * definition.
 *
 * Pure; one thread.
 */
#ifndef EIDER_CLI_SPEND_DEF_H
#define EIDER_CLI_SPEND_DEF_H

#include <jansson.h>

#include "cli/cli.h"

/*
 * Makes the definition that --limit, --soft-limit, --window, --scope, --mode, --probes, --pause and
 * --description ask for, over `before` (NULL: a new one, for which --limit is required): what is
 * not given stays. ERR_USAGE names the option, its value and what was expected. The caller frees.
 */
enum err_code spend_definition(const struct cli *cli, const json_t *before, json_t **ret_definition,
                               struct err *err);

/* "5m", "90s", "250ms", "24h", "7d"; a bare number is of `unit_ms`. False for anything else. */
bool spend_duration_ms(const char *text, int64_t unit_ms, int64_t *ret_ms);

#endif
