/*
 * A connection: what it holds, and what its files do for each other. conn.c reads, waits and
 * closes; request.c makes requests of bytes; answer.c sends answers; conn_flow.c moves bodies and
 * answers that come in pieces; ws.c has what became a WebSocket. All on the worker's thread.
 *
 * One exchange at a time: while it is with the handler or its answer is being sent, what the client
 * sends stays in `in` (one read at most) and in the kernel.
 *
 * States (changed by conn_set_state only):
 *
 *   HEAD ---> BODY ---> HANDLING ---------------> ANSWERING ---> HEAD ...
 *     |                  |    |                    ^    |
 *     |                  |    +--> STREAM ---------+    +--> LINGER (answered, the rest is read
 *     |                  +--> WS    ^                   |           and dropped)
 *     +--> HANDLING, STREAM --------+, ANSWERING        |
 *   every state --> CLOSED <----------------------------+
 */
#ifndef EIDER_HTTP_CONN_H
#define EIDER_HTTP_CONN_H

#include "http/worker.h"

enum conn_state {
    CONN_HEAD,      /* waits for a head; `in` may hold a part of it */
    CONN_BODY,      /* exchange is set, its body is incomplete */
    CONN_HANDLING,  /* held is with the handler, or whoever it gave it to; exchange is NULL */
    CONN_STREAM,    /* the same, and its body is read and its answer sent piece by piece */
    CONN_ANSWERING, /* exchange is set and partly sent */
    CONN_LINGER,    /* all is sent and our side shut; input is dropped */
    CONN_WS,        /* ws is set; see ws.c */
    CONN_CLOSED,    /* unlinked, freed at the end of the turn */
};

struct ws_client;

struct conn {
    struct net_watch watch;
    struct net_stream stream;
    struct net_timer timer;
    struct net_retired retired;
    struct http_worker *worker;
    uint64_t id;
    enum conn_state state;
    bool paused;       /* EPOLLIN is off until the answer is out */
    bool head_begun;   /* the header timeout runs for a head in `in` */
    bool close_behind; /* close when the answer is out */
    bool refused;      /* over the limit; not counted as a connection */
    struct buf in;     /* bytes that came early */
    struct http_scan scan;
    struct http_exchange *exchange;
    uint64_t body_left;
    int64_t body_started_us;
    size_t sent;                /* of wire and tail; bytes dropped while lingering */
    struct http_exchange *held; /* in HANDLING and STREAM; valid until its post has run */
    bool watch_gone;            /* held wants to know when the client ends its side */
    bool body_complete;         /* all of the body of a stream was read */
    bool body_end_told;
    bool continue_owed;          /* the client waits for 100 Continue */
    bool flow_wants_write;       /* there is more to send than was sent in this turn */
    int64_t body_deadline_us;    /* of a stream; 0: the body is not being read */
    int64_t body_paused_us;      /* since when */
    int64_t flow_write_limit_us; /* the client must have taken something by then; 0: none waits */
    size_t charged;              /* of the server's budget, for input that waits */
    struct ws_client *ws;
    char peer[NET_PEER_MAX];
};

/* Takes over an accepted socket. `refused` ones get 503. */
void conn_new(struct http_worker *worker, int fd, const char *peer, bool refused);

/* The end of an exchange: counts it, writes the access line, gives it back. */
void conn_finish_exchange(struct http_worker *worker, struct http_exchange *exchange, int status,
                          uint64_t bytes_out);

/* Closes at once; the memory lives until the end of the turn. Nothing happens when it is closed. */
void conn_close(struct conn *conn);

/* Changes state; asserts that the successor is legal. */
void conn_set_state(struct conn *conn, enum conn_state state);

/* Ends our side and reads on for a while, so that the answer is not lost to a reset. */
void conn_linger(struct conn *conn);

/* Goes on with what waits behind an answer that is out. */
void conn_resume(struct conn *conn);

/* Charges the memory of waiting input to the budget of all bodies; false when it is used up. */
bool conn_charge(struct conn *conn, size_t bytes);

