/*
 * The meter: every decision on spending, made under one lock, written to the log as a fact, and
 * answered when that is durable. It owns the event log's chain, ids, budgets, and reservations.
 *
 *   reserve / commit / release / extend / append / set budget
 *        |  decide under the lock, change the state at once
 *        v
 *   pending ops --- one record in flight at a time ---> log --- durable ---> done callbacks
 *        ^                                               |
 *        +-------- failed: undo flight and pending, newest first; all of them fail ----+
 *
 * Only one record is in flight: while it is being synced, further decisions gather and go together
 * into the next (a group commit of its own). Hence the chain's order is the log's order, and a
 * failure leaves exactly the durable state.
 *
 * A reservation:
 *
 *   reserve            commit (event, real cost)
 *  ---------> OPEN ------------------------------> COMMITTED
 *               |  \--- release ------------------> RELEASED
 *               |  \--- lease over ---------------> EXPIRED
 *               +-- extend (later lease, more credits)
 *
 * Closed ones are remembered for a while, so that a repeated commit or release is answered as the
 * first was, and a contradicting one is told from an unknown one.
 *
 * Leases run on the monotonic clock; after a start what remains of them, by the wall clock, at most
 * their whole length. Everything is rebuilt at meter_open from the store: head of the chain, ids,
 * budgets, breakers, window sums, open reservations.
 *
 * Threads: any thread may call anything between open and close. `done` runs on the log's committer
 * thread, or on the caller's before the function returns when the answer needs no record (refusals,
 * errors): it must not block, and may call the meter. Slices of a request are copied before the
 * function returns.
 */
#ifndef EIDER_METER_METER_H
#define EIDER_METER_METER_H

#include "base/clock.h"
#include "base/err.h"
#include "catalog/batch.h"
#include "meter/budget.h"
#include "meter/chain.h"
#include "meter/event.h"
#include "store/store.h"
#include "wal/wal.h"

struct meter;
struct engine;
struct prices;

enum {
    METER_ID_MAX = 64,        /* bytes of an event's or a reservation's id */
    METER_TEXT_MAX = 1024,    /* api, endpoint, key, run, project */
    METER_APPEND_MAX = 10000, /* events of one append */
    METER_TTL_MS_DEFAULT = 60000,
    METER_TTL_MS_MAX = 24 * 3600 * 1000,
    METER_FUTURE_MS_MAX = 300000 /* entries later than this from now are refused */
};

/* Where records go and where the past is read; meter_engine_io makes them from an engine. The
 * simulation has its own. `visit` and `bucket` are called in meter_open and by the id index only.
 */
struct meter_io {
    void (*submit)(void *ctx, struct wal_entry *entry);
    enum err_code (*visit)(void *ctx, const struct store_scan *scan, store_visit_fn *fn,
                           void *fn_ctx, struct err *err);
    enum err_code (*bucket)(void *ctx, const struct store_bucket *bucket, struct batch *ret_rows,
                            struct err *err);
    /* Blocks until what was durable is in the store. */
    enum err_code (*settle)(void *ctx, struct err *err);
    void *ctx;
};
void meter_engine_io(struct engine *engine, struct meter_io *ret_io);

/* Gets every durable batch of the meter, in order; committer thread; must be quick. May be NULL. */
typedef void meter_sink_fn(void *ctx, const struct batch *batches, size_t count, uint64_t lsn);

/* Things worth a log line (a breaker opened, a soft limit passed, the log failed). */
typedef void meter_event_fn(void *ctx, bool is_problem, const char *text);

struct meter_options {
    struct meter_io io;        /* required */
    const struct clock *clock; /* NULL: the system's */
    meter_sink_fn *sink;
    void *sink_ctx;
    meter_event_fn *event;
    void *event_ctx;
    bool has_default_budget; /* the originals' circuit breaker, as a budget "default" that */
    struct budget_def default_budget; /* holds until a budget of that name is set through the API */
    struct budgets_options budgets;
    size_t ids_recent_max;    /* event ids kept exactly; 0: 1 000 000; older ones are looked up */
    size_t reservations_max;  /* open ones; 0: 1 000 000; over it reserve is ERR_BUSY */
    size_t closed_max;        /* closed ones remembered; 0: 100 000 */
    size_t pending_bytes_max; /* ops not yet durable; 0: 64 MiB; over it ERR_BUSY */
    bool manual;              /* no thread of its own: the caller calls meter_tick */
};

