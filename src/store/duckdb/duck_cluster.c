/* A counting sort by series, for their numbers are dense. */
#include "store/duckdb/duck_cluster.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum {
    RUN_ROWS = 122880, /* of one of DuckDB's row groups: beyond there is nothing to win */
    SPARSE = 8         /* so many numbers a row are too many to count */
};

static bool
is_fixed(enum col_type type)
{
    return type != COL_TEXT && type != COL_JSON && type != COL_BOOL;
}

bool
duck_cluster_suits(const struct duck_table *table)
{
    const struct catalog_table *of = table->table;
    bool suits = table->policy == DUCK_APPEND && of->series_column != CATALOG_NONE &&
                 of->columns[of->series_column].type == COL_INT32;

    for (size_t i = 0; i < of->column_count && suits; i++) {
        suits = is_fixed(of->columns[i].type);
    }
    return suits;
}

void
duck_cluster_init(struct duck_cluster *cluster, const struct catalog_table *table,
                  struct duck_appender *appender, size_t rows)
{
    *cluster = (struct duck_cluster){.appender = appender,
                                     .series = (size_t)table->series_column,
                                     .rows_max = rows < RUN_ROWS ? rows : RUN_ROWS};
    batch_init(&cluster->rows, table, 0);
    batch_init(&cluster->ordered, table, 0);
    batch_reserve(&cluster->rows, cluster->rows_max);
    cluster->places = mem_zalloc(cluster->rows_max + 1, sizeof(*cluster->places));
}

void
duck_cluster_fini(struct duck_cluster *cluster)
{
    batch_fini(&cluster->rows);
    batch_fini(&cluster->ordered);
    free(cluster->places);
}

/* The lowest number, and how many there are from it to the highest; 0 when the rows are in order
 * already or the numbers are too many. */
static size_t
span_of(const struct duck_cluster *cluster, int32_t *ret_lowest)
{
    const int32_t *ids = cluster->rows.columns[cluster->series].i32;
    size_t count = cluster->rows.rows;
    int32_t lowest = ids[0];
    int32_t highest = ids[0];
    bool in_order = true;

    for (size_t i = 1; i < count; i++) {
        in_order = in_order && ids[i] >= ids[i - 1];
        lowest = ids[i] < lowest ? ids[i] : lowest;
        highest = ids[i] > highest ? ids[i] : highest;
    }
    size_t span = (size_t)((int64_t)highest - lowest) + 1;
    *ret_lowest = lowest;
    return in_order || span > count * SPARSE ? 0 : span;
}

/* Where each row goes: behind those of lower numbers, and of its own that came before it. */
static void
find_places(struct duck_cluster *cluster, int32_t lowest, size_t span)
{
    const int32_t *ids = cluster->rows.columns[cluster->series].i32;
    uint32_t *next = mem_zalloc(span + 1, sizeof(*next));

    for (size_t i = 0; i < cluster->rows.rows; i++) {
        next[ids[i] - lowest + 1]++;
    }
    for (size_t i = 1; i < span; i++) {
        next[i] += next[i - 1];
    }
    for (size_t i = 0; i < cluster->rows.rows; i++) {
        cluster->places[i] = next[ids[i] - lowest]++;
    }
    free(next);
}

static void
put_in_order(struct duck_cluster *cluster)
{
    const uint32_t *places = cluster->places;
    size_t count = cluster->rows.rows;

    batch_reset(&cluster->ordered);
    batch_reserve(&cluster->ordered, count);
    batch_extend(&cluster->ordered, count);
    for (size_t c = 0; c < cluster->rows.column_count; c++) {
        const struct column *from = &cluster->rows.columns[c];
        struct column *to = &cluster->ordered.columns[c];
        for (size_t i = 0; i < count && from->type == COL_INT32; i++) {
            to->i32[places[i]] = from->i32[i];
        }
        for (size_t i = 0; i < count && from->type != COL_INT32; i++) {
            to->i64[places[i]] = from->i64[i]; /* all others have 8 bytes */
        }
    }
}

enum err_code
duck_cluster_flush(struct duck_cluster *cluster, struct err *err)
{
    const struct batch *rows = &cluster->rows;
    enum err_code code = ERR_OK;
    int32_t lowest;

    if (rows->rows > 0) {
        size_t span = span_of(cluster, &lowest);
        if (span > 0) {
            find_places(cluster, lowest, span);
            put_in_order(cluster);
            rows = &cluster->ordered;
        }
        code = duck_appender_rows(cluster->appender, rows, 0, rows->rows, err);
        batch_reset(&cluster->rows);
    }
    return code;
}

static bool
has_nulls(const struct batch *batch)
{
    bool found = false;

    for (size_t c = 0; c < batch->column_count && !found; c++) {
        found = duck_has_nulls(&batch->columns[c], 0, batch->rows);
    }
    return found;
}

enum err_code
duck_cluster_add(struct duck_cluster *cluster, const struct batch *batch, struct err *err)
{
    enum err_code code = ERR_OK;
    size_t from = 0;

    if (has_nulls(batch)) { /* which the table may refuse */
        code = duck_cluster_flush(cluster, err);
        return code ? code : duck_appender_rows(cluster->appender, batch, 0, batch->rows, err);
    }
    while (from < batch->rows && !code) {
        size_t room = cluster->rows_max - cluster->rows.rows;
        size_t count = batch->rows - from < room ? batch->rows - from : room;
        size_t first = batch_extend(&cluster->rows, count);
        for (size_t c = 0; c < batch->column_count; c++) {
            const struct column *source = &batch->columns[c];
            struct column *to = &cluster->rows.columns[c];
            if (source->type == COL_INT32) {
                memcpy(to->i32 + first, source->i32 + from, count * sizeof(int32_t));
            } else {
                memcpy(to->i64 + first, source->i64 + from, count * sizeof(int64_t));
            }
        }
        from += count;
        if (cluster->rows.rows == cluster->rows_max) {
            code = duck_cluster_flush(cluster, err);
        }
    }
    return code;
}
