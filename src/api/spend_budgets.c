/*
 * /api/v1/spend/budgets and what follows from them: the breaker as the original knew it, forecasts,
 * open reservations, simulation of a limit.
 */
#include "api/metering.h"

#include <stdlib.h>

#include "base/mem.h"
#include "codec/time.h"

enum { INSTANCES_DEFAULT = 1000, INSTANCES_MAX = 100000, RESERVATIONS_DEFAULT = 100 };

static const int64_t minute_us = 60 * TIME_US_PER_S;

/* ---- a copy of the budgets as they stand: views live only under the meter's lock ---- */

struct instance_copy {
    size_t budget; /* index in budgets */
    char *instance;
    struct budget_view view; /* its def and instance are not to be used */
    struct budget_forecast forecast;
};

struct budget_copy {
    struct budget_def def;
    size_t instances; /* all there are, copied or not */
};

struct budgets_copy {
    struct budget_copy *budgets;
    size_t budget_count, budget_capacity;
    struct instance_copy *instances;
    size_t instance_count, instance_capacity, instances_max;
    size_t last;       /* budget that was found last */
    struct slice only; /* of this budget alone; empty: all */
};

static void
copy_fini(struct budgets_copy *copy)
{
    for (size_t i = 0; i < copy->instance_count; i++) {
        free(copy->instances[i].instance);
    }
    free(copy->instances);
    free(copy->budgets);
}

#define COPY_AUTO __attribute__((cleanup(copy_fini)))

static size_t
copy_budget(struct budgets_copy *copy, const struct budget_def *def)
{
    if (copy->last < copy->budget_count &&
        strcmp(copy->budgets[copy->last].def.name, def->name) == 0) {
        return copy->last; /* counters of a budget often come together */
    }
    for (size_t i = 0; i < copy->budget_count; i++) {
        if (strcmp(copy->budgets[i].def.name, def->name) == 0) {
            copy->last = i;
            return i;
        }
    }
    if (copy->budget_count == copy->budget_capacity) {
        copy->budget_capacity = copy->budget_capacity ? 2 * copy->budget_capacity : 8;
        copy->budgets = mem_resize(copy->budgets, copy->budget_capacity, sizeof(*copy->budgets));
    }
    copy->budgets[copy->budget_count] = (struct budget_copy){.def = *def};
    return copy->budget_count++;
}

static void
copy_view(void *ctx, const struct budget_view *view, const struct budget_forecast *forecast)
{
    struct budgets_copy *copy = ctx;

    if (copy->only.len > 0 && !slice_is(copy->only, view->def->name)) {
        return;
    }
    size_t budget = copy_budget(copy, view->def);
    copy->budgets[budget].instances++;
    if (copy->instance_count == copy->instances_max) {
        return;
    }
    if (copy->instance_count == copy->instance_capacity) {
        copy->instance_capacity = copy->instance_capacity ? 2 * copy->instance_capacity : 16;
        copy->instances =
            mem_resize(copy->instances, copy->instance_capacity, sizeof(*copy->instances));
    }
    copy->instances[copy->instance_count++] =
        (struct instance_copy){.budget = budget,
                               .instance = mem_strdup(slice_of(view->instance)),
                               .view = *view,
                               .forecast = *forecast};
}

static void
copy_definition(void *ctx, const struct budget_def *def)
{
    struct budgets_copy *copy = ctx;

    if (copy->only.len == 0 || slice_is(copy->only, def->name)) {
        copy_budget(copy, def);
    }
}

static void
copy_budgets(struct meter *meter, struct slice only, size_t instances_max,
             struct budgets_copy *ret_copy)
{
    *ret_copy = (struct budgets_copy){.only = only, .instances_max = instances_max};
    meter_each_definition(meter, copy_definition, ret_copy);
    meter_each_budget(meter, copy_view, ret_copy);
    for (size_t i = 0; i < ret_copy->instance_count; i++) {
        struct instance_copy *instance = &ret_copy->instances[i];
        instance->view.def = &ret_copy->budgets[instance->budget].def;
        instance->view.instance = instance->instance;
    }
}

/* ---- writing ---- */

static void
write_forecast_text(struct json_writer *w, const struct instance_copy *instance)
{
    static const char *const of[] = {"", "the hour's ", "the day's ", "the month's "};
    const struct budget_def *def = instance->view.def;
    char time[TIME_TEXT_MAX];
    char text[160];

    if (instance->forecast.exhausted_at_us == 0) {
        snprintf(text, sizeof(text), "at this rate the budget does not run out");
    } else {
        time_format_iso8601(instance->forecast.exhausted_at_us, time);
        /* "2026-01-02T03:04:05": the day is told when it is not this one's. */
        bool today = instance->forecast.exhausted_at_us - instance->view.window_from_us <
                         INT64_C(24) * 60 * minute_us &&
                     def->window != WINDOW_MONTH;
        time[16] = '\0';
        time[10] = ' ';
        snprintf(text, sizeof(text), "at this rate %s%s ends at %s", of[def->window],
                 def->window == WINDOW_SLIDING ? "the budget" : "budget", today ? time + 11 : time);
    }
    json_key(w, "text");
    json_cstr(w, text);
}

