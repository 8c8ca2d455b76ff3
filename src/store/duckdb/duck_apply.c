/*
 * A group of records as one transaction, table by table:
 *
 *   1. rows that are new for certain go to the appender as they come;
 *   2. late rows (a key that may be there already) wait; of several with one key the last stays;
 *   3. days of theirs whose cold files have such a key become hot again (duck_unseal.h);
 *   4. what the table has under the late rows' keys is deleted, also what step 1 just appended;
 *   5. the late rows are appended.
 *
 * A row newer than every row of its key is new, and every row of that key with the same time that
 * comes behind it is late; so the last one of a group wins, as it would one by one. The applied LSN
 * is inserted by the same transaction, never updated: updates would meet checkpoints.
 */
#include "store/duckdb/duck.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "codec/time.h"
#include "store/duckdb/duck_cluster.h"
#include "store/duckdb/duck_unseal.h"
#include "store/duckdb/duck_views.h"
#include "store/failpoint.h"

enum { SQL_BYTES = 2048, COMMIT_NAP_NS = 50000, ROLLBACKS_MAX = 16 };

/* Takes the place of row_ref.batch. */
static const uint32_t dropped = UINT32_MAX;

struct row_ref {
    uint32_t batch; /* dropped: replaced by a later one */
    uint32_t row;
};

/* One table's part of a group. */
struct part {
    struct duck_store *duck;
    struct duck_table *table;
    const struct store_group *group;
    struct duck_appender appender;
    struct row_ref *late;
    size_t late_count;
    size_t late_cap;
    uint64_t rows;
};

static void
add_late(struct part *part, size_t batch, size_t row)
{
    if (part->late_count == part->late_cap) {
        part->late_cap = part->late_cap ? part->late_cap * 2 : 256;
        part->late = mem_resize(part->late, part->late_cap, sizeof(*part->late));
    }
    part->late[part->late_count++] = (struct row_ref){(uint32_t)batch, (uint32_t)row};
}

/* For one batch: runs of new rows are appended at once. */
static enum err_code
append_new(struct part *part, size_t index, struct err *err)
{
    const struct batch *batch = &part->group->batches[index];
    enum err_code code = ERR_OK;
    size_t from = 0;

    if (part->table->policy == DUCK_APPEND) {
        return duck_appender_rows(&part->appender, batch, 0, batch->rows, err);
    }
    for (size_t row = 0; row < batch->rows && !code; row++) {
        enum duck_row place = duck_table_place(part->table, batch, row);
        if (place == DUCK_ROW_NEW) {
            continue;
        }
        if (row > from) {
            code = duck_appender_rows(&part->appender, batch, from, row - from, err);
        }
        from = row + 1;
        if (place == DUCK_ROW_LATE) {
            add_late(part, index, row);
        }
    }
    if (!code && batch->rows > from) {
        code = duck_appender_rows(&part->appender, batch, from, batch->rows - from, err);
    }
    return code;
}

/* Step 2: keeps the last row of every key. */
static void
drop_replaced(struct part *part)
{
    struct key_map seen;
    bool is_new;

    key_map_init(&seen, SIZE_MAX);
    for (size_t i = part->late_count; i-- > 0;) {
        struct row_ref *ref = &part->late[i];
        const struct batch *batch = &part->group->batches[ref->batch];
        key_map_put(&seen, key_hash_row(batch, &part->table->key, ref->row), 0, &is_new);
        if (!is_new) {
            ref->batch = dropped;
        }
    }
    key_map_fini(&seen);
}

/* Feeds the late rows that stay to an appender. */
static enum err_code
feed_late(struct part *part, struct err *err)
{
    enum err_code code = ERR_OK;

    for (size_t i = 0; i < part->late_count && !code; i++) {
        struct row_ref ref = part->late[i];
        if (ref.batch != dropped) {
            code = duck_appender_rows(&part->appender, &part->group->batches[ref.batch], ref.row, 1,
                                      err);
        }
    }
    return code ? code : duck_appender_finish(&part->appender, err);
}

