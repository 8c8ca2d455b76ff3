/*
 * POST /api/v1/spend/...: reserve, commit, release, extend, check, quote. All of it runs on the
 * event loop and waits for nothing: the answer is sent by whichever thread made the change durable.
 */
#include "api/metering.h"
#include "catalog/validate.h"
#include "codec/decimal.h"

enum { STATUS_MIN = 100, STATUS_MAX = 599, LATENCY_MS_MAX = 1000000000 };

#define FIELD(member) offsetof(struct spend_request, member)
#define TEXT(name, alias, member)                                                                  \
    {                                                                                              \
        name, alias, BODY_TEXT, FIELD(member), 0, METER_TEXT_MAX                                   \
    }
#define ID(name, member)                                                                           \
    {                                                                                              \
        name, NULL, BODY_TEXT, FIELD(member), 1, METER_ID_MAX                                      \
    }
#define F_CALL                                                                                     \
    {"api_name", NULL, BODY_TEXT, FIELD(api_name), 1, METER_TEXT_MAX},                             \
        TEXT("endpoint", NULL, endpoint), TEXT("method", NULL, method),                            \
        TEXT("key", "api_key", key), TEXT("run_id", NULL, run_id), TEXT("project", NULL, project)
#define F_PRICE                                                                                    \
    {"params", NULL, BODY_PARAMS, FIELD(params), 0, 0},                                            \
    {                                                                                              \
        "query", NULL, BODY_TEXT, FIELD(query), 0, 8192                                            \
    }

static const struct body_field reserve_fields[] = {
    F_CALL,
    F_PRICE,
    ID("reservation_id", reservation_id),
    {"ttl_ms", NULL, BODY_INT, FIELD(ttl_ms), 1, METER_TTL_MS_MAX},
    {"max_credits", NULL, BODY_CREDITS, FIELD(max_credits), 0, DECIMAL_MAX},
};
enum {
    RESERVE_COUNT = sizeof(reserve_fields) / sizeof(reserve_fields[0]),
    RESERVE_CREDITS = 1U << (RESERVE_COUNT - 1)
};

/* Those that are asked whether they were given come first: the bits below. */
static const struct body_field commit_fields[] = {
    {"credits", NULL, BODY_CREDITS, FIELD(credits), 0, DECIMAL_MAX},
    {"status_code", NULL, BODY_INT, FIELD(status_code), STATUS_MIN, STATUS_MAX},
    {"success", NULL, BODY_BOOL, FIELD(success), 0, 0},
    ID("reservation_id", reservation_id),
    ID("event_id", event_id),
    {"latency_ms", NULL, BODY_NUMBER, FIELD(latency_ms), 0, LATENCY_MS_MAX},
    {"error_message", NULL, BODY_TEXT, FIELD(error_message), 0, CATALOG_TEXT_MAX},
    {"metadata", "metadata_json", BODY_OBJECT, FIELD(metadata), 0, CATALOG_TEXT_MAX},
    {"overrun", NULL, BODY_BOOL, FIELD(overrun), 0, 0},
    {"request_bytes", NULL, BODY_INT, FIELD(request_bytes), 0, INT64_MAX},
    {"response_bytes", NULL, BODY_INT, FIELD(response_bytes), 0, INT64_MAX},
    F_PRICE,
    F_CALL,
};
enum {
    COMMIT_COUNT = sizeof(commit_fields) / sizeof(commit_fields[0]),
    COMMIT_CREDITS = 1,
    COMMIT_STATUS = 2,
    COMMIT_SUCCESS = 4
};
_Static_assert((int)COMMIT_COUNT <= (int)BODY_FIELDS_MAX, "a bit a member");

static const struct body_field release_fields[] = {ID("reservation_id", reservation_id)};

static const struct body_field extend_fields[] = {
    ID("reservation_id", reservation_id),
    {"ttl_ms", NULL, BODY_INT, FIELD(ttl_ms), 1, METER_TTL_MS_MAX},
    {"add_credits", NULL, BODY_CREDITS, FIELD(add_credits), 0, DECIMAL_MAX},
};

/* A request that is out; it lives as long as its exchange. The api may be gone before the answer
 * comes, `refusals` then is never asked for: refusals come at once. */
