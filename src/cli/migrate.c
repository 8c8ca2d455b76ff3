/* eider migrate: the first argument says what is to be migrated. */
#include "cli/migrate.h"

#include <string.h>

#include "server/suggest.h"

static const struct {
    const char *name;
    int (*run)(struct cli *cli);
} subjects[] = {
    {"schema", migrate_schema},
};

enum { SUBJECTS = sizeof(subjects) / sizeof(subjects[0]) };

int
cli_migrate(struct cli *cli)
{
    struct suggest suggest;
    struct err err = {0};

    if (cli->arg_count == 0) {
        err_set(&err, ERR_USAGE, "migrate: what? schema; see `eider migrate --help`");
        return cli_fail(cli, &err);
    }
    suggest_init(&suggest, slice_of(cli->args[0]));
    for (size_t i = 0; i < SUBJECTS; i++) {
        if (strcmp(subjects[i].name, cli->args[0]) == 0) {
            return subjects[i].run(cli);
        }
        suggest_offer(&suggest, subjects[i].name);
    }
    if (suggest.best) {
        err_set(&err, ERR_USAGE, "migrate: cannot migrate %.60s; did you mean %s?", cli->args[0],
                suggest.best);
    } else {
        err_set(&err, ERR_USAGE, "migrate: cannot migrate %.60s; see `eider migrate --help`",
                cli->args[0]);
    }
    return cli_fail(cli, &err);
}
