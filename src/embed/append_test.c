/* Appends of every kind, and what they refuse. */

#include "embed/testing.h"

static void
test_metric_is_durable_and_read_back(void **state)
{
    struct place *place = *state;
    const struct eider_label labels[] = {{"venue", "x"}, {"a", "1"}, {"venue", "y"}};
    const struct eider_series series = {"price", "BTC", labels, 3};
    uint64_t lsn;

    assert_ok(place, eider_append_metric(place->db, &series, T0, 64000.5, &lsn, &place->error));
    assert_int_equal(lsn, 1);
    assert_ok(place, eider_append_metric(place->db, &series, EIDER_NOW, NAN, NULL, NULL));
    assert_ok(place, eider_wait_applied(place->db, 2, 30000, &place->error));
    struct eider_batch *batch = place_sql(
        place, "SELECT metric_name, symbol, labels, value, timestamp, isnan(value), timestamp > "
               "now()::TIMESTAMP - INTERVAL 1 HOUR FROM trading_metrics ORDER BY timestamp");
    assert_int_equal(eider_batch_rows(batch), 2);
    assert_cell(batch, 0, 0, "price");
    assert_cell(batch, 1, 0, "BTC");
    assert_cell(batch, 2, 0, "{\"a\":\"1\",\"venue\":\"y\"}");
    assert_true(eider_batch_f64(batch, 3, 0) == 64000.5);
    assert_int_equal(eider_batch_i64(batch, 4, 0), T0);
    assert_int_equal(eider_batch_i64(batch, 5, 1), 1);
    assert_int_equal(eider_batch_i64(batch, 6, 1), 1);
    eider_batch_free(batch);
}

static void
test_metric_refuses_what_it_names(void **state)
{
    struct place *place = *state;
    struct eider_error *error = &place->error;
    struct eider_series series = {.name = ""};
    char longer[1026];
    const struct eider_label nameless = {"", "x"};
    const struct eider_label broken = {"x", "\xff"};

    assert_refused(place, eider_append_metric(place->db, &series, T0, 1, NULL, error),
                   EIDER_INVALID, "name is empty");
    assert_refused(place, eider_append_metric(place->db, NULL, T0, 1, NULL, error), EIDER_INVALID,
                   "name is empty");
    memset(longer, 'x', sizeof(longer));
    longer[1025] = '\0';
    series.name = longer;
    assert_refused(place, eider_append_metric(place->db, &series, T0, 1, NULL, error),
                   EIDER_INVALID, "name has 1025 bytes; expected at most 1024");
    series.name = "m";
    series.symbol = "\xc3";
    assert_refused(place, eider_append_metric(place->db, &series, T0, 1, NULL, error),
                   EIDER_INVALID, "symbol is no UTF-8");
    series.symbol = NULL;
    series.label_count = (size_t)-1;
    series.labels = &nameless;
    assert_refused(place, eider_append_metric(place->db, &series, T0, 1, NULL, &place->error),
                   EIDER_INVALID, "label_count is 18446744073709551615; expected at most 128");
    series.labels = NULL;
    series.label_count = 1;
    assert_refused(place, eider_append_metric(place->db, &series, T0, 1, NULL, error),
                   EIDER_INVALID, "labels is NULL");
    series.labels = &nameless;
    assert_refused(place, eider_append_metric(place->db, &series, T0, 1, NULL, error),
                   EIDER_INVALID, "a name for every label");
    series.labels = &broken;
    assert_refused(place, eider_append_metric(place->db, &series, T0, 1, NULL, error),
                   EIDER_INVALID, "labels, number 0");
    series.label_count = 0;
    assert_refused(place, eider_append_metric(place->db, &series, INT64_MAX, 1, NULL, error),
                   EIDER_INVALID, "point 0, timestamp_us: expected");
    struct eider_stats stats;
    eider_stats(place->db, &stats);
    assert_int_equal(stats.records, 0);
}

enum { POINTS = 5000 };

