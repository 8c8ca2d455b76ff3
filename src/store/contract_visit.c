/* The contract of visits, and of what else narrows a scan: masks of columns, least values. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "store/contract_private.h"

#define CASE(function) cmocka_unit_test_setup_teardown(function, contract_setup, contract_teardown)

enum { MANY = 120000, GROUP_ROWS = 30000 };

/* 120 000 changes of budgets, numbered from 1; times run backwards, so that only the order of
 * appending gives the numbers in order. */
static void
put_many(struct contract_store *at)
{
    for (int from = 0; from < MANY; from += GROUP_ROWS) {
        struct batch batch;
        struct store_group group = {
            .first_lsn = at->lsn + 1, .last_lsn = at->lsn + 1, .batch_count = 1, .batches = &batch};
        batch_init(&batch, catalog_table(TABLE_BUDGET_CHANGES), 1 << 20);
        for (int i = 1; i <= GROUP_ROWS; i++) {
            size_t row = batch_add_row(&batch);
            batch_set_i64(&batch, 0, row, from + i);
            batch_set_i64(&batch, 1, row, MANY - from - i);
            batch_set_text(&batch, 2, row, i % 3 ? SLICE_LITERAL("a") : SLICE_LITERAL("b"));
            batch_set_text(&batch, 3, row, SLICE_LITERAL("reset"));
        }
        assert_int_equal(store_apply(at->store, &group, NULL), ERR_OK);
        at->lsn++;
        batch_fini(&batch);
    }
}

/* What a visit came by. */
struct seen {
    uint64_t rows;
    unsigned calls;
    int64_t step;     /* between the numbers in column 0 */
    int64_t next;     /* number expected next */
    unsigned fail_at; /* call */
    enum err_code fail_with;
    int64_t until_us; /* monotonic: calls do not return before */
};

static enum err_code
see(void *ctx, const struct batch *rows, struct err *err)
{
    struct seen *seen = ctx;

    assert_in_range(rows->rows, 1, STORE_VISIT_ROWS);
    seen->calls++;
    for (size_t row = 0; row < rows->rows; row++) {
        assert_int_equal(batch_get_i64(rows, 0, row), seen->next);
        seen->next += seen->step;
        seen->rows++;
    }
    while (clock_mono_us(clock_system()) < seen->until_us) {
    }
    if (seen->calls == seen->fail_at) {
        return err_set(err, seen->fail_with, "call %u fails", seen->calls);
    }
    return ERR_OK;
}

static void
expect_numbers(struct contract_store *at, const struct store_scan *scan, int64_t first,
               int64_t step, uint64_t count)
{
    struct seen seen = {.next = first, .step = step};
    struct err err = {0};

    if (store_visit(at->store, scan, see, &seen, &err)) {
        fail_msg("visit: %s", err.msg);
    }
    assert_int_equal(seen.rows, count);
}

static void
test_visit_gives_all_rows_in_the_order_of_appending(void **state)
{
    struct contract_store *at = *state;
    struct store_scan scan = contract_all(TABLE_BUDGET_CHANGES);

    expect_numbers(at, &scan, 1, 1, 0);
    put_many(at);
    expect_numbers(at, &scan, 1, 1, MANY);
    assert_int_equal(store_checkpoint(at->store, NULL), ERR_OK);
    expect_numbers(at, &scan, 1, 1, MANY);
    if (at->contract->durable) {
        contract_reopen(at);
        expect_numbers(at, &scan, 1, 1, MANY);
    }
}