/* (Re)computes what epoll waits for. */
void conn_update_events(struct conn *conn);

/* Reads what is there and works it off. */
void conn_read(struct conn *conn);

/* An answer has come back for this worker; runs as a post. */
void conn_on_reply(struct net_post *post);

/* Closes what is idle, and lets the rest end; for http_server_stop. */
void conn_drain(struct conn *conn);

void conn_set_timer(struct conn *conn, int timeout_ms);

/* ---- request.c ---- */

/* Works off new bytes, behind those that came early; what is left stays in conn->in. */
void conn_take_input(struct conn *conn, char *bytes, size_t len);

/* Bytes of the body have come: the next ones, the handler, or an answer to a body that drips. */
void conn_body_progress(struct conn *conn, bool complete);

/* Sends 100 Continue. Nothing else is under way on the connection, so a socket that does not take
 * these few bytes belongs to a client that does not read. */
void conn_send_continue(struct conn *conn);

/* ---- conn_flow.c: streams ---- */

/* Before the handler is called for a request whose body comes in pieces. */
void conn_flow_start(struct conn *conn, const struct http_exchange *exchange);

/* Whether the body of a stream is to be read now. */
bool conn_flow_reading(const struct conn *conn);

/* Takes bytes of the body, at most to the end of a piece; 0 when it is not read now. */
size_t conn_flow_take(struct conn *conn, struct slice bytes);

/* Tells the end of the body when it is due, sets timers for what is waited for. */
void conn_flow_update(struct conn *conn);

/* Sends what there is, in STREAM; or to the end, in ANSWERING. */
void conn_flow_flush(struct conn *conn);

void conn_flow_on_timer(struct conn *conn);

/* The client has ended its side. */
void conn_flow_on_hangup(struct conn *conn);

/* The connection closes: tells the holder of conn->held. */
void conn_flow_gone(struct conn *conn);

/* The holder has said something; called for exchanges with a flow in use. */
void conn_flow_on_post(struct http_exchange *exchange);

/* ---- answer.c ---- */

/* The answer is out: the next request, or the end. */
void conn_answer_done(struct conn *conn);

/* Bytes that went out for conn->exchange. */
uint64_t conn_answer_bytes(const struct conn *conn);

/* Counts an answer of this status. */
void conn_count_answer(struct http_worker *worker, int status);

/* An exchange for the request that begins now. */
struct http_exchange *conn_begin_exchange(struct conn *conn);

/* Sends what the exchange says. */
void conn_answer(struct conn *conn, struct http_exchange *exchange);

/* Goes on sending. */
void conn_flush_answer(struct conn *conn);

/* Answers a request that cannot go on (exchange NULL: one that has no exchange yet) with the JSON
 * error shape, and closes behind the answer. */
void conn_fail(struct conn *conn, struct http_exchange *exchange, int status, struct slice detail);
void conn_fail_parse(struct conn *conn, struct http_exchange *exchange,
                     const struct http_fault *fault);
void conn_fail_too_large(struct conn *conn, struct http_exchange *exchange);
void conn_fail_budget(struct conn *conn, struct http_exchange *exchange);

/* ---- WebSocket side of a connection (ws.c) ---- */

/* Bytes for the decoder. */
void ws_input(struct conn *conn, char *bytes, size_t len);
/* The socket can take more. */
void ws_flush(struct conn *conn);
void ws_on_timer(struct conn *conn);
/* The client leaves all lists; nothing happens when there is none or it has left. */
void ws_unlink(struct conn *conn);
/* Calls on_close and frees conn->ws; at the end of a turn only. */
void ws_free(struct conn *conn);
/* Makes conn a WebSocket with what http_upgrade noted in the worker, and calls on_open. */
void ws_start(struct conn *conn, struct http_exchange *exchange);
bool ws_wants_write(const struct conn *conn);
/* Broadcasts; true while there is more to do. Called once a turn. */
bool ws_turn(struct http_worker *worker);
void ws_rounds_free(struct http_worker *worker);

#endif
