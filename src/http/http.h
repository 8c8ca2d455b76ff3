/*
 * The HTTP/1.1 and WebSocket server: event loops (net), connections, a strict parser, and the
 * exchange: one request and its one answer. It knows no routes; whoever starts it gives one
 * handler.
 *
 * An exchange owns everything of its request (head, body) and does not depend on its connection:
 * the client may be gone long before the answer. It is answered exactly once, by http_reply, from
 * any thread; that call gives it away. On a connection requests are handled one after the other, so
 * answers to pipelined requests are in order.
 *
 *   reading head -> (accepted? 100-continue) -> reading body -> handler -> replied -> next request
 *
 * Threads: the handler runs on an event loop and must not block; it hands slow work to a thread of
 * its own choice together with the exchange. Everything that takes `struct http_exchange *` may be
 * called by whichever single thread holds the exchange at that moment.
 */
#ifndef EIDER_HTTP_HTTP_H
#define EIDER_HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/hist.h"
#include "base/slice.h"

struct http_server;
struct http_exchange;
struct ws_client;

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_PATCH,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_METHOD_COUNT
};

const char *http_method_name(enum http_method method);

/* ---- the request, as the handler sees it; slices live as long as the exchange ---- */

enum http_method http_method(const struct http_exchange *exchange);
struct slice http_path(const struct http_exchange *exchange);   /* percent-decoded, without query */
struct slice http_target(const struct http_exchange *exchange); /* as sent */
struct slice
http_body(const struct http_exchange *exchange); /* whole, chunks joined; may be gzip */

/*
 * One listener may serve several things of one shape below different prefixes. Whoever tells them
 * apart takes the prefix away: http_path and http_local_target then begin behind it, and the
 * handler need not know. `len` counts from the beginning of the path as it was sent, within which
 * nothing may be percent-encoded there (assert); a path of which nothing is left is "/". Holds
 * until it is set anew.
 */
void http_set_prefix(struct http_exchange *exchange, size_t len);
struct slice http_prefix(const struct http_exchange *exchange);       /* empty: none */
struct slice http_raw_path(const struct http_exchange *exchange);     /* as sent, with the prefix */
struct slice http_local_target(const struct http_exchange *exchange); /* path and query, as sent */

/* Value of a header, case-insensitive name, trimmed; false when absent. */
bool http_header(const struct http_exchange *exchange, const char *name, struct slice *ret_value);

/* Percent-decoded value of a query parameter (the first of that name); false when absent. */
bool http_query(const struct http_exchange *exchange, const char *name, struct slice *ret_value);

/* The i-th header field as it was sent; false past the last. */
bool http_header_at(const struct http_exchange *exchange, size_t index, struct slice *ret_name,
                    struct slice *ret_value);

/* How long the client says its body is, 0 when it has none; false when that shows only at its end
 * (chunked). */
bool http_body_length(const struct http_exchange *exchange, uint64_t *ret_length);

/* The i-th query parameter; false past the last. */
bool http_query_at(const struct http_exchange *exchange, size_t index, struct slice *ret_name,
                   struct slice *ret_value);

/* "127.0.0.1:54321". */
struct slice http_peer(const struct http_exchange *exchange);
bool http_is_tls(const struct http_exchange *exchange);

/* A UUID made for the request, or the client's X-Request-Id when it is 1..64 of [A-Za-z0-9._-]. */
struct slice http_request_id(const struct http_exchange *exchange);

/* Memory that lives as long as the exchange (cap 1 MiB). */
struct arena *http_arena(struct http_exchange *exchange);

/* A place for the handler's own pointer, and for the route name that metrics use as a label. */
void http_set_user(struct http_exchange *exchange, void *user);
void *http_user(const struct http_exchange *exchange);
void http_set_route(struct http_exchange *exchange, const char *static_name);

/* ---- the answer ---- */

void http_set_status(struct http_exchange *exchange, int status);
/* Adds a response header; name and value are copied; CR, LF and NUL in them are refused (assert).
 * Content-Length, Transfer-Encoding, Connection, Date and Server are the server's own (assert). */
void http_add_header(struct http_exchange *exchange, const char *name, struct slice value);
void http_set_content_type(struct http_exchange *exchange, const char *content_type);

/* The body to be written to; http_reply sends what it holds. */
struct buf *http_out(struct http_exchange *exchange);

