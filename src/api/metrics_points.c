/*
 * The points of metrics, as the Hedera monitor's clients ask for them, and more closely than they
 * could: by symbol, labels and time, so that the last hour of one series is one GET. Series are
 * found in the ingest's memory, points in the hot cache or the store.
 */
#include <string.h>

#include "api/api_private.h"
#include "base/mem.h"
#include "codec/number.h"
#include "codec/time.h"
#include "ingest/ingest.h"
#include "query/query.h"

enum {
    LIMIT_DEFAULT = 100,
    LIMIT_MAX = 10000,
    POINTS_MAX = 1000000, /* of an answer without a limit */
    SERIES_MAX = 10000,   /* of one question */
    LABELS_ASKED_MAX = 16,
    ID_TEXT = 12,
    SHOWN_BYTES = 60
};

static const char label_prefix[] = "label.";

/* What is asked for; texts are the request's. */
struct question {
    struct slice name; /* empty: any */
    struct slice symbol;
    bool has_symbol;                     /* an empty one then means series without */
    struct buf labels[LABELS_ASKED_MAX]; /* each as it stands in canonical labels */
    size_t label_count;
    int64_t from_us;
    int64_t to_us;
    uint64_t limit;
    bool newest_first;
    int64_t unit_us; /* of the answer's times */
};

static void
end_question(struct question *question)
{
    for (size_t i = 0; i < question->label_count; i++) {
        buf_fini(&question->labels[i]);
    }
}

/* As the monitor reads it: 100 without one, or with one that is none; 0 is all. */
static uint64_t
read_limit(const struct http_exchange *exchange, uint64_t fallback)
{
    struct slice text;
    int64_t value;

    if (!http_query(exchange, "limit", &text)) {
        return fallback;
    }
    if (!number_parse_i64(text, &value) || value < 0) {
        return LIMIT_DEFAULT;
    }
    return value < LIMIT_MAX ? (uint64_t)value : LIMIT_MAX;
}

/* ISO 8601, or whole seconds since 1970, as the answers have them. */
static enum err_code
read_time(const struct http_exchange *exchange, const char *name, int64_t fallback, int64_t *ret_us,
          struct err *err)
{
    struct slice text;
    int64_t seconds;

    if (http_query(exchange, name, &text) && number_parse_i64(text, &seconds)) {
        if (seconds > INT64_MAX / TIME_US_PER_S || seconds < INT64_MIN / TIME_US_PER_S) {
            return err_set(err, ERR_INVALID,
                           "%s is \"%.*s\"; expected an ISO 8601 time or seconds since 1970", name,
                           SLICE_FMT(slice_sub(text, 0, SHOWN_BYTES)));
        }
        *ret_us = seconds * TIME_US_PER_S;
        return ERR_OK;
    }
    return request_time(exchange, name, fallback, ret_us, err);
}

static enum err_code
read_range(struct api *api, const struct http_exchange *exchange, struct question *question,
           struct err *err)
{
    struct slice text;
    int64_t width_us;
    enum err_code code = read_time(exchange, "from", INT64_MIN, &question->from_us, err);

    if (code == ERR_OK) {
        code = read_time(exchange, "to", INT64_MAX, &question->to_us, err);
    }
    if (code == ERR_OK && http_query(exchange, "last", &text)) {
        code = query_parse_range(text, &width_us, err);
        if (code == ERR_OK) {
            question->from_us = clock_wall_us(api->clock) - width_us;
        }
    }
    if (code == ERR_OK && question->from_us > question->to_us) {
        code = err_set(err, ERR_INVALID, "from is behind to; expected an earlier time");
    }
    return code;
}

/* "name":"value", which stands in canonical labels where a member has both, and nowhere else: a
 * quote within a text is escaped there. */
static void
add_label(struct question *question, struct slice name, struct slice value)
{
    struct buf *text = &question->labels[question->label_count++];

    buf_init(text, 0);
    json_quote(text, name);
    buf_add_char(text, ':');
    json_quote(text, value);
}

static enum err_code
read_labels(const struct http_exchange *exchange, struct question *question, struct err *err)
{
    struct slice name;
    struct slice value;

    for (size_t i = 0; http_query_at(exchange, i, &name, &value); i++) {
        if (!slice_starts(name, label_prefix)) {
            continue;
        }
        if (question->label_count == LABELS_ASKED_MAX) {
            return err_set(err, ERR_INVALID, "more than %d labels; expected fewer",
                           LABELS_ASKED_MAX);
        }
        add_label(question, slice_sub(name, strlen(label_prefix), name.len), value);
    }
    return ERR_OK;
}

static enum err_code
read_question(struct api *api, const struct http_exchange *exchange, struct question *question,
              struct err *err)
{
    static const char *const orders[] = {"asc", "desc", NULL};
    static const char *const units[] = {"s", "ms", "us", NULL};
    static const int64_t unit_us[] = {TIME_US_PER_S, 1000, 1};
    int order = 0;
    int unit = 0;

