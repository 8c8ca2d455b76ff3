/* Kept answers: found while they hold, gone when they do not, never more than there is room for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
/* */
#include <cmocka.h>

#include "api/answer_cache.h"

enum { ROOM = 64 << 10 };

struct world {
    uint64_t changed_at; /* rows change behind this LSN */
    unsigned asked;
};

static bool
changed(void *ctx, const struct answer_basis *basis)
{
    struct world *world = ctx;

    world->asked++;
    return world->changed_at > basis->lsn;
}

static const struct answer_basis basis = {.lsn = 5, .expires_mono_us = INT64_MAX};

static void
put(struct answer_cache *cache, const char *key, const char *body, const struct answer_basis *of)
{
    char etag[ANSWER_ETAG_BYTES];

    answer_etag(slice_of(body), etag);
    answer_cache_put(cache, slice_of(key), slice_of(body), etag, of);
}

static bool
has(struct answer_cache *cache, const char *key, const char *body, int64_t mono_us)
{
    struct answer *answer = answer_cache_find(cache, slice_of(key), mono_us);
    bool same = answer && slice_is(answer->body, body);

    answer_unref(answer);
    return same;
}

static void
test_answers_are_found_by_their_request(void **state)
{
    struct world world = {0};
    struct answer_cache *cache = answer_cache_new(ROOM, changed, &world);

    (void)state;
    put(cache, "GET /a", "one", &basis);
    put(cache, "GET /b", "two", &basis);
    assert_true(has(cache, "GET /a", "one", 0));
    assert_true(has(cache, "GET /b", "two", 0));
    assert_false(has(cache, "GET /c", "", 0));
    put(cache, "GET /a", "three", &basis);
    assert_true(has(cache, "GET /a", "three", 0));
    struct answer_cache_stats stats;
    answer_cache_stats(cache, &stats);
    assert_int_equal(stats.entries, 2);
    assert_int_equal(stats.hits, 3);
    assert_int_equal(stats.misses, 1);
    answer_cache_free(cache);
}

static void
test_answers_go_when_their_rows_change(void **state)
{
    struct world world = {.changed_at = 5};
    struct answer_cache *cache = answer_cache_new(ROOM, changed, &world);
    struct answer_cache_stats stats;

    (void)state;
    put(cache, "GET /a", "one", &basis);
    assert_true(has(cache, "GET /a", "one", 0));
    world.changed_at = 6;
    assert_false(has(cache, "GET /a", "one", 0));
    assert_int_equal(world.asked, 2);
    answer_cache_stats(cache, &stats);
    assert_int_equal(stats.outdated, 1);
    assert_int_equal(stats.entries, 0);
    assert_int_equal(stats.bytes, 0);
    answer_cache_free(cache);
}

static void
test_answers_of_a_range_that_ends_now_expire(void **state)
{
    struct world world = {0};
    struct answer_cache *cache = answer_cache_new(ROOM, changed, &world);
    struct answer_basis relative = basis;

    (void)state;
    relative.expires_mono_us = 1000;
    put(cache, "GET /a", "one", &relative);
    assert_true(has(cache, "GET /a", "one", 999));
    assert_false(has(cache, "GET /a", "one", 1000));
    answer_cache_free(cache);
}

static void
test_answers_make_room_for_newer_ones(void **state)
{
    struct world world = {0};
    struct answer_cache *cache = answer_cache_new(ROOM, changed, &world);
    struct answer_cache_stats stats;
    char key[32];
    char body[2000];

    (void)state;
    memset(body, 'x', sizeof(body) - 1);
    body[sizeof(body) - 1] = '\0';
    put(cache, "GET /kept", body, &basis);
    for (int i = 0; i < 200; i++) {
        snprintf(key, sizeof(key), "GET /%d", i);
        put(cache, key, body, &basis);
        assert_true(has(cache, "GET /kept", body, 0)); /* used, so not the oldest */
        answer_cache_stats(cache, &stats);
        assert_true(stats.bytes <= ROOM);
    }
    assert_true(stats.evictions > 100);
    assert_true(has(cache, "GET /199", body, 0));
    assert_false(has(cache, "GET /0", body, 0));
    answer_cache_free(cache);
}

static void
test_answers_too_large_are_not_kept(void **state)
{
    static char body[ROOM / 8];
    struct world world = {0};
    struct answer_cache *cache = answer_cache_new(ROOM, changed, &world);
    struct answer_cache *none = answer_cache_new(0, changed, &world);

    (void)state;
    memset(body, 'x', sizeof(body) - 1);
    put(cache, "GET /a", body, &basis);
    assert_false(has(cache, "GET /a", body, 0));
    put(none, "GET /a", "one", &basis);
    assert_false(has(none, "GET /a", "one", 0));
    answer_cache_free(cache);
    answer_cache_free(none);
}

static void
test_a_found_answer_outlives_its_place(void **state)
{
    struct world world = {0};
    struct answer_cache *cache = answer_cache_new(ROOM, changed, &world);

    (void)state;
    put(cache, "GET /a", "one", &basis);
    struct answer *answer = answer_cache_find(cache, slice_of("GET /a"), 0);
    assert_non_null(answer);
    put(cache, "GET /a", "two", &basis);
    answer_cache_free(cache);
    assert_true(slice_is(answer->body, "one"));
    answer_unref(answer);
}

static void
test_entity_tags_differ_with_the_body(void **state)
{
    char a[ANSWER_ETAG_BYTES];
    char b[ANSWER_ETAG_BYTES];

    (void)state;
    answer_etag(slice_of("one"), a);
    answer_etag(slice_of("two"), b);
    assert_string_not_equal(a, b);
    assert_int_equal(strlen(a), 34);
    assert_true(a[0] == '"' && a[33] == '"');
    answer_etag(slice_of("one"), b);
    assert_string_equal(a, b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_are_found_by_their_request),
        cmocka_unit_test(test_answers_go_when_their_rows_change),
        cmocka_unit_test(test_answers_of_a_range_that_ends_now_expire),
        cmocka_unit_test(test_answers_make_room_for_newer_ones),
        cmocka_unit_test(test_answers_too_large_are_not_kept),
        cmocka_unit_test(test_a_found_answer_outlives_its_place),
        cmocka_unit_test(test_entity_tags_differ_with_the_body),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
