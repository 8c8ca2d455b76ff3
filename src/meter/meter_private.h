/*
 * What the files of the meter share: its state, and ops.
 *
 * An op is one call of the API on its way: decided (the state is changed), pending, in flight,
 * durable or failed. Its texts live in it, so that rows and answers may borrow them.
 *
 *   new --decide--> pending --flush--> in flight --durable--> answered, freed
 *                      \                  \------failed-----> undone, answered, freed
 *                       \---- an older one failed ----------/
 */
#ifndef EIDER_METER_METER_PRIVATE_H
#define EIDER_METER_METER_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "meter/ids.h"
#include "meter/meter.h"
#include "meter/price.h"
#include "meter/reservation.h"

enum {
    METER_QUERY_MAX = 4096,
    METER_DIGEST_MAX = 65, /* SHA-256 in hex */
    METER_METADATA_MAX = 64 * 1024,
    METER_OP_BYTES_MAX = 32 << 20,    /* texts of one op */
    METER_FLIGHT_BYTES_MAX = 8 << 20, /* texts of one record; one op alone may be larger */
    METER_OP_MEMORY = 1280,           /* a reserve or a commit needs no more */
    METER_BATCHES = 4                 /* events, reservation changes, budget changes, prices */
};

enum op_kind {
    OP_RESERVE,
    OP_COMMIT,
    OP_RELEASE,
    OP_EXTEND,
    OP_EXPIRE,
    OP_APPEND,
    OP_PRICES, /* rows of price_book */
    OP_BUDGET, /* a row of budget_changes; takes effect when durable */
    OP_NOTHING /* only an answer, behind what is on its way (a repetition) */
};

struct op {
    enum op_kind kind;
    struct op *next; /* towards the newer */
    struct op *prev;
    meter_done_fn *done; /* NULL: nobody waits */
    void *ctx;
    struct arena arena;
    size_t row_bytes;  /* of its row's texts that are not in the arena */
    int64_t at_us;     /* wall time of the decision */
    int64_t window_us; /* the same in the budgets' time */

    struct reservation *reservation; /* stays until the op is settled or undone */
    const char *reservation_id;      /* in the arena */
    int64_t credits;                 /* reserved, booked or given back */
    int64_t old_credits, old_expires_us, old_deadline_us, old_ttl_us; /* extend: to undo */
    int64_t expires_us;
    bool probe_success;
    const char *probe_of;
    const char *price_rule;
    const char *answer_event_id;
    bool replayed;

    struct event *events;     /* commit: one; append: those to store */
    int64_t *event_window_us; /* times in the budgets' time */
    size_t event_count;
    struct meter_item *items;
    size_t item_count;
    size_t duplicates;

    const char *budget_name, *budget_change, *budget_instance;
    const char *breaker_text; /* told when it is durable; NULL: not a breaker's op */
    bool breaker_is_problem;
    enum breaker_state breaker_from; /* where it was, to undo */
    struct slice budget_definition, budget_reason;

    struct price_row {
        struct slice book, digest, source;
        int64_t effective_us;
    } * prices;
    size_t price_count;

    struct budget_view *views; /* reserve: who covers it, texts in the arena */
    size_t view_count;

    _Alignas(16) char memory[METER_OP_MEMORY]; /* where the arena begins; not cleared */
};

struct op_list {
    struct op *first, *last;
    size_t bytes;
};

struct series_slot;

struct meter {
    struct meter_options options;
    const struct clock *clock;
    pthread_mutex_t lock;
    pthread_cond_t changed;   /* flight ended, or the thread has to look again */
    pthread_mutex_t set_lock; /* one budget is set at a time; taken before `lock` */
    pthread_t thread, loader;
    bool has_thread, has_loader;
    bool closing;
    atomic_bool stop_loading;
    uint64_t reservation_seq; /* newest row of reservation_changes at the start */
    uint64_t old_ids_to;      /* entries up to this one go to the filter of ids */

    struct budgets *budgets;
    struct reservations reservations;
    struct ids *ids;

    struct op_list pending;
    struct op_list flight;
    bool in_flight;
    int64_t retry_at_us;    /* monotonic: no expiring before, after a failure */
    struct wal_entry entry; /* of the flight */
    struct batch batches[METER_BATCHES];
    struct buf record;
    struct chain_head head;      /* durable */
    struct chain_head next_head; /* with the flight */
    uint64_t open_from;          /* what the rows of the flight say: see reservation.row_seq */
    unsigned completing;         /* records whose end is being told: the meter stays */
    uint64_t change_seq;         /* durable, of both tables of changes */
    uint64_t next_change_seq;

