/* The thread: its life, its rounds, what it is asked, its status. */
#include "store/maintain.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "codec/time.h"
#include "store/maintain_private.h"

enum {
    AFTER_HOURS = 48,
    MERGE_FILES = 4,
    MERGE_PERCENT = 10,
    INTERVAL_MS = 60000,
    BACKOFF_FIRST_MS = 60000,
    BACKOFF_MAX_MS = 3600000,
    INTERRUPT_MS = 50,
    TURN_MS = 2000,
    US_PER_MS = 1000
};

const char *
maintain_state_name(enum maintain_state state)
{
    static const char *const names[] = {
        [MAINTAIN_OFF] = "off",
        [MAINTAIN_IDLE] = "idle",
        [MAINTAIN_SEALING] = "sealing",
        [MAINTAIN_MERGING] = "merging",
        [MAINTAIN_RETAINING] = "retaining",
        [MAINTAIN_COLLECTING] = "collecting",
        [MAINTAIN_WAITING] = "waiting",
    };

    return names[state];
}

void
maintain_set_state(struct maintain *maintain, enum maintain_state state, enum table_id table,
                   int32_t day)
{
    pthread_mutex_lock(&maintain->lock);
    maintain->status.state = state;
    maintain->status.table = table;
    maintain->status.day = day;
    pthread_mutex_unlock(&maintain->lock);
}

void
maintain_set_steps(struct maintain *maintain, uint64_t done, uint64_t all)
{
    pthread_mutex_lock(&maintain->lock);
    maintain->status.steps_done = done;
    maintain->status.steps_all = all;
    pthread_mutex_unlock(&maintain->lock);
}

/* ---- turns ---- */

enum err_code
maintain_turn_take(struct maintain *maintain, const char *what, int timeout_ms, struct err *err)
{
    struct engine *engine = maintain->engine;
    int64_t held_us = clock_mono_us(engine->clock) - maintain->turn.begun_us;

    if (maintain->has_turn && (held_us < (int64_t)TURN_MS * US_PER_MS ||
                               !engine_turn_is_wanted(engine, &maintain->turn))) {
        return ERR_OK;
    }
    maintain_turn_give(maintain);
    maintain->turn = (struct engine_turn){.what = what, .stopping = &maintain->stopping};
    enum err_code code = engine_turn_begin(engine, &maintain->turn, timeout_ms, err);
    maintain->has_turn = code == ERR_OK;
    return code;
}

void
maintain_turn_give(struct maintain *maintain)
{
    if (maintain->has_turn) {
        engine_turn_end(maintain->engine, &maintain->turn);
        maintain->has_turn = false;
    }
}

/* ---- rounds ---- */

/* What is to be done in one round. */
struct work {
    struct maintain_seal seal;
    uint64_t seal_ticket; /* 0: not asked */
    uint64_t retention_ticket;
    bool seals;
    bool late;
    bool retains;
};

static void
finish_ticket(struct maintain *maintain, uint64_t ticket, enum err_code code, const struct err *err)
{
    pthread_mutex_lock(&maintain->lock);
    if (ticket > maintain->status.done) {
        maintain->status.done = ticket;
        maintain->status.outcome = code == ERR_OK ? (struct err){0} : *err;
    }
    pthread_cond_broadcast(&maintain->changed);
    pthread_mutex_unlock(&maintain->lock);
}

/* A rebuild may have brought back an older list: everything that was known of it is void. */
static void
look_for_rebuild(struct maintain *maintain)
{
    struct engine *engine = maintain->engine;

    pthread_mutex_lock(&engine->lock);
    uint64_t rebuilds = engine->rebuilds;
    pthread_mutex_unlock(&engine->lock);
    if (rebuilds != maintain->rebuilds) {
        maintain->rebuilds = rebuilds;
        maintain->settled = false;
        maintain->manifest_hash = 0;
        maintain->orphan_count = 0;
    }
}

static enum err_code
settle(struct maintain *maintain, struct err *err)
{
    if (maintain->settled) {
        return ERR_OK;
    }
    enum err_code code = maintain_finish_drops(maintain, err);
    code = code ? code : maintain_receipt_recover(maintain, err);
    maintain->settled = code == ERR_OK;
    return code;
}

