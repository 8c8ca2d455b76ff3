/* The list of series and the rings of points, held against a model too simple to be wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* */
#include <cmocka.h>

#include <stdlib.h>

#include "store/lru.h"

enum { KEYS = 40, STEPS = 200000, RING_STEPS = 60000, MODEL_MAX = 4096 };

static uint32_t
next_random(uint32_t *state)
{
    *state = *state * 1664525U + 1013904223U;
    return *state >> 8;
}

static void
assert_order(const struct lru *lru, const uint64_t *keys, size_t count)
{
    const struct lru_item *item = lru->front;
    const struct lru_item *last = NULL;

    for (size_t i = 0; i < count; i++) {
        assert_non_null(item);
        assert_int_equal(item->key, keys[i]);
        assert_ptr_equal(item->newer, last);
        last = item;
        item = item->older;
    }
    assert_null(item);
    assert_ptr_equal(lru->back, last);
}

static void
test_lru_moves_what_is_used_to_the_front(void **state)
{
    struct lru_item items[3];
    struct lru lru;

    (void)state;
    lru_init(&lru, &(struct lru_options){.points_max = 10});
    assert_null(lru_victim(&lru, NULL));
    for (uint64_t i = 0; i < 3; i++) {
        lru_add(&lru, &items[i], i + 1);
    }
    assert_order(&lru, (uint64_t[]){3, 2, 1}, 3);
    lru_touch(&lru, &items[0]);
    assert_order(&lru, (uint64_t[]){1, 3, 2}, 3);
    lru_touch(&lru, &items[2]);
    assert_order(&lru, (uint64_t[]){3, 1, 2}, 3);
    assert_ptr_equal(lru_victim(&lru, NULL), &items[1]);
    lru_remove(&lru, &items[0]);
    assert_order(&lru, (uint64_t[]){3, 2}, 2);
    assert_null(lru_find(&lru, 1));
    assert_ptr_equal(lru_find(&lru, 2), &items[1]);
    lru_fini(&lru);
}

static void
test_lru_as_fifo_leaves_items_where_they_are(void **state)
{
    struct lru_item items[2];
    struct lru lru;

    (void)state;
    lru_init(&lru, &(struct lru_options){.fifo = true});
    lru_add(&lru, &items[0], 1);
    lru_add(&lru, &items[1], 2);
    lru_touch(&lru, &items[0]);
    assert_order(&lru, (uint64_t[]){2, 1}, 2);
    lru_fini(&lru);
}

static void
test_lru_takes_from_a_writer_that_has_more_than_half(void **state)
{
    struct lru_item items[2];
    struct lru lru;

    (void)state;
    lru_init(&lru, &(struct lru_options){.points_max = 10, .bytes_max = 1000});
    lru_add(&lru, &items[0], 1);
    lru_add(&lru, &items[1], 2);
    lru_account(&lru, &items[0], 5, 1);
    lru_account(&lru, &items[1], 5, 1);
    assert_false(lru_is_over(&lru));
    assert_ptr_equal(lru_victim(&lru, &items[1]), &items[0]);
    lru_account(&lru, &items[1], 6, 1);
    assert_true(lru_is_over(&lru));
    assert_ptr_equal(lru_victim(&lru, &items[1]), &items[1]);
    lru_account(&lru, &items[1], 5, 501);
    assert_ptr_equal(lru_victim(&lru, &items[1]), &items[1]);
    assert_false(lru_is_over(&lru));
    lru_account(&lru, &items[0], 5, 500);
    assert_true(lru_is_over(&lru));
    lru_fini(&lru);
}

static void
test_lru_tells_its_figures(void **state)
{
    struct lru_item items[2];
    struct lru_stats stats;
    struct lru lru;

    (void)state;
    lru_init(&lru, &(struct lru_options){.points_max = 100, .bytes_max = 1000});
    lru_add(&lru, &items[0], 7);
    lru_add(&lru, &items[1], 8);
    lru_account(&lru, &items[0], 25, 100);
    lru_account(&lru, &items[1], 25, 600);
    lru_count_read(&lru, true);
    lru_count_read(&lru, false);
    lru_count_read(&lru, false);
    lru_stats_of(&lru, &stats);
    assert_int_equal(stats.hits, 1);
    assert_int_equal(stats.misses, 2);
    assert_int_equal(stats.series, 2);
    assert_int_equal(stats.points, 50);
    assert_int_equal(stats.bytes, 700);
    assert_true(stats.utilization > 0.699 && stats.utilization < 0.701);
    lru_remove(&lru, &items[1]);
    lru_count_eviction(&lru, 1, 25);
    lru_stats_of(&lru, &stats);
    assert_int_equal(stats.points, 25);
    assert_int_equal(stats.evicted_series, 1);
    assert_int_equal(stats.evicted_points, 25);
    assert_true(stats.utilization > 0.249 && stats.utilization < 0.251);
    lru_fini(&lru);
}

/* The model: keys in an array, the front first. */
struct model {
    uint64_t keys[KEYS];
    size_t count;
};

static void
model_forget(struct model *model, uint64_t key)
{
    size_t to = 0;

    for (size_t i = 0; i < model->count; i++) {
        if (model->keys[i] != key) {
            model->keys[to++] = model->keys[i];
        }
    }
    model->count = to;
}

static void
model_front(struct model *model, uint64_t key)
{
    for (size_t i = model->count++; i > 0; i--) {
        model->keys[i] = model->keys[i - 1];
    }
    model->keys[0] = key;
}

