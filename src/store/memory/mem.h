/*
 * What the files of the memory store share; private to this folder.
 *
 *   store_memory.c  the vtable      mem_write.c  rows in, the least recently used out
 *   mem_rows.c      finding rows    mem_read.c   scans, newest rows     mem_bucket.c  buckets
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
#include "store/lru.h"
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

/* Rows of one table that belong together, and go together: of a symbol, of a strategy; of the
 * whole table where no column names a series; the samples of one series. */
struct mem_series {
    struct lru_item item; /* first */
    const struct catalog_table *table;
    struct ring points; /* TABLE_SAMPLES only */
    struct mem_row *oldest;
    struct mem_row *newest;
};

struct mem_row {
    uint64_t order;            /* of writing, over all tables */
    uint64_t place;            /* of arrival; a row that replaces another takes its place */
    struct mem_series *series; /* NULL: a definition, which stays */
    struct mem_row *older;     /* in the series */
    struct mem_row *newer;
    struct key_hash key;
    size_t bytes;   /* of this allocation */
    uint32_t valid; /* bit a column */
    union mem_cell cells[];
};

/* A row in the order of arrival; NULL: gone. */
struct mem_slot {
    uint64_t place;
    struct mem_row *row;
};

/* Rows in order of arrival, by rising place. Samples are in their series alone. */
struct mem_table {
    const struct catalog_table *table;
    struct column_list key; /* empty: rows are only added */
    struct key_map places;  /* key -> place */
    struct mem_slot *slots;
    size_t head;
    size_t count; /* with those that are gone */
    size_t rows;
    size_t cap;
};

enum { MEM_TOUCHED_MAX = 256, MEM_TOUCHED_OF_ONE = 16 };

struct mem_store {
    struct store store; /* first */
    const struct clock *clock;
    pthread_rwlock_t lock; /* rows and lru; apply writes, all others read */
    struct mem_table tables[TABLE_ID_END];
    struct lru lru;
    uint64_t next_order;
    uint64_t next_place;
    size_t definition_bytes;
    size_t bytes_max;

    /* Readers share the lock, so they cannot move a series to the front: they note its key here,
     * and the next apply does. What is over is forgotten. */
    pthread_mutex_t touched_lock;
    uint64_t touched[MEM_TOUCHED_MAX];
    size_t touched_count;
    uint64_t hits; /* reads that found rows */
    uint64_t misses;

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

/* mem_write.c */

/* Adds a row of a batch, or replaces one, and takes out what is over the bounds. With the lock held
 * for writing, as for the other two. */
void mem_put_row(struct mem_store *mem, struct mem_table *table, const struct batch *batch,
                 size_t row);

/* Moves to the front what was read since. */
void mem_promote(struct mem_store *mem);

/* Frees all rows and series. */
void mem_free_rows(struct mem_store *mem);

/* The definition of a series, or NULL. The lock is held. */
const struct mem_row *mem_find_series(const struct mem_store *mem, int32_t series_id);

/* mem_rows.c: what all reads share */

/* A row of a table, or a sample, for the view with its series' definition. */
struct mem_ref {
    const struct mem_row *row; /* NULL for a sample */
    const struct mem_row *series;
    int64_t bucket_us;
    uint64_t order;
    int64_t time_us; /* of a sample, as what follows */
    double value;
    int32_t series_id;
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
    uint64_t found[MEM_TOUCHED_OF_ONE]; /* keys of the series that rows were found in */
    size_t found_count;                 /* of all, more than `found` holds or not */
    const struct mem_series *last_found;
};

static const size_t mem_answer_bytes_max = 1ULL << 30;

/* The value of a column; a column of the view is one of samples or of series, by name. */
struct mem_value mem_value_of(const struct catalog_table *table, const struct mem_ref *ref,
                              size_t column);
int mem_compare(const struct mem_value *a, const struct mem_value *b);

/* Whether two rows are of one bucket and equal in all columns of reading->order. */
bool mem_same(const struct mem_reading *reading, const struct mem_ref *a, const struct mem_ref *b);

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

/* Keeps references to the rows of places [from, to) that pass, until there are `max`; returns the
 * place to go on from. Not for samples. */
uint64_t mem_gather_range(struct mem_reading *reading, const struct mem_plan *plan, uint64_t from,
                          uint64_t to, size_t max);

/* The slot of the first row at or behind a place. */
size_t mem_slot_of(const struct mem_table *table, uint64_t place);

/* Whether a table's rows are samples: the table itself, or the view over it. */
static inline bool
mem_is_samples(const struct catalog_table *table)
{
    return table->id == TABLE_SAMPLES || table->kind == TABLE_VIEW;
}

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

/* mem_snapshot.c */

enum err_code mem_snapshot(struct store *store, const char *path, struct err *err);

/* Fills an empty store from a snapshot; no file is an empty one. ERR_CORRUPT: it is damaged, and
 * the store of no use. */
enum err_code mem_load(struct mem_store *mem, const char *path, struct err *err);

/* The vtable's reading functions */

enum err_code mem_scan(struct store *store, const struct store_scan *scan, struct batch *ret_rows,
                       struct err *err);
enum err_code mem_visit(struct store *store, const struct store_scan *scan, store_visit_fn *fn,
                        void *ctx, struct err *err);
enum err_code mem_bucket(struct store *store, const struct store_bucket *bucket,
                         struct batch *ret_rows, struct err *err);
enum err_code mem_latest(struct store *store, enum table_id id,
                         const struct store_patience *patience, struct batch *ret_rows,
                         struct err *err);
enum err_code mem_table_stats(struct store *store, enum table_id id,
                              struct store_table_stats *ret_stats, struct err *err);

#endif