/* The range of the late rows' times as a condition, so that whole row groups can be skipped. */
static void
add_time_range(const struct part *part, struct buf *sql)
{
    int time_column = part->table->table->time_column;
    int64_t min_us = INT64_MAX;
    int64_t max_us = INT64_MIN;

    if (part->table->policy != DUCK_NEWEST) {
        return;
    }
    for (size_t i = 0; i < part->late_count; i++) {
        struct row_ref ref = part->late[i];
        if (ref.batch != dropped) {
            const struct batch *batch = &part->group->batches[ref.batch];
            int64_t time_us = batch_get_i64(batch, (size_t)time_column, ref.row);
            min_us = time_us < min_us ? time_us : min_us;
            max_us = time_us > max_us ? time_us : max_us;
        }
    }
    if (!time_in_range(min_us) || !time_in_range(max_us)) {
        return; /* make_timestamp refuses some */
    }
    buf_add_fmt(sql,
                "t.\"%s\" BETWEEN make_timestamp(%" PRId64 ") AND make_timestamp(%" PRId64 ") AND ",
                part->table->table->columns[time_column].name, min_us, max_us);
}

/* Step 4. */
static enum err_code
delete_late(struct part *part, struct err *err)
{
    const struct duck_table *table = part->table;
    char hot[DUCK_NAME_MAX];
    struct buf sql BUF_AUTO;

    duck_hot_name(table->table, hot);
    buf_init(&sql, SQL_BYTES);
    buf_add_fmt(&sql, "DELETE FROM main.\"%s\" AS t USING late AS k WHERE ", hot);
    add_time_range(part, &sql);
    for (size_t i = 0; i < table->key.count; i++) {
        const char *name = table->table->columns[table->key.index[i]].name;
        buf_add_fmt(&sql, "%st.\"%s\" IS NOT DISTINCT FROM k.\"%s\"", i ? " AND " : "", name, name);
    }
    buf_add_char(&sql, '\0');
    assert(!sql.overflow);
    enum err_code code = duck_appender_open_keys(&part->appender, part->duck, table, sql.ptr, err);
    if (!code) {
        code = feed_late(part, err);
    }
    duck_appender_close(&part->appender);
    return code;
}

/* Step 3: days whose cold files have rows under the late rows' keys become hot, so that step 4
 * finds them.
 */
static enum err_code
unseal_late(struct part *part, struct err *err)
{
    struct duck_probe probe;
    size_t first;

    if (duck_cold_range(&part->duck->cold, part->table->table->id, COLD_RAW, &first) == first) {
        return ERR_OK;
    }
    duck_probe_init(&probe, part->duck, part->table);
    for (size_t i = 0; i < part->late_count; i++) {
        struct row_ref ref = part->late[i];
        if (ref.batch != dropped) {
            duck_probe_add(&probe, &part->group->batches[ref.batch], ref.row);
        }
    }
    enum err_code code = duck_probe_unseal(&probe, part->group->last_lsn, err);
    duck_probe_fini(&probe);
    return code;
}

static enum err_code
replace_late(struct part *part, struct err *err)
{
    drop_replaced(part);
    enum err_code code = unseal_late(part, err);
    code = code ? code : delete_late(part, err);
    if (code) {
        return code;
    }
    code = duck_appender_open(&part->appender, part->duck, part->table, err);
    if (!code) {
        code = feed_late(part, err);
    }
    duck_appender_close(&part->appender);
    return code;
}

static bool
is_mine(const struct part *part, size_t index)
{
    return part->group->batches[index].table == part->table->table;
}

/* Step 1: late rows are noted, the others are appended, series by series where that suits. */
static enum err_code
append_all(struct part *part, struct err *err)
{
    bool clustered = duck_cluster_suits(part->table);
    struct duck_cluster cluster;
    enum err_code code = ERR_OK;

    if (clustered) {
        duck_cluster_init(&cluster, part->table->table, &part->appender, part->rows);
    }
    for (size_t i = 0; i < part->group->batch_count && !code; i++) {
        if (is_mine(part, i)) {
            duck_table_touch(part->table, &part->group->batches[i], part->group->last_lsn);
            code = clustered ? duck_cluster_add(&cluster, &part->group->batches[i], err)
                             : append_new(part, i, err);
        }
    }
    if (clustered) {
        code = code ? code : duck_cluster_flush(&cluster, err);
        duck_cluster_fini(&cluster);
    }
    return code ? code : duck_appender_finish(&part->appender, err);
}

