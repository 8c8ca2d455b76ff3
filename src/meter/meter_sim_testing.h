/*
 * A life of the simulation (meter_sim_test.c), and the oracle that looks at the rows of its log and
 * at nothing else of the meter.
 */
#ifndef EIDER_METER_METER_SIM_TESTING_H
#define EIDER_METER_METER_SIM_TESTING_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "codec/decimal.h"
#include "codec/time.h"
#include "meter/fake_log.h"
#include "meter/meter.h"

#define START_US INT64_C(1767323045000000)
#define MINUTE_US (60 * TIME_US_PER_S)

enum {
    BUDGETS = 4,
    CALLERS = 24, /* reservations that a life knows at one time */
    STEPS = 120,
    CHANGE_EXPIRES = 5,
    TTL_MS = 30000,
    RETRY_US = 300000
};

enum caller_state { CALLER_FREE, CALLER_ASKED, CALLER_HOLDS, CALLER_COMMITTED, CALLER_LOST };

struct life;

/* One op that was sent, and what came back. */
struct call {
    struct life *life;
    size_t slot;
    bool is_commit;
    char event_id[40];
    bool answered;
    enum err_code code;
};

struct caller {
    enum caller_state state;
    char id[40];
    int64_t credits, commit_credits;
    int64_t deadline_us; /* monotonic: the latest that its lease may end */
    int64_t ttl_us;
    unsigned runs_as; /* run id */
    bool acked_reserve, acked_commit;
};

struct booked {
    char id[40];
    int64_t window_us; /* in the budgets' time */
    bool acked;
    bool decided; /* on its way or durable: its time stands */
};

struct life {
    uint64_t seed;
    struct rng rng;
    struct clock_manual clock;
    struct fake_log log;
    struct meter_options options;
    struct meter *meter;
    struct budget_def defs[BUDGETS];
    size_t def_count;
    bool strict; /* nobody books without a reservation: limits hold for everything */
    int64_t high_water_us;
    bool jumped; /* the wall clock did, since the last start */
    struct caller callers[CALLERS];
    struct booked booked[STEPS * 4];
    size_t booked_count;
    uint64_t names;
    struct call calls[STEPS * 4];
    size_t call_count;
    size_t records_checked, changes_checked;
};

static inline void
fail(const struct life *life, const char *what)
{
    fprintf(stderr, "seed %" PRIu64 ": %s\n", life->seed, what);
    exit(1);
}

static inline uint64_t
below(struct life *life, uint64_t bound)
{
    return rng_below(&life->rng, bound);
}

/* ---- the oracle: from rows alone ---- */

static inline struct slice
text_of(const struct batch *rows, const char *column, size_t row)
{
    return batch_get_text(rows, (size_t)batch_column_index(rows, slice_of(column)), row);
}

static inline int64_t
number_of(const struct batch *rows, const char *column, size_t row)
{
    return batch_get_i64(rows, (size_t)batch_column_index(rows, slice_of(column)), row);
}

static inline bool
covers(const struct budget_def *def, struct slice run_id, struct slice instance_run)
{
    if (!def->has_value[DIM_RUN_ID]) {
        return true;
    }
    if (strcmp(def->value[DIM_RUN_ID], "*") == 0) {
        return run_id.len > 0 && slice_eq(run_id, instance_run);
    }
    return slice_is(run_id, def->value[DIM_RUN_ID]);
}

static inline int64_t
window_from(const struct budget_def *def, int64_t now_us)
{
    if (def->window == WINDOW_SLIDING) {
        return now_us - def->window_us;
    }
    int64_t unit = def->window == WINDOW_HOUR ? 60 * MINUTE_US : TIME_US_PER_DAY;
    return now_us - now_us % unit;
}

static inline struct booked *
find_booked(struct life *life, struct slice id)
{
    for (size_t i = life->booked_count; i > 0; i--) {
        if (slice_is(id, life->booked[i - 1].id)) {
            return &life->booked[i - 1];
        }
    }
    return NULL;
}

static inline int64_t
used_of(struct life *life, const struct budget_def *def, struct slice run)
{
    const struct batch *rows = &life->log.rows[TABLE_EVENTS];
    int64_t from_us = window_from(def, life->high_water_us);
    int64_t used = 0;

    for (size_t i = 0; i < rows->rows; i++) {
        const struct booked *booked = find_booked(life, text_of(rows, "id", i));
        if (!booked) {
            fail(life, "an entry that nobody sent");
        }
        if (booked->window_us >= from_us && covers(def, text_of(rows, "run_id", i), run)) {
            used += number_of(rows, "credits_cost", i);
        }
    }
    return used;
}

/* Whether this row is the last of its reservation. */
static inline bool
is_last(const struct batch *rows, size_t row)
{
    for (size_t i = row + 1; i < rows->rows; i++) {
        if (slice_eq(text_of(rows, "reservation_id", i), text_of(rows, "reservation_id", row))) {
            return false;
        }
    }
    return true;
}

