/* Reserve, commit, release, extend: decided under the lock, answered when durable. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/id.h"
#include "base/mem.h"
#include "codec/decimal.h"
#include "codec/time.h"
#include "meter/meter_private.h"

#define HELD_CREDITS_MAX (INT64_C(4000000000000) * DECIMAL_ONE)

/* ---- what is common ---- */

/* Ends a decision: what the breakers did goes into the log behind it, then all of it is sent. */
static void
decided(struct meter *meter, struct op *op)
{
    op_enqueue(meter, op);
    meter_note_breakers(meter);
    pthread_mutex_unlock(&meter->lock);
    meter_flush(meter);
}

static void
give_up(struct meter *meter, struct op *op, const struct err *err)
{
    meter_note_breakers(meter);
    pthread_mutex_unlock(&meter->lock);
    meter_flush(meter); /* leases that ended on the way */
    meter_answer_err(op->done, op->ctx, err);
    op_free(op);
}

/* A decision that changes nothing: the answer waits behind what is on its way, for it may speak of
 * that. */
static void
again(struct meter *meter, struct op *op, struct reservation *reservation)
{
    struct err err;

    if (meter_admit(meter, &err) != ERR_OK) {
        give_up(meter, op, &err);
        return;
    }
    op->kind = OP_NOTHING;
    op->replayed = true;
    op->duplicates = 1;
    op->reservation = reservation;
    decided(meter, op);
}

static enum err_code
unknown(struct slice id, struct err *err)
{
    return err_set(err, ERR_NOT_FOUND,
                   "reservation %.*s is unknown, or was closed long ago; a call that was made can "
                   "be booked by POST /api/v1/events",
                   SLICE_FMT(slice_sub(id, 0, METER_ID_MAX)));
}

static enum err_code
expired(const struct reservation *reservation, struct err *err)
{
    char text[TIME_TEXT_MAX];

    time_format_iso8601(reservation->expires_us, text);
    return err_set(err, ERR_PRECONDITION,
                   "the lease of reservation %s ended at %s and its credits went back; a call that "
                   "was made can be booked by POST /api/v1/events",
                   reservation->id, text);
}

static enum err_code
closed(const struct reservation *reservation, struct err *err)
{
    char text[TIME_TEXT_MAX];
    char credits[DECIMAL_TEXT_MAX];

    if (reservation->state == RESERVATION_EXPIRED) {
        return expired(reservation, err);
    }
    time_format_iso8601(reservation->result.closed_us, text);
    decimal_format(reservation->result.credits, credits);
    return err_set(err, ERR_CONFLICT, "reservation %s was %s at %s%s%s%s", reservation->id,
                   reservation_state_name(reservation->state), text,
                   reservation->state == RESERVATION_COMMITTED ? " with " : "",
                   reservation->state == RESERVATION_COMMITTED ? credits : "",
                   reservation->state == RESERVATION_COMMITTED ? " credits" : "");
}

/* Finds an open reservation whose lease is not over. */
static enum err_code
find_open(struct meter *meter, struct slice id, struct reservation **ret, struct err *err)
{
    struct reservation *reservation =
        id.len <= METER_ID_MAX ? reservations_find(&meter->reservations, id) : NULL;

    if (!reservation) {
        return unknown(id, err);
    }
    *ret = reservation;
    if (reservation->state != RESERVATION_OPEN) {
        return closed(reservation, err);
    }
    return ERR_OK;
}

/* ---- reserve ---- */

static enum err_code
check_call(const struct meter_reserve *reserve, struct err *err)
{
    const struct meter_call *call = &reserve->call;
    const struct {
        const char *field;
        struct slice text;
        size_t max;
    } texts[] = {{"api_name", call->api_name, METER_TEXT_MAX},
                 {"endpoint", call->endpoint, METER_TEXT_MAX},
                 {"method", call->method, 32},
                 {"key", call->api_key, METER_TEXT_MAX},
                 {"run_id", call->run_id, METER_TEXT_MAX},
                 {"project", call->project, METER_TEXT_MAX},
                 {"reservation_id", reserve->reservation_id, METER_ID_MAX},
                 {"query", reserve->query, METER_QUERY_MAX}};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        enum err_code code = text_check(texts[i].field, texts[i].text, texts[i].max, err);
        if (code != ERR_OK) {
            return code;
        }
    }
    if (call->api_name.len == 0) {
        return err_set(err, ERR_INVALID, "api_name is missing, expected a text");
    }
    if (reserve->ttl_ms < 0 || reserve->ttl_ms > METER_TTL_MS_MAX) {
        return err_set(err, ERR_INVALID, "ttl_ms is %lld, expected 1 to %d",
                       (long long)reserve->ttl_ms, METER_TTL_MS_MAX);
    }
    if (reserve->has_credits && (reserve->max_credits < 0 || reserve->max_credits > DECIMAL_MAX)) {
        return err_set(err, ERR_INVALID,
                       "max_credits is out of range, expected 0 to 999999999999.999999");
    }
    return ERR_OK;
}

