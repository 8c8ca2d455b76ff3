/*
 * The views of the DuckDB store: a sealed table x is stored as x_hot, and x is a view; over them
 * stand the catalogue's own views. Whoever reads says x, whoever writes says duck_hot_name.
 */
#ifndef EIDER_STORE_DUCKDB_DUCK_VIEWS_H
#define EIDER_STORE_DUCKDB_DUCK_VIEWS_H

#include "store/duckdb/duck.h"

enum { DUCK_NAME_MAX = 64 };

/* The name of the table that takes a catalogue table's rows: "x_hot", or its own. */
void duck_hot_name(const struct catalog_table *table, char ret_name[DUCK_NAME_MAX]);

/* Makes all views anew, in one transaction: their texts may change from version to version.
 * ERR_CONFLICT when a table of somebody else has the name of one. The applier's thread. */
enum err_code duck_views_make(struct duck_store *duck, struct err *err);

/* In a transaction of the writer: makes the views of a sealed table for these files, which are the
 * whole list. */
enum err_code duck_views_update(struct duck_store *duck, enum table_id table,
                                const struct cold_file *files, size_t count, struct err *err);

#endif
