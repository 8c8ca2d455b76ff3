/* Tests of the way of a request: limits, compression, idempotency keys, waiting for the applier. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "base/mem.h"
#include "ingest/fake_engine.h"

static struct fake_world *
open_world(enum fake_mode mode, const struct ingest_options *options)
{
    struct fake_world *world = mem_zalloc(1, sizeof(*world));

    fake_world_init(world, mode, options);
    return world;
}

static void
close_world(struct fake_world *world)
{
    fake_world_fini(world);
    free(world);
}

static struct ingest_request
line_request(const char *body)
{
    return (struct ingest_request){.body = slice_of(body), .format = INGEST_LINE};
}

static struct ingest_stats
stats_of(struct fake_world *world)
{
    struct ingest_stats stats;

    ingest_stats(world->ingest, &stats);
    return stats;
}

/* Gzip of `in`, in memory of its own. */
static struct slice
compress_gzip(struct slice in, char **ret_memory)
{
    z_stream stream = {0};
    size_t cap = in.len + 1024;

    *ret_memory = mem_alloc(cap);
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    MEM_AUTO char *copy = mem_strdup(in);
    stream.next_in = (Bytef *)copy;
    stream.avail_in = (uInt)in.len;
    stream.next_out = (Bytef *)*ret_memory;
    stream.avail_out = (uInt)cap;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    size_t len = stream.total_out;
    deflateEnd(&stream);
    return slice_make(*ret_memory, len);
}

static void
test_submit_takes_gzip_bodies(void **state)
{
    struct fake_world *world = open_world(FAKE_INSTANT, NULL);
    MEM_AUTO char *memory = NULL;
    struct ingest_request request = line_request("");

    (void)state;
    request.body = compress_gzip(slice_of("m value=1\nm value=2\n"), &memory);
    request.gzip = true;
    assert_int_equal(fake_world_submit(world, &request)->code, ERR_OK);
    assert_int_equal(world->answer.answer.accepted, 2);
    /* Cut anywhere it is refused. */
    for (size_t cut = 0; cut < request.body.len; cut++) {
        struct ingest_request less = request;
        less.body.len = cut;
        assert_int_equal(fake_world_submit(world, &less)->code, ERR_SYNTAX);
    }
    request.body = slice_of("m value=1\n");
    assert_int_equal(fake_world_submit(world, &request)->code, ERR_SYNTAX);
    assert_int_equal(world->engine.record_count, 1);
    assert_int_equal(stats_of(world).inflight_bytes, 0);
    close_world(world);
}

static void
test_submit_refuses_a_gzip_bomb_by_the_limits_name(void **state)
{
    struct ingest_options options = {.request_bytes_max = 100000};
    struct fake_world *world = open_world(FAKE_INSTANT, &options);
    MEM_AUTO char *zeros = mem_zalloc(10000000, 1);
    MEM_AUTO char *memory = NULL;
    struct ingest_request request = line_request("");

    (void)state;
    memset(zeros, '\n', 10000000);
    request.body = compress_gzip(slice_make(zeros, 10000000), &memory);
    request.gzip = true;
    assert_true(request.body.len < 100000);
    assert_int_equal(fake_world_submit(world, &request)->code, ERR_TOO_LARGE);
    assert_string_equal(world->answer.err.msg, "the body has more bytes than the limit "
                                               "request_bytes_max, 100000, when decompressed");
    assert_int_equal(stats_of(world).inflight_bytes, 0);
    close_world(world);
}

static void
test_submit_refuses_a_body_over_the_limit(void **state)
{
    struct ingest_options options = {.request_bytes_max = 9};
    struct fake_world *world = open_world(FAKE_INSTANT, &options);

    (void)state;
    assert_int_equal(fake_world_line(world, "m value=1")->code, ERR_OK);
    assert_int_equal(fake_world_line(world, "m value=10")->code, ERR_TOO_LARGE);
    assert_string_equal(world->answer.err.msg,
                        "the body has 10 bytes; the limit request_bytes_max is 9");
    assert_int_equal(stats_of(world).requests, 2);
    assert_int_equal(stats_of(world).requests_refused, 1);
    close_world(world);
}

