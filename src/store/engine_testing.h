/*
 * What the engine's tests share: an engine in a directory of its own, writes that wait for their
 * LSN, and a store whose applies fail as a plan says. Test support.
 */
#ifndef EIDER_STORE_ENGINE_TESTING_H
#define EIDER_STORE_ENGINE_TESTING_H

/* cmocka wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* */
#include <cmocka.h>

#include <stdatomic.h>

#include "store/contract.h"
#include "store/engine.h"

enum { RIG_PATH_MAX = 256 };

/* What the store under the engine does; any thread may change it. */
struct plan {
    store_open_fn *open;     /* the real store's */
    _Atomic int fail_from;   /* the apply (1 is the first since `applies` was 0) that fails */
    _Atomic int fail_count;  /* and how many behind it */
    _Atomic int fail_code;   /* with what */
    _Atomic int64_t poison;  /* groups with a sample of this series fail with fail_code; 0: none */
    _Atomic int fail_scans;  /* so many scans answer ERR_UNAVAILABLE */
    _Atomic int fail_opens;  /* so many opens answer ERR_IO */
    _Atomic int applies;     /* so far */
    _Atomic int opens;       /* so far */
    _Atomic int checkpoints; /* so far */
    _Atomic int fail_checkpoint; /* so many checkpoints answer ERR_INTERNAL */
    void (*on_apply)(void *ctx); /* before each apply, on the applier's thread; NULL: nothing */
    void *on_apply_ctx;
    _Atomic int fail_snapshot; /* so many snapshots answer ERR_NO_SPACE */
};

struct rig {
    char dir[RIG_PATH_MAX];
    struct engine_options options;
    struct engine *engine;
    _Atomic int events;
    _Atomic int problems;
};

/* The plan of every store that rig_store_open opens. */
extern struct plan rig_plan;
enum err_code rig_store_open(const struct store_open_options *options, struct store **ret_store,
                             struct err *err);

/* cmocka setup and teardown; the engine is not opened yet. The store is DuckDB's by rig_plan. */
int rig_setup(void **state);
int rig_teardown(void **state);

void rig_open(struct rig *rig);
void rig_close(struct rig *rig);

/* Writes rows of a table as one record, and returns its LSN once it is durable. */
uint64_t rig_write(struct rig *rig, enum table_id table, const char *lines);

/* One sample of a series; the time is the LSN's. */
uint64_t rig_sample(struct rig *rig, int series, int time_us);

/* Writes any bytes as a record. */
uint64_t rig_write_bytes(struct rig *rig, struct slice bytes);

/* Waits until `lsn` is applied. */
void rig_applied(struct rig *rig, uint64_t lsn);

/* Fails unless samples holds exactly the times 1..count of series 1, each once. */
void rig_expect_samples(struct rig *rig, int count);

/* Names in a sub-directory that contain `part`. */
int rig_count_files(const struct rig *rig, const char *sub, const char *part);

/* Overwrites a file of the data directory with garbage. */
void rig_spoil(const struct rig *rig, const char *name);

/* Copies the data directory as a crash would leave it, and opens an engine on the copy. End it with
 * rig_fini. */
void rig_crash(struct rig *rig, struct rig *ret_copy);

/* Closes the engine and removes the directory. */
void rig_fini(struct rig *rig);

void rig_remove_tree(const char *path);

#endif
