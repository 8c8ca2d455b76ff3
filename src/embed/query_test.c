/* Questions: SQL, cells, rows of tables, the history of a series in both kinds of stores. */
#include "embed/testing.h"

static void
test_query_takes_parameters_of_every_type(void **state)
{
    struct place *place = *state;
    struct eider_batch *batch;
    const struct eider_param params[] = {
        {.type = EIDER_PARAM_NULL},
        {.type = EIDER_PARAM_BOOL, .int64 = 7},
        {.type = EIDER_PARAM_INT64, .int64 = INT64_MIN},
        {.type = EIDER_PARAM_DOUBLE, .real = 0.1},
        {.type = EIDER_PARAM_TEXT, .text = "a'b;x", .text_len = 3},
        {.type = EIDER_PARAM_TIMESTAMP, .int64 = T0},
    };
    const struct eider_query query = {
        .sql = "SELECT $1 AS n, $2 AS b, $3 AS i, $4 AS d, $5 AS t, $6::TIMESTAMP AS ts, "
               "1.5::DECIMAL(18,6) AS c, 7::INTEGER AS i32, '{\"a\":1}'::JSON AS j",
        .params = params,
        .param_count = 6};

    assert_ok(place, eider_query(place->db, &query, &batch, &place->error));
    assert_int_equal(eider_batch_rows(batch), 1);
    assert_int_equal(eider_batch_columns(batch), 9);
    assert_true(eider_batch_is_null(batch, 0, 0));
    assert_int_equal(eider_batch_type(batch, 1), EIDER_TYPE_BOOL);
    assert_int_equal(eider_batch_i64(batch, 1, 0), 1);
    assert_true(eider_batch_i64(batch, 2, 0) == INT64_MIN);
    assert_true(eider_batch_f64(batch, 3, 0) == 0.1);
    assert_cell(batch, 4, 0, "a'b");
    assert_int_equal(eider_batch_type(batch, 5), EIDER_TYPE_TIMESTAMP);
    assert_int_equal(eider_batch_i64(batch, 5, 0), T0);
    assert_int_equal(eider_batch_type(batch, 6), EIDER_TYPE_DECIMAL);
    assert_int_equal(eider_batch_i64(batch, 6, 0), 1500000);
    assert_true(eider_batch_f64(batch, 6, 0) == 1.5);
    assert_int_equal(eider_batch_type(batch, 7), EIDER_TYPE_INT32);
    assert_string_equal(eider_batch_name(batch, 7), "i32");
    assert_int_equal(eider_batch_find(batch, "ts"), 5);
    assert_int_equal(eider_batch_find(batch, "nothing"), -1);
    eider_batch_free(batch);
    eider_batch_free(NULL);
}

static void
test_cells_that_are_not_there_are_null(void **state)
{
    struct place *place = *state;
    struct eider_batch *batch =
        place_sql(place, "SELECT 'x' AS t, 'NaN'::DOUBLE AS n, 1e300::DOUBLE AS big, -1.9::DOUBLE "
                         "AS cut");
    size_t len = 9;

    assert_true(eider_batch_is_null(batch, 4, 0));
    assert_true(eider_batch_is_null(batch, 0, 1));
    assert_int_equal(eider_batch_i64(batch, 9, 9), 0);
    assert_true(eider_batch_f64(batch, 9, 9) == 0);
    assert_string_equal(eider_batch_text(batch, 1, 0, &len), "");
    assert_int_equal(len, 0);
    assert_null(eider_batch_name(batch, 4));
    assert_int_equal(eider_batch_type(batch, 4), EIDER_TYPE_TEXT);
    assert_int_equal(eider_batch_i64(batch, 0, 0), 0);
    assert_int_equal(eider_batch_i64(batch, 1, 0), 0);
    assert_int_equal(eider_batch_i64(batch, 2, 0), 0);
    assert_int_equal(eider_batch_i64(batch, 3, 0), -1);
    assert_true(isnan(eider_batch_f64(batch, 1, 0)));
    eider_batch_free(batch);
}

