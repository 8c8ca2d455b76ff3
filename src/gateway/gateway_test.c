/* Tests of the gateway between a real client, a real upstream (both of http) and a meter that only
 * takes notes. */
#include "gateway/testing.h"

/* ---- forwarding ---- */

static void
test_gateway_forwards_and_books(void **state)
{
    struct world *world = world_run();
    ANSWER_AUTO struct answer answer;

    (void)state;
    ask(world,
        "GET /gateway/up/defi/price?address=a%20b&access_token=t HTTP/1.1\r\nHost: front\r\n"
        "X-Eider-Run-Id: run1\r\nX-Eider-Key: k1\r\nX-Eider-Project: p1\r\n"
        "X-Eider-Max-Credits: 5\r\nX-API-KEY: mine\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n"
        "X-Kept: 2\r\nX-Empty:\r\nAuthorization: Bearer theirs\r\n\r\n",
        &answer);
    assert_int_equal(answer.status, 200);
    assert_true(has_text(&answer, "GET /base/defi/price?address=a%20b\n"));
    assert_true(has_text(&answer, "\nX-API-KEY: secret\n"));
    assert_true(has_text(&answer, "\nX-Kept: 2\n"));
    assert_true(has_text(&answer, "\nX-Empty: \n"));
    assert_true(has_text(&answer, "\nAuthorization: Bearer theirs\n"));
    assert_true(has_text(&answer, "\nX-Forwarded-For: 127.0.0.1\n"));
    assert_true(has_text(&answer, "\nHost: 127.0.0.1:"));
    static const char *const stay_here[] = {"mine",   "X-Hop",    "X-Eider", "front",
                                            "Accept", "Content-", "Expect",  "access_token"};
    for (size_t i = 0; i < sizeof(stay_here) / sizeof(stay_here[0]); i++) {
        if (has_text(&answer, stay_here[i])) {
            fail_msg("%s was sent to the upstream", stay_here[i]);
        }
    }
    assert_true(slice_is(answer_header(&answer, "X-From-Upstream"), "yes"));
    assert_true(slice_is(answer_header(&answer, "Content-Type"), "text/plain"));
    assert_true(slice_is(answer_header(&answer, "X-Eider-Credits"), "3"));
    assert_true(slice_is(answer_header(&answer, "X-Eider-Reservation"), "r-1"));
    assert_null(answer_header(&answer, "Keep-Alive").ptr);
    buf_add_char(&answer.head, '\0');
    assert_non_null(strstr(answer.head.ptr, "Set-Cookie: a=1\r\nSet-Cookie: b=2"));
    assert_notes(&world->notes, "RC");
    const struct note *reserve = note_at(&world->notes, 0);
    assert_string_equal(reserve->api, "Paid");
    assert_string_equal(reserve->endpoint, "/defi/price");
    assert_string_equal(reserve->run_id, "run1");
    assert_string_equal(reserve->key, "k1");
    assert_string_equal(reserve->project, "p1");
    assert_int_equal(reserve->credits, RESERVED);
    const struct note *commit = note_at(&world->notes, 1);
    assert_int_equal(commit->credits, COST);
    assert_int_equal(commit->status, 200);
    assert_true(commit->success);
    assert_int_equal(commit->response_bytes, answer.body.len);
    assert_non_null(strstr(commit->metadata, "/base/defi/price?address=a%20b\""));
    assert_non_null(strstr(commit->metadata, "\"attempts\":1"));
    world_free(world);
}