    char (*price_digests)[METER_DIGEST_MAX]; /* of versions that are written down */
    size_t price_digest_count, price_digest_capacity;

    pthread_mutex_t prices_lock;
    struct prices *prices;

    struct meter_stats stats;
    struct series_slot *series; /* hash of METER_SERIES_MAX */
    size_t series_count;
};

/* ---- meter_op.c: the pipeline ---- */

/* A new op; its arena is empty. */
struct op *op_new(struct meter *meter, enum op_kind kind, meter_done_fn *done, void *ctx);
void op_free(struct op *op);

/* Copies a text into the op. */
struct slice op_keep(struct op *op, struct slice text);

/* Puts a decided op behind the others. Under the lock. */
void op_enqueue(struct meter *meter, struct op *op);

/* Frees ops without answering them. */
void op_list_drop(struct op_list *list);

/* Sends what is pending unless something is in flight. Without the lock. */
void meter_flush(struct meter *meter);

/* Whether another op may come in: ERR_BUSY over pending_bytes_max, ERR_UNAVAILABLE when closing.
 * Under the lock. */
enum err_code meter_admit(const struct meter *meter, struct err *err);

/* Answers at once: an error or a refusal that needs no record. */
void meter_answer_err(meter_done_fn *done, void *ctx, const struct err *err);
void meter_answer_refusal(meter_done_fn *done, void *ctx, const struct refusal *refusal);

/* ---- meter_undo.c: what an op did to the state ---- */

void op_undo(struct meter *meter, struct op *op);
void op_settle(struct meter *meter, struct op *op); /* durable */

/* ---- meter_rows.c ---- */

void meter_rows_init(struct meter *meter);
void meter_rows_fini(struct meter *meter);
/* Makes the flight's record in meter->record, with chain and numbers. Only the flusher. */
void rows_encode(struct meter *meter);
extern const char *const meter_change_names[];

/* ---- meter_lease.c ---- */

/* Ends leases that are over; under the lock. Returns the next deadline. */
int64_t lease_expire(struct meter *meter);
void *lease_thread(void *meter);

/* ---- meter_breaker.c ---- */

/* Writes down what the breakers did since, and tells it; under the lock, behind every decision. */
void meter_note_breakers(struct meter *meter);

/* ---- meter_event.c ---- */

/* Checks an event and copies it, redacted, into the op. ERR_INVALID names the field. */
enum err_code event_take(struct op *op, const struct event *from, int64_t now_us,
                         struct event *ret_event, struct err *err);
/* The long texts of an event, redacted into the op ahead of the lock. Without any when one is not
 * valid: event_take_with says so in its turn. */
struct event_texts {
    bool redacted;
    struct slice error_message, metadata_json;
};
struct event_texts texts_redact(struct op *op, struct slice error_message, struct slice metadata);
enum err_code event_take_with(struct op *op, const struct event *from, int64_t now_us,
                              const struct event_texts *texts, struct event *ret_event,
                              struct err *err);
struct call_scope event_scope(const struct event *event);
/* The call as its event will stand in the log; the new texts are in the op. */
struct meter_call call_redact(struct op *op, const struct meter_call *call);
/* What budgets see of a call. */
struct call_scope call_scope_of(const struct meter_call *call);
/* Checks one text of a call. */
enum err_code text_check(const char *field, struct slice text, size_t max, struct err *err);

/* ---- meter_series.c ---- */

void series_count_event(struct meter *meter, const struct event *event);
void series_fini(struct meter *meter);

/* ---- meter_prices.c ---- */

/* Writes down the versions of books that do not stand in the log yet. */
void meter_record_prices(struct meter *meter, const struct prices *prices);
/* Reads which do. */
enum err_code meter_load_prices(struct meter *meter, struct err *err);
void meter_prices_fini(struct meter *meter);
void meter_prices_forget(struct meter *meter, const struct op *op);

/* ---- meter_load.c ---- */

enum err_code meter_load(struct meter *meter, struct err *err);
void *meter_load_old_ids(void *meter);
/* The entry with this id in the store; ERR_NOT_FOUND. Blocks. */
enum err_code meter_lookup(struct meter *meter, struct slice id, struct ids_entry *ret_entry,
                           struct err *err);
/* Fills a budget from the log up to entry `to_seq`. Blocks. */
enum err_code meter_fill_budget(struct meter *meter, const char *name, uint64_t to_seq,
                                struct err *err);

/* Time in the budgets' time of an entry with this timestamp, at the wall time now. */
static inline int64_t
meter_window_time(int64_t timestamp_us, int64_t now_us, int64_t window_now_us)
{
    return timestamp_us + (window_now_us - now_us);
}

#endif
