/* Tests of the cache of heads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "ingest/series_cache.h"

static struct head *
add(struct series_cache *cache, struct head_generation *generation, const char *key)
{
    struct slice text = slice_of(key);

    return series_cache_add(cache, generation, text, series_cache_hash(text), NULL, NULL, 0);
}

static struct head *
find(struct head_generation *generation, const char *key)
{
    struct slice text = slice_of(key);

    return series_cache_find(generation, text, series_cache_hash(text));
}

static void
test_cache_finds_what_was_added_and_nothing_else(void **state)
{
    struct series_cache cache;
    char key[] = "cpu,host=a";
    struct head_tag tag = {.column = 3, .offset = 4, .len = 5, .escaped = true};

    (void)state;
    series_cache_init(&cache, 1 << 20);
    struct head_generation *generation = series_cache_enter(&cache);
    assert_null(find(generation, key));
    struct head *head =
        series_cache_add(&cache, generation, slice_of(key), series_cache_hash(slice_of(key)),
                         catalog_table(TABLE_TRADES), &tag, 1);
    assert_non_null(head);
    key[0] = 'x'; /* the cache has its own copy */
    assert_ptr_equal(find(generation, "cpu,host=a"), head);
    assert_null(find(generation, "xpu,host=a"));
    assert_null(find(generation, "cpu,host="));
    assert_int_equal(head->table->id, TABLE_TRADES);
    assert_int_equal(head->tag_count, 1);
    assert_int_equal(head->tags[0].column, 3);
    /* Added twice is added once. */
    assert_ptr_equal(add(&cache, generation, "cpu,host=a"), head);
    series_cache_leave(generation);
    series_cache_fini(&cache);
}

static void
test_cache_tells_keys_with_the_same_hash_apart(void **state)
{
    struct series_cache cache;

    (void)state;
    series_cache_init(&cache, 1 << 20);
    struct head_generation *generation = series_cache_enter(&cache);
    struct head *a = series_cache_add(&cache, generation, slice_of("a"), 42, NULL, NULL, 0);
    struct head *b = series_cache_add(&cache, generation, slice_of("b"), 42, NULL, NULL, 0);
    assert_true(a != b);
    assert_ptr_equal(series_cache_find(generation, slice_of("a"), 42), a);
    assert_ptr_equal(series_cache_find(generation, slice_of("b"), 42), b);
    assert_null(series_cache_find(generation, slice_of("c"), 42));
    series_cache_leave(generation);
    series_cache_fini(&cache);
}

static void
test_cache_keeps_fields_in_order_up_to_its_bound(void **state)
{
    struct series_cache cache;
    char name[16];

    (void)state;
    series_cache_init(&cache, 1 << 20);
    struct head_generation *generation = series_cache_enter(&cache);
    struct head *head = add(&cache, generation, "cpu");
    assert_null(series_cache_field(head, NULL, slice_of("f0")));
    for (int i = 0; i < SERIES_CACHE_FIELDS_MAX; i++) {
        snprintf(name, sizeof(name), "f%d", i);
        struct head_field *field =
            series_cache_add_field(&cache, generation, head, slice_of(name), NULL, i);
        assert_non_null(field);
        assert_ptr_equal(series_cache_add_field(&cache, generation, head, slice_of(name), NULL, -1),
                         field);
    }
    assert_null(series_cache_add_field(&cache, generation, head, slice_of("more"), NULL, 1));
    struct head_field *first = series_cache_field(head, NULL, slice_of("f0"));
    struct head_field *second = series_cache_field(head, first, slice_of("f1"));
    assert_int_equal(second->id, 1);
    assert_ptr_equal(series_cache_field(head, second, slice_of("f0")), first);
    assert_int_equal(series_cache_field(head, first, slice_of("f99"))->id, 99);
    assert_null(series_cache_field(head, first, slice_of("f")));
    series_cache_leave(generation);
    series_cache_fini(&cache);
}

