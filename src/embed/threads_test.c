/* Many threads on one handle: nothing acknowledged is lost, and the thread sanitizer finds nothing.
 */
#include "embed/testing.h"

enum { WRITERS = 6, ROUNDS = 60, READERS = 2 };

struct crew {
    struct place *place;
    atomic_int next;
    atomic_int failures;
    atomic_bool stop;
    _Atomic uint64_t written; /* rows that were acknowledged */
    _Atomic uint64_t done;    /* of these, asynchronously */
    _Atomic uint64_t heard;   /* rows that the subscriber got or was told to have missed */
    _Atomic uint64_t last_lsn;
    atomic_int disorder;
};

static void
on_done(void *ctx, const struct eider_receipt *receipt)
{
    struct crew *crew = ctx;

    atomic_fetch_add(&crew->failures, receipt->status != EIDER_OK);
    atomic_fetch_add(&crew->written, receipt->accepted);
    atomic_fetch_add(&crew->done, receipt->accepted);
}

static void
on_delivery(void *ctx, const struct eider_delivery *delivery)
{
    struct crew *crew = ctx;

    atomic_fetch_add(&crew->disorder, delivery->lsn < atomic_load(&crew->last_lsn));
    atomic_store(&crew->last_lsn, delivery->lsn);
    atomic_fetch_add(&crew->heard, eider_batch_rows(delivery->batch) + delivery->missed_rows);
}

static enum eider_status
append_rows(struct crew *crew, struct eider_rows *rows, int writer, int round)
{
    char id[32];

    snprintf(id, sizeof(id), "t-%d-%d", writer, round);
    eider_row_begin(rows, "trades");
    eider_row_text(rows, "trade_id", id, strlen(id));
    eider_row_text(rows, "symbol", "BTC", 3);
    eider_row_text(rows, "side", "BUY", 3);
    eider_row_f64(rows, "quantity", 1);
    eider_row_f64(rows, "price", 2);
    eider_row_end(rows);
    if (round % 2) {
        return eider_append_rows_async(crew->place->db, rows, on_done, crew, NULL);
    }
    struct eider_receipt receipt = {.accepted = 0};
    enum eider_status status = eider_append_rows(crew->place->db, rows, &receipt, NULL);
    atomic_fetch_add(&crew->written, receipt.accepted);
    return status;
}

static void *
writer_main(void *ctx)
{
    struct crew *crew = ctx;
    struct eider_db *db = crew->place->db;
    int me = atomic_fetch_add(&crew->next, 1);
    struct eider_rows *rows = eider_rows_new();
    char name[32];

    for (int i = 0; i < ROUNDS; i++) {
        const double values[] = {i, i + 0.5};
        const int64_t times[] = {T0 + 2 * i, T0 + 2 * i + 1};
        snprintf(name, sizeof(name), "m%d-%d", me, i % 5);
        const struct eider_points points = {
            .series = {.name = name}, .timestamps_us = times, .values = values, .count = 2};
        bool wrong = eider_append_points_async(db, &points, on_done, crew, NULL) != EIDER_OK;
        if (eider_append_metric(db, &points.series, T0 - i, 1, NULL, NULL) == EIDER_OK) {
            atomic_fetch_add(&crew->written, 1);
        } else {
            wrong = true;
        }
        wrong = append_rows(crew, rows, me, i) != EIDER_OK || wrong;
        wrong = (i % 10 == 0 && eider_flush(db, -1, NULL) != EIDER_OK) || wrong;
        atomic_fetch_add(&crew->failures, wrong);
    }
    eider_rows_free(rows);
    return NULL;
}

static void *
reader_main(void *ctx)
{
    struct crew *crew = ctx;
    struct eider_db *db = crew->place->db;
    const struct eider_query query = {.sql = "SELECT count(*) AS n, min(value) AS v FROM samples"};
    struct eider_series series = {.name = "m0-0"};

    while (!atomic_load(&crew->stop)) {
        struct eider_batch *batch;
        struct ArrowArray array;
        struct eider_point point;
        struct eider_stats stats;
        bool wrong = eider_query(db, &query, &batch, NULL) != EIDER_OK;
        if (!wrong) {
            wrong = eider_batch_array(batch, 0, 1, &array, NULL) != EIDER_OK;
            array.release(&array);
            eider_batch_free(batch);
        }
        enum eider_status status = eider_last(db, &series, &point, NULL);
        wrong = wrong || (status != EIDER_OK && status != EIDER_NOT_FOUND);
        eider_stats(db, &stats);
        wrong = wrong || !stats.healthy;
        atomic_fetch_add(&crew->failures, wrong);
    }
    return NULL;
}

/* Subscriptions come and go while others write. */
static void *
visitor_main(void *ctx)
{
    struct crew *crew = ctx;
    struct crew visits = {.place = crew->place};
    const struct eider_subscribe_options options = {
        .metric_name = "m0-0", .fn = on_delivery, .ctx = &visits};

    while (!atomic_load(&crew->stop)) {
        struct eider_subscription *sub;
        bool wrong = eider_subscribe(crew->place->db, &options, &sub, NULL) != EIDER_OK;
        wrong = wrong || eider_unsubscribe(sub) != EIDER_OK;
        atomic_fetch_add(&crew->failures, wrong);
    }
    return NULL;
}

static void
test_threads_lose_nothing_that_was_acknowledged(void **state)
{
    struct place *place = *state;
    struct crew crew = {.place = place};
    pthread_t writers[WRITERS], readers[READERS + 1];
    struct eider_subscription *sub;
    const struct eider_subscribe_options options = {.fn = on_delivery, .ctx = &crew};
    struct eider_stats stats;

    assert_ok(place, eider_subscribe(place->db, &options, &sub, &place->error));
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(pthread_create(&readers[i], NULL, reader_main, &crew), 0);
    }
    assert_int_equal(pthread_create(&readers[READERS], NULL, visitor_main, &crew), 0);
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_create(&writers[i], NULL, writer_main, &crew), 0);
    }
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(writers[i], NULL);
    }
    assert_ok(place, eider_flush(place->db, -1, &place->error));
    atomic_store(&crew.stop, true);
    for (int i = 0; i <= READERS; i++) {
        pthread_join(readers[i], NULL);
    }
    assert_int_equal(atomic_load(&crew.failures), 0);
    assert_int_equal(atomic_load(&crew.written), WRITERS * ROUNDS * 4);
    eider_stats(place->db, &stats);
    assert_int_equal(stats.rows, WRITERS * ROUNDS * 4);
    assert_true(stats.syncs <= stats.records);
    assert_ok(place, eider_wait_applied(place->db, stats.durable_lsn, 60000, &place->error));
    assert_int_equal(place_number(place, "SELECT count(*) FROM trades"), WRITERS * ROUNDS);
    struct eider_subscription_stats heard;
    do {
        eider_subscription_stats(sub, &heard);
    } while (heard.queued_batches > 0 || heard.last_lsn < stats.durable_lsn);
    assert_int_equal(eider_unsubscribe(sub), EIDER_OK);
    assert_int_equal(atomic_load(&crew.heard), WRITERS * ROUNDS * 4);
    assert_int_equal(atomic_load(&crew.disorder), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_threads_lose_nothing_that_was_acknowledged,
                                        place_setup, place_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