/* Keeps the first error of several steps, which are all tried. */
static void
keep_first(enum err_code code, const struct err *err, enum err_code *first, struct err *first_err)
{
    if (code != ERR_OK && *first == ERR_OK) {
        *first = code;
        *first_err = *err;
    }
}

static enum err_code
run_work(struct maintain *maintain, const struct work *work, struct err *err)
{
    struct err step = {0};
    enum err_code first = ERR_OK;
    enum err_code code = settle(maintain, &step);

    keep_first(code, &step, &first, err);
    if (work->seals || work->seal_ticket) {
        maintain_set_state(maintain, MAINTAIN_SEALING, 0, 0);
        code = maintain_seal_days(maintain, &work->seal, work->late || work->seal_ticket, &step);
        keep_first(code, &step, &first, err);
        if (!code) {
            maintain_set_state(maintain, MAINTAIN_MERGING, 0, 0);
            code = maintain_merge_days(maintain, &step);
            keep_first(code, &step, &first, err);
        }
    }
    if (work->seal_ticket) {
        maintain_turn_give(maintain); /* whoever waits for the ticket may want it */
        finish_ticket(maintain, work->seal_ticket, code, &step);
    }
    if (work->retains || work->retention_ticket) {
        maintain_set_state(maintain, MAINTAIN_RETAINING, 0, 0);
        code = maintain->settled ? maintain_retain(maintain, &step) : first;
        keep_first(code, &step, &first, err);
        if (work->retention_ticket) {
            finish_ticket(maintain, work->retention_ticket, code, code == first ? err : &step);
        }
    }
    maintain_turn_give(maintain);
    maintain_set_state(maintain, MAINTAIN_COLLECTING, 0, 0);
    code = maintain_forget(maintain, &step);
    keep_first(code, &step, &first, err);
    if (maintain->rows_only) {
        return first;
    }
    /* First the manifest, lest it names what is removed; a full disk must not keep it from that. */
    code = maintain_manifest(maintain, &step);
    keep_first(code, &step, &first, err);
    code = maintain_collect(maintain, &step);
    keep_first(code, &step, &first, err);
    return first;
}

static bool
is_timed(const struct maintain *maintain, int64_t now_us)
{
    return !maintain->options.watch_off && now_us >= maintain->next_us;
}

/* Waits until there is something to do; false when the thread is to end. */
static bool
wait_for_work(struct maintain *maintain, struct work *ret_work)
{
    const struct clock *clock = maintain->engine->clock;
    struct work work = {.seals = false};

    pthread_mutex_lock(&maintain->lock);
    while (!atomic_load(&maintain->stopping) && !maintain->seal_asked &&
           !maintain->retention_asked && !is_timed(maintain, clock_mono_us(clock)) &&
           maintain->begun) {
        int64_t left_us = maintain->next_us - clock_mono_us(clock);
        bool far = maintain->options.watch_off || left_us > (int64_t)INTERVAL_MS * US_PER_MS;
        struct timespec until = engine_deadline(far ? INTERVAL_MS : (int)(left_us / US_PER_MS) + 1);
        pthread_cond_timedwait(&maintain->changed, &maintain->lock, &until);
    }
    work.seal = maintain->seal;
    work.seal_ticket = maintain->seal_asked ? maintain->seal_ticket : 0;
    work.retention_ticket = maintain->retention_asked ? maintain->retention_ticket : 0;
    maintain->seal_asked = false;
    maintain->retention_asked = false;
    int64_t due_us = maintain->status.retention_next_us;
    pthread_mutex_unlock(&maintain->lock);
    if (is_timed(maintain, clock_mono_us(clock))) {
        work.seals = maintain->options.seal;
        work.late = clock_mono_us(clock) >= maintain->late_us;
        work.retains = due_us > 0 && clock_wall_us(clock) >= due_us;
    }
    if (!work.seal_ticket) {
        work.seal = (struct maintain_seal){.before_us = 0};
    }
    *ret_work = work;
    return !atomic_load(&maintain->stopping);
}

