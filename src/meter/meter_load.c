/* What is known after a start: read from the store, which has applied all that is durable. */
#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "codec/time.h"
#include "meter/meter_private.h"

enum {
    VISIT_TIMEOUT_MS = 600000,
    RECENT_AT_START = 50000, /* ids read with their content; older ones go to the filter */
    COLUMN_ALL = 0
};

#define COLUMN(index) (UINT64_C(1) << (index))

static struct store_scan
scan_of(enum table_id table)
{
    return (struct store_scan){
        .table = table, .from_us = INT64_MIN, .to_us = INT64_MAX, .timeout_ms = VISIT_TIMEOUT_MS};
}

static int
column_of(const struct batch *rows, const char *name)
{
    int column = batch_column_index(rows, slice_of(name));

    assert(column != CATALOG_NONE);
    return column;
}

static struct slice
text_at(const struct batch *rows, const char *name, size_t row)
{
    return batch_get_text(rows, (size_t)column_of(rows, name), row);
}

static int64_t
i64_at(const struct batch *rows, const char *name, size_t row)
{
    return batch_get_i64(rows, (size_t)column_of(rows, name), row);
}

static enum err_code
visit(struct meter *meter, const struct store_scan *scan, store_visit_fn *fn, void *ctx,
      struct err *err)
{
    return meter->options.io.visit(meter->options.io.ctx, scan, fn, ctx, err);
}

/* ---- numbers and the head of the chain ---- */

static enum err_code
max_of(struct meter *meter, enum table_id table, const char *column_name, int64_t *ret,
       struct err *err)
{
    struct store_bucket bucket = {.scan = scan_of(table),
                                  .aggregates = {{AGG_MAX, column_name, "most"}},
                                  .aggregate_count = 1};
    struct batch rows;
    enum err_code code = meter->options.io.bucket(meter->options.io.ctx, &bucket, &rows, err);

    if (code != ERR_OK) {
        return code;
    }
    int column = batch_column_index(&rows, SLICE_LITERAL("most"));
    *ret = rows.rows > 0 && column != CATALOG_NONE ? batch_get_i64(&rows, (size_t)column, 0) : 0;
    batch_fini(&rows);
    return ERR_OK;
}

static enum err_code
max_seq(struct meter *meter, enum table_id table, uint64_t *ret, struct err *err)
{
    int64_t most = 0;
    enum err_code code = max_of(meter, table, "seq", &most, err);

    *ret = (uint64_t)most;
    return code;
}

static enum err_code
take_head(void *ctx, const struct batch *rows, struct err *err)
{
    struct meter *meter = ctx;

    for (size_t i = 0; i < rows->rows; i++) {
        uint64_t seq = (uint64_t)i64_at(rows, "seq", i);
        if (seq < meter->head.seq) {
            continue;
        }
        if (!chain_from_hex(text_at(rows, "hash", i), meter->head.hash)) {
            return err_set(err, ERR_CORRUPT, "api_event_log: the hash of entry %llu is no hash",
                           (unsigned long long)seq);
        }
    }
    return ERR_OK;
}

static enum err_code
load_head(struct meter *meter, struct err *err)
{
    uint64_t reservations = 0;
    uint64_t budgets = 0;
    enum err_code code = max_seq(meter, TABLE_EVENTS, &meter->head.seq, err);

    if (code == ERR_OK) {
        code = max_seq(meter, TABLE_RESERVATION_CHANGES, &reservations, err);
    }
    if (code == ERR_OK) {
        code = max_seq(meter, TABLE_BUDGET_CHANGES, &budgets, err);
    }
    meter->reservation_seq = reservations;
    meter->change_seq = reservations > budgets ? reservations : budgets;
    if (code == ERR_OK && meter->head.seq > 0) {
        struct store_scan scan = scan_of(TABLE_EVENTS);
        scan.at_least_column = "seq";
        scan.at_least = (int64_t)meter->head.seq;
        scan.column_mask = COLUMN(EVENT_SEQ) | COLUMN(EVENT_HASH);
        code = visit(meter, &scan, take_head, meter, err);
    }
    return code;
}

/* ---- budgets ---- */

static enum budget_mode
mode_of(struct slice change)
{
    if (slice_is(change, "force_open")) {
        return BUDGET_FORCED_OPEN;
    }
    return slice_is(change, "metrics_only") ? BUDGET_METRICS_ONLY : BUDGET_ENFORCE;
}

