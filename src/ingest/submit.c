/* The way of a request: limits, idempotency key, decoding, log, answer. See ingest_priv.h for the
 * states. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "codec/gzip.h"
#include "codec/utf8.h"
#include "ingest/ingest_priv.h"

/* A compressed body is taken for this many times its size until it is known. */
enum { GZIP_GUESS = 8 };

static int
retry_after(enum err_code code)
{
    if (code == ERR_BUSY) {
        return RETRY_BUSY_S;
    }
    if (code == ERR_UNAVAILABLE) {
        return RETRY_UNAVAILABLE_S;
    }
    return code == ERR_NO_SPACE ? RETRY_NO_SPACE_S : 0;
}

/* Answers those who came with the same idempotency key while it was in flight. */
static uint64_t
answer_waiters(struct ingest *ingest, struct idempotency_waiter *waiters,
               const struct ingest_answer *first)
{
    struct ingest_answer answer = *first;
    uint64_t answered = 0;

    answer.replayed = first->code == ERR_OK && first->lsn > 0;
    while (waiters) {
        struct idempotency_waiter *waiter = waiters;
        waiters = waiter->next;
        if (answer.code != ERR_OK) {
            atomic_fetch_add_explicit(&ingest->refused, 1, memory_order_relaxed);
        } else {
            atomic_fetch_add_explicit(&ingest->replays, 1, memory_order_relaxed);
        }
        if (waiter->wait_applied && answer.replayed) {
            /* The errors' texts go with the job of the first. */
            struct ingest_answer counts = answer;
            counts.errors = NULL;
            counts.error_count = 0;
            applied_wait_start(ingest, NULL, &counts, waiter->done, waiter->ctx);
        } else {
            waiter->done(waiter->ctx, &answer);
            answered++;
        }
        free(waiter);
    }
    return answered;
}

/* The answer of a job that wrote nothing. */
static void
conclude(struct job *job, const struct ingest_answer *answer)
{
    struct ingest *ingest = job->ingest;
    struct idempotency_waiter *waiters = NULL;

    if (answer->code != ERR_OK) {
        atomic_fetch_add_explicit(&ingest->refused, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&ingest->rejected, job->rejected, memory_order_relaxed);
    }
    if (job->key) {
        waiters = idempotency_abandon(&ingest->keys, job->key);
        job->key = NULL;
    }
    job->done(job->ctx, answer);
    uint64_t answered = 1 + answer_waiters(ingest, waiters, answer);
    job_end(job, answered);
}

static void
refuse_later(struct job *job, const struct err *err, int retry_after_s)
{
    struct ingest_answer answer = {
        .code = err->code,
        .err = err,
        .rejected = job->rejected,
        .retry_after_s = retry_after_s,
        .errors = job->errors.items,
        .error_count = job->errors.count,
    };

    conclude(job, &answer);
}

static void
refuse(struct job *job, const struct err *err)
{
    refuse_later(job, err, retry_after(err->code));
}

static struct ingest_answer
good_answer(const struct job *job, uint64_t lsn)
{
    return (struct ingest_answer){
        .code = ERR_OK,
        .accepted = job->accepted,
        .rejected = job->rejected,
        .lsn = lsn,
        .errors = job->errors.items,
        .error_count = job->errors.count,
    };
}

static void
count_rows(struct job *job)
{
    struct ingest *ingest = job->ingest;

    atomic_fetch_add_explicit(&ingest->accepted, job->accepted, memory_order_relaxed);
    atomic_fetch_add_explicit(&ingest->rejected, job->rejected, memory_order_relaxed);
    atomic_fetch_add_explicit(&ingest->bytes, job->body.len, memory_order_relaxed);
}

/* The log has the record, or failed: on the committer thread, or on the caller's when refused. */
static void
on_written(struct wal_entry *entry, enum err_code code, const struct err *err)
{
    struct job *job = entry->ctx;
    struct ingest *ingest = job->ingest;

    if (code != ERR_OK) {
        struct err problem;
        /* Nothing was kept, so the client should try again: for it a failed disk is a part that is
         * down. */
        err_set(&problem, code == ERR_IO ? ERR_UNAVAILABLE : code, "nothing was written: %s",
                err && err->msg[0] ? err->msg : "the log refused the record");
        refuse(job, &problem);
        return;
    }
    record_durable(job, job->view, job->sink_count, entry->lsn);
    count_rows(job);
    budget_set(job, 0, NULL);
    struct ingest_answer answer = good_answer(job, entry->lsn);
    struct idempotency_waiter *waiters = NULL;
    if (job->key) {
        struct idempotency_answer known = {answer.accepted, answer.rejected, answer.lsn};
        waiters = idempotency_finish(&ingest->keys, job->key, &known);
        job->key = NULL;
    }
    uint64_t answered = answer_waiters(ingest, waiters, &answer);
    if (job->wait_applied) {
        /* The wait holds one count of its own, so those may go first. */
        ingest_leave(ingest, answered);
        applied_wait_start(ingest, job, &answer, job->done, job->ctx);
    } else {
        job->done(job->ctx, &answer);
        job_end(job, answered + 1);
    }
}

