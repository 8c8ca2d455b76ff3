/* Tests of the gateway: upstreams that fail, further attempts, booking. */
#include "gateway/testing.h"

/* ---- upstreams that fail ---- */

static void
test_gateway_tells_timeouts(void **state)
{
    struct world *world = world_new();
    ANSWER_AUTO struct answer answer;

    (void)state;
    world->options.timeout_ms = 50;
    world_start(world);
    ask(world, "GET /gateway/up/hold HTTP/1.1\r\nHost: a\r\n\r\n", &answer);
    assert_int_equal(answer.status, 504);
    assert_true(has_text(&answer, "UPSTREAM_TIMEOUT"));
    assert_true(has_text(&answer, "Request to Paid timed out"));
    assert_true(slice_is(answer_header(&answer, "X-Eider-Credits"), "0"));
    assert_notes(&world->notes, "RC");
    const struct note *commit = note_at(&world->notes, 1);
    assert_false(commit->has_status);
    assert_int_equal(commit->credits, 0);
    http_reply(take_upstream(world));
    world_free(world);
}

static void
test_gateway_tells_upstreams_that_are_not_there(void **state)
{
    struct world *world = world_new();
    ANSWER_AUTO struct answer answer;

    (void)state;
    http_server_stop(world->upstream, 0);
    world->upstream = NULL;
    world->options.retries = 2;
    world_start(world);
    /* Nothing was sent, so that another attempt does no harm even to a POST. */
    ask(world, "POST /gateway/up/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab", &answer);
    assert_int_equal(answer.status, 502);
    assert_true(has_text(&answer, "Network error"));
    assert_notes(&world->notes, "RC");
    struct gateway_stats stats = stats_of(world);
    assert_int_equal(stats.attempts, 3);
    assert_int_equal(stats.upstream_errors, 3);
    world_free(world);
}

