/* Reading the event log: totals, statistics, pages, the whole chain. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "cli/ledger.h"
#include "codec/decimal.h"
#include "codec/number.h"
#include "codec/time.h"

enum {
    ANSWER_TEXT_MAX = 1 << 30,
    VISIT_TIMEOUT_MS = 24 * 3600 * 1000,
    RANGE_ROWS = 5000 /* a server's bound on an answer is 100 000 rows, or less */
};

static const char *const group_names[] = {
    [GROUP_NONE] = NULL,       [GROUP_API] = "api",         [GROUP_ENDPOINT] = "endpoint",
    [GROUP_RUN_ID] = "run_id", [GROUP_HOUR] = "hour",       [GROUP_DAY] = "day",
    [GROUP_KEY] = "key",       [GROUP_PROJECT] = "project",
};

const char *
ledger_group_name(enum event_group group)
{
    return (size_t)group < sizeof(group_names) / sizeof(group_names[0]) ? group_names[group] : NULL;
}

/* ---- filters ---- */

static enum err_code
bad_status(const char *text, struct err *err)
{
    return err_set(err, ERR_USAGE,
                   "status is \"%.40s\"; expected a status such as 200, a class such as 5xx, or "
                   "null",
                   text);
}

/* "200", "5xx", "null" (no answer came). */
static enum err_code
read_status(const char *text, struct event_filter *filter, struct err *err)
{
    int64_t status;

    if (strcmp(text, "null") == 0) {
        filter->status_min = filter->status_max = -1;
        return ERR_OK;
    }
    if (strlen(text) != 3 || text[0] < '1' || text[0] > '5') {
        return bad_status(text, err);
    }
    if (strcmp(text + 1, "xx") == 0) {
        filter->status_min = (text[0] - '0') * 100;
        filter->status_max = filter->status_min + 99;
        return ERR_OK;
    }
    if (!number_parse_i64(slice_of(text), &status)) {
        return bad_status(text, err);
    }
    filter->status_min = filter->status_max = (int)status;
    return ERR_OK;
}

static void
add_time(struct buf *path, const char *name, int64_t us)
{
    char text[TIME_TEXT_MAX];

    ledger_add_param(path, name, slice_make(text, time_format_iso8601(us, text)));
}

static void
add_filter(struct buf *path, const struct ledger_filter *filter)
{
    const struct event_filter *event = &filter->event;
    const struct {
        const char *name;
        struct slice value;
    } texts[] = {
        {"id", event->id},
        {"api_name", event->api_name},
        {"endpoint", event->endpoint},
        {"method", event->method},
        {"run_id", event->run_id},
        {"key", event->api_key},
        {"project", event->project},
        {"status", slice_of(filter->status)},
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (texts[i].value.len > 0) {
            ledger_add_param(path, texts[i].name, texts[i].value);
        }
    }
    if (event->has_success) {
        ledger_add_param(path, "success", slice_of(event->has_success > 0 ? "true" : "false"));
    }
    if (event->from_us != INT64_MIN) {
        add_time(path, "from", event->from_us);
    }
    if (event->to_us != INT64_MAX) {
        add_time(path, "to", event->to_us);
    }
}

static enum err_code
get(struct ledger *ledger, struct buf *path, json_t **ret_answer, struct err *err)
{
    buf_add_char(path, '\0');
    struct client_request request = {.path = path->ptr};
    return ledger_ask(ledger->target.client, &request, ret_answer, err);
}

static int64_t
credits_of(const json_t *value)
{
    int64_t micro = 0;

    if (json_is_string(value)) {
        decimal_parse(slice_of(json_string_value(value)), &micro);
    } else {
        decimal_from_double(json_number_value(value), &micro);
    }
    return micro;
}

/* ---- statistics ---- */

/* The columns behind the groups; as event_stats names them, and as the API does. */
static const struct {
    const char *name;
    const char *api_name;
    enum col_type type;
} measures[] = {
    {"count", "total_events", COL_INT64},         {"credits", "total_credits", COL_DECIMAL},
    {"success_rate", "success_rate", COL_DOUBLE}, {"avg_latency", "avg_latency", COL_DOUBLE},
    {"p50", "p50_latency", COL_DOUBLE},           {"p95", "p95_latency", COL_DOUBLE},
    {"p99", "p99_latency", COL_DOUBLE},           {"errors", "error_count", COL_INT64},
};

