/* Subscriptions: what is delivered, in which order, what is missed, how they end. */
#include <time.h>

#include "embed/testing.h"

enum { KEPT = 4096 };

struct heard {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool hold; /* the callback waits while this is set */
    bool holding;
    int calls;
    uint64_t rows;
    uint64_t lsns[KEPT];
    uint64_t missed_batches;
    uint64_t missed_rows;
    char table[32];
    char name[32];
    char symbol[32];
    double value;
    struct place *place;
    struct eider_subscription *self;
    enum eider_status inside[4];
};

static void
heard_init(struct heard *heard)
{
    *heard = (struct heard){.calls = 0};
    pthread_mutex_init(&heard->lock, NULL);
    pthread_cond_init(&heard->changed, NULL);
}

static void
on_delivery(void *ctx, const struct eider_delivery *delivery)
{
    struct heard *heard = ctx;
    const struct eider_batch *batch = delivery->batch;

    pthread_mutex_lock(&heard->lock);
    heard->holding = true;
    pthread_cond_broadcast(&heard->changed);
    while (heard->hold) {
        pthread_cond_wait(&heard->changed, &heard->lock);
    }
    heard->holding = false;
    heard->lsns[heard->calls % KEPT] = delivery->lsn;
    heard->calls++;
    heard->rows += eider_batch_rows(batch);
    heard->missed_batches += delivery->missed_batches;
    heard->missed_rows += delivery->missed_rows;
    snprintf(heard->table, sizeof(heard->table), "%s", delivery->table);
    if (strcmp(delivery->table, "trading_metrics") == 0) {
        size_t len;
        const char *text = eider_batch_text(batch, 1, 0, &len);
        snprintf(heard->name, sizeof(heard->name), "%.*s", (int)len, text);
        text = eider_batch_text(batch, 3, 0, &len);
        snprintf(heard->symbol, sizeof(heard->symbol), "%.*s", (int)len, text);
        heard->value = eider_batch_f64(batch, 2, 0);
    }
    pthread_cond_broadcast(&heard->changed);
    pthread_mutex_unlock(&heard->lock);
}

static void
hold(struct heard *heard, bool on)
{
    pthread_mutex_lock(&heard->lock);
    heard->hold = on;
    pthread_cond_broadcast(&heard->changed);
    pthread_mutex_unlock(&heard->lock);
}

static void
await_calls(struct heard *heard, int calls)
{
    pthread_mutex_lock(&heard->lock);
    while (heard->calls < calls) {
        pthread_cond_wait(&heard->changed, &heard->lock);
    }
    pthread_mutex_unlock(&heard->lock);
}

static struct eider_subscription *
subscribe(struct place *place, struct heard *heard, const char *table, const char *metric)
{
    struct eider_subscription *sub = NULL;
    const struct eider_subscribe_options options = {
        .table = table, .metric_name = metric, .fn = on_delivery, .ctx = heard};

    assert_ok(place, eider_subscribe(place->db, &options, &sub, &place->error));
    return sub;
}

static void
append(struct place *place, const char *name, const char *symbol, double value)
{
    const struct eider_series series = {.name = name, .symbol = symbol};

    assert_ok(place, eider_append_metric(place->db, &series, T0, value, NULL, &place->error));
}

static void
append_quote(struct place *place)
{
    struct eider_rows *rows = eider_rows_new();

    eider_row_begin(rows, "market_data");
    eider_row_text(rows, "symbol", "BTC", 3);
    assert_int_equal(eider_row_end(rows), EIDER_OK);
    assert_ok(place, eider_append_rows(place->db, rows, NULL, &place->error));
    eider_rows_free(rows);
}

static void
test_each_subscriber_gets_what_it_wants_in_order(void **state)
{
    struct place *place = *state;
    static struct heard all, quotes, metric;

    heard_init(&all);
    heard_init(&quotes);
    heard_init(&metric);
    append(place, "before", NULL, 1);
    struct eider_subscription *a = subscribe(place, &all, NULL, NULL);
    struct eider_subscription *q = subscribe(place, &quotes, "market_data", NULL);
    struct eider_subscription *m = subscribe(place, &metric, NULL, "price");
    for (int i = 0; i < 100; i++) {
        append(place, "price", "BTC", i);
        append(place, "other", NULL, i);
    }
    append_quote(place);
    await_calls(&all, 201);
    await_calls(&quotes, 1);
    await_calls(&metric, 100);
    assert_int_equal(eider_unsubscribe(a), EIDER_OK);
    assert_int_equal(eider_unsubscribe(q), EIDER_OK);
    struct eider_subscription_stats stats;
    append(place, "price", "ETH", 7.5);
    await_calls(&metric, 101);
    eider_subscription_stats(m, &stats);
    assert_int_equal(eider_unsubscribe(m), EIDER_OK);
    assert_int_equal(all.calls, 201);
    for (int i = 0; i < 201; i++) {
        assert_int_equal(all.lsns[i], i + 2);
    }
    assert_string_equal(all.table, "market_data");
    assert_string_equal(quotes.table, "market_data");
    assert_int_equal(quotes.calls, 1);
    assert_int_equal(quotes.lsns[0], 202);
    assert_string_equal(metric.table, "trading_metrics");
    assert_string_equal(metric.name, "price");
    assert_string_equal(metric.symbol, "ETH");
    assert_true(metric.value == 7.5);
    assert_int_equal(metric.rows, 101);
    assert_int_equal(metric.lsns[100], 203);
    assert_int_equal(stats.missed_batches, 0);
}

