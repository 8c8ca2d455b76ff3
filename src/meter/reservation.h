/*
 * Reservations: found by id, ended by the earliest lease first, and remembered for a while once
 * they are closed. The table owns them. Not thread-safe: the meter's lock guards it.
 */
#ifndef EIDER_METER_RESERVATION_H
#define EIDER_METER_RESERVATION_H

#include "meter/budget.h"
#include "meter/meter.h"

/* Diagram: meter.h. Legal successors beside each. */
enum reservation_state {
    RESERVATION_OPEN,      /* COMMITTED, RELEASED, EXPIRED */
    RESERVATION_COMMITTED, /* OPEN, when its record failed */
    RESERVATION_RELEASED,  /* OPEN, when its record failed */
    RESERVATION_EXPIRED    /* OPEN, when its record failed */
};

const char *reservation_state_name(enum reservation_state state);

/* What a commit booked, for saying the same again. */
struct reservation_result {
    int64_t credits;
    bool status_known; /* false behind a start: it stands in the event alone */
    bool has_status;
    int32_t status_code;
    char event_id[METER_ID_MAX + 1];
    char price_rule[128]; /* "" when the caller said what it cost */
    int64_t closed_us;
};

struct reservation {
    char id[METER_ID_MAX + 1];
    enum reservation_state state;
    bool durable;                   /* its reserve is in the log */
    unsigned ops;                   /* of ops on their way that point here: it stays */
    int64_t credits;                /* reserved */
    int64_t created_us, expires_us; /* wall */
    int64_t deadline_us;            /* monotonic */
    int64_t ttl_us;
    struct slice api_name, endpoint, method, api_key, run_id, project, query; /* in `texts` */
    char *texts;
    size_t text_bytes;
    char price_rule[128];
    char *probe_of;          /* only between loading and holding again; owned */
    struct budget_hold hold; /* while open, or not durably closed */
    struct reservation_result result;
    size_t heap_at;                    /* while open */
    struct reservation *next;          /* in its bucket */
    struct reservation *newer, *older; /* among the closed */
    uint64_t row_seq;                  /* of its reserve; 0: not written yet. A meter's flusher's */
    bool logged;                       /* in the list of those whose end is not durable */
    struct reservation *logged_newer, *logged_older;
};

struct reservations {
    struct reservation **buckets;
    size_t bucket_count, count;
    struct reservation **heap; /* open ones by deadline */
    size_t heap_count, heap_capacity;
    struct reservation *closed_oldest, *closed_newest;
    size_t closed_count, closed_max;
    struct reservation *logged_oldest, *logged_newest; /* not durably closed, by their reserve */
    int64_t credits_open;
};

void reservations_init(struct reservations *table, size_t closed_max);
void reservations_fini(struct reservations *table);

struct reservation *reservations_find(const struct reservations *table, struct slice id);

/* Adds an open one; its texts are copied into one block. The id must be new. */
struct reservation *reservations_add(struct reservations *table, struct slice id,
                                     const struct meter_call *call, struct slice query,
                                     int64_t credits, int64_t deadline_us);

/* Takes it out again as if it had never been. */
void reservations_remove(struct reservations *table, struct reservation *reservation);

/* open -> a closed state, and back. */
void reservations_close(struct reservations *table, struct reservation *reservation,
                        enum reservation_state state);
void reservations_reopen(struct reservations *table, struct reservation *reservation);

/* A new deadline for an open one. */
void reservations_move(struct reservations *table, struct reservation *reservation,
                       int64_t deadline_us);

/* Other credits for an open one. */
void reservations_resize(struct reservations *table, struct reservation *reservation,
                         int64_t credits);

/* The open one whose lease ends first, or NULL. */
struct reservation *reservations_first(const struct reservations *table);

/* Its end is durable: a start need not read it any more. */
void reservations_ended(struct reservations *table, struct reservation *reservation);

/* Forgets the oldest closed ones beyond closed_max that no op points to. */
void reservations_trim(struct reservations *table);

struct call_scope reservation_scope(const struct reservation *reservation);

#endif
