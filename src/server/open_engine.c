/* Which store the configuration asks for. */
#include "server/open_engine.h"

#include <sys/stat.h>

#include "codec/time.h"
#include "server/backups.h"
#include "store/duckdb/store_duckdb.h"
#include "store/memory/store_memory.h"
#include "store/postgres/store_postgres.h"

enum { MS_PER_MINUTE = 60000 };

static void
use_maintenance(const struct config *config, struct engine_options *options)
{
    options->maintain = (struct maintain_options){
        .enabled = true,
        .rules = (const char *const *)config->retention.items,
        .rule_count = config->retention.count,
        .retention_minute = (int)(config->retention_at_ms / MS_PER_MINUTE),
    };
}

static void
use_duckdb(const struct config *config, struct engine_options *options)
{
    use_maintenance(config, options);
    options->maintain.seal = config->storage.cold.enabled;
    options->maintain.after_us = config->storage.cold.after_ms * TIME_US_PER_MS;
    options->maintain.rows_min = (uint64_t)config->storage.cold.min_rows;
    options->maintain.merge_files = (unsigned)config->storage.cold.merge_files;
    options->store_open = store_duckdb_open;
    options->store_file = config->storage.duckdb.path;
    options->store.memory_limit_bytes = (uint64_t)config->storage.duckdb.memory_limit_bytes;
    options->store.threads = (unsigned)config->storage.duckdb.threads;
}

enum err_code
server_check_data_dir(const struct config *config, struct err *err)
{
    struct stat info;

    if (stat(config->data_dir, &info) != 0 || S_ISDIR(info.st_mode)) {
        return ERR_OK; /* what cannot be made, or not be entered, the engine tells */
    }
    return err_set(err, ERR_IO, "%s: data_dir is %.300s, which is no directory; expected one",
                   config_where(config, "data_dir"), config->data_dir);
}

enum err_code
server_postgres_options(const struct config *config, struct store_postgres_options *ret_options,
                        struct err *err)
{
    enum err_code code = config_need(config, "storage.postgres.", err);

    if (code != ERR_OK) {
        return code;
    }
    *ret_options = (struct store_postgres_options){
        .dsn = config->storage.postgres.dsn,
        .host = config->storage.postgres.host,
        .port = (int)config->storage.postgres.port,
        .database = config->storage.postgres.database,
        .user = config->storage.postgres.user,
        .password = config->storage.postgres.password,
        .sslmode = config->storage.postgres.sslmode,
        .max_connections = (unsigned)config->storage.postgres.max_connections,
    };
    return ERR_OK;
}

static enum err_code
use_postgres(const struct config *config, struct engine_options *options, struct err *err)
{
    use_maintenance(config, options);
    options->store_open = store_postgres_open;
    options->store_remote = true;
    options->keep_wal_bytes = (uint64_t)config->storage.postgres.keep_wal_bytes;
    return server_postgres_options(config, &options->store.postgres, err);
}

enum err_code
server_engine_options(const struct config *config, struct engine_options *ret_options,
                      struct err *err)
{
    struct engine_options options = {
        .data_dir = config->data_dir,
        .store = {.readers = (unsigned)config->storage.duckdb.readers,
                  .timeout_ms = (int)config->storage.duckdb.query_timeout_ms},
        .wal = {.segment_bytes = (size_t)config->wal.segment_bytes},
        .snapshot_wal_bytes = (uint64_t)config->storage.snapshot_wal_bytes,
        .checkpoint_interval_ms = (int)config->storage.checkpoint_interval_ms,
        .hot_cache_bytes = (uint64_t)config->storage.hot_cache_bytes,
    };
    enum err_code code = server_check_data_dir(config, err);

    if (code != ERR_OK) {
        return code;
    }
    switch ((enum config_storage)config->storage.type) {
    case CONFIG_STORAGE_DUCKDB:
        use_duckdb(config, &options);
        break;
    case CONFIG_STORAGE_MEMORY:
        options.store_open = store_memory_open;
        options.store_volatile = true;
        options.store.points_max = (uint64_t)config->storage.memory.points_max;
        options.store.memory_limit_bytes = (uint64_t)config->storage.memory.bytes_max;
        break;
    case CONFIG_STORAGE_POSTGRES:
        code = use_postgres(config, &options, err);
        break;
    }
    if (code != ERR_OK) {
        return code;
    }
    if (!options.store_open) {
        return err_set(err, ERR_UNSUPPORTED, "storage.type is none that this program has");
    }
    if (config->storage.type == CONFIG_STORAGE_MEMORY && config->retention.count > 0) {
        return err_set(
            err, ERR_USAGE,
            "retention has rules, but the memory store forgets by storage.memory.max_points "
            "and storage.memory.max_bytes alone; expected no rules, or storage.type duckdb "
            "or postgres");
    }
    backups_hook(config, &options);
    *ret_options = options;
    return ERR_OK;
}