static enum err_code
apply_table(struct part *part, struct err *err)
{
    enum err_code code = duck_table_load(part->duck, part->table, err);

    if (code) {
        return code;
    }
    for (size_t i = 0; i < part->group->batch_count; i++) {
        part->rows += is_mine(part, i) ? part->group->batches[i].rows : 0;
    }
    code = duck_appender_open(&part->appender, part->duck, part->table, err);
    code = code ? code : append_all(part, err);
    duck_appender_close(&part->appender);
    if (!code && part->late_count > 0) {
        code = replace_late(part, err);
    }
    free(part->late);
    return code ? err_context(err, code, "table %s", part->table->table->name) : ERR_OK;
}

static enum err_code
apply_tables(struct duck_store *duck, const struct store_group *group, uint64_t *ret_rows,
             uint64_t *ret_late, struct err *err)
{
    bool touched[TABLE_ID_END] = {false};

    for (size_t i = 0; i < group->batch_count; i++) {
        const struct catalog_table *table = group->batches[i].table;
        assert(table && group->batches[i].column_count == table->column_count);
        if (table->kind == TABLE_VIEW) {
            return err_set(err, ERR_INVALID, "%s is a view and stores nothing", table->name);
        }
        touched[table->id] |= group->batches[i].rows > 0;
    }
    for (int id = 1; id < TABLE_ID_END; id++) {
        if (touched[id]) {
            struct part part = {.duck = duck, .table = &duck->tables[id], .group = group};
            enum err_code code = apply_table(&part, err);
            if (code) {
                return code;
            }
            *ret_rows += part.rows;
            *ret_late += part.late_count;
        }
    }
    return ERR_OK;
}

enum duck_rollback
duck_roll_back(duckdb_connection connection, duckdb_prepared_statement prepared)
{
    const struct timespec nap = {.tv_nsec = COMMIT_NAP_NS};
    enum duck_rollback how = DUCK_ROLLBACK_FAILED;
    duckdb_result result;

    for (int i = 0; i < ROLLBACKS_MAX && how == DUCK_ROLLBACK_FAILED; i++) {
        if (i > 0) {
            nanosleep(&nap, NULL);
        }
        duckdb_state state = prepared ? duckdb_execute_prepared(prepared, &result)
                                      : duckdb_query(connection, "ROLLBACK", &result);
        if (state == DuckDBSuccess) {
            how = DUCK_ROLLED_BACK;
        } else if (strstr(duckdb_result_error(&result), "no transaction is active")) {
            how = DUCK_ROLLBACK_NONE;
        }
        duckdb_destroy_result(&result);
    }
    return how;
}

/*
 * A COMMIT that is done may seem to have failed: what comes behind it wants memory, too. While the
 * transaction is there to be rolled back it was not done. One that DuckDB says failed for want of
 * memory is not on disk, but may be half in what DuckDB has in memory: rows without their LSN, or
 * an LSN without its rows. Only what is on disk is to be trusted then (see duck_close).
 */
static enum err_code
look_for_transaction(struct duck_store *duck, enum err_code code, struct err *err)
{
    const struct err why = *err;

    bool failed = strstr(why.msg, "Failed to commit") != NULL;
    if (atomic_load(&duck->broken) || (failed && code == ERR_NO_SPACE) ||
        (!failed && duck_roll_back(duck->writer, NULL) == DUCK_ROLLED_BACK)) {
        return code;
    }
    atomic_store(&duck->broken, true);
    return err_set(err, ERR_INTERNAL, "whether a transaction is committed is not known: %.400s",
                   why.msg);
}

/*
 * Runs COMMIT. A worker of DuckDB's may take it from this thread, and duckdb_query would spin until
 * the worker's fsync returns; so this thread sleeps instead.
 */
