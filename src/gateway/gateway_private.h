/*
 * What the files of the gateway share: its threads (lanes), its upstreams, a call.
 *
 * A call belongs to its lane's thread. Event loops (http callbacks) and the log's committer (the
 * meter's answers) only leave word in it, under the lane's lock, and wake the lane. No function of
 * http.h is called with that lock held, since http's callbacks take it.
 */
#ifndef EIDER_GATEWAY_GATEWAY_PRIVATE_H
#define EIDER_GATEWAY_GATEWAY_PRIVATE_H

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "gateway/breaker.h"
#include "gateway/forward.h"
#include "gateway/gateway.h"

enum {
    UP_HIGH_BYTES = 128 << 10,   /* of a request that wait for the upstream: reading pauses */
    UP_LOW_BYTES = 64 << 10,     /* and goes on */
    REPLAY_BYTES_MAX = 64 << 10, /* of a request's body that are kept for another attempt */
    HELD_BYTES_MAX = 64 << 10,   /* of an answer that may be replaced by another attempt's */
    HEAD_BYTES_MAX = 48 << 10,   /* header fields of an answer */
    US_PER_MS = 1000,
};

/* What was left in a call; bits. */
enum word {
    WORD_RESERVED = 1, /* op has the answer to reserve */
    WORD_BODY = 2,     /* more in `up`, or its end */
    WORD_DRAIN = 4,    /* the client takes more */
    WORD_GONE = 8,     /* the client does not listen any more */
    WORD_OP = 16,      /* op has the answer to commit or release */
    WORD_EXTENDED = 32 /* op has the answer to an extension for another attempt */
};

enum call_state {
    CALL_RESERVING,
    CALL_SENDING,   /* a transfer runs; nothing of its answer was passed on */
    CALL_PASSING,   /* its answer is being passed on */
    CALL_EXTENDING, /* asks for the cost of another attempt */
    CALL_RESTING,   /* until due_us */
    CALL_COMMITTING,
    CALL_RELEASING,
    CALL_OVER
};

/* The meter's answer, as far as it is needed. */
struct op {
    enum err_code code;
    bool refused;
    struct refusal refusal;
    char text[256];
    char reservation_id[METER_ID_MAX + 1];
    int64_t credits;
};

enum ending {
    ENDING_STREAM, /* the answer has begun: end it */
    ENDING_ERROR,  /* nothing was sent: fail_* say what to answer */
    ENDING_CUT     /* the answer cannot be completed, or nobody listens */
};

struct upstream {
    struct gateway_upstream options; /* texts are own */
    struct breaker breaker;          /* gateway.lock */
    bool is_local;                   /* no proxy */
};

struct lane;

struct call {
    struct gateway *gateway;
    struct lane *lane;
    struct upstream *upstream;
    struct http_exchange *exchange;

    /* Under the lane's lock. */
    struct call *next_word;
    bool queued;
    unsigned words;
    unsigned ops; /* answers that the meter still owes */
    struct op op;
    struct buf up;    /* of the body, from the first byte that is kept */
    size_t up_at;     /* bytes of it that the transfer has taken */
    bool up_trimmed;  /* its beginning is gone: no other attempt can send it */
    bool up_complete; /* nothing more will come */
    bool up_paused;

    /* The lane's own. */
    struct call *prev;
    struct call *next;
    enum call_state state;
    bool gone;
    struct forward_target target; /* slices into the exchange */
    bool authorization_is_ours;
    bool has_body;
    int64_t body_length; /* negative: not known */
    int64_t started_us;
    int64_t due_us; /* 0: nothing is waited for */
    int64_t lease_due_us;
    int64_t reserved;
    char reservation_id[METER_ID_MAX + 1];

    CURL *curl; /* NULL: no attempt runs */
    struct curl_slist *fields;
    char curl_error[CURL_ERROR_SIZE];
    unsigned attempts;
    bool has_sent; /* something of an attempt that is over has left */
    bool timed_out;
    bool read_paused;
    bool write_paused;
    int64_t spent; /* by earlier attempts */
    int64_t attempt_cost;
    bool rule_found;      /* for this attempt */
    bool priced_by_meter; /* the reservation is of the price book's rule */

