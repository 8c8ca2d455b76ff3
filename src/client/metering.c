/* The policy in front of a metering backend, and the queue of what is booked later. */
#include "client/metering.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/id.h"
#include "base/mem.h"

enum {
    FLUSH_AT_ONCE = 16,     /* notes sent by one metering_reserve */
    DOWN_PAUSE_US = 1000000 /* a backend that was down is not asked for this long, if calls go on */
};

enum note_kind { NOTE_COMMIT, NOTE_RELEASE, NOTE_EVENT };

/* Something to be told to the backend later; owns its texts. */
struct note {
    struct note *next;
    enum note_kind kind;
    char reservation_id[METERING_ID_MAX];
    struct metering_call call;
    struct metering_outcome outcome;
};

struct metering {
    struct metering_backend *backend;
    const struct clock *clock;
    bool fail_open;
    size_t queue_max;
    pthread_mutex_t lock; /* guards what follows */
    struct note *head;
    struct note **tail;
    size_t queued; /* in the list, and those that a flush has taken out */
    size_t places; /* of grants that are out */
    bool flushing; /* one thread at a time, so that the order stays */
    int64_t down_until_us;
    uint64_t unmetered, booked_late, lost;
};

static char *
copy(const char *text)
{
    return text ? mem_strdup(slice_of(text)) : NULL;
}

static struct note *
note_new(enum note_kind kind, const char *reservation_id, const struct metering_call *call,
         const struct metering_outcome *outcome)
{
    struct note *note = mem_zalloc(1, sizeof(*note));

    note->kind = kind;
    snprintf(note->reservation_id, sizeof(note->reservation_id), "%s", reservation_id);
    if (kind == NOTE_RELEASE) {
        return note;
    }
    note->call = (struct metering_call){.api_name = copy(call->api_name),
                                        .endpoint = copy(call->endpoint),
                                        .method = copy(call->method),
                                        .key = copy(call->key),
                                        .run_id = copy(call->run_id),
                                        .project = copy(call->project),
                                        .query = slice_of(mem_strdup(call->query)),
                                        .params_json = slice_of(mem_strdup(call->params_json))};
    note->outcome = *outcome;
    note->outcome.error_message = copy(outcome->error_message);
    note->outcome.metadata_json = copy(outcome->metadata_json);
    return note;
}

static void
note_free(struct note *note)
{
    mem_cleanup(&note->call.api_name);
    mem_cleanup(&note->call.endpoint);
    mem_cleanup(&note->call.method);
    mem_cleanup(&note->call.key);
    mem_cleanup(&note->call.run_id);
    mem_cleanup(&note->call.project);
    mem_cleanup(&note->call.query.ptr);
    mem_cleanup(&note->call.params_json.ptr);
    mem_cleanup(&note->outcome.error_message);
    mem_cleanup(&note->outcome.metadata_json);
    free(note);
}

struct metering *
metering_new(const struct metering_options *options)
{
    struct metering *metering = mem_zalloc(1, sizeof(*metering));

    metering->backend = options->backend;
    metering->fail_open = options->fail_open;
    metering->queue_max = options->queue_max;
    metering->clock = options->clock;
    metering->tail = &metering->head;
    pthread_mutex_init(&metering->lock, NULL);
    return metering;
}

void
metering_free(struct metering *metering)
{
    if (!metering) {
        return;
    }
    while (metering->head) {
        struct note *note = metering->head;
        metering->head = note->next;
        note_free(note);
    }
    if (metering->backend) {
        metering->backend->free(metering->backend);
    }
    pthread_mutex_destroy(&metering->lock);
    free(metering);
}

/* Tells one note; GONE becomes an event in place, so that a second try does not commit again. */
static enum metering_verdict
tell(struct metering *metering, struct note *note, struct metering_receipt *ret_receipt)
{
    struct metering_backend *backend = metering->backend;
    enum metering_verdict verdict;

    if (note->kind == NOTE_RELEASE) {
        return backend->release(backend, note->reservation_id);
    }
    if (note->kind == NOTE_COMMIT) {
        verdict = backend->commit(backend, note->reservation_id, &note->call, &note->outcome,
                                  ret_receipt);
        if (verdict != METERING_GONE) {
            return verdict;
        }
        note->kind = NOTE_EVENT;
    }
    return backend->event(backend, &note->call, &note->outcome, ret_receipt);
}

