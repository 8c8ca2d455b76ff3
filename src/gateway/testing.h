/*
 * For the tests of the gateway: a meter that only takes notes, an upstream, a gateway in front of
 * it.
 */
#ifndef EIDER_GATEWAY_TESTING_H
#define EIDER_GATEWAY_TESTING_H

#include "http/testing.h"

#include "codec/json_write.h"
#include "gateway/gateway.h"
#include "meter/price.h"

enum { OPS_MAX = 64, LARGE = 8 << 20, RESERVED = 5000000, COST = 3000000 };

/* ---- the meter ---- */

struct note {
    char what; /* R, C, X (release), E */
    char api[32], endpoint[64], run_id[32], key[32], project[32], error[128], metadata[1024];
    int64_t credits;
    bool has_credits, has_status, success;
    int status;
    uint64_t request_bytes, response_bytes;
};

struct kept {
    meter_done_fn *done;
    void *ctx;
    int64_t credits;
};

struct notes {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct note list[OPS_MAX];
    size_t count;
    bool refuse; /* reservations */
    bool refuse_extend;
    bool fail_commit;
    bool hold_reserve; /* do not answer; see held */
    struct kept held;
    struct prices *prices;
};

static inline struct note *
add_note(struct notes *notes, char what)
{
    pthread_mutex_lock(&notes->lock);
    assert(notes->count < OPS_MAX);
    struct note *note = &notes->list[notes->count];
    *note = (struct note){.what = what};
    return note;
}

static inline void
end_note(struct notes *notes)
{
    notes->count++;
    pthread_cond_broadcast(&notes->changed);
    pthread_mutex_unlock(&notes->lock);
}

static inline void
copy(struct slice from, char *to, size_t size)
{
    slice_to_cstr(slice_sub(from, 0, size - 1), to, size);
}

static inline void
grant(meter_done_fn *done, void *ctx, int64_t credits)
{
    done(ctx, &(struct meter_answer){.code = ERR_OK, .reservation_id = "r-1", .credits = credits});
}

static inline void
refuse(meter_done_fn *done, void *ctx)
{
    struct err err = {.code = ERR_BUSY, .msg = "over the budget"};
    struct refusal refusal = {.reason = REFUSED_WOULD_EXCEED, .budget = "default"};

    done(ctx, &(struct meter_answer){.code = ERR_BUSY, .err = &err, .refusal = &refusal});
}

static inline void
fake_reserve(void *ctx, const struct meter_reserve *reserve, meter_done_fn *done, void *done_ctx)
{
    struct notes *notes = ctx;
    struct note *note = add_note(notes, 'R');

    copy(reserve->call.api_name, note->api, sizeof(note->api));
    copy(reserve->call.endpoint, note->endpoint, sizeof(note->endpoint));
    copy(reserve->call.run_id, note->run_id, sizeof(note->run_id));
    copy(reserve->call.api_key, note->key, sizeof(note->key));
    copy(reserve->call.project, note->project, sizeof(note->project));
    /* What is left to the price book is 5 credits there. */
    note->has_credits = reserve->has_credits;
    note->credits = reserve->has_credits ? reserve->max_credits : RESERVED;
    int64_t credits = note->credits;
    bool hold = notes->hold_reserve;
    bool refused = notes->refuse;
    notes->held = (struct kept){done, done_ctx, credits};
    end_note(notes);
    if (refused) {
        refuse(done, done_ctx);
    } else if (!hold) {
        grant(done, done_ctx, credits);
    }
}

static inline void
fake_commit(void *ctx, const struct meter_commit *commit, meter_done_fn *done, void *done_ctx)
{
    struct notes *notes = ctx;
    struct note *note = add_note(notes, 'C');

    assert(slice_is(commit->reservation_id, "r-1") && commit->overrun);
    note->has_credits = commit->has_credits;
    note->credits = commit->credits;
    note->has_status = commit->has_status;
    note->status = commit->status_code;
    note->success = commit->success;
    note->request_bytes = commit->request_bytes;
    note->response_bytes = commit->response_bytes;
    copy(commit->error_message, note->error, sizeof(note->error));
    copy(commit->metadata_json, note->metadata, sizeof(note->metadata));
    bool fail = notes->fail_commit;
    end_note(notes);
    struct err err = {.code = ERR_UNAVAILABLE, .msg = "the log has failed"};
    done(done_ctx, &(struct meter_answer){.code = fail ? ERR_UNAVAILABLE : ERR_OK,
                                          .err = fail ? &err : NULL});
}

static inline void
fake_release(void *ctx, struct slice reservation_id, meter_done_fn *done, void *done_ctx)
{
    assert(slice_is(reservation_id, "r-1"));
    add_note(ctx, 'X');
    end_note(ctx);
    done(done_ctx, &(struct meter_answer){.code = ERR_OK});
}

