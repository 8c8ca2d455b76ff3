/*
 * The event log as SQL. Texts are bound as parameters; times and sequence numbers are written as
 * numbers, because a constant prunes row groups and a parameter does not.
 */
#include "meter/event_query.h"

#include <inttypes.h>

#include "base/buf.h"
#include "meter/event.h"
#include "meter/event_sql.h"

enum { PAGE_MAX = 10000, GROUPS_MAX = 10000, NEAR = 20000, PAGE_BYTES_MAX = 256 << 20 };

void
event_sql_init(struct event_sql *sql)
{
    sql->param_count = 0;
    sql->condition_count = 0;
    sql->cancel = NULL;
    buf_init(&sql->text, EVENT_SQL_BYTES_MAX);
}

void
event_sql_fini(struct event_sql *sql)
{
    buf_fini(&sql->text);
}

static void
add_condition(struct event_sql *sql)
{
    buf_add_cstr(&sql->text, sql->condition_count++ ? " AND " : " WHERE ");
}

static void
add_text(struct event_sql *sql, const char *column, struct slice value)
{
    if (value.len > 0) {
        add_condition(sql);
        buf_add_fmt(&sql->text, "%s = ?", column);
        sql->params[sql->param_count++] = (struct store_param){.type = PARAM_TEXT, .text = value};
    }
}

void
event_sql_add_number(struct event_sql *sql, const char *condition, int64_t value)
{
    add_condition(sql);
    buf_add_fmt(&sql->text, "%s %" PRId64, condition, value);
}

/* Times beyond what make_timestamp takes are bound. */
static void
add_time(struct event_sql *sql, const char *condition, int64_t time_us)
{
    add_condition(sql);
    if (time_in_range(time_us)) {
        buf_add_fmt(&sql->text, "%s make_timestamp(%" PRId64 ")", condition, time_us);
    } else {
        buf_add_fmt(&sql->text, "%s ?", condition);
        sql->params[sql->param_count++] =
            (struct store_param){.type = PARAM_TIMESTAMP, .i64 = time_us};
    }
}

void
event_sql_add_filter(struct event_sql *sql, const struct event_filter *filter)
{
    sql->cancel = filter->cancel;
    add_text(sql, "id", filter->id);
    add_text(sql, "api_name", filter->api_name);
    add_text(sql, "endpoint", filter->endpoint);
    add_text(sql, "method", filter->method);
    add_text(sql, "run_id", filter->run_id);
    add_text(sql, "api_key", filter->api_key);
    add_text(sql, "project", filter->project);
    add_text(sql, "corrects", filter->corrects);
    add_text(sql, "reservation_id", filter->reservation_id);
    if (filter->has_success != 0) {
        add_condition(sql);
        buf_add_cstr(&sql->text, filter->has_success > 0 ? "success" : "NOT success");
    }
    if (filter->status_min < 0) {
        add_condition(sql);
        buf_add_cstr(&sql->text, "status_code IS NULL");
    } else {
        if (filter->status_min > 0) {
            event_sql_add_number(sql, "status_code >=", filter->status_min);
        }
        if (filter->status_max > 0) {
            event_sql_add_number(sql, "status_code <=", filter->status_max);
        }
    }
    if (filter->from_us != INT64_MIN) {
        add_time(sql, "timestamp >=", filter->from_us);
    }
    if (filter->to_us != INT64_MAX) {
        add_time(sql, "timestamp <=", filter->to_us);
    }
}

enum err_code
event_sql_run(struct event_sql *sql, struct engine *engine, uint64_t rows_max,
              struct batch *ret_rows, struct err *err)
{
    struct store_sql query = {.sql = buf_slice(&sql->text),
                              .params = sql->params,
                              .param_count = sql->param_count,
                              .rows_max = rows_max,
                              .bytes_max = PAGE_BYTES_MAX,
                              .cancel = sql->cancel};
    bool truncated = false;

    if (sql->text.overflow) {
        return err_set(err, ERR_TOO_LARGE, "the filter is larger than %d bytes",
                       EVENT_SQL_BYTES_MAX);
    }
    enum err_code code = engine_sql(engine, &query, ret_rows, &truncated, err);
    if (code == ERR_OK && truncated) {
        batch_fini(ret_rows);
        return err_set(err, ERR_TOO_LARGE,
                       "the answer has more than %" PRIu64 " groups; narrow the filters", rows_max);
    }
    return code;
}

/* ---- pages ---- */