static void
test_points_are_one_record(void **state)
{
    struct place *place = *state;
    static int64_t times[POINTS];
    static double values[POINTS];
    struct eider_points points = {
        .series = {.name = "m"}, .timestamps_us = times, .values = values, .count = POINTS};
    uint64_t lsn = 7;

    for (int i = 0; i < POINTS; i++) {
        times[i] = T0 + i;
        values[i] = i;
    }
    times[17] = EIDER_NOW;
    assert_ok(place, eider_append_points(place->db, &points, &lsn, &place->error));
    assert_int_equal(lsn, 1);
    assert_true(times[17] == EIDER_NOW);
    points.count = 0;
    assert_ok(place, eider_append_points(place->db, &points, &lsn, &place->error));
    assert_int_equal(lsn, 0);
    points.count = 1000001;
    assert_refused(place, eider_append_points(place->db, &points, &lsn, &place->error),
                   EIDER_TOO_LARGE, "count is 1000001");
    points.count = 1;
    points.values = NULL;
    assert_refused(place, eider_append_points(place->db, &points, &lsn, &place->error),
                   EIDER_INVALID, "values is NULL");
    points.values = values;
    points.timestamps_us = NULL;
    assert_ok(place, eider_append_points(place->db, &points, &lsn, &place->error));
    assert_ok(place, eider_wait_applied(place->db, lsn, 30000, &place->error));
    assert_int_equal(place_number(place, "SELECT count(*) FROM samples"), POINTS + 1);
    assert_int_equal(place_number(place, "SELECT sum(value)::BIGINT FROM samples"),
                     POINTS * (POINTS - 1) / 2);
}

static void
set_trade(struct eider_rows *rows, const char *id)
{
    eider_row_begin(rows, "trades");
    eider_row_text(rows, "trade_id", id, strlen(id));
    eider_row_time(rows, "timestamp", T0);
    eider_row_text(rows, "symbol", "BTC", 3);
    eider_row_text(rows, "side", "BUY", 3);
    eider_row_f64(rows, "quantity", 0.5);
    eider_row_i64(rows, "price", 64000);
}

static void
test_rows_of_several_tables_are_one_record(void **state)
{
    struct place *place = *state;
    struct eider_rows *rows = eider_rows_new();
    struct eider_receipt receipt;
    char id[16];

    for (int i = 0; i < 100; i++) {
        snprintf(id, sizeof(id), "t%d", i);
        set_trade(rows, id);
        assert_int_equal(eider_row_end(rows), EIDER_OK);
    }
    eider_row_begin(rows, "market_data");
    eider_row_text(rows, "timestamp", "2023-11-14T22:13:20Z", 20);
    eider_row_text(rows, "symbol", "BTC", 3);
    eider_row_i64(rows, "volume", INT64_MAX);
    eider_row_f64(rows, "trades", 3.0);
    assert_int_equal(eider_row_end(rows), EIDER_OK);
    eider_row_begin(rows, "metrics");
    eider_row_text(rows, "metric_name", "m", 1);
    eider_row_f64(rows, "value", -INFINITY);
    eider_row_text(rows, "labels", "{\"b\": 1, \"a\": \"x\"}", 18);
    assert_int_equal(eider_row_end(rows), EIDER_OK);
    assert_int_equal(eider_rows_count(rows), 102);
    assert_ok(place, eider_append_rows(place->db, rows, &receipt, &place->error));
    assert_int_equal(receipt.lsn, 1);
    assert_int_equal(receipt.accepted, 102);
    assert_int_equal(eider_rows_count(rows), 0);
    assert_ok(place, eider_append_rows(place->db, rows, &receipt, &place->error));
    assert_int_equal(receipt.lsn, 0);
    eider_rows_free(rows);

    assert_ok(place, eider_wait_applied(place->db, 1, 30000, &place->error));
    assert_int_equal(place_number(place, "SELECT count(*) FROM trades WHERE price = 64000"), 100);
    struct eider_batch *batch = place_sql(place, "SELECT * FROM market_data");
    assert_int_equal(eider_batch_rows(batch), 1);
    assert_int_equal(eider_batch_i64(batch, 0, 0), T0);
    assert_true(eider_batch_is_null(batch, 2, 0));
    assert_true(eider_batch_i64(batch, 5, 0) == INT64_MAX);
    assert_int_equal(eider_batch_i64(batch, 6, 0), 3);
    eider_batch_free(batch);
    assert_int_equal(place_number(place, "SELECT count(*) FROM trading_metrics WHERE labels = "
                                         "'{\"a\":\"x\",\"b\":\"1\"}' AND isinf(value)"),
                     1);
}

