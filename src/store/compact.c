/*
 * Making the database file small: a compact copy is written and takes the file's place between two
 * groups.
 *
 *   copy, synced, as <file>.compact ─► store closed ─► renamed over the file ─► opened
 *
 * Until the rename a crash leaves the old file and a copy that the next open removes; from then on
 * the new file, which has every row of the old one, since nothing is applied meanwhile.
 */
#include <stdio.h>
#include <unistd.h>

#include "store/engine_private.h"

enum { GAIN_SHARE = 10, GAIN_BYTES_MIN = 1 << 20 };

struct compacting {
    struct engine *engine;
    struct engine_compacted result;
};

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

static enum err_code
compact(void *ctx, struct store *store, struct err *err)
{
    struct compacting *compacting = ctx;
    struct engine *engine = compacting->engine;
    char path[ENGINE_PATH_MAX];
    enum err_code code = store_checkpoint(store, err);

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

enum err_code
engine_compact(struct engine *engine, int timeout_ms, struct engine_compacted *ret_compacted,
               struct err *err)
{
    struct compacting compacting = {.engine = engine};
    enum err_code code = engine_between_groups(engine, compact, &compacting, timeout_ms, err);

    if (code == ERR_OK) {
        *ret_compacted = compacting.result;
    }
    return code;
}
