/* The contract of apply: what is in a store after groups, and after it was opened again. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "store/contract_private.h"

#define CASE(function) cmocka_unit_test_setup_teardown(function, contract_setup, contract_teardown)

static void
test_apply_keeps_every_type_and_null(void **state)
{
    struct contract_store *at = *state;

    contract_put(at, TABLE_MARKET_DATA,
                 "1000|AAPL|10.5|10.25|10.75|9000000000|7|0.125\n"
                 "1001|MSFT|-|-|-|-|-|-\n");
    contract_put(at, TABLE_SYSTEM_METRICS, "5|1|2|3|4|healthy|6\n6|-|-|-|-|-|-\n");
    contract_expect(at, TABLE_MARKET_DATA,
                    "1000|AAPL|10.5|10.25|10.75|9000000000|7|0.125\n"
                    "1001|MSFT|-|-|-|-|-|-\n");
    contract_expect(at, TABLE_SYSTEM_METRICS, "5|1|2|3|4|healthy|6\n6|-|-|-|-|-|-\n");
}

static void
test_apply_keeps_decimals_exactly(void **state)
{
    struct contract_store *at = *state;
    const char *lines = "1|10|r1|reserve|60.5|-|birdeye|/price|GET|-|-|-|-|-|-|-\n"
                        "2|10|r1|extend|999999999999.999999|20|-|-|-|-|-|-|-|-|-|-\n"
                        "3|10|r2|reserve|-0.000001|-|-|-|-|-|-|-|-|-|-|-\n"
                        "4|10|r3|reserve|-999999999999.999999|-|-|-|-|-|-|-|-|-|-|-\n"
                        "5|10|r4|reserve|-|-|-|-|-|-|-|-|-|-|-|-\n"
                        "6|10|r5|reserve|0|-|-|-|-|-|-|-|-|-|-|-\n";

    contract_put(at, TABLE_RESERVATION_CHANGES, lines);
    contract_expect(at, TABLE_RESERVATION_CHANGES, lines);
    if (at->contract->durable) {
        contract_reopen(at);
        contract_expect(at, TABLE_RESERVATION_CHANGES, lines);
    }
}

static void
test_apply_keeps_odd_values(void **state)
{
    struct contract_store *at = *state;
    int64_t first_us = at->contract->time_min_us ? at->contract->time_min_us : -INT64_MAX;
    char lines[1024];

    snprintf(lines, sizeof(lines), "%" PRId64 "%s", first_us,
             "|a|nan|inf|-inf|-9223372036854775808|-2147483648|-0\n"
             "-62135596800000000|b|1.7976931348623157e+308|5e-324|0.1|1|1|1\n"
             "0||1|1|1|1|1|1\n"
             "1|\xc3\xa9\xe2\x82\xac\xf0\x9f\xa6\x86|1|1|1|9223372036854775807|"
             "2147483647|1\n"
             "2|it's \"quoted\"; -- %s $1 ?|1|1|1|1|1|1\n"
             "253402300799999999|c|1|1|1|1|1|1\n"
             "9223372036854775806|d|1|1|1|1|1|1\n");

    contract_put(at, TABLE_MARKET_DATA, lines);
    struct store_scan scan = contract_all(TABLE_MARKET_DATA);
    struct batch rows;
    struct err err = {0};
    assert_int_equal(store_scan(at->store, &scan, &rows, &err), ERR_OK);
    assert_int_equal(rows.rows, 7);
    assert_true(batch_get_f64(&rows, 2, 0) != batch_get_f64(&rows, 2, 0));
    assert_true(batch_get_f64(&rows, 3, 0) == (double)__builtin_inff());
    assert_true(batch_get_f64(&rows, 4, 0) == -(double)__builtin_inff());
    assert_true(batch_get_i64(&rows, 0, 0) == first_us);
    assert_true(batch_get_i64(&rows, 5, 0) == INT64_MIN);
    assert_true(__builtin_signbit(batch_get_f64(&rows, 7, 0)));
    assert_true(batch_get_f64(&rows, 2, 1) == 1.7976931348623157e+308);
    assert_true(batch_get_f64(&rows, 3, 1) == 5e-324);
    assert_true(batch_get_f64(&rows, 4, 1) == 0.1);
    assert_true(slice_is(batch_get_text(&rows, 1, 2), "") && !batch_is_null(&rows, 1, 2));
    assert_true(slice_is(batch_get_text(&rows, 1, 3), "\xc3\xa9\xe2\x82\xac\xf0\x9f\xa6\x86"));
    assert_true(batch_get_i64(&rows, 5, 3) == INT64_MAX);
    assert_true(slice_is(batch_get_text(&rows, 1, 4), "it's \"quoted\"; -- %s $1 ?"));
    assert_true(batch_get_i64(&rows, 0, 6) == INT64_MAX - 1);
    batch_fini(&rows);
}

static void
test_apply_replaces_a_row_with_the_same_key(void **state)
{
    struct contract_store *at = *state;

    contract_put(at, TABLE_MARKET_DATA, "10|A|1|-|-|1|1|0\n10|B|2|-|-|2|2|0\n");
    contract_put(at, TABLE_MARKET_DATA, "10|A|3|-|-|3|3|0\n");
    contract_expect(at, TABLE_MARKET_DATA, "10|A|3|-|-|3|3|0\n10|B|2|-|-|2|2|0\n");
}

static void
test_apply_lets_the_last_row_of_a_group_win(void **state)
{
    struct contract_store *at = *state;
    struct contract_part parts[] = {
        {TABLE_MARKET_DATA, "10|A|1|-|-|0|0|0\n10|A|2|-|-|0|0|0\n11|A|3|-|-|0|0|0\n"},
        {TABLE_EXECUTION_METRICS, "10|1|1|1|1|1|-|-\n10|2|2|2|2|2|-|-\n"},
        {TABLE_MARKET_DATA, "10|A|4|-|-|0|0|0\n12|A|5|-|-|0|0|0\n11|A|6|-|-|0|0|0\n"},
        {TABLE_MARKET_DATA, "12|A|-|-|-|-|-|-\n"},
    };

    contract_put_group(at, parts, 4);
    contract_expect(at, TABLE_MARKET_DATA,
                    "10|A|4|-|-|0|0|0\n11|A|6|-|-|0|0|0\n12|A|-|-|-|-|-|-\n");
    contract_expect(at, TABLE_EXECUTION_METRICS, "10|2|2|2|2|2|-|-\n");
}

static void
test_apply_places_late_rows(void **state)
{
    struct contract_store *at = *state;

    contract_put(at, TABLE_MARKET_DATA, "10|A|1|-|-|0|0|0\n20|A|2|-|-|0|0|0\n");
    contract_put(at, TABLE_MARKET_DATA,
                 "15|A|3|-|-|0|0|0\n" /* new among old */
                 "10|A|4|-|-|0|0|0\n" /* replaces */
                 "30|A|5|-|-|0|0|0\n" /* in order */
                 "5|B|6|-|-|0|0|0\n"  /* another series starts earlier */
                 "20|A|7|-|-|0|0|0\n"
                 "20|A|8|-|-|0|0|0\n");
    contract_expect(at, TABLE_MARKET_DATA,
                    "5|B|6|-|-|0|0|0\n10|A|4|-|-|0|0|0\n15|A|3|-|-|0|0|0\n20|A|8|-|-|0|0|0\n"
                    "30|A|5|-|-|0|0|0\n");
}

