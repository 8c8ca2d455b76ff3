/*
 * The event log of paid calls, wherever it is: behind the API of a server, or in a data directory
 * that is opened here with the same engine and, for writing, the same meter.
 *
 * Ownership: open/close; the configuration must outlive. One thread; appends through the meter are
 * waited for.
 */
#ifndef EIDER_CLI_LEDGER_H
#define EIDER_CLI_LEDGER_H

#include "cli/target.h"
#include "meter/chain.h"
#include "meter/event.h"
#include "meter/event_query.h"

struct meter;

enum { LEDGER_PAGE_MAX = 10000, LEDGER_APPEND_MAX = 5000 };

struct ledger {
    struct cli *cli;
    struct target target;
    struct meter *meter; /* with an engine, for LEDGER_WRITE */
    uint64_t lsn;        /* of the last append through a server */
};

enum ledger_use { LEDGER_READ, LEDGER_WRITE };

/* Without a server LEDGER_READ wants a data directory that is there, LEDGER_WRITE makes one. While
 * another command of ours has the directory open this waits, at most ten seconds. */
enum err_code ledger_open(struct cli *cli, const struct config *config, enum ledger_use use,
                          struct ledger *ret_ledger, struct err *err);
void ledger_close(struct ledger *ledger);

/* Waits until reads see everything that was appended here; a server that takes more than ten
 * seconds for it is no failure: what was appended is durable. */
enum err_code ledger_settle(struct ledger *ledger, struct err *err);

struct ledger_appended {
    size_t stored;
    size_t duplicates;
    char first_id[72]; /* of the first event, whether it was given or made */
};

/*
 * Books calls that were made, all or none of them: at most LEDGER_APPEND_MAX. Returns when they are
 * durable. Sent again with the same ids they are duplicates, which is no failure; ERR_CONFLICT when
 * one of them has another content.
 */
enum err_code ledger_append(struct ledger *ledger, const struct event *events, size_t count,
                            struct ledger_appended *ret_appended, struct err *err);

struct ledger_filter {
    struct event_filter event; /* but for its status */
    const char *status;        /* "200", "5xx", "null"; NULL: any */
};

struct ledger_totals {
    uint64_t events;
    int64_t credits; /* micro-credits */
    double success_rate;
    double avg_latency;
    uint64_t errors;
};

/* Sums over what the filter lets through; zeros when that is nothing. */
enum err_code ledger_totals(struct ledger *ledger, const struct ledger_filter *filter,
                            struct ledger_totals *ret_totals, struct err *err);

/* Credits of successful calls at or after a time. */
enum err_code ledger_credits_since(struct ledger *ledger, int64_t from_us, int64_t *ret_credits,
                                   struct err *err);

/* Statistics by up to two dimensions, as event_stats answers them. */
enum err_code ledger_stats(struct ledger *ledger, const struct ledger_filter *filter,
                           const enum event_group groups[2], struct batch *ret_rows,
                           struct err *err);

/* "api", "endpoint", "run_id", "key", "project", "hour", "day"; NULL behind the last. */
const char *ledger_group_name(enum event_group group);

struct ledger_page {
    struct ledger_filter filter;
    bool oldest_first;
    uint64_t cursor; /* 0: begin */
    unsigned limit;  /* 1..LEDGER_PAGE_MAX */
};

/* Rows with all columns of TABLE_EVENTS; *ret_next is 0 behind the last page. */
enum err_code ledger_page(struct ledger *ledger, const struct ledger_page *page,
                          struct batch *ret_rows, uint64_t *ret_next, struct err *err);

/*
 * Hands all entries from `from_seq` on to `fn`, in the order they were written, in batches of some
 * thousand rows with all columns, exactly as they are stored; the last batch may go beyond to_seq
 * (0: to the end). An error of `fn` ends it.
 */
typedef enum err_code ledger_visit_fn(void *ctx, const struct batch *rows, struct err *err);
enum err_code ledger_visit(struct ledger *ledger, uint64_t from_seq, uint64_t to_seq,
                           ledger_visit_fn *fn, void *ctx, struct err *err);

struct ledger_head {
    struct chain_head chain;
    int64_t at_us; /* when the newest entry was written; 0: there is none */
};
enum err_code ledger_head(struct ledger *ledger, struct ledger_head *ret_head, struct err *err);

/* Appends a text percent-encoded, for a path or a query. */
void ledger_add_escaped(struct buf *path, struct slice text);

/* Appends "name=value" to a query, with '?' or '&' before, percent-encoded. */
void ledger_add_param(struct buf *path, const char *name, struct slice value);

/* Asks the server for JSON; `body` empty and no method: GET. The value is the caller's. */
struct json_t;
enum err_code ledger_ask(struct client *client, const struct client_request *request,
                         struct json_t **ret_answer, struct err *err);

#endif
