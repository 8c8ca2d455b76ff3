/*
 * What the files of this part share: the server, its workers (one event loop and thread each), the
 * connections of a worker, the exchange.
 *
 * Threads: a worker, its connections and its WebSocket clients belong to its thread. An exchange
 * belongs to whoever holds it; it names its connection by id (slot and generation), never by
 * pointer, since the connection may be gone. Counters are written by one thread each and read by
 * any.
 */
#ifndef EIDER_HTTP_WORKER_H
#define EIDER_HTTP_WORKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/id.h"
#include "http/chunked.h"
#include "http/head.h"
#include "http/http.h"
#include "http/routes.h"
#include "http/uri.h"
#include "net/listener.h"
#include "net/loop.h"
#include "net/stream.h"
#include "net/tls.h"

enum {
    HTTP_READ_BYTES = 64 * 1024,    /* one read; also what a paused connection may hold */
    HTTP_ARENA_MAX_BYTES = 1 << 20, /* of an exchange */
    HTTP_OUT_MAX_BYTES = 256 << 20, /* one answer */
    HTTP_LINGER_US = 2000000,       /* how long a refused client is listened to */
    HTTP_LINGER_BYTES = 4 << 20,    /* and how much of it */
    HTTP_FREE_EXCHANGES = 128,      /* kept for reuse, a worker */
    HTTP_REFUSED_MAX = 64,          /* connections over the limit that get a 503 at a time */
    HTTP_WORKERS_MAX = 128,
    HTTP_BODY_DEFAULT_MAX = 64 << 20, /* without an accept callback */
};

struct http_worker;
struct conn;

/* ---- exchange ---- */

/* How its holder gave an exchange away. */
enum http_flow_end {
    HTTP_FLOW_OPEN,  /* not yet */
    HTTP_FLOW_REPLY, /* http_reply: the answer is in the exchange */
    HTTP_FLOW_END,   /* http_reply_end */
    HTTP_FLOW_ABORT, /* http_reply_abort */
};

/*
 * What holder and loop share of an exchange that streams, or that wants to know when its client
 * leaves. `lock` guards all of it but what is said to be one side's. Callbacks are called with the
 * lock held, so that none runs when a call of the holder returns; it is recursive, since they may
 * call back.
 */
struct http_flow {
    pthread_mutex_t lock;
    bool used;   /* the holder's until it gives the exchange away: anything here is in use */
    bool posted; /* exchange->post is in the loop's queue */
    bool gone;   /* nothing that is written will be sent */
    enum http_flow_end end;
    struct http_stream_callbacks callbacks; /* empty once the exchange is given away */
    void *ctx;

    _Atomic bool body_wanted; /* the holder reads; written without the lock */

    bool begun;     /* status and header lines are final */
    bool bodyless;  /* HEAD, 204, 304: what is written is not sent */
    bool waiting;   /* the holder was told to wait and is owed an on_drain */
    bool overrun;   /* more was written than announced */
    int64_t length; /* announced; negative: not known */
    uint64_t taken; /* bytes of the body written */
    struct buf queue;

    /* The loop's own. */
    struct buf sending; /* the piece on its way, behind exchange->wire */
    size_t charged;     /* of the server's budget, for sending; queue's are queue.len */
    bool rendered;      /* the head is in wire, or out */
    bool chunked;
    bool terminated; /* the last chunk is in wire, or out */
    uint64_t sent;   /* of batches that are out */
    uint64_t body_seen;
    int fault_status; /* the body cannot be used: the answer, if none has begun; 0: it can */
    char fault_detail[80];
};

struct http_exchange {
    struct net_post post; /* brings the answer to the worker */
    struct http_exchange *next_free;
    struct http_worker *worker;
    uint64_t conn_id;
    struct arena arena;
    struct http_head head; /* slices into the arena */
    bool has_head;         /* false in answers to what could not be parsed */
    struct slice path;
    size_t prefix_len; /* bytes that handlers do not see, of path and of head.path alike */
    struct http_param *params;
    size_t param_count;

    char *body;
    size_t body_len;
    size_t body_cap;
    size_t body_charged; /* of the server's budget */
    uint64_t body_max;
    struct http_chunked chunked;

    bool tls;
    char peer[NET_PEER_MAX];
    char request_id[ID_UUID_LEN + 1];
    char *request_id_place; /* = request_id; made when first asked for, through const */
    void *user;
    const char *route;