static void
test_apply_keeps_null_apart_from_the_empty_text(void **state)
{
    struct contract_store *at = *state;

    contract_put(at, TABLE_SYSTEM_METRICS, "1|1|-|-|-|-|1\n2|1|-|-|-||1\n");
    contract_put(at, TABLE_SYSTEM_METRICS, "1|2|-|-|-||1\n");
    contract_expect(at, TABLE_SYSTEM_METRICS, "1|2|-|-|-||1\n2|1|-|-|-||1\n");
}

static void
test_apply_replaces_trades_by_their_id(void **state)
{
    struct contract_store *at = *state;

    contract_put(at, TABLE_TRADES, "t1|100|A|buy|1|10|-|-|-\nt2|101|A|sell|2|11|0.5|0.25|s\n");
    contract_put(at, TABLE_TRADES,
                 "t1|50|B|buy|3|12|-|-|-\nt3|102|A|buy|4|13|-|-|-\n"
                 "t3|103|A|buy|5|14|-|-|-\n");
    contract_expect(at, TABLE_TRADES,
                    "t1|50|B|buy|3|12|-|-|-\nt2|101|A|sell|2|11|0.5|0.25|s\n"
                    "t3|103|A|buy|5|14|-|-|-\n");
}

static void
test_apply_only_adds_samples(void **state)
{
    struct contract_store *at = *state;

    contract_put(at, TABLE_SAMPLES, "1|10|1.5\n1|10|1.5\n2|5|2\n");
    contract_put(at, TABLE_SAMPLES, "1|9|1\n");
    contract_expect(at, TABLE_SAMPLES, "2|5|2\n1|9|1\n1|10|1.5\n1|10|1.5\n");
}