static void
test_query_is_refused_or_cut_within_its_bounds(void **state)
{
    struct place *place = *state;
    struct eider_error *error = &place->error;
    struct eider_batch *batch = NULL;
    struct eider_query query = {.sql = "SELEC 1"};
    const struct eider_param wrong = {.type = (enum eider_param_type)77};
    const struct eider_param bytes = {.type = EIDER_PARAM_TEXT, .text = "a\0b", .text_len = 3};
    const struct eider_param time = {.type = EIDER_PARAM_TIMESTAMP, .int64 = INT64_MAX};

    assert_refused(place, eider_query(place->db, NULL, &batch, error), EIDER_INVALID, "query");
    assert_refused(place, eider_query(place->db, &query, &batch, error), EIDER_INVALID, "SELEC");
    query.sql = "DELETE FROM trades";
    assert_int_equal(eider_query(place->db, &query, &batch, error), EIDER_INVALID);
    query.sql = "SELECT * FROM read_csv('/etc/passwd')";
    assert_int_equal(eider_query(place->db, &query, &batch, error), EIDER_INVALID);
    query.sql = "SELECT $1";
    query.params = &wrong;
    query.param_count = 1;
    assert_refused(place, eider_query(place->db, &query, &batch, error), EIDER_INVALID,
                   "parameter $1: type 77");
    query.params = &time;
    assert_refused(place, eider_query(place->db, &query, &batch, error), EIDER_INVALID,
                   "parameter $1: expected microseconds");
    query.params = &bytes;
    assert_refused(place, eider_query(place->db, &query, &batch, error), EIDER_INVALID,
                   "parameter $1: expected UTF-8 text without NUL");
    query.param_count = 65;
    assert_refused(place, eider_query(place->db, &query, &batch, error), EIDER_INVALID,
                   "param_count is 65");
    query =
        (struct eider_query){.sql = "SELECT repeat('x', 100) FROM range(1000)", .bytes_max = 1000};
    assert_int_equal(eider_query(place->db, &query, &batch, error), EIDER_TOO_LARGE);
    assert_null(batch);
    query = (struct eider_query){.sql = "SELECT * FROM range(1000)", .rows_max = 10};
    assert_ok(place, eider_query(place->db, &query, &batch, error));
    assert_int_equal(eider_batch_rows(batch), 10);
    assert_true(eider_batch_is_truncated(batch));
    eider_batch_free(batch);
    query.rows_max = 1000;
    assert_ok(place, eider_query(place->db, &query, &batch, error));
    assert_false(eider_batch_is_truncated(batch));
    eider_batch_free(batch);
}

static void
test_memory_has_no_sql_and_says_so(void **state)
{
    struct place *place = *state;
    struct eider_batch *batch;
    const struct eider_query query = {.sql = "SELECT 1"};

    assert_refused(place, eider_query(place->db, &query, &batch, &place->error), EIDER_UNSUPPORTED,
                   "storage_type memory has no SQL");
}

static void
write_quotes(struct place *place)
{
    struct eider_rows *rows = eider_rows_new();
    struct eider_receipt receipt;

    for (int i = 0; i < 20; i++) {
        eider_row_begin(rows, "market_data");
        eider_row_time(rows, "timestamp", T0 + i * SECOND);
        eider_row_text(rows, "symbol", i % 2 ? "ETH" : "BTC", 3);
        eider_row_f64(rows, "last_price", i);
        assert_int_equal(eider_row_end(rows), EIDER_OK);
    }
    assert_ok(place, eider_append_rows(place->db, rows, &receipt, &place->error));
    assert_ok(place, eider_wait_applied(place->db, receipt.lsn, 30000, &place->error));
    eider_rows_free(rows);
}

static void
test_rows_of_a_table_are_read_without_sql(void **state)
{
    struct place *place = *state;
    struct eider_batch *batch;
    struct eider_read read = {.table = "market_data"};

    write_quotes(place);
    assert_ok(place, eider_read_table(place->db, &read, &batch, &place->error));
    assert_int_equal(eider_batch_rows(batch), 20);
    eider_batch_free(batch);
    read = (struct eider_read){.table = "market_data",
                               .column = "symbol",
                               .value = "ETH",
                               .from_us = T0 + 3 * SECOND,
                               .to_us = T0 + 9 * SECOND,
                               .newest_first = true,
                               .limit = 2,
                               .offset = 1};
    assert_ok(place, eider_read_table(place->db, &read, &batch, &place->error));
    assert_int_equal(eider_batch_rows(batch), 2);
    assert_int_equal(eider_batch_i64(batch, 0, 0), T0 + 7 * SECOND);
    assert_int_equal(eider_batch_i64(batch, 0, 1), T0 + 5 * SECOND);
    assert_cell(batch, 1, 0, "ETH");
    eider_batch_free(batch);
    read.column = "last_price";
    assert_refused(place, eider_read_table(place->db, &read, &batch, &place->error), EIDER_INVALID,
                   "column \"last_price\": expected a text column of market_data");
    read.column = "symbol";
    read.value = NULL;
    assert_refused(place, eider_read_table(place->db, &read, &batch, &place->error), EIDER_INVALID,
                   "value is NULL; expected what column symbol has");
    read.value = "\xff";
    assert_refused(place, eider_read_table(place->db, &read, &batch, &place->error), EIDER_INVALID,
                   "value is no UTF-8 text");
    read.timeout_ms = -5;
    assert_refused(place, eider_read_table(place->db, &read, &batch, &place->error), EIDER_INVALID,
                   "timeout_ms is -5");
    read.table = "market_dat";
    read.timeout_ms = 0;
    assert_refused(place, eider_read_table(place->db, &read, &batch, &place->error),
                   EIDER_NOT_FOUND, "did you mean \"market_data\"?");
    assert_ok(place, eider_read_latest(place->db, "market_data", &batch, &place->error));
    assert_int_equal(eider_batch_rows(batch), 2);
    eider_batch_free(batch);
    assert_int_equal(eider_read_latest(place->db, "none", &batch, NULL), EIDER_NOT_FOUND);
}

