/* The publisher on libnats (docs/adr/0017-nats-client.md). */
#include "nats/publisher.h"

#include <nats/nats.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "nats/url.h"

enum {
    CONNECT_TIMEOUT_MS = 2000,
    RECONNECT_WAIT_MS = 500,
    PING_INTERVAL_MS = 20000,
    CLOSE_TIMEOUT_MS = 5000,
    RECONNECT_FOR_EVER = -1
};

struct nats_publisher {
    natsOptions *options;
    natsConnection *connection; /* NULL: none yet, or given up */
    jsCtx *stream;              /* lives with the connection */
    struct nats_url url;
};

/* The library counts no users: the last publisher that closes ends it. */
static atomic_int open_count;

/* Without a handler the library prints to standard error. What goes wrong comes back from the next
 * nats_publish anyway. */
static void
on_async_error(natsConnection *connection, natsSubscription *subscription, natsStatus status,
               void *ctx)
{
    (void)connection;
    (void)subscription;
    (void)status;
    (void)ctx;
}

/* The library's own words on the last failure of this thread, without its "(file.c:1): "; one that
 * quotes an address might quote a password and is left out. */
static const char *
reason_of(natsStatus status)
{
    natsStatus last = NATS_OK;
    const char *text = nats_GetLastError(&last);

    if (last != status || !text || !*text || strstr(text, "://")) {
        return natsStatus_GetText(status);
    }
    const char *place_end = *text == '(' ? strstr(text, "): ") : NULL;
    return place_end ? place_end + 3 : text;
}

static natsStatus
set_options(natsOptions *options, const struct nats_url *url, const char *name)
{
    const char *servers[NATS_SERVERS_MAX];

    for (size_t i = 0; i < url->count; i++) {
        servers[i] = url->servers[i];
    }
    natsStatus status = natsOptions_SetServers(options, servers, (int)url->count);
    if (status == NATS_OK) {
        status = natsOptions_SetName(options, name);
    }
    if (status == NATS_OK) {
        status = natsOptions_SetTimeout(options, CONNECT_TIMEOUT_MS);
    }
    if (status == NATS_OK) {
        status = natsOptions_SetMaxReconnect(options, RECONNECT_FOR_EVER);
    }
    if (status == NATS_OK) {
        status = natsOptions_SetReconnectWait(options, RECONNECT_WAIT_MS);
    }
    if (status == NATS_OK) {
        status = natsOptions_SetPingInterval(options, PING_INTERVAL_MS);
    }
    if (status == NATS_OK) {
        status = natsOptions_SetFailRequestsOnDisconnect(options, true);
    }
    if (status == NATS_OK) {
        status = natsOptions_SetErrorHandler(options, on_async_error, NULL);
    }
    /* A server that wants TLS gets it in any case; this is for one that does not offer it. */
    if (status == NATS_OK && url->is_tls) {
        status = natsOptions_SetSecure(options, true);
    }
    return status;
}

/*
 * Once it has used TLS, which the server may ask for, the library frees OpenSSL's list of
 * compression methods at exit, and OpenSSL, if it was in use before, frees it again
 * (https://github.com/nats-io/nats.c/issues/904, open in 3.4). So it finds none. The list is empty
 * anyway, contexts in use may still point to it, hence it is kept.
 */
static void
hide_compression_methods(void)
{
    static STACK_OF(SSL_COMP) *volatile kept; /* seen by leak checks */
    STACK_OF(SSL_COMP) *methods = SSL_COMP_get_compression_methods();

    if (methods) {
        kept = methods;
        SSL_COMP_set0_compression_methods(NULL);
    }
    (void)kept;
}

static void
let_library_go(void)
{
    hide_compression_methods();
    if (atomic_fetch_sub(&open_count, 1) == 1) {
        nats_CloseAndWait(CLOSE_TIMEOUT_MS);
    }
}

enum err_code
nats_publisher_open(const char *url, const char *name, struct nats_publisher **ret_publisher,
                    struct err *err)
{
    struct nats_publisher *publisher = mem_zalloc(1, sizeof(*publisher));
    enum err_code code = nats_url_parse(slice_of(url), &publisher->url, err);

