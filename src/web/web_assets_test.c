/* Tests of the embedded files: what is there is what scripts/build-web made. */
#include "web/web_assets.h"

/* zlib reads const bytes when told so. */
#define ZLIB_CONST

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <zlib.h>

#include <cmocka.h>

enum { GZIP_WINDOW = 15 + 16 };

static bool
holds(struct slice bytes, const char *text)
{
    return memmem(bytes.ptr, bytes.len, text, strlen(text)) != NULL;
}

static void
test_web_assets_hold_both_pages(void **state)
{
    const struct web_asset *index = web_asset_find(slice_of("/index.html"));
    const struct web_asset *docs = web_asset_find(slice_of("/docs.html"));

    (void)state;
    assert_non_null(index);
    assert_non_null(docs);
    assert_string_equal(index->mime, "text/html; charset=utf-8");
    assert_true(holds(index->body, "<title>Eider</title>"));
    assert_true(holds(docs->body, "<title>Eider API reference</title>"));
}

static void
test_web_assets_are_found_by_their_paths_and_by_no_others(void **state)
{
    static const char *const strangers[] = {
        "",         "/",       "index.html", "/index.htm", "/index.html/", "/INDEX.HTML",
        "/assets/", "/.stamp", "/zzz",
    };
    size_t count;
    const struct web_asset *assets = web_assets(&count);

    (void)state;
    assert_true(count >= 4);
    for (size_t i = 0; i < count; i++) {
        assert_ptr_equal(web_asset_find(slice_of(assets[i].path)), &assets[i]);
    }
    for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++) {
        assert_null(web_asset_find(slice_of(strangers[i])));
    }
}

/* Compressed bytes are one whole gzip member that gives the file back, and are smaller. */
static void
test_web_assets_inflate_to_their_bodies(void **state)
{
    size_t count;
    size_t compressed = 0;
    const struct web_asset *assets = web_assets(&count);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        struct slice gzip = assets[i].gzip;
        struct slice body = assets[i].body;
        z_stream stream = {0};

        if (gzip.len == 0) {
            continue;
        }
        compressed++;
        assert_true(gzip.len < body.len);
        char *out = malloc(body.len + 1);
        assert_non_null(out);
        assert_int_equal(inflateInit2(&stream, GZIP_WINDOW), Z_OK);
        stream.next_in = (const Bytef *)gzip.ptr;
        stream.avail_in = (uInt)gzip.len;
        stream.next_out = (Bytef *)out;
        stream.avail_out = (uInt)(body.len + 1);
        assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
        assert_int_equal(stream.avail_in, 0);
        assert_int_equal(stream.total_out, body.len);
        assert_memory_equal(out, body.ptr, body.len);
        inflateEnd(&stream);
        free(out);
    }
    assert_true(compressed >= 3);
}

/* Every file that a page names is there, and no page names another host. */
static void
test_web_assets_hold_what_the_pages_ask_for(void **state)
{
    const struct web_asset *index = web_asset_find(slice_of("/index.html"));
    size_t asked = 0;

    (void)state;
    assert_non_null(index);
    const char *at = index->body.ptr;
    const char *end = at + index->body.len;
    while ((at = memmem(at, (size_t)(end - at), "\"./assets/", 10)) != NULL) {
        const char *start = at + 2;
        const char *quote = memchr(start, '"', (size_t)(end - start));
        assert_non_null(quote);
        assert_non_null(web_asset_find(slice_make(start, (size_t)(quote - start))));
        at = quote;
        asked++;
    }
    assert_true(asked >= 2);
    assert_false(holds(index->body, "//"));
}

static void
test_web_assets_have_distinct_quoted_etags(void **state)
{
    size_t count;
    const struct web_asset *assets = web_assets(&count);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(assets[i].etag);
        assert_true(len > 10);
        assert_int_equal(assets[i].etag[0], '"');
        assert_int_equal(assets[i].etag[len - 1], '"');
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(assets[i].etag, assets[j].etag);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_web_assets_hold_both_pages),
        cmocka_unit_test(test_web_assets_are_found_by_their_paths_and_by_no_others),
        cmocka_unit_test(test_web_assets_inflate_to_their_bodies),
        cmocka_unit_test(test_web_assets_hold_what_the_pages_ask_for),
        cmocka_unit_test(test_web_assets_have_distinct_quoted_etags),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
