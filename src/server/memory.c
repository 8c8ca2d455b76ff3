/* The bound on the process' memory. */
#include "server/memory.h"

#include "base/limits.h"
#include "server/config_databases.h"
#include "store/duckdb/store_duckdb.h"

static const uint64_t base_bytes = 256 << 20; /* requests, caches, the program itself */

static uint64_t
of_database(const struct config *config)
{
    uint64_t wanted = (uint64_t)config->storage.duckdb.memory_limit_bytes;

    if (config->storage.type != CONFIG_STORAGE_DUCKDB) {
        return 0;
    }
    return store_duckdb_memory_limit(wanted) + (uint64_t)config->storage.hot_cache_bytes;
}

uint64_t
server_memory_max(const struct config *config)
{
    const struct config_databases *others = config->databases;
    uint64_t most = limits_memory_bytes() / 10 * 9;
    uint64_t max = base_bytes + of_database(config);

    if (config->server.memory_max_bytes > 0) {
        return (uint64_t)config->server.memory_max_bytes;
    }
    for (size_t i = 0; others && i < others->count; i++) {
        max += of_database(&others->items[i].view);
    }
    return max < most ? max : most;
}

enum err_code
server_memory_guard(const struct config *config, struct memory_guard **ret_guard, struct err *err)
{
    const struct memory_guard_options options = {.limit_bytes = server_memory_max(config),
                                                 .trim = store_duckdb_trim};

    return memory_guard_new(&options, ret_guard, err);
}
