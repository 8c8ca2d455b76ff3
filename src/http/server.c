/*
 * The server: options, listener, workers, stopping.
 *
 * Worker 0 accepts and hands connections out in turn. One listening socket rather than one a loop
 * (SO_REUSEPORT): long-lived clients are spread evenly, and a second server on the same port is an
 * error instead of a silent competitor.
 *
 * Late answers: an exchange may be answered after http_server_stop has returned. `holders` starts
 * far above zero; a late answer takes one off; stop takes the surplus off and leaves the number of
 * exchanges that are still out. Whoever brings it to zero frees the server.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "http/conn.h"

enum {
    ACCEPTS_PER_TURN = 64,
    LISTEN_PAUSE_US = 100000,
    CONNECTIONS_MAX = 16384,
    HEAD_BYTES_MAX = 16 * 1024,
    BODIES_BYTES_MAX = 256 << 20,
    HEADER_TIMEOUT_MS = 10000,
    IDLE_TIMEOUT_MS = 60000,
    BODY_TIMEOUT_MS = 30000,
    NS_PER_MS = 1000000,
    NS_PER_S = 1000000000,
};

#define HOLDERS_SURPLUS ((int64_t)1 << 40)

/* An accepted socket on its way to a worker. */
struct handover {
    struct net_post post;
    struct http_worker *worker;
    int fd;
    bool refused;
    char peer[NET_PEER_MAX];
};

static void
on_handover(struct net_post *post)
{
    struct handover *handover = NET_OWNER(post, struct handover, post);

    conn_new(handover->worker, handover->fd, handover->peer, handover->refused);
    free(handover);
}

static void
hand_out(struct http_server *server, int fd, const char *peer)
{
    struct http_worker *worker = &server->workers[0];
    bool refused = atomic_load(&server->connections) >= server->options.connections_max;

    if (refused) {
        /* TLS would need a handshake to say so. */
        if (server->tls || worker->refused_count >= HTTP_REFUSED_MAX) {
            counter_add(&worker->counters.connections_refused, 1);
            close(fd);
            return;
        }
        conn_new(worker, fd, peer, true);
        return;
    }
    atomic_fetch_add(&server->connections, 1);
    worker = &server->workers[server->next_worker];
    server->next_worker = (server->next_worker + 1) % server->worker_count;
    if (worker->index == 0) {
        conn_new(worker, fd, peer, false);
        return;
    }
    struct handover *handover = mem_alloc(sizeof(*handover));
    *handover = (struct handover){.post.fn = on_handover, .worker = worker, .fd = fd};
    memcpy(handover->peer, peer, sizeof(handover->peer));
    if (!net_loop_post(worker->loop, &handover->post)) {
        close(fd);
        free(handover);
        atomic_fetch_sub(&server->connections, 1);
    }
}

static void
on_listen_timer(struct net_timer *timer)
{
    struct http_server *server = NET_OWNER(timer, struct http_server, listen_timer);

    net_loop_set_events(server->workers[0].loop, &server->listen_watch, EPOLLIN);
}

static void
on_listen(struct net_watch *watch, uint32_t events)
{
    struct http_server *server = NET_OWNER(watch, struct http_server, listen_watch);
    struct net_loop *loop = server->workers[0].loop;

    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int fd;
        char peer[NET_PEER_MAX];
        switch (net_accept(watch->fd, &fd, peer)) {
        case NET_ACCEPT_OK:
            hand_out(server, fd, peer);
            break;
        case NET_ACCEPT_NONE:
            return;
        case NET_ACCEPT_FULL:
            /* The backlog stays readable: without a pause the loop would spin. */
            net_loop_set_events(loop, watch, 0);
            net_loop_timer_set(loop, &server->listen_timer, LISTEN_PAUSE_US);
            return;
        }
    }
}

/* ---- start ---- */

static void
set_defaults(struct http_options *options)
{
    options->loops = options->loops ? options->loops : 1;
    options->loops = options->loops > HTTP_WORKERS_MAX ? HTTP_WORKERS_MAX : options->loops;
    options->connections_max =
        options->connections_max ? options->connections_max : CONNECTIONS_MAX;
    options->head_bytes_max = options->head_bytes_max ? options->head_bytes_max : HEAD_BYTES_MAX;
    options->bodies_bytes_max =
        options->bodies_bytes_max ? options->bodies_bytes_max : BODIES_BYTES_MAX;
    options->header_timeout_ms =
        options->header_timeout_ms ? options->header_timeout_ms : HEADER_TIMEOUT_MS;
    options->idle_timeout_ms =
        options->idle_timeout_ms ? options->idle_timeout_ms : IDLE_TIMEOUT_MS;
    options->body_timeout_ms =
        options->body_timeout_ms ? options->body_timeout_ms : BODY_TIMEOUT_MS;
    options->clock = options->clock ? options->clock : clock_system();
}