enum { MEASURES = sizeof(measures) / sizeof(measures[0]) };

/* What a group's column is called in the log, and hence in answers. */
static const char *
group_column(enum event_group group)
{
    return group == GROUP_API ? "api_name" : (group == GROUP_KEY ? "api_key" : group_names[group]);
}

static void
start_stats(struct batch *rows, const enum event_group groups[2])
{
    batch_init_answer(rows, ANSWER_TEXT_MAX);
    for (size_t i = 0; i < 2 && groups[i] != GROUP_NONE; i++) {
        batch_add_column(rows, slice_of(group_column(groups[i])), COL_TEXT);
    }
    for (size_t i = 0; i < MEASURES; i++) {
        batch_add_column(rows, slice_of(measures[i].name), measures[i].type);
    }
}

static void
add_group(const json_t *group, const enum event_group groups[2], struct batch *rows)
{
    size_t row = batch_add_row(rows);
    size_t column = 0;

    for (; column < 2 && groups[column] != GROUP_NONE; column++) {
        const json_t *value = json_object_get(group, group_column(groups[column]));
        if (!value) {
            value = json_object_get(group, group_names[groups[column]]);
        }
        target_set_value(rows, column, row, value ? value : json_null());
    }
    for (size_t i = 0; i < MEASURES; i++, column++) {
        const json_t *value = json_object_get(group, measures[i].api_name);
        if (!json_is_number(value)) {
            continue;
        }
        if (measures[i].type == COL_INT64) {
            batch_set_i64(rows, column, row, (int64_t)json_number_value(value));
        } else if (measures[i].type == COL_DECIMAL) {
            batch_set_i64(rows, column, row, credits_of(value));
        } else {
            batch_set_f64(rows, column, row, json_number_value(value));
        }
    }
}

static enum err_code
stats_by_server(struct ledger *ledger, const struct ledger_filter *filter,
                const enum event_group groups[2], struct batch *ret_rows, struct err *err)
{
    struct buf path BUF_AUTO = {0};
    json_t *answer;
    json_t *group;
    size_t index;

    buf_init(&path, 0);
    buf_add_cstr(&path, "/api/v1/events/stats");
    add_filter(&path, filter);
    if (groups[0] != GROUP_NONE) {
        char names[64];
        snprintf(names, sizeof(names), "%s%s%s", group_names[groups[0]],
                 groups[1] != GROUP_NONE ? "," : "",
                 groups[1] != GROUP_NONE ? group_names[groups[1]] : "");
        ledger_add_param(&path, "group_by", slice_of(names));
    }
    enum err_code code = get(ledger, &path, &answer, err);
    if (code != ERR_OK) {
        return code;
    }
    start_stats(ret_rows, groups);
    if (groups[0] == GROUP_NONE) {
        add_group(answer, groups, ret_rows);
    }
    json_array_foreach(json_object_get(answer, "groups"), index, group)
    {
        add_group(group, groups, ret_rows);
    }
    json_decref(answer);
    return ERR_OK;
}

enum err_code
ledger_stats(struct ledger *ledger, const struct ledger_filter *filter,
             const enum event_group groups[2], struct batch *ret_rows, struct err *err)
{
    struct event_stats stats = {.filter = filter->event, .groups = {groups[0], groups[1]}};

    if (ledger->target.client) {
        return stats_by_server(ledger, filter, groups, ret_rows, err);
    }
    enum err_code code = filter->status ? read_status(filter->status, &stats.filter, err) : ERR_OK;
    return code == ERR_OK ? event_stats(ledger->target.engine, &stats, ret_rows, err) : code;
}

enum err_code
ledger_totals(struct ledger *ledger, const struct ledger_filter *filter,
              struct ledger_totals *ret_totals, struct err *err)
{
    struct event_stats stats = {.filter = filter->event, .no_percentiles = true};
    const enum event_group none[2] = {GROUP_NONE, GROUP_NONE};
    struct ledger_totals totals = {0};
    struct batch rows BATCH_AUTO = {0};
    enum err_code code = ledger->target.client
                             ? stats_by_server(ledger, filter, none, &rows, err)
                             : event_stats(ledger->target.engine, &stats, &rows, err);

