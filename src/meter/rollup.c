/* Keeping a rollup up to date, and answering from it. */
#include "meter/rollup.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "meter/event.h"
#include "meter/rollup_cells.h"

#define HOUR_US INT64_C(3600000000)
#define DAY_US (24 * HOUR_US)

enum {
    CELLS_MAX = 100000,
    MEMORY_MAX = 128 << 20,
    GROUPS_MAX = 10000,
    VISIT_TIMEOUT_MS = 3600 * 1000,
    TEXT_BYTES_MAX = 64 << 20
};

/* What is read of an entry; the columns of a visit come in the order of the table. */
enum seen_column {
    SEEN_TIMESTAMP,
    SEEN_API,
    SEEN_ENDPOINT,
    SEEN_SUCCESS,
    SEEN_LATENCY,
    SEEN_CREDITS,
    SEEN_CORRECTS,
    SEEN_SEQ,
    SEEN_COUNT
};

static const uint64_t seen_columns =
    1u << EVENT_TIMESTAMP | 1u << EVENT_API_NAME | 1u << EVENT_ENDPOINT | 1u << EVENT_SUCCESS |
    1u << EVENT_LATENCY_MS | 1u << EVENT_CREDITS_COST | 1u << EVENT_CORRECTS | 1u << EVENT_SEQ;

struct rollup {
    size_t cells_max;
    size_t memory_max;
    pthread_mutex_t reading; /* one reads from the store at a time; taken before `lock` */
    pthread_mutex_t lock;    /* all that follows; held for a batch or an answer */
    struct texts texts;
    struct cells cells;
    uint64_t seq;
    uint64_t answered;
    bool ready;
    bool over;
};

struct rollup *
rollup_new(const struct rollup_options *options)
{
    struct rollup *rollup = mem_zalloc(1, sizeof(*rollup));

    rollup->cells_max = options->cells_max ? options->cells_max : CELLS_MAX;
    rollup->memory_max = options->memory_max ? options->memory_max : MEMORY_MAX;
    pthread_mutex_init(&rollup->reading, NULL);
    pthread_mutex_init(&rollup->lock, NULL);
    return rollup;
}

void
rollup_free(struct rollup *rollup)
{
    if (!rollup) {
        return;
    }
    pthread_mutex_destroy(&rollup->reading);
    pthread_mutex_destroy(&rollup->lock);
    texts_fini(&rollup->texts);
    cells_fini(&rollup->cells);
    free(rollup);
}

/* ---- reading ---- */

static void
add_row(struct texts *texts, struct cells *cells, const struct batch *rows, size_t row)
{
    struct cell_entry entry = {
        .timestamp_us = batch_get_i64(rows, SEEN_TIMESTAMP, row),
        .api = texts_add(texts, batch_get_text(rows, SEEN_API, row)),
        .endpoint = texts_add(texts, batch_get_text(rows, SEEN_ENDPOINT, row)),
        .is_call = batch_is_null(rows, SEEN_CORRECTS, row),
        .success = batch_get_i64(rows, SEEN_SUCCESS, row) != 0,
        .latency_ms = batch_get_f64(rows, SEEN_LATENCY, row),
        .credits = batch_get_i64(rows, SEEN_CREDITS, row),
    };

    cells_add(cells, &entry);
}

static size_t
memory_of(const struct rollup *rollup)
{
    return sizeof(*rollup) + cells_bytes(&rollup->cells) + rollup->texts.bytes;
}

static void
give_up(struct rollup *rollup)
{
    rollup->over = true;
    rollup->ready = false;
    texts_fini(&rollup->texts);
    cells_fini(&rollup->cells);
}