static void
test_apply_keeps_a_series_once(void **state)
{
    struct contract_store *at = *state;
    struct contract_part parts[] = {
        {TABLE_SERIES, "1|cpu|-|{\"host\":\"a\"}\n2|price|A|-\n1|cpu|-|{\"host\":\"a\"}\n"},
        {TABLE_SAMPLES, "1|10|0.5\n2|10|99\n"},
        {TABLE_SERIES, "2|price|A|-\n"},
    };

    contract_put_group(at, parts, 3);
    contract_put(at, TABLE_SERIES, "2|price|A|-\n3|cpu|-|-\n");
    contract_expect(at, TABLE_SERIES, "1|cpu|-|{\"host\":\"a\"}\n2|price|A|-\n3|cpu|-|-\n");
    contract_expect(at, TABLE_METRICS, "10|cpu|0.5|-|{\"host\":\"a\"}\n10|price|99|A|-\n");
}

static void
test_apply_ignores_a_group_that_is_applied(void **state)
{
    struct contract_store *at = *state;
    struct contract_part part = {TABLE_SAMPLES, "1|10|1\n"};

    contract_put(at, TABLE_SAMPLES, "1|10|1\n");
    assert_int_equal(contract_try_group(at, 1, 1, &part, 1, NULL), ERR_OK);
    contract_put(at, TABLE_SAMPLES, "1|11|1\n");
    assert_int_equal(contract_try_group(at, 1, 2, &part, 1, NULL), ERR_OK);
    contract_expect(at, TABLE_SAMPLES, "1|10|1\n1|11|1\n");
    assert_int_equal(store_applied_lsn(at->store), 2);
}

static void
test_apply_refuses_a_group_that_is_applied_in_part(void **state)
{
    struct contract_store *at = *state;
    struct contract_part part = {TABLE_SAMPLES, "1|10|1\n"};
    struct err err = {0};

    contract_put(at, TABLE_SAMPLES, "1|10|1\n");
    assert_int_equal(contract_try_group(at, 1, 2, &part, 1, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "in part"));
    contract_expect(at, TABLE_SAMPLES, "1|10|1\n");
    assert_int_equal(store_applied_lsn(at->store), 1);
}

static void
test_apply_moves_the_applied_lsn_with_gaps_and_without_rows(void **state)
{
    struct contract_store *at = *state;
    struct contract_part part = {TABLE_SAMPLES, "1|10|1\n"};

    assert_int_equal(store_applied_lsn(at->store), 0);
    assert_int_equal(contract_try_group(at, 7, 9, &part, 1, NULL), ERR_OK);
    assert_int_equal(store_applied_lsn(at->store), 9);
    assert_int_equal(contract_try_group(at, 10, 12, NULL, 0, NULL), ERR_OK);
    assert_int_equal(store_applied_lsn(at->store), 12);
    part.lines = "";
    assert_int_equal(contract_try_group(at, 1ULL << 40, 1ULL << 41, &part, 1, NULL), ERR_OK);
    assert_int_equal(store_applied_lsn(at->store), 1ULL << 41);
    contract_expect(at, TABLE_SAMPLES, "1|10|1\n");
}