static void
end_round(struct maintain *maintain, const struct work *work, enum err_code code,
          const struct err *err)
{
    int64_t now_us = clock_mono_us(maintain->engine->clock);
    int wait_ms = maintain->options.interval_ms;

    if (code == ERR_OK) {
        maintain->failures_in_row = 0;
        maintain->late_us =
            work->late ? now_us + MAINTAIN_LATE_S * TIME_US_PER_S : maintain->late_us;
    } else {
        int doublings = maintain->failures_in_row < 6 ? maintain->failures_in_row : 6;
        int64_t backoff_ms = (int64_t)BACKOFF_FIRST_MS << doublings;
        wait_ms = (int)(backoff_ms < BACKOFF_MAX_MS ? backoff_ms : BACKOFF_MAX_MS);
        maintain->failures_in_row++;
        if (!atomic_load(&maintain->stopping) && !atomic_load(&maintain->engine->reads_stopped)) {
            engine_event(maintain->engine, true, "maintenance of the store failed: %s", err->msg);
        }
    }
    maintain->next_us = now_us + (int64_t)wait_ms * US_PER_MS;
    pthread_mutex_lock(&maintain->lock);
    maintain->status.state = code == ERR_OK ? MAINTAIN_IDLE : MAINTAIN_WAITING;
    maintain->status.table = 0;
    maintain->status.steps_done = 0;
    maintain->status.steps_all = 0;
    maintain->status.rounds++;
    maintain->status.failures += code != ERR_OK;
    maintain->status.problem = code == ERR_OK ? (struct err){0} : *err;
    pthread_cond_broadcast(&maintain->changed);
    pthread_mutex_unlock(&maintain->lock);
}

static void *
maintain_main(void *arg)
{
    struct maintain *maintain = arg;
    struct work work;
    struct err err = {0};

    maintain_note_orphans(maintain);
    while (wait_for_work(maintain, &work)) {
        look_for_rebuild(maintain);
        atomic_fetch_add(&maintain->engine->hurried, 1);
        enum err_code code = run_work(maintain, &work, &err);
        atomic_fetch_sub(&maintain->engine->hurried, 1);
        end_round(maintain, &work, code, &err);
        maintain->begun = true;
    }
    pthread_mutex_lock(&maintain->lock);
    maintain->ended = true;
    maintain->status.done = maintain->status.asked;
    err_set(&maintain->status.outcome, ERR_UNAVAILABLE, "the store is closing");
    pthread_cond_broadcast(&maintain->changed);
    pthread_mutex_unlock(&maintain->lock);
    return NULL;
}

/* ---- life ---- */

static struct maintain *
new_maintain(struct engine *engine)
{
    const struct maintain_options *given = &engine->options.maintain;
    struct maintain *maintain = mem_zalloc(1, sizeof(*maintain));
    struct maintain_options *o = &maintain->options;
    struct buf path;
    size_t len;

    *o = *given;
    o->after_us = o->after_us ? o->after_us : (int64_t)AFTER_HOURS * 3600 * TIME_US_PER_S;
    o->merge_files = o->merge_files ? o->merge_files : MERGE_FILES;
    o->merge_percent = o->merge_percent ? o->merge_percent : MERGE_PERCENT;
    o->interval_ms = o->interval_ms ? o->interval_ms : INTERVAL_MS;
    o->rules = NULL;
    o->rule_count = 0;
    buf_init(&path, 0);
    buf_add_fmt(&path, "%s/cold", engine->data_dir);
    buf_add_char(&path, '\0');
    maintain->cold_dir = buf_take(&path, &len);
    maintain->engine = engine;
    cold_names_init(&maintain->first_listed);
    return maintain;
}

static enum err_code
read_rules(struct maintain *maintain, const struct maintain_options *given, struct err *err)
{
    maintain->rules = mem_zalloc(given->rule_count + 1, sizeof(*maintain->rules));
    for (size_t i = 0; i < given->rule_count; i++) {
        enum err_code code =
            retention_rule_parse(slice_of(given->rules[i]), &maintain->rules[i], err);
        if (code != ERR_OK) {
            return err_context(err, code, "rule %zu of retention", i + 1);
        }
        if (maintain->rows_only && maintain->rules[i].kind != COLD_KIND_COUNT) {
            return err_set(
                err, ERR_INVALID,
                "rule %zu of retention, \"%s\", is for rollups, which this store does not "
                "make; expected one without rollup=",
                i + 1, maintain->rules[i].text);
        }
        maintain->rule_count++;
    }
    return ERR_OK;
}

