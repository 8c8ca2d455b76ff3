/*
 * Several databases behind one listener. Each has an api of its own; which of them a request is for
 * says its path, /db/{name}/..., or the header X-Eider-Database, or (for line protocol) the
 * parameter db or bucket when it names one of them. Without any of these it is the first one, which
 * is called "default".
 *
 * One that cannot be opened answers 503 with its reason, and keeps nobody else from serving.
 *
 * Threads: databases_add before the first request; all else from any thread. An api that was
 * attached stays until the HTTP server has stopped. Requests that the server did not wait for may
 * still run then, and those of one database look at the others: detach before the api is closed.
 */
#ifndef EIDER_API_DATABASES_H
#define EIDER_API_DATABASES_H

#include "api/api.h"

enum { DATABASE_NAME_MAX = 63 };

struct databases;

/* As configured, for the list; 0: none, or the part's own choice. */
struct database_limits {
    uint64_t disk_bytes_max;
    uint64_t memory_bytes;
    uint64_t series_max;
    uint64_t unapplied_bytes_max;
    uint64_t inflight_bytes_max;
    uint64_t readers;
    uint64_t rows_per_second;
};

void databases_new(struct databases **ret_databases);
void databases_free(struct databases *databases); /* NULL is fine */

/* Adds one and returns its index; the first is the default one. */
size_t databases_add(struct databases *databases, const char *name,
                     const struct database_limits *limits);

/* From here on its requests go to the api; until then they get 503 with what was told last. */
void databases_attach(struct databases *databases, size_t index, struct api *api);

/* The HTTP server has stopped and the api is about to be closed: waits until nobody of another
 * database looks at it. Its reads should be told to end before. */
void databases_detach(struct databases *databases, size_t index);

/* Why it does not serve, or not all of it; empty: nothing is wrong. */
void databases_tell(struct databases *databases, size_t index, const char *problem);

/* Figures that are taken from time to time; disk_bytes 0: not known. */
void databases_figures(struct databases *databases, size_t index, double rows_per_second,
                       uint64_t disk_bytes);

/* http_handler_fn and http_accept_fn with the databases as ctx; and the handler of a listener that
 * serves /metrics alone. */
void databases_handle(void *databases, struct http_exchange *exchange);
enum err_code databases_accept(void *databases, struct http_exchange *exchange,
                               uint64_t *ret_body_max, struct err *err);
void databases_handle_metrics(void *databases, struct http_exchange *exchange);

#endif
