/*
 * A load generator for HTTP writes: C keep-alive connections, one request in flight on each, for S
 * seconds. Bodies are made once per connection; only their fixed-width timestamps are patched
 * between requests, so that the client costs little. Prints one JSON object.
 *
 *   load --port P [--host H] [--path /write] [--format line|json|get] [--connections C] [--batch B]
 *        [--seconds S | --rows N] [--series N] [--start-us T] [--step-us T]
 *
 * One thread, epoll. Rows of a body go round the series; timestamps advance by a second (or
 * --step-us) a round.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/hist.h"
#include "base/mem.h"

enum { READ_BYTES = 65536, EVENTS = 128, STAMP_DIGITS = 16, US_PER_S = 1000000 };

struct options {
    const char *host, *path, *format;
    int port, connections, batch, seconds, series;
    int64_t rows_max;
    int64_t start_us;
    int64_t step_us;
};

struct connection {
    int fd;
    int64_t sent_at_us;
    struct buf request; /* head and body */
    size_t *stamps;     /* offsets of the timestamps in it */
    int64_t *stamp_us;
    size_t sent;
    char answer[READ_BYTES];
    size_t answered;
    unsigned id;
};

struct run {
    struct options options;
    struct hist latency_us;
    int epoll;
    int64_t requests, rows, failures;
    int64_t next_us; /* timestamp of the next round of series */
    int first_failure;
};

static void
put_digits(char *at, int64_t value)
{
    for (int i = STAMP_DIGITS - 1; i >= 0; i--) {
        at[i] = (char)('0' + value % 10);
        value /= 10;
    }
}

/* One row of the body; notes where its timestamp stands. */
static void
add_row(struct buf *body, const struct options *o, int series, int row, size_t *ret_stamp)
{
    if (strcmp(o->format, "line") == 0) {
        buf_add_fmt(body, "bench,host=host_%d,region=eu-west value=%d.%02d ", series, row % 1000,
                    series % 100);
        *ret_stamp = body->len;
        buf_add_fmt(body, "%0*d000\n", STAMP_DIGITS, 0);
    } else {
        buf_add_fmt(body,
                    "%s{\"symbol\":\"S%d\",\"last_price\":%d.25,\"bid\":%d.24,\"ask\":%d.26,"
                    "\"volume\":%d,\"trades\":%d,\"timestamp\":",
                    row == 0 ? "[" : ",", series, row % 1000, row % 1000, row % 1000, row * 10,
                    row);
        *ret_stamp = body->len;
        buf_add_fmt(body, "1%0*d}", STAMP_DIGITS - 1, 0);
        if (row == o->batch - 1) {
            buf_add_char(body, ']');
        }
    }
}

static void
make_request(struct connection *c, const struct options *o)
{
    struct buf body;
    bool get = strcmp(o->format, "get") == 0;

    buf_init(&body, 0);
    c->stamps = mem_zalloc((size_t)o->batch, sizeof(*c->stamps));
    for (int row = 0; row < o->batch && !get; row++) {
        /* Each connection has series of its own, so that rows of one series are in order. */
        int series = (int)c->id * o->series + row % o->series;
        add_row(&body, o, series, row, &c->stamps[row]);
    }
    buf_init(&c->request, 0);
    buf_add_fmt(&c->request, "%s %s HTTP/1.1\r\nHost: %s:%d\r\n", get ? "GET" : "POST", o->path,
                o->host, o->port);
    if (!get) {
        buf_add_fmt(&c->request, "Content-Type: %s\r\nContent-Length: %zu\r\n",
                    strcmp(o->format, "line") == 0 ? "text/plain" : "application/json", body.len);
    }
    buf_add_cstr(&c->request, "\r\n");
    for (int row = 0; row < o->batch; row++) {
        c->stamps[row] += c->request.len;
    }
    buf_add_slice(&c->request, buf_slice(&body));
    buf_fini(&body);
}

static void
patch_stamps(struct run *run, struct connection *c)
{
    const struct options *o = &run->options;

    if (strcmp(o->format, "get") == 0) {
        return;
    }
    for (int row = 0; row < o->batch; row++) {
        if (row % o->series == 0) {
            run->next_us += o->step_us;
        }
        put_digits(c->request.ptr + c->stamps[row], run->next_us);
    }
}

static void
watch(struct run *run, struct connection *c, uint32_t events, int operation)
{
    struct epoll_event event = {.events = events, .data.ptr = c};

    epoll_ctl(run->epoll, operation, c->fd, &event);
}