static void
test_gateway_cuts_answers_that_break_off(void **state)
{
    struct world *world = world_run();
    ANSWER_AUTO struct answer answer;
    char part[16];

    (void)state;
    int fd = front_connect(world);
    client_send_text(fd, "GET /gateway/up/hold HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http_exchange *held = take_upstream(world);
    http_reply_begin(held, 10);
    http_reply_write(held, SLICE_LITERAL("abc"));
    client_answer_to(fd, true, &answer);
    assert_int_equal(answer.status, 200);
    assert_true(client_read(fd, part, 3));
    http_reply_abort(held);
    assert_false(client_read(fd, part, 1));
    close(fd);
    assert_notes(&world->notes, "RC");
    assert_false(note_at(&world->notes, 1)->success);
    assert_int_equal(note_at(&world->notes, 1)->credits, COST); /* it answered 200, so it bills */
    world_free(world);
}

/* ---- again ---- */

static void
test_gateway_tries_again_until_it_has_an_answer(void **state)
{
    struct world *world = world_new();
    ANSWER_AUTO struct answer answer;

    (void)state;
    world->options.retries = 2;
    world->fail_first = 2;
    world_start(world);
    ask(world, "PUT /gateway/up/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody",
        &answer);
    assert_int_equal(answer.status, 200);
    assert_true(slice_is(buf_slice(&answer.body), "body"));
    assert_notes(&world->notes, "RC");
    assert_non_null(strstr(note_at(&world->notes, 1)->metadata, "\"attempts\":3"));
    assert_int_equal(note_at(&world->notes, 1)->credits, COST);
    assert_int_equal(stats_of(world).retries, 2);
    world_free(world);
}

static void
test_gateway_passes_the_last_failure_on(void **state)
{
    static const struct {
        const char *method, *retry_after;
        unsigned retries, attempts;
    } cases[] = {
        {"GET", NULL, 2, 3},   /* no more attempts */
        {"POST", NULL, 2, 1},  /* may have been done already */
        {"GET", "3600", 2, 1}, /* longer than anybody waits */
        {"GET", NULL, 0, 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world *world = world_new();
        ANSWER_AUTO struct answer answer;
        char text[128];
        world->options.retries = cases[i].retries;
        world->fail_first = 100;
        world->fail_status = 429;
        world->retry_after = cases[i].retry_after;
        world_start(world);
        snprintf(text, sizeof(text), "%s /gateway/up/x HTTP/1.1\r\nHost: a\r\n\r\n",
                 cases[i].method);
        ask(world, text, &answer);
        assert_int_equal(answer.status, 429);
        assert_true(slice_is(buf_slice(&answer.body), "failed"));
        assert_int_equal(stats_of(world).attempts, cases[i].attempts);
        assert_notes(&world->notes, "RC");
        assert_int_equal(note_at(&world->notes, 1)->status, 429);
        assert_int_equal(note_at(&world->notes, 1)->credits, 0);
        assert_string_equal(note_at(&world->notes, 1)->error, "Rate limit exceeded for Paid");
        world_free(world);
    }
}

/* A body is kept for another attempt up to 64 KiB. */
static void
test_gateway_sends_small_bodies_again_and_large_ones_once(void **state)
{
    static const int sizes[] = {60000, 200000};

    (void)state;
    for (int large = 0; large < 2; large++) {
        struct world *world = world_new();
        ANSWER_AUTO struct answer answer;
        BUF_AUTO struct buf request = {0};
        world->options.retries = 1;
        world->fail_first = 1;
        world_start(world);
        buf_init(&request, 0);
        buf_add_fmt(&request,
                    "PUT /gateway/up/echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n",
                    sizes[large]);
        size_t at = request.len;
        for (int i = 0; i < sizes[large]; i++) {
            buf_add_char(&request, (char)('a' + i % 23));
        }
        int fd = front_connect(world);
        client_send(fd, buf_slice(&request));
        client_answer(fd, &answer);
        close(fd);
        assert_int_equal(answer.status, large ? 503 : 200);
        assert_int_equal(stats_of(world).attempts, large ? 1 : 2);
        if (!large) {
            assert_int_equal(answer.body.len, sizes[0]);
            assert_memory_equal(answer.body.ptr, request.ptr + at, answer.body.len);
        }
        world_free(world);
    }
}

static const char billed_book[] = "book: b\napi: Paid\nversion: 1\neffective_from: 2020-01-01\n"
                                  "rules:\n  - {name: all, credits: 5, on_failure: 2}\n";

/* Each attempt is billed: the reservation grows with it, or there is no other. */
static void
test_gateway_reserves_for_another_attempt_that_costs(void **state)
{
    (void)state;
    for (int refused = 0; refused < 2; refused++) {
        struct world *world = world_new();
        ANSWER_AUTO struct answer answer;
        struct err err;
        assert_int_equal(prices_load_text("b", slice_of(billed_book), &world->notes.prices, &err),
                         ERR_OK);
        world->notes.refuse_extend = refused;
        world->options.retries = 3;
        world->fail_first = 1;
        world_start(world);
        ask(world, "GET /gateway/up/x HTTP/1.1\r\nHost: a\r\n\r\n", &answer);
        assert_notes(&world->notes, "REC");
        assert_int_equal(note_at(&world->notes, 0)->credits, 5000000);
        assert_int_equal(note_at(&world->notes, 1)->credits, 2000000);
        if (refused) {
            assert_int_equal(answer.status, 503);
            assert_true(slice_is(buf_slice(&answer.body), "failed"));
            assert_true(slice_is(answer_header(&answer, "X-Eider-Credits"), "2"));
        } else {
            assert_int_equal(answer.status, 200);
            assert_true(slice_is(answer_header(&answer, "X-Eider-Credits"), "7"));
            assert_true(note_at(&world->notes, 2)->has_credits);
            assert_int_equal(note_at(&world->notes, 2)->credits, 7000000);
        }
        world_free(world);
    }
}

static void
test_gateway_leaves_the_price_of_one_attempt_to_the_meter(void **state)
{
    struct world *world = world_new();
    ANSWER_AUTO struct answer answer;
    struct err err;

    (void)state;
    assert_int_equal(prices_load_text("b", slice_of(billed_book), &world->notes.prices, &err),
                     ERR_OK);
    world_start(world);
    ask(world, "GET /gateway/up/x HTTP/1.1\r\nHost: a\r\n\r\n", &answer);
    assert_true(slice_is(answer_header(&answer, "X-Eider-Credits"), "5"));
    assert_notes(&world->notes, "RC");
    assert_false(note_at(&world->notes, 0)->has_credits);
    assert_false(note_at(&world->notes, 1)->has_credits); /* so that it keeps the rule's name */
    world_free(world);
}

/* Where the client said how much to reserve, the price is still the book's. */
static void
test_gateway_books_the_price_whatever_was_reserved(void **state)
{
    struct world *world = world_new();
    ANSWER_AUTO struct answer answer;
    struct err err;

    (void)state;
    assert_int_equal(prices_load_text("b", slice_of(billed_book), &world->notes.prices, &err),
                     ERR_OK);
    world_start(world);
    ask(world, "GET /gateway/up/x HTTP/1.1\r\nHost: a\r\nX-Eider-Max-Credits: 0.5\r\n\r\n",
        &answer);
    assert_true(slice_is(answer_header(&answer, "X-Eider-Credits"), "5"));
    assert_notes(&world->notes, "RC");
    assert_int_equal(note_at(&world->notes, 0)->credits, 500000);
    assert_true(note_at(&world->notes, 1)->has_credits);
    assert_int_equal(note_at(&world->notes, 1)->credits, 5000000);
    world_free(world);
}

static void
test_gateway_leaves_failing_upstreams_alone_for_a_while(void **state)
{
    struct world *world = world_new();
    struct gateway_upstream_status status;

    (void)state;
    world->options.breaker.pause_after = 3;
    world->fail_first = 100;
    world->fail_status = 500;
    world_start(world);
    for (int i = 0; i < 4; i++) {
        ANSWER_AUTO struct answer answer;
        ask(world, "GET /gateway/up/x HTTP/1.1\r\nHost: a\r\n\r\n", &answer);
        assert_int_equal(answer.status, i < 3 ? 500 : 503);
        if (i == 3) {
            assert_true(has_text(&answer, "UPSTREAM_BREAKER_OPEN"));
            assert_true(slice_is(answer_header(&answer, "Retry-After"), "60"));
        }
        (void)note_at(&world->notes, i < 3 ? (size_t)i * 2 + 1 : 5);
    }
    assert_int_equal(world->requests, 3);
    assert_notes(&world->notes, "RCRCRC");
    assert_true(gateway_upstream_status(world->gateway, 0, &status));
    assert_int_equal(status.state, UPSTREAM_PAUSED);
    assert_int_equal(status.failures, 3);
    assert_false(gateway_upstream_status(world->gateway, 1, &status));
    world_free(world);
}

/* ---- booking ---- */

static void
test_gateway_does_not_lose_answers_that_cannot_be_booked(void **state)
{
    struct world *world = world_new();
    ANSWER_AUTO struct answer answer;

    (void)state;
    world->notes.fail_commit = true;
    world_start(world);
    ask(world, "GET /gateway/up/x HTTP/1.1\r\nHost: a\r\n\r\n", &answer);
    assert_int_equal(answer.status, 200);
    assert_true(has_text(&answer, "GET /base/x"));
    assert_notes(&world->notes, "RC");
    while (stats_of(world).commit_failures == 0) {
        sched_yield();
    }
    world_free(world);
}

static void
test_gateway_renews_the_lease_of_long_calls(void **state)
{
    struct world *world = world_new();

    (void)state;
    world->gateway_options.lease_ms = 30;
    world_start(world);
    int fd = front_connect(world);
    client_send_text(fd, "GET /gateway/up/hold HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http_exchange *held = take_upstream(world);
    assert_int_equal(note_at(&world->notes, 1)->what, 'E');
    assert_int_equal(note_at(&world->notes, 2)->what, 'E');
    assert_int_equal(note_at(&world->notes, 2)->credits, 0);
    http_reply(held);
    assert_answer(fd, 200, "");
    close(fd);
    world_free(world);
}

static void
test_gateway_close_ends_what_is_under_way(void **state)
{
    struct world *world = world_run();

    (void)state;
    int fd = front_connect(world);
    client_send_text(fd, "GET /gateway/up/hold HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http_exchange *held = take_upstream(world);
    http_server_stop(world->front, 0);
    world->front = NULL;
    gateway_close(world->gateway);
    world->gateway = NULL;
    assert_notes(&world->notes, "RC");
    assert_end(fd);
    close(fd);
    http_reply(held);
    world_free(world);
}

static void
test_gateway_open_names_what_is_wrong(void **state)
{
    static const struct {
        const char *name, *url, *header, *text;
    } cases[] = {
        {"a/b", "http://h", "X-A", "a/b"},       {"..", "http://h", "X-A", "name"},
        {"a", "", "X-A", "base_url is missing"}, {"a", "ftp://h", "X-A", "ftp://h"},
        {"a", "http:///x", "X-A", "expected"},   {"a", "http://u:pass@h", "X-A", "without user"},
        {"a", "http://h?x=1", "X-A", "query"},   {"a", "http://h", "Host", "Host"},
        {"a", "http://h", "X A", "X A"},
    };
    struct world *world = world_new();

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct gateway *gateway = NULL;
        struct err err;
        world->options.name = cases[i].name;
        world->options.base_url = cases[i].url;
        world->options.headers[0].name = cases[i].header;
        assert_int_equal(gateway_open(&world->gateway_options, &gateway, &err), ERR_USAGE);
        if (!strstr(err.msg, cases[i].text)) {
            fail_msg("\"%s\" lacks \"%s\"", err.msg, cases[i].text);
        }
        assert_null(strstr(err.msg, "pass"));
        assert_null(gateway);
    }
    world_free(world);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gateway_tells_timeouts),
        cmocka_unit_test(test_gateway_tells_upstreams_that_are_not_there),
        cmocka_unit_test(test_gateway_cuts_answers_that_break_off),
        cmocka_unit_test(test_gateway_tries_again_until_it_has_an_answer),
        cmocka_unit_test(test_gateway_passes_the_last_failure_on),
        cmocka_unit_test(test_gateway_sends_small_bodies_again_and_large_ones_once),
        cmocka_unit_test(test_gateway_reserves_for_another_attempt_that_costs),
        cmocka_unit_test(test_gateway_leaves_the_price_of_one_attempt_to_the_meter),
        cmocka_unit_test(test_gateway_books_the_price_whatever_was_reserved),
        cmocka_unit_test(test_gateway_leaves_failing_upstreams_alone_for_a_while),
        cmocka_unit_test(test_gateway_does_not_lose_answers_that_cannot_be_booked),
        cmocka_unit_test(test_gateway_renews_the_lease_of_long_calls),
        cmocka_unit_test(test_gateway_close_ends_what_is_under_way),
        cmocka_unit_test(test_gateway_open_names_what_is_wrong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
