/* Tests of the gateway between a real client, a real upstream (both of http) and a meter that only
 * takes notes. */
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

static struct note *
add_note(struct notes *notes, char what)
{
    pthread_mutex_lock(&notes->lock);
    assert(notes->count < OPS_MAX);
    struct note *note = &notes->list[notes->count];
    *note = (struct note){.what = what};
    return note;
}

static void
end_note(struct notes *notes)
{
    notes->count++;
    pthread_cond_broadcast(&notes->changed);
    pthread_mutex_unlock(&notes->lock);
}

static void
copy(struct slice from, char *to, size_t size)
{
    slice_to_cstr(slice_sub(from, 0, size - 1), to, size);
}

static void
grant(meter_done_fn *done, void *ctx, int64_t credits)
{
    done(ctx, &(struct meter_answer){.code = ERR_OK, .reservation_id = "r-1", .credits = credits});
}

static void
refuse(meter_done_fn *done, void *ctx)
{
    struct err err = {.code = ERR_BUSY, .msg = "over the budget"};
    struct refusal refusal = {.reason = REFUSED_WOULD_EXCEED, .budget = "default"};

    done(ctx, &(struct meter_answer){.code = ERR_BUSY, .err = &err, .refusal = &refusal});
}

static void
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

static void
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

static void
fake_release(void *ctx, struct slice reservation_id, meter_done_fn *done, void *done_ctx)
{
    assert(slice_is(reservation_id, "r-1"));
    add_note(ctx, 'X');
    end_note(ctx);
    done(done_ctx, &(struct meter_answer){.code = ERR_OK});
}

static void
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

static struct prices *
fake_prices(void *ctx)
{
    struct notes *notes = ctx;

    return notes->prices ? prices_ref(notes->prices) : NULL;
}

static void
fake_refusal(const struct refusal *refusal, struct json_writer *writer)
{
    json_key(writer, "code");
    json_cstr(writer, "CIRCUIT_BREAKER_TRIPPED");
    json_key(writer, "budget");
    json_cstr(writer, refusal->budget);
}

static int
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
static void
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

static struct http_exchange *
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

static void
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

static void
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

static void
front_handler(void *ctx, struct http_exchange *exchange)
{
    struct world *world = ctx;
    struct slice token;
    struct gateway_credentials ours = {.authorization = http_header(exchange, "X-Ours", &token),
                                       .access_token =
                                           http_query(exchange, "access_token", &token)};

    gateway_handle(world->gateway, exchange, &ours);
}

static enum err_code
front_accept(void *ctx, struct http_exchange *exchange, uint64_t *ret_body_max, struct err *err)
{
    struct world *world = ctx;

    (void)err;
    gateway_accept(world->gateway, exchange, ret_body_max);
    return ERR_OK;
}

static void
on_event(void *ctx, bool is_problem, const char *text)
{
    struct world *world = ctx;

    pthread_mutex_lock(&world->lock);
    if (is_problem) {
        snprintf(world->problem, sizeof(world->problem), "%s", text);
    }
    pthread_mutex_unlock(&world->lock);
}

static struct world *
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

static void
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

static struct world *
world_run(void)
{
    struct world *world = world_new();

    world_start(world);
    return world;
}

static void
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

static int
front_connect(const struct world *world)
{
    return client_connect_with(http_server_port(world->front), 0);
}

static bool
has_text(const struct answer *answer, const char *text)
{
    return answer->body.len > 0 &&
           memmem(answer->body.ptr, answer->body.len, text, strlen(text)) != NULL;
}

/* Sends one request on a connection of its own and reads the answer by its length. */
static void
ask(struct world *world, const char *request, struct answer *ret_answer)
{
    int fd = front_connect(world);

    client_send_text(fd, request);
    client_answer_to(fd, strncmp(request, "HEAD", 4) == 0, ret_answer);
    close(fd);
}

static struct gateway_stats
stats_of(const struct world *world)
{
    struct gateway_stats stats;

    gateway_stats(world->gateway, &stats);
    return stats;
}

/* ---- forwarding ---- */

