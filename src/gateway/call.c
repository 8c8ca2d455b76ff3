/* A call from its request to its entry in the event log: the states, and what moves between them.
 */
#include <assert.h>
#include <stdio.h>

#include "base/mem.h"
#include "gateway/gateway_private.h"

enum { LEASE_PARTS = 3 };

static void
set_state(struct call *call, enum call_state state)
{
    enum call_state old = call->state;

    switch (state) {
    case CALL_RESERVING:
    case CALL_PASSING: /* by reply_begin */
        assert(false);
        break;
    case CALL_SENDING:
        assert(old == CALL_RESERVING || old == CALL_RESTING);
        break;
    case CALL_EXTENDING:
        assert(old == CALL_SENDING);
        break;
    case CALL_RESTING:
        assert(old == CALL_SENDING || old == CALL_EXTENDING);
        break;
    case CALL_COMMITTING:
        assert(old != CALL_COMMITTING && old != CALL_RELEASING && old != CALL_OVER);
        break;
    case CALL_RELEASING:
        assert(old == CALL_RESERVING || old == CALL_SENDING || old == CALL_RESTING);
        break;
    case CALL_OVER:
        assert(old == CALL_RESERVING || old == CALL_COMMITTING || old == CALL_RELEASING);
        break;
    }
    call->state = state;
}

/* ---- what the server tells: loop threads ---- */

static void
on_body(void *ctx, struct http_exchange *exchange, struct slice piece)
{
    struct call *call = ctx;
    struct lane *lane = call->lane;

    pthread_mutex_lock(&lane->lock);
    buf_add_slice(&call->up, piece);
    bool pause = call->up.len - call->up_at >= UP_HIGH_BYTES;
    call->up_paused = call->up_paused || pause;
    lane_leave_locked(call, WORD_BODY);
    pthread_mutex_unlock(&lane->lock);
    if (pause) {
        http_body_pause(exchange);
    }
    lane_wake(lane);
}

static void
on_body_end(void *ctx, struct http_exchange *exchange)
{
    struct call *call = ctx;
    struct lane *lane = call->lane;

    (void)exchange;
    pthread_mutex_lock(&lane->lock);
    call->up_complete = true;
    lane_leave_locked(call, WORD_BODY);
    pthread_mutex_unlock(&lane->lock);
    lane_wake(lane);
}

static void
on_drain(void *ctx, struct http_exchange *exchange)
{
    (void)exchange;
    lane_leave(ctx, WORD_DRAIN);
}

static void
on_gone(void *ctx, struct http_exchange *exchange, enum http_gone why)
{
    (void)exchange;
    (void)why;
    lane_leave(ctx, WORD_GONE);
}

void
call_new(struct gateway *gateway, struct upstream *upstream, struct http_exchange *exchange,
         const struct forward_target *target, const struct gateway_credentials *ours)
{
    static const struct http_stream_callbacks callbacks = {on_body, on_body_end, on_drain, on_gone};
    struct call *call = mem_zalloc(1, sizeof(*call));
    unsigned lane = atomic_fetch_add(&gateway->next_lane, 1) % gateway->lane_count;
    uint64_t length = 0;

    call->gateway = gateway;
    call->lane = &gateway->lanes[lane];
    call->upstream = upstream;
    call->exchange = exchange;
    call->target = *target;
    call->authorization_is_ours = ours->authorization;
    call->body_length = http_body_length(exchange, &length) ? (int64_t)length : -1;
    call->has_body = call->body_length != 0 && http_method(exchange) != HTTP_HEAD;
    call->started_us = gateway_now_us(gateway);
    buf_init(&call->up, 0);
    buf_init(&call->head, HEAD_BYTES_MAX);
    buf_init(&call->held, 0);
    atomic_fetch_add(&gateway->active, 1);
    atomic_fetch_add(&gateway->calls, 1);
    http_stream(exchange, &callbacks, call);
    money_reserve(call);
}

/* ---- the end ---- */

