/*
 * A PostgreSQL server of a test's own: made by initdb in a temporary directory, reached by a Unix
 * socket there, stopped by its process id. As root it runs as the user "postgres" or "nobody", as
 * PostgreSQL refuses to be root. Test support only.
 */
#ifndef EIDER_STORE_POSTGRES_PG_TESTING_H
#define EIDER_STORE_POSTGRES_PG_TESTING_H

#include <stdbool.h>
#include <sys/types.h>

#include "store/postgres/store_postgres.h"

enum { PG_TESTING_PATH = 128, PG_TESTING_DSN = 512 };

struct pg_testing {
    char dir[PG_TESTING_PATH];
    pid_t pid; /* 0: not running */
};

/* Makes and starts a server; waits until it answers. False, with why on standard error, when it
 * cannot. */
bool pg_testing_start(struct pg_testing *server);

/* Ends the process (SIGINT: at once, but orderly; SIGQUIT: as in a crash), and starts it again. */
void pg_testing_stop(struct pg_testing *server, int signal);
bool pg_testing_again(struct pg_testing *server);

/* Stops it and removes its files. */
void pg_testing_end(struct pg_testing *server);

/* Where a schema of this name is, which is made if it is not there: every test gets tables of its
 * own without a database of its own. */
bool pg_testing_dsn(const struct pg_testing *server, const char *schema,
                    char ret_dsn[PG_TESTING_DSN]);

/* Runs a statement as the superuser; the first value of its answer, or "". */
bool pg_testing_ask(const struct pg_testing *server, const char *sql, char *ret_text, size_t size);

#endif
