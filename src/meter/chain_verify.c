/*
 * Verification of the chain. Leaves do not depend on each other: the rows of a push are shared out
 * among threads. Links do; they take a third of the time and are made in order by the caller.
 */
#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "meter/chain.h"

enum { THREADS_MAX = 4, SHARE_ROWS = 256 };

struct leaf {
    bool sound; /* the row can be what we wrote: see row_problem */
    uint8_t leaf[EVENT_HASH_BYTES];
    uint8_t hash[EVENT_HASH_BYTES]; /* as it stands in the row */
};

struct chain_verifier {
    struct chain_verify_options options;
    struct chain_verdict verdict;
    struct chain_head head;
    bool begun; /* the entry before from_seq was there */
    bool failed;

    /* One push; `leaves` has a place for each row. Workers take shares until none is left. */
    const struct batch *rows;
    struct leaf *leaves;
    size_t leaves_capacity;
    atomic_size_t next_row;

    /* Guarded by `lock`. */
    pthread_mutex_t lock;
    pthread_cond_t wake; /* a new push, or the end */
    pthread_cond_t idle; /* busy became 0 */
    uint64_t pushes;
    unsigned busy; /* workers that have not finished this push */
    bool stop;

    pthread_t workers[THREADS_MAX - 1];
    unsigned worker_count;
};

/* ---- leaves ---- */

/* What no entry of ours looks like, though its content would hash the same: a NULL that stands for
 * 0, an empty text that stands for NULL. NULL when there is nothing of the kind. */
static const char *
row_problem(const struct batch *rows, size_t row, char *text, size_t size)
{
    static const uint32_t required = 1u << EVENT_ID | 1u << EVENT_TIMESTAMP | 1u << EVENT_API_NAME |
                                     1u << EVENT_ENDPOINT | 1u << EVENT_METHOD |
                                     1u << EVENT_SUCCESS | 1u << EVENT_LATENCY_MS |
                                     1u << EVENT_CREDITS_COST | 1u << EVENT_CREATED_AT;

    for (size_t i = 0; i < EVENT_SEQ; i++) {
        const struct column *column = &rows->columns[i];
        bool is_null = batch_is_null(rows, i, row);
        bool is_text = column->type == COL_TEXT || column->type == COL_JSON;
        if (is_null && (required >> i & 1)) {
            snprintf(text, size, "its %s is NULL", column->name);
            return text;
        }
        if (is_text && !is_null && !(required >> i & 1) && column->text[row].len == 0) {
            snprintf(text, size, "its %s is an empty text, which is never written", column->name);
            return text;
        }
    }
    return NULL;
}

static void
make_leaf(const struct batch *rows, size_t row, struct leaf *leaf)
{
    struct event event;
    char text[128];

    leaf->sound = event_from_row(rows, row, &event) && !row_problem(rows, row, text, sizeof(text));
    memcpy(leaf->hash, event.hash, sizeof(leaf->hash));
    chain_leaf(&event, leaf->leaf);
}

static void
take_shares(struct chain_verifier *verifier)
{
    const struct batch *rows = verifier->rows;

    for (;;) {
        size_t from = atomic_fetch_add(&verifier->next_row, SHARE_ROWS);
        if (from >= rows->rows) {
            return;
        }
        size_t to = rows->rows - from < SHARE_ROWS ? rows->rows : from + SHARE_ROWS;
        for (size_t row = from; row < to; row++) {
            make_leaf(rows, row, &verifier->leaves[row]);
        }
    }
}

static void *
run_worker(void *ctx)
{
    struct chain_verifier *verifier = ctx;
    uint64_t seen = 0;

    pthread_mutex_lock(&verifier->lock);
    for (;;) {
        while (!verifier->stop && verifier->pushes == seen) {
            pthread_cond_wait(&verifier->wake, &verifier->lock);
        }
        if (verifier->stop) {
            break;
        }
        seen = verifier->pushes;
        pthread_mutex_unlock(&verifier->lock);
        take_shares(verifier);
        pthread_mutex_lock(&verifier->lock);
        if (--verifier->busy == 0) {
            pthread_cond_signal(&verifier->idle);
        }
    }
    pthread_mutex_unlock(&verifier->lock);
    return NULL;
}

