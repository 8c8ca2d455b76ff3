/*
 * WebSocket viewers: N clients on /ws/metrics for S seconds. Counts frames, bytes and gaps between
 * frames of a client, and the age of the data at the client (its clock less the frame's
 * server_time). Prints one JSON object.
 *
 *   ws --port P [--clients N] [--seconds S] [--path /ws/metrics]
 *
 * One thread, epoll. Frames of the server are unmasked and unfragmented; anything else is an error.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hist.h"
#include "base/limits.h"
#include "base/mem.h"

enum { EVENTS = 512, KEEP_BYTES = 1 << 16, US_PER_S = 1000000, OPCODE_TEXT = 1 };

struct client {
    int fd;
    bool upgraded;
    size_t have;
    char *data; /* of KEEP_BYTES, only while a frame is incomplete */
    int64_t last_us;
    uint64_t frames;
};

struct run {
    const char *path;
    int port, count, seconds, epoll, open;
    struct hist gap_us, age_us;
    uint64_t frames, bytes, closed;
    char scratch[KEEP_BYTES * 2];
};

static void
note_text(struct run *run, struct client *c, const char *text, size_t len, int64_t now_us)
{
    const char *at = memmem(text, len, "\"server_time\":", 14);

    if (!at) {
        return; /* the heartbeat */
    }
    run->frames++;
    c->frames++;
    if (c->frames < 3) {
        c->last_us = now_us; /* "connected", and the first, which may come at any moment */
        return;
    }
    double server_s = strtod(at + 14, NULL);
    hist_record(&run->age_us, clock_wall_us(clock_system()) - (int64_t)(server_s * US_PER_S));
    hist_record(&run->gap_us, now_us - c->last_us);
    c->last_us = now_us;
}

/* Takes one frame off the front; returns its length, 0 when it is not complete. */
static size_t
take_frame(struct run *run, struct client *c, const char *data, size_t len, int64_t now_us)
{
    if (len < 2) {
        return 0;
    }
    const unsigned char *u = (const unsigned char *)data;
    size_t head = 2;
    uint64_t payload = u[1] & 127U;
    if (payload == 126) {
        head = 4;
        payload = len < 4 ? UINT32_MAX : ((uint64_t)u[2] << 8 | u[3]);
    } else if (payload == 127) {
        head = 10;
        payload = 0;
        for (int i = 2; i < 10 && len >= 10; i++) {
            payload = payload << 8 | u[i];
        }
        payload = len < 10 ? UINT32_MAX : payload;
    }
    if (len < head || payload > len - head) {
        return 0;
    }
    if ((u[0] & 15U) == OPCODE_TEXT) {
        note_text(run, c, data + head, (size_t)payload, now_us);
    }
    return head + (size_t)payload;
}

static void
drop(struct run *run, struct client *c)
{
    run->closed++;
    run->open--;
    close(c->fd);
    c->fd = -1;
}

static void
receive(struct run *run, struct client *c)
{
    if (c->have > 0) {
        memcpy(run->scratch, c->data, c->have);
    }
    ssize_t got = recv(c->fd, run->scratch + c->have, KEEP_BYTES, MSG_DONTWAIT);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN) {
            drop(run, c);
        }
        return;
    }
    run->bytes += (uint64_t)got;
    size_t len = c->have + (size_t)got;
    size_t at = 0;
    int64_t now_us = clock_mono_us(clock_system());
    if (!c->upgraded) {
        const char *end = memmem(run->scratch, len, "\r\n\r\n", 4);
        at = end ? (size_t)(end - run->scratch) + 4 : 0;
        c->upgraded = end != NULL;
    }
    while (c->upgraded) {
        size_t used = take_frame(run, c, run->scratch + at, len - at, now_us);
        if (used == 0) {
            break;
        }
        at += used;
    }
    c->have = len - at;
    if (c->have > KEEP_BYTES) {
        drop(run, c);
    } else if (c->have > 0) {
        c->data = c->data ? c->data : mem_alloc(KEEP_BYTES);
        memcpy(c->data, run->scratch + at, c->have);
    } else {
        free(c->data);
        c->data = NULL;
    }
}