static void
test_submit_refuses_more_than_a_record_can_hold(void **state)
{
    struct fake_world *world = open_world(FAKE_INSTANT, NULL);
    enum { FIELDS = 4000, LINES = 700 };
    BUF_AUTO struct buf body;
    struct ingest_request request = line_request("");

    (void)state;
    buf_init(&body, 0);
    for (int line = 0; line < LINES; line++) {
        buf_add_cstr(&body, "m ");
        for (int i = 0; i < FIELDS; i++) {
            buf_add_cstr(&body, i ? ",a=1" : "a=1");
        }
        buf_add_char(&body, '\n');
    }
    request.body = buf_slice(&body);
    assert_int_equal(fake_world_submit(world, &request)->code, ERR_TOO_LARGE);
    assert_string_equal(world->answer.err.msg, "too many rows for one log record of at most 48 "
                                               "MiB; send them in parts");
    assert_int_equal(world->engine.record_count, 0);
    close_world(world);
}

static void
test_submit_refuses_while_too_many_bytes_are_in_flight(void **state)
{
    struct ingest_options options = {.inflight_bytes_max = 300};
    struct fake_world *world = open_world(FAKE_HELD, &options);
    struct fake_answer first;
    struct ingest_request request = line_request("m value=1\nm value=2\n");

    (void)state;
    fake_answer_init(&first);
    /* One alone goes through, though its record and columns are over the limit. */
    ingest_submit(world->ingest, &request, fake_answer_done, &first);
    assert_int_equal(world->engine.held_count, 1);
    assert_true(stats_of(world).inflight_bytes > 300);
    assert_int_equal(fake_world_submit(world, &request)->code, ERR_BUSY);
    assert_non_null(strstr(world->answer.err.msg, "the limit inflight_bytes_max is 300"));
    assert_true(world->answer.answer.retry_after_s > 0);
    fake_engine_complete(&world->engine, 0, ERR_OK);
    assert_int_equal(first.calls, 1);
    assert_int_equal(first.answer.code, ERR_OK);
    assert_int_equal(stats_of(world).inflight_bytes, 0);
    fake_world_submit(world, &request);
    assert_int_equal(world->engine.held_count, 1);
    fake_engine_complete(&world->engine, 0, ERR_OK);
    assert_int_equal(world->answer.answer.code, ERR_OK);
    fake_answer_fini(&first);
    close_world(world);
}

static void
test_submit_refuses_while_the_store_is_behind(void **state)
{
    struct ingest_options options = {.unapplied_bytes_max = 1000};
    struct fake_world *world = open_world(FAKE_INSTANT, &options);

    (void)state;
    world->engine.status.unapplied_bytes = 1001;
    assert_int_equal(fake_world_line(world, "m value=1")->code, ERR_BUSY);
    assert_string_equal(world->answer.err.msg,
                        "the store is 1001 bytes behind the log; the limit unapplied_bytes_max is "
                        "1000; try again when it has caught up");
    assert_int_equal(world->answer.answer.retry_after_s, RETRY_BEHIND_S);
    assert_int_equal(world->engine.record_count, 0);
    /* The engine is not asked for every request; but soon. */
    world->engine.status.unapplied_bytes = 1000;
    uint64_t calls = world->engine.status_calls;
    assert_int_equal(fake_world_line(world, "m value=1")->code, ERR_BUSY);
    assert_int_equal(world->engine.status_calls, calls);
    clock_manual_advance(&world->clock, 20000);
    assert_int_equal(fake_world_line(world, "m value=1")->code, ERR_OK);
    assert_int_equal(world->engine.status_calls, calls + 1);
    close_world(world);
}

static void
assert_log_failure(enum err_code of_log, enum err_code answered, int retry_after_s)
{
    struct fake_world *world = open_world(FAKE_INSTANT, NULL);

    world->engine.fail_with = of_log;
    const struct ingest_answer *answer = fake_world_line(world, "m value=1");
    assert_int_equal(answer->code, answered);
    assert_int_equal(answer->accepted, 0);
    assert_int_equal(answer->lsn, 0);
    assert_int_equal(answer->retry_after_s, retry_after_s);
    assert_string_equal(world->answer.err.msg, "nothing was written: the disk of the test failed");
    assert_int_equal(stats_of(world).requests_refused, 1);
    assert_int_equal(stats_of(world).rows, 0);
    assert_int_equal(stats_of(world).inflight_bytes, 0);
    close_world(world);
}

