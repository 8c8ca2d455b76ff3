/*
 * How a request reaches a server: a vtable, so that tests can stand for the network.
 *
 * Threads: send from any thread at once; it blocks until the answer, the timeout, or a stop.
 */
#ifndef EIDER_CLIENT_TRANSPORT_H
#define EIDER_CLIENT_TRANSPORT_H

#include <stdatomic.h>

#include "base/buf.h"
#include "base/err.h"
#include "client/headers.h"

struct transport_request {
    const char *method; /* in capitals */
    const char *url;
    const struct eider_headers *headers;
    struct slice body;
    bool has_body;
    int timeout_ms;
    int connect_timeout_ms;
    size_t body_bytes_max;
    eider_sink_fn *sink; /* NULL: the body goes to memory */
    void *sink_ctx;
    const atomic_bool *stop; /* set: end soon */
};

enum transport_result {
    TRANSPORT_ANSWERED,
    TRANSPORT_TIMEOUT,
    TRANSPORT_NETWORK,
    TRANSPORT_TOO_LARGE,
    TRANSPORT_STOPPED /* by the sink or `stop` */
};

enum { TRANSPORT_PROBLEM_MAX = 256 };

struct transport_answer {
    enum transport_result result;
    bool sent;      /* something may have reached the server */
    bool sink_used; /* the sink has got bytes */
    bool hopeless;  /* asking again would fail the same way (certificates) */
    int status;     /* 0: no answer began */
    struct eider_headers headers;
    struct buf body;
    char problem[TRANSPORT_PROBLEM_MAX]; /* why there is no answer */
};

struct transport {
    /* Fills an answer that transport_answer_init prepared. */
    void (*send)(struct transport *transport, const struct transport_request *request,
                 struct transport_answer *ret_answer);
    void (*free)(struct transport *transport);
};

void transport_answer_init(struct transport_answer *answer, size_t body_bytes_max);
void transport_answer_fini(struct transport_answer *answer);

struct transport_curl_options {
    const char *user_agent; /* copied, as the next */
    const char *ca_file;    /* NULL: the system's */
    unsigned idle_max;      /* handles, each with its connections, kept for reuse */
    bool compressed;        /* ask for and undo content codings */
};

/* Over libcurl. ERR_INTERNAL when it cannot start. */
enum err_code transport_curl_new(const struct transport_curl_options *options,
                                 struct transport **ret_transport, struct err *err);

#endif