/* The rows come in the order they were appended in, so what was read before a failure stays. */
static enum err_code
on_new_rows(void *ctx, const struct batch *rows, struct err *err)
{
    struct rollup *rollup = ctx;

    assert(rows->column_count == SEEN_COUNT);
    pthread_mutex_lock(&rollup->lock);
    for (size_t row = 0; row < rows->rows; row++) {
        add_row(&rollup->texts, &rollup->cells, rows, row);
        uint64_t seq = (uint64_t)batch_get_i64(rows, SEEN_SEQ, row);
        rollup->seq = seq > rollup->seq ? seq : rollup->seq;
    }
    if (rollup->cells.count > rollup->cells_max || memory_of(rollup) > rollup->memory_max ||
        rollup->cells.overflow) {
        give_up(rollup);
    }
    bool over = rollup->over;
    pthread_mutex_unlock(&rollup->lock);
    return over ? err_set(err, ERR_TOO_LARGE, "the rollup is over its bounds") : ERR_OK;
}

enum err_code
rollup_refresh(struct rollup *rollup, struct engine *engine, struct err *err)
{
    struct store_scan scan = {.table = TABLE_EVENTS,
                              .from_us = INT64_MIN,
                              .to_us = INT64_MAX,
                              .timeout_ms = VISIT_TIMEOUT_MS,
                              .column_mask = seen_columns,
                              .at_least_column = "seq"};
    enum err_code code = ERR_OK;

    pthread_mutex_lock(&rollup->reading);
    if (!rollup->over) { /* written by readers only, and that is us */
        scan.at_least = (int64_t)rollup->seq + 1;
        code = engine_visit(engine, &scan, on_new_rows, rollup, err);
        pthread_mutex_lock(&rollup->lock);
        code = rollup->over ? ERR_OK : code;
        rollup->ready = rollup->ready || (code == ERR_OK && !rollup->over);
        pthread_mutex_unlock(&rollup->lock);
    }
    pthread_mutex_unlock(&rollup->reading);
    return code;
}

void
rollup_status(struct rollup *rollup, struct rollup_status *ret_status)
{
    pthread_mutex_lock(&rollup->lock);
    *ret_status = (struct rollup_status){.ready = rollup->ready,
                                         .over = rollup->over,
                                         .seq = rollup->seq,
                                         .answered = rollup->answered,
                                         .cells = rollup->cells.count,
                                         .memory_bytes = memory_of(rollup)};
    pthread_mutex_unlock(&rollup->lock);
}

/* ---- answering ---- */

/* A cell that counts, and the group it belongs to: times, or the texts' places in order. */
struct match {
    int64_t keys[2];
    const struct cell *cell;
};

struct answer {
    struct rollup *rollup;
    const struct event_stats *stats;
    enum event_group groups[2];
    struct cells edges; /* hours that the range cuts, read anew */
    int64_t api;        /* filters, as numbers of texts; TEXT_NONE: any */
    int64_t endpoint;
    int64_t full_from_us; /* hours from .. to are covered whole */
    int64_t full_to_us;
    uint32_t *places; /* of each text in order */
    struct match *matches;
    size_t count;
};

static bool
can_answer(const struct event_stats *stats)
{
    const struct event_filter *filter = &stats->filter;

    for (size_t i = 0; i < 2; i++) {
        enum event_group group = stats->groups[i];
        if (group == GROUP_RUN_ID || group == GROUP_KEY || group == GROUP_PROJECT) {
            return false;
        }
    }
    return filter->id.len == 0 && filter->method.len == 0 && filter->run_id.len == 0 &&
           filter->api_key.len == 0 && filter->project.len == 0 && filter->corrects.len == 0 &&
           filter->reservation_id.len == 0 && filter->has_success == 0 && filter->status_min == 0 &&
           filter->status_max == 0 && filter->from_us <= filter->to_us;
}

static enum err_code
on_edge_rows(void *ctx, const struct batch *rows, struct err *err)
{
    struct answer *answer = ctx;

    (void)err;
    for (size_t row = 0; row < rows->rows; row++) {
        /* What came in since the cells were brought up to date waits for the next answer. */
        if ((uint64_t)batch_get_i64(rows, SEEN_SEQ, row) <= answer->rollup->seq) {
            add_row(&answer->rollup->texts, &answer->edges, rows, row);
        }
    }
    return ERR_OK;
}

static enum err_code
read_edge(struct answer *answer, struct engine *engine, int64_t from_us, int64_t to_us,
          struct err *err)
{
    struct store_scan scan = {
        .table = TABLE_EVENTS, .from_us = from_us, .to_us = to_us, .column_mask = seen_columns};

