/* The engine of the tests; linked into nothing else. */
#include "ingest/fake_engine.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { FAIL_ONE_IN = 4 };

static struct fake_engine *
fake_of(struct engine *engine)
{
    return (struct fake_engine *)(void *)engine;
}

struct engine *
fake_engine_as_engine(struct fake_engine *fake)
{
    return (struct engine *)(void *)fake;
}

/* The record becomes durable. With the lock. */
static void
keep_record(struct fake_engine *fake, struct wal_entry *entry)
{
    struct fake_record record = {.lsn = fake->record_count + 1};

    for (unsigned i = 0; i < entry->part_count; i++) {
        record.len += entry->parts[i].len;
    }
    record.bytes = mem_alloc(record.len);
    size_t at = 0;
    for (unsigned i = 0; i < entry->part_count; i++) {
        memcpy(record.bytes + at, entry->parts[i].ptr, entry->parts[i].len);
        at += entry->parts[i].len;
    }
    if (fake->record_count == fake->record_capacity) {
        fake->record_capacity = fake->record_capacity ? fake->record_capacity * 2 : 16;
        fake->records = mem_resize(fake->records, fake->record_capacity, sizeof(*fake->records));
    }
    fake->records[fake->record_count++] = record;
    entry->lsn = record.lsn;
}

static void
finish(struct fake_engine *fake, struct wal_entry *entry, enum err_code code)
{
    struct err err;

    if (code == ERR_OK) {
        pthread_mutex_lock(&fake->lock);
        keep_record(fake, entry);
        if (fake->apply_at_once) {
            fake->applied_lsn = entry->lsn;
        }
        pthread_mutex_unlock(&fake->lock);
        entry->done(entry, ERR_OK, NULL);
    } else {
        pthread_mutex_lock(&fake->lock);
        fake->failures++;
        pthread_mutex_unlock(&fake->lock);
        err_set(&err, code, "the disk of the test failed");
        entry->done(entry, code, &err);
    }
}

static void
fake_submit(struct engine *engine, struct wal_entry *entry)
{
    struct fake_engine *fake = fake_of(engine);

    assert(entry->type == RECORD_BATCHES && entry->part_count > 0 && entry->done);
    if (fake->mode == FAKE_INSTANT) {
        finish(fake, entry, fake->fail_with);
        return;
    }
    pthread_mutex_lock(&fake->lock);
    if (fake->held_count == fake->held_capacity) {
        fake->held_capacity = fake->held_capacity ? fake->held_capacity * 2 : 16;
        fake->held = mem_resize(fake->held, fake->held_capacity, sizeof(struct wal_entry *));
    }
    fake->held[fake->held_count++] = entry;
    pthread_cond_broadcast(&fake->changed);
    pthread_mutex_unlock(&fake->lock);
}

/* With the lock. */
static struct wal_entry *
take_held(struct fake_engine *fake, size_t index)
{
    assert(index < fake->held_count);
    struct wal_entry *entry = fake->held[index];

    memmove(fake->held + index, fake->held + index + 1,
            (fake->held_count - index - 1) * sizeof(struct wal_entry *));
    fake->held_count--;
    return entry;
}

void
fake_engine_complete(struct fake_engine *fake, size_t index, enum err_code code)
{
    pthread_mutex_lock(&fake->lock);
    struct wal_entry *entry = take_held(fake, index);
    pthread_mutex_unlock(&fake->lock);
    finish(fake, entry, code);
}

/* The committer of FAKE_THREAD. */
static void *
commit(void *arg)
{
    struct fake_engine *fake = arg;

    pthread_mutex_lock(&fake->lock);
    for (;;) {
        while (fake->held_count == 0 && !fake->stopping) {
            pthread_cond_wait(&fake->changed, &fake->lock);
        }
        if (fake->held_count == 0) {
            break;
        }
        struct wal_entry *entry = take_held(fake, 0);
        bool fails = rng_below(&fake->rng, FAIL_ONE_IN) == 0;
        pthread_mutex_unlock(&fake->lock);
        finish(fake, entry, fails ? ERR_IO : ERR_OK);
        pthread_mutex_lock(&fake->lock);
    }
    pthread_mutex_unlock(&fake->lock);
    return NULL;
}

