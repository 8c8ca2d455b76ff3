/*
 * The deterministic simulation: the real meter on a virtual clock and a virtual log. Of every seed
 * a random life is played: callers that reserve, commit late, twice, differently or never; records
 * that fail; crashes before and behind the disk; starts; clocks that jump; operators. An oracle of
 * its own looks at nothing but the rows that are durable, and at what callers were answered:
 *
 *   - credits booked within the window and credits of open reservations never pass a hard limit;
 *   - a breaker that is half open has at most its probes out;
 *   - no reservation is open when its lease is over and the log works;
 *   - what was answered as done stands in the log, once; what was answered as failed does not;
 *     what was answered as a duplicate stands there before;
 *   - a start changes nothing, breakers neither; the chain of hashes holds.
 *
 * EIDER_SIM_SEEDS lives are played (10 000), from EIDER_SIM_FIRST on (1). One that fails says its
 * seed.
 */
#include "meter/meter_sim_testing.h"

#include "base/mem.h"
#include "meter/chain.h"

/* ---- budgets of a life ---- */

static void
make_budgets(struct life *life)
{
    life->def_count = 1 + below(life, BUDGETS);
    for (size_t i = 0; i < life->def_count; i++) {
        struct budget_def *def = &life->defs[i];
        char name[32];
        snprintf(name, sizeof(name), "b%zu", i);
        budget_def_init(def, name);
        def->window = (enum budget_window)(below(life, 3)); /* sliding, hour, day */
        def->window_us = (int64_t)(1 + below(life, 30)) * MINUTE_US;
        def->hard_limit = (int64_t)(50 + below(life, 300)) * DECIMAL_ONE;
        def->half_open_probes = (unsigned)below(life, 3);
        def->half_open_pause_us = (int64_t)below(life, 60) * TIME_US_PER_S;
        if (i > 0 && below(life, 2)) {
            def->has_value[DIM_RUN_ID] = true;
            snprintf(def->value[DIM_RUN_ID], sizeof(def->value[DIM_RUN_ID]), "%s",
                     below(life, 2) ? "*" : "run-1");
        }
    }
}

/* ---- what callers are told ---- */

static void
on_answer(void *ctx, const struct meter_answer *answer)
{
    struct call *call = ctx;
    struct life *life = call->life;
    struct caller *caller = &life->callers[call->slot];
    struct booked *booked = find_booked(life, slice_of(call->event_id));

    if (call->answered) {
        fail(life, "an op was answered twice");
    }
    call->answered = true;
    if (answer->code == ERR_OK && answer->duplicates > 0 && booked && !call->is_commit &&
        !is_durable(life, call->event_id)) {
        fail(life, "a duplicate of an entry that is not in the log");
    }
    if (answer->code == ERR_OK && booked && (call->is_commit || answer->stored > 0)) {
        booked->acked = true;
    }
    if (answer->code == ERR_UNAVAILABLE && booked && !is_durable(life, call->event_id)) {
        booked->decided = false;
    }
    call->code = answer->code;
    if (!call->is_commit && !booked && caller->state == CALLER_ASKED) {
        caller->state = answer->code == ERR_OK ? CALLER_HOLDS : CALLER_FREE;
        caller->acked_reserve = answer->code == ERR_OK;
    } else if (call->is_commit && answer->code == ERR_OK) {
        caller->state = CALLER_COMMITTED;
    }
}

static struct call *
new_call(struct life *life, size_t slot)
{
    struct call *call = &life->calls[life->call_count++];

    *call = (struct call){.life = life, .slot = slot};
    return call;
}

static int64_t
note_time(struct life *life)
{
    if (life->clock.wall_now_us > life->high_water_us) {
        life->high_water_us = life->clock.wall_now_us;
    }
    return life->high_water_us;
}

static void
note_booked(struct life *life, const char *id)
{
    struct booked *booked = &life->booked[life->booked_count++];

    *booked = (struct booked){.decided = false};
    snprintf(booked->id, sizeof(booked->id), "%s", id);
}

/* An entry counts at the time of the decision that gets through. */
static bool
decide(struct life *life, struct booked *booked)
{
    int64_t window_us = note_time(life);

    if (booked->decided) {
        return false;
    }
    booked->window_us = window_us;
    booked->decided = true;
    return true;
}

static void
decided(struct booked *booked, bool first, const struct call *call)
{
    if (first && call->answered && call->code != ERR_OK) {
        booked->decided = false;
    }
}

/* ---- steps ---- */

static const char *
run_of(unsigned number)
{
    static const char *const runs[] = {"run-0", "run-1", "run-2", ""};

    return runs[number % 4];
}