static void
test_slow_subscriber_misses_counted_batches_and_holds_nobody_up(void **state)
{
    struct place *place = *state;
    static struct heard slow;
    struct eider_subscription *sub;
    struct eider_subscription_stats stats;
    struct eider_stats figures;

    heard_init(&slow);
    const struct eider_subscribe_options options = {
        .queue_batches = 3, .fn = on_delivery, .ctx = &slow};
    assert_ok(place, eider_subscribe(place->db, &options, &sub, &place->error));
    hold(&slow, true);
    append(place, "m", NULL, 0);
    pthread_mutex_lock(&slow.lock);
    while (!slow.holding) {
        pthread_cond_wait(&slow.changed, &slow.lock);
    }
    pthread_mutex_unlock(&slow.lock);
    for (int i = 1; i <= 10; i++) {
        append(place, "m", NULL, i);
    }
    eider_subscription_stats(sub, &stats);
    assert_int_equal(stats.queued_batches, 3);
    assert_int_equal(stats.missed_batches, 7);
    assert_int_equal(stats.missed_rows, 7);
    assert_true(stats.queued_bytes > 0);
    hold(&slow, false);
    await_calls(&slow, 4);
    append(place, "m", NULL, 11);
    await_calls(&slow, 5);
    append(place, "m", NULL, 12); /* what was missed is told once */
    await_calls(&slow, 6);
    assert_int_equal(slow.missed_batches, 7);
    assert_int_equal(slow.missed_rows, 7);
    assert_int_equal(slow.lsns[3], 4);
    assert_int_equal(slow.lsns[4], 12);
    assert_int_equal(eider_unsubscribe(sub), EIDER_OK);
    eider_stats(place->db, &figures);
    assert_int_equal(figures.missed_batches, 7);
}

static void
test_queue_is_bounded_in_bytes(void **state)
{
    struct place *place = *state;
    static struct heard slow;
    struct eider_subscription *sub;
    struct eider_subscription_stats stats;

    heard_init(&slow);
    const struct eider_subscribe_options options = {
        .queue_bytes = 1, .fn = on_delivery, .ctx = &slow};
    assert_ok(place, eider_subscribe(place->db, &options, &sub, &place->error));
    hold(&slow, true);
    append(place, "m", NULL, 0);
    pthread_mutex_lock(&slow.lock);
    while (!slow.holding) {
        pthread_cond_wait(&slow.changed, &slow.lock);
    }
    pthread_mutex_unlock(&slow.lock);
    append(place, "m", NULL, 1); /* one alone goes through */
    append(place, "m", NULL, 2);
    eider_subscription_stats(sub, &stats);
    assert_int_equal(stats.queued_batches, 1);
    assert_int_equal(stats.missed_batches, 1);
    hold(&slow, false);
    await_calls(&slow, 2);
    assert_int_equal(eider_unsubscribe(sub), EIDER_OK);
}

static void *
unsubscribe_main(void *ctx)
{
    eider_unsubscribe(ctx);
    return NULL;
}

static void
test_unsubscribe_waits_for_the_callback_and_drops_the_rest(void **state)
{
    struct place *place = *state;
    static struct heard heard;
    pthread_t thread;

    heard_init(&heard);
    struct eider_subscription *sub = subscribe(place, &heard, NULL, NULL);
    hold(&heard, true);
    append(place, "m", NULL, 0);
    append(place, "m", NULL, 1);
    pthread_mutex_lock(&heard.lock);
    while (!heard.holding) {
        pthread_cond_wait(&heard.changed, &heard.lock);
    }
    pthread_mutex_unlock(&heard.lock);
    assert_int_equal(pthread_create(&thread, NULL, unsubscribe_main, sub), 0);
    append(place, "m", NULL, 2); /* writers do not wait for it */
    assert_int_not_equal(pthread_tryjoin_np(thread, NULL), 0);
    hold(&heard, false);
    assert_int_equal(pthread_join(thread, NULL), 0);
    int calls = heard.calls;
    assert_in_range(calls, 1, 3);
    append(place, "m", NULL, 3);
    assert_int_equal(heard.calls, calls);
}

/* What a subscriber's callback may and may not do. */
static void
on_delivery_acts(void *ctx, const struct eider_delivery *delivery)
{
    struct heard *heard = ctx;
    struct eider_db *db = heard->place->db;
    const struct eider_series series = {.name = "echo"};
    uint64_t lsn = 0;

    (void)delivery;
    pthread_mutex_lock(&heard->lock);
    if (heard->calls == 0) {
        heard->inside[0] = eider_append_metric(db, &series, T0, 1, &lsn, NULL);
        heard->inside[1] = eider_wait_applied(db, lsn, 30000, NULL);
        heard->inside[2] = eider_unsubscribe(heard->self);
        heard->inside[3] = eider_close(db);
    }
    heard->calls++;
    pthread_cond_broadcast(&heard->changed);
    pthread_mutex_unlock(&heard->lock);
}

