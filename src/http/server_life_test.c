/* Tests of what begins, waits and ends: timeouts, limits, lost clients, other threads, stopping. */
#include "http/testing.h"

#include <sys/resource.h>

/* ---- timeouts ---- */

static bool
two_connections(const struct http_stats *stats)
{
    return stats->connections == 2;
}

static bool
holds_a_body(const struct http_stats *stats)
{
    return stats->bodies_bytes > 0;
}

static void
test_server_times_out_a_head_that_drips(void **state)
{
    static const char start[] = "GET /hello HTTP/1.1\r\nHost: a\r\nX";
    struct fixture *test = fixture_run();
    ANSWER_AUTO struct answer answer;
    int fd = client_connect(test);

    (void)state;
    client_send_text(fd, start);
    fixture_wait_bytes_in(test, sizeof(start) - 1);
    fixture_advance(test, 9);
    client_send_text(fd, ":");
    fixture_wait_bytes_in(test, sizeof(start));
    fixture_advance(test, 2);
    client_answer(fd, &answer);
    assert_int_equal(answer.status, 408);
    assert_end(fd);
    close(fd);
    fixture_free(test);
}

static void
test_server_closes_idle_connections_without_a_word(void **state)
{
    struct fixture *test = fixture_run();
    int fresh = client_connect(test);
    int used = client_connect(test);

    (void)state;
    client_send_text(used, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_answer(used, 200, "hello");
    fixture_wait_stats(test, two_connections);
    fixture_advance(test, 11);
    assert_end(fresh); /* it owes a head */
    client_send_text(used, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_answer(used, 200, "hello");
    fixture_advance(test, 59);
    client_send_text(used, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_answer(used, 200, "hello");
    fixture_advance(test, 61);
    assert_end(used);
    close(fresh);
    close(used);
    fixture_free(test);
}

static void
test_server_times_out_silent_bodies(void **state)
{
    static const char *const heads[] = {
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    };
    struct fixture *test = fixture_run();
    uint64_t sent = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        ANSWER_AUTO struct answer answer;
        int fd = client_connect(test);
        client_send_text(fd, heads[i]);
        sent += strlen(heads[i]);
        fixture_wait_bytes_in(test, sent);
        fixture_advance(test, 31);
        client_answer(fd, &answer);
        assert_int_equal(answer.status, 408);
        assert_end(fd);
        close(fd);
    }
    fixture_free(test);
}

/* A body that never falls silent, but comes a byte at a time over minutes. */
static void
test_server_times_out_bodies_that_drip(void **state)
{
    static const char head[] = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n";
    struct fixture *test = fixture_run();
    ANSWER_AUTO struct answer answer;
    int fd = client_connect(test);

    (void)state;
    client_send_text(fd, head);
    fixture_wait_bytes_in(test, sizeof(head) - 1);
    fixture_advance(test, 20);
    client_send_text(fd, "a");
    fixture_wait_bytes_in(test, sizeof(head));
    fixture_advance(test, 20);
    client_send_text(fd, "a");
    client_answer(fd, &answer);
    assert_int_equal(answer.status, 408);
    assert_non_null(memmem(answer.body.ptr, answer.body.len, "too slowly", 10));
    assert_end(fd);
    close(fd);
    fixture_free(test);
}

static void
test_server_gives_handlers_all_the_time_they_want(void **state)
{
    struct fixture *test = fixture_run();
    int fd = client_connect(test);

    (void)state;
    client_send_text(fd, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http_exchange *held = fixture_take_held(test);
    for (int i = 0; i < 10; i++) {
        fixture_advance(test, 3600);
        int other = client_connect(test);
        client_send_text(other, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_answer(other, 200, "hello"); /* so the loop has seen the time */
        close(other);
    }
    buf_add_cstr(http_out(held), "late");
    http_reply(held);
    assert_answer(fd, 200, "late");
    close(fd);
    fixture_free(test);
}

static void
test_server_drops_clients_that_do_not_read_their_answer(void **state)
{
    struct fixture *test = fixture_run();
    int fd = client_connect_with(http_server_port(test->server), 4096);
    struct http_stats stats;
    size_t got = 0;

    (void)state;
    client_send_text(fd, "GET /static HTTP/1.1\r\nHost: a\r\n\r\n");
    fixture_wait_bytes_in(test, 1);
    do {
        /* More than once, since the kernel may still have taken something in between. */
        fixture_advance(test, 61);
        sched_yield();
        http_server_stats(test->server, &stats);
    } while (stats.connections > 0);
    for (;;) {
        char bytes[65536];
        ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
        if (n <= 0) {
            break;
        }
        got += (size_t)n;
    }
    assert_true(got < TEST_STATIC_BYTES);
    close(fd);
    fixture_free(test);
}

/* ---- lost clients and late answers ---- */

static void
test_server_takes_answers_for_clients_that_are_gone(void **state)
{
    struct fixture *test = fixture_new();

    (void)state;
    test->options.access = fixture_access;
    fixture_start(test);
    for (int i = 0; i < 3; i++) {
        int fd = client_connect(test);
        client_send_text(fd, "POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
        struct http_exchange *held = fixture_take_held(test);
        client_abort(fd);
        struct http_stats stats = fixture_wait_stats(test, no_connections);
        assert_int_equal(stats.requests_active, 1);
        assert_true(slice_is(http_body(held), "abc"));
        buf_add_cstr(http_out(held), "nobody reads this");
        http_reply(held);
        fixture_wait_stats(test, none_active);
    }
    assert_string_equal(fixture_access_line(test, 0), "POST /hold 200  in=54");
    fixture_free(test);
}

/* The slot of a connection is used again while an answer for the old one is still out. */
static void
test_server_does_not_answer_the_next_client_in_the_place(void **state)
{
    struct fixture *test = fixture_run();
    int fd = client_connect(test);

    (void)state;
    client_send_text(fd, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http_exchange *old = fixture_take_held(test);
    client_abort(fd);
    fixture_wait_stats(test, no_connections);
    fd = client_connect(test);
    client_send_text(fd, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http_exchange *new = fixture_take_held(test);
    buf_add_cstr(http_out(old), "old");
    http_reply(old);
    buf_add_cstr(http_out(new), "new");
    http_reply(new);
    assert_answer(fd, 200, "new");
    close(fd);
    fixture_free(test);
}

static void
test_server_forgets_bodies_of_clients_that_leave(void **state)
{
    struct fixture *test = fixture_new();

    (void)state;
    test->options.access = fixture_access;
    fixture_start(test);
    int fd = client_connect(test);
    client_send_text(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\nab");
    fixture_wait_stats(test, holds_a_body);
    close(fd);
    struct http_stats stats = fixture_wait_stats(test, no_connections);
    assert_int_equal(stats.bodies_bytes, 0);
    assert_string_equal(fixture_access_line(test, 0), "POST /echo 499  in=57");
    fixture_free(test);
}

static void
test_server_lets_half_closed_clients_read_their_answer(void **state)
{
    struct fixture *test = fixture_run();
    int fd = client_connect(test);

    (void)state;
    client_send_text(fd, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"
                         "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    shutdown(fd, SHUT_WR);
    struct http_exchange *held = fixture_take_held(test);
    buf_add_cstr(http_out(held), "held");
    http_reply(held);
    assert_answer(fd, 200, "held");
    assert_answer(fd, 200, "hello");
    assert_end(fd);
    close(fd);
    fixture_free(test);
}

static void
test_server_holds_back_clients_that_send_on_while_they_wait(void **state)
{
    enum { MORE = 40000 };
    static const char get[] = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
    struct fixture *test = fixture_run();
    int fd = client_connect(test);
    size_t sent = 0;

    (void)state;
    client_send_text(fd, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http_exchange *held = fixture_take_held(test);
    /* Fill what the server and the kernel take without blocking; whole requests only count. */
    BUF_AUTO struct buf text;
    buf_init(&text, 0);
    for (int i = 0; i < MORE; i++) {
        buf_add(&text, get, sizeof(get) - 1);
    }
    while (sent < text.len) {
        ssize_t n = send(fd, text.ptr + sent, text.len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0) {
            break;
        }
        sent += (size_t)n;
    }
    assert_true(sent > 0);
    buf_add_cstr(http_out(held), "held");
    http_reply(held);
    assert_answer(fd, 200, "held");
    for (size_t i = 0; i < sent / (sizeof(get) - 1); i++) {
        assert_answer(fd, 200, "hello");
    }
    close(fd);
    fixture_free(test);
}

/* What a client sends while it waits counts against the budget of all bodies. */
static void
test_server_closes_clients_whose_waiting_input_is_too_much(void **state)
{
    struct fixture *test = fixture_new();
    static char requests[50000];

    (void)state;
    test->options.bodies_bytes_max = 10000;
    fixture_start(test);
    int fd = client_connect(test);
    client_send_text(fd, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http_exchange *held = fixture_take_held(test);
    /* In one segment with the next request to be held, so that it is read and has to wait. */
    http_reply(held);
    assert_answer(fd, 200, "");
    int written = snprintf(requests, sizeof(requests), "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    memset(requests + written, 'x', sizeof(requests) - (size_t)written);
    client_send(fd, slice_make(requests, sizeof(requests)));
    held = fixture_take_held(test);
    struct http_stats stats = fixture_wait_stats(test, no_connections);
    assert_int_equal(stats.bodies_bytes, 0);
    http_reply(held);
    close(fd);
    fixture_free(test);
}

static void
test_server_takes_late_answers_after_its_stop(void **state)
{
    struct fixture *test = fixture_new();
    struct http_exchange *held[3];
    int fds[3];

    (void)state;
    test->options.loops = 2;
    fixture_start(test);
    for (int i = 0; i < 3; i++) {
        fds[i] = client_connect(test);
        client_send_text(fds[i], "POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        held[i] = fixture_take_held(test);
    }
    http_server_stop(test->server, 0);
    test->server = NULL;
    for (int i = 0; i < 3; i++) {
        assert_true(slice_is(http_body(held[i]), "hi"));
        assert_int_equal(http_request_id(held[i]).len, 36);
        buf_add_cstr(http_out(held[i]), "too late");
        http_reply(held[i]);
        assert_end(fds[i]);
        close(fds[i]);
    }
    fixture_free(test);
}

/* ---- other threads ---- */

enum { CLIENTS = 8, ROUNDS = 200 };

static void *
run_client(void *arg)
{
    struct fixture *test = arg;
    int fd = client_connect(test);

    for (int i = 0; i < ROUNDS; i++) {
        client_send_text(fd, "POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
        assert_answer(fd, 200, "slow:abc");
        client_send_text(fd, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_answer(fd, 200, "hello");
    }
    close(fd);
    return NULL;
}

static void
test_server_takes_answers_from_other_threads(void **state)
{
    for (unsigned loops = 1; loops <= 3; loops++) {
        struct fixture *test = fixture_new();
        pthread_t threads[CLIENTS];
        (void)state;
        test->options.loops = loops;
        fixture_start(test);
        for (int i = 0; i < CLIENTS; i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, run_client, test), 0);
        }
        for (int i = 0; i < CLIENTS; i++) {
            pthread_join(threads[i], NULL);
        }
        struct http_stats stats = fixture_wait_stats(test, no_connections);
        assert_int_equal(stats.requests_total, 2 * CLIENTS * ROUNDS);
        assert_int_equal(stats.responses_by_class[2], 2 * CLIENTS * ROUNDS);
        assert_int_equal(stats.requests_active, 0);
        fixture_free(test);
    }
}

/* ---- limits ---- */

static void
test_server_refuses_connections_over_the_limit(void **state)
{
    struct fixture *test = fixture_new();
    ANSWER_AUTO struct answer answer;
    int fds[2];

    (void)state;
    test->options.connections_max = 2;
    fixture_start(test);
    for (int i = 0; i < 2; i++) {
        fds[i] = client_connect(test);
        client_send_text(fds[i], "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_answer(fds[i], 200, "hello");
    }
    int third = client_connect(test);
    client_send_text(third, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    client_answer(third, &answer);
    assert_int_equal(answer.status, 503);
    assert_true(slice_is(answer_header(&answer, "Retry-After"), "1"));
    assert_end(third);
    close(third);
    close(fds[0]);
    close(fds[1]);
    struct http_stats stats = fixture_wait_stats(test, no_connections);
    assert_int_equal(stats.connections_refused, 1);
    assert_int_equal(stats.connections_total, 2);
    int fourth = client_connect(test);
    client_send_text(fourth, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_answer(fourth, 200, "hello");
    close(fourth);
    fixture_free(test);
}

static void
test_server_survives_a_lack_of_descriptors(void **state)
{
    struct fixture *test = fixture_run();
    struct rlimit old;
    int first = client_connect(test);
    int second = client_connect(test);

    (void)state;
    client_send_text(second, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_answer(second, 200, "hello");
    int waiting = client_connect(test);
    client_send_text(waiting, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_answer(waiting, 200, "hello");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    int unused = dup(first);
    int late = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(http_server_port(test->server))};
    struct timeval timeout = {.tv_sec = TEST_WAIT_S};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(late, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    /* No descriptor above those in use can be opened any more. */
    struct rlimit none = {.rlim_cur = (rlim_t)late + 1, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    close(unused);
    int filler = dup(first); /* takes the gap that unused has left */
    assert_int_equal(connect(late, (struct sockaddr *)&address, sizeof(address)), 0);
    client_send_text(late, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    client_send_text(waiting, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_answer(waiting, 200, "hello"); /* the loop goes on, and has seen the full table */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    fixture_advance(test, 1); /* the listener's pause is over */
    assert_answer(late, 200, "hello");
    close(filler);
    close(first);
    close(second);
    close(waiting);
    close(late);
    fixture_free(test);
}

/* ---- starting and stopping ---- */

static void
test_server_start_names_what_it_cannot_have(void **state)
{
    struct fixture *test = fixture_run();
    struct http_options options = test->options;
    struct http_server *other = NULL;
    struct err err;

    (void)state;
    options.port = http_server_port(test->server);
    assert_int_equal(http_server_start(&options, &other, &err), ERR_IO);
    assert_non_null(strstr(err.msg, "cannot listen on 127.0.0.1 port"));
    options.port = 0;
    options.cert_file = "/nonexistent";
    assert_int_equal(http_server_start(&options, &other, &err), ERR_USAGE);
    assert_non_null(strstr(err.msg, "both"));
    options.key_file = "/nonexistent";
    assert_int_equal(http_server_start(&options, &other, &err), ERR_USAGE);
    assert_non_null(strstr(err.msg, "/nonexistent"));
    assert_null(other);
    assert_int_equal(http_server_reload_tls(test->server, &err), ERR_UNSUPPORTED);
    fixture_free(test);
}

static void
test_server_stop_lets_running_requests_end(void **state)
{
    struct fixture *test = fixture_new();
    ANSWER_AUTO struct answer answer;
    ANSWER_AUTO struct answer second;

    (void)state;
    test->options.loops = 2;
    fixture_start(test);
    int idle = client_connect(test);
    int idle_too = client_connect(test); /* on the other loop */
    int waiting = client_connect(test);
    int sending = client_connect(test);
    client_send_text(idle, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_answer(idle, 200, "hello");
    client_send_text(idle_too, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_answer(idle_too, 200, "hello");
    client_send_text(waiting, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"
                              "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http_exchange *held = fixture_take_held(test);
    client_send_text(sending, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na");
    fixture_wait_stats(test, holds_a_body);
    pthread_t stop = fixture_stop_begin(test);
    assert_end(idle); /* so its loop drains */
    assert_end(idle_too);
    client_send_text(sending, "bc");
    client_answer(sending, &second);
    assert_true(slice_is(buf_slice(&second.body), "abc"));
    assert_true(slice_is(answer_header(&second, "Connection"), "close"));
    buf_add_cstr(http_out(held), "held");
    http_reply(held);
    client_answer(waiting, &answer);
    assert_true(slice_is(buf_slice(&answer.body), "held"));
    assert_true(slice_is(answer_header(&answer, "Connection"), "close"));
    assert_end(waiting);
    close(idle);
    close(idle_too);
    close(waiting);
    close(sending);
    fixture_stop_wait(test, stop);
    fixture_free(test);
}

static void
test_server_stop_closes_the_listener_first(void **state)
{
    struct fixture *test = fixture_run();
    uint16_t port = http_server_port(test->server);
    int fd = client_connect(test);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};

    (void)state;
    client_send_text(fd, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http_exchange *held = fixture_take_held(test);
    int idle = client_connect(test);
    client_send_text(idle, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_answer(idle, 200, "hello");
    pthread_t stop = fixture_stop_begin(test);
    assert_end(idle);
    int late = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(late, (struct sockaddr *)&address, sizeof(address)), -1);
    assert_int_equal(errno, ECONNREFUSED);
    http_reply(held);
    fixture_stop_wait(test, stop);
    close(late);
    close(idle);
    close(fd);
    fixture_free(test);
}

static void
test_server_stop_closes_what_is_left_after_its_grace(void **state)
{
    struct fixture *test = fixture_run();
    int fd = client_connect(test);

    (void)state;
    client_send_text(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 30000\r\n\r\na");
    fixture_wait_stats(test, holds_a_body);
    http_server_stop(test->server, 20);
    test->server = NULL;
    assert_end(fd);
    close(fd);
    fixture_free(test);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server_times_out_a_head_that_drips),
        cmocka_unit_test(test_server_closes_idle_connections_without_a_word),
        cmocka_unit_test(test_server_times_out_silent_bodies),
        cmocka_unit_test(test_server_times_out_bodies_that_drip),
        cmocka_unit_test(test_server_gives_handlers_all_the_time_they_want),
        cmocka_unit_test(test_server_drops_clients_that_do_not_read_their_answer),
        cmocka_unit_test(test_server_takes_answers_for_clients_that_are_gone),
        cmocka_unit_test(test_server_does_not_answer_the_next_client_in_the_place),
        cmocka_unit_test(test_server_forgets_bodies_of_clients_that_leave),
        cmocka_unit_test(test_server_lets_half_closed_clients_read_their_answer),
        cmocka_unit_test(test_server_holds_back_clients_that_send_on_while_they_wait),
        cmocka_unit_test(test_server_closes_clients_whose_waiting_input_is_too_much),
        cmocka_unit_test(test_server_takes_late_answers_after_its_stop),
        cmocka_unit_test(test_server_takes_answers_from_other_threads),
        cmocka_unit_test(test_server_refuses_connections_over_the_limit),
        cmocka_unit_test(test_server_survives_a_lack_of_descriptors),
        cmocka_unit_test(test_server_start_names_what_it_cannot_have),
        cmocka_unit_test(test_server_stop_lets_running_requests_end),
        cmocka_unit_test(test_server_stop_closes_the_listener_first),
        cmocka_unit_test(test_server_stop_closes_what_is_left_after_its_grace),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
