/* The meter on a log in memory: what a caller is answered, and what stands in the log for it. */
#include "meter/meter_testing.h"

#include <math.h>

static struct told *
release(struct world *world, const char *id)
{
    world->told = (struct told){0};
    meter_release(world->meter, slice_of(id), on_done, &world->told);
    return &world->told;
}

static struct event
call_event(const char *id, int64_t credits)
{
    return (struct event){.id = slice_of(id),
                          .api_name = SLICE_LITERAL("birdeye"),
                          .endpoint = SLICE_LITERAL("/defi/price"),
                          .has_status = true,
                          .status_code = 200,
                          .success = true,
                          .latency_ms = 5,
                          .credits = credits,
                          .timestamp_is_ours = true};
}

static struct seen
look(struct world *world)
{
    struct seen seen = look_at(world, "default");

    assert_int_equal(1, seen.count);
    return seen;
}

static void
test_reserve_commit_books_the_real_cost(void **state)
{
    struct world *world = world_run(CREDITS(100));

    (void)state;
    assert_int_equal(ERR_OK, reserve(world, "r1", CREDITS(60))->code);
    assert_int_equal(CREDITS(60), look(world).reserved);
    assert_int_equal(ERR_OK, commit(world, "r1", CREDITS(45))->code);
    assert_int_equal(CREDITS(45), look(world).used);
    assert_int_equal(0, look(world).reserved);
    assert_int_equal(1, world->log.rows[TABLE_EVENTS].rows);
    assert_int_equal(2, world->log.rows[TABLE_RESERVATION_CHANGES].rows);
    world_free(world);
}

static void
test_reserve_never_passes_the_limit(void **state)
{
    struct world *world = world_run(CREDITS(100));

    (void)state;
    reserve(world, "r1", CREDITS(60));
    assert_int_equal(ERR_BUSY, reserve(world, "r2", CREDITS(41))->code);
    assert_true(world->told.refused);
    assert_int_equal(REFUSED_WOULD_EXCEED, world->told.refusal.reason);
    assert_int_equal(ERR_OK, reserve(world, "r3", CREDITS(40))->code);
    assert_int_equal(ERR_BUSY, reserve(world, "r4", 1)->code);
    assert_int_equal(REFUSED_NEVER,
                     (reserve(world, "r5", CREDITS(101)), world->told.refusal.reason));
    world_free(world);
}

static void
test_answer_waits_for_the_log(void **state)
{
    struct world *world = world_run(CREDITS(100));

    (void)state;
    world->log.mode = FAKE_LOG_HELD;
    assert_int_equal(0, reserve(world, "r1", CREDITS(60))->calls);
    fake_log_end(&world->log, ERR_OK);
    assert_int_equal(1, world->told.calls);
    assert_int_equal(1, world->told.lsn);
    world->log.mode = FAKE_LOG_INSTANT;
    world_free(world);
}

static void
test_failed_record_undoes_all_that_was_decided(void **state)
{
    struct world *world = world_run(CREDITS(100));
    struct told first;

    (void)state;
    reserve(world, "r0", CREDITS(10));
    world->log.mode = FAKE_LOG_HELD;
    commit(world, "r0", CREDITS(10));
    struct meter_reserve request = {.call = {.api_name = SLICE_LITERAL("birdeye")},
                                    .reservation_id = SLICE_LITERAL("r1"),
                                    .has_credits = true,
                                    .max_credits = CREDITS(50)};
    first = (struct told){0};
    meter_reserve(world->meter, &request, on_done, &first);
    fake_log_end(&world->log, ERR_IO);
    assert_int_equal(ERR_UNAVAILABLE, world->told.code);
    assert_int_equal(1, first.calls);
    assert_int_equal(ERR_UNAVAILABLE, first.code);
    assert_int_equal(0, look(world).used);
    assert_int_equal(CREDITS(10), look(world).reserved);
    world->log.mode = FAKE_LOG_INSTANT;
    assert_int_equal(ERR_OK, commit(world, "r0", CREDITS(10))->code);
    assert_int_equal(ERR_NOT_FOUND, commit(world, "r1", CREDITS(10))->code);
    assert_int_equal(1, world->log.rows[TABLE_EVENTS].rows);
    world_free(world);
}

static void
count_problem(void *ctx, bool is_problem, const char *text)
{
    unsigned *problems = ctx;

    assert_non_null(strstr(text, "nothing was written: the log failed"));
    *problems += is_problem;
}

