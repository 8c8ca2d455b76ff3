/*
 * An append on its way: who waits for it, or what is told when it is durable.
 *
 *   begun --ingest answers within the call: refused, or nothing to write--> ended in place
 *     \-----ingest answers on a thread of the library----------------------> `done`, then ended
 */
#ifndef EIDER_EMBED_APPEND_INTERNAL_H
#define EIDER_EMBED_APPEND_INTERNAL_H

#include "embed/embed_internal.h"

/* What ingest answered, kept beyond its call. */
struct outcome {
    enum err_code code;
    struct err err;
    struct eider_receipt receipt; /* message: in err */
};

struct append_op {
    struct eider_db *db;
    struct append_op *next, *prev;
    uint64_t number; /* 1, 2, 3, ... in the order they were begun */
    eider_done_fn *done;
    void *ctx;
    eider_row_problem_fn *on_row_problem;
    void *problem_ctx;
    char *key;              /* copy of the idempotency key */
    struct append_set *set; /* rows that were taken, or NULL */
    struct outcome outcome;
};

/* A set of rows until it is durable. */
struct append_set {
    struct eider_rows rows;
    struct batch view[TABLE_ID_END];
};

/* The appends that this thread is beginning: one, and in its callbacks others. */
struct append_frame {
    const struct append_op *op;
    bool answered; /* in place */
    struct append_frame *outer;
};

/* Somebody who waits. */
struct append_wait {
    pthread_mutex_t lock;
    pthread_cond_t answered;
    bool is_answered;
    eider_row_problem_fn *on_row_problem;
    void *problem_ctx;
    struct outcome outcome;
};

void append_wait_init(struct append_wait *wait);
/* Fits ingest_done_fn; ctx is the wait. */
void append_wait_answer(void *ctx, const struct ingest_answer *answer);
/* Waits, ends the wait, fills the receipt (may be NULL) and the error. */
enum eider_status append_wait_end(struct append_wait *wait, struct eider_receipt *ret_receipt,
                                  struct eider_error *error);

/* Begins an asynchronous append; NULL with EIDER_BUSY set over the bound. */
struct append_op *append_op_begin(struct eider_db *db, eider_done_fn *done, void *ctx,
                                  struct eider_error *error);
/* In front of and behind the call of ingest. Leave is true when the op was answered in place; else
 * it may be gone already. */
void append_op_enter(struct append_frame *frame, const struct append_op *op);
bool append_op_leave(const struct append_frame *frame);
/* Fits ingest_done_fn; ctx is the op. */
void append_op_answer(void *ctx, const struct ingest_answer *answer);
/* Ends an op that was answered in place: EIDER_OK after `done`, or why not. */
enum eider_status append_op_end(struct append_op *op, struct eider_error *error);

/* rows.c: frees what a set holds. */
void embed_rows_fini(struct eider_rows *rows);

#endif