    if (code != ERR_OK) {
        return code;
    }
    for (size_t i = 0; rows.rows > 0 && i < MEASURES; i++) {
        int column = batch_column_index(&rows, slice_of(measures[i].name));
        if (column == CATALOG_NONE) {
            continue;
        }
        int64_t whole = batch_get_i64(&rows, (size_t)column, 0);
        double number = batch_get_f64(&rows, (size_t)column, 0);
        switch (i) {
        case 0:
            totals.events = (uint64_t)whole;
            break;
        case 1:
            totals.credits = whole;
            break;
        case 2:
            totals.success_rate = number;
            break;
        case 3:
            totals.avg_latency = number;
            break;
        case MEASURES - 1:
            totals.errors = (uint64_t)whole;
            break;
        }
    }
    *ret_totals = totals;
    return ERR_OK;
}

enum err_code
ledger_credits_since(struct ledger *ledger, int64_t from_us, int64_t *ret_credits, struct err *err)
{
    struct buf path BUF_AUTO = {0};
    json_t *answer;

    if (!ledger->target.client) {
        return event_credits_since(ledger->target.engine, from_us, ret_credits, err);
    }
    buf_init(&path, 0);
    buf_add_cstr(&path, "/api/v1/events/credits");
    add_time(&path, "since", from_us);
    enum err_code code = get(ledger, &path, &answer, err);
    if (code == ERR_OK) {
        *ret_credits = credits_of(json_object_get(answer, "total_credits"));
        json_decref(answer);
    }
    return code;
}

/* ---- pages ---- */

/* The API calls two columns by shorter names. */
static const json_t *
member_of(const json_t *object, const char *column)
{
    const json_t *value = json_object_get(object, column);

    if (!value && strcmp(column, "metadata_json") == 0) {
        value = json_object_get(object, "metadata");
    }
    if (!value && strcmp(column, "api_key") == 0) {
        value = json_object_get(object, "key");
    }
    return value;
}

static enum err_code
page_by_server(struct ledger *ledger, const struct ledger_page *page, struct batch *ret_rows,
               uint64_t *ret_next, struct err *err)
{
    const struct catalog_table *table = catalog_table(TABLE_EVENTS);
    struct buf path BUF_AUTO = {0};
    char number[24];
    json_t *answer;
    json_t *event;
    size_t index;
    int64_t next = 0;

    buf_init(&path, 0);
    buf_add_cstr(&path, "/api/v1/events");
    add_filter(&path, &page->filter);
    ledger_add_param(&path, "order", slice_of(page->oldest_first ? "asc" : "desc"));
    snprintf(number, sizeof(number), "%u", page->limit);
    ledger_add_param(&path, "limit", slice_of(number));
    if (page->cursor) {
        snprintf(number, sizeof(number), "%" PRIu64, page->cursor);
        ledger_add_param(&path, "cursor", slice_of(number));
    }
    enum err_code code = get(ledger, &path, &answer, err);
    if (code != ERR_OK) {
        return code;
    }
    batch_init(ret_rows, table, ANSWER_TEXT_MAX);
    json_array_foreach(json_object_get(answer, "events"), index, event)
    {
        size_t row = batch_add_row(ret_rows);
        for (size_t i = 0; i < table->column_count; i++) {
            const json_t *value = member_of(event, table->columns[i].name);
            if (value) {
                target_set_value(ret_rows, i, row, value);
            }
        }
    }
    /* A cursor is a seq; it may be written as a text. */
    const json_t *cursor = json_object_get(answer, "next_cursor");
    if (json_is_string(cursor)) {
        number_parse_i64(slice_of(json_string_value(cursor)), &next);
    } else {
        next = json_integer_value(cursor);
    }
    *ret_next = next > 0 ? (uint64_t)next : 0;
    json_decref(answer);
    return ERR_OK;
}