    return engine_visit(engine, &scan, on_edge_rows, answer, err);
}

/* Finds the hours that the range covers whole, and reads the one or two that it cuts. */
static enum err_code
read_edges(struct answer *answer, struct engine *engine, struct err *err)
{
    int64_t from_us = answer->stats->filter.from_us;
    int64_t to_us = answer->stats->filter.to_us;
    bool from_open = from_us < INT64_MIN / 2;
    bool to_open = to_us > INT64_MAX / 2;
    int64_t from_hour = from_open ? from_us : hour_of(from_us);
    int64_t to_hour = to_open ? to_us : hour_of(to_us);
    bool from_cut = !from_open && from_us != from_hour;
    bool to_cut = !to_open && to_us != to_hour + HOUR_US - 1;
    enum err_code code = ERR_OK;

    answer->full_from_us = from_cut ? from_hour + HOUR_US : from_us;
    answer->full_to_us = to_cut ? to_hour - 1 : to_us;
    if (from_cut && from_hour == to_hour) {
        return read_edge(answer, engine, from_us, to_us, err);
    }
    if (from_cut) {
        code = read_edge(answer, engine, from_us, from_hour + HOUR_US - 1, err);
    }
    if (to_cut && !code) {
        code = read_edge(answer, engine, to_hour, to_us, err);
    }
    return code;
}

static int64_t
key_of(const struct answer *answer, const struct cell *cell, enum event_group group)
{
    switch (group) {
    case GROUP_API:
        return answer->places[cell->api];
    case GROUP_ENDPOINT:
        return answer->places[cell->endpoint];
    case GROUP_HOUR:
        return cell->hour_us;
    case GROUP_DAY: {
        int64_t rest = cell->hour_us % DAY_US;
        return cell->hour_us - rest - (rest < 0 ? DAY_US : 0);
    }
    case GROUP_NONE:
    case GROUP_RUN_ID:
    case GROUP_KEY:
    case GROUP_PROJECT:
        break;
    }
    return 0;
}

static void
match_cells(struct answer *answer, const struct cells *cells, bool all_times)
{
    for (size_t i = 0; i < cells->count; i++) {
        const struct cell *cell = &cells->all[i];
        if ((answer->api != TEXT_NONE && cell->api != answer->api) ||
            (answer->endpoint != TEXT_NONE && cell->endpoint != answer->endpoint) ||
            (!all_times &&
             (cell->hour_us < answer->full_from_us || cell->hour_us > answer->full_to_us))) {
            continue;
        }
        struct match *match = &answer->matches[answer->count++];
        match->cell = cell;
        match->keys[0] = key_of(answer, cell, answer->groups[0]);
        match->keys[1] = key_of(answer, cell, answer->groups[1]);
    }
}

static int
by_text(const void *a, const void *b)
{
    return slice_cmp(**(const struct slice *const *)a, **(const struct slice *const *)b);
}

static int
by_keys(const void *a, const void *b)
{
    const struct match *x = a;
    const struct match *y = b;

    if (x->keys[0] != y->keys[0]) {
        return x->keys[0] < y->keys[0] ? -1 : 1;
    }
    return (x->keys[1] > y->keys[1]) - (x->keys[1] < y->keys[1]);
}

static void
order_texts(struct answer *answer)
{
    const struct texts *texts = &answer->rollup->texts;
    const struct slice **sorted = mem_zalloc(texts->count + 1, sizeof(struct slice *));

    answer->places = mem_zalloc(texts->count + 1, sizeof(*answer->places));
    for (size_t i = 0; i < texts->count; i++) {
        sorted[i] = &texts->all[i];
    }
    qsort(sorted, texts->count, sizeof(struct slice *), by_text);
    for (size_t i = 0; i < texts->count; i++) {
        answer->places[sorted[i] - texts->all] = (uint32_t)i;
    }
    free(sorted);
}