/* Sends static bytes as the body without copying; they must live as long as the program. */
void http_set_static_body(struct http_exchange *exchange, struct slice body);

/* Sends the answer and gives the exchange away. HEAD answers lose their body here. Any thread. */
void http_reply(struct http_exchange *exchange);

/* Closes the connection behind this answer. */
void http_set_close(struct http_exchange *exchange);

/* Answers with err's HTTP status and the JSON error shape {"detail","code","request_id"}, and gives
 * the exchange away. Headers added before are kept; 503 and 429 get Retry-After: 1 if none was. */
void http_reply_err(struct http_exchange *exchange, const struct err *err);

/* ---- bodies and answers in pieces ----
 *
 * A request body as it comes: accept calls http_stream_body, and the handler is then called right
 * behind the head. It calls http_stream, and http_body_resume when it wants bytes (not before: no
 * byte is read and no 100-continue sent until then). An answer as it is made: http_reply_begin,
 * http_reply_write as often as needed, http_reply_end. Both at the same time are fine, so is either
 * alone, and an exchange whose body was streamed may be answered by http_reply; if the client has
 * then not sent all of its body, the connection closes behind the answer.
 *
 *   http_stream -> (resume -> on_body ... -> on_body_end) | on_gone
 *   http_reply_begin -> write ... (WAIT -> on_drain) -> end | abort
 *
 * Lifetime: as with http_reply the exchange is its holder's until it gives it away, exactly once,
 * by http_reply, http_reply_end or http_reply_abort; that includes exchanges whose client is gone
 * and those of a server that has stopped. Until then all calls are safe; what is written for a
 * client that is gone is dropped.
 *
 * Threads: one thread at a time is the holder. Callbacks run on the exchange's loop thread, may
 * call anything here and must not block. When a call that gives the exchange away has returned, no
 * callback runs and none will come (but for the one it was called from), so ctx may be freed. For
 * that they run with a lock of the exchange held that the functions here take: whoever calls one
 * must not hold a lock that a callback takes.
 */

enum http_gone {
    HTTP_GONE_CLIENT, /* the connection is lost, or the client has ended its side */
    HTTP_GONE_BODY,   /* the body is broken, too large or late; the client gets 400, 413 or 408 for
                         it when the exchange is given away, if no answer has begun */
    HTTP_GONE_STOP,   /* the server has stopped */
};

/* Each may be NULL. */
struct http_stream_callbacks {
    /* A piece of the body, at least a byte; `piece` lives until the callback returns. */
    void (*on_body)(void *ctx, struct http_exchange *exchange, struct slice piece);
    /* The body was complete. Comes behind a resume also when there was none. */
    void (*on_body_end)(void *ctx, struct http_exchange *exchange);
    /* There is room again for what http_reply_write refused. */
    void (*on_drain)(void *ctx, struct http_exchange *exchange);
    /* Nothing more of the body will come and nothing more be sent. At most once. */
    void (*on_gone)(void *ctx, struct http_exchange *exchange, enum http_gone why);
};

/* Has the handler called before the body is read. Call it in accept, which still sets the limit:
 * over it on_gone comes with HTTP_GONE_BODY, or 413 at once for a Content-Length. */
void http_stream_body(struct http_exchange *exchange);

/* Sets the callbacks, once; any thread. False, and none is ever called, when the client is gone
 * already. */
bool http_stream(struct http_exchange *exchange, const struct http_stream_callbacks *callbacks,
                 void *ctx);

/*
 * Only on_gone, for exchanges that are handled in the ordinary way, so that a long job can be given
 * up; instead of http_stream. A client that has shut down its sending side counts as gone from here
 * on, since there is no telling whether it still listens.
 */
bool http_on_gone(struct http_exchange *exchange,
                  void (*fn)(void *ctx, struct http_exchange *exchange, enum http_gone why),
                  void *ctx);

/* Starts and stops the reading of the body. A pause within on_body holds for the bytes behind the
 * piece at once; from another thread a few pieces (64 KiB) may still come. What the client sends
 * meanwhile stays in the kernel. A client that is not being read has no timeout. */
void http_body_resume(struct http_exchange *exchange);
void http_body_pause(struct http_exchange *exchange);

/*
 * Begins the answer with the status and the headers set so far. `length` is what http_reply_write
 * will bring in all, negative when that is not known: then it is sent chunked, to HTTP/1.0 clients
 * until the connection closes. To HEAD, and with 204 and 304, no body is sent, whatever is written.
 */
