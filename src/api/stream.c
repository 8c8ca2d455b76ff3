/*
 * The live stream /ws/metrics: ten times a second one serialisation and one frame for everybody.
 * A client's subscriptions are a mask of topics; clients of one mask form one broadcast group
 * (there are 64 masks of six topics and 64 groups), so that a narrowed stream too is serialised
 * once. Who has not subscribed to anything gets what the original sent, and trades.
 *
 *   connect -> "connected" frame -> snapshots 10 Hz, text "ping" every 15 s -> close
 *
 * Threads: callbacks run on the client's loop; the tick has a thread of its own. The list of
 * clients is under a mutex; per-client counters belong to the client's loop.
 */
#include "api/api_private.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/id.h"
#include "base/mem.h"

enum {
    US_PER_S = 1000000,
    US_PER_MS = 1000,
    NS_PER_US = 1000,
    MASK_COUNT = 1 << LIVE_TOPIC_COUNT,
    LISTED_CLIENTS_MAX = 100,
    CLOSE_POLICY = 1008
};

static_assert((int)MASK_COUNT <= (int)HTTP_GROUPS, "one broadcast group a mask");

struct subscriber {
    struct stream *stream;
    struct subscriber *next;
    struct subscriber *previous;
    char id[ID_UUID_LEN + 1];
    int64_t since_us;    /* monotonic */
    uint32_t subscribed; /* 0: nothing */
    _Atomic uint64_t received;
};

struct stream {
    struct api *api;
    pthread_mutex_t lock;
    struct subscriber *first;
    uint64_t count;
    uint64_t total;
    unsigned by_mask[MASK_COUNT];
    _Atomic uint64_t refused;

    pthread_t thread;
    pthread_cond_t wake;
    bool running;
    bool stopping;
};

/* The topics that a client gets, which is also its broadcast group. */
static uint32_t
topics_of(uint32_t subscribed)
{
    return subscribed ? subscribed : LIVE_TOPICS_DEFAULT;
}