/* The number of a filter's text; false when no entry has it. */
static bool
filter_text(const struct answer *answer, struct slice text, int64_t *ret_number)
{
    *ret_number = TEXT_NONE;
    if (text.len == 0) {
        return true;
    }
    *ret_number = texts_find(&answer->rollup->texts, text);
    return *ret_number != TEXT_NONE;
}

/* ---- one group's figures ---- */

struct figures {
    uint64_t entries;
    uint64_t calls;
    uint64_t successes;
    double latency_sum_ms;
    int64_t credits;
    uint64_t counts[LATENCY_BUCKETS];
};

/* As quantile_cont: between the two values about the place q * (n - 1). */
static double
quantile(const struct figures *figures, double q)
{
    double place = q * (double)(figures->calls - 1);
    uint64_t lower = (uint64_t)place;
    uint64_t seen = 0;
    double low = -1;

    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        seen += figures->counts[i];
        if (low < 0 && seen > lower) {
            low = latency_of_bucket(i);
        }
        if (seen > lower + 1 || seen == figures->calls) {
            return low + (latency_of_bucket(i) - low) * (place - (double)lower);
        }
    }
    return low;
}

static bool
add_match(struct figures *figures, const struct cell *cell, bool with_counts)
{
    figures->entries += cell->entries;
    figures->calls += cell->calls;
    figures->successes += cell->successes;
    figures->latency_sum_ms += cell->latency_sum_ms;
    if (with_counts) {
        cell_add_counts(cell, figures->counts);
    }
    return !__builtin_add_overflow(figures->credits, cell->credits, &figures->credits);
}

static void
write_figures(const struct figures *figures, bool no_percentiles, struct batch *rows, size_t row,
              size_t column)
{
    static const double quantiles[] = {0.5, 0.95, 0.99};
    double calls = figures->calls ? (double)figures->calls : 1;

    batch_set_i64(rows, column++, row, (int64_t)figures->entries);
    batch_set_i64(rows, column++, row, figures->credits);
    batch_set_f64(rows, column++, row, (double)figures->successes / calls);
    batch_set_f64(rows, column++, row, figures->latency_sum_ms / calls);
    for (size_t i = 0; i < 3; i++, column++) {
        if (!no_percentiles && figures->calls > 0) {
            batch_set_f64(rows, column, row, quantile(figures, quantiles[i]));
        }
    }
    batch_set_i64(rows, column, row, (int64_t)(figures->calls - figures->successes));
}

/* ---- the answer ---- */

static void
add_columns(const struct answer *answer, struct batch *rows)
{
    static const struct {
        const char *name;
        enum col_type type;
    } columns[] = {{"count", COL_INT64},         {"credits", COL_DECIMAL},
                   {"success_rate", COL_DOUBLE}, {"avg_latency", COL_DOUBLE},
                   {"p50", COL_DOUBLE},          {"p95", COL_DOUBLE},
                   {"p99", COL_DOUBLE},          {"errors", COL_INT64}};

    for (size_t i = 0; i < 2; i++) {
        bool is_time = answer->groups[i] == GROUP_HOUR || answer->groups[i] == GROUP_DAY;
        if (answer->groups[i] != GROUP_NONE) {
            batch_add_column(rows, slice_of(event_group_name(answer->groups[i])),
                             is_time ? COL_TIMESTAMP : COL_TEXT);
        }
    }
    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
        batch_add_column(rows, slice_of(columns[i].name), columns[i].type);
    }
}

static size_t
write_keys(const struct answer *answer, const struct match *match, struct batch *rows, size_t row)
{
    const struct texts *texts = &answer->rollup->texts;
    size_t column = 0;

    for (size_t i = 0; i < 2; i++) {
        switch (answer->groups[i]) {
        case GROUP_API:
            batch_set_text(rows, column++, row,
                           batch_keep_text(rows, texts->all[match->cell->api]));
            break;
        case GROUP_ENDPOINT:
            batch_set_text(rows, column++, row,
                           batch_keep_text(rows, texts->all[match->cell->endpoint]));
            break;
        case GROUP_HOUR:
        case GROUP_DAY:
            batch_set_i64(rows, column++, row, match->keys[i]);
            break;
        case GROUP_NONE:
        case GROUP_RUN_ID:
        case GROUP_KEY:
        case GROUP_PROJECT:
            break;
        }
    }
    return column;
}