static void
load_definition(struct meter *meter, struct slice json)
{
    struct budget_def def;
    struct err ignored;
    bool filling;

    /* It was checked before it was written; one from a newer program may say more than we know. */
    if (budget_def_parse(json, NULL, &def, &ignored) != ERR_OK) {
        if (meter->options.event) {
            meter->options.event(meter->options.event_ctx, true, ignored.msg);
        }
        return;
    }
    if (budgets_set(meter->budgets, &def, &filling, &ignored) == ERR_OK) {
        budgets_filled(meter->budgets, def.name);
    }
}

static bool
state_of(struct slice change, enum breaker_state *ret)
{
    *ret = slice_is(change, "opened")      ? BREAKER_OPEN
           : slice_is(change, "half_open") ? BREAKER_HALF_OPEN
                                           : BREAKER_CLOSED;
    return *ret != BREAKER_CLOSED || slice_is(change, "closed");
}

/* In the order in which it happened: a definition with other counters, a delete and a reset end
 * what the breakers did before. */
static enum err_code
take_budgets(void *ctx, const struct batch *rows, struct err *err)
{
    struct meter *meter = ctx;
    int64_t now_us = budgets_time(meter->budgets, clock_wall_us(meter->clock));
    char name[BUDGET_NAME_MAX + 1];

    (void)err;
    for (size_t i = 0; i < rows->rows; i++) {
        struct slice change = text_at(rows, "change", i);
        enum breaker_state state;
        if (!slice_to_cstr(text_at(rows, "name", i), name, sizeof(name))) {
            continue;
        }
        if (slice_is(change, "set")) {
            load_definition(meter, text_at(rows, "definition", i));
        } else if (slice_is(change, "delete")) {
            budgets_delete(meter->budgets, name);
        } else if (slice_is(change, "reset")) {
            budgets_restore_reset(meter->budgets, name, i64_at(rows, "timestamp", i));
        } else if (slice_is(change, "force_open") || slice_is(change, "metrics_only") ||
                   slice_is(change, "enforce")) {
            budgets_set_mode(meter->budgets, name, mode_of(change));
        } else if (state_of(change, &state)) {
            budgets_restore_state(meter->budgets, name, text_at(rows, "instance", i), state,
                                  now_us);
        }
    }
    return ERR_OK;
}

static enum err_code
load_budgets(struct meter *meter, struct err *err)
{
    struct store_scan scan = scan_of(TABLE_BUDGET_CHANGES);
    bool filling;

    if (meter->options.has_default_budget) {
        enum err_code code =
            budgets_set(meter->budgets, &meter->options.default_budget, &filling, err);
        if (code != ERR_OK) {
            return code;
        }
        budgets_filled(meter->budgets, meter->options.default_budget.name);
    }
    return visit(meter, &scan, take_budgets, meter, err);
}

/* ---- what was spent ---- */

enum {
    SPENT_MASK = 1 << EVENT_TIMESTAMP | 1 << EVENT_API_NAME | 1 << EVENT_ENDPOINT |
                 1 << EVENT_CREDITS_COST | 1 << EVENT_RUN_ID | 1 << EVENT_API_KEY |
                 1 << EVENT_PROJECT | 1 << EVENT_SEQ
};

struct spent {
    struct meter *meter;
    const char *budget; /* NULL: all; else the one that is being filled */
    uint64_t to_seq;
};

struct spent_columns {
    size_t timestamp, api_name, endpoint, credits, run_id, api_key, project, seq;
};

static struct spent_columns
spent_columns(const struct batch *rows)
{
    return (struct spent_columns){.timestamp = (size_t)column_of(rows, "timestamp"),
                                  .api_name = (size_t)column_of(rows, "api_name"),
                                  .endpoint = (size_t)column_of(rows, "endpoint"),
                                  .credits = (size_t)column_of(rows, "credits_cost"),
                                  .run_id = (size_t)column_of(rows, "run_id"),
                                  .api_key = (size_t)column_of(rows, "api_key"),
                                  .project = (size_t)column_of(rows, "project"),
                                  .seq = (size_t)column_of(rows, "seq")};
}