/* Takes the oldest note, if this thread may. */
static struct note *
take_note(struct metering *metering)
{
    struct note *note = metering->head;

    if (note) {
        metering->head = note->next;
        if (!metering->head) {
            metering->tail = &metering->head;
        }
    }
    return note;
}

static void
put_back(struct metering *metering, struct note *note)
{
    note->next = metering->head;
    metering->head = note;
    if (!note->next) {
        metering->tail = &note->next;
    }
}

/* Sends up to `max` notes; stops at the first that finds the backend down. */
static void
flush(struct metering *metering, size_t max, int64_t deadline_us)
{
    pthread_mutex_lock(&metering->lock);
    if (metering->flushing) {
        pthread_mutex_unlock(&metering->lock);
        return;
    }
    metering->flushing = true;
    for (size_t i = 0; i < max && clock_mono_us(metering->clock) < deadline_us; i++) {
        struct note *note = take_note(metering);
        struct metering_receipt receipt = {0};
        if (!note) {
            break;
        }
        pthread_mutex_unlock(&metering->lock);
        enum metering_verdict verdict = tell(metering, note, &receipt);
        pthread_mutex_lock(&metering->lock);
        if (verdict == METERING_DOWN) {
            put_back(metering, note);
            metering->down_until_us = clock_mono_us(metering->clock) + DOWN_PAUSE_US;
            break;
        }
        metering->queued--;
        metering->booked_late += note->kind != NOTE_RELEASE && verdict == METERING_DONE;
        metering->lost += note->kind != NOTE_RELEASE && verdict != METERING_DONE;
        note_free(note);
    }
    metering->flushing = false;
    pthread_mutex_unlock(&metering->lock);
}

size_t
metering_flush(struct metering *metering, int64_t deadline_us)
{
    flush(metering, SIZE_MAX, deadline_us);
    pthread_mutex_lock(&metering->lock);
    size_t left = metering->queued;
    pthread_mutex_unlock(&metering->lock);
    return left;
}

/* Takes a place in the queue; false when there is none. ret_waits: notes could be sent now. */
static bool
take_place(struct metering *metering, bool *ret_waits, bool *ret_down)
{
    pthread_mutex_lock(&metering->lock);
    bool free_place = metering->queued + metering->places < metering->queue_max;
    metering->places += free_place;
    *ret_down = clock_mono_us(metering->clock) < metering->down_until_us;
    *ret_waits = metering->queued > 0 && !*ret_down;
    pthread_mutex_unlock(&metering->lock);
    return free_place;
}

static void
leave_place(struct metering *metering)
{
    pthread_mutex_lock(&metering->lock);
    metering->places--;
    pthread_mutex_unlock(&metering->lock);
}

static void
refuse(struct metering_refusal *refusal, enum eider_refusal why, const char *code,
       const char *detail)
{
    refusal->refusal = why;
    if (!refusal->code[0]) {
        snprintf(refusal->code, sizeof(refusal->code), "%s", code);
    }
    if (!refusal->detail[0]) {
        snprintf(refusal->detail, sizeof(refusal->detail), "%s", detail);
    }
}

/* The backend is down: go on unmetered, or refuse. */
static enum metering_verdict
without_backend(struct metering *metering, struct metering_grant *ret_grant,
                struct metering_refusal *ret_refusal)
{
    pthread_mutex_lock(&metering->lock);
    if (metering->fail_open) {
        metering->down_until_us = clock_mono_us(metering->clock) + DOWN_PAUSE_US;
        metering->unmetered++;
    }
    pthread_mutex_unlock(&metering->lock);
    if (metering->fail_open) {
        *ret_grant = (struct metering_grant){.place = true};
        return METERING_DONE;
    }
    leave_place(metering);
    refuse(ret_refusal, EIDER_REFUSAL_METER_DOWN, "EIDER_UNAVAILABLE",
           "the meter cannot be asked, so nothing was sent");
    return METERING_REFUSED;
}

enum metering_verdict
metering_reserve(struct metering *metering, const struct metering_call *call,
                 struct metering_grant *ret_grant, struct metering_refusal *ret_refusal)
{
    bool waits;
    bool down;