/* Writes the groups in order; false when a sum of credits does not fit. */
static bool
write_groups(struct answer *answer, struct batch *rows, struct err *err, enum err_code *ret_code)
{
    struct figures *figures = mem_alloc(sizeof(*figures));
    bool no_percentiles = answer->stats->no_percentiles;
    bool fits = true;
    size_t next;

    for (size_t i = 0; fits && i < answer->count; i = next) {
        memset(figures, 0, sizeof(*figures));
        for (next = i;
             next < answer->count && by_keys(&answer->matches[i], &answer->matches[next]) == 0;
             next++) {
            fits = fits && add_match(figures, answer->matches[next].cell, !no_percentiles);
        }
        if (rows->rows == GROUPS_MAX) {
            *ret_code =
                err_set(err, ERR_TOO_LARGE,
                        "the answer has more than %d groups; narrow the filters", GROUPS_MAX);
            break;
        }
        size_t row = batch_add_row(rows);
        size_t column = write_keys(answer, &answer->matches[i], rows, row);
        write_figures(figures, no_percentiles, rows, row, column);
    }
    if (rows->rows == 0 && answer->groups[0] == GROUP_NONE && answer->groups[1] == GROUP_NONE) {
        memset(figures, 0, sizeof(*figures));
        write_figures(figures, no_percentiles, rows, batch_add_row(rows), 0);
    }
    free(figures);
    return fits;
}

/* Under the lock. *ret_answered stays false when SQL must be asked after all. */
static enum err_code
answer_stats(struct rollup *rollup, struct engine *engine, const struct event_stats *stats,
             struct batch *ret_rows, bool *ret_answered, struct err *err)
{
    struct answer answer = {.rollup = rollup, .stats = stats};
    enum err_code code;
    struct batch rows;

    answer.groups[0] = stats->groups[0];
    answer.groups[1] = stats->groups[1] == stats->groups[0] ? GROUP_NONE : stats->groups[1];
    code = read_edges(&answer, engine, err);
    if (!code) {
        size_t most = rollup->cells.count + answer.edges.count;
        answer.matches = mem_zalloc(most + 1, sizeof(*answer.matches));
        order_texts(&answer);
        if (filter_text(&answer, stats->filter.api_name, &answer.api) &&
            filter_text(&answer, stats->filter.endpoint, &answer.endpoint)) {
            match_cells(&answer, &rollup->cells, false);
            match_cells(&answer, &answer.edges, true);
        }
        qsort(answer.matches, answer.count, sizeof(*answer.matches), by_keys);
        batch_init_answer(&rows, TEXT_BYTES_MAX);
        add_columns(&answer, &rows);
        bool fits = write_groups(&answer, &rows, err, &code) && !answer.edges.overflow;
        *ret_answered = fits || code;
        if (fits && !code) {
            *ret_rows = rows;
            rollup->answered++;
        } else {
            batch_fini(&rows);
        }
    }
    cells_fini(&answer.edges);
    free(answer.matches);
    free(answer.places);
    return code;
}

enum err_code
rollup_stats(struct rollup *rollup, struct engine *engine, const struct event_stats *stats,
             struct batch *ret_rows, struct err *err)
{
    enum err_code code = ERR_OK;
    bool answered = false;
    bool ready = false;

    if (rollup && can_answer(stats)) {
        pthread_mutex_lock(&rollup->lock);
        ready = rollup->ready;
        pthread_mutex_unlock(&rollup->lock);
    }
    if (!ready || rollup_refresh(rollup, engine, err)) {
        return event_stats(engine, stats, ret_rows, err);
    }
    pthread_mutex_lock(&rollup->lock);
    if (rollup->ready) {
        code = answer_stats(rollup, engine, stats, ret_rows, &answered, err);
    }
    pthread_mutex_unlock(&rollup->lock);
    return answered || code ? code : event_stats(engine, stats, ret_rows, err);
}
