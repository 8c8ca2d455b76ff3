/*
 * Spending over HTTP: pairs of POST /api/v1/spend/reserve and commit over keep-alive connections,
 * one request in flight on each; and an upstream that answers at once, for what the gateway adds to
 * a call. One thread, epoll. Prints one JSON object.
 *
 *   spend pairs --port P [--connections C] [--seconds S]
 *   spend upstream      prints its port; answers every request with 200 and 512 bytes, until its
 *                       standard input ends
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/hist.h"
#include "base/mem.h"

enum {
    READ_BYTES = 16384,
    EVENTS = 128,
    ID_BYTES = 40,
    RUNS = 40,
    UPSTREAM_BODY_BYTES = 512,
    US_PER_S = 1000000
};

struct connection {
    int fd;
    unsigned id;
    bool reserved; /* the commit is out */
    char reservation_id[ID_BYTES];
    int64_t asked_us;
    char data[READ_BYTES];
    size_t used;
};

struct run {
    int port, connections, seconds;
    int epoll;
    struct hist reserve_us, commit_us;
    int64_t pairs, failures;
    int busy;
    int64_t end_us;
};

static void
die(const char *what)
{
    fprintf(stderr, "spend: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t
now_us(void)
{
    return clock_mono_us(clock_system());
}

static void
watch(int epoll, struct connection *c)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};

    if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event) != 0) {
        die("epoll_ctl");
    }
}

static void
no_delay(int fd)
{
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

/* Messages are far smaller than a socket's buffer, so a short write is a failure. */
static void
send_all(const struct connection *c, const char *data, size_t len)
{
    if (send(c->fd, data, len, MSG_NOSIGNAL) != (ssize_t)len) {
        die("send");
    }
}

/* Length of the whole message when its head is there, 0 otherwise. */
static size_t
message_length(const struct connection *c)
{
    const char *end = memmem(c->data, c->used, "\r\n\r\n", 4);

    if (!end) {
        return 0;
    }
    const char *at = strcasestr(c->data, "content-length:");
    size_t body = at && at < end ? strtoul(at + 15, NULL, 10) : 0;
    return (size_t)(end - c->data) + 4 + body;
}

/* Reads what is there; false when the other side is gone. */
static bool
receive(struct connection *c)
{
    ssize_t got = recv(c->fd, c->data + c->used, sizeof(c->data) - 1 - c->used, 0);

    if (got <= 0) {
        return false;
    }
    c->used += (size_t)got;
    c->data[c->used] = '\0';
    return true;
}

/* ---- pairs ---- */

static void
ask(struct connection *c)
{
    char body[256];
    char request[512];
    int body_len;

    if (c->reserved) {
        body_len = snprintf(body, sizeof(body),
                            "{\"reservation_id\":\"%s\",\"status_code\":200,\"latency_ms\":85.25}",
                            c->reservation_id);
    } else {
        body_len = snprintf(body, sizeof(body),
                            "{\"api_name\":\"birdeye\",\"endpoint\":\"/defi/price\",\"method\":"
                            "\"GET\",\"key\":\"key-1\",\"run_id\":\"run-%u\",\"max_credits\":60}",
                            c->id % RUNS);
    }
    int len = snprintf(request, sizeof(request),
                       "POST /api/v1/spend/%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                       "application/json\r\nContent-Length: %d\r\n\r\n%s",
                       c->reserved ? "commit" : "reserve", body_len, body);
    c->used = 0;
    c->asked_us = now_us();
    send_all(c, request, (size_t)len);
}

static bool
take_reservation(struct connection *c)
{
    static const char member[] = "\"reservation_id\":\"";
    const char *at = strstr(c->data, member);

    if (!at) {
        return false;
    }
    at += sizeof(member) - 1;
    size_t len = strcspn(at, "\"");
    if (len == 0 || len >= sizeof(c->reservation_id)) {
        return false;
    }
    memcpy(c->reservation_id, at, len);
    c->reservation_id[len] = '\0';
    return true;
}

static void
answered(struct run *run, struct connection *c)
{
    int status = (int)strtol(c->data + 9, NULL, 10);

    hist_record(c->reserved ? &run->commit_us : &run->reserve_us, now_us() - c->asked_us);
    if (status != 200 || (!c->reserved && !take_reservation(c))) {
        if (run->failures++ == 0) {
            fprintf(stderr, "spend: first failure: %.400s\n", c->data);
        }
        c->reserved = false;
    } else {
        run->pairs += c->reserved;
        c->reserved = !c->reserved;
    }
    if (!c->reserved && now_us() >= run->end_us) {
        run->busy--;
    } else {
        ask(c);
    }
}

static struct connection *
connect_one(const struct run *run, unsigned id)
{
    struct connection *c = mem_zalloc(1, sizeof(*c));
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)run->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    c->id = id;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        die("connect");
    }
    no_delay(c->fd);
    watch(run->epoll, c);
    return c;
}

