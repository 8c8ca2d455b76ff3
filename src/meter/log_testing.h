/*
 * An engine that is nothing but its store, with entries to ask about: for the tests of what reads
 * the event log. Included by one file of a program.
 */
#ifndef EIDER_METER_LOG_TESTING_H
#define EIDER_METER_LOG_TESTING_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "meter/chain.h"
#include "meter/event_query.h"
#include "store/duckdb/store_duckdb.h"
#include "store/memory/store_memory.h"

/* 2026-01-02T03:00:00 UTC. */
#define LOG_TESTING_US INT64_C(1767322800000000)

struct engine {
    struct store *store;
    uint64_t lsn;
    struct chain_head head;
    unsigned sql_calls;
    unsigned fail_visits; /* so many of the next fail, each behind its first rows */
    char dir[64];
    char path[96];
};

enum err_code
engine_sql(struct engine *engine, const struct store_sql *sql, struct batch *ret_rows,
           bool *ret_truncated, struct err *err)
{
    engine->sql_calls++;
    return store_sql(engine->store, sql, ret_rows, ret_truncated, err);
}

struct log_testing_visit {
    store_visit_fn *fn;
    void *ctx;
    bool fails;
};

static enum err_code
log_testing_on_rows(void *ctx, const struct batch *rows, struct err *err)
{
    struct log_testing_visit *visit = ctx;
    enum err_code code = visit->fn(visit->ctx, rows, err);

    return code || !visit->fails ? code : err_set(err, ERR_TIMEOUT, "as asked for");
}

enum err_code
engine_visit(struct engine *engine, const struct store_scan *scan, store_visit_fn *fn, void *ctx,
             struct err *err)
{
    struct log_testing_visit visit = {fn, ctx, engine->fail_visits > 0};

    engine->fail_visits -= visit.fails;
    return store_visit(engine->store, scan, log_testing_on_rows, &visit, err);
}

static inline struct engine *
log_testing_open(store_open_fn *open)
{
    struct engine *engine = calloc(1, sizeof(*engine));
    struct err err;

    snprintf(engine->dir, sizeof(engine->dir), "/tmp/eider-meter-XXXXXX");
    assert_non_null(mkdtemp(engine->dir));
    snprintf(engine->path, sizeof(engine->path), "%s/t.duckdb", engine->dir);
    struct store_open_options options = {.path = engine->path, .threads = 1, .readers = 1};
    if (open(&options, &engine->store, &err)) {
        fail_msg("%s", err.msg);
    }
    return engine;
}

static inline void
log_testing_close(struct engine *engine)
{
    char wal[sizeof(engine->path) + 8];

    store_close(engine->store);
    snprintf(wal, sizeof(wal), "%s.wal", engine->path);
    unlink(wal);
    unlink(engine->path);
    rmdir(engine->dir);
    free(engine);
}

/* Chains and applies entries, in one record. */
static inline void
log_testing_append(struct engine *engine, const struct event *events, size_t count)
{
    struct batch rows;
    struct err err;

    batch_init(&rows, catalog_table(TABLE_EVENTS), 64 << 20);
    for (size_t i = 0; i < count; i++) {
        struct event event = events[i];
        uint8_t leaf[EVENT_HASH_BYTES];
        chain_leaf(&event, leaf);
        chain_link(&engine->head, leaf);
        event.seq = engine->head.seq;
        memcpy(event.hash, engine->head.hash, sizeof(event.hash));
        event_to_row(&event, &rows);
    }
    engine->lsn++;
    struct store_group group = {engine->lsn, engine->lsn, 1, &rows};
    if (store_apply(engine->store, &group, &err)) {
        fail_msg("%s", err.msg);
    }
    batch_fini(&rows);
}

#endif
