/*
 * Reading the event log: pages, one entry, statistics, credits of a window, head of the chain. All
 * but the head ask the store: on job threads.
 */
#include "api/metering.h"
#include "codec/number.h"
#include "codec/time.h"
#include "meter/rollup.h"

enum {
    LIMIT_DEFAULT = 100,
    LIMIT_MAX = 10000,
    SEE_TIMEOUT_MS = 2000,
    NO_ANSWER = -1, /* of event_filter.status_min: the status is NULL */
    STATUS_MAX = 599
};

static const int64_t minute_us = 60 * TIME_US_PER_S;

/* "200", "5xx", "null". */
static bool
parse_status(struct slice text, struct event_filter *filter)
{
    int64_t value;

    if (slice_is_nocase(text, "null")) {
        filter->status_min = filter->status_max = NO_ANSWER;
        return true;
    }
    if (text.len == 3 && text.ptr[0] >= '1' && text.ptr[0] <= '5' &&
        slice_is_nocase(slice_sub(text, 1, 2), "xx")) {
        filter->status_min = (text.ptr[0] - '0') * 100;
        filter->status_max = filter->status_min + 99;
        return true;
    }
    if (!number_parse_i64(text, &value) || value < 1 || value > STATUS_MAX) {
        return false;
    }
    filter->status_min = filter->status_max = (int)value;
    return true;
}

static enum err_code
read_filter(const struct http_exchange *exchange, struct event_filter *ret, struct err *err)
{
    static const char *const words[] = {"false", "true", "0", "1", NULL};
    struct slice text;
    int word = -1;

    *ret = (struct event_filter){.cancel = request_cancel(exchange)};
    http_query(exchange, "id", &ret->id);
    http_query(exchange, "api_name", &ret->api_name);
    http_query(exchange, "endpoint", &ret->endpoint);
    http_query(exchange, "method", &ret->method);
    http_query(exchange, "run_id", &ret->run_id);
    if (!http_query(exchange, "key", &ret->api_key)) {
        http_query(exchange, "api_key", &ret->api_key);
    }
    http_query(exchange, "project", &ret->project);
    http_query(exchange, "corrects", &ret->corrects);
    http_query(exchange, "reservation_id", &ret->reservation_id);
    if (http_query(exchange, "status", &text) && !parse_status(text, ret)) {
        return err_set(err, ERR_INVALID,
                       "status is \"%.*s\"; expected a status such as 200, a class such as 5xx, or "
                       "null",
                       SLICE_FMT(slice_sub(text, 0, 60)));
    }
    enum err_code code = request_word(exchange, "success", words, -1, &word, err);
    if (code == ERR_OK) {
        ret->has_success = word < 0 ? 0 : word % 2 == 1 ? 1 : -1;
        code = request_time(exchange, "from", INT64_MIN, &ret->from_us, err);
    }
    if (code == ERR_OK) {
        code = request_time(exchange, "to", INT64_MAX, &ret->to_us, err);
    }
    if (code == ERR_OK && ret->from_us > ret->to_us) {
        code = err_set(err, ERR_INVALID, "from is behind to; expected an earlier time");
    }
    return code;
}

/* Whoever was answered that an entry is written finds it: what is durable comes into the store
 * first. A store that is slow or stalled answers with what it has. */
static void
see_what_is_durable(const struct api *api)
{
    struct engine_status status;
    struct err err;

    engine_status(api->engine, &status);
    (void)engine_wait_applied(api->engine, status.durable_lsn, SEE_TIMEOUT_MS, &err);
}

/* One entry, with the columns' own names. */
static void
write_event(struct json_writer *w, const struct batch *rows, size_t row)
{
    batch_json_row(w, rows, row, NULL);
}

