/*
 * The PostgreSQL store: the catalogue's tables in a database that somebody else runs. One
 * connection writes, a bounded pool of others reads; both come back by themselves when the server
 * was away.
 */
#ifndef EIDER_STORE_POSTGRES_STORE_POSTGRES_H
#define EIDER_STORE_POSTGRES_STORE_POSTGRES_H

#include "store/engine.h"

enum { STORE_POSTGRES_CONNECTIONS = 25, STORE_POSTGRES_CONNECTIONS_MAX = 1000 };

/*
 * Where the server is. What is NULL (or 0) is left to libpq: its environment (PGHOST, PGSERVICE,
 * PGPASSFILE, ...), service files, .pgpass, its defaults. The texts must outlive the store's
 * opening.
 */
struct store_postgres_options {
    const char *dsn; /* "postgresql://..." or "host=... dbname=..."; the members below go before */
    const char *host;
    int port;
    const char *database;
    const char *user;
    const char *password;
    const char *sslmode;
    unsigned max_connections; /* the writer's included; 0: STORE_POSTGRES_CONNECTIONS */
    int connect_timeout_ms;   /* 0: 10 000 */
};

/*
 * Connects, brings the schema up, reads what is applied; options->postgres is required (store.h has
 * the pointer). ERR_IO, ERR_TIMEOUT: the server is away or refuses, it may be tried again;
 * ERR_USAGE: the options cannot be read; ERR_CONFLICT: the tables are not ours, or another Eider
 * writes there. No message holds a password.
 */
enum err_code store_postgres_open(const struct store_open_options *options,
                                  struct store **ret_store, struct err *err);

#endif