    int status;
    bool close;
    bool replied;
    bool is_static;
    bool has_retry_after;
    struct slice static_body;
    struct slice content_type; /* in the arena */
    struct buf out;
    struct buf lines;  /* header lines of the answer */
    struct buf wire;   /* the head as sent, with a small body behind */
    struct slice tail; /* of the body, sent behind wire */
    int64_t started_us;
    uint64_t bytes_in;

    bool stream_body; /* the handler comes before the body */
    struct http_flow flow;
};

/* A cleared exchange, reused where possible; heap memory. */
struct http_exchange *exchange_new(struct http_worker *worker);
/* Makes it ready for the next use; big pieces of memory are freed. */
void exchange_reset(struct http_exchange *exchange);
void exchange_free(struct http_exchange *exchange);

/* Copies a head (request line to empty line), parses and decodes it. */
bool exchange_set_head(struct http_exchange *exchange, struct slice bytes,
                       struct http_fault *fault);

/* Room for up to `want` more body bytes, at least one: *ret_room of them. NULL when the budget of
 * all bodies is used up. */
char *exchange_body_room(struct http_exchange *exchange, uint64_t want, size_t *ret_room);
bool exchange_body_add(struct http_exchange *exchange, struct slice bytes);
void exchange_body_drop(struct http_exchange *exchange);

/* Turns it into an error answer of the JSON shape; what was written before is dropped. */
void exchange_set_error(struct http_exchange *exchange, int status, const char *code,
                        struct slice detail);

/* Makes wire and tail of what was set; date is the value of the Date header. */
void exchange_render(struct http_exchange *exchange, bool keep_alive, const char *date);

/* Makes wire of the head of an answer whose body comes in pieces. False when the header lines are
 * over their limit: nothing is made. */
bool exchange_render_stream(struct http_exchange *exchange, bool keep_alive, const char *date);

/* Gives an exchange with a flow in use away. Any thread. */
void exchange_flow_give(struct http_exchange *exchange, enum http_flow_end end);

/* Drops what is queued and gives it back to the budget. Called by the loop, or by the holder when
 * there is no loop any more. */
void exchange_flow_drop(struct http_exchange *exchange);

/* The code of the error shape for a status that the server itself chose. */
const char *exchange_code_of(int status);

enum { HTTP_DATE_LEN = 29 };
/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7). */
void http_format_date(int64_t unix_s, char ret_text[HTTP_DATE_LEN + 1]);

/* ---- worker ---- */

/* Written by the worker's thread only. */
struct http_counters {
    _Atomic uint64_t connections;
    _Atomic uint64_t connections_total;
    _Atomic uint64_t connections_refused;
    _Atomic uint64_t requests_total;
    _Atomic uint64_t requests_done;
    _Atomic uint64_t responses_by_class[6];
    _Atomic uint64_t parse_errors;
    _Atomic uint64_t streams_total;
    _Atomic uint64_t streams_cut;
    _Atomic uint64_t clients_gone;
    _Atomic uint64_t bytes_in;
    _Atomic uint64_t bytes_out;
    _Atomic uint64_t ws_clients;
    _Atomic uint64_t ws_clients_total;
    _Atomic uint64_t ws_frames_sent;
    _Atomic uint64_t ws_frames_skipped;
    _Atomic uint64_t ws_dropped_slow;
};

/* Adds to a counter that only this thread writes: cheaper than an atomic addition. */
static inline void
counter_add(_Atomic uint64_t *counter, uint64_t n)
{
    uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);

    atomic_store_explicit(counter, now + n, memory_order_relaxed);
}

static inline uint64_t
counter_get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

struct conn_slot {
    struct conn *conn; /* NULL: free */
    uint32_t generation;
    uint32_t next_free;
};

/* What http_upgrade noted for the exchange in the handler's hands. */
struct http_upgrade_note {
    bool wanted;
    char accept[32]; /* Sec-WebSocket-Accept */
    struct ws_callbacks callbacks;
    void *ctx;
};

enum { WS_GROUPS = HTTP_GROUPS };

/* A broadcast that is under way: [cursor .. last] of the ring of clients are still to be offered
 * frame. cursor NULL: none. */
struct ws_round {
    struct ws_frame *frame;
    struct ws_client *cursor;
    struct ws_client *last;
    uint64_t offered; /* members that were offered frame so far */
};

