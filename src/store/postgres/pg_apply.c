/*
 * One group, one transaction: the applied LSN first (whose row says that nobody else was there
 * meanwhile), then table by table COPY.
 *
 *   rows of a table without a key            COPY into it
 *   rows newer than all rows of the table    the same: they replace none
 *   all other rows of a table with a key     COPY into a temporary table, delete what they replace,
 *                                            insert them
 *   definitions of series                    the same without the delete: the first one stays
 *
 * Within the group the last row of a key wins before anything is sent. A COMMIT whose answer was
 * lost is settled by the next attempt: it reads eider_applied after it has the lock that the lost
 * connection held.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "store/postgres/pg.h"

enum { SQL_TEXT = 2048, KEYS_BYTES_SHIFT = 30 };

/* The rows of one table in a group, as they are sent. */
struct pg_load {
    struct pg_store *store;
    const struct store_group *group;
    struct pg_table *table;
    struct key_map last; /* key -> ordinal within the group of the row that wins */
    int64_t newest_us;   /* of the group's rows */
    uint64_t next_ord;
    uint64_t late_rows;
    int64_t deadline_us;
};

enum pg_part { PG_PART_ALL, PG_PART_NEW, PG_PART_LATE };

static bool
is_replacing(const struct pg_table *table)
{
    return table->table->kind == TABLE_REPLACE;
}

/* A key with the time: what is newer than everything cannot be there already. */
static bool
is_late(const struct pg_table *table, const struct batch *batch, size_t row)
{
    const struct catalog_table *of = table->table;

    if (!(of->key_mask >> of->time_column & 1)) {
        return true;
    }
    return batch_get_i64(batch, (size_t)of->time_column, row) <= table->newest_us;
}

/* Finds the row that wins for each key, and the newest time. */
static enum err_code
plan_load(struct pg_load *load, size_t *ret_late, size_t *ret_new, struct err *err)
{
    const struct catalog_table *of = load->table->table;
    int64_t ordinal = 0;
    bool is_new;

    for (size_t i = 0; i < load->group->batch_count; i++) {
        const struct batch *batch = &load->group->batches[i];
        for (size_t row = 0; batch->table == of && row < batch->rows; row++, ordinal++) {
            struct key_hash key = key_hash_row(batch, &load->table->key, row);
            int64_t *place = key_map_put(&load->last, key, ordinal, &is_new);
            if (!place) {
                return err_set(err, ERR_INVALID, "too many rows in one group");
            }
            *place = ordinal;
            int64_t time_us = batch_get_i64(batch, (size_t)of->time_column, row);
            load->newest_us = time_us > load->newest_us ? time_us : load->newest_us;
            *(is_late(load->table, batch, row) ? ret_late : ret_new) += 1;
        }
    }
    return ERR_OK;
}

static bool
is_wanted(const struct pg_load *load, const struct batch *batch, size_t row, int64_t ordinal,
          enum pg_part part)
{
    if (part == PG_PART_ALL) {
        return true;
    }
    struct key_hash key = key_hash_row(batch, &load->table->key, row);
    const int64_t *place = key_map_find(&load->last, key);
    return place && *place == ordinal && is_late(load->table, batch, row) == (part == PG_PART_LATE);
}

static enum err_code
send_rows(struct pg_load *load, const char *into, enum pg_part part, struct err *err)
{
    const struct catalog_table *of = load->table->table;
    struct pg_copy copy;
    int64_t ordinal = 0;

    enum err_code code =
        pg_copy_begin(&copy, load->store, &load->store->writer, into, of, load->deadline_us, err);
    for (size_t i = 0; i < load->group->batch_count && !code; i++) {
        const struct batch *batch = &load->group->batches[i];
        for (size_t row = 0; batch->table == of && row < batch->rows && !code; row++, ordinal++) {
            if (is_wanted(load, batch, row, ordinal, part)) {
                code = pg_copy_row(&copy, batch, row, load->next_ord++, err);
            }
        }
    }
    code = code ? code : pg_copy_end(&copy, err);
    pg_copy_fini(&copy);
    return code;
}

static enum err_code
run(struct pg_load *load, const char *sql, struct err *err)
{
    return pg_exec(load->store, &load->store->writer, PG_SIDE_APPLY, sql, load->deadline_us, NULL,
                   err);
}

/* The name of the temporary table; made once a connection. */
static enum err_code
make_late(struct pg_load *load, char ret_name[SQL_TEXT], struct err *err)
{
    const char *name = load->table->table->name;
    bool *made = &load->store->late_made[load->table->table->id];
    char sql[SQL_TEXT];

    snprintf(ret_name, SQL_TEXT, "eider_late_%s", name);
    if (*made) {
        return ERR_OK;
    }
    /* A transaction that fails takes it along: undo() forgets that it was made. */
    snprintf(
        sql, sizeof(sql),
        "CREATE TEMPORARY TABLE IF NOT EXISTS eider_late_%s (LIKE \"%s\") ON COMMIT DELETE ROWS",
        name, name);
    enum err_code code = run(load, sql, err);
    *made = code == ERR_OK;
    return code;
}