/* The body as it is decoded: in job->body. */
static enum err_code
open_body(struct job *job, const struct ingest_request *request, struct err *err)
{
    uint64_t max = job->ingest->options.request_bytes_max;
    uint64_t size = request->body.len;
    enum err_code code;

    if (size > max) {
        return err_set(err, ERR_TOO_LARGE,
                       "the body has %llu bytes; the limit request_bytes_max is %llu",
                       (unsigned long long)size, (unsigned long long)max);
    }
    if (!request->gzip) {
        job->body = request->body;
        return budget_set(job, size, err);
    }
    code = budget_set(job, size * GZIP_GUESS < max ? size * GZIP_GUESS : max, err);
    if (code != ERR_OK) {
        return code;
    }
    code = gzip_inflate(request->body, max, &job->inflated, err);
    if (code == ERR_TOO_LARGE) {
        return err_set(err, ERR_TOO_LARGE,
                       "the body has more bytes than the limit request_bytes_max, %llu, when "
                       "decompressed",
                       (unsigned long long)max);
    }
    if (code != ERR_OK) {
        return code;
    }
    job->body = buf_slice(&job->inflated);
    return budget_set(job, job->body.len, err);
}

static enum err_code
check_key(struct slice key, struct err *err)
{
    if (key.len > IDEMPOTENCY_KEY_BYTES_MAX) {
        return err_set(err, ERR_INVALID, "Idempotency-Key has %zu bytes; at most %d are allowed",
                       key.len, IDEMPOTENCY_KEY_BYTES_MAX);
    }
    if (!utf8_is_text(key)) {
        return err_set(err, ERR_INVALID, "Idempotency-Key must be UTF-8 text without NUL");
    }
    return ERR_OK;
}

/* All that decides what the payload means. */
static uint64_t
meaning(const struct ingest_request *request)
{
    return (request->table ? (uint64_t)request->table->id : 0) | (uint64_t)request->format << 8 |
           (uint64_t)request->precision << 16 | (uint64_t)request->skip_bad_rows << 24;
}

static void
replay(struct job *job, const struct idempotency_answer *known)
{
    struct ingest *ingest = job->ingest;
    struct ingest_answer answer = {
        .code = ERR_OK,
        .accepted = known->accepted,
        .rejected = known->rejected,
        .lsn = known->lsn,
        .replayed = true,
    };
    ingest_done_fn *done = job->done;
    void *ctx = job->ctx;
    bool wait = job->wait_applied && known->lsn > 0;

    atomic_fetch_add_explicit(&ingest->replays, 1, memory_order_relaxed);
    job_end(job, 0);
    if (wait) {
        applied_wait_start(ingest, NULL, &answer, done, ctx);
    } else {
        done(ctx, &answer);
        ingest_leave(ingest, 1);
    }
}

/* Claims the request's key. False when that ended the job: replayed, queued or refused. */
static bool
claim_key(struct job *job, const struct ingest_request *request)
{
    struct ingest *ingest = job->ingest;
    struct idempotency_hash hash = idempotency_hash_payload(job->body, meaning(request));
    struct idempotency_waiter *waiter = mem_zalloc(1, sizeof(*waiter));
    struct idempotency_answer known = {0};
    struct err err;

    *waiter = (struct idempotency_waiter){
        .done = job->done, .ctx = job->ctx, .wait_applied = job->wait_applied};
    /* Once the waiter is queued somebody else may answer it and count the request out. */
    ingest_hold(ingest);
    enum idempotency_claim claim = idempotency_claim(&ingest->keys, request->idempotency_key, &hash,
                                                     job->now_us, waiter, &job->key, &known);
    if (claim == IDEMPOTENCY_WAITING) {
        job_end(job, 1);
        return false;
    }
    ingest_leave(ingest, 1);
    free(waiter);
    switch (claim) {
    case IDEMPOTENCY_CLAIMED:
        return true;
    case IDEMPOTENCY_ANSWERED:
        replay(job, &known);
        return false;
    case IDEMPOTENCY_CONFLICT:
        err_set(&err, ERR_CONFLICT,
                "Idempotency-Key \"%.*s\" was used with another request; use a new key for new "
                "rows",
                SLICE_FMT(request->idempotency_key));
        refuse(job, &err);
        return false;
    case IDEMPOTENCY_WAITING:
        break; /* above */
    }
    assert(false);
    return false;
}

/* The catalogue says so of a value that is not there, or null. */
static bool
is_required(struct slice expected)
{
    static const char end[] = "(required)";
    size_t len = sizeof(end) - 1;

    return expected.len >= len && memcmp(expected.ptr + expected.len - len, end, len) == 0;
}