void
get_events(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    static const char *const orders[] = {"desc", "asc", NULL};
    struct event_page page = {0};
    struct batch rows;
    struct json_writer w;
    uint64_t next = 0;
    int64_t limit = 0;
    int64_t cursor = 0;
    int order = 0;
    struct err err;

    (void)route;
    enum err_code code = read_filter(exchange, &page.filter, &err);
    if (code == ERR_OK) {
        code = request_word(exchange, "order", orders, 0, &order, &err);
    }
    if (code == ERR_OK) {
        code = request_int(exchange, "limit", 1, LIMIT_MAX, LIMIT_DEFAULT, &limit, &err);
    }
    if (code == ERR_OK) {
        code = request_int(exchange, "cursor", 0, INT64_MAX, 0, &cursor, &err);
    }
    if (code == ERR_OK) {
        see_what_is_durable(api);
        page.oldest_first = order == 1;
        page.limit = (unsigned)limit;
        page.cursor = (uint64_t)cursor;
        code = event_page(api->engine, &page, &rows, &next, &err);
    }
    if (code != ERR_OK) {
        metering_error(exchange, &err);
        return;
    }
    reply_json(exchange, &w);
    json_object_begin(&w);
    json_key(&w, "events");
    json_array_begin(&w);
    for (size_t row = 0; row < rows.rows; row++) {
        write_event(&w, &rows, row);
    }
    json_array_end(&w);
    json_key(&w, "count");
    json_u64(&w, rows.rows);
    json_key(&w, "next_cursor");
    if (next > 0) {
        json_u64(&w, next);
    } else {
        json_write_null(&w);
    }
    json_object_end(&w);
    batch_fini(&rows);
    http_reply(exchange);
}

void
get_event(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct event_page page = {.filter = {.from_us = INT64_MIN, .to_us = INT64_MAX}, .limit = 1};
    struct slice id = route_segment(route, exchange);
    struct batch rows;
    struct json_writer w;
    uint64_t next;
    struct err err;

    page.filter.id = id;
    see_what_is_durable(api);
    enum err_code code = event_page(api->engine, &page, &rows, &next, &err);
    if (code == ERR_OK && rows.rows == 0) {
        batch_fini(&rows);
        code = err_set(&err, ERR_NOT_FOUND, "there is no entry with the id \"%.*s\"",
                       SLICE_FMT(slice_sub(id, 0, METER_ID_MAX)));
    }
    if (code != ERR_OK) {
        metering_error(exchange, &err);
        return;
    }
    reply_json(exchange, &w);
    write_event(&w, &rows, 0);
    batch_fini(&rows);
    http_reply(exchange);
}

/* ---- statistics ---- */

/* Columns of event_stats and what they are called here. */
static const struct {
    const char *column;
    const char *name;
} figures[] = {{"count", "total_events"},        {"credits", "total_credits"},
               {"success_rate", "success_rate"}, {"avg_latency", "avg_latency"},
               {"p50", "p50_latency"},           {"p95", "p95_latency"},
               {"p99", "p99_latency"},           {"errors", "error_count"}};

enum { FIGURES = sizeof(figures) / sizeof(figures[0]) };

static bool
is_figure(const char *column)
{
    for (size_t i = 0; i < FIGURES; i++) {
        if (strcmp(figures[i].column, column) == 0) {
            return true;
        }
    }
    return false;
}

/* The figures of a row; all zeros where there is none or nothing was counted. */
static void
write_figures(struct json_writer *w, const struct batch *rows, size_t row)
{
    for (size_t i = 0; i < FIGURES; i++) {
        int column = batch_column_index(rows, slice_of(figures[i].column));
        json_key(w, figures[i].name);
        if (column == CATALOG_NONE || row >= rows->rows ||
            batch_is_null(rows, (size_t)column, row)) {
            json_i64(w, 0);
        } else {
            batch_json_value(w, rows, (size_t)column, row);
        }
    }
}

static void
write_group(struct json_writer *w, const struct batch *rows, size_t row)
{
    json_object_begin(w);
    for (size_t column = 0; column < rows->column_count; column++) {
        if (!is_figure(rows->columns[column].name)) {
            json_key(w, rows->columns[column].name);
            batch_json_value(w, rows, column, row);
        }
    }
    write_figures(w, rows, row);
    json_object_end(w);
}

/* "api,day": at most two. */
static enum err_code
read_groups(const struct http_exchange *exchange, struct event_stats *stats, struct err *err)
{
    static const struct {
        const char *name;
        enum event_group group;
    } names[] = {{"api", GROUP_API},       {"api_name", GROUP_API}, {"endpoint", GROUP_ENDPOINT},
                 {"run_id", GROUP_RUN_ID}, {"hour", GROUP_HOUR},    {"day", GROUP_DAY},
                 {"key", GROUP_KEY},       {"api_key", GROUP_KEY},  {"project", GROUP_PROJECT}};
    struct slice text;
    size_t count = 0;

    if (!http_query(exchange, "group_by", &text) || text.len == 0) {
        return ERR_OK;
    }
    for (bool more = true; more;) {
        struct slice name;
        size_t i = 0;
        more = slice_split(&text, ',', &name);
        while (i < sizeof(names) / sizeof(names[0]) && !slice_is(slice_trim(name), names[i].name)) {
            i++;
        }
        if (i == sizeof(names) / sizeof(names[0]) || count == 2) {
            return err_set(err, ERR_INVALID,
                           "group_by has \"%.*s\"; expected at most two of api, endpoint, run_id, "
                           "key, project, hour, day",
                           SLICE_FMT(slice_sub(name, 0, 60)));
        }
        stats->groups[count++] = names[i].group;
    }
    return ERR_OK;
}

