/*
 * An engine for the tests of this part: a log in memory whose outcomes the test decides, and a
 * store that holds what the test puts there.
 *
 *   FAKE_INSTANT  a record is durable before submit returns
 *   FAKE_HELD     records wait until the test ends them, in any order and with any outcome
 *   FAKE_THREAD   a thread ends them in order; a seeded share fails
 *
 * Threads: submit and the other slots from any; the functions that look at records while nobody
 * writes.
 */
#ifndef EIDER_INGEST_FAKE_ENGINE_H
#define EIDER_INGEST_FAKE_ENGINE_H

#include <pthread.h>

#include "base/id.h"
#include "ingest/ingest_priv.h"

enum fake_mode { FAKE_INSTANT, FAKE_HELD, FAKE_THREAD };

struct fake_record {
    uint64_t lsn;
    char *bytes;
    size_t len;
};

struct fake_engine {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum fake_mode mode;
    enum err_code fail_with; /* FAKE_INSTANT: refuse everything with this */
    struct wal_entry **held; /* in order of arrival */
    size_t held_count;
    size_t held_capacity;
    struct fake_record *records; /* durable, in LSN order */
    size_t record_count;
    size_t record_capacity;
    uint64_t failures;
    uint64_t applied_lsn;
    bool apply_at_once;
    struct engine_waiter *waiters;
    struct engine_status status; /* what engine_status says */
    uint64_t status_calls;
    enum err_code wait_code; /* of wait_applied */
    struct batch series;     /* what scans find; table NULL: nothing */
    struct batch keys;
    struct store_scan key_scan; /* the last one of TABLE_IDEMPOTENCY */
    pthread_t thread;
    bool stopping;
    struct rng rng;
};

extern const struct ingest_engine_ops fake_engine_ops;

void fake_engine_init(struct fake_engine *fake, enum fake_mode mode);
void fake_engine_fini(struct fake_engine *fake);

/* For ingest_options.engine. */
struct engine *fake_engine_as_engine(struct fake_engine *fake);

/* Ends the held entry at `index`. */
void fake_engine_complete(struct fake_engine *fake, size_t index, enum err_code code);

/* Says that everything up to `lsn` is applied, or (false) that the engine closes. */
void fake_engine_apply(struct fake_engine *fake, uint64_t lsn, bool applied);

/* Reads the batch of a table out of a record; false when it has none. The batch borrows. */
bool fake_engine_batch(const struct fake_engine *fake, size_t record, enum table_id table,
                       struct batch *ret_batch);

/* What a request was answered; texts are copied. */
struct fake_answer {
    pthread_mutex_t lock;
    unsigned calls;
    struct ingest_answer answer; /* errors and err point below */
    struct err err;
    struct arena arena;
};

void fake_answer_init(struct fake_answer *answer);
void fake_answer_fini(struct fake_answer *answer);

/* An ingest_done_fn whose ctx is the fake_answer. */
void fake_answer_done(void *ctx, const struct ingest_answer *answer);

/* An ingest on a fake engine with a clock that stands at FAKE_NOW_US. */
#define FAKE_NOW_US INT64_C(1767323045000000) /* 2026-01-02T03:04:05 */

struct fake_world {
    struct fake_engine engine;
    struct clock_manual clock;
    struct ingest *ingest;
    struct fake_answer answer; /* of the last fake_world_submit */
};

/* `options` (may be NULL) gets engine and clock. Aborts when the ingest does not open. */
void fake_world_init(struct fake_world *world, enum fake_mode mode,
                     const struct ingest_options *options);

void fake_world_fini(struct fake_world *world);

/* Submits with world->answer, which is emptied before. */
const struct ingest_answer *fake_world_submit(struct fake_world *world,
                                              const struct ingest_request *request);

/* The same for JSON rows of a table, and for line protocol. */
const struct ingest_answer *fake_world_json(struct fake_world *world, enum table_id table,
                                            const char *body);
const struct ingest_answer *fake_world_line(struct fake_world *world, const char *body);

#endif