/* Books the call; the answer ends behind that, so that whoever has it all finds it booked. */
static void
commit(struct call *call, enum ending ending)
{
    transfer_end(call);
    call->ending = ending;
    set_state(call, CALL_COMMITTING);
    call->lease_due_us = 0;
    money_commit(call);
}

static void
commit_failure(struct call *call, int status, const char *code, int retry_after_s)
{
    call->fail_status = status;
    call->fail_code = code;
    call->fail_retry_s = retry_after_s;
    commit(call, ENDING_ERROR);
}

/* The breaker of the upstream learns how an attempt ended. */
static void
note_attempt(struct call *call, CURLcode result)
{
    int status = result == CURLE_OK ? call->status : 0;
    bool changed = false;

    pthread_mutex_lock(&call->gateway->lock);
    if (breaker_is_failure(status) || breaker_is_success(status)) {
        changed = breaker_note(&call->upstream->breaker, breaker_is_success(status),
                               gateway_now_us(call->gateway));
    }
    unsigned failures = call->upstream->breaker.failures;
    pthread_mutex_unlock(&call->gateway->lock);
    if (changed) {
        gateway_tell(call->gateway, true, "the upstream %s has failed %u times in a row: paused",
                     call->upstream->options.name, failures);
    }
}

/* The client left, or its request cannot be had. */
static void
give_up(struct call *call)
{
    bool at_work = call->curl && transfer_has_sent(call);

    atomic_fetch_add(&call->gateway->clients_gone, 1);
    if (call->head_done && call->state != CALL_RESTING) {
        note_attempt(call, CURLE_OK); /* a client may leave once it has seen the status */
    }
    if (!at_work && !call->has_sent) {
        transfer_end(call);
        set_state(call, CALL_RELEASING);
        call->lease_due_us = 0;
        call->ending = ENDING_CUT;
        money_release(call);
        return;
    }
    /* Once the upstream has said that it failed, the price of a failure is known. */
    bool refused = call->status != 0 && (call->status < 200 || call->status >= 300);
    call->aborted = at_work && !refused;
    snprintf(call->fail_text, sizeof(call->fail_text),
             "the client left before the answer was over");
    commit(call, ENDING_CUT);
}

static void
over(struct call *call)
{
    reply_end(call);
    set_state(call, CALL_OVER);
}

/* ---- attempts ---- */

static void
start_attempt(struct call *call)
{
    int64_t now_us = gateway_now_us(call->gateway);

    pthread_mutex_lock(&call->gateway->lock);
    bool broken = breaker_wait_us(&call->upstream->breaker, now_us) > 0;
    pthread_mutex_unlock(&call->gateway->lock);
    if (broken && call->attempts > 0) {
        snprintf(call->fail_text, sizeof(call->fail_text),
                 "the upstream %s has failed too often in a row", call->upstream->options.name);
        commit_failure(call, 503, "UPSTREAM_BREAKER_OPEN", 1);
        return;
    }
    set_state(call, CALL_SENDING);
    call->attempts++;
    call->fail_text[0] = '\0';
    atomic_fetch_add(&call->gateway->attempts, 1);
    if (!transfer_start(call)) {
        snprintf(call->fail_text, sizeof(call->fail_text), "libcurl cannot start a transfer");
        commit_failure(call, 500, err_name(ERR_INTERNAL), 0);
    }
}

static bool
is_idempotent(enum http_method method)
{
    return method == HTTP_GET || method == HTTP_HEAD || method == HTTP_PUT ||
           method == HTTP_DELETE || method == HTTP_OPTIONS;
}

/* Whether another attempt may be made of what this one has left. */
static bool
may_retry(struct call *call, bool sent)
{
    if (call->attempts > call->upstream->options.retries || call->gone) {
        return false;
    }
    pthread_mutex_lock(&call->lane->lock);
    bool replayable = !call->up_trimmed;
    pthread_mutex_unlock(&call->lane->lock);
    return replayable && (!sent || is_idempotent(http_method(call->exchange)));
}