enum err_code
ledger_page(struct ledger *ledger, const struct ledger_page *page, struct batch *ret_rows,
            uint64_t *ret_next, struct err *err)
{
    struct event_page local = {.filter = page->filter.event,
                               .oldest_first = page->oldest_first,
                               .cursor = page->cursor,
                               .limit = page->limit};

    if (ledger->target.client) {
        return page_by_server(ledger, page, ret_rows, ret_next, err);
    }
    enum err_code code =
        page->filter.status ? read_status(page->filter.status, &local.filter, err) : ERR_OK;
    return code == ERR_OK ? event_page(ledger->target.engine, &local, ret_rows, ret_next, err)
                          : code;
}

/* ---- all of it, exactly ---- */

/*
 * SQL, since an answer in JSON must not change what was hashed: credits and metadata come as texts.
 * A range of seq is a few row groups of the database, so that a page costs what it holds.
 */
static void
select_range(struct buf *sql, uint64_t from, uint64_t to)
{
    const struct catalog_table *table = catalog_table(TABLE_EVENTS);

    buf_add_cstr(sql, "SELECT ");
    for (size_t i = 0; i < table->column_count; i++) {
        const struct catalog_column *column = &table->columns[i];
        bool cast = column->type == COL_DECIMAL || column->type == COL_JSON;
        buf_add_fmt(sql, cast ? "%sCAST(%s AS VARCHAR) AS %s" : "%s\"%s\"", i ? ", " : "",
                    column->name, column->name);
    }
    buf_add_fmt(sql,
                " FROM api_event_log WHERE seq BETWEEN %" PRIu64 " AND %" PRIu64 " ORDER BY seq%c",
                from, to, '\0');
}

/* Copies answers of SQL into rows of the table; texts are borrowed. */
static bool
take_rows(const struct batch *from, struct batch *to)
{
    if (from->column_count != to->column_count) {
        return false;
    }
    batch_reserve(to, from->rows);
    for (size_t row = 0; row < from->rows; row++) {
        batch_add_row(to);
        for (size_t i = 0; i < to->column_count; i++) {
            enum col_type type = to->columns[i].type;
            bool same = from->columns[i].type == type;
            int64_t micro;
            if (batch_is_null(from, i, row)) {
                continue;
            }
            if (type == COL_TEXT || type == COL_JSON) {
                batch_set_text(to, i, row, batch_get_text(from, i, row));
            } else if (type == COL_BOOL && same) {
                batch_set_bool(to, i, row, from->columns[i].b[row]);
            } else if (type == COL_INT32) {
                batch_set_i32(to, i, row, (int32_t)batch_get_i64(from, i, row));
            } else if (type == COL_DOUBLE) {
                batch_set_f64(to, i, row, batch_get_f64(from, i, row));
            } else if (same) {
                batch_set_i64(to, i, row, batch_get_i64(from, i, row));
            } else if (type == COL_DECIMAL && decimal_parse(batch_get_text(from, i, row), &micro)) {
                batch_set_i64(to, i, row, micro);
            } else {
                return false;
            }
        }
    }
    return true;
}

static enum err_code
ask_range(struct ledger *ledger, const char *sql, struct batch *ret_rows, struct err *err)
{
    bool truncated = false;
    enum err_code code = target_sql(&ledger->target, sql, ret_rows, &truncated, err);

    if (code == ERR_OK && truncated) {
        batch_fini(ret_rows);
        return err_set(err, ERR_TOO_LARGE,
                       "the server cuts answers below %d rows; raise its sql.rows_max", RANGE_ROWS);
    }
    return code;
}

/* The newest entry that SQL sees; a server's durable head may be a moment further. */
static enum err_code
stored_head(struct ledger *ledger, struct ledger_head *ret_head, struct err *err)
{
    struct ledger_head head = {0};
    struct batch rows BATCH_AUTO = {0};
    bool truncated;
    enum err_code code =
        target_sql(&ledger->target,
                   "SELECT seq, hash, created_at FROM api_event_log ORDER BY seq DESC LIMIT 1",
                   &rows, &truncated, err);

    if (code != ERR_OK) {
        return code;
    }
    if (rows.rows > 0) {
        head.chain.seq = (uint64_t)batch_get_i64(&rows, 0, 0);
        head.at_us = batch_get_i64(&rows, 2, 0);
        if (!chain_from_hex(batch_get_text(&rows, 1, 0), head.chain.hash)) {
            return err_set(err, ERR_CORRUPT, "entry %" PRIu64 " has no hash of 64 hex digits",
                           head.chain.seq);
        }
    }
    *ret_head = head;
    return ERR_OK;
}

