/*
 * Which times a user's statement can ask for at all, so that it need not open the cold files of
 * others. Told from the text, and only where there is no doubt:
 *
 *   [EXPLAIN [ANALYZE]] SELECT ... FROM samples [AS s] [[INNER|CROSS|LEFT] JOIN ... [ON ...]], ...
 *   WHERE condition AND s.timestamp >= TIMESTAMP '2026-01-02' AND condition ... [GROUP BY ...]
 *
 * A table is bounded by comparisons (=, >=, >, <, <=, BETWEEN) of its time column with a time
 * written out, a text parameter or now() less an interval, joined with the rest of WHERE by AND.
 * Rows of that table beyond cannot come through WHERE, so what FROM stands for may lack them.
 * Subqueries in parentheses are left as they are. Anything else at the top of the statement (OR,
 * set operations, other joins, samples, ->) makes the answer "do not know".
 *
 * Pure; any thread.
 */
#ifndef EIDER_STORE_DUCKDB_SQL_RANGE_H
#define EIDER_STORE_DUCKDB_SQL_RANGE_H

#include "catalog/catalog.h"
#include "store/sql_token.h"
#include "store/store.h"

enum { SQL_RANGE_REFS_MAX = 8 };

/* A name behind FROM or JOIN. */
struct sql_range_ref {
    const struct catalog_table *table; /* sealed, or the view of samples; NULL: something else */
    size_t begin;                      /* the name's place in the text */
    size_t end;
    bool aliased;              /* another name follows */
    char alias[SQL_TOKEN_MAX]; /* what columns are called by, in lower case */
    int64_t from_us;           /* INT64_MIN: not bounded */
    int64_t to_us;             /* INT64_MAX: not bounded */
};

struct sql_ranges {
    struct sql_range_ref refs[SQL_RANGE_REFS_MAX];
    size_t count;
};

/* False: any table may be asked for any time. */
bool sql_ranges_find(const struct store_sql *sql, struct sql_ranges *ret_ranges);

#endif
