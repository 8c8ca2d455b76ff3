/*
 * The applier: the one thread that changes the store. It reads durable records in order, gathers
 * whatever waits into a group, applies it in one transaction, tells the waiters; what it does
 * between groups is in applier_care.c.
 *
 *            apply ok                     NO_SPACE, IO, ...: wait, try the same group again
 *   RUNNING <---------- group ----------> STALLED
 *      ^                  \ CORRUPT, INTERNAL
 *      |                   v
 *      +------------- REBUILDING: first time open the file again, second time set it aside and
 *                     restore; third time for the same group apply its records one by one and set
 *                     the one aside that the store cannot take (a few of them; if there are more,
 *                     it is not the records, and the applier stalls rather than lose any)
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/engine_private.h"

enum {
    IDLE_MS = 200,
    HURRIED_MS = 5,  /* while somebody has one thing after the other for it between groups */
    SPACING_MS = 50, /* between the beginnings of two groups, while nobody waits */
    RETRY_FIRST_MS = 100,
    RETRY_MAX_MS = 5000,
    US_PER_MS = 1000,
    SUSPECT_REOPEN = 1,
    SUSPECT_REBUILD = 2
};

/* Copies of the records of one group; batches borrow from the copies. */
struct group {
    struct batch *batches;
    uint64_t *lsns; /* of each batch's record */
    size_t batch_count;
    char **payloads;
    size_t payload_count;
    size_t payload_cap;
    uint64_t bytes;
    uint64_t first_lsn;
    uint64_t last_lsn;
    int64_t first_us;
};

static void
group_reset(struct group *group)
{
    for (size_t i = 0; i < group->batch_count; i++) {
        batch_fini(&group->batches[i]);
    }
    for (size_t i = 0; i < group->payload_count; i++) {
        free(group->payloads[i]);
    }
    group->batch_count = 0;
    group->payload_count = 0;
    group->bytes = 0;
    group->first_lsn = 0;
    group->last_lsn = 0;
}

static char *
keep_payload(struct group *group, struct slice payload)
{
    if (group->payload_count == group->payload_cap) {
        group->payload_cap = group->payload_cap ? group->payload_cap * 2 : 64;
        group->payloads = mem_resize(group->payloads, group->payload_cap, sizeof(*group->payloads));
    }
    char *copy = mem_alloc(payload.len);
    memcpy(copy, payload.ptr, payload.len);
    group->payloads[group->payload_count++] = copy;
    return copy;
}

/* Those who have waited for as long as they can. */
static void
dismiss_late(struct engine *engine)
{
    struct timespec now = engine_deadline(0);
    struct engine_waiter *late = NULL;

    pthread_mutex_lock(&engine->lock);
    struct engine_waiter **at = &engine->waiters;
    while (*at) {
        struct engine_waiter *waiter = *at;
        if (waiter->timeout_ms > 0 && engine_is_before(&waiter->until, &now)) {
            *at = waiter->next;
            waiter->next = late;
            late = waiter;
        } else {
            at = &waiter->next;
        }
    }
    pthread_mutex_unlock(&engine->lock);
    while (late) {
        struct engine_waiter *next = late->next;
        late->late = true;
        late->fn(late, false);
        late = next;
    }
}

bool
applier_pause(struct engine *engine, int ms)
{
    dismiss_late(engine);

    struct timespec until = engine_deadline(ms);
    pthread_mutex_lock(&engine->lock);
    int result = 0;
    while (!engine->closing && result == 0) {
        result = pthread_cond_timedwait(&engine->changed, &engine->lock, &until);
    }
    bool go_on = !engine->closing;
    pthread_mutex_unlock(&engine->lock);
    return go_on;
}

/* A record that cannot be decoded or applied is kept for whoever looks into it, and passed over. */
static enum err_code
set_aside(struct engine *engine, uint64_t lsn, struct slice payload, const struct err *why)
{
    char name[64];
    struct err err;

    snprintf(name, sizeof(name), "record-%" PRIu64 ".bin", lsn);
    enum err_code code = datadir_set_aside(engine->data_dir, name, payload, &err);
    if (code != ERR_OK) {
        engine_event(engine, true, "record %" PRIu64 " cannot be applied (%s) nor set aside (%s)",
                     lsn, why->msg, err.msg);
        return code;
    }
    engine_event(engine, true, "record %" PRIu64 " is set aside as quarantine/%s: %s", lsn, name,
                 why->msg);
    pthread_mutex_lock(&engine->lock);
    engine->records_set_aside++;
    pthread_mutex_unlock(&engine->lock);
    return ERR_OK;
}