static void
test_callback_may_append_but_not_end_itself(void **state)
{
    struct place *place = *state;
    static struct heard heard;

    heard_init(&heard);
    heard.place = place;
    const struct eider_subscribe_options options = {.fn = on_delivery_acts, .ctx = &heard};
    pthread_mutex_lock(&heard.lock);
    assert_ok(place, eider_subscribe(place->db, &options, &heard.self, &place->error));
    pthread_mutex_unlock(&heard.lock);
    append(place, "m", NULL, 1);
    await_calls(&heard, 2);
    assert_int_equal(heard.inside[0], EIDER_OK);
    assert_int_equal(heard.inside[1], EIDER_OK);
    assert_int_equal(heard.inside[2], EIDER_INVALID);
    assert_int_equal(heard.inside[3], EIDER_INVALID);
    /* Left for eider_close to end. */
}

static void
test_subscribe_refuses_what_it_names(void **state)
{
    struct place *place = *state;
    struct eider_error *error = &place->error;
    struct eider_subscription *sub = NULL, *one = NULL;
    struct eider_subscribe_options options = {.fn = NULL};

    assert_refused(place, eider_subscribe(place->db, NULL, &sub, error), EIDER_INVALID, "options");
    assert_refused(place, eider_subscribe(place->db, &options, &sub, error), EIDER_INVALID, "fn");
    options.fn = on_delivery;
    options.table = "tradess";
    assert_refused(place, eider_subscribe(place->db, &options, &sub, error), EIDER_NOT_FOUND,
                   "did you mean \"trades\"?");
    options.table = "series";
    assert_refused(place, eider_subscribe(place->db, &options, &sub, error), EIDER_INVALID,
                   "table series");
    options.table = "trades";
    options.metric_name = "m";
    assert_refused(place, eider_subscribe(place->db, &options, &sub, error), EIDER_INVALID,
                   "metric_name is for table metrics, not for trades");
    options = (struct eider_subscribe_options){.fn = on_delivery, .queue_batches = 1000001};
    assert_refused(place, eider_subscribe(place->db, &options, &sub, error), EIDER_INVALID,
                   "queue_batches is 1000001");
    assert_null(sub);
    place_close(place);
    place->options.subscriptions_max = 1;
    place_open(place);
    options.queue_batches = 0;
    assert_ok(place, eider_subscribe(place->db, &options, &one, error));
    assert_refused(place, eider_subscribe(place->db, &options, &sub, error), EIDER_BUSY,
                   "subscriptions_max is 1");
    assert_int_equal(eider_unsubscribe(one), EIDER_OK);
    assert_ok(place, eider_subscribe(place->db, &options, &one, error));
    assert_int_equal(eider_unsubscribe(one), EIDER_OK);
    assert_int_equal(eider_unsubscribe(NULL), EIDER_OK);
}

/* Subscribes from the callback of an append, once the close has ended what was subscribed. */
struct late {
    struct place *place;
    enum eider_status status;
};

static void
on_done(void *ctx, const struct eider_receipt *receipt)
{
    struct late *late = ctx;
    const struct timespec pause = {.tv_nsec = 1000000};
    const struct eider_subscribe_options options = {.fn = on_delivery};
    struct eider_subscription *sub;

    late->status = receipt->status == EIDER_OK ? EIDER_BUSY : receipt->status;
    while (late->status == EIDER_BUSY) {
        late->status = eider_subscribe(late->place->db, &options, &sub, NULL);
        nanosleep(&pause, NULL);
    }
}

static void
test_subscribe_is_refused_while_the_handle_is_closed(void **state)
{
    struct place *place = *state;
    struct late late = {.place = place};
    static struct heard heard;
    const struct eider_points points = {
        .series = {.name = "m"}, .values = (const double[]){1}, .count = 1};

    place_close(place);
    place->options.subscriptions_max = 1;
    place_open(place);
    heard_init(&heard);
    subscribe(place, &heard, NULL, NULL);
    assert_ok(place, eider_append_points_async(place->db, &points, on_done, &late, &place->error));
    assert_int_equal(eider_close(place->db), EIDER_OK);
    assert_int_equal(late.status, EIDER_UNAVAILABLE);
    place_open(place);
}

#define WITH_PLACE(test) cmocka_unit_test_setup_teardown(test, place_setup, place_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PLACE(test_each_subscriber_gets_what_it_wants_in_order),
        WITH_PLACE(test_slow_subscriber_misses_counted_batches_and_holds_nobody_up),
        WITH_PLACE(test_queue_is_bounded_in_bytes),
        WITH_PLACE(test_unsubscribe_waits_for_the_callback_and_drops_the_rest),
        WITH_PLACE(test_callback_may_append_but_not_end_itself),
        WITH_PLACE(test_subscribe_refuses_what_it_names),
        WITH_PLACE(test_subscribe_is_refused_while_the_handle_is_closed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
