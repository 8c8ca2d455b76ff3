/*
 * An HTTP client that asks before it spends: every attempt of a call first reserves what it may
 * cost, is sent only when the budgets allow it, and is booked when its answer is there.
 *
 *   struct eider_client_options options = {.base_url = "https://api.example.com",
 *                                          .api_name = "Example",
 *                                          .eider_url = "http://127.0.0.1:8000",
 *                                          .max_credits = 60 * EIDER_CREDIT};
 *   struct eider_client *client;
 *   struct eider_response *response;
 *   char problem[256];
 *
 *   if (eider_client_open(&options, &client, problem, sizeof(problem)) != EIDER_CLIENT_OK) ...
 *   if (eider_client_get(client, "/v1/price?symbol=BTC", &response) == EIDER_CLIENT_OK)
 *       puts(response->body);
 *   else if (response->status == EIDER_CLIENT_REFUSED)
 *       printf("come back in %lld ms\n", (long long)response->retry_after_ms);
 *   eider_response_free(response);
 *   eider_client_close(client);
 *
 * An attempt:
 *
 *   reserve --refused--> EIDER_CLIENT_REFUSED, nothing was sent
 *      | granted
 *   on_request hook --false--> release, EIDER_CLIENT_STOPPED
 *      |
 *   HTTP request --> credits hook --> commit --> on_response hook --> done, or the next attempt
 *
 * Retries. Providers bill attempts, so every attempt is a reservation and an entry of the event log
 * of its own. Attempts that ended with 429, 500, 502, 503, 504, a timeout or a network error are
 * repeated for GET, HEAD, OPTIONS, PUT and DELETE; other methods only when nothing was sent, or
 * with `retry_unsafe`. The wait is initial * factor^n, at most delay_max, less a random share; a
 * Retry-After (seconds or HTTP date) that is longer is waited for instead.
 *
 * What an attempt's entry holds: api_name; endpoint, the path without its query, or "unknown";
 * method in capitals; status_code, null without an answer; success, a 2xx that came whole;
 * latency_ms; credits; run_id, project, the key's label; error_message ("Rate limit exceeded for
 * NAME", "Request to NAME timed out", "Network error: ..."); metadata {url, method, baseURL}, where
 * values of secret-looking parameters are masked. Headers and bodies are never recorded.
 *
 * Metering is one of: none (no eider_url, no data_dir); a server, asked over HTTP; or a data
 * directory opened in this process. When it cannot be reached, calls are refused; with `fail_open`
 * they go on, and what they cost is kept in a bounded queue and booked when it is back: before the
 * next reservation, by eider_client_flush, or in eider_client_close.
 *
 * Threads: several threads may call one client at once; each call blocks its thread. Hooks run on
 * the calling thread, so they must be thread-safe when several call. open and close belong to one
 * thread, and no call may be running when close is called (eider_client_stop ends them).
 *
 * Ownership: strings and arrays of options and requests are copied, or used during the call only.
 * Nothing here aborts on what comes from outside; out of memory ends the process.
 */
#ifndef EIDER_CLIENT_H
#define EIDER_CLIENT_H

#include "eider/api.h"

#ifdef __cplusplus
extern "C" {
/* Some structs have the name of their function, as stat has: say `struct` in front of them. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif

struct eider_client;
struct eider_headers;

enum eider_client_status {
    EIDER_CLIENT_OK = 0,    /* an answer with a 2xx status, whole */
    EIDER_CLIENT_HTTP,      /* an answer with another status, after the retries */
    EIDER_CLIENT_REFUSED,   /* not sent; `refusal` says why, retry_after_ms when to come back */
    EIDER_CLIENT_TIMEOUT,   /* no answer in time, after the retries */
    EIDER_CLIENT_NETWORK,   /* no connection, or it broke, after the retries */
    EIDER_CLIENT_TOO_LARGE, /* the answer is larger than body_bytes_max */
    EIDER_CLIENT_STOPPED,   /* a hook or a sink said no, or eider_client_stop was called */
    EIDER_CLIENT_INVALID,   /* an argument is wrong; the message names it */
    EIDER_CLIENT_FAILED     /* the machine cannot: the message says what */
};

enum eider_refusal {
    EIDER_REFUSAL_NONE = 0,
    EIDER_REFUSAL_BUDGET,     /* a budget is used up: CIRCUIT_BREAKER_TRIPPED */
    EIDER_REFUSAL_METER_DOWN, /* the meter cannot be asked, or too much waits to be booked */
    EIDER_REFUSAL_DENIED,     /* the meter does not accept the request (token, price, names) */
    EIDER_REFUSAL_PAUSED,     /* too many failures one after the other (birdeye.h) */
    EIDER_REFUSAL_NO_KEY,     /* no key is left (birdeye.h) */
    EIDER_REFUSAL_RATE        /* the own limit of requests, with no_wait (birdeye.h) */
};

