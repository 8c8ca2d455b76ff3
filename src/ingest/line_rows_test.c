/* Tests of line protocol: samples, rows of trading tables, and what each bad line is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "ingest/fake_engine.h"

static struct fake_world *
open_world(void)
{
    struct fake_world *world = mem_zalloc(1, sizeof(*world));

    fake_world_init(world, FAKE_INSTANT, NULL);
    return world;
}

static void
close_world(struct fake_world *world)
{
    fake_world_fini(world);
    free(world);
}

static void
assert_series(struct fake_world *world, int32_t id, const char *name, const char *symbol,
              const char *labels)
{
    struct slice got_name;
    struct slice got_symbol;
    struct slice got_labels;

    assert_true(ingest_series(world->ingest, id, &got_name, &got_symbol, &got_labels));
    assert_true(slice_is(got_name, name));
    assert_true(slice_is(got_symbol, symbol));
    assert_true(slice_is(got_labels, labels));
}

static void
assert_sample(const struct batch *samples, size_t row, int32_t id, int64_t us, double value)
{
    assert_true(row < samples->rows);
    assert_int_equal(batch_get_i64(samples, 0, row), id);
    assert_int_equal(batch_get_i64(samples, 1, row), us);
    assert_true(batch_get_f64(samples, 2, row) == value);
}

static void
test_line_fields_become_samples_of_their_series(void **state)
{
    struct fake_world *world = open_world();
    struct batch samples;
    const struct ingest_answer *answer =
        fake_world_line(world, "cpu,host=a,symbol=AAPL usage=1.5,cores=4i 1767323045000001999\n"
                               "load,host=a value=0.25\n"
                               "load,host=a value=t,big=18446744073709551615u,neg=-3i\n");

    (void)state;
    assert_int_equal(answer->code, ERR_OK);
    assert_int_equal(answer->accepted, 3);
    assert_int_equal(answer->lsn, 1);
    assert_series(world, 1, "cpu_usage", "AAPL", "{\"host\":\"a\"}");
    assert_series(world, 2, "cpu_cores", "AAPL", "{\"host\":\"a\"}");
    assert_series(world, 3, "load", "", "{\"host\":\"a\"}");
    assert_series(world, 4, "load_big", "", "{\"host\":\"a\"}");
    assert_series(world, 5, "load_neg", "", "{\"host\":\"a\"}");
    assert_true(fake_engine_batch(&world->engine, 0, TABLE_SAMPLES, &samples));
    assert_int_equal(samples.rows, 6);
    assert_sample(&samples, 0, 1, FAKE_NOW_US + 1, 1.5);
    assert_sample(&samples, 1, 2, FAKE_NOW_US + 1, 4);
    assert_sample(&samples, 2, 3, FAKE_NOW_US, 0.25);
    assert_sample(&samples, 3, 3, FAKE_NOW_US, 1);
    assert_sample(&samples, 4, 4, FAKE_NOW_US, 18446744073709551615.0);
    assert_sample(&samples, 5, 5, FAKE_NOW_US, -3);
    batch_fini(&samples);
    close_world(world);
}

static void
assert_time(enum ingest_precision precision, const char *stamp, int64_t us)
{
    struct fake_world *world = open_world();
    struct batch samples;
    char body[100];
    struct ingest_request request = {.format = INGEST_LINE, .precision = precision};

    snprintf(body, sizeof(body), "m value=1 %s", stamp);
    request.body = slice_of(body);
    assert_int_equal(fake_world_submit(world, &request)->code, ERR_OK);
    assert_true(fake_engine_batch(&world->engine, 0, TABLE_SAMPLES, &samples));
    assert_sample(&samples, 0, 1, us, 1);
    batch_fini(&samples);
    close_world(world);
}

static void
test_line_times_are_of_the_precision_nanoseconds_by_default(void **state)
{
    (void)state;
    assert_time(PRECISION_AUTO_US, "1767323045000001999", FAKE_NOW_US + 1);
    assert_time(PRECISION_NS, "1767323045000001999", FAKE_NOW_US + 1);
    assert_time(PRECISION_NS, "-1", -1);
    assert_time(PRECISION_US, "1767323045000001", FAKE_NOW_US + 1);
    assert_time(PRECISION_MS, "1767323045001", FAKE_NOW_US + 1000);
    assert_time(PRECISION_S, "1767323046", FAKE_NOW_US + 1000000);
}

static void
test_line_tags_in_any_order_are_one_series(void **state)
{
    struct fake_world *world = open_world();

    (void)state;
    fake_world_line(world, "m,a=1,b=2 value=1\nm,b=2,a=1 value=2\nm,b=2,symbol=S,a=1 value=3\n");
    struct ingest_stats stats;
    ingest_stats(world->ingest, &stats);
    assert_int_equal(stats.series, 2);
    assert_series(world, 1, "m", "", "{\"a\":\"1\",\"b\":\"2\"}");
    assert_series(world, 2, "m", "S", "{\"a\":\"1\",\"b\":\"2\"}");
    close_world(world);
}

static void
test_line_escapes_are_taken_out_of_names_and_values(void **state)
{
    struct fake_world *world = open_world();

    (void)state;
    assert_int_equal(fake_world_line(world, "my\\ cpu\\,x,ho\\ st=a\\,b\\=c f\\ 1=1\n")->code,
                     ERR_OK);
    assert_series(world, 1, "my cpu,x_f 1", "", "{\"ho st\":\"a,b=c\"}");
    /* Once more, now from the cache. */
    assert_int_equal(fake_world_line(world, "my\\ cpu\\,x,ho\\ st=a\\,b\\=c f\\ 1=1\n")->code,
                     ERR_OK);
    struct ingest_stats stats;
    ingest_stats(world->ingest, &stats);
    assert_int_equal(stats.series, 1);
    close_world(world);
}

