/*
 * The metering reverse proxy: a call to /gateway/{upstream}/{rest} goes to the upstream's base URL
 * with {rest} behind it. Before the first byte is sent the most it can cost is reserved; when the
 * answer is complete, what it did cost is booked. A program in any language is metered by changing
 * a base URL.
 *
 *   RESERVING --granted--> SENDING ----------> PASSING -----> COMMITTING --> over
 *       |                   |  ^  \ answer to be tried again    ^   ^
 *       |                   |  |   v                            |   |
 *       |                   | RESTING (back-off) ---------------+   |
 *       |                   +--- no answer, client gone ------------+
 *       +-- refused: answered 503 --> over
 *       +-- client gone before anything was sent --> RELEASING --> over
 *
 * Every state leads to `over` exactly once, and there to exactly one of: refused (nothing
 * reserved), released, committed. If this process dies in between, the lease of the reservation
 * ends and gives the credits back.
 *
 * Threads: gateway_accept and gateway_handle run on event loops and never block. The transfers run
 * on threads of the gateway (libcurl's multi interface), which own all calls; http and meter only
 * leave word there.
 */
#ifndef EIDER_GATEWAY_GATEWAY_H
#define EIDER_GATEWAY_GATEWAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "http/http.h"
#include "meter/meter.h"

struct gateway;
struct json_writer;
struct prices;

enum {
    GATEWAY_UPSTREAMS_MAX = 64,
    GATEWAY_HEADERS_MAX = 16, /* added to the requests of one upstream */
    GATEWAY_RETRIES_MAX = 10,
    GATEWAY_NAME_MAX = 64 /* of [A-Za-z0-9._-] */
};

struct gateway_header {
    const char *name;
    const char *value;
};

/* Pauses an upstream that keeps failing. A failure is no answer, 429 or 5xx; any 2xx or 3xx ends
 * the row. From pause_after failures in a row on each one pauses for pause_ms; open_after opens for
 * open_ms, after which the count starts anew. */
struct gateway_breaker {
    bool off;
    unsigned pause_after; /* 0: 10 */
    unsigned open_after;  /* 0: 20 */
    int64_t pause_ms;     /* 0: 60 000 */
    int64_t open_ms;      /* 0: 300 000 */
};

/* All texts are copied by gateway_open. */
struct gateway_upstream {
    const char *name;     /* required; the segment behind /gateway/ */
    const char *base_url; /* required; http or https, without query, fragment or user */
    const char *api_name; /* in the event log and the price book; NULL: name */
    const char *ca_file;  /* NULL: the system's certificates */
    /* Added to every request, instead of fields of these names that the client sent. */
    struct gateway_header headers[GATEWAY_HEADERS_MAX];
    size_t header_count;
    bool drop_credentials;   /* the client's Authorization, Cookie and X-API-Key stay here */
    bool no_forwarded_for;   /* no X-Forwarded-For */
    int64_t default_credits; /* micro-credits of a successful call that no price rule covers */
    int connect_timeout_ms;  /* 0: 5000 */
    int timeout_ms; /* from the last byte of the request to the first of the answer; 0: 30 000 */
    int idle_timeout_ms;    /* longest silence within the answer; 0: 60 000 */
    unsigned retries;       /* further attempts; 0: none */
    int retry_delay_ms;     /* before the first; doubles, with jitter; 0: 250 */
    int retry_delay_max_ms; /* also the longest Retry-After that is waited for; 0: 10 000 */
    /* What is booked when the client leaves while the upstream is at work: the upstream may bill
     * it. False: what was reserved. True: nothing but what earlier attempts cost. */
    bool abort_is_free;
    struct gateway_breaker breaker;
};

