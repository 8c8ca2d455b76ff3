/*
 * Metering as the client sees it: reserve before an attempt, then commit or release. Behind it is
 * one of the backends below, or none; in front of the backend are the policy for times when it
 * cannot be asked, and the queue of what is to be booked later.
 *
 *   metering_reserve --GRANTED--> attempt --> metering_commit   -- backend down --> queue
 *                                         \-> metering_release
 *   metering_flush: queue --> backend; what it refuses for good is lost and counted
 *
 * A commit whose reservation is gone (expired, unknown) is booked as an event after the fact: what
 * was spent was spent.
 *
 * Every grant takes a place for its possible entry in the queue, so the queue cannot overflow: when
 * no place is left, metering_reserve refuses.
 *
 * Threads: any thread; backends, too. Calls block for one request of the backend, metering_reserve
 * for up to FLUSH_AT_ONCE more while something waits.
 */
#ifndef EIDER_CLIENT_METERING_H
#define EIDER_CLIENT_METERING_H

#include "base/clock.h"
#include "base/err.h"
#include "base/slice.h"
#include "eider/client.h"

struct transport;

enum { METERING_ID_MAX = 80, METERING_CODE_MAX = 48, METERING_DETAIL_MAX = 512 };

/* Texts are borrowed; NULL where there is none. */
struct metering_call {
    const char *api_name;
    const char *endpoint;
    const char *method;
    const char *key;
    const char *run_id;
    const char *project;
    struct slice params_json; /* empty: none */
    struct slice query;       /* of the URL, secrets masked */
    bool has_max;
    int64_t max_credits;
    int64_t ttl_ms;
};

struct metering_grant {
    char reservation_id[METERING_ID_MAX]; /* "": nothing is reserved */
    int64_t credits;
    bool place; /* in the queue */
};

struct metering_outcome {
    bool has_status;
    int status;
    bool success;
    double latency_ms;
    bool has_credits;
    int64_t credits;
    int64_t started_us;        /* wall time */
    const char *error_message; /* NULL: none */
    const char *metadata_json;
    uint64_t request_bytes, response_bytes;
    char event_id[METERING_ID_MAX]; /* for an event after the fact */
};

struct metering_refusal {
    enum eider_refusal refusal;
    char code[METERING_CODE_MAX];
    char detail[METERING_DETAIL_MAX];
    int64_t retry_after_ms;
};

struct metering_receipt {
    char event_id[METERING_ID_MAX]; /* "": not known (yet) */
    int64_t credits;                /* booked, as far as known */
};

enum metering_verdict {
    METERING_DONE,    /* granted, booked, released */
    METERING_REFUSED, /* by a budget */
    METERING_DENIED,  /* the request itself is not accepted; asking again does not help */
    METERING_GONE,    /* of a commit: the reservation is over; book an event */
    METERING_DOWN     /* cannot be asked now */
};

struct metering_backend {
    /* With REFUSED, DENIED and DOWN ret_refusal is filled, but for `refusal`. */
    enum metering_verdict (*reserve)(struct metering_backend *backend,
                                     const struct metering_call *call,
                                     struct metering_grant *ret_grant,
                                     struct metering_refusal *ret_refusal);
    enum metering_verdict (*commit)(struct metering_backend *backend, const char *reservation_id,
                                    const struct metering_call *call,
                                    const struct metering_outcome *outcome,
                                    struct metering_receipt *ret_receipt);
    enum metering_verdict (*release)(struct metering_backend *backend, const char *reservation_id);
    /* Sending the same event_id again is fine. */
    enum metering_verdict (*event)(struct metering_backend *backend,
                                   const struct metering_call *call,
                                   const struct metering_outcome *outcome,
                                   struct metering_receipt *ret_receipt);
    void (*free)(struct metering_backend *backend);
};

struct metering_http_options {
    const char *url;
    const char *token; /* NULL: none */
    int timeout_ms;
    struct transport *transport; /* becomes the backend's */
};
/* ERR_INVALID for an URL or token that cannot be one; the transport stays the caller's then. */
enum err_code metering_http_new(const struct metering_http_options *options,
                                struct metering_backend **ret_backend, struct err *err);

struct metering_embedded_options {
    const char *data_dir;
    int64_t budget_credits; /* of the default budget; 0: 1 000 000 credits, < 0: none */
    int budget_minutes;     /* 0: 60 */
};
/* A data directory in this process. Errors as engine_open. */
enum err_code metering_embedded_open(const struct metering_embedded_options *options,
                                     struct metering_backend **ret_backend, struct err *err);

struct metering_options {
    struct metering_backend *backend; /* becomes the metering's; NULL: none */
    bool fail_open;
    size_t queue_max;
    const struct clock *clock;
};

struct metering;

struct metering *metering_new(const struct metering_options *options);
void metering_free(struct metering *metering); /* what waits is given up: flush before */

/* METERING_DONE, or METERING_REFUSED with all of ret_refusal filled. */
enum metering_verdict metering_reserve(struct metering *metering, const struct metering_call *call,
                                       struct metering_grant *ret_grant,
                                       struct metering_refusal *ret_refusal);
/* Each grant ends in one of these, once. */
void metering_commit(struct metering *metering, const struct metering_grant *grant,
                     const struct metering_call *call, const struct metering_outcome *outcome,
                     struct metering_receipt *ret_receipt);
void metering_release(struct metering *metering, const struct metering_grant *grant);

/* Books what waits until deadline_us (monotonic); returns how many still wait. */
size_t metering_flush(struct metering *metering, int64_t deadline_us);

struct metering_stats {
    uint64_t unmetered, booked_late, lost, queued;
};
void metering_stats(struct metering *metering, struct metering_stats *ret_stats);

#endif
