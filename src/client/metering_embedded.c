/*
 * Metering in this process: an engine and a meter on a data directory, the same that `eider serve`
 * opens, so that only one of them may have it. The meter answers on the log's thread; callers wait
 * for it here.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/arena.h"
#include "base/mem.h"
#include "client/metering.h"
#include "codec/decimal.h"
#include "codec/json_read.h"
#include "meter/meter.h"
#include "meter/price.h"
#include "store/duckdb/store_duckdb.h"
#include "store/engine.h"

enum {
    OPEN_TRIES = 600,
    OPEN_PAUSE_NS = 100000000,
    FIELDS_MAX = 32,
    ARENA_BYTES_MAX = 1 << 17,
    BUDGET_MINUTES = 60
};

static const int64_t BUDGET_CREDITS = 1000000;

struct embedded {
    struct metering_backend backend; /* first */
    struct engine *engine;
    struct meter *meter;
};

/* What the meter's answer is copied to, for the thread that waits. */
struct wait {
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t ready;
    bool done;
    enum err_code code;
    char detail[METERING_DETAIL_MAX];
    bool refused;
    struct refusal refusal;
    char reservation_id[METERING_ID_MAX];
    char event_id[METERING_ID_MAX];
    int64_t credits;
};

static void
wait_init(struct wait *wait)
{
    *wait = (struct wait){0};
    pthread_mutex_init(&wait->lock, NULL);
    pthread_cond_init(&wait->ready, NULL);
}

static void
on_answer(void *ctx, const struct meter_answer *answer)
{
    struct wait *wait = ctx;

    pthread_mutex_lock(&wait->lock);
    wait->code = answer->code;
    wait->credits = answer->credits;
    if (answer->err) {
        snprintf(wait->detail, sizeof(wait->detail), "%s", answer->err->msg);
    }
    if (answer->refusal) {
        wait->refused = true;
        wait->refusal = *answer->refusal;
    }
    if (answer->reservation_id) {
        snprintf(wait->reservation_id, sizeof(wait->reservation_id), "%s", answer->reservation_id);
    }
    if (answer->event_id) {
        snprintf(wait->event_id, sizeof(wait->event_id), "%s", answer->event_id);
    }
    wait->done = true;
    pthread_cond_signal(&wait->ready);
    pthread_mutex_unlock(&wait->lock);
}

static void
wait_end(struct wait *wait)
{
    pthread_mutex_lock(&wait->lock);
    while (!wait->done) {
        pthread_cond_wait(&wait->ready, &wait->lock);
    }
    pthread_mutex_unlock(&wait->lock);
    pthread_cond_destroy(&wait->ready);
    pthread_mutex_destroy(&wait->lock);
}

static enum metering_verdict
judge(const struct wait *wait)
{
    switch (wait->code) {
    case ERR_OK:
        return METERING_DONE;
    case ERR_BUSY:
        return wait->refused ? METERING_REFUSED : METERING_DOWN;
    case ERR_UNAVAILABLE:
    case ERR_TIMEOUT:
    case ERR_NO_SPACE:
    case ERR_IO:
        return METERING_DOWN;
    default: /* of the many codes, the others mean that the request is at fault */
        return METERING_DENIED;
    }
}

/* Reads the scalar members of the parameters as the price book's fields; texts live in `arena`. */
static size_t
read_fields(struct slice params_json, struct arena *arena, struct price_field fields[FIELDS_MAX])
{
    struct json_reader json;
    struct scalar value;
    struct slice key;
    size_t count = 0;

    json_read_init(&json, params_json, arena);
    if (params_json.len == 0 || !json_read_value(&json, &value) || value.type != SCALAR_OBJECT) {
        return 0;
    }
    while (json_read_key(&json, &key) && json_read_value(&json, &value)) {
        if (value.type >= SCALAR_OBJECT) {
            if (!json_read_rest(&json, &value)) {
                break;
            }
        } else if (count < FIELDS_MAX && value.type != SCALAR_NULL) {
            fields[count++] = (struct price_field){.name = key, .value = value.text};
        }
    }
    return count;
}