/* How long to wait before the next attempt: doubling, the second half of it by chance. */
static int64_t
delay_us(struct call *call)
{
    const struct gateway_upstream *options = &call->upstream->options;
    int64_t delay_ms = (int64_t)options->retry_delay_ms << (call->attempts - 1);

    delay_ms = delay_ms > options->retry_delay_max_ms ? options->retry_delay_max_ms : delay_ms;
    delay_ms = delay_ms / 2 + (int64_t)lane_random(call->lane, (uint64_t)(delay_ms / 2) + 1);
    if (call->retry_after_s > 0 && call->retry_after_s * INT64_C(1000) > delay_ms) {
        delay_ms = call->retry_after_s * INT64_C(1000);
    }
    return delay_ms * US_PER_MS;
}

static void
rest(struct call *call)
{
    call->spent += call->attempt_cost;
    call->attempt_cost = 0;
    transfer_end(call);
    set_state(call, CALL_RESTING);
    call->due_us = gateway_now_us(call->gateway) + delay_us(call);
    atomic_fetch_add(&call->gateway->retries, 1);
}

/* An attempt that has cost something leaves too little reserved for another one. */
static void
retry(struct call *call)
{
    transfer_end(call);
    if (call->attempt_cost == 0) {
        rest(call);
        return;
    }
    set_state(call, CALL_EXTENDING);
    money_extend(call, call->attempt_cost);
}

/* The held answer is the last word. */
static void
pass_held(struct call *call)
{
    reply_begin(call);
    if (call->held.len > 0) {
        (void)http_reply_write(call->exchange, buf_slice(&call->held));
    }
    commit(call, ENDING_STREAM);
}

bool
call_on_head(struct call *call)
{
    int status = call->status;
    int64_t wait_ms = call->retry_after_s > 0 ? call->retry_after_s * INT64_C(1000) : 0;
    bool again = status == 429 || status == 502 || status == 503 || status == 504;

    if (again && wait_ms <= call->upstream->options.retry_delay_max_ms && may_retry(call, true)) {
        call->holding = true;
        return true;
    }
    reply_begin(call);
    return true;
}

/* No answer, or half of one. */
static void
on_failure(struct call *call, CURLcode result)
{
    bool late = call->timed_out || result == CURLE_OPERATION_TIMEDOUT;
    const char *name = call->upstream->options.name;

    atomic_fetch_add(&call->gateway->upstream_errors, 1);
    if (call->fail_text[0] != '\0') {
        ;
    } else if (late) {
        snprintf(call->fail_text, sizeof(call->fail_text), "Request to %s timed out",
                 call->upstream->options.api_name);
    } else {
        snprintf(call->fail_text, sizeof(call->fail_text), "Network error: %.160s",
                 call->curl_error[0] ? call->curl_error : curl_easy_strerror(result));
    }
    call->attempt_cost = money_cost(call, call->attempt_down);
    if (call->state == CALL_PASSING) {
        gateway_tell(call->gateway, true, "an answer of %s broke off: %s", name, call->fail_text);
        commit(call, ENDING_CUT);
        return;
    }
    bool sent = transfer_has_sent(call);
    call->status = 0;
    if (may_retry(call, sent)) {
        call->retry_after_s = -1;
        call->holding = false;
        retry(call);
        return;
    }
    commit_failure(call, late ? 504 : 502, late ? "UPSTREAM_TIMEOUT" : "UPSTREAM_FAILED", 0);
}

void
call_attempt_done(struct call *call, CURLcode result)
{
    if (call->gone) {
        give_up(call);
        return;
    }
    note_attempt(call, result);
    if (result != CURLE_OK || !call->head_done) {
        on_failure(call, result);
        return;
    }
    if (call->status == 429) {
        snprintf(call->fail_text, sizeof(call->fail_text), "Rate limit exceeded for %s",
                 call->upstream->options.api_name);
    }
    call->attempt_cost = money_cost(call, call->attempt_down);
    if (call->holding) {
        retry(call);
    } else {
        commit(call, ENDING_STREAM);
    }
}

