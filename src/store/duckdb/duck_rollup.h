/*
 * Rollups: partial aggregates of a raw file by series and bucket. A row of one has
 *
 *   <series column>, "timestamp" (of the bucket), row_count, first_row, last_row (their times), and
 *   of every number x: x_first, x_first_at, x_last, x_last_at, x_min, x_max, x_sum, x_count
 *
 * so that rows of several rollups come together as if their raw rows were there: sums of sums, the
 * first of the earliest. Sums of whole numbers are DECIMAL(38,0), for Parquet has no larger
 * integer.
 */
#ifndef EIDER_STORE_DUCKDB_DUCK_ROLLUP_H
#define EIDER_STORE_DUCKDB_DUCK_ROLLUP_H

#include "store/duckdb/duck_seal.h"

/* Whether a rollup has the numbers of this column. */
bool duck_rollup_has(enum col_type type);

/* The SQL type of its sums. */
const char *duck_rollup_sum_type(enum col_type type);

/* Appends a SELECT of the rollup's columns from rows: `from` is a table, a view, a subquery. */
void duck_rollup_add_raw(const struct catalog_table *table, enum cold_kind kind, struct slice from,
                         struct buf *sql);

/* The same from rows of rollups whose buckets are not larger. COLD_RAW: buckets stay as they are.
 */
void duck_rollup_add_merged(const struct catalog_table *table, enum cold_kind kind,
                            struct slice from, struct buf *sql);

/* Writes the rollups of a sealing, behind its raw file. */
enum err_code duck_rollup_write(struct duck_store *duck, struct store_sealing *sealing,
                                struct err *err);

/* Appends CREATE OR REPLACE VIEW for a table's rollups: samples_1m, ... */
void duck_rollup_add_views(const struct duck_store *duck, const struct catalog_table *table,
                           struct buf *sql);

#endif