static struct meter_call
call_of(const struct metering_call *call)
{
    return (struct meter_call){.api_name = slice_of(call->api_name),
                               .endpoint = slice_of(call->endpoint),
                               .method = slice_of(call->method),
                               .api_key = slice_of(call->key),
                               .run_id = slice_of(call->run_id),
                               .project = slice_of(call->project)};
}

static enum metering_verdict
reserve(struct metering_backend *self, const struct metering_call *call,
        struct metering_grant *ret_grant, struct metering_refusal *ret_refusal)
{
    struct embedded *embedded = (struct embedded *)(void *)self;
    struct price_field fields[FIELDS_MAX];
    struct arena arena ARENA_AUTO;
    struct wait wait;

    arena_init(&arena, ARENA_BYTES_MAX);
    struct meter_reserve want = {.call = call_of(call),
                                 .has_credits = call->has_max,
                                 .max_credits = call->max_credits,
                                 .query = call->query,
                                 .fields = fields,
                                 .field_count = read_fields(call->params_json, &arena, fields),
                                 .ttl_ms = call->ttl_ms};
    wait_init(&wait);
    meter_reserve(embedded->meter, &want, on_answer, &wait);
    wait_end(&wait);
    if (wait.code == ERR_OK) {
        snprintf(ret_grant->reservation_id, sizeof(ret_grant->reservation_id), "%s",
                 wait.reservation_id);
        ret_grant->credits = wait.credits;
        return METERING_DONE;
    }
    snprintf(ret_refusal->detail, sizeof(ret_refusal->detail), "%s", wait.detail);
    if (wait.refused) {
        snprintf(ret_refusal->code, sizeof(ret_refusal->code), "CIRCUIT_BREAKER_TRIPPED");
        ret_refusal->retry_after_ms = (wait.refusal.retry_after_us + 999) / 1000;
    } else {
        snprintf(ret_refusal->code, sizeof(ret_refusal->code), "%s", err_name(wait.code));
    }
    return judge(&wait);
}

static enum metering_verdict
commit(struct metering_backend *self, const char *reservation_id, const struct metering_call *call,
       const struct metering_outcome *outcome, struct metering_receipt *ret_receipt)
{
    struct embedded *embedded = (struct embedded *)(void *)self;
    struct price_field fields[FIELDS_MAX];
    struct arena arena ARENA_AUTO;
    struct wait wait;

    arena_init(&arena, ARENA_BYTES_MAX);
    struct meter_commit booking = {
        .reservation_id = slice_of(reservation_id),
        .has_status = outcome->has_status,
        .status_code = outcome->status,
        .has_success = true,
        .success = outcome->success,
        .latency_ms = outcome->latency_ms,
        .has_credits = outcome->has_credits,
        .credits = outcome->credits,
        .overrun = true, /* what was spent was spent */
        .event_id = slice_of(outcome->event_id),
        .error_message = slice_of(outcome->error_message),
        .metadata_json = slice_of(outcome->metadata_json),
        .query = call->query,
        .fields = fields,
        .field_count = read_fields(call->params_json, &arena, fields),
        .request_bytes = outcome->request_bytes,
        .response_bytes = outcome->response_bytes,
    };
    wait_init(&wait);
    meter_commit(embedded->meter, &booking, on_answer, &wait);
    wait_end(&wait);
    if (wait.code == ERR_NOT_FOUND || wait.code == ERR_PRECONDITION) {
        return METERING_GONE;
    }
    if (wait.code == ERR_OK) {
        snprintf(ret_receipt->event_id, sizeof(ret_receipt->event_id), "%s", wait.event_id);
        ret_receipt->credits = wait.credits;
    }
    return judge(&wait);
}