static void
test_apply_takes_nothing_of_a_group_that_is_refused(void **state)
{
    struct contract_store *at = *state;
    struct contract_part parts[] = {
        {TABLE_SERIES, "1|cpu|-|-\n"},
        {TABLE_SAMPLES, "1|10|1\n"},
        {TABLE_METRICS, "10|cpu|1|-|-\n"},
    };

    assert_int_equal(contract_try_group(at, 1, 1, parts, 3, NULL), ERR_INVALID);
    contract_expect(at, TABLE_SAMPLES, "");
    assert_int_equal(store_applied_lsn(at->store), 0);
    contract_put_group(at, parts, 2);
    contract_expect(at, TABLE_METRICS, "10|cpu|1|-|-\n");
}

static void
test_apply_takes_large_groups(void **state)
{
    struct contract_store *at = *state;
    enum { ROWS = 10000, BATCHES = 3 };
    struct batch batches[BATCHES];
    struct store_group group = {
        .first_lsn = 1, .last_lsn = 3, .batch_count = BATCHES, .batches = batches};
    char symbol[16];

    for (int i = 0; i < BATCHES; i++) {
        batch_init(&batches[i], catalog_table(TABLE_MARKET_DATA), 1 << 20);
        for (int j = 0; j < ROWS; j++) {
            size_t row = batch_add_row(&batches[i]);
            snprintf(symbol, sizeof(symbol), "S%d", j % 100);
            batch_set_i64(&batches[i], 0, row, i * ROWS + j);
            batch_set_text(&batches[i], 1, row, batch_keep_text(&batches[i], slice_of(symbol)));
            if (j % 7 != 0) {
                batch_set_f64(&batches[i], 2, row, 1);
            }
        }
    }
    assert_int_equal(store_apply(at->store, &group, NULL), ERR_OK);
    for (int i = 0; i < BATCHES; i++) {
        batch_fini(&batches[i]);
    }
    struct store_bucket bucket = {
        .scan = contract_all(TABLE_MARKET_DATA),
        .aggregates = {{AGG_COUNT, NULL, "n"}, {AGG_COUNT, "last_price", "m"}},
        .aggregate_count = 2,
    };
    contract_expect_bucket(at, &bucket, "0|30000|25713\n");
}

/* Rows by key, the simple way. */
struct model {
    int64_t time_us;
    int symbol;
    int64_t value;
    bool used;
};

static int
compare_models(const void *left, const void *right)
{
    const struct model *a = left;
    const struct model *b = right;

    return a->time_us != b->time_us ? (a->time_us < b->time_us ? -1 : 1) : a->symbol - b->symbol;
}

enum { MODEL_SYMBOLS = 4, MODEL_TIMES = 25, MODEL_ROWS = MODEL_SYMBOLS * MODEL_TIMES };

static void
expect_models(struct contract_store *at, const struct model *models)
{
    struct model sorted[MODEL_ROWS];
    struct buf text BUF_AUTO;

    buf_init(&text, 0);
    memcpy(sorted, models, sizeof(sorted));
    qsort(sorted, MODEL_ROWS, sizeof(*sorted), compare_models);
    for (size_t i = 0; i < MODEL_ROWS; i++) {
        if (sorted[i].used) {
            buf_add_fmt(&text, "%" PRId64 "|S%d|-|-|-|%" PRId64 "|-|-\n", sorted[i].time_us,
                        sorted[i].symbol, sorted[i].value);
        }
    }
    buf_add_char(&text, '\0');
    contract_expect(at, TABLE_MARKET_DATA, text.ptr);
}

static void
test_apply_agrees_with_a_simple_model(void **state)
{
    struct contract_store *at = *state;
    struct model models[MODEL_ROWS] = {{0}};
    struct rng rng;

    rng_init(&rng, 42);
    for (int group = 0; group < 60; group++) {
        struct buf lines BUF_AUTO;
        buf_init(&lines, 0);
        for (uint64_t n = rng_below(&rng, 12); n > 0; n--) {
            int symbol = (int)rng_below(&rng, MODEL_SYMBOLS);
            int64_t time_us = (int64_t)rng_below(&rng, MODEL_TIMES);
            int64_t value = (int64_t)rng_below(&rng, 1000000);
            models[(int64_t)symbol * MODEL_TIMES + time_us] =
                (struct model){time_us, symbol, value, true};
            buf_add_fmt(&lines, "%" PRId64 "|S%d|-|-|-|%" PRId64 "|-|-\n", time_us, symbol, value);
        }
        buf_add_char(&lines, '\0');
        contract_put(at, TABLE_MARKET_DATA, lines.ptr);
        if (group % 10 == 9) {
            assert_int_equal(store_checkpoint(at->store, NULL), ERR_OK);
            if (at->contract->durable) {
                contract_reopen(at);
            }
            expect_models(at, models);
        }
    }
}