struct spend_op {
    struct http_exchange *exchange;
    struct refusals *refusals;
    struct spend_request request;
    void (*write)(struct json_writer *writer, const struct meter_answer *answer);
};

static void
write_rule(struct json_writer *w, const char *rule)
{
    json_key(w, "price_rule");
    if (rule && rule[0] != '\0') {
        json_cstr(w, rule);
    } else {
        json_write_null(w);
    }
}

static void
write_reserved(struct json_writer *w, const struct meter_answer *answer)
{
    json_key(w, "reservation_id");
    json_cstr(w, answer->reservation_id);
    json_key_decimal(w, "credits", answer->credits);
    write_time_key(w, "expires_at", answer->expires_us);
    write_rule(w, answer->price_rule);
    json_key(w, "budgets");
    json_array_begin(w);
    for (size_t i = 0; i < answer->budget_count; i++) {
        const struct budget_view *view = &answer->budgets[i];
        json_object_begin(w);
        json_key(w, "name");
        json_cstr(w, view->def->name);
        json_key(w, "instance");
        json_cstr(w, view->instance);
        json_key(w, "scope");
        json_object_begin(w);
        for (int dim = 0; dim < DIM_COUNT; dim++) {
            if (view->def->has_value[dim]) {
                json_key(w, budget_dimension_name((enum budget_dimension)dim));
                json_cstr(w, view->def->value[dim]);
            }
        }
        json_object_end(w);
        json_key_decimal(w, "limit", view->def->hard_limit);
        json_key_decimal(w, "used", view->used);
        json_key_decimal(w, "reserved", view->reserved);
        json_key(w, "state");
        json_cstr(w, breaker_name(view));
        json_object_end(w);
    }
    json_array_end(w);
}

static void
write_committed(struct json_writer *w, const struct meter_answer *answer)
{
    json_key(w, "event_id");
    json_cstr(w, answer->event_id);
    json_key(w, "reservation_id");
    json_cstr(w, answer->reservation_id);
    json_key_decimal(w, "credits", answer->credits);
    write_rule(w, answer->price_rule);
}

static void
write_released(struct json_writer *w, const struct meter_answer *answer)
{
    json_key(w, "reservation_id");
    json_cstr(w, answer->reservation_id);
    json_key_decimal(w, "credits", answer->credits);
}

static void
write_extended(struct json_writer *w, const struct meter_answer *answer)
{
    write_released(w, answer);
    write_time_key(w, "expires_at", answer->expires_us);
}

static void
answer_op(void *ctx, const struct meter_answer *answer)
{
    struct spend_op *op = ctx;
    struct json_writer w;

    if (answer->refusal) {
        metering_refuse(op->refusals, op->exchange, answer->refusal, &op->request, slice_of(""));
        return;
    }
    if (answer->code != ERR_OK) {
        metering_error(op->exchange, answer->err);
        return;
    }
    reply_json(op->exchange, &w);
    json_object_begin(&w);
    op->write(&w, answer);
    json_key(&w, "replayed");
    json_bool(&w, answer->replayed);
    json_key(&w, "lsn");
    json_u64(&w, answer->lsn);
    json_object_end(&w);
    http_reply(op->exchange);
}

static enum err_code
need(struct slice value, const char *name, struct err *err)
{
    return value.len > 0 ? ERR_OK
                         : err_set(err, ERR_INVALID, "%s is missing; expected a text", name);
}

/* The op with its body read, or NULL when the exchange was answered. */
static struct spend_op *
begin(struct api *api, struct http_exchange *exchange, const struct body_field *fields,
      size_t count, uint32_t *ret_seen)
{
    struct arena *arena = http_arena(exchange);
    struct spend_op *op = arena_zalloc(arena, 1, sizeof(*op));
    struct err err;
    enum err_code code;

    if (!op) {
        code = err_set(&err, ERR_TOO_LARGE, "the request holds too much");
    } else {
        op->exchange = exchange;
        op->refusals = api->refusals;
        code = body_read(http_body(exchange), fields, count, &op->request, ret_seen, arena, &err);
    }
    if (code == ERR_OK && op) {
        code = fields == reserve_fields ? need(op->request.api_name, "api_name", &err)
                                        : need(op->request.reservation_id, "reservation_id", &err);
    }
    if (code != ERR_OK) {
        reply_error(exchange, &err, 0);
        return NULL;
    }
    return op;
}

