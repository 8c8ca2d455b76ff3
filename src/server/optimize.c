/* Seal and merge, checkpoint, compact; what a store cannot do is passed over. */
#include "server/optimize.h"

#include <stdlib.h>

enum { SEAL_MS = 3600 * 1000, BEGIN_MS = 3600 * 1000 };

struct sizes {
    uint64_t database;
    uint64_t cold;
    uint64_t cold_files;
};

static void
measure(struct engine *engine, struct sizes *sizes)
{
    struct engine_status status;
    struct cold_file *files = NULL;
    size_t count = 0;
    struct err ignored;

    *sizes = (struct sizes){0};
    engine_status(engine, &status);
    sizes->database = status.store.size_bytes;
    if (engine_cold_list(engine, &files, &count, &ignored) == ERR_OK) {
        sizes->cold_files = count;
        for (size_t i = 0; i < count; i++) {
            sizes->cold += files[i].bytes;
        }
    }
    free(files);
}

static void
add_sizes(struct json_writer *json, const char *key, const struct sizes *sizes)
{
    json_key(json, key);
    json_object_begin(json);
    json_key(json, "database_bytes");
    json_u64(json, sizes->database);
    json_key(json, "cold_bytes");
    json_u64(json, sizes->cold);
    json_key(json, "cold_files");
    json_u64(json, sizes->cold_files);
    json_object_end(json);
}

/* *ret_sealed false: there is no cold data, or no thread that makes it. */
static enum err_code
seal(struct engine *engine, bool *ret_sealed, struct err *err)
{
    const struct maintain_seal all = {.table = 0};
    uint64_t ticket;
    enum err_code code = engine_ask_seal(engine, &all, &ticket, err);

    *ret_sealed = code == ERR_OK;
    if (code == ERR_UNSUPPORTED || code == ERR_BUSY) {
        return ERR_OK; /* asked for by somebody else: it comes */
    }
    return code ? code : engine_maintain_wait(engine, ticket, SEAL_MS, err);
}

enum err_code
optimize_run(struct engine *engine, struct json_writer *json, struct err *err)
{
    struct engine_compacted compacted = {0};
    struct sizes before;
    struct sizes after;
    bool sealed = false;

    measure(engine, &before);
    enum err_code code = seal(engine, &sealed, err);
    if (code == ERR_OK) {
        code = engine_compact(engine, BEGIN_MS, &compacted, err);
        code = code == ERR_UNSUPPORTED && sealed ? ERR_OK : code;
    }
    if (code != ERR_OK) {
        return code;
    }
    measure(engine, &after);
    json_key(json, "sealed");
    json_bool(json, sealed);
    json_key(json, "compacted");
    json_bool(json, compacted.swapped);
    add_sizes(json, "before", &before);
    add_sizes(json, "after", &after);
    return ERR_OK;
}
