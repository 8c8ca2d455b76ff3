/* Tests of the live stream's topics, over real sockets. */
#include "http/testing_ws.h"

#include "api/api_private.h"

enum { FRAMES_MAX = 2000, INTERVAL_MS = 2 };

static const char *const keys[LIVE_TOPIC_COUNT] = {"\"market_data\":{", "\"strategy\":{",
                                                   "\"execution\":{",   "\"system\":{",
                                                   "\"trades\":[",      "\"spend\":{"};

struct stream_fixture {
    struct fixture *http;
    struct api api;
};

static void
handle(void *ctx, struct http_exchange *exchange)
{
    get_stream(ctx, NULL, exchange);
}

static void
write_budgets(void *ctx, struct json_writer *json)
{
    (void)ctx;
    json_key(json, "reserved");
    json_i64(json, 60);
    json_key(json, "budgets");
    json_array_begin(json);
    json_array_end(json);
}

static int
setup(void **state)
{
    struct stream_fixture *f = mem_zalloc(1, sizeof(*f));

    f->http = fixture_new();
    f->http->options.handler = handle;
    f->http->options.ctx = &f->api;
    f->api.clock = clock_system();
    f->api.options.ws_clients_max = 100;
    f->api.options.ws_interval_ms = INTERVAL_MS;
    f->api.options.ws_heartbeat_ms = 1000 * TEST_WAIT_S;
    live_open(&(struct live_options){0}, &f->api.live);
    live_set_spend(f->api.live, write_budgets, NULL);
    f->api.stream = stream_open(&f->api);
    fixture_start(f->http);
    atomic_store(&f->api.server, f->http->server);
    stream_start(f->api.stream);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct stream_fixture *f = *state;

    stream_stop(f->api.stream);
    fixture_free(f->http);
    stream_close(f->api.stream);
    live_close(f->api.live);
    free(f);
    return 0;
}

static int
connect_stream(struct stream_fixture *f)
{
    BUF_AUTO struct buf first;
    struct app app = {.fixture = f->http};
    int fd = connect_ws(&app, 0);

    buf_init(&first, 0);
    assert_int_equal(read_frame(fd, &first), 0x81);
    buf_add_char(&first, '\0');
    assert_non_null(strstr(first.ptr, "\"type\":\"connected\""));
    return fd;
}

static uint32_t
read_topics(int fd, struct buf *frame)
{
    uint32_t topics = 0;

    assert_int_equal(read_frame(fd, frame), 0x81);
    buf_add_char(frame, '\0');
    for (int i = 0; i < LIVE_TOPIC_COUNT; i++) {
        topics |= strstr(frame->ptr, keys[i]) ? 1U << i : 0;
    }
    return topics;
}

/* Frames made before a change of topics may still come; behind the first one of the new kind there
 * is none of another. */
static void
expect_topics(int fd, uint32_t wanted)
{
    BUF_AUTO struct buf frame;
    uint32_t topics = 0;

    buf_init(&frame, 0);
    for (int i = 0; i < FRAMES_MAX && topics != wanted; i++) {
        topics = read_topics(fd, &frame);
    }
    for (int i = 0; i < 2; i++) {
        if (topics != wanted) {
            fail_msg("topics %x instead of %x in %s", topics, wanted, frame.ptr);
        }
        topics = read_topics(fd, &frame);
    }
}

static void
test_stream_gives_no_spend_to_those_who_did_not_ask(void **state)
{
    struct stream_fixture *f = *state;
    BUF_AUTO struct buf frame;
    int asks = connect_stream(f);
    int silent = connect_stream(f);

    buf_init(&frame, 0);
    send_text(asks, "subscribe:spend");
    expect_topics(asks, 1U << LIVE_SPEND);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(read_topics(silent, &frame), LIVE_TOPICS_DEFAULT);
        assert_null(strstr(frame.ptr, "\"type\""));
    }
    close(asks);
    close(silent);
}

