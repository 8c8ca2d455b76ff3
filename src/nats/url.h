/*
 * Addresses of NATS servers and subjects, as the configuration gives them:
 *
 *   nats://[user:password@ | token@]host[:port][,nats://...]     tls:// with TLS
 *
 * Pure; any thread. The errors never show the address, which may hold a password.
 */
#ifndef EIDER_NATS_URL_H
#define EIDER_NATS_URL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/slice.h"

enum {
    NATS_SERVERS_MAX = 8,
    NATS_SERVER_BYTES = 256,
    NATS_SHOWN_BYTES = 200,
    NATS_SUBJECT_BYTES = 256
};

struct nats_url {
    size_t count;
    bool is_tls; /* of all servers, or of none */
    char servers[NATS_SERVERS_MAX][NATS_SERVER_BYTES];
    char shown[NATS_SHOWN_BYTES]; /* for messages: credentials as ****, cut when it is long */
};

/* Reads a list of servers. ERR_INVALID says which of them is wrong, and how. */
enum err_code nats_url_parse(struct slice text, struct nats_url *ret_url, struct err *err);

/* ERR_INVALID unless one can publish to it: words joined by dots, no blanks and no wildcards. */
enum err_code nats_subject_check(struct slice subject, struct err *err);

#endif
