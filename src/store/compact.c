/*
 * Making the database file small: a compact copy is written and takes the file's place between two
 * groups.
 *
 *   copy, synced, as <file>.compact ─► store closed ─► renamed over the file ─► opened
 *
 * Until the rename a crash leaves the old file and a copy that the next open removes; from then on
 * the new file, which has every row of the old one, since nothing is applied meanwhile.
 */
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "store/engine_private.h"

enum {
    GAIN_SHARE = 10,
    GAIN_BYTES_MIN = 1 << 20,
    STATEMENTS_FIRST_MS = 1000,
    STATEMENTS_MAX_MS = 64000,
    GROUP_MS = 60000, /* that a group may take */
    PAUSE_TICK_MS = 50
};

struct compacting {
    struct engine *engine;
    int wait_ms; /* for statements, with the applier stopped */
    struct engine_compacted result;
};

static int
ms_between(const struct timespec *from, const struct timespec *to)
{
    int64_t ms =
        (int64_t)(to->tv_sec - from->tv_sec) * 1000 + (to->tv_nsec - from->tv_nsec) / 1000000;

    return ms > INT_MAX ? INT_MAX : ms < 0 ? 0 : (int)ms;
}

/* False when the engine closes. */
static bool
pause_until(struct engine *engine, const struct timespec *until)
{
    bool closing = false;
    struct timespec now = engine_deadline(0);

    pthread_mutex_lock(&engine->lock);
    while (!closing && engine_is_before(&now, until)) {
        struct timespec tick = engine_deadline(PAUSE_TICK_MS);
        pthread_cond_timedwait(&engine->changed, &engine->lock,
                               engine_is_before(until, &tick) ? until : &tick);
        closing = engine->closing || atomic_load(&engine->reads_stopped);
        now = engine_deadline(0);
    }
    pthread_mutex_unlock(&engine->lock);
    return !closing;
}

static uint64_t
size_of(struct store *store)
{
    struct store_stats stats;

    store_stats(store, &stats);
    return stats.size_bytes;
}

/* A swap costs readers a moment; a copy that is hardly smaller is not worth it. */
static bool
is_worth_it(uint64_t before, uint64_t after)
{
    return after + GAIN_BYTES_MIN <= before && after <= before - before / GAIN_SHARE;
}

/*
 * A statement that began before the list of cold files was changed keeps the checkpoint back; new
 * ones do not, for nothing is changed while this thread waits. So it is waited for those that run,
 * and once more for those that began when the older ones ended: DuckDB forgets a transaction only
 * when no statement runs that began before it was over.
 */
static enum err_code
checkpoint_alone(struct store *store, int wait_ms, struct err *err)
{
    struct timespec until = engine_deadline(wait_ms);
    enum err_code code;

    while ((code = store_checkpoint(store, err)) == ERR_BUSY) {
        struct timespec now = engine_deadline(0);
        int left_ms = ms_between(&now, &until);
        if (left_ms <= 0 || !store_wait_reads(store, left_ms)) {
            return err_set(err, ERR_BUSY,
                           "statements that began before it kept the checkpoint from being made; "
                           "ask again when they have ended");
        }
    }
    return code;
}

static enum err_code
compact(void *ctx, struct store *store, struct err *err)
{
    struct compacting *compacting = ctx;
    struct engine *engine = compacting->engine;
    char path[ENGINE_PATH_MAX];
    enum err_code code = checkpoint_alone(store, compacting->wait_ms, err);

    compacting->result.bytes_before = size_of(store);
    compacting->result.bytes_after = compacting->result.bytes_before;
    snprintf(path, sizeof(path), "%.4000s%s", engine->store_path, REBUILD_COMPACT);
    code = code ? code : store_compact(store, path, err);
    if (code != ERR_OK) {
        return code;
    }
    uint64_t after = datadir_file_bytes(path);
    if (!is_worth_it(compacting->result.bytes_before, after)) {
        unlink(path);
        return ERR_OK;
    }
    code = rebuild_swap(engine, path, err);
    if (code == ERR_OK) {
        compacting->result.bytes_after = size_of(engine->store);
        compacting->result.swapped = true;
    }
    return code;
}

/* An applier that cannot go on comes to no end of its group. */
static enum err_code
check_running(struct engine *engine, struct err *err)
{
    pthread_mutex_lock(&engine->lock);
    bool runs = engine->state == ENGINE_RUNNING;
    struct err problem = engine->problem;
    pthread_mutex_unlock(&engine->lock);
    return runs ? ERR_OK
                : err_set(err, problem.code == ERR_NO_SPACE ? ERR_NO_SPACE : ERR_UNAVAILABLE,
                          "the store takes no records at present: %s", problem.msg);
}

/*
 * Records wait while the applier waits for statements. So it waits a little first, then longer, and
 * works for as long between; since every statement has its time limit, one of the tries succeeds.
 */
static enum err_code
compact_patiently(struct compacting *compacting, int timeout_ms, struct err *err)
{
    struct engine *engine = compacting->engine;
    struct timespec until = engine_deadline(timeout_ms);
    enum err_code code;

    compacting->wait_ms = STATEMENTS_FIRST_MS;
    for (;;) {
        struct timespec now = engine_deadline(0);
        int left_ms = ms_between(&now, &until);
        code = check_running(engine, err);
        code = code ? code
                    : engine_between_groups(engine, compact, compacting,
                                            left_ms < GROUP_MS ? left_ms : GROUP_MS, err);
        struct timespec next = engine_deadline(compacting->wait_ms);
        if (code != ERR_BUSY || !engine_is_before(&next, &until) || !pause_until(engine, &next)) {
            return code;
        }
        if (compacting->wait_ms < STATEMENTS_MAX_MS) {
            compacting->wait_ms *= 2;
        }
    }
}

enum err_code
engine_compact(struct engine *engine, int timeout_ms, struct engine_compacted *ret_compacted,
               struct err *err)
{
    struct compacting compacting = {.engine = engine};
    struct engine_turn turn = {.what = "making the database file small"};
    struct timespec until = engine_deadline(timeout_ms);
    enum err_code code = engine_turn_begin(engine, &turn, timeout_ms, err);

    if (code != ERR_OK) {
        return code;
    }
    struct timespec now = engine_deadline(0);
    code = compact_patiently(&compacting, ms_between(&now, &until), err);
    engine_turn_end(engine, &turn);
    if (code == ERR_OK) {
        *ret_compacted = compacting.result;
    }
    return code;
}
