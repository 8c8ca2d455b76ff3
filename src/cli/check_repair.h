/* What the files of eider check --repair share; private to them. */
#ifndef EIDER_CLI_CHECK_REPAIR_H
#define EIDER_CLI_CHECK_REPAIR_H

#include "cli/check.h"
#include "codec/time.h"
#include "store/engine.h"

struct repairing {
    const struct check *check;
    const struct check_pools *pools;
    struct check_refusals *refusals;
    char stamp[TIME_TEXT_MAX];
    bool quiet; /* set aside without a word */
};

/* Prints a deed. */
void repair_did(const struct repairing *repairing, const char *what, const char *path);

/* Moves a file or directory to quarantine/<time>-<its path in the data directory, with dashes>,
 * under a name that nothing has; what is not there is fine. */
enum err_code repair_set_aside(const struct repairing *repairing, const char *path,
                               struct err *err);

/* The options of the engine that the directory is opened with. */
enum err_code repair_options(const struct repairing *repairing, struct engine_options *ret_options,
                             struct err *err);

/* check_adopt.c: makes a new database that lists the cold files of the manifest, knows the series
 * of cold/series, and stands at the record in front of the log. */
enum err_code repair_adopt(const struct repairing *repairing, struct err *err);

/* check_series.c: names the series of samples that nobody defines, once the log is applied. */
enum err_code repair_name_series(const struct repairing *repairing, struct engine *engine,
                                 struct err *err);

#endif