static void
test_line_definition_goes_along_until_it_is_durable(void **state)
{
    struct fake_world *world = open_world();
    struct batch batch;

    (void)state;
    world->engine.fail_with = ERR_IO;
    assert_int_equal(fake_world_line(world, "m value=1\n")->code, ERR_UNAVAILABLE);
    world->engine.fail_with = ERR_OK;
    fake_world_line(world, "m value=2\nm value=3\n");
    fake_world_line(world, "m value=4\n");
    assert_true(fake_engine_batch(&world->engine, 0, TABLE_SERIES, &batch));
    assert_int_equal(batch.rows, 1);
    assert_int_equal(batch_get_i64(&batch, 0, 0), 1);
    batch_fini(&batch);
    assert_false(fake_engine_batch(&world->engine, 1, TABLE_SERIES, &batch));
    close_world(world);
}

static void
test_line_of_a_trading_table_is_a_row_of_it(void **state)
{
    struct fake_world *world = open_world();
    struct batch batch;
    const struct ingest_answer *answer = fake_world_line(
        world, "trades,symbol=AAPL,side=buy quantity=10,price=101.5,trade_id=\"t \\\"1\\\"\" "
               "1767323045000000000\n"
               "market_data,symbol=BRK\\ B last_price=1,volume=5i,trades=2u,bid=3\n"
               "trades,symbol=MSFT,side=sell,price=2.5 quantity=1,latency_ms=2,"
               "timestamp=1767323045000000001i\n");

    (void)state;
    assert_int_equal(answer->code, ERR_OK);
    assert_int_equal(answer->accepted, 3);
    assert_true(fake_engine_batch(&world->engine, 0, TABLE_TRADES, &batch));
    assert_int_equal(batch.rows, 2);
    assert_true(slice_is(batch_get_text(&batch, 0, 0), "t \"1\""));
    assert_int_equal(batch_get_i64(&batch, 1, 0), FAKE_NOW_US);
    assert_true(slice_is(batch_get_text(&batch, 2, 0), "AAPL"));
    assert_true(slice_is(batch_get_text(&batch, 3, 0), "buy"));
    assert_true(batch_get_f64(&batch, 4, 0) == 10);
    assert_true(batch_get_f64(&batch, 5, 0) == 101.5);
    assert_int_equal(batch_get_text(&batch, 0, 1).len, ID_UUID_LEN);
    assert_int_equal(batch_get_i64(&batch, 1, 1), FAKE_NOW_US);
    assert_true(batch_get_f64(&batch, 5, 1) == 2.5);
    batch_fini(&batch);
    assert_true(fake_engine_batch(&world->engine, 0, TABLE_MARKET_DATA, &batch));
    assert_true(slice_is(batch_get_text(&batch, 1, 0), "BRK B"));
    assert_int_equal(batch_get_i64(&batch, 5, 0), 5);
    assert_int_equal(batch_get_i64(&batch, 6, 0), 2);
    batch_fini(&batch);
    assert_false(fake_engine_batch(&world->engine, 0, TABLE_SAMPLES, &batch));
    close_world(world);
}