static void
test_store_has_its_rows_when_it_is_opened_again(void **state)
{
    struct contract_store *at = *state;
    struct contract_part parts[] = {
        {TABLE_MARKET_DATA, "10|A|1|-|-|0|0|0\n20|A|2|-|-|0|0|0\n"},
        {TABLE_TRADES, "t1|100|A|buy|1|10|-|-|-\n"},
        {TABLE_SERIES, "1|cpu|-|-\n"},
        {TABLE_SAMPLES, "1|10|1\n"},
    };

    contract_put_group(at, parts, 4);
    contract_reopen(at);
    if (!at->contract->durable) {
        contract_expect(at, TABLE_MARKET_DATA, "");
        assert_int_equal(store_applied_lsn(at->store), 0);
        return;
    }
    assert_int_equal(store_applied_lsn(at->store), 1);
    contract_put(at, TABLE_MARKET_DATA, "20|A|3|-|-|0|0|0\n21|A|4|-|-|0|0|0\n");
    contract_put(at, TABLE_TRADES, "t1|101|A|buy|2|10|-|-|-\n");
    contract_put(at, TABLE_SERIES, "1|cpu|-|-\n2|mem|-|-\n");
    contract_reopen(at);
    contract_expect(at, TABLE_MARKET_DATA,
                    "10|A|1|-|-|0|0|0\n20|A|3|-|-|0|0|0\n21|A|4|-|-|0|0|0\n");
    contract_expect(at, TABLE_TRADES, "t1|101|A|buy|2|10|-|-|-\n");
    contract_expect(at, TABLE_METRICS, "10|cpu|1|-|-\n");
    assert_int_equal(store_applied_lsn(at->store), 4);
}

static void
test_store_counts_what_it_applied(void **state)
{
    struct contract_store *at = *state;
    struct store_stats stats;

    contract_put(at, TABLE_MARKET_DATA, "10|A|1|-|-|0|0|0\n20|A|2|-|-|0|0|0\n");
    contract_put(at, TABLE_MARKET_DATA, "20|A|3|-|-|0|0|0\n");
    store_stats(at->store, &stats);
    assert_string_equal(stats.type, at->contract->name);
    assert_int_equal(stats.applied_lsn, 2);
    assert_int_equal(stats.groups, 2);
    assert_int_equal(stats.rows, 3);
    assert_int_equal(stats.late_rows, 1);
    assert_true(stats.size_bytes > 0);
    assert_true(stats.memory_limit_bytes > 0 || at->contract->remote);
}

int
contract_run_apply(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_apply_keeps_every_type_and_null),
        CASE(test_apply_keeps_decimals_exactly),
        CASE(test_apply_keeps_odd_values),
        CASE(test_apply_replaces_a_row_with_the_same_key),
        CASE(test_apply_lets_the_last_row_of_a_group_win),
        CASE(test_apply_places_late_rows),
        CASE(test_apply_keeps_null_apart_from_the_empty_text),
        CASE(test_apply_replaces_trades_by_their_id),
        CASE(test_apply_only_adds_samples),
        CASE(test_apply_keeps_a_series_once),
        CASE(test_apply_ignores_a_group_that_is_applied),
        CASE(test_apply_refuses_a_group_that_is_applied_in_part),
        CASE(test_apply_moves_the_applied_lsn_with_gaps_and_without_rows),
        CASE(test_apply_takes_nothing_of_a_group_that_is_refused),
        CASE(test_apply_takes_large_groups),
        CASE(test_apply_agrees_with_a_simple_model),
        CASE(test_store_has_its_rows_when_it_is_opened_again),
        CASE(test_store_counts_what_it_applied),
    };

    return cmocka_run_group_tests_name("store contract: apply", tests, NULL, NULL);
}