/* "t.key = l.key AND ...", with the hash of texts, which is in an index. */
static void
add_key_condition(struct pg_sql *sql, const struct pg_table *table)
{
    for (size_t i = 0; i < table->key.count; i++) {
        const struct catalog_column *column = &table->table->columns[table->key.index[i]];
        buf_add_cstr(&sql->text, i ? " AND t." : "t.");
        pg_sql_name(sql, column->name);
        buf_add_cstr(&sql->text, " = l.");
        pg_sql_name(sql, column->name);
        if (column->type == COL_TEXT) {
            buf_add_cstr(&sql->text, " AND hashtextextended(t.");
            pg_sql_name(sql, column->name);
            buf_add_cstr(&sql->text, ", 0) = hashtextextended(l.");
            pg_sql_name(sql, column->name);
            buf_add_cstr(&sql->text, ", 0)");
        }
    }
}

static void
write_replace(struct pg_sql *sql, const struct pg_table *table, const char *late)
{
    const char *name = table->table->name;

    if (is_replacing(table)) {
        buf_add_fmt(&sql->text, "DELETE FROM \"%s\" AS t USING %s AS l WHERE ", name, late);
        add_key_condition(sql, table);
        buf_add_cstr(&sql->text, "; ");
    }
    buf_add_fmt(&sql->text, "INSERT INTO \"%s\" (", name);
    pg_sql_columns(sql, table->table);
    buf_add_cstr(&sql->text, ") SELECT ");
    pg_sql_columns(sql, table->table);
    buf_add_fmt(&sql->text, " FROM %s ORDER BY eider_ord", late);
    if (!is_replacing(table)) {
        buf_add_cstr(&sql->text, " ON CONFLICT (series_id) DO NOTHING");
    }
    buf_add_char(&sql->text, '\0');
}

static enum err_code
load_late(struct pg_load *load, enum pg_part part, struct err *err)
{
    char late[SQL_TEXT];
    struct pg_sql sql;

    enum err_code code = make_late(load, late, err);
    code = code ? code : send_rows(load, late, part, err);
    if (code) {
        return code;
    }
    pg_sql_init(&sql);
    write_replace(&sql, load->table, late);
    code = run(load, sql.text.ptr, err);
    pg_sql_fini(&sql);
    return code;
}

static enum err_code
load_table(struct pg_load *load, struct err *err)
{
    struct pg_table *table = load->table;
    size_t late = 0;
    size_t fresh = 0;

    if (table->table->id == TABLE_SERIES) {
        return load_late(load, PG_PART_ALL, err);
    }
    if (!is_replacing(table)) {
        return send_rows(load, table->table->name, PG_PART_ALL, err);
    }
    key_map_init(&load->last, (size_t)1 << KEYS_BYTES_SHIFT);
    enum err_code code = plan_load(load, &late, &fresh, err);
    if (!code && late > 0) {
        code = load_late(load, PG_PART_LATE, err);
    }
    if (!code && fresh > 0) {
        code = send_rows(load, table->table->name, PG_PART_NEW, err);
    }
    load->late_rows += late;
    key_map_fini(&load->last);
    return code;
}

static enum err_code
check_group(const struct store_group *group, uint64_t applied, struct err *err)
{
    if (group->first_lsn <= applied) {
        return err_set(err, ERR_INVALID,
                       "records %" PRIu64 " to %" PRIu64 " are applied in part, up to %" PRIu64,
                       group->first_lsn, group->last_lsn, applied);
    }
    for (size_t i = 0; i < group->batch_count; i++) {
        if (group->batches[i].table->kind == TABLE_VIEW) {
            return err_set(err, ERR_INVALID, "%s is a view and stores nothing",
                           group->batches[i].table->name);
        }
    }
    return ERR_OK;
}

static uint64_t
count_rows(const struct store_group *group, enum table_id id)
{
    uint64_t rows = 0;

    for (size_t i = 0; i < group->batch_count; i++) {
        rows += id == 0 || group->batches[i].table->id == id ? group->batches[i].rows : 0;
    }
    return rows;
}

/* Opens the transaction and moves the applied LSN; nobody else may have. */
static enum err_code
begin(struct pg_store *store, const struct store_group *group, int64_t deadline_us, struct err *err)
{
    uint64_t moved = 0;
    char sql[SQL_TEXT];

    snprintf(sql, sizeof(sql),
             "BEGIN; UPDATE eider_applied SET lsn = %" PRIu64 ", ord = %" PRIu64
             " WHERE lsn = %" PRIu64,
             group->last_lsn, store->next_ord + count_rows(group, (enum table_id)0),
             atomic_load(&store->applied_lsn));
    enum err_code code =
        pg_exec(store, &store->writer, PG_SIDE_APPLY, sql, deadline_us, &moved, err);
    if (!code && moved != 1) {
        /* The engine opens the store anew and finds out what the database has. */
        code =
            err_set(err, ERR_INTERNAL,
                    "eider_applied is not at record %" PRIu64 " any more: somebody else wrote it",
                    atomic_load(&store->applied_lsn));
    }
    return code;
}