static void
test_gateway_forwards_and_books(void **state)
{
    struct world *world = world_run();
    ANSWER_AUTO struct answer answer;

    (void)state;
    ask(world,
        "GET /gateway/up/defi/price?address=a%20b&access_token=t HTTP/1.1\r\nHost: front\r\n"
        "X-Eider-Run-Id: run1\r\nX-Eider-Key: k1\r\nX-Eider-Project: p1\r\n"
        "X-Eider-Max-Credits: 5\r\nX-API-KEY: mine\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n"
        "X-Kept: 2\r\nX-Empty:\r\nAuthorization: Bearer theirs\r\n\r\n",
        &answer);
    assert_int_equal(answer.status, 200);
    assert_true(has_text(&answer, "GET /base/defi/price?address=a%20b\n"));
    assert_true(has_text(&answer, "\nX-API-KEY: secret\n"));
    assert_true(has_text(&answer, "\nX-Kept: 2\n"));
    assert_true(has_text(&answer, "\nX-Empty: \n"));
    assert_true(has_text(&answer, "\nAuthorization: Bearer theirs\n"));
    assert_true(has_text(&answer, "\nX-Forwarded-For: 127.0.0.1\n"));
    assert_true(has_text(&answer, "\nHost: 127.0.0.1:"));
    static const char *const stay_here[] = {"mine",   "X-Hop",    "X-Eider", "front",
                                            "Accept", "Content-", "Expect",  "access_token"};
    for (size_t i = 0; i < sizeof(stay_here) / sizeof(stay_here[0]); i++) {
        if (has_text(&answer, stay_here[i])) {
            fail_msg("%s was sent to the upstream", stay_here[i]);
        }
    }
    assert_true(slice_is(answer_header(&answer, "X-From-Upstream"), "yes"));
    assert_true(slice_is(answer_header(&answer, "Content-Type"), "text/plain"));
    assert_true(slice_is(answer_header(&answer, "X-Eider-Credits"), "3"));
    assert_true(slice_is(answer_header(&answer, "X-Eider-Reservation"), "r-1"));
    assert_null(answer_header(&answer, "Keep-Alive").ptr);
    buf_add_char(&answer.head, '\0');
    assert_non_null(strstr(answer.head.ptr, "Set-Cookie: a=1\r\nSet-Cookie: b=2"));
    assert_notes(&world->notes, "RC");
    const struct note *reserve = note_at(&world->notes, 0);
    assert_string_equal(reserve->api, "Paid");
    assert_string_equal(reserve->endpoint, "/defi/price");
    assert_string_equal(reserve->run_id, "run1");
    assert_string_equal(reserve->key, "k1");
    assert_string_equal(reserve->project, "p1");
    assert_int_equal(reserve->credits, RESERVED);
    const struct note *commit = note_at(&world->notes, 1);
    assert_int_equal(commit->credits, COST);
    assert_int_equal(commit->status, 200);
    assert_true(commit->success);
    assert_int_equal(commit->response_bytes, answer.body.len);
    assert_non_null(strstr(commit->metadata, "/base/defi/price?address=a%20b\""));
    assert_non_null(strstr(commit->metadata, "\"attempts\":1"));
    world_free(world);
}

static void
test_gateway_keeps_its_own_token_here(void **state)
{
    struct world *world = world_new();
    ANSWER_AUTO struct answer ours;
    ANSWER_AUTO struct answer dropped;

    (void)state;
    world->options.no_forwarded_for = true;
    world_start(world);
    ask(world,
        "GET /gateway/up/ HTTP/1.1\r\nHost: a\r\nX-Ours: 1\r\nAuthorization: Bearer t\r\n\r\n",
        &ours);
    assert_int_equal(ours.status, 200);
    assert_false(has_text(&ours, "Authorization"));
    assert_false(has_text(&ours, "X-Forwarded-For"));
    world_free(world);

    world = world_new();
    world->options.drop_credentials = true;
    world_start(world);
    ask(world,
        "GET /gateway/up/ HTTP/1.1\r\nHost: a\r\nCookie: c\r\nAuthorization: Bearer t\r\n\r\n",
        &dropped);
    assert_int_equal(dropped.status, 200);
    assert_false(has_text(&dropped, "Authorization"));
    assert_false(has_text(&dropped, "Cookie"));
    world_free(world);
}