/* "ok", "http", "refused", ...; never NULL. */
EIDER_API const char *eider_client_status_name(enum eider_client_status status);

struct eider_header {
    const char *name;
    const char *value;
};

/* What hooks see of an attempt. Valid during the hook only. */
struct eider_call {
    const char *api_name;
    const char *endpoint;
    const char *method;
    const char *url;  /* whole, as it is sent: not for logs */
    unsigned attempt; /* from 1 */
    int64_t reserved; /* micro-credits; 0 when not metered */
    /* From here on zero before the answer: */
    int http_status; /* 0: no answer */
    bool success;    /* 2xx, whole */
    double latency_ms;
    const char *body; /* NUL behind; NULL when it went to a sink */
    size_t body_len;
    const struct eider_header *headers; /* of the answer */
    size_t header_count;
    const char *error_message; /* NULL for a success */
    int64_t credits;           /* in on_response: what was booked, in micro-credits */
};

/* Before an attempt is sent, behind its reservation: may change headers. False gives the
 * reservation back and ends the call with EIDER_CLIENT_STOPPED. */
typedef bool eider_request_fn(void *ctx, const struct eider_call *call,
                              struct eider_headers *headers);
/* After an attempt, when it is booked. */
typedef void eider_response_fn(void *ctx, const struct eider_call *call);
/* What an attempt cost, in micro-credits, >= 0. Also called for failures: return 0 when the
 * provider does not bill them. More than was reserved is booked, too: it was spent. */
typedef int64_t eider_credits_fn(void *ctx, const struct eider_call *call);
/* Changes a text (URL, error message) in place before it is recorded, behind the masking that is
 * always done; returns the new length, at most `len`. */
typedef size_t eider_redact_fn(void *ctx, char *text, size_t len);
/* Takes the next bytes of a 2xx answer; false ends the call. Once it was called there is no retry.
 */
typedef bool eider_sink_fn(void *ctx, const void *bytes, size_t len);

/* Sets a header (replacing one of that name), or removes it with value NULL. False when the name is
 * no token or the value holds control characters. */
EIDER_API bool eider_headers_set(struct eider_headers *headers, const char *name,
                                 const char *value);

/* All zero but base_url is a client without metering. */
struct eider_client_options {
    const char *base_url;               /* required: "http(s)://host[:port][/path]"; no query */
    const char *api_name;               /* NULL: the host of base_url */
    const struct eider_header *headers; /* with every request */
    size_t header_count;                /* at most 64 */

    int timeout_ms;           /* of an attempt; 0: 30 000 */
    int connect_timeout_ms;   /* 0: 10 000 */
    int retries_max;          /* 0: 3; below 0: none; at most 100 */
    int retry_initial_ms;     /* 0: 1 000 */
    double retry_factor;      /* 0: 2; at least 1 */
    int retry_delay_max_ms;   /* 0: 30 000 */
    double retry_jitter;      /* the share of a wait that is left to chance, 0..1; 0: 0.2; below 0:
                                 none */
    int retry_after_max_ms;   /* 0: 120 000; a longer Retry-After ends the call, which tells it */
    size_t body_bytes_max;    /* of an answer in memory, decompressed; 0: 64 MiB */
    unsigned connections_max; /* kept open for reuse; 0: 16 */
    const char *user_agent;   /* NULL: "eider/VERSION" */
    const char *ca_file;      /* PEM; NULL: the system's. Certificates are always verified. */

    eider_request_fn *on_request;
    eider_response_fn *on_response;
    eider_credits_fn *credits; /* NULL: 0, or the price book with use_price_book */
    eider_redact_fn *redact;
    void *ctx; /* of the four hooks */

    const char *eider_url;   /* meter at this server */
    const char *eider_token; /* bearer token of it; NULL: none */
    int eider_timeout_ms;    /* of one request to it; 0: 5 000 */
    const char *data_dir;   /* or: meter in this process, whose only client and program this is; not
                               with eider_url */
    int64_t budget_credits; /* with data_dir: the most within a sliding window, in micro-credits,
                               until a budget "default" is set by a server on that directory; 0:
                               1 000 000 credits; below 0: none */
    int budget_minutes;     /* the window; 0: 60; at most 31 days */
    bool use_price_book;    /* leave reservation and cost to the meter's price book, where neither
                               max_credits nor the credits hook says them */
    int64_t max_credits;    /* the most an attempt can cost, micro-credits */
    int lease_ms;           /* of a reservation; 0: timeout_ms and 30 s */
    bool fail_open;         /* meter unreachable: call, and book later. Default: refuse. */
    size_t queue_max; /* calls not yet booked, at most; over it calls are refused; 0: 10 000 */

