/* Metering in this process, on a data directory of its own. */
#include <ftw.h>
#include <unistd.h>

#include "client/testing.h"

struct setup {
    char dir[64];
    struct metering_embedded_options options;
    struct metering_backend *backend;
};

static const struct metering_call call = {.api_name = "Birdeye",
                                          .endpoint = "/defi/price",
                                          .method = "GET",
                                          .key = "key-1",
                                          .has_max = true,
                                          .max_credits = 60 * EIDER_CREDIT,
                                          .ttl_ms = 60000};

static void
open_backend(struct setup *t)
{
    struct err err;

    if (metering_embedded_open(&t->options, &t->backend, &err) != ERR_OK) {
        fail_msg("%s", err.msg);
    }
}

static int
begin(void **state)
{
    struct setup *t = mem_zalloc(1, sizeof(*t));

    snprintf(t->dir, sizeof(t->dir), "/tmp/eider-client-XXXXXX");
    assert_non_null(mkdtemp(t->dir));
    t->options.data_dir = t->dir;
    *state = t;
    return 0;
}

static int
remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int
end(void **state)
{
    struct setup *t = *state;

    if (t->backend) {
        t->backend->free(t->backend);
    }
    nftw(t->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(t);
    return 0;
}

static enum metering_verdict
reserve(struct setup *t, struct metering_grant *ret_grant, struct metering_refusal *ret_refusal)
{
    *ret_grant = (struct metering_grant){0};
    *ret_refusal = (struct metering_refusal){0};
    return t->backend->reserve(t->backend, &call, ret_grant, ret_refusal);
}

static void
test_embedded_books_and_refuses_by_the_budget(void **state)
{
    struct setup *t = *state;
    struct metering_outcome outcome = {.has_status = true,
                                       .status = 200,
                                       .success = true,
                                       .has_credits = true,
                                       .credits = 60 * EIDER_CREDIT,
                                       .metadata_json = "{\"url\":\"/defi/price\"}"};
    struct metering_receipt receipt = {0};
    struct metering_refusal refusal;
    struct metering_grant first;
    struct metering_grant second;
    struct metering_grant third;

    t->options.budget_credits = 120 * EIDER_CREDIT;
    open_backend(t);
    assert_int_equal(reserve(t, &first, &refusal), METERING_DONE);
    assert_string_not_equal(first.reservation_id, "");
    assert_int_equal(reserve(t, &second, &refusal), METERING_DONE);
    assert_int_equal(reserve(t, &third, &refusal), METERING_REFUSED);
    assert_string_equal(refusal.code, "CIRCUIT_BREAKER_TRIPPED");
    assert_int_equal(
        t->backend->commit(t->backend, first.reservation_id, &call, &outcome, &receipt),
        METERING_DONE);
    assert_string_not_equal(receipt.event_id, "");
    assert_int_equal(receipt.credits, 60 * EIDER_CREDIT);
    assert_int_equal(t->backend->release(t->backend, second.reservation_id), METERING_DONE);
    assert_int_equal(reserve(t, &third, &refusal), METERING_DONE);
}

static void
test_embedded_remembers_across_a_restart(void **state)
{
    struct setup *t = *state;
    struct metering_outcome outcome = {.has_status = true,
                                       .status = 200,
                                       .success = true,
                                       .has_credits = true,
                                       .credits = 100 * EIDER_CREDIT,
                                       .event_id = "an-event-of-its-own"};
    struct metering_receipt receipt = {0};
    struct metering_refusal refusal;
    struct metering_grant grant;

    t->options.budget_credits = 120 * EIDER_CREDIT;
    open_backend(t);
    outcome.started_us = clock_wall_us(clock_system());
    assert_int_equal(t->backend->event(t->backend, &call, &outcome, &receipt), METERING_DONE);
    assert_int_equal(t->backend->event(t->backend, &call, &outcome, &receipt), METERING_DONE);
    t->backend->free(t->backend);
    open_backend(t);
    assert_int_equal(reserve(t, &grant, &refusal), METERING_REFUSED);
}

static void
test_embedded_tells_that_a_reservation_is_gone(void **state)
{
    struct setup *t = *state;
    struct metering_outcome outcome = {
        .has_status = true, .status = 200, .success = true, .has_credits = true};
    struct metering_receipt receipt = {0};

    open_backend(t);
    assert_int_equal(t->backend->commit(t->backend, "never-made", &call, &outcome, &receipt),
                     METERING_GONE);
}

static void
test_embedded_prices_by_the_book(void **state)
{
    struct setup *t = *state;
    struct metering_call candles = {.api_name = "Birdeye",
                                    .endpoint = "/defi/v3/ohlcv",
                                    .method = "GET",
                                    .params_json = SLICE_LITERAL("{\"candles\":5000}")};
    struct metering_outcome outcome = {.has_status = true, .status = 200, .success = true};
    struct metering_receipt receipt = {0};
    struct metering_refusal refusal;
    struct metering_grant grant = {0};

    open_backend(t);
    assert_int_equal(t->backend->reserve(t->backend, &candles, &grant, &refusal), METERING_DONE);
    assert_int_equal(grant.credits, 120 * EIDER_CREDIT);
    assert_int_equal(
        t->backend->commit(t->backend, grant.reservation_id, &candles, &outcome, &receipt),
        METERING_DONE);
    assert_int_equal(receipt.credits, 120 * EIDER_CREDIT);
}

static void
test_embedded_directory_has_one_owner(void **state)
{
    struct setup *t = *state;
    struct metering_backend *other = NULL;
    struct err err;

    open_backend(t);
    assert_int_equal(metering_embedded_open(&t->options, &other, &err), ERR_CONFLICT);
    assert_null(other);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_embedded_books_and_refuses_by_the_budget),
        TEST(test_embedded_remembers_across_a_restart),
        TEST(test_embedded_tells_that_a_reservation_is_gone),
        TEST(test_embedded_prices_by_the_book),
        TEST(test_embedded_directory_has_one_owner),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
