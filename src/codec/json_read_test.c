/* Tests of the JSON reader: what RFC 8259 allows and what it does not, cut at every offset. */
#include "codec/json_read.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/id.h"
#include "base/mem.h"

enum { ARENA_BYTES = 1 << 20 };

/* On the heap at its exact length, so that a sanitizer sees a read past the end. */
static bool
valid(const char *text, size_t len)
{
    MEM_AUTO char *copy = mem_alloc(len);

    memcpy(copy, text, len);
    return json_valid(slice_make(copy, len));
}

static void
test_json_read_accepts_what_rfc_8259_allows(void **state)
{
    static const char *const right[] = {
        "{}",
        "[]",
        " [ ] ",
        "\t\r\n{ }\n",
        "0",
        "-0",
        "1",
        "-1",
        "0.5",
        "1e5",
        "1E-5",
        "1.5e+10",
        "123456789012345678901234567890",
        "1e999",
        "true",
        "false",
        "null",
        "\"\"",
        "\"a\"",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
        "\"\\u0000\"",
        "\"\\u00e9\\uABCD\\uabcd\"",
        "\"\\ud83d\\ude00\"",
        "\"\x7f\"",
        "\"\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80\"",
        "[1,2,3]",
        "[1 , 2\n]",
        "{\"a\":1}",
        "{\"a\":{\"b\":[{}]},\"a\":2}",
        "{\"\":null}",
        "[[[[[]]]]]",
        "{\"long key with many bytes\" : \"long text with many bytes\"}"};

    (void)state;
    for (size_t i = 0; i < sizeof(right) / sizeof(*right); i++) {
        assert_true(valid(right[i], strlen(right[i])));
    }
}

static const char *const wrong[] = {"",
                                    " ",
                                    "{",
                                    "}",
                                    "[",
                                    "]",
                                    "[1,]",
                                    "[,1]",
                                    "[1 2]",
                                    "[1",
                                    "{\"a\"}",
                                    "{\"a\":}",
                                    "{\"a\":1,}",
                                    "{,}",
                                    "{a:1}",
                                    "{'a':1}",
                                    "{\"a\" 1}",
                                    "{\"a\":1 \"b\":2}",
                                    "{1:2}",
                                    "{\"a\":1]",
                                    "[1}",
                                    "+1",
                                    "01",
                                    "-01",
                                    "00",
                                    ".5",
                                    "5.",
                                    "-",
                                    "-.5",
                                    "1e",
                                    "1e+",
                                    "1.e5",
                                    "0x10",
                                    "NaN",
                                    "Infinity",
                                    "-Infinity",
                                    "nan",
                                    "tru",
                                    "True",
                                    "nul",
                                    "nulll",
                                    "falsee",
                                    "truefalse",
                                    "\"",
                                    "\"a",
                                    "\"\\",
                                    "\"\\\"",
                                    "\"\\x\"",
                                    "\"\\u\"",
                                    "\"\\u12\"",
                                    "\"\\u12g4\"",
                                    "\"\\ud83d\"",
                                    "\"\\ud83d\\u0041\"",
                                    "\"\\ude00\"",
                                    "\"\\ud83dx\"",
                                    "\"a\nb\"",
                                    "\"a\tb\"",
                                    "\"\x01\"",
                                    "\"\xff\"",
                                    "\"\xc3\"",
                                    "\"\xed\xa0\x80\"",
                                    "\"\xc0\x80\"",
                                    "\"\\\xc3\"",
                                    "[1]]",
                                    "{}{}",
                                    "1 2",
                                    "[\"a\",\n4\n,1,",
                                    "// x\n1",
                                    "/* x */ 1",
                                    "\xef\xbb\xbf{}",
                                    "[1\f]",
                                    "\"a\"b",
                                    "[\"\\uD800\\u\"]",
                                    "[-]",
                                    "[-a]",
                                    "[1eE2]",
                                    "[1.5.5]",
                                    "[1+2]"};

static void
test_json_read_refuses_what_rfc_8259_does_not_allow(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        assert_false(valid(wrong[i], strlen(wrong[i])));
    }
    assert_false(valid("\"a\0b\"", 5));
    assert_false(valid("\0", 1));
}