static void
book_row(const struct spent *spent, const struct batch *rows, const struct spent_columns *at,
         size_t row, int64_t wall_us, int64_t window_us)
{
    struct call_scope scope = {.values = {[DIM_API] = batch_get_text(rows, at->api_name, row),
                                          [DIM_ENDPOINT] = batch_get_text(rows, at->endpoint, row),
                                          [DIM_KEY] = batch_get_text(rows, at->api_key, row),
                                          [DIM_RUN_ID] = batch_get_text(rows, at->run_id, row),
                                          [DIM_PROJECT] = batch_get_text(rows, at->project, row)}};
    int64_t at_us = meter_window_time(batch_get_i64(rows, at->timestamp, row), wall_us, window_us);
    int64_t credits = batch_get_i64(rows, at->credits, row);

    if (spent->budget) {
        budgets_fill(spent->meter->budgets, spent->budget, &scope, at_us, credits, window_us);
    } else {
        budgets_count(spent->meter->budgets, &scope, at_us, credits, window_us);
    }
}

static enum err_code
take_spent(void *ctx, const struct batch *rows, struct err *err)
{
    const struct spent *spent = ctx;
    struct meter *meter = spent->meter;
    struct spent_columns at = spent_columns(rows);
    int64_t wall_us = clock_wall_us(meter->clock);

    (void)err;
    pthread_mutex_lock(&meter->lock);
    int64_t window_us = budgets_time(meter->budgets, wall_us);
    for (size_t i = 0; i < rows->rows; i++) {
        if ((uint64_t)batch_get_i64(rows, at.seq, i) <= spent->to_seq &&
            batch_get_i64(rows, at.credits, i) != 0) {
            book_row(spent, rows, &at, i, wall_us, window_us);
        }
    }
    pthread_mutex_unlock(&meter->lock);
    return ERR_OK;
}

static enum err_code
load_spent(struct meter *meter, struct err *err)
{
    struct spent spent = {.meter = meter, .to_seq = UINT64_MAX};
    struct store_scan scan = scan_of(TABLE_EVENTS);
    int64_t wall_us = clock_wall_us(meter->clock);

    scan.from_us = budgets_horizon_us(meter->budgets, wall_us);
    scan.column_mask = SPENT_MASK;
    return meter->head.seq == 0 ? ERR_OK : visit(meter, &scan, take_spent, &spent, err);
}

enum err_code
meter_fill_budget(struct meter *meter, const char *name, uint64_t to_seq, struct err *err)
{
    struct spent spent = {.meter = meter, .budget = name, .to_seq = to_seq};
    struct store_scan scan = scan_of(TABLE_EVENTS);
    enum err_code code = to_seq > 0 ? meter->options.io.settle(meter->options.io.ctx, err) : ERR_OK;

    /* A definition reaches back a month at most. */
    scan.from_us = clock_wall_us(meter->clock) -
                   (int64_t)BUDGET_WINDOW_MINUTES_MAX * 60 * TIME_US_PER_S - TIME_US_PER_DAY;
    scan.column_mask = SPENT_MASK;
    return code == ERR_OK && to_seq > 0 ? visit(meter, &scan, take_spent, &spent, err) : code;
}

/* ---- reservations ---- */

static struct reservation *
make_reservation(struct meter *meter, const struct batch *rows, size_t row, struct slice id)
{
    struct meter_call call = {.api_name = text_at(rows, "api_name", row),
                              .endpoint = text_at(rows, "endpoint", row),
                              .method = text_at(rows, "method", row),
                              .api_key = text_at(rows, "api_key", row),
                              .run_id = text_at(rows, "run_id", row),
                              .project = text_at(rows, "project", row)};
    int64_t expires_us = i64_at(rows, "expires_at", row);
    int64_t at_us = i64_at(rows, "timestamp", row);
    int64_t left_us = expires_us - clock_wall_us(meter->clock);
    int64_t ttl_us = expires_us > at_us ? expires_us - at_us : 0;

    /* A clock that stepped back must not give a lease more than its length. */
    left_us = left_us < 0 ? 0 : left_us > ttl_us ? ttl_us : left_us;
    struct reservation *reservation =
        reservations_add(&meter->reservations, id, &call, (struct slice){"", 0},
                         i64_at(rows, "credits", row), clock_mono_us(meter->clock) + left_us);
    reservation->durable = true;
    reservation->row_seq = (uint64_t)i64_at(rows, "seq", row);
    reservation->created_us = at_us;
    reservation->expires_us = expires_us;
    reservation->ttl_us = ttl_us;
    slice_to_cstr(text_at(rows, "price_rule", row), reservation->price_rule,
                  sizeof(reservation->price_rule));
    return reservation;
}

