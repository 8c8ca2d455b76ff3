/*
 * Connections that the server refuses, and will refuse again until somebody does something about
 * it: there is no such database, or the user or the password is not right. What is said names the
 * setting that the value comes from, never the password.
 */
#include <stdio.h>
#include <string.h>

#include "store/postgres/pg.h"

enum { STATE_LEN = 5, TEXT_BYTES = 200 };

static bool
is_state(const char *text)
{
    return strspn(text, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == STATE_LEN;
}

const char *
pg_find_state(const char *message, char ret_state[6])
{
    for (const char *at = strstr(message, ":  "); at; at = strstr(at + 1, ":  ")) {
        const char *state = at + strlen(":  ");
        if (is_state(state) && strncmp(state + STATE_LEN, ": ", 2) == 0) {
            memcpy(ret_state, state, STATE_LEN);
            ret_state[STATE_LEN] = '\0';
            return state + STATE_LEN + 2;
        }
    }
    return NULL;
}

/* The first line of what the server says. */
static void
copy_line(const struct pg_params *params, const char *message, char ret_text[TEXT_BYTES])
{
    snprintf(ret_text, TEXT_BYTES, "%s", message);
    ret_text[strcspn(ret_text, "\n")] = '\0';
    pg_mask(params, ret_text);
}

enum err_code
pg_fail_connect(const struct pg_store *store, enum pg_side side, const PGconn *pg, struct err *err)
{
    const struct pg_params *params = &store->params;
    char state[STATE_LEN + 1] = "";
    char text[TEXT_BYTES];
    enum err_code code = pg_fail_conn(store, side, pg, err);
    const char *said = pg ? pg_find_state(PQerrorMessage(pg), state) : NULL;

    if (pg && PQconnectionNeedsPassword(pg) && !said) {
        return err_set(err, code,
                       "PostgreSQL (%s): it asks for a password of the user \"%.64s\" (%s), and "
                       "storage.postgres.password is not set, nor is PGPASSWORD or a line of "
                       "~/.pgpass that fits",
                       params->where, PQuser(pg), params->user_by);
    }
    if (!said) {
        return code;
    }
    copy_line(params, said, text);
    if (strcmp(state, "3D000") == 0) {
        return err_set(err, code,
                       "PostgreSQL (%s): %s: %s: create the database \"%.64s\", or correct the "
                       "name (%s)",
                       params->where, state, text, PQdb(pg), params->database_by);
    }
    if (strcmp(state, "28P01") == 0) {
        return err_set(err, code,
                       "PostgreSQL (%s): %s: %s: correct the user \"%.64s\" (%s) or the password "
                       "(%s)",
                       params->where, state, text, PQuser(pg), params->user_by,
                       params->password_by);
    }
    if (strcmp(state, "28000") == 0) {
        return err_set(err, code,
                       "PostgreSQL (%s): %s: %s: correct the user \"%.64s\" (%s), or what the "
                       "server lets in",
                       params->where, state, text, PQuser(pg), params->user_by);
    }
    return err_set(err, code, "PostgreSQL (%s): %s: %s", params->where, state, text);
}