static enum err_code
visit_by_server(struct ledger *ledger, uint64_t from_seq, uint64_t to_seq, ledger_visit_fn *fn,
                void *ctx, struct err *err)
{
    struct ledger_head head = {0};
    enum err_code code = stored_head(ledger, &head, err);

    if (code != ERR_OK) {
        return code;
    }
    uint64_t last = to_seq && to_seq < head.chain.seq ? to_seq : head.chain.seq;
    for (uint64_t at = from_seq; at <= last && code == ERR_OK; at += RANGE_ROWS) {
        struct buf sql BUF_AUTO = {0};
        struct batch answer;
        struct batch rows;
        buf_init(&sql, 0);
        select_range(&sql, at, last - at < RANGE_ROWS ? last : at + RANGE_ROWS - 1);
        code = ask_range(ledger, sql.ptr, &answer, err);
        if (code != ERR_OK) {
            break;
        }
        batch_init(&rows, catalog_table(TABLE_EVENTS), 1);
        code = take_rows(&answer, &rows)
                   ? fn(ctx, &rows, err)
                   : err_set(err, ERR_INTERNAL, "api_event_log has unexpected columns");
        batch_fini(&rows);
        batch_fini(&answer);
    }
    return code;
}

struct visit {
    uint64_t to_seq;
    ledger_visit_fn *fn;
    void *ctx;
    bool over;
};

/* Ends the visit behind the batch in which to_seq is; the visitors leave out what is further. */
static enum err_code
visit_rows(void *ctx, const struct batch *rows, struct err *err)
{
    struct visit *visit = ctx;
    enum err_code code = visit->fn(visit->ctx, rows, err);
    int64_t last = rows->rows ? batch_get_i64(rows, EVENT_SEQ, rows->rows - 1) : 0;

    if (code == ERR_OK && visit->to_seq && (uint64_t)last >= visit->to_seq) {
        visit->over = true;
        return err_set(err, ERR_UNAVAILABLE, "enough");
    }
    return code;
}

enum err_code
ledger_visit(struct ledger *ledger, uint64_t from_seq, uint64_t to_seq, ledger_visit_fn *fn,
             void *ctx, struct err *err)
{
    struct visit visit = {.to_seq = to_seq, .fn = fn, .ctx = ctx};
    struct store_scan scan = {.table = TABLE_EVENTS,
                              .from_us = INT64_MIN,
                              .to_us = INT64_MAX,
                              .timeout_ms = VISIT_TIMEOUT_MS,
                              .at_least_column = "seq",
                              .at_least = (int64_t)from_seq};

    if (ledger->target.client) {
        return visit_by_server(ledger, from_seq ? from_seq : 1, to_seq, fn, ctx, err);
    }
    enum err_code code = engine_visit(ledger->target.engine, &scan, visit_rows, &visit, err);
    return visit.over ? ERR_OK : code;
}

enum err_code
ledger_head(struct ledger *ledger, struct ledger_head *ret_head, struct err *err)
{
    struct buf path BUF_AUTO = {0};
    struct ledger_head head = {0};
    json_t *answer;

    if (!ledger->target.client) {
        return stored_head(ledger, ret_head, err);
    }
    buf_init(&path, 0);
    buf_add_cstr(&path, "/api/v1/events/head");
    enum err_code code = get(ledger, &path, &answer, err);
    if (code != ERR_OK) {
        return code;
    }
    head.chain.seq = (uint64_t)json_integer_value(json_object_get(answer, "seq"));
    const char *hash = json_string_value(json_object_get(answer, "hash"));
    const char *at = json_string_value(json_object_get(answer, "at"));
    bool fits = chain_from_hex(slice_of(hash), head.chain.hash) &&
                (!at || time_parse_iso8601(slice_of(at), &head.at_us));
    json_decref(answer);
    if (!fits) {
        return err_set(err, ERR_INTERNAL, "%s answered with no head of the event log",
                       client_url(ledger->target.client));
    }
    *ret_head = head;
    return ERR_OK;
}