static void
test_lru_agrees_with_a_model_over_random_steps(void **state)
{
    struct lru_item items[KEYS];
    struct model model = {.count = 0};
    uint32_t random = 7;
    struct lru lru;

    (void)state;
    lru_init(&lru, &(struct lru_options){.points_max = 1000});
    for (int step = 0; step < STEPS; step++) {
        uint64_t key = next_random(&random) % KEYS;
        struct lru_item *item = lru_find(&lru, key * 1000003);
        uint32_t what = next_random(&random) % 8;
        assert_ptr_equal(item, item ? &items[key] : NULL);
        if (!item) {
            lru_add(&lru, &items[key], key * 1000003);
            model_front(&model, key * 1000003);
        } else if (what == 0) {
            lru_remove(&lru, item);
            model_forget(&model, key * 1000003);
        } else {
            lru_touch(&lru, item);
            model_forget(&model, key * 1000003);
            model_front(&model, key * 1000003);
        }
        if (step % 64 == 0) {
            assert_order(&lru, model.keys, model.count);
        }
    }
    assert_int_equal(lru.stats.series, model.count);
    lru_fini(&lru);
}

/* Points in the order they came; what a ring should hold is found by looking at all of them. */
struct naive {
    struct ring_point points[MODEL_MAX];
    size_t count;
};

static void
naive_add(struct naive *naive, struct ring_point point)
{
    size_t at = naive->count++;

    while (at > 0 && naive->points[at - 1].time_us > point.time_us) {
        naive->points[at] = naive->points[at - 1];
        at--;
    }
    naive->points[at] = point;
}

static void
naive_drop(struct naive *naive, size_t count)
{
    for (size_t i = count; i < naive->count; i++) {
        naive->points[i - count] = naive->points[i];
    }
    naive->count -= count;
}

static void
assert_points(const struct ring *points, const struct naive *naive)
{
    assert_int_equal(points->count, naive->count);
    for (size_t i = 0; i < naive->count; i++) {
        assert_int_equal(ring_time(points, i), naive->points[i].time_us);
        assert_true(ring_value(points, i) == naive->points[i].value);
        assert_int_equal(ring_order(points, i), naive->points[i].order);
    }
}

/* One random step on both. */
static void
step_ring(struct ring *points, struct naive *naive, uint32_t *random, uint64_t order)
{
    uint32_t what = next_random(random) % 100;
    bool is_late = next_random(random) % 10 == 0;
    int64_t now_us = (int64_t)order * 3;
    int64_t late_us = is_late ? (int64_t)(next_random(random) % 500) : 0;
    struct ring_point point = {now_us - late_us, (double)order / 4, order};

    if (what == 0) {
        ring_drop_until(points, now_us - 900);
        while (naive->count > 0 && naive->points[0].time_us <= now_us - 900) {
            naive_drop(naive, 1);
        }
        assert_true(points->complete_us >= now_us - 899);
    } else if (what == 1) {
        ring_shrink(points);
    } else if (what < 5 && naive->count > 20) {
        size_t count = next_random(random) % 20;
        ring_drop_oldest(points, count);
        naive_drop(naive, count);
    } else if (naive->count < MODEL_MAX) {
        bool covered = ring_cover(points, point.time_us);
        ring_add(points, point);
        if (covered) {
            naive_add(naive, point);
        }
    }
}

static void
test_points_agree_with_a_model_over_random_steps(void **state)
{
    static struct naive naive;
    struct ring points;
    uint32_t random = 3;

    (void)state;
    ring_init(&points, true, INT64_MIN);
    for (uint64_t order = 1; order < RING_STEPS; order++) {
        step_ring(&points, &naive, &random, order);
        if (order % 97 == 0) {
            assert_points(&points, &naive);
            int64_t at_us = (int64_t)order * 3 - (int64_t)(next_random(&random) % 600);
            size_t before = 0;
            while (before < naive.count && naive.points[before].time_us < at_us) {
                before++;
            }
            assert_int_equal(ring_before(&points, at_us), before);
        }
    }
    assert_points(&points, &naive);
    ring_fini(&points);
}

static void
test_points_are_complete_only_behind_what_went(void **state)
{
    struct ring points;

    (void)state;
    ring_init(&points, false, INT64_MIN);
    for (int64_t i = 1; i <= 40; i++) {
        ring_add(&points, (struct ring_point){.time_us = i * 10, .value = 1});
    }
    assert_true(ring_cover(&points, INT64_MIN));
    ring_drop_oldest(&points, 4);
    assert_false(ring_cover(&points, 40));
    assert_true(ring_cover(&points, 41));
    /* A late point before that is not what makes it complete again. */
    ring_add(&points, (struct ring_point){.time_us = 35, .value = 1});
    assert_int_equal(points.count, 36);
    ring_drop_until(&points, 1000);
    assert_int_equal(points.count, 0);
    assert_int_equal(points.complete_us, 1001);
    ring_shrink(&points);
    assert_int_equal(ring_bytes(&points), 16 * 16);
    ring_fini(&points);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lru_moves_what_is_used_to_the_front),
        cmocka_unit_test(test_lru_as_fifo_leaves_items_where_they_are),
        cmocka_unit_test(test_lru_takes_from_a_writer_that_has_more_than_half),
        cmocka_unit_test(test_lru_tells_its_figures),
        cmocka_unit_test(test_lru_agrees_with_a_model_over_random_steps),
        cmocka_unit_test(test_points_agree_with_a_model_over_random_steps),
        cmocka_unit_test(test_points_are_complete_only_behind_what_went),
    };

    return cmocka_run_group_tests_name("lru", tests, NULL, NULL);
}
