/* Work of a running server: started, waited for, its result taken. One thread. */
#ifndef EIDER_CLI_WORK_H
#define EIDER_CLI_WORK_H

#include <jansson.h>

#include "cli/cli.h"
#include "cli/client.h"

/* POST /api/v1/admin/{name}, then GET until it has ended. *ret_result is its "result", which the
 * caller decrefs. What it failed with is ERR_INTERNAL with the server's own words. */
enum err_code work_run(struct cli *cli, struct client *client, const char *name,
                       json_t **ret_result, struct err *err);

#endif
