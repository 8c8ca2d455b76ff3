/*
 * Broadcasts and http_each_client, in slices: at most WS_SENDS_PER_TURN sends a turn, then other
 * connections are served. A newer frame that comes before the round is done takes the older one's
 * place and the round goes full circle from where it stands, so that the end of the ring is served
 * as often as its beginning.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "http/ws.h"

/* A broadcast on its way to a worker. */
struct cast {
    struct net_post post;
    struct http_worker *worker;
    unsigned channel;
    unsigned group;
    struct ws_frame *frame;
};

static void
end_round(struct ws_channel *channel, unsigned group)
{
    struct ws_round *round = &channel->rounds[group];

    ws_frame_unref(round->frame);
    *round = (struct ws_round){.frame = NULL};
    channel->rounds_active &= ~(UINT64_C(1) << group);
}

/* A round that ends early: those it has not reached go without its frame. */
static void
count_skipped(struct http_worker *worker, const struct ws_channel *channel, unsigned group)
{
    const struct ws_round *round = &channel->rounds[group];

    if (round->cursor && channel->members[group] > round->offered) {
        counter_add(&worker->counters.ws_frames_skipped, channel->members[group] - round->offered);
    }
}

static void
on_cast(struct net_post *post)
{
    struct cast *cast = NET_OWNER(post, struct cast, post);
    struct http_worker *worker = cast->worker;
    struct ws_channel *channel = worker->channels[cast->channel];

    if (worker->clients && channel) {
        struct ws_round *round = &channel->rounds[cast->group];
        struct ws_client *from = round->cursor ? round->cursor : worker->clients;
        count_skipped(worker, channel, cast->group);
        ws_frame_unref(round->frame);
        *round = (struct ws_round){ws_frame_ref(cast->frame), from, from->prev, 0};
        channel->rounds_active |= UINT64_C(1) << cast->group;
    }
    ws_frame_unref(cast->frame);
    free(cast);
}

void
http_broadcast_channel(struct http_server *server, unsigned channel, unsigned group,
                       struct ws_frame *frame)
{
    assert(group < WS_GROUPS && channel < HTTP_CHANNELS);
    for (unsigned i = 0; i < server->worker_count; i++) {
        struct cast *cast = mem_alloc(sizeof(*cast));
        *cast = (struct cast){.post = {.fn = on_cast},
                              .worker = &server->workers[i],
                              .channel = channel,
                              .group = group,
                              .frame = ws_frame_ref(frame)};
        if (!net_loop_post(server->workers[i].loop, &cast->post)) {
            ws_frame_unref(frame);
            free(cast);
        }
    }
}

void
http_broadcast(struct http_server *server, unsigned group, struct ws_frame *frame)
{
    http_broadcast_channel(server, 0, group, frame);
}

/* Goes on with a round until it ends or the turn's share is used up. */
static void
run_round(const struct http_worker *worker, unsigned index, unsigned group, int *sends, int *visits)
{
    struct ws_channel *channel = worker->channels[index];
    struct ws_round *round = &channel->rounds[group];
    /* A client that is dropped here may end the round. */
    struct ws_frame *frame = ws_frame_ref(round->frame);

    while (round->cursor && *sends > 0 && *visits > 0) {
        struct ws_client *client = round->cursor;
        bool last = client == round->last;
        round->cursor = last ? NULL : client->next;
        (*visits)--;
        if (client->channel == index && (client->groups & (UINT64_C(1) << group))) {
            (*sends)--;
            round->offered++;
            ws_offer(client, group, frame);
        }
    }
    if (!round->cursor && round->frame) {
        end_round(channel, group);
    }
    ws_frame_unref(frame);
}

static void
on_each(struct net_post *post)
{
    struct ws_each *each = NET_OWNER(post, struct ws_each, post);
    struct http_worker *worker = each->worker;
    struct ws_each **end = &worker->eaches;

    if (!worker->clients) {
        free(each);
        return;
    }
    each->cursor = worker->clients;
    each->last = worker->clients->prev;
    while (*end) {
        end = &(*end)->next;
    }
    *end = each;
}

void
http_each_client(struct http_server *server, void (*fn)(void *ctx, struct ws_client *client),
                 void *ctx)
{
    for (unsigned i = 0; i < server->worker_count; i++) {
        struct ws_each *each = mem_zalloc(1, sizeof(*each));
        each->post.fn = on_each;
        each->worker = &server->workers[i];
        each->fn = fn;
        each->ctx = ctx;
        if (!net_loop_post(each->worker->loop, &each->post)) {
            free(each);
        }
    }
}

static void
run_each(struct http_worker *worker, int *sends)
{
    while (worker->eaches && *sends > 0) {
        struct ws_each *each = worker->eaches;
        if (!each->cursor) {
            worker->eaches = each->next;
            free(each);
            continue;
        }
        struct ws_client *client = each->cursor;
        each->cursor = client == each->last ? NULL : client->next;
        (*sends)--;
        each->fn(each->ctx, client);
    }
}

