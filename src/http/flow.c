/* Streams, the holder's side: what handlers and other threads call. conn_flow.c has the loop's. */
#include <assert.h>

#include "http/conn.h"

/* Has the loop look at the exchange. Under the lock, so that `posted` never says what is not so;
 * false when the loop is over. */
static bool
wake(struct http_exchange *exchange)
{
    struct http_flow *flow = &exchange->flow;

    if (!flow->posted) {
        flow->posted = net_loop_post(exchange->worker->loop, &exchange->post);
    }
    return flow->posted;
}

/* Marks the flow as used, once: the loop reads the mark without the lock, behind the first post. */
static void
use(struct http_flow *flow)
{
    if (!flow->used) {
        flow->used = true;
    }
}

void
exchange_flow_give(struct http_exchange *exchange, enum http_flow_end end)
{
    struct http_flow *flow = &exchange->flow;
    struct http_server *server = exchange->worker->server;

    pthread_mutex_lock(&flow->lock);
    assert(flow->end == HTTP_FLOW_OPEN);
    flow->end = end;
    flow->callbacks = (struct http_stream_callbacks){NULL, NULL, NULL, NULL};
    bool posted = wake(exchange);
    pthread_mutex_unlock(&flow->lock);
    if (!posted) {
        exchange_free(exchange);
        server_late_answer(server);
    }
}

void
http_stream_body(struct http_exchange *exchange)
{
    exchange->stream_body = true;
}

bool
http_stream(struct http_exchange *exchange, const struct http_stream_callbacks *callbacks,
            void *ctx)
{
    struct http_flow *flow = &exchange->flow;

    pthread_mutex_lock(&flow->lock);
    assert(!flow->ctx && !flow->callbacks.on_gone && flow->end == HTTP_FLOW_OPEN);
    use(flow);
    bool there = !flow->gone && wake(exchange);
    if (there) {
        flow->callbacks = *callbacks;
        flow->ctx = ctx;
    }
    pthread_mutex_unlock(&flow->lock);
    return there;
}

bool
http_on_gone(struct http_exchange *exchange,
             void (*fn)(void *ctx, struct http_exchange *exchange, enum http_gone why), void *ctx)
{
    return http_stream(exchange, &(struct http_stream_callbacks){.on_gone = fn}, ctx);
}

void
http_body_resume(struct http_exchange *exchange)
{
    struct http_flow *flow = &exchange->flow;

    pthread_mutex_lock(&flow->lock);
    use(flow);
    flow->body_wanted = true;
    wake(exchange);
    pthread_mutex_unlock(&flow->lock);
}

void
http_body_pause(struct http_exchange *exchange)
{
    struct http_flow *flow = &exchange->flow;

    pthread_mutex_lock(&flow->lock);
    use(flow);
    flow->body_wanted = false;
    wake(exchange); /* so that its time does not go on running */
    pthread_mutex_unlock(&flow->lock);
}

void
http_reply_begin(struct http_exchange *exchange, int64_t length)
{
    struct http_flow *flow = &exchange->flow;
    int status = exchange->status;

    (void)http_request_id(exchange); /* so that answer and log show the same */
    pthread_mutex_lock(&flow->lock);
    assert(!flow->begun && flow->end == HTTP_FLOW_OPEN);
    use(flow);
    flow->begun = true;
    flow->length = length < 0 ? -1 : length;
    flow->bodyless = exchange->head.method == HTTP_HEAD || status == 204 || status == 304;
    wake(exchange);
    pthread_mutex_unlock(&flow->lock);
}

/* Whether the queue takes more now. Something must be on its way whenever it does not, since only
 * its departure calls on_drain. */
static bool
has_room(const struct http_exchange *exchange)
{
    const struct http_flow *flow = &exchange->flow;
    const struct http_server *server = exchange->worker->server;

    if (flow->queue.len >= HTTP_STREAM_HIGH_BYTES) {
        return false;
    }
    return flow->queue.len == 0 ||
           atomic_load(&server->bodies_bytes) < server->options.bodies_bytes_max;
}

enum http_write
http_reply_write(struct http_exchange *exchange, struct slice bytes)
{
    struct http_flow *flow = &exchange->flow;
    enum http_write result = HTTP_WRITE_TAKEN;

    pthread_mutex_lock(&flow->lock);
    assert(flow->begun && flow->end == HTTP_FLOW_OPEN);
    bool over = flow->length >= 0 && bytes.len > (uint64_t)flow->length - flow->taken;
    if (over && !flow->bodyless) {
        flow->overrun = true;
    }
    if (flow->gone || flow->overrun) {
        result = HTTP_WRITE_GONE;
    } else if (!flow->bodyless && bytes.len > 0 && !has_room(exchange)) {
        flow->waiting = true;
        result = HTTP_WRITE_WAIT;
    } else if (!flow->bodyless && bytes.len > 0) {
        buf_add_slice(&flow->queue, bytes);
        flow->taken += bytes.len;
        atomic_fetch_add(&exchange->worker->server->bodies_bytes, bytes.len);
        wake(exchange);
    }
    pthread_mutex_unlock(&flow->lock);
    return result;
}

void
http_reply_end(struct http_exchange *exchange)
{
    assert(exchange->flow.begun && !exchange->replied);
    exchange->replied = true;
    exchange_flow_give(exchange, HTTP_FLOW_END);
}

void
http_reply_abort(struct http_exchange *exchange)
{
    assert(!exchange->replied);
    exchange->replied = true;
    use(&exchange->flow);
    exchange_flow_give(exchange, HTTP_FLOW_ABORT);
}
