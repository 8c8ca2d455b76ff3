/* Bodies: every kind of member, and what is said when one does not fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <string.h>

#include "api/body.h"
#include "base/buf.h"
#include "codec/decimal.h"

struct sample {
    struct slice name;
    int64_t credits;
    int64_t ttl_ms;
    double latency_ms;
    bool overrun;
    struct slice metadata;
    struct body_params params;
};

static const struct body_field fields[] = {
    {"name", "title", BODY_TEXT, offsetof(struct sample, name), 1, 8},
    {"credits", NULL, BODY_CREDITS, offsetof(struct sample, credits), 0, DECIMAL_MAX},
    {"ttl_ms", NULL, BODY_INT, offsetof(struct sample, ttl_ms), 1, 1000},
    {"latency_ms", NULL, BODY_NUMBER, offsetof(struct sample, latency_ms), 0, 1000000},
    {"overrun", NULL, BODY_BOOL, offsetof(struct sample, overrun), 0, 0},
    {"metadata", NULL, BODY_OBJECT, offsetof(struct sample, metadata), 0, 64},
    {"params", NULL, BODY_PARAMS, offsetof(struct sample, params), 0, 0},
};

enum { FIELD_COUNT = sizeof(fields) / sizeof(fields[0]) };

static struct arena arena;
static struct sample sample;
static uint32_t seen;
static struct err err;

static enum err_code
read_text(const char *text)
{
    arena_fini(&arena);
    arena_init(&arena, 1 << 16);
    sample = (struct sample){0};
    err = (struct err){0};
    return body_read(slice_of(text), fields, FIELD_COUNT, &sample, &seen, &arena, &err);
}

static void
test_body_reads_every_kind(void **state)
{
    (void)state;
    assert_int_equal(
        read_text("{\"name\": \"a\\u0062c\", \"credits\": \"0.000001\", \"ttl_ms\": 1e2, "
                  "\"latency_ms\": 1.5, \"overrun\": true, \"metadata\": {\"a\": [1]}, "
                  "\"params\": {\"candles\": 5000, \"full\": false, \"none\": null, "
                  "\"t\": \"x\"}}"),
        ERR_OK);
    assert_true(slice_is(sample.name, "abc"));
    assert_int_equal(sample.credits, 1);
    assert_int_equal(sample.ttl_ms, 100);
    assert_true(sample.latency_ms == 1.5);
    assert_true(sample.overrun);
    assert_true(slice_is(sample.metadata, "{\"a\": [1]}"));
    assert_int_equal(sample.params.count, 3);
    assert_true(slice_is(sample.params.items[0].name, "candles"));
    assert_true(slice_is(sample.params.items[0].value, "5000"));
    assert_true(slice_is(sample.params.items[1].value, "false"));
    assert_true(slice_is(sample.params.items[2].value, "x"));
    assert_int_equal(seen, (1U << FIELD_COUNT) - 1);
}

static void
test_body_takes_aliases_and_counts_null_as_absent(void **state)
{
    (void)state;
    assert_int_equal(read_text(" {\"title\": \"x\", \"credits\": null} "), ERR_OK);
    assert_true(slice_is(sample.name, "x"));
    assert_int_equal(seen, 1);
    assert_int_equal(read_text("{}"), ERR_OK);
    assert_int_equal(seen, 0);
}

/* Each body is refused as not valid, and the message holds the words. */
static void
test_body_names_field_value_and_what_was_expected(void **state)
{
    static const struct {
        const char *body;
        const char *message;
    } cases[] = {
        {"{\"credits\": -0.5}", "credits is -0.5; expected credits: a number from 0 to "},
        {"{\"credits\": 0.0000001}", "credits is 0.0000001; expected credits: a number from 0 to "
                                     "999999999999.999999 with at most six decimals"},
        {"{\"credits\": 1e400}", "credits is 1e400; expected"},
        {"{\"credits\": \"NaN\"}", "credits is \"NaN\"; expected"},
        {"{\"credits\": 1000000000000}", "credits is 1000000000000; expected"},
        {"{\"credits\": true}", "credits is true; expected"},
        {"{\"name\": \"\"}", "name is \"\"; expected a text of 1 to 8 bytes"},
        {"{\"name\": \"123456789\"}", "name is \"123456789\"; expected a text of 1 to 8 bytes"},
        {"{\"name\": \"a\\u0000b\"}", "name is \"a"},
        {"{\"name\": 5}", "name is 5; expected a text"},
        {"{\"ttl_ms\": 1.5}", "ttl_ms is 1.5; expected an integer from 1 to 1000"},
        {"{\"ttl_ms\": 1001}", "ttl_ms is 1001; expected"},
        {"{\"latency_ms\": 1e400}", "latency_ms is 1e400; expected a number from 0 to 1000000"},
        {"{\"latency_ms\": -1}", "latency_ms is -1; expected"},
        {"{\"overrun\": 1}", "overrun is 1; expected true or false"},
        {"{\"metadata\": [1]}", "metadata is [1]; expected a JSON object"},
        {"{\"params\": {\"a\": {}}}", "params is \"a\"; expected an object of at most 32"},
        {"{\"params\": 3}", "params is 3; expected an object"},
        {"{\"nam\": 3}", "unknown field \"nam\"; expected some of name, credits, ttl_ms"},
        {"{\"name\": \"a\", \"title\": \"b\"}", "name is given twice"},
        {"{\"name\": null, \"name\": \"b\"}", "name is given twice"},
        {"[]", "the body is not a JSON object"},
        {"3", "the body is not a JSON object"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(read_text(cases[i].body), ERR_INVALID);
        if (!strstr(err.msg, cases[i].message)) {
            fail_msg("%s: %s", cases[i].body, err.msg);
        }
    }
}

static void
test_body_says_where_it_is_no_json(void **state)
{
    static const char *const bodies[] = {"{\"credits\": NaN}",
                                         "{\"credits\": 1",
                                         "{\"name\" 1}",
                                         "{}x",
                                         "{\"params\": {\"a\": }}",
                                         "{\"metadata\": {\"a\": tru}}"};

    (void)state;
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        assert_int_equal(read_text(bodies[i]), ERR_SYNTAX);
        assert_non_null(strstr(err.msg, "byte"));
    }
    assert_int_equal(read_text("  "), ERR_SYNTAX);
    assert_non_null(strstr(err.msg, "empty"));
}

