/* How much memory the process may have before statements are ended for it. */
#ifndef EIDER_SERVER_MEMORY_H
#define EIDER_SERVER_MEMORY_H

#include "server/config.h"
#include "store/memory_guard.h"

/*
 * server.memory_max, or: 256 MiB and, for each database, storage.duckdb.memory_limit and
 * storage.hot_cache_bytes; but at most nine tenths of what the machine or cgroup has.
 */
uint64_t server_memory_max(const struct config *config);

/* The guard for it. Not for stores that keep no DuckDB: nobody enters it then. */
enum err_code server_memory_guard(const struct config *config, struct memory_guard **ret_guard,
                                  struct err *err);

#endif
