/* Tests of targets and header fields. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/forward.h"

static void
test_forward_takes_targets_apart(void **state)
{
    static const struct {
        const char *target, *name, *path, *query;
    } cases[] = {
        {"/gateway/birdeye/defi/price?address=a%20b&x", "birdeye", "/defi/price",
         "address=a%20b&x"},
        {"/gateway/a", "a", "", ""},
        {"/gateway/a/", "a", "/", ""},
        {"/gateway/a?b=/c/..", "a", "", "b=/c/.."},
        {"/gateway/a//b/", "a", "//b/", ""},
        {"/gateway", "", "", ""},
        {"/gateway/", "", "", ""},
        {"http://h:1/gateway/a/b", "a", "/b", ""},
        {"/gateway/a/...", "a", "/...", ""},
        {"/gateway/a/b.c/.d", "a", "/b.c/.d", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct forward_target target;
        struct err err;
        assert_int_equal(forward_parse(slice_of(cases[i].target), &target, &err), ERR_OK);
        assert_true(slice_is(target.name, cases[i].name));
        assert_true(slice_is(target.path, cases[i].path));
        assert_true(slice_is(target.query, cases[i].query));
    }
}

static void
test_forward_refuses_ways_out_of_the_base(void **state)
{
    static const char *const targets[] = {
        "/gateway/a/..",       "/gateway/a/../b",       "/gateway/a/b/./c",
        "/gateway/a/%2e%2E/b", "/gateway/a/.%2e",       "/gateway/a/b%2f..",
        "/gateway/a/b\\..",    "/gateway/a/b%5C..%5cc", "/gateway/a/b#fragment",
    };
    struct forward_target target;
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        assert_int_equal(forward_parse(slice_of(targets[i]), &target, &err), ERR_INVALID);
    }
    assert_int_equal(forward_parse(SLICE_LITERAL("/other"), &target, &err), ERR_NOT_FOUND);
}

static void
test_forward_strips_a_parameter(void **state)
{
    ARENA_AUTO struct arena arena;

    (void)state;
    arena_init(&arena, 0x10000);
    assert_true(
        slice_is(forward_strip_query(&arena, SLICE_LITERAL("a=1&access_token=x&b=%20&access_token"),
                                     "access_token"),
                 "a=1&b=%20"));
    assert_true(
        slice_is(forward_strip_query(&arena, SLICE_LITERAL("access_token=x"), "access_token"), ""));
    assert_true(
        slice_is(forward_strip_query(&arena, SLICE_LITERAL("xaccess_token=1"), "access_token"),
                 "xaccess_token=1"));
}

static void
test_forward_keeps_fields_of_one_hop_here(void **state)
{
    (void)state;
    assert_false(forward_takes_request(SLICE_LITERAL("connection")));
    assert_false(forward_takes_request(SLICE_LITERAL("TE")));
    assert_false(forward_takes_request(SLICE_LITERAL("host")));
    assert_false(forward_takes_request(SLICE_LITERAL("x-eider-token")));
    assert_true(forward_takes_request(SLICE_LITERAL("X-API-KEY")));
    assert_true(forward_takes_request(SLICE_LITERAL("Authorization")));
    assert_true(forward_is_listed(SLICE_LITERAL("close, X-Mine ,other"), SLICE_LITERAL("x-mine")));
    assert_false(forward_is_listed(SLICE_LITERAL("close"), SLICE_LITERAL("clos")));
    assert_false(forward_is_listed(SLICE_LITERAL(""), SLICE_LITERAL("")));
}

static void
test_forward_drops_answer_fields_that_cannot_be_sent_on(void **state)
{
    (void)state;
    assert_true(forward_takes_answer(SLICE_LITERAL("Set-Cookie"), SLICE_LITERAL("a=b; Path=/")));
    assert_true(forward_takes_answer(SLICE_LITERAL("X-Empty"), SLICE_LITERAL("")));
    assert_false(forward_takes_answer(SLICE_LITERAL("Content-Length"), SLICE_LITERAL("5")));
    assert_false(forward_takes_answer(SLICE_LITERAL("X-Eider-Credits"), SLICE_LITERAL("0")));
    assert_false(forward_takes_answer(SLICE_LITERAL("X-A"), SLICE_LITERAL("b\rInjected: c")));
    assert_false(forward_takes_answer(SLICE_LITERAL("X A"), SLICE_LITERAL("b")));
    assert_false(forward_takes_answer(slice_make("X-N", 3), slice_make("a\0b", 3)));
}

static void
test_forward_reads_seconds_of_retry_after(void **state)
{
    (void)state;
    assert_int_equal(forward_retry_after_s(SLICE_LITERAL("17")), 17);
    assert_int_equal(forward_retry_after_s(SLICE_LITERAL("")), -1);
    assert_int_equal(forward_retry_after_s(SLICE_LITERAL("99999999999")), -1);
    assert_int_equal(forward_retry_after_s(SLICE_LITERAL("Fri, 31 Dec 1999 23:59:59 GMT")), -1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward_takes_targets_apart),
        cmocka_unit_test(test_forward_refuses_ways_out_of_the_base),
        cmocka_unit_test(test_forward_strips_a_parameter),
        cmocka_unit_test(test_forward_keeps_fields_of_one_hop_here),
        cmocka_unit_test(test_forward_drops_answer_fields_that_cannot_be_sent_on),
        cmocka_unit_test(test_forward_reads_seconds_of_retry_after),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
