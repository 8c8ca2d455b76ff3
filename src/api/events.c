/*
 * POST /api/v1/events: entries for calls that were made. Small plain bodies are decoded on the
 * loop, the others on a job thread, and so is whatever has to look ids up in the store.
 */
#include "api/event_rows.h"
#include "api/metering.h"
#include "base/mem.h"
#include "codec/gzip.h"
#include "meter/redact.h"

#include <stdlib.h>

struct events_op {
    struct api *api; /* not once the meter has it: the answer may outlive the api */
    struct meter *meter;
    struct engine *engine;
    struct refusals *refusals;
    struct http_exchange *exchange;
    struct event_rows rows;
    struct buf inflated;
    bool gzip;
    bool enforce;
    bool applied; /* answer when queries see the entries */
    struct engine_waiter waiter;
    bool may_block;
    bool *again; /* in the call of meter_append alone: ids must be looked up, once more, then */
};

static void
op_free(struct events_op *op)
{
    event_rows_fini(&op->rows);
    buf_fini(&op->inflated);
    free(op);
}

static void
write_error(struct json_writer *w, uint64_t row, const char *field, struct slice value,
            const char *expected)
{
    json_object_begin(w);
    json_key(w, "row");
    json_u64(w, row);
    json_key(w, "field");
    json_cstr(w, field);
    json_key(w, "value");
    json_str(w, value);
    json_key(w, "expected");
    json_cstr(w, expected);
    json_object_end(w);
}

/* "errors" of a conflict: the entries whose id stands for something else already. */
static void
write_conflicts(struct json_writer *w, const struct meter_answer *answer)
{
    size_t shown = 0;

    for (size_t i = 0; i < answer->item_count && shown < EVENT_ROWS_ERRORS_MAX; i++) {
        if (answer->items[i].state == ITEM_CONFLICT) {
            write_error(w, i, "id", slice_of(answer->items[i].id),
                        "the content that the entry of this id has, or another id");
            shown++;
        }
    }
}

/* The error shape, and what came of the entries. Frees the op. */
static void
refuse_op(struct events_op *op, const struct err *err, const struct meter_answer *answer)
{
    struct http_exchange *exchange = op->exchange;
    struct json_writer w;

    if (metering_may_try_again(err->code)) {
        http_add_header(exchange, "Retry-After", slice_of("1"));
    }
    http_set_status(exchange, err_http_status(err->code));
    reply_json(exchange, &w);
    json_object_begin(&w);
    json_key(&w, "detail");
    json_cstr(&w, err->msg);
    json_key(&w, "code");
    json_cstr(&w, err_name(err->code));
    json_key(&w, "request_id");
    json_str(&w, http_request_id(exchange));
    json_key(&w, "accepted");
    json_u64(&w, 0);
    json_key(&w, "rejected");
    json_u64(&w, op->rows.rejected ? op->rows.rejected : op->rows.count);
    json_key(&w, "errors");
    json_array_begin(&w);
    for (size_t i = 0; i < op->rows.error_count; i++) {
        const struct event_row_error *error = &op->rows.errors[i];
        write_error(&w, error->row, error->field, error->value, error->expected);
    }
    if (answer) {
        write_conflicts(&w, answer);
    }
    json_array_end(&w);
    json_object_end(&w);
    op_free(op);
    http_reply(exchange);
}

/* What was to be logged, for a refusal: the entry, or how many there are. */
static void
write_entry(const struct events_op *op, struct buf *ret_json)
{
    const struct event *event = &op->rows.events[0];
    struct buf clean BUF_AUTO = {0};
    struct json_writer w;

    buf_init(&clean, 0);
    json_init(&w, ret_json);
    json_object_begin(&w);
    json_key(&w, "entries");
    json_u64(&w, op->rows.count);
    if (event->id.len > 0) {
        json_key(&w, "id");
        json_str(&w, event->id);
    }
    json_key(&w, "api_name");
    json_str(&w, event->api_name);
    json_key(&w, "endpoint");
    redact_url(event->endpoint, &clean);
    json_str(&w, buf_slice(&clean));
    json_key(&w, "method");
    json_str(&w, event->method.len ? event->method : slice_of("GET"));
    write_time_key(&w, "timestamp", event->timestamp_us);
    json_key_decimal(&w, "credits_cost", event->credits);
    json_object_end(&w);
}

static void
write_stored(struct json_writer *w, const struct meter_answer *answer)
{
    json_object_begin(w);
    json_key(w, "accepted");
    json_u64(w, answer->stored);
    json_key(w, "duplicates");
    json_u64(w, answer->duplicates);
    json_key(w, "rejected");
    json_u64(w, 0);
    json_key(w, "errors");
    json_array_begin(w);
    json_array_end(w);
    json_key(w, "lsn");
    json_u64(w, answer->lsn);
    json_key(w, "ids");
    json_array_begin(w);
    for (size_t i = 0; i < answer->item_count; i++) {
        json_cstr(w, answer->items[i].id);
    }
    json_array_end(w);
    json_object_end(w);
}

