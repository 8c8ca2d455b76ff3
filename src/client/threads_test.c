/* Many threads on one client: the sums must come out, and the thread sanitizer finds nothing. */
#include <pthread.h>

#include "client/birdeye_internal.h"
#include "client/testing.h"

enum { THREADS = 8, CALLS = 300, CREDITS = 60, ROOM = 1000 };

static const char TOKEN[] = "So11111111111111111111111111111111111111112";

/* A network that is sometimes broken, and a budget with room for ROOM calls; for any thread. */
struct world {
    struct transport transport; /* first */
    struct metering_backend backend;
    atomic_uint sent, bad, committed, released;
    atomic_int room;
    atomic_bool down;
    atomic_long late;
};

static void
world_send(struct transport *self, const struct transport_request *request,
           struct transport_answer *ret_answer)
{
    struct world *world = (struct world *)(void *)self;
    unsigned n = atomic_fetch_add(&world->sent, 1);

    (void)request;
    ret_answer->sent = true;
    ret_answer->status = n % 7 == 3 ? 503 : 200;
    atomic_fetch_add(&world->bad, ret_answer->status != 200);
    buf_add_cstr(&ret_answer->body, "{}");
}

static void
world_free(struct transport *self)
{
    (void)self;
}

static struct world *
world_of(struct metering_backend *backend)
{
    return (struct world *)(void *)((char *)backend - offsetof(struct world, backend));
}

static enum metering_verdict
world_reserve(struct metering_backend *backend, const struct metering_call *call,
              struct metering_grant *ret_grant, struct metering_refusal *ret_refusal)
{
    struct world *world = world_of(backend);

    (void)call;
    (void)ret_refusal;
    if (atomic_load(&world->down)) {
        return METERING_DOWN;
    }
    if (atomic_fetch_sub(&world->room, 1) <= 0) {
        atomic_fetch_add(&world->room, 1);
        return METERING_REFUSED;
    }
    snprintf(ret_grant->reservation_id, METERING_ID_MAX, "r");
    return METERING_DONE;
}

static enum metering_verdict
world_commit(struct metering_backend *backend, const char *reservation_id,
             const struct metering_call *call, const struct metering_outcome *outcome,
             struct metering_receipt *ret_receipt)
{
    struct world *world = world_of(backend);

    (void)reservation_id;
    (void)call;
    ret_receipt->credits = outcome->credits;
    atomic_fetch_add(&world->committed, outcome->success);
    atomic_fetch_add(&world->room, !outcome->success); /* failures cost nothing */
    return METERING_DONE;
}

static enum metering_verdict
world_release(struct metering_backend *backend, const char *reservation_id)
{
    (void)reservation_id;
    atomic_fetch_add(&world_of(backend)->released, 1);
    return METERING_DONE;
}

static enum metering_verdict
world_event(struct metering_backend *backend, const struct metering_call *call,
            const struct metering_outcome *outcome, struct metering_receipt *ret_receipt)
{
    struct world *world = world_of(backend);

    (void)call;
    (void)ret_receipt;
    if (atomic_load(&world->down)) {
        return METERING_DOWN;
    }
    atomic_fetch_add(&world->late, (long)outcome->credits);
    return METERING_DONE;
}

static void
world_free_backend(struct metering_backend *backend)
{
    (void)backend;
}

static void
no_sleep(void *ctx, int64_t ms)
{
    (void)ctx;
    (void)ms;
}

static void
world_init(struct world *world, struct client_env *env)
{
    *world = (struct world){
        .transport = {.send = world_send, .free = world_free},
        .backend = {.reserve = world_reserve,
                    .commit = world_commit,
                    .release = world_release,
                    .event = world_event,
                    .free = world_free_backend},
        .room = ROOM,
    };
    *env = (struct client_env){
        .sleep_ms = no_sleep, .transport = &world->transport, .metering = &world->backend};
}

struct worker {
    pthread_t thread;
    struct eider_client *client;
    struct eider_birdeye *birdeye;
    unsigned ok, refused, other;
    int64_t credits;
};

static void *
work(void *arg)
{
    struct worker *worker = arg;

    for (int i = 0; i < CALLS; i++) {
        struct eider_response *response;
        enum eider_client_status status =
            worker->birdeye ? eider_birdeye_price(worker->birdeye, TOKEN, NULL, &response)
                            : eider_client_get(worker->client, "/a", &response);
        worker->ok += status == EIDER_CLIENT_OK;
        worker->refused += status == EIDER_CLIENT_REFUSED;
        worker->other += status != EIDER_CLIENT_OK && status != EIDER_CLIENT_REFUSED;
        worker->credits += response->credits;
        eider_response_free(response);
    }
    return NULL;
}

