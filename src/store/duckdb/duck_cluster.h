/*
 * Rows of one group, series by series: a statement asks for some series of many, and DuckDB skips
 * the vectors of 2048 rows in which it finds none of them. Collectors send all their series one
 * moment after the other, so that every vector had a row of each.
 *
 * Rows of one series keep their order, which tells which of equal times was written last. Rows are
 * put in order within runs of a row group; a small group stays small, for nothing is held back.
 *
 * One thread. Owned by the caller; init/fini.
 */
#ifndef EIDER_STORE_DUCKDB_DUCK_CLUSTER_H
#define EIDER_STORE_DUCKDB_DUCK_CLUSTER_H

#include "store/duckdb/duck.h"

struct duck_cluster {
    struct duck_appender *appender;
    size_t series;        /* the column */
    size_t rows_max;      /* of a run */
    struct batch rows;    /* as they came */
    struct batch ordered; /* and as they go */
    uint32_t *places;     /* of a row among the ordered */
};

/* Whether a table's rows are put in order: of a series, with numbers and times alone, none of which
 * replaces another. */
bool duck_cluster_suits(const struct duck_table *table);

/* For a group of so many rows of the table, which go to the appender. */
void duck_cluster_init(struct duck_cluster *cluster, const struct catalog_table *table,
                       struct duck_appender *appender, size_t rows);
enum err_code duck_cluster_add(struct duck_cluster *cluster, const struct batch *batch,
                               struct err *err);

/* Appends what was added and not yet appended. */
enum err_code duck_cluster_flush(struct duck_cluster *cluster, struct err *err);
void duck_cluster_fini(struct duck_cluster *cluster);

#endif
