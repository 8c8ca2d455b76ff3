/* The meter where things become many, large or unlucky. */
#include "meter/meter_testing.h"

#include "codec/utf8.h"
#include "meter/price.h"

enum { MANY = 16000, TEXT_BYTES = 1024, HUGE_COUNT = 12 };

static void
drain_log(struct world *world)
{
    for (int i = 0; i < MANY && world->log.held; i++) {
        fake_log_end(&world->log, ERR_OK);
    }
    assert_null(world->log.held);
}

static struct event
event_of(const char *id, const char *run_id, int64_t credits)
{
    return (struct event){.id = slice_of(id),
                          .api_name = SLICE_LITERAL("birdeye"),
                          .run_id = slice_of(run_id),
                          .has_status = true,
                          .status_code = 200,
                          .success = true,
                          .credits = credits,
                          .timestamp_is_ours = true};
}

static void
set_budget(struct world *world, const char *name, enum budget_dimension dimension, int64_t limit)
{
    struct budget_def def;
    struct told told = {0};

    budget_def_init(&def, name);
    def.has_value[dimension] = true;
    snprintf(def.value[dimension], sizeof(def.value[dimension]), "*");
    def.hard_limit = limit;
    meter_set_budget(world->meter, &def, on_done, &told);
    assert_int_equal(ERR_OK, told.code);
}

/* ---- many and large ---- */

static void
test_many_ends_of_long_reservations_fit_their_records(void **state)
{
    struct world *world = world_new(CREDITS(100));
    static char text[TEXT_BYTES];
    char id[32];

    (void)state;
    memset(text, 'x', sizeof(text));
    world->options.pending_bytes_max = (size_t)256 << 20;
    start(world);
    for (int i = 0; i < MANY; i++) {
        snprintf(id, sizeof(id), "r%d", i);
        struct meter_reserve request = request_of(id, 0);
        request.call.endpoint = slice_make(text, sizeof(text));
        request.call.api_key = request.call.run_id = request.call.project = request.call.endpoint;
        assert_int_equal(ERR_OK, send_reserve(world, &request)->code);
    }
    world->log.mode = FAKE_LOG_HELD;
    clock_manual_advance(&world->clock, (METER_TTL_MS_DEFAULT + 1) * TIME_US_PER_MS);
    for (int i = 0; i < MANY / 100; i++) {
        meter_tick(world->meter);
    }
    drain_log(world);
    struct meter_stats stats;
    meter_stats(world->meter, &stats);
    assert_int_equal(0, stats.reservations_open);
    assert_int_equal(MANY, stats.expired);
    world_free(world);
}

static void
test_huge_credits_do_not_wrap_round(void **state)
{
    struct world *world = world_new(CREDITS(100));
    struct event events[HUGE_COUNT];
    struct meter_stats stats;
    char id[HUGE_COUNT][16];
    int held = 0;

    (void)state;
    world->options.default_budget.mode = BUDGET_METRICS_ONLY;
    start(world);
    for (int i = 0; i < HUGE_COUNT; i++) {
        snprintf(id[i], sizeof(id[i]), "r%d", i);
        held += reserve(world, id[i], DECIMAL_MAX)->code == ERR_OK;
        assert_true(world->told.code == ERR_OK || world->told.code == ERR_BUSY);
        events[i] = event_of(id[i], "", DECIMAL_MAX);
    }
    assert_in_range(held, 1, HUGE_COUNT);
    for (int i = 0; i < held; i++) {
        meter_extend(world->meter, slice_of(id[i]), 1000, 1, NULL, NULL);
        meter_release(world->meter, slice_of(id[i]), NULL, NULL);
    }
    assert_int_equal(0, look_at(world, "default").reserved);
    assert_int_equal(ERR_OK, append(world, events, HUGE_COUNT, false)->code);
    assert_true(world->told.credits > 0);
    meter_stats(world->meter, &stats);
    assert_true(stats.credits_booked > 0);
    world_free(world);
}

static void
test_repetitions_wait_within_bounds(void **state)
{
    struct world *world = world_new(CREDITS(100));
    struct told told = {0};
    bool busy = false;

    (void)state;
    world->options.pending_bytes_max = 100000;
    start(world);
    reserve(world, "r1", CREDITS(1));
    world->log.mode = FAKE_LOG_HELD;
    reserve(world, "r2", CREDITS(1));
    for (int i = 0; i < 1000 && !busy; i++) {
        told.code = ERR_OK;
        struct meter_reserve request = request_of("r1", CREDITS(1));
        meter_reserve(world->meter, &request, on_done, &told);
        busy = told.code == ERR_BUSY;
    }
    assert_true(busy);
    drain_log(world);
    world_free(world);
}