static enum err_code
run_commit(struct duck_store *duck, struct err *err)
{
    const struct timespec nap = {.tv_nsec = COMMIT_NAP_NS};
    duckdb_prepared_statement prepared = NULL;
    duckdb_pending_result pending = NULL;
    duckdb_result result;
    enum err_code code = ERR_OK;

    if (duckdb_prepare(duck->writer, "COMMIT", &prepared) != DuckDBSuccess) {
        code = duck_fail(duck, DUCK_SIDE_APPLY, DUCKDB_ERROR_INVALID,
                         duckdb_prepare_error(prepared), err);
    } else if (duckdb_pending_prepared(prepared, &pending) != DuckDBSuccess) {
        code = duck_fail(duck, DUCK_SIDE_APPLY, DUCKDB_ERROR_INVALID, duckdb_pending_error(pending),
                         err);
    } else {
        duckdb_pending_state state = duckdb_pending_execute_task(pending);
        while (!duckdb_pending_execution_is_finished(state)) {
            if (state == DUCKDB_PENDING_NO_TASKS_AVAILABLE) {
                nanosleep(&nap, NULL);
            }
            state = duckdb_pending_execute_task(pending);
        }
        if (state == DUCKDB_PENDING_ERROR) {
            /* Executing it would only say that it cannot be executed. */
            code = duck_fail(duck, DUCK_SIDE_APPLY, DUCKDB_ERROR_INVALID,
                             duckdb_pending_error(pending), err);
        } else if (duckdb_execute_pending(pending, &result) != DuckDBSuccess) {
            code = duck_fail_result(duck, DUCK_SIDE_APPLY, &result, err);
            duckdb_destroy_result(&result);
        } else {
            duckdb_destroy_result(&result);
        }
    }
    duckdb_destroy_pending(&pending);
    duckdb_destroy_prepare(&prepared);
    return code;
}

enum err_code
duck_run_commit(struct duck_store *duck, const char *failpoint_name, struct err *err)
{
    struct err why;

    enum err_code code = run_commit(duck, &why);
    if (!code && failpoint_name) {
        code = failpoint_fails(failpoint_name, &why);
    }
    if (code) {
        code = look_for_transaction(duck, code, &why);
        if (err) {
            *err = why;
        }
    }
    return code;
}

static enum err_code
commit(struct duck_store *duck, uint64_t lsn, struct err *err)
{
    char sql[96];

    snprintf(sql, sizeof(sql), "INSERT INTO main.eider_applied VALUES (%" PRIu64 ")", lsn);
    enum err_code code = duck_run(duck, sql, err);
    if (code || !duck->cold.pending) {
        return code ? code : duck_run_commit(duck, NULL, err);
    }
    code = duck_cold_commit(duck, duck->cold.pending, duck->cold.pending_count, err);
    duck->cold.pending = code ? duck->cold.pending : NULL;
    return code;
}

enum err_code
duck_apply(struct store *store, const struct store_group *group, struct err *err)
{
    struct duck_store *duck = (struct duck_store *)store;
    uint64_t applied = atomic_load(&duck->applied_lsn);
    int64_t start_us = clock_mono_us(duck->clock);
    uint64_t rows = 0;
    uint64_t late = 0;

    if (group->last_lsn <= applied) {
        return ERR_OK;
    }
    if (group->first_lsn <= applied) {
        return err_set(err, ERR_INVALID,
                       "records %" PRIu64 " to %" PRIu64 " are applied in part, up to %" PRIu64,
                       group->first_lsn, group->last_lsn, applied);
    }
    if (atomic_load(&duck->broken)) {
        return err_set(err, ERR_CORRUPT, "%s was invalidated by an earlier error", duck->path);
    }
    enum err_code code = duck_run(duck, "BEGIN TRANSACTION", err);
    if (!code) {
        code = apply_tables(duck, group, &rows, &late, err);
        code = code ? code : commit(duck, group->last_lsn, err);
    }
    if (code) {
        duck_roll_back(duck->writer, NULL); /* the transaction may be gone already */
        free(duck->cold.pending);
        duck->cold.pending = NULL;
        for (int id = 1; id < TABLE_ID_END; id++) {
            duck_table_undo(&duck->tables[id]);
        }
        return code;
    }
    atomic_store(&duck->applied_lsn, group->last_lsn);
    atomic_fetch_add(&duck->groups, 1);
    atomic_fetch_add(&duck->rows, rows);
    atomic_fetch_add(&duck->late_rows, late);
    hist_record(&duck->apply_us, clock_mono_us(duck->clock) - start_us);
    duck_sample_memory(duck);
    return ERR_OK;
}
