/*
 * What the writer does when it has connected: the lock that keeps a second Eider out, the schema,
 * which database this is, what is applied.
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/schema.h"
#include "store/postgres/pg.h"

enum {
    SETUP_TIMEOUT_MS = 60000,
    LOCK_REFUSED_MS = 500, /* a start goes on without the database, and tries again */
    LOCK_TICK_MS = 50,
    SCHEMA_TIMEOUT_MS = 3600000,
    SQL_TEXT = 1024,
    ROWS_MAX = 100000
};

/* ---- what the schema's steps are run with (schema.h) ---- */

static enum err_code
schema_exec(void *ctx, const char *sql, struct err *err)
{
    struct pg_store *store = ctx;

    return pg_exec(store, &store->writer, PG_SIDE_SCHEMA, sql,
                   pg_deadline(store, SCHEMA_TIMEOUT_MS), NULL, err);
}

static enum err_code
schema_begin(void *ctx, struct err *err)
{
    return schema_exec(ctx, "BEGIN", err);
}

static enum err_code
schema_commit(void *ctx, struct err *err)
{
    return schema_exec(ctx, "COMMIT", err);
}

static void
schema_rollback(void *ctx)
{
    struct err ignored;

    schema_exec(ctx, "ROLLBACK", &ignored);
}

static enum err_code
ask_as(struct pg_store *store, enum pg_side side, const char *text, struct batch *ret_rows,
       struct err *err)
{
    struct pg_bounds bounds = {.rows_max = ROWS_MAX, .bytes_max = PG_SQL_BYTES_MAX};
    struct pg_sql sql;

    pg_sql_init(&sql);
    buf_add_cstr(&sql.text, text);
    enum err_code code = pg_ask(store, &store->writer, side, &sql, &bounds,
                                pg_deadline(store, SETUP_TIMEOUT_MS), ret_rows, err);
    pg_sql_fini(&sql);
    if (code == ERR_TIMEOUT) { /* nobody's query, whose words that has */
        return err_set(err, code, "PostgreSQL (%s) does not answer while it is set up",
                       store->params.where);
    }
    return code;
}

static enum err_code
schema_query(void *ctx, const char *sql, struct batch *ret_rows, struct err *err)
{
    return ask_as(ctx, PG_SIDE_SCHEMA, sql, ret_rows, err);
}

static const struct schema_db_ops schema_ops = {
    .begin = schema_begin,
    .exec = schema_exec,
    .query = schema_query,
    .commit = schema_commit,
    .rollback = schema_rollback,
};

void
pg_schema_db(struct pg_store *store, struct schema_db *ret_db)
{
    *ret_db = (struct schema_db){.ops = &schema_ops,
                                 .ctx = store,
                                 .dialect = SCHEMA_POSTGRES,
                                 .where = store->params.where,
                                 .clock = store->clock};
}

/* ---- the writer's session ---- */

static enum err_code
ask(struct pg_store *store, const char *text, struct batch *ret_rows, struct err *err)
{
    return ask_as(store, PG_SIDE_APPLY, text, ret_rows, err);
}

static enum err_code
run(struct pg_store *store, const char *sql, struct err *err)
{
    return pg_exec(store, &store->writer, PG_SIDE_APPLY, sql, pg_deadline(store, SETUP_TIMEOUT_MS),
                   NULL, err);
}

/* Answers at once whether the lock is free, so that a server that is slow or far is no refusal. */
static enum err_code
try_lock(struct pg_store *store, bool *ret_taken, struct err *err)
{
    struct batch rows BATCH_AUTO = {0};
    enum err_code code =
        ask(store, "SELECT pg_try_advisory_lock(hashtextextended('eider ' || current_schema(), 0))",
            &rows, err);

    *ret_taken = !code && rows.rows == 1 && batch_get_i64(&rows, 0, 0) != 0;
    return code;
}

static bool
owner_ends(const struct pg_store *store)
{
    return store->owner_ends && store->owner_ends(store->owner_ctx);
}

