/* A PostgreSQL database opened for its schema alone: no tables are made, nothing is applied. */
#ifndef EIDER_STORE_POSTGRES_POSTGRES_SCHEMA_H
#define EIDER_STORE_POSTGRES_POSTGRES_SCHEMA_H

#include "schema/schema.h"
#include "store/engine.h"

/*
 * Connects by options->postgres; with `change` nobody else writes there meanwhile. Errors: ERR_IO,
 * ERR_TIMEOUT when the server is away or another Eider writes to it, ERR_USAGE for options that
 * cannot be read.
 */
enum err_code store_postgres_schema_open(const struct store_open_options *options, bool change,
                                         struct schema_session **ret_session, struct err *err);

#endif