static void
write_forecast(struct json_writer *w, const struct instance_copy *instance)
{
    json_key(w, "rate_per_minute");
    json_f64(w, instance->forecast.rate_per_s * 60);
    write_time_key(w, "exhausted_at", instance->forecast.exhausted_at_us);
    json_key_decimal(w, "projected", instance->forecast.projected);
    write_forecast_text(w, instance);
}

static void
write_instance(struct json_writer *w, const struct instance_copy *instance)
{
    const struct budget_view *view = &instance->view;

    json_object_begin(w);
    json_key(w, "instance");
    json_cstr(w, instance->instance);
    json_key_decimal(w, "used", view->used);
    json_key_decimal(w, "reserved", view->reserved);
    json_key(w, "state");
    json_cstr(w, breaker_name(view));
    json_key(w, "probes_out");
    json_u64(w, view->probes_out);
    json_key(w, "refused");
    json_i64(w, view->refused);
    json_key(w, "would_refuse");
    json_i64(w, view->would_refuse);
    write_time_key(w, "window_from", view->window_from_us);
    write_time_key(w, "resets_at", view->resets_at_us);
    json_key(w, "exact");
    json_bool(w, view->joined == 0);
    json_key(w, "forecast");
    json_object_begin(w);
    write_forecast(w, instance);
    json_object_end(w);
    json_object_end(w);
}

/* The members of a definition and of its instances, into an object that is open. */
static void
write_budget(struct json_writer *w, const struct budgets_copy *copy, size_t budget)
{
    struct buf def BUF_AUTO = {0};
    bool over = false;

    buf_init(&def, 0);
    budget_def_write(&copy->budgets[budget].def, &def);
    /* The definition is an object by itself: its members go into ours. */
    struct slice members = slice_trim(buf_slice(&def));
    members = slice_trim(slice_sub(members, 1, members.len - 2));
    buf_add_slice(w->out, members);
    w->comma = members.len > 0;
    json_key(w, "instances");
    json_array_begin(w);
    for (size_t i = 0; i < copy->instance_count; i++) {
        if (copy->instances[i].budget == budget) {
            const struct budget_view *view = &copy->instances[i].view;
            write_instance(w, &copy->instances[i]);
            over = over || view->used > view->def->hard_limit;
        }
    }
    json_array_end(w);
    json_key(w, "instance_count");
    json_u64(w, copy->budgets[budget].instances);
    json_key(w, "already_over");
    json_bool(w, over);
}

void
get_budgets(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct meter *meter = metering_meter(api, exchange);
    struct budgets_copy copy COPY_AUTO = {0};
    struct json_writer w;
    int64_t limit;
    struct err err;

    (void)route;
    if (!meter) {
        return;
    }
    if (request_int(exchange, "limit", 0, INSTANCES_MAX, INSTANCES_DEFAULT, &limit, &err) !=
        ERR_OK) {
        reply_error(exchange, &err, 0);
        return;
    }
    copy_budgets(meter, slice_of(""), (size_t)limit, &copy);
    reply_json(exchange, &w);
    json_object_begin(&w);
    json_key(&w, "budgets");
    json_array_begin(&w);
    for (size_t i = 0; i < copy.budget_count; i++) {
        json_object_begin(&w);
        write_budget(&w, &copy, i);
        json_object_end(&w);
    }
    json_array_end(&w);
    json_key(&w, "count");
    json_u64(&w, copy.budget_count);
    json_object_end(&w);
    http_reply(exchange);
}

/* Answers with one budget, or 404. lsn 0: nothing was written. */
static void
reply_budget(struct meter *meter, struct http_exchange *exchange, struct slice name, uint64_t lsn)
{
    struct budgets_copy copy COPY_AUTO = {0};
    struct json_writer w;
    struct err err;

    copy_budgets(meter, name, INSTANCES_DEFAULT, &copy);
    if (copy.budget_count == 0) {
        err_set(&err, ERR_NOT_FOUND, "there is no budget \"%.*s\"",
                SLICE_FMT(slice_sub(name, 0, BUDGET_NAME_MAX)));
        reply_error(exchange, &err, 0);
        return;
    }
    reply_json(exchange, &w);
    json_object_begin(&w);
    write_budget(&w, &copy, 0);
    if (lsn > 0) {
        json_key(&w, "lsn");
        json_u64(&w, lsn);
    }
    json_object_end(&w);
    http_reply(exchange);
}