static void
test_line_measurement_metrics_is_no_table(void **state)
{
    struct fake_world *world = open_world();

    (void)state;
    assert_int_equal(fake_world_line(world, "metrics value=1\nsamples x=1\n")->code, ERR_OK);
    assert_series(world, 1, "metrics", "", "");
    assert_series(world, 2, "samples_x", "", "");
    close_world(world);
}

static void
assert_line_error(const char *line, const char *field, const char *value, const char *expected)
{
    struct fake_world *world = open_world();
    char body[400];

    snprintf(body, sizeof(body), "ok value=1\n%s\n", line);
    const struct ingest_answer *answer = fake_world_line(world, body);
    assert_int_equal(answer->code, ERR_INVALID);
    assert_int_equal(answer->rejected, 1);
    assert_int_equal(answer->error_count, 1);
    assert_int_equal(answer->errors[0].row, 1);
    assert_true(slice_is(answer->errors[0].field, field));
    assert_true(slice_is(answer->errors[0].value, value));
    char text[ROW_ERROR_EXPECTED_MAX + 1];
    assert_true(slice_to_cstr(answer->errors[0].expected, text, sizeof(text)));
    assert_string_equal(text, expected);
    assert_int_equal(world->engine.record_count, 0);
    close_world(world);
}

static void
test_line_that_is_malformed_says_what_was_expected(void **state)
{
    (void)state;
    assert_line_error("cpu", "", "", "a field: key=value");
    assert_line_error("cpu usage=abc", "", "abc",
                      "a field value: 1.5, 1i, 1u, \"text\", true or false");
    assert_line_error("cpu usage=1 soon", "", "soon", "a timestamp: an integer that fits 64 bits");
    assert_line_error(",host=a usage=1", "", ",host=a usage=1", "a measurement");
}

static void
test_line_key_that_is_malformed_is_refused(void **state)
{
    (void)state;
    assert_line_error("cpu,host usage=1", "", "cpu,host", "a tag: key=value");
    assert_line_error("cpu,host= usage=1", "", "cpu,host=", "a value behind '=' of a tag");
    assert_line_error("cpu\xff usage=1", "", "cpu\xff", "UTF-8");
    assert_line_error("cpu u\x01=1", "", "u\x01", "no control characters in measurement and tags");
}

static void
test_line_time_out_of_range_is_refused(void **state)
{
    struct fake_world *world = open_world();
    struct ingest_request request = {.body = slice_of("m value=1 1767323045000000000"),
                                     .format = INGEST_LINE,
                                     .precision = PRECISION_S};

    (void)state;
    assert_int_equal(fake_world_submit(world, &request)->code, ERR_INVALID);
    const struct ingest_row_error *error = &world->answer.answer.errors[0];
    assert_true(slice_is(error->field, "timestamp"));
    assert_true(slice_is(error->value, "1767323045000000000"));
    assert_true(slice_is(error->expected, "a time in the years 1 to 9999 (is the precision "
                                          "right?)"));
    request.body = slice_of("market_data,symbol=A bid=1 1767323045000000000");
    assert_int_equal(fake_world_submit(world, &request)->code, ERR_INVALID);
    assert_true(slice_is(world->answer.answer.errors[0].field, "timestamp"));
    close_world(world);
}

static void
test_line_text_field_is_refused_or_left_out(void **state)
{
    struct fake_world *world = open_world();
    struct batch samples;
    struct ingest_request request = {.body = slice_of("m a=1,b=\"x\",c=2\nn t=\"only text\"\n"),
                                     .format = INGEST_LINE};
    const struct ingest_answer *answer = fake_world_submit(world, &request);

    (void)state;
    assert_int_equal(answer->code, ERR_INVALID);
    assert_int_equal(answer->rejected, 2);
    assert_true(slice_is(answer->errors[0].field, "b"));
    assert_true(slice_is(answer->errors[0].value, "x"));
    assert_true(slice_is(answer->errors[0].expected,
                         "a number or a boolean; texts cannot be stored as samples"));
    request.skip_bad_rows = true;
    answer = fake_world_submit(world, &request);
    assert_int_equal(answer->code, ERR_OK);
    assert_int_equal(answer->accepted, 1);
    assert_int_equal(answer->rejected, 1);
    assert_int_equal(answer->error_count, 2);
    assert_true(fake_engine_batch(&world->engine, 0, TABLE_SAMPLES, &samples));
    assert_int_equal(samples.rows, 2);
    batch_fini(&samples);
    close_world(world);
}

