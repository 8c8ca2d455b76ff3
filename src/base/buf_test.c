/* Tests of growable buffers. */
#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

static void
test_buf_grows_and_keeps_what_was_added(void **state)
{
    BUF_AUTO struct buf buf;

    (void)state;
    buf_init(&buf, 0);
    assert_true(slice_is(buf_slice(&buf), ""));
    for (int i = 0; i < 10000; i++) {
        buf_add_char(&buf, (char)('a' + i % 26));
    }
    assert_int_equal(buf.len, 10000);
    assert_false(buf.overflow);
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(buf.ptr[i], 'a' + i % 26);
    }
}

static void
test_buf_over_its_cap_adds_nothing_more(void **state)
{
    BUF_AUTO struct buf buf;

    (void)state;
    buf_init(&buf, 300);
    buf_add(&buf, "0123456789", 10);
    assert_null(buf_reserve(&buf, 291));
    assert_true(buf.overflow);
    /* Would fit, but would stand behind a gap. */
    buf_add_cstr(&buf, "x");
    assert_true(slice_is(buf_slice(&buf), "0123456789"));
    buf_reset(&buf);
    assert_non_null(buf_reserve(&buf, 300));
    assert_false(buf.overflow);
}

static void
test_buf_writes_integers_at_their_limits(void **state)
{
    BUF_AUTO struct buf buf;

    (void)state;
    buf_init(&buf, 0);
    buf_add_i64(&buf, INT64_MIN);
    buf_add_char(&buf, ' ');
    buf_add_i64(&buf, INT64_MAX);
    buf_add_char(&buf, ' ');
    buf_add_u64(&buf, UINT64_MAX);
    buf_add_char(&buf, ' ');
    buf_add_i64(&buf, 0);
    buf_add_fmt(&buf, " %s %d", "and", -7);
    assert_true(slice_is(buf_slice(&buf), "-9223372036854775808 9223372036854775807 "
                                          "18446744073709551615 0 and -7"));
}

static void
test_buf_consume_takes_from_the_front(void **state)
{
    BUF_AUTO struct buf buf;

    (void)state;
    buf_init(&buf, 0);
    buf_add_cstr(&buf, "headtail");
    buf_consume(&buf, 0);
    buf_consume(&buf, 4);
    assert_true(slice_is(buf_slice(&buf), "tail"));
    buf_consume(&buf, 4);
    assert_int_equal(buf.len, 0);
}

static void
test_buf_take_gives_the_bytes_away(void **state)
{
    struct buf buf;
    size_t len;

    (void)state;
    buf_init(&buf, 0);
    assert_null(buf_take(&buf, &len));
    buf_add_slice(&buf, SLICE_LITERAL("mine"));
    char *bytes = buf_take(&buf, &len);
    assert_int_equal(len, 4);
    assert_memory_equal(bytes, "mine", 4);
    assert_int_equal(buf.len, 0);
    buf_add_cstr(&buf, "next");
    assert_true(slice_is(buf_slice(&buf), "next"));
    free(bytes);
    buf_fini(&buf);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf_grows_and_keeps_what_was_added),
        cmocka_unit_test(test_buf_over_its_cap_adds_nothing_more),
        cmocka_unit_test(test_buf_writes_integers_at_their_limits),
        cmocka_unit_test(test_buf_consume_takes_from_the_front),
        cmocka_unit_test(test_buf_take_gives_the_bytes_away),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