static bool
is_any(const struct event_filter *filter)
{
    return filter->id.len == 0 && filter->api_name.len == 0 && filter->endpoint.len == 0 &&
           filter->method.len == 0 && filter->run_id.len == 0 && filter->api_key.len == 0 &&
           filter->project.len == 0 && filter->corrects.len == 0 &&
           filter->reservation_id.len == 0 && filter->has_success == 0 && filter->status_min == 0 &&
           filter->status_max == 0 && filter->from_us == INT64_MIN && filter->to_us == INT64_MAX;
}

static enum err_code
check_range(const struct event_filter *filter, struct err *err)
{
    if (filter->from_us > filter->to_us) {
        return err_set(err, ERR_INVALID, "the range ends before it begins: expected from <= to");
    }
    return ERR_OK;
}

/* The rows with seq in (above, below), in order, at most one more than the page takes: that tells
 * whether there is a next page. */
static enum err_code
read_page(struct engine *engine, const struct event_page *page, int64_t above, int64_t below,
          struct batch *ret_rows, struct err *err)
{
    const struct catalog_table *table = catalog_table(TABLE_EVENTS);
    struct event_sql sql;

    event_sql_init(&sql);
    buf_add_cstr(&sql.text, "SELECT ");
    for (size_t i = 0; i < table->column_count; i++) {
        buf_add_fmt(&sql.text, "%s%s", i ? ", " : "", table->columns[i].name);
    }
    buf_add_fmt(&sql.text, " FROM %s", table->name);
    event_sql_add_filter(&sql, &page->filter);
    if (above > 0) {
        event_sql_add_number(&sql, "seq >", above);
    }
    if (below < INT64_MAX) {
        event_sql_add_number(&sql, "seq <", below);
    }
    buf_add_fmt(&sql.text, " ORDER BY seq %s LIMIT %u", page->oldest_first ? "ASC" : "DESC",
                page->limit + 1);
    enum err_code code = event_sql_run(&sql, engine, PAGE_MAX + 1, ret_rows, err);
    event_sql_fini(&sql);
    return code;
}

/* The newest seq; DuckDB knows it without looking at the rows. */
static enum err_code
last_seq(struct engine *engine, int64_t *ret_seq, struct err *err)
{
    struct event_sql sql;
    struct batch rows;

    event_sql_init(&sql);
    buf_add_cstr(&sql.text, "SELECT max(seq) FROM api_event_log");
    enum err_code code = event_sql_run(&sql, engine, 1, &rows, err);
    event_sql_fini(&sql);
    if (code) {
        return code;
    }
    *ret_seq = batch_get_i64(&rows, 0, 0);
    batch_fini(&rows);
    return ERR_OK;
}

/*
 * Most pages are found within NEAR entries of where they begin, and a range of seq lets DuckDB skip
 * the rest. Only when they are not the whole log is looked at.
 */
static enum err_code
find_page(struct engine *engine, const struct event_page *page, struct batch *ret_rows,
          struct err *err)
{
    int64_t cursor = page->cursor < INT64_MAX ? (int64_t)page->cursor : INT64_MAX;
    int64_t above = page->oldest_first ? cursor : 0;
    int64_t below = page->oldest_first || cursor == 0 ? INT64_MAX : cursor;
    int64_t last = 0;
    enum err_code code = last_seq(engine, &last, err);

    if (code || last <= NEAR) {
        return code ? code : read_page(engine, page, above, below, ret_rows, err);
    }
    int64_t reach = is_any(&page->filter) ? page->limit + 2 : NEAR;
    int64_t near_above = above;
    int64_t near_below = below;
    if (page->oldest_first) {
        near_below = above < last ? above + reach : below;
    } else {
        int64_t from = below < last ? below : last + 1;
        near_above = from > reach ? from - reach : 0;
    }
    code = read_page(engine, page, near_above, near_below, ret_rows, err);
    if (code != ERR_OK) {
        return code;
    }
    if (ret_rows->rows > page->limit) {
        return ERR_OK;
    }
    batch_fini(ret_rows);
    return read_page(engine, page, above, below, ret_rows, err);
}

enum err_code
event_page(struct engine *engine, const struct event_page *page, struct batch *ret_rows,
           uint64_t *ret_next_cursor, struct err *err)
{
    enum err_code code = check_range(&page->filter, err);
    struct batch rows = {0};

    if (code) {
        return code;
    }
    if (page->limit < 1 || page->limit > PAGE_MAX) {
        return err_set(err, ERR_INVALID, "limit is %u, expected 1 to %d", page->limit, PAGE_MAX);
    }
    code = find_page(engine, page, &rows, err);
    if (code) {
        return code;
    }
    *ret_next_cursor = 0;
    if (rows.rows > page->limit) {
        batch_drop_row(&rows);
        *ret_next_cursor = (uint64_t)batch_get_i64(&rows, EVENT_SEQ, rows.rows - 1);
    }
    *ret_rows = rows;
    return ERR_OK;
}