static void
make_leaves(struct chain_verifier *verifier, const struct batch *rows)
{
    bool alone = verifier->worker_count == 0 || rows->rows <= SHARE_ROWS;

    if (rows->rows > verifier->leaves_capacity) {
        verifier->leaves = mem_resize(verifier->leaves, rows->rows, sizeof(struct leaf));
        verifier->leaves_capacity = rows->rows;
    }
    verifier->rows = rows;
    atomic_store(&verifier->next_row, 0);
    if (alone) {
        take_shares(verifier);
        return;
    }
    pthread_mutex_lock(&verifier->lock);
    verifier->pushes++;
    verifier->busy = verifier->worker_count;
    pthread_cond_broadcast(&verifier->wake);
    pthread_mutex_unlock(&verifier->lock);
    take_shares(verifier);
    pthread_mutex_lock(&verifier->lock);
    while (verifier->busy > 0) {
        pthread_cond_wait(&verifier->idle, &verifier->lock);
    }
    pthread_mutex_unlock(&verifier->lock);
}

/* ---- the verdict ---- */

static void fail(struct chain_verifier *verifier, uint64_t seq, struct slice id, const char *fmt,
                 ...) __attribute__((format(printf, 4, 5)));

static void
fail(struct chain_verifier *verifier, uint64_t seq, struct slice id, const char *fmt, ...)
{
    struct chain_verdict *verdict = &verifier->verdict;
    va_list args;

    verifier->failed = true;
    verdict->bad_seq = seq;
    struct slice cut = slice_sub(id, 0, sizeof(verdict->bad_id) - 1);
    slice_to_cstr(cut, verdict->bad_id, sizeof(verdict->bad_id));
    va_start(args, fmt);
    vsnprintf(verdict->problem, sizeof(verdict->problem), fmt, args);
    va_end(args);
}

/* The head that was written down, when it names this entry. */
static void
compare_head(struct chain_verifier *verifier, struct slice id)
{
    const struct chain_head *wanted = &verifier->options.head;
    const struct chain_head *head = &verifier->head;
    bool same = memcmp(wanted->hash, head->hash, sizeof(head->hash)) == 0;
    char text[CHAIN_HEX_BYTES];

    if (!verifier->options.has_head || verifier->verdict.head_found) {
        return;
    }
    if (wanted->seq == 0 || wanted->seq == head->seq) {
        verifier->verdict.head_found = same;
    }
    if (wanted->seq > 0 && wanted->seq == head->seq && !same) {
        chain_hex(head->hash, text);
        fail(verifier, head->seq, id,
             "entry %" PRIu64
             " is not the one whose hash was written down: the chain gives %s; it, "
             "or entries before it, were written anew",
             head->seq, text);
    }
}

/* The places of the chain must follow each other. */
static bool
check_seq(struct chain_verifier *verifier, uint64_t seq, struct slice id)
{
    uint64_t wanted = verifier->head.seq + 1;

    if (seq == wanted) {
        return true;
    }
    if (seq > wanted) {
        fail(verifier, wanted, slice_of(""),
             "entry %" PRIu64 " is missing: entry %" PRIu64 " comes next", wanted, seq);
    } else {
        fail(verifier, seq, id,
             "there is another entry %" PRIu64 " behind entry %" PRIu64 ": it was added, or moved",
             seq, verifier->head.seq);
    }
    return false;
}

/* The first row of a part of the log: what it says of itself is taken as given. */
static void
begin_behind(struct chain_verifier *verifier, const struct leaf *leaf, uint64_t seq,
             struct slice id)
{
    uint64_t before = verifier->options.from_seq - 1;

    if (seq != before) {
        fail(verifier, before, slice_of(""),
             "entry %" PRIu64 " is missing, behind which to begin; the first is %" PRIu64, before,
             seq);
        return;
    }
    if (!leaf->sound) {
        fail(verifier, before, id, "entry %" PRIu64 ", behind which to begin, was changed", before);
        return;
    }
    verifier->begun = true;
    verifier->head.seq = seq;
    memcpy(verifier->head.hash, leaf->hash, sizeof(leaf->hash));
    verifier->verdict.head = verifier->head;
    compare_head(verifier, id);
}

static void
check_row(struct chain_verifier *verifier, const struct batch *rows, size_t row)
{
    const struct leaf *leaf = &verifier->leaves[row];
    uint64_t seq = (uint64_t)batch_get_i64(rows, EVENT_SEQ, row);
    struct slice id = batch_get_text(rows, EVENT_ID, row);
    struct chain_head head = verifier->head;
    char text[128];

    if (!verifier->begun) {
        begin_behind(verifier, leaf, seq, id);
        return;
    }
    if (!check_seq(verifier, seq, id)) {
        return;
    }
    if (!leaf->sound) {
        const char *problem = row_problem(rows, row, text, sizeof(text));
        fail(verifier, seq, id, "entry %" PRIu64 " was changed: %s", seq,
             problem ? problem : "its hash is not 64 hexadecimal digits");
        return;
    }
    chain_link(&head, leaf->leaf);
    if (memcmp(head.hash, leaf->hash, sizeof(leaf->hash)) != 0) {
        fail(verifier, seq, id,
             "entry %" PRIu64 " does not match its hash: it was changed, or another one stands in "
             "its place",
             seq);
        return;
    }
    verifier->head = verifier->verdict.head = head;
    verifier->verdict.checked++;
    compare_head(verifier, id);
}