/* Decodes the run of batches of one record; all or none of them join the group. */
static enum err_code
decode_record(struct group *group, uint64_t lsn, struct slice payload, struct err *err)
{
    size_t before = group->batch_count;
    size_t at = 0;

    while (at < payload.len) {
        size_t used;
        struct slice rest = slice_sub(payload, at, payload.len);
        enum err_code code = ERR_CORRUPT;
        if (group->batch_count < ENGINE_BATCHES_MAX) {
            code = batch_decode(rest, &group->batches[group->batch_count], &used, err);
        } else {
            err_set(err, ERR_CORRUPT, "more than %d batches", ENGINE_BATCHES_MAX);
        }
        if (code != ERR_OK) {
            while (group->batch_count > before) {
                batch_fini(&group->batches[--group->batch_count]);
            }
            return code;
        }
        group->lsns[group->batch_count++] = lsn;
        at += used;
    }
    return ERR_OK;
}

static bool
is_skipped(const struct engine *engine, uint64_t lsn)
{
    for (size_t i = 0; i < engine->skipped_count; i++) {
        if (engine->skipped[i] == lsn) {
            return true;
        }
    }
    return false;
}

/* False when the record is bad, cannot be set aside and the engine closes. */
static bool
add_record(struct engine *engine, struct group *group, const struct wal_record *record)
{
    struct err err;

    if (group->first_lsn == 0) {
        group->first_lsn = record->lsn;
        group->first_us = record->wall_us;
        pthread_mutex_lock(&engine->lock);
        engine->pending_since_us = record->wall_us;
        pthread_mutex_unlock(&engine->lock);
    }
    group->last_lsn = record->lsn;
    group->bytes += record->payload.len;
    if (is_skipped(engine, record->lsn)) {
        return true;
    }
    struct slice kept = {keep_payload(group, record->payload), record->payload.len};
    size_t before = group->batch_count;
    enum err_code code = ERR_OK;
    if (record->type != RECORD_BATCHES) {
        code = err_set(&err, ERR_CORRUPT, "its type %u is unknown", record->type);
    } else {
        code = decode_record(group, record->lsn, kept, &err);
    }
    while (code != ERR_OK && set_aside(engine, record->lsn, kept, &err) != ERR_OK) {
        engine_set_state(engine, ENGINE_STALLED, &err);
        if (!applier_pause(engine, RETRY_MAX_MS)) {
            return false; /* the next start finds it again */
        }
    }
    for (size_t i = before; i < group->batch_count; i++) {
        adopted_pass_over(engine, &group->batches[i], record->lsn);
    }
    return true;
}

/* Whether somebody wants the applier to go on at once. Under `lock`. */
static bool
is_awaited(const struct engine *engine)
{
    return engine->closing || engine->waiters || engine->waiting_threads > 0 ||
           engine->read_err.code != ERR_OK || engine->between ||
           engine->checkpoints_wanted != engine->checkpoints_done;
}

/*
 * Keeps groups apart under a stream of small records: a transaction costs the store a sync of its
 * own, which the log's syncs would wait behind, and ten rows cost it what a thousand do. The first
 * record after a pause is not held up.
 */
static void
space_groups(struct engine *engine)
{
    int64_t now_us = clock_mono_us(engine->clock);
    int64_t left_us = engine->group_begun_us + (int64_t)SPACING_MS * US_PER_MS - now_us;

    if (engine->group_begun_us > 0 && left_us > 0) {
        struct timespec until = engine_deadline((int)(left_us / US_PER_MS) + 1);
        int result = 0;
        pthread_mutex_lock(&engine->lock);
        while (!is_awaited(engine) && result == 0) {
            result = pthread_cond_timedwait(&engine->changed, &engine->lock, &until);
        }
        pthread_mutex_unlock(&engine->lock);
        now_us = clock_mono_us(engine->clock);
    }
    engine->group_begun_us = now_us;
}

/* Takes everything that waits, up to the bounds of a group. False when nothing came. */
static enum err_code
gather(struct engine *engine, struct group *group, struct err *err)
{
    struct wal_record record;
    int idle_ms = atomic_load(&engine->hurried) > 0 ? HURRIED_MS : IDLE_MS;
    enum err_code code = wal_cursor_next(engine->cursor, idle_ms, &record, err);

    while (code == ERR_OK) {
        bool is_first = group->first_lsn == 0;
        if (!add_record(engine, group, &record)) {
            return err_set(err, ERR_UNAVAILABLE, "the engine closes");
        }
        if (is_first) {
            space_groups(engine);
        }
        if (group->bytes >= engine->options.group_bytes_max ||
            group->batch_count + ENGINE_RECORD_BATCHES_MAX > ENGINE_BATCHES_MAX) {
            return ERR_OK;
        }
        code = wal_cursor_next(engine->cursor, 0, &record, err);
    }
    return group->first_lsn > 0 ? ERR_OK : code;
}

