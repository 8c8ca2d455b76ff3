/*
 * A rollup of the event log in memory: per hour, API and endpoint the counts, credits and a
 * histogram of latencies. It answers in milliseconds what SQL over ten million entries needs a
 * second for. SQL is the truth: the rollup is made from the store alone, entry by entry in the
 * order of seq, never stored, and catches up with what was applied before it answers.
 *
 * Counts, credits and error counts are exact; averages to rounding; percentiles within 1 % (of
 * latencies from 1 us to 2 h; below, they are 0). Questions that it cannot answer go to
 * event_stats: filters other than api_name, endpoint and time, groups other than api, endpoint,
 * hour and day. So does everything while it is not built yet, or when the log has more different
 * keys than its bounds hold.
 *
 * Threads: any thread but event loops; it blocks as the engine does.
 */
#ifndef EIDER_METER_ROLLUP_H
#define EIDER_METER_ROLLUP_H

#include "meter/event_query.h"

struct rollup;

struct rollup_options {
    size_t cells_max;  /* hours x APIs x endpoints that occur; 0: 100 000 */
    size_t memory_max; /* bytes; 0: 128 MiB */
};

struct rollup *rollup_new(const struct rollup_options *options);
void rollup_free(struct rollup *rollup); /* NULL is fine */

/*
 * Reads what it has not read yet: all of it the first time, about a second a million entries.
 * Call it once behind a start, from a job thread; until it has returned ERR_OK every question goes
 * to SQL. After a failure it goes on where it was. Over its bounds it forgets everything, for good:
 * ERR_OK.
 */
enum err_code rollup_refresh(struct rollup *rollup, struct engine *engine, struct err *err);

/* As event_stats, quicker when it can. `rollup` may be NULL. */
enum err_code rollup_stats(struct rollup *rollup, struct engine *engine,
                           const struct event_stats *stats, struct batch *ret_rows,
                           struct err *err);

struct rollup_status {
    bool ready;
    bool over;         /* a bound was passed: SQL only */
    uint64_t seq;      /* the last entry in it */
    uint64_t answered; /* questions answered by it */
    size_t cells;
    size_t memory_bytes;
};
void rollup_status(struct rollup *rollup, struct rollup_status *ret_status);

#endif