static void
test_gateway_keeps_its_own_token_here(void **state)
{
    struct world *world = world_new();
    ANSWER_AUTO struct answer ours;
    ANSWER_AUTO struct answer dropped;

    (void)state;
    world->options.no_forwarded_for = true;
    world_start(world);
    ask(world,
        "GET /gateway/up/ HTTP/1.1\r\nHost: a\r\nX-Ours: 1\r\nAuthorization: Bearer t\r\n\r\n",
        &ours);
    assert_int_equal(ours.status, 200);
    assert_false(has_text(&ours, "Authorization"));
    assert_false(has_text(&ours, "X-Forwarded-For"));
    world_free(world);

    world = world_new();
    world->options.drop_credentials = true;
    world_start(world);
    ask(world,
        "GET /gateway/up/ HTTP/1.1\r\nHost: a\r\nCookie: c\r\nAuthorization: Bearer t\r\n\r\n",
        &dropped);
    assert_int_equal(dropped.status, 200);
    assert_false(has_text(&dropped, "Authorization"));
    assert_false(has_text(&dropped, "Cookie"));
    world_free(world);
}

static void
test_gateway_passes_all_methods_and_answers_without_a_body(void **state)
{
    static const struct {
        const char *method, *path;
        int status;
    } cases[] = {{"HEAD", "/x", 200},    {"DELETE", "/x", 200}, {"OPTIONS", "/x", 200},
                 {"PATCH", "/x", 200},   {"PUT", "/x", 200},    {"POST", "/x", 200},
                 {"GET", "/empty", 204}, {"GET", "/moved", 302}};
    struct world *world = world_run();
    int fd = front_connect(world);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ANSWER_AUTO struct answer answer;
        char text[128];
        bool head = strcmp(cases[i].method, "HEAD") == 0;
        snprintf(text, sizeof(text), "%s /gateway/up%s HTTP/1.1\r\nHost: a\r\n\r\n",
                 cases[i].method, cases[i].path);
        client_send_text(fd, text);
        client_answer_to(fd, head, &answer);
        assert_int_equal(answer.status, cases[i].status);
        snprintf(text, sizeof(text), "%s /base/x\n", cases[i].method);
        assert_true(head || cases[i].status != 200 || has_text(&answer, text));
        assert_false(has_text(&answer, "Content-Type"));
    }
    close(fd);
    assert_notes(&world->notes, "RCRCRCRCRCRCRCRC");
    world_free(world);
}

struct sender {
    pthread_t thread;
    int fd;
    struct slice bytes;
};

static void *
run_sender(void *arg)
{
    struct sender *sender = arg;

    client_send(sender->fd, sender->bytes);
    return NULL;
}

static void
test_gateway_streams_large_bodies(void **state)
{
    struct world *world = world_run();

    (void)state;
    for (int chunked = 0; chunked < 2; chunked++) {
        ANSWER_AUTO struct answer answer;
        BUF_AUTO struct buf request = {0};
        int fd = front_connect(world);
        buf_init(&request, 0);
        buf_add_cstr(&request, "POST /gateway/up/echo HTTP/1.1\r\nHost: a\r\n");
        buf_add_fmt(&request,
                    chunked ? "Transfer-Encoding: chunked\r\n\r\n%x\r\n"
                            : "Content-Length: %d\r\n\r\n",
                    LARGE);
        size_t at = request.len;
        char *body = buf_reserve(&request, LARGE);
        for (size_t i = 0; i < LARGE; i++) {
            body[i] = (char)(i * 2654435761U >> 13);
        }
        request.len += LARGE;
        buf_add_cstr(&request, chunked ? "\r\n0\r\n\r\n" : "");
        struct sender sender = {.fd = fd, .bytes = buf_slice(&request)};
        assert_int_equal(pthread_create(&sender.thread, NULL, run_sender, &sender), 0);
        client_answer(fd, &answer);
        pthread_join(sender.thread, NULL);
        assert_int_equal(answer.status, 200);
        assert_int_equal(answer.body.len, LARGE);
        assert_memory_equal(answer.body.ptr, request.ptr + at, LARGE);
        close(fd);
    }
    assert_notes(&world->notes, "RCRC");
    assert_int_equal(note_at(&world->notes, 1)->request_bytes, LARGE);
    assert_int_equal(note_at(&world->notes, 3)->response_bytes, LARGE);
    world_free(world);
}

