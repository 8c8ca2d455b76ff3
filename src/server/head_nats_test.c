/* Tests of the thread that publishes the head, with a stream that is up or down as told. */
#include "server/head_nats.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

enum { OFTEN_MS = 1, NEVER_MS = 3600000, NOON_US = 43200, LINES_MAX = 64 };

#define AT_US (INT64_C(1000000) * NOON_US)

struct stream {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum err_code answer;
    int attempts;
    int stored;
    char last[256];
    struct head_nats *meanwhile; /* gets the next head while the first is on its way; NULL: none */
};

static struct log_record records[LINES_MAX];

static void
tell(struct head_nats *head_nats, uint64_t seq)
{
    const struct chain_head head = {.seq = seq, .hash = {0xab}};

    head_nats_tell(head_nats, &head, AT_US);
}

static enum err_code
publish(void *ctx, struct slice payload, struct err *err)
{
    struct stream *stream = ctx;

    if (stream->meanwhile) {
        tell(stream->meanwhile, 2);
        stream->meanwhile = NULL;
    }
    pthread_mutex_lock(&stream->lock);
    enum err_code code = stream->answer;
    stream->attempts++;
    if (code == ERR_OK) {
        stream->stored++;
        slice_to_cstr(payload, stream->last, sizeof(stream->last));
    } else {
        err_set(err, code, "down with %d", (int)code);
    }
    pthread_cond_broadcast(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
    return code;
}

static void
wait_attempts(struct stream *stream, int attempts)
{
    pthread_mutex_lock(&stream->lock);
    while (stream->attempts < attempts) {
        pthread_cond_wait(&stream->changed, &stream->lock);
    }
    pthread_mutex_unlock(&stream->lock);
}

static void
answer_with(struct stream *stream, enum err_code code, int attempts)
{
    pthread_mutex_lock(&stream->lock);
    stream->answer = code;
    attempts += stream->attempts;
    pthread_mutex_unlock(&stream->lock);
    wait_attempts(stream, attempts);
}

static struct head_nats *
start(struct stream *stream, int64_t retry_ms)
{
    const struct head_nats_options options = {
        .publish = publish, .ctx = stream, .where = "a stream", .retry_ms = retry_ms};
    struct head_nats *head_nats;
    struct err err;

    assert_int_equal(head_nats_start(&options, &head_nats, &err), ERR_OK);
    return head_nats;
}

/* How often a line of the level with this word was logged. */
static int
count_lines(enum log_level level, const char *word)
{
    size_t count = log_recent(level, records, LINES_MAX);
    int found = 0;

    for (size_t i = 0; i < count; i++) {
        found += records[i].level == level && strstr(records[i].text, word) != NULL;
    }
    return found;
}

static void
test_head_nats_publishes_the_head_as_json(void **state)
{
    struct stream stream = {
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, ERR_OK, 0, 0, "", NULL};
    struct head_nats *head_nats = start(&stream, NEVER_MS);

    (void)state;
    tell(head_nats, UINT64_MAX);
    wait_attempts(&stream, 1);
    head_nats_stop(head_nats);
    assert_int_equal(stream.attempts, 1);
    assert_string_equal(stream.last,
                        "{\"seq\":18446744073709551615,\"hash\":\"ab000000000000000000000000000000"
                        "00000000000000000000000000000000\",\"at\":\"1970-01-01T12:00:00Z\"}");
}

static void
test_head_nats_warns_once_and_tries_until_it_is_stored(void **state)
{
    struct stream stream = {
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, ERR_UNAVAILABLE, 0, 0, "", NULL};
    struct head_nats *head_nats = start(&stream, OFTEN_MS);
    char down[32];

    (void)state;
    tell(head_nats, 7);
    wait_attempts(&stream, 5);
    snprintf(down, sizeof(down), "down with %d", (int)ERR_UNAVAILABLE);
    assert_int_equal(count_lines(LOG_WARNING, down), 1);
    answer_with(&stream, ERR_NOT_FOUND, 3);
    snprintf(down, sizeof(down), "down with %d", (int)ERR_NOT_FOUND);
    assert_int_equal(count_lines(LOG_WARNING, down), 1);
    answer_with(&stream, ERR_OK, 1);
    head_nats_stop(head_nats);
    assert_int_equal(stream.stored, 1);
    assert_int_equal(count_lines(LOG_INFO, "seq 7 published to a stream"), 1);
}

static void
test_head_nats_publishes_the_newest_head_alone(void **state)
{
    struct stream stream = {
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, ERR_UNAVAILABLE, 0, 0, "", NULL};
    struct head_nats *head_nats = start(&stream, NEVER_MS);

    (void)state;
    tell(head_nats, 1);
    wait_attempts(&stream, 1);
    tell(head_nats, 2); /* does not wait for the next try */
    wait_attempts(&stream, 2);
    pthread_mutex_lock(&stream.lock);
    stream.answer = ERR_OK;
    pthread_mutex_unlock(&stream.lock);
    head_nats_stop(head_nats); /* tries once more */
    assert_int_equal(stream.attempts, 3);
    assert_int_equal(stream.stored, 1);
    assert_non_null(strstr(stream.last, "\"seq\":2,"));
}

static void
test_head_nats_keeps_a_head_that_comes_while_it_publishes(void **state)
{
    struct stream stream = {
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, ERR_OK, 0, 0, "", NULL};
    struct head_nats *head_nats = start(&stream, NEVER_MS);

    (void)state;
    stream.meanwhile = head_nats;
    tell(head_nats, 1);
    wait_attempts(&stream, 1);
    head_nats_stop(head_nats);
    assert_int_equal(stream.stored, 2);
    assert_non_null(strstr(stream.last, "\"seq\":2,"));
}

static void
test_head_nats_stops_while_the_stream_is_down(void **state)
{
    struct stream stream = {
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, ERR_UNAVAILABLE, 0, 0, "", NULL};
    struct head_nats *head_nats = start(&stream, NEVER_MS);

    (void)state;
    tell(head_nats, 1);
    head_nats_stop(head_nats);
    assert_in_range(stream.attempts, 1, 2);
    head_nats_stop(start(&stream, NEVER_MS)); /* nothing was told */
    assert_in_range(stream.attempts, 1, 2);
    head_nats_tell(NULL, &(struct chain_head){0}, 0);
    head_nats_stop(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head_nats_publishes_the_head_as_json),
        cmocka_unit_test(test_head_nats_warns_once_and_tries_until_it_is_stored),
        cmocka_unit_test(test_head_nats_publishes_the_newest_head_alone),
        cmocka_unit_test(test_head_nats_keeps_a_head_that_comes_while_it_publishes),
        cmocka_unit_test(test_head_nats_stops_while_the_stream_is_down),
    };
    const struct log_options options = {.level = LOG_INFO};

    log_init(&options);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