/* ---- statistics ---- */

static const struct {
    const char *name;
    const char *sql;
} groups_by[] = {
    [GROUP_API] = {"api_name", "api_name"},
    [GROUP_ENDPOINT] = {"endpoint", "endpoint"},
    [GROUP_RUN_ID] = {"run_id", "run_id"},
    [GROUP_HOUR] = {"hour", "date_trunc('hour', timestamp)::TIMESTAMP"},
    [GROUP_DAY] = {"day", "date_trunc('day', timestamp)::TIMESTAMP"},
    [GROUP_KEY] = {"api_key", "api_key"},
    [GROUP_PROJECT] = {"project", "project"},
};

/* Corrections are entries and change what was spent, but they are no calls: they neither succeed
 * nor take time. */
static const char figures[] =
    "count(*) AS count, coalesce(sum(credits_cost), 0)::DECIMAL(38,6) AS credits, "
    "coalesce(avg(success::INTEGER) FILTER (WHERE corrects IS NULL), 0)::DOUBLE PRECISION "
    "AS success_rate, "
    "coalesce(avg(latency_ms) FILTER (WHERE corrects IS NULL), 0) AS avg_latency, "
    "%s AS p, "
    "count(*) FILTER (WHERE NOT success AND corrects IS NULL) AS errors FROM api_event_log";
/* One list of three costs half of three quantiles. In words that DuckDB and PostgreSQL share. */
static const char percentiles[] =
    "percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY latency_ms) "
    "FILTER (WHERE corrects IS NULL)";
static const char no_percentiles[] = "NULL::DOUBLE PRECISION[]";

const char *
event_group_name(enum event_group group)
{
    return group == GROUP_NONE ? "" : groups_by[group].name;
}

/* The columns to group by, as they are computed or by their names; returns how many. */
static size_t
add_groups(struct event_sql *sql, const struct event_stats *stats, bool computed)
{
    size_t count = 0;

    for (size_t i = 0; i < 2; i++) {
        enum event_group group = stats->groups[i];
        if (group != GROUP_NONE && (i == 0 || group != stats->groups[0])) {
            if (computed) {
                buf_add_fmt(&sql->text, "%s AS ", groups_by[group].sql);
            }
            buf_add_fmt(&sql->text, "\"%s\", ", groups_by[group].name);
            count++;
        }
    }
    return count;
}

enum err_code
event_stats(struct engine *engine, const struct event_stats *stats, struct batch *ret_rows,
            struct err *err)
{
    enum err_code code = check_range(&stats->filter, err);
    size_t count;
    struct event_sql sql;

    if (code) {
        return code;
    }
    event_sql_init(&sql);
    buf_add_cstr(&sql.text, "SELECT ");
    add_groups(&sql, stats, false);
    buf_add_cstr(&sql.text, "count, credits, success_rate, avg_latency, p[1] AS p50, p[2] AS p95, "
                            "p[3] AS p99, errors FROM (SELECT ");
    count = add_groups(&sql, stats, true);
    buf_add_fmt(&sql.text, figures, stats->no_percentiles ? no_percentiles : percentiles);
    event_sql_add_filter(&sql, &stats->filter);
    for (size_t i = 0; i < count; i++) {
        buf_add_fmt(&sql.text, "%s%zu", i ? ", " : " GROUP BY ", i + 1);
    }
    buf_add_cstr(&sql.text, ") AS figures");
    for (size_t i = 0; i < count; i++) {
        buf_add_fmt(&sql.text, "%s%zu NULLS LAST", i ? ", " : " ORDER BY ", i + 1);
    }
    code = event_sql_run(&sql, engine, GROUPS_MAX, ret_rows, err);
    event_sql_fini(&sql);
    return code;
}

enum err_code
event_credits_since(struct engine *engine, int64_t from_us, int64_t *ret_credits, struct err *err)
{
    struct event_filter filter = {.has_success = 1, .from_us = from_us, .to_us = INT64_MAX};
    struct event_sql sql;
    struct batch rows;

    event_sql_init(&sql);
    buf_add_cstr(&sql.text, "SELECT coalesce(sum(credits_cost), 0)::DECIMAL(38,6) AS credits "
                            "FROM api_event_log");
    event_sql_add_filter(&sql, &filter);
    enum err_code code = event_sql_run(&sql, engine, 1, &rows, err);
    event_sql_fini(&sql);
    if (code) {
        return code;
    }
    *ret_credits = batch_get_i64(&rows, 0, 0);
    batch_fini(&rows);
    return ERR_OK;
}