void http_reply_begin(struct http_exchange *exchange, int64_t length);

enum http_write {
    HTTP_WRITE_TAKEN,
    HTTP_WRITE_WAIT, /* nothing was taken; on_drain will come */
    HTTP_WRITE_GONE, /* nothing is sent any more: give the exchange away. Also over `length` */
};

enum { HTTP_STREAM_HIGH_BYTES = 256 << 10 };

/* Queues a copy of bytes, all or nothing. Waits are told from HTTP_STREAM_HIGH_BYTES on, so an
 * exchange holds at most that and one piece; earlier when the server's budget of all bodies is used
 * up and something of this exchange is still on its way. */
enum http_write http_reply_write(struct http_exchange *exchange, struct slice bytes);

/* Ends the answer and gives the exchange away; what is queued is still sent. If it is shorter than
 * announced, the connection is cut. */
void http_reply_end(struct http_exchange *exchange);

/* Cuts the connection, so that the client sees an incomplete answer (or none), and gives the
 * exchange away. What is queued is dropped. */
void http_reply_abort(struct http_exchange *exchange);

/* ---- WebSocket ---- */

/*
 * Turns the connection into a WebSocket (RFC 6455) and gives the exchange away. False, with the
 * exchange still there to be answered, when the request is not a proper upgrade: then status (400,
 * 403 for a foreign Origin, 426), headers and JSON error are set and http_reply sends them. Loop
 * thread only (call it from the handler).
 *
 * callbacks run on the client's loop thread, on_open first, behind the handler. They must not
 * block. Each may be NULL. The client is gone when on_close returns; it may come in the same turn
 * in which ws_close was called or ws_send_text failed, but never within another callback.
 */
struct ws_callbacks {
    void (*on_open)(void *ctx, struct ws_client *client);
    void (*on_text)(void *ctx, struct ws_client *client, struct slice text);
    void (*on_close)(void *ctx, struct ws_client *client);
};
bool http_upgrade(struct http_exchange *exchange, const struct ws_callbacks *callbacks, void *ctx);

/* A frame that was serialised once and is sent to many: reference counted, atomically. */
struct ws_frame;
struct ws_frame *ws_frame_text(struct slice text); /* one unfragmented text frame */
struct ws_frame *ws_frame_ref(struct ws_frame *frame);
void ws_frame_unref(struct ws_frame *frame); /* NULL is fine */

/* Loop thread only (from callbacks, http_each_client or http_post_client). Queue a message in
 * order; false and the client is dropped when it has more than 256 KiB waiting. */
bool ws_send_text(struct ws_client *client, struct slice text);
void ws_close(struct ws_client *client, uint16_t code, const char *reason);
void ws_set_user(struct ws_client *client, void *user);
void *ws_user(const struct ws_client *client);
uint64_t ws_id(const struct ws_client *client);
struct slice ws_peer(const struct ws_client *client);

enum { HTTP_GROUPS = 64, HTTP_CHANNELS = 65 };

/*
 * Offers the newest frame of a stream to every client in `group` (below HTTP_GROUPS) of every loop:
 * a client that is still busy with an older one keeps only the newest as pending, one that has had
 * a pending frame for 10 s is dropped. Work is sliced so that other connections are served in
 * between. Any thread. A client is in no group until ws_join; it may be in several (a bit mask),
 * and gets the frame once for each group it is in.
 */
void http_broadcast(struct http_server *server, unsigned group, struct ws_frame *frame);
void ws_join(struct ws_client *client, uint64_t group_mask); /* replaces the mask; loop thread */

/* Every channel (below HTTP_CHANNELS) has groups of its own. A client is in channel 0 until it is
 * set, from on_open and before ws_join. http_broadcast is for channel 0. */
void ws_set_channel(struct ws_client *client, unsigned channel);
void http_broadcast_channel(struct http_server *server, unsigned channel, unsigned group,
                            struct ws_frame *frame);

/* Runs fn once for every WebSocket client, on its loop's thread, in slices like a broadcast; any
 * thread may ask. ctx must stay valid until http_server_stop. */
void http_each_client(struct http_server *server, void (*fn)(void *ctx, struct ws_client *client),
                      void *ctx);

