/*
 * One database of the process: engine, live state, api, ingest, meter, gateway and collectors, from
 * its own configuration. Everything of it is its own (directory, log, file, lock, threads), so that
 * a stall or a rebuild of one does not touch the others.
 *
 *   closed --engine, api--> open --log applied, meter--> serving
 *      ^-- failed: tried again, with growing pauses      |
 *   any --quit--> quitting --stop--> taken apart
 *
 * Its thread brings it up, tends it (rates, its limit of space, the head of the event log) and
 * takes it apart. quitting: nothing new is begun, requests that run are answered by the HTTP
 * server's stop; then stop.
 *
 * Threads: all functions here are the main thread's.
 */
#ifndef EIDER_SERVER_DATABASE_H
#define EIDER_SERVER_DATABASE_H

#include "api/databases.h"
#include "base/err.h"
#include "http/http.h"
#include "server/config.h"

struct database;

/* Called once from the database's thread: it serves (NULL), or, when it is the only one, has failed
 * for good. */
typedef void database_settled_fn(void *ctx, const struct err *err);

struct database_options {
    const char *name;                /* borrowed */
    const struct config *config;     /* its own; must outlive */
    const struct config *process;    /* the top level's, which has what is for all */
    bool has_tokens;                 /* config->server.tokens are its own, beside the process's */
    bool alone;                      /* the only one: a failure ends the program */
    struct databases *databases;     /* must outlive */
    const char *const *cors_origins; /* must outlive */
    struct memory_guard *guard;      /* of the process; NULL: none */
    database_settled_fn *settled;    /* NULL: nobody asks */
    void *settled_ctx;
};

struct database *database_new(const struct database_options *options);

/* Opens engine and api at once, so that a failure can end the start. The thread does it when this
 * was not called or has failed. */
enum err_code database_open(struct database *database, struct err *err);

/* Starts the thread. `url` is the server's own address. */
void database_start(struct database *database, struct http_server *http, const char *url);

/* Nothing new is begun; the live stream ends. Before the HTTP server is stopped. */
void database_quit(struct database *database);

/* The HTTP server has stopped: takes apart, on the database's thread. database_free waits for it;
 * so several are taken apart at the same time. */
void database_stop(struct database *database);
void database_free(struct database *database); /* NULL is fine */

/* Price books, from a configuration that was read anew. */
void database_reload(struct database *database, const struct config *config);

#endif
