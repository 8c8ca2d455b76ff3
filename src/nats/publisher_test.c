/* Tests of the publisher where no server is; tests/e2e/test_head_nats.py has a real one. */
#include "nats/publisher.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TIMEOUT_MS = 1000 };

/* Binds a port without listening, so that connecting is refused as long as the socket is open. */
static int
bind_dead_port(unsigned *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static void
test_publisher_says_which_server_is_not_there(void **state)
{
    struct nats_publisher *publisher;
    struct err err = {0};
    unsigned port;
    char url[64];
    int fd = bind_dead_port(&port);

    (void)state;
    snprintf(url, sizeof(url), "nats://eider:tiger@127.0.0.1:%u", port);
    assert_int_equal(nats_publisher_open(url, "test", &publisher, &err), ERR_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(nats_publish(publisher, "a.b", SLICE_LITERAL("{}"), TIMEOUT_MS, &err),
                         ERR_UNAVAILABLE);
        snprintf(url, sizeof(url), "nats://****@127.0.0.1:%u cannot be reached", port);
        assert_non_null(strstr(err.msg, url));
        assert_null(strstr(err.msg, "tiger"));
    }
    nats_publisher_close(publisher);
    close(fd);
}

static void
test_publisher_opens_again_behind_the_last_close(void **state)
{
    struct nats_publisher *first;
    struct nats_publisher *second;
    struct err err = {0};

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(nats_publisher_open("nats://127.0.0.1:1", "test", &first, &err), ERR_OK);
        assert_int_equal(nats_publisher_open("nats://127.0.0.1:2", "test", &second, &err), ERR_OK);
        assert_string_equal(nats_publisher_url(second), "nats://127.0.0.1:2");
        nats_publisher_close(first);
        nats_publisher_close(second);
    }
    nats_publisher_close(NULL);
}

static void
test_publisher_refuses_what_it_cannot_use(void **state)
{
    struct nats_publisher *publisher = NULL;
    struct err err = {0};

    (void)state;
    assert_int_equal(nats_publisher_open("http://tiger@h", "test", &publisher, &err), ERR_INVALID);
    assert_null(publisher);
    assert_null(strstr(err.msg, "tiger"));
    assert_int_equal(nats_publisher_open("nats://127.0.0.1:1", "test", &publisher, &err), ERR_OK);
    assert_int_equal(nats_publish(publisher, "a.*", SLICE_LITERAL("{}"), TIMEOUT_MS, &err),
                     ERR_INVALID);
    assert_non_null(strstr(err.msg, "a.*"));
    nats_publisher_close(publisher);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_publisher_says_which_server_is_not_there),
        cmocka_unit_test(test_publisher_opens_again_behind_the_last_close),
        cmocka_unit_test(test_publisher_refuses_what_it_cannot_use),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