static inline int64_t
reserved_of(struct life *life, const struct budget_def *def, struct slice run, unsigned *ret_probes)
{
    const struct batch *rows = &life->log.rows[TABLE_RESERVATION_CHANGES];
    int64_t reserved = 0;

    *ret_probes = 0;
    for (size_t i = 0; i < rows->rows; i++) {
        struct slice change = text_of(rows, "change", i);
        bool opens = slice_is(change, "reserve") || slice_is(change, "extend");
        if (!opens || !covers(def, text_of(rows, "run_id", i), run) || !is_last(rows, i)) {
            continue;
        }
        reserved += number_of(rows, "credits", i);
        *ret_probes += slice_is(text_of(rows, "probe_of", i), def->name);
    }
    return reserved;
}

static inline void
dump(struct life *life)
{
    const struct batch *rows = &life->log.rows[TABLE_RESERVATION_CHANGES];

    for (size_t i = 0; i < rows->rows; i++) {
        fprintf(stderr, "%6" PRId64 " %" PRId64 " %.*s %.*s %" PRId64 " run=%.*s probe=%.*s\n",
                number_of(rows, "seq", i), number_of(rows, "timestamp", i) / 1000000,
                SLICE_FMT(text_of(rows, "reservation_id", i)),
                SLICE_FMT(text_of(rows, "change", i)), number_of(rows, "credits", i) / 1000000,
                SLICE_FMT(text_of(rows, "run_id", i)), SLICE_FMT(text_of(rows, "probe_of", i)));
    }
    rows = &life->log.rows[TABLE_BUDGET_CHANGES];
    for (size_t i = 0; i < rows->rows; i++) {
        fprintf(stderr, "%6" PRId64 " %" PRId64 " %.*s %.*s %.*s\n", number_of(rows, "seq", i),
                number_of(rows, "timestamp", i) / 1000000, SLICE_FMT(text_of(rows, "name", i)),
                SLICE_FMT(text_of(rows, "change", i)), SLICE_FMT(text_of(rows, "definition", i)));
    }
}

/* What the reservation of a row held before it. */
static inline int64_t
credits_before(const struct batch *rows, size_t row)
{
    struct slice id = text_of(rows, "reservation_id", row);

    for (size_t i = row; i > 0; i--) {
        if (slice_eq(text_of(rows, "reservation_id", i - 1), id)) {
            return number_of(rows, "credits", i - 1);
        }
    }
    return 0;
}

/*
 * Whether the newest record granted anything in a budget: a clock that stepped back before a start
 * may make more count than there was; nothing is granted then.
 */
static inline bool
has_granted(struct life *life, const struct budget_def *def, struct slice run)
{
    const struct batch *rows = &life->log.rows[TABLE_RESERVATION_CHANGES];
    bool granted = false;

    for (size_t i = life->changes_checked; i < rows->rows; i++) {
        struct slice change = text_of(rows, "change", i);
        bool more =
            slice_is(change, "reserve") ||
            (slice_is(change, "extend") && number_of(rows, "credits", i) > credits_before(rows, i));
        granted |= more && covers(def, text_of(rows, "run_id", i), run);
    }
    return granted;
}

static inline void
check_limits(struct life *life)
{
    static const char *const runs[] = {"run-0", "run-1", "run-2"};

    for (size_t i = 0; i < life->def_count; i++) {
        const struct budget_def *def = &life->defs[i];
        bool each = def->has_value[DIM_RUN_ID] && strcmp(def->value[DIM_RUN_ID], "*") == 0;
        for (size_t r = 0; r < (each ? 3 : 1); r++) {
            unsigned probes;
            int64_t reserved = reserved_of(life, def, slice_of(runs[r]), &probes);
            int64_t used = used_of(life, def, slice_of(runs[r]));
            if (life->strict && has_granted(life, def, slice_of(runs[r])) &&
                used + reserved > def->hard_limit) {
                fprintf(stderr, "%s: used %" PRId64 " + reserved %" PRId64 " > %" PRId64 "\n",
                        def->name, used, reserved, def->hard_limit);
                dump(life);
                fail(life, "a hard limit was passed");
            }
            if (probes > (def->half_open_probes ? def->half_open_probes : 0)) {
                fail(life, "more probes than allowed");
            }
        }
    }
}

static inline void
check_records(struct life *life)
{
    if (life->log.records != life->records_checked) {
        life->records_checked = life->log.records;
        check_limits(life);
        life->changes_checked = life->log.rows[TABLE_RESERVATION_CHANGES].rows;
    }
    if (life->log.double_submits) {
        fail(life, "two records in flight");
    }
}

static inline bool
is_durable(struct life *life, const char *id)
{
    const struct batch *rows = &life->log.rows[TABLE_EVENTS];

    for (size_t i = 0; i < rows->rows; i++) {
        if (slice_is(text_of(rows, "id", i), id)) {
            return true;
        }
    }
    return false;
}

#endif
