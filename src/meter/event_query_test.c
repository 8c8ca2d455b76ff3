#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "meter/log_testing.h"

#define HOUR_US INT64_C(3600000000)

static const struct event_filter any = {.from_us = INT64_MIN, .to_us = INT64_MAX};

/* Seven entries; the fifth is late, the last corrects the first. */
static void
fill(struct engine *engine)
{
    const struct event events[] = {
        {.id = slice_of("e1"),
         .timestamp_us = LOG_TESTING_US,
         .api_name = slice_of("birdeye"),
         .endpoint = slice_of("/ohlcv"),
         .has_status = true,
         .status_code = 200,
         .success = true,
         .latency_ms = 10,
         .credits = 120000000,
         .run_id = slice_of("r1"),
         .api_key = slice_of("key-1"),
         .project = slice_of("p1")},
        {.id = slice_of("e2"),
         .timestamp_us = LOG_TESTING_US + HOUR_US,
         .api_name = slice_of("birdeye"),
         .endpoint = slice_of("/price"),
         .has_status = true,
         .status_code = 503,
         .latency_ms = 30,
         .run_id = slice_of("r1"),
         .error_message = slice_of("down")},
        {.id = slice_of("e3"),
         .timestamp_us = LOG_TESTING_US + HOUR_US + 1,
         .api_name = slice_of("birdeye"),
         .endpoint = slice_of("/price"),
         .has_status = true,
         .status_code = 599,
         .latency_ms = 20,
         .run_id = slice_of("r2")},
        {.id = slice_of("e4"),
         .timestamp_us = LOG_TESTING_US + 2 * HOUR_US,
         .api_name = slice_of("helius"),
         .endpoint = slice_of("/rpc"),
         .method = slice_of("POST"),
         .latency_ms = 1000,
         .error_message = slice_of("timeout"),
         .api_key = slice_of("key-2")},
        {.id = slice_of("e5"),
         .timestamp_us = LOG_TESTING_US - 24 * HOUR_US,
         .api_name = slice_of("helius"),
         .endpoint = slice_of("/rpc"),
         .has_status = true,
         .status_code = 200,
         .success = true,
         .latency_ms = 40,
         .credits = 1,
         .reservation_id = slice_of("res-1"),
         .project = slice_of("p2")},
        {.id = slice_of("e'6"),
         .timestamp_us = LOG_TESTING_US + 3 * HOUR_US,
         .api_name = slice_of("Api \"x\"; DROP"),
         .endpoint = slice_of("/?a=%s"),
         .has_status = true,
         .status_code = 404,
         .latency_ms = 2},
        {.id = slice_of("e7"),
         .timestamp_us = LOG_TESTING_US + HOUR_US,
         .api_name = slice_of("birdeye"),
         .endpoint = slice_of("/ohlcv"),
         .success = true,
         .credits = -20500000,
         .corrects = slice_of("e1")},
    };

    log_testing_append(engine, events, 4);
    log_testing_append(engine, events + 4, 3);
}

static int
setup(void **state)
{
    *state = log_testing_open(store_duckdb_open);
    return 0;
}

static int
teardown(void **state)
{
    log_testing_close(*state);
    return 0;
}

/* The ids of a page and its cursor, "e2 e1 |0". */
static void
assert_page(struct engine *engine, struct event_page page, const char *wanted)
{
    char text[256] = "";
    struct batch rows;
    uint64_t cursor = 99;
    struct err err = {.msg = ""};

    page.limit = page.limit ? page.limit : 100;
    if (event_page(engine, &page, &rows, &cursor, &err)) {
        fail_msg("%s", err.msg);
    }
    for (size_t row = 0; row < rows.rows; row++) {
        size_t len = strlen(text);
        snprintf(text + len, sizeof(text) - len, "%.*s ",
                 SLICE_FMT(batch_get_text(&rows, EVENT_ID, row)));
    }
    snprintf(text + strlen(text), 32, "|%d", (int)cursor);
    assert_string_equal(text, wanted);
    batch_fini(&rows);
}