static enum err_code
quote(struct meter *meter, const struct meter_reserve *reserve, int64_t now_us, struct op *op,
      struct err *err)
{
    struct price_call call = {.api = reserve->call.api_name,
                              .method = reserve->call.method,
                              .path = reserve->call.endpoint,
                              .query = reserve->query,
                              .at_us = now_us,
                              .fields = reserve->fields,
                              .field_count = reserve->field_count};
    struct price_quote found = {0};
    struct prices *prices = meter_prices(meter);
    enum err_code code = prices ? prices_quote(prices, &call, &found, err) : ERR_OK;

    if (code == ERR_OK && !found.found) {
        code = err_set(err, ERR_INVALID,
                       "max_credits is missing and no price rule fits %.*s%s%.*s; give "
                       "max_credits or add a rule to the price book",
                       SLICE_FMT(slice_sub(call.api, 0, 100)), call.path.len > 0 ? " " : "",
                       SLICE_FMT(slice_sub(call.path, 0, 100)));
    }
    if (code == ERR_OK) {
        op->credits = found.credits;
        op->price_rule = op_keep(op, slice_of(found.rule_id)).ptr;
    }
    prices_unref(prices);
    return code;
}

/* The views that an answer carries, with texts of their own. */
static void
keep_views(struct op *op, const struct budget_hold *hold)
{
    if (hold->count == 0) {
        return;
    }
    op->views = arena_zalloc(&op->arena, hold->count, sizeof(op->views[0]));
    assert(op->views);
    op->view_count = budgets_held_views(hold, op->window_us, op->views, hold->count);
    for (size_t i = 0; i < op->view_count; i++) {
        op->views[i].instance = op_keep(op, slice_of(op->views[i].instance)).ptr;
    }
}

/* The same id again: the same call is answered as before, another one contradicts. */
static void
reserve_again(struct meter *meter, struct op *op, struct reservation *reservation,
              const struct meter_reserve *reserve)
{
    struct err err;
    bool same = slice_eq(reservation->api_name, reserve->call.api_name) &&
                slice_eq(reservation->run_id, reserve->call.run_id) &&
                slice_eq(reservation->api_key, reserve->call.api_key) &&
                slice_eq(reservation->project, reserve->call.project) &&
                (reserve->call.endpoint.len == 0 ||
                 slice_eq(reservation->endpoint, reserve->call.endpoint)) &&
                reservation->credits >= op->credits;

    if (reservation->state != RESERVATION_OPEN) {
        closed(reservation, &err);
        give_up(meter, op, &err);
    } else if (!same) {
        err_set(&err, ERR_CONFLICT, "reservation %s exists with another call or fewer credits",
                reservation->id);
        give_up(meter, op, &err);
    } else {
        op->credits = reservation->credits;
        op->expires_us = reservation->expires_us;
        op->price_rule = op_keep(op, slice_of(reservation->price_rule)).ptr;
        again(meter, op, reservation);
    }
}

/* What is held altogether stays far from where sums of it and of what is booked wrap round. */
static enum err_code
admit_credits(const struct meter *meter, int64_t credits, struct err *err)
{
    if (credits > HELD_CREDITS_MAX - meter->reservations.credits_open) {
        return err_set(err, ERR_BUSY,
                       "open reservations would hold more than 4000000000000 credits together; "
                       "commit or release some first");
    }
    return ERR_OK;
}