static void
take_close(struct meter *meter, const struct batch *rows, size_t row,
           struct reservation *reservation, struct slice change)
{
    enum reservation_state state = slice_is(change, "commit")    ? RESERVATION_COMMITTED
                                   : slice_is(change, "release") ? RESERVATION_RELEASED
                                                                 : RESERVATION_EXPIRED;

    if (reservation->state != RESERVATION_OPEN) {
        return;
    }
    reservations_close(&meter->reservations, reservation, state);
    reservations_ended(&meter->reservations, reservation);
    reservation->result = (struct reservation_result){.closed_us = i64_at(rows, "timestamp", row)};
    if (state == RESERVATION_COMMITTED) {
        reservation->result.credits = i64_at(rows, "credits", row);
        slice_to_cstr(text_at(rows, "event_id", row), reservation->result.event_id,
                      sizeof(reservation->result.event_id));
        slice_to_cstr(text_at(rows, "price_rule", row), reservation->result.price_rule,
                      sizeof(reservation->result.price_rule));
    }
}

static enum err_code
take_changes(void *ctx, const struct batch *rows, struct err *err)
{
    struct meter *meter = ctx;

    for (size_t i = 0; i < rows->rows; i++) {
        struct slice id = text_at(rows, "reservation_id", i);
        struct slice change = text_at(rows, "change", i);
        if (id.len == 0 || id.len > METER_ID_MAX) {
            return err_set(err, ERR_CORRUPT, "reservation_changes: an id of %zu bytes", id.len);
        }
        struct reservation *reservation = reservations_find(&meter->reservations, id);
        bool opens = slice_is(change, "reserve") || slice_is(change, "extend");
        if (reservation && opens) {
            reservations_remove(&meter->reservations, reservation); /* the newer row says it all */
            reservation = NULL;
        }
        if (!reservation) {
            reservation = make_reservation(meter, rows, i, id);
        }
        if (!opens) {
            take_close(meter, rows, i, reservation, change);
        } else if (text_at(rows, "probe_of", i).len > 0) {
            /* Kept until the holds are made. */
            reservation->probe_of = mem_strdup(text_at(rows, "probe_of", i));
        }
    }
    return ERR_OK;
}

/* What the newest row says of where to begin. */
static enum err_code
take_open_from(void *ctx, const struct batch *rows, struct err *err)
{
    int64_t *open_from = ctx;

    (void)err;
    for (size_t i = 0; i < rows->rows; i++) {
        *open_from = i64_at(rows, "open_from", i);
    }
    return ERR_OK;
}

static enum err_code
load_reservations(struct meter *meter, struct err *err)
{
    struct store_scan scan = scan_of(TABLE_RESERVATION_CHANGES);
    int64_t window_us = budgets_time(meter->budgets, clock_wall_us(meter->clock));
    int64_t last = (int64_t)meter->reservation_seq;
    int64_t open_from = last;

    scan.at_least_column = "seq";
    scan.at_least = last;
    enum err_code code = visit(meter, &scan, take_open_from, &open_from, err);
    if (code != ERR_OK) {
        return code;
    }
    /* Closed ones are remembered for callers that ask again behind a crash. */
    scan.at_least = last > RECENT_AT_START ? last - RECENT_AT_START : 0;
    if (open_from < scan.at_least) {
        scan.at_least = open_from;
    }
    code = visit(meter, &scan, take_changes, meter, err);
    if (code != ERR_OK) {
        return code;
    }
    for (size_t i = 0; i < meter->reservations.heap_count; i++) {
        struct reservation *reservation = meter->reservations.heap[i];
        struct call_scope scope = reservation_scope(reservation);
        budgets_rehold(meter->budgets, &scope, reservation->credits,
                       slice_of(reservation->probe_of), window_us, &reservation->hold);
    }
    reservations_trim(&meter->reservations);
    return ERR_OK;
}

/* ---- ids ---- */

static enum err_code
take_ids(void *ctx, const struct batch *rows, struct err *err)
{
    struct meter *meter = ctx;
    struct event event;

    for (size_t i = 0; i < rows->rows; i++) {
        if (!event_from_row(rows, i, &event)) {
            return err_set(err, ERR_CORRUPT, "api_event_log: an entry's hash is no hash");
        }
        struct ids_entry entry = {.content_hash = event_content_hash(&event),
                                  .timestamp_us = event.timestamp_us,
                                  .credits = event.credits};
        ids_add(meter->ids, event.id, &entry);
    }
    return ERR_OK;
}