static int
run_pairs(struct run *run)
{
    struct epoll_event events[EVENTS];
    int64_t start_us = now_us();

    run->epoll = epoll_create1(EPOLL_CLOEXEC);
    run->end_us = start_us + (int64_t)run->seconds * US_PER_S;
    run->busy = run->connections;
    for (int i = 0; i < run->connections; i++) {
        ask(connect_one(run, (unsigned)i));
    }
    while (run->busy > 0) {
        int count = epoll_wait(run->epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (!receive(c)) {
                die("the server closed a connection");
            }
            size_t want = message_length(c);
            if (want > 0 && c->used >= want) {
                answered(run, c);
            }
        }
    }
    double took = (double)(now_us() - start_us) / US_PER_S;
    printf("{\"seconds\": %.3f, \"pairs\": %" PRId64 ", \"failures\": %" PRId64
           ", \"reserve_p50_ms\": %.3f, \"reserve_p99_ms\": %.3f, \"commit_p50_ms\": %.3f, "
           "\"commit_p99_ms\": %.3f}\n",
           took, run->pairs, run->failures, hist_quantile(&run->reserve_us, 0.5) / 1e3,
           hist_quantile(&run->reserve_us, 0.99) / 1e3, hist_quantile(&run->commit_us, 0.5) / 1e3,
           hist_quantile(&run->commit_us, 0.99) / 1e3);
    return run->failures > 0;
}

/* ---- upstream ---- */

static int
listen_loopback(int *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(fd, EVENTS) != 0 || getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        die("listen");
    }
    *ret_port = ntohs(address.sin_port);
    return fd;
}

/* Answers every whole request that is there. */
static void
serve(struct connection *c, const char *answer, size_t answer_len)
{
    if (!receive(c)) {
        close(c->fd);
        free(c);
        return;
    }
    size_t len = message_length(c);
    while (len > 0 && c->used >= len) {
        memmove(c->data, c->data + len, c->used - len + 1);
        c->used -= len;
        send_all(c, answer, answer_len);
        len = message_length(c);
    }
}

static int
run_upstream(void)
{
    struct epoll_event events[EVENTS];
    char answer[UPSTREAM_BODY_BYTES + 128];
    struct connection listener = {0};
    struct connection input = {.fd = STDIN_FILENO};
    int port;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    int head = snprintf(answer, sizeof(answer),
                        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n",
                        UPSTREAM_BODY_BYTES);

    memset(answer + head, 'x', UPSTREAM_BODY_BYTES);
    listener.fd = listen_loopback(&port);
    watch(epoll, &listener);
    watch(epoll, &input);
    printf("%d\n", port);
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (c == &input) {
                return 0;
            }
            if (c == &listener) {
                struct connection *fresh = mem_zalloc(1, sizeof(*fresh));
                fresh->fd = accept4(listener.fd, NULL, NULL, SOCK_CLOEXEC);
                no_delay(fresh->fd);
                watch(epoll, fresh);
            } else {
                serve(c, answer, (size_t)head + UPSTREAM_BODY_BYTES);
            }
        }
    }
}

int
main(int argc, char **argv)
{
    static struct run run = {.port = 8000, .connections = 64, .seconds = 5};
    static const struct option names[] = {
        {"port", 1, NULL, 'p'}, {"connections", 1, NULL, 'c'}, {"seconds", 1, NULL, 's'}, {0}};
    int name;

    while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) {
        int number = optarg ? (int)strtol(optarg, NULL, 10) : 0;
        switch (name) {
        case 'p':
            run.port = number;
            break;
        case 'c':
            run.connections = number;
            break;
        case 's':
            run.seconds = number;
            break;
        default:
            return 2;
        }
    }
    if (optind < argc && strcmp(argv[optind], "upstream") == 0) {
        return run_upstream();
    }
    if (optind < argc && strcmp(argv[optind], "pairs") == 0 && run.connections > 0) {
        return run_pairs(&run);
    }
    fprintf(stderr, "usage: spend pairs --port P [--connections C] [--seconds S] | upstream\n");
    return 2;
}
