/*
 * The PostgreSQL store: the catalogue's tables in a database that somebody else runs. One
 * connection writes, a bounded pool of others reads; both come back by themselves when the server
 * was away.
 */
#ifndef EIDER_STORE_POSTGRES_STORE_POSTGRES_H
#define EIDER_STORE_POSTGRES_STORE_POSTGRES_H

#include "store/engine.h"

enum { STORE_POSTGRES_CONNECTIONS = 25 };

/*
 * Connects by options->postgres, brings the schema up, reads what is applied. ERR_IO, ERR_TIMEOUT:
 * the server is away or refuses, it may be tried again; ERR_USAGE: the options cannot be read;
 * ERR_CONFLICT: the tables are not ours, or another Eider writes there. No message holds a
 * password.
 */
enum err_code store_postgres_open(const struct store_open_options *options,
                                  struct store **ret_store, struct err *err);

#endif
