/*
 * What the files of the engine share. Which thread may touch what stands at each member.
 */
#ifndef EIDER_STORE_ENGINE_PRIVATE_H
#define EIDER_STORE_ENGINE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "store/changes.h"
#include "store/engine.h"
#include "store/series_file.h"

enum {
    ENGINE_PATH_MAX = 4096,
    ENGINE_SNAPSHOTS_KEPT = 2,
    ENGINE_BATCHES_MAX = 8192, /* of one group */
    ENGINE_SKIPPED_MAX = 16    /* records set aside because the store broke at them */
};

/* A request of engine_between_groups, in its caller's memory; under `lock`, but for what the
 * applier does between begun and done. */
struct engine_between {
    engine_store_fn *fn;
    void *ctx;
    bool begun;
    bool done;
    enum err_code code;
    struct err err;
    struct engine_between *next;
};

struct engine {
    struct engine_options options; /* constant, defaults filled in */
    const struct clock *clock;
    char *data_dir; /* and the paths below: constant, the engine's */
    char *store_path;
    char *wal_dir;
    int lock_fd;
    struct wal *wal;

    /* Readers hold it shared for a query; the applier exclusively while it swaps the store. */
    pthread_rwlock_t store_lock;
    struct store *store;      /* NULL while there is none */
    atomic_bool interrupting; /* readers are being interrupted; what they find says nothing */
    atomic_bool reads_stopped;

    _Atomic uint64_t space_max;  /* 0: no limit */
    _Atomic uint64_t space_used; /* when it was said last */
    _Atomic int64_t space_room;  /* what may still be submitted */

    struct changes changes; /* has a lock of its own */

    struct series_file *series; /* constant; NULL: the store has no cold data. Has a lock */

    struct hot *hot; /* constant; NULL: none. Has a lock of its own, taken behind store_lock */

    /* `lock` guards everything from here to `applier`; `changed` tells of any of it. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum engine_state state;
    struct err problem;
    uint64_t applied_lsn;
    uint64_t applied_bytes; /* payload bytes applied since open */
    uint64_t applied_records;
    int64_t pending_since_us; /* wall time of the oldest record read and not applied; 0: none */
    struct engine_waiter *waiters;
    struct engine_between *between; /* oldest first */
    struct engine_turn *turns;      /* the first has it, the others wait */
    unsigned waiting_threads;       /* in engine_wait_applied */
    uint64_t
        checkpoints_wanted; /* requests so far; each is done when checkpoints_done reaches it */
    uint64_t checkpoints_done;
    struct err checkpoint_err; /* how the newest ended */
    uint64_t rebuilds;
    uint64_t snapshot_lsn;
    uint64_t records_set_aside;
    struct err read_err; /* why a read found the store unusable; code ERR_OK: none did */
    bool closing;

    pthread_t applier;
    bool applier_runs;
    struct maintain *maintain; /* set while the engine opens and closes; NULL: off */
    atomic_int hurried;        /* the applier looks often whether it is asked for something */
    atomic_int cold_held;      /* see engine_cold_hold */

    /* The applier's own from here on. */
    struct wal_cursor *cursor;
    uint64_t suspect_lsn;                 /* first LSN of the group that made the store unusable */
    unsigned suspect_count;               /* how often */
    uint64_t skipped[ENGINE_SKIPPED_MAX]; /* LSNs of records that are set aside, not applied */
    size_t skipped_count;
    uint64_t accused_lsn;        /* the record that a store which was not new could not take */
    bool had_store;              /* a remote one was there since the open */
    bool checkpoint_failed;      /* the last one did */
    struct adopted_day *adopted; /* days whose rows the log gives again; see adopted.c */
    size_t adopted_count;
    uint64_t adopted_lsn; /* the last record that may give some; 0: none */
    uint64_t bytes_since_checkpoint;
    uint64_t bytes_since_snapshot;
    int64_t group_begun_us;    /* monotonic; 0: none yet */
    int64_t checkpointed_us;   /* monotonic */
    int64_t snapshot_tried_us; /* monotonic; 0: not failed since the last that worked */
};

/* ---- datadir.c: the directory and the files in it ---- */

/* Makes the directories, takes the lock. ERR_CONFLICT names the process that has it. */
enum err_code datadir_lock(const char *data_dir, int *ret_fd, struct err *err);

/* What DuckDB's files have behind the database's name: nothing for the database itself, then its
 * logs, that of an unfinished checkpoint included. Ends in NULL. */
extern const char *const datadir_suffixes[];

/* Moves `path` and its logs to quarantine/<time>-<name>; what is not there is fine. */
enum err_code datadir_quarantine(const char *data_dir, const char *path, int64_t wall_us,
                                 char *ret_where, size_t size, struct err *err);

/* Writes bytes to quarantine/<name>, synced. */
enum err_code datadir_set_aside(const char *data_dir, const char *name, struct slice bytes,
                                struct err *err);

/* LSNs of the snapshots in backup/, newest first, at most `max`; returns how many. */
size_t datadir_snapshots(const char *data_dir, uint64_t *ret_lsns, size_t max);
void datadir_snapshot_path(const char *data_dir, uint64_t lsn, char *ret_path, size_t size);