static void
test_line_of_a_table_checks_its_columns(void **state)
{
    (void)state;
    assert_line_error("market_data,symbol=A last_prise=1", "last_prise", "1",
                      "a column of market_data, did you mean \"last_price\"?");
    assert_line_error("market_data,symbl=A last_price=1", "symbl", "A",
                      "a column of market_data, did you mean \"symbol\"?");
    assert_line_error("market_data,symbol=A last_price=\"x\"", "last_price", "x", "a number");
    assert_line_error("market_data,symbol=A trades=1.5", "trades", "1.5",
                      "an integer from -2147483648 to 2147483647");
    assert_line_error("market_data,symbol=A,trades=many bid=1", "trades", "many",
                      "an integer from -2147483648 to 2147483647");
    assert_line_error("market_data bid=1", "symbol", "", "a text (required)");
}

static void
test_line_skip_leaves_nothing_of_a_bad_row(void **state)
{
    struct fake_world *world = open_world();
    struct batch batch;
    struct ingest_request request = {.body = slice_of("market_data,symbol=A bid=1\n"
                                                      "market_data,symbol=B bid=2,ask=\"x\"\n"
                                                      "market_data,symbol=C bid=3\n"),
                                     .format = INGEST_LINE,
                                     .skip_bad_rows = true};

    (void)state;
    assert_int_equal(fake_world_submit(world, &request)->code, ERR_OK);
    assert_int_equal(world->answer.answer.accepted, 2);
    assert_int_equal(world->answer.answer.rejected, 1);
    assert_int_equal(world->answer.answer.errors[0].row, 1);
    assert_true(fake_engine_batch(&world->engine, 0, TABLE_MARKET_DATA, &batch));
    assert_int_equal(batch.rows, 2);
    assert_true(slice_is(batch_get_text(&batch, 1, 1), "C"));
    batch_fini(&batch);
    close_world(world);
}

static void
test_line_comments_blank_lines_and_crlf_are_fine(void **state)
{
    struct fake_world *world = open_world();
    const struct ingest_answer *answer =
        fake_world_line(world, "# a comment\r\n\r\n  m value=1\r\n\n\nm value=x\r\nm value=2");

    (void)state;
    assert_int_equal(answer->code, ERR_INVALID);
    assert_int_equal(answer->rejected, 1);
    assert_int_equal(answer->errors[0].row, 5);
    answer = fake_world_line(world, "# nothing\n\n");
    assert_int_equal(answer->code, ERR_OK);
    assert_int_equal(answer->accepted, 0);
    assert_int_equal(answer->lsn, 0);
    close_world(world);
}

static void
test_line_new_series_over_the_limit_refuse_all_or_are_left_out(void **state)
{
    struct ingest_options options = {.series_max = 1};
    struct fake_world *world = mem_zalloc(1, sizeof(*world));
    struct ingest_request request = {.body = slice_of("a value=1\nb value=2\na value=3\n"),
                                     .format = INGEST_LINE};

    (void)state;
    fake_world_init(world, FAKE_INSTANT, &options);
    assert_int_equal(fake_world_submit(world, &request)->code, ERR_BUSY);
    assert_string_equal(world->answer.err.msg,
                        "no new series for metric \"b\": the limit series_max (1) is reached; send "
                        "fewer distinct labels or raise it");
    assert_true(world->answer.answer.retry_after_s > 0);
    request.skip_bad_rows = true;
    assert_int_equal(fake_world_submit(world, &request)->code, ERR_OK);
    assert_int_equal(world->answer.answer.accepted, 2);
    assert_int_equal(world->answer.answer.rejected, 1);
    assert_int_equal(world->answer.answer.errors[0].row, 1);
    close_world(world);
}

/* What the cache cannot hold works all the same. */
static void
test_line_with_more_fields_than_the_cache_holds_is_taken_whole(void **state)
{
    enum { FIELDS = SERIES_CACHE_FIELDS_MAX + 50 };
    struct fake_world *world = open_world();
    struct batch samples;
    BUF_AUTO struct buf body;

    (void)state;
    buf_init(&body, 0);
    for (int round = 0; round < 3; round++) {
        buf_add_cstr(&body, "m,host=a ");
        for (int i = 0; i < FIELDS; i++) {
            buf_add_fmt(&body, "%sf%d=%d", i ? "," : "", i, i);
        }
        buf_add_cstr(&body, "\n");
    }
    struct ingest_request request = {.body = buf_slice(&body), .format = INGEST_LINE};
    assert_int_equal(fake_world_submit(world, &request)->code, ERR_OK);
    assert_true(fake_engine_batch(&world->engine, 0, TABLE_SAMPLES, &samples));
    assert_int_equal(samples.rows, 3 * FIELDS);
    for (size_t i = 0; i < samples.rows; i++) {
        assert_sample(&samples, i, (int32_t)(i % FIELDS) + 1, FAKE_NOW_US, (double)(i % FIELDS));
    }
    batch_fini(&samples);
    close_world(world);
}