static void
test_gateway_passes_all_methods_and_answers_without_a_body(void **state)
{
    static const struct {
        const char *method, *path;
        int status;
    } cases[] = {{"HEAD", "/x", 200},    {"DELETE", "/x", 200}, {"OPTIONS", "/x", 200},
                 {"PATCH", "/x", 200},   {"PUT", "/x", 200},    {"POST", "/x", 200},
                 {"GET", "/empty", 204}, {"GET", "/moved", 302}};
    struct world *world = world_run();
    int fd = front_connect(world);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ANSWER_AUTO struct answer answer;
        char text[128];
        bool head = strcmp(cases[i].method, "HEAD") == 0;
        snprintf(text, sizeof(text), "%s /gateway/up%s HTTP/1.1\r\nHost: a\r\n\r\n",
                 cases[i].method, cases[i].path);
        client_send_text(fd, text);
        client_answer_to(fd, head, &answer);
        assert_int_equal(answer.status, cases[i].status);
        snprintf(text, sizeof(text), "%s /base/x\n", cases[i].method);
        assert_true(head || cases[i].status != 200 || has_text(&answer, text));
        assert_false(has_text(&answer, "Content-Type"));
    }
    close(fd);
    assert_notes(&world->notes, "RCRCRCRCRCRCRCRC");
    world_free(world);
}

struct sender {
    pthread_t thread;
    int fd;
    struct slice bytes;
};

static void *
run_sender(void *arg)
{
    struct sender *sender = arg;

    client_send(sender->fd, sender->bytes);
    return NULL;
}

static void
test_gateway_streams_large_bodies(void **state)
{
    struct world *world = world_run();

    (void)state;
    for (int chunked = 0; chunked < 2; chunked++) {
        ANSWER_AUTO struct answer answer;
        BUF_AUTO struct buf request = {0};
        int fd = front_connect(world);
        buf_init(&request, 0);
        buf_add_cstr(&request, "POST /gateway/up/echo HTTP/1.1\r\nHost: a\r\n");
        buf_add_fmt(&request,
                    chunked ? "Transfer-Encoding: chunked\r\n\r\n%x\r\n"
                            : "Content-Length: %d\r\n\r\n",
                    LARGE);
        size_t at = request.len;
        char *body = buf_reserve(&request, LARGE);
        for (size_t i = 0; i < LARGE; i++) {
            body[i] = (char)(i * 2654435761U >> 13);
        }
        request.len += LARGE;
        buf_add_cstr(&request, chunked ? "\r\n0\r\n\r\n" : "");
        struct sender sender = {.fd = fd, .bytes = buf_slice(&request)};
        assert_int_equal(pthread_create(&sender.thread, NULL, run_sender, &sender), 0);
        client_answer(fd, &answer);
        pthread_join(sender.thread, NULL);
        assert_int_equal(answer.status, 200);
        assert_int_equal(answer.body.len, LARGE);
        assert_memory_equal(answer.body.ptr, request.ptr + at, LARGE);
        close(fd);
    }
    assert_notes(&world->notes, "RCRC");
    assert_int_equal(note_at(&world->notes, 1)->request_bytes, LARGE);
    assert_int_equal(note_at(&world->notes, 3)->response_bytes, LARGE);
    world_free(world);
}

static void
test_gateway_refuses_what_it_cannot_forward(void **state)
{
    static const struct {
        const char *request;
        int status;
        const char *text;
    } cases[] = {
        {"GET /gateway/dn/x HTTP/1.1\r\nHost: a\r\n\r\n", 404, "configured: up"},
        {"GET /gateway HTTP/1.1\r\nHost: a\r\n\r\n", 404, "expected /gateway/UPSTREAM/PATH"},
        {"GET /gateway/up/%2e%2e/x HTTP/1.1\r\nHost: a\r\n\r\n", 422, "dots"},
        {"GET /gateway/up/x HTTP/1.1\r\nHost: a\r\nX-Eider-Max-Credits: much\r\n\r\n", 422,
         "X-Eider-Max-Credits"},
    };
    struct world *world = world_run();

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ANSWER_AUTO struct answer answer;
        ask(world, cases[i].request, &answer);
        assert_int_equal(answer.status, cases[i].status);
        assert_true(has_text(&answer, cases[i].text));
    }
    assert_int_equal(world->notes.count, 0);
    assert_int_equal(stats_of(world).attempts, 0);
    world_free(world);
}