static void
test_visit_filters_by_value_time_and_least_number(void **state)
{
    struct contract_store *at = *state;
    struct slice b = SLICE_LITERAL("b");
    struct slice c = SLICE_LITERAL("c");
    struct store_scan scan = contract_all(TABLE_BUDGET_CHANGES);

    put_many(at);
    scan.filters[0] = (struct store_filter){"name", &b, 1};
    scan.filter_count = 1;
    expect_numbers(at, &scan, 3, 3, MANY / 3);
    scan.at_least_column = "seq";
    scan.at_least = 99999;
    expect_numbers(at, &scan, 99999, 3, (MANY - 99999) / 3 + 1);
    scan.from_us = MANY - 110000;
    expect_numbers(at, &scan, 99999, 3, (110000 - 99999) / 3 + 1);
    scan.from_us = INT64_MIN;
    scan.to_us = MANY - 110001;
    expect_numbers(at, &scan, 110001, 3, (MANY - 110001) / 3 + 1);
    scan.to_us = INT64_MAX;
    scan.filter_count = 0;
    scan.at_least = MANY;
    expect_numbers(at, &scan, MANY, 1, 1);
    scan.at_least = INT64_MIN;
    expect_numbers(at, &scan, 1, 1, MANY);
    scan.at_least = INT64_MAX;
    expect_numbers(at, &scan, 1, 1, 0);
    scan.at_least_column = NULL;
    scan.filters[0] = (struct store_filter){"name", &c, 1};
    scan.filter_count = 1;
    expect_numbers(at, &scan, 1, 1, 0);
}

static enum err_code
write_down(void *ctx, const struct batch *rows, struct err *err)
{
    (void)err;
    contract_dump(rows, ctx);
    return ERR_OK;
}

/* Fails the test unless the rows of a visit are these. */
static void
expect_visit(struct contract_store *at, const struct store_scan *scan, const char *lines)
{
    struct buf text BUF_AUTO;
    struct err err = {0};

    buf_init(&text, 0);
    if (store_visit(at->store, scan, write_down, &text, &err)) {
        fail_msg("visit: %s", err.msg);
    }
    buf_add_char(&text, '\0');
    assert_string_equal(text.ptr, lines);
}

static void
test_visit_and_scan_leave_columns_out(void **state)
{
    struct contract_store *at = *state;
    struct store_scan scan = contract_all(TABLE_RESERVATION_CHANGES);
    struct slice r2 = SLICE_LITERAL("r2");

    contract_put(at, TABLE_RESERVATION_CHANGES,
                 "1|30|r1|reserve|60.5|-|birdeye|-|-|-|-|-|-|-|-|-\n"
                 "2|20|r2|reserve|1|-|-|-|-|-|-|-|-|-|-|-\n"
                 "3|10|r1|commit|60|-|-|-|-|-|-|-|e1|-|-|-\n");
    scan.column_mask = 1U << 0 | 1U << 4 | 1U << 6;
    expect_visit(at, &scan, "1|60.5|birdeye\n2|1|-\n3|60|-\n");
    contract_expect_scan(at, &scan, "3|60|-\n2|1|-\n1|60.5|birdeye\n");
    scan.column_mask = 1U << 14;
    expect_visit(at, &scan, "-\n-\n-\n");
    /* What narrows need not be among the columns. */
    scan.column_mask = 1U << 3;
    scan.filters[0] = (struct store_filter){"reservation_id", &r2, 1};
    scan.filter_count = 1;
    expect_visit(at, &scan, "reserve\n");
    scan.filter_count = 0;
    scan.at_least_column = "seq";
    scan.at_least = 3;
    expect_visit(at, &scan, "commit\n");
    contract_expect_scan(at, &scan, "commit\n");
    scan.column_mask = 0;
    expect_visit(at, &scan, "3|10|r1|commit|60|-|-|-|-|-|-|-|e1|-|-|-\n");
}

static void
test_bucket_keeps_to_the_least_number(void **state)
{
    struct contract_store *at = *state;
    struct store_bucket bucket = {
        .scan = contract_all(TABLE_BUDGET_CHANGES),
        .aggregates = {{AGG_COUNT, NULL, "n"}, {AGG_MAX, "seq", "seq"}},
        .aggregate_count = 2,
    };

    contract_put(at, TABLE_BUDGET_CHANGES,
                 "1|10|a|reset|-|-|-\n2|11|a|reset|-|-|-\n3|12|a|reset|-|-|-\n");
    bucket.scan.at_least_column = "seq";
    bucket.scan.at_least = 2;
    contract_expect_bucket(at, &bucket, "11|2|3\n");
    /* No double tells these apart. */
    contract_put(at, TABLE_BUDGET_CHANGES,
                 "9223372036854775806|10|a|reset|-|-|-\n9223372036854775807|11|a|reset|-|-|-\n");
    bucket.scan.at_least = INT64_MAX;
    contract_expect_bucket(at, &bucket, "11|1|9223372036854775807\n");
}