static void
test_submit_answers_a_failed_log_with_what_to_do(void **state)
{
    (void)state;
    assert_log_failure(ERR_BUSY, ERR_BUSY, RETRY_BUSY_S);
    assert_log_failure(ERR_NO_SPACE, ERR_NO_SPACE, RETRY_NO_SPACE_S);
    assert_log_failure(ERR_UNAVAILABLE, ERR_UNAVAILABLE, RETRY_UNAVAILABLE_S);
    assert_log_failure(ERR_IO, ERR_UNAVAILABLE, RETRY_UNAVAILABLE_S);
}

static struct ingest_request
key_request(const char *key, const char *body)
{
    struct ingest_request request = line_request(body);

    request.idempotency_key = slice_of(key);
    return request;
}

static void
test_key_travels_in_the_record_of_its_rows(void **state)
{
    struct fake_world *world = open_world(FAKE_INSTANT, NULL);
    struct ingest_request request = key_request("key-1", "m value=1\nm value=x\n");
    struct batch batch;

    (void)state;
    request.skip_bad_rows = true;
    assert_int_equal(fake_world_submit(world, &request)->code, ERR_OK);
    assert_true(fake_engine_batch(&world->engine, 0, TABLE_IDEMPOTENCY, &batch));
    assert_int_equal(batch.rows, 1);
    assert_true(slice_is(batch_get_text(&batch, IDEMPOTENCY_KEY, 0), "key-1"));
    assert_int_equal(batch_get_text(&batch, IDEMPOTENCY_PAYLOAD_HASH, 0).len, IDEMPOTENCY_HEX);
    assert_int_equal(batch_get_i64(&batch, IDEMPOTENCY_ACCEPTED, 0), 1);
    assert_int_equal(batch_get_i64(&batch, IDEMPOTENCY_REJECTED, 0), 1);
    assert_int_equal(batch_get_i64(&batch, IDEMPOTENCY_AT, 0), FAKE_NOW_US);
    batch_fini(&batch);
    close_world(world);
}

static void
test_key_again_is_answered_the_same_and_written_once(void **state)
{
    struct fake_world *world = open_world(FAKE_INSTANT, NULL);
    struct ingest_request request = key_request("key-1", "m value=1\nm value=2\n");

    (void)state;
    assert_false(fake_world_submit(world, &request)->replayed);
    fake_world_line(world, "m value=3\n");
    const struct ingest_answer *answer = fake_world_submit(world, &request);
    assert_int_equal(answer->code, ERR_OK);
    assert_true(answer->replayed);
    assert_int_equal(answer->accepted, 2);
    assert_int_equal(answer->lsn, 1);
    assert_int_equal(world->engine.record_count, 2);
    assert_int_equal(stats_of(world).idempotent_replays, 1);
    assert_int_equal(stats_of(world).rows, 3);
    close_world(world);
}

static void
test_key_with_other_rows_table_or_precision_conflicts(void **state)
{
    struct fake_world *world = open_world(FAKE_INSTANT, NULL);
    struct ingest_request request = key_request("key-1", "m value=1\n");

    (void)state;
    assert_int_equal(fake_world_submit(world, &request)->code, ERR_OK);
    struct ingest_request other = key_request("key-1", "m value=2\n");
    assert_int_equal(fake_world_submit(world, &other)->code, ERR_CONFLICT);
    assert_string_equal(world->answer.err.msg,
                        "Idempotency-Key \"key-1\" was used with another request; use a new key "
                        "for new rows");
    other = request;
    other.precision = PRECISION_MS;
    assert_int_equal(fake_world_submit(world, &other)->code, ERR_CONFLICT);
    other = key_request("key-2", "{\"symbol\":\"A\"}");
    other.format = INGEST_JSON;
    other.table = catalog_table(TABLE_MARKET_DATA);
    assert_int_equal(fake_world_submit(world, &other)->code, ERR_OK);
    other.table = catalog_table(TABLE_CANDLES);
    assert_int_equal(fake_world_submit(world, &other)->code, ERR_CONFLICT);
    assert_int_equal(world->engine.record_count, 2);
    close_world(world);
}

