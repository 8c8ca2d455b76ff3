/* TLS contexts by OpenSSL. Kernel TLS stays off: with moving write buffers it corrupts data. */
#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct net_tls {
    pthread_mutex_t lock; /* guards ctx */
    SSL_CTX *ctx;
    char *cert_file;
    char *key_file;
};

/* Fills err with OpenSSL's own reason for the last failure. */
static enum err_code
openssl_error(struct err *err, const char *what, const char *file)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    enum err_code code =
        err_set(err, ERR_USAGE, "%s %s: %s", what, file, reason ? reason : "unknown reason");

    ERR_clear_error();
    return code;
}

/* Agrees to HTTP/1.1 when the client offers a list (RFC 7301); otherwise says nothing. */
static int
select_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                const unsigned char *in, unsigned in_len, void *arg)
{
    static const unsigned char http11[] = "http/1.1";
    enum { HTTP11_LEN = sizeof(http11) - 1 };

    (void)ssl;
    (void)arg;
    for (unsigned at = 0; at < in_len && in[at] < in_len - at; at += in[at] + 1U) {
        if (in[at] == HTTP11_LEN && memcmp(in + at + 1, http11, HTTP11_LEN) == 0) {
            *out = in + at + 1;
            *out_len = HTTP11_LEN;
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_NOACK;
}

static enum err_code
load(const char *cert_file, const char *key_file, SSL_CTX **ret_ctx, struct err *err)
{
    enum err_code code;

    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx) {
        return openssl_error(err, "cannot prepare TLS for", cert_file);
    }
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"eider", 5);
    SSL_CTX_set_alpn_select_cb(ctx, select_protocol, NULL);
    if (SSL_CTX_use_certificate_chain_file(ctx, cert_file) != 1) {
        code = openssl_error(err, "cannot use the certificate file", cert_file);
        goto fail;
    }
    if (SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) != 1) {
        code = openssl_error(err, "cannot use the key file", key_file);
        goto fail;
    }
    if (SSL_CTX_check_private_key(ctx) != 1) {
        code = openssl_error(err, "the key does not belong to the certificate:", key_file);
        goto fail;
    }
    *ret_ctx = ctx;
    return ERR_OK;
fail:
    SSL_CTX_free(ctx);
    return code;
}

enum err_code
net_tls_new(const char *cert_file, const char *key_file, struct net_tls **ret_tls, struct err *err)
{
    SSL_CTX *ctx = NULL;
    enum err_code code = load(cert_file, key_file, &ctx, err);

    if (code != ERR_OK) {
        return code;
    }
    struct net_tls *tls = mem_zalloc(1, sizeof(*tls));
    pthread_mutex_init(&tls->lock, NULL);
    tls->ctx = ctx;
    tls->cert_file = mem_strdup(slice_of(cert_file));
    tls->key_file = mem_strdup(slice_of(key_file));
    *ret_tls = tls;
    return ERR_OK;
}

void
net_tls_free(struct net_tls *tls)
{
    if (tls) {
        SSL_CTX_free(tls->ctx);
        pthread_mutex_destroy(&tls->lock);
        free(tls->cert_file);
        free(tls->key_file);
        free(tls);
    }
}

enum err_code
net_tls_reload(struct net_tls *tls, struct err *err)
{
    SSL_CTX *fresh = NULL;
    enum err_code code = load(tls->cert_file, tls->key_file, &fresh, err);

    if (code != ERR_OK) {
        return code;
    }
    pthread_mutex_lock(&tls->lock);
    SSL_CTX *old = tls->ctx;
    tls->ctx = fresh;
    pthread_mutex_unlock(&tls->lock);
    SSL_CTX_free(old); /* Connections hold references of their own. */
    return ERR_OK;
}

struct ssl_st *
net_tls_accept(struct net_tls *tls, int fd)
{
    pthread_mutex_lock(&tls->lock);
    SSL *ssl = SSL_new(tls->ctx);
    pthread_mutex_unlock(&tls->lock);
    if (!ssl) {
        ERR_clear_error();
        return NULL;
    }
    if (SSL_set_fd(ssl, fd) != 1) {
        SSL_free(ssl);
        ERR_clear_error();
        return NULL;
    }
    SSL_set_accept_state(ssl);
    return ssl;
}
