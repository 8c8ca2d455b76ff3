/*
 * Between the files of this part. A call is a loop of attempts; who decides on the next attempt is
 * a director, so that the Birdeye client turns keys where the base client only waits.
 *
 *   client_run: [director->before] -> attempt (reserve, hook, send, book, hook) -> director->after
 *                     ^                                                              |
 *                     +------------------- wait delay_ms ---------------------------+  -1: done
 */
#ifndef EIDER_CLIENT_INTERNAL_H
#define EIDER_CLIENT_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/id.h"
#include "client/headers.h"
#include "client/metering.h"
#include "client/retry.h"
#include "client/transport.h"
#include "eider/client.h"

enum { URL_BYTES_MAX = 16384, TEXT_BYTES_MAX = 1024 };

/* What the client has from the world; tests bring their own. */
struct client_env {
    const struct clock *clock;               /* NULL: the system's */
    void (*sleep_ms)(void *ctx, int64_t ms); /* NULL: waits, until eider_client_stop */
    double (*random)(void *ctx);             /* [0, 1); NULL: a generator of the client's */
    void *ctx;
    struct transport *transport;       /* required; becomes the client's */
    struct metering_backend *metering; /* becomes the client's; NULL: none */
};

/* The options with defaults filled in; texts are the client's. */
struct client_settings {
    char *base_url; /* without a slash at the end */
    char *api_name;
    char *key_label;
    char *run_id;
    char *project;
    struct eider_headers headers;
    int timeout_ms;
    int connect_timeout_ms;
    struct retry_policy retry;
    size_t body_bytes_max;
    eider_request_fn *on_request;
    eider_response_fn *on_response;
    eider_credits_fn *credits;
    eider_redact_fn *redact;
    void *ctx;
    bool use_price_book;
    int64_t max_credits;
    int lease_ms;
};

struct eider_client {
    struct client_settings settings;
    struct client_env env;
    struct transport *transport;
    struct metering *metering;
    atomic_bool stop;
    pthread_mutex_t lock; /* guards stats and rng; with `stopped` for those who wait */
    pthread_cond_t stopped;
    struct eider_client_stats stats;
    struct rng rng;
};

/* The response while it is made; the public part is what callers see. */
struct response {
    struct eider_response public; /* first */
    struct eider_headers headers;
    struct buf body;
    struct buf message;
    char code[METERING_CODE_MAX];
    char event_id[METERING_ID_MAX];
};

struct response *response_new(void);
void response_message(struct response *response, enum eider_client_status status, const char *fmt,
                      ...) __attribute__((format(printf, 3, 4)));
void response_refuse(struct response *response, const struct metering_refusal *refusal);
/* Sets the pointers of the public part; returns its status. */
enum eider_client_status response_finish(struct response *response);

/* One attempt: what goes in, and how it ended. */
struct attempt {
    const struct eider_request *request;
    const char *method;           /* in capitals */
    struct eider_headers headers; /* to send; the director may add */
    const char *key_label;
    unsigned number; /* from 1 */
    /* Afterwards: */
    bool sent; /* it came to the transport; else the response says why not */
    struct retry_attempt result;
    int64_t started_us, ended_us; /* monotonic */
};

struct director {
    /* Before an attempt: headers and label; false when the call ends, the response says why. */
    bool (*before)(struct director *director, struct attempt *attempt, struct response *response);
    /* Behind it: the wait before the next one in ms, -1 to end. */
    int64_t (*after)(struct director *director, const struct attempt *attempt,
                     const struct response *response);
};

/* Opens in an environment. On failure its transport and metering stay the caller's. */
enum eider_client_status client_open_with(const struct eider_client_options *options,
                                          const struct client_env *env,
                                          struct eider_client **ret_client, char *ret_problem,
                                          size_t problem_size);

/* eider_client_send; director NULL: the retry policy of the client. */
enum eider_client_status client_run(struct eider_client *client,
                                    const struct eider_request *request, struct director *director,
                                    struct eider_response **ret_response);

/* Makes one attempt; attempt->headers are complete. */
void attempt_make(struct eider_client *client, struct attempt *attempt, struct response *response);

/* Waits; false when the client was stopped. */
bool client_sleep(struct eider_client *client, int64_t ms);
double client_random(struct eider_client *client);

/* The environment that the options ask for: libcurl, and the metering of eider_url or data_dir. */
enum eider_client_status env_open(const struct eider_client_options *options,
                                  struct client_env *ret_env, char *ret_problem,
                                  size_t problem_size);
void env_close(struct client_env *env);

/* client_open_with's part: checks and copies options. False: ret_problem says why. */
bool settings_init(struct client_settings *settings, const struct eider_client_options *options,
                   char *ret_problem, size_t problem_size);
void settings_fini(struct client_settings *settings);

/* "" when the request is in order, else the name of what is wrong and what was expected. */
bool request_check(const struct eider_request *request, char *ret_problem, size_t problem_size);

#endif