    if (code != ERR_OK) {
        free(publisher);
        return code;
    }
    atomic_fetch_add(&open_count, 1);
    natsStatus status = natsOptions_Create(&publisher->options);
    if (status == NATS_OK) {
        status = set_options(publisher->options, &publisher->url, name);
    }
    if (status != NATS_OK) {
        code =
            err_set(err, ERR_INTERNAL, "the NATS library cannot be set up: %s", reason_of(status));
        nats_publisher_close(publisher);
        return code;
    }
    *ret_publisher = publisher;
    return ERR_OK;
}

static void
disconnect(struct nats_publisher *publisher)
{
    jsCtx_Destroy(publisher->stream);
    natsConnection_Destroy(publisher->connection);
    publisher->stream = NULL;
    publisher->connection = NULL;
}

static enum err_code
fail_to_connect(const struct nats_publisher *publisher, natsStatus status, struct err *err)
{
    if (status == NATS_CONNECTION_AUTH_FAILED) {
        return err_set(err, ERR_UNAUTHORIZED, "NATS at %s refuses the credentials of the address",
                       publisher->url.shown);
    }
    return err_set(err, ERR_UNAVAILABLE, "NATS at %s cannot be reached: %s", publisher->url.shown,
                   reason_of(status));
}

/* A connection is closed for good only when the server turned the credentials down twice; as they
 * may be put right there, it is then made anew. */
static enum err_code
ensure_connected(struct nats_publisher *publisher, struct err *err)
{
    if (publisher->connection && natsConnection_IsClosed(publisher->connection)) {
        disconnect(publisher);
    }
    if (!publisher->connection) {
        natsStatus status = natsConnection_Connect(&publisher->connection, publisher->options);
        if (status == NATS_OK) {
            status = natsConnection_JetStream(&publisher->stream, publisher->connection, NULL);
        }
        if (status != NATS_OK) {
            disconnect(publisher);
            return fail_to_connect(publisher, status, err);
        }
    }
    /* While it reconnects the library would keep messages for later, behind the caller's back. */
    if (natsConnection_Status(publisher->connection) != NATS_CONN_STATUS_CONNECTED) {
        return err_set(err, ERR_UNAVAILABLE, "the connection to NATS at %s is lost",
                       publisher->url.shown);
    }
    return ERR_OK;
}

enum err_code
nats_publish(struct nats_publisher *publisher, const char *subject, struct slice payload,
             int64_t timeout_ms, struct err *err)
{
    jsPubOptions options;
    jsErrCode problem = 0;
    enum err_code code = nats_subject_check(slice_of(subject), err);

    if (code == ERR_OK) {
        code = ensure_connected(publisher, err);
    }
    if (code != ERR_OK) {
        return code;
    }
    jsPubOptions_Init(&options);
    options.MaxWait = timeout_ms;
    natsStatus status = js_Publish(NULL, publisher->stream, subject, payload.ptr, (int)payload.len,
                                   &options, &problem);
    switch (status) { /* NOLINT(clang-diagnostic-switch-enum): the library's, most cannot be */
    case NATS_OK:
        return ERR_OK;
    case NATS_NO_RESPONDERS:
        return err_set(err, ERR_NOT_FOUND,
                       "no JetStream stream of NATS at %s covers the subject %s; add one that does",
                       publisher->url.shown, subject);
    case NATS_TIMEOUT:
        return err_set(err, ERR_TIMEOUT,
                       "NATS at %s did not confirm the message on subject %s within %lld ms",
                       publisher->url.shown, subject, (long long)timeout_ms);
    default:
        return err_set(err, ERR_UNAVAILABLE, "NATS at %s did not store on subject %s: %s (%d)",
                       publisher->url.shown, subject, reason_of(status), (int)problem);
    }
}

const char *
nats_publisher_url(const struct nats_publisher *publisher)
{
    return publisher->url.shown;
}

void
nats_publisher_close(struct nats_publisher *publisher)
{
    if (!publisher) {
        return;
    }
    disconnect(publisher);
    natsOptions_Destroy(publisher->options);
    free(publisher);
    let_library_go();
}