static enum metering_verdict
release(struct metering_backend *self, const char *reservation_id)
{
    struct embedded *embedded = (struct embedded *)(void *)self;
    struct wait wait;

    wait_init(&wait);
    meter_release(embedded->meter, slice_of(reservation_id), on_answer, &wait);
    wait_end(&wait);
    return judge(&wait);
}

static enum metering_verdict
event(struct metering_backend *self, const struct metering_call *call,
      const struct metering_outcome *outcome, struct metering_receipt *ret_receipt)
{
    struct embedded *embedded = (struct embedded *)(void *)self;
    struct event entry = {
        .id = slice_of(outcome->event_id),
        .timestamp_us = outcome->started_us,
        .api_name = slice_of(call->api_name),
        .endpoint = slice_of(call->endpoint),
        .method = slice_of(call->method),
        .has_status = outcome->has_status,
        .status_code = outcome->status,
        .success = outcome->success,
        .latency_ms = outcome->latency_ms,
        .credits = outcome->credits,
        .credits_are_ours = !outcome->has_credits,
        .run_id = slice_of(call->run_id),
        .error_message = slice_of(outcome->error_message),
        .metadata_json = slice_of(outcome->metadata_json),
        .api_key = slice_of(call->key),
        .project = slice_of(call->project),
    };
    struct meter_append append = {.events = &entry, .count = 1, .may_block = true};
    struct wait wait;

    wait_init(&wait);
    meter_append(embedded->meter, &append, on_answer, &wait);
    wait_end(&wait);
    if (wait.code == ERR_OK) {
        snprintf(ret_receipt->event_id, sizeof(ret_receipt->event_id), "%s", outcome->event_id);
        ret_receipt->credits = outcome->credits;
    }
    return judge(&wait);
}

static void
free_embedded(struct metering_backend *self)
{
    struct embedded *embedded = (struct embedded *)(void *)self;

    meter_close(embedded->meter);
    engine_close(embedded->engine);
    free(embedded);
}

/* The store may need a while to come up. */
static enum err_code
open_meter(const struct metering_embedded_options *options, struct engine *engine,
           struct meter **ret_meter, struct err *err)
{
    const struct timespec pause = {.tv_nsec = OPEN_PAUSE_NS};
    struct meter_options meter = {.has_default_budget = options->budget_credits >= 0};
    enum err_code code = ERR_OK;

    meter_engine_io(engine, &meter.io);
    budget_def_init(&meter.default_budget, "default");
    meter.default_budget.hard_limit =
        options->budget_credits ? options->budget_credits : BUDGET_CREDITS * DECIMAL_ONE;
    meter.default_budget.window_us =
        (options->budget_minutes ? options->budget_minutes : BUDGET_MINUTES) * INT64_C(60000000);
    for (int i = 0; i < OPEN_TRIES; i++) {
        code = meter_open(&meter, ret_meter, err);
        if (code != ERR_UNAVAILABLE && code != ERR_TIMEOUT) {
            return code;
        }
        nanosleep(&pause, NULL);
    }
    return code;
}

enum err_code
metering_embedded_open(const struct metering_embedded_options *options,
                       struct metering_backend **ret_backend, struct err *err)
{
    struct engine_options engine = {.data_dir = options->data_dir, .store_open = store_duckdb_open};
    struct embedded *embedded = mem_zalloc(1, sizeof(*embedded));
    struct prices *prices;

    embedded->backend = (struct metering_backend){.reserve = reserve,
                                                  .commit = commit,
                                                  .release = release,
                                                  .event = event,
                                                  .free = free_embedded};
    if (engine_open(&engine, &embedded->engine, err) != ERR_OK) {
        free(embedded);
        return err->code;
    }
    if (open_meter(options, embedded->engine, &embedded->meter, err) != ERR_OK) {
        engine_close(embedded->engine);
        free(embedded);
        return err->code;
    }
    prices_builtin(&prices);
    meter_set_prices(embedded->meter, prices);
    prices_unref(prices);
    *ret_backend = &embedded->backend;
    return ERR_OK;
}
