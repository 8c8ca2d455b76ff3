/* Tests of the spend part: what entries of the event log do to it, and the JSON that comes of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/json_write.h"
#include "live/live.h"

/* 2026-01-02T03:04:05 UTC. */
#define NOW_US INT64_C(1767323045000000)
#define SECOND_US INT64_C(1000000)

#define ONLY_SPEND (1U << LIVE_SPEND)

struct fixture {
    struct clock_manual clock;
    struct live *live;
    struct buf json;
    struct batch batch;
    uint64_t lsn;
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    clock_manual_init(&f->clock, NOW_US);
    live_open(&(struct live_options){.clock = &f->clock.clock}, &f->live);
    buf_init(&f->json, 0);
    batch_init(&f->batch, catalog_table(TABLE_EVENTS), 1 << 20);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    live_close(f->live);
    batch_fini(&f->batch);
    buf_fini(&f->json);
    free(f);
    return 0;
}

static size_t
column(const struct fixture *f, const char *name)
{
    int index = batch_column_index(&f->batch, slice_of(name));

    assert_true(index >= 0);
    return (size_t)index;
}

static void
put_text(struct fixture *f, const char *name, const char *text)
{
    batch_set_text(&f->batch, column(f, name), f->batch.rows - 1,
                   batch_keep_text(&f->batch, slice_of(text)));
}

static void
add_event(struct fixture *f, int64_t seq, int64_t micro_credits)
{
    char id[32];
    size_t row = batch_add_row(&f->batch);

    snprintf(id, sizeof(id), "e%lld", (long long)seq);
    put_text(f, "id", id);
    put_text(f, "api_name", "birdeye");
    put_text(f, "endpoint", "/defi/ohlcv");
    batch_set_i64(&f->batch, column(f, "timestamp"), row, NOW_US + seq * SECOND_US);
    batch_set_bool(&f->batch, column(f, "success"), row, true);
    batch_set_f64(&f->batch, column(f, "latency_ms"), row, 12.5);
    batch_set_i64(&f->batch, column(f, "credits_cost"), row, micro_credits);
    batch_set_i64(&f->batch, column(f, "seq"), row, seq);
}

static void
commit(struct fixture *f)
{
    live_update(f->live, &f->batch, 1, ++f->lsn);
    batch_reset(&f->batch);
}

static const char *
spend(struct fixture *f)
{
    buf_reset(&f->json);
    live_part(f->live, LIVE_SPEND, &f->json);
    buf_add_char(&f->json, '\0');
    return f->json.ptr;
}

static const char *
snapshot(struct fixture *f, uint32_t mask)
{
    buf_reset(&f->json);
    live_snapshot(f->live, mask, true, &f->json);
    buf_add_char(&f->json, '\0');
    return f->json.ptr;
}

static void
assert_has(const char *json, const char *wanted)
{
    if (!strstr(json, wanted)) {
        fail_msg("%s\nis not in\n%s", wanted, json);
    }
}

static void
assert_lacks(const char *json, const char *unwanted)
{
    if (strstr(json, unwanted)) {
        fail_msg("%s\nis in\n%s", unwanted, json);
    }
}

static void
test_spend_is_empty_without_events_and_source(void **state)
{
    assert_string_equal(
        spend(*state),
        "{\"reserved\":0,\"budgets\":[],\"events\":0,\"credits_total\":0,\"recent\":[]}");
}

static void
test_spend_is_in_a_snapshot_only_when_asked_for(void **state)
{
    struct fixture *f = *state;

    add_event(f, 1, 60000000);
    commit(f);
    assert_lacks(snapshot(f, LIVE_TOPICS_DEFAULT), "spend");
    assert_lacks(snapshot(f, LIVE_TOPICS_DEFAULT), "e1");
    assert_has(snapshot(f, ONLY_SPEND), "\"spend\":{\"reserved\":0,");
    assert_lacks(snapshot(f, ONLY_SPEND), "market_data");
    assert_has(snapshot(f, ONLY_SPEND | LIVE_TOPICS_DEFAULT), "\"market_data\":{");
    assert_has(snapshot(f, ONLY_SPEND | LIVE_TOPICS_DEFAULT), "\"id\":\"e1\"");
}

static void
test_spend_shows_an_event_with_all_its_fields(void **state)
{
    struct fixture *f = *state;

    add_event(f, 1, 500000);
    commit(f);
    assert_has(spend(f), "\"recent\":[{\"id\":\"e1\",\"timestamp\":\"2026-01-02T03:04:06\","
                         "\"api_name\":\"birdeye\",\"endpoint\":\"/defi/ohlcv\","
                         "\"status_code\":null,\"success\":true,\"latency_ms\":12.5,"
                         "\"credits\":0.5,\"run_id\":null}]}");
    add_event(f, 2, 60000000);
    put_text(f, "run_id", "run \"1\"");
    batch_set_i32(&f->batch, column(f, "status_code"), 0, 429);
    batch_set_bool(&f->batch, column(f, "success"), 0, false);
    commit(f);
    assert_has(spend(f), "\"status_code\":429,\"success\":false,\"latency_ms\":12.5,"
                         "\"credits\":60,\"run_id\":\"run \\\"1\\\"\"},{\"id\":\"e1\"");
}