/* The meter, as the gateway uses it; gateway_meter makes it. Tests have their own. */
struct gateway_meter {
    void (*reserve)(void *ctx, const struct meter_reserve *reserve, meter_done_fn *done,
                    void *done_ctx);
    void (*commit)(void *ctx, const struct meter_commit *commit, meter_done_fn *done,
                   void *done_ctx);
    void (*release)(void *ctx, struct slice reservation_id, meter_done_fn *done, void *done_ctx);
    void (*extend)(void *ctx, struct slice reservation_id, int64_t ttl_ms, int64_t add_credits,
                   meter_done_fn *done, void *done_ctx);
    /* A reference of the caller's, or NULL. */
    struct prices *(*prices)(void *ctx);
    /* meter_refusal_json and meter_retry_after_s. */
    void (*refusal_json)(const struct refusal *refusal, struct json_writer *writer);
    int (*retry_after_s)(const struct refusal *refusal);
    void *ctx;
};
void gateway_meter(struct meter *meter, struct gateway_meter *ret_meter);

/* Things worth a log line: a commit that failed, a breaker that opened. Any thread of the gateway.
 */
typedef void gateway_event_fn(void *ctx, bool is_problem, const char *text);

/* A budget has refused a call; for counting. Any thread of the gateway. */
typedef void gateway_refused_fn(void *ctx, const struct refusal *refusal);

struct gateway_options {
    struct gateway_meter meter; /* required; outlives the gateway */
    const struct gateway_upstream *upstreams;
    size_t upstream_count;
    const struct clock *clock; /* NULL: the system's */
    uint64_t seed;             /* of the jitter; 0: from the clock */
    gateway_event_fn *event;   /* may be NULL */
    void *event_ctx;
    gateway_refused_fn *refused; /* may be NULL */
    void *refused_ctx;
    unsigned threads;        /* 0: 1 */
    unsigned calls_max;      /* at once; 0: 1024; over it 503 */
    uint64_t body_bytes_max; /* of a request; 0: 1 GiB */
    int64_t lease_ms;        /* of a reservation, extended while the call runs; 0: 120 000 */
};

/* Checks one upstream as gateway_open does. */
enum err_code gateway_check(const struct gateway_upstream *upstream, struct err *err);

/* Checks the upstreams (ERR_USAGE names upstream, field and value) and starts the threads. */
enum err_code gateway_open(const struct gateway_options *options, struct gateway **ret_gateway,
                           struct err *err);

/* Waits until all calls are over, ends the threads, frees. The HTTP server must be stopped before
 * (that ends the calls' exchanges), the meter afterwards. NULL is fine. */
void gateway_close(struct gateway *gateway);

/* Whether a path is the gateway's: "/gateway" and all below it. */
bool gateway_is_path(struct slice path);

/* For http_accept_fn: has the body streamed, and says how large it may be. */
void gateway_accept(const struct gateway *gateway, struct http_exchange *exchange,
                    uint64_t *ret_body_max);

/* Who sent what that is meant for Eider and not for the upstream. */
struct gateway_credentials {
    bool authorization; /* the Authorization header was Eider's token */
    bool access_token;  /* the query parameter access_token was */
};

/* Forwards the request and gives the exchange away. Loop thread, from the handler. */
void gateway_handle(struct gateway *gateway, struct http_exchange *exchange,
                    const struct gateway_credentials *ours);

struct gateway_stats {
    uint64_t calls;    /* forwarded or refused */
    uint64_t active;   /* now */
    uint64_t refused;  /* by a budget */
    uint64_t attempts; /* sent to upstreams */
    uint64_t retries;
    uint64_t upstream_errors; /* attempts without an answer */
    uint64_t breaker_refused;
    uint64_t clients_gone;    /* while their call was running */
    uint64_t commit_failures; /* calls that were made and could not be booked */
    uint64_t bytes_up, bytes_down;
};
void gateway_stats(const struct gateway *gateway, struct gateway_stats *ret_stats);

/* State of an upstream; index 0, 1, ... until false. */
enum gateway_state { UPSTREAM_FINE, UPSTREAM_PAUSED, UPSTREAM_OPEN };
struct gateway_upstream_status {
    const char *name;
    const char *api_name;
    enum gateway_state state;
    unsigned failures;   /* in a row */
    int64_t opens_in_ms; /* until it is tried again; 0 when it is fine */
};
bool gateway_upstream_status(struct gateway *gateway, size_t index,
                             struct gateway_upstream_status *ret_status);

#endif