static enum err_code
load_ids(struct meter *meter, struct err *err)
{
    struct store_scan scan = scan_of(TABLE_EVENTS);
    uint64_t first = meter->head.seq > RECENT_AT_START ? meter->head.seq - RECENT_AT_START + 1 : 1;

    if (meter->head.seq == 0) {
        return ERR_OK;
    }
    scan.column_mask = COLUMN_ALL;
    scan.at_least_column = "seq";
    scan.at_least = (int64_t)first;
    ids_set_complete(meter->ids, first == 1);
    meter->old_ids_to = first - 1;
    return visit(meter, &scan, take_ids, meter, err);
}

static enum err_code
take_old_ids(void *ctx, const struct batch *rows, struct err *err)
{
    struct meter *meter = ctx;
    size_t id = (size_t)column_of(rows, "id");
    size_t seq = (size_t)column_of(rows, "seq");

    if (atomic_load(&meter->stop_loading)) {
        return err_set(err, ERR_UNAVAILABLE, "stopping");
    }
    pthread_mutex_lock(&meter->lock);
    for (size_t i = 0; i < rows->rows; i++) {
        if ((uint64_t)batch_get_i64(rows, seq, i) <= meter->old_ids_to) {
            ids_add_old(meter->ids, batch_get_text(rows, id, i));
        }
    }
    pthread_mutex_unlock(&meter->lock);
    return ERR_OK;
}

void *
meter_load_old_ids(void *arg)
{
    struct meter *meter = arg;
    struct store_scan scan = scan_of(TABLE_EVENTS);
    struct err err;

    scan.column_mask = COLUMN(EVENT_ID) | COLUMN(EVENT_SEQ);
    enum err_code code = visit(meter, &scan, take_old_ids, meter, &err);
    if (code == ERR_OK) {
        pthread_mutex_lock(&meter->lock);
        ids_set_complete(meter->ids, true);
        pthread_mutex_unlock(&meter->lock);
    } else if (!atomic_load(&meter->stop_loading) && meter->options.event) {
        /* Every id is looked up in the store then: slower, not wrong. */
        meter->options.event(meter->options.event_ctx, true, err.msg);
    }
    return NULL;
}

struct lookup {
    struct ids_entry *entry;
    bool found;
};

static enum err_code
take_lookup(void *ctx, const struct batch *rows, struct err *err)
{
    struct lookup *lookup = ctx;
    struct event event;

    if (rows->rows == 0) {
        return ERR_OK;
    }
    if (!event_from_row(rows, 0, &event)) {
        return err_set(err, ERR_CORRUPT, "api_event_log: an entry's hash is no hash");
    }
    lookup->found = true;
    *lookup->entry = (struct ids_entry){.content_hash = event_content_hash(&event),
                                        .timestamp_us = event.timestamp_us,
                                        .credits = event.credits};
    return ERR_OK;
}

enum err_code
meter_lookup(struct meter *meter, struct slice id, struct ids_entry *ret_entry, struct err *err)
{
    struct store_scan scan = scan_of(TABLE_EVENTS);
    struct lookup lookup = {.entry = ret_entry};

    scan.filters[0] = (struct store_filter){.column = "id", .values = &id, .value_count = 1};
    scan.filter_count = 1;
    enum err_code code = visit(meter, &scan, take_lookup, &lookup, err);
    if (code == ERR_OK && !lookup.found) {
        return err_set(err, ERR_NOT_FOUND, "no entry has this id");
    }
    return code;
}

/* ---- all of it ---- */

enum err_code
meter_load(struct meter *meter, struct err *err)
{
    enum err_code code = meter->options.io.settle(meter->options.io.ctx, err);

    if (code == ERR_OK) {
        code = load_head(meter, err);
    }
    if (code == ERR_OK) {
        code = load_budgets(meter, err);
    }
    if (code == ERR_OK) {
        code = load_spent(meter, err);
    }
    if (code == ERR_OK) {
        code = load_reservations(meter, err);
    }
    if (code == ERR_OK) {
        code = load_ids(meter, err);
    }
    if (code == ERR_OK) {
        code = meter_load_prices(meter, err);
    }
    if (code != ERR_OK) {
        return err_context(err, code, "loading what was spent");
    }
    return ERR_OK;
}
