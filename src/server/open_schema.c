/* Which database the configuration means. */
#include "server/open_schema.h"

#include "server/open_engine.h"
#include "store/duckdb/duckdb_schema.h"
#include "store/postgres/postgres_schema.h"

static enum err_code
open_duckdb(const struct config *config, bool change, struct schema_session **ret_session,
            struct err *err)
{
    struct buf path BUF_AUTO;

    buf_init(&path, 0);
    buf_add_fmt(&path, "%s/%s%c", config->data_dir, config->storage.duckdb.path, '\0');
    struct store_open_options options = {
        .path = path.ptr,
        .memory_limit_bytes = (uint64_t)config->storage.duckdb.memory_limit_bytes,
    };
    return store_duckdb_schema_open(&options, change, ret_session, err);
}

enum err_code
server_schema_open(const struct config *config, bool change, struct schema_session **ret_session,
                   struct err *err)
{
    switch ((enum config_storage)config->storage.type) {
    case CONFIG_STORAGE_DUCKDB:
        return open_duckdb(config, change, ret_session, err);
    case CONFIG_STORAGE_MEMORY:
        return err_set(
            err, ERR_UNSUPPORTED,
            "storage.type memory keeps no tables on disk: there is no schema to migrate");
    case CONFIG_STORAGE_POSTGRES: {
        struct store_open_options options = {0};
        enum err_code code = server_postgres_options(config, &options.postgres, err);
        return code ? code : store_postgres_schema_open(&options, change, ret_session, err);
    }
    }
    return err_set(err, ERR_UNSUPPORTED, "storage.type is none that this program has");
}