static struct worker
run_all(struct eider_client *client, struct eider_birdeye *birdeye)
{
    struct worker workers[THREADS];
    struct worker sum = {0};

    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.client = client, .birdeye = birdeye};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        sum.ok += workers[i].ok;
        sum.refused += workers[i].refused;
        sum.other += workers[i].other;
        sum.credits += workers[i].credits;
    }
    return sum;
}

static int64_t
credits(void *ctx, const struct eider_call *call)
{
    (void)ctx;
    return call->success ? CREDITS * EIDER_CREDIT : 0;
}

static void
test_threads_never_pass_the_budget(void **state)
{
    struct eider_client_options options = {
        .base_url = "http://h", .retries_max = 10, .credits = credits, .retry_initial_ms = 1};
    struct eider_client_stats stats;
    struct eider_client *client;
    struct client_env env;
    struct world world;

    (void)state;
    world_init(&world, &env);
    assert_int_equal(client_open_with(&options, &env, &client, NULL, 0), EIDER_CLIENT_OK);
    struct worker sum = run_all(client, NULL);
    eider_client_stats(client, &stats);
    assert_int_equal(sum.ok, ROOM);
    assert_int_equal(sum.refused, THREADS * CALLS - ROOM);
    assert_int_equal(sum.other, 0);
    assert_int_equal(world.committed, ROOM);
    assert_int_equal(sum.credits, (int64_t)ROOM * CREDITS * EIDER_CREDIT);
    assert_int_equal(stats.credits, sum.credits);
    assert_int_equal(stats.attempts, world.sent);
    assert_int_equal(stats.successes, ROOM);
    eider_client_close(client);
}

static void
test_threads_book_later_what_a_dead_meter_missed(void **state)
{
    struct eider_client_options options = {.base_url = "http://h",
                                           .retries_max = 10,
                                           .credits = credits,
                                           .fail_open = true,
                                           .queue_max = 100000};
    struct eider_client_stats stats;
    struct eider_client *client;
    struct client_env env;
    struct world world;

    (void)state;
    world_init(&world, &env);
    atomic_store(&world.down, true);
    assert_int_equal(client_open_with(&options, &env, &client, NULL, 0), EIDER_CLIENT_OK);
    struct worker sum = run_all(client, NULL);
    assert_int_equal(sum.ok, THREADS * CALLS);
    eider_client_stats(client, &stats);
    assert_int_equal(stats.queued, world.sent);
    assert_int_equal(stats.unmetered, world.sent);
    atomic_store(&world.down, false);
    assert_int_equal(eider_client_flush(client, 60000), 0);
    eider_client_stats(client, &stats);
    assert_int_equal(stats.booked_late, world.sent);
    assert_int_equal(stats.lost, 0);
    assert_int_equal(world.late, (int64_t)THREADS * CALLS * CREDITS * EIDER_CREDIT);
    eider_client_close(client);
}

static void
test_threads_share_keys_and_estimate(void **state)
{
    static const char *const names[] = {"a", "b", "c"};
    struct eider_birdeye_options options = {.keys = names, .key_count = 3, .rate_max = 100000};
    struct eider_birdeye_key keys[3];
    struct eider_birdeye_usage usage;
    struct eider_birdeye *birdeye;
    struct client_env env;
    struct world world;

    (void)state;
    world_init(&world, &env);
    atomic_store(&world.room, INT32_MAX);
    assert_int_equal(birdeye_open_with(&options, &env, &birdeye, NULL, 0), EIDER_CLIENT_OK);
    struct worker sum = run_all(NULL, birdeye);
    assert_int_equal(sum.ok, THREADS * CALLS);
    assert_int_equal(eider_birdeye_keys(birdeye, keys, 3), 3);
    assert_int_equal(keys[0].requests + keys[1].requests + keys[2].requests, world.sent);
    assert_int_equal(keys[0].failures + keys[1].failures + keys[2].failures, world.bad);
    assert_true(keys[0].requests - keys[2].requests <= 1);
    eider_birdeye_usage(birdeye, &usage);
    assert_int_equal(usage.credits, (int64_t)THREADS * CALLS * CREDITS * EIDER_CREDIT);
    eider_birdeye_close(birdeye);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_never_pass_the_budget),
        cmocka_unit_test(test_threads_book_later_what_a_dead_meter_missed),
        cmocka_unit_test(test_threads_share_keys_and_estimate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