static void
test_cache_grows_and_loses_nothing(void **state)
{
    struct series_cache cache;
    char key[32];

    (void)state;
    series_cache_init(&cache, 64 << 20);
    struct head_generation *generation = series_cache_enter(&cache);
    for (int i = 0; i < 20000; i++) {
        snprintf(key, sizeof(key), "cpu,host=%d", i);
        assert_non_null(add(&cache, generation, key));
    }
    for (int i = 0; i < 20000; i++) {
        snprintf(key, sizeof(key), "cpu,host=%d", i);
        assert_non_null(find(generation, key));
    }
    series_cache_leave(generation);
    series_cache_fini(&cache);
}

/* Adds keys until the cache takes no more; returns how many. */
static int
fill(struct series_cache *cache, struct head_generation *generation)
{
    char key[32];
    int count = 0;

    do {
        snprintf(key, sizeof(key), "key,number=%d", count++);
    } while (add(cache, generation, key));
    return count;
}

static void
test_cache_that_is_full_starts_over_in_the_other_generation(void **state)
{
    struct series_cache cache;

    (void)state;
    series_cache_init(&cache, 64 << 10);
    struct head_generation *first = series_cache_enter(&cache);
    assert_true(fill(&cache, first) > 100);
    /* Who is in keeps what it has, but adds no more. */
    assert_non_null(find(first, "key,number=0"));
    assert_null(add(&cache, first, "new"));
    struct head_generation *second = series_cache_enter(&cache);
    assert_true(second != first);
    assert_null(find(second, "key,number=0"));
    assert_non_null(add(&cache, second, "new"));

    /* The first one still has a reader, so the second stays although it is full. */
    fill(&cache, second);
    struct head_generation *third = series_cache_enter(&cache);
    assert_ptr_equal(third, second);
    assert_non_null(find(first, "key,number=0"));
    series_cache_leave(third);

    series_cache_leave(first);
    assert_null(add(&cache, second, "once more"));
    third = series_cache_enter(&cache);
    assert_ptr_equal(third, first);
    assert_null(find(third, "key,number=0"));
    series_cache_leave(third);
    series_cache_leave(second);
    series_cache_fini(&cache);
}

static void
test_cache_of_no_bytes_keeps_nothing(void **state)
{
    struct series_cache cache;

    (void)state;
    series_cache_init(&cache, 0);
    struct head_generation *generation = series_cache_enter(&cache);
    assert_null(add(&cache, generation, "cpu"));
    assert_null(find(generation, "cpu"));
    series_cache_leave(generation);
    series_cache_fini(&cache);
}

enum { THREADS = 4, ROUNDS = 300, KEYS = 100 };

/* Readers and writers on a cache so small that its generations change all the time. */
static void *
use_cache(void *arg)
{
    struct series_cache *cache = arg;
    char key[32];

    for (int round = 0; round < ROUNDS; round++) {
        struct head_generation *generation = series_cache_enter(cache);
        for (int i = 0; i < KEYS; i++) {
            snprintf(key, sizeof(key), "cpu,host=%d", round * 7 + i);
            struct head *head = find(generation, key);
            head = head ? head : add(cache, generation, key);
            struct head_field *field = NULL;
            if (head) {
                field = series_cache_add_field(cache, generation, head, slice_of("f"), NULL,
                                               round * 7 + i);
            }
            if ((head && !slice_is(head->key, key)) || (field && field->id != round * 7 + i)) {
                return arg;
            }
        }
        series_cache_leave(generation);
    }
    return NULL;
}

static void
test_cache_is_right_while_generations_change_under_many_threads(void **state)
{
    struct series_cache cache;
    pthread_t threads[THREADS];
    void *failed;

    (void)state;
    series_cache_init(&cache, 40 << 10);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, use_cache, &cache), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    series_cache_fini(&cache);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cache_finds_what_was_added_and_nothing_else),
        cmocka_unit_test(test_cache_tells_keys_with_the_same_hash_apart),
        cmocka_unit_test(test_cache_keeps_fields_in_order_up_to_its_bound),
        cmocka_unit_test(test_cache_grows_and_loses_nothing),
        cmocka_unit_test(test_cache_that_is_full_starts_over_in_the_other_generation),
        cmocka_unit_test(test_cache_of_no_bytes_keeps_nothing),
        cmocka_unit_test(test_cache_is_right_while_generations_change_under_many_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