static inline void
fake_extend(void *ctx, struct slice reservation_id, int64_t ttl_ms, int64_t add_credits,
            meter_done_fn *done, void *done_ctx)
{
    struct notes *notes = ctx;
    struct note *note = add_note(notes, 'E');

    assert(slice_is(reservation_id, "r-1") && ttl_ms > 0);
    note->credits = add_credits;
    bool refused = notes->refuse_extend;
    end_note(notes);
    if (refused) {
        refuse(done, done_ctx);
    } else {
        grant(done, done_ctx, add_credits);
    }
}

static inline struct prices *
fake_prices(void *ctx)
{
    struct notes *notes = ctx;

    return notes->prices ? prices_ref(notes->prices) : NULL;
}

static inline void
fake_refusal(const struct refusal *refusal, struct json_writer *writer)
{
    json_key(writer, "code");
    json_cstr(writer, "CIRCUIT_BREAKER_TRIPPED");
    json_key(writer, "budget");
    json_cstr(writer, refusal->budget);
}

static inline int
fake_retry_after(const struct refusal *refusal)
{
    (void)refusal;
    return 7;
}

/* Waits for the n-th note. */
static const struct note *
note_at(struct notes *notes, size_t n)
{
    struct timespec deadline = fixture_deadline();
    int rc = 0;

    pthread_mutex_lock(&notes->lock);
    while (notes->count <= n && rc == 0) {
        rc = pthread_cond_timedwait(&notes->changed, &notes->lock, &deadline);
    }
    bool there = notes->count > n;
    pthread_mutex_unlock(&notes->lock);
    assert_true(there);
    return &notes->list[n];
}

/* All that the meter was asked for, e.g. "RC". */
static inline void
assert_notes(struct notes *notes, const char *expected)
{
    char text[OPS_MAX + 1] = {0};

    (void)note_at(notes, strlen(expected) - 1);
    pthread_mutex_lock(&notes->lock);
    for (size_t i = 0; i < notes->count; i++) {
        text[i] = notes->list[i].what;
    }
    pthread_mutex_unlock(&notes->lock);
    assert_string_equal(text, expected);
}

/* ---- the upstream: an http server of its own ---- */

struct world {
    struct notes notes;
    struct http_server *upstream;
    struct http_server *front;
    struct gateway *gateway;
    struct gateway_upstream options;
    struct gateway_options gateway_options;
    char base_url[64];
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    unsigned requests;
    unsigned fail_first; /* so many requests get fail_status */
    int fail_status;
    const char *retry_after;
    struct http_exchange *held; /* of /hold */
    char problem[512];
};

static inline struct http_exchange *
take_upstream(struct world *world)
{
    struct timespec deadline = fixture_deadline();
    int rc = 0;

    pthread_mutex_lock(&world->lock);
    while (!world->held && rc == 0) {
        rc = pthread_cond_timedwait(&world->changed, &world->lock, &deadline);
    }
    struct http_exchange *held = world->held;
    world->held = NULL;
    pthread_mutex_unlock(&world->lock);
    assert_non_null(held);
    return held;
}

static inline void
add_facts(struct http_exchange *exchange)
{
    struct buf *out = http_out(exchange);
    struct slice name;
    struct slice value;

    buf_add_fmt(out, "%s %.*s\n", http_method_name(http_method(exchange)),
                SLICE_FMT(http_target(exchange)));
    for (size_t i = 0; http_header_at(exchange, i, &name, &value); i++) {
        buf_add_fmt(out, "%.*s: %.*s\n", SLICE_FMT(name), SLICE_FMT(value));
    }
    buf_add_fmt(out, "body: %.*s\n", SLICE_FMT(slice_sub(http_body(exchange), 0, 100)));
}

static inline void
upstream_handler(void *ctx, struct http_exchange *exchange)
{
    struct world *world = ctx;
    struct slice path = http_path(exchange);

    pthread_mutex_lock(&world->lock);
    bool fail = world->requests++ < world->fail_first;
    if (slice_is(path, "/base/hold")) {
        assert(!world->held);
        world->held = exchange;
        pthread_cond_broadcast(&world->changed);
        pthread_mutex_unlock(&world->lock);
        return;
    }
    pthread_mutex_unlock(&world->lock);
    if (fail) {
        http_set_status(exchange, world->fail_status);
        if (world->retry_after) {
            http_add_header(exchange, "Retry-After", slice_of(world->retry_after));
        }
        buf_add_cstr(http_out(exchange), "failed");
    } else if (slice_is(path, "/base/echo")) {
        buf_add_slice(http_out(exchange), http_body(exchange));
    } else if (slice_is(path, "/base/empty")) {
        http_set_status(exchange, 204);
    } else if (slice_is(path, "/base/moved")) {
        http_set_status(exchange, 302);
        http_add_header(exchange, "Location", SLICE_LITERAL("/elsewhere"));
    } else {
        http_add_header(exchange, "X-From-Upstream", SLICE_LITERAL("yes"));
        http_add_header(exchange, "Set-Cookie", SLICE_LITERAL("a=1"));
        http_add_header(exchange, "Set-Cookie", SLICE_LITERAL("b=2"));
        http_add_header(exchange, "Keep-Alive", SLICE_LITERAL("timeout=5"));
        http_set_content_type(exchange, "text/plain");
        add_facts(exchange);
    }
    http_reply(exchange);
}