static void
test_gateway_refuses_what_it_cannot_forward(void **state)
{
    static const struct {
        const char *request;
        int status;
        const char *text;
    } cases[] = {
        {"GET /gateway/dn/x HTTP/1.1\r\nHost: a\r\n\r\n", 404, "configured: up"},
        {"GET /gateway HTTP/1.1\r\nHost: a\r\n\r\n", 404, "expected /gateway/UPSTREAM/PATH"},
        {"GET /gateway/up/%2e%2e/x HTTP/1.1\r\nHost: a\r\n\r\n", 422, "dots"},
        {"GET /gateway/up/x HTTP/1.1\r\nHost: a\r\nX-Eider-Max-Credits: much\r\n\r\n", 422,
         "X-Eider-Max-Credits"},
    };
    struct world *world = world_run();

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ANSWER_AUTO struct answer answer;
        ask(world, cases[i].request, &answer);
        assert_int_equal(answer.status, cases[i].status);
        assert_true(has_text(&answer, cases[i].text));
    }
    assert_int_equal(world->notes.count, 0);
    assert_int_equal(stats_of(world).attempts, 0);
    world_free(world);
}

static void
test_gateway_answers_refusals_without_asking_the_upstream(void **state)
{
    struct world *world = world_new();
    ANSWER_AUTO struct answer answer;

    (void)state;
    world->notes.refuse = true;
    world_start(world);
    ask(world, "GET /gateway/up/x HTTP/1.1\r\nHost: a\r\n\r\n", &answer);
    assert_int_equal(answer.status, 503);
    assert_true(has_text(&answer, "CIRCUIT_BREAKER_TRIPPED"));
    assert_true(slice_is(answer_header(&answer, "Retry-After"), "7"));
    assert_notes(&world->notes, "R");
    assert_int_equal(world->requests, 0);
    assert_int_equal(stats_of(world).refused, 1);
    world_free(world);
}

/* ---- clients that leave ---- */

static void
test_gateway_releases_when_the_client_leaves_before(void **state)
{
    struct world *world = world_new();

    (void)state;
    world->notes.hold_reserve = true;
    world_start(world);
    int fd = front_connect(world);
    client_send_text(fd, "GET /gateway/up/x HTTP/1.1\r\nHost: a\r\n\r\n");
    (void)note_at(&world->notes, 0);
    close(fd);
    struct http_stats stats;
    do {
        sched_yield();
        http_server_stats(world->front, &stats);
    } while (stats.clients_gone == 0);
    struct kept kept = world->notes.held;
    grant(kept.done, kept.ctx, kept.credits);
    assert_notes(&world->notes, "RX");
    assert_int_equal(world->requests, 0);
    world_free(world);
}

static void
test_gateway_books_the_most_when_the_client_leaves_within(void **state)
{
    (void)state;
    for (int is_free = 0; is_free < 2; is_free++) {
        struct world *world = world_new();
        world->options.abort_is_free = is_free;
        world_start(world);
        int fd = front_connect(world);
        client_send_text(fd, "GET /gateway/up/hold HTTP/1.1\r\nHost: a\r\n"
                             "X-Eider-Max-Credits: 5\r\n\r\n");
        struct http_exchange *held = take_upstream(world);
        close(fd);
        assert_notes(&world->notes, "RC");
        const struct note *commit = note_at(&world->notes, 1);
        assert_int_equal(commit->credits, is_free ? 0 : RESERVED);
        assert_true(commit->has_credits);
        assert_false(commit->has_status);
        assert_false(commit->success);
        assert_non_null(strstr(commit->error, "client left"));
        http_reply(held);
        world_free(world);
    }
}