    const char *key_label; /* which key pays: a label, never the key */
    const char *run_id;
    const char *project;
};

/* All zero but path is a GET with the client's settings. */
struct eider_request {
    const char *method; /* NULL: GET; letters only */
    const char *path;   /* behind base_url, from "/", with query; NULL or "": base_url alone, whose
                           endpoint is "unknown" */
    const struct eider_header *headers; /* over the client's */
    size_t header_count;
    const void *body;
    size_t body_len;
    const char *content_type; /* of the body; NULL: none is said */
    eider_sink_fn *sink;      /* NULL: the body is kept in the response */
    void *sink_ctx;
    int timeout_ms; /* 0: the client's */
    bool no_retry;
    bool retry_unsafe;    /* repeat POST and PATCH, too: the provider tells doubles apart */
    bool has_max_credits; /* max_credits is meant, even 0; else the client's */
    int64_t max_credits;
    const char *params_json; /* what the price depends on, a JSON object, e.g. {"candles": 5000};
                                NULL: the parameters of the query */
    const char *key_label, *run_id, *project; /* NULL: the client's */
};

/* What became of a call. Made by the library, read-only, freed by eider_response_free. */
struct eider_response {
    enum eider_client_status status;
    enum eider_refusal refusal;
    int http_status;     /* of the last attempt; 0: no answer */
    const char *message; /* one sentence for people; "" when all is well */
    const char *body;    /* of the last attempt; never NULL, NUL behind; empty with a sink */
    size_t body_len;
    const struct eider_header *headers; /* of the last answer */
    size_t header_count;
    double latency_ms; /* of the last attempt */
    unsigned attempts; /* that were sent */
    int64_t credits;   /* booked for all attempts, micro-credits; what waits in the queue counts */
    int64_t retry_after_ms; /* when to come back; 0: not known */
    const char *code;       /* of a refusal: "CIRCUIT_BREAKER_TRIPPED" and the like; "" else */
    const char *event_id;   /* entry of the last attempt; "" when not known */
};

/*
 * Opens a client. EIDER_CLIENT_INVALID names the option; EIDER_CLIENT_FAILED when data_dir cannot
 * be opened. The server at eider_url need not run yet. `ret_problem` (may be NULL) gets the reason,
 * cut at `problem_size`, *ret_client is untouched then. The first open of a process starts libcurl
 * (curl_global_init), which must not run beside another thread doing the same with libcurl < 7.84.
 */
EIDER_API enum eider_client_status eider_client_open(const struct eider_client_options *options,
                                                     struct eider_client **ret_client,
                                                     char *ret_problem, size_t problem_size);

/* Tries once more to book what waits, for at most 5 s, and frees. No call may be running. NULL is
 * fine. */
EIDER_API void eider_client_close(struct eider_client *client);

/* Ends running calls soon, and all later ones at once, with EIDER_CLIENT_STOPPED. Any thread. */
EIDER_API void eider_client_stop(struct eider_client *client);

/*
 * Calls and waits, retries included: at most (retries + 1) * timeout and the waits between. Returns
 * the response's status. *ret_response is set whatever happens; free it. Any thread.
 */
EIDER_API enum eider_client_status eider_client_send(struct eider_client *client,
                                                     const struct eider_request *request,
                                                     struct eider_response **ret_response);

/* eider_client_send of a GET of `path`. */
EIDER_API enum eider_client_status eider_client_get(struct eider_client *client, const char *path,
                                                    struct eider_response **ret_response);

/* The value of a header of the answer, any case; NULL when it has none. */
EIDER_API const char *eider_response_header(const struct eider_response *response,
                                            const char *name);

/* NULL is fine. */
EIDER_API void eider_response_free(struct eider_response *response);

/* Books what waits, for at most timeout_ms; returns how many calls still wait. Any thread. */
EIDER_API size_t eider_client_flush(struct eider_client *client, int timeout_ms);

/* Since the client was opened. */
struct eider_client_stats {
    uint64_t calls;     /* of eider_client_send */
    uint64_t attempts;  /* sent */
    uint64_t successes; /* attempts */
    uint64_t refused;   /* attempts that were not sent */
    uint64_t retries;
    int64_t credits;      /* micro-credits of all attempts, as far as they are known here */
    uint64_t unmetered;   /* sent by fail_open */
    uint64_t booked_late; /* from the queue */
    uint64_t lost;   /* could not be booked when the meter said no for good; 0 is what you want */
    uint64_t queued; /* wait now */
};
EIDER_API void eider_client_stats(struct eider_client *client,
                                  struct eider_client_stats *ret_stats);

#ifdef __cplusplus
#pragma GCC diagnostic pop
}
#endif

#endif