/* ---- words and times ---- */

static void
on_reserved(struct call *call)
{
    const struct op *op = &call->op;

    if (op->code != ERR_OK) {
        if (call->gone) {
            http_reply_abort(call->exchange);
        } else if (op->refused) {
            const struct gateway_options *options = &call->gateway->options;
            atomic_fetch_add(&call->gateway->refused, 1);
            if (options->refused) {
                options->refused(options->refused_ctx, &op->refusal);
            }
            reply_refusal(call);
        } else {
            bool again =
                op->code == ERR_BUSY || op->code == ERR_UNAVAILABLE || op->code == ERR_NO_SPACE;
            reply_error_json(call->exchange, err_http_status(op->code), err_name(op->code),
                             op->text, again ? 1 : 0);
        }
        call->exchange = NULL;
        set_state(call, CALL_OVER);
        return;
    }
    call->reserved = op->credits;
    memcpy(call->reservation_id, op->reservation_id, sizeof(call->reservation_id));
    if (call->gone) {
        give_up(call);
        return;
    }
    int64_t part_us = call->gateway->options.lease_ms * US_PER_MS / LEASE_PARTS;
    call->lease_due_us = gateway_now_us(call->gateway) + part_us;
    http_body_resume(call->exchange);
    start_attempt(call);
}

static void
on_extended(struct call *call)
{
    if (call->gone) {
        /* What the attempt cost was spent, and the client does not wait for another. */
        snprintf(call->fail_text, sizeof(call->fail_text), "the client left between two attempts");
        atomic_fetch_add(&call->gateway->clients_gone, 1);
        commit(call, ENDING_CUT);
    } else if (call->op.code == ERR_OK) {
        call->reserved += call->attempt_cost;
        rest(call);
    } else if (call->holding) {
        pass_held(call);
    } else {
        commit_failure(call, 502, "UPSTREAM_FAILED", 0);
    }
}

static void
on_booked(struct call *call)
{
    if (call->op.code != ERR_OK) {
        /* The client has its answer all the same; the lease gives the credits back. */
        atomic_fetch_add(&call->gateway->commit_failures, 1);
        gateway_tell(call->gateway, true, "a call to %s (reservation %s) was not booked: %s",
                     call->upstream->options.name, call->reservation_id, call->op.text);
    }
    over(call);
}

static void
on_gone_word(struct call *call)
{
    call->gone = true;
    switch (call->state) {
    case CALL_SENDING:
    case CALL_PASSING:
    case CALL_RESTING:
        give_up(call);
        break;
    case CALL_RESERVING: /* what was asked of the meter is answered first */
    case CALL_EXTENDING:
    case CALL_COMMITTING:
    case CALL_RELEASING:
    case CALL_OVER:
        break;
    }
}

void
call_work(struct call *call, unsigned words)
{
    if (words & WORD_GONE) {
        on_gone_word(call);
    }
    if (words & WORD_RESERVED) {
        on_reserved(call);
    }
    if (words & WORD_EXTENDED) {
        on_extended(call);
    }
    if (words & WORD_OP) {
        on_booked(call);
    }
    if (call->curl && (words & (WORD_BODY | WORD_DRAIN))) {
        transfer_go_on(call, words);
    }
}

void
call_on_time(struct call *call, int64_t now_us)
{
    if (call->lease_due_us && now_us >= call->lease_due_us) {
        int64_t part_us = call->gateway->options.lease_ms * US_PER_MS / LEASE_PARTS;
        call->lease_due_us = now_us + part_us;
        money_renew_lease(call);
    }
    if (!call->due_us || now_us < call->due_us) {
        return;
    }
    call->due_us = 0;
    if (call->state == CALL_RESTING) {
        start_attempt(call);
    } else if (call->state == CALL_SENDING || call->state == CALL_PASSING) {
        call->timed_out = true;
        call_attempt_done(call, CURLE_OPERATION_TIMEDOUT);
    }
}
