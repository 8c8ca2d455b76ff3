/* What json.dumps of Python 3.11 printed for the same values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>

#include "cli/python_json.h"

static void
expect(struct buf *out, const char *text)
{
    buf_add_char(out, '\0');
    assert_string_equal(out->ptr, text);
    buf_fini(out);
}

static void
test_python_json_separates_and_orders_as_dumps(void **state)
{
    struct python_json json;
    struct buf out;

    (void)state;
    buf_init(&out, 0);
    python_begin(&json, &out);
    python_bool(&json, "success", false);
    python_int(&json, "n", -3);
    python_float(&json, "f", 60.0);
    python_text(&json, "error", SLICE_LITERAL("no"));
    python_end(&json);
    expect(&out, "{\"success\": false, \"n\": -3, \"f\": 60.0, \"error\": \"no\"}");
    buf_init(&out, 0);
    python_begin(&json, &out);
    python_end(&json);
    expect(&out, "{}");
}

static void
test_python_json_writes_floats_as_repr(void **state)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0.0, "0.0"},
        {-0.0, "-0.0"},
        {1.0, "1.0"},
        {60.0, "60.0"},
        {0.1 + 0.2, "0.30000000000000004"},
        {1e-07, "1e-07"},
        {0.0001, "0.0001"},
        {1e15, "1000000000000000.0"},
        {1e16, "1e+16"},
        {123456789.123, "123456789.123"},
        {2.0 / 3, "0.6666666666666666"},
        {NAN, "NaN"},
        {INFINITY, "Infinity"},
        {-INFINITY, "-Infinity"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct python_json json;
        struct buf out;
        char text[64];
        buf_init(&out, 0);
        python_begin(&json, &out);
        python_float(&json, "f", cases[i].value);
        python_end(&json);
        snprintf(text, sizeof(text), "{\"f\": %s}", cases[i].text);
        expect(&out, text);
    }
}

static void
test_python_json_escapes_all_but_ascii(void **state)
{
    static const struct {
        struct slice value;
        const char *text;
    } cases[] = {
        {{"a\"b\\c/", 6}, "a\\\"b\\\\c/"},
        {{"\b\f\n\r\t\x01\x7f", 7}, "\\b\\f\\n\\r\\t\\u0001\\u007f"},
        {{"\0", 1}, "\\u0000"},
        {{"\xc3\xa9\xe2\x80\xa8", 5}, "\\u00e9\\u2028"},
        {{"\xf0\x9f\x98\x80", 4}, "\\ud83d\\ude00"},
        {{"\xf4\x8f\xbf\xbf", 4}, "\\udbff\\udfff"},
        {{"x\xff\xc3", 3}, "x\\ufffd\\ufffd"},
        {{"\xed\xa0\x80", 3}, "\\ufffd\\ufffd\\ufffd"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct python_json json;
        struct buf out;
        char text[128];
        buf_init(&out, 0);
        python_begin(&json, &out);
        python_text(&json, "t", cases[i].value);
        python_end(&json);
        snprintf(text, sizeof(text), "{\"t\": \"%s\"}", cases[i].text);
        expect(&out, text);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_python_json_separates_and_orders_as_dumps),
        cmocka_unit_test(test_python_json_writes_floats_as_repr),
        cmocka_unit_test(test_python_json_escapes_all_but_ascii),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