static void
free_maintain(struct maintain *maintain)
{
    pthread_cond_destroy(&maintain->changed);
    pthread_mutex_destroy(&maintain->lock);
    free(maintain->rules);
    free(maintain->orphans);
    cold_names_fini(&maintain->first_listed);
    free(maintain->cold_dir);
    free(maintain);
}

/* Before anybody reads: what is delisted from now on may have readers. */
static void
list_first(struct maintain *maintain)
{
    struct cold_file *files MEM_AUTO = NULL;
    struct err ignored; /* the store is being rebuilt: then all files wait */
    size_t count = 0;

    maintain->first_known = engine_cold_list(maintain->engine, &files, &count, &ignored) == ERR_OK;
    for (size_t i = 0; i < count; i++) {
        char relative[COLD_RELATIVE_MAX];
        cold_relative(&files[i], relative);
        cold_names_add(&maintain->first_listed, relative);
    }
    cold_names_sort(&maintain->first_listed);
}

enum err_code
maintain_start(struct engine *engine, struct err *err)
{
    pthread_condattr_t cond;

    bool rows_only = engine->options.store_remote; /* it may not be there yet to be asked */
    if (!engine->options.maintain.enabled || (!rows_only && !store_has_cold(engine->store))) {
        return ERR_OK;
    }
    struct maintain *maintain = new_maintain(engine);
    maintain->rows_only = rows_only;
    pthread_mutex_init(&maintain->lock, NULL);
    pthread_condattr_init(&cond);
    pthread_condattr_setclock(&cond, CLOCK_MONOTONIC);
    pthread_cond_init(&maintain->changed, &cond);
    pthread_condattr_destroy(&cond);
    enum err_code code = read_rules(maintain, &engine->options.maintain, err);
    code = code ? code : cold_open(maintain->cold_dir, err);
    engine->options.maintain.rules = NULL;
    engine->options.maintain.rule_count = 0;
    if (code == ERR_OK) {
        int64_t now_us = clock_wall_us(engine->clock);
        list_first(maintain);
        maintain->status.state = MAINTAIN_IDLE;
        maintain->status.retention_us = maintain_retained_us(maintain->cold_dir);
        maintain->status.retention_next_us =
            maintain_retention_due(maintain, maintain->status.retention_us, now_us);
        engine->maintain = maintain; /* the thread looks there */
        if (pthread_create(&maintain->thread, NULL, maintain_main, maintain) != 0) {
            code = err_set(err, ERR_INTERNAL, "the maintenance thread cannot be started");
        }
    }
    if (code != ERR_OK) {
        engine->maintain = NULL;
        free_maintain(maintain);
    }
    return code;
}

static bool
has_ended(struct maintain *maintain, int timeout_ms)
{
    struct timespec until = engine_deadline(timeout_ms);
    int result = 0;

    pthread_mutex_lock(&maintain->lock);
    pthread_cond_broadcast(&maintain->changed);
    while (!maintain->ended && result == 0) {
        result = pthread_cond_timedwait(&maintain->changed, &maintain->lock, &until);
    }
    bool ended = maintain->ended;
    pthread_mutex_unlock(&maintain->lock);
    return ended;
}

void
maintain_stop(struct engine *engine)
{
    struct maintain *maintain = engine->maintain;

    if (!maintain) {
        return;
    }
    atomic_store(&maintain->stopping, true);
    /* A statement may begin behind the first interrupt. */
    while (!has_ended(maintain, INTERRUPT_MS)) {
        if (pthread_rwlock_tryrdlock(&engine->store_lock) == 0) {
            if (engine->store) {
                store_interrupt(engine->store);
            }
            pthread_rwlock_unlock(&engine->store_lock);
        }
    }
    pthread_join(maintain->thread, NULL);
    engine->maintain = NULL;
    free_maintain(maintain);
}

/* ---- asking ---- */