/* Cuts the waiters that `lsn` satisfies out of the list. */
static struct engine_waiter *
take_waiters(struct engine *engine, uint64_t lsn)
{
    struct engine_waiter **at = &engine->waiters;
    struct engine_waiter *taken = NULL;

    while (*at) {
        struct engine_waiter *waiter = *at;
        if (waiter->lsn <= lsn) {
            *at = waiter->next;
            waiter->next = taken;
            taken = waiter;
        } else {
            at = &waiter->next;
        }
    }
    return taken;
}

/* Everything up to applied_lsn is in: tells those who wait for it. */
static void
tell_applied(struct engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    engine->pending_since_us = 0;
    engine->state = ENGINE_RUNNING;
    engine->problem = (struct err){0};
    struct engine_waiter *waiters = take_waiters(engine, engine->applied_lsn);
    pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->lock);
    while (waiters) {
        struct engine_waiter *next = waiters->next;
        waiters->fn(waiters, true);
        waiters = next;
    }
}

static void
publish(struct engine *engine, const struct group *group)
{
    /* Before anybody is told: whoever keeps answers must not give out an old one any more. */
    for (size_t i = 0; i < group->batch_count; i++) {
        changes_note(&engine->changes, &group->batches[i], group->last_lsn);
    }
    pthread_mutex_lock(&engine->lock);
    engine->applied_lsn = group->last_lsn;
    engine->applied_bytes += group->bytes;
    engine->applied_records += group->last_lsn - group->first_lsn + 1;
    pthread_mutex_unlock(&engine->lock);
    tell_applied(engine);
    if (group->last_lsn >= engine->suspect_lsn) {
        engine->suspect_count = 0;
    }
    engine->bytes_since_checkpoint += group->bytes;
    engine->bytes_since_snapshot += group->bytes;
}

static enum err_code
apply_once(struct engine *engine, const struct group *group, struct err *err)
{
    const struct store_group whole = {
        .first_lsn = group->first_lsn,
        .last_lsn = group->last_lsn,
        .batch_count = group->batch_count,
        .batches = group->batches,
    };

    assert(engine->store);
    return store_apply(engine->store, &whole, err);
}

static enum err_code
reopen_cursor(struct engine *engine, struct err *err)
{
    wal_cursor_close(engine->cursor);
    pthread_mutex_lock(&engine->lock);
    engine->cursor = NULL;
    uint64_t from = engine->applied_lsn + 1;
    pthread_mutex_unlock(&engine->lock);
    uint64_t first = wal_first_lsn(engine->wal);
    struct wal_cursor *cursor;
    if (from < first && !engine->options.store_volatile) {
        engine_event(engine, true,
                     "records %" PRIu64 " to %" PRIu64 " are neither in the log nor in the store",
                     from, first - 1);
    }
    enum err_code code = wal_cursor_open(engine->wal, from > first ? from : first, &cursor, err);
    if (code == ERR_OK) {
        pthread_mutex_lock(&engine->lock);
        engine->cursor = cursor;
        bool closing = engine->closing;
        pthread_mutex_unlock(&engine->lock);
        if (closing) {
            wal_cursor_wake(cursor);
        }
    }
    return code;
}

static bool
is_closing(struct engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    bool closing = engine->closing;
    pthread_mutex_unlock(&engine->lock);
    return closing;
}

bool
applier_revive(struct engine *engine, bool quarantine, struct err *err)
{
    enum engine_state state = engine->options.store_remote ? ENGINE_STALLED : ENGINE_REBUILDING;
    int wait_ms = RETRY_FIRST_MS;
    struct err told = {0};

    engine_event(engine, true, "the store is unusable: %s", err->msg);
    for (;;) {
        engine_set_state(engine, state, err);
        if (rebuild_store(engine, quarantine, err) == ERR_OK &&
            reopen_cursor(engine, err) == ERR_OK) {
            return true;
        }
        if (is_closing(engine)) {
            return false;
        }
        if (strcmp(told.msg, err->msg) != 0) { /* a server may be away for hours */
            engine_event(engine, true, "the store cannot be opened, trying again: %s", err->msg);
            told = *err;
        }
        if (!applier_pause(engine, wait_ms)) {
            return false;
        }
        wait_ms = wait_ms * 2 < RETRY_MAX_MS ? wait_ms * 2 : RETRY_MAX_MS;
    }
}

