/*
 * Listening sockets and accepted ones. Descriptors are non-blocking and closed on exec; the caller
 * owns them. No state, any thread.
 */
#ifndef EIDER_NET_LISTENER_H
#define EIDER_NET_LISTENER_H

#include <stdint.h>

#include "base/err.h"

enum { NET_PEER_MAX = 56 }; /* "[ipv6]:port" and its NUL */

/*
 * Binds and listens. host is a numeric address or a name (NULL: 127.0.0.1), port 0 any free one. A
 * name is looked up, which may block; the first address that can be bound is taken. Errors name
 * address and port.
 */
enum err_code net_listen(const char *host, uint16_t port, int *ret_fd, struct err *err);

/* The port a listening socket is bound to. */
uint16_t net_listener_port(int fd);

enum net_accept {
    NET_ACCEPT_OK,
    NET_ACCEPT_NONE, /* nobody is waiting */
    NET_ACCEPT_FULL, /* no descriptor or memory left; pause the listener */
};

/* Accepts one connection with TCP_NODELAY and SO_KEEPALIVE on; fills fd and the peer as text. */
enum net_accept net_accept(int listen_fd, int *ret_fd, char ret_peer[NET_PEER_MAX]);

#endif