static void
test_failing_log_is_told_once_a_series(void **state)
{
    struct world *world = world_run(CREDITS(100));
    unsigned problems = 0;

    (void)state;
    meter_close(world->meter);
    world->options.event = count_problem;
    world->options.event_ctx = &problems;
    start(world);
    for (unsigned series = 1; series <= 2; series++) {
        world->log.mode = FAKE_LOG_FAILING;
        for (int i = 0; i < 5; i++) {
            assert_int_equal(ERR_UNAVAILABLE, reserve(world, "r1", CREDITS(10))->code);
            clock_manual_advance(&world->clock, 100000);
        }
        assert_int_equal(series, problems);
        clock_manual_advance(&world->clock, 1000000);
    }
    world->log.mode = FAKE_LOG_INSTANT;
    assert_int_equal(0, look(world).reserved);
    assert_int_equal(ERR_OK, reserve(world, "r1", CREDITS(100))->code);
    world_free(world);
}

static void
test_lease_ends_by_itself(void **state)
{
    struct world *world = world_run(CREDITS(100));

    (void)state;
    reserve(world, "r1", CREDITS(100));
    clock_manual_advance(&world->clock, METER_TTL_MS_DEFAULT * TIME_US_PER_MS - 1);
    meter_tick(world->meter);
    assert_int_equal(CREDITS(100), look(world).reserved);
    clock_manual_advance(&world->clock, 1);
    meter_tick(world->meter);
    assert_int_equal(0, look(world).reserved);
    assert_int_equal(ERR_PRECONDITION, commit(world, "r1", CREDITS(1))->code);
    assert_non_null(strstr(world->told.msg, "POST /api/v1/events"));
    world_free(world);
}

static void
test_closed_reservations_answer_again_or_contradict(void **state)
{
    struct world *world = world_run(CREDITS(1000));
    char event_id[METER_ID_MAX + 1];

    (void)state;
    reserve(world, "r1", CREDITS(10));
    commit(world, "r1", CREDITS(7));
    snprintf(event_id, sizeof(event_id), "%s", world->told.event_id);
    assert_int_equal(ERR_OK, commit(world, "r1", CREDITS(7))->code);
    assert_true(world->told.replayed);
    assert_string_equal(event_id, world->told.event_id);
    assert_int_equal(CREDITS(7), look(world).used);
    assert_int_equal(ERR_CONFLICT, commit(world, "r1", CREDITS(8))->code);
    assert_int_equal(ERR_CONFLICT, release(world, "r1")->code);
    assert_int_equal(ERR_NOT_FOUND, commit(world, "nobody", CREDITS(8))->code);
    reserve(world, "r2", CREDITS(10));
    release(world, "r2");
    assert_int_equal(ERR_OK, release(world, "r2")->code);
    assert_true(world->told.replayed);
    assert_int_equal(ERR_CONFLICT, commit(world, "r2", CREDITS(1))->code);
    world_free(world);
}

static void
test_start_brings_everything_back(void **state)
{
    struct world *world = world_run(CREDITS(100));
    struct chain_head before, after;

    (void)state;
    reserve(world, "r1", CREDITS(20));
    commit(world, "r1", CREDITS(15));
    reserve(world, "r2", CREDITS(30));
    reserve(world, "r3", CREDITS(5));
    release(world, "r3");
    meter_head(world->meter, &before);
    clock_manual_advance(&world->clock, 10 * TIME_US_PER_S);
    restart(world);
    meter_head(world->meter, &after);
    assert_int_equal(before.seq, after.seq);
    assert_memory_equal(before.hash, after.hash, sizeof(before.hash));
    assert_int_equal(CREDITS(15), look(world).used);
    assert_int_equal(CREDITS(30), look(world).reserved);
    assert_int_equal(ERR_OK, commit(world, "r1", CREDITS(15))->code);
    assert_true(world->told.replayed);
    assert_int_equal(ERR_OK, commit(world, "r2", CREDITS(30))->code);
    assert_int_equal(CREDITS(45), look(world).used);
    clock_manual_advance(&world->clock, 61 * MINUTE_US);
    assert_int_equal(0, look(world).used);
    world_free(world);
}

