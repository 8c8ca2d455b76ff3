/* Tests of the chunked decoder. */
#include "http/chunked.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "base/buf.h"

/* Decodes in pieces of at most `step` bytes behind a first piece of `cut`; returns the bytes used
 * and appends the data. */
static size_t
decode(struct http_chunked *chunked, struct slice text, size_t cut, size_t step, struct buf *data)
{
    size_t used = 0;

    *chunked = (struct http_chunked){.state = HTTP_CHUNKED_SIZE};
    while (used < text.len && chunked->state != HTTP_CHUNKED_DONE &&
           chunked->state != HTTP_CHUNKED_BAD) {
        size_t end = used < cut ? cut : used + step;
        struct slice piece = slice_sub(text, used, (end < text.len ? end : text.len) - used);
        while (piece.len > 0 && chunked->state != HTTP_CHUNKED_DONE &&
               chunked->state != HTTP_CHUNKED_BAD) {
            struct slice run;
            size_t n = http_chunked_take(chunked, piece, &run);
            assert_true(n > 0);
            buf_add_slice(data, run);
            piece = slice_sub(piece, n, piece.len);
            used += n;
        }
    }
    return used;
}

struct good {
    const char *text;
    const char *data;
    size_t rest; /* bytes behind the end */
};

static const struct good goods[] = {
    {"0\r\n\r\n", "", 0},
    {"5\r\nhello\r\n0\r\n\r\n", "hello", 0},
    {"00000000000005\r\nhello\r\n00\r\n\r\nGET", "hello", 3},
    {"A\r\n0123456789\r\n1\r\n\r\r\n0\r\n\r\n", "0123456789\r", 0},
    {"5;name=value\r\nhello\r\n0;x\r\n\r\n", "hello", 0},
    {"2\r\nab\r\n0\r\nTrailer: x\r\nOther:\r\n\r\n\r\n", "ab", 2},
};

static void
test_chunked_joins_data_cut_anywhere(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(goods) / sizeof(goods[0]); i++) {
        struct slice text = slice_of(goods[i].text);
        for (size_t cut = 0; cut <= text.len; cut++) {
            for (size_t step = 1; step <= text.len; step += text.len - 1) {
                BUF_AUTO struct buf data;
                struct http_chunked chunked;
                buf_init(&data, 0);
                size_t used = decode(&chunked, text, cut, step, &data);
                assert_int_equal(chunked.state, HTTP_CHUNKED_DONE);
                assert_true(slice_is(buf_slice(&data), goods[i].data));
                assert_int_equal(used, text.len - goods[i].rest);
            }
        }
    }
}

static const char *const bads[] = {
    "0x2\r\nab\r\n0\r\n\r\n",
    "\r\n",
    ";x\r\n",
    " 2\r\nab\r\n",
    "2 \r\nab\r\n",
    "+2\r\nab\r\n",
    "-2\r\nab\r\n",
    "2\nab\r\n",
    "2\r\r\nab",
    "2\r\nabc\r\n",
    "2\r\nab\n0\r\n\r\n",
    "2\r\nab\r0\r\n\r\n",
    "g\r\n",
    "1000000000000000\r\n",
    "2;a\nb\r\nab\r\n",
    "2;a\x01\r\nab\r\n",
    "0\r\nBad header: x\r\n\r\n",
    "0\r\nName\r\n\r\n",
    "0\r\n folded: x\r\n\r\n",
    "0\r\n: x\r\n\r\n",
    "0\r\nX: a\n\r\n",
    "0\r\nX: a\rb\r\n\r\n",
    "0\r\n\n",
};

static void
test_chunked_refuses_what_is_not_strictly_right(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bads) / sizeof(bads[0]); i++) {
        struct slice text = slice_of(bads[i]);
        for (size_t step = 1; step <= text.len; step++) {
            BUF_AUTO struct buf data;
            struct http_chunked chunked;
            buf_init(&data, 0);
            decode(&chunked, text, 0, step, &data);
            if (chunked.state != HTTP_CHUNKED_BAD) {
                fail_msg("accepted: %s", bads[i]);
            }
        }
    }
}

static void
test_chunked_bounds_extensions_and_trailers(void **state)
{
    struct http_chunked chunked;
    BUF_AUTO struct buf text;
    BUF_AUTO struct buf data;

    (void)state;
    buf_init(&text, 0);
    buf_init(&data, 0);
    buf_add_cstr(&text, "1;");
    for (int i = 0; i < 300; i++) {
        buf_add_char(&text, 'e');
    }
    buf_add_cstr(&text, "\r\na\r\n0\r\n\r\n");
    decode(&chunked, buf_slice(&text), 0, 10000, &data);
    assert_int_equal(chunked.state, HTTP_CHUNKED_BAD);
    buf_reset(&text);
    buf_add_cstr(&text, "0\r\n");
    for (int i = 0; i < 1000; i++) {
        buf_add_cstr(&text, "Name: value\r\n");
    }
    buf_add_cstr(&text, "\r\n");
    decode(&chunked, buf_slice(&text), 0, 10000, &data);
    assert_int_equal(chunked.state, HTTP_CHUNKED_BAD);
}

static void
test_chunked_takes_nothing_behind_its_end(void **state)
{
    struct http_chunked chunked = {.state = HTTP_CHUNKED_SIZE};
    struct slice run;

    (void)state;
    assert_int_equal(http_chunked_take(&chunked, SLICE_LITERAL("0\r\n\r\n5\r\n"), &run), 5);
    assert_int_equal(chunked.state, HTTP_CHUNKED_DONE);
    assert_int_equal(http_chunked_take(&chunked, SLICE_LITERAL("5\r\n"), &run), 0);
    assert_int_equal(run.len, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunked_joins_data_cut_anywhere),
        cmocka_unit_test(test_chunked_refuses_what_is_not_strictly_right),
        cmocka_unit_test(test_chunked_bounds_extensions_and_trailers),
        cmocka_unit_test(test_chunked_takes_nothing_behind_its_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