static void
step_reserve(struct life *life)
{
    size_t slot = below(life, CALLERS);
    struct caller *caller = &life->callers[slot];
    bool again = caller->state == CALLER_HOLDS && below(life, 4) == 0;

    if (caller->state == CALLER_ASKED || (caller->state == CALLER_HOLDS && !again)) {
        return;
    }
    if (!again) {
        *caller = (struct caller){.state = CALLER_ASKED,
                                  .credits = (int64_t)below(life, 80) * DECIMAL_ONE,
                                  .runs_as = (unsigned)below(life, 4),
                                  .ttl_us = TTL_MS * TIME_US_PER_MS};
        caller->deadline_us = life->clock.mono_now_us + caller->ttl_us;
        snprintf(caller->id, sizeof(caller->id), "r%" PRIu64, ++life->names);
    }
    if (again) { /* One that was forgotten since may be made anew. */
        caller->deadline_us = life->clock.mono_now_us + caller->ttl_us;
    }
    struct meter_reserve request = {
        .call = {.api_name = SLICE_LITERAL("api"), .run_id = slice_of(run_of(caller->runs_as))},
        .reservation_id = slice_of(caller->id),
        .has_credits = true,
        .max_credits = caller->credits,
        .ttl_ms = TTL_MS};
    note_time(life);
    meter_reserve(life->meter, &request, on_answer, new_call(life, slot));
}

static void
step_commit(struct life *life)
{
    size_t slot = below(life, CALLERS);
    struct caller *caller = &life->callers[slot];
    bool again = caller->state == CALLER_COMMITTED || caller->state == CALLER_LOST;

    if (caller->state == CALLER_FREE || caller->id[0] == '\0') {
        return;
    }
    struct call *call = new_call(life, slot);
    call->is_commit = true;
    snprintf(call->event_id, sizeof(call->event_id), "e-%s", caller->id);
    if (!again) {
        caller->commit_credits = (int64_t)below(life, (uint64_t)caller->credits + 1);
    }
    if (!find_booked(life, slice_of(call->event_id))) {
        note_booked(life, call->event_id);
    }
    struct booked *booked = find_booked(life, slice_of(call->event_id));
    bool ok = below(life, 4) != 0;
    struct meter_commit request = {.reservation_id = slice_of(caller->id),
                                   .has_status = true,
                                   .status_code = ok ? 200 : 500,
                                   .has_credits = true,
                                   .credits = caller->commit_credits,
                                   .event_id = slice_of(call->event_id)};
    bool first = decide(life, booked);
    meter_commit(life->meter, &request, on_answer, call);
    decided(booked, first, call);
}

static void
step_release(struct life *life)
{
    size_t slot = below(life, CALLERS);

    if (life->callers[slot].state == CALLER_HOLDS) {
        note_time(life);
        meter_release(life->meter, slice_of(life->callers[slot].id), NULL, NULL);
        life->callers[slot].state = CALLER_LOST;
    }
}

static void
step_extend(struct life *life)
{
    size_t slot = below(life, CALLERS);
    struct caller *caller = &life->callers[slot];

    if (caller->state == CALLER_HOLDS) {
        note_time(life);
        caller->deadline_us = life->clock.mono_now_us + caller->ttl_us;
        meter_extend(life->meter, slice_of(caller->id), TTL_MS,
                     (int64_t)below(life, 20) * DECIMAL_ONE, NULL, NULL);
    }
}

static void
step_append(struct life *life)
{
    struct call *call = new_call(life, 0);
    char run[16];

    if (life->strict) {
        call->answered = true;
        return;
    }
    bool again = life->names > 3 && below(life, 3) == 0;
    snprintf(call->event_id, sizeof(call->event_id), "a%" PRIu64,
             again ? 1 + below(life, life->names) : ++life->names);
    bool known = find_booked(life, slice_of(call->event_id)) != NULL;
    if (again && !known) {
        call->answered = true;
        return;
    }
    if (!known) {
        note_booked(life, call->event_id);
    }
    int64_t number = (int64_t)strtoull(call->event_id + 1, NULL, 10);
    snprintf(run, sizeof(run), "%s", run_of((unsigned)call->event_id[strlen(call->event_id) - 1]));
    struct event event = {.id = slice_of(call->event_id),
                          .api_name = SLICE_LITERAL("api"),
                          .run_id = slice_of(run),
                          .has_status = true,
                          .status_code = 200,
                          .success = true,
                          .credits = number % 40 * DECIMAL_ONE,
                          .timestamp_is_ours = true};
    struct meter_append request = {
        .events = &event, .count = 1, .may_block = true, .enforce = below(life, 2)};
    struct booked *booked = find_booked(life, slice_of(call->event_id));
    bool first = decide(life, booked);
    meter_append(life->meter, &request, on_answer, call);
    decided(booked, first, call);
}

