/*
 * Connections: parameters, connecting with a time limit, sending and waiting without ever blocking
 * in libpq. (Names are looked up by getaddrinfo, which has limits of its own.)
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/postgres/pg.h"

enum { US_PER_MS = 1000, WAIT_TICK_MS = 50 };

/* synchronous_commit: what is released from the log must be on the server's disk. The rest: texts
 * in a known form, no work for clients that are gone. */
static const char session_sql[] =
    "SET synchronous_commit = on; SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'; "
    "SET intervalstyle = 'postgres'; SET extra_float_digits = 1; SET bytea_output = 'hex'; "
    "SET standard_conforming_strings = on; SET client_min_messages = 'warning'; "
    "SET lock_timeout = '20s'; SET idle_in_transaction_session_timeout = '5min'; "
    "SET client_connection_check_interval = '10s'; SET statement_timeout = 0";

static void
add_keyword(struct pg_params *params, const char *keyword, const char *value)
{
    if (value && value[0] && params->count < PG_KEYWORDS_MAX - 1) {
        params->keywords[params->count] = keyword;
        params->values[params->count++] = value;
    }
}

static const char *
own(struct pg_params *params, const char *text)
{
    if (!text || params->owned_count == PG_KEYWORDS_MAX) {
        return NULL;
    }
    return params->owned[params->owned_count++] = mem_strdup(slice_of(text));
}

static void
add_secret(struct pg_params *params, const char *text)
{
    if (text && text[0] && params->secret_count < PG_SECRETS_MAX) {
        params->secrets[params->secret_count++] = mem_strdup(slice_of(text));
    }
}

/* Checks the text that users wrote, without repeating it: it may hold a password. Notes what it
 * says. */
static enum err_code
check_dsn(struct pg_params *params, const char *dsn, struct err *err)
{
    char *message = NULL;
    PQconninfoOption *parsed = PQconninfoParse(dsn, &message);

    PQfreemem(message);
    if (!parsed) {
        return err_set(err, ERR_USAGE,
                       "storage.postgres.dsn cannot be read; expected "
                       "postgresql://user@host:port/database or host=... dbname=... (it is not "
                       "shown, as it may hold a password)");
    }
    static const char by[] = "storage.postgres.dsn";
    for (const PQconninfoOption *o = parsed; o->keyword; o++) {
        if (!o->val) {
            continue;
        }
        if (strstr(o->keyword, "password")) {
            add_secret(params, o->val);
        }
        params->database_by = strcmp(o->keyword, "dbname") == 0 ? by : params->database_by;
        params->user_by = strcmp(o->keyword, "user") == 0 ? by : params->user_by;
        params->password_by = strcmp(o->keyword, "password") == 0 ? by : params->password_by;
    }
    PQconninfoFree(parsed);
    return ERR_OK;
}

static bool
is_given(const char *text)
{
    return text && text[0];
}

/* Where values come from that no DSN has, or has and is overruled. */
static void
note_origins(struct pg_params *params, const struct store_postgres_options *options)
{
    if (is_given(options->database)) {
        params->database_by = "storage.postgres.database";
    } else if (!params->database_by) {
        params->database_by = "storage.postgres.database is not set: PGDATABASE, or the user's";
    }
    if (is_given(options->user)) {
        params->user_by = "storage.postgres.user";
    } else if (!params->user_by) {
        params->user_by = "storage.postgres.user is not set: PGUSER, or the process's";
    }
    if (is_given(options->password)) {
        params->password_by = "storage.postgres.password";
    } else if (!params->password_by) {
        params->password_by = "storage.postgres.password is not set: PGPASSWORD, or ~/.pgpass";
    }
}

enum err_code
pg_params_init(struct pg_params *params, const struct store_postgres_options *options,
               struct err *err)
{
    char port[16];

    *params = (struct pg_params){0};
    if (options->dsn && options->dsn[0]) {
        enum err_code code = check_dsn(params, options->dsn, err);
        if (code != ERR_OK) {
            return code;
        }
        add_keyword(params, "dbname", own(params, options->dsn)); /* expanded: it is the first */
    }
    add_keyword(params, "host", own(params, options->host));
    snprintf(port, sizeof(port), "%d", options->port);
    add_keyword(params, "port", options->port > 0 ? own(params, port) : NULL);
    add_keyword(params, "dbname", own(params, options->database));
    add_keyword(params, "user", own(params, options->user));
    add_keyword(params, "password", own(params, options->password));
    add_keyword(params, "sslmode", own(params, options->sslmode));
    add_secret(params, options->password);
    note_origins(params, options);
    add_keyword(params, "fallback_application_name", "eider");
    add_keyword(params, "client_encoding", "UTF8");
    add_keyword(params, "keepalives_idle", "10");
    add_keyword(params, "keepalives_interval", "5");
    add_keyword(params, "keepalives_count", "3");
    add_keyword(params, "tcp_user_timeout", "30000");
    snprintf(params->where, sizeof(params->where), "%s", "not connected yet");
    return ERR_OK;
}

