/*
 * Server-side TLS (1.2 and 1.3) with a certificate that can be replaced while it runs: connections
 * keep the one they began with.
 *
 * Threads: net_tls_reload and net_tls_accept may be called by any thread at any time.
 */
#ifndef EIDER_NET_TLS_H
#define EIDER_NET_TLS_H

#include "base/err.h"

struct net_tls;
struct ssl_st;

/* Reads a PEM certificate chain and its key; errors name the file and what is wrong with it. */
enum err_code net_tls_new(const char *cert_file, const char *key_file, struct net_tls **ret_tls,
                          struct err *err);
void net_tls_free(struct net_tls *tls); /* NULL is fine */

/* Reads both files anew; on failure the old certificate stays. */
enum err_code net_tls_reload(struct net_tls *tls, struct err *err);

/* Makes the TLS state of an accepted socket, for net_stream; NULL when OpenSSL refuses. The
 * handshake runs within the first reads. */
struct ssl_st *net_tls_accept(struct net_tls *tls, int fd);

#endif
