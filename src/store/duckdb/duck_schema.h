/* The migrations of the DuckDB store (schema/schema.h), on its writing connection. */
#ifndef EIDER_STORE_DUCKDB_DUCK_SCHEMA_H
#define EIDER_STORE_DUCKDB_DUCK_SCHEMA_H

#include "schema/schema.h"
#include "store/duckdb/duck.h"

/* What the runner needs of an open database; borrows the store. */
struct schema_db duck_schema_db(struct duck_store *duck);

#endif