static void
test_long_values_make_one_counter_that_survives_a_start(void **state)
{
    struct world *world = world_new(CREDITS(1000));
    struct budget_def def;
    struct told told = {0};
    static char run[604];
    struct event event = event_of("e1", run, CREDITS(10));

    (void)state;
    run[0] = 'x';
    for (size_t i = 1; i + 2 < sizeof(run); i += 2) {
        memcpy(run + i, "\xc3\xa9", 2);
    }
    event.project = event.api_key = event.run_id = slice_of(run);
    start(world);
    budget_def_init(&def, "each");
    for (int i = DIM_KEY; i < DIM_COUNT; i++) {
        def.has_value[i] = true;
        snprintf(def.value[i], sizeof(def.value[i]), "*");
    }
    def.hard_limit = CREDITS(10);
    meter_set_budget(world->meter, &def, on_done, &told);
    append(world, &event, 1, false);
    struct seen before = look_at(world, "each");
    assert_int_equal(1, before.count);
    assert_int_equal(BREAKER_OPEN, before.state);
    assert_true(utf8_is_text(slice_of(before.instance)));
    restart(world);
    struct seen after = look_at(world, "each");
    assert_int_equal(1, after.count);
    assert_int_equal(BREAKER_OPEN, after.state);
    assert_string_equal(before.instance, after.instance);
    event.id = SLICE_LITERAL("e2");
    append(world, &event, 1, true);
    assert_true(world->told.refused);
    assert_string_equal(before.instance, world->told.refusal.instance);
    world_free(world);
}

/* ---- what did not happen leaves nothing ---- */

static void
test_a_refused_batch_leaves_the_breaker_alone(void **state)
{
    struct world *world = world_new(CREDITS(100));
    struct event events[2] = {event_of("e1", "", CREDITS(100)), event_of("e2", "", CREDITS(1))};

    (void)state;
    start(world);
    assert_int_equal(ERR_BUSY, append(world, events, 2, true)->code);
    assert_int_equal(0, look_at(world, "default").used);
    assert_int_equal(BREAKER_CLOSED, look_at(world, "default").state);
    assert_int_equal(0, world->log.rows[TABLE_BUDGET_CHANGES].rows);
    world_free(world);
}

static void
test_a_failed_record_leaves_the_breaker_alone(void **state)
{
    struct world *world = world_new(CREDITS(100));
    struct event event = event_of("e1", "", CREDITS(100));

    (void)state;
    start(world);
    world->log.mode = FAKE_LOG_HELD;
    append(world, &event, 1, false);
    fake_log_end(&world->log, ERR_IO);
    world->log.mode = FAKE_LOG_INSTANT;
    assert_int_equal(ERR_UNAVAILABLE, world->told.code);
    assert_int_equal(0, look_at(world, "default").used);
    assert_int_equal(BREAKER_CLOSED, look_at(world, "default").state);
    assert_int_equal(ERR_OK, reserve(world, "r1", CREDITS(1))->code);
    assert_int_equal(ERR_OK, reserve(world, "r2", CREDITS(1))->code);
    world_free(world);
}

static void
test_an_id_is_free_again_when_its_record_failed(void **state)
{
    struct world *world = world_new(CREDITS(100));
    struct event event = event_of("e1", "", CREDITS(1));

    (void)state;
    start(world);
    world->log.mode = FAKE_LOG_FAILING;
    assert_int_not_equal(ERR_OK, append(world, &event, 1, false)->code);
    world->log.mode = FAKE_LOG_INSTANT;
    event.credits = CREDITS(2);
    assert_int_equal(ERR_OK, append(world, &event, 1, false)->code);
    assert_int_equal(1, world->log.rows[TABLE_EVENTS].rows);
    assert_int_equal(CREDITS(2), look_at(world, "default").used);
    world_free(world);
}

static void
commit_behind(void *ctx, const struct batch *batches, size_t count, uint64_t lsn)
{
    struct world *world = ctx;

    (void)batches;
    (void)count;
    (void)lsn;
    if (world->log.rows[TABLE_BUDGET_CHANGES].rows == 1 && world->log.mode == FAKE_LOG_INSTANT) {
        world->log.mode = FAKE_LOG_HELD;
        commit(world, "r1", 0);
    }
}

