/* Binding, listening, accepting. */
#include "net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 4096, PORT_TEXT_MAX = 8 };

static void
set_int(int fd, int level, int name, int value)
{
    /* A refused option costs speed, never correctness. */
    (void)setsockopt(fd, level, name, &value, sizeof(value));
}

/* Opens, binds and listens on one address; -1 with errno when that fails. */
static int
listen_on(const struct addrinfo *info)
{
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) {
        return -1;
    }
    set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (info->ai_family == AF_INET6) {
        set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    }
    if (bind(fd, info->ai_addr, info->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

enum err_code
net_listen(const char *host, uint16_t port, int *ret_fd, struct err *err)
{
    const char *name = host && host[0] ? host : "127.0.0.1";
    char port_text[PORT_TEXT_MAX];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    int fd = -1;
    int sys = 0;

    snprintf(port_text, sizeof(port_text), "%u", (unsigned)port);
    int rc = getaddrinfo(name, port_text, &hints, &list);
    if (rc != 0) {
        return err_set(err, ERR_USAGE, "cannot listen on %s port %u: %s", name, (unsigned)port,
                       gai_strerror(rc));
    }
    for (const struct addrinfo *info = list; info && fd < 0; info = info->ai_next) {
        fd = listen_on(info);
        sys = errno;
    }
    freeaddrinfo(list);
    if (fd < 0) {
        return err_sys(err, sys, "cannot listen on %s port %u", name, (unsigned)port);
    }
    *ret_fd = fd;
    return ERR_OK;
}

uint16_t
net_listener_port(int fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);

    memset(&address, 0, sizeof(address));
    if (getsockname(fd, (struct sockaddr *)&address, &len) < 0) {
        return 0;
    }
    if (address.ss_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, &address, sizeof(in6));
        return ntohs(in6.sin6_port);
    }
    struct sockaddr_in in;
    memcpy(&in, &address, sizeof(in));
    return ntohs(in.sin_port);
}

static void
format_peer(const struct sockaddr_storage *address, char ret_peer[NET_PEER_MAX])
{
    char text[INET6_ADDRSTRLEN] = "";

    if (address->ss_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof(in6));
        unsigned port = ntohs(in6.sin6_port);
        if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr)) {
            inet_ntop(AF_INET, &in6.sin6_addr.s6_addr[12], text, sizeof(text));
            snprintf(ret_peer, NET_PEER_MAX, "%s:%u", text, port);
        } else {
            inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof(text));
            snprintf(ret_peer, NET_PEER_MAX, "[%s]:%u", text, port);
        }
        return;
    }
    struct sockaddr_in in;
    memcpy(&in, address, sizeof(in));
    inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text));
    snprintf(ret_peer, NET_PEER_MAX, "%s:%u", text, (unsigned)ntohs(in.sin_port));
}

static bool
out_of_resources(int sys)
{
    return sys == EMFILE || sys == ENFILE || sys == ENOBUFS || sys == ENOMEM;
}

enum net_accept
net_accept(int listen_fd, int *ret_fd, char ret_peer[NET_PEER_MAX])
{
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};

    for (;;) {
        socklen_t len = sizeof(address);
        int fd =
            accept4(listen_fd, (struct sockaddr *)&address, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
            set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
            format_peer(&address, ret_peer);
            *ret_fd = fd;
            return NET_ACCEPT_OK;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EBADF || errno == EINVAL) {
            return NET_ACCEPT_NONE;
        }
        if (out_of_resources(errno)) {
            return NET_ACCEPT_FULL;
        }
        /* What is left concerns the one connection that failed (ECONNABORTED, EPERM...). */
    }
}