/* What the tables' newest times are once the group is in. */
struct newest {
    int64_t us[TABLE_ID_END];
};

static enum err_code
load_tables(struct pg_store *store, const struct store_group *group, int64_t deadline_us,
            struct newest *ret_newest, uint64_t *ret_late, struct err *err)
{
    enum err_code code = ERR_OK;
    uint64_t ord = store->next_ord;

    for (int id = 1; id < TABLE_ID_END && !code; id++) {
        struct pg_table *table = &store->tables[id];
        uint64_t rows = count_rows(group, (enum table_id)id);
        struct pg_load load = {.store = store,
                               .group = group,
                               .table = table,
                               .newest_us = table->newest_us,
                               .next_ord = ord,
                               .deadline_us = deadline_us};
        if (rows > 0) {
            code = load_table(&load, err);
        }
        ord += rows;
        *ret_late += load.late_rows;
        ret_newest->us[id] = load.newest_us;
    }
    return code;
}

/* Leaves the connection as it was, or none. */
static void
undo(struct pg_store *store)
{
    struct err ignored;

    memset(store->late_made, 0, sizeof(store->late_made));
    if (store->writer.pg &&
        (PQstatus(store->writer.pg) != CONNECTION_OK ||
         PQtransactionStatus(store->writer.pg) == PQTRANS_ACTIVE ||
         pg_exec(store, &store->writer, PG_SIDE_APPLY, "ROLLBACK",
                 pg_deadline(store, store->connect_timeout_ms), NULL, &ignored) != ERR_OK)) {
        pg_disconnect(&store->writer);
    }
}

static enum err_code
write_group(struct pg_store *store, const struct store_group *group, struct err *err)
{
    int64_t deadline_us = pg_deadline(store, PG_APPLY_TIMEOUT_MS);
    struct newest newest;
    uint64_t late = 0;

    enum err_code code = begin(store, group, deadline_us, err);
    code = code ? code : load_tables(store, group, deadline_us, &newest, &late, err);
    if (code) {
        undo(store);
        return code;
    }
    code = pg_exec(store, &store->writer, PG_SIDE_APPLY, "COMMIT", deadline_us, NULL, err);
    if (code) {
        /* It may have happened: only a new connection, which waits for the end of this one, can
         * tell. */
        memset(store->late_made, 0, sizeof(store->late_made));
        pg_disconnect(&store->writer);
        return code;
    }
    for (int id = 1; id < TABLE_ID_END; id++) {
        store->tables[id].newest_us = newest.us[id];
    }
    store->next_ord += count_rows(group, (enum table_id)0);
    atomic_store(&store->applied_lsn, group->last_lsn);
    atomic_fetch_add(&store->late_rows, late);
    atomic_fetch_add(&store->rows, count_rows(group, (enum table_id)0));
    atomic_fetch_add(&store->groups, 1);
    return ERR_OK;
}

enum err_code
pg_ensure_writer(struct pg_store *store, struct err *err)
{
    if (store->writer.pg && store->writer.cancel && PQstatus(store->writer.pg) == CONNECTION_OK) {
        return ERR_OK;
    }
    pg_disconnect(&store->writer);
    memset(store->late_made, 0, sizeof(store->late_made));
    enum err_code code = pg_connect(store, PG_SIDE_APPLY, &store->writer, err);
    code = code ? code : pg_setup_writer(store, false, err);
    if (code) {
        pg_disconnect(&store->writer);
    }
    return code;
}

enum err_code
pg_apply(struct store *base, const struct store_group *group, struct err *err)
{
    struct pg_store *store = (struct pg_store *)base;
    int64_t start_us = clock_mono_us(store->clock);

    if (group->last_lsn <= atomic_load(&store->applied_lsn)) {
        return ERR_OK;
    }
    enum err_code code = pg_ensure_writer(store, err);
    if (code) {
        return code;
    }
    if (group->last_lsn <= atomic_load(&store->applied_lsn)) {
        return ERR_OK; /* the COMMIT whose answer was lost had happened */
    }
    code = check_group(group, atomic_load(&store->applied_lsn), err);
    code = code ? code : write_group(store, group, err);
    if (!code) {
        hist_record(&store->apply_us, clock_mono_us(store->clock) - start_us);
    }
    return code;
}

/* PostgreSQL makes its own. Here it is a look whether the server is there, and how large the
 * database is. */
enum err_code
pg_checkpoint(struct store *base, struct err *err)
{
    struct pg_store *store = (struct pg_store *)base;
    enum err_code code = pg_ensure_writer(store, err);

    code = code ? code : pg_setup_size(store, err);
    if (code) {
        undo(store);
        return code;
    }
    atomic_fetch_add(&store->checkpoints, 1);
    return ERR_OK;
}
