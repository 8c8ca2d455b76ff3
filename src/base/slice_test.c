/* Tests of slices. */
#include "base/slice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void
test_slice_compares_bytes_and_lengths(void **state)
{
    (void)state;
    assert_true(slice_is(slice_of("abc"), "abc"));
    assert_false(slice_is(slice_of("abc"), "ab"));
    assert_true(slice_eq((struct slice){NULL, 0}, slice_of("")));
    assert_true(slice_is(slice_of(NULL), ""));
    assert_true(slice_is_nocase(slice_of("Content-Type"), "content-type"));
    assert_false(slice_is_nocase(slice_of("abc"), "abcd"));
    assert_false(slice_is_nocase(slice_of("ab["), "ab{"));
    assert_true(slice_cmp(slice_of("ab"), slice_of("abc")) < 0);
    assert_true(slice_cmp(slice_of("b"), slice_of("abc")) > 0);
    assert_int_equal(slice_cmp(slice_of("x"), slice_of("x")), 0);
    assert_true(slice_cmp(slice_of("\xff"), slice_of("a")) > 0);
}

static void
test_slice_starts_and_ends(void **state)
{
    (void)state;
    assert_true(slice_starts(slice_of("file.csv"), "file"));
    assert_true(slice_ends(slice_of("file.csv"), ".csv"));
    assert_false(slice_starts(slice_of("f"), "file"));
    assert_false(slice_ends(slice_of("v"), ".csv"));
    assert_true(slice_starts(slice_of("x"), ""));
    assert_true(slice_ends(slice_of(""), ""));
}

static void
test_slice_sub_is_cut_at_the_end(void **state)
{
    struct slice text = slice_of("abcdef");

    (void)state;
    assert_true(slice_is(slice_sub(text, 2, 3), "cde"));
    assert_true(slice_is(slice_sub(text, 4, 100), "ef"));
    assert_true(slice_is(slice_sub(text, 100, 1), ""));
    assert_true(slice_is(slice_sub(text, 1, SIZE_MAX), "bcdef"));
}

static void
test_slice_trim_takes_blanks_from_both_ends_only(void **state)
{
    (void)state;
    assert_true(slice_is(slice_trim(slice_of(" \t a b\r\n")), "a b"));
    assert_true(slice_is(slice_trim(slice_of(" \n ")), ""));
    assert_true(slice_is(slice_trim(slice_of("")), ""));
}

static void
test_slice_split_walks_a_list_to_its_end(void **state)
{
    struct slice rest = slice_of("a,,c");
    struct slice head;

    (void)state;
    assert_true(slice_split(&rest, ',', &head));
    assert_true(slice_is(head, "a"));
    assert_true(slice_split(&rest, ',', &head));
    assert_true(slice_is(head, ""));
    assert_false(slice_split(&rest, ',', &head));
    assert_true(slice_is(head, "c"));
    assert_int_equal(rest.len, 0);
    assert_false(slice_split(&rest, ',', &head));
    assert_int_equal(head.len, 0);
}

static void
test_slice_to_cstr_needs_room_for_the_nul(void **state)
{
    char dst[4] = "zzz";

    (void)state;
    assert_true(slice_to_cstr(slice_of("abc"), dst, sizeof(dst)));
    assert_string_equal(dst, "abc");
    assert_false(slice_to_cstr(slice_of("abcd"), dst, sizeof(dst)));
    assert_string_equal(dst, "");
    assert_true(slice_to_cstr((struct slice){NULL, 0}, dst, sizeof(dst)));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slice_compares_bytes_and_lengths),
        cmocka_unit_test(test_slice_starts_and_ends),
        cmocka_unit_test(test_slice_sub_is_cut_at_the_end),
        cmocka_unit_test(test_slice_trim_takes_blanks_from_both_ends_only),
        cmocka_unit_test(test_slice_split_walks_a_list_to_its_end),
        cmocka_unit_test(test_slice_to_cstr_needs_room_for_the_nul),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