static void
test_a_new_budget_holds_what_is_reopened(void **state)
{
    struct world *world = world_new(CREDITS(100));

    (void)state;
    world->options.sink = commit_behind;
    world->options.sink_ctx = world;
    start(world);
    reserve(world, "r1", CREDITS(7));
    set_budget(world, "late", DIM_API, CREDITS(10));
    assert_non_null(world->log.held);
    assert_int_equal(0, look_at(world, "late").reserved);
    fake_log_end(&world->log, ERR_IO);
    world->log.mode = FAKE_LOG_INSTANT;
    assert_int_equal(CREDITS(7), look_at(world, "late").reserved);
    assert_int_equal(ERR_BUSY, reserve(world, "r2", CREDITS(4))->code);
    world_free(world);
}

static void
test_a_counter_that_is_held_is_never_taken_away(void **state)
{
    struct world *world = world_new(CREDITS(1000));
    struct meter_reserve request = request_of("r1", 0);

    (void)state;
    world->options.budgets.instances_max = 3;
    start(world);
    set_budget(world, "run", DIM_RUN_ID, CREDITS(10));
    request.call.run_id = SLICE_LITERAL("first");
    assert_int_equal(ERR_OK, send_reserve(world, &request)->code);
    for (int i = 0; i < 8; i++) {
        char run[16];
        char id[16];
        snprintf(run, sizeof(run), "run%d", i);
        snprintf(id, sizeof(id), "o%d", i);
        struct meter_reserve other = request_of(id, 0);
        other.call.run_id = slice_of(run);
        assert_int_equal(ERR_OK, send_reserve(world, &other)->code);
        meter_release(world->meter, slice_of(id), NULL, NULL);
    }
    world->told = (struct told){0};
    meter_extend(world->meter, SLICE_LITERAL("r1"), 1000, CREDITS(11), on_done, &world->told);
    assert_true(world->told.refused);
    world_free(world);
}

/* ---- behind a start ---- */

static void
test_reset_holds_for_each_counter_behind_a_start(void **state)
{
    struct world *world = world_new(CREDITS(1000));
    struct event event = event_of("e1", "r", CREDITS(10));

    (void)state;
    start(world);
    set_budget(world, "run", DIM_RUN_ID, CREDITS(10));
    append(world, &event, 1, false);
    assert_int_equal(BREAKER_OPEN, look_at(world, "run").state);
    clock_manual_advance(&world->clock, 1);
    meter_change_budget(world->meter, "run", "reset", slice_of(""), NULL, NULL);
    assert_int_equal(BREAKER_CLOSED, look_at(world, "run").state);
    restart(world);
    struct seen seen = look_at(world, "run");
    assert_int_equal(BREAKER_CLOSED, seen.state);
    assert_true(seen.count <= 1 && (seen.count == 0 || strcmp(seen.instance, "run_id=r") == 0));
    world_free(world);
}

static void
test_an_old_open_reservation_is_found_behind_a_start(void **state)
{
    struct world *world = world_new(CREDITS(1000));
    struct meter_reserve old = request_of("old", CREDITS(3));
    char id[16];

    (void)state;
    start(world);
    old.ttl_ms = METER_TTL_MS_MAX;
    send_reserve(world, &old);
    /* More rows than are read in any case. */
    for (int i = 0; i < 26000; i++) {
        snprintf(id, sizeof(id), "r%d", i);
        reserve(world, id, 1);
        meter_release(world->meter, slice_of(id), NULL, NULL);
    }
    restart(world);
    assert_int_equal(CREDITS(3), look_at(world, "default").reserved);
    assert_int_equal(ERR_OK, commit(world, "old", CREDITS(2))->code);
    world_free(world);
}

