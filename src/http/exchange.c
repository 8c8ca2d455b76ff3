/* The exchange: what a handler reads of a request and says in answer. */
#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "http/conn.h"

enum {
    ARENA_KEPT_BYTES = 16 * 1024, /* more is given back when an exchange is reset */
    BODY_KEPT_BYTES = 4096,
    OUT_KEPT_BYTES = 16 * 1024,
    BODY_FIRST_BYTES = 64 * 1024, /* allocated on the word of a Content-Length alone */
    LINES_MAX_BYTES = 64 * 1024,
    REQUEST_ID_MAX = 64,
};

static void
init_flow(struct http_flow *flow)
{
    pthread_mutexattr_t attr;

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&flow->lock, &attr);
    pthread_mutexattr_destroy(&attr);
    buf_init(&flow->queue, 0);
    buf_init(&flow->sending, 0);
}

struct http_exchange *
exchange_new(struct http_worker *worker)
{
    struct http_exchange *exchange = mem_zalloc(1, sizeof(*exchange));

    exchange->worker = worker;
    exchange->post.fn = conn_on_reply;
    exchange->request_id_place = exchange->request_id;
    arena_init(&exchange->arena, HTTP_ARENA_MAX_BYTES);
    buf_init(&exchange->out, HTTP_OUT_MAX_BYTES);
    buf_init(&exchange->lines, LINES_MAX_BYTES);
    buf_init(&exchange->wire, 0);
    init_flow(&exchange->flow);
    exchange_reset(exchange);
    return exchange;
}

static void
reset_buf(struct buf *buf)
{
    size_t max_bytes = buf->max_bytes;

    if (buf->cap > OUT_KEPT_BYTES) {
        buf_fini(buf);
        buf_init(buf, max_bytes);
    }
    buf_reset(buf);
}

void
exchange_flow_drop(struct http_exchange *exchange)
{
    struct http_flow *flow = &exchange->flow;

    atomic_fetch_sub(&exchange->worker->server->bodies_bytes, flow->charged + flow->queue.len);
    flow->charged = 0;
    reset_buf(&flow->queue);
    reset_buf(&flow->sending);
}

/* Only what was in use is touched: most exchanges never stream. */
static void
reset_flow(struct http_exchange *exchange)
{
    struct http_flow *flow = &exchange->flow;

    exchange->stream_body = false;
    if (!flow->used && !flow->gone) {
        return;
    }
    /* Whoever gave the exchange away may still be about to leave the lock. */
    pthread_mutex_lock(&flow->lock);
    exchange_flow_drop(exchange);
    flow->used = false;
    flow->posted = false;
    flow->gone = false;
    flow->end = HTTP_FLOW_OPEN;
    flow->callbacks = (struct http_stream_callbacks){NULL, NULL, NULL, NULL};
    flow->ctx = NULL;
    flow->body_wanted = false;
    flow->begun = false;
    flow->bodyless = false;
    flow->waiting = false;
    flow->overrun = false;
    flow->length = -1;
    flow->taken = 0;
    flow->rendered = false;
    flow->chunked = false;
    flow->terminated = false;
    flow->sent = 0;
    flow->body_seen = 0;
    flow->fault_status = 0;
    pthread_mutex_unlock(&flow->lock);
}

