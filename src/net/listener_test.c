/* Tests of listening and accepting. */
#include "net/listener.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int
connect_to(uint16_t port, char peer[NET_PEER_MAX])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    snprintf(peer, NET_PEER_MAX, "127.0.0.1:%u", (unsigned)ntohs(address.sin_port));
    return fd;
}

static void
test_listener_takes_a_free_port_and_names_the_peer(void **state)
{
    struct err err;
    int listen_fd = -1;
    int fd = -1;
    char expected[NET_PEER_MAX];
    char peer[NET_PEER_MAX];

    (void)state;
    assert_int_equal(net_listen(NULL, 0, &listen_fd, &err), ERR_OK);
    assert_int_not_equal(net_listener_port(listen_fd), 0);
    assert_int_equal(net_accept(listen_fd, &fd, peer), NET_ACCEPT_NONE);
    int client = connect_to(net_listener_port(listen_fd), expected);
    struct pollfd ready = {.fd = listen_fd, .events = POLLIN};
    assert_int_equal(poll(&ready, 1, 20000), 1);
    assert_int_equal(net_accept(listen_fd, &fd, peer), NET_ACCEPT_OK);
    assert_string_equal(peer, expected);
    close(client);
    close(fd);
    close(listen_fd);
}

static void
test_listener_names_address_and_port_that_are_taken(void **state)
{
    struct err err;
    int first = -1;
    int second = -1;
    char expected[64];

    (void)state;
    assert_int_equal(net_listen("127.0.0.1", 0, &first, &err), ERR_OK);
    uint16_t port = net_listener_port(first);
    assert_int_equal(net_listen("127.0.0.1", port, &second, &err), ERR_IO);
    snprintf(expected, sizeof(expected), "cannot listen on 127.0.0.1 port %u: ", (unsigned)port);
    assert_int_equal(strncmp(err.msg, expected, strlen(expected)), 0);
    assert_int_equal(second, -1);
    close(first);
}

static void
test_listener_refuses_what_is_no_address(void **state)
{
    struct err err;
    int fd = -1;

    (void)state;
    assert_int_equal(net_listen("999.1.1.1.1", 1, &fd, &err), ERR_USAGE);
    assert_non_null(strstr(err.msg, "999.1.1.1.1 port 1"));
    assert_int_equal(fd, -1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_listener_takes_a_free_port_and_names_the_peer),
        cmocka_unit_test(test_listener_names_address_and_port_that_are_taken),
        cmocka_unit_test(test_listener_refuses_what_is_no_address),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