/* The store has the entries, or it stops before: they are durable all the same. */
static void
answer_applied(struct engine_waiter *waiter, bool applied)
{
    struct events_op *op = waiter->ctx;
    struct http_exchange *exchange = op->exchange;
    struct err err;

    if (!applied) {
        err_set(&err, ERR_UNAVAILABLE,
                waiter->late ? "the entries are durable (LSN %llu), but the store takes nothing at "
                               "present; it will have them when it does again"
                             : "the entries are durable (LSN %llu), but the server stops before "
                               "the store has them; it will after the next start",
                (unsigned long long)waiter->lsn);
        buf_reset(http_out(exchange));
        refuse_op(op, &err, NULL);
        return;
    }
    op_free(op);
    http_reply(exchange);
}

static void
answer_append(void *ctx, const struct meter_answer *answer)
{
    struct events_op *op = ctx;
    struct http_exchange *exchange = op->exchange;
    struct json_writer w;

    if (answer->code == ERR_UNSUPPORTED && !op->may_block) {
        *op->again = true; /* nothing was done, so this is still the call of meter_append */
        return;
    }
    if (answer->refusal) {
        struct buf entry BUF_AUTO = {0};
        buf_init(&entry, 0);
        write_entry(op, &entry);
        struct refusals *refusals = op->refusals;
        op_free(op);
        metering_refuse(refusals, exchange, answer->refusal, NULL, buf_slice(&entry));
        return;
    }
    if (answer->code != ERR_OK) {
        refuse_op(op, answer->err, answer);
        return;
    }
    reply_json(exchange, &w);
    write_stored(&w, answer);
    if (op->applied && answer->lsn > 0) {
        op->waiter = (struct engine_waiter){
            .lsn = answer->lsn, .fn = answer_applied, .ctx = op, .timeout_ms = ENGINE_APPLY_MS};
        engine_when_applied(op->engine, &op->waiter);
        return;
    }
    op_free(op);
    http_reply(exchange);
}

static void
refuse_busy(struct events_op *op)
{
    struct err err;

    err_set(&err, ERR_BUSY, "too many requests are waiting for a thread; try again");
    refuse_op(op, &err, NULL);
}

static void append(struct events_op *op);

static void
run_append(void *arg)
{
    struct events_op *op = arg;
    struct err err;

    if (atomic_load(&op->api->closing)) {
        err_set(&err, ERR_UNAVAILABLE, "the server is stopping; nothing was written");
        refuse_op(op, &err, NULL);
        return;
    }
    op->may_block = true;
    append(op);
}

static void
append(struct events_op *op)
{
    struct api *api = op->api;
    bool again = false;
    struct meter_append request = {.events = op->rows.events,
                                   .count = op->rows.count,
                                   .enforce = op->enforce,
                                   .may_block = op->may_block};

    op->again = &again;
    meter_append(op->meter, &request, answer_append, op);
    /* Unless `again` is set the op has been given away, and is gone by now or any moment. */
    if (again && !jobs_submit(api->jobs, run_append, op)) {
        refuse_busy(op);
    }
}

static void
decode(void *arg)
{
    struct events_op *op = arg;
    struct api *api = op->api;
    struct slice body = http_body(op->exchange);
    enum err_code code = ERR_OK;
    struct err err;

    if (op->gzip) {
        code = gzip_inflate(body, (size_t)api->options.body_bytes_max, &op->inflated, &err);
        body = buf_slice(&op->inflated);
    }
    if (code == ERR_OK) {
        code = event_rows_read(&op->rows, body, METER_APPEND_MAX, clock_wall_us(api->clock), &err);
    }
    if (code != ERR_OK) {
        refuse_op(op, &err, NULL);
        return;
    }
    append(op);
}

void
post_events(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    static const char *const breakers[] = {"log", "enforce", NULL};
    static const char *const acks[] = {"durable", "applied", NULL};
    struct meter *meter = metering_meter(api, exchange);
    bool gzip = false;
    int breaker = 0;
    int ack = 0;
    struct err err;

    (void)route;
    if (!meter) {
        return;
    }
    enum err_code code = request_encoding(exchange, &gzip, &err);
    if (code == ERR_OK) {
        code = request_word(exchange, "breaker", breakers, 0, &breaker, &err);
    }
    if (code == ERR_OK) {
        code = request_word(exchange, "ack", acks, 0, &ack, &err);
    }
    if (code != ERR_OK) {
        reply_error(exchange, &err, 0);
        return;
    }
    struct events_op *op = mem_zalloc(1, sizeof(*op));
    op->api = api;
    op->meter = meter;
    op->refusals = api->refusals;
    op->exchange = exchange;
    op->gzip = gzip;
    op->enforce = breaker == 1;
    op->applied = ack == 1;
    op->engine = api->engine;
    event_rows_init(&op->rows);
    buf_init(&op->inflated, (size_t)api->options.body_bytes_max);
    if (!gzip && http_body(exchange).len <= API_INLINE_BODY_BYTES) {
        decode(op);
    } else if (!jobs_submit(api->writers, decode, op)) {
        refuse_busy(op);
    }
}