/* The store says that these rows, or it itself after them, are no good. */
static bool
is_poison(enum err_code code)
{
    return applier_is_broken(code) || code == ERR_INVALID;
}

static enum err_code
set_aside_batches(struct engine *engine, const struct group *group, size_t from, size_t to,
                  const struct err *why)
{
    struct buf bytes BUF_AUTO;

    buf_init(&bytes, 0);
    for (size_t i = from; i < to; i++) {
        batch_encode(&group->batches[i], &bytes);
    }
    return set_aside(engine, group->lsns[from], buf_slice(&bytes), why);
}

/*
 * A record that the store cannot take is set aside, but only when a store opened anew cannot take
 * it either: after a full disk an old handle may blame anything. ERR_OK: it is, go on; otherwise
 * the store must be opened anew and the group read again.
 */
static enum err_code
accuse(struct engine *engine, const struct group *group, size_t from, size_t to, enum err_code code,
       const struct err *why)
{
    uint64_t lsn = group->lsns[from];

    engine->suspect_lsn = lsn;
    engine->suspect_count = SUSPECT_REBUILD + 1;
    if (engine->accused_lsn != lsn) {
        engine->accused_lsn = lsn;
        return code;
    }
    /* What cannot be set aside, for want of space, is not passed over. */
    if (code == ERR_INVALID) {
        return set_aside_batches(engine, group, from, to, why) == ERR_OK ? ERR_OK : ERR_IO;
    }
    if (engine->skipped_count < ENGINE_SKIPPED_MAX &&
        set_aside_batches(engine, group, from, to, why) == ERR_OK) {
        engine->skipped[engine->skipped_count++] = lsn;
    }
    return code;
}

/* Applies record by record, and finds out which the store cannot take. The batches of one record
 * stay together. */
static enum err_code
apply_singly(struct engine *engine, const struct group *group, struct err *err)
{
    size_t at = 0;

    while (at < group->batch_count) {
        size_t end = at + 1;
        while (end < group->batch_count && group->lsns[end] == group->lsns[at]) {
            end++;
        }
        const struct store_group one = {group->lsns[at], group->lsns[at], end - at,
                                        &group->batches[at]};
        enum err_code code = store_apply(engine->store, &one, err);
        if (is_poison(code)) {
            code = accuse(engine, group, at, end, code, err);
        }
        if (code != ERR_OK) {
            return code;
        }
        at = end;
    }
    const struct store_group rest = {group->last_lsn, group->last_lsn, 0, NULL};
    return store_apply(engine->store, &rest, err);
}

/* Whether the group holds the record that the store broke at. Groups are cut anew when they are
 * read again, so their first records say nothing. */
static bool
is_suspect(const struct engine *engine, const struct group *group)
{
    return engine->suspect_count > 0 && group->first_lsn <= engine->suspect_lsn &&
           engine->suspect_lsn <= group->last_lsn;
}

/* The store broke at this group: what to do about it depends on how often it did. */
static void
note_broken(struct engine *engine, const struct group *group, bool singly, struct err *err)
{
    if (singly) {
        bool stuck = engine->skipped_count == ENGINE_SKIPPED_MAX;
        if (applier_revive(engine, false, err) && stuck) {
            engine_set_state(engine, ENGINE_STALLED, err);
            applier_pause(engine, RETRY_MAX_MS);
        }
        return;
    }
    if (is_suspect(engine, group)) {
        engine->suspect_count++;
    } else {
        engine->suspect_count = SUSPECT_REOPEN;
        engine->suspect_lsn = group->first_lsn;
    }
    applier_revive(engine, engine->suspect_count >= SUSPECT_REBUILD, err);
}

/* Applies until it works. False when the engine closes, or when the group must be read again.
 * *ret_whole: nothing of it was set aside. */
static bool
apply_until_it_works(struct engine *engine, const struct group *group, bool *ret_whole)
{
    bool singly = is_suspect(engine, group) && engine->suspect_count > SUSPECT_REBUILD;
    bool stalled = false;
    int wait_ms = RETRY_FIRST_MS;
    struct err err;

    for (;;) {
        enum err_code code =
            singly ? apply_singly(engine, group, &err) : apply_once(engine, group, &err);
        if (code == ERR_OK) {
            if (stalled) {
                engine_event(engine, false, "the store takes records again");
            }
            *ret_whole = !singly;
            return true;
        }
        if (applier_is_broken(code) || (singly && code == ERR_INVALID)) {
            note_broken(engine, group, singly, &err);
            return false;
        }
        if (code == ERR_INVALID) {
            singly = true;
            continue;
        }
        if (!stalled) {
            engine_event(engine, true, "the store takes no records, trying again: %s", err.msg);
        }
        stalled = true;
        engine_set_state(engine, ENGINE_STALLED, &err);
        if (!applier_pause(engine, wait_ms)) {
            return false;
        }
        wait_ms = wait_ms * 2 < RETRY_MAX_MS ? wait_ms * 2 : RETRY_MAX_MS;
    }
}

