/*
 * What a limit would have refused. Calls are replayed in the order of time. The log is in the order
 * of writing, so it is read in slices of whole hours, each small enough to be put in order in
 * memory.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "meter/budget.h"
#include "meter/event.h"
#include "meter/event_sql.h"
#include "meter/rollup_cells.h"

#define HOUR_US INT64_C(3600000000)
#define RANGE_MAX_US (INT64_C(31) * 24 * HOUR_US)

enum { SLICE_ENTRIES = 500000, SLICE_ENTRIES_MAX = 10000000, HOURS_MAX = 31 * 24 + 1 };

/* What is read of an entry; the columns of a visit come in the order of the table. */
enum seen_column {
    SEEN_TIMESTAMP,
    SEEN_API,
    SEEN_ENDPOINT,
    SEEN_SUCCESS,
    SEEN_CREDITS,
    SEEN_RUN_ID,
    SEEN_KEY,
    SEEN_PROJECT,
    SEEN_CORRECTS,
    SEEN_SEQ,
    SEEN_COUNT
};

static const uint64_t seen_columns =
    1u << EVENT_TIMESTAMP | 1u << EVENT_API_NAME | 1u << EVENT_ENDPOINT | 1u << EVENT_SUCCESS |
    1u << EVENT_CREDITS_COST | 1u << EVENT_RUN_ID | 1u << EVENT_API_KEY | 1u << EVENT_PROJECT |
    1u << EVENT_CORRECTS | 1u << EVENT_SEQ;

struct replayed {
    int64_t at_us;
    int64_t seq;
    int64_t credits;
    uint32_t values[DIM_COUNT]; /* numbers of texts */
    bool success;
    bool is_call;
};

struct simulation {
    struct budgets *budgets;
    struct spend_simulation *result;
    struct texts texts; /* of this slice */
    struct replayed *entries;
    size_t count;
    size_t capacity;
};

/* ---- reading a slice ---- */

static enum err_code
on_rows(void *ctx, const struct batch *rows, struct err *err)
{
    static const size_t columns[DIM_COUNT] = {
        [DIM_API] = SEEN_API,       [DIM_ENDPOINT] = SEEN_ENDPOINT, [DIM_KEY] = SEEN_KEY,
        [DIM_RUN_ID] = SEEN_RUN_ID, [DIM_PROJECT] = SEEN_PROJECT,
    };
    struct simulation *simulation = ctx;

    assert(rows->column_count == SEEN_COUNT);
    if (simulation->count + rows->rows > SLICE_ENTRIES_MAX) {
        return err_set(err, ERR_TOO_LARGE, "more than %d entries within an hour",
                       SLICE_ENTRIES_MAX);
    }
    while (simulation->count + rows->rows > simulation->capacity) {
        simulation->capacity = simulation->capacity ? 2 * simulation->capacity : 16384;
        simulation->entries =
            mem_resize(simulation->entries, simulation->capacity, sizeof(*simulation->entries));
    }
    for (size_t row = 0; row < rows->rows; row++) {
        struct replayed *entry = &simulation->entries[simulation->count++];
        *entry = (struct replayed){
            .at_us = batch_get_i64(rows, SEEN_TIMESTAMP, row),
            .seq = batch_get_i64(rows, SEEN_SEQ, row),
            .credits = batch_get_i64(rows, SEEN_CREDITS, row),
            .success = batch_get_i64(rows, SEEN_SUCCESS, row) != 0,
            .is_call = batch_is_null(rows, SEEN_CORRECTS, row),
        };
        for (size_t i = 0; i < DIM_COUNT; i++) {
            entry->values[i] = texts_add(&simulation->texts, batch_get_text(rows, columns[i], row));
        }
    }
    return ERR_OK;
}

static int
by_time(const void *a, const void *b)
{
    const struct replayed *x = a;
    const struct replayed *y = b;

    if (x->at_us != y->at_us) {
        return x->at_us < y->at_us ? -1 : 1;
    }
    return (x->seq > y->seq) - (x->seq < y->seq);
}

/* ---- replaying it ---- */

static void
note_refusal(struct spend_simulation *result, const struct replayed *entry)
{
    int64_t hour_us = hour_of(entry->at_us);
    size_t count = result->hour_count;

    result->refused++;
    result->credits_refused += entry->credits;
    result->first_refused_us = result->refused == 1 ? entry->at_us : result->first_refused_us;
    result->last_refused_us = entry->at_us;
    if (count == 0 || result->hours[count - 1].hour_us != hour_us) {
        if (count == sizeof(result->hours) / sizeof(result->hours[0])) {
            return; /* 31 days that begin amidst an hour touch one hour more than there is room */
        }
        result->hours[count].hour_us = hour_us;
        result->hour_count = ++count;
    }
    result->hours[count - 1].refused++;
    result->hours[count - 1].credits_refused += entry->credits;
}

static void
note_peak(struct simulation *simulation, const struct call_scope *scope, int64_t at_us)
{
    struct budget_view view;

    if (budgets_covering(simulation->budgets, scope, at_us, &view, 1) == 1 &&
        view.used > simulation->result->peak_credits) {
        simulation->result->peak_credits = view.used;
        simulation->result->peak_us = at_us;
    }
}