/* The list of origins, copied; NULL stays NULL. */
static char **
copy_origins(const char *const *origins)
{
    size_t count = 0;

    if (!origins) {
        return NULL;
    }
    while (origins[count]) {
        count++;
    }
    char **copy = mem_zalloc(count + 1, sizeof(*copy));
    for (size_t i = 0; i < count; i++) {
        copy[i] = mem_strdup(slice_of(origins[i]));
    }
    return copy;
}

static void
free_server(struct http_server *server)
{
    for (unsigned i = 0; i < server->worker_count; i++) {
        worker_fini(&server->workers[i]);
    }
    free(server->workers);
    if (server->listen_fd >= 0) {
        close(server->listen_fd);
    }
    for (size_t i = 0; server->origins && server->origins[i]; i++) {
        free(server->origins[i]);
    }
    free(server->origins);
    net_tls_free(server->tls);
    http_routes_free(server->routes);
    pthread_mutex_destroy(&server->lock);
    pthread_cond_destroy(&server->changed);
    free(server);
}

static struct http_server *
new_server(const struct http_options *options)
{
    struct http_server *server = mem_zalloc(1, sizeof(*server));
    pthread_condattr_t attr;

    server->options = *options;
    set_defaults(&server->options);
    server->clock = server->options.clock;
    server->origins = copy_origins(options->origins);
    server->routes = http_routes_new();
    server->listen_fd = -1;
    server->holders = HOLDERS_SURPLUS;
    pthread_mutex_init(&server->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&server->changed, &attr);
    pthread_condattr_destroy(&attr);
    return server;
}

static enum err_code
prepare(struct http_server *server, struct err *err)
{
    const struct http_options *options = &server->options;
    enum err_code code = ERR_OK;

    if (!options->cert_file != !options->key_file) {
        return err_set(err, ERR_USAGE, "TLS needs both a certificate file and a key file");
    }
    if (options->cert_file) {
        code = net_tls_new(options->cert_file, options->key_file, &server->tls, err);
    }
    if (code == ERR_OK) {
        code = net_listen(options->host, options->port, &server->listen_fd, err);
    }
    if (code != ERR_OK) {
        return code;
    }
    server->port = net_listener_port(server->listen_fd);
    server->workers = mem_zalloc(options->loops, sizeof(*server->workers));
    for (unsigned i = 0; i < options->loops && code == ERR_OK; i++) {
        server->worker_count = i + 1;
        code = worker_init(&server->workers[i], server, i, err);
    }
    if (code != ERR_OK) {
        return code;
    }
    server->listen_watch = (struct net_watch){.fn = on_listen, .fd = server->listen_fd};
    server->listen_timer.fn = on_listen_timer;
    return net_loop_watch(server->workers[0].loop, &server->listen_watch, EPOLLIN, err);
}

/* Ends the threads that run; for stopping and for a start that failed. */
static void
end_threads(struct http_server *server)
{
    for (unsigned i = 0; i < server->worker_count; i++) {
        if (server->workers[i].thread_runs) {
            worker_post_kill(&server->workers[i]);
        }
    }
    for (unsigned i = 0; i < server->worker_count; i++) {
        if (server->workers[i].thread_runs) {
            pthread_join(server->workers[i].thread, NULL);
            server->workers[i].thread_runs = false;
        }
    }
}

enum err_code
http_server_start(const struct http_options *options, struct http_server **ret_server,
                  struct err *err)
{
    assert(options->handler);
    struct http_server *server = new_server(options);
    enum err_code code = prepare(server, err);

    for (unsigned i = 0; i < server->worker_count && code == ERR_OK; i++) {
        code = worker_start(&server->workers[i], err);
    }
    if (code != ERR_OK) {
        end_threads(server);
        free_server(server);
        return code;
    }
    *ret_server = server;
    return ERR_OK;
}

/* ---- stop ---- */