static void
test_latest_of_metrics_has_the_names(void **state)
{
    struct place *place = *state;
    struct eider_batch *batch;
    const struct eider_label label = {"venue", "x"};
    const struct eider_series series = {"m", "BTC", &label, 1};

    place_append(place, "m", T0, 1);
    place_append(place, "m", T0 + 1, 2);
    assert_ok(place, eider_append_metric(place->db, &series, T0, 3, NULL, &place->error));
    assert_ok(place, eider_wait_applied(place->db, 3, 30000, &place->error));
    assert_ok(place, eider_read_latest(place->db, "metrics", &batch, &place->error));
    assert_int_equal(eider_batch_rows(batch), 2);
    size_t labelled = eider_batch_is_null(batch, 3, 0) ? 1 : 0;
    assert_cell(batch, 1, labelled, "m");
    assert_cell(batch, 3, labelled, "BTC");
    assert_cell(batch, 4, labelled, "{\"venue\":\"x\"}");
    assert_true(eider_batch_f64(batch, 2, labelled) == 3);
    assert_true(eider_batch_f64(batch, 2, 1 - labelled) == 2);
    eider_batch_free(batch);
}

/* Two series of one name, out of order, with a NaN, before and behind the origin of buckets. */
static void
write_history(struct place *place)
{
    static const int64_t times[] = {T0 + 5 * SECOND, T0, T0 + SECOND, -SECOND, T0 + 6 * SECOND,
                                    T0 + 11 * SECOND};
    static const double values[] = {5, 0, 1, -1, 6, 11};
    const struct eider_points points = {.series = {.name = "m"},
                                        .timestamps_us = times,
                                        .values = values,
                                        .count = sizeof(times) / sizeof(times[0])};
    const struct eider_series other = {.name = "m", .symbol = "BTC"};
    uint64_t lsn;

    assert_ok(place, eider_append_points(place->db, &points, &lsn, &place->error));
    assert_ok(place, eider_append_metric(place->db, &other, T0, 99, &lsn, &place->error));
    assert_ok(place, eider_wait_applied(place->db, lsn, 30000, &place->error));
}

static void
test_range_of_a_series_is_its_own(void **state)
{
    struct place *place = *state;
    struct eider_batch *batch;
    struct eider_range range = {.series = {.name = "m"}};

    write_history(place);
    assert_ok(place, eider_read_range(place->db, &range, &batch, &place->error));
    assert_int_equal(eider_batch_rows(batch), 6);
    assert_int_equal(eider_batch_columns(batch), 2);
    assert_int_equal(eider_batch_type(batch, 0), EIDER_TYPE_TIMESTAMP);
    assert_string_equal(eider_batch_name(batch, 1), "value");
    for (size_t i = 1; i < 6; i++) {
        assert_true(eider_batch_i64(batch, 0, i - 1) < eider_batch_i64(batch, 0, i));
    }
    assert_true(eider_batch_f64(batch, 1, 0) == -1);
    eider_batch_free(batch);
    range.from_us = T0 + SECOND;
    range.to_us = T0 + 6 * SECOND;
    range.newest_first = true;
    range.limit = 2;
    assert_ok(place, eider_read_range(place->db, &range, &batch, &place->error));
    assert_int_equal(eider_batch_rows(batch), 2);
    assert_true(eider_batch_f64(batch, 1, 0) == 6);
    assert_true(eider_batch_f64(batch, 1, 1) == 5);
    eider_batch_free(batch);
    range.series.name = "n";
    assert_refused(place, eider_read_range(place->db, &range, &batch, &place->error),
                   EIDER_NOT_FOUND, "no series \"n\"");
    assert_int_equal(eider_read_range(place->db, NULL, &batch, NULL), EIDER_INVALID);
}

static void
check_bucket(const struct eider_batch *batch, size_t row, int64_t time_us, const double *expected)
{
    assert_int_equal(eider_batch_i64(batch, 0, row), time_us);
    for (size_t i = 0; i < 6; i++) {
        assert_true(eider_batch_f64(batch, 1 + i, row) == expected[i]);
    }
}