static void
test_lease_is_not_prolonged_by_a_start(void **state)
{
    struct world *world = world_run(CREDITS(100));

    (void)state;
    reserve(world, "r1", CREDITS(100));
    clock_manual_advance(&world->clock, 50 * TIME_US_PER_S);
    restart(world);
    clock_manual_advance(&world->clock, 10 * TIME_US_PER_S);
    meter_tick(world->meter);
    assert_int_equal(0, look(world).reserved);
    /* A clock that stepped back by an hour in between: the lease is its length at most. */
    reserve(world, "r2", CREDITS(100));
    world->clock.wall_now_us -= 60 * MINUTE_US;
    restart(world);
    clock_manual_advance(&world->clock, METER_TTL_MS_DEFAULT * TIME_US_PER_MS);
    meter_tick(world->meter);
    assert_int_equal(0, look(world).reserved);
    world_free(world);
}

static void
test_ids_are_stored_once_for_life(void **state)
{
    struct world *world = world_run(CREDITS(100));
    struct event event = call_event("e1", CREDITS(3));

    (void)state;
    assert_int_equal(1, append(world, &event, 1, false)->stored);
    assert_int_equal(1, append(world, &event, 1, false)->duplicates);
    restart(world);
    assert_int_equal(ERR_OK, append(world, &event, 1, false)->code);
    assert_int_equal(1, world->told.duplicates);
    event.credits = CREDITS(4);
    assert_int_equal(ERR_CONFLICT, append(world, &event, 1, false)->code);
    event = call_event("e1", CREDITS(3));
    event.run_id = SLICE_LITERAL("another");
    assert_int_equal(ERR_CONFLICT, append(world, &event, 1, false)->code);
    assert_int_equal(CREDITS(3), look(world).used);
    assert_int_equal(1, world->log.rows[TABLE_EVENTS].rows);
    world_free(world);
}

static void
test_what_was_spent_is_never_refused_unless_asked(void **state)
{
    struct world *world = world_run(CREDITS(10));
    struct event event = call_event("e1", CREDITS(11));

    (void)state;
    assert_int_equal(ERR_BUSY, append(world, &event, 1, true)->code);
    assert_true(world->told.refused);
    assert_int_equal(0, look(world).used);
    assert_int_equal(ERR_OK, append(world, &event, 1, false)->code);
    assert_int_equal(CREDITS(11), look(world).used);
    assert_int_equal(BREAKER_OPEN, look(world).state);
    assert_int_equal(ERR_BUSY, reserve(world, "r1", 0)->code);
    assert_int_equal(REFUSED_OPEN, world->told.refusal.reason);
    assert_true(world->told.refusal.retry_after_us > 59 * MINUTE_US);
    world_free(world);
}

static void
test_half_open_lets_one_probe_through(void **state)
{
    struct world *world = world_run(CREDITS(10));
    struct event event = call_event("e1", CREDITS(10));

    (void)state;
    append(world, &event, 1, false);
    clock_manual_advance(&world->clock, 60 * MINUTE_US + 1);
    assert_int_equal(ERR_OK, reserve(world, "p1", CREDITS(1))->code);
    assert_int_equal(BREAKER_HALF_OPEN, look(world).state);
    assert_int_equal(ERR_BUSY, reserve(world, "p2", CREDITS(1))->code);
    assert_int_equal(REFUSED_PROBES, world->told.refusal.reason);
    restart(world);
    assert_int_equal(ERR_BUSY, reserve(world, "p2", CREDITS(1))->code);
    assert_int_equal(REFUSED_PROBES, world->told.refusal.reason);
    commit(world, "p1", CREDITS(1));
    assert_int_equal(BREAKER_CLOSED, look(world).state);
    assert_int_equal(ERR_OK, reserve(world, "p3", CREDITS(1))->code);
    world_free(world);
}

static void
test_late_entries_count_where_they_belong(void **state)
{
    struct world *world = world_run(CREDITS(100));
    struct event event = call_event("late", CREDITS(5));

    (void)state;
    event.timestamp_is_ours = false;
    event.timestamp_us = NOW_US - 61 * MINUTE_US;
    assert_int_equal(ERR_OK, append(world, &event, 1, false)->code);
    assert_int_equal(0, look(world).used);
    event.id = SLICE_LITERAL("late2");
    event.timestamp_us = NOW_US - 59 * MINUTE_US;
    append(world, &event, 1, false);
    assert_int_equal(CREDITS(5), look(world).used);
    clock_manual_advance(&world->clock, MINUTE_US + 1);
    assert_int_equal(0, look(world).used);
    event.id = SLICE_LITERAL("future");
    event.timestamp_us = NOW_US + 10 * MINUTE_US;
    assert_int_equal(ERR_INVALID, append(world, &event, 1, false)->code);
    world_free(world);
}