/*
 * One Eider writes to one set of tables. The lock is the session's: the server gives it back when
 * the connection is gone for it, too, so whoever has it knows that what a lost connection did is
 * done with. A session that ends takes a moment for it, which is waited for.
 */
enum err_code
pg_setup_lock(struct pg_store *store, struct err *err)
{
    int64_t refused_until_us = 0;
    bool taken = false;

    for (;;) {
        enum err_code code = try_lock(store, &taken, err);
        if (code || taken) {
            return code;
        }
        if (refused_until_us == 0) {
            refused_until_us = pg_deadline(store, LOCK_REFUSED_MS);
        }
        if (owner_ends(store) || clock_mono_us(store->clock) >= refused_until_us) {
            return err_set(err, ERR_IO,
                           "PostgreSQL (%s): another Eider writes to this database, or a "
                           "connection that was lost is not gone yet",
                           store->params.where);
        }
        poll(NULL, 0, LOCK_TICK_MS);
    }
}

static enum err_code
read_identity(struct pg_store *store, char ret_identity[PG_IDENTITY_BYTES], struct err *err)
{
    struct batch rows BATCH_AUTO = {0};

    enum err_code code = ask(store, "SELECT id FROM eider_database", &rows, err);
    if (code) {
        return code;
    }
    if (rows.rows == 1) {
        slice_to_cstr(batch_get_text(&rows, 0, 0), ret_identity, PG_IDENTITY_BYTES);
        return ERR_OK;
    }
    char id[ID_UUID_LEN + 1];
    char sql[SQL_TEXT];
    id_uuid4(id);
    snprintf(sql, sizeof(sql), "INSERT INTO eider_database (id) VALUES ('%s')", id);
    snprintf(ret_identity, PG_IDENTITY_BYTES, "%s", id);
    return run(store, sql, err);
}

static enum err_code
read_applied(struct pg_store *store, uint64_t *ret_lsn, uint64_t *ret_ord, struct err *err)
{
    struct batch rows BATCH_AUTO = {0};

    enum err_code code = ask(
        store, "SELECT count(*), max(lsn), coalesce(max(ord), 0) FROM eider_applied", &rows, err);
    if (code) {
        return code;
    }
    int64_t count = batch_get_i64(&rows, 0, 0);
    if (count == 0) {
        *ret_lsn = 0;
        *ret_ord = 0;
        return run(store, "INSERT INTO eider_applied (lsn, ord) VALUES (0, 0)", err);
    }
    if (count > 1) {
        return err_set(err, ERR_CONFLICT,
                       "PostgreSQL (%s): eider_applied has %" PRId64 " rows instead of one",
                       store->params.where, count);
    }
    *ret_lsn = (uint64_t)batch_get_i64(&rows, 1, 0);
    *ret_ord = (uint64_t)batch_get_i64(&rows, 2, 0);
    return ERR_OK;
}

/* The newest time of every table that replaces by time; the index on it answers. */
static enum err_code
read_newest(struct pg_store *store, struct err *err)
{
    enum err_code code = ERR_OK;

    for (int id = 1; id < TABLE_ID_END && !code; id++) {
        struct pg_table *table = &store->tables[id];
        struct batch rows BATCH_AUTO = {0};
        char sql[SQL_TEXT];
        table->newest_us = INT64_MIN;
        if (!table->table || table->table->kind != TABLE_REPLACE) {
            continue;
        }
        snprintf(sql, sizeof(sql), "SELECT max(\"%s\") FROM \"%s\"",
                 table->table->columns[table->table->time_column].name, table->table->name);
        code = ask(store, sql, &rows, err);
        if (!code && !batch_is_null(&rows, 0, 0)) {
            table->newest_us = batch_get_i64(&rows, 0, 0);
        }
    }
    return code;
}

