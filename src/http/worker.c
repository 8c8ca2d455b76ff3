/* A worker: one event loop, its thread, its table of connections, its spare exchanges. */
#include "http/conn.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "base/mem.h"

enum { SLOTS_FIRST = 64, DATE_CHECK_US = 100000, US_PER_S = 1000000 };

/* An id is generation (32 bits), worker (8), slot (24). */
enum { SLOT_BITS = 24, WORKER_BITS = 8 };

unsigned
worker_index_of(uint64_t id)
{
    return (unsigned)(id >> SLOT_BITS) & ((1U << WORKER_BITS) - 1);
}

static void
grow_slots(struct http_worker *worker)
{
    uint32_t old = worker->slot_count;
    uint32_t count = old ? old * 2 : SLOTS_FIRST;

    assert(count < 1U << SLOT_BITS);
    worker->slots = mem_resize(worker->slots, count, sizeof(*worker->slots));
    for (uint32_t i = old; i < count; i++) {
        worker->slots[i] = (struct conn_slot){.generation = 1, .next_free = i + 1};
    }
    worker->slot_free = old;
    worker->slot_count = count;
}

void
worker_add(struct http_worker *worker, struct conn *conn)
{
    if (worker->slot_free == worker->slot_count) {
        grow_slots(worker);
    }
    uint32_t index = worker->slot_free;
    struct conn_slot *slot = &worker->slots[index];
    worker->slot_free = slot->next_free;
    slot->conn = conn;
    conn->id = (uint64_t)slot->generation << 32 | (uint64_t)worker->index << SLOT_BITS | index;
    worker->conn_count++;
    if (conn->refused) {
        worker->refused_count++;
        counter_add(&worker->counters.connections_refused, 1);
        return;
    }
    counter_add(&worker->counters.connections, 1);
    counter_add(&worker->counters.connections_total, 1);
}

void
worker_remove(struct http_worker *worker, struct conn *conn)
{
    uint32_t index = (uint32_t)conn->id & ((1U << SLOT_BITS) - 1);
    struct conn_slot *slot = &worker->slots[index];

    assert(slot->conn == conn);
    slot->conn = NULL;
    slot->generation++;
    slot->next_free = worker->slot_free;
    worker->slot_free = index;
    worker->conn_count--;
    if (conn->refused) {
        worker->refused_count--;
        return;
    }
    counter_add(&worker->counters.connections, UINT64_MAX);
    atomic_fetch_sub(&worker->server->connections, 1);
}

struct conn *
worker_find(const struct http_worker *worker, uint64_t id)
{
    uint32_t index = (uint32_t)id & ((1U << SLOT_BITS) - 1);

    if (index >= worker->slot_count || worker->slots[index].generation != id >> 32) {
        return NULL;
    }
    return worker->slots[index].conn;
}

struct http_exchange *
worker_take_exchange(struct http_worker *worker)
{
    struct http_exchange *exchange = worker->free_exchanges;

    if (!exchange) {
        return exchange_new(worker);
    }
    worker->free_exchanges = exchange->next_free;
    worker->free_count--;
    return exchange;
}

void
worker_give_exchange(struct http_worker *worker, struct http_exchange *exchange)
{
    if (worker->free_count == HTTP_FREE_EXCHANGES) {
        exchange_free(exchange);
        return;
    }
    exchange_reset(exchange);
    exchange->next_free = worker->free_exchanges;
    worker->free_exchanges = exchange;
    worker->free_count++;
}

const char *
worker_date(struct http_worker *worker)
{
    int64_t now_us = net_loop_now_us(worker->loop);

    if (worker->date[0] == '\0' || now_us - worker->date_checked_us >= DATE_CHECK_US) {
        int64_t now_s = clock_wall_us(worker->server->clock) / US_PER_S;
        worker->date_checked_us = now_us;
        if (worker->date[0] == '\0' || now_s != worker->date_s) {
            worker->date_s = now_s;
            http_format_date(now_s, worker->date);
        }
    }
    return worker->date;
}