void
exchange_reset(struct http_exchange *exchange)
{
    if (exchange->arena.used_bytes > ARENA_KEPT_BYTES) {
        arena_fini(&exchange->arena);
        arena_init(&exchange->arena, HTTP_ARENA_MAX_BYTES);
    }
    arena_reset(&exchange->arena);
    exchange_body_drop(exchange);
    reset_flow(exchange);
    reset_buf(&exchange->out);
    reset_buf(&exchange->lines);
    reset_buf(&exchange->wire);
    exchange->head.method = HTTP_GET;
    exchange->head.minor = 1;
    exchange->head.field_count = 0;
    exchange->head.target = (struct slice){"", 0};
    exchange->head.user_agent = (struct slice){"", 0};
    exchange->head.request_id = (struct slice){"", 0};
    exchange->has_head = false;
    exchange->path = (struct slice){"", 0};
    exchange->params = NULL;
    exchange->param_count = 0;
    exchange->body_max = 0;
    exchange->chunked = (struct http_chunked){.state = HTTP_CHUNKED_SIZE};
    exchange->tls = false;
    exchange->peer[0] = '\0';
    exchange->request_id[0] = '\0';
    exchange->prefix_len = 0;
    exchange->user = NULL;
    exchange->route = NULL;
    exchange->status = 200;
    exchange->close = false;
    exchange->replied = false;
    exchange->is_static = false;
    exchange->has_retry_after = false;
    exchange->static_body = (struct slice){"", 0};
    exchange->content_type = (struct slice){"", 0};
    exchange->tail = (struct slice){"", 0};
    exchange->started_us = 0;
    exchange->bytes_in = 0;
}

void
exchange_free(struct http_exchange *exchange)
{
    exchange_body_drop(exchange);
    reset_flow(exchange);
    buf_fini(&exchange->flow.queue);
    buf_fini(&exchange->flow.sending);
    pthread_mutex_destroy(&exchange->flow.lock);
    free(exchange->body);
    arena_fini(&exchange->arena);
    buf_fini(&exchange->out);
    buf_fini(&exchange->lines);
    buf_fini(&exchange->wire);
    free(exchange);
}

/* Only an id that is safe in logs and headers is taken over from the client. */
static bool
request_id_is_valid(struct slice id)
{
    for (size_t i = 0; i < id.len; i++) {
        char c = id.ptr[i];
        bool alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!alnum && c != '.' && c != '_' && c != '-') {
            return false;
        }
    }
    return id.len > 0 && id.len <= REQUEST_ID_MAX;
}

bool
exchange_set_head(struct http_exchange *exchange, struct slice bytes, struct http_fault *fault)
{
    struct http_head *head = &exchange->head;
    struct slice copy = arena_dup(&exchange->arena, bytes);

    if (!http_head_parse(copy, head, fault)) {
        /* A head that was refused halfway through must not be looked at. */
        head->field_count = 0;
        head->request_id = (struct slice){"", 0};
        return false;
    }
    exchange->has_head = true;
    if (!request_id_is_valid(head->request_id)) {
        head->request_id = (struct slice){"", 0};
    }
    if (!http_path_decode(&exchange->arena, head->path, &exchange->path)) {
        *fault = (struct http_fault){400, "the path has a wrong percent-encoding"};
        return false;
    }
    if (!http_query_decode(&exchange->arena, head->query, &exchange->params,
                           &exchange->param_count)) {
        *fault = (struct http_fault){431, "the query has too many parameters"};
        return false;
    }
    return true;
}

/* ---- body ---- */

/* Grows the body's memory to `cap`, within the budget of all bodies. */
static bool
grow_body(struct http_exchange *exchange, size_t cap)
{
    struct http_server *server = exchange->worker->server;
    size_t more = cap - exchange->body_charged;
    uint64_t before = atomic_fetch_add(&server->bodies_bytes, more);

    if (before + more > server->options.bodies_bytes_max) {
        atomic_fetch_sub(&server->bodies_bytes, more);
        return false;
    }
    exchange->body_charged = cap;
    exchange->body = mem_resize(exchange->body, cap, 1);
    exchange->body_cap = cap;
    return true;
}

char *
exchange_body_room(struct http_exchange *exchange, uint64_t want, size_t *ret_room)
{
    if (exchange->body_len == exchange->body_cap) {
        /* What a client announces is only believed up to a point; from there on memory follows what
         * it has really sent. */
        size_t cap =
            exchange->body_cap < BODY_FIRST_BYTES ? BODY_FIRST_BYTES : exchange->body_cap * 4;
        if (cap - exchange->body_len > want) {
            cap = exchange->body_len + (size_t)want;
        }
        if (!grow_body(exchange, cap)) {
            return NULL;
        }
    }
    *ret_room = exchange->body_cap - exchange->body_len;
    return exchange->body + exchange->body_len;
}