enum err_code
pg_setup_size(struct pg_store *store, struct err *err)
{
    struct batch rows BATCH_AUTO = {0};
    enum err_code code = ask(store, "SELECT pg_database_size(current_database())", &rows, err);

    if (!code && rows.rows == 1) {
        atomic_store(&store->size_bytes, (uint64_t)batch_get_i64(&rows, 0, 0));
    }
    return code;
}

static enum err_code
read_role(struct pg_store *store, struct err *err)
{
    struct batch rows BATCH_AUTO = {0};
    enum err_code code =
        ask(store,
            "SELECT r.rolsuper, pg_database_size(current_database()), "
            "pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool "
            "FROM pg_roles AS r WHERE r.rolname = current_user",
            &rows, err);

    if (code || rows.rows != 1) {
        return code;
    }
    store->is_superuser = batch_get_i64(&rows, 0, 0) != 0;
    atomic_store(&store->size_bytes, (uint64_t)batch_get_i64(&rows, 1, 0));
    if (batch_get_i64(&rows, 2, 0) != 0) {
        return err_set(err, ERR_IO, "PostgreSQL (%s) is a standby or read-only: it takes no rows",
                       store->params.where);
    }
    return ERR_OK;
}

/* A server that came back is the one that was left, no earlier state of it and no other. */
static enum err_code
compare(const struct pg_store *store, const char *identity, uint64_t lsn, struct err *err)
{
    uint64_t known = atomic_load(&store->applied_lsn);

    if (strcmp(identity, store->identity) != 0) {
        return err_set(err, ERR_INTERNAL,
                       "PostgreSQL (%s) is another database than before: %s, not %s",
                       store->params.where, identity, store->identity);
    }
    if (lsn < known) {
        return err_set(err, ERR_INTERNAL,
                       "PostgreSQL (%s) is back at record %" PRIu64 ", it had %" PRIu64,
                       store->params.where, lsn, known);
    }
    return ERR_OK;
}

enum err_code
pg_setup_writer(struct pg_store *store, bool first, struct err *err)
{
    struct schema_db db;
    char identity[PG_IDENTITY_BYTES];
    uint64_t lsn = 0;
    uint64_t ord = 0;

    pg_schema_db(store, &db);
    enum err_code code = read_role(store, err);
    code = code ? code : pg_setup_lock(store, err);
    /* Also when it came back: an empty database in the place of ours has no tables. */
    code = code ? code : schema_open(&db, err);
    code = code ? code : read_identity(store, identity, err);
    code = code ? code : read_applied(store, &lsn, &ord, err);
    if (!code && !first) {
        code = compare(store, identity, lsn, err);
    }
    if (!code && lsn == 0) {
        code = pg_extend(store, err);
    }
    code = code ? code : read_newest(store, err);
    if (code) {
        return code; /* and whoever asked disconnects */
    }
    store->writer.settling = false;
    memcpy(store->identity, identity, sizeof(identity));
    store->next_ord = ord;
    atomic_store(&store->applied_lsn, lsn);
    return ERR_OK;
}

/* One transaction, under the lock that the writer's session has; when its end is not known, the
 * store is opened anew and finds out. */
enum err_code
pg_take_over(struct store *base, uint64_t lsn, bool anew, struct err *err)
{
    struct pg_store *store = (struct pg_store *)base;
    char id[ID_UUID_LEN + 1];
    char sql[SQL_TEXT];
    char rename[SQL_TEXT / 2] = "";

    id_uuid4(id);
    if (anew) {
        snprintf(rename, sizeof(rename), "UPDATE eider_database SET id = '%s'; ", id);
    }
    snprintf(sql, sizeof(sql), "BEGIN; %sUPDATE eider_applied SET lsn = %" PRIu64 "; COMMIT",
             rename, lsn);
    enum err_code code = run(store, sql, err);
    if (code) {
        return code;
    }
    if (anew) {
        snprintf(store->identity, sizeof(store->identity), "%s", id);
    }
    atomic_store(&store->applied_lsn, lsn);
    return ERR_OK;
}
