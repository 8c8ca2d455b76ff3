/* Tests of broadcasts and of calls to each client or one, over real sockets. */
#include <inttypes.h>

#include "http/testing_ws.h"

static void
broadcast(struct app *app, unsigned group, const char *text)
{
    struct ws_frame *frame = ws_frame_text(slice_of(text));

    http_broadcast(app->fixture->server, group, frame);
    ws_frame_unref(frame);
}

static void
test_ws_broadcasts_to_the_members_of_a_group(void **state)
{
    enum { CLIENTS = 700 }; /* more than one slice */
    static int fds[CLIENTS];

    (void)state;
    for (unsigned loops = 1; loops <= 2; loops++) {
        struct app *app = app_new(loops);
        for (int i = 0; i < CLIENTS; i++) {
            fds[i] = connect_ws(app, 0);
            send_text(fds[i], i % 2 == 0 ? "join 1" : i % 3 == 0 ? "join 3" : "join 2");
            assert_frame(fds[i], 0x81, i % 2 == 0 ? "join 1" : i % 3 == 0 ? "join 3" : "join 2");
        }
        broadcast(app, 0, "zero");
        broadcast(app, 1, "one");
        for (int i = 0; i < CLIENTS; i++) {
            send_text(fds[i], "end");
        }
        for (int i = 0; i < CLIENTS; i++) {
            BUF_AUTO struct buf payload;
            int zero = 0;
            int one = 0;
            int frames = i % 2 != 0 && i % 3 == 0 ? 3 : 2;
            buf_init(&payload, 0);
            for (int n = 0; n < frames; n++) {
                assert_int_equal(read_frame(fds[i], &payload), 0x81);
                zero += slice_is(buf_slice(&payload), "zero");
                one += slice_is(buf_slice(&payload), "one");
            }
            assert_int_equal(zero, i % 2 == 0 || i % 3 == 0);
            assert_int_equal(one, i % 2 != 0);
            close(fds[i]);
        }
        fixture_wait_stats(app->fixture, no_clients);
        app_free(app);
    }
}

/* Groups in the upper half of the mask are told apart from those 32 below. */
static void
test_ws_broadcasts_to_the_last_group_and_no_other(void **state)
{
    static const unsigned groups[] = {0, 31, 32, HTTP_GROUPS - 1};
    enum { GROUPS = sizeof(groups) / sizeof(groups[0]) };
    struct app *app = app_new(2);
    int fds[GROUPS + 1];
    char text[32];

    (void)state;
    for (size_t i = 0; i < GROUPS; i++) {
        fds[i] = connect_ws(app, 0);
        snprintf(text, sizeof(text), "join %" PRIx64, UINT64_C(1) << groups[i]);
        send_text(fds[i], text);
        assert_frame(fds[i], 0x81, text);
    }
    fds[GROUPS] = connect_ws(app, 0);
    send_text(fds[GROUPS], "join ffffffffffffffff");
    assert_frame(fds[GROUPS], 0x81, "join ffffffffffffffff");
    for (size_t i = 0; i < GROUPS; i++) {
        snprintf(text, sizeof(text), "of group %u", groups[i]);
        broadcast(app, groups[i], text);
        assert_frame(fds[i], 0x81, text);
        assert_frame(fds[GROUPS], 0x81, text);
    }
    for (size_t i = 0; i <= GROUPS; i++) {
        send_text(fds[i], "end");
        assert_frame(fds[i], 0x81, "end");
        close(fds[i]);
    }
    fixture_wait_stats(app->fixture, no_clients);
    app_free(app);
}

/* The same group of two channels at the same time: each gets its own frames, and the ring of
 * clients is gone round for both. */
static void
test_ws_broadcasts_to_one_channel_alone(void **state)
{
    enum { CLIENTS = 600, CHANNELS = 3 };
    static const unsigned channels[CHANNELS] = {0, 1, HTTP_CHANNELS - 1};
    static int fds[CLIENTS];
    struct app *app = app_new(2);
    char text[32];

    (void)state;
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = connect_ws(app, 0);
        snprintf(text, sizeof(text), "channel %x", channels[i % CHANNELS]);
        send_text(fds[i], text);
        assert_frame(fds[i], 0x81, text);
        send_text(fds[i], "join 2");
        assert_frame(fds[i], 0x81, "join 2");
    }
    for (unsigned i = 0; i < CHANNELS; i++) {
        snprintf(text, sizeof(text), "of channel %u", channels[i]);
        struct ws_frame *frame = ws_frame_text(slice_of(text));
        http_broadcast_channel(app->fixture->server, channels[i], 1, frame);
        ws_frame_unref(frame);
    }
    for (int i = 0; i < CLIENTS; i++) {
        snprintf(text, sizeof(text), "of channel %u", channels[i % CHANNELS]);
        assert_frame(fds[i], 0x81, text);
        send_text(fds[i], "end");
        assert_frame(fds[i], 0x81, "end");
        close(fds[i]);
    }
    fixture_wait_stats(app->fixture, no_clients);
    app_free(app);
}