static void
test_gateway_books_a_failure_as_such_though_the_client_leaves(void **state)
{
    struct world *world = world_run();
    ANSWER_AUTO struct answer answer;

    (void)state;
    int fd = front_connect(world);
    client_send_text(fd, "GET /gateway/up/hold HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http_exchange *held = take_upstream(world);
    http_set_status(held, 404);
    http_reply_begin(held, -1);
    http_reply_write(held, SLICE_LITERAL("begun"));
    client_answer_to(fd, true, &answer);
    assert_int_equal(answer.status, 404);
    client_abort(fd);
    assert_notes(&world->notes, "RC");
    assert_int_equal(note_at(&world->notes, 1)->status, 404);
    assert_int_equal(note_at(&world->notes, 1)->credits, 0);
    http_reply_end(held);
    world_free(world);
}

static void
test_gateway_ends_the_transfer_when_the_client_leaves_the_answer(void **state)
{
    struct world *world = world_run();
    ANSWER_AUTO struct answer answer;

    (void)state;
    int fd = front_connect(world);
    client_send_text(fd, "GET /gateway/up/hold HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http_exchange *held = take_upstream(world);
    http_reply_begin(held, -1);
    http_reply_write(held, SLICE_LITERAL("begun"));
    client_answer_to(fd, true, &answer);
    assert_int_equal(answer.status, 200);
    client_abort(fd);
    assert_notes(&world->notes, "RC");
    assert_int_equal(note_at(&world->notes, 1)->status, 200);
    assert_false(note_at(&world->notes, 1)->success);
    /* The connection to the upstream is closed, which it finds when it goes on. */
    while (http_reply_write(held, SLICE_LITERAL("more")) != HTTP_WRITE_GONE) {
        sched_yield();
    }
    http_reply_abort(held);
    world_free(world);
}

static void
test_gateway_answers_for_bodies_that_cannot_be_had(void **state)
{
    static const struct {
        const char *request;
        int status;
        size_t notes;
    } cases[] = {
        {"POST /gateway/up/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n", 413, 0},
        {"POST /gateway/up/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
         "3\r\nabc\r\nzz\r\n",
         400, 2},
        {"POST /gateway/up/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
         "6\r\nabcdef\r\n6\r\nabcdef\r\n",
         413, 2},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world *world = world_new();
        ANSWER_AUTO struct answer answer;
        world->gateway_options.body_bytes_max = 10;
        world_start(world);
        ask(world, cases[i].request, &answer);
        assert_int_equal(answer.status, cases[i].status);
        /* Released or booked, by what was sent until then; the answer comes behind that. */
        assert_int_equal(world->notes.count, cases[i].notes);
        world_free(world);
    }
}

static void
test_gateway_forwards_so_many_calls_at_once(void **state)
{
    struct world *world = world_new();
    ANSWER_AUTO struct answer answer;

    (void)state;
    world->gateway_options.calls_max = 1;
    world_start(world);
    int fd = front_connect(world);
    client_send_text(fd, "GET /gateway/up/hold HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http_exchange *held = take_upstream(world);
    ask(world, "GET /gateway/up/x HTTP/1.1\r\nHost: a\r\n\r\n", &answer);
    assert_int_equal(answer.status, 503);
    assert_true(has_text(&answer, "1 calls are being forwarded already"));
    http_reply(held);
    assert_answer(fd, 200, "");
    close(fd);
    world_free(world);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gateway_forwards_and_books),
        cmocka_unit_test(test_gateway_keeps_its_own_token_here),
        cmocka_unit_test(test_gateway_passes_all_methods_and_answers_without_a_body),
        cmocka_unit_test(test_gateway_streams_large_bodies),
        cmocka_unit_test(test_gateway_refuses_what_it_cannot_forward),
        cmocka_unit_test(test_gateway_answers_refusals_without_asking_the_upstream),
        cmocka_unit_test(test_gateway_releases_when_the_client_leaves_before),
        cmocka_unit_test(test_gateway_books_the_most_when_the_client_leaves_within),
        cmocka_unit_test(test_gateway_books_a_failure_as_such_though_the_client_leaves),
        cmocka_unit_test(test_gateway_ends_the_transfer_when_the_client_leaves_the_answer),
        cmocka_unit_test(test_gateway_answers_for_bodies_that_cannot_be_had),
        cmocka_unit_test(test_gateway_forwards_so_many_calls_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