    *ret_grant = (struct metering_grant){0};
    *ret_refusal = (struct metering_refusal){0};
    if (!metering->backend) {
        return METERING_DONE;
    }
    if (!take_place(metering, &waits, &down)) {
        flush(metering, FLUSH_AT_ONCE, INT64_MAX);
        if (!take_place(metering, &waits, &down)) {
            refuse(ret_refusal, EIDER_REFUSAL_METER_DOWN, "EIDER_UNAVAILABLE",
                   "as many calls as queue_max allows wait to be booked, so nothing was sent");
            return METERING_REFUSED;
        }
    }
    if (waits) {
        flush(metering, FLUSH_AT_ONCE, INT64_MAX);
    }
    if (down && metering->fail_open) {
        return without_backend(metering, ret_grant, ret_refusal);
    }
    enum metering_verdict verdict =
        metering->backend->reserve(metering->backend, call, ret_grant, ret_refusal);
    if (verdict == METERING_DONE) {
        ret_grant->place = true;
        return verdict;
    }
    if (verdict == METERING_DOWN) {
        return without_backend(metering, ret_grant, ret_refusal);
    }
    leave_place(metering);
    refuse(ret_refusal, verdict == METERING_REFUSED ? EIDER_REFUSAL_BUDGET : EIDER_REFUSAL_DENIED,
           verdict == METERING_REFUSED ? "CIRCUIT_BREAKER_TRIPPED" : "EIDER_INVALID",
           "the meter gave no reason");
    return METERING_REFUSED;
}

/* The backend is down: the place of the grant is the note's, behind all others. */
static void
enqueue(struct metering *metering, struct note *note, bool asked)
{
    pthread_mutex_lock(&metering->lock);
    metering->places--;
    metering->queued++;
    if (asked) {
        metering->down_until_us = clock_mono_us(metering->clock) + DOWN_PAUSE_US;
    }
    *metering->tail = note;
    metering->tail = &note->next;
    pthread_mutex_unlock(&metering->lock);
}

/* Tells now, or queues; what is refused for good is lost. */
static void
settle(struct metering *metering, struct note *note, struct metering_receipt *ret_receipt)
{
    pthread_mutex_lock(&metering->lock);
    bool down = metering->fail_open && clock_mono_us(metering->clock) < metering->down_until_us;
    pthread_mutex_unlock(&metering->lock);
    enum metering_verdict verdict = down ? METERING_DOWN : tell(metering, note, ret_receipt);

    if (verdict == METERING_DOWN) {
        enqueue(metering, note, !down);
        return;
    }
    pthread_mutex_lock(&metering->lock);
    metering->places--;
    metering->lost += note->kind != NOTE_RELEASE && verdict != METERING_DONE;
    pthread_mutex_unlock(&metering->lock);
    note_free(note);
}

void
metering_commit(struct metering *metering, const struct metering_grant *grant,
                const struct metering_call *call, const struct metering_outcome *outcome,
                struct metering_receipt *ret_receipt)
{
    *ret_receipt = (struct metering_receipt){.credits = outcome->credits};
    if (!grant->place) {
        return;
    }
    struct note *note = note_new(grant->reservation_id[0] ? NOTE_COMMIT : NOTE_EVENT,
                                 grant->reservation_id, call, outcome);
    if (!note->outcome.event_id[0]) {
        id_uuid7(clock_wall_us(metering->clock), note->outcome.event_id);
    }
    settle(metering, note, ret_receipt);
}

void
metering_release(struct metering *metering, const struct metering_grant *grant)
{
    struct metering_receipt unused = {0};

    if (!grant->place) {
        return;
    }
    if (!grant->reservation_id[0]) {
        leave_place(metering);
        return;
    }
    settle(metering, note_new(NOTE_RELEASE, grant->reservation_id, NULL, NULL), &unused);
}

void
metering_stats(struct metering *metering, struct metering_stats *ret_stats)
{
    pthread_mutex_lock(&metering->lock);
    *ret_stats = (struct metering_stats){.unmetered = metering->unmetered,
                                         .booked_late = metering->booked_late,
                                         .lost = metering->lost,
                                         .queued = metering->queued};
    pthread_mutex_unlock(&metering->lock);
}