/* "3 of 10 rows are wrong ..." with the first of them. */
static enum err_code
refuse_rows(const struct job *job, struct err *err)
{
    const struct ingest_row_error *first = job->errors.items;
    uint64_t rows = job->accepted + job->rejected;
    const char *verb = job->rejected == 1 ? "is" : "are";

    if (job->errors.count == 0) {
        return err_set(err, ERR_INVALID, "%llu of %llu rows %s wrong, nothing was written",
                       (unsigned long long)job->rejected, (unsigned long long)rows, verb);
    }
    bool missing = first->value.len == 0 && is_required(first->expected);
    return err_set(err, ERR_INVALID,
                   "%llu of %llu rows %s wrong, nothing was written; row %llu%s%.*s: expected "
                   "%.*s, %s%.*s%s",
                   (unsigned long long)job->rejected, (unsigned long long)rows, verb,
                   (unsigned long long)first->row, first->field.len > 0 ? ", " : "",
                   SLICE_FMT(first->field), SLICE_FMT(first->expected),
                   missing ? "but it is missing" : "got \"", SLICE_FMT(first->value),
                   missing ? "" : "\"");
}

static void
add_key_row(struct job *job)
{
    struct batch *batch = rows_batch(&job->rows, catalog_table(TABLE_IDEMPOTENCY));
    struct idempotency_entry *key = job->key;
    char hash[IDEMPOTENCY_HEX];
    size_t row = batch_add_row(batch);

    idempotency_hash_text(&key->payload, hash);
    batch_set_text(batch, IDEMPOTENCY_KEY, row, slice_make(key->key, key->key_len));
    batch_set_text(batch, IDEMPOTENCY_PAYLOAD_HASH, row,
                   batch_keep_text(batch, slice_make(hash, sizeof(hash))));
    batch_set_i64(batch, IDEMPOTENCY_ACCEPTED, row, (int64_t)job->accepted);
    batch_set_i64(batch, IDEMPOTENCY_REJECTED, row, (int64_t)job->rejected);
    batch_set_i64(batch, IDEMPOTENCY_LSN, row, 0);
    batch_set_i64(batch, IDEMPOTENCY_AT, row, job->now_us);
}

static enum err_code
decode(struct job *job, const struct ingest_request *request, struct err *err)
{
    enum err_code code;

    if (request->format == INGEST_LINE) {
        code = line_rows_read(job, err);
    } else if (!request->table || !request->table->ingestible) {
        return err_set(err, ERR_INVALID, "table %s cannot be written by clients",
                       request->table ? request->table->name : "(none)");
    } else {
        code = json_rows_read(job, request->table, err);
    }
    if (code == ERR_OK && job->rejected > 0 && !job->skip_bad_rows) {
        code = refuse_rows(job, err);
    }
    return code;
}

static enum err_code
make_record(struct job *job, struct err *err)
{
    if (job->key) {
        add_key_row(job);
    }
    job->view_count = rows_seal(&job->rows, job->view);
    job->sink_count = job->view_count - (job->key != NULL);
    enum err_code code = record_encode(job, job->view, job->view_count, err);
    if (code != ERR_OK) {
        return code;
    }
    /* The columns hold about what the record does. */
    return budget_set(job, job->body.len + 2 * job->record.len, err);
}

static void
run(struct job *job, const struct ingest_request *request)
{
    struct err err;

    if (budget_check_applier(job->ingest, &err) != ERR_OK) {
        refuse_later(job, &err, RETRY_BEHIND_S);
        return;
    }
    if (check_key(request->idempotency_key, &err) != ERR_OK ||
        open_body(job, request, &err) != ERR_OK) {
        refuse(job, &err);
        return;
    }
    if (request->idempotency_key.len > 0 && !claim_key(job, request)) {
        return;
    }
    if (decode(job, request, &err) != ERR_OK) {
        refuse(job, &err);
        return;
    }
    if (job->accepted == 0) {
        struct ingest_answer answer = good_answer(job, 0);
        count_rows(job);
        conclude(job, &answer);
        return;
    }
    if (make_record(job, &err) != ERR_OK) {
        refuse(job, &err);
        return;
    }
    record_submit(job, on_written);
}

void
ingest_submit(struct ingest *ingest, const struct ingest_request *request, ingest_done_fn *done,
              void *ctx)
{
    struct job *job = job_begin(ingest);

    atomic_fetch_add_explicit(&ingest->requests, 1, memory_order_relaxed);
    if (!job) {
        struct err err;
        err_set(&err, ERR_UNAVAILABLE, "the server is stopping; nothing was written");
        struct ingest_answer answer = {
            .code = err.code, .err = &err, .retry_after_s = RETRY_UNAVAILABLE_S};
        atomic_fetch_add_explicit(&ingest->refused, 1, memory_order_relaxed);
        done(ctx, &answer);
        return;
    }
    job->done = done;
    job->ctx = ctx;
    job->wait_applied = request->wait_applied;
    job->skip_bad_rows = request->skip_bad_rows;
    job->precision = request->precision;
    run(job, request);
}
