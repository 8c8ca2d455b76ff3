/* What the files of eider migrate share: one file a subject. */
#ifndef EIDER_CLI_MIGRATE_H
#define EIDER_CLI_MIGRATE_H

#include "cli/cli.h"

/* eider migrate schema ACTION; the action is the second argument. */
int migrate_schema(struct cli *cli);

#endif
