#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "meter/budget.h"
#include "meter/log_testing.h"

#define SECOND_US INT64_C(1000000)
#define HOUR_US (3600 * SECOND_US)
#define CREDIT INT64_C(1000000)

static struct spend_simulation result;

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

static struct budget_def
limit_of(int64_t credits)
{
    struct budget_def def;

    budget_def_init(&def, "what-if");
    def.hard_limit = credits * CREDIT;
    def.half_open_probes = 0;
    return def;
}

static void
simulate(struct engine *engine, const struct budget_def *def, int64_t from_us, int64_t to_us)
{
    struct err err;

    memset(&result, 0xff, sizeof(result));
    if (spend_simulate(engine, def, from_us, to_us, &result, &err)) {
        fail_msg("%s", err.msg);
    }
}

static struct event
call(int64_t second, int64_t credits)
{
    return (struct event){.id = slice_of("e"),
                          .timestamp_us = LOG_TESTING_US + second * SECOND_US,
                          .api_name = slice_of("birdeye"),
                          .endpoint = slice_of("/"),
                          .success = true,
                          .credits = credits * CREDIT};
}

static void
test_simulate_nothing(void **state)
{
    struct budget_def def = limit_of(100);

    simulate(*state, &def, LOG_TESTING_US, LOG_TESTING_US + HOUR_US);
    assert_int_equal(result.calls, 0);
    assert_int_equal(result.refused, 0);
    assert_int_equal(result.hour_count, 0);
    assert_int_equal(result.peak_us, 0);
}

/* 60 + 60 pass a limit of 100; what was refused is not counted, so 40 fits; an hour later 60 is
 * gone. The order of writing does not matter. */
static void
test_simulate_refuses_what_would_have_passed_the_limit(void **state)
{
    struct budget_def def = limit_of(100);
    const struct event events[] = {call(3700, 60), call(20, 30),   call(0, 60),
                                   call(10, 60),   call(7000, 60), call(9000, 1)};

    log_testing_append(*state, events, 3);
    log_testing_append(*state, events + 3, 3);
    def.mode = BUDGET_METRICS_ONLY; /* asked all the same */
    simulate(*state, &def, LOG_TESTING_US, LOG_TESTING_US + 8000 * SECOND_US);
    assert_int_equal(result.calls, 5);
    assert_int_equal(result.credits, 270 * CREDIT);
    assert_int_equal(result.refused, 2);
    assert_int_equal(result.credits_refused, 120 * CREDIT);
    assert_int_equal(result.first_refused_us, LOG_TESTING_US + 10 * SECOND_US);
    assert_int_equal(result.last_refused_us, LOG_TESTING_US + 7000 * SECOND_US);
    assert_int_equal(result.peak_credits, 90 * CREDIT);
    assert_int_equal(result.peak_us, LOG_TESTING_US + 20 * SECOND_US);
    assert_int_equal(result.hour_count, 2);
    assert_int_equal(result.hours[0].hour_us, LOG_TESTING_US);
    assert_int_equal(result.hours[0].refused, 1);
    assert_int_equal(result.hours[1].hour_us, LOG_TESTING_US + HOUR_US);
    assert_int_equal(result.hours[1].credits_refused, 60 * CREDIT);
}

/* Only what the scope covers; each value has a counter of its own. */
static void
test_simulate_by_scope(void **state)
{
    struct budget_def def = limit_of(100);
    struct event events[5] = {call(0, 60), call(1, 60), call(2, 60), call(3, 60), call(4, 60)};

    events[0].run_id = events[2].run_id = slice_of("r1");
    events[1].run_id = slice_of("r2");
    events[3].api_name = slice_of("helius");
    events[3].run_id = events[4].run_id = slice_of("r2");
    events[4].api_key = slice_of("key-1");
    log_testing_append(*state, events, 5);
    def.has_value[DIM_API] = def.has_value[DIM_RUN_ID] = true;
    snprintf(def.value[DIM_API], sizeof(def.value[DIM_API]), "%s", "birdeye");
    snprintf(def.value[DIM_RUN_ID], sizeof(def.value[DIM_RUN_ID]), "%s", "*");
    simulate(*state, &def, LOG_TESTING_US, LOG_TESTING_US + HOUR_US);
    assert_int_equal(result.calls, 4);
    assert_int_equal(result.refused, 2); /* the second of r1 and of r2 */
    assert_int_equal(result.peak_credits, 60 * CREDIT);
    def.has_value[DIM_KEY] = true;
    snprintf(def.value[DIM_KEY], sizeof(def.value[DIM_KEY]), "%s", "key-1");
    simulate(*state, &def, LOG_TESTING_US, LOG_TESTING_US + HOUR_US);
    assert_int_equal(result.calls, 1);
    assert_int_equal(result.refused, 0);
}