static void
test_visit_of_metrics_goes_through_the_view(void **state)
{
    struct contract_store *at = *state;
    struct store_scan scan = contract_all(TABLE_METRICS);

    contract_put(at, TABLE_SERIES, "1|cpu|-|{\"host\":\"b\"}\n");
    contract_put(at, TABLE_SAMPLES, "1|20|1\n9|10|2\n");
    expect_visit(at, &scan, "20|cpu|1|-|{\"host\":\"b\"}\n");
}

static void
test_visit_ends_with_what_the_visitor_says(void **state)
{
    static const enum err_code codes[] = {ERR_BUSY, ERR_CORRUPT, ERR_TIMEOUT, ERR_INTERNAL,
                                          ERR_UNAVAILABLE};
    struct contract_store *at = *state;
    struct store_scan scan = contract_all(TABLE_BUDGET_CHANGES);

    put_many(at);
    for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++) {
        struct seen seen = {.next = 1, .step = 1, .fail_at = 2, .fail_with = codes[i]};
        struct err err = {0};
        assert_int_equal(store_visit(at->store, &scan, see, &seen, &err), codes[i]);
        assert_int_equal(seen.calls, 2);
        assert_true(seen.rows < MANY / 2);
        assert_string_equal(err.msg, "call 2 fails");
    }
    expect_numbers(at, &scan, 1, 1, MANY); /* nothing is left behind */
}

static void
test_visit_keeps_to_its_time_limit(void **state)
{
    struct contract_store *at = *state;
    struct store_scan scan = contract_all(TABLE_BUDGET_CHANGES);
    struct seen seen = {.next = 1, .step = 1};
    struct err err = {0};

    put_many(at);
    scan.column_mask = 1; /* so little that the store may have all of it ready at the first call */
    /* The first call takes all of the time. */
    scan.timeout_ms = 100;
    seen.until_us = clock_mono_us(clock_system()) + INT64_C(150) * 1000;
    assert_int_equal(store_visit(at->store, &scan, see, &seen, &err), ERR_TIMEOUT);
    assert_true(seen.rows < MANY);
    assert_non_null(strstr(err.msg, "timeout"));
}

static void
test_visit_and_scan_refuse_what_makes_no_sense(void **state)
{
    struct contract_store *at = *state;
    struct store_scan scan = contract_all(TABLE_BUDGET_CHANGES);
    struct seen seen = {0};
    struct err err = {0};
    struct batch rows;

    scan.at_least_column = "sec";
    assert_int_equal(store_visit(at->store, &scan, see, &seen, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "sec"));
    scan.at_least_column = "name";
    assert_int_equal(store_visit(at->store, &scan, see, &seen, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "name"));
    scan.at_least_column = "credits";
    scan.table = TABLE_RESERVATION_CHANGES;
    assert_int_equal(store_scan(at->store, &scan, &rows, &err), ERR_INVALID);
    scan.table = TABLE_BUDGET_CHANGES;
    scan.at_least_column = NULL;
    scan.column_mask = 1U << 7;
    assert_int_equal(store_visit(at->store, &scan, see, &seen, &err), ERR_INVALID);
    assert_int_equal(store_scan(at->store, &scan, &rows, &err), ERR_INVALID);
    scan.column_mask = 1U << 6;
    assert_int_equal(store_visit(at->store, &scan, see, &seen, &err), ERR_OK);
    scan = contract_all((enum table_id)TABLE_ID_END);
    assert_int_equal(store_visit(at->store, &scan, see, &seen, &err), ERR_NOT_FOUND);
    assert_int_equal(seen.calls, 0);
}

int
contract_run_visit(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_visit_gives_all_rows_in_the_order_of_appending),
        CASE(test_visit_filters_by_value_time_and_least_number),
        CASE(test_visit_and_scan_leave_columns_out),
        CASE(test_bucket_keeps_to_the_least_number),
        CASE(test_visit_of_metrics_goes_through_the_view),
        CASE(test_visit_ends_with_what_the_visitor_says),
        CASE(test_visit_keeps_to_its_time_limit),
        CASE(test_visit_and_scan_refuse_what_makes_no_sense),
    };

    return cmocka_run_group_tests_name("store contract: visit", tests, NULL, NULL);
}