static void
test_buckets_of_a_series_hold_its_figures(void **state)
{
    struct place *place = *state;
    struct eider_batch *batch;
    struct eider_range range = {.series = {.name = "m"},
                                .from_us = EIDER_FROM_START,
                                .to_us = EIDER_TO_END,
                                .bucket_us = 10 * SECOND};
    static const char *const names[] = {"timestamp", "first", "last", "min",
                                        "max",       "avg",   "sum",  "count"};

    write_history(place);
    assert_ok(place, eider_read_buckets(place->db, &range, &batch, &place->error));
    assert_int_equal(eider_batch_rows(batch), 3);
    assert_int_equal(eider_batch_columns(batch), 8);
    for (size_t i = 0; i < 8; i++) {
        assert_string_equal(eider_batch_name(batch, i), names[i]);
    }
    check_bucket(batch, 0, -10 * SECOND, (const double[]){-1, -1, -1, -1, -1, -1});
    check_bucket(batch, 1, T0, (const double[]){0, 6, 0, 6, 3, 12});
    check_bucket(batch, 2, T0 + 10 * SECOND, (const double[]){11, 11, 11, 11, 11, 11});
    assert_int_equal(eider_batch_i64(batch, 7, 1), 4);
    eider_batch_free(batch);
    range.newest_first = true;
    range.limit = 2;
    assert_ok(place, eider_read_buckets(place->db, &range, &batch, &place->error));
    assert_int_equal(eider_batch_rows(batch), 2);
    check_bucket(batch, 1, T0, (const double[]){0, 6, 0, 6, 3, 12});
    eider_batch_free(batch);
    range.bucket_us = 999;
    assert_refused(place, eider_read_buckets(place->db, &range, &batch, &place->error),
                   EIDER_INVALID, "bucket_us is 999; expected 1000 to");
}

static void
test_last_value_is_there_at_once_and_after_a_restart(void **state)
{
    struct place *place = *state;
    const struct eider_series m = {.name = "m"};
    const struct eider_series n = {.name = "n"};
    struct eider_point point;
    uint64_t lsn;

    assert_refused(place, eider_last(place->db, &m, &point, &place->error), EIDER_NOT_FOUND,
                   "no value of series \"m\"");
    assert_ok(place, eider_append_metric(place->db, &m, T0, 1, &lsn, &place->error));
    /* Not waited for: last values are durable, not applied. */
    assert_ok(place, eider_last(place->db, &m, &point, &place->error));
    assert_true(point.value == 1 && point.timestamp_us == T0 && point.lsn == lsn);
    place_append(place, "m", T0 - 1, 2); /* late */
    place_append(place, "m", T0, 3);     /* the same time */
    assert_ok(place, eider_last(place->db, &m, &point, &place->error));
    assert_true(point.value == 3 && point.lsn == 3);
    place_append(place, "n", T0, 7);
    place_close(place);
    place_open(place);
    place_append(place, "n", T0 - 1, 8); /* before the store's last values were asked for */
    assert_ok(place, eider_last(place->db, &n, &point, &place->error));
    assert_true(point.value == 7 && point.lsn == 0);
    place_append(place, "n", T0, 9);
    assert_ok(place, eider_last(place->db, &n, &point, &place->error));
    assert_true(point.value == 9 && point.lsn == 6);
    assert_ok(place, eider_last(place->db, &m, &point, &place->error));
    assert_true(point.value == 3);
    assert_int_equal(eider_last(place->db, NULL, &point, NULL), EIDER_INVALID);
}

#define IN_DUCKDB(test) cmocka_unit_test_setup_teardown(test, place_setup, place_teardown)
#define IN_MEMORY(test)                                                                            \
    {                                                                                              \
#test " in memory", test, place_setup_memory, place_teardown, NULL                         \
    }

int
main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DUCKDB(test_query_takes_parameters_of_every_type),
        IN_DUCKDB(test_cells_that_are_not_there_are_null),
        IN_DUCKDB(test_query_is_refused_or_cut_within_its_bounds),
        IN_MEMORY(test_memory_has_no_sql_and_says_so),
        IN_DUCKDB(test_rows_of_a_table_are_read_without_sql),
        IN_MEMORY(test_rows_of_a_table_are_read_without_sql),
        IN_DUCKDB(test_latest_of_metrics_has_the_names),
        IN_MEMORY(test_latest_of_metrics_has_the_names),
        IN_DUCKDB(test_range_of_a_series_is_its_own),
        IN_MEMORY(test_range_of_a_series_is_its_own),
        IN_DUCKDB(test_buckets_of_a_series_hold_its_figures),
        IN_MEMORY(test_buckets_of_a_series_hold_its_figures),
        IN_DUCKDB(test_last_value_is_there_at_once_and_after_a_restart),
        IN_MEMORY(test_last_value_is_there_at_once_and_after_a_restart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