/* Runs fn on the loop thread of the client with this ws_id, with NULL when it is gone; any thread
 * may ask. ctx is fn's to free. */
void http_post_client(struct http_server *server, uint64_t id,
                      void (*fn)(void *ctx, struct ws_client *client), void *ctx);

/* ---- the server ---- */

typedef void http_handler_fn(void *ctx, struct http_exchange *exchange);

/*
 * Asked as soon as a head is parsed, before the body is read or 100-continue is sent: how large may
 * the body be? 0 refuses any body. It may also answer at once by filling err (401, 404, 413...):
 * then the server answers with the JSON error shape and does not read the body.
 */
typedef enum err_code http_accept_fn(void *ctx, struct http_exchange *exchange,
                                     uint64_t *ret_body_max, struct err *err);

/* One line for the access log, made at the end of an exchange; any loop thread; must not block. */
struct http_access {
    struct slice peer, method, target, user_agent, request_id;
    int status;
    uint64_t bytes_in, bytes_out;
    int64_t duration_us;
};
typedef void http_access_fn(void *ctx, const struct http_access *access);

struct http_options {
    const char *host;      /* numeric address or name; NULL: 127.0.0.1 */
    uint16_t port;         /* 0: any free one, see http_server_port */
    unsigned loops;        /* event loop threads; 0: 1 */
    const char *cert_file; /* both or neither: TLS 1.2+ */
    const char *key_file;
    unsigned connections_max;  /* 0: 16384; over it new ones get 503 and are closed */
    size_t head_bytes_max;     /* 0: 16 KiB; over it 431 */
    uint64_t bodies_bytes_max; /* memory for all bodies, and input that waits; 0: 256 MiB; over it
                                  503 */
    int header_timeout_ms;     /* 0: 10 000 */
    int idle_timeout_ms;       /* 0: 60 000 */
    int body_timeout_ms;       /* longest silence within a body; 0: 30 000 */
    http_handler_fn *handler;  /* required */
    http_accept_fn *accept;    /* NULL: any body up to 64 MiB */
    http_access_fn *access;    /* NULL: no access log */
    void *ctx;                 /* of the three above */
    const struct clock *clock; /* NULL: the system's; read by all loop threads */
    /* WebSocket origins allowed besides the server's own, e.g. "https://a.example:8443", ending in
     * NULL; "*" allows all. NULL: none. Requests without Origin are no browser's and pass. */
    const char *const *origins;
};

/* Binds, listens, starts the loop threads. Errors name address and port. */
enum err_code http_server_start(const struct http_options *options, struct http_server **ret_server,
                                struct err *err);

/*
 * Drains: stops accepting, lets running exchanges answer with Connection: close, sends WebSocket
 * clients close 1001, and after grace_ms closes what is left. Then stops the threads and frees.
 */
void http_server_stop(struct http_server *server, int grace_ms);

uint16_t http_server_port(const struct http_server *server);

/* Reads certificate and key anew (SIGHUP); on failure the old ones stay. */
enum err_code http_server_reload_tls(struct http_server *server, struct err *err);

struct http_stats {
    uint64_t connections; /* open now, WebSockets included */
    uint64_t connections_total;
    uint64_t connections_refused;
    uint64_t requests_total;
    uint64_t responses_by_class[6]; /* [2] = 2xx ... */
    uint64_t requests_active;
    uint64_t parse_errors;
    uint64_t bytes_in, bytes_out;
    uint64_t bodies_bytes;  /* memory held by bodies, streams and waiting input now */
    uint64_t streams_total; /* answers begun by http_reply_begin */
    uint64_t streams_cut;   /* those that the client did not get whole */
    uint64_t clients_gone;  /* exchanges whose client left before they were given away */
    uint64_t ws_clients;
    uint64_t ws_clients_total;
    uint64_t ws_frames_sent;
    uint64_t ws_frames_skipped; /* replaced by a newer one before they were sent */
    uint64_t ws_dropped_slow;
};

void http_server_stats(const struct http_server *server, struct http_stats *ret_stats);

/* Latency in microseconds of the requests that carried this route name; NULL if there were none.
 * index 0, 1, ... walks through all routes until NULL. */
struct http_route_stats {
    const char *route;
    const struct hist *latency_us;
    uint64_t by_class[6];
};
bool http_server_route_stats(const struct http_server *server, size_t index,
                             struct http_route_stats *ret_stats);

#endif