/* The list of the cold files that a snapshot lists, beside it. */
void datadir_sidecar_path(const char *data_dir, uint64_t lsn, char *ret_path, size_t size);

/* Deletes all but the newest ENGINE_SNAPSHOTS_KEPT snapshots, unfinished ones, and sidecars without
 * their snapshot; no other file. */
void datadir_drop_snapshots(const char *data_dir);

/* Bytes of a file, 0 when there is none; and makes the name of a file durable. */
uint64_t datadir_file_bytes(const char *path);
enum err_code datadir_sync_parent(const char *path, struct err *err);

/* Copies a file to a temporary name beside `to`, syncs, renames over `to`, syncs the directory. */
enum err_code datadir_copy(const char *from, const char *to, struct err *err);

/* ---- rebuild.c: opening and rebuilding the store (start and applier only) ---- */

/* Opens the store at start: the file, or the newest good snapshot, or an empty one. */
enum err_code rebuild_open(struct engine *engine, struct err *err);

/* Closes the store and opens it again; from its file if `quarantine` is false and that works, else
 * from a snapshot. The cursor must be opened anew afterwards. */
enum err_code rebuild_store(struct engine *engine, bool quarantine, struct err *err);

/* Behind the database's name: the compact copy that is about to take its place. */
#define REBUILD_COMPACT ".compact"

/* Closes the store, renames the file at `path`, a copy of it, over its file, and opens that. On
 * ERR_INTERNAL and ERR_CORRUPT there is no store: revive. */
enum err_code rebuild_swap(struct engine *engine, const char *path, struct err *err);

/* Restores from the newest snapshot when the log begins behind what the store has. */
enum err_code rebuild_gap(struct engine *engine, struct err *err);

/* Takes a store as the engine's. */
void rebuild_adopt(struct engine *engine, struct store *store);

/* ---- adopted.c: cold files that are ahead of the record that is applied ---- */

/* Whether rows of a table stay on the day that they came with, so that files say which they have.
 */
bool adopted_table(const struct catalog_table *table);

/* Notes which days of a store's list are ahead of what it has applied: behind a repair alone. */
void adopted_note(struct engine *engine, struct store *store);
void adopted_forget(struct engine *engine);

/* Takes those rows out of a record's batch that are in such files. */
void adopted_pass_over(const struct engine *engine, struct batch *batch, uint64_t lsn);

/* Notes in cold/missing, so that they are not removed, the files that nobody lists: records are
 * nowhere, and these may have rows of them. */
enum err_code adopted_keep_unlisted(struct engine *engine, struct err *err);

/* ---- remote.c: a store that others run ---- */

/* Opens it at start. One that is away is ERR_OK, too: the engine has no store then. */
enum err_code remote_open(struct engine *engine, struct err *err);

/* Fills the gap of the store that was there when the engine opened, if one was; the log is open now
 * and nobody reads yet. */
enum err_code remote_gap(struct engine *engine, struct err *err);

/* Opens it (again), and looks whether it is the database that it was. */
enum err_code remote_reopen(struct engine *engine, struct err *err);

/* A read found it away: waits until it is back, the state being stalled meanwhile. */
void remote_heal(struct engine *engine, const struct err *why);

/* Drops the log that it has for good, but for what is to be kept. */
void remote_release(struct engine *engine);

/* ---- remote_series.c ---- */

/* Keeps the definitions of series among these batches beside the log. */
void remote_note_series(struct engine *engine, const struct batch *batches, size_t count);

/* When the log begins behind what a store has that nobody reads yet: says which records are
 * nowhere, gives the store the definitions of all series, and goes on behind the gap. */
enum err_code remote_fill_gap(struct engine *engine, struct store *store, struct err *err);

/* ---- applier.c ---- */

/* Sleeps unless the engine closes; false in that case. */
bool applier_pause(struct engine *engine, int ms);

void *applier_main(void *engine);

/* Makes the store usable again; retries until it works (true) or the engine closes. */
bool applier_revive(struct engine *engine, bool quarantine, struct err *err);

/* ---- applier_care.c ---- */

/* ERR_CORRUPT, ERR_INTERNAL: the store must be opened anew. */
bool applier_is_broken(enum err_code code);

/* What is due between two groups. The store may be gone afterwards: the engine closes. */
void applier_care(struct engine *engine);

/* ---- turn.c ---- */

/* Whoever has the turn, if anybody has, should end. */
void engine_turn_call_off(struct engine *engine);

bool engine_is_before(const struct timespec *a, const struct timespec *b);

/* Tells those who still wait that the engine closes. */
void applier_refuse_between(struct engine *engine);

/* Tells the owner of the engine, for its log. */
void engine_event(const struct engine *engine, bool is_problem, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The moment in `timeout_ms`, for waits on `changed`. */
struct timespec engine_deadline(int timeout_ms);

/* Changes state and problem (NULL: none) under the lock. */
void engine_set_state(struct engine *engine, enum engine_state state, const struct err *problem);

#endif
