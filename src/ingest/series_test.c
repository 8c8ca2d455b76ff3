/* Tests of the series registry. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "ingest/series.h"

static struct series_key
key_of(const char *name, const char *symbol, const char *labels)
{
    return (struct series_key){slice_of(name), slice_of(symbol), slice_of(labels)};
}

static struct series *
get(struct series_registry *registry, const char *name, const char *symbol, const char *labels)
{
    struct series_key key = key_of(name, symbol, labels);
    struct series *series = NULL;

    assert_int_equal(series_get(registry, &key, &series, NULL), ERR_OK);
    return series;
}

static void
test_series_gives_dense_ids_and_finds_them_again(void **state)
{
    struct series_registry registry;

    (void)state;
    series_registry_init(&registry, 100);
    struct series *first = get(&registry, "cpu", "", "{\"host\":\"a\"}");
    struct series *second = get(&registry, "cpu", "", "{\"host\":\"b\"}");
    assert_int_equal(first->id, 1);
    assert_int_equal(second->id, 2);
    assert_ptr_equal(get(&registry, "cpu", "", "{\"host\":\"a\"}"), first);
    assert_ptr_equal(series_at(&registry, 1), first);
    assert_ptr_equal(series_at(&registry, 2), second);
    assert_null(series_at(&registry, 3));
    assert_null(series_at(&registry, 0));
    assert_null(series_at(&registry, -1));
    assert_null(series_at(&registry, INT32_MAX));
    assert_int_equal(series_count(&registry), 2);
    series_registry_fini(&registry);
}

static void
test_series_tells_keys_apart_by_their_parts(void **state)
{
    struct series_registry registry;

    (void)state;
    series_registry_init(&registry, 100);
    /* The same bytes in a row, cut differently. */
    struct series *one = get(&registry, "ab", "c", "");
    struct series *two = get(&registry, "a", "bc", "");
    struct series *three = get(&registry, "abc", "", "");
    struct series *four = get(&registry, "ab", "", "c");
    assert_int_equal(series_count(&registry), 4);
    assert_true(one != two && two != three && three != four && one != four);
    series_registry_fini(&registry);
}

static void
test_series_copies_its_texts(void **state)
{
    struct series_registry registry;
    char name[] = "cpu";

    (void)state;
    series_registry_init(&registry, 100);
    struct series *series = get(&registry, name, "AAPL", "{}");
    name[0] = 'x';
    assert_true(slice_is(series->key.name, "cpu"));
    assert_true(slice_is(series->key.symbol, "AAPL"));
    assert_true(slice_is(series->key.labels, "{}"));
    series_registry_fini(&registry);
}

static void
test_series_over_the_limit_is_refused_but_known_ones_are_found(void **state)
{
    struct series_registry registry;
    struct series_key key = key_of("third", "", "");
    struct series *series = NULL;
    struct err err;

    (void)state;
    series_registry_init(&registry, 2);
    get(&registry, "first", "", "");
    get(&registry, "second", "", "");
    assert_int_equal(series_get(&registry, &key, &series, &err), ERR_BUSY);
    assert_null(series);
    assert_string_equal(err.msg, "no new series for metric \"third\": the limit series_max (2) is "
                                 "reached; send fewer distinct labels or raise it");
    assert_int_equal(get(&registry, "second", "", "")->id, 2);
    series_registry_fini(&registry);
}

static void
test_series_is_durable_only_when_marked_or_loaded(void **state)
{
    struct series_registry registry;
    struct series_key key = key_of("old", "", "");

    (void)state;
    series_registry_init(&registry, 100);
    assert_int_equal(series_load(&registry, &key, 7, NULL), ERR_OK);
    assert_true(series_is_durable(series_at(&registry, 7)));
    struct series *made = get(&registry, "new", "", "");
    assert_int_equal(made->id, 8);
    assert_false(series_is_durable(made));
    series_mark_durable(made);
    assert_true(series_is_durable(made));
    series_registry_fini(&registry);
}

static void
test_series_load_takes_repeats_and_refuses_contradictions(void **state)
{
    struct series_registry registry;
    struct series_key a = key_of("a", "", "");
    struct series_key b = key_of("b", "", "");
    struct err err;

    (void)state;
    series_registry_init(&registry, 100);
    assert_int_equal(series_load(&registry, &a, 5, &err), ERR_OK);
    assert_int_equal(series_load(&registry, &a, 5, &err), ERR_OK);
    assert_int_equal(series_count(&registry), 1);
    assert_int_equal(series_load(&registry, &b, 5, &err), ERR_CORRUPT);
    assert_string_equal(err.msg, "series: id 5 belongs to \"a\" and to \"b\"");
    assert_int_equal(series_load(&registry, &b, 0, &err), ERR_CORRUPT);
    assert_string_equal(err.msg, "series: id 0 is out of range");
    /* A second id for the same series is kept, new samples get the first. */
    assert_int_equal(series_load(&registry, &a, 9, &err), ERR_OK);
    assert_true(slice_is(series_at(&registry, 9)->key.name, "a"));
    assert_int_equal(get(&registry, "a", "", "")->id, 5);
    assert_int_equal(get(&registry, "c", "", "")->id, 10);
    series_registry_fini(&registry);
}

static void
test_series_survive_growth_of_the_table(void **state)
{
    struct series_registry registry;
    char name[32];

    (void)state;
    series_registry_init(&registry, 100000);
    for (int i = 1; i <= 40000; i++) {
        snprintf(name, sizeof(name), "metric_%d", i);
        assert_int_equal(get(&registry, name, "", "")->id, i);
    }
    for (int i = 1; i <= 40000; i++) {
        snprintf(name, sizeof(name), "metric_%d", i);
        assert_int_equal(get(&registry, name, "", "")->id, i);
        assert_true(slice_is(series_at(&registry, i)->key.name, name));
    }
    series_registry_fini(&registry);
}

enum { THREADS = 4, PER_THREAD = 3000 };

static void *
make_series(void *arg)
{
    struct series_registry *registry = arg;
    char name[32];

    for (int i = 0; i < PER_THREAD; i++) {
        snprintf(name, sizeof(name), "metric_%d", i);
        struct series_key key = key_of(name, "", "");
        struct series *series = NULL;
        if (series_get(registry, &key, &series, NULL) != ERR_OK ||
            series_at(registry, series->id) != series || !slice_is(series->key.name, name)) {
            return arg;
        }
    }
    return NULL;
}

static void
test_series_made_by_many_threads_are_made_once(void **state)
{
    struct series_registry registry;
    pthread_t threads[THREADS];
    void *failed;

    (void)state;
    series_registry_init(&registry, 100000);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, make_series, &registry), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    assert_int_equal(series_count(&registry), PER_THREAD);
    assert_non_null(series_at(&registry, PER_THREAD));
    assert_null(series_at(&registry, PER_THREAD + 1));
    series_registry_fini(&registry);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_series_gives_dense_ids_and_finds_them_again),
        cmocka_unit_test(test_series_tells_keys_apart_by_their_parts),
        cmocka_unit_test(test_series_copies_its_texts),
        cmocka_unit_test(test_series_over_the_limit_is_refused_but_known_ones_are_found),
        cmocka_unit_test(test_series_is_durable_only_when_marked_or_loaded),
        cmocka_unit_test(test_series_load_takes_repeats_and_refuses_contradictions),
        cmocka_unit_test(test_series_survive_growth_of_the_table),
        cmocka_unit_test(test_series_made_by_many_threads_are_made_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