void
post_reserve(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct meter *meter = metering_meter(api, exchange);
    uint32_t seen;

    (void)route;
    struct spend_op *op = meter ? begin(api, exchange, reserve_fields, RESERVE_COUNT, &seen) : NULL;
    if (!op) {
        return;
    }
    op->write = write_reserved;
    struct meter_reserve reserve = {
        .call = spend_call(&op->request),
        .reservation_id = op->request.reservation_id,
        .has_credits = seen & RESERVE_CREDITS,
        .max_credits = op->request.max_credits,
        .query = op->request.query,
        .ttl_ms = op->request.ttl_ms,
    };
    reserve.fields = spend_price_fields(&op->request, http_arena(exchange), &reserve.field_count);
    meter_reserve(meter, &reserve, answer_op, op);
}

void
post_commit(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct meter *meter = metering_meter(api, exchange);
    uint32_t seen;

    (void)route;
    struct spend_op *op = meter ? begin(api, exchange, commit_fields, COMMIT_COUNT, &seen) : NULL;
    if (!op) {
        return;
    }
    const struct spend_request *request = &op->request;
    op->write = write_committed;
    struct meter_commit commit = {
        .reservation_id = request->reservation_id,
        .has_status = seen & COMMIT_STATUS,
        .status_code = (int32_t)request->status_code,
        .has_success = seen & COMMIT_SUCCESS,
        .success = request->success,
        .latency_ms = request->latency_ms,
        .has_credits = seen & COMMIT_CREDITS,
        .credits = request->credits,
        .overrun = request->overrun,
        .event_id = request->event_id,
        .error_message = request->error_message,
        .metadata_json = request->metadata,
        .query = request->query,
        .request_bytes = (uint64_t)request->request_bytes,
        .response_bytes = (uint64_t)request->response_bytes,
        .check = spend_call(request),
    };
    commit.fields = spend_price_fields(request, http_arena(exchange), &commit.field_count);
    meter_commit(meter, &commit, answer_op, op);
}

void
post_release(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct meter *meter = metering_meter(api, exchange);
    uint32_t seen;

    (void)route;
    struct spend_op *op = meter ? begin(api, exchange, release_fields, 1, &seen) : NULL;
    if (op) {
        op->write = write_released;
        meter_release(meter, op->request.reservation_id, answer_op, op);
    }
}

void
post_extend(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct meter *meter = metering_meter(api, exchange);
    uint32_t seen;

    (void)route;
    struct spend_op *op = meter ? begin(api, exchange, extend_fields, 3, &seen) : NULL;
    if (op) {
        op->write = write_extended;
        meter_extend(meter, op->request.reservation_id, op->request.ttl_ms, op->request.add_credits,
                     answer_op, op);
    }
}

enum err_code
spend_read_call(struct http_exchange *exchange, struct spend_request *ret_request, struct err *err)
{
    uint32_t seen;
    enum err_code code = body_read(http_body(exchange), reserve_fields, RESERVE_COUNT, ret_request,
                                   &seen, http_arena(exchange), err);

    if (code == ERR_OK) {
        ret_request->has_credits = seen & RESERVE_CREDITS;
        code = need(ret_request->api_name, "api_name", err);
    }
    return code;
}

void
post_check(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct meter *meter = metering_meter(api, exchange);
    struct spend_request request = {0};
    struct refusal refusal;
    struct json_writer w;
    int64_t credits = 0;
    char rule[PRICE_RULE_ID_MAX];
    struct err err;

    (void)route;
    if (!meter) {
        return;
    }
    enum err_code code = spend_read_call(exchange, &request, &err);
    if (code == ERR_OK) {
        code = spend_max_credits(api, meter, &request, http_arena(exchange), &credits, rule, &err);
    }
    if (code != ERR_OK) {
        reply_error(exchange, &err, 0);
        return;
    }
    struct meter_call call = spend_call(&request);
    bool allowed = meter_check(meter, &call, credits, &refusal);
    reply_json(exchange, &w);
    json_object_begin(&w);
    json_key(&w, "allowed");
    json_bool(&w, allowed);
    json_key_decimal(&w, "credits", credits);
    write_rule(&w, rule);
    if (!allowed) {
        write_refusal(&w, &refusal, &request);
    }
    json_object_end(&w);
    http_reply(exchange);
}