/* ---- the interface ---- */

struct chain_verifier *
chain_verifier_new(const struct chain_verify_options *options)
{
    struct chain_verifier *verifier = mem_zalloc(1, sizeof(*verifier));
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned threads = options->threads;

    if (threads == 0) {
        threads = processors > 0 ? (unsigned)processors : 1;
    }
    threads = threads < THREADS_MAX ? threads : THREADS_MAX;
    verifier->options = *options;
    pthread_mutex_init(&verifier->lock, NULL);
    pthread_cond_init(&verifier->wake, NULL);
    pthread_cond_init(&verifier->idle, NULL);
    if (options->from_seq <= 1) {
        verifier->begun = true;
        compare_head(verifier, slice_of(""));
    }
    /* Without a thread it works as well, only slower. */
    while (verifier->worker_count + 1 < threads &&
           pthread_create(&verifier->workers[verifier->worker_count], NULL, run_worker, verifier) ==
               0) {
        verifier->worker_count++;
    }
    return verifier;
}

enum err_code
chain_verifier_push(struct chain_verifier *verifier, const struct batch *rows, struct err *err)
{
    uint64_t to_seq = verifier->options.to_seq ? verifier->options.to_seq : UINT64_MAX;

    assert(rows->column_count == EVENT_COLUMN_COUNT);
    if (!verifier->failed && verifier->head.seq < to_seq) {
        make_leaves(verifier, rows);
        for (size_t row = 0; row < rows->rows && !verifier->failed && verifier->head.seq < to_seq;
             row++) {
            check_row(verifier, rows, row);
        }
    }
    if (verifier->failed) {
        return err_set(err, ERR_CORRUPT, "%s", verifier->verdict.problem);
    }
    return ERR_OK;
}

void
chain_verifier_end(struct chain_verifier *verifier, struct chain_verdict *ret_verdict)
{
    const struct chain_verify_options *options = &verifier->options;
    const struct chain_head *wanted = &options->head;
    uint64_t last = verifier->head.seq;
    bool head_missing = options->has_head && !verifier->verdict.head_found;

    if (verifier->failed) {
        /* The first fault is the one to tell. */
    } else if (!verifier->begun) {
        fail(verifier, options->from_seq - 1, slice_of(""),
             "entry %" PRIu64 " is missing, behind which to begin: there is none",
             options->from_seq - 1);
    } else if (last < options->to_seq) {
        fail(verifier, last + 1, slice_of(""),
             "the log ends at entry %" PRIu64 ", before entry %" PRIu64, last, options->to_seq);
    } else if (head_missing && wanted->seq > last && options->to_seq == 0) {
        fail(verifier, last + 1, slice_of(""),
             "the log ends at entry %" PRIu64 ", but the head written down is of entry %" PRIu64
             ": its tail was cut off",
             last, wanted->seq);
    } else if (head_missing && wanted->seq > 0) {
        fail(verifier, 0, slice_of(""),
             "the head written down is of entry %" PRIu64 ", which is not among those checked",
             wanted->seq);
    } else if (head_missing) {
        fail(verifier, 0, slice_of(""),
             "no entry up to %" PRIu64 " has the hash that was written down", last);
    }
    verifier->verdict.ok = !verifier->failed;
    *ret_verdict = verifier->verdict;
}

void
chain_verifier_free(struct chain_verifier *verifier)
{
    if (!verifier) {
        return;
    }
    pthread_mutex_lock(&verifier->lock);
    verifier->stop = true;
    pthread_cond_broadcast(&verifier->wake);
    pthread_mutex_unlock(&verifier->lock);
    for (unsigned i = 0; i < verifier->worker_count; i++) {
        pthread_join(verifier->workers[i], NULL);
    }
    pthread_mutex_destroy(&verifier->lock);
    pthread_cond_destroy(&verifier->wake);
    pthread_cond_destroy(&verifier->idle);
    free(verifier->leaves);
    free(verifier);
}