enum { FRAME_BYTES = 50000, READERS = 20, STALLED = 3, FRAMES = 300 };

/* A frame that begins with its number. */
static struct ws_frame *
numbered_frame(int number)
{
    char *text = mem_alloc(FRAME_BYTES);
    int len = snprintf(text, FRAME_BYTES, "%d;", number);

    memset(text + len, 'x', (size_t)(FRAME_BYTES - len));
    struct ws_frame *frame = ws_frame_text(slice_make(text, FRAME_BYTES));
    free(text);
    return frame;
}

struct reader {
    pthread_t thread;
    int fd;
    int frames;
    bool in_order;
    _Atomic int last;
};

/* Reads until the last frame has come; numbers may be left out, never repeated or reversed. */
static void *
read_numbered(void *arg)
{
    struct reader *reader = arg;
    BUF_AUTO struct buf payload;
    int last = -1;

    buf_init(&payload, 0);
    atomic_store(&reader->last, -1);
    reader->in_order = true;
    while (last < FRAMES - 1 && read_frame(reader->fd, &payload) == 0x81) {
        int number = 0;
        for (size_t i = 0; i < payload.len && payload.ptr[i] != ';'; i++) {
            number = number * 10 + (payload.ptr[i] - '0');
        }
        bool whole = payload.len == FRAME_BYTES && payload.ptr[FRAME_BYTES - 1] == 'x';
        reader->in_order = reader->in_order && number > last && whole;
        last = number;
        reader->frames++;
        atomic_store(&reader->last, last);
    }
    reader->in_order = reader->in_order && last == FRAMES - 1;
    return NULL;
}

static bool
only_readers(const struct http_stats *stats)
{
    return stats->ws_clients == READERS;
}

static void
test_ws_stalled_clients_do_not_hold_up_the_others(void **state)
{
    struct app *app = app_new(1);
    struct reader readers[READERS];
    int stalled[STALLED];
    struct http_stats stats;

    (void)state;
    for (int i = 0; i < STALLED; i++) {
        stalled[i] = connect_ws(app, 4096);
    }
    for (int i = 0; i < READERS; i++) {
        readers[i] = (struct reader){.fd = connect_ws(app, 0)};
        assert_int_equal(pthread_create(&readers[i].thread, NULL, read_numbered, &readers[i]), 0);
    }
    for (int i = 0; i < FRAMES; i++) {
        struct ws_frame *frame = numbered_frame(i);
        http_broadcast(app->fixture->server, 0, frame);
        ws_frame_unref(frame);
        /* Those who stall come before all readers in the round. */
        while (atomic_load(&readers[0].last) < i) {
            sched_yield();
        }
    }
    for (int i = 0; i < READERS; i++) {
        pthread_join(readers[i].thread, NULL);
        assert_true(readers[i].in_order);
    }
    http_server_stats(app->fixture->server, &stats);
    assert_int_equal(stats.ws_clients, READERS + STALLED);
    assert_true(stats.ws_frames_skipped > 0);
    assert_int_equal(stats.ws_dropped_slow, 0);
    /* Those who have kept a frame waiting for 10 s are dropped at the next one. */
    fixture_advance(app->fixture, 11);
    broadcast(app, 0, "next");
    stats = fixture_wait_stats(app->fixture, only_readers);
    assert_int_equal(stats.ws_dropped_slow, STALLED);
    for (int i = 0; i < STALLED; i++) {
        close(stalled[i]);
    }
    for (int i = 0; i < READERS; i++) {
        assert_frame(readers[i].fd, 0x81, "next");
        close(readers[i].fd);
    }
    app_free(app);
}

static void
send_found(void *ctx, struct ws_client *client)
{
    (void)ctx;
    assert_non_null(client);
    ws_send_text(client, SLICE_LITERAL("found"));
}