/* Cut anywhere, it is refused; nothing is read behind the end. */
static void
test_body_cut_anywhere_is_refused(void **state)
{
    static const char text[] = "{\"name\": \"abc\", \"credits\": 1.5, \"params\": {\"a\": \"b\"}}";
    char cut[sizeof(text)];

    (void)state;
    for (size_t len = 0; len + 1 < sizeof(text); len++) {
        memcpy(cut, text, len);
        cut[len] = '\0';
        assert_int_equal(read_text(cut), ERR_SYNTAX);
    }
}

static void
test_body_takes_32_params_and_no_more(void **state)
{
    struct buf text;

    (void)state;
    for (int extra = 0; extra < 2; extra++) {
        buf_init(&text, 0);
        buf_add_cstr(&text, "{\"params\": {\"a\": 1");
        for (int i = 1; i < BODY_PARAMS_MAX + extra; i++) {
            buf_add_cstr(&text, ", \"a\": 1");
        }
        buf_add(&text, "}}", 3);
        assert_int_equal(read_text(text.ptr), extra ? ERR_INVALID : ERR_OK);
        buf_fini(&text);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_body_reads_every_kind),
        cmocka_unit_test(test_body_takes_aliases_and_counts_null_as_absent),
        cmocka_unit_test(test_body_names_field_value_and_what_was_expected),
        cmocka_unit_test(test_body_says_where_it_is_no_json),
        cmocka_unit_test(test_body_cut_anywhere_is_refused),
        cmocka_unit_test(test_body_takes_32_params_and_no_more),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    arena_fini(&arena);
    return failed;
}