static void
test_key_of_a_refused_or_failed_request_is_free_again(void **state)
{
    struct fake_world *world = open_world(FAKE_INSTANT, NULL);
    struct ingest_request bad = key_request("key-1", "m value=x\n");
    struct ingest_request good = key_request("key-1", "m value=1\n");

    (void)state;
    assert_int_equal(fake_world_submit(world, &bad)->code, ERR_INVALID);
    world->engine.fail_with = ERR_NO_SPACE;
    assert_int_equal(fake_world_submit(world, &good)->code, ERR_NO_SPACE);
    world->engine.fail_with = ERR_OK;
    assert_int_equal(fake_world_submit(world, &good)->code, ERR_OK);
    assert_false(world->answer.answer.replayed);
    assert_true(fake_world_submit(world, &good)->replayed);
    close_world(world);
}

static void
test_key_that_is_too_long_or_no_text_is_refused(void **state)
{
    struct fake_world *world = open_world(FAKE_INSTANT, NULL);
    char key[257] = {0};

    (void)state;
    memset(key, 'k', 255);
    struct ingest_request request = key_request(key, "m value=1\n");
    assert_int_equal(fake_world_submit(world, &request)->code, ERR_OK);
    key[255] = 'k';
    request.idempotency_key = slice_of(key);
    assert_int_equal(fake_world_submit(world, &request)->code, ERR_INVALID);
    assert_string_equal(world->answer.err.msg,
                        "Idempotency-Key has 256 bytes; at most 255 are allowed");
    request.idempotency_key = slice_of("\xff");
    assert_int_equal(fake_world_submit(world, &request)->code, ERR_INVALID);
    close_world(world);
}

static void
check_attached(enum err_code outcome, enum err_code answered)
{
    struct fake_world *world = open_world(FAKE_HELD, NULL);
    struct ingest_request request = key_request("key-1", "m value=1\n");
    struct fake_answer answers[3];

    for (int i = 0; i < 3; i++) {
        fake_answer_init(&answers[i]);
        ingest_submit(world->ingest, &request, fake_answer_done, &answers[i]);
    }
    assert_int_equal(world->engine.held_count, 1);
    struct ingest_request other = key_request("key-1", "m value=2\n");
    assert_int_equal(fake_world_submit(world, &other)->code, ERR_CONFLICT);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(answers[i].calls, 0);
    }
    fake_engine_complete(&world->engine, 0, outcome);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(answers[i].calls, 1);
        assert_int_equal(answers[i].answer.code, answered);
        assert_int_equal(answers[i].answer.accepted, outcome == ERR_OK);
        assert_int_equal(answers[i].answer.lsn, outcome == ERR_OK);
        assert_int_equal(answers[i].answer.replayed, outcome == ERR_OK && i > 0);
        fake_answer_fini(&answers[i]);
    }
    assert_int_equal(world->ingest->active, 0);
    close_world(world);
}

static void
test_key_in_flight_is_answered_together_with_the_first(void **state)
{
    (void)state;
    check_attached(ERR_OK, ERR_OK);
    check_attached(ERR_IO, ERR_UNAVAILABLE);
}

static void
test_applied_answers_when_the_store_has_the_rows(void **state)
{
    struct fake_world *world = open_world(FAKE_INSTANT, NULL);
    struct ingest_request request = line_request("m value=1\nm value=x\n");

    (void)state;
    request.wait_applied = true;
    request.skip_bad_rows = true;
    const struct ingest_answer *answer = fake_world_submit(world, &request);
    assert_int_equal(world->answer.calls, 0);
    assert_int_equal(stats_of(world).inflight_bytes, 0);
    fake_engine_apply(&world->engine, 1, true);
    assert_int_equal(world->answer.calls, 1);
    assert_int_equal(answer->code, ERR_OK);
    assert_int_equal(answer->lsn, 1);
    assert_int_equal(answer->rejected, 1);
    assert_int_equal(answer->error_count, 1);
    /* Nothing to write is nothing to wait for. */
    request.body = slice_of("\n");
    fake_world_submit(world, &request);
    assert_int_equal(world->answer.calls, 1);
    close_world(world);
}

