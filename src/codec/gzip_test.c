/* Tests of decompression: gzip, zlib, members, damage, the cap. */
#include "codec/gzip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/id.h"
#include "base/mem.h"

enum { WINDOW_GZIP = 15 + 16, WINDOW_ZLIB = 15, MANY = 1 << 20 };

static void
deflate_to(struct buf *out, struct slice text, int window)
{
    z_stream stream = {0};

    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t bound = deflateBound(&stream, text.len) + 64;
    char *to = buf_reserve(out, bound);
    stream.next_in = (z_const unsigned char *)(uintptr_t)text.ptr;
    stream.avail_in = (uInt)text.len;
    stream.next_out = (unsigned char *)to;
    stream.avail_out = (uInt)bound;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    out->len += stream.total_out;
    deflateEnd(&stream);
}

/* Text that is neither trivial nor incompressible. */
static struct slice
sample(struct buf *buf, size_t len)
{
    struct rng rng;

    rng_init(&rng, 61);
    while (buf->len < len) {
        buf_add_fmt(buf, "cpu,host=h%d value=%d\n", (int)rng_below(&rng, 100),
                    (int)rng_below(&rng, 100000));
    }
    return slice_sub(buf_slice(buf), 0, len);
}

static void
test_gzip_inflates_both_wrappings_of_any_length(void **state)
{
    static const size_t lengths[] = {0, 1, 100, 65535, 65536, 65537, MANY};
    BUF_AUTO struct buf text;

    (void)state;
    buf_init(&text, 0);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
        struct slice plain = sample(&text, lengths[i]);
        for (int zlib = 0; zlib < 2; zlib++) {
            BUF_AUTO struct buf packed;
            BUF_AUTO struct buf out;
            buf_init(&packed, 0);
            buf_init(&out, 0);
            buf_add_cstr(&out, "before");
            deflate_to(&packed, plain, zlib ? WINDOW_ZLIB : WINDOW_GZIP);
            assert_int_equal(gzip_inflate(buf_slice(&packed), lengths[i], &out, NULL), ERR_OK);
            assert_int_equal(out.len, lengths[i] + 6);
            assert_memory_equal(out.ptr + 6, plain.ptr, plain.len);
        }
    }
}

static void
test_gzip_joins_members(void **state)
{
    BUF_AUTO struct buf packed;
    BUF_AUTO struct buf out;

    (void)state;
    buf_init(&packed, 0);
    buf_init(&out, 0);
    deflate_to(&packed, SLICE_LITERAL("one "), WINDOW_GZIP);
    deflate_to(&packed, SLICE_LITERAL(""), WINDOW_GZIP);
    deflate_to(&packed, SLICE_LITERAL("two"), WINDOW_GZIP);
    assert_int_equal(gzip_inflate(buf_slice(&packed), 7, &out, NULL), ERR_OK);
    assert_true(slice_is(buf_slice(&out), "one two"));
}

static void
test_gzip_over_the_cap_is_too_large_and_leaves_nothing(void **state)
{
    BUF_AUTO struct buf text;
    BUF_AUTO struct buf packed;
    BUF_AUTO struct buf out;
    BUF_AUTO struct buf small;
    struct err err = {0};

    (void)state;
    buf_init(&text, 0);
    buf_init(&packed, 0);
    buf_init(&out, 0);
    buf_init(&small, 1000);
    deflate_to(&packed, sample(&text, MANY), WINDOW_GZIP);
    buf_add_cstr(&out, "before");
    assert_int_equal(gzip_inflate(buf_slice(&packed), MANY - 1, &out, &err), ERR_TOO_LARGE);
    assert_non_null(strstr(err.msg, "limit"));
    assert_true(slice_is(buf_slice(&out), "before"));
    assert_int_equal(gzip_inflate(buf_slice(&packed), 0, &out, &err), ERR_TOO_LARGE);
    assert_int_equal(gzip_inflate(buf_slice(&packed), MANY, &small, &err), ERR_TOO_LARGE);
    assert_int_equal(small.len, 0);
    assert_int_equal(gzip_inflate(buf_slice(&packed), MANY, &out, &err), ERR_OK);
}

static void
test_gzip_cut_at_any_offset_is_refused(void **state)
{
    BUF_AUTO struct buf text;
    BUF_AUTO struct buf packed;
    BUF_AUTO struct buf out;

    (void)state;
    buf_init(&text, 0);
    buf_init(&packed, 0);
    buf_init(&out, 0);
    deflate_to(&packed, sample(&text, 2000), WINDOW_GZIP);
    for (size_t cut = 0; cut < packed.len; cut++) {
        MEM_AUTO char *copy = mem_alloc(cut);
        memcpy(copy, packed.ptr, cut);
        assert_int_equal(gzip_inflate(slice_make(copy, cut), MANY, &out, NULL), ERR_SYNTAX);
        assert_int_equal(out.len, 0);
    }
}

static void
test_gzip_damage_is_found_by_the_checksum(void **state)
{
    BUF_AUTO struct buf text;
    BUF_AUTO struct buf packed;
    BUF_AUTO struct buf out;
    struct rng rng;

    (void)state;
    rng_init(&rng, 62);
    buf_init(&text, 0);
    buf_init(&packed, 0);
    buf_init(&out, 0);
    struct slice plain = sample(&text, 2000);
    deflate_to(&packed, plain, WINDOW_ZLIB);
    for (size_t at = 0; at < packed.len; at++) {
        char before = packed.ptr[at];
        packed.ptr[at] = (char)(before ^ (1 << rng_below(&rng, 8)));
        buf_reset(&out);
        enum err_code code = gzip_inflate(buf_slice(&packed), MANY, &out, NULL);
        assert_true(code != ERR_OK || slice_eq(buf_slice(&out), plain));
        packed.ptr[at] = before;
    }
}

static void
test_gzip_refuses_what_is_none_and_what_is_behind(void **state)
{
    BUF_AUTO struct buf packed;
    BUF_AUTO struct buf out;

    (void)state;
    buf_init(&packed, 0);
    buf_init(&out, 0);
    assert_int_equal(gzip_inflate(SLICE_LITERAL(""), MANY, &out, NULL), ERR_SYNTAX);
    assert_int_equal(gzip_inflate(SLICE_LITERAL("plain text"), MANY, &out, NULL), ERR_SYNTAX);
    deflate_to(&packed, SLICE_LITERAL("one"), WINDOW_GZIP);
    buf_add_cstr(&packed, "rubbish");
    assert_int_equal(gzip_inflate(buf_slice(&packed), MANY, &out, NULL), ERR_SYNTAX);
    assert_int_equal(out.len, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gzip_inflates_both_wrappings_of_any_length),
        cmocka_unit_test(test_gzip_joins_members),
        cmocka_unit_test(test_gzip_over_the_cap_is_too_large_and_leaves_nothing),
        cmocka_unit_test(test_gzip_cut_at_any_offset_is_refused),
        cmocka_unit_test(test_gzip_damage_is_found_by_the_checksum),
        cmocka_unit_test(test_gzip_refuses_what_is_none_and_what_is_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