static void
connect_one(struct run *run, struct client *c, int index)
{
    static const char format[] =
        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)run->port)};
    struct sockaddr_in from = {.sin_family = AF_INET};
    char request[512];

    /* Several source addresses, so that ports do not run out. */
    from.sin_addr.s_addr = htonl(0x7f000002U + (uint32_t)(index % 8));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || bind(c->fd, (const struct sockaddr *)&from, sizeof(from)) != 0 ||
        connect(c->fd, (const struct sockaddr *)&to, sizeof(to)) != 0) {
        fprintf(stderr, "ws: client %d: %s\n", index, strerror(errno));
        exit(1);
    }
    int len = snprintf(request, sizeof(request), format, run->path, run->port);
    if (send(c->fd, request, (size_t)len, MSG_NOSIGNAL) != len) {
        exit(1);
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(run->epoll, EPOLL_CTL_ADD, c->fd, &event);
    run->open++;
}

static void
poll_for(struct run *run, int64_t until_us)
{
    struct epoll_event events[EVENTS];

    for (;;) {
        int64_t left_us = until_us - clock_mono_us(clock_system());
        if (left_us <= 0 || run->open == 0) {
            return;
        }
        int count = epoll_wait(run->epoll, events, EVENTS, (int)(left_us / 1000) + 1);
        for (int i = 0; i < count; i++) {
            struct client *c = events[i].data.ptr;
            if (c->fd >= 0) {
                receive(run, c);
            }
        }
    }
}

int
main(int argc, char **argv)
{
    static const struct option names[] = {{"port", 1, NULL, 'p'},
                                          {"clients", 1, NULL, 'c'},
                                          {"seconds", 1, NULL, 's'},
                                          {"path", 1, NULL, 'a'},
                                          {0}};
    static struct run run = {.path = "/ws/metrics", .port = 8000, .count = 100, .seconds = 8};
    int name;

    while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) {
        int number = optarg ? (int)strtol(optarg, NULL, 10) : 0;
        if (name == 'p') {
            run.port = number;
        } else if (name == 'c') {
            run.count = number;
        } else if (name == 's') {
            run.seconds = number;
        } else if (name == 'a') {
            run.path = optarg;
        } else {
            return 2;
        }
    }
    limits_raise_files();
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    struct client *clients = mem_zalloc((size_t)run.count, sizeof(*clients));
    for (int i = 0; i < run.count; i++) {
        connect_one(&run, &clients[i], i);
        if (i % 100 == 99) {
            poll_for(&run, clock_mono_us(clock_system()) + 2000);
        }
    }
    poll_for(&run, clock_mono_us(clock_system()) + 2 * US_PER_S); /* warm up */
    fprintf(stderr, "ready\n");
    run.frames = 0;
    run.bytes = 0;
    memset(&run.gap_us, 0, sizeof(run.gap_us));
    memset(&run.age_us, 0, sizeof(run.age_us));
    poll_for(&run, clock_mono_us(clock_system()) + (int64_t)run.seconds * US_PER_S);
    printf("{\"clients\": %d, \"open\": %d, \"frames\": %llu, \"delivered\": %.4f, "
           "\"bytes_a_frame\": %.0f, \"gap_p50_ms\": %.1f, \"gap_p99_ms\": %.1f, "
           "\"age_p50_ms\": %.1f, \"age_p99_ms\": %.1f}\n",
           run.count, run.open, (unsigned long long)run.frames,
           (double)run.frames / ((double)run.count * run.seconds * 10),
           run.frames ? (double)run.bytes / (double)run.frames : 0,
           hist_quantile(&run.gap_us, 0.5) / 1e3, hist_quantile(&run.gap_us, 0.99) / 1e3,
           hist_quantile(&run.age_us, 0.5) / 1e3, hist_quantile(&run.age_us, 0.99) / 1e3);
    return run.closed > 0;
}