void
pg_params_fini(struct pg_params *params)
{
    for (size_t i = 0; i < params->owned_count; i++) {
        free(params->owned[i]);
    }
    for (size_t i = 0; i < params->secret_count; i++) {
        free(params->secrets[i]);
    }
}

int64_t
pg_deadline(const struct pg_store *store, int timeout_ms)
{
    return clock_mono_us(store->clock) + (int64_t)timeout_ms * US_PER_MS;
}

enum waited { WAITED_READY, WAITED_LATE, WAITED_LOST };

bool
pg_is_left(const struct pg_store *store, const struct pg_conn *conn)
{
    return conn->settling && store->owner_ends && store->owner_ends(store->owner_ctx);
}

static bool
is_given_up(const struct pg_store *store, struct pg_conn *conn)
{
    return atomic_load(&conn->interrupted) || store_cancel_is_tripped(conn->cancels) ||
           pg_is_left(store, conn);
}

/* `heed`: ends as if it were late when the connection's work is given up. */
static enum waited
wait_for(const struct pg_store *store, struct pg_conn *conn, short events, int64_t deadline_us,
         bool heed)
{
    for (;;) {
        int64_t left_us = deadline_us - clock_mono_us(store->clock);
        struct pollfd fd = {.fd = PQsocket(conn->pg), .events = events};
        if (fd.fd < 0) {
            return WAITED_LOST;
        }
        if (left_us <= 0 || (heed && is_given_up(store, conn))) {
            return WAITED_LATE;
        }
        int64_t left_ms = left_us / US_PER_MS + 1;
        int count = poll(&fd, 1, left_ms < WAIT_TICK_MS ? (int)left_ms : WAIT_TICK_MS);
        if (count > 0) {
            return WAITED_READY;
        }
        if (count < 0 && errno != EINTR) {
            return WAITED_LOST;
        }
    }
}

/* What the server says besides answers, such as that it goes; libpq would write it to standard
 * error. */
static void
ignore_notice(void *ctx, const char *message)
{
    (void)ctx;
    (void)message;
}

static enum err_code
finish_connect(struct pg_store *store, enum pg_side side, PGconn *pg, int64_t deadline_us,
               struct err *err)
{
    struct pg_conn conn = {.pg = pg, .settling = side == PG_SIDE_APPLY};
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;

    while (state != PGRES_POLLING_OK) {
        if (state == PGRES_POLLING_FAILED) {
            return pg_fail_connect(store, side, pg, err);
        }
        short events = state == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        enum waited waited = wait_for(store, &conn, events, deadline_us, true);
        if (waited == WAITED_LATE) {
            return err_set(err, side == PG_SIDE_APPLY ? ERR_TIMEOUT : ERR_UNAVAILABLE,
                           "PostgreSQL (%s) does not answer within %d ms", store->params.where,
                           store->connect_timeout_ms);
        }
        state = PQconnectPoll(pg);
    }
    return ERR_OK;
}

static void
note_where(struct pg_params *params, const PGconn *pg)
{
    const char *host = PQhost(pg);
    const char *port = PQport(pg);
    const char *database = PQdb(pg);

    snprintf(params->where, sizeof(params->where), "%s:%s/%s", host && host[0] ? host : "local",
             port ? port : "", database ? database : "");
}