static void
test_gateway_answers_refusals_without_asking_the_upstream(void **state)
{
    struct world *world = world_new();
    ANSWER_AUTO struct answer answer;

    (void)state;
    world->notes.refuse = true;
    world_start(world);
    ask(world, "GET /gateway/up/x HTTP/1.1\r\nHost: a\r\n\r\n", &answer);
    assert_int_equal(answer.status, 503);
    assert_true(has_text(&answer, "CIRCUIT_BREAKER_TRIPPED"));
    assert_true(slice_is(answer_header(&answer, "Retry-After"), "7"));
    assert_notes(&world->notes, "R");
    assert_int_equal(world->requests, 0);
    assert_int_equal(stats_of(world).refused, 1);
    world_free(world);
}

/* ---- clients that leave ---- */

static void
test_gateway_releases_when_the_client_leaves_before(void **state)
{
    struct world *world = world_new();

    (void)state;
    world->notes.hold_reserve = true;
    world_start(world);
    int fd = front_connect(world);
    client_send_text(fd, "GET /gateway/up/x HTTP/1.1\r\nHost: a\r\n\r\n");
    (void)note_at(&world->notes, 0);
    close(fd);
    struct http_stats stats;
    do {
        sched_yield();
        http_server_stats(world->front, &stats);
    } while (stats.clients_gone == 0);
    struct kept kept = world->notes.held;
    grant(kept.done, kept.ctx, kept.credits);
    assert_notes(&world->notes, "RX");
    assert_int_equal(world->requests, 0);
    world_free(world);
}

static void
test_gateway_books_the_most_when_the_client_leaves_within(void **state)
{
    (void)state;
    for (int is_free = 0; is_free < 2; is_free++) {
        struct world *world = world_new();
        world->options.abort_is_free = is_free;
        world_start(world);
        int fd = front_connect(world);
        client_send_text(fd, "GET /gateway/up/hold HTTP/1.1\r\nHost: a\r\n"
                             "X-Eider-Max-Credits: 5\r\n\r\n");
        struct http_exchange *held = take_upstream(world);
        close(fd);
        assert_notes(&world->notes, "RC");
        const struct note *commit = note_at(&world->notes, 1);
        assert_int_equal(commit->credits, is_free ? 0 : RESERVED);
        assert_true(commit->has_credits);
        assert_false(commit->has_status);
        assert_false(commit->success);
        assert_non_null(strstr(commit->error, "client left"));
        http_reply(held);
        world_free(world);
    }
}

