/* A full disk, as the limit of a file's size makes it: EFBIG is ENOSPC's brother. */
#include <sys/resource.h>

#include "embed/testing.h"

enum { FULL_BYTES = 4096, VALUES = 100, TRIES = 100 };

/* No file grows beyond this; 0: without end. */
static void
limit_files(rlim_t bytes)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes > 0 ? bytes : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static int
setup_small_segments(void **state)
{
    struct place *place = calloc(1, sizeof(*place));

    assert_non_null(place);
    place_make(place);
    place->options.wal_segment_bytes = 8192;
    place_open(place);
    *state = place;
    return 0;
}

static enum eider_status
append_many(struct place *place, uint64_t *ret_lsn)
{
    static double values[VALUES];
    const struct eider_points points = {.series = {.name = "m"}, .values = values, .count = VALUES};

    return eider_append_points(place->db, &points, ret_lsn, &place->error);
}

struct outcome {
    atomic_int calls;
    enum eider_status status;
    char message[EIDER_MESSAGE_MAX];
};

static void
on_done(void *ctx, const struct eider_receipt *receipt)
{
    struct outcome *outcome = ctx;

    outcome->status = receipt->status;
    snprintf(outcome->message, sizeof(outcome->message), "%s", receipt->message);
    atomic_fetch_add(&outcome->calls, 1);
}

static void
test_full_disk_refuses_appends_until_there_is_room(void **state)
{
    struct place *place = *state;
    const struct eider_series series = {.name = "m"};
    const struct eider_points point = {.series = series, .values = (const double[]){1}, .count = 1};
    struct outcome outcome = {.calls = 0};
    enum eider_status status = EIDER_OK;
    uint64_t lsn = 0, kept = 0;

    assert_ok(place, append_many(place, &kept));
    limit_files(FULL_BYTES);
    for (int i = 0; i < TRIES && status == EIDER_OK; i++) {
        status = append_many(place, &kept);
    }
    lsn = kept;
    assert_refused(place, append_many(place, &lsn), EIDER_NO_SPACE, "nothing was written");
    assert_int_equal(status, EIDER_NO_SPACE);
    assert_int_equal(lsn, kept);
    status = eider_append_points_async(place->db, &point, on_done, &outcome, &place->error);
    assert_int_equal(eider_flush(place->db, -1, NULL), EIDER_OK);
    assert_int_equal(status == EIDER_OK ? outcome.status : status, EIDER_NO_SPACE);
    if (status == EIDER_OK) {
        assert_non_null(strstr(outcome.message, "nothing was written"));
    }
    assert_int_equal(atomic_load(&outcome.calls), status == EIDER_OK);
    limit_files(0);
    status = EIDER_NO_SPACE;
    while (status == EIDER_NO_SPACE || status == EIDER_BUSY) {
        status = append_many(place, &lsn);
    }
    assert_ok(place, status);
    assert_int_equal(lsn, kept + 1);
    assert_ok(place, eider_wait_applied(place->db, lsn, 60000, &place->error));
}

/* What the handle says to somebody who asks while it is being closed. */
struct asker {
    struct place *place;
    int events;
    enum eider_status append;
    enum eider_status subscribe;
    enum eider_status last;
    uint64_t rows;
};

static void
on_delivery(void *ctx, const struct eider_delivery *delivery)
{
    (void)ctx;
    (void)delivery;
}

static void
on_event(void *ctx, bool is_problem, const char *text)
{
    struct asker *asker = ctx;
    struct eider_db *db = asker->place->db;
    const struct eider_series series = {.name = "m"};
    const struct eider_points point = {.series = series, .values = (const double[]){1}, .count = 1};
    const struct eider_subscribe_options options = {.fn = on_delivery};
    struct eider_subscription *sub;
    struct eider_stats stats;
    struct eider_point last;

    if (!is_problem || !strstr(text, "checkpoint at the end failed")) {
        return;
    }
    asker->events++;
    asker->append = eider_append_points_async(db, &point, NULL, NULL, NULL);
    asker->subscribe = eider_subscribe(db, &options, &sub, NULL);
    asker->last = eider_last(db, &series, &last, NULL);
    eider_stats(db, &stats);
    asker->rows = stats.rows;
}

/* A checkpoint that fails raises SIGXFSZ, too, which must not end the process. */
static void
test_event_of_a_close_may_ask_the_handle(void **state)
{
    struct place *place = *state;
    struct asker asker = {.place = place};
    const struct eider_series series = {.name = "m"};
    struct eider_point point;

    place_close(place);
    place->options.on_event = on_event;
    place->options.event_ctx = &asker;
    place_open(place);
    place_append(place, "m", T0, 1);
    assert_ok(place, eider_last(place->db, &series, &point, &place->error));
    limit_files(1);
    assert_int_equal(eider_close(place->db), EIDER_OK);
    limit_files(0);
    assert_int_equal(asker.events, 1);
    assert_int_equal(asker.append, EIDER_UNAVAILABLE);
    assert_int_equal(asker.subscribe, EIDER_UNAVAILABLE);
    assert_int_equal(asker.last, EIDER_OK);
    assert_int_equal(asker.rows, 1);
    place_open(place);
    assert_int_equal(place_number(place, "SELECT count(*) FROM samples"), 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_full_disk_refuses_appends_until_there_is_room,
                                        setup_small_segments, place_teardown),
        cmocka_unit_test_setup_teardown(test_event_of_a_close_may_ask_the_handle, place_setup,
                                        place_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
