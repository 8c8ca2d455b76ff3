/* WebSocket connections. */
#include "http/worker.h"

bool
http_upgrade(struct http_exchange *exchange, const struct ws_callbacks *callbacks, void *ctx)
{
    (void)callbacks;
    (void)ctx;
    http_set_status(exchange, 426);
    return false;
}

void
ws_input(struct conn *conn, char *bytes, size_t len)
{
    (void)conn;
    (void)bytes;
    (void)len;
}

void
ws_flush(struct conn *conn)
{
    (void)conn;
}

void
ws_on_timer(struct conn *conn)
{
    (void)conn;
}

void
ws_unlink(struct conn *conn)
{
    (void)conn;
}

void
ws_free(struct conn *conn)
{
    (void)conn;
}

void
ws_start(struct conn *conn, struct http_exchange *exchange)
{
    (void)conn;
    (void)exchange;
}

bool
ws_wants_write(const struct conn *conn)
{
    (void)conn;
    return false;
}

bool
ws_turn(struct http_worker *worker)
{
    (void)worker;
    return false;
}

void
ws_rounds_free(struct http_worker *worker)
{
    (void)worker;
}

struct ws_frame *
ws_frame_text(struct slice text)
{
    (void)text;
    return NULL;
}

void
ws_frame_unref(struct ws_frame *frame)
{
    (void)frame;
}

bool
ws_send_text(struct ws_client *client, struct slice text)
{
    (void)client;
    (void)text;
    return false;
}

void
ws_join(struct ws_client *client, uint32_t group_mask)
{
    (void)client;
    (void)group_mask;
}

void
http_broadcast(struct http_server *server, unsigned group, struct ws_frame *frame)
{
    (void)server;
    (void)group;
    (void)frame;
}