/* Each wrong value, and what is said of it. */
static void
test_rows_name_what_is_wrong(void **state)
{
    struct eider_rows *rows = eider_rows_new();
    const struct eider_error *error = eider_rows_error(rows);

    (void)state;
    assert_int_equal(eider_row_text(rows, "symbol", "x", 1), EIDER_INVALID);
    assert_non_null(strstr(error->message, "no row is open"));
    assert_int_equal(eider_row_end(rows), EIDER_INVALID);
    assert_int_equal(eider_row_begin(rows, "trade"), EIDER_NOT_FOUND);
    assert_string_equal(error->message, "no table \"trade\"; did you mean \"trades\"?");
    assert_int_equal(eider_row_begin(rows, NULL), EIDER_NOT_FOUND);
    assert_int_equal(eider_row_begin(rows, "samples"), EIDER_INVALID);
    assert_string_equal(error->message, "table samples cannot be written by clients");

    set_trade(rows, "t1");
    assert_int_equal(eider_row_f64(rows, "prise", 1), EIDER_INVALID);
    assert_string_equal(error->message,
                        "table trades has no column \"prise\"; did you mean \"price\"?");
    assert_int_equal(eider_row_end(rows), EIDER_INVALID);
    assert_non_null(strstr(error->message, "prise"));

    set_trade(rows, "t1");
    assert_int_equal(eider_row_i64(rows, "symbol", 5), EIDER_INVALID);
    assert_string_equal(error->message,
                        "table trades, row 0, symbol: expected a text, got the number 5");
    eider_row_end(rows);
    set_trade(rows, "t1");
    assert_int_equal(eider_row_bool(rows, "price", true), EIDER_INVALID);
    assert_non_null(strstr(error->message, "price: expected a number, got \"true\""));
    eider_row_end(rows);
    set_trade(rows, "t1");
    assert_int_equal(eider_row_text(rows, "price", "12", 2), EIDER_INVALID);
    eider_row_end(rows);
    set_trade(rows, "t1");
    assert_int_equal(eider_row_text(rows, "symbol", "\xff", 1), EIDER_INVALID);
    assert_non_null(strstr(error->message, "UTF-8"));
    eider_row_end(rows);
    set_trade(rows, "t1");
    assert_int_equal(eider_row_time(rows, "timestamp", INT64_MAX), EIDER_INVALID);
    assert_non_null(strstr(error->message, "years 1 to 9999"));
    eider_row_end(rows);
    set_trade(rows, "t1");
    assert_int_equal(eider_row_time(rows, "price", T0), EIDER_INVALID);
    eider_row_end(rows);
    set_trade(rows, "t1");
    assert_int_equal(eider_row_i64(rows, "timestamp", T0), EIDER_INVALID);
    assert_non_null(strstr(error->message, "eider_row_time"));
    eider_row_end(rows);
    eider_row_begin(rows, "market_data");
    eider_row_text(rows, "symbol", "x", 1);
    assert_int_equal(eider_row_f64(rows, "volume", 1.5), EIDER_INVALID);
    assert_non_null(strstr(error->message, "volume: expected "));
    eider_row_end(rows);
    eider_row_begin(rows, "market_data");
    assert_int_equal(eider_row_i64(rows, "trades", INT64_MAX), EIDER_INVALID);
    eider_row_end(rows);
    eider_row_begin(rows, "market_data");
    assert_int_equal(eider_row_end(rows), EIDER_INVALID);
    assert_non_null(strstr(error->message, "symbol: expected"));
    assert_int_equal(eider_rows_count(rows), 0);
    eider_rows_free(rows);
}

static void
test_bad_row_is_dropped_and_the_others_stay(void **state)
{
    struct place *place = *state;
    struct eider_rows *rows = eider_rows_new();
    struct eider_receipt receipt;

    set_trade(rows, "good1");
    assert_int_equal(eider_row_end(rows), EIDER_OK);
    set_trade(rows, "bad");
    eider_row_text(rows, "nonsense", "x", 1);
    eider_row_bool(rows, "price", true);
    /* The first error is the one that counts. */
    assert_int_equal(eider_row_end(rows), EIDER_INVALID);
    assert_non_null(strstr(eider_rows_error(rows)->message, "nonsense"));
    set_trade(rows, "abandoned");
    set_trade(rows, "good2");
    assert_refused(place, eider_append_rows(place->db, rows, NULL, &place->error), EIDER_INVALID,
                   "a row of trades is open");
    assert_int_equal(eider_row_end(rows), EIDER_OK);
    assert_ok(place, eider_append_rows(place->db, rows, &receipt, &place->error));
    assert_int_equal(receipt.accepted, 2);
    eider_rows_free(rows);
    assert_ok(place, eider_wait_applied(place->db, receipt.lsn, 30000, &place->error));
    assert_int_equal(place_number(place, "SELECT count(*) FROM trades WHERE trade_id IN ('good1', "
                                         "'good2')"),
                     2);
}

