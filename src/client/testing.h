/*
 * For the tests of this part: a transport that answers from a list, a metering backend that counts,
 * a clock that stands still and is moved by sleeping, and chance that is always the same.
 */
#ifndef EIDER_CLIENT_TESTING_H
#define EIDER_CLIENT_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "client/client_internal.h"

enum { FAKE_MAX = 64, FAKE_TEXT_MAX = 512 };

struct fake_answer {
    enum transport_result result;
    int status;
    const char *body;
    const char *header; /* "Name: value"; NULL: none */
    bool not_sent;
    int64_t takes_us;
};

struct fake {
    struct transport transport; /* first */
    struct clock_manual clock;
    struct fake_answer answers[FAKE_MAX]; /* in turn; behind the last: 200, "{}" */
    size_t answer_count;
    size_t sent;
    char urls[FAKE_MAX][FAKE_TEXT_MAX];
    char methods[FAKE_MAX][16];
    char keys[FAKE_MAX][64];             /* X-API-KEY */
    char heads[FAKE_MAX][FAKE_TEXT_MAX]; /* "name: value\n"... */
    int64_t slept_ms[FAKE_MAX];
    size_t sleeps;
    double random;
    /* The metering backend. */
    struct metering_backend backend;
    enum metering_verdict reserve_verdict, commit_verdict, event_verdict;
    size_t reserves, commits, releases, events;
    int64_t reserved, booked;
    struct metering_call last_call;
    char last_endpoint[FAKE_TEXT_MAX];
    char last_key[64];
    char last_error[FAKE_TEXT_MAX];
    char last_metadata[FAKE_TEXT_MAX * 2];
    char last_event_id[METERING_ID_MAX];
    struct metering_outcome last_outcome;
};

static inline void
fake_send(struct transport *self, const struct transport_request *request,
          struct transport_answer *ret_answer)
{
    struct fake *fake = (struct fake *)(void *)self;
    struct fake_answer answer = {.status = 200, .body = "{}"};
    size_t i = fake->sent;
    size_t at = 0;

    assert_true(i < FAKE_MAX);
    if (i < fake->answer_count) {
        answer = fake->answers[i];
    }
    snprintf(fake->urls[i], FAKE_TEXT_MAX, "%s", request->url);
    snprintf(fake->methods[i], 16, "%s", request->method);
    for (size_t h = 0; h < request->headers->count && at < FAKE_TEXT_MAX; h++) {
        const struct eider_header *header = &request->headers->items[h];
        at += (size_t)snprintf(fake->heads[i] + at, FAKE_TEXT_MAX - at, "%s: %s\n", header->name,
                               header->value);
    }
    const char *key = headers_find(request->headers->items, request->headers->count, "x-api-key");
    snprintf(fake->keys[i], 64, "%s", key ? key : "");
    fake->sent++;
    clock_manual_advance(&fake->clock, answer.takes_us);
    ret_answer->result = answer.result;
    ret_answer->status = answer.status;
    ret_answer->sent = !answer.not_sent;
    snprintf(ret_answer->problem, sizeof(ret_answer->problem), "no route to nowhere");
    if (answer.header) {
        struct slice value = slice_of(answer.header);
        struct slice name;
        slice_split(&value, ':', &name);
        assert_true(headers_set(&ret_answer->headers, name, slice_trim(value)));
    }
    if (request->sink && answer.status / 100 == 2 && answer.body) {
        ret_answer->sink_used = true;
        if (!request->sink(request->sink_ctx, answer.body, strlen(answer.body))) {
            ret_answer->result = TRANSPORT_STOPPED;
        }
    } else if (answer.body) {
        buf_add_cstr(&ret_answer->body, answer.body);
    }
}

static inline void
fake_free_nothing(struct transport *self)
{
    (void)self;
}

static inline struct fake *
fake_of(struct metering_backend *backend)
{
    return (struct fake *)(void *)((char *)backend - offsetof(struct fake, backend));
}

static inline enum metering_verdict
fake_reserve(struct metering_backend *backend, const struct metering_call *call,
             struct metering_grant *ret_grant, struct metering_refusal *ret_refusal)
{
    struct fake *fake = fake_of(backend);