/* ---- in front: the gateway ---- */

static inline void
front_handler(void *ctx, struct http_exchange *exchange)
{
    struct world *world = ctx;
    struct slice token;
    struct gateway_credentials ours = {.authorization = http_header(exchange, "X-Ours", &token),
                                       .access_token =
                                           http_query(exchange, "access_token", &token)};

    gateway_handle(world->gateway, exchange, &ours);
}

static inline enum err_code
front_accept(void *ctx, struct http_exchange *exchange, uint64_t *ret_body_max, struct err *err)
{
    struct world *world = ctx;

    (void)err;
    gateway_accept(world->gateway, exchange, ret_body_max);
    return ERR_OK;
}

static inline void
on_event(void *ctx, bool is_problem, const char *text)
{
    struct world *world = ctx;

    pthread_mutex_lock(&world->lock);
    if (is_problem) {
        snprintf(world->problem, sizeof(world->problem), "%s", text);
    }
    pthread_mutex_unlock(&world->lock);
}

static inline struct world *
world_new(void)
{
    struct world *world = mem_zalloc(1, sizeof(*world));
    struct http_options upstream = {.handler = upstream_handler, .ctx = world};
    struct err err;

    pthread_mutex_init(&world->notes.lock, NULL);
    pthread_cond_init(&world->notes.changed, NULL);
    pthread_mutex_init(&world->lock, NULL);
    pthread_cond_init(&world->changed, NULL);
    world->fail_status = 503;
    assert_int_equal(http_server_start(&upstream, &world->upstream, &err), ERR_OK);
    snprintf(world->base_url, sizeof(world->base_url), "http://127.0.0.1:%u/base/",
             http_server_port(world->upstream));
    world->options = (struct gateway_upstream){.name = "up",
                                               .base_url = world->base_url,
                                               .api_name = "Paid",
                                               .headers = {{"X-API-KEY", "secret"}},
                                               .header_count = 1,
                                               .default_credits = COST,
                                               .retry_delay_ms = 1};
    world->gateway_options = (struct gateway_options){.meter = {.reserve = fake_reserve,
                                                                .commit = fake_commit,
                                                                .release = fake_release,
                                                                .extend = fake_extend,
                                                                .prices = fake_prices,
                                                                .refusal_json = fake_refusal,
                                                                .retry_after_s = fake_retry_after,
                                                                .ctx = &world->notes},
                                                      .upstreams = &world->options,
                                                      .upstream_count = 1,
                                                      .seed = 1,
                                                      .event = on_event,
                                                      .event_ctx = world};
    return world;
}

static inline void
world_start(struct world *world)
{
    struct http_options front = {
        .handler = front_handler, .accept = front_accept, .loops = 2, .ctx = world};
    struct err err;

    if (gateway_open(&world->gateway_options, &world->gateway, &err) != ERR_OK) {
        fail_msg("%s", err.msg);
    }
    assert_int_equal(http_server_start(&front, &world->front, &err), ERR_OK);
}

static inline struct world *
world_run(void)
{
    struct world *world = world_new();

    world_start(world);
    return world;
}

static inline void
world_free(struct world *world)
{
    if (world->front) {
        http_server_stop(world->front, 0);
    }
    gateway_close(world->gateway);
    if (world->upstream) {
        http_server_stop(world->upstream, 0);
    }
    prices_unref(world->notes.prices);
    free(world);
}

static inline int
front_connect(const struct world *world)
{
    return client_connect_with(http_server_port(world->front), 0);
}

static inline bool
has_text(const struct answer *answer, const char *text)
{
    return answer->body.len > 0 &&
           memmem(answer->body.ptr, answer->body.len, text, strlen(text)) != NULL;
}

/* Sends one request on a connection of its own and reads the answer by its length. */
static inline void
ask(struct world *world, const char *request, struct answer *ret_answer)
{
    int fd = front_connect(world);

    client_send_text(fd, request);
    client_answer_to(fd, strncmp(request, "HEAD", 4) == 0, ret_answer);
    close(fd);
}

static inline struct gateway_stats
stats_of(const struct world *world)
{
    struct gateway_stats stats;

    gateway_stats(world->gateway, &stats);
    return stats;
}

#endif