bool
exchange_body_add(struct http_exchange *exchange, struct slice bytes)
{
    size_t need = exchange->body_len + bytes.len;

    if (bytes.len == 0) {
        return true;
    }
    if (need > exchange->body_cap) {
        size_t cap = exchange->body_cap * 2;
        if (cap < need) {
            cap = need < BODY_KEPT_BYTES ? BODY_KEPT_BYTES : need;
        }
        if (!grow_body(exchange, cap)) {
            return false;
        }
    }
    memcpy(exchange->body + exchange->body_len, bytes.ptr, bytes.len);
    exchange->body_len = need;
    return true;
}

void
exchange_body_drop(struct http_exchange *exchange)
{
    if (exchange->body_charged > 0) {
        atomic_fetch_sub(&exchange->worker->server->bodies_bytes, exchange->body_charged);
        exchange->body_charged = 0;
    }
    if (exchange->body_cap > BODY_KEPT_BYTES) {
        free(exchange->body);
        exchange->body = NULL;
        exchange->body_cap = 0;
    }
    exchange->body_len = 0;
}

/* ---- what the handler reads ---- */

enum http_method
http_method(const struct http_exchange *exchange)
{
    return exchange->head.method;
}

struct slice
http_path(const struct http_exchange *exchange)
{
    struct slice path = slice_sub(exchange->path, exchange->prefix_len, exchange->path.len);

    return path.len > 0 || exchange->prefix_len == 0 ? path : SLICE_LITERAL("/");
}

void
http_set_prefix(struct http_exchange *exchange, size_t len)
{
    assert(len <= exchange->head.path.len && len <= exchange->path.len);
    assert(!memchr(exchange->head.path.ptr, '%', len));
    exchange->prefix_len = len;
}

struct slice
http_prefix(const struct http_exchange *exchange)
{
    return slice_sub(exchange->path, 0, exchange->prefix_len);
}

struct slice
http_raw_path(const struct http_exchange *exchange)
{
    return exchange->head.path;
}

struct slice
http_local_target(const struct http_exchange *exchange)
{
    const struct http_head *head = &exchange->head;
    const char *begin = head->path.ptr + exchange->prefix_len;
    const char *end = head->target.ptr + head->target.len;

    /* Of "http://host" the path is "/", which is no part of the target. */
    if (head->path.ptr < head->target.ptr || head->path.ptr > end) {
        return http_path(exchange);
    }
    return slice_make(begin, (size_t)(end - begin));
}

struct slice
http_target(const struct http_exchange *exchange)
{
    return exchange->head.target;
}

struct slice
http_body(const struct http_exchange *exchange)
{
    return slice_make(exchange->body_len ? exchange->body : "", exchange->body_len);
}

bool
http_header(const struct http_exchange *exchange, const char *name, struct slice *ret_value)
{
    return http_head_find(&exchange->head, name, ret_value);
}

bool
http_query(const struct http_exchange *exchange, const char *name, struct slice *ret_value)
{
    for (size_t i = 0; i < exchange->param_count; i++) {
        if (slice_is(exchange->params[i].name, name)) {
            *ret_value = exchange->params[i].value;
            return true;
        }
    }
    return false;
}

bool
http_query_at(const struct http_exchange *exchange, size_t index, struct slice *ret_name,
              struct slice *ret_value)
{
    if (index >= exchange->param_count) {
        return false;
    }
    *ret_name = exchange->params[index].name;
    *ret_value = exchange->params[index].value;
    return true;
}

struct slice
http_peer(const struct http_exchange *exchange)
{
    return slice_of(exchange->peer);
}

bool
http_is_tls(const struct http_exchange *exchange)
{
    return exchange->tls;
}

