/* Rows of a group are stored series by series, and all of them are. */
#include "store/duckdb/seal_testing.h"

#include <stdio.h>

#include "base/buf.h"

#define CASE(function) cmocka_unit_test_setup_teardown(function, place_setup, place_teardown)

enum { SERIES = 7, MANY = 300000 };

static void
test_rows_of_a_group_come_series_by_series(void **state)
{
    struct place *place = *state;

    place_put(place, TABLE_SAMPLES, "2|10|1\n1|10|2\n3|10|3\n2|20|4\n1|20|5\n3|5|6\n");
    place_put(place, TABLE_SAMPLES, "3|30|7\n1|30|8\n");
    place_expect_sql(place, "SELECT series_id, value FROM samples",
                     "1|2\n1|5\n2|1\n2|4\n3|3\n3|6\n1|8\n3|7\n");
}

/* Of one series and time the row that was written last is the newest. */
static void
test_rows_of_one_series_keep_their_order(void **state)
{
    struct place *place = *state;
    struct batch newest BATCH_AUTO = {0};

    place_put(place, TABLE_SAMPLES, "9|10|1\n4|10|2\n9|10|3\n4|10|4\n9|10|5\n");
    place_expect_sql(place, "SELECT series_id, value FROM samples", "4|2\n4|4\n9|1\n9|3\n9|5\n");
    assert_int_equal(store_latest(place->store, TABLE_SAMPLES, NULL, &newest, NULL), ERR_OK);
    assert_int_equal(newest.rows, 2);
    assert_true(batch_get_f64(&newest, 2, 0) == 4 && batch_get_f64(&newest, 2, 1) == 5);
}

/* Numbers that are far apart are not counted out; the rows are stored as they come. */
static void
test_rows_of_far_series_are_stored_too(void **state)
{
    struct place *place = *state;

    place_put(place, TABLE_SAMPLES, "2147483647|10|1\n1|10|2\n2147483647|20|3\n");
    place_expect_sql(place, "SELECT series_id, value FROM samples ORDER BY value",
                     "2147483647|1\n1|2\n2147483647|3\n");
}

/* More rows than one run has: each is there once, and within a run in order. */
static void
test_rows_of_a_large_group_are_all_stored(void **state)
{
    struct place *place = *state;
    struct buf lines BUF_AUTO = {0};
    char wanted[64];

    buf_init(&lines, 0);
    for (int i = 0; i < MANY; i++) {
        buf_add_fmt(&lines, "%d|%d|%d\n", 1 + i % SERIES, i, i);
    }
    buf_add_char(&lines, '\0');
    place_put(place, TABLE_SAMPLES, lines.ptr);
    snprintf(wanted, sizeof(wanted), "%d|%d|0|%d\n", MANY, MANY, MANY - 1);
    place_expect_sql(place,
                     "SELECT count(*), count(DISTINCT timestamp), min(value), max(value) "
                     "FROM samples WHERE epoch_us(timestamp) = value AND value % 7 = series_id - 1",
                     wanted);
    /* Three runs of seven series: as many beginnings. */
    place_expect_sql(
        place,
        "SELECT count(*) FROM (SELECT series_id, lag(series_id) OVER (ORDER BY rowid) AS "
        "before FROM samples_hot) WHERE before IS DISTINCT FROM series_id",
        "21\n");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_rows_of_a_group_come_series_by_series),
        CASE(test_rows_of_one_series_keep_their_order),
        CASE(test_rows_of_far_series_are_stored_too),
        CASE(test_rows_of_a_large_group_are_all_stored),
    };

    return cmocka_run_group_tests_name("duck cluster", tests, NULL, NULL);
}