/* Rebuilds and starts. ERR_UNAVAILABLE and ERR_TIMEOUT (the store is not there yet): call again. */
enum err_code meter_open(const struct meter_options *options, struct meter **ret_meter,
                         struct err *err);
/* Refuses new calls, waits for what is in flight, frees. Open reservations stay: their leases run.
 * NULL is fine. */
void meter_close(struct meter *meter);

/* Drops everything without waiting, as a crash would: nobody is answered. For tests with a log of
 * their own that has let go of its record. */
void meter_abandon(struct meter *meter);

/* Prices that fill in what a caller leaves out; referenced; may be NULL; any time. Versions of
 * books that are new to the log are written down in price_book. */
void meter_set_prices(struct meter *meter, struct prices *prices);
struct prices *meter_prices(struct meter *meter); /* a reference of the caller's, or NULL */

/* Ends leases that are over and sends what is pending; returns the monotonic time of the next
 * lease's end, or INT64_MAX. Only with options.manual. */
int64_t meter_tick(struct meter *meter);

/* ---- reserve, commit, release, extend ---- */

/* What an op came to. Texts live for the call of `done` only. */
struct meter_answer {
    enum err_code code;            /* ERR_OK; ERR_BUSY with `refusal` set when a budget refuses */
    const struct err *err;         /* when not OK */
    const struct refusal *refusal; /* NULL: not refused by a budget */
    bool replayed;                 /* the same was done before; nothing was written again */
    uint64_t lsn;                  /* 0 when nothing was written */
    const char *reservation_id;
    const char *event_id;   /* of a commit */
    int64_t credits;        /* reserved, booked or given back */
    int64_t expires_us;     /* wall time of the lease's end */
    const char *price_rule; /* that the credits came from; NULL or "" when the caller said */
    const struct budget_view *budgets; /* covering ones, when the decision was made */
    size_t budget_count;
    /* of an append: */
    size_t stored, duplicates;
    const struct meter_item *items; /* one an event, in order */
    size_t item_count;
};

typedef void meter_done_fn(void *ctx, const struct meter_answer *answer);

struct meter_call {
    struct slice api_name; /* required */
    struct slice endpoint; /* empty: "unknown" */
    struct slice method;   /* empty: GET */
    struct slice api_key, run_id, project;
};

struct meter_reserve {
    struct meter_call call;
    struct slice reservation_id; /* empty: made here. Sending the same again is answered the same */
    bool has_credits;            /* false: the price book's maximum (ERR_INVALID without a rule) */
    int64_t max_credits;         /* micro-credits, >= 0 */
    struct slice query;          /* for the price book */
    const struct price_field *fields;
    size_t field_count;
    int64_t ttl_ms; /* 0: METER_TTL_MS_DEFAULT; at most METER_TTL_MS_MAX */
};
void meter_reserve(struct meter *meter, const struct meter_reserve *reserve, meter_done_fn *done,
                   void *ctx);

struct meter_commit {
    struct slice reservation_id;
    bool has_status;
    int32_t status_code;
    bool has_success; /* false: success is a 2xx status */
    bool success;
    double latency_ms;
    bool has_credits; /* false: the price book by the reservation's call, status and `fields`;
                         without a rule what was reserved for a success, 0 for a failure */
    int64_t credits;
    bool overrun;          /* credits above the reservation are booked instead of refused */
    struct slice event_id; /* empty: made here */
    struct slice error_message, metadata_json; /* redacted here */
    struct slice query;
    const struct price_field *fields;
    size_t field_count;
    uint64_t request_bytes, response_bytes;
    struct meter_call check; /* values that are not empty must be the reservation's (ERR_FORBIDDEN:
                                somebody else's reservation) */
};
/* ERR_NOT_FOUND unknown; ERR_PRECONDITION expired (message says when, and that POST events still
 * books); ERR_CONFLICT committed or released with something else; ERR_INVALID over what was
 * reserved without `overrun`. */
void meter_commit(struct meter *meter, const struct meter_commit *commit, meter_done_fn *done,
                  void *ctx);

void meter_release(struct meter *meter, struct slice reservation_id, meter_done_fn *done,
                   void *ctx);

/* A new lease of ttl_ms from now, and add_credits more (0: none). */
void meter_extend(struct meter *meter, struct slice reservation_id, int64_t ttl_ms,
                  int64_t add_credits, meter_done_fn *done, void *ctx);

/* ---- events after the fact ---- */

enum meter_item_state { ITEM_STORED, ITEM_DUPLICATE, ITEM_CONFLICT };
struct meter_item {
    enum meter_item_state state;
    char id[METER_ID_MAX + 1];
    uint64_t seq; /* of a stored one */
};