static void
test_json_read_nesting_is_bounded(void **state)
{
    char text[2 * JSON_DEPTH_MAX + 2];

    (void)state;
    memset(text, '[', JSON_DEPTH_MAX + 1);
    memset(text + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
    assert_false(json_valid(slice_make(text, sizeof(text))));
    assert_true(json_valid(slice_make(text + 1, sizeof(text) - 2)));
}

/* Reads objects of scalars, as ingest does, and adds everything up as text. */
static bool
walk(struct json_reader *json, struct buf *out)
{
    struct scalar value;
    struct slice key;

    while (json_read_more(json)) {
        if (!json_read_value(json, &value)) {
            return false;
        }
        if (value.type != SCALAR_OBJECT) {
            if (value.type == SCALAR_ARRAY && !json_read_rest(json, &value)) {
                return false;
            }
            buf_add_fmt(out, "%d;", (int)value.type);
            continue;
        }
        while (json_read_key(json, &key)) {
            buf_add_slice(out, key);
            if (!json_read_value(json, &value) ||
                (value.type >= SCALAR_OBJECT && !json_read_rest(json, &value))) {
                return false;
            }
            buf_add_fmt(out, "=%d:%.*s;", (int)value.type, SLICE_FMT(value.text));
        }
        if (json_read_failed(json)) {
            return false;
        }
        buf_add_char(out, '|');
    }
    return !json_read_failed(json);
}

static const char rows[] = "{\"symbol\":\"AAPL\",\"price\":101.25,\"ok\":true,\"none\":null}\n"
                           "{ \"labels\" : {\"a\":[1,{\"b\":2}],\"c\":\"\\u00fc\"} , \"x\":[] }\n"
                           "{\"t\\u0065xt\":\"a\\n\\\"b\\\" \\ud83d\\ude00\",\"n\":-1e5}\n";
static const char rows_walked[] = "symbol=3:AAPL;price=2:101.25;ok=1:true;none=0:null;|"
                                  "labels=4:{\"a\":[1,{\"b\":2}],\"c\":\"\\u00fc\"};x=5:[];|"
                                  "text=3:a\n\"b\" \xf0\x9f\x98\x80;n=2:-1e5;|";

static void
test_json_read_walks_rows(void **state)
{
    ARENA_AUTO struct arena arena;
    BUF_AUTO struct buf out;
    struct json_reader json;

    (void)state;
    arena_init(&arena, ARENA_BYTES);
    buf_init(&out, 0);
    json_read_init(&json, slice_of(rows), &arena);
    assert_true(walk(&json, &out));
    assert_true(slice_is(buf_slice(&out), rows_walked));
    assert_int_equal(json_read_offset(&json), sizeof(rows) - 1);
}

static void
test_json_read_cut_at_any_offset_gives_the_same_front(void **state)
{
    ARENA_AUTO struct arena arena;

    (void)state;
    arena_init(&arena, ARENA_BYTES);
    for (size_t cut = 0; cut < sizeof(rows) - 1; cut++) {
        MEM_AUTO char *copy = mem_alloc(cut);
        BUF_AUTO struct buf out;
        struct json_reader json;
        buf_init(&out, 0);
        memcpy(copy, rows, cut);
        json_read_init(&json, slice_make(copy, cut), &arena);
        bool whole = walk(&json, &out);
        /* Only behind a row is it not cut in the middle of something. */
        bool at_end =
            cut == 0 || copy[cut - 1] == '\n' || (copy[cut - 1] == '}' && rows[cut] == '\n');
        assert_int_equal(whole, at_end);
        assert_true(out.len < sizeof(rows_walked));
        if (!whole) {
            assert_true(json.error_offset <= cut);
            assert_int_equal(json_read_error(&json, NULL), ERR_SYNTAX);
        }
    }
}

static void
test_json_read_plain_strings_are_not_copied(void **state)
{
    ARENA_AUTO struct arena arena;
    struct json_reader json;
    struct scalar value;
    const char *text = "[\"plain \xc3\xbc\",\"esc\\naped\"]";

    (void)state;
    arena_init(&arena, ARENA_BYTES);
    json_read_init(&json, slice_of(text), &arena);
    assert_true(json_read_value(&json, &value));
    assert_true(json_read_element(&json));
    assert_true(json_read_value(&json, &value));
    assert_ptr_equal(value.text.ptr, text + 2);
    assert_int_equal(arena.used_bytes, 0);
    assert_true(json_read_element(&json));
    assert_true(json_read_value(&json, &value));
    assert_true(slice_is(value.text, "esc\naped"));
    assert_true(arena.used_bytes > 0);
    assert_false(json_read_element(&json));
    assert_true(json_read_end(&json));
}

static void
test_json_read_says_where_and_what_was_expected(void **state)
{
    static const struct {
        const char *text;
        const char *message;
    } cases[] = {{"{\"a\":1,}", "JSON, byte 7: expected a key in quotes"},
                 {"{\"a\" 1}", "JSON, byte 5: expected ':' behind the key"},
                 {"[1 2]", "JSON, byte 3: expected ',' or ']'"},
                 {"{\"a\":1 2}", "JSON, byte 7: expected ',' or '}'"},
                 {"[01]", "JSON, byte 1: expected a number without zeros in front"},
                 {"[1.]", "JSON, byte 3: expected a digit behind the '.'"},
                 {"[1e]", "JSON, byte 3: expected a digit of the exponent"},
                 {"\"abc", "JSON, byte 4: expected a closing '\"'"},
                 {"\"a\\qb\"", "JSON, byte 3: expected an escape: one of \" \\ / b f n r t u"},
                 {"\"ab\xff\"", "JSON, byte 3: expected UTF-8"},
                 {"1 x", "JSON, byte 2: expected nothing behind the value"}};
    ARENA_AUTO struct arena arena;

    (void)state;
    arena_init(&arena, ARENA_BYTES);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct json_reader json;
        struct scalar value;
        struct err err = {0};
        json_read_init(&json, slice_of(cases[i].text), &arena);
        bool fine = json_read_value(&json, &value) &&
                    (value.type < SCALAR_OBJECT || json_read_rest(&json, &value)) &&
                    json_read_end(&json);
        assert_false(fine);
        assert_int_equal(json_read_error(&json, &err), ERR_SYNTAX);
        assert_string_equal(err.msg, cases[i].message);
    }
}