static void
test_corrections_name_what_they_correct(void **state)
{
    struct world *world = world_run(CREDITS(100));
    struct event event = call_event("e1", CREDITS(5));
    struct event correction = call_event("c1", CREDITS(-2));

    (void)state;
    append(world, &event, 1, false);
    assert_int_equal(ERR_INVALID, append(world, &correction, 1, false)->code);
    correction.corrects = SLICE_LITERAL("nothing");
    assert_int_equal(ERR_INVALID, append(world, &correction, 1, false)->code);
    correction.corrects = SLICE_LITERAL("e1");
    assert_int_equal(ERR_OK, append(world, &correction, 1, false)->code);
    assert_int_equal(CREDITS(3), look(world).used);
    world_free(world);
}

static void
test_a_budget_set_later_counts_what_was_spent(void **state)
{
    struct world *world = world_run(CREDITS(1000));
    struct event event = call_event("e1", CREDITS(5));
    struct budget_def def;
    struct told told = {0};

    (void)state;
    append(world, &event, 1, false);
    reserve(world, "r1", CREDITS(7));
    budget_def_init(&def, "per-api");
    def.has_value[DIM_API] = true;
    snprintf(def.value[DIM_API], sizeof(def.value[DIM_API]), "*");
    def.hard_limit = CREDITS(20);
    meter_set_budget(world->meter, &def, on_done, &told);
    assert_int_equal(ERR_OK, told.code);
    assert_int_equal(ERR_OK, reserve(world, "r2", CREDITS(8))->code);
    assert_int_equal(ERR_BUSY, reserve(world, "r3", CREDITS(1))->code);
    assert_string_equal("per-api", world->told.refusal.budget);
    assert_string_equal("api=birdeye", world->told.refusal.instance);
    restart(world);
    assert_int_equal(ERR_BUSY, reserve(world, "r3", CREDITS(1))->code);
    meter_change_budget(world->meter, "per-api", "delete", slice_of(""), on_done, &told);
    assert_int_equal(ERR_OK, reserve(world, "r3", CREDITS(1))->code);
    world_free(world);
}

static void
test_operators_force_and_reset(void **state)
{
    struct world *world = world_run(CREDITS(10));
    struct event event = call_event("e1", CREDITS(10));
    struct told told = {0};

    (void)state;
    meter_change_budget(world->meter, "default", "force_open", slice_of("drill"), on_done, &told);
    assert_int_equal(ERR_BUSY, reserve(world, "r1", 1)->code);
    restart(world);
    assert_int_equal(REFUSED_FORCED, (reserve(world, "r1", 1), world->told.refusal.reason));
    meter_change_budget(world->meter, "default", "metrics_only", slice_of(""), on_done, &told);
    append(world, &event, 1, false);
    assert_int_equal(ERR_OK, reserve(world, "r1", 1)->code);
    meter_change_budget(world->meter, "default", "enforce", slice_of(""), on_done, &told);
    assert_int_equal(ERR_BUSY, reserve(world, "r2", 1)->code);
    clock_manual_advance(&world->clock, 1);
    meter_change_budget(world->meter, "default", "reset", slice_of(""), on_done, &told);
    assert_int_equal(0, look(world).used);
    assert_int_equal(ERR_OK, reserve(world, "r2", 1)->code);
    restart(world);
    assert_int_equal(0, look(world).used);
    assert_int_equal(2, look(world).reserved);
    meter_change_budget(world->meter, "nobody", "reset", slice_of(""), on_done, &told);
    assert_int_equal(ERR_NOT_FOUND, told.code);
    world_free(world);
}

static void
test_bad_calls_are_told_what_is_wrong(void **state)
{
    struct world *world = world_run(CREDITS(100));
    struct event event = call_event("e1", CREDITS(-1));
    struct meter_reserve request = {.call = {.api_name = SLICE_LITERAL("nobody")}};
    struct told told = {0};

    (void)state;
    assert_int_equal(ERR_INVALID, append(world, &event, 1, false)->code);
    event = call_event("e1", CREDITS(1));
    event.latency_ms = NAN;
    assert_int_equal(ERR_INVALID, append(world, &event, 1, false)->code);
    meter_reserve(world->meter, &request, on_done, &told);
    assert_int_equal(ERR_INVALID, told.code);
    assert_non_null(strstr(told.msg, "max_credits"));
    reserve(world, "r1", CREDITS(5));
    assert_int_equal(ERR_INVALID, commit(world, "r1", CREDITS(6))->code);
    struct meter_commit foreign = {.reservation_id = SLICE_LITERAL("r1"),
                                   .check = {.run_id = SLICE_LITERAL("mine")}};
    meter_commit(world->meter, &foreign, on_done, &told);
    assert_int_equal(ERR_FORBIDDEN, told.code);
    assert_int_equal(0, world->log.rows[TABLE_EVENTS].rows);
    world_free(world);
}