static void
open_meter(struct life *life)
{
    struct err err;

    life->high_water_us = INT64_MIN;
    life->jumped = false;
    note_time(life);
    if (meter_open(&life->options, &life->meter, &err) != ERR_OK) {
        fail(life, err.msg);
    }
}

/* Leases go on by the wall clock, at most their whole length. */
static void
carry_leases(struct life *life)
{
    const struct batch *rows = &life->log.rows[TABLE_RESERVATION_CHANGES];

    for (size_t i = 0; i < CALLERS; i++) {
        struct caller *caller = &life->callers[i];
        for (size_t r = rows->rows; caller->id[0] && r > 0; r--) {
            if (slice_is(text_of(rows, "reservation_id", r - 1), caller->id)) {
                int64_t left_us =
                    batch_get_i64(rows, CHANGE_EXPIRES, r - 1) - life->clock.wall_now_us;
                left_us = left_us < 0 ? 0 : left_us > caller->ttl_us ? caller->ttl_us : left_us;
                caller->deadline_us = life->clock.mono_now_us + left_us;
                break;
            }
        }
    }
}

/* The power goes: whoever waited will never be told. */
static void
step_crash(struct life *life)
{
    fake_log_crash(&life->log, below(life, 2));
    check_records(life);
    meter_abandon(life->meter);
    for (size_t i = 0; i < life->call_count; i++) {
        life->calls[i].answered = true;
    }
    for (size_t i = 0; i < CALLERS; i++) {
        if (life->callers[i].state == CALLER_ASKED) {
            life->callers[i].state = CALLER_LOST;
        }
    }
    clock_manual_advance(&life->clock, (int64_t)below(life, 90) * TIME_US_PER_S);
    if (below(life, 4) == 0) {
        life->clock.wall_now_us -= (int64_t)below(life, 3600) * TIME_US_PER_S;
    }
    life->clock.mono_now_us = (int64_t)below(life, 1000);
    for (size_t i = 0; i < life->booked_count; i++) {
        life->booked[i].decided = false;
    }
    /* In a start, entries stand at the times that the log says. */
    const struct batch *rows = &life->log.rows[TABLE_EVENTS];
    for (size_t i = 0; i < rows->rows; i++) {
        struct booked *booked = find_booked(life, text_of(rows, "id", i));
        booked->window_us = number_of(rows, "timestamp", i);
        booked->decided = true;
    }
    carry_leases(life);
    open_meter(life);
}

static void
settle(struct life *life)
{
    for (int i = 0; i < 100 && life->log.held; i++) {
        fake_log_end(&life->log, ERR_OK);
        check_records(life);
    }
    meter_tick(life->meter);
    for (int i = 0; i < 100 && life->log.held; i++) {
        fake_log_end(&life->log, ERR_OK);
        check_records(life);
    }
}

static void
step_time(struct life *life)
{
    static const int64_t spans_s[] = {0, 1, 7, 31, 61, 600, 3700};

    clock_manual_advance(&life->clock, spans_s[below(life, 7)] * TIME_US_PER_S);
    if (below(life, 8) == 0) {
        life->jumped = true;
        life->clock.wall_now_us += ((int64_t)below(life, 7200) - 3600) * TIME_US_PER_S;
    }
    note_time(life);
    meter_tick(life->meter);
}

static void
step_log(struct life *life)
{
    fake_log_end(&life->log, below(life, 10) == 0 ? ERR_IO : ERR_OK);
    check_records(life);
}

static void
check_leases(struct life *life)
{
    struct meter_open_reservation open[CALLERS * 8];

    settle(life);
    clock_manual_advance(&life->clock, RETRY_US);
    note_time(life);
    settle(life);
    size_t count = meter_reservations(life->meter, open, CALLERS * 8);
    for (size_t i = 0; i < count; i++) {
        for (size_t c = 0; c < CALLERS; c++) {
            if (strcmp(open[i].id, life->callers[c].id) == 0 &&
                life->callers[c].deadline_us < life->clock.mono_now_us - RETRY_US) {
                dump(life);
                fprintf(stderr, "%s: lease to %" PRId64 ", now %" PRId64 "\n", open[i].id,
                        life->callers[c].deadline_us, life->clock.mono_now_us);
                fail(life, "a reservation outlives its lease");
            }
        }
    }
}

static void
step(struct life *life)
{
    uint64_t die = below(life, 100);

    if (die < 25) {
        step_reserve(life);
    } else if (die < 45) {
        step_commit(life);
    } else if (die < 50) {
        step_release(life);
    } else if (die < 53) {
        step_extend(life);
    } else if (die < 58) {
        step_append(life);
    } else if (die < 68) {
        step_time(life);
    } else if (die < 96) {
        step_log(life);
    } else if (die < 98) {
        check_leases(life);
    } else {
        step_crash(life);
    }
    check_records(life);
}