static enum err_code
admit_reserve(const struct meter *meter, int64_t credits, struct err *err)
{
    enum err_code code = meter_admit(meter, err);

    if (code == ERR_OK && meter->reservations.heap_count >= meter->options.reservations_max) {
        code = err_set(err, ERR_BUSY, "%zu reservations are open (meter.reservations_max)",
                       meter->reservations.heap_count);
    }
    return code == ERR_OK ? admit_credits(meter, credits, err) : code;
}

static void
add_reservation(struct meter *meter, struct op *op, const struct meter_reserve *reserve,
                struct slice id, const struct budget_hold *hold)
{
    struct meter_call call = reserve->call;
    int64_t ttl_us = (reserve->ttl_ms ? reserve->ttl_ms : METER_TTL_MS_DEFAULT) * TIME_US_PER_MS;

    if (call.endpoint.len == 0) {
        call.endpoint = SLICE_LITERAL("unknown");
    }
    if (call.method.len == 0) {
        call.method = SLICE_LITERAL("GET");
    }
    struct reservation *reservation =
        reservations_add(&meter->reservations, id, &call, reserve->query, op->credits,
                         clock_mono_us(meter->clock) + ttl_us);
    reservation->hold = *hold;
    reservation->ttl_us = ttl_us;
    reservation->created_us = op->at_us;
    reservation->expires_us = op->at_us + ttl_us;
    if (op->price_rule) {
        slice_to_cstr(slice_of(op->price_rule), reservation->price_rule,
                      sizeof(reservation->price_rule));
    }
    op->reservation = reservation;
    op->expires_us = reservation->expires_us;
    const char *probe_of = budget_hold_probe_of(hold);
    op->probe_of = probe_of ? op_keep(op, slice_of(probe_of)).ptr : NULL;
}

static void
reserve_locked(struct meter *meter, struct op *op, const struct meter_reserve *reserve)
{
    struct err err;
    struct refusal refusal;
    struct budget_hold hold = {0};
    char made[ID_UUID_LEN + 1];
    struct slice id = reserve->reservation_id;
    struct call_scope scope = call_scope_of(&reserve->call);

    lease_expire(meter);
    struct reservation *known = id.len > 0 ? reservations_find(&meter->reservations, id) : NULL;
    if (known) {
        reserve_again(meter, op, known, reserve);
        return;
    }
    if (admit_reserve(meter, op->credits, &err) != ERR_OK) {
        give_up(meter, op, &err);
        return;
    }
    op->window_us = budgets_time(meter->budgets, op->at_us);
    if (!budgets_reserve(meter->budgets, &scope, op->credits, op->window_us, &hold, &refusal)) {
        meter->stats.refused++;
        meter_note_breakers(meter);
        pthread_mutex_unlock(&meter->lock);
        meter_flush(meter);
        meter_answer_refusal(op->done, op->ctx, &refusal);
        op_free(op);
        return;
    }
    if (id.len == 0) {
        id_uuid7(op->at_us, made);
        id = slice_make(made, ID_UUID_LEN);
    }
    add_reservation(meter, op, reserve, id, &hold);
    keep_views(op, &hold);
    decided(meter, op);
}

void
meter_reserve(struct meter *meter, const struct meter_reserve *reserve, meter_done_fn *done,
              void *ctx)
{
    struct op *op = op_new(meter, OP_RESERVE, done, ctx);
    struct err err;
    enum err_code code = check_call(reserve, &err);

    if (code == ERR_OK && reserve->has_credits) {
        op->credits = reserve->max_credits;
    } else if (code == ERR_OK) {
        code = quote(meter, reserve, op->at_us, op, &err);
    }
    /* As its event will stand in the log, so that the same counters hold and book it. */
    struct meter_reserve clean = *reserve;
    clean.call = call_redact(op, &reserve->call);
    pthread_mutex_lock(&meter->lock);
    if (code != ERR_OK) {
        give_up(meter, op, &err);
        return;
    }
    reserve_locked(meter, op, &clean);
}

/* ---- commit ---- */

static bool
was_success(const struct meter_commit *commit)
{
    if (commit->has_success) {
        return commit->success;
    }
    return commit->has_status && commit->status_code >= 200 && commit->status_code < 300;
}

