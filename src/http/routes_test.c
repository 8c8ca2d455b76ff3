/* Tests of the counts by route. */
#include "http/routes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static void
test_routes_count_latency_and_status(void **state)
{
    struct http_routes *routes = http_routes_new();
    struct http_route_stats stats;

    (void)state;
    assert_false(http_routes_at(routes, 0, &stats));
    http_routes_record(routes, "/a", 200, 100);
    http_routes_record(routes, "/b", 404, 50);
    http_routes_record(routes, "/a", 503, 300);
    assert_true(http_routes_at(routes, 0, &stats));
    assert_string_equal(stats.route, "/a");
    assert_int_equal(hist_count(stats.latency_us), 2);
    assert_int_equal(hist_sum(stats.latency_us), 400);
    assert_int_equal(stats.by_class[2], 1);
    assert_int_equal(stats.by_class[5], 1);
    assert_true(http_routes_at(routes, 1, &stats));
    assert_string_equal(stats.route, "/b");
    assert_int_equal(stats.by_class[4], 1);
    assert_false(http_routes_at(routes, 2, &stats));
    http_routes_free(routes);
}

static void
test_routes_of_equal_names_are_one(void **state)
{
    static const char one[] = "/same";
    static const char other[] = "/same";
    struct http_routes *routes = http_routes_new();
    struct http_route_stats stats;

    (void)state;
    assert_ptr_not_equal(one, other);
    http_routes_record(routes, one, 200, 1);
    http_routes_record(routes, other, 200, 1);
    assert_true(http_routes_at(routes, 0, &stats));
    assert_int_equal(stats.by_class[2], 2);
    assert_false(http_routes_at(routes, 1, &stats));
    http_routes_free(routes);
}

enum { NAMES = 2000, NAME_MAX_LEN = 16 };

static char names[NAMES][NAME_MAX_LEN];

static void
test_routes_beyond_the_limit_are_counted_together(void **state)
{
    struct http_routes *routes = http_routes_new();
    struct http_route_stats stats;
    uint64_t total = 0;
    size_t count = 0;

    (void)state;
    for (int i = 0; i < NAMES; i++) {
        snprintf(names[i], NAME_MAX_LEN, "/r%d", i);
        http_routes_record(routes, names[i], 200, 1);
    }
    while (http_routes_at(routes, count, &stats)) {
        total += stats.by_class[2];
        count++;
    }
    assert_int_equal(count, HTTP_ROUTES_MAX);
    assert_string_equal(stats.route, "other");
    assert_int_equal(total, NAMES);
    http_routes_free(routes);
}

enum { THREADS = 4, RECORDS = 5000 };

static void *
record_many(void *arg)
{
    static const char *const routes[] = {"/0", "/1", "/2", "/3", "/4"};

    for (int i = 0; i < RECORDS; i++) {
        http_routes_record(arg, routes[i % 5], 200, i);
    }
    return NULL;
}

static void
test_routes_lose_nothing_between_threads(void **state)
{
    struct http_routes *routes = http_routes_new();
    struct http_route_stats stats;
    pthread_t threads[THREADS];
    size_t count = 0;

    (void)state;
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, record_many, routes), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    while (http_routes_at(routes, count, &stats)) {
        assert_int_equal(stats.by_class[2], THREADS * RECORDS / 5);
        count++;
    }
    assert_int_equal(count, 5);
    http_routes_free(routes);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routes_count_latency_and_status),
        cmocka_unit_test(test_routes_of_equal_names_are_one),
        cmocka_unit_test(test_routes_beyond_the_limit_are_counted_together),
        cmocka_unit_test(test_routes_lose_nothing_between_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