struct problems {
    int count;
    uint64_t row;
    char field[32];
};

static void
on_problem(void *ctx, const struct eider_row_problem *problem)
{
    struct problems *problems = ctx;

    problems->count++;
    problems->row = problem->row;
    snprintf(problems->field, sizeof(problems->field), "%.*s", (int)problem->field_len,
             problem->field);
}

static struct eider_body
body_of(enum eider_format format, const char *table, const char *text)
{
    return (struct eider_body){
        .format = format, .table = table, .bytes = text, .len = strlen(text)};
}

static void
test_bodies_are_taken_as_the_server_takes_them(void **state)
{
    struct place *place = *state;
    struct eider_receipt receipt;
    struct problems problems = {0};
    struct eider_body body =
        body_of(EIDER_FORMAT_JSON, "metrics",
                "{\"metric_name\": \"a\", \"value\": 1}\n{\"metric_name\": \"b\", \"value\": 2}");

    body.wait_applied = true;
    assert_ok(place, eider_append_body(place->db, &body, &receipt, &place->error));
    assert_int_equal(receipt.accepted, 2);
    assert_int_equal(place_number(place, "SELECT count(*) FROM trading_metrics"), 2);
    body = body_of(EIDER_FORMAT_LINE, NULL, "cpu,host=x usage=0.5 1700000000000000000\n");
    body.wait_applied = true;
    assert_ok(place, eider_append_body(place->db, &body, &receipt, &place->error));
    assert_int_equal(place_number(place, "SELECT epoch_us(timestamp) FROM trading_metrics WHERE "
                                         "metric_name = 'cpu_usage'"),
                     T0);
    body = body_of(EIDER_FORMAT_JSON, "market_data",
                   "[{\"symbol\": \"A\"}, {\"symbol\": 5}, {\"bid\": 1}]");
    body.on_row_problem = on_problem;
    body.problem_ctx = &problems;
    assert_refused(place, eider_append_body(place->db, &body, &receipt, &place->error),
                   EIDER_INVALID, "2 of 3 rows are wrong, nothing was written; row 1, symbol");
    assert_int_equal(problems.count, 2);
    body.skip_bad_rows = true;
    assert_ok(place, eider_append_body(place->db, &body, &receipt, &place->error));
    assert_int_equal(receipt.accepted, 1);
    assert_int_equal(receipt.rejected, 2);
    assert_int_equal(problems.row, 2);
    assert_string_equal(problems.field, "symbol");
}

static void
test_body_refuses_what_it_names(void **state)
{
    struct place *place = *state;
    struct eider_error *error = &place->error;
    struct eider_receipt receipt;
    struct eider_body body = body_of(EIDER_FORMAT_JSON, "quotes", "{}");

    assert_refused(place, eider_append_body(place->db, NULL, NULL, error), EIDER_INVALID, "body");
    assert_refused(place, eider_append_body(place->db, &body, NULL, error), EIDER_NOT_FOUND,
                   "no table \"quotes\"");
    body.table = "samples";
    assert_refused(place, eider_append_body(place->db, &body, NULL, error), EIDER_INVALID,
                   "samples cannot be written");
    body.table = "trades";
    body.format = (enum eider_format)7;
    assert_refused(place, eider_append_body(place->db, &body, NULL, error), EIDER_INVALID,
                   "format is 7");
    body = body_of(EIDER_FORMAT_JSON, "metrics", "{\"metric_name\": \"a\", \"value\": 1}");
    body.idempotency_key = "k";
    assert_ok(place, eider_append_body(place->db, &body, &receipt, error));
    assert_false(receipt.replayed);
    assert_ok(place, eider_append_body(place->db, &body, &receipt, error));
    assert_true(receipt.replayed);
    assert_int_equal(receipt.lsn, 1);
    body.bytes = "{\"metric_name\": \"a\", \"value\": 2}";
    assert_refused(place, eider_append_body(place->db, &body, NULL, error), EIDER_CONFLICT, "k");
}

struct done {
    atomic_int calls;
    atomic_int failures;
    _Atomic uint64_t lsn;
    pthread_t thread;
};

static void
on_done(void *ctx, const struct eider_receipt *receipt)
{
    struct done *done = ctx;

    atomic_fetch_add(&done->failures, receipt->status != EIDER_OK);
    atomic_store(&done->lsn, receipt->lsn);
    done->thread = pthread_self();
    atomic_fetch_add(&done->calls, 1);
}