static void
test_line_without_a_cache_gives_the_same(void **state)
{
    struct fake_world *world = open_world();
    struct batch samples;

    (void)state;
    world->ingest->cache.generations[0].arena.max_bytes = 0;
    world->ingest->cache.generations[1].arena.max_bytes = 0;
    assert_int_equal(fake_world_line(world, "m,h=a x=1,y=2\nm,h=a x=3,y=4\n"
                                            "market_data,symbol=A bid=1\n")
                         ->code,
                     ERR_OK);
    fake_world_json(world, TABLE_METRICS,
                    "{\"metric_name\":\"m_x\",\"value\":5,\"labels\":"
                    "{\"h\":\"a\"}}");
    assert_true(fake_engine_batch(&world->engine, 0, TABLE_SAMPLES, &samples));
    assert_sample(&samples, 0, 1, FAKE_NOW_US, 1);
    assert_sample(&samples, 1, 2, FAKE_NOW_US, 2);
    assert_sample(&samples, 3, 2, FAKE_NOW_US, 4);
    batch_fini(&samples);
    assert_true(fake_engine_batch(&world->engine, 0, TABLE_MARKET_DATA, &samples));
    batch_fini(&samples);
    assert_true(fake_engine_batch(&world->engine, 1, TABLE_SAMPLES, &samples));
    assert_sample(&samples, 0, 1, FAKE_NOW_US, 5);
    batch_fini(&samples);
    close_world(world);
}

static void
test_line_cut_anywhere_is_answered_once(void **state)
{
    static const char body[] = "cpu,host=a\\ b,symbol=S usage=1.5,on=t,s=\"x\\\"y\" 17673230450\n"
                               "market_data,symbol=A bid=1.5,volume=7i\n";
    struct fake_world *world = open_world();

    (void)state;
    for (size_t cut = 0; cut < sizeof(body); cut++) {
        char *copy = mem_alloc(cut);
        memcpy(copy, body, cut);
        struct ingest_request request = {
            .body = slice_make(copy, cut), .format = INGEST_LINE, .skip_bad_rows = true};
        const struct ingest_answer *answer = fake_world_submit(world, &request);
        assert_int_equal(world->answer.calls, 1);
        assert_int_equal(answer->code, ERR_OK);
        assert_true(answer->accepted + answer->rejected <= 2);
        free(copy);
    }
    close_world(world);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line_fields_become_samples_of_their_series),
        cmocka_unit_test(test_line_times_are_of_the_precision_nanoseconds_by_default),
        cmocka_unit_test(test_line_tags_in_any_order_are_one_series),
        cmocka_unit_test(test_line_escapes_are_taken_out_of_names_and_values),
        cmocka_unit_test(test_line_definition_goes_along_until_it_is_durable),
        cmocka_unit_test(test_line_of_a_trading_table_is_a_row_of_it),
        cmocka_unit_test(test_line_measurement_metrics_is_no_table),
        cmocka_unit_test(test_line_that_is_malformed_says_what_was_expected),
        cmocka_unit_test(test_line_key_that_is_malformed_is_refused),
        cmocka_unit_test(test_line_time_out_of_range_is_refused),
        cmocka_unit_test(test_line_text_field_is_refused_or_left_out),
        cmocka_unit_test(test_line_of_a_table_checks_its_columns),
        cmocka_unit_test(test_line_skip_leaves_nothing_of_a_bad_row),
        cmocka_unit_test(test_line_comments_blank_lines_and_crlf_are_fine),
        cmocka_unit_test(test_line_new_series_over_the_limit_refuse_all_or_are_left_out),
        cmocka_unit_test(test_line_with_more_fields_than_the_cache_holds_is_taken_whole),
        cmocka_unit_test(test_line_without_a_cache_gives_the_same),
        cmocka_unit_test(test_line_cut_anywhere_is_answered_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