void
worker_read_again(struct http_worker *worker, const struct conn *conn)
{
    buf_add(&worker->again, &conn->id, sizeof(conn->id));
}

/* Connections with bytes that OpenSSL holds back already. */
static void
read_pending(struct http_worker *worker)
{
    struct buf again = worker->again;

    buf_init(&worker->again, 0);
    for (size_t at = 0; at < again.len; at += sizeof(uint64_t)) {
        uint64_t id;
        memcpy(&id, again.ptr + at, sizeof(id));
        struct conn *conn = worker_find(worker, id);
        if (conn && !conn->paused) {
            conn_read(conn);
        }
    }
    buf_fini(&again);
}

static void
tell_when_idle(struct http_worker *worker)
{
    if (worker->conn_count == 0 && worker->out == 0 && !worker->idle_told) {
        worker->idle_told = true;
        server_worker_idle(worker->server);
    }
}

static bool
on_turn(void *ctx)
{
    struct http_worker *worker = ctx;

    if (worker->again.len > 0) {
        read_pending(worker);
    }
    bool more = ws_turn(worker);
    if (worker->draining) {
        tell_when_idle(worker);
    }
    return more || worker->again.len > 0;
}

static void
on_drain(struct net_post *post)
{
    struct http_worker *worker = NET_OWNER(post, struct http_worker, drain_post);

    worker->draining = true;
    for (uint32_t i = 0; i < worker->slot_count; i++) {
        if (worker->slots[i].conn) {
            conn_drain(worker->slots[i].conn);
        }
    }
}

static void
on_kill(struct net_post *post)
{
    struct http_worker *worker = NET_OWNER(post, struct http_worker, kill_post);

    worker->draining = true;
    worker->killed = true;
    for (uint32_t i = 0; i < worker->slot_count; i++) {
        if (worker->slots[i].conn) {
            conn_close(worker->slots[i].conn);
        }
    }
    net_loop_quit(worker->loop);
}

void
worker_post_drain(struct http_worker *worker)
{
    worker->drain_post.fn = on_drain;
    net_loop_post(worker->loop, &worker->drain_post);
}

void
worker_post_kill(struct http_worker *worker)
{
    worker->kill_post.fn = on_kill;
    net_loop_post(worker->loop, &worker->kill_post);
}

enum err_code
worker_init(struct http_worker *worker, struct http_server *server, unsigned index, struct err *err)
{
    worker->server = server;
    worker->index = index;
    buf_init(&worker->again, 0);
    enum err_code code = net_loop_new(server->clock, &worker->loop, err);
    if (code != ERR_OK) {
        return code;
    }
    worker->read_buffer = mem_alloc(HTTP_READ_BYTES);
    net_loop_set_turn(worker->loop, on_turn, worker);
    return ERR_OK;
}

static void *
run(void *arg)
{
    struct http_worker *worker = arg;

    net_loop_run(worker->loop);
    net_loop_close(worker->loop);
    return NULL;
}

enum err_code
worker_start(struct http_worker *worker, struct err *err)
{
    sigset_t all;
    sigset_t old;

    /* Signals are for the main thread; a write to a closed socket must not raise SIGPIPE. */
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGABRT);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&worker->thread, NULL, run, worker);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0) {
        return err_sys(err, rc, "cannot start an event loop thread");
    }
    worker->thread_runs = true;
    return ERR_OK;
}

void
worker_clear(struct http_worker *worker)
{
    ws_rounds_free(worker);
    while (worker->free_exchanges) {
        struct http_exchange *next = worker->free_exchanges->next_free;
        exchange_free(worker->free_exchanges);
        worker->free_exchanges = next;
    }
    worker->free_count = 0;
    buf_fini(&worker->again);
    free(worker->read_buffer);
    worker->read_buffer = NULL;
    free(worker->slots);
    worker->slots = NULL;
    worker->slot_count = 0;
}

void
worker_fini(struct http_worker *worker)
{
    worker_clear(worker);
    net_loop_free(worker->loop);
    worker->loop = NULL;
}