/* ---- the end of a life ---- */

static void
check_answers(struct life *life)
{
    const struct batch *rows = &life->log.rows[TABLE_EVENTS];

    for (size_t i = 0; i < life->booked_count; i++) {
        size_t found = 0;
        for (size_t r = 0; r < rows->rows; r++) {
            found += slice_is(text_of(rows, "id", r), life->booked[i].id);
        }
        if (found > 1) {
            fail(life, "an entry stands in the log twice");
        }
        if (life->booked[i].acked && found != 1) {
            fail(life, "an acknowledged entry is not in the log");
        }
    }
    for (size_t i = 0; i < life->call_count; i++) {
        if (!life->calls[i].answered) {
            fail(life, "an op was never answered");
        }
    }
}

static void
check_chain(struct life *life)
{
    struct chain_verify_options options = {.threads = 1};
    struct chain_verifier *verifier = chain_verifier_new(&options);
    struct chain_verdict verdict;
    struct chain_head head;
    struct err err;

    chain_verifier_push(verifier, &life->log.rows[TABLE_EVENTS], &err);
    chain_verifier_end(verifier, &verdict);
    chain_verifier_free(verifier);
    meter_head(life->meter, &head);
    if (!verdict.ok || head.seq != verdict.head.seq ||
        (head.seq > 0 && memcmp(head.hash, verdict.head.hash, sizeof(head.hash)) != 0)) {
        fail(life, "the chain does not hold");
    }
}

struct sums {
    int64_t used, reserved;
    size_t not_closed;
};

static void
add_up(void *ctx, const struct budget_view *view, const struct budget_forecast *forecast)
{
    struct sums *sums = ctx;

    (void)forecast;
    /* Counters of single runs that count nothing may be there or not. */
    sums->used += view->used;
    sums->reserved += view->reserved;
    sums->not_closed += view->state != BREAKER_CLOSED;
}

/* A start in good order changes nothing. (Where no clock jumped: that, a start forgets.) */
static void
check_start(struct life *life)
{
    struct sums before = {0};
    struct sums after = {0};
    settle(life);
    clock_manual_advance(&life->clock, RETRY_US); /* a failed record delays the end of leases */
    note_time(life);
    settle(life);
    bool straight = !life->jumped;
    meter_each_budget(life->meter, add_up, &before);
    settle(life);
    meter_close(life->meter);
    open_meter(life);
    meter_each_budget(life->meter, add_up, &after);
    settle(life);
    if (straight && before.not_closed != after.not_closed) {
        fprintf(stderr, "%zu breakers not closed -> %zu\n", before.not_closed, after.not_closed);
        dump(life);
        fail(life, "a start changed a breaker");
    }
    if (straight && life->strict &&
        (before.reserved != after.reserved || before.used != after.used)) {
        fprintf(stderr, "used %" PRId64 " -> %" PRId64 ", reserved %" PRId64 " -> %" PRId64 "\n",
                before.used, after.used, before.reserved, after.reserved);
        dump(life);
        fail(life, "a start changed what is spent");
    }
}

static void
play(uint64_t seed)
{
    struct life *life = mem_zalloc(1, sizeof(*life));

    life->seed = seed;
    rng_init(&life->rng, seed);
    clock_manual_init(&life->clock, START_US + (int64_t)below(life, 86400) * TIME_US_PER_S);
    fake_log_init(&life->log);
    life->log.mode = FAKE_LOG_HELD;
    life->strict = seed % 4 != 0;
    make_budgets(life);
    life->options = (struct meter_options){.clock = &life->clock.clock,
                                           .manual = true,
                                           .ids_recent_max = 4096,
                                           .budgets = {.window_entries_max = 4096}};
    fake_log_io(&life->log, &life->options.io);
    open_meter(life);
    life->log.mode = FAKE_LOG_INSTANT;
    for (size_t i = 0; i < life->def_count; i++) {
        meter_set_budget(life->meter, &life->defs[i], NULL, NULL);
    }
    life->log.mode = FAKE_LOG_HELD;
    for (int i = 0; i < STEPS; i++) {
        step(life);
    }
    settle(life);
    check_start(life);
    check_answers(life);
    check_chain(life);
    meter_close(life->meter);
    fake_log_fini(&life->log);
    free(life);
}

static uint64_t
setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name); /* NOLINT(concurrency-mt-unsafe): one thread */

    return text ? strtoull(text, NULL, 10) : otherwise;
}

int
main(void)
{
    uint64_t seeds = setting("EIDER_SIM_SEEDS", 10000);
    uint64_t first = setting("EIDER_SIM_FIRST", 1);

    for (uint64_t seed = first; seed < first + seeds; seed++) {
        play(seed);
    }
    printf("%" PRIu64 " lives, limits held in all\n", seeds);
    return 0;
}