/* The groups of one channel. */
struct ws_channel {
    struct ws_round rounds[WS_GROUPS];
    uint64_t rounds_active; /* a bit each */
    uint64_t members[WS_GROUPS];
    unsigned round_first; /* the group that is served first in the next turn */
};

/* A call of http_each_client on one worker. */
struct ws_each {
    struct net_post post;
    struct http_worker *worker;
    struct ws_each *next;
    void (*fn)(void *ctx, struct ws_client *client);
    void *ctx;
    struct ws_client *cursor;
    struct ws_client *last;
};

struct http_worker {
    struct http_server *server;
    struct net_loop *loop;
    unsigned index;
    pthread_t thread;
    bool thread_runs;
    bool draining;
    bool killed;
    char *read_buffer; /* HTTP_READ_BYTES */

    struct conn_slot *slots;
    uint32_t slot_count;
    uint32_t slot_free; /* head of the free list, slot_count when empty */
    size_t conn_count;  /* open now, refused ones included */
    size_t refused_count;
    size_t out; /* exchanges that the handler has taken and not yet answered */

    struct http_exchange *free_exchanges;
    size_t free_count;
    struct http_exchange *dispatching; /* in the handler's hands within this very call */
    bool replied;                      /* and answered in it */
    struct http_upgrade_note upgrade;
    struct net_post drain_post;
    struct net_post kill_post;
    bool idle_told;

    int64_t date_checked_us;
    int64_t date_s;
    char date[HTTP_DATE_LEN + 1];

    struct buf again; /* ids of connections whose next read no event will announce */

    struct ws_client *clients;                  /* a ring; any of them */
    struct ws_channel *channels[HTTP_CHANNELS]; /* NULL: nobody was ever in it */
    unsigned channel_first;                     /* that is served first in the next turn */
    struct ws_each *eaches;                     /* oldest first */
    struct http_counters counters;
};

struct http_exchange *worker_take_exchange(struct http_worker *worker);
void worker_give_exchange(struct http_worker *worker, struct http_exchange *exchange);

/* The connection of an id, or NULL when it is gone. */
struct conn *worker_find(const struct http_worker *worker, uint64_t id);
/* The worker that an id belongs to. */
unsigned worker_index_of(uint64_t id);
/* Gives conn an id. */
void worker_add(struct http_worker *worker, struct conn *conn);
void worker_remove(struct http_worker *worker, struct conn *conn);
/* The Date header of now. */
const char *worker_date(struct http_worker *worker);
/* Has conn read again in the next turn. */
void worker_read_again(struct http_worker *worker, const struct conn *conn);

/* Makes the loop and what belongs to it; the thread is not started. */
enum err_code worker_init(struct http_worker *worker, struct http_server *server, unsigned index,
                          struct err *err);
enum err_code worker_start(struct http_worker *worker, struct err *err);
/* Frees what is left when the thread is over; the loop stays for late answers. */
void worker_clear(struct http_worker *worker);
void worker_fini(struct http_worker *worker);
/* Any thread: begins to drain; closes everything and ends the thread. */
void worker_post_drain(struct http_worker *worker);
void worker_post_kill(struct http_worker *worker);

/* ---- server (server.c) ---- */

struct http_server {
    struct http_options options; /* with defaults filled in */
    char **origins;              /* a copy; NULL: none */
    const struct clock *clock;
    struct http_routes *routes;
    struct net_tls *tls; /* NULL: plain */
    uint16_t port;
    int listen_fd;
    struct net_watch listen_watch; /* of worker 0 */
    struct net_timer listen_timer; /* resumes a paused listener */
    unsigned next_worker;          /* for round robin; thread of worker 0 */
    _Atomic uint64_t connections;  /* without refused ones */
    _Atomic uint64_t bodies_bytes;
    pthread_mutex_t lock; /* guards busy_workers */
    pthread_cond_t changed;
    unsigned busy_workers; /* while stopping: those with connections or exchanges out */
    struct net_post close_post;

    _Atomic int64_t holders; /* see server.c, late answers */
    unsigned worker_count;
    struct http_worker *workers;
};

/* An exchange of a stopped server was answered; the last one frees the server. */
void server_late_answer(struct http_server *server);

/* Called by a draining worker when it has nothing left. */
void server_worker_idle(struct http_server *server);

#endif