void
server_worker_idle(struct http_server *server)
{
    pthread_mutex_lock(&server->lock);
    server->busy_workers--;
    pthread_cond_signal(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

static void
release(struct http_server *server, int64_t count)
{
    if (atomic_fetch_sub(&server->holders, count) == count) {
        free_server(server);
    }
}

void
server_late_answer(struct http_server *server)
{
    release(server, 1);
}

static void
on_listener_close(struct net_post *post)
{
    struct http_server *server = NET_OWNER(post, struct http_server, close_post);
    struct net_loop *loop = server->workers[0].loop;

    net_loop_timer_cancel(loop, &server->listen_timer);
    net_loop_unwatch(loop, &server->listen_watch);
    close(server->listen_fd);
    server->listen_fd = -1;
}

static void
wait_for_workers(struct http_server *server, int grace_ms)
{
    struct timespec deadline;

    clock_gettime(CLOCK_MONOTONIC, &deadline);
    int64_t ns = deadline.tv_nsec + (int64_t)(grace_ms > 0 ? grace_ms : 0) * NS_PER_MS;
    deadline.tv_sec += (time_t)(ns / NS_PER_S);
    deadline.tv_nsec = (long)(ns % NS_PER_S);
    pthread_mutex_lock(&server->lock);
    int rc = 0;
    while (server->busy_workers > 0 && rc == 0) {
        rc = pthread_cond_timedwait(&server->changed, &server->lock, &deadline);
    }
    pthread_mutex_unlock(&server->lock);
}

void
http_server_stop(struct http_server *server, int grace_ms)
{
    int64_t out = 0;

    server->busy_workers = server->worker_count;
    server->close_post.fn = on_listener_close;
    net_loop_post(server->workers[0].loop, &server->close_post);
    for (unsigned i = 0; i < server->worker_count; i++) {
        worker_post_drain(&server->workers[i]);
    }
    wait_for_workers(server, grace_ms);
    end_threads(server);
    for (unsigned i = 0; i < server->worker_count; i++) {
        out += (int64_t)server->workers[i].out;
        worker_clear(&server->workers[i]);
    }
    release(server, HOLDERS_SURPLUS - out);
}

/* ---- the rest ---- */

uint16_t
http_server_port(const struct http_server *server)
{
    return server->port;
}

enum err_code
http_server_reload_tls(struct http_server *server, struct err *err)
{
    if (!server->tls) {
        return err_set(err, ERR_UNSUPPORTED, "this server does not speak TLS");
    }
    return net_tls_reload(server->tls, err);
}

static void
add_counters(const struct http_counters *counters, struct http_stats *stats)
{
    stats->connections += counter_get(&counters->connections);
    stats->connections_total += counter_get(&counters->connections_total);
    stats->connections_refused += counter_get(&counters->connections_refused);
    /* Done before total, so that the difference is never negative. */
    uint64_t done = counter_get(&counters->requests_done);
    uint64_t total = counter_get(&counters->requests_total);
    stats->requests_total += total;
    stats->requests_active += total > done ? total - done : 0;
    for (size_t i = 0; i < 6; i++) {
        stats->responses_by_class[i] += counter_get(&counters->responses_by_class[i]);
    }
    stats->parse_errors += counter_get(&counters->parse_errors);
    stats->streams_total += counter_get(&counters->streams_total);
    stats->streams_cut += counter_get(&counters->streams_cut);
    stats->clients_gone += counter_get(&counters->clients_gone);
    stats->bytes_in += counter_get(&counters->bytes_in);
    stats->bytes_out += counter_get(&counters->bytes_out);
    stats->ws_clients += counter_get(&counters->ws_clients);
    stats->ws_clients_total += counter_get(&counters->ws_clients_total);
    stats->ws_frames_sent += counter_get(&counters->ws_frames_sent);
    stats->ws_frames_skipped += counter_get(&counters->ws_frames_skipped);
    stats->ws_dropped_slow += counter_get(&counters->ws_dropped_slow);
}

void
http_server_stats(const struct http_server *server, struct http_stats *ret_stats)
{
    *ret_stats = (struct http_stats){.bodies_bytes = counter_get(&server->bodies_bytes)};
    for (unsigned i = 0; i < server->worker_count; i++) {
        add_counters(&server->workers[i].counters, ret_stats);
    }
}

bool
http_server_route_stats(const struct http_server *server, size_t index,
                        struct http_route_stats *ret_stats)
{
    return http_routes_at(server->routes, index, ret_stats);
}