static void
test_secrets_never_reach_the_log(void **state)
{
    struct world *world = world_run(CREDITS(100));
    struct event event = call_event("e1", CREDITS(1));

    (void)state;
    event.endpoint = SLICE_LITERAL("/v1/price?api_key=SECRETSECRET&x=1");
    event.metadata_json = SLICE_LITERAL("{\"headers\":{\"X-API-KEY\":\"SECRETSECRET\"}}");
    event.error_message = SLICE_LITERAL("GET https://u:SECRETSECRET@h/ failed");
    append(world, &event, 1, false);
    const struct batch *rows = &world->log.rows[TABLE_EVENTS];
    for (size_t i = 0; i < rows->column_count; i++) {
        enum col_type type = rows->columns[i].type;
        struct slice text = type == COL_TEXT || type == COL_JSON ? batch_get_text(rows, i, 0)
                                                                 : (struct slice){"", 0};
        assert_null(memmem(text.ptr, text.len, "SECRET", 6));
    }
    world_free(world);
}

/* They are redacted before anything is known of the reservation; what is not valid is told all the
 * same, and in its turn. */
static void
test_texts_of_a_commit_are_redacted_or_refused(void **state)
{
    struct world *world = world_run(CREDITS(100));
    struct told told = {0};
    struct meter_commit request = {.reservation_id = SLICE_LITERAL("r1"),
                                   .error_message = SLICE_LITERAL("broken \xff text"),
                                   .metadata_json = SLICE_LITERAL("{\"token\":\"SECRETSECRET\"}")};

    (void)state;
    meter_commit(world->meter, &request, on_done, &told);
    assert_int_equal(ERR_NOT_FOUND, told.code);
    reserve(world, "r1", CREDITS(5));
    meter_commit(world->meter, &request, on_done, &told);
    assert_int_equal(ERR_INVALID, told.code);
    assert_non_null(strstr(told.msg, "error_message"));
    request.error_message = SLICE_LITERAL("GET https://u:SECRETSECRET@h/ failed");
    meter_commit(world->meter, &request, on_done, &told);
    assert_int_equal(ERR_OK, told.code);
    const struct batch *rows = &world->log.rows[TABLE_EVENTS];
    assert_int_equal(1, rows->rows);
    assert_true(
        slice_is(batch_get_text(rows, EVENT_ERROR_MESSAGE, 0), "GET https://[redacted]@h/ failed"));
    assert_true(
        slice_is(batch_get_text(rows, EVENT_METADATA_JSON, 0), "{\"token\":\"[redacted]\"}"));
    world_free(world);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reserve_commit_books_the_real_cost),
        cmocka_unit_test(test_reserve_never_passes_the_limit),
        cmocka_unit_test(test_answer_waits_for_the_log),
        cmocka_unit_test(test_failed_record_undoes_all_that_was_decided),
        cmocka_unit_test(test_failing_log_is_told_once_a_series),
        cmocka_unit_test(test_lease_ends_by_itself),
        cmocka_unit_test(test_closed_reservations_answer_again_or_contradict),
        cmocka_unit_test(test_start_brings_everything_back),
        cmocka_unit_test(test_lease_is_not_prolonged_by_a_start),
        cmocka_unit_test(test_ids_are_stored_once_for_life),
        cmocka_unit_test(test_what_was_spent_is_never_refused_unless_asked),
        cmocka_unit_test(test_half_open_lets_one_probe_through),
        cmocka_unit_test(test_late_entries_count_where_they_belong),
        cmocka_unit_test(test_corrections_name_what_they_correct),
        cmocka_unit_test(test_a_budget_set_later_counts_what_was_spent),
        cmocka_unit_test(test_operators_force_and_reset),
        cmocka_unit_test(test_bad_calls_are_told_what_is_wrong),
        cmocka_unit_test(test_secrets_never_reach_the_log),
        cmocka_unit_test(test_texts_of_a_commit_are_redacted_or_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
