/*
 * A progress line on a terminal for what takes longer than a second; nothing elsewhere.
 * One thread.
 */
#ifndef EIDER_CLI_PROGRESS_H
#define EIDER_CLI_PROGRESS_H

#include "cli/cli.h"

struct progress {
    FILE *out; /* NULL: not a terminal */
    const char *what;
    const struct clock *clock;
    int64_t start_us;
    int64_t shown_us;
    bool shown;
};

void progress_start(struct progress *progress, const struct cli *cli, const char *what);

/* `share` between 0 and 1, negative when it is not known. Cheap when called often. */
void progress_update(struct progress *progress, double share, uint64_t rows);

/* The same by steps of a number that is known, 0 when it is not yet: how many are done, of how
 * many, and how long the rest will take if it goes on so. `what` they are: "days". */
void progress_steps(struct progress *progress, uint64_t done, uint64_t all, const char *what);

/* Takes the line away. */
void progress_end(struct progress *progress);

double progress_seconds(const struct progress *progress);

#endif