/* The hot cache learns of a group as a whole, behind its commit and before anyone is told; of a
 * group that came in by parts, or not, it is not known what the store has. */
static bool
apply_group(struct engine *engine, const struct group *group)
{
    const struct store_group committed = {group->first_lsn, group->last_lsn, group->batch_count,
                                          group->batches};
    bool whole = false;

    if (engine->options.store_remote) {
        remote_note_series(engine, group->batches, group->batch_count);
    }
    if (engine->hot) {
        hot_begin(engine->hot);
    }
    bool applied = apply_until_it_works(engine, group, &whole);
    /* Of a series that begins in it there may be older points in cold files that were adopted. */
    bool beside = group->first_lsn <= engine->adopted_lsn;
    if (engine->hot && applied && whole && !beside) {
        hot_feed(engine->hot, &committed);
    } else if (engine->hot) {
        hot_reset(engine->hot);
    }
    if (applied && group->last_lsn >= engine->adopted_lsn) {
        adopted_forget(engine);
    }
    return applied;
}

/* What reads found: a damaged file is set aside at once, a broken handle opened anew. */
static void
maybe_heal(struct engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    struct err err = engine->read_err;
    engine->read_err = (struct err){0};
    pthread_mutex_unlock(&engine->lock);
    if (err.code == ERR_OK) {
        return;
    }
    if (engine->options.store_remote) {
        remote_heal(engine, &err);
        return;
    }
    if (applier_revive(engine, err.code == ERR_CORRUPT, &err)) {
        engine->suspect_count = 0;
        engine_set_state(engine, ENGINE_RUNNING, NULL);
    }
}

/* Nothing is left to apply, and yet it does not look so: a store that was opened anew had the
 * group whose commit seemed to fail. */
static bool
is_unsettled(struct engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    bool unsettled = engine->state != ENGINE_RUNNING || engine->pending_since_us > 0;
    pthread_mutex_unlock(&engine->lock);
    return unsettled;
}

/* The log could not be read: tries until it can be. False when the engine closes. */
static bool
read_anew(struct engine *engine, struct err *err)
{
    do {
        engine_set_state(engine, ENGINE_STALLED, err);
        engine_event(engine, true, "the log cannot be read: %s", err->msg);
        if (!applier_pause(engine, RETRY_MAX_MS)) {
            return false;
        }
    } while (reopen_cursor(engine, err) != ERR_OK);
    return true;
}

/* One round: gather, apply, look after the store. False when there is nothing more to do. */
static bool
run_round(struct engine *engine, struct group *group)
{
    struct err err;
    enum err_code code = gather(engine, group, &err);

    if (code == ERR_OK) {
        if (apply_group(engine, group)) {
            publish(engine, group);
        } else if (is_closing(engine)) {
            return false;
        }
        group_reset(group);
    } else if (code == ERR_UNAVAILABLE) {
        return false; /* closing, and everything is applied */
    } else if (code != ERR_TIMEOUT) {
        if (!read_anew(engine, &err)) {
            return false;
        }
    } else if (is_unsettled(engine)) {
        tell_applied(engine);
    }
    maybe_heal(engine);
    applier_care(engine);
    return engine->store && engine->cursor; /* else the engine closes amid a revival */
}

void *
applier_main(void *arg)
{
    struct engine *engine = arg;
    struct group group = {0};

    group.batches = mem_zalloc(ENGINE_BATCHES_MAX, sizeof(*group.batches));
    group.lsns = mem_zalloc(ENGINE_BATCHES_MAX, sizeof(*group.lsns));
    engine->checkpointed_us = clock_mono_us(engine->clock);
    bool there = engine->store != NULL;
    if (!there) { /* a remote store that was away at the open */
        struct err away = engine->problem;
        there = applier_revive(engine, false, &away);
        if (there) {
            engine_set_state(engine, ENGINE_RUNNING, NULL);
        }
    }
    while (there && run_round(engine, &group)) {
    }
    applier_refuse_between(engine);
    group_reset(&group);
    free(group.batches);
    free(group.lsns);
    free(group.payloads);
    return NULL;
}