    *question = (struct question){0};
    http_query(exchange, "name", &question->name);
    question->has_symbol = http_query(exchange, "symbol", &question->symbol);
    question->limit = read_limit(exchange, LIMIT_DEFAULT);
    enum err_code code = read_range(api, exchange, question, err);
    if (code == ERR_OK) {
        code = request_word(exchange, "order", orders, 0, &order, err);
    }
    if (code == ERR_OK) {
        code = request_word(exchange, "precision", units, 0, &unit, err);
    }
    if (code == ERR_OK) {
        code = read_labels(exchange, question, err);
    }
    question->newest_first = order == 1;
    question->unit_us = unit_us[unit];
    return code;
}

/* ---- which series ---- */

static bool
contains(struct slice text, struct slice part)
{
    return part.len <= text.len && memmem(text.ptr, text.len, part.ptr, part.len) != NULL;
}

static bool
is_asked_for(struct ingest *ingest, const struct question *question, int32_t id)
{
    struct slice name;
    struct slice symbol;
    struct slice labels;

    if (!ingest_series(ingest, id, &name, &symbol, &labels) ||
        (question->name.len > 0 && !slice_eq(name, question->name)) ||
        (question->has_symbol && !slice_eq(symbol, question->symbol))) {
        return false;
    }
    for (size_t i = 0; i < question->label_count; i++) {
        if (!contains(labels, buf_slice(&question->labels[i]))) {
            return false;
        }
    }
    return true;
}

struct ids {
    char (*texts)[ID_TEXT];
    struct slice *slices;
    size_t count;
};

static void
end_ids(struct ids *ids)
{
    free(ids->texts);
    free(ids->slices);
}

static enum err_code
find_series(struct ingest *ingest, const struct question *question, struct ids *ids,
            struct err *err)
{
    int32_t end = ingest_series_end(ingest);
    size_t cap = 0;

    for (int32_t id = 1; id < end; id++) {
        if (!is_asked_for(ingest, question, id)) {
            continue;
        }
        if (ids->count == SERIES_MAX) {
            return err_set(err, ERR_TOO_LARGE,
                           "more than %d series match; ask for fewer by name, symbol or labels",
                           SERIES_MAX);
        }
        if (ids->count == cap) {
            cap = cap ? cap * 2 : 16;
            ids->texts = mem_resize(ids->texts, cap, ID_TEXT);
        }
        snprintf(ids->texts[ids->count++], ID_TEXT, "%d", id);
    }
    ids->slices = mem_zalloc(ids->count + 1, sizeof(*ids->slices));
    for (size_t i = 0; i < ids->count; i++) {
        ids->slices[i] = slice_of(ids->texts[i]);
    }
    return ERR_OK;
}

/* ---- answering ---- */

/* The texts of a row: of the view's, or of the series that a sample belongs to. */
static void
texts_of(struct ingest *ingest, const struct batch *rows, size_t row, struct slice *ret_name,
         struct slice *ret_symbol, struct slice *ret_labels)
{
    if (rows->columns[0].type == COL_INT32) {
        ingest_series(ingest, rows->columns[0].i32[row], ret_name, ret_symbol, ret_labels);
        return;
    }
    *ret_name = batch_get_text(rows, 1, row);
    *ret_symbol = batch_get_text(rows, 3, row);
    *ret_labels = batch_get_text(rows, 4, row);
}

static int64_t
floor_div(int64_t value, int64_t by)
{
    return value / by - (value % by < 0);
}

/* {"Name", "Timestamp", "Value", "Labels"}, and "Symbol" where there is one. */
static void
write_point(struct json_writer *w, struct ingest *ingest, const struct question *question,
            const struct batch *rows, size_t row)
{
    bool is_sample = rows->columns[0].type == COL_INT32;
    struct slice name = {"", 0};
    struct slice symbol = {"", 0};
    struct slice labels = {"", 0};

    texts_of(ingest, rows, row, &name, &symbol, &labels);
    json_object_begin(w);
    json_key(w, "Name");
    json_str(w, name);
    json_key(w, "Timestamp");
    json_i64(w, floor_div(batch_get_i64(rows, is_sample ? 1 : 0, row), question->unit_us));
    json_key(w, "Value");
    json_f64(w, batch_get_f64(rows, 2, row));
    json_key(w, "Labels");
    if (labels.len > 0) {
        json_raw(w, labels);
    } else {
        json_write_null(w);
    }
    if (symbol.len > 0) {
        json_key(w, "Symbol");
        json_str(w, symbol);
    }
    json_object_end(w);
}

static void
answer(struct http_exchange *exchange, struct ingest *ingest, const struct question *question,
       const struct batch *rows)
{
    bool is_cut = question->limit == 0 && rows->rows > POINTS_MAX;
    size_t count = is_cut ? POINTS_MAX : rows->rows;
    struct json_writer w;

    reply_json(exchange, &w);
    json_object_begin(&w);
    json_key(&w, "metrics");
    json_array_begin(&w);
    for (size_t row = 0; row < count; row++) {
        write_point(&w, ingest, question, rows, row);
    }
    json_array_end(&w);
    json_key(&w, "count");
    json_u64(&w, count);
    if (is_cut) {
        json_key(&w, "truncated");
        json_bool(&w, true);
    }
    json_object_end(&w);
    json_newline(&w);
    http_reply(exchange);
}

