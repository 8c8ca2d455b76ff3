/* Tests of the JSON writer: commas, escapes, numbers, times, the cap. */
#include "codec/json_write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/id.h"
#include "codec/json_read.h"

static void
test_json_write_puts_commas_where_they_belong(void **state)
{
    BUF_AUTO struct buf buf;
    struct json_writer json;

    (void)state;
    buf_init(&buf, 0);
    json_init(&json, &buf);
    json_object_begin(&json);
    json_key(&json, "a");
    json_array_begin(&json);
    json_array_end(&json);
    json_key(&json, "b");
    json_array_begin(&json);
    json_i64(&json, -1);
    json_object_begin(&json);
    json_object_end(&json);
    json_array_begin(&json);
    json_u64(&json, UINT64_MAX);
    json_bool(&json, true);
    json_array_end(&json);
    json_bool(&json, false);
    json_write_null(&json);
    json_array_end(&json);
    json_key_slice(&json, SLICE_LITERAL("c"));
    json_raw(&json, SLICE_LITERAL("{\"x\":1}"));
    json_key(&json, "d");
    json_cstr(&json, NULL);
    json_key(&json, "e");
    json_cstr(&json, "text");
    json_object_end(&json);
    json_newline(&json);
    json_i64(&json, 5);
    assert_true(slice_is(buf_slice(&buf),
                         "{\"a\":[],\"b\":[-1,{},[18446744073709551615,true],false,null],"
                         "\"c\":{\"x\":1},\"d\":null,\"e\":\"text\"}\n5"));
}

static void
check_string(const char *text, size_t len, const char *expected)
{
    BUF_AUTO struct buf buf;
    struct json_writer json;

    buf_init(&buf, 0);
    json_init(&json, &buf);
    json_str(&json, slice_make(text, len));
    assert_true(slice_is(buf_slice(&buf), expected));
    buf_reset(&buf);
    json_quote(&buf, slice_make(text, len));
    assert_true(slice_is(buf_slice(&buf), expected));
}

static void
test_json_write_escapes_strings(void **state)
{
    (void)state;
    check_string("", 0, "\"\"");
    check_string("plain", 5, "\"plain\"");
    check_string("\"\\/\b\f\n\r\t", 8, "\"\\\"\\\\/\\b\\f\\n\\r\\t\"");
    check_string("\0\x01\x1f\x7f", 4, "\"\\u0000\\u0001\\u001f\x7f\"");
    check_string("\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80", 9,
                 "\"\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80\"");
    check_string("a\xff"
                 "b\xc3",
                 4,
                 "\"a\xef\xbf\xbd"
                 "b\xef\xbf\xbd\"");
}

static void
test_json_write_escapes_wherever_the_character_stands(void **state)
{
    BUF_AUTO struct buf buf;

    (void)state;
    buf_init(&buf, 0);
    for (size_t len = 1; len < 30; len++) {
        for (size_t at = 0; at < len; at++) {
            char text[32];
            memset(text, 'x', len);
            text[at] = '\n';
            buf_reset(&buf);
            json_quote(&buf, slice_make(text, len));
            assert_int_equal(buf.len, len + 3);
            assert_memory_equal(buf.ptr + 1 + at, "\\n", 2);
        }
    }
}

static void
test_json_write_any_bytes_make_json_that_reads_back(void **state)
{
    BUF_AUTO struct buf buf;
    ARENA_AUTO struct arena arena;
    struct rng rng;

    (void)state;
    rng_init(&rng, 31);
    buf_init(&buf, 0);
    arena_init(&arena, 1 << 20);
    for (int i = 0; i < 20000; i++) {
        char text[24];
        struct json_reader json;
        struct scalar value;
        size_t len = rng_below(&rng, sizeof(text));
        uint64_t range = i % 2 ? 0x80 : 0x100;
        for (size_t at = 0; at < len; at++) {
            text[at] = (char)rng_below(&rng, range);
        }
        buf_reset(&buf);
        arena_reset(&arena);
        json_quote(&buf, slice_make(text, len));
        json_read_init(&json, buf_slice(&buf), &arena);
        assert_true(json_read_value(&json, &value));
        assert_int_equal(value.type, SCALAR_STRING);
        assert_true(json_read_end(&json));
        if (i % 2) {
            assert_true(slice_eq(value.text, slice_make(text, len)));
        }
    }
}

static void
test_json_write_numbers_and_times(void **state)
{
    BUF_AUTO struct buf buf;
    struct json_writer json;

    (void)state;
    buf_init(&buf, 0);
    json_init(&json, &buf);
    json_array_begin(&json);
    json_f64(&json, 101.25);
    json_f64(&json, 100);
    json_f64(&json, -0.1);
    json_f64(&json, NAN);
    json_f64(&json, INFINITY);
    json_i64(&json, INT64_MIN);
    json_time_us(&json, 0);
    json_time_us(&json, 1500000);
    json_array_end(&json);
    assert_true(slice_is(buf_slice(&buf),
                         "[101.25,100.0,-0.1,null,null,-9223372036854775808,"
                         "\"1970-01-01T00:00:00\",\"1970-01-01T00:00:01.500000\"]"));
}

static void
write_all_kinds(struct buf *buf)
{
    struct json_writer json;

    json_init(&json, buf);
    json_object_begin(&json);
    json_key(&json, "k\n");
    json_array_begin(&json);
    json_str(&json, SLICE_LITERAL("some \"text\" \xff"));
    json_f64(&json, 0.30000000000000004);
    json_i64(&json, INT64_MIN);
    json_u64(&json, UINT64_MAX);
    json_time_us(&json, 1);
    json_bool(&json, false);
    json_write_null(&json);
    json_raw(&json, SLICE_LITERAL("[]"));
    json_array_end(&json);
    json_object_end(&json);
}

static void
test_json_write_over_any_cap_sets_overflow_and_stays_within(void **state)
{
    BUF_AUTO struct buf whole;

    (void)state;
    buf_init(&whole, 0);
    write_all_kinds(&whole);
    assert_true(json_valid(buf_slice(&whole)));
    for (size_t cap = 1; cap < whole.len; cap++) {
        BUF_AUTO struct buf buf;
        buf_init(&buf, cap);
        write_all_kinds(&buf);
        assert_true(buf.overflow);
        assert_true(buf.len <= cap);
        assert_memory_equal(buf_slice(&buf).ptr, whole.ptr, buf.len);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_write_puts_commas_where_they_belong),
        cmocka_unit_test(test_json_write_escapes_strings),
        cmocka_unit_test(test_json_write_escapes_wherever_the_character_stands),
        cmocka_unit_test(test_json_write_any_bytes_make_json_that_reads_back),
        cmocka_unit_test(test_json_write_numbers_and_times),
        cmocka_unit_test(test_json_write_over_any_cap_sets_overflow_and_stays_within),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
