/* Errors of libpq and the server: which code they are, and no passwords in them. */
#include <stdio.h>
#include <string.h>

#include "store/postgres/pg.h"

enum { MESSAGE_BYTES = 400 };

void
pg_mask(const struct pg_params *params, char *text)
{
    for (size_t i = 0; i < params->secret_count; i++) {
        const char *secret = params->secrets[i];
        size_t len = strlen(secret);
        char *rest = text;
        char *at;
        while (len > 0 && (at = strstr(rest, secret))) {
            memmove(at + 1, at + len, strlen(at + len) + 1);
            *at = '*';
            rest = at + 1; /* or a secret of one asterisk would be found for ever */
        }
    }
}

/* One line: libpq's own "ERROR:  " and what stands behind the first line say nothing more. */
static void
first_line(const struct pg_params *params, const char *message, char *ret_text, size_t size)
{
    static const char *const prefixes[] = {"ERROR:  ", "FATAL:  ", "PANIC:  "};

    for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++) {
        if (strncmp(message, prefixes[i], strlen(prefixes[i])) == 0) {
            message += strlen(prefixes[i]);
        }
    }
    snprintf(ret_text, size, "%s", message);
    pg_mask(params, ret_text);
    ret_text[strcspn(ret_text, "\n")] = '\0';
}

static bool
is_class(const char *state, const char *prefix)
{
    return strncmp(state, prefix, strlen(prefix)) == 0;
}

/* The server is there but goes, comes, or has too much to do; or this session lost its right. */
static bool
is_passing(const char *state)
{
    static const char *const classes[] = {"08", "57P", "53", "40", "55P03", "28", "3D000",
                                          "58", "XX",  "F0", "25", "26",    "34", "0A"};

    for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++) {
        if (is_class(state, classes[i])) {
            return true;
        }
    }
    return false;
}

enum err_code
pg_code_of_state(enum pg_side side, const char *state)
{
    if (is_class(state, "53100")) {
        return ERR_NO_SPACE;
    }
    if (is_class(state, "57014") || is_class(state, "55P03") || is_class(state, "25P03")) {
        return ERR_TIMEOUT;
    }
    if (side == PG_SIDE_SCHEMA) {
        return is_passing(state) ? ERR_IO : ERR_CONFLICT;
    }
    if (side == PG_SIDE_APPLY) {
        /* Values that the table does not take are the rows' fault; all else may be put right by
         * whoever runs the server, and loses nothing meanwhile. */
        return is_class(state, "22") || is_class(state, "23") ? ERR_INVALID : ERR_IO;
    }
    if (side == PG_SIDE_USER) {
        bool served = is_class(state, "08") || is_class(state, "57P") || is_class(state, "53");
        return served ? ERR_UNAVAILABLE : ERR_INVALID;
    }
    if (is_class(state, "22003")) {
        return ERR_TOO_LARGE;
    }
    return is_passing(state) ? ERR_UNAVAILABLE : ERR_IO;
}

/* What writes tries again by itself (ERR_IO); whoever reads is told to. */
static bool
is_writer(enum pg_side side)
{
    return side == PG_SIDE_APPLY || side == PG_SIDE_SCHEMA;
}

enum err_code
pg_fail_result(const struct pg_store *store, enum pg_side side, const PGresult *result,
               struct err *err)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    char text[MESSAGE_BYTES];

    if (!message) {
        message = PQresultErrorMessage(result);
    }
    first_line(&store->params, message, text, sizeof(text));
    /* Without a SQLSTATE it is libpq that speaks: the connection is gone. */
    enum err_code code = state             ? pg_code_of_state(side, state)
                         : is_writer(side) ? ERR_IO
                                           : ERR_UNAVAILABLE;
    return err_set(err, code, "PostgreSQL%s%s: %s", state ? " " : "", state ? state : "", text);
}

enum err_code
pg_fail_conn(const struct pg_store *store, enum pg_side side, const PGconn *pg, struct err *err)
{
    char text[MESSAGE_BYTES];
    const char *message = pg ? PQerrorMessage(pg) : "out of memory";

    first_line(&store->params, message[0] ? message : "the connection was lost", text,
               sizeof(text));
    return err_set(err, is_writer(side) ? ERR_IO : ERR_UNAVAILABLE, "PostgreSQL (%s): %s",
                   store->params.where, text);
}
