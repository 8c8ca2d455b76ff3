/*
 * Reading the event log: pages with filters, and statistics. SQL through the engine; a store that
 * speaks none answers ERR_UNSUPPORTED. Blocks: job threads only.
 */
#ifndef EIDER_METER_EVENT_QUERY_H
#define EIDER_METER_EVENT_QUERY_H

#include "base/err.h"
#include "catalog/batch.h"
#include "store/engine.h"

enum event_group {
    GROUP_NONE,
    GROUP_API,
    GROUP_ENDPOINT,
    GROUP_RUN_ID,
    GROUP_HOUR,
    GROUP_DAY,
    GROUP_KEY,
    GROUP_PROJECT
};

struct event_filter {
    struct slice id, api_name, endpoint, method, run_id, api_key, project; /* empty: any */
    struct slice corrects, reservation_id;
    int has_success;             /* 0: any, 1: successful, -1: failed */
    int status_min, status_max;  /* 0: any; "5xx" is 500..599, "null" is -1..-1 */
    int64_t from_us;             /* inclusive; INT64_MIN: no bound */
    int64_t to_us;               /* inclusive; INT64_MAX: no bound */
    struct store_cancel *cancel; /* gives the question up; NULL: nobody does */
};

/*
 * A page in the order the entries were written (by seq), newest first unless oldest_first. The
 * cursor is the seq to go on behind (0: begin): stable however many entries come in between.
 */
struct event_page {
    struct event_filter filter;
    bool oldest_first;
    uint64_t cursor;
    unsigned limit; /* 1..10 000 */
};
enum err_code event_page(struct engine *engine, const struct event_page *page,
                         struct batch *ret_rows, uint64_t *ret_next_cursor, struct err *err);

/*
 * Groups (up to two dimensions) with: the group columns by name (api_name, endpoint, run_id, hour,
 * day...), count, credits (COL_DECIMAL), success_rate 0..1, avg_latency, p50, p95, p99 (ms),
 * errors. Ordered by the groups, NULL last. At most 10 000 groups. Without a group there is one
 * row. Exact, for which a whole log is read: rollup_stats answers most questions about all of it
 * quicker.
 *
 * Corrections count as entries and their credits count; they are no calls, so that rates, latencies
 * (NULL percentiles without a call) and errors leave them out.
 */
struct event_stats {
    struct event_filter filter;
    enum event_group groups[2];
    bool no_percentiles; /* quicker */
};
const char *event_group_name(enum event_group group); /* of the column; "" for GROUP_NONE */
enum err_code event_stats(struct engine *engine, const struct event_stats *stats,
                          struct batch *ret_rows, struct err *err);

/* Credits of successful calls at or after a time: the originals' get_credits_in_window. */
enum err_code event_credits_since(struct engine *engine, int64_t from_us, int64_t *ret_credits,
                                  struct err *err);

/*
 * What a limit would have refused: replays the log of a range in order of time against a fresh
 * budget; a refused call is not counted. Blocks.
 */
struct budget_def;
struct spend_simulation {
    uint64_t calls, refused;
    int64_t credits, credits_refused;
    int64_t first_refused_us, last_refused_us; /* 0: none */
    int64_t peak_us, peak_credits;             /* the fullest moment of the window */
    struct {
        int64_t hour_us;
        uint64_t refused;
        int64_t credits_refused;
    } hours[24 * 31]; /* hours with refusals, in order */
    size_t hour_count;
};
enum err_code spend_simulate(struct engine *engine, const struct budget_def *def, int64_t from_us,
                             int64_t to_us, struct spend_simulation *ret_simulation,
                             struct err *err);

#endif