static enum err_code
check_owner(const struct reservation *reservation, const struct meter_call *check, struct err *err)
{
    const struct {
        const char *field;
        struct slice given, is;
    } pairs[] = {{"api_name", check->api_name, reservation->api_name},
                 {"key", check->api_key, reservation->api_key},
                 {"run_id", check->run_id, reservation->run_id},
                 {"project", check->project, reservation->project}};

    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        if (pairs[i].given.len > 0 && !slice_eq(pairs[i].given, pairs[i].is)) {
            return err_set(err, ERR_FORBIDDEN,
                           "reservation %s is another caller's: %s is \"%.*s\" there, not \"%.*s\"",
                           reservation->id, pairs[i].field,
                           SLICE_FMT(slice_sub(pairs[i].is, 0, 100)),
                           SLICE_FMT(slice_sub(pairs[i].given, 0, 100)));
        }
    }
    return ERR_OK;
}

/* What the call cost, when the caller doesn't say. */
static enum err_code
price(struct meter *meter, const struct reservation *reservation, const struct meter_commit *commit,
      struct op *op, struct err *err)
{
    struct price_call call = {.api = reservation->api_name,
                              .method = reservation->method,
                              .path = reservation->endpoint,
                              .query = commit->query.len > 0 ? commit->query : reservation->query,
                              .has_status = commit->has_status,
                              .status = commit->status_code,
                              .success = was_success(commit),
                              .request_bytes = commit->request_bytes,
                              .response_bytes = commit->response_bytes,
                              .at_us = reservation->created_us,
                              .fields = commit->fields,
                              .field_count = commit->field_count};
    struct price_quote found = {0};
    struct prices *prices = meter_prices(meter);
    enum err_code code = prices ? prices_cost(prices, &call, &found, err) : ERR_OK;

    if (code == ERR_OK && found.found && reservation->price_rule[0] != '\0') {
        op->credits = found.credits;
        op->price_rule = op_keep(op, slice_of(found.rule_id)).ptr;
    } else if (code == ERR_OK) {
        op->credits = was_success(commit) ? reservation->credits : 0;
    }
    prices_unref(prices);
    return code;
}

static enum err_code
commit_credits(struct meter *meter, const struct reservation *reservation,
               const struct meter_commit *commit, struct op *op, struct err *err)
{
    char asked[DECIMAL_TEXT_MAX];
    char held[DECIMAL_TEXT_MAX];
    enum err_code code = ERR_OK;

    if (commit->has_credits) {
        op->credits = commit->credits;
        if (commit->credits < 0 || commit->credits > DECIMAL_MAX) {
            return err_set(err, ERR_INVALID,
                           "credits is out of range, expected 0 to 999999999999.999999");
        }
    } else {
        code = price(meter, reservation, commit, op, err);
    }
    if (code == ERR_OK && op->credits > reservation->credits && !commit->overrun) {
        decimal_format(op->credits, asked);
        decimal_format(reservation->credits, held);
        return err_set(err, ERR_INVALID,
                       "credits is %s, expected at most the %s that reservation %s holds; extend "
                       "it, or send \"overrun\": true to book what was spent",
                       asked, held, reservation->id);
    }
    return code;
}

static enum err_code
make_event(struct meter *meter, struct op *op, const struct reservation *reservation,
           const struct meter_commit *commit, const struct event_texts *texts, struct err *err)
{
    struct event event = {.id = commit->event_id,
                          .timestamp_is_ours = true,
                          .api_name = reservation->api_name,
                          .endpoint = reservation->endpoint,
                          .method = reservation->method,
                          .has_status = commit->has_status,
                          .status_code = commit->status_code,
                          .success = was_success(commit),
                          .latency_ms = commit->latency_ms,
                          .credits = op->credits,
                          .run_id = reservation->run_id,
                          .error_message = commit->error_message,
                          .metadata_json = commit->metadata_json,
                          .api_key = reservation->api_key,
                          .project = reservation->project,
                          .reservation_id = slice_of(reservation->id),
                          .price_rule = slice_of(op->price_rule)};
    struct ids_entry known;

    op->events = arena_zalloc(&op->arena, 1, sizeof(*op->events));
    op->event_window_us = arena_zalloc(&op->arena, 1, sizeof(*op->event_window_us));
    assert(op->events && op->event_window_us);
    enum err_code code = event_take_with(op, &event, op->at_us, texts, &op->events[0], err);
    if (code == ERR_OK && commit->event_id.len > 0 &&
        ids_find(meter->ids, commit->event_id, &known) == IDS_RECENT) {
        code = err_set(err, ERR_CONFLICT, "event_id %.*s stands in the log already",
                       SLICE_FMT(commit->event_id));
    }
    return code;
}