enum err_code
pg_connect(struct pg_store *store, enum pg_side side, struct pg_conn *conn, struct err *err)
{
    int64_t deadline_us = pg_deadline(store, store->connect_timeout_ms);
    PGconn *pg = PQconnectStartParams(store->params.keywords, store->params.values, 1);

    if (!pg || PQstatus(pg) == CONNECTION_BAD) {
        enum err_code failed = pg_fail_connect(store, side, pg, err);
        PQfinish(pg);
        return failed;
    }
    PQsetNoticeProcessor(pg, ignore_notice, NULL);
    PQsetErrorVerbosity(pg, PQERRORS_VERBOSE); /* libpq tells the SQLSTATE of a refusal so alone */
    if (side == PG_SIDE_APPLY) {
        note_where(&store->params, pg);
    }
    enum err_code code = finish_connect(store, side, pg, deadline_us, err);
    if (code == ERR_OK) {
        conn->pg = pg;
        conn->settling = side == PG_SIDE_APPLY;
        PQsetErrorVerbosity(pg, PQERRORS_DEFAULT);
        PQsetnonblocking(pg, 1);
        code = pg_exec(store, conn, side, session_sql, deadline_us, NULL, err);
        conn->pg = NULL;
    }
    if (code != ERR_OK) {
        PQfinish(pg);
        return code;
    }
    conn->cancel = PQgetCancel(pg);
    conn->pg = pg;
    return ERR_OK;
}

void
pg_disconnect(struct pg_conn *conn)
{
    PQfreeCancel(conn->cancel);
    PQfinish(conn->pg);
    conn->cancel = NULL;
    conn->pg = NULL;
}

bool
pg_flush(struct pg_store *store, struct pg_conn *conn, int64_t deadline_us)
{
    for (;;) {
        int left = PQflush(conn->pg);
        if (left == 0) {
            return true;
        }
        if (left < 0 ||
            wait_for(store, conn, POLLIN | POLLOUT, deadline_us, true) != WAITED_READY) {
            return false;
        }
        /* The server may be unable to take more before it is rid of what it says. */
        if (!PQconsumeInput(conn->pg)) {
            return false;
        }
    }
}

PGresult *
pg_next_result(struct pg_store *store, struct pg_conn *conn, int64_t deadline_us, bool *late)
{
    bool flushed = false;

    while (PQisBusy(conn->pg) || !flushed) {
        int left = PQflush(conn->pg);
        flushed = left == 0;
        if (flushed && !PQisBusy(conn->pg)) {
            break;
        }
        short events = flushed || left < 0 ? POLLIN : POLLIN | POLLOUT;
        enum waited waited = wait_for(store, conn, events, deadline_us, !*late);
        if (waited == WAITED_LATE && !*late) {
            *late = true;
            if (pg_is_left(store, conn) || !pg_cancel(store, conn)) {
                return NULL;
            }
            deadline_us = pg_deadline(store, PG_CANCEL_WAIT_MS);
            continue;
        }
        if (waited != WAITED_READY || !PQconsumeInput(conn->pg)) {
            break; /* PQgetResult says so; it does not wait on a connection that is bad */
        }
    }
    if (PQisBusy(conn->pg) && PQstatus(conn->pg) == CONNECTION_OK) {
        return NULL; /* it does not answer: whoever asked gives the connection up */
    }
    return PQgetResult(conn->pg);
}

static bool
is_good(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);

    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY ||
           status == PGRES_SINGLE_TUPLE;
}

enum err_code
pg_exec(struct pg_store *store, struct pg_conn *conn, enum pg_side side, const char *sql,
        int64_t deadline_us, uint64_t *ret_affected, struct err *err)
{
    enum err_code code = ERR_OK;
    bool late = false;
    PGresult *result;

    if (!PQsendQuery(conn->pg, sql)) {
        return pg_fail_conn(store, side, conn->pg, err);
    }
    while ((result = pg_next_result(store, conn, deadline_us, &late))) {
        if (!is_good(result) && code == ERR_OK) {
            code = pg_fail_result(store, side, result, err);
        }
        const char *affected = PQcmdTuples(result);
        if (ret_affected && affected[0] && strncmp(PQcmdStatus(result), "UPDATE", 6) == 0) {
            *ret_affected = strtoull(affected, NULL, 10);
        }
        PQclear(result);
    }
    if (code == ERR_OK && PQstatus(conn->pg) != CONNECTION_OK) {
        code = pg_fail_conn(store, side, conn->pg, err);
    }
    if (late) {
        code = err_set(err, ERR_TIMEOUT, "PostgreSQL (%s) took too long", store->params.where);
    }
    return code;
}

void
pg_drain(struct pg_store *store, struct pg_conn *conn)
{
    int64_t deadline_us = pg_deadline(store, PG_CANCEL_WAIT_MS);
    bool late = false;
    PGresult *result;

    while ((result = pg_next_result(store, conn, deadline_us, &late))) {
        ExecStatusType status = PQresultStatus(result);
        PQclear(result);
        if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT) {
            return; /* it would be given out for ever; whoever asked gives the connection up */
        }
    }
}