    int status; /* of the attempt's answer; 0: none */
    struct buf head;
    bool head_done;
    int64_t length; /* announced by the answer; negative: not known */
    int retry_after_s;
    bool holding; /* the answer waits in `held` for a better one */
    struct buf held;
    uint64_t attempt_down;

    uint64_t bytes_up;
    uint64_t bytes_down;
    bool aborted; /* the client left while the upstream was at work */
    enum ending ending;
    int fail_status;
    int fail_retry_s; /* 0: no Retry-After */
    const char *fail_code;
    char fail_text[256];
};

struct lane {
    struct gateway *gateway;
    CURLM *multi;
    pthread_t thread;
    bool thread_runs;
    pthread_mutex_t lock; /* guards what follows, and what struct call says */
    struct call *words;   /* calls with word in them, newest first */
    bool stop;

    struct call *calls; /* the thread's own: all that are not over */
    size_t call_count;
    uint64_t random;
};

struct gateway {
    struct gateway_options options; /* with defaults filled in; no upstreams */
    const struct clock *clock;
    struct upstream *upstreams;
    size_t upstream_count;
    struct lane *lanes;
    unsigned lane_count;
    _Atomic unsigned next_lane;
    _Atomic uint64_t active;
    pthread_mutex_t lock; /* breakers; a leaf */
    _Atomic uint64_t calls, refused, attempts, retries, upstream_errors, breaker_refused,
        clients_gone, commit_failures, bytes_up, bytes_down;
};

void __attribute__((format(printf, 3, 4)))
gateway_tell(struct gateway *gateway, bool is_problem, const char *fmt, ...);
int64_t gateway_now_us(const struct gateway *gateway);

/* Copies and checks the upstreams (upstream.c). */
enum err_code upstream_init(struct upstream *upstream, const struct gateway_upstream *options,
                            struct err *err);
void upstream_fini(struct upstream *upstream);

/* ---- lane.c ---- */

enum err_code lane_start(struct lane *lane, struct gateway *gateway, unsigned index,
                         struct err *err);
void lane_stop(struct lane *lane);

/* Leaves word in a call and wakes its lane. Any thread. */
void lane_leave(struct call *call, unsigned words);

/* The same under the lane's lock, for whoever changes more; then lane_wake without it. */
void lane_leave_locked(struct call *call, unsigned words);
void lane_wake(struct lane *lane);

/* A number from 0 to n - 1. */
uint64_t lane_random(struct lane *lane, uint64_t n);

/* ---- call.c: the states; lane thread but for call_new ---- */

void call_new(struct gateway *gateway, struct upstream *upstream, struct http_exchange *exchange,
              const struct forward_target *target, const struct gateway_credentials *ours);
void call_work(struct call *call, unsigned words);
void call_on_time(struct call *call, int64_t now_us);

/* The attempt is over; `result` is libcurl's. */
void call_attempt_done(struct call *call, CURLcode result);

/* The head of an answer is complete: holds it or passes it on. False: it cannot be passed on. */
bool call_on_head(struct call *call);

/* ---- money.c: what a call costs, and telling the meter ---- */

void money_reserve(struct call *call);
void money_extend(struct call *call, int64_t add_credits);
void money_renew_lease(struct call *call);
void money_commit(struct call *call);
void money_release(struct call *call);

/* What the attempt costs by the price book, its status and what is known of its size. */
int64_t money_cost(struct call *call, uint64_t response_bytes);

/* ---- transfer.c: one attempt ---- */

bool transfer_start(struct call *call);
/* Takes the transfer out and frees it; nothing happens without one. */
void transfer_end(struct call *call);
/* Whether anything of the request has left for the upstream. */
bool transfer_has_sent(const struct call *call);
/* Lets paused directions go on. */
void transfer_go_on(struct call *call, unsigned words);

/* ---- reply.c: what the client gets ---- */

/* Begins the answer with the status and fields of the attempt. */
void reply_begin(struct call *call);
/* Ends it as call->ending says, and gives the exchange away. */
void reply_end(struct call *call);
/* An error in the shape of all our errors. */
void reply_error_json(struct http_exchange *exchange, int status, const char *code,
                      const char *detail, int retry_after_s);
void reply_refusal(struct call *call);

#endif