static void
test_gateway_books_a_failure_as_such_though_the_client_leaves(void **state)
{
    struct world *world = world_run();
    ANSWER_AUTO struct answer answer;

    (void)state;
    int fd = front_connect(world);
    client_send_text(fd, "GET /gateway/up/hold HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http_exchange *held = take_upstream(world);
    http_set_status(held, 404);
    http_reply_begin(held, -1);
    http_reply_write(held, SLICE_LITERAL("begun"));
    client_answer_to(fd, true, &answer);
    assert_int_equal(answer.status, 404);
    client_abort(fd);
    assert_notes(&world->notes, "RC");
    assert_int_equal(note_at(&world->notes, 1)->status, 404);
    assert_int_equal(note_at(&world->notes, 1)->credits, 0);
    http_reply_end(held);
    world_free(world);
}

static void
test_gateway_ends_the_transfer_when_the_client_leaves_the_answer(void **state)
{
    struct world *world = world_run();
    ANSWER_AUTO struct answer answer;

    (void)state;
    int fd = front_connect(world);
    client_send_text(fd, "GET /gateway/up/hold HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http_exchange *held = take_upstream(world);
    http_reply_begin(held, -1);
    http_reply_write(held, SLICE_LITERAL("begun"));
    client_answer_to(fd, true, &answer);
    assert_int_equal(answer.status, 200);
    client_abort(fd);
    assert_notes(&world->notes, "RC");
    assert_int_equal(note_at(&world->notes, 1)->status, 200);
    assert_false(note_at(&world->notes, 1)->success);
    /* The connection to the upstream is closed, which it finds when it goes on. */
    while (http_reply_write(held, SLICE_LITERAL("more")) != HTTP_WRITE_GONE) {
        sched_yield();
    }
    http_reply_abort(held);
    world_free(world);
}

static void
test_gateway_answers_for_bodies_that_cannot_be_had(void **state)
{
    static const struct {
        const char *request;
        int status;
        size_t notes;
    } cases[] = {
        {"POST /gateway/up/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n", 413, 0},
        {"POST /gateway/up/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
         "3\r\nabc\r\nzz\r\n",
         400, 2},
        {"POST /gateway/up/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
         "6\r\nabcdef\r\n6\r\nabcdef\r\n",
         413, 2},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world *world = world_new();
        ANSWER_AUTO struct answer answer;
        world->gateway_options.body_bytes_max = 10;
        world_start(world);
        ask(world, cases[i].request, &answer);
        assert_int_equal(answer.status, cases[i].status);
        /* Released or booked, by what was sent until then; the answer comes behind that. */
        assert_int_equal(world->notes.count, cases[i].notes);
        world_free(world);
    }
}

static void
test_gateway_forwards_so_many_calls_at_once(void **state)
{
    struct world *world = world_new();
    ANSWER_AUTO struct answer answer;

    (void)state;
    world->gateway_options.calls_max = 1;
    world_start(world);
    int fd = front_connect(world);
    client_send_text(fd, "GET /gateway/up/hold HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http_exchange *held = take_upstream(world);
    ask(world, "GET /gateway/up/x HTTP/1.1\r\nHost: a\r\n\r\n", &answer);
    assert_int_equal(answer.status, 503);
    assert_true(has_text(&answer, "1 calls are being forwarded already"));
    http_reply(held);
    assert_answer(fd, 200, "");
    close(fd);
    world_free(world);
}

/* ---- upstreams that fail ---- */

static void
test_gateway_tells_timeouts(void **state)
{
    struct world *world = world_new();
    ANSWER_AUTO struct answer answer;

    (void)state;
    world->options.timeout_ms = 50;
    world_start(world);
    ask(world, "GET /gateway/up/hold HTTP/1.1\r\nHost: a\r\n\r\n", &answer);
    assert_int_equal(answer.status, 504);
    assert_true(has_text(&answer, "UPSTREAM_TIMEOUT"));
    assert_true(has_text(&answer, "Request to Paid timed out"));
    assert_true(slice_is(answer_header(&answer, "X-Eider-Credits"), "0"));
    assert_notes(&world->notes, "RC");
    const struct note *commit = note_at(&world->notes, 1);
    assert_false(commit->has_status);
    assert_int_equal(commit->credits, 0);
    http_reply(take_upstream(world));
    world_free(world);
}

static void
test_gateway_tells_upstreams_that_are_not_there(void **state)
{
    struct world *world = world_new();
    ANSWER_AUTO struct answer answer;

    (void)state;
    http_server_stop(world->upstream, 0);
    world->upstream = NULL;
    world->options.retries = 2;
    world_start(world);
    /* Nothing was sent, so that another attempt does no harm even to a POST. */
    ask(world, "POST /gateway/up/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab", &answer);
    assert_int_equal(answer.status, 502);
    assert_true(has_text(&answer, "Network error"));
    assert_notes(&world->notes, "RC");
    struct gateway_stats stats = stats_of(world);
    assert_int_equal(stats.attempts, 3);
    assert_int_equal(stats.upstream_errors, 3);
    world_free(world);
}

static void
test_gateway_cuts_answers_that_break_off(void **state)
{
    struct world *world = world_run();
    ANSWER_AUTO struct answer answer;
    char part[16];

    (void)state;
    int fd = front_connect(world);
    client_send_text(fd, "GET /gateway/up/hold HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http_exchange *held = take_upstream(world);
    http_reply_begin(held, 10);
    http_reply_write(held, SLICE_LITERAL("abc"));
    client_answer_to(fd, true, &answer);
    assert_int_equal(answer.status, 200);
    assert_true(client_read(fd, part, 3));
    http_reply_abort(held);
    assert_false(client_read(fd, part, 1));
    close(fd);
    assert_notes(&world->notes, "RC");
    assert_false(note_at(&world->notes, 1)->success);
    assert_int_equal(note_at(&world->notes, 1)->credits, COST); /* it answered 200, so it bills */
    world_free(world);
}

/* ---- again ---- */

static void
test_gateway_tries_again_until_it_has_an_answer(void **state)
{
    struct world *world = world_new();
    ANSWER_AUTO struct answer answer;

    (void)state;
    world->options.retries = 2;
    world->fail_first = 2;
    world_start(world);
    ask(world, "PUT /gateway/up/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody",
        &answer);
    assert_int_equal(answer.status, 200);
    assert_true(slice_is(buf_slice(&answer.body), "body"));
    assert_notes(&world->notes, "RC");
    assert_non_null(strstr(note_at(&world->notes, 1)->metadata, "\"attempts\":3"));
    assert_int_equal(note_at(&world->notes, 1)->credits, COST);
    assert_int_equal(stats_of(world).retries, 2);
    world_free(world);
}

static void
test_gateway_passes_the_last_failure_on(void **state)
{
    static const struct {
        const char *method, *retry_after;
        unsigned retries, attempts;
    } cases[] = {
        {"GET", NULL, 2, 3},   /* no more attempts */
        {"POST", NULL, 2, 1},  /* may have been done already */
        {"GET", "3600", 2, 1}, /* longer than anybody waits */
        {"GET", NULL, 0, 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world *world = world_new();
        ANSWER_AUTO struct answer answer;
        char text[128];
        world->options.retries = cases[i].retries;
        world->fail_first = 100;
        world->fail_status = 429;
        world->retry_after = cases[i].retry_after;
        world_start(world);
        snprintf(text, sizeof(text), "%s /gateway/up/x HTTP/1.1\r\nHost: a\r\n\r\n",
                 cases[i].method);
        ask(world, text, &answer);
        assert_int_equal(answer.status, 429);
        assert_true(slice_is(buf_slice(&answer.body), "failed"));
        assert_int_equal(stats_of(world).attempts, cases[i].attempts);
        assert_notes(&world->notes, "RC");
        assert_int_equal(note_at(&world->notes, 1)->status, 429);
        assert_int_equal(note_at(&world->notes, 1)->credits, 0);
        assert_string_equal(note_at(&world->notes, 1)->error, "Rate limit exceeded for Paid");
        world_free(world);
    }
}

/* A body is kept for another attempt up to 64 KiB. */
static void
test_gateway_sends_small_bodies_again_and_large_ones_once(void **state)
{
    static const int sizes[] = {60000, 200000};

    (void)state;
    for (int large = 0; large < 2; large++) {
        struct world *world = world_new();
        ANSWER_AUTO struct answer answer;
        BUF_AUTO struct buf request = {0};
        world->options.retries = 1;
        world->fail_first = 1;
        world_start(world);
        buf_init(&request, 0);
        buf_add_fmt(&request,
                    "PUT /gateway/up/echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n",
                    sizes[large]);
        size_t at = request.len;
        for (int i = 0; i < sizes[large]; i++) {
            buf_add_char(&request, (char)('a' + i % 23));
        }
        int fd = front_connect(world);
        client_send(fd, buf_slice(&request));
        client_answer(fd, &answer);
        close(fd);
        assert_int_equal(answer.status, large ? 503 : 200);
        assert_int_equal(stats_of(world).attempts, large ? 1 : 2);
        if (!large) {
            assert_int_equal(answer.body.len, sizes[0]);
            assert_memory_equal(answer.body.ptr, request.ptr + at, answer.body.len);
        }
        world_free(world);
    }
}

static const char billed_book[] = "book: b\napi: Paid\nversion: 1\neffective_from: 2020-01-01\n"
                                  "rules:\n  - {name: all, credits: 5, on_failure: 2}\n";

/* Each attempt is billed: the reservation grows with it, or there is no other. */
static void
test_gateway_reserves_for_another_attempt_that_costs(void **state)
{
    (void)state;
    for (int refused = 0; refused < 2; refused++) {
        struct world *world = world_new();
        ANSWER_AUTO struct answer answer;
        struct err err;
        assert_int_equal(prices_load_text("b", slice_of(billed_book), &world->notes.prices, &err),
                         ERR_OK);
        world->notes.refuse_extend = refused;
        world->options.retries = 3;
        world->fail_first = 1;
        world_start(world);
        ask(world, "GET /gateway/up/x HTTP/1.1\r\nHost: a\r\n\r\n", &answer);
        assert_notes(&world->notes, "REC");
        assert_int_equal(note_at(&world->notes, 0)->credits, 5000000);
        assert_int_equal(note_at(&world->notes, 1)->credits, 2000000);
        if (refused) {
            assert_int_equal(answer.status, 503);
            assert_true(slice_is(buf_slice(&answer.body), "failed"));
            assert_true(slice_is(answer_header(&answer, "X-Eider-Credits"), "2"));
        } else {
            assert_int_equal(answer.status, 200);
            assert_true(slice_is(answer_header(&answer, "X-Eider-Credits"), "7"));
            assert_true(note_at(&world->notes, 2)->has_credits);
            assert_int_equal(note_at(&world->notes, 2)->credits, 7000000);
        }
        world_free(world);
    }
}

static void
test_gateway_leaves_the_price_of_one_attempt_to_the_meter(void **state)
{
    struct world *world = world_new();
    ANSWER_AUTO struct answer answer;
    struct err err;

    (void)state;
    assert_int_equal(prices_load_text("b", slice_of(billed_book), &world->notes.prices, &err),
                     ERR_OK);
    world_start(world);
    ask(world, "GET /gateway/up/x HTTP/1.1\r\nHost: a\r\n\r\n", &answer);
    assert_true(slice_is(answer_header(&answer, "X-Eider-Credits"), "5"));
    assert_notes(&world->notes, "RC");
    assert_false(note_at(&world->notes, 0)->has_credits);
    assert_false(note_at(&world->notes, 1)->has_credits); /* so that it keeps the rule's name */
    world_free(world);
}

/* Where the client said how much to reserve, the price is still the book's. */
static void
test_gateway_books_the_price_whatever_was_reserved(void **state)
{
    struct world *world = world_new();
    ANSWER_AUTO struct answer answer;
    struct err err;

    (void)state;
    assert_int_equal(prices_load_text("b", slice_of(billed_book), &world->notes.prices, &err),
                     ERR_OK);
    world_start(world);
    ask(world, "GET /gateway/up/x HTTP/1.1\r\nHost: a\r\nX-Eider-Max-Credits: 0.5\r\n\r\n",
        &answer);
    assert_true(slice_is(answer_header(&answer, "X-Eider-Credits"), "5"));
    assert_notes(&world->notes, "RC");
    assert_int_equal(note_at(&world->notes, 0)->credits, 500000);
    assert_true(note_at(&world->notes, 1)->has_credits);
    assert_int_equal(note_at(&world->notes, 1)->credits, 5000000);
    world_free(world);
}

static void
test_gateway_leaves_failing_upstreams_alone_for_a_while(void **state)
{
    struct world *world = world_new();
    struct gateway_upstream_status status;

    (void)state;
    world->options.breaker.pause_after = 3;
    world->fail_first = 100;
    world->fail_status = 500;
    world_start(world);
    for (int i = 0; i < 4; i++) {
        ANSWER_AUTO struct answer answer;
        ask(world, "GET /gateway/up/x HTTP/1.1\r\nHost: a\r\n\r\n", &answer);
        assert_int_equal(answer.status, i < 3 ? 500 : 503);
        if (i == 3) {
            assert_true(has_text(&answer, "UPSTREAM_BREAKER_OPEN"));
            assert_true(slice_is(answer_header(&answer, "Retry-After"), "60"));
        }
        (void)note_at(&world->notes, i < 3 ? (size_t)i * 2 + 1 : 5);
    }
    assert_int_equal(world->requests, 3);
    assert_notes(&world->notes, "RCRCRC");
    assert_true(gateway_upstream_status(world->gateway, 0, &status));
    assert_int_equal(status.state, UPSTREAM_PAUSED);
    assert_int_equal(status.failures, 3);
    assert_false(gateway_upstream_status(world->gateway, 1, &status));
    world_free(world);
}

/* ---- booking ---- */

static void
test_gateway_does_not_lose_answers_that_cannot_be_booked(void **state)
{
    struct world *world = world_new();
    ANSWER_AUTO struct answer answer;

    (void)state;
    world->notes.fail_commit = true;
    world_start(world);
    ask(world, "GET /gateway/up/x HTTP/1.1\r\nHost: a\r\n\r\n", &answer);
    assert_int_equal(answer.status, 200);
    assert_true(has_text(&answer, "GET /base/x"));
    assert_notes(&world->notes, "RC");
    while (stats_of(world).commit_failures == 0) {
        sched_yield();
    }
    world_free(world);
}

static void
test_gateway_renews_the_lease_of_long_calls(void **state)
{
    struct world *world = world_new();

    (void)state;
    world->gateway_options.lease_ms = 30;
    world_start(world);
    int fd = front_connect(world);
    client_send_text(fd, "GET /gateway/up/hold HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http_exchange *held = take_upstream(world);
    assert_int_equal(note_at(&world->notes, 1)->what, 'E');
    assert_int_equal(note_at(&world->notes, 2)->what, 'E');
    assert_int_equal(note_at(&world->notes, 2)->credits, 0);
    http_reply(held);
    assert_answer(fd, 200, "");
    close(fd);
    world_free(world);
}

static void
test_gateway_close_ends_what_is_under_way(void **state)
{
    struct world *world = world_run();

    (void)state;
    int fd = front_connect(world);
    client_send_text(fd, "GET /gateway/up/hold HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http_exchange *held = take_upstream(world);
    http_server_stop(world->front, 0);
    world->front = NULL;
    gateway_close(world->gateway);
    world->gateway = NULL;
    assert_notes(&world->notes, "RC");
    assert_end(fd);
    close(fd);
    http_reply(held);
    world_free(world);
}

static void
test_gateway_open_names_what_is_wrong(void **state)
{
    static const struct {
        const char *name, *url, *header, *text;
    } cases[] = {
        {"a/b", "http://h", "X-A", "a/b"},       {"..", "http://h", "X-A", "name"},
        {"a", "", "X-A", "base_url is missing"}, {"a", "ftp://h", "X-A", "ftp://h"},
        {"a", "http:///x", "X-A", "expected"},   {"a", "http://u:pass@h", "X-A", "without user"},
        {"a", "http://h?x=1", "X-A", "query"},   {"a", "http://h", "Host", "Host"},
        {"a", "http://h", "X A", "X A"},
    };
    struct world *world = world_new();

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct gateway *gateway = NULL;
        struct err err;
        world->options.name = cases[i].name;
        world->options.base_url = cases[i].url;
        world->options.headers[0].name = cases[i].header;
        assert_int_equal(gateway_open(&world->gateway_options, &gateway, &err), ERR_USAGE);
        if (!strstr(err.msg, cases[i].text)) {
            fail_msg("\"%s\" lacks \"%s\"", err.msg, cases[i].text);
        }
        assert_null(strstr(err.msg, "pass"));
        assert_null(gateway);
    }
    world_free(world);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gateway_forwards_and_books),
        cmocka_unit_test(test_gateway_keeps_its_own_token_here),
        cmocka_unit_test(test_gateway_passes_all_methods_and_answers_without_a_body),
        cmocka_unit_test(test_gateway_streams_large_bodies),
        cmocka_unit_test(test_gateway_refuses_what_it_cannot_forward),
        cmocka_unit_test(test_gateway_answers_refusals_without_asking_the_upstream),
        cmocka_unit_test(test_gateway_releases_when_the_client_leaves_before),
        cmocka_unit_test(test_gateway_books_the_most_when_the_client_leaves_within),
        cmocka_unit_test(test_gateway_books_a_failure_as_such_though_the_client_leaves),
        cmocka_unit_test(test_gateway_ends_the_transfer_when_the_client_leaves_the_answer),
        cmocka_unit_test(test_gateway_answers_for_bodies_that_cannot_be_had),
        cmocka_unit_test(test_gateway_forwards_so_many_calls_at_once),
        cmocka_unit_test(test_gateway_tells_timeouts),
        cmocka_unit_test(test_gateway_tells_upstreams_that_are_not_there),
        cmocka_unit_test(test_gateway_cuts_answers_that_break_off),
        cmocka_unit_test(test_gateway_tries_again_until_it_has_an_answer),
        cmocka_unit_test(test_gateway_passes_the_last_failure_on),
        cmocka_unit_test(test_gateway_sends_small_bodies_again_and_large_ones_once),
        cmocka_unit_test(test_gateway_reserves_for_another_attempt_that_costs),
        cmocka_unit_test(test_gateway_leaves_the_price_of_one_attempt_to_the_meter),
        cmocka_unit_test(test_gateway_books_the_price_whatever_was_reserved),
        cmocka_unit_test(test_gateway_leaves_failing_upstreams_alone_for_a_while),
        cmocka_unit_test(test_gateway_does_not_lose_answers_that_cannot_be_booked),
        cmocka_unit_test(test_gateway_renews_the_lease_of_long_calls),
        cmocka_unit_test(test_gateway_close_ends_what_is_under_way),
        cmocka_unit_test(test_gateway_open_names_what_is_wrong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
