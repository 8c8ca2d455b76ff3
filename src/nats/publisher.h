/*
 * Publishes to streams of NATS JetStream: a message counts as published when the server has
 * confirmed that a stream stored it.
 *
 * The publisher connects at the first message and at every one that finds no connection; a
 * connection that was lost comes back by itself, for as long as it takes. Nothing is kept for
 * later: a message that failed is the caller's to publish again, and may then be in the stream
 * twice if only the confirmation was lost.
 *
 * Threads: one at a time a publisher. nats_publish blocks; never call it on an event loop. The
 * library has threads of its own, which take the signal mask of the thread that calls first.
 */
#ifndef EIDER_NATS_PUBLISHER_H
#define EIDER_NATS_PUBLISHER_H

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct nats_publisher;

/* Prepares it without connecting. `url` is a list as in nats/url.h, `name` is what the server calls
 * this client. ERR_INVALID for the url. */
enum err_code nats_publisher_open(const char *url, const char *name,
                                  struct nats_publisher **ret_publisher, struct err *err);

/*
 * Publishes and waits until a stream has stored it, at most timeout_ms; a new connection takes up
 * to two seconds a server, and what the name resolver takes, on top.
 * ERR_NOT_FOUND: no stream covers the subject. ERR_UNAVAILABLE: no server, or the stream refused
 * it. ERR_UNAUTHORIZED: the server refused the credentials. ERR_TIMEOUT: no confirmation came.
 */
enum err_code nats_publish(struct nats_publisher *publisher, const char *subject,
                           struct slice payload, int64_t timeout_ms, struct err *err);

/* The servers without their credentials. */
const char *nats_publisher_url(const struct nats_publisher *publisher);

/* Ends the connection and, with the last publisher, the library's threads. NULL is fine. */
void nats_publisher_close(struct nats_publisher *publisher);

#endif