static void
test_asynchronous_appends_are_told_and_flushed(void **state)
{
    struct place *place = *state;
    struct done done = {0};
    const double value = 1;
    const struct eider_points points = {.series = {.name = "m"}, .values = &value, .count = 1};
    struct eider_rows *rows = eider_rows_new();
    struct eider_body body = body_of(EIDER_FORMAT_LINE, NULL, "cpu usage=0.5\n");

    for (int i = 0; i < 100; i++) {
        assert_ok(place,
                  eider_append_points_async(place->db, &points, on_done, &done, &place->error));
    }
    set_trade(rows, "t");
    assert_refused(place, eider_append_rows_async(place->db, rows, NULL, NULL, &place->error),
                   EIDER_INVALID, "open");
    eider_row_end(rows);
    assert_ok(place, eider_append_rows_async(place->db, rows, on_done, &done, &place->error));
    assert_int_equal(eider_rows_count(rows), 0);
    set_trade(rows, "u");
    eider_row_end(rows);
    assert_int_equal(eider_rows_count(rows), 1);
    assert_ok(place, eider_append_body_async(place->db, &body, on_done, &done, &place->error));
    assert_ok(place, eider_flush(place->db, -1, &place->error));
    assert_int_equal(atomic_load(&done.calls), 102);
    assert_int_equal(atomic_load(&done.failures), 0);
    assert_int_equal(atomic_load(&done.lsn), 102);
    assert_false(pthread_equal(done.thread, pthread_self()));
    body.bytes = "";
    body.len = 0;
    /* Nothing to write: told before it returns. */
    assert_ok(place, eider_append_body_async(place->db, &body, on_done, &done, &place->error));
    assert_int_equal(atomic_load(&done.calls), 103);
    assert_true(pthread_equal(done.thread, pthread_self()));
    body.bytes = "broken";
    body.len = 6;
    assert_int_equal(eider_append_body_async(place->db, &body, on_done, &done, &place->error),
                     EIDER_INVALID);
    assert_int_equal(atomic_load(&done.calls), 103);
    eider_rows_free(rows);
    struct eider_stats stats;
    eider_stats(place->db, &stats);
    assert_int_equal(stats.async_pending, 0);
}

