/* Tests of UTF-8: the table of RFC 3629, every code point there and back. */
#include "codec/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "base/mem.h"

static void
test_utf8_every_code_point_reads_back(void **state)
{
    (void)state;
    for (uint32_t code = 0; code <= 0x10ffff; code++) {
        char bytes[4];
        if (code >= 0xd800 && code <= 0xdfff) {
            continue;
        }
        size_t len = utf8_encode(code, bytes);
        assert_int_equal(len, code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4);
        assert_int_equal(utf8_char_len(bytes, bytes + len), len);
        for (size_t cut = 0; cut < len; cut++) {
            assert_int_equal(utf8_char_len(bytes, bytes + cut), 0);
        }
    }
}

static void
test_utf8_refuses_what_rfc_3629_refuses(void **state)
{
    static const char *const wrong[] = {
        "\x80",             /* continuation alone */
        "\xbf",             /* the same */
        "\xc0\x80",         /* overlong NUL */
        "\xc1\xbf",         /* overlong */
        "\xc3\x28",         /* no continuation */
        "\xe0\x9f\xbf",     /* overlong */
        "\xe2\x28\xa1",     /* no continuation */
        "\xe2\x82\x28",     /* no continuation */
        "\xed\xa0\x80",     /* surrogate */
        "\xed\xbf\xbf",     /* surrogate */
        "\xf0\x8f\xbf\xbf", /* overlong */
        "\xf4\x90\x80\x80", /* above U+10FFFF */
        "\xf5\x80\x80\x80", /* the same */
        "\xff",             /* never */
        "\xfe"              /* never */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        struct slice text = slice_of(wrong[i]);
        assert_int_equal(utf8_char_len(text.ptr, text.ptr + text.len), 0);
        assert_int_equal(utf8_valid_len(text), 0);
        assert_false(utf8_is_text(text));
    }
}

static void
test_utf8_valid_len_stops_at_the_first_wrong_byte_wherever_it_is(void **state)
{
    (void)state;
    for (size_t len = 1; len < 40; len++) {
        MEM_AUTO char *bytes = mem_alloc(len);
        for (size_t at = 0; at < len; at++) {
            memset(bytes, 'a', len);
            assert_int_equal(utf8_valid_len(slice_make(bytes, len)), len);
            bytes[at] = '\xff';
            assert_int_equal(utf8_valid_len(slice_make(bytes, len)), at);
        }
    }
}

static void
test_utf8_is_text_refuses_nul(void **state)
{
    (void)state;
    assert_true(utf8_is_text(slice_of("")));
    assert_true(utf8_is_text(slice_of("Z\xc3\xbcrich \xe2\x82\xac \xf0\x9f\x98\x80")));
    assert_false(utf8_is_text(slice_make("a\0b", 3)));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8_every_code_point_reads_back),
        cmocka_unit_test(test_utf8_refuses_what_rfc_3629_refuses),
        cmocka_unit_test(test_utf8_valid_len_stops_at_the_first_wrong_byte_wherever_it_is),
        cmocka_unit_test(test_utf8_is_text_refuses_nul),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