void
get_budget(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct meter *meter = metering_meter(api, exchange);

    if (meter) {
        reply_budget(meter, exchange, route_segment(route, exchange), 0);
    }
}

/* A change of a budget that is out. */
struct budget_op {
    struct meter *meter;
    struct http_exchange *exchange;
    char name[BUDGET_NAME_MAX + 1];
    bool deleted;
};

static void
answer_change(void *ctx, const struct meter_answer *answer)
{
    const struct budget_op *op = ctx;
    struct json_writer w;

    if (answer->code != ERR_OK) {
        metering_error(op->exchange, answer->err);
    } else if (!op->deleted) {
        reply_budget(op->meter, op->exchange, slice_of(op->name), answer->lsn);
    } else {
        reply_json(op->exchange, &w);
        json_object_begin(&w);
        json_key(&w, "name");
        json_cstr(&w, op->name);
        json_key(&w, "deleted");
        json_bool(&w, true);
        json_key(&w, "lsn");
        json_u64(&w, answer->lsn);
        json_object_end(&w);
        http_reply(op->exchange);
    }
}

static bool
is_name(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && c != '.' && c != '_' && c != '-') {
            return false;
        }
    }
    return name.len > 0;
}

/* The op for the budget that the path names, or NULL when the exchange was answered. */
static struct budget_op *
begin_change(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct meter *meter = metering_meter(api, exchange);
    struct budget_op *op = meter ? arena_zalloc(http_arena(exchange), 1, sizeof(*op)) : NULL;
    struct slice name = route_segment(route, exchange);
    struct err err;

    if (!op) {
        return NULL; /* an arena that nothing was put in has room */
    }
    if (!is_name(name) || !slice_to_cstr(name, op->name, sizeof(op->name))) {
        err_set(&err, ERR_INVALID,
                "the budget's name is \"%.*s\"; expected 1 to %d of letters, digits, \".\", \"_\", "
                "\"-\"",
                SLICE_FMT(slice_sub(name, 0, BUDGET_NAME_MAX)), (int)BUDGET_NAME_MAX);
        reply_error(exchange, &err, 0);
        return NULL;
    }
    op->meter = meter;
    op->exchange = exchange;
    return op;
}

void
put_budget(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct budget_op *op = begin_change(api, route, exchange);
    struct budget_def def;
    struct err err;

    if (!op) {
        return;
    }
    if (budget_def_parse(http_body(exchange), op->name, &def, &err) != ERR_OK) {
        reply_error(exchange, &err, 0);
        return;
    }
    meter_set_budget(op->meter, &def, answer_change, op);
}

void
delete_budget(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct budget_op *op = begin_change(api, route, exchange);

    if (op) {
        op->deleted = true;
        meter_change_budget(op->meter, op->name, "delete", slice_of(""), answer_change, op);
    }
}

void
post_budget_action(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    static const struct {
        const char *path;
        const char *change;
    } actions[] = {{"reset", "reset"},
                   {"force-open", "force_open"},
                   {"metrics-only", "metrics_only"},
                   {"enforce", "enforce"}};
    static const struct body_field fields[] = {{"reason", NULL, BODY_TEXT, 0, 0, METER_TEXT_MAX}};
    struct slice action = route_segment_at(route, exchange, 1);
    struct budget_op *op = begin_change(api, route, exchange);
    struct slice reason = {"", 0};
    uint32_t seen;
    struct err err;

    if (!op) {
        return;
    }
    if (slice_trim(http_body(exchange)).len > 0 &&
        body_read(http_body(exchange), fields, 1, &reason, &seen, http_arena(exchange), &err) !=
            ERR_OK) {
        reply_error(exchange, &err, 0);
        return;
    }
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
        if (slice_is(action, actions[i].path)) {
            meter_change_budget(op->meter, op->name, actions[i].change, reason, answer_change, op);
            return;
        }
    }
    err_set(&err, ERR_NOT_FOUND,
            "the action \"%.*s\" is unknown; expected reset, force-open, metrics-only or enforce",
            SLICE_FMT(slice_sub(action, 0, 40)));
    reply_error(exchange, &err, 0);
}

/* ---- the breaker of the original ---- */

/* How bad a budget is: a larger number is worse. */
static int
badness(const struct budget_view *view)
{
    if (view->def->mode == BUDGET_METRICS_ONLY) {
        return 0;
    }
    if (view->def->mode == BUDGET_FORCED_OPEN) {
        return 4;
    }
    return view->state == BREAKER_OPEN ? 3 : view->state == BREAKER_HALF_OPEN ? 2 : 1;
}

static double
share(const struct budget_view *view)
{
    double limit = view->def->hard_limit > 0 ? (double)view->def->hard_limit : 1;

    return (double)view->used / limit;
}