static void
test_applied_is_also_waited_for_by_a_replay(void **state)
{
    struct fake_world *world = open_world(FAKE_HELD, NULL);
    struct ingest_request request = key_request("key-1", "m value=1\n");
    struct fake_answer first;
    struct fake_answer attached;

    (void)state;
    fake_answer_init(&first);
    fake_answer_init(&attached);
    ingest_submit(world->ingest, &request, fake_answer_done, &first);
    request.wait_applied = true;
    ingest_submit(world->ingest, &request, fake_answer_done, &attached);
    fake_engine_complete(&world->engine, 0, ERR_OK);
    assert_int_equal(first.calls, 1);
    assert_int_equal(attached.calls, 0);
    fake_world_submit(world, &request);
    assert_int_equal(world->answer.calls, 0);
    fake_engine_apply(&world->engine, 1, true);
    assert_int_equal(attached.calls, 1);
    assert_true(attached.answer.replayed);
    assert_int_equal(world->answer.calls, 1);
    assert_true(world->answer.answer.replayed);
    fake_world_submit(world, &request);
    assert_int_equal(world->answer.calls, 1);
    fake_answer_fini(&first);
    fake_answer_fini(&attached);
    close_world(world);
}

static void
test_applied_that_never_comes_is_answered_when_the_engine_closes(void **state)
{
    struct fake_world *world = open_world(FAKE_INSTANT, NULL);
    struct ingest_request request = line_request("m value=1\n");

    (void)state;
    request.wait_applied = true;
    fake_world_submit(world, &request);
    fake_engine_apply(&world->engine, 0, false);
    assert_int_equal(world->answer.calls, 1);
    assert_int_equal(world->answer.answer.code, ERR_UNAVAILABLE);
    assert_int_equal(world->answer.answer.lsn, 1);
    close_world(world);
}

static void
test_close_gives_up_waiting_for_a_stalled_store(void **state)
{
    struct fake_world *world = open_world(FAKE_INSTANT, NULL);
    struct ingest_request request = line_request("m value=1\n");
    struct fake_answer second;

    (void)state;
    request.wait_applied = true;
    fake_answer_init(&second);
    fake_world_submit(world, &request);
    ingest_submit(world->ingest, &request, fake_answer_done, &second);
    world->engine.wait_code = ERR_TIMEOUT;
    ingest_close(world->ingest);
    assert_int_equal(world->answer.calls, 1);
    assert_int_equal(world->answer.answer.code, ERR_UNAVAILABLE);
    assert_int_equal(world->answer.answer.lsn, 1);
    assert_string_equal(world->answer.err.msg,
                        "the rows are durable (LSN 1), but the server stops before the store has "
                        "them; it will after the next start");
    assert_int_equal(second.calls, 1);
    /* The engine's own call comes later and must find nobody. */
    fake_engine_apply(&world->engine, 0, false);
    assert_int_equal(world->answer.calls, 1);
    fake_answer_fini(&second);
    fake_answer_fini(&world->answer);
    fake_engine_fini(&world->engine);
    free(world);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_submit_takes_gzip_bodies),
        cmocka_unit_test(test_submit_refuses_a_gzip_bomb_by_the_limits_name),
        cmocka_unit_test(test_submit_refuses_a_body_over_the_limit),
        cmocka_unit_test(test_submit_refuses_more_than_a_record_can_hold),
        cmocka_unit_test(test_submit_refuses_while_too_many_bytes_are_in_flight),
        cmocka_unit_test(test_submit_refuses_while_the_store_is_behind),
        cmocka_unit_test(test_submit_answers_a_failed_log_with_what_to_do),
        cmocka_unit_test(test_key_travels_in_the_record_of_its_rows),
        cmocka_unit_test(test_key_again_is_answered_the_same_and_written_once),
        cmocka_unit_test(test_key_with_other_rows_table_or_precision_conflicts),
        cmocka_unit_test(test_key_of_a_refused_or_failed_request_is_free_again),
        cmocka_unit_test(test_key_that_is_too_long_or_no_text_is_refused),
        cmocka_unit_test(test_key_in_flight_is_answered_together_with_the_first),
        cmocka_unit_test(test_applied_answers_when_the_store_has_the_rows),
        cmocka_unit_test(test_applied_is_also_waited_for_by_a_replay),
        cmocka_unit_test(test_applied_that_never_comes_is_answered_when_the_engine_closes),
        cmocka_unit_test(test_close_gives_up_waiting_for_a_stalled_store),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
