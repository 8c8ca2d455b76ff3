/* Storage type postgres, against a server of this test's own. */
#include <signal.h>

#include "embed/testing.h"
#include "store/postgres/pg_testing.h"

static struct pg_testing server;

/* A handle whose tables are in a schema of this name. */
static void
open_in(struct place *place, const char *schema)
{
    static char dsn[PG_TESTING_DSN];

    assert_true(pg_testing_dsn(&server, schema, dsn));
    place_make(place);
    place->options.storage_type = "postgres";
    place->options.postgres_dsn = dsn;
    place->options.postgres_connections = 3;
    place_open(place);
}

static void
test_rows_are_in_the_server_and_come_back(void **state)
{
    struct place place;
    struct eider_batch *batch;
    struct eider_point point;
    const struct eider_param params[] = {{.type = EIDER_PARAM_DOUBLE, .real = 2}};
    const struct eider_query query = {.sql = "SELECT count(*) AS n FROM samples WHERE value >= $1",
                                      .params = params,
                                      .param_count = 1};
    const struct eider_range range = {.series = {.name = "m"}, .bucket_us = 10 * SECOND};

    (void)state;
    open_in(&place, "rows");
    for (int i = 0; i < 4; i++) {
        place_append(&place, "m", T0 + i * SECOND, i);
    }
    place_append(&place, "other", T0, 99);
    place_close(&place);
    place_open(&place);
    assert_ok(&place, eider_query(place.db, &query, &batch, &place.error));
    assert_int_equal(eider_batch_i64(batch, 0, 0), 3);
    eider_batch_free(batch);
    assert_ok(&place, eider_read_range(place.db, &range, &batch, &place.error));
    assert_int_equal(eider_batch_rows(batch), 4);
    assert_int_equal(eider_batch_columns(batch), 2);
    assert_int_equal(eider_batch_i64(batch, 0, 3), T0 + 3 * SECOND);
    assert_true(eider_batch_f64(batch, 1, 3) == 3);
    eider_batch_free(batch);
    assert_ok(&place, eider_read_buckets(place.db, &range, &batch, &place.error));
    assert_int_equal(eider_batch_rows(batch), 1);
    const double expected[] = {0, 3, 0, 3, 1.5, 6, 4};
    for (size_t i = 0; i < 7; i++) {
        assert_true(eider_batch_f64(batch, 1 + i, 0) == expected[i]);
    }
    eider_batch_free(batch);
    assert_ok(&place, eider_last(place.db, &range.series, &point, &place.error));
    assert_true(point.value == 3 && point.timestamp_us == T0 + 3 * SECOND);
    assert_ok(&place, eider_read_latest(place.db, "metrics", &batch, &place.error));
    assert_int_equal(eider_batch_rows(batch), 2);
    eider_batch_free(batch);
    place_remove(&place);
}

/* What was acknowledged is in the log, and in the server once it is back. */
static void
test_server_that_is_away_is_waited_for(void **state)
{
    struct place place;
    const struct eider_series series = {.name = "m"};
    struct eider_batch *batch = NULL;
    struct eider_db *none = NULL;
    const struct eider_query query = {.sql = "SELECT count(*) FROM samples"};
    uint64_t lsn = 0;

    (void)state;
    open_in(&place, "away");
    place_append(&place, "m", T0, 1);
    pg_testing_stop(&server, SIGQUIT);
    assert_ok(&place, eider_append_metric(place.db, &series, T0 + 1, 2, &lsn, &place.error));
    assert_int_not_equal(eider_query(place.db, &query, &batch, NULL), EIDER_OK);
    assert_null(batch);
    place_close(&place);
    place.options.open_timeout_ms = 50;
    assert_refused(&place, eider_open(&place.options, &none, &place.error), EIDER_TIMEOUT,
                   "within open_timeout_ms, 50: ");
    assert_null(none);
    place.options.open_timeout_ms = 0;
    assert_true(pg_testing_again(&server));
    place_open(&place);
    assert_ok(&place, eider_wait_applied(place.db, lsn, 60000, &place.error));
    assert_int_equal(place_number(&place, query.sql), 2);
    place_remove(&place);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_are_in_the_server_and_come_back),
        cmocka_unit_test(test_server_that_is_away_is_waited_for),
    };
    int failed = 1;

    if (pg_testing_start(&server)) {
        failed = cmocka_run_group_tests(tests, NULL, NULL);
    }
    pg_testing_end(&server);
    return failed;
}