/* Holds the committer thread up, so that appends pile up behind it. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open;
    struct place *place;
    enum eider_status inside[3];
    atomic_int calls;
};

static void
on_done_wait(void *ctx, const struct eider_receipt *receipt)
{
    struct gate *gate = ctx;

    (void)receipt;
    pthread_mutex_lock(&gate->lock);
    atomic_fetch_add(&gate->calls, 1);
    while (!gate->open) {
        pthread_cond_wait(&gate->changed, &gate->lock);
    }
    pthread_mutex_unlock(&gate->lock);
}

static void
test_queue_of_asynchronous_appends_is_bounded(void **state)
{
    struct place *place = *state;
    struct gate gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    const double value = 1;
    const struct eider_points points = {.series = {.name = "m"}, .values = &value, .count = 1};
    struct eider_rows *rows = eider_rows_new();

    place_close(place);
    place->options.async_max = 3;
    place_open(place);
    for (int i = 0; i < 3; i++) {
        assert_ok(place, eider_append_points_async(place->db, &points, on_done_wait, &gate,
                                                   &place->error));
    }
    assert_refused(
        place, eider_append_points_async(place->db, &points, on_done_wait, &gate, &place->error),
        EIDER_BUSY, "async_max is 3");
    set_trade(rows, "t");
    eider_row_end(rows);
    assert_int_equal(eider_append_rows_async(place->db, rows, NULL, NULL, NULL), EIDER_BUSY);
    assert_int_equal(eider_rows_count(rows), 1);
    assert_refused(place, eider_flush(place->db, 1, &place->error), EIDER_TIMEOUT, "3 asynch");
    pthread_mutex_lock(&gate.lock);
    gate.open = true;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
    assert_ok(place, eider_flush(place->db, 30000, &place->error));
    assert_int_equal(atomic_load(&gate.calls), 3);
    assert_ok(place, eider_append_rows_async(place->db, rows, NULL, NULL, &place->error));
    assert_ok(place, eider_flush(place->db, -1, &place->error));
    eider_rows_free(rows);
}

static void
on_done_misuse(void *ctx, const struct eider_receipt *receipt)
{
    struct gate *gate = ctx;
    const double value = 2;
    const struct eider_points points = {.series = {.name = "again"}, .values = &value, .count = 1};
    struct eider_db *db = gate->place->db;

    (void)receipt;
    if (atomic_fetch_add(&gate->calls, 1) == 0) {
        gate->inside[0] = eider_append_metric(db, &points.series, T0, 1, NULL, NULL);
        gate->inside[1] = eider_close(db);
        gate->inside[2] = eider_append_points_async(db, &points, on_done_misuse, gate, NULL);
    }
}

static void
test_callback_that_waits_is_refused_and_may_append_on(void **state)
{
    struct place *place = *state;
    struct gate gate = {.place = place};
    const double value = 1;
    const struct eider_points points = {.series = {.name = "m"}, .values = &value, .count = 1};

    assert_ok(place,
              eider_append_points_async(place->db, &points, on_done_misuse, &gate, &place->error));
    assert_ok(place, eider_flush(place->db, -1, &place->error));
    assert_ok(place, eider_flush(place->db, -1, &place->error));
    assert_int_equal(gate.inside[0], EIDER_INVALID);
    assert_int_equal(gate.inside[1], EIDER_INVALID);
    assert_int_equal(gate.inside[2], EIDER_OK);
    assert_int_equal(atomic_load(&gate.calls), 2);
    place_append(place, "m", T0, 1);
}

static void
test_close_waits_for_asynchronous_appends(void **state)
{
    struct place *place = *state;
    struct done done = {0};
    const double value = 1;
    const struct eider_points points = {.series = {.name = "m"}, .values = &value, .count = 1};

    for (int i = 0; i < 500; i++) {
        assert_ok(place,
                  eider_append_points_async(place->db, &points, on_done, &done, &place->error));
    }
    place_close(place);
    assert_int_equal(atomic_load(&done.calls), 500);
    assert_int_equal(atomic_load(&done.failures), 0);
    place_open(place);
    assert_int_equal(place_number(place, "SELECT count(*) FROM samples"), 500);
}

static void
test_limits_are_named_when_they_are_reached(void **state)
{
    struct place *place = *state;
    const struct eider_series other = {.name = "other"};
    struct eider_body body = body_of(EIDER_FORMAT_LINE, NULL, "cpu usage=0.5\ncpu usage=0.25\n");

    place_close(place);
    place->options.series_max = 1;
    place->options.request_bytes_max = 16;
    place_open(place);
    place_append(place, "m", T0, 1);
    assert_refused(place, eider_append_metric(place->db, &other, T0, 1, NULL, &place->error),
                   EIDER_BUSY, "series_max (1)");
    assert_refused(place, eider_append_body(place->db, &body, NULL, &place->error), EIDER_TOO_LARGE,
                   "request_bytes_max is 16");
    struct eider_rows *rows = eider_rows_new();
    eider_row_begin(rows, "metrics");
    eider_row_text(rows, "metric_name", "other", 5);
    eider_row_f64(rows, "value", 1);
    assert_int_equal(eider_row_end(rows), EIDER_OK);
    /* Refused at once: the rows are as they were, and nothing is told twice. */
    assert_refused(place, eider_append_rows_async(place->db, rows, NULL, NULL, &place->error),
                   EIDER_BUSY, "series_max (1)");
    assert_int_equal(eider_rows_count(rows), 1);
    assert_refused(place, eider_append_rows(place->db, rows, NULL, &place->error), EIDER_BUSY,
                   "series_max (1)");
    assert_int_equal(eider_rows_count(rows), 1);
    assert_ok(place, eider_flush(place->db, -1, &place->error));
    eider_rows_free(rows);
}

#define WITH_PLACE(test) cmocka_unit_test_setup_teardown(test, place_setup, place_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PLACE(test_metric_is_durable_and_read_back),
        WITH_PLACE(test_metric_refuses_what_it_names),
        WITH_PLACE(test_points_are_one_record),
        WITH_PLACE(test_rows_of_several_tables_are_one_record),
        cmocka_unit_test(test_rows_name_what_is_wrong),
        WITH_PLACE(test_bad_row_is_dropped_and_the_others_stay),
        WITH_PLACE(test_bodies_are_taken_as_the_server_takes_them),
        WITH_PLACE(test_body_refuses_what_it_names),
        WITH_PLACE(test_asynchronous_appends_are_told_and_flushed),
        WITH_PLACE(test_queue_of_asynchronous_appends_is_bounded),
        WITH_PLACE(test_callback_that_waits_is_refused_and_may_append_on),
        WITH_PLACE(test_close_waits_for_asynchronous_appends),
        WITH_PLACE(test_limits_are_named_when_they_are_reached),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