static void
test_spend_keeps_the_last_twenty_of_the_log(void **state)
{
    struct fixture *f = *state;
    const char *json;

    for (int64_t seq = 1; seq <= LIVE_RECENT_EVENTS + 3; seq++) {
        add_event(f, seq, 1000000);
        if (seq % 5 == 0) {
            commit(f);
        }
    }
    commit(f);
    json = spend(f);
    assert_has(json, "\"events\":23,\"credits_total\":23,\"recent\":[{\"id\":\"e23\"");
    assert_lacks(json, "\"id\":\"e3\"");
    assert_has(json, "{\"id\":\"e5\"");
    assert_true(strstr(json, "\"e23\"") < strstr(json, "\"e22\""));
    assert_true(strstr(json, "\"e5\"") < strstr(json, "\"e4\""));
}

/* What was stored before the start is shown but not counted, and does not show twice. */
static void
test_spend_loads_what_was_stored(void **state)
{
    struct fixture *f = *state;
    const char *json;

    add_event(f, 11, 7000000);
    commit(f);
    for (int64_t seq = 11; seq >= 9; seq--) { /* the store gives the newest first */
        add_event(f, seq, 1000000);
    }
    live_load(f->live, TABLE_EVENTS, &f->batch);
    json = spend(f);
    assert_has(json, "\"events\":1,\"credits_total\":7,\"recent\":[{\"id\":\"e11\"");
    assert_has(json, "\"credits\":7,\"run_id\":null},{\"id\":\"e10\"");
    assert_has(json, "{\"id\":\"e9\"");
    assert_null(strstr(strstr(json, "\"e11\"") + 1, "\"e11\""));
}

static void
test_spend_counts_corrections_and_stops_at_the_largest_sum(void **state)
{
    struct fixture *f = *state;

    add_event(f, 1, 60000000);
    add_event(f, 2, -59999999);
    commit(f);
    assert_has(spend(f), "\"credits_total\":0.000001,");
    add_event(f, 3, INT64_MAX);
    commit(f);
    assert_has(spend(f), "\"credits_total\":9223372036854.775807,");
}

static void
test_spend_leaves_out_texts_that_are_too_long(void **state)
{
    struct fixture *f = *state;
    struct live_stats stats;
    char longest[1024 + 1] = {0};
    char too_long[1024 + 2] = {0};

    memset(longest, 'a', sizeof(longest) - 1);
    memset(too_long, 'b', sizeof(too_long) - 1);
    add_event(f, 1, 1000000);
    put_text(f, "endpoint", longest);
    add_event(f, 2, 1000000);
    put_text(f, "endpoint", too_long);
    commit(f);
    assert_has(spend(f), "\"credits_total\":2,\"recent\":[{\"id\":\"e1\"");
    assert_has(spend(f), longest);
    live_stats(f->live, &stats);
    assert_int_equal(stats.refused, 1);
}

static void
write_budgets(void *ctx, struct json_writer *json)
{
    struct fixture *f = ctx;

    /* The lock is free: a source may wait for threads that use the live state. */
    assert_true(live_is_fresh(f->live, LIVE_SPEND, SECOND_US) || f->lsn == 0);
    json_key(json, "reserved");
    json_i64(json, 120);
    json_key(json, "budgets");
    json_array_begin(json);
    json_cstr(json, "hour");
    json_array_end(json);
}

static void
test_spend_takes_budgets_from_its_source(void **state)
{
    struct fixture *f = *state;

    live_set_spend(f->live, write_budgets, f);
    assert_has(snapshot(f, ONLY_SPEND), "\"spend\":{\"reserved\":120,\"budgets\":[\"hour\"],"
                                        "\"events\":0,\"credits_total\":0,\"recent\":[]}");
    assert_has(spend(f), "{\"reserved\":120,\"budgets\":[\"hour\"],\"events\":0,");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_spend_is_empty_without_events_and_source, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_spend_is_in_a_snapshot_only_when_asked_for, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_spend_shows_an_event_with_all_its_fields, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_spend_keeps_the_last_twenty_of_the_log, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_spend_loads_what_was_stored, setup, teardown),
        cmocka_unit_test_setup_teardown(test_spend_counts_corrections_and_stops_at_the_largest_sum,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_spend_leaves_out_texts_that_are_too_long, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_spend_takes_budgets_from_its_source, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