/* The same commit again is answered as the first was. */
static bool
commit_is_same(const struct reservation *reservation, const struct meter_commit *commit)
{
    const struct reservation_result *result = &reservation->result;
    bool same_status = !result->status_known ||
                       (commit->has_status == result->has_status &&
                        (!commit->has_status || commit->status_code == result->status_code));

    return reservation->state == RESERVATION_COMMITTED && same_status &&
           (!commit->has_credits || commit->credits == result->credits) &&
           (commit->event_id.len == 0 || slice_is(commit->event_id, result->event_id));
}

static void
commit_again(struct meter *meter, struct op *op, struct reservation *reservation)
{
    op->credits = reservation->result.credits;
    op->event_count = 0;
    op->answer_event_id = op_keep(op, slice_of(reservation->result.event_id)).ptr;
    op->price_rule = op_keep(op, slice_of(reservation->result.price_rule)).ptr;
    again(meter, op, reservation);
}

static void
commit_decide(struct meter *meter, struct op *op, struct reservation *reservation,
              const struct meter_commit *commit)
{
    const struct event *event = &op->events[0];
    struct call_scope scope = event_scope(event);
    struct ids_entry entry = {.content_hash = event_content_hash(event),
                              .timestamp_us = event->timestamp_us,
                              .credits = event->credits};

    op->window_us = budgets_time(meter->budgets, op->at_us);
    op->event_window_us[0] = meter_window_time(event->timestamp_us, op->at_us, op->window_us);
    op->event_count = 1;
    op->answer_event_id = event->id.ptr;
    op->reservation = reservation;
    op->expires_us = reservation->expires_us;
    op->probe_success = event->success;
    budgets_release(meter->budgets, &reservation->hold, reservation->credits, false);
    reservations_close(&meter->reservations, reservation, RESERVATION_COMMITTED);
    budgets_count(meter->budgets, &scope, op->event_window_us[0], op->credits, op->window_us);
    ids_add(meter->ids, event->id, &entry);
    reservation->result = (struct reservation_result){.credits = op->credits,
                                                      .status_known = true,
                                                      .has_status = commit->has_status,
                                                      .status_code = commit->status_code,
                                                      .closed_us = op->at_us};
    slice_to_cstr(event->id, reservation->result.event_id, sizeof(reservation->result.event_id));
    slice_to_cstr(slice_of(op->price_rule), reservation->result.price_rule,
                  sizeof(reservation->result.price_rule));
    decided(meter, op);
}

void
meter_commit(struct meter *meter, const struct meter_commit *commit, meter_done_fn *done, void *ctx)
{
    struct op *op = op_new(meter, OP_COMMIT, done, ctx);
    struct reservation *reservation = NULL;
    struct err err;
    struct meter_call check = call_redact(op, &commit->check); /* as the reservation's is */
    struct event_texts texts = texts_redact(op, commit->error_message, commit->metadata_json);

    pthread_mutex_lock(&meter->lock);
    lease_expire(meter);
    enum err_code code = find_open(meter, commit->reservation_id, &reservation, &err);
    if (reservation && check_owner(reservation, &check, &err) != ERR_OK) {
        code = ERR_FORBIDDEN;
    } else if (reservation && code != ERR_OK && commit_is_same(reservation, commit)) {
        commit_again(meter, op, reservation);
        return;
    }
    if (code == ERR_OK) {
        code = meter_admit(meter, &err);
    }
    assert(code != ERR_OK || reservation);
    if (code == ERR_OK) {
        code = commit_credits(meter, reservation, commit, op, &err);
    }
    if (code == ERR_OK) {
        code = make_event(meter, op, reservation, commit, &texts, &err);
    }
    if (code != ERR_OK) {
        give_up(meter, op, &err);
        return;
    }
    commit_decide(meter, op, reservation, commit);
}

/* ---- release, extend ---- */