static void
fake_when_applied(struct engine *engine, struct engine_waiter *waiter)
{
    struct fake_engine *fake = fake_of(engine);

    pthread_mutex_lock(&fake->lock);
    bool now = waiter->lsn <= fake->applied_lsn;
    if (!now) {
        waiter->next = fake->waiters;
        fake->waiters = waiter;
    }
    pthread_mutex_unlock(&fake->lock);
    if (now) {
        waiter->fn(waiter, true);
    }
}

void
fake_engine_apply(struct fake_engine *fake, uint64_t lsn, bool applied)
{
    struct engine_waiter *due = NULL;

    pthread_mutex_lock(&fake->lock);
    struct engine_waiter **link = &fake->waiters;
    while (*link) {
        struct engine_waiter *waiter = *link;
        if (waiter->lsn <= lsn || !applied) {
            *link = waiter->next;
            waiter->next = due;
            due = waiter;
        } else {
            link = &waiter->next;
        }
    }
    fake->applied_lsn = applied ? lsn : fake->applied_lsn;
    pthread_mutex_unlock(&fake->lock);
    while (due) {
        struct engine_waiter *waiter = due;
        due = waiter->next;
        waiter->fn(waiter, applied);
    }
}

static enum err_code
fake_wait_applied(struct engine *engine, uint64_t lsn, int timeout_ms, struct err *err)
{
    (void)lsn;
    (void)timeout_ms;
    if (fake_of(engine)->wait_code != ERR_OK) {
        return err_set(err, fake_of(engine)->wait_code, "the store of the test is stalled");
    }
    return ERR_OK;
}

static void
fake_status(struct engine *engine, struct engine_status *ret_status)
{
    struct fake_engine *fake = fake_of(engine);

    pthread_mutex_lock(&fake->lock);
    fake->status_calls++;
    *ret_status = fake->status;
    pthread_mutex_unlock(&fake->lock);
}

static enum err_code
fake_scan(struct engine *engine, const struct store_scan *scan, struct batch *ret_rows,
          struct err *err)
{
    struct fake_engine *fake = fake_of(engine);
    const struct batch *from = scan->table == TABLE_SERIES ? &fake->series : &fake->keys;

    (void)err;
    batch_init(ret_rows, catalog_table(scan->table), 1 << 20);
    for (size_t i = 0; from->table && i < from->rows; i++) {
        batch_copy_row(ret_rows, from, scan->newest_first ? from->rows - 1 - i : i);
    }
    if (scan->table == TABLE_IDEMPOTENCY) {
        fake->key_scan = *scan;
    }
    return ERR_OK;
}

const struct ingest_engine_ops fake_engine_ops = {
    .submit = fake_submit,
    .when_applied = fake_when_applied,
    .wait_applied = fake_wait_applied,
    .status = fake_status,
    .scan = fake_scan,
};

void
fake_engine_init(struct fake_engine *fake, enum fake_mode mode)
{
    *fake = (struct fake_engine){.mode = mode};
    pthread_mutex_init(&fake->lock, NULL);
    pthread_cond_init(&fake->changed, NULL);
    rng_init(&fake->rng, 1);
    if (mode == FAKE_THREAD) {
        pthread_create(&fake->thread, NULL, commit, fake);
    }
}