/*
 * Appends entries for calls that were made: all or none are stored, but for those that are stored
 * already (ITEM_DUPLICATE). A conflict (same id, other content) refuses all with ERR_CONFLICT.
 * Texts are redacted; credits left out come from the price book (0 without a rule). What was spent
 * was spent: no budget refuses, unless `enforce`: then all of it must fit (the originals' rule),
 * and the answer is a refusal. The ids of entries older than ids_recent_max may be looked up in the
 * store: then this blocks, for which `may_block` must be set, else the answer is ERR_UNSUPPORTED
 * with nothing done and the caller asks again from a thread that may.
 */
struct meter_append {
    const struct event *events;
    size_t count;
    bool enforce;
    bool may_block;
};
void meter_append(struct meter *meter, const struct meter_append *append, meter_done_fn *done,
                  void *ctx);

/* ---- budgets ---- */

/* Defines or replaces one; its counters are refilled from the log (may block). */
void meter_set_budget(struct meter *meter, const struct budget_def *def, meter_done_fn *done,
                      void *ctx);
/* change: "delete", "reset", "force_open", "metrics_only", "enforce". ERR_NOT_FOUND. */
void meter_change_budget(struct meter *meter, const char *name, const char *change,
                         struct slice reason, meter_done_fn *done, void *ctx);

/* Calls fn for every instance of every budget, with its forecast, under the lock: quick. */
typedef void meter_view_fn(void *ctx, const struct budget_view *view,
                           const struct budget_forecast *forecast);
void meter_each_budget(struct meter *meter, meter_view_fn *fn, void *ctx);

/* The definitions, also of budgets in which nothing was counted yet; under the lock: quick. */
typedef void meter_definition_fn(void *ctx, const struct budget_def *def);
void meter_each_definition(struct meter *meter, meter_definition_fn *fn, void *ctx);

/* Would this pass now? Writes nothing. */
bool meter_check(struct meter *meter, const struct meter_call *call, int64_t credits,
                 struct refusal *ret_refusal);

/* Open reservations, oldest first, at most max; returns how many. */
struct meter_open_reservation {
    char id[METER_ID_MAX + 1];
    char api_name[128], endpoint[128], run_id[128];
    int64_t credits;
    int64_t created_us, expires_us;
};
size_t meter_reservations(struct meter *meter, struct meter_open_reservation *ret_list, size_t max);

/* ---- the rest ---- */

/* Head of what is durable. */
void meter_head(struct meter *meter, struct chain_head *ret_head);

/* Figures of one api and endpoint since the start, for /metrics. */
enum { METER_LATENCY_BUCKETS = 9, METER_SERIES_MAX = 1000 };
extern const double meter_latency_bounds_s[METER_LATENCY_BUCKETS - 1]; /* 0.1 0.5 1 2 5 10 30 60 */
struct meter_series {
    const char *api_name;
    const char *endpoint; /* "other" beyond METER_SERIES_MAX */
    uint64_t success, error;
    int64_t credits;
    uint64_t latency_buckets[METER_LATENCY_BUCKETS]; /* not cumulative; the last is +Inf */
    double latency_sum_s;
    struct {
        char type[24]; /* http_429, rate_limit, timeout, ... */
        uint64_t count;
    } errors[16];
    size_t error_types;
};
typedef void meter_series_fn(void *ctx, const struct meter_series *series);
void meter_each_series(struct meter *meter, meter_series_fn *fn, void *ctx);

struct meter_stats {
    uint64_t events, duplicates, conflicts, corrections;
    uint64_t reserves, refused, commits, releases, expired, extends, overruns;
    int64_t credits_booked;   /* since the start */
    int64_t credits_reserved; /* open now */
    uint64_t reservations_open;
    uint64_t pending_bytes;
    uint64_t records, failures;
    uint64_t ids_looked_up;
};
void meter_stats(struct meter *meter, struct meter_stats *ret_stats);

/* The JSON members of a refusal (within an object that is open): code CIRCUIT_BREAKER_TRIPPED,
 * detail, reason, budget, instance, threshold, window_minutes, used, reserved, requested, state,
 * retry_after_ms. */
struct json_writer;
void meter_refusal_json(const struct refusal *refusal, struct json_writer *writer);

/* Seconds for a Retry-After header, at least 1; 0 when waiting does not help. */
int meter_retry_after_s(const struct refusal *refusal);

#endif