struct stream *
stream_open(struct api *api)
{
    struct stream *stream = mem_zalloc(1, sizeof(*stream));
    pthread_condattr_t attributes;

    stream->api = api;
    pthread_mutex_init(&stream->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&stream->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    return stream;
}

void
stream_close(struct stream *stream)
{
    assert(!stream->running && !stream->first);
    pthread_cond_destroy(&stream->wake);
    pthread_mutex_destroy(&stream->lock);
    free(stream);
}

/* Serialises once for every mask somebody wants, and offers the frames. */
static void
send_tick(struct stream *stream, struct buf *json)
{
    struct http_server *server = atomic_load(&stream->api->server);
    unsigned wanted[MASK_COUNT];

    pthread_mutex_lock(&stream->lock);
    memcpy(wanted, stream->by_mask, sizeof(wanted));
    pthread_mutex_unlock(&stream->lock);
    for (unsigned mask = 0; mask < MASK_COUNT; mask++) {
        if (wanted[mask] == 0) {
            continue;
        }
        buf_reset(json);
        live_snapshot(stream->api->live, mask, true, json);
        struct ws_frame *frame = ws_frame_text(buf_slice(json));
        http_broadcast_channel(server, stream->api->options.ws_channel, mask, frame);
        ws_frame_unref(frame);
    }
}

static void
send_ping(void *ctx, struct ws_client *client)
{
    const struct subscriber *subscriber = ws_user(client);

    if (subscriber && subscriber->stream == ctx) { /* other databases have their own */
        ws_send_text(client, slice_of("ping"));
    }
}

/* Sleeps until `due_us` (monotonic) or until told to stop; false in the latter case. */
static bool
wait_until(struct stream *stream, int64_t due_us)
{
    struct timespec due = {.tv_sec = (time_t)(due_us / US_PER_S),
                           .tv_nsec = (long)(due_us % US_PER_S) * NS_PER_US};
    int result = 0;

    pthread_mutex_lock(&stream->lock);
    while (!stream->stopping && result != ETIMEDOUT) {
        result = pthread_cond_timedwait(&stream->wake, &stream->lock, &due);
    }
    bool go_on = !stream->stopping;
    pthread_mutex_unlock(&stream->lock);
    return go_on;
}

static void *
run_ticks(void *arg)
{
    struct stream *stream = arg;
    struct api *api = stream->api;
    int64_t interval_us = (int64_t)api->options.ws_interval_ms * US_PER_MS;
    int64_t heartbeat_us = (int64_t)api->options.ws_heartbeat_ms * US_PER_MS;
    int64_t next_us = clock_mono_us(clock_system()) + interval_us;
    int64_t ping_us = clock_mono_us(clock_system()) + heartbeat_us;
    struct buf json;

    buf_init(&json, 0);
    while (wait_until(stream, next_us)) {
        int64_t now_us = clock_mono_us(clock_system());

        send_tick(stream, &json);
        if (now_us >= ping_us) {
            http_each_client(atomic_load(&api->server), send_ping, stream);
            ping_us = now_us + heartbeat_us;
        }
        next_us += interval_us;
        if (next_us < now_us) {
            next_us = now_us + interval_us; /* the machine was away; do not catch up */
        }
    }
    buf_fini(&json);
    return NULL;
}

void
stream_start(struct stream *stream)
{
    assert(!stream->running && atomic_load(&stream->api->server));
    stream->stopping = false;
    stream->running = pthread_create(&stream->thread, NULL, run_ticks, stream) == 0;
    if (!stream->running) {
        abort(); /* A machine that cannot start one thread runs no server. */
    }
}

void
stream_stop(struct stream *stream)
{
    if (!stream->running) {
        return;
    }
    pthread_mutex_lock(&stream->lock);
    stream->stopping = true;
    pthread_cond_broadcast(&stream->wake);
    pthread_mutex_unlock(&stream->lock);
    pthread_join(stream->thread, NULL);
    stream->running = false;
}

/* Links a new client in; false when there are too many. */
static bool
enter(struct stream *stream, struct subscriber *subscriber)
{
    bool room;

    pthread_mutex_lock(&stream->lock);
    room = stream->count < stream->api->options.ws_clients_max;
    if (room) {
        subscriber->next = stream->first;
        if (stream->first) {
            stream->first->previous = subscriber;
        }
        stream->first = subscriber;
        stream->count++;
        stream->total++;
        stream->by_mask[topics_of(subscriber->subscribed)]++;
    }
    pthread_mutex_unlock(&stream->lock);
    return room;
}

static void
leave(struct stream *stream, struct subscriber *subscriber)
{
    pthread_mutex_lock(&stream->lock);
    if (subscriber->previous) {
        subscriber->previous->next = subscriber->next;
    } else {
        stream->first = subscriber->next;
    }
    if (subscriber->next) {
        subscriber->next->previous = subscriber->previous;
    }
    stream->count--;
    stream->by_mask[topics_of(subscriber->subscribed)]--;
    pthread_mutex_unlock(&stream->lock);
}

static void
say_connected(struct stream *stream, struct ws_client *client, const struct subscriber *subscriber)
{
    struct json_writer w;
    struct buf out;

    buf_init(&out, 0);
    json_init(&w, &out);
    json_object_begin(&w);
    json_key(&w, "type");
    json_cstr(&w, "connected");
    json_key(&w, "client_id");
    json_cstr(&w, subscriber->id);
    json_key(&w, "server_time");
    json_f64(&w, (double)clock_wall_us(stream->api->clock) / US_PER_S);
    json_key(&w, "update_frequency_hz");
    json_i64(&w, 1000 / stream->api->options.ws_interval_ms);
    json_key(&w, "demo");
    json_bool(&w, stream->api->options.demo);
    json_object_end(&w);
    ws_send_text(client, buf_slice(&out));
    buf_fini(&out);
}

static void
on_open(void *ctx, struct ws_client *client)
{
    struct stream *stream = ctx;
    struct subscriber *subscriber = mem_zalloc(1, sizeof(*subscriber));

    subscriber->stream = stream;
    subscriber->since_us = clock_mono_us(stream->api->clock);
    id_uuid4(subscriber->id);
    if (!enter(stream, subscriber)) {
        free(subscriber);
        atomic_fetch_add(&stream->refused, 1);
        ws_close(client, CLOSE_POLICY, "Max connections reached");
        return;
    }
    ws_set_user(client, subscriber);
    say_connected(stream, client, subscriber);
    ws_set_channel(client, stream->api->options.ws_channel);
    ws_join(client, UINT64_C(1) << LIVE_TOPICS_DEFAULT);
}

static void
set_subscribed(struct subscriber *subscriber, struct ws_client *client, uint32_t subscribed)
{
    struct stream *stream = subscriber->stream;

    pthread_mutex_lock(&stream->lock);
    stream->by_mask[topics_of(subscriber->subscribed)]--;
    subscriber->subscribed = subscribed;
    stream->by_mask[topics_of(subscribed)]++;
    pthread_mutex_unlock(&stream->lock);
    ws_join(client, UINT64_C(1) << topics_of(subscribed));
}

/* Bits of topics by name, with commas between them; unknown ones are passed over. */
static uint32_t
topic_bits(struct slice names)
{
    uint32_t bits = 0;
    struct slice name;

    for (bool more = true; more;) {
        more = slice_split(&names, ',', &name);
        for (int i = 0; i < LIVE_TOPIC_COUNT; i++) {
            if (slice_is(slice_trim(name), live_topic_name((enum live_topic)i))) {
                bits |= 1U << i;
            }
        }
    }
    return bits;
}

/* The first subscription narrows the whole stream to it, more widen it again; who takes a topic
 * away before is left with the others. Taking the last one away gives the whole stream back. */
static void
change_topics(struct subscriber *subscriber, struct ws_client *client, struct slice names, bool add)
{
    uint32_t bits = topic_bits(names);
    uint32_t subscribed = subscriber->subscribed;

    if (add) {
        subscribed |= bits;
    } else if (topics_of(subscribed) & bits) {
        subscribed = topics_of(subscribed) & ~bits;
    }
    if (subscribed != subscriber->subscribed) {
        set_subscribed(subscriber, client, subscribed);
    }
}

static void
on_text(void *ctx, struct ws_client *client, struct slice text)
{
    struct subscriber *subscriber = ws_user(client);

    (void)ctx;
    if (!subscriber) {
        return;
    }
    atomic_fetch_add_explicit(&subscriber->received, 1, memory_order_relaxed);
    if (slice_is(text, "ping")) {
        ws_send_text(client, slice_of("pong"));
    } else if (slice_starts(text, "subscribe:")) {
        change_topics(subscriber, client, slice_sub(text, 10, text.len), true);
    } else if (slice_starts(text, "unsubscribe:")) {
        change_topics(subscriber, client, slice_sub(text, 12, text.len), false);
    }
}

static void
on_close(void *ctx, struct ws_client *client)
{
    struct subscriber *subscriber = ws_user(client);

    (void)ctx;
    if (subscriber) {
        ws_set_user(client, NULL);
        leave(subscriber->stream, subscriber);
        free(subscriber);
    }
}

void
get_stream(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    static const struct ws_callbacks callbacks = {on_open, on_text, on_close};

    (void)route;
    if (!http_upgrade(exchange, &callbacks, api->stream)) {
        http_reply(exchange); /* it says why not: 400, 403 or 426 */
    }
}

static void
write_subscriptions(struct json_writer *w, uint32_t subscribed)
{
    json_array_begin(w);
    for (int i = 0; i < LIVE_TOPIC_COUNT; i++) {
        if (subscribed & (1U << i)) {
            json_cstr(w, live_topic_name((enum live_topic)i));
        }
    }
    json_array_end(w);
}

static void
write_clients(struct stream *stream, struct json_writer *w)
{
    int64_t now_us = clock_mono_us(stream->api->clock);
    unsigned listed = 0;

    json_array_begin(w);
    for (const struct subscriber *s = stream->first; s && listed < LISTED_CLIENTS_MAX;
         s = s->next, listed++) {
        json_object_begin(w);
        json_key(w, "client_id");
        json_cstr(w, s->id);
        json_key(w, "uptime");
        json_f64(w, (double)(now_us - s->since_us) / US_PER_S);
        json_key(w, "message_count");
        json_u64(w, atomic_load_explicit(&s->received, memory_order_relaxed));
        json_key(w, "error_count");
        json_u64(w, 0);
        json_key(w, "subscriptions");
        write_subscriptions(w, s->subscribed);
        json_object_end(w);
    }
    json_array_end(w);
}

void
stream_write_stats(struct stream *stream, struct json_writer *w)
{
    struct http_stats http = {0};
    struct http_server *server = atomic_load(&stream->api->server);

    if (server) {
        http_server_stats(server, &http);
    }
    pthread_mutex_lock(&stream->lock);
    json_object_begin(w);
    json_key(w, "current_connections");
    json_u64(w, stream->count);
    json_key(w, "max_connections");
    json_u64(w, stream->api->options.ws_clients_max);
    json_key(w, "total_connections");
    json_u64(w, stream->total);
    json_key(w, "total_messages_sent");
    json_u64(w, http.ws_frames_sent);
    json_key(w, "total_errors");
    json_u64(w, http.ws_dropped_slow + atomic_load(&stream->refused));
    json_key(w, "queue_size");
    json_u64(w, 0);
    json_key(w, "frames_skipped");
    json_u64(w, http.ws_frames_skipped);
    json_key(w, "connections");
    write_clients(stream, w);
    json_object_end(w);
    pthread_mutex_unlock(&stream->lock);
}

uint64_t
stream_clients(struct stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    uint64_t count = stream->count;
    pthread_mutex_unlock(&stream->lock);
    return count;
}

uint64_t
stream_messages(struct stream *stream)
{
    struct http_stats http = {0};
    struct http_server *server = atomic_load(&stream->api->server);

    if (server) {
        http_server_stats(server, &http);
    }
    return http.ws_frames_sent;
}