void
fake_engine_fini(struct fake_engine *fake)
{
    pthread_mutex_lock(&fake->lock);
    fake->stopping = true;
    pthread_cond_broadcast(&fake->changed);
    pthread_mutex_unlock(&fake->lock);
    if (fake->mode == FAKE_THREAD) {
        pthread_join(fake->thread, NULL);
    }
    assert(fake->held_count == 0 && !fake->waiters);
    for (size_t i = 0; i < fake->record_count; i++) {
        free(fake->records[i].bytes);
    }
    if (fake->series.table) {
        batch_fini(&fake->series);
    }
    if (fake->keys.table) {
        batch_fini(&fake->keys);
    }
    free(fake->records);
    free(fake->held);
    pthread_cond_destroy(&fake->changed);
    pthread_mutex_destroy(&fake->lock);
}

bool
fake_engine_batch(const struct fake_engine *fake, size_t record, enum table_id table,
                  struct batch *ret_batch)
{
    struct slice rest;
    size_t used;

    assert(record < fake->record_count);
    rest = slice_make(fake->records[record].bytes, fake->records[record].len);
    while (rest.len > 0) {
        enum err_code code = batch_decode(rest, ret_batch, &used, NULL);
        assert(code == ERR_OK);
        if (ret_batch->table && ret_batch->table->id == table) {
            return true;
        }
        batch_fini(ret_batch);
        rest = slice_sub(rest, used, rest.len - used);
    }
    return false;
}

void
fake_answer_init(struct fake_answer *answer)
{
    *answer = (struct fake_answer){0};
    pthread_mutex_init(&answer->lock, NULL);
    arena_init(&answer->arena, 1 << 20);
}

void
fake_answer_fini(struct fake_answer *answer)
{
    arena_fini(&answer->arena);
    pthread_mutex_destroy(&answer->lock);
}

void
fake_answer_done(void *ctx, const struct ingest_answer *given)
{
    struct fake_answer *answer = ctx;

    pthread_mutex_lock(&answer->lock);
    answer->calls++;
    answer->answer = *given;
    if (given->err) {
        answer->err = *given->err;
        answer->answer.err = &answer->err;
    }
    struct ingest_row_error *errors =
        arena_zalloc(&answer->arena, given->error_count, sizeof(*errors));
    for (size_t i = 0; i < given->error_count; i++) {
        errors[i].row = given->errors[i].row;
        errors[i].field = arena_dup(&answer->arena, given->errors[i].field);
        errors[i].value = arena_dup(&answer->arena, given->errors[i].value);
        errors[i].expected = arena_dup(&answer->arena, given->errors[i].expected);
    }
    answer->answer.errors = errors;
    pthread_mutex_unlock(&answer->lock);
}

void
fake_world_init(struct fake_world *world, enum fake_mode mode, const struct ingest_options *options)
{
    struct ingest_options filled = options ? *options : (struct ingest_options){0};
    struct err err;

    fake_engine_init(&world->engine, mode);
    fake_answer_init(&world->answer);
    clock_manual_init(&world->clock, FAKE_NOW_US);
    filled.engine = fake_engine_as_engine(&world->engine);
    filled.clock = &world->clock.clock;
    enum err_code code = ingest_open_with(&filled, &fake_engine_ops, &world->ingest, &err);
    assert(code == ERR_OK);
}

void
fake_world_fini(struct fake_world *world)
{
    ingest_close(world->ingest);
    fake_answer_fini(&world->answer);
    fake_engine_fini(&world->engine);
}

const struct ingest_answer *
fake_world_submit(struct fake_world *world, const struct ingest_request *request)
{
    fake_answer_fini(&world->answer);
    fake_answer_init(&world->answer);
    ingest_submit(world->ingest, request, fake_answer_done, &world->answer);
    return &world->answer.answer;
}

const struct ingest_answer *
fake_world_json(struct fake_world *world, enum table_id table, const char *body)
{
    struct ingest_request request = {
        .body = slice_of(body), .format = INGEST_JSON, .table = catalog_table(table)};

    return fake_world_submit(world, &request);
}

const struct ingest_answer *
fake_world_line(struct fake_world *world, const char *body)
{
    struct ingest_request request = {.body = slice_of(body), .format = INGEST_LINE};

    return fake_world_submit(world, &request);
}