static const struct instance_copy *
find_worst(const struct budgets_copy *copy)
{
    const struct instance_copy *worst = NULL;

    for (size_t i = 0; i < copy->instance_count; i++) {
        const struct instance_copy *one = &copy->instances[i];
        int more = worst ? badness(&one->view) - badness(&worst->view) : 1;
        if (more > 0 || (more == 0 && share(&one->view) > share(&worst->view))) {
            worst = one;
        }
    }
    return worst;
}

static void
write_window_minutes(struct json_writer *w, const struct budget_view *view)
{
    json_key(w, "window_minutes");
    if (view->def->window == WINDOW_SLIDING) {
        json_i64(w, view->def->window_us / minute_us);
    } else {
        json_write_null(w);
    }
}

static void
write_breaker(struct json_writer *w, const struct instance_copy *instance)
{
    const struct budget_view *view = &instance->view;

    json_key(w, "tripped");
    json_bool(w, badness(view) > 2);
    json_key(w, "state");
    json_cstr(w, breaker_name(view));
    json_key_decimal(w, "threshold", view->def->hard_limit);
    write_window_minutes(w, view);
    json_key(w, "window");
    json_cstr(w, budget_window_name(view->def->window));
    json_key_decimal(w, "credits", view->used);
}

void
get_breaker(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct meter *meter = metering_meter(api, exchange);
    struct budgets_copy copy COPY_AUTO = {0};
    struct json_writer w;

    (void)route;
    if (!meter) {
        return;
    }
    copy_budgets(meter, slice_of(""), INSTANCES_DEFAULT, &copy);
    const struct instance_copy *worst = find_worst(&copy);
    reply_json(exchange, &w);
    json_object_begin(&w);
    if (worst) {
        write_breaker(&w, worst);
    } else {
        json_key(&w, "tripped");
        json_bool(&w, false);
        json_key(&w, "state");
        json_cstr(&w, "closed");
    }
    json_key(&w, "budgets");
    json_array_begin(&w);
    for (size_t i = 0; copy.instances && i < copy.instance_count; i++) {
        json_object_begin(&w);
        json_key(&w, "name");
        json_cstr(&w, copy.instances[i].view.def->name);
        json_key(&w, "instance");
        json_cstr(&w, copy.instances[i].instance);
        write_breaker(&w, &copy.instances[i]);
        json_object_end(&w);
    }
    json_array_end(&w);
    json_object_end(&w);
    http_reply(exchange);
}

void
get_forecast(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct meter *meter = metering_meter(api, exchange);
    struct budgets_copy copy COPY_AUTO = {0};
    struct json_writer w;

    (void)route;
    if (!meter) {
        return;
    }
    copy_budgets(meter, slice_of(""), INSTANCES_DEFAULT, &copy);
    reply_json(exchange, &w);
    json_object_begin(&w);
    json_key(&w, "forecasts");
    json_array_begin(&w);
    for (size_t i = 0; i < copy.instance_count; i++) {
        json_object_begin(&w);
        json_key(&w, "name");
        json_cstr(&w, copy.instances[i].view.def->name);
        json_key(&w, "instance");
        json_cstr(&w, copy.instances[i].instance);
        write_forecast(&w, &copy.instances[i]);
        json_object_end(&w);
    }
    json_array_end(&w);
    json_object_end(&w);
    http_reply(exchange);
}

void
get_reservations(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct meter *meter = metering_meter(api, exchange);
    struct json_writer w;
    int64_t limit;
    struct err err;

    (void)route;
    if (!meter) {
        return;
    }
    if (request_int(exchange, "limit", 1, 10000, RESERVATIONS_DEFAULT, &limit, &err) != ERR_OK) {
        reply_error(exchange, &err, 0);
        return;
    }
    struct meter_open_reservation *list = mem_zalloc((size_t)limit, sizeof(*list));
    size_t count = meter_reservations(meter, list, (size_t)limit);
    reply_json(exchange, &w);
    json_object_begin(&w);
    json_key(&w, "reservations");
    json_array_begin(&w);
    for (size_t i = 0; i < count; i++) {
        json_object_begin(&w);
        json_key(&w, "reservation_id");
        json_cstr(&w, list[i].id);
        json_key(&w, "api_name");
        json_cstr(&w, list[i].api_name);
        json_key(&w, "endpoint");
        json_cstr(&w, list[i].endpoint);
        json_key(&w, "run_id");
        json_cstr(&w, list[i].run_id[0] ? list[i].run_id : NULL);
        json_key_decimal(&w, "credits", list[i].credits);
        write_time_key(&w, "created_at", list[i].created_us);
        write_time_key(&w, "expires_at", list[i].expires_us);
        json_object_end(&w);
    }
    json_array_end(&w);
    json_key(&w, "count");
    json_u64(&w, count);
    json_object_end(&w);
    free(list);
    http_reply(exchange);
}
