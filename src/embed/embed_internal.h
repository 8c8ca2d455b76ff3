/*
 * What the files of this part share: the handle, asynchronous appends, last values, subscriptions.
 *
 * Locks: db.lock (asynchronous appends), last.lock (last values), subscribers.lock (the list), and
 * subscription.lock (its queue), which is taken under subscribers.lock; no other is held together
 * with one. The log's committer thread takes all of them, each for a few instructions or a copy.
 */
#ifndef EIDER_EMBED_INTERNAL_H
#define EIDER_EMBED_INTERNAL_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "base/err.h"
#include "catalog/batch.h"
#include "eider/eider.h"
#include "ingest/ingest.h"
#include "store/engine.h"

enum {
    EMBED_ROWS_MAX = 1000000, /* of one append and table */
    EMBED_TEXT_BYTES_MAX = 32 << 20,
    EMBED_PARAMS_MAX = 64
};

/* A batch as callers see it. */
struct eider_batch {
    struct batch rows;
    bool truncated;
};

/* The newest value of a series; empty while lsn is 0 and `known` false. */
struct last_value {
    int64_t timestamp_us;
    double value;
    uint64_t lsn;
    bool known;
};

struct last_values {
    pthread_mutex_t lock;
    struct last_value *by_id; /* index: series id */
    size_t capacity;
    bool loaded; /* what the store had when the directory was opened is in */
};

/* An asynchronous append, from its begin until `done`. */
struct append_op;

struct subscribers {
    pthread_mutex_t lock;
    struct eider_subscription *first;
    size_t count;
    size_t max;
    bool closed;             /* none is taken any more */
    uint64_t missed_batches; /* of those that ended */
};

struct eider_db {
    struct engine *engine;
    struct ingest *ingest;
    const char *storage_type;
    bool has_sql;
    eider_event_fn *on_event;
    void *event_ctx;
    uint64_t request_bytes_max;

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    struct append_op *oldest; /* in the order they were begun */
    struct append_op *newest;
    uint64_t begun;
    size_t pending;
    size_t pending_max;
    struct eider_error failure; /* the first of an append without `done` since the last flush */

    struct last_values last;
    struct subscribers subscribers;
};

/* status.c: fills `error` (may be NULL) and returns the status. */
enum eider_status embed_status(enum err_code code);
enum eider_status embed_fail(struct eider_error *error, const struct err *err);
enum eider_status embed_refuse(struct eider_error *error, enum eider_status status, const char *fmt,
                               ...) __attribute__((format(printf, 3, 4)));

/* EIDER_INVALID, naming the object, when a caller has set a member that this version lacks. */
enum eider_status embed_check_reserved(const char *object, const uint64_t *reserved, size_t count,
                                       struct eider_error *error);
#define EMBED_CHECK_RESERVED(object, given, error)                                                 \
    embed_check_reserved(object, (given)->reserved,                                                \
                         sizeof((given)->reserved) / sizeof((given)->reserved[0]), error)

/* Around callbacks on threads of the library that must not wait. */
void embed_enter_callback(void);
void embed_leave_callback(void);
/* EIDER_INVALID, naming the function, when this thread is in such a callback. */
enum eider_status embed_check_wait(const char *function, struct eider_error *error);

/* Says that this thread is a subscription's; it may wait, but must not end subscriptions or
 * handles.
 */
void embed_be_subscriber(void);
/* EIDER_INVALID in any callback. */
enum eider_status embed_check_end(const char *function);

/* open.c: all signals blocked on threads that are made in between. */
void embed_block_signals(sigset_t *ret_old);
void embed_restore_signals(const sigset_t *old);

/* series.c: name, symbol and canonical labels of a series, checked. */
struct series_text {
    struct slice name;
    struct slice symbol;
    struct slice labels; /* canonical; in memory of this struct */
    char *labels_text;
};
enum eider_status series_text_init(struct series_text *text, const struct eider_series *series,
                                   struct eider_error *error);
void series_text_fini(struct series_text *text);
#define SERIES_TEXT_AUTO __attribute__((cleanup(series_text_fini)))

/* rows.c: the batches of a set; false while a row is open. */
struct eider_rows {
    struct batch batches[TABLE_ID_END]; /* by table id; table NULL: not in use */
    size_t count;                       /* rows ended */
    size_t text_bytes;
    struct batch *open; /* the batch of the open row, or NULL */
    size_t row;
    int guess;
    bool row_bad;
    struct eider_error row_error; /* the first of the open row */
    struct eider_error error;     /* of the last call */
};
/* Copies (which borrow) of the batches with rows; returns how many. */
size_t embed_rows_view(const struct eider_rows *rows, struct batch ret_view[TABLE_ID_END]);

/* batch.c: takes the rows. */
struct eider_batch *embed_batch_new(struct batch *rows, bool truncated);

/* query.c: the table that clients know by a name, or NULL with the error set. */
const struct catalog_table *embed_table(const char *name, struct eider_error *error);
/* Rows of samples with the names of their series, as table metrics has them. The names are copied,
 * or borrowed for as long as the handle is open. */
void embed_name_samples(struct eider_db *db, const struct batch *samples, bool copy,
                        struct batch *ret_metrics);
enum eider_status embed_query(struct eider_db *db, const struct eider_query *query,
                              struct batch *ret_rows, bool *ret_truncated,
                              struct eider_error *error);

/* Runs a scan and makes a batch of its answer. */
enum eider_status embed_scan(struct eider_db *db, const struct store_scan *scan,
                             struct eider_batch **ret_batch, struct eider_error *error);

/* last.c */
void last_init(struct last_values *last);
void last_fini(struct last_values *last);
void last_update(struct last_values *last, const struct batch *samples, uint64_t lsn);

/* subscribe.c: on the committer thread, in the order of LSNs. */
void subscribers_init(struct subscribers *subscribers, size_t max);
void subscribers_fini(struct subscribers *subscribers);
void subscribers_take(struct eider_db *db, const struct batch *batches, size_t count, uint64_t lsn);
/* Ends all of them; there will be no others. */
void subscribers_end(struct eider_db *db);
uint64_t subscribers_missed(struct subscribers *subscribers);

#endif