static enum err_code
refuse_off(const struct engine *engine, struct err *err)
{
    if (engine->options.maintain.enabled) {
        return err_set(err, ERR_UNSUPPORTED,
                       "this store has no cold files: there is nothing to seal");
    }
    return err_set(err, ERR_UNSUPPORTED, "the maintenance of cold data is off");
}

enum err_code
engine_ask_seal(struct engine *engine, const struct maintain_seal *seal, uint64_t *ret_ticket,
                struct err *err)
{
    struct maintain *maintain = engine->maintain;

    if (!maintain || maintain->rows_only) {
        return refuse_off(engine, err);
    }
    pthread_mutex_lock(&maintain->lock);
    bool busy = maintain->seal_asked;
    if (!busy) {
        maintain->seal_asked = true;
        maintain->seal = *seal;
        maintain->seal_ticket = ++maintain->status.asked;
        *ret_ticket = maintain->seal_ticket;
        pthread_cond_broadcast(&maintain->changed);
    }
    pthread_mutex_unlock(&maintain->lock);
    return busy ? err_set(err, ERR_BUSY, "another request to seal has not begun yet") : ERR_OK;
}

enum err_code
engine_ask_retention(struct engine *engine, uint64_t *ret_ticket, struct err *err)
{
    struct maintain *maintain = engine->maintain;

    if (!maintain) {
        return refuse_off(engine, err);
    }
    pthread_mutex_lock(&maintain->lock);
    bool busy = maintain->retention_asked;
    if (!busy) {
        maintain->retention_asked = true;
        maintain->retention_ticket = ++maintain->status.asked;
        *ret_ticket = maintain->retention_ticket;
        pthread_cond_broadcast(&maintain->changed);
    }
    pthread_mutex_unlock(&maintain->lock);
    return busy ? err_set(err, ERR_BUSY, "another request for retention has not begun yet")
                : ERR_OK;
}

enum err_code
engine_maintain_wait(struct engine *engine, uint64_t ticket, int timeout_ms, struct err *err)
{
    struct maintain *maintain = engine->maintain;
    struct timespec until = engine_deadline(timeout_ms);
    int result = 0;

    if (!maintain) {
        return refuse_off(engine, err);
    }
    pthread_mutex_lock(&maintain->lock);
    while (maintain->status.done < ticket && result == 0) {
        result = pthread_cond_timedwait(&maintain->changed, &maintain->lock, &until);
    }
    bool done = maintain->status.done >= ticket;
    struct err outcome = maintain->status.outcome;
    pthread_mutex_unlock(&maintain->lock);
    if (!done) {
        return err_set(err, ERR_TIMEOUT, "not done within %d ms; it goes on", timeout_ms);
    }
    if (outcome.code != ERR_OK) {
        *err = outcome;
    }
    return outcome.code;
}

void
engine_maintain_status(struct engine *engine, struct maintain_status *ret_status)
{
    struct maintain *maintain = engine->maintain;

    if (!maintain) {
        *ret_status = (struct maintain_status){.state = MAINTAIN_OFF};
        return;
    }
    pthread_mutex_lock(&maintain->lock);
    *ret_status = maintain->status;
    pthread_mutex_unlock(&maintain->lock);
}

void
engine_cold_hold(struct engine *engine)
{
    atomic_fetch_add(&engine->cold_held, 1);
}

void
engine_cold_release(struct engine *engine)
{
    atomic_fetch_sub(&engine->cold_held, 1);
}

struct listing {
    struct cold_file *files;
    size_t count;
};

static enum err_code
list_files(void *ctx, struct store *store, struct err *err)
{
    struct listing *listing = ctx;

    return store_cold_list(store, &listing->files, &listing->count, err);
}

enum err_code
engine_cold_list(struct engine *engine, struct cold_file **ret_files, size_t *ret_count,
                 struct err *err)
{
    struct listing listing = {NULL, 0};
    enum err_code code = engine_with_store(engine, list_files, &listing, err);

    if (code == ERR_OK) {
        *ret_files = listing.files;
        *ret_count = listing.count;
        if (listing.count > 1) {
            qsort(listing.files, listing.count, sizeof(*listing.files), cold_file_compare);
        }
    }
    return code;
}