static enum err_code
ask(struct api *api, struct ingest *ingest, struct http_exchange *exchange,
    const struct question *question, struct batch *ret_rows, struct err *err)
{
    bool any = question->name.len == 0 && !question->has_symbol && question->label_count == 0;
    struct store_scan scan = {.table = any ? TABLE_METRICS : TABLE_SAMPLES,
                              .from_us = question->from_us,
                              .to_us = question->to_us,
                              .newest_first = question->newest_first,
                              .limit = question->limit ? question->limit : POINTS_MAX + 1,
                              .cancel = request_cancel(exchange)};
    struct ids ids = {0};
    enum err_code code = any ? ERR_OK : find_series(ingest, question, &ids, err);

    if (code == ERR_OK && !any && ids.count == 0) {
        batch_init_answer(ret_rows, 0);
    } else if (code == ERR_OK) {
        scan.filters[0] = (struct store_filter){"series_id", ids.slices, ids.count};
        scan.filter_count = any ? 0 : 1;
        code = engine_scan(api->engine, &scan, ret_rows, err);
    }
    end_ids(&ids);
    return code;
}

static void
answer_question(struct api *api, struct http_exchange *exchange, const struct question *question)
{
    struct ingest *ingest = atomic_load(&api->ingest);
    struct batch rows BATCH_AUTO = {0};
    struct err err;
    enum err_code code = ingest ? ask(api, ingest, exchange, question, &rows, &err)
                                : err_set(&err, ERR_UNAVAILABLE, "the server is starting");

    if (code != ERR_OK) {
        reply_error_named(exchange, &err);
        return;
    }
    answer(exchange, ingest, question, &rows);
}

void
get_metric_points(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct question question;
    struct err err;

    (void)route;
    if (read_question(api, exchange, &question, &err) != ERR_OK) {
        reply_error_named(exchange, &err);
    } else {
        answer_question(api, exchange, &question);
    }
    end_question(&question);
}

/* Points of all series that have a label; all of them, unless limit says fewer. */
void
get_account_points(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct question question;
    struct slice key = {"", 0};
    struct slice value = {"", 0};
    struct err err;

    (void)route;
    enum err_code code = read_question(api, exchange, &question, &err);
    http_query(exchange, "key", &key);
    http_query(exchange, "value", &value);
    if (code == ERR_OK && (key.len == 0 || value.len == 0)) {
        code = err_set(&err, ERR_SYNTAX, "key and value query parameters required");
    }
    if (code == ERR_OK && question.label_count == LABELS_ASKED_MAX) {
        code = err_set(&err, ERR_INVALID, "more than %d labels; expected fewer", LABELS_ASKED_MAX);
    }
    if (code == ERR_OK) {
        add_label(&question, key, value);
        question.limit = read_limit(exchange, 0);
        answer_question(api, exchange, &question);
    } else {
        reply_error_named(exchange, &err);
    }
    end_question(&question);
}

/* ---- statistics ---- */

void
write_cache_stats(struct json_writer *w, const struct lru_stats *stats)
{
    uint64_t reads = stats->hits + stats->misses;

    json_object_begin(w);
    json_key(w, "hits");
    json_u64(w, stats->hits);
    json_key(w, "misses");
    json_u64(w, stats->misses);
    json_key(w, "hit_rate");
    json_f64(w, reads ? (double)stats->hits / (double)reads : 0);
    json_key(w, "evicted_series");
    json_u64(w, stats->evicted_series);
    json_key(w, "evicted_points");
    json_u64(w, stats->evicted_points);
    json_key(w, "series");
    json_u64(w, stats->series);
    json_key(w, "points");
    json_u64(w, stats->points);
    json_key(w, "bytes");
    json_u64(w, stats->bytes);
    json_key(w, "bytes_max");
    json_u64(w, stats->bytes_max);
    json_key(w, "utilization");
    json_f64(w, stats->utilization);
    json_object_end(w);
}

void
get_storage_stats(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct engine_status status;
    struct store_table_stats samples;
    struct json_writer w;
    char text[32];
    struct err err;

    (void)route;
    if (engine_table_stats(api->engine, TABLE_SAMPLES, &samples, &err) != ERR_OK) {
        reply_error_named(exchange, &err);
        return;
    }
    engine_status(api->engine, &status);
    snprintf(text, sizeof(text), "%.2f%%", 100 * status.store.lru.utilization);
    reply_json(exchange, &w);
    json_object_begin(&w);
    json_key(&w, "metric_count");
    json_u64(&w, samples.rows);
    json_key(&w, "max_size");
    json_u64(&w, status.store.lru.points_max);
    json_key(&w, "utilization");
    json_cstr(&w, text);
    json_key(&w, "type");
    json_cstr(&w, status.store.type);
    json_key(&w, "cache");
    write_cache_stats(&w, status.hot.cache.bytes_max > 0 ? &status.hot.cache : &status.store.lru);
    json_object_end(&w);
    json_newline(&w);
    http_reply(exchange);
}
