/*
 * What the files of the memory store share; private to this folder.
 *
 *   store_memory.c  rows in, the oldest out, the vtable      mem_read.c  scans, buckets, newest
 * rows
 */
#ifndef EIDER_STORE_MEMORY_MEM_H
#define EIDER_STORE_MEMORY_MEM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/hist.h"
#include "store/keys.h"
#include "store/store.h"

/* One value; texts stand behind the cells of their row. */
union mem_cell {
    int64_t i64; /* COL_BOOL, COL_INT32, COL_INT64, COL_TIMESTAMP, COL_DECIMAL */
    double f64;  /* COL_DOUBLE */
    struct {
        uint32_t offset;
        uint32_t len;
    } text; /* COL_TEXT, COL_JSON */
};

struct mem_row {
    uint64_t order; /* of arrival, over all tables */
    struct key_hash key;
    size_t bytes;   /* of this allocation */
    uint32_t valid; /* bit a column */
    union mem_cell cells[];
};

/* Rows in order of arrival; a replaced row keeps its place. Number `first` is rows[head]. */
struct mem_table {
    const struct catalog_table *table;
    struct column_list key; /* empty: rows are only added */
    struct key_map places;  /* key -> number of the row */
    struct mem_row **rows;
    size_t head;
    size_t count;
    size_t cap;
    uint64_t first;
};

struct mem_store {
    struct store store; /* first */
    const struct clock *clock;
    pthread_rwlock_t lock; /* rows; apply writes, all others read */
    struct mem_table tables[TABLE_ID_END];
    uint64_t next_order;
    size_t bytes;
    size_t bytes_max;
    int timeout_ms; /* of visits; all other reads are short */
    _Atomic uint64_t applied_lsn;
    _Atomic uint64_t groups;
    _Atomic uint64_t rows;
    _Atomic uint64_t replaced;
    _Atomic uint64_t queries;
    _Atomic uint64_t query_errors;
    struct hist apply_us;
    struct hist query_us;
};

/* The definition of a series, or NULL. The lock is held. */
const struct mem_row *mem_find_series(const struct mem_store *mem, int32_t series_id);

/* mem_rows.c: what all reads share */

/* A row of a table, or of the view: a sample and its series. */
struct mem_ref {
    const struct mem_row *row;
    const struct mem_row *series;
    int64_t bucket_us;
};

struct mem_value {
    bool valid;
    enum col_type type;
    int64_t i64;
    double f64;
    struct slice text;
};

/* What a read looks at, and the rows found. */
struct mem_reading {
    const struct mem_store *mem;
    const struct catalog_table *table;
    struct column_list order; /* after the bucket */
    bool newest_first;
    int64_t start_us;
    struct mem_ref *refs;
    size_t count;
    size_t cap;
};

static const size_t mem_answer_bytes_max = 1ULL << 30;

/* The value of a column; a column of the view is one of samples or of series, by name. */
struct mem_value mem_value_of(const struct catalog_table *table, const struct mem_ref *ref,
                              size_t column);
int mem_compare(const struct mem_value *a, const struct mem_value *b);

/* Whether two rows are of one bucket and equal in all columns of reading->order. */
bool mem_same(const struct mem_reading *reading, const struct mem_ref *a, const struct mem_ref *b);
enum err_code mem_find_column(const struct catalog_table *table, const char *name,
                              size_t *ret_column, struct err *err);

/* Starts a read: finds the table and takes the lock. */
enum err_code mem_begin(struct store *store, enum table_id id, struct mem_reading *reading,
                        struct err *err);

/* What a scan asks for, its columns found. */
struct mem_plan {
    const struct store_scan *scan;
    size_t filter_columns[STORE_FILTERS_MAX];
    size_t at_least_column;
    struct column_list columns; /* of the answer */
};

enum err_code mem_make_plan(const struct catalog_table *table, const struct store_scan *scan,
                            struct mem_plan *ret_plan, struct err *err);

/* The rows that a read goes over: the table's, or the samples of the view. */
const struct mem_table *mem_rows_of(const struct mem_reading *reading);

/* Keeps references to the rows numbered [from, to) that pass, until there are `max`; returns the
 * number to go on from. Rows that are gone are passed over. */
uint64_t mem_gather_range(struct mem_reading *reading, const struct mem_plan *plan, uint64_t from,
                          uint64_t to, size_t max);

/* Keeps references to all rows that pass. */
enum err_code mem_gather(struct mem_reading *reading, const struct store_scan *scan,
                         struct err *err);

/* By bucket, then by reading->order, then by arrival. */
void mem_sort(struct mem_reading *reading);

/* Time first, then what else tells rows apart, so that pages do not overlap. */
void mem_order_of_scan(const struct catalog_table *table, struct column_list *order);
void mem_set_value(struct batch *rows, size_t column, size_t row, const struct mem_value *value);

/* Ends it; hands the answer over, or frees it when it is refused. */
enum err_code mem_end(struct store *store, struct mem_reading *reading, enum err_code code,
                      struct batch *rows, struct batch *ret_rows, struct err *err);

/* The vtable's reading functions */

enum err_code mem_scan(struct store *store, const struct store_scan *scan, struct batch *ret_rows,
                       struct err *err);
enum err_code mem_visit(struct store *store, const struct store_scan *scan, store_visit_fn *fn,
                        void *ctx, struct err *err);
enum err_code mem_bucket(struct store *store, const struct store_bucket *bucket,
                         struct batch *ret_rows, struct err *err);
enum err_code mem_latest(struct store *store, enum table_id id, struct batch *ret_rows,
                         struct err *err);
enum err_code mem_table_stats(struct store *store, enum table_id id,
                              struct store_table_stats *ret_stats, struct err *err);

#endif