/* What was in flight arrives whole, then the newest; nothing in between. */
static void
test_ws_a_slow_client_gets_the_newest_frame(void **state)
{
    struct app *app = app_new(1);
    int other = connect_ws(app, 0);
    struct http_stats stats;

    (void)state;
    send_text(other, "join 0");
    assert_frame(other, 0x81, "join 0");
    uint64_t other_id = app->last_id;
    struct reader reader = {.fd = connect_ws(app, 4096)};
    for (int i = 0; i < FRAMES; i++) {
        struct ws_frame *frame = numbered_frame(i);
        http_broadcast(app->fixture->server, 0, frame);
        ws_frame_unref(frame);
        /* Posts are run in order, so the round is at least under way when this comes back. */
        http_post_client(app->fixture->server, other_id, send_found, NULL);
        assert_frame(other, 0x81, "found");
    }
    read_numbered(&reader);
    assert_true(reader.in_order);
    http_server_stats(app->fixture->server, &stats);
    assert_true(stats.ws_frames_skipped > FRAMES / 2);
    assert_int_equal((uint64_t)reader.frames + stats.ws_frames_skipped, FRAMES);
    close(reader.fd);
    close(other);
    app_free(app);
}

/* Clients that come and go while rounds are under way: nobody is visited after its end. */
static void
test_ws_rounds_survive_clients_that_leave(void **state)
{
    enum { CLIENTS = 400 };
    static int fds[CLIENTS];
    struct app *app = app_new(2);

    (void)state;
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = connect_ws(app, 0);
    }
    for (int i = 0; i < CLIENTS; i++) {
        broadcast(app, 0, "tick");
        fixture_advance(app->fixture, 0);
        if (i % 3 == 0) {
            client_abort(fds[i]);
        } else {
            close(fds[i]);
        }
        if (i % 10 == 0) {
            close(connect_ws(app, 0));
        }
    }
    fixture_wait_stats(app->fixture, no_clients);
    broadcast(app, 0, "to nobody");
    app_free(app);
}

/* ---- single clients from other threads ---- */

static void
send_hello(void *ctx, struct ws_client *client)
{
    (void)ctx;
    ws_send_text(client, SLICE_LITERAL("to each"));
}

static void
close_client(void *ctx, struct ws_client *client)
{
    (void)ctx;
    ws_close(client, 1000, "all");
}

static void
count_found(void *ctx, struct ws_client *client)
{
    atomic_fetch_add((_Atomic int *)ctx, client ? 1 : 100);
    if (client) {
        ws_send_text(client, SLICE_LITERAL("found"));
    }
}

static void
test_ws_reaches_each_client_and_one(void **state)
{
    enum { CLIENTS = 600 };
    static int fds[CLIENTS];
    struct app *app = app_new(2);
    _Atomic int found = 0;

    (void)state;
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = connect_ws(app, 0);
        send_text(fds[i], "here");
        assert_frame(fds[i], 0x81, "here");
    }
    http_post_client(app->fixture->server, app->last_id, count_found, &found);
    assert_frame(fds[CLIENTS - 1], 0x81, "found");
    http_each_client(app->fixture->server, send_hello, NULL);
    for (int i = 0; i < CLIENTS; i++) {
        assert_frame(fds[i], 0x81, "to each");
    }
    http_each_client(app->fixture->server, close_client, NULL);
    for (int i = 0; i < CLIENTS; i++) {
        assert_frame(fds[i], 0x88,
                     "\x03\xe8"
                     "all");
        close(fds[i]);
    }
    fixture_wait_stats(app->fixture, no_connections);
    http_post_client(app->fixture->server, app->last_id, count_found, &found);
    http_post_client(app->fixture->server, UINT64_MAX, count_found, &found);
    app_free(app);
    assert_int_equal(found, 201);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ws_broadcasts_to_the_members_of_a_group),
        cmocka_unit_test(test_ws_broadcasts_to_the_last_group_and_no_other),
        cmocka_unit_test(test_ws_broadcasts_to_one_channel_alone),
        cmocka_unit_test(test_ws_stalled_clients_do_not_hold_up_the_others),
        cmocka_unit_test(test_ws_a_slow_client_gets_the_newest_frame),
        cmocka_unit_test(test_ws_rounds_survive_clients_that_leave),
        cmocka_unit_test(test_ws_reaches_each_client_and_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