/* Groups take turns in being the first, so that a busy one does not starve the others. */
static void
run_channel(const struct http_worker *worker, unsigned index, int *sends, int *visits)
{
    struct ws_channel *channel = worker->channels[index];

    for (unsigned n = 0; n < WS_GROUPS && channel->rounds_active && *sends > 0; n++) {
        unsigned group = (channel->round_first + n) % WS_GROUPS;
        if (channel->rounds_active & (UINT64_C(1) << group)) {
            run_round(worker, index, group, sends, visits);
        }
    }
    channel->round_first = (channel->round_first + 1) % WS_GROUPS;
}

/* So do channels. */
bool
ws_turn(struct http_worker *worker)
{
    int sends = WS_SENDS_PER_TURN;
    int visits = WS_VISITS_PER_TURN;
    bool active = false;

    run_each(worker, &sends);
    for (unsigned n = 0; n < HTTP_CHANNELS; n++) {
        unsigned index = (worker->channel_first + n) % HTTP_CHANNELS;
        if (worker->channels[index] && worker->channels[index]->rounds_active) {
            run_channel(worker, index, &sends, &visits);
            active |= worker->channels[index]->rounds_active != 0;
        }
    }
    worker->channel_first = (worker->channel_first + 1) % HTTP_CHANNELS;
    return active || worker->eaches != NULL;
}

static struct ws_channel *
channel_of(struct ws_client *client)
{
    struct ws_channel **place = &client->conn->worker->channels[client->channel];

    if (!*place) {
        *place = mem_zalloc(1, sizeof(**place));
    }
    return *place;
}

void
ws_set_channel(struct ws_client *client, unsigned channel)
{
    assert(channel < HTTP_CHANNELS && client->groups == 0);
    client->channel = channel;
}

void
ws_set_groups(struct ws_client *client, uint64_t groups)
{
    uint64_t *members = channel_of(client)->members;

    for (uint64_t left = client->groups & ~groups; left; left &= left - 1) {
        members[__builtin_ctzll(left)]--;
    }
    for (uint64_t joined = groups & ~client->groups; joined; joined &= joined - 1) {
        members[__builtin_ctzll(joined)]++;
    }
    client->groups = groups;
}

/* Takes `client` out of [*cursor .. *last]. */
static void
forget(struct ws_client *client, struct ws_client **cursor, struct ws_client **last)
{
    if (!*cursor) {
        return;
    }
    if (*cursor == client && *last == client) {
        *cursor = NULL;
    } else if (*cursor == client) {
        *cursor = client->next;
    } else if (*last == client) {
        *last = client->prev;
    }
}

void
ws_rounds_forget(struct http_worker *worker, struct ws_client *client)
{
    for (unsigned i = 0; i < HTTP_CHANNELS; i++) {
        struct ws_channel *channel = worker->channels[i];
        for (uint64_t active = channel ? channel->rounds_active : 0; active; active &= active - 1) {
            struct ws_round *round = &channel->rounds[__builtin_ctzll(active)];
            forget(client, &round->cursor, &round->last);
        }
    }
    for (struct ws_each *each = worker->eaches; each; each = each->next) {
        forget(client, &each->cursor, &each->last);
    }
}

void
ws_rounds_free(struct http_worker *worker)
{
    for (unsigned i = 0; i < HTTP_CHANNELS; i++) {
        for (unsigned group = 0; worker->channels[i] && group < WS_GROUPS; group++) {
            end_round(worker->channels[i], group);
        }
        free(worker->channels[i]);
        worker->channels[i] = NULL;
    }
    while (worker->eaches) {
        struct ws_each *next = worker->eaches->next;
        free(worker->eaches);
        worker->eaches = next;
    }
}

/* ---- one client by its id ---- */

struct client_post {
    struct net_post post;
    struct http_worker *worker;
    uint64_t id;
    void (*fn)(void *ctx, struct ws_client *client);
    void *ctx;
};

static void
on_client_post(struct net_post *post)
{
    struct client_post *call = NET_OWNER(post, struct client_post, post);
    struct conn *conn = worker_find(call->worker, call->id);

    call->fn(call->ctx, conn && conn->state == CONN_WS ? conn->ws : NULL);
    free(call);
}

void
http_post_client(struct http_server *server, uint64_t id,
                 void (*fn)(void *ctx, struct ws_client *client), void *ctx)
{
    unsigned index = worker_index_of(id);

    if (index >= server->worker_count) {
        fn(ctx, NULL);
        return;
    }
    struct client_post *call = mem_alloc(sizeof(*call));
    *call = (struct client_post){{.fn = on_client_post}, &server->workers[index], id, fn, ctx};
    if (!net_loop_post(call->worker->loop, &call->post)) {
        fn(ctx, NULL);
        free(call);
    }
}