static void
test_page_filters(void **state)
{
    struct engine *engine = *state;

    assert_page(engine, (struct event_page){.filter = any}, "|0");
    fill(engine);
    assert_page(engine, (struct event_page){.filter = any}, "e7 e'6 e5 e4 e3 e2 e1 |0");
#define FILTERED(wanted, ...)                                                                      \
    assert_page(                                                                                   \
        engine,                                                                                    \
        (struct event_page){.filter = {.from_us = INT64_MIN, .to_us = INT64_MAX, __VA_ARGS__}},    \
        wanted)
    FILTERED("e'6 |0", .id = slice_of("e'6"));
    FILTERED("|0", .id = slice_of("' OR 1=1 --"));
    FILTERED("e5 e4 |0", .api_name = slice_of("helius"));
    FILTERED("e'6 |0", .api_name = slice_of("Api \"x\"; DROP"));
    FILTERED("e3 e2 |0", .endpoint = slice_of("/price"));
    FILTERED("e4 |0", .method = slice_of("POST"));
    FILTERED("e2 e1 |0", .run_id = slice_of("r1"));
    FILTERED("e4 |0", .api_key = slice_of("key-2"));
    FILTERED("e5 |0", .project = slice_of("p2"));
    FILTERED("e7 |0", .corrects = slice_of("e1"));
    FILTERED("e5 |0", .reservation_id = slice_of("res-1"));
    FILTERED("e7 e5 e1 |0", .has_success = 1);
    FILTERED("e'6 e4 e3 e2 |0", .has_success = -1);
    FILTERED("e3 e2 |0", .status_min = 500, .status_max = 599);
    FILTERED("e2 |0", .status_min = 503, .status_max = 503);
    FILTERED("e5 e1 |0", .status_max = 299);
    FILTERED("e7 e4 |0", .status_min = -1, .status_max = -1);
    FILTERED("e2 |0", .api_name = slice_of("birdeye"), .has_success = -1, .run_id = slice_of("r1"));
#undef FILTERED
    assert_page(engine,
                (struct event_page){
                    .filter = {.from_us = LOG_TESTING_US, .to_us = LOG_TESTING_US + HOUR_US}},
                "e7 e2 e1 |0");
    assert_page(engine, (struct event_page){.filter = {.from_us = INT64_MAX, .to_us = INT64_MAX}},
                "|0");
}

static void
test_page_by_page(void **state)
{
    struct engine *engine = *state;
    struct event_page page = {.filter = any, .limit = 3};

    fill(engine);
    assert_page(engine, page, "e7 e'6 e5 |5");
    page.cursor = 5;
    log_testing_append(engine, &(struct event){.id = slice_of("e8")}, 1); /* moves nothing */
    assert_page(engine, page, "e4 e3 e2 |2");
    page.cursor = 2;
    assert_page(engine, page, "e1 |0");
    page.cursor = 1;
    assert_page(engine, page, "|0");
    page = (struct event_page){.filter = any, .limit = 4, .oldest_first = true};
    assert_page(engine, page, "e1 e2 e3 e4 |4");
    page.cursor = 4;
    assert_page(engine, page, "e5 e'6 e7 e8 |0");
    page.cursor = UINT64_MAX;
    assert_page(engine, page, "|0");
}