static void
push(struct run *run, struct connection *c)
{
    while (c->sent < c->request.len) {
        ssize_t done = send(c->fd, c->request.ptr + c->sent, c->request.len - c->sent,
                            MSG_NOSIGNAL | MSG_DONTWAIT);
        if (done <= 0) {
            watch(run, c, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
            return;
        }
        c->sent += (size_t)done;
    }
    watch(run, c, EPOLLIN, EPOLL_CTL_MOD);
}

static void
start_request(struct run *run, struct connection *c)
{
    patch_stamps(run, c);
    c->sent = 0;
    c->answered = 0;
    c->sent_at_us = clock_mono_us(clock_system());
    push(run, c);
}

/* Length of the whole answer when its head is there, 0 otherwise. */
static size_t
answer_length(const struct connection *c)
{
    const char *end = memmem(c->answer, c->answered, "\r\n\r\n", 4);

    if (!end) {
        return 0;
    }
    size_t head = (size_t)(end - c->answer) + 4;
    const char *at = strcasestr(c->answer, "content-length:");
    size_t body = at && at < end ? strtoul(at + 15, NULL, 10) : 0;
    return head + body;
}

/* True when the answer is complete; counts it. */
static bool
receive(struct run *run, struct connection *c)
{
    ssize_t got = recv(c->fd, c->answer + c->answered, sizeof(c->answer) - 1 - c->answered, 0);

    if (got <= 0) {
        fprintf(stderr, "load: the server closed a connection: %s\n", strerror(errno));
        exit(1);
    }
    c->answered += (size_t)got;
    c->answer[c->answered] = '\0';
    size_t want = answer_length(c);
    if (want == 0 || c->answered < want) {
        return false;
    }
    int status = c->answered > 12 ? (int)strtol(c->answer + 9, NULL, 10) : 0;
    hist_record(&run->latency_us, clock_mono_us(clock_system()) - c->sent_at_us);
    run->requests++;
    if (status == 200 || status == 204) {
        run->rows += run->options.batch;
    } else if (run->failures++ == 0) {
        run->first_failure = status;
        fprintf(stderr, "load: first failure: %.300s\n", c->answer);
    }
    return true;
}

static struct connection *
connect_one(struct run *run, unsigned id)
{
    struct connection *c = mem_zalloc(1, sizeof(*c));
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)run->options.port)};
    int one = 1;

    inet_pton(AF_INET, run->options.host, &address.sin_addr);
    c->id = id;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(c->fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        fprintf(stderr, "load: cannot connect to %s:%d: %s\n", run->options.host, run->options.port,
                strerror(errno));
        exit(1);
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    make_request(c, &run->options);
    watch(run, c, EPOLLIN, EPOLL_CTL_ADD);
    return c;
}

static void
run_load(struct run *run)
{
    const struct options *o = &run->options;
    struct epoll_event events[EVENTS];
    int64_t end_us = clock_mono_us(clock_system()) + (int64_t)o->seconds * US_PER_S;
    int busy = 0;

    for (int i = 0; i < o->connections; i++) {
        start_request(run, connect_one(run, (unsigned)i));
        busy++;
    }
    while (busy > 0) {
        int count = epoll_wait(run->epoll, events, EVENTS, 1000);
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) {
                push(run, c);
            }
            if (!(events[i].events & ~(uint32_t)EPOLLOUT) || !receive(run, c)) {
                continue;
            }
            bool more = o->rows_max > 0 ? run->rows + (int64_t)busy * o->batch <= o->rows_max
                                        : clock_mono_us(clock_system()) < end_us;
            if (more) {
                start_request(run, c);
            } else {
                busy--;
            }
        }
    }
}

static void
read_options(int argc, char **argv, struct options *o)
{
    static const struct option names[] = {
        {"port", 1, NULL, 'p'},     {"host", 1, NULL, 'h'},        {"path", 1, NULL, 'a'},
        {"format", 1, NULL, 'f'},   {"connections", 1, NULL, 'c'}, {"batch", 1, NULL, 'b'},
        {"seconds", 1, NULL, 's'},  {"rows", 1, NULL, 'r'},        {"series", 1, NULL, 'n'},
        {"start-us", 1, NULL, 't'}, {"step-us", 1, NULL, 'u'},     {0}};
    int name;

    while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) {
        long long number = optarg ? strtoll(optarg, NULL, 10) : 0;
        switch (name) {
        case 'p':
            o->port = (int)number;
            break;
        case 'h':
            o->host = optarg;
            break;
        case 'a':
            o->path = optarg;
            break;
        case 'f':
            o->format = optarg;
            break;
        case 'c':
            o->connections = (int)number;
            break;
        case 'b':
            o->batch = (int)number;
            break;
        case 's':
            o->seconds = (int)number;
            break;
        case 'r':
            o->rows_max = number;
            break;
        case 'n':
            o->series = (int)number;
            break;
        case 't':
            o->start_us = number;
            break;
        case 'u':
            o->step_us = number;
            break;
        default:
            exit(2);
        }
    }
}

int
main(int argc, char **argv)
{
    static struct run run;

    run.options = (struct options){.host = "127.0.0.1",
                                   .path = "/write",
                                   .format = "line",
                                   .port = 8000,
                                   .connections = 1,
                                   .batch = 1000,
                                   .seconds = 5,
                                   .series = 1000,
                                   .start_us = 1700000000000000,
                                   .step_us = US_PER_S};
    read_options(argc, argv, &run.options);
    run.next_us = run.options.start_us;
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    int64_t start_us = clock_mono_us(clock_system());
    run_load(&run);
    double seconds = (double)(clock_mono_us(clock_system()) - start_us) / US_PER_S;
    printf("{\"seconds\": %.3f, \"requests\": %" PRId64 ", \"rows\": %" PRId64
           ", \"failures\": %" PRId64 ", \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"last_us\": %" PRId64
           "}\n",
           seconds, run.requests, run.rows, run.failures, hist_quantile(&run.latency_us, 0.5) / 1e3,
           hist_quantile(&run.latency_us, 0.99) / 1e3, run.next_us);
    return run.failures > 0;
}