static void
test_json_read_goes_on_behind_a_bad_line(void **state)
{
    ARENA_AUTO struct arena arena;
    BUF_AUTO struct buf out;
    struct json_reader json;
    int bad = 0;

    (void)state;
    arena_init(&arena, ARENA_BYTES);
    buf_init(&out, 0);
    json_read_init(
        &json, slice_of("{\"a\":1}\n{\"b\":[1,{\"x\":tru}]}\n{\"c\":3}\n{\"d\n{\"e\":5}\n{\"f\""),
        &arena);
    while (json_read_more(&json)) {
        if (!walk(&json, &out)) {
            bad++;
            json_read_skip_line(&json);
        }
    }
    assert_int_equal(bad, 3);
    assert_true(slice_is(buf_slice(&out), "a=2:1;|bc=2:3;|e=2:5;|"));
}

static void
test_json_read_over_the_arena_is_too_large(void **state)
{
    ARENA_AUTO struct arena arena;
    struct json_reader json;
    struct scalar value;

    (void)state;
    arena_init(&arena, 16);
    json_read_init(&json, SLICE_LITERAL("\"0123456789 0123456789\\n\""), &arena);
    assert_false(json_read_value(&json, &value));
    assert_int_equal(json_read_error(&json, NULL), ERR_TOO_LARGE);
    assert_false(json_read_value(&json, &value));
}

static void
test_json_read_random_damage_never_reads_outside(void **state)
{
    ARENA_AUTO struct arena arena;
    BUF_AUTO struct buf out;
    struct rng rng;
    MEM_AUTO char *copy = mem_alloc(sizeof(rows) - 1);

    (void)state;
    rng_init(&rng, 41);
    arena_init(&arena, ARENA_BYTES);
    buf_init(&out, 0);
    for (int i = 0; i < 50000; i++) {
        struct json_reader json;
        memcpy(copy, rows, sizeof(rows) - 1);
        for (uint64_t n = rng_below(&rng, 4) + 1; n > 0; n--) {
            static const char likely[] = "{}[]\",:\\0e.-\n u\x80\xff";
            copy[rng_below(&rng, sizeof(rows) - 1)] = likely[rng_below(&rng, sizeof(likely))];
        }
        arena_reset(&arena);
        buf_reset(&out);
        json_read_init(&json, slice_make(copy, sizeof(rows) - 1), &arena);
        if (!walk(&json, &out)) {
            assert_true(json_read_failed(&json));
            assert_true(json.error_offset <= sizeof(rows) - 1);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_read_accepts_what_rfc_8259_allows),
        cmocka_unit_test(test_json_read_refuses_what_rfc_8259_does_not_allow),
        cmocka_unit_test(test_json_read_nesting_is_bounded),
        cmocka_unit_test(test_json_read_walks_rows),
        cmocka_unit_test(test_json_read_cut_at_any_offset_gives_the_same_front),
        cmocka_unit_test(test_json_read_plain_strings_are_not_copied),
        cmocka_unit_test(test_json_read_says_where_and_what_was_expected),
        cmocka_unit_test(test_json_read_goes_on_behind_a_bad_line),
        cmocka_unit_test(test_json_read_over_the_arena_is_too_large),
        cmocka_unit_test(test_json_read_random_damage_never_reads_outside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