struct slice
http_request_id(const struct http_exchange *exchange)
{
    if (exchange->head.request_id.len > 0) {
        return exchange->head.request_id;
    }
    if (exchange->request_id_place[0] == '\0') {
        id_uuid7(clock_wall_us(exchange->worker->server->clock), exchange->request_id_place);
    }
    return slice_make(exchange->request_id_place, ID_UUID_LEN);
}

struct arena *
http_arena(struct http_exchange *exchange)
{
    return &exchange->arena;
}

void
http_set_user(struct http_exchange *exchange, void *user)
{
    exchange->user = user;
}

void *
http_user(const struct http_exchange *exchange)
{
    return exchange->user;
}

void
http_set_route(struct http_exchange *exchange, const char *static_name)
{
    exchange->route = static_name;
}

bool
http_header_at(const struct http_exchange *exchange, size_t index, struct slice *ret_name,
               struct slice *ret_value)
{
    if (index >= exchange->head.field_count) {
        return false;
    }
    *ret_name = exchange->head.fields[index].name;
    *ret_value = exchange->head.fields[index].value;
    return true;
}

bool
http_body_length(const struct http_exchange *exchange, uint64_t *ret_length)
{
    if (exchange->head.chunked) {
        return false;
    }
    *ret_length = exchange->head.content_length;
    return true;
}

/* ---- what the handler says ---- */

void
http_set_status(struct http_exchange *exchange, int status)
{
    assert(status >= 200 && status <= 599);
    exchange->status = status;
}

/* A value with a line end in it would let its author write headers of the answer. */
static void
assert_value(struct slice value)
{
    for (size_t i = 0; i < value.len; i++) {
        assert(value.ptr[i] != '\r' && value.ptr[i] != '\n' && value.ptr[i] != '\0');
    }
}

/* Two lengths or codings in one answer would be understood differently by different readers. */
static bool
is_own_header(struct slice name)
{
    return slice_is_nocase(name, "Content-Length") || slice_is_nocase(name, "Transfer-Encoding") ||
           slice_is_nocase(name, "Connection") || slice_is_nocase(name, "Date") ||
           slice_is_nocase(name, "Server");
}

void
http_add_header(struct http_exchange *exchange, const char *name, struct slice value)
{
    struct slice name_slice = slice_of(name);

    for (size_t i = 0; i < name_slice.len; i++) {
        assert(http_is_token_char(name[i]));
    }
    assert_value(value);
    assert(!is_own_header(name_slice));
    if (slice_is_nocase(name_slice, "Content-Type")) {
        exchange->content_type = arena_dup(&exchange->arena, value);
        return;
    }
    if (slice_is_nocase(name_slice, "Retry-After")) {
        exchange->has_retry_after = true;
    }
    buf_add_slice(&exchange->lines, name_slice);
    buf_add(&exchange->lines, ": ", 2);
    buf_add_slice(&exchange->lines, value);
    buf_add(&exchange->lines, "\r\n", 2);
}

void
http_set_content_type(struct http_exchange *exchange, const char *content_type)
{
    assert_value(slice_of(content_type));
    exchange->content_type = arena_dup(&exchange->arena, slice_of(content_type));
}

struct buf *
http_out(struct http_exchange *exchange)
{
    return &exchange->out;
}

void
http_set_static_body(struct http_exchange *exchange, struct slice body)
{
    exchange->is_static = true;
    exchange->static_body = body;
}

void
http_set_close(struct http_exchange *exchange)
{
    exchange->close = true;
}

void
http_reply(struct http_exchange *exchange)
{
    struct http_worker *worker = exchange->worker;
    struct http_server *server = worker->server;

    assert(!exchange->replied);
    exchange->replied = true;
    if (exchange->flow.used) {
        assert(!exchange->flow.begun);
        exchange_flow_give(exchange, HTTP_FLOW_REPLY);
        return;
    }
    if (net_loop_is_current(worker->loop) && worker->dispatching == exchange) {
        worker->replied = true;
        return;
    }
    if (!net_loop_post(worker->loop, &exchange->post)) {
        exchange_free(exchange);
        server_late_answer(server);
    }
}
