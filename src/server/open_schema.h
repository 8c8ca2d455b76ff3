/*
 * The database of the configuration, opened for its schema alone: the one place that knows which
 * settings mean which. For `eider migrate schema`; the server's stores bring their schema up
 * themselves when they open.
 */
#ifndef EIDER_SERVER_OPEN_SCHEMA_H
#define EIDER_SERVER_OPEN_SCHEMA_H

#include "schema/schema.h"
#include "server/config.h"

/*
 * Opens it, without `change` only to look. The caller holds the lock of the data directory. Texts
 * stay the configuration's. Errors: ERR_UNSUPPORTED when the store has no tables that are kept,
 * else the store's.
 */
enum err_code server_schema_open(const struct config *config, bool change,
                                 struct schema_session **ret_session, struct err *err);

#endif