static void
read_rollup(void *arg)
{
    struct api *api = arg;
    struct err err;

    /* What fails here (the store is being rebuilt, say) is tried again by the next question. */
    if (!atomic_load(&api->closing)) {
        (void)rollup_refresh(api->rollup, api->engine, &err);
    }
    atomic_store(&api->rollup_reads, false);
}

void
events_rollup_start(struct api *api)
{
    struct rollup_status status;

    rollup_status(api->rollup, &status);
    if (status.ready || status.over || atomic_exchange(&api->rollup_reads, true)) {
        return;
    }
    if (!jobs_submit(api->jobs, read_rollup, api)) {
        atomic_store(&api->rollup_reads, false);
    }
}

void
get_event_stats(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct event_stats total = {0};
    struct event_stats grouped;
    struct batch rows;
    struct batch groups;
    struct json_writer w;
    bool has_groups = false;
    struct err err;

    (void)route;
    events_rollup_start(api);
    enum err_code code = read_filter(exchange, &total.filter, &err);
    grouped = total;
    if (code == ERR_OK) {
        code = read_groups(exchange, &grouped, &err);
    }
    if (code == ERR_OK) {
        see_what_is_durable(api);
        code = rollup_stats(api->rollup, api->engine, &total, &rows, &err);
    }
    if (code == ERR_OK && grouped.groups[0] != GROUP_NONE) {
        code = rollup_stats(api->rollup, api->engine, &grouped, &groups, &err);
        has_groups = code == ERR_OK;
        if (!has_groups) {
            batch_fini(&rows);
        }
    }
    if (code != ERR_OK) {
        metering_error(exchange, &err);
        return;
    }
    reply_json(exchange, &w);
    json_object_begin(&w);
    write_figures(&w, &rows, 0);
    if (has_groups) {
        json_key(&w, "groups");
        json_array_begin(&w);
        for (size_t row = 0; row < groups.rows; row++) {
            write_group(&w, &groups, row);
        }
        json_array_end(&w);
        batch_fini(&groups);
    }
    json_object_end(&w);
    batch_fini(&rows);
    http_reply(exchange);
}

void
get_event_credits(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    int64_t now = clock_wall_us(api->clock);
    int64_t minutes = 0;
    int64_t since = 0;
    int64_t credits = 0;
    struct slice given;
    struct json_writer w;
    struct err err;

    (void)route;
    enum err_code code =
        request_int(exchange, "window_minutes", 1, INT64_C(10000000), 60, &minutes, &err);
    if (code == ERR_OK) {
        code = request_time(exchange, "since", now - minutes * minute_us, &since, &err);
    }
    if (code == ERR_OK && http_query(exchange, "since", &given) &&
        http_query(exchange, "window_minutes", &given)) {
        code = err_set(&err, ERR_INVALID, "since and window_minutes are given; expected one");
    }
    if (code == ERR_OK) {
        see_what_is_durable(api);
        code = event_credits_since(api->engine, since, &credits, &err);
    }
    if (code != ERR_OK) {
        metering_error(exchange, &err);
        return;
    }
    reply_json(exchange, &w);
    json_object_begin(&w);
    json_key_decimal(&w, "total_credits", credits);
    write_time_key(&w, "since", since);
    json_object_end(&w);
    http_reply(exchange);
}

void
get_event_head(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct meter *meter = metering_meter(api, exchange);
    char hex[CHAIN_HEX_BYTES];
    struct chain_head head;
    struct json_writer w;

    (void)route;
    if (!meter) {
        return;
    }
    meter_head(meter, &head);
    chain_hex(head.hash, hex);
    reply_json(exchange, &w);
    json_object_begin(&w);
    json_key(&w, "seq");
    json_u64(&w, head.seq);
    json_key(&w, "hash");
    json_cstr(&w, hex);
    write_time_key(&w, "at", clock_wall_us(api->clock));
    json_object_end(&w);
    http_reply(exchange);
}
