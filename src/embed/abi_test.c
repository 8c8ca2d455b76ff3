/* What programs were compiled against: sizes of structs within a soname, and room for later. */
#include "embed/testing.h"

#if __SIZEOF_POINTER__ == 8
#define SIZE_IS(name, bytes) _Static_assert(sizeof(struct name) == (bytes), #name)
SIZE_IS(eider_error, 520);
SIZE_IS(eider_options, 200);
SIZE_IS(eider_receipt, 64);
SIZE_IS(eider_label, 16);
SIZE_IS(eider_series, 32);
SIZE_IS(eider_points, 72);
SIZE_IS(eider_body, 112);
SIZE_IS(eider_param, 40);
SIZE_IS(eider_query, 80);
SIZE_IS(eider_read, 104);
SIZE_IS(eider_range, 104);
SIZE_IS(eider_point, 40);
SIZE_IS(eider_subscribe_options, 80);
SIZE_IS(eider_subscription_stats, 88);
SIZE_IS(eider_stats, 680);
#endif

static void
on_delivery(void *ctx, const struct eider_delivery *delivery)
{
    (void)ctx;
    (void)delivery;
}

/* A program that was compiled against a later header must not be half understood. */
static void
test_members_of_later_versions_are_refused(void **state)
{
    struct place *place = *state;
    struct eider_db *db = place->db;
    struct eider_error *error = &place->error;
    struct eider_points points = {.series = {.name = "m"}, .reserved = {1}};
    struct eider_body body = {.table = "metrics", .reserved = {0, 0, 0, 1}};
    struct eider_query query = {.sql = "SELECT 1", .reserved = {1}};
    struct eider_read read = {.table = "metrics", .reserved = {1}};
    struct eider_range range = {.series = {.name = "m"}, .bucket_us = 1000, .reserved = {1}};
    struct eider_subscribe_options options = {.fn = on_delivery, .reserved = {1}};
    struct eider_subscription *sub;
    struct eider_batch *batch;

    assert_refused(place, eider_append_points(db, &points, NULL, error), EIDER_INVALID,
                   "points, reserved is not 0");
    assert_refused(place, eider_append_points_async(db, &points, NULL, NULL, error), EIDER_INVALID,
                   "points, reserved is not 0");
    assert_refused(place, eider_append_body(db, &body, NULL, error), EIDER_INVALID,
                   "body, reserved is not 0");
    assert_refused(place, eider_query(db, &query, &batch, error), EIDER_INVALID,
                   "query, reserved is not 0");
    assert_refused(place, eider_read_table(db, &read, &batch, error), EIDER_INVALID,
                   "read, reserved is not 0");
    assert_refused(place, eider_read_range(db, &range, &batch, error), EIDER_INVALID,
                   "range, reserved is not 0");
    assert_refused(place, eider_read_buckets(db, &range, &batch, error), EIDER_INVALID,
                   "range, reserved is not 0");
    assert_refused(place, eider_subscribe(db, &options, &sub, error), EIDER_INVALID,
                   "options, reserved is not 0");
}

/* Members to come are 0 in what an older library answers. */
static void
test_answers_leave_room_that_is_zero(void **state)
{
    struct place *place = *state;
    const struct eider_series series = {.name = "m"};
    struct eider_stats stats;
    struct eider_point point;

    place_append(place, "m", T0, 1);
    memset(&stats, 0xff, sizeof(stats));
    memset(&point, 0xff, sizeof(point));
    eider_stats(place->db, &stats);
    assert_ok(place, eider_last(place->db, &series, &point, &place->error));
    for (size_t i = 0; i < sizeof(stats.reserved) / sizeof(stats.reserved[0]); i++) {
        assert_int_equal(stats.reserved[i], 0);
    }
    for (size_t i = 0; i < sizeof(point.reserved) / sizeof(point.reserved[0]); i++) {
        assert_int_equal(point.reserved[i], 0);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_members_of_later_versions_are_refused,
                                        place_setup_memory, place_teardown),
        cmocka_unit_test_setup_teardown(test_answers_leave_room_that_is_zero, place_setup_memory,
                                        place_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