static void
test_stream_gives_any_combination_of_topics(void **state)
{
    struct stream_fixture *f = *state;
    char text[64];

    for (uint32_t wanted = 1; wanted < 1U << LIVE_TOPIC_COUNT; wanted++) {
        int fd = connect_stream(f);
        for (int i = 0; i < LIVE_TOPIC_COUNT; i++) {
            if (wanted & (1U << i)) {
                snprintf(text, sizeof(text), "subscribe:%s", live_topic_name((enum live_topic)i));
                send_text(fd, text);
            }
        }
        expect_topics(fd, wanted);
        close(fd);
    }
}

static void
test_stream_takes_topics_away_and_gives_all_back(void **state)
{
    struct stream_fixture *f = *state;
    int fd = connect_stream(f);

    send_text(fd, "unsubscribe:trades");
    expect_topics(fd, LIVE_TOPICS_DEFAULT & ~(1U << LIVE_TRADES));
    send_text(fd, "subscribe:trades");
    expect_topics(fd, LIVE_TOPICS_DEFAULT);
    send_text(fd, "subscribe:spend");
    expect_topics(fd, (1U << LIVE_TOPIC_COUNT) - 1);
    send_text(fd, "unsubscribe:spend");
    expect_topics(fd, LIVE_TOPICS_DEFAULT);
    for (int i = 0; i < LIVE_SPEND - 1; i++) {
        char text[64];
        snprintf(text, sizeof(text), "unsubscribe:%s", live_topic_name((enum live_topic)i));
        send_text(fd, text);
    }
    expect_topics(fd, 1U << LIVE_TRADES);
    send_text(fd, "unsubscribe:trades");
    expect_topics(fd, LIVE_TOPICS_DEFAULT);
    send_text(fd, "subscribe:everything");
    send_text(fd, "unsubscribe:spend");
    expect_topics(fd, LIVE_TOPICS_DEFAULT);
    close(fd);
}

/* One message is one change: no frame has a part of it. */
static void
test_stream_takes_several_topics_at_once(void **state)
{
    struct stream_fixture *f = *state;
    BUF_AUTO struct buf frame;
    const uint32_t wanted = 1U << LIVE_MARKET | 1U << LIVE_SPEND;
    int fd = connect_stream(f);
    uint32_t topics = LIVE_TOPICS_DEFAULT;

    buf_init(&frame, 0);
    send_text(fd, "subscribe:market_data, spend,,other");
    for (int i = 0; i < FRAMES_MAX && topics == LIVE_TOPICS_DEFAULT; i++) {
        topics = read_topics(fd, &frame);
    }
    assert_int_equal(topics, wanted);
    send_text(fd, "unsubscribe:spend,market_data");
    for (int i = 0; i < FRAMES_MAX && topics == wanted; i++) {
        topics = read_topics(fd, &frame);
    }
    assert_int_equal(topics, LIVE_TOPICS_DEFAULT);
    close(fd);
}

static void
test_stream_says_who_has_subscribed_to_what(void **state)
{
    struct stream_fixture *f = *state;
    BUF_AUTO struct buf text;
    struct json_writer w;
    int fd = connect_stream(f);

    send_text(fd, "subscribe:spend");
    expect_topics(fd, 1U << LIVE_SPEND);
    buf_init(&text, 0);
    json_init(&w, &text);
    stream_write_stats(f->api.stream, &w);
    buf_add_char(&text, '\0');
    assert_non_null(strstr(text.ptr, "\"subscriptions\":[\"spend\"]"));
    send_text(fd, "unsubscribe:spend");
    expect_topics(fd, LIVE_TOPICS_DEFAULT);
    buf_reset(&text);
    json_init(&w, &text);
    stream_write_stats(f->api.stream, &w);
    buf_add_char(&text, '\0');
    assert_non_null(strstr(text.ptr, "\"subscriptions\":[]"));
    close(fd);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_stream_gives_no_spend_to_those_who_did_not_ask, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_stream_gives_any_combination_of_topics, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_stream_takes_topics_away_and_gives_all_back, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_stream_takes_several_topics_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stream_says_who_has_subscribed_to_what, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