/* Pages of a log much longer than what is looked at first. */
static void
test_page_of_a_long_log(void **state)
{
    enum { MANY = 60000 };
    struct engine *engine = *state;
    struct event *events = calloc(MANY, sizeof(*events));
    struct event_page page = {.filter = any, .limit = 2};

    for (size_t i = 0; i < MANY; i++) {
        events[i] = (struct event){.id = slice_of(i == 10      ? "x"
                                                  : i == 59000 ? "y"
                                                               : "z"),
                                   .timestamp_us = LOG_TESTING_US + (int64_t)i};
    }
    log_testing_append(engine, events, MANY);
    page.filter.id = slice_of("x");
    assert_page(engine, page, "x |0");
    page.oldest_first = true;
    page.filter.id = slice_of("y");
    assert_page(engine, page, "y |0");
    page.filter = any;
    assert_page(engine, page, "z z |2");
    page.oldest_first = false;
    page.cursor = 59002;
    assert_page(engine, page, "y z |59000");
    free(events);
}

static void
test_page_has_all_columns(void **state)
{
    struct engine *engine = *state;
    struct event_page page = {.filter = any, .limit = 1, .oldest_first = true};
    struct event event;
    struct batch rows;
    uint64_t cursor;
    struct err err;

    fill(engine);
    assert_int_equal(event_page(engine, &page, &rows, &cursor, &err), ERR_OK);
    assert_int_equal(rows.column_count, EVENT_COLUMN_COUNT);
    assert_true(event_from_row(&rows, 0, &event));
    assert_int_equal(event.credits, 120000000);
    assert_int_equal(event.seq, 1);
    struct chain_head head = {0};
    uint8_t leaf[EVENT_HASH_BYTES];
    chain_leaf(&event, leaf); /* came back as it was written */
    chain_link(&head, leaf);
    assert_memory_equal(head.hash, event.hash, EVENT_HASH_BYTES);
    batch_fini(&rows);
}

static void
test_page_refuses_bad_questions(void **state)
{
    struct engine *engine = *state;
    struct event_page page = {.filter = any, .limit = 0};
    struct batch rows;
    uint64_t cursor;
    struct err err;

    assert_int_equal(event_page(engine, &page, &rows, &cursor, &err), ERR_INVALID);
    page.limit = 10001;
    assert_int_equal(event_page(engine, &page, &rows, &cursor, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "limit is 10001, expected 1 to 10000"));
    page.limit = 10;
    page.filter.from_us = 2;
    page.filter.to_us = 1;
    assert_int_equal(event_page(engine, &page, &rows, &cursor, &err), ERR_INVALID);
    struct event_stats stats = {.filter = page.filter};
    assert_int_equal(event_stats(engine, &stats, &rows, &err), ERR_INVALID);
}

/* All values of all rows, "a|b|c;". Times are hours since LOG_TESTING_US. */
static void
assert_stats(struct engine *engine, struct event_stats stats, const char *wanted)
{
    char text[2048] = "";
    struct batch rows;
    struct err err = {.msg = ""};

    if (event_stats(engine, &stats, &rows, &err)) {
        fail_msg("%s", err.msg);
    }
    for (size_t row = 0; row < rows.rows; row++) {
        for (size_t i = 0; i < rows.column_count; i++) {
            char *at = text + strlen(text);
            size_t room = sizeof(text) - strlen(text);
            const char *end = i + 1 < rows.column_count ? "|" : ";";
            double value = batch_get_f64(&rows, i, row);
            if (batch_is_null(&rows, i, row)) {
                snprintf(at, room, "-%s", end);
            } else if (rows.columns[i].type == COL_TEXT) {
                snprintf(at, room, "%.*s%s", SLICE_FMT(batch_get_text(&rows, i, row)), end);
            } else if (rows.columns[i].type == COL_TIMESTAMP) {
                snprintf(at, room, "%gh%s", (value - (double)LOG_TESTING_US) / 3.6e9, end);
            } else {
                snprintf(at, room, "%.10g%s", value, end);
            }
        }
    }
    assert_string_equal(text, wanted);
    batch_fini(&rows);
}

