/*
 * Talks to a running server: one keep-alive connection, one request at a time.
 *
 * Ownership: open/close; a reply belongs to the client until its next request. One thread.
 */
#ifndef EIDER_CLI_CLIENT_H
#define EIDER_CLI_CLIENT_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

struct client;

struct client_options {
    const char *url;     /* "http://127.0.0.1:8000"; a slash at the end is dropped */
    const char *token;   /* NULL: none */
    const char *ca_file; /* trusted beside the system's; NULL: none */
    bool same_machine;   /* the URL came from the lock file: the certificate's name may differ */
};

enum err_code client_open(const struct client_options *options, struct client **ret_client,
                          struct err *err);
void client_close(struct client *client); /* NULL is fine */
const char *client_url(const struct client *client);

struct client_reply {
    long status;
    struct slice body;
    int retry_after_s; /* 0: the server named none */
    bool replayed;     /* Idempotent-Replayed */
};

struct client_request {
    const char *path;         /* with query, from "/" */
    const char *method;       /* NULL: GET, or POST with a content type */
    const char *content_type; /* NULL: no body */
    struct slice body;
    const char *idempotency_key; /* NULL: none */
};

/*
 * Sends a request and waits for the answer, whatever its status. ERR_UNAVAILABLE when the server
 * cannot be reached or goes away, ERR_TIMEOUT, ERR_TOO_LARGE over 1 GiB of answer.
 */
enum err_code client_send(struct client *client, const struct client_request *request,
                          struct client_reply *ret_reply, struct err *err);

/* Turns an answer that is no success into an error with the server's own words. */
enum err_code client_refusal(const struct client *client, const struct client_reply *reply,
                             struct err *err);

#endif
