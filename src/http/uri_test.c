/* Tests of percent-decoding and query strings. */
#include "http/uri.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void
test_path_is_decoded(void **state)
{
    ARENA_AUTO struct arena arena;
    struct slice path;

    (void)state;
    arena_init(&arena, 1000);
    assert_true(http_path_decode(&arena, SLICE_LITERAL("/a/b+c"), &path));
    assert_true(slice_is(path, "/a/b+c"));
    assert_true(http_path_decode(&arena, SLICE_LITERAL("/%41%2f%c3%A9%25"), &path));
    assert_true(slice_is(path, "/A/\xc3\xa9%"));
}

static void
test_path_with_a_wrong_encoding_is_refused(void **state)
{
    static const char *const bads[] = {"/%", "/%4", "/%4g", "/%g4", "/%%41", "/a%00b"};
    ARENA_AUTO struct arena arena;
    struct slice path;

    (void)state;
    arena_init(&arena, 1000);
    for (size_t i = 0; i < sizeof(bads) / sizeof(bads[0]); i++) {
        assert_false(http_path_decode(&arena, slice_of(bads[i]), &path));
    }
}

static void
test_query_is_split_and_decoded(void **state)
{
    static const char *const expected[][2] = {
        {"a", "1"}, {"b", "x y&z"}, {"c", ""}, {"", "v"}, {"d", "=e="}, {"a", "2"}, {"p", "100%"},
    };
    ARENA_AUTO struct arena arena;
    struct http_param *params;
    size_t count;

    (void)state;
    arena_init(&arena, 4000);
    assert_true(http_query_decode(&arena, SLICE_LITERAL("a=1&b=x+y%26z&&c&=v&d==e%3D&a=2&p=100%&"),
                                  &params, &count));
    assert_int_equal(count, sizeof(expected) / sizeof(expected[0]));
    for (size_t i = 0; i < count; i++) {
        assert_true(slice_is(params[i].name, expected[i][0]));
        assert_true(slice_is(params[i].value, expected[i][1]));
    }
    assert_true(http_query_decode(&arena, SLICE_LITERAL(""), &params, &count));
    assert_int_equal(count, 0);
}

static void
test_query_that_does_not_fit_is_refused(void **state)
{
    ARENA_AUTO struct arena arena;
    struct http_param *params;
    size_t count;

    (void)state;
    arena_init(&arena, 64);
    assert_false(http_query_decode(&arena, SLICE_LITERAL("a&b&c&d&e"), &params, &count));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path_is_decoded),
        cmocka_unit_test(test_path_with_a_wrong_encoding_is_refused),
        cmocka_unit_test(test_query_is_split_and_decoded),
        cmocka_unit_test(test_query_that_does_not_fit_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