/* A call as it would have gone: reserved and booked in the same moment. */
static void
replay_call(struct simulation *simulation, const struct call_scope *scope,
            const struct replayed *entry)
{
    struct spend_simulation *result = simulation->result;
    struct budget_hold hold = {0};
    struct refusal refusal;
    int64_t at_us = entry->at_us;
    bool passes =
        budgets_reserve(simulation->budgets, scope, entry->credits, at_us, &hold, &refusal);

    if (passes && hold.count == 0) { /* not of this budget */
        budget_hold_fini(&hold);
        return;
    }
    result->calls++;
    result->credits += entry->credits;
    if (!passes) {
        note_refusal(result, entry);
        return;
    }
    budgets_probe_done(simulation->budgets, &hold, entry->success, at_us);
    budgets_release(simulation->budgets, &hold, entry->credits, true);
    budget_hold_fini(&hold);
    budgets_count(simulation->budgets, scope, at_us, entry->credits, at_us);
    note_peak(simulation, scope, at_us);
}

static void
replay_slice(struct simulation *simulation)
{
    struct budget_event event;

    qsort(simulation->entries, simulation->count, sizeof(*simulation->entries), by_time);
    for (size_t i = 0; i < simulation->count; i++) {
        const struct replayed *entry = &simulation->entries[i];
        struct call_scope scope;
        for (size_t j = 0; j < DIM_COUNT; j++) {
            scope.values[j] = simulation->texts.all[entry->values[j]];
        }
        if (entry->is_call) {
            replay_call(simulation, &scope, entry);
        } else {
            budgets_count(simulation->budgets, &scope, entry->at_us, entry->credits, entry->at_us);
        }
        while (budgets_next_event(simulation->budgets, &event)) {
        }
    }
    simulation->count = 0;
    texts_fini(&simulation->texts);
}

/* ---- slices ---- */

static enum err_code
run_slice(struct simulation *simulation, struct engine *engine, int64_t from_us, int64_t to_us,
          struct err *err)
{
    struct store_scan scan = {
        .table = TABLE_EVENTS, .from_us = from_us, .to_us = to_us, .column_mask = seen_columns};
    enum err_code code = engine_visit(engine, &scan, on_rows, simulation, err);

    if (!code) {
        replay_slice(simulation);
    }
    return code;
}

/* How many entries each hour has, so that slices can be made of them. */
static enum err_code
read_hours(struct engine *engine, int64_t from_us, int64_t to_us, struct batch *ret_hours,
           struct err *err)
{
    struct event_filter filter = {.from_us = from_us, .to_us = to_us};
    struct event_sql sql;

    event_sql_init(&sql);
    buf_add_cstr(&sql.text, "SELECT date_trunc('hour', timestamp)::TIMESTAMP, count(*) "
                            "FROM api_event_log");
    event_sql_add_filter(&sql, &filter);
    buf_add_cstr(&sql.text, " GROUP BY 1 ORDER BY 1");
    enum err_code code = event_sql_run(&sql, engine, HOURS_MAX, ret_hours, err);
    event_sql_fini(&sql);
    return code;
}

static enum err_code
run_slices(struct simulation *simulation, struct engine *engine, int64_t from_us, int64_t to_us,
           struct err *err)
{
    struct batch hours BATCH_AUTO = {0};
    int64_t begin_us = from_us;
    int64_t gathered = 0;
    enum err_code code = read_hours(engine, from_us, to_us, &hours, err);

    for (size_t row = 0; row < hours.rows && !code; row++) {
        gathered += batch_get_i64(&hours, 1, row);
        bool is_last = row + 1 == hours.rows;
        int64_t next = is_last ? 0 : batch_get_i64(&hours, 1, row + 1);
        if (is_last || gathered + next > SLICE_ENTRIES) {
            int64_t end_us = batch_get_i64(&hours, 0, row) + HOUR_US - 1;
            end_us = is_last || end_us > to_us ? to_us : end_us;
            code = run_slice(simulation, engine, begin_us, end_us, err);
            begin_us = end_us + 1;
            gathered = 0;
        }
    }
    return code;
}

enum err_code
spend_simulate(struct engine *engine, const struct budget_def *def, int64_t from_us, int64_t to_us,
               struct spend_simulation *ret_simulation, struct err *err)
{
    struct spend_simulation *result;
    struct budget_def enforced = *def;
    bool filling;

    if (from_us > to_us) {
        return err_set(err, ERR_INVALID, "the range ends before it begins: expected from <= to");
    }
    if ((uint64_t)to_us - (uint64_t)from_us > (uint64_t)RANGE_MAX_US) {
        return err_set(err, ERR_INVALID, "the range is longer than 31 days, expected at most that");
    }
    /* The question is what the limit does, not whether it is switched on. */
    enforced.mode = BUDGET_ENFORCE;
    struct simulation simulation = {.budgets = budgets_new(&(struct budgets_options){0})};
    result = mem_zalloc(1, sizeof(*result));
    simulation.result = result;
    enum err_code code = budgets_set(simulation.budgets, &enforced, &filling, err);
    if (!code) {
        if (filling) {
            budgets_filled(simulation.budgets, enforced.name);
        }
        code = run_slices(&simulation, engine, from_us, to_us, err);
    }
    if (!code) {
        *ret_simulation = *result;
    }
    texts_fini(&simulation.texts);
    free(simulation.entries);
    free(result);
    budgets_free(simulation.budgets);
    return code;
}
