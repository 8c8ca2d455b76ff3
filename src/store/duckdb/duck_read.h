/*
 * Statements of the store's own reads, being written and run: what duck_read.c and duck_bucket.c
 * share. Identifiers come from the catalogue only.
 */
#ifndef EIDER_STORE_DUCKDB_DUCK_READ_H
#define EIDER_STORE_DUCKDB_DUCK_READ_H

#include "store/duckdb/duck_cold.h"
#include "store/duckdb/sql_range.h"

enum { DUCK_SQL_BYTES = 64 << 20 };

/* A statement being written. */
struct duck_sql {
    struct buf text;
    struct store_param *params;
    size_t param_count;
    size_t param_cap;
    bool once;    /* one of the parameters is that of duck_cold_add_files_once */
    bool literal; /* texts stand in it, escaped, and are not bound: Parquet's row groups are skipped
                     by constants only */
};

void duck_sql_init(struct duck_sql *sql);
void duck_sql_fini(struct duck_sql *sql);

/* What the files that are named next wait for (duck_cold_add_files_once): a parameter, which the
 * first have; the others NULL. */
const char *duck_sql_once(struct duck_sql *sql);

/* Appends a quoted name. */
void duck_sql_name(struct duck_sql *sql, const char *name);

/* Appends "a", "b", "c", with a prefix. */
void duck_sql_names(struct duck_sql *sql, const struct catalog_table *table,
                    const struct column_list *columns, const char *prefix);

/* Appends column = value, or column IN (values). */
enum err_code duck_sql_filter(struct duck_sql *sql, const struct catalog_table *table,
                              const struct store_filter *filter, struct err *err);
void duck_sql_time(struct duck_sql *sql, int64_t time_us);

/* Appends " WHERE ...", all that a scan asks for. */
enum err_code duck_sql_where(struct duck_sql *sql, const struct catalog_table *table,
                             const struct store_scan *scan, struct err *err);
void duck_sql_limit(struct duck_sql *sql, const struct store_scan *scan);

/* The name of the time column, or NULL. */
const char *duck_time_name(const struct catalog_table *table);
const struct catalog_table *duck_find_table(enum table_id id, struct err *err);

/* A read under way. Tables with cold files are read in a transaction (duck_cold.h). */
struct duck_reading {
    struct duck_store *duck;
    struct duck_reader *reader;
    bool listing; /* holds the list's lock; never for a table without cold files */
    bool begun;
    bool cold; /* the statement names cold files */
    struct duck_sql sql;
};

/* Until duck_reading_run, the list of cold files stays as it is. To be closed in every case. */
enum err_code duck_reading_open(struct duck_reading *reading, struct duck_store *duck,
                                const struct catalog_table *table, int timeout_ms,
                                struct store_cancel *cancel, struct err *err);
enum err_code duck_reading_run(struct duck_reading *reading, struct batch *ret_rows,
                               struct err *err);
void duck_reading_close(struct duck_reading *reading);

/* Lets the list of cold files change already; what the transaction sees stays as it is. */
void duck_reading_unlist(struct duck_reading *reading);

/* Appends " FROM ...": hot rows, and the cold files of the range; whether there are such. */
bool duck_reading_source(struct duck_reading *reading, const struct catalog_table *table,
                         int64_t from_us, int64_t to_us);

/* duck_narrow.c: appends a user's statement with hot rows and the cold files of its times in the
 * place of the views; *ret_once: it has one parameter more, which is false (duck_cold.h). False
 * when that is no gain. Holds the list's lock. */
bool duck_narrow(const struct duck_store *duck, const struct sql_ranges *ranges,
                 const struct store_sql *sql, struct buf *text, bool *ret_once);

#endif