static void
test_stats(void **state)
{
    struct engine *engine = *state;

    assert_stats(engine, (struct event_stats){.filter = any}, "0|0|0|0|-|-|-|0;");
    fill(engine);
    assert_stats(engine, (struct event_stats){.filter = any},
                 "7|99.500001|0.3333333333|183.6666667|25|760|952|4;");
    assert_stats(engine, (struct event_stats){.filter = any, .groups = {GROUP_API, GROUP_DAY}},
                 "Api \"x\"; DROP|-3h|1|0|0|2|2|2|2|1;"
                 "birdeye|-3h|4|99.5|0.3333333333|20|20|29|29.8|2;"
                 "helius|-27h|1|1e-06|1|40|40|40|40|0;"
                 "helius|-3h|1|0|0|1000|1000|1000|1000|1;");
    assert_stats(engine,
                 (struct event_stats){.filter = {.from_us = LOG_TESTING_US,
                                                 .to_us = INT64_MAX,
                                                 .api_name = slice_of("birdeye")},
                                      .groups = {GROUP_HOUR, GROUP_HOUR},
                                      .no_percentiles = true},
                 "0h|1|120|1|10|-|-|-|0;1h|3|-20.5|0|25|-|-|-|2;");
    assert_stats(engine, (struct event_stats){.filter = any, .groups = {GROUP_NONE, GROUP_RUN_ID}},
                 "r1|2|120|0.5|20|20|29|29.8|1;r2|1|0|0|20|20|20|20|1;"
                 "-|4|-20.499999|0.3333333333|347.3333333|40|904|980.8|2;");
    assert_stats(engine,
                 (struct event_stats){
                     .filter = any, .groups = {GROUP_KEY, GROUP_PROJECT}, .no_percentiles = true},
                 "key-1|p1|1|120|1|10|-|-|-|0;key-2|-|1|0|0|1000|-|-|-|1;"
                 "-|p2|1|1e-06|1|40|-|-|-|0;-|-|4|-20.5|0|17.33333333|-|-|-|3;");
    /* A group of corrections alone has no calls. */
    assert_stats(
        engine,
        (struct event_stats){
            .filter = {.corrects = slice_of("e1"), .from_us = INT64_MIN, .to_us = INT64_MAX},
            .groups = {GROUP_ENDPOINT}},
        "/ohlcv|1|-20.5|0|0|-|-|-|0;");
}

static void
test_credits_since(void **state)
{
    struct engine *engine = *state;
    int64_t credits = -1;
    struct err err;

    assert_int_equal(event_credits_since(engine, INT64_MIN, &credits, &err), ERR_OK);
    assert_int_equal(credits, 0);
    fill(engine);
    assert_int_equal(event_credits_since(engine, INT64_MIN, &credits, &err), ERR_OK);
    assert_int_equal(credits, 99500001);
    assert_int_equal(event_credits_since(engine, LOG_TESTING_US, &credits, &err), ERR_OK);
    assert_int_equal(credits, 99500000);
    assert_int_equal(event_credits_since(engine, LOG_TESTING_US + 1, &credits, &err), ERR_OK);
    assert_int_equal(credits, -20500000);
}

static void
test_memory_store_speaks_no_sql(void **state)
{
    struct engine *engine = log_testing_open(store_memory_open);
    struct event_page page = {.filter = any, .limit = 1};
    struct event_stats stats = {.filter = any};
    struct batch rows;
    uint64_t cursor;
    int64_t credits;
    struct err err;

    (void)state;
    assert_int_equal(event_page(engine, &page, &rows, &cursor, &err), ERR_UNSUPPORTED);
    assert_int_equal(event_stats(engine, &stats, &rows, &err), ERR_UNSUPPORTED);
    assert_int_equal(event_credits_since(engine, 0, &credits, &err), ERR_UNSUPPORTED);
    log_testing_close(engine);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_page_filters),
        TEST(test_page_by_page),
        TEST(test_page_of_a_long_log),
        TEST(test_page_has_all_columns),
        TEST(test_page_refuses_bad_questions),
        TEST(test_stats),
        TEST(test_credits_since),
        cmocka_unit_test(test_memory_store_speaks_no_sql),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