    fake->reserves++;
    fake->last_call = *call;
    snprintf(fake->last_endpoint, FAKE_TEXT_MAX, "%s", call->endpoint);
    snprintf(fake->last_key, 64, "%s", call->key ? call->key : "");
    if (fake->reserve_verdict == METERING_DONE) {
        snprintf(ret_grant->reservation_id, METERING_ID_MAX, "r-%zu", fake->reserves);
        ret_grant->credits = call->max_credits;
        fake->reserved += call->max_credits;
    } else if (fake->reserve_verdict == METERING_REFUSED) {
        snprintf(ret_refusal->detail, METERING_DETAIL_MAX, "the window is full");
        ret_refusal->retry_after_ms = 4200;
    }
    return fake->reserve_verdict;
}

static inline void
fake_keep(struct fake *fake, const struct metering_outcome *outcome)
{
    fake->last_outcome = *outcome;
    snprintf(fake->last_error, FAKE_TEXT_MAX, "%s",
             outcome->error_message ? outcome->error_message : "");
    snprintf(fake->last_metadata, sizeof(fake->last_metadata), "%s",
             outcome->metadata_json ? outcome->metadata_json : "");
    memcpy(fake->last_event_id, outcome->event_id, METERING_ID_MAX);
}

static inline enum metering_verdict
fake_commit(struct metering_backend *backend, const char *reservation_id,
            const struct metering_call *call, const struct metering_outcome *outcome,
            struct metering_receipt *ret_receipt)
{
    struct fake *fake = fake_of(backend);

    (void)call;
    assert_true(strncmp(reservation_id, "r-", 2) == 0);
    fake->commits++;
    fake_keep(fake, outcome);
    if (fake->commit_verdict == METERING_DONE) {
        fake->booked += outcome->credits;
        ret_receipt->credits = outcome->credits;
        snprintf(ret_receipt->event_id, METERING_ID_MAX, "e-%zu", fake->commits);
    }
    return fake->commit_verdict;
}

static inline enum metering_verdict
fake_release(struct metering_backend *backend, const char *reservation_id)
{
    (void)reservation_id;
    fake_of(backend)->releases++;
    return METERING_DONE;
}

static inline enum metering_verdict
fake_event(struct metering_backend *backend, const struct metering_call *call,
           const struct metering_outcome *outcome, struct metering_receipt *ret_receipt)
{
    struct fake *fake = fake_of(backend);

    (void)ret_receipt;
    fake->events++;
    snprintf(fake->last_endpoint, FAKE_TEXT_MAX, "%s", call->endpoint);
    fake_keep(fake, outcome);
    if (fake->event_verdict == METERING_DONE) {
        fake->booked += outcome->credits;
    }
    return fake->event_verdict;
}

static inline void
fake_free_backend(struct metering_backend *backend)
{
    (void)backend;
}

static inline void
fake_sleep(void *ctx, int64_t ms)
{
    struct fake *fake = ctx;

    assert_true(fake->sleeps < FAKE_MAX);
    fake->slept_ms[fake->sleeps++] = ms;
    clock_manual_advance(&fake->clock, ms * 1000);
}

static inline double
fake_random(void *ctx)
{
    return ((struct fake *)ctx)->random;
}

static inline struct fake *
fake_new(void)
{
    struct fake *fake = mem_zalloc(1, sizeof(*fake));

    fake->transport = (struct transport){.send = fake_send, .free = fake_free_nothing};
    fake->backend = (struct metering_backend){.reserve = fake_reserve,
                                              .commit = fake_commit,
                                              .release = fake_release,
                                              .event = fake_event,
                                              .free = fake_free_backend};
    clock_manual_init(&fake->clock, INT64_C(1700000000000000));
    return fake;
}

static inline void
fake_answer(struct fake *fake, struct fake_answer answer)
{
    assert_true(fake->answer_count < FAKE_MAX);
    fake->answers[fake->answer_count++] = answer;
}

static inline struct client_env
fake_env(struct fake *fake)
{
    return (struct client_env){.clock = &fake->clock.clock,
                               .sleep_ms = fake_sleep,
                               .random = fake_random,
                               .ctx = fake,
                               .transport = &fake->transport,
                               .metering = &fake->backend};
}

#endif