static void
test_simulate_corrections_are_no_calls(void **state)
{
    struct budget_def def = limit_of(100);
    struct event events[3] = {call(0, 60), call(1, -30), call(2, 60)};

    events[1].corrects = slice_of("e");
    log_testing_append(*state, events, 3);
    simulate(*state, &def, LOG_TESTING_US, LOG_TESTING_US + HOUR_US);
    assert_int_equal(result.calls, 2);
    assert_int_equal(result.refused, 0);
    assert_int_equal(result.peak_credits, 90 * CREDIT);
}

/* A plain model of a sliding window: every call against the sum of all that passed. */
static void
test_simulate_as_a_plain_model(void **state)
{
    enum { COUNT = 4000 };
    struct engine *engine = *state;
    struct event *events = calloc(COUNT, sizeof(*events));
    int64_t *passed = calloc(COUNT, sizeof(*passed));
    struct budget_def def = limit_of(3000);
    uint64_t random = 17, refused = 0;
    int64_t peak = 0, refused_credits = 0;

    for (size_t i = 0; i < COUNT; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        events[i] = call((int64_t)(i * 20), (int64_t)((random >> 33) % 60));
    }
    for (size_t i = 0; i < COUNT; i++) {
        int64_t used = 0;
        for (size_t j = 0; j < i; j++) {
            bool counts = events[j].timestamp_us >= events[i].timestamp_us - HOUR_US;
            used += counts ? passed[j] : 0;
        }
        if (used >= def.hard_limit || used + events[i].credits > def.hard_limit) {
            refused++;
            refused_credits += events[i].credits;
        } else {
            passed[i] = events[i].credits;
            peak = used + passed[i] > peak ? used + passed[i] : peak;
        }
    }
    for (size_t i = 0; i < COUNT; i++) { /* written in another order */
        random = random * 6364136223846793005u + 1442695040888963407u;
        size_t other = (random >> 33) % COUNT;
        struct event event = events[i];
        events[i] = events[other];
        events[other] = event;
    }
    log_testing_append(engine, events, COUNT);
    simulate(engine, &def, LOG_TESTING_US, LOG_TESTING_US + 30 * HOUR_US);
    assert_true(refused > 500);
    assert_int_equal(result.calls, COUNT);
    assert_int_equal(result.refused, refused);
    assert_int_equal(result.credits_refused, refused_credits);
    assert_int_equal(result.peak_credits, peak);
    free(passed);
    free(events);
}

/* More than one slice: three hours, the second written first. */
static void
test_simulate_in_slices(void **state)
{
    enum { MANY = 300000 };
    struct engine *engine = *state;
    struct event *events = calloc(MANY, sizeof(*events));
    struct budget_def def = limit_of(200000);
    static const int64_t hours[] = {2, 1, 3};

    for (size_t h = 0; h < 3; h++) {
        for (size_t i = 0; i < MANY; i++) {
            events[i] = call(hours[h] * 3600, 1);
            events[i].timestamp_us += (int64_t)(MANY - i) * 10000;
        }
        log_testing_append(engine, events, MANY);
    }
    def.window = WINDOW_HOUR;
    simulate(engine, &def, LOG_TESTING_US + HOUR_US + 10000 * 50000, LOG_TESTING_US + 5 * HOUR_US);
    assert_int_equal(result.calls, 3 * MANY - 49999);
    assert_int_equal(result.hour_count, 3);
    assert_int_equal(result.hours[0].refused, 50001);
    assert_int_equal(result.hours[1].refused, 100000);
    assert_int_equal(result.hours[2].refused, 100000);
    assert_int_equal(result.refused, 250001);
    free(events);
}

static void
test_simulate_refuses_bad_ranges(void **state)
{
    struct engine *memory = log_testing_open(store_memory_open);
    struct budget_def def = limit_of(100);
    struct err err;

    assert_int_equal(spend_simulate(*state, &def, 2, 1, &result, &err), ERR_INVALID);
    assert_int_equal(spend_simulate(*state, &def, INT64_MIN, INT64_MAX, &result, &err),
                     ERR_INVALID);
    assert_int_equal(spend_simulate(*state, &def, 0, 31 * 24 * HOUR_US, &result, &err), ERR_OK);
    assert_int_equal(spend_simulate(*state, &def, 0, 31 * 24 * HOUR_US + 1, &result, &err),
                     ERR_INVALID);
    assert_int_equal(spend_simulate(memory, &def, 0, 1, &result, &err), ERR_UNSUPPORTED);
    log_testing_close(memory);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_simulate_nothing),
        TEST(test_simulate_refuses_what_would_have_passed_the_limit),
        TEST(test_simulate_by_scope),
        TEST(test_simulate_corrections_are_no_calls),
        TEST(test_simulate_as_a_plain_model),
        TEST(test_simulate_in_slices),
        TEST(test_simulate_refuses_bad_ranges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