void
meter_release(struct meter *meter, struct slice reservation_id, meter_done_fn *done, void *ctx)
{
    struct op *op = op_new(meter, OP_RELEASE, done, ctx);
    struct reservation *reservation = NULL;
    struct err err;

    pthread_mutex_lock(&meter->lock);
    lease_expire(meter);
    enum err_code code = find_open(meter, reservation_id, &reservation, &err);
    if (reservation && reservation->state == RESERVATION_RELEASED) {
        op->credits = reservation->credits;
        again(meter, op, reservation);
        return;
    }
    if (code == ERR_OK) {
        code = meter_admit(meter, &err);
    }
    if (code != ERR_OK) {
        give_up(meter, op, &err);
        return;
    }
    assert(reservation);
    op->reservation = reservation;
    op->credits = reservation->credits;
    op->expires_us = reservation->expires_us;
    budgets_release(meter->budgets, &reservation->hold, reservation->credits, true);
    reservations_close(&meter->reservations, reservation, RESERVATION_RELEASED);
    reservation->result = (struct reservation_result){.closed_us = op->at_us};
    decided(meter, op);
}

static enum err_code
check_extend(int64_t ttl_ms, int64_t add_credits, struct err *err)
{
    if (ttl_ms < 0 || ttl_ms > METER_TTL_MS_MAX) {
        return err_set(err, ERR_INVALID, "ttl_ms is %lld, expected 1 to %d", (long long)ttl_ms,
                       METER_TTL_MS_MAX);
    }
    if (add_credits < 0 || add_credits > DECIMAL_MAX) {
        return err_set(err, ERR_INVALID,
                       "add_credits is out of range, expected 0 to 999999999999.999999");
    }
    return ERR_OK;
}

void
meter_extend(struct meter *meter, struct slice reservation_id, int64_t ttl_ms, int64_t add_credits,
             meter_done_fn *done, void *ctx)
{
    struct op *op = op_new(meter, OP_EXTEND, done, ctx);
    struct reservation *reservation = NULL;
    struct err err;
    enum err_code code = check_extend(ttl_ms, add_credits, &err);
    int64_t ttl_us = (ttl_ms ? ttl_ms : METER_TTL_MS_DEFAULT) * TIME_US_PER_MS;

    pthread_mutex_lock(&meter->lock);
    lease_expire(meter);
    if (code == ERR_OK) {
        code = find_open(meter, reservation_id, &reservation, &err);
    }
    if (code == ERR_OK) {
        code = meter_admit(meter, &err);
    }
    assert(code != ERR_OK || reservation);
    if (code == ERR_OK && add_credits > DECIMAL_MAX - reservation->credits) {
        code = err_set(&err, ERR_INVALID, "add_credits makes more than 999999999999.999999");
    }
    if (code == ERR_OK) {
        code = admit_credits(meter, add_credits, &err);
    }
    if (code != ERR_OK) {
        give_up(meter, op, &err);
        return;
    }
    struct refusal refusal;
    op->window_us = budgets_time(meter->budgets, op->at_us);
    if (add_credits > 0 &&
        !budgets_extend(meter->budgets, &reservation->hold, add_credits, op->window_us, &refusal)) {
        meter->stats.refused++;
        meter_note_breakers(meter);
        pthread_mutex_unlock(&meter->lock);
        meter_flush(meter);
        meter_answer_refusal(done, ctx, &refusal);
        op_free(op);
        return;
    }
    op->reservation = reservation;
    op->old_credits = reservation->credits;
    op->old_expires_us = reservation->expires_us;
    op->old_deadline_us = reservation->deadline_us;
    op->old_ttl_us = reservation->ttl_us;
    reservations_resize(&meter->reservations, reservation, reservation->credits + add_credits);
    reservations_move(&meter->reservations, reservation, clock_mono_us(meter->clock) + ttl_us);
    reservation->expires_us = op->at_us + ttl_us;
    reservation->ttl_us = ttl_us;
    op->credits = reservation->credits;
    op->expires_us = reservation->expires_us;
    /* Its row replaces that of the reserve at the next start: it says all that the first said. */
    const char *probe_of = budget_hold_probe_of(&reservation->hold);
    op->probe_of = probe_of ? op_keep(op, slice_of(probe_of)).ptr : NULL;
    op->price_rule = op_keep(op, slice_of(reservation->price_rule)).ptr;
    decided(meter, op);
}