static void
test_price_rules_survive_extend_start_and_repetition(void **state)
{
    struct world *world = world_new(CREDITS(1000));
    struct meter_reserve request = request_of("r1", 0);
    struct prices *prices = NULL;
    struct err err = {0};

    (void)state;
    assert_int_equal(ERR_OK, prices_load_text("t.yaml",
                                              SLICE_LITERAL("book: b\napi: birdeye\nversion: 1\n"
                                                            "effective_from: 2025-01-01\n"
                                                            "rules: [{name: r, credits: 2}]\n"),
                                              &prices, &err));
    start(world);
    meter_set_prices(world->meter, prices);
    request.has_credits = false;
    assert_int_equal(ERR_OK, send_reserve(world, &request)->code);
    assert_string_not_equal("", world->told.price_rule);
    meter_extend(world->meter, SLICE_LITERAL("r1"), 5000, CREDITS(3), NULL, NULL);
    restart(world);
    meter_set_prices(world->meter, prices);
    assert_int_equal(ERR_OK, commit(world, "r1", -1)->code);
    assert_int_equal(CREDITS(2), world->told.credits);
    assert_string_not_equal("", world->told.price_rule);
    restart(world);
    assert_true(commit(world, "r1", -1)->replayed);
    assert_string_not_equal("", world->told.price_rule);
    request.reservation_id = SLICE_LITERAL("r2");
    meter_set_prices(world->meter, prices);
    send_reserve(world, &request);
    assert_string_equal("", commit(world, "r2", CREDITS(1))->price_rule);
    assert_true(commit(world, "r2", CREDITS(1))->replayed);
    assert_string_equal("", world->told.price_rule);
    prices_unref(prices);
    world_free(world);
}

static void
test_secrets_of_reservations_are_redacted_and_counted_once(void **state)
{
    struct world *world = world_new(CREDITS(1000));
    struct meter_reserve request = request_of("r1", CREDITS(60));
    const struct batch *rows = &world->log.rows[TABLE_RESERVATION_CHANGES];

    (void)state;
    start(world);
    set_budget(world, "path", DIM_ENDPOINT, CREDITS(100));
    request.call.endpoint = SLICE_LITERAL("/v1/price?api_key=SECRETSECRET&x=1");
    request.call.api_key = SLICE_LITERAL("Bearer SECRETSECRETSECRETSECRET");
    assert_int_equal(ERR_OK, send_reserve(world, &request)->code);
    assert_int_equal(ERR_OK, send_reserve(world, &request)->code);
    assert_true(world->told.replayed);
    for (size_t i = 0; i < rows->column_count; i++) {
        struct slice text =
            rows->columns[i].type == COL_TEXT ? batch_get_text(rows, i, 0) : (struct slice){"", 0};
        assert_null(memmem(text.ptr, text.len, "SECRET", 6));
    }
    struct meter_commit request_commit = {.reservation_id = SLICE_LITERAL("r1"),
                                          .has_credits = true,
                                          .credits = CREDITS(60),
                                          .check = {.api_key = request.call.api_key}};
    meter_commit(world->meter, &request_commit, on_done, &world->told);
    assert_int_equal(ERR_OK, world->told.code);
    struct refusal refusal;
    assert_false(meter_check(world->meter, &request.call, CREDITS(60), &refusal));
    request.reservation_id = SLICE_LITERAL("r2");
    assert_int_equal(ERR_BUSY, send_reserve(world, &request)->code);
    world_free(world);
}

static void
test_the_oldest_reservations_are_listed(void **state)
{
    struct world *world = world_new(CREDITS(1000));
    struct meter_open_reservation list[2];
    char id[16];

    (void)state;
    start(world);
    for (int i = 0; i < 9; i++) {
        snprintf(id, sizeof(id), "r%d", i);
        struct meter_reserve request = request_of(id, 0);
        request.ttl_ms = 60000 - 5000 * i;
        send_reserve(world, &request);
        clock_manual_advance(&world->clock, TIME_US_PER_S);
    }
    assert_int_equal(2, meter_reservations(world->meter, list, 2));
    assert_string_equal("r0", list[0].id);
    assert_string_equal("r1", list[1].id);
    world_free(world);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_ends_of_long_reservations_fit_their_records),
        cmocka_unit_test(test_huge_credits_do_not_wrap_round),
        cmocka_unit_test(test_repetitions_wait_within_bounds),
        cmocka_unit_test(test_long_values_make_one_counter_that_survives_a_start),
        cmocka_unit_test(test_a_refused_batch_leaves_the_breaker_alone),
        cmocka_unit_test(test_a_failed_record_leaves_the_breaker_alone),
        cmocka_unit_test(test_an_id_is_free_again_when_its_record_failed),
        cmocka_unit_test(test_an_old_open_reservation_is_found_behind_a_start),
        cmocka_unit_test(test_a_new_budget_holds_what_is_reopened),
        cmocka_unit_test(test_a_counter_that_is_held_is_never_taken_away),
        cmocka_unit_test(test_reset_holds_for_each_counter_behind_a_start),
        cmocka_unit_test(test_price_rules_survive_extend_start_and_repetition),
        cmocka_unit_test(test_secrets_of_reservations_are_redacted_and_counted_once),
        cmocka_unit_test(test_the_oldest_reservations_are_listed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
